/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool whose workers are children of the test: where a jailed worker would stand, one speaks the worker's side
 * of the conversation, honestly or with one lie (the jail has tests of its own; jailer and proof are wrapped away).
 * Included once per test program.
 *
 * Side: tests. Trusts: nothing. Owns: the house.
 */
#ifndef FUMEHOOD_TESTS_FAKE_WORKER_H
#define FUMEHOOD_TESTS_FAKE_WORKER_H

#include "broker/pool_in.h"
#include "proto/fumehood.pb-c.h"
#include "proto/limits.h"
#include "proto/mem.h"
#include "sandbox/wall/kernel_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define MEMORY_BYTES MIB(64)
#define DEADLINE_MS 400
#define SLOW_MS 150

/* --- the worker's side --------------------------------------------------------------------------- */

enum lie {
	HONEST, NEEDS_HUGE, NEEDS_OVERFLOW, NEEDS_RESERVED, NEEDS_TWICE, NEEDS_NO_ROOM, READY_FIRST, READY_REFUSES,
	READY_TWICE, READY_STATUS, READY_LONG, LOAD_SILENT, LOAD_CRASH, LOAD_EXIT, RESULT_WRONG_ID, RESULT_STATUS,
	RESULT_RESERVED, RESULT_LIES, RESULT_TWICE, RESULT_REFUSES, CALL_SILENT, CALL_CRASH, CALL_EXIT, CALL_SIGSYS,
	CALL_NOISE, CALL_WRONG_KIND, CALL_HUGE_FRAME, CALL_HALF, CALL_SLOW, NEEDS_FD, RESULT_FD, RESULT_FDS, RESULT_ITSELF,
	LOCK_FAILS
};

static enum lie lie;      /* of the next worker */
static unsigned n_spawned;

static inline void must(bool ok)
{
	if (!ok)
		_exit(99);
}

/* Reads a frame; the end of the channel is a clean end. */
static inline uint16_t hear(int fd, uint64_t *id, uint8_t *body, size_t cap, size_t *len)
{
	uint8_t raw[FRAME_HEADER_BYTES];
	struct frame_header h;
	ssize_t n = recv(fd, raw, sizeof raw, MSG_WAITALL);
	if (n <= 0)
		_exit(0);
	must(n == (ssize_t)sizeof raw && frame_header_get(raw, ROLE_BROKER, ROLE_WORKER, &h, NULL) == ERR_OK);
	must(h.length <= cap && recv(fd, body, h.length, MSG_WAITALL) == (ssize_t)h.length);
	*id = h.request_id;
	*len = h.length;
	return h.kind;
}

static inline void say(int fd, uint16_t kind, uint64_t id, const void *body, size_t len)
{
	uint8_t raw[FRAME_HEADER_BYTES];
	frame_header_put(raw, &(struct frame_header){ kind, len, id });
	must(send(fd, raw, sizeof raw, MSG_NOSIGNAL) == (ssize_t)sizeof raw);
	must(send(fd, body, len, MSG_NOSIGNAL) == (ssize_t)len);
}

#define FDS_MOST 253 /* the kernel takes no more in one message */

