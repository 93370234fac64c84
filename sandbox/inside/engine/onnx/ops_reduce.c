/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions over axes, ArgMax and ArgMin, Softmax and LogSoftmax. Sums run in the kernels' fixed
 * order: 16 lanes and a tree along the last axis, one chain per column along outer ones.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/plan.h"

#include "sandbox/inside/engine/onnx/nd.h"

#include <math.h>
#include <string.h>

enum { R_MEAN, R_SUM, R_MAX, R_MIN, R_PROD, R_SUMSQ, R_L1, R_L2, R_LOGSUM };

static const struct { const char *name; int kind; } kinds[] = {
	{ "ReduceMean", R_MEAN }, { "ReduceSum", R_SUM }, { "ReduceMax", R_MAX }, { "ReduceMin", R_MIN },
	{ "ReduceProd", R_PROD }, { "ReduceSumSquare", R_SUMSQ }, { "ReduceL1", R_L1 }, { "ReduceL2", R_L2 },
	{ "ReduceLogSum", R_LOGSUM },
};

struct reduce_p {
	int kind;
	uint32_t mask;
	bool copy;          /* no axes and noop_with_empty_axes: the input as it is */
	/* the input as [outer][n][inner] when the axes lie side by side */
	bool together;
	int64_t outer, n, inner;
};

static int reduce_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct reduce_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	bool keep = op_attr_int(s->node, "keepdims", 1) != 0;
	bool noop = op_attr_int(s->node, "noop_with_empty_axes", 0) != 0;
	int64_t d[LIMIT_RANK];
	int rank = 0, rc, first = -1, last = -1;
	if (!q)
		return ERR_LIMIT;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (!strcmp(s->op->name, kinds[i].name))
			q->kind = kinds[i].kind;
	if (!(s->op->in_types & T1(x->dtype)))
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(x->dtype));
	if ((rc = plan_axes(p, s, 1, x->rank, noop ? 0 : (1u << x->rank) - 1, &q->mask)))
		return rc;
	q->copy = q->mask == 0 && q->kind <= R_PROD;
	q->outer = q->n = q->inner = 1;
	for (int i = 0; i < x->rank; i++)
		if (q->mask & (1u << i)) {
			first = first < 0 ? i : first;
			last = i;
		}
	q->together = true;
	for (int i = 0; i < x->rank; i++) {
		bool in = q->mask & (1u << i);
		if (!in || keep)
			d[rank++] = in ? 1 : x->dims[i];
		q->together = q->together && (in || i < first || i > last || x->dims[i] == 1);
		*(in ? &q->n : first >= 0 && i < first ? &q->outer : &q->inner) *= x->dims[i];
	}
	/* Minimum and maximum of nothing have no value. */
	if (q->n == 0 && (q->kind == R_MAX || q->kind == R_MIN))
		return plan_fail_shape(p, s, "over no elements");
	s->scratch = s->shared = 0;
	if (!q->together)
		s->shared = x->bytes;
	return plan_out(p, s, 0, x->dtype, rank, d);
}

struct reduce_job {
	const struct kernels *k;
	const struct reduce_p *q;
	const float *x;
	float *y;
};

/* One output from n floats in a row. */
static float reduce_row(const struct kernels *k, int kind, const float *x, int64_t n)
{
	float v = 1;
	if (kind == R_MAX)
		return k->reduce_f32(RED_MAX, x, (size_t)n);
	if (kind == R_MIN)
		return k->reduce_f32(RED_MIN, x, (size_t)n);
	if (kind == R_SUMSQ || kind == R_L2) {
		v = n ? k->reduce_f32(RED_SUMSQ, x, (size_t)n) : 0;
		return kind == R_L2 ? sqrtf(v) : v;
	}
	if (kind == R_PROD) {
		for (int64_t i = 0; i < n; i++)
			v *= x[i];
		return v;
	}
	if (kind == R_L1) {
		v = 0;
		for (int64_t i = 0; i < n; i++)
			v += fabsf(x[i]);
		return v;
	}
	v = n ? k->reduce_f32(RED_SUM, x, (size_t)n) : 0;
	if (kind == R_LOGSUM)
		k->unary_f32(UN_LOG, &v, &v, 1);
	return kind == R_MEAN ? v / (float)n : v;
}

