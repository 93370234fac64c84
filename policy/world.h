/* SPDX-License-Identifier: Apache-2.0
 *
 * The insides of a world and of a request, shared by the files of this folder and by nobody else.
 * Side: broker, cli. Trusts: nothing. Owns: the two structs.
 */
#ifndef FUMEHOOD_POLICY_WORLD_H
#define FUMEHOOD_POLICY_WORLD_H

#include "policy/code.h"
#include "policy/lex.h"
#include "policy/policy.h"
#include "proto/limits.h"

struct entity {
	const struct uid *uid;
	const struct rec *attrs, *tags;
	const struct uid **parents; /* as given */
	const struct uid **above;   /* all ancestors, in uid_cmp's order */
	uint32_t n_parents, n_above;
	uint8_t mark;               /* closure: 0 new, 1 on the path, 2 done */
	bool is_parent;             /* somebody's parent */
	bool ghost;                 /* only that: no entity of this uid was given */
};

/* uid to entity, open addressing; size is a power of two, at most half full. */
struct entity_table {
	struct entity **slot;
	uint32_t n, size;
};

struct index;
struct schema;

struct policy_world {
	struct intern names; /* and the key of all hashes */
	struct arena arena;
	struct policy *pol;
	uint32_t n_pol, cap_pol;
	struct entity_table entities;
	struct schema *schema;
	struct index *index;
	uint32_t n_ghosts;
	uint32_t *id_slot; /* id to policy number + 1, open addressing, at most half full */
	uint32_t id_size;
	uint32_t max_stack;
	enum { WORLD_OPEN, WORLD_SEALED, WORLD_BROKEN } state; /* broken: sealing failed half way */
};

struct fault {
	uint32_t at; /* byte offset in the policy's text */
	char text[200];
};

/* What the policies of one decision came to. Grows, and is kept for the next decision. */
struct verdicts {
	uint32_t *list[2]; /* satisfied permits, satisfied forbids */
	size_t n[2], cap[2];
	struct failed {
		uint32_t policy;
		struct fault fault;
	} *failed;
	size_t n_failed, cap_failed;
	struct policy_error *errors;
	size_t cap_errors;
};

struct policy_request {
	const struct policy_world *w;
	struct arena arena;
	struct fuel fuel;
	struct err fault; /* the first one while the facts were given; code 0 when there is none */
	const struct uid *uid[3];
	const struct entity *entity[3]; /* of uid, NULL when there is none */
	struct val context;
	struct entity overlay[LIMIT_REQUEST_ENTITIES];
	uint32_t n_overlay;
	struct val *stack;
	struct verdicts verdicts;
};

/* --- entities.c --- */
const struct entity *entity_find(const struct entity_table *t, const struct uid *u);
/* Adds a copy of *en (arena memory); NULL when memory is gone. The uid must be absent. */
struct entity *entity_add(struct policy_world *w, const struct entity *en);
/* Has any loaded entity this uid as a parent? */
bool entity_is_parent(const struct entity_table *t, const struct uid *u);
bool entity_is_below(const struct entity *en, const struct uid *u);
void uid_sort(const struct uid **v, size_t n);
/* Fills above of every entity; cycles and too many ancestors are errors. */
MUST_CHECK int entities_close(struct policy_world *w, struct err *e);
/* Is it Type or Ns::Type, without reserved words? */
bool entity_type_ok(const char *s, size_t len);

/* The entity of a uid for one request: given with it, else loaded; NULL when neither. */
const struct entity *request_entity(const struct policy_request *r, const struct uid *u);

/* --- eval.c --- */
enum truth { TRUTH_NO, TRUTH_YES, TRUTH_ERROR };
/* Do all clauses of the policy hold? Scopes are the caller's. */
enum truth eval_policy(struct policy_request *r, const struct policy *p, struct fault *f);

/* --- index.c --- */
MUST_CHECK int index_build(struct policy_world *w, struct err *e);
void index_free(struct index *x);
/* Does the scope match? */
bool scope_holds(const struct policy_request *r, const struct policy *p);
/* Calls visit for every policy whose scope matches, each once; stops when it returns false. */
bool index_walk(const struct policy_request *r, void *to, bool (*visit)(void *to, uint32_t policy));

/* --- schema.c --- */
MUST_CHECK int schema_entities(struct policy_world *w, struct err *e);

#endif
