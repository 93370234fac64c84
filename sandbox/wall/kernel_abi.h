/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel constants that Debian 12's headers (6.1) or musl's do not have, with the kernel version of
 * each. The only file that holds such numbers.
 *
 * Side: both. Trusts: nothing. Owns: nothing. Source: the kernel's user-space ABI, which never changes.
 */
#ifndef FUMEHOOD_KERNEL_ABI_H
#define FUMEHOOD_KERNEL_ABI_H

#include <stdint.h>
#include <sys/syscall.h>

/* --- system calls (x86-64 and arm64 share the numbers from 424 on) -------------------------------- */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424 /* 5.1 */
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* 5.3 */
#endif
#ifndef SYS_clone3
#define SYS_clone3 435 /* 5.3 */
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 /* 5.6 */
#endif
#ifndef SYS_close_range
#define SYS_close_range 436 /* 5.9 */
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444 /* 5.13 */
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_mseal
#define SYS_mseal 462 /* 6.10 */
#endif

/* --- prctl ------------------------------------------------------------------------------------------ */
#define KABI_PR_SET_MDWE 65           /* 6.3 */
#define KABI_PR_GET_MDWE 66           /* 6.3 */
#define KABI_PR_MDWE_REFUSE_EXEC_GAIN 1UL

#define KABI_SECBITS_ALL_LOCKED 0xefUL /* noroot, no setuid fix-up, no ambient raise; all locked;
                                        * keep-caps off and locked (include/uapi/linux/securebits.h) */

/* --- memfd ------------------------------------------------------------------------------------------ */
#define KABI_MFD_CLOEXEC 0x0001U
#define KABI_MFD_ALLOW_SEALING 0x0002U
#define KABI_MFD_NOEXEC_SEAL 0x0008U  /* 6.3 */
#define KABI_MFD_EXEC 0x0010U         /* 6.3 */
#define KABI_F_ADD_SEALS 1033
#define KABI_F_GET_SEALS 1034
#define KABI_F_SEAL_SEAL 0x0001
#define KABI_F_SEAL_SHRINK 0x0002
#define KABI_F_SEAL_GROW 0x0004
#define KABI_F_SEAL_WRITE 0x0008
#define KABI_F_SEAL_EXEC 0x0020       /* 6.3 */
#define KABI_SEALS_DATA (KABI_F_SEAL_SEAL | KABI_F_SEAL_SHRINK | KABI_F_SEAL_GROW | KABI_F_SEAL_WRITE)

/* --- Landlock ----------------------------------------------------------------------------------------- */
struct kabi_landlock_ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net; /* ABI 4, 6.7 */
	uint64_t scoped;             /* ABI 6, 6.12 */
};
struct kabi_landlock_path {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));
#define KABI_LANDLOCK_CREATE_VERSION 1U
#define KABI_LANDLOCK_RULE_PATH 1

#define KABI_LL_EXECUTE (1ULL << 0)
#define KABI_LL_WRITE_FILE (1ULL << 1)
#define KABI_LL_READ_FILE (1ULL << 2)
#define KABI_LL_READ_DIR (1ULL << 3)
#define KABI_LL_REMOVE_DIR (1ULL << 4)
#define KABI_LL_REMOVE_FILE (1ULL << 5)
#define KABI_LL_MAKE_CHAR (1ULL << 6)
#define KABI_LL_MAKE_DIR (1ULL << 7)
#define KABI_LL_MAKE_REG (1ULL << 8)
#define KABI_LL_MAKE_SOCK (1ULL << 9)
#define KABI_LL_MAKE_FIFO (1ULL << 10)
#define KABI_LL_MAKE_BLOCK (1ULL << 11)
#define KABI_LL_MAKE_SYM (1ULL << 12)
#define KABI_LL_REFER (1ULL << 13)    /* ABI 2, 5.19 */
#define KABI_LL_TRUNCATE (1ULL << 14) /* ABI 3, 6.2 */
#define KABI_LL_IOCTL_DEV (1ULL << 15) /* ABI 5, 6.10 */
#define KABI_LL_ABI1 ((1ULL << 13) - 1)
#define KABI_LL_NET_TCP 3ULL          /* bind, connect: ABI 4 */
#define KABI_LL_SCOPE_ABSTRACT 1ULL   /* ABI 6 */
#define KABI_LL_SCOPE_SIGNAL 2ULL     /* ABI 6 */

/* --- clone3 ------------------------------------------------------------------------------------------- */
struct kabi_clone_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	uint64_t set_tid, set_tid_size, cgroup;
};
#define KABI_CLONE_PIDFD 0x00001000ULL
#define KABI_CLONE_PARENT 0x00008000ULL
#define KABI_CLONE_NEWTIME 0x00000080ULL
#define KABI_CLONE_NEWNS 0x00020000ULL
#define KABI_CLONE_NEWCGROUP 0x02000000ULL
#define KABI_CLONE_NEWUTS 0x04000000ULL
#define KABI_CLONE_NEWIPC 0x08000000ULL
#define KABI_CLONE_NEWUSER 0x10000000ULL
#define KABI_CLONE_NEWPID 0x20000000ULL
#define KABI_CLONE_NEWNET 0x40000000ULL
#define KABI_CLONE_CLEAR_SIGHAND 0x100000000ULL /* 5.5 */

/* --- x86 ------------------------------------------------------------------------------------------------ */
#define KABI_ARCH_REQ_XCOMP_PERM 0x1023 /* 5.16 */
#define KABI_XFEATURE_XTILEDATA 18

#define KABI_SECCOMP_SET_MODE_FILTER 1
#define KABI_SECCOMP_FILTER_FLAG_TSYNC 1
#define KABI_SECCOMP_FILTER_FLAG_NEW_LISTENER 8  /* 5.0 */
#define KABI_SECCOMP_FILTER_FLAG_TSYNC_ESRCH 16  /* 5.7: with TSYNC and a listener, or the call is EINVAL */

/* --- user notification (5.0): only these two, never an answer ------------------------------------------- */
struct kabi_seccomp_data {
	int32_t nr;
	uint32_t arch;
	uint64_t instruction_pointer;
	uint64_t args[6];
};
struct kabi_seccomp_notif {
	uint64_t id;
	uint32_t pid; /* the thread, in the reader's pid namespace */
	uint32_t flags;
	struct kabi_seccomp_data data;
};
#define KABI_NOTIF_RECV 0xc0502100UL
#define KABI_NOTIF_ID_VALID 0x40082102UL

#endif
