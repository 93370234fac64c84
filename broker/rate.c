/* SPDX-License-Identifier: Apache-2.0
 *
 * Rates per caller: see rate.h. Sixty buckets of one second each; a bucket is emptied when its second
 * comes round again.
 *
 * Side: broker. Trusts: its caller's clock to be monotonic. Owns: nothing but the table.
 */
#include "broker/rate.h"

#include <stddef.h>
#include <string.h>

static struct rate_caller *find(struct rate *r, uint32_t uid)
{
	for (size_t i = 0; i < RATE_CALLERS && r->callers[i].is_used; i++)
		if (r->callers[i].uid == uid)
			return &r->callers[i];
	return NULL;
}

/* A free place, or that of the one who has nothing in flight and was quiet for longest. Places are used
 * from the front and never given back, so the first free one ends a search. */
static struct rate_caller *place(struct rate *r)
{
	struct rate_caller *oldest = NULL;
	for (size_t i = 0; i < RATE_CALLERS; i++) {
		struct rate_caller *c = &r->callers[i];
		if (!c->is_used)
			return c;
		if (!c->in_flight && (!oldest || c->last_s < oldest->last_s))
			oldest = c;
	}
	return oldest;
}

/* Empties the seconds that have passed since the last look. */
static void advance(struct rate_caller *c, int64_t now_s)
{
	int64_t passed = now_s - c->last_s;
	if (passed > RATE_SECONDS)
		passed = RATE_SECONDS;
	for (int64_t i = 1; i <= passed; i++) {
		uint32_t *bucket = &c->seconds[(c->last_s + i) % RATE_SECONDS];
		c->total -= *bucket;
		*bucket = 0;
	}
	if (passed == RATE_SECONDS)
		memset(c->seconds, 0, sizeof c->seconds), c->total = 0;
	if (now_s > c->last_s)
		c->last_s = now_s;
}

static struct rate_caller *get(struct rate *r, uint32_t uid, int64_t now_s)
{
	struct rate_caller *c = find(r, uid);
	if (!c && (c = place(r)))
		*c = (struct rate_caller){ .uid = uid, .last_s = now_s, .is_used = 1 };
	if (c)
		advance(c, now_s);
	return c;
}

void rate_count(struct rate *r, uint32_t uid, int64_t now_s)
{
	struct rate_caller *c = get(r, uid, now_s);
	if (c) {
		c->seconds[c->last_s % RATE_SECONDS]++;
		c->total++;
	}
}

uint32_t rate_minute(struct rate *r, uint32_t uid, int64_t now_s)
{
	struct rate_caller *c = get(r, uid, now_s);
	return c ? c->total : UINT32_MAX; /* every place is taken by a caller with calls in flight: say no */
}

uint32_t rate_in_flight(struct rate *r, uint32_t uid)
{
	struct rate_caller *c = find(r, uid);
	return c ? c->in_flight : 0;
}

void rate_begin(struct rate *r, uint32_t uid, int64_t now_s)
{
	struct rate_caller *c = get(r, uid, now_s);
	if (c)
		c->in_flight++;
}

void rate_end(struct rate *r, uint32_t uid)
{
	struct rate_caller *c = find(r, uid);
	if (c && c->in_flight)
		c->in_flight--;
}
