/* SPDX-License-Identifier: Apache-2.0
 *
 * See quarantine.h. Side: broker. Trusts: nothing. Owns: the table.
 */
#include "broker/quarantine.h"

#include <string.h>

static const struct quarantine_row *row_find(const struct quarantine *q, const uint8_t digest[HASH_BYTES])
{
	for (unsigned i = 0; i < QUARANTINE_MODELS; i++)
		if (q->rows[i].is_used && !memcmp(q->rows[i].digest, digest, HASH_BYTES))
			return &q->rows[i];
	return NULL;
}

static int64_t last_ms(const struct quarantine_row *r)
{
	int64_t death = r->n_deaths ? r->deaths_ms[r->n_deaths - 1] : 0;
	return r->until_ms > death ? r->until_ms : death;
}

/* Its row, or the one that was quiet for longest: a quarantine that lasts goes last. */
static struct quarantine_row *row_of(struct quarantine *q, const uint8_t digest[HASH_BYTES])
{
	struct quarantine_row *found = (struct quarantine_row *)(uintptr_t)row_find(q, digest), *oldest = &q->rows[0];
	for (unsigned i = 0; !found && i < QUARANTINE_MODELS; i++) {
		struct quarantine_row *r = &q->rows[i];
		if (!r->is_used)
			found = r;
		else if (last_ms(r) < last_ms(oldest))
			oldest = r;
	}
	found = found ? found : oldest;
	if (!found->is_used || memcmp(found->digest, digest, HASH_BYTES)) {
		*found = (struct quarantine_row){ .is_used = 1 };
		memcpy(found->digest, digest, HASH_BYTES);
	}
	return found;
}

/* The deaths within the window. */
static unsigned recent(const struct quarantine *q, const struct quarantine_row *r, int64_t now_ms)
{
	unsigned n = 0;
	for (unsigned i = 0; i < r->n_deaths; i++)
		n += r->deaths_ms[i] > now_ms - q->window_ms;
	return n;
}

static void death_add(struct quarantine_row *r, int64_t now_ms)
{
	if (r->n_deaths == QUARANTINE_DEATHS) {
		memmove(r->deaths_ms, r->deaths_ms + 1, sizeof r->deaths_ms - sizeof r->deaths_ms[0]);
		r->n_deaths--;
	}
	r->deaths_ms[r->n_deaths++] = now_ms;
}

static int64_t doubled(int64_t first, unsigned times, int64_t most)
{
	int64_t ms = first;
	while (times-- && ms < most)
		ms *= 2;
	return ms < most ? ms : most;
}

int64_t quarantine_death(struct quarantine *q, const uint8_t digest[HASH_BYTES], int64_t now_ms)
{
	if (!q->deaths)
		return 0;
	struct quarantine_row *r = row_of(q, digest);
	if (last_ms(r) < now_ms - QUARANTINE_MOST_MS)
		r->n_times = 0;
	death_add(r, now_ms);
	if (recent(q, r, now_ms) < q->deaths)
		return 0;
	int64_t ms = doubled(q->first_ms, r->n_times++, q->first_ms > QUARANTINE_MOST_MS ? q->first_ms : QUARANTINE_MOST_MS);
	r->until_ms = now_ms + ms;
	r->n_deaths = 0; /* what comes after it is counted anew */
	return ms;
}

int64_t quarantine_left_ms(const struct quarantine *q, const uint8_t digest[HASH_BYTES], int64_t now_ms)
{
	const struct quarantine_row *r = row_find(q, digest);
	return r && r->until_ms > now_ms ? r->until_ms - now_ms : 0;
}

int64_t quarantine_pause_ms(const struct quarantine *q, const uint8_t digest[HASH_BYTES], int64_t now_ms)
{
	const struct quarantine_row *r = row_find(q, digest);
	unsigned n = r ? recent(q, r, now_ms) : 0;
	if (n < 2)
		return 0;
	int64_t until = last_ms(r) + doubled(QUARANTINE_PAUSE_FIRST_MS, n - 2, QUARANTINE_PAUSE_MOST_MS);
	return until > now_ms ? until - now_ms : 0;
}
