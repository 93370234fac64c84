/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiles and entry bundles: see tile.h.
 * Side: auditor, cli. Trusts: nothing. Owns: the edge's bundle buffer.
 */
#include "audit/tile.h"

#include "proto/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tile_path(unsigned level, uint64_t index, unsigned width, char out[TILE_PATH_MAX_BYTES])
{
	char digits[24], n[40];
	size_t at = 0;
	int len = snprintf(digits, sizeof digits, "%021llu", (unsigned long long)index);
	size_t skip = 0;
	while (skip + 3 < (size_t)len && memcmp(digits + skip, "000", 3) == 0)
		skip += 3;
	for (; skip < (size_t)len; skip += 3) {
		bool last = skip + 3 == (size_t)len;
		at += (size_t)snprintf(n + at, sizeof n - at, "%s%.3s%s", last ? "" : "x", digits + skip, last ? "" : "/");
	}
	char where[12], tail[12] = "";
	if (level == TILE_ENTRIES)
		snprintf(where, sizeof where, "entries");
	else
		snprintf(where, sizeof where, "%u", level % 100);
	if (width < TILE_WIDTH)
		snprintf(tail, sizeof tail, ".p/%u", width % TILE_WIDTH);
	snprintf(out, TILE_PATH_MAX_BYTES, "tile/%s/%s%s", where, n, tail);
}

/* Hashes on a level of tiles: size / 256^level. */
static uint64_t level_count(unsigned level, uint64_t size)
{
	return level == TILE_ENTRIES ? size : size >> (8 * level);
}

uint64_t tile_full_count(unsigned level, uint64_t size)
{
	return level_count(level, size) / TILE_WIDTH;
}

unsigned tile_partial_width(unsigned level, uint64_t size)
{
	return (unsigned)(level_count(level, size) % TILE_WIDTH);
}

void tile_edge_init(struct tile_edge *t)
{
	memset(t, 0, sizeof *t);
}

void tile_edge_clear(struct tile_edge *t)
{
	free(t->bundle);
	tile_edge_init(t);
}

static int bundle_add(struct tile_edge *t, const uint8_t *entry, size_t len, struct err *e)
{
	if (len > TILE_ENTRY_MAX_BYTES)
		return err_set(e, ERR_LIMIT, "entry of %zu bytes: a bundle takes at most %d", len, TILE_ENTRY_MAX_BYTES);
	size_t need = t->bundle_len + 2 + len;
	if (need > t->bundle_cap) {
		size_t cap = need * 2;
		uint8_t *p = realloc(t->bundle, cap);
		if (!p)
			return err_set(e, ERR_NOMEM, "entry bundle of %zu bytes: no memory", need);
		t->bundle = p;
		t->bundle_cap = cap;
	}
	t->bundle[t->bundle_len] = (uint8_t)(len >> 8);
	t->bundle[t->bundle_len + 1] = (uint8_t)len;
	memcpy(t->bundle + t->bundle_len + 2, entry, len);
	t->bundle_len = need;
	return ERR_OK;
}

/* The root of a full tile: the hash that it contributes to the level above. */
static void tile_root(const uint8_t *hashes, uint8_t out[HASH_BYTES])
{
	struct tree_front f = { .size = 0 };
	for (size_t i = 0; i < TILE_WIDTH; i++)
		tree_front_add(&f, hashes + i * HASH_BYTES);
	tree_front_root(&f, out);
}

int tile_edge_add(struct tile_edge *t, const uint8_t leaf[HASH_BYTES], const uint8_t *entry,
                  size_t entry_len, tile_full_fn *on_full, void *arg, struct err *e)
{
	uint8_t h[HASH_BYTES];
	int rc = bundle_add(t, entry, entry_len, e);
	if (rc != ERR_OK)
		return rc;
	t->size++;
	memcpy(h, leaf, HASH_BYTES);
	if (t->size % TILE_WIDTH == 0) {
		rc = on_full(arg, TILE_ENTRIES, t->size / TILE_WIDTH - 1, t->bundle, t->bundle_len, e);
		t->bundle_len = 0;
	}
	for (unsigned l = 0; l < TILE_LEVELS && rc == ERR_OK; l++) {
		memcpy(t->hash[l] + (size_t)t->n[l] * HASH_BYTES, h, HASH_BYTES);
		if (++t->n[l] < TILE_WIDTH)
			break;
		rc = on_full(arg, l, tile_full_count(l, t->size) - 1, t->hash[l], TILE_BYTES, e);
		tile_root(t->hash[l], h);
		t->n[l] = 0;
	}
	return rc;
}

int tile_edge_partials(const struct tile_edge *t, tile_full_fn *fn, void *arg, struct err *e)
{
	int rc = ERR_OK;
	if (t->size % TILE_WIDTH)
		rc = fn(arg, TILE_ENTRIES, t->size / TILE_WIDTH, t->bundle, t->bundle_len, e);
	for (unsigned l = 0; l < TILE_LEVELS && rc == ERR_OK; l++)
		if (t->n[l])
			rc = fn(arg, l, tile_full_count(l, t->size), t->hash[l], (size_t)t->n[l] * HASH_BYTES, e);
	return rc;
}
