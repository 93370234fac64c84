/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker before exec: the child of clone3 takes every privilege from itself, in the order that the
 * kernel's rules force (reference: docs/threat-model.md, order of the wall), and becomes the program.
 *
 * Side: outside, until exec. Trusts: the jailer. Owns: nothing. No libc beyond syscall().
 */
#include "proto/limits.h"
#include "sandbox/outside/jail.h"
#include "sandbox/outside/template.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include "filters.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

static int child_pdeathsig(struct spawn *s)
{
	(void)s;
	return step_pdeathsig();
}

/* The channel takes the number of the jailer's control socket; the child's copy of the other end of
 * the pair goes first, or a dead jailer would never be noticed. */
static int child_channels(struct spawn *s)
{
	if (s->report_up >= 0 && syscall(SYS_close, s->report_up) < 0)
		return -errno;
	return syscall(SYS_dup3, s->channel, FD_CHANNEL, 0) < 0 ? -errno : 0;
}

static int child_wait_go(struct spawn *s)
{
	char go = 0;
	ssize_t n = syscall(SYS_read, s->report_down, &go, 1);
	if (n != 1)
		return n < 0 ? -errno : -EPIPE;
	return go == 'g' ? 0 : -EPROTO;
}

static int child_ids(struct spawn *s)
{
	return s->j->is_container ? -ENOTSUP : step_ids_zero();
}

static int child_max_user_ns(struct spawn *s)
{
	return s->j->is_container ? -ENOTSUP : step_max_user_namespaces_zero(FD_PROC);
}

static int child_rlimits(struct spawn *s)
{
	const struct rlimit_row rows[] = {
		{ RLIMIT_FSIZE, 0 },
		{ RLIMIT_MEMLOCK, 0 },
		{ RLIMIT_AS, s->as_bytes },
		{ RLIMIT_STACK, LIMIT_STACK_BYTES },
	};
	int rc = step_rlimits_common();
	if (rc == 0)
		rc = step_rlimits(rows, sizeof rows / sizeof rows[0]);
	if (rc == 0 && s->ask->cpu_seconds)
		rc = step_rlimit_of(0, RLIMIT_CPU, s->ask->cpu_seconds);
	return rc;
}

/* Without a user namespace of its own a process without CAP_SETPCAP cannot lower these two; what they
 * stand against, an exec that gains something, is stopped by no_new_privs and by the filter. */
static int may_lack(const struct spawn *s, int rc)
{
	return rc == -EPERM && s->j->is_container ? 0 : rc;
}

static int child_cap_bounding(struct spawn *s) { return may_lack(s, step_caps_bounding_drop(0)); }
static int child_securebits(struct spawn *s) { return may_lack(s, step_securebits_lock()); }
static int child_caps(struct spawn *s) { (void)s; return step_caps_set(0); }
static int child_no_new_privs(struct spawn *s) { (void)s; return step_no_new_privs(); }

/* Sources are ascending and each is above its target (FD_FIRST_FREE), so no copy hits a source that
 * is still needed. The last two close themselves at exec. */
static int child_fds(struct spawn *s)
{
	if (syscall(SYS_dup3, s->model, FD_MODEL, 0) < 0 ||
	    (s->program >= 0 && syscall(SYS_dup3, s->program, FD_PROGRAM, O_CLOEXEC) < 0) ||
	    syscall(SYS_dup3, s->report_down, FD_REPORT, O_CLOEXEC) < 0)
		return -errno;
	int rc = step_close_from(FD_CHILD_END);
	if (rc == 0 && s->program < 0)
		rc = step_close_between(FD_PROGRAM, FD_PROGRAM);
	return rc ? rc : step_close_between(0, FD_CHANNEL - 1);
}

static int child_peer(struct spawn *s)
{
	(void)s;
	int gone = step_is_hung_up(FD_CHANNEL);
	return gone == 1 ? -EPIPE : gone;
}

static int child_landlock(struct spawn *s)
{
	int abi = s->j->landlock_abi;
	uint64_t have = layers_of_landlock(abi);
	if (LANDLOCK_LAYERS & ~have & ~s->ask->optional_layers)
		return -EOPNOTSUPP;
	int rc = step_landlock(abi, KABI_LL_SCOPE_ABSTRACT | KABI_LL_SCOPE_SIGNAL, NULL, 0);
	if (rc == 0)
		s->layers |= have;
	return rc;
}

