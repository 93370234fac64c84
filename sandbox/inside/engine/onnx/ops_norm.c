/* SPDX-License-Identifier: Apache-2.0
 *
 * BatchNormalization (inference), InstanceNormalization, LayerNormalization.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/norm.h"

#include <math.h>
#include <string.h>

void norm_affine(float *scale, float *shift, const float *gamma, const float *beta, const float *mean,
                 const float *var, float eps, int64_t c)
{
	for (int64_t i = 0; i < c; i++) {
		scale[i] = gamma[i] / sqrtf(var[i] + eps);
		shift[i] = beta[i] - mean[i] * scale[i];
	}
}

static int floats(struct plan *p, struct step *s)
{
	for (uint32_t i = 0; i < s->n_in; i++)
		if (s->in[i] && s->in[i]->dtype != DT_F32)
			return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(s->in[i]->dtype));
	return ERR_OK;
}

static int channel_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct norm_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	int rc;
	if (!q)
		return ERR_LIMIT;
	if ((rc = floats(p, s)))
		return rc;
	if (op_attr_int(s->node, "training_mode", 0))
		return plan_fail(p, s, ERR_UNSUPPORTED, "training_mode 1");
	if (op_attr_int(s->node, "spatial", 1) != 1)
		return plan_fail(p, s, ERR_UNSUPPORTED, "spatial 0");
	for (uint32_t i = 1; i < s->n_out; i++)
		if (s->out[i] && s->out[i]->value != ONNX_NONE)
			return plan_fail(p, s, ERR_UNSUPPORTED, "the outputs of training");
	if (x->rank < 2)
		return plan_fail_shape(p, s, "an input of rank %d", x->rank);
	q->c = x->dims[1];
	q->hw = 1;
	for (int i = 2; i < x->rank; i++)
		q->hw *= x->dims[i];
	for (uint32_t i = 1; i < s->n_in; i++)
		if (s->in[i]->n != (uint64_t)q->c)
			return plan_fail_shape(p, s, "operand %u has %llu numbers for %lld channels", i,
			                       (unsigned long long)s->in[i]->n, (long long)q->c);
	q->eps = op_attr_float(s->node, "epsilon", 1e-5f);
	s->shared = (uint64_t)q->c * 8;
	return plan_out(p, s, 0, DT_F32, x->rank, x->dims);
}

static int batch_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	const struct norm_p *q = s->p;
	float *scale = (float *)(void *)r->shared, *shift = scale + q->c;
	uint64_t planes = q->hw ? x->n / (uint64_t)q->hw : 0;
	norm_affine(scale, shift, s->in[1]->data, s->in[2]->data, s->in[3]->data, s->in[4]->data, q->eps, q->c);
	for (uint64_t i = 0; i < planes; i++) {
		const float *a = (const float *)x->data + i * (uint64_t)q->hw;
		float *b = (float *)y->data + i * (uint64_t)q->hw;
		struct activation act = { .kind = ACT_NONE, .post = true, .post_mul = scale[i % (uint64_t)q->c],
			                  .post_add = shift[i % (uint64_t)q->c] };
		r->k->activate_f32(act, b, a, (size_t)q->hw);
	}
	return ERR_OK;
}

static int instance_run(struct run *r, const struct step *s)
{
	const struct tensor *x = s->in[0], *y = s->out[0];
	const struct norm_p *q = s->p;
	const float *gamma = s->in[1]->data, *beta = s->in[2]->data;
	for (uint64_t i = 0; q->hw && i < x->n / (uint64_t)q->hw; i++) {
		const float *a = (const float *)x->data + i * (uint64_t)q->hw;
		float *b = (float *)y->data + i * (uint64_t)q->hw;
		struct activation act = { .kind = ACT_NONE, .post = true, .post_mul = gamma[i % (uint64_t)q->c],
			                  .post_add = beta[i % (uint64_t)q->c] };
		r->k->layernorm_f32(b, a, NULL, NULL, q->eps, (size_t)q->hw);
		r->k->activate_f32(act, b, b, (size_t)q->hw);
	}
	return ERR_OK;
}

static int layer_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	struct norm_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	int64_t axis = op_attr_int(s->node, "axis", -1), d[LIMIT_RANK];
	int rc;
	if (!q)
		return ERR_LIMIT;
	if ((rc = floats(p, s)))
		return rc;
	if (!axis_fix(&axis, x->rank))
		return plan_fail_shape(p, s, "axis %lld is outside a rank of %d", (long long)axis, x->rank);
	if (op_attr_int(s->node, "stash_type", 1) != 1)
		return plan_fail(p, s, ERR_UNSUPPORTED, "another stash_type than float");
	q->rows = q->n = 1;
	for (int i = 0; i < x->rank; i++)
		*(i < axis ? &q->rows : &q->n) *= x->dims[i];
	for (uint32_t i = 1; i < s->n_in; i++)
		if (s->in[i] && s->in[i]->n != (uint64_t)q->n)
			return plan_fail(p, s, ERR_UNSUPPORTED, "operand %u has %llu numbers for rows of %lld", i,
			                 (unsigned long long)s->in[i]->n, (long long)q->n);
	q->eps = op_attr_float(s->node, "epsilon", 1e-5f);
	for (int i = 0; i < x->rank; i++)
		d[i] = i < axis ? x->dims[i] : 1;
	if ((rc = plan_out(p, s, 1, DT_F32, x->rank, d)) || (rc = plan_out(p, s, 2, DT_F32, x->rank, d)))
		return rc;
	return plan_out(p, s, 0, DT_F32, x->rank, x->dims);
}

/* Mean and 1 / sqrt(variance + eps) of each row, where somebody asks for them. */
static void layer_moments(const struct run *r, const struct step *s)
{
	const struct norm_p *q = s->p;
	for (int64_t i = 0; i < q->rows; i++) {
		const float *x = (const float *)s->in[0]->data + i * q->n;
		float mean = r->k->sum_f32(x, (size_t)q->n) / (float)q->n, sum = 0;
		for (int64_t k = 0; k < q->n; k++)
			sum += (x[k] - mean) * (x[k] - mean);
		if (step_out(s, 1))
			((float *)s->out[1]->data)[i] = mean;
		if (step_out(s, 2))
			((float *)s->out[2]->data)[i] = 1.0f / sqrtf(sum / (float)q->n + q->eps);
	}
}

