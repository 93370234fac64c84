/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's end of the jailer: start it, order workers, wait for their word. See sandbox.h.
 *
 * Side: broker. Trusts: the jailer's answers. Owns: struct jail.
 */
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/mem.h"
#include "sandbox/outside/proof.h"
#include "sandbox/sandbox.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FRAME_BYTES (FRAME_HEADER_BYTES + FIXED_BYTES)
#define ARGS_MAX 12

struct jail {
	pid_t pid;
	int pidfd, control;
	bool rootless;
	uint32_t uid, gid;
	uint64_t layers;
	uint64_t next_id;
	int template_pidfd;     /* a child of this process too; -1 = none */
	uint32_t next_slot;     /* begins anywhere: two brokers of one host seldom meet in a uid */
	unsigned base_filters;  /* filters that this process was born with: every child has them too */
};

/* --- start ------------------------------------------------------------------------------------------------ */

/* Between fork and exec: the control socket becomes 3, everything else closes. */
static _Noreturn void become_jailer(const struct jail_conf *c, int control)
{
	char uid[16], gid[16], name[] = "fumehood-jailer", *argv[ARGS_MAX] = { name }, *envp[] = { NULL };
	int n = 1, program = fcntl(c->program_fd, F_DUPFD, 10), up = fcntl(control, F_DUPFD, 10);
	for (char *const *a = c->extra_args; a && *a && n < ARGS_MAX - 3; a++)
		argv[n++] = *a;
	if (!c->rootless) {
		snprintf(uid, sizeof uid, "%u", c->uid);
		snprintf(gid, sizeof gid, "%u", c->gid);
		argv[n++] = uid;
		argv[n++] = gid;
	}
	if (program < 0 || up < 0 || dup2(up, 3) < 0 || dup2(program, 4) < 0 ||
	    fcntl(4, F_SETFD, FD_CLOEXEC) < 0 || step_close_from(5) < 0)
		_exit(126);
	syscall(SYS_execveat, 4, "", argv, envp, AT_EMPTY_PATH);
	_exit(127);
}

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int wait_readable(int fd, int64_t deadline_ms)
{
	for (;;) {
		int64_t left = deadline_ms - now_ms();
		struct pollfd p = { fd, POLLIN, 0 };
		int n = poll(&p, 1, left < 0 ? 0 : (int)left);
		if (n >= 0 || errno != EINTR)
			return n < 0 ? -errno : n;
	}
}

/* The jailer's next frame, of this kind, with the pidfd that may come along (-1 else). */
static int recv_frame(struct jail *j, uint16_t kind, uint64_t id, void *body, int *pidfd, struct err *e)
{
	uint8_t frame[FRAME_BYTES + 1];
	struct frame_header h;
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl;
	struct iovec v = { frame, sizeof frame };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	*pidfd = -1;
	int ready = wait_readable(j->control, now_ms() + 2 * LIMIT_SPAWN_MS);
	if (ready <= 0)
		return err_set(e, ERR_DEADLINE, "jailer: no answer: %s", ready ? strerror(-ready) : "time is over");
	ssize_t n = recvmsg(j->control, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(pidfd, CMSG_DATA(c), sizeof *pidfd);
	if (n <= 0)
		return err_set(e, ERR_WALL, "jailer: it has ended: start the service anew");
	if (n != FRAME_BYTES || frame_header_get(frame, ROLE_JAILER, ROLE_BROKER, &h, e) != ERR_OK ||
	    h.request_id != id || h.kind != kind)
		return err_set(e, ERR_PROTOCOL, "jailer: an answer that belongs to no request");
	memcpy(body, frame + FRAME_HEADER_BYTES, FIXED_BYTES);
	return ERR_OK;
}

#define SEND_FDS_MAX 3

static int send_frame(struct jail *j, uint16_t kind, uint64_t id, const void *body, const int *fds, unsigned n_fds,
                      struct err *e)
{
	uint8_t frame[FRAME_BYTES];
	union { struct cmsghdr h; char room[CMSG_SPACE(SEND_FDS_MAX * sizeof(int))]; } ctl = { 0 };
	struct iovec v = { frame, sizeof frame };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	frame_header_put(frame, &(struct frame_header){ kind, FIXED_BYTES, id });
	memcpy(frame + FRAME_HEADER_BYTES, body, FIXED_BYTES);
	if (n_fds) {
		ctl.h.cmsg_level = SOL_SOCKET;
		ctl.h.cmsg_type = SCM_RIGHTS;
		ctl.h.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&ctl.h), fds, n_fds * sizeof(int));
		m.msg_control = &ctl;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	if (sendmsg(j->control, &m, MSG_NOSIGNAL) != FRAME_BYTES)
		return err_set(e, ERR_WALL, "jailer: it cannot be asked: %s", strerror(errno));
	return ERR_OK;
}

static int fork_jailer(const struct jail_conf *c, struct jail *j, struct err *e)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, ERR_IO, "jailer: socketpair: %s", strerror(errno));
	j->control = pair[0];
	j->pid = fork();
	if (j->pid == 0)
		become_jailer(c, pair[1]);
	close(pair[1]);
	if (j->pid > 0)
		j->pidfd = (int)syscall(SYS_pidfd_open, j->pid, 0);
	return j->pid < 0 || j->pidfd < 0 ? err_set(e, ERR_IO, "jailer: fork: %s", strerror(errno)) : ERR_OK;
}

