/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolution in channel blocks as an implicit matrix product: rows are output positions (flattened,
 * so a tile may run over the end of an image row), columns are output channels, and k runs over
 * channel blocks, taps and channels. A transposed convolution is cut by phase (output position modulo
 * stride): each phase is an ordinary convolution with some of the taps.
 *
 * Side: inside. Trusts: its arguments. Owns: nothing. Included once per level, after body_gemm.h.
 */
#include "sandbox/inside/engine/kernels/conv_shape.h"

#define CONV_POSITIONS 192        /* positions of a task, at least: x of a task stays in L2 */
#define CONV_PASS_FLOATS 65536    /* weights of a group of blocks per pass: 256 KiB, half of a small L2 */
#define CONV_SMALL_WEIGHTS 131072 /* floats: below this weights stay in L2 while positions pass by */

struct conv_job {
	const struct conv *c;
	char *scratch;
	size_t scratch_per_thread;
	int64_t phases_h, phases_w;          /* 1 x 1 unless transposed */
	int64_t grid_h, grid_w;              /* of the largest phase */
	int64_t groups_of_blocks;            /* per group: column groups of a tile */
	int64_t chunks;                      /* runs of positions */
	bool chunk_outer;                    /* runs of positions outside, column groups inside */
	int64_t x_image, y_image;
};

/* One phase: grid cell (i, j) reads from row i * in_h + at_h + tap.dh and writes row i * out_h + from_h. */
struct phase {
	int64_t grid_h, grid_w;
	int64_t in_h, in_w, at_h, at_w;
	int64_t out_h, out_w, from_h, from_w;
	struct tap *taps;
	int64_t n_taps;
	int64_t dh_min, dh_max, dw_min, dw_max;
};

static void phase_tap(const struct conv *c, struct phase *f, int64_t dh, int64_t dw, int64_t number)
{
	bool first = f->n_taps == 0;
	f->taps[f->n_taps++] = (struct tap){ dh, dw, (dh * c->w_in + dw) * 16, number };
	f->dh_min = first || dh < f->dh_min ? dh : f->dh_min;
	f->dh_max = first || dh > f->dh_max ? dh : f->dh_max;
	f->dw_min = first || dw < f->dw_min ? dw : f->dw_min;
	f->dw_max = first || dw > f->dw_max ? dw : f->dw_max;
}

static void phase_plain(const struct conv *c, struct phase *f)
{
	f->grid_h = c->h_out;
	f->grid_w = c->w_out;
	f->in_h = c->stride_h;
	f->in_w = c->stride_w;
	f->at_h = -c->pad_top;
	f->at_w = -c->pad_left;
	f->out_h = f->out_w = 1;
	for (int64_t h = 0; h < c->kh; h++)
		for (int64_t w = 0; w < c->kw; w++)
			phase_tap(c, f, h * c->dil_h, w * c->dil_w, h * c->kw + w);
}

/* Output row from_h + stride * i takes tap h where (from_h + pad - h * dilation) is a multiple of the
 * stride: then from input row i + that quotient. */
static void phase_transposed(const struct conv *c, struct phase *f, int64_t rh, int64_t rw)
{
	f->grid_h = c->h_out > rh ? div_up(c->h_out - rh, c->stride_h) : 0;
	f->grid_w = c->w_out > rw ? div_up(c->w_out - rw, c->stride_w) : 0;
	f->in_h = f->in_w = 1;
	f->out_h = c->stride_h;
	f->out_w = c->stride_w;
	f->from_h = rh;
	f->from_w = rw;
	for (int64_t h = 0; h < c->kh; h++)
		for (int64_t w = 0; w < c->kw; w++) {
			int64_t dh = rh + c->pad_top - h * c->dil_h, dw = rw + c->pad_left - w * c->dil_w;
			if (dh % c->stride_h == 0 && dw % c->stride_w == 0)
				phase_tap(c, f, dh / c->stride_h, dw / c->stride_w, h * c->kw + w);
		}
}

