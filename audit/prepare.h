/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes the next segment before it is needed: a file of zeros, written and synced, piece by piece
 * between commits. A commit then overwrites written blocks: no metadata, no allocation, no full disk.
 *
 * Side: auditor. Trusts: the store. Owns: the file until it is taken.
 */
#ifndef FUMEHOOD_AUDIT_PREPARE_H
#define FUMEHOOD_AUDIT_PREPARE_H

#include "audit/segment.h"

struct prepare {
	struct store *store;
	uint64_t number;      /* of the segment */
	uint64_t want_bytes;  /* of a new file; an old one may be larger */
	uint64_t bytes, done; /* size, and how far the zeros are */
	int file;             /* -1: not begun */
	bool ready;
};

void prepare_init(struct prepare *p, struct store *s, uint64_t number, uint64_t bytes);
void prepare_clear(struct prepare *p);
/* Writes at most max more bytes of zeros (whole blocks). Sets ready when all is there and durable.
 * Errors: ERR_LOG (disk full), ERR_IO. */
MUST_CHECK int prepare_step(struct prepare *p, uint64_t max, struct err *e);
/* Does all the rest. */
MUST_CHECK int prepare_finish(struct prepare *p, struct err *e);
/* Hands the open file over and begins with the next number. */
int prepare_take(struct prepare *p, uint64_t *bytes);

#endif
