/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators about shapes and constants: Shape, Size, Reshape, Squeeze, Unsqueeze, Flatten, Identity,
 * Dropout, Constant, ConstantOfShape, Expand, Tile, Cast, Range, and If (which the planner takes).
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/plan.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/onnx/half.h"
#include "sandbox/inside/engine/onnx/nd.h"

/* --- Shape, Size -------------------------------------------------------------------------------------- */

static int out_ints(struct plan *p, struct step *s, int rank, const int64_t *v, size_t n)
{
	struct tensor *t = step_out(s, 0);
	int64_t dims[1] = { (int64_t)n };
	int rc = plan_out(p, s, 0, DT_I64, rank, dims);
	if (rc || !t)
		return rc;
	t->data = plan_alloc(p, n + 1, sizeof *v);
	if (!t->data)
		return ERR_LIMIT;
	memcpy(t->data, v, n * sizeof *v);
	t->kind = K_CONST;
	return ERR_OK;
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

static int shape_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	int64_t start = op_attr_int(s->node, "start", 0), end = op_attr_int(s->node, "end", x->rank);
	start = clamp(start < 0 ? start + x->rank : start, 0, x->rank);
	end = clamp(end < 0 ? end + x->rank : end, start, x->rank);
	return out_ints(p, s, 1, x->dims + start, (size_t)(end - start));
}

static int size_infer(struct plan *p, struct step *s)
{
	int64_t n = (int64_t)s->in[0]->n;
	return out_ints(p, s, 0, &n, 1);
}

/* --- views ------------------------------------------------------------------------------------------------ */

static int same_infer(struct plan *p, struct step *s)
{
	return plan_out(p, s, 0, s->in[0]->dtype, s->in[0]->rank, s->in[0]->dims);
}

static int reshape_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	int64_t d[LIMIT_RANK];
	size_t n;
	int open = -1, rc;
	bool zeros = op_attr_int(s->node, "allowzero", 0) != 0;
	struct ck known = ck_u64(1);
	uint64_t k;
	if ((rc = plan_ints(p, s, 1, d, LIMIT_RANK, &n)))
		return rc;
	for (size_t i = 0; i < n; i++) {
		if (d[i] == 0 && !zeros) {
			if ((int)i >= x->rank)
				return plan_fail_shape(p, s, "extent %zu is copied from an input of rank %d", i, x->rank);
			d[i] = x->dims[i];
		}
		if (d[i] == -1) {
			if (open >= 0)
				return plan_fail(p, s, ERR_MODEL, "two extents are -1");
			open = (int)i;
		} else {
			known = ck_mul(known, ck_i64(d[i]));
		}
	}
	if (!ck_get(known, UINT64_MAX, &k))
		return plan_fail(p, s, ERR_MODEL, "the extents do not multiply to a number of elements");
	if (open >= 0) {
		if (k == 0 || x->n % k)
			return plan_fail_shape(p, s, "%llu elements do not divide by %llu", (unsigned long long)x->n,
			                       (unsigned long long)k);
		d[open] = (int64_t)(x->n / k);
	} else if (k != x->n) {
		return plan_fail_shape(p, s, "%llu elements become %llu", (unsigned long long)x->n,
		                       (unsigned long long)k);
	}
	return plan_out(p, s, 0, x->dtype, (int)n, d);
}

static int squeeze_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	int64_t d[LIMIT_RANK];
	uint32_t ones = 0, mask;
	int rank = 0, rc;
	for (int i = 0; i < x->rank; i++)
		ones |= x->dims[i] == 1 ? 1u << i : 0;
	if ((rc = plan_axes(p, s, 1, x->rank, ones, &mask)))
		return rc;
	if (mask & ~ones)
		return plan_fail_shape(p, s, "an axis to drop has not the extent 1");
	for (int i = 0; i < x->rank; i++)
		if (!(mask & (1u << i)))
			d[rank++] = x->dims[i];
	return plan_out(p, s, 0, x->dtype, rank, d);
}

