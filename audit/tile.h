/* SPDX-License-Identifier: Apache-2.0
 *
 * C2SP tlog-tiles (v0.1.0): where a tree of some size lies in files. Pure: no I/O.
 *
 *   checkpoint                   the newest published signed checkpoint
 *   tile/L/N[.p/W]               hashes of level 8*L, 256 (or W) of 32 bytes each
 *   tile/entries/N[.p/W]         256 (or W) times big-endian u16 length || entry
 *
 * L is 0..7 here (a 64-bit tree); N in groups of three digits, all but the last with an x in front
 * (1234067: x001/x234/067); W is 1..255. Hash i of tile (L, N) covers entries
 * [(N*256 + i) * 256^L, (N*256 + i + 1) * 256^L). Only full tiles are hashed into the level above.
 *
 * Side: auditor, cli. Trusts: nothing. Owns: names and sizes.
 */
#ifndef FUMEHOOD_AUDIT_TILE_H
#define FUMEHOOD_AUDIT_TILE_H

#include "audit/tree.h"

#define TILE_WIDTH 256
#define TILE_BYTES (TILE_WIDTH * HASH_BYTES)
#define TILE_LEVELS 8
#define TILE_ENTRIES TILE_LEVELS /* the "level" of entry bundles in tile_path */
#define TILE_PATH_MAX_BYTES 72
#define TILE_ENTRY_MAX_BYTES 65535

/* Writes the path. level: 0..7 or TILE_ENTRIES; width 1..256, 256 for a full tile. */
void tile_path(unsigned level, uint64_t index, unsigned width, char out[TILE_PATH_MAX_BYTES]);

/* Full tiles of a level in a tree of size, and the width of the partial one behind them (0: none). */
uint64_t tile_full_count(unsigned level, uint64_t size);
unsigned tile_partial_width(unsigned level, uint64_t size);

/* The right-most tiles of a growing tree: one accumulator per level and the bundle. */
struct tile_edge {
	uint64_t size;
	uint8_t hash[TILE_LEVELS][TILE_BYTES];
	unsigned n[TILE_LEVELS];   /* hashes in each */
	uint8_t *bundle;           /* malloc'ed */
	size_t bundle_len, bundle_cap;
};

void tile_edge_init(struct tile_edge *t);
void tile_edge_clear(struct tile_edge *t);

/* Called for each tile and bundle that an entry completes: bundle first, then tiles upwards. */
typedef int tile_full_fn(void *arg, unsigned level, uint64_t index, const uint8_t *bytes, size_t len,
                         struct err *e);

/* Adds an entry. Errors: ERR_NOMEM, ERR_LIMIT (entry above 65,535 bytes), or what on_full returned. */
MUST_CHECK int tile_edge_add(struct tile_edge *t, const uint8_t leaf[HASH_BYTES], const uint8_t *entry,
                             size_t entry_len, tile_full_fn *on_full, void *arg, struct err *e);

/* Hands the partial bundle and tiles of the present size to fn (len tells the width of tiles; for
 * the bundle the width is size % 256). */
MUST_CHECK int tile_edge_partials(const struct tile_edge *t, tile_full_fn *fn, void *arg, struct err *e);

#endif
