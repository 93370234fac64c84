/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizers: small vocabularies whose merges can be followed by eye, tokens that are found as they stand,
 * bytes that are no UTF-8, texts that come back from their ids, the worst texts and vocabularies within their
 * budget, arenas that are too small; the shared folder's seven real vocabularies with their vectors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "sandbox/inside/engine/gguf/tok.h"
#include "sandbox/inside/engine/gguf/unicode.h"

#ifdef __SANITIZE_ADDRESS__
#define WORST_BYTES ((size_t)20 << 10)
#define ROUNDS 200
#else
#define WORST_BYTES ((size_t)1 << 20)
#define ROUNDS 3000
#endif
#define WORST_MS 4000.0
#define TABLES ((size_t)256 << 20)
#define SCRATCH ((size_t)512 << 20)
#define MARK "\n__ggml_vocab_test__\n"

static char corpus[4096];
static void *tables_mem, *scratch_mem;
static size_t scratch_bytes = SCRATCH;
static uint8_t *file;

static uint8_t *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	uint8_t *p = malloc(*n + 1);
	assert_int_equal(fread(p, 1, *n, f), *n);
	p[*n] = 0;
	fclose(f);
	return p;
}

static struct tokenizer *open_path(const char *path)
{
	static struct arena a;
	struct gguf_model *m;
	struct err e = { 0, "" };
	size_t n;
	free(file);
	file = read_file(path, &n);
	if (!file)
		return NULL;
	arena_init(&a, tables_mem, TABLES);
	if (gguf_load(&a, file, n, &m, &e))
		fail_msg("%s: %s", path, e.text);
	assert_non_null(m->tokenizer);
	return m->tokenizer;
}

static struct tokenizer *open_made(const char *name)
{
	char path[8192];
	snprintf(path, sizeof path, "%s/%s.gguf", corpus, name);
	return open_path(path);
}

static int encode(const struct tokenizer *t, const void *text, size_t n, unsigned flags, const uint32_t **ids, size_t *k,
                  struct arena *a)
{
	struct err e = { 0, "" };
	arena_init(a, scratch_mem, scratch_bytes);
	int rc = tokenizer_encode(t, a, text, n, flags, ids, k, &e);
	assert_true(rc == 0 || e.text[0]);
	return rc;
}

/* Compares the texts of the tokens, joined by bars. */
static void want(const struct tokenizer *t, const char *text, unsigned flags, const char *pieces)
{
	const uint32_t *ids;
	size_t k, n = 0;
	struct arena a;
	char got[1024];
	assert_int_equal(encode(t, text, strlen(text), flags, &ids, &k, &a), 0);
	got[0] = 0;
	for (size_t i = 0; i < k; i++) {
		struct gguf_str s = tokenizer_text(t, ids[i]);
		n += (size_t)snprintf(got + n, sizeof got - n, "%s%.*s", i ? "|" : "", (int)s.len, s.p);
		assert_true(n < sizeof got);
	}
	assert_string_equal(got, pieces);
}

static void test_bpe(void **state)
{
	const struct tokenizer *t = open_made("good_bpe");
	(void)state;
	want(t, "", 0, "");
	want(t, "hello world", 0, "hello|\u0120world");
	want(t, "helo", 0, "he|l|o");
	want(t, "aaa", 0, "aa|a");
	want(t, "aaaaaaa", 0, "aaaa|aa|a");
	want(t, "123", 0, "1|2|3"); /* cut into digits before merging */
	want(t, "hello    hello", 0, "hello|\u0120\u0120|\u0120|\u0120|hello");
	want(t, "\xc3\xa9", 0, "\u00c3|\u00a9");
	t = open_made("good_bpe_whole");
	want(t, "hellohello", 0, "hellohello");
	want(t, "1234", 0, "123|4");
}

