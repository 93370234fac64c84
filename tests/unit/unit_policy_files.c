/* SPDX-License-Identifier: Apache-2.0
 *
 * Entities and schemas: what is accepted, what is refused in which mode, integers and characters
 * that JSON readers lose, cycles and limits, action groups from the schema.
 *
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "tests/unit/unit_policy_kit.h"

#include "proto/limits.h"

#define N(f)      (sizeof(f) / sizeof((f)[0]))
#define PERMIT(e) "permit(principal, action, resource) when { " e " };"

/* 1 allow, 0 deny, -1 does not load. */
static int decide(const char *policies, const char *entities, const char *schema, const char *action,
				  const char *context, enum policy_mode mode, struct err *e)
{
	struct policy_request *r;
	struct policy_result res;
	struct policy_world *w = kit_world(policies, entities, schema, mode, e);
	int answer = -1;
	if (w && policy_request_new(w, &r, e) == 0) {
		policy_set_principal(r, "U", "u", 1);
		policy_set_action(r, "Action", action, strlen(action));
		policy_set_resource(r, "D", "d", 1);
		policy_set_context(r, context ? policy_json(r, context, strlen(context), mode)
									  : policy_record(r, NULL, 0));
		if (policy_decide(r, mode, &res, e) == 0)
			answer = res.allow;
		policy_request_free(r);
	}
	policy_world_free(w);
	return answer;
}

static int decide_json(const char *expr, const char *entities)
{
	char text[500];
	struct err e;
	snprintf(text, sizeof text, PERMIT("%s"), expr);
	int a = decide(text, entities, NULL, "a", NULL, POLICY_STRICT, &e);
	if (a < 0)
		print_error("%s\n", e.text);
	return a;
}

#define ENTITY(attrs, parents, more)                                                                         \
	"[{\"uid\":{\"type\":\"U\",\"id\":\"u\"},\"attrs\":{" attrs "},\"parents\":[" parents "]" more "}]"
#define UID(t, i) "{\"type\":\"" t "\",\"id\":\"" i "\"}"

static void values_are_exact(void **state)
{
	(void)state;
	assert_int_equal(
		decide_json("principal.n == 9223372036854775807", ENTITY("\"n\":9223372036854775807", "", "")), 1);
	assert_int_equal(
		decide_json("principal.n == -9223372036854775808", ENTITY("\"n\":-9223372036854775808", "", "")), 1);
	assert_int_equal(decide_json("principal.n == 9007199254740993", ENTITY("\"n\":9007199254740993", "", "")),
					 1);
	assert_int_equal(decide_json("principal.n != 9007199254740992", ENTITY("\"n\":9007199254740993", "", "")),
					 1);
	assert_int_equal(decide_json("principal.s == \"\\u{1f600}\\u{e9}\\0\"",
								 ENTITY("\"s\":\"\\ud83d\\ude00\\u00e9\\u0000\"", "", "")),
					 1);
	assert_int_equal(decide_json("principal.s == \"\\\\u0000\"", ENTITY("\"s\":\"\\\\u0000\"", "", "")), 1);
	/* a NUL in a key, and the characters that could stand for it, in every notation */
	assert_int_equal(decide_json("principal[\"a\\0b\"] == 1", ENTITY("\"a\\u0000b\":1", "", "")), 1);
	assert_int_equal(decide_json("principal[\"\\0\"] == \"\\u{fdd0}\\u{fdd1}\\u{fdd2}\"",
								 ENTITY("\"\\u0000\":\"\xef\xb7\x90\\uFdd1\\ufDD2\"", "", "")),
					 1);
	assert_int_equal(
		decide_json("principal.r == {a: [1, {b: U::\"x\"}], c: {}}",
					ENTITY("\"r\":{\"c\":{},\"a\":[{\"b\":{\"__entity\":" UID("U", "x") "}},1,1]}", "", "")),
		1);
	assert_int_equal(
		decide_json("principal.i.isInRange(ip(\"10.0.0.0/8\")) && principal.d == decimal(\"1.5\")",
					ENTITY("\"i\":{\"__extn\":{\"fn\":\"ip\",\"arg\":\"10.1.1.1\"}},\"d\":{\"__extn\":{"
						   "\"fn\":\"decimal\",\"arg\":\"1.5\"}}",
						   "", "")),
		1);
	assert_int_equal(
		decide_json("principal.t == datetime(\"2024-01-02\")",
					ENTITY("\"t\":{\"__extn\":{\"fn\":\"offset\",\"args\":[{\"__extn\":{\"fn\":\"datetime\","
						   "\"arg\":\"2024-01-01\"}},{\"__extn\":{\"fn\":\"duration\",\"arg\":\"1d\"}}]}}",
						   "", "")),
		1);
	assert_int_equal(decide_json("principal.getTag(\"k\") == [1] && !principal.hasTag(\"n\")",
								 ENTITY("\"n\":1", "", ",\"tags\":{\"k\":[1]}")),
					 1);
}

