/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers: who has one, who waits for one, how each ends.
 *
 * A slot is a place for one worker: a model, a number of threads, a queue of turns. Admitted models have
 * slots that callers share as policy says (isolation.h): one per model and threads for all; or one per
 * principal too; or one whose worker serves a single call and ends, while the next is made ready. A model
 * that a client opened for itself has a slot of that connection's own. A slot gets its worker when the
 * first turn comes, and a new one when a turn comes after the last one ended.
 *
 * Turns are served one at a time; principals take turns, each principal's own in order. When the queue is
 * full, whoever has the most waiting gives up the last of it to one who has less. A worker that all share is
 * told to forget (SCRUB) before it serves another principal.
 *
 *   (model in the store) --fetch--> spawn --LOCKED, proof--> LOAD --NEEDS, PLAN--> READY --> CALL, RESULT ...
 *
 * Of what a worker says, this file reads frame headers, struct result_fixed and struct needs_fixed;
 * bodies pass through unread. A frame out of turn ends the worker.
 *
 * Side: broker. Trusts: the kernel, the jailer; no worker. Owns: workers, their channels, the queues.
 */
#ifndef FUMEHOOD_BROKER_POOL_H
#define FUMEHOOD_BROKER_POOL_H

#include "broker/cgroup.h"
#include "broker/gate.h"
#include "broker/isolation.h"
#include "broker/loop.h"
#include "broker/models.h"
#include "proto/fixed.h"
#include "sandbox/sandbox.h"

struct pool;
struct slot;

#define POOL_PRINCIPAL_BYTES 64

/* What is known of a worker, for records and answers. */
struct pool_about {
	uint32_t pid;
	uint64_t layers, missing;
	char level[16], blas_core[16];
	unsigned threads;
	uint64_t calls;
	enum isolation isolation;
	char principal[POOL_PRINCIPAL_BYTES]; /* whose worker it is; "": everybody's, or a connection's */
	const char *fds_seen; /* how its descriptors were seen: fds_seen_name; NULL before that */
};

/* What a turn got. The receiver may take body (set it to NULL). */
struct turn_result {
	uint8_t *body;              /* the whole RESULT or READY body */
	size_t inner_off, inner_len;/* the worker's words in it: behind the fixed struct */
	uint8_t digest[HASH_BYTES]; /* SHA-256(salt || words), calls only */
	const struct pool_about *about;
};

/* Why a turn got nothing. */
struct turn_failure {
	int code;
	const char *text;
	uint8_t *body;              /* the worker's own explanation, or NULL; may be taken */
	size_t inner_off, inner_len;
	uint8_t digest[HASH_BYTES]; /* of it, calls only */
	bool has_end;               /* the worker ended: verdict and end say how */
	enum verdict verdict;
	struct worker_end end;
	const struct pool_about *about; /* NULL when there was no worker */
};

enum turn_kind { TURN_LOAD, TURN_CALL };

/* One use of a worker. Embedded in its owner; zero it, then fill the first block. */
struct turn {
	enum turn_kind kind;
	uint8_t *body;              /* CALL: the body to forward; taken when it is sent */
	size_t body_len;
	const uint8_t *salt;        /* CALL: HASH_SALT_BYTES for the answer's digest */
	enum isolation isolation;   /* CALL: of this call; at least the slot's */
	const char *principal;      /* CALL: who asks, for scrubbing and fairness; NULL is "" */
	uint64_t deadline_ms;       /* the caller's own, queue included; 0: only the limits of the slot */
	void *arg;
	void (*started)(void *arg); /* the worker has it */
	void (*done)(void *arg, struct turn_result *r);
	void (*failed)(void *arg, struct turn_failure *f);

	struct slot *slot;          /* while it waits or runs; the pool's from here on */
	struct turn *prev, *next;
	bool is_running;
	uint64_t round;             /* of the queue: principals take turns */
	struct loop_timer timer;
	uint64_t started_us;        /* when the worker got the first byte of it */
	uint64_t done_us;           /* when its answer was complete */
};

