/* SPDX-License-Identifier: Apache-2.0
 * The tamper matrix: a good log, changed in every way we can think of, one at a time. Each change must be found by
 * the offline check, with the kind of fault that fits; the log as it was must stay good. */
#include "audit_kit.h"

#include "audit/segment.h"
#include "audit/tile.h"
#include "proto/mem.h"

#include <errno.h>

#define SEGMENT KIB(256)
#define ENTRIES 1500
#define BATCH 40

static struct kit good;        /* the log */
static char work[96];          /* the copy that is changed */
static struct audit_verify want;
static struct checkpoint final;
static char old_checkpoint[2048];        /* published at 600 entries */
static size_t old_checkpoint_len;

/* --- tools ------------------------------------------------------------------------------------------- */

struct bytes {
	uint8_t *p;
	size_t len;
};

static const char *in_work(const char *file)
{
	static char path[4][200];
	static int at;
	at = (at + 1) % 4;
	snprintf(path[at], sizeof path[at], "%s/%s", work, file);
	return path[at];
}

static struct bytes load(const char *file)
{
	struct bytes b = { NULL, 0 };
	FILE *f = fopen(in_work(file), "rb");
	if (!f)
		fail_msg("%s: %s", file, strerror(errno));
	fseek(f, 0, SEEK_END);
	b.len = (size_t)ftell(f);
	b.p = malloc(b.len + 1);
	rewind(f);
	assert_int_equal(fread(b.p, 1, b.len, f), b.len);
	fclose(f);
	return b;
}