/* Offsets of the steps of k in an NCHW image, in the chain's order: kh, kw, channel. */
static void nchw_offsets(const struct conv *c, int64_t *offsets)
{
	for (int64_t h = 0; h < c->kh; h++)
		for (int64_t w = 0; w < c->kw; w++)
			for (int64_t ch = 0; ch < c->c_in; ch++)
				*offsets++ = (ch * c->h_in + h * c->dil_h) * c->w_in + w * c->dil_w;
}

/* The operand row of one border position: taps outside the image are zero. */
static void nchw_patch(const struct conv *c, const float *x, int64_t ih, int64_t iw, float *row)
{
	for (int64_t h = 0; h < c->kh; h++)
		for (int64_t w = 0; w < c->kw; w++) {
			int64_t r = ih + h * c->dil_h, s = iw + w * c->dil_w;
			bool in = (uint64_t)r < (uint64_t)c->h_in && (uint64_t)s < (uint64_t)c->w_in;
			for (int64_t ch = 0; ch < c->c_in; ch++)
				*row++ = in ? x[(ch * c->h_in + r) * c->w_in + s] : 0.0f;
		}
}

/* Where the next tile's positions are: grid cell (i, j) of a phase and on. */
struct place {
	int64_t i, j;
	const struct conv *c;
	const struct phase *f;
	const float *x;
	float *y;
	const float *residual;
	float *patches;        /* NCHW border rows */
	int64_t depth;         /* NCHW: steps of k */
};

/* Positions in one row of the grid: addresses go up by a constant. */
static INLINE bool place_row(const struct place *a, struct tile *t, int64_t i, int64_t j, int64_t n)
{
	const struct conv *c = a->c;
	const struct phase *f = a->f;
	int64_t cell = c->x_nchw ? 1 : 16;
	int64_t ih = i * f->in_h + f->at_h, iw = j * f->in_w + f->at_w;
	const float *x = a->x + (ih * c->w_in + iw) * cell;
	int64_t out = ((i * f->out_h + f->from_h) * c->w_out + j * f->out_w + f->from_w) * 16;
	for (int64_t p = 0; p < n; p++) {
		t->xp[p] = x + p * f->in_w * cell;
		t->yp[p] = a->y + out + p * f->out_w * 16;
	}
	if (a->residual)
		for (int64_t p = 0; p < n; p++)
			t->rp[p] = a->residual + out + p * f->out_w * 16;
	bool inside = ih + f->dh_min >= 0 && ih + f->dh_max < c->h_in && iw + f->dw_min >= 0 &&
	              iw + (n - 1) * f->in_w + f->dw_max < c->w_in;
	for (int64_t p = 0; !inside && p < n; p++) {
		t->ih[p] = ih;
		t->iw[p] = iw + p * f->in_w;
	}
	return inside;
}

/* Positions that run over the end of a row. */
static bool place_rows(const struct place *a, struct tile *t, int64_t i, int64_t j, int64_t n)
{
	const struct conv *c = a->c;
	const struct phase *f = a->f;
	int64_t cell = c->x_nchw ? 1 : 16;
	bool inside = true;
	for (int64_t p = 0; p < n; p++) {
		int64_t ih = i * f->in_h + f->at_h, iw = j * f->in_w + f->at_w;
		int64_t out = (i * f->out_h + f->from_h) * c->w_out + j * f->out_w + f->from_w;
		t->ih[p] = ih;
		t->iw[p] = iw;
		inside &= ih + f->dh_min >= 0 && ih + f->dh_max < c->h_in && iw + f->dw_min >= 0 &&
		          iw + f->dw_max < c->w_in;
		t->xp[p] = a->x + (ih * c->w_in + iw) * cell;
		t->yp[p] = a->y + out * 16;
		if (a->residual)
			t->rp[p] = a->residual + out * 16;
		if (++j == f->grid_w) {
			j = 0;
			i++;
		}
	}
	return inside;
}

