/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of the normalisations. Side: inside. Trusts: infer. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_NORM_H
#define FUMEHOOD_ONNX_NORM_H

#include "sandbox/inside/engine/onnx/plan.h"

struct norm_p {
	float eps;
	int64_t rows, n;   /* LayerNormalization */
	int64_t c, hw;     /* BatchNormalization, per image */
};

/* scale = gamma / sqrt(var + eps), shift = beta - mean * scale: the one formula of BatchNormalization. */
void norm_affine(float *scale, float *shift, const float *gamma, const float *beta, const float *mean,
                 const float *var, float eps, int64_t c);

#endif
