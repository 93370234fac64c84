/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread pool: every task once, in a job of any size, with any number of threads, awake or asleep;
 * the floating-point mode of its threads. Run under ThreadSanitizer too.
 */
#include "tests/unit/unit_kernels.h"

#include <immintrin.h>
#include <stdatomic.h>
#include <time.h>

struct count {
	_Atomic uint32_t total;
	uint8_t seen[1000];
	unsigned threads;
	_Atomic uint32_t bad;
};

static void count_task(void *arg, uint32_t task, unsigned thread)
{
	struct count *c = arg;
	c->seen[task]++; /* a task belongs to one thread: no lock */
	if (thread >= c->threads || _mm_getcsr() >> 6 != 0x9fc0u >> 6)
		atomic_fetch_add(&c->bad, 1);
	atomic_fetch_add(&c->total, 1);
}

static void job(struct pool *p, uint32_t n)
{
	static struct count c;
	memset(&c, 0, sizeof c);
	c.threads = pool_threads(p);
	pool_run(p, count_task, &c, n);
	assert_int_equal(atomic_load(&c.total), n);
	assert_int_equal(atomic_load(&c.bad), 0);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(c.seen[i], 1);
}

static struct pool *start(unsigned n, void **mem, void **stacks)
{
	struct pool *p = NULL;
	*mem = aligned_alloc(64, (pool_bytes(n) + 63) & ~(size_t)63);
	*stacks = aligned_alloc(4096, n * (size_t)(1 << 20));
	assert_true(*mem && *stacks);
	assert_int_equal(pool_start(&p, *mem, n, *stacks, 1 << 20), 0);
	assert_int_equal(pool_threads(p), n);
	return p;
}

static void every_task_once(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 5; n++) {
		void *mem, *stacks;
		struct pool *p = start(n, &mem, &stacks);
		for (int round = 0; round < 300; round++)
			job(p, (uint32_t)rng_int(0, 40));
		job(p, 1000);
		pool_stop(p);
		free(mem);
		free(stacks);
	}
}

/* Long pauses put the threads to sleep: the next job must wake them or do without. */
static void asleep(void **state)
{
	(void)state;
	void *mem, *stacks;
	struct pool *p = start(3, &mem, &stacks);
	for (int round = 0; round < 30; round++) {
		nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
		job(p, (uint32_t)rng_int(2, 20));
	}
	pool_stop(p);
	free(mem);
	free(stacks);
}

struct meet {
	_Atomic uint32_t here;
	_Atomic uint32_t together;
};

/* Two tasks that wait for one another (bounded): only two threads can finish them early. */
static void meet_task(void *arg, uint32_t task, unsigned thread)
{
	struct meet *m = arg;
	(void)task;
	(void)thread;
	atomic_fetch_add(&m->here, 1);
	for (int i = 0; i < 2000; i++) {
		if (atomic_load(&m->here) == 2) {
			atomic_store(&m->together, 1);
			return;
		}
		nanosleep(&(struct timespec){ 0, 100000 }, NULL);
	}
}

static void really_parallel(void **state)
{
	(void)state;
	struct meet m = { 0, 0 };
	pool_run(pool_two(), meet_task, &m, 2);
	assert_int_equal(atomic_load(&m.together), 1);
}

static void no_pool(void **state)
{
	(void)state;
	job(NULL, 17);
	job(NULL, 0);
	struct pool *p;
	char mem[256] __attribute__((aligned(64)));
	assert_true(pool_start(&p, mem, 0, NULL, 0) < 0);
}

/* A stack too small for a thread is an error that leaves no thread behind. */
static void stack_too_small(void **state)
{
	(void)state;
	struct pool *p;
	void *mem = aligned_alloc(64, (pool_bytes(2) + 63) & ~(size_t)63);
	static char stack[4096] __attribute__((aligned(4096)));
	assert_true(pool_start(&p, mem, 2, stack, sizeof stack) < 0);
	free(mem);
}

int main(void)
{
	fp_env_set();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_task_once), cmocka_unit_test(asleep),  cmocka_unit_test(really_parallel),
		cmocka_unit_test(no_pool),         cmocka_unit_test(stack_too_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
