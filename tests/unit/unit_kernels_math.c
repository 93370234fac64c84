/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementwise, row and layout kernels: errors of the polynomials against double precision over their
 * whole range, special values, levels bit for bit, tails at every length.
 *
 * Largest errors measured (units in the last place of the float result): exp 1.02, log 0.73,
 * erf 1.10, tanh 1.19, sigmoid 2.09. The bounds below leave a little room.
 */
#include "tests/unit/unit_kernels.h"

static double sigmoid_double(double x) { return 1 / (1 + exp(-x)); }
static double floor_double(double x) { return floor(x); }
static double recip_double(double x) { return 1 / x; }
static double neg_double(double x) { return -x; }
static double square_double(double x) { return x * x; }
static double relu_double(double x) { return x > 0 ? x : 0; }

static const struct unary_row {
	enum unary op;
	const char *name;
	double (*f)(double);
	double lo, hi, max_ulp;
} unary_rows[] = {
	{UN_EXP, "exp", exp, -87.3, 88.7, 1.1},
	{UN_LOG, "log", log, 1e-37, 1e37, 0.8},
	{UN_SQRT, "sqrt", sqrt, 0, 1e30, 0.51},
	{UN_RECIPROCAL, "reciprocal", recip_double, 0.001, 1e6, 0.51},
	{UN_NEG, "neg", neg_double, -10, 10, 0},
	{UN_ABS, "abs", fabs, -10, 10, 0},
	{UN_ERF, "erf", erf, -5, 5, 1.2},
	{UN_TANH, "tanh", tanh, -12, 12, 1.3},
	{UN_SIGMOID, "sigmoid", sigmoid_double, -80, 80, 2.2},
	{UN_RELU, "relu", relu_double, -3, 3, 0},
	{UN_FLOOR, "floor", floor_double, -100, 100, 0},
	{UN_CEIL, "ceil", ceil, -100, 100, 0},
	{UN_SQUARE, "square", square_double, -100, 100, 0.51},
};
_Static_assert(sizeof unary_rows / sizeof *unary_rows == UN__MAX, "a row for each function");

static double ulp_error(float got, double want)
{
	float w = (float)want;
	if (!isfinite(w) || w == 0)
		return got == w ? 0 : 1e9;
	int e;
	frexp(fabs((double)w), &e);
	return fabs((double)got - want) / ldexp(1, e - 24);
}

static void unary_errors(void **state)
{
	(void)state;
	enum { N = 200000 };
	float *x = floats_new(N), *y = floats_new(N), *want = floats_new(N);
	for (size_t r = 0; r < UN__MAX; r++) {
		const struct unary_row *u = &unary_rows[r];
		for (int i = 0; i < N; i++) {
			double t = (double)i / (N - 1);
			/* log over its whole range of exponents; others evenly, a third of them near zero */
			x[i] = u->op == UN_LOG ? (float)(u->lo * pow(u->hi / u->lo, t))
								   : (float)(u->lo + (u->hi - u->lo) * t);
			if (u->op != UN_LOG && u->op != UN_RECIPROCAL && i % 3 == 0)
				x[i] *= 0.01f;
		}
		kernels_get(LEVEL_C)->unary_f32(u->op, want, x, N);
		double worst = 0;
		for (int i = 0; i < N; i++) {
			double e = ulp_error(want[i], u->f((double)x[i]));
			worst = e > worst ? e : worst;
			if (e > u->max_ulp)
				fail_msg("%s(%.9g) = %.9g, %.2f ulp off", u->name, (double)x[i], (double)want[i], e);
		}
		printf("%-10s %.2f ulp\n", u->name, worst);
		for EACH_LEVEL (l) {
			kernels_get((enum level)l)->unary_f32(u->op, y, x, N);
			same_bits(u->name, y, want, N);
		}
	}
	free(x);
	free(y);
	free(want);
}

static float one_unary(const struct kernels *k, enum unary op, float x)
{
	float y;
	k->unary_f32(op, &y, &x, 1);
	return y;
}

