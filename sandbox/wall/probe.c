/* SPDX-License-Identifier: Apache-2.0
 *
 * What this kernel can give: every layer is tried for real, in a child that ends.
 * Side: broker, before its wall. Trusts: the kernel. Owns: nothing.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"
#include "sandbox/wall/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool map_own_ids(int proc_fd, uint32_t uid, uint32_t gid)
{
	char text[32];
	int n = snprintf(text, sizeof text, "0 %u 1", uid);
	if (step_map_write(proc_fd, getpid(), "setgroups", "deny", 4) < 0 ||
	    step_map_write(proc_fd, getpid(), "uid_map", text, (size_t)n) < 0)
		return false;
	n = snprintf(text, sizeof text, "0 %u 1", gid);
	return step_map_write(proc_fd, getpid(), "gid_map", text, (size_t)n) == 0;
}

static uint64_t try_namespaces(void)
{
	static const struct { uint64_t flag, layer; } rows[] = {
		{ KABI_CLONE_NEWPID, LAYER_BIT(PID_NS) },       { KABI_CLONE_NEWNET, LAYER_BIT(NET_NS) },
		{ KABI_CLONE_NEWIPC, LAYER_BIT(IPC_NS) },       { KABI_CLONE_NEWUTS, LAYER_BIT(UTS_NS) },
		{ KABI_CLONE_NEWCGROUP, LAYER_BIT(CGROUP_NS) }, { KABI_CLONE_NEWTIME, LAYER_BIT(TIME_NS) },
		{ KABI_CLONE_NEWNS, LAYER_BIT(MNT_NS) },
	};
	uint32_t uid = geteuid(), gid = getegid();
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	uint64_t have = 0;
	if (syscall(SYS_unshare, KABI_CLONE_NEWUSER) < 0)
		return 0;
	have |= LAYER_BIT(USER_NS);
	if (map_own_ids(proc, uid, gid))
		have |= LAYER_BIT(UID_MAP);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (syscall(SYS_unshare, rows[i].flag) == 0)
			have |= rows[i].layer;
	if (step_max_user_namespaces_zero(proc) == 0)
		have |= LAYER_BIT(MAX_USER_NS);
	if ((have & LAYER_BIT(MNT_NS)) && step_empty_root() == 0)
		have |= LAYER_BIT(EMPTY_ROOT);
	return have;
}

static uint64_t try_rest(void)
{
	static const char action_kill[4] = { 0, 0, 0, (char)0x80 }; /* SECCOMP_RET_KILL_PROCESS */
	uint64_t have = LAYER_BIT(CAPABILITIES) | LAYER_BIT(SEALED_MODEL) | LAYER_BIT(PDEATHSIG);
	long fd = syscall(SYS_memfd_create, "probe", KABI_MFD_CLOEXEC | KABI_MFD_NOEXEC_SEAL);
	have |= fd >= 0 ? LAYER_BIT(MEMFD_NOEXEC) : 0;
	have |= syscall(SYS_mseal, 0, 0, 0) == 0 ? LAYER_BIT(MSEAL) : 0;
	have |= step_no_new_privs() == 0 ? LAYER_BIT(NO_NEW_PRIVS) : 0;
	have |= layers_of_landlock(landlock_abi());
	have |= step_mdwe() == 0 ? LAYER_BIT(MDWE) : 0;
	have |= step_dumpable(0) == 0 ? LAYER_BIT(DUMPABLE) : 0;
	have |= step_close_from(1000) == 0 ? LAYER_BIT(CLOSED_FDS) : 0;
	have |= step_rlimits_common() == 0 ? LAYER_BIT(RLIMITS) | LAYER_BIT(LIMITS_CLOSED) : 0;
	if (syscall(SYS_seccomp, 2 /* SECCOMP_GET_ACTION_AVAIL */, 0, action_kill) == 0)
		have |= LAYER_BIT(SECCOMP) | LAYER_BIT(SECCOMP_START);
	return have;
}

int wall_probe(uint64_t *have, struct err *e)
{
	int pipe_fds[2];
	*have = 0;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_set(e, ERR_IO, "probe: pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		uint64_t got = try_namespaces();
		got |= try_rest();
		_exit(write(pipe_fds[1], &got, sizeof got) == (ssize_t)sizeof got ? 0 : 1);
	}
	close(pipe_fds[1]);
	ssize_t n = pid < 0 ? -1 : read(pipe_fds[0], have, sizeof *have);
	close(pipe_fds[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return n == (ssize_t)sizeof *have ? ERR_OK : err_set(e, ERR_IO, "probe: the child gave no answer");
}
