/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of layers, what may be missing, what this kernel has; and the walls of broker and auditor
 * entered for real in children that then try what they must no longer do.
 *
 * Side: tests. Trusts: nothing. Owns: a folder in TMPDIR.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static void test_table(void **state)
{
	(void)state;
	for (unsigned a = 0; a < LAYER__MAX; a++) {
		assert_int_equal(layer_from_name(layer_rows[a].name), 1ULL << a);
		for (unsigned b = 0; b < a; b++)
			assert_string_not_equal(layer_rows[a].name, layer_rows[b].name);
	}
	assert_int_equal(layer_from_name("seccom"), 0);
	assert_int_equal(layer_from_name(""), 0);
}

/* The shipped configuration names what Linux 6.1 cannot have, and nothing else. */
static void test_shipped(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LAYER__MAX; i++) {
		bool newer = layer_rows[i].kernel_major > 6 ||
		             (layer_rows[i].kernel_major == 6 && layer_rows[i].kernel_minor > 1);
		assert_int_equal(wall_layers_shipped_optional() >> i & 1, newer);
	}
	assert_int_equal(wall_layers_shipped_optional() & ~wall_layers_may_be_optional(), 0);
	assert_int_equal(wall_layers_may_be_optional() &
	                 (LAYER_BIT(SECCOMP) | LAYER_BIT(NO_NEW_PRIVS) | LAYER_BIT(CLOSED_FDS) |
	                  LAYER_BIT(RLIMITS) | LAYER_BIT(CAPABILITIES) | LAYER_BIT(SECCOMP_START)), 0);
}

static void test_landlock_abis(void **state)
{
	(void)state;
	assert_int_equal(layers_of_landlock(0), 0);
	assert_int_equal(layers_of_landlock(1), 0); /* renaming cannot be denied */
	assert_int_equal(layers_of_landlock(2), LAYER_BIT(LANDLOCK_FS));
	assert_int_equal(layers_of_landlock(6) & ~layers_of_landlock(5), LAYER_BIT(LANDLOCK_SCOPE));
	assert_int_equal(layers_of_landlock(7), layers_of_landlock(6));
}

static void test_probe(void **state)
{
	uint64_t have = 0;
	struct err e;
	(void)state;
	assert_int_equal(wall_probe(&have, &e), ERR_OK);
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (!(have >> i & 1))
			printf("this kernel cannot have: %s (%s)\n", layer_rows[i].name, layer_rows[i].what);
	assert_true(have & LAYER_BIT(SECCOMP));
	assert_true(have & LAYER_BIT(NO_NEW_PRIVS));
	assert_int_equal(have & ~LAYERS_ALL, 0);
}

/* --- the walls, entered ------------------------------------------------------------------------------------- */

static char dir[64];

enum { RAN = 0, DENIED = 10, ODD = 11, NO_WALL = 12 };

static int opened(const char *path, int flags)
{
	int fd = openat(AT_FDCWD, path, flags, 0600);
	return fd >= 0 ? RAN : errno == EACCES ? DENIED : ODD;
}

static int try_open_inside(void)
{
	char p[128];
	snprintf(p, sizeof p, "%s/file", dir);
	return opened(p, O_RDONLY);
}
static int try_open_outside(void) { return opened("/etc/passwd", O_RDONLY); }
static int try_create(void)
{
	char p[128];
	snprintf(p, sizeof p, "%s/new", dir);
	return opened(p, O_WRONLY | O_CREAT | O_EXCL);
}
static int try_exec(void)
{
	char *argv[] = { NULL };
	execve("/bin/true", argv, argv);
	return ODD;
}
static int try_fork(void) { return (int)syscall(SYS_fork); }
static int try_exec_memory(void)
{
	return syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) > 0;
}
static int try_socket(void) { return (int)syscall(SYS_socket, 2, 1, 0); }
static int try_unlink(void)
{
	char p[128];
	snprintf(p, sizeof p, "%s/file", dir);
	return (int)syscall(SYS_unlinkat, AT_FDCWD, p, 0);
}
static int try_rename(void)
{
	char a[128], b[128];
	snprintf(a, sizeof a, "%s/other", dir);
	snprintf(b, sizeof b, "%s/file", dir);
	return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 0) == 0 ? RAN : errno == EACCES ? DENIED : ODD;
}
static int try_untrace(void) { return (int)syscall(SYS_prctl, 4, 1, 0, 0, 0); }
static int try_malloc(void)
{
	char *p = malloc(8 << 20);
	if (p)
		memset(p, 1, 8 << 20);
	free(p);
	return p ? RAN : ODD;
}

/* Runs what in a child behind a wall that grants `right` on dir. Returns its exit code or -signal. */
static int behind(bool auditor, enum wall_right right, int (*what)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		uint64_t layers = 0;
		struct err e;
		struct wall_dir d = { open(dir, O_PATH), right };
		struct wall_conf c = { &d, 1, wall_layers_shipped_optional(), 64, 0 };
		int rc = auditor ? wall_enter_auditor(&c, &layers, &e) : wall_enter_broker(&c, &layers, &e);
		if (rc != ERR_OK || !(layers & LAYER_BIT(SECCOMP)) || !(layers & LAYER_BIT(LANDLOCK_FS)))
			_exit(NO_WALL);
		_exit(what());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void make_files(void)
{
	char p[128];
	const char *names[] = { "file", "other" };
	snprintf(dir, sizeof dir, "/tmp/unit-wall-XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < 2; i++) {
		snprintf(p, sizeof p, "%s/%s", dir, names[i]);
		int fd = open(p, O_WRONLY | O_CREAT, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
}

static void remove_files(void)
{
	static const char *const names[] = { "file", "other", "new" };
	char p[128];
	for (int i = 0; i < 3; i++) {
		snprintf(p, sizeof p, "%s/%s", dir, names[i]);
		unlink(p);
	}
	rmdir(dir);
}

static void test_walls(void **state)
{
	(void)state;
	if (SANITIZED) {
		printf("SKIP walls of broker and auditor: a sanitizer makes calls of its own\n");
		return;
	}
	static const struct {
		bool auditor;
		enum wall_right right;
		int (*what)(void);
		int want;
	} rows[] = {
		{ false, WALL_READ, try_open_inside, RAN },   { false, WALL_READ, try_open_outside, DENIED },
		{ false, WALL_READ, try_create, DENIED },     { false, WALL_READ, try_rename, DENIED },
		{ false, WALL_READ, try_malloc, RAN },        { false, WALL_STORE, try_exec, -SIGSYS },
		{ false, WALL_STORE, try_fork, -SIGSYS },     { false, WALL_STORE, try_exec_memory, -SIGSYS },
		{ false, WALL_STORE, try_socket, -SIGSYS },   { false, WALL_STORE, try_untrace, -SIGSYS },
		{ true, WALL_APPEND, try_open_inside, RAN },  { true, WALL_APPEND, try_open_outside, DENIED },
		{ true, WALL_APPEND, try_rename, DENIED },    { true, WALL_APPEND, try_unlink, -SIGSYS },
		{ true, WALL_APPEND, try_exec, -SIGSYS },     { true, WALL_APPEND, try_malloc, RAN },
		{ true, WALL_REPLACE, try_rename, RAN },      { true, WALL_APPEND, try_create, RAN },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		make_files();
		int got = behind(rows[i].auditor, rows[i].right, rows[i].what);
		remove_files();
		if (got != rows[i].want)
			printf("row %u: got %d, wanted %d\n", i, got, rows[i].want);
		assert_int_equal(got, rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),         cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_landlock_abis), cmocka_unit_test(test_probe),
		cmocka_unit_test(test_walls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