/* The jailer's own user namespace: 1 is the service user, from 2 on the workers' uids. Only root can write
 * it, so this comes before the broker is walled. */
static int write_maps(const struct jail *j)
{
	static const char *const files[] = { "uid_map", "gid_map" };
	const uint32_t ids[] = { j->uid, j->gid };
	int rc = 0;
	for (int i = 0; i < 2 && rc == 0; i++) {
		char path[48], text[96];
		snprintf(path, sizeof path, "/proc/%d/%s", (int)j->pid, files[i]);
		int n = snprintf(text, sizeof text, "1 %u 1\n2 %u %u\n", ids[i], UID_WORKER_FIRST, UID_WORKER_COUNT);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, text, (size_t)n) != n)
			rc = errno;
		if (fd >= 0)
			close(fd);
	}
	return rc;
}

/* How the jailer's start went; on the way it may ask to be mapped. */
static int hear_start(struct jail *j, struct spawned_fixed *body, struct err *e)
{
	int none, rc = recv_frame(j, MSG_SPAWNED, 0, body, &none, e);
	if (rc != ERR_OK || body->step != STEP_ONCE_MAP || body->error)
		return rc;
	const struct mapped_fixed mapped = { .error = j->rootless ? EPROTO : write_maps(j) };
	rc = send_frame(j, MSG_MAPPED, 0, &mapped, NULL, 0, e);
	return rc == ERR_OK ? recv_frame(j, MSG_SPAWNED, 0, body, &none, e) : rc;
}

int jailer_start(const struct jail_conf *c, struct jail **out, struct err *e)
{
	struct spawned_fixed body;
	struct jail *j = calloc(1, sizeof *j);
	if (!j)
		return err_set(e, ERR_NOMEM, "jailer: no memory");
	j->control = j->pidfd = j->template_pidfd = -1;
	j->rootless = c->rootless;
	j->uid = c->rootless ? geteuid() : c->uid;
	j->gid = c->rootless ? getegid() : c->gid;
	int rc = proof_own_filters(&j->base_filters, e);
	if (rc == ERR_OK && getrandom(&j->next_slot, sizeof j->next_slot, 0) != sizeof j->next_slot)
		rc = err_set(e, ERR_IO, "jailer: getrandom: %s", strerror(errno));
	if (rc == ERR_OK)
		rc = fork_jailer(c, j, e);
	if (rc == ERR_OK)
		rc = hear_start(j, &body, e);
	if (rc == ERR_OK && body.error)
		rc = jail_step_failed(e, body.step, body.error);
	if (rc != ERR_OK) {
		jailer_stop(j);
		return rc;
	}
	j->layers = body.layers;
	*out = j;
	return ERR_OK;
}

