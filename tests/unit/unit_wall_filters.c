/* SPDX-License-Identifier: Apache-2.0
 *
 * The proof of the compiled filters: the very bytes that are loaded are walked over every call number
 * 0..1023, -1, 0x3fffffff, x32 numbers, foreign architectures, and every argument disturbed in each of
 * its 64 bits. Every branch of every program must be reached. The counts are printed.
 *
 * Side: tests. Trusts: nothing but the interpreter of bpf_walk.h. Owns: nothing.
 */
#include "tests/unit/bpf_walk.h"

#include "filters.h"
#include "filters_arm64.h"

#include <linux/audit.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof(a)[0])
#define X32_BIT 0x40000000u

struct program {
	const char *name;
	const struct sock_filter *f;
	unsigned n, n_calls, max_calls, max_insns;
	const short *calls;
	uint32_t refusal;
	uint32_t arch;
	bool is_door; /* the list is what is killed; all else is left to the filters around it */
};

#define PROGRAM(lower, UPPER, max_calls, max_insns, refusal, arch, door)                             \
	{ #lower, filter_##lower, FILTER_##UPPER##_INSNS, FILTER_##UPPER##_CALLS, max_calls, max_insns,  \
	  filter_##lower##_calls, refusal, arch, door }
#define BOTH(lower, UPPER, max_calls, max_insns, refusal, door)                                      \
	PROGRAM(lower, UPPER, max_calls, max_insns, refusal, AUDIT_ARCH_X86_64, door),                   \
	PROGRAM(lower##_arm64, UPPER##_ARM64, max_calls, max_insns, refusal, AUDIT_ARCH_AARCH64, door)

static const struct program programs[] = {
	BOTH(worker_strict, WORKER_STRICT, 4, 24, SECCOMP_RET_KILL_PROCESS, false),
	BOTH(worker_report, WORKER_REPORT, 7, 24, SECCOMP_RET_USER_NOTIF, false),
	BOTH(worker_door, WORKER_DOOR, 3, 6, SECCOMP_RET_KILL_PROCESS, true),
	BOTH(worker_startup, WORKER_STARTUP, 20, 4096, SECCOMP_RET_USER_NOTIF, false),
	BOTH(jailer, JAILER, 36, 4096, SECCOMP_RET_USER_NOTIF, false),
	BOTH(broker, BROKER, 45, 4096, SECCOMP_RET_KILL_PROCESS, false),
	BOTH(auditor, AUDITOR, 24, 4096, SECCOMP_RET_KILL_PROCESS, false),
};
/* The places of the x86-64 programs; each is followed by its arm64 twin. */
enum { STRICT = 0, REPORT = 2, DOOR = 4, STARTUP = 6, JAILER = 8, BROKER = 10, AUDITOR = 12 };

static const uint32_t foreign[] = { AUDIT_ARCH_I386, AUDIT_ARCH_ARM, AUDIT_ARCH_AARCH64, AUDIT_ARCH_X86_64,
	                                AUDIT_ARCH_RISCV64, 0, ~0u };

static struct walk walk_of(const struct program *p)
{
	return (struct walk){ .f = p->f, .n = p->n };
}

static uint32_t ask(struct walk *w, uint32_t arch, uint32_t nr, const uint64_t args[6])
{
	struct seccomp_data d = { .nr = (int)nr, .arch = arch, .instruction_pointer = 0x1234567 };
	for (int i = 0; i < 6; i++)
		d.args[i] = args[i];
	uint32_t r = walk_run(w, &d);
	assert_int_not_equal(r, WALK_BAD);
	return r;
}

static bool allows(const struct program *p, uint32_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
                   uint64_t a4)
{
	struct walk w = walk_of(p);
	const uint64_t args[6] = { a0, a1, a2, a3, a4, 0 };
	return ask(&w, AUDIT_ARCH_X86_64, nr, args) == SECCOMP_RET_ALLOW;
}

/* Values worth trying for one half of an argument: every constant of the program and its neighbours. */
static unsigned interesting(const struct program *p, uint32_t out[], unsigned cap)
{
	unsigned n = 0;
	out[n++] = 0;
	out[n++] = ~0u;
	for (unsigned i = 0; i < p->n && n + 3 < cap; i++) {
		if (p->f[i].code == (BPF_LD | BPF_W | BPF_ABS))
			continue;
		bool known = false;
		for (unsigned k = 0; k < n; k++)
			known |= out[k] == p->f[i].k;
		if (known)
			continue;
		out[n++] = p->f[i].k;
		out[n++] = p->f[i].k + 1;
		out[n++] = ~p->f[i].k;
	}
	return n;
}

/* Tries one call number with every interesting pair of halves in each argument, the others at values
 * that some row wants. Says whether any form of it was allowed. */
static bool try_number(const struct program *p, struct walk *w, uint32_t nr, const uint32_t *v, unsigned n)
{
	static const uint64_t bases[][6] = {
		{ 0 }, { 3 }, { 5, 0, 0, 0, 0x1000 }, { 1, 2 }, { 1, 9 }, { 1, 1 }, { 0, 1034 }, { 0x10000 }, { 6 },
		{ 0, 2, 4 }, { 9, 0xc0502100 }, { 0x9000 }, { 1, 1, 1 }, { 0, 0, 1 }, { 0, 1, 0 }, { 1, 0, 0 },
	};
	bool any = false;
	for (unsigned b = 0; b < LEN(bases); b++) {
		uint64_t args[6];
		memcpy(args, bases[b], sizeof args);
		any |= ask(w, p->arch, nr, args) == SECCOMP_RET_ALLOW;
		for (unsigned i = 0; i < 6; i++)
			for (unsigned k = 0; k < n; k++) {
				memcpy(args, bases[b], sizeof args);
				args[i] = v[k];
				any |= ask(w, p->arch, nr, args) == SECCOMP_RET_ALLOW;
				args[i] = bases[b][i] | (uint64_t)v[k] << 32;
				any |= ask(w, p->arch, nr, args) == SECCOMP_RET_ALLOW;
			}
	}
	return any;
}

static bool in_list(const struct program *p, uint32_t nr)
{
	for (unsigned i = 0; i < p->n_calls; i++)
		if ((uint32_t)p->calls[i] == nr)
			return true;
	return false;
}

static void walk_numbers(const struct program *p, struct walk *w, unsigned *allowed)
{
	const uint32_t others[] = { ~0u, 0x3fffffff, 0x7fffffff, 0x80000000u };
	uint32_t v[512];
	unsigned n = interesting(p, v, LEN(v));
	for (uint32_t nr = 0; nr < 1024; nr++) {
		bool any = try_number(p, w, nr, v, in_list(p, nr) ? n : 2);
		assert_int_equal(any, in_list(p, nr) != p->is_door);
		*allowed += any;
		assert_int_equal(try_number(p, w, nr | X32_BIT, v, 2), p->is_door);
	}
	for (unsigned k = 0; k < LEN(others); k++)
		assert_int_equal(try_number(p, w, others[k], v, 2), p->is_door);
}

static void walk_foreign(const struct program *p, struct walk *w)
{
	for (unsigned k = 0; k < LEN(foreign) && !p->is_door; k++)
		for (uint32_t nr = 0; nr < 1024 && foreign[k] != p->arch; nr++) {
			const uint64_t args[6] = { 3, 0, 0, 0, 0, 0 };
			assert_int_equal(ask(w, foreign[k], nr, args), SECCOMP_RET_KILL_PROCESS);
		}
}

/* Exactly the listed calls have an allowed form; every branch is reached. */
static void test_every_number(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LEN(programs); i++) {
		const struct program *p = &programs[i];
		struct walk w = walk_of(p);
		unsigned allowed = 0;
		walk_numbers(p, &w, &allowed);
		walk_foreign(p, &w);
		printf("filter %-21s %2u calls, %3u instructions, every branch reached\n", p->name, p->n_calls, p->n);
		assert_int_equal(allowed, p->is_door ? 1024 - p->n_calls : p->n_calls);
		assert_int_equal(walk_uncovered(&w), -1);
		assert_true(p->n_calls <= p->max_calls);
		assert_true(p->n <= p->max_insns);
	}
}

/* What is refused answers with the program's own action, x32 and foreign numbers with a kill. 900 is no call
 * of any architecture. */
static void test_refusals(void **state)
{
	const uint64_t args[6] = { 0 };
	(void)state;
	for (unsigned i = 0; i < LEN(programs); i++) {
		const struct program *p = &programs[i];
		struct walk w = walk_of(p);
		assert_int_equal(ask(&w, p->arch, p->is_door ? (uint32_t)p->calls[0] : 900, args), p->refusal);
		if (!p->is_door && p->arch == AUDIT_ARCH_X86_64)
			assert_int_equal(ask(&w, p->arch, SYS_read | X32_BIT, args), SECCOMP_RET_KILL_PROCESS);
	}
}

/* The locked worker: what all four filters say together, the strictest first. Exactly the four. */
static uint32_t together(uint32_t nr, const uint64_t args[6])
{
	static const int around[] = { DOOR, REPORT, STARTUP, JAILER };
	static const uint32_t order[] = { SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ALLOW };
	for (unsigned o = 0; o < LEN(order); o++)
		for (unsigned i = 0; i < LEN(around); i++) {
			struct walk w = walk_of(&programs[around[i]]);
			if (ask(&w, AUDIT_ARCH_X86_64, nr, args) == order[o])
				return order[o];
		}
	return WALK_BAD;
}

static void test_locked_together(void **state)
{
	const uint64_t fd3[6] = { 3, 0x7f0000001000, 64 }, wait[6] = { 0x7f0000001000, 128, 0 }, none[6] = { 0 };
	unsigned killed = 0, allowed = 0;
	(void)state;
	assert_int_equal(together(SYS_read, fd3), SECCOMP_RET_ALLOW);
	assert_int_equal(together(SYS_write, fd3), SECCOMP_RET_ALLOW);
	assert_int_equal(together(SYS_futex, wait), SECCOMP_RET_ALLOW);
	assert_int_equal(together(SYS_exit_group, none), SECCOMP_RET_ALLOW);
	for (uint32_t nr = 0; nr < 1024; nr++) {
		uint32_t r = together(nr, none);
		killed += r == SECCOMP_RET_KILL_PROCESS;
		allowed += r == SECCOMP_RET_ALLOW;
	}
	assert_int_equal(killed, 3);  /* the door's */
	assert_int_equal(allowed, 2); /* exit_group; futex, whose zeros are a WAIT */
	for (uint32_t nr = 0; nr < 1024; nr++)
		assert_int_equal(together(nr | X32_BIT, none), SECCOMP_RET_KILL_PROCESS);
}

/* One bit of one argument flipped from an allowed form. */
static void flip_all(const struct program *p, uint32_t nr, const uint64_t base[6], unsigned arg,
                     uint64_t free_bits)
{
	struct walk w = walk_of(p);
	assert_int_equal(ask(&w, p->arch, nr, base), SECCOMP_RET_ALLOW);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t args[6];
		memcpy(args, base, sizeof args);
		args[arg] ^= 1ULL << bit;
		bool want = free_bits >> bit & 1;
		assert_int_equal(ask(&w, p->arch, nr, args) == SECCOMP_RET_ALLOW, want);
	}
}

