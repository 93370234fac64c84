/* SPDX-License-Identifier: Apache-2.0
 * The command line: options from tables, numbers, points in time, text for terminals. */
#include "broker/ctl/ctl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct err E;

static int nothing(struct ctl *c, struct err *e)
{
	(void)c;
	(void)e;
	return 0;
}

static const struct ctl_opt opts[] = {
	{ "input", 'i', "NAME=FILE", CTL_FILE, true, "" },
	{ "memory", 'm', "BYTES", CTL_WORD, false, "" },
	{ "fast", 'f', NULL, CTL_NONE, false, "" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};
static const struct ctl_command cmd_try = { .name = "try", .args = "MODEL", .help = "", .min_args = 1, .max_args = 2,
	                                        .opts = opts, .run = nothing };
const struct ctl_command *const ctl_commands[] = { &cmd_try };
const size_t ctl_n_commands = 1;

static struct ctl C;

/* Parses words given as one text with spaces between. */
static int parse(const char *line)
{
	static char text[400];
	static char *argv[40];
	int argc = 0;
	char *save = NULL;
	ctl_clear(&C);
	snprintf(text, sizeof text, "%s", line);
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	C = (struct ctl){ .command = ctl_find("try") };
	return ctl_parse(&C, argc, argv, &E);
}

static void test_good(void **state)
{
	(void)state;
	size_t at = 0;
	assert_int_equal(parse("try -i a=1 model --input b=2 --json -f other -q --memory=5"), ERR_OK);
	assert_true(C.json && C.quiet && ctl_has(&C, "fast"));
	assert_int_equal(C.n_pos, 2);
	assert_string_equal(C.pos[0], "model");
	assert_string_equal(C.pos[1], "other");
	assert_string_equal(ctl_next(&C, "input", &at), "a=1");
	assert_string_equal(ctl_next(&C, "input", &at), "b=2");
	assert_null(ctl_next(&C, "input", &at));
	assert_string_equal(ctl_get(&C, "memory"), "5");
	assert_null(ctl_get(&C, "socket"));
	assert_int_equal(parse("try -- --model"), ERR_OK);
	assert_string_equal(C.pos[0], "--model");
	assert_int_equal(parse("try --state-dir d m"), ERR_OK);
	assert_string_equal(C.state_dir, "d");
	assert_int_equal(parse("try --help"), ERR_OK); /* nothing is missing for help */
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "try", "try a b c", "try --nope m", "try m --input", "try m -m", "try m --fast=1",
		                               "try m -m 1 -m 2", "try m --json --json", "try m -x", "try m --in" "putt a" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (parse(bad[i]) != ERR_USAGE || strchr(E.text, '\n'))
			fail_msg("%s: %s", bad[i], E.text);
	assert_int_equal(parse("try --json --nope"), ERR_USAGE);
	assert_true(C.json); /* so that the error is JSON as well */
	assert_int_equal(parse("try m --no\x1b[2Jpe"), ERR_USAGE);
	assert_null(strchr(E.text, 0x1b));
}

static void test_numbers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t value; /* 0: refused */
	} rows[] = {
		{ "1", 1 }, { "100", 100 }, { "2K", 2048 }, { "3M", 3 << 20 }, { "1G", 1 << 30 }, { "1T", UINT64_C(1) << 40 },
		{ "0", 0 }, { "-1", 0 }, { "+1", 0 }, { "01", 0 }, { "1KB", 0 }, { "K", 0 }, { "1.5G", 0 }, { "1e3", 0 },
		{ "0x10", 0 }, { "18446744073709551616", 0 }, { "17179869184G", 0 }, { "2T", 0 }, { "1k", 0 },
	};
	uint64_t v;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char line[80];
		snprintf(line, sizeof line, "try m --memory=%s", rows[i].text);
		assert_int_equal(parse(line), ERR_OK);
		int rc = ctl_number(&C, "memory", 1, UINT64_C(1) << 40, 7, &v, &E);
		if (rc != (rows[i].value ? ERR_OK : ERR_USAGE) || (rc == ERR_OK && v != rows[i].value))
			fail_msg("%s: %d, %s", rows[i].text, rc, E.text);
	}
	assert_int_equal(parse("try m"), ERR_OK);
	assert_int_equal(ctl_number(&C, "memory", 1, 2, 7, &v, &E), ERR_OK);
	assert_int_equal(v, 7);
}

static void test_when(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t value; /* 0: refused */
	} rows[] = {
		{ "2027-01-31", 1801353600 }, { "2027-01-31T00:00:10Z", 1801353610 }, { "@5", 5 }, { "10s", 1010 }, { "1m", 1060 },
		{ "2h", 8200 }, { "1d", 87400 }, { "1w", 605800 }, { "1y", 31537000 },
		{ "2027-02-31", 0 }, { "2027-13-01", 0 }, { "tomorrow", 0 }, { "10", 0 }, { "d", 0 }, { "-1d", 0 }, { "@", 0 },
		{ "@-1", 0 }, { "2027-01-31 ", 0 }, { "1d1d", 0 }, { "", 0 }, { "9223372036854775807y", 0 },
		{ "18446744073709551615s", 0 },
	};
	uint64_t v;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int rc = ctl_when("expires", rows[i].text, 1000, &v, &E);
		if (rc != (rows[i].value ? ERR_OK : ERR_USAGE) || (rc == ERR_OK && v != rows[i].value))
			fail_msg("%s: %d %llu", rows[i].text, rc, (unsigned long long)v);
	}
}

static void test_text(void **state)
{
	(void)state;
	char big[2000];
	memset(big, '\x1b', sizeof big);
	assert_string_equal(ctl_text("a\x1b[2J\"\xe2\x80\xae", 9), "a\\x1b[2J\\x22\\xe2\\x80\\xae");
	assert_string_equal(ctl_line("say \"x\\x01\" \x07\xff"), "say \"x\\x01\" \\x07\\xff");
	assert_true(strlen(ctl_text(big, sizeof big)) < 512);
	big[sizeof big - 1] = 0;
	assert_true(strlen(ctl_line(big)) < 512 && strstr(ctl_line(big), "..."));
	assert_string_equal(ctl_str(NULL), "");
	assert_string_equal(ctl_line(NULL), "");
	assert_string_equal(ctl_bytes(0), "0 B");
	assert_string_equal(ctl_bytes(1536), "1.5 KiB");
	assert_string_equal(ctl_bytes(UINT64_MAX), "16.0 EiB");
	assert_string_equal(ctl_time(0), "1970-01-01 00:00 UTC");
	assert_string_equal(ctl_time(UINT64_MAX), "@18446744073709551615");
}

static void test_json_text(void **state)
{
	(void)state;
	json_t *v = ctl_json_text("a\xc3\xa9\0b", 5);
	assert_int_equal(json_string_length(v), 5);
	json_decref(v);
	v = ctl_json_text("a\xff\x01", 3); /* no UTF-8: escaped, never refused */
	assert_string_equal(json_string_value(v), "a\\xff\\x01");
	json_decref(v);
	v = ctl_json_hex("\x00\xff", 2);
	assert_string_equal(json_string_value(v), "00ff");
	json_decref(v);
}

static int teardown(void **state)
{
	(void)state;
	ctl_clear(&C);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good), cmocka_unit_test(test_refused), cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_when), cmocka_unit_test(test_text),    cmocka_unit_test(test_json_text),
	};
	return cmocka_run_group_tests_name("ctl_options", tests, NULL, teardown);
}
