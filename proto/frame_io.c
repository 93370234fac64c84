/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames over sockets: see frame_io.h.
 * Side: broker, auditor, command, tests. Trusts: nothing received. Owns: buffers in flight.
 */
#include "proto/frame_io.h"
#include "proto/pb.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RX_FIRST_BYTES ((size_t)64 << 10)

static void fds_close(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void frame_clear(struct frame *f)
{
	free(f->body);
	fds_close(f->fds, f->n_fds);
	f->body = NULL;
	f->n_fds = 0;
}

/* --- receiving -------------------------------------------------------------------------------- */

void frame_rx_init(struct frame_rx *rx, enum role from, enum role to, uint64_t body_limit_bytes)
{
	*rx = (struct frame_rx){ .from = from, .to = to, .body_limit_bytes = body_limit_bytes };
}

void frame_rx_clear(struct frame_rx *rx)
{
	frame_clear(&rx->f);
	rx->have = rx->cap = 0;
}

bool frame_rx_is_partial(const struct frame_rx *rx) { return rx->have > 0; }

/* Descriptors that came along; more than a frame may carry, or in the middle of one: refused. */
static int fds_take(struct frame_rx *rx, struct msghdr *m, bool at_start, struct err *e)
{
	int rc = ERR_OK;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (at_start && rx->f.n_fds < FRAME_FDS_MAX) {
				rx->f.fds[rx->f.n_fds++] = fd;
			} else {
				close(fd);
				rc = err_set(e, ERR_PROTOCOL, "frame: descriptors in the wrong place");
			}
		}
	}
	if (m->msg_flags & MSG_CTRUNC)
		rc = err_set(e, ERR_PROTOCOL, "frame: more descriptors than %d", FRAME_FDS_MAX);
	return rc;
}

