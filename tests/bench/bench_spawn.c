/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's whole life against bwrap's, interleaved in one run: request to the jailer, locked, proved,
 * channel closed, reaped; bwrap --unshare-all --ro-bind / / --die-with-parent /bin/true, spawned and reaped.
 *
 *   bench_spawn [BIN [ROUNDS [THREADS [MODEL]]]]   BIN: folder of fumehood-jailer and fumehood-worker
 *
 * Four rows, each a JSON line on standard output and a readable one on standard error:
 *   template   the worker forked from its template: what the broker does
 *   exec       the same program started anew: what the template saves
 *   large      as template, from a process of 512 MiB: the broker's size must not matter
 *   spare      one that was kept ready, handed out: a row of its own, no start is in it
 * With MODEL also from the request to READY: the model parsed and planned. Exit 3: no jail, 4: no bwrap.
 *
 * Side: tests. Trusts: nothing. Owns: the processes that it starts.
 */
#include "proto/frame.h"
#include "proto/limits.h"
#include "sandbox/sandbox.h"
#include "sandbox/wall/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 2000
#define WARM_UP 5
#define MODEL_BYTES MIB(1) /* mapped, never touched before "locked": its size does not matter */

enum { OURS, LOCKED, READY, PEER, TAKEN, N_SERIES };
static double series[N_SERIES][ROUNDS_MAX];

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

struct bench {
	struct jail *jail[2]; /* without and with a template */
	int proc_fd;
	bool has_model;
	struct worker_order order;
};

enum { BY_EXEC, BY_TEMPLATE };

