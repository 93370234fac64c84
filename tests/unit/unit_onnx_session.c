/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: engine_session_open, _run, _scrub over the files that make_onnx.py calls good, and
 * tests/models/tiny.onnx: the same bits whatever the threads, the history and the addresses; inputs that do
 * not fit; nothing old in answers; no system call while opening, planning and running.
 */
#include "tests/unit/onnx_test.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char corpus[4096];
#define RANDOM (INT64_MAX - 1) /* fills floats from the seed */

static uint8_t *file(const char *name, size_t *n)
{
	char path[8192];
	snprintf(path, sizeof path, "%s/%s.onnx", corpus, name);
	return read_file(path, n);
}

static void open_good(struct bench *b, const uint8_t *bytes, size_t n)
{
	struct err e = { 0, "" };
	bench_reset(b);
	if (bench_open(b, bytes, n, &e))
		fail_msg("%s", e.text);
}

static void run_good(struct bench *b)
{
	struct err e = { 0, "" };
	if (bench_run(b, &e))
		fail_msg("%s", e.text);
}

/* The first answer's bytes, copied. */
static float *answer(struct bench *b, size_t *n)
{
	float *p = malloc(b->out[0].bytes + 1);
	*n = b->out[0].bytes;
	memcpy(p, b->out[0].data, *n);
	return p;
}

/* --- the same bits ------------------------------------------------------------------------------------------- */

static void batch(struct bench *b, int64_t n, uint32_t seed)
{
	bench_inputs_free(b);
	bench_inputs(b, 16, seed, RANDOM);
	free(b->in[0].data);
	b->in[0].dims[0] = n;
	b->in[0].bytes = (size_t)n * 16 * 16 * 4;
	b->in[0].data = malloc(b->in[0].bytes);
	for (size_t i = 0; i < b->in[0].bytes / 4; i++) {
		seed = seed * 1664525 + 1013904223;
		((float *)b->in[0].data)[i] = (float)(seed >> 8) / 8388608.0f - 1;
	}
}

/* What one thread answers on a fresh session is what every other way must give. */
static void test_same_bits(void **state)
{
	struct bench *b = *state;
	size_t n, len, k;
	uint8_t *bytes = file("good_tiny", &n);
	float *want, *got;
	for (int level = LEVEL_C; level < LEVEL__MAX; level++) {
		if (!level_is_supported((enum level)level))
			continue;
		b->level = level;
		b->pool = NULL;
		open_good(b, bytes, n);
		batch(b, 3, 7);
		run_good(b);
		want = answer(b, &len);
		for (unsigned threads = 1; threads <= 4; threads++) {
			b->pool = bench_pool(threads);
			open_good(b, bytes, n);
			for (int64_t other = 1; other <= 5; other += 2) { /* replans between */
				batch(b, other, 99);
				run_good(b);
				batch(b, 3, 7);
				run_good(b);
				got = answer(b, &k);
				assert_int_equal(k, len);
				assert_memory_equal(got, want, len);
				free(got);
			}
			pool_stop(b->pool);
			b->pool = NULL;
		}
		/* Alone and in a batch: row 0. */
		batch(b, 3, 7);
		b->in[0].dims[0] = 1;
		b->in[0].bytes /= 3;
		open_good(b, bytes, n);
		run_good(b);
		assert_memory_equal(b->out[0].data, want, 16);
		free(want);
	}
	b->level = -1;
	bench_inputs_free(b);
	free(bytes);
}

/* Other addresses: arena and inputs shifted by a line. */
static void test_shifted(void **state)
{
	struct bench *b = *state;
	size_t n, len;
	uint8_t *bytes = file("good_tiny", &n), *moved = malloc(n + 64);
	float *want;
	open_good(b, bytes, n);
	batch(b, 2, 5);
	run_good(b);
	want = answer(b, &len);
	for (size_t shift = 1; shift < 64; shift += 13) {
		struct err e = { 0, "" };
		memcpy(moved + shift, bytes, n);
		arena_init(&b->model, (uint8_t *)b->model_mem + 64 * shift, BENCH_ARENA - 64 * shift);
		arena_init(&b->session, (uint8_t *)b->session_mem + 64 * shift, BENCH_ARENA - 64 * shift);
		assert_int_equal(bench_open(b, moved + shift, n, &e), 0);
		run_good(b);
		assert_memory_equal(b->out[0].data, want, len);
	}
	bench_inputs_free(b);
	free(want);
	free(moved);
	free(bytes);
}

