/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps and layers in words: names, and what to do when one fails.
 *
 * Side: broker. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/outside/proof.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const step_names[STEP__MAX] = {
#define STEP(sym, name, layers) name,
	JAIL_STEPS(STEP)
#undef STEP
};

const char *jail_step_name(uint32_t step)
{
	return step < STEP__MAX ? step_names[step] : "?";
}

char *layers_text(uint64_t layers, char *out, size_t cap)
{
	size_t at = 0;
	snprintf(out, cap, "none");
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (layers >> i & 1 && at < cap) {
			int n = snprintf(out + at, cap - at, "%s%s", at ? "," : "", layer_rows[i].name);
			at += n > 0 ? (size_t)n : 0;
		}
	return out;
}

/* What to do about a step that failed: the knob, not only the number. The first row that fits. */
static const struct {
	uint32_t step;
	int error; /* 0: any */
	const char *text;
} knobs[] = {
	{ STEP_ONCE_USER_NS, ENOSPC, "user namespaces are off: set sysctl user.max_user_namespaces" },
	{ STEP_ONCE_USER_NS, ENOSYS, "a container's profile forbids user namespaces" },
	{ STEP_ONCE_USER_NS, 0, "user namespaces are refused: sysctl kernel.unprivileged_userns_clone or "
	                        "kernel.apparmor_restrict_unprivileged_userns, or a container's profile; in a "
	                        "container name the layers of the namespaces optional" },
	{ STEP_ONCE_MAP, EPERM, "uids cannot be mapped: root without capabilities (start it as an ordinary user), a "
	                        "container without the workers' uid range, or sysctl "
	                        "kernel.apparmor_restrict_unprivileged_userns" },
	{ STEP_ONCE_MAP, 0, "uids cannot be mapped: sysctl kernel.apparmor_restrict_unprivileged_userns, or a "
	                    "container without the workers' uid range" },
	{ STEP_CLONE, ENOSPC, "user namespaces are off: set sysctl user.max_user_namespaces" },
	{ STEP_CLONE, 0, "namespaces are refused here: a container's profile, or a kernel without them" },
	{ STEP_UID_MAP, 0, "this uid cannot be mapped: a container without the workers' uid range, or "
	                   "sysctl kernel.apparmor_restrict_unprivileged_userns" },
	{ STEP_GID_MAP, 0, "as for uid_map" },
	{ STEP_ONCE_IDS, 0, "root without capabilities: start it as an ordinary user" },
	{ STEP_ONCE_NET_NS, 0, "namespaces are refused here: a container's profile, or root without capabilities" },
	{ STEP_ONCE_MNT_NS, 0, "namespaces are refused here: a container's profile, or root without capabilities" },
	{ STEP_ONCE_EMPTY_ROOT, 0, "mounts are refused here: sysctl kernel.apparmor_restrict_unprivileged_userns, "
	                           "or a root that is an initramfs" },
	{ STEP_LANDLOCK, EOPNOTSUPP, "this kernel's Landlock lacks a required layer: boot a newer one, or name the "
	                             "layer optional" },
	{ STEP_LANDLOCK, 0, "Landlock is off: boot with lsm= that holds landlock" },
	{ STEP_ONCE_MDWE, EINVAL, "Linux 6.3 has it: boot a newer one, or name mdwe optional" },
	{ STEP_MDWE, EINVAL, "Linux 6.3 has it: boot a newer one, or name mdwe optional" },
	{ STEP_NOEXEC, 0, "Linux 6.3 has it: boot a newer one, or name memfd_noexec optional" },
	{ STEP_START_SECCOMP, EBUSY, "another supervisor listens to this process: configure violation=kill" },
	{ STEP_START_MSEAL, ENOSYS, "Linux 6.10 has it: boot a newer one, or name mseal optional" },
};

static const char *advice(uint32_t step, int error)
{
	for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++)
		if (knobs[i].step == step && (!knobs[i].error || knobs[i].error == error))
			return knobs[i].text;
	return "fumehood doctor says what this machine lacks";
}

int jail_step_failed(struct err *e, uint32_t step, int error)
{
	return err_set(e, ERR_WALL, "the wall: step '%s' failed: %s; %s", jail_step_name(step),
	               strerror(error), advice(step, error));
}
