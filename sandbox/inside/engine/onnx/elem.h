/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementwise work in flat pieces: parameters of the unary and activation operators, and the helpers
 * that cut it up for the pool. Shared with the passes that fuse it.
 *
 * Side: inside. Trusts: infer. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_ELEM_H
#define FUMEHOOD_ONNX_ELEM_H

#include "sandbox/inside/engine/onnx/plan.h"

/* A unary operator as the kernels know it: either a function of the unary table or an activation. */
struct elem_unary {
	bool is_act;
	enum unary un;
	struct activation act;
};

/* What BIN_* a binary operator is; -1: none (it has its own loop). */
int elem_binary_kind(const struct op *o);

/* y = f(x) over n floats, in pieces. */
void elem_unary_run(struct run *r, const struct elem_unary *u, float *y, const float *x, uint64_t n);

/* Floats a tensor's storage holds in its layout. */
uint64_t elem_count(const struct tensor *t);

/* Broadcast of two shapes; the error names both extents. */
int elem_broadcast(struct plan *p, const struct step *s, const struct tensor *a, const struct tensor *b,
                   int64_t *dims, int *rank);

/* act(x): run of steps whose p is a struct elem_unary; works on both layouts. */
int elem_unary_step(struct run *r, const struct step *s);

#define ELEM_PIECE 8192

#endif
