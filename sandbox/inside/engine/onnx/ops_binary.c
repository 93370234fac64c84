/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of two and more operands, element by element, with broadcasting: arithmetic, comparisons,
 * logic, Where, and the variadic Sum, Max, Min, Mean. f32 arithmetic goes to the kernels row by row.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/fuse.h"
#include "sandbox/inside/engine/onnx/nd.h"

#include <math.h>
#include <string.h>

enum { K_ADD, K_SUB, K_MUL, K_DIV, K_MAX, K_MIN, K_POW, K_MOD, K_EQ, K_LT, K_LE, K_GT, K_GE, K_AND, K_OR,
       K_XOR, K__MAX };

static const struct kind_row {
	const char *name;
	int kind;
	int kernel;      /* BIN_* or -1 */
} kinds[] = {
	{ "Add", K_ADD, BIN_ADD }, { "Sub", K_SUB, BIN_SUB }, { "Mul", K_MUL, BIN_MUL }, { "Div", K_DIV, BIN_DIV },
	{ "Max", K_MAX, BIN_MAX }, { "Min", K_MIN, BIN_MIN }, { "Sum", K_ADD, BIN_ADD },
	{ "Mean", K_ADD, BIN_ADD }, { "Pow", K_POW, -1 }, { "Mod", K_MOD, -1 }, { "Equal", K_EQ, -1 },
	{ "Less", K_LT, -1 }, { "LessOrEqual", K_LE, -1 }, { "Greater", K_GT, -1 },
	{ "GreaterOrEqual", K_GE, -1 }, { "And", K_AND, -1 }, { "Or", K_OR, -1 }, { "Xor", K_XOR, -1 },
};

static const struct kind_row *kind_of(const struct op *o)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (!strcmp(o->name, kinds[i].name))
			return &kinds[i];
	return &kinds[0];
}

int elem_binary_kind(const struct op *o)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (!strcmp(o->name, kinds[i].name))
			return kinds[i].kernel;
	return -1;
}

int elem_broadcast(struct plan *p, const struct step *s, const struct tensor *a, const struct tensor *b,
                   int64_t *d, int *rank)
{
	*rank = a->rank > b->rank ? a->rank : b->rank;
	for (int i = 0; i < *rank; i++) {
		int ka = i - (*rank - a->rank), kb = i - (*rank - b->rank);
		int64_t x = ka < 0 ? 1 : a->dims[ka], y = kb < 0 ? 1 : b->dims[kb];
		if (x != y && x != 1 && y != 1)
			return plan_fail_shape(p, s, "extents %lld and %lld do not broadcast", (long long)x, (long long)y);
		d[i] = x == 1 ? y : x;
	}
	return ERR_OK;
}

/* --- infer ------------------------------------------------------------------------------------------------ */


static int binary_infer(struct plan *p, struct step *s)
{
	const struct tensor *a = s->in[0], *b = s->in[s->n_in > 1];
	const struct kind_row *k = kind_of(s->op);
	struct binary_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	bool logic = k->kind >= K_EQ, mixed = k->kind == K_POW;
	int64_t d[LIMIT_RANK];
	int rc, rank;
	if (!q)
		return ERR_LIMIT;
	*q = (struct binary_p){ k->kind, k->kernel, false };
	if (!(s->op->in_types & T1(a->dtype)) || !(s->op->in_types & T1(b->dtype)))
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s and %s", dtype_name(a->dtype), dtype_name(b->dtype));
	if (a->dtype != b->dtype && !mixed)
		return plan_fail(p, s, ERR_MODEL, "operands of %s and %s", dtype_name(a->dtype), dtype_name(b->dtype));
	if (k->kind == K_MOD && op_attr_int(s->node, "fmod", 0) != 0)
		return plan_fail(p, s, ERR_UNSUPPORTED, "fmod is 1");
	if ((rc = elem_broadcast(p, s, a, b, d, &rank)))
		return rc;
	s->blockable = a->dtype == DT_F32 && k->kernel >= 0;
	s->shared = mixed && a->dtype != b->dtype ? b->n * 8 : 0;
	return plan_out(p, s, 0, logic ? DT_BOOL : a->dtype, rank, d);
}

