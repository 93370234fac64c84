/* SPDX-License-Identifier: Apache-2.0
 *
 * What the vec_*.h and body_*.h files share. Those bodies are compiled once per level: everything in
 * them is static.
 * Side: inside. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_VEC_COMMON_H
#define FUMEHOOD_VEC_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Inlining and full unrolling are what puts an array of accumulators into registers; plain C has no
 * such register, and unrolled there the same code would take minutes to compile. */
#ifdef VEC_PLAIN
#define INLINE inline
#define UNROLL
#define DW_P 1
#define DW_EDGE 1
#else
#define INLINE inline __attribute__((always_inline))
#define DW_P 8    /* cells of a depthwise run */
#define DW_EDGE 4 /* ... of a run with border checks */
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#endif

/* Two NaNs that meet in an FMA give either payload, by operand order: results hold only this one. */
#define ONE_NAN_BITS 0xffc00000u

#define SIGN_BIT 0x80000000u
#define ABS_BITS 0x7fffffffu

#endif