static int unsqueeze_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	const struct onnx_attr *a = op_attr(s->node, "axes");
	int64_t d[LIMIT_RANK], rank;
	uint32_t mask;
	int rc, k = 0;
	if (!a && !step_in(s, 1))
		return plan_fail(p, s, ERR_MODEL, "no axes are given");
	rank = x->rank + (int64_t)(a ? a->n : s->in[1]->n);
	if (rank > LIMIT_RANK)
		return plan_fail(p, s, ERR_LIMIT, "a rank of %lld; at most %d", (long long)rank, LIMIT_RANK);
	if ((rc = plan_axes(p, s, 1, rank, 0, &mask)))
		return rc;
	for (int i = 0; i < rank; i++)
		d[i] = mask & (1u << i) ? 1 : x->dims[k++];
	return plan_out(p, s, 0, x->dtype, (int)rank, d);
}

static int flatten_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	int64_t axis = op_attr_int(s->node, "axis", 1), d[2] = { 1, 1 };
	if (axis < -x->rank || axis > x->rank)
		return plan_fail_shape(p, s, "axis %lld is outside a rank of %d", (long long)axis, x->rank);
	axis += axis < 0 ? x->rank : 0;
	for (int i = 0; i < x->rank; i++)
		d[i >= axis] *= x->dims[i];
	return plan_out(p, s, 0, x->dtype, 2, d);
}

static int dropout_infer(struct plan *p, struct step *s)
{
	struct tensor *training = step_in(s, 2), *mask = step_out(s, 1);
	int rc;
	if (training && (training->kind != K_CONST || training->dtype != DT_BOOL || training->n != 1 ||
	                 !plan_data(p, training) || *(const uint8_t *)training->data))
		return plan_fail(p, s, ERR_UNSUPPORTED, "Dropout in training mode");
	if (mask) {
		/* Nothing is dropped: all true. */
		if ((rc = plan_shape(p, s, mask, DT_BOOL, s->in[0]->rank, s->in[0]->dims)))
			return rc;
		if (!(mask->data = plan_alloc(p, 1, 8)))
			return ERR_LIMIT;
		*(uint8_t *)mask->data = 1;
		mask->kind = K_CONST;
		mask->splat = true;
	}
	return same_infer(p, s);
}

/* --- constants ---------------------------------------------------------------------------------------------- */

static int constant_list(struct plan *p, struct step *s, const struct onnx_attr *a)
{
	struct tensor *t = s->out[0];
	bool ints = a->type == AT_INT || a->type == AT_INTS, list = a->type >= AT_FLOATS;
	int64_t n = list ? (int64_t)a->n : 1;
	size_t size = ints ? 8 : 4;
	const void *src = a->type == AT_INT ? (const void *)&a->i : a->type == AT_FLOAT ? (const void *)&a->f
	                : ints ? (const void *)a->ints : (const void *)a->floats;
	int rc = plan_out(p, s, 0, ints ? DT_I64 : DT_F32, list, &n);
	if (rc)
		return rc;
	t->data = plan_alloc(p, (uint64_t)n + 1, size);
	if (!t->data)
		return ERR_LIMIT;
	memcpy(t->data, src, (size_t)n * size);
	return ERR_OK;
}

static int constant_infer(struct plan *p, struct step *s)
{
	const struct onnx_attr *a = s->node->n_attrs == 1 ? &s->node->attrs[0] : NULL;
	struct tensor *t = step_out(s, 0);
	int rc;
	if (!a)
		return plan_fail(p, s, ERR_MODEL, "a Constant with %u values", s->node->n_attrs);
	if (!t)
		return ERR_OK;
	if (a->type == AT_TENSOR) {
		rc = plan_out(p, s, 0, a->tensor->dtype, a->tensor->rank, a->tensor->dims);
		t->init = a->tensor;
	} else {
		rc = constant_list(p, s, a);
	}
	t->kind = K_CONST;
	t->from_file = true;
	return rc;
}

