/* SPDX-License-Identifier: Apache-2.0
 *
 * Decisions: what expressions come to, how permits, forbids and errors join in both modes, facts
 * given at run time and every way to give them wrong, bounds of work, and that the index finds
 * exactly what a scan of all policies finds.
 *
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "tests/unit/unit_policy_kit.h"

#include "policy/world.h"

#define N(f) (sizeof(f) / sizeof((f)[0]))

static const char world[] =
	"[{\"uid\":{\"type\":\"U\",\"id\":\"u\"},\"attrs\":{\"n\":1,\"s\":\"x*y\",\"b\":true,\"r\":{\"k\":{\"z\":"
	"2}},\"set\":[1,2,3],\"e\":{\"__entity\":{\"type\":\"D\",\"id\":\"d\"}}},"
	"\"tags\":{\"t\":7},\"parents\":[{\"type\":\"G\",\"id\":\"g\"}]},"
	"{\"uid\":{\"type\":\"G\",\"id\":\"g\"},\"attrs\":{},\"parents\":[{\"type\":\"G\",\"id\":\"top\"}]},"
	"{\"uid\":{\"type\":\"D\",\"id\":\"d\"},\"attrs\":{\"owner\":{\"__entity\":{\"type\":\"U\",\"id\":\"u\"}}"
	"},\"parents\":[]}]";

static struct policy_request *request(const struct policy_world *w)
{
	struct policy_request *r;
	struct err e;
	assert_int_equal(policy_request_new(w, &r, &e), 0);
	policy_set_principal(r, "U", "u", 1);
	policy_set_action(r, "Action", "a", 1);
	policy_set_resource(r, "D", "d", 1);
	policy_set_context(r, policy_record(r, NULL, 0));
	return r;
}

/* 1 allow, 0 deny, -1 deny with an error, -2 the decision failed. */
static int decide(const char *policies, enum policy_mode mode)
{
	struct policy_result res;
	struct err e;
	struct policy_world *w = kit_world(policies, world, NULL, POLICY_STRICT, &e);
	if (!w)
		fail_msg("%s: %s", policies, e.text);
	struct policy_request *r = request(w);
	int rc = policy_decide(r, mode, &res, &e);
	int answer = rc ? -2 : res.allow ? 1 : res.n_errors ? -1 : 0;
	policy_request_free(r);
	policy_world_free(w);
	return answer;
}

