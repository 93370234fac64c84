/* SPDX-License-Identifier: Apache-2.0
 *
 * The scope index: from a request to the few policies whose scope can match, whatever their number.
 *
 * A node lists policies and, when there are many, splits them by the key of one scope: principal
 * first, then resource, then action. A policy's key is the uid of its == or in, the type of its
 * `is`, or "any"; an action list puts a policy under each of its actions. A request's keys are
 * "any", its uid, its type and each ancestor. A policy that no key of the request leads to has a
 * scope that is false, so skipping it changes nothing; what is found is still checked, so a
 * collision of keys costs time and nothing else. When a request has more keys than a node has
 * policies, the node is scanned.
 *
 * Side: broker, cli. Trusts: nothing. Owns: the nodes.
 */
#include "policy/world.h"

#include <stdlib.h>
#include <string.h>

#define LEAF_MAX 8 /* policies that are cheaper to scan than to look up */
#define KEY_ANY  0x9ae16a3b2f90404fu
#define KEY_TYPE 0xc3a5c85c97cb3127u /* set apart from uids: a type's hash is xored with this */

static const enum var order[] = {VAR_PRINCIPAL, VAR_RESOURCE, VAR_ACTION};
#define N_ORDER 3

struct node;
struct slot {
	uint64_t key;
	struct node *child;
};

struct node {
	uint32_t n;     /* policies */
	uint32_t level; /* the position in order by which it is split; N_ORDER: never */
	uint32_t size;  /* slots, a power of two; 0: a leaf */
	uint32_t *policy;
	struct slot *slot;
	struct node *next; /* all nodes, to free them */
};

struct index {
	struct node *root;
	struct node *all;
};

/* --- matching --------------------------------------------------------------------------------------- */

static bool at_or_below(const struct policy_request *r, enum var v, const struct uid *u)
{
	return uid_equal(r->uid[v], u) || (r->entity[v] && entity_is_below(r->entity[v], u));
}

static bool scope_matches(const struct policy_request *r, enum var v, const struct scope *s)
{
	switch ((enum scope_kind)s->kind) {
	case SCOPE_ANY:
		return true;
	case SCOPE_EQ:
		return uid_equal(r->uid[v], s->uid);
	case SCOPE_IN:
		return at_or_below(r, v, s->uid);
	case SCOPE_IS:
	case SCOPE_IS_IN:
		return r->uid[v]->type_hash == s->type->hash && str_cmp(&r->uid[v]->type, &s->type->name) == 0 &&
			   (s->kind == SCOPE_IS || at_or_below(r, v, s->uid));
	case SCOPE_IN_SET:
		break;
	}
	for (uint32_t i = 0; i < s->n_set; i++)
		if (at_or_below(r, v, s->set[i]))
			return true;
	return false;
}

bool scope_holds(const struct policy_request *r, const struct policy *p)
{
	return scope_matches(r, VAR_PRINCIPAL, &p->scope[VAR_PRINCIPAL]) &&
		   scope_matches(r, VAR_ACTION, &p->scope[VAR_ACTION]) &&
		   scope_matches(r, VAR_RESOURCE, &p->scope[VAR_RESOURCE]);
}

/* --- building ---------------------------------------------------------------------------------------- */

struct entry {
	uint64_t key;
	uint32_t policy;
};

struct entries {
	struct entry *v;
	size_t n, cap;
};

static bool entry_add(struct entries *en, uint64_t key, uint32_t policy)
{
	if (en->n == en->cap) {
		size_t cap = en->cap * 2 + 64;
		struct entry *v = realloc(en->v, cap * sizeof *v);
		if (!v)
			return false;
		en->v = v;
		en->cap = cap;
	}
	en->v[en->n++] = (struct entry){key, policy};
	return true;
}

static bool entry_add_scope(struct entries *en, const struct scope *s, uint32_t policy)
{
	bool ok = true;
	if (s->kind == SCOPE_ANY)
		return entry_add(en, KEY_ANY, policy);
	if (s->kind == SCOPE_IS)
		return entry_add(en, s->type->hash ^ KEY_TYPE, policy);
	if (s->kind != SCOPE_IN_SET)
		return entry_add(en, s->uid->hash, policy);
	for (uint32_t i = 0; ok && i < s->n_set; i++)
		ok = entry_add(en, s->set[i]->hash, policy);
	return ok;
}

static int entry_cmp(const void *x, const void *y)
{
	const struct entry *a = x, *b = y;
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return (a->policy > b->policy) - (a->policy < b->policy);
}

static struct node *node_new(struct index *x, uint32_t n, uint32_t level)
{
	struct node *nd = calloc(1, sizeof *nd);
	if (!nd)
		return NULL;
	nd->next = x->all;
	x->all = nd;
	nd->n = n;
	nd->level = level;
	nd->policy = malloc((n + 1) * sizeof *nd->policy);
	return nd->policy ? nd : NULL;
}

