/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenBLAS behind its wraps: the core is the level's whatever the environment says, products of every
 * class of M, N, K from all pool threads at once stay inside their slots and make no system call, and the
 * table names only shapes that its slot can hold.
 */
#include "tests/unit/unit_kernels.h"

#include "sandbox/inside/engine/kernels/blas.h"
#include "sandbox/inside/engine/kernels/blas_slot.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The level of the linked core: unit_kernels_blas_avx2.c takes another. */
#ifndef CORE_LEVEL
#define CORE_LEVEL level_detect()
#endif

#define N_MAX 1100
#define PATTERN 0xa5

static void core_is_the_levels(void **state)
{
	(void)state;
	/* The Makefile's runner sets nothing; a machine may set OPENBLAS_CORETYPE to anything. */
	assert_true(blas_core_check());
	assert_string_equal(blas_core_wanted(LEVEL_C), "none");
	assert_string_equal(blas_core_wanted(LEVEL_AVX2), "Haswell");
	assert_string_equal(blas_core_wanted(LEVEL_AMX), "SkylakeX");
	if (level_detect() != LEVEL_C)
		assert_string_equal(blas_core(), blas_core_wanted(CORE_LEVEL));
	extern char **environ;
	for (size_t i = 0; environ[i]; i++)
		if (strncmp(environ[i], "OPENBLAS_", 9) == 0)
			assert_true(strncmp(environ[i], "OPENBLAS_CORETYPE=", 18) == 0);
}

struct shapes {
	float *a, *b, *c[2];
	uint8_t *slot[2];
	size_t slot_bytes;
	const int64_t *sizes;
	uint32_t n_sizes;
	_Atomic int wrong;
};

/* The highest byte of a slot that was written. */
static size_t slot_high(const uint8_t *slot, size_t bytes)
{
	while (bytes && slot[bytes - 1] == PATTERN)
		bytes--;
	return bytes;
}

static void shape_task(void *arg, uint32_t task, unsigned thread)
{
	struct shapes *s = arg;
	int64_t m = s->sizes[task % s->n_sizes], n = s->sizes[task / s->n_sizes % s->n_sizes];
	int64_t k = s->sizes[task / s->n_sizes / s->n_sizes % s->n_sizes];
	bool trans = task / s->n_sizes / s->n_sizes / s->n_sizes;
	if (m * n * k > 40000000) /* enough of the largest */
		n = 65;
	struct blas_product p = { m, n, k, s->a, k, s->b, trans ? k : n, trans, s->c[thread], n, false };
	blas_sgemm(s->slot[thread], s->slot_bytes, &p);
	for (int64_t i = 0; i < m; i += 1 + m / 3)
		for (int64_t j = 0; j < n; j += 1 + n / 3) {
			double sum = 0;
			for (int64_t q = 0; q < k; q++)
				sum += (double)s->a[i * k + q] * (double)s->b[trans ? j * k + q : q * n + j];
			if (!(fabs(sum - (double)s->c[thread][i * n + j]) < 1e-5 * (double)k + 1e-5))
				atomic_store(&s->wrong, 2);
		}
}

static void shapes_make(struct shapes *s)
{
	static const int64_t sizes[] = { 1, 2, 3, 7, 16, 17, 64, 65, 130, 256, 513, N_MAX };
	*s = (struct shapes){ .sizes = sizes, .n_sizes = sizeof sizes / sizeof *sizes };
	s->a = floats_random(N_MAX * N_MAX);
	s->b = floats_random(N_MAX * N_MAX);
	s->slot_bytes = blas_need_bytes(N_MAX, N_MAX) + (1 << 20); /* and room to see what is beyond */
	for (int i = 0; i < 2; i++) {
		s->c[i] = floats_new(N_MAX * N_MAX);
		s->slot[i] = aligned_alloc(4096, s->slot_bytes);
		assert_non_null(s->slot[i]);
		memset(s->slot[i], PATTERN, s->slot_bytes);
	}
}

static void shapes_free(struct shapes *s)
{
	for (int i = 0; i < 2; i++) {
		free(s->c[i]);
		free(s->slot[i]);
	}
	free(s->a);
	free(s->b);
}

static uint32_t shapes_count(const struct shapes *s) { return 2 * s->n_sizes * s->n_sizes * s->n_sizes; }

