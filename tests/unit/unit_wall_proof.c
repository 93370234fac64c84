/* SPDX-License-Identifier: Apache-2.0
 *
 * The proof from outside, against lying status texts: each field wrong, missing, or hidden behind
 * another line must be refused.
 *
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/outside/proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof(a)[0])

static const char *const lines[] = {
	"Name:\tfumehood-worker", "Umask:\t0022", "State:\tS (sleeping)", "Tgid:\t77", "Pid:\t77",
	"PPid:\t12", "TracerPid:\t0", "Uid:\t1900007\t1900007\t1900007\t1900007",
	"Gid:\t1900007\t1900007\t1900007\t1900007", "FDSize:\t64", "Groups:\t ", "Threads:\t2",
	"SigQ:\t1/0", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
	"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
	"Seccomp_filters:\t3", "Speculation_Store_Bypass:\tvulnerable",
};
static const struct proof_expect expect = { 1900007, 1900007, 3, 2, false };

/* The status with line `at` replaced (or left out when with is NULL). */
static int check_with(unsigned at, const char *with)
{
	char text[4096];
	size_t n = 0;
	struct err e = { 0 };
	for (unsigned i = 0; i < LEN(lines); i++) {
		const char *l = i == at ? with : lines[i];
		if (l)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s\n", l);
	}
	int rc = proof_status(text, &expect, &e);
	if (rc != ERR_OK)
		assert_true(rc == ERR_WALL && e.text[0] && !strchr(e.text, '\n'));
	return rc;
}

static void test_truth(void **state)
{
	(void)state;
	assert_int_equal(check_with(LEN(lines), NULL), ERR_OK);
}

static void test_lies(void **state)
{
	static const char *const lies[] = {
		"TracerPid:\t5", "Uid:\t1900007\t1900007\t1900007\t0", "Uid:\t0\t0\t0\t0",
		"Uid:\t1900007\t1900007\t1900007", "Uid:\t1900007\t1900007\t1900007\t1900007\t0",
		"Uid:\t1900007\t65534\t1900007\t1900007", "Gid:\t1900007\t1900007\t0\t1900007", "Threads:\t1",
		"Threads:\t3", "Threads:\t22", "CapInh:\t0000000000000001", "CapPrm:\t0000000000000001",
		"CapEff:\t000001ffffffffff", "CapBnd:\t000001fffeffffff", "CapAmb:\t0000000000000400",
		"NoNewPrivs:\t0", "Seccomp:\t0", "Seccomp:\t1", "Seccomp:\t20", "Seccomp_filters:\t2",
		"Seccomp_filters:\t4", "Seccomp_filters:\t30", "Seccomp_filters:\t", "CapEff:\t",
		"CapEff:\t0000000000000000 ", "Seccomp: 2", "xSeccomp:\t2", "Seccomp:2",
	};
	(void)state;
	for (unsigned i = 0; i < LEN(lies); i++) {
		const char *key = lies[i][0] == 'x' ? lies[i] + 1 : lies[i];
		size_t n = strcspn(key, ":") + 1;
		unsigned at = 0;
		while (at < LEN(lines) && strncmp(lines[at], key, n))
			at++;
		assert_true(at < LEN(lines));
		assert_int_equal(check_with(at, lies[i]), ERR_WALL);
	}
}

/* Every field that is looked at, left out. */
static void test_missing(void **state)
{
	unsigned refused = 0;
	(void)state;
	for (unsigned i = 0; i < LEN(lines); i++)
		refused += check_with(i, NULL) != ERR_OK;
	assert_int_equal(refused, 12);
}

/* A name that looks like a field stays a name: the kernel writes a newline in it as two characters. */
static void test_name_is_no_field(void **state)
{
	(void)state;
	assert_int_equal(check_with(0, "Name:\tx\\nSeccomp:\t0"), ERR_OK);
	assert_int_equal(proof_status("Name:\tSeccomp:\t2 NoNewPrivs:\t1", &expect, NULL), ERR_WALL);
	assert_int_equal(proof_status("", &expect, NULL), ERR_WALL);
	assert_int_equal(proof_status("\n\n\n", &expect, NULL), ERR_WALL);
}

static void test_own_filters(void **state)
{
	unsigned n = 99;
	struct err e;
	(void)state;
	assert_int_equal(proof_own_filters(&n, &e), ERR_OK);
	assert_true(n < 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truth),         cmocka_unit_test(test_lies),
		cmocka_unit_test(test_missing),       cmocka_unit_test(test_name_is_no_field),
		cmocka_unit_test(test_own_filters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
