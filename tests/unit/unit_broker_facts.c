/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts for policy: the example policies of model serving as far as a Unix caller can meet them, the
 * built-in policy of a private broker, and the rates.
 */
#include "broker/facts.h"
#include "proto/limits.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define UID 1000

static const char entities[] =
	"[{\"uid\": {\"type\": \"Gate::User\", \"id\": \"1000\"},"
	"  \"attrs\": {\"name\": \"u\", \"mfa\": true, \"clearance\": 1},"
	"  \"parents\": [{\"type\": \"Gate::Group\", \"id\": \"ml\"}]},"
	" {\"uid\": {\"type\": \"Gate::Group\", \"id\": \"ml\"}, \"attrs\": {}, \"parents\": []},"
	" {\"uid\": {\"type\": \"Gate::License\", \"id\": \"Apache-2.0\"}, \"attrs\": {\"spdx\": \"Apache-2.0\","
	"  \"commercial\": true,"
	"  \"useRestrictions\": false}, \"parents\": []},"
	" {\"uid\": {\"type\": \"Gate::License\", \"id\": \"CC-BY-NC-4.0\"}, \"attrs\": {\"spdx\": \"CC-BY-NC-4.0\","
	"  \"commercial\": false, \"useRestrictions\": false}, \"parents\": []},"
	" {\"uid\": {\"type\": \"Gate::License\", \"id\": \"LicenseRef-openrail\"}, \"attrs\": {\"spdx\": \"LicenseRef-openrail\","
	"  \"commercial\": true, \"useRestrictions\": true}, \"parents\": []},"
	" {\"uid\": {\"type\": \"Gate::Model\", \"id\": \"acme/good\"}, \"attrs\": {\"quarantined\": false, \"scanned\": true,"
	"  \"findings\": 0, \"dataClass\": 2, \"maxInputBytes\": 65536, \"sandboxTier\": 2},"
	"  \"parents\": [{\"type\": \"Gate::Collection\", \"id\": \"approved\"}]},"
	" {\"uid\": {\"type\": \"Gate::Model\", \"id\": \"acme/bad\"}, \"attrs\": {\"quarantined\": true, \"scanned\": true,"
	"  \"findings\": 0, \"dataClass\": 2, \"maxInputBytes\": 65536, \"sandboxTier\": 2},"
	"  \"parents\": [{\"type\": \"Gate::Collection\", \"id\": \"approved\"}]},"
	" {\"uid\": {\"type\": \"Gate::Model\", \"id\": \"acme/unknown\"}, \"attrs\": {},"
	"  \"parents\": [{\"type\": \"Gate::Collection\", \"id\": \"approved\"}]},"
	" {\"uid\": {\"type\": \"Gate::Collection\", \"id\": \"approved\"}, \"attrs\": {}, \"parents\": []}]";

static char folder[] = "/tmp/unit_broker_facts.XXXXXX";

static char *file_write(const char *name, const char *text)
{
	char path[200];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	fclose(f);
	return strdup(path);
}

/* FUMEHOOD_SHARED or ../shared; NULL with a loud line when the example is not there. */
static char *example(const char *name)
{
	const char *shared = getenv("FUMEHOOD_SHARED");
	char path[400];
	snprintf(path, sizeof path, "%s/cedar/example/%s", shared ? shared : "../shared", name);
	if (access(path, R_OK) == 0)
		return strdup(path);
	print_message("SKIP unit_broker_facts: %s is not there\n", path);
	return NULL;
}

static struct facts *facts_of(const char *policy_path, const char *policy_text)
{
	struct conf c;
	struct err e = { 0 };
	struct facts *f = NULL;
	assert_int_equal(conf_init(&c, &e), ERR_OK);
	free(c.policy);
	free(c.entities);
	c.policy = policy_path ? strdup(policy_path) : file_write("policy.cedar", policy_text);
	c.entities = file_write("entities.json", entities);
	if (policy_path) { /* the example's: action groups stand in its schema */
		free(c.schema);
		c.schema = example("gate.cedarschema");
	}
	if (facts_new(&c, false, 0, &f, &e) != ERR_OK)
		fail_msg("%s", e.text);
	conf_clear(&c);
	return f;
}

static struct model model;
static struct model_note note;
static struct model_file files[1];

static const struct model *model_of(const char *name, const char *licence)
{
	memset(&model, 0, sizeof model);
	memset(&note, 0, sizeof note);
	snprintf(note.name, sizeof note.name, "%s", name);
	snprintf(note.licence, sizeof note.licence, "%s", licence);
	snprintf(files[0].path, sizeof files[0].path, "m.onnx");
	note.version = 12;
	note.files = files;
	note.n_files = 1;
	model.note = &note;
	model.vouch.n_signers = 2;
	model.total_bytes = 1234;
	return &model;
}

static struct facts_ask base(void)
{
	return (struct facts_ask){ .uid = UID, .action = "infer", .model = model_of("acme/good", "Apache-2.0"),
	                           .is_use = true, .input_bytes = 100, .n_tensors = 1, .batch = 1,
	                           .now_unix = 1795305600, .now_mono_s = 1000 };
}