/* Fills in the next n grid cells and moves the place on. */
static INLINE void tile_place(struct place *a, struct tile *t, int64_t n)
{
	const struct conv *c = a->c;
	int64_t i = a->i, j = a->j;
	bool inside = j + n <= a->f->grid_w ? place_row(a, t, i, j, n) : place_rows(a, t, i, j, n);
	a->i += (j + n) / a->f->grid_w;
	a->j = (j + n) % a->f->grid_w;
	if (!c->x_nchw) {
		t->mode = inside ? TILE_TAPS : TILE_BORDER;
		return;
	}
	t->mode = inside ? TILE_OFFSETS : TILE_ROWS;
	for (int64_t p = 0; !inside && p < n; p++) {
		nchw_patch(c, a->x, t->ih[p], t->iw[p], a->patches + p * a->depth);
		t->xp[p] = a->patches + p * a->depth;
	}
}

/* One column group (blocks b0..b1-1 of group g), grid cells q0..q1-1, all of k. */
static void conv_block(const struct conv_job *j, const struct phase *f, int64_t n, int64_t g, int64_t b0,
                       int64_t b1, int64_t q0, int64_t q1, char *scratch)
{
	const struct conv *c = j->c;
	int nb = (int)(b1 - b0);
	int64_t gi = conv_group_in(c), go = conv_group_out(c), taps = c->kh * c->kw, out_hw = c->h_out * c->w_out;
	int64_t ch = g * go + b0 * 16; /* first output channel */
	bool end = b1 * 16 >= go;
	struct tile t = { .w_block = conv_panel(c), .y_block = out_hw * 16, .plane = c->h_in * c->w_in * 16,
		              .taps = f->taps, .n_taps = f->n_taps, .taps_all = taps, .h_in = c->h_in,
		              .w_in = c->w_in, .has_residual = c->residual != NULL, .lane0 = (int)(ch % 16) };
	tile_act_set(&t, &c->act);
	t.bias = c->bias ? c->bias + ch : NULL;
	t.lanes = t.store_lanes = end ? (int)(go - (b1 - 1) * 16) : 16;
	if (end && g == c->groups - 1) /* the lanes beyond C_out: to the end of the block */
		t.store_lanes += (int)((16 - c->c_out % 16) % 16);
	int64_t y_off = n * j->y_image + ch / 16 * t.y_block;
	struct place a = { .c = c, .f = f, .x = c->x + n * j->x_image, .y = c->y + y_off,
		               .residual = c->residual ? c->residual + y_off : NULL, .depth = gi * taps };
	t.x = a.x;
	if (c->x_nchw) {
		t.offsets = (int64_t *)(void *)scratch;
		t.depth = a.depth;
		a.patches = (float *)(void *)(scratch + a.depth * 8);
		nchw_offsets(c, (int64_t *)(void *)scratch);
	}
	/* Cut k into passes at channel blocks, unless the output is unaligned (then it is short). */
	int64_t pass = CONV_PASS_FLOATS / (taps * 16 * nb) / 16 * 16;
	pass = pass < 16 ? 16 : pass;
	if (t.lane0 || t.lanes != t.store_lanes || c->x_nchw || g * gi % 16)
		pass = gi;
	const float *w = c->packed_w + (g * conv_group_blocks(c) + b0) * t.w_block;
	int64_t parts = div_up(q1 - q0, tile_p[nb - 1]);
	for (int64_t k = 0; parts && k < gi; k += pass) {
		t.c0 = g * gi + k;
		t.c1 = g * gi + min_i(gi, k + pass);
		t.w = w + k * taps * 16;
		t.first = k == 0;
		t.last = k + pass >= gi;
		a.i = q0 / f->grid_w;
		a.j = q0 % f->grid_w;
		for (int64_t i = 0; i < parts; i++) {
			int64_t cells = (q1 - q0) / parts + (i < (q1 - q0) % parts);
			tile_place(&a, &t, cells);
			tile_fns[nb - 1][cells - 1](&t);
		}
	}
}

