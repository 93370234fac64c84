/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the proof that are pure text work, so that a test can lie to them.
 * Side: broker. Trusts: the kernel's text of /proc, not what is missing in it. Owns: nothing.
 */
#ifndef FUMEHOOD_PROOF_H
#define FUMEHOOD_PROOF_H

#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jail;

struct proof_expect {
	uint32_t uid, gid;
	unsigned n_filters;
	unsigned n_threads;
	bool may_keep_bounding; /* no user namespace: nobody could lower the bounding set */
};

/* Checks one thread's status text (NUL ended): all fields present, each exactly as expected. */
MUST_CHECK int proof_status(const char *text, const struct proof_expect *x, struct err *e);

/* Filters that this process stands under. */
MUST_CHECK int proof_own_filters(unsigned *n, struct err *e);
unsigned jailer_base_filters(const struct jail *j);

/* Filters that a locked worker has beyond those: the jailer's, the start's, the report filter and the door;
 * with violation=kill the strict one alone in place of the last two. */
#define PROOF_WORKER_FILTERS 4
#define PROOF_WORKER_FILTERS_KILL 3

/* Which of the numbers 0 to 63 are open in a worker, by the jailer's look: asked and, after other work, heard;
 * whoever has asked must hear. Errors: ERR_WALL when the kernel does not let it look. */
MUST_CHECK int jailer_probe_ask(struct jail *j, int pidfd, struct err *e);
MUST_CHECK int jailer_probe_hear(struct jail *j, uint64_t *open_fds, struct err *e);

/* --- shared by the files of the broker's side -------------------------------------------------------------- */

/* "the wall: step 'landlock' failed: ...; what to do". Returns ERR_WALL. */
int jail_step_failed(struct err *e, uint32_t step, int error);
int64_t now_ms(void);
/* 1 when fd is readable or hung up before the deadline, 0 when not, -errno. */
int wait_readable(int fd, int64_t deadline_ms);

#endif
