/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool against workers that lie: a child of this test stands where a jailed worker would (the jail has
 * tests of its own), speaks the worker's side of the conversation, and breaks it in every way. What is
 * tested is what the broker makes of it: the caller's error, the verdict, and that the next call is served.
 */
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

/* --- the worker's side --------------------------------------------------------------------------- */

enum lie {
	HONEST, NEEDS_HUGE, NEEDS_OVERFLOW, NEEDS_RESERVED, NEEDS_TWICE, NEEDS_NO_ROOM, READY_FIRST, READY_REFUSES,
	READY_TWICE, READY_STATUS, READY_LONG, LOAD_SILENT, LOAD_CRASH, LOAD_EXIT, RESULT_WRONG_ID, RESULT_STATUS,
	RESULT_RESERVED, RESULT_LIES, RESULT_TWICE, RESULT_REFUSES, CALL_SILENT, CALL_CRASH, CALL_EXIT, CALL_SIGSYS,
	CALL_NOISE, CALL_WRONG_KIND, CALL_HUGE_FRAME, CALL_HALF, LOCK_FAILS
};

static enum lie lie;      /* of the next worker */
static unsigned n_spawned;

static void must(bool ok)
{
	if (!ok)
		_exit(99);
}

/* Reads a frame; the end of the channel is a clean end. */
static uint16_t hear(int fd, uint64_t *id, uint8_t *body, size_t cap, size_t *len)
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

