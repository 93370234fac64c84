/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of logs: see scan.h; the rules of validity and of torn tails stand in segment.c.
 * Side: auditor, cli. Trusts: the key it is given. Owns: one segment's bytes at a time.
 */
#include "audit/scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scan {
	const struct scan_conf *c;
	struct scan_end *end;
	struct fault *fault;
	struct err *e;
	uint8_t key_digest[HASH_BYTES];
	struct segment_batch *batch;
	uint8_t (*leaf)[HASH_BYTES]; /* of its entries */
	/* The segment in memory. */
	uint64_t number;
	char path[SEGMENT_PATH_MAX_BYTES];
	uint8_t *seg;
	size_t len;
};

const char *fault_name(enum fault_kind k)
{
	static const char *const names[] = {
		[FAULT_NONE] = "none",
#define FAULT_TEXT(sym, text) [sym] = text,
		FAULT_TABLE(FAULT_TEXT)
#undef FAULT_TEXT
	};
	return k < FAULT__MAX ? names[k] : "?";
}

int fault_set(struct fault *f, struct err *e, enum fault_kind kind, uint64_t index, const char *file,
              const char *fmt, ...)
{
	char text[ERR_TEXT_MAX_BYTES];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (f) {
		f->kind = kind;
		f->index = index;
		snprintf(f->file, sizeof f->file, "%s", file);
		memcpy(f->text, text, sizeof text);
	}
	return err_set(e, ERR_LOG, "log: entry %llu, %s (%s): %.300s", (unsigned long long)index, file,
	               fault_name(kind), text);
}

#define FAULT(s, kind, ...) \
	fault_set((s)->fault, (s)->e, kind, (s)->end->front.size, (s)->path, __VA_ARGS__)

/* Loads segment number. ERR_NOT_FOUND when there is none. */
static int load(struct scan *s, uint64_t number)
{
	free(s->seg);
	s->seg = NULL;
	s->number = number;
	segment_path(number, s->path);
	return store_load(s->c->log, s->path, SEGMENT_MAX_BYTES, &s->seg, &s->len, s->e);
}

static int head_check(struct scan *s, const struct segment_head *h)
{
	if (h->number != s->number || h->first_index != s->end->front.size ||
	    memcmp(h->prev, s->end->tag, SEGMENT_TAG_BYTES) != 0)
		return FAULT(s, FAULT_SEGMENT, "it does not continue the segment before it");
	if (memcmp(h->key_digest, s->key_digest, HASH_BYTES) != 0)
		return FAULT(s, FAULT_SEGMENT, "it was written under another key than log.vkey");
	if (h->bytes != s->len || h->bytes % SEGMENT_BLOCK_BYTES)
		return FAULT(s, FAULT_SEGMENT, "it has %zu bytes, its first block says %llu: cut or grown", s->len,
		             (unsigned long long)h->bytes);
	return ERR_OK;
}

/* Adds a batch's entries to the tree. */
static int batch_add(struct scan *s, struct tree_front *front)
{
	const struct segment_batch *b = s->batch;
	struct err why;
	for (uint32_t i = 0; i < b->n_entries; i++) {
		if (entry_check(b->entry[i].bytes, b->entry[i].len, front->size, &why) != ERR_OK)
			return fault_set(s->fault, s->e, FAULT_ENTRY, front->size, s->path, "%s", why.text);
		tree_leaf(b->entry[i].bytes, b->entry[i].len, s->leaf[i]);
		tree_front_add(front, s->leaf[i]);
	}
	return ERR_OK;
}

