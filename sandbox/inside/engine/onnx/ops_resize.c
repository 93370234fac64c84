/* SPDX-License-Identifier: Apache-2.0
 *
 * Resize and Upsample over the last two axes: nearest and linear. Source indices and weights are
 * tables made, and checked, when planning.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/resize.h"

#include <math.h>
#include <string.h>

enum { T_HALF_PIXEL, T_ASYMMETRIC, T_ALIGN_CORNERS, T_PYTORCH, T__MAX };
static const char *const transforms[] = { "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel" };
static const char *const roundings[] = { "round_prefer_floor", "round_prefer_ceil", "floor", "ceil" };

static int pick(const struct step *s, const char *name, const char *const *list, int n, int dflt)
{
	for (int i = 0; i < n; i++)
		if (op_attr_str(s->node, name, list[i], i == dflt))
			return i;
	return -1;
}

/* Output index to a coordinate in the input, in doubles: exact enough for any extent below 2^31. */
static double source(int transform, int64_t i, double scale, int64_t in, int64_t out)
{
	if (transform == T_ASYMMETRIC)
		return (double)i / scale;
	if (transform == T_ALIGN_CORNERS)
		return out == 1 ? 0 : (double)i * (double)(in - 1) / (double)(out - 1);
	if (transform == T_PYTORCH && out == 1)
		return 0;
	return ((double)i + 0.5) / scale - 0.5;
}

static int64_t whole(double v)
{
	int64_t n = v > -4e18 && v < 4e18 ? (int64_t)v : 0;
	return (double)n > v ? n - 1 : n;
}

static int64_t rounded(int how, double v)
{
	int64_t f = whole(v);
	double rest = v - (double)f;
	if (how == 2)
		return f;
	if (how == 3)
		return rest > 0 ? f + 1 : f;
	if (rest == 0.5)
		return how == 0 ? f : f + 1;
	return rest > 0.5 ? f + 1 : f;
}

static int32_t inside(int64_t i, int64_t n) { return (int32_t)(i < 0 ? 0 : i >= n ? n - 1 : i); }

static int tables(struct plan *p, struct resize_p *q, int axis, int transform, int how, double scale)
{
	int64_t in = q->in[axis], out = q->out[axis];
	q->map[axis] = plan_alloc(p, (uint64_t)out, 4);
	q->map_hi[axis] = plan_alloc(p, (uint64_t)out, 4);
	q->weight[axis] = plan_alloc(p, (uint64_t)out, 4);
	if (!q->map[axis] || !q->map_hi[axis] || !q->weight[axis])
		return ERR_LIMIT;
	for (int64_t i = 0; i < out; i++) {
		double v = source(transform, i, scale, in, out);
		if (!q->linear) {
			q->map[axis][i] = inside(rounded(how, v), in);
			continue;
		}
		v = v < 0 ? 0 : v > (double)(in - 1) ? (double)(in - 1) : v;
		q->map[axis][i] = inside(whole(v), in);
		q->map_hi[axis][i] = inside(whole(v) + 1, in);
		q->weight[axis][i] = (float)(v - (double)whole(v));
	}
	return ERR_OK;
}

