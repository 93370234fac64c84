/* SPDX-License-Identifier: Apache-2.0
 *
 * The example of a policy for model serving, from the shared folder: it loads unchanged, with its
 * schema, and its ten scenarios get the intended answers; the facts are given as a broker gives
 * them, without JSON.
 *
 * Side: tests. Trusts: the files. Owns: nothing.
 */
#include "tests/unit/unit_policy_kit.h"

struct facts {
	int64_t input_bytes, requests_minute, sandbox_tier;
	bool quarantined, accepted;
	const char *licence, *purpose, *ip;
	bool use_restrictions, commercial;
};

static const struct facts base = {
	.input_bytes = 100,
	.requests_minute = 1,
	.sandbox_tier = 2,
	.licence = "Apache-2.0",
	.ip = "10.0.0.5",
	.commercial = true,
};

#define N(f)   (sizeof(f) / sizeof((f)[0]))
#define STR(s) policy_string(r, s, strlen(s))

static void add_licence(struct policy_request *r, const struct facts *f)
{
	const struct policy_field attrs[] = {
		{"spdx", STR(f->licence)},
		{"class", policy_entity(r, "Gate::LicenseClass", "permissive", 10)},
		{"osi", policy_bool(r, true)},
		{"commercial", policy_bool(r, f->commercial)},
		{"attribution", policy_bool(r, true)},
		{"useRestrictions", policy_bool(r, f->use_restrictions)},
	};
	policy_add_entity(r, "Gate::License", f->licence, strlen(f->licence), policy_record(r, attrs, N(attrs)),
					  NULL, NULL, 0);
}

static void add_model(struct policy_request *r, const struct facts *f)
{
	const struct policy_field attrs[] = {
		{"name", STR("m")},
		{"version", STR("1")},
		{"digest", STR("00")},
		{"format", STR("onnx")},
		{"bytes", policy_long(r, 1000)},
		{"signatures", policy_long(r, 2)},
		{"logged", policy_bool(r, true)},
		{"license", policy_entity(r, "Gate::License", f->licence, strlen(f->licence))},
		{"quarantined", policy_bool(r, f->quarantined)},
		{"scanned", policy_bool(r, true)},
		{"findings", policy_long(r, 0)},
		{"dataClass", policy_long(r, 2)},
		{"maxInputBytes", policy_long(r, 65536)},
		{"sandboxTier", policy_long(r, 2)},
	};
	const struct policy_parent in = {"Gate::Collection", "approved", 8};
	policy_add_entity(r, "Gate::Model", "m", 1, policy_record(r, attrs, N(attrs)), NULL, &in, 1);
}

static void add_user(struct policy_request *r)
{
	const struct policy_field attrs[] = {
		{"name", STR("u")},
		{"mfa", policy_bool(r, true)},
		{"clearance", policy_long(r, 1)},
	};
	const struct policy_parent in = {"Gate::Group", "ml", 2};
	policy_add_entity(r, "Gate::User", "u", 1, policy_record(r, attrs, N(attrs)), NULL, &in, 1);
}

static const struct policy_value *context(struct policy_request *r, const struct facts *f)
{
	const struct policy_field client[] = {
		{"ip", policy_ip(r, f->ip, strlen(f->ip))},
		{"tls", policy_bool(r, true)},
		{"mtls", policy_bool(r, true)},
		{"listener", STR("api")},
	};
	const struct policy_field time[] = {
		{"now", policy_datetime_ms(r, INT64_C(1790000000000))},
		{"hour", policy_long(r, 12)},
		{"weekday", policy_long(r, 3)},
	};
	const struct policy_field rate[] = {
		{"requestsMinute", policy_long(r, f->requests_minute)},
		{"tokensMinute", policy_long(r, 1)},
		{"tokensDay", policy_long(r, 1)},
		{"concurrent", policy_long(r, 1)},
	};
	const struct policy_value *accepted = STR(f->licence);
	const struct policy_field all[] = {
		{"client", policy_record(r, client, N(client))},
		{"time", policy_record(r, time, N(time))},
		{"rate", policy_record(r, rate, N(rate))},
		{"accepted", policy_set(r, &accepted, f->accepted)},
		{"inputBytes", policy_long(r, f->input_bytes)},
		{"tensors", policy_long(r, 1)},
		{"batch", policy_long(r, 1)},
		{"promptTokens", policy_long(r, 10)},
		{"maxTokens", policy_long(r, 100)},
		{"n", policy_long(r, 1)},
		{"stream", policy_bool(r, false)},
		{"tools", policy_bool(r, false)},
		{"grammar", policy_bool(r, false)},
		{"dataClass", policy_long(r, 1)},
		{"sandboxTier", policy_long(r, f->sandbox_tier)},
		{"purpose", STR(f->purpose ? f->purpose : "")},
	};
	return policy_record(r, all, N(all) - !f->purpose);
}

