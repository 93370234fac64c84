/* SPDX-License-Identifier: Apache-2.0
 *
 * Resource limits. Soft and hard are always equal: a limit that can be raised is none.
 * Side: wall, broker. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int step_rlimit_of(pid_t pid, int resource, uint64_t value)
{
	struct { uint64_t cur, max; } l = { value, value };
	return syscall(SYS_prlimit64, pid, resource, &l, NULL) < 0 ? -errno : 0;
}

int step_rlimit_at_most(int resource, uint64_t value)
{
	struct { uint64_t cur, max; } now;
	if (syscall(SYS_prlimit64, 0, resource, NULL, &now) < 0)
		return -errno;
	return step_rlimit_of(0, resource, value < now.max ? value : now.max);
}

int step_rlimits(const struct rlimit_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int rc = step_rlimit_of(0, rows[i].resource, rows[i].value);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int step_rlimits_common(void)
{
	static const struct rlimit_row rows[] = {
		{ RLIMIT_CORE, 0 },       /* no memory image on a disk */
		{ RLIMIT_MSGQUEUE, 0 },
		{ RLIMIT_SIGPENDING, 0 },
		{ RLIMIT_RTPRIO, 0 },
		{ RLIMIT_NICE, 0 },
	};
	return step_rlimits(rows, sizeof rows / sizeof rows[0]);
}