static const struct {
	const char *expr;
	int want;
} exprs[] = {
	{"principal.n + 1 * 2 - 3 == 0", 1},
	{"-principal.n == -1", 1},
	{"9223372036854775807 + principal.n == 0", -1},
	{"-9223372036854775808 - principal.n == 0", -1},
	{"9223372036854775807 * 2 == 0", -1},
	{"-(-9223372036854775808) == 0", -1},
	{"\"1\" + 1 == 2", -1},
	{"1 == \"1\"", 0},
	{"principal.b", 1},
	{"principal.n", -1},
	{"!principal.n", -1},
	{"false && principal.n", 0},
	{"true || principal.n", 1},
	{"true && principal.n", -1},
	{"false || principal.n", -1},
	{"principal.n && true", -1},
	{"if principal.b then true else 1 + \"a\" == 2", 1},
	{"if !principal.b then 1 + \"a\" == 2 else true", 1},
	{"if 1 then true else true", -1},
	{"principal.r.k.z == 2", 1},
	{"principal.r.k.y == 2", -1},
	{"principal.n.m == 2", -1},
	{"principal has r.k.z", 1},
	{"principal has r.k.y", 0},
	{"principal has r.x.y", 0},
	{"principal has n.m", -1},
	{"1 has a", -1},
	{"U::\"no\" has a", 0},
	{"U::\"no\".a == 1", -1},
	{"resource.owner.e.owner.n == 1", 1},
	{"principal == resource.owner", 1},
	{"principal in G::\"g\"", 1},
	{"principal in G::\"top\"", 1},
	{"principal in G::\"no\"", 0},
	{"G::\"g\" in principal", 0},
	{"principal in [G::\"no\", G::\"top\"]", 1},
	{"principal in []", 0},
	{"principal in [G::\"g\", 1]", -1},
	{"principal in 1", -1},
	{"1 in principal", -1},
	{"U::\"no\" in U::\"no\"", 1},
	{"principal is U", 1},
	{"principal is N::U", 0},
	{"principal is U in G::\"g\"", 1},
	{"principal is D in 1", 0},
	{"1 is U", -1},
	{"principal is U in 1", -1},
	{"principal.s like \"x\\*y\"", 1},
	{"principal.s like \"x*\"", 1},
	{"principal.s like \"*x*y*\"", 1},
	{"principal.s like \"x\"", 0},
	{"principal.s like \"\"", 0},
	{"\"\" like \"*\"", 1},
	{"\"aXbXc\" like \"a*X*c\"", 1},
	{"\"aab\" like \"a*ab\"", 1},
	{"principal.n like \"*\"", -1},
	{"principal.set.contains(2)", 1},
	{"principal.set.contains(\"2\")", 0},
	{"principal.set.containsAll([3, 1, 1])", 1},
	{"principal.set.containsAll([3, 4])", 0},
	{"principal.set.containsAny([4, 3])", 1},
	{"principal.set.containsAny([])", 0},
	{"[].containsAll([])", 1},
	{"principal.n.contains(1)", -1},
	{"principal.set.containsAll(1)", -1},
	{"principal.s.isEmpty()", -1},
	{"principal.hasTag(\"t\") && principal.getTag(\"t\") == 7", 1},
	{"principal.hasTag(\"no\")", 0},
	{"principal.getTag(\"no\") == 1", -1},
	{"principal.hasTag(1)", -1},
	{"context.hasTag(\"t\")", -1},
	{"U::\"no\".hasTag(\"t\")", 0},
	{"U::\"no\".getTag(\"t\") == 1", -1},
	{"[principal.n, 1, 2] == [2, 1]", 1},
	{"{a: principal.n} == {a: 1}", 1},
	{"{a: principal.n, b: 1 + \"x\"} has a", -1},
	{"[1 + \"x\"].isEmpty()", -1},
	{"ip(\"10.1.2.3\").isInRange(ip(\"10.0.0.0/8\"))", 1},
	{"ip(\"10.0.0.0/7\").isInRange(ip(\"10.0.0.0/8\"))", 0},
	{"ip(\"::1\").isInRange(ip(\"0.0.0.0/0\"))", 0},
	{"ip(\"127.1.2.3\").isLoopback() && ip(\"::1\").isLoopback() && !ip(\"::1/127\").isLoopback()", 1},
	{"ip(\"224.0.0.9\").isMulticast() && ip(\"ff02::1\").isMulticast() && !ip(\"223.0.0.1\").isMulticast()",
	 1},
	{"ip(\"1.1.1.1/8\") == ip(\"1.0.0.0/8\")", 0},
	{"ip(principal.s).isIpv4()", -1},
	{"ip(1).isIpv4()", -1},
	{"ip(\"1.1.1.1\", \"x\").isIpv4()", -1},
	{"ip(\"1.1.1.1\").isIpv6(1)", -1},
	{"\"1.1.1.1\".isIpv4()", -1},
	{"decimal(\"1.10\") == decimal(\"1.1\") && decimal(\"-1.0\").lessThan(decimal(\"0.5\"))", 1},
	{"decimal(\"1.0\") < decimal(\"2.0\")", -1},
	{"datetime(\"2024-01-01\") < datetime(\"2024-01-01T00:00:00.001Z\")", 1},
	{"datetime(\"2024-01-01\") < 1", -1},
	{"duration(\"1h\") > duration(\"59m\")", 1},
	{"duration(\"1h\") < datetime(\"2024-01-01\")", -1},
	{"datetime(\"1969-12-31T12:00:00Z\").toDate() == datetime(\"1969-12-31\") && "
	 "datetime(\"1969-12-31T12:00:00Z\").toTime() == duration(\"12h\")",
	 1},
	{"duration(\"-25h\").toDays() == -1 && duration(\"-1500ms\").toSeconds() == -1 && "
	 "duration(\"90m\").toHours() == 1",
	 1},
	{"datetime(\"1970-01-01\").offset(duration(\"9223372036854775807ms\")).offset(duration(\"1ms\")) == "
	 "datetime(\"1970-01-01\")",
	 -1},
	{"datetime(\"1970-01-01\").offset(duration(\"-9223372036854775808ms\")).toDate() == "
	 "datetime(\"1970-01-01\")",
	 -1},
	{"datetime(\"1970-01-01\").durationSince(datetime(\"1970-01-01\").offset(duration(\"-"
	 "9223372036854775808ms\"))) == duration(\"1ms\")",
	 -1},
	{"[if true then 1 else 2].contains(1) && [true && false].contains(false)", 1},
	{"{a: if principal.b then 1 else 2}.a == 1", 1},
	{"context", -1},
	{"context == {}", 1},
};

