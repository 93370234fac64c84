/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy texts: what is accepted, what is refused and where, that nesting is bounded without
 * recursion, that a text loads whole or not at all, and that what is printed reads back as the same.
 *
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "tests/unit/unit_policy_kit.h"

#include "proto/limits.h"

#define N(f) (sizeof(f) / sizeof((f)[0]))

static int load(const char *text, size_t len, struct policy_world **out, struct err *e)
{
	int rc = policy_world_new(out, e);
	return rc ? rc : policy_load_text(*out, "t", text, len, e);
}

static bool loads(const char *text, struct err *e)
{
	struct policy_world *w;
	int rc = load(text, strlen(text), &w, e);
	policy_world_free(w);
	return rc == 0;
}

/* Expressions that parse; each must also survive printing. */
static const char *const good[] = {
	"true",
	"1 == 1",
	"-9223372036854775808 == - 9223372036854775808",
	"----1 == 1",
	"!!!!true",
	"1 + 2 - 3 * 4 < 5 - -6",
	"-(5) == -(-5)",
	"(-5).a == 1",
	"-5.a == 1",
	"--5 == 5",
	"-(-(-5)) == 1",
	"1 - (2 - 3) == 1 - 2 - 3",
	"2 * (3 + 4) == (2 * 3) + 4",
	"(1 < 2) == true",
	"true && false || true && !false",
	"(true || false) && (false || true)",
	"true && (false && true)",
	"if true then 1 == 1 else if false then true else false || true",
	"(if true then 1 else 2) + 1 == 2",
	"!(if true then true else false)",
	"principal == User::\"a\"",
	"N :: M::User::\"\\u{1F600}\\n\\x41\\0\" == resource",
	"permit::\"a\" == when::\"b\"",
	"principal.a.b[\"c d\"][\"if\"].permit == 1",
	"context has a",
	"context has a.b.c",
	"context has \"a b\"",
	"(context has a) == true",
	"context.s like \"a*b\\*c**\\\"\"",
	"\"\" like \"\"",
	"principal is User",
	"principal is N::User in Group::\"g\"",
	"principal is User in [Group::\"g\", Group::\"h\"] && true",
	"(principal is User) == true",
	"principal in [principal, resource,]",
	"[] == [1, \"a\", [true], {}]",
	"{} == {a: 1, \"b c\": [2], \"if\": {x: {y: 3}},}",
	"{\"\": 1} has \"\"",
	"[1, 2].contains(1) && [1].containsAll([]) || [2].containsAny([3]) && [].isEmpty()",
	"principal.hasTag(\"k\") && principal.getTag(\"k\") == 1",
	"ip(\"10.0.0.1\").isInRange(ip(\"10.0.0.0/8\"))",
	"ip().isIpv4() && ip(1, 2).isIpv6(3)",
	"decimal(\"1.0\").lessThan(decimal(\"2.0\"))",
	"datetime(\"2024-01-01\").offset(duration(\"1d\")).toDate().durationSince(context.t).toMilliseconds() > "
	"5",
	"[ip(\"zz\")] == [if true then 1 else 2, 1 + 1, true && false]",
	"[[[[[1]]]]].contains([[[[1]]]])",
	"\"a\nb\t\" == \"\\'\\\"\\\\\"",
	"principal.isIpv4 == principal.contains",
	"true // comment",
	"\xc2\xa0true\xe2\x80\x83",
	"1 != 2 && 1 >= 2 && 1 <= 2 && 1 > 2",
	"\"\\u{10_FFFF}\" == \"\xf4\x8f\xbf\xbf\"",
	"action in [Action::\"a\"] && action == Action::\"b\"",
	"1 * -1 == -1 * 1",
	"{a: 1}.a == {\"a\": 1}[\"a\"]",
	"-context.n == !context.b",
	"!principal.b == !!true",
	"__cedarx::\"a\" == principal",
};

