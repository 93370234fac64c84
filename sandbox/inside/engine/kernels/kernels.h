/* SPDX-License-Identifier: Apache-2.0
 *
 * Compute kernels: the contract between the graph compiler (which decides) and the arithmetic
 * (which has no checks and no allocation). Each kernel exists in plain C, which defines the answer,
 * and per instruction-set level; every level gives the same bits (NaN payloads apart). Rules:
 *   - one output element = one fixed chain in the order of k, one FMA per product, starting from the
 *     bias (from 0 without one). Blocking over K stores and reloads the accumulator: it never adds
 *     two partial sums. Which tile, thread or batch place computes an element changes nothing.
 *   - reductions: 16 lanes (element i goes to lane i mod 16) and a fixed tree.
 *   - exp, log, erf, tanh, sigmoid are our own polynomials with the same operations everywhere.
 *   - flush-to-zero and denormals-are-zero are on in every thread that computes: fp_env_set.
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

/* Sets MXCSR of the calling thread: round to nearest, exceptions masked, FTZ and DAZ on. pool_start
 * does it for its own threads and for its caller; any other thread that computes calls it once. */
void fp_env_set(void);

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
 * dimensions in elements. B is packed once: panels of PACK_N columns, k-major in a panel
 * (dst[(n / PACK_N) * k_total * PACK_N + k * PACK_N + n % PACK_N]), columns beyond N zero. One
 * packing serves all levels. k >= 1. A pool of NULL means, here and below: on the calling thread alone
 * (then the caller may be a task of the pool itself). */

#define PACK_N 16

size_t gemm_pack_bytes(int64_t k, int64_t n);
/* b is [k,n] row-major with ldb, or its transpose [n,k] when trans. dst 64-aligned. */
void gemm_pack(float *dst, const float *b, int64_t ldb, bool trans, int64_t k, int64_t n);

struct gemm {
	int64_t m, n, k;
	const float *a;
	int64_t lda;
	const float *packed_b;
	float *c;
	int64_t ldc;
	const float *bias;      /* per column, n elements, or NULL */
	const float *residual;  /* [M,N] with the leading dimension ldc, or NULL; may be c itself */
	struct activation act;
};

/* The form for activation x activation (attention): b is packed into scratch first
 * (gemm_pack_bytes(k, n), 64-aligned). Same bits as gemm_pack + gemm_f32. */
struct gemm_dynamic {
	struct gemm g;          /* packed_b is ignored */
	const float *b;         /* [k,n] with ldb, or [n,k] when trans_b */
	int64_t ldb;
	bool trans_b;
	float *scratch;
};

/* --- convolution in channel blocks -----------------------------------------------------------------
 * Activations as [N][ceil(C/16)][H][W][16]. Conv, pooling and to_blocks write zero into the lanes
 * beyond C; flat elementwise kernels may leave anything there: no kernel ever lets a lane beyond C
 * reach a lane below it. Weights packed once. 1-D is H = 1, kh = 1.
 * Order of the chain: channel block, kh, kw, channel in the block. Padding is a zero that is
 * multiplied like any other. The kernel is chosen from the layer's shape alone.
 *   groups == 1              dense
 *   groups == c_in == c_out  depthwise
 *   else                     grouped: any c_in/groups and c_out/groups (fastest: multiples of 16)
 *   transposed               ConvTranspose; h_out and w_out as ONNX gives them; pads as in ONNX
 *   x_nchw                   x is plain NCHW; only with conv_can_nchw (first layers); same bits
 *   y_nchw                   y is plain NCHW; only with conv_can_y_nchw (a last 2x2 upsampling to one
 *                            channel: taps take the place of channels in the vector)
 */

#define CBLOCK 16