static const struct {
	const char *json;
	bool cedar, strict;
	const char *says; /* in the strict message */
} lists[] = {
	{"[]", true, true, NULL},
	{ENTITY("", "", ""), true, true, NULL},
	{ENTITY("", UID("G", "g") "," UID("G", "g"), ",\"tags\":{}"), true, true, NULL},
	{"[{\"uid\":{\"__entity\":" UID("U", "u") "},\"attrs\":{},\"parents\":[{\"__entity\":" UID("G",
																							   "g") "}]}]",
	 true, true, NULL},
	{ENTITY("", "", ",\"extra\":1"), true, false, "found `extra`"},
	{"[{\"uid\":{\"type\":\"U\",\"id\":\"u\",\"z\":1},\"attrs\":{},\"parents\":[]}]", true, false,
	 "only type and id"},
	{ENTITY("\"a\":{\"__entity\":5}", "", ""), true, false, "whole escape"},
	{ENTITY("\"a\":{\"__entity\":" UID("U", "u") ",\"b\":1}", "", ""), true, false, "whole escape"},
	{ENTITY("\"a\":{\"__extn\":{\"fn\":\"ip\",\"arg\":\"1.1.1.1\"},\"b\":1}", "", ""), true, false,
	 "whole escape"},
	{ENTITY("\"a\":{\"__extn\":{\"fn\":\"ip\",\"arg\":\"1.1.1.1\",\"z\":1}}", "", ""), true, false,
	 "only fn and arg"},
	{"[{\"uid\":" UID("U", "u") ",\"attrs\":{},\"parents\":[]},{\"uid\":" UID(
		 "U", "u") ",\"attrs\":{},\"parents\":[]}]",
	 true, false, "found it again"},
	{"[{\"uid\":" UID("U", "u") ",\"attrs\":{},\"parents\":[]},{\"uid\":" UID(
		 "U", "u") ",\"attrs\":{\"a\":1},\"parents\":[]}]",
	 false, false, "found it again"},
	{"", false, false, "expected JSON"},
	{"{}", false, false, "list of entities"},
	{"[1]", false, false, "expected an object"},
	{"[] []", false, false, "expected JSON"},
	{"[{\"attrs\":{},\"parents\":[]}]", false, false, "expected an object with uid"},
	{"[{\"uid\":" UID("U", "u") ",\"attrs\":{}}]", false, false, "expected an object with uid"},
	{"[{\"uid\":" UID("U", "u") ",\"parents\":[]}]", false, false, "expected an object with uid"},
	{ENTITY("", "", ",\"tags\":null"), false, false, "expected an object with uid"},
	{"[{\"uid\":" UID("U", "u") ",\"attrs\":[],\"parents\":[]}]", false, false,
	 "expected an object with uid"},
	{"[{\"uid\":\"U::\\\"u\\\"\",\"attrs\":{},\"parents\":[]}]", false, false, "expected an entity"},
	{"[{\"uid\":" UID("U", "u") ",\"attrs\":{},\"attrs\":{},\"parents\":[]}]", false, false, "duplicate"},
	{ENTITY("\"a\":1,\"a\":1", "", ""), false, false, "duplicate"},
	{ENTITY("\"a\":{\"b\":1,\"b\":2}", "", ""), false, false, "duplicate"},
	{ENTITY("\"a\":null", "", ""), false, false, "null"},
	{ENTITY("\"a\":1.5", "", ""), false, false, "64 bits"},
	{ENTITY("\"a\":1.0", "", ""), false, false, "64 bits"},
	{ENTITY("\"a\":1e3", "", ""), false, false, "64 bits"},
	{ENTITY("\"a\":9223372036854775808", "", ""), false, false, "expected JSON"},
	{ENTITY("\"a\":[{\"b\":null}]", "", ""), false, false, "null"},
	{ENTITY("\"a\":{\"__expr\":\"1\"}", "", ""), false, false, "__expr"},
	{ENTITY("\"a\":{\"__extn\":{\"fn\":\"ip\",\"arg\":\"1.1.1\"}}", "", ""), false, false,
	 "not an IP address"},
	{ENTITY("\"a\":{\"__extn\":{\"fn\":\"nope\",\"arg\":\"1\"}}", "", ""), false, false, "expected ip"},
	{ENTITY("\"a\":{\"__extn\":{\"fn\":\"ip\",\"arg\":1}}", "", ""), false, false, "type error"},
	{ENTITY("\"a\":{\"__extn\":{\"fn\":\"ip\",\"args\":[]}}", "", ""), false, false, "wrong number"},
	{ENTITY("\"a\":{\"__extn\":{\"fn\":\"ip\",\"arg\":[\"1.1.1.1\"]}}", "", ""), false, false, "type error"},
	{ENTITY("\"a\":{\"__entity\":" UID("U ", "u") "}", "", ""), false, false, "expected an entity type"},
	{ENTITY("\"a\":{\"__entity\":" UID("a::if", "u") "}", "", ""), false, false, "entity type"},
	{ENTITY("\"a\":{\"__entity\":" UID("__cedar::a", "u") "}", "", ""), false, false, "entity type"},
	{ENTITY("\"a\":{\"__entity\":" UID("", "u") "}", "", ""), false, false, "entity type"},
	{ENTITY("\"a\":{\"__entity\":" UID("a::", "u") "}", "", ""), false, false, "entity type"},
	{ENTITY("", UID("U", "u"), ""), false, false, "cycle"},
	{"[{\"uid\":" UID("Action", "a") ",\"attrs\":{},\"parents\":[" UID("U", "u") "]}]", false, false,
	 "an action as the parent"},
	{"[{\"uid\":" UID("A", "1") ",\"attrs\":{},\"parents\":[" UID("A", "2") "]},{\"uid\":" UID(
		 "A",
		 "2") ",\"attrs\":{},\"parents\":[" UID("A",
												"3") "]},"
													 "{\"uid\":" UID(
														 "A",
														 "3") ",\"attrs\":{},\"parents\":[" UID("A",
																								"1") "]}]",
	 false, false, "cycle"},
};