static void say(int fd, uint16_t kind, uint64_t id, const void *body, size_t len)
{
	uint8_t raw[FRAME_HEADER_BYTES];
	frame_header_put(raw, &(struct frame_header){ kind, len, id });
	must(send(fd, raw, sizeof raw, MSG_NOSIGNAL) == (ssize_t)sizeof raw);
	must(send(fd, body, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/* READY or RESULT: the struct, an inner body of head_len zero bytes, a tail. */
static void say_result(int fd, uint16_t kind, uint64_t id, struct result_fixed r, size_t head_len, size_t tail_len)
{
	size_t len = FIXED_BYTES + frame_front_bytes(head_len, tail_len) + tail_len;
	uint8_t *body = calloc(1, len);
	memcpy(body, &r, FIXED_BYTES);
	frame_prefix_put(body + FIXED_BYTES, head_len);
	say(fd, kind, id, body, len);
	free(body);
}

static void load(int fd, enum lie l)
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

static void call(int fd, enum lie l)
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

static void settle(void)
{
	if (--H.n_open == 0)
		loop_stop(H.loop);
}

static void on_started(void *arg) { ((struct outcome *)arg)->is_started = true; }

static void on_done(void *arg, struct turn_result *r)
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

static void on_failed(void *arg, struct turn_failure *f)
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

static void on_loaded(void *arg, const struct slot *s, const struct pool_about *a)
{
	(void)arg, (void)s;
	assert_int_equal(a->layers, 7);
	H.n_loaded++;
}

static void on_ended(void *arg, const struct pool_end *end)
{
	(void)arg;
	H.n_ended++;
	H.last = end->verdict;
}

static void on_quarantined(void *arg, const struct model *m, uint64_t for_ms)
{
	(void)arg;
	assert_ptr_equal(m, H.model);
	H.n_quarantined++;
	H.quarantined_ms = for_ms;
}

static void on_stop(void *arg)
{
	(void)arg;
	loop_stop(H.loop);
}

static int setup(void **state)
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

static int teardown(void **state)
{
	(void)state;
	pool_free(H.pool);
	model_unref(H.model);
	loop_free(H.loop);
	return 0;
}

static struct slot *own(void)
{
	struct slot *s;
	assert_int_equal(pool_slot_own(H.pool, H.model, 1, 0, false, &s, NULL), ERR_OK);
	return s;
}

static struct slot *shared(void)
{
	struct slot *s;
	assert_int_equal(pool_slot_shared(H.pool, H.model, &(struct slot_key){ .threads = 1 }, &s, NULL), ERR_OK);
	return s;
}

static void submit(struct slot *s, unsigned i, enum turn_kind kind, uint64_t deadline_ms)
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

static void wait_all(int ms)
{
	struct err e;
	if (!H.n_open)
		return;
	loop_timer_set(H.loop, &H.stop, ms);
	assert_int_equal(loop_run(H.loop, &e), ERR_OK);
	loop_timer_stop(H.loop, &H.stop);
}

/* Goes on until the worker's end has been told. */
static void wait_ended(unsigned n)
{
	struct err e;
	for (int i = 0; i < 100 && H.n_ended < n; i++) {
		loop_timer_set(H.loop, &H.stop, 20);
		assert_int_equal(loop_run(H.loop, &e), ERR_OK);
	}
	loop_timer_stop(H.loop, &H.stop);
	assert_int_equal(H.n_ended, n);
}

/* One call on a fresh slot whose worker lies so; then another, which a new worker must serve. */
static void lying(enum lie l, int code, enum verdict v, const char *says)
{
	struct slot *s = own();
	lie = l;
	submit(s, 0, TURN_CALL, 0);
	wait_all(5000);
	struct outcome *o = &H.out[0];
	if (!o->is_failed || o->code != code || !strstr(o->text, says))
		fail_msg("lie %d: done %d, code %s, \"%s\"", l, o->is_done, err_name(o->code), o->text);
	wait_ended(1);
	if (H.last != v)
		fail_msg("lie %d: verdict %s, not %s", l, verdict_name(H.last), verdict_name(v));
	submit(s, 1, TURN_CALL, 0);
	wait_all(5000);
	if (!H.out[1].is_done)
		fail_msg("after lie %d: %s", l, H.out[1].text);
	assert_int_equal(n_spawned, 2);
	slot_unref(s);
	wait_ended(2);
	assert_int_equal(H.last, VERDICT_CLEAN);
	assert_int_equal(pool_n_workers(H.pool), 0);
}

static const struct {
	enum lie lie;
	int code;
	enum verdict verdict;
	const char *says;
} lies[] = {
	{ NEEDS_HUGE, ERR_LIMIT, VERDICT_CLEAN, "the limit is 67108864 bytes" },
	{ NEEDS_OVERFLOW, ERR_LIMIT, VERDICT_CLEAN, "67108864" },
	{ NEEDS_RESERVED, ERR_PROTOCOL, VERDICT_PROTOCOL, "reserved" },
	{ NEEDS_NO_ROOM, ERR_PROTOCOL, VERDICT_PROTOCOL, "room" },
	{ NEEDS_TWICE, ERR_PROTOCOL, VERDICT_PROTOCOL, "NEEDS out of turn" },
	{ READY_FIRST, ERR_PROTOCOL, VERDICT_PROTOCOL, "before a plan" },
	{ READY_REFUSES, ERR_MODEL, VERDICT_CLEAN, "refused the model" },
	{ READY_STATUS, ERR_PROTOCOL, VERDICT_PROTOCOL, "unknown status" },
	{ READY_LONG, ERR_PROTOCOL, VERDICT_PROTOCOL, "description" },
	{ LOAD_SILENT, ERR_DEADLINE, VERDICT_DEADLINE, "loading" },
	{ LOAD_CRASH, ERR_WORKER, VERDICT_CRASH, "signal 11" },
	{ LOAD_EXIT, ERR_WORKER, VERDICT_CRASH, "exit code 7" },
	{ RESULT_WRONG_ID, ERR_PROTOCOL, VERDICT_PROTOCOL, "not the running one" },
	{ RESULT_STATUS, ERR_PROTOCOL, VERDICT_PROTOCOL, "unknown status 5" },
	{ RESULT_RESERVED, ERR_PROTOCOL, VERDICT_PROTOCOL, "reserved" },
	{ RESULT_LIES, ERR_PROTOCOL, VERDICT_PROTOCOL, "says 101 output bytes and brings 100" },
	{ CALL_SILENT, ERR_DEADLINE, VERDICT_DEADLINE, "too long" },
	{ CALL_CRASH, ERR_WORKER, VERDICT_CRASH, "signal 8" },
	{ CALL_EXIT, ERR_WORKER, VERDICT_CRASH, "exit code 3" },
	{ CALL_SIGSYS, ERR_VIOLATION, VERDICT_REFUSED, "outside its four" },
	{ CALL_NOISE, ERR_PROTOCOL, VERDICT_PROTOCOL, "magic" },
	{ CALL_WRONG_KIND, ERR_PROTOCOL, VERDICT_PROTOCOL, "NEEDS out of turn" },
	{ CALL_HUGE_FRAME, ERR_LIMIT, VERDICT_PROTOCOL, "" },
	{ CALL_HALF, ERR_PROTOCOL, VERDICT_PROTOCOL, "middle of a frame" },
};

static void test_lies(void **state)
{
	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		/* whatever is wrong with a frame, the worker is ended for breaking the protocol */
		int code = lies[i].verdict == VERDICT_PROTOCOL ? ERR_PROTOCOL : lies[i].code;
		lying(lies[i].lie, code, lies[i].verdict, lies[i].says);
		teardown(state);
		setup(state);
	}
}

static void test_proof_fails(void **state)
{
	struct slot *s = own();
	(void)state;
	verify_fails = true;
	submit(s, 0, TURN_CALL, 0);
	wait_all(5000);
	assert_int_equal(H.out[0].code, ERR_WALL);
	assert_non_null(strstr(H.out[0].text, "thread 2 has no filter"));
	wait_ended(1);
	assert_int_equal(H.last, VERDICT_UNLOCKED);
	slot_unref(s);
}

static void test_load_then_calls(void **state)
{
	struct slot *s = own();
	(void)state;
	submit(s, 0, TURN_LOAD, 0);
	wait_all(5000);
	assert_true(H.out[0].is_done);
	assert_int_equal(H.out[0].inner_len, FRAME_PREFIX_BYTES + 4);
	assert_int_equal(H.n_loaded, 0); /* whoever asked for it records it */
	for (unsigned i = 1; i < 4; i++)
		submit(s, i, TURN_CALL, 0);
	wait_all(5000);
	uint8_t want[HASH_BYTES], words[128 + 100] = { 0 };
	frame_prefix_put(words, 10);
	hash_salted(H.salt, words, frame_front_bytes(10, 100) + 100, want);
	for (unsigned i = 1; i < 4; i++) {
		assert_true(H.out[i].is_done && H.out[i].is_started);
		assert_memory_equal(H.out[i].digest, want, HASH_BYTES); /* of the worker's words, hashed on arrival */
	}
	assert_int_equal(n_spawned, 1);
	slot_unref(s);
	wait_ended(1);
}

static void test_refused_call_keeps_the_worker(void **state)
{
	struct slot *s = own();
	(void)state;
	lie = RESULT_REFUSES;
	for (unsigned i = 0; i < 2; i++)
		submit(s, i, TURN_CALL, 0);
	wait_all(5000);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(H.out[i].code, ERR_INPUT);
		assert_true(H.out[i].has_words && !H.out[i].has_end);
	}
	assert_int_equal(n_spawned, 1);
	slot_unref(s);
	wait_ended(1);
}

/* A second answer comes when nobody asked: the worker ends, the first answer stands. */
static void test_second_answer(void **state)
{
	struct slot *s = own();
	(void)state;
	lie = RESULT_TWICE;
	submit(s, 0, TURN_CALL, 0);
	wait_all(5000);
	assert_true(H.out[0].is_done);
	wait_ended(1);
	assert_int_equal(H.last, VERDICT_PROTOCOL);
	slot_unref(s);
}

static void test_queue_has_an_end(void **state)
{
	struct slot *s = own();
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		submit(s, i, TURN_CALL, 0);
	assert_int_equal(H.out[3].code, ERR_BUSY);
	assert_int_equal(H.out[4].code, ERR_BUSY);
	wait_all(5000);
	for (unsigned i = 0; i < 3; i++)
		assert_true(H.out[i].is_done);
	slot_unref(s);
	wait_ended(1);
}

static void test_withdrawn_turns(void **state)
{
	struct slot *s = own();
	(void)state;
	submit(s, 0, TURN_CALL, 0);
	submit(s, 1, TURN_CALL, 0);
	submit(s, 2, TURN_CALL, 0);
	turn_withdraw(&H.turns[1]); /* waits */
	turn_withdraw(&H.turns[1]); /* once more is nothing */
	H.n_open--;
	wait_all(5000);
	assert_true(H.out[0].is_done && H.out[2].is_done);
	assert_false(H.out[1].is_done || H.out[1].is_failed);
	slot_unref(s);
	wait_ended(1);
}

/* The caller's deadline ends a worker of its own, but not one that others share: there the call is given
 * up, and only the slot's limit ends the worker. */
static void test_deadlines(void **state)
{
	struct slot *s = own();
	(void)state;
	lie = CALL_SILENT;
	submit(s, 0, TURN_CALL, DEADLINE_MS);
	wait_all(5000);
	assert_int_equal(H.out[0].code, ERR_DEADLINE);
	assert_true(H.out[0].has_end);
	assert_int_equal(H.n_ended, 1);
	slot_unref(s);

	s = shared();
	lie = CALL_SILENT;
	submit(s, 0, TURN_CALL, DEADLINE_MS);
	submit(s, 1, TURN_CALL, 0);
	H.n_open--; /* look when the first one is over */
	wait_all(5000);
	assert_int_equal(H.out[0].code, ERR_DEADLINE);
	assert_false(H.out[0].has_end);
	assert_int_equal(H.n_ended, 1);
	H.n_open = 1;
	wait_all(5000); /* the silent worker is ended, the second call gets another one */
	assert_int_equal(H.n_ended, 2);
	assert_int_equal(H.last, VERDICT_DEADLINE);
	assert_true(H.out[1].is_done);
	slot_unref(s);
}

static void test_shared_slot_is_one(void **state)
{
	struct slot *a = shared(), *b = shared(), *c;
	(void)state;
	assert_ptr_equal(a, b);
	assert_int_equal(pool_slot_shared(H.pool, H.model, &(struct slot_key){ .threads = 2 }, &c, NULL), ERR_OK);
	assert_ptr_not_equal(a, c);
	submit(a, 0, TURN_CALL, 0);
	wait_all(5000);
	assert_true(H.out[0].is_done);
	assert_int_equal(H.n_loaded, 1); /* nobody opened it by name: the pool tells */
	slot_unref(a);
	slot_unref(b);
	slot_unref(c);
	assert_int_equal(pool_n_workers(H.pool), 1); /* it stays for the next caller */
	a = shared();
	assert_true(slot_has_worker(a));
	slot_unref(a);
	pool_end_all(H.pool);
	assert_int_equal(H.last, VERDICT_CLEAN);
}

static struct slot *slot_of(enum isolation isolation, const char *principal)
{
	struct slot *s;
	const struct slot_key key = { .threads = 1, .isolation = isolation, .principal = principal };
	assert_int_equal(pool_slot_shared(H.pool, H.model, &key, &s, NULL), ERR_OK);
	return s;
}

static void submit_as(struct slot *s, unsigned i, const char *principal)
{
	asker = principal;
	submit(s, i, TURN_CALL, 0);
}

/* A worker that all share forgets between principals, and only then. */
static void test_scrubbed_between_principals(void **state)
{
	static const char *const askers[] = { "a", "a", "b", "b", "a" };
	static const uint64_t scrubs[] = { 0, 0, 1, 1, 2 };
	struct slot *s = slot_of(ISOLATION_SHARED, "a");
	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		submit_as(s, i, askers[i]);
		wait_all(5000);
		assert_true(H.out[i].is_done);
		assert_int_equal(H.out[i].n_scrubs, scrubs[i]);
		assert_int_equal(H.out[i].n_calls, i + 1);
	}
	assert_int_equal(n_spawned, 1);
	slot_unref(s);
	pool_end_all(H.pool);
}

