/* SPDX-License-Identifier: Apache-2.0
 *
 * The template's loop: see template.h. It runs under the jailer's filter, with no capability, in the
 * jailer's empty root and network.
 *
 * Side: outside. Trusts: the jailer. Owns: the link (3) and /proc (4), which no worker keeps.
 */
#include "sandbox/outside/template.h"
#include "sandbox/outside/jail.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FD_LINK 3
#define FD_TAKEN 5 /* received descriptors: channel, model, report */
#define ORDER_FDS 3

static _Noreturn void quit(int status)
{
	for (;;)
		syscall(SYS_exit_group, status);
}

/* 0 to 2 are taken, so that received descriptors have known numbers; close_range in a worker frees them. */
static void prepare_fds(void)
{
	for (int i = 0; i < FD_LINK; i++)
		if (syscall(SYS_dup3, FD_PROC, i, O_CLOEXEC) < 0)
			quit(2);
	if (step_close_from(FD_TAKEN) < 0)
		quit(2);
}

static void reply(int pid, int error, int pidfd)
{
	struct template_reply r = { pid, error };
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl;
	struct iovec v = { &r, sizeof r };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	if (pidfd >= 0) {
		memset(&ctl, 0, sizeof ctl);
		ctl.h.cmsg_level = SOL_SOCKET;
		ctl.h.cmsg_type = SCM_RIGHTS;
		ctl.h.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&ctl.h), &pidfd, sizeof pidfd);
		m.msg_control = &ctl;
		m.msg_controllen = sizeof ctl;
	}
	if (syscall(SYS_sendmsg, FD_LINK, &m, MSG_NOSIGNAL) != (ssize_t)sizeof r)
		quit(1);
}

/* The next order; the jailer's end, or anything that is none, is the end. */
static void receive(struct template_order *o)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(ORDER_FDS * sizeof(int))]; } ctl;
	struct iovec v = { o, sizeof *o };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	int fds[ORDER_FDS];
	ssize_t n;
	do
		n = syscall(SYS_recvmsg, FD_LINK, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (n != (ssize_t)sizeof *o || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !c ||
	    c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof fds))
		quit(n == 0 ? 0 : 1);
	memcpy(fds, CMSG_DATA(c), sizeof fds);
	for (int i = 0; i < ORDER_FDS; i++)
		if (fds[i] != FD_TAKEN + i)
			quit(1);
}

/* In the child. The template's arguments lie where /proc/PID/cmdline looks: the worker's name replaces them. */
static char **become_worker(struct spawn *s, char **argv)
{
	static char words[JAIL_WORDS][17], *out[JAIL_WORDS + 2];
	char *end = argv[1] + strlen(argv[1]);
	jail_child_wall(s);
	jail_child_words(s, words);
	jail_child_done(s);
	memset(argv[0], 0, (size_t)(end - argv[0]));
	memcpy(argv[0], WORKER_NAME, sizeof WORKER_NAME);
	out[0] = argv[0];
	for (int i = 0; i < JAIL_WORDS; i++)
		out[i + 1] = words[i];
	return out;
}

char **template_serve(char **argv, void (*before_fork)(void))
{
	static struct template_order o;
	static struct jailer j;
	static struct spawn s;
	if (!argv[0] || !argv[1] || strcmp(argv[1], TEMPLATE_ARG) || argv[2] ||
	    strcmp(argv[0], TEMPLATE_NAME))
		return argv;
	syscall(SYS_prctl, PR_SET_NAME, "fumehood-tmpl", 0, 0, 0);
	if (before_fork)
		before_fork();
	prepare_fds();
	for (reply(0, 0, -1);;) {
		receive(&o);
		j = (struct jailer){ .landlock_abi = o.landlock_abi, .is_container = o.is_container != 0 };
		s = (struct spawn){ .j = &j, .ask = &o.ask, .channel = FD_TAKEN, .model = FD_TAKEN + 1, .program = -1,
		                    .report_up = -1, .report_down = FD_TAKEN + 2, .pidfd = -1, .as_bytes = o.as_bytes,
		                    .model_bytes = o.ask.model_bytes, .layers = o.layers };
		int rc = jail_clone(&s);
		if (rc == 0 && s.pid == 0)
			return become_worker(&s, argv);
		reply(s.pid, -rc, s.pidfd);
		if (step_close_from(FD_TAKEN) < 0)
			quit(1);
	}
}