/* Sum, Max, Min, Mean of any number of operands: folded from the left. */
static int variadic_infer(struct plan *p, struct step *s)
{
	struct tensor acc = *s->in[0];
	struct binary_p *q;
	int rc, rank;
	if (s->n_in == 2 && strcmp(s->op->name, "Mean"))
		return binary_infer(p, s);
	if (!(q = s->p = plan_alloc(p, 1, sizeof *q)))
		return ERR_LIMIT;
	*q = (struct binary_p){ kind_of(s->op)->kind, kind_of(s->op)->kernel, !strcmp(s->op->name, "Mean") };
	for (uint32_t i = 0; i < s->n_in; i++) {
		int64_t d[LIMIT_RANK];
		if (s->in[i]->dtype != acc.dtype || !(s->op->in_types & T1(acc.dtype)))
			return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(s->in[i]->dtype));
		if ((rc = elem_broadcast(p, s, &acc, s->in[i], d, &rank)))
			return rc;
		acc.rank = (int8_t)rank;
		memcpy(acc.dims, d, sizeof d);
	}
	if (q->mean && acc.dtype != DT_F32)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(acc.dtype));
	return plan_out(p, s, 0, acc.dtype, acc.rank, acc.dims);
}

/* --- rows -------------------------------------------------------------------------------------------------- */

struct rows {
	const struct kernels *k;
	int kind, kernel, dtype_a, dtype_b;
	uint8_t *y;
	const uint8_t *a, *b;
};

/* log2 of a positive normal double: the exponent, and 2 atanh((m-1)/(m+1)) / ln 2 of the mantissa in
 * [sqrt 1/2, sqrt 2) as an odd series; below 1e-15. */
static double log2_pos(double x)
{
	uint64_t bits;
	double m, z, z2, sum = 0;
	memcpy(&bits, &x, 8);
	int64_t e = (int64_t)(bits >> 52) - 1023;
	bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
	memcpy(&m, &bits, 8);
	if (m > 1.4142135623730951) {
		m *= 0.5;
		e++;
	}
	z = (m - 1) / (m + 1);
	z2 = z * z;
	for (int k = 21; k >= 1; k -= 2)
		sum = sum * z2 + 1.0 / k;
	return (double)e + 2.8853900817779268 * z * sum;
}

/* 2^t: the nearest integer into the exponent, the rest as a Taylor series. */
static double exp2_of(double t)
{
	double f, sum = 1;
	uint64_t bits;
	if (t > 1000)
		return INFINITY;
	if (t < -1000)
		return 0;
	int64_t n = (int64_t)(t < 0 ? t - 0.5 : t + 0.5);
	f = (t - (double)n) * 0.6931471805599453;
	for (int k = 14; k >= 1; k--)
		sum = sum * f / k + 1;
	bits = (uint64_t)(n + 1023) << 52;
	memcpy(&f, &bits, 8);
	return sum * f;
}

static bool is_whole(float y) { return fabsf(y) >= 8388608.0f || (float)(int32_t)y == y; }
static bool is_odd(float y) { return fabsf(y) < 16777216.0f && is_whole(y) && ((int32_t)y & 1); }

/* x^y: what is exact done exactly, the rest in doubles by our own series (no libm: same bits). */
static float pow_f32(float x, float y)
{
	float a = fabsf(x), r;
	if (y == 2.0f)
		return x * x;
	if (y == 1.0f)
		return x;
	if (y == 0.0f || x == 1.0f)
		return 1.0f;
	if (isnan(x) || isnan(y) || (x < 0 && !isinf(x) && !isinf(y) && !is_whole(y)))
		return NAN;
	if (isinf(y))
		return a == 1.0f ? 1.0f : (a > 1.0f) == (y > 0) ? INFINITY : 0.0f;
	if (a == 0.0f || isinf(a))
		r = (a == 0.0f) == (y > 0) ? 0.0f : INFINITY;
	else
		r = (float)exp2_of((double)y * log2_pos((double)a));
	return x < 0 && is_odd(y) ? -r : (signbit(x) && a == 0.0f && is_odd(y)) ? -r : r;
}

static int64_t pow_int(int64_t x, int64_t y)
{
	uint64_t r = 1, b = (uint64_t)x;
	if (y < 0)
		return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
	for (; y; y >>= 1, b *= b)
		if (y & 1)
			r *= b;
	return (int64_t)r;
}

#define EACH(T, R, expr)                                                                            \
	do {                                                                                        \
		const T *ea = (const T *)(const void *)j->a + off[1];                               \
		const T *eb = (const T *)(const void *)j->b + off[2];                               \
		R *ey = (R *)(void *)j->y + off[0];                                                 \
		for (int64_t i = 0; i < n; i++) {                                                   \
			T u = ea[i * sa], v = eb[i * sb];                                           \
			ey[i * sy] = (R)(expr);                                                     \
		}                                                                                   \
	} while (0)

