/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections: see client.h.
 *
 * An object is freed at the end of the turn in which it was dropped, so that whoever called into it may
 * still look at its state.
 *
 * Side: broker. Trusts: nothing that arrives. Owns: connections.
 */
#include "broker/client.h"
#include "broker/call.h"
#include "proto/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_BYTES MIB(4)          /* of one request between two looks at other peers */
#define TURN_FRAMES 16
#define LARGE_BYTES MIB(1)
#define CLOSE_MS 2000              /* for a last word to be read */
#define UNREAD_MAX_BYTES MIB(1)    /* answers that wait to be read: no further requests meanwhile */

static void on_timer(void *arg);
static void on_socket(void *arg, uint32_t events);

/* --- ends ------------------------------------------------------------------------------------------ */

static void free_now(void *arg)
{
	struct client *c = arg;
	hash_free(c->hash);
	free(c);
}

void client_drop(struct client *c)
{
	struct broker *b = c->b;
	if (c->fd < 0)
		return;
	c->state = CLIENT_CLOSING;
	loop_unwatch(b->loop, &c->watch);
	loop_timer_stop(b->loop, &c->timer);
	close(c->fd);
	c->fd = -1;
	while (c->calls)
		call_orphan(c->calls);
	for (size_t i = 0; i < LIMIT_HANDLES_PER_CLIENT; i++) {
		slot_unref(c->handles[i].slot);
		c->handles[i] = (struct handle){ 0 };
	}
	frame_rx_clear(&c->rx);
	frame_tx_clear(&c->tx);
	*(c->prev ? &c->prev->next : &b->clients) = c->next;
	if (c->next)
		c->next->prev = c->prev;
	b->n_clients--;
	loop_later(b->loop, &c->free_later);
	broker_client_gone(b);
}

void client_close(struct client *c)
{
	if (c->state == CLIENT_CLOSING)
		return;
	c->state = CLIENT_CLOSING;
	shutdown(c->fd, SHUT_RD); /* whoever is writing learns it now and can read our last word */
	frame_rx_clear(&c->rx);
	loop_timer_set(c->b->loop, &c->timer, CLOSE_MS);
	client_go_on(c);
}

static void last_word(struct client *c, int code, const char *text)
{
	Fumehood__Error m;
	fumehood__error__init(&m);
	m.code = pb_text(err_name(code));
	m.text = pb_text(text);
	client_send(c, MSG_ERROR, 0, &m.base, NULL, 0, 0);
	client_close(c);
}

/* One too many: no rule is broken, so there is no record. */
static void turn_away(struct client *c)
{
	char text[120];
	snprintf(text, sizeof text, "%" PRIu64 " clients are connected, which is the limit (clients_max): try again later",
	         c->b->conf.clients_max);
	last_word(c, ERR_BUSY, text);
}

/* Broke a rule: it is told, recorded, ended. */
static void refuse(struct client *c, const struct err *e)
{
	struct record_room x;
	record_begin(&x, FUMEHOOD__RECORD_KIND__PEER_ENDED, c->b, NULL);
	record_caller(&x, &c->who);
	x.r.code = pb_text(err_name(e->code));
	x.r.text = pb_text(e->text);
	log_append(c->b->log, &x.r, NULL, NULL);
	last_word(c, e->code, e->text);
}

/* --- what it may do now -------------------------------------------------------------------------------- */

static bool may_read(const struct client *c)
{
	return c->state != CLIENT_CLOSING && !c->b->is_draining && c->n_calls < LIMIT_CALLS_PER_CLIENT &&
	       c->tx.queued_bytes < UNREAD_MAX_BYTES;
}

/* Writes what goes and asks the loop for what is needed next. */
void client_go_on(struct client *c)
{
	struct err e;
	if (c->fd < 0)
		return;
	int rc = frame_tx_write(&c->tx, c->fd, &e);
	if (rc < 0 || (c->state == CLIENT_CLOSING && rc == 1)) {
		client_drop(c);
		return;
	}
	uint32_t want = (rc == 0 ? EPOLLOUT : 0) | (may_read(c) ? EPOLLIN : 0);
	if (loop_watch(c->b->loop, &c->watch, want, &e) != ERR_OK)
		client_drop(c);
	else if (rc == 0 && !c->timer.is_on)
		loop_timer_set(c->b->loop, &c->timer, LIMIT_CLIENT_IDLE_FRAME_MS);
}

