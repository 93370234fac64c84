/* SPDX-License-Identifier: Apache-2.0
 *
 * Flat, row and layout kernels. A tail of fewer than 16 elements goes through the same vector
 * operations with the missing lanes zero, so an element's bits never depend on where it stands.
 *
 * Side: inside. Trusts: its arguments. Owns: nothing. Included once per level, after body_math.h.
 */

/* y[i] = EXPR of v (and u) over n elements. */
#define MAP(EXPR)                                            \
	do {                                                     \
		size_t i = 0;                                        \
		for (; i + 16 <= n; i += 16) {                       \
			v16 v = v_load(x + i);                           \
			v_store(y + i, EXPR);                            \
		}                                                    \
		if (i < n) {                                         \
			v16 v = v_load_part(x + i, 0, (int)(n - i));     \
			v_store_part(y + i, EXPR, 0, (int)(n - i));      \
		}                                                    \
	} while (0)

static void k_unary(enum unary op, float *y, const float *x, size_t n)
{
	switch (op) {
	case UN_EXP: MAP(m_exp(v)); break;
	case UN_LOG: MAP(m_log(v)); break;
	case UN_SQRT: MAP(v_sqrt(v)); break;
	case UN_RECIPROCAL: MAP(v_div(v_set1(1.0f), v)); break;
	case UN_NEG: MAP(v_xor(v, SIGN_BIT)); break;
	case UN_ABS: MAP(v_and(v, ABS_BITS)); break;
	case UN_ERF: MAP(m_erf(v)); break;
	case UN_TANH: MAP(m_tanh(v)); break;
	case UN_SIGMOID: MAP(m_sigmoid(v)); break;
	case UN_RELU: MAP(v_max(v_set1(0.0f), v)); break;
	case UN_FLOOR: MAP(v_floor(v)); break;
	case UN_CEIL: MAP(v_xor(v_floor(v_xor(v, SIGN_BIT)), SIGN_BIT)); break;
	case UN_SQUARE: MAP(v_mul(v, v)); break;
	case UN__MAX: break;
	}
}

/* Maximum and minimum of elementwise operators hand a NaN on, whichever operand it is. */
static INLINE v16 m_binary(enum binary op, v16 a, v16 b)
{
	switch (op) {
	case BIN_ADD: return v_add(a, b);
	case BIN_SUB: return v_sub(a, b);
	case BIN_MUL: return v_mul(a, b);
	case BIN_DIV: return v_div(a, b);
	case BIN_MAX: return v_if_nan(a, a, v_max(a, b));
	case BIN_MIN: return v_if_nan(a, a, v_min(a, b));
	case BIN__MAX: break;
	}
	return a;
}

#define BINARY_CASES(CASE)                                                            \
	switch (op) {                                                                     \
	case BIN_ADD: CASE(BIN_ADD); break;                                               \
	case BIN_SUB: CASE(BIN_SUB); break;                                               \
	case BIN_MUL: CASE(BIN_MUL); break;                                               \
	case BIN_DIV: CASE(BIN_DIV); break;                                               \
	case BIN_MAX: CASE(BIN_MAX); break;                                               \
	case BIN_MIN: CASE(BIN_MIN); break;                                               \
	case BIN__MAX: break;                                                             \
	}

static INLINE void e_binary(enum binary op, float *y, const float *a, const float *b, size_t n)
{
	size_t i = 0;
	for (; i + 16 <= n; i += 16)
		v_store(y + i, m_binary(op, v_load(a + i), v_load(b + i)));
	int rest = (int)(n - i);
	if (rest)
		v_store_part(y + i, m_binary(op, v_load_part(a + i, 0, rest), v_load_part(b + i, 0, rest)), 0, rest);
}

static void k_binary(enum binary op, float *y, const float *a, const float *b, size_t n)
{
#define CASE(OP) e_binary(OP, y, a, b, n)
	BINARY_CASES(CASE)
#undef CASE
}

static void k_binary_scalar(enum binary op, float *y, const float *x, float b, bool b_first, size_t n)
{
	v16 s = v_set1(b);
#define CASE(OP)                              \
	if (b_first)                              \
		MAP(m_binary(OP, s, v));              \
	else                                      \
		MAP(m_binary(OP, v, s))
	BINARY_CASES(CASE)
#undef CASE
}

static INLINE void e_block_binary(enum binary op, float *y, const float *x, const float *s, int64_t blocks,
                                  int64_t hw)
{
	for (int64_t b = 0; b < blocks; b++) {
		v16 c = v_load(s + b * 16);
		for (int64_t i = 0; i < hw; i++, x += 16, y += 16)
			v_store(y, m_binary(op, v_load(x), c));
	}
}

static void k_block_binary(enum binary op, float *y, const float *x, const float *s, int64_t blocks,
                           int64_t hw)
{
#define CASE(OP) e_block_binary(OP, y, x, s, blocks, hw)
	BINARY_CASES(CASE)
#undef CASE
}

