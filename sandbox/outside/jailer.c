/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood-jailer: starts workers, and nothing else. A static program with one thread that allocates
 * nothing, started by the broker before the broker has read anything, in an empty network and an empty
 * root from its first moments (jail_once.c).
 *
 *   fumehood-jailer              as the user that it runs as (rootless)
 *   fumehood-jailer UID GID      from root: becomes that user
 *
 * Either way it lives in a user namespace of its own and has no capability outside of it: root's only part
 * is that the broker, before its own wall, maps the workers' uids into that namespace.
 *
 * On descriptor 3, a SEQPACKET socket, one frame per datagram: SPAWN, TEMPLATE and PROBE in, SPAWNED and
 * PROBED out. The last SPAWNED with request id 0 says how the start went. A worker is the broker's child
 * (CLONE_PARENT), so it does not end with the jailer and the broker reaps it, also when the spawn failed
 * after the clone.
 *
 * Side: outside. Trusts: the broker to be the only one on descriptor 3; not the content of its frames.
 * Owns: nothing that outlives a spawn.
 */
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/mem.h"
#include "sandbox/outside/jail.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRAME_BYTES (FRAME_HEADER_BYTES + FIXED_BYTES)
#define SPAWN_FDS 3

static _Noreturn void quit(int status)
{
	for (;;)
		syscall(SYS_exit_group, status);
}

static bool decimal(const char *s, uint32_t *out)
{
	uint64_t v = 0;
	size_t i;
	for (i = 0; s[i] >= '0' && s[i] <= '9' && i < 10; i++)
		v = v * 10 + (uint64_t)(s[i] - '0');
	*out = (uint32_t)v;
	return i > 0 && s[i] == 0 && v < UINT32_MAX;
}

/* --- one answer ------------------------------------------------------------------------------------------ */

static void answer(uint64_t request_id, uint16_t kind, const void *body, int pidfd)
{
	uint8_t frame[FRAME_BYTES] = { 0 };
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl;
	struct iovec v = { frame, sizeof frame };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	le32_put(frame, FRAME_MAGIC);
	le16_put(frame + 4, FRAME_VERSION);
	le16_put(frame + 6, kind);
	le64_put(frame + 16, FIXED_BYTES);
	le64_put(frame + 24, request_id);
	memcpy(frame + FRAME_HEADER_BYTES, body, FIXED_BYTES);
	if (pidfd >= 0) {
		memset(&ctl, 0, sizeof ctl);
		ctl.h.cmsg_level = SOL_SOCKET;
		ctl.h.cmsg_type = SCM_RIGHTS;
		ctl.h.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&ctl.h), &pidfd, sizeof pidfd);
		m.msg_control = &ctl;
		m.msg_controllen = sizeof ctl;
	}
	if (syscall(SYS_sendmsg, FD_CONTROL, &m, MSG_NOSIGNAL) != FRAME_BYTES)
		quit(1); /* the broker is gone */
}

/* --- one request ----------------------------------------------------------------------------------------- */

struct request {
	uint64_t id;
	uint16_t kind;
	struct spawn_fixed ask;
	int fds[SPAWN_FDS];
	unsigned n_fds;
};

