/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs an ONNX model on the engine directly, without a worker, for the judges and for measuring. Not
 * installed: the only way to run a model with the shipped programs is behind the wall.
 *
 *   onnx_run MODEL [--input NAME=FILE.npy]... [--output-dir DIR] [--threads N] [--level C|AVX2|AVX512]
 *            [--bench N] [--repeat N] [--shift BYTES] [--arena MIB] [--facts] [--check] [--perturb]
 *
 * Outputs are written as DIR/NAME.npy, bytes of a name outside [A-Za-z0-9._-] as %XX. --perturb makes
 * one kernel wrong (the linker wraps kernels_get): a judge that does not notice is no judge. --check only opens and plans.
 *
 * Side: tests. Trusts: its command line. Owns: its mappings.
 */
#include "sandbox/inside/engine/engine.h"
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"

#include "proto/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_INPUTS 64

struct args {
	const char *model, *out_dir;
	const char *inputs[MAX_INPUTS];
	int n_inputs, threads, level, bench, repeat, shift;
	size_t arena_mib;
	bool facts, check, perturb;
};

static void die(const char *what, const char *text)
{
	fprintf(stderr, "onnx_run: %s: %s\n", what, text);
	exit(1);
}

static void *map_file(const char *path, size_t *n)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die(path, "cannot be opened");
	*n = (size_t)st.st_size;
	void *p = mmap(NULL, *n ? *n : 1, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		die(path, "cannot be mapped");
	close(fd);
	return p;
}

static void *reserve(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		die("mmap", "no address space");
	return p;
}

/* --- .npy: version 1, C order, little-endian: what the judges write --------------------------------------- */

static const struct { const char *descr; int dt; } descrs[] = {
	{ "<f4", DT_F32 }, { "<f8", DT_F64 }, { "<f2", DT_F16 }, { "<i8", DT_I64 }, { "<i4", DT_I32 },
	{ "<i2", DT_I16 }, { "|i1", DT_I8 }, { "|u1", DT_U8 }, { "<u2", DT_U16 }, { "<u4", DT_U32 },
	{ "<u8", DT_U64 }, { "|b1", DT_BOOL },
};

static void npy_read(struct engine_tensor *t, const char *path, int shift)
{
	size_t n, head;
	const char *p = map_file(path, &n), *s;
	char text[4096];
	if (n < 10 || memcmp(p, "\x93NUMPY\1", 7))
		die(path, "no .npy file of version 1");
	head = le16_get(p + 8);
	if (head + 10 > n || head >= sizeof text)
		die(path, "bad header");
	memcpy(text, p + 10, head);
	text[head] = 0;
	for (size_t i = 0; i < sizeof descrs / sizeof descrs[0]; i++)
		if (strstr(text, descrs[i].descr))
			t->dtype = descrs[i].dt;
	if (!t->dtype || !strstr(text, "'fortran_order': False") || !(s = strstr(text, "'shape': (")))
		die(path, "unknown type or order");
	t->bytes = dtype_bytes(t->dtype);
	for (s += 10; *s != ')';) {
		char *end;
		long long v = strtoll(s, &end, 10);
		if (end == s || t->rank == LIMIT_RANK)
			break;
		t->dims[t->rank++] = v;
		t->bytes *= (size_t)v;
		for (s = end; *s == ',' || *s == ' '; s++)
			;
	}
	if (head + 10 + t->bytes > n)
		die(path, "too short");
	char *mem = reserve(t->bytes + 4096 + 64);
	t->data = mem + shift;
	memcpy(t->data, p + 10 + head, t->bytes);
}

