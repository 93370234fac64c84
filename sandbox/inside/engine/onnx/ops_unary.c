/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of one operand, element by element. f32 goes to the kernels; integers have loops here.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/elem.h"

#include <math.h>
#include <string.h>

uint64_t elem_count(const struct tensor *t)
{
	uint64_t n = 1;
	if (t->layout == L_PLAIN)
		return t->n;
	for (int i = 0; i < t->rank; i++)
		n *= i == 1 ? blocks_of(t->dims[1]) * CBLOCK : (uint64_t)t->dims[i];
	return n;
}

struct unary_job {
	const struct kernels *k;
	const struct elem_unary *u;
	float *y;
	const float *x;
	uint64_t n;
};

static void unary_task(void *arg, uint32_t task, unsigned thread)
{
	const struct unary_job *j = arg;
	uint64_t from = (uint64_t)task * ELEM_PIECE, n = j->n - from < ELEM_PIECE ? j->n - from : ELEM_PIECE;
	(void)thread;
	if (j->u->is_act)
		j->k->activate_f32(j->u->act, j->y + from, j->x + from, n);
	else
		j->k->unary_f32(j->u->un, j->y + from, j->x + from, n);
}

void elem_unary_run(struct run *r, const struct elem_unary *u, float *y, const float *x, uint64_t n)
{
	struct unary_job j = { r->k, u, y, x, n };
	if (n)
		run_tasks(r, unary_task, &j, (uint32_t)((n + ELEM_PIECE - 1) / ELEM_PIECE));
}

int elem_unary_step(struct run *r, const struct step *s)
{
	elem_unary_run(r, s->p, s->out[0]->data, s->in[0]->data, elem_count(s->out[0]));
	return ERR_OK;
}

/* --- infer ------------------------------------------------------------------------------------------------ */

static const struct { const char *name; enum unary un; } simple[] = {
	{ "Exp", UN_EXP }, { "Log", UN_LOG }, { "Sqrt", UN_SQRT }, { "Reciprocal", UN_RECIPROCAL },
	{ "Neg", UN_NEG }, { "Abs", UN_ABS }, { "Erf", UN_ERF }, { "Tanh", UN_TANH },
	{ "Sigmoid", UN_SIGMOID }, { "Relu", UN_RELU }, { "Floor", UN_FLOOR }, { "Ceil", UN_CEIL },
};

static int same_type(struct plan *p, struct step *s, uint32_t types)
{
	const struct tensor *x = s->in[0];
	if (!(types & T1(x->dtype)))
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(x->dtype));
	return plan_out(p, s, 0, x->dtype, x->rank, x->dims);
}

static int unary_infer(struct plan *p, struct step *s)
{
	struct elem_unary *u = s->p = plan_alloc(p, 1, sizeof *u);
	if (!u)
		return ERR_LIMIT;
	for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++)
		if (!strcmp(s->op->name, simple[i].name))
			u->un = simple[i].un;
	s->blockable = s->in[0]->dtype == DT_F32;
	return same_type(p, s, s->op->in_types);
}

static int unary_run(struct run *r, const struct step *s)
{
	const struct elem_unary *u = s->p;
	const struct tensor *x = s->in[0], *y = s->out[0];
	if (x->dtype == DT_F32)
		return elem_unary_step(r, s);
	/* Neg, Abs and Relu of integers; the smallest one stays itself. */
	for (uint64_t i = 0; i < x->n; i++) {
		uint64_t v = (uint64_t)const_int(x, i);
		bool neg = (int64_t)v < 0;
		v = u->un == UN_NEG || (u->un == UN_ABS && neg) ? 0 - v : u->un == UN_RELU && neg ? 0 : v;
		if (y->dtype == DT_I64)
			((int64_t *)y->data)[i] = (int64_t)v;
		else
			((int32_t *)y->data)[i] = (int32_t)(uint32_t)v;
	}
	return ERR_OK;
}

/* --- activations with parameters --------------------------------------------------------------------------- */

static int activation_infer(struct plan *p, struct step *s)
{
	static const struct { const char *name; enum act kind; float alpha, beta; } known[] = {
		{ "LeakyRelu", ACT_LEAKY, 0.01f, 0 },
		{ "HardSigmoid", ACT_HARDSIGMOID, 0.2f, 0.5f },
		{ "HardSwish", ACT_HARDSWISH, 1.0f / 6, 0.5f },
		{ "Gelu", ACT_GELU_ERF, 0, 0 },
		{ "Swish", ACT_SWISH, 1, 0 },
	};
	struct elem_unary *u = s->p = plan_alloc(p, 1, sizeof *u);
	if (!u)
		return ERR_LIMIT;
	u->is_act = true;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (!strcmp(s->op->name, known[i].name)) {
			u->act.kind = known[i].kind;
			u->act.alpha = op_attr_float(s->node, "alpha", known[i].alpha);
			u->act.beta = op_attr_float(s->node, "beta", known[i].beta);
		}
	if (op_attr_str(s->node, "approximate", "tanh", false))
		u->act.kind = ACT_GELU_TANH;
	else if (!op_attr_str(s->node, "approximate", "none", true))
		return plan_fail(p, s, ERR_UNSUPPORTED, "an unknown approximation");
	s->blockable = true;
	return same_type(p, s, T_FLOAT);
}

