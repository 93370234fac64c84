/* SPDX-License-Identifier: Apache-2.0
 *
 * The AVX2 + FMA level. Compiled with -mavx2 -mfma: nothing outside the table may be called before the
 * level was detected.
 * Side: inside. Trusts: its arguments. Owns: nothing.
 */
#include "sandbox/inside/engine/kernels/vec_avx2.h"

#define STREAM_AHEAD 1024
#define TILE_SHAPES_8
#include "sandbox/inside/engine/kernels/body_table.h"

const struct kernels kernels_avx2 = KERNEL_TABLE(LEVEL_AVX2);
