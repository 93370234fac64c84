/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes the files that other programs read (C2SP tlog-tiles) out of the entries: tlog/tile/... and
 * tlog/checkpoint. All of it is derived: it can be made again from the segments, and is published a
 * little later than the answers.
 *
 * Full bundles and tiles are written as they come, without waiting for the disk: under another name, then
 * renamed. Publishing (publish_all) syncs them, writes the partial ones under another name, syncs and renames
 * them, syncs the folders, and writes the checkpoint last, in the same way. So what the published checkpoint
 * covers is always there and whole; what it does not cover yet is made again by the next start. Partial tiles
 * stay until the full one is there.
 *
 * Side: auditor. Trusts: its caller's entries. Owns: the files under tlog/.
 */
#ifndef FUMEHOOD_AUDIT_PUBLISH_H
#define FUMEHOOD_AUDIT_PUBLISH_H

#include "audit/store.h"
#include "audit/tile.h"

#define PUBLISH_DIR "tlog"
#define PUBLISH_CHECKPOINT "tlog/checkpoint"

struct publish;

/* published: size of the checkpoint that is there (0: none); tiles it covers are not written again.
 * seed makes the names of temporary files differ from those of earlier runs. NULL: no memory. */
struct publish *publish_new(struct store *s, uint64_t published, uint64_t seed);
void publish_free(struct publish *p);

/* Adds the next entry (in memory). Errors: ERR_NOMEM. */
MUST_CHECK int publish_add(struct publish *p, const uint8_t leaf[HASH_BYTES], const uint8_t *entry, size_t len,
                           struct err *e);
uint64_t publish_pending(const struct publish *p); /* entries that are not published */
uint64_t publish_queued_bytes(const struct publish *p);

/* Writes what is full, without waiting for the disk; no partial tiles, no checkpoint. */
MUST_CHECK int publish_full(struct publish *p, struct err *e);
/* Writes everything up to the present size and then this checkpoint. Does nothing when that is out
 * already. Errors: ERR_IO, ERR_LOG (disk full). */
MUST_CHECK int publish_all(struct publish *p, const char *checkpoint, size_t len, struct err *e);

#endif
