/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: those that clients opened for themselves (unsigned) and those in the store (admitted). Either
 * way a worker gets a sealed memory file whose bytes were hashed while they were copied into it.
 *
 *   store/files/<sha256 hex>              one file, named by its content
 *   store/models/<root digest hex>/model.note
 *   store/tmp/                            a file on its way in; emptied at start
 *
 * Files become visible whole: written under store/tmp, synced, renamed, the folder synced. A model is
 * in the store when its note is, and the note comes last.
 *
 * Copying runs in pieces between other work of the loop (struct models_job).
 *
 * Side: broker. Trusts: nothing in files; the trust rules of broker/trust. Owns: the store, the sealed
 * copies, the list of admitted models.
 */
#ifndef FUMEHOOD_BROKER_MODELS_H
#define FUMEHOOD_BROKER_MODELS_H

#include "broker/loop.h"
#include "broker/trust/trust.h"
#include "proto/hash.h"

#include <stdbool.h>
#include <stdint.h>

#define MODEL_LABEL_MAX_BYTES 300

struct models;

/* One model. Counted: model_ref, model_unref. Read-only outside models.c. */
struct model {
	unsigned refs;
	int fd;                         /* sealed memory file of the file that a worker gets; -1: not in memory */
	uint64_t bytes;                 /* of that file */
	uint64_t total_bytes;           /* of all files */
	uint8_t digest[HASH_BYTES];     /* OMS root digest: the model's name everywhere */
	uint8_t file_sha256[HASH_BYTES];/* of that file */
	bool has_one_file;
	bool is_unsigned;
	char label[MODEL_LABEL_MAX_BYTES]; /* name@version, or the file's name, escaped */
	struct model_note *note;        /* admitted ones */
	struct model_vouch vouch;       /* admitted ones: who signed, as of the last check */
	struct model *next;             /* of the list of admitted models */
};

struct model *model_ref(struct model *m);
void model_unref(struct model *m); /* NULL is fine */

/* Opens the store below state_fd, making its folders if absent, and reads its notes. trust may be NULL:
 * then nothing is admitted and nothing admitted may be loaded. trust and ts stay the caller's.
 * n_skipped: notes that could not be read; the first reason is in e. Errors: ERR_IO, ERR_NOMEM. */
MUST_CHECK int models_new(struct loop *loop, int state_fd, int proc_fd, const struct trust *trust,
                          struct trust_state *ts, struct models **out, unsigned *n_skipped, struct err *e);
void models_free(struct models *ms);

/* The admitted models, newest version of a name first among its own. */
const struct model *models_first(const struct models *ms);

/* Finds an admitted model by "name" (its highest version), "name@version" or "sha256:<root digest>".
 * Counted for the caller. Errors: ERR_NOT_FOUND. */
MUST_CHECK int models_find(struct models *ms, const char *ref, struct model **out, struct err *e);

/* Says whether an admitted model may be used now: deny lists, roles, expiry, rollback. Refreshes vouch.
 * Errors: those of model_note_verify and trust_state_check_model; ERR_SIGNATURE without a trust.note. */
MUST_CHECK int models_check(struct models *ms, struct model *m, uint64_t now_unix, struct err *e);

/* Bytes of memory that the kernel says are available; UINT64_MAX when it does not say. */
uint64_t models_memory_available(int proc_fd);

/* --- work in pieces --------------------------------------------------------------------------------- */

struct models_job;

/* rc ERR_OK: m is the model (counted for the callee); otherwise m is NULL and e says why. The job is
 * gone when this is called. */
typedef void (*models_done)(void *arg, int rc, const struct err *e, struct model *m);

/* Copies a client's descriptor (taken, also on an error) into a sealed memory file.
 * Errors at once: ERR_MODEL, ERR_LIMIT, ERR_NOMEM, ERR_IO. */
MUST_CHECK int models_open(struct models *ms, int fd, const char *file_name, models_done done, void *arg,
                           struct models_job **out, struct err *e);

/* Brings an admitted model into memory: every file of the store is hashed again and compared with the
 * note. Later errors: ERR_DIGEST, ERR_NOT_FOUND, ERR_UNSUPPORTED (more than one model file). */
MUST_CHECK int models_fetch(struct models *ms, struct model *m, models_done done, void *arg,
                            struct models_job **out, struct err *e);

/* A model that is not in the store yet, from its note: parsed, signatures checked against trust and state,
 * n_files files expected. Counted for the caller. Errors: those of model_note_parse and models_check,
 * ERR_INPUT (another number of files). */
MUST_CHECK int models_candidate(struct models *ms, const char *note, size_t len, unsigned n_files,
                                uint64_t now_unix, struct model **out, struct err *e);

/* Copies a candidate's files, whose descriptors (taken, also on an error) come in the note's order, into
 * the store. Later errors: ERR_DIGEST, ERR_IO. */
MUST_CHECK int models_admit(struct models *ms, struct model *m, const int *fds, unsigned n_fds,
                            models_done done, void *arg, struct models_job **out, struct err *e);

/* Stops it; done is not called. NULL is fine. */
void models_job_cancel(struct models_job *j);

#endif
