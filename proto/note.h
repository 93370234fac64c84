/* SPDX-License-Identifier: Apache-2.0
 *
 * C2SP signed notes: the one envelope for trust.note, model.note and the log's checkpoints.
 * Source: c2sp.org/signed-note v1.0.0, c2sp.org/tlog-cosignature v1.0.1 (Ed25519).
 *
 *   note       text (ends in LF) LF signature-line...       split at the LAST empty line
 *   line       U+2014 SP name SP base64(key id[4] || signature) LF
 *   key id     SHA-256(name || LF || type || public key)[0:4], big-endian in hex
 *   vkey       name "+" hex8(key id) "+" base64(type || public key)
 *   skey       "PRIVATE+KEY+" name "+" hex8(key id) "+" base64(type || seed)
 *   type 0x01  Ed25519 over the text
 *   type 0x04  Ed25519 cosignature: signature = u64 big-endian time || Ed25519 over
 *              "cosignature/v1" LF "time " decimal LF text
 *
 * Valid UTF-8; no character below 0x20 but LF. A name is not empty and holds no Unicode space and no
 * '+'. Base64 is the standard alphabet with padding and zero spare bits.
 *
 * Side: broker, auditor, cli. Trusts: nothing. Owns: the format. The process calls sodium_init once.
 */
#ifndef FUMEHOOD_PROTO_NOTE_H
#define FUMEHOOD_PROTO_NOTE_H

#include "proto/err.h"
#include "proto/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOTE_NAME_MAX_BYTES 255
#define NOTE_KEY_BYTES 32
#define NOTE_SEED_BYTES 32
#define NOTE_SIG_BYTES 64
#define NOTE_ID_BYTES 4
/* A name, two '+', 8 hex digits, base64 of 33 bytes, NUL; the skey has 12 more. */
#define NOTE_VKEY_MAX_BYTES (NOTE_NAME_MAX_BYTES + 2 + 8 + 44 + 1)
#define NOTE_SKEY_MAX_BYTES (NOTE_VKEY_MAX_BYTES + 12)
/* Bytes that one Ed25519 signature line adds at most, and the empty line. */
#define NOTE_LINE_MAX_BYTES (4 + NOTE_NAME_MAX_BYTES + 1 + 104 + 1)
#define NOTE_SIG_BLOB_MAX_BYTES 8192 /* post-quantum lines of unknown keys reach 5 kB */

enum note_type { NOTE_ED25519 = 0x01, NOTE_COSIGNATURE = 0x04 };

/* A public key that somebody trusts (a parsed vkey). Plain data: copy and compare as you like. */
struct note_key {
	char name[NOTE_NAME_MAX_BYTES + 1];
	uint8_t type; /* enum note_type: other types are refused by note_vkey_parse */
	uint8_t id[NOTE_ID_BYTES];
	uint8_t pk[NOTE_KEY_BYTES];
};

/* A private key. Holds a secret: note_signer_clear when done. */
struct note_signer {
	struct note_key key;
	uint8_t sk[NOTE_SEED_BYTES + NOTE_KEY_BYTES]; /* libsodium's form: seed || public key */
};

/* One signature line, as pointers into the note. */
struct note_line {
	const char *name;
	size_t name_len;
	uint8_t id[NOTE_ID_BYTES];
	const char *b64; /* of id and signature together */
	size_t b64_len;
};

/* A note that is well formed, nothing more: note_verify says whether to believe it. */
struct note {
	const char *text; /* includes its final LF; not NUL ended */
	size_t text_len;
	struct note_line lines[LIMIT_NOTE_SIGNATURES];
	size_t n_lines;
};

/* Reads a vkey. Errors: ERR_CONFIG (malformed, unknown type, key id that does not follow). */
MUST_CHECK int note_vkey_parse(const char *text, size_t len, struct note_key *out, struct err *e);
/* Writes the vkey, NUL ended. */
void note_vkey_format(const struct note_key *k, char out[NOTE_VKEY_MAX_BYTES]);

/* Makes a key of this name from a 32-byte seed. Errors: ERR_CONFIG (name). */
MUST_CHECK int note_signer_init(const char *name, size_t name_len, const uint8_t seed[NOTE_SEED_BYTES],
                                struct note_signer *out, struct err *e);
/* Makes a key that cosigns: type 0x04. Errors: ERR_CONFIG (name). */
MUST_CHECK int note_cosigner_init(const char *name, size_t name_len, const uint8_t seed[NOTE_SEED_BYTES],
                                  struct note_signer *out, struct err *e);
/* Reads a private key in the text form of Go's x/mod sumdb/note. Errors: ERR_CONFIG. */
MUST_CHECK int note_skey_parse(const char *text, size_t len, struct note_signer *out, struct err *e);
void note_skey_format(const struct note_signer *s, char out[NOTE_SKEY_MAX_BYTES]);
void note_signer_clear(struct note_signer *s);

/* Says whether this may be a key's name. */
bool note_name_is_ok(const char *name, size_t len);

/* Splits a note and checks its form. out points into in. At most LIMIT_NOTE_SIGNATURES lines.
 * Errors: ERR_SIGNATURE (malformed), ERR_LIMIT (too many signatures). */
MUST_CHECK int note_parse(const char *in, size_t len, struct note *out, struct err *e);

/* Checks the lines against the keys that the caller knows (at most 64), by name and id:
 * - a line of an unknown key is ignored;
 * - a line of a known key that does not verify rejects the whole note;
 * - no good line of a known key rejects it, too;
 * - two different known keys with the same name and id reject it.
 * *good_out gets bit i for each keys[i] with a good signature. A threshold is counted with
 * note_count_distinct, because one key may stand under two names.
 * Errors: ERR_SIGNATURE. */
MUST_CHECK int note_verify(const struct note *n, const struct note_key *keys, size_t n_keys,
                           uint64_t *good_out, struct err *e);

/* How many different public keys have their bit set: each counts once, whatever its name, id, type. */
unsigned note_count_distinct(const struct note_key *keys, size_t n_keys, uint64_t good);

/* The time (unix seconds) of the newest good cosignature line of key k (type 0x04); 0 when there is
 * none. */
uint64_t note_cosignature_time(const struct note *n, const struct note_key *k);

/* Signs text (ends in LF, valid as above) with each signer and writes the whole note to out, not NUL
 * ended. cap: text_len + 1 + n * NOTE_LINE_MAX_BYTES is always enough. Signers must be of type 0x01.
 * Errors: ERR_INPUT (text is not fit to be signed), ERR_LIMIT (cap, or more than 16 signers). */
MUST_CHECK int note_sign(const char *text, size_t text_len, const struct note_signer *signers,
                         size_t n_signers, char *out, size_t cap, size_t *out_len, struct err *e);

/* Writes one cosignature line (type 0x04) for the text, as tlog-cosignature says. time_unix > 0.
 * Errors: ERR_INPUT, ERR_LIMIT. */
MUST_CHECK int note_cosign(const char *text, size_t text_len, const struct note_signer *cosigner,
                           uint64_t time_unix, char *out, size_t cap, size_t *out_len, struct err *e);

/* Reads a decimal number as notes write it: digits only, no leading zero, no sign, at most 2^64-1. */
bool note_decimal(const char *text, size_t len, uint64_t *out);

#endif
