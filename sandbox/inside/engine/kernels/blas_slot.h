/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory that OpenBLAS gets on this thread between enter and leave: blas_wrap.c.
 * Side: inside. Trusts: its caller. Owns: nothing.
 */
#ifndef FUMEHOOD_BLAS_SLOT_H
#define FUMEHOOD_BLAS_SLOT_H

#include <stddef.h>

void blas_slot_enter(void *slot, size_t bytes);
void blas_slot_leave(void);
/* How often OpenBLAS asked for its buffer and for memory of its own since the program started; both
 * were answered from a slot. */
unsigned long blas_slot_buffers(void);
unsigned long blas_slot_mallocs(void);

#endif