/* The same with descriptors: n of nothing in particular, or the channel itself, which would keep itself alive. */
static inline void say_with_fds(int fd, uint16_t kind, uint64_t id, const void *body, size_t len, unsigned n, int which)
{
	uint8_t raw[FRAME_HEADER_BYTES];
	static char room[CMSG_SPACE(FDS_MOST * sizeof(int))];
	struct iovec iov = { raw, sizeof raw };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (unsigned i = 0; i < n; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &which, sizeof which);
	frame_header_put(raw, &(struct frame_header){ kind, len, id });
	must(sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)sizeof raw);
	must(send(fd, body, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/* READY or RESULT: the struct, an inner body of head_len zero bytes, a tail. */
static inline void say_result(int fd, uint16_t kind, uint64_t id, struct result_fixed r, size_t head_len, size_t tail_len)
{
	size_t len = FIXED_BYTES + frame_front_bytes(head_len, tail_len) + tail_len;
	uint8_t *body = calloc(1, len);
	memcpy(body, &r, FIXED_BYTES);
	frame_prefix_put(body + FIXED_BYTES, head_len);
	say(fd, kind, id, body, len);
	free(body);
}

static inline void load(int fd, enum lie l)
{
	struct needs_fixed n = { .graph_bytes = MIB(1), .io_min_bytes = PLAN_REQUEST_MIN_BYTES };
	struct result_fixed ok = { 0 };
	struct plan_fixed plan;
	uint64_t id;
	size_t len;
	must(hear(fd, &id, (uint8_t *)&plan, sizeof plan, &len) == MSG_LOAD);
	if (l == LOAD_SILENT)
		pause();
	if (l == LOAD_CRASH)
		raise(SIGSEGV);
	if (l == LOAD_EXIT)
		_exit(7);
	if (l == READY_FIRST)
		say_result(fd, MSG_READY, 0, ok, 4, 0);
	if (l == READY_REFUSES) {
		say_result(fd, MSG_READY, 0, (struct result_fixed){ .status = ERR_MODEL }, 9, 0);
		hear(fd, &id, (uint8_t *)&plan, sizeof plan, &len); /* nothing comes any more */
	}
	if (l == NEEDS_HUGE)
		n.weights_bytes = MEMORY_BYTES + 1;
	if (l == NEEDS_OVERFLOW)
		n.weights_bytes = n.plan_min_bytes = UINT64_MAX / 2 + 1;
	if (l == NEEDS_RESERVED)
		n.reserved[1] = 1;
	if (l == NEEDS_NO_ROOM)
		n.io_min_bytes = 1;
	if (l == NEEDS_FD)
		say_with_fds(fd, MSG_NEEDS, 0, &n, sizeof n, 1, fd);
	else
		say(fd, MSG_NEEDS, 0, &n, sizeof n);
	if (l == NEEDS_TWICE)
		say(fd, MSG_NEEDS, 0, &n, sizeof n);
	must(hear(fd, &id, (uint8_t *)&plan, sizeof plan, &len) == MSG_PLAN);
	must(plan.engine_bytes >= n.graph_bytes && plan.request_bytes >= PLAN_REQUEST_MIN_BYTES &&
	     plan.engine_bytes + plan.request_bytes <= MEMORY_BYTES);
	if (l == READY_STATUS)
		ok.status = ERR_DENIED; /* nothing that a worker can know */
	say_result(fd, MSG_READY, 0, ok, l == READY_LONG ? LIMIT_MODEL_INFO_BYTES : 4, 0);
	if (l == READY_TWICE)
		say_result(fd, MSG_READY, 0, ok, 4, 0);
}

static inline void call(int fd, enum lie l)
{
	static uint8_t body[65536];
	uint8_t half[FRAME_HEADER_BYTES];
	static uint64_t n_calls, n_scrubs;
	struct result_fixed r = { .output_bytes = 100 };
	uint64_t id;
	size_t len;
	uint16_t kind;
	while ((kind = hear(fd, &id, body, sizeof body, &len)) == MSG_SCRUB)
		n_scrubs++;
	must(kind == MSG_CALL);
	r.calls = ++n_calls;
	r.plans = n_scrubs; /* how the test sees them */
	if (l == CALL_SILENT)
		pause();
	if (l == CALL_SLOW)
		usleep(SLOW_MS * 1000);
	if (l == RESULT_FD || l == RESULT_FDS || l == RESULT_ITSELF) {
		int null = open("/dev/null", O_RDONLY);
		say_with_fds(fd, MSG_RESULT, id, body, FIXED_BYTES + FRAME_PREFIX_BYTES, l == RESULT_FDS ? FDS_MOST : 1,
		             l == RESULT_ITSELF ? fd : null);
		pause();
	}
	if (l == CALL_CRASH)
		raise(SIGFPE);
	if (l == CALL_EXIT)
		_exit(3);
	if (l == CALL_SIGSYS)
		raise(SIGSYS);
	if (l == CALL_NOISE)
		must(send(fd, body, 64, MSG_NOSIGNAL) == 64);
	if (l == CALL_WRONG_KIND)
		say(fd, MSG_NEEDS, id, body, FIXED_BYTES);
	if (l == CALL_HALF) {
		frame_header_put(half, &(struct frame_header){ MSG_RESULT, 1000, id });
		must(send(fd, half, sizeof half, MSG_NOSIGNAL) == (ssize_t)sizeof half);
		_exit(0);
	}
	if (l == CALL_HUGE_FRAME) {
		frame_header_put(half, &(struct frame_header){ MSG_RESULT, GIB(3), id });
		must(send(fd, half, sizeof half, MSG_NOSIGNAL) == (ssize_t)sizeof half);
		pause();
	}
	if (l == RESULT_STATUS)
		r.status = 5;
	if (l == RESULT_REFUSES)
		r.status = ERR_INPUT;
	if (l == RESULT_RESERVED)
		r.reserved[0] = 1;
	if (l == RESULT_LIES)
		r.output_bytes = 101;
	say_result(fd, MSG_RESULT, id + (l == RESULT_WRONG_ID), r, 10, 100);
	if (l == RESULT_TWICE)
		say_result(fd, MSG_RESULT, id, r, 10, 100);
}

/* --- in place of the jail ------------------------------------------------------------------------------ */

int __wrap_jailer_spawn(struct jail *j, const struct worker_order *o, struct worker *w, struct err *e);
int __wrap_worker_locked(struct worker *w, struct err *e);
int __wrap_worker_verify(struct jail *j, int proc_fd, const struct worker_order *o, struct worker *w, struct err *e);
int __wrap_worker_limits_close(struct worker *w, struct err *e);

int __wrap_jailer_spawn(struct jail *j, const struct worker_order *o, struct worker *w, struct err *e)
{
	int pair[2];
	enum lie l = lie;
	(void)j, (void)o, (void)e;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 1; i < 32; i++)
			signal(i, SIG_DFL); /* the test framework's are not for us */
		close(pair[0]);
		must(send(pair[1], "L", 1, MSG_NOSIGNAL) == 1);
		load(pair[1], l);
		for (;;)
			call(pair[1], l);
	}
	close(pair[1]);
	n_spawned++;
	*w = (struct worker){ .pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0), .channel = pair[0],
	                      .n_threads = 1, .layers = 7, .listener_fd = -1 };
	lie = HONEST; /* the next one is */
	return ERR_OK;
}

