/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing of weights: see pack.h. Temporary copies lie above the plan and are given back at once.
 * Side: inside. Trusts: infer. Owns: nothing.
 */
#include "sandbox/inside/engine/onnx/pack.h"

#include "sandbox/inside/engine/onnx/blas_step.h"
#include "sandbox/inside/engine/onnx/fuse.h"

#include <string.h>

/* A constant's floats for reading now: in place, or in temporary memory. Not kept. */
static const float *peek(struct plan *p, const struct tensor *t)
{
	void *mem;
	if (t->data && !t->splat)
		return t->data;
	if (t->init && t->init->field == 9 && (uintptr_t)(p->m->file + t->init->raw_off) % 4 == 0)
		return (const float *)(const void *)(p->m->file + t->init->raw_off);
	mem = plan_alloc(p, 1, t->bytes + 4);
	if (!mem)
		return NULL;
	if (t->splat)
		for (uint64_t i = 0; i < t->n; i++)
			((float *)mem)[i] = *(const float *)t->data;
	else
		onnx_tensor_read(p->m, t->init, mem);
	return mem;
}

/* Memory for packed weights under a key: *fresh when it must be filled. */
static void *pack_memory(struct plan *p, bool from_file, const uint64_t *key, uint64_t bytes, bool *fresh)
{
	struct session *s = p->s;
	uint64_t h = 0;
	struct packed *k;
	*fresh = true;
	p->weights_bytes += bytes;
	if (!from_file)
		return plan_alloc(p, 1, bytes);
	for (int i = 0; i < PACK_KEY_WORDS; i++)
		h = key_mix(h, key[i]);
	for (k = s->packed[h % PACK_BUCKETS]; k; k = k->next)
		if (!memcmp(k->key, key, sizeof k->key) && k->bytes == bytes) {
			*fresh = false;
			return k->data;
		}
	k = plan_keep(p, sizeof *k);
	if (!k || !(k->data = plan_keep(p, bytes)))
		return NULL;
	memcpy(k->key, key, sizeof k->key);
	k->bytes = bytes;
	k->next = s->packed[h % PACK_BUCKETS];
	s->packed[h % PACK_BUCKETS] = k;
	return k->data;
}

/* --- convolution -------------------------------------------------------------------------------------------- */

/* Which of the file's channels output channel i is. */
static int64_t channel_number(const struct conv_p *q, int64_t i)
{
	int64_t part = q->order ? q->c.c_out / q->order : 1;
	return q->order ? i % part * q->order + i / part : i;
}

/* Weight i as it is packed, `per` to an output channel. */
static float weight_of(const struct conv_p *q, const float *w, uint64_t per, uint64_t i)
{
	uint64_t o = (uint64_t)channel_number(q, (int64_t)(i / per));
	return w[o * per + i % per] * (q->scale ? q->scale[o] : 1);
}

static int fill_conv(struct plan *p, const struct step *s, const struct conv_p *q, float *dst, float *bias)
{
	const struct tensor *tw = s->in[1], *tb = q->has_residual && s->n_in == 3 ? NULL : step_in(s, 2);
	const struct conv *c = &q->c;
	const float *w = peek(p, tw), *b = tb ? peek(p, tb) : NULL;
	uint64_t per = tw->n / (uint64_t)c->c_out; /* weights per output channel */
	float *scaled;
	if (!w || (tb && !b))
		return ERR_LIMIT;
	memset(bias, 0, blocks_of(c->c_out) * CBLOCK * 4);
	for (int64_t i = 0; i < c->c_out; i++) {
		int64_t o = channel_number(q, i);
		bias[i] = (b ? b[o] : 0) * (q->scale ? q->scale[o] : 1) + (q->shift ? q->shift[o] : 0);
	}
	if (!q->scale && !q->order) {
		conv_pack(dst, w, c);
		return ERR_OK;
	}
	if (!(scaled = plan_alloc(p, tw->n, 4)))
		return ERR_LIMIT;
	if (!c->transposed) {
		for (uint64_t i = 0; i < tw->n; i++)
			scaled[i] = weight_of(q, w, per, i);
	} else {
		/* [c_in][c_out / groups][kh kw]: the group follows from the input channel. */
		uint64_t k = (uint64_t)(c->kh * c->kw), og = (uint64_t)(c->c_out / c->groups);
		uint64_t ig = (uint64_t)(c->c_in / c->groups);
		for (uint64_t i = 0; i < tw->n; i++)
			scaled[i] = w[i] * q->scale[i / (k * og) / ig * og + i / k % og];
	}
	conv_pack(dst, scaled, c);
	return ERR_OK;
}