struct layer_job {
	const struct run *r;
	const struct step *s;
};

static void layer_task(void *arg, uint32_t task, unsigned thread)
{
	const struct layer_job *j = arg;
	const struct norm_p *q = j->s->p;
	int64_t each = q->rows > 64 ? (q->rows + 63) / 64 : 1;
	(void)thread;
	for (int64_t i = task * each; i < (task + 1) * each && i < q->rows; i++)
		j->r->k->layernorm_f32((float *)j->s->out[0]->data + i * q->n,
		                       (const float *)j->s->in[0]->data + i * q->n,
		                       step_in(j->s, 1) ? j->s->in[1]->data : NULL,
		                       step_in(j->s, 2) ? j->s->in[2]->data : NULL, q->eps, (size_t)q->n);
}

static int layer_run(struct run *r, const struct step *s)
{
	const struct norm_p *q = s->p;
	struct layer_job j = { r, s };
	int64_t each = q->rows > 64 ? (q->rows + 63) / 64 : 1;
	if (s->in[0]->n && step_out(s, 0))
		run_tasks(r, layer_task, &j, (uint32_t)((q->rows + each - 1) / each));
	if (s->in[0]->n && (step_out(s, 1) || step_out(s, 2)))
		layer_moments(r, s);
	return ERR_OK;
}

static const struct op_attr a_batch[] = { { "epsilon", AT_FLOAT }, { "momentum", AT_FLOAT },
	                                  { "spatial", AT_INT }, { "training_mode", AT_INT }, { NULL, 0 } };
static const struct op_attr a_instance[] = { { "epsilon", AT_FLOAT }, { NULL, 0 } };
static const struct op_attr a_layer[] = { { "axis", AT_INT }, { "epsilon", AT_FLOAT }, { "stash_type", AT_INT },
	                                  { NULL, 0 } };

static const struct op rows[] = {
	{ "BatchNormalization", 7, 25, 5, 5, 1, 5, 0, a_batch, channel_infer, batch_run, 0, T_FLOAT, T_FLOAT },
	{ "InstanceNormalization", 6, 25, 3, 3, 1, 1, 0, a_instance, channel_infer, instance_run, 0, T_FLOAT, T_FLOAT },
	{ "LayerNormalization", 17, 25, 2, 3, 1, 3, 0, a_layer, layer_infer, layer_run, 0, T_FLOAT, T_FLOAT },
};
const struct op_family ops_norm = { rows, sizeof rows / sizeof rows[0] };
