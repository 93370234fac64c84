/* SPDX-License-Identifier: Apache-2.0
 *
 * A template: the worker's own program, started once by the jailer without any model, that waits and is
 * forked for each worker. What a libc and OpenBLAS do at every start (they ask the processor 68 times and
 * more, each an exit from a virtual machine, and relocate the program) is then done once, not per worker.
 * A fork has the namespaces, ids and limits of its own that an exec'd worker has; it shares the layout of
 * the address space with its siblings (docs/threat-model.md).
 *
 * Side: outside, in the worker's program: nothing hostile exists in a template, and a worker leaves this
 * code before it says "locked". Trusts: the jailer. Owns: the link to it.
 *
 * Between jailer and template, one datagram each on a SEQPACKET pair:
 *   template -> jailer   struct template_reply, all zero: ready
 *   jailer -> template   struct template_order with channel, model and the child's end of the report pair
 *   template -> jailer   struct template_reply with a pidfd
 * From there on the jailer talks to the child as to any other: maps, "go", report.
 */
#ifndef FUMEHOOD_TEMPLATE_H
#define FUMEHOOD_TEMPLATE_H

#include "proto/fixed.h"
#include "sandbox/outside/jail_steps.h"

#include <stdint.h>

/* What a worker is told in its arguments: arena bytes, model bytes, threads, optional layers, flags, as 16
 * hexadecimal digits each. */
#define JAIL_WORDS 5
/* Flags from this bit on: layers that a test leaves out. Programs that ship refuse them. */
#define START_SKIP_SHIFT 8

#define TEMPLATE_ARG "--template"
#define TEMPLATE_NAME "fumehood-worker [template]"
#define WORKER_NAME "fumehood-worker [jailed]"

struct template_order {
	struct spawn_fixed ask;
	uint64_t as_bytes, layers;
	int32_t landlock_abi;
	uint32_t is_container;
};

struct template_reply {
	int32_t pid, error;
};

/* With the arguments of a worker: returns argv. With those of a template: calls before_fork (or NULL), then
 * serves the jailer; returns in each worker that it forks, with that worker's arguments and every layer up
 * to exec set. Ends the process when the jailer is gone. */
char **template_serve(char **argv, void (*before_fork)(void));

#endif