static void lists_load_or_say_why(void **state)
{
	struct err e = {0};
	(void)state;
	for (size_t i = 0; i < N(lists); i++)
		for (int strict = 0; strict < 2; strict++) {
			struct policy_world *w =
				kit_world("", lists[i].json, NULL, strict ? POLICY_STRICT : POLICY_CEDAR, &e);
			if ((w != NULL) != (strict ? lists[i].strict : lists[i].cedar))
				fail_msg("%s: %s", lists[i].json, w ? "accepted" : e.text);
			if (!w && strict && !strstr(e.text, lists[i].says))
				fail_msg("%s: wanted %s, got %s", lists[i].json, lists[i].says, e.text);
			policy_world_free(w);
		}
}

/* A list with a bad second entity leaves the world as it was. */
static void entities_are_all_or_nothing(void **state)
{
	static const char one[] = "[{\"uid\":" UID("U", "1") ",\"attrs\":{},\"parents\":[]}]";
	static const char bad[] = "[{\"uid\":" UID("U", "2") ",\"attrs\":{},\"parents\":[]},{\"uid\":" UID(
		"U", "3") ",\"attrs\":{\"a\":null},\"parents\":[]}]";
	struct policy_world *w;
	struct err e;
	(void)state;
	assert_int_equal(policy_world_new(&w, &e), 0);
	assert_int_equal(policy_load_entities(w, "one", one, strlen(one), POLICY_STRICT, &e), 0);
	assert_int_not_equal(policy_load_entities(w, "bad", bad, strlen(bad), POLICY_STRICT, &e), 0);
	assert_non_null(strstr(e.text, "entity 2 of the list, U::'3'"));
	assert_int_equal(policy_entity_count(w), 1);
	assert_true(policy_has_entity(w, "U", "1", 1));
	assert_false(policy_has_entity(w, "U", "2", 1));
	assert_int_equal(policy_world_seal(w, &e), 0);
	assert_int_not_equal(policy_load_entities(w, "late", one, strlen(one), POLICY_STRICT, &e), 0);
	policy_world_free(w);
}

