/* SPDX-License-Identifier: Apache-2.0
 *
 * What makes a jailer a test jailer: a step can be made to fail, layers can be made to be missing. It
 * refuses every program that does not carry the mark of the attack program at its end, so it can never
 * start a worker with a model of somebody. It is not installed.
 *
 *   jailer_test [--fault STEP ERRNO] [--without LAYERS] [--skip LAYERS] [--landlock ABI] [--refuse NR]
 *               [--open-start] [UID GID]
 *
 * --without: the kernel says no to these layers. --skip: they are not even tried, optional or not; for the
 * filters that takes fumehood-attack-open, whose start leaves them out too.
 * --open-start: in the start filter's place a filter that allows everything (the jailer's own holds on).
 * STEP, NR and LAYERS are numbers (LAYERS a mask, hexadecimal). NR is a system call that answers EPERM in
 * the program: so the steps of start.c are made to fail.
 *
 * Side: tests. Trusts: its command line. Owns: the wished refusals.
 */
#include "sandbox/outside/jail.h"
#include "sandbox/outside/template.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include "filters_test.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MARK "fumehood attack\n"

static uint32_t fault_step;
static int fault_errno;
static uint64_t without, skip;
static int landlock_cap = 99;
static uint32_t refused_call = ~0u;
static bool open_start;

void jail_test_args(int *argc, char ***argv)
{
	char **a = *argv;
	int n = *argc, at = 1;
	while (n - at >= 1 && !strncmp(a[at], "--", 2)) {
		if (!strcmp(a[at], "--open-start")) {
			open_start = true;
			at++;
		} else if (n - at < 2) {
			_exit(2);
		} else if (!strcmp(a[at], "--fault") && n - at >= 3) {
			fault_step = (uint32_t)strtoul(a[at + 1], NULL, 10);
			fault_errno = (int)strtol(a[at + 2], NULL, 10);
			at += 3;
		} else if (!strcmp(a[at], "--without")) {
			without = strtoull(a[at + 1], NULL, 16);
			at += 2;
		} else if (!strcmp(a[at], "--skip")) {
			skip = strtoull(a[at + 1], NULL, 16);
			at += 2;
		} else if (!strcmp(a[at], "--landlock")) {
			landlock_cap = (int)strtol(a[at + 1], NULL, 10);
			at += 2;
		} else if (!strcmp(a[at], "--refuse")) {
			refused_call = (uint32_t)strtoul(a[at + 1], NULL, 10);
			at += 2;
		} else {
			_exit(2);
		}
	}
	*argv = a + at - 1;
	*argc = n - at + 1;
}

int jail_test_fault(uint32_t step)
{
	uint64_t layers = jail_step_layers(step);
	if (fault_step && step == fault_step)
		return -fault_errno;
	if (step == STEP_ONCE_USER_NS && (skip & LAYER_BIT(USER_NS)))
		return -EPERM;
	return layers && !(layers & ~without) ? -EINVAL : 0;
}

/* Steps that have no layer of their own but serve only one. */
static const struct { uint32_t step; uint64_t layer; } serve[] = {
	{ STEP_CAP_BOUNDING, LAYER_BIT(CAPABILITIES) },     { STEP_SECUREBITS, LAYER_BIT(CAPABILITIES) },
	{ STEP_ONCE_NO_NEW_PRIVS, LAYER_BIT(NO_NEW_PRIVS) }, { STEP_ONCE_SECCOMP, LAYER_BIT(SECCOMP) },
};

bool jail_test_skips(uint32_t step)
{
	uint64_t layers = jail_step_layers(step);
	for (unsigned i = 0; i < sizeof serve / sizeof serve[0]; i++)
		if (serve[i].step == step)
			layers = serve[i].layer;
	/* These do more than set a layer. */
	if (step == STEP_CLONE || step == STEP_ONCE_USER_NS || step == STEP_FDS)
		return false;
	return layers && !(layers & ~skip);
}

uint64_t jail_test_flags(void)
{
	return (skip & (LAYER_BIT(DUMPABLE) | LAYER_BIT(MSEAL) | LAYER_BIT(SECCOMP))) << START_SKIP_SHIFT;
}

uint64_t jail_test_clone(uint64_t flags)
{
	static const struct { uint64_t layer, flag; } rows[] = {
		{ LAYER_BIT(PID_NS), KABI_CLONE_NEWPID }, { LAYER_BIT(IPC_NS), KABI_CLONE_NEWIPC },
		{ LAYER_BIT(UTS_NS), KABI_CLONE_NEWUTS }, { LAYER_BIT(TIME_NS), KABI_CLONE_NEWTIME },
		{ LAYER_BIT(CGROUP_NS), KABI_CLONE_NEWCGROUP },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (skip & rows[i].layer)
			flags &= ~rows[i].flag;
	return flags;
}

int jail_test_landlock(int abi)
{
	return abi < landlock_cap ? abi : landlock_cap;
}

/* One more filter, right before exec, when a call is to be refused. */
int jail_test_refusal(void)
{
	const struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused_call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	return refused_call == ~0u ? 0 : step_seccomp(f, sizeof f / sizeof f[0], 0);
}

size_t jail_test_start(const struct sock_filter **f)
{
	static const struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	if (open_start) {
		*f = all;
		return 1;
	}
	if (!(without & LAYER_BIT(MSEAL)))
		return 0;
	*f = filter_startup_old;
	return FILTER_STARTUP_OLD_INSNS;
}

/* The jailer's own filter stands already: the end is looked at through a mapping. */
bool jail_test_program(int fd, uint64_t bytes)
{
	const size_t n = sizeof MARK - 1, page = 4096;
	if (bytes < n)
		return false;
	uint64_t from = (bytes - n) & ~(uint64_t)(page - 1);
	char *p = mmap(NULL, (size_t)(bytes - from), PROT_READ, MAP_SHARED, fd, (off_t)from);
	if (p == MAP_FAILED)
		return false;
	bool marked = !memcmp(p + (bytes - from) - n, MARK, n);
	munmap(p, (size_t)(bytes - from));
	return marked;
}
