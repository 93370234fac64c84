/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: policy_load_text, policy_print, policy_link, policy_world_seal, policy_decide (lex.c,
 * parse.c, expr.c, print.c, eval.c, index.c). What loads is printed, read again and printed again:
 * both prints are equal. Then it is decided in both modes: what strict mode allows, the language
 * allows, and the two worlds, which hash with different keys, agree.
 */
#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char entities[] = "[{\"uid\":{\"type\":\"User\",\"id\":\"a\"},\"attrs\":{\"n\":1,\"s\":\"a*b\","
							   "\"b\":true,\"set\":[1,\"a\"],\"r\":{\"x\":{\"y\":2}},"
							   "\"ip\":{\"__extn\":{\"fn\":\"ip\",\"arg\":\"10.0.0.1\"}}},\"tags\":{\"k\":"
							   "\"v\"},\"parents\":[{\"type\":\"Group\",\"id\":\"g\"}]}]";

static void check(int ok)
{
	if (!ok)
		abort();
}

/* Fills in every slot of every template. */
static void link_all(struct policy_world *w)
{
	static const struct policy_slot slots[2] = {{"principal", "User", "a", 1}, {"resource", "Doc", "d", 1}};
	size_t n = policy_count(w);
	for (size_t i = 0; i < n && i < 4; i++) {
		struct err e;
		char id[8] = {'L', (char)('0' + i), 0};
		if (policy_is_template(w, i) && policy_link(w, policy_id(w, i), id, slots, 2, &e) &&
			policy_link(w, policy_id(w, i), id, slots, 1, &e))
			check(policy_link(w, policy_id(w, i), id, slots + 1, 1, &e) == 0);
	}
}

/* All policies as one text, NULL when nothing loads. */
static char *print_all(const char *text, size_t size, struct policy_world **out, size_t *len)
{
	struct policy_world *w;
	struct err e;
	char *all = NULL;
	*len = 0;
	check(policy_world_new(&w, &e) == 0);
	if (policy_load_text(w, "fuzz", text, size, &e) == 0) {
		all = malloc(1);
		check(all != NULL);
		for (size_t i = 0; i < policy_count(w); i++) {
			char *one;
			size_t n;
			check(policy_print(w, i, &one, &n, &e) == 0);
			all = realloc(all, *len + n + 1);
			check(all != NULL);
			memcpy(all + *len, one, n);
			*len += n;
			free(one);
		}
		all[*len] = 0;
		link_all(w);
		check(policy_load_entities(w, "entities", entities, sizeof entities - 1, POLICY_STRICT, &e) == 0);
		check(policy_world_seal(w, &e) == 0);
	} else {
		check(e.code != 0 && policy_count(w) == 0);
	}
	*out = w;
	return all;
}

struct answer {
	int rc;
	bool allow;
	size_t n_reasons, n_errors;
};

static struct answer decide(const struct policy_world *w, enum policy_mode mode)
{
	struct policy_request *r;
	struct policy_result res;
	struct err e;
	check(policy_request_new(w, &r, &e) == 0);
	const struct policy_field f[] = {{"n", policy_long(r, 5)}, {"s", policy_string(r, "xyz", 3)}};
	policy_set_principal(r, "User", "a", 1);
	policy_set_action(r, "Action", "read", 4);
	policy_set_resource(r, "Doc", "d", 1);
	policy_set_context(r, policy_record(r, f, 2));
	struct answer a = {.rc = policy_decide(r, mode, &res, &e)};
	a.allow = res.allow;
	a.n_reasons = res.n_reasons;
	a.n_errors = res.n_errors;
	policy_request_free(r);
	return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_world *w, *w2;
	size_t n, n2;
	char *once = print_all((const char *)data, size, &w, &n), *twice = NULL;
	if (once) {
		twice = print_all(once, n, &w2, &n2);
		check(n > (1u << 20) || (twice && n == n2 && memcmp(once, twice, n) == 0));
		struct answer strict = decide(w, POLICY_STRICT), plain = decide(w, POLICY_CEDAR);
		check(!strict.allow || plain.allow);
		check(strict.rc == plain.rc && (strict.rc == 0 || !plain.allow));
		if (twice) {
			struct answer again = decide(w2, POLICY_CEDAR);
			check(again.allow == plain.allow && again.n_reasons == plain.n_reasons &&
				  again.n_errors == plain.n_errors);
		}
		policy_world_free(w2);
	}
	policy_world_free(w);
	free(once);
	free(twice);
	return 0;
}
