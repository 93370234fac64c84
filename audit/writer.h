/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's writer: opens and recovers a log, adds entries in batches, commits each batch with a signed
 * checkpoint in one durable write, publishes tiles afterwards. The auditor process is this and a channel;
 * crash tests drive it on a lying store.
 *
 * Order of one commit: add.. , commit (returns: durable and signed), answers, settle.
 *
 * Side: auditor. Trusts: its caller, the store's word that a write is durable. Owns: the log's files.
 */
#ifndef FUMEHOOD_AUDIT_WRITER_H
#define FUMEHOOD_AUDIT_WRITER_H

#include "audit/checkpoint.h"
#include "audit/entry.h"
#include "audit/store.h"
#include "audit/tree.h"

struct writer;

struct writer_conf {
	struct store *log;             /* the log's folder */
	struct store *state;           /* a folder outside it; NULL: rollback of the whole log is not noticed */
	const struct note_signer *key; /* stays the caller's, for the writer's life */
	uint64_t segment_bytes;        /* of new segments; a multiple of 4,096, SEGMENT_MIN_BYTES at least */
	void (*stamp)(void *arg, struct entry_stamp *out);
	void *stamp_arg;
};

struct writer_opened {
	uint64_t size;
	bool torn_tail;       /* one was put aside; its record is the last entry */
};

/* Makes what a new log needs in its folder, before a wall: segments/, quarantine/, tlog/ and log.vkey. Where
 * they are there, checks log.vkey. Errors: ERR_LOG (another key, or none beside segments), ERR_IO. */
MUST_CHECK int writer_prepare_folder(const struct writer_conf *c, struct err *e);

/* Opens the log in a prepared folder: checks every entry and checkpoint, the
 * state and the published checkpoint; puts a torn tail aside; prepares a segment.
 * Errors: ERR_LOG (damaged, rolled back, another key, disk full), ERR_CONFIG, ERR_IO, ERR_NOMEM. */
MUST_CHECK int writer_open(const struct writer_conf *c, struct writer **out, struct writer_opened *info,
                           struct err *e);
void writer_close(struct writer *w);

/* Room for one more record of this size in the present batch? Say no: commit first. */
bool writer_fits(const struct writer *w, size_t record_len);
/* Adds a record (at most LIMIT_RECORD_BYTES) to the batch; *index is its place. Nothing is durable yet. The
 * first one after a commit ends the validity of that commit's proofs and entries.
 * Errors: ERR_LIMIT, ERR_NOMEM, ERR_LOG (the log has failed before). */
MUST_CHECK int writer_add(struct writer *w, const uint8_t *record, size_t len, uint64_t *index, struct err *e);
/* Makes the batch durable, with the signed checkpoint of the tree that includes it. After an error the log
 * has failed for good: nothing of the batch may be answered. When the disk is full a last record that
 * says so has been written. Errors: ERR_LOG, ERR_IO. */
MUST_CHECK int writer_commit(struct writer *w, struct err *e);

/* Of the last commit: valid until the next writer_add. */
uint64_t writer_size(const struct writer *w);
const char *writer_checkpoint(const struct writer *w, size_t *len);
MUST_CHECK int writer_proof(const struct writer *w, uint64_t index, struct tree_proof *out, struct err *e);
/* Its bytes as hashed into the leaf; NULL when index is not of the last commit. */
const uint8_t *writer_entry(const struct writer *w, uint64_t index, size_t *len);

/* After the answers: remembers the checkpoint in the state, queues tiles, prepares a piece of the next
 * segment, publishes when much is pending. Errors as for commit; the log has then failed. */
MUST_CHECK int writer_settle(struct writer *w, struct err *e);
/* When nothing is to be done: publishes, syncs the state, prepares. *more: call again soon. */
MUST_CHECK int writer_idle(struct writer *w, bool *more, struct err *e);
/* Is there something for writer_idle? */
bool writer_has_work(const struct writer *w);
/* Publishes everything and syncs the state: a clean end. writer_close follows. */
MUST_CHECK int writer_seal(struct writer *w, struct err *e);

#endif