static int child_mdwe(struct spawn *s) { (void)s; return step_mdwe(); }

static int child_start_filter(struct spawn *s)
{
	(void)s;
	const struct sock_filter *f = filter_worker_startup;
	size_t other = jail_test_start(&f);
	int rc = step_seccomp(f, other ? other : FILTER_WORKER_STARTUP_INSNS, 0);
	return rc ? rc : jail_test_refusal();
}

static const struct child_step steps[] = {
	{ STEP_PDEATHSIG, child_pdeathsig },
	{ STEP_CHANNELS, child_channels },
	{ STEP_WAIT_GO, child_wait_go },
	{ STEP_IDS, child_ids },
	{ STEP_MAX_USER_NS, child_max_user_ns },
	{ STEP_RLIMITS, child_rlimits },
	{ STEP_CAP_BOUNDING, child_cap_bounding },
	{ STEP_SECUREBITS, child_securebits },
	{ STEP_CAPS, child_caps },
	{ STEP_NO_NEW_PRIVS, child_no_new_privs },
	{ STEP_PDEATHSIG_AGAIN, child_pdeathsig },
	{ STEP_FDS, child_fds },
	{ STEP_PEER, child_peer },
	{ STEP_LANDLOCK, child_landlock },
	{ STEP_MDWE, child_mdwe },
	{ STEP_START_FILTER, child_start_filter },
};

static void report(const struct spawn *s, int fd, uint32_t step, int error)
{
	struct jail_report r = { step, error, s->layers };
	syscall(SYS_write, fd, &r, sizeof r);
}

/* 16 hexadecimal digits: there is no environment. */
static void put_hex(char out[17], uint64_t v)
{
	for (int i = 15; i >= 0; i--, v >>= 4)
		out[i] = "0123456789abcdef"[v & 15];
	out[16] = 0;
}

void jail_child_words(const struct spawn *s, char words[][17])
{
	const uint64_t values[JAIL_WORDS] = { s->ask->arena_bytes, s->model_bytes, s->ask->n_threads,
	                                      s->ask->optional_layers, s->ask->flags | jail_test_flags() };
	for (int i = 0; i < JAIL_WORDS; i++)
		put_hex(words[i], values[i]);
}

void jail_child_done(struct spawn *s)
{
	report(s, FD_REPORT, STEP_EXEC, 0);
	if (step_close_between(FD_REPORT, FD_REPORT) < 0)
		for (;;)
			syscall(SYS_exit_group, 1);
}

static _Noreturn void become_program(struct spawn *s)
{
	static char words[JAIL_WORDS][17], name[] = WORKER_NAME, *argv[JAIL_WORDS + 2];
	char *envp[] = { NULL };
	jail_child_words(s, words);
	argv[0] = name;
	for (int i = 0; i < JAIL_WORDS; i++)
		argv[i + 1] = words[i];
	report(s, FD_REPORT, STEP_EXEC, 0);
	int rc = jail_test_fault(STEP_EXEC);
	if (rc == 0) {
		syscall(SYS_execveat, FD_PROGRAM, "", argv, envp, AT_EMPTY_PATH);
		rc = -errno;
	}
	report(s, FD_REPORT, STEP_EXEC, -rc);
	for (;;)
		syscall(SYS_exit_group, 1);
}

void jail_child_wall(struct spawn *s)
{
	int report_fd = s->report_down;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		uint32_t id = steps[i].id;
		uint64_t layers = jail_step_layers(id);
		if (jail_test_skips(id))
			continue;
		int rc = jail_test_fault(id);
		if (rc == 0)
			rc = steps[i].fn(s);
		if (id == STEP_FDS && rc == 0)
			report_fd = FD_REPORT;
		if (rc == 0 && id != STEP_LANDLOCK) /* landlock says itself what stands */
			s->layers |= layers;
		if (rc < 0 && (layers == 0 || (layers & ~s->ask->optional_layers))) {
			report(s, report_fd, id, -rc);
			for (;;)
				syscall(SYS_exit_group, 1);
		}
	}
}

_Noreturn void jail_child(struct spawn *s)
{
	jail_child_wall(s);
	become_program(s);
}
