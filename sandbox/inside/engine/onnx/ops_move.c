/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that only move elements: Transpose, Concat, Slice, Split, Gather, Pad, OneHot, Where,
 * DepthToSpace, SpaceToDepth. Any element type; indices that are data are checked while running.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/plan.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/onnx/moves.h"
#include "sandbox/inside/engine/onnx/nd.h"

/* --- Transpose ------------------------------------------------------------------------------------------ */

static int transpose_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	const struct onnx_attr *a = op_attr(s->node, "perm");
	struct move_transpose *m = s->p = plan_alloc(p, 1, sizeof *m);
	int64_t d[LIMIT_RANK];
	uint32_t seen = 0;
	if (!m)
		return ERR_LIMIT;
	if (a && (int64_t)a->n != x->rank)
		return plan_fail_shape(p, s, "perm has %zu axes, the input %d", a->n, x->rank);
	for (int i = 0; i < x->rank; i++) {
		int64_t k = a ? a->ints[i] : x->rank - 1 - i;
		if (k < 0 || k >= x->rank || (seen & (1u << k)))
			return plan_fail(p, s, ERR_MODEL, "perm is no permutation of %d axes", x->rank);
		seen |= 1u << k;
		m->perm[i] = (int8_t)k;
		d[i] = x->dims[k];
	}
	return plan_out(p, s, 0, x->dtype, x->rank, d);
}

/* The last two axes swapped, all before them in place: many plain matrix transposes. */
static bool is_matrix_transpose(const struct tensor *x, const struct nd *n)
{
	return x->dtype == DT_F32 && n->rank >= 2 && n->rank <= 3 && n->st[1][n->rank - 1] != 1 &&
	       n->st[1][n->rank - 2] == 1;
}

struct transpose_job {
	const struct kernels *k;
	const struct nd *n;
	float *y;
	const float *x;
};

static void transpose_task(void *arg, uint32_t task, unsigned thread)
{
	const struct transpose_job *j = arg;
	const struct nd *n = j->n;
	int a = n->rank - 2, b = n->rank - 1;
	int64_t at = n->rank == 3 ? task : 0;
	(void)thread;
	j->k->transpose_f32(j->y + (n->rank == 3 ? at * n->st[0][0] : 0), n->st[0][a],
	                    j->x + (n->rank == 3 ? at * n->st[1][0] : 0), n->st[1][b], n->dims[b], n->dims[a]);
}

static int transpose_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	const struct move_transpose *m = s->p;
	struct nd n = { .rank = y->rank, .n_ops = 2 };
	int64_t sx[LIMIT_RANK];
	memcpy(n.dims, y->dims, sizeof n.dims);
	nd_strides(n.st[0], y->dims, y->rank);
	nd_strides(sx, x->dims, x->rank);
	for (int i = 0; i < y->rank; i++)
		n.st[1][i] = sx[m->perm[i]];
	if (y->n == 0)
		return ERR_OK;
	nd_merge(&n);
	if (is_matrix_transpose(x, &n)) {
		struct transpose_job j = { r->k, &n, y->data, x->data };
		run_tasks(r, transpose_task, &j, n.rank == 3 ? (uint32_t)n.dims[0] : 1);
		return ERR_OK;
	}
	nd_copy(r, &n, y->data, x->data, (unsigned)dtype_bytes(y->dtype));
	return ERR_OK;
}

/* --- Concat ------------------------------------------------------------------------------------------------ */

