/* SPDX-License-Identifier: Apache-2.0
 *
 * Pooling and LRN in channel blocks: a vector is 16 channels of one cell, so nothing is summed across
 * lanes. Windows are taken in the order of rows, then columns.
 *
 * Side: inside. Trusts: its arguments. Owns: nothing. Included once per level, after body_conv.h.
 */

struct pooling_job {
	const struct pooling *q;
	int64_t row_parts, x_image, y_image;
};

/* Cells of the window that count for an average that includes the padding. */
static INLINE int64_t padded_count(int64_t from, int64_t k, int64_t dil, int64_t size, int64_t pad_end)
{
	int64_t room = size + pad_end - from; /* from is never below -pad_begin */
	return min_i(k, room <= 0 ? 0 : div_up(room, dil));
}

static INLINE v16 pooling_cell(bool max, const struct pooling *q, const float *x, int64_t ih, int64_t iw)
{
	v16 acc = v_set1(max ? -F_INF : 0.0f);
	int64_t count = 0;
	for (int64_t h = 0; h < q->kh; h++) {
		int64_t r = ih + h * q->dil_h;
		if ((uint64_t)r >= (uint64_t)q->h_in)
			continue;
		for (int64_t k = 0; k < q->kw; k++) {
			int64_t s = iw + k * q->dil_w;
			if ((uint64_t)s >= (uint64_t)q->w_in)
				continue;
			v16 v = v_load(x + (r * q->w_in + s) * 16);
			acc = max ? v_max(v, acc) : v_add(acc, v);
			count++;
		}
	}
	if (max)
		return acc;
	if (q->kind == POOL_AVG_INCLUDE_PAD)
		count = padded_count(ih, q->kh, q->dil_h, q->h_in, q->pad_bottom) *
		        padded_count(iw, q->kw, q->dil_w, q->w_in, q->pad_right);
	return v_div(acc, v_set1((float)count));
}

/* Cells of one row side by side, all taps inside the image's width; window rows h0..h1-1 are inside its
 * height. x: the first cell's window at row 0 of the image. */
#define POOLING_P 4

static INLINE void pooling_run(bool max, int64_t kw, int64_t stride, const struct pooling *q, const float *x,
                               int64_t h0, int64_t h1, v16 count, float *y, int lanes)
{
	v16 acc[POOLING_P];
	UNROLL
	for (int p = 0; p < POOLING_P; p++)
		acc[p] = v_set1(max ? -F_INF : 0.0f);
	for (int64_t h = h0; h < h1; h++) {
		const float *row = x + h * q->dil_h * q->w_in * 16;
		for (int64_t k = 0; k < kw; k++) {
			UNROLL
			for (int p = 0; p < POOLING_P; p++) {
				v16 v = v_load(row + (k * q->dil_w + p * stride) * 16);
				acc[p] = max ? v_max(v, acc[p]) : v_add(acc[p], v);
			}
		}
	}
	UNROLL
	for (int p = 0; p < POOLING_P; p++) {
		v16 v = max ? acc[p] : v_div(acc[p], count);
		v_store(y + p * 16, lanes == 16 ? v : v_keep(v, lanes));
	}
}

/* The output cells lo..hi-1 of a row, all of them inside; the last run overlaps: the same bits again. */
static INLINE void pooling_inside(bool max, int64_t kw, int64_t stride, const struct pooling *q, const float *x,
                                  int64_t ih, int64_t lo, int64_t hi, float *y, int lanes)
{
	int64_t h0 = ih < 0 ? div_up(-ih, q->dil_h) : 0, h1 = ih < q->h_in ? div_up(q->h_in - ih, q->dil_h) : 0;
	h1 = min_i(h1, q->kh);
	int64_t rows = q->kind == POOL_AVG_INCLUDE_PAD ? padded_count(ih, q->kh, q->dil_h, q->h_in, q->pad_bottom)
	                                               : (h1 > h0 ? h1 - h0 : 0);
	v16 count = v_set1((float)(rows * kw));
	for (int64_t i = lo; i < hi; i += POOLING_P) {
		i = min_i(i, hi - POOLING_P);
		int64_t at = (ih * q->w_in + i * stride - q->pad_left) * 16;
		pooling_run(max, kw, stride, q, x + at, h0, h1, count, y + i * 16, lanes);
	}
}

