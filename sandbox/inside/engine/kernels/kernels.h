/* SPDX-License-Identifier: Apache-2.0
 *
 * Compute kernels: the contract between the graph compiler (which decides) and the arithmetic
 * (which has no checks and no allocation). Each kernel exists in plain C, which defines the answer,
 * and per instruction-set level; each level gives the same bits for f32 products unless a comment
 * says otherwise (one output element = one fixed chain in the order of k, FMA where written).
 *
 * Side: inside. Trusts: its arguments (they were checked when the plan was made). Owns: nothing.
 */
#ifndef FUMEHOOD_KERNELS_H
#define FUMEHOOD_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum level { LEVEL_C, LEVEL_AVX2, LEVEL_AVX512, LEVEL_AMX, LEVEL__MAX };

/* The best level of this processor (CPUID, XGETBV): called once, before the wall. */
enum level level_detect(void);
bool level_is_supported(enum level l);
const char *level_name(enum level l); /* "C", "AVX2", "AVX512", "AMX" */

/* --- activation functions and epilogues ---------------------------------------------------------- */

enum act { ACT_NONE, ACT_RELU, ACT_CLIP, ACT_LEAKY, ACT_HARDSIGMOID, ACT_HARDSWISH, ACT_SIGMOID,
           ACT_TANH, ACT_GELU_ERF, ACT_SWISH, ACT_GELU_TANH, ACT__MAX };

/* y = act(alpha-and-beta; x). CLIP: [alpha, beta]. LEAKY: alpha. HARDSIGMOID: clip(alpha x + beta,
 * 0, 1). HARDSWISH: x * hardsigmoid(alpha, beta). SWISH: x * sigmoid(alpha x). GELU_TANH: 0.5 x (1 +
 * tanh(0.7978846 (x + 0.044715 x^3))). With post: y = act(x) * post_mul + post_add (one FMA), as the
 * learned scale and shift behind the HardSwish of PP-OCR asks. */
struct activation {
	enum act kind;
	float alpha, beta;
	bool post;
	float post_mul, post_add;
};

/* --- matrix products ------------------------------------------------------------------------------
 * C[M,N] = act(A[M,K] * B[K,N] + bias[N] + residual[M,N]). A and C row-major with leading
 * dimensions in elements. B is packed once: panels of PACK_N columns, k-major in a panel, columns
 * beyond N zero. A pool of NULL means: on the calling thread alone (then the caller may be a task of
 * the pool itself). */

size_t gemm_pack_bytes(int64_t k, int64_t n);
/* b is [k,n] row-major with ldb, or its transpose [n,k] when trans. */
void gemm_pack(float *dst, const float *b, int64_t ldb, bool trans, int64_t k, int64_t n);

struct gemm {
	int64_t m, n, k;
	const float *a;
	int64_t lda;
	const float *packed_b;
	float *c;
	int64_t ldc;
	const float *bias;      /* per column, or NULL */
	const float *residual;  /* same layout as c, or NULL */
	struct activation act;
};

/* --- convolution in channel blocks -----------------------------------------------------------------
 * Activations as [N][ceil(C/16)][H][W][16]; lanes beyond C are zero from to_blocks and otherwise any
 * finite number (act(0) of another step): packed weights there are zero. Weights packed once. 1-D is H = 1.
 * Depthwise (groups == C_in == C_out) and grouped forms have their own packing; the kernel is
 * chosen from the layer's shape alone. */

#define CBLOCK 16

struct conv {
	int64_t n, c_in, h_in, w_in;
	int64_t c_out, h_out, w_out;
	int64_t kh, kw, stride_h, stride_w, dil_h, dil_w;
	int64_t pad_top, pad_left;   /* bottom and right follow from the output size */
	int64_t groups;
	const float *x;              /* blocked */
	const float *packed_w;
	float *y;                    /* blocked */
	const float *bias;           /* padded to the block, or NULL */
	const float *residual;       /* blocked, as y, or NULL */
	struct activation act;
};

size_t conv_pack_bytes(const struct conv *shape);
/* w is OIHW (I = c_in/groups). */
void conv_pack(float *dst, const float *w, const struct conv *shape);
/* Scratch one thread needs while it runs this shape. */
size_t conv_scratch_bytes(const struct conv *shape);

/* --- elementwise --------------------------------------------------------------------------------
 * n contiguous elements. Own polynomials, no libm; the same operations on every level. */
enum unary { UN_EXP, UN_LOG, UN_SQRT, UN_RECIPROCAL, UN_NEG, UN_ABS, UN_ERF, UN_TANH, UN_SIGMOID,
             UN_RELU, UN_FLOOR, UN_CEIL, UN__MAX };
enum binary { BIN_ADD, BIN_SUB, BIN_MUL, BIN_DIV, BIN_MAX, BIN_MIN, BIN__MAX };

/* --- the table ------------------------------------------------------------------------------------
 * One per level; the session takes one at start and never looks at the processor again. */
struct pool;

struct kernels {
	enum level level;
	void (*gemm_f32)(struct pool *p, const struct gemm *g);
	void (*conv_f32)(struct pool *p, const struct conv *c, void *scratch, size_t scratch_per_thread);
	void (*unary_f32)(enum unary op, float *y, const float *x, size_t n);
	void (*binary_f32)(enum binary op, float *y, const float *a, const float *b, size_t n);
	void (*binary_scalar_f32)(enum binary op, float *y, const float *a, float b, bool b_first, size_t n);
	void (*activate_f32)(struct activation act, float *y, const float *x, size_t n);
	/* 16 lanes and a fixed tree, whatever the level. */
	float (*sum_f32)(const float *x, size_t n);
	float (*max_f32)(const float *x, size_t n);
	void (*softmax_f32)(float *y, const float *x, size_t n);
	/* NCHW <-> channel blocks, one image. */
	void (*to_blocks)(float *dst, const float *src, int64_t c, int64_t hw);
	void (*from_blocks)(float *dst, const float *src, int64_t c, int64_t hw);
};

/* The table of a level; NULL when this processor cannot run it. */
const struct kernels *kernels_get(enum level l);

#endif
