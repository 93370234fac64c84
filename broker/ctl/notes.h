/* SPDX-License-Identifier: Apache-2.0
 *
 * What sign, trust, verify and admit share about notes.
 * Side: cli. Trusts: nothing in a note. Owns: nothing.
 */
#ifndef FUMEHOOD_CTL_NOTES_H
#define FUMEHOOD_CTL_NOTES_H

#include "broker/ctl/files.h"
#include "broker/trust/trust.h"

/* The secret keys of all --key options. *n at most LIMIT_NOTE_SIGNATURES. Clear with keys_clear.
 * Errors: of key_load, ERR_USAGE (none, too many). */
MUST_CHECK int keys_load(const struct ctl *c, const char *option, struct note_signer *out, size_t *n, struct err *e);
void keys_clear(struct note_signer *keys, size_t n);

/* Signs text with the keys and writes the note to path, replacing it atomically. */
MUST_CHECK int note_write(const char *path, const char *text, size_t len, const struct note_signer *keys, size_t n,
                          struct err *e);
/* Adds the keys' signatures to the note in path: a model.note, trust.note or freshness.note.
 * *n_all: signatures that it has now. */
MUST_CHECK int note_cosign_file(const char *path, const struct note_signer *keys, size_t n, size_t *n_all,
                                struct err *e);

/* Reads and parses a model.note. */
MUST_CHECK int model_note_read(const char *path, struct model_note **out, struct err *e);
/* Opens file i of the note: files given on the command line behind the note's path (in any order, by base
 * name, or by place when there are as many as the note has), else beside the note. */
MUST_CHECK int model_file_open(const struct ctl *c, const struct model_note *m, size_t i, int *fd, uint64_t *bytes,
                               char path[PATH_MAX], struct err *e);

/* The trust.note in force for this command: --trust, else STATE/trust/trust.note; and freshness beside it. */
MUST_CHECK int trust_read(const struct ctl *c, uint64_t now, struct trust **out, char path[PATH_MAX], struct err *e);

/* JSON of a note's content. */
json_t *model_note_json(const struct model_note *m);
json_t *signers_json(const struct model_vouch *v);
/* "alice, bob" in a rotating buffer of ctl_text. */
const char *signers_text(const struct model_vouch *v);

#endif