static void test_a_worker_for_each_tenant(void **state)
{
	struct slot *a = slot_of(ISOLATION_TENANT, "a"), *b = slot_of(ISOLATION_TENANT, "b"),
	            *a2 = slot_of(ISOLATION_TENANT, "a"), *all = slot_of(ISOLATION_SHARED, "a");
	(void)state;
	assert_ptr_equal(a, a2);
	assert_true(a != b && a != all && b != all);
	tier = ISOLATION_TENANT;
	submit_as(a, 0, "a");
	submit_as(b, 1, "b");
	submit_as(a2, 2, "a");
	wait_all(5000);
	assert_true(H.out[0].pid == H.out[2].pid && H.out[0].pid != H.out[1].pid);
	assert_int_equal(H.out[2].n_scrubs, 0);
	assert_int_equal(n_spawned, 2);
	slot_unref(a);
	slot_unref(a2);
	slot_unref(b);
	slot_unref(all);
	pool_end_all(H.pool);
}

/* Each call meets a worker that has served nobody; the next one is ready before anybody asks. */
static void test_a_worker_for_each_call(void **state)
{
	struct slot *s = slot_of(ISOLATION_CALL, "a");
	(void)state;
	tier = ISOLATION_CALL;
	for (unsigned i = 0; i < 3; i++)
		submit_as(s, i, "a");
	wait_all(5000);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(H.out[i].is_done);
		assert_int_equal(H.out[i].n_calls, 1);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(H.out[i].pid, H.out[k].pid);
	}
	wait_ended(3);
	assert_int_equal(n_spawned, 4);
	assert_int_equal(pool_n_workers(H.pool), 1);
	slot_unref(s);
	pool_end_all(H.pool);
	assert_int_equal(pool_n_workers(H.pool), 0);
	assert_int_equal(n_spawned, 4);
}

