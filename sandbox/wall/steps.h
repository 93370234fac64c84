/* SPDX-License-Identifier: Apache-2.0
 *
 * The layers as functions: each does one thing by plain system calls and returns 0 or -errno. No
 * allocation, no state, no text: the jailer (static musl, single thread), the worker's start and the
 * walls of broker and auditor are made of these. One file per layer.
 *
 * Side: outside and wall. Trusts: its caller. Owns: nothing.
 */
#ifndef FUMEHOOD_WALL_STEPS_H
#define FUMEHOOD_WALL_STEPS_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- process.c: prctl switches ------------------------------------------------------------------------ */
int step_pdeathsig(void);     /* SIGKILL when the thread that started this process ends; cleared by
                               * a change of ids, so it is set again after one */
int step_no_new_privs(void);
int step_mdwe(void);          /* -EINVAL before 6.3 */
int step_dumpable(int on);    /* 0: nobody of the same uid may trace or read this process */

/* --- caps.c --------------------------------------------------------------------------------------------- */
#define CAP_BIT(n) (1ULL << (n))
int step_caps_bounding_drop(uint64_t keep); /* every capability of this kernel but those kept */
int step_caps_set(uint64_t keep);           /* effective = permitted = keep, inheritable 0 */
int step_securebits_lock(void);             /* uid 0 is nobody special, for good */

/* --- rlimits.c ------------------------------------------------------------------------------------------- */
struct rlimit_row {
	int resource;
	uint64_t value;
};
int step_rlimits(const struct rlimit_row *rows, size_t n); /* soft = hard */
int step_rlimit_of(pid_t pid, int resource, uint64_t value);
int step_rlimit_at_most(int resource, uint64_t value); /* of this process; a lower hard limit stays */
/* Files, core, queues, locked memory, priorities: 0. Same for worker, broker and auditor but MEMLOCK. */
int step_rlimits_common(void);

/* --- fds.c ------------------------------------------------------------------------------------------------ */
int step_close_from(unsigned first);
int step_close_between(unsigned first, unsigned last);
int step_is_hung_up(int fd);                 /* 1 when the peer is gone */
int step_seals(int fd, int *seals);          /* the seals of a memfd */

/* --- landlock.c ------------------------------------------------------------------------------------------- */
struct landlock_dir {
	int fd;            /* O_PATH or readable directory */
	uint64_t access;   /* KABI_LL_* */
};
int landlock_abi(void);                      /* 0 when the kernel has none */
/* Denies every file right, TCP and (scope) what this ABI has, except rights below the directories. */
int step_landlock(int abi, uint64_t scope, const struct landlock_dir *dirs, size_t n);

/* --- namespaces.c ------------------------------------------------------------------------------------------ */
int step_empty_root(void);                   /* pivot into a read-only tmpfs of no size */
int step_map_write(int proc_fd, pid_t pid, const char *file, const char *text, size_t len);
int step_max_user_namespaces_zero(int proc_fd);
int step_ids_zero(void);                     /* gids, then uids, to 0 of the own user namespace */

/* --- seccomp.c ---------------------------------------------------------------------------------------------- */
int step_seccomp(const struct sock_filter *insns, size_t n, unsigned flags);
/* The same for all threads, with a listener for what it refuses: its descriptor, or -errno (-EBUSY: another
 * listener stands around this process). */
int step_seccomp_listener(const struct sock_filter *insns, size_t n);

#endif
