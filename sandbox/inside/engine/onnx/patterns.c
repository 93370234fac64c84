/* SPDX-License-Identifier: Apache-2.0
 *
 * Recognises activations that a file spells out step by step (HardSwish, Swish, both GELUs) and
 * embeddings written as a product with one-hot rows; and lets elementwise steps behind such a lookup
 * be computed once on its table.
 *
 * Side: inside. Trusts: rewrite.c's bookkeeping. Owns: nothing (the plan's memory).
 */
#include "sandbox/inside/engine/onnx/fuse.h"

#include <math.h>
#include <string.h>

static bool is_op(const struct step *s, const char *name) { return s->op && !strcmp(s->op->name, name); }
static bool near(float a, float b) { return fabsf(a - b) <= 1e-4f * fabsf(b); }

/* The affine step with single numbers that makes t from x, without an activation. */
static const struct affine_p *scalar_of(const struct tensor *t, const struct tensor *x)
{
	const struct step *s = made_by(t, S_AFFINE);
	const struct affine_p *a = s ? s->p : NULL;
	return a && a->axis < 0 && s->in[0] == x && a->act.kind == ACT_NONE && !a->act.post ? a : NULL;
}

/* The unary step of an activation that makes t, with or without a scale and shift behind it. */
static struct step *act_any(const struct tensor *t, enum act kind)
{
	struct step *s = made_by(t, S_UNARY);
	const struct elem_unary *u = s ? s->p : NULL;
	return u && u->is_act && u->act.kind == kind ? s : NULL;
}

/* ... and with no shift; *scale is its scale. */
static struct step *act_of(const struct tensor *t, enum act kind, float *scale)
{
	struct step *s = act_any(t, kind);
	const struct activation *a = s ? &((const struct elem_unary *)s->p)->act : NULL;
	*scale = a && a->post ? a->post_mul : 1;
	return a && (!a->post || a->post_add == 0) ? s : NULL;
}

static struct step *un_of(const struct tensor *t, enum unary un)
{
	struct step *s = made_by(t, S_UNARY);
	const struct elem_unary *u = s ? s->p : NULL;
	return u && !u->is_act && u->un == un ? s : NULL;
}

static bool is_binary(const struct step *s, enum binary k)
{
	return s && s->kind == S_BINARY && s->n_in == 2 && ((const struct binary_p *)s->p)->kernel == (int)k &&
	       same_dims(s->in[0], s->in[1]);
}

/* t = coef * x^degree? Counted depth: the longest spelling of a cube is four steps. */
static bool monomial(const struct tensor *t, const struct tensor *x, int depth, float *coef, int *degree)
{
	const struct affine_p *a;
	const struct step *s;
	float c1, c2;
	int d1, d2;
	*coef = 1;
	*degree = 1;
	if (t == x)
		return true;
	if (depth == 0)
		return false;
	if ((s = made_by(t, S_AFFINE)) && (a = scalar_of(t, s->in[0])) && a->shift[0] == 0) {
		bool ok = monomial(s->in[0], x, depth - 1, coef, degree);
		*coef *= a->scale[0];
		return ok;
	}
	if ((s = un_of(t, UN_SQUARE))) {
		bool ok = monomial(s->in[0], x, depth - 1, coef, degree);
		*coef *= *coef;
		*degree *= 2;
		return ok;
	}
	if (!(s = made_by(t, S_BINARY)) || !is_binary(s, BIN_MUL) || !monomial(s->in[0], x, depth - 1, &c1, &d1) ||
	    !monomial(s->in[1], x, depth - 1, &c2, &d2))
		return false;
	*coef = c1 * c2;
	*degree = d1 + d2;
	return true;
}

/* x * clip(a x + b, 0, hi) = hi * hardswish. */
static bool hard_swish(const struct tensor *x, const struct tensor *v, struct activation *act)
{
	float by, by_hs;
	const struct step *clip = act_of(v, ACT_CLIP, &by), *hs = act_of(v, ACT_HARDSIGMOID, &by_hs);
	const struct activation *c = clip ? &((const struct elem_unary *)clip->p)->act : NULL;
	const struct affine_p *a;
	if (hs && hs->in[0] == x) {
		*act = ((const struct elem_unary *)hs->p)->act;
		act->kind = ACT_HARDSWISH;
		return true;
	}
	if (!c || c->alpha != 0 || !(c->beta > 0) || isinf(c->beta) || !(a = scalar_of(clip->in[0], x)))
		return false;
	*act = (struct activation){ .kind = ACT_HARDSWISH, .alpha = a->scale[0] / c->beta,
		                    .beta = a->shift[0] / c->beta, .post = true, .post_mul = c->beta * by };
	return true;
}

