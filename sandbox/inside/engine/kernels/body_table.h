/* SPDX-License-Identifier: Apache-2.0
 *
 * All bodies in their order, and the table that a level's file fills from them.
 * Side: inside. Trusts: nothing. Owns: nothing. Included once per level, after a vec_*.h.
 */
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"
#include "sandbox/inside/engine/kernels/tables.h"

#include "sandbox/inside/engine/kernels/body_math.h"
#include "sandbox/inside/engine/kernels/body_elem.h"
#include "sandbox/inside/engine/kernels/body_tile.h"
#include "sandbox/inside/engine/kernels/body_gemm.h"
#include "sandbox/inside/engine/kernels/body_conv.h"
#include "sandbox/inside/engine/kernels/body_pooling.h"
#include "sandbox/inside/engine/kernels/body_lstm.h"

#define KERNEL_TABLE(LEVEL)                       \
	{                                             \
		.level = (LEVEL),                         \
		.gemm_f32 = k_gemm,                       \
		.gemm_dynamic_f32 = k_gemm_dynamic,       \
		.conv_f32 = k_conv,                       \
		.pooling_f32 = k_pooling,                 \
		.global_pool_f32 = k_global_pool,         \
		.lrn_f32 = k_lrn,                         \
		.lstm_step_f32 = k_lstm_step,             \
		.unary_f32 = k_unary,                     \
		.binary_f32 = k_binary,                   \
		.binary_scalar_f32 = k_binary_scalar,     \
		.activate_f32 = k_activate,               \
		.block_binary_f32 = k_block_binary,       \
		.block_affine_f32 = k_block_affine,       \
		.sum_f32 = k_sum,                         \
		.max_f32 = k_max,                         \
		.reduce_f32 = k_reduce,                   \
		.reduce_rows_f32 = k_reduce_rows,         \
		.softmax_f32 = k_softmax,                 \
		.layernorm_f32 = k_layernorm,             \
		.to_blocks = k_to_blocks,                 \
		.from_blocks = k_from_blocks,             \
		.rows_to_blocks = k_rows_to_blocks,       \
		.blocks_to_rows = k_blocks_to_rows,       \
		.transpose_f32 = k_transpose,             \
		.resize_nearest_f32 = k_resize_nearest,   \
		.lookup_rows_f32 = k_lookup_rows,         \
	}
