/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's whole life against bwrap's, interleaved in one run: request to the jailer, locked, proved,
 * channel closed, reaped; bwrap --unshare-all --ro-bind / / --die-with-parent /bin/true, spawned and reaped.
 *
 *   bench_spawn [BIN [ROUNDS [THREADS]]]   BIN: folder of fumehood-jailer and fumehood-worker
 *
 * One JSON line on standard output, one readable line on standard error. Exit 3: no jail, 4: no bwrap.
 *
 * Side: tests. Trusts: nothing. Owns: the processes that it starts.
 */
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

enum { OURS, LOCKED, PEER, N_SERIES };
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
	struct jail *jail;
	int proc_fd;
	bool use_template;
	struct worker_order order;
};

static int open_in(const char *dir, const char *name)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int set_up(struct bench *b, const char *bin, unsigned threads, struct err *e)
{
	struct jail_conf c = { .program_fd = open_in(bin, "fumehood-jailer"), .rootless = geteuid() != 0,
	                       .uid = UID_BROKER_FALLBACK, .gid = UID_BROKER_FALLBACK };
	int file = open_in(bin, "fumehood-worker"), model, program;
	uint64_t bytes;
	if (c.program_fd < 0 || file < 0)
		return err_set(e, ERR_NOT_FOUND, "%s: fumehood-jailer or fumehood-worker is missing", bin);
	b->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = jailer_start(&c, &b->jail, e);
	if (rc == ERR_OK)
		rc = memfd_program(file, &program, &bytes, e);
	if (rc == ERR_OK && b->use_template)
		rc = jailer_template(b->jail, program, e);
	if (rc == ERR_OK)
		rc = memfd_model_new(&model, e);
	if (rc == ERR_OK && ftruncate(model, MODEL_BYTES) < 0)
		rc = err_set(e, ERR_IO, "ftruncate: %s", strerror(errno));
	if (rc == ERR_OK)
		rc = memfd_seal(model, e);
	if (rc == ERR_OK && !c.rootless)
		rc = wall_become(c.uid, c.gid, e);
	b->order = (struct worker_order){ .model_fd = model, .model_bytes = MODEL_BYTES, .program_fd = program,
	                                  .arena_bytes = LIMIT_ARENA_DEFAULT_BYTES, .n_threads = threads,
	                                  .optional_layers = wall_layers_shipped_optional() };
	return rc;
}

static int ours(struct bench *b, unsigned i, struct err *e)
{
	struct worker w;
	struct worker_end end;
	double t0 = now_ms();
	int rc = worker_start(b->jail, b->proc_fd, &b->order, &w, e);
	double t1 = now_ms();
	if (rc != ERR_OK)
		return rc;
	close(w.channel);
	w.channel = -1;
	rc = worker_reap(&w, 5000, &end, e);
	series[OURS][i] = now_ms() - t0;
	series[LOCKED][i] = t1 - t0;
	worker_close(&w);
	if (rc == 0 || (rc == 1 && (end.by_signal || end.code)))
		return err_set(e, ERR_WORKER, "the worker did not end well");
	return rc == 1 ? ERR_OK : rc;
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

int main(int argc, char **argv)
{
	const char *bin = argc > 1 ? argv[1] : "build/release/bin";
	unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 150;
	unsigned threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;
	struct bench b = { .use_template = argc <= 4 };
	struct err e = { 0 };
	double p10[N_SERIES], median[N_SERIES];
	if (rounds < 10 || rounds > ROUNDS_MAX || threads < 1)
		return 2;
	int rc = set_up(&b, bin, threads, &e);
	for (unsigned i = 0; rc == ERR_OK && i < rounds + WARM_UP; i++) {
		unsigned at = i < WARM_UP ? 0 : i - WARM_UP;
		rc = ours(&b, at, &e);
		if (rc == ERR_OK && !peer(at))
			return fprintf(stderr, "bench_spawn: bwrap does not run here\n"), 4;
	}
	if (rc != ERR_OK)
		return fprintf(stderr, "bench_spawn: %s\n", e.text), 3;
	for (int s = 0; s < N_SERIES; s++) {
		qsort(series[s], rounds, sizeof series[s][0], by_value);
		p10[s] = series[s][rounds / 10];
		median[s] = series[s][rounds / 2];
	}
	printf("{\"kind\": \"spawn\", \"bench\": \"spawn\", \"name\": \"worker\", \"threads\": %u, \"rounds\": %u, "
	       "\"ours_p10_ms\": %.3f, \"ours_median_ms\": %.3f, \"locked_p10_ms\": %.3f, \"locked_median_ms\": %.3f, "
	       "\"peer\": \"bwrap\", \"peer_p10_ms\": %.3f, \"peer_median_ms\": %.3f, \"ratio_p10\": %.3f, "
	       "\"ratio_median\": %.3f}\n", threads, rounds, p10[OURS], median[OURS], p10[LOCKED], median[LOCKED],
	       p10[PEER], median[PEER], p10[OURS] / p10[PEER], median[OURS] / median[PEER]);
	fprintf(stderr, "spawn: worker locked %.2f ms, whole life %.2f ms; bwrap %.2f ms; ratio p10 %.2f, median %.2f "
	        "(%u threads, %u rounds)\n", median[LOCKED], median[OURS], median[PEER], p10[OURS] / p10[PEER],
	        median[OURS] / median[PEER], threads, rounds);
	jailer_stop(b.jail);
	return 0;
}