/* x * sigmoid(a x). */
static bool swish(const struct tensor *x, const struct tensor *v, struct activation *act)
{
	float by;
	const struct step *s = act_of(v, ACT_SIGMOID, &by);
	const struct affine_p *a = s ? scalar_of(s->in[0], x) : NULL;
	if (!s || (s->in[0] != x && (!a || a->shift[0] != 0)))
		return false;
	*act = (struct activation){ .kind = ACT_SWISH, .alpha = a ? a->scale[0] : 1, .post = by != 1, .post_mul = by };
	return true;
}

/* t = q + q f(inner): f is erf with an affine step behind it, or tanh, whose own post step may hold q. */
static const struct step *gelu_half(const struct tensor *t, float *q, bool *is_tanh)
{
	const struct step *outer = made_by(t, S_AFFINE), *f = act_any(t, ACT_TANH);
	const struct affine_p *a = outer ? scalar_of(t, outer->in[0]) : NULL;
	const struct activation *post = f ? &((const struct elem_unary *)f->p)->act : NULL;
	*is_tanh = f != NULL;
	if (post) {
		*q = post->post_mul;
		return post->post && near(post->post_mul, post->post_add) ? f : NULL;
	}
	if (!a || !near(a->scale[0], a->shift[0]))
		return NULL;
	*q = a->scale[0];
	if ((f = un_of(outer->in[0], UN_ERF)))
		return f;
	*is_tanh = true;
	f = act_any(outer->in[0], ACT_TANH);
	return f && !((const struct elem_unary *)f->p)->act.post ? f : NULL;
}

/* t = x + 0.044715 x^3: x, or NULL. */
static struct tensor *gelu_cubic(const struct tensor *t)
{
	const struct step *add = made_by(t, S_BINARY);
	float c;
	int degree;
	if (!is_binary(add, BIN_ADD))
		return NULL;
	for (int k = 0; k < 2; k++)
		if (monomial(add->in[!k], add->in[k], 4, &c, &degree) && degree == 3 && near(c, 0.044715f))
			return add->in[k];
	return NULL;
}

/* (c x) * (q + q f(k x ...)): both GELUs. x is what both sides are made from. */
static bool gelu(const struct tensor *left, const struct tensor *right, struct activation *act,
                 struct tensor **from)
{
	float q, h;
	bool is_tanh;
	int degree;
	const struct step *f = gelu_half(right, &q, &is_tanh), *inner = f ? made_by(f->in[0], S_AFFINE) : NULL;
	const struct affine_p *k = inner ? scalar_of(f->in[0], inner->in[0]) : NULL;
	struct tensor *x;
	if (!k || k->shift[0] != 0 || q == 0 || !near(k->scale[0], is_tanh ? 0.7978845608f : 0.7071067812f))
		return false;
	x = is_tanh ? gelu_cubic(inner->in[0]) : inner->in[0];
	if (!x || !monomial(left, x, 1, &h, &degree) || degree != 1)
		return false;
	*act = (struct activation){ .kind = is_tanh ? ACT_GELU_TANH : ACT_GELU_ERF, .post = true,
		                    .post_mul = 2 * h * q };
	*from = x;
	return true;
}

static void settle_post(struct activation *a)
{
	if (a->post && fabsf(a->post_mul - 1) < 2e-7f && a->post_add == 0)
		a->post = false, a->post_mul = 0;
}

static int product_as_act(struct plan *p, struct step *s, bool *changed)
{
	for (int k = 0; k < 2; k++) {
		struct tensor *x = s->in[k], *v = s->in[!k], *from = x;
		struct activation act;
		struct elem_unary *u;
		if (!hard_swish(x, v, &act) && !swish(x, v, &act) && !gelu(x, v, &act, &from))
			continue;
		if (!(u = plan_alloc(p, 1, sizeof *u)))
			return ERR_LIMIT;
		settle_post(&act);
		*u = (struct elem_unary){ .is_act = true, .act = act };
		step_become(s, S_UNARY, u, from, NULL);
		*changed = true;
		return ERR_OK;
	}
	return ERR_OK;
}