static void conv_task(void *arg, uint32_t task, unsigned thread)
{
	const struct conv_job *j = arg;
	const struct conv *c = j->c;
	char *scratch = j->scratch + thread * j->scratch_per_thread;
	int64_t i = task, chunk, gb;
	int64_t inner = j->chunk_outer ? j->groups_of_blocks : j->chunks;
	int64_t outer = j->chunk_outer ? j->chunks : j->groups_of_blocks;
	chunk = j->chunk_outer ? i / inner % outer : i % inner;
	gb = j->chunk_outer ? i % inner : i / inner % outer;
	i /= inner * outer;
	int64_t g = i % c->groups;
	i /= c->groups;
	int64_t phase = i % (j->phases_h * j->phases_w), n = i / (j->phases_h * j->phases_w);
	struct phase f = { .taps = (struct tap *)(void *)scratch };
	if (c->transposed)
		phase_transposed(c, &f, phase / j->phases_w, phase % j->phases_w);
	else
		phase_plain(c, &f);
	scratch += ((size_t)(c->kh * c->kw) * sizeof(struct tap) + 63) & ~(size_t)63;
	int64_t cells = f.grid_h * f.grid_w, blocks = conv_group_blocks(c);
	conv_block(j, &f, n, g, even_cut(blocks, j->groups_of_blocks, gb),
	           even_cut(blocks, j->groups_of_blocks, gb + 1), even_cut(cells, j->chunks, chunk),
	           even_cut(cells, j->chunks, chunk + 1), scratch);
}

/* --- pointwise in groups that share blocks --------------------------------------------------------------- */

/* Column blocks of run number i: cut where a group ends, its last block may hold lanes of the next one.
 * Answers how many runs there are, when i is none of them. */
static int64_t mixed_run(const struct conv *c, int64_t i, int64_t *b0, int64_t *b1)
{
	int64_t blocks = div_up(c->c_out, 16), go = conv_group_out(c), runs = 0;
	int64_t width = tile_width(c->h_out * c->w_out);
	for (int64_t b = 0, end; b < blocks; b = end) {
		end = min_i(blocks, div_up((b * 16 / go + 1) * go, 16));
		int64_t parts = div_up(end - b, width);
		if (i >= runs && i < runs + parts) {
			*b0 = b + even_cut(end - b, parts, i - runs);
			*b1 = b + even_cut(end - b, parts, i - runs + 1);
		}
		runs += parts;
	}
	return runs;
}

/* Offsets of a run's steps of k: in x, for its group and the next; then the same in a border cell's copy. */
static void mixed_offsets(const struct conv *c, int64_t g, int64_t *offsets)
{
	int64_t gi = conv_group_in(c), next = min_i(g + 1, c->groups - 1);
	for (int64_t k = 0; k < gi; k++) {
		offsets[k] = conv_channel_at(c, g * gi + k);
		offsets[gi + k] = conv_channel_at(c, next * gi + k);
		offsets[2 * gi + k] = k;
		offsets[3 * gi + k] = gi + k;
	}
}

/* The operands of one border position: zeros when it is outside the image. */
static void mixed_patch(const struct conv *c, const float *x, int64_t ih, int64_t iw, const int64_t *offsets,
                        float *row)
{
	bool in = (uint64_t)ih < (uint64_t)c->h_in && (uint64_t)iw < (uint64_t)c->w_in;
	for (int64_t k = 0; k < 2 * conv_group_in(c); k++)
		row[k] = in ? x[(ih * c->w_in + iw) * 16 + offsets[k]] : 0.0f;
}

static void mixed_block(const struct conv_job *j, const struct phase *f, int64_t n, int64_t b0, int64_t b1,
                        int64_t q0, int64_t q1, char *scratch)
{
	const struct conv *c = j->c;
	int64_t gi = conv_group_in(c), go = conv_group_out(c), g = b0 * 16 / go, left = c->c_out - (b1 - 1) * 16;
	int64_t *offsets = (int64_t *)(void *)scratch, y_block = c->h_out * c->w_out * 16;
	float *patches = (float *)(void *)(scratch + 4 * gi * 8);
	struct tile t = { .w_block = gi * 16, .y_block = y_block, .has_residual = c->residual != NULL,
		              .first = true, .last = true, .depth = gi, .w = c->packed_w + b0 * gi * 16,
		              .bias = c->bias ? c->bias + b0 * 16 : NULL, .lanes = (int)min_i(16, left),
		              .store_lanes = 16, .split = (int)min_i(16, (g + 1) * go - (b1 - 1) * 16) };
	tile_act_set(&t, &c->act);
	mixed_offsets(c, g, offsets);
	int64_t y_off = n * j->y_image + b0 * y_block;
	struct place a = { .c = c, .f = f, .x = c->x + n * j->x_image, .y = c->y + y_off,
		               .residual = c->residual ? c->residual + y_off : NULL, .i = q0 / f->grid_w,
		               .j = q0 % f->grid_w };
	int nb = (int)(b1 - b0);
	int64_t parts = div_up(q1 - q0, tile_p[nb - 1]);
	for (int64_t i = 0; i < parts; i++) {
		int64_t cells = (q1 - q0) / parts + (i < (q1 - q0) % parts);
		tile_place(&a, &t, cells);
		bool inside = t.mode == TILE_TAPS;
		for (int64_t p = 0; !inside && p < cells; p++) {
			mixed_patch(c, a.x, t.ih[p], t.iw[p], offsets, patches + p * 2 * gi);
			t.xp[p] = patches + p * 2 * gi;
		}
		t.offsets = offsets + (inside ? 0 : 2 * gi);
		t.offsets_rest = t.offsets + gi;
		t.mode = t.split < t.lanes ? TILE_MIXED : TILE_OFFSETS;
		tile_fns[nb - 1][cells - 1](&t);
	}
}

