/* SPDX-License-Identifier: Apache-2.0
 *
 * Control groups of workers, where this process may make some: equal shares of the processors, a limit of memory
 * above the arena, and the kernel's word on whether it killed for memory. v1, v2 and both at once. Nothing here is
 * needed for safety: where no group can be made, workers run without, and STATUS says why.
 *
 *   v1   <mount of cpu, memory>/<own group>/fumehood/<pid of the broker>/<n>
 *   v2   <mount>/<own group>/fumehood/<pid of the broker>/<n>; the broker itself moves to <own group>/fumehood-broker
 *        when the kernel asks that no process be beside groups
 *
 * All is made, opened and handed to the service's user before root ends and before the wall: afterwards workers are
 * moved by descriptors that are open. Groups of brokers that were killed are removed at the next start.
 *
 * Side: broker. Trusts: the kernel's files. Owns: the groups, until cgroups_free.
 */
#ifndef FUMEHOOD_BROKER_CGROUP_H
#define FUMEHOOD_BROKER_CGROUP_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CGROUP_SLOTS 16            /* workers with a group of their own; more share the last one */
#define CGROUP_TEXT_BYTES 200

struct cgroups;

struct cgroups_conf {
	uint64_t memory_bytes;         /* of one worker */
	unsigned n_processors;
	uint32_t uid, gid;             /* who will remove the groups */
	pid_t jailer;                  /* moves with the broker */
};

/* Makes what can be made. *out is never NULL after ERR_OK. text: what is used, or why nothing. Errors: ERR_NOMEM. */
MUST_CHECK int cgroups_new(const struct cgroups_conf *c, struct cgroups **out, char text[CGROUP_TEXT_BYTES],
                           struct err *e);
/* Removes the groups (those that are empty) and frees. NULL is fine. */
void cgroups_free(struct cgroups *g);

/* Descriptors of the directories below which groups are removed, for the wall; at most two. Not taken. */
unsigned cgroups_dirs(const struct cgroups *g, int fds[2]);

/* Moves a process into a group. Returns its place for cgroups_leave, -1 without one. NULL is fine. */
int cgroups_enter(struct cgroups *g, pid_t pid);
/* The process has ended. Returns whether the kernel has killed for memory in its group meanwhile. */
bool cgroups_leave(struct cgroups *g, int at);

#endif
