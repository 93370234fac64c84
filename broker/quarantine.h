/* SPDX-License-Identifier: Apache-2.0
 *
 * Models whose workers keep dying. Each death of a worker by its own doing counts against the model's digest:
 * from the second one within the window on, the next worker waits a little longer each time; at the configured
 * number the model is quarantined, and for twice as long each time it comes back to that. A model that was quiet
 * for as long as the longest quarantine starts from nothing. Fixed memory; nothing of it outlives the broker.
 *
 * Side: broker. Trusts: its caller's clock. Owns: the table.
 */
#ifndef FUMEHOOD_BROKER_QUARANTINE_H
#define FUMEHOOD_BROKER_QUARANTINE_H

#include "proto/hash.h"

#include <stdint.h>

#define QUARANTINE_MODELS 256
#define QUARANTINE_DEATHS 32             /* remembered per model: the most that can be asked for */
#define QUARANTINE_PAUSE_FIRST_MS 50     /* before the worker after the second death; doubles */
#define QUARANTINE_PAUSE_MOST_MS 5000
#define QUARANTINE_MOST_MS 3600000

struct quarantine_row {
	uint8_t digest[HASH_BYTES];
	uint8_t is_used;
	unsigned n_deaths;                   /* in deaths_ms, the newest last */
	int64_t deaths_ms[QUARANTINE_DEATHS];
	int64_t until_ms;                    /* quarantined; 0: never was */
	unsigned n_times;                    /* how often, one after the other */
};

struct quarantine {
	unsigned deaths;                     /* that quarantine a model; 0: never, at most QUARANTINE_DEATHS */
	int64_t window_ms, first_ms;
	struct quarantine_row rows[QUARANTINE_MODELS];
};

/* A worker of this model has died. Returns the ms for which the model is quarantined now, 0 when it is not. */
int64_t quarantine_death(struct quarantine *q, const uint8_t digest[HASH_BYTES], int64_t now_ms);
/* How much longer it is quarantined; 0: it is not. */
int64_t quarantine_left_ms(const struct quarantine *q, const uint8_t digest[HASH_BYTES], int64_t now_ms);
/* How long its next worker must wait. */
int64_t quarantine_pause_ms(const struct quarantine *q, const uint8_t digest[HASH_BYTES], int64_t now_ms);

#endif