/* Expressions that do not parse, with the place that the message must name. */
static const struct {
	const char *expr;
	unsigned column; /* in the expression, from 1 */
} bad[] = {
	{"", 1},
	{"1 +", 4},
	{"1 1", 3},
	{"()", 2},
	{"(1", 3},
	{"[1", 3},
	{"[,]", 2},
	{"[1,,2]", 4},
	{"{a}", 3},
	{"{1: 2}", 2},
	{"{a: 1, a: 2} == {}", 1},
	{"{if: 1}", 2},
	{"{a: 1 b: 2}", 7},
	{"1 < 2 < 3", 7},
	{"1 == 1 == true", 8},
	{"1 in 2 == 3", 8},
	{"a has b has c", 1},
	{"context has a == true", 15},
	{"context has a + 1", 15},
	{"context has if", 13},
	{"context has (a)", 13},
	{"context has \"a\".b", 16},
	{"context.s like a", 16},
	{"context.s like (\"a\")", 16},
	{"principal is \"a\"", 14},
	{"principal is User::\"a\"", 20},
	{"principal is (User)", 14},
	{"!!!!!true", 1},
	{"-----1 == 1", 1},
	{"!-1 == 1", 2},
	{"-!true", 2},
	{"9223372036854775808 == 1", 1},
	{"-(9223372036854775808) == 1", 3},
	{"-9223372036854775809 == 1", 2},
	{"99999999999999999999999 == 1", 1},
	{"1 / 2 == 1", 3},
	{"1 % 2 == 1", 3},
	{"1 = 1", 3},
	{"1 & 2", 3},
	{"foo", 1},
	{"foo(1)", 1},
	{"isIpv4(1)", 1},
	{"1.ip()", 3},
	{"1.foo()", 3},
	{"N::ip(\"a\")", 1},
	{"User::a == 1", 1},
	{"[1].contains() == 1", 13},
	{"[1].contains(1, 2)", 13},
	{"[1].isEmpty(1)", 12},
	{"principal.if == 1", 11},
	{"principal[s]", 11},
	{"principal[1]", 11},
	{"principal[(\"s\")]", 11},
	{"principal.(a)", 11},
	{"principal.\"a\"", 11},
	{"?principal == principal", 1},
	{"__cedar::\"a\" == principal", 1},
	{"principal.__cedar", 11},
	{"if true then 1", 15},
	{"if true else 1", 9},
	{"true && if true then true else false", 9},
	{"1 + if true then 1 else 2", 5},
	{"\"\\q\"", 2},
	{"\"\\*\"", 2},
	{"\"\\x80\"", 2},
	{"\"\\u{110000}\"", 2},
	{"\"\\u{}\"", 2},
	{"\"\\u{D800}\"", 2},
	{"\"\\u{0000041}\"", 2},
	{"\"a\rb\"", 3},
	{"\"abc", 1},
	{"\"a\\\nb\"", 1},
	{"true;", 5},
	{"true, false", 5},
	{"#", 1},
	{"'a'", 1},
	{"true /* c */", 6},
	{"principal.\xc3\xa9", 11},
	{"(a)(1)", 2},
	{"principal(1)", 1},
	{"User::\"a\"(1)", 10},
	{"then", 1},
	{"permit == 1", 1},
	{"principal is User in", 21},
};

static void expressions_parse(void **state)
{
	char text[2000];
	struct err e;
	(void)state;
	for (size_t i = 0; i < N(good); i++) {
		snprintf(text, sizeof text, "permit(principal, action, resource) when {%s\n};", good[i]);
		if (!loads(text, &e))
			fail_msg("%s: %s", good[i], e.text);
	}
}