/* The same on a connection's own slot, when policy says so of single calls. */
static void test_calls_apart_on_an_own_slot(void **state)
{
	struct slot *s = own();
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		tier = i % 2 ? ISOLATION_CALL : ISOLATION_TENANT;
		submit_as(s, i, "a");
		wait_all(5000);
	}
	assert_int_equal(H.out[1].n_calls, 1); /* not the worker of call 0 */
	assert_int_equal(H.out[2].n_calls, 1); /* nor the one of call 1 */
	assert_int_equal(H.out[3].n_calls, 1);
	assert_int_equal(n_spawned, 4);
	slot_unref(s);
	wait_ended(4);
}

/* a asks three times before b and c come: they do not wait for all of a's. */
static void test_principals_take_turns(void **state)
{
	static const char *const askers[] = { "a", "a", "a", "a", "b", "c", "b" };
	static const unsigned nth[] = { 1, 4, 6, 7, 2, 3, 5 };
	struct slot *s = shared();
	(void)state;
	H.pool->c.queue_max = 7;
	for (unsigned i = 0; i < 7; i++)
		submit_as(s, i, askers[i]);
	wait_all(5000);
	for (unsigned i = 0; i < 7; i++)
		if (!H.out[i].is_done || H.out[i].nth != nth[i])
			fail_msg("call %u of %s was number %u, not %u", i, askers[i], H.out[i].nth, nth[i]);
	slot_unref(s);
	pool_end_all(H.pool);
}

