/* SPDX-License-Identifier: Apache-2.0
 *
 * One timeline of calls to an ONNX model: its memory, its packed weights, the plan for the last shapes.
 *
 * Side: inside. Trusts: the loader's tables. Owns: the session's arena.
 *
 *   arena   [ session | kept: payloads and packed weights -> ...  <- plan: tables, constants, block ]
 */
#ifndef FUMEHOOD_ONNX_SESSION_H
#define FUMEHOOD_ONNX_SESSION_H

#include "sandbox/inside/engine/onnx/plan.h"

#define PACK_KEY_WORDS 16
#define PACK_BUCKETS 256

/* Packed weights are kept over replanning under what they were made from: the node and everything that
 * went into the packing. */
struct packed {
	struct packed *next;
	uint64_t key[PACK_KEY_WORDS];
	void *data;
	uint64_t bytes;
};

struct session {
	struct arena *a;
	size_t base_bytes;             /* a->used_bytes when the session was opened */
	const struct onnx_model *m;
	struct pool *pool;
	unsigned n_threads;
	const struct kernels *k;
	void **payload;                /* model value -> payload read once, or NULL */
	struct packed *packed[PACK_BUCKETS];
	struct plan plan;
	bool is_planned;
	size_t lowest_top;             /* how far down plans have written since the last scrub */
	unsigned n_plans;              /* begun since then */
	/* what the plan was made for */
	int64_t (*dims)[LIMIT_RANK];
	int8_t *ranks;                 /* -1: input left out */
	struct engine_tensor *answers; /* one per declared output */
	const struct engine_tensor **given; /* per declared input, of the current call */
};

int onnx_session_open(struct arena *a, const struct onnx_model *m, struct pool *pool, int level,
                      struct session **out, struct err *e);
int onnx_session_run(struct session *s, const struct engine_tensor *in, size_t n_in,
                     const struct engine_tensor **out, size_t *n_out, struct err *e);
void onnx_session_scrub(struct session *s);
/* A plan for default shapes in what is left of an arena, for its sizes only; everything is given back. */
int onnx_dry_plan(const struct onnx_model *m, unsigned n_threads, struct engine_needs *needs,
                  struct err *e);

#endif