static int clip_infer(struct plan *p, struct step *s)
{
	struct elem_unary *u = s->p = plan_alloc(p, 1, sizeof *u);
	float *lim[2];
	bool fixed = true;
	if (!u)
		return ERR_LIMIT;
	u->is_act = true;
	u->act.kind = ACT_CLIP;
	u->act.alpha = op_attr_float(s->node, "min", -INFINITY);
	u->act.beta = op_attr_float(s->node, "max", INFINITY);
	lim[0] = &u->act.alpha;
	lim[1] = &u->act.beta;
	for (uint32_t i = 1; i < 3; i++) {
		struct tensor *t = step_in(s, i);
		if (t && (t->n != 1 || t->dtype != s->in[0]->dtype))
			return plan_fail(p, s, ERR_MODEL, "limit %u is no single %s", i, dtype_name(s->in[0]->dtype));
		if (t && t->dtype == DT_F32 && t->kind == K_CONST && !const_scalar(p, t, lim[i - 1]))
			return ERR_LIMIT;
		fixed = fixed && (!t || t->kind == K_CONST);
	}
	s->blockable = s->in[0]->dtype == DT_F32 && fixed;
	return same_type(p, s, T_NUM);
}

static int clip_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	if (x->dtype == DT_F32) {
		struct elem_unary u = *(const struct elem_unary *)s->p;
		if (step_in(s, 1))
			u.act.alpha = *(const float *)s->in[1]->data;
		if (step_in(s, 2))
			u.act.beta = *(const float *)s->in[2]->data;
		elem_unary_run(r, &u, y->data, x->data, x->n);
		return ERR_OK;
	}
	int64_t lo = step_in(s, 1) ? const_int(s->in[1], 0) : INT64_MIN;
	int64_t hi = step_in(s, 2) ? const_int(s->in[2], 0) : INT64_MAX;
	for (uint64_t i = 0; i < x->n; i++) {
		int64_t v = const_int(x, i);
		v = v < lo ? lo : v;
		v = v > hi ? hi : v;
		if (y->dtype == DT_I64)
			((int64_t *)y->data)[i] = v;
		else
			((int32_t *)y->data)[i] = (int32_t)v;
	}
	return ERR_OK;
}

/* --- Not, IsNaN ----------------------------------------------------------------------------------------------- */

static int not_infer(struct plan *p, struct step *s) { return same_type(p, s, T1(DT_BOOL)); }

static int not_run(struct run *r, const struct step *s)
{
	const uint8_t *x = s->in[0]->data;
	uint8_t *y = s->out[0]->data;
	(void)r;
	for (uint64_t i = 0; i < s->out[0]->n; i++)
		y[i] = !x[i];
	return ERR_OK;
}

/* Round half to even: the nearest integer by adding and taking away 2^23. */
static int round_infer(struct plan *p, struct step *s) { return same_type(p, s, T_FLOAT); }

static int round_run(struct run *r, const struct step *s)
{
	const float *x = s->in[0]->data;
	float *y = s->out[0]->data;
	(void)r;
	for (uint64_t i = 0; i < s->out[0]->n; i++) {
		volatile float big = copysignf(8388608.0f, x[i]);
		float t = x[i] + big;
		y[i] = fabsf(x[i]) < 8388608.0f ? copysignf(t - big, x[i]) : x[i];
	}
	return ERR_OK;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static const struct op_attr a_alpha[] = { { "alpha", AT_FLOAT }, { NULL, 0 } };
static const struct op_attr a_alpha_beta[] = { { "alpha", AT_FLOAT }, { "beta", AT_FLOAT }, { NULL, 0 } };
static const struct op_attr a_min_max[] = { { "min", AT_FLOAT }, { "max", AT_FLOAT }, { NULL, 0 } };
static const struct op_attr a_approximate[] = { { "approximate", AT_STRING }, { NULL, 0 } };

#define UNARY(name, types) \
	{ name, 6, 25, 1, 1, 1, 1, 0, NULL, unary_infer, unary_run, 0, types, types }
#define ACTIVATION(name, since, attrs) \
	{ name, since, 25, 1, 1, 1, 1, 0, attrs, activation_infer, elem_unary_step, 0, T_FLOAT, T_FLOAT }

static const struct op rows[] = {
	UNARY("Exp", T_FLOAT), UNARY("Log", T_FLOAT), UNARY("Sqrt", T_FLOAT), UNARY("Reciprocal", T_FLOAT),
	UNARY("Neg", T_NUM), UNARY("Abs", T_NUM), UNARY("Erf", T_FLOAT), UNARY("Tanh", T_FLOAT),
	UNARY("Sigmoid", T_FLOAT), UNARY("Relu", T_NUM), UNARY("Floor", T_FLOAT), UNARY("Ceil", T_FLOAT),
	ACTIVATION("LeakyRelu", 6, a_alpha), ACTIVATION("HardSigmoid", 6, a_alpha_beta),
	ACTIVATION("HardSwish", 14, NULL), ACTIVATION("Gelu", 20, a_approximate),
	ACTIVATION("Swish", 24, a_alpha),
	{ "Clip", 6, 10, 1, 1, 1, 1, 0, a_min_max, clip_infer, clip_run, 0, T_FLOAT, T_FLOAT },
	{ "Clip", 11, 25, 1, 3, 1, 1, 0, NULL, clip_infer, clip_run, 0, T_NUM, T_NUM },
	{ "Not", 1, 25, 1, 1, 1, 1, 0, NULL, not_infer, not_run, 0, T1(DT_BOOL), T1(DT_BOOL) },
	{ "Round", 11, 25, 1, 1, 1, 1, 0, NULL, round_infer, round_run, 0, T_FLOAT, T_FLOAT },
};
const struct op_family ops_unary = { rows, sizeof rows / sizeof rows[0] };
