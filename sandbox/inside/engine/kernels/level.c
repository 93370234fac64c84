/* SPDX-License-Identifier: Apache-2.0
 *
 * Which instruction-set level this processor has, and the table of each level. By CPUID and XGETBV
 * alone: never by maker or model. Called before the wall; nothing here is looked at again later.
 *
 * Side: inside. Trusts: the processor. Owns: the floating-point mode of the calling thread.
 */
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/tables.h"

#include <cpuid.h>
#include <immintrin.h>

/* Bits of CPUID leaf 1 ecx, leaf 7 ebx and edx, and of XCR0. */
#define C1_FMA (1u << 12)
#define C1_OSXSAVE (1u << 27)
#define C1_AVX (1u << 28)
#define B7_AVX2 (1u << 5)
#define B7_AVX512F (1u << 16)
#define B7_AVX512DQ (1u << 17)
#define B7_AVX512BW (1u << 30)
#define B7_AVX512VL (1u << 31)
#define D7_AMX_TILE (1u << 24)
#define D7_AMX_INT8 (1u << 25)
#define XCR0_YMM 0x6u
#define XCR0_ZMM 0xe6u
#define XCR0_TILES 0x60000u

/* Round to nearest, all exceptions masked, flush-to-zero, denormals-are-zero. FTZ and DAZ are part
 * of the answer: a denormal costs a hundred cycles and a hostile model could be made of them. */
#define MXCSR_MODE 0x9fc0u

/* What each level needs, in order: one row per level. */
static const struct need {
	uint32_t c1, b7, d7, xcr0;
} needs[LEVEL__MAX] = {
	[LEVEL_C] = { 0, 0, 0, 0 },
	[LEVEL_AVX2] = { C1_OSXSAVE | C1_AVX | C1_FMA, B7_AVX2, 0, XCR0_YMM },
	[LEVEL_AVX512] = { C1_OSXSAVE | C1_AVX | C1_FMA,
	                   B7_AVX2 | B7_AVX512F | B7_AVX512DQ | B7_AVX512BW | B7_AVX512VL, 0, XCR0_ZMM },
	[LEVEL_AMX] = { C1_OSXSAVE | C1_AVX | C1_FMA,
	                B7_AVX2 | B7_AVX512F | B7_AVX512DQ | B7_AVX512BW | B7_AVX512VL,
	                D7_AMX_TILE | D7_AMX_INT8, XCR0_ZMM | XCR0_TILES },
};

static uint32_t xcr0_get(void)
{
	uint32_t lo, hi;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo;
}

/* The processor is asked once per program: each CPUID leaves a virtual machine (10 us and more), and a worker
 * that was forked from a template finds the answers of its template. Written before there are threads, or
 * with the same value by each. */
static struct {
	_Atomic bool is_known;
	uint32_t c1, b7, d7, xcr0;
} cpu;

static void cpu_ask(void)
{
	unsigned a, b, c, d, c1 = 0, b7 = 0, d7 = 0;
	if (cpu.is_known)
		return;
	if (__get_cpuid(1, &a, &b, &c, &d))
		c1 = c;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		b7 = b;
		d7 = d;
	}
	cpu.c1 = c1;
	cpu.b7 = b7;
	cpu.d7 = d7;
	cpu.xcr0 = c1 & C1_OSXSAVE ? xcr0_get() : 0;
	cpu.is_known = true;
}

bool level_is_supported(enum level l)
{
	if ((unsigned)l >= LEVEL__MAX)
		return false;
	cpu_ask();
	const struct need *n = &needs[l];
	return (cpu.c1 & n->c1) == n->c1 && (cpu.b7 & n->b7) == n->b7 && (cpu.d7 & n->d7) == n->d7 &&
	       (cpu.xcr0 & n->xcr0) == n->xcr0;
}

enum level level_detect(void)
{
	int l = LEVEL__MAX - 1;
	while (l > LEVEL_C && !level_is_supported((enum level)l))
		l--;
	return (enum level)l;
}

const char *level_name(enum level l)
{
	static const char *const names[LEVEL__MAX] = { "C", "AVX2", "AVX512", "AMX" };
	return (unsigned)l < LEVEL__MAX ? names[l] : "unknown";
}

void fp_env_set(void)
{
	_mm_setcsr(MXCSR_MODE);
}

const struct kernels *kernels_get(enum level l)
{
	/* AMX has no f32 products: its f32 table is that of AVX-512 under its own name. */
	static const struct kernels *const tables[LEVEL__MAX] = { &kernels_c, &kernels_avx2, &kernels_avx512,
	                                                          &kernels_amx };
	return level_is_supported(l) ? tables[l] : NULL;
}
