/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 through libcrypto: see hash.h.
 * Side: broker, auditor, cli. Trusts: libcrypto. Owns: one context per thread and those it hands out.
 *
 * libcrypto's SHA-256 cannot fail once its context exists. Should it do so all the same, no digest of
 * this process means anything any more, so it ends here rather than go on with a wrong one.
 */
#include "proto/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct hash {
	EVP_MD_CTX *ctx;
};

static EVP_MD_CTX *context_new(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (ctx && EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(ctx);
		ctx = NULL;
	}
	return ctx;
}

static void must(int ok)
{
	if (ok != 1)
		abort();
}

static void finish(EVP_MD_CTX *ctx, uint8_t out[HASH_BYTES])
{
	must(EVP_DigestFinal_ex(ctx, out, NULL));
	must(EVP_DigestInit_ex2(ctx, NULL, NULL)); /* the same algorithm again: no look-up */
}

struct hash *hash_new(void)
{
	struct hash *h = calloc(1, sizeof *h);
	if (h && !(h->ctx = context_new())) {
		free(h);
		h = NULL;
	}
	return h;
}

void hash_free(struct hash *h)
{
	if (h) {
		EVP_MD_CTX_free(h->ctx);
		free(h);
	}
}

void hash_add(struct hash *h, const void *data, size_t len)
{
	if (len)
		must(EVP_DigestUpdate(h->ctx, data, len));
}

void hash_end(struct hash *h, uint8_t out[HASH_BYTES])
{
	finish(h->ctx, out);
}

static EVP_MD_CTX *own_context(void)
{
	static _Thread_local EVP_MD_CTX *ctx;
	if (!ctx)
		ctx = context_new();
	must(ctx != NULL);
	return ctx;
}

void hash_sha256_two(const void *a, size_t a_len, const void *b, size_t b_len, uint8_t out[HASH_BYTES])
{
	EVP_MD_CTX *ctx = own_context();
	if (a_len)
		must(EVP_DigestUpdate(ctx, a, a_len));
	if (b_len)
		must(EVP_DigestUpdate(ctx, b, b_len));
	finish(ctx, out);
}

void hash_sha256(const void *data, size_t len, uint8_t out[HASH_BYTES])
{
	hash_sha256_two(data, len, NULL, 0, out);
}

void hash_salted(const uint8_t salt[HASH_SALT_BYTES], const void *data, size_t len, uint8_t out[HASH_BYTES])
{
	hash_sha256_two(salt, HASH_SALT_BYTES, data, len, out);
}

/* Byte order of the paths; a prefix comes first. */
static int file_order(const void *x, const void *y)
{
	const struct hash_file *const *a = x, *const *b = y;
	size_t la = (*a)->path_len, lb = (*b)->path_len;
	int c = memcmp((*a)->path, (*b)->path, la < lb ? la : lb);
	return c ? c : (la > lb) - (la < lb);
}

int hash_oms_root(const struct hash_file *files, size_t n_files, uint8_t out[HASH_BYTES], struct err *e)
{
	const struct hash_file **order = NULL;
	struct hash *h = NULL;
	char path[200];
	int rc = ERR_OK;

	if (n_files == 0)
		return err_set(e, ERR_MODEL, "a model without files has no root digest: name at least one file");
	order = calloc(n_files, sizeof *order);
	h = hash_new();
	if (!order || !h) {
		rc = err_set(e, ERR_NOMEM, "root digest of %zu files: no memory", n_files);
		goto out;
	}
	for (size_t i = 0; i < n_files; i++)
		order[i] = &files[i];
	qsort(order, n_files, sizeof *order, file_order);
	for (size_t i = 0; i < n_files; i++) {
		if (i > 0 && file_order(&order[i - 1], &order[i]) == 0) {
			err_escape(path, sizeof path, order[i]->path, order[i]->path_len);
			rc = err_set(e, ERR_MODEL, "file \"%s\" is listed twice: name each file once", path);
			goto out;
		}
		hash_add(h, order[i]->sha256, HASH_BYTES);
	}
	hash_end(h, out);
out:
	hash_free(h);
	free(order);
	return rc;
}

void hash_hex(const uint8_t in[HASH_BYTES], char out[HASH_HEX_BYTES + 1])
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < HASH_BYTES; i++) {
		out[2 * i] = digits[in[i] >> 4];
		out[2 * i + 1] = digits[in[i] & 15];
	}
	out[HASH_HEX_BYTES] = 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hash_from_hex(const char *text, size_t len, uint8_t out[HASH_BYTES], struct err *e)
{
	if (len != HASH_HEX_BYTES)
		return err_set(e, ERR_INPUT, "a SHA-256 in hex has 64 digits, this has %zu", len);
	for (size_t i = 0; i < HASH_BYTES; i++) {
		int hi = digit(text[2 * i]), lo = digit(text[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return err_set(e, ERR_INPUT, "a SHA-256 in hex has digits 0-9 and a-f only (character %zu)", 2 * i + 1);
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return ERR_OK;
}