/* A full queue of one principal still has room for another; it has none for more of the same. */
static void test_nobody_fills_the_queue(void **state)
{
	struct slot *s = shared();
	(void)state;
	for (unsigned i = 0; i < 3; i++) /* the queue's length; the worker is not there yet */
		submit_as(s, i, "a");
	submit_as(s, 3, "a");
	assert_int_equal(H.out[3].code, ERR_BUSY);
	submit_as(s, 4, "b");
	assert_false(H.out[4].is_failed);
	assert_int_equal(H.out[2].code, ERR_BUSY); /* the last of the greedy one */
	assert_non_null(strstr(H.out[2].text, "gave way"));
	submit_as(s, 5, "b"); /* two of three are no less than one */
	assert_int_equal(H.out[5].code, ERR_BUSY);
	wait_all(5000);
	assert_true(H.out[0].is_done && H.out[1].is_done && H.out[4].is_done);
	slot_unref(s);
	pool_end_all(H.pool);
}

/* Three deaths: the model is not started for a while, whoever asks; then it may try again, and falls sooner. */
static void test_crash_loop(void **state)
{
	struct slot *s = own(), *other;
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t t0 = loop_clock_us();
		lie = CALL_CRASH;
		submit(s, i, TURN_CALL, 0);
		wait_all(5000);
		assert_int_equal(H.out[i].code, ERR_WORKER);
		wait_ended(i + 1);
		assert_int_equal(i == 2, loop_clock_us() - t0 >= QUARANTINE_PAUSE_FIRST_MS * 1000); /* it had to wait */
	}
	assert_int_equal(H.n_quarantined, 1);
	assert_int_equal(H.quarantined_ms, 200);
	lie = HONEST;
	submit(s, 3, TURN_CALL, 0);
	other = own();
	submit(other, 4, TURN_LOAD, 0);
	wait_all(5000);
	for (unsigned i = 3; i < 5; i++) {
		assert_int_equal(H.out[i].code, ERR_QUARANTINED);
		assert_non_null(strstr(H.out[i].text, "3 of its workers died within 60 s"));
	}
	assert_int_equal(n_spawned, 3);
	H.n_open = 1;
	wait_all(250); /* until it is over */
	H.n_open = 0;
	assert_int_equal(pool_quarantined_ms(H.pool, H.model), 0);
	submit(s, 5, TURN_CALL, 0);
	wait_all(5000);
	assert_true(H.out[5].is_done);
	assert_int_equal(n_spawned, 4);
	slot_unref(s);
	slot_unref(other);
	wait_ended(4);
}