static void save(const char *file, struct bytes b)
{
	FILE *f = fopen(in_work(file), "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(b.p, 1, b.len, f), b.len);
	fclose(f);
	free(b.p);
}

static void flip(const char *file, size_t at)
{
	struct bytes b = load(file);
	assert_true(at < b.len);
	b.p[at] ^= 0x10;
	save(file, b);
}

static void cut(const char *file, size_t n)
{
	struct bytes b = load(file);
	b.len -= n;
	save(file, b);
}

#define SEG0 "segments/000000000000"
#define SEG1 "segments/000000000001"
#define SEG2 "segments/000000000002"

/* Where the n-th batch of a segment stands. */
static size_t batch_at(const struct bytes *seg, unsigned n, size_t *len)
{
	static struct segment_batch b;
	uint32_t bad;
	size_t at = SEGMENT_BLOCK_BYTES;
	for (;; n--) {
		assert_int_equal(segment_batch_get(seg->p, seg->len, at, &b, &bad, NULL), SEGMENT_BATCH);
		*len = b.bytes;
		if (n == 0)
			return at;
		at += b.bytes;
	}
}

static unsigned batch_count(const struct bytes *seg)
{
	static struct segment_batch b;
	uint32_t bad;
	size_t at = SEGMENT_BLOCK_BYTES;
	unsigned n = 0;
	for (; segment_batch_get(seg->p, seg->len, at, &b, &bad, NULL) == SEGMENT_BATCH; n++)
		at += b.bytes;
	return n;
}

/* Makes all tags of a segment right again, as an attacker can: they are no secret. Returns the last one. */
static void retag(struct bytes *seg, uint8_t prev[SEGMENT_TAG_BYTES])
{
	size_t at = 0;
	uint8_t digest[HASH_BYTES], tag[SEGMENT_TAG_BYTES];
	memcpy(tag, prev, sizeof tag);
	while (at + 40 < seg->len && le32_get(seg->p + at) == 0x31464846u) {
		uint16_t type = le16_get(seg->p + at + 4);
		size_t n = 24 + le32_get(seg->p + at + 8);
		if (type == 1)
			memcpy(seg->p + at + 24 + 16, tag, SEGMENT_TAG_BYTES);
		if (type == 2)
			memcpy(seg->p + at + 24, tag, SEGMENT_TAG_BYTES);
		hash_sha256_two(tag, SEGMENT_TAG_BYTES, seg->p + at, n, digest);
		memcpy(tag, digest, sizeof tag);
		memcpy(seg->p + at + n, tag, sizeof tag);
		at += n + SEGMENT_TAG_BYTES;
		if (type == 1 || type == 4)
			at = (at + SEGMENT_BLOCK_BYTES - 1) / SEGMENT_BLOCK_BYTES * SEGMENT_BLOCK_BYTES;
	}
	memcpy(prev, tag, sizeof tag);
}

/* Retags all segments, one continuing the other. */
static void retag_all(void)
{
	uint8_t tag[SEGMENT_TAG_BYTES] = { 0 };
	char path[SEGMENT_PATH_MAX_BYTES];
	for (uint64_t n = 0;; n++) {
		segment_path(n, path);
		if (access(in_work(path), F_OK) != 0)
			return;
		struct bytes b = load(path);
		retag(&b, tag);
		save(path, b);
	}
}

/* The frame of the i-th entry of a batch. */
static size_t entry_at(const struct bytes *seg, unsigned batch, unsigned i)
{
	size_t len, at = batch_at(seg, batch, &len);
	at += 40 + le32_get(seg->p + at + 8);
	while (i--)
		at += 40 + le32_get(seg->p + at + 8);
	return at;
}

/* Changes one letter in the text of an entry (never the protobuf around it). */
static void letter_change(uint8_t *entry, size_t len)
{
	assert_true(len > 60);
	entry[len - 5] = entry[len - 5] == 'x' ? 'y' : 'x';
}

/* --- segments ----------------------------------------------------------------------------------------------- */

/* Flips a bit at an offset from an entry's frame. */
static void flip_in_entry(const char *file, unsigned batch, unsigned i, size_t offset)
{
	struct bytes b = load(file);
	size_t at = entry_at(&b, batch, i) + offset;
	free(b.p);
	flip(file, at);
}
/* The same from a batch's start; offset -1 is its last byte. */
static void flip_in_batch(const char *file, unsigned batch, long offset)
{
	struct bytes b = load(file);
	size_t n, at = batch_at(&b, batch, &n);
	free(b.p);
	flip(file, offset < 0 ? at + n - 1 : at + (size_t)offset);
}
static void seg_flip_entry(void) { flip_in_entry(SEG0, 3, 2, 50); }
static void seg_flip_entry_head(void) { flip_in_entry(SEG1, 1, 0, 16); }
static void seg_flip_tag(void)
{
	struct bytes b = load(SEG0);
	size_t at = entry_at(&b, 2, 1);
	at += 24 + le32_get(b.p + at + 8);
	free(b.p);
	flip(SEG0, at);
}
static void seg_flip_batch_head(void) { flip_in_batch(SEG0, 4, 30); }
static void seg_flip_last_batch(void) /* alone it looks torn; the published checkpoint knows better */
{
	struct bytes b = load(SEG2);
	unsigned last = batch_count(&b) - 1;
	free(b.p);
	flip_in_entry(SEG2, last, 3, 60);
}
static void seg_flip_padding(void) { flip_in_batch(SEG0, 4, -1); }
static void seg_flip_first_block(void) { flip(SEG1, 33); }
static void seg_flip_first_block_padding(void) { flip(SEG1, 2000); }
static void seg_flip_key_digest(void) { flip(SEG0, 24 + 16 + 16 + 3); }
static void seg_flip_checkpoint(void)
{
	struct bytes b = load(SEG0);
	size_t n, at = batch_at(&b, 4, &n);
	while (le16_get(b.p + at + 4) != 4)
		at += 40 + le32_get(b.p + at + 8);
	free(b.p);
	flip(SEG0, at + 24 + 40);
}
/* The same change with every tag made right again: only tree and signature can tell. */
static void seg_edit_entry_retagged(void)
{
	struct bytes b = load(SEG0);
	size_t at = entry_at(&b, 3, 2);
	letter_change(b.p + at + 24, le32_get(b.p + at + 8));
	save(SEG0, b);
	retag_all();
}
static void seg_edit_last_batch_retagged(void)
{
	char path[SEGMENT_PATH_MAX_BYTES];
	uint64_t n = 0;
	struct bytes b;
	for (segment_path(n + 1, path); access(in_work(path), F_OK) == 0; segment_path(n + 1, path)) {
		b = load(path);
		bool empty = le32_get(b.p) == 0;
		free(b.p);
		if (empty)
			break;
		n++;
	}
	segment_path(n, path);
	b = load(path);
	size_t at = entry_at(&b, batch_count(&b) - 1, 0);
	letter_change(b.p + at + 24, le32_get(b.p + at + 8));
	save(path, b);
	retag_all();
}
static void seg_swap_entries_retagged(void)
{
	struct bytes b = load(SEG0);
	size_t x = entry_at(&b, 4, 1), y = entry_at(&b, 4, 18); /* texts of the same length: 17 apart */
	size_t n = le32_get(b.p + x + 8);
	assert_int_equal(n, le32_get(b.p + y + 8));
	for (size_t i = 0; i < n; i++) {
		uint8_t t = b.p[x + 24 + i];
		b.p[x + 24 + i] = b.p[y + 24 + i];
		b.p[y + 24 + i] = t;
	}
	save(SEG0, b);
	retag_all();
}
static void batch_remove(const char *file, unsigned n)
{
	struct bytes b = load(file);
	size_t len, at = batch_at(&b, n, &len);
	memmove(b.p + at, b.p + at + len, b.len - at - len);
	memset(b.p + b.len - len, 0, len);
	save(file, b);
}
static void seg_remove_batch(void) { batch_remove(SEG0, 3); }
static void seg_remove_batch_retagged(void) { batch_remove(SEG0, 3); retag_all(); }
static void seg_zero_batch(void)
{
	struct bytes b = load(SEG0);
	size_t len, at = batch_at(&b, 3, &len);
	memset(b.p + at, 0, len);
	save(SEG0, b);
}
static void seg_repeat_batch(void)
{
	struct bytes b = load(SEG0);
	size_t len, at = batch_at(&b, 2, &len), next = batch_at(&b, 3, &len);
	memcpy(b.p + next, b.p + at, len);
	save(SEG0, b);
}
static void seg_swap_batches(void)
{
	struct bytes b = load(SEG0);
	size_t n2, n3, at2 = batch_at(&b, 2, &n2), at3 = batch_at(&b, 3, &n3);
	uint8_t *both = malloc(n2 + n3);
	memcpy(both, b.p + at3, n3);
	memcpy(both + n3, b.p + at2, n2);
	memcpy(b.p + at2, both, n2 + n3);
	free(both);
	save(SEG0, b);
}
static void seg_insert_own_batch(void) /* a batch without the key: signed by nobody */
{
	struct bytes b = load(SEG0);
	static struct segment_batch last;
	uint32_t bad;
	size_t len, at = batch_at(&b, 4, &len);
	(void)segment_batch_get(b.p, b.len, at, &last, &bad, NULL);
	struct segment_out *o = segment_out_new(65536);
	uint8_t tag[SEGMENT_TAG_BYTES];
	segment_out_begin(o, last.first_index, last.prev);
	for (uint32_t i = 0; i < last.n_entries; i++) {
		uint8_t entry[2000];
		memcpy(entry, last.entry[i].bytes, last.entry[i].len);
		letter_change(entry, last.entry[i].len);
		segment_out_add(o, entry, last.entry[i].len);
	}
	segment_out_close(o, last.note, last.note_len);
	const uint8_t *forged = segment_out_batch(o, &len, tag);
	memcpy(b.p + at, forged, len);
	segment_out_free(o);
	save(SEG0, b);
	retag_all();
}
static void seg_cut_tail_batch(void) /* the last commit, cleanly: a chain cannot know its own length */
{
	char path[SEGMENT_PATH_MAX_BYTES];
	uint64_t n = 0;
	for (;; n++) {
		segment_path(n + 1, path);
		if (access(in_work(path), F_OK) != 0)
			break;
		struct bytes b = load(path);
		bool empty = le32_get(b.p) == 0;
		free(b.p);
		if (empty)
			break;
	}
	segment_path(n, path);
	struct bytes b = load(path);
	size_t len, at = batch_at(&b, batch_count(&b) - 1, &len);
	memset(b.p + at, 0, len);
	save(path, b);
}
static void seg_cut_tail_record(void) /* in the middle of the last commit */
{
	char path[SEGMENT_PATH_MAX_BYTES];
	uint64_t n = 0;
	for (;; n++) {
		segment_path(n + 1, path);
		if (access(in_work(path), F_OK) != 0)
			break;
		struct bytes b = load(path);
		bool empty = le32_get(b.p) == 0;
		free(b.p);
		if (empty)
			break;
	}
	segment_path(n, path);
	struct bytes b = load(path);
	size_t len, first = batch_at(&b, batch_count(&b) - 1, &len), at = entry_at(&b, batch_count(&b) - 1, 1);
	memset(b.p + at, 0, first + len - at);
	save(path, b);
}
static void seg_cut_file(void) { cut(SEG0, 4096); }
static void seg_cut_file_by_one(void) { cut(SEG1, 1); }
static void seg_cut_to_half(void) { cut(SEG1, SEGMENT / 2); }
static void seg_grow_file(void) { kit_shell("head -c 4096 /dev/zero >> '%s'", in_work(SEG0)); }
static void seg_remove_first(void) { kit_shell("rm '%s'", in_work(SEG0)); }
static void seg_remove_middle(void) { kit_shell("rm '%s'", in_work(SEG1)); }
static void seg_remove_from_middle(void) { kit_shell("rm '%s'/00000000000[1-9]", in_work("segments")); }
static void seg_swap_files(void)
{
	kit_shell("cd '%s' && mv 000000000000 x && mv 000000000001 000000000000 && mv x 000000000001", in_work("segments"));
}
static void seg_copy_file(void) { kit_shell("cp '%s' '%s'", in_work(SEG0), in_work(SEG1)); }
static void seg_zero_file(void) { kit_shell("head -c 262144 /dev/zero > '%s'", in_work(SEG1)); }
static void seg_empty_file(void) { kit_shell(": > '%s'", in_work(SEG1)); }
static void seg_extra_file(void) { kit_shell("cp '%s' '%s'", in_work(SEG0), in_work("segments/000000000099")); }
static void seg_foreign_file(void) { kit_shell("echo hello > '%s'", in_work("segments/notes.txt")); }
static void seg_garbage(void) { kit_shell("head -c 262144 /dev/urandom > '%s'", in_work(SEG1)); }
static void seg_all_gone(void) { kit_shell("rm '%s'*", in_work("segments/0")); }

/* --- published files ------------------------------------------------------------------------------------------ */

static void tile_flip(void) { flip("tlog/tile/0/001", 700); }
static void tile_flip_partial(void) { flip("tlog/tile/0/005.p/220", 100); }
static void tile_flip_level1(void) { flip("tlog/tile/1/000.p/5", 33); }
static void tile_flip_old_partial(void) { flip("tlog/tile/1/000.p/2", 33); }
static void tile_cut(void) { cut("tlog/tile/0/002", 32); }
static void tile_grow(void) { kit_shell("head -c 32 /dev/zero >> '%s'", in_work("tlog/tile/0/002")); }
static void tile_remove(void) { kit_shell("rm '%s'", in_work("tlog/tile/0/003")); }
static void tile_swap(void) { kit_shell("cp '%s' '%s'", in_work("tlog/tile/0/003"), in_work("tlog/tile/0/002")); }
static void tile_early_partial(void) { kit_shell("cd '%s' && cp 220 230", in_work("tlog/tile/0/005.p")); }
static void bundle_flip(void) { flip("tlog/tile/entries/001", 5000); }
static void bundle_flip_length(void) { flip("tlog/tile/entries/001", 1); }
static void bundle_flip_partial(void) { flip("tlog/tile/entries/005.p/220", 300); }
static void bundle_cut(void) { cut("tlog/tile/entries/004", 1); }
static void bundle_remove(void) { kit_shell("rm '%s'", in_work("tlog/tile/entries/000")); }
static void tiles_all_gone(void) { kit_shell("rm -r '%s'", in_work("tlog/tile")); }

/* CVE-2026-56865: an entry and its leaf hash in the level-0 tile changed together, upper tiles left alone. */
static void consistent_forgery_at(size_t which)
{
	char path[TILE_PATH_MAX_BYTES + 8] = "tlog/";
	unsigned width = which / TILE_WIDTH < ENTRIES / TILE_WIDTH ? TILE_WIDTH : ENTRIES % TILE_WIDTH;
	tile_path(TILE_ENTRIES, which / TILE_WIDTH, width, path + 5);
	struct bytes b = load(path);
	size_t at = 0;
	for (size_t i = 0; i < which % TILE_WIDTH; i++)
		at += 2 + ((size_t)b.p[at] << 8 | b.p[at + 1]);
	size_t len = (size_t)b.p[at] << 8 | b.p[at + 1];
	letter_change(b.p + at + 2, len);
	uint8_t leaf[HASH_BYTES];
	tree_leaf(b.p + at + 2, len, leaf);
	save(path, b);
	tile_path(0, which / TILE_WIDTH, width, path + 5);
	b = load(path);
	memcpy(b.p + which % TILE_WIDTH * HASH_BYTES, leaf, HASH_BYTES);
	save(path, b);
}
static void forged_pair_first(void) { consistent_forgery_at(0); }
static void forged_pair_middle(void) { consistent_forgery_at(777); }
static void forged_pair_last(void) { consistent_forgery_at(ENTRIES - 1); }
/* The same with the segment changed as well and its tags made right: entry, tile and segment agree. */
static void forged_everywhere(void)
{
	seg_edit_entry_retagged();
	consistent_forgery_at(3 * BATCH + 2);
}

static void cp_flip_size(void) { flip("tlog/checkpoint", strlen(good.key.key.name) + 1); }
static void cp_flip_root(void) { flip("tlog/checkpoint", strlen(good.key.key.name) + 10); }
static void cp_flip_signature(void) { struct bytes b = load("tlog/checkpoint"); free(b.p); flip("tlog/checkpoint", b.len - 20); }
static void cp_cut(void) { cut("tlog/checkpoint", 10); }
static void cp_garbage(void) { kit_shell("echo hello > '%s'", in_work("tlog/checkpoint")); }
static void cp_second_signature(void) /* a known key's broken line beside its good one rejects the note */
{
	struct bytes b = load("tlog/checkpoint");
	char *line = strstr((char *)b.p, "\n\n") + 2;
	size_t n = b.len - (size_t)((uint8_t *)line - b.p);
	struct bytes c = { malloc(b.len + n), b.len + n };
	memcpy(c.p, b.p, b.len);
	memcpy(c.p + b.len, line, n);
	c.p[c.len - 20] = c.p[c.len - 20] == 'A' ? 'B' : 'A';
	free(b.p);
	save("tlog/checkpoint", c);
}

/* --- with a key, or with the whole folder ------------------------------------------------------------------------ */

static void vkey_gone(void) { kit_shell("rm '%s'", in_work("log.vkey")); }
static void vkey_flip(void) { flip("log.vkey", 20); }
static void vkey_swap(void)
{
	struct note_signer other;
	char vkey[NOTE_VKEY_MAX_BYTES + 1];
	kit_key(&other, good.key.key.name, 50);
	note_vkey_format(&other.key, vkey);
	kit_shell("echo '%s' > '%s'", vkey, in_work("log.vkey"));
}

/* A whole log written anew, entries changed, by somebody with this key or another one. */
static void rewritten(uint8_t key_first, uint64_t n, size_t text_len)
{
	struct kit k;
	kit_new_fast(&k);
	kit_key(&k.key, good.key.key.name, key_first);
	kit_open(&k, SEGMENT, NULL);
	kit_fill(&k, n, BATCH, text_len);
	kit_seal(&k);
	kit_close(&k);
	kit_shell("rm -rf '%s' && cp -a '%s' '%s'", work, k.log, work);
	kit_free(&k);
}
static void key_swap_whole_log(void) { rewritten(50, ENTRIES, 300); }
static void key_swap_rest_of_log(void) /* the first segments stay, the rest is signed by another key */
{
	kit_shell("cp -a '%s' '%s.keep'", in_work("segments"), in_work("segments"));
	rewritten(50, ENTRIES, 300);
	kit_shell("cp '%s/segments/000000000000' '%s'", good.log, in_work(SEG0));
}
static void fork_same_length(void) { rewritten(0, ENTRIES, 299); }
static void fork_longer(void) { rewritten(0, ENTRIES + 200, 299); }
static void fork_shorter(void) { rewritten(0, ENTRIES - 200, 299); }
static void rollback_folder(void) { kit_shell("rm -rf '%s' && cp -a '%s.at600' '%s'", work, good.log, work); }
static void folder_rollback(const char *dir)
{
	kit_shell("rm -rf '%s/%s' && cp -a '%s.at600/%s' '%s'", work, dir, good.log, dir, work);
}
static void rollback_segments(void) { folder_rollback("segments"); }
static void rollback_published(void) { folder_rollback("tlog"); }
static void rollback_checkpoint(void)
{
	struct bytes b = { malloc(old_checkpoint_len), old_checkpoint_len };
	memcpy(b.p, old_checkpoint, old_checkpoint_len);
	save("tlog/checkpoint", b);
}

/* --- entries that the key signed but that say something wrong --------------------------------------------------------- */

/* An auditor gone wrong, with the key: entry 5 says that it is entry 6; or is no message at all. */
static void signed_log_of(const uint8_t *entry5, size_t len5)
{
	struct segment_out *o = segment_out_new(65536);
	struct tree_front f = { .size = 0 };
	struct segment_head h = { .number = 0, .bytes = SEGMENT };
	struct entry_stamp stamp = { .wall_ns = 1 };
	uint8_t entry[512], leaf[HASH_BYTES], tag[SEGMENT_TAG_BYTES];
	char vkey[NOTE_VKEY_MAX_BYTES], note[CHECKPOINT_MAX_BYTES];
	size_t len, note_len;
	struct err e;
	note_vkey_format(&good.key.key, vkey);
	hash_sha256(vkey, strlen(vkey), h.key_digest);
	segment_head_tag(&h, tag);
	segment_out_begin(o, 0, tag);
	for (uint64_t i = 0; i < 8; i++) {
		uint8_t *r = kit_record(i, 60, &len);
		len = entry_put(i, &stamp, r, len, entry);
		free(r);
		segment_out_add(o, i == 5 ? entry5 : entry, i == 5 ? len5 : len);
		tree_leaf(i == 5 ? entry5 : entry, i == 5 ? len5 : len, leaf);
		tree_front_add(&f, leaf);
	}
	struct checkpoint c = { .size = 8 };
	tree_front_root(&f, c.root);
	ASSERT_OK(checkpoint_sign(&good.key, &c, note, &note_len, &e), e);
	segment_out_close(o, note, note_len);
	const uint8_t *p = segment_out_with_head(o, &h, &len);
	struct bytes b = { calloc(1, SEGMENT), SEGMENT };
	memcpy(b.p, p, len);
	segment_out_free(o);
	kit_shell("rm -rf '%s'/* '%s'/* && mkdir '%s'", in_work("tlog"), in_work("segments"), in_work("tlog/x"));
	save(SEG0, b);
}
static void entry_wrong_index(void)
{
	struct entry_stamp stamp = { .wall_ns = 1 };
	uint8_t entry[512];
	size_t len;
	uint8_t *r = kit_record(5, 60, &len);
	len = entry_put(6, &stamp, r, len, entry);
	free(r);
	signed_log_of(entry, len);
}
static void entry_garbage(void) { signed_log_of((const uint8_t *)"\xff\xff\xff", 3); }
static void entry_empty(void) { signed_log_of((const uint8_t *)"", 0); }

/* --- the matrix -------------------------------------------------------------------------------------------------- */

enum told { ALONE, KNOWN, KEY }; /* what the checker knows: nothing, an old and the last checkpoint, the log's key */

/* kind: what must be reported. Or: lag, a published checkpoint behind the log, which a crash leaves, too. */
#define LAG ((enum fault_kind)1000)

static const struct row {
	void (*change)(void);
	const char *name;
	enum told told;
	enum fault_kind kind;
	uint64_t index_min, index_max; /* where the fault must be named */
} rows[] = {
#define ROW(f, told, kind, lo, hi) { f, #f, told, kind, lo, hi }
	ROW(seg_flip_entry, ALONE, FAULT_FRAME, 122, 122),
	ROW(seg_flip_entry_head, ALONE, FAULT_FRAME, 500, 800),
	ROW(seg_flip_tag, ALONE, FAULT_FRAME, 81, 81),
	ROW(seg_flip_batch_head, ALONE, FAULT_FRAME, 160, 160),
	ROW(seg_flip_padding, ALONE, FAULT_FRAME, 160, 200),
	ROW(seg_flip_first_block, ALONE, FAULT_FRAME, 500, 800),
	ROW(seg_flip_first_block_padding, ALONE, FAULT_FRAME, 500, 800),
	ROW(seg_flip_key_digest, ALONE, FAULT_FRAME, 0, 0),
	ROW(seg_flip_last_batch, ALONE, FAULT_FRAME, ENTRIES - BATCH + 3, ENTRIES - 1),
	ROW(seg_flip_checkpoint, ALONE, FAULT_FRAME, 160, 200),
	ROW(seg_edit_entry_retagged, ALONE, FAULT_ROOT, 120, 122),
	ROW(seg_edit_last_batch_retagged, ALONE, FAULT_ROOT, ENTRIES - BATCH, ENTRIES),
	ROW(seg_swap_entries_retagged, ALONE, FAULT_ENTRY, 161, 161),
	ROW(seg_remove_batch, ALONE, FAULT_FRAME, 120, 120),
	ROW(seg_remove_batch_retagged, ALONE, FAULT_FRAME, 120, 120),
	ROW(seg_zero_batch, ALONE, FAULT_FRAME, 120, 120),
	ROW(seg_repeat_batch, ALONE, FAULT_FRAME, 120, 120),
	ROW(seg_swap_batches, ALONE, FAULT_FRAME, 80, 80),
	ROW(seg_insert_own_batch, ALONE, FAULT_ROOT, 160, 200),
	ROW(seg_cut_tail_batch, ALONE, FAULT_SHORT, ENTRIES - BATCH, ENTRIES - 1),
	ROW(seg_cut_tail_record, ALONE, FAULT_FRAME, ENTRIES - BATCH + 1, ENTRIES - 1),
	ROW(seg_cut_file, ALONE, FAULT_SEGMENT, 0, 0),
	ROW(seg_cut_file_by_one, ALONE, FAULT_SEGMENT, 500, 800),
	ROW(seg_cut_to_half, ALONE, FAULT_SEGMENT, 500, 800),
	ROW(seg_grow_file, ALONE, FAULT_SEGMENT, 0, 0),
	ROW(seg_remove_first, ALONE, FAULT_SEGMENT, 0, 0),
	ROW(seg_remove_middle, ALONE, FAULT_SEGMENT, 500, 800),
	ROW(seg_remove_from_middle, ALONE, FAULT_SHORT, 500, 800),
	ROW(seg_swap_files, ALONE, FAULT_SEGMENT, 0, 0),
	ROW(seg_copy_file, ALONE, FAULT_SEGMENT, 500, 800),
	ROW(seg_zero_file, ALONE, FAULT_SEGMENT, 500, 800),
	ROW(seg_empty_file, ALONE, FAULT_SEGMENT, 500, 800),
	ROW(seg_extra_file, ALONE, FAULT_FILE, ENTRIES, ENTRIES),
	ROW(seg_foreign_file, ALONE, FAULT_FILE, ENTRIES, ENTRIES),
	ROW(seg_garbage, ALONE, FAULT_FRAME, 500, 800),
	ROW(seg_all_gone, ALONE, FAULT_SHORT, 0, 0),
	ROW(tile_flip, ALONE, FAULT_TILE, 256 + 21, 256 + 21),
	ROW(tile_flip_partial, ALONE, FAULT_TILE, 1280 + 3, 1280 + 3),
	ROW(tile_flip_level1, ALONE, FAULT_TILE, 256, 511),
	ROW(tile_flip_old_partial, ALONE, FAULT_TILE, 256, 511),
	ROW(tile_cut, ALONE, FAULT_TILE, 512, 767),
	ROW(tile_grow, ALONE, FAULT_TILE, 512, 767),
	ROW(tile_remove, ALONE, FAULT_TILE, 768, 1023),
	ROW(tile_swap, ALONE, FAULT_TILE, 512, 767),
	ROW(tile_early_partial, ALONE, FAULT_TILE, ENTRIES, ENTRIES),
	ROW(bundle_flip, ALONE, FAULT_BUNDLE, 256 + 10, 256 + 20),
	ROW(bundle_flip_length, ALONE, FAULT_BUNDLE, 256, 256),
	ROW(bundle_flip_partial, ALONE, FAULT_BUNDLE, 1280, 1281),
	ROW(bundle_cut, ALONE, FAULT_BUNDLE, 1024, 1279),
	ROW(bundle_remove, ALONE, FAULT_BUNDLE, 0, 0),
	ROW(tiles_all_gone, ALONE, FAULT_BUNDLE, 0, 0),
	ROW(forged_pair_first, ALONE, FAULT_BUNDLE, 0, 0),
	ROW(forged_pair_middle, ALONE, FAULT_BUNDLE, 777, 777),
	ROW(forged_pair_last, ALONE, FAULT_BUNDLE, ENTRIES - 1, ENTRIES - 1),
	ROW(forged_everywhere, ALONE, FAULT_ROOT, 120, 122),
	ROW(cp_flip_size, ALONE, FAULT_CHECKPOINT, 0, 0),
	ROW(cp_flip_root, ALONE, FAULT_CHECKPOINT, 0, 0),
	ROW(cp_flip_signature, ALONE, FAULT_CHECKPOINT, 0, 0),
	ROW(cp_cut, ALONE, FAULT_CHECKPOINT, 0, 0),
	ROW(cp_garbage, ALONE, FAULT_CHECKPOINT, 0, 0),
	ROW(cp_second_signature, ALONE, FAULT_CHECKPOINT, 0, 0),
	ROW(vkey_gone, KEY, FAULT_KEY, 0, 0),
	ROW(vkey_flip, KEY, FAULT_KEY, 0, 0),
	ROW(vkey_swap, KEY, FAULT_KEY, 0, 0),
	ROW(vkey_swap, ALONE, FAULT_CHECKPOINT, 0, 0),
	ROW(key_swap_whole_log, KEY, FAULT_KEY, 0, 0),
	ROW(key_swap_rest_of_log, ALONE, FAULT_SEGMENT, 0, 0),
	ROW(fork_same_length, KNOWN, FAULT_FORK, 599, 599),
	ROW(fork_longer, KNOWN, FAULT_FORK, 599, 599),
	ROW(fork_shorter, KNOWN, FAULT_FORK, 599, 599),
	ROW(rollback_folder, KNOWN, FAULT_SHORT, 600, 600),
	ROW(rollback_segments, ALONE, FAULT_SHORT, 600, 600),
	ROW(rollback_published, ALONE, LAG, 0, 0),
	ROW(rollback_checkpoint, ALONE, FAULT_BUNDLE, 512, 767), /* the partial of 600 went when its tile was full */
	ROW(entry_wrong_index, ALONE, FAULT_ENTRY, 5, 5),
	ROW(entry_garbage, ALONE, FAULT_ENTRY, 5, 5),
	ROW(entry_empty, ALONE, FAULT_ENTRY, 5, 5),
};
#define N_ROWS (sizeof rows / sizeof rows[0])

static void check(const struct row *r, struct audit_verdict *v)
{
	struct audit_log *l = NULL;
	struct err e = { 0 };
	struct audit_verify w = { .min_size = 0 };
	if (r->told == KNOWN) {
		w = want;
		w.min_size = ENTRIES;
	}
	ASSERT_OK(audit_log_open(work, r->told == KEY ? &good.key.key : NULL, &l, &e), e);
	int rc = audit_log_verify(l, &w, v, &e);
	audit_log_close(l);
	if (rc != ERR_OK)
		fail_msg("%s: no verdict: %s", r->name, e.text);
}

static void test_matrix(void **state)
{
	(void)state;
	struct audit_verdict v;
	unsigned wrong = 0;
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct row *r = &rows[i];
		kit_shell("rm -rf '%s' && cp -a '%s' '%s'", work, good.log, work);
		r->change();
		check(r, &v);
		bool found = r->kind == LAG ? v.published < v.size
		           : !v.ok && v.fault.kind == r->kind && v.fault.index >= r->index_min && v.fault.index <= r->index_max;
		if (!found) {
			print_message("%s: %s %s %llu (%s), wanted %s %llu..%llu\n", r->name, v.ok ? "GOOD" : "bad",
			              fault_name(v.fault.kind), (unsigned long long)v.fault.index, v.fault.text,
			              r->kind == LAG ? "lag" : fault_name(r->kind), (unsigned long long)r->index_min,
			              (unsigned long long)r->index_max);
			wrong++;
		}
	}
	print_message("tamper matrix: %zu changes\n", N_ROWS);
	assert_int_equal(wrong, 0);
	assert_true(N_ROWS >= 50);
}

