/* SPDX-License-Identifier: Apache-2.0
 *
 * Quarantine: how many deaths, for how long, how it grows and is forgotten; a full table.
 */
#include "broker/quarantine.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct quarantine q;

static const uint8_t *digest(unsigned n)
{
	static uint8_t d[HASH_BYTES];
	memset(d, 0, sizeof d);
	memcpy(d + 7, &n, sizeof n);
	return d;
}

static int setup(void **state)
{
	(void)state;
	q = (struct quarantine){ .deaths = 3, .window_ms = 1000, .first_ms = 100 };
	return 0;
}

static void test_counts_within_the_window(void **state)
{
	(void)state;
	assert_int_equal(quarantine_death(&q, digest(1), 1000), 0);
	assert_int_equal(quarantine_death(&q, digest(1), 1600), 0);
	assert_int_equal(quarantine_death(&q, digest(1), 2100), 0); /* the first is out of the window */
	assert_int_equal(quarantine_death(&q, digest(2), 2101), 0); /* another model's */
	assert_int_equal(quarantine_left_ms(&q, digest(1), 2101), 0);
	assert_int_equal(quarantine_death(&q, digest(1), 2200), 100);
	assert_int_equal(quarantine_left_ms(&q, digest(1), 2200), 100);
	assert_int_equal(quarantine_left_ms(&q, digest(1), 2299), 1);
	assert_int_equal(quarantine_left_ms(&q, digest(1), 2300), 0);
	assert_int_equal(quarantine_left_ms(&q, digest(2), 2200), 0);
}

/* Kills it as often as quarantines it, from now_ms on; returns for how long. */
static int64_t kill_it(int64_t *now_ms)
{
	int64_t ms = 0;
	for (unsigned i = 0; i < 3; i++)
		ms = quarantine_death(&q, digest(1), *now_ms += 10);
	*now_ms += ms;
	return ms;
}

static void test_grows_and_is_forgotten(void **state)
{
	int64_t now = 5000, want = 100;
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(kill_it(&now), want);
		want = want * 2 < QUARANTINE_MOST_MS ? want * 2 : QUARANTINE_MOST_MS;
	}
	assert_int_equal(want, QUARANTINE_MOST_MS);
	now += QUARANTINE_MOST_MS + 1;
	assert_int_equal(kill_it(&now), 100);
}

static void test_pauses(void **state)
{
	(void)state;
	q.deaths = 20;
	q.window_ms = 100000;
	int64_t now = 1000, want = QUARANTINE_PAUSE_FIRST_MS;
	assert_int_equal(quarantine_pause_ms(&q, digest(1), now), 0);
	quarantine_death(&q, digest(1), now);
	assert_int_equal(quarantine_pause_ms(&q, digest(1), now), 0); /* one death is an accident */
	for (unsigned i = 0; i < 12; i++) {
		quarantine_death(&q, digest(1), ++now);
		assert_int_equal(quarantine_pause_ms(&q, digest(1), now), want);
		assert_int_equal(quarantine_pause_ms(&q, digest(1), now + want), 0);
		want = want * 2 < QUARANTINE_PAUSE_MOST_MS ? want * 2 : QUARANTINE_PAUSE_MOST_MS;
	}
	assert_int_equal(quarantine_pause_ms(&q, digest(2), now), 0);
}

static void test_off(void **state)
{
	(void)state;
	q.deaths = 0;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(quarantine_death(&q, digest(1), i), 0);
	assert_int_equal(quarantine_pause_ms(&q, digest(1), 100), 0);
}

/* Thousands of other models that die do not free one that is quarantined for longer than they have been quiet. */
static void test_full_table(void **state)
{
	int64_t now = 1000;
	(void)state;
	q.first_ms = 1000000;
	for (unsigned i = 0; i < 3; i++)
		quarantine_death(&q, digest(1), ++now);
	for (unsigned i = 0; i < 5 * QUARANTINE_MODELS; i++)
		quarantine_death(&q, digest(100 + i), ++now);
	assert_true(quarantine_left_ms(&q, digest(1), now) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_counts_within_the_window, setup),
		cmocka_unit_test_setup(test_grows_and_is_forgotten, setup),
		cmocka_unit_test_setup(test_pauses, setup),
		cmocka_unit_test_setup(test_off, setup),
		cmocka_unit_test_setup(test_full_table, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