static int concat_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct move_axis *m = s->p = plan_alloc(p, 1, sizeof *m);
	int64_t d[LIMIT_RANK], axis = op_attr_int(s->node, "axis", INT64_MIN);
	struct ck sum = ck_u64(0);
	uint64_t total;
	if (!m)
		return ERR_LIMIT;
	if (!axis_fix(&axis, x->rank))
		return plan_fail(p, s, ERR_MODEL, "axis is missing or outside a rank of %d", x->rank);
	memcpy(d, x->dims, sizeof d);
	for (uint32_t i = 0; i < s->n_in; i++) {
		const struct tensor *t = s->in[i];
		if (t->dtype != x->dtype || t->rank != x->rank)
			return plan_fail(p, s, ERR_MODEL, "input %u differs in type or rank", i);
		for (int k = 0; k < x->rank; k++)
			if (k != axis && t->dims[k] != x->dims[k])
				return plan_fail_shape(p, s, "input %u has extent %lld along axis %d, the first %lld", i,
				                       (long long)t->dims[k], k, (long long)x->dims[k]);
		sum = ck_add(sum, ck_i64(t->dims[axis]));
	}
	if (!ck_get(sum, LIMIT_EXTENT, &total))
		return plan_fail(p, s, ERR_LIMIT, "the extents add up to more than 2^40");
	d[axis] = (int64_t)total;
	m->axis = (int)axis;
	return plan_out(p, s, 0, x->dtype, x->rank, d);
}

static int concat_run(struct run *r, const struct step *s)
{
	const struct tensor *y = s->out[0];
	int axis = ((const struct move_axis *)s->p)->axis;
	int64_t outer = 1, inner = (int64_t)dtype_bytes(y->dtype), at = 0;
	(void)r;
	for (int i = 0; i < axis; i++)
		outer *= y->dims[i];
	for (int i = axis + 1; i < y->rank; i++)
		inner *= y->dims[i];
	for (uint32_t k = 0; k < s->n_in; k++) {
		const struct tensor *x = s->in[k];
		int64_t run = x->dims[axis] * inner, row = y->dims[axis] * inner;
		for (int64_t i = 0; i < outer && run; i++)
			memcpy((uint8_t *)y->data + i * row + at, (const uint8_t *)x->data + i * run, (size_t)run);
		at += run;
	}
	return ERR_OK;
}

/* --- Slice -------------------------------------------------------------------------------------------------- */

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* Starts, ends, axes and steps of both forms, as lists. */
struct slice_args {
	int64_t v[4][LIMIT_RANK];
	size_t n[4];
	bool has[4];
};

static int slice_args(struct plan *p, struct step *s, struct slice_args *g)
{
	static const char *const names[] = { "starts", "ends", "axes", "steps" };
	bool attrs = s->op->until < 10;
	int rc;
	for (uint32_t i = 0; i < 4; i++) {
		const struct onnx_attr *a = attrs ? op_attr(s->node, names[i]) : NULL;
		g->has[i] = attrs ? a != NULL : step_in(s, i + 1) != NULL;
		if (a && a->n > LIMIT_RANK)
			return plan_fail(p, s, ERR_MODEL, "%s has %zu numbers", names[i], a->n);
		if (a) {
			g->n[i] = a->n;
			memcpy(g->v[i], a->ints, a->n * sizeof(int64_t));
		} else if (g->has[i] && (rc = plan_ints(p, s, i + 1, g->v[i], LIMIT_RANK, &g->n[i]))) {
			return rc;
		}
		if (i < 2 && !g->has[i])
			return plan_fail(p, s, ERR_MODEL, "%s is missing", names[i]);
		if (g->has[i] && g->n[i] != g->n[0])
			return plan_fail(p, s, ERR_MODEL, "%s has %zu numbers, starts has %zu", names[i], g->n[i], g->n[0]);
	}
	return ERR_OK;
}

static int slice_axis(struct plan *p, struct step *s, struct move_slice *m, int64_t *d, int64_t axis,
                      int64_t from, int64_t to, int64_t by)
{
	int64_t n = d[axis], len;
	if (by == 0)
		return plan_fail(p, s, ERR_MODEL, "a step of 0");
	if (by == INT64_MIN)
		by = -INT64_MAX;
	/* Extents are at most 2^40: adding one to a clamped number cannot wrap. */
	from = clamp(from, -n - 1, n);
	to = clamp(to, -n - 1, n);
	from = clamp(from < 0 ? from + n : from, by > 0 ? 0 : -1, by > 0 ? n : n - 1);
	to = clamp(to < 0 ? to + n : to, by > 0 ? 0 : -1, n);
	if (by > 0)
		len = to > from ? (to - from - 1) / by + 1 : 0;
	else
		len = from > to ? (from - to - 1) / -by + 1 : 0;
	if (len == 0)
		from = 0, by = 1;
	m->start[axis] = from;
	m->step[axis] = len > 1 ? by : 1;
	d[axis] = len;
	return ERR_OK;
}