/* --- values that decide -------------------------------------------------------------------------------------- */

static void test_branch_by_value(void **state)
{
	struct bench *b = *state;
	size_t n;
	uint8_t *bytes = file("good_if", &n);
	open_good(b, bytes, n);
	bench_inputs(b, 2, 1, 1);
	float *x = b->in[1].data;
	uint8_t *c = b->in[0].data;
	for (int i = 0; i < 6; i++) { /* Relu when c, Neg when not; the plan follows the value */
		x[0] = -1.5f;
		x[1] = 2.0f;
		*c = i & 1;
		run_good(b);
		const float *y = b->out[0].data;
		assert_true(*c ? y[0] == 0 && y[1] == 2 : y[0] == 1.5f && y[1] == -2);
	}
	*c = 2;
	struct err e = { 0, "" };
	assert_int_equal(bench_run(b, &e), ERR_INPUT);
	bench_inputs_free(b);
	free(bytes);
}

static void test_optional_input(void **state)
{
	struct bench *b = *state;
	size_t n;
	uint8_t *bytes = file("good_initializer_is_input", &n);
	float mine[2] = { 10, 20 };
	const struct engine_port *p;
	open_good(b, bytes, n);
	assert_int_equal(engine_model_inputs(b->m, &p), 2);
	assert_true(!p[0].optional && p[1].optional);
	bench_inputs(b, 2, 1, 0);
	assert_int_equal(b->n_in, 1);
	run_good(b);
	float first = *(float *)b->out[0].data;
	b->in[1] = (struct engine_tensor){ .name = "w", .name_len = 1, .dtype = DT_F32, .rank = 1, .dims = { 2 }, .data = mine,
		                           .bytes = 8 };
	b->n_in = 2;
	run_good(b);
	assert_true(((float *)b->out[0].data)[1] == 20.5f);
	b->n_in = 1;
	run_good(b);
	assert_true(*(float *)b->out[0].data == first);
	bench_inputs_free(b);
	free(bytes);
}

/* --- inputs that do not fit ----------------------------------------------------------------------------------- */

static void refused(struct bench *b, int code, const char *word)
{
	struct err e = { 0, "" };
	assert_int_equal(bench_run(b, &e), code);
	if (!strstr(e.text, word))
		fail_msg("\"%s\" does not say \"%s\"", e.text, word);
}

static void test_wrong_inputs(void **state)
{
	struct bench *b = *state;
	size_t n;
	uint8_t *bytes = file("good_relu", &n);
	open_good(b, bytes, n);
	bench_inputs(b, 1, 1, 0);
	struct engine_tensor was = b->in[0];
#define WITH(change, code, word) do { change; refused(b, code, word); b->in[0] = was; b->n_in = 1; } while (0)
	WITH(b->n_in = 0, ERR_INPUT, "missing");
	WITH(b->in[0].name = "z", ERR_INPUT, "no input");
	WITH(b->in[0].name_len = 0, ERR_INPUT, "no input");
	WITH(b->in[0].dtype = DT_I32, ERR_INPUT, "float32");
	WITH(b->in[0].rank = 1, ERR_INPUT, "rank");
	WITH(b->in[0].rank = 9, ERR_INPUT, "rank");
	WITH(b->in[0].rank = -1, ERR_INPUT, "rank");
	WITH(b->in[0].dims[0] = 3, ERR_INPUT, "extent");
	WITH(b->in[0].dims[0] = -2, ERR_INPUT, "extent");
	WITH(b->in[0].dims[0] = INT64_MAX, ERR_INPUT, "extent");
	WITH(b->in[0].bytes = 20, ERR_INPUT, "bytes");
	WITH((b->in[1] = was, b->n_in = 2), ERR_INPUT, "twice");
#undef WITH
	run_good(b);
	bench_inputs_free(b);
	free(bytes);
}

