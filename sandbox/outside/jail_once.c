/* SPDX-License-Identifier: Apache-2.0
 *
 * What the jailer does once, when nothing hostile exists yet: it leaves the host's network, files and
 * privileges behind, so that every worker is born in an empty place and inherits it for free.
 *
 * Side: outside. Trusts: the kernel. Owns: the jailer's state.
 *
 * NB. The jailer stays dumpable: it could not open its children's uid_map otherwise.
 */
#include "sandbox/outside/jail.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include "filters.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Of its own user namespace, which holds nothing but workers: maps, and looking at their descriptors. */
#define CAPS_FOR_SPAWN (CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SYS_PTRACE))
#define NOFILE_JAILER 32 /* 3 received, a pair, a pidfd, a map: 12 at the most; workers can have no more */

static int once_pdeathsig(struct jailer *j)
{
	(void)j;
	return step_pdeathsig();
}

static int once_fds(struct jailer *j)
{
	(void)j;
	int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fd != FD_PROC && syscall(SYS_dup3, fd, FD_PROC, O_CLOEXEC) < 0)
		return -errno;
	for (int i = 0; i < FD_FIRST_FREE; i++)
		if (i != FD_CONTROL && i != FD_PROC && syscall(SYS_dup3, FD_PROC, i, O_CLOEXEC) < 0)
			return -errno;
	if (fcntl(FD_CONTROL, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return step_close_from(FD_FIRST_FREE);
}

/* The bounding set goes while it can: a host that refuses user namespaces gives no second chance. */
static int once_ids(struct jailer *j)
{
	if (j->rootless)
		return 0;
	int rc = step_caps_bounding_drop(0);
	if (rc < 0)
		return rc;
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, j->gid, j->gid, j->gid) < 0 ||
	    syscall(SYS_setresuid, j->uid, j->uid, j->uid) < 0)
		return -errno;
	return 0;
}

static size_t put_number(char *out, uint32_t v)
{
	char digits[12];
	size_t n = 0, len = 0;
	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (n)
		out[len++] = digits[--n];
	return len;
}

/* "1 <id> 1" into /proc/self/<file>. */
static int map_self(const char *file, uint32_t id)
{
	char text[48];
	size_t n = put_number(text, JAILER_INNER_ID);
	text[n++] = ' ';
	n += put_number(text + n, id);
	text[n++] = ' ';
	text[n++] = '1';
	return step_map_write(FD_PROC, getpid(), file, text, n);
}

/* Where it is refused, the jailer goes on without one (a container): which layers are missing then is
 * noted, and only orders that name all of them optional are served. */
static int once_user_ns(struct jailer *j)
{
	j->is_container = syscall(SYS_unshare, KABI_CLONE_NEWUSER) < 0;
	return j->is_container ? -errno : 0;
}

static int once_map(struct jailer *j)
{
	if (j->is_container)
		return 0;
	if (!j->rootless)
		return jail_ask_for_map(j);
	int rc = step_map_write(FD_PROC, getpid(), "setgroups", "deny", 4);
	if (rc == 0)
		rc = map_self("uid_map", j->uid);
	return rc ? rc : map_self("gid_map", j->gid);
}

static int leave(uint64_t namespace)
{
	return syscall(SYS_unshare, namespace) < 0 ? -errno : 0;
}

static int once_net_ns(struct jailer *j) { (void)j; return leave(KABI_CLONE_NEWNET); }
static int once_mnt_ns(struct jailer *j) { (void)j; return leave(KABI_CLONE_NEWNS); }
static int once_ipc_ns(struct jailer *j) { return j->is_container ? 0 : leave(KABI_CLONE_NEWIPC); }
static int once_uts_ns(struct jailer *j) { return j->is_container ? 0 : leave(KABI_CLONE_NEWUTS); }
static int once_empty_root(struct jailer *j) { (void)j; return step_empty_root(); }

