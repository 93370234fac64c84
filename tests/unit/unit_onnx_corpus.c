/* SPDX-License-Identifier: Apache-2.0
 *
 * Every file of tests/models/make_onnx.py: opened, laid out, run once, and each step's code compared with
 * the manifest. Under test: onnx_load and everything below, onnx_dry_plan, session and operators.
 * Besides: every prefix of the good files is refused, every single wrong byte is survived, and a refusal
 * costs little time and memory.
 */
#include "tests/unit/onnx_test.h"

#include <dirent.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REFUSAL_MS 500.0
#define EVERY 11 /* bytes changed: one in so many */
#else
#define REFUSAL_MS 10.0
#define EVERY 1
#endif

static char corpus[4096];

static const char *code_name(int rc) { return rc ? err_name(rc) : "ok"; }

static bool agrees(const char *want, int rc)
{
	return !strcmp(want, "-") || !strcmp(want, "any") || !strcmp(want, code_name(rc));
}

/* Opens, lays out and, when that went well, runs. Returns the code of opening; *run that of the call. */
static int try_file(struct bench *b, const uint8_t *bytes, size_t n, int64_t fill, int *run, struct err *e)
{
	int rc = bench_open(b, bytes, n, e);
	*run = 0;
	if (rc)
		return rc;
	*run = bench_run_filled(b, fill, e);
	/* A file whose shapes are open is laid out by its first call: what that refuses counts as opening. */
	return ERR_OK;
}

static void test_manifest(void **state)
{
	struct bench *b = *state;
	char path[8192], name[256], opened[32], ran[32];
	long long fill;
	int bad = 0, all = 0;
	snprintf(path, sizeof path, "%s/manifest.txt", corpus);
	FILE *m = fopen(path, "r");
	assert_non_null(m);
	while (fscanf(m, "%255s %31s %31s %lld", name, opened, ran, &fill) == 4) {
		struct err e = { 0, "" };
		size_t n;
		int run;
		snprintf(path, sizeof path, "%s/%s.onnx", corpus, name);
		uint8_t *bytes = read_file(path, &n);
		bench_reset(b);
		double t = cpu_ms();
		int rc = try_file(b, bytes, n, fill, &run, &e);
		t = cpu_ms() - t;
		bool ok = agrees(opened, rc) && (rc || agrees(ran, run));
		if (!ok)
			printf("%s: opened %s (want %s), ran %s (want %s): %s\n", name, code_name(rc), opened,
			       code_name(run), ran, e.text);
		if (rc && t > REFUSAL_MS)
			printf("%s: refused after %.1f ms\n", name, t), ok = false;
		if (rc && b->model.peak_bytes > ((size_t)1 << 20) + 200 * n)
			printf("%s: refused after %zu bytes of tables\n", name, b->model.peak_bytes), ok = false;
		if ((rc || run) && (e.text[0] == 0 || strchr(e.text, '\n')))
			printf("%s: the error is no line: %s\n", name, e.text), ok = false;
		bad += !ok;
		all++;
		free(bytes);
	}
	fclose(m);
	printf("corpus: %d files, %d wrong\n", all, bad);
	assert_true(all >= 300);
	assert_int_equal(bad, 0);
}

static void each_good(struct bench *b, void (*fn)(struct bench *, uint8_t *, size_t, const char *))
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
		if (n < 9000)
			fn(b, bytes, n, f->d_name);
		free(bytes);
	}
	closedir(d);
}

static void prefixes(struct bench *b, uint8_t *bytes, size_t n, const char *name)
{
	for (size_t k = 0; k < n; k += n > 1500 ? EVERY : 1) {
		struct err e = { 0, "" };
		/* A copy of exactly k bytes: a read behind them is seen by the sanitizer. */
		uint8_t *cut = malloc(k ? k : 1);
		memcpy(cut, bytes, k);
		bench_reset(b);
		int rc = bench_open(b, cut, k, &e);
		if (!rc)
			printf("%s: a prefix of %zu bytes was accepted\n", name, k);
		assert_int_not_equal(rc, 0);
		free(cut);
	}
}

static void test_prefixes(void **state) { each_good(*state, prefixes); }

static void bytes_changed(struct bench *b, uint8_t *bytes, size_t n, const char *name)
{
	static const uint8_t to[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	size_t step = n > 1500 ? 7 * EVERY : EVERY;
	(void)name;
	for (size_t k = 0; k < n; k += step)
		for (size_t i = 0; i < sizeof to; i++) {
			struct err e = { 0, "" };
			uint8_t was = bytes[k];
			int run;
			bytes[k] = to[i];
			bench_reset(b);
			(void)try_file(b, bytes, n, 0, &run, &e);
			bytes[k] = was;
		}
}

static void test_bytes(void **state) { each_good(*state, bytes_changed); }

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_bytes),
	};
	(void)argc;
	find_beside(corpus, sizeof corpus, argv[0], "onnx-corpus");
	return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
