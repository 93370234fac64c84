/* SPDX-License-Identifier: Apache-2.0
 *
 * Conv and ConvTranspose, 1-D and 2-D. The run here takes plain tensors and packs everything each time:
 * it serves constants and weights that are computed; lower.c gives the others packed weights and
 * channel blocks.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/linear.h"

#include "proto/mem.h"

#include <string.h>

#define WINDOW_MAX ((int64_t)1 << 31) /* kernel extents, strides, dilations, pads */

/* One list attribute of exactly n numbers in min..WINDOW_MAX, or its default. */
static int window_list(struct plan *p, struct step *s, const char *name, int n, int64_t min, int64_t dflt,
                       int64_t *out)
{
	const struct onnx_attr *a = op_attr(s->node, name);
	if (a && a->n != (size_t)n)
		return plan_fail(p, s, ERR_MODEL, "%s has %zu numbers instead of %d", name, a->n, n);
	for (int i = 0; i < n; i++) {
		out[i] = a ? a->ints[i] : dflt;
		if (out[i] < min || out[i] > WINDOW_MAX)
			return plan_fail(p, s, ERR_MODEL, "%s holds %lld", name, (long long)out[i]);
	}
	return ERR_OK;
}

/* 1-D windows become 2-D ones of height 1. */
static void widen(struct window *w)
{
	w->k[1] = w->k[0], w->k[0] = 1;
	w->stride[1] = w->stride[0], w->stride[0] = 1;
	w->dil[1] = w->dil[0], w->dil[0] = 1;
	w->pad[3] = w->pad[1], w->pad[1] = w->pad[0], w->pad[0] = w->pad[2] = 0;
	w->in[1] = w->in[0], w->in[0] = 1;
}

/* auto_pad: 0 NOTSET, 1 VALID, 2 SAME_UPPER, 3 SAME_LOWER. */
static int auto_pad(const struct step *s)
{
	static const char *const names[] = { "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER" };
	for (int i = 0; i < 4; i++)
		if (op_attr_str(s->node, "auto_pad", names[i], i == 0))
			return i;
	return -1;
}

int window_read(struct plan *p, struct step *s, int spatial, const int64_t *in, const int64_t *kernel,
                struct window *w)
{
	const struct onnx_attr *a = op_attr(s->node, "kernel_shape");
	int rc, mode = auto_pad(s);
	memset(w, 0, sizeof *w);
	if (kernel)
		memcpy(w->k, kernel, (size_t)spatial * sizeof *kernel);
	if (a || !kernel) {
		int64_t k[2] = { 0 };
		if (!a)
			return plan_fail(p, s, ERR_MODEL, "kernel_shape is missing");
		if ((rc = window_list(p, s, "kernel_shape", spatial, 1, 0, k)))
			return rc;
		if (kernel && memcmp(k, kernel, (size_t)spatial * sizeof *k))
			return plan_fail(p, s, ERR_MODEL, "kernel_shape and the weights disagree");
		memcpy(w->k, k, sizeof k);
	}
	for (int i = 0; i < spatial; i++)
		if (w->k[i] < 1 || w->k[i] > WINDOW_MAX)
			return plan_fail(p, s, ERR_MODEL, "a kernel extent of %lld", (long long)w->k[i]);
	if ((rc = window_list(p, s, "strides", spatial, 1, 1, w->stride)) ||
	    (rc = window_list(p, s, "dilations", spatial, 1, 1, w->dil)) ||
	    (rc = window_list(p, s, "pads", 2 * spatial, 0, 0, w->pad)))
		return rc;
	if (mode < 0)
		return plan_fail(p, s, ERR_UNSUPPORTED, "an unknown auto_pad");
	memcpy(w->in, in, (size_t)spatial * sizeof *in);
	if (spatial == 1)
		widen(w);
	if (mode == 0)
		return ERR_OK;
	memset(w->pad, 0, sizeof w->pad);
	for (int i = 0; i < 2 && mode >= 2; i++) {
		int64_t out = (w->in[i] + w->stride[i] - 1) / w->stride[i];
		int64_t need = (out - 1) * w->stride[i] + (w->k[i] - 1) * w->dil[i] + 1 - w->in[i];
		need = need < 0 || out == 0 ? 0 : need;
		w->pad[i] = mode == 2 ? need / 2 : need - need / 2;
		w->pad[i + 2] = need - w->pad[i];
	}
	return ERR_OK;
}

