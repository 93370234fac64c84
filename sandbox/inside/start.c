/* SPDX-License-Identifier: Apache-2.0
 *
 * From exec to "locked": see start.h. The order is forced:
 *   - what allocates, probes or asks for permission (AMX tiles) comes before the filter;
 *   - threads exist before the filter, each counted ready from its own loop, because a thread inside
 *     libc's start routine would make a call that the filter refuses;
 *   - exec made the process dumpable again, so that is undone here;
 *   - from the report filter on no function of libc is called: the listener goes to the broker and away
 *     from here before the door filter closes, because a listener of which the worker keeps a copy never
 *     dies, and a refused call would then hang when the broker is gone.
 *
 * Side: inside, before the wall. Trusts: the jailer. Owns: the worker's mappings.
 */
#include "sandbox/inside/start.h"
#include "proto/fixed.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/mem.h"
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"
#include "sandbox/inside/sys.h"
#include "sandbox/outside/template.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include "filters.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FD_CHANNEL 3
#define FD_MODEL 4
#define PAGE_BYTES 4096u
#define FD_LISTENER 0 /* the lowest number that close_rest has left free */

struct from_jailer {
	uint64_t arena_bytes, model_bytes, n_threads, optional, flags;
	void *stacks;
	size_t pool_bytes;
};

/* A layer that a test leaves out: only in the program of the tests that says so, never in the worker. The
 * mask comes in the flags, which the shipped jailer refuses and the shipped worker too. */
#ifdef FUMEHOOD_START_TEST
#define START_TEST_FLAGS (LAYERS_ALL << START_SKIP_SHIFT)
#define SKIPS(j, layer) (((j)->flags >> START_SKIP_SHIFT & (layer)) != 0)
#else
#define START_TEST_FLAGS 0ULL
#define SKIPS(j, layer) false
#endif

extern char **environ;
extern const char __ehdr_start[]; /* the linker's: this program's ELF header, as it is mapped */

static bool hex16(const char *s, uint64_t *out)
{
	uint64_t v = 0;
	for (int i = 0; i < 16; i++) {
		char c = s[i];
		unsigned d = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
		if (d == 16)
			return false;
		v = v << 4 | d;
	}
	*out = v;
	return s[16] == 0;
}

/* The jailer gives no environment; what a constructor of this program sets for OpenBLAS may stand there
 * (kernels/blas.c). Anything else: somebody else started this. */
static int environment_is_ours(void)
{
	static const char ours[] = "OPENBLAS_CORETYPE=";
	if (!environ || !environ[0])
		return 1;
	return strncmp(environ[0], ours, sizeof ours - 1) == 0 && !environ[1];
}

static int read_args(char **argv, struct from_jailer *j)
{
	uint64_t *const words[JAIL_WORDS] = { &j->arena_bytes, &j->model_bytes, &j->n_threads, &j->optional,
	                                      &j->flags };
	if (!environment_is_ours())
		return -EINVAL;
	if (!argv[0])
		return -EINVAL;
	for (int i = 0; i < JAIL_WORDS; i++)
		if (!argv[i + 1] || !hex16(argv[i + 1], words[i]))
			return -EINVAL;
	if (argv[JAIL_WORDS + 1] || j->n_threads < 1 || j->n_threads > LIMIT_THREADS)
		return -EINVAL;
	if (j->flags & ~(uint64_t)SPAWN_VIOLATION_KILL & ~START_TEST_FLAGS)
		return -EINVAL;
	return j->arena_bytes % PAGE_BYTES || j->arena_bytes < LIMIT_ARENA_MIN_BYTES ? -EINVAL : 0;
}

/* Exactly the channel and the model: mapping tells about 4, a read of no bytes about 3. */
static int check_fds(void)
{
	char none;
	long rc = sys_3(SYS_NR_READ, FD_CHANNEL, (long)&none, 0);
	return rc < 0 ? (int)rc : 0;
}

static int map_model(struct start *st, const struct from_jailer *j)
{
	if (j->model_bytes == 0)
		return -EINVAL;
	void *p = mmap(NULL, j->model_bytes, PROT_READ, MAP_SHARED, FD_MODEL, 0);
	if (p == MAP_FAILED)
		return -errno;
	st->model = p;
	st->model_bytes = j->model_bytes;
	return 0;
}

/* One reservation: the arena, then the pool's own memory, then the stacks, each with a guard page at
 * its low end. Nothing is touched: memory is used as it is needed, and the arena is its limit. */
