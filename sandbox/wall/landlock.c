/* SPDX-License-Identifier: Apache-2.0
 *
 * Landlock: every right that this kernel knows is handled (so denied), then given back only below
 * named directories. Side: wall. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <unistd.h>

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, KABI_LANDLOCK_CREATE_VERSION);
	return abi < 0 ? 0 : (int)abi;
}

/* What this ABI can handle, and how many bytes of the struct it knows. */
static size_t handled(int abi, uint64_t scope, struct kabi_landlock_ruleset *r)
{
	static const struct { int abi; uint64_t right; } fs[] = {
		{ 1, KABI_LL_ABI1 }, { 2, KABI_LL_REFER }, { 3, KABI_LL_TRUNCATE }, { 5, KABI_LL_IOCTL_DEV },
	};
	*r = (struct kabi_landlock_ruleset){ 0 };
	for (unsigned i = 0; i < sizeof fs / sizeof fs[0]; i++)
		if (abi >= fs[i].abi)
			r->handled_access_fs |= fs[i].right;
	if (abi >= 4)
		r->handled_access_net = KABI_LL_NET_TCP;
	if (abi >= 6)
		r->scoped = scope;
	return abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
}

static int add_dirs(int ruleset, uint64_t known, const struct landlock_dir *dirs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct kabi_landlock_path p = { dirs[i].access & known, dirs[i].fd };
		if (syscall(SYS_landlock_add_rule, ruleset, KABI_LANDLOCK_RULE_PATH, &p, 0) < 0)
			return -errno;
	}
	return 0;
}

int step_landlock(int abi, uint64_t scope, const struct landlock_dir *dirs, size_t n)
{
	struct kabi_landlock_ruleset r;
	if (abi < 1)
		return -ENOSYS;
	size_t size = handled(abi, scope, &r);
	long fd = syscall(SYS_landlock_create_ruleset, &r, size, 0);
	if (fd < 0)
		return -errno;
	int rc = add_dirs((int)fd, r.handled_access_fs, dirs, n);
	if (rc == 0 && syscall(SYS_landlock_restrict_self, (int)fd, 0) < 0)
		rc = -errno;
	syscall(SYS_close, (int)fd);
	return rc;
}
