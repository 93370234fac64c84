/* SPDX-License-Identifier: Apache-2.0
 *
 * The byte format of the log's segments: written and read back. The essay is in segment.c. Pure: no
 * I/O; works on bytes in memory.
 *
 * Side: auditor, cli. Trusts: nothing that it reads. Owns: the format.
 */
#ifndef FUMEHOOD_AUDIT_SEGMENT_H
#define FUMEHOOD_AUDIT_SEGMENT_H

#include "audit/entry.h"
#include "audit/store.h"
#include "proto/hash.h"
#include "proto/limits.h"

#include <stdbool.h>

#define SEGMENT_BLOCK_BYTES STORE_BLOCK_BYTES
#define SEGMENT_TAG_BYTES 16
#define SEGMENT_NOTE_MAX_BYTES 2048       /* a signed checkpoint */
#define SEGMENT_MIN_BYTES KIB(256)
#define SEGMENT_MAX_BYTES GIB(1)
#define SEGMENT_RESERVE_BYTES KIB(8)      /* the last record of a full disk goes there */
#define SEGMENT_BATCH_ENTRIES_MAX 8192

/* --- writing --------------------------------------------------------------------------------- */

/* A batch being put together in one aligned buffer; one block in front has room for a segment's
 * header. One owner. */
struct segment_out;

/* max_bytes: of a batch with its checkpoint, a multiple of the block size. NULL: no memory. */
struct segment_out *segment_out_new(size_t max_bytes);
void segment_out_free(struct segment_out *o);

/* Begins a batch whose first entry is first_index, behind the frame whose tag is prev. */
void segment_out_begin(struct segment_out *o, uint64_t first_index, const uint8_t prev[SEGMENT_TAG_BYTES]);
/* Lets the open batch continue another frame: the header of a new segment. */
void segment_out_continue(struct segment_out *o, const uint8_t prev[SEGMENT_TAG_BYTES]);
/* Room for one more entry of this size, with the checkpoint still to come? */
bool segment_out_fits(const struct segment_out *o, size_t entry_len);
/* Adds an entry; the caller has asked segment_out_fits. Returns where its bytes stand. */
const uint8_t *segment_out_add(struct segment_out *o, const uint8_t *entry, size_t len);
uint32_t segment_out_count(const struct segment_out *o);
/* Bytes of the batch if it were closed now, whole blocks. */
size_t segment_out_bytes(const struct segment_out *o);
/* Closes the batch with its signed checkpoint: frames tagged, padded to whole blocks. */
void segment_out_close(struct segment_out *o, const char *note, size_t note_len);
/* The closed batch, block-aligned; *tag is that of its last frame. */
const uint8_t *segment_out_batch(const struct segment_out *o, size_t *len, uint8_t tag[SEGMENT_TAG_BYTES]);

/* What a segment's first block says. */
struct segment_head {
	uint64_t number;
	uint64_t bytes;              /* size of the file */
	uint64_t first_index;
	uint8_t prev[SEGMENT_TAG_BYTES];   /* tag of the last frame of the segment before; zeros in the first */
	uint8_t key_digest[HASH_BYTES];    /* SHA-256 of the log's vkey */
};

/* Puts the segment's first block in front of the closed batch and returns both as one piece, so that
 * they become durable in one write. */
const uint8_t *segment_out_with_head(struct segment_out *o, const struct segment_head *h, size_t *len);
/* The tag of a segment's header frame: what its first batch continues. */
void segment_head_tag(const struct segment_head *h, uint8_t tag[SEGMENT_TAG_BYTES]);

/* --- reading --------------------------------------------------------------------------------- */

struct segment_entry {
	const uint8_t *bytes;
	size_t len;
};

/* A whole batch, as pointers into the segment's bytes. */
struct segment_batch {
	uint64_t first_index;
	uint32_t n_entries;
	struct segment_entry entry[SEGMENT_BATCH_ENTRIES_MAX];
	const char *note;
	size_t note_len;
	uint64_t bytes;                    /* whole blocks */
	uint8_t prev[SEGMENT_TAG_BYTES];   /* the tag it says it continues */
	uint8_t tag[SEGMENT_TAG_BYTES];    /* of its last frame */
};

/* What stands at a place where a batch may begin. */
enum segment_found {
	SEGMENT_BATCH,   /* a whole batch: every frame tagged, padding zero */
	SEGMENT_EMPTY,   /* zeros to the end of the segment: nothing was written here */
	SEGMENT_BROKEN,  /* anything else: a torn write, or damage */
};

/* Reads the batch at offset (a multiple of the block size). With SEGMENT_BROKEN *bad_entry tells how
 * many entries of the batch were still whole, and e what is wrong. */
enum segment_found segment_batch_get(const uint8_t *seg, size_t len, size_t offset, struct segment_batch *out,
                                     uint32_t *bad_entry, struct err *e);

/* Reads the first block. SEGMENT_EMPTY: prepared, not yet used. */
enum segment_found segment_head_get(const uint8_t *seg, size_t len, struct segment_head *out, struct err *e);

/* "segments/000000000042" */
#define SEGMENT_PATH_MAX_BYTES 40
void segment_path(uint64_t number, char out[SEGMENT_PATH_MAX_BYTES]);

#endif