static void strict_arguments(const struct program *p)
{
	const uint64_t fd3[6] = { 3, 0x7f0000001000, 64 };
	const uint64_t ops[] = { 0, 1, 128, 129 };
	flip_all(p, SYS_read, fd3, 0, 0);
	flip_all(p, SYS_write, fd3, 0, 0);
	for (unsigned i = 1; i < 6; i++) { /* the others are the caller's own memory and lengths */
		flip_all(p, SYS_read, fd3, i, ~0ULL);
		flip_all(p, SYS_write, fd3, i, ~0ULL);
	}
	for (unsigned i = 0; i < LEN(ops); i++) {
		const uint64_t args[6] = { 0x7f0000001000, ops[i], 1 };
		flip_all(p, SYS_futex, args, 1, 0x81);
	}
	for (uint64_t op = 0; op < 1024; op++)
		assert_int_equal(allows(p, SYS_futex, 0, op, 0, 0, 0), op == 0 || op == 1 || op == 128 || op == 129);
	assert_true(allows(p, SYS_exit_group, 0, 0, 0, 0, 0));
}

static void test_strict_arguments(void **state)
{
	(void)state;
	strict_arguments(&programs[STRICT]);
	strict_arguments(&programs[REPORT]);
}

/* The same on arm64, whose numbers are others: read 63, write 64, futex 98. */
static void test_arm64_arguments(void **state)
{
	const uint64_t fd3[6] = { 3, 0x7f0000001000, 64 }, wait[6] = { 0x7f0000001000, 128, 1 };
	static const int which[] = { STRICT + 1, REPORT + 1 };
	(void)state;
	for (unsigned i = 0; i < LEN(which); i++) {
		const struct program *p = &programs[which[i]];
		flip_all(p, 63, fd3, 0, 0);
		flip_all(p, 64, fd3, 0, 0);
		flip_all(p, 98, wait, 1, 0x81);
	}
}

