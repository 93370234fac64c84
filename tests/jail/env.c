/* SPDX-License-Identifier: Apache-2.0
 *
 * See env.h. Filters are written out here and not made from lists: they imitate other people's.
 *
 * Side: tests. Trusts: its caller. Owns: nothing.
 */
#include "tests/jail/env.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define INSNS_MAX 128
#define CLONE_ANY_NS 0x7e020080U /* all namespace flags of clone */

/* Docker's default set without CAP_SYS_ADMIN (it never has that). */
#define DOCKER_CAPS                                                                                          \
	(CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FSETID) | CAP_BIT(CAP_FOWNER) |            \
	 CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_NET_RAW) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SETUID) |                 \
	 CAP_BIT(CAP_SETFCAP) | CAP_BIT(CAP_SETPCAP) | CAP_BIT(CAP_NET_BIND_SERVICE) | CAP_BIT(CAP_SYS_CHROOT) | \
	 CAP_BIT(CAP_KILL) | CAP_BIT(CAP_AUDIT_WRITE))

struct refusal {
	long nr;
	int arg;       /* -1: whatever the arguments are */
	uint32_t mask; /* refused when (argument & mask) != 0 where mask is set, or == value */
	uint32_t value;
	int error;
};

static const struct refusal docker[] = {
	{ SYS_clone3, -1, 0, 0, ENOSYS },       { SYS_clone, 0, CLONE_ANY_NS, 0, EPERM },
	{ SYS_unshare, -1, 0, 0, EPERM },       { SYS_setns, -1, 0, 0, EPERM },
	{ SYS_mount, -1, 0, 0, EPERM },         { SYS_umount2, -1, 0, 0, EPERM },
	{ SYS_pivot_root, -1, 0, 0, EPERM },    { SYS_pidfd_getfd, -1, 0, 0, EPERM },
	{ SYS_keyctl, -1, 0, 0, EPERM },        { SYS_add_key, -1, 0, 0, EPERM },
	{ SYS_request_key, -1, 0, 0, EPERM },   { SYS_userfaultfd, -1, 0, 0, EPERM },
	{ SYS_io_uring_setup, -1, 0, 0, EPERM }, { SYS_io_uring_enter, -1, 0, 0, EPERM },
	{ SYS_io_uring_register, -1, 0, 0, EPERM }, { SYS_socket, 0, 0, 38, EPERM },
	{ SYS_socket, 0, 0, 40, EPERM },        { SYS_bpf, -1, 0, 0, EPERM },
	{ SYS_perf_event_open, -1, 0, 0, EPERM }, { SYS_process_vm_readv, -1, 0, 0, EPERM },
	{ SYS_process_vm_writev, -1, 0, 0, EPERM },
};
static const struct refusal userns_off[] = {
	{ SYS_unshare, 0, (uint32_t)KABI_CLONE_NEWUSER, 0, ENOSPC },
	{ SYS_clone, 0, (uint32_t)KABI_CLONE_NEWUSER, 0, ENOSPC }, /* clone3's flags lie in memory */
};
static const struct refusal linux_61[] = {
	{ SYS_prctl, 0, 0, KABI_PR_SET_MDWE, EINVAL },
	{ SYS_memfd_create, 1, KABI_MFD_NOEXEC_SEAL | KABI_MFD_EXEC, 0, EINVAL },
	{ SYS_mseal, -1, 0, 0, ENOSYS },
};
static const struct refusal yama[] = { { SYS_pidfd_getfd, -1, 0, 0, EPERM } };

static size_t filter_of(const struct refusal *r, size_t n, struct sock_filter *f)
{
	size_t at = 0;
	f[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < n; i++) {
		const uint8_t skip = r[i].arg < 0 ? 1 : 4;
		f[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r[i].nr, 0, skip);
		if (r[i].arg >= 0) {
			f[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, args) +
			                                       8 * (uint32_t)r[i].arg);
			f[at++] = r[i].mask ? (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, r[i].mask, 0, 1)
			                    : (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, r[i].value, 0, 1);
		}
		f[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)r[i].error);
		if (r[i].arg >= 0) /* the number again, for the next row */
			f[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	}
	f[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return at;
}

static int lower_caps(uint64_t keep)
{
	if (geteuid() != 0)
		return 0;
	int rc = step_caps_bounding_drop(keep);
	return rc ? rc : step_caps_set(keep);
}

/* The listener stays open in the program that this one becomes: it stands as long as somebody holds it. */
static int another_listener(void)
{
	static const struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	int rc = step_no_new_privs();
	if (rc == 0)
		rc = step_seccomp_listener(all, 1);
	if (rc >= 0 && fcntl(rc, F_SETFD, 0) < 0)
		rc = -errno;
	return rc < 0 ? rc : 0;
}

static const struct {
	const char *name;
	const struct refusal *rows;
	size_t n;
	uint64_t caps; /* that root keeps */
} envs[] = {
	{ "docker", docker, sizeof docker / sizeof docker[0], DOCKER_CAPS },
	{ "kubernetes", docker, sizeof docker / sizeof docker[0], 0 },
	{ "userns-off", userns_off, sizeof userns_off / sizeof userns_off[0], ~0ULL },
	{ "linux-6.1", linux_61, sizeof linux_61 / sizeof linux_61[0], ~0ULL },
	{ "yama", yama, sizeof yama / sizeof yama[0], ~0ULL },
};

int env_enter(const char *name)
{
	static struct sock_filter f[INSNS_MAX];
	if (!strcmp(name, "listener")) {
		errno = -another_listener();
		return errno ? -1 : 0;
	}
	for (size_t i = 0; i < sizeof envs / sizeof envs[0]; i++) {
		if (strcmp(envs[i].name, name))
			continue;
		int rc = envs[i].caps == ~0ULL ? 0 : lower_caps(envs[i].caps);
		if (rc == 0)
			rc = step_no_new_privs();
		if (rc == 0)
			rc = step_seccomp(f, filter_of(envs[i].rows, envs[i].n, f), 0);
		errno = -rc;
		return rc ? -1 : 0;
	}
	errno = EINVAL;
	return -1;
}