/* A call that takes too long, or a proof that fails, is not the model's death. */
static void test_what_is_no_crash(void **state)
{
	struct slot *s = own();
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		lie = CALL_SILENT;
		submit(s, i, TURN_CALL, 30);
		wait_all(5000);
		assert_int_equal(H.out[i].code, ERR_DEADLINE);
	}
	assert_int_equal(H.n_quarantined, 0);
	slot_unref(s);
}

static void test_idle_worker_that_dies(void **state)
{
	struct slot *s = own();
	(void)state;
	submit(s, 0, TURN_CALL, 0);
	wait_all(5000);
	kill((pid_t)slot_about(s)->pid, SIGKILL); /* our own child, not yet reaped */
	wait_ended(1);
	assert_int_equal(H.last, VERDICT_MEMORY); /* a kill that the broker did not send */
	submit(s, 1, TURN_CALL, 0);
	wait_all(5000);
	assert_true(H.out[1].is_done);
	slot_unref(s);
	wait_ended(2);
}

static void test_too_large_a_request(void **state)
{
	struct slot *s = own();
	(void)state;
	struct turn *t = &H.turns[0];
	*t = (struct turn){ .kind = TURN_CALL, .salt = H.salt, .arg = &H.out[0], .started = on_started, .done = on_done,
	                    .failed = on_failed, .body = calloc(1, MEMORY_BYTES), .body_len = MEMORY_BYTES };
	H.n_open++;
	slot_submit(s, t);
	wait_all(5000);
	assert_int_equal(H.out[0].code, ERR_LIMIT);
	assert_non_null(strstr(H.out[0].text, "67108864 bytes"));
	slot_unref(s);
	wait_ended(1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lies),
		TEST(test_proof_fails),
		TEST(test_load_then_calls),
		TEST(test_refused_call_keeps_the_worker),
		TEST(test_second_answer),
		TEST(test_queue_has_an_end),
		TEST(test_withdrawn_turns),
		TEST(test_deadlines),
		TEST(test_shared_slot_is_one),
		TEST(test_scrubbed_between_principals),
		TEST(test_a_worker_for_each_tenant),
		TEST(test_a_worker_for_each_call),
		TEST(test_calls_apart_on_an_own_slot),
		TEST(test_principals_take_turns),
		TEST(test_nobody_fills_the_queue),
		TEST(test_crash_loop),
		TEST(test_what_is_no_crash),
		TEST(test_idle_worker_that_dies),
		TEST(test_too_large_a_request),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
