/* SPDX-License-Identifier: Apache-2.0
 *
 * See checks.h. Side: cli. Trusts: the kernel's answers. Owns: the table of checks below.
 */
#include "broker/ctl/checks.h"

#include "proto/limits.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOFILE_LEAST 512       /* clients, workers with three descriptors each, the log */
#define MEMORY_LEAST_BYTES MIB(256)

void find(struct findings *all, const char *id, bool passed, const char *fix, const char *fmt, ...)
{
	struct finding *f = &all->f[all->n];
	va_list ap;
	if (all->n == FINDINGS_MAX)
		return;
	all->n++;
	va_start(ap, fmt);
	vsnprintf(f->why, sizeof f->why, fmt, ap);
	va_end(ap);
	snprintf(f->id, sizeof f->id, "%s", id);
	snprintf(f->fix, sizeof f->fix, "%s", fix);
	f->passed = passed;
}

unsigned findings_failed(const struct findings *all)
{
	unsigned n = 0;
	for (size_t i = 0; i < all->n; i++)
		n += !all->f[i].passed;
	return n;
}

long sysctl_get(const char *path)
{
	long v = -1;
	FILE *f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%ld", &v) != 1)
			v = -1;
		fclose(f);
	}
	return v;
}

/* --- the machine -------------------------------------------------------------------------------------- */

static void architecture(struct findings *all)
{
	struct utsname u = { .machine = "?" };
	uname(&u);
	find(all, "architecture", !strcmp(u.machine, "x86_64"), "the call lists of other processors are not proved: use x86-64",
	     "%.40s", u.machine);
}

static void kernel(struct findings *all)
{
	struct utsname u = { .release = "?" };
	unsigned major = 0, minor = 0;
	uname(&u);
	if (sscanf(u.release, "%u.%u", &major, &minor) != 2)
		major = 0;
	find(all, "kernel", major > 6 || (major == 6 && minor >= 1), "Linux 6.1 (Debian 12) is the oldest that is tested",
	     "Linux %.60s", u.release);
}

/* A line of /proc/self/status; false when it is not there. */
static bool status_has(const char *key, unsigned long *value)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/proc/self/status", "re");
	while (f && !found && fgets(line, sizeof line, f))
		found = !strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), ":%lu", value) == 1;
	if (f)
		fclose(f);
	return found;
}

bool is_under_filter(void)
{
	unsigned long mode;
	return status_has("Seccomp", &mode) && mode == 2;
}

static void proc(struct findings *all)
{
	unsigned long n;
	bool ok = status_has("Seccomp_filters", &n);
	find(all, "proc", ok, "mount /proc: the broker proves each worker by /proc/PID/status",
	     ok ? "/proc says what stands around a process" : "/proc/self/status does not tell the number of filters");
}

static void others_in_proc(struct findings *all)
{
	pid_t pid = fork();
	char path[64];
	if (pid == 0) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof path, "/proc/%d/status", pid > 0 ? pid : 0);
	bool ok = pid > 0 && access(path, R_OK) == 0;
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	find(all, "proc_of_children", ok, "mount /proc of this pid namespace, without hidepid", ok ? "children are seen in /proc"
	     : "a child cannot be looked at in /proc, so no worker can be proved");
}

static void pidfds(struct findings *all)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	find(all, "pidfd", fd >= 0, "allow pidfd_open (Linux 5.3; a container's profile may forbid it)",
	     fd >= 0 ? "a process is named by a descriptor, never by a number that may be reused" : "pidfd_open: %s",
	     strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void memory_files(struct findings *all)
{
	int fd = -1;
	struct err e = { 0 };
	int rc = memfd_model_new(&fd, &e);
	if (rc == ERR_OK)
		rc = memfd_seal(fd, &e);
	if (fd >= 0)
		close(fd);
	find(all, "memory_files", rc == ERR_OK, "allow memfd_create and its seals (Linux 3.17)",
	     rc == ERR_OK ? "models are sealed in memory before they are mapped" : "%.200s", e.text);
}

static void executable_memory_files(struct findings *all)
{
	long v = sysctl_get("/proc/sys/vm/memfd_noexec");
	find(all, "programs_in_memory", v < 2, "set the sysctl vm.memfd_noexec to 0 or 1",
	     v < 2 ? "workers can be started from sealed memory"
	           : "vm.memfd_noexec is %ld: no worker can be started from sealed memory", v);
}

static void overcommit(struct findings *all)
{
	long v = sysctl_get("/proc/sys/vm/overcommit_memory");
	find(all, "overcommit", v != 2, "set vm.overcommit_memory to 0 or 1, or memory_bytes to what there is",
	     v != 2 ? "arenas are reserved and take memory as they are used"
	            : "vm.overcommit_memory is %ld: each worker's whole arena is charged at once", v);
}

static void memory(struct findings *all)
{
	char line[256];
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	find(all, "memory", KIB(kib) >= MEMORY_LEAST_BYTES, "free some memory, or use smaller models",
	     "%llu MiB are available", kib / 1024);
}

static void descriptors(struct findings *all)
{
	struct rlimit r = { 0, 0 };
	getrlimit(RLIMIT_NOFILE, &r);
	find(all, "descriptors", r.rlim_max >= NOFILE_LEAST, "raise the hard limit of open files (ulimit -Hn, LimitNOFILE)",
	     "at most %llu open files", (unsigned long long)r.rlim_max);
}

static void processes(struct findings *all)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	bool ok = pid > 0;
	find(all, "processes", ok, "raise the limit of processes (ulimit -u, pids.max)",
	     ok ? "processes can be started" : "fork: %s", strerror(errno));
	if (ok)
		waitpid(pid, NULL, 0);
}

/* The errno with which a child gets no listener; 0: it gets one. */
static int listener_errno(void)
{
	struct sock_filter allow = { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
	struct sock_fprog prog = { 1, &allow };
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			_exit(errno & 0xff);
		long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
		_exit(fd < 0 ? errno & 0xff : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EIO;
	return WEXITSTATUS(status);
}

bool machine_check(struct findings *all)
{
	static void (*const checks[])(struct findings *all) = {
		architecture, kernel, proc, others_in_proc, pidfds, memory_files, executable_memory_files, overcommit, memory,
		descriptors, processes,
	};
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
		checks[i](all);
	int err = listener_errno();
	const char *fix = err == EBUSY
	                      ? "set violation to kill in the configuration: refused calls then end without a report"
	                      : "allow seccomp with a listener (Linux 5.0)";
	find(all, "reports", err == 0, fix, err == 0 ? "the kernel reports refused calls" : "no listener: %s%s", strerror(err),
	     err == EBUSY ? " (another supervisor holds one)" : "");
	return err == EBUSY;
}
