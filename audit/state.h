/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory outside the log's folder: the largest signed checkpoint that was acknowledged. A log that
 * is shorter, or has another root at that size, was rolled back or replaced and is not opened.
 *
 *   log.state   two slots at 0 and 4,096, written in turn; the valid one with the larger counter counts
 *   slot        "FHSTATE1", u64 counter, u32 length, u32 zero, signed checkpoint, SHA-256 of all before
 *
 * Written after each commit without a sync, synced when the log is idle or sealed: a power failure may
 * set it back a little, never ahead of the log.
 *
 * Side: auditor, cli. Trusts: the key. Owns: the format.
 */
#ifndef FUMEHOOD_AUDIT_STATE_H
#define FUMEHOOD_AUDIT_STATE_H

#include "audit/checkpoint.h"
#include "audit/store.h"

#include <stdbool.h>

#define STATE_PATH "log.state"
#define STATE_SLOT_BYTES STORE_BLOCK_BYTES

struct state {
	struct store *store; /* NULL: no state is kept */
	int file;
	uint64_t counter;
	bool has;            /* known is set */
	struct checkpoint known;
};

/* Reads the state and keeps its file open for state_put. store NULL: does nothing.
 * Errors: ERR_LOG (neither slot is valid, or signed by another key), ERR_IO. */
MUST_CHECK int state_open(struct store *store, const struct note_key *key, struct state *out, struct err *e);
/* Reads only; out->store stays NULL. ERR_OK and has = false when there is no file. */
MUST_CHECK int state_read(struct store *store, const struct note_key *key, struct state *out, struct err *e);
MUST_CHECK int state_put(struct state *s, const char *note, size_t len, struct err *e);
MUST_CHECK int state_sync(struct state *s, struct err *e);
void state_close(struct state *s);

#endif
