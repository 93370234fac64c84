/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fused and blocked steps do while running.
 *
 * Side: inside. Trusts: the plan. Owns: nothing.
 */
#include "sandbox/inside/engine/onnx/fuse.h"

#include <string.h>

int conv_fused_run(struct run *r, const struct step *s)
{
	const struct conv_p *q = s->p;
	struct conv c = q->c;
	c.x = s->in[0]->data;
	c.y = s->out[0]->data;
	c.packed_w = q->packed;
	c.bias = q->bias;
	c.residual = q->has_residual ? s->in[1]->data : NULL;
	c.act = q->act;
	r->k->conv_f32(r->pool, &c, r->scratch, r->scratch_each);
	return ERR_OK;
}

/* A ConvTranspose whose windows do not overlap, after its product: channel (kh, kw, c) of a cell goes to
 * cell (kh, kw) of c's plane. */
struct spread_job {
	const struct conv *c; /* of the ConvTranspose */
	float *y;
	const float *x;
};

static void spread_task(void *arg, uint32_t task, unsigned thread)
{
	const struct spread_job *j = arg;
	const struct conv *c = j->c;
	int64_t row = task % c->h_in, image = task / c->h_in, nb = (int64_t)blocks_of(c->c_out * c->kh * c->kw);
	const float *x = j->x + (image * nb * c->h_in + row) * c->w_in * CBLOCK;
	(void)thread;
	for (int64_t kh = 0; kh < c->kh; kh++)
		for (int64_t o = 0; o < c->c_out; o++) {
			float *y = j->y + ((image * c->c_out + o) * c->h_out + row * c->kh + kh) * c->w_out;
			for (int64_t kw = 0; kw < c->kw; kw++) {
				const float *v = x + (kh * c->kw + kw) * c->c_out + o;
				for (int64_t i = 0; i < c->w_in; i++)
					y[i * c->kw + kw] = v[i * CBLOCK];
			}
		}
}

int spread_run(struct run *r, const struct step *s)
{
	struct spread_job j = { s->p, s->out[0]->data, s->in[0]->data };
	run_tasks(r, spread_task, &j, (uint32_t)(j.c->n * j.c->h_in));
	return ERR_OK;
}

/* --- conversions -------------------------------------------------------------------------------------------- */

struct convert_job {
	const struct kernels *k;
	const struct convert_p *q;
	float *dst;
	const float *src;
	int64_t pieces, piece; /* of the spatial axis */
};

static void rows_task(void *arg, uint32_t task, unsigned thread)
{
	const struct convert_job *j = arg;
	const struct convert_p *q = j->q;
	int64_t nb = (int64_t)blocks_of(q->c), image = task / nb, b = task % nb;
	int64_t c = q->c - b * CBLOCK < CBLOCK ? q->c - b * CBLOCK : CBLOCK;
	int64_t rows = image * q->hw * q->c + b * CBLOCK, blocked = (image * nb + b) * q->hw * CBLOCK;
	(void)thread;
	if (q->to_blocks)
		j->k->rows_to_blocks(j->dst + blocked, j->src + rows, q->c, c, q->hw);
	else
		j->k->blocks_to_rows(j->dst + rows, q->c, j->src + blocked, c, q->hw);
}

int convert_run(struct run *r, const struct step *s)
{
	const struct convert_p *q = s->p;
	struct convert_job j = { .k = r->k, .q = q, .dst = s->out[0]->data, .src = s->in[0]->data };
	struct run alone = *r;
	if (q->n * q->c * q->hw < 16384)
		alone.pool = NULL;
	if (q->rows)
		run_tasks(&alone, rows_task, &j, (uint32_t)(q->n * (int64_t)blocks_of(q->c)));
	else if (q->to_blocks)
		blocks_from_plain(&alone, j.dst, j.src, q->n, q->c, q->hw);
	else
		blocks_to_plain(&alone, j.dst, j.src, q->n, q->c, q->hw);
	return ERR_OK;
}

/* --- affine --------------------------------------------------------------------------------------------------- */

struct affine_job {
	const struct run *r;
	const struct affine_p *a;
	float *y;
	const float *x;
	int64_t n, inner, blocks;
};

