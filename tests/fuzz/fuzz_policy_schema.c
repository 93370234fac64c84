/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: policy_load_schema, its part of policy_world_seal and the questions about it
 * (schema_parse.c, schema.c). What loads, seals; every declared action can be asked for.
 */
#include "policy/policy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_world *w;
	struct err e = {0};
	check(policy_world_new(&w, &e) == 0);
	if (policy_load_schema(w, "fuzz", (const char *)data, size, &e) == 0) {
		check(policy_world_seal(w, &e) == 0);
		for (size_t i = 0; i < policy_schema_action_count(w); i++) {
			const char *type, *id;
			size_t len;
			policy_schema_action(w, i, &type, &id, &len);
			check(policy_has_entity(w, type, id, len));
			for (size_t k = 0; k < policy_schema_entity_count(w) && k < 8; k++)
				policy_schema_applies(w, type, id, len, policy_schema_entity(w, k),
									  policy_schema_entity(w, 0));
		}
	} else {
		check(e.code != 0 && policy_schema_action_count(w) == 0);
	}
	policy_world_free(w);
	return 0;
}