/* User-defined tokens always, control tokens on request, the longer first wherever it stands. */
static void test_found(void **state)
{
	const struct tokenizer *t = open_made("good_bpe");
	(void)state;
	want(t, "a<user>b", 0, "a|<user>|b");
	want(t, "a<user>xb", 0, "a|<user>x|b");
	want(t, "<user><|", 0, "<user>|<||");
	want(t, "user><|", 0, "u|s|er><|");
	want(t, "<|bos|>", 0, "<|||b|o|s|||>");
	want(t, "<|bos|>", TOK_PARSE, "<|bos|>");
	want(t, "<|bos|><user>", TOK_PARSE, "<|bos|><user>");
	want(t, "<user><|bos|>", TOK_PARSE, "<user>|<|bos|>");
	want(t, "er><|bos|>", TOK_PARSE, "e|r|>|<|bos|>"); /* the longer one takes what the other needs */
	want(t, "hello<|im_end|>", TOK_PARSE, "hello|<|im_end|>"); /* control by its text, whatever its type */
	want(t, "hello", TOK_ADD, "hello");
	t = open_made("good_bpe_adds");
	want(t, "hello", TOK_ADD, "<|bos|>|hello|<|im_end|>");
	want(t, "hello", 0, "hello");
	want(t, "", TOK_ADD, "<|bos|>|<|im_end|>");
	assert_true(tokenizer_is_end(t, tokenizer_eos(t)) && !tokenizer_is_end(t, tokenizer_bos(t)));
	assert_true(tokenizer_is_control(t, tokenizer_eos(t)));
	assert_false(tokenizer_is_end(t, UINT32_MAX));
}

static void test_spm(void **state)
{
	const struct tokenizer *t = open_made("good_llama");
	(void)state;
	want(t, "", 0, "");
	want(t, "", TOK_ADD, "<s>");
	want(t, "ab", 0, "\u2581ab");
	want(t, "ab", TOK_ADD, "<s>|\u2581ab");
	want(t, " ", 0, "\u2581|\u2581");
	want(t, "abba", 0, "\u2581ab|b|a");
	want(t, "the thing", 0, "\u2581|t|h|e|\u2581|t|h|ing"); /* nothing joins t and h: "the" is never reached */
	want(t, "\xc3\xa9", 0, "\u2581|<0xC3>|<0xA9>");
	want(t, "\xff\xfe", 0, "\u2581|<0xFF>|<0xFE>");
	want(t, "\xff b", 0, "\u2581|<0xFF>|\u2581|b");
	want(t, "\xff" "b", 0, "\u2581|<0xFF>|<0x62>"); /* a sequence cut off takes what follows, as elsewhere */
	want(t, "a</s>b", 0, "\u2581a|<0x3C>|<0x2F>|s|<0x3E>|b");
	want(t, "a</s>b", TOK_PARSE, "\u2581a|</s>|\u2581|b");
	want(open_made("good_spm_plain"), "ab", 0, "ab");
	t = open_made("good_spm_users");
	want(t, "a\n\nb<b>c", 0, "\u2581a|\n\n|\u2581|b|<b>|\u2581|c");
	want(t, "<end_of_turn>  a", TOK_PARSE, "<end_of_turn>|\u2581a"); /* Phi-3 swallows blanks behind it */
	want(t, "<|end|>", TOK_PARSE, "<|end|>");
	want(t, "\n\n\n\n\n \na", 0, "\n\n|\u2581a"); /* .. other places where one could begin among them */
	want(t, "\n\n  <b>  ", 0, "\n\n|<b>");
}

static void test_wordpiece(void **state)
{
	const struct tokenizer *t = open_made("good_wordpiece");
	(void)state;
	want(t, "Unaffable", 0, "\u2581un|aff|able");
	want(t, "the CAF\u00c9!", 0, "\u2581the|\u2581caf|e|\u2581!");
	want(t, "cafe\u0301", 0, "\u2581caf|e");
	want(t, "unx zzz a", 0, "\u2581un|x|[UNK]|\u2581a");
	want(t, "unqx", 0, "[UNK]");
	want(t, "a\u4e2da", 0, "\u2581a|\u2581\u4e2d|\u2581a");
	want(t, "STRASSE Stra\u00dfe", 0, "[UNK]|\u2581stra\u00dfe");
	want(t, "a \x01\xff b", 0, "\u2581a|[UNK]");
	want(t, "", TOK_ADD, "[CLS]|[SEP]");
	want(t, "a", TOK_ADD, "[CLS]|\u2581a|[SEP]");
	t = open_made("good_wordpiece_cased");
	want(t, "Un un caf\u00e9", 0, "[UNK]|\u2581un|[UNK]");
}

static void test_bytes(void **state)
{
	const struct tokenizer *t = open_made("good_bpe");
	(void)state;
	want(t, "\xff\xfe", 0, "\u00ff|\u00fe");
	want(t, "a\xc3", 0, "a|\u00c3");
	t = open_made("good_bpe_missing"); /* no tokens for 04, FE, FF */
	want(t, "a\xff\xfe", 0, "a|\u00ef|\u00bf|\u00bd|\u00ef|\u00bf|\u00bd");
	want(t, "a\004b", 0, "a|b");
}