/* Output extents and scales, from scales or sizes. */
static int extents(struct plan *p, struct step *s, int64_t *d, double *scale)
{
	const struct tensor *x = s->in[0];
	bool upsample = s->op->name[0] == 'U' || s->op->until == 10;
	const struct onnx_attr *attr = op_attr(s->node, "scales");
	struct tensor *sc = step_in(s, upsample ? 1 : 2), *sz = upsample ? NULL : step_in(s, 3);
	const float *f = attr ? attr->floats : NULL;
	size_t n = attr ? attr->n : 0;
	int rc;
	if (sz && sz->n) {
		if ((rc = plan_ints(p, s, 3, d, LIMIT_RANK, &n)))
			return rc;
		if ((int)n != x->rank)
			return plan_fail(p, s, ERR_MODEL, "%zu sizes for a rank of %d", n, x->rank);
		for (int i = 0; i < x->rank; i++) {
			if (d[i] < 1 || d[i] > INT32_MAX)
				return plan_fail(p, s, ERR_MODEL, "a size of %lld", (long long)d[i]);
			scale[i] = (double)d[i] / (double)x->dims[i];
		}
		return ERR_OK;
	}
	if (!attr && sc) {
		if (sc->dtype != DT_F32 || !plan_data(p, sc))
			return plan_fail(p, s, ERR_MODEL, "the scales are no floats");
		f = sc->data;
		n = sc->n;
	}
	if ((int)n != x->rank || !f)
		return plan_fail(p, s, ERR_MODEL, "%zu scales for a rank of %d", n, x->rank);
	for (int i = 0; i < x->rank; i++) {
		double v = (double)f[i] * (double)x->dims[i];
		if (!(f[i] > 0) || !(v < 2147483647.0))
			return plan_fail(p, s, ERR_MODEL, "scale %d is not between 0 and what an extent can hold", i);
		scale[i] = (double)f[i];
		d[i] = whole(v);
	}
	return ERR_OK;
}

static int options(struct plan *p, struct step *s, struct resize_p *q, int *transform, int *how)
{
	bool old = s->op->name[0] == 'U' || s->op->until == 10;
	*transform = old ? T_ASYMMETRIC : pick(s, "coordinate_transformation_mode", transforms, T__MAX, 0);
	*how = old ? 2 : pick(s, "nearest_mode", roundings, 4, 0);
	q->linear = op_attr_str(s->node, "mode", "linear", false) || op_attr_str(s->node, "mode", "bilinear", false);
	if (*transform < 0 || *how < 0)
		return plan_fail(p, s, ERR_UNSUPPORTED, "an unknown coordinate_transformation_mode or nearest_mode");
	if (!q->linear && !op_attr_str(s->node, "mode", "nearest", true))
		return plan_fail(p, s, ERR_UNSUPPORTED, "another mode than nearest and linear");
	if (op_attr_int(s->node, "antialias", 0) || op_attr(s->node, "axes") ||
	    op_attr_int(s->node, "exclude_outside", 0) ||
	    !op_attr_str(s->node, "keep_aspect_ratio_policy", "stretch", true))
		return plan_fail(p, s, ERR_UNSUPPORTED, "antialias, axes, exclude_outside or an aspect ratio policy");
	return ERR_OK;
}

static int resize_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct resize_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	int64_t d[LIMIT_RANK];
	double scale[LIMIT_RANK];
	int rc, transform, how;
	if (!q)
		return ERR_LIMIT;
	if (x->dtype != DT_F32 || x->rank < 3 || x->rank > 4)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s of rank %d", dtype_name(x->dtype), x->rank);
	if (x->n == 0)
		return plan_fail_shape(p, s, "an empty input");
	if ((rc = options(p, s, q, &transform, &how)) || (rc = extents(p, s, d, scale)))
		return rc;
	if (d[0] != x->dims[0] || d[1] != x->dims[1])
		return plan_fail(p, s, ERR_UNSUPPORTED, "along the axes of batch or channels");
	if ((rc = plan_out(p, s, 0, DT_F32, x->rank, d)))
		return rc;
	q->outer = x->dims[0] * x->dims[1];
	for (int i = 0; i < 2; i++) {
		int k = x->rank - 2 + i;
		bool real = k >= 2;
		q->in[i] = real ? x->dims[k] : 1;
		q->out[i] = real ? d[k] : 1;
		if (q->in[i] > INT32_MAX || q->out[i] == 0)
			return plan_fail_shape(p, s, "extents %lld and %lld", (long long)q->in[i], (long long)q->out[i]);
		if ((rc = tables(p, q, i, transform, how, real ? scale[k] : 1)))
			return rc;
	}
	s->blockable = !q->linear;
	return ERR_OK;
}

struct resize_job {
	const struct run *r;
	const struct resize_p *q;
	const float *x;
	float *y;
};