/* Executable memory and programs: refused by each list that has memory calls at all. */
static void test_no_executable_memory(void **state)
{
	static const int with_memory[] = { STARTUP, JAILER, BROKER, AUDITOR };
	(void)state;
	for (unsigned i = 0; i < LEN(with_memory); i++) {
		const struct program *p = &programs[with_memory[i]];
		for (uint64_t prot = 0; prot < 8; prot++) {
			assert_int_equal(allows(p, SYS_mmap, 0, 4096, prot, 0x22, 0), prot < PROT_EXEC);
			if (in_list(p, SYS_mprotect))
				assert_int_equal(allows(p, SYS_mprotect, 0, 4096, prot, 0, 0), prot < PROT_EXEC);
		}
		assert_false(allows(p, SYS_pkey_mprotect, 0, 4096, PROT_EXEC, 0, 0));
		assert_false(allows(p, SYS_shmat, 0, 0, 0, 0, 0));
		assert_false(allows(p, SYS_remap_file_pages, 0, 0, 0, 0, 0));
	}
}

static void test_broker_and_auditor(void **state)
{
	static const int never[] = { SYS_execve, SYS_execveat, SYS_fork, SYS_vfork, SYS_clone, SYS_clone3,
		                         SYS_ptrace, SYS_mount, SYS_socket, SYS_connect, SYS_bind, SYS_setuid,
		                         SYS_setresuid, SYS_capset, SYS_unshare, SYS_setns, SYS_chroot, SYS_keyctl,
		                         SYS_bpf, SYS_io_uring_setup, SYS_process_vm_writev, SYS_kill,
		                         SYS_userfaultfd, SYS_prctl, SYS_seccomp, SYS_pidfd_getfd };
	static const int never_auditor[] = { SYS_unlink, SYS_unlinkat, SYS_truncate, SYS_ftruncate, SYS_rename,
		                                 SYS_open, SYS_memfd_create, SYS_socketpair, SYS_accept4 };
	(void)state;
	for (unsigned i = 0; i < LEN(never); i++) {
		struct walk b = walk_of(&programs[BROKER]), a = walk_of(&programs[AUDITOR]);
		uint32_t v[2] = { 0, 1 };
		assert_false(try_number(&programs[BROKER], &b, (uint32_t)never[i], v, 2));
		assert_false(try_number(&programs[AUDITOR], &a, (uint32_t)never[i], v, 2));
	}
	for (unsigned i = 0; i < LEN(never_auditor); i++)
		assert_false(in_list(&programs[AUDITOR], (uint32_t)never_auditor[i]));
	assert_true(allows(&programs[AUDITOR], SYS_openat, 7, 0, 0x80041, 0600, 0));
	assert_false(in_list(&programs[AUDITOR], SYS_ioctl));
	/* Reports may be taken, never answered, and no descriptor put into a worker. */
	for (uint64_t op = 0xc0002100; op < 0xc1002100; op += 0x100)
		for (uint64_t nr = 0; nr < 8; nr++)
			assert_int_equal(allows(&programs[BROKER], SYS_ioctl, 9, op + nr, 0, 0, 0), op + nr == 0xc0502100);
	assert_false(allows(&programs[BROKER], SYS_ioctl, 9, 0x40182103, 0, 0, 0)); /* ADDFD */
	assert_true(allows(&programs[BROKER], SYS_ioctl, 9, 0x40082102, 0, 0, 0));
	assert_false(allows(&programs[AUDITOR], SYS_openat, 7, 0, 0x80241, 0600, 0)); /* O_TRUNC */
}