/* One block of channels of one image. */
static void affine_block_task(void *arg, uint32_t task, unsigned thread)
{
	const struct affine_job *j = arg;
	int64_t off = (int64_t)task * j->inner * CBLOCK, b = task % j->blocks;
	(void)thread;
	j->r->k->block_affine_f32(j->a->act, j->y + off, j->x + off, j->a->scale + b * CBLOCK,
	                          j->a->shift + b * CBLOCK, 1, j->inner);
}

static void affine_piece(const struct affine_job *j, float *y, const float *x, size_t n, float scale, float shift)
{
	struct activation post = { .kind = ACT_NONE, .post = true, .post_mul = scale, .post_add = shift };
	j->r->k->activate_f32(post, y, x, n);
	if (j->a->act.kind != ACT_NONE || j->a->act.post)
		j->r->k->activate_f32(j->a->act, y, y, n);
}

/* Single numbers: flat pieces. */
static void affine_flat_task(void *arg, uint32_t task, unsigned thread)
{
	const struct affine_job *j = arg;
	int64_t from = (int64_t)task * ELEM_PIECE, n = j->n - from < ELEM_PIECE ? j->n - from : ELEM_PIECE;
	(void)thread;
	affine_piece(j, j->y + from, j->x + from, (size_t)n, j->a->scale[0], j->a->shift[0]);
}

/* A vector along an axis with more axes behind it: one plane after the other. */
static void affine_plane_task(void *arg, uint32_t task, unsigned thread)
{
	const struct affine_job *j = arg;
	int64_t off = (int64_t)task * j->inner, c = task % j->a->n;
	(void)thread;
	affine_piece(j, j->y + off, j->x + off, (size_t)j->inner, j->a->scale[c], j->a->shift[c]);
}

/* A vector along the last axis: row by row. */
static void affine_rows(const struct run *r, const struct affine_p *a, float *y, const float *x, int64_t rows)
{
	for (int64_t i = 0; i < rows; i++, y += a->n, x += a->n) {
		r->k->binary_f32(BIN_MUL, y, x, a->scale, (size_t)a->n);
		r->k->binary_f32(BIN_ADD, y, y, a->shift, (size_t)a->n);
		if (a->act.kind != ACT_NONE || a->act.post)
			r->k->activate_f32(a->act, y, y, (size_t)a->n);
	}
}

int affine_run(struct run *r, const struct step *s)
{
	const struct affine_p *a = s->p;
	const struct tensor *x = s->in[0];
	struct affine_job j = { .r = r, .a = a, .y = s->out[0]->data, .x = x->data, .inner = 1 };
	struct run alone = *r;
	if (x->n == 0)
		return ERR_OK;
	if (x->n < 16384)
		alone.pool = NULL;
	for (int i = (a->axis < 0 ? 1 : a->axis) + 1; i < x->rank; i++)
		j.inner *= x->dims[i];
	j.n = (int64_t)elem_count(x);
	if (a->axis < 0) {
		run_tasks(&alone, affine_flat_task, &j, (uint32_t)((j.n + ELEM_PIECE - 1) / ELEM_PIECE));
	} else if (x->layout == L_BLOCKED) {
		j.blocks = (int64_t)blocks_of(a->n);
		run_tasks(&alone, affine_block_task, &j, (uint32_t)(x->dims[0] * j.blocks));
	} else if (a->axis == x->rank - 1) {
		affine_rows(r, a, j.y, j.x, (int64_t)x->n / a->n);
	} else {
		run_tasks(&alone, affine_plane_task, &j, (uint32_t)((int64_t)x->n / j.inner));
	}
	return ERR_OK;
}

/* --- two operands in blocks ------------------------------------------------------------------------------------ */

struct binary_job {
	const struct kernels *k;
	enum binary op;
	float *y;
	const float *a, *b;
	int64_t n, hw;
};

static void same_task(void *arg, uint32_t task, unsigned thread)
{
	const struct binary_job *j = arg;
	int64_t from = (int64_t)task * ELEM_PIECE, n = j->n - from < ELEM_PIECE ? j->n - from : ELEM_PIECE;
	(void)thread;
	j->k->binary_f32(j->op, j->y + from, j->a + from, j->b + from, (size_t)n);
}