/* What is known from outside finds what the log alone cannot show: without it these pass. */
static void test_what_a_log_cannot_know(void **state)
{
	(void)state;
	struct audit_verdict v;
	static void (*const changes[])(void) = { fork_same_length, rollback_folder, key_swap_whole_log };
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		struct row r = { .name = "alone", .told = ALONE };
		kit_shell("rm -rf '%s' && cp -a '%s' '%s'", work, good.log, work);
		changes[i]();
		check(&r, &v);
		assert_true(v.ok);
	}
	/* The auditor's memory is such knowledge. */
	struct audit_log *l = NULL;
	struct audit_verify w = { .min_size = 0 };
	struct err e;
	kit_shell("rm -rf '%s' && cp -a '%s.at600' '%s'", work, good.log, work);
	ASSERT_OK(audit_log_open(work, NULL, &l, &e), e);
	ASSERT_OK(audit_verify_add_state(l, good.state, &w, &e), e);
	assert_int_equal(w.n_known, 1);
	assert_int_equal(w.known[0].size, ENTRIES);
	ASSERT_OK(audit_log_verify(l, &w, &v, &e), e);
	assert_false(v.ok);
	assert_int_equal(v.fault.kind, FAULT_SHORT);
	audit_log_close(l);
}

/* The log as it was is good, whatever the checker knows. */
static void test_no_false_alarm(void **state)
{
	(void)state;
	struct audit_verdict v;
	static const enum told told[] = { ALONE, KNOWN, KEY };
	for (size_t i = 0; i < 3; i++) {
		struct row r = { .name = "good", .told = told[i] };
		kit_shell("rm -rf '%s' && cp -a '%s' '%s'", work, good.log, work);
		check(&r, &v);
		if (!v.ok)
			fail_msg("%s: %s", v.fault.file, v.fault.text);
		assert_int_equal(v.size, ENTRIES);
		assert_int_equal(v.published, ENTRIES);
		assert_memory_equal(v.root, final.root, HASH_BYTES);
		assert_int_equal(v.torn_bytes, 0);
	}
}

