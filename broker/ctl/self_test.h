/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers for real, without a broker: does the shipped worker start behind the whole wall here, and what becomes of
 * the attack program in its place, attempt by attempt. Each runs in a child of its own, because as root the child
 * becomes the service's user for good.
 *
 * Side: cli. Trusts: the kernel's word on how each ended. Owns: the children, until they are reaped.
 */
#ifndef FUMEHOOD_CTL_SELF_TEST_H
#define FUMEHOOD_CTL_SELF_TEST_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>

#define SELF_ROWS_MAX 1024

struct self_row {
	const char *id;
	bool dangerous, is_refused;
	char end[12];             /* reported, killed, returned, exited, blocked */
	int signal;
	uint64_t layers;          /* that stood around it */
};

struct self_test {
	struct err error;         /* ERR_OK: it ran to its end */
	uint64_t layers, missing; /* of the last process */
	int64_t locked_us;        /* the worker's, from the request to proved */
	char fds_seen[12];
	unsigned n, n_refused, n_dangerous, n_dangerous_refused;
	struct self_row rows[SELF_ROWS_MAX];
};

struct self_how {
	uint64_t optional_layers;
	bool is_under_filter;     /* a container's own filter answers some calls before ours can report them */
	bool violation_kill;      /* another supervisor listens: refused calls kill without a report */
};

/* Starts the shipped worker on an empty model, proves it and ends it. Freed by self_test_free.
 * Errors: ERR_NOMEM, ERR_IO; what the sandbox says is in (*out)->error. */
MUST_CHECK int self_test_worker(const struct self_how *how, struct self_test **out, struct err *e);
/* Every attempt of the list. */
MUST_CHECK int self_test_attacks(const struct self_how *how, struct self_test **out, struct err *e);
void self_test_free(struct self_test *t); /* NULL is fine */

#endif