/* act(x) s + t with single numbers: the activation's own post step. */
static int post_affine(struct plan *p, struct step *s, bool *changed)
{
	struct step *d = made_by(s->in[0], S_UNARY);
	const struct affine_p *a = s->p;
	struct elem_unary *u;
	if (!d || !single_use(s->in[0]) || !((const struct elem_unary *)d->p)->is_act || a->axis >= 0 ||
	    a->act.kind != ACT_NONE || a->act.post)
		return ERR_OK;
	if (!(u = plan_alloc(p, 1, sizeof *u)))
		return ERR_LIMIT;
	*u = *(const struct elem_unary *)d->p;
	u->act.post_mul = (u->act.post ? u->act.post_mul : 1) * a->scale[0];
	u->act.post_add = (u->act.post ? u->act.post_add * a->scale[0] : 0) + a->shift[0];
	u->act.post = true;
	settle_post(&u->act);
	step_become(s, S_UNARY, u, d->in[0], NULL);
	d->dead = true;
	*changed = true;
	return ERR_OK;
}

int rewrite_patterns(struct plan *p, bool *changed)
{
	int rc = 0;
	for (uint32_t i = 0; i < p->n_steps && !rc; i++) {
		struct step *s = p->steps[i];
		if (s->dead || !s->out[0])
			continue;
		if (is_binary(s, BIN_MUL))
			rc = product_as_act(p, s, changed);
		else if (s->kind == S_AFFINE)
			rc = post_affine(p, s, changed);
	}
	return rc;
}

/* --- lookups -------------------------------------------------------------------------------------------------- */

static struct tensor *behind_views(struct tensor *t)
{
	for (struct step *s; (s = made_by(t, S_VIEW));)
		t = s->in[0];
	return t;
}

static int64_t last_dim(const struct tensor *t) { return t->rank ? t->dims[t->rank - 1] : 0; }

/* 0, 1, ... depth - 1 along the last axis. */
static bool is_iota(struct plan *p, struct tensor *t, int64_t depth)
{
	if (t->kind != K_CONST || (t->dtype != DT_I64 && t->dtype != DT_I32) || t->n != (uint64_t)depth ||
	    last_dim(t) != depth || !plan_data(p, t))
		return false;
	for (int64_t i = 0; i < depth; i++)
		if (const_int(t, (uint64_t)i) != i)
			return false;
	return true;
}

/* The ids behind Cast(Equal(ids, 0..depth-1)), the ids written out along the last axis or not. */
static struct tensor *ids_of_equal(struct plan *p, struct tensor *t, int64_t depth)
{
	struct step *cast = t->def, *eq, *ex;
	if (!cast || !is_op(cast, "Cast") || cast->in[0]->kind != K_RUN || !(eq = cast->in[0]->def) ||
	    !is_op(eq, "Equal"))
		return NULL;
	for (int k = 0; k < 2; k++) {
		struct tensor *ids = eq->in[k];
		if (ids->kind != K_RUN || !is_iota(p, eq->in[!k], depth))
			continue;
		ids = behind_views(ids);
		ex = ids->def;
		if (ex && is_op(ex, "Expand") && last_dim(ids) == depth && last_dim(ex->in[0]) == 1 &&
		    ex->in[0]->n * (uint64_t)depth == ids->n)
			ids = ex->in[0];
		else if (last_dim(eq->in[k]) != 1)
			continue;
		return ids->n * (uint64_t)depth == t->n ? behind_views(ids) : NULL;
	}
	return NULL;
}

static struct tensor *ids_of_one_hot(struct plan *p, struct tensor *t, int64_t depth)
{
	struct step *s = t->def;
	const float *v;
	if (!s || !is_op(s, "OneHot") || ((const struct move_axis *)s->p)->axis != t->rank - 1 ||
	    ((const struct move_axis *)s->p)->extent != depth || s->in[2]->kind != K_CONST ||
	    !(v = plan_data(p, s->in[2])) || v[0] != 0 || v[1] != 1 || s->in[0]->kind != K_RUN)
		return NULL;
	return behind_views(s->in[0]);
}