static void mixed_task(void *arg, uint32_t task, unsigned thread)
{
	const struct conv_job *j = arg;
	const struct conv *c = j->c;
	char *scratch = j->scratch + thread * j->scratch_per_thread;
	struct phase f = { .taps = (struct tap *)(void *)scratch };
	int64_t runs = j->groups_of_blocks, chunk = task / runs % j->chunks, n = task / runs / j->chunks;
	int64_t cells = c->h_out * c->w_out, b0 = 0, b1 = 0;
	phase_plain(c, &f);
	mixed_run(c, task % runs, &b0, &b1);
	mixed_block(j, &f, n, b0, b1, even_cut(cells, j->chunks, chunk), even_cut(cells, j->chunks, chunk + 1),
	            scratch + 64);
}

static void conv_mixed(struct pool *p, struct conv_job *j)
{
	const struct conv *c = j->c;
	int64_t cells = c->h_out * c->w_out, b0, b1;
	int64_t wish = tasks_wanted(2.0 * (double)(c->n * cells) * (double)(conv_group_in(c) * c->c_out));
	j->groups_of_blocks = mixed_run(c, -1, &b0, &b1);
	j->chunks = min_i(div_up(cells, CONV_POSITIONS), div_up(wish, c->n));
	if (j->chunks * j->groups_of_blocks * c->n < 8)
		j->chunks = min_i(div_up(cells, 32), div_up(min_i(wish, 8), c->n * j->groups_of_blocks));
	pool_run(wish == 1 ? NULL : p, mixed_task, j, (uint32_t)(c->n * j->groups_of_blocks * j->chunks));
}

/* --- depthwise ------------------------------------------------------------------------------------------ */

struct dw_job {
	const struct conv *c;
	int64_t rows, row_parts, x_image, y_image;
};

/* P output cells of one row side by side, all taps inside the image's width. A row outside its height
 * is zeros. */
static INLINE void dw_run(int P, int64_t kh, int64_t kw, int64_t step, const struct conv *c, const float *x,
                          int64_t ih, int64_t iw, const float *w, v16 acc[DW_P])
{
	for (int64_t h = 0; h < kh; h++) {
		int64_t r = ih + h * c->dil_h;
		bool in = (uint64_t)r < (uint64_t)c->h_in;
		const float *row = x + (in ? r * c->w_in + iw : 0) * 16;
		for (int64_t k = 0; k < kw; k++, w += 16) {
			v16 b = v_load(w);
			const float *q = row + k * c->dil_w * 16;
			UNROLL
			for (int p = 0; p < P; p++)
				acc[p] = v_fma(in ? v_load(q + p * step * 16) : v_set1(0.0f), b, acc[p]);
		}
	}
}

