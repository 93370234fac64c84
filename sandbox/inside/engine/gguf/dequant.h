/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensor data as f32, in plain C: what every packed layout and kernel is compared with.
 *
 * Side: inside. Trusts: the type and length (checked when the tensor was read). Owns: nothing.
 */
#ifndef FUMEHOOD_GGUF_DEQUANT_H
#define FUMEHOOD_GGUF_DEQUANT_H

#include <stdbool.h>
#include <stdint.h>

/* Writes n_elems numbers (a multiple of the type's block) of data at src to dst. Every bit pattern is a
 * number here: scales may be NaN, infinite or subnormal, and subnormal results are kept whatever the
 * thread's floating point mode is. False when this type is not computed with. */
bool gguf_dequant(uint32_t type, const uint8_t *src, uint64_t n_elems, float *dst);

#endif
