/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan: the graph for one set of input shapes, as a list of steps over tensors with known shapes.
 * Made in passes: infer.c (shapes and constants, branches picked), rewrite.c and fuse.c (fewer steps),
 * layout.c (channel blocks), lower.c (kernels, packed weights), memory.c (one block of activations).
 *
 * Side: inside. Trusts: the loader's tables. Owns: its part of the session's arena.
 *
 * Sizes from shapes are checked in plan_shape; after it every dims[], n and bytes is good. Functions
 * return 0 or a negative code, with the text in plan->e.
 */
#ifndef FUMEHOOD_ONNX_PLAN_H
#define FUMEHOOD_ONNX_PLAN_H

#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"
#include "sandbox/inside/engine/onnx/model.h"
#include "sandbox/inside/engine/onnx/ops.h"

enum { K_NONE, K_CONST, K_RUN };        /* what is known of a tensor when planning */
enum { L_PLAIN, L_BLOCKED };            /* row-major, or [N][C/16][spatial][16] */

struct tensor {
	uint8_t kind, layout;
	uint8_t dtype;
	int8_t rank;
	bool splat;             /* a constant of one repeated element: data holds one */
	bool from_file;         /* a constant that follows from the file alone */
	bool is_output, is_input;
	bool is_given;          /* an input that may be read where the caller keeps it */
	int64_t dims[LIMIT_RANK];
	uint64_t n, bytes;      /* logical elements and plain bytes */
	void *data;
	void *own;              /* of an input: its place in the block, for what lies askew */
	const struct onnx_tensor *init; /* payload not read yet */
	uint32_t value;         /* the model's value, or ONNX_NONE */
	/* passes */
	struct step *def;       /* the step that makes it (K_RUN) */
	struct step *user;      /* the last step that takes it */
	uint32_t n_uses;        /* by steps and as an output of the plan */
	bool is_placed;         /* others lie inside its storage */
	struct tensor *root;    /* same storage as this one (views, concat parts); NULL: its own */
	uint64_t root_off;      /* bytes into the root's storage */
	struct tensor *twin;    /* the same value in the other layout */
	uint64_t exact, store;  /* bytes of storage in its layout; rounded up to a line */
	int32_t first, last;    /* steps between which its storage lives */
	uint64_t off;           /* in the block of activations */
};

typedef int (*step_run)(struct run *r, const struct step *s);

/* What the passes know about a step; S_OP: only that its operator runs it. */
enum step_kind { S_OP, S_VIEW, S_UNARY, S_AFFINE, S_BINARY, S_CONV, S_MATMUL, S_POOL, S_TRANSPOSE, S_CONCAT,
                 S_LOOKUP, S_CONVERT, S_SHUFFLE };

struct step {
	const struct op *op;
	const struct onnx_node *node;
	struct tensor **in, **out;
	uint32_t n_in, n_out;
	enum step_kind kind;
	step_run run;
	void *p;                /* parameters of the operator */
	uint64_t scratch;       /* bytes per thread */
	uint64_t shared;        /* bytes once, beside the threads' */
	uint64_t macs;
	bool dead;
	bool blockable;         /* run works on blocked tensors too */
	uint32_t order;         /* its place in the list */
};

struct session;

struct plan {
	struct session *s;
	const struct onnx_model *m;
	struct err *e;
	/* memory: tables and folded constants from the top of the arena downwards */
	size_t top, top_start;
	struct tensor **of_value;      /* model value -> tensor */
	struct step **steps;           /* in the order of execution */
	uint32_t n_steps, cap_steps;
	struct tensor **inputs, **outputs;
	uint64_t act_bytes;            /* the block of activations */
	uint8_t *act;
	uint64_t scratch, shared;      /* largest of all steps */
	uint8_t *scratch_at, *shared_at;
	uint64_t macs;
	uint64_t work;                 /* elements folded while planning: a budget */
	uint64_t weights_bytes;        /* packed by this plan (dry runs count only) */
	bool dry;                      /* only sizes: nothing is packed or folded beyond small constants */
	bool is_keyed;                 /* some input's value was used */
};