/* Additions alone leave a scale of ones: none. */
static void drop_ones(float **scale, int64_t n)
{
	int64_t i = 0;
	while (*scale && i < n && (*scale)[i] == 1)
		i++;
	if (i == n)
		*scale = NULL;
}

int pack_conv(struct plan *p, struct step *s)
{
	struct conv_p *q = s->p;
	drop_ones(&q->scale, q->c.c_out);
	const struct conv *c = &q->c;
	const struct tensor *tb = q->has_residual && s->n_in == 3 ? NULL : step_in(s, 2);
	bool from_file = s->in[1]->from_file && (!tb || tb->from_file) && (!q->shift || q->affine_from_file), fresh;
	uint64_t bytes = (conv_pack_bytes(c) + 63) & ~(uint64_t)63, room = blocks_of(c->c_out) * CBLOCK * 4;
	uint64_t key[PACK_KEY_WORDS] = { 1, s->node->off, q->fused_key, (uint64_t)c->c_in, (uint64_t)c->c_out,
		                         (uint64_t)c->groups, (uint64_t)c->kh, (uint64_t)c->kw, c->transposed,
		                         q->scale != NULL, (uint64_t)q->order };
	uint8_t *mem = pack_memory(p, from_file, key, bytes + room, &fresh);
	size_t mark = plan_mark(p);
	int rc = ERR_OK;
	if (!mem)
		return ERR_LIMIT;
	q->packed = (const float *)(const void *)mem;
	if (fresh)
		rc = fill_conv(p, s, q, (float *)(void *)mem, (float *)(void *)(mem + bytes));
	plan_release(p, mark);
	q->bias = tb || q->shift ? (const float *)(const void *)(mem + bytes) : NULL;
	if (q->has_residual)
		s->in[1] = s->in[s->n_in - 1];
	s->n_in = q->has_residual ? 2 : 1;
	s->shared = 0;
	s->scratch = conv_scratch_bytes(c) + 64;
	return rc;
}

static int fill_spread(struct plan *p, const struct step *s, const struct conv *one, float *dst, float *bias)
{
	const struct conv_p *q = s->p;
	const struct conv *c = &q->c;
	const float *w = peek(p, s->in[1]), *b = step_in(s, 2) ? peek(p, s->in[2]) : NULL;
	int64_t k = c->kh * c->kw;
	float *turned = plan_alloc(p, s->in[1]->n, 4);
	if (!w || !turned || (step_in(s, 2) && !b))
		return ERR_LIMIT;
	/* [c_in][c_out][k] to [k][c_out][c_in] */
	for (int64_t i = 0; i < c->c_in; i++)
		for (int64_t o = 0; o < c->c_out; o++)
			for (int64_t t = 0; t < k; t++)
				turned[(t * c->c_out + o) * c->c_in + i] =
					w[(i * c->c_out + o) * k + t] * (q->scale ? q->scale[o] : 1);
	for (int64_t i = 0; i < one->c_out; i++) {
		int64_t o = i % c->c_out;
		bias[i] = (b ? b[o] : 0) * (q->scale ? q->scale[o] : 1) + (q->shift ? q->shift[o] : 0);
	}
	conv_pack(dst, turned, one);
	return ERR_OK;
}

