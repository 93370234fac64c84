/* SPDX-License-Identifier: Apache-2.0
 *
 * The one micro-kernel behind matrix products and convolutions: P rows (matrix rows, or output
 * positions) times NB blocks of 16 columns, accumulated in registers in the order of k. Drivers fill
 * a struct tile; the register shapes are compiled from one body. Where a row's operand lies is the
 * mode: a dense row, taps of a convolution (inside the image or at its border, where a tap outside
 * reads zeros), or a table of offsets (first layers straight from NCHW).
 *
 * Side: inside. Trusts: its arguments. Owns: nothing. Included once per level, after body_math.h.
 */

#define P_LIMIT 8
#define NB_LIMIT 4

enum tile_mode { TILE_ROWS, TILE_STREAM, TILE_TAPS, TILE_BORDER, TILE_OFFSETS, TILE_MIXED };

/* One kernel position: displacement in cells, in floats, and its number in the packed weights. */
struct tap {
	int64_t dh, dw, x, w;
};

struct tile {
	enum tile_mode mode;
	bool first, last;               /* starts from the bias / ends with the activation */
	const float *xp[P_LIMIT];       /* operand of each row; TAPS: of its position, channel block 0 */
	const float *w;
	int64_t w_block;                /* floats between two column blocks */
	int64_t depth;                  /* ROWS, STREAM, OFFSETS, MIXED: steps of k */
	const int64_t *offsets;         /* OFFSETS, MIXED: of step k, in floats */
	const int64_t *offsets_rest;    /* MIXED: as the last block's lanes from `split` on take it */
	int split;
	int64_t c0, c1, plane;          /* TAPS, BORDER: channels, floats of a channel block */
	const struct tap *taps;
	int64_t n_taps, taps_all;
	int64_t ih[P_LIMIT], iw[P_LIMIT], h_in, w_in; /* BORDER */
	const float *x;                 /* BORDER: the image; xp may point outside it and is not used */
	float *yp[P_LIMIT];
	const float *rp[P_LIMIT];       /* residual, when has_residual */
	bool has_residual;
	int64_t y_block;                /* floats between two column blocks of y */
	const float *bias;              /* of the tile's first column, or NULL */
	int lanes;                      /* columns in the last block */
	int store_lanes;                /* lanes written from there on; beyond `lanes` they are zero */
	int lane0;                      /* first lane of y; not 0 only in grouped convolutions */
	const struct activation *act;
	float lo, hi;                   /* the activation as a clip, when act_is_clip */
	bool act_is_none;
	bool act_is_clip;               /* NONE, RELU, CLIP without a tail: two operations */
	bool act_is_swish;              /* HARDSWISH; else, without slow_end, a clip and a tail */
	bool slow_end;                  /* everything else, and y across block borders: tile_finish */
};

/* What a tap outside the image reads: as many zeros as one channel block has. */
static const float zeros[16] __attribute__((aligned(64)));

/* Chooses the epilogue; lane0 is set before. */
static void tile_act_set(struct tile *t, const struct activation *a)
{
	bool clip = a->kind == ACT_NONE || a->kind == ACT_RELU || a->kind == ACT_CLIP;
	t->act = a;
	t->act_is_clip = clip && !a->post;
	t->act_is_none = a->kind == ACT_NONE && !a->post;
	t->act_is_swish = a->kind == ACT_HARDSWISH;
	t->slow_end = t->lane0 || !(clip || t->act_is_swish);
	t->lo = a->kind == ACT_RELU ? 0.0f : a->kind == ACT_CLIP ? a->alpha : -F_INF;
	t->hi = a->kind == ACT_CLIP ? a->beta : F_INF;
}

/* Writes one finished vector of column block j, across the border of two blocks when lane0 is set. */
static INLINE void tile_put(const struct tile *t, int p, int j, int last_block, v16 v)
{
	int n = j == last_block ? t->lanes : 16, store = j == last_block ? t->store_lanes : 16;
	float *y = t->yp[p] + j * t->y_block;
	v = v_keep(v, n);
	if (t->lane0 == 0) {
		v_store_part(y, v, 0, store);
		return;
	}
	int cut = 16 - t->lane0;
	v_store_part(y + t->lane0, v, 0, store < cut ? store : cut);
	if (store > cut)
		v_store_part(y + t->y_block - cut, v, cut, store < 16 ? store : 16);
	if (store > 16) /* zeros to the end of the next block */
		v_store_part(y + t->y_block, v_set1(0.0f), 16 - cut, store - cut);
}

