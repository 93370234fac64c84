/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's first word: its listener, then "locked". Both are claims; the proof is verify.c's.
 *
 * Side: broker. Trusts: nothing of it. Owns: nothing.
 */
#include "proto/frame.h"
#include "proto/limits.h"
#include "sandbox/outside/proof.h"
#include "sandbox/sandbox.h"
#include "sandbox/wall/kernel_abi.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads exactly n bytes; a descriptor that comes with them lands in *fd (-1: none yet), a second one or more
 * at once are a breach. */
static int read_until(int channel, uint8_t *p, size_t n, int64_t deadline_ms, int *fd, struct err *e)
{
	for (size_t done = 0; done < n;) {
		union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } ctl;
		struct iovec v = { p + done, n - done };
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof ctl };
		int ready = wait_readable(channel, deadline_ms);
		if (ready <= 0)
			return err_set(e, ERR_DEADLINE, "worker: not locked in time");
		ssize_t got = recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
		if (got <= 0 && !(got < 0 && errno == EINTR))
			return err_set(e, ERR_WORKER, "worker: it ended before it was locked");
		struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&m) : NULL;
		if (m.msg_flags & MSG_CTRUNC || (c && *fd >= 0))
			return err_set(e, ERR_PROTOCOL, "worker: more descriptors than one");
		if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(fd, CMSG_DATA(c), sizeof *fd);
		done += got > 0 ? (size_t)got : 0;
	}
	return ERR_OK;
}

static int read_word(struct worker *w, int64_t deadline_ms, uint16_t *kind, uint8_t body[FIXED_BYTES], int *fd,
                     struct err *e)
{
	uint8_t frame[FRAME_HEADER_BYTES + FIXED_BYTES];
	struct frame_header h;
	int rc = read_until(w->channel, frame, sizeof frame, deadline_ms, fd, e);
	if (rc == ERR_OK)
		rc = frame_header_get(frame, ROLE_WORKER, ROLE_BROKER, &h, e);
	if (rc != ERR_OK)
		return rc;
	if (h.length != FIXED_BYTES || h.request_id != 0)
		return err_set(e, ERR_PROTOCOL, "worker: its first word is %s, not LOCKED", msg_name(h.kind));
	*kind = h.kind;
	memcpy(body, frame + FRAME_HEADER_BYTES, FIXED_BYTES);
	return ERR_OK;
}

/* ENOENT is a listener's answer to an id that it never gave. */
static bool is_listener(int fd)
{
	uint64_t id = 0;
	return ioctl(fd, KABI_NOTIF_ID_VALID, &id) < 0 && errno == ENOENT;
}

int worker_locked(struct worker *w, struct err *e)
{
	int64_t deadline = now_ms() + LIMIT_SPAWN_MS;
	uint8_t body[FIXED_BYTES];
	uint16_t kind;
	int none = -1, rc = read_word(w, deadline, &kind, body, &w->listener_fd, e);
	if (rc == ERR_OK && kind == MSG_LISTENER) {
		if (w->violation_kill || w->listener_fd < 0 || !is_listener(w->listener_fd))
			return err_set(e, ERR_PROTOCOL, "worker: a listener that is none or that nobody wants");
		memcpy(&w->place, body, sizeof w->place);
		rc = read_word(w, deadline, &kind, body, &none, e);
	}
	if (none >= 0)
		close(none);
	if (rc != ERR_OK)
		return rc;
	if (kind != MSG_LOCKED || none >= 0)
		return err_set(e, ERR_PROTOCOL, "worker: its first word is %s, not LOCKED", msg_name(kind));
	memcpy(&w->locked, body, sizeof w->locked);
	w->locked.level_name[sizeof w->locked.level_name - 1] = 0;
	w->locked.blas_core[sizeof w->locked.blas_core - 1] = 0;
	if (w->locked.error)
		return jail_step_failed(e, w->locked.step, w->locked.error);
	if (w->listener_fd < 0 && !w->violation_kill)
		return err_set(e, ERR_WALL, "proof: the worker brought no listener for its refused calls");
	return ERR_OK;
}
