/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256: the one door to it (libcrypto's EVP, which uses SHA-NI; a reused context, because a fresh
 * look-up of the algorithm costs three times the hash of a log entry).
 *
 * Side: broker, auditor, cli; never the worker. Trusts: nothing. Owns: the contexts.
 */
#ifndef FUMEHOOD_PROTO_HASH_H
#define FUMEHOOD_PROTO_HASH_H

#include "proto/err.h"

#include <stddef.h>
#include <stdint.h>

#define HASH_BYTES 32
#define HASH_HEX_BYTES 64 /* without the NUL */

/* A running SHA-256. One owner at a time; not shared between threads. */
struct hash;

/* A context, ready to add to; NULL when memory is out. */
struct hash *hash_new(void);
void hash_free(struct hash *h);
void hash_add(struct hash *h, const void *data, size_t len);
/* Stores the digest of all that was added and makes h ready for the next one. */
void hash_end(struct hash *h, uint8_t out[HASH_BYTES]);

/* One-shot digests; each thread keeps one context for them. */
void hash_sha256(const void *data, size_t len, uint8_t out[HASH_BYTES]);
/* SHA-256(a || b). */
void hash_sha256_two(const void *a, size_t a_len, const void *b, size_t b_len, uint8_t out[HASH_BYTES]);

/* The salted digest of records and receipts: SHA-256(salt || data). With a salt of 32 random bytes a
 * short or guessable text cannot be found from its digest. */
#define HASH_SALT_BYTES 32
void hash_salted(const uint8_t salt[HASH_SALT_BYTES], const void *data, size_t len, uint8_t out[HASH_BYTES]);

/* One file of a model, for the root digest. */
struct hash_file {
	const char *path; /* as in the manifest: relative, '/' between parts; a lone file's base name */
	size_t path_len;
	uint8_t sha256[HASH_BYTES];
};

/* The OpenSSF model signing (OMS v1.0) root digest: SHA-256 over the files' digests, concatenated in
 * the byte order of their paths. Sorts a copy; files stays as it is.
 * Errors: ERR_MODEL (no file, or the same path twice), ERR_NOMEM. */
MUST_CHECK int hash_oms_root(const struct hash_file *files, size_t n_files, uint8_t out[HASH_BYTES],
                             struct err *e);

/* Lowercase hex, NUL ended. */
void hash_hex(const uint8_t in[HASH_BYTES], char out[HASH_HEX_BYTES + 1]);
/* Reads exactly 64 lowercase hex digits. Errors: ERR_INPUT. */
MUST_CHECK int hash_from_hex(const char *text, size_t len, uint8_t out[HASH_BYTES], struct err *e);

#endif