void client_send(struct client *c, uint16_t kind, uint64_t request_id, const ProtobufCMessage *message,
                 uint8_t *body, size_t off, size_t len)
{
	uint8_t *front = NULL;
	size_t front_len;
	struct err e;
	if (c->fd < 0) {
		free(body);
		return;
	}
	int rc = frame_front_pack(kind, message, body ? len : 0, &front, &front_len, &e);
	if (rc != ERR_OK)
		free(body);
	else
		rc = frame_tx_put(&c->tx, kind, request_id, front, front_len, body, off, len, NULL, 0, &e);
	free(front);
	if (rc == ERR_OK) {
		client_go_on(c);
		return;
	}
	broker_say("an answer to %s could not be made: %s", c->who.principal, e.text);
	client_drop(c);
}

/* --- time ------------------------------------------------------------------------------------------------ */

/* Fires once per LIMIT_CLIENT_IDLE_FRAME_MS while something is in the middle: enough must have moved. */
static void on_timer(void *arg)
{
	struct client *c = arg;
	struct err e;
	bool is_dripping = frame_rx_is_partial(&c->rx) && c->rx.have - c->rx_seen < LIMIT_CLIENT_DRIP_BYTES;
	bool is_stuck = !frame_tx_is_empty(&c->tx) && c->tx.queued_bytes == c->tx_seen;
	c->rx_seen = c->rx.have;
	c->tx_seen = c->tx.queued_bytes;
	if (c->state == CLIENT_CLOSING || is_stuck) {
		client_drop(c);
		return;
	}
	if (c->state == CLIENT_NEW)
		(void)err_set(&e, ERR_DEADLINE, "no HELLO within %d ms", LIMIT_CLIENT_HELLO_MS);
	else if (is_dripping)
		(void)err_set(&e, ERR_DEADLINE, "a frame did not go on: %zu bytes of it came, then less than %" PRIu64
		              " bytes in %d ms", c->rx.have, LIMIT_CLIENT_DRIP_BYTES, LIMIT_CLIENT_IDLE_FRAME_MS);
	if (c->state == CLIENT_NEW || is_dripping)
		refuse(c, &e);
	else if (frame_rx_is_partial(&c->rx) || !frame_tx_is_empty(&c->tx))
		loop_timer_set(c->b->loop, &c->timer, LIMIT_CLIENT_IDLE_FRAME_MS);
}

/* A frame that is in the middle is watched from its first byte on. */
static void watch_partial(struct client *c)
{
	if (c->state != CLIENT_OPEN)
		return;
	if (!frame_rx_is_partial(&c->rx) && frame_tx_is_empty(&c->tx)) {
		loop_timer_stop(c->b->loop, &c->timer);
	} else if (!c->timer.is_on) {
		c->rx_seen = 0;
		c->tx_seen = c->tx.queued_bytes;
		loop_timer_set(c->b->loop, &c->timer, LIMIT_CLIENT_IDLE_FRAME_MS);
	}
}

/* --- frames ---------------------------------------------------------------------------------------------- */

/* Requests are hashed while they arrive: SHA-256(salt || body), with a fresh salt per call. */
static void on_bytes(void *arg, const struct frame_header *h, const uint8_t *p, size_t n, uint64_t offset)
{
	struct client *c = arg;
	if (h->kind != MSG_INFER)
		return;
	if (offset == 0) {
		c->has_salt = getrandom(c->salt, sizeof c->salt, 0) == (ssize_t)sizeof c->salt;
		hash_add(c->hash, c->salt, sizeof c->salt);
	}
	hash_add(c->hash, p, n);
}

/* Requests that are arriving or waiting, and answers that wait to be read. */
static uint64_t bodies_bytes(const struct broker *b)
{
	uint64_t sum = 0;
	for (const struct client *c = b->clients; c; c = c->next) {
		sum += c->rx.cap + c->tx.queued_bytes;
		for (const struct call *k = c->calls; k; k = k->next)
			sum += (k->turn.body ? k->turn.body_len : 0) + (k->body ? k->body_len : 0);
	}
	return sum;
}

