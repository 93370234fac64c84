/* SPDX-License-Identifier: Apache-2.0
 *
 * Plays the broker for one program: starts a jailer, orders workers, proves them locked, lets each make
 * its attempt and says how it ended, one JSON line each.
 *
 *   jail_run [options] [ATTEMPT ...]      without ATTEMPT: one attempt per line of standard input
 *
 *   ATTEMPT   a name of attack.c ("spin"), "lock" (only lock, then close the channel: a clean end),
 *             "=NAME" (one of sandbox/outside/attempt.c),
 *             or "NR[/x32|/i386] [A0 .. A5]": a system call number with C integers, @TEXT (a pointer to
 *             that text) or &N (a pointer to N zero bytes)
 *
 *   --jailer FILE --program FILE          default: fumehood-jailer, fumehood-attack beside this build
 *   --rootless | --uid U --gid G          default: rootless unless root
 *   --threads N --arena BYTES --cpu SECONDS --deadline MS
 *   --optional shipped|all|HEX            layers that may be missing (default: none)
 *   --jailer-arg TEXT                     handed to a test jailer, repeatable
 *   --stay                                prints "up PID" and the jailer's pid, then waits (kill tests)
 *   --walled                              behind the broker's own wall
 *   --writable-model --exec-model         what a jailer must refuse or note
 *   --list                                prints the steps and layers as JSON, and ends
 *
 * Exit: 0 every attempt has an answer, 2 usage, 3 no jailer.
 *
 * Side: tests. Trusts: its command line. Owns: the workers it starts.
 */
#include "proto/limits.h"
#include "sandbox/outside/attempt.h"
#include "sandbox/sandbox.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct options {
	const char *jailer, *program;
	bool rootless, stay, walled, writable_model, exec_model;
	uint32_t uid, gid;
	unsigned threads, cpu;
	uint64_t arena, optional;
	int deadline_ms;
	char *jailer_args[12];
	unsigned n_jailer_args;
};

struct harness {
	struct options o;
	struct jail *jail;
	int proc_fd, program_fd;
};

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- the attempt's text to a blob ----------------------------------------------------------------------------- */

static bool parse_call(char *word, struct attempt *t)
{
	char *slash = strchr(word, '/'), *end;
	if (slash) {
		*slash++ = 0;
		t->abi = !strcmp(slash, "x32") ? ABI_X32 : ABI_I386;
		if (strcmp(slash, "x32") && strcmp(slash, "i386"))
			return false;
	}
	errno = 0;
	t->nr = strtoll(word, &end, 0);
	if (errno == ERANGE)
		t->nr = (int64_t)strtoull(word, &end, 0);
	return end != word && *end == 0;
}

static bool parse_arg(const char *word, unsigned i, struct attempt *t, char *blob, size_t *text_at)
{
	char *end;
	if (*word == '@') {
		size_t n = strlen(word);
		if (*text_at + n > ATTEMPT_BLOB_BYTES)
			return false;
		memcpy(blob + *text_at, word + 1, n);
		t->args[i] = (int64_t)*text_at;
		t->arg_kinds[i] = ARG_TEXT;
		*text_at += n;
		return true;
	}
	t->arg_kinds[i] = *word == '&' ? ARG_ZEROS : ARG_NUMBER;
	word += *word == '&';
	errno = 0;
	t->args[i] = strtoll(word, &end, 0);
	if (errno == ERANGE)
		t->args[i] = (int64_t)strtoull(word, &end, 0);
	return end != word && *end == 0;
}

/* "thread NR ..." makes the call from a second thread. */
static bool make_blob(const char *attempt, char blob[ATTEMPT_BLOB_BYTES])
{
	struct attempt t = { .magic = ATTEMPT_MAGIC };
	char copy[512], *save = NULL;
	size_t text_at = sizeof t;
	if (*attempt == '=') /* =open: as demo and doctor know it */
		return attempt_blob(attempt + 1, (uint8_t *)blob);
	memset(blob, 0, ATTEMPT_BLOB_BYTES);
	snprintf(copy, sizeof copy, "%s", attempt);
	char *w = strtok_r(copy, " \t", &save);
	if (!w)
		return false;
	if (!strchr("0123456789-", *w)) {
		t.kind = ATTEMPT_NAMED;
		text_at += (size_t)snprintf(blob + text_at, 64, "%s", w) + 1;
		w = strtok_r(NULL, " \t", &save);
	}
	if (w && !parse_call(w, &t))
		return false;
	for (unsigned i = 0; w && (w = strtok_r(NULL, " \t", &save)); i++)
		if (i == 6 || !parse_arg(w, i, &t, blob, &text_at))
			return false;
	memcpy(blob, &t, sizeof t);
	return true;
}

