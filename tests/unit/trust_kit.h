/* SPDX-License-Identifier: Apache-2.0
 * What the tests of broker/trust share: keys from fixed seeds and notes built from lines. */
#ifndef FUMEHOOD_TESTS_TRUST_KIT_H
#define FUMEHOOD_TESTS_TRUST_KIT_H

#include "broker/trust/trust.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW UINT64_C(1800000000)
#define DAY UINT64_C(86400)

/* A growing text: what a note's author types. */
struct text {
	char s[200000];
	size_t len;
};

static inline void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(t->s + t->len, sizeof t->s - t->len, fmt, ap);
	va_end(ap);
	t->len += (size_t)n;
}

static inline struct note_signer key_make(const char *name, uint8_t first)
{
	uint8_t seed[NOTE_SEED_BYTES];
	struct note_signer s;
	struct err e;
	for (size_t i = 0; i < sizeof seed; i++)
		seed[i] = (uint8_t)(first + i);
	if (note_signer_init(name, strlen(name), seed, &s, &e) != ERR_OK)
		abort();
	return s;
}

static inline const char *vkey(const struct note_signer *s)
{
	static char out[8][NOTE_VKEY_MAX_BYTES];
	static unsigned at;
	at = (at + 1) % 8;
	note_vkey_format(&s->key, out[at]);
	return out[at];
}

static inline const char *hex(const void *bytes, size_t len)
{
	static char out[8][HASH_HEX_BYTES + 1];
	static unsigned at;
	uint8_t h[HASH_BYTES];
	at = (at + 1) % 8;
	hash_sha256(bytes, len, h);
	hash_hex(h, out[at]);
	return out[at];
}

/* Replaces the first `from` by `to`, which must be there. */
static inline void swap(struct text *t, const char *from, const char *to)
{
	char *p = strstr(t->s, from);
	if (!p)
		abort();
	size_t a = strlen(from), b = strlen(to);
	memmove(p + b, p + a, t->len - (size_t)(p - t->s) - a + 1);
	memcpy(p, to, b);
	t->len = t->len - a + b;
}

/* Signs in place. */
static inline void sign(struct text *t, const struct note_signer *signers, size_t n)
{
	static char out[sizeof t->s];
	struct err e;
	size_t len = 0;
	if (note_sign(t->s, t->len, signers, n, out, sizeof out - 1, &len, &e) != ERR_OK) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	memcpy(t->s, out, len);
	t->s[len] = 0;
	t->len = len;
}

/* The file lines of a model of n files, and the root that follows. */
static inline void files_add(struct text *t, unsigned n, unsigned seed)
{
	struct hash_file f[LIMIT_MODEL_FILES] = { { 0 } };
	static char path[LIMIT_MODEL_FILES][32];
	char h[HASH_HEX_BYTES + 1];
	uint8_t root[HASH_BYTES];
	struct err e;
	for (unsigned i = 0; i < n; i++) {
		unsigned v[2] = { seed, i };
		f[i].path = path[i];
		f[i].path_len = (size_t)snprintf(path[i], sizeof path[i], "part-%02u.onnx", i);
		hash_sha256(v, sizeof v, f[i].sha256);
	}
	if (hash_oms_root(f, n, root, &e) != ERR_OK)
		abort();
	hash_hex(root, h);
	add(t, "root sha256:%s\n", h);
	for (unsigned i = 0; i < n; i++) {
		hash_hex(f[i].sha256, h);
		add(t, "file %u sha256:%s %s\n", 100 + i, h, path[i]);
	}
}

static inline void model_text(struct text *t, const char *name, uint64_t version, unsigned seed)
{
	t->len = 0;
	add(t, "fumehood-model/v1\nname %s\nversion %" PRIu64 "\ncreated %" PRIu64 "\nexpires %" PRIu64 "\n", name,
	    version, NOW - DAY, NOW + DAY);
	files_add(t, 2, seed);
}

#endif
