/* SPDX-License-Identifier: Apache-2.0
 *
 * Namespaces: the empty root, identity maps, no nested user namespaces.
 * Side: outside (jailer and its child). Trusts: nothing. Owns: nothing.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#define ROOT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* The new root is mounted over a directory that every system has, then both become "/" in one move:
 * pivot_root(".", ".") puts the old root on top of the new one, from where it is detached. */
int step_empty_root(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	if (mount("none", "/proc", "tmpfs", ROOT_FLAGS, "size=4k,nr_inodes=2,mode=0555") < 0)
		return -errno;
	if (chdir("/proc") < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0)
		return -errno;
	if (chdir("/") < 0)
		return -errno;
	return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | ROOT_FLAGS, NULL) < 0 ? -errno : 0;
}

/* Digits of n, then "/file". The jailer formats without stdio. */
static size_t proc_path(char *out, pid_t pid, const char *file)
{
	char digits[12];
	size_t n = 0, len = 0;
	do {
		digits[n++] = (char)('0' + pid % 10);
		pid /= 10;
	} while (pid > 0);
	while (n > 0)
		out[len++] = digits[--n];
	out[len++] = '/';
	for (; *file; file++)
		out[len++] = *file;
	out[len] = 0;
	return len;
}

static int write_once(int proc_fd, const char *path, const char *text, size_t len)
{
	int rc = 0;
	long fd = syscall(SYS_openat, proc_fd, path, O_WRONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	ssize_t n = syscall(SYS_write, (int)fd, text, len);
	if (n != (ssize_t)len)
		rc = n < 0 ? -errno : -EIO;
	syscall(SYS_close, (int)fd);
	return rc;
}

int step_map_write(int proc_fd, pid_t pid, const char *file, const char *text, size_t len)
{
	char path[64];
	proc_path(path, pid, file);
	return write_once(proc_fd, path, text, len);
}

int step_max_user_namespaces_zero(int proc_fd)
{
	return write_once(proc_fd, "sys/user/max_user_namespaces", "0", 1);
}

/* Without this the process keeps its outer uid: the maps alone change nothing (RLIMIT_NPROC would
 * not bind it). */
int step_ids_zero(void)
{
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		return -errno;
	return 0;
}
