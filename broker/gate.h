/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate: which message a peer may send in which state, and who handles it. One table per kind of
 * peer; what stands in no row, or comes in another state, ends that peer. The frame's own rules (who
 * may send what to whom, sizes, descriptors) have been checked by proto/frame before.
 *
 * Side: broker. Trusts: nothing that arrives. Owns: the tables.
 */
#ifndef FUMEHOOD_BROKER_GATE_H
#define FUMEHOOD_BROKER_GATE_H

#include "proto/frame_io.h"

/* States of a client connection. */
enum client_state {
	CLIENT_NEW,      /* before HELLO */
	CLIENT_OPEN,     /* said HELLO */
	CLIENT_CLOSING,  /* refused or the broker is ending: nothing more is heard */
	CLIENT_STATE__MAX
};

/* States of a worker. */
enum worker_state {
	WORKER_STARTING, /* spawned, not yet LOCKED */
	WORKER_LOADING,  /* LOAD sent: it looks at the model */
	WORKER_PLANNED,  /* PLAN sent */
	WORKER_IDLE,     /* READY */
	WORKER_BUSY,     /* has a CALL */
	WORKER_ENDING,   /* killed or told to end: nothing more is heard */
	WORKER_STATE__MAX
};

/* A handler gets the peer and the frame; it may take the frame's body and descriptors. A negative return
 * ends the peer with that error. */
typedef int (*gate_fn)(void *peer, struct frame *f, struct err *e);

struct gate_row {
	uint16_t kind;
	uint32_t states; /* bits */
	gate_fn fn;
};

#define GATE_IN(state) (1u << (state))

/* Finds the row of this message in this state. Errors: ERR_PROTOCOL (unknown or out of turn). */
MUST_CHECK int gate_find(const struct gate_row *rows, size_t n_rows, enum role from, unsigned state, uint16_t kind,
                         const struct gate_row **out, struct err *e);

/* gate_find, then the handler. Errors: those of gate_find and of the handler. */
MUST_CHECK int gate_pass(const struct gate_row *rows, size_t n_rows, enum role from, unsigned state, void *peer,
                         struct frame *f, struct err *e);

/* The two tables (gate_client.c is where clients' handlers are named, gate_worker.c workers'). */
extern const struct gate_row gate_client[];
extern const size_t gate_client_rows;
extern const struct gate_row gate_worker[];
extern const size_t gate_worker_rows;

#endif
