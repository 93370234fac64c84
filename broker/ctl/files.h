/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of the command: keys, hashing with a progress bar, paths beside a note.
 * Side: cli. Trusts: nothing in a file. Owns: descriptors that it opens.
 */
#ifndef FUMEHOOD_CTL_FILES_H
#define FUMEHOOD_CTL_FILES_H

#include "broker/ctl/ctl.h"
#include "proto/hash.h"
#include "proto/note.h"

#include <limits.h>

/* A bar on standard error, drawn when that is a terminal and more than a second has passed. */
struct progress {
	const char *what;
	uint64_t total, start_ms, drawn_ms;
	bool on, drawn;
};
void progress_begin(struct progress *p, const struct ctl *c, const char *what, uint64_t total);
void progress_step(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

/* Opens a regular file for reading, close-on-exec; links are followed. *bytes may be NULL.
 * Errors: ERR_NOT_FOUND, ERR_IO, ERR_INPUT (not a regular file). */
MUST_CHECK int file_open(const char *path, int *fd, uint64_t *bytes, struct err *e);
/* SHA-256 and size of what fd gives from its start. */
MUST_CHECK int file_hash(const struct ctl *c, int fd, const char *shown, uint64_t total,
                         uint8_t sha256[HASH_BYTES], uint64_t *bytes, struct err *e);
/* The folder of path, or "."; and DIR/name. Errors: ERR_LIMIT. */
MUST_CHECK int path_dir(const char *path, char out[PATH_MAX], struct err *e);
MUST_CHECK int path_join(const char *dir, const char *name, char out[PATH_MAX], struct err *e);
const char *path_base(const char *path);
/* Makes a folder (one level) unless it is there. Errors: ERR_IO, ERR_INPUT (something else is there). */
MUST_CHECK int dir_make(const char *path, struct err *e);

/* Reads a secret key file (keygen's format). Refuses a file that others can read.
 * Errors: ERR_NOT_FOUND, ERR_IO, ERR_CONFIG. Clear with note_signer_clear. */
MUST_CHECK int key_load(const char *path, struct note_signer *out, struct err *e);
/* A public key: a vkey, or a file that holds one (or a secret key file). Errors as above. */
MUST_CHECK int key_public(const char *text, struct note_key *out, struct err *e);

/* Now, in unix seconds. Once per command. */
uint64_t now_unix(void);
uint64_t clock_ms(void);

#endif
