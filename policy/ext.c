/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of extension functions and the checks that all of them share.
 * Side: broker, cli. Trusts: nothing. Owns: nothing.
 */
#include "policy/ext.h"

#include "proto/err.h"

#include <stdio.h>
#include <string.h>

static const struct ext_fn fns[] = {
	{"ip", false, 1, {VAL_STRING}, ext_ip},
	{"decimal", false, 1, {VAL_STRING}, ext_decimal},
	{"datetime", false, 1, {VAL_STRING}, ext_datetime},
	{"duration", false, 1, {VAL_STRING}, ext_duration},
	{"isIpv4", true, 1, {VAL_IP}, ext_is_ipv4},
	{"isIpv6", true, 1, {VAL_IP}, ext_is_ipv6},
	{"isLoopback", true, 1, {VAL_IP}, ext_is_loopback},
	{"isMulticast", true, 1, {VAL_IP}, ext_is_multicast},
	{"isInRange", true, 2, {VAL_IP, VAL_IP}, ext_is_in_range},
	{"lessThan", true, 2, {VAL_DECIMAL, VAL_DECIMAL}, ext_less},
	{"lessThanOrEqual", true, 2, {VAL_DECIMAL, VAL_DECIMAL}, ext_less_equal},
	{"greaterThan", true, 2, {VAL_DECIMAL, VAL_DECIMAL}, ext_greater},
	{"greaterThanOrEqual", true, 2, {VAL_DECIMAL, VAL_DECIMAL}, ext_greater_equal},
	{"offset", true, 2, {VAL_DATETIME, VAL_DURATION}, ext_offset},
	{"durationSince", true, 2, {VAL_DATETIME, VAL_DATETIME}, ext_duration_since},
	{"toDate", true, 1, {VAL_DATETIME}, ext_to_date},
	{"toTime", true, 1, {VAL_DATETIME}, ext_to_time},
	{"toMilliseconds", true, 1, {VAL_DURATION}, ext_to_milliseconds},
	{"toSeconds", true, 1, {VAL_DURATION}, ext_to_seconds},
	{"toMinutes", true, 1, {VAL_DURATION}, ext_to_minutes},
	{"toHours", true, 1, {VAL_DURATION}, ext_to_hours},
	{"toDays", true, 1, {VAL_DURATION}, ext_to_days},
};
#define N_FNS ((int)(sizeof fns / sizeof fns[0]))

int ext_find(const char *name, size_t len)
{
	for (int i = 0; i < N_FNS; i++)
		if (strlen(fns[i].name) == len && memcmp(fns[i].name, name, len) == 0)
			return i;
	return -1;
}

const struct ext_fn *ext_row(int fn)
{
	return &fns[fn];
}

bool ext_run(int fn, struct ext_call *c)
{
	const struct ext_fn *f = &fns[fn];
	if (c->n_args != f->n_args) {
		snprintf(c->msg, c->msg_cap, "wrong number of arguments for `%s`: expected %u, got %u", f->name,
				 f->n_args, c->n_args);
		return false;
	}
	for (uint32_t i = 0; i < c->n_args; i++) {
		if (c->args[i].kind == f->kinds[i])
			continue;
		snprintf(c->msg, c->msg_cap, "type error in `%s`: expected %s, got %s", f->name,
				 val_kind_name(f->kinds[i]), val_kind_name(c->args[i].kind));
		return false;
	}
	return f->run(c);
}

bool ext_bad(struct ext_call *c, const char *why)
{
	snprintf(c->msg, c->msg_cap, "%s", why);
	return false;
}

bool ext_bad_text(struct ext_call *c, const char *why)
{
	char text[80];
	err_escape(text, sizeof text, c->args[0].s, c->args[0].len);
	snprintf(c->msg, c->msg_cap, "`%s` %s", text, why);
	return false;
}
