/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain C level: the definition of every answer, and what runs where no vector level is there.
 * Side: inside. Trusts: its arguments. Owns: nothing.
 */
#include "sandbox/inside/engine/kernels/vec_c.h"

#define STREAM_AHEAD 1024
#include "sandbox/inside/engine/kernels/body_table.h"

const struct kernels kernels_c = KERNEL_TABLE(LEVEL_C);