/* What a step sees while it runs. */
struct run {
	const struct kernels *k;
	struct pool *pool;             /* NULL: alone */
	unsigned n_threads;
	uint8_t *scratch;              /* n_threads pieces */
	uint64_t scratch_each;
	uint8_t *shared;
	struct err *e;
	const struct plan *plan;
};

/* --- memory of the plan (session.c) ------------------------------------------------------------- */

/* From the top of the session's arena, 64-aligned, zeroed; NULL and plan->e set when it is full. */
void *plan_alloc(struct plan *p, uint64_t n, uint64_t size);
/* Persistent memory (packed weights): kept over replanning. */
void *plan_keep(struct plan *p, uint64_t bytes);
/* Everything plan_alloc gave since the mark is given back (temporary copies while packing). */
size_t plan_mark(struct plan *p);
void plan_release(struct plan *p, size_t mark);

/* --- errors ------------------------------------------------------------------------------------------ */

/* "Conv \"name\" (byte 123): ..." */
int plan_fail(struct plan *p, const struct step *s, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The shapes do not fit together: the model's fault when they are its own, else the caller's. */
int plan_fail_shape(struct plan *p, const struct step *s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int run_fail(struct run *r, const struct step *s, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* --- tensors -------------------------------------------------------------------------------------- */

struct tensor *plan_tensor(struct plan *p);
/* Checks extents, counts elements and bytes. */
int plan_shape(struct plan *p, const struct step *s, struct tensor *t, int dtype, int rank,
               const int64_t *dims);
/* Sets output i of a step like plan_shape; does nothing when the node leaves it out. */
int plan_out(struct plan *p, struct step *s, uint32_t i, int dtype, int rank, const int64_t *dims);
/* A new step, not yet in the list. */
struct step *plan_step(struct plan *p, const struct op *op, const struct onnx_node *n, uint32_t n_in,
                       uint32_t n_out);

static inline struct tensor *step_in(const struct step *s, uint32_t i)
{
	return i < s->n_in ? s->in[i] : NULL;
}
static inline struct tensor *step_out(const struct step *s, uint32_t i)
{
	return i < s->n_out ? s->out[i] : NULL;
}

/* Reads a constant's payload: aligned, kept as long as the session (file) or the plan. NULL and error
 * when it does not fit. Splats are written out. */
void *plan_data(struct plan *p, struct tensor *t);
/* Element i of a constant of i32 or i64, or of f32. The constant must have plan_data. */
int64_t const_int(const struct tensor *t, uint64_t i);
/* All elements of an integer constant, at most max; *n is set. Errors name the operand. */
int plan_ints(struct plan *p, const struct step *s, uint32_t i, int64_t *out, size_t max, size_t *n);
/* The one element of a float constant (rank 0, or one element). False when it is none. */
bool const_scalar(struct plan *p, struct tensor *t, float *out);

/* axis from -rank..rank-1 to 0..rank-1; false when out of range. */
bool axis_fix(int64_t *axis, int64_t rank);
/* Axes as an attribute or as input i; sets a bit per axis. none: what no axes mean. */
int plan_axes(struct plan *p, const struct step *s, uint32_t i, int64_t rank, uint32_t none,
              uint32_t *mask);

/* --- passes --------------------------------------------------------------------------------------- */

int plan_infer(struct plan *p, const struct engine_tensor *const *inputs);
int plan_rewrite(struct plan *p);
int plan_lower(struct plan *p);
int plan_memory(struct plan *p);
int plan_fold(struct plan *p, struct step *s);
void plan_count_uses(struct plan *p);
void plan_drop_dead(struct plan *p);

/* --- running --------------------------------------------------------------------------------------- */

/* Tasks over the pool, or in a loop when alone. */
void run_tasks(const struct run *r, void (*fn)(void *arg, uint32_t task, unsigned thread), void *arg,
               uint32_t n);

static inline uint64_t blocks_of(int64_t c) { return ((uint64_t)c + CBLOCK - 1) / CBLOCK; }

#endif
