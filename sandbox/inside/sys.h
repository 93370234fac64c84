/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's system calls, as instructions: behind the wall no function of libc may be used that
 * makes a call, because a libc changes its calls from one version to the next and the filter does not.
 * Nothing here but what its own section names is refused by the filter.
 *
 * Side: inside. Trusts: nothing. Owns: nothing. x86-64.
 */
#ifndef FUMEHOOD_INSIDE_SYS_H
#define FUMEHOOD_INSIDE_SYS_H

#include <stddef.h>
#include <stdint.h>

#ifndef __x86_64__
#error "only x86-64 has a filter and a proof"
#endif

#define SYS_NR_READ 0
#define SYS_NR_WRITE 1
#define SYS_NR_EXIT_GROUP 231
/* Between the report filter and the door filter only (start.c). */
#define SYS_NR_SENDMSG 46
#define SYS_NR_SECCOMP 317
#define SYS_NR_CLOSE_RANGE 436
#define SYS_ERRNO_INTR 4
#define SYS_CHUNK_BYTES ((size_t)1 << 30) /* the kernel moves at most 2 GiB at once */

static inline long sys_3(long nr, long a, long b, long c)
{
	long ret;
	__asm__ volatile("syscall"
	                 : "=a"(ret)
	                 : "a"(nr), "D"(a), "S"(b), "d"(c)
	                 : "rcx", "r11", "memory");
	return ret;
}

/* Reads exactly n bytes. Returns n, fewer at the end of the channel, or -errno. */
static inline long sys_read_exact(int fd, void *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		size_t want = n - done < SYS_CHUNK_BYTES ? n - done : SYS_CHUNK_BYTES;
		long got = sys_3(SYS_NR_READ, fd, (long)((char *)p + done), (long)want);
		if (got == 0)
			break;
		if (got == -SYS_ERRNO_INTR)
			continue;
		if (got < 0)
			return got;
		done += (size_t)got;
	}
	return (long)done;
}

/* Writes exactly n bytes. Returns n or -errno. */
static inline long sys_write_exact(int fd, const void *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		size_t want = n - done < SYS_CHUNK_BYTES ? n - done : SYS_CHUNK_BYTES;
		long put = sys_3(SYS_NR_WRITE, fd, (long)((const char *)p + done), (long)want);
		if (put == -SYS_ERRNO_INTR)
			continue;
		if (put <= 0)
			return put < 0 ? put : -32; /* EPIPE */
		done += (size_t)put;
	}
	return (long)done;
}

static inline _Noreturn void sys_exit_group(int code)
{
	for (;;)
		sys_3(SYS_NR_EXIT_GROUP, code, 0, 0);
}

#endif
