/* SPDX-License-Identifier: Apache-2.0
 *
 * The jailer's side of a template: starts it, has it fork. The template has none of the jailer's
 * capabilities (exec takes them): it cannot write a map, so a child that it makes on its own stays nobody.
 *
 * Side: outside. Trusts: the template, which runs our program and has read nothing. Owns: the link.
 */
#include "proto/limits.h"
#include "sandbox/outside/jail.h"
#include "sandbox/outside/template.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FD_TEMPLATE_PROGRAM 5
#define ORDER_FDS 3

static _Noreturn void become_template(int link, int program)
{
	static char name[] = TEMPLATE_NAME, arg[] = TEMPLATE_ARG;
	char *argv[] = { name, arg, NULL }, *envp[] = { NULL };
	if (step_pdeathsig() == 0 && syscall(SYS_dup3, link, FD_CONTROL, 0) >= 0 &&
	    syscall(SYS_dup3, program, FD_TEMPLATE_PROGRAM, O_CLOEXEC) >= 0 &&
	    syscall(SYS_fcntl, FD_PROC, F_SETFD, 0) == 0 && step_close_from(FD_FIRST_FREE) == 0)
		syscall(SYS_execveat, FD_TEMPLATE_PROGRAM, "", argv, envp, AT_EMPTY_PATH);
	for (;;)
		syscall(SYS_exit_group, 127);
}

/* The template's next word and the pidfd that may come with it. */
static int hear(struct template_reply *r, int *pidfd)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl;
	struct iovec v = { r, sizeof *r };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	struct pollfd p = { FD_TEMPLATE, POLLIN, 0 };
	struct { int64_t s, ns; } limit = { LIMIT_SPAWN_MS / 1000, 0 };
	long ready = syscall(SYS_ppoll, &p, 1, &limit, NULL, 0);
	*pidfd = -1;
	if (ready <= 0)
		return ready == 0 ? -ETIMEDOUT : -errno;
	ssize_t n = syscall(SYS_recvmsg, FD_TEMPLATE, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(pidfd, CMSG_DATA(c), sizeof *pidfd);
	return n == (ssize_t)sizeof *r ? 0 : n < 0 ? -errno : -ECHILD;
}

static void forget(struct jailer *j)
{
	j->has_template = false;
	syscall(SYS_dup3, FD_PROC, FD_TEMPLATE, O_CLOEXEC);
}

static int check_program(int program, struct stat *st)
{
	int seals, rc = step_seals(program, &seals);
	if (rc < 0)
		return rc;
	if ((seals & KABI_SEALS_DATA) != KABI_SEALS_DATA)
		return -EPERM;
	if (fstat(program, st) < 0)
		return -errno;
	return jail_test_program(program, (uint64_t)st->st_size) ? 0 : -EPERM;
}

static int template_clone(int link, int program, int *pid, int *pidfd)
{
	long rc = syscall(SYS_clone, KABI_CLONE_PIDFD | KABI_CLONE_PARENT, NULL, pidfd, NULL, 0);
	if (rc == 0)
		become_template(link, program);
	*pid = rc < 0 ? 0 : (int)rc;
	if (rc < 0)
		*pidfd = -1;
	return rc < 0 ? -errno : 0;
}

int jail_template_start(struct jailer *j, int program, int *pid, int *pidfd)
{
	int pair[2], none;
	struct stat st;
	struct template_reply ready;
	int rc = jail_test_fault(STEP_TEMPLATE);
	if (rc == 0)
		rc = check_program(program, &st);
	if (rc == 0 && syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		rc = -errno;
	if (rc < 0)
		return rc;
	if (syscall(SYS_dup3, pair[0], FD_TEMPLATE, O_CLOEXEC) < 0)
		return -errno;
	syscall(SYS_close, pair[0]);
	rc = template_clone(pair[1], program, pid, pidfd);
	syscall(SYS_close, pair[1]);
	if (rc == 0)
		rc = hear(&ready, &none);
	if (rc < 0) {
		if (*pidfd >= 0)
			syscall(SYS_pidfd_send_signal, *pidfd, 9, NULL, 0);
		forget(j);
		return rc;
	}
	j->has_template = true;
	j->template_dev = st.st_dev;
	j->template_ino = st.st_ino;
	return 0;
}

static int order(const struct spawn *s)
{
	struct template_order o = { *s->ask, s->as_bytes, s->layers, s->j->landlock_abi, s->j->is_container };
	const int fds[ORDER_FDS] = { s->channel, s->model, s->report_down };
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof fds)]; } ctl;
	struct iovec v = { &o, sizeof o };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	memset(&ctl, 0, sizeof ctl);
	ctl.h.cmsg_level = SOL_SOCKET;
	ctl.h.cmsg_type = SCM_RIGHTS;
	ctl.h.cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(&ctl.h), fds, sizeof fds);
	return syscall(SYS_sendmsg, FD_TEMPLATE, &m, MSG_NOSIGNAL) == (ssize_t)sizeof o ? 0 : -errno;
}

int jail_template_spawn(struct spawn *s)
{
	struct template_reply r = { 0, 0 };
	if (!s->j->has_template || s->program_dev != s->j->template_dev || s->program_ino != s->j->template_ino)
		return -ENOENT;
	int rc = order(s);
	if (rc == 0)
		rc = hear(&r, &s->pidfd);
	if (rc < 0) { /* it has ended: from here on workers are started by exec, in the same jail */
		forget(s->j);
		return rc == -EPIPE || rc == -ECHILD || rc == -ECONNRESET ? -ENOENT : rc;
	}
	s->pid = r.pid;
	s->layers |= s->j->is_container ? 0 : CLONE_LAYERS;
	return r.pid > 0 && s->pidfd >= 0 ? 0 : r.error ? -r.error : -ECHILD;
}