static void expressions_have_their_value(void **state)
{
	char text[1000];
	int wrong = 0;
	(void)state;
	for (size_t i = 0; i < N(exprs); i++) {
		snprintf(text, sizeof text, "permit(principal, action, resource) when { %s };", exprs[i].expr);
		int got = decide(text, POLICY_CEDAR);
		wrong += got != exprs[i].want;
		if (got != exprs[i].want)
			print_error("%s: wanted %d, got %d\n", exprs[i].expr, exprs[i].want, got);
	}
	assert_int_equal(wrong, 0);
}

#define PERMIT       "permit(principal, action, resource);"
#define PERMIT_ERROR "permit(principal, action, resource) when { 1 };"
#define PERMIT_NO    "permit(principal, action, resource) when { false };"
#define FORBID       "forbid(principal, action, resource);"
#define FORBID_ERROR "forbid(principal, action, resource) when { context.no };"
#define FORBID_NO    "forbid(principal, action, resource) unless { true };"
#define FORBID_ELSE  "forbid(principal == U::\"v\", action, resource) when { context.no };"

static void permits_forbids_and_errors_join(void **state)
{
	static const struct {
		const char *text;
		int cedar, strict;
	} sets[] = {
		{"", 0, 0},
		{PERMIT, 1, 1},
		{PERMIT_NO, 0, 0},
		{FORBID, 0, 0},
		{PERMIT FORBID, 0, 0},
		{FORBID PERMIT, 0, 0},
		{PERMIT FORBID_NO, 1, 1},
		{PERMIT_ERROR, -1, -1},
		{PERMIT_ERROR PERMIT, 1, 1},
		{FORBID_ERROR, -1, -1},
		{FORBID_ERROR PERMIT, 1, -1},
		{PERMIT FORBID_ERROR FORBID_NO, 1, -1},
		{PERMIT FORBID_ERROR FORBID, -1, -1},
		{PERMIT FORBID_ELSE, 1, 1},
		{"permit(principal == ?principal, action, resource);", 0, 0},
		{PERMIT "forbid(principal, action, resource) when { false } when { 1 };", 1, 1},
		{PERMIT "forbid(principal, action, resource) when { true } unless { 1 };", 1, -1},
	};
	(void)state;
	for (size_t i = 0; i < N(sets); i++) {
		if (decide(sets[i].text, POLICY_CEDAR) != sets[i].cedar)
			fail_msg("as Cedar: %s", sets[i].text);
		if (decide(sets[i].text, POLICY_STRICT) != sets[i].strict)
			fail_msg("strict: %s", sets[i].text);
	}
}

static void result_tells_why(void **state)
{
	struct policy_result res;
	struct err e;
	unsigned line, column;
	const char *name;
	(void)state;
	struct policy_world *w =
		kit_world(PERMIT "\n" FORBID_ERROR "\n" PERMIT_ERROR PERMIT, NULL, NULL, POLICY_STRICT, &e);
	struct policy_request *r = request(w);
	assert_int_equal(policy_decide(r, POLICY_CEDAR, &res, &e), 0);
	assert_true(res.allow);
	assert_false(res.deny_by_error);
	assert_int_equal(res.n_reasons, 2);
	assert_int_equal(res.reasons[0], 0);
	assert_int_equal(res.reasons[1], 3);
	assert_int_equal(res.n_errors, 2);
	assert_int_equal(res.errors[0].policy, 1);
	assert_true(res.errors[0].forbid);
	assert_false(res.errors[1].forbid);
	assert_string_equal(res.errors[0].text, "the record has no attribute `no`");
	assert_string_equal(res.errors[1].text, "type error: expected bool, got long");
	policy_place(w, 1, res.errors[0].offset, &name, &line, &column);
	assert_int_equal(line, 2);
	assert_int_equal(column, 52);
	assert_int_equal(policy_decide(r, POLICY_STRICT, &res, &e), 0);
	assert_false(res.allow);
	assert_true(res.deny_by_error);
	assert_int_equal(res.n_reasons, 0);
	assert_int_equal(res.n_errors, 2);
	policy_request_free(r);
	policy_world_free(w);
}

