/* SPDX-License-Identifier: Apache-2.0
 *
 * Edge cases with the official build's answer, from the shared folder: about 200 expressions, 30
 * policy texts, 26 JSON inputs. Accepted or refused, allowed or denied, with or without an error.
 *
 * Side: tests. Trusts: the file. Owns: nothing.
 */
#include "tests/unit/unit_policy_kit.h"

#include <jansson.h>

#define WORLD                                                                                                \
	"[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{\"n\":1,\"s\":\"x\"},\"tags\":{\"k\":\"v\"},"     \
	"\"parents\":[{\"type\":\"G\",\"id\":\"g\"}]},"                                                          \
	"{\"uid\":{\"type\":\"G\",\"id\":\"g\"},\"attrs\":{},\"parents\":[{\"type\":\"G\",\"id\":\"h\"}]}]"
#define PERMIT "permit(principal,action,resource);"

enum answer { REFUSED, ALLOW, DENY, ALLOW_ERROR, DENY_ERROR };

static enum answer ask(const char *policies, const char *entities, const char *context)
{
	struct policy_request *r = NULL;
	struct policy_result res;
	struct err e;
	enum answer a = REFUSED;
	struct policy_world *w = kit_world(policies, entities, NULL, POLICY_CEDAR, &e);
	for (size_t i = 0; w && i < policy_count(w); i++)
		if (policy_is_template(w, i)) { /* the official answers are about sets of static policies */
			policy_world_free(w);
			return REFUSED;
		}
	if (w && policy_request_new(w, &r, &e) == 0) {
		policy_set_principal(r, "User", "a", 1);
		policy_set_action(r, "Action", "x", 1);
		policy_set_resource(r, "M", "m", 1);
		policy_set_context(r, policy_json(r, context, strlen(context), POLICY_CEDAR));
		if (policy_decide(r, POLICY_CEDAR, &res, &e) == 0)
			a = res.n_errors ? (res.allow ? ALLOW_ERROR : DENY_ERROR) : res.allow ? ALLOW : DENY;
	}
	policy_request_free(r);
	policy_world_free(w);
	return a;
}

static enum answer wanted(const char *s)
{
	s += strspn(s, " ");
	if (strncmp(s, "PARSE/FAIL", 10) == 0)
		return REFUSED;
	bool error = strstr(s, " ERR ") != NULL;
	return strncmp(s, "allow", 5) == 0 ? (error ? ALLOW_ERROR : ALLOW) : error ? DENY_ERROR : DENY;
}