/* Its checkpoint is signed and says what follows from all entries so far. */
static int batch_prove(struct scan *s, const struct tree_front *front, struct checkpoint *cp)
{
	const struct segment_batch *b = s->batch;
	unsigned long long first = b->first_index, last = front->size - 1;
	uint8_t root[HASH_BYTES];
	struct err why;
	if (checkpoint_read(b->note, b->note_len, s->c->key, cp, &why) != ERR_OK)
		return FAULT(s, FAULT_SIGNATURE, "checkpoint of entries %llu to %llu: %s", first, last, why.text);
	tree_front_root(front, root);
	if (cp->size != front->size || memcmp(cp->root, root, HASH_BYTES) != 0)
		return FAULT(s, FAULT_ROOT, "entries %llu to %llu do not have the root that was signed for them", first, last);
	return ERR_OK;
}

/* Takes a whole batch in: order, entries, checkpoint; then tells the caller of it. */
static int batch_take(struct scan *s)
{
	const struct segment_batch *b = s->batch;
	struct scan_end *end = s->end;
	struct tree_front front = end->front;
	struct checkpoint cp;
	if (b->first_index != front.size || memcmp(b->prev, end->tag, SEGMENT_TAG_BYTES) != 0)
		return FAULT(s, FAULT_FRAME, "a batch does not continue the one before it");
	int rc = batch_add(s, &front);
	if (rc == ERR_OK)
		rc = batch_prove(s, &front, &cp);
	for (uint32_t i = 0; i < b->n_entries && rc == ERR_OK && s->c->on_entry; i++)
		rc = s->c->on_entry(s->c->arg, b->first_index + i, b->entry[i].bytes, b->entry[i].len, s->leaf[i], s->e);
	if (rc != ERR_OK)
		return rc;
	end->front = front;
	memcpy(end->tag, b->tag, SEGMENT_TAG_BYTES);
	memcpy(end->note, b->note, b->note_len);
	end->note_len = b->note_len;
	return s->c->on_commit ? s->c->on_commit(s->c->arg, &cp, b->note, b->note_len, s->e) : ERR_OK;
}

/* Looks for a whole, signed, larger batch in the loaded segment from offset on. */
static bool evidence_find(struct scan *s, size_t offset)
{
	struct checkpoint cp;
	uint32_t bad;
	for (; offset < s->len; offset += SEGMENT_BLOCK_BYTES)
		if (segment_batch_get(s->seg, s->len, offset, s->batch, &bad, NULL) == SEGMENT_BATCH &&
		    checkpoint_read(s->batch->note, s->batch->note_len, s->c->key, &cp, NULL) == ERR_OK &&
		    cp.size > s->end->front.size)
			return true;
	return false;
}

static size_t used_bytes(const struct scan *s, size_t offset)
{
	size_t used = s->len;
	while (used > offset && s->seg[used - 1] == 0)
		used--;
	size_t bytes = used - offset + SEGMENT_BLOCK_BYTES - 1;
	bytes -= bytes % SEGMENT_BLOCK_BYTES;
	return bytes < s->len - offset ? bytes : s->len - offset;
}

/* Where what one torn write left at offset must end at the latest, as far as blocks tell: behind the first
 * block; or, for a segment's first block, which is written together with the batch behind it, behind that. */
static size_t torn_write_end(struct scan *s, size_t offset)
{
	uint32_t bad;
	size_t end = offset + SEGMENT_BLOCK_BYTES;
	if (offset == 0 && segment_batch_get(s->seg, s->len, end, s->batch, &bad, NULL) == SEGMENT_BATCH &&
	    s->batch->first_index == s->end->front.size)
		end += s->batch->bytes;
	return end;
}

