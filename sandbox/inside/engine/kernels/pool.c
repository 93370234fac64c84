/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread pool. Threads are started before the wall; from its own loop on a thread makes two
 * system calls only, futex WAIT (untimed, private) and WAKE, by the instruction itself.
 *
 * How a job is handed out: one 64-bit ticket holds {generation, tasks left}. A thread takes a task by
 * a compare-and-swap that counts "left" down; success proves that the job of this generation is
 * unfinished, so the plain fields fn, arg and n_tasks may be read then and never otherwise. The
 * caller posts a job only after every task of the last one is counted done. The upper half of the
 * ticket is also the futex word that idle threads sleep on: it changes with every job.
 *
 * Side: inside. Trusts: its caller. Owns: the threads, their floating-point mode.
 */
#include "sandbox/inside/engine/kernels/pool.h"
#include "sandbox/inside/engine/kernels/kernels.h"

#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129
#define SPIN_US 40            /* longer than the gap between two operators, shorter than a time slice */
#define SPIN_SAMPLE 1000       /* pauses that are measured */
#define SPIN_MIN 200
#define SPIN_MAX 20000
#define GENERATION_ONE (UINT64_C(1) << 32)

struct pool_thread {
	alignas(64) struct pool *pool;
	pthread_t handle;
	unsigned index;
};

struct pool {
	alignas(64) _Atomic uint64_t ticket; /* generation << 32 | tasks left */
	alignas(64) _Atomic uint32_t done;   /* tasks finished; the caller sleeps on it */
	alignas(64) _Atomic uint32_t sleepers;
	_Atomic uint32_t caller_waits;
	_Atomic uint32_t ready;
	_Atomic uint32_t stop;
	alignas(64) void (*fn)(void *arg, uint32_t task, unsigned thread);
	void *arg;
	uint32_t n_tasks;
	uint32_t spins;
	unsigned n_threads;
	struct pool_thread threads[];
};

static long futex(void *word, long op, uint32_t value)
{
	register long timeout __asm__("r10") = 0;
	long ret;
	__asm__ volatile("syscall"
	                 : "=a"(ret)
	                 : "a"(SYS_futex), "D"(word), "S"(op), "d"((long)value), "r"(timeout)
	                 : "rcx", "r11", "memory");
	return ret;
}

/* The generation half of the ticket (little-endian). */
static void *generation_word(struct pool *p)
{
	return (void *)((uintptr_t)&p->ticket + 4);
}

/* Takes one task of generation gen; false when none is left or the job is another one. */
static bool task_take(struct pool *p, uint32_t gen, uint32_t *left)
{
	uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
	while ((uint32_t)(t >> 32) == gen && (uint32_t)t != 0) {
		if (atomic_compare_exchange_weak_explicit(&p->ticket, &t, t - 1, memory_order_acq_rel,
		                                          memory_order_acquire)) {
			*left = (uint32_t)t;
			return true;
		}
	}
	return false;
}

/* Works on generation gen until no task is left to take. */
static void work(struct pool *p, uint32_t gen, unsigned thread)
{
	uint32_t left;
	while (task_take(p, gen, &left)) {
		uint32_t n = p->n_tasks;
		p->fn(p->arg, n - left, thread);
		uint32_t done = atomic_fetch_add(&p->done, 1) + 1;
		if (done == n && atomic_load(&p->caller_waits))
			futex(&p->done, FUTEX_WAKE_PRIVATE, 1);
	}
}

/* Waits until there is a generation other than seen: spins, then sleeps. */
static uint32_t job_wait(struct pool *p, uint32_t seen)
{
	for (;;) {
		for (uint32_t i = 0; i < p->spins; i++) {
			uint32_t gen = (uint32_t)(atomic_load_explicit(&p->ticket, memory_order_acquire) >> 32);
			if (gen != seen)
				return gen;
			_mm_pause();
		}
		/* Both sides are sequentially consistent: either pool_run sees this sleeper, or the kernel
		 * sees the new generation and returns at once. */
		atomic_fetch_add(&p->sleepers, 1);
		futex(generation_word(p), FUTEX_WAIT_PRIVATE, seen);
		atomic_fetch_sub(&p->sleepers, 1);
	}
}

static void *thread_main(void *arg)
{
	struct pool_thread *t = arg;
	struct pool *p = t->pool;
	uint32_t gen = 0;
	fp_env_set();
	atomic_fetch_add(&p->ready, 1);
	futex(&p->ready, FUTEX_WAKE_PRIVATE, 1);
	for (;;) {
		gen = job_wait(p, gen);
		if (atomic_load(&p->stop))
			return NULL;
		work(p, gen, t->index);
	}
}

