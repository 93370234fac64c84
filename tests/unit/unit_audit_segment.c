/* SPDX-License-Identifier: Apache-2.0
 * The segments' byte format: what is written is read back; each changed or missing byte is seen. */
#include "audit/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEG_BYTES ((size_t)64 << 10)
static const uint8_t prev[SEGMENT_TAG_BYTES] = { 9, 8, 7 };
static const char note[] = "a note of the tree\n";

/* A batch of three entries at offset 4096 of a segment with header; returns the segment. */
static uint8_t *make(size_t *batch_bytes)
{
	static const struct segment_head h = { .number = 3, .bytes = SEG_BYTES, .first_index = 70, .prev = { 1 } };
	uint8_t *seg = calloc(1, SEG_BYTES), tag[SEGMENT_TAG_BYTES];
	struct segment_out *o = segment_out_new(32768);
	size_t len, all;
	assert_non_null(o);
	segment_out_begin(o, 70, prev);
	for (unsigned i = 0; i < 3; i++) {
		uint8_t entry[2000];
		memset(entry, 'a' + (int)i, sizeof entry);
		assert_true(segment_out_fits(o, 10 + 900 * i));
		assert_memory_equal(segment_out_add(o, entry, 10 + 900 * i), entry, 10);
	}
	size_t bound = segment_out_bytes(o);
	segment_out_close(o, note, strlen(note));
	(void)segment_out_batch(o, &len, tag);
	assert_true(len <= bound);
	assert_int_equal(len % SEGMENT_BLOCK_BYTES, 0);
	const uint8_t *both = segment_out_with_head(o, &h, &all);
	memcpy(seg, both, all);
	assert_int_equal(all, SEGMENT_BLOCK_BYTES + len);
	*batch_bytes = len;
	segment_out_free(o);
	return seg;
}

static void test_round_trip(void **state)
{
	(void)state;
	static struct segment_batch b;
	struct segment_head h;
	struct err e;
	size_t len;
	uint32_t bad;
	uint8_t *seg = make(&len);
	assert_int_equal(segment_head_get(seg, SEG_BYTES, &h, &e), SEGMENT_BATCH);
	assert_int_equal(h.number, 3);
	assert_int_equal(h.bytes, SEG_BYTES);
	assert_int_equal(h.first_index, 70);
	assert_int_equal(segment_batch_get(seg, SEG_BYTES, SEGMENT_BLOCK_BYTES, &b, &bad, &e), SEGMENT_BATCH);
	assert_int_equal(b.first_index, 70);
	assert_int_equal(b.n_entries, 3);
	assert_int_equal(b.entry[2].len, 1810);
	assert_int_equal(b.entry[2].bytes[1809], 'c');
	assert_int_equal(b.note_len, strlen(note));
	assert_memory_equal(b.note, note, b.note_len);
	assert_memory_equal(b.prev, prev, SEGMENT_TAG_BYTES);
	assert_int_equal(b.bytes, len);
	assert_int_equal(segment_batch_get(seg, SEG_BYTES, SEGMENT_BLOCK_BYTES + len, &b, &bad, &e), SEGMENT_EMPTY);
	assert_int_equal(segment_batch_get(seg, SEG_BYTES, SEG_BYTES, &b, &bad, &e), SEGMENT_EMPTY);
	assert_int_equal(segment_batch_get(seg, SEG_BYTES, 0, &b, &bad, &e), SEGMENT_BROKEN);
	memset(seg, 0, SEGMENT_BLOCK_BYTES);
	assert_int_equal(segment_head_get(seg, SEG_BYTES, &h, &e), SEGMENT_EMPTY);
	free(seg);
}

