/* SPDX-License-Identifier: Apache-2.0
 *
 * Side: tests only. See peak.c.
 */
#ifndef FUMEHOOD_TESTS_BENCH_PEAK_H
#define FUMEHOOD_TESTS_BENCH_PEAK_H

#include "sandbox/inside/engine/kernels/pool.h"

/* Best of five short loops, in GFLOP/s, with the widest vectors that the engine would use; 0 when the
 * processor has none. */
double peak_gflops(struct pool *pool);

#endif
