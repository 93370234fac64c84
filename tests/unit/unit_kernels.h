/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernels' unit tests share: seeded numbers, buffers that end at a guard, a pool of two
 * threads, the levels that this machine can run.
 * Side: test. Trusts: nothing. Owns: its memory until exit.
 */
#ifndef FUMEHOOD_UNIT_KERNELS_H
#define FUMEHOOD_UNIT_KERNELS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 0x5ca1ab1eu

static uint64_t rng_state = 88172645463325252u;

static inline uint64_t rng_next(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}
static inline float rng_float(void) { return (float)((double)(rng_next() >> 11) * 0x1p-53 * 2.0 - 1.0); }
static inline int64_t rng_int(int64_t lo, int64_t hi)
{
	return lo + (int64_t)(rng_next() % (uint64_t)(hi - lo + 1));
}

/* n floats, 64-aligned, with 64 guard words behind them. */
static inline float *floats_new(size_t n)
{
	size_t bytes = (n * 4 + 256 + 63) & ~(size_t)63;
	float *p = aligned_alloc(64, bytes);
	assert_non_null(p);
	for (size_t i = 0; i < bytes / 4; i++)
		memcpy(p + i, &(uint32_t){ GUARD }, 4);
	return p;
}
static inline float *floats_random(size_t n)
{
	float *p = floats_new(n);
	for (size_t i = 0; i < n; i++)
		p[i] = rng_float();
	return p;
}
static inline void guard_check(const float *p, size_t n)
{
	for (size_t i = n; i < n + 64; i++) {
		uint32_t u;
		memcpy(&u, p + i, 4);
		if (u != GUARD)
			fail_msg("element %zu behind a buffer of %zu was written", i - n, n);
	}
}

/* Bit for bit, except that any NaN equals any NaN. */
static inline void same_bits(const char *what, const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t u, v;
		memcpy(&u, a + i, 4);
		memcpy(&v, b + i, 4);
		if (u != v && !(isnan(a[i]) && isnan(b[i])))
			fail_msg("%s: element %zu of %zu: %.9g (%08x) and %.9g (%08x)", what, i, n, a[i], u, b[i], v);
	}
}

/* |a - b| <= tol * (scale of the sum behind b). */
static inline void near(const char *what, float a, double b, double scale, double tol)
{
	if (!(fabs((double)a - b) <= tol * (scale + 1e-30)))
		fail_msg("%s: %.9g instead of %.9g (scale %.3g)", what, (double)a, b, scale);
}

static inline struct pool *pool_two(void)
{
	static struct pool *p;
	if (!p) {
		void *mem = aligned_alloc(64, (pool_bytes(2) + 63) & ~(size_t)63);
		void *stack = aligned_alloc(4096, 1 << 20);
		assert_true(mem && stack);
		assert_int_equal(pool_start(&p, mem, 2, stack, 1 << 20), 0);
	}
	return p;
}

/* The next level after l that this machine runs, LEVEL__MAX at the end; start with -1. */
static inline int level_next(int l)
{
	do
		l++;
	while (l < LEVEL__MAX && !level_is_supported((enum level)l));
	return l;
}
#define EACH_LEVEL(l) (int l = level_next(-1); l < LEVEL__MAX; l = level_next(l))

#endif
