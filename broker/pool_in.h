/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool's own header: what pool.c (slots, queues) and pool_worker.c (one worker's life) share.
 *
 * Side: broker. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_BROKER_POOL_IN_H
#define FUMEHOOD_BROKER_POOL_IN_H

#include "broker/pool.h"
#include "broker/quarantine.h"

#define DETAIL_BYTES 280 /* a refused call with its arguments */

struct pool_worker;

struct pool {
	struct pool_conf c;
	struct slot *slots;
	struct pool_worker *workers;
	unsigned n_workers;
	uint64_t next_call_id;
	struct quarantine quarantine;
	bool is_ending;                 /* no worker is begun any more */
};

struct slot {
	struct pool *p;
	struct slot *prev, *next;
	unsigned refs;
	struct model *model;
	unsigned threads;
	uint64_t memory_bytes;
	uint64_t call_ms;               /* hard limit of one call */
	bool is_shared, inspect_only;
	enum isolation isolation;
	char principal[POOL_PRINCIPAL_BYTES];
	struct models_job *fetch;
	struct loop_timer retry;        /* its model's workers die: the next one waits */
	struct pool_worker *w;
	struct turn *first, *last;      /* waiting */
	unsigned n_waiting;
	uint64_t round;                 /* of the turn that was served last */
	int64_t idle_since_ms;
};

struct pool_worker {
	struct pool *p;
	struct pool_worker *prev, *next;
	struct slot *slot;              /* NULL when nobody wants it any more: it is ending */
	struct model *model;
	struct worker proc;
	struct worker_order order;
	struct worker_notes notes;
	struct pool_about about;
	char detail[DETAIL_BYTES];      /* why it was killed */
	enum worker_state state;
	bool was_ready;                 /* it has held the model */
	struct loop_watch channel, exit, report;
	struct loop_timer timer;
	struct frame_rx rx;
	struct frame_tx tx;
	uint64_t request_bytes;         /* granted by the plan */
	int group;                      /* its control group's place, -1: none */
	uint64_t call_id;
	bool has_served;                /* a call has been in its memory, of this principal: */
	char last[POOL_PRINCIPAL_BYTES];
	struct turn *turn;              /* running; NULL when it was withdrawn */
	struct hash *hash;
};

/* pool_worker.c */

/* Makes a worker for the slot and watches it. Errors: those of jailer_spawn. */
MUST_CHECK int pool_worker_new(struct slot *s, struct err *e);
/* Hands it a CALL (state IDLE). */
void pool_worker_call(struct pool_worker *w, struct turn *t);
/* Lets it end by itself: closes the channel. */
void pool_worker_end(struct pool_worker *w);
/* Ends it now, for this reason. */
void pool_worker_kill(struct pool_worker *w, enum worker_killed why, const char *detail);
/* Ends it and waits for that, outside the loop; killed when it takes long. */
void pool_worker_wait(struct pool_worker *w);
/* Kills, reaps and frees it at once, without a word to anybody. */
void pool_worker_drop(struct pool_worker *w);

/* pool.c, told by a worker */

/* It holds the model: body is the READY body (owned by the callee). */
void pool_on_ready(struct pool_worker *w, uint8_t *body, size_t len);
/* It could not load; body (owned by the callee, may be NULL) is its explanation. */
void pool_on_load_failed(struct pool_worker *w, int code, const char *text, uint8_t *body, size_t len);
/* It answered the running turn (or nobody's): status and body (owned by the callee). */
void pool_on_result(struct pool_worker *w, int status, uint8_t *body, size_t len);
/* Counts its end against the model, when it was of its own doing. */
void pool_note_death(struct pool_worker *w, enum verdict v);
/* It is gone (reaped, the slot has no worker any more). */
void pool_on_gone(struct pool_worker *w, enum verdict v, const struct worker_end *end);

#endif
