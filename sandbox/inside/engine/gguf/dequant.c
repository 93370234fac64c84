/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of the quantised types to f32: see dequant.h.
 *
 * Side: inside. Trusts: lengths. Owns: the layout of the blocks. "d" is a scale, "m" a minimum, both f16;
 * nibbles: the low ones of a run come first, then the high ones.
 *
 *   Q4_0    d, 16 B of nibbles                     d (q - 8)
 *   Q4_1    d, m, 16 B                             d q + m
 *   Q5_0    d, 4 B of fifth bits, 16 B             d (q - 16)
 *   Q5_1    d, m, 4 B, 16 B                        d q + m
 *   Q8_0    d, 32 signed bytes                     q d
 *   Q2_K    16 B scale | min << 4, 64 B of pairs of bits, d, m
 *   Q3_K    32 B of third bits (0 means - 4), 64 B of pairs, 12 B of 16 six-bit scales (- 32), d
 *   Q4_K    d, m, 12 B of 8 six-bit scales and minima, 128 B of nibbles in runs of 32
 *   Q5_K    d, m, 12 B, 32 B of fifth bits, 128 B
 *   Q6_K    128 B of nibbles in runs of 64, 64 B of upper pairs, 16 signed scales, d
 *   IQ4_NL  d, 16 B of nibbles into a table
 *   IQ4_XS  d, u16 of upper and 4 B of lower parts of 8 scales (- 32), 128 B of nibbles in runs of 16
 *   MXFP4   exponent, 16 B of nibbles into a table
 *
 * Each product and sum is one rounding, in the order written here: another order is another number.
 * Of two NaN either may come out: a compiler may turn a sum round.
 */
#include "sandbox/inside/engine/gguf/dequant.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/gguf/gguf.h"
#include "sandbox/inside/engine/onnx/half.h"

#include <xmmintrin.h>

#define MXCSR_PLAIN 0x1f80 /* no exceptions, round to nearest even, subnormals are numbers */