static void expect(struct facts *f, const struct facts_ask *ask, bool allow, const char *policy)
{
	struct facts_answer a;
	facts_decide(f, ask, &a);
	bool named = !policy;
	for (unsigned i = 0; i < a.n_policies; i++)
		named = named || !strcmp(a.policies[i], policy);
	if (a.allow != allow || !named)
		fail_msg("allow %d, want %d by %s; said %s %s", a.allow, allow, policy ? policy : "-",
		         a.n_policies ? a.policies[0] : "-", a.n_errors ? a.errors[0] : "");
}

static void test_example(void **state)
{
	char *path = example("policies.cedar");
	(void)state;
	if (!path)
		skip();
	struct facts *f = facts_of(path, NULL);
	struct facts_ask q = base();
	expect(f, &q, true, "allow-team-use");
	q.input_bytes = 1000000;
	expect(f, &q, false, "limit-input");
	q = base();
	q.batch = 65;
	expect(f, &q, false, "limit-input");
	q = base();
	q.model = model_of("acme/bad", "Apache-2.0");
	expect(f, &q, false, "deny-quarantined");
	q.model = model_of("acme/good", "LicenseRef-openrail"); /* nothing is accepted over this socket */
	expect(f, &q, false, "need-licence-acceptance");
	q.model = model_of("acme/good", "CC-BY-NC-4.0");
	q.purpose = "commercial";
	expect(f, &q, false, "deny-noncommercial-in-prod");
	q.purpose = "research";
	expect(f, &q, true, "allow-team-use");
	q = base();
	q.missing_layers = 1;
	expect(f, &q, false, "sandbox-floor");
	q = base();
	q.uid = 1001; /* in no group, without a clearance */
	expect(f, &q, false, NULL);
	q = base();
	q.action = "list";
	q.is_use = false;
	q.model = NULL;
	expect(f, &q, true, "allow-read");
	q.action = "run"; /* an unsigned model: no policy speaks of it */
	expect(f, &q, false, NULL);
	facts_free(f);
	free(path);
}

/* The example's forbids read attributes that only the entities file has: without them they err, and deny. */
static void test_unknown_attributes_deny(void **state)
{
	char *path = example("policies.cedar");
	struct facts_answer a;
	(void)state;
	if (!path)
		skip();
	struct facts *f = facts_of(path, NULL);
	struct facts_ask q = base();
	q.model = model_of("acme/unknown", "Apache-2.0");
	facts_decide(f, &q, &a);
	assert_false(a.allow);
	assert_true(a.is_explicit && a.n_errors > 0);
	facts_free(f);
	free(path);
}

static void test_rate_in_policy(void **state)
{
	(void)state;
	struct facts *f = facts_of(NULL, "permit (principal, action, resource);\n@id(\"limit\") forbid (principal, action, resource) "
	                                 "when { context.rate.requestsMinute > 60 };");
	struct facts_ask q = base();
	for (int i = 0; i < 60; i++)
		expect(f, &q, true, NULL);
	expect(f, &q, false, "limit");
	q.uid++;
	expect(f, &q, true, NULL); /* somebody else */
	q.uid--;
	q.now_mono_s += 61;
	expect(f, &q, true, NULL);
	facts_free(f);
}

static void test_concurrent(void **state)
{
	(void)state;
	struct facts *f = facts_of(NULL, "permit (principal, action, resource) when { context.rate.concurrent <= 2 };");
	struct facts_ask q = base();
	expect(f, &q, true, NULL);
	rate_begin(facts_rate(f), UID, 1000);
	expect(f, &q, true, NULL);
	rate_begin(facts_rate(f), UID, 1000);
	expect(f, &q, false, NULL);
	rate_end(facts_rate(f), UID);
	expect(f, &q, true, NULL);
	facts_free(f);
}

static void test_what_the_model_is(void **state)
{
	(void)state;
	struct facts *f = facts_of(NULL,
		"permit (principal, action, resource) when { resource.name == \"acme/good\" && resource.version == \"12\" && "
		"resource.format == \"onnx\" && resource.bytes == 1234 && resource.signatures == 2 && resource.logged && "
		"resource.digest like \"sha256:*\" && resource.license == Gate::License::\"Apache-2.0\" && principal.uid == 1000 && "
		"context.client.listener == \"unix\" && context.time.hour == 0 && context.time.weekday == 1 && "
		"context.time.now == datetime(\"2026-11-22T00:00:00Z\") && context.sandboxTier == 2 && context.tensors == 1 && "
		"context.accepted == [] && !(context has purpose) };");
	struct facts_ask q = base();
	q.now_unix = 1795305600; /* a Sunday, so this must fail ... */
	expect(f, &q, false, NULL);
	facts_free(f);
	f = facts_of(NULL, "permit (principal, action, resource) when { context.time.weekday == 7 && context.time.hour == 0 && "
	                   "context.time.now == datetime(\"2026-11-22T00:00:00Z\") && resource.signatures == 2 && "
	                   "resource.name == \"acme/good\" && resource.version == \"12\" && resource.format == \"onnx\" && "
	                   "resource.bytes == 1234 && resource.logged && resource.digest like \"sha256:*\" && "
	                   "resource.license == Gate::License::\"Apache-2.0\" && principal.uid == 1000 && "
	                   "context.accepted == [] && !(context has purpose) };");
	expect(f, &q, true, NULL); /* ... and only because of the day */
	facts_free(f);
}