static void unary_specials(void **state)
{
	(void)state;
	for EACH_LEVEL (l) {
		const struct kernels *k = kernels_get((enum level)l);
		for (int op = 0; op < UN__MAX; op++)
			assert_true(isnan(one_unary(k, (enum unary)op, NAN)));
		assert_true(one_unary(k, UN_EXP, INFINITY) == INFINITY && one_unary(k, UN_EXP, 200) == INFINITY);
		assert_true(one_unary(k, UN_EXP, -INFINITY) == 0 && one_unary(k, UN_EXP, -200) == 0);
		assert_true(one_unary(k, UN_EXP, 0) == 1 && one_unary(k, UN_LOG, 1) == 0);
		assert_true(one_unary(k, UN_LOG, 0) == -INFINITY && isnan(one_unary(k, UN_LOG, -1)));
		assert_true(one_unary(k, UN_LOG, INFINITY) == INFINITY && one_unary(k, UN_LOG, 1e-42f) == -INFINITY);
		assert_true(one_unary(k, UN_TANH, INFINITY) == 1 && one_unary(k, UN_TANH, -INFINITY) == -1);
		assert_true(one_unary(k, UN_ERF, 20) == 1 && one_unary(k, UN_ERF, -INFINITY) == -1);
		assert_true(one_unary(k, UN_SIGMOID, -INFINITY) == 0 && one_unary(k, UN_SIGMOID, INFINITY) == 1);
		assert_true(signbit(one_unary(k, UN_TANH, -0.0f)) && signbit(one_unary(k, UN_CEIL, -0.4f)));
		assert_true(signbit(one_unary(k, UN_FLOOR, -0.0f)) && one_unary(k, UN_FLOOR, -1e30f) == -1e30f);
		assert_true(isnan(one_unary(k, UN_SQRT, -1)) && one_unary(k, UN_RECIPROCAL, 0) == INFINITY);
	}
}

static void fill_special(float *x, size_t n)
{
	static const uint32_t bits[] = {0x7fc00001, 0xffc12345, 0x7f800000, 0xff800000,
									0x80000000, 1,          0x00800000};
	for (size_t i = 0; i < n; i++) {
		x[i] = rng_float() * 8;
		if (rng_int(0, 9) == 0)
			memcpy(&x[i], &bits[rng_next() % 7], 4);
	}
}

static void flat_levels(void **state)
{
	(void)state;
	for (size_t n = 1; n < 70; n++) {
		float *a = floats_new(n), *b = floats_new(n), *want = floats_new(n), *y = floats_new(n);
		fill_special(a, n);
		fill_special(b, n);
		const struct kernels *kc = kernels_get(LEVEL_C);
		for EACH_LEVEL (l) {
			const struct kernels *k = kernels_get((enum level)l);
			for (int op = 0; op < BIN__MAX; op++) {
				kc->binary_f32((enum binary)op, want, a, b, n);
				k->binary_f32((enum binary)op, y, a, b, n);
				same_bits("binary", y, want, n);
				for (int first = 0; first < 2; first++) {
					kc->binary_scalar_f32((enum binary)op, want, a, b[0], first, n);
					k->binary_scalar_f32((enum binary)op, y, a, b[0], first, n);
					same_bits("scalar", y, want, n);
				}
			}
			for (int op = 0; op < UN__MAX; op++) {
				kc->unary_f32((enum unary)op, want, a, n);
				k->unary_f32((enum unary)op, y, a, n);
				same_bits("unary", y, want, n);
			}
			for (int op = 0; op < ACT__MAX; op++) {
				struct activation act = { (enum act)op, 0.2f, 0.5f, n % 2, 1.5f, -0.25f };
				kc->activate_f32(act, want, a, n);
				memcpy(y, a, n * 4);
				k->activate_f32(act, y, y, n);
				same_bits("activation", y, want, n);
			}
			guard_check(y, n);
		}
		for (size_t i = 0; i < n; i++) {
			kc->binary_f32(BIN_MAX, y, a, b, n);
			bool nan = isnan(a[i]) || isnan(b[i]);
			assert_true(nan ? isnan(y[i]) : y[i] == (a[i] > b[i] ? a[i] : b[i]));
		}
		free(a);
		free(b);
		free(want);
		free(y);
	}
}

