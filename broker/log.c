/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's end of the log: see log.h.
 * Side: broker. Trusts: the auditor. Owns: the channel and the queue of waiters, which is in the order
 * of indexes because the auditor answers in order.
 */
#include "broker/log.h"
#include "broker/gate.h"
#include "proto/limits.h"
#include "proto/pb.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOLD_MS 5 /* how long a record that nobody waits for may stay here */

/* Frames on their way to the auditor, in one piece: records that belong together arrive together, or the
 * first would be committed alone. */
struct outbox {
	uint8_t *buf;
	size_t at, len, cap;
};

enum log_state { LOG_RUNNING, LOG_SEALING, LOG_DEAD };

struct log {
	struct log_conf c;
	enum log_state state;
	struct loop_watch watch;
	struct loop_timer hold;
	struct loop_task flush, tell;
	struct frame_rx rx;
	struct outbox out;
	struct audit_opened opened;
	uint64_t next_index;
	struct log_wait *first, **end;
	char *checkpoint;
	bool is_sealed;
	struct err why;
};

/* --- the way out ------------------------------------------------------------------------------------ */

static int outbox_put(struct outbox *o, uint16_t kind, uint64_t request_id, const uint8_t *body, size_t len,
                      struct err *e)
{
	size_t need = o->len + FRAME_HEADER_BYTES + len;
	if (need > o->cap) {
		uint8_t *p = realloc(o->buf, need * 2);
		if (!p)
			return err_set(e, ERR_NOMEM, "no memory for the log");
		o->buf = p;
		o->cap = need * 2;
	}
	frame_header_put(o->buf + o->len, &(struct frame_header){ kind, len, request_id });
	memcpy(o->buf + o->len + FRAME_HEADER_BYTES, body, len);
	o->len = need;
	return ERR_OK;
}

/* Writes what goes without blocking. 1: empty now; 0: would block; ERR_IO. */
static int outbox_write(struct outbox *o, int fd, struct err *e)
{
	while (o->at < o->len) {
		struct iovec iov = { o->buf + o->at, o->len - o->at };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_set(e, ERR_IO, "auditor: %s", strerror(errno));
		o->at += n > 0 ? (size_t)n : 0;
	}
	o->at = o->len = 0;
	return 1;
}

/* --- failing --------------------------------------------------------------------------------------- */

static void on_tell(void *arg)
{
	struct log *l = arg;
	l->c.failed(l->c.arg, &l->why);
}

/* From here on nothing is appended and nobody is told that something is durable. */
static void fail(struct log *l, const struct err *e)
{
	if (l->state == LOG_DEAD)
		return;
	l->state = LOG_DEAD;
	l->why = *e;
	l->why.code = ERR_LOG;
	loop_unwatch(l->c.loop, &l->watch);
	loop_timer_stop(l->c.loop, &l->hold);
	loop_never(l->c.loop, &l->flush);
	while (l->first) {
		l->first->is_on = false;
		l->first = l->first->next;
	}
	l->end = &l->first;
	loop_later(l->c.loop, &l->tell);
}

/* --- from the auditor --------------------------------------------------------------------------------- */

static int on_stored(void *peer, struct frame *f, struct err *e)
{
	struct log *l = peer;
	struct audit_stored s;
	int rc = audit_stored_read(f, &s, e);
	if (rc != ERR_OK)
		return rc;
	if (l->state == LOG_SEALING && f->header.request_id == 0) {
		l->is_sealed = true;
	} else if (f->header.request_id == 0 || s.index != f->header.request_id - 1 || s.index >= l->next_index) {
		rc = err_set(e, ERR_LOG, "the auditor stored a record at %" PRIu64 " that belongs at %" PRIu64, s.index,
		             f->header.request_id - 1);
	} else if (l->first && l->first->index == s.index) {
		struct log_wait *w = l->first;
		l->first = w->next;
		if (!l->first)
			l->end = &l->first;
		w->is_on = false;
		if (s.checkpoint) {
			free(l->checkpoint);
			l->checkpoint = strndup(s.checkpoint, s.checkpoint_len);
		}
		w->fn(w->arg, &s);
	}
	audit_stored_clear(&s);
	return rc;
}