int __wrap_worker_locked(struct worker *w, struct err *e)
{
	char c;
	if (recv(w->channel, &c, 1, 0) != 1)
		return err_set(e, ERR_WORKER, "it ended");
	return ERR_OK;
}

static bool verify_fails;

int __wrap_worker_verify(struct jail *j, int proc_fd, const struct worker_order *o, struct worker *w, struct err *e)
{
	(void)j, (void)proc_fd, (void)o, (void)w;
	bool fails = verify_fails;
	verify_fails = false;
	return fails ? err_set(e, ERR_WALL, "thread 2 has no filter") : ERR_OK;
}

int __wrap_worker_limits_close(struct worker *w, struct err *e)
{
	(void)w, (void)e;
	return ERR_OK;
}

/* --- the caller's side ------------------------------------------------------------------------------------ */

struct outcome {
	bool is_done, is_failed, is_started;
	int code;
	char text[ERR_TEXT_MAX_BYTES];
	bool has_end;
	enum verdict verdict;
	size_t inner_len;
	bool has_words;
	uint64_t n_calls, n_scrubs; /* of the worker so far, as it says */
	uint32_t pid;
	unsigned nth;               /* the how manieth outcome */
	uint8_t digest[HASH_BYTES];
};

struct house {
	struct loop *loop;
	struct pool *pool;
	struct model *model;
	struct loop_timer stop;
	unsigned n_open;          /* turns without an outcome */
	unsigned n_ended, n_loaded, n_quarantined;
	uint64_t quarantined_ms;
	enum verdict last;
	struct turn turns[8];
	struct outcome out[8];
	uint8_t salt[HASH_SALT_BYTES];
};

static struct house H;
static const char *asker;     /* of the next turns */
static enum isolation tier;

static unsigned n_settled;

static inline void settle(void)
{
	if (--H.n_open == 0)
		loop_stop(H.loop);
}

static void on_started(void *arg) { ((struct outcome *)arg)->is_started = true; }

static inline void on_done(void *arg, struct turn_result *r)
{
	struct outcome *o = arg;
	assert_false(o->is_done || o->is_failed);
	struct result_fixed fixed;
	memcpy(&fixed, r->body, sizeof fixed);
	o->n_calls = fixed.calls;
	o->n_scrubs = fixed.plans;
	o->pid = r->about->pid;
	o->nth = ++n_settled;
	o->is_done = true;
	o->inner_len = r->inner_len;
	memcpy(o->digest, r->digest, HASH_BYTES);
	settle();
}