/* The smallest number divided by -1 does not fit: done as a negation, which wraps. */
#define IS_MINUS_1(T, v) ((T)-1 < (T)1 && (v) == (T)-1)
/* Integer arithmetic wraps (unsigned underneath); a division by zero was refused before. */
#define INT_KINDS(T, U)                                                                             \
	switch (j->kind) {                                                                          \
	case K_ADD: EACH(T, T, (U)u + (U)v); break;                                                 \
	case K_SUB: EACH(T, T, (U)u - (U)v); break;                                                 \
	case K_MUL: EACH(T, T, (U)u * (U)v); break;                                                 \
	case K_DIV: EACH(T, T, IS_MINUS_1(T, v) ? (T)(0 - (U)u) : (T)(u / v)); break;               \
	case K_MOD: EACH(T, T, IS_MINUS_1(T, v) ? 0 : u % v + ((u % v) && ((u % v) < (T)1) != (v < (T)1) ? v : 0)); break; \
	case K_MAX: EACH(T, T, u > v ? u : v); break;                                               \
	case K_MIN: EACH(T, T, u < v ? u : v); break;                                               \
	case K_POW: EACH(T, T, pow_int((int64_t)u, (int64_t)v)); break;                             \
	default: break;                                                                             \
	}
#define COMPARE(T)                                                                                  \
	switch (j->kind) {                                                                          \
	case K_EQ: EACH(T, uint8_t, u == v); break;                                                 \
	case K_LT: EACH(T, uint8_t, u < v); break;                                                  \
	case K_LE: EACH(T, uint8_t, u <= v); break;                                                 \
	case K_GT: EACH(T, uint8_t, u > v); break;                                                  \
	case K_GE: EACH(T, uint8_t, u >= v); break;                                                 \
	default: break;                                                                             \
	}

static void row_f32(const struct rows *j, const int64_t *off, int64_t n, int64_t sy, int64_t sa, int64_t sb)
{
	float *y = (float *)(void *)j->y + off[0];
	const float *a = (const float *)(const void *)j->a + off[1], *b = (const float *)(const void *)j->b + off[2];
	if (j->kernel >= 0 && sy == 1 && sa == 1 && sb == 1) {
		j->k->binary_f32((enum binary)j->kernel, y, a, b, (size_t)n);
	} else if (j->kernel >= 0 && sy == 1 && sa == 1 && sb == 0) {
		j->k->binary_scalar_f32((enum binary)j->kernel, y, a, *b, false, (size_t)n);
	} else if (j->kernel >= 0 && sy == 1 && sa == 0 && sb == 1) {
		j->k->binary_scalar_f32((enum binary)j->kernel, y, b, *a, true, (size_t)n);
	} else if (j->kernel >= 0) {
		for (int64_t i = 0; i < n; i++)
			j->k->binary_f32((enum binary)j->kernel, y + i * sy, a + i * sa, b + i * sb, 1);
	} else if (j->kind == K_POW && sy == 1 && sa == 1 && sb == 0 && *b == 2.0f) {
		j->k->unary_f32(UN_SQUARE, y, a, (size_t)n);
	} else {
		EACH(float, float, pow_f32(u, v));
	}
}

/* Element types with loops of their own: X(type number, type, unsigned type of the same size). */
#define INT_TYPES(X)                                                                                \
	X(DT_I64, int64_t, uint64_t) X(DT_I32, int32_t, uint32_t) X(DT_I16, int16_t, uint32_t)      \
	X(DT_I8, int8_t, uint32_t) X(DT_U8, uint8_t, uint32_t) X(DT_U16, uint16_t, uint32_t)        \
	X(DT_U32, uint32_t, uint32_t) X(DT_U64, uint64_t, uint64_t)

static void row_ints(const struct rows *j, const int64_t *off, int64_t n, int64_t sy, int64_t sa, int64_t sb)
{
#define ROW(d, T, U)                                                                                \
	if (j->dtype_a == d) {                                                                      \
		INT_KINDS(T, U)                                                                     \
	}
	INT_TYPES(ROW)
#undef ROW
}

static void row_f64(const struct rows *j, const int64_t *off, int64_t n, int64_t sy, int64_t sa, int64_t sb)
{
	switch (j->kind) {
	case K_ADD: EACH(double, double, u + v); break;
	case K_SUB: EACH(double, double, u - v); break;
	case K_MUL: EACH(double, double, u * v); break;
	case K_DIV: EACH(double, double, u / v); break;
	case K_MAX: EACH(double, double, u > v || u != u ? u : v); break;
	case K_MIN: EACH(double, double, u < v || u != u ? u : v); break;
	default: break;
	}
}