int window_out(struct plan *p, struct step *s, struct window *w, int spatial, bool ceil_mode)
{
	(void)spatial;
	for (int i = 0; i < 2; i++) {
		/* All terms are below 2^63: extents at most 2^40, kernel times dilation at most 2^62. */
		int64_t reach = (w->k[i] - 1) * w->dil[i] + 1, room = w->in[i] + w->pad[i] + w->pad[i + 2] - reach;
		if (room < 0)
			return plan_fail_shape(p, s, "a window of %lld on an extent of %lld with pads %lld and %lld",
			                       (long long)reach, (long long)w->in[i], (long long)w->pad[i],
			                       (long long)w->pad[i + 2]);
		w->out[i] = room / w->stride[i] + 1;
		/* A last window that only sees padding is dropped. */
		if (ceil_mode && room % w->stride[i] && w->out[i] * w->stride[i] < w->in[i] + w->pad[i])
			w->out[i]++;
	}
	return ERR_OK;
}

static int out_dims(struct plan *p, struct step *s, int64_t n, int64_t c, const struct window *w, int spatial)
{
	int64_t d[4] = { n, c, spatial == 2 ? w->out[0] : w->out[1], w->out[1] };
	return plan_out(p, s, 0, DT_F32, spatial + 2, d);
}

static void conv_fill(struct conv *c, const struct window *w)
{
	c->h_in = w->in[0], c->w_in = w->in[1];
	c->h_out = w->out[0], c->w_out = w->out[1];
	c->kh = w->k[0], c->kw = w->k[1];
	c->stride_h = w->stride[0], c->stride_w = w->stride[1];
	c->dil_h = w->dil[0], c->dil_w = w->dil[1];
	c->pad_top = w->pad[0], c->pad_left = w->pad[1];
}

static int operands(struct plan *p, struct step *s, bool transposed)
{
	const struct tensor *x = s->in[0], *w = s->in[1], *b = step_in(s, 2);
	int64_t groups = op_attr_int(s->node, "group", 1), c, o;
	if (x->dtype != DT_F32 || w->dtype != DT_F32 || (b && b->dtype != DT_F32))
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %s and %s", dtype_name(x->dtype), dtype_name(w->dtype));
	if (x->rank < 3 || x->rank != w->rank)
		return plan_fail_shape(p, s, "an input of rank %d and weights of rank %d", x->rank, w->rank);
	if (x->rank > 4)
		return plan_fail(p, s, ERR_UNSUPPORTED, "over %d spatial axes", x->rank - 2);
	if (groups < 1 || groups > (int64_t)LIMIT_EXTENT)
		return plan_fail(p, s, ERR_MODEL, "group is %lld", (long long)groups);
	c = transposed ? w->dims[0] : w->dims[1] * groups;
	o = transposed ? w->dims[1] * groups : w->dims[0];
	if (w->dims[1] > (int64_t)LIMIT_EXTENT / groups)
		return plan_fail(p, s, ERR_LIMIT, "%lld groups of %lld channels", (long long)groups,
		                 (long long)w->dims[1]);
	if (c != x->dims[1] || c == 0 || o == 0 || c % groups || o % groups)
		return plan_fail_shape(p, s, "%lld channels, weights for %lld in %lld groups, %lld out",
		                       (long long)x->dims[1], (long long)c, (long long)groups, (long long)o);
	if (b && (b->rank != 1 || b->dims[0] != o))
		return plan_fail(p, s, ERR_MODEL, "a bias of %llu numbers for %lld channels", (unsigned long long)b->n,
		                 (long long)o);
	return ERR_OK;
}