static INLINE v16 tile_residual(const struct tile *t, int p, int j, int last_block)
{
	int n = j == last_block ? t->lanes : 16;
	const float *r = t->rp[p] + j * t->y_block;
	if (t->lane0 == 0)
		return v_load_part(r, 0, n);
	int cut = 16 - t->lane0;
	v16 v = v_load_part(r + t->lane0, 0, n < cut ? n : cut);
	return n > cut ? v_or(v, v_load_part(r + t->y_block - cut, cut, n)) : v;
}

/* The epilogue for what is too long to stand in each micro-kernel. */
static __attribute__((noinline)) void tile_finish(const struct tile *t, const float *raw, int rows,
												  int blocks)
{
	v16 lo = v_set1(t->lo), hi = v_set1(t->hi);
	for (int p = 0; p < rows; p++)
		for (int j = 0; j < blocks; j++, raw += 16) {
			v16 v = v_load(raw);
			if (t->has_residual)
				v = v_add(v, tile_residual(t, p, j, blocks - 1));
			if (t->act_is_clip) {
				v = m_clip(v, lo, hi);
			} else {
				v = m_act(t->act, v);
				v = t->act->post ? v_fma(v, v_set1(t->act->post_mul), v_set1(t->act->post_add)) : v;
			}
			tile_put(t, p, j, blocks - 1, v_one_nan(v));
		}
}

static INLINE void tile_step(int P, int NB, v16 acc[P_LIMIT][NB_LIMIT], const float *const xp[P_LIMIT],
                             const float *w, int64_t w_block, int64_t k)
{
	v16 b[NB_LIMIT];
	UNROLL
	for (int j = 0; j < NB; j++)
		b[j] = v_load(w + j * w_block);
	UNROLL
	for (int p = 0; p < P; p++) {
		v16 a = v_set1(xp[p][k]);
		UNROLL
		for (int j = 0; j < NB; j++)
			acc[p][j] = v_acc(a, b[j], acc[p][j]);
	}
}

static INLINE void tile_steps(int P, int NB, v16 acc[P_LIMIT][NB_LIMIT], const float *const xp[P_LIMIT],
                              const float *w, int64_t w_block, int64_t n)
{
	int64_t k = 0;
	for (; k + 4 <= n; k += 4, w += 64) {
		UNROLL
		for (int64_t s = 0; s < 4; s++)
			tile_step(P, NB, acc, xp, w + s * 16, w_block, k + s);
	}
	for (; k < n; k++, w += 16)
		tile_step(P, NB, acc, xp, w, w_block, k);
}

/* As tile_steps for weights that come from memory once: asks for them 4 KiB ahead. */
static INLINE void tile_stream(int P, int NB, v16 acc[P_LIMIT][NB_LIMIT], const float *const xp[P_LIMIT],
                               const float *w, int64_t w_block, int64_t n)
{
	for (int64_t k = 0; k < n; k++, w += 16) {
		v16 b[NB_LIMIT];
		UNROLL
		for (int j = 0; j < NB; j++) {
			__builtin_prefetch(w + j * w_block + STREAM_AHEAD, 0, 2);
			b[j] = v_load(w + j * w_block);
		}
		UNROLL
		for (int p = 0; p < P; p++) {
			v16 a = v_set1(xp[p][k]);
			UNROLL
			for (int j = 0; j < NB; j++)
				acc[p][j] = v_acc(a, b[j], acc[p][j]);
		}
	}
}

static INLINE void tile_offsets(int P, int NB, v16 acc[P_LIMIT][NB_LIMIT], const struct tile *t)
{
	const float *w = t->w, *xp[P_LIMIT];
	UNROLL
	for (int p = 0; p < P; p++)
		xp[p] = t->xp[p];
	for (int64_t k = 0; k < t->depth; k++, w += 16) {
		int64_t o = t->offsets[k];
		v16 b[NB_LIMIT];
		UNROLL
		for (int j = 0; j < NB; j++)
			b[j] = v_load(w + j * t->w_block);
		UNROLL
		for (int p = 0; p < P; p++) {
			v16 a = v_set1(xp[p][o]);
			UNROLL
			for (int j = 0; j < NB; j++)
				acc[p][j] = v_acc(a, b[j], acc[p][j]);
		}
	}
}

