/* SPDX-License-Identifier: Apache-2.0
 *
 * The message table as data.
 * Side: both (the worker links it). Trusts: nothing. Owns: nothing.
 */
#include "proto/msg.h"

#include <stddef.h>

#define PB_PREFIX 8u
#define RES_PREFIX 64u
#define ALIGNED(n) (((n) + 63u) & ~(uint64_t)63)
#define CAP(n) ((n) > LIMIT_FRAME_BODY_BYTES ? LIMIT_FRAME_BODY_BYTES : (n))

#define BODY_MIN_FIXED(hmin) (hmin)
#define BODY_MIN_PB(hmin) (PB_PREFIX + (hmin))
#define BODY_MIN_RES(hmin) (RES_PREFIX + PB_PREFIX + (hmin))
#define BODY_MAX_FIXED(hmax, tmax) (hmax)
#define BODY_MAX_PB(hmax, tmax) CAP(ALIGNED(PB_PREFIX + (hmax)) + (tmax))
#define BODY_MAX_RES(hmax, tmax) CAP(RES_PREFIX + ALIGNED(PB_PREFIX + (hmax)) + (tmax))

static const struct msg_row rows[] = {
#define MSG(name, number, from, to, form, hmin, hmax, tmax, fmin, fmax)                              \
	{ number, ROLE_##from, ROLE_##to, FORM_##form, fmin, fmax, hmin, hmax, tmax,                     \
	  BODY_MIN_##form(hmin), BODY_MAX_##form(hmax, tmax), #name },
#include "proto/msg.def"
#undef MSG
};

/* The group of a number names its direction: the rule is checked, not only written down. */
#define GROUP_OF(from, to)                                                                          \
	(ROLE_##from == ROLE_CLIENT ? 1 : ROLE_##from == ROLE_WORKER ? 4 :                              \
	 ROLE_##from == ROLE_JAILER ? 6 : ROLE_##from == ROLE_AUDITOR ? 8 :                             \
	 ROLE_##to == ROLE_CLIENT ? 2 : ROLE_##to == ROLE_WORKER ? 3 : ROLE_##to == ROLE_JAILER ? 5 : 7)
#define MSG(name, number, from, to, form, hmin, hmax, tmax, fmin, fmax)                              \
	_Static_assert(((number) >> 8) == GROUP_OF(from, to), #name ": wrong number group");
#include "proto/msg.def"
#undef MSG

const struct msg_row *msg_find(uint16_t kind)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].kind == kind)
			return &rows[i];
	return NULL;
}

const char *msg_name(uint16_t kind)
{
	const struct msg_row *r = msg_find(kind);
	return r ? r->name : "?";
}

const char *role_name(enum role r)
{
	static const char *const names[ROLE__MAX] = { "client", "broker", "worker", "jailer", "auditor" };
	return (unsigned)r < ROLE__MAX ? names[r] : "?";
}

const struct msg_row *msg_rows(unsigned *n)
{
	*n = sizeof rows / sizeof rows[0];
	return rows;
}
