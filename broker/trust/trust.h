/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose models run here: trust.note, model.note, freshness.note and the monotonic state.
 *
 *   trust.note (fumehood-trust/v1)       model.note (fumehood-model/v1)
 *     version N                            name NAME
 *     issued UNIX                          version N
 *     expires UNIX                         created UNIX
 *     root-threshold N                     expires UNIX
 *     root VKEY                      ...   root sha256:HEX        OMS root digest of the file lines
 *     signer ID VKEY                 ...   file BYTES sha256:HEX PATH    ...
 *     role GLOB threshold N of ID,ID ...   licence TEXT
 *     min-version NAME N             ...   limit memory BYTES | limit cpu-ms N
 *     deny-key HEX since UNIX REASON ...   input TYPE DIM,DIM,..  ...
 *     deny-model sha256:HEX REASON   ...
 *     freshness VKEY max-age SECONDS     freshness.note (fumehood-freshness/v1)
 *     audit-log VKEY                 ...   trust-version N
 *     audit-policy LINE              ...   trust sha256:HEX       of the whole trust.note
 *                                          time UNIX
 *
 * Each is a C2SP signed note (proto/note.h). One line per fact, fields separated by one space, decimal
 * numbers without sign or leading zero, hex in lower case. The first line is the header. An unknown line
 * that begins with a capital letter rejects the note; any other unknown line is ignored. There is no
 * empty line in a text, and no line that begins with a space or outside ASCII.
 *
 * HEX of a key is SHA-256 of its 32 bytes. In a GLOB '*' stands for any characters, '/' included (as
 * `like` of the policy language). A model must satisfy every role that its name matches, so that no line
 * can weaken another. A key counts once, by its bytes. A signature by a denied key counts as none.
 *
 * All functions are pure (text and a given `now` in, a verdict out) but those of trust_state_*, which
 * own the files of STATE/trust.
 *
 * Side: broker, cli. Trusts: nothing that it reads. Owns: the formats, the rules.
 */
#ifndef FUMEHOOD_BROKER_TRUST_H
#define FUMEHOOD_BROKER_TRUST_H

#include "proto/err.h"
#include "proto/hash.h"
#include "proto/limits.h"
#include "proto/note.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRUST_ID_MAX_BYTES 64
#define TRUST_MODEL_NAME_MAX_BYTES 255
#define TRUST_PATH_MAX_BYTES 1024
#define TRUST_REASON_MAX_BYTES 200

/* --- trust.note --------------------------------------------------------------------------------- */

/* A trust.note that is well formed; believed only after trust_load or trust_step. Opaque. */
struct trust;

/* Reads a trust.note and checks its form and that its keys can reach its thresholds; no signature: for
 * those who are still signing it. The text is copied.
 * Errors: ERR_SIGNATURE, ERR_LIMIT, ERR_UNSUPPORTED (a kind of signer that is not implemented), ERR_NOMEM. */
MUST_CHECK int trust_form(const char *text, size_t len, struct trust **out, struct err *e);
/* How many more of its own roots must sign it. */
unsigned trust_roots_missing(const struct trust *t, uint64_t now);

/* trust_form, and its own root-threshold is met by its own roots. Not time. Errors: the same. */
MUST_CHECK int trust_parse(const char *text, size_t len, uint64_t now, struct trust **out, struct err *e);

/* trust_parse, then time: issued <= now < expires, and the freshness.note when the trust.note names a
 * freshness key (fresh NULL: none there). `now` in unix seconds is taken once per decision.
 * Errors: also ERR_EXPIRED. */
MUST_CHECK int trust_load(const char *text, size_t len, const char *fresh, size_t fresh_len, uint64_t now,
                          struct trust **out, struct err *e);
void trust_free(struct trust *t);

/* Says whether `to` may follow `from`: version exactly +1, signed by a threshold of the old roots and a
 * threshold of the new ones. Errors: ERR_SIGNATURE. */
MUST_CHECK int trust_step(const struct trust *from, const struct trust *to, uint64_t now, struct err *e);

uint64_t trust_version(const struct trust *t);
uint64_t trust_expires(const struct trust *t);
uint64_t trust_issued(const struct trust *t);
const uint8_t *trust_digest(const struct trust *t); /* SHA-256 of the whole note, HASH_BYTES */
const char *trust_text(const struct trust *t, size_t *len); /* the signed text, for showing; escape it */
bool trust_wants_freshness(const struct trust *t);
/* The number of audit-log keys, and key i. */
size_t trust_n_logs(const struct trust *t);
const struct note_key *trust_log(const struct trust *t, size_t i);

/* --- model.note ----------------------------------------------------------------------------------- */

struct model_file {
	char path[TRUST_PATH_MAX_BYTES + 1];
	uint64_t bytes;
	uint8_t sha256[HASH_BYTES];
};

struct model_input { /* what the signer says the model takes: for people, the worker decides */
	char type[16];
	char dims[120];
};

