/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's first steps, from exec to "locked". This code never looks at a byte of the model.
 *
 * Side: inside, but still ours: nothing hostile has been read. Trusts: the jailer (descriptors and
 * arguments, checked). Owns: the mappings it makes, which live as long as the process.
 */
#ifndef FUMEHOOD_INSIDE_START_H
#define FUMEHOOD_INSIDE_START_H

#include <stddef.h>
#include <stdint.h>

struct pool;

struct start {
	const uint8_t *model;      /* sealed, read-only */
	size_t model_bytes;
	uint8_t *arena;            /* reserved; zero until touched */
	size_t arena_bytes;
	struct pool *pool;         /* n_threads strong; each thread is in its own loop */
	unsigned n_threads;
	uint32_t level;            /* enum level of kernels.h: the processor's best */
	char blas_core[16];
	uint64_t layers;           /* what this process has set itself */
};

/* Takes every step, enters the wall and says "locked" (LOCKED on descriptor 3). On a failure the
 * process ends with START_EXIT_BASE + the step's number past STEP_START_ARGS; LOCKED with the step and
 * errno goes out before, when the channel stands. argv is what the jailer made. */
void start_or_die(struct start *out, char **argv);

/* The same with a hook (or NULL) that runs before the threads start and before the filter, with model
 * and arena mapped: for what a library probes or allocates on first use. It may take memory from the
 * end of the arena (lower arena_bytes), must know n_threads, and may set level and blas_core. Returns
 * 0 or -errno. */
void start_prepared_or_die(struct start *out, char **argv, int (*prepare)(struct start *st));

#define START_EXIT_BASE 40

#endif
