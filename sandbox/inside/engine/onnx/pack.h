/* SPDX-License-Identifier: Apache-2.0
 *
 * Packs constant weights for the kernels, once per session where they follow from the file alone.
 * Side: inside. Trusts: infer. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_PACK_H
#define FUMEHOOD_ONNX_PACK_H

#include "sandbox/inside/engine/onnx/plan.h"

/* Each sets the step's packed weights and bias and lets go of its constant operands. A step whose weights
 * are computed while running is left as it is. */
int pack_conv(struct plan *p, struct step *s);
/* A ConvTranspose without overlaps as a 1x1 convolution to c_out * kh * kw channels, ordered (kh, kw, c). */
int pack_spread(struct plan *p, struct step *s);
int pack_matmul(struct plan *p, struct step *s);
int pack_lstm(struct plan *p, struct step *s);

#endif