/* As tile_offsets, but the last block's lanes are of two groups and have two operands. */
static INLINE void tile_mixed(int P, int NB, v16 acc[P_LIMIT][NB_LIMIT], const struct tile *t)
{
	const float *w = t->w, *xp[P_LIMIT];
	UNROLL
	for (int p = 0; p < P; p++)
		xp[p] = t->xp[p];
	int split = t->split;
	for (int64_t k = 0; k < t->depth; k++, w += 16) {
		int64_t o = t->offsets[k], rest = t->offsets_rest[k];
		v16 b[NB_LIMIT];
		UNROLL
		for (int j = 0; j < NB; j++)
			b[j] = v_load(w + j * t->w_block);
		UNROLL
		for (int p = 0; p < P; p++) {
			v16 a = v_set1(xp[p][o]);
			UNROLL
			for (int j = 0; j < NB - 1; j++)
				acc[p][j] = v_acc(a, b[j], acc[p][j]);
			acc[p][NB - 1] = v_acc(v_from(a, v_set1(xp[p][rest]), split), b[NB - 1], acc[p][NB - 1]);
		}
	}
}

/* Channels c0..c1-1 in runs that end at block borders; for each run all taps; for each tap its lanes. */
static INLINE void tile_taps(int P, int NB, v16 acc[P_LIMIT][NB_LIMIT], const struct tile *t, bool border)
{
	const float *w = t->w;
	for (int64_t c = t->c0; c < t->c1;) {
		int64_t lane = c % 16, len = 16 - lane < t->c1 - c ? 16 - lane : t->c1 - c;
		int64_t xo = c / 16 * t->plane + lane;
		for (int64_t i = 0; i < t->n_taps; i++) {
			const struct tap *tap = &t->taps[i];
			const float *xp[P_LIMIT];
			UNROLL
			for (int p = 0; p < P; p++) {
				if (border) {
					int64_t h = t->ih[p] + tap->dh, v = t->iw[p] + tap->dw;
					bool in = (uint64_t)h < (uint64_t)t->h_in && (uint64_t)v < (uint64_t)t->w_in;
					xp[p] = in ? t->x + xo + (h * t->w_in + v) * 16 : zeros;
				} else {
					xp[p] = t->xp[p] + xo + tap->x;
				}
			}
			tile_steps(P, NB, acc, xp, w + tap->w * len * 16, t->w_block, len);
		}
		w += len * 16 * t->taps_all;
		c += len;
	}
}

static INLINE void tile_start(int P, int NB, v16 acc[P_LIMIT][NB_LIMIT], const struct tile *t)
{
	if (!t->first) {
		UNROLL
		for (int p = 0; p < P; p++) {
			UNROLL
			for (int j = 0; j < NB - 1; j++)
				acc[p][j] = v_load(t->yp[p] + j * t->y_block);
			const float *y = t->yp[p] + (NB - 1) * t->y_block;
			acc[p][NB - 1] = t->store_lanes == 16 ? v_load(y) : v_load_part(y, 0, t->store_lanes);
		}
		return;
	}
	UNROLL
	for (int j = 0; j < NB; j++) {
		v16 b = v_set1(0.0f);
		if (t->bias)
			b = v_load_part(t->bias + j * 16, 0, j == NB - 1 ? t->lanes : 16);
		UNROLL
		for (int p = 0; p < P; p++)
			acc[p][j] = b;
	}
}

/* Activations whose few operations are worth doing in registers. */
static INLINE v16 tile_act(const struct tile *t, v16 v, v16 lo, v16 hi)
{
	if (t->act_is_swish)
		v = v_mul(v, m_hardsigmoid(v, t->act->alpha, t->act->beta));
	else
		v = m_clip(v, lo, hi);
	if (t->act->post)
		v = v_fma(v, v_set1(t->act->post_mul), v_set1(t->act->post_add));
	return v;
}

