/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood-attack: stands in the worker's place and belongs to the attacker. It locks itself with the
 * worker's own start.c and filter bytes, says "locked", waits for one byte on the channel, and then
 * makes the one attempt that its "model" names (sandbox/outside/attempt.h). If it lives on, it says what the kernel
 * returned and ends.
 *
 * A few named attempts lie before the lock: they claim to be locked and are not.
 *
 * Side: inside, as the attacker. Trusts: nothing. Owns: nothing.
 */
#include "proto/fixed.h"
#include "proto/frame.h"
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"
#include "sandbox/inside/start.h"
#include "sandbox/inside/sys.h"
#include "sandbox/outside/attempt.h"
#include "sandbox/outside/template.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"
#include "tests/jail/peer.h"

#include "filters.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNEL 3
#define ZEROS_BYTES (1 << 20)

/* An attacker's program has no kernels: what start.c and the pool ask of them. */
enum level level_detect(void) { return LEVEL_C; }
const char *level_name(enum level l) { (void)l; return "attack"; }
void fp_env_set(void);
void fp_env_set(void) {}

static uint8_t zeros[6][ZEROS_BYTES] __attribute__((aligned(4096)));

/* --- the instruction ---------------------------------------------------------------------------------------- */

static long call_native(long nr, const long a[6])
{
	long ret;
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	__asm__ volatile("syscall"
	                 : "=a"(ret)
	                 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return ret;
}

static long call_i386(long nr, const long a[6])
{
	long ret;
	__asm__ volatile("push %%rbx\n\tmov %2, %%rbx\n\tint $0x80\n\tpop %%rbx"
	                 : "=a"(ret)
	                 : "a"(nr), "r"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
	                 : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

static long attempt_call(const struct attempt *t, const uint8_t *blob)
{
	long a[6];
	for (int i = 0; i < 6; i++) {
		a[i] = t->args[i];
		if (t->arg_kinds[i] == ARG_ZEROS)
			a[i] = (long)zeros[i];
		else if (t->arg_kinds[i] == ARG_TEXT)
			a[i] = (long)(blob + (t->args[i] & (ATTEMPT_BLOB_BYTES - 1)));
	}
	if (t->abi == ABI_I386)
		return call_i386(t->nr, a);
	return call_native(t->abi == ABI_X32 ? t->nr | 0x40000000 : t->nr, a);
}

/* --- attempts that are more than one call -------------------------------------------------------------------- */

static const struct attempt *shared;
static const uint8_t *shared_blob;
static struct pool *shared_pool;
static long shared_ret;

static void in_thread(void *arg, uint32_t task, unsigned thread)
{
	(void)arg;
	if (task == 0 && thread == 0) /* keep the first thread busy until the other has tried */
		for (volatile long i = 0; i < 100000000L; i++)
			;
	else
		shared_ret = attempt_call(shared, shared_blob);
}

static long do_thread(void)
{
	struct pool *p = shared_pool;
	pool_run(p, in_thread, NULL, pool_threads(p));
	return shared_ret;
}

static long do_vsyscall_call(void)
{
	long (*page)(long *) = (long (*)(long *))0xffffffffff600400UL; /* time */
	return page(NULL);
}

static long do_vsyscall_read(void)
{
	return *(volatile unsigned char *)0xffffffffff600000UL;
}

static long do_write_model(void)
{
	*(volatile uint8_t *)(uintptr_t)shared_blob = 1;
	return 0;
}

static long do_write_text(void)
{
	*(volatile uint8_t *)(uintptr_t)do_write_model = 0xc3;
	return 0;
}

static long do_run_arena(void)
{
	zeros[0][0] = 0xc3;
	((void (*)(void))(uintptr_t)zeros[0])();
	return 0;
}

static long do_spin(void)
{
	for (volatile long i = 0; i >= 0; i++)
		i &= 0xffff;
	return 0;
}

static long do_silence(void)
{
	uint32_t word = 0;
	long a[6] = { (long)&word, 128, 0 };
	while (call_native(202, a) != 1) /* futex WAIT for ever */
		;
	return 0;
}

static long do_flood(void)
{
	while (sys_write_exact(CHANNEL, zeros[0], ZEROS_BYTES) > 0)
		;
	return 0;
}

static long do_exit(void) { sys_exit_group(0); }
static long do_exit_9(void) { sys_exit_group(9); }
static long do_div(void)
{
	volatile int zero = 0, some = 77;
	return some / zero;
}
static long do_trap(void) { __builtin_trap(); }

static long deep(volatile long *p)
{
	volatile long here[512];
	here[0] = *p + 1;
	return here[0] < 0 ? 0 : deep(here) + here[0];
}

static long do_stack(void)
{
	volatile long start = 0;
	return deep(&start);
}

static long do_i386_segment(void)
{
	/* A far return into the 32-bit code segment: where int 0x80 or sysenter would be next. */
	__asm__ volatile("push $0x23\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n1:\n\tint $0x80" ::: "rax", "memory");
	return 0;
}

/* The memory of another process (2: there is none in a namespace of its own), for real: with a length. */
static long vm_copy(long nr)
{
	struct { void *at; size_t n; } mine = { zeros[0], 16 }, theirs = { (void *)0x1000, 16 };
	const long a[6] = { 2, (long)&mine, 1, (long)&theirs, 1, 0 };
	return call_native(nr, a);
}
static long do_vm_read(void) { return vm_copy(SYS_process_vm_readv); }
static long do_vm_write(void) { return vm_copy(SYS_process_vm_writev); }

/* The channel itself, as a descriptor: a cycle in the broker's queue. */
static long do_send_fd(void)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl = { 0 };
	struct iovec v = { zeros[0], 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	const int fd = CHANNEL;
	const long a[6] = { CHANNEL, (long)&m, 0 };
	ctl.h.cmsg_level = SOL_SOCKET;
	ctl.h.cmsg_type = SCM_RIGHTS;
	ctl.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&ctl.h), &fd, sizeof fd);
	return call_native(SYS_sendmsg, a);
}

static const struct {
	const char *name;
	long (*fn)(void);
} named[] = {
	{ "vm-read", do_vm_read },         { "vm-write", do_vm_write },      { "send-fd", do_send_fd },
	{ "thread", do_thread },           { "vsyscall", do_vsyscall_call }, { "vsyscall-read", do_vsyscall_read },
	{ "write-model", do_write_model }, { "write-text", do_write_text },  { "run-data", do_run_arena },
	{ "spin", do_spin },               { "silence", do_silence },        { "flood", do_flood },
	{ "exit", do_exit },               { "exit-9", do_exit_9 },          { "div", do_div },
	{ "trap", do_trap },               { "stack", do_stack },            { "segment32", do_i386_segment },
};

static long run_named(const char *name)
{
	for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
		const char *a = named[i].name, *b = name;
		while (*a && *a == *b)
			a++, b++;
		if (*a == *b)
			return named[i].fn();
	}
	peer_play(name);
	return -1;
}