static void take_fds(struct msghdr *m, struct request *r)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n && r->n_fds < SPAWN_FDS; i++)
			memcpy(&r->fds[r->n_fds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
}

static bool header_is_ours(const uint8_t *f)
{
	uint16_t kind = le16_get(f + 6);
	return le32_get(f) == FRAME_MAGIC && le16_get(f + 4) == FRAME_VERSION &&
	       (kind == MSG_SPAWN || kind == MSG_PROBE || kind == MSG_TEMPLATE || kind == MSG_MAPPED) &&
	       le32_get(f + 8) == 0 && le32_get(f + 12) == 0 && le64_get(f + 16) == FIXED_BYTES;
}

/* Waits for the next request. The end of the broker, or a frame that is none, is the end. */
static void receive(struct request *r)
{
	uint8_t frame[FRAME_BYTES + 1];
	union { struct cmsghdr h; char room[CMSG_SPACE(SPAWN_FDS * sizeof(int))]; } ctl;
	struct iovec v = { frame, sizeof frame };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
	ssize_t n;
	do
		n = syscall(SYS_recvmsg, FD_CONTROL, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != FRAME_BYTES || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !header_is_ours(frame))
		quit(n == 0 ? 0 : 1);
	*r = (struct request){ .id = le64_get(frame + 24), .kind = le16_get(frame + 6) };
	memcpy(&r->ask, frame + FRAME_HEADER_BYTES, sizeof r->ask);
	take_fds(&m, r);
}

static int check_request(struct spawn *s, const struct request *r)
{
	const struct spawn_fixed *a = &r->ask;
	struct stat model, program;
	struct ck as;
	if (r->n_fds != SPAWN_FDS || (a->flags & ~SPAWN_VIOLATION_KILL) || a->reserved[0] || a->reserved[1] ||
	    a->n_threads < 1 || a->n_threads > LIMIT_THREADS || a->worker_slot >= UID_WORKER_COUNT ||
	    (a->optional_layers & ~wall_layers_may_be_optional()))
		return -EINVAL;
	for (int i = 0; i < SPAWN_FDS; i++)
		if (r->fds[i] != FD_FIRST_FREE + i)
			return -EBADF;
	if (fstat(r->fds[1], &model) < 0 || fstat(r->fds[2], &program) < 0)
		return -errno;
	if (model.st_size < 0 || (uint64_t)model.st_size != a->model_bytes || program.st_size <= 0)
		return -EINVAL;
	as = ck_add(ck_u64(a->arena_bytes), ck_u64(a->model_bytes));
	as = ck_add(as, ck_u64((uint64_t)program.st_size));
	as = ck_add(as, ck_mul(ck_u64(a->n_threads), ck_u64(LIMIT_STACK_BYTES)));
	as = ck_add(as, ck_u64(LIMIT_WORKER_SLACK_BYTES));
	if (!ck_get(as, INT64_MAX, &s->as_bytes))
		return -EOVERFLOW;
	*s = (struct spawn){ .j = s->j, .ask = a, .channel = r->fds[0], .model = r->fds[1],
	                     .program = r->fds[2], .report_up = -1, .report_down = -1, .pidfd = -1,
	                     .model_bytes = a->model_bytes, .program_bytes = (uint64_t)program.st_size,
	                     .program_dev = program.st_dev, .program_ino = program.st_ino,
	                     .as_bytes = s->as_bytes, .layers = s->j->layers };
	return jail_test_program(s->program, s->program_bytes) ? 0 : -EPERM;
}

/* --- the steps of a spawn: each returns 0 or -errno --------------------------------------------------------- */

static int check_seals(struct spawn *s)
{
	int model, program, rc = step_seals(s->model, &model);
	if (rc == 0)
		rc = step_seals(s->program, &program);
	if (rc < 0)
		return rc;
	return (model & program & KABI_SEALS_DATA) == KABI_SEALS_DATA ? 0 : -EPERM;
}

static int check_noexec(struct spawn *s)
{
	int model, rc = step_seals(s->model, &model);
	if (rc < 0)
		return rc;
	return model & KABI_F_SEAL_EXEC ? 0 : -EPERM;
}

/* By the template where there is one for this program; else here, and the child becomes the program. */
static int clone_child(struct spawn *s)
{
	int pair[2];
	if (syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	s->report_up = pair[0];
	s->report_down = pair[1];
	int rc = jail_template_spawn(s);
	if (rc == -ENOENT) {
		rc = jail_clone(s);
		if (rc == 0 && s->pid == 0)
			jail_child(s);
	}
	syscall(SYS_close, s->report_down);
	s->report_down = -1;
	return rc;
}

/* "0 <id> 1", in the numbers of the jailer's own namespace: root: 2 and up are the workers' uids outside;
 * rootless: the jailer's own, which is 1 there. */
static int write_map(struct spawn *s, const char *file)
{
	char text[32] = "0 ", digits[12];
	size_t n = 2, d = 0;
	uint32_t id = s->j->rootless ? JAILER_INNER_ID : JAILER_INNER_FIRST + s->ask->worker_slot;
	if (s->j->is_container)
		return -ENOTSUP;
	do {
		digits[d++] = (char)('0' + id % 10);
		id /= 10;
	} while (id);
	while (d)
		text[n++] = digits[--d];
	text[n++] = ' ';
	text[n++] = '1';
	return step_map_write(FD_PROC, s->pid, file, text, n);
}

static int write_uid_map(struct spawn *s) { return write_map(s, "uid_map"); }
static int write_gid_map(struct spawn *s) { return write_map(s, "gid_map"); }

static int say_go(struct spawn *s)
{
	ssize_t n = syscall(SYS_write, s->report_up, "g", 1);
	return n == 1 ? 0 : n < 0 ? -errno : -EPIPE;
}

static const struct {
	uint32_t id;
	int (*fn)(struct spawn *s);
} steps[] = {
	{ STEP_SEALS, check_seals },
	{ STEP_NOEXEC, check_noexec },
	{ STEP_CLONE, clone_child },
	{ STEP_UID_MAP, write_uid_map },
	{ STEP_GID_MAP, write_gid_map },
	{ STEP_GO, say_go },
};

/* The child's word within limit_ms. Returns its bytes, 0 at the end of the pair, -errno. A child that
 * ends before it has read "go" leaves a reset in front of its word: it is read over, once. */
static ssize_t hear(int fd, struct jail_report *r, int64_t limit_ms)
{
	struct pollfd p = { fd, POLLIN, 0 };
	struct { int64_t s, ns; } limit = { limit_ms / 1000, limit_ms % 1000 * 1000000 };
	long ready = syscall(SYS_ppoll, &p, 1, &limit, NULL, 0);
	if (ready <= 0)
		return ready == 0 ? -ETIMEDOUT : -errno;
	ssize_t n = syscall(SYS_read, fd, r, sizeof *r);
	if (n < 0 && errno == ECONNRESET)
		n = syscall(SYS_read, fd, r, sizeof *r);
	return n < 0 ? -errno : n;
}

/* A step of the jailer fails when the child has given up already: then the child's reason counts. */
static int prefer_child(struct spawn *s, uint32_t *step, int rc)
{
	struct jail_report r;
	if (s->report_up < 0 || hear(s->report_up, &r, 0) != (ssize_t)sizeof r || !r.error)
		return rc;
	*step = r.step;
	return -r.error;
}

/* First the report before exec, then silence: the end of the pair is exec's success. */
static int follow_child(struct spawn *s, uint32_t *step)
{
	struct jail_report r = { 0 };
	bool at_exec = false;
	*step = STEP_WAIT_GO;
	for (int i = 0; i < 3; i++) {
		ssize_t n = hear(s->report_up, &r, LIMIT_SPAWN_MS);
		if (n == 0)
			return at_exec ? 0 : -ECHILD;
		if (n != (ssize_t)sizeof r)
			return n < 0 ? (int)n : -EPROTO;
		*step = r.step;
		if (r.error)
			return -r.error;
		s->layers |= r.layers;
		at_exec = r.step == STEP_EXEC;
	}
	return -EPROTO;
}

/* A required layer that the jailer itself does not have: its step and error. */
static int check_once(const struct jailer *j, uint64_t optional, uint32_t *step)
{
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (j->once_error[i] && !(optional >> i & 1)) {
			*step = j->once_step[i];
			return -j->once_error[i];
		}
	return 0;
}

/* Steps whose absence leaves a whole jail: where there are no user namespaces there is nothing to map. */
static bool may_miss(const struct spawn *s, uint32_t step)
{
	return step == STEP_NOEXEC || (s->j->is_container && (step == STEP_UID_MAP || step == STEP_GID_MAP));
}

static int spawn(struct spawn *s, const struct request *r, uint32_t *step)
{
	*step = s->j->fatal_step;
	if (*step)
		return -s->j->fatal_error;
	*step = STEP_REQUEST;
	int rc = jail_test_fault(STEP_REQUEST);
	if (rc == 0)
		rc = check_request(s, r);
	if (rc == 0)
		rc = check_once(s->j, r->ask.optional_layers, step);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0] && rc == 0; i++) {
		uint64_t layers = jail_step_layers(steps[i].id);
		*step = steps[i].id;
		if (jail_test_skips(*step))
			continue;
		rc = jail_test_fault(*step);
		if (rc == 0)
			rc = steps[i].fn(s);
		if (rc == 0 && *step != STEP_CLONE) /* the clone says itself what stands */
			s->layers |= layers;
		else if (rc && may_miss(s, *step) && !(layers & ~r->ask.optional_layers))
			rc = 0;
	}
	return rc ? prefer_child(s, step, rc) : follow_child(s, step);
}

