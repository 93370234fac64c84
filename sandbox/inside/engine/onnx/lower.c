/* SPDX-License-Identifier: Apache-2.0
 *
 * Chooses layouts and kernels: convolution nets run in channel blocks from end to end, conversions stand
 * only where a plain operator meets them; concatenations become places in one buffer; elementwise steps
 * write over their input where nobody needs it any more.
 *
 * Side: inside. Trusts: rewrite.c. Owns: nothing (the plan's memory).
 */
#include "sandbox/inside/engine/onnx/fuse.h"
#include "sandbox/inside/engine/onnx/pack.h"

#include <string.h>

/* The new list of steps while it grows. */
struct lowering {
	struct plan *p;
	struct step **list;
	uint64_t n, cap;
};

bool dims_spatial(const struct tensor *t, int64_t *hw)
{
	*hw = 1;
	for (int i = 2; i < t->rank; i++)
		*hw *= t->dims[i];
	return t->rank >= 3 && t->dtype == DT_F32 && t->n > 0;
}

static int emit(struct lowering *l, struct step *s)
{
	if (l->n == l->cap)
		return plan_fail(l->p, s, ERR_INTERNAL, "more steps than were counted");
	l->list[l->n++] = s;
	return ERR_OK;
}

/* --- conversions ------------------------------------------------------------------------------------------- */

static struct tensor *twin_new(struct plan *p, struct tensor *t, uint8_t layout)
{
	struct tensor *w = plan_tensor(p);
	if (!w)
		return NULL;
	w->kind = K_RUN;
	w->dtype = t->dtype;
	w->rank = t->rank;
	memcpy(w->dims, t->dims, sizeof w->dims);
	w->n = t->n;
	w->bytes = t->bytes;
	w->layout = layout;
	return w;
}

/* One image of hw = 1 and whole blocks lies the same way in both layouts. */
static bool layouts_agree(const struct tensor *t)
{
	int64_t hw;
	dims_spatial(t, &hw);
	return hw == 1 && t->dims[1] % CBLOCK == 0;
}

static struct step *convert_step(struct lowering *l, struct tensor *from, struct tensor *to, bool to_blocks,
                                 bool rows, const struct tensor *shape)
{
	struct step *s = plan_step(l->p, NULL, NULL, 1, 1);
	struct convert_p *q = plan_alloc(l->p, 1, sizeof *q);
	int64_t hw;
	if (!s || !q)
		return NULL;
	dims_spatial(shape, &hw);
	*q = (struct convert_p){ to_blocks, rows, shape->dims[0], shape->dims[1], hw };
	s->kind = S_CONVERT;
	s->run = convert_run;
	s->p = q;
	s->in[0] = from;
	s->out[0] = to;
	to->def = s;
	return s;
}

/* Is t, as made by this transpose, [N, C, spatial] of a source that lies as [N, spatial, C]? */
static bool is_rows_source(const struct step *tr)
{
	const struct tensor *x = tr->in[0], *t = tr->out[0];
	const struct move_transpose *m = tr->p;
	int64_t sx[LIMIT_RANK], want = t->dims[1], s = 1;
	for (int i = x->rank - 1; i >= 0; i--) {
		sx[i] = s;
		s *= x->dims[i];
	}
	if (t->dims[1] != 1 && sx[m->perm[1]] != 1)
		return false;
	for (int i = t->rank - 1; i >= 2; i--) {
		if (t->dims[i] != 1 && sx[m->perm[i]] != want)
			return false;
		want *= t->dims[i];
	}
	return t->dims[0] == 1 || sx[m->perm[0]] == want;
}

static int to_blocked(struct lowering *l, struct tensor **pt)
{
	struct tensor *t = *pt, *from = t;
	struct step *tr = made_by(t, S_TRANSPOSE), *s;
	bool rows = false;
	if (t->layout == L_BLOCKED)
		return ERR_OK;
	if (!t->twin) {
		struct tensor *w = twin_new(l->p, t, L_BLOCKED);
		if (!w)
			return ERR_LIMIT;
		if (tr && tr->in[0]->kind == K_RUN && tr->in[0]->layout == L_PLAIN && is_rows_source(tr)) {
			rows = true;
			from = tr->in[0];
		}
		if (!(s = convert_step(l, from, w, true, rows, t)))
			return ERR_LIMIT;
		if (!rows && layouts_agree(t))
			s->kind = S_VIEW, s->run = NULL;
		if (emit(l, s))
			return ERR_INTERNAL;
		t->twin = w;
	}
	*pt = t->twin;
	return ERR_OK;
}

