/* SPDX-License-Identifier: Apache-2.0
 *
 * How often each caller has called in the last minute, and how many calls it has in flight: what policy
 * sees as context.rate. Fixed memory; the caller that was quiet for longest makes room for a new one.
 *
 * Side: broker. Trusts: its caller's clock. Owns: the table.
 */
#ifndef FUMEHOOD_BROKER_RATE_H
#define FUMEHOOD_BROKER_RATE_H

#include <stdint.h>

#define RATE_CALLERS 1024
#define RATE_SECONDS 60

struct rate_caller {
	uint32_t uid;
	uint32_t in_flight;
	uint32_t total;                   /* sum of the seconds below */
	uint32_t seconds[RATE_SECONDS];
	int64_t last_s;                   /* the newest second that is counted */
	uint8_t is_used;
};

struct rate {
	struct rate_caller callers[RATE_CALLERS];
};

/* Calls in the minute that ends at now_s (monotonic seconds), this one included when it is counted
 * first; *in_flight as of now. */
void rate_count(struct rate *r, uint32_t uid, int64_t now_s);
uint32_t rate_minute(struct rate *r, uint32_t uid, int64_t now_s);
uint32_t rate_in_flight(struct rate *r, uint32_t uid);
void rate_begin(struct rate *r, uint32_t uid, int64_t now_s);
void rate_end(struct rate *r, uint32_t uid);

#endif
