/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of findings of `fumehood doctor`, and its checks of the machine below the wall.
 *
 * Side: cli. Trusts: the kernel's answers. Owns: nothing.
 */
#ifndef FUMEHOOD_CTL_CHECKS_H
#define FUMEHOOD_CTL_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

#define FINDINGS_MAX 96

/* One check: its stable id, whether it passed, why, and what to do (also when it passed with a remark). */
struct finding {
	char id[48], why[280], fix[280];
	bool passed;
};

struct findings {
	struct finding f[FINDINGS_MAX];
	size_t n;
};

void find(struct findings *all, const char *id, bool passed, const char *fix, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
unsigned findings_failed(const struct findings *all);

/* A number in a file of /proc/sys; -1 when there is none. */
long sysctl_get(const char *path);

/* Whether this process is under a seccomp filter already. */
bool is_under_filter(void);

/* Architecture, kernel, /proc, limits, memory, listeners. Returns whether another supervisor holds this process's
 * reports of refused calls, so that the broker needs violation=kill. */
bool machine_check(struct findings *all);

#endif
