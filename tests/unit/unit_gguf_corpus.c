/* SPDX-License-Identifier: Apache-2.0
 *
 * Every file of tests/models/make_gguf.py: read, and its code, its verdict and the word that must stand in the
 * error or among the facts compared with the manifest. Under test: gguf_load and everything below.
 * Besides: every prefix of small good files is refused, every single wrong byte is survived, and a refusal
 * costs little time and memory. The shared folder's vocabularies, where they are, are read too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "sandbox/inside/engine/gguf/gguf.h"

#ifdef __SANITIZE_ADDRESS__
#define ARENA ((size_t)24 << 20)
#define REFUSAL_MS 500.0
#define EVERY 5
#else
#define ARENA ((size_t)64 << 20)
#define REFUSAL_MS 10.0
#define EVERY 1
#endif

static char corpus[4096];
static void *memory;
static struct arena arena;

static double cpu_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static uint8_t *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	/* Exactly n bytes: a read behind the file is seen by the sanitizer. */
	uint8_t *p = malloc(*n ? *n : 1);
	assert_int_equal(fread(p, 1, *n, f), *n);
	fclose(f);
	return p;
}

static int try_file(const uint8_t *bytes, size_t n, struct gguf_model **m, struct err *e)
{
	*e = (struct err){ 0, "" };
	*m = NULL;
	arena_init(&arena, memory, ARENA);
	return gguf_load(&arena, bytes, n, m, e);
}

static const char *code_name(int rc) { return rc ? err_name(rc) : "ok"; }

static bool agrees(const char *want, int rc)
{
	if (!strcmp(want, "-") || !strcmp(want, "any"))
		return true;
	return !strcmp(want, "refused") ? rc != 0 : !strcmp(want, code_name(rc));
}

static bool has_word(const char *word, const struct gguf_model *m, const struct err *e)
{
	if (!strcmp(word, "-"))
		return true;
	for (size_t i = 0; m && i < m->n_facts; i++)
		if (!strcmp(m->facts[i].code, word))
			return true;
	return !m && strstr(e->text, word);
}

static bool is_line(const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			return false;
	return s[0] != 0;
}

static bool facts_are_lines(const struct gguf_model *m)
{
	for (size_t i = 0; m && i < m->n_facts; i++)
		if (!is_line(m->facts[i].text) || m->facts[i].severity > 2)
			return false;
	return true;
}

static void test_manifest(void **state)
{
	char path[8192], name[256], opened[32], verdict[32], word[64];
	int bad = 0, all = 0, refused = 0;
	(void)state;
	snprintf(path, sizeof path, "%s/manifest.txt", corpus);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fscanf(f, "%255s %31s %31s %63s", name, opened, verdict, word) == 4) {
		struct gguf_model *m;
		struct err e;
		size_t n;
		snprintf(path, sizeof path, "%s/%s.gguf", corpus, name);
		for (char *p = word; *p; p++)
			*p = *p == '~' ? ' ' : *p;
		uint8_t *bytes = read_file(path, &n);
		assert_non_null(bytes);
		double t = cpu_ms();
		int rc = try_file(bytes, n, &m, &e);
		t = cpu_ms() - t;
		bool ok = agrees(opened, rc) && (rc || agrees(verdict, m->verdict.code)) && has_word(word, m, &e);
		if (!ok)
			printf("%s: %s (want %s), verdict %s (want %s), word \"%s\": %s\n", name, code_name(rc), opened,
			       m ? code_name(m->verdict.code) : "-", verdict, word, e.text);
		if (rc && t > REFUSAL_MS + (double)n / 20e3)
			printf("%s: refused after %.1f ms\n", name, t), ok = false;
		if (rc && arena.peak_bytes > ((size_t)1 << 20) + 12 * n)
			printf("%s: refused after %zu bytes of tables\n", name, arena.peak_bytes), ok = false;
		if ((rc && !is_line(e.text)) || !facts_are_lines(m))
			printf("%s: a text is no line: %s\n", name, e.text), ok = false;
		bad += !ok;
		refused += rc != 0;
		all++;
		free(bytes);
	}
	fclose(f);
	printf("gguf corpus: %d files, %d refused, %d wrong\n", all, refused, bad);
	assert_true(all >= 800);
	assert_int_equal(bad, 0);
}

static void each_good(void (*fn)(uint8_t *, size_t, const char *))
{
	DIR *d = opendir(corpus);
	assert_non_null(d);
	for (struct dirent *f; (f = readdir(d));) {
		char path[8192];
		size_t n;
		if (strncmp(f->d_name, "good_", 5))
			continue;
		snprintf(path, sizeof path, "%s/%s", corpus, f->d_name);
		uint8_t *bytes = read_file(path, &n);
		fn(bytes, n, f->d_name);
		free(bytes);
	}
	closedir(d);
}

/* A file cut short is refused; one that ends behind its records is described, and cannot run. */
static void prefixes(uint8_t *bytes, size_t n, const char *name)
{
	struct gguf_model *m;
	struct err e;
	assert_int_equal(try_file(bytes, n, &m, &e), 0);
	size_t end = (size_t)m->data_off, step = n > 4000 ? n / 400 : EVERY;
	for (uint64_t i = 0; i < m->n_tensors; i++) /* padding behind the last tensor may be missing */
		if (!m->no_data && m->tensors[i].data_off + m->tensors[i].n_bytes > end)
			end = (size_t)(m->tensors[i].data_off + m->tensors[i].n_bytes);
	for (size_t k = 0; k < (end < n ? end : n); k += step) {
		uint8_t *cut = malloc(k ? k : 1);
		memcpy(cut, bytes, k);
		int rc = try_file(cut, k, &m, &e);
		if (!rc && !(m->no_data && m->verdict.code))
			printf("%s: a prefix of %zu of %zu bytes was accepted\n", name, k, n);
		assert_true(rc != 0 || (m->no_data && m->verdict.code));
		free(cut);
	}
}