static struct tensor *table_new(struct plan *p, int64_t rows, int64_t width)
{
	struct tensor *t = plan_tensor(p);
	int64_t d[2] = { rows, width };
	if (!t || plan_shape(p, NULL, t, DT_F32, 2, d))
		return NULL;
	t->kind = K_CONST;
	t->data = plan_alloc(p, (uint64_t)rows, (uint64_t)width * 4);
	return t->data ? t : NULL;
}

static int product_as_lookup(struct plan *p, struct step *s, bool *changed)
{
	struct tensor *w = s->in[1], *t = behind_views(s->in[0]), *ids;
	struct lookup_p *q;
	bool wrap = false;
	int64_t depth;
	if (s->run != matmul_run || w->kind != K_CONST || w->rank != 2 || t->kind != K_RUN || t->dtype != DT_F32)
		return ERR_OK;
	depth = w->dims[0];
	if (depth < 2 || depth > 1 << 20 || last_dim(t) != depth)
		return ERR_OK;
	if (!(ids = ids_of_equal(p, t, depth))) {
		ids = ids_of_one_hot(p, t, depth);
		wrap = true;
	}
	if (!ids || ids->n * (uint64_t)w->dims[1] != s->out[0]->n || s->out[0]->n == 0)
		return ERR_OK;
	q = plan_alloc(p, 1, sizeof *q);
	if (!q || !plan_data(p, w))
		return ERR_LIMIT;
	*q = (struct lookup_p){ .depth = depth, .width = w->dims[1], .wrap = wrap };
	if (!(q->table = table_new(p, depth + 1, q->width)))
		return ERR_LIMIT;
	memcpy(q->table->data, w->data, w->bytes);
	step_become(s, S_LOOKUP, q, ids, NULL);
	s->shared = ids->n * 4;
	s->macs = 0;
	*changed = true;
	return ERR_OK;
}

/* An elementwise step behind a lookup is computed on the table, its last row too. */
static int absorb_into_table(struct plan *p, struct step *s, bool *changed)
{
	struct step *d = made_by(s->in[0], S_LOOKUP);
	struct lookup_p *q;
	struct tensor *t;
	const struct affine_p *a = s->p;
	struct run r = { .k = p->s->k, .n_threads = 1, .plan = p };
	if (!d || !single_use(s->in[0]))
		return ERR_OK;
	q = d->p;
	if (s->kind == S_AFFINE && (a->axis >= 0 ? a->axis != s->out[0]->rank - 1 || a->n != q->width : false))
		return ERR_OK;
	if (!(t = table_new(p, q->depth + 1, q->width)))
		return ERR_LIMIT;
	for (int64_t i = 0; s->kind == S_AFFINE && i < (int64_t)t->n; i++) {
		int64_t c = a->n > 1 ? i % q->width : 0;
		((float *)t->data)[i] = fmaf(((const float *)q->table->data)[i], a->scale[c], a->shift[c]);
	}
	if (s->kind == S_AFFINE && (a->act.kind != ACT_NONE || a->act.post))
		r.k->activate_f32(a->act, t->data, t->data, t->n);
	if (s->kind == S_UNARY)
		elem_unary_run(&r, s->p, t->data, q->table->data, t->n);
	q->table = t;
	uint64_t shared = d->shared;
	step_become(s, S_LOOKUP, q, d->in[0], NULL);
	s->shared = shared;
	d->dead = true;
	*changed = true;
	return ERR_OK;
}

int rewrite_lookup(struct plan *p, bool *changed)
{
	int rc = 0;
	for (uint32_t i = 0; i < p->n_steps && !rc; i++) {
		struct step *s = p->steps[i];
		if (s->dead || !s->out[0])
			continue;
		if (s->kind == S_MATMUL)
			rc = product_as_lookup(p, s, changed);
		else if (s->kind == S_UNARY || s->kind == S_AFFINE)
			rc = absorb_into_table(p, s, changed);
	}
	return rc;
}

int lookup_run(struct run *r, const struct step *s)
{
	const struct lookup_p *q = s->p;
	const struct tensor *ids = s->in[0];
	int32_t *row = (int32_t *)(void *)r->shared;
	for (uint64_t i = 0; i < ids->n; i++) {
		int64_t v = const_int(ids, i);
		v += q->wrap && v < 0 ? q->depth : 0;
		row[i] = (int32_t)(v < 0 || v >= q->depth ? q->depth : v);
	}
	r->k->lookup_rows_f32(s->out[0]->data, q->table->data, row, ids->n, (size_t)q->width);
	return ERR_OK;
}
