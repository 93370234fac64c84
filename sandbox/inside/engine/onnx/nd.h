/* SPDX-License-Identifier: Apache-2.0
 *
 * Walking up to four strided operands over one space of indices: broadcasting, transposes, slices.
 * Axes are merged where all operands allow it, so that the inner loop is as long as it can be.
 *
 * Side: inside. Trusts: extents and strides (checked when planning). Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_ND_H
#define FUMEHOOD_ONNX_ND_H

#include "proto/limits.h"

#include <stdint.h>

#define ND_OPERANDS 4

struct run;

struct nd {
	int rank;                              /* at least 1 after nd_merge */
	int n_ops;
	int64_t dims[LIMIT_RANK];
	int64_t st[ND_OPERANDS][LIMIT_RANK];   /* in elements */
	int64_t start[ND_OPERANDS];            /* element of index 0 */
};

/* Row-major strides of a shape. */
void nd_strides(int64_t *st, const int64_t *dims, int rank);

/* Strides of a shape broadcast to rank out_rank: 0 along axes of extent 1 or missing ones. */
void nd_broadcast(int64_t *st, const int64_t *dims, int rank, int out_rank);

/* Drops axes of extent 1 and merges neighbours. */
void nd_merge(struct nd *n);

/* Calls row for each run along the last axis: off[k] elements from the start of operand k, n elements,
 * operand k's step along it is nd->st[k][rank - 1]. Rows are shared out to the pool in fixed pieces. */
typedef void (*nd_row)(void *arg, const struct nd *n, const int64_t *off, int64_t count);
void nd_run(struct run *r, const struct nd *n, nd_row row, void *arg);

/* dst (row-major of dims) = src with these strides; elements of size bytes (1, 2, 4, 8). */
void nd_copy(struct run *r, struct nd *n, void *dst, const void *src, unsigned size);

#endif
