/* SPDX-License-Identifier: Apache-2.0
 *
 * Records and the messages' common parts, built on the stack: a protobuf struct and the room for what it
 * points to, in one. Nothing is allocated; all pointers are into the room or into what the caller gave.
 *
 * Side: broker. Trusts: nothing; outside text was escaped before. Owns: nothing.
 */
#ifndef FUMEHOOD_BROKER_RECORD_H
#define FUMEHOOD_BROKER_RECORD_H

#include "broker/broker.h"
#include "proto/fumehood.pb-c.h"

/* Who asks. Copied into calls, because a call may outlive its connection. */
struct caller {
	uint32_t uid, gid, pid;
	char principal[40];   /* Gate::User::"1000" */
	char client[101];     /* what HELLO said, escaped */
};

struct record_room {
	Fumehood__Record r;
	Fumehood__Caller caller;
	Fumehood__Decision decision;
	Fumehood__WorkerEnd end;
	char *policies[FACTS_NAMES_MAX], *errors[FACTS_NAMES_MAX];
	char *missing[LAYER__MAX], *signers[LIMIT_NOTE_SIGNATURES];
};

/* A record of this kind with what every record says: version, walls (about: of the worker that is
 * concerned, or NULL: as the last one was). */
void record_begin(struct record_room *x, Fumehood__RecordKind kind, const struct broker *b,
                  const struct pool_about *about);
void record_caller(struct record_room *x, const struct caller *c);
void record_model(struct record_room *x, const struct model *m);
void record_decision(struct record_room *x, const struct facts_answer *a);
void record_end(struct record_room *x, enum verdict v, const struct worker_end *end, const char *detail);

struct walls_room {
	Fumehood__Walls w;
	char *standing[LAYER__MAX], *missing[LAYER__MAX];
};
void walls_fill(struct walls_room *x, const struct pool_about *about);

/* Fills end as records and errors have it. */
void worker_end_fill(Fumehood__WorkerEnd *out, enum verdict v, const struct worker_end *end, const char *detail);

/* A receipt from what the auditor stored. *text is malloc'ed and belongs to the caller. salt may be NULL.
 * Errors: ERR_NOMEM. */
MUST_CHECK int receipt_fill(Fumehood__Receipt *out, const struct audit_stored *s, const uint8_t *salt, char **text,
                            struct err *e);

/* protobuf-c's structs have plain pointers for what is only read. */
static inline char *pb_text(const char *s) { return (char *)(uintptr_t)s; }
static inline ProtobufCBinaryData pb_bytes(const void *p, size_t n)
{
	return (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)p };
}

#endif
