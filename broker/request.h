/* SPDX-License-Identifier: Apache-2.0
 *
 * One request as a pure state machine: an event goes in, a set of effects comes out. It does no work and
 * holds no resource, so its one promise can be tested with random events: an answer or an error leaves
 * only after the record about it is durable.
 *
 *                     ALLOWED            STARTED            SUCCEEDED
 *   NEW ------------------------> WAITING -------> RUNNING ----------> STORING_ANSWER --STORED--> DONE
 *    |  REFUSED                      | FAILED, GONE   | FAILED, GONE
 *    +------------> STORING_ERROR <--+----------------+                      --STORED--> DONE
 *
 * WAITING also covers what happens before a worker has the call: copying, loading, the queue. Requests
 * that need no worker's turn (admit, open) go from WAITING to STORING_ANSWER.
 *
 * Side: broker. Trusts: its caller to perform the effects in the order of their bits. Owns: nothing.
 */
#ifndef FUMEHOOD_BROKER_REQUEST_H
#define FUMEHOOD_BROKER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

enum request_state {
	REQUEST_NEW,
	REQUEST_WAITING,
	REQUEST_RUNNING,
	REQUEST_STORING_ANSWER,
	REQUEST_STORING_ERROR,
	REQUEST_DONE,
	REQUEST_STATE__MAX
};

enum request_event {
	REQUEST_ALLOWED,     /* the decision: yes, and the request is well formed */
	REQUEST_REFUSED,     /* the decision: no; or malformed, unknown model, queue full, ... */
	REQUEST_STARTED,     /* a worker has the call */
	REQUEST_SUCCEEDED,   /* the answer is there and its header was checked */
	REQUEST_FAILED,      /* the worker refused it, ended, or ran out of time; a copy or a load failed */
	REQUEST_GONE,        /* the client left */
	REQUEST_STORED,      /* the final record is durable */
	REQUEST_LOG_FAILED,  /* the log cannot be written any more */
	REQUEST_EVENT__MAX
};

/* Effects, performed from the lowest bit to the highest. */
enum request_effect {
	REQUEST_DO_INTENT = 1 << 0,        /* append INTENT (kinds that go to a worker's turn) */
	REQUEST_DO_BEGIN = 1 << 1,         /* begin: queue for a worker, copy, load */
	REQUEST_DO_WITHDRAW = 1 << 2,      /* take it out of the queue, stop the copy */
	REQUEST_DO_ABANDON = 1 << 3,       /* the worker goes on, its answer has no taker */
	REQUEST_DO_RECORD_ANSWER = 1 << 4, /* append the final record of a success, wait for STORED */
	REQUEST_DO_RECORD_ERROR = 1 << 5,  /* append REFUSED (or how the attempt ended), wait for STORED */
	REQUEST_DO_MUTE = 1 << 6,          /* nobody is there to be answered any more */
	REQUEST_DO_SEND_ANSWER = 1 << 7,
	REQUEST_DO_SEND_ERROR = 1 << 8,
	REQUEST_DO_SEND_LOG_ERROR = 1 << 9,/* the error of a dead log: never an answer */
	REQUEST_DO_FREE = 1 << 10,
	REQUEST_DO_NOTHING = 1 << 11,      /* an event that comes too late to matter */
	REQUEST_DO_BUG = 1 << 12           /* an event that cannot happen here: the broker ends */
};

/* Moves *state and returns the effects. */
__attribute__((warn_unused_result)) unsigned request_step(enum request_state *state, enum request_event event);

const char *request_state_name(enum request_state s);

#endif
