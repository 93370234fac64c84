/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls may share a worker. Policy says it with an annotation on the permits that let a call pass,
 * @isolation("shared"), @isolation("tenant") or @isolation("call"); the configuration's key `isolation` stands
 * for those without one. Of several permits the strictest counts.
 *
 * Side: broker. Trusts: the operator's policy. Owns: the names.
 */
#ifndef FUMEHOOD_BROKER_ISOLATION_H
#define FUMEHOOD_BROKER_ISOLATION_H

/* Stricter ones are larger. */
enum isolation {
	ISOLATION_SHARED, /* one worker per model; scrubbed between principals */
	ISOLATION_TENANT, /* one per model and principal */
	ISOLATION_CALL,   /* a worker that has served nobody, and ends with the call */
	ISOLATION__MAX
};

#define ISOLATION_WORDS "shared|tenant|call" /* in the order above */

const char *isolation_name(enum isolation i);
/* ISOLATION__MAX for any other text; NULL is fine. */
enum isolation isolation_from_name(const char *name);

#endif
