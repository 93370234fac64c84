/* SPDX-License-Identifier: Apache-2.0
 *
 * What the ONNX unit tests share: a model and a session on arenas of their own, and inputs made up.
 */
#ifndef FUMEHOOD_TESTS_ONNX_TEST_H
#define FUMEHOOD_TESTS_ONNX_TEST_H

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

#include "sandbox/inside/engine/engine.h"
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"

#ifdef __SANITIZE_ADDRESS__
#define BENCH_ARENA ((size_t)32 << 20) /* every reset forbids all of it anew */
#else
#define BENCH_ARENA ((size_t)256 << 20)
#endif
#define BENCH_INPUTS 64

struct bench {
	void *model_mem, *session_mem;
	struct arena model, session;
	struct engine_model *m;
	struct engine_session *s;
	struct pool *pool;
	int level;
	struct engine_tensor in[BENCH_INPUTS];
	size_t n_in;
	const struct engine_tensor *out;
	size_t n_out;
};

static inline double cpu_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static inline void *bench_map(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static inline void bench_reset(struct bench *b)
{
	arena_init(&b->model, b->model_mem, BENCH_ARENA);
	arena_init(&b->session, b->session_mem, BENCH_ARENA);
	b->m = NULL;
	b->s = NULL;
}

static inline struct pool *bench_pool(unsigned threads)
{
	struct pool *p;
	assert_int_equal(pool_start(&p, bench_map(pool_bytes(threads)), threads, bench_map(threads << 20), 1 << 20), 0);
	return p;
}

static inline int bench_setup(void **state)
{
	struct bench *b = calloc(1, sizeof *b);
	b->model_mem = bench_map(BENCH_ARENA);
	b->session_mem = bench_map(BENCH_ARENA);
	b->level = -1;
	fp_env_set();
	bench_reset(b);
	*state = b;
	return 0;
}

static inline int bench_teardown(void **state)
{
	struct bench *b = *state;
	munmap(b->model_mem, BENCH_ARENA);
	munmap(b->session_mem, BENCH_ARENA);
	free(b);
	return 0;
}

static inline int bench_open(struct bench *b, const uint8_t *bytes, size_t n, struct err *e)
{
	int rc = engine_model_open(&b->model, bytes, n, &b->m, e);
	return rc ? rc : engine_session_open(&b->session, b->m, b->pool, b->level, &b->s, e);
}

/* One tensor per required input: dynamic extents become dyn (the first one 1), numbers follow from seed. */
static inline void bench_inputs(struct bench *b, int64_t dyn, uint32_t seed, int64_t fill)
{
	const struct engine_port *p;
	size_t n = engine_model_inputs(b->m, &p);
	b->n_in = 0;
	for (size_t i = 0; i < n && b->n_in < BENCH_INPUTS; i++) {
		struct engine_tensor *t = &b->in[b->n_in];
		if (p[i].optional)
			continue;
		*t = (struct engine_tensor){ .name = p[i].name, .name_len = p[i].name_len, .dtype = p[i].dtype,
			                     .rank = p[i].rank < 0 ? 1 : p[i].rank };
		t->bytes = dtype_bytes(t->dtype);
		for (int k = 0; k < t->rank; k++) {
			t->dims[k] = p[i].rank < 0 || p[i].dims[k] < 0 ? (k ? dyn : 1) : p[i].dims[k];
			t->bytes *= (size_t)t->dims[k];
		}
		if (t->bytes > ((size_t)64 << 20))
			t->bytes = 0; /* too large to fill: the call is refused for its bytes */
		t->data = malloc(t->bytes + 1);
		for (size_t k = 0; k < t->bytes / dtype_bytes(t->dtype); k++) {
			seed = seed * 1664525 + 1013904223;
			if (t->dtype == DT_F32)
				((float *)t->data)[k] = fill == INT64_MAX - 1 ? (float)(seed >> 8) / 8388608.0f - 1 : 0.5f;
			else if (t->dtype == DT_I64)
				((int64_t *)t->data)[k] = fill;
			else if (t->dtype == DT_I32)
				((int32_t *)t->data)[k] = (int32_t)fill;
			else
				memset((uint8_t *)t->data + k * dtype_bytes(t->dtype), fill != 0, 1);
		}
		b->n_in++;
	}
}

static inline void bench_inputs_free(struct bench *b)
{
	for (size_t i = 0; i < b->n_in; i++)
		free(b->in[i].data);
	b->n_in = 0;
}

static inline int bench_run(struct bench *b, struct err *e)
{
	return engine_session_run(b->s, b->in, b->n_in, &b->out, &b->n_out, e);
}

static inline int bench_run_filled(struct bench *b, int64_t fill, struct err *e)
{
	bench_inputs(b, 1, 1, fill);
	int rc = bench_run(b, e);
	bench_inputs_free(b);
	return rc;
}

static inline uint8_t *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	uint8_t *p = malloc(*n + 1);
	assert_int_equal(fread(p, 1, *n, f), *n);
	fclose(f);
	return p;
}

/* BUILD/WHAT for a program that lies in BUILD/tests. */
static inline void find_beside(char *out, size_t cap, const char *program, const char *what)
{
	const char *slash = strrchr(program, '/');
	int n = slash ? (int)(slash - program) : 1;
	snprintf(out, cap, "%.*s/../%s", n, slash ? program : ".", what);
}

#endif
