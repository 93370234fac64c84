/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames over a SOCK_STREAM descriptor, for processes that have libc: broker, auditor, command.
 * Incremental (non-blocking) and whole (blocking with a deadline).
 *
 * Side: both trusted sides; not the worker, not the jailer. Trusts: nothing that arrives.
 * Owns: buffers and descriptors in flight.
 */
#ifndef FUMEHOOD_PROTO_FRAME_IO_H
#define FUMEHOOD_PROTO_FRAME_IO_H

#include "proto/frame.h"

#include <stdbool.h>
#include <sys/uio.h>

#define FRAME_FDS_MAX LIMIT_MODEL_FILES

/* One received frame. body is malloc'ed and as long as header.length; fds are open, close-on-exec.
 * Whoever takes it owns both. */
struct frame {
	struct frame_header header;
	uint8_t *body;
	int fds[FRAME_FDS_MAX];
	unsigned n_fds;
};

/* Frees the body, closes descriptors that were not taken (taken ones are set to -1). */
void frame_clear(struct frame *f);

/* --- receiving -------------------------------------------------------------------------------- */

/* An incremental reader of one connection. Zero-initialise through frame_rx_init. */
struct frame_rx {
	enum role from, to;
	uint64_t body_limit_bytes;     /* this receiver's own limit, at most the kind's */
	size_t turn_bytes;             /* one frame_rx_read stops after so many bytes of a body, so that a
	                                * large frame does not keep a loop from its other peers; 0: no stop */
	uint8_t raw[FRAME_HEADER_BYTES];
	size_t have;                   /* bytes of header and body so far */
	size_t cap;                    /* allocated bytes of f.body */
	bool is_cut;                   /* the stream ended in the middle of a frame */
	struct frame f;
	/* Called with each piece of a body as it arrives (the broker hashes while it receives). */
	void (*on_bytes)(void *arg, const struct frame_header *h, const uint8_t *p, size_t n, uint64_t offset);
	void *on_bytes_arg;
};

void frame_rx_init(struct frame_rx *rx, enum role from, enum role to, uint64_t body_limit_bytes);
void frame_rx_clear(struct frame_rx *rx);
/* True when a frame was begun and is not complete. */
bool frame_rx_is_partial(const struct frame_rx *rx);

/* Reads what is there. Memory grows with what has arrived, never with what was announced. Descriptors
 * are accepted only with a frame's first byte and only in the number its kind allows.
 * Returns 1: *out is a complete frame, owned by the caller; 0: no more for now (EAGAIN); negative: the
 * connection is over: ERR_IO at a clean end of stream between frames (text "closed"), ERR_PROTOCOL,
 * ERR_LIMIT or ERR_NOMEM otherwise. Never reads past the end of the current frame. */
MUST_CHECK int frame_rx_read(struct frame_rx *rx, int fd, struct frame *out, struct err *e);

/* Blocks until a whole frame is there or timeout_ms passed (-1: for ever; ERR_DEADLINE). fd may be
 * blocking or not. Other errors as above. */
MUST_CHECK int frame_recv(struct frame_rx *rx, int fd, int timeout_ms, struct frame *out, struct err *e);

/* --- sending ---------------------------------------------------------------------------------- */

/* Sends a frame whose body is the given parts, blocking (poll on EAGAIN) until done or timeout_ms.
 * Descriptors stay the caller's. Errors: ERR_IO (EPIPE and all others), ERR_DEADLINE. */
MUST_CHECK int frame_send(int fd, uint16_t kind, uint64_t request_id, const struct iovec *parts,
                          unsigned n_parts, const int *fds, unsigned n_fds, int timeout_ms, struct err *e);

/* A queue of outgoing frames of one non-blocking connection. */
struct frame_tx_item;
struct frame_tx {
	struct frame_tx_item *first, *last;
	uint64_t queued_bytes;
};

/* Queues a frame: front is copied (header is added), tail is taken over (malloc'ed, freed when sent;
 * may be NULL), as are the descriptors. Errors: ERR_NOMEM (tail and descriptors are released). */
MUST_CHECK int frame_tx_put(struct frame_tx *tx, uint16_t kind, uint64_t request_id, const uint8_t *front,
                            size_t front_len, uint8_t *tail, size_t tail_off, size_t tail_len,
                            const int *fds, unsigned n_fds, struct err *e);
bool frame_tx_is_empty(const struct frame_tx *tx);
/* Writes what goes without blocking. 1: empty now; 0: would block; negative: ERR_IO. */
MUST_CHECK int frame_tx_write(struct frame_tx *tx, int fd, struct err *e);
void frame_tx_clear(struct frame_tx *tx);

/* --- bodies --------------------------------------------------------------------------------------- */

struct ProtobufCMessage;

/* Builds prefix + packed head + padding (when a tail of tail_len bytes will follow) in malloc'ed
 * memory. Errors: ERR_NOMEM, ERR_LIMIT (head above the kind's limit). */
MUST_CHECK int frame_front_pack(uint16_t kind, const void *message, size_t tail_len, uint8_t **out,
                                size_t *len, struct err *e);

#endif
