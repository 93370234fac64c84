/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of Conv, ConvTranspose, MatMul, Gemm, pooling, LSTM: shared by the operators (which compute
 * from plain tensors, whatever is constant) and by lower.c (which packs weights once and fuses).
 *
 * Side: inside. Trusts: infer. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_LINEAR_H
#define FUMEHOOD_ONNX_LINEAR_H

#include "sandbox/inside/engine/onnx/plan.h"

/* A convolution; scale and shift per output channel and the activation are what fusion adds. */
struct conv_p {
	struct conv c;
	int spatial;             /* 1 or 2 */
	const float *packed;     /* NULL: packed while running */
	const float *bias;       /* padded to whole blocks; NULL: from the input, or none */
	float *scale, *shift;    /* folded multiplications and additions, c_out each; NULL: none */
	bool affine_from_file;
	uint64_t fused_key;      /* what was folded in, for the cache of packed weights */
	struct activation act;
	int64_t order;           /* depthwise before its shuffle: channel c is number (c % (C / order)) * order +
	                          * c / (C / order) of weights and bias; 0: in order */
	bool has_residual;       /* in[3] */
};

struct gemm_p {
	int64_t batch, m, n, k;
	int64_t a_step[LIMIT_RANK], b_step[LIMIT_RANK], dims[LIMIT_RANK]; /* over the batch axes */
	int n_batch;
	bool trans_a, trans_b, flat; /* flat: B is one matrix for all rows of A */
	float alpha, beta;
	bool is_gemm;
	const float *packed;
	const float *bias;       /* fused or Gemm's C as one row */
	float *scale, *shift;    /* folded per column, n each; NULL: none */
	bool affine_from_file;
	uint64_t fused_key;
	struct activation act;
	bool has_residual;       /* the last input */
};

struct pool_p {
	struct pooling q;
	int spatial;
};

struct lstm_p {
	int64_t seq, batch, input, hidden, dirs;
	bool reverse;
	const float *packed[2];
};

/* Element offset of a batch index in a broadcast operand. */
int64_t gemm_batch_off(const struct gemm_p *g, const int64_t *step, int64_t i);

/* Attributes of Conv and pooling: kernel, strides, dilations, pads with auto_pad and ceil_mode. */
struct window {
	int64_t k[2], stride[2], dil[2], pad[4]; /* top, left, bottom, right */
	int64_t in[2], out[2];
};
int window_read(struct plan *p, struct step *s, int spatial, const int64_t *in, const int64_t *kernel,
                struct window *w);
int window_out(struct plan *p, struct step *s, struct window *w, int spatial, bool ceil_mode);

int conv_run(struct run *r, const struct step *s);
int matmul_run(struct run *r, const struct step *s);
int gemm_run(struct run *r, const struct step *s);
int lstm_run(struct run *r, const struct step *s);
int pool_run_plain(struct run *r, const struct step *s);

/* Plain [N,C,spatial] to blocks and back, images and blocks over the pool. */
void blocks_from_plain(struct run *r, float *dst, const float *src, int64_t n, int64_t c, int64_t hw);
void blocks_to_plain(struct run *r, float *dst, const float *src, int64_t n, int64_t c, int64_t hw);

#endif
