/* SPDX-License-Identifier: Apache-2.0
 *
 * DynamicQuantizeLinear and ConvInteger: exact integer sums, in plain loops.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/linear.h"

#include "proto/mem.h"

#include <math.h>
#include <string.h>

static int dynamic_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0];
	int rc;
	if (x->dtype != DT_F32)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(x->dtype));
	if ((rc = plan_out(p, s, 0, DT_U8, x->rank, x->dims)) || (rc = plan_out(p, s, 1, DT_F32, 0, NULL)))
		return rc;
	return plan_out(p, s, 2, DT_U8, 0, NULL);
}

/* Round half to even; v is small here. */
static float even(float v)
{
	volatile float big = copysignf(8388608.0f, v);
	float t = v + big;
	return fabsf(v) < 8388608.0f ? t - big : v;
}

static uint8_t saturate(float v)
{
	return v > 0 ? (v < 255 ? (uint8_t)v : 255) : 0; /* NaN becomes 0 */
}

static int dynamic_run(struct run *r, const struct step *s)
{
	const struct tensor *t = s->in[0];
	const float *x = t->data;
	float lo = 0, hi = 0, scale;
	uint8_t zero;
	if (t->n) {
		lo = r->k->reduce_f32(RED_MIN, x, t->n);
		hi = r->k->reduce_f32(RED_MAX, x, t->n);
	}
	lo = lo < 0 ? lo : 0;
	hi = hi > 0 ? hi : 0;
	scale = (hi - lo) / 255.0f;
	zero = scale > 0 ? saturate(even(0 - lo / scale)) : 0;
	for (uint64_t i = 0; step_out(s, 0) && i < t->n; i++)
		((uint8_t *)s->out[0]->data)[i] = scale > 0 ? saturate(even(x[i] / scale) + zero) : 0;
	if (step_out(s, 1))
		*(float *)s->out[1]->data = scale > 0 ? scale : 1;
	if (step_out(s, 2))
		*(uint8_t *)s->out[2]->data = zero;
	return ERR_OK;
}

/* --- ConvInteger ---------------------------------------------------------------------------------------- */

static bool is_byte(const struct tensor *t) { return t->dtype == DT_U8 || t->dtype == DT_I8; }

static int integer_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0], *w = s->in[1], *zx = step_in(s, 2), *zw = step_in(s, 3);
	struct conv_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	int64_t groups = op_attr_int(s->node, "group", 1);
	struct window win;
	int rc;
	if (!q)
		return ERR_LIMIT;
	if (!is_byte(x) || !is_byte(w) || x->rank != 4 || w->rank != 4)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s of rank %d", dtype_name(x->dtype), x->rank);
	if (groups < 1 || groups > (int64_t)LIMIT_EXTENT || w->dims[1] > (int64_t)LIMIT_EXTENT / groups ||
	    w->dims[1] * groups != x->dims[1] || w->dims[0] == 0 || w->dims[0] % groups || x->dims[1] == 0)
		return plan_fail_shape(p, s, "%lld channels, weights for %lld in %lld groups", (long long)x->dims[1],
		                       (long long)w->dims[1], (long long)groups);
	if ((zx && (zx->n != 1 || zx->dtype != x->dtype)) ||
	    (zw && (zw->dtype != w->dtype || (zw->n != 1 && zw->n != (uint64_t)w->dims[0]))))
		return plan_fail(p, s, ERR_MODEL, "the zero points do not fit the operands");
	if ((rc = window_read(p, s, 2, x->dims + 2, w->dims + 2, &win)) || (rc = window_out(p, s, &win, 2, false)))
		return rc;
	q->c = (struct conv){ .n = x->dims[0], .c_in = x->dims[1], .h_in = win.in[0], .w_in = win.in[1],
		              .c_out = w->dims[0], .h_out = win.out[0], .w_out = win.out[1], .kh = win.k[0],
		              .kw = win.k[1], .stride_h = win.stride[0], .stride_w = win.stride[1],
		              .dil_h = win.dil[0], .dil_w = win.dil[1], .pad_top = win.pad[0],
		              .pad_left = win.pad[1], .groups = groups };
	int64_t d[4] = { q->c.n, q->c.c_out, q->c.h_out, q->c.w_out };
	return plan_out(p, s, 0, DT_I32, 4, d);
}

