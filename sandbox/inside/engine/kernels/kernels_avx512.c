/* SPDX-License-Identifier: Apache-2.0
 *
 * The AVX-512 level (F, BW, DQ, VL); the AMX level has the same f32 table.
 * Side: inside. Trusts: its arguments. Owns: nothing.
 */
#include "sandbox/inside/engine/kernels/vec_avx512.h"

#define STREAM_AHEAD 1024
#define TILE_SHAPES_16
#include "sandbox/inside/engine/kernels/body_table.h"

const struct kernels kernels_avx512 = KERNEL_TABLE(LEVEL_AVX512);
const struct kernels kernels_amx = KERNEL_TABLE(LEVEL_AMX);