/* --- facts ------------------------------------------------------------------------------------------------
 */

static int code_of(struct policy_request *r)
{
	struct policy_result res = {.allow = true};
	struct err e = {0};
	int rc = policy_decide(r, POLICY_STRICT, &res, &e);
	if (rc)
		assert_false(res.allow);
	return rc;
}

static void missing_facts_fail(void **state)
{
	struct policy_request *r;
	struct err e;
	struct policy_world *w = kit_world(PERMIT, NULL, NULL, POLICY_STRICT, &e);
	(void)state;
	for (int leave = 0; leave < 4; leave++) {
		assert_int_equal(policy_request_new(w, &r, &e), 0);
		if (leave != 0)
			policy_set_principal(r, "U", "u", 1);
		if (leave != 1)
			policy_set_action(r, "Action", "a", 1);
		if (leave != 2)
			policy_set_resource(r, "D", "d", 1);
		if (leave != 3)
			policy_set_context(r, policy_record(r, NULL, 0));
		assert_int_equal(code_of(r), ERR_INTERNAL);
		policy_request_free(r);
	}
	policy_world_free(w);
}

static void spoil(struct policy_request *r, int how)
{
	const struct policy_field twice[] = {{"a", policy_long(r, 1)}, {"a", policy_long(r, 2)}},
							  none[] = {{"a", NULL}};
	const struct policy_value *null = NULL;
	const struct policy_parent self = {"U", "u", 1}, bad = {"Gr oup", "g", 1};
	const struct policy_value *empty = policy_record(r, NULL, 0);
	switch (how) {
	case 0:
		policy_set_principal(r, "U x", "u", 1);
		break;
	case 1:
		policy_set_action(r, "", "u", 1);
		break;
	case 2:
		policy_set_resource(r, "if", "u", 1);
		break;
	case 3:
		policy_set_context(r, policy_long(r, 1));
		break;
	case 4:
		policy_set_context(r, NULL);
		break;
	case 5:
		policy_record(r, twice, 2);
		break;
	case 6:
		policy_record(r, none, 1);
		break;
	case 7:
		policy_set(r, &null, 1);
		break;
	case 8:
		policy_ip(r, "1.2.3", 5);
		break;
	case 9:
		policy_decimal(r, "x", 1);
		break;
	case 10:
		policy_json(r, "[1]", 3, POLICY_STRICT);
		break;
	case 11:
		policy_json(r, "{\"a\":1.5}", 9, POLICY_STRICT);
		break;
	case 12:
		policy_add_entity(r, "U", "u", 1, policy_long(r, 1), NULL, NULL, 0);
		break;
	case 13:
		policy_add_entity(r, "U", "u", 1, empty, policy_bool(r, true), NULL, 0);
		break;
	case 14:
		policy_add_entity(r, "U", "u", 1, empty, NULL, &self, 1);
		break;
	case 15:
		policy_add_entity(r, "U", "u", 1, empty, NULL, &bad, 1);
		break;
	case 16:
		policy_entity(r, "a::", "x", 1);
		break;
	case 17:
		policy_add_entity(r, "U", "u", 1, empty, NULL, NULL, 0);
		policy_add_entity(r, "U", "u", 1, empty, NULL, NULL, 0);
		break;
	default:
		for (int i = 0; i <= LIMIT_REQUEST_ENTITIES; i++) {
			char id[2] = {(char)('a' + i), 0};
			policy_add_entity(r, "Q", id, 1, empty, NULL, NULL, 0);
		}
	}
}