static int model_of(const struct harness *h, const char *blob, struct err *e)
{
	int fd = -1;
	if (h->o.exec_model) {
		fd = (int)syscall(SYS_memfd_create, "model", KABI_MFD_CLOEXEC | KABI_MFD_ALLOW_SEALING);
	} else if (memfd_model_new(&fd, e) != ERR_OK) {
		return -1;
	}
	if (write(fd, blob, ATTEMPT_BLOB_BYTES) != ATTEMPT_BLOB_BYTES)
		return -1;
	if (!h->o.writable_model && memfd_seal(fd, e) != ERR_OK)
		return -1;
	return fd;
}

/* --- one attempt -------------------------------------------------------------------------------------------------- */

struct outcome {
	struct worker_end end;
	enum verdict verdict;
	bool returned;
	int64_t ret;
};

/* Reads the channel until the worker ends or time is over; its answer, if there is one, is kept. */
static int watch(const struct harness *h, struct worker *w, struct outcome *r, struct worker_notes *n,
                 struct err *e)
{
	struct attempt_result got;
	int64_t deadline = now_us() + (int64_t)h->o.deadline_ms * 1000;
	size_t have = 0, seen = 0;
	char junk[4096];
	for (;;) {
		struct pollfd p[2] = { { w->pidfd, POLLIN, 0 }, { w->channel, POLLIN, 0 } };
		int64_t left = (deadline - now_us()) / 1000;
		if (left <= 0 && n->killed == KILLED_NOT) {
			n->killed = KILLED_DEADLINE;
			worker_kill(w);
			left = 1000;
		}
		if (poll(p, 2, left > 0 ? (int)left : 0) < 0 && errno != EINTR)
			return err_set(e, ERR_IO, "poll: %s", strerror(errno));
		ssize_t k = p[1].revents ? read(w->channel, junk, sizeof junk) : 0;
		if (k > 0 && have < sizeof got) {
			size_t take = (size_t)k < sizeof got - have ? (size_t)k : sizeof got - have;
			memcpy((char *)&got + have, junk, take);
			have += take;
		}
		seen += k > 0 ? (size_t)k : 0;
		if (seen > sizeof got && n->killed == KILLED_NOT) { /* more than an answer: a flood */
			n->killed = KILLED_PROTOCOL;
			worker_kill(w);
		}
		if (!p[0].revents)
			continue;
		int rc = worker_reap(w, 0, &r->end, e);
		if (rc)
			break;
	}
	fcntl(w->channel, F_SETFL, O_NONBLOCK);
	while (have < sizeof got) { /* what it had said before its end */
		ssize_t k = read(w->channel, (char *)&got + have, sizeof got - have);
		if (k <= 0)
			break;
		have += (size_t)k;
	}
	r->returned = have == sizeof got && !memcmp(got.magic, ATTEMPT_RETURNED, 8);
	r->ret = r->returned ? got.ret : 0;
	return ERR_OK;
}

/* src as the inside of a JSON string. */
static char *json(char *out, size_t cap, const char *src)
{
	size_t n = 0;
	for (; *src && n + 7 < cap; src++) {
		unsigned char c = (unsigned char)*src;
		if (c < 32 || c == '"' || c == '\\')
			n += (size_t)snprintf(out + n, cap - n, "\\u%04x", c);
		else
			out[n++] = *src;
	}
	out[n] = 0;
	return out;
}

static const char *end_word(const struct outcome *r)
{
	if (r->verdict == VERDICT_REFUSED)
		return "killed";
	if (r->returned)
		return "returned";
	if (r->verdict == VERDICT_DEADLINE)
		return "blocked";
	return r->end.by_signal ? "killed" : "exited";
}

static void print_outcome(const char *attempt, const struct worker *w, const struct outcome *r,
                          uint64_t layers, uint64_t missing, int64_t us)
{
	char a[600], b[600], c[600];
	printf("{\"attempt\": \"%s\", \"end\": \"%s\", \"verdict\": \"%s\", \"signal\": %d, \"exit\": %d, "
	       "\"ret\": %" PRId64 ", \"fds_listed\": %s, \"locked_us\": %" PRId64 ", \"layers\": \"%s\", "
	       "\"missing\": \"%s\"}\n",
	       json(a, sizeof a, attempt), end_word(r), verdict_name(r->verdict),
	       r->end.by_signal ? r->end.code : 0, r->end.by_signal ? 0 : r->end.code, r->ret,
	       w->fds_listed ? "true" : "false", us, layers_text(layers, b, sizeof b),
	       layers_text(missing, c, sizeof c));
	fflush(stdout);
}

