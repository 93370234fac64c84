/* SPDX-License-Identifier: Apache-2.0
 *
 * See bench_side.h.
 * Side: tests only. Trusts: its own files. Owns: the conversation.
 */
#include "tests/bench/bench_side.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUN_MAX 1000000

void side_die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "bench: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- the request ---------------------------------------------------------------------------------- */

static uint8_t *file_read(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	if (!f || fseek(f, 0, SEEK_END) != 0)
		side_die("%s cannot be read", path);
	*len = (size_t)ftell(f);
	rewind(f);
	uint8_t *p = aligned_alloc(64, (*len + 63) / 64 * 64 + 64);
	if (!p || fread(p, 1, *len, f) != *len)
		side_die("%s cannot be read", path);
	fclose(f);
	return p;
}

static void tensor_line(struct side_request *r, const char *line, uint8_t *file, size_t len)
{
	struct side_tensor *t = &r->in[r->n_in++];
	int used = 0;
	size_t offset;
	if (r->n_in > SIDE_TENSORS || sscanf(line, "tensor %255s %d %d%n", t->name, &t->dtype, &t->rank, &used) != 3 ||
	    t->rank < 0 || t->rank > LIMIT_RANK)
		side_die("bad line: %s", line);
	line += used;
	for (int i = 0; i < t->rank; i++, line += used)
		if (sscanf(line, "%" SCNd64 "%n", &t->dims[i], &used) != 1)
			side_die("bad line: %s", line);
	if (sscanf(line, "%zu %zu", &offset, &t->bytes) != 2 || offset % 64 || t->bytes > len || offset > len - t->bytes)
		side_die("bad line: %s", line);
	t->data = file + offset;
	if (!r->tail)
		r->tail = t->data;
	r->tail_bytes = (size_t)(t->data + t->bytes - r->tail);
}

void side_request_read(struct side_request *r, const char *path)
{
	size_t len;
	uint8_t *file = file_read(path, &len);
	memset(r, 0, sizeof *r);
	for (char *line = (char *)file, *end; (end = memchr(line, '\n', len - (size_t)(line - (char *)file))); line = end + 1) {
		*end = 0;
		if (strncmp(line, "tensor ", 7) == 0)
			tensor_line(r, line, file, len);
		else if (strncmp(line, "carry ", 6) == 0 && r->n_carry < 4 &&
		         sscanf(line, "carry %255s %255s", r->carry[r->n_carry].from, r->carry[r->n_carry].to) == 2)
			r->n_carry++;
		else if (strcmp(line, "end") == 0)
			break;
		else
			side_die("%s: bad line: %s", path, line);
	}
	r->original = malloc(r->tail_bytes);
	if (!r->n_in || !r->original)
		side_die("%s holds no tensors", path);
	memcpy(r->original, r->tail, r->tail_bytes);
}

/* --- commands ------------------------------------------------------------------------------------- */

static struct side_tensor *find(struct side_tensor *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	side_die("no tensor %s", name);
}

static void carry(struct side *s)
{
	struct side_request *r = &s->request;
	if (r->n_carry)
		s->read_outputs(s);
	for (size_t i = 0; i < r->n_carry; i++) {
		const struct side_tensor *from = find(s->out, s->n_out, r->carry[i].from);
		struct side_tensor *to = find(r->in, r->n_in, r->carry[i].to);
		if (from->bytes != to->bytes)
			side_die("carry: %zu bytes into %zu", from->bytes, to->bytes);
		memcpy(to->data, from->data, to->bytes);
	}
}

static void run(struct side *s, unsigned long n)
{
	if (n == 0 || n > RUN_MAX)
		side_die("run %lu", n);
	uint64_t *ns = malloc(n * sizeof *ns);
	if (!ns)
		side_die("no memory");
	for (unsigned long i = 0; i < n; i++) {
		uint64_t start = now_ns();
		s->call(s);
		ns[i] = now_ns() - start;
		carry(s);
	}
	for (unsigned long i = 0; i < n; i++)
		printf("%" PRIu64 "%c", ns[i], i + 1 < n ? ' ' : '\n');
	free(ns);
}

static void outputs_write(struct side *s, const char *path)
{
	memcpy(s->request.tail, s->request.original, s->request.tail_bytes);
	s->call(s);
	s->read_outputs(s);
	FILE *f = fopen(path, "wb");
	for (size_t i = 0; f && i < s->n_out; i++)
		if (fwrite(s->out[i].data, 1, s->out[i].bytes, f) != s->out[i].bytes)
			side_die("%s cannot be written", path);
	if (!f || fclose(f) != 0)
		side_die("%s cannot be written", path);
	puts("ok");
}

void side_serve(struct side *s)
{
	char line[4096], path[4000];
	unsigned long n;
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "run %lu", &n) == 1)
			run(s, n);
		else if (sscanf(line, "out %3999s", path) == 1)
			outputs_write(s, path);
		else if (strcmp(line, "info\n") == 0)
			s->info(s);
		else if (strcmp(line, "peak\n") == 0 && s->peak_gflops)
			printf("%.1f\n", s->peak_gflops(s));
		else
			side_die("unknown command: %s", line);
		fflush(stdout);
	}
}