/* Columns: [n][inner] to [inner], one chain per column. */
static void reduce_cols(const struct reduce_job *j, float *y, const float *x)
{
	const struct reduce_p *q = j->q;
	size_t n = (size_t)q->n, inner = (size_t)q->inner;
	static const int red[] = { [R_MEAN] = RED_SUM, [R_SUM] = RED_SUM, [R_MAX] = RED_MAX, [R_MIN] = RED_MIN,
		                   [R_SUMSQ] = RED_SUMSQ, [R_L2] = RED_SUMSQ, [R_LOGSUM] = RED_SUM };
	if (q->kind == R_PROD || q->kind == R_L1) {
		for (size_t i = 0; i < inner; i++)
			y[i] = q->kind == R_PROD;
		for (size_t k = 0; k < n; k++)
			for (size_t i = 0; i < inner; i++)
				y[i] = q->kind == R_PROD ? y[i] * x[k * inner + i] : y[i] + fabsf(x[k * inner + i]);
		return;
	}
	if (n == 0)
		memset(y, 0, inner * sizeof *y);
	else
		j->k->reduce_rows_f32((enum reduce)red[q->kind], y, x, n, inner, inner);
	if (q->kind == R_MEAN)
		j->k->binary_scalar_f32(BIN_DIV, y, y, (float)q->n, false, inner);
	if (q->kind == R_L2)
		j->k->unary_f32(UN_SQRT, y, y, inner);
	if (q->kind == R_LOGSUM)
		j->k->unary_f32(UN_LOG, y, y, inner);
}

static void reduce_task(void *arg, uint32_t task, unsigned thread)
{
	const struct reduce_job *j = arg;
	const struct reduce_p *q = j->q;
	int64_t each = q->outer > 256 ? (q->outer + 255) / 256 : 1, o = task * each, end = o + each;
	(void)thread;
	for (; o < end && o < q->outer; o++)
		if (q->inner == 1)
			j->y[o] = reduce_row(j->k, q->kind, j->x + o * q->n, q->n);
		else
			reduce_cols(j, j->y + o * q->inner, j->x + o * q->n * q->inner);
}

/* Brings the reduced axes together at the end. */
static void gather_axes(struct run *r, const struct step *s, void *dst)
{
	const struct tensor *x = s->in[0];
	const struct reduce_p *q = s->p;
	struct nd n = { .rank = x->rank };
	int64_t sx[LIMIT_RANK];
	int k = 0;
	nd_strides(sx, x->dims, x->rank);
	for (int part = 0; part < 2; part++)
		for (int i = 0; i < x->rank; i++)
			if (!!(q->mask & (1u << i)) == part) {
				n.dims[k] = x->dims[i];
				n.st[1][k++] = sx[i];
			}
	nd_strides(n.st[0], n.dims, n.rank);
	nd_copy(r, &n, dst, x->data, (unsigned)dtype_bytes(x->dtype));
}

static int64_t int_step(int kind, int64_t a, int64_t v)
{
	switch (kind) {
	case R_MAX: return v > a ? v : a;
	case R_MIN: return v < a ? v : a;
	case R_PROD: return (int64_t)((uint64_t)a * (uint64_t)v);
	case R_SUMSQ: return (int64_t)((uint64_t)a + (uint64_t)v * (uint64_t)v);
	case R_L1: return (int64_t)((uint64_t)a + (v < 0 ? 0 - (uint64_t)v : (uint64_t)v));
	default: return (int64_t)((uint64_t)a + (uint64_t)v);
	}
}

static void reduce_ints(const struct reduce_p *q, const struct tensor *x, const struct tensor *y,
                        const void *src)
{
	struct tensor view = *x;
	view.data = (void *)(uintptr_t)src;
	for (int64_t o = 0; o < q->outer; o++)
		for (int64_t i = 0; i < q->inner; i++) {
			int64_t a = q->kind == R_PROD ? 1 : 0;
			if (q->kind == R_MAX || q->kind == R_MIN)
				a = const_int(&view, (uint64_t)(o * q->n * q->inner + i));
			for (int64_t k = 0; k < q->n; k++)
				a = int_step(q->kind, a, const_int(&view, (uint64_t)((o * q->n + k) * q->inner + i)));
			if (q->kind == R_MEAN && q->n)
				a /= q->n;
			if (y->dtype == DT_I64)
				((int64_t *)y->data)[o * q->inner + i] = a;
			else
				((int32_t *)y->data)[o * q->inner + i] = (int32_t)a;
		}
}