/* Bytes of plain tensors in blocks, and of the packing: what running from plain tensors needs. */
static int conv_work(struct plan *p, struct step *s, struct conv_p *q)
{
	const struct conv *c = &q->c;
	struct ck x = ck_mul(ck_mul(ck_i64(c->n), ck_u64(blocks_of(c->c_in) * 64)), ck_mul(ck_i64(c->h_in), ck_i64(c->w_in)));
	struct ck y = ck_mul(ck_mul(ck_i64(c->n), ck_u64(blocks_of(c->c_out) * 64)),
	                     ck_mul(ck_i64(c->h_out), ck_i64(c->w_out)));
	struct ck k = ck_mul(ck_mul(ck_i64(c->kh), ck_i64(c->kw)), ck_u64(1));
	struct ck w = ck_mul(ck_mul(k, ck_u64(blocks_of(c->c_in) * 16)), ck_u64(blocks_of(c->c_out) * 64));
	struct ck macs = ck_mul(ck_mul(ck_mul(ck_i64(c->h_out), ck_i64(c->w_out)), ck_i64(c->n)),
	                        ck_mul(ck_i64(c->c_out), ck_mul(ck_i64(c->c_in / c->groups), k)));
	if (!ck_get(ck_add(ck_add(x, y), w), (uint64_t)1 << 50, &s->shared))
		return plan_fail(p, s, ERR_LIMIT, "a convolution of more than 2^50 bytes");
	if (!ck_get(macs, (uint64_t)1 << 60, &s->macs))
		return plan_fail(p, s, ERR_LIMIT, "a convolution of more than 2^60 multiplications");
	s->shared = 0;
	return ERR_OK;
}

/* The packing's size is the kernels' to say; asked only now that all products are known to fit. */
static void conv_scratch(struct step *s, const struct conv_p *q)
{
	const struct conv *c = &q->c;
	s->shared = (uint64_t)c->n * (blocks_of(c->c_in) * (uint64_t)(c->h_in * c->w_in) +
	                              blocks_of(c->c_out) * (uint64_t)(c->h_out * c->w_out)) * 64 + 128 +
	            conv_pack_bytes(c) + 64 + blocks_of(c->c_out) * 64;
	s->scratch = conv_scratch_bytes(c) + 64;
}

static int conv_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0], *w = s->in[1];
	struct conv_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	struct window win;
	int rc, spatial = x->rank - 2;
	if (!q)
		return ERR_LIMIT;
	if ((rc = operands(p, s, false)) || (rc = window_read(p, s, spatial, x->dims + 2, w->dims + 2, &win)) ||
	    (rc = window_out(p, s, &win, spatial, false)))
		return rc;
	q->spatial = spatial;
	q->c.n = x->dims[0];
	q->c.c_in = x->dims[1];
	q->c.c_out = w->dims[0];
	q->c.groups = op_attr_int(s->node, "group", 1);
	conv_fill(&q->c, &win);
	if ((rc = out_dims(p, s, q->c.n, q->c.c_out, &win, spatial)) || (rc = conv_work(p, s, q)))
		return rc;
	if (s->out[0] && s->out[0]->n)
		conv_scratch(s, q);
	return ERR_OK;
}

/* Output extent: stride (in - 1) + output_padding + (k - 1) dil + 1 - pads; or given (output_shape, SAME),
 * and then the pads follow. */
