/* SPDX-License-Identifier: Apache-2.0
 *
 * Reports of refused calls: names, text, what is no listener, and the verdict that follows.
 *
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/sandbox.h"
#include "sandbox/wall/kernel_abi.h"

#include <linux/audit.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(call_name(AUDIT_ARCH_X86_64, SYS_openat), "openat");
	assert_string_equal(call_name(AUDIT_ARCH_X86_64, SYS_mseal), "mseal");
	assert_string_equal(call_name(AUDIT_ARCH_X86_64, 0), "read");
	assert_string_equal(call_name(AUDIT_ARCH_I386, 20), "getpid");
	assert_string_equal(call_name(AUDIT_ARCH_AARCH64, 63), "read");
	assert_string_equal(call_name(AUDIT_ARCH_X86_64, -1), "?");
	assert_string_equal(call_name(AUDIT_ARCH_X86_64, 100000), "?");
	assert_string_equal(call_name(AUDIT_ARCH_X86_64, 400), "?"); /* a gap in the table */
	assert_string_equal(call_name(0, 1), "?");
}

static void test_text(void **state)
{
	char out[400], small[16];
	struct violation v = { .nr = 257, .name = "openat", .arch = AUDIT_ARCH_X86_64, .ip_offset = 0x1a2b, .tid = 77,
	                       .args = { (uint64_t)-100, 1, 2, 3, 4, UINT64_MAX } };
	(void)state;
	assert_string_equal(violation_text(&v, out, sizeof out),
	                    "openat(0xffffffffffffff9c, 0x1, 0x2, 0x3, 0x4, 0xffffffffffffffff), call 257 of x86-64, "
	                    "at +0x1a2b, thread 77");
	v.ip_offset = UINT64_MAX;
	v.ip = 0xdead;
	assert_non_null(strstr(violation_text(&v, out, sizeof out), "at 0xdead, outside its program"));
	v.arch = 1;
	assert_non_null(strstr(violation_text(&v, out, sizeof out), "another architecture"));
	assert_int_equal(strlen(violation_text(&v, small, sizeof small)), sizeof small - 1);
}

/* A pipe in the listener's place: no report, whatever lies in it. */
static void test_no_listener(void **state)
{
	int p[2];
	struct violation v;
	struct err e = { 0 };
	struct worker w = { .pidfd = -1, .channel = -1 };
	(void)state;
	assert_int_equal(pipe(p), 0);
	w.listener_fd = p[0];
	assert_int_equal(violation_read(&w, &v, &e), 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	assert_int_equal(violation_read(&w, &v, &e), ERR_IO);
	close(p[1]);
	close(p[0]);
	assert_int_equal(violation_read(&w, &v, &e), ERR_IO);
}

static void test_verdict(void **state)
{
	struct worker_notes n = { .killed = KILLED_REFUSED };
	struct worker_end killed = { .by_signal = true, .code = SIGKILL }, left = { .code = 0 };
	(void)state;
	assert_int_equal(verdict_of(&killed, &n), VERDICT_REFUSED);
	assert_int_equal(verdict_of(&left, &n), VERDICT_REFUSED); /* it left between report and signal */
	assert_int_equal(verdict_err_code(VERDICT_REFUSED), ERR_VIOLATION);
	assert_string_equal(fds_seen_name(FDS_PROBED), "probed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names), cmocka_unit_test(test_text), cmocka_unit_test(test_no_listener),
		cmocka_unit_test(test_verdict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