static int slice_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct move_slice *m = s->p = plan_alloc(p, 1, sizeof *m);
	struct slice_args g = { .n = { 0 } };
	int64_t d[LIMIT_RANK];
	uint32_t seen = 0;
	int rc;
	if (!m)
		return ERR_LIMIT;
	for (int i = 0; i < LIMIT_RANK; i++)
		m->step[i] = 1;
	memcpy(d, x->dims, sizeof d);
	if ((rc = slice_args(p, s, &g)))
		return rc;
	for (size_t i = 0; i < g.n[0]; i++) {
		int64_t axis = g.has[2] ? g.v[2][i] : (int64_t)i;
		if (!axis_fix(&axis, x->rank))
			return plan_fail_shape(p, s, "axis %lld is outside a rank of %d", (long long)axis, x->rank);
		if (seen & (1u << axis))
			return plan_fail(p, s, ERR_MODEL, "axis %lld comes twice", (long long)axis);
		seen |= 1u << axis;
		if ((rc = slice_axis(p, s, m, d, axis, g.v[0][i], g.v[1][i], g.has[3] ? g.v[3][i] : 1)))
			return rc;
	}
	return plan_out(p, s, 0, x->dtype, x->rank, d);
}

static int slice_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	const struct move_slice *m = s->p;
	struct nd n = { .rank = y->rank };
	int64_t sx[LIMIT_RANK];
	if (y->n == 0)
		return ERR_OK;
	memcpy(n.dims, y->dims, sizeof n.dims);
	nd_strides(n.st[0], y->dims, y->rank);
	nd_strides(sx, x->dims, x->rank);
	for (int i = 0; i < y->rank; i++) {
		n.st[1][i] = sx[i] * m->step[i];
		n.start[1] += sx[i] * m->start[i];
	}
	nd_copy(r, &n, y->data, x->data, (unsigned)dtype_bytes(y->dtype));
	return ERR_OK;
}

/* --- Split --------------------------------------------------------------------------------------------------- */

static int split_parts(struct plan *p, struct step *s, int64_t extent, int64_t *part)
{
	const struct onnx_attr *a = op_attr(s->node, "split"), *num = op_attr(s->node, "num_outputs");
	int64_t n = s->n_out, sum = 0;
	size_t have;
	int rc;
	if (a || step_in(s, 1)) {
		if (a && a->n == s->n_out)
			memcpy(part, a->ints, a->n * sizeof *part);
		else if (a)
			return plan_fail(p, s, ERR_MODEL, "%zu parts for %u outputs", a->n, s->n_out);
		else if ((rc = plan_ints(p, s, 1, part, s->n_out, &have)))
			return rc;
		else if (have != s->n_out)
			return plan_fail(p, s, ERR_MODEL, "%zu parts for %u outputs", have, s->n_out);
	} else {
		if (num && num->i != n)
			return plan_fail(p, s, ERR_MODEL, "num_outputs is %lld, the node has %u", (long long)num->i,
			                 s->n_out);
		if (s->op->since >= 18 && !num)
			return plan_fail(p, s, ERR_MODEL, "neither parts nor num_outputs are given");
		int64_t each = (extent + n - 1) / n;
		if (s->op->since < 18 && extent % n)
			return plan_fail_shape(p, s, "%lld does not divide by %lld", (long long)extent, (long long)n);
		for (int64_t i = 0; i < n; i++)
			part[i] = clamp(extent - i * each, 0, each);
	}
	for (int64_t i = 0; i < n; i++) {
		if (part[i] < 0 || part[i] > extent - sum)
			return plan_fail_shape(p, s, "the parts do not add up to %lld", (long long)extent);
		sum += part[i];
	}
	return sum == extent ? ERR_OK : plan_fail_shape(p, s, "the parts add up to %lld of %lld",
	                                                (long long)sum, (long long)extent);
}

