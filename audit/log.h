/* SPDX-License-Identifier: Apache-2.0
 *
 * A log's folder opened for reading: shared by reader.c and verify.c only.
 * Side: cli. Trusts: nothing. Owns: the folder's descriptor.
 */
#ifndef FUMEHOOD_AUDIT_LOG_H
#define FUMEHOOD_AUDIT_LOG_H

#include "audit/audit.h"

#define LOG_VKEY "log.vkey"

struct audit_log {
	int dirfd;            /* the store's, for listing */
	struct store *store;
	struct note_key key;  /* the one that was asked for, else log.vkey's */
	bool is_given;        /* the key was asked for */
	bool has_vkey;        /* log.vkey is there and well formed */
	struct note_key vkey; /* then */
	uint64_t last_segment, last_written_ns; /* audit_log_has_changed */
};

/* A log may be written while it is read, and then a batch or tile can be seen half. Real damage is the
 * same twice. Runs try() until it is good, fails otherwise than by a fault, or finds the same fault
 * again. */
typedef int log_try_fn(void *arg, struct fault *f, struct err *e);
MUST_CHECK int log_try(log_try_fn *try, void *arg, struct fault *f, struct err *e);

#endif
