/* SPDX-License-Identifier: Apache-2.0
 *
 * Environments, imitated: what a container's profile or an old kernel refuses is refused here by a seccomp
 * filter and by dropped capabilities, for this process and all that it starts.
 *
 *   docker      Docker's default profile without CAP_SYS_ADMIN: clone3 ENOSYS; clone with any namespace flag,
 *               unshare, setns, mount, umount2, pivot_root, pidfd_getfd, keyctl, add_key, userfaultfd, io_uring
 *               EPERM; sockets of AF_ALG and AF_VSOCK EPERM; the default capabilities
 *   kubernetes  a restricted pod: the same, no capability at all, no_new_privs
 *   userns-off  user namespaces refused as a kernel does that has them off: ENOSPC
 *   linux-6.1   what Linux 6.1 does not know: PR_SET_MDWE, MFD_NOEXEC_SEAL, mseal
 *   yama        no pidfd_getfd
 *   listener    a supervisor that listens to this process's refused calls (and refuses none)
 *
 * Side: tests. Trusts: its caller. Owns: nothing; there is no way back.
 */
#ifndef FUMEHOOD_TESTS_ENV_H
#define FUMEHOOD_TESTS_ENV_H

/* Enters the environment. Returns 0, or -1 with errno (EINVAL: no such name). */
int env_enter(const char *name);

#endif