static void print_error(const char *attempt, const struct err *e)
{
	char a[600], t[ERR_TEXT_MAX_BYTES * 2];
	printf("{\"attempt\": \"%s\", \"end\": \"refused\", \"error\": \"%s\", \"text\": \"%s\"}\n",
	       json(a, sizeof a, attempt), err_name(e->code),
	       json(t, sizeof t, e->text));
	fflush(stdout);
}

static void stay(const struct harness *h, const struct worker *w)
{
	printf("up %d %d\n", (int)w->pid, (int)jailer_pid(h->jail));
	fflush(stdout);
	for (;;)
		pause();
}

static void one(struct harness *h, const char *attempt)
{
	char blob[ATTEMPT_BLOB_BYTES];
	struct err e = { 0 };
	struct worker w = { .pidfd = -1, .channel = -1 };
	struct outcome r = { 0 };
	struct worker_notes notes = { .cpu_seconds = h->o.cpu };
	if (!make_blob(attempt, blob)) {
		err_set(&e, ERR_USAGE, "this is no attempt");
		print_error(attempt, &e);
		return;
	}
	int model = model_of(h, blob, &e);
	struct worker_order o = { .model_fd = model, .model_bytes = ATTEMPT_BLOB_BYTES,
	                          .program_fd = h->program_fd, .arena_bytes = h->o.arena,
	                          .n_threads = h->o.threads, .cpu_seconds = h->o.cpu,
	                          .optional_layers = h->o.optional };
	int64_t t0 = now_us();
	int rc = worker_start(h->jail, h->proc_fd, &o, &w, &e);
	int64_t t1 = now_us();
	close(model);
	if (rc == ERR_OK && h->o.stay)
		stay(h, &w);
	if (rc == ERR_OK && !strcmp(attempt, "lock")) {
		notes.told_to_end = true;
		rc = shutdown(w.channel, SHUT_WR) < 0 ? err_set(&e, ERR_IO, "shutdown: %s", strerror(errno)) : ERR_OK;
	} else if (rc == ERR_OK && write(w.channel, ATTEMPT_GO, 1) != 1) {
		rc = err_set(&e, ERR_WORKER, "the worker does not listen");
	}
	if (rc == ERR_OK)
		rc = watch(h, &w, &r, &notes, &e);
	if (rc == ERR_OK) {
		r.verdict = verdict_of(&r.end, &notes);
		print_outcome(attempt, &w, &r, w.layers, w.missing, t1 - t0);
	} else {
		print_error(attempt, &e);
	}
	worker_close(&w);
}

/* --- command line --------------------------------------------------------------------------------------------------- */

static int usage(void)
{
	fprintf(stderr, "usage: jail_run [options] [ATTEMPT ...]; see tests/jail/jail_run.c\n");
	return 2;
}

static uint64_t optional_of(const char *s)
{
	if (!strcmp(s, "shipped"))
		return wall_layers_shipped_optional();
	if (!strcmp(s, "all"))
		return wall_layers_may_be_optional();
	return strtoull(s, NULL, 16);
}

static bool take_switch(struct options *o, const char *a)
{
	bool *const rows[] = { &o->rootless, &o->stay, &o->walled, &o->writable_model, &o->exec_model };
	static const char *const names[] = { "--rootless", "--stay", "--walled", "--writable-model",
	                                     "--exec-model" };
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
		if (!strcmp(a, names[i]))
			return *rows[i] = true;
	return false;
}

static bool take_value(struct options *o, const char *a, char *v)
{
	if (!strcmp(a, "--jailer"))
		o->jailer = v;
	else if (!strcmp(a, "--program"))
		o->program = v;
	else if (!strcmp(a, "--uid"))
		o->uid = (uint32_t)strtoul(v, NULL, 10);
	else if (!strcmp(a, "--gid"))
		o->gid = (uint32_t)strtoul(v, NULL, 10);
	else if (!strcmp(a, "--threads"))
		o->threads = (unsigned)strtoul(v, NULL, 10);
	else if (!strcmp(a, "--cpu"))
		o->cpu = (unsigned)strtoul(v, NULL, 10);
	else if (!strcmp(a, "--arena"))
		o->arena = strtoull(v, NULL, 0);
	else if (!strcmp(a, "--deadline"))
		o->deadline_ms = (int)strtol(v, NULL, 10);
	else if (!strcmp(a, "--optional"))
		o->optional = optional_of(v);
	else if (!strcmp(a, "--jailer-arg") && o->n_jailer_args < 11)
		o->jailer_args[o->n_jailer_args++] = v;
	else
		return false;
	return true;
}

