/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's part, played without a broker: a jailer, workers with an attempt as their "model", proof, the
 * end. `fumehood doctor`, jail_run and jail_try are made of it. It never sends LOAD, so no program that it starts
 * looks at a model.
 *
 * Side: cli (doctor), tests. Trusts: its caller. Owns: the jailer and the workers it starts.
 */
#ifndef FUMEHOOD_SANDBOX_HARNESS_H
#define FUMEHOOD_SANDBOX_HARNESS_H

#include "sandbox/outside/attempt.h"
#include "sandbox/sandbox.h"

#include <stdbool.h>
#include <stdint.h>

#define JAILER_ARGS_MAX 12

struct harness_options {
	const char *jailer, *program;
	bool rootless, walled, writable_model, exec_model;
	bool use_template;    /* workers are forked from the program's template */
	bool use_spare;       /* each worker was kept ready before; also tries what must not work with spares */
	bool drop_listener;   /* closes the listener: the broker that is gone */
	bool violation_kill;
	bool unproved;        /* a layer was left out on purpose: no proof, no last limits */
	bool keep_limits;     /* with unproved: the last limits are set all the same */
	uint32_t uid, gid;
	unsigned threads, cpu;
	uint64_t arena, optional;
	int deadline_ms;
	char *jailer_args[JAILER_ARGS_MAX];
	unsigned n_jailer_args;
};

struct harness {
	struct harness_options o;
	struct jail *jail;
	struct spares *spares;
	int proc_fd, program_fd;
};

struct outcome {
	struct worker_end end;
	enum verdict verdict;
	bool returned, reported;
	int64_t ret;
	struct violation violation;
	int64_t report_us;    /* from the word to go to the report's arrival */
	uint64_t layers, missing;
	enum fds_seen fds_seen;
	int64_t locked_us;    /* from the request to proved */
};

int64_t harness_now_us(void);
/* Defaults: the programs beside this one's folder, as the caller's user. self: room for two paths. */
void harness_defaults(struct harness_options *o, char self[2][256]);
MUST_CHECK int harness_open(struct harness *h, struct err *e);
void harness_close(struct harness *h);

/* ATTEMPT: a name of attack.c ("spin"), "=NAME" (one of sandbox/outside/attempt.c), "early NR ..." (the call
 * before the lock, under the start filter), "thread NR ..." or "NR[/x32|/i386] [A0 .. A5]" with C integers,
 * @TEXT (a pointer to that text) or &N (a pointer to N zero bytes). False: it is none. */
bool attempt_parse(const char *attempt, char blob[ATTEMPT_BLOB_BYTES]);

/* The same with a call's name in place of its number ("open @/etc/passwd"); other words stay as they are. False: it
 * does not fit. */
bool attempt_spell(const char *line, char *out, size_t cap);

/* Starts and proves a worker with this attempt. */
MUST_CHECK int harness_start(struct harness *h, const char *blob, struct worker *w, struct outcome *r, struct err *e);
/* Says go (or, with end, closes the channel) and follows it to its end. The worker is reaped and closed. */
MUST_CHECK int harness_follow(struct harness *h, struct worker *w, bool end, struct outcome *r, struct err *e);

/* src as the inside of a JSON string. Returns out. */
char *json_text(char *out, size_t cap, const char *src);

#endif
