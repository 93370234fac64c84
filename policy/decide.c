/* SPDX-License-Identifier: Apache-2.0
 *
 * The decision: allow exactly when a permit holds and no forbid does. In strict mode a forbid whose
 * evaluation fails denies too. Out of fuel or memory nothing is allowed.
 *
 * Side: broker, cli. Trusts: nothing that was given. Owns: nothing (the request owns the lists).
 */
#include "policy/world.h"

#include <stdlib.h>
#include <string.h>

/* Makes room for one more element; the lists stay with the request. */
static bool grow(void **list, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return true;
	size_t want = *cap * 2 + 32;
	void *p = realloc(*list, want * size);
	if (!p)
		return false;
	*list = p;
	*cap = want;
	return true;
}

static bool note_failed(struct verdicts *v, uint32_t policy, const struct fault *f)
{
	if (!grow((void **)&v->failed, v->n_failed, &v->cap_failed, sizeof *v->failed))
		return false;
	v->failed[v->n_failed++] = (struct failed){policy, *f};
	return true;
}

static bool note_held(struct verdicts *v, uint32_t policy, bool forbid)
{
	if (!grow((void **)&v->list[forbid], v->n[forbid], &v->cap[forbid], sizeof *v->list[forbid]))
		return false;
	v->list[forbid][v->n[forbid]++] = policy;
	return true;
}

/* One policy whose scope matches. False ends the walk: no fuel or no memory. */
static bool visit(void *to, uint32_t i)
{
	struct policy_request *r = to;
	const struct policy *p = &r->w->pol[i];
	struct arena_mark m = arena_mark(&r->arena);
	struct fault f;
	enum truth t = eval_policy(r, p, &f);
	arena_rewind(&r->arena, m);
	if (!r->fuel.left)
		return false;
	if (t == TRUTH_ERROR)
		return note_failed(&r->verdicts, i, &f);
	return t == TRUTH_NO || note_held(&r->verdicts, i, p->forbid);
}

static int check_facts(const struct policy_request *r, struct err *e)
{
	if (r->fault.code) {
		if (e)
			*e = r->fault;
		return r->fault.code;
	}
	for (int v = VAR_PRINCIPAL; v <= VAR_RESOURCE; v++)
		if (!r->uid[v])
			return err_set(e, ERR_INTERNAL, "facts of a request: no %s was given", var_names[v]);
	if (r->context.kind != VAL_RECORD)
		return err_set(e, ERR_INTERNAL, "facts of a request: no context was given");
	return ERR_OK;
}

/* The index may lead to a policy twice (an action list), so numbers are put in order and joined. */
static int number_cmp(const void *x, const void *y)
{
	const uint32_t *a = x, *b = y;
	return (*a > *b) - (*a < *b);
}

static void sort_numbers(uint32_t *v, size_t *n)
{
	size_t kept = 0;
	for (size_t i = 1; i < *n; i++)
		if (v[i - 1] >= v[i]) {
			qsort(v, *n, sizeof *v, number_cmp);
			break;
		}
	for (size_t i = 0; i < *n; i++)
		if (!kept || v[kept - 1] != v[i])
			v[kept++] = v[i];
	*n = kept;
}

static int failed_cmp(const void *x, const void *y)
{
	const struct failed *a = x, *b = y;
	return (a->policy > b->policy) - (a->policy < b->policy);
}

static bool list_errors(const struct policy_request *r, struct verdicts *v, struct policy_result *out)
{
	size_t n = 0;
	if (v->n_failed > 1)
		qsort(v->failed, v->n_failed, sizeof *v->failed, failed_cmp);
	for (size_t i = 0; i < v->n_failed; i++) {
		const struct failed *f = &v->failed[i];
		if (i && v->failed[i - 1].policy == f->policy)
			continue;
		if (!grow((void **)&v->errors, n, &v->cap_errors, sizeof *v->errors))
			return false;
		v->errors[n++] =
			(struct policy_error){f->policy, r->w->pol[f->policy].forbid, f->fault.at, f->fault.text};
		out->deny_by_error = out->deny_by_error || r->w->pol[f->policy].forbid;
	}
	out->errors = v->errors;
	out->n_errors = n;
	return true;
}

int policy_decide(struct policy_request *r, enum policy_mode mode, struct policy_result *out, struct err *e)
{
	struct verdicts *v = &r->verdicts;
	*out = (struct policy_result){0};
	int rc = check_facts(r, e);
	if (rc)
		return rc;
	v->n[0] = v->n[1] = v->n_failed = 0;
	r->fuel.left = LIMIT_EVAL_FUEL;
	for (int k = VAR_PRINCIPAL; k <= VAR_RESOURCE; k++)
		r->entity[k] = request_entity(r, r->uid[k]);
	if (!index_walk(r, r, visit))
		return err_set(e, ERR_LIMIT, "the decision needs more work or memory than one is allowed");
	sort_numbers(v->list[0], &v->n[0]);
	sort_numbers(v->list[1], &v->n[1]);
	struct policy_result res = {0};
	if (v->n_failed && !list_errors(r, v, &res))
		return err_set(e, ERR_NOMEM, "no memory for the errors of a decision");
	res.deny_by_error = res.deny_by_error && mode == POLICY_STRICT;
	res.allow = v->n[0] && !v->n[1] && !res.deny_by_error;
	/* A deny by error alone has no forbid that holds; its permits do not determine it either. */
	res.reasons = v->list[!res.allow];
	res.n_reasons = v->n[!res.allow];
	*out = res;
	return ERR_OK;
}