static void all_classes_at_once(void **state)
{
	(void)state;
	if (level_detect() == LEVEL_C)
		skip();
	struct shapes s;
	shapes_make(&s);
	unsigned long buffers = blas_slot_buffers(), mallocs = blas_slot_mallocs();
	pool_run(pool_two(), shape_task, &s, shapes_count(&s));
	printf("%lu buffers, %lu small allocations\n", blas_slot_buffers() - buffers,
		   blas_slot_mallocs() - mallocs);
	assert_int_equal(atomic_load(&s.wrong), 0);
	assert_true(blas_slot_buffers() > buffers);
	for (int i = 0; i < 2; i++) {
		guard_check(s.c[i], N_MAX * N_MAX);
		assert_true(slot_high(s.slot[i], s.slot_bytes) <= blas_need_bytes(N_MAX, N_MAX));
	}
	shapes_free(&s);
}

/* What one product writes stays below what it was said to need, long either way. */
static void need_by_shape(void **state)
{
	(void)state;
	if (level_detect() == LEVEL_C)
		skip();
	static const int64_t sizes[] = { 1, 63, 200, 520, 3000 };
	enum { N = sizeof sizes / sizeof *sizes, K = 800, BIG = 3000 };
	float *a = floats_random(BIG * K), *b = floats_random(BIG * K), *c = floats_new(BIG * BIG);
	size_t bytes = blas_need_bytes(BIG, BIG) + (1 << 20);
	uint8_t *slot = aligned_alloc(4096, bytes);
	assert_non_null(slot);
	for (int i = 0; i < N * N; i++) {
		int64_t m = sizes[i % N], n = sizes[i / N];
		if (m == BIG && n == BIG)
			continue;
		memset(slot, PATTERN, bytes);
		struct blas_product p = { m, n, K, a, K, b, n, false, c, n, false };
		blas_sgemm(slot, bytes, &p);
		size_t high = slot_high(slot, bytes);
		/* The small path takes no buffer; the long shapes must, or this test sees nothing. */
		if (high > blas_need_bytes(m, n) || (high == 0 && m + n > BIG + 100))
			fail_msg("%ld x %ld: %zu of %zu bytes", (long)m, (long)n, high, blas_need_bytes(m, n));
	}
	free(a);
	free(b);
	free(c);
	free(slot);
}

/* futex and exit_group only, for all threads: a mapping, a yield or an allocation ends the process. */
static int filter_set(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof code / sizeof *code, code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
}

/* In a child: its own pool, the filter, and either all products or an allocation past the wrap. */
static int filtered_child(bool provoke)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct shapes s;
		struct pool *p;
		shapes_make(&s);
		void *mem = aligned_alloc(64, (pool_bytes(2) + 63) & ~(size_t)63),
			 *stack = aligned_alloc(4096, 1 << 20);
		if (!mem || !stack || pool_start(&p, mem, 2, stack, 1 << 20) || filter_set())
			_exit(3);
		if (provoke)
			syscall(SYS_sched_yield);
		pool_run(p, shape_task, &s, shapes_count(&s));
		_exit(atomic_load(&s.wrong) ? 4 : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void no_system_call(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* the sanitizers make calls of their own */
#endif
	if (level_detect() == LEVEL_C)
		skip();
	int status = filtered_child(false);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("a product under the filter ended with status %#x", (unsigned)status);
	status = filtered_child(true); /* the alarm rings */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void table_fits_its_slot(void **state)
{
	(void)state;
	for (int l = 0; l < LEVEL__MAX; l++) {
		size_t slot = blas_slot_bytes((enum level)l);
		bool any = false;
		for (int64_t m = 1; m <= 1 << 16; m *= 4)
			for (int64_t n = 1; n <= 1 << 20; n *= 2)
				for (int64_t k = 1; k <= 1 << 16; k *= 4)
					if (blas_wanted((enum level)l, m, n, k)) {
						any = true;
						assert_true(blas_need_bytes(m, n) <= slot);
					}
		assert_true(any == (slot > 0));
	}
	assert_false(blas_wanted(LEVEL_C, 512, 512, 512));
	assert_false(blas_wanted(LEVEL_AVX2, 1, 4096, 4096));
}

int main(int argc, char **argv)
{
	(void)argc;
	fp_env_set();
	/* Once more under a hostile environment: the constructor must not believe it. */
	if (!getenv("FUMEHOOD_BLAS_AGAIN")) {
		setenv("FUMEHOOD_BLAS_AGAIN", "1", 1);
		setenv("OPENBLAS_CORETYPE", "Prescott", 1);
		setenv("OPENBLAS_L2_SIZE", "1", 1);
		setenv("OPENBLAS_VERBOSE", "5", 1);
		execv("/proc/self/exe", argv);
		return 1;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(core_is_the_levels),
		cmocka_unit_test(no_system_call), /* first: a fork has no other thread */
		cmocka_unit_test(all_classes_at_once),
		cmocka_unit_test(need_by_shape),
		cmocka_unit_test(table_fits_its_slot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