/* Only a large frame in the middle can be what is too much. */
static int check_memory(const struct client *c, struct err *e)
{
	uint64_t sum = c->rx.cap >= LARGE_BYTES ? bodies_bytes(c->b) : 0;
	if (sum <= c->b->bodies_max_bytes)
		return 0;
	return err_set(e, ERR_BUSY, "requests and answers of %" PRIu64 " bytes are in memory, at most %" PRIu64
	               " may be: try again later", sum, c->b->bodies_max_bytes);
}

static void read_frames(struct client *c)
{
	struct err e;
	for (int i = 0; i < TURN_FRAMES && may_read(c); i++) {
		struct frame f;
		int rc = frame_rx_read(&c->rx, c->fd, &f, &e);
		if (rc == 0)
			rc = check_memory(c, &e);
		if (rc == 0)
			return;
		if (rc == ERR_IO) {
			client_drop(c);
			return;
		}
		if (rc > 0) {
			rc = gate_pass(gate_client, gate_client_rows, ROLE_CLIENT, c->state, c, &f, &e);
			frame_clear(&f);
		}
		if (rc < 0) {
			refuse(c, &e);
			return;
		}
	}
}

static void on_socket(void *arg, uint32_t events)
{
	struct client *c = arg;
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN)) {
		client_drop(c);
		return;
	}
	if (events & EPOLLIN)
		read_frames(c);
	if (c->fd < 0)
		return;
	watch_partial(c);
	client_go_on(c);
}

/* --- handles ------------------------------------------------------------------------------------------------ */

bool client_has_room_for_handle(const struct client *c)
{
	for (size_t i = 0; i < LIMIT_HANDLES_PER_CLIENT; i++)
		if (!c->handles[i].id)
			return true;
	return false;
}

int client_handle_new(struct client *c, struct slot *s, uint64_t *id, struct err *e)
{
	for (size_t i = 0; i < LIMIT_HANDLES_PER_CLIENT; i++)
		if (!c->handles[i].id) {
			*id = ++c->next_handle;
			c->handles[i] = (struct handle){ *id, s };
			return ERR_OK;
		}
	return err_set(e, ERR_LIMIT, "this connection has %d models open, which is the limit: use another one",
	               LIMIT_HANDLES_PER_CLIENT);
}

struct slot *client_handle_slot(const struct client *c, uint64_t id)
{
	for (size_t i = 0; id && i < LIMIT_HANDLES_PER_CLIENT; i++)
		if (c->handles[i].id == id)
			return c->handles[i].slot;
	return NULL;
}

/* --- beginning ---------------------------------------------------------------------------------------------- */

static int who_is_it(struct client *c, struct err *e)
{
	struct ucred cred;
	socklen_t len = sizeof cred;
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_set(e, ERR_IO, "peer credentials: %s", strerror(errno));
	c->who = (struct caller){ .uid = cred.uid, .gid = cred.gid, .pid = (uint32_t)cred.pid };
	snprintf(c->who.principal, sizeof c->who.principal, "Gate::User::\"%" PRIu32 "\"", c->who.uid);
	return ERR_OK;
}

int client_new(struct broker *b, int fd, struct err *e)
{
	struct client *c = calloc(1, sizeof *c);
	if (!c || !(c->hash = hash_new())) {
		close(fd);
		free(c);
		return err_set(e, ERR_NOMEM, "no memory for a client");
	}
	c->b = b;
	c->fd = fd;
	c->watch = (struct loop_watch){ .fd = fd, .fn = on_socket, .arg = c };
	c->timer = (struct loop_timer){ .fn = on_timer, .arg = c };
	c->free_later = (struct loop_task){ .fn = free_now, .arg = c };
	frame_rx_init(&c->rx, ROLE_CLIENT, ROLE_BROKER, b->conf.request_max_bytes);
	c->rx.on_bytes = on_bytes;
	c->rx.on_bytes_arg = c;
	c->rx.turn_bytes = TURN_BYTES;
	c->next = b->clients;
	if (c->next)
		c->next->prev = c;
	b->clients = c;
	b->n_clients++;
	int rc = who_is_it(c, e);
	if (rc == ERR_OK)
		rc = loop_watch(b->loop, &c->watch, EPOLLIN, e);
	if (rc != ERR_OK) {
		client_drop(c);
		return rc;
	}
	loop_timer_set(b->loop, &c->timer, LIMIT_CLIENT_HELLO_MS);
	if (b->n_clients > b->conf.clients_max)
		turn_away(c);
	return ERR_OK;
}
