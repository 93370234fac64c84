/* SPDX-License-Identifier: Apache-2.0
 *
 * Products by OpenBLAS. Side: inside. Trusts: infer. Owns: nothing.
 */
#ifndef FUMEHOOD_ONNX_BLAS_STEP_H
#define FUMEHOOD_ONNX_BLAS_STEP_H

#include "sandbox/inside/engine/onnx/plan.h"

/* The core that OpenBLAS runs on when a session of this level may use it, else "none". */
const char *blas_step_core(enum level l);
/* Does the table want this product (constant right side, S_MATMUL)? */
bool blas_step_wants(const struct plan *p, const struct step *s);
/* Makes the step run on OpenBLAS; c: Gemm's constant row (with plan_data) or NULL. */
int blas_step_make(struct plan *p, struct step *s, const struct tensor *c);

#endif
