/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementary functions and activations on one vector. Polynomials were fitted for the smallest
 * largest error (weighted, Chebyshev points); measured errors stand in tests/unit/unit_kernels_math.c.
 * No libm, no approximate reciprocals: makers differ there.
 *
 * Side: inside. Trusts: its arguments. Owns: nothing. Included once per level, after a vec_*.h.
 */
#include "sandbox/inside/engine/kernels/kernels.h"

#define F_INF __builtin_inff()
#define F_NAN __builtin_nanf("")
#define LN2_HI 0.693359375f      /* few bits: n * LN2_HI is exact */
#define LN2_LO (-2.12194440e-4f)
#define ROUND_MAGIC 12582912.0f  /* 1.5 * 2^23: adding and subtracting it rounds to a whole number */

static INLINE v16 m_poly(v16 x, const float *c, int degree)
{
	v16 p = v_set1(c[degree]);
	UNROLL
	for (int i = degree - 1; i >= 0; i--)
		p = v_fma(p, x, v_set1(c[i]));
	return p;
}

/* exp: 2^n * (1 + (r + r^2 q(r))), the power in two factors so that overflow gives infinity. */
static INLINE v16 m_exp(v16 x)
{
	static const float q[] = { 0.5f, 0.166665182f, 0.041666206f, 0.0083688898f, 0.00139504892f };
	x = v_max(v_set1(-104.0f), v_min(v_set1(104.0f), x));
	v16 n = v_sub(v_fma(x, v_set1(1.44269504f), v_set1(ROUND_MAGIC)), v_set1(ROUND_MAGIC));
	v16 r = v_fma(n, v_set1(-LN2_HI), x);
	r = v_fma(n, v_set1(-LN2_LO), r);
	v16 p = v_add(v_fma(m_poly(r, q, 4), v_mul(r, r), r), v_set1(1.0f));
	v16 half = v_sub(v_fma(n, v_set1(0.5f), v_set1(ROUND_MAGIC)), v_set1(ROUND_MAGIC));
	return v_mul(v_mul(p, v_pow2(half)), v_pow2(v_sub(n, half)));
}

static INLINE v16 m_log(v16 x)
{
	static const float p[] = { 0.333333105f, -0.249999866f, 0.200022265f, -0.166692495f, 0.142186552f,
	                           -0.123843685f, 0.118730128f, -0.117897049f, 0.0691516548f };
	v16 one = v_set1(1.0f), zero = v_set1(0.0f);
	v16 e = v_exponent(x);
	v16 m = v_or(v_and(x, 0x007fffffu), one);
	v16 big = v_set1(1.41421354f);
	e = v_if_lt(big, m, v_add(e, one), e);
	m = v_if_lt(big, m, v_mul(m, v_set1(0.5f)), m);
	v16 f = v_sub(m, one);
	v16 z = v_mul(f, f);
	v16 y = v_mul(v_mul(f, z), m_poly(f, p, 8));
	y = v_fma(e, v_set1(LN2_LO), y);
	y = v_fma(v_set1(-0.5f), z, y);
	y = v_fma(e, v_set1(LN2_HI), v_add(f, y));
	y = v_if_eq(x, v_set1(F_INF), x, y);
	y = v_if_eq(x, zero, v_set1(-F_INF), y);
	y = v_if_lt(x, zero, v_set1(F_NAN), y);
	return v_if_nan(x, x, y);
}

/* a with the sign of x, a not negative. */
static INLINE v16 m_signed(v16 a, v16 x)
{
	return v_or(a, v_and(x, SIGN_BIT));
}

