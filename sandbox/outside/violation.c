/* SPDX-License-Identifier: Apache-2.0
 *
 * Refused calls, as the kernel reports them. The worker's own word is not in it: number, arguments,
 * architecture and instruction are what the kernel saw; only the program's place, for the offset, is the
 * worker's claim of before it saw a model.
 *
 * Side: broker. Trusts: the kernel. Owns: nothing.
 *
 * NB. There is no code here that answers a notification, and the broker's filter has no such ioctl: even an
 * owned broker cannot let a refused call through.
 */
#include "sandbox/sandbox.h"
#include "sandbox/wall/kernel_abi.h"

#include "call_names.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define SYSCALL_INSN_BYTES 2 /* the kernel says the place behind the instruction */

static const struct {
	uint32_t arch;
	const char *text;
	const char *const *names;
} archs[] = {
	{ AUDIT_ARCH_X86_64, "x86-64", names_x86_64 },
	{ AUDIT_ARCH_I386, "i386", names_i386 },
	{ AUDIT_ARCH_AARCH64, "arm64", names_arm64 },
};
#define N_ARCHS (sizeof archs / sizeof archs[0])
#define N_NAMES (sizeof names_x86_64 / sizeof names_x86_64[0])

const char *call_name(uint32_t arch, int nr)
{
	for (size_t i = 0; i < N_ARCHS; i++)
		if (archs[i].arch == arch && nr >= 0 && (size_t)nr < N_NAMES && archs[i].names[nr])
			return archs[i].names[nr];
	return "?";
}

int violation_read(const struct worker *w, struct violation *v, struct err *e)
{
	struct kabi_seccomp_notif n;
	struct pollfd p = { w->listener_fd, POLLIN, 0 };
	memset(&n, 0, sizeof n); /* the kernel insists */
	if (poll(&p, 1, 0) < 1 || !(p.revents & POLLIN))
		return p.revents ? err_set(e, ERR_IO, "worker: its listener has ended") : 0;
	if (ioctl(w->listener_fd, KABI_NOTIF_RECV, &n) < 0)
		return errno == ENOENT || errno == EINTR ? 0
		       : err_set(e, ERR_IO, "worker: its listener: %s", strerror(errno));
	uint64_t at = n.data.instruction_pointer - SYSCALL_INSN_BYTES - w->place.program_base;
	*v = (struct violation){ .nr = n.data.nr, .name = call_name(n.data.arch, n.data.nr), .arch = n.data.arch,
	                         .ip = n.data.instruction_pointer, .tid = n.pid,
	                         .ip_offset = at < w->place.program_bytes ? at : UINT64_MAX };
	memcpy(v->args, n.data.args, sizeof v->args);
	return 1;
}

char *violation_text(const struct violation *v, char *out, size_t cap)
{
	const char *arch = "another architecture";
	char where[48];
	for (size_t i = 0; i < N_ARCHS; i++)
		if (archs[i].arch == v->arch)
			arch = archs[i].text;
	snprintf(where, sizeof where, v->ip_offset == UINT64_MAX ? "at 0x%" PRIx64 ", outside its program" : "at +0x%" PRIx64,
	         v->ip_offset == UINT64_MAX ? v->ip : v->ip_offset);
	snprintf(out, cap, "%s(0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64
	         "), call %d of %s, %s, thread %u", v->name, v->args[0], v->args[1], v->args[2], v->args[3], v->args[4],
	         v->args[5], v->nr, arch, where, v->tid);
	return out;
}
