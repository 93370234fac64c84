/* SPDX-License-Identifier: Apache-2.0
 *
 * The message table as C: kinds, roles, rows (see msg.def).
 * Side: both. Trusts: nothing. Owns: the derived enum and lookup.
 */
#ifndef FUMEHOOD_PROTO_MSG_H
#define FUMEHOOD_PROTO_MSG_H

#include "proto/limits.h"

#include <stdint.h>

enum role { ROLE_CLIENT, ROLE_BROKER, ROLE_WORKER, ROLE_JAILER, ROLE_AUDITOR, ROLE__MAX };
enum msg_form { FORM_FIXED, FORM_PB, FORM_RES };

enum msg_kind {
#define MSG(name, number, from, to, form, hmin, hmax, tmax, fmin, fmax) MSG_##name = number,
#include "proto/msg.def"
#undef MSG
};

struct msg_row {
	uint16_t kind;
	uint8_t from, to; /* enum role */
	uint8_t form;     /* enum msg_form */
	uint8_t fds_min, fds_max;
	uint64_t head_min, head_max, tail_max;
	uint64_t body_min, body_max; /* what a frame header may declare */
	const char *name;
};

/* The row of a kind; NULL when there is none. */
const struct msg_row *msg_find(uint16_t kind);
const char *msg_name(uint16_t kind); /* "INFER"; "?" for an unknown kind */
const char *role_name(enum role r);

/* All rows, for tests and documents. */
const struct msg_row *msg_rows(unsigned *n);

#endif
