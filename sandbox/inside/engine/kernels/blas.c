/* SPDX-License-Identifier: Apache-2.0
 *
 * When OpenBLAS is asked, and by which core. The core is set by a constructor that runs before
 * OpenBLAS's own: by itself OpenBLAS takes unknown processors for a Prescott, five times slower.
 *
 * Side: inside. Trusts: its arguments. Owns: the environment variables OPENBLAS_*.
 */
#include "sandbox/inside/engine/kernels/blas.h"
#include "sandbox/inside/engine/kernels/blas_slot.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* From OpenBLAS 0.3.21 (cblas.h of libopenblas-serial-dev). */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
				 int lda, const float *b, int ldb, float beta, float *c, int ldc);
char *openblas_get_corename(void);

/* The level whose core is taken. Tests and benchmarks are also built with a fixed one, to see the core
 * of a lesser level on a better processor. */
#ifndef BLAS_LEVEL
#define BLAS_LEVEL level_detect()
#endif

static const char *const cores[LEVEL__MAX] = { [LEVEL_C] = NULL, [LEVEL_AVX2] = "Haswell",
	                                           [LEVEL_AVX512] = "SkylakeX", [LEVEL_AMX] = "SkylakeX" };

/* Shapes where OpenBLAS was at least as fast as gemm_f32 with one thread in one idle run of
 *
 *   build/release/tests/bench_kernels AVX512 x      build/release/tests/bench_kernels_avx2 AVX2 x
 *
 * (column ours/blas), on an AVX-512 processor with two full-width FMA units. AVX-512: ours is 1.04 to 1.3
 * times as fast from 128^3 up and 1.3 to 8 times for M <= 16; 64^3 0.94 and 40x40x15 0.97, where a
 * product takes 2 us and less and OpenBLAS needs its operand unpacked: no row. AVX2: ours is 1.01 to 1.25
 * times as fast up to 256^3, 1.7 to 9 times for M <= 16; 512^3 and 1024^3 0.98, 512x256x1280 0.99. */
static const struct blas_class {
	enum level level;
	int64_t m_min, m_max, n_min, n_max, k_min;
} classes[] = {
	{ LEVEL_AVX2, 512, 2048, 512, 2048, 512 },
};
#define N_CLASSES (sizeof classes / sizeof *classes)

/* Before OpenBLAS's constructor: whatever the environment says about OpenBLAS is not believed. */
__attribute__((constructor(101))) static void environment_set(void)
{
	extern char **environ;
	const char *core = cores[BLAS_LEVEL];
	for (size_t i = 0; environ && environ[i];) {
		char name[64];
		const char *eq = strchr(environ[i], '=');
		size_t len = eq ? (size_t)(eq - environ[i]) : 0;
		if (len == 0 || len >= sizeof name || strncmp(environ[i], "OPENBLAS_", 9) != 0) {
			i++;
			continue;
		}
		memcpy(name, environ[i], len);
		name[len] = 0;
		unsetenv(name); /* moves the rest down: look at place i again */
	}
	/* Plain C never calls OpenBLAS; the oldest core keeps its start from guessing. */
	setenv("OPENBLAS_CORETYPE", core ? core : "Prescott", 1);
}

const char *blas_core(void)
{
	return openblas_get_corename();
}

const char *blas_core_wanted(enum level l)
{
	return (unsigned)l < LEVEL__MAX && cores[l] ? cores[l] : "none";
}

bool blas_core_check(void)
{
	const char *core = cores[BLAS_LEVEL];
	return !core || strcasecmp(core, openblas_get_corename()) == 0;
}

bool blas_wanted(enum level l, int64_t m, int64_t n, int64_t k)
{
	for (size_t i = 0; i < N_CLASSES; i++) {
		const struct blas_class *c = &classes[i];
		if (c->level == l && m >= c->m_min && m <= c->m_max && n >= c->n_min && n <= c->n_max &&
			k >= c->k_min)
			return true;
	}
	return false;
}

size_t blas_slot_bytes(enum level l)
{
	size_t most = 0;
	for (size_t i = 0; i < N_CLASSES; i++) {
		size_t need = blas_need_bytes(classes[i].m_max, classes[i].n_max);
		if (classes[i].level == l && need > most)
			most = need;
	}
	return most;
}

void blas_sgemm(void *slot, size_t slot_bytes, const struct blas_product *p)
{
	if (slot_bytes < blas_need_bytes(p->m, p->n))
		__builtin_trap();
	blas_slot_enter(slot, slot_bytes);
	cblas_sgemm(ROW_MAJOR, NO_TRANS, p->trans_b ? TRANS : NO_TRANS, (int)p->m, (int)p->n, (int)p->k, 1.0f,
				p->a, (int)p->lda, p->b, (int)p->ldb, p->add ? 1.0f : 0.0f, p->c, (int)p->ldc);
	blas_slot_leave();
}
