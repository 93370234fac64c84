/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing of weights, once per model: the same bytes for every level. Layouts stand in kernels.h,
 * conv_shape.h and body_lstm.h.
 *
 * Side: inside. Trusts: its arguments (sizes were checked when the plan was made). Owns: nothing.
 */
#include "sandbox/inside/engine/kernels/conv_shape.h"

#include <string.h>

static size_t bytes(int64_t floats)
{
	return ((size_t)floats * sizeof(float) + 63) & ~(size_t)63;
}

size_t gemm_pack_bytes(int64_t k, int64_t n)
{
	return bytes(k * ((n + PACK_N - 1) / PACK_N * PACK_N));
}

void gemm_pack(float *dst, const float *b, int64_t ldb, bool trans, int64_t k, int64_t n)
{
	for (int64_t n0 = 0; n0 < n; n0 += PACK_N)
		for (int64_t i = 0; i < k; i++, dst += PACK_N)
			for (int64_t j = 0; j < PACK_N; j++)
				dst[j] = n0 + j >= n ? 0.0f : trans ? b[(n0 + j) * ldb + i] : b[i * ldb + n0 + j];
}

bool conv_can_nchw(const struct conv *c)
{
	return c->groups == 1 && c->c_in <= CBLOCK && !c->transposed;
}

bool conv_can_y_nchw(const struct conv *c)
{
	return c->transposed && c->groups == 1 && c->kh == c->stride_h && c->kw == c->stride_w && c->dil_h == 1 &&
	       c->dil_w == 1 && c->pad_top == 0 && c->pad_left == 0 && c->h_out == c->h_in * c->kh &&
	       c->w_out == c->w_in * c->kw && !c->residual && c->c_out * c->kh * c->kw <= CBLOCK;
}

bool conv_can_shuffle(const struct conv *c) { return conv_is_mixed(c); }

size_t conv_pack_bytes(const struct conv *c)
{
	if (conv_is_mixed(c))
		return bytes((c->c_out + 15) / 16 * conv_panel(c));
	if (c->y_nchw)
		return bytes(c->c_in * 16);
	if (conv_is_depthwise(c))
		return bytes((c->c_out + 15) / 16 * 16 * c->kh * c->kw);
	return bytes(c->groups * conv_group_blocks(c) * conv_panel(c));
}

static void pack_depthwise(float *dst, const float *w, const struct conv *c)
{
	int64_t taps = c->kh * c->kw;
	for (int64_t b = 0; b < c->c_out; b += 16)
		for (int64_t t = 0; t < taps; t++)
			for (int64_t j = 0; j < 16; j++)
				*dst++ = b + j < c->c_out ? w[(b + j) * taps + t] : 0.0f;
}

/* Weight of input channel i and output channel o of group g at tap t. */
static float weight_at(const struct conv *c, const float *w, int64_t g, int64_t i, int64_t o, int64_t t)
{
	int64_t gi = conv_group_in(c), go = conv_group_out(c), taps = c->kh * c->kw;
	if (c->transposed)
		return w[((g * gi + i) * go + o) * taps + t];
	return w[((g * go + o) * gi + i) * taps + t];
}

/* One panel: input channels in runs that end where a channel block of the whole input ends. */
static float *pack_panel(float *dst, const float *w, const struct conv *c, int64_t g, int64_t o0)
{
	int64_t gi = conv_group_in(c), go = conv_group_out(c), taps = c->kh * c->kw;
	for (int64_t i = 0, len; i < gi; i += len) {
		len = 16 - (g * gi + i) % 16;
		len = len < gi - i ? len : gi - i;
		for (int64_t t = 0; t < taps; t++)
			for (int64_t k = 0; k < len; k++, dst += 16)
				for (int64_t j = 0; j < 16; j++)
					dst[j] = o0 + j < go ? weight_at(c, w, g, i + k, o0 + j, t) : 0.0f;
	}
	return dst;
}

static void pack_scatter(float *dst, const float *w, const struct conv *c)
{
	int64_t taps = c->kh * c->kw;
	for (int64_t i = 0; i < c->c_in; i++)
		for (int64_t j = 0; j < 16; j++)
			*dst++ = j < taps * c->c_out ? w[(i * c->c_out + j % c->c_out) * taps + j / c->c_out] : 0.0f;
}

static void pack_mixed(float *dst, const float *w, const struct conv *c)
{
	int64_t gi = conv_group_in(c);
	for (int64_t o = 0; o < c->c_out; o += 16)
		for (int64_t k = 0; k < gi; k++)
			for (int64_t j = 0; j < 16; j++)
				*dst++ = o + j < c->c_out ? w[(o + j) * gi + k] : 0.0f;
}

void conv_pack(float *dst, const float *w, const struct conv *c)
{
	if (conv_is_mixed(c)) {
		pack_mixed(dst, w, c);
		return;
	}
	if (c->y_nchw) {
		pack_scatter(dst, w, c);
		return;
	}
	if (conv_is_depthwise(c)) {
		pack_depthwise(dst, w, c);
		return;
	}
	for (int64_t g = 0; g < c->groups; g++)
		for (int64_t o = 0; o < conv_group_out(c); o += 16)
			dst = pack_panel(dst, w, c, g, o);
}

size_t conv_scratch_bytes(const struct conv *c)
{
	if (conv_is_depthwise(c))
		return 64;
	int64_t taps = c->kh * c->kw;
	/* Four numbers per tap; NCHW: an offset per step of k and eight rows of operands. */
	size_t need = bytes(taps * 8);
	/* Two offsets per step of k, for cells inside and for copies of cells at the border; those copies. */
	if (conv_is_mixed(c))
		return need + bytes(conv_group_in(c) * (4 * 2 + 8 * 2));
	return c->x_nchw ? need + bytes(taps * c->c_in * (2 + 8)) : need;
}

size_t lstm_pack_bytes(int64_t input, int64_t hidden)
{
	return bytes((hidden + 15) / 16 * 64 * (input + hidden + 1));
}

void lstm_pack(float *dst, const float *w, const float *r, const float *b, int64_t input, int64_t hidden)
{
	int64_t blocks = (hidden + 15) / 16;
	for (int64_t u = 0; u < blocks * 16; u += 16)
		for (int64_t k = 0; k < input + hidden; k++)
			for (int64_t g = 0; g < 4; g++)
				for (int64_t j = 0; j < 16; j++, dst++) {
					int64_t row = g * hidden + u + j;
					*dst = u + j >= hidden ? 0.0f
					       : k < input     ? w[row * input + k]
					                       : r[row * hidden + k - input];
				}
	for (int64_t u = 0; u < blocks * 16; u += 16)
		for (int64_t g = 0; g < 4; g++)
			for (int64_t j = 0; j < 16; j++, dst++) {
				int64_t row = g * hidden + u + j;
				*dst = u + j >= hidden || !b ? 0.0f : b[row] + b[4 * hidden + row];
			}
}
