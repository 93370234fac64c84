/* SPDX-License-Identifier: Apache-2.0
 *
 * Capabilities. The kernel is asked for each number until it knows no more, so that a capability that
 * is newer than this file is dropped too. Side: wall. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CAP_NUMBERS 64 /* the kernel's sets are 64 bits wide */

int step_caps_bounding_drop(uint64_t keep)
{
	for (unsigned c = 0; c < CAP_NUMBERS; c++) {
		if (keep & CAP_BIT(c))
			continue;
		if (syscall(SYS_prctl, PR_CAPBSET_DROP, c, 0, 0, 0) == 0)
			continue;
		return errno == EINVAL && c > CAP_AUDIT_READ ? 0 : -errno; /* past the last one */
	}
	return 0;
}

int step_caps_set(uint64_t keep)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)keep, (uint32_t)keep, 0 },
		{ (uint32_t)(keep >> 32), (uint32_t)(keep >> 32), 0 },
	};
	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

int step_securebits_lock(void)
{
	return syscall(SYS_prctl, PR_SET_SECUREBITS, KABI_SECBITS_ALL_LOCKED, 0, 0, 0) < 0 ? -errno : 0;
}