static int open_program(const char *path, bool memory, int *fd, struct err *e)
{
	uint64_t bytes;
	int f = open(path, O_RDONLY | O_CLOEXEC);
	if (f < 0)
		return err_set(e, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
	if (!memory) {
		*fd = f;
		return ERR_OK;
	}
	int rc = memfd_program(f, fd, &bytes, e);
	close(f);
	return rc;
}

static int set_up(struct harness *h, struct err *e)
{
	struct options *o = &h->o;
	int jailer_fd, rc = open_program(o->jailer, false, &jailer_fd, e);
	struct jail_conf c = { .program_fd = jailer_fd, .rootless = o->rootless, .uid = o->uid, .gid = o->gid,
	                       .extra_args = o->jailer_args };
	if (rc == ERR_OK)
		rc = jailer_start(&c, &h->jail, e);
	if (rc == ERR_OK)
		rc = open_program(o->program, true, &h->program_fd, e);
	h->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc == ERR_OK && !o->rootless)
		rc = wall_become(o->uid, o->gid, e);
	if (rc == ERR_OK && o->walled) {
		const struct wall_dir dirs[] = { { h->proc_fd, WALL_READ } };
		uint64_t layers;
		rc = wall_enter_broker(&(struct wall_conf){ dirs, 1, o->optional, 256, 0 }, &layers, e);
	}
	return rc;
}

/* What the tests drive: [[number, name, layers], ...] of steps and [[bit, name, may], ...] of layers. */
static int list(void)
{
	static const struct { const char *name; uint64_t layers; } steps[] = {
#define STEP(sym, name, layers) { #sym, layers },
		JAIL_STEPS(STEP)
#undef STEP
	};
	printf("{\"steps\": [");
	for (unsigned i = 0; i < STEP__MAX; i++)
		printf("%s[%u, \"%s\", \"%s\", %" PRIu64 "]", i ? ", " : "", i, steps[i].name, jail_step_name(i),
		       steps[i].layers);
	printf("], \"attempts\": [");
	unsigned n;
	const struct attempt_known *k = attempt_list(&n);
	for (unsigned i = 0; i < n; i++)
		printf("%s\"%s\"", i ? ", " : "", k[i].name);
	printf("], \"layers\": [");
	for (unsigned i = 0; i < LAYER__MAX; i++)
		printf("%s[%u, \"%s\", %u]", i ? ", " : "", i, layer_rows[i].name, layer_rows[i].may);
	printf("]}\n");
	return 0;
}

int main(int argc, char **argv)
{
	static struct harness h;
	static char line[512], jailer[256], program[256], self[200];
	struct err e = { 0 };
	int i = 1;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash = n > 0 ? strrchr(self, '/') : NULL;
	if (slash)
		*slash = 0;
	snprintf(jailer, sizeof jailer, "%s/../bin/fumehood-jailer", self);
	snprintf(program, sizeof program, "%s/../bin/fumehood-attack", self);
	h.o = (struct options){ .jailer = jailer, .program = program, .uid = UID_BROKER_FALLBACK,
	                        .gid = UID_BROKER_FALLBACK, .threads = 2, .arena = LIMIT_ARENA_MIN_BYTES,
	                        .deadline_ms = 1000, .rootless = geteuid() != 0 };
	for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--list"))
			return list();
		if (take_switch(&h.o, argv[i]))
			continue;
		if (i + 1 >= argc || !take_value(&h.o, argv[i], argv[i + 1]))
			return usage();
		i++;
	}
	signal(SIGPIPE, SIG_IGN);
	if (set_up(&h, &e) != ERR_OK) {
		print_error("jailer", &e);
		return 3;
	}
	bool from_stdin = i == argc;
	for (; i < argc; i++)
		one(&h, argv[i]);
	while (from_stdin && fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (*line && *line != '#')
			one(&h, line);
	}
	jailer_stop(h.jail);
	return 0;
}
