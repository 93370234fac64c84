/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker as a whole: what its parts share. One per process; made by broker.c, which is the list of
 * steps of its start and its end.
 *
 * Side: broker. Trusts: nothing. Owns: everything below, until the end of main.
 */
#ifndef FUMEHOOD_BROKER_BROKER_H
#define FUMEHOOD_BROKER_BROKER_H

#include "broker/cgroup.h"
#include "broker/conf.h"
#include "broker/facts.h"
#include "broker/log.h"
#include "broker/loop.h"
#include "broker/models.h"
#include "broker/place.h"
#include "broker/pool.h"

struct client;
struct call;

/* A helper program in memory, sealed. */
struct program {
	int fd;
	uint64_t bytes;
	char sha256[HASH_HEX_BYTES + 1];
};

struct broker {
	struct conf conf;
	bool is_private;             /* started for one user by `fumehood run` */
	uint32_t owner_uid;          /* who started it */
	struct place_ids ids;
	struct place place;
	int proc_fd, trust_fd;
	struct program worker, attack;
	struct loop *loop;
	struct jail *jail;
	struct log *log;
	struct trust *trust;         /* NULL: no trust.note */
	struct trust_state *trust_state;
	struct models *models;
	struct facts *facts;
	struct cgroups *cgroups;     /* NULL: a private broker, or switched off */
	char cgroups_text[CGROUP_TEXT_BYTES];
	struct pool *pool;
	struct pool_about wall;      /* of the last worker that was proved: layers, level, core */
	char log_vkey[NOTE_VKEY_MAX_BYTES];

	struct client *clients;
	unsigned n_clients;
	struct call *orphans;        /* calls whose client has left */
	uint64_t n_calls, n_refusals;
	uint64_t started_us;
	uint64_t bodies_max_bytes;   /* of requests and answers in memory, all clients together */

	struct loop_watch listener, signals, jailer;
	struct loop_timer alone;     /* private: nobody has been here for a while */
	struct loop_timer drain, pause;
	struct log_wait booted;
	int64_t drain_until_ms;
	bool is_draining, is_booted;
	int ready_fd;
	struct err fatal;            /* why the broker ends, code ERR_OK for a wished end */
};

/* Ends the loop at the end of this turn; the first reason counts. */
void broker_fail(struct broker *b, const struct err *e);
/* Told by a client that has gone. */
void broker_client_gone(struct broker *b);
/* One line on standard error: "fumehood-broker: ...". Outside text must be escaped. */
void broker_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