static void wrong_facts_deny(void **state)
{
	struct err e;
	struct policy_world *w = kit_world(PERMIT, NULL, NULL, POLICY_STRICT, &e);
	(void)state;
	for (int how = 0; how < 19; how++) {
		struct policy_request *r = request(w);
		assert_int_equal(code_of(r), 0);
		spoil(r, how);
		if (code_of(r) == 0)
			fail_msg("wrong fact %d was not noticed", how);
		/* A reset forgets the fault with the facts. */
		policy_request_reset(r);
		policy_set_principal(r, "U", "u", 1);
		policy_set_action(r, "Action", "a", 1);
		policy_set_resource(r, "D", "d", 1);
		policy_set_context(r, policy_record(r, NULL, 0));
		assert_int_equal(code_of(r), 0);
		policy_request_free(r);
	}
	policy_world_free(w);
}

/* Decides with an entity given at run time: U::"u" with attribute n = 5, m = 6, tag t = 8, parent G::"new".
 */
static int decide_given(const char *expr)
{
	char text[500];
	struct policy_result res;
	struct err e;
	snprintf(text, sizeof text, "permit(principal, action, resource) when { %s };", expr);
	struct policy_world *w = kit_world(text, world, NULL, POLICY_STRICT, &e);
	struct policy_request *r = request(w);
	const struct policy_field attrs[] = {{"n", policy_long(r, 5)}, {"m", policy_long(r, 6)}},
							  tags[] = {{"t", policy_long(r, 8)}};
	const struct policy_parent parents[] = {{"G", "new", 3}, {"G", "g", 1}};
	policy_add_entity(r, "U", "u", 1, policy_record(r, attrs, 2), policy_record(r, tags, 1), parents, 2);
	policy_add_entity(r, "X", "x", 1, policy_record(r, attrs, 2), NULL, &(struct policy_parent){"U", "u", 1},
					  1);
	int rc = policy_decide(r, POLICY_STRICT, &res, &e);
	if (rc)
		fail_msg("%s", e.text);
	int answer = res.allow ? 1 : res.n_errors ? -1 : 0;
	policy_request_free(r);
	policy_world_free(w);
	return answer;
}

static void given_entities_join_loaded_ones(void **state)
{
	(void)state;
	assert_int_equal(decide_given("principal.n == 5 && principal.m == 6 && principal.s == \"x*y\""), 1);
	assert_int_equal(decide_given("principal.getTag(\"t\") == 8"), 1);
	assert_int_equal(
		decide_given("principal in G::\"new\" && principal in G::\"g\" && principal in G::\"top\""), 1);
	assert_int_equal(decide_given("principal in G::\"other\""), 0);
	assert_int_equal(decide_given("X::\"x\" in U::\"u\" && X::\"x\" in G::\"new\" && X::\"x\" in G::\"top\""),
					 1);
	assert_int_equal(decide_given("X::\"x\".m == 6 && !X::\"x\".hasTag(\"t\")"), 1);
	assert_int_equal(decide_given("resource.owner.n == 5"), 1);
}

/* Something that is a parent already cannot get parents: its children would not be below them. */
static void parents_of_parents_are_refused(void **state)
{
	struct err e;
	struct policy_world *w = kit_world(PERMIT, world, NULL, POLICY_STRICT, &e);
	const struct policy_parent up = {"G", "up", 2}, top = {"G", "mine", 4};
	(void)state;
	struct policy_request *r = request(w);
	policy_add_entity(r, "G", "g", 1, policy_record(r, NULL, 0), NULL, NULL,
					  0); /* attributes alone are fine */
	assert_int_equal(code_of(r), 0);
	policy_add_entity(r, "G", "top", 3, policy_record(r, NULL, 0), NULL, &up, 1); /* a parent without data */
	assert_int_equal(code_of(r), ERR_INPUT);
	policy_request_free(r);
	r = request(w);
	policy_add_entity(r, "X", "x", 1, policy_record(r, NULL, 0), NULL, &top, 1);
	assert_int_equal(code_of(r), 0);
	policy_add_entity(r, "G", "mine", 4, policy_record(r, NULL, 0), NULL, &up, 1);
	assert_int_equal(code_of(r), ERR_INPUT);
	policy_request_free(r);
	policy_world_free(w);
}

