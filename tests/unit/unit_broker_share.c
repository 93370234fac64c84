/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool between callers: who shares a worker, whose turn it is, what a model costs whose workers keep dying.
 */
#include "tests/unit/fake_worker.h"

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

/* As many workers as there may be, all idle: the next one gets the place of whoever was quiet for longest, be it a
 * connection's own, which gets a new one when it asks again. */
static void test_idle_ones_make_room(void **state)
{
	static struct slot *slots[LIMIT_WORKERS + 1];
	(void)state;
	for (unsigned i = 0; i <= LIMIT_WORKERS; i++) {
		slots[i] = own();
		submit(slots[i], 0, TURN_LOAD, 0);
		wait_all(5000);
		if (!H.out[0].is_done)
			fail_msg("worker %u: %s", i, H.out[0].text);
	}
	wait_ended(1);
	assert_false(slot_has_worker(slots[0]));
	assert_int_equal(pool_n_workers(H.pool), LIMIT_WORKERS);
	submit(slots[0], 0, TURN_CALL, 0);
	wait_all(5000);
	assert_true(H.out[0].is_done);
	wait_ended(2);
	for (unsigned i = 0; i <= LIMIT_WORKERS; i++)
		slot_unref(slots[i]);
	pool_end_all(H.pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_scrubbed_between_principals),
		TEST(test_a_worker_for_each_tenant),
		TEST(test_a_worker_for_each_call),
		TEST(test_calls_apart_on_an_own_slot),
		TEST(test_principals_take_turns),
		TEST(test_nobody_fills_the_queue),
		TEST(test_idle_ones_make_room),
		TEST(test_crash_loop),
		TEST(test_what_is_no_crash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