/* A picture too large for the arena is refused with both numbers, and the session goes on. */
static void test_too_large(void **state)
{
	struct bench *b = *state;
	size_t n;
	uint8_t *bytes = file("good_tiny", &n);
	struct err e = { 0, "" };
	bench_reset(b);
	arena_init(&b->session, b->session_mem, 3 << 20);
	assert_int_equal(bench_open(b, bytes, n, &e), 0);
	batch(b, 3000, 1);
	refused(b, ERR_LIMIT, "left");
	batch(b, 2, 1);
	run_good(b);
	batch(b, 3000, 1);
	refused(b, ERR_LIMIT, "left");
	bench_inputs_free(b);
	bench_reset(b);
	arena_init(&b->session, b->session_mem, 200);
	assert_int_equal(bench_open(b, bytes, n, &e), ERR_LIMIT);
	bench_reset(b);
	for (size_t cap = 0; cap < 140 << 10; cap += 997) { /* every table once too large */
		arena_init(&b->model, b->model_mem, cap);
		int rc = engine_model_open(&b->model, bytes, n, &b->m, &e);
		assert_true(rc == ERR_LIMIT || rc == 0);
	}
	free(bytes);
}

/* Weights are packed once: going back and forth between shapes takes no more memory. */
static void test_packed_once(void **state)
{
	struct bench *b = *state;
	size_t n, kept = 0;
	uint8_t *bytes = file("good_tiny", &n);
	open_good(b, bytes, n);
	for (int i = 0; i < 20; i++) {
		batch(b, 1 + i % 4, 1);
		run_good(b);
		if (i == 4)
			kept = b->session.used_bytes;
	}
	assert_int_equal(b->session.used_bytes, kept);
	bench_inputs_free(b);
	free(bytes);
}

/* --- nothing old ------------------------------------------------------------------------------------------------ */

#ifndef __SANITIZE_ADDRESS__ /* there the arena's memory is forbidden to look at */
static bool holds(const void *mem, size_t n, uint32_t word)
{
	const uint32_t *p = mem;
	for (size_t i = 0; i < n / 4; i++)
		if (p[i] == word)
			return true;
	return false;
}
#endif

/* The arena is full of a pattern before the session is laid out: no answer shows it. After a scrub the
 * arena does not hold the request's numbers. */
static void test_no_leak(void **state)
{
#ifndef __SANITIZE_ADDRESS__
	struct bench *b = *state;
	static const char *const names[] = { "good_tiny", "good_relu", "good_if", "gather_-1", "slice_extremes",
		                             "onehot_outside_is_off" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t n;
		uint8_t *bytes = file(names[i], &n);
		uint32_t secret = 0x7e57c0de, *word;
		memset(b->session_mem, 0xa5, 4 << 20);
		memset((uint8_t *)b->session_mem + BENCH_ARENA - (4 << 20), 0xa5, 4 << 20);
		open_good(b, bytes, n);
		bench_inputs(b, 16, 1, 1);
		if (b->in[0].dtype == DT_F32)
			for (word = b->in[0].data; word < (uint32_t *)b->in[0].data + b->in[0].bytes / 4; word++)
				*word = secret;
		run_good(b);
		for (size_t k = 0; k < b->n_out; k++)
			assert_false(holds(b->out[k].data, b->out[k].bytes, 0xa5a5a5a5));
		engine_session_scrub(b->s);
		if (holds(b->session_mem, BENCH_ARENA, secret))
			fail_msg("%s: a number of the request is still there", names[i]);
		run_good(b);
		engine_session_scrub(b->s);
		bench_inputs_free(b);
		free(bytes);
	}
#else
	(void)state;
#endif
}

/* The plan of a large call, then one of a small call in its place: both are gone after a scrub. */
static void test_no_leak_of_older_plans(void **state)
{
#ifndef __SANITIZE_ADDRESS__
	struct bench *b = *state;
	size_t n;
	uint8_t *bytes = file("good_tiny", &n);
	uint32_t secret = 0x7e57c0de, *word;
	open_good(b, bytes, n);
	for (int64_t rows = 64; rows > 0; rows -= 63) {
		batch(b, rows, 1);
		for (word = b->in[0].data; word < (uint32_t *)b->in[0].data + b->in[0].bytes / 4; word++)
			*word = secret;
		run_good(b);
	}
	assert_true(holds(b->session_mem, BENCH_ARENA, secret));
	engine_session_scrub(b->s);
	assert_false(holds(b->session_mem, BENCH_ARENA, secret));
	run_good(b);
	bench_inputs_free(b);
	free(bytes);
#else
	(void)state;
#endif
}

/* --- no system call --------------------------------------------------------------------------------------------- */

