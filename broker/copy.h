/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies a file that somebody handed over while hashing it, in pieces, so that the loop goes on with
 * its other peers. What was hashed is what was written: each piece is read once.
 *
 * Side: broker. Trusts: nothing about the source: it may be no file, be huge, grow, shrink or change.
 * Owns: a buffer and a hash; the descriptors stay the caller's.
 */
#ifndef FUMEHOOD_BROKER_COPY_H
#define FUMEHOOD_BROKER_COPY_H

#include "proto/err.h"
#include "proto/hash.h"

#include <stdint.h>

struct copy {
	int from, to;          /* to: -1 = only hash */
	uint64_t bytes;        /* the source's size when the copy began */
	uint64_t at;
	struct hash *hash;
	uint8_t *buf;
};

/* Begins. The source must be a regular file open for reading, of 1 to max_bytes bytes.
 * Errors: ERR_MODEL (no regular file, empty), ERR_LIMIT (both numbers), ERR_NOMEM, ERR_IO. */
MUST_CHECK int copy_begin(struct copy *c, int from, int to, uint64_t max_bytes, struct err *e);

/* Copies up to about step_bytes. Returns 1 when the whole file is copied and sha256 is filled, 0 when
 * there is more, or an error: ERR_MODEL (the file changed its size meanwhile), ERR_IO, ERR_NOMEM (no
 * room at the target). */
MUST_CHECK int copy_step(struct copy *c, uint64_t step_bytes, uint8_t sha256[HASH_BYTES], struct err *e);

/* Frees the buffer and the hash. A zeroed copy is fine. */
void copy_clear(struct copy *c);

#endif
