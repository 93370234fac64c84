/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments: the log on disk.
 *
 * The log is a row of files segments/000000000000, ...01, ...02, each of a fixed size that its first
 * block names. A segment is written with zeros from end to end and synced before it is used, so that a
 * commit changes no metadata and cannot meet a full disk. It is filled by batches, one after another;
 * each begins at a multiple of 4,096 bytes and is written by ONE write that is durable when it returns
 * (O_DIRECT|O_DSYNC, or O_DSYNC). A block that holds an acknowledged entry is never written again.
 *
 *   segment   = first block (one SEGMENT frame, zeros), batches, zeros
 *   batch     = one BATCH frame, n ENTRY frames, one COMMIT frame, zeros to the next multiple of 4,096
 *
 *   frame: offset size  field (little-endian)
 *               0    4  magic       0x31464846, the bytes "FHF1"
 *               4    2  type        1 SEGMENT, 2 BATCH, 3 ENTRY, 4 COMMIT
 *               6    2  zero
 *               8    4  length      of the payload
 *              12    4  zero
 *              16    8  sequence    SEGMENT: its number. BATCH: index of its first entry.
 *                                   ENTRY: its index. COMMIT: size of the tree after it.
 *              24    n  payload
 *            24+n   16  tag         first 16 bytes of SHA-256(tag before || bytes 0 .. 24+n)
 *
 *   payloads: SEGMENT  u64 bytes of the file, u64 index of its first entry, tag[16] of the last frame
 *                      of the segment before (zeros in segment 0), SHA-256 of the log's vkey [32]
 *             BATCH    tag[16] of the frame before, u32 number of entries, u32 bytes from the start of
 *                      the BATCH frame to the end of the COMMIT frame
 *             ENTRY    the entry's bytes, as hashed into the tree's leaf
 *             COMMIT   the signed checkpoint (C2SP) of the tree with this batch
 *
 *   "tag before" of a SEGMENT or BATCH frame is the tag in its own payload, so that both can be checked
 *   where they stand; of other frames it is the tag of the frame in front. The first BATCH of a segment
 *   continues its SEGMENT frame, which is written together with it, in the same write.
 *
 * Tags are not secret and defend against nobody: they tell torn from whole, and where damage begins.
 * What defends is the tree and the signature in each COMMIT.
 *
 * Validity. The log is the longest row of whole batches from segment 0 on in which each continues the
 * one before (index and tag) and each checkpoint is signed by the log's key and states the size and
 * root that follow from all entries so far. A whole batch whose checkpoint is wrong is damage.
 *
 * Recovery. Behind the last whole batch there should be zeros. If not:
 * - a whole batch with a good signature and a larger size further on: something before the last valid
 *   checkpoint is damaged. The log is not opened.
 * - otherwise it is a torn tail: what a power failure left of the one write that was under way. No caller
 *   was answered. It is copied to quarantine/ and synced, then overwritten with zeros, and a record
 *   TORN_TAIL with its SHA-256 is appended. Nothing is dropped silently.
 * One write is under way at most, so a torn tail is never longer than one batch. The first write of a segment is
 * its first block and a batch: that batch may be whole although the block in front of it is lost.
 *
 * Side: auditor, cli. Trusts: nothing that it reads. Owns: the format.
 */
#include "audit/segment.h"

#include "proto/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MAGIC_FHF1 0x31464846u
#define HEAD_BYTES 24
#define FRAME_EXTRA_BYTES (HEAD_BYTES + SEGMENT_TAG_BYTES)
#define SEGMENT_PAYLOAD_BYTES (8 + 8 + SEGMENT_TAG_BYTES + HASH_BYTES)
#define BATCH_PAYLOAD_BYTES (SEGMENT_TAG_BYTES + 4 + 4)
#define COMMIT_MAX_BYTES (FRAME_EXTRA_BYTES + SEGMENT_NOTE_MAX_BYTES)

enum frame_type { TYPE_SEGMENT = 1, TYPE_BATCH, TYPE_ENTRY, TYPE_COMMIT };

static size_t blocks(size_t n)
{
	return (n + SEGMENT_BLOCK_BYTES - 1) & ~(size_t)(SEGMENT_BLOCK_BYTES - 1);
}