static int to_plain(struct lowering *l, struct tensor **pt)
{
	struct tensor *t = *pt;
	struct step *s;
	if (!t || t->layout == L_PLAIN)
		return ERR_OK;
	if (!t->twin) {
		struct tensor *w = twin_new(l->p, t, L_PLAIN);
		if (!w || !(s = convert_step(l, t, w, false, false, t)))
			return ERR_LIMIT;
		if (layouts_agree(t))
			s->kind = S_VIEW, s->run = NULL;
		if (emit(l, s))
			return ERR_INTERNAL;
		t->twin = w;
	}
	*pt = t->twin;
	return ERR_OK;
}

static bool can_block(const struct tensor *t)
{
	int64_t hw;
	return t && t->kind == K_RUN && dims_spatial(t, &hw);
}

/* --- one kind after the other ---------------------------------------------------------------------------- */

static int plain_step(struct lowering *l, struct step *s)
{
	for (uint32_t i = 0; i < s->n_in; i++)
		if (to_plain(l, &s->in[i]))
			return ERR_LIMIT;
	return emit(l, s);
}

static int blocked_out(struct lowering *l, struct step *s)
{
	s->out[0]->layout = L_BLOCKED;
	return emit(l, s);
}

/* Few channels out of windows that do not overlap: one product per cell gives all of the window's
 * channels in one block, then they are spread over the plain output. */
static bool can_spread(const struct step *s)
{
	const struct conv_p *q = s->p;
	const struct conv *c = &q->c;
	return c->transposed && c->groups == 1 && c->c_out * c->kh * c->kw <= CBLOCK && c->kh == c->stride_h &&
	       c->kw == c->stride_w && c->dil_h == 1 && c->dil_w == 1 && c->h_out == c->h_in * c->kh &&
	       c->w_out == c->w_in * c->kw && c->pad_top == 0 && c->pad_left == 0 && !q->has_residual && q->spatial == 2;
}

static int lower_spread(struct lowering *l, struct step *s)
{
	struct conv_p *q = s->p;
	struct step *spread = plan_step(l->p, s->op, s->node, 1, 1);
	struct tensor *mid = plan_tensor(l->p);
	int64_t d[4] = { q->c.n, q->c.c_out * q->c.kh * q->c.kw, q->c.h_in, q->c.w_in };
	struct conv *kept = plan_alloc(l->p, 1, sizeof *kept);
	int rc;
	if (!spread || !mid || !kept)
		return ERR_LIMIT;
	if ((rc = plan_shape(l->p, s, mid, DT_F32, 4, d)) || (rc = to_blocked(l, &s->in[0])) ||
	    (rc = pack_spread(l->p, s)))
		return rc;
	*kept = q->c;
	mid->kind = K_RUN;
	mid->layout = L_BLOCKED;
	mid->def = s;
	q->c.transposed = false;
	q->c.c_out = d[1];
	q->c.h_out = q->c.h_in;
	q->c.w_out = q->c.w_in;
	q->c.kh = q->c.kw = q->c.stride_h = q->c.stride_w = 1;
	s->scratch = conv_scratch_bytes(&q->c) + 64;
	s->run = conv_fused_run;
	spread->p = kept;
	spread->run = spread_run;
	spread->in[0] = mid;
	spread->out[0] = s->out[0];
	spread->out[0]->def = spread;
	s->out[0] = mid;
	return emit(l, s) ? ERR_INTERNAL : emit(l, spread);
}

static int lower_conv(struct lowering *l, struct step *s)
{
	struct conv_p *q = s->p;
	int rc;
	if (s->in[1]->kind != K_CONST || (s->n_in > 2 && s->in[2] && !q->has_residual && s->in[2]->kind != K_CONST) ||
	    !can_block(s->in[0]) || !can_block(s->out[0]))
		return plain_step(l, s);
	if (can_spread(s))
		return lower_spread(l, s);
	q->c.x_nchw = q->c.c_in <= 4 && s->in[0]->layout == L_PLAIN && conv_can_nchw(&q->c);
	if (!q->c.x_nchw && (rc = to_blocked(l, &s->in[0])))
		return rc;
	if (q->has_residual && (rc = to_blocked(l, &s->in[s->n_in - 1])))
		return rc;
	if ((rc = pack_conv(l->p, s)))
		return rc;
	s->run = conv_fused_run;
	return blocked_out(l, s);
}

static int lower_matmul(struct lowering *l, struct step *s)
{
	int rc = pack_matmul(l->p, s);
	return rc ? rc : plain_step(l, s);
}

static int lower_blocked(struct lowering *l, struct step *s)
{
	int rc = to_blocked(l, &s->in[0]);
	return rc ? rc : blocked_out(l, s);
}

static int lower_pool(struct lowering *l, struct step *s)
{
	if (!can_block(s->in[0]) || !can_block(s->out[0]))
		return plain_step(l, s);
	s->shared = 0;
	return lower_blocked(l, s);
}