static int reduce_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	struct reduce_p q = *(const struct reduce_p *)s->p;
	const void *src = x->data;
	if (q.copy) {
		memcpy(y->data, x->data, x->bytes);
		return ERR_OK;
	}
	if (y->n == 0)
		return ERR_OK;
	if (!q.together) {
		gather_axes(r, s, r->shared);
		src = r->shared;
		q.outer *= q.inner;
		q.inner = 1;
	}
	if (x->dtype != DT_F32) {
		reduce_ints(&q, x, y, src);
		return ERR_OK;
	}
	struct reduce_job j = { r->k, &q, src, y->data };
	int64_t each = q.outer > 256 ? (q.outer + 255) / 256 : 1;
	uint32_t tasks = (uint32_t)((q.outer + each - 1) / each);
	if (x->n < 16384)
		for (uint32_t i = 0; i < tasks; i++)
			reduce_task(&j, i, 0);
	else
		run_tasks(r, reduce_task, &j, tasks);
	return ERR_OK;
}

/* --- ArgMax, ArgMin -------------------------------------------------------------------------------------- */

static int arg_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct reduce_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	int64_t d[LIMIT_RANK], axis = op_attr_int(s->node, "axis", 0);
	bool keep = op_attr_int(s->node, "keepdims", 1) != 0;
	int rank = 0;
	if (!q)
		return ERR_LIMIT;
	if (x->dtype != DT_F32)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(x->dtype));
	if (!axis_fix(&axis, x->rank))
		return plan_fail_shape(p, s, "axis %lld is outside a rank of %d", (long long)axis, x->rank);
	q->kind = !strcmp(s->op->name, "ArgMax");
	q->outer = q->inner = 1;
	q->n = x->dims[axis];
	if (q->n == 0)
		return plan_fail_shape(p, s, "over no elements");
	for (int i = 0; i < x->rank; i++) {
		if (i != axis || keep)
			d[rank++] = i == axis ? 1 : x->dims[i];
		if (i != axis)
			*(i < axis ? &q->outer : &q->inner) *= x->dims[i];
	}
	q->copy = op_attr_int(s->node, "select_last_index", 0) != 0;
	return plan_out(p, s, 0, DT_I64, rank, d);
}

static int arg_run(struct run *r, const struct step *s)
{
	const struct reduce_p *q = s->p;
	const float *x = s->in[0]->data;
	int64_t *y = s->out[0]->data;
	(void)r;
	for (int64_t o = 0; o < q->outer; o++)
		for (int64_t i = 0; i < q->inner; i++) {
			const float *v = x + o * q->n * q->inner + i;
			int64_t best = 0;
			for (int64_t k = 1; k < q->n; k++) {
				float a = v[k * q->inner], b = v[best * q->inner];
				if (q->kind ? a > b : a < b)
					best = k;
				else if (q->copy && a == b)
					best = k;
			}
			y[o * q->inner + i] = best;
		}
	return ERR_OK;
}

/* --- Softmax, LogSoftmax ----------------------------------------------------------------------------------- */

static int softmax_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct reduce_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	bool old = s->op->until < 13;
	int64_t axis = op_attr_int(s->node, "axis", old ? 1 : -1);
	if (!q)
		return ERR_LIMIT;
	if (x->dtype != DT_F32)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(x->dtype));
	if (!axis_fix(&axis, x->rank))
		return plan_fail_shape(p, s, "axis %lld is outside a rank of %d", (long long)axis, x->rank);
	q->kind = s->op->name[0] == 'L';
	q->outer = q->n = q->inner = 1;
	/* Before operator set 13 everything from the axis on is one row. */
	for (int i = 0; i < x->rank; i++)
		*(i < axis ? &q->outer : i == axis || old ? &q->n : &q->inner) *= x->dims[i];
	s->scratch = q->inner > 1 ? (uint64_t)q->n * 8 : 0; /* a row in and a row out */
	return plan_out(p, s, 0, x->dtype, x->rank, x->dims);
}

struct softmax_job {
	const struct run *r;
	const struct reduce_p *q;
	const float *x;
	float *y;
};

static void softmax_row(const struct run *r, const struct reduce_p *q, float *y, const float *x)
{
	if (!q->kind) {
		r->k->softmax_f32(y, x, (size_t)q->n);
		return;
	}
	float max = r->k->max_f32(x, (size_t)q->n), sum;
	r->k->binary_scalar_f32(BIN_SUB, y, x, max, false, (size_t)q->n);
	r->k->unary_f32(UN_EXP, y, y, (size_t)q->n);
	sum = r->k->sum_f32(y, (size_t)q->n);
	r->k->unary_f32(UN_LOG, &sum, &sum, 1);
	r->k->binary_scalar_f32(BIN_SUB, y, x, max, false, (size_t)q->n);
	r->k->binary_scalar_f32(BIN_SUB, y, y, sum, false, (size_t)q->n);
}

