/* SPDX-License-Identifier: Apache-2.0
 *
 * Last pass of planning: places every running tensor in one block of activations by its lifetime, so
 * that two tensors share bytes only when they never live at the same time.
 *
 * Side: inside. Trusts: shapes (checked by plan_shape). Owns: nothing (the plan's memory).
 */
#include "sandbox/inside/engine/onnx/session.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/poison.h"

/* The tensor whose storage holds t, through views and parts. */
static struct tensor *storage_of(struct tensor *t)
{
	while (t->root)
		t = t->root;
	return t;
}

static void live(struct tensor *t, int32_t at)
{
	if (!t || t->kind != K_RUN)
		return;
	t = storage_of(t);
	if (t->first < 0 || at < t->first)
		t->first = at;
	if (at > t->last)
		t->last = at;
}

/* Bytes of a tensor in its layout. Blocked: channels rounded up to whole blocks. */
static int store_bytes(struct plan *p, struct tensor *t)
{
	struct ck n = ck_u64(dtype_bytes(t->dtype));
	for (int i = 0; i < t->rank; i++)
		n = ck_mul(n, i == 1 && t->layout == L_BLOCKED ? ck_u64(blocks_of(t->dims[i]) * CBLOCK)
		                                               : ck_i64(t->dims[i]));
	t->exact = n.v;
	if (!ck_get(ck_align(n, 64), (uint64_t)1 << 50, &t->store))
		return plan_fail(p, t->def, ERR_LIMIT, "a tensor of more than 2^50 bytes");
	if (t->store == 0)
		t->store = 64;
	return ERR_OK;
}

/* All storage roots, each once, in the order of first use. */
static int collect(struct plan *p, struct tensor **list, uint32_t *n)
{
	int rc;
	*n = 0;
	for (uint32_t i = 0; i < p->m->n_inputs; i++)
		if (p->inputs[i] && p->inputs[i]->kind == K_RUN && !p->inputs[i]->data) {
			if ((rc = store_bytes(p, p->inputs[i])))
				return rc;
			list[(*n)++] = p->inputs[i];
		}
	for (uint32_t i = 0; i < p->n_steps; i++)
		for (uint32_t k = 0; k < p->steps[i]->n_out; k++) {
			struct tensor *t = p->steps[i]->out[k];
			if (!t || t->kind != K_RUN || t->root || t->store)
				continue;
			if ((rc = store_bytes(p, t)))
				return rc;
			list[(*n)++] = t;
		}
	return ERR_OK;
}

static void lifetimes(struct plan *p)
{
	for (uint32_t i = 0; i < p->m->n_inputs; i++)
		if (p->inputs[i] && p->inputs[i]->kind == K_RUN)
			live(p->inputs[i], -1), p->inputs[i]->first = 0;
	for (uint32_t i = 0; i < p->n_steps; i++) {
		struct step *s = p->steps[i];
		for (uint32_t k = 0; k < s->n_in; k++)
			live(s->in[k], (int32_t)i);
		for (uint32_t k = 0; k < s->n_out; k++)
			live(s->out[k], (int32_t)i);
	}
	for (uint32_t i = 0; i < p->m->n_outputs; i++)
		live(p->outputs[i], (int32_t)p->n_steps);
}

/* Largest first; equal ones by first use, so that the order does not depend on anything else. A heap
 * sort: no recursion, no scratch. */
static bool before(const struct tensor *a, const struct tensor *b)
{
	return a->store != b->store ? a->store > b->store : a->first < b->first;
}
static void sift(struct tensor **v, uint32_t i, uint32_t n)
{
	for (uint32_t c; (c = 2 * i + 1) < n; i = c) {
		if (c + 1 < n && before(v[c], v[c + 1]))
			c++;
		if (!before(v[i], v[c]))
			return;
		struct tensor *t = v[i];
		v[i] = v[c];
		v[c] = t;
	}
}
static void sort(struct tensor **v, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift(v, i, n);
	for (uint32_t i = n; i-- > 1;) {
		struct tensor *t = v[0];
		v[0] = v[i];
		v[i] = t;
		sift(v, 0, i);
	}
}

#define NEIGHBOURS_MAX 4096 /* placed tensors looked at for one placing: beyond it memory is stacked */

/* The lowest gap of n bytes among placed tensors that live together with t. placed is kept in the order
 * of offsets. */