/* P output cells of one row anywhere: every tap of every cell is looked at. */
static INLINE void dw_edge(int P, const struct conv *c, const float *x, int64_t ih, const int64_t *iw,
                           const float *w, v16 acc[DW_P])
{
	for (int64_t h = 0; h < c->kh; h++) {
		int64_t r = ih + h * c->dil_h;
		bool in = (uint64_t)r < (uint64_t)c->h_in;
		const float *row = x + (in ? r : 0) * c->w_in * 16;
		for (int64_t k = 0; k < c->kw; k++, w += 16) {
			v16 b = v_load(w);
			UNROLL
			for (int p = 0; p < P; p++) {
				int64_t s = iw[p] + k * c->dil_w;
				bool inside = in && (uint64_t)s < (uint64_t)c->w_in;
				acc[p] = v_fma(v_load(inside ? row + s * 16 : zeros), b, acc[p]);
			}
		}
	}
}

/* An activation out of line: many copies of it would stand in the row kernels otherwise. */
static __attribute__((noinline)) v16 act_far(const struct activation *a, v16 v)
{
	v = m_act(a, v);
	return a->post ? v_fma(v, v_set1(a->post_mul), v_set1(a->post_add)) : v;
}

/* Residual, activation, padded lanes; n cells from y on. */
static INLINE void dw_end(int P, const struct tile *t, float *y, const float *res, v16 acc[DW_P])
{
	v16 lo = v_set1(t->lo), hi = v_set1(t->hi);
	UNROLL
	for (int p = 0; p < P; p++) {
		v16 v = res ? v_add(acc[p], v_load(res + p * 16)) : acc[p];
		if (t->act_is_clip) {
			v = m_clip(v, lo, hi);
		} else if (!t->slow_end) {
			v = tile_act(t, v, lo, hi);
		} else {
			v = act_far(t->act, v);
		}
		v = v_one_nan(v);
		v_store(y + p * 16, t->lanes == 16 ? v : v_keep(v, t->lanes));
	}
}

static INLINE void dw_row(int64_t kh, int64_t kw, int64_t step, const struct conv *c, const struct tile *t,
                          const float *x, int64_t ih, const float *w, float *y, const float *res)
{
	v16 bias = t->bias ? v_load_part(t->bias, 0, t->lanes) : v_set1(0.0f);
	int64_t reach = (c->kw - 1) * c->dil_w;
	/* Cells lo..hi-1 have all their taps inside the width. */
	int64_t lo = min_i(div_up(c->pad_left, c->stride_w), c->w_out);
	int64_t room = c->w_in - 1 - reach + c->pad_left;
	int64_t hi = room < 0 ? lo : min_i(room / c->stride_w + 1, c->w_out);
	hi = hi < lo ? lo : hi;
	v16 acc[DW_P];
	if (hi - lo < DW_EDGE)
		hi = lo;
	/* Whole runs; the last one of each width overlaps: the same bits again. */
	for (int64_t o = lo, n; o < hi; o += n) {
		n = hi - lo >= DW_P && hi - o > DW_EDGE ? DW_P : DW_EDGE;
		o = o + n > hi ? hi - n : o;
		int64_t iw = o * c->stride_w - c->pad_left;
		UNROLL
		for (int p = 0; p < DW_P; p++)
			acc[p] = bias;
		if (n == DW_P) {
			dw_run(DW_P, kh, kw, step, c, x, ih, iw, w, acc);
			dw_end(DW_P, t, y + o * 16, res ? res + o * 16 : NULL, acc);
		} else {
			dw_run(DW_EDGE, kh, kw, step, c, x, ih, iw, w, acc);
			dw_end(DW_EDGE, t, y + o * 16, res ? res + o * 16 : NULL, acc);
		}
	}
	for (int64_t o = 0; o < c->w_out;) {
		int64_t cell[DW_EDGE], iw[DW_EDGE];
		int n = 0;
		for (; n < DW_EDGE && o < c->w_out; o++) {
			if (o == lo)
				o = hi;
			if (o == c->w_out)
				break;
			cell[n] = o;
			iw[n++] = o * c->stride_w - c->pad_left;
		}
		if (n == 0)
			break;
		for (int i = n; i < DW_EDGE; i++)
			iw[i] = iw[0]; /* computed and thrown away */
		UNROLL
		for (int p = 0; p < DW_EDGE; p++)
			acc[p] = bias;
		dw_edge(DW_EDGE, c, x, ih, iw, w, acc);
		UNROLL
		for (int p = 0; p < DW_EDGE; p++)
			if (p < n)
				dw_end(1, t, y + cell[p] * 16, res ? res + cell[p] * 16 : NULL, acc + p);
	}
}