static INLINE void pooling_row(bool max, const struct pooling *q, const float *x, int64_t ih, float *y, int lanes)
{
	int64_t lo = min_i(div_up(q->pad_left, q->stride_w), q->w_out);
	int64_t room = q->w_in - 1 - (q->kw - 1) * q->dil_w + q->pad_left;
	int64_t hi = room < 0 ? lo : min_i(room / q->stride_w + 1, q->w_out);
	if (hi - lo < POOLING_P)
		hi = lo;
	else if (q->kw == 3 && q->stride_w == 2)
		pooling_inside(max, 3, 2, q, x, ih, lo, hi, y, lanes);
	else if (q->kw == 2 && q->stride_w == 2)
		pooling_inside(max, 2, 2, q, x, ih, lo, hi, y, lanes);
	else
		pooling_inside(max, q->kw, q->stride_w, q, x, ih, lo, hi, y, lanes);
	for (int64_t i = 0; i < q->w_out; i++) {
		if (i == lo)
			i = hi;
		if (i == q->w_out)
			break;
		v16 v = pooling_cell(max, q, x, ih, i * q->stride_w - q->pad_left);
		v_store(y + i * 16, lanes == 16 ? v : v_keep(v, lanes));
	}
}

static void pooling_task(void *arg, uint32_t task, unsigned thread)
{
	(void)thread;
	const struct pooling_job *j = arg;
	const struct pooling *q = j->q;
	int64_t blocks = div_up(q->c, 16), part = task % j->row_parts;
	int64_t b = task / j->row_parts % blocks, n = task / j->row_parts / blocks;
	const float *x = q->x + n * j->x_image + b * q->h_in * q->w_in * 16;
	int lanes = (int)min_i(16, q->c - b * 16);
	int64_t end = even_cut(q->h_out, j->row_parts, part + 1);
	for (int64_t o = even_cut(q->h_out, j->row_parts, part); o < end; o++) {
		float *y = q->y + n * j->y_image + (b * q->h_out + o) * q->w_out * 16;
		int64_t ih = o * q->stride_h - q->pad_top;
		if (q->kind == POOL_MAX)
			pooling_row(true, q, x, ih, y, lanes);
		else
			pooling_row(false, q, x, ih, y, lanes);
	}
}

static void k_pooling(struct pool *p, const struct pooling *q)
{
	if (q->n == 0 || q->c == 0 || q->h_out == 0 || q->w_out == 0)
		return;
	struct pooling_job j = { .q = q, .x_image = image_floats(q->x_image, q->c, q->h_in, q->w_in),
		                     .y_image = image_floats(q->y_image, q->c, q->h_out, q->w_out) };
	int64_t blocks = div_up(q->c, 16);
	int64_t wish = tasks_wanted(128.0 * (double)(blocks * q->n * q->h_out * q->w_out * q->kh * q->kw));
	j.row_parts = min_i(q->h_out, div_up(wish, blocks * q->n));
	pool_run(wish == 1 ? NULL : p, pooling_task, &j, (uint32_t)(q->n * blocks * j.row_parts));
}

/* --- over the whole image ------------------------------------------------------------------------------ */

struct global_job {
	bool max;
	float *y;
	const float *x;
	int64_t hw, blocks, parts;
};

/* Cell i goes to partial sum i mod 4, then (0 + 1) + (2 + 3). */
static INLINE v16 global_block(bool max, const float *x, int64_t hw)
{
	v16 a[4];
	int64_t i = 0;
	UNROLL
	for (int k = 0; k < 4; k++)
		a[k] = v_set1(max ? -F_INF : 0.0f);
	for (; i + 4 <= hw; i += 4) {
		UNROLL
		for (int k = 0; k < 4; k++)
			a[k] = max ? v_max(v_load(x + (i + k) * 16), a[k]) : v_add(a[k], v_load(x + (i + k) * 16));
	}
	UNROLL
	for (int k = 0; k < 3; k++)
		if (i + k < hw)
			a[k] = max ? v_max(v_load(x + (i + k) * 16), a[k]) : v_add(a[k], v_load(x + (i + k) * 16));
	if (max)
		return v_max(v_max(a[0], a[1]), v_max(a[2], a[3]));
	return v_div(v_add(v_add(a[0], a[1]), v_add(a[2], a[3])), v_set1((float)hw));
}

