/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the proof that are pure text work, so that a test can lie to them.
 * Side: broker. Trusts: the kernel's text of /proc, not what is missing in it. Owns: nothing.
 */
#ifndef FUMEHOOD_PROOF_H
#define FUMEHOOD_PROOF_H

#include "proto/err.h"

#include <stddef.h>
#include <stdint.h>

struct jail;

struct proof_expect {
	uint32_t uid, gid;
	unsigned n_filters;
	unsigned n_threads;
};

/* Checks one thread's status text (NUL ended): all fields present, each exactly as expected. */
MUST_CHECK int proof_status(const char *text, const struct proof_expect *x, struct err *e);

/* Filters that this process stands under. */
MUST_CHECK int proof_own_filters(unsigned *n, struct err *e);
unsigned jailer_base_filters(const struct jail *j);

/* Filters that a locked worker has beyond those: the jailer's, the start's, the strict one. */
#define PROOF_WORKER_FILTERS 3

#endif