static INLINE void tile_end(int P, int NB, v16 acc[P_LIMIT][NB_LIMIT], const struct tile *t)
{
	if (t->last && t->slow_end) {
		float raw[P_LIMIT * NB_LIMIT * 16] __attribute__((aligned(64)));
		UNROLL
		for (int p = 0; p < P; p++) {
			UNROLL
			for (int j = 0; j < NB; j++)
				v_store(raw + (p * NB + j) * 16, acc[p][j]);
		}
		tile_finish(t, raw, P, NB);
		return;
	}
	if (t->last) {
		v16 lo = v_set1(t->lo), hi = v_set1(t->hi);
		if (t->has_residual) {
			UNROLL
			for (int p = 0; p < P; p++) {
				UNROLL
				for (int j = 0; j < NB - 1; j++)
					acc[p][j] = v_add(acc[p][j], v_load(t->rp[p] + j * t->y_block));
				const float *r = t->rp[p] + (NB - 1) * t->y_block;
				acc[p][NB - 1] =
					v_add(acc[p][NB - 1], t->lanes == 16 ? v_load(r) : v_load_part(r, 0, t->lanes));
			}
		}
		if (t->act_is_none) {
			UNROLL
			for (int p = 0; p < P; p++) {
				UNROLL
				for (int j = 0; j < NB; j++)
					acc[p][j] = v_one_nan(acc[p][j]);
			}
		} else if (t->act_is_clip) {
			UNROLL
			for (int p = 0; p < P; p++) {
				UNROLL
				for (int j = 0; j < NB; j++)
					acc[p][j] = v_one_nan(m_clip(acc[p][j], lo, hi));
			}
		} else {
			UNROLL
			for (int p = 0; p < P; p++) {
				UNROLL
				for (int j = 0; j < NB; j++)
					acc[p][j] = v_one_nan(tile_act(t, acc[p][j], lo, hi));
			}
		}
	}
	UNROLL
	for (int p = 0; p < P; p++) {
		UNROLL
		for (int j = 0; j < NB - 1; j++)
			v_store(t->yp[p] + j * t->y_block, acc[p][j]);
	}
	if (t->store_lanes == 16) {
		UNROLL
		for (int p = 0; p < P; p++)
			v_store(t->yp[p] + (NB - 1) * t->y_block,
			        t->lanes == 16 ? acc[p][NB - 1] : v_keep(acc[p][NB - 1], t->lanes));
	} else {
		UNROLL
		for (int p = 0; p < P; p++)
			v_store_part(t->yp[p] + (NB - 1) * t->y_block, v_keep(acc[p][NB - 1], t->lanes), 0,
			             t->store_lanes);
	}
}

static INLINE void tile_run(int P, int NB, const struct tile *t)
{
	v16 acc[P_LIMIT][NB_LIMIT];
	tile_start(P, NB, acc, t);
	switch (t->mode) {
	case TILE_ROWS: tile_steps(P, NB, acc, t->xp, t->w, t->w_block, t->depth); break;
	case TILE_STREAM: tile_stream(P, NB, acc, t->xp, t->w, t->w_block, t->depth); break;
	case TILE_TAPS: tile_taps(P, NB, acc, t, false); break;
	case TILE_BORDER: tile_taps(P, NB, acc, t, true); break;
	case TILE_OFFSETS: tile_offsets(P, NB, acc, t); break;
	case TILE_MIXED: tile_mixed(P, NB, acc, t); break;
	}
	tile_end(P, NB, acc, t);
}

#define TILE_FN(P, NB) \
	static void tile_##P##_##NB(const struct tile *t) { tile_run(P, NB, t); }
