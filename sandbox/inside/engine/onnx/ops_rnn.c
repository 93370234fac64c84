/* SPDX-License-Identifier: Apache-2.0
 *
 * LSTM: forward, reverse and bidirectional, default activations, layout 0, no peepholes, no clip, no
 * sequence lengths. Each step is one kernel call.
 *
 * Side: inside. Trusts: what infer checked. Owns: its row of the operator table.
 *
 *   X [seq, batch, input]  W [dirs, 4 hidden, input]  R [dirs, 4 hidden, hidden]  B [dirs, 8 hidden]
 *   Y [seq, dirs, batch, hidden]  Y_h, Y_c [dirs, batch, hidden]
 */
#include "sandbox/inside/engine/onnx/linear.h"

#include "proto/mem.h"

#include <string.h>

static bool default_activations(const struct step *s)
{
	static const char *const names[] = { "Sigmoid", "Tanh", "Tanh" };
	const struct onnx_attr *a = op_attr(s->node, "activations");
	for (size_t i = 0; a && i < a->n; i++)
		if (!onnx_str_is(a->strings[i], names[i % 3]))
			return false;
	return true;
}

static bool has_dims(const struct tensor *t, int64_t a, int64_t b, int64_t c)
{
	if (!t)
		return true;
	if (c < 0)
		return t->rank == 2 && t->dims[0] == a && t->dims[1] == b;
	return t->rank == 3 && t->dims[0] == a && t->dims[1] == b && t->dims[2] == c;
}

static int options(struct plan *p, struct step *s, struct lstm_p *q)
{
	const struct onnx_attr *clip = op_attr(s->node, "clip");
	q->reverse = op_attr_str(s->node, "direction", "reverse", false);
	q->dirs = op_attr_str(s->node, "direction", "bidirectional", false) ? 2 : 1;
	if (!q->reverse && q->dirs == 1 && !op_attr_str(s->node, "direction", "forward", true))
		return plan_fail(p, s, ERR_UNSUPPORTED, "an unknown direction");
	if (clip || op_attr_int(s->node, "input_forget", 0) || op_attr_int(s->node, "layout", 0) ||
	    op_attr(s->node, "activation_alpha") || op_attr(s->node, "activation_beta") ||
	    !default_activations(s))
		return plan_fail(p, s, ERR_UNSUPPORTED, "with clip, input_forget, layout 1 or other activations");
	if (step_in(s, 4) || step_in(s, 7))
		return plan_fail(p, s, ERR_UNSUPPORTED, "with sequence lengths or peepholes");
	for (uint32_t i = 0; i < s->n_in; i++)
		if (s->in[i] && s->in[i]->dtype != DT_F32)
			return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(s->in[i]->dtype));
	return ERR_OK;
}

static int lstm_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0], *w = s->in[1], *rw = s->in[2];
	struct lstm_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	int64_t h;
	int rc;
	if (!q)
		return ERR_LIMIT;
	if ((rc = options(p, s, q)))
		return rc;
	if (x->rank != 3 || rw->rank != 3)
		return plan_fail_shape(p, s, "operands of rank %d and %d", x->rank, rw->rank);
	q->seq = x->dims[0];
	q->batch = x->dims[1];
	q->input = x->dims[2];
	h = q->hidden = rw->dims[2];
	if (h < 1 || h > 65536 || q->input < 1 || q->input > (int64_t)1 << 24 ||
	    op_attr_int(s->node, "hidden_size", h) != h)
		return plan_fail(p, s, ERR_MODEL, "a hidden size of %lld", (long long)h);
	if (!has_dims(w, q->dirs, 4 * h, q->input) || !has_dims(rw, q->dirs, 4 * h, h) ||
	    !has_dims(step_in(s, 3), q->dirs, 8 * h, -1) || !has_dims(step_in(s, 5), q->dirs, q->batch, h) ||
	    !has_dims(step_in(s, 6), q->dirs, q->batch, h))
		return plan_fail_shape(p, s, "the extents of X, W, R, B and the states disagree");
	int64_t dy[4] = { q->seq, q->dirs, q->batch, h }, dh[3] = { q->dirs, q->batch, h };
	if ((rc = plan_out(p, s, 0, DT_F32, 4, dy)) || (rc = plan_out(p, s, 1, DT_F32, 3, dh)) ||
	    (rc = plan_out(p, s, 2, DT_F32, 3, dh)))
		return rc;
	struct tensor state = { 0 };
	if ((rc = plan_shape(p, s, &state, DT_F32, 3, dh)))
		return rc;
	s->macs = (uint64_t)q->dirs * 4 * (uint64_t)h * (uint64_t)(q->input + h);
	if (!ck_get(ck_mul(ck_u64(s->macs), ck_mul(ck_i64(q->seq), ck_i64(q->batch))), (uint64_t)1 << 60, &s->macs))
		return plan_fail(p, s, ERR_LIMIT, "more than 2^60 multiplications");
	s->shared = lstm_pack_bytes(q->input, h) + 64 + 3 * (state.bytes + 64);
	return ERR_OK;
}