static void world_must_be_sealed(void **state)
{
	struct policy_world *w;
	struct policy_request *r;
	struct err e;
	(void)state;
	assert_int_equal(policy_world_new(&w, &e), 0);
	assert_int_not_equal(policy_request_new(w, &r, &e), 0);
	assert_null(r);
	/* nor does a world serve whose sealing failed */
	static const char cycle[] =
		"[{\"uid\":{\"type\":\"U\",\"id\":\"u\"},\"attrs\":{},\"parents\":[{\"type\":\"U\",\"id\":\"u\"}]}]";
	assert_int_equal(policy_load_entities(w, "cycle", cycle, sizeof cycle - 1, POLICY_STRICT, &e), 0);
	assert_int_equal(policy_world_seal(w, &e), ERR_CONFIG);
	assert_int_not_equal(policy_world_seal(w, &e), 0);
	assert_int_not_equal(policy_load_text(w, "late", "", 0, &e), 0);
	assert_int_not_equal(policy_request_new(w, &r, &e), 0);
	policy_world_free(w);
	policy_world_free(NULL);
	policy_request_free(NULL);
}

/* --- bounds ------------------------------------------------------------------------------------- */

/* A long pattern behind a wildcard on a long string that nearly matches everywhere: work that is the
 * product of both, cut off, nothing allowed. */
static void work_is_cut_off(void **state)
{
	struct err e;
	struct kit_text text = {0};
	char *many = malloc(100000);
	(void)state;
	kit_add(&text,
		"permit(principal, action, resource); permit(principal, action, resource) when { context.s like \"*");
	for (int i = 0; i < 5000; i++)
		kit_add(&text, "a");
	kit_add(&text, "b\" };");
	struct policy_world *w = kit_world(text.p, NULL, NULL, POLICY_STRICT, &e);
	assert_non_null(w);
	struct policy_request *r = request(w);
	memset(many, 'a', 100000);
	const struct policy_field f = {"s", policy_string(r, many, 100000)};
	policy_set_context(r, policy_record(r, &f, 1));
	assert_int_equal(code_of(r), ERR_LIMIT);
	/* The next decision has its own budget. */
	const struct policy_field g = {"s", policy_string(r, many, 5000)};
	policy_set_context(r, policy_record(r, &g, 1));
	assert_int_equal(code_of(r), 0);
	policy_request_free(r);
	policy_world_free(w);
	free(text.p);
	free(many);
}

static void memory_is_bounded(void **state)
{
	struct err e;
	struct policy_world *w = kit_world(PERMIT, NULL, NULL, POLICY_STRICT, &e);
	struct policy_request *r = request(w);
	char *big = calloc(1, 1 << 20);
	(void)state;
	for (int i = 0; i < 100; i++)
		policy_string(r, big, 1 << 20);
	assert_int_equal(code_of(r), ERR_LIMIT);
	policy_request_free(r);
	policy_world_free(w);
	free(big);
}

