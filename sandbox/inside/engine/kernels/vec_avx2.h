/* SPDX-License-Identifier: Apache-2.0
 *
 * The vector of sixteen floats as two AVX registers; operations as vec_c.h defines them.
 * Side: inside. Trusts: its arguments. Owns: nothing.
 */
#ifndef FUMEHOOD_VEC_AVX2_H
#define FUMEHOOD_VEC_AVX2_H

#include "sandbox/inside/engine/kernels/vec_common.h"

#include <immintrin.h>

typedef struct {
	__m256 a, b;
} v16;

#define Y2(op, x, y) ((v16){ op((x).a, (y).a), op((x).b, (y).b) })

/* Mask of lanes lo..hi-1, lanes counted from base. */
static INLINE __m256i y_mask(int base, int lo, int hi)
{
	__m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	__m256i ge = _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(lo - base - 1));
	__m256i lt = _mm256_cmpgt_epi32(_mm256_set1_epi32(hi - base), lane);
	return _mm256_and_si256(ge, lt);
}
static INLINE v16 v_set1(float x) { return (v16){ _mm256_set1_ps(x), _mm256_set1_ps(x) }; }
static INLINE v16 v_load(const float *p) { return (v16){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) }; }
static INLINE void v_store(float *p, v16 v)
{
	_mm256_storeu_ps(p, v.a);
	_mm256_storeu_ps(p + 8, v.b);
}
static INLINE v16 v_load_part(const float *p, int lo, int hi)
{
	return (v16){ _mm256_maskload_ps(p, y_mask(0, lo, hi)), _mm256_maskload_ps(p + 8, y_mask(8, lo, hi)) };
}
static INLINE void v_store_part(float *p, v16 v, int lo, int hi)
{
	_mm256_maskstore_ps(p, y_mask(0, lo, hi), v.a);
	_mm256_maskstore_ps(p + 8, y_mask(8, lo, hi), v.b);
}
static INLINE v16 v_keep(v16 v, int n)
{
	return (v16){ _mm256_and_ps(v.a, _mm256_castsi256_ps(y_mask(0, 0, n))),
		          _mm256_and_ps(v.b, _mm256_castsi256_ps(y_mask(8, 0, n))) };
}
static INLINE v16 v_from(v16 a, v16 b, int n)
{
	return (v16){ _mm256_blendv_ps(b.a, a.a, _mm256_castsi256_ps(y_mask(0, 0, n))),
		          _mm256_blendv_ps(b.b, a.b, _mm256_castsi256_ps(y_mask(8, 0, n))) };
}
static INLINE v16 v_fma(v16 a, v16 b, v16 c)
{
	return (v16){ _mm256_fmadd_ps(a.a, b.a, c.a), _mm256_fmadd_ps(a.b, b.b, c.b) };
}
/* acc += a * b in place. Left to itself gcc 12 turns accumulators round among the registers (132, 213
 * forms), runs out of sixteen of them and spills: a quarter of the speed. */
static INLINE v16 v_acc(v16 a, v16 b, v16 acc)
{
	__asm__("vfmadd231ps %2, %1, %0" : "+x"(acc.a) : "x"(a.a), "x"(b.a));
	__asm__("vfmadd231ps %2, %1, %0" : "+x"(acc.b) : "x"(a.b), "x"(b.b));
	return acc;
}
static INLINE v16 v_add(v16 a, v16 b) { return Y2(_mm256_add_ps, a, b); }
static INLINE v16 v_sub(v16 a, v16 b) { return Y2(_mm256_sub_ps, a, b); }
static INLINE v16 v_mul(v16 a, v16 b) { return Y2(_mm256_mul_ps, a, b); }
static INLINE v16 v_div(v16 a, v16 b) { return Y2(_mm256_div_ps, a, b); }
static INLINE v16 v_sqrt(v16 a) { return (v16){ _mm256_sqrt_ps(a.a), _mm256_sqrt_ps(a.b) }; }
static INLINE v16 v_max(v16 a, v16 b) { return Y2(_mm256_max_ps, a, b); }
static INLINE v16 v_min(v16 a, v16 b) { return Y2(_mm256_min_ps, a, b); }
static INLINE v16 y_set_bits(uint32_t m)
{
	__m256 v = _mm256_castsi256_ps(_mm256_set1_epi32((int)m));
	return (v16){ v, v };
}
static INLINE v16 v_and(v16 a, uint32_t m) { return Y2(_mm256_and_ps, a, y_set_bits(m)); }
static INLINE v16 v_or(v16 a, v16 b) { return Y2(_mm256_or_ps, a, b); }
static INLINE v16 v_xor(v16 a, uint32_t m) { return Y2(_mm256_xor_ps, a, y_set_bits(m)); }
#define Y_SELECT(cmp)                                                             \
	((v16){ _mm256_blendv_ps(f.a, t.a, _mm256_cmp_ps(a.a, b.a, cmp)),             \
	        _mm256_blendv_ps(f.b, t.b, _mm256_cmp_ps(a.b, b.b, cmp)) })
static INLINE v16 v_if_lt(v16 a, v16 b, v16 t, v16 f) { return Y_SELECT(_CMP_LT_OQ); }
static INLINE v16 v_if_eq(v16 a, v16 b, v16 t, v16 f) { return Y_SELECT(_CMP_EQ_OQ); }
static INLINE v16 v_if_nan(v16 a, v16 t, v16 f)
{
	v16 b = a;
	return Y_SELECT(_CMP_UNORD_Q);
}
static INLINE v16 v_one_nan(v16 a)
{
	return v_if_nan(a, y_set_bits(ONE_NAN_BITS), a);
}
static INLINE __m256 y_pow2(__m256 n)
{
	__m256i e = _mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127));
	return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
static INLINE v16 v_pow2(v16 n) { return (v16){ y_pow2(n.a), y_pow2(n.b) }; }
static INLINE __m256 y_exponent(__m256 x)
{
	__m256i e = _mm256_srli_epi32(_mm256_castps_si256(x), 23);
	return _mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(127)));
}
static INLINE v16 v_exponent(v16 x) { return (v16){ y_exponent(x.a), y_exponent(x.b) }; }
static INLINE v16 v_floor(v16 x) { return (v16){ _mm256_floor_ps(x.a), _mm256_floor_ps(x.b) }; }

static inline void y_transpose8(float *dst, int64_t ldd, const float *src, int64_t lds)
{
	__m256 r[8], t[8];
	UNROLL
	for (int i = 0; i < 8; i++)
		r[i] = _mm256_loadu_ps(src + i * lds);
	UNROLL
	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
	UNROLL
	for (int i = 0; i < 8; i += 4) {
		r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
		r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
	UNROLL
	for (int j = 0; j < 4; j++) {
		_mm256_storeu_ps(dst + j * ldd, _mm256_permute2f128_ps(r[j], r[j + 4], 0x20));
		_mm256_storeu_ps(dst + (j + 4) * ldd, _mm256_permute2f128_ps(r[j], r[j + 4], 0x31));
	}
}

static inline void y_transpose(float *dst, int64_t ldd, const float *src, int64_t lds)
{
	for (int i = 0; i < 16; i += 8)
		for (int j = 0; j < 16; j += 8)
			y_transpose8(dst + j * ldd + i, ldd, src + i * lds + j, lds);
}
#define TRANSPOSE_16X16 y_transpose

#endif
