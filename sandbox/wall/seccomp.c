/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads a ready filter: the programs are made from *.rules at build time (bpf_gen.c), none is ever
 * computed here. Side: wall. Trusts: the build. Owns: nothing.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <unistd.h>

struct program {
	unsigned short len;
	const struct sock_filter *filter;
};

int step_seccomp(const struct sock_filter *insns, size_t n, unsigned flags)
{
	struct program prog = { (unsigned short)n, insns };
	long rc = syscall(SYS_seccomp, KABI_SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (rc < 0)
		return -errno;
	return rc == 0 ? 0 : -EBUSY; /* TSYNC: the id of a thread that could not follow */
}

int step_seccomp_listener(const struct sock_filter *insns, size_t n)
{
	struct program prog = { (unsigned short)n, insns };
	const unsigned flags = KABI_SECCOMP_FILTER_FLAG_TSYNC | KABI_SECCOMP_FILTER_FLAG_NEW_LISTENER |
	                       KABI_SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
	long fd = syscall(SYS_seccomp, KABI_SECCOMP_SET_MODE_FILTER, flags, &prog);
	return fd < 0 ? -errno : (int)fd;
}
