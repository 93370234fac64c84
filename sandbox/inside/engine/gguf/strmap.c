/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to row numbers: keys, tensors, tokens. Linear probing at most half full; no probe is longer than
 * PROBES_MAX, by refusal, so chosen names cannot make reading or tokenizing slow.
 *
 * Side: inside. Trusts: nothing in a name. Owns: nothing (slots lie in the given arena).
 */
#include "sandbox/inside/engine/gguf/gguf.h"

#include "proto/mem.h"

#define PROBES_MAX 512 /* names that nobody chose stay below 100 at 2^21 rows */

/* FNV-1a, then a finaliser: neighbours differ in their last byte only. */
static uint32_t finish(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdu;
	h ^= h >> 33;
	return (uint32_t)h;
}

static uint32_t hash_of(struct gguf_str s)
{
	uint64_t h = STRMAP_START;
	for (size_t i = 0; i < s.len; i++)
		h = strmap_step(h, s.p[i]);
	return finish(h);
}

static struct gguf_str name_at(const struct strmap *m, uint32_t i)
{
	struct gguf_str s;
	memcpy(&s, m->rows + (size_t)i * m->stride, sizeof s);
	return s;
}

bool strmap_init(struct strmap *m, struct arena *a, const void *rows, size_t stride, size_t n_max)
{
	size_t n = 16;
	while (n < 2 * n_max)
		n *= 2;
	*m = (struct strmap){ .rows = rows, .stride = stride, .mask = (uint32_t)(n - 1) };
	m->slots = arena_array(a, n, sizeof *m->slots);
	if (m->slots)
		memset(m->slots, 0, n * sizeof *m->slots);
	return m->slots != NULL;
}

/* The slot that holds s, or the empty one where it would stand; NULL when the table is crowded. */
static uint64_t *slot_of(const struct strmap *m, struct gguf_str s, uint32_t h)
{
	for (uint32_t k = 0; k < PROBES_MAX; k++) {
		uint64_t *slot = &m->slots[(h + k) & m->mask];
		if (!*slot)
			return slot;
		if (*slot >> 32 == h) {
			struct gguf_str t = name_at(m, (uint32_t)*slot - 1);
			if (t.len == s.len && !memcmp(t.p, s.p, s.len))
				return slot;
		}
	}
	return NULL;
}

int strmap_add(struct strmap *m, uint32_t i, uint32_t *first)
{
	struct gguf_str s = name_at(m, i);
	uint32_t h = hash_of(s);
	uint64_t *slot = slot_of(m, s, h);
	if (!slot)
		return STRMAP_CROWDED;
	if (*slot) {
		*first = (uint32_t)*slot - 1;
		return STRMAP_TWICE;
	}
	*slot = (uint64_t)h << 32 | (i + 1);
	return STRMAP_ADDED;
}

uint32_t strmap_find(const struct strmap *m, struct gguf_str name)
{
	uint64_t *slot = slot_of(m, name, hash_of(name));
	return slot && *slot ? (uint32_t)*slot - 1 : STRMAP_NONE;
}

uint32_t strmap_find_hashed(const struct strmap *m, struct gguf_str name, uint64_t h)
{
	uint64_t *slot = slot_of(m, name, finish(h));
	return slot && *slot ? (uint32_t)*slot - 1 : STRMAP_NONE;
}