/* --- liars: claim before the lock ------------------------------------------------------------------------------ */

static void claim_layers(uint64_t layers)
{
	uint8_t frame[FRAME_HEADER_BYTES + FIXED_BYTES];
	struct locked_fixed body = { .layers = layers, .n_threads = 1 };
	frame_header_put(frame, &(struct frame_header){ .kind = MSG_LOCKED, .length = FIXED_BYTES });
	memcpy(frame + FRAME_HEADER_BYTES, &body, sizeof body);
	sys_write_exact(CHANNEL, frame, sizeof frame);
}

static void claim(void)
{
	claim_layers(~0ULL);
}

static void *idle(void *arg)
{
	for (;;)
		do_silence();
	return arg;
}

static void filter(unsigned flags)
{
	if (step_seccomp(filter_worker_strict, FILTER_WORKER_STRICT_INSNS, flags) < 0)
		sys_exit_group(3);
}

/* A true listener, of a filter that allows everything or of the true one. */
static void bring_listener(const struct sock_filter *f, size_t n)
{
	uint8_t frame[FRAME_HEADER_BYTES + FIXED_BYTES] = { 0 };
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl = { 0 };
	struct iovec v = { frame, sizeof frame };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	int fd = step_seccomp_listener(f, n);
	frame_header_put(frame, &(struct frame_header){ .kind = MSG_LISTENER, .length = FIXED_BYTES });
	ctl.h.cmsg_level = SOL_SOCKET;
	ctl.h.cmsg_type = SCM_RIGHTS;
	ctl.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&ctl.h), &fd, sizeof fd);
	if (fd < 0 || syscall(SYS_sendmsg, CHANNEL, &m, 0) != (long)sizeof frame)
		sys_exit_group(3);
}

static void true_listener(void) { bring_listener(filter_worker_report, FILTER_WORKER_REPORT_INSNS); }