static int split_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct move_axis *m = s->p = plan_alloc(p, 1, sizeof *m);
	int64_t *part = plan_alloc(p, s->n_out, sizeof *part);
	int64_t d[LIMIT_RANK], axis = op_attr_int(s->node, "axis", 0);
	int rc;
	if (!m || !part)
		return ERR_LIMIT;
	if (!axis_fix(&axis, x->rank))
		return plan_fail_shape(p, s, "axis %lld is outside a rank of %d", (long long)axis, x->rank);
	if ((rc = split_parts(p, s, x->dims[axis], part)))
		return rc;
	m->axis = (int)axis;
	m->parts = part;
	memcpy(d, x->dims, sizeof d);
	for (uint32_t i = 0; i < s->n_out; i++) {
		d[axis] = part[i];
		if ((rc = plan_out(p, s, i, x->dtype, x->rank, d)))
			return rc;
	}
	return ERR_OK;
}

static int split_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0];
	const struct move_axis *m = s->p;
	int64_t outer = 1, inner = (int64_t)dtype_bytes(x->dtype), at = 0;
	(void)r;
	for (int i = 0; i < m->axis; i++)
		outer *= x->dims[i];
	for (int i = m->axis + 1; i < x->rank; i++)
		inner *= x->dims[i];
	for (uint32_t k = 0; k < s->n_out; k++) {
		int64_t run = m->parts[k] * inner, row = x->dims[m->axis] * inner;
		for (int64_t i = 0; s->out[k] && i < outer && run; i++)
			memcpy((uint8_t *)s->out[k]->data + i * run, (const uint8_t *)x->data + i * row + at, (size_t)run);
		at += run;
	}
	return ERR_OK;
}

/* --- Gather -------------------------------------------------------------------------------------------------- */

static int gather_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0], *ix = s->in[1];
	struct move_axis *m = s->p = plan_alloc(p, 1, sizeof *m);
	int64_t d[2 * LIMIT_RANK], axis = op_attr_int(s->node, "axis", 0);
	int rank = 0;
	if (!m)
		return ERR_LIMIT;
	if (ix->dtype != DT_I64 && ix->dtype != DT_I32)
		return plan_fail(p, s, ERR_MODEL, "indices are %s, not integers", dtype_name(ix->dtype));
	if (!axis_fix(&axis, x->rank))
		return plan_fail_shape(p, s, "axis %lld is outside a rank of %d", (long long)axis, x->rank);
	m->axis = (int)axis;
	for (int i = 0; i < axis; i++)
		d[rank++] = x->dims[i];
	for (int i = 0; i < ix->rank; i++)
		d[rank++] = ix->dims[i];
	for (int i = (int)axis + 1; i < x->rank; i++)
		d[rank++] = x->dims[i];
	return plan_out(p, s, 0, x->dtype, rank, d);
}

static int index_check(struct run *r, const struct step *s, const struct tensor *ix, int64_t n)
{
	for (uint64_t i = 0; i < ix->n; i++) {
		int64_t v = const_int(ix, i);
		if (v < -n || v >= n)
			return run_fail(r, s, ERR_MODEL, "index %lld is outside -%lld..%lld", (long long)v, (long long)n,
			                (long long)n - 1);
	}
	return ERR_OK;
}

