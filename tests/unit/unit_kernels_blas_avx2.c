/* SPDX-License-Identifier: Apache-2.0
 *
 * unit_kernels_blas once more with the core of the AVX2 level, whatever this processor's level is: the
 * table has rows there, and panels have other sizes.
 */
#include "sandbox/inside/engine/kernels/kernels.h"

#define CORE_LEVEL (level_is_supported(LEVEL_AVX2) ? LEVEL_AVX2 : LEVEL_C)
#include "tests/unit/unit_kernels_blas.c"
