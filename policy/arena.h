/* SPDX-License-Identifier: Apache-2.0
 *
 * A bump allocator with a byte limit, marks and rewinds: one per world, one per request. Rewinding
 * keeps the chunks, so that a request that is reused stops calling malloc.
 *
 * Side: broker, cli. Trusts: its caller's sizes (already checked). Owns: its chunks.
 */
#ifndef FUMEHOOD_POLICY_ARENA_H
#define FUMEHOOD_POLICY_ARENA_H

#include <stddef.h>

struct arena_chunk;
struct arena {
	struct arena_chunk *first, *cur;
	size_t total_bytes, max_bytes;
};
struct arena_mark {
	struct arena_chunk *chunk;
	size_t used;
};

/* An arena that never holds more than max_bytes of chunks. Allocates nothing yet. */
void arena_init(struct arena *a, size_t max_bytes);
void arena_free(struct arena *a);

/* Memory for n objects of size bytes, 16-byte aligned, not zeroed; NULL when the limit or memory is
 * reached, or when the product overflows. n or size 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n, size_t size);

/* A copy of len bytes plus a NUL; NULL as above. */
char *arena_copy(struct arena *a, const void *src, size_t len);

/* Everything allocated after the mark is given back by arena_rewind. */
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m);

#endif
