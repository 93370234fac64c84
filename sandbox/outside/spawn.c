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
	uint32_t next_slot;     /* begins anywhere: two brokers of one host seldom meet in a uid */
	unsigned base_filters;  /* filters that this process was born with: every child has them too */
};

static const char *const step_names[STEP__MAX] = {
#define STEP(sym, name, layers) name,
	JAIL_STEPS(STEP)
#undef STEP
};

const char *jail_step_name(uint32_t step)
{
	return step < STEP__MAX ? step_names[step] : "?";
}

char *layers_text(uint64_t layers, char *out, size_t cap)
{
	size_t at = 0;
	snprintf(out, cap, "none");
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (layers >> i & 1 && at < cap) {
			int n = snprintf(out + at, cap - at, "%s%s", at ? "," : "", layer_rows[i].name);
			at += n > 0 ? (size_t)n : 0;
		}
	return out;
}

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

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 1 when fd is readable or hung up before the deadline, 0 when not, -errno. */
static int wait_readable(int fd, int64_t deadline_ms)
{
	for (;;) {
		int64_t left = deadline_ms - now_ms();
		struct pollfd p = { fd, POLLIN, 0 };
		int n = poll(&p, 1, left < 0 ? 0 : (int)left);
		if (n >= 0 || errno != EINTR)
			return n < 0 ? -errno : n;
	}
}

/* One SPAWNED, with the pidfd that may come along (-1 else). */
static int recv_spawned(struct jail *j, uint64_t id, struct spawned_fixed *body, int *pidfd, struct err *e)
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
	    h.request_id != id)
		return err_set(e, ERR_PROTOCOL, "jailer: an answer that belongs to no request");
	memcpy(body, frame + FRAME_HEADER_BYTES, sizeof *body);
	return ERR_OK;
}

/* What to do about a step that failed: the knob, not only the number. The first row that fits. */
static const struct {
	uint32_t step;
	int error; /* 0: any */
	const char *text;
} knobs[] = {
	{ STEP_ONCE_USER_NS, ENOSPC, "user namespaces are off: set sysctl user.max_user_namespaces" },
	{ STEP_ONCE_USER_NS, ENOSYS, "a container's profile forbids user namespaces" },
	{ STEP_ONCE_USER_NS, 0, "user namespaces are refused: sysctl kernel.unprivileged_userns_clone or "
	                        "kernel.apparmor_restrict_unprivileged_userns, or a container's profile" },
	{ STEP_CLONE, ENOSPC, "user namespaces are off: set sysctl user.max_user_namespaces" },
	{ STEP_CLONE, 0, "namespaces are refused here: a container's profile, or a kernel without them" },
	{ STEP_UID_MAP, 0, "this uid cannot be mapped: a container without the workers' uid range, or "
	                   "sysctl kernel.apparmor_restrict_unprivileged_userns" },
	{ STEP_GID_MAP, 0, "as for uid_map" },
	{ STEP_ONCE_IDS, 0, "root without capabilities: start it as an ordinary user" },
	{ STEP_ONCE_NET_NS, 0, "namespaces are refused here: a container's profile, or root without capabilities" },
	{ STEP_ONCE_MNT_NS, 0, "namespaces are refused here: a container's profile, or root without capabilities" },
	{ STEP_ONCE_EMPTY_ROOT, 0, "mounts are refused here: sysctl kernel.apparmor_restrict_unprivileged_userns, "
	                           "or a root that is an initramfs" },
	{ STEP_LANDLOCK, EOPNOTSUPP, "this kernel's Landlock lacks a required layer: boot a newer one, or name the "
	                             "layer optional" },
	{ STEP_LANDLOCK, 0, "Landlock is off: boot with lsm= that holds landlock" },
	{ STEP_ONCE_MDWE, EINVAL, "Linux 6.3 has it: boot a newer one, or name mdwe optional" },
	{ STEP_MDWE, EINVAL, "Linux 6.3 has it: boot a newer one, or name mdwe optional" },
	{ STEP_NOEXEC, 0, "Linux 6.3 has it: boot a newer one, or name memfd_noexec optional" },
	{ STEP_START_MSEAL, ENOSYS, "Linux 6.10 has it: boot a newer one, or name mseal optional" },
};

static const char *advice(uint32_t step, int error)
{
	for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++)
		if (knobs[i].step == step && (!knobs[i].error || knobs[i].error == error))
			return knobs[i].text;
	return "fumehood doctor says what this machine lacks";
}