static int32_t byte_at(const struct tensor *t, uint64_t i)
{
	return t->dtype == DT_I8 ? ((const int8_t *)t->data)[i] : ((const uint8_t *)t->data)[i];
}

struct integer_job {
	const struct step *s;
	const struct conv *c;
};

/* Sum over the window of one output; cells in the padding are the zero point, so they add nothing. */
static int32_t integer_cell(const struct integer_job *j, int64_t n, int64_t o, int64_t y, int64_t x)
{
	const struct conv *c = j->c;
	const struct tensor *tx = j->s->in[0], *tw = j->s->in[1], *zx = step_in(j->s, 2), *zw = step_in(j->s, 3);
	int64_t per = c->c_in / c->groups, g = o / (c->c_out / c->groups);
	int32_t z0 = zx ? byte_at(zx, 0) : 0, z1 = zw ? byte_at(zw, zw->n == 1 ? 0 : (uint64_t)o) : 0;
	uint32_t sum = 0;
	for (int64_t i = 0; i < per; i++)
		for (int64_t kh = 0; kh < c->kh; kh++)
			for (int64_t kw = 0; kw < c->kw; kw++) {
				int64_t h = y * c->stride_h - c->pad_top + kh * c->dil_h;
				int64_t w = x * c->stride_w - c->pad_left + kw * c->dil_w;
				if (h < 0 || w < 0 || h >= c->h_in || w >= c->w_in)
					continue;
				int32_t a = byte_at(tx, (uint64_t)(((n * c->c_in + g * per + i) * c->h_in + h) * c->w_in + w));
				int32_t b = byte_at(tw, (uint64_t)(((o * per + i) * c->kh + kh) * c->kw + kw));
				sum += (uint32_t)((a - z0) * (b - z1));
			}
	return (int32_t)sum;
}

static void integer_task(void *arg, uint32_t task, unsigned thread)
{
	const struct integer_job *j = arg;
	const struct conv *c = j->c;
	int64_t n = task / c->c_out, o = task % c->c_out;
	int32_t *out = (int32_t *)j->s->out[0]->data + (int64_t)task * c->h_out * c->w_out;
	(void)thread;
	for (int64_t y = 0; y < c->h_out; y++)
		for (int64_t x = 0; x < c->w_out; x++)
			*out++ = integer_cell(j, n, o, y, x);
}

static int integer_run(struct run *r, const struct step *s)
{
	struct integer_job j = { s, &((const struct conv_p *)s->p)->c };
	if (s->out[0]->n)
		run_tasks(r, integer_task, &j, (uint32_t)(j.c->n * j.c->c_out));
	return ERR_OK;
}

static const struct op_attr a_conv[] = { { "auto_pad", AT_STRING }, { "dilations", AT_INTS }, { "group", AT_INT },
	                                 { "kernel_shape", AT_INTS }, { "pads", AT_INTS },
	                                 { "strides", AT_INTS }, { NULL, 0 } };

static const struct op rows[] = {
	{ "DynamicQuantizeLinear", 11, 25, 1, 1, 3, 3, 0, NULL, dynamic_infer, dynamic_run, 0, T_FLOAT, T1(DT_U8) },
	{ "ConvInteger", 10, 25, 2, 4, 1, 1, 0, a_conv, integer_infer, integer_run, 0, T1(DT_U8), T1(DT_I32) },
};
const struct op_family ops_quant = { rows, sizeof rows / sizeof rows[0] };