static int constant_of_shape_infer(struct plan *p, struct step *s)
{
	const struct onnx_attr *a = op_attr(s->node, "value");
	struct tensor *t = step_out(s, 0);
	int64_t d[LIMIT_RANK];
	size_t n;
	int rc, dtype = a ? a->tensor->dtype : DT_F32;
	if (a && a->tensor->n_elems != 1)
		return plan_fail(p, s, ERR_MODEL, "the value has %llu elements, one is needed",
		                 (unsigned long long)a->tensor->n_elems);
	if ((rc = plan_ints(p, s, 0, d, LIMIT_RANK, &n)) || (rc = plan_out(p, s, 0, dtype, (int)n, d)) || !t)
		return rc;
	t->data = plan_alloc(p, 1, 8);
	if (!t->data)
		return ERR_LIMIT;
	if (a)
		onnx_tensor_read(p->m, a->tensor, t->data);
	t->kind = K_CONST;
	t->splat = true; /* one number, however large: written out only if somebody needs it */
	t->from_file = s->in[0]->from_file;
	return ERR_OK;
}

/* --- Expand, Tile -------------------------------------------------------------------------------------------- */

static int broadcast_dims(struct plan *p, const struct step *s, const int64_t *a, int ra, const int64_t *b,
                          int rb, int64_t *out, int *rank)
{
	*rank = ra > rb ? ra : rb;
	for (int i = 0; i < *rank; i++) {
		int64_t x = i < *rank - ra ? 1 : a[i - (*rank - ra)], y = i < *rank - rb ? 1 : b[i - (*rank - rb)];
		if (x != y && x != 1 && y != 1)
			return plan_fail_shape(p, s, "extents %lld and %lld do not broadcast", (long long)x, (long long)y);
		out[i] = x == 1 ? y : x;
	}
	return ERR_OK;
}

static int expand_infer(struct plan *p, struct step *s)
{
	struct tensor *x = s->in[0], *t = step_out(s, 0);
	int64_t want[LIMIT_RANK], d[LIMIT_RANK];
	size_t n;
	int rc, rank;
	if ((rc = plan_ints(p, s, 1, want, LIMIT_RANK, &n)) ||
	    (rc = broadcast_dims(p, s, x->dims, x->rank, want, (int)n, d, &rank)) ||
	    (rc = plan_out(p, s, 0, x->dtype, rank, d)) || !t)
		return rc;
	if (x->kind == K_CONST && (x->n == 1 || x->splat)) {
		if (!x->splat && !plan_data(p, x))
			return ERR_LIMIT;
		t->kind = K_CONST;
		t->splat = true;
		t->data = x->data;
		t->from_file = x->from_file && s->in[1]->from_file;
	}
	return ERR_OK;
}

static int expand_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	struct nd n = { .rank = y->rank };
	memcpy(n.dims, y->dims, sizeof n.dims);
	nd_strides(n.st[0], y->dims, y->rank);
	nd_broadcast(n.st[1], x->dims, x->rank, y->rank);
	nd_copy(r, &n, y->data, x->data, (unsigned)dtype_bytes(y->dtype));
	return ERR_OK;
}

static int tile_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	int64_t reps[LIMIT_RANK], d[LIMIT_RANK];
	size_t n;
	int rc;
	if ((rc = plan_ints(p, s, 1, reps, LIMIT_RANK, &n)))
		return rc;
	if ((int)n != x->rank)
		return plan_fail(p, s, ERR_MODEL, "%zu repeats for a rank of %d", n, x->rank);
	for (size_t i = 0; i < n; i++) {
		uint64_t v;
		if (!ck_get(ck_mul(ck_i64(x->dims[i]), ck_i64(reps[i])), LIMIT_EXTENT, &v))
			return plan_fail(p, s, ERR_LIMIT, "extent %zu: %lld times %lld", i, (long long)x->dims[i],
			                 (long long)reps[i]);
		d[i] = (int64_t)v;
	}
	return plan_out(p, s, 0, x->dtype, x->rank, d);
}