/* How a worker ended, for the record. */
struct pool_end {
	const struct model *model;
	const struct pool_about *about;
	enum verdict verdict;
	struct worker_end end;
	const char *detail;
};

struct pool_conf {
	struct loop *loop;
	struct jail *jail;
	struct models *models;
	int proc_fd, program_fd;
	uint64_t optional_layers;
	struct cgroups *cgroups;    /* NULL: none */
	unsigned quarantine_crashes; /* see quarantine.h; 0: never */
	uint64_t quarantine_window_ms, quarantine_ms;
	bool violation_kill;        /* refused calls kill without a report */
	uint64_t memory_bytes, call_ms, load_ms, queue_max, request_max_bytes;
	unsigned threads;
	void *arg;
	void (*loaded)(void *arg, const struct slot *s, const struct pool_about *about);
	void (*ended)(void *arg, const struct pool_end *end);
	void (*quarantined)(void *arg, const struct model *m, uint64_t for_ms);
};

MUST_CHECK int pool_new(const struct pool_conf *conf, struct pool **out, struct err *e);
/* Ends every worker and waits for it, telling conf.ended: for the end of the broker, when no turn is left. */
void pool_end_all(struct pool *p);
/* Kills and reaps every worker. Turns and counted slots of callers must be gone. */
void pool_free(struct pool *p);

/* Starts a worker on an empty model, proves it and ends it: says whether the wall stands on this machine
 * and fills about. Of conf: jail, proc_fd, program_fd, optional_layers, threads. Errors: ERR_WALL and others of
 * worker_start. */
MUST_CHECK int pool_trial(const struct pool_conf *conf, struct pool_about *about, struct err *e);

/* Who shares a slot of an admitted model. */
struct slot_key {
	unsigned threads;           /* 0: the default */
	enum isolation isolation;
	const char *principal;      /* ISOLATION_TENANT */
};

/* The slot of an admitted model that all callers with this key share. Counted. Errors: ERR_NOMEM. */
MUST_CHECK int pool_slot_shared(struct pool *p, struct model *m, const struct slot_key *key, struct slot **out,
                                struct err *e);
/* A slot of its own. memory_bytes 0: the default; inspect_only: the worker describes the model and ends. */
MUST_CHECK int pool_slot_own(struct pool *p, struct model *m, unsigned threads, uint64_t memory_bytes,
                             bool inspect_only, struct slot **out, struct err *e);
struct slot *slot_ref(struct slot *s);
/* The last reference to a slot of its own ends its worker. NULL is fine. */
void slot_unref(struct slot *s);

const struct model *slot_model(const struct slot *s);
unsigned slot_threads(const struct slot *s);
bool slot_is_shared(const struct slot *s);
enum isolation slot_isolation(const struct slot *s); /* of its own: ISOLATION_TENANT */
bool slot_has_worker(const struct slot *s);
const struct pool_about *slot_about(const struct slot *s); /* NULL without a worker */

/* Takes t into the queue; started, done or failed are called later, or before this returns. A turn that is
 * failed with ERR_BUSY was never queued. */
void slot_submit(struct slot *s, struct turn *t);
/* Forgets t, wherever it is: out of the queue, or its answer has no taker any more. */
void turn_withdraw(struct turn *t);

/* For how much longer no worker of this model is started; 0: it may be. */
uint64_t pool_quarantined_ms(const struct pool *p, const struct model *m);

/* How an end reads, for people. detail: the broker's own reason, or "". */
void pool_end_text(char *out, size_t cap, enum verdict v, const struct worker_end *end, const char *detail);

/* For STATUS: calls fn for each live worker. */
void pool_each(const struct pool *p, void *arg,
               void (*fn)(void *arg, const struct model *m, const char *state, const struct pool_about *about));
unsigned pool_n_workers(const struct pool *p);

#endif