/* By pidfd: these two calls are in the broker's list. __WALL: a template's end is announced by no signal. */
static void end_and_reap(int pidfd)
{
	if (pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	syscall(SYS_waitid, P_PIDFD, pidfd, NULL, WEXITED | __WALL, NULL);
	close(pidfd);
}

void jailer_stop(struct jail *j)
{
	if (!j)
		return;
	if (j->control >= 0)
		close(j->control);
	end_and_reap(j->pidfd);
	end_and_reap(j->template_pidfd);
	free(j);
}

int jailer_template(struct jail *j, int program_fd, struct err *e)
{
	const struct one_fd_fixed none = { { 0 } };
	struct spawned_fixed body;
	int pidfd;
	end_and_reap(j->template_pidfd);
	j->template_pidfd = -1;
	int rc = send_frame(j, MSG_TEMPLATE, ++j->next_id, &none, &program_fd, 1, e);
	if (rc == ERR_OK)
		rc = recv_frame(j, MSG_SPAWNED, j->next_id, &body, &pidfd, e);
	if (rc != ERR_OK)
		return rc;
	if (body.error || pidfd < 0) {
		end_and_reap(pidfd);
		return jail_step_failed(e, STEP_TEMPLATE, body.error);
	}
	j->template_pidfd = pidfd;
	return ERR_OK;
}

int jailer_probe_ask(struct jail *j, int pidfd, struct err *e)
{
	const struct one_fd_fixed none = { { 0 } };
	return send_frame(j, MSG_PROBE, ++j->next_id, &none, &pidfd, 1, e);
}

int jailer_probe_hear(struct jail *j, uint64_t *open_fds, struct err *e)
{
	struct probed_fixed body;
	int extra, rc = recv_frame(j, MSG_PROBED, j->next_id, &body, &extra, e);
	if (rc == ERR_OK && body.error)
		rc = err_set(e, ERR_WALL, "proof: the kernel does not let the jailer look at a worker's descriptors: %s "
		             "(Yama's ptrace_scope 3, or a container's profile)", strerror(body.error));
	*open_fds = rc == ERR_OK ? body.open : 0;
	return rc;
}

int jailer_fd(const struct jail *j) { return j->control; }
pid_t jailer_pid(const struct jail *j) { return j->pid; }
uint64_t jailer_layers(const struct jail *j) { return j->layers; }
bool jailer_is_rootless(const struct jail *j) { return j->rootless; }
unsigned jailer_base_filters(const struct jail *j) { return j->base_filters; }

/* --- spawn ---------------------------------------------------------------------------------------------------- */

static struct worker no_worker(void)
{
	return (struct worker){ .pidfd = -1, .channel = -1, .listener_fd = -1 };
}

int jailer_spawn(struct jail *j, const struct worker_order *o, struct worker *w, struct err *e)
{
	int pair[2], rc;
	struct spawned_fixed body = { 0 };
	struct spawn_fixed ask = { .arena_bytes = o->arena_bytes, .model_bytes = o->model_bytes,
	                           .optional_layers = o->optional_layers, .n_threads = o->n_threads,
	                           .worker_slot = j->next_slot++ % UID_WORKER_COUNT,
	                           .cpu_seconds = o->cpu_seconds,
	                           .flags = o->violation_kill ? SPAWN_VIOLATION_KILL : 0 };
	*w = no_worker();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, ERR_IO, "worker: socketpair: %s", strerror(errno));
	const int fds[3] = { pair[1], o->model_fd, o->program_fd };
	rc = send_frame(j, MSG_SPAWN, ++j->next_id, &ask, fds, 3, e);
	if (rc == ERR_OK)
		rc = recv_frame(j, MSG_SPAWNED, j->next_id, &body, &w->pidfd, e);
	close(pair[1]);
	w->channel = pair[0];
	w->pid = rc == ERR_OK && w->pidfd >= 0 ? body.pid : 0;
	if (rc == ERR_OK && body.error)
		rc = jail_step_failed(e, body.step, body.error);
	if (rc == ERR_OK && w->pid <= 0)
		rc = err_set(e, ERR_PROTOCOL, "jailer: an answer without a process");
	if (rc != ERR_OK) {
		worker_close(w);
		return rc;
	}
	w->layers = body.layers;
	w->n_threads = o->n_threads;
	bool has_own_uid = !j->rootless && (body.layers & LAYER_BIT(UID_MAP));
	w->uid = has_own_uid ? UID_WORKER_FIRST + ask.worker_slot : j->uid;
	w->gid = has_own_uid ? w->uid : j->gid;
	w->violation_kill = o->violation_kill;
	return ERR_OK;
}

int worker_limits_close(struct worker *w, struct err *e)
{
	int rc = step_rlimit_of(w->pid, RLIMIT_NPROC, 0);
	if (rc == 0)
		rc = step_rlimit_of(w->pid, RLIMIT_NOFILE, 0);
	if (rc < 0)
		return err_set(e, ERR_WALL, "worker: its last limits cannot be set: %s", strerror(-rc));
	w->layers |= LAYER_BIT(LIMITS_CLOSED);
	w->missing = LAYERS_ALL & ~w->layers;
	return ERR_OK;
}

int worker_start(struct jail *j, int proc_fd, const struct worker_order *o, struct worker *w, struct err *e)
{
	int rc = jailer_spawn(j, o, w, e);
	if (rc == ERR_OK)
		rc = worker_locked(w, e);
	if (rc == ERR_OK)
		rc = worker_verify(j, proc_fd, o, w, e);
	if (rc == ERR_OK)
		rc = worker_limits_close(w, e);
	if (rc != ERR_OK)
		worker_close(w);
	return rc;
}

/* --- its end ------------------------------------------------------------------------------------------------------ */

void worker_kill(const struct worker *w)
{
	if (w->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
}

int worker_reap(struct worker *w, int timeout_ms, struct worker_end *end, struct err *e)
{
	siginfo_t si = { 0 };
	struct rusage used = { 0 };
	struct pollfd p = { w->pidfd, POLLIN, 0 };
	if (w->pid <= 0)
		return err_set(e, ERR_INTERNAL, "worker: nothing to reap");
	if (timeout_ms && poll(&p, 1, timeout_ms) < 0 && errno != EINTR)
		return err_set(e, ERR_IO, "worker: poll: %s", strerror(errno));
	/* __WALL: until exec its end is announced by no signal. */
	if (syscall(SYS_waitid, P_PIDFD, w->pidfd, &si, WEXITED | WNOHANG | __WALL, &used) < 0)
		return err_set(e, ERR_IO, "worker: waitid: %s", strerror(errno));
	if (si.si_pid == 0)
		return 0;
	end->by_signal = si.si_code != CLD_EXITED;
	end->code = si.si_status;
	end->cpu_ms = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
	              (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
	w->pid = 0;
	return 1;
}

void worker_close(struct worker *w)
{
	struct worker_end end;
	if (w->pid > 0) {
		worker_kill(w);
		while (worker_reap(w, -1, &end, NULL) == 0)
			;
	}
	if (w->pidfd >= 0)
		close(w->pidfd);
	if (w->channel >= 0)
		close(w->channel);
	if (w->listener_fd >= 0)
		close(w->listener_fd);
	*w = no_worker();
}