static void tag_make(const uint8_t prev[SEGMENT_TAG_BYTES], const uint8_t *frame, size_t len,
                     uint8_t out[SEGMENT_TAG_BYTES])
{
	uint8_t digest[HASH_BYTES];
	hash_sha256_two(prev, SEGMENT_TAG_BYTES, frame, len, digest);
	memcpy(out, digest, SEGMENT_TAG_BYTES);
}

static void head_put(uint8_t *p, enum frame_type type, size_t payload_len, uint64_t sequence)
{
	memset(p, 0, HEAD_BYTES);
	le32_put(p, FRAME_MAGIC_FHF1);
	le16_put(p + 4, (uint16_t)type);
	le32_put(p + 8, (uint32_t)payload_len);
	le64_put(p + 16, sequence);
}

void segment_path(uint64_t number, char out[SEGMENT_PATH_MAX_BYTES])
{
	snprintf(out, SEGMENT_PATH_MAX_BYTES, "segments/%012llu", (unsigned long long)number);
}

/* --- writing ----------------------------------------------------------------------------------- */

struct segment_out {
	uint8_t *buf;        /* one block for a header, then the batch */
	size_t max;          /* of the batch */
	size_t at;           /* bytes of the batch so far */
	uint32_t n_entries;
	uint64_t first_index;
	uint8_t prev[SEGMENT_TAG_BYTES];   /* what the batch continues */
	uint8_t last[SEGMENT_TAG_BYTES];   /* of its last frame; valid when closed */
};

struct segment_out *segment_out_new(size_t max_bytes)
{
	struct segment_out *o = calloc(1, sizeof *o);
	if (o && !(o->buf = aligned_alloc(SEGMENT_BLOCK_BYTES, SEGMENT_BLOCK_BYTES + max_bytes))) {
		free(o);
		o = NULL;
	}
	if (o)
		o->max = max_bytes;
	return o;
}

void segment_out_free(struct segment_out *o)
{
	if (o)
		free(o->buf);
	free(o);
}

static uint8_t *batch_at(const struct segment_out *o)
{
	return o->buf + SEGMENT_BLOCK_BYTES;
}

void segment_out_begin(struct segment_out *o, uint64_t first_index, const uint8_t prev[SEGMENT_TAG_BYTES])
{
	o->at = FRAME_EXTRA_BYTES + BATCH_PAYLOAD_BYTES;
	o->n_entries = 0;
	o->first_index = first_index;
	memcpy(o->prev, prev, SEGMENT_TAG_BYTES);
}

void segment_out_continue(struct segment_out *o, const uint8_t prev[SEGMENT_TAG_BYTES])
{
	memcpy(o->prev, prev, SEGMENT_TAG_BYTES);
}

bool segment_out_fits(const struct segment_out *o, size_t entry_len)
{
	return o->n_entries < SEGMENT_BATCH_ENTRIES_MAX &&
	       o->at + FRAME_EXTRA_BYTES + entry_len + COMMIT_MAX_BYTES <= o->max;
}

/* Frames are tagged when the batch is closed: the BATCH frame at its start must know their number. */
const uint8_t *segment_out_add(struct segment_out *o, const uint8_t *entry, size_t len)
{
	uint8_t *p = batch_at(o) + o->at;
	head_put(p, TYPE_ENTRY, len, o->first_index + o->n_entries);
	memcpy(p + HEAD_BYTES, entry, len);
	o->at += FRAME_EXTRA_BYTES + len;
	o->n_entries++;
	return p + HEAD_BYTES;
}

uint32_t segment_out_count(const struct segment_out *o)
{
	return o->n_entries;
}

size_t segment_out_bytes(const struct segment_out *o)
{
	return blocks(o->at + COMMIT_MAX_BYTES);
}

/* Tags the frame at p and returns the place behind it. */
static uint8_t *frame_close(uint8_t *p, uint8_t prev[SEGMENT_TAG_BYTES])
{
	size_t len = HEAD_BYTES + le32_get(p + 8);
	tag_make(prev, p, len, p + len);
	memcpy(prev, p + len, SEGMENT_TAG_BYTES);
	return p + len + SEGMENT_TAG_BYTES;
}