static int gather_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *ix = s->in[1], *y = s->out[0];
	int axis = ((const struct move_axis *)s->p)->axis, rc;
	int64_t outer = 1, inner = (int64_t)dtype_bytes(x->dtype), n = x->dims[axis];
	uint8_t *dst = y->data;
	if ((rc = index_check(r, s, ix, n)))
		return rc;
	for (int i = 0; i < axis; i++)
		outer *= x->dims[i];
	for (int i = axis + 1; i < x->rank; i++)
		inner *= x->dims[i];
	if (y->n == 0)
		return ERR_OK;
	for (int64_t o = 0; o < outer; o++)
		for (uint64_t i = 0; i < ix->n; i++, dst += inner) {
			int64_t v = const_int(ix, i);
			memcpy(dst, (const uint8_t *)x->data + (o * n + (v < 0 ? v + n : v)) * inner, (size_t)inner);
		}
	return ERR_OK;
}

/* --- Pad ------------------------------------------------------------------------------------------------------ */

static int pad_lists(struct plan *p, struct step *s, int64_t *pads)
{
	const struct tensor *x = s->in[0];
	const struct onnx_attr *a = op_attr(s->node, "pads");
	int64_t list[2 * LIMIT_RANK], axes[LIMIT_RANK];
	size_t n = 0, n_axes = (size_t)x->rank;
	int rc;
	for (int i = 0; i < x->rank; i++)
		axes[i] = i;
	if (s->op->until < 11) {
		if (!a || a->n > 2 * LIMIT_RANK)
			return plan_fail(p, s, ERR_MODEL, "pads is missing or too long");
		memcpy(list, a->ints, a->n * sizeof *list);
		n = a->n;
	} else if ((rc = plan_ints(p, s, 1, list, 2 * LIMIT_RANK, &n)) ||
	           (step_in(s, 3) && (rc = plan_ints(p, s, 3, axes, LIMIT_RANK, &n_axes)))) {
		return rc;
	}
	if (n != 2 * n_axes)
		return plan_fail_shape(p, s, "%zu pads for %zu axes", n, n_axes);
	memset(pads, 0, 2 * LIMIT_RANK * sizeof *pads);
	for (size_t i = 0; i < n_axes; i++) {
		if (!axis_fix(&axes[i], x->rank))
			return plan_fail(p, s, ERR_MODEL, "axis %lld is outside a rank of %d", (long long)axes[i], x->rank);
		pads[2 * axes[i]] = list[i];
		pads[2 * axes[i] + 1] = list[i + n_axes];
	}
	return ERR_OK;
}

static int pad_infer(struct plan *p, struct step *s)
{
	static const char *const modes[] = { "constant", "reflect", "edge", "wrap" };
	const struct tensor *x = s->in[0];
	struct move_pad *m = s->p = plan_alloc(p, 1, sizeof *m);
	int64_t pads[2 * LIMIT_RANK], d[LIMIT_RANK];
	int rc;
	if (!m)
		return ERR_LIMIT;
	for (m->mode = 0; m->mode < 4 && !op_attr_str(s->node, "mode", modes[m->mode], m->mode == 0);)
		m->mode++;
	if (m->mode > 2)
		return plan_fail(p, s, ERR_UNSUPPORTED, "mode %s", m->mode == 3 ? "wrap" : "is unknown");
	if (step_in(s, 2) && (s->in[2]->n != 1 || s->in[2]->dtype != x->dtype))
		return plan_fail(p, s, ERR_MODEL, "the constant is no single %s", dtype_name(x->dtype));
	if ((rc = pad_lists(p, s, pads)))
		return rc;
	for (int i = 0; i < x->rank; i++) {
		int64_t b = pads[2 * i], e = pads[2 * i + 1], limit = (int64_t)LIMIT_EXTENT;
		if (b > limit || e > limit || b < -limit || e < -limit)
			return plan_fail(p, s, ERR_LIMIT, "pads of %lld and %lld; at most 2^40", (long long)b, (long long)e);
		d[i] = x->dims[i] + b + e;
		if (d[i] < 0 || (m->mode == 1 && (b >= x->dims[i] || e >= x->dims[i]) && (b > 0 || e > 0)) ||
		    (m->mode == 2 && x->dims[i] == 0 && d[i]))
			return plan_fail_shape(p, s, "pads %lld and %lld on an extent of %lld", (long long)b, (long long)e,
			                       (long long)x->dims[i]);
		m->begin[i] = b;
	}
	if (s->op->until < 11) {
		float v = op_attr_float(s->node, "value", 0);
		memcpy(m->value, &v, sizeof v);
		if (x->dtype != DT_F32 && m->mode == 0)
			return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(x->dtype));
	}
	return plan_out(p, s, 0, x->dtype, x->rank, d);
}