static const struct {
	const char *name, *context, *entities; /* one of the two */
} inputs[] = {
	{"float", "{\"x\":1.5}", NULL},
	{"null", "{\"x\":null}", NULL},
	{"2^53", "{\"x\":9007199254740993}", NULL},
	{"big", "{\"x\":1e30}", NULL},
	{"extn bad", "{\"x\":{\"__extn\":{\"fn\":\"ip\",\"arg\":\"zz\"}}}", NULL},
	{"extn unknown", "{\"x\":{\"__extn\":{\"fn\":\"foo\",\"arg\":\"zz\"}}}", NULL},
	{"entity", "{\"x\":{\"__entity\":{\"type\":\"User\",\"id\":\"q\"}}}", NULL},
	{"entity space", "{\"x\":{\"__entity\":{\"type\":\"User \",\"id\":\"q\"}}}", NULL},
	{"entity extra", "{\"x\":{\"__entity\":{\"type\":\"User\",\"id\":\"q\",\"z\":1}}}", NULL},
	{"__expr", "{\"x\":{\"__expr\":\"1\"}}", NULL},
	{"type/id record", "{\"x\":{\"type\":\"User\",\"id\":\"q\"}}", NULL},
	{"extn+extra", "{\"x\":{\"__extn\":{\"fn\":\"ip\",\"arg\":\"zz\"},\"y\":1}}", NULL},
	{"extn args",
	 "{\"x\":{\"__extn\":{\"fn\":\"offset\",\"args\":[{\"__extn\":{\"fn\":\"datetime\",\"arg\":\"2024-01-"
	 "01\"}},"
	 "{\"__extn\":{\"fn\":\"duration\",\"arg\":\"1d\"}}]}}}",
	 NULL},
	{"extn nested rec err", "{\"x\":{\"y\":[{\"__extn\":{\"fn\":\"decimal\",\"arg\":\"1\"}}]}}", NULL},
	{"dup entity", NULL,
	 "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{},\"parents\":[]},"
	 "{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{},\"parents\":[]}]"},
	{"dup entity differing", NULL,
	 "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{},\"parents\":[]},"
	 "{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{\"n\":1},\"parents\":[]}]"},
	{"cycle", NULL,
	 "[{\"uid\":{\"type\":\"G\",\"id\":\"g\"},\"attrs\":{},\"parents\":[{\"type\":\"G\",\"id\":\"h\"}]},"
	 "{\"uid\":{\"type\":\"G\",\"id\":\"h\"},\"attrs\":{},\"parents\":[{\"type\":\"G\",\"id\":\"g\"}]}]"},
	{"self parent", NULL,
	 "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{},\"parents\":[{\"type\":\"User\",\"id\":\"a\"}]}"
	 "]"},
	{"no parents", NULL, "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{}}]"},
	{"no attrs", NULL, "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"parents\":[]}]"},
	{"extra field", NULL,
	 "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{},\"parents\":[],\"zz\":1}]"},
	{"missing parent entity", NULL,
	 "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{},\"parents\":[{\"type\":\"G\",\"id\":\"no\"}]}"
	 "]"},
	{"uid string", NULL, "[{\"uid\":\"User::\\\"a\\\"\",\"attrs\":{},\"parents\":[]}]"},
	{"__entity uid", NULL,
	 "[{\"uid\":{\"__entity\":{\"type\":\"User\",\"id\":\"a\"}},\"attrs\":{},\"parents\":[]}]"},
	{"dup parents", NULL,
	 "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{},\"parents\":[{\"type\":\"G\",\"id\":\"g\"},{"
	 "\"type\":\"G\",\"id\":\"g\"}]}]"},
	{"action in entities", NULL,
	 "[{\"uid\":{\"type\":\"Action\",\"id\":\"x\"},\"attrs\":{\"n\":1},\"parents\":[]}]"},
};
#define N_INPUTS (sizeof inputs / sizeof inputs[0])

/* The line of the third part that starts with the name and at least two spaces. */
static bool input_of(const char *line, size_t *at)
{
	for (*at = 0; *at < N_INPUTS; ++*at) {
		size_t n = strlen(inputs[*at].name);
		if (strncmp(line, inputs[*at].name, n) == 0 && line[n] == ' ' && (line[n + 1] == ' ' || n > 18))
			return true;
	}
	return false;
}

static enum answer ask_line(int part, const char *line, size_t *text_len)
{
	json_t *s = json_loads(line, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, NULL);
	char policy[4096];
	size_t i = 1;
	assert_non_null(s);
	while (line[i] != '"')
		i += line[i] == '\\' ? 2 : 1;
	*text_len = i + 1;
	snprintf(policy, sizeof policy, part ? "%s" : "permit(principal,action,resource) when {%s};",
			 json_string_value(s));
	json_decref(s);
	return ask(policy, WORLD, "{}");
}

static void quirks_agree(void **state)
{
	char path[PATH_MAX], *line = NULL;
	size_t cap = 0, n[3] = {0}, at, wrong = 0;
	ssize_t len;
	int part = 0;
	(void)state;
	if (!kit_shared("cedar/quirks.txt", path))
		skip();
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while ((len = getline(&line, &cap, f)) > 0) {
		enum answer got;
		if (strncmp(line, "---", 3) == 0) {
			part++;
			continue;
		}
		if (part == 2 && !input_of(line, &at))
			continue; /* the rest of a message with line breaks */
		if (part == 2)
			got = inputs[at].context ? ask(PERMIT, WORLD, inputs[at].context)
									 : ask(PERMIT, inputs[at].entities, "{}");
		else
			got = ask_line(part, line, &at);
		n[part]++;
		const char *answer = line + (part == 2 ? strlen(inputs[at].name) : at);
		if (got == wanted(answer))
			continue;
		wrong++;
		print_error("got %d, wanted %d: %s", got, wanted(answer), line);
	}
	fclose(f);
	free(line);
	printf("quirks: %zu expressions, %zu policy texts, %zu JSON inputs, %zu wrong\n", n[0], n[1], n[2],
		   wrong);
	assert_int_equal(wrong, 0);
	assert_int_equal(n[0], 206);
	assert_int_equal(n[1], 30);
	assert_int_equal(n[2], N_INPUTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(quirks_agree)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
