/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rewriting passes build: affine steps, lookups, layout conversions; and the helpers they share.
 *
 * Side: inside. Trusts: infer. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_FUSE_H
#define FUMEHOOD_ONNX_FUSE_H

#include "sandbox/inside/engine/onnx/elem.h"
#include "sandbox/inside/engine/onnx/linear.h"
#include "sandbox/inside/engine/onnx/moves.h"
#include "sandbox/inside/engine/onnx/norm.h"
#include "sandbox/inside/engine/onnx/resize.h"
#include "sandbox/inside/engine/onnx/session.h"

/* y = act(x * scale + shift), the numbers constant along all axes but one (axis -1: one number each). */
struct affine_p {
	int axis;
	int64_t n;           /* numbers: 1 or the extent of the axis */
	float *scale, *shift; /* room for whole blocks */
	bool from_file;
	uint64_t key;        /* of the nodes that went in */
	struct activation act;
};

/* y[i] = table[ids[i]]; row `depth` stands for every id outside. wrap: negative ids count from the end. */
struct lookup_p {
	int64_t depth, width;
	bool wrap;
	struct tensor *table; /* constant, depth + 1 rows */
};

struct binary_p {
	int kind, kernel;    /* kernel: BIN_* or -1 */
	bool mean;
};

/* Between layouts. rows: the plain side is [N][spatial][C]. */
struct convert_p {
	bool to_blocks, rows;
	int64_t n, c, hw;
};

static inline uint64_t key_mix(uint64_t a, uint64_t b)
{
	uint64_t z = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	return z ^ (z >> 27);
}

static inline bool same_dims(const struct tensor *a, const struct tensor *b)
{
	if (a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++)
		if (a->dims[i] != b->dims[i])
			return false;
	return true;
}

/* Used by one step only and not an answer: may be fused away. */
static inline bool single_use(const struct tensor *t)
{
	return t->kind == K_RUN && t->n_uses == 1 && !t->is_output && t->def;
}

/* The step of that kind which makes t, when t is a running value; else NULL. */
static inline struct step *made_by(const struct tensor *t, enum step_kind k)
{
	return t && t->kind == K_RUN && t->def && !t->def->dead && t->def->kind == k ? t->def : NULL;
}

/* A step becomes another: operands a (and b), same output. */
void step_become(struct step *s, enum step_kind kind, void *params, struct tensor *a, struct tensor *b);
int affine_run(struct run *r, const struct step *s);
int lookup_run(struct run *r, const struct step *s);
int convert_run(struct run *r, const struct step *s);
int conv_fused_run(struct run *r, const struct step *s);
int binary_blocks_run(struct run *r, const struct step *s);
int spread_run(struct run *r, const struct step *s);
int concat_blocks_run(struct run *r, const struct step *s);

/* Passes of plan_rewrite, in order. Each returns 0 or a negative code; *changed is set when it did
 * something. */
int rewrite_patterns(struct plan *p, bool *changed);
int rewrite_lookup(struct plan *p, bool *changed);
int rewrite_fuse(struct plan *p);
void rewrite_shuffle(struct plan *p);

bool dims_spatial(const struct tensor *t, int64_t *hw); /* rank >= 3: product behind the channels */

#endif
