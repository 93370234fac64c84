/* SPDX-License-Identifier: Apache-2.0
 *
 * The attempts that demo and doctor show: one of each kind of harm. The long list is
 * tests/jail/attempts.txt. Side: broker. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/outside/attempt.h"

#include <string.h>
#include <sys/syscall.h>

#define TEXT_AT ((int64_t)sizeof(struct attempt))
#define N ARG_NUMBER
#define Z ARG_ZEROS
#define T ARG_TEXT

static const struct {
	struct attempt_known known;
	struct attempt call;
	const char *argument; /* the text at TEXT_AT */
} rows[] = {
	{ { "open", "open the file /etc/passwd" },
	  { .nr = SYS_open, .args = { TEXT_AT }, .arg_kinds = { T } }, "/etc/passwd" },
	{ { "create", "create a file" },
	  { .nr = SYS_openat, .args = { -100, TEXT_AT, 0101, 0600 }, .arg_kinds = { N, T } }, "/tmp/fumehood-was-here" },
	{ { "exec", "start the program /bin/sh" },
	  { .nr = SYS_execve, .args = { TEXT_AT }, .arg_kinds = { T } }, "/bin/sh" },
	{ { "fork", "make a process" }, { .nr = SYS_fork }, "" },
	{ { "socket", "open a network connection" }, { .nr = SYS_socket, .args = { 2, 1, 0 } }, "" },
	{ { "vsock", "talk to the hypervisor" }, { .nr = SYS_socket, .args = { 40, 1, 0 } }, "" },
	{ { "kill", "kill the broker" }, { .nr = SYS_kill, .args = { -1, 9 } }, "" },
	{ { "ptrace", "trace the broker" }, { .nr = SYS_ptrace, .args = { 16, 1 } }, "" },
	{ { "mmap-exec", "make executable memory" },
	  { .nr = SYS_mmap, .args = { 0, 4096, 7, 0x22, -1, 0 } }, "" },
	{ { "send-fd", "send its channel to the broker as a descriptor" },
	  { .nr = SYS_sendmsg, .args = { 3, 56, 0 }, .arg_kinds = { N, Z } }, "" },
	{ { "io-uring", "make calls that no filter sees" },
	  { .nr = SYS_io_uring_setup, .args = { 8, 120 }, .arg_kinds = { N, Z } }, "" },
	{ { "clock", "read a clock by a call" },
	  { .nr = SYS_clock_gettime, .args = { 1, 16 }, .arg_kinds = { N, Z } }, "" },
	{ { "write-high", "write with a descriptor number above 32 bits" },
	  { .nr = SYS_write, .args = { 0x100000003, 16, 1 }, .arg_kinds = { N, Z } }, "" },
	{ { "int80", "call by the 32-bit table" }, { .abi = ABI_I386, .nr = 20 }, "" },
	{ { "x32", "call by the x32 table" }, { .abi = ABI_X32, .nr = SYS_getpid }, "" },
	{ { "spin", "compute for ever" }, { .kind = ATTEMPT_NAMED }, "spin" },
	{ { "crash", "crash" }, { .kind = ATTEMPT_NAMED }, "trap" },
};
#define N_ROWS (sizeof rows / sizeof rows[0])

const struct attempt_known *attempt_list(unsigned *n)
{
	static struct attempt_known list[N_ROWS];
	for (unsigned i = 0; i < N_ROWS; i++)
		list[i] = rows[i].known;
	*n = N_ROWS;
	return list;
}

bool attempt_blob(const char *name, uint8_t blob[ATTEMPT_BLOB_BYTES])
{
	for (unsigned i = 0; i < N_ROWS; i++) {
		if (strcmp(rows[i].known.name, name))
			continue;
		struct attempt a = rows[i].call;
		memcpy(a.magic, ATTEMPT_MAGIC, sizeof a.magic);
		memset(blob, 0, ATTEMPT_BLOB_BYTES);
		memcpy(blob, &a, sizeof a);
		memcpy(blob + TEXT_AT, rows[i].argument, strlen(rows[i].argument) + 1);
		return true;
	}
	return false;
}
