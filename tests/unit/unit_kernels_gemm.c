/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products and the LSTM step: plain C against double precision, each level against plain C bit
 * for bit, and that the bits do not move with rows in the batch, threads, place or K blocking.
 */
#include "tests/unit/unit_kernels.h"

static const enum act acts[] = { ACT_NONE, ACT_RELU, ACT_CLIP, ACT_LEAKY, ACT_HARDSIGMOID, ACT_HARDSWISH,
	                             ACT_SIGMOID, ACT_TANH, ACT_GELU_ERF, ACT_SWISH, ACT_GELU_TANH };

static double act_double(const struct activation *a, double x)
{
	double hs = fmin(1, fmax(0, (double)a->alpha * x + (double)a->beta)), y = x;
	switch (a->kind) {
	case ACT_RELU: y = x > 0 ? x : 0; break;
	case ACT_CLIP: y = fmin((double)a->beta, fmax((double)a->alpha, x)); break;
	case ACT_LEAKY: y = x < 0 ? x * (double)a->alpha : x; break;
	case ACT_HARDSIGMOID: y = hs; break;
	case ACT_HARDSWISH: y = x * hs; break;
	case ACT_SIGMOID: y = 1 / (1 + exp(-x)); break;
	case ACT_TANH: y = tanh(x); break;
	case ACT_GELU_ERF: y = 0.5 * x * (1 + erf(x * M_SQRT1_2)); break;
	case ACT_SWISH: y = x / (1 + exp(-(double)a->alpha * x)); break;
	case ACT_GELU_TANH: y = 0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x * x * x))); break;
	case ACT_NONE:
	case ACT__MAX: break;
	}
	return a->post ? y * (double)a->post_mul + (double)a->post_add : y;
}

struct problem {
	struct gemm g;
	float *a, *b, *packed, *bias, *residual, *want;
};

static void problem_make(struct problem *p, int64_t m, int64_t n, int64_t k)
{
	int64_t lda = k + rng_int(0, 5), ldc = n + rng_int(0, 5);
	p->a = floats_random((size_t)(m * lda));
	p->b = floats_random((size_t)(k * n));
	p->packed = floats_new(gemm_pack_bytes(k, n) / 4);
	gemm_pack(p->packed, p->b, n, false, k, n);
	guard_check(p->packed, gemm_pack_bytes(k, n) / 4);
	p->bias = rng_int(0, 2) ? floats_random((size_t)n) : NULL;
	p->residual = rng_int(0, 2) ? NULL : floats_random((size_t)(m * ldc));
	struct activation act = { .kind = acts[rng_next() % 11], .alpha = 0.2f, .beta = 0.5f,
		                      .post = rng_int(0, 3) == 0, .post_mul = 1.5f, .post_add = -0.25f };
	p->g = (struct gemm){ m, n, k, p->a, lda, p->packed, NULL, ldc, p->bias, p->residual, act };
	p->want = floats_new((size_t)(m * ldc));
}

static void problem_free(struct problem *p)
{
	free(p->a);
	free(p->b);
	free(p->packed);
	free(p->bias);
	free(p->residual);
	free(p->want);
}

static void run(const struct kernels *k, struct pool *pool, struct gemm g, float *c)
{
	g.c = c;
	k->gemm_f32(pool, &g);
}

/* Measured: 40 random shapes stay below 3e-7 of the sum of absolute products. */
static void plain_c_against_double(void **state)
{
	(void)state;
	const struct kernels *kc = kernels_get(LEVEL_C);
	for (int round = 0; round < 40; round++) {
		struct problem p;
		int64_t m = rng_int(1, 13), n = rng_int(1, 70), k = rng_int(1, 300);
		problem_make(&p, m, n, k);
		run(kc, NULL, p.g, p.want);
		guard_check(p.want, (size_t)(m * p.g.ldc));
		for (int64_t r = 0; r < m; r++)
			for (int64_t c = 0; c < n; c++) {
				double sum = p.bias ? (double)p.bias[c] : 0, scale = fabs(sum) + 1;
				for (int64_t i = 0; i < k; i++) {
					double v = (double)p.a[r * p.g.lda + i] * (double)p.b[i * n + c];
					sum += v;
					scale += fabs(v);
				}
				if (p.residual)
					sum += (double)p.residual[r * p.g.ldc + c];
				near("gemm", p.want[r * p.g.ldc + c], act_double(&p.g.act, sum), scale, 1e-6);
			}
		problem_free(&p);
	}
}