static int step_failed(struct err *e, uint32_t step, int error)
{
	return err_set(e, ERR_WALL, "the wall: step '%s' failed: %s; %s", jail_step_name(step),
	               strerror(error), advice(step, error));
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

int jailer_start(const struct jail_conf *c, struct jail **out, struct err *e)
{
	struct spawned_fixed body;
	int none, rc;
	struct jail *j = calloc(1, sizeof *j);
	if (!j)
		return err_set(e, ERR_NOMEM, "jailer: no memory");
	j->control = j->pidfd = -1;
	j->rootless = c->rootless;
	j->uid = c->rootless ? geteuid() : c->uid;
	j->gid = c->rootless ? getegid() : c->gid;
	rc = proof_own_filters(&j->base_filters, e);
	if (rc == ERR_OK && getrandom(&j->next_slot, sizeof j->next_slot, 0) != sizeof j->next_slot)
		rc = err_set(e, ERR_IO, "jailer: getrandom: %s", strerror(errno));
	if (rc == ERR_OK)
		rc = fork_jailer(c, j, e);
	if (rc == ERR_OK)
		rc = recv_spawned(j, 0, &body, &none, e);
	if (rc == ERR_OK && body.error)
		rc = step_failed(e, body.step, body.error);
	if (rc != ERR_OK) {
		jailer_stop(j);
		return rc;
	}
	j->layers = body.layers;
	*out = j;
	return ERR_OK;
}

void jailer_stop(struct jail *j)
{
	if (!j)
		return;
	if (j->control >= 0)
		close(j->control);
	if (j->pidfd >= 0) { /* by pidfd: these two calls are in the broker's list */
		syscall(SYS_pidfd_send_signal, j->pidfd, SIGKILL, NULL, 0);
		syscall(SYS_waitid, P_PIDFD, j->pidfd, NULL, WEXITED, NULL);
		close(j->pidfd);
	}
	free(j);
}

int jailer_fd(const struct jail *j) { return j->control; }
pid_t jailer_pid(const struct jail *j) { return j->pid; }
uint64_t jailer_layers(const struct jail *j) { return j->layers; }
bool jailer_is_rootless(const struct jail *j) { return j->rootless; }
unsigned jailer_base_filters(const struct jail *j) { return j->base_filters; }

/* --- spawn ---------------------------------------------------------------------------------------------------- */

static int send_spawn(struct jail *j, uint64_t id, const struct spawn_fixed *body, const int fds[3],
                      struct err *e)
{
	uint8_t frame[FRAME_BYTES];
	union { struct cmsghdr h; char room[CMSG_SPACE(3 * sizeof(int))]; } ctl = { 0 };
	struct iovec v = { frame, sizeof frame };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	frame_header_put(frame, &(struct frame_header){ MSG_SPAWN, FIXED_BYTES, id });
	memcpy(frame + FRAME_HEADER_BYTES, body, sizeof *body);
	ctl.h.cmsg_level = SOL_SOCKET;
	ctl.h.cmsg_type = SCM_RIGHTS;
	ctl.h.cmsg_len = CMSG_LEN(3 * sizeof(int));
	memcpy(CMSG_DATA(&ctl.h), fds, 3 * sizeof(int));
	if (sendmsg(j->control, &m, MSG_NOSIGNAL) != FRAME_BYTES)
		return err_set(e, ERR_WALL, "jailer: it cannot be asked: %s", strerror(errno));
	return ERR_OK;
}

static struct worker no_worker(void)
{
	return (struct worker){ .pidfd = -1, .channel = -1 };
}

int jailer_spawn(struct jail *j, const struct worker_order *o, struct worker *w, struct err *e)
{
	int pair[2], rc;
	struct spawned_fixed body = { 0 };
	struct spawn_fixed ask = { .arena_bytes = o->arena_bytes, .model_bytes = o->model_bytes,
	                           .optional_layers = o->optional_layers, .n_threads = o->n_threads,
	                           .worker_slot = j->next_slot++ % UID_WORKER_COUNT,
	                           .cpu_seconds = o->cpu_seconds };
	*w = no_worker();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, ERR_IO, "worker: socketpair: %s", strerror(errno));
	const int fds[3] = { pair[1], o->model_fd, o->program_fd };
	rc = send_spawn(j, ++j->next_id, &ask, fds, e);
	if (rc == ERR_OK)
		rc = recv_spawned(j, j->next_id, &body, &w->pidfd, e);
	close(pair[1]);
	w->channel = pair[0];
	w->pid = rc == ERR_OK && w->pidfd >= 0 ? body.pid : 0;
	if (rc == ERR_OK && body.error)
		rc = step_failed(e, body.step, body.error);
	if (rc == ERR_OK && w->pid <= 0)
		rc = err_set(e, ERR_PROTOCOL, "jailer: an answer without a process");
	if (rc != ERR_OK) {
		worker_close(w);
		return rc;
	}
	w->layers = body.layers;
	w->n_threads = o->n_threads;
	w->uid = j->rootless ? j->uid : UID_WORKER_FIRST + ask.worker_slot;
	w->gid = j->rootless ? j->gid : w->uid;
	return ERR_OK;
}

/* --- the worker's own word --------------------------------------------------------------------------------------- */

static int read_until(int fd, uint8_t *p, size_t n, int64_t deadline_ms, struct err *e)
{
	for (size_t done = 0; done < n;) {
		int ready = wait_readable(fd, deadline_ms);
		if (ready <= 0)
			return err_set(e, ERR_DEADLINE, "worker: not locked in time");
		ssize_t got = read(fd, p + done, n - done);
		if (got <= 0 && !(got < 0 && errno == EINTR))
			return err_set(e, ERR_WORKER, "worker: it ended before it was locked");
		done += got > 0 ? (size_t)got : 0;
	}
	return ERR_OK;
}

int worker_locked(struct worker *w, struct err *e)
{
	uint8_t frame[FRAME_BYTES];
	struct frame_header h;
	int rc = read_until(w->channel, frame, sizeof frame, now_ms() + LIMIT_SPAWN_MS, e);
	if (rc == ERR_OK)
		rc = frame_header_get(frame, ROLE_WORKER, ROLE_BROKER, &h, e);
	if (rc != ERR_OK)
		return rc;
	if (h.kind != MSG_LOCKED || h.request_id != 0)
		return err_set(e, ERR_PROTOCOL, "worker: its first word is %s, not LOCKED", msg_name(h.kind));
	memcpy(&w->locked, frame + FRAME_HEADER_BYTES, sizeof w->locked);
	w->locked.level_name[sizeof w->locked.level_name - 1] = 0;
	w->locked.blas_core[sizeof w->locked.blas_core - 1] = 0;
	return w->locked.error ? step_failed(e, w->locked.step, w->locked.error) : ERR_OK;
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
	*w = no_worker();
}