static void lie_nothing(void) { claim(); do_silence(); }
static void lie_no_filter(void)
{
	static const struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, 0x7fff0000U) };
	bring_listener(all, 1); /* a filter that counts as one and stops nothing */
	if (step_dumpable(0) < 0 || step_close_from(4) < 0)
		sys_exit_group(3);
	claim();
	do_silence();
}
static void lie_other_thread(void) /* the filter holds for one thread only */
{
	pthread_t t;
	if (pthread_create(&t, NULL, idle, NULL))
		sys_exit_group(3);
	filter(0);
	claim();
	do_silence();
}
static void lie_more_threads(void)
{
	pthread_t t;
	if (pthread_create(&t, NULL, idle, NULL))
		sys_exit_group(3);
	usleep(20000);
	for (volatile long i = 0; i < 20000000; i++)
		;
	filter(KABI_SECCOMP_FILTER_FLAG_TSYNC);
	claim();
	do_silence();
}
static void door(void)
{
	if (step_seccomp(filter_worker_door, FILTER_WORKER_DOOR_INSNS, KABI_SECCOMP_FILTER_FLAG_TSYNC) < 0)
		sys_exit_group(3);
}
static void lie_keeps_fd(void) /* the model's descriptor and the listener stay open */
{
	true_listener();
	door();
	claim();
	do_silence();
}
static void lie_two_filters(void)
{
	true_listener();
	door();
	filter(0);
	claim();
	do_silence();
}
static void lie_no_listener(void) /* locked, but nobody would hear of a refused call */
{
	filter(0);
	filter(0);
	claim();
	do_silence();
}
static void lie_open_door(void) /* the calls that handing over the listener needs stay allowed */
{
	true_listener();
	if (step_close_between(4, ~0U) < 0 || step_close_between(0, 2) < 0)
		sys_exit_group(3);
	claim();
	do_silence();
}
static void lie_false_listener(void) /* the model's descriptor in the listener's place */
{
	uint8_t frame[FRAME_HEADER_BYTES + FIXED_BYTES] = { 0 };
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl = { 0 };
	struct iovec v = { frame, sizeof frame };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	const int fd = 4;
	frame_header_put(frame, &(struct frame_header){ .kind = MSG_LISTENER, .length = FIXED_BYTES });
	ctl.h.cmsg_level = SOL_SOCKET;
	ctl.h.cmsg_type = SCM_RIGHTS;
	ctl.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&ctl.h), &fd, sizeof fd);
	if (syscall(SYS_sendmsg, CHANNEL, &m, 0) != (long)sizeof frame)
		sys_exit_group(3);
	filter(0);
	filter(0);
	claim();
	do_silence();
}
static void lie_less(void) /* all that can be proved stands; the rest is not even claimed */
{
	true_listener();
	if (step_close_between(4, ~0U) < 0 || step_close_between(0, 2) < 0)
		sys_exit_group(3);
	door();
	claim_layers(0);
	do_silence();
}
static void lie_other_word(void)
{
	static const char junk[96] = "I am locked, honestly.";
	sys_write_exact(CHANNEL, junk, sizeof junk);
	do_silence();
}

static const struct {
	const char *name;
	void (*fn)(void);
} liars[] = {
	{ "lie-nothing", lie_nothing },           { "lie-no-filter", lie_no_filter },
	{ "lie-other-thread", lie_other_thread }, { "lie-more-threads", lie_more_threads },
	{ "lie-keeps-fd", lie_keeps_fd },         { "lie-two-filters", lie_two_filters },
	{ "lie-other-word", lie_other_word },     { "lie-less", lie_less },
	{ "lie-no-listener", lie_no_listener },   { "lie-open-door", lie_open_door },
	{ "lie-false-listener", lie_false_listener },
};

/* What stands around this process before it locks itself: the layers that cannot be seen from outside.
 * Answered after the lock. Needs the test jailer's --open-start, or the start filter answers instead. */
static long seen;
static bool has_seen;

static void look_around(void)
{
	long rights = syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY) < 0 ? errno : 0;
	int death = 0;
	prctl(PR_GET_PDEATHSIG, &death);
	seen = (prctl(PR_GET_SECUREBITS) & 0xff) | (long)(prctl(KABI_PR_GET_MDWE, 0, 0, 0, 0) & 0xff) << 8 |
	       (long)(death & 0xff) << 16 | rights << 24;
}

/* Looks at its "model" before the lock, which the worker never does: a liar must know its lie. */
static void lie(void)
{
	const struct attempt *t = mmap(NULL, ATTEMPT_BLOB_BYTES, PROT_READ, MAP_SHARED, 4, 0);
	if (t == MAP_FAILED)
		return;
	const char *name = (const char *)t + sizeof *t;
	for (size_t i = 0; t->kind == ATTEMPT_NAMED && i < sizeof liars / sizeof liars[0]; i++)
		if (!strcmp(name, liars[i].name))
			liars[i].fn();
	has_seen = t->kind == ATTEMPT_EARLY || (t->kind == ATTEMPT_NAMED && !strcmp(name, "look-around"));
	if (t->kind == ATTEMPT_EARLY)
		seen = attempt_call(t, (const uint8_t *)t);
	else if (has_seen)
		look_around();
	munmap((void *)(uintptr_t)t, ATTEMPT_BLOB_BYTES);
}

int main(int argc, char **argv)
{
	struct start st = { 0 };
	struct attempt_result result = { .magic = ATTEMPT_RETURNED };
	char go;
	(void)argc;
	argv = template_serve(argv, NULL);
	lie();
	start_or_die(&st, argv);
	if (sys_read_exact(CHANNEL, &go, 1) != 1)
		sys_exit_group(0);
	shared = (const struct attempt *)(const void *)st.model;
	shared_blob = st.model;
	shared_pool = st.pool;
	result.ret = has_seen ? seen : shared->kind == ATTEMPT_NAMED ? run_named((const char *)st.model + sizeof *shared)
	                                           : attempt_call(shared, st.model);
	sys_write_exact(CHANNEL, &result, sizeof result);
	sys_exit_group(0);
}