static void npy_write(const char *dir, const struct engine_tensor *t)
{
	char path[4096], head[256];
	int n = snprintf(path, sizeof path, "%s/", dir);
	for (size_t i = 0; i < t->name_len && n < 4000; i++) {
		unsigned char c = (unsigned char)t->name[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		             c == '.' || c == '_' || c == '-';
		n += snprintf(path + n, sizeof path - (size_t)n, plain ? "%c" : "%%%02X", c);
	}
	snprintf(path + n, sizeof path - (size_t)n, ".npy");
	const char *descr = "|V1";
	for (size_t i = 0; i < sizeof descrs / sizeof descrs[0]; i++)
		if (descrs[i].dt == t->dtype)
			descr = descrs[i].descr;
	n = snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
	for (int i = 0; i < t->rank; i++)
		n += snprintf(head + n, sizeof head - (size_t)n, "%lld,", (long long)t->dims[i]);
	n += snprintf(head + n, sizeof head - (size_t)n, "), }");
	while ((n + 10 + 1) % 64)
		head[n++] = ' ';
	head[n++] = '\n';
	FILE *f = fopen(path, "wb");
	uint8_t len[2] = { (uint8_t)n, (uint8_t)(n >> 8) };
	if (!f || fwrite("\x93NUMPY\1\0", 1, 8, f) != 8 || fwrite(len, 1, 2, f) != 2 ||
	    fwrite(head, 1, (size_t)n, f) != (size_t)n || fwrite(t->data, 1, t->bytes, f) != t->bytes ||
	    fclose(f))
		die(path, "cannot be written");
}

/* --- one kernel made wrong on purpose ---------------------------------------------------------------------- */

const struct kernels *__real_kernels_get(enum level l);
const struct kernels *__wrap_kernels_get(enum level l);
static const struct kernels *real;
static struct kernels wrong;
static bool is_perturbed;

static void spoil(float *y, size_t n)
{
	for (size_t i = 0; i < n; i += 7)
		y[i] = y[i] * 1.02f + 0.01f;
}

static void conv_wrong(struct pool *p, const struct conv *c, void *scratch, size_t each)
{
	real->conv_f32(p, c, scratch, each);
	spoil(c->y, (size_t)(c->h_out * c->w_out * CBLOCK));
}

static void gemm_wrong(struct pool *p, const struct gemm *g)
{
	real->gemm_f32(p, g);
	spoil(g->c, (size_t)g->n);
}

const struct kernels *__wrap_kernels_get(enum level l)
{
	real = __real_kernels_get(l);
	if (!is_perturbed || !real)
		return real;
	wrong = *real;
	wrong.conv_f32 = conv_wrong;
	wrong.gemm_f32 = gemm_wrong;
	return &wrong;
}

/* --- running ------------------------------------------------------------------------------------------- */

static double now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void bench(struct engine_session *s, const struct engine_tensor *in, size_t n_in, int rounds)
{
	const struct engine_tensor *out;
	size_t n_out;
	struct err e;
	double *ms = calloc((size_t)rounds, sizeof *ms);
	for (int i = -rounds / 4; i < rounds; i++) {
		double t = now_ms();
		if (engine_session_run(s, in, n_in, &out, &n_out, &e))
			die("run", e.text);
		if (i >= 0)
			ms[i] = now_ms() - t;
	}
	qsort(ms, (size_t)rounds, sizeof *ms, by_value);
	printf("p10_ms %.4f median_ms %.4f min_ms %.4f\n", ms[rounds / 10], ms[rounds / 2], ms[0]);
	free(ms);
}

static struct pool *start_pool(int threads)
{
	struct pool *p;
	size_t stack = 1 << 20;
	void *mem = reserve(pool_bytes((unsigned)threads));
	void *stacks = reserve(stack * (size_t)threads);
	if (pool_start(&p, mem, (unsigned)threads, stacks, stack))
		die("pool", "cannot be started");
	return p;
}

static void show_facts(const struct engine_model *m)
{
	const struct engine_fact *f;
	size_t n = engine_model_facts(m, &f);
	for (size_t i = 0; i < n; i++)
		printf("fact %d %s %s @%llu %s\n", f[i].severity, f[i].group, f[i].code,
		       (unsigned long long)f[i].offset, f[i].text);
}

static int level_of(const char *name)
{
	for (int l = 0; l < LEVEL__MAX; l++)
		if (!strcmp(level_name((enum level)l), name))
			return l;
	die(name, "no such level");
	return 0;
}

static void parse(struct args *a, int argc, char **argv)
{
#ifdef __SANITIZE_ADDRESS__
	size_t arena = 256; /* all of it is marked at the start */
#else
	size_t arena = 16384;
#endif
	*a = (struct args){ .threads = 1, .level = -1, .repeat = 1, .arena_mib = arena };
	for (int i = 1; i < argc; i++) {
		const char *v = i + 1 < argc ? argv[i + 1] : "";
		if (!strcmp(argv[i], "--input") && a->n_inputs < MAX_INPUTS)
			a->inputs[a->n_inputs++] = v, i++;
		else if (!strcmp(argv[i], "--output-dir"))
			a->out_dir = v, i++;
		else if (!strcmp(argv[i], "--threads"))
			a->threads = (int)strtol(v, NULL, 10), i++;
		else if (!strcmp(argv[i], "--level"))
			a->level = level_of(v), i++;
		else if (!strcmp(argv[i], "--bench"))
			a->bench = (int)strtol(v, NULL, 10), i++;
		else if (!strcmp(argv[i], "--repeat"))
			a->repeat = (int)strtol(v, NULL, 10), i++;
		else if (!strcmp(argv[i], "--shift"))
			a->shift = (int)strtol(v, NULL, 10), i++;
		else if (!strcmp(argv[i], "--arena"))
			a->arena_mib = (size_t)strtoul(v, NULL, 10), i++;
		else if (!strcmp(argv[i], "--facts"))
			a->facts = true;
		else if (!strcmp(argv[i], "--check"))
			a->check = true;
		else if (!strcmp(argv[i], "--perturb"))
			a->perturb = true;
		else if (!a->model)
			a->model = argv[i];
		else
			die(argv[i], "unknown argument");
	}
	if (!a->model)
		die("usage", "onnx_run MODEL [--input NAME=FILE.npy]... [--output-dir DIR] [--threads N] [--level L]");
}

static int fail(const struct err *e, double ms)
{
	printf("error %s %s\nrefused_ms %.3f\n", err_name(e->code), e->text, ms);
	return 3;
}

int main(int argc, char **argv)
{
	struct args a;
	struct arena ma, sa;
	struct engine_model *m;
	struct engine_session *s;
	struct engine_tensor in[MAX_INPUTS] = { { 0 } };
	const struct engine_tensor *out;
	struct err e = { 0, "" }, verdict;
	size_t n, n_out;
	parse(&a, argc, argv);
	is_perturbed = a.perturb;
	const uint8_t *file = map_file(a.model, &n);
	arena_init(&ma, reserve(a.arena_mib << 18), a.arena_mib << 18);
	arena_init(&sa, reserve(a.arena_mib << 20), a.arena_mib << 20);
	double t0 = now_ms();
	if (a.facts) {
		if (engine_model_inspect(&ma, file, n, &m, &verdict, &e))
			return fail(&e, now_ms() - t0);
		show_facts(m);
		if (verdict.code)
			return fail(&verdict, now_ms() - t0);
	} else if (engine_model_open(&ma, file, n, &m, &e)) {
		return fail(&e, now_ms() - t0);
	}
	struct pool *pool = start_pool(a.threads);
	double t1 = now_ms();
	if (engine_session_open(&sa, m, pool, a.level, &s, &e))
		return fail(&e, now_ms() - t0);
	fprintf(stderr, "%s, blas %s, open %.2f ms, session %.2f ms, tables %zu KiB\n", engine_session_level(s),
	        engine_session_blas_core(s), t1 - t0, now_ms() - t1, ma.used_bytes >> 10);
	if (a.check)
		return 0;
	for (int i = 0; i < a.n_inputs; i++) {
		const char *eq = strrchr(a.inputs[i], '=');
		if (!eq)
			die(a.inputs[i], "is not NAME=FILE");
		npy_read(&in[i], eq + 1, a.shift);
		in[i].name = a.inputs[i];
		in[i].name_len = (size_t)(eq - a.inputs[i]);
	}
	t1 = now_ms();
	for (int i = 0; i < a.repeat; i++)
		if (engine_session_run(s, in, (size_t)a.n_inputs, &out, &n_out, &e))
			return fail(&e, now_ms() - t1);
	fprintf(stderr, "first %.2f ms, arena peak %zu KiB\n", now_ms() - t1, sa.peak_bytes >> 10);
	for (size_t i = 0; a.out_dir && i < n_out; i++)
		npy_write(a.out_dir, &out[i]);
	if (a.bench)
		bench(s, in, (size_t)a.n_inputs, a.bench);
	pool_stop(pool);
	return 0;
}
