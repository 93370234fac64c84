/* SPDX-License-Identifier: Apache-2.0
 *
 * The request's state machine: random events in any order, and the promise that nothing leaves before the
 * record about it is durable.
 */
#include "broker/request.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define SENDS (REQUEST_DO_SEND_ANSWER | REQUEST_DO_SEND_ERROR | REQUEST_DO_SEND_LOG_ERROR)
#define RECORDS (REQUEST_DO_RECORD_ANSWER | REQUEST_DO_RECORD_ERROR)

static uint64_t seed = 88172645463325252u;

static unsigned random_below(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % n);
}

/* What a watcher knows who sees only events and effects. */
struct watcher {
	bool has_intent, has_begun, has_recorded, is_stored, is_good, is_sent, is_freed, is_out_of_work;
};

static void watch(struct watcher *w, enum request_event event, unsigned did)
{
	assert_false(w->is_freed && (did & ~(unsigned)(REQUEST_DO_BUG | REQUEST_DO_MUTE)));
	if (event == REQUEST_STORED && w->has_recorded && !(did & REQUEST_DO_BUG))
		w->is_stored = true;
	if (did & REQUEST_DO_BUG) {
		assert_int_equal(did, REQUEST_DO_BUG); /* a bug does nothing else */
		return;
	}
	if (did & REQUEST_DO_BEGIN) {
		assert_true(did & REQUEST_DO_INTENT);
		assert_false(w->has_begun || w->has_recorded);
		w->has_begun = true;
	}
	if (did & RECORDS) {
		assert_false(w->has_recorded); /* one final record */
		assert_int_not_equal(did & RECORDS, RECORDS);
		w->has_recorded = true;
		w->is_good = did & REQUEST_DO_RECORD_ANSWER;
		if (w->is_good)
			assert_true(w->has_begun);
	}
	if (did & (REQUEST_DO_SEND_ANSWER | REQUEST_DO_SEND_ERROR)) {
		assert_true(w->is_stored && event == REQUEST_STORED);
		assert_int_equal(!!(did & REQUEST_DO_SEND_ANSWER), w->is_good);
	}
	if (did & REQUEST_DO_SEND_LOG_ERROR)
		assert_int_equal(event, REQUEST_LOG_FAILED);
	if (did & SENDS) {
		assert_false(w->is_sent);
		assert_true(did & REQUEST_DO_FREE);
		w->is_sent = true;
	}
	if (did & REQUEST_DO_FREE) {
		assert_true(w->is_sent);
		w->is_freed = true;
	}
}

static void test_random_events(void **state)
{
	unsigned answers = 0, errors = 0;
	(void)state;
	for (unsigned run = 0; run < 200000; run++) {
		enum request_state s = REQUEST_NEW;
		struct watcher w = { 0 };
		for (unsigned i = 0; i < 12; i++) {
			enum request_event event = (enum request_event)random_below(REQUEST_EVENT__MAX);
			enum request_state before = s;
			unsigned did = request_step(&s, event);
			watch(&w, event, did);
			if (did & REQUEST_DO_BUG)
				assert_int_equal(s, before);
			if (s == REQUEST_DONE)
				assert_true(w.is_freed);
			answers += !!(did & REQUEST_DO_SEND_ANSWER);
			errors += !!(did & REQUEST_DO_SEND_ERROR);
		}
	}
	assert_true(answers > 1000 && errors > 1000); /* the events did reach the ends */
}

/* From every state but the last, a client that leaves or a log that fails is no surprise. */
static void test_leaving_and_failing_are_expected(void **state)
{
	(void)state;
	for (enum request_state from = REQUEST_NEW; from < REQUEST_STATE__MAX; from++) {
		enum request_state s = from;
		assert_false(request_step(&s, REQUEST_GONE) & REQUEST_DO_BUG);
		s = from;
		assert_int_equal(!!(request_step(&s, REQUEST_LOG_FAILED) & REQUEST_DO_BUG), from == REQUEST_DONE);
	}
}

static void test_no_state_but_stored_leads_to_an_answer(void **state)
{
	(void)state;
	for (enum request_state from = REQUEST_NEW; from < REQUEST_STATE__MAX; from++)
		for (enum request_event event = 0; event < REQUEST_EVENT__MAX; event++) {
			enum request_state s = from;
			unsigned did = request_step(&s, event);
			if (did & REQUEST_DO_SEND_ANSWER)
				assert_true(from == REQUEST_STORING_ANSWER && event == REQUEST_STORED);
			if (did & REQUEST_DO_SEND_ERROR)
				assert_true(from == REQUEST_STORING_ERROR && event == REQUEST_STORED);
		}
}

static void test_usual_way(void **state)
{
	enum request_state s = REQUEST_NEW;
	(void)state;
	assert_int_equal(request_step(&s, REQUEST_ALLOWED), REQUEST_DO_INTENT | REQUEST_DO_BEGIN);
	assert_int_equal(request_step(&s, REQUEST_STARTED), REQUEST_DO_NOTHING);
	assert_int_equal(s, REQUEST_RUNNING);
	assert_int_equal(request_step(&s, REQUEST_SUCCEEDED), REQUEST_DO_RECORD_ANSWER);
	assert_int_equal(request_step(&s, REQUEST_STORED), REQUEST_DO_SEND_ANSWER | REQUEST_DO_FREE);
	assert_string_equal(request_state_name(s), "done");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_events),
		cmocka_unit_test(test_leaving_and_failing_are_expected),
		cmocka_unit_test(test_no_state_but_stored_leads_to_an_answer),
		cmocka_unit_test(test_usual_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
