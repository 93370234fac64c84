/* SPDX-License-Identifier: Apache-2.0
 *
 * The clone itself, as jailer and template make it, and the layers of each step.
 *
 * Side: outside. Trusts: its caller. Owns: nothing.
 */
#include "sandbox/outside/jail.h"
#include "sandbox/wall/kernel_abi.h"

#include <errno.h>
#include <unistd.h>

static const uint64_t step_layers[STEP__MAX] = {
#define STEP(sym, name, layers) layers,
	JAIL_STEPS(STEP)
#undef STEP
};

uint64_t jail_step_layers(uint32_t step)
{
	return step < STEP__MAX ? step_layers[step] : 0;
}

static const struct { uint64_t flag, layer; } namespaces[] = {
	{ KABI_CLONE_NEWUSER, LAYER_BIT(USER_NS) }, { KABI_CLONE_NEWPID, LAYER_BIT(PID_NS) },
	{ KABI_CLONE_NEWIPC, LAYER_BIT(IPC_NS) },   { KABI_CLONE_NEWUTS, LAYER_BIT(UTS_NS) },
	{ KABI_CLONE_NEWTIME, LAYER_BIT(TIME_NS) }, { KABI_CLONE_NEWCGROUP, LAYER_BIT(CGROUP_NS) },
};

/* The child of the broker, not ours (CLONE_PARENT): it does not end with this process and the broker reaps
 * it. Until exec its end is announced by no signal. */
static long clone_with_namespaces(struct spawn *s)
{
	struct kabi_clone_args a = { .flags = KABI_CLONE_PIDFD | KABI_CLONE_PARENT | KABI_CLONE_CLEAR_SIGHAND,
	                             .pidfd = (uint64_t)(uintptr_t)&s->pidfd };
	uint64_t have = 0;
	for (unsigned i = 0; i < sizeof namespaces / sizeof namespaces[0]; i++)
		a.flags |= namespaces[i].flag;
	a.flags = jail_test_clone(a.flags);
	for (unsigned i = 0; i < sizeof namespaces / sizeof namespaces[0]; i++)
		have |= a.flags & namespaces[i].flag ? namespaces[i].layer : 0;
	s->layers |= have;
	return syscall(SYS_clone3, &a, sizeof a);
}

int jail_clone(struct spawn *s)
{
	long pid = s->j->is_container
	           ? syscall(SYS_clone, KABI_CLONE_PIDFD | KABI_CLONE_PARENT, NULL, &s->pidfd, NULL, 0)
	           : clone_with_namespaces(s);
	if (pid < 0) {
		s->pidfd = -1;
		return -errno;
	}
	s->pid = (pid_t)pid;
	return 0;
}