static void channel_task(void *arg, uint32_t task, unsigned thread)
{
	const struct binary_job *j = arg;
	int64_t off = (int64_t)task * j->hw * CBLOCK;
	(void)thread;
	j->k->block_binary_f32(j->op, j->y + off, j->a + off, j->b + (int64_t)task * CBLOCK, 1, j->hw);
}

int binary_blocks_run(struct run *r, const struct step *s)
{
	const struct tensor *a = s->in[0], *b = s->in[1];
	struct binary_job j = { .k = r->k, .op = (enum binary)((const struct binary_p *)s->p)->kernel,
		                .y = s->out[0]->data, .a = a->data, .b = b->data };
	j.n = (int64_t)elem_count(a);
	if (same_dims(a, b)) {
		run_tasks(r, same_task, &j, (uint32_t)((j.n + ELEM_PIECE - 1) / ELEM_PIECE));
		return ERR_OK;
	}
	dims_spatial(a, &j.hw);
	run_tasks(r, channel_task, &j, (uint32_t)(a->dims[0] * (int64_t)blocks_of(a->dims[1])));
	return ERR_OK;
}

/* --- concatenation of channels -------------------------------------------------------------------------------- */

/* len lanes of each of hw cells; the common lengths as fixed copies. */
static void copy_lanes(float *d, const float *v, int64_t hw, int64_t len)
{
	if (len == 8)
		for (int64_t i = 0; i < hw; i++)
			memcpy(d + i * CBLOCK, v + i * CBLOCK, 32);
	else if (len == 16)
		memcpy(d, v, (size_t)hw * CBLOCK * 4);
	else if (len == 4)
		for (int64_t i = 0; i < hw; i++)
			memcpy(d + i * CBLOCK, v + i * CBLOCK, 16);
	else
		for (int64_t i = 0; i < hw; i++)
			memcpy(d + i * CBLOCK, v + i * CBLOCK, (size_t)len * 4);
}

/* Lanes [c, c + n) of a cell run get a part's blocks, shifted. */
static void shifted_part(float *y, const float *x, int64_t c, int64_t n, int64_t hw)
{
	for (int64_t done = 0; done < n;) {
		int64_t to = (c + done) % CBLOCK, from = done % CBLOCK;
		int64_t len = CBLOCK - (to > from ? to : from);
		len = len < n - done ? len : n - done;
		float *d = y + (c + done) / CBLOCK * hw * CBLOCK + to;
		const float *v = x + done / CBLOCK * hw * CBLOCK + from;
		copy_lanes(d, v, hw, len);
		done += len;
	}
}

static void concat_task(void *arg, uint32_t task, unsigned thread)
{
	const struct step *s = arg;
	const struct tensor *y = s->out[0];
	uint32_t k = task % s->n_in;
	int64_t image = task / s->n_in, hw, c = 0;
	const struct tensor *x = s->in[k];
	(void)thread;
	dims_spatial(y, &hw);
	for (uint32_t i = 0; i < k; i++)
		c += s->in[i]->dims[1];
	float *dst = (float *)y->data + image * (int64_t)blocks_of(y->dims[1]) * hw * CBLOCK;
	const float *src = (const float *)x->data + image * (int64_t)blocks_of(x->dims[1]) * hw * CBLOCK;
	if (c % CBLOCK == 0 && dst + c * hw == src)
		return; /* it was made in its place */
	if (c % CBLOCK == 0 && (x->dims[1] % CBLOCK == 0 || k + 1 == s->n_in))
		memcpy(dst + c * hw, src, blocks_of(x->dims[1]) * (size_t)hw * CBLOCK * 4);
	else
		shifted_part(dst, src, c, x->dims[1], hw);
}

int concat_blocks_run(struct run *r, const struct step *s)
{
	struct step *job = (struct step *)(uintptr_t)s; /* only read */
	bool placed = s->out[0]->dims[0] == 1;
	for (uint32_t i = 0; i < s->n_in; i++)
		placed = placed && s->in[i]->root != NULL;
	struct run alone = *r;
	if (placed)
		alone.pool = NULL;
	run_tasks(&alone, concat_task, job, (uint32_t)(s->out[0]->dims[0] * s->n_in));
	return ERR_OK;
}