static inline void on_failed(void *arg, struct turn_failure *f)
{
	struct outcome *o = arg;
	assert_false(o->is_done || o->is_failed);
	o->is_failed = true;
	o->nth = ++n_settled;
	o->code = f->code;
	snprintf(o->text, sizeof o->text, "%s", f->text);
	o->has_end = f->has_end;
	o->verdict = f->verdict;
	o->has_words = f->body != NULL;
	o->inner_len = f->inner_len;
	settle();
}

static inline void on_loaded(void *arg, const struct slot *s, const struct pool_about *a)
{
	(void)arg, (void)s;
	assert_int_equal(a->layers, 7);
	H.n_loaded++;
}

static inline void on_ended(void *arg, const struct pool_end *end)
{
	(void)arg;
	H.n_ended++;
	H.last = end->verdict;
}

static inline void on_quarantined(void *arg, const struct model *m, uint64_t for_ms)
{
	(void)arg;
	assert_ptr_equal(m, H.model);
	H.n_quarantined++;
	H.quarantined_ms = for_ms;
}

static inline void on_stop(void *arg)
{
	(void)arg;
	loop_stop(H.loop);
}

static inline int setup(void **state)
{
	struct err e;
	(void)state;
	memset(&H, 0, sizeof H);
	lie = HONEST;
	n_spawned = n_settled = 0;
	asker = NULL;
	tier = ISOLATION_SHARED;
	H.stop = (struct loop_timer){ .fn = on_stop };
	assert_int_equal(loop_new(&H.loop, &e), ERR_OK);
	const struct pool_conf c = { .loop = H.loop, .memory_bytes = MEMORY_BYTES, .call_ms = 3 * DEADLINE_MS,
	                             .load_ms = DEADLINE_MS, .queue_max = 3, .request_max_bytes = MIB(1), .threads = 1,
	                             .loaded = on_loaded, .ended = on_ended, .quarantined = on_quarantined,
	                             .quarantine_crashes = 3, .quarantine_window_ms = 60000, .quarantine_ms = 200 };
	assert_int_equal(pool_new(&c, &H.pool, &e), ERR_OK);
	H.model = calloc(1, sizeof *H.model);
	H.model->refs = 1;
	H.model->is_unsigned = true;
	H.model->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	H.model->note = calloc(1, sizeof *H.model->note);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	pool_free(H.pool);
	model_unref(H.model);
	loop_free(H.loop);
	return 0;
}

static inline struct slot *own(void)
{
	struct slot *s;
	assert_int_equal(pool_slot_own(H.pool, H.model, 1, 0, false, &s, NULL), ERR_OK);
	return s;
}

static inline struct slot *shared(void)
{
	struct slot *s;
	assert_int_equal(pool_slot_shared(H.pool, H.model, &(struct slot_key){ .threads = 1 }, &s, NULL), ERR_OK);
	return s;
}

static inline void submit(struct slot *s, unsigned i, enum turn_kind kind, uint64_t deadline_ms)
{
	struct turn *t = &H.turns[i];
	*t = (struct turn){ .kind = kind, .salt = H.salt, .deadline_ms = deadline_ms, .arg = &H.out[i],
	                    .principal = asker, .isolation = tier,
	                    .started = on_started, .done = on_done, .failed = on_failed };
	H.out[i] = (struct outcome){ 0 };
	H.n_open++;
	if (kind == TURN_CALL) {
		t->body = calloc(1, 16);
		t->body_len = FRAME_PREFIX_BYTES + 0;
	}
	slot_submit(s, t);
}

static inline void wait_all(int ms)
{
	struct err e;
	if (!H.n_open)
		return;
	loop_timer_set(H.loop, &H.stop, ms);
	assert_int_equal(loop_run(H.loop, &e), ERR_OK);
	loop_timer_stop(H.loop, &H.stop);
}

/* Goes on until the worker's end has been told. */
static inline void wait_ended(unsigned n)
{
	struct err e;
	for (int i = 0; i < 100 && H.n_ended < n; i++) {
		loop_timer_set(H.loop, &H.stop, 20);
		assert_int_equal(loop_run(H.loop, &e), ERR_OK);
	}
	loop_timer_stop(H.loop, &H.stop);
	assert_int_equal(H.n_ended, n);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
