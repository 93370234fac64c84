/* SPDX-License-Identifier: Apache-2.0
 *
 * The vector of sixteen floats as one AVX-512 register; operations as vec_c.h defines them.
 * Side: inside. Trusts: its arguments. Owns: nothing.
 */
#ifndef FUMEHOOD_VEC_AVX512_H
#define FUMEHOOD_VEC_AVX512_H

#include "sandbox/inside/engine/kernels/vec_common.h"

#include <immintrin.h>

typedef __m512 v16;

static INLINE __mmask16 x_mask(int lo, int hi)
{
	return (__mmask16)((1u << hi) - (1u << lo));
}
static INLINE v16 v_set1(float x) { return _mm512_set1_ps(x); }
static INLINE v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
static INLINE void v_store(float *p, v16 v) { _mm512_storeu_ps(p, v); }
static INLINE v16 v_load_part(const float *p, int lo, int hi)
{
	return _mm512_maskz_loadu_ps(x_mask(lo, hi), p);
}
static INLINE void v_store_part(float *p, v16 v, int lo, int hi)
{
	_mm512_mask_storeu_ps(p, x_mask(lo, hi), v);
}
static INLINE v16 v_keep(v16 v, int n) { return _mm512_maskz_mov_ps(x_mask(0, n), v); }
static INLINE v16 v_from(v16 a, v16 b, int n) { return _mm512_mask_mov_ps(b, x_mask(0, n), a); }
static INLINE v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
static INLINE v16 v_acc(v16 a, v16 b, v16 acc) { return _mm512_fmadd_ps(a, b, acc); }
static INLINE v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
static INLINE v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
static INLINE v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
static INLINE v16 v_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
static INLINE v16 v_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
static INLINE v16 v_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
static INLINE v16 v_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
static INLINE __m512i x_int(v16 a) { return _mm512_castps_si512(a); }
static INLINE v16 x_float(__m512i a) { return _mm512_castsi512_ps(a); }
static INLINE v16 v_and(v16 a, uint32_t m)
{
	return x_float(_mm512_and_si512(x_int(a), _mm512_set1_epi32((int)m)));
}
static INLINE v16 v_or(v16 a, v16 b) { return x_float(_mm512_or_si512(x_int(a), x_int(b))); }
static INLINE v16 v_xor(v16 a, uint32_t m)
{
	return x_float(_mm512_xor_si512(x_int(a), _mm512_set1_epi32((int)m)));
}
static INLINE v16 v_if_lt(v16 a, v16 b, v16 t, v16 f)
{
	return _mm512_mask_mov_ps(f, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), t);
}
static INLINE v16 v_if_eq(v16 a, v16 b, v16 t, v16 f)
{
	return _mm512_mask_mov_ps(f, _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), t);
}
static INLINE v16 v_if_nan(v16 a, v16 t, v16 f)
{
	return _mm512_mask_mov_ps(f, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), t);
}
/* Table of responses by kind of number: 3, the default NaN, for quiet and signalling NaN, else 0. */
static INLINE v16 v_one_nan(v16 a)
{
	return _mm512_fixupimm_ps(a, a, _mm512_set1_epi32(0x33), 0);
}
static INLINE v16 v_pow2(v16 n)
{
	__m512i e = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
	return x_float(_mm512_slli_epi32(e, 23));
}
static INLINE v16 v_exponent(v16 x)
{
	__m512i e = _mm512_sub_epi32(_mm512_srli_epi32(x_int(x), 23), _mm512_set1_epi32(127));
	return _mm512_cvtepi32_ps(e);
}
static INLINE v16 v_floor(v16 x)
{
	return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

/* A square of 16 x 16: 64 shuffles instead of 256 moves of one element. */
static inline void x_transpose(float *dst, int64_t ldd, const float *src, int64_t lds)
{
	__m512 r[16], t[16];
	UNROLL
	for (int i = 0; i < 16; i++)
		r[i] = _mm512_loadu_ps(src + i * lds);
	UNROLL
	for (int i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
	}
#define X_PD(op, a, b) _mm512_castpd_ps(op(_mm512_castps_pd(a), _mm512_castps_pd(b)))
	UNROLL
	for (int i = 0; i < 16; i += 4) {
		r[i] = X_PD(_mm512_unpacklo_pd, t[i], t[i + 2]);
		r[i + 1] = X_PD(_mm512_unpackhi_pd, t[i], t[i + 2]);
		r[i + 2] = X_PD(_mm512_unpacklo_pd, t[i + 1], t[i + 3]);
		r[i + 3] = X_PD(_mm512_unpackhi_pd, t[i + 1], t[i + 3]);
	}
#undef X_PD
	UNROLL
	for (int i = 0; i < 16; i += 8) {
		UNROLL
		for (int j = 0; j < 4; j++) {
			t[i + j] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0x88);
			t[i + j + 4] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0xdd);
		}
	}
	UNROLL
	for (int j = 0; j < 8; j++) {
		_mm512_storeu_ps(dst + j * ldd, _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88));
		_mm512_storeu_ps(dst + (j + 8) * ldd, _mm512_shuffle_f32x4(t[j], t[j + 8], 0xdd));
	}
}
#define TRANSPOSE_16X16 x_transpose

#endif
