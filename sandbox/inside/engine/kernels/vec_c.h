/* SPDX-License-Identifier: Apache-2.0
 *
 * The vector of sixteen floats that all kernels are written in, as plain C: this file and the body_*.h
 * files together define every answer. The other vec_*.h files give the same operations, bit for bit.
 *
 * FMA without the instruction: the product of two floats is exact in double; one double addition
 * rounds it, and the conversion to float rounds again. The second rounding is wrong only where the
 * first ended exactly between two floats without being exact: there the sum moves one double towards
 * its error first. Subnormal results are flushed (fp_env_set), so that case needs no care.
 *
 * Side: inside. Trusts: its arguments. Owns: nothing.
 */
#ifndef FUMEHOOD_VEC_C_H
#define FUMEHOOD_VEC_C_H

#define VEC_PLAIN
#include "sandbox/inside/engine/kernels/vec_common.h"

typedef struct {
	float f[16];
} v16;

#define V_EACH for (int i_ = 0; i_ < 16; i_++)

static INLINE uint32_t c_bits(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static INLINE float c_float(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

static inline float c_fma_tie(double p, double c, double s)
{
	double back = s - p;
	double err = (p - (s - back)) + (c - back);
	uint64_t u;
	memcpy(&u, &s, 8);
	if (err != 0 && err == err)
		u += (err > 0) == (s > 0) ? 1 : UINT64_MAX;
	memcpy(&s, &u, 8);
	return (float)s;
}

static INLINE float c_fma(float a, float b, float c)
{
	double p = (double)a * (double)b;
	double s = p + (double)c;
	uint64_t u;
	memcpy(&u, &s, 8);
	if (__builtin_expect((u & 0x1fffffff) == 0x10000000, 0))
		return c_fma_tie(p, (double)c, s);
	return (float)s;
}

static INLINE v16 v_set1(float x) { v16 r; V_EACH r.f[i_] = x; return r; }
static INLINE v16 v_load(const float *p) { v16 r; memcpy(&r, p, 64); return r; }
static INLINE void v_store(float *p, v16 v) { memcpy(p, &v, 64); }
static INLINE v16 v_load_part(const float *p, int lo, int hi)
{
	v16 r;
	V_EACH r.f[i_] = i_ >= lo && i_ < hi ? p[i_] : 0.0f;
	return r;
}
static INLINE void v_store_part(float *p, v16 v, int lo, int hi)
{
	for (int i = lo; i < hi; i++)
		p[i] = v.f[i];
}
static INLINE v16 v_keep(v16 v, int n) { V_EACH if (i_ >= n) v.f[i_] = 0; return v; }
/* Lanes below n from a, the others from b. */
static INLINE v16 v_from(v16 a, v16 b, int n) { V_EACH if (i_ < n) b.f[i_] = a.f[i_]; return b; }
static INLINE v16 v_fma(v16 a, v16 b, v16 c) { V_EACH c.f[i_] = c_fma(a.f[i_], b.f[i_], c.f[i_]); return c; }
static INLINE v16 v_acc(v16 a, v16 b, v16 acc) { return v_fma(a, b, acc); }
static INLINE v16 v_add(v16 a, v16 b) { V_EACH a.f[i_] += b.f[i_]; return a; }
static INLINE v16 v_sub(v16 a, v16 b) { V_EACH a.f[i_] -= b.f[i_]; return a; }
static INLINE v16 v_mul(v16 a, v16 b) { V_EACH a.f[i_] *= b.f[i_]; return a; }
static INLINE v16 v_div(v16 a, v16 b) { V_EACH a.f[i_] /= b.f[i_]; return a; }
static INLINE v16 v_sqrt(v16 a) { V_EACH a.f[i_] = __builtin_sqrtf(a.f[i_]); return a; }
/* max and min give the second operand when either is NaN, and zero for a subnormal (as the
 * instructions do under fp_env_set). */
static INLINE float c_flush(float x)
{
	uint32_t u = c_bits(x);
	return u & 0x7f800000u ? x : c_float(u & SIGN_BIT);
}
static INLINE v16 v_max(v16 a, v16 b)
{
	V_EACH a.f[i_] = c_flush(a.f[i_] > b.f[i_] ? a.f[i_] : b.f[i_]);
	return a;
}
static INLINE v16 v_min(v16 a, v16 b)
{
	V_EACH a.f[i_] = c_flush(a.f[i_] < b.f[i_] ? a.f[i_] : b.f[i_]);
	return a;
}
static INLINE v16 v_and(v16 a, uint32_t m) { V_EACH a.f[i_] = c_float(c_bits(a.f[i_]) & m); return a; }
static INLINE v16 v_or(v16 a, v16 b)
{
	V_EACH a.f[i_] = c_float(c_bits(a.f[i_]) | c_bits(b.f[i_]));
	return a;
}
static INLINE v16 v_xor(v16 a, uint32_t m) { V_EACH a.f[i_] = c_float(c_bits(a.f[i_]) ^ m); return a; }
static INLINE v16 v_if_lt(v16 a, v16 b, v16 t, v16 f)
{
	V_EACH f.f[i_] = a.f[i_] < b.f[i_] ? t.f[i_] : f.f[i_];
	return f;
}
static INLINE v16 v_if_eq(v16 a, v16 b, v16 t, v16 f)
{
	V_EACH f.f[i_] = a.f[i_] == b.f[i_] ? t.f[i_] : f.f[i_];
	return f;
}
static INLINE v16 v_if_nan(v16 a, v16 t, v16 f)
{
	V_EACH f.f[i_] = a.f[i_] != a.f[i_] ? t.f[i_] : f.f[i_];
	return f;
}
/* Any NaN becomes the one NaN. */
static INLINE v16 v_one_nan(v16 a)
{
	V_EACH a.f[i_] = a.f[i_] != a.f[i_] ? c_float(ONE_NAN_BITS) : a.f[i_];
	return a;
}
/* 2^n for n whole and in [-126, 127]; anything for a NaN. */
static INLINE v16 v_pow2(v16 n)
{
	V_EACH n.f[i_] = c_float((uint32_t)((n.f[i_] == n.f[i_] ? (int32_t)n.f[i_] : 0) + 127) << 23);
	return n;
}
/* Exponent (as a number) and mantissa in [1, 2) of a positive normal number. */
static INLINE v16 v_exponent(v16 x)
{
	V_EACH x.f[i_] = (float)((int32_t)(c_bits(x.f[i_]) >> 23) - 127);
	return x;
}
/* Largest whole number that is not above x; x itself from 2^23 on and for NaN. */
static INLINE v16 v_floor(v16 x)
{
	for (int i = 0; i < 16; i++) {
		float v = x.f[i], a = c_float(c_bits(v) & 0x7fffffffu);
		if (!(a < 8388608.0f))
			continue;
		float t = (float)(int32_t)v;
		t = t > v ? t - 1.0f : t;
		x.f[i] = c_float((c_bits(t) & 0x7fffffffu) | (c_bits(v) & 0x80000000u));
	}
	return x;
}

#endif
