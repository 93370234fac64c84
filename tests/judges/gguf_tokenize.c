/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizes without a worker; never installed.
 *
 *   gguf_tokenize MODEL --file F [--special]    ids of a file's text on one line; --special: what the file
 *                                               adds is added, and control tokens in the text are parsed
 *   gguf_tokenize MODEL --vectors INP OUT       texts and ids as llama.cpp keeps them: counts what differs,
 *                                               and texts that do not come back from their ids
 */
#include "tests/judges/gguf_open.h"

#include "sandbox/inside/engine/gguf/tok.h"

#include <stdlib.h>
#include <string.h>

#define MARK "\n__ggml_vocab_test__\n"

static uint8_t *read_all(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return perror(path), NULL;
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	uint8_t *p = malloc(*n + 1);
	if (!p || fread(p, 1, *n, f) != *n)
		return perror(path), NULL;
	p[*n] = 0;
	fclose(f);
	return p;
}

static struct arena scratch_new(void)
{
	static void *mem;
	struct arena a;
	if (!mem)
		mem = mmap(NULL, OPEN_ARENA * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	arena_init(&a, mem, OPEN_ARENA * 4);
	return a;
}

static int encode(const struct gguf_model *m, struct arena *a, const uint8_t *p, size_t n, unsigned flags,
                  const uint32_t **ids, size_t *k)
{
	struct err e;
	if (!tokenizer_encode(m->tokenizer, a, p, n, flags, ids, k, &e))
		return 0;
	fprintf(stderr, "%s: %s\n", err_name(e.code), e.text);
	return 3;
}

static int one_file(const struct gguf_model *m, const char *path, unsigned flags)
{
	struct arena a = scratch_new();
	const uint32_t *ids;
	size_t n, k;
	uint8_t *p = read_all(path, &n);
	if (!p || encode(m, &a, p, n, flags, &ids, &k))
		return 3;
	for (size_t i = 0; i < k; i++)
		printf(i ? " %u" : "%u", ids[i]);
	printf("\n");
	free(p);
	return 0;
}

static bool comes_back(const struct gguf_model *m, struct arena *a, const uint32_t *ids, size_t k, const uint8_t *p, size_t n)
{
	const uint8_t *text;
	size_t len;
	struct err e;
	return !tokenizer_decode(m->tokenizer, a, ids, k, TOK_SHOW, &text, &len, &e) && len == n && !memcmp(text, p, n);
}

static int vectors(const struct gguf_model *m, const char *inp, const char *out)
{
	size_t n, n_out;
	uint8_t *in = read_all(inp, &n), *want = read_all(out, &n_out);
	int wrong = 0, lost = 0, all = 0;
	char *line = (char *)want;
	if (!in || !want)
		return 3;
	for (const uint8_t *p = in, *end; (end = memmem(p, (size_t)(in + n - p), MARK, strlen(MARK))); p = end + strlen(MARK)) {
		struct arena a = scratch_new();
		const uint32_t *ids;
		size_t k, i = 0;
		char *stop = strchr(line, '\n');
		bool same = true;
		if (!stop || encode(m, &a, p, (size_t)(end - p), 0, &ids, &k))
			return 3;
		*stop = 0;
		for (char *tok = line, *next; *tok; tok = next, i++) {
			unsigned long v = strtoul(tok, &next, 10);
			if (next == tok)
				break;
			same = same && i < k && ids[i] == v;
		}
		if (!same || i != k) {
			wrong++;
			fprintf(stderr, "text %d: want%s\n        got", all, line);
			for (size_t j = 0; j < k; j++)
				fprintf(stderr, " %u", ids[j]);
			fprintf(stderr, "\n");
		}
		lost += !comes_back(m, &a, ids, k, p, (size_t)(end - p));
		all++;
		line = stop + 1;
	}
	printf("%d texts, %d differ, %d do not come back\n", all, wrong, lost);
	free(in);
	free(want);
	return wrong || all == 0;
}

int main(int argc, char **argv)
{
	struct gguf_model *m = argc >= 4 ? open_model(argv[1]) : NULL;
	if (!m)
		return 3;
	if (!m->tokenizer) {
		fprintf(stderr, "%s: %s\n", err_name(m->verdict.code), m->verdict.text);
		return 4;
	}
	if (!strcmp(argv[2], "--file"))
		return one_file(m, argv[3], argc == 5 && !strcmp(argv[4], "--special") ? TOK_ADD | TOK_PARSE : 0);
	if (!strcmp(argv[2], "--vectors") && argc == 5)
		return vectors(m, argv[3], argv[4]);
	return 2;
}