/* Every byte of a small log's used part: flipped, it is a fault, or (behind the last commit) reported as torn. */
static void test_every_byte(void **state)
{
	(void)state;
	struct kit k;
	struct audit_verdict v;
	kit_new_fast(&k);
	kit_open(&k, SEGMENT, NULL);
	kit_fill(&k, 7, 3, 40);
	kit_seal(&k);
	kit_close(&k);
	snprintf(work, sizeof work, "%s", k.log);
	size_t n = 0;
	struct bytes seg = load(SEG0);
	for (size_t i = 0; i < seg.len; i++)
		n = seg.p[i] ? i + 1 : n;
	n = (n + SEGMENT_BLOCK_BYTES - 1) / SEGMENT_BLOCK_BYTES * SEGMENT_BLOCK_BYTES;
	FILE *f = fopen(in_work(SEG0), "r+b");
	for (size_t i = 0; i < n + 2; i += i > 4200 && seg.p[i] == 0 ? 97 : i < 4096 && i > 120 ? 13 : 1) {
		fseek(f, (long)i, SEEK_SET);
		fputc(seg.p[i] ^ (1 << i % 8), f);
		fflush(f);
		kit_verify(work, &k.key.key, NULL, &v);
		if (v.ok && !(i >= n && v.torn_bytes))
			fail_msg("byte %zu of the segment does not matter", i);
		fseek(f, (long)i, SEEK_SET);
		fputc(seg.p[i], f);
		fflush(f);
	}
	fclose(f);
	free(seg.p);
	kit_verify(work, &k.key.key, NULL, &v);
	assert_true(v.ok);
	snprintf(work, sizeof work, "%s/work", good.base);
	kit_free(&k);
}

