/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's end of the log: appends in flight, and who waits for which. The broker is the only one
 * who appends, so it knows each record's index before the auditor says it; an answer with another index
 * is a failure of the log.
 *
 * Records that nobody waits for (INTENT, LOADED by itself, ...) are held back for a moment and go out
 * with the next one that somebody waits for, so that an ordinary call costs one commit.
 *
 * When the log fails, it has failed for good: every waiter and every later append is refused, and the
 * owner is told once.
 *
 * Side: broker. Trusts: the auditor's word that a record is durable. Owns: the channel.
 */
#ifndef FUMEHOOD_BROKER_LOG_H
#define FUMEHOOD_BROKER_LOG_H

#include "audit/audit.h"
#include "broker/loop.h"
#include "proto/fumehood.pb-c.h"

struct log;

/* Somebody who waits for a record to be durable. Embedded; set fn and arg. */
struct log_wait {
	/* s is the receipt's material, valid during the call. Not called when the log fails. */
	void (*fn)(void *arg, const struct audit_stored *s);
	void *arg;
	uint64_t index;
	struct log_wait *next;
	bool is_on;
};

struct log_conf {
	struct loop *loop;
	int channel;             /* taken */
	void *arg;
	void (*failed)(void *arg, const struct err *e); /* once */
};

/* Waits for the auditor's first word, at most timeout_ms. The channel is taken also on an error.
 * Errors: ERR_LOG (with the auditor's text), ERR_DEADLINE, ERR_PROTOCOL. */
MUST_CHECK int log_open(const struct log_conf *conf, int timeout_ms, struct log **out, struct err *e);
void log_close(struct log *l);

const struct audit_opened *log_opened(const struct log *l);
uint64_t log_size(const struct log *l);             /* records appended so far, durable or not */
const char *log_checkpoint(const struct log *l);    /* of the last record that somebody waited for; "" at first */

/* Appends a record; *index (may be NULL) is its place. w NULL: nobody waits. Nothing is told through the
 * return value: a failure reaches everybody through conf.failed, at the end of the turn. */
void log_append(struct log *l, const Fumehood__Record *record, struct log_wait *w, uint64_t *index);
/* Stops waiting: fn is not called. */
void log_forget(struct log *l, struct log_wait *w);

/* Asks for a clean end and waits for it: all is published. For the end of main, outside the loop.
 * Errors: ERR_LOG, ERR_DEADLINE. */
MUST_CHECK int log_seal(struct log *l, int timeout_ms, struct err *e);

#endif
