/* SPDX-License-Identifier: Apache-2.0
 *
 * What durability costs: signed, proven records through the real auditor process, beside a bare append of 300 bytes
 * and fdatasync on the same disk, in turns within one run.
 *
 * Callers are requests under way on the broker's one channel; each waits for its own answer before it asks again.
 * Latency is from the record's bytes to the answer's bytes in the caller. Rows as JSON lines on standard output, kind
 * "log"; for people on standard error.
 *
 * usage: bench_log [AUDITOR] [--quick]
 */
#include "tests/judges/audit_client.h"

#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <time.h>

#define RECORD_BYTES 300
#define TURN_NS 400000000u
#define SAMPLES_MAX 2000000

static const struct {
	unsigned callers;
	bool want_proof;
} plan[] = { { 1, true }, { 16, true }, { 64, true }, { 64, false } };
#define N_PLAN (sizeof plan / sizeof plan[0])

struct samples {
	uint32_t *ns;
	size_t n;
	uint64_t total_ns; /* of the turns */
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sample(struct samples *s, uint64_t ns)
{
	if (s->n < SAMPLES_MAX)
		s->ns[s->n++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static int order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static double us(const struct samples *s, double q)
{
	return s->n ? s->ns[(size_t)((double)(s->n - 1) * q)] / 1e3 : 0;
}

static double rate(const struct samples *s)
{
	return s->total_ns ? (double)s->n * 1e9 / (double)s->total_ns : 0;
}

/* The auditor raises its priority, and on a busy machine that is most of a commit's time: for a fair comparison
 * the bare writer gets the same. Not allowed: neither of the two has it. */
static void priority_set(bool raised)
{
	struct sched_param p = { .sched_priority = raised ? 10 : 0 };
	(void)sched_setscheduler(0, raised ? SCHED_FIFO : SCHED_OTHER, &p);
}

/* One bare writer, as simple as it gets. */
static int bare_turn(const char *base, struct samples *s)
{
	static const char record[RECORD_BYTES] = { 1 };
	char path[PATH_MAX + 64];
	snprintf(path, sizeof path, "%s/bare", base);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	priority_set(true);
	uint64_t begin = now_ns(), at = begin, end = begin + TURN_NS;
	bool failed = false;
	while (at < end && !failed) {
		failed = write(fd, record, sizeof record) != (ssize_t)sizeof record || fdatasync(fd) < 0;
		uint64_t t = now_ns();
		sample(s, t - at);
		at = t;
	}
	priority_set(false);
	s->total_ns += at - begin;
	close(fd);
	return failed ? -1 : 0;
}

struct turn {
	struct ac *a;
	struct samples *s;
	const uint8_t *body;
	size_t len;
	uint64_t asked[64];
	unsigned under_way;
	uint64_t end;
};

static void ask(struct turn *t, unsigned caller)
{
	t->asked[caller] = now_ns();
	ac_frame(t->a, MSG_APPEND, caller + 1, t->body, t->len);
	t->under_way++;
}

static int answer(struct turn *t, struct frame *f, struct err *e)
{
	if (f->header.kind != MSG_STORED || f->header.request_id == 0 || f->header.request_id > 64)
		return audit_failed_read(f, e);
	unsigned caller = (unsigned)f->header.request_id - 1;
	uint64_t now = now_ns();
	sample(t->s, now - t->asked[caller]);
	t->under_way--;
	if (now < t->end)
		ask(t, caller);
	return ERR_OK;
}

static int our_turn(struct ac *a, unsigned callers, const uint8_t *body, size_t len, struct samples *s, struct err *e)
{
	struct turn t = { .a = a, .s = s, .body = body, .len = len };
	struct frame f;
	uint64_t begin = now_ns();
	int rc = ERR_OK;
	t.end = begin + TURN_NS;
	for (unsigned i = 0; i < callers; i++)
		ask(&t, i);
	while (rc >= 0 && t.under_way) {
		rc = ac_turn(a, 10000, &f, e);
		while (rc > 0) {
			rc = answer(&t, &f, e);
			frame_clear(&f);
			if (rc == ERR_OK)
				rc = frame_rx_read(&a->rx, a->fd, &f, e);
		}
	}
	s->total_ns += now_ns() - begin;
	return rc;
}

static void row_print(size_t i, struct samples *ours, struct samples *bare)
{
	qsort(ours->ns, ours->n, sizeof *ours->ns, order);
	qsort(bare->ns, bare->n, sizeof *bare->ns, order);
	double ratio = rate(bare) > 0 ? rate(ours) / rate(bare) : 0;
	printf("{\"kind\": \"log\", \"bench\": \"log\", \"name\": \"%s\", \"callers\": %u, \"ours_per_s\": %.0f, "
	       "\"ours_median_us\": %.1f, \"ours_p99_us\": %.1f, \"peer\": \"append+fdatasync\", \"peer_per_s\": %.0f, "
	       "\"peer_median_us\": %.1f, \"peer_p99_us\": %.1f, \"ratio\": %.2f, \"latency_ratio\": %.2f}\n",
	       plan[i].want_proof ? "proof" : "short", plan[i].callers, rate(ours), us(ours, 0.5), us(ours, 0.99), rate(bare),
	       us(bare, 0.5), us(bare, 0.99), ratio, us(bare, 0.5) > 0 ? us(ours, 0.5) / us(bare, 0.5) : 0);
	fprintf(stderr, "log: %2u callers, %-5s  %7.0f records/s, median %6.0f us, p99 %6.0f us;  bare append + fdatasync %6.0f/s, "
	        "median %5.0f us, p99 %5.0f us;  ratio %.2f\n", plan[i].callers, plan[i].want_proof ? "proof" : "short",
	        rate(ours), us(ours, 0.5), us(ours, 0.99), rate(bare), us(bare, 0.5), us(bare, 0.99), ratio);
}

int main(int argc, char **argv)
{
	static struct samples ours[N_PLAN], bare[N_PLAN];
	char program[PATH_MAX + 32], self[PATH_MAX], base[PATH_MAX + 32], cmd[PATH_MAX + 64];
	struct err e = { 0 };
	struct ac a;
	int rc, turns = 5;
	snprintf(self, sizeof self, "%s", argv[0]);
	const char *here = dirname(self);
	snprintf(program, sizeof program, "%s/../bin/fumehood-auditor", here);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			turns = 1;
		else
			snprintf(program, sizeof program, "%s", argv[i]);
	}
	snprintf(base, sizeof base, "%s/bench_log.XXXXXX", here);
	if (sodium_init() < 0 || !mkdtemp(base))
		return fprintf(stderr, "bench_log: no folder beside the program\n"), 1;
	for (size_t i = 0; i < N_PLAN; i++) {
		ours[i].ns = malloc(SAMPLES_MAX * sizeof(uint32_t));
		bare[i].ns = malloc(SAMPLES_MAX * sizeof(uint32_t));
		if (!ours[i].ns || !bare[i].ns)
			return 1;
	}
	rc = ac_start(&a, program, base, LIMIT_SEGMENT_DEFAULT_BYTES, &e);
	for (int t = 0; t < turns && rc >= 0; t++) {
		for (size_t i = 0; i < N_PLAN && rc >= 0; i++) {
			size_t len;
			uint8_t *body = ac_append_body(i, RECORD_BYTES - 10, plan[i].want_proof, &len);
			rc = our_turn(&a, plan[i].callers, body, len, &ours[i], &e);
			free(body);
			if (rc >= 0 && bare_turn(base, &bare[i]) < 0)
				rc = err_set(&e, ERR_IO, "bare: %s", strerror(errno));
		}
	}
	int status = rc >= 0 ? ac_seal(&a, &e) : 1;
	for (size_t i = 0; i < N_PLAN && rc >= 0; i++)
		row_print(i, &ours[i], &bare[i]);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
	if (rc < 0)
		fprintf(stderr, "bench_log: %s\n", e.text);
	return system(cmd) != 0 || status != 0 || rc < 0;
}
