/* SPDX-License-Identifier: Apache-2.0
 *
 * Channel shuffles that cost nothing. A shuffle is written as Reshape, Transpose, Reshape; where a
 * convolution that reads its channels through a table of offsets follows, with or without a depthwise one
 * in between, the channels stay where they are: the depthwise weights and the offsets are permuted.
 *
 * Side: inside. Trusts: rewrite.c's bookkeeping. Owns: nothing.
 */
#include "sandbox/inside/engine/onnx/fuse.h"

/* [N, C, spatial] as [N, groups, C / groups, spatial] with the two middle axes exchanged? groups, else 0. */
static int64_t shuffled_groups(const struct step *tr, const struct tensor *x, const struct tensor *y)
{
	const struct tensor *t = tr->in[0];
	const struct move_transpose *m = tr->p;
	int spatial = t->rank - 3;
	if (spatial < 1 || x->rank != spatial + 2 || !same_dims(x, y) || t->dims[0] != x->dims[0] || t->dims[1] < 1 ||
	    t->dims[2] < 1 || t->dims[1] > x->dims[1] || x->dims[1] % t->dims[1] || t->dims[2] != x->dims[1] / t->dims[1])
		return 0;
	for (int i = 0; i < spatial; i++)
		if (t->dims[3 + i] != x->dims[2 + i])
			return 0;
	for (int i = 0; i < t->rank; i++)
		if (m->perm[i] != (i == 1 ? 2 : i == 2 ? 1 : i))
			return 0;
	return t->dims[1];
}

/* The tensor whose channels y has in shuffled order, and in how many groups; NULL when y is no shuffle. */
static struct tensor *shuffle_of(const struct tensor *y, int64_t *groups)
{
	const struct step *last = single_use(y) ? made_by(y, S_VIEW) : NULL;
	const struct step *tr = last && single_use(last->in[0]) ? made_by(last->in[0], S_TRANSPOSE) : NULL;
	const struct step *first = tr && single_use(tr->in[0]) ? made_by(tr->in[0], S_VIEW) : NULL;
	int64_t hw;
	if (!first || first->in[0]->kind != K_RUN || !dims_spatial(y, &hw))
		return NULL;
	*groups = shuffled_groups(tr, first->in[0], y);
	return *groups > 1 ? first->in[0] : NULL;
}

/* A convolution whose weights lower.c will pack. */
static bool is_packed(const struct step *s)
{
	const struct conv_p *q = s->p;
	const struct tensor *bias;
	int64_t hw;
	if (s->kind != S_CONV || s->in[1]->kind != K_CONST)
		return false;
	bias = q->has_residual && s->n_in == 3 ? NULL : step_in(s, 2);
	return (!bias || bias->kind == K_CONST) && dims_spatial(s->in[0], &hw) && dims_spatial(s->out[0], &hw);
}

static bool is_depthwise(const struct step *s)
{
	const struct conv_p *q = s->p;
	return is_packed(s) && q->c.groups == q->c.c_in && q->c.groups == q->c.c_out && !q->c.transposed &&
	       !q->has_residual;
}

void rewrite_shuffle(struct plan *p)
{
	for (uint32_t i = 0; i < p->n_steps; i++) {
		struct step *s = p->steps[i], *dw;
		struct conv_p *q = s->p, *d;
		struct tensor *x;
		int64_t groups;
		if (!is_packed(s) || !conv_can_shuffle(&q->c))
			continue;
		dw = single_use(s->in[0]) ? made_by(s->in[0], S_CONV) : NULL;
		if (dw && is_depthwise(dw) && (x = shuffle_of(dw->in[0], &groups))) {
			d = dw->p;
			d->order = groups;
			dw->in[0] = x;
		} else if ((x = shuffle_of(s->in[0], &groups))) {
			s->in[0] = x;
		} else {
			continue;
		}
		q->c.x_shuffle = groups;
	}
	plan_drop_dead(p);
}