static const int8_t iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
static const int8_t mxfp4_values[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

static float f16(const uint8_t *p) { return half_to_float(le16_get(p)); }

/* Nibble i of a run of 32: low ones first. */
static int nibble(const uint8_t *qs, int i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }

static void q4_0(const uint8_t *b, float *y)
{
	float d = f16(b);
	for (int i = 0; i < 32; i++)
		y[i] = d * (float)(nibble(b + 2, i) - 8);
}

static void q4_1(const uint8_t *b, float *y)
{
	float d = f16(b), m = f16(b + 2);
	for (int i = 0; i < 32; i++)
		y[i] = d * (float)nibble(b + 4, i) + m;
}

static void q5_0(const uint8_t *b, float *y)
{
	float d = f16(b);
	uint32_t high = le32_get(b + 2);
	for (int i = 0; i < 32; i++)
		y[i] = d * (float)((nibble(b + 6, i) | (int)(high >> i & 1) << 4) - 16);
}

static void q5_1(const uint8_t *b, float *y)
{
	float d = f16(b), m = f16(b + 2);
	uint32_t high = le32_get(b + 4);
	for (int i = 0; i < 32; i++)
		y[i] = d * (float)(nibble(b + 8, i) | (int)(high >> i & 1) << 4) + m;
}

static void q8_0(const uint8_t *b, float *y)
{
	float d = f16(b);
	for (int i = 0; i < 32; i++)
		y[i] = (float)(int8_t)b[2 + i] * d;
}

/* Pair i of 256 pairs of bits: runs of 32 at the same two bits of 32 bytes. */
static int pair(const uint8_t *qs, int i) { return qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3; }

static void q2_k(const uint8_t *b, float *y)
{
	const uint8_t *scales = b, *qs = b + 16;
	float d = f16(b + 80), m = f16(b + 82);
	for (int i = 0; i < 256; i++) {
		float dl = d * (float)(scales[i / 16] & 15), ml = m * (float)(scales[i / 16] >> 4);
		y[i] = dl * (float)pair(qs, i) - ml;
	}
}

static void q3_k(const uint8_t *b, float *y)
{
	const uint8_t *high = b, *qs = b + 32, *sc = b + 96;
	float d = f16(b + 108), dl[16];
	for (int j = 0; j < 16; j++) {
		int low = j < 8 ? sc[j] & 15 : sc[j - 8] >> 4, up = sc[8 + j % 4] >> j / 4 * 2 & 3;
		dl[j] = d * (float)((low | up << 4) - 32);
	}
	for (int i = 0; i < 256; i++) {
		int less = high[i % 32] >> i / 32 & 1 ? 0 : 4;
		y[i] = dl[i / 16] * (float)(pair(qs, i) - less);
	}
}

/* Scale and minimum j of the 8 in 12 bytes. */
static void scale_min(const uint8_t *s, int j, int *scale, int *min)
{
	if (j < 4) {
		*scale = s[j] & 63;
		*min = s[4 + j] & 63;
	} else {
		*scale = (s[4 + j] & 15) | (s[j - 4] >> 2 & 0x30);
		*min = s[4 + j] >> 4 | (s[j] >> 2 & 0x30);
	}
}

/* high: fifth bits, or NULL. */
static void q45_k(const uint8_t *b, const uint8_t *high, const uint8_t *qs, float *y)
{
	float d = f16(b), m = f16(b + 2);
	for (int j = 0; j < 8; j++) {
		int scale, min;
		scale_min(b + 4, j, &scale, &min);
		float dl = d * (float)scale, ml = m * (float)min;
		for (int i = 0; i < 32; i++) {
			int q = qs[j / 2 * 32 + i] >> j % 2 * 4 & 15;
			if (high)
				q |= (high[i] >> j & 1) << 4;
			y[j * 32 + i] = dl * (float)q - ml;
		}
	}
}

static void q4_k(const uint8_t *b, float *y) { q45_k(b, NULL, b + 16, y); }
static void q5_k(const uint8_t *b, float *y) { q45_k(b, b + 16, b + 48, y); }

static void q6_k(const uint8_t *b, float *y)
{
	const uint8_t *low = b, *high = b + 128, *scales = b + 192;
	float d = f16(b + 208);
	for (int i = 0; i < 256; i++) {
		int q = low[i / 128 * 64 + i % 64] >> i % 128 / 64 * 4 & 15;
		q |= pair(high, i) << 4;
		y[i] = d * (float)(int8_t)scales[i / 16] * (float)(q - 32);
	}
}

static void iq4_nl(const uint8_t *b, float *y)
{
	float d = f16(b);
	for (int i = 0; i < 32; i++)
		y[i] = d * (float)iq4_values[nibble(b + 2, i)];
}

static void iq4_xs(const uint8_t *b, float *y)
{
	float d = f16(b);
	uint32_t up = le16_get(b + 2);
	for (int j = 0; j < 8; j++) {
		int scale = (b[4 + j / 2] >> j % 2 * 4 & 15) | (int)(up >> 2 * j & 3) << 4;
		float dl = d * (float)(scale - 32);
		for (int i = 0; i < 32; i++)
			y[j * 32 + i] = dl * (float)iq4_values[nibble(b + 8 + 16 * j, i)];
	}
}

static void mxfp4(const uint8_t *b, float *y)
{
	/* Half of 2^(e - 127), since the table holds doubled values. */
	uint32_t bits = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
	float d;
	memcpy(&d, &bits, sizeof d);
	for (int i = 0; i < 32; i++)
		y[i] = d * (float)mxfp4_values[nibble(b + 1, i)];
}

static void f32(const uint8_t *b, float *y) { memcpy(y, b, sizeof *y); }
static void to_f16(const uint8_t *b, float *y) { *y = f16(b); }
static void bf16(const uint8_t *b, float *y)
{
	uint32_t bits = (uint32_t)le16_get(b) << 16;
	memcpy(y, &bits, sizeof *y);
}

static void (*const blocks[GT__MAX])(const uint8_t *, float *) = {
	[GT_F32] = f32,       [GT_F16] = to_f16,    [GT_BF16] = bf16,   [GT_Q4_0] = q4_0, [GT_Q4_1] = q4_1,
	[GT_Q5_0] = q5_0,     [GT_Q5_1] = q5_1,     [GT_Q8_0] = q8_0,   [GT_Q2_K] = q2_k, [GT_Q3_K] = q3_k,
	[GT_Q4_K] = q4_k,     [GT_Q5_K] = q5_k,     [GT_Q6_K] = q6_k,   [GT_IQ4_NL] = iq4_nl,
	[GT_IQ4_XS] = iq4_xs, [GT_MXFP4] = mxfp4,
};

bool gguf_dequant(uint32_t type, const uint8_t *src, uint64_t n_elems, float *dst)
{
	const struct gguf_type_row *row = gguf_type(type);
	if (type >= GT__MAX || !blocks[type] || n_elems % row->block_elems)
		return false;
	unsigned mode = _mm_getcsr();
	_mm_setcsr(MXCSR_PLAIN);
	for (uint64_t i = 0; i < n_elems; i += row->block_elems, src += row->block_bytes)
		blocks[type](src, dst + i);
	_mm_setcsr(mode);
	return true;
}