int pack_spread(struct plan *p, struct step *s)
{
	struct conv_p *q = s->p;
	drop_ones(&q->scale, q->c.c_out);
	struct conv one = q->c;
	const struct tensor *tb = step_in(s, 2);
	bool from_file = s->in[1]->from_file && (!tb || tb->from_file) && (!q->shift || q->affine_from_file), fresh;
	one.transposed = false;
	one.c_out = q->c.c_out * q->c.kh * q->c.kw;
	one.kh = one.kw = one.stride_h = one.stride_w = 1;
	one.h_out = one.h_in;
	one.w_out = one.w_in;
	uint64_t bytes = (conv_pack_bytes(&one) + 63) & ~(uint64_t)63, room = CBLOCK * 4;
	uint64_t key[PACK_KEY_WORDS] = { 4, s->node->off, q->fused_key, (uint64_t)one.c_in, (uint64_t)one.c_out,
		                         (uint64_t)q->c.kh, (uint64_t)q->c.kw, q->scale != NULL };
	uint8_t *mem = pack_memory(p, from_file, key, bytes + room, &fresh);
	size_t mark = plan_mark(p);
	int rc = ERR_OK;
	if (!mem)
		return ERR_LIMIT;
	q->packed = (const float *)(const void *)mem;
	q->bias = (const float *)(const void *)(mem + bytes);
	if (fresh)
		rc = fill_spread(p, s, &one, (float *)(void *)mem, (float *)(void *)(mem + bytes));
	plan_release(p, mark);
	s->n_in = 1;
	s->shared = 0;
	return rc;
}

/* --- products ------------------------------------------------------------------------------------------------ */

/* Reads floats [from, from + n) of a constant that is not a splat; a piece in the file may lie anywhere. */
static void peek_piece(const struct plan *p, const struct tensor *t, const float *whole, uint64_t from, uint64_t n,
                       float *dst)
{
	if (whole)
		memcpy(dst, whole + from, n * 4);
	else
		memcpy(dst, p->m->file + t->init->raw_off + from * 4, n * 4);
}

struct panel_job {
	const struct plan *p;
	const struct tensor *b;
	const float *whole;      /* NULL: raw bytes of the file */
	const struct gemm_p *g;
	float *dst, *row;        /* row: one panel, read and scaled */
};

/* Panel i of PACK_N columns: small enough for the cache, so that no second copy of all weights exists. */
static void pack_panel(const struct panel_job *j, int64_t i)
{
	const struct gemm_p *g = j->g;
	int64_t n0 = i * PACK_N, n = g->n - n0 < PACK_N ? g->n - n0 : PACK_N, k = g->k;
	float alpha = g->is_gemm ? g->alpha : 1;
	if (g->trans_b)
		peek_piece(j->p, j->b, j->whole, (uint64_t)(n0 * k), (uint64_t)(n * k), j->row);
	for (int64_t r = 0; !g->trans_b && r < k; r++)
		peek_piece(j->p, j->b, j->whole, (uint64_t)(r * g->n + n0), (uint64_t)n, j->row + r * n);
	if (g->scale || alpha != 1)
		for (int64_t e = 0; e < n * k; e++) {
			int64_t c = g->trans_b ? e / k : e % n;
			j->row[e] = j->row[e] * alpha * (g->scale ? g->scale[n0 + c] : 1);
		}
	gemm_pack(j->dst + i * k * PACK_N, j->row, g->trans_b ? k : n, g->trans_b, k, n);
}

static int fill_matmul(struct plan *p, const struct step *s, const struct gemm_p *g, float *dst, float *bias)
{
	const struct tensor *tb = s->in[1];
	const struct tensor *tc = g->is_gemm && !(g->has_residual && s->n_in == 3) ? step_in(s, 2) : NULL;
	const float *c = tc ? peek(p, tc) : NULL;
	struct panel_job j = { .p = p, .b = tb, .g = g, .dst = dst };
	if (tc && !c)
		return ERR_LIMIT;
	for (int64_t n = 0; bias && n < g->n; n++)
		bias[n] = (c ? c[tc->n == 1 ? 0 : n] * g->beta : 0) * (g->scale ? g->scale[n] : 1) +
		          (g->shift ? g->shift[n] : 0);
	if (tb->splat && !g->scale && !(g->is_gemm && g->alpha != 1) && !g->trans_b) {
		/* One number: one row of it, read for every k. */
		if (!(j.row = plan_alloc(p, (uint64_t)g->n, 4)))
			return ERR_LIMIT;
		for (int64_t n = 0; n < g->n; n++)
			j.row[n] = *(const float *)tb->data;
		gemm_pack(dst, j.row, 0, false, g->k, g->n);
		return ERR_OK;
	}
	if (tb->data || !tb->init || tb->init->field != 9)
		if (!(j.whole = peek(p, tb)))
			return ERR_LIMIT;
	if (!(j.row = plan_alloc(p, (uint64_t)g->k, PACK_N * 4)))
		return ERR_LIMIT;
	for (int64_t i = 0; i * PACK_N < g->n; i++)
		pack_panel(&j, i);
	return ERR_OK;
}