struct conv {
	int64_t n, c_in, h_in, w_in;
	int64_t c_out, h_out, w_out;
	int64_t kh, kw, stride_h, stride_w, dil_h, dil_w;
	int64_t pad_top, pad_left;   /* bottom and right follow from the output size */
	int64_t groups;
	const float *x;              /* blocked (or NCHW, see x_nchw) */
	const float *packed_w;
	float *y;                    /* blocked */
	const float *bias;           /* c_out elements or more, or NULL */
	const float *residual;       /* blocked, as y, or NULL; may be y itself */
	struct activation act;
	bool transposed;
	bool x_nchw;
	bool y_nchw;                 /* decides the packing too: set it before conv_pack */
	/* Distance of two images in floats, 0 = dense: lets x be a run of channel blocks of a wider
	 * tensor and y (and residual) a place inside a Concat's result. */
	int64_t x_image, y_image;
	/* A channel shuffle that was not carried out on x: input channel i is x's channel (i % x_shuffle) *
	 * (c_in / x_shuffle) + i / x_shuffle. 0 = none; only with conv_can_shuffle. */
	int64_t x_shuffle;
};

/* True when x_shuffle is allowed: pointwise in groups of 16 output channels or more. */
bool conv_can_shuffle(const struct conv *shape);
/* True when x_nchw is allowed: groups == 1, c_in <= 16, not transposed. It pays at c_in <= 4. */
bool conv_can_nchw(const struct conv *shape);
/* True when y_nchw is allowed: transposed, groups == 1, kernel == stride, no dilation, no pads, no
 * output padding, no residual, c_out * kh * kw <= 16. */
bool conv_can_y_nchw(const struct conv *shape);
size_t conv_pack_bytes(const struct conv *shape);
/* w is OIHW (I = c_in/groups); transposed: IOHW (O = c_out/groups) as ONNX stores it. Reads channel
 * counts, groups, kernel, transposed and y_nchw only: one packing serves every image size. */
void conv_pack(float *dst, const float *w, const struct conv *shape);
/* Scratch one thread needs while it runs this shape (64-aligned; often a few hundred bytes). */
size_t conv_scratch_bytes(const struct conv *shape);

/* Max and average pooling in blocks. */
enum pool_kind { POOL_MAX, POOL_AVG, POOL_AVG_INCLUDE_PAD, POOL__MAX };

struct pooling {
	enum pool_kind kind;
	int64_t n, c, h_in, w_in, h_out, w_out;
	int64_t kh, kw, stride_h, stride_w, dil_h, dil_w;
	int64_t pad_top, pad_left, pad_bottom, pad_right; /* include-pad counts cells inside the pads */
	const float *x;
	float *y;
	int64_t x_image, y_image; /* as in struct conv */
};

/* LRN over channels in blocks: y = x / (k + alpha / size * sum of squares)^beta. y is not x. */
struct lrn {
	int64_t n, c, hw, size;
	float alpha, beta, k;
	const float *x;
	float *y;
};

/* --- LSTM -------------------------------------------------------------------------------------------
 * One direction, one time step of ONNX LSTM (gates i o f c; sigmoid, tanh, tanh; no peepholes, no
 * clip): gates = bias + x W^T + h R^T in that order, c' = f * c + i * g (fma(f, c, i*g)),
 * h' = o * tanh(c'). h_out and c_out must not overlap h and x (c_out may be c). */
struct lstm {
	int64_t batch, input, hidden;
	const float *x;          /* [batch, input], leading dimension ldx */
	int64_t ldx;
	const float *h, *c;      /* [batch, hidden], dense */
	const float *packed;     /* lstm_pack */
	float *h_out, *c_out;    /* [batch, hidden], dense */
};

size_t lstm_pack_bytes(int64_t input, int64_t hidden);
/* w: [4*hidden, input], r: [4*hidden, hidden], b: [8*hidden] (Wb, Rb) or NULL, as ONNX stores them. */
void lstm_pack(float *dst, const float *w, const float *r, const float *b, int64_t input, int64_t hidden);

/* --- elementwise --------------------------------------------------------------------------------
 * n contiguous elements; y may be an operand itself. NaN in, NaN out. */
enum unary { UN_EXP, UN_LOG, UN_SQRT, UN_RECIPROCAL, UN_NEG, UN_ABS, UN_ERF, UN_TANH, UN_SIGMOID,
             UN_RELU, UN_FLOOR, UN_CEIL, UN_SQUARE, UN__MAX };
enum binary { BIN_ADD, BIN_SUB, BIN_MUL, BIN_DIV, BIN_MAX, BIN_MIN, BIN__MAX };
enum reduce { RED_SUM, RED_MAX, RED_MIN, RED_SUMSQ, RED__MAX };

