/* SPDX-License-Identifier: Apache-2.0
 *
 * How a convolution's weights lie and which form computes it: shared by the packer (pack.c) and the
 * kernels (body_conv.h), so that the two cannot disagree.
 *
 * Packed weights. Depthwise: [block of 16 channels][kh][kw][16]. All others: per group and block of
 * 16 output channels of that group one panel of c_in/groups * kh * kw * 16 floats, in the order
 * [run of input channels][kh][kw][channel in the run][16]; runs end where a channel block of the
 * input ends, so with groups == 1 a run is a channel block. Columns beyond the group's are zero.
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
/* Floats of one panel: one group, 16 output channels. */
static inline int64_t conv_panel(const struct conv *c) { return conv_group_in(c) * c->kh * c->kw * 16; }

#endif
