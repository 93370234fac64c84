/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine's single-precision peak in this run: independent FMA chains in registers, on all threads
 * of the pool at once. Every speed is printed beside a share of it.
 * Side: tests only. Trusts: its caller. Owns: nothing.
 */
#include "tests/bench/peak.h"
#include "sandbox/inside/engine/kernels/kernels.h"

#include <immintrin.h>
#include <string.h>
#include <time.h>

#define CHAINS 12        /* latency 4, two units: 8 are enough, 12 leave room */
#define LOOPS 2000000
#define ROUNDS 5

static float sink[64][64]; /* one row per thread, a cache line apart and more */

__attribute__((target("avx512f"))) static void loop_avx512(float *out)
{
	__m512 c[CHAINS], a = _mm512_set1_ps(0.999999f), b = _mm512_set1_ps(1e-6f);
	for (int i = 0; i < CHAINS; i++)
		c[i] = _mm512_set1_ps((float)i);
	for (int n = 0; n < LOOPS; n++)
#pragma GCC unroll 12
		for (int i = 0; i < CHAINS; i++)
			c[i] = _mm512_fmadd_ps(c[i], a, b);
	for (int i = 1; i < CHAINS; i++)
		c[0] = _mm512_add_ps(c[0], c[i]);
	_mm512_storeu_ps(out, c[0]);
}

__attribute__((target("avx2,fma"))) static void loop_avx2(float *out)
{
	__m256 c[CHAINS], a = _mm256_set1_ps(0.999999f), b = _mm256_set1_ps(1e-6f);
	for (int i = 0; i < CHAINS; i++)
		c[i] = _mm256_set1_ps((float)i);
	for (int n = 0; n < LOOPS; n++)
#pragma GCC unroll 12
		for (int i = 0; i < CHAINS; i++)
			c[i] = _mm256_fmadd_ps(c[i], a, b);
	for (int i = 1; i < CHAINS; i++)
		c[0] = _mm256_add_ps(c[0], c[i]);
	_mm256_storeu_ps(out, c[0]);
}

static void task_avx512(void *arg, uint32_t task, unsigned thread)
{
	(void)arg, (void)task;
	loop_avx512(sink[thread]);
}

static void task_avx2(void *arg, uint32_t task, unsigned thread)
{
	(void)arg, (void)task;
	loop_avx2(sink[thread]);
}

double peak_gflops(struct pool *pool)
{
	double best = 0;
	int wide = level_is_supported(LEVEL_AVX512);
	if (!level_is_supported(LEVEL_AVX2) || pool_threads(pool) > 64)
		return 0;
	for (int r = 0; r < ROUNDS; r++) {
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		pool_run(pool, wide ? task_avx512 : task_avx2, NULL, pool_threads(pool));
		clock_gettime(CLOCK_MONOTONIC, &b);
		double ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
		double flop = 2.0 * CHAINS * LOOPS * (wide ? 16 : 8) * pool_threads(pool);
		if (flop / ns > best)
			best = flop / ns;
	}
	return best;
}