#define TILE_ROW(NB)                                                                              \
	{ tile_1_##NB, tile_2_##NB, tile_3_##NB, tile_4_##NB, tile_5_##NB, tile_6_##NB, tile_7_##NB, tile_8_##NB }

/* tile_p[nb - 1]: most rows of a tile of nb blocks. tile_fns[nb - 1][rows - 1]. tile_width: most
 * blocks of a tile when there are so many rows in all; few rows need more blocks to fill the registers. */
#if defined(TILE_SHAPES_16)
#define TILE_NB 4
static const int8_t tile_p[TILE_NB] = { 8, 8, 8, 6 };
TILE_FN(1, 1) TILE_FN(2, 1) TILE_FN(3, 1) TILE_FN(4, 1)
TILE_FN(5, 1) TILE_FN(6, 1) TILE_FN(7, 1) TILE_FN(8, 1)
TILE_FN(1, 2) TILE_FN(2, 2) TILE_FN(3, 2) TILE_FN(4, 2)
TILE_FN(5, 2) TILE_FN(6, 2) TILE_FN(7, 2) TILE_FN(8, 2)
TILE_FN(1, 3) TILE_FN(2, 3) TILE_FN(3, 3) TILE_FN(4, 3)
TILE_FN(5, 3) TILE_FN(6, 3) TILE_FN(7, 3) TILE_FN(8, 3)
TILE_FN(1, 4) TILE_FN(2, 4) TILE_FN(3, 4) TILE_FN(4, 4) TILE_FN(5, 4) TILE_FN(6, 4)
static void (*const tile_fns[TILE_NB][P_LIMIT])(const struct tile *t) = {
	TILE_ROW(1), TILE_ROW(2), TILE_ROW(3),
	{ tile_1_4, tile_2_4, tile_3_4, tile_4_4, tile_5_4, tile_6_4, NULL, NULL },
};
static int64_t tile_width(int64_t rows)
{
	(void)rows;
	return TILE_NB;
}
#elif defined(TILE_SHAPES_8)
#define TILE_NB 4
static const int8_t tile_p[TILE_NB] = { 6, 3, 1, 1 };
TILE_FN(1, 1) TILE_FN(2, 1) TILE_FN(3, 1) TILE_FN(4, 1) TILE_FN(5, 1) TILE_FN(6, 1)
TILE_FN(1, 2) TILE_FN(2, 2) TILE_FN(3, 2)
TILE_FN(1, 3)
TILE_FN(1, 4)
static void (*const tile_fns[TILE_NB][P_LIMIT])(const struct tile *t) = {
	{ tile_1_1, tile_2_1, tile_3_1, tile_4_1, tile_5_1, tile_6_1, NULL, NULL },
	{ tile_1_2, tile_2_2, tile_3_2, NULL, NULL, NULL, NULL, NULL },
	{ tile_1_3, NULL, NULL, NULL, NULL, NULL, NULL, NULL },
	{ tile_1_4, NULL, NULL, NULL, NULL, NULL, NULL, NULL },
};
/* 6 x 16 takes 12 accumulators, 2 weights and 1 operand of 16 registers: the shape for many rows. */
static int64_t tile_width(int64_t rows)
{
	return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
}
#else
#define TILE_NB 1
static const int8_t tile_p[TILE_NB] = { 1 };
TILE_FN(1, 1)
static void (*const tile_fns[TILE_NB][P_LIMIT])(const struct tile *t) = {
	{ tile_1_1, NULL, NULL, NULL, NULL, NULL, NULL, NULL },
};
static int64_t tile_width(int64_t rows)
{
	(void)rows;
	return 1;
}
#endif

/* --- cutting work: by shape alone --------------------------------------------------------------------- */

/* Half a microsecond of work is what a second thread is worth waking for; a task of four is large
 * enough to hide the handing out. */
#define TASK_FLOP_LEAST 100000.0
#define TASK_FLOP_MUCH 800000.0

static INLINE int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static INLINE int64_t min_i(int64_t a, int64_t b) { return a < b ? a : b; }

/* total cut into parts of at most `most`, as even as can be: part i begins here. */
static INLINE int64_t even_cut(int64_t total, int64_t parts, int64_t i)
{
	int64_t base = total / parts, extra = total % parts;
	return i * base + min_i(i, extra);
}

/* How many tasks a job of this much work wants. */
static INLINE int64_t tasks_wanted(double flop)
{
	if (flop < 2 * TASK_FLOP_LEAST)
		return 1;
	int64_t least = (int64_t)(flop / TASK_FLOP_LEAST), much = (int64_t)(flop / TASK_FLOP_MUCH);
	return min_i(least, much > 8 ? min_i(much, 4096) : 8);
}