static uint64_t dice = 88172645463325252u;

static unsigned roll(unsigned n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (unsigned)(dice >> 32) % n;
}

/* Words, runs, any character, any bytes; but for U+2581, which SentencePiece itself takes for a blank. */
static size_t random_text(uint8_t *p, size_t cap)
{
	static const char *const bits[] = { "hello", " the", "  ", "\n\n", "ing", "123", "'ll", "\u4e2d\u6587", "\u00e9", "<user>",
		                            "\U0001f600",
		                            "\t", "a", "\r\n", "<|im_end|>", "...", "\u0301" };
	size_t n = 0, parts = roll(12);
	for (size_t i = 0; i < parts && n + 20 < cap; i++) {
		const char *s = bits[roll(sizeof bits / sizeof bits[0])];
		if (roll(6) == 0) {
			p[n++] = (uint8_t)roll(256);
			continue;
		}
		memcpy(p + n, s, strlen(s));
		n += strlen(s);
	}
	return n;
}

static void come_back(const struct tokenizer *t, unsigned flags, const char *name)
{
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t text[512];
		const uint8_t *back;
		const uint32_t *ids;
		size_t n = random_text(text, sizeof text), k, len;
		struct arena a;
		struct err e;
		assert_int_equal(encode(t, text, n, flags, &ids, &k, &a), 0);
		assert_int_equal(tokenizer_decode(t, &a, ids, k, TOK_SHOW, &back, &len, &e), 0);
		if (len != n || memcmp(back, text, n))
			fail_msg("%s: \"%.*s\" comes back as \"%.*s\"", name, (int)n, text, (int)len, back);
	}
}

static void test_round_trip(void **state)
{
	static const char *const names[] = { "good_bpe", "good_bpe_whole", "good_llama", "good_spm_plain" };
	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		come_back(open_made(names[i]), 0, names[i]);
		come_back(open_made(names[i]), TOK_PARSE, names[i]);
	}
}

static double cpu_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* Long runs without a seam, and text that is nothing but places where a token could begin. */
static void test_worst(void **state)
{
	static const char *const names[] = { "good_bpe", "good_bpe_whole", "good_llama", "good_spm_users", "good_spm_runs",
		                             "good_spm_long_runs", "good_wordpiece" };
	static const char *const units[] = { "a", " ", "\n", "<", "<user>", "er><|", "\xe2\x96\x81", "\xff", "ab", " a" };
	uint8_t *text = malloc(WORST_BYTES);
	int limits = 0;
	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const struct tokenizer *t = open_made(names[i]);
		for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
			const uint32_t *ids;
			size_t k;
			struct arena a;
			for (size_t b = 0; b < WORST_BYTES; b++)
				text[b] = (uint8_t)units[u][b % strlen(units[u])];
			double ms = cpu_ms();
			int rc = encode(t, text, WORST_BYTES, TOK_PARSE, &ids, &k, &a);
			ms = cpu_ms() - ms;
			if (ms > WORST_MS)
				fail_msg("%s: %zu bytes of \"%s\" took %.0f ms", names[i], WORST_BYTES, units[u], ms);
			assert_true(rc == 0 || rc == ERR_LIMIT);
			limits += rc != 0;
		}
	}
	printf("worst texts: %d of 70 met the budget\n", limits);
	free(text);
}

static void test_small_scratch(void **state)
{
	const char *names[] = { "good_bpe", "good_llama", "good_wordpiece" };
	const char *text = "hello <user> the thing hello world";
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const struct tokenizer *t = open_made(names[i]);
		int refused = 0;
		for (scratch_bytes = 0; scratch_bytes < 6000; scratch_bytes += 61) {
			const uint32_t *ids;
			size_t k;
			struct arena a;
			int rc = encode(t, text, strlen(text), TOK_PARSE, &ids, &k, &a);
			assert_true(rc == 0 || rc == ERR_LIMIT);
			refused += rc != 0;
		}
		scratch_bytes = SCRATCH;
		assert_true(refused > 10);
	}
	struct arena a;
	const uint32_t *ids, bad = 1u << 30;
	const uint8_t *back;
	size_t k;
	struct err e;
	const struct tokenizer *t = open_made("good_bpe");
	assert_int_equal(encode(t, text, LIMIT_GGUF_TEXT_BYTES + 1, 0, &ids, &k, &a), ERR_LIMIT);
	assert_int_equal(tokenizer_decode(t, &a, &bad, 1, 0, &back, &k, &e), ERR_INPUT);
}