static void dw_any(const struct conv *c, const struct tile *t, const float *x, int64_t ih, const float *w,
                   float *y, const float *res)
{
	if (c->kh == 3 && c->kw == 3 && c->stride_w == 1)
		dw_row(3, 3, 1, c, t, x, ih, w, y, res);
	else if (c->kh == 3 && c->kw == 3 && c->stride_w == 2)
		dw_row(3, 3, 2, c, t, x, ih, w, y, res);
	else if (c->kh == 5 && c->kw == 5 && c->stride_w == 1)
		dw_row(5, 5, 1, c, t, x, ih, w, y, res);
	else if (c->kh == 5 && c->kw == 5 && c->stride_w == 2)
		dw_row(5, 5, 2, c, t, x, ih, w, y, res);
	else
		dw_row(c->kh, c->kw, c->stride_w, c, t, x, ih, w, y, res);
}

static void dw_task(void *arg, uint32_t task, unsigned thread)
{
	(void)thread;
	const struct dw_job *j = arg;
	const struct conv *c = j->c;
	int64_t blocks = div_up(c->c_out, 16), part = task % j->row_parts;
	int64_t b = task / j->row_parts % blocks, n = task / j->row_parts / blocks;
	const float *x = c->x + n * j->x_image + b * c->h_in * c->w_in * 16;
	const float *w = c->packed_w + b * c->kh * c->kw * 16;
	struct tile t = { .lanes = (int)min_i(16, c->c_out - b * 16), .bias = c->bias ? c->bias + b * 16 : NULL };
	tile_act_set(&t, &c->act);
	int64_t end = even_cut(c->h_out, j->row_parts, part + 1);
	for (int64_t o = even_cut(c->h_out, j->row_parts, part); o < end; o++) {
		int64_t y = n * j->y_image + (b * c->h_out + o) * c->w_out * 16;
		dw_any(c, &t, x, o * c->stride_h - c->pad_top, w, c->y + y, c->residual ? c->residual + y : NULL);
	}
}

/* --- a last upsampling into NCHW: taps are columns ---------------------------------------------------- */

struct scatter_job {
	const struct conv *c;
	int64_t parts, x_image, y_image;
};

static void scatter_cell(const struct conv *c, const float *v, float *y, int64_t i, int64_t j)
{
	for (int64_t a = 0; a < c->kh; a++)
		for (int64_t b = 0; b < c->kw; b++)
			for (int64_t o = 0; o < c->c_out; o++)
				y[(o * c->h_out + i * c->kh + a) * c->w_out + j * c->kw + b] = *v++;
}

static void scatter_task(void *arg, uint32_t task, unsigned thread)
{
	(void)thread;
	const struct scatter_job *s = arg;
	const struct conv *c = s->c;
	int64_t cells = c->h_in * c->w_in, n = task / s->parts, part = task % s->parts;
	int64_t q = even_cut(cells, s->parts, part), end = even_cut(cells, s->parts, part + 1);
	float bias[16] = { 0 }, out[P_LIMIT * 16] __attribute__((aligned(64)));
	for (int64_t j = 0; c->bias && j < c->kh * c->kw * c->c_out; j++)
		bias[j] = c->bias[j % c->c_out];
	struct tap tap = { 0, 0, 0, 0 };
	struct tile t = { .mode = TILE_TAPS, .first = true, .last = true, .w = c->packed_w, .c1 = c->c_in,
		              .plane = cells * 16, .taps = &tap, .n_taps = 1, .taps_all = 1, .bias = bias,
		              .lanes = 16, .store_lanes = 16 };
	tile_act_set(&t, &c->act);
	for (int64_t p = 0; p < P_LIMIT; p++)
		t.yp[p] = out + p * 16;
	for (int64_t rows; q < end; q += rows) {
		rows = min_i(end - q, tile_p[0]);
		for (int64_t p = 0; p < rows; p++)
			t.xp[p] = c->x + n * s->x_image + (q + p) * 16;
		tile_fns[0][rows - 1](&t);
		for (int64_t p = 0; p < rows; p++)
			scatter_cell(c, out + p * 16, c->y + n * s->y_image, (q + p) / c->w_in, (q + p) % c->w_in);
	}
}