static int lower_elementwise(struct lowering *l, struct step *s)
{
	const struct affine_p *a = s->p;
	if (s->in[0]->layout == L_BLOCKED && (s->kind == S_UNARY || a->axis < 0 || a->axis == 1))
		return blocked_out(l, s);
	return plain_step(l, s);
}

/* [N, C, 1, ...] against [N, C, spatial]. */
static bool is_channel_operand(const struct tensor *b, const struct tensor *x)
{
	if (b->rank != x->rank || b->dims[0] != x->dims[0] || b->dims[1] != x->dims[1])
		return false;
	for (int i = 2; i < b->rank; i++)
		if (b->dims[i] != 1)
			return false;
	return true;
}

static int lower_binary(struct lowering *l, struct step *s)
{
	struct tensor *a = s->in[0], *b = s->in[1], *y = s->out[0];
	const struct binary_p *q = s->p;
	bool commutes = q->kernel == BIN_ADD || q->kernel == BIN_MUL || q->kernel == BIN_MAX || q->kernel == BIN_MIN;
	int rc;
	if (!can_block(a) || !can_block(b) || !can_block(y) ||
	    (a->layout == L_PLAIN && b->layout == L_PLAIN))
		return plain_step(l, s);
	if (commutes && is_channel_operand(a, b) && !same_dims(a, b)) {
		s->in[0] = b;
		s->in[1] = a;
	} else if (!same_dims(a, b) && !is_channel_operand(b, a)) {
		return plain_step(l, s);
	}
	if (!same_dims(s->in[0], y))
		return plain_step(l, s);
	if ((rc = to_blocked(l, &s->in[0])) || (rc = to_blocked(l, &s->in[1])))
		return rc;
	s->run = binary_blocks_run;
	return blocked_out(l, s);
}

static int lower_concat(struct lowering *l, struct step *s)
{
	bool any = false;
	int rc;
	for (uint32_t i = 0; i < s->n_in; i++) {
		if (!can_block(s->in[i]))
			return plain_step(l, s);
		any = any || s->in[i]->layout == L_BLOCKED;
	}
	if (!any || ((const struct move_axis *)s->p)->axis != 1)
		return plain_step(l, s);
	for (uint32_t i = 0; i < s->n_in; i++)
		if ((rc = to_blocked(l, &s->in[i])))
			return rc;
	s->run = concat_blocks_run;
	return blocked_out(l, s);
}

static int lower_view(struct lowering *l, struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	if (x->layout == L_BLOCKED && y->rank >= 3 && x->dims[0] == y->dims[0] && x->dims[1] == y->dims[1])
		return blocked_out(l, s);
	return plain_step(l, s);
}

/* A transpose of a blocked tensor to [N, spatial, C] is the conversion itself. */
static int lower_transpose(struct lowering *l, struct step *s)
{
	struct tensor *x = s->in[0], *y = s->out[0];
	const struct move_transpose *m = s->p;
	int64_t hw;
	struct step *c;
	bool rows = x->layout == L_BLOCKED && dims_spatial(x, &hw);
	int last = -1;
	for (int i = 0; i < y->rank && rows; i++) {
		if (y->dims[i] == 1 || m->perm[i] == 1)
			continue;
		rows = m->perm[i] > last;
		last = m->perm[i];
	}
	/* the channels come last among the axes longer than 1 */
	for (int i = y->rank - 1; i >= 0 && rows; i--)
		if (y->dims[i] != 1) {
			rows = m->perm[i] == 1;
			break;
		}
	if (!rows || x->dims[1] == 1)
		return plain_step(l, s);
	if (!(c = convert_step(l, x, y, false, true, x)))
		return ERR_LIMIT;
	return emit(l, c);
}

static int lower_op(struct lowering *l, struct step *s)
{
	/* Resize by nearest neighbours works in blocks. */
	if (s->op && s->blockable && !strcmp(s->op->name, "Resize") && s->in[0]->layout == L_BLOCKED)
		return lower_blocked(l, s);
	if (s->run == lstm_run) {
		int rc = pack_lstm(l->p, s);
		if (rc)
			return rc;
	}
	return plain_step(l, s);
}

static int lower_step(struct lowering *l, struct step *s)
{
	switch (s->kind) {
	case S_CONV: return lower_conv(l, s);
	case S_MATMUL: return lower_matmul(l, s);
	case S_POOL: return lower_pool(l, s);
	case S_UNARY:
	case S_AFFINE: return lower_elementwise(l, s);
	case S_BINARY: return lower_binary(l, s);
	case S_CONCAT: return lower_concat(l, s);
	case S_VIEW: return lower_view(l, s);
	case S_TRANSPOSE: return lower_transpose(l, s);
	case S_SHUFFLE: return lower_blocked(l, s);
	case S_OP:
	case S_LOOKUP:
	case S_CONVERT: break;
	}
	return lower_op(l, s);
}

