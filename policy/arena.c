/* SPDX-License-Identifier: Apache-2.0
 *
 * The bump allocator: see arena.h.
 * Side: broker, cli. Trusts: nothing but malloc. Owns: the chunks.
 */
#include "policy/arena.h"

#include "proto/mem.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_MIN_BYTES 16384
#define CHUNK_MAX_BYTES ((size_t)1 << 20)

struct arena_chunk {
	struct arena_chunk *next;
	size_t cap, used;
	_Alignas(16) unsigned char data[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
	*a = (struct arena){.max_bytes = max_bytes};
}

void arena_free(struct arena *a)
{
	while (a->first) {
		struct arena_chunk *next = a->first->next;
		free(a->first);
		a->first = next;
	}
	a->cur = NULL;
	a->total_bytes = 0;
}

/* Chunks double, so that a world of any size has few of them. */
static size_t chunk_size(const struct arena *a, size_t need)
{
	size_t want = a->total_bytes;
	if (want < CHUNK_MIN_BYTES)
		want = CHUNK_MIN_BYTES;
	if (want > CHUNK_MAX_BYTES)
		want = CHUNK_MAX_BYTES;
	if (want > a->max_bytes - a->total_bytes)
		want = a->max_bytes - a->total_bytes;
	return want > need ? want : need;
}

static struct arena_chunk *chunk_add(struct arena *a, size_t need)
{
	if (need > a->max_bytes - a->total_bytes)
		return NULL;
	size_t cap = chunk_size(a, need);
	struct arena_chunk *c = malloc(sizeof *c + cap);
	if (!c)
		return NULL;
	c->cap = cap;
	c->next = a->cur ? a->cur->next : a->first;
	if (a->cur)
		a->cur->next = c;
	else
		a->first = c;
	a->total_bytes += cap;
	return c;
}

static void *chunk_take(struct arena *a, size_t bytes)
{
	struct arena_chunk *next = a->cur ? a->cur->next : a->first;
	if (!next || next->cap < bytes)
		next = chunk_add(a, bytes);
	if (!next)
		return NULL;
	a->cur = next;
	next->used = bytes;
	return next->data;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
	size_t bytes;
	if (!ck_get_size(ck_align(ck_mul(ck_u64(n), ck_u64(size)), 16), a->max_bytes, &bytes))
		return NULL;
	struct arena_chunk *c = a->cur;
	if (!c || bytes > c->cap - c->used)
		return chunk_take(a, bytes);
	void *p = c->data + c->used;
	c->used += bytes;
	return p;
}

char *arena_copy(struct arena *a, const void *src, size_t len)
{
	char *p = len < SIZE_MAX ? arena_alloc(a, len + 1, 1) : NULL;
	if (!p)
		return NULL;
	if (len)
		memcpy(p, src, len);
	p[len] = 0;
	return p;
}

struct arena_mark arena_mark(const struct arena *a)
{
	return (struct arena_mark){a->cur, a->cur ? a->cur->used : 0};
}

void arena_rewind(struct arena *a, struct arena_mark m)
{
	a->cur = m.chunk;
	if (m.chunk)
		m.chunk->used = m.used;
}