static bool nested(int depth, struct err *e)
{
	struct kit_text t = {0};
	kit_add(&t, "[{\"uid\":" UID("U", "u") ",\"parents\":[],\"attrs\":{\"a\":");
	for (int i = 0; i < depth; i++)
		kit_add(&t, "[");
	for (int i = 0; i < depth; i++)
		kit_add(&t, "]");
	kit_add(&t, "}}]");
	struct policy_world *w = kit_world("", t.p, NULL, POLICY_STRICT, e);
	free(t.p);
	policy_world_free(w);
	return w != NULL;
}

static void json_is_bounded(void **state)
{
	struct err e;
	(void)state;
	assert_true(nested(LIMIT_JSON_DEPTH - 1, &e)); /* the attributes are one level themselves */
	assert_false(nested(LIMIT_JSON_DEPTH, &e));
	assert_non_null(strstr(e.text, "nested deeper than 128"));
	assert_false(nested(100000, &e));
	char *big = malloc(LIMIT_JSON_BYTES + 2);
	memset(big, ' ', LIMIT_JSON_BYTES + 1);
	big[LIMIT_JSON_BYTES + 1] = 0;
	assert_null(kit_world("", big, NULL, POLICY_STRICT, &e));
	assert_int_equal(e.code, ERR_LIMIT);
	free(big);
}

/* A long chain of parents: ancestors reach from one end to the other, without recursion. */
static void ancestors_reach_far(void **state)
{
	static const char link[] = ",{\"uid\":{\"type\":\"G\",\"id\":\"%d\"},\"attrs\":{},"
							   "\"parents\":[{\"type\":\"G\",\"id\":\"%d\"}]}";
	struct kit_text t = {0};
	(void)state;
	kit_add(&t, "[{\"uid\":" UID("U", "u") ",\"attrs\":{},\"parents\":[" UID("G", "0") "]}");
	for (int i = 0; i < 2000; i++)
		kit_add(&t, link, i, i + 1);
	kit_add(&t, "]");
	assert_int_equal(decide_json("principal in G::\"2000\" && principal in G::\"1\"", t.p), 1);
	assert_int_equal(decide_json("principal in G::\"2001\"", t.p), 0);
	free(t.p);
}

/* --- schemas ------------------------------------------------------------------------------------ */