static int map_arena(struct start *st, struct from_jailer *j)
{
	size_t stacks_bytes = (size_t)(j->n_threads - 1) * LIMIT_STACK_BYTES, total;
	j->pool_bytes = (pool_bytes((unsigned)j->n_threads) + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	struct ck sum = ck_add(ck_u64(j->arena_bytes), ck_add(ck_u64(j->pool_bytes), ck_u64(stacks_bytes)));
	if (!ck_get_size(sum, INT64_MAX, &total))
		return -EOVERFLOW;
	uint8_t *p = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
	                  -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	st->arena = p;
	st->arena_bytes = j->arena_bytes;
	j->stacks = p + j->arena_bytes + j->pool_bytes;
	for (uint64_t i = 0; i + 1 < j->n_threads; i++)
		if (mprotect((char *)j->stacks + i * LIMIT_STACK_BYTES, PAGE_BYTES, PROT_NONE) < 0)
			return -errno;
	madvise(p, j->arena_bytes, MADV_HUGEPAGE); /* a wish: kernels without huge pages say no */
	return 0;
}

/* Tiles need a permission, once per process, before the filter. A processor without them says no,
 * and level_detect then names a lower level. */
static int prepare_engine(struct start *st, const struct from_jailer *j, int (*prepare)(struct start *st))
{
	prctl(PR_SET_NAME, "fumehood-worker"); /* exec from memory left a name that tells nothing */
	syscall(SYS_arch_prctl, KABI_ARCH_REQ_XCOMP_PERM, KABI_XFEATURE_XTILEDATA);
	st->level = (uint32_t)level_detect();
	st->n_threads = (unsigned)j->n_threads;
	return prepare ? prepare(st) : 0;
}

static int start_threads(struct start *st, const struct from_jailer *j)
{
	return pool_start(&st->pool, st->arena + j->arena_bytes, st->n_threads, j->stacks, LIMIT_STACK_BYTES);
}

static int close_rest(void)
{
	int rc = step_close_from(FD_CHANNEL + 1);
	return rc ? rc : step_close_between(0, FD_CHANNEL - 1);
}

static int seal_range(const void *from, const void *to)
{
	uintptr_t a = (uintptr_t)from & ~(uintptr_t)(PAGE_BYTES - 1);
	uintptr_t b = ((uintptr_t)to + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1);
	return syscall(SYS_mseal, a, b - a, 0) < 0 ? -errno : 0;
}

/* Every part of the program that is never written, part by part: there may be holes between them. */
static int seal_program(void)
{
	const Elf64_Ehdr *h = (const void *)__ehdr_start;
	const Elf64_Phdr *p = (const void *)(__ehdr_start + h->e_phoff);
	int rc = h->e_type == ET_DYN ? 0 : -ENOEXEC; /* addresses below are relative to the header's */
	for (unsigned i = 0; i < h->e_phnum && rc == 0; i++)
		if (p[i].p_type == PT_LOAD && !(p[i].p_flags & PF_W))
			rc = seal_range(__ehdr_start + p[i].p_vaddr, __ehdr_start + p[i].p_vaddr + p[i].p_memsz);
	return rc;
}

static int seal_memory(struct start *st, const struct from_jailer *j)
{
	int rc = seal_program();
	if (rc == 0)
		rc = seal_range(st->model, st->model + st->model_bytes);
	return rc ? rc : seal_range(st->arena, st->arena + j->arena_bytes);
}

/* Where the program lies, for the offsets of reports. */
static void program_place(struct listener_fixed *l)
{
	const Elf64_Ehdr *h = (const void *)__ehdr_start;
	const Elf64_Phdr *p = (const void *)(__ehdr_start + h->e_phoff);
	l->program_base = (uint64_t)(uintptr_t)__ehdr_start;
	for (unsigned i = 0; i < h->e_phnum; i++)
		if (p[i].p_type == PT_LOAD && p[i].p_vaddr + p[i].p_memsz > l->program_bytes)
			l->program_bytes = p[i].p_vaddr + p[i].p_memsz;
}

/* Behind the report filter: by the instruction itself. */
static int hand_over_listener(void)
{
	static uint8_t frame[FRAME_HEADER_BYTES + FIXED_BYTES];
	static union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl;
	struct listener_fixed body = { 0 };
	struct iovec v = { frame, sizeof frame };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	const int fd = FD_LISTENER;
	program_place(&body);
	frame_header_put(frame, &(struct frame_header){ .kind = MSG_LISTENER, .length = FIXED_BYTES });
	memcpy(frame + FRAME_HEADER_BYTES, &body, sizeof body);
	ctl.h.cmsg_level = SOL_SOCKET;
	ctl.h.cmsg_type = SCM_RIGHTS;
	ctl.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&ctl.h), &fd, sizeof fd);
	long n = sys_3(SYS_NR_SENDMSG, FD_CHANNEL, (long)&m, 0);
	if (n != (long)sizeof frame)
		return n < 0 ? (int)n : -EIO;
	return (int)sys_3(SYS_NR_CLOSE_RANGE, FD_LISTENER, FD_LISTENER, 0);
}

