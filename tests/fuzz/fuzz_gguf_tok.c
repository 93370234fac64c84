/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: tokenizer_open, tokenizer_encode and tokenizer_decode (found tokens, pre-tokenizers, merges,
 * SentencePiece, WordPiece, Unicode lookups). The first two bytes choose a kind, a pre-tokenizer and options,
 * then come tokens and merges as lines up to a NUL, then the text. Lossless kinds must give the text back.
 */
#include "sandbox/inside/engine/gguf/tok_in.h"

#include <stdlib.h>
#include <string.h>

#define ARENA ((size_t)16 << 20)
#define TOKENS_MAX 600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const pres[] = { "default", "llama-bpe", "gpt-2", "smollm", "falcon", "qwen2", "qwen35", "tekken", "gpt-4o",
	                            "deepseek-coder" };

/* A file of tables is easier made than parsed: pairs as gguf_load leaves them. */
struct made { uint8_t bytes[1 << 16]; size_t n; };

static struct gguf_pair put(struct made *m, const char *key, int type, int elem, uint64_t n, size_t start)
{
	return (struct gguf_pair){ .key = { (const uint8_t *)key, strlen(key) }, .type = type, .elem = elem, .n = n,
		                   .data = m->bytes + start, .bytes = m->n - start };
}

static void put_string(struct made *m, const void *p, size_t len)
{
	uint64_t n = len;
	if (m->n + 8 + len > sizeof m->bytes)
		return;
	memcpy(m->bytes + m->n, &n, 8);
	memcpy(m->bytes + m->n + 8, p, len);
	m->n += 8 + len;
}

static void put_bytes(struct made *m, int kind, uint64_t *n)
{
	for (unsigned b = 0; b < 256; b++) {
		static const char hex[] = "0123456789ABCDEF";
		char text[7] = { '<', '0', 'x', hex[b >> 4], hex[b & 15], '>', 0 };
		uint8_t c[4];
		uint32_t cp = byte_char((uint8_t)b);
		if (kind == KIND_SPM) {
			put_string(m, text, 6);
		} else if (cp < 0x80) {
			c[0] = (uint8_t)cp;
			put_string(m, c, 1);
		} else {
			c[0] = (uint8_t)(0xc0 | cp >> 6);
			c[1] = (uint8_t)(0x80 | (cp & 0x3f));
			put_string(m, c, 2);
		}
		++*n;
	}
	if (kind == KIND_SPM) { /* without it blanks are bytes, and come back as U+2581 */
		put_string(m, "\xe2\x96\x81", 3);
		++*n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *mem;
	static struct made made;
	static const char *const kinds[] = { "llama", "gpt2", "bert" };
	struct gguf_pair pairs[8];
	struct gguf_model m = { 0 };
	struct arena a, scratch;
	struct tokenizer *t;
	struct err e;
	uint64_t n_tokens = 0, n_merges = 0;
	size_t n = 0, start, types_at;
	if (size < 3)
		return 0;
	if (!mem)
		mem = malloc(2 * ARENA);
	arena_init(&a, mem, ARENA);
	arena_init(&scratch, mem + ARENA, ARENA);
	int kind = data[0] % 3;
	const char *pre = pres[data[0] / 3 % 10];
	const uint8_t *p = data + 2, *end = memchr(p, 0, size - 2);
	if (!end)
		return 0;
	made.n = 0;
	put_string(&made, kinds[kind], strlen(kinds[kind]));
	pairs[n++] = put(&made, "tokenizer.ggml.model", GV_STRING, GV_STRING, 1, 0);
	start = made.n;
	put_string(&made, pre, strlen(pre));
	pairs[n++] = put(&made, "tokenizer.ggml.pre", GV_STRING, GV_STRING, 1, start);
	start = made.n;
	if (kind != KIND_WPM)
		put_bytes(&made, kind, &n_tokens);
	/* Lines with a blank inside are merges, the others tokens. */
	for (int merges = 0; merges < 2; merges++) {
		for (const uint8_t *q = p; q < end;) {
			const uint8_t *line = memchr(q, '\n', (size_t)(end - q));
			size_t len = (size_t)((line ? line : end) - q);
			bool is_merge = len > 2 && memchr(q + 1, ' ', len - 1);
			if (len && is_merge == merges && n_tokens < TOKENS_MAX && made.n + len + 3000 < sizeof made.bytes) {
				put_string(&made, q, len);
				n_tokens += !merges;
				n_merges += merges;
			}
			q += len + 1;
		}
		if (merges && n_merges)
			pairs[n++] = put(&made, "tokenizer.ggml.merges", GV_ARRAY, GV_STRING, n_merges, start);
		if (!merges)
			pairs[n++] = put(&made, "tokenizer.ggml.tokens", GV_ARRAY, GV_STRING, n_tokens, start);
		start = made.n;
	}
	types_at = made.n = (made.n + 3) & ~(size_t)3;
	for (uint64_t i = 0; i < n_tokens && made.n + 4 <= sizeof made.bytes; i++, made.n += 4) {
		uint32_t type = i < 256 && kind == KIND_SPM ? TT_BYTE : i > 256 && (data[1] >> (i & 3) & 1) ? TT_USER : TT_NORMAL;
		memcpy(made.bytes + made.n, &type, 4);
	}
	pairs[n++] = put(&made, "tokenizer.ggml.token_type", GV_ARRAY, GV_I32, n_tokens, types_at);
	m.arena = &a;
	m.file = made.bytes;
	m.pairs = pairs;
	m.n_pairs = n;
	m.n_tokens = n_tokens;
	if (!n_tokens || !strmap_init(&m.keys, &a, pairs, sizeof pairs[0], n))
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t first;
		if (strmap_add(&m.keys, i, &first))
			return 0;
	}
	if (tokenizer_open(&a, &m, &t, &e))
		return 0;
	const uint8_t *text = end + 1, *back;
	size_t len = (size_t)(data + size - text), k, n_back;
	const uint32_t *ids;
	uint8_t *copy = malloc(len ? len : 1);
	memcpy(copy, text, len);
	if (!tokenizer_encode(t, &scratch, copy, len, data[1] >> 4 & 3, &ids, &k, &e)) {
		if (tokenizer_decode(t, &scratch, ids, k, TOK_SHOW, &back, &n_back, &e))
			abort();
		/* To SentencePiece U+2581 is a blank; and users' tokens are written as they stand, pieces decoded. */
		bool lossless = (kind == KIND_SPM && !memmem(copy, len, "\xe2\x96\x81", 3)) || kind == KIND_BPE;
		if (data[1] & 15)
			lossless = false;
		if (lossless && !(data[1] >> 4 & TOK_ADD) && (n_back != len || memcmp(back, copy, len)))
			abort();
	}
	free(copy);
	return 0;
}