/* --- the table ------------------------------------------------------------------------------------
 * One per level; the session takes one at start and never looks at the processor again. Functions
 * without a pool argument run on the calling thread: the caller may cut them into slices and hand
 * those to pool_run (flat kernels: at any multiple of 16; row kernels: between rows). */
struct pool;

struct kernels {
	enum level level;
	void (*gemm_f32)(struct pool *p, const struct gemm *g);
	void (*gemm_dynamic_f32)(struct pool *p, const struct gemm_dynamic *g);
	void (*conv_f32)(struct pool *p, const struct conv *c, void *scratch, size_t scratch_per_thread);
	void (*pooling_f32)(struct pool *p, const struct pooling *q);
	/* Mean (max = false) or maximum over hw: y is [c_blocks][16] per image (blocked, H = W = 1). */
	void (*global_pool_f32)(struct pool *p, bool max, float *y, const float *x, int64_t images_x_blocks,
	                        int64_t hw);
	void (*lrn_f32)(struct pool *p, const struct lrn *l);
	void (*lstm_step_f32)(struct pool *p, const struct lstm *l);

	void (*unary_f32)(enum unary op, float *y, const float *x, size_t n);
	void (*binary_f32)(enum binary op, float *y, const float *a, const float *b, size_t n);
	void (*binary_scalar_f32)(enum binary op, float *y, const float *a, float b, bool b_first, size_t n);
	void (*activate_f32)(struct activation act, float *y, const float *x, size_t n);
	/* In blocks, `blocks` of hw cells: y[b][i][l] = x[b][i][l] op s[b][l] (s: blocks*16 floats). */
	void (*block_binary_f32)(enum binary op, float *y, const float *x, const float *s, int64_t blocks,
	                         int64_t hw);
	/* y = act(fma(x, scale, shift)) per channel, in blocks (scale, shift: blocks*16 floats): a
	 * BatchNormalization that could not be folded. */
	void (*block_affine_f32)(struct activation act, float *y, const float *x, const float *scale,
	                         const float *shift, int64_t blocks, int64_t hw);

	/* 16 lanes and a fixed tree, whatever the level. n >= 1 for max and min. */
	float (*sum_f32)(const float *x, size_t n);
	float (*max_f32)(const float *x, size_t n);
	float (*reduce_f32)(enum reduce op, const float *x, size_t n);
	/* Over axis 0 of [rows][cols], leading dimension ldx: one chain per column in the order of rows. */
	void (*reduce_rows_f32)(enum reduce op, float *y, const float *x, size_t rows, size_t cols, size_t ldx);
	void (*softmax_f32)(float *y, const float *x, size_t n);
	/* (x - mean) / sqrt(variance + eps) * gamma + beta, one row of n; gamma, beta may be NULL. */
	void (*layernorm_f32)(float *y, const float *x, const float *gamma, const float *beta, float eps,
	                      size_t n);

	/* NCHW <-> channel blocks, one image. */
	void (*to_blocks)(float *dst, const float *src, int64_t c, int64_t hw);
	void (*from_blocks)(float *dst, const float *src, int64_t c, int64_t hw);
	/* [HW][C] with leading dimension ld <-> channel blocks, one image (a Transpose that costs
	 * nothing extra). */
	void (*rows_to_blocks)(float *dst, const float *src, int64_t ld, int64_t c, int64_t hw);
	void (*blocks_to_rows)(float *dst, int64_t ld, const float *src, int64_t c, int64_t hw);
	/* dst[cols][rows] = transpose of src[rows][cols] (leading dimensions ldd, lds). */
	void (*transpose_f32)(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t rows, int64_t cols);
	/* Nearest resize in blocks: y[b][i][j] = x[b][map_h[i]][map_w[j]]; maps were checked. */
	void (*resize_nearest_f32)(float *y, const float *x, int64_t blocks, int64_t h_in, int64_t w_in,
	                           int64_t h_out, int64_t w_out, const int32_t *map_h, const int32_t *map_w);
	/* y[i] = table[ids[i]], rows of width floats; ids were checked against the table. */
	void (*lookup_rows_f32)(float *y, const float *table, const int32_t *ids, size_t n, size_t width);
};

/* The table of a level; NULL when this processor cannot run it. */
const struct kernels *kernels_get(enum level l);

#endif