/* In the child only read, write and exit exist: it opens, plans, runs, replans and refuses. */
static void test_no_system_call(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	(void)state; /* a sanitizer makes calls of its own */
#else
	struct bench *b = *state;
	size_t n, m;
	uint8_t *good = file("good_tiny", &n), *bad = file("if_10000_deep", &m);
	struct err e = { 0, "" };
	open_good(b, good, n);
	batch(b, 4, 1);
	bench_reset(b);
	pid_t pid = fork();
	if (pid == 0) {
		bool ok = !prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		ok = ok && !bench_open(b, good, n, &e) && !bench_run(b, &e);
		b->in[0].dims[0] = 2;
		b->in[0].bytes /= 2;
		ok = ok && !bench_run(b, &e);
		engine_session_scrub(b->s);
		ok = ok && !bench_run(b, &e);
		b->in[0].dims[0] = 9;
		ok = ok && bench_run(b, &e) == ERR_INPUT;
		arena_init(&b->model, b->model_mem, BENCH_ARENA);
		ok = ok && engine_model_open(&b->model, bad, m, &b->m, &e) == ERR_LIMIT;
		syscall(SYS_exit, ok ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("a system call: the child ended by signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	bench_inputs_free(b);
	free(good);
	free(bad);
#endif
}

/* --- what an inspection sees -------------------------------------------------------------------------------------- */

static const struct engine_fact *fact(const struct engine_model *m, const char *code)
{
	const struct engine_fact *f;
	size_t n = engine_model_facts(m, &f);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(f[i].code, code))
			return &f[i];
	return NULL;
}

static void inspect(struct bench *b, const char *name, const char *code, int severity, int verdict)
{
	static uint8_t *bytes; /* the last file stays: names and metadata point into it */
	size_t n;
	free(bytes);
	bytes = file(name, &n);
	struct err e = { 0, "" }, v = { 0, "" };
	bench_reset(b);
	assert_int_equal(engine_model_inspect(&b->model, bytes, n, &b->m, &v, &e), 0);
	assert_int_equal(v.code, verdict);
	const struct engine_fact *f = fact(b->m, code);
	if (!f || f->severity != severity)
		fail_msg("%s: no fact %s of severity %d", name, code, severity);
	for (const char *c = f->text; *c; c++)
		assert_true(*c >= 0x20 && *c < 0x7f);
}

static void test_facts(void **state)
{
	struct bench *b = *state;
	struct engine_meta meta;
	struct engine_needs needs;
	struct err e = { 0, "" };
	inspect(b, "good_tiny", "operator", 0, 0);
	assert_int_equal(engine_model_metadata_count(b->m), 1);
	engine_model_metadata(b->m, 0, &meta);
	assert_true(meta.key_len == 6 && !memcmp(meta.key, "labels", 6) && meta.value_len == 25);
	assert_int_equal(engine_model_needs(b->m, 2, &needs, &e), 0);
	assert_true(needs.weights_bytes > 5000 && needs.plan_min_bytes > 10000 && needs.graph_bytes > 1000);
	inspect(b, "good_unknown_domain_imported", "unused-domain", 1, 0);
	inspect(b, "good_unused_initializer", "unused-initializer", 1, 0);
	inspect(b, "good_unknown_fields", "unknown-field", 1, 0);
	inspect(b, "good_name_0", "odd-name", 1, 0);
	inspect(b, "good_name_2", "odd-name", 1, 0);
	inspect(b, "graph_unknown_operator", "missing-operator", 2, ERR_UNSUPPORTED);
	inspect(b, "model_domain_used", "missing-operator", 2, ERR_UNSUPPORTED);
	inspect(b, "model_function_shadows", "function", 2, ERR_UNSUPPORTED);
	inspect(b, "attr_unknown", "attribute", 2, ERR_UNSUPPORTED);
	inspect(b, "matmul_shapes", "refused", 2, ERR_MODEL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_bits),
		cmocka_unit_test(test_shifted),
		cmocka_unit_test(test_branch_by_value),
		cmocka_unit_test(test_optional_input),
		cmocka_unit_test(test_wrong_inputs),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_packed_once),
		cmocka_unit_test(test_no_leak),
		cmocka_unit_test(test_no_leak_of_older_plans),
		cmocka_unit_test(test_no_system_call),
		cmocka_unit_test(test_facts),
	};
	(void)argc;
	find_beside(corpus, sizeof corpus, argv[0], "onnx-corpus");
	return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