static void test_unicode(void **state)
{
	(void)state;
	assert_int_equal(unicode_class('a'), UC_LETTER);
	assert_int_equal(unicode_class('7'), UC_NUMBER);
	assert_int_equal(unicode_class(0x00b2), UC_NUMBER);
	assert_int_equal(unicode_class('$'), UC_SYMBOL);
	assert_int_equal(unicode_class('%'), UC_PUNCT);
	assert_int_equal(unicode_class(0x0301), UC_MARK);
	assert_int_equal(unicode_class(0x3000), UC_SPACE);
	assert_int_equal(unicode_class(0x85), UC_SPACE);
	assert_int_equal(unicode_class(0), UC_CONTROL);
	assert_int_equal(unicode_class(0x10ffff), UC_OTHER);
	assert_int_equal(unicode_class(0x0378), UC_OTHER);
	assert_int_equal(unicode_lower(0x130), 'i');
	assert_int_equal(unicode_lower(0x401), 0x451);
	assert_int_equal(unicode_lower(0x101), 0x101);
	assert_int_equal(unicode_lower(0x100), 0x101);
	assert_int_equal(unicode_nfd_first(0xe9), 'e');
	assert_int_equal(unicode_nfd_first(0xac01), 0x1100);
	assert_int_equal(unicode_nfd_first(0x4e2d), 0x4e2d);
}

static void vectors(const struct tokenizer *t, const char *path, const char *name, bool lossless)
{
	char name_in[8300], name_out[8300];
	size_t n, n_out;
	int all = 0;
	snprintf(name_in, sizeof name_in, "%s.inp", path);
	snprintf(name_out, sizeof name_out, "%s.out", path);
	uint8_t *in = read_file(name_in, &n), *out = read_file(name_out, &n_out);
	assert_true(in && out);
	char *line = (char *)out;
	for (const uint8_t *p = in, *end; (end = memmem(p, (size_t)(in + n - p), MARK, strlen(MARK))); p = end + strlen(MARK)) {
		const uint32_t *ids;
		const uint8_t *back;
		size_t k, len;
		struct arena a;
		struct err e;
		assert_int_equal(encode(t, p, (size_t)(end - p), 0, &ids, &k, &a), 0);
		for (size_t i = 0; i < k; i++) {
			char *next;
			unsigned long v = strtoul(line, &next, 10);
			if (next == line || ids[i] != v)
				fail_msg("%s: text %d, token %zu is %u", name, all, i, ids[i]);
			line = next;
		}
		assert_int_equal(*line, '\n');
		line++;
		assert_int_equal(tokenizer_decode(t, &a, ids, k, 0, &back, &len, &e), 0);
		assert_true(!lossless || (len == (size_t)(end - p) && !memcmp(back, p, len)));
		all++;
	}
	assert_int_equal(all, 46);
	free(in);
	free(out);
}

static void test_real_vocabularies(void **state)
{
	static const char *const names[] = { "llama-spm", "phi-3", "bert-bge", "gpt-2", "starcoder", "refact", "falcon" };
	const char *shared = getenv("FUMEHOOD_SHARED");
	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char path[8192];
		snprintf(path, sizeof path, "%s/models/ggml-vocab-%s.gguf", shared ? shared : "../shared", names[i]);
		const struct tokenizer *t = open_path(path);
		if (!t) {
			printf("SKIP vectors of real vocabularies: %s is not there\n", path);
			return;
		}
		vectors(t, path, names[i], strcmp(names[i], "bert-bge") != 0);
		if (!strcmp(names[i], "gpt-2") || !strcmp(names[i], "llama-spm"))
			come_back(t, 0, names[i]);
	}
	printf("vectors: 7 real vocabularies of 46 texts agree\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bpe),        cmocka_unit_test(test_found),         cmocka_unit_test(test_spm),
		cmocka_unit_test(test_wordpiece),  cmocka_unit_test(test_bytes),         cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_worst),      cmocka_unit_test(test_small_scratch), cmocka_unit_test(test_unicode),
		cmocka_unit_test(test_real_vocabularies),
	};
	const char *slash = strrchr(argv[0], '/');
	(void)argc;
	snprintf(corpus, sizeof corpus, "%.*s/../gguf-corpus", slash ? (int)(slash - argv[0]) : 1, slash ? argv[0] : ".");
	tables_mem = mmap(NULL, TABLES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	scratch_mem = mmap(NULL, SCRATCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (tables_mem == MAP_FAILED || scratch_mem == MAP_FAILED)
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	free(file);
	return rc;
}