void pool_run(struct pool *p, void (*fn)(void *arg, uint32_t task, unsigned thread), void *arg,
              uint32_t n_tasks)
{
	if (!p || p->n_threads == 1 || n_tasks <= 1) {
		for (uint32_t i = 0; i < n_tasks; i++)
			fn(arg, i, 0);
		return;
	}
	p->fn = fn;
	p->arg = arg;
	p->n_tasks = n_tasks;
	atomic_store(&p->done, 0);
	uint64_t gen = (atomic_load_explicit(&p->ticket, memory_order_relaxed) >> 32) + 1;
	atomic_store(&p->ticket, gen << 32 | n_tasks);
	uint32_t sleepers = atomic_load(&p->sleepers);
	if (sleepers)
		futex(generation_word(p), FUTEX_WAKE_PRIVATE, sleepers < n_tasks ? sleepers : n_tasks - 1);
	work(p, (uint32_t)gen, 0);
	for (uint32_t i = 0; i < p->spins; i++) {
		if (atomic_load_explicit(&p->done, memory_order_acquire) == n_tasks)
			return;
		_mm_pause();
	}
	atomic_store(&p->caller_waits, 1);
	for (uint32_t d; (d = atomic_load(&p->done)) != n_tasks;)
		futex(&p->done, FUTEX_WAIT_PRIVATE, d);
	atomic_store(&p->caller_waits, 0);
}

/* How many pauses SPIN_US takes here: a pause is 20 to 150 cycles, by processor. Once per program, and in a
 * template before it forks: the measurement alone would be a tenth of a worker's start. */
static uint32_t spins_known;

void pool_measure(void)
{
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < SPIN_SAMPLE; i++)
		_mm_pause();
	clock_gettime(CLOCK_MONOTONIC, &b);
	uint64_t ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
	uint64_t spins = ns ? UINT64_C(1000) * SPIN_SAMPLE * SPIN_US / ns : SPIN_MIN;
	spins_known = spins < SPIN_MIN ? SPIN_MIN : spins > SPIN_MAX ? SPIN_MAX : (uint32_t)spins;
}

size_t pool_bytes(unsigned n_threads)
{
	return sizeof(struct pool) + n_threads * sizeof(struct pool_thread);
}

static int thread_start(struct pool_thread *t, void *stack, size_t stack_bytes)
{
	pthread_attr_t attr;
	int rc = pthread_attr_init(&attr);
	if (rc)
		return -rc;
	rc = pthread_attr_setstack(&attr, stack, stack_bytes);
	if (!rc)
		rc = pthread_create(&t->handle, &attr, thread_main, t);
	pthread_attr_destroy(&attr);
	return -rc;
}

int pool_start(struct pool **out, void *mem, unsigned n_threads, void *stacks, size_t stack_bytes)
{
	if (n_threads == 0)
		return -EINVAL;
	struct pool *p = mem;
	memset(p, 0, pool_bytes(n_threads));
	fp_env_set();
	p->n_threads = n_threads;
	if (!spins_known && n_threads > 1)
		pool_measure();
	p->spins = spins_known;
	for (unsigned i = 1; i < n_threads; i++) {
		p->threads[i].pool = p;
		p->threads[i].index = i;
		int rc = thread_start(&p->threads[i], (char *)stacks + (i - 1) * stack_bytes, stack_bytes);
		if (rc) {
			p->n_threads = i;
			pool_stop(p);
			return rc;
		}
	}
	/* Not nanosleep: a worker's start has no clock call, and spinning would take the thread's core. */
	for (uint32_t r; (r = atomic_load(&p->ready)) != n_threads - 1;)
		futex(&p->ready, FUTEX_WAIT_PRIVATE, r);
	*out = p;
	return 0;
}

unsigned pool_threads(const struct pool *p)
{
	return p ? p->n_threads : 1;
}

void pool_stop(struct pool *p)
{
	atomic_store(&p->stop, 1);
	atomic_fetch_add(&p->ticket, GENERATION_ONE);
	futex(generation_word(p), FUTEX_WAKE_PRIVATE, INT32_MAX);
	for (unsigned i = 1; i < p->n_threads; i++)
		pthread_join(p->threads[i].handle, NULL);
}
