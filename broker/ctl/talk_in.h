/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to talk.c, talk_start.c and talk_receipt.c.
 * Side: cli. Trusts: nothing. Owns: struct talk.
 */
#ifndef FUMEHOOD_CTL_TALK_IN_H
#define FUMEHOOD_CTL_TALK_IN_H

#include "broker/ctl/talk.h"
#include "proto/hash.h"
#include "proto/note.h"

#include <limits.h>

struct talk {
	int fd;
	struct frame_rx rx;
	uint64_t next_id;
	Fumehood__Welcome *welcome;
	struct note_key log_key;
};

/* Starts fumehood-broker --private on this directory and waits until it listens or says why not.
 * Errors: ERR_BUSY (another has the directory: connect to it), the broker's own, ERR_IO. */
MUST_CHECK int broker_start(const char *state_dir, struct err *e);

/* What a receipt must say; NULL: not compared. */
struct receipt_want {
	const char *what;               /* for errors: "answer" */
	const uint8_t *model_digest;    /* HASH_BYTES */
	const struct iovec *request;    /* parts of the request's body */
	unsigned n_request;
	const uint8_t *output;          /* the answer's tail */
	size_t output_len;
};
/* Errors: ERR_LOG. */
MUST_CHECK int receipt_check(const struct note_key *key, const Fumehood__Receipt *r, const struct receipt_want *want,
                             struct err *e);

#endif