static void check_levels(int64_t m, int64_t n, int64_t k)
{
	struct problem p;
	problem_make(&p, m, n, k);
	size_t size = (size_t)(m * p.g.ldc);
	run(kernels_get(LEVEL_C), NULL, p.g, p.want);
	for EACH_LEVEL (l) {
		for (int threads = 1; threads <= 2; threads++) {
			float *c = floats_new(size);
			run(kernels_get((enum level)l), threads == 2 ? pool_two() : NULL, p.g, c);
			same_bits(level_name((enum level)l), c, p.want, size);
			guard_check(c, size);
			free(c);
		}
	}
	problem_free(&p);
}

static void levels_agree(void **state)
{
	(void)state;
	for (int round = 0; round < 150; round++)
		check_levels(rng_int(1, 40), rng_int(1, 150), rng_int(1, 100));
	check_levels(1, 64, 1500);
	check_levels(2, 700, 420);
	check_levels(7, 33, 2000); /* several passes over k for each height of tile */
	check_levels(100, 65, 800);
	check_levels(320, 17, 16);
}

/* Row r alone has the bits that it has among others: what makes a batch of requests safe. */
static void rows_stand_alone(void **state)
{
	(void)state;
	for EACH_LEVEL (l) {
		const struct kernels *k = kernels_get((enum level)l);
		for (int round = 0; round < 12; round++) {
			struct problem p;
			int64_t m = rng_int(2, 320) >> (l == LEVEL_C ? 4 : 0), n = rng_int(1, 90),
					depth = rng_int(1, 900);
			m = m < 2 ? 2 : m;
			problem_make(&p, m, n, depth);
			run(k, pool_two(), p.g, p.want);
			int64_t r = rng_int(0, m - 1);
			float *one = floats_new((size_t)p.g.ldc);
			struct gemm g = p.g;
			g.m = 1;
			g.a += r * g.lda;
			g.residual = g.residual ? g.residual + r * g.ldc : NULL;
			run(k, NULL, g, one);
			same_bits("a row alone", one, p.want + r * g.ldc, (size_t)n);
			free(one);
			problem_free(&p);
		}
	}
}

/* NaN (two payloads), infinities, -0 and subnormals in both operands: levels and row counts agree, and
 * a NaN in the weights of one column never reaches another. */
static void special_values(void **state)
{
	(void)state;
	fp_env_set();
	uint32_t bits[] = {0x7fc00001, 0xffc12345, 0x7f800000, 0xff800000, 0x80000000, 1, 0x807fffff, 0x7f7fffff};
	for (int round = 0; round < 60; round++) {
		struct problem p;
		int64_t m = rng_int(1, 9), n = rng_int(2, 70), k = rng_int(1, 40);
		problem_make(&p, m, n, k);
		for (int i = 0; i < 4; i++)
			memcpy(&p.b[rng_int(0, k - 1) * n + rng_int(1, n - 1)], &bits[rng_next() % 8], 4);
		memcpy(&p.a[rng_int(0, m - 1) * p.g.lda + rng_int(0, k - 1)], &bits[4 + rng_next() % 3], 4);
		gemm_pack(p.packed, p.b, n, false, k, n);
		run(kernels_get(LEVEL_C), NULL, p.g, p.want);
		for EACH_LEVEL (l) {
			float *c = floats_new((size_t)(m * p.g.ldc));
			run(kernels_get((enum level)l), NULL, p.g, c);
			for (int64_t r = 0; r < m; r++) {
				assert_true(memcmp(c + r * p.g.ldc, p.want + r * p.g.ldc, (size_t)n * 4) == 0);
				assert_false(isnan(c[r * p.g.ldc]));
			}
			free(c);
		}
		problem_free(&p);
	}
}

