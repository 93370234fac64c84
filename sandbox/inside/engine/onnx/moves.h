/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of the moving operators: shared with the passes that recognise them.
 * Side: inside. Trusts: infer. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_MOVES_H
#define FUMEHOOD_ONNX_MOVES_H

#include "proto/limits.h"

#include <stdbool.h>
#include <stdint.h>

struct move_transpose { int8_t perm[LIMIT_RANK]; };
struct move_slice { int64_t start[LIMIT_RANK], step[LIMIT_RANK]; };
struct move_axis {
	int axis;
	int64_t extent;       /* OneHot: the depth */
	const int64_t *parts; /* Split */
};
struct move_pad {
	int mode;             /* 0 constant, 1 reflect, 2 edge */
	int64_t begin[LIMIT_RANK];
	uint8_t value[8];
};
struct move_depth {
	bool to_space, crd;
	int64_t block;
};

#endif
