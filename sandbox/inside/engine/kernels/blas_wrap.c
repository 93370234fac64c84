/* SPDX-License-Identifier: Apache-2.0
 *
 * Linker wraps (BLAS_LINK in the Makefile) that keep OpenBLAS away from the kernel. Left alone it maps
 * 128 MiB per caller at its first large product, yields in a spin lock over its buffer table, and its
 * small AVX-512 kernels call malloc: each is a refused system call behind the wall. Here each thread
 * brings a slot:
 *
 *   offset 0                 SMALL_BYTES for malloc, a stack that is empty between products
 *   offset SMALL_BYTES       what blas_memory_alloc returns: packed panels of A, then of B
 *
 * Outside of a product malloc and free are libc's own.
 *
 * Side: inside. Trusts: OpenBLAS to stay within blas_need_bytes (measured by unit_kernels_blas with
 * guard words). Owns: the thread's slot pointer.
 */
#include "sandbox/inside/engine/kernels/blas.h"
#include "sandbox/inside/engine/kernels/blas_slot.h"

#include <stdatomic.h>

#define SMALL_BYTES ((size_t)1 << 20)
/* Of OpenBLAS 0.3.21: the largest P and Q of an sgemm core among Haswell, SkylakeX and Prescott, and the
 * alignment and offsets between the panels. One panel is P x Q; the other has Q rows and as many columns
 * as the product's second dimension, which is m for row-major operands (it computes the transpose);
 * the larger of m and n covers both. */
#define GEMM_P_MAX 768
#define GEMM_Q_MAX 768
#define GEMM_SLACK_BYTES ((size_t)128 << 10)

static __thread char *slot;
static __thread size_t slot_bytes, small_used;
static _Atomic unsigned long n_buffers, n_mallocs;

void *__wrap_blas_memory_alloc(int position);
void __wrap_blas_memory_free(void *p);
void *__wrap_malloc(size_t n);
void __wrap_free(void *p);
void *__real_malloc(size_t n);
void __real_free(void *p);

size_t blas_need_bytes(int64_t m, int64_t n)
{
	size_t columns = ((size_t)(m > n ? m : n) + 63) & ~(size_t)63;
	size_t panels = (GEMM_P_MAX * (size_t)GEMM_Q_MAX + GEMM_Q_MAX * columns) * sizeof(float);
	return (SMALL_BYTES + panels + GEMM_SLACK_BYTES + 4095) & ~(size_t)4095;
}

void blas_slot_enter(void *memory, size_t bytes)
{
	slot = memory;
	slot_bytes = bytes;
	small_used = 0;
}

void blas_slot_leave(void)
{
	slot = NULL;
}

unsigned long blas_slot_buffers(void) { return atomic_load(&n_buffers); }
unsigned long blas_slot_mallocs(void) { return atomic_load(&n_mallocs); }

void *__wrap_blas_memory_alloc(int position)
{
	(void)position;
	if (!slot) /* a call that did not come through blas_sgemm */
		__builtin_trap();
	atomic_fetch_add_explicit(&n_buffers, 1, memory_order_relaxed);
	return slot + SMALL_BYTES;
}

void __wrap_blas_memory_free(void *p)
{
	(void)p;
}

void *__wrap_malloc(size_t n)
{
	if (!slot)
		return __real_malloc(n);
	n = (n + 63) & ~(size_t)63;
	if (n > SMALL_BYTES - small_used)
		__builtin_trap();
	char *p = slot + small_used;
	small_used += n;
	atomic_fetch_add_explicit(&n_mallocs, 1, memory_order_relaxed);
	return p;
}

void __wrap_free(void *p)
{
	if (!slot || (char *)p < slot || (char *)p >= slot + slot_bytes)
		__real_free(p);
}