/* Where output index i comes from along an axis of n: -1 = the constant. */
static int64_t pad_source(int mode, int64_t i, int64_t n)
{
	if (mode == 0)
		return i < 0 || i >= n ? -1 : i;
	if (mode == 2)
		return clamp(i, 0, n - 1);
	i = i < 0 ? -i : i;
	return i >= n ? 2 * (n - 1) - i : i;
}

static void pad_row(const struct move_pad *m, uint8_t *dst, const uint8_t *src, int64_t n, int64_t out,
                    int64_t begin, size_t size, const uint8_t *value)
{
	for (int64_t i = 0; i < out; i++) {
		int64_t at = src ? pad_source(m->mode, i - begin, n) : -1;
		memcpy(dst + (size_t)i * size, at < 0 ? value : src + (size_t)at * size, size);
	}
}

static int pad_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	const struct move_pad *m = s->p;
	const uint8_t *value = step_in(s, 2) ? s->in[2]->data : m->value;
	size_t size = dtype_bytes(y->dtype);
	int64_t sx[LIMIT_RANK], at[LIMIT_RANK] = { 0 };
	int last = y->rank - 1;
	(void)r;
	if (y->rank == 0)
		memcpy(y->data, x->data, size);
	if (y->n == 0 || y->rank == 0)
		return ERR_OK;
	nd_strides(sx, x->dims, x->rank);
	for (uint64_t row = 0, rows = y->n / (uint64_t)y->dims[last]; row < rows; row++) {
		int64_t off = 0;
		for (int i = 0; i < last && off >= 0; i++) {
			int64_t k = pad_source(m->mode, at[i] - m->begin[i], x->dims[i]);
			off = k < 0 ? -1 : off + k * sx[i];
		}
		pad_row(m, (uint8_t *)y->data + row * (uint64_t)y->dims[last] * size,
		        off < 0 || x->n == 0 ? NULL : (const uint8_t *)x->data + (size_t)off * size, x->dims[last],
		        y->dims[last], m->begin[last], size, value);
		for (int i = last - 1; i >= 0 && ++at[i] == y->dims[i]; i--)
			at[i] = 0;
	}
	return ERR_OK;
}

/* --- OneHot -------------------------------------------------------------------------------------------------- */

static int one_hot_infer(struct plan *p, struct step *s)
{
	const struct tensor *ix = s->in[0], *v = s->in[2];
	struct move_axis *m = s->p = plan_alloc(p, 1, sizeof *m);
	int64_t d[LIMIT_RANK + 1], axis = op_attr_int(s->node, "axis", -1), depth;
	size_t n;
	int rc, k = 0;
	if (!m)
		return ERR_LIMIT;
	if (ix->dtype != DT_I64 && ix->dtype != DT_I32)
		return plan_fail(p, s, ERR_UNSUPPORTED, "indices of %s", dtype_name(ix->dtype));
	if (step_in(s, 1)->dtype == DT_F32) {
		float f = 0;
		n = const_scalar(p, s->in[1], &f);
		depth = f > 0 && f < 1e12f ? (int64_t)f : 0;
	} else if ((rc = plan_ints(p, s, 1, &depth, 1, &n))) {
		return rc;
	}
	if (n != 1 || depth <= 0 || v->n != 2 || v->rank != 1)
		return plan_fail(p, s, ERR_MODEL, "a depth of %lld and %llu values", n == 1 ? (long long)depth : 0,
		                 (unsigned long long)v->n);
	if (ix->rank + 1 > LIMIT_RANK || !axis_fix(&axis, ix->rank + 1))
		return plan_fail(p, s, ERR_MODEL, "axis %lld for a rank of %d", (long long)axis, ix->rank + 1);
	for (int i = 0; i <= ix->rank; i++)
		d[i] = i == axis ? depth : ix->dims[k++];
	m->axis = (int)axis;
	m->extent = depth;
	return plan_out(p, s, 0, v->dtype, ix->rank + 1, d);
}

