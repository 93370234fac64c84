/* SPDX-License-Identifier: Apache-2.0
 * Functions under test: segment_head_get, segment_batch_get (audit/segment.c), entry_check (audit/entry.c).
 * The input is a segment's bytes. Tags are made right first where the first byte asks for it, so that the parser
 * behind them is reached. Oracle: a batch that is taken for whole lies inside the input and is in order; written
 * again from its parts it is the same bytes. */
#include "audit/segment.h"
#include "proto/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What an attacker can do, too: tags are no secret. */
static void retag(uint8_t *p, size_t len, size_t at, const uint8_t *prev)
{
	uint8_t digest[HASH_BYTES], tag[SEGMENT_TAG_BYTES];
	memcpy(tag, prev, sizeof tag);
	for (unsigned i = 0; i < 64 && ck_range(at, 40, len) && le32_get(p + at) == 0x31464846u; i++) {
		uint64_t n = 24 + (uint64_t)le32_get(p + at + 8);
		if (!ck_range(at, n + SEGMENT_TAG_BYTES, len))
			return;
		hash_sha256_two(tag, sizeof tag, p + at, n, digest);
		memcpy(tag, digest, sizeof tag);
		memcpy(p + at + n, tag, sizeof tag);
		at += n + SEGMENT_TAG_BYTES;
	}
}

static void write_again(const struct segment_batch *b, const uint8_t *was)
{
	struct segment_out *o = segment_out_new(1 << 20);
	uint8_t tag[SEGMENT_TAG_BYTES];
	size_t n;
	if (!o)
		return;
	segment_out_begin(o, b->first_index, b->prev);
	bool fits = true;
	for (uint32_t i = 0; i < b->n_entries && fits; i++) {
		fits = segment_out_fits(o, b->entry[i].len);
		if (fits)
			segment_out_add(o, b->entry[i].bytes, b->entry[i].len);
	}
	if (fits) {
		segment_out_close(o, b->note, b->note_len);
		const uint8_t *p = segment_out_batch(o, &n, tag);
		if (n != b->bytes || memcmp(p, was, n) != 0 || memcmp(tag, b->tag, sizeof tag) != 0)
			abort();
	}
	segment_out_free(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct segment_batch b;
	struct segment_head h;
	struct err e;
	uint32_t bad = 0;
	if (len < 1)
		return 0;
	size_t n = len - 1;
	uint8_t *p = malloc(n ? n : 1); /* exactly as long: reading on is seen */
	if (!p)
		return 0;
	memcpy(p, data + 1, n);
	if ((data[0] & 1) && n >= 24 + SEGMENT_TAG_BYTES)
		retag(p, n, 0, p + 24);
	if ((data[0] & 2) && n >= 40 + SEGMENT_TAG_BYTES)
		retag(p, n, 0, p + 40);
	(void)segment_head_get(p, n, &h, &e);
	for (size_t at = 0; at < n; at += SEGMENT_BLOCK_BYTES) {
		if (segment_batch_get(p, n, at, &b, &bad, &e) != SEGMENT_BATCH)
			continue;
		if (b.n_entries == 0 || !ck_range(at, b.bytes, n) || b.bytes % SEGMENT_BLOCK_BYTES)
			abort();
		for (uint32_t i = 0; i < b.n_entries; i++)
			(void)(entry_check(b.entry[i].bytes, b.entry[i].len, b.first_index + i, &e) == ERR_OK);
		write_again(&b, p + at);
	}
	free(p);
	return 0;
}
