/* SPDX-License-Identifier: Apache-2.0
 *
 * How a worker ended: the table of kernel's word and broker's notes against the class.
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/sandbox.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	struct worker_end end;
	struct worker_notes notes;
	enum verdict want;
} cases[] = {
	{ { false, 0, 900 }, { KILLED_NOT, 0, true, false }, VERDICT_CLEAN },
	{ { false, 0, 900 }, { KILLED_NOT, 0, false, false }, VERDICT_CRASH }, /* nobody had asked it to end */
	{ { false, 9, 900 }, { KILLED_NOT, 0, true, false }, VERDICT_CRASH },
	{ { false, 71, 900 }, { KILLED_PROTOCOL, 0, false, false }, VERDICT_PROTOCOL },
	{ { false, 0, 900 }, { KILLED_DEADLINE, 0, false, false }, VERDICT_DEADLINE },
	{ { true, SIGSYS, 900 }, { KILLED_NOT, 0, false, false }, VERDICT_REFUSED },
	{ { true, SIGSYS, 900 }, { KILLED_DEADLINE, 0, false, false }, VERDICT_REFUSED },
	{ { true, SIGSYS, 900 }, { KILLED_NOT, 0, true, true }, VERDICT_REFUSED },
	{ { true, SIGSEGV, 900 }, { KILLED_NOT, 0, false, false }, VERDICT_CRASH },
	{ { true, SIGBUS, 900 }, { KILLED_DEADLINE, 0, false, false }, VERDICT_CRASH },
	{ { true, SIGILL, 900 }, { KILLED_NOT, 0, true, false }, VERDICT_CRASH },
	{ { true, SIGFPE, 900 }, { KILLED_NOT, 0, false, true }, VERDICT_CRASH },
	{ { true, SIGXCPU, 900 }, { KILLED_NOT, 0, false, false }, VERDICT_CRASH },
	{ { true, SIGKILL, 900 }, { KILLED_NOT, 0, false, false }, VERDICT_MEMORY }, /* nobody here sent it */
	{ { true, SIGKILL, 900 }, { KILLED_DEADLINE, 0, false, true }, VERDICT_MEMORY },
	{ { true, SIGKILL, 900 }, { KILLED_DEADLINE, 0, false, false }, VERDICT_DEADLINE },
	{ { true, SIGKILL, 900 }, { KILLED_PROTOCOL, 0, false, false }, VERDICT_PROTOCOL },
	{ { true, SIGKILL, 900 }, { KILLED_UNLOCKED, 0, false, false }, VERDICT_UNLOCKED },
	{ { true, SIGKILL, 2007 }, { KILLED_NOT, 2, false, false }, VERDICT_DEADLINE },
	{ { true, SIGKILL, 1200 }, { KILLED_NOT, 2, false, false }, VERDICT_MEMORY },
	{ { true, SIGKILL, 2007 }, { KILLED_PROTOCOL, 2, false, false }, VERDICT_PROTOCOL },
	{ { true, SIGKILL, 900 }, { KILLED_CANCEL, 0, false, false }, VERDICT_CLEAN },
};

static void test_table(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(verdict_name(verdict_of(&cases[i].end, &cases[i].notes)),
		                    verdict_name(cases[i].want));
}

static void test_names(void **state)
{
	(void)state;
	for (unsigned a = 0; a < VERDICT__MAX; a++) {
		assert_true(strlen(verdict_name((enum verdict)a)) > 1);
		for (unsigned b = 0; b < a; b++)
			assert_string_not_equal(verdict_name((enum verdict)a), verdict_name((enum verdict)b));
	}
	assert_int_equal(verdict_err_code(VERDICT_CLEAN), ERR_OK);
	assert_int_equal(verdict_err_code(VERDICT_REFUSED), ERR_VIOLATION);
	assert_int_equal(verdict_err_code(VERDICT_MEMORY), ERR_MEMORY);
}

static void test_steps(void **state)
{
	(void)state;
	for (unsigned a = 0; a < STEP__MAX; a++)
		for (unsigned b = 0; b < a; b++) /* "no_new_privs" of jailer and child differ by their prefix */
			if (a != STEP_PDEATHSIG)
				assert_string_not_equal(jail_step_name(a), jail_step_name(b));
	assert_string_equal(jail_step_name(STEP__MAX), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_steps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