/* One recvmsg into [dst, dst+n). Returns bytes, 0 for would-block, negative for the end. */
static ssize_t rx_some(struct frame_rx *rx, int fd, uint8_t *dst, size_t n, struct err *e)
{
	union {
		char buf[CMSG_SPACE(FRAME_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = { dst, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	/* A body cannot bring descriptors: without room for control data the kernel drops them. */
	m.msg_control = ctl.buf;
	m.msg_controllen = sizeof ctl.buf;
	ssize_t got;
	do
		got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (got < 0)
		return err_set(e, ERR_IO, "%s: %s", rx->have ? "connection lost in a frame" : "closed", strerror(errno));
	int rc = fds_take(rx, &m, rx->have == 0, e);
	if (rc != ERR_OK)
		return rc;
	rx->is_cut = got == 0 && rx->have;
	if (rx->is_cut)
		return err_set(e, ERR_PROTOCOL, "the %s stopped in the middle of a frame (%zu bytes of it came)",
		               role_name(rx->from), rx->have);
	if (got == 0)
		return err_set(e, ERR_IO, "closed");
	return got;
}

static int header_done(struct frame_rx *rx, struct err *e)
{
	int rc = frame_header_get(rx->raw, rx->from, rx->to, &rx->f.header, e);
	if (rc != ERR_OK)
		return rc;
	const struct msg_row *r = msg_find(rx->f.header.kind);
	if (rx->f.n_fds < r->fds_min || rx->f.n_fds > r->fds_max)
		return err_set(e, ERR_PROTOCOL, "%s: %u descriptors, %u to %u expected", r->name, rx->f.n_fds,
		               r->fds_min, r->fds_max);
	if (rx->f.header.length > rx->body_limit_bytes)
		return err_set(e, ERR_LIMIT, "%s of %" PRIu64 " bytes is above the limit of %" PRIu64 " bytes",
		               r->name, rx->f.header.length, rx->body_limit_bytes);
	return ERR_OK;
}

/* Room for the next piece: doubles up to the announced length, so that an announcement alone costs
 * nothing. */
static int body_grow(struct frame_rx *rx, size_t used, struct err *e)
{
	size_t want = rx->cap ? rx->cap * 2 : RX_FIRST_BYTES;
	if (used < rx->cap)
		return ERR_OK;
	if (want > rx->f.header.length)
		want = (size_t)rx->f.header.length;
	uint8_t *p = realloc(rx->f.body, want ? want : 1);
	if (!p)
		return err_set(e, ERR_NOMEM, "no memory for a body of %zu bytes", want);
	rx->f.body = p;
	rx->cap = want;
	return ERR_OK;
}

static int frame_done(struct frame_rx *rx, struct frame *out)
{
	*out = rx->f;
	rx->f = (struct frame){ 0 };
	rx->have = rx->cap = 0;
	return 1;
}

int frame_rx_read(struct frame_rx *rx, int fd, struct frame *out, struct err *e)
{
	size_t turn = 0;
	for (;;) {
		ssize_t got;
		if (rx->have < FRAME_HEADER_BYTES) {
			got = rx_some(rx, fd, rx->raw + rx->have, FRAME_HEADER_BYTES - rx->have, e);
			if (got <= 0)
				return (int)got;
			rx->have += (size_t)got;
			if (rx->have < FRAME_HEADER_BYTES)
				continue;
			int rc = header_done(rx, e);
			if (rc != ERR_OK)
				return rc;
		}
		size_t used = rx->have - FRAME_HEADER_BYTES;
		if (used == rx->f.header.length)
			return frame_done(rx, out);
		int rc = body_grow(rx, used, e);
		if (rc != ERR_OK)
			return rc;
		got = rx_some(rx, fd, rx->f.body + used, rx->cap - used, e);
		if (got <= 0)
			return (int)got;
		if (rx->on_bytes)
			rx->on_bytes(rx->on_bytes_arg, &rx->f.header, rx->f.body + used, (size_t)got, used);
		rx->have += (size_t)got;
		turn += (size_t)got;
		if (rx->turn_bytes && turn >= rx->turn_bytes && rx->have - FRAME_HEADER_BYTES < rx->f.header.length)
			return 0;
	}
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for an event on fd until the deadline (-1: none). */
static int wait_for(int fd, short events, int64_t deadline_ms, struct err *e)
{
	for (;;) {
		int64_t left = deadline_ms < 0 ? -1 : deadline_ms - now_ms();
		if (deadline_ms >= 0 && left <= 0)
			return err_set(e, ERR_DEADLINE, "no answer in time");
		struct pollfd p = { fd, events, 0 };
		int n = poll(&p, 1, left > 1000000 ? 1000000 : (int)left);
		if (n > 0)
			return ERR_OK;
		if (n < 0 && errno != EINTR)
			return err_set(e, ERR_IO, "poll: %s", strerror(errno));
	}
}

int frame_recv(struct frame_rx *rx, int fd, int timeout_ms, struct frame *out, struct err *e)
{
	int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	for (;;) {
		int rc = frame_rx_read(rx, fd, out, e);
		if (rc != 0)
			return rc > 0 ? ERR_OK : rc;
		rc = wait_for(fd, POLLIN, deadline, e);
		if (rc != ERR_OK)
			return rc;
	}
}

/* --- sending ---------------------------------------------------------------------------------- */

static ssize_t send_some(int fd, struct iovec *iov, unsigned n, const int *fds, unsigned n_fds)
{
	union {
		char buf[CMSG_SPACE(FRAME_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	if (n_fds) {
		memset(&ctl, 0, sizeof ctl);
		m.msg_control = ctl.buf;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	ssize_t got;
	do
		got = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	return got;
}

/* Drops the first n bytes of an iovec list. */
static void iov_advance(struct iovec **iov, unsigned *n_iov, size_t n)
{
	while (*n_iov && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*n_iov)--;
	}
	if (*n_iov && n) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

#define PARTS_MAX 8

int frame_send(int fd, uint16_t kind, uint64_t request_id, const struct iovec *parts, unsigned n_parts,
               const int *fds, unsigned n_fds, int timeout_ms, struct err *e)
{
	uint8_t header[FRAME_HEADER_BYTES];
	struct iovec list[PARTS_MAX + 1], *iov = list;
	unsigned n = 1;
	uint64_t length = 0;
	if (n_parts > PARTS_MAX || n_fds > FRAME_FDS_MAX)
		return err_set(e, ERR_INTERNAL, "frame_send: %u parts, %u descriptors", n_parts, n_fds);
	list[0] = (struct iovec){ header, sizeof header };
	for (unsigned i = 0; i < n_parts; i++) {
		length += parts[i].iov_len;
		if (parts[i].iov_len)
			list[n++] = parts[i];
	}
	frame_header_put(header, &(struct frame_header){ kind, length, request_id });
	int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	while (n) {
		ssize_t got = send_some(fd, iov, n, fds, n_fds);
		if (got < 0 && errno != EAGAIN)
			return err_set(e, ERR_IO, "send %s: %s", msg_name(kind), strerror(errno));
		if (got > 0) {
			iov_advance(&iov, &n, (size_t)got);
			n_fds = 0;
			continue;
		}
		int rc = wait_for(fd, POLLOUT, deadline, e);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

struct frame_tx_item {
	struct frame_tx_item *next;
	uint8_t *tail;
	struct iovec iov[2];
	int fds[FRAME_FDS_MAX];
	unsigned n_fds;
	size_t front_len;
	uint8_t front[];
};

static void item_free(struct frame_tx_item *it)
{
	fds_close(it->fds, it->n_fds);
	free(it->tail);
	free(it);
}

int frame_tx_put(struct frame_tx *tx, uint16_t kind, uint64_t request_id, const uint8_t *front,
                 size_t front_len, uint8_t *tail, size_t tail_off, size_t tail_len, const int *fds,
                 unsigned n_fds, struct err *e)
{
	struct frame_tx_item *it = calloc(1, sizeof *it + FRAME_HEADER_BYTES + front_len);
	if (!it || n_fds > FRAME_FDS_MAX) {
		for (unsigned i = 0; i < n_fds; i++)
			close(fds[i]);
		free(tail);
		free(it);
		return err_set(e, ERR_NOMEM, "no memory to queue a %s", msg_name(kind));
	}
	frame_header_put(it->front, &(struct frame_header){ kind, front_len + tail_len, request_id });
	if (front_len)
		memcpy(it->front + FRAME_HEADER_BYTES, front, front_len);
	it->tail = tail;
	it->iov[0] = (struct iovec){ it->front, FRAME_HEADER_BYTES + front_len };
	it->iov[1] = (struct iovec){ tail ? tail + tail_off : NULL, tail_len };
	it->n_fds = n_fds;
	for (unsigned i = 0; i < n_fds; i++)
		it->fds[i] = fds[i];
	*(tx->last ? &tx->last->next : &tx->first) = it;
	tx->last = it;
	tx->queued_bytes += FRAME_HEADER_BYTES + front_len + tail_len;
	return ERR_OK;
}

bool frame_tx_is_empty(const struct frame_tx *tx) { return tx->first == NULL; }

int frame_tx_write(struct frame_tx *tx, int fd, struct err *e)
{
	while (tx->first) {
		struct frame_tx_item *it = tx->first;
		struct iovec list[2] = { it->iov[0], it->iov[1] }, *iov = list;
		unsigned n = 2;
		iov_advance(&iov, &n, 0);
		ssize_t got = send_some(fd, iov, n, it->fds, it->n_fds);
		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got < 0)
			return err_set(e, ERR_IO, "send: %s", strerror(errno));
		fds_close(it->fds, it->n_fds); /* they went with the first byte */
		it->n_fds = 0;
		tx->queued_bytes -= (size_t)got;
		for (unsigned i = 0; i < 2; i++) {
			size_t k = (size_t)got < it->iov[i].iov_len ? (size_t)got : it->iov[i].iov_len;
			if (k)
				it->iov[i].iov_base = (char *)it->iov[i].iov_base + k;
			it->iov[i].iov_len -= k;
			got -= (ssize_t)k;
		}
		if (it->iov[0].iov_len + it->iov[1].iov_len)
			continue;
		tx->first = it->next;
		if (!tx->first)
			tx->last = NULL;
		item_free(it);
	}
	return 1;
}

void frame_tx_clear(struct frame_tx *tx)
{
	while (tx->first) {
		struct frame_tx_item *it = tx->first;
		tx->first = it->next;
		item_free(it);
	}
	tx->last = NULL;
	tx->queued_bytes = 0;
}

/* --- bodies --------------------------------------------------------------------------------------- */

int frame_front_pack(uint16_t kind, const void *message, size_t tail_len, uint8_t **out, size_t *len,
                     struct err *e)
{
	const struct msg_row *r = msg_find(kind);
	size_t head_len = protobuf_c_message_get_packed_size(message);
	if (!r || head_len > r->head_max)
		return err_set(e, ERR_LIMIT, "%s: head of %zu bytes is above the limit of %" PRIu64,
		               msg_name(kind), head_len, r ? r->head_max : 0);
	size_t n = frame_front_bytes(head_len, tail_len);
	uint8_t *p = calloc(1, n);
	if (!p)
		return err_set(e, ERR_NOMEM, "no memory for a %s of %zu bytes", r->name, n);
	frame_prefix_put(p, head_len);
	protobuf_c_message_pack(message, p + FRAME_PREFIX_BYTES);
	*out = p;
	*len = n;
	return ERR_OK;
}