static void serve_spawn(struct jailer *j, const struct request *r)
{
	uint32_t step;
	struct spawn s = { .j = j, .report_up = -1, .report_down = -1, .pidfd = -1 };
	int rc = spawn(&s, r, &step);
	if (rc < 0 && s.pidfd >= 0)
		syscall(SYS_pidfd_send_signal, s.pidfd, SIGKILL, NULL, 0);
	bool has_own_uid = !j->rootless && !j->is_container;
	struct spawned_fixed body = { .pid = s.pid, .error = -rc, .step = rc ? step : STEP_NONE,
	                              .layers = rc ? 0 : s.layers,
	                              .uid = has_own_uid ? UID_WORKER_FIRST + r->ask.worker_slot : j->uid };
	answer(r->id, MSG_SPAWNED, &body, s.pidfd);
}

static void serve_template(struct jailer *j, const struct request *r)
{
	int pid = 0, pidfd = -1;
	int rc = j->fatal_step ? -j->fatal_error : r->n_fds == 1 ? 0 : -EINVAL;
	if (rc == 0)
		rc = jail_template_start(j, r->fds[0], &pid, &pidfd);
	struct spawned_fixed body = { .pid = pid, .error = -rc, .layers = j->layers, .uid = j->uid,
	                              .step = rc ? STEP_TEMPLATE : STEP_NONE };
	answer(r->id, MSG_SPAWNED, &body, pidfd);
}