/* --- the index ---------------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252u;
static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % n;
}

static void random_scope(struct kit_text *out, const char *var, const char *type, const char *group)
{
	switch (rnd(6)) {
	case 0:
		kit_add(out, "%s == %s::\"%u\"", var, type, rnd(6));
		break;
	case 1:
		kit_add(out, "%s in %s::\"%u\"", var, group, rnd(6));
		break;
	case 2:
		kit_add(out, "%s is %s", var, rnd(2) ? type : group);
		break;
	case 3:
		kit_add(out, "%s is %s in %s::\"%u\"", var, rnd(3) ? type : group, group, rnd(6));
		break;
	default:
		kit_add(out, "%s", var);
	}
}

static void random_action(struct kit_text *out)
{
	switch (rnd(4)) {
	case 0:
		kit_add(out, "action == Action::\"%u\"", rnd(6));
		break;
	case 1:
		kit_add(out, "action in Action::\"%u\"", rnd(6));
		break;
	case 2:
		kit_add(out, "action in [");
		for (unsigned i = rnd(4); i > 0; i--)
			kit_add(out, "Action::\"%u\", ", rnd(6));
		kit_add(out, "]");
		break;
	default:
		kit_add(out, "action");
	}
}

static void random_entity(struct kit_text *out, const char *type, unsigned id, const char *group, unsigned above)
{
	kit_add(out, ",{\"uid\":{\"type\":\"%s\",\"id\":\"%u\"},\"attrs\":{},\"parents\":[",
							   type, id);
	for (unsigned i = 0, k = rnd(3); i < k; i++)
		kit_add(out, "%s{\"type\":\"%s\",\"id\":\"%u\"}", i ? "," : "", group,
							 above ? id + 1 + rnd(above) : rnd(6));
	kit_add(out, "]}");
}

struct seen {
	unsigned char by_index[4096], by_scan[4096];
};

static bool mark(void *to, uint32_t policy)
{
	((struct seen *)to)->by_index[policy] = 1;
	return true;
}

static void compare(struct policy_request *r, size_t n)
{
	struct seen s = {0};
	assert_true(index_walk(r, &s, mark));
	for (size_t i = 0; i < n; i++)
		s.by_scan[i] = !r->w->pol[i].template && scope_holds(r, &r->w->pol[i]);
	assert_memory_equal(s.by_index, s.by_scan, n);
}

static void index_finds_what_a_scan_finds(void **state)
{
	static const size_t sizes[] = {1, 7, 8, 9, 20, 100, 1000, 4000};
	(void)state;
	for (size_t round = 0; round < 4 * N(sizes); round++) {
		size_t size = sizes[round % N(sizes)];
		struct kit_text text = {0}, entities = {0};
		struct policy_result res;
		struct err e;
		for (size_t i = 0; i < size; i++) {
			kit_add(&text, "permit(");
			random_scope(&text, "principal", "U", "G");
			kit_add(&text, ", ");
			random_action(&text);
			kit_add(&text, ", ");
			random_scope(&text, "resource", "D", "F");
			kit_add(&text, ");\n");
		}
		kit_add(&entities, "[{\"uid\":{\"type\":\"Z\",\"id\":\"\"},\"attrs\":{},\"parents\":[]}");
		for (unsigned i = 0; i < 5; i++) {
			random_entity(&entities, "U", i, "G", 0);
			random_entity(&entities, "D", i, "F", 0);
			random_entity(&entities, "G", i, "G", 6 - i);
			random_entity(&entities, "F", i, "F", 6 - i);
			random_entity(&entities, "Action", i, "Action", 6 - i);
		}
		kit_add(&entities, "]");
		struct policy_world *w = kit_world(text.p, entities.p, NULL, POLICY_STRICT, &e);
		if (!w)
			fail_msg("%s", e.text);
		struct policy_request *r = request(w);
		for (int q = 0; q < 60; q++) {
			char id[3][4];
			for (int k = 0; k < 3; k++)
				snprintf(id[k], sizeof id[k], "%u", rnd(7));
			policy_set_principal(r, rnd(5) ? "U" : "G", id[0], 1);
			policy_set_action(r, "Action", id[1], 1);
			policy_set_resource(r, rnd(5) ? "D" : "F", id[2], 1);
			assert_int_equal(policy_decide(r, POLICY_STRICT, &res, &e), 0);
			compare(r, size);
			for (size_t i = 1; i < res.n_reasons; i++)
				assert_true(res.reasons[i - 1] < res.reasons[i]);
		}
		policy_request_free(r);
		policy_world_free(w);
		free(text.p);
		free(entities.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions_have_their_value),
		cmocka_unit_test(permits_forbids_and_errors_join),
		cmocka_unit_test(result_tells_why),
		cmocka_unit_test(missing_facts_fail),
		cmocka_unit_test(wrong_facts_deny),
		cmocka_unit_test(given_entities_join_loaded_ones),
		cmocka_unit_test(parents_of_parents_are_refused),
		cmocka_unit_test(world_must_be_sealed),
		cmocka_unit_test(work_is_cut_off),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(index_finds_what_a_scan_finds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