static void conv_scatter(struct pool *p, const struct conv *c, int64_t x_image)
{
	struct scatter_job s = { .c = c, .x_image = x_image, .y_image = c->y_image };
	if (!s.y_image)
		s.y_image = c->c_out * c->h_out * c->w_out;
	int64_t cells = c->h_in * c->w_in;
	s.parts = min_i(div_up(cells, 64), tasks_wanted(32.0 * (double)(cells * (c->c_in + 64))));
	pool_run(p, scatter_task, &s, (uint32_t)(c->n * s.parts));
}

/* --- entry -------------------------------------------------------------------------------------------- */

static INLINE int64_t image_floats(int64_t given, int64_t c, int64_t h, int64_t w)
{
	return given ? given : div_up(c, 16) * 16 * h * w;
}

static void conv_depthwise(struct pool *p, const struct conv *c, int64_t x_image, int64_t y_image)
{
	struct dw_job j = { .c = c, .x_image = x_image, .y_image = y_image };
	int64_t blocks = div_up(c->c_out, 16);
	/* A multiply-add here costs about four times one of the dense kernel: memory sets the pace. */
	double flop = 8.0 * 16.0 * (double)(blocks * c->n * c->h_out * c->w_out * c->kh * c->kw);
	int64_t wish = tasks_wanted(flop);
	j.row_parts = min_i(c->h_out, div_up(wish, blocks * c->n));
	pool_run(wish == 1 ? NULL : p, dw_task, &j, (uint32_t)(c->n * blocks * j.row_parts));
}

static void k_conv(struct pool *p, const struct conv *c, void *scratch, size_t scratch_per_thread)
{
	int64_t x_image = c->x_image;
	if (c->x_nchw && !x_image)
		x_image = c->c_in * c->h_in * c->w_in;
	x_image = image_floats(x_image, c->c_in, c->h_in, c->w_in);
	int64_t y_image = image_floats(c->y_image, c->c_out, c->h_out, c->w_out);
	if (c->n == 0 || c->h_out == 0 || c->w_out == 0)
		return;
	if (c->y_nchw) {
		conv_scatter(p, c, x_image);
		return;
	}
	if (conv_is_depthwise(c)) {
		conv_depthwise(p, c, x_image, y_image);
		return;
	}
	struct conv_job j = { .c = c, .scratch = scratch, .scratch_per_thread = scratch_per_thread,
		                  .phases_h = 1, .phases_w = 1, .grid_h = c->h_out, .grid_w = c->w_out,
		                  .x_image = x_image, .y_image = y_image };
	if (conv_is_mixed(c)) {
		conv_mixed(p, &j);
		return;
	}
	if (c->transposed) {
		j.phases_h = c->stride_h;
		j.phases_w = c->stride_w;
		j.grid_h = div_up(c->h_out, c->stride_h);
		j.grid_w = div_up(c->w_out, c->stride_w);
	}
	int64_t cells = j.grid_h * j.grid_w, outer = c->n * c->groups * j.phases_h * j.phases_w;
	j.groups_of_blocks = div_up(conv_group_blocks(c), tile_width(cells));
	double flop = 2.0 * (double)cells * (double)conv_panel(c) * (double)conv_group_blocks(c);
	int64_t wish = tasks_wanted(flop * (double)outer);
	j.chunks = min_i(div_up(cells, CONV_POSITIONS), div_up(wish, outer));
	if (j.chunks * j.groups_of_blocks * outer < 8)
		j.chunks = min_i(div_up(cells, 32), div_up(min_i(wish, 8), outer * j.groups_of_blocks));
	j.chunk_outer = conv_panel(c) * conv_group_blocks(c) <= CONV_SMALL_WEIGHTS;
	uint32_t tasks = (uint32_t)(outer * j.groups_of_blocks * j.chunks);
	pool_run(wish == 1 ? NULL : p, conv_task, &j, tasks);
}
