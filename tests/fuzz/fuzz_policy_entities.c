/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: policy_load_entities in both modes, policy_json, policy_world_seal (json.c, entities.c,
 * value.c, the texts of ext_*.c). What strict mode reads, the language's own mode reads; what is read
 * can be decided on; the same bytes as a context do no harm.
 */
#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char policies[] = "permit(principal in Group::\"g\", action, resource) when { principal.a == "
							   "resource.a || principal has b.c || context.x.contains(principal) };"
							   "forbid(principal, action, resource is Doc) when { principal.hasTag(\"k\") && "
							   "principal.getTag(\"k\") == context };";

static void check(int ok)
{
	if (!ok)
		abort();
}

static bool read_all(const char *text, size_t size, enum policy_mode mode)
{
	struct policy_world *w;
	struct policy_request *r;
	struct policy_result res;
	struct err e = {0};
	check(policy_world_new(&w, &e) == 0);
	check(policy_load_text(w, "policies", policies, sizeof policies - 1, &e) == 0);
	bool loaded = policy_load_entities(w, "fuzz", text, size, mode, &e) == 0;
	check(loaded || (e.code != 0 && policy_entity_count(w) == 0));
	bool sealed = policy_world_seal(w, &e) == 0;
	if (sealed) {
		check(policy_request_new(w, &r, &e) == 0);
		policy_set_principal(r, "User", "a", 1);
		policy_set_action(r, "Action", "a", 1);
		policy_set_resource(r, "Doc", "d", 1);
		policy_set_context(r, policy_json(r, text, size, mode));
		int rc = policy_decide(r, POLICY_STRICT, &res, &e);
		check(rc == 0 || !res.allow);
		policy_request_free(r);
	}
	policy_world_free(w);
	return loaded && sealed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool strict = read_all((const char *)data, size, POLICY_STRICT);
	check(read_all((const char *)data, size, POLICY_CEDAR) || !strict);
	return 0;
}