/* Index space [rep0, dim0, rep1, dim1, ...] cut to pairs that are not trivial. */
static int tile_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	unsigned size = (unsigned)dtype_bytes(y->dtype);
	int64_t sx[LIMIT_RANK], sy[LIMIT_RANK];
	nd_strides(sx, x->dims, x->rank);
	nd_strides(sy, y->dims, y->rank);
	/* One copy per combination of repeats: their number times the input is the output. */
	int64_t reps[LIMIT_RANK], at[LIMIT_RANK] = { 0 }, total = 1;
	for (int i = 0; i < x->rank; i++) {
		reps[i] = x->dims[i] ? y->dims[i] / x->dims[i] : 0;
		total *= reps[i];
	}
	for (int64_t k = 0; k < total && x->n; k++) {
		struct nd n = { .rank = x->rank };
		memcpy(n.dims, x->dims, sizeof n.dims);
		memcpy(n.st[0], sy, sizeof sy);
		memcpy(n.st[1], sx, sizeof sx);
		for (int i = 0; i < x->rank; i++)
			n.start[0] += at[i] * x->dims[i] * sy[i];
		nd_copy(r, &n, y->data, x->data, size);
		for (int i = x->rank - 1; i >= 0 && ++at[i] == reps[i]; i--)
			at[i] = 0;
	}
	return ERR_OK;
}

/* --- Cast ---------------------------------------------------------------------------------------------------- */

#define CASTABLE(X)                                                                                       \
	X(DT_F32, float) X(DT_F64, double) X(DT_I64, int64_t) X(DT_I32, int32_t) X(DT_I16, int16_t)       \
	X(DT_I8, int8_t) X(DT_U8, uint8_t) X(DT_U16, uint16_t) X(DT_U32, uint32_t) X(DT_U64, uint64_t)

static bool castable(int dt)
{
#define IS(d, t) if (dt == d) return true;
	CASTABLE(IS)
#undef IS
	return dt == DT_BOOL || dt == DT_F16;
}

static int cast_infer(struct plan *p, struct step *s)
{
	const struct onnx_attr *a = op_attr(s->node, "to");
	if (!a)
		return plan_fail(p, s, ERR_MODEL, "the attribute \"to\" is missing");
	if (a->i <= 0 || a->i >= DT__MAX || !castable((int)a->i) || !castable(s->in[0]->dtype))
		return plan_fail(p, s, ERR_UNSUPPORTED, "from %s to type %lld (%s)", dtype_name(s->in[0]->dtype),
		                 (long long)a->i, a->i > 0 && a->i < DT__MAX ? dtype_name((int)a->i) : "unknown");
	return plan_out(p, s, 0, (int)a->i, s->in[0]->rank, s->in[0]->dims);
}

/* Element i as a double (exact for all but large 64-bit integers, which go another way) or an i64. */
static double load_double(const struct tensor *t, uint64_t i)
{
#define LOAD(d, T) if (t->dtype == d) return (double)((const T *)t->data)[i];
	CASTABLE(LOAD)
#undef LOAD
	if (t->dtype == DT_F16)
		return (double)half_to_float(((const uint16_t *)t->data)[i]);
	return ((const uint8_t *)t->data)[i];
}

static int64_t load_int(const struct tensor *t, uint64_t i)
{
#define LOAD(d, T) if (t->dtype == d) return (int64_t)((const T *)t->data)[i];
	LOAD(DT_I64, int64_t) LOAD(DT_I32, int32_t) LOAD(DT_I16, int16_t) LOAD(DT_I8, int8_t)
	LOAD(DT_U8, uint8_t) LOAD(DT_U16, uint16_t) LOAD(DT_U32, uint32_t) LOAD(DT_U64, uint64_t)
#undef LOAD
	return ((const uint8_t *)t->data)[i];
}

/* Towards zero; NaN and what does not fit becomes the smallest number, as x86 converts. */
static int64_t double_to_int(double v)
{
	return v >= -9223372036854775808.0 && v < 9223372036854775808.0 ? (int64_t)v : INT64_MIN;
}

static void store_double(const struct tensor *t, uint64_t i, double v)
{
	int64_t n = t->dtype == DT_F32 || t->dtype == DT_F64 ? 0 : double_to_int(v);
	if (t->dtype == DT_F32)
		((float *)t->data)[i] = (float)v;
	else if (t->dtype == DT_F64)
		((double *)t->data)[i] = v;
	else if (t->dtype == DT_F16)
		((uint16_t *)t->data)[i] = half_from_float((float)v);
	else if (t->dtype == DT_BOOL)
		((uint8_t *)t->data)[i] = v != 0;
	else if (dtype_bytes(t->dtype) == 8)
		((int64_t *)t->data)[i] = n;
	else if (dtype_bytes(t->dtype) == 4)
		((uint32_t *)t->data)[i] = (uint32_t)n;
	else if (dtype_bytes(t->dtype) == 2)
		((uint16_t *)t->data)[i] = (uint16_t)n;
	else
		((uint8_t *)t->data)[i] = (uint8_t)n;
}