static void packing_a_transpose(void **state)
{
	(void)state;
	for (int round = 0; round < 30; round++) {
		int64_t k = rng_int(1, 50), n = rng_int(1, 50), ld = k + rng_int(0, 3);
		float *b = floats_random((size_t)(k * n)), *t = floats_random((size_t)(n * ld));
		for (int64_t i = 0; i < k; i++)
			for (int64_t j = 0; j < n; j++)
				t[j * ld + i] = b[i * n + j];
		size_t size = gemm_pack_bytes(k, n) / 4, used = (size_t)(k * ((n + 15) / 16 * 16));
		float *p = floats_new(size), *q = floats_new(size), *s = floats_new(size);
		gemm_pack(p, b, n, false, k, n);
		gemm_pack(q, t, ld, true, k, n);
		same_bits("packed", p, q, used);
		float *a = floats_random((size_t)(3 * k)), *c = floats_new((size_t)(3 * n)),
			  *d = floats_new((size_t)(3 * n));
		struct gemm g = { 3, n, k, a, k, p, c, n, NULL, NULL, { .kind = ACT_NONE } };
		for EACH_LEVEL (l) {
			const struct kernels *kk = kernels_get((enum level)l);
			kk->gemm_f32(NULL, &g);
			for (int trans = 0; trans < 2; trans++) {
				struct gemm_dynamic dyn = { g, trans ? t : b, trans ? ld : n, trans, s };
				dyn.g.c = d;
				dyn.g.packed_b = NULL;
				kk->gemm_dynamic_f32(pool_two(), &dyn);
				same_bits("dynamic", d, c, (size_t)(3 * n));
				guard_check(s, size);
			}
		}
		float *all[] = { b, t, p, q, s, a, c, d };
		for (int i = 0; i < 8; i++)
			free(all[i]);
	}
}

static double sigmoid_double(double x) { return 1 / (1 + exp(-x)); }

static void lstm_check(int64_t batch, int64_t in, int64_t hid)
{
	float *x = floats_random((size_t)(batch * in)), *h = floats_random((size_t)(batch * hid));
	float *c = floats_random((size_t)(batch * hid)), *w = floats_random((size_t)(4 * hid * in));
	float *r = floats_random((size_t)(4 * hid * hid)), *b = floats_random((size_t)(8 * hid));
	float *packed = floats_new(lstm_pack_bytes(in, hid) / 4);
	size_t size = (size_t)(batch * hid);
	lstm_pack(packed, w, r, b, in, hid);
	guard_check(packed, lstm_pack_bytes(in, hid) / 4);
	float *want_h = floats_new(size), *want_c = floats_new(size), *got_h = floats_new(size),
		  *got_c = floats_new(size);
	struct lstm l = { batch, in, hid, x, in, h, c, packed, want_h, want_c };
	kernels_get(LEVEL_C)->lstm_step_f32(NULL, &l);
	for (int64_t n = 0; n < batch; n++)
		for (int64_t u = 0; u < hid; u++) {
			double g[4];
			for (int q = 0; q < 4; q++) {
				int64_t row = q * hid + u;
				g[q] = (double)b[row] + (double)b[4 * hid + row];
				for (int64_t i = 0; i < in; i++)
					g[q] += (double)w[row * in + i] * (double)x[n * in + i];
				for (int64_t i = 0; i < hid; i++)
					g[q] += (double)r[row * hid + i] * (double)h[n * hid + i];
			}
			double cell = sigmoid_double(g[2]) * (double)c[n * hid + u] + sigmoid_double(g[0]) * tanh(g[3]);
			near("lstm c", want_c[n * hid + u], cell, 1, 1e-5);
			near("lstm h", want_h[n * hid + u], sigmoid_double(g[1]) * tanh(cell), 1, 1e-5);
		}
	for EACH_LEVEL (lv) {
		l.h_out = got_h;
		l.c_out = got_c;
		kernels_get((enum level)lv)->lstm_step_f32(pool_two(), &l);
		same_bits("lstm h", got_h, want_h, size);
		same_bits("lstm c", got_c, want_c, size);
		guard_check(got_h, size);
		guard_check(got_c, size);
	}
	float *all[] = { x, h, c, w, r, b, packed, want_h, want_c, got_h, got_c };
	for (int i = 0; i < 11; i++)
		free(all[i]);
}

static void lstm_step(void **state)
{
	(void)state;
	lstm_check(1, 128, 128);
	lstm_check(2, 64, 64);
	lstm_check(3, 5, 21);
	lstm_check(1, 1, 1);
}

int main(void)
{
	fp_env_set();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_c_against_double), cmocka_unit_test(levels_agree),
		cmocka_unit_test(rows_stand_alone),       cmocka_unit_test(special_values),
		cmocka_unit_test(packing_a_transpose),    cmocka_unit_test(lstm_step),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