static void rows(void **state)
{
	(void)state;
	for (int round = 0; round < 120; round++) {
		size_t n = (size_t)rng_int(1, 200), cols = (size_t)rng_int(1, 50), m = (size_t)rng_int(1, 9);
		float *x = floats_random(n), *g = floats_random(n), *b = floats_random(n), *want = floats_new(n),
			  *y = floats_new(n);
		float *t = floats_random(m * cols), *rw = floats_new(cols), *ry = floats_new(cols);
		const struct kernels *kc = kernels_get(LEVEL_C);
		double sum = 0, sq = 0, top = -INFINITY, low = INFINITY, var = 0, soft = 0;
		for (size_t i = 0; i < n; i++) {
			sum += (double)x[i];
			sq += (double)x[i] * (double)x[i];
			top = fmax(top, (double)x[i]);
			low = fmin(low, (double)x[i]);
		}
		for (size_t i = 0; i < n; i++) {
			var += pow((double)x[i] - sum / (double)n, 2) / (double)n;
			soft += exp((double)x[i] - top);
		}
		near("sum", kc->sum_f32(x, n), sum, (double)n, 1e-6);
		near("sum of squares", kc->reduce_f32(RED_SUMSQ, x, n), sq, sq, 1e-6);
		assert_true((double)kc->max_f32(x, n) == top && (double)kc->reduce_f32(RED_MIN, x, n) == low);
		kc->softmax_f32(want, x, n);
		for (size_t i = 0; i < n; i++)
			near("softmax", want[i], exp((double)x[i] - top) / soft, 1, 1e-6);
		for EACH_LEVEL (l) {
			const struct kernels *k = kernels_get((enum level)l);
			for (int op = 0; op < RED__MAX; op++) {
				float p = kc->reduce_f32((enum reduce)op, x, n), q = k->reduce_f32((enum reduce)op, x, n);
				same_bits("reduce", &p, &q, 1);
				kc->reduce_rows_f32((enum reduce)op, rw, t, m, cols, cols);
				k->reduce_rows_f32((enum reduce)op, ry, t, m, cols, cols);
				same_bits("reduce rows", ry, rw, cols);
				guard_check(ry, cols);
			}
			k->softmax_f32(y, x, n);
			same_bits("softmax", y, want, n);
		}
		for (size_t c = 0; c < cols; c++) {
			double s = 0;
			for (size_t r = 0; r < m; r++)
				s += (double)t[r * cols + c];
			kc->reduce_rows_f32(RED_SUM, rw, t, m, cols, cols);
			near("column sum", rw[c], s, (double)m, 1e-6);
		}
		kc->layernorm_f32(want, x, g, b, 1e-3f, n);
		for (size_t i = 0; i < n; i++)
			near("layernorm", want[i],
				 ((double)x[i] - sum / (double)n) / sqrt(var + 1e-3) * (double)g[i] + (double)b[i], 10, 2e-6);
		for EACH_LEVEL (l) {
			kernels_get((enum level)l)->layernorm_f32(y, x, g, b, 1e-3f, n);
			same_bits("layernorm", y, want, n);
			guard_check(y, n);
		}
		float *all[] = { x, g, b, want, y, t, rw, ry };
		for (int i = 0; i < 8; i++)
			free(all[i]);
	}
}