/* erf: x + x P(x^2) below 1, 1 - exp(Q(x)) above, Q a fit of log(erfc). */
static INLINE v16 m_erf(v16 x)
{
	static const float p[] = { 0.128379166f, -0.37612626f, 0.112836003f, -0.0268544443f, 0.00518953521f,
	                           -0.000802084105f, 7.8891193e-05f };
	static const float q[] = { 0.000188040227f, -1.12957847f, -0.633219898f, -0.108418576f,
	                           0.0252082571f, -0.00420456193f, 0.000441336364f, -2.16868502e-05f };
	v16 one = v_set1(1.0f);
	v16 a = v_and(x, ABS_BITS);
	v16 low = v_fma(a, m_poly(v_mul(a, a), p, 6), a);
	v16 high = v_sub(one, m_exp(m_poly(v_min(v_set1(4.0f), a), q, 7)));
	return m_signed(v_if_lt(a, one, low, high), x);
}

/* tanh: x + x^3 P(x^2) below 0.625, 1 - 2 / (exp(2x) + 1) above. */
static INLINE v16 m_tanh(v16 x)
{
	static const float p[] = { -0.333332837f, 0.133314908f, -0.0537434965f, 0.0206505787f, -0.00571703631f };
	v16 one = v_set1(1.0f);
	v16 a = v_and(x, ABS_BITS);
	v16 s = v_mul(a, a);
	v16 low = v_fma(v_mul(a, s), m_poly(s, p, 4), a);
	v16 high = v_sub(one, v_div(v_set1(2.0f), v_add(m_exp(v_add(a, a)), one)));
	return m_signed(v_if_lt(a, v_set1(0.625f), low, high), x);
}

static INLINE v16 m_sigmoid(v16 x)
{
	v16 one = v_set1(1.0f);
	return v_div(one, v_add(one, m_exp(v_xor(x, SIGN_BIT))));
}

static INLINE v16 m_clip(v16 x, v16 lo, v16 hi)
{
	return v_min(hi, v_max(lo, x)); /* the second operand of max and min survives when it is NaN */
}

static INLINE v16 m_hardsigmoid(v16 x, float alpha, float beta)
{
	return m_clip(v_fma(x, v_set1(alpha), v_set1(beta)), v_set1(0.0f), v_set1(1.0f));
}

static INLINE v16 m_gelu_tanh(v16 x)
{
	v16 u = v_fma(v_mul(v_mul(x, x), x), v_set1(0.044715f), x);
	v16 half = v_mul(x, v_set1(0.5f));
	return v_fma(half, m_tanh(v_mul(u, v_set1(0.797884561f))), half);
}

static INLINE v16 m_gelu_erf(v16 x)
{
	v16 half = v_mul(x, v_set1(0.5f));
	return v_fma(half, m_erf(v_mul(x, v_set1(0.707106781f))), half);
}

/* One activation, without its affine tail. */
static INLINE v16 m_act(const struct activation *a, v16 x)
{
	switch (a->kind) {
	case ACT_RELU: return v_max(v_set1(0.0f), x);
	case ACT_CLIP: return m_clip(x, v_set1(a->alpha), v_set1(a->beta));
	case ACT_LEAKY: return v_if_lt(x, v_set1(0.0f), v_mul(x, v_set1(a->alpha)), x);
	case ACT_HARDSIGMOID: return m_hardsigmoid(x, a->alpha, a->beta);
	case ACT_HARDSWISH: return v_mul(x, m_hardsigmoid(x, a->alpha, a->beta));
	case ACT_SIGMOID: return m_sigmoid(x);
	case ACT_TANH: return m_tanh(x);
	case ACT_GELU_ERF: return m_gelu_erf(x);
	case ACT_SWISH: return v_mul(x, m_sigmoid(v_mul(x, v_set1(a->alpha))));
	case ACT_GELU_TANH: return m_gelu_tanh(x);
	case ACT_NONE:
	case ACT__MAX: break;
	}
	return x;
}

/* The 16 lanes of one sum: the fixed tree. */
static INLINE float m_tree_sum(v16 v)
{
	float f[16];
	v_store(f, v);
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			f[i] += f[i + half];
	return f[0];
}