/* pidfd_getfd tells a closed number (EBADF) from an open one. The copy is closed at once. */
static void serve_probe(const struct request *r)
{
	struct probed_fixed body = { .error = r->n_fds == 1 ? 0 : EINVAL };
	for (int i = 0; i < 64 && !body.error; i++) {
		long fd = syscall(SYS_pidfd_getfd, r->fds[0], i, 0);
		if (fd >= 0) {
			body.open |= 1ULL << i;
			syscall(SYS_close, (int)fd);
		} else if (errno != EBADF) {
			body.error = errno;
		}
	}
	answer(r->id, MSG_PROBED, &body, -1);
}

static void serve_one(struct jailer *j)
{
	struct request r;
	receive(&r);
	if (r.kind == MSG_SPAWN)
		serve_spawn(j, &r);
	else if (r.kind == MSG_TEMPLATE)
		serve_template(j, &r);
	else if (r.kind == MSG_PROBE)
		serve_probe(&r);
	else
		quit(1); /* MAPPED is for the start */
	step_close_from(FD_FIRST_FREE);
}

/* From jail_once: asks the broker, which is root still, to map this jailer's ids. */
int jail_ask_for_map(const struct jailer *j)
{
	struct request r;
	struct mapped_fixed m;
	struct spawned_fixed ask = { .step = STEP_ONCE_MAP, .uid = j->uid };
	answer(0, MSG_SPAWNED, &ask, -1);
	receive(&r);
	memcpy(&m, &r.ask, sizeof m);
	if (r.kind != MSG_MAPPED || r.n_fds)
		quit(1);
	return -m.error;
}

int main(int argc, char **argv)
{
	static struct jailer j;
#ifdef FUMEHOOD_JAILER_TEST
	jail_test_args(&argc, &argv);
#endif
	j.rootless = argc == 1;
	j.uid = geteuid();
	j.gid = getegid();
	if (argc != 1 && (argc != 3 || !decimal(argv[1], &j.uid) || !decimal(argv[2], &j.gid)))
		return 2;
	syscall(SYS_prctl, PR_SET_NAME, "fumehood-jailer", 0, 0, 0);
	jail_once(&j);
	struct spawned_fixed start = { .error = j.fatal_error, .step = j.fatal_step, .layers = j.layers,
	                               .uid = j.uid };
	answer(0, MSG_SPAWNED, &start, -1);
	for (;;)
		serve_one(&j);
}