/* The start: a thread, never a process or a namespace; only the program, only once in its way. */
static void test_startup_arguments(void **state)
{
	const struct program *p = &programs[STARTUP];
	const uint64_t thread = 0x003d0f00;
	(void)state;
	assert_true(allows(p, SYS_clone, thread, 0, 0, 0, 0));
	assert_false(allows(p, SYS_clone, thread & ~0x10000ULL, 0, 0, 0, 0)); /* not a thread */
	assert_false(allows(p, SYS_clone, 17, 0, 0, 0, 0));                   /* fork */
	assert_false(allows(p, SYS_clone, 0x9000, 0, 0, 0, 0));               /* the jailer's own */
	assert_false(allows(p, SYS_sendmsg, 4, 0, 0, 0, 0));
	for (unsigned bit = 25; bit < 64; bit++)                              /* namespaces, io, high half */
		assert_false(allows(p, SYS_clone, thread | 1ULL << bit, 0, 0, 0, 0));
	assert_true(allows(p, SYS_execveat, 5, 0, 0, 0, 0x1000));
	assert_false(allows(p, SYS_execveat, 4, 0, 0, 0, 0x1000));
	assert_false(allows(p, SYS_execveat, 5, 0, 0, 0, 0));
	assert_false(allows(p, SYS_execveat, (uint64_t)(int64_t)-100, 0, 0, 0, 0));
	assert_false(allows(p, SYS_execve, 0, 0, 0, 0, 0));
	assert_false(allows(p, SYS_openat, 0, 0, 0, 0, 0));
	assert_false(allows(p, SYS_seccomp, 0, 0, 0, 0, 0)); /* SECCOMP_SET_MODE_STRICT */
}

/* Whatever the locked worker may do, the filters around it allow too: the strictest answer wins. */
static void test_strict_within_outer(void **state)
{
	const struct program *s = &programs[STRICT];
	(void)state;
	for (unsigned i = 0; i < s->n_calls; i++) {
		assert_true(in_list(&programs[STARTUP], (uint32_t)s->calls[i]));
		assert_true(in_list(&programs[JAILER], (uint32_t)s->calls[i]));
	}
	for (unsigned i = 0; i < programs[STARTUP].n_calls; i++)
		assert_true(in_list(&programs[JAILER], (uint32_t)programs[STARTUP].calls[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_number),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_locked_together),
		cmocka_unit_test(test_strict_arguments),
		cmocka_unit_test(test_arm64_arguments),
		cmocka_unit_test(test_no_executable_memory),
		cmocka_unit_test(test_broker_and_auditor),
		cmocka_unit_test(test_startup_arguments),
		cmocka_unit_test(test_strict_within_outer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
