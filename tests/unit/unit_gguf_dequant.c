/* SPDX-License-Identifier: Apache-2.0
 *
 * Dequantisation without a judge at hand: one handmade block per type whose numbers can be followed on paper,
 * scales that are no ordinary numbers, subnormal results under every floating point mode, and lengths.
 * The bits of all types on many blocks are compared by tests/judges/gguf_judge.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "sandbox/inside/engine/gguf/dequant.h"
#include "sandbox/inside/engine/gguf/gguf.h"
#include "sandbox/inside/engine/kernels/kernels.h"

#define ONE 0x3c00 /* f16 */
#define TWO 0x4000

static uint8_t block[512];
static float y[256];

static void put16(size_t at, unsigned v)
{
	block[at] = (uint8_t)v;
	block[at + 1] = (uint8_t)(v >> 8);
}

static void run(uint32_t type)
{
	memset(y, 0x55, sizeof y);
	assert_true(gguf_dequant(type, block, gguf_type(type)->block_elems, y));
}

/* Every nibble, pair or byte is zero, scales are one where there are any. */
static void clean(void) { memset(block, 0, sizeof block); }

static void test_nibbles(void **state)
{
	(void)state;
	clean();
	put16(0, TWO);
	block[2] = 0xf1; /* numbers 0 and 16 */
	run(GT_Q4_0);
	assert_true(y[0] == 2 * (1 - 8) && y[16] == 2 * (15 - 8) && y[1] == -16);
	run(GT_IQ4_NL);
	assert_true(y[0] == 2 * -104 && y[16] == 2 * 113 && y[1] == 2 * -127);
	clean();
	put16(0, TWO);
	put16(2, ONE);
	block[4] = 0xf1;
	run(GT_Q4_1);
	assert_true(y[0] == 3 && y[16] == 31 && y[1] == 1);
	clean();
	put16(0, TWO);
	block[2] = 0x01; /* fifth bit of number 0 */
	block[4] = 0x01; /* and of number 16 */
	block[6] = 0xf1;
	run(GT_Q5_0);
	assert_true(y[0] == 2 * (17 - 16) && y[16] == 2 * (31 - 16) && y[1] == -32);
	clean();
	put16(0, TWO);
	block[2] = 0xff;
	block[3] = 0x80;
	run(GT_Q8_0);
	assert_true(y[0] == -2 && y[1] == -256 && y[31] == 0);
}

static void test_k(void **state)
{
	(void)state;
	clean();
	block[0] = 0x32;       /* scale 2, minimum 3 of the first 16 */
	block[16] = 0x03;      /* number 0 is 3 */
	put16(80, ONE);
	put16(82, TWO);
	run(GT_Q2_K);
	assert_true(y[0] == 2 * 3 - 2 * 3 && y[1] == -6 && y[16] == 0);
	clean();
	put16(108, ONE);
	block[96] = 0x01;      /* scale 0: low part 1 of 6 bits, so 1 - 32 */
	block[104] = 0x02;     /* and upper part 2: 33 - 32 = 1 */
	block[32] = 0x03;
	block[0] = 0x01;       /* number 0 loses no 4 */
	run(GT_Q3_K);
	assert_true(y[0] == 3 && y[1] == -4 && y[16] == -32 * -4);
	clean();
	put16(0, ONE);
	put16(2, ONE);
	block[4] = 0xc2;       /* scale 0 is 2; upper bits of scale 4 are 3 */
	block[8] = 0x03;       /* minimum 0 is 3 */
	block[12] = 0x05;      /* scale 4 is 5 + 48 */
	block[16] = 0x21;      /* number 0 is 1, number 32 is 2 */
	block[16 + 64] = 0x01; /* number 128 is 1 */
	run(GT_Q4_K);
	assert_true(y[0] == 2 - 3 && y[32] == 0 && y[128] == 53 && y[129] == 0);
	clean();
	put16(0, ONE);
	block[4] = 0x02;
	block[16] = 0x01;      /* fifth bit of number 0 */
	block[48] = 0x01;
	run(GT_Q5_K);
	assert_true(y[0] == 34 && y[1] == 0);
	clean();
	put16(208, ONE);
	block[192] = 0xff;     /* scale 0 is -1 */
	block[0] = 0x01;
	block[128] = 0x02;     /* upper part of number 0 is 2: 33 - 32 */
	run(GT_Q6_K);
	assert_true(y[0] == -1 && y[1] == 32 && y[16] == 0);
	clean();
	put16(0, ONE);
	block[2] = 0x02;       /* scale 0: upper part 2 */
	block[4] = 0x01;       /* lower part 1: 33 - 32 */
	run(GT_IQ4_XS);
	assert_true(y[0] == -127 && y[32] == 32 * 127);
}

static void test_odd_scales(void **state)
{
	static const uint32_t types[] = { GT_Q4_0, GT_Q4_1, GT_Q5_0, GT_Q5_1, GT_Q8_0, GT_IQ4_NL, GT_IQ4_XS, GT_Q4_K, GT_Q5_K };
	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		memset(block, 0x11, sizeof block);
		put16(0, 0x7e00);
		run(types[i]);
		assert_true(isnan(y[0]));
		put16(0, 0x7c00);
		run(types[i]);
		assert_true(isinf(y[0]) || isnan(y[0]));
		put16(0, 0x0001); /* 2^-24: an ordinary f32 */
		run(types[i]);
		assert_true(isfinite(y[0]) && y[0] != 0);
	}
	memset(block, 0xff, sizeof block);
	for (uint32_t t = 0; t < GT__MAX; t++)
		if (gguf_type(t)->runs)
			assert_true(gguf_dequant(t, block, gguf_type(t)->block_elems, y));
}

/* A worker's threads flush subnormals to zero; what a file says is kept all the same, and so is their mode. */
static void test_subnormal(void **state)
{
	(void)state;
	clean();
	memset(block + 1, 0x11, 16);
	fp_env_set();
	volatile float small = 1e-38f;
	assert_true(small * 0.01f == 0.0f);
	for (int e = 0; e < 2; e++) {
		uint32_t bits;
		block[0] = (uint8_t)e;
		run(GT_MXFP4);
		memcpy(&bits, y, sizeof bits);
		assert_int_equal(bits, 0x00200000u << e);
	}
	assert_true(small * 0.01f == 0.0f);
	block[0] = 128;
	run(GT_MXFP4);
	assert_true(y[0] == 1.0f);
}

static void test_refusals(void **state)
{
	(void)state;
	assert_false(gguf_dequant(GT_Q4_0, block, 31, y));
	assert_false(gguf_dequant(GT_Q4_K, block, 32, y));
	for (uint32_t t = 0; t < 2 * GT__MAX; t++)
		if (!gguf_type(t)->runs)
			assert_false(gguf_dequant(t, block, 256, y));
	assert_true(gguf_dequant(GT_Q4_0, block, 0, y));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nibbles),   cmocka_unit_test(test_k),        cmocka_unit_test(test_odd_scales),
		cmocka_unit_test(test_subnormal), cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
