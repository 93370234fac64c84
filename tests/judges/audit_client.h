/* SPDX-License-Identifier: Apache-2.0
 *
 * A caller of the real auditor process, for judges, crash tests and the bench: keeps many records under way on
 * one channel without blocking, as the broker does.
 */
#ifndef FUMEHOOD_TESTS_AUDIT_CLIENT_H
#define FUMEHOOD_TESTS_AUDIT_CLIENT_H

#include "audit/audit.h"
#include "proto/fumehood.pb-c.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct ac {
	int fd;
	pid_t pid;
	struct frame_rx rx;
	struct audit_opened opened;
	uint8_t *out;
	size_t at, len, cap; /* bytes [at, len) are still to be sent */
};

/* Starts the auditor on BASE/log, BASE/state, BASE/log.key, all made when missing. Returns an error code. */
static inline int ac_start(struct ac *a, const char *program, const char *base, uint64_t segment_bytes, struct err *e)
{
	struct frame f;
	memset(a, 0, sizeof *a);
	a->fd = -1;
	mkdir(base, 0700);
	int dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(dir, "log", 0700);
	mkdirat(dir, "state", 0700);
	int log = openat(dir, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int state = openat(dir, "state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = audit_key_create(dir, "log.key", "log.example/real", NULL, e);
	int key = openat(dir, "log.key", O_RDONLY | O_CLOEXEC);
	/* Every layer may be missing: these tests are about the log, and run on any kernel. */
	struct audit_spawn c = { program, log, state, key, segment_bytes, INT64_MAX, 0, 0 };
	if (rc == ERR_OK || rc == ERR_BUSY)
		rc = audit_start(&c, &a->fd, &a->pid, e);
	close(log);
	close(state);
	close(dir);
	close(key);
	frame_rx_init(&a->rx, ROLE_AUDITOR, ROLE_BROKER, 1 << 20);
	if (rc == ERR_OK)
		rc = frame_recv(&a->rx, a->fd, 60000, &f, e);
	if (rc == ERR_OK) {
		rc = audit_opened_read(&f, &a->opened, e);
		frame_clear(&f);
	}
	return rc;
}

static inline void ac_bytes(struct ac *a, const void *p, size_t n)
{
	if (a->at == a->len)
		a->at = a->len = 0;
	if (a->len + n > a->cap) {
		a->cap = (a->len + n) * 2;
		a->out = realloc(a->out, a->cap);
		if (!a->out)
			abort();
	}
	memcpy(a->out + a->len, p, n);
	a->len += n;
}

static inline void ac_frame(struct ac *a, uint16_t kind, uint64_t request_id, const uint8_t *body, size_t n)
{
	uint8_t head[FRAME_HEADER_BYTES];
	const struct frame_header h = { kind, n, request_id };
	frame_header_put(head, &h);
	ac_bytes(a, head, sizeof head);
	ac_bytes(a, body, n);
}

/* A record of about `bytes` bytes about call n: the body of APPEND. Free it. */
static inline uint8_t *ac_append_body(uint64_t n, size_t bytes, bool want_proof, size_t *len)
{
	Fumehood__Record r;
	struct err e;
	uint8_t *rec = NULL, *body = NULL;
	size_t rec_len = 0;
	char action[] = "infer", *text = malloc(bytes + 1);
	if (!text)
		abort();
	for (size_t i = 0; i < bytes; i++)
		text[i] = (char)('a' + (n * 7 + i) % 26);
	text[bytes > 20 ? bytes - 20 : 0] = 0;
	fumehood__record__init(&r);
	r.kind = FUMEHOOD__RECORD_KIND__COMPLETED;
	r.request_id = n;
	r.action = action;
	r.text = text;
	if (pb_pack(&r.base, &rec, &rec_len, &e) != ERR_OK ||
	    audit_append_pack(rec, rec_len, want_proof, &body, len, &e) != ERR_OK)
		abort();
	free(rec);
	free(text);
	return body;
}

static inline void ac_append(struct ac *a, uint64_t request_id, size_t bytes, bool want_proof)
{
	size_t len;
	uint8_t *body = ac_append_body(request_id, bytes, want_proof, &len);
	ac_frame(a, MSG_APPEND, request_id, body, len);
	free(body);
}

/* Sends what goes and takes one frame, waiting at most timeout_ms for something to happen.
 * 1: *f is a frame; 0: nothing; negative: the auditor is gone. */
static inline int ac_turn(struct ac *a, int timeout_ms, struct frame *f, struct err *e)
{
	while (a->at < a->len) {
		ssize_t n = send(a->fd, a->out + a->at, a->len - a->at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) { /* it is gone, but its last words may still be there to be read */
			a->at = a->len;
			break;
		}
		a->at += (size_t)n;
	}
	int rc = frame_rx_read(&a->rx, a->fd, f, e);
	if (rc != 0 || timeout_ms == 0)
		return rc;
	struct pollfd p = { a->fd, (short)(POLLIN | (a->at < a->len ? POLLOUT : 0)), 0 };
	(void)poll(&p, 1, timeout_ms);
	return p.revents & POLLIN ? frame_rx_read(&a->rx, a->fd, f, e) : 0;
}

/* Asks for a clean end and waits for it; everything queued must have been answered. Returns the exit status. */
static inline int ac_seal(struct ac *a, struct err *e)
{
	static const uint8_t empty[FRAME_PREFIX_BYTES];
	struct frame f;
	int rc, status = 0;
	ac_frame(a, MSG_SEAL, 1, empty, sizeof empty);
	while ((rc = ac_turn(a, 10000, &f, e)) >= 0)
		if (rc > 0)
			frame_clear(&f);
	waitpid(a->pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void ac_clear(struct ac *a)
{
	if (a->fd >= 0)
		close(a->fd);
	frame_rx_clear(&a->rx);
	free(a->out);
	memset(a, 0, sizeof *a);
	a->fd = -1;
}

#endif
