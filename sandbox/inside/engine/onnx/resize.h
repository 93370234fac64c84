/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of Resize. Side: inside. Trusts: infer. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_RESIZE_H
#define FUMEHOOD_ONNX_RESIZE_H

#include "sandbox/inside/engine/onnx/plan.h"

struct resize_p {
	bool linear, cubic;
	int64_t outer, in[2], out[2];
	int32_t *map[2];     /* lower source index per output index */
	int32_t *map_hi[2];  /* linear: upper one */
	float *weight[2];    /* linear: of the upper one */
};

#endif
