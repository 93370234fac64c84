/* SPDX-License-Identifier: Apache-2.0
 *
 * MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool, LRN. The run here takes plain tensors;
 * lower.c keeps channel blocks.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/linear.h"

#include "proto/mem.h"

#include <string.h>

/* Plain tensors go through blocks in shared memory. */
static int pool_work(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	uint64_t cx = blocks_of(x->dims[1]) * CBLOCK;
	struct ck bx, by;
	if (x->n == 0 || !y)
		return ERR_OK;
	bx = ck_mul(ck_u64(x->bytes / (uint64_t)x->dims[1]), ck_u64(cx));
	by = ck_mul(ck_u64(y->bytes / (uint64_t)y->dims[1]), ck_u64(cx));
	if (!ck_get(ck_add(ck_add(bx, by), ck_u64(128)), (uint64_t)1 << 52, &s->shared))
		return plan_fail(p, s, ERR_LIMIT, "a pooling of more than 2^52 bytes");
	s->blockable = true;
	return ERR_OK;
}

static int pool_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct pool_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	struct window w;
	bool max = s->op->name[0] == 'M';
	int rc, spatial = x->rank - 2;
	if (!q)
		return ERR_LIMIT;
	if (x->dtype != DT_F32 || spatial < 1 || spatial > 2)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s of rank %d", dtype_name(x->dtype), x->rank);
	if (step_out(s, 1))
		return plan_fail(p, s, ERR_UNSUPPORTED, "the output of indices");
	if (op_attr_int(s->node, "storage_order", 0))
		return plan_fail(p, s, ERR_UNSUPPORTED, "storage_order 1");
	if ((rc = window_read(p, s, spatial, x->dims + 2, NULL, &w)) ||
	    (rc = window_out(p, s, &w, spatial, op_attr_int(s->node, "ceil_mode", 0) != 0)))
		return rc;
	for (int i = 0; i < 2; i++)
		if (w.pad[i] >= (w.k[i] - 1) * w.dil[i] + 1 || w.pad[i + 2] >= (w.k[i] - 1) * w.dil[i] + 1)
			return plan_fail(p, s, ERR_MODEL, "a pad of %lld is not smaller than the window",
			                 (long long)(w.pad[i] > w.pad[i + 2] ? w.pad[i] : w.pad[i + 2]));
	q->spatial = spatial;
	q->q = (struct pooling){ .kind = max ? POOL_MAX : op_attr_int(s->node, "count_include_pad", 0)
	                                                  ? POOL_AVG_INCLUDE_PAD : POOL_AVG,
		                 .n = x->dims[0], .c = x->dims[1], .h_in = w.in[0], .w_in = w.in[1],
		                 .h_out = w.out[0], .w_out = w.out[1], .kh = w.k[0], .kw = w.k[1],
		                 .stride_h = w.stride[0], .stride_w = w.stride[1], .dil_h = w.dil[0],
		                 .dil_w = w.dil[1], .pad_top = w.pad[0], .pad_left = w.pad[1],
		                 .pad_bottom = w.pad[2], .pad_right = w.pad[3] };
	int64_t d[4] = { x->dims[0], x->dims[1], spatial == 2 ? w.out[0] : w.out[1], w.out[1] };
	return (rc = plan_out(p, s, 0, DT_F32, x->rank, d)) ? rc : pool_work(p, s);
}

static int global_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	int64_t d[LIMIT_RANK], hw = 1;
	int rc;
	if (x->dtype != DT_F32 || x->rank < 3)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s of rank %d", dtype_name(x->dtype), x->rank);
	for (int i = 0; i < x->rank; i++) {
		d[i] = i < 2 ? x->dims[i] : 1;
		hw *= i < 2 ? 1 : x->dims[i];
	}
	if (hw == 0)
		return plan_fail_shape(p, s, "over no elements");
	return (rc = plan_out(p, s, 0, DT_F32, x->rank, d)) ? rc : pool_work(p, s);
}