/* Every bit of the first block and of the batch, padding included. */
static void test_every_bit(void **state)
{
	(void)state;
	static struct segment_batch b;
	struct segment_head h;
	struct err e;
	size_t len;
	uint32_t bad;
	uint8_t *seg = make(&len);
	for (size_t i = 0; i < SEGMENT_BLOCK_BYTES + len; i++) {
		uint8_t was = seg[i];
		seg[i] = (uint8_t)(was ^ 1 << i % 8);
		if (i < SEGMENT_BLOCK_BYTES)
			assert_int_equal(segment_head_get(seg, SEG_BYTES, &h, &e), SEGMENT_BROKEN);
		else
			assert_int_equal(segment_batch_get(seg, SEG_BYTES, SEGMENT_BLOCK_BYTES, &b, &bad, &e), SEGMENT_BROKEN);
		seg[i] = was;
	}
	/* Which entry is the first that is not whole. */
	seg[SEGMENT_BLOCK_BYTES + 64 + 40 + 10 + 40 + 5] ^= 1;
	assert_int_equal(segment_batch_get(seg, SEG_BYTES, SEGMENT_BLOCK_BYTES, &b, &bad, &e), SEGMENT_BROKEN);
	assert_int_equal(bad, 1);
	free(seg);
}

/* The segment ends anywhere inside: no byte behind its end is read (the buffer is exactly as long). */
static void test_every_length(void **state)
{
	(void)state;
	static struct segment_batch b;
	struct segment_head h;
	struct err e;
	size_t len;
	uint32_t bad;
	uint8_t *seg = make(&len);
	for (size_t n = 0; n < SEGMENT_BLOCK_BYTES + len; n += n < 4200 ? 1 : 61) {
		uint8_t *cut = malloc(n ? n : 1);
		memcpy(cut, seg, n);
		if (n > SEGMENT_BLOCK_BYTES)
			assert_int_equal(segment_batch_get(cut, n, SEGMENT_BLOCK_BYTES, &b, &bad, &e), SEGMENT_BROKEN);
		if (n > 0 && n < SEGMENT_BLOCK_BYTES)
			assert_int_equal(segment_head_get(cut, n, &h, &e), SEGMENT_BROKEN);
		free(cut);
	}
	free(seg);
}

/* A torn write: any choice of its blocks arrived. Only all of them are a batch. */
static void test_torn_blocks(void **state)
{
	(void)state;
	static struct segment_batch b;
	struct err e;
	uint8_t tag[SEGMENT_TAG_BYTES], entry[3000];
	size_t len;
	uint32_t bad;
	struct segment_out *o = segment_out_new(65536);
	memset(entry, 'x', sizeof entry);
	segment_out_begin(o, 0, prev);
	for (int i = 0; i < 7; i++)
		segment_out_add(o, entry, sizeof entry);
	segment_out_close(o, note, strlen(note));
	const uint8_t *p = segment_out_batch(o, &len, tag);
	unsigned n = (unsigned)(len / SEGMENT_BLOCK_BYTES);
	uint8_t *seg = malloc(len);
	assert_true(n >= 5);
	for (unsigned mask = 0; mask < 1u << n; mask++) {
		memset(seg, 0, len);
		for (unsigned k = 0; k < n; k++)
			if (mask >> k & 1)
				memcpy(seg + k * SEGMENT_BLOCK_BYTES, p + k * SEGMENT_BLOCK_BYTES, SEGMENT_BLOCK_BYTES);
		enum segment_found want = mask == 0 ? SEGMENT_EMPTY : mask == (1u << n) - 1 ? SEGMENT_BATCH : SEGMENT_BROKEN;
		assert_int_equal(segment_batch_get(seg, len, 0, &b, &bad, &e), want);
	}
	free(seg);
	segment_out_free(o);
}

static void test_full(void **state)
{
	(void)state;
	static const uint8_t entry[ENTRY_MAX_BYTES];
	struct segment_out *o = segment_out_new(65536);
	uint8_t tag[SEGMENT_TAG_BYTES];
	char big_note[SEGMENT_NOTE_MAX_BYTES];
	size_t len, n = 0;
	memset(big_note, 'n', sizeof big_note);
	segment_out_begin(o, 0, prev);
	for (; segment_out_fits(o, 1000); n++)
		segment_out_add(o, entry, 1000);
	assert_true(n > 55);
	segment_out_close(o, big_note, sizeof big_note);
	(void)segment_out_batch(o, &len, tag);
	assert_true(len <= 65536);
	segment_out_begin(o, 0, prev);
	assert_true(segment_out_fits(o, ENTRY_MAX_BYTES));
	assert_false(segment_out_fits(o, 65536));
	segment_out_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_every_bit), cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_torn_blocks), cmocka_unit_test(test_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