static const char *const good_schemas[] = {
	"",
	"entity A;",
	"entity A, B in [A] = { x: Long, \"y z\"?: Set<String>, r: {}, } tags Set<A>;",
	"entity E enum [\"a\", \"a\"]; entity F in E;",
	"action a; action \"b c\", d in [a, Action::\"b\"]; action \"b\";",
	"entity A; action a appliesTo { context: {n?: Long}, resource: [A, A], principal: A, };",
	"type T = { x: U }; type U = Set<__cedar::Long>; entity A { t: T }; action a appliesTo { principal: A, "
	"resource: A, context: T };",
	"@doc(\"x\") namespace N::M { @a @if entity A { @z x: A, y: B }; action r; } entity B { x: N::M::A }; "
	"action q in N::M::Action::\"r\";",
	"namespace N { type Long2 = Long; type ipaddr = String; entity User in [N::Group, Group2] { x: Action }; "
	"entity Group; action a; } entity Group2;",
	"entity type, entity, namespace, Set, Long, tags, enum; entity X { entity: entity, \"if\": ipaddr, a: "
	"Set, b: Set<Set<Set<decimal>>>, c: datetime, d: duration };",
	"entity A in A { a: Long, a: String };",
	"action a attributes {};",
	"type A = Long; entity A; entity B { x: A };",
};

static const struct {
	const char *text, *expected;
} bad_schemas[] = {
	{"entity A", "expected `;`"},
	{"entity A,;", "identifier"},
	{"entity if;", "reserved"},
	{"entity __cedar;", "reserved"},
	{"entity \"A\";", "identifier"},
	{"entity N::A;", "expected `;`"},
	{"entity A in [B,]; entity B;", "identifier"},
	{"entity A in B;", "declared, found `B`"},
	{"entity A {,};", "identifier"},
	{"entity A {if: Long};", "reserved"},
	{"entity A {a: Long b: Long};", "`,` or `}`"},
	{"entity A = Long;", "expected `{`"},
	{"entity A tags Long {};", "expected `;`"},
	{"entity A enum [];", "a string"},
	{"entity A enum [\"x\",];", "a string"},
	{"entity A enum [\"x\"] tags Long;", "expected `;`"},
	{"entity A {a: Boolean};", "declared, found `Boolean`"},
	{"entity A {a: Set<>};", "identifier"},
	{"entity A {a: Set<Long, Long>};", "expected `>`"},
	{"entity A {a: N::A};", "declared"},
	{"entity A {a: __cedar::A};", "built-in type"},
	{"type T = T;", "cycle of types"},
	{"type T = Set<{x: U}>; type U = T;", "cycle of types"},
	{"type Long = String;", "not built in"},
	{"type T = Long", "expected `;`"},
	{"type T = X;", "declared, found `X`"},
	{"entity A; entity A;", "declared twice"},
	{"type T = Long; type T = Long;", "declared twice"},
	{"action a, a;", "declared twice"},
	{"entity Action;", "another name"},
	{"entity A {x: Action};", "declared"},
	{"entity A in Action; action a;", "declared"},
	{"namespace N {} namespace N {}", "twice"},
	{"namespace N {};", "`entity`"},
	{"namespace N { namespace M {} }", "`entity`"},
	{"namespace __cedar {}", "not reserved"},
	{"namespace N { entity A; } entity A;", "outside of the namespace"},
	{"namespace N { action a; } action a;", "outside of the namespace"},
	{"action a in b;", "action that is declared"},
	{"action a in a;", "cycle of actions"},
	{"action a in b; action b in [c]; action c in a;", "cycle of actions"},
	{"action a in [];", "identifier"},
	{"action a in N::b;", "expected `::`"},
	{"action a appliesTo {};", "`principal`"},
	{"entity A; action a appliesTo { principal: A };", "principal and resource"},
	{"entity A; action a appliesTo { principal: A, principal: A, resource: A };", "twice"},
	{"entity A; action a appliesTo { principal: [], resource: A };", "at least one"},
	{"entity A; action a appliesTo { principal: A, resource: A, context: Long };", "record as the context"},
	{"entity A; action a appliesTo { principal: A, resource: A, context: Set<Long> };", "the name of one"},
	{"entity A; action a appliesTo { principal: A, resource: T }; type T = A;", "declared, found `T`"},
	{"action a attributes {x: Long};", "expected `}`"},
	{"@a @a entity A;", "twice"},
	{"@a(1) entity A;", "a string"},
	{"@a", "`entity`"},
	{"foo A;", "`entity`"},
	{"entity A /* c */;", "expected `;`, found `/`"},
	{"action \"a\\*\";", "escape"},
};

