/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool against workers that lie: a child of this test stands where a jailed worker would (the jail has
 * tests of its own), speaks the worker's side of the conversation, and breaks it in every way. What is
 * tested is what the broker makes of it: the caller's error, the verdict, and that the next call is served.
 */
#include "tests/unit/fake_worker.h"

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
	{ NEEDS_FD, ERR_PROTOCOL, VERDICT_PROTOCOL, "descriptor" },
	{ RESULT_FD, ERR_PROTOCOL, VERDICT_PROTOCOL, "descriptor" },
	{ RESULT_FDS, ERR_PROTOCOL, VERDICT_PROTOCOL, "descriptor" },
	{ RESULT_ITSELF, ERR_PROTOCOL, VERDICT_PROTOCOL, "descriptor" },
	{ CALL_HALF, ERR_PROTOCOL, VERDICT_PROTOCOL, "middle of a frame" },
};

static unsigned n_open_fds(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_lies(void **state)
{
	unsigned n_fds = n_open_fds();
	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		/* whatever is wrong with a frame, the worker is ended for breaking the protocol */
		int code = lies[i].verdict == VERDICT_PROTOCOL ? ERR_PROTOCOL : lies[i].code;
		lying(lies[i].lie, code, lies[i].verdict, lies[i].says);
		if (n_open_fds() != n_fds)
			fail_msg("lie %d leaves a descriptor behind", lies[i].lie);
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

/* An answer that comes after its asker has given up is nobody's: the next one gets its own. */
static void test_late_answer(void **state)
{
	struct slot *s = shared();
	(void)state;
	lie = CALL_SLOW;
	submit(s, 0, TURN_LOAD, 0);
	wait_all(5000);
	submit(s, 1, TURN_CALL, SLOW_MS / 3);
	submit(s, 2, TURN_CALL, 0);
	wait_all(5000);
	assert_int_equal(H.out[1].code, ERR_DEADLINE);
	assert_true(H.out[2].is_done);
	assert_int_equal(H.out[2].n_calls, 2);
	assert_int_equal(n_spawned, 1);
	slot_unref(s);
	pool_end_all(H.pool);
	assert_int_equal(H.last, VERDICT_CLEAN);
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
		TEST(test_late_answer),
		TEST(test_shared_slot_is_one),
		TEST(test_idle_worker_that_dies),
		TEST(test_too_large_a_request),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