static int transpose_axis(struct plan *p, struct step *s, struct window *w, int i, int64_t extra, int64_t want,
                          int mode)
{
	uint64_t out;
	struct ck full = ck_add(ck_mul(ck_i64(w->stride[i]), ck_i64(w->in[i] - 1)),
	                        ck_add(ck_i64(extra), ck_i64((w->k[i] - 1) * w->dil[i] + 1)));
	if (extra >= w->stride[i] && extra >= w->dil[i])
		return plan_fail(p, s, ERR_MODEL, "output_padding of %lld", (long long)extra);
	if (want < 0 && mode >= 2 && !ck_get(ck_mul(ck_i64(w->in[i]), ck_i64(w->stride[i])), LIMIT_EXTENT, (uint64_t *)&want))
		return plan_fail_shape(p, s, "an output extent above 2^40");
	if (want >= 0 && !full.bad && (uint64_t)want > full.v && (uint64_t)want - full.v <= (uint64_t)w->stride[i]) {
		/* Larger than the windows reach: the rest holds the bias alone. */
		w->pad[i] = w->pad[i + 2] = 0;
		w->out[i] = want;
		return want <= (int64_t)LIMIT_EXTENT ? ERR_OK : plan_fail_shape(p, s, "an output extent above 2^40");
	}
	if (want >= 0) {
		uint64_t total;
		if (want > (int64_t)LIMIT_EXTENT || !ck_get(ck_sub(full, ck_i64(want)), LIMIT_EXTENT, &total))
			return plan_fail_shape(p, s, "an output extent of %lld", (long long)want);
		w->pad[i] = (int64_t)(mode == 2 ? total / 2 : total - total / 2);
		w->pad[i + 2] = (int64_t)total - w->pad[i];
	}
	if (!ck_get(ck_sub(full, ck_i64(w->pad[i] + w->pad[i + 2])), LIMIT_EXTENT, &out))
		return plan_fail_shape(p, s, "an output extent below 0 or above 2^40");
	w->out[i] = (int64_t)out;
	return ERR_OK;
}

static int transpose_window(struct plan *p, struct step *s, struct window *w, int spatial)
{
	int64_t extra[2] = { 0 }, want[2] = { -1, -1 };
	int rc = window_list(p, s, "output_padding", spatial, 0, 0, extra), mode = auto_pad(s);
	if (rc)
		return rc;
	if (op_attr(s->node, "output_shape") && (rc = window_list(p, s, "output_shape", spatial, 0, 0, want)))
		return rc;
	if (spatial == 1) {
		extra[1] = extra[0], extra[0] = 0;
		want[1] = want[0], want[0] = -1;
	}
	for (int i = spatial == 1; i < 2; i++)
		if ((rc = transpose_axis(p, s, w, i, extra[i], want[i], mode)))
			return rc;
	if (spatial == 1)
		w->out[0] = 1;
	return ERR_OK;
}

static int transpose_infer(struct plan *p, struct step *s)
{
	const struct tensor *x = s->in[0], *w = s->in[1];
	struct conv_p *q = s->p = plan_alloc(p, 1, sizeof *q);
	struct window win;
	int rc, spatial = x->rank - 2;
	if (!q)
		return ERR_LIMIT;
	if ((rc = operands(p, s, true)) || (rc = window_read(p, s, spatial, x->dims + 2, w->dims + 2, &win)))
		return rc;
	if (win.in[0] == 0 || win.in[1] == 0)
		return plan_fail_shape(p, s, "an empty input");
	if ((rc = transpose_window(p, s, &win, spatial)))
		return rc;
	q->spatial = spatial;
	q->c.n = x->dims[0];
	q->c.c_in = x->dims[1];
	q->c.groups = op_attr_int(s->node, "group", 1);
	q->c.c_out = w->dims[1] * q->c.groups;
	q->c.transposed = true;
	conv_fill(&q->c, &win);
	if ((rc = out_dims(p, s, q->c.n, q->c.c_out, &win, spatial)) || (rc = conv_work(p, s, q)))
		return rc;
	if (s->out[0] && s->out[0]->n)
		conv_scratch(s, q);
	return ERR_OK;
}

/* --- from plain tensors ---------------------------------------------------------------------------------- */

struct blocks_job {
	const struct kernels *k;
	float *dst;
	const float *src;
	int64_t c, hw;
	bool to;
};

