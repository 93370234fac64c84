/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection of a client: who it is (as the kernel says), its frames, its limits, the models that it
 * has open. A client that breaks the protocol, drips or does not read costs this connection and nothing
 * else.
 *
 * Side: broker. Trusts: nothing that arrives; SO_PEERCRED. Owns: the connection.
 */
#ifndef FUMEHOOD_BROKER_CLIENT_H
#define FUMEHOOD_BROKER_CLIENT_H

#include "broker/gate.h"
#include "broker/record.h"

struct handle {
	uint64_t id; /* 0: free */
	struct slot *slot;
};

struct client {
	struct broker *b;
	struct client *prev, *next;
	enum client_state state;
	int fd;
	struct loop_watch watch;
	struct loop_timer timer;     /* a frame that was begun, or an answer that is not read, must go on */
	struct loop_task free_later;
	struct frame_rx rx;
	struct frame_tx tx;
	size_t rx_seen;              /* progress at the last look of the timer */
	uint64_t tx_seen;
	struct caller who;
	uint8_t salt[HASH_SALT_BYTES]; /* of the INFER that is arriving */
	bool has_salt;
	struct hash *hash;
	uint64_t next_handle;
	struct handle handles[LIMIT_HANDLES_PER_CLIENT];
	struct call *calls;
	unsigned n_calls;
};

/* Takes an accepted connection (fd is taken). Errors: ERR_NOMEM, ERR_IO. */
MUST_CHECK int client_new(struct broker *b, int fd, struct err *e);

/* Queues an answer: message is packed, then body[off, off+len) follows as its tail (taken, may be NULL).
 * Failures end the connection. */
void client_send(struct client *c, uint16_t kind, uint64_t request_id, const ProtobufCMessage *message,
                 uint8_t *body, size_t off, size_t len);

/* Ends the connection after what is queued has gone out. */
void client_close(struct client *c);
/* Ends it now: calls become orphans, models are closed. */
void client_drop(struct client *c);
/* After a call has ended: there may be room to read on. */
void client_go_on(struct client *c);

/* A new handle for a slot (a reference is taken over). Errors: ERR_LIMIT (the reference stays). */
MUST_CHECK int client_handle_new(struct client *c, struct slot *s, uint64_t *id, struct err *e);
bool client_has_room_for_handle(const struct client *c);
/* NULL when there is no such handle. */
struct slot *client_handle_slot(const struct client *c, uint64_t id);

#endif
