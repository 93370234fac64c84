/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: every key round-trips, every kind of mistake is refused with the file's name and the
 * key.
 */
#include "broker/conf.h"
#include "proto/limits.h"
#include "sandbox/wall/layers.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static int parse(struct conf *c, const char *text, struct err *e)
{
	return conf_parse(c, text, strlen(text), "test.json", e);
}

static void test_round_trip(void **state)
{
	struct conf a, b;
	struct err e;
	char *first, *second;
	(void)state;
	assert_int_equal(conf_init(&a, &e), ERR_OK);
	assert_int_equal(parse(&a, "{\"state_dir\": \"/s\", \"socket\": \"/r/b.sock\", \"user\": \"u\", \"policy\": \"/p\","
	                           " \"schema\": \"/sc\", \"entities\": \"/en\", \"trust\": \"/t\", \"optional_layers\": [\"mdwe\","
	                           " \"user_ns\"], \"threads\": 3, \"memory_bytes\": 8388608, \"call_ms\": 7, \"load_ms\": 8,"
	                           " \"request_max_bytes\": 5000, \"segment_bytes\": 1048576, \"queue_per_model\": 9,"
	                           " \"clients_max\": 10,"
	                           " \"violation\": \"kill\", \"isolation\": \"call\", \"quarantine_crashes\": 4,"
	                           " \"quarantine_window_ms\": 5, \"quarantine_ms\": 6, \"cgroups\": \"off\"}", &e), ERR_OK);
	assert_int_equal(a.violation, VIOLATION_KILL);
	assert_int_equal(a.isolation, ISOLATION_CALL);
	assert_int_equal(a.threads, 3);
	assert_int_equal(a.optional_layers, LAYER_BIT(MDWE) | LAYER_BIT(USER_NS));
	assert_int_equal(conf_print(&a, &first, &e), ERR_OK);
	assert_int_equal(conf_init(&b, &e), ERR_OK);
	assert_int_equal(parse(&b, first, &e), ERR_OK);
	assert_int_equal(conf_print(&b, &second, &e), ERR_OK);
	assert_string_equal(first, second);
	unsigned n;
	const struct conf_row *rows = conf_rows(&n);
	for (unsigned i = 0; i < n; i++)
		assert_non_null(strstr(first, rows[i].key));
	free(first);
	free(second);
	conf_clear(&a);
	conf_clear(&b);
}

/* What is printed without a file is what an empty file gives. */
static void test_defaults(void **state)
{
	struct conf c;
	struct err e;
	(void)state;
	assert_int_equal(conf_init(&c, &e), ERR_OK);
	assert_int_equal(c.optional_layers, wall_layers_shipped_optional());
	assert_int_equal(c.call_ms, LIMIT_CALL_MS);
	assert_int_equal(c.memory_bytes, LIMIT_ARENA_DEFAULT_BYTES);
	assert_string_equal(c.policy, "");
	assert_int_equal(parse(&c, "{}", &e), ERR_OK);
	unsigned n;
	const struct conf_row *rows = conf_rows(&n);
	for (unsigned i = 0; i < n; i++)
		if (rows[i].type == CONF_NUMBER)
			assert_true(rows[i].def >= rows[i].min && rows[i].def <= rows[i].max);
	conf_clear(&c);
}

static const struct {
	const char *text, *says;
} bad[] = {
	{ "{\"nonsense\": 1}", "unknown key \"nonsense\"" },
	{ "{\"threads\": 1, \"threads\": 2}", "duplicate" },
	{ "{\"threads\": \"2\"}", "whole number" },
	{ "{\"threads\": 1.5}", "whole number" },
	{ "{\"threads\": -1}", "whole number" },
	{ "{\"threads\": 65}", "from 0 to 64" },
	{ "{\"call_ms\": 0}", "from 1 to" },
	{ "{\"segment_bytes\": 1000}", "bytes" },
	{ "{\"memory_bytes\": 99999999999999999999}", "" },
	{ "{\"state_dir\": 3}", "string" },
	{ "{\"state_dir\": \"relative/path\"}", "absolute" },
	{ "{\"socket\": null}", "string" },
	{ "{\"policy\": \"/a\\u0000b\"}", "" },
	{ "{\"optional_layers\": \"mdwe\"}", "list" },
	{ "{\"optional_layers\": [\"nothing\"]}", "no layer" },
	{ "{\"optional_layers\": [7]}", "no layer" },
	{ "{\"optional_layers\": [\"seccomp\"]}", "never be optional" },
	{ "{\"optional_layers\": [\"mdwe\", \"mdwe\"]}", "twice" },
	{ "[]", "one JSON object" },
	{ "3", "" },
	{ "", "" },
	{ "{\"threads\": 1} trailing", "" },
	{ "{\"threads\": 1,}", "" },
	{ "{\"evil\\u001b[2Jkey\": 1}", "unknown key \"evil\\x1b[2Jkey\"" },
};

static void test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct conf c;
		struct err e = { 0 };
		assert_int_equal(conf_init(&c, &e), ERR_OK);
		assert_int_equal(parse(&c, bad[i].text, &e), ERR_CONFIG);
		assert_non_null(strstr(e.text, "test.json"));
		if (!strstr(e.text, bad[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, e.text, bad[i].says);
		assert_null(strchr(e.text, '\n'));
		assert_null(strchr(e.text, '\x1b'));
		conf_clear(&c);
	}
}

static void test_file(void **state)
{
	char path[] = "/tmp/unit_broker_conf.XXXXXX";
	struct conf c;
	struct err e;
	int fd = mkstemp(path);
	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(conf_init(&c, &e), ERR_OK);
	assert_int_equal(write(fd, "{\"threads\": 2}", 14), 14);
	assert_int_equal(conf_load(&c, path, &e), ERR_OK);
	assert_int_equal(c.threads, 2);
	assert_int_equal(ftruncate(fd, CONF_FILE_MAX_BYTES + 1), 0);
	assert_int_equal(conf_load(&c, path, &e), ERR_CONFIG);
	assert_non_null(strstr(e.text, "limit"));
	unlink(path);
	assert_int_equal(conf_load(&c, path, &e), ERR_NOT_FOUND);
	assert_int_equal(conf_load(&c, "/", &e), ERR_IO);
	close(fd);
	conf_clear(&c);
}

static void test_paths(void **state)
{
	struct conf c;
	struct err e;
	(void)state;
	assert_int_equal(conf_init(&c, &e), ERR_OK);
	assert_int_equal(parse(&c, "{\"state_dir\": \"/some/state\"}", &e), ERR_OK);
	assert_int_equal(conf_paths(&c, &e), ERR_OK);
	assert_string_equal(c.socket, "/some/state/broker.sock");
	conf_clear(&c);
	assert_int_equal(conf_init(&c, &e), ERR_OK);
	assert_int_equal(conf_paths(&c, &e), ERR_OK);
	assert_int_equal(c.state_dir[0], '/');
	assert_int_equal(c.socket[0], '/');
	conf_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_defaults), cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_file),       cmocka_unit_test(test_paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