static void blocks_task(void *arg, uint32_t task, unsigned thread)
{
	const struct blocks_job *j = arg;
	int64_t nb = (int64_t)blocks_of(j->c), image = task / nb, b = task % nb;
	int64_t c = j->c - b * CBLOCK < CBLOCK ? j->c - b * CBLOCK : CBLOCK;
	int64_t plain = (image * j->c + b * CBLOCK) * j->hw, blocked = (image * nb + b) * CBLOCK * j->hw;
	(void)thread;
	if (j->to)
		j->k->to_blocks(j->dst + blocked, j->src + plain, c, j->hw);
	else
		j->k->from_blocks(j->dst + plain, j->src + blocked, c, j->hw);
}

void blocks_from_plain(struct run *r, float *dst, const float *src, int64_t n, int64_t c, int64_t hw)
{
	struct blocks_job j = { r->k, dst, src, c, hw, true };
	run_tasks(r, blocks_task, &j, (uint32_t)(n * (int64_t)blocks_of(c)));
}

void blocks_to_plain(struct run *r, float *dst, const float *src, int64_t n, int64_t c, int64_t hw)
{
	struct blocks_job j = { r->k, dst, src, c, hw, false };
	run_tasks(r, blocks_task, &j, (uint32_t)(n * (int64_t)blocks_of(c)));
}

static float *take(uint8_t **at, uint64_t bytes)
{
	float *p = (float *)(void *)*at;
	*at += (bytes + 63) & ~(uint64_t)63;
	return p;
}

int conv_run(struct run *r, const struct step *s)
{
	const struct conv_p *q = s->p;
	struct conv c = q->c;
	const struct tensor *y = s->out[0], *b = step_in(s, 2);
	uint8_t *at = r->shared;
	float *xb, *yb, *wp, *bias;
	if (!y || y->n == 0)
		return ERR_OK;
	xb = take(&at, (uint64_t)c.n * blocks_of(c.c_in) * (uint64_t)(c.h_in * c.w_in) * 64);
	yb = take(&at, (uint64_t)c.n * blocks_of(c.c_out) * (uint64_t)(c.h_out * c.w_out) * 64);
	wp = take(&at, conv_pack_bytes(&c));
	bias = take(&at, blocks_of(c.c_out) * 64);
	conv_pack(wp, s->in[1]->data, &c);
	memset(bias, 0, blocks_of(c.c_out) * 64);
	if (b)
		memcpy(bias, b->data, b->bytes);
	blocks_from_plain(r, xb, s->in[0]->data, c.n, c.c_in, c.h_in * c.w_in);
	c.x = xb;
	c.y = yb;
	c.packed_w = wp;
	c.bias = b ? bias : NULL;
	r->k->conv_f32(r->pool, &c, r->scratch, r->scratch_each);
	blocks_to_plain(r, y->data, yb, c.n, c.c_out, c.h_out * c.w_out);
	return ERR_OK;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static const struct op_attr a_conv[] = { { "auto_pad", AT_STRING }, { "dilations", AT_INTS }, { "group", AT_INT },
	                                 { "kernel_shape", AT_INTS }, { "pads", AT_INTS },
	                                 { "strides", AT_INTS }, { NULL, 0 } };
static const struct op_attr a_conv_t[] = { { "auto_pad", AT_STRING }, { "dilations", AT_INTS },
	                                   { "group", AT_INT }, { "kernel_shape", AT_INTS },
	                                   { "output_padding", AT_INTS }, { "output_shape", AT_INTS },
	                                   { "pads", AT_INTS }, { "strides", AT_INTS }, { NULL, 0 } };

static const struct op rows[] = {
	{ "Conv", 1, 25, 2, 3, 1, 1, 0, a_conv, conv_infer, conv_run, 0, T_FLOAT, T_FLOAT },
	{ "ConvTranspose", 1, 25, 2, 3, 1, 1, 0, a_conv_t, transpose_infer, conv_run, 0, T_FLOAT, T_FLOAT },
};
const struct op_family ops_conv = { rows, sizeof rows / sizeof rows[0] };
