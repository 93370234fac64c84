/* SPDX-License-Identifier: Apache-2.0
 *
 * One request of a client with all that it holds: request.h says what happens, this does it. A kind of
 * request is a row of functions (call_infer.c, call_open.c, ...).
 *
 * Side: broker. Trusts: nothing of the client's. Owns: the request's memory until it is answered.
 */
#ifndef FUMEHOOD_BROKER_CALL_H
#define FUMEHOOD_BROKER_CALL_H

#include "broker/client.h"
#include "broker/request.h"

#include "proto/fumehood.pb-c.h"

struct call;
struct attempt_run;

struct call_kind {
	bool has_intent;                                       /* goes to a worker's turn: INTENT first */
	/* Starts the work. An error becomes REQUEST_FAILED. Later: call_succeeded or call_failed, once. */
	int (*begin)(struct call *k, struct err *e);
	/* Stops what begin started; call_* must not follow. */
	void (*withdraw)(struct call *k);
	/* Fills the record of a success. */
	void (*record)(struct call *k, struct record_room *x);
	/* Sends the answer. r is its receipt. */
	void (*answer)(struct call *k, Fumehood__Receipt *r);
};

struct call {
	struct broker *b;
	struct client *c;            /* NULL: it has left */
	struct call *prev, *next;    /* of the client's calls, or of the orphans */
	const struct call_kind *kind;
	enum request_state state;
	uint64_t id;                 /* the client's number */
	struct caller who;
	const char *action;          /* of policy */
	enum isolation isolation;    /* of a call of a model: who may share its worker */
	struct facts_answer decision;
	bool is_decided, is_counted; /* decision is filled; counted as in flight */

	struct model *model;
	struct slot *slot;
	struct turn turn;
	struct models_job *job;
	int fds[LIMIT_MODEL_FILES];  /* MODEL_OPEN, ADMIT: as they came */
	unsigned n_fds;
	char file_name[256];         /* MODEL_OPEN: escaped */
	bool inspect_only;
	uint64_t memory_bytes;
	uint32_t threads;            /* as asked; 0: the default */
	uint64_t deadline_ms;        /* as asked; 0: the default */
	uint64_t client_seq;
	struct attempt_run *attempt; /* ATTEMPT: the attack program while it runs */

	uint8_t salt[HASH_SALT_BYTES];
	bool has_salt, has_output;
	uint8_t input_digest[HASH_BYTES], output_digest[HASH_BYTES];
	uint64_t input_bytes, output_bytes;
	uint64_t intent_place;       /* of the INTENT, plus 1 */
	uint8_t *body;               /* the worker's words: tail of the answer or of the error */
	size_t body_off, body_len;
	struct pool_about about;
	bool has_about;
	bool has_end;                /* the worker ended: how */
	enum verdict verdict;
	struct worker_end end;
	struct err error;            /* why it is refused */

	uint64_t arrived_us, started_us, done_us;
	struct log_wait wait;
	const struct audit_stored *stored; /* while on_stored runs */
};

/* A new request of c: state NEW. NULL when memory is out (the connection is then ended). */
struct call *call_new(struct client *c, const struct call_kind *kind, const char *action, uint64_t id);

/* Asks policy about k->action on k->model (or the server). purpose may be NULL. Errors: ERR_DENIED, whose
 * text names the policies. */
MUST_CHECK int call_decide(struct call *k, const struct facts_ask *more, struct err *e);

/* rc ERR_OK: goes on; else: refused with e. The call may be gone afterwards. */
void call_begin(struct call *k, int rc, const struct err *e);

void call_succeeded(struct call *k);
void call_failed(struct call *k, const struct err *e);
/* The two for turns: take over what the pool hands out. */
void call_turn_started(void *arg);
void call_turn_done(void *arg, struct turn_result *r);
void call_turn_failed(void *arg, struct turn_failure *f);
/* Withdraws k->turn and k->job, whatever is there. */
void call_withdraw(struct call *k);

/* Ends without a record: for requests that only read (LIST, STATUS). */
void call_free(struct call *k);
/* The client has left. */
void call_orphan(struct call *k);
/* The log is dead: every request gets its error. */
void call_log_failed(struct broker *b, const struct err *e);

/* The record's parts that all kinds share; the kind adds its own. */
void call_record(const struct call *k, Fumehood__RecordKind kind, struct record_room *x);

/* Sends ERROR with what the call knows: policies, the worker's end and words, walls. r may be NULL. */
void call_send_error(struct call *k, const struct err *why, Fumehood__Receipt *r);

/* --- kinds ------------------------------------------------------------------------------------------- */

int on_hello(void *peer, struct frame *f, struct err *e);
int on_model_open(void *peer, struct frame *f, struct err *e);
int on_infer(void *peer, struct frame *f, struct err *e);
int on_inspect(void *peer, struct frame *f, struct err *e);
int on_admit(void *peer, struct frame *f, struct err *e);
int on_list(void *peer, struct frame *f, struct err *e);
int on_status(void *peer, struct frame *f, struct err *e);
int on_attempt(void *peer, struct frame *f, struct err *e);

/* Splits a frame's body and unpacks its head. *out is freed with protobuf_c_message_free_unpacked.
 * Errors: ERR_PROTOCOL, ERR_NOMEM. */
MUST_CHECK int call_unpack(const struct frame *f, const ProtobufCMessageDescriptor *type, void **out,
                           struct frame_body *parts, struct err *e);

#endif
