/* SPDX-License-Identifier: Apache-2.0
 *
 * The extension types' functions: one table row per function, argument kinds checked in one place.
 * Side: broker, cli. Trusts: nothing. Owns: the table.
 *
 * To add a function: a row in ext.c and its body in the type's ext_*.c; parser, evaluator, printer
 * and the reader of entities find it there.
 */
#ifndef FUMEHOOD_POLICY_EXT_H
#define FUMEHOOD_POLICY_EXT_H

#include "policy/value.h"

#define EXT_MAX_ARGS 2

/* One call: arguments in, value or message out. */
struct ext_call {
	struct arena *arena;
	const struct val *args;
	uint32_t n_args;
	struct val out;
	bool no_memory; /* the call failed for want of memory, not for its arguments */
	char *msg; /* filled when the call fails */
	size_t msg_cap;
};

struct ext_fn {
	const char *name;
	bool method; /* receiver.name(..), else name(..) */
	uint8_t n_args; /* the receiver counts */
	uint8_t kinds[EXT_MAX_ARGS];
	bool (*run)(struct ext_call *c); /* argument number and kinds are as the row says */
};

/* The row of a name, or -1. */
int ext_find(const char *name, size_t len);
const struct ext_fn *ext_row(int fn);

/* Checks number and kinds of the arguments, then runs. False: c->msg says why. */
bool ext_run(int fn, struct ext_call *c);

/* For the bodies: fills msg with `text` followed by why; returns false. */
bool ext_bad_text(struct ext_call *c, const char *why);
bool ext_bad(struct ext_call *c, const char *why);

/* Text to value; false when the text is not one. */
bool ip_parse(const char *s, size_t len, struct ip *out);
bool decimal_parse(const char *s, size_t len, int64_t *out, const char **why);
bool datetime_parse(const char *s, size_t len, int64_t *out_ms, const char **why);
bool duration_parse(const char *s, size_t len, int64_t *out_ms, const char **why);

/* ext_ip.c */
bool ext_ip(struct ext_call *c);
bool ext_is_ipv4(struct ext_call *c);
bool ext_is_ipv6(struct ext_call *c);
bool ext_is_loopback(struct ext_call *c);
bool ext_is_multicast(struct ext_call *c);
bool ext_is_in_range(struct ext_call *c);
/* ext_decimal.c */
bool ext_decimal(struct ext_call *c);
bool ext_less(struct ext_call *c);
bool ext_less_equal(struct ext_call *c);
bool ext_greater(struct ext_call *c);
bool ext_greater_equal(struct ext_call *c);
/* ext_time.c */
bool ext_datetime(struct ext_call *c);
bool ext_duration(struct ext_call *c);
bool ext_offset(struct ext_call *c);
bool ext_duration_since(struct ext_call *c);
bool ext_to_date(struct ext_call *c);
bool ext_to_time(struct ext_call *c);
bool ext_to_milliseconds(struct ext_call *c);
bool ext_to_seconds(struct ext_call *c);
bool ext_to_minutes(struct ext_call *c);
bool ext_to_hours(struct ext_call *c);
bool ext_to_days(struct ext_call *c);

#endif