void segment_out_close(struct segment_out *o, const char *note, size_t note_len)
{
	uint8_t *start = batch_at(o), *commit = start + o->at, *p = start;
	head_put(commit, TYPE_COMMIT, note_len, o->first_index + o->n_entries);
	memcpy(commit + HEAD_BYTES, note, note_len);
	o->at += FRAME_EXTRA_BYTES + note_len;

	head_put(p, TYPE_BATCH, BATCH_PAYLOAD_BYTES, o->first_index);
	memcpy(p + HEAD_BYTES, o->prev, SEGMENT_TAG_BYTES);
	le32_put(p + HEAD_BYTES + SEGMENT_TAG_BYTES, o->n_entries);
	le32_put(p + HEAD_BYTES + SEGMENT_TAG_BYTES + 4, (uint32_t)o->at);
	memcpy(o->last, o->prev, SEGMENT_TAG_BYTES);
	while (p < start + o->at)
		p = frame_close(p, o->last);
	memset(p, 0, blocks(o->at) - o->at);
}

const uint8_t *segment_out_batch(const struct segment_out *o, size_t *len, uint8_t tag[SEGMENT_TAG_BYTES])
{
	*len = blocks(o->at);
	memcpy(tag, o->last, SEGMENT_TAG_BYTES);
	return batch_at(o);
}

/* Writes the SEGMENT frame (no padding) and returns its tag. */
static void segment_frame_put(const struct segment_head *h, uint8_t *p, uint8_t tag[SEGMENT_TAG_BYTES])
{
	head_put(p, TYPE_SEGMENT, SEGMENT_PAYLOAD_BYTES, h->number);
	le64_put(p + HEAD_BYTES, h->bytes);
	le64_put(p + HEAD_BYTES + 8, h->first_index);
	memcpy(p + HEAD_BYTES + 16, h->prev, SEGMENT_TAG_BYTES);
	memcpy(p + HEAD_BYTES + 16 + SEGMENT_TAG_BYTES, h->key_digest, HASH_BYTES);
	memcpy(tag, h->prev, SEGMENT_TAG_BYTES);
	frame_close(p, tag);
}

void segment_head_tag(const struct segment_head *h, uint8_t tag[SEGMENT_TAG_BYTES])
{
	uint8_t frame[FRAME_EXTRA_BYTES + SEGMENT_PAYLOAD_BYTES];
	segment_frame_put(h, frame, tag);
}

const uint8_t *segment_out_with_head(struct segment_out *o, const struct segment_head *h, size_t *len)
{
	uint8_t tag[SEGMENT_TAG_BYTES];
	memset(o->buf, 0, SEGMENT_BLOCK_BYTES);
	segment_frame_put(h, o->buf, tag);
	*len = SEGMENT_BLOCK_BYTES + blocks(o->at);
	return o->buf;
}

/* --- reading ----------------------------------------------------------------------------------- */

struct walk {
	const uint8_t *p;
	size_t len;    /* of what may be read */
	size_t at;
	uint8_t tag[SEGMENT_TAG_BYTES];
};

struct frame_in {
	uint16_t type;
	uint64_t sequence;
	const uint8_t *payload;
	size_t payload_len;
};

/* Reads a frame without its tag; false when it does not fit or is no frame. */
static bool frame_peek(const struct walk *w, struct frame_in *f)
{
	if (!ck_range(w->at, FRAME_EXTRA_BYTES, w->len))
		return false;
	const uint8_t *p = w->p + w->at;
	f->type = le16_get(p + 4);
	f->payload_len = le32_get(p + 8);
	f->sequence = le64_get(p + 16);
	f->payload = p + HEAD_BYTES;
	return le32_get(p) == FRAME_MAGIC_FHF1 && le16_get(p + 6) == 0 && le32_get(p + 12) == 0 &&
	       ck_range(w->at + HEAD_BYTES, (uint64_t)f->payload_len + SEGMENT_TAG_BYTES, w->len);
}

