/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables that level.c chooses from; each is defined by the file of its level.
 * Side: inside. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_KERNEL_TABLES_H
#define FUMEHOOD_KERNEL_TABLES_H

#include "sandbox/inside/engine/kernels/kernels.h"

extern const struct kernels kernels_c, kernels_avx2, kernels_avx512, kernels_amx;

#endif
