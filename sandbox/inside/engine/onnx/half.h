/* SPDX-License-Identifier: Apache-2.0
 *
 * IEEE binary16 to and from binary32, round to nearest even; the same on every processor.
 * Side: inside. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_HALF_H
#define FUMEHOOD_ONNX_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = (h >> 10) & 31, man = h & 0x3ff, bits;
	float f;
	if (exp == 31) {
		bits = sign | 0x7f800000u | man << 13;
	} else if (exp) {
		bits = sign | (exp + 112) << 23 | man << 13;
	} else if (man) {
		int shift = __builtin_clz(man) - 21; /* brings the leading bit to place 10 */
		bits = sign | (uint32_t)(113 - shift) << 23 | ((man << shift) & 0x3ff) << 13;
	} else {
		bits = sign;
	}
	memcpy(&f, &bits, 4);
	return f;
}

static inline uint16_t half_from_float(float f)
{
	uint32_t bits, man, half;
	memcpy(&bits, &f, 4);
	uint32_t sign = bits >> 16 & 0x8000;
	int exp = (int)(bits >> 23 & 255) - 112;
	man = bits & 0x7fffff;
	if (exp >= 31)
		return (uint16_t)(sign | 0x7c00 | ((bits & 0x7fffffff) > 0x7f800000 ? 0x200 : 0));
	if (exp < -10)
		return (uint16_t)sign;
	if (exp <= 0)
		man |= 0x800000;
	uint32_t drop = exp <= 0 ? (uint32_t)(14 - exp) : 13;
	half = (exp > 0 ? (uint32_t)exp << 10 : 0) | 0;
	half += man >> drop;
	uint32_t rest = man & ((1u << drop) - 1), mid = 1u << (drop - 1);
	if (rest > mid || (rest == mid && (half & 1)))
		half++;
	return (uint16_t)(sign | half);
}

#endif