static int one_hot_run(struct run *r, const struct step *s)
{
	const struct tensor *ix = s->in[0], *y = s->out[0];
	const struct move_axis *m = s->p;
	size_t size = dtype_bytes(y->dtype);
	const uint8_t *off = s->in[2]->data, *on = off + size;
	int64_t inner = 1;
	(void)r;
	for (uint64_t i = 0; i < y->n; i++)
		memcpy((uint8_t *)y->data + i * size, off, size);
	for (int i = m->axis + 1; i < y->rank; i++)
		inner *= y->dims[i];
	for (uint64_t i = 0; i < ix->n; i++) {
		int64_t v = const_int(ix, i);
		if (v < -m->extent || v >= m->extent)
			continue; /* outside: off everywhere, as the operator says */
		v += v < 0 ? m->extent : 0;
		uint64_t o = i / (uint64_t)inner, k = i % (uint64_t)inner;
		memcpy((uint8_t *)y->data + ((o * (uint64_t)m->extent + (uint64_t)v) * (uint64_t)inner + k) * size, on,
		       size);
	}
	return ERR_OK;
}

/* --- DepthToSpace, SpaceToDepth ------------------------------------------------------------------------------ */

static int depth_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct move_depth *m = s->p = plan_alloc(p, 1, sizeof *m);
	int64_t b = op_attr_int(s->node, "blocksize", 0), d[4];
	if (!m)
		return ERR_LIMIT;
	m->to_space = s->op->name[0] == 'D';
	m->crd = op_attr_str(s->node, "mode", "CRD", false);
	if (!m->crd && !op_attr_str(s->node, "mode", "DCR", true))
		return plan_fail(p, s, ERR_UNSUPPORTED, "an unknown mode");
	if (b <= 0 || b > 1024 || x->rank != 4)
		return plan_fail(p, s, ERR_MODEL, "a block size of %lld on a rank of %d", (long long)b, x->rank);
	memcpy(d, x->dims, sizeof d);
	if (m->to_space ? d[1] % (b * b) : d[2] % b || d[3] % b)
		return plan_fail_shape(p, s, "the extents do not divide by %lld", (long long)b);
	m->block = b;
	d[1] = m->to_space ? d[1] / (b * b) : d[1] * b * b;
	d[2] = m->to_space ? d[2] * b : d[2] / b;
	d[3] = m->to_space ? d[3] * b : d[3] / b;
	return plan_out(p, s, 0, x->dtype, 4, d);
}