static int on_log_failed(void *peer, struct frame *f, struct err *e)
{
	(void)peer;
	return audit_failed_read(f, e);
}

static const struct gate_row gate_auditor[] = {
	{ MSG_STORED, GATE_IN(LOG_RUNNING) | GATE_IN(LOG_SEALING), on_stored },
	{ MSG_LOG_FAILED, GATE_IN(LOG_RUNNING) | GATE_IN(LOG_SEALING), on_log_failed },
};

static void on_channel(void *arg, uint32_t events)
{
	struct log *l = arg;
	struct err e;
	struct frame f;
	int rc = events & EPOLLOUT ? outbox_write(&l->out, l->c.channel, &e) : 0;
	if (rc > 0)
		rc = loop_watch(l->c.loop, &l->watch, EPOLLIN, &e);
	while (rc >= 0 && l->state != LOG_DEAD && (rc = frame_rx_read(&l->rx, l->c.channel, &f, &e)) > 0) {
		rc = gate_pass(gate_auditor, sizeof gate_auditor / sizeof gate_auditor[0], ROLE_AUDITOR, l->state, l, &f, &e);
		frame_clear(&f);
	}
	if (rc == ERR_IO)
		(void)err_set(&e, ERR_LOG, "the auditor has ended: see its last line, then start the service again");
	if (rc < 0)
		fail(l, &e);
}

/* --- to the auditor ------------------------------------------------------------------------------------ */

static void on_flush(void *arg)
{
	struct log *l = arg;
	struct err e;
	loop_timer_stop(l->c.loop, &l->hold);
	int rc = outbox_write(&l->out, l->c.channel, &e);
	if (rc >= 0)
		rc = loop_watch(l->c.loop, &l->watch, rc ? EPOLLIN : EPOLLIN | EPOLLOUT, &e);
	if (rc == ERR_IO) /* its last words say more than the broken pipe */
		on_channel(l, EPOLLIN);
	if (rc < 0)
		fail(l, &e);
}

static int append(struct log *l, const Fumehood__Record *record, bool want_proof, struct err *e)
{
	uint8_t *packed = NULL, *body = NULL;
	size_t len, body_len;
	int rc = pb_pack(&record->base, &packed, &len, e);
	if (rc == ERR_OK)
		rc = audit_append_pack(packed, len, want_proof, &body, &body_len, e);
	if (rc == ERR_OK)
		rc = outbox_put(&l->out, MSG_APPEND, l->next_index + 1, body, body_len, e);
	free(body);
	free(packed);
	return rc;
}

void log_append(struct log *l, const Fumehood__Record *record, struct log_wait *w, uint64_t *index)
{
	struct err e;
	if (index)
		*index = l->next_index;
	if (l->state != LOG_RUNNING)
		return;
	if (append(l, record, w != NULL, &e) != ERR_OK) {
		fail(l, &e);
		return;
	}
	if (w) {
		w->index = l->next_index;
		w->next = NULL;
		w->is_on = true;
		*l->end = w;
		l->end = &w->next;
		loop_later(l->c.loop, &l->flush);
	} else if (!l->hold.is_on) {
		loop_timer_set(l->c.loop, &l->hold, HOLD_MS);
	}
	l->next_index++;
}

void log_forget(struct log *l, struct log_wait *w)
{
	if (!w->is_on)
		return;
	w->is_on = false;
	for (struct log_wait **p = &l->first; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			if (l->end == &w->next)
				l->end = p;
			return;
		}
}

/* --- begin and end --------------------------------------------------------------------------------------- */