static void row_compare(const struct rows *j, const int64_t *off, int64_t n, int64_t sy, int64_t sa, int64_t sb)
{
#define ROW(d, T, U)                                                                                \
	if (j->dtype_a == d) {                                                                      \
		COMPARE(T)                                                                          \
	}
	INT_TYPES(ROW)
	ROW(DT_F32, float, 0)
	ROW(DT_F64, double, 0)
	ROW(DT_BOOL, uint8_t, 0)
#undef ROW
}

static void binary_row(void *arg, const struct nd *nd, const int64_t *off, int64_t n)
{
	const struct rows *j = arg;
	int last = nd->rank - 1;
	int64_t sy = nd->st[0][last], sa = nd->st[1][last], sb = nd->st[2][last];
	if (j->kind == K_AND)
		EACH(uint8_t, uint8_t, u && v);
	else if (j->kind == K_OR)
		EACH(uint8_t, uint8_t, u || v);
	else if (j->kind == K_XOR)
		EACH(uint8_t, uint8_t, u != v);
	else if (j->kind >= K_EQ)
		row_compare(j, off, n, sy, sa, sb);
	else if (j->dtype_a == DT_F32)
		row_f32(j, off, n, sy, sa, sb);
	else if (j->dtype_a == DT_F64)
		row_f64(j, off, n, sy, sa, sb);
	else
		row_ints(j, off, n, sy, sa, sb);
}

static void binary_apply(struct run *r, const struct binary_p *q, const struct tensor *y, const void *a,
                         const struct tensor *ta, const struct tensor *b)
{
	struct rows j = { r->k, q->kind, q->kernel, ta->dtype, b->dtype, y->data, a, b->data };
	struct nd n = { .rank = y->rank, .n_ops = 3 };
	memcpy(n.dims, y->dims, sizeof n.dims);
	nd_strides(n.st[0], y->dims, y->rank);
	nd_broadcast(n.st[1], ta->dims, ta->rank, y->rank);
	nd_broadcast(n.st[2], b->dims, b->rank, y->rank);
	if (y->n == 0)
		return;
	nd_merge(&n);
	nd_run(r, &n, binary_row, &j);
}

/* Integer division traps on zero: looked for before. */
static int divisor_check(struct run *r, const struct step *s, const struct tensor *b)
{
	static const uint8_t zero[8];
	size_t size = dtype_bytes(b->dtype);
	for (uint64_t i = 0; i < b->n; i++)
		if (!memcmp((const uint8_t *)b->data + i * size, zero, size))
			return run_fail(r, s, ERR_MODEL, "a division by zero (element %llu)", (unsigned long long)i);
	return ERR_OK;
}

static int binary_run(struct run *r, const struct step *s)
{
	const struct binary_p *q = s->p;
	struct tensor as_base;
	const struct tensor *b = s->in[s->n_in > 1];
	int rc;
	if ((q->kind == K_DIV || q->kind == K_MOD) && b->dtype != DT_F32 && b->dtype != DT_F64 &&
	    (rc = divisor_check(r, s, b)))
		return rc;
	if (q->kind == K_POW && b->dtype != s->in[0]->dtype) {
		/* Exponents are brought to the base's type first. */
		as_base = *b;
		as_base.dtype = s->in[0]->dtype;
		as_base.data = r->shared;
		for (uint64_t i = 0; i < b->n; i++) {
			double v = b->dtype == DT_F32 ? (double)((const float *)b->data)[i] : (double)const_int(b, i);
			int64_t whole = v > -9e18 && v < 9e18 ? (int64_t)v : 0;
			if (as_base.dtype == DT_F32)
				((float *)as_base.data)[i] = (float)v;
			else if (as_base.dtype == DT_I64)
				((int64_t *)as_base.data)[i] = whole;
			else
				((int32_t *)as_base.data)[i] = (int32_t)whole;
		}
		b = &as_base;
	}
	binary_apply(r, q, s->out[0], s->in[0]->data, s->in[0], b);
	return ERR_OK;
}

static int variadic_run(struct run *r, const struct step *s)
{
	const struct binary_p *q = s->p;
	const struct tensor *y = s->out[0];
	struct binary_p copy = { K_MAX, BIN_MAX, false };
	if (s->n_in == 2 && !q->mean)
		return binary_run(r, s);
	/* max(x, x) writes the first operand out, broadcast. */
	binary_apply(r, &copy, y, s->in[0]->data, s->in[0], s->in[0]);
	for (uint32_t i = 1; i < s->n_in; i++)
		binary_apply(r, q, y, y->data, y, s->in[i]);
	if (q->mean && y->n)
		r->k->binary_scalar_f32(BIN_DIV, y->data, y->data, (float)s->n_in, false, y->n);
	return ERR_OK;
}