static void schemas_load_or_say_why(void **state)
{
	struct err e = {0};
	(void)state;
	for (size_t i = 0; i < N(good_schemas); i++) {
		struct policy_world *w = kit_world("", NULL, good_schemas[i], POLICY_STRICT, &e);
		if (!w)
			fail_msg("%s: %s", good_schemas[i], e.text);
		policy_world_free(w);
	}
	for (size_t i = 0; i < N(bad_schemas); i++) {
		if (kit_world("", NULL, bad_schemas[i].text, POLICY_STRICT, &e))
			fail_msg("accepted: %s", bad_schemas[i].text);
		if (!strstr(e.text, bad_schemas[i].expected) ||
			strncmp(e.text, "test.cedarschema: line 1, column ", 33) != 0)
			fail_msg("%s: wanted %s, got %s", bad_schemas[i].text, bad_schemas[i].expected, e.text);
	}
}

static bool nested_type(int depth)
{
	struct kit_text t = {0};
	struct err e;
	kit_add(&t, "type T = ");
	for (int i = 0; i < depth; i++)
		kit_add(&t, "%s", i % 2 ? "{a:" : "Set<");
	kit_add(&t, "Long");
	for (int i = depth; i-- > 0;)
		kit_add(&t, "%s", i % 2 ? "}" : ">");
	kit_add(&t, ";");
	struct policy_world *w = kit_world("", NULL, t.p, POLICY_STRICT, &e);
	free(t.p);
	policy_world_free(w);
	return w != NULL;
}

static void schema_nesting_is_bounded(void **state)
{
	(void)state;
	assert_true(nested_type(LIMIT_POLICY_DEPTH));
	assert_false(nested_type(LIMIT_POLICY_DEPTH + 1));
	assert_false(nested_type(50000));
}