struct lstm_mem { float *packed, *h[2], *c; };

static void lstm_direction(struct run *r, const struct step *s, const struct lstm_p *q, int64_t dir,
                           const struct lstm_mem *mem, const float *packed)
{
	int64_t state = q->batch * q->hidden;
	const struct tensor *h0 = step_in(s, 5), *c0 = step_in(s, 6);
	float *y = step_out(s, 0) ? s->out[0]->data : NULL;
	size_t bytes = (size_t)state * 4;
	int cur = 0;
	memset(mem->h[0], 0, bytes);
	memset(mem->c, 0, bytes);
	if (h0)
		memcpy(mem->h[0], (const float *)h0->data + dir * state, bytes);
	if (c0)
		memcpy(mem->c, (const float *)c0->data + dir * state, bytes);
	for (int64_t t = 0; t < q->seq; t++, cur = !cur) {
		int64_t at = q->reverse || dir == 1 ? q->seq - 1 - t : t;
		struct lstm l = { .batch = q->batch, .input = q->input, .hidden = q->hidden,
			          .x = (const float *)s->in[0]->data + at * q->batch * q->input, .ldx = q->input,
			          .h = mem->h[cur], .c = mem->c, .packed = packed, .h_out = mem->h[!cur],
			          .c_out = mem->c };
		r->k->lstm_step_f32(r->pool, &l);
		if (y)
			memcpy(y + (at * q->dirs + dir) * state, mem->h[!cur], bytes);
	}
	if (step_out(s, 1))
		memcpy((float *)s->out[1]->data + dir * state, mem->h[cur], bytes);
	if (step_out(s, 2))
		memcpy((float *)s->out[2]->data + dir * state, mem->c, bytes);
}

int lstm_run(struct run *r, const struct step *s)
{
	const struct lstm_p *q = s->p;
	int64_t h = q->hidden;
	uint64_t state = ((uint64_t)(q->batch * h) * 4 + 63) & ~(uint64_t)63;
	uint8_t *at = r->shared;
	struct lstm_mem mem = { .packed = (float *)(void *)at };
	at += (lstm_pack_bytes(q->input, h) + 63) & ~(uint64_t)63;
	mem.h[0] = (float *)(void *)at;
	mem.h[1] = (float *)(void *)(at + state);
	mem.c = (float *)(void *)(at + 2 * state);
	if (q->batch == 0)
		return ERR_OK;
	for (int64_t d = 0; d < q->dirs; d++) {
		if (!q->packed[d])
			lstm_pack(mem.packed, (const float *)s->in[1]->data + d * 4 * h * q->input,
			          (const float *)s->in[2]->data + d * 4 * h * h,
			          step_in(s, 3) ? (const float *)s->in[3]->data + d * 8 * h : NULL, q->input, h);
		lstm_direction(r, s, q, d, &mem, q->packed[d] ? q->packed[d] : mem.packed);
	}
	return ERR_OK;
}

static const struct op_attr a_lstm[] = { { "activation_alpha", AT_FLOATS }, { "activation_beta", AT_FLOATS },
	                                 { "activations", AT_STRINGS }, { "clip", AT_FLOAT },
	                                 { "direction", AT_STRING }, { "hidden_size", AT_INT },
	                                 { "input_forget", AT_INT }, { "layout", AT_INT }, { NULL, 0 } };

static const struct op rows[] = {
	{ "LSTM", 7, 25, 3, 8, 0, 3, 0, a_lstm, lstm_infer, lstm_run, 0, T_FLOAT, T_FLOAT },
};
const struct op_family ops_rnn = { rows, sizeof rows / sizeof rows[0] };