/* --- Where -------------------------------------------------------------------------------------------------- */

static int where_infer(struct plan *p, struct step *s)
{
	const struct tensor *c = s->in[0], *a = s->in[1], *b = s->in[2];
	struct tensor ab = *a;
	int64_t d[LIMIT_RANK];
	int rc, rank;
	if (c->dtype != DT_BOOL || a->dtype != b->dtype)
		return plan_fail(p, s, ERR_MODEL, "operands of %s, %s and %s", dtype_name(c->dtype),
		                 dtype_name(a->dtype), dtype_name(b->dtype));
	if ((rc = elem_broadcast(p, s, a, b, d, &rank)))
		return rc;
	ab.rank = (int8_t)rank;
	memcpy(ab.dims, d, sizeof d);
	if ((rc = elem_broadcast(p, s, &ab, c, d, &rank)))
		return rc;
	return plan_out(p, s, 0, a->dtype, rank, d);
}

struct where {
	uint8_t *y;
	const uint8_t *c, *a, *b;
	size_t size;
};

static void where_row(void *arg, const struct nd *nd, const int64_t *off, int64_t n)
{
	const struct where *w = arg;
	int last = nd->rank - 1;
	for (int64_t i = 0; i < n; i++) {
		bool pick = w->c[off[1] + i * nd->st[1][last]];
		const uint8_t *src = pick ? w->a + (size_t)(off[2] + i * nd->st[2][last]) * w->size
		                          : w->b + (size_t)(off[3] + i * nd->st[3][last]) * w->size;
		memcpy(w->y + (size_t)(off[0] + i * nd->st[0][last]) * w->size, src, w->size);
	}
}

static int where_run(struct run *r, const struct step *s)
{
	const struct tensor *y = s->out[0];
	struct where w = { y->data, s->in[0]->data, s->in[1]->data, s->in[2]->data, dtype_bytes(y->dtype) };
	struct nd n = { .rank = y->rank, .n_ops = 4 };
	memcpy(n.dims, y->dims, sizeof n.dims);
	nd_strides(n.st[0], y->dims, y->rank);
	for (int k = 0; k < 3; k++)
		nd_broadcast(n.st[k + 1], s->in[k]->dims, s->in[k]->rank, y->rank);
	if (y->n == 0)
		return ERR_OK;
	nd_merge(&n);
	nd_run(r, &n, where_row, &w);
	return ERR_OK;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static const struct op_attr a_fmod[] = { { "fmod", AT_INT }, { NULL, 0 } };

#define T_WHOLE (T_INTS | T1(DT_I16) | T1(DT_I8) | T1(DT_U8) | T1(DT_U16) | T1(DT_U32) | T1(DT_U64))
#define T_ARITH (T_WHOLE | T_FLOAT | T1(DT_F64))
#define ARITH(name, types) { name, 7, 25, 2, 2, 1, 1, 0, NULL, binary_infer, binary_run, 0, types, types }
#define VARIADIC(name, types) \
	{ name, 6, 25, 1, -1, 1, 1, 0, NULL, variadic_infer, variadic_run, 0, types, types }
#define LOGIC(name, since, types) \
	{ name, since, 25, 2, 2, 1, 1, 0, NULL, binary_infer, binary_run, 0, types, T1(DT_BOOL) }
#define T_EQ (T_ARITH | T1(DT_BOOL))

static const struct op rows[] = {
	ARITH("Add", T_ARITH), ARITH("Sub", T_ARITH), ARITH("Mul", T_ARITH), ARITH("Div", T_ARITH),
	ARITH("Pow", T_NUM),
	{ "Mod", 10, 25, 2, 2, 1, 1, 0, a_fmod, binary_infer, binary_run, 0, T_WHOLE, T_WHOLE },
	VARIADIC("Sum", T_FLOAT), VARIADIC("Mean", T_FLOAT), VARIADIC("Max", T_ARITH), VARIADIC("Min", T_ARITH),
	LOGIC("Equal", 7, T_EQ), LOGIC("Less", 7, T_ARITH), LOGIC("Greater", 7, T_ARITH),
	LOGIC("LessOrEqual", 12, T_ARITH), LOGIC("GreaterOrEqual", 12, T_ARITH),
	LOGIC("And", 7, T1(DT_BOOL)), LOGIC("Or", 7, T1(DT_BOOL)), LOGIC("Xor", 7, T1(DT_BOOL)),
	{ "Where", 9, 25, 3, 3, 1, 1, 0, NULL, where_infer, where_run, 0, T1(DT_BOOL), T_ANY },
};
const struct op_family ops_binary = { rows, sizeof rows / sizeof rows[0] };