static int open_in(const char *dir, const char *name)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int model_open(struct bench *b, const char *path, struct err *e)
{
	static char block[1 << 16];
	int model, file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	uint64_t bytes = MODEL_BYTES;
	ssize_t n;
	if (path && file < 0)
		return err_set(e, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
	int rc = memfd_model_new(&model, e);
	if (rc == ERR_OK && !path && ftruncate(model, MODEL_BYTES) < 0)
		rc = err_set(e, ERR_IO, "ftruncate: %s", strerror(errno));
	for (bytes = path ? 0 : MODEL_BYTES; rc == ERR_OK && path && (n = read(file, block, sizeof block)) > 0; bytes += (uint64_t)n)
		if (write(model, block, (size_t)n) != n)
			rc = err_set(e, ERR_IO, "write: %s", strerror(errno));
	if (rc == ERR_OK)
		rc = memfd_seal(model, e);
	b->order.model_fd = model;
	b->order.model_bytes = bytes;
	b->has_model = path != NULL;
	return rc;
}

static int set_up(struct bench *b, const char *bin, unsigned threads, const char *model, struct err *e)
{
	struct jail_conf c = { .program_fd = open_in(bin, "fumehood-jailer"), .rootless = geteuid() != 0,
	                       .uid = UID_BROKER_FALLBACK, .gid = UID_BROKER_FALLBACK };
	int file = open_in(bin, "fumehood-worker");
	uint64_t bytes;
	if (c.program_fd < 0 || file < 0)
		return err_set(e, ERR_NOT_FOUND, "%s: fumehood-jailer or fumehood-worker is missing", bin);
	b->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = jailer_start(&c, &b->jail[BY_EXEC], e);
	if (rc == ERR_OK)
		rc = jailer_start(&c, &b->jail[BY_TEMPLATE], e);
	if (rc == ERR_OK)
		rc = memfd_program(file, &b->order.program_fd, &bytes, e);
	if (rc == ERR_OK)
		rc = jailer_template(b->jail[BY_TEMPLATE], b->order.program_fd, e);
	if (rc == ERR_OK)
		rc = model_open(b, model, e);
	if (rc == ERR_OK && !c.rootless)
		rc = wall_become(c.uid, c.gid, e);
	b->order.arena_bytes = LIMIT_ARENA_DEFAULT_BYTES;
	b->order.n_threads = threads;
	b->order.optional_layers = wall_layers_shipped_optional();
	return rc;
}

static int say(const struct worker *w, uint16_t kind, const void *body, struct err *e)
{
	uint8_t frame[FRAME_HEADER_BYTES + FIXED_BYTES];
	frame_header_put(frame, &(struct frame_header){ .kind = kind, .length = FIXED_BYTES });
	memcpy(frame + FRAME_HEADER_BYTES, body, FIXED_BYTES);
	return write(w->channel, frame, sizeof frame) == (ssize_t)sizeof frame ? ERR_OK
	       : err_set(e, ERR_WORKER, "the worker does not listen");
}

/* The next frame's fixed part; the rest is read over. */
static int hear(const struct worker *w, uint16_t kind, uint8_t body[FIXED_BYTES], struct err *e)
{
	static uint8_t rest[1 << 20];
	uint8_t head[FRAME_HEADER_BYTES];
	struct frame_header h;
	for (size_t done = 0, want = sizeof head + FIXED_BYTES; done < want;) {
		ssize_t n = done < sizeof head ? read(w->channel, head + done, sizeof head - done)
		                               : read(w->channel, body + done - sizeof head, want - done);
		if (n <= 0)
			return err_set(e, ERR_WORKER, "the worker ended");
		done += (size_t)n;
	}
	int rc = frame_header_get(head, ROLE_WORKER, ROLE_BROKER, &h, e);
	for (uint64_t left = rc == ERR_OK ? h.length - FIXED_BYTES : 0; left > 0;) {
		ssize_t n = read(w->channel, rest, left < sizeof rest ? left : sizeof rest);
		if (n <= 0)
			return err_set(e, ERR_WORKER, "the worker ended");
		left -= (uint64_t)n;
	}
	return rc != ERR_OK || h.kind == kind ? rc : err_set(e, ERR_PROTOCOL, "%s came", msg_name(h.kind));
}

/* LOAD, NEEDS, PLAN, READY, as the broker has it. */
static int load(const struct bench *b, const struct worker *w, struct err *e)
{
	uint8_t body[FIXED_BYTES];
	const struct load_fixed l = { .limit_bytes = b->order.arena_bytes, .level = -1 };
	struct plan_fixed plan = { .request_bytes = MIB(64) };
	plan.engine_bytes = b->order.arena_bytes - plan.request_bytes;
	int rc = say(w, MSG_LOAD, &l, e);
	if (rc == ERR_OK)
		rc = hear(w, MSG_NEEDS, body, e);
	if (rc == ERR_OK)
		rc = say(w, MSG_PLAN, &plan, e);
	return rc == ERR_OK ? hear(w, MSG_READY, body, e) : rc;
}

static int end_it(struct worker *w, struct err *e)
{
	struct worker_end end;
	close(w->channel);
	w->channel = -1;
	int rc = worker_reap(w, 5000, &end, e);
	worker_close(w);
	if (rc == 0 || (rc == 1 && (end.by_signal || end.code)))
		return err_set(e, ERR_WORKER, "the worker did not end well");
	return rc == 1 ? ERR_OK : rc;
}

static int ours(struct bench *b, int way, unsigned i, struct err *e)
{
	struct worker w;
	double t0 = now_ms();
	int rc = worker_start(b->jail[way], b->proc_fd, &b->order, &w, e);
	double t1 = now_ms();
	if (rc != ERR_OK)
		return rc;
	if (b->has_model)
		rc = load(b, &w, e);
	double t2 = now_ms();
	if (rc == ERR_OK)
		rc = end_it(&w, e);
	series[OURS][i] = now_ms() - t0 - (t2 - t1); /* the life of the jail: loading is the model's own time */
	series[LOCKED][i] = t1 - t0;
	series[READY][i] = t2 - t0;
	return rc;
}

/* Kept ready, then handed out; with a model also its first answer. */
static int spare(struct bench *b, struct spares *s, unsigned i, struct err *e)
{
	struct worker w;
	int rc = spares_add(s, b->jail[BY_TEMPLATE], b->proc_fd, &b->order, e);
	if (rc != ERR_OK)
		return rc;
	usleep(1000); /* it sleeps in its read, on whatever core */
	double t0 = now_ms();
	if (!spares_take(s, &b->order, &w))
		return err_set(e, ERR_WORKER, "the spare has ended");
	double t1 = now_ms();
	if (b->has_model)
		rc = load(b, &w, e);
	series[TAKEN][i] = (t1 - t0) * 1e3;
	series[READY][i] = now_ms() - t0;
	return rc == ERR_OK ? end_it(&w, e) : rc;
}

static bool peer(unsigned i)
{
	char *argv[] = { (char[]){ "bwrap" }, (char[]){ "--unshare-all" }, (char[]){ "--ro-bind" },
		                    (char[]){ "/" }, (char[]){ "/" }, (char[]){ "--die-with-parent" },
		                    (char[]){ "/bin/true" }, NULL };
	char *envp[] = { NULL };
	pid_t pid;
	int status;
	double t0 = now_ms();
	if (posix_spawn(&pid, "/usr/bin/bwrap", NULL, NULL, argv, envp))
		return false;
	if (waitpid(pid, &status, 0) != pid || status)
		return false;
	series[PEER][i] = now_ms() - t0;
	return true;
}

static double at_p10(int s, unsigned rounds) { return series[s][rounds / 10]; }
static double at_median(int s, unsigned rounds) { return series[s][rounds / 2]; }

static void print_life(const char *way, const struct bench *b, unsigned rounds)
{
	for (int s = 0; s < N_SERIES; s++)
		qsort(series[s], rounds, sizeof series[s][0], by_value);
	double p10 = at_p10(OURS, rounds) / at_p10(PEER, rounds), median = at_median(OURS, rounds) / at_median(PEER, rounds);
	printf("{\"kind\": \"spawn\", \"bench\": \"spawn\", \"name\": \"%s\", \"threads\": %u, \"rounds\": %u, "
	       "\"ours_p10_ms\": %.3f, \"ours_median_ms\": %.3f, \"locked_p10_ms\": %.3f, \"locked_median_ms\": %.3f, "
	       "\"ready_median_ms\": %.3f, \"peer\": \"bwrap\", \"peer_p10_ms\": %.3f, \"peer_median_ms\": %.3f, "
	       "\"ratio_p10\": %.3f, \"ratio_median\": %.3f}\n", way, b->order.n_threads, rounds, at_p10(OURS, rounds),
	       at_median(OURS, rounds), at_p10(LOCKED, rounds), at_median(LOCKED, rounds),
	       b->has_model ? at_median(READY, rounds) : 0.0, at_p10(PEER, rounds), at_median(PEER, rounds), p10, median);
	fprintf(stderr, "spawn %-8s locked and proved %.2f ms (p10 %.2f), whole life %.2f ms; bwrap %.2f ms; ratio p10 %.2f, "
	        "median %.2f (%u threads, %u rounds)", way, at_median(LOCKED, rounds), at_p10(LOCKED, rounds),
	        at_median(OURS, rounds), at_median(PEER, rounds), p10, median, b->order.n_threads, rounds);
	if (b->has_model)
		fprintf(stderr, "; model ready %.2f ms", at_median(READY, rounds));
	fprintf(stderr, "\n");
}

#define LARGE_BYTES ((size_t)512 << 20)

/* From here on this process is a large one. */
static int grow(struct err *e)
{
	char *p = malloc(LARGE_BYTES);
	if (!p)
		return err_set(e, ERR_NOMEM, "no memory to be large");
	for (size_t i = 0; i < LARGE_BYTES; i += 4096)
		*(volatile char *)(p + i) = 1;
	return ERR_OK;
}

static int life(struct bench *b, const char *name, int way, unsigned rounds, struct err *e)
{
	int rc = ERR_OK;
	for (unsigned i = 0; rc == ERR_OK && i < rounds + WARM_UP; i++) {
		unsigned at = i < WARM_UP ? 0 : i - WARM_UP;
		rc = ours(b, way, at, e);
		if (rc == ERR_OK && !peer(at))
			return fprintf(stderr, "bench_spawn: bwrap does not run here\n"), 4;
	}
	if (rc == ERR_OK)
		print_life(name, b, rounds);
	return rc;
}

static int handed_out(struct bench *b, unsigned rounds, struct err *e)
{
	struct spares *s;
	int rc = spares_new(1, &s, e);
	for (unsigned i = 0; rc == ERR_OK && i < rounds + WARM_UP; i++)
		rc = spare(b, s, i < WARM_UP ? 0 : i - WARM_UP, e);
	spares_free(s);
	if (rc != ERR_OK)
		return rc;
	for (int k = 0; k < N_SERIES; k++)
		qsort(series[k], rounds, sizeof series[k][0], by_value);
	printf("{\"kind\": \"spawn\", \"bench\": \"spawn\", \"name\": \"spare\", \"rounds\": %u, \"taken_median_us\": %.1f, "
	       "\"taken_p90_us\": %.1f, \"ready_median_ms\": %.3f}\n", rounds, at_median(TAKEN, rounds),
	       series[TAKEN][rounds * 9 / 10], b->has_model ? at_median(READY, rounds) : 0.0);
	fprintf(stderr, "spawn spare    handed out in %.1f us (p90 %.1f)", at_median(TAKEN, rounds), series[TAKEN][rounds * 9 / 10]);
	if (b->has_model)
		fprintf(stderr, "; model ready %.2f ms", at_median(READY, rounds));
	fprintf(stderr, "\n");
	return ERR_OK;
}

int main(int argc, char **argv)
{
	const char *bin = argc > 1 ? argv[1] : "build/release/bin", *model = argc > 4 ? argv[4] : NULL;
	unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 150;
	unsigned threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;
	struct bench b = { 0 };
	struct err e = { 0 };
	if (rounds < 10 || rounds > ROUNDS_MAX || threads < 1)
		return 2;
	int rc = set_up(&b, bin, threads, model, &e);
	if (rc == ERR_OK)
		rc = life(&b, "template", BY_TEMPLATE, rounds, &e);
	if (rc == ERR_OK)
		rc = life(&b, "exec", BY_EXEC, rounds, &e);
	if (rc == ERR_OK)
		rc = handed_out(&b, rounds, &e);
	if (rc == ERR_OK)
		rc = grow(&e);
	if (rc == ERR_OK)
		rc = life(&b, "large", BY_TEMPLATE, rounds, &e);
	jailer_stop(b.jail[BY_EXEC]);
	jailer_stop(b.jail[BY_TEMPLATE]);
	if (rc == 4)
		return 4;
	return rc == ERR_OK ? 0 : (fprintf(stderr, "bench_spawn: %s\n", e.text), 3);
}
