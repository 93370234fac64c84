/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine alone: the worker's own objects on the worker's own buffers, in this process, without
 * broker, log and jail. What the service costs on top is the difference to service_bench.
 *
 * usage: engine_bench MODEL REQUEST THREADS ARENA_BYTES [LEVEL]
 *
 * Not installed; runs the tests' own files only.
 * Side: tests only. Trusts: its own files. Owns: one arena, one pool.
 */
#include "tests/bench/bench_side.h"
#include "tests/bench/peak.h"
#include "sandbox/inside/engine/engine.h"
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct engine_side {
	struct pool *pool;
	struct arena arena;
	struct engine_model *model;
	struct engine_session *session;
	struct engine_tensor in[SIDE_TENSORS];
	const struct engine_tensor *out;
	size_t n_out;
	uint64_t macs;
};

static void must(int rc, const struct err *e, const char *what)
{
	if (rc != ERR_OK)
		side_die("%s: %s: %s", what, err_name(rc), e->text);
}

static void *zeros(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		side_die("no room for %zu bytes", n);
	madvise(p, n, MADV_HUGEPAGE); /* the same wish as the worker's, sandbox/inside/start.c */
	return p;
}

static const uint8_t *model_map(const char *path, size_t *len)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		side_die("%s cannot be opened", path);
	*len = (size_t)st.st_size;
	void *p = mmap(NULL, *len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		side_die("%s cannot be mapped", path);
	close(fd);
	return p;
}

static void engine_call(struct side *s)
{
	struct engine_side *x = s->arg;
	struct err e;
	must(engine_session_run(x->session, x->in, s->request.n_in, &x->out, &x->n_out, &e), &e, "run");
}

static void engine_outputs(struct side *s)
{
	const struct engine_side *x = s->arg;
	s->n_out = x->n_out;
	if (x->n_out > SIDE_TENSORS)
		side_die("%zu outputs", x->n_out);
	for (size_t i = 0; i < x->n_out; i++) {
		snprintf(s->out[i].name, sizeof s->out[i].name, "%.*s", (int)x->out[i].name_len, x->out[i].name);
		s->out[i].data = x->out[i].data;
		s->out[i].bytes = x->out[i].bytes;
	}
}

static void engine_info(struct side *s)
{
	const struct engine_side *x = s->arg;
	printf("%s %s %" PRIu64 " %zu\n", engine_session_level(x->session), engine_session_blas_core(x->session), x->macs,
	       x->arena.peak_bytes);
}

static double engine_peak(struct side *s)
{
	return peak_gflops(((struct engine_side *)s->arg)->pool);
}

static void open_all(struct engine_side *x, const char *model, unsigned n_threads, size_t arena_bytes, int level)
{
	size_t model_bytes;
	const uint8_t *bytes = model_map(model, &model_bytes);
	struct engine_needs needs;
	struct err e;
	if (pool_start(&x->pool, zeros(pool_bytes(n_threads)), n_threads, zeros(n_threads * LIMIT_STACK_BYTES),
	               LIMIT_STACK_BYTES) != 0)
		side_die("the pool does not start");
	arena_init(&x->arena, zeros(arena_bytes), arena_bytes);
	must(engine_model_open(&x->arena, bytes, model_bytes, &x->model, &e), &e, "open");
	must(engine_model_needs(x->model, n_threads, &needs, &e), &e, "needs");
	x->macs = needs.macs;
	must(engine_session_open(&x->arena, x->model, x->pool, level, &x->session, &e), &e, "session");
}

int main(int argc, char **argv)
{
	static struct side s;
	static struct engine_side x;
	if (argc < 5)
		side_die("usage: engine_bench MODEL REQUEST THREADS ARENA_BYTES [LEVEL]");
	side_request_read(&s.request, argv[2]);
	for (size_t i = 0; i < s.request.n_in; i++) {
		const struct side_tensor *t = &s.request.in[i];
		x.in[i] = (struct engine_tensor){ .name = t->name, .name_len = strlen(t->name), .dtype = t->dtype,
			.rank = t->rank, .data = t->data, .bytes = t->bytes };
		memcpy(x.in[i].dims, t->dims, sizeof t->dims);
	}
	open_all(&x, argv[1], (unsigned)strtoul(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
	         argc > 5 ? (int)strtol(argv[5], NULL, 10) : -1);
	s.call = engine_call;
	s.read_outputs = engine_outputs;
	s.info = engine_info;
	s.peak_gflops = engine_peak;
	s.arg = &x;
	side_serve(&s);
	pool_stop(x.pool);
	return 0;
}