static int first_word(struct log *l, int timeout_ms, struct err *e)
{
	struct frame f;
	int rc = frame_recv(&l->rx, l->c.channel, timeout_ms, &f, e);
	if (rc == ERR_IO)
		return err_set(e, ERR_LOG, "the auditor ended before it had opened the log");
	if (rc != ERR_OK)
		return err_prefix(e, "auditor");
	rc = audit_opened_read(&f, &l->opened, e);
	frame_clear(&f);
	return rc;
}

int log_open(const struct log_conf *conf, int timeout_ms, struct log **out, struct err *e)
{
	struct log *l = calloc(1, sizeof *l);
	if (!l) {
		close(conf->channel);
		return err_set(e, ERR_NOMEM, "no memory for the log");
	}
	l->c = *conf;
	l->end = &l->first;
	l->watch = (struct loop_watch){ .fd = conf->channel, .fn = on_channel, .arg = l };
	l->hold = (struct loop_timer){ .fn = on_flush, .arg = l };
	l->flush = (struct loop_task){ .fn = on_flush, .arg = l };
	l->tell = (struct loop_task){ .fn = on_tell, .arg = l };
	frame_rx_init(&l->rx, ROLE_AUDITOR, ROLE_BROKER, LIMIT_FRAME_BODY_BYTES);
	int rc = first_word(l, timeout_ms, e);
	if (rc == ERR_OK)
		rc = loop_watch(conf->loop, &l->watch, EPOLLIN, e);
	if (rc != ERR_OK) {
		log_close(l);
		return rc;
	}
	l->next_index = l->opened.size;
	*out = l;
	return ERR_OK;
}

void log_close(struct log *l)
{
	if (!l)
		return;
	loop_unwatch(l->c.loop, &l->watch);
	loop_timer_stop(l->c.loop, &l->hold);
	loop_never(l->c.loop, &l->flush);
	loop_never(l->c.loop, &l->tell);
	frame_rx_clear(&l->rx);
	free(l->out.buf);
	close(l->c.channel);
	free(l->checkpoint);
	free(l);
}

const struct audit_opened *log_opened(const struct log *l) { return &l->opened; }
uint64_t log_size(const struct log *l) { return l->next_index; }
const char *log_checkpoint(const struct log *l) { return l->checkpoint ? l->checkpoint : ""; }

/* The auditor ends by itself after its last answer. Whoever opens the log next must find it closed. */
static void wait_for_its_end(struct log *l, int timeout_ms)
{
	struct frame f;
	struct err e;
	if (frame_recv(&l->rx, l->c.channel, timeout_ms, &f, &e) == ERR_OK)
		frame_clear(&f);
}

int log_seal(struct log *l, int timeout_ms, struct err *e)
{
	struct frame f;
	uint8_t empty[FRAME_PREFIX_BYTES] = { 0 };
	if (l->state != LOG_RUNNING) {
		*e = l->why;
		return e->code;
	}
	l->state = LOG_SEALING;
	int rc = outbox_put(&l->out, MSG_SEAL, 0, empty, sizeof empty, e);
	while (rc >= 0 && (rc = outbox_write(&l->out, l->c.channel, e)) == 0) {
		struct pollfd p = { l->c.channel, POLLOUT, 0 };
		if (poll(&p, 1, timeout_ms) <= 0)
			return err_set(e, ERR_DEADLINE, "closing the log: the auditor does not read");
	}
	while (rc >= 0 && !l->is_sealed) {
		rc = frame_recv(&l->rx, l->c.channel, timeout_ms, &f, e);
		if (rc != ERR_OK)
			return err_prefix(e, "closing the log");
		rc = gate_pass(gate_auditor, sizeof gate_auditor / sizeof gate_auditor[0], ROLE_AUDITOR, l->state, l, &f, e);
		frame_clear(&f);
	}
	if (rc >= 0)
		wait_for_its_end(l, timeout_ms);
	return rc < 0 ? rc : ERR_OK;
}