static void global_task(void *arg, uint32_t task, unsigned thread)
{
	(void)thread;
	const struct global_job *j = arg;
	int64_t end = even_cut(j->blocks, j->parts, task + 1);
	for (int64_t b = even_cut(j->blocks, j->parts, task); b < end; b++) {
		const float *x = j->x + b * j->hw * 16;
		v_store(j->y + b * 16, j->max ? global_block(true, x, j->hw) : global_block(false, x, j->hw));
	}
}

static void k_global_pool(struct pool *p, bool max, float *y, const float *x, int64_t blocks, int64_t hw)
{
	struct global_job j = { max, y, x, hw, blocks, 0 };
	j.parts = min_i(blocks, tasks_wanted(128.0 * (double)(blocks * hw)));
	pool_run(p, global_task, &j, (uint32_t)j.parts);
}

/* --- LRN ---------------------------------------------------------------------------------------------- */

struct lrn_job {
	const struct lrn *l;
	int64_t parts;
};

/* Lanes of channels ch..ch+15 at one cell; channels outside 0..c-1 are zero. x: the cell in block 0. */
static INLINE v16 lrn_channels(const struct lrn *l, const float *x, int64_t ch)
{
	int64_t block = ch >= 0 ? ch / 16 : -((15 - ch) / 16);
	int lane = (int)(ch - block * 16);
	v16 v = v_set1(0.0f);
	for (int part = 0; part < 2; part++, block++) {
		if (block < 0 || block * 16 >= l->c)
			continue;
		int64_t valid = min_i(16, l->c - block * 16);
		const float *cell = x + block * l->hw * 16;
		if (part == 0 && valid > lane)
			v = v_or(v, v_load_part(cell + lane, 0, (int)valid - lane));
		if (part == 1 && lane)
			v = v_or(v, v_load_part(cell - (16 - lane), 16 - lane, (int)min_i(16, 16 - lane + valid)));
	}
	return v;
}

static void lrn_cell(const struct lrn *l, const float *x, float *y, int64_t b)
{
	int64_t before = (l->size - 1) / 2;
	v16 sum = v_set1(0.0f);
	for (int64_t d = 0; d < l->size; d++) {
		v16 v = lrn_channels(l, x, b * 16 + d - before);
		sum = v_fma(v, v, sum);
	}
	v16 t = v_fma(sum, v_set1(l->alpha / (float)l->size), v_set1(l->k));
	v16 root = v_sqrt(t);
	v16 power = l->beta == 0.75f ? v_mul(root, v_sqrt(root)) : m_exp(v_mul(m_log(t), v_set1(l->beta)));
	v16 out = v_div(v_load(x + b * l->hw * 16), power);
	v_store(y + b * l->hw * 16, v_keep(out, (int)min_i(16, l->c - b * 16)));
}

static void lrn_task(void *arg, uint32_t task, unsigned thread)
{
	(void)thread;
	const struct lrn_job *j = arg;
	const struct lrn *l = j->l;
	int64_t blocks = div_up(l->c, 16), end = even_cut(l->n * l->hw, j->parts, task + 1);
	for (int64_t i = even_cut(l->n * l->hw, j->parts, task); i < end; i++) {
		int64_t at = i / l->hw * blocks * l->hw * 16 + i % l->hw * 16;
		for (int64_t b = 0; b < blocks; b++)
			lrn_cell(l, l->x + at, l->y + at, b);
	}
}

static void k_lrn(struct pool *p, const struct lrn *l)
{
	if (l->n * l->hw == 0)
		return;
	struct lrn_job j = { l, 0 };
	j.parts = min_i(l->n * l->hw, tasks_wanted(64.0 * (double)(l->n * l->hw * l->c * l->size)));
	pool_run(p, lrn_task, &j, (uint32_t)j.parts);
}
