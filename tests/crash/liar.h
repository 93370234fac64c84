/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk in memory that loses its power: the store of audit/store.h with everything a real disk may do to
 * what was not synced. Names and contents are kept twice, as seen now and as durable.
 *
 * - A write to a file opened as STORE_WRITE or STORE_CREATE is durable when it returns. When the power goes
 *   during it, any choice of its 512-byte sectors has arrived.
 * - Other writes wait for sync. Until then any choice of their sectors, of any number of writes, arrives.
 * - A new name or a rename waits for sync_dir of its folder; of those that wait the first few arrive.
 * - The power goes at operation number N; from then on everything fails.
 *
 * Side: tests. Trusts: the seed. Owns: the disk.
 */
#ifndef FUMEHOOD_TESTS_LIAR_H
#define FUMEHOOD_TESTS_LIAR_H

#include "audit/store.h"

#include <stdbool.h>

struct liar; /* one disk */

/* The power of all disks of one machine. */
struct power {
	uint64_t random;      /* state of the generator: the seed */
	uint64_t operations;  /* so far */
	uint64_t goes_at;     /* at this operation; 0: never */
	uint64_t commits, goes_at_commit; /* the same, counting durable writes only: in the middle of one */
	bool is_off;
};
uint64_t power_random(struct power *p, uint64_t below);

struct liar *liar_new(struct power *p);
void liar_free(struct liar *l);
struct store *liar_store(struct liar *l);
/* The power comes back: what was not durable is decided. Open files are closed. */
void liar_restart(struct liar *l);
/* Writes the disk's files as seen now below a real folder. */
void liar_dump(struct liar *l, const char *path);

#endif