/* The place (loaded segment, offset) holds something that is no batch: torn tail or damage? */
static int tail_judge(struct scan *s, size_t offset, uint32_t n_good, const char *why)
{
	struct scan_end *end = s->end;
	uint64_t torn_number = s->number;
	char torn_path[SEGMENT_PATH_MAX_BYTES];
	int rc;

	memcpy(torn_path, s->path, sizeof torn_path);
	end->torn = true;
	end->torn_at = (struct scan_place){ s->number, offset };
	end->torn_whole = n_good;
	end->torn_bytes = used_bytes(s, offset);
	hash_sha256(s->seg + offset, end->torn_bytes, end->torn_sha256);
	if (evidence_find(s, torn_write_end(s, offset)))
		return fault_set(s->fault, s->e, FAULT_FRAME, end->front.size + n_good, torn_path,
		                 "%s, and signed entries follow behind: damaged", why);
	/* One write was under way at most: later segments must be empty. */
	while ((rc = load(s, s->number + 1)) == ERR_OK) {
		end->n_files = s->number + 1;
		if (used_bytes(s, 0))
			return fault_set(s->fault, s->e, FAULT_FRAME, end->front.size + n_good, torn_path,
			                 "%s, and segment %llu is in use: damaged", why,
			                 (unsigned long long)torn_number + 1);
	}
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* Reads the batches of the loaded segment. 1: read to its end; 0: the log ends here. */
static int segment_read(struct scan *s, size_t offset)
{
	struct err why = { 0 };
	uint32_t n_good;
	for (;;) {
		enum segment_found found = segment_batch_get(s->seg, s->len, offset, s->batch, &n_good, &why);
		s->end->next.offset = offset;
		if (found == SEGMENT_EMPTY)
			return 1;
		if (found == SEGMENT_BROKEN)
			return tail_judge(s, offset, n_good, why.text);
		int rc = batch_take(s);
		if (rc != ERR_OK)
			return rc;
		offset += s->batch->bytes;
	}
}

/* One segment. 1: go on with the next; 0: the log ends here. */
static int segment_scan(struct scan *s, uint64_t number)
{
	struct segment_head h;
	struct err why = { 0 };
	int rc = load(s, number);
	if (rc != ERR_OK)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	s->end->n_files = number + 1;
	enum segment_found found = segment_head_get(s->seg, s->len, &h, &why);
	if (found == SEGMENT_BROKEN || (found == SEGMENT_EMPTY && used_bytes(s, 0))) {
		/* Its first write was torn, or it was damaged; the segment before it stays the last one. */
		struct scan_place next = s->end->next;
		rc = tail_judge(s, 0, 0, found == SEGMENT_BROKEN ? why.text : "the segment's first block is missing");
		s->end->next = next;
		return rc;
	}
	if (found == SEGMENT_EMPTY) /* prepared: nothing may follow but nothing */
		return 1;
	if (s->end->has_segment ? number != s->end->next.segment + 1 : number != 0)
		return FAULT(s, FAULT_SEGMENT, "an empty segment stands before it");
	if ((rc = head_check(s, &h)) != ERR_OK)
		return rc;
	s->end->has_segment = true;
	s->end->next.segment = number;
	s->end->segment_bytes = s->len;
	segment_head_tag(&h, s->end->tag);
	return segment_read(s, SEGMENT_BLOCK_BYTES);
}

int log_scan(const struct scan_conf *c, struct scan_end *end, struct fault *f, struct err *e)
{
	struct scan s = { .c = c, .end = end, .fault = f, .e = e };
	char vkey[NOTE_VKEY_MAX_BYTES];
	int rc;
	memset(end, 0, sizeof *end);
	if (f)
		memset(f, 0, sizeof *f);
	s.batch = malloc(sizeof *s.batch);
	s.leaf = malloc(SEGMENT_BATCH_ENTRIES_MAX * sizeof *s.leaf);
	if (!s.batch || !s.leaf) {
		free(s.batch);
		free(s.leaf);
		return err_set(e, ERR_NOMEM, "log: no memory to read a batch");
	}
	note_vkey_format(c->key, vkey);
	hash_sha256(vkey, strlen(vkey), s.key_digest);
	for (uint64_t number = 0; (rc = segment_scan(&s, number)) == 1; number++)
		continue;
	/* A hole in the row of names: the next one must not be there. */
	if (rc == ERR_OK && (rc = load(&s, end->n_files + 1)) == ERR_OK)
		rc = FAULT(&s, FAULT_SEGMENT, "the segment before it is missing");
	free(s.seg);
	free(s.batch);
	free(s.leaf);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}