static void softmax_task(void *arg, uint32_t task, unsigned thread)
{
	const struct softmax_job *j = arg;
	const struct reduce_p *q = j->q;
	if (q->inner == 1) {
		softmax_row(j->r, q, j->y + task * q->n, j->x + task * q->n);
		return;
	}
	float *row = (float *)(void *)(j->r->scratch + thread * j->r->scratch_each), *out = row + q->n;
	for (int64_t i = 0; i < q->inner; i++) {
		const float *x = j->x + task * q->n * q->inner + i;
		float *y = j->y + task * q->n * q->inner + i;
		for (int64_t k = 0; k < q->n; k++)
			row[k] = x[k * q->inner];
		softmax_row(j->r, q, out, row);
		for (int64_t k = 0; k < q->n; k++)
			y[k * q->inner] = out[k];
	}
}

static int softmax_run(struct run *r, const struct step *s)
{
	struct softmax_job j = { r, s->p, s->in[0]->data, s->out[0]->data };
	if (s->out[0]->n)
		run_tasks(r, softmax_task, &j, (uint32_t)j.q->outer);
	return ERR_OK;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static const struct op_attr a_reduce[] = { { "axes", AT_INTS }, { "keepdims", AT_INT }, { NULL, 0 } };
static const struct op_attr a_reduce_in[] = { { "keepdims", AT_INT }, { "noop_with_empty_axes", AT_INT },
	                                      { NULL, 0 } };
static const struct op_attr a_arg[] = { { "axis", AT_INT }, { "keepdims", AT_INT },
	                                { "select_last_index", AT_INT }, { NULL, 0 } };
static const struct op_attr a_axis[] = { { "axis", AT_INT }, { NULL, 0 } };

/* ReduceSum takes its axes as an input from operator set 13 on, the others from 18 on. */
#define REDUCE_AT(name, change) \
	{ name, 1, change - 1, 1, 1, 1, 1, 0, a_reduce, reduce_infer, reduce_run, 0, T_NUM, T_NUM }, \
	{ name, change, 25, 1, 2, 1, 1, VALUE(1), a_reduce_in, reduce_infer, reduce_run, 0, T_NUM, T_NUM }
#define REDUCE_F_AT(name, change) \
	{ name, 1, change - 1, 1, 1, 1, 1, 0, a_reduce, reduce_infer, reduce_run, 0, T_FLOAT, T_FLOAT }, \
	{ name, change, 25, 1, 2, 1, 1, VALUE(1), a_reduce_in, reduce_infer, reduce_run, 0, T_FLOAT, T_FLOAT }

static const struct op rows[] = {
	REDUCE_AT("ReduceSum", 13), REDUCE_AT("ReduceMean", 18), REDUCE_AT("ReduceMax", 18),
	REDUCE_AT("ReduceMin", 18), REDUCE_AT("ReduceProd", 18), REDUCE_AT("ReduceSumSquare", 18),
	REDUCE_AT("ReduceL1", 18), REDUCE_F_AT("ReduceL2", 18), REDUCE_F_AT("ReduceLogSum", 18),
	{ "ArgMax", 1, 25, 1, 1, 1, 1, 0, a_arg, arg_infer, arg_run, 0, T_FLOAT, T1(DT_I64) },
	{ "ArgMin", 1, 25, 1, 1, 1, 1, 0, a_arg, arg_infer, arg_run, 0, T_FLOAT, T1(DT_I64) },
	{ "Softmax", 1, 12, 1, 1, 1, 1, 0, a_axis, softmax_infer, softmax_run, 0, T_FLOAT, T_FLOAT },
	{ "Softmax", 13, 25, 1, 1, 1, 1, 0, a_axis, softmax_infer, softmax_run, 0, T_FLOAT, T_FLOAT },
	{ "LogSoftmax", 1, 12, 1, 1, 1, 1, 0, a_axis, softmax_infer, softmax_run, 0, T_FLOAT, T_FLOAT },
	{ "LogSoftmax", 13, 25, 1, 1, 1, 1, 0, a_axis, softmax_infer, softmax_run, 0, T_FLOAT, T_FLOAT },
};
const struct op_family ops_reduce = { rows, sizeof rows / sizeof rows[0] };