/* The affine tail of an activation. */
static INLINE v16 m_post(const struct activation *a, v16 v)
{
	return a->post ? v_fma(v, v_set1(a->post_mul), v_set1(a->post_add)) : v;
}

static void k_activate(struct activation a, float *y, const float *x, size_t n)
{
	struct activation f = a;
	switch (a.kind) { /* constant kinds: each loop is specialised */
#define CASE(KIND) case KIND: f.kind = KIND; MAP(m_post(&f, m_act(&f, v))); break;
	CASE(ACT_NONE)
	CASE(ACT_RELU)
	CASE(ACT_CLIP)
	CASE(ACT_LEAKY)
	CASE(ACT_HARDSIGMOID)
	CASE(ACT_HARDSWISH)
	CASE(ACT_SIGMOID)
	CASE(ACT_TANH)
	CASE(ACT_GELU_ERF)
	CASE(ACT_SWISH)
	CASE(ACT_GELU_TANH)
#undef CASE
	case ACT__MAX: break;
	}
}

static void k_block_affine(struct activation a, float *y, const float *x, const float *scale,
                           const float *shift, int64_t blocks, int64_t hw)
{
	for (int64_t b = 0; b < blocks; b++) {
		v16 m = v_load(scale + b * 16), c = v_load(shift + b * 16);
		float *row = y;
		for (int64_t i = 0; i < hw; i++, x += 16, y += 16)
			v_store(y, v_fma(v_load(x), m, c));
		if (a.kind != ACT_NONE || a.post)
			k_activate(a, row, row, (size_t)hw * 16);
	}
}

/* --- reductions ------------------------------------------------------------------------------------ */

static INLINE v16 m_reduce(enum reduce op, v16 acc, v16 v)
{
	switch (op) {
	case RED_SUM: return v_add(acc, v);
	case RED_SUMSQ: return v_fma(v, v, acc);
	case RED_MAX: return v_max(v, acc); /* a NaN element is passed over */
	case RED_MIN: return v_min(v, acc);
	case RED__MAX: break;
	}
	return acc;
}

static INLINE float m_reduce_start(enum reduce op)
{
	return op == RED_MAX ? -F_INF : op == RED_MIN ? F_INF : 0.0f;
}

static INLINE float e_reduce(enum reduce op, const float *x, size_t n)
{
	v16 start = v_set1(m_reduce_start(op)), acc = start;
	size_t i = 0;
	for (; i + 16 <= n; i += 16)
		acc = m_reduce(op, acc, v_load(x + i));
	float lanes[16];
	v_store(lanes, start);
	if (i < n) {
		memcpy(lanes, x + i, (n - i) * sizeof *x);
		acc = m_reduce(op, acc, v_load(lanes));
	}
	if (op == RED_SUM || op == RED_SUMSQ)
		return m_tree_sum(acc);
	v_store(lanes, acc);
	for (int j = 1; j < 16; j++)
		lanes[0] = (op == RED_MAX ? lanes[j] > lanes[0] : lanes[j] < lanes[0]) ? lanes[j] : lanes[0];
	return lanes[0];
}

static float k_sum(const float *x, size_t n) { return e_reduce(RED_SUM, x, n); }
static float k_max(const float *x, size_t n) { return e_reduce(RED_MAX, x, n); }
static float k_reduce(enum reduce op, const float *x, size_t n)
{
	switch (op) {
	case RED_SUM: return e_reduce(RED_SUM, x, n);
	case RED_SUMSQ: return e_reduce(RED_SUMSQ, x, n);
	case RED_MAX: return e_reduce(RED_MAX, x, n);
	case RED_MIN: return e_reduce(RED_MIN, x, n);
	case RED__MAX: break;
	}
	return 0.0f;
}

static void k_reduce_rows(enum reduce op, float *y, const float *x, size_t rows, size_t cols, size_t ldx)
{
	for (size_t c = 0; c < cols; c += 16) {
		int lanes = cols - c < 16 ? (int)(cols - c) : 16;
		v16 acc = v_set1(m_reduce_start(op));
		for (size_t r = 0; r < rows; r++)
			acc = m_reduce(op, acc, v_load_part(x + r * ldx + c, 0, lanes));
		v_store_part(y + c, acc, 0, lanes);
	}
}

static void k_softmax(float *y, const float *x, size_t n)
{
	v16 top = v_set1(k_max(x, n)), sum = v_set1(0.0f);
	size_t i = 0;
	for (; i + 16 <= n; i += 16) {
		v16 e = m_exp(v_sub(v_load(x + i), top));
		sum = v_add(sum, e);
		v_store(y + i, e);
	}
	if (i < n) {
		int rest = (int)(n - i);
		v16 e = v_keep(m_exp(v_sub(v_load_part(x + i, 0, rest), top)), rest);
		sum = v_add(sum, e);
		v_store_part(y + i, e, 0, rest);
	}
	k_binary_scalar(BIN_MUL, y, y, 1.0f / m_tree_sum(sum), false, n);
}