static int setup(void **state)
{
	(void)state;
	kit_new_fast(&good);
	snprintf(work, sizeof work, "%s/work", good.base);
	kit_open(&good, SEGMENT, NULL);
	for (uint64_t i = 0; i < ENTRIES; i++) {
		kit_add(&good, i, 300 + i % 17);
		if (i % BATCH == BATCH - 1)
			kit_commit(&good);
		if (i == 599) {
			kit_seal(&good);
			kit_shell("cp -a '%s' '%s.at600'", good.log, good.log);
			size_t len;
			const char *note = writer_checkpoint(good.w, &len);
			memcpy(old_checkpoint, note, len);
			old_checkpoint_len = len;
			struct err e;
			ASSERT_OK(checkpoint_read(note, len, &good.key.key, &want.known[0], &e), e);
		}
	}
	kit_commit(&good);
	kit_seal(&good);
	size_t len;
	struct err e;
	const char *note = writer_checkpoint(good.w, &len);
	ASSERT_OK(checkpoint_read(note, len, &good.key.key, &want.known[1], &e), e);
	final = want.known[1];
	want.n_known = 2;
	kit_close(&good);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_free(&good);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_false_alarm),
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_what_a_log_cannot_know),
		cmocka_unit_test(test_every_byte),
	};
	return sodium_init() < 0 || cmocka_run_group_tests(tests, setup, teardown);
}