static void expressions_are_refused_at_their_place(void **state)
{
	static const char head[] = "permit(principal, action, resource) when {";
	char text[2000], want[64];
	struct err e;
	int wrong = 0;
	(void)state;
	for (size_t i = 0; i < N(bad); i++) {
		snprintf(text, sizeof text, "%s%s};", head, bad[i].expr);
		snprintf(want, sizeof want, "t: line 1, column %zu: ", sizeof head - 1 + bad[i].column);
		if (loads(text, &e))
			fail_msg("accepted: %s", bad[i].expr);
		if (e.code == ERR_CONFIG && strncmp(e.text, want, strlen(want)) == 0)
			continue;
		print_error("%s: wanted %s got %s\n", bad[i].expr, want, e.text);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static const char *const good_policies[] = {
	"",
	" // only a comment",
	"permit(principal,action,resource,);",
	"forbid (principal, action, resource) when {true} unless {false} when {true};",
	"@id(\"a \\\"b\\\"\") @if @x(\"\") permit(principal == User::\"a\", action == Action::\"x\", resource in "
	"N::Folder::\"f\");",
	"permit(principal is User, action in Action::\"x\", resource is N::M::Doc in Folder::\"f\");",
	"permit(principal in ((Group::\"g\")), action in [Action::\"a\", (N::Action::\"b\"),], resource == "
	"(Doc::\"d\"));",
	"permit(principal, action in [], resource); forbid(principal, action, resource);",
	"permit(principal == ?principal, action, resource is Doc in ?resource);",
	"permit(principal in ?principal, action, resource == ?resource) when {true};",
};

static const struct {
	const char *text, *expected;
} bad_policies[] = {
	{"permit(principal,action,resource)", "expected `when`, `unless` or `;`, found the end of the text"},
	{"permit(action,principal,resource);", "expected `principal`"},
	{"permit(principal,action);", "expected `,`"},
	{"permit(principal,action,resource,context);", "expected `)`"},
	{"permit(principal,action,resource,,);", "expected `)`"},
	{"permit();", "expected `principal`"},
	{"Permit(principal,action,resource);", "expected `permit` or `forbid`"},
	{"permit(principal,action,resource);;", "expected `permit` or `forbid`"},
	{"permit(principal,action,resource) where {true};", "expected `when`, `unless` or `;`"},
	{"permit(principal,action,resource) when {};", "expected an operand"},
	{"permit(principal,action,resource) when true;", "expected `{`"},
	{"permit(principal:User,action,resource);", "expected `,`, found `:`"},
	{"permit(principal = User::\"a\",action,resource);", "expected `,`"},
	{"permit(principal != User::\"a\",action,resource);", "expected `,`"},
	{"permit(principal in [User::\"a\"],action,resource);", "expected an entity"},
	{"permit(principal is User == User::\"a\",action,resource);", "expected `,`"},
	{"permit(principal is User::\"a\",action,resource);", "expected an entity type"},
	{"permit(principal == principal,action,resource);", "expected `::` and a string"},
	{"permit(principal == ?resource,action,resource);", "template slot of this variable"},
	{"permit(principal is ?principal,action,resource);", "expected an identifier"},
	{"permit(principal,action in ?action,resource);", "actions have no template slot"},
	{"permit(principal,action is Action,resource);", "an action has no `is`"},
	{"permit(principal,action == User::\"x\",resource);", "expected an entity of type Action"},
	{"permit(principal,action == Action::X::\"x\",resource);", "expected an entity of type Action"},
	{"permit(principal,action == [Action::\"x\"],resource);", "expected an action"},
	{"permit(principal,action in [[Action::\"x\"]],resource);", "expected an action"},
	{"permit(principal,action in [Action::\"x\", User::\"y\"],resource);", "type Action"},
	{"permit(principal,action,resource) when { ?resource == resource };",
	 "expected an operand, found `?resource`"},
	{"@a @a permit(principal,action,resource);", "found the same one twice"},
	{"@a(1) permit(principal,action,resource);", "expected a string"},
	{"@\"a\" permit(principal,action,resource);", "annotation's name"},
	{"@a::b permit(principal,action,resource);", "expected `permit`"},
	{"permit(principal == __cedar::\"a\",action,resource);", "reserved word"},
	{"permit(principal == User::\"\\*\",action,resource);", "expected a valid escape"},
	{"permit(principal,action,resource) when {true} /", "expected `when`"},
	{"\xef\xbb\xbfpermit(principal,action,resource);", "no token"},
	{"permit(principal,action,resource)\xff;", "expected UTF-8 text, found the byte 0xff"},
	{"// \xc0\x80", "expected UTF-8"},
	{"// \xed\xa0\x80", "expected UTF-8"},
};

static void policies_parse_or_say_what_is_expected(void **state)
{
	struct err e;
	(void)state;
	for (size_t i = 0; i < N(good_policies); i++)
		if (!loads(good_policies[i], &e))
			fail_msg("%s: %s", good_policies[i], e.text);
	for (size_t i = 0; i < N(bad_policies); i++) {
		if (loads(bad_policies[i].text, &e))
			fail_msg("accepted: %s", bad_policies[i].text);
		if (!strstr(e.text, bad_policies[i].expected))
			fail_msg("%s: wanted %s, got %s", bad_policies[i].text, bad_policies[i].expected, e.text);
	}
}

static void message_names_line_and_column(void **state)
{
	struct err e;
	(void)state;
	assert_false(loads("// \xc3\xa9\npermit(principal, action,\n  \"\xc3\xa9\" resource);", &e));
	assert_string_equal(e.text, "t: line 3, column 3: expected `resource`, found `\\x22\\xc3\\xa9\\x22`");
	assert_false(loads("permit(principal,action,resource) when { \"\xc3\xa9\" == };", &e));
	assert_string_equal(e.text, "t: line 1, column 49: expected an operand, found `}`");
}

/* --- nesting ---------------------------------------------------------------------------------------------
 */

struct text {
	char *p;
	size_t n;
};

static void put(struct text *t, const char *s, int times)
{
	size_t len = strlen(s);
	t->p = realloc(t->p, t->n + len * (size_t)times + 1);
	assert_non_null(t->p);
	for (int i = 0; i < times; i++, t->n += len)
		memcpy(t->p + t->n, s, len);
	t->p[t->n] = 0;
}

static bool nested(const char *open, const char *middle, const char *close, int times, struct err *e)
{
	struct text t = {0};
	put(&t, "permit(principal, action, resource) when {", 1);
	put(&t, open, times);
	put(&t, middle, 1);
	put(&t, close, times);
	put(&t, "};", 1);
	bool ok = loads(t.p, e);
	free(t.p);
	return ok;
}

static void nesting_is_accepted_to_the_limit(void **state)
{
	struct err e = {0};
	static const struct {
		const char *open, *middle, *close;
	} shapes[] = {
		{"(", "true", ")"},
		{"[", "1", "]"},
		{"{a:", "1", "}"},
		{"if ", "true", " then true else false"},
		{"if true then ", "true", " else false"},
		{"if true then true else ", "true", ""},
		{"!(", "true", ")"},
		{"-(", "1", ")"},
		{"[1].contains(", "1", ")"},
		{"ip(", "\"1.1.1.1\"", ")"},
		{"1 + (", "1", ")"},
	};
	(void)state;
	for (size_t i = 0; i < N(shapes); i++) {
		if (!nested(shapes[i].open, shapes[i].middle, shapes[i].close, LIMIT_POLICY_DEPTH - 1, &e))
			fail_msg("%s: %s", shapes[i].open, e.text);
		assert_false(nested(shapes[i].open, shapes[i].middle, shapes[i].close, LIMIT_POLICY_DEPTH, &e));
		assert_non_null(strstr(e.text, "too deep"));
		assert_false(nested(shapes[i].open, shapes[i].middle, shapes[i].close, 20000, &e));
		assert_non_null(strstr(e.text, "too deep"));
	}
}

static void chains_are_long(void **state)
{
	static const char *const links[] = {"true && ", "true || ", "principal.n == 1 && ", "context has a.b || ",
										"!true && "};
	struct err e = {0};
	(void)state;
	for (size_t i = 0; i < N(links); i++)
		if (!nested(links[i], "true", "", 20000, &e))
			fail_msg("%s: %s", links[i], e.text);
	assert_true(nested("1 + ", "1 == 1", "", 20000, &e));
	assert_true(nested("", "context", ".a", 20000, &e));
	assert_false(nested("1 == 1 && ", "true", "", LIMIT_POLICY_NODES / 4, &e));
	assert_non_null(strstr(e.text, "split it"));
}

static void size_is_bounded(void **state)
{
	struct text t = {0};
	struct err e;
	(void)state;
	put(&t, " ", (int)LIMIT_POLICY_TEXT_BYTES);
	assert_true(loads(t.p, &e));
	put(&t, " ", 1);
	assert_false(loads(t.p, &e));
	assert_int_equal(e.code, ERR_LIMIT);
	free(t.p);
}

/* --- printing ----------------------------------------------------------------------------------- */

static void print_all(struct policy_world *w, struct text *out)
{
	out->n = 0;
	put(out, "", 1);
	for (size_t i = 0; i < policy_count(w); i++) {
		char *text;
		size_t len;
		struct err e;
		assert_int_equal(policy_print(w, i, &text, &len, &e), 0);
		assert_int_equal(strlen(text), len);
		put(out, text, 1);
		free(text);
	}
}

static void check_print(const char *text)
{
	struct policy_world *w;
	struct text once = {0}, twice = {0};
	struct err e;
	assert_int_equal(load(text, strlen(text), &w, &e), 0);
	print_all(w, &once);
	policy_world_free(w);
	if (load(once.p, once.n, &w, &e))
		fail_msg("%s\nprinted as %s\n%s", text, once.p, e.text);
	print_all(w, &twice);
	policy_world_free(w);
	assert_string_equal(once.p, twice.p);
	free(once.p);
	free(twice.p);
}

static void printing_reads_back(void **state)
{
	char text[2000];
	(void)state;
	for (size_t i = 0; i < N(good_policies); i++)
		check_print(good_policies[i]);
	for (size_t i = 0; i < N(good); i++) {
		snprintf(text, sizeof text, "forbid(principal, action, resource) unless {%s\n};", good[i]);
		check_print(text);
	}
}

static void printed_form(void **state)
{
	static const char text[] =
		"@id(\"x\")@y permit(principal is U in G::\"g\",action "
		"in[Action::\"a\"],resource==?resource)when{((1+2)*3==-(4))&&"
		"(principal.a[\"b c\"]has d.e||!(context.s "
		"like\"a\\**\"))}unless{if(true)then[{\"a\":1}]==[]else(principal is V in[G::\"h\"])};";
	static const char want[] =
		"@id(\"x\")\n@y\npermit (principal is U in G::\"g\", action in [Action::\"a\"], resource == "
		"?resource)\n"
		"when { (1 + 2) * 3 == -(4) && (principal.a[\"b c\"] has d.e || !(context.s like \"a\\**\")) }\n"
		"unless { if true then [{a: 1}] == [] else principal is V in [G::\"h\"] };\n";
	struct policy_world *w;
	struct text out = {0};
	struct err e;
	(void)state;
	assert_int_equal(load(text, strlen(text), &w, &e), 0);
	print_all(w, &out);
	assert_string_equal(out.p, want);
	policy_world_free(w);
	free(out.p);
}

/* --- sets of policies --------------------------------------------------------------------------- */

static void load_is_all_or_nothing(void **state)
{
	static const char one[] = "@id(\"first\") permit(principal,action,resource);";
	static const char broken[] =
		"forbid(principal,action,resource); permit(principal == ?principal,action,resource); "
		"permit(principal,action,resource) when { 1 + };";
	struct policy_world *w;
	struct err e;
	unsigned line, column;
	const char *name;
	(void)state;
	assert_int_equal(load(one, strlen(one), &w, &e), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_not_equal(policy_load_text(w, "broken", broken, strlen(broken), &e), 0);
		assert_int_equal(policy_count(w), 1);
	}
	assert_int_equal(policy_load_text(w, "two", "\n  forbid(principal,action,resource);", 37, &e), 0);
	assert_int_equal(policy_count(w), 2);
	assert_string_equal(policy_id(w, 0), "policy0");
	assert_string_equal(policy_id(w, 1), "policy1");
	assert_string_equal(policy_annotation(w, 0, "id"), "first");
	assert_null(policy_annotation(w, 1, "id"));
	assert_true(policy_is_forbid(w, 1));
	policy_place(w, 1, policy_offset(w, 1), &name, &line, &column);
	assert_string_equal(name, "two");
	assert_int_equal(line, 2);
	assert_int_equal(column, 3);
	assert_int_equal(policy_world_seal(w, &e), 0);
	assert_int_not_equal(policy_load_text(w, "late", one, strlen(one), &e), 0);
	assert_int_not_equal(policy_world_seal(w, &e), 0);
	policy_world_free(w);
}

static void links_fill_templates(void **state)
{
	static const char text[] =
		"permit(principal == ?principal, action, resource in ?resource); permit(principal,action,resource);";
	const struct policy_slot p = {"principal", "User", "a", 1}, r = {"resource", "Folder", "f", 1},
							 odd = {"action", "Action", "x", 1};
	const struct policy_slot both[] = {p, r}, same[] = {p, p}, three[] = {p, r, odd},
							 bad_type[] = {p, {"resource", "Fol der", "f", 1}};
	struct policy_world *w;
	struct err e;
	char *printed;
	size_t len;
	(void)state;
	assert_int_equal(load(text, strlen(text), &w, &e), 0);
	assert_true(policy_is_template(w, 0));
	assert_int_not_equal(policy_link(w, "policy0", "l", both, 1, &e), 0);
	assert_int_not_equal(policy_link(w, "policy0", "l", same, 2, &e), 0);
	assert_int_not_equal(policy_link(w, "policy0", "l", three, 3, &e), 0);
	assert_int_not_equal(policy_link(w, "policy0", "l", bad_type, 2, &e), 0);
	assert_int_not_equal(policy_link(w, "policy1", "l", NULL, 0, &e), 0); /* no template */
	assert_int_not_equal(policy_link(w, "nope", "l", both, 2, &e), 0);
	assert_int_not_equal(policy_link(w, "policy0", "policy0", both, 2, &e), 0);
	assert_int_not_equal(policy_link(w, "policy0", "policy1", both, 2, &e), 0);
	assert_int_equal(policy_count(w), 2);
	assert_int_equal(policy_link(w, "policy0", "l", both, 2, &e), 0);
	assert_int_not_equal(policy_link(w, "policy0", "l", both, 2, &e), 0);
	assert_false(policy_is_template(w, 2));
	assert_int_equal(policy_print(w, 2, &printed, &len, &e), 0);
	assert_string_equal(printed, "permit (principal == User::\"a\", action, resource in Folder::\"f\");\n");
	free(printed);
	/* A text whose next number is taken by a link cannot load half. */
	assert_int_equal(policy_link(w, "policy0", "policy4", both, 2, &e), 0);
	assert_int_not_equal(policy_load_text(w, "more", "permit(principal,action,resource);", 34, &e), 0);
	assert_int_equal(policy_count(w), 4);
	policy_world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions_parse),
		cmocka_unit_test(expressions_are_refused_at_their_place),
		cmocka_unit_test(policies_parse_or_say_what_is_expected),
		cmocka_unit_test(message_names_line_and_column),
		cmocka_unit_test(nesting_is_accepted_to_the_limit),
		cmocka_unit_test(chains_are_long),
		cmocka_unit_test(size_is_bounded),
		cmocka_unit_test(printing_reads_back),
		cmocka_unit_test(printed_form),
		cmocka_unit_test(load_is_all_or_nothing),
		cmocka_unit_test(links_fill_templates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