/* A model.note that is well formed. Freed with model_note_free. */
struct model_note {
	struct note note; /* points into text */
	char *text;       /* a copy of the whole note */
	size_t text_len;
	char name[TRUST_MODEL_NAME_MAX_BYTES + 1];
	uint64_t version, created, expires;
	uint8_t root[HASH_BYTES]; /* the OMS root digest, recomputed and compared */
	struct model_file *files;
	size_t n_files;
	char licence[TRUST_REASON_MAX_BYTES + 1];
	uint64_t limit_memory_bytes, limit_cpu_ms; /* 0: none */
	struct model_input inputs[16];
	size_t n_inputs;
};

/* Reads a model.note: form, paths, sizes, and that its root follows from its files. No signature is
 * checked. Errors: ERR_SIGNATURE (form), ERR_DIGEST (root), ERR_LIMIT, ERR_UNSUPPORTED (a limit that is
 * not implemented), ERR_NOMEM. */
MUST_CHECK int model_note_parse(const char *text, size_t len, struct model_note **out, struct err *e);
void model_note_free(struct model_note *m);

/* Who vouched for a model. */
struct model_vouch {
	size_t n_signers;
	char signers[LIMIT_NOTE_SIGNATURES][TRUST_ID_MAX_BYTES + 1];
	uint8_t keys[LIMIT_NOTE_SIGNATURES][HASH_BYTES]; /* SHA-256 of each key, in the same order */
};

/* Decides whether this note may be used under this trust at this time: deny lists first, then every
 * matching role's threshold, min-version, created <= now < expires. Call it again on every reload: deny
 * lists and expiry win over what is running.
 * Errors: ERR_DENIED (deny-model), ERR_SIGNATURE (signers, roles, version), ERR_EXPIRED. */
MUST_CHECK int model_note_verify(const struct model_note *m, const struct trust *t, uint64_t now,
                                 struct model_vouch *out, struct err *e);

/* The same names and paths rules, for those who write notes. */
bool model_name_is_ok(const char *name, size_t len);
bool model_path_is_ok(const char *path, size_t len);

/* --- monotonic state --------------------------------------------------------------------------------
 *
 * STATE/trust/state, replaced atomically and synced before what it says is used:
 *   fumehood-trust-state/v1
 *   trust N sha256:HEX                               the trust.note in force
 *   model NAME N sha256:ROOT by HEX,HEX              the highest version ever used, and who vouched
 * STATE/trust/N.note: each trust.note that was ever in force, so that the chain can be walked.
 *
 * A model's line counts only while the keys that made it would still suffice: after a rotation or a
 * deny-key, a version number that a thief has driven up no longer blocks the owner (fast-forward). */
struct trust_state;

/* Opens dir (made with mode 0700 if absent). A missing state file is an empty state; a damaged one is an
 * error. Errors: ERR_IO, ERR_SIGNATURE (damaged), ERR_NOMEM. */
MUST_CHECK int trust_state_load(const char *dir, struct trust_state **out, struct err *e);
void trust_state_free(struct trust_state *s);

/* Checks t against the state: the same version with the same bytes; or the next versions, whose steps
 * are walked through DIR/N.note (the newest is t itself); or anything valid while the state is empty.
 * Errors: ERR_SIGNATURE (rollback, other bytes, a skipped or unsigned step), ERR_IO. */
MUST_CHECK int trust_state_check(const struct trust_state *s, const struct trust *t, uint64_t now,
                                 struct err *e);
/* Makes t the trust in force: keeps it as DIR/N.note and writes the state, durably.
 * Errors: ERR_IO, ERR_NOMEM. */
MUST_CHECK int trust_state_commit(struct trust_state *s, const struct trust *t, struct err *e);

/* Checks a model's version against the highest one used: lower is a rollback, equal with another root
 * digest is a forgery. Errors: ERR_SIGNATURE. */
MUST_CHECK int trust_state_check_model(const struct trust_state *s, const struct trust *t,
                                       const struct model_note *m, uint64_t now, struct err *e);
/* Remembers this version, durably, before the model is used. No write when it is known already.
 * Errors: ERR_IO, ERR_NOMEM. */
MUST_CHECK int trust_state_commit_model(struct trust_state *s, const struct model_note *m,
                                        const struct model_vouch *v, struct err *e);

/* All of it for a starting broker: reads trust_path (and freshness.note beside it), checks it against the
 * state and commits. *out is NULL with ERR_OK when trust_path does not exist and the state knows no trust:
 * then nothing signed can be admitted. A trust.note that was in force and is gone is an error.
 * Errors: as above, ERR_IO, ERR_NOT_FOUND. */
MUST_CHECK int trust_open(const char *trust_path, struct trust_state *s, uint64_t now, struct trust **out,
                          struct err *e);

/* Reads a whole regular file of at most max bytes, NUL ended (the NUL is not counted); caller frees.
 * Errors: ERR_IO, ERR_NOT_FOUND, ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int trust_file_read(const char *path, size_t max, char **out, size_t *len, struct err *e);
/* Replaces path by these bytes: temporary file beside it, sync, rename, sync of the folder.
 * Errors: ERR_IO. */
MUST_CHECK int trust_file_write(const char *path, const void *bytes, size_t len, unsigned mode, struct err *e);

#endif