static void k_layernorm(float *y, const float *x, const float *gamma, const float *beta, float eps, size_t n)
{
	float mean = k_sum(x, n) / (float)n;
	v16 m = v_set1(mean), acc = v_set1(0.0f);
	for (size_t i = 0; i < n; i += 16) {
		int lanes = n - i < 16 ? (int)(n - i) : 16;
		v16 d = v_keep(v_sub(v_load_part(x + i, 0, lanes), m), lanes);
		acc = v_fma(d, d, acc);
	}
	v16 scale = v_div(v_set1(1.0f), v_sqrt(v_set1(m_tree_sum(acc) / (float)n + eps)));
	for (size_t i = 0; i < n; i += 16) {
		int lanes = n - i < 16 ? (int)(n - i) : 16;
		v16 v = v_mul(v_sub(v_load_part(x + i, 0, lanes), m), scale);
		v = gamma ? v_mul(v, v_load_part(gamma + i, 0, lanes)) : v;
		v = beta ? v_add(v, v_load_part(beta + i, 0, lanes)) : v;
		v_store_part(y + i, v, 0, lanes);
	}
}

/* --- layouts ----------------------------------------------------------------------------------------
 * Moves only: no arithmetic, the same code on every level. Done in squares of 16 x 16 so that both
 * sides touch whole cache lines. */

static void e_transpose_square(float *restrict dst, int64_t ldd, const float *restrict src, int64_t lds,
                               int rows, int cols)
{
	for (int c = 0; c < cols; c++)
		for (int r = 0; r < rows; r++)
			dst[c * ldd + r] = src[r * lds + c];
}

#ifndef TRANSPOSE_16X16
#define TRANSPOSE_16X16(dst, ldd, src, lds) e_transpose_square(dst, ldd, src, lds, 16, 16)
#endif

static void k_transpose(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t rows, int64_t cols)
{
	for (int64_t r = 0; r < rows; r += 16)
		for (int64_t c = 0; c < cols; c += 16) {
			int nr = rows - r < 16 ? (int)(rows - r) : 16, nc = cols - c < 16 ? (int)(cols - c) : 16;
			if (nr == 16 && nc == 16)
				TRANSPOSE_16X16(dst + c * ldd + r, ldd, src + r * lds + c, lds);
			else
				e_transpose_square(dst + c * ldd + r, ldd, src + r * lds + c, lds, nr, nc);
		}
}

static void k_to_blocks(float *dst, const float *src, int64_t c, int64_t hw)
{
	for (int64_t b = 0; b < c; b += 16, dst += hw * 16) {
		int64_t lanes = c - b < 16 ? c - b : 16;
		if (lanes < 16)
			memset(dst, 0, (size_t)hw * 64);
		k_transpose(dst, 16, src + b * hw, hw, lanes, hw);
	}
}

static void k_from_blocks(float *dst, const float *src, int64_t c, int64_t hw)
{
	for (int64_t b = 0; b < c; b += 16, src += hw * 16)
		k_transpose(dst + b * hw, hw, src, 16, hw, c - b < 16 ? c - b : 16);
}

static void k_rows_to_blocks(float *dst, const float *src, int64_t ld, int64_t c, int64_t hw)
{
	for (int64_t b = 0; b < c; b += 16)
		for (int64_t i = 0; i < hw; i++, dst += 16)
			v_store(dst, v_load_part(src + i * ld + b, 0, c - b < 16 ? (int)(c - b) : 16));
}

static void k_blocks_to_rows(float *dst, int64_t ld, const float *src, int64_t c, int64_t hw)
{
	for (int64_t b = 0; b < c; b += 16)
		for (int64_t i = 0; i < hw; i++, src += 16)
			v_store_part(dst + i * ld + b, v_load(src), 0, c - b < 16 ? (int)(c - b) : 16);
}

static void k_resize_nearest(float *y, const float *x, int64_t blocks, int64_t h_in, int64_t w_in,
                             int64_t h_out, int64_t w_out, const int32_t *map_h, const int32_t *map_w)
{
	for (int64_t b = 0; b < blocks; b++, x += h_in * w_in * 16)
		for (int64_t i = 0; i < h_out; i++) {
			const float *row = x + map_h[i] * w_in * 16;
			for (int64_t j = 0; j < w_out; j++, y += 16)
				v_store(y, v_load(row + (int64_t)map_w[j] * 16));
		}
}

static void k_lookup_rows(float *y, const float *table, const int32_t *ids, size_t n, size_t width)
{
	for (size_t i = 0; i < n; i++)
		memcpy(y + i * width, table + (size_t)ids[i] * width, width * sizeof *y);
}
