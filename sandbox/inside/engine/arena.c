/* SPDX-License-Identifier: Apache-2.0
 *
 * A bump allocator over memory that somebody else reserved. There is no free: a caller keeps
 * used_bytes as a mark and goes back to it.
 *
 * Side: inside. Trusts: nobody's sizes (all sums are checked). Owns: nothing.
 */
#include "proto/mem.h"
#include "sandbox/inside/engine/engine.h"

#include "sandbox/inside/engine/poison.h"

#define ARENA_ALIGN 64 /* a cache line and a 512-bit register */

void arena_init(struct arena *a, void *base, size_t cap_bytes)
{
	size_t skip = (ARENA_ALIGN - (uintptr_t)base % ARENA_ALIGN) % ARENA_ALIGN;
	if (skip > cap_bytes)
		skip = cap_bytes;
	*a = (struct arena){ .base = (uint8_t *)base + skip, .cap_bytes = cap_bytes - skip };
	poison(a->base, a->cap_bytes);
}

void *arena_alloc(struct arena *a, size_t n)
{
	size_t end;
	struct ck c = ck_add(ck_u64(a->used_bytes), ck_align(ck_add(ck_u64(n), ck_u64(POISON_GAP)), ARENA_ALIGN));
	if (!ck_get_size(c, a->cap_bytes, &end))
		return NULL;
	void *p = a->base + a->used_bytes;
	poison(p, end - a->used_bytes);
	unpoison(p, n);
	a->used_bytes = end;
	if (end > a->peak_bytes)
		a->peak_bytes = end;
	return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);
	if (p)
		memset(p, 0, n);
	return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t bytes;
	if (!ck_get_size(ck_mul(ck_u64(n), ck_u64(size)), SIZE_MAX, &bytes))
		return NULL;
	return arena_alloc(a, bytes);
}
