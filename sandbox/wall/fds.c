/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptors: closing, hang-up, seals. Side: wall. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

int step_close_between(unsigned first, unsigned last)
{
	return syscall(SYS_close_range, first, last, 0) < 0 ? -errno : 0;
}

int step_close_from(unsigned first)
{
	return step_close_between(first, ~0U);
}

int step_is_hung_up(int fd)
{
	struct pollfd p = { fd, 0, 0 };
	struct { int64_t s, ns; } now = { 0, 0 };
	if (syscall(SYS_ppoll, &p, 1, &now, NULL, 0) < 0)
		return -errno;
	return (p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

int step_seals(int fd, int *seals)
{
	long s = syscall(SYS_fcntl, fd, KABI_F_GET_SEALS, 0);
	if (s < 0)
		return -errno;
	*seals = (int)s;
	return 0;
}