/* Reads a frame of this type and sequence and checks its tag. */
static bool frame_next(struct walk *w, enum frame_type type, uint64_t sequence, struct frame_in *f)
{
	uint8_t want[SEGMENT_TAG_BYTES];
	if (!frame_peek(w, f) || f->type != type || f->sequence != sequence)
		return false;
	size_t len = HEAD_BYTES + f->payload_len;
	tag_make(w->tag, w->p + w->at, len, want);
	if (memcmp(want, w->p + w->at + len, SEGMENT_TAG_BYTES) != 0)
		return false;
	memcpy(w->tag, want, SEGMENT_TAG_BYTES);
	w->at += len + SEGMENT_TAG_BYTES;
	return true;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

static enum segment_found broken(struct err *e, const char *what, uint64_t offset)
{
	err_set(e, ERR_LOG, "%s at byte %llu", what, (unsigned long long)offset);
	return SEGMENT_BROKEN;
}

static enum segment_found entries_get(struct walk *w, uint32_t n, struct segment_batch *out, uint32_t *bad,
                                      struct err *e)
{
	struct frame_in f;
	for (uint32_t i = 0; i < n; i++, ++*bad) {
		if (!frame_next(w, TYPE_ENTRY, out->first_index + i, &f) || f.payload_len > ENTRY_MAX_BYTES)
			return broken(e, "an entry's frame is not whole", w->at);
		out->entry[i] = (struct segment_entry){ f.payload, f.payload_len };
	}
	if (!frame_next(w, TYPE_COMMIT, out->first_index + n, &f) || f.payload_len > SEGMENT_NOTE_MAX_BYTES)
		return broken(e, "a commit frame is not whole", w->at);
	out->note = (const char *)f.payload;
	out->note_len = f.payload_len;
	return SEGMENT_BATCH;
}

enum segment_found segment_batch_get(const uint8_t *seg, size_t len, size_t offset, struct segment_batch *out,
                                     uint32_t *bad_entry, struct err *e)
{
	struct walk w = { seg, len, offset, { 0 } };
	struct frame_in f;
	*bad_entry = 0;
	if (offset >= len || is_zero(seg + offset, len - offset))
		return SEGMENT_EMPTY;
	if (!frame_peek(&w, &f) || f.type != TYPE_BATCH || f.payload_len != BATCH_PAYLOAD_BYTES)
		return broken(e, "no batch begins", offset);
	memcpy(w.tag, f.payload, SEGMENT_TAG_BYTES);
	if (!frame_next(&w, TYPE_BATCH, f.sequence, &f))
		return broken(e, "a batch frame is not whole", offset);
	memcpy(out->prev, f.payload, SEGMENT_TAG_BYTES);
	out->first_index = f.sequence;
	out->n_entries = le32_get(f.payload + SEGMENT_TAG_BYTES);
	size_t bytes = le32_get(f.payload + SEGMENT_TAG_BYTES + 4);
	if (out->n_entries == 0 || out->n_entries > SEGMENT_BATCH_ENTRIES_MAX || !ck_range(offset, bytes, len) ||
	    f.sequence > UINT64_MAX - SEGMENT_BATCH_ENTRIES_MAX)
		return broken(e, "a batch of impossible size", offset);
	w.len = offset + bytes;
	if (entries_get(&w, out->n_entries, out, bad_entry, e) != SEGMENT_BATCH)
		return SEGMENT_BROKEN;
	out->bytes = blocks(bytes);
	if (w.at != offset + bytes || !ck_range(offset, out->bytes, len) || !is_zero(seg + w.at, out->bytes - bytes))
		return broken(e, "bytes behind a commit frame are not zero", w.at);
	memcpy(out->tag, w.tag, SEGMENT_TAG_BYTES);
	return SEGMENT_BATCH;
}

enum segment_found segment_head_get(const uint8_t *seg, size_t len, struct segment_head *out, struct err *e)
{
	struct walk w = { seg, len, 0, { 0 } };
	struct frame_in f;
	if (is_zero(seg, len < SEGMENT_BLOCK_BYTES ? len : SEGMENT_BLOCK_BYTES))
		return SEGMENT_EMPTY;
	if (len < SEGMENT_BLOCK_BYTES || !frame_peek(&w, &f) || f.type != TYPE_SEGMENT ||
	    f.payload_len != SEGMENT_PAYLOAD_BYTES)
		return broken(e, "no segment begins", 0);
	memcpy(w.tag, f.payload + 16, SEGMENT_TAG_BYTES);
	if (!frame_next(&w, TYPE_SEGMENT, f.sequence, &f) || !is_zero(seg + w.at, SEGMENT_BLOCK_BYTES - w.at))
		return broken(e, "the segment's first block is not whole", 0);
	out->number = f.sequence;
	out->bytes = le64_get(f.payload);
	out->first_index = le64_get(f.payload + 8);
	memcpy(out->prev, f.payload + 16, SEGMENT_TAG_BYTES);
	memcpy(out->key_digest, f.payload + 16 + SEGMENT_TAG_BYTES, HASH_BYTES);
	return SEGMENT_BATCH;
}
