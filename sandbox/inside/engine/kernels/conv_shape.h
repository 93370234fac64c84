/* SPDX-License-Identifier: Apache-2.0
 *
 * How a convolution's weights lie and which form computes it: shared by the packer (pack.c) and the
 * kernels (body_conv.h), so that the two cannot disagree.
 *
 * Packed weights. Depthwise: [block of 16 channels][kh][kw][16]. All others: per group and block of
 * 16 output channels of that group one panel of c_in/groups * kh * kw * 16 floats, in the order
 * [run of input channels][kh][kw][channel in the run][16]; runs end where a channel block of the
 * input ends, so with groups == 1 a run is a channel block. Columns beyond the group's are zero.
 * Pointwise in groups of 16 output channels and more: [block of 16 output channels][k][16], a block may
 * hold the channels of two groups: k counts in each lane's own group.
 * With y_nchw: one panel [input channel][16], column = (kh * kernel width + kw) * c_out + channel.
 *
 * Side: inside. Trusts: its arguments. Owns: nothing.
 */
#ifndef FUMEHOOD_CONV_SHAPE_H
#define FUMEHOOD_CONV_SHAPE_H

#include "sandbox/inside/engine/kernels/kernels.h"

static inline bool conv_is_depthwise(const struct conv *c)
{
	return c->groups > 1 && c->groups == c->c_in && c->groups == c->c_out && !c->transposed;
}
static inline int64_t conv_group_in(const struct conv *c) { return c->c_in / c->groups; }
static inline int64_t conv_group_out(const struct conv *c) { return c->c_out / c->groups; }
static inline int64_t conv_group_blocks(const struct conv *c) { return (conv_group_out(c) + 15) / 16; }
/* Pointwise in groups that need not end where a block does: a block of output channels lies in at most two
 * groups, and each of its lanes takes the operand of its own. */
static inline bool conv_is_mixed(const struct conv *c)
{
	return c->groups > 1 && !c->transposed && c->kh == 1 && c->kw == 1 && conv_group_out(c) >= 16;
}
/* Where the convolution's input channel i lies in x, in floats from a cell's first channel block. */
static inline int64_t conv_channel_at(const struct conv *c, int64_t i)
{
	int64_t s = c->x_shuffle ? c->x_shuffle : 1, ch = i % s * (c->c_in / s) + i / s;
	return ch / 16 * c->h_in * c->w_in * 16 + ch % 16;
}
/* Floats of one panel: one group, 16 output channels. */
static inline int64_t conv_panel(const struct conv *c) { return conv_group_in(c) * c->kh * c->kw * 16; }

#endif