static int close_door(void)
{
	static const struct { unsigned short len; const struct sock_filter *f; } door = {
		FILTER_WORKER_DOOR_INSNS, filter_worker_door,
	};
	long rc = sys_3(SYS_NR_SECCOMP, KABI_SECCOMP_SET_MODE_FILTER, KABI_SECCOMP_FILTER_FLAG_TSYNC, (long)&door);
	return rc > 0 ? -EBUSY : (int)rc;
}

static int strict(const struct from_jailer *j)
{
	if (j->flags & SPAWN_VIOLATION_KILL)
		return step_seccomp(filter_worker_strict, FILTER_WORKER_STRICT_INSNS, KABI_SECCOMP_FILTER_FLAG_TSYNC);
	int fd = step_seccomp_listener(filter_worker_report, FILTER_WORKER_REPORT_INSNS);
	return fd < 0 ? fd : fd == FD_LISTENER ? 0 : -EBADF;
}

/* LOCKED, in one write, by the instruction itself: this is behind the wall already. */
static void say_locked(const struct start *st, uint32_t step, int error)
{
	static uint8_t frame[FRAME_HEADER_BYTES + FIXED_BYTES];
	struct locked_fixed body = { .layers = st->layers, .arena_bytes = st->arena_bytes,
	                             .n_threads = st->n_threads, .level = st->level, .step = step,
	                             .error = error };
	const char *level = level_name((enum level)st->level);
	for (size_t i = 0; i + 1 < sizeof body.level_name && level[i]; i++)
		body.level_name[i] = level[i];
	for (size_t i = 0; i + 1 < sizeof body.blas_core && st->blas_core[i]; i++)
		body.blas_core[i] = st->blas_core[i];
	frame_header_put(frame, &(struct frame_header){ .kind = MSG_LOCKED, .length = FIXED_BYTES });
	memcpy(frame + FRAME_HEADER_BYTES, &body, sizeof body);
	sys_write_exact(FD_CHANNEL, frame, sizeof frame);
}

/* Says which step failed and ends; returns when rc is 0 or the step's layer may be missing. */
static void after(struct start *st, const struct from_jailer *j, uint32_t step, uint64_t layer, int rc)
{
	if (rc == 0) {
		st->layers |= layer;
		return;
	}
	if (layer && !(layer & ~j->optional))
		return;
	say_locked(st, step, -rc);
	sys_exit_group(START_EXIT_BASE + (int)(step - STEP_START_ARGS));
}

/* What a template asks and measures once, for all of its workers: both keep their answers. */
static void before_fork(void)
{
	pool_measure();
	(void)level_detect();
}

void start_prepared_or_die(struct start *st, char **argv, int (*prepare)(struct start *st))
{
	struct from_jailer j = { 0 };
	argv = template_serve(argv, before_fork);
	*st = (struct start){ 0 };
	after(st, &j, STEP_START_ARGS, 0, read_args(argv, &j));
	after(st, &j, STEP_START_FDS, 0, check_fds());
	after(st, &j, STEP_START_MODEL, 0, map_model(st, &j));
	after(st, &j, STEP_START_ARENA, 0, map_arena(st, &j));
	after(st, &j, STEP_START_PREPARE, 0, prepare_engine(st, &j, prepare));
	after(st, &j, STEP_START_THREADS, 0, start_threads(st, &j));
	if (!SKIPS(&j, LAYER_BIT(DUMPABLE)))
		after(st, &j, STEP_START_DUMPABLE, LAYER_BIT(DUMPABLE), step_dumpable(0));
	after(st, &j, STEP_START_CLOSE, LAYER_BIT(CLOSED_FDS), close_rest());
	if (!SKIPS(&j, LAYER_BIT(MSEAL)))
		after(st, &j, STEP_START_MSEAL, LAYER_BIT(MSEAL), seal_memory(st, &j));
	if (!SKIPS(&j, LAYER_BIT(SECCOMP))) {
		after(st, &j, STEP_START_SECCOMP, LAYER_BIT(SECCOMP), strict(&j));
		if (!(j.flags & SPAWN_VIOLATION_KILL)) {
			after(st, &j, STEP_START_LISTENER, 0, hand_over_listener());
			after(st, &j, STEP_START_DOOR, 0, close_door());
		}
	}
	say_locked(st, STEP_NONE, 0);
}

void start_or_die(struct start *st, char **argv)
{
	start_prepared_or_die(st, argv, NULL);
}
