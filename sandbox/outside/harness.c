/* SPDX-License-Identifier: Apache-2.0
 *
 * See harness.h. Side: cli (doctor), tests. Trusts: its caller. Owns: the workers it starts.
 */
#include "sandbox/outside/harness.h"
#include "proto/limits.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t harness_now_us(void)
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

/* "thread NR ..." makes the call from a second thread, "early NR ..." before the lock. */
bool attempt_parse(const char *attempt, char blob[ATTEMPT_BLOB_BYTES])
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
	if (!strcmp(w, "early")) {
		t.kind = ATTEMPT_EARLY;
		w = strtok_r(NULL, " \t", &save);
	} else if (!strchr("0123456789-", *w)) {
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

#define NAMES_MAX 512

static int number_of(const char *name, size_t len)
{
	for (int nr = 0; nr < NAMES_MAX; nr++) {
		const char *known = call_name(AUDIT_ARCH_X86_64, nr);
		if (strlen(known) == len && !memcmp(known, name, len))
			return nr;
	}
	return -1;
}

bool attempt_spell(const char *line, char *out, size_t cap)
{
	size_t lead = strncmp(line, "thread ", 7) ? 0 : 7, len = strcspn(line + lead, " \t");
	int nr = number_of(line + lead, len);
	int n = nr < 0 ? snprintf(out, cap, "%s", line)
	               : snprintf(out, cap, "%.*s%d%s", (int)lead, line, nr, line + lead + len);
	return n > 0 && (size_t)n < cap;
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

struct watch {
	const struct harness *h;
	struct worker *w;
	struct outcome *r;
	struct worker_notes *notes;
	struct attempt_result got;
	size_t have, seen;
	int64_t t0;
};

static void end_it(struct watch *x, enum worker_killed why)
{
	if (x->notes->killed == KILLED_NOT)
		x->notes->killed = why;
	worker_kill(x->w);
}

static void hear_channel(struct watch *x)
{
	char junk[4096];
	ssize_t k = read(x->w->channel, junk, sizeof junk);
	if (k > 0 && x->have < sizeof x->got) {
		size_t take = (size_t)k < sizeof x->got - x->have ? (size_t)k : sizeof x->got - x->have;
		memcpy((char *)&x->got + x->have, junk, take);
		x->have += take;
	}
	x->seen += k > 0 ? (size_t)k : 0;
	if (x->seen > sizeof x->got) /* more than an answer: a flood */
		end_it(x, KILLED_PROTOCOL);
}

static void hear_listener(struct watch *x)
{
	struct violation v;
	if (violation_read(x->w, &v, NULL) != 1 || x->r->reported)
		return;
	x->r->report_us = harness_now_us() - x->t0;
	x->r->reported = true;
	x->r->violation = v;
	end_it(x, KILLED_REFUSED);
}

/* Until the worker has ended; its answer, if there is one, is kept. */
static int watch_it(struct watch *x, struct err *e)
{
	int64_t deadline = x->t0 + (int64_t)x->h->o.deadline_ms * 1000;
	for (;;) {
		struct pollfd p[3] = { { x->w->pidfd, POLLIN, 0 }, { x->w->channel, POLLIN, 0 },
		                       { x->w->listener_fd, POLLIN, 0 } };
		int64_t left = (deadline - harness_now_us()) / 1000;
		if (left <= 0) {
			end_it(x, KILLED_DEADLINE);
			left = 1000;
		}
		if (poll(p, 3, left > 0 ? (int)left : 0) < 0 && errno != EINTR)
			return err_set(e, ERR_IO, "poll: %s", strerror(errno));
		if (p[2].revents & POLLIN)
			hear_listener(x);
		if (p[1].revents)
			hear_channel(x);
		int rc = p[0].revents ? worker_reap(x->w, 0, &x->r->end, e) : 0;
		if (rc)
			break;
	}
	if (fcntl(x->w->channel, F_SETFL, O_NONBLOCK) < 0)
		return err_set(e, ERR_IO, "fcntl: %s", strerror(errno));
	while (x->have < sizeof x->got) { /* what it had said before its end */
		ssize_t k = read(x->w->channel, (char *)&x->got + x->have, sizeof x->got - x->have);
		if (k <= 0)
			break;
		x->have += (size_t)k;
	}
	return ERR_OK;
}

/* One more spare, killed while it waits (the jailer numbers it next to the last): it is not handed out. */
static int end_newest_child(struct harness *h, const struct worker_order *o, struct err *e)
{
	struct worker w;
	siginfo_t si = { 0 };
	char path[64], children[1024] = "";
	int rc = spares_add(h->spares, h->jail, h->proc_fd, o, e);
	if (rc != ERR_OK)
		return rc;
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	FILE *f = fopen(path, "r");
	if (!f || !fgets(children, sizeof children, f))
		rc = err_set(e, ERR_IO, "%s cannot be read", path);
	if (f)
		fclose(f);
	children[strcspn(children, "\n")] = 0;
	size_t n = strlen(children);
	while (n > 0 && children[n - 1] == ' ')
		children[--n] = 0;
	char *last = strrchr(children, ' ');
	pid_t pid = (pid_t)strtol(last ? last : children, NULL, 10);
	if (rc == ERR_OK && (pid <= 1 || kill(pid, SIGKILL) < 0))
		rc = err_set(e, ERR_INTERNAL, "the spare's pid was not found");
	if (rc == ERR_OK && waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT | __WALL) < 0)
		rc = err_set(e, ERR_IO, "waitid: %s", strerror(errno));
	if (rc == ERR_OK && spares_take(h->spares, o, &w))
		rc = err_set(e, ERR_INTERNAL, "a dead spare was handed out");
	return rc;
}

/* A spare that is taken; on the way: no second place, no other order's spare, no dead one. */
static int start_spare(struct harness *h, const struct worker_order *o, struct worker *w, struct err *e)
{
	struct err full;
	struct worker_order other = *o;
	other.n_threads++;
	int rc = h->spares ? ERR_OK : spares_new(1, &h->spares, e);
	if (rc == ERR_OK)
		rc = spares_add(h->spares, h->jail, h->proc_fd, o, e);
	if (rc != ERR_OK)
		return rc;
	if (spares_add(h->spares, h->jail, h->proc_fd, o, &full) != ERR_BUSY)
		return err_set(e, ERR_INTERNAL, "a second spare found a place");
	if (spares_take(h->spares, &other, w))
		return err_set(e, ERR_INTERNAL, "a spare was handed out for another order");
	if (!spares_take(h->spares, o, w))
		return err_set(e, ERR_INTERNAL, "the spare was not handed out");
	struct worker first = *w;
	*w = first;
	return end_newest_child(h, o, e);
}

int harness_start(struct harness *h, const char *blob, struct worker *w, struct outcome *r, struct err *e)
{
	int model = model_of(h, blob, e);
	struct worker_order o = { .model_fd = model, .model_bytes = ATTEMPT_BLOB_BYTES,
	                          .program_fd = h->program_fd, .arena_bytes = h->o.arena,
	                          .n_threads = h->o.threads, .cpu_seconds = h->o.cpu,
	                          .optional_layers = h->o.optional, .violation_kill = h->o.violation_kill };
	int64_t t0 = harness_now_us();
	int rc = h->o.unproved ? jailer_spawn(h->jail, &o, w, e)
	         : h->o.use_spare ? start_spare(h, &o, w, e) : worker_start(h->jail, h->proc_fd, &o, w, e);
	if (rc == ERR_OK && h->o.unproved) {
		rc = worker_locked(w, e);
	}
	if (rc == ERR_OK && h->o.unproved && h->o.keep_limits)
		rc = worker_limits_close(w, e);
	r->locked_us = harness_now_us() - t0;
	close(model);
	if (rc != ERR_OK) {
		worker_close(w);
		return rc;
	}
	if (h->o.drop_listener && w->listener_fd >= 0) {
		close(w->listener_fd);
		w->listener_fd = -1;
	}
	r->layers = w->layers | w->locked.layers;
	r->missing = LAYERS_ALL & ~r->layers;
	r->fds_seen = w->fds_seen;
	return ERR_OK;
}

int harness_follow(struct harness *h, struct worker *w, bool end, struct outcome *r, struct err *e)
{
	struct worker_notes notes = { .cpu_seconds = h->o.cpu };
	struct watch x = { .h = h, .w = w, .r = r, .notes = &notes, .t0 = harness_now_us() };
	int rc = ERR_OK;
	notes.told_to_end = end;
	if (end)
		rc = shutdown(w->channel, SHUT_WR) < 0 ? err_set(e, ERR_IO, "shutdown: %s", strerror(errno)) : ERR_OK;
	else if (write(w->channel, ATTEMPT_GO, 1) != 1)
		rc = err_set(e, ERR_WORKER, "the worker does not listen");
	if (rc == ERR_OK)
		rc = watch_it(&x, e);
	if (rc == ERR_OK) {
		r->returned = x.have == sizeof x.got && !memcmp(x.got.magic, ATTEMPT_RETURNED, 8);
		r->ret = r->returned ? x.got.ret : 0;
		r->verdict = verdict_of(&r->end, &notes);
	}
	worker_close(w);
	return rc;
}

/* --- set-up --------------------------------------------------------------------------------------------------------- */

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

void harness_defaults(struct harness_options *o, char self[2][256])
{
	char dir[200] = "";
	ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
	char *slash = n > 0 ? strrchr(dir, '/') : NULL;
	if (slash)
		*slash = 0;
	snprintf(self[0], 256, "%s/../bin/fumehood-jailer", dir);
	snprintf(self[1], 256, "%s/../bin/fumehood-attack", dir);
	*o = (struct harness_options){ .jailer = self[0], .program = self[1], .uid = UID_BROKER_FALLBACK,
	                               .gid = UID_BROKER_FALLBACK, .threads = 2, .arena = LIMIT_ARENA_MIN_BYTES,
	                               .deadline_ms = 1000, .rootless = geteuid() != 0 };
}

int harness_open(struct harness *h, struct err *e)
{
	struct harness_options *o = &h->o;
	int jailer_fd = -1, rc = open_program(o->jailer, false, &jailer_fd, e);
	struct jail_conf c = { .program_fd = jailer_fd, .rootless = o->rootless, .uid = o->uid, .gid = o->gid,
	                       .extra_args = o->jailer_args };
	if (rc == ERR_OK)
		rc = jailer_start(&c, &h->jail, e);
	if (jailer_fd >= 0)
		close(jailer_fd);
	if (rc == ERR_OK)
		rc = open_program(o->program, true, &h->program_fd, e);
	if (rc == ERR_OK && o->use_template)
		rc = jailer_template(h->jail, h->program_fd, e);
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

void harness_close(struct harness *h)
{
	spares_free(h->spares);
	h->spares = NULL;
	jailer_stop(h->jail);
	h->jail = NULL;
}

char *json_text(char *out, size_t cap, const char *src)
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