static int lrn_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct lrn *q = s->p = plan_alloc(p, 1, sizeof *q);
	int64_t hw = 1;
	int rc;
	if (!q)
		return ERR_LIMIT;
	if (x->dtype != DT_F32 || x->rank < 3)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s of rank %d", dtype_name(x->dtype), x->rank);
	for (int i = 2; i < x->rank; i++)
		hw *= x->dims[i];
	*q = (struct lrn){ .n = x->dims[0], .c = x->dims[1], .hw = hw, .size = op_attr_int(s->node, "size", 0),
		           .alpha = op_attr_float(s->node, "alpha", 0.0001f),
		           .beta = op_attr_float(s->node, "beta", 0.75f), .k = op_attr_float(s->node, "bias", 1) };
	if (q->size < 1 || q->size > 65536)
		return plan_fail(p, s, ERR_MODEL, "a size of %lld", (long long)q->size);
	return (rc = plan_out(p, s, 0, DT_F32, x->rank, x->dims)) ? rc : pool_work(p, s);
}

/* --- running --------------------------------------------------------------------------------------------- */

static int64_t space(const struct tensor *t)
{
	int64_t hw = 1;
	for (int i = 2; i < t->rank; i++)
		hw *= t->dims[i];
	return hw;
}

static void pool_blocks(struct run *r, const struct step *s, const float *x, float *y)
{
	if (!strncmp(s->op->name, "Global", 6)) {
		const struct tensor *t = s->in[0];
		r->k->global_pool_f32(r->pool, s->op->name[6] == 'M', y, x,
		                      t->dims[0] * (int64_t)blocks_of(t->dims[1]), space(t));
	} else if (s->op->name[0] == 'L') {
		struct lrn q = *(const struct lrn *)s->p;
		q.x = x;
		q.y = y;
		r->k->lrn_f32(r->pool, &q);
	} else {
		struct pooling q = ((const struct pool_p *)s->p)->q;
		q.x = x;
		q.y = y;
		r->k->pooling_f32(r->pool, &q);
	}
}

int pool_run_plain(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	float *xb = (float *)(void *)r->shared, *yb;
	if (!y || y->n == 0)
		return ERR_OK;
	if (y->layout == L_BLOCKED) {
		pool_blocks(r, s, x->data, y->data);
		return ERR_OK;
	}
	yb = xb + (uint64_t)x->dims[0] * blocks_of(x->dims[1]) * CBLOCK * (uint64_t)space(x);
	blocks_from_plain(r, xb, x->data, x->dims[0], x->dims[1], space(x));
	pool_blocks(r, s, xb, yb);
	blocks_to_plain(r, y->data, yb, y->dims[0], y->dims[1], space(y));
	return ERR_OK;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

#define WINDOW_ATTRS { "auto_pad", AT_STRING }, { "kernel_shape", AT_INTS }, { "pads", AT_INTS }, \
	{ "strides", AT_INTS }, { "ceil_mode", AT_INT }, { "dilations", AT_INTS }
static const struct op_attr a_max[] = { WINDOW_ATTRS, { "storage_order", AT_INT }, { NULL, 0 } };
static const struct op_attr a_avg[] = { WINDOW_ATTRS, { "count_include_pad", AT_INT }, { NULL, 0 } };
static const struct op_attr a_lrn[] = { { "alpha", AT_FLOAT }, { "beta", AT_FLOAT }, { "bias", AT_FLOAT },
	                                { "size", AT_INT }, { NULL, 0 } };

static const struct op rows[] = {
	{ "MaxPool", 1, 25, 1, 1, 1, 2, 0, a_max, pool_infer, pool_run_plain, 0, T_FLOAT, T_FLOAT },
	{ "AveragePool", 1, 25, 1, 1, 1, 1, 0, a_avg, pool_infer, pool_run_plain, 0, T_FLOAT, T_FLOAT },
	{ "GlobalMaxPool", 1, 25, 1, 1, 1, 1, 0, NULL, global_infer, pool_run_plain, 0, T_FLOAT, T_FLOAT },
	{ "GlobalAveragePool", 1, 25, 1, 1, 1, 1, 0, NULL, global_infer, pool_run_plain, 0, T_FLOAT, T_FLOAT },
	{ "LRN", 1, 25, 1, 1, 1, 1, 0, a_lrn, lrn_infer, pool_run_plain, 0, T_FLOAT, T_FLOAT },
};
const struct op_family ops_pool = { rows, sizeof rows / sizeof rows[0] };