static void layouts(void **state)
{
	(void)state;
	for (int round = 0; round < 60; round++) {
		int64_t c = rng_int(1, 50), hw = rng_int(1, 60), blocks = (c + 15) / 16, ld = c + rng_int(0, 4);
		size_t n = (size_t)(c * hw), nb = (size_t)(blocks * 16 * hw);
		float *x = floats_random(n), *b = floats_new(nb), *y = floats_new(n),
			  *r = floats_new((size_t)(hw * ld));
		float *s = floats_random((size_t)blocks * 16), *want = floats_new(nb), *got = floats_new(nb);
		for EACH_LEVEL (l) {
			const struct kernels *k = kernels_get((enum level)l);
			k->to_blocks(b, x, c, hw);
			guard_check(b, nb);
			for (int64_t i = 0; i < hw; i++)
				for (int64_t ch = 0; ch < blocks * 16; ch++)
					assert_true(b[(ch / 16 * hw + i) * 16 + ch % 16] == (ch < c ? x[ch * hw + i] : 0));
			k->from_blocks(y, b, c, hw);
			same_bits("from blocks", y, x, n);
			guard_check(y, n);
			k->blocks_to_rows(r, ld, b, c, hw);
			for (int64_t i = 0; i < hw; i++)
				for (int64_t ch = 0; ch < c; ch++)
					assert_true(r[i * ld + ch] == x[ch * hw + i]);
			guard_check(r, (size_t)(hw * ld));
			k->rows_to_blocks(got, r, ld, c, hw);
			same_bits("rows", got, b, nb);
			k->transpose_f32(y, c, x, hw, c, hw);
			for (int64_t i = 0; i < hw; i++)
				for (int64_t ch = 0; ch < c; ch++)
					assert_true(y[i * c + ch] == x[ch * hw + i]);
			guard_check(y, n);
			k->block_binary_f32(BIN_MUL, got, b, s, blocks, hw);
			for (size_t e = 0; e < nb; e++)
				assert_true(got[e] == b[e] * s[e / 16 / (size_t)hw * 16 + e % 16]);
			struct activation act = { .kind = ACT_HARDSWISH, .alpha = 0.2f, .beta = 0.5f };
			kernels_get(LEVEL_C)->block_affine_f32(act, want, b, s, s, blocks, hw);
			k->block_affine_f32(act, got, b, s, s, blocks, hw);
			same_bits("affine", got, want, nb);
		}
		float *all[] = { x, b, y, r, s, want, got };
		for (int i = 0; i < 7; i++)
			free(all[i]);
	}
}

static void moves(void **state)
{
	(void)state;
	const int32_t mh[] = { 0, 0, 1, 1, 2 }, mw[] = { 1, 0, 1 }, ids[] = { 3, 0, 3, 1 };
	float *x = floats_random(2 * 3 * 2 * 16), *y = floats_new(2 * 5 * 3 * 16), *table = floats_random(4 * 7),
		  *out = floats_new(28);
	for EACH_LEVEL (l) {
		kernels_get((enum level)l)->resize_nearest_f32(y, x, 2, 3, 2, 5, 3, mh, mw);
		for (int b = 0; b < 2; b++)
			for (int i = 0; i < 5; i++)
				for (int j = 0; j < 3; j++)
					assert_memory_equal(y + ((b * 5 + i) * 3 + j) * 16,
										x + ((b * 3 + mh[i]) * 2 + mw[j]) * 16, 64);
		guard_check(y, 2 * 5 * 3 * 16);
		kernels_get((enum level)l)->lookup_rows_f32(out, table, ids, 4, 7);
		for (int i = 0; i < 4; i++)
			assert_memory_equal(out + i * 7, table + ids[i] * 7, 28);
		guard_check(out, 28);
	}
	free(x);
	free(y);
	free(table);
	free(out);
}

static void levels(void **state)
{
	(void)state;
	assert_true(level_is_supported(LEVEL_C) && level_is_supported(level_detect()));
	assert_false(level_is_supported(LEVEL__MAX));
	assert_false(level_is_supported((enum level)-1));
	for (int l = 0; l < LEVEL__MAX; l++) {
		const struct kernels *k = kernels_get((enum level)l);
		assert_true((k != NULL) == level_is_supported((enum level)l));
		if (k)
			assert_int_equal(k->level, l);
	}
	assert_string_equal(level_name(LEVEL_AVX512), "AVX512");
	assert_null(kernels_get(LEVEL__MAX));
}

int main(void)
{
	fp_env_set();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unary_errors), cmocka_unit_test(unary_specials), cmocka_unit_test(flat_levels),
		cmocka_unit_test(rows),         cmocka_unit_test(layouts),        cmocka_unit_test(moves),
		cmocka_unit_test(levels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
