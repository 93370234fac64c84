/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes the flat list of steps smaller without knowing kernels: drops steps that change nothing, turns
 * arithmetic with constants into affine steps and joins them, moves transposes and views behind
 * elementwise steps so that those meet the product before them.
 *
 * Side: inside. Trusts: plan_infer. Owns: nothing (the plan's memory).
 *
 * Results differ from the graph as written only by rounding; the same graph and shapes always give the
 * same steps.
 */
#include "sandbox/inside/engine/onnx/fuse.h"

#include <math.h>
#include <string.h>

/* --- bookkeeping ------------------------------------------------------------------------------------------ */

void plan_count_uses(struct plan *p)
{
	for (uint32_t i = 0; i < p->n_steps; i++)
		for (uint32_t k = 0; k < p->steps[i]->n_out; k++)
			if (p->steps[i]->out[k])
				p->steps[i]->out[k]->n_uses = 0;
	for (uint32_t i = 0; i < p->m->n_inputs; i++)
		if (p->inputs[i])
			p->inputs[i]->n_uses = 0;
	for (uint32_t i = 0; i < p->n_steps; i++)
		for (uint32_t k = 0; k < p->steps[i]->n_in && !p->steps[i]->dead; k++)
			if (p->steps[i]->in[k]) {
				p->steps[i]->in[k]->n_uses++;
				p->steps[i]->in[k]->user = p->steps[i];
			}
	for (uint32_t i = 0; i < p->m->n_outputs; i++)
		p->outputs[i]->n_uses++;
}

/* Backwards: a step whose outputs nobody takes is dead; then the list is closed up. */
void plan_drop_dead(struct plan *p)
{
	uint32_t n = 0;
	plan_count_uses(p);
	for (uint32_t i = p->n_steps; i-- > 0;) {
		struct step *s = p->steps[i];
		bool used = false;
		for (uint32_t k = 0; k < s->n_out; k++)
			used = used || (s->out[k] && s->out[k]->n_uses);
		if (!used && !s->dead) {
			s->dead = true;
			for (uint32_t k = 0; k < s->n_in; k++)
				if (s->in[k])
					s->in[k]->n_uses--;
		}
	}
	for (uint32_t i = 0; i < p->n_steps; i++)
		if (!p->steps[i]->dead) {
			p->steps[i]->order = n;
			p->steps[n++] = p->steps[i];
		}
	p->n_steps = n;
	plan_count_uses(p);
}

void step_become(struct step *s, enum step_kind kind, void *params, struct tensor *a, struct tensor *b)
{
	s->kind = kind;
	s->p = params;
	s->in[0] = a;
	for (uint32_t i = 1; i < s->n_in; i++)
		s->in[i] = NULL;
	if (b)
		s->in[1] = b;
	s->n_in = b ? 2 : 1;
	s->scratch = s->shared = 0;
	s->run = kind == S_AFFINE ? affine_run : kind == S_UNARY ? elem_unary_step
	       : kind == S_VIEW ? NULL : kind == S_LOOKUP ? lookup_run : s->run;
	s->blockable = kind == S_AFFINE || kind == S_UNARY;
}

/* --- what a step is --------------------------------------------------------------------------------------- */

static bool is_op(const struct step *s, const char *name) { return s->op && !strcmp(s->op->name, name); }

/* The one axis along which a constant varies, seen from a tensor of x's shape: -1 none, -2 several. */
static int constant_axis(const struct tensor *c, const struct tensor *x)
{
	int axis = -1;
	for (int i = 0; i < c->rank; i++) {
		int k = x->rank - c->rank + i;
		if (c->dims[i] == 1)
			continue;
		if (axis >= 0 || k < 0 || c->dims[i] != x->dims[k])
			return -2;
		axis = k;
	}
	return axis;
}

static struct affine_p *affine_new(struct plan *p, const struct step *s, int axis, int64_t n)
{
	struct affine_p *a = plan_alloc(p, 1, sizeof *a);
	uint64_t room = blocks_of(n) * CBLOCK;
	if (!a)
		return NULL;
	*a = (struct affine_p){ .axis = axis, .n = n, .from_file = true, .key = s->node ? s->node->off : 0 };
	a->scale = plan_alloc(p, room, 4);
	a->shift = plan_alloc(p, room, 4);
	if (!a->scale || !a->shift)
		return NULL;
	for (int64_t i = 0; i < n; i++)
		a->scale[i] = 1;
	return a;
}

#define AFFINE_MAX 65536 /* a longer vector is no channel vector */

/* Add, Sub, Mul, Div with a constant that varies along one axis at most. */
static int affine_from_binary(struct plan *p, struct step *s, int kernel)
{
	int c = s->in[0]->kind == K_CONST ? 0 : 1, axis;
	struct tensor *k = s->in[c], *x = s->in[!c];
	struct affine_p *a;
	if (k->kind != K_CONST || x->kind != K_RUN || !same_dims(x, s->out[0]) || (kernel == BIN_DIV && c == 0) ||
	    kernel > BIN_DIV || k->n > AFFINE_MAX)
		return ERR_OK;
	if ((axis = constant_axis(k, x)) == -2 || !plan_data(p, k))
		return axis == -2 ? ERR_OK : ERR_LIMIT;
	if (!(a = affine_new(p, s, axis, (int64_t)k->n)))
		return ERR_LIMIT;
	a->from_file = k->from_file;
	for (int64_t i = 0; i < a->n; i++) {
		float v = ((const float *)k->data)[i];
		if (kernel == BIN_ADD)
			a->shift[i] = v;
		else if (kernel == BIN_SUB && c == 1)
			a->shift[i] = -v;
		else if (kernel == BIN_SUB)
			a->scale[i] = -1, a->shift[i] = v;
		else
			a->scale[i] = kernel == BIN_MUL ? v : 1.0f / v;
	}
	step_become(s, S_AFFINE, a, x, NULL);
	return ERR_OK;
}

static int affine_from_batchnorm(struct plan *p, struct step *s)
{
	struct affine_p *a;
	const struct norm_p *q = s->p;
	bool from_file = true;
	for (uint32_t i = 1; i < 5; i++) {
		if (s->in[i]->kind != K_CONST)
			return ERR_OK;
		from_file = from_file && s->in[i]->from_file;
	}
	for (uint32_t i = 1; i < 5; i++)
		if (!plan_data(p, s->in[i]))
			return ERR_LIMIT;
	if (!(a = affine_new(p, s, 1, q->c)))
		return ERR_LIMIT;
	norm_affine(a->scale, a->shift, s->in[1]->data, s->in[2]->data, s->in[3]->data, s->in[4]->data, q->eps, q->c);
	a->from_file = from_file;
	step_become(s, S_AFFINE, a, s->in[0], NULL);
	return ERR_OK;
}

/* Unary functions that are activations too, so that they can go into an epilogue. */
static void unary_as_act(struct elem_unary *u)
{
	static const struct { enum unary un; enum act act; } same[] = {
		{ UN_RELU, ACT_RELU }, { UN_SIGMOID, ACT_SIGMOID }, { UN_TANH, ACT_TANH } };
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		if (!u->is_act && u->un == same[i].un)
			*u = (struct elem_unary){ .is_act = true, .act = { .kind = same[i].act } };
}

static int classify_square(struct plan *p, struct step *s)
{
	float e;
	struct elem_unary *u;
	if (!const_scalar(p, s->in[1], &e) || e != 2.0f || !same_dims(s->in[0], s->out[0]))
		return ERR_OK;
	if (!(u = plan_alloc(p, 1, sizeof *u)))
		return ERR_LIMIT;
	u->un = UN_SQUARE;
	step_become(s, S_UNARY, u, s->in[0], NULL);
	return ERR_OK;
}

static int classify(struct plan *p, struct step *s)
{
	const struct tensor *x = step_in(s, 0);
	int kernel = s->op ? elem_binary_kind(s->op) : -1;
	if (s->op->flags & OP_VIEW) {
		step_become(s, S_VIEW, NULL, s->in[0], NULL);
	} else if (!x || x->dtype != DT_F32 || !s->out[0]) {
		s->kind = s->kind == S_OP && is_op(s, "Transpose") ? S_TRANSPOSE : s->kind;
	} else if (s->run == conv_run) {
		s->kind = S_CONV;
	} else if (s->run == matmul_run || s->run == gemm_run) {
		s->kind = S_MATMUL;
	} else if (s->run == pool_run_plain) {
		s->kind = S_POOL;
	} else if (is_op(s, "Transpose")) {
		s->kind = S_TRANSPOSE;
	} else if (is_op(s, "Concat")) {
		s->kind = S_CONCAT;
	} else if (is_op(s, "BatchNormalization")) {
		return affine_from_batchnorm(p, s);
	} else if (is_op(s, "Pow")) {
		return classify_square(p, s);
	} else if (kernel >= 0 && s->n_in == 2 && !is_op(s, "Mean")) {
		s->kind = S_BINARY;
		return affine_from_binary(p, s, kernel);
	} else if (s->blockable && s->n_out == 1 && s->p && (s->n_in == 1 || is_op(s, "Clip")) && !is_op(s, "Resize") &&
	           kernel < 0) {
		unary_as_act(s->p);
		step_become(s, S_UNARY, s->p, s->in[0], NULL);
	}
	return ERR_OK;
}

/* --- steps that change nothing ----------------------------------------------------------------------------- */

static bool affine_is_identity(const struct affine_p *a)
{
	for (int64_t i = 0; i < a->n; i++)
		if (a->scale[i] != 1 || a->shift[i] != 0)
			return false;
	return a->act.kind == ACT_NONE && !a->act.post;
}

/* A transpose that only moves axes of extent 1. */
static bool transpose_is_view(const struct step *s)
{
	const struct move_transpose *m = s->p;
	int last = -1;
	for (int i = 0; i < s->in[0]->rank; i++) {
		if (s->in[0]->dims[m->perm[i]] == 1)
			continue;
		if (m->perm[i] < last)
			return false;
		last = m->perm[i];
	}
	return true;
}

static bool slice_is_identity(const struct step *s)
{
	const struct move_slice *m = s->p;
	for (int i = 0; i < s->in[0]->rank; i++)
		if (m->start[i] != 0 || m->step[i] != 1)
			return false;
	return same_dims(s->in[0], s->out[0]);
}

static bool is_view(const struct step *s)
{
	const struct tensor *x = step_in(s, 0), *y = step_out(s, 0);
	if (!x || !y || x->kind != K_RUN || x->dtype != y->dtype || x->n != y->n)
		return false;
	if (s->kind == S_TRANSPOSE)
		return transpose_is_view(s);
	if (s->kind == S_AFFINE)
		return affine_is_identity(s->p);
	if (s->kind == S_CONCAT)
		return s->n_in == 1;
	return s->kind == S_OP && ((is_op(s, "Slice") && slice_is_identity(s)) || is_op(s, "Expand") ||
	                           is_op(s, "Cast") || (is_op(s, "Split") && s->n_out == 1));
}

/* A view of the same shape is the tensor itself. */
static void forward_views(struct plan *p)
{
	for (uint32_t i = 0; i < p->n_steps; i++) {
		struct step *s = p->steps[i];
		for (uint32_t k = 0; k < s->n_in; k++)
			for (struct step *d; (d = made_by(s->in[k], S_VIEW)) && same_dims(d->in[0], d->out[0]);)
				s->in[k] = d->in[0];
		/* A view of a view is a view of its source. */
		for (struct step *d; s->kind == S_VIEW && (d = made_by(s->in[0], S_VIEW));)
			s->in[0] = d->in[0];
	}
}

/* --- joining affine steps ------------------------------------------------------------------------------------ */

/* (x s1 + t1) s2 + t2, along one axis or with single numbers. */
static struct affine_p *affine_join(struct plan *p, const struct step *s1, const struct step *s2)
{
	const struct affine_p *a = s1->p, *b = s2->p;
	int axis = a->axis >= 0 ? a->axis : b->axis;
	struct affine_p *r = affine_new(p, s2, axis, a->n > b->n ? a->n : b->n);
	if (!r)
		return NULL;
	for (int64_t i = 0; i < r->n; i++) {
		int64_t ia = a->n > 1 ? i : 0, ib = b->n > 1 ? i : 0;
		r->scale[i] = a->scale[ia] * b->scale[ib];
		r->shift[i] = a->shift[ia] * b->scale[ib] + b->shift[ib];
	}
	r->from_file = a->from_file && b->from_file;
	r->key = key_mix(a->key, b->key);
	r->act = b->act;
	return r;
}

static int join_affines(struct plan *p, bool *changed)
{
	for (uint32_t i = 0; i < p->n_steps; i++) {
		struct step *s = p->steps[i], *d;
		const struct affine_p *a, *b = s->p;
		if (s->dead || s->kind != S_AFFINE || !(d = made_by(s->in[0], S_AFFINE)) || !single_use(s->in[0]))
			continue;
		a = d->p;
		if (a->act.kind != ACT_NONE || a->act.post || (a->axis >= 0 && b->axis >= 0 && a->axis != b->axis))
			continue;
		if (!(s->p = affine_join(p, d, s)))
			return ERR_LIMIT;
		s->in[0] = d->in[0];
		s->in[0]->user = s;
		d->dead = true;
		*changed = true;
	}
	return ERR_OK;
}

/* --- moving views and transposes down ----------------------------------------------------------------------- */

static bool axis_one_kept(const struct tensor *a, const struct tensor *b, int axis)
{
	return axis == 1 && a->rank >= 2 && b->rank >= 2 && a->dims[0] == b->dims[0] && a->dims[1] == b->dims[1];
}

/* Does a view leave the axis of an affine step where it is? */
static bool view_keeps(const struct step *view, const struct step *s)
{
	const struct tensor *a = view->in[0], *b = view->out[0];
	const struct affine_p *q = s->p;
	if (s->kind == S_UNARY || q->axis < 0 || axis_one_kept(a, b, q->axis))
		return true;
	return a->rank >= 1 && q->axis == b->rank - 1 && a->dims[a->rank - 1] == b->dims[b->rank - 1];
}

/* f(T(x)) becomes T(f(x)): the two steps swap places and the tensor between them takes x's shape. */
static int swap_down(struct plan *p, struct step *t, struct step *s)
{
	struct tensor *x = t->in[0], *y = s->out[0], *mid = plan_tensor(p);
	struct step old = *t;
	int rc;
	if (!mid)
		return ERR_LIMIT;
	mid->kind = K_RUN;
	if ((rc = plan_shape(p, s, mid, y->dtype, x->rank, x->dims)))
		return rc;
	struct affine_p *q = s->p;
	if (s->kind == S_AFFINE && q->axis >= 0 && old.kind == S_TRANSPOSE)
		q->axis = ((const struct move_transpose *)old.p)->perm[q->axis];
	else if (s->kind == S_AFFINE && q->axis >= 0 && !axis_one_kept(x, y, q->axis))
		q->axis = x->rank - 1;
	/* t's place in the list now holds the elementwise step, s's the transpose. Their arrays of operands
	 * stay with the places. */
	t->op = s->op, t->node = s->node, t->kind = s->kind, t->run = s->run, t->p = s->p;
	t->scratch = s->scratch, t->shared = s->shared, t->blockable = s->blockable;
	s->op = old.op, s->node = old.node, s->kind = old.kind, s->run = old.run, s->p = old.p;
	s->scratch = old.scratch, s->shared = old.shared, s->blockable = old.blockable;
	t->in[0] = x;
	t->out[0] = mid;
	s->in[0] = mid;
	s->out[0] = y;
	mid->def = t;
	mid->user = s;
	mid->n_uses = 1;
	y->def = s;
	return ERR_OK;
}

static bool same_perm(const struct step *a, const struct step *b)
{
	return same_dims(a->in[0], b->in[0]) &&
	       !memcmp(((const struct move_transpose *)a->p)->perm, ((const struct move_transpose *)b->p)->perm,
	               (size_t)a->in[0]->rank);
}

/* op(T(a), T(b)) becomes T(op(a, b)): the later transpose's place computes, the operator's transposes. */
static int merge_transposes(struct plan *p, struct step *ta, struct step *tb, struct step *s, bool b_later)
{
	struct step *at = b_later ? tb : ta, *gone = b_later ? ta : tb, bin = *s, tr = *at;
	struct tensor *mid = plan_tensor(p), *a = ta->in[0], *b = tb->in[0];
	struct tensor **in = plan_alloc(p, 2, sizeof *in);
	int rc;
	if (!mid || !in)
		return ERR_LIMIT;
	mid->kind = K_RUN;
	if ((rc = plan_shape(p, s, mid, s->out[0]->dtype, a->rank, a->dims)))
		return rc;
	in[0] = a;
	in[1] = b;
	*at = bin;
	at->order = tr.order;
	at->in = in;
	at->out = tr.out;
	at->out[0] = mid;
	mid->def = at;
	mid->n_uses = 1;
	mid->user = s;
	s->op = tr.op, s->node = tr.node, s->kind = S_TRANSPOSE, s->run = tr.run, s->p = tr.p;
	s->blockable = false;
	s->in[0] = mid;
	s->in[1] = NULL;
	s->n_in = 1;
	gone->dead = true;
	return ERR_OK;
}

static int move_down(struct plan *p, bool *changed)
{
	int rc;
	for (uint32_t i = 0; i < p->n_steps; i++) {
		struct step *s = p->steps[i], *t, *u;
		if (s->dead || !s->out[0])
			continue;
		if (s->kind == S_UNARY || s->kind == S_AFFINE) {
			t = made_by(s->in[0], S_TRANSPOSE);
			t = t ? t : made_by(s->in[0], S_VIEW);
			if (!t || !single_use(s->in[0]) || t->in[0]->kind != K_RUN || t->in[0]->dtype != DT_F32 ||
			    (t->kind == S_VIEW && (!view_keeps(t, s) || !t->in[0]->def)))
				continue;
			if ((rc = swap_down(p, t, s)))
				return rc;
			*changed = true;
		} else if (s->kind == S_BINARY && s->n_in == 2) {
			t = made_by(s->in[0], S_TRANSPOSE);
			u = made_by(s->in[1], S_TRANSPOSE);
			if (!t || !u || t == u || !single_use(s->in[0]) || !single_use(s->in[1]) || !same_perm(t, u))
				continue;
			if ((rc = merge_transposes(p, t, u, s, t->order < u->order)))
				return rc;
			*changed = true;
		}
	}
	return ERR_OK;
}

/* ReduceMax or ReduceMean of a transpose over all that is not batch or channel: a global pooling. */
static const struct op *pool_op(const char *name)
{
	for (size_t i = 0; i < ops_pool.n; i++)
		if (!strcmp(ops_pool.ops[i].name, name))
			return &ops_pool.ops[i];
	return NULL;
}

static int reduce_as_pool(struct plan *p, bool *changed)
{
	for (uint32_t i = 0; i < p->n_steps; i++) {
		struct step *s = p->steps[i], *t = s->n_in ? made_by(s->in[0], S_TRANSPOSE) : NULL;
		bool max = is_op(s, "ReduceMax");
		const struct move_transpose *m;
		const struct tensor *x;
		struct tensor *mid;
		int64_t d[LIMIT_RANK];
		int rc;
		if (s->kind != S_OP || s->dead || !t || (!max && !is_op(s, "ReduceMean")) || !single_use(s->in[0]))
			continue;
		m = t->p;
		x = t->in[0];
		/* [N, L, C] made from [N, C, L], reduced over L to [N, C] or [N, 1, C]. */
		if (x->rank != 3 || x->dtype != DT_F32 || m->perm[0] != 0 || m->perm[1] != 2 || x->n == 0 ||
		    s->out[0]->n != (uint64_t)(x->dims[0] * x->dims[1]) || (x->dims[2] != 1 && x->dims[1] == x->dims[2]))
			continue;
		if (s->out[0]->dims[s->out[0]->rank - 1] != x->dims[1])
			continue;
		memcpy(d, x->dims, sizeof d);
		d[2] = 1;
		if (!(mid = plan_tensor(p)))
			return ERR_LIMIT;
		mid->kind = K_RUN;
		if ((rc = plan_shape(p, s, mid, DT_F32, 3, d)))
			return rc;
		t->op = pool_op(max ? "GlobalMaxPool" : "GlobalAveragePool");
		t->node = s->node;
		t->kind = S_POOL;
		t->run = pool_run_plain;
		t->p = NULL;
		t->blockable = true;
		t->shared = (x->bytes / (uint64_t)x->dims[1] + mid->bytes / (uint64_t)x->dims[1]) *
		            blocks_of(x->dims[1]) * CBLOCK + 128;
		t->out[0] = mid;
		mid->def = t;
		step_become(s, S_VIEW, NULL, mid, NULL);
		*changed = true;
	}
	return ERR_OK;
}

/* --- the pass --------------------------------------------------------------------------------------------------- */

#define ROUNDS_MAX 12

int plan_rewrite(struct plan *p)
{
	bool changed = true;
	int rc;
	for (uint32_t i = 0; i < p->n_steps; i++)
		if ((rc = classify(p, p->steps[i])))
			return rc;
	for (int round = 0; changed && round < ROUNDS_MAX; round++) {
		changed = false;
		for (uint32_t i = 0; i < p->n_steps; i++)
			if (!p->steps[i]->dead && p->steps[i]->kind != S_VIEW && is_view(p->steps[i])) {
				step_become(p->steps[i], S_VIEW, NULL, p->steps[i]->in[0], NULL);
				changed = true;
			}
		forward_views(p);
		plan_drop_dead(p);
		if ((rc = join_affines(p, &changed)) || (rc = rewrite_patterns(p, &changed)))
			return rc;
		plan_drop_dead(p);
		if ((rc = rewrite_lookup(p, &changed)) || (rc = move_down(p, &changed)))
			return rc;
		plan_drop_dead(p);
		if ((rc = reduce_as_pool(p, &changed)))
			return rc;
		plan_drop_dead(p);
	}
	if ((rc = rewrite_fuse(p)))
		return rc;
	rewrite_shuffle(p);
	return ERR_OK;
}