/* --- storage shared on purpose ------------------------------------------------------------------------------ */

static void place_parts(struct step *s)
{
	struct tensor *y = s->out[0];
	int64_t hw, c = 0;
	if (y->layout != L_BLOCKED || y->dims[0] != 1)
		return;
	dims_spatial(y, &hw);
	for (uint32_t i = 0; i < s->n_in; i++) {
		struct tensor *x = s->in[i];
		bool own = x->kind == K_RUN && x->def && x->def->kind != S_VIEW && !x->root && !x->is_output && !x->is_input;
		if (c % CBLOCK == 0 && (x->dims[1] % CBLOCK == 0 || i + 1 == s->n_in) && own && x != y) {
			x->root = y;
			x->root_off = (uint64_t)(c * hw) * 4;
			y->is_placed = true;
		}
		c += x->dims[1];
	}
}

/* May the step write over operand i? */
static bool overwrites(const struct step *s, uint32_t i)
{
	const struct tensor *x = s->in[i], *y = s->out[0];
	return x && x->kind == K_RUN && x->n_uses == 1 && !x->is_input && !x->root && !x->is_placed && !x->is_output && !y->root &&
	       !y->is_placed && x->layout == y->layout && same_dims(x, y) && x->dtype == y->dtype;
}

static void share_storage(struct plan *p)
{
	for (uint32_t i = p->n_steps; i-- > 0;)
		if (p->steps[i]->kind == S_CONCAT && p->steps[i]->run == concat_blocks_run)
			place_parts(p->steps[i]);
	for (uint32_t i = 0; i < p->n_steps; i++) {
		struct step *s = p->steps[i];
		uint32_t k = 0, n = s->kind == S_UNARY || s->kind == S_AFFINE ? 1 : s->kind == S_BINARY ? 2 : 0;
		if (s->kind == S_VIEW)
			s->out[0]->root = s->in[0];
		while (k < n && !overwrites(s, k))
			k++;
		if (s->run == conv_fused_run && ((const struct conv_p *)s->p)->has_residual)
			k = s->n_in - 1, n = overwrites(s, k) ? s->n_in : 0;
		if (k < n) {
			s->out[0]->root = s->in[k];
			s->in[k]->is_placed = true;
		}
	}
}

/* An input that nothing else shares storage with is not copied. */
static void read_in_place(struct plan *p)
{
	for (uint32_t i = 0; i < p->m->n_inputs; i++)
		if (p->inputs[i] && p->inputs[i]->kind == K_RUN)
			p->inputs[i]->is_given = !p->inputs[i]->is_output && !p->inputs[i]->is_placed;
	for (uint32_t i = 0; i < p->n_steps; i++)
		if (p->steps[i]->kind == S_VIEW)
			p->steps[i]->in[0]->is_given = false;
}

static int constants(struct plan *p)
{
	for (uint32_t i = 0; i < p->n_steps; i++)
		for (uint32_t k = 0; k < p->steps[i]->n_in; k++) {
			struct tensor *t = p->steps[i]->in[k];
			if (t && t->kind == K_CONST && !plan_data(p, t))
				return ERR_LIMIT;
		}
	for (uint32_t i = 0; i < p->m->n_outputs; i++)
		if (p->outputs[i]->kind == K_CONST && !plan_data(p, p->outputs[i]))
			return ERR_LIMIT;
	return ERR_OK;
}

int plan_lower(struct plan *p)
{
	struct lowering l = { .p = p };
	uint64_t operands = 0;
	int rc;
	for (uint32_t i = 0; i < p->n_steps; i++)
		operands += p->steps[i]->n_in;
	l.cap = 2ull * p->n_steps + operands + p->m->n_outputs;
	l.list = plan_alloc(p, l.cap, sizeof *l.list);
	if (!l.list)
		return ERR_LIMIT;
	for (uint32_t i = 0; i < p->n_steps; i++)
		if ((rc = lower_step(&l, p->steps[i])))
			return rc;
	for (uint32_t i = 0; i < p->m->n_outputs; i++)
		if (p->outputs[i]->layout == L_BLOCKED) {
			p->outputs[i]->is_output = false;
			if ((rc = to_plain(&l, &p->outputs[i])))
				return rc;
			p->outputs[i]->is_output = true;
		}
	p->steps = l.list;
	p->n_steps = (uint32_t)l.n;
	plan_drop_dead(p);
	share_storage(p);
	read_in_place(p);
	return constants(p);
}