static void action_groups_come_from_the_schema(void **state)
{
	static const char schema[] =
		"entity U, D; action a in b; action b in [c]; action c; action x appliesTo { principal: U, resource: "
		"D, context: { e: U, i: ipaddr, s: Set<D>, t?: { d: decimal } } };";
	static const char group[] = "permit(principal, action in Action::\"c\", resource);";
	struct err e;
	(void)state;
	assert_int_equal(decide(group, NULL, schema, "a", NULL, POLICY_STRICT, &e), 1);
	assert_int_equal(decide(group, NULL, schema, "b", NULL, POLICY_STRICT, &e), 1);
	assert_int_equal(decide(group, NULL, schema, "x", NULL, POLICY_STRICT, &e), 0);
	assert_int_equal(decide(group, NULL, NULL, "a", NULL, POLICY_STRICT, &e), 0);
	/* an action given as an entity must be the schema's */
	assert_int_equal(
		decide(group, "[{\"uid\":" UID("Action", "a") ",\"attrs\":{},\"parents\":[" UID("Action", "b") "]}]",
			   schema, "a", NULL, POLICY_STRICT, &e),
		1);
	assert_int_equal(decide(group, "[{\"uid\":" UID("Action", "a") ",\"attrs\":{},\"parents\":[]}]", schema,
							"a", NULL, POLICY_STRICT, &e),
					 -1);
	assert_non_null(strstr(e.text, "differs from the schema"));
	assert_int_equal(
		decide(group,
			   "[{\"uid\":" UID("Action", "a") ",\"attrs\":{\"n\":1},\"parents\":[" UID("Action", "b") "]}]",
			   schema, "a", NULL, POLICY_STRICT, &e),
		-1);
	assert_int_equal(decide(group, "[{\"uid\":" UID("Action", "zz") ",\"attrs\":{},\"parents\":[]}]", schema,
							"a", NULL, POLICY_STRICT, &e),
					 -1);
	assert_non_null(strstr(e.text, "not declared"));
	/* what the schema says about a context allows short forms, and only there */
	static const char context[] = "{\"e\":" UID("U", "u") ",\"i\":\"10.0.0.1\",\"s\":[" UID(
		"D", "d") "],\"t\":{\"d\":{\"fn\":\"decimal\",\"arg\":\"1.5\"}}}";
	static const char uses[] = PERMIT("context.e == principal && context.i.isIpv4() && "
									  "context.s.contains(resource) && context.t.d == decimal(\"1.5\")");
	assert_int_equal(decide(uses, NULL, schema, "x", context, POLICY_STRICT, &e), 1);
	assert_int_equal(decide(uses, NULL, schema, "a", context, POLICY_STRICT, &e), 0);
	assert_int_equal(decide(uses, NULL, schema, "x", "{\"i\":\"10.0.0\"}", POLICY_STRICT, &e), -1);
}

static void one_schema_only(void **state)
{
	struct policy_world *w;
	struct err e;
	(void)state;
	assert_int_equal(policy_world_new(&w, &e), 0);
	assert_int_not_equal(policy_load_schema(w, "s", "entity A", 8, &e), 0);
	assert_int_equal(policy_schema_entity_count(w), 0);
	assert_int_equal(policy_load_schema(w, "s", "entity A;", 9, &e), 0);
	assert_int_not_equal(policy_load_schema(w, "s", "entity A;", 9, &e), 0);
	assert_int_equal(policy_schema_entity_count(w), 1);
	policy_world_free(w);
}

static void files_are_regular_and_small(void **state)
{
	struct policy_world *w;
	struct err e;
	char path[] = "/tmp/unit_policy_files_XXXXXX";
	int fd = mkstemp(path);
	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "permit(principal, action, resource);", 36), 36);
	assert_int_equal(policy_world_new(&w, &e), 0);
	assert_int_equal(policy_load_text_file(w, path, &e), 0);
	assert_int_equal(policy_count(w), 1);
	assert_int_not_equal(policy_load_schema_file(w, path, &e), 0);
	assert_int_not_equal(policy_load_entities_file(w, path, POLICY_STRICT, &e), 0);
	assert_int_equal(ftruncate(fd, (off_t)LIMIT_POLICY_TEXT_BYTES + 1), 0);
	assert_int_equal(policy_load_text_file(w, path, &e), ERR_LIMIT);
	assert_int_not_equal(policy_load_text_file(w, "/dev/zero", &e), 0);
	assert_non_null(strstr(e.text, "regular file"));
	assert_int_not_equal(policy_load_text_file(w, "/nonexistent/policies.cedar", &e), 0);
	assert_non_null(strstr(e.text, "/nonexistent/policies.cedar"));
	assert_int_equal(policy_count(w), 1);
	policy_world_free(w);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_exact),
		cmocka_unit_test(lists_load_or_say_why),
		cmocka_unit_test(entities_are_all_or_nothing),
		cmocka_unit_test(json_is_bounded),
		cmocka_unit_test(ancestors_reach_far),
		cmocka_unit_test(schemas_load_or_say_why),
		cmocka_unit_test(schema_nesting_is_bounded),
		cmocka_unit_test(action_groups_come_from_the_schema),
		cmocka_unit_test(one_schema_only),
		cmocka_unit_test(files_are_regular_and_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