static struct slot *slot_of(const struct node *nd, uint64_t key)
{
	uint32_t mask = nd->size - 1, i = (uint32_t)(key >> 32) & mask;
	while (nd->slot[i].child && nd->slot[i].key != key)
		i = (i + 1) & mask;
	return &nd->slot[i];
}

static bool slots_new(struct node *nd, size_t n_keys)
{
	uint32_t size = 4;
	while (size < 2 * n_keys)
		size *= 2;
	nd->slot = calloc(size, sizeof *nd->slot);
	nd->size = nd->slot ? size : 0;
	return nd->slot != NULL;
}

/* One child per key of the sorted entries. */
static bool make_children(struct index *x, struct node *nd, const struct entries *en)
{
	for (size_t i = 0, end; i < en->n; i = end) {
		for (end = i; end < en->n && en->v[end].key == en->v[i].key;)
			end++;
		struct node *child = node_new(x, (uint32_t)(end - i), nd->level + 1);
		if (!child)
			return false;
		child->n = 0;
		for (size_t k = i; k < end; k++)
			if (!child->n || child->policy[child->n - 1] != en->v[k].policy)
				child->policy[child->n++] = en->v[k].policy;
		*slot_of(nd, en->v[i].key) = (struct slot){en->v[i].key, child};
	}
	return true;
}

/* Splits a node by its level's scope, or moves it to a level where that helps. */
static bool split(struct index *x, const struct policy_world *w, struct node *nd)
{
	struct entries en = {0};
	bool ok = true;
	while (ok && nd->n > LEAF_MAX && nd->level < N_ORDER && !nd->size) {
		size_t keys = 0;
		en.n = 0;
		for (uint32_t i = 0; ok && i < nd->n; i++)
			ok = entry_add_scope(&en, &w->pol[nd->policy[i]].scope[order[nd->level]], nd->policy[i]);
		if (ok && en.n)
			qsort(en.v, en.n, sizeof *en.v, entry_cmp);
		for (size_t i = 0; i < en.n; i++)
			keys += !i || en.v[i].key != en.v[i - 1].key;
		if (keys == 1 && en.v[0].key == KEY_ANY)
			nd->level++;
		else
			ok = ok && slots_new(nd, keys) && make_children(x, nd, &en);
	}
	free(en.v);
	return ok;
}

int index_build(struct policy_world *w, struct err *e)
{
	struct index *x = calloc(1, sizeof *x);
	bool ok = x != NULL && (x->root = node_new(x, w->n_pol, 0)) != NULL;
	if (ok)
		x->root->n = 0;
	for (uint32_t i = 0; ok && i < w->n_pol; i++)
		if (!w->pol[i].template)
			x->root->policy[x->root->n++] = i;
	/* New nodes are put in front of the list, so walk until no node is left to look at. */
	for (struct node *done = NULL; ok && done != x->all;) {
		struct node *first = x->all;
		for (struct node *nd = first; ok && nd != done; nd = nd->next)
			ok = split(x, w, nd);
		done = first;
	}
	w->index = x;
	return ok ? ERR_OK : err_set(e, ERR_NOMEM, "policies: no memory for their index");
}

void index_free(struct index *x)
{
	while (x && x->all) {
		struct node *nd = x->all;
		x->all = nd->next;
		free(nd->policy);
		free(nd->slot);
		free(nd);
	}
	free(x);
}

/* --- walking ------------------------------------------------------------------------------------------ */

#define FIXED_KEYS 3

static uint32_t n_keys(const struct policy_request *r, enum var v)
{
	return FIXED_KEYS + (r->entity[v] ? r->entity[v]->n_above : 0);
}

static uint64_t key_at(const struct policy_request *r, enum var v, uint32_t i)
{
	if (i >= FIXED_KEYS)
		return r->entity[v]->above[i - FIXED_KEYS]->hash;
	return i == 0 ? KEY_ANY : i == 1 ? r->uid[v]->hash : r->uid[v]->type_hash ^ KEY_TYPE;
}

static bool scan(const struct policy_request *r, const struct node *nd, void *to,
				 bool (*visit)(void *to, uint32_t policy))
{
	for (uint32_t i = 0; i < nd->n; i++)
		if (scope_holds(r, &r->w->pol[nd->policy[i]]) && !visit(to, nd->policy[i]))
			return false;
	return true;
}

struct place {
	const struct node *node;
	uint32_t next; /* key to look up */
};

bool index_walk(const struct policy_request *r, void *to, bool (*visit)(void *to, uint32_t policy))
{
	struct place path[N_ORDER + 1] = {{r->w->index->root, 0}};
	int n = 1;
	while (n) {
		struct place *p = &path[n - 1];
		const struct node *nd = p->node;
		enum var v = nd->level < N_ORDER ? order[nd->level] : VAR_ACTION;
		if (!nd->size || n_keys(r, v) > nd->n) {
			n--;
			if (!scan(r, nd, to, visit))
				return false;
		} else if (p->next == n_keys(r, v)) {
			n--;
		} else {
			const struct slot *s = slot_of(nd, key_at(r, v, p->next++));
			if (s->child)
				path[n++] = (struct place){s->child, 0};
		}
	}
	return true;
}