static void test_prefixes(void **state)
{
	(void)state;
	each_good(prefixes);
}

static void bytes_changed(uint8_t *bytes, size_t n, const char *name)
{
	static const uint8_t to[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	size_t step = n > 1500 ? n / 500 : EVERY;
	(void)name;
	for (size_t k = 0; k < n; k += step)
		for (size_t i = 0; i < sizeof to; i++) {
			struct gguf_model *m;
			struct err e;
			uint8_t was = bytes[k];
			bytes[k] = to[i];
			int rc = try_file(bytes, n, &m, &e);
			assert_true(rc == 0 || is_line(e.text));
			assert_true(facts_are_lines(m));
			bytes[k] = was;
		}
}

static void test_bytes(void **state)
{
	(void)state;
	each_good(bytes_changed);
}

/* The smallest arena in which a file is read, and every smaller one: a refusal, never a crash. */
static void test_small_arenas(void **state)
{
	char path[8192];
	size_t n;
	struct gguf_model *m;
	struct err e;
	int refused = 0;
	(void)state;
	snprintf(path, sizeof path, "%s/good_llama.gguf", corpus);
	uint8_t *bytes = read_file(path, &n);
	assert_int_equal(try_file(bytes, n, &m, &e), 0);
	size_t need = arena.peak_bytes;
	for (size_t cap = 0; cap < need; cap += 1999) {
		arena_init(&arena, memory, cap);
		int rc = gguf_load(&arena, bytes, n, &m, &e);
		assert_true(rc == ERR_LIMIT || rc == 0);
		refused += rc == ERR_LIMIT;
	}
	assert_true(refused > 10);
	free(bytes);
}

/* What inspect shows of a file, in full. */
static void test_facts(void **state)
{
	static const struct { const char *code, *text; } want[] = {
		{ "architecture", "\"llama\"" }, { "name", "claims to be \"tiny llama\"" },
		{ "parameters", "34976 numbers in 20 tensors" }, { "quantization", "Q4_0" },
		{ "tokenizer", "\"llama\", pre-tokenizer \"default\", 320 tokens" }, { "special-token", "bos = 1 \"<s>\"" },
		{ "special-token", "unknown = 0 \"<unk>\"" }, { "context", "trained on 64 tokens of context" },
		{ "shape", "2 layers, 32 wide, 4 heads (2 for keys and values) of 16, feed-forward 64, output tied to the embedding" },
		{ "kv-cache", "256000 bytes per 1000 tokens in F16" },
		{ "chat-template", "\"tokenizer.chat_template\": 50 bytes, SHA-256 "
		  "2f3f666573313d2b0849e1037ccb379ce3a75eb687eccf69f077257e055b93bd" },
	};
	char path[8192];
	size_t n;
	struct gguf_model *m;
	struct err e;
	(void)state;
	snprintf(path, sizeof path, "%s/good_template.gguf", corpus);
	uint8_t *bytes = read_file(path, &n);
	assert_int_equal(try_file(bytes, n, &m, &e), 0);
	for (size_t w = 0; w < sizeof want / sizeof want[0]; w++) {
		bool found = false;
		for (size_t i = 0; i < m->n_facts; i++)
			found = found || (!strcmp(m->facts[i].code, want[w].code) && !strcmp(m->facts[i].text, want[w].text));
		if (!found)
			for (size_t i = 0; i < m->n_facts; i++)
				if (!strcmp(m->facts[i].code, want[w].code))
					printf("%s: \"%s\", want \"%s\"\n", want[w].code, m->facts[i].text, want[w].text);
		assert_true(found);
	}
	assert_int_equal(m->n_metadata, m->n_pairs);
	free(bytes);
}

static void test_shared_vocabularies(void **state)
{
	static const char *const names[] = { "llama-spm", "phi-3", "bert-bge", "gpt-2", "starcoder", "refact", "falcon" };
	const char *shared = getenv("FUMEHOOD_SHARED");
	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char path[8192];
		size_t n;
		struct gguf_model *m;
		struct err e;
		snprintf(path, sizeof path, "%s/models/ggml-vocab-%s.gguf", shared ? shared : "../shared", names[i]);
		uint8_t *bytes = read_file(path, &n);
		if (!bytes) {
			printf("SKIP real vocabularies: %s is not there\n", path);
			return;
		}
		assert_int_equal(try_file(bytes, n, &m, &e), 0);
		assert_true(m->n_tokens > 30000 && m->verdict.code == ERR_UNSUPPORTED);
		free(bytes);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifest),     cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_bytes),        cmocka_unit_test(test_small_arenas),
		cmocka_unit_test(test_facts),        cmocka_unit_test(test_shared_vocabularies),
	};
	const char *slash = strrchr(argv[0], '/');
	(void)argc;
	snprintf(corpus, sizeof corpus, "%.*s/../gguf-corpus", slash ? (int)(slash - argv[0]) : 1, slash ? argv[0] : ".");
	memory = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
