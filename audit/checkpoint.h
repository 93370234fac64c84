/* SPDX-License-Identifier: Apache-2.0
 *
 * C2SP tlog-checkpoint (v1.0.0): the text of a signed note that states a tree's size and root.
 *
 *   origin LF size LF base64(root) LF [extension lines LF]
 *
 * Side: auditor, broker, cli. Trusts: nothing. Owns: the format.
 */
#ifndef FUMEHOOD_AUDIT_CHECKPOINT_H
#define FUMEHOOD_AUDIT_CHECKPOINT_H

#include "proto/hash.h"
#include "proto/note.h"

/* Origin, size, root and one signature line. */
#define CHECKPOINT_MAX_BYTES (NOTE_NAME_MAX_BYTES + 1 + 21 + 45 + 1 + NOTE_LINE_MAX_BYTES)
/* What is accepted from elsewhere: with witnesses' lines. */
#define CHECKPOINT_READ_MAX_BYTES 16384

struct checkpoint {
	uint64_t size;
	uint8_t root[HASH_BYTES];
};

/* Writes and signs; the key's name is the origin. Not NUL ended. Errors: those of note_sign. */
MUST_CHECK int checkpoint_sign(const struct note_signer *key, const struct checkpoint *c,
                               char out[CHECKPOINT_MAX_BYTES], size_t *len, struct err *e);

/* Reads a signed checkpoint of the log whose key this is: the note's form, a good signature of key,
 * origin equal to the key's name, strict size and root; extension lines are allowed.
 * Errors: ERR_SIGNATURE (not signed by the key), ERR_LOG (another origin or malformed). */
MUST_CHECK int checkpoint_read(const char *note, size_t len, const struct note_key *key,
                               struct checkpoint *out, struct err *e);

/* Reads the body alone, without looking at signatures. Errors: ERR_SIGNATURE, ERR_LOG. */
MUST_CHECK int checkpoint_parse(const struct note *n, const char *origin, struct checkpoint *out, struct err *e);

#endif