static int place(struct plan *p, struct tensor **placed, uint32_t *n_placed, struct tensor *t)
{
	uint64_t at = 0, end;
	uint32_t i = *n_placed;
	if (*n_placed > NEIGHBOURS_MAX) {
		at = p->act_bytes;
	} else {
		for (i = 0; i < *n_placed; i++) {
			const struct tensor *o = placed[i];
			if (o->first > t->last || o->last < t->first)
				continue;
			if (o->off >= at && o->off - at >= t->store)
				break;
			if (o->off + o->store > at)
				at = o->off + o->store;
		}
	}
	t->off = at;
	if (!ck_get(ck_add(ck_u64(at), ck_u64(t->store)), (uint64_t)1 << 56, &end))
		return plan_fail(p, t->def, ERR_LIMIT, "activations of more than 2^56 bytes");
	if (end > p->act_bytes)
		p->act_bytes = end;
	for (i = (*n_placed)++; i > 0 && placed[i - 1]->off > at; i--)
		placed[i] = placed[i - 1];
	placed[i] = t;
	return ERR_OK;
}

static void assign(struct plan *p, struct tensor *t)
{
	struct tensor *s;
	uint64_t off = 0;
	if (!t || t->kind != K_RUN || t->data)
		return;
	for (s = t; s->root; s = s->root)
		off += s->root_off;
	t->data = (s->data ? (uint8_t *)s->data : p->act + s->off) + off;
}

static void assign_all(struct plan *p)
{
	for (uint32_t i = 0; i < p->m->n_inputs; i++)
		assign(p, p->inputs[i]);
	for (uint32_t i = 0; i < p->n_steps; i++) {
		for (uint32_t k = 0; k < p->steps[i]->n_in; k++)
			assign(p, p->steps[i]->in[k]);
		for (uint32_t k = 0; k < p->steps[i]->n_out; k++)
			assign(p, p->steps[i]->out[k]);
	}
	for (uint32_t i = 0; i < p->m->n_outputs; i++)
		assign(p, p->outputs[i]);
}

static int scratch_sizes(struct plan *p)
{
	for (uint32_t i = 0; i < p->n_steps; i++) {
		const struct step *s = p->steps[i];
		if (s->scratch > p->scratch)
			p->scratch = s->scratch;
		if (s->shared > p->shared)
			p->shared = s->shared;
		p->macs += s->macs;
	}
	p->scratch = (p->scratch + 63) & ~(uint64_t)63;
	return ERR_OK;
}

int plan_memory(struct plan *p)
{
	uint64_t cap = p->m->n_inputs + (uint64_t)p->n_steps * 8 + 8;
	uint64_t n_out = 0;
	struct tensor **list, **placed;
	uint32_t n, n_placed = 0;
	int rc;
	for (uint32_t i = 0; i < p->n_steps; i++)
		n_out += p->steps[i]->n_out;
	cap += n_out;
	list = plan_alloc(p, cap, sizeof *list);
	placed = plan_alloc(p, cap, sizeof *placed);
	if (!list || !placed)
		return ERR_LIMIT;
	if ((rc = collect(p, list, &n)))
		return rc;
	for (uint32_t i = 0; i < n; i++)
		list[i]->first = -1, list[i]->last = -1;
	lifetimes(p);
	sort(list, n);
	p->act_bytes = 0;
	for (uint32_t i = 0; i < n; i++)
		if ((rc = place(p, placed, &n_placed, list[i])))
			return rc;
	if ((rc = scratch_sizes(p)) || p->dry)
		return rc;
#if POISON_GAP
	/* Where a sanitizer looks on, every tensor gets memory of its own: overruns between them are seen.
	 * That sharing is right is shown by the other builds. */
	for (uint32_t i = 0; i < n; i++)
		if (!(list[i]->data = plan_alloc(p, 1, list[i]->exact)))
			return ERR_LIMIT;
#endif
	p->act = plan_alloc(p, 1, p->act_bytes + 64);
	p->scratch_at = plan_alloc(p, p->s->n_threads, p->scratch);
	p->shared_at = plan_alloc(p, 1, p->shared);
	if (!p->act || !p->scratch_at || !p->shared_at)
		return ERR_LIMIT;
	assign_all(p);
	for (uint32_t i = 0; i < p->m->n_inputs; i++)
		if (p->inputs[i])
			p->inputs[i]->own = p->inputs[i]->data;
	return ERR_OK;
}