static struct policy_world *load(void)
{
	char text[PATH_MAX], schema[PATH_MAX];
	struct policy_world *w;
	struct err e = {0};
	if (!kit_shared("cedar/example/policies.cedar", text) ||
		!kit_shared("cedar/example/gate.cedarschema", schema))
		return NULL;
	assert_int_equal(policy_world_new(&w, &e), 0);
	if (policy_load_schema_file(w, schema, &e) || policy_load_text_file(w, text, &e) ||
		policy_world_seal(w, &e))
		fail_msg("%s", e.text);
	return w;
}

static void expect(struct policy_world *w, const struct facts *f, bool allow, const char *id,
				   const char *annotation)
{
	struct policy_request *r;
	struct policy_result res;
	struct err e = {0};
	assert_int_equal(policy_request_new(w, &r, &e), 0);
	add_user(r);
	add_licence(r, f);
	add_model(r, f);
	policy_set_principal(r, "Gate::User", "u", 1);
	policy_set_action(r, "Gate::Action", "generate", 8);
	policy_set_resource(r, "Gate::Model", "m", 1);
	policy_set_context(r, context(r, f));
	if (policy_decide(r, POLICY_STRICT, &res, &e))
		fail_msg("%s", e.text);
	assert_int_equal(res.allow, allow);
	assert_int_equal(res.n_errors, 0);
	assert_int_equal(res.n_reasons, 1);
	assert_string_equal(policy_id(w, res.reasons[0]), id);
	assert_string_equal(policy_annotation(w, res.reasons[0], "id"), annotation);
	policy_request_free(r);
}

static void ten_scenarios(void **state)
{
	struct policy_world *w = load();
	struct facts f = base;
	(void)state;
	if (!w)
		skip();
	expect(w, &f, true, "policy0", "allow-team-use");
	f = base, f.input_bytes = 1000000;
	expect(w, &f, false, "policy7", "limit-input");
	f = base, f.quarantined = true;
	expect(w, &f, false, "policy3", "deny-quarantined");
	f = base, f.licence = "LicenseRef-openrail", f.use_restrictions = true;
	expect(w, &f, false, "policy6", "need-licence-acceptance");
	f.accepted = true;
	expect(w, &f, true, "policy0", "allow-team-use");
	f = base, f.licence = "CC-BY-NC-4.0", f.commercial = false, f.purpose = "commercial";
	expect(w, &f, false, "policy5", "deny-noncommercial-in-prod");
	f.purpose = "research";
	expect(w, &f, true, "policy0", "allow-team-use");
	f = base, f.ip = "8.8.8.8";
	expect(w, &f, false, "policy11", "network");
	f = base, f.requests_minute = 61;
	expect(w, &f, false, "policy8", "limit-rate");
	f = base, f.sandbox_tier = 1;
	expect(w, &f, false, "policy10", "sandbox-floor");
	policy_world_free(w);
}

static void schema_is_declared(void **state)
{
	struct policy_world *w = load();
	const char *type, *id;
	size_t len;
	(void)state;
	if (!w)
		skip();
	assert_int_equal(policy_count(w), 15);
	assert_int_equal(policy_schema_entity_count(w), 12);
	assert_string_equal(policy_schema_entity(w, 0), "Gate::Tenant");
	assert_int_equal(policy_schema_action_count(w), 28);
	policy_schema_action(w, 0, &type, &id, &len);
	assert_int_equal(len, 3);
	assert_string_equal(type, "Gate::Action");
	assert_string_equal(id, "use");
	assert_true(policy_schema_applies(w, "Gate::Action", "generate", 8, "Gate::User", "Gate::Model"));
	assert_false(policy_schema_applies(w, "Gate::Action", "generate", 8, "Gate::User", "Gate::Server"));
	assert_false(policy_schema_applies(w, "Gate::Action", "use", 3, "Gate::User", "Gate::Model"));
	policy_world_free(w);
}

/* The example's actions are in groups only by the schema: without it nothing is allowed. */
static void groups_come_from_the_schema(void **state)
{
	char text[PATH_MAX];
	struct policy_world *w;
	struct policy_request *r;
	struct policy_result res;
	struct err e = {0};
	(void)state;
	if (!kit_shared("cedar/example/policies.cedar", text))
		skip();
	assert_int_equal(policy_world_new(&w, &e), 0);
	assert_int_equal(policy_load_text_file(w, text, &e), 0);
	assert_int_equal(policy_world_seal(w, &e), 0);
	assert_int_equal(policy_request_new(w, &r, &e), 0);
	add_user(r);
	add_licence(r, &base);
	add_model(r, &base);
	policy_set_principal(r, "Gate::User", "u", 1);
	policy_set_action(r, "Gate::Action", "generate", 8);
	policy_set_resource(r, "Gate::Model", "m", 1);
	policy_set_context(r, context(r, &base));
	assert_int_equal(policy_decide(r, POLICY_STRICT, &res, &e), 0);
	assert_false(res.allow);
	assert_int_equal(res.n_reasons, 0);
	policy_request_free(r);
	policy_world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_scenarios),
		cmocka_unit_test(schema_is_declared),
		cmocka_unit_test(groups_come_from_the_schema),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