static void store_int(const struct tensor *t, uint64_t i, int64_t v)
{
	if (t->dtype == DT_F32)
		((float *)t->data)[i] = (float)v;
	else if (t->dtype == DT_F64 || t->dtype == DT_F16)
		store_double(t, i, (double)v);
	else if (t->dtype == DT_BOOL)
		((uint8_t *)t->data)[i] = v != 0;
	else if (dtype_bytes(t->dtype) == 8)
		((int64_t *)t->data)[i] = v;
	else if (dtype_bytes(t->dtype) == 4)
		((uint32_t *)t->data)[i] = (uint32_t)v;
	else if (dtype_bytes(t->dtype) == 2)
		((uint16_t *)t->data)[i] = (uint16_t)v;
	else
		((uint8_t *)t->data)[i] = (uint8_t)v;
}

static int cast_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	bool real = x->dtype == DT_F32 || x->dtype == DT_F64 || x->dtype == DT_F16;
	(void)r;
	if (x->dtype == y->dtype) {
		memcpy(y->data, x->data, y->bytes);
	} else if (x->dtype == DT_F16 && y->dtype == DT_F32) {
		for (uint64_t i = 0; i < y->n; i++)
			((float *)y->data)[i] = half_to_float(((const uint16_t *)x->data)[i]);
	} else if (x->dtype == DT_I32 && y->dtype == DT_F32) {
		for (uint64_t i = 0; i < y->n; i++)
			((float *)y->data)[i] = (float)((const int32_t *)x->data)[i];
	} else {
		for (uint64_t i = 0; i < y->n; i++)
			if (real)
				store_double(y, i, load_double(x, i));
			else
				store_int(y, i, load_int(x, i));
	}
	return ERR_OK;
}

/* --- Range ------------------------------------------------------------------------------------------------ */

static int range_infer(struct plan *p, struct step *s)
{
	int64_t v[3], n;
	size_t k;
	uint64_t steps;
	int rc;
	for (uint32_t i = 0; i < 3; i++) {
		if (s->in[i]->dtype != DT_I64 && s->in[i]->dtype != DT_I32)
			return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(s->in[i]->dtype));
		if ((rc = plan_ints(p, s, i, &v[i], 1, &k)))
			return rc;
		if (k != 1)
			return plan_fail(p, s, ERR_MODEL, "input %u is no single number", i);
	}
	if (v[2] == 0)
		return plan_fail(p, s, ERR_MODEL, "a step of 0");
	/* (limit - start) / step, rounded up; unsigned, so that no difference can wrap. */
	if (v[2] > 0 ? v[1] <= v[0] : v[1] >= v[0]) {
		steps = 0;
	} else {
		uint64_t span = v[2] > 0 ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
		uint64_t by = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
		steps = (span - 1) / by + 1;
	}
	if (steps > LIMIT_EXTENT)
		return plan_fail(p, s, ERR_LIMIT, "%llu elements; at most 2^40", (unsigned long long)steps);
	n = (int64_t)steps;
	return plan_out(p, s, 0, s->in[0]->dtype, 1, &n);
}

