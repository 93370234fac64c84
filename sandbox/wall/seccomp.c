/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads a ready filter: the programs are made from *.rules at build time (bpf_gen.c), none is ever
 * computed here. Side: wall. Trusts: the build. Owns: nothing.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <unistd.h>

int step_seccomp(const struct sock_filter *insns, size_t n, unsigned flags)
{
	struct {
		unsigned short len;
		const struct sock_filter *filter;
	} prog = { (unsigned short)n, insns };
	long rc = syscall(SYS_seccomp, KABI_SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (rc < 0)
		return -errno;
	return rc == 0 ? 0 : -EBUSY; /* TSYNC: the id of a thread that could not follow */
}