static int once_caps(struct jailer *j)
{
	if (j->is_container)
		return step_caps_set(0);
	int rc = step_caps_bounding_drop(CAPS_FOR_SPAWN);
	if (rc == 0)
		rc = step_securebits_lock();
	return rc ? rc : step_caps_set(CAPS_FOR_SPAWN);
}

static int once_no_new_privs(struct jailer *j) { (void)j; return step_no_new_privs(); }
static int once_mdwe(struct jailer *j) { (void)j; return step_mdwe(); }
static int once_dumpable(struct jailer *j) { (void)j; return step_dumpable(1); }

static int once_rlimits(struct jailer *j)
{
	static const struct rlimit_row rows[] = {
		{ RLIMIT_FSIZE, 0 },
		{ RLIMIT_MEMLOCK, 0 },
		{ RLIMIT_NOFILE, NOFILE_JAILER },
	};
	(void)j;
	int rc = step_rlimits_common();
	return rc ? rc : step_rlimits(rows, sizeof rows / sizeof rows[0]);
}

static int once_seccomp(struct jailer *j)
{
	(void)j;
	return step_seccomp(filter_jailer, FILTER_JAILER_INSNS, 0);
}

static const struct once_step steps[] = {
	{ STEP_ONCE_PDEATHSIG, 0, once_pdeathsig },
	{ STEP_ONCE_FDS, 0, once_fds },
	{ STEP_ONCE_IDS, 0, once_ids },
	{ STEP_ONCE_USER_NS, 0, once_user_ns },
	{ STEP_ONCE_MAP, 0, once_map },
	{ STEP_ONCE_PDEATHSIG_AGAIN, 0, once_pdeathsig },
	{ STEP_ONCE_NET_NS, 0, once_net_ns },
	{ STEP_ONCE_MNT_NS, 0, once_mnt_ns },
	{ STEP_ONCE_IPC_NS, 0, once_ipc_ns },
	{ STEP_ONCE_UTS_NS, 0, once_uts_ns },
	{ STEP_ONCE_EMPTY_ROOT, LAYER_BIT(MNT_NS), once_empty_root },
	{ STEP_ONCE_CAPS, 0, once_caps },
	{ STEP_ONCE_NO_NEW_PRIVS, 0, once_no_new_privs },
	{ STEP_ONCE_MDWE, 0, once_mdwe },
	{ STEP_ONCE_RLIMITS, 0, once_rlimits },
	{ STEP_ONCE_DUMPABLE, 0, once_dumpable },
	{ STEP_ONCE_SECCOMP, 0, once_seccomp },
};

/* A layer that some configuration may name optional does not end the start: which ones are optional
 * is said with each request, and one that misses a required layer is refused with this step. */
static void note_missing(struct jailer *j, const struct once_step *s, int rc)
{
	uint64_t layers = jail_step_layers(s->id);
	j->is_container |= s->id == STEP_ONCE_USER_NS;
	if (layers == 0 || (layers & ~wall_layers_may_be_optional())) {
		j->fatal_step = s->id;
		j->fatal_error = -rc;
		return;
	}
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (layers >> i & 1) {
			j->once_step[i] = s->id;
			j->once_error[i] = -rc;
		}
}

void jail_once(struct jailer *j)
{
	j->landlock_abi = jail_test_landlock(landlock_abi());
	for (size_t i = 0; i < sizeof steps / sizeof steps[0] && !j->fatal_step; i++) {
		const struct once_step *s = &steps[i];
		if (jail_test_skips(s->id))
			continue;
		int rc = jail_test_fault(s->id);
		if (rc == 0)
			rc = (s->needs & ~j->layers) ? -ECANCELED : s->fn(j);
		if (rc < 0)
			note_missing(j, s, rc);
		else if (s->id != STEP_ONCE_USER_NS) /* its layers are the worker's, who has yet to get them */
			j->layers |= jail_step_layers(s->id);
	}
}
