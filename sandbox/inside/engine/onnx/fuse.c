/* SPDX-License-Identifier: Apache-2.0
 *
 * Lets convolutions and products with constant weights take in what follows them: scale and shift per
 * channel (into the weights), the addition of another tensor, an activation and its own scale and shift.
 *
 * Side: inside. Trusts: rewrite.c's bookkeeping. Owns: nothing (the plan's memory).
 */
#include "sandbox/inside/engine/onnx/fuse.h"

#include <string.h>

/* The parts that a convolution and a product share. */
struct epilogue {
	int axis;                /* of the channels in the output */
	int64_t n;
	float **scale, **shift;
	bool *from_file;
	uint64_t *key;
	struct activation *act;
	bool *has_residual;
};

static bool act_is_open(const struct activation *a) { return a->kind == ACT_NONE && !a->post; }

static int take_affine(struct plan *p, const struct epilogue *e, const struct affine_p *a)
{
	float *scale = *e->scale, *shift = *e->shift;
	if (!scale) {
		scale = *e->scale = plan_alloc(p, (uint64_t)e->n, 4);
		shift = *e->shift = plan_alloc(p, (uint64_t)e->n, 4);
		*e->from_file = true;
		for (int64_t i = 0; scale && i < e->n; i++)
			scale[i] = 1;
	}
	if (!scale || !shift)
		return ERR_LIMIT;
	for (int64_t i = 0; i < e->n; i++) {
		int64_t k = a->n > 1 ? i : 0;
		scale[i] *= a->scale[k];
		shift[i] = shift[i] * a->scale[k] + a->shift[k];
	}
	*e->from_file = *e->from_file && a->from_file;
	*e->key = key_mix(*e->key, a->key);
	return ERR_OK;
}

/* The other operand of an addition with t; NULL when it cannot be a residual. */
static struct tensor *residual_of(const struct step *u, const struct tensor *t)
{
	struct tensor *o = u->in[0] == t ? u->in[1] : u->in[0];
	if (u->kind != S_BINARY || ((const struct binary_p *)u->p)->kernel != BIN_ADD || u->n_in != 2 || o == t)
		return NULL;
	return o->kind == K_RUN && same_dims(o, t) && same_dims(o, u->out[0]) ? o : NULL;
}

/* Takes step u in. 1: done; 0: cannot; else an error. */
static int take(struct plan *p, const struct epilogue *e, const struct tensor *t, const struct step *u,
                struct tensor **residual)
{
	const struct affine_p *a = u->p;
	const struct elem_unary *f = u->p;
	struct tensor *o;
	if (u->kind == S_AFFINE && act_is_open(e->act) && !*e->has_residual &&
	    (a->axis < 0 || (a->axis == e->axis && a->n == e->n))) {
		int rc = take_affine(p, e, a);
		*e->act = a->act;
		return rc ? rc : 1;
	}
	if (u->kind == S_AFFINE && a->axis < 0 && act_is_open(&a->act) && e->act->kind != ACT_NONE) {
		e->act->post_mul = (e->act->post ? e->act->post_mul : 1) * a->scale[0];
		e->act->post_add = (e->act->post ? e->act->post_add * a->scale[0] : 0) + a->shift[0];
		e->act->post = true;
		return 1;
	}
	if (u->kind == S_UNARY && f->is_act && act_is_open(e->act)) {
		*e->act = f->act;
		return 1;
	}
	if (!*e->has_residual && act_is_open(e->act) && (o = residual_of(u, t))) {
		*residual = o;
		*e->has_residual = true;
		return 1;
	}
	return 0;
}

/* Step s moves to u's place and makes u's output. */
static void move_to(struct step *s, struct step *u, struct tensor *residual)
{
	struct tensor *out = u->out[0], **outs = u->out;
	uint32_t order = u->order;
	*u = *s;
	u->order = order;
	u->out = outs;
	u->out[0] = out;
	out->def = u;
	if (residual)
		u->in[u->n_in++] = residual;
	for (uint32_t i = 0; i < u->n_in; i++)
		if (u->in[i])
			u->in[i]->user = u;
	s->dead = true;
}