static bool matmul_packs(const struct step *s)
{
	const struct gemm_p *g = s->p;
	const struct tensor *b = s->in[1], *c = g->is_gemm && !(g->has_residual && s->n_in == 3) ? step_in(s, 2) : NULL;
	if (b->kind != K_CONST || !g->flat || g->k == 0 || g->n == 0 || g->trans_a || s->out[0]->n == 0)
		return false;
	return !c || (c->kind == K_CONST && !(c->rank == 2 && c->dims[0] != 1) && (c->n == 1 || c->n == (uint64_t)g->n));
}

int pack_matmul(struct plan *p, struct step *s)
{
	struct gemm_p *g = s->p;
	const struct tensor *tc;
	uint64_t bytes, room;
	uint32_t alpha;
	uint8_t *mem;
	bool fresh, bias, from_file;
	size_t mark;
	int rc = ERR_OK;
	if (!matmul_packs(s))
		return ERR_OK;
	drop_ones(&g->scale, g->n);
	tc = g->is_gemm && !(g->has_residual && s->n_in == 3) ? step_in(s, 2) : NULL;
	if (blas_step_wants(p, s)) {
		/* The right side stays as it is, kept once; a folded scale was refused. */
		if (!plan_data(p, s->in[1]) || (tc && !plan_data(p, s->in[2])))
			return ERR_LIMIT;
		if ((rc = blas_step_make(p, s, tc)))
			return rc;
		if (tc)
			s->in[2] = NULL;
		return ERR_OK;
	}
	bias = tc || g->shift;
	from_file = s->in[1]->from_file && (!tc || tc->from_file) && (!g->shift || g->affine_from_file);
	memcpy(&alpha, &g->alpha, 4);
	bytes = (gemm_pack_bytes(g->k, g->n) + 63) & ~(uint64_t)63;
	room = (uint64_t)g->n * 4;
	uint64_t key[PACK_KEY_WORDS] = { 2, s->node->off, g->fused_key, (uint64_t)g->k, (uint64_t)g->n, g->trans_b, alpha,
		                         g->scale != NULL, bias };
	mem = pack_memory(p, from_file, key, bytes + room, &fresh);
	if (!mem)
		return ERR_LIMIT;
	mark = plan_mark(p);
	g->packed = (const float *)(const void *)mem;
	g->bias = bias ? (const float *)(const void *)(mem + bytes) : NULL;
	if (fresh)
		rc = fill_matmul(p, s, g, (float *)(void *)mem, bias ? (float *)(void *)(mem + bytes) : NULL);
	plan_release(p, mark);
	if (g->has_residual)
		s->in[1] = s->in[s->n_in - 1];
	else
		s->in[1] = NULL;
	s->n_in = 2;
	s->scratch = s->shared = 0;
	return rc;
}

/* --- LSTM ------------------------------------------------------------------------------------------------------ */

int pack_lstm(struct plan *p, struct step *s)
{
	struct lstm_p *q = s->p;
	struct tensor *w = s->in[1], *r = s->in[2], *b = step_in(s, 3);
	int64_t h = q->hidden;
	bool fresh, from_file = w->from_file && r->from_file && (!b || b->from_file);
	if (w->kind != K_CONST || r->kind != K_CONST || (b && b->kind != K_CONST))
		return ERR_OK;
	for (int64_t d = 0; d < q->dirs; d++) {
		uint64_t key[PACK_KEY_WORDS] = { 3, s->node->off, (uint64_t)d, (uint64_t)q->input, (uint64_t)h };
		float *mem = pack_memory(p, from_file, key, lstm_pack_bytes(q->input, h), &fresh);
		size_t mark = plan_mark(p);
		const float *fw = peek(p, w), *fr = peek(p, r), *fb = b ? peek(p, b) : NULL;
		if (!mem || !fw || !fr || (b && !fb))
			return ERR_LIMIT;
		if (fresh)
			lstm_pack(mem, fw + d * 4 * h * q->input, fr + d * 4 * h * h, fb ? fb + d * 8 * h : NULL, q->input, h);
		plan_release(p, mark);
		q->packed[d] = mem;
	}
	s->in[1] = s->in[2] = NULL;
	if (s->n_in > 3)
		s->in[3] = NULL;
	return ERR_OK;
}