static int range_run(struct run *r, const struct step *s)
{
	const struct tensor *y = s->out[0];
	uint64_t v = (uint64_t)const_int(s->in[0], 0), by = (uint64_t)const_int(s->in[2], 0);
	(void)r;
	for (uint64_t i = 0; i < y->n; i++, v += by)
		if (y->dtype == DT_I64)
			((int64_t *)y->data)[i] = (int64_t)v;
		else
			((int32_t *)y->data)[i] = (int32_t)v;
	return ERR_OK;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static const struct op_attr a_axes[] = { { "axes", AT_INTS }, { NULL, 0 } };
static const struct op_attr a_axis[] = { { "axis", AT_INT }, { NULL, 0 } };
static const struct op_attr a_shape[] = { { "start", AT_INT }, { "end", AT_INT }, { NULL, 0 } };
static const struct op_attr a_allowzero[] = { { "allowzero", AT_INT }, { NULL, 0 } };
static const struct op_attr a_ratio[] = { { "ratio", AT_FLOAT }, { NULL, 0 } };
static const struct op_attr a_seed[] = { { "seed", AT_INT }, { NULL, 0 } };
static const struct op_attr a_value[] = { { "value", AT_TENSOR }, { NULL, 0 } };
static const struct op_attr a_values[] = { { "value", AT_TENSOR }, { "value_float", AT_FLOAT },
	                                   { "value_floats", AT_FLOATS }, { "value_int", AT_INT },
	                                   { "value_ints", AT_INTS }, { NULL, 0 } };
static const struct op_attr a_to[] = { { "to", AT_INT }, { NULL, 0 } };
static const struct op_attr a_to_19[] = { { "to", AT_INT }, { "saturate", AT_INT }, { NULL, 0 } };
static const struct op_attr a_if[] = { { "then_branch", AT_GRAPH }, { "else_branch", AT_GRAPH }, { NULL, 0 } };

static const struct op rows[] = {
	{ "Shape", 1, 14, 1, 1, 1, 1, 0, NULL, shape_infer, NULL, OP_SHAPE_ONLY, T_ANY, T1(DT_I64) },
	{ "Shape", 15, 25, 1, 1, 1, 1, 0, a_shape, shape_infer, NULL, OP_SHAPE_ONLY, T_ANY, T1(DT_I64) },
	{ "Size", 1, 25, 1, 1, 1, 1, 0, NULL, size_infer, NULL, OP_SHAPE_ONLY, T_ANY, T1(DT_I64) },
	{ "Reshape", 5, 13, 2, 2, 1, 1, VALUE(1), NULL, reshape_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Reshape", 14, 25, 2, 2, 1, 1, VALUE(1), a_allowzero, reshape_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Squeeze", 1, 12, 1, 1, 1, 1, 0, a_axes, squeeze_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Squeeze", 13, 25, 1, 2, 1, 1, VALUE(1), NULL, squeeze_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Unsqueeze", 1, 12, 1, 1, 1, 1, 0, a_axes, unsqueeze_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Unsqueeze", 13, 25, 2, 2, 1, 1, VALUE(1), NULL, unsqueeze_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Flatten", 1, 25, 1, 1, 1, 1, 0, a_axis, flatten_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Identity", 1, 25, 1, 1, 1, 1, 0, NULL, same_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Dropout", 7, 11, 1, 1, 1, 2, 0, a_ratio, dropout_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Dropout", 12, 25, 1, 3, 1, 2, VALUE(2), a_seed, dropout_infer, NULL, OP_VIEW, T_ANY, T_ANY },
	{ "Constant", 1, 11, 0, 0, 1, 1, 0, a_value, constant_infer, NULL, 0, 0, T_ANY },
	{ "Constant", 12, 25, 0, 0, 1, 1, 0, a_values, constant_infer, NULL, 0, 0, T_ANY },
	{ "ConstantOfShape", 9, 25, 1, 1, 1, 1, VALUE(0), a_value, constant_of_shape_infer, NULL, 0, T_INTS, T_ANY },
	{ "Expand", 8, 25, 2, 2, 1, 1, VALUE(1), NULL, expand_infer, expand_run, 0, T_ANY, T_ANY },
	{ "Tile", 6, 25, 2, 2, 1, 1, VALUE(1), NULL, tile_infer, tile_run, 0, T_ANY, T_ANY },
	{ "Cast", 6, 18, 1, 1, 1, 1, 0, a_to, cast_infer, cast_run, 0, T_ANY, T_ANY },
	{ "Cast", 19, 25, 1, 1, 1, 1, 0, a_to_19, cast_infer, cast_run, 0, T_ANY, T_ANY },
	{ "Range", 11, 25, 3, 3, 1, 1, VALUE(0) | VALUE(1) | VALUE(2), NULL, range_infer, range_run, 0, T_INTS,
	  T_INTS },
	{ "If", 1, 25, 1, 1, 1, -1, VALUE(0), a_if, NULL, NULL, OP_IF, T1(DT_BOOL), T_ANY },
};
const struct op_family ops_shape = { rows, sizeof rows / sizeof rows[0] };