static void nearest_plane(const struct resize_p *q, float *y, const float *x)
{
	for (int64_t i = 0; i < q->out[0]; i++) {
		const float *row = x + q->map[0][i] * q->in[1];
		for (int64_t k = 0; k < q->out[1]; k++)
			y[i * q->out[1] + k] = row[q->map[1][k]];
	}
}

static void linear_plane(const struct resize_p *q, float *y, const float *x)
{
	for (int64_t i = 0; i < q->out[0]; i++) {
		const float *a = x + q->map[0][i] * q->in[1], *b = x + q->map_hi[0][i] * q->in[1];
		float wb = q->weight[0][i], wa = 1 - wb;
		for (int64_t k = 0; k < q->out[1]; k++) {
			float wr = q->weight[1][k], wl = 1 - wr;
			int32_t l = q->map[1][k], h = q->map_hi[1][k];
			float left = wa * a[l] + wb * b[l], right = wa * a[h] + wb * b[h];
			y[i * q->out[1] + k] = wl * left + wr * right;
		}
	}
}

static void resize_task(void *arg, uint32_t task, unsigned thread)
{
	const struct resize_job *j = arg;
	const struct resize_p *q = j->q;
	int64_t in = q->in[0] * q->in[1], out = q->out[0] * q->out[1];
	(void)thread;
	(q->linear ? linear_plane : nearest_plane)(q, j->y + task * out, j->x + task * in);
}

static void resize_block_task(void *arg, uint32_t task, unsigned thread)
{
	const struct resize_job *j = arg;
	const struct resize_p *q = j->q;
	int64_t in = q->in[0] * q->in[1] * CBLOCK, out = q->out[0] * q->out[1] * CBLOCK;
	(void)thread;
	j->r->k->resize_nearest_f32(j->y + task * out, j->x + task * in, 1, q->in[0], q->in[1], q->out[0],
	                            q->out[1], q->map[0], q->map[1]);
}

static int resize_run(struct run *r, const struct step *s)
{
	const struct resize_p *q = s->p;
	const struct tensor *x = s->in[0];
	struct resize_job j = { r, q, x->data, s->out[0]->data };
	if (x->layout == L_BLOCKED)
		run_tasks(r, resize_block_task, &j, (uint32_t)(x->dims[0] * (int64_t)blocks_of(x->dims[1])));
	else
		run_tasks(r, resize_task, &j, (uint32_t)q->outer);
	return ERR_OK;
}

static const struct op_attr a_mode[] = { { "mode", AT_STRING }, { NULL, 0 } };
static const struct op_attr a_upsample_7[] = { { "mode", AT_STRING }, { "scales", AT_FLOATS }, { NULL, 0 } };
static const struct op_attr a_resize[] = { { "coordinate_transformation_mode", AT_STRING },
	                                   { "cubic_coeff_a", AT_FLOAT }, { "exclude_outside", AT_INT },
	                                   { "extrapolation_value", AT_FLOAT }, { "mode", AT_STRING },
	                                   { "nearest_mode", AT_STRING }, { "antialias", AT_INT },
	                                   { "axes", AT_INTS }, { "keep_aspect_ratio_policy", AT_STRING },
	                                   { NULL, 0 } };

static const struct op rows[] = {
	{ "Upsample", 7, 8, 1, 1, 1, 1, 0, a_upsample_7, resize_infer, resize_run, 0, T_FLOAT, T_FLOAT },
	{ "Upsample", 9, 9, 2, 2, 1, 1, VALUE(1), a_mode, resize_infer, resize_run, 0, T_FLOAT, T_FLOAT },
	{ "Resize", 10, 10, 2, 2, 1, 1, VALUE(1), a_mode, resize_infer, resize_run, 0, T_FLOAT, T_FLOAT },
	{ "Resize", 11, 25, 1, 4, 1, 1, VALUE(1) | VALUE(2) | VALUE(3), a_resize, resize_infer, resize_run, 0,
	  T_FLOAT, T_FLOAT },
};
const struct op_family ops_resize = { rows, sizeof rows / sizeof rows[0] };