static int absorb(struct plan *p, struct step *s, const struct epilogue *e)
{
	struct tensor *t = s->out[0], *residual = NULL;
	struct step *u = t->user;
	int rc;
	if (!single_use(t) || !u || u->dead || !u->out[0])
		return 0;
	if ((rc = take(p, e, t, u, &residual)) <= 0)
		return rc;
	move_to(s, u, residual);
	return 0;
}

/* Room for a residual behind the operands. */
static int widen(struct plan *p, struct step *s)
{
	struct tensor **in = plan_alloc(p, s->n_in + 2, sizeof *in);
	if (!in)
		return ERR_LIMIT;
	memcpy(in, s->in, s->n_in * sizeof *in);
	s->in = in;
	return ERR_OK;
}

static int fuse_conv(struct plan *p, struct step *s)
{
	struct conv_p *q = s->p;
	struct epilogue e = { 1, q->c.c_out, &q->scale, &q->shift, &q->affine_from_file, &q->fused_key, &q->act,
		              &q->has_residual };
	if (s->in[1]->kind != K_CONST || (step_in(s, 2) && !q->has_residual && s->in[2]->kind != K_CONST))
		return ERR_OK;
	return absorb(p, s, &e);
}

/* A product whose right side is one constant matrix; Gemm with C as one constant row or none. */
static bool packable(const struct step *s)
{
	const struct gemm_p *g = s->p;
	const struct tensor *b = s->in[1], *c = g->is_gemm ? step_in(s, 2) : NULL;
	if (b->kind != K_CONST || !g->flat || g->k == 0 || g->n == 0 || g->trans_a || s->out[0]->n == 0)
		return false;
	if (c && (c->kind != K_CONST || (c->rank == 2 && c->dims[0] != 1) || (c->n != 1 && c->n != (uint64_t)g->n)))
		return false;
	return s->in[0]->kind == K_RUN;
}

static int fuse_matmul(struct plan *p, struct step *s)
{
	struct gemm_p *g = s->p;
	struct epilogue e = { s->out[0]->rank - 1, g->n, &g->scale, &g->shift, &g->affine_from_file, &g->fused_key,
		              &g->act, &g->has_residual };
	if (!g->has_residual && !packable(s))
		return ERR_OK;
	return absorb(p, s, &e);
}

/* An activation behind an affine step that stayed alone: one pass. */
static void fuse_affine(struct step *s)
{
	struct step *u = s->out[0]->user;
	struct affine_p *a = s->p;
	if (!single_use(s->out[0]) || !u || u->dead || u->kind != S_UNARY || !act_is_open(&a->act) ||
	    !((const struct elem_unary *)u->p)->is_act)
		return;
	a->act = ((const struct elem_unary *)u->p)->act;
	move_to(s, u, NULL);
}

int rewrite_fuse(struct plan *p)
{
	int rc = 0;
	plan_count_uses(p);
	for (uint32_t i = 0; i < p->n_steps; i++)
		if (p->steps[i]->kind == S_CONV || p->steps[i]->kind == S_MATMUL)
			if ((rc = widen(p, p->steps[i])))
				return rc;
	/* A step that takes something in moves to that step's place and is met again there. */
	for (uint32_t i = 0; i < p->n_steps && !rc; i++) {
		struct step *s = p->steps[i];
		if (s->dead)
			continue;
		if (s->kind == S_CONV)
			rc = fuse_conv(p, s);
		else if (s->kind == S_MATMUL)
			rc = fuse_matmul(p, s);
	}
	for (uint32_t i = 0; i < p->n_steps && !rc; i++)
		if (!p->steps[i]->dead && p->steps[i]->kind == S_AFFINE)
			fuse_affine(p->steps[i]);
	plan_drop_dead(p);
	return rc;
}