/* Index space [n, c, h, bh, w, bw] of the spacious side; the deep side has channels (bh, bw, c). */
static int depth_run(struct run *r, const struct step *s)
{
	const struct move_depth *m = s->p;
	const struct tensor *x = s->in[0], *y = s->out[0];
	const struct tensor *wide = m->to_space ? y : x, *deep = m->to_space ? x : y;
	int64_t b = m->block, c = wide->dims[1], h = deep->dims[2], w = deep->dims[3];
	int64_t dims[6] = { wide->dims[0], c, h, b, w, b };
	int64_t sw[6] = { c * h * b * w * b, h * b * w * b, b * w * b, w * b, b, 1 };
	int64_t block = h * w, sd[6] = { c * b * b * block, m->crd ? b * b * block : block, w,
		                         m->crd ? b * block : b * c * block, 1, m->crd ? block : c * block };
	struct nd n = { .rank = 6 };
	if (y->n == 0)
		return ERR_OK;
	memcpy(n.dims, dims, sizeof dims);
	memcpy(n.st[0], m->to_space ? sw : sd, sizeof sw);
	memcpy(n.st[1], m->to_space ? sd : sw, sizeof sw);
	nd_copy(r, &n, y->data, x->data, (unsigned)dtype_bytes(y->dtype));
	return ERR_OK;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static const struct op_attr a_perm[] = { { "perm", AT_INTS }, { NULL, 0 } };
static const struct op_attr a_axis[] = { { "axis", AT_INT }, { NULL, 0 } };
static const struct op_attr a_slice[] = { { "starts", AT_INTS }, { "ends", AT_INTS }, { "axes", AT_INTS },
	                                  { NULL, 0 } };
static const struct op_attr a_split[] = { { "axis", AT_INT }, { "split", AT_INTS }, { NULL, 0 } };
static const struct op_attr a_split_18[] = { { "axis", AT_INT }, { "num_outputs", AT_INT }, { NULL, 0 } };
static const struct op_attr a_pad[] = { { "pads", AT_INTS }, { "mode", AT_STRING }, { "value", AT_FLOAT },
	                                { NULL, 0 } };
static const struct op_attr a_pad_11[] = { { "mode", AT_STRING }, { NULL, 0 } };
static const struct op_attr a_depth[] = { { "blocksize", AT_INT }, { "mode", AT_STRING }, { NULL, 0 } };
static const struct op_attr a_space[] = { { "blocksize", AT_INT }, { NULL, 0 } };

#define SLICE_VALUES (VALUE(1) | VALUE(2) | VALUE(3) | VALUE(4))

static const struct op rows[] = {
	{ "Transpose", 1, 25, 1, 1, 1, 1, 0, a_perm, transpose_infer, transpose_run, 0, T_ANY, T_ANY },
	{ "Concat", 4, 25, 1, -1, 1, 1, 0, a_axis, concat_infer, concat_run, 0, T_ANY, T_ANY },
	{ "Slice", 1, 9, 1, 1, 1, 1, 0, a_slice, slice_infer, slice_run, 0, T_ANY, T_ANY },
	{ "Slice", 10, 25, 3, 5, 1, 1, SLICE_VALUES, NULL, slice_infer, slice_run, 0, T_ANY, T_ANY },
	{ "Split", 2, 12, 1, 1, 1, -1, 0, a_split, split_infer, split_run, 0, T_ANY, T_ANY },
	{ "Split", 13, 17, 1, 2, 1, -1, VALUE(1), a_axis, split_infer, split_run, 0, T_ANY, T_ANY },
	{ "Split", 18, 25, 1, 2, 1, -1, VALUE(1), a_split_18, split_infer, split_run, 0, T_ANY, T_ANY },
	{ "Gather", 1, 25, 2, 2, 1, 1, 0, a_axis, gather_infer, gather_run, 0, T_ANY, T_ANY },
	{ "Pad", 2, 10, 1, 1, 1, 1, 0, a_pad, pad_infer, pad_run, 0, T_ANY, T_ANY },
	{ "Pad", 11, 17, 2, 3, 1, 1, VALUE(1), a_pad_11, pad_infer, pad_run, 0, T_ANY, T_ANY },
	{ "Pad", 18, 25, 2, 4, 1, 1, VALUE(1) | VALUE(3), a_pad_11, pad_infer, pad_run, 0, T_ANY, T_ANY },
	{ "OneHot", 9, 25, 3, 3, 1, 1, VALUE(1), a_axis, one_hot_infer, one_hot_run, 0, T_INTS, T_ANY },
	{ "DepthToSpace", 1, 25, 1, 1, 1, 1, 0, a_depth, depth_infer, depth_run, 0, T_ANY, T_ANY },
	{ "SpaceToDepth", 1, 25, 1, 1, 1, 1, 0, a_space, depth_infer, depth_run, 0, T_ANY, T_ANY },
};
const struct op_family ops_move = { rows, sizeof rows / sizeof rows[0] };
