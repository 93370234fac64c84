/* SPDX-License-Identifier: Apache-2.0
 *
 * The command's side of the native API: finds or starts a broker, asks, checks receipts.
 *
 * Side: cli. Trusts: the kernel for who owns the socket; no text in an answer. Owns: one connection.
 */
#ifndef FUMEHOOD_CTL_TALK_H
#define FUMEHOOD_CTL_TALK_H

#include "broker/ctl/ctl.h"
#include "proto/frame_io.h"
#include "proto/fumehood.pb-c.h"

#include <sys/uio.h>

struct talk;

enum talk_start {
	TALK_RUNNING, /* only a broker that runs already */
	TALK_PRIVATE, /* else start a private one on the state directory */
};

/* Connects, says HELLO, takes WELCOME. Without --socket it tries the user's default socket (unless
 * --state-dir is given) and STATE/broker.sock. With TALK_PRIVATE it starts a broker when none answers, and
 * tries again for some seconds when it loses a race against another start or end.
 * Errors: ERR_NOT_FOUND (no broker), what the broker says when it cannot start, ERR_IO, ERR_PROTOCOL. */
MUST_CHECK int talk_open(const struct ctl *c, enum talk_start start, struct talk **out, struct err *e);
void talk_close(struct talk *t);
const Fumehood__Welcome *talk_welcome(const struct talk *t);

/* What is asked. */
struct talk_ask {
	uint16_t kind, want;           /* the message and its answer (enum msg_kind) */
	const ProtobufCMessage *head;
	const struct iovec *tail;      /* NULL: no tail */
	unsigned n_tail;
	const int *fds;
	unsigned n_fds;
	const char *waiting;           /* what a person waits for, shown on a terminal after a second */
};

/* An answer. Freed with talk_answer_clear. */
struct talk_answer {
	struct frame frame;
	struct frame_body body;        /* its parts; tail is hostile */
	ProtobufCMessage *head;        /* unpacked, of the type that was wanted */
	Fumehood__Error *error;        /* instead of head, when the broker refused */
	Fumehood__ModelInfo *info;     /* of MODEL_OPENED, or the worker's words about a refused model */
	uint64_t receipt_index;        /* of the checked receipt */
	bool has_receipt;
};

/* Asks and waits. The receipt in the answer is checked against the log's key of WELCOME, and its entry
 * against what was asked and answered (model, input and output digests): an answer whose receipt does not
 * hold is refused with ERR_LOG. An ERROR becomes e with the broker's code, the worker's words appended, and
 * c->error_extra; out then holds error and info.
 * Errors: ERR_IO, ERR_PROTOCOL, ERR_LOG, ERR_LIMIT, ERR_NOMEM, and every code that a broker sends. */
MUST_CHECK int talk_request(struct talk *t, struct ctl *c, const struct talk_ask *ask, struct talk_answer *out,
                            struct err *e);
void talk_answer_clear(struct talk_answer *a);

/* JSON of what answers share. */
json_t *walls_json(const Fumehood__Walls *w);
json_t *receipt_json(const Fumehood__Receipt *r);
/* Says on standard error which layers of the wall are missing, and nothing when none is. */
void walls_say(const struct ctl *c, const Fumehood__Walls *w);

#endif
