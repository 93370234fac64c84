/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenBLAS behind the wall: single-threaded products on memory that the caller gives, by the core that
 * the level names, for the shapes that a compiled-in table names and no others.
 *
 * OpenBLAS rounds differently when M changes: never for a batch of several requests, nor for a piece
 * of a product; the caller knows that M, N and K follow from one request's shapes.
 *
 * Side: inside. Trusts: its arguments. Owns: the environment variables that OpenBLAS reads.
 */
#ifndef FUMEHOOD_BLAS_H
#define FUMEHOOD_BLAS_H

#include "sandbox/inside/engine/kernels/kernels.h"

/* The core that OpenBLAS chose when the program started ("Haswell", "SkylakeX", ...). */
const char *blas_core(void);
/* The core that a level must have; "none" for plain C, which never calls OpenBLAS. */
const char *blas_core_wanted(enum level l);
/* True when the core is the one of the best level of this processor: a worker refuses to start
 * otherwise. */
bool blas_core_check(void);

/* True when the table says that OpenBLAS is at least as fast as gemm_f32 at this shape. */
bool blas_wanted(enum level l, int64_t m, int64_t n, int64_t k);

/* Memory that one thread needs while it runs any product of the table of level l; 0 when the table of
 * that level is empty. The slot is 4096-aligned, its content is of no interest. */
size_t blas_slot_bytes(enum level l);
/* ... and for one product of m rows and n columns, whatever the table says (tests and benchmarks). */
size_t blas_need_bytes(int64_t m, int64_t n);

struct blas_product {
	int64_t m, n, k;
	const float *a; /* [m,k] row-major, leading dimension lda */
	int64_t lda;
	const float *b; /* [k,n] with ldb; trans_b: [n,k] */
	int64_t ldb;
	bool trans_b;
	float *c;       /* [m,n] with ldc */
	int64_t ldc;
	bool add;       /* c += a b instead of c = a b */
};

/* Computes one product on the calling thread with its own slot of slot_bytes >= blas_need_bytes(m, n).
 * No system call, no allocation (a product that would need more than its slot ends the process). */
void blas_sgemm(void *slot, size_t slot_bytes, const struct blas_product *p);

#endif