static void test_owner_only(void **state)
{
	struct conf c;
	struct err e;
	struct facts *f;
	struct facts_answer a;
	static const char *const actions[] = { "run", "inspect", "attempt", "list", "stats", "admit" };
	(void)state;
	assert_int_equal(conf_init(&c, &e), ERR_OK);
	assert_int_equal(facts_new(&c, true, UID, &f, &e), ERR_OK);
	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
		struct facts_ask q = { .uid = UID, .action = actions[i] };
		facts_decide(f, &q, &a);
		assert_true(a.allow);
		q.uid = 0; /* not even root */
		facts_decide(f, &q, &a);
		assert_false(a.allow || a.is_explicit);
	}
	assert_int_equal(facts_n_policies(f), 1);
	facts_free(f);
	conf_clear(&c);
}

static void test_nothing_is_permitted_by_nothing(void **state)
{
	struct conf c;
	struct err e;
	struct facts *f;
	struct facts_answer a;
	struct facts_ask q = base();
	(void)state;
	assert_int_equal(conf_init(&c, &e), ERR_OK);
	assert_int_equal(facts_new(&c, false, UID, &f, &e), ERR_OK);
	facts_decide(f, &q, &a);
	assert_false(a.allow || a.is_explicit);
	facts_free(f);
	conf_clear(&c);
}

static void test_service_principal(void **state)
{
	(void)state;
	struct facts *f = facts_of(NULL, "permit (principal == Gate::Service::\"fumehood\","
	                                 " action == Gate::Action::\"load\", resource);");
	struct facts_ask q = base();
	q.action = "load";
	q.is_use = false;
	expect(f, &q, false, NULL);
	q.as_service = true;
	expect(f, &q, true, NULL);
	facts_free(f);
}

static void test_rate_table(void **state)
{
	struct rate *r = calloc(1, sizeof *r);
	(void)state;
	for (int64_t s = 0; s < 200; s++) {
		rate_count(r, 7, s);
		assert_int_equal(rate_minute(r, 7, s), s < 60 ? s + 1 : 60);
	}
	assert_int_equal(rate_minute(r, 7, 100000), 0);
	for (uint32_t uid = 100; uid < 100 + RATE_CALLERS; uid++)
		rate_begin(r, uid, 100001); /* the quiet one made room */
	assert_int_equal(rate_in_flight(r, 100 + RATE_CALLERS - 1), 1);
	assert_int_equal(rate_minute(r, 99, 100001), UINT32_MAX); /* no room: as if it had called without end */
	rate_end(r, 100);
	rate_count(r, 99, 100002);
	assert_int_equal(rate_minute(r, 99, 100002), 1);
	free(r);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char path[200];
	static const char *const names[] = { "policy.cedar", "entities.json" };
	(void)state;
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

/* The strictest word of the permits that let a call pass; a permit without one has the configuration's. */
static void test_isolation(void **state)
{
#define SAYS(word) "@isolation(\"" word "\")\n"
#define PERMIT "permit (principal, action, resource);\n"
	static const struct {
		const char *policy;
		enum isolation want;
	} rows[] = {
		{ PERMIT, ISOLATION_SHARED },
		{ SAYS("tenant") PERMIT, ISOLATION_TENANT },
		{ SAYS("tenant") PERMIT SAYS("call") PERMIT SAYS("shared") PERMIT, ISOLATION_CALL },
		{ PERMIT SAYS("tenant") PERMIT, ISOLATION_TENANT },
		{ SAYS("shared") PERMIT SAYS("call") "permit (principal == Gate::User::\"7\", action, resource);\n", ISOLATION_SHARED },
		{ SAYS("shared") PERMIT SAYS("call") "forbid (principal == Gate::User::\"7\", action, resource);\n", ISOLATION_SHARED },
	};
	struct facts_answer a;
	struct facts_ask ask = base();
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct facts *f = facts_of(NULL, rows[i].policy);
		facts_decide(f, &ask, &a);
		assert_true(a.allow);
		if (a.isolation != rows[i].want)
			fail_msg("row %zu: %s", i, isolation_name(a.isolation));
		facts_free(f);
	}
#undef SAYS
#undef PERMIT
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_isolation),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_unknown_attributes_deny),
		cmocka_unit_test(test_rate_in_policy),
		cmocka_unit_test(test_concurrent),
		cmocka_unit_test(test_what_the_model_is),
		cmocka_unit_test(test_owner_only),
		cmocka_unit_test(test_nothing_is_permitted_by_nothing),
		cmocka_unit_test(test_service_principal),
		cmocka_unit_test(test_rate_table),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
