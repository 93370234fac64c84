/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's writer: see writer.h; format and recovery rules stand in segment.c.
 * Side: auditor. Trusts: its caller; nothing that it reads from the disk. Owns: the log's files.
 *
 * One rule for errors: a failed write or sync ends the log's life in this process ("failed"). It is
 * never tried again, because a sync that succeeds after one that failed says nothing about the data.
 */
#include "audit/writer.h"

#include "audit/prepare.h"
#include "audit/publish.h"
#include "audit/scan.h"
#include "audit/state.h"
#include "proto/fumehood.pb-c.h"
#include "proto/mem.h"
#include "proto/pb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VKEY_PATH "log.vkey"
#define BATCH_MAX_BYTES MIB(1)
#define PUBLISH_MAX_BYTES MIB(1)      /* full tiles that wait in memory */
#define PUBLISH_MAX_ENTRIES 65536     /* entries that no published checkpoint covers, however busy */
#define PREPARE_SLICE_BYTES KIB(512)

struct place {
	const uint8_t *bytes;
	size_t len;
	uint8_t leaf[HASH_BYTES];
};

struct writer {
	struct writer_conf conf;
	struct state state;
	struct publish *publish;
	struct prepare next;
	struct segment_out *out;
	struct tree_span *span;      /* from the start of the batch that is open, or was committed last */
	struct place *entry;         /* of that batch */
	bool is_open;                /* a batch is open */
	bool is_settled;             /* the last commit is in state and publisher */
	bool failed;
	uint8_t key_digest[HASH_BYTES];
	/* The active segment. */
	bool has_segment;
	int file;
	uint64_t number, bytes, offset;
	uint8_t tag[SEGMENT_TAG_BYTES];
	/* The last commit. */
	uint64_t size;
	size_t last_bytes;
	uint64_t prepare_due; /* bytes of the next segment that are owed */
	char note[CHECKPOINT_MAX_BYTES];
	size_t note_len;
};

/* --- opening ----------------------------------------------------------------------------------- */

/* Writes a small new file whole: temporary name, sync, rename. */
static int file_put(struct store *s, const char *path, const char *dir, const void *bytes, size_t len,
                    struct err *e)
{
	char temp[128];
	int file = -1, n;
	snprintf(temp, sizeof temp, "%s.new", path);
	if ((n = s->ops->open(s, temp, STORE_TEMP, &file)) < 0)
		return store_err(e, "make", temp, n);
	if ((n = s->ops->write(s, file, bytes, len, 0)) == 0)
		n = s->ops->sync(s, file);
	s->ops->close(s, file);
	if (n == 0 && (n = s->ops->rename(s, temp, path)) == 0)
		n = s->ops->sync_dir(s, dir);
	return n < 0 ? store_err(e, "write", path, n) : ERR_OK;
}

static int dirs_make(struct store *log, struct err *e)
{
	static const char *const dirs[] = { "segments", "quarantine", PUBLISH_DIR };
	int n;
	for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
		if ((n = log->ops->make_dir(log, dirs[i])) < 0)
			return store_err(e, "make", dirs[i], n);
	/* Where C2SP's readers look. The files stand in a folder of their own, because the wall lets files be
	 * replaced there and nowhere else, and such a right holds for all that is below. */
	if ((n = log->ops->make_link(log, PUBLISH_CHECKPOINT, "checkpoint")) < 0 ||
	    (n = log->ops->make_link(log, PUBLISH_DIR "/tile", "tile")) < 0)
		return store_err(e, "link", PUBLISH_DIR, n);
	return (n = log->ops->sync_dir(log, "")) < 0 ? store_err(e, "sync", "", n) : ERR_OK;
}

static void vkey_line(const struct note_key *k, char out[NOTE_VKEY_MAX_BYTES + 1])
{
	note_vkey_format(k, out);
	strncat(out, "\n", NOTE_VKEY_MAX_BYTES - strlen(out));
}

/* log.vkey names the key that the log was begun with. ERR_NOT_FOUND: it is not there. */
static int vkey_check(const struct writer_conf *c, struct err *e)
{
	char want[NOTE_VKEY_MAX_BYTES + 1];
	uint8_t *have = NULL;
	size_t len = 0;
	vkey_line(&c->key->key, want);
	int rc = store_load(c->log, VKEY_PATH, 4096, &have, &len, e);
	if (rc == ERR_OK && (len != strlen(want) || memcmp(have, want, len) != 0))
		rc = err_set(e, ERR_LOG, "log: " VKEY_PATH " is another key than the one given: use the key that this log "
		             "was begun with, or another folder");
	free(have);
	return rc;
}

int writer_prepare_folder(const struct writer_conf *c, struct err *e)
{
	char line[NOTE_VKEY_MAX_BYTES + 1], first[SEGMENT_PATH_MAX_BYTES];
	int rc = dirs_make(c->log, e), file = -1;
	if (rc != ERR_OK || (rc = vkey_check(c, e)) != ERR_NOT_FOUND)
		return rc;
	segment_path(0, first);
	if (c->log->ops->open(c->log, first, STORE_READ, &file) == 0) {
		c->log->ops->close(c->log, file);
		return err_set(e, ERR_LOG, "log: " VKEY_PATH " is missing beside segments: put it back");
	}
	vkey_line(&c->key->key, line);
	return file_put(c->log, VKEY_PATH, "", line, strlen(line), e);
}

/* What is known of the log from elsewhere, held against it while it is read. */
struct known {
	const char *what;
	bool has, seen;
	struct checkpoint c;
};

struct opening {
	struct writer *w;
	struct known known[2]; /* the state, the published checkpoint */
	struct tree_front front;
};

static int known_check(struct opening *o, struct err *e)
{
	uint8_t root[HASH_BYTES];
	for (size_t i = 0; i < 2; i++) {
		struct known *k = &o->known[i];
		if (!k->has || k->c.size != o->front.size)
			continue;
		tree_front_root(&o->front, root);
		if (memcmp(root, k->c.root, HASH_BYTES) != 0)
			return err_set(e, ERR_LOG, "log: its first %llu entries are not those that %s knows: it was "
			               "replaced; run fumehood audit verify", (unsigned long long)k->c.size, k->what);
		k->seen = true;
	}
	return ERR_OK;
}

static int open_entry(void *arg, uint64_t index, const uint8_t *bytes, size_t len, const uint8_t leaf[HASH_BYTES],
                      struct err *e)
{
	struct opening *o = arg;
	struct publish *p = o->w->publish;
	(void)index;
	tree_front_add(&o->front, leaf);
	int rc = publish_add(p, leaf, bytes, len, e);
	if (rc == ERR_OK && publish_queued_bytes(p) >= PUBLISH_MAX_BYTES)
		rc = publish_full(p, e);
	return rc == ERR_OK ? known_check(o, e) : rc;
}

/* The published checkpoint, if there is one. */
static int published_read(struct writer *w, struct known *k, struct err *e)
{
	uint8_t *note = NULL;
	size_t len = 0;
	struct err why;
	int rc = store_load(w->conf.log, PUBLISH_CHECKPOINT, CHECKPOINT_READ_MAX_BYTES, &note, &len, e);
	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	if (rc == ERR_OK && checkpoint_read((char *)note, len, &w->conf.key->key, &k->c, &why) != ERR_OK)
		rc = err_set(e, ERR_LOG, "log: " PUBLISH_CHECKPOINT " is not a checkpoint of this log (%.200s): run fumehood "
		             "audit verify, then move " PUBLISH_DIR "/ away to have it made again", why.text);
	k->has = rc == ERR_OK;
	free(note);
	return rc;
}

static int lost_check(const struct opening *o, struct err *e)
{
	for (size_t i = 0; i < 2; i++)
		if (o->known[i].has && !o->known[i].seen)
			return err_set(e, ERR_LOG, "log: it has %llu entries, %s knows %llu: it was rolled back or damaged at "
			               "its end; restore it, or run fumehood audit verify",
			               (unsigned long long)o->front.size, o->known[i].what,
			               (unsigned long long)o->known[i].c.size);
	return ERR_OK;
}

/* Copies the torn tail to quarantine/, then overwrites it with zeros. */
static int torn_put_aside(struct writer *w, const struct scan_end *end, char name[80], struct err *e)
{
	struct store *s = w->conf.log;
	char path[SEGMENT_PATH_MAX_BYTES], temp[96];
	uint8_t *tail = NULL;
	int file = -1, n, rc = ERR_OK;
	size_t len = (size_t)end->torn_bytes;

	segment_path(end->torn_at.segment, path);
	snprintf(name, 80, "quarantine/torn-%012llu-%llu-%02x%02x%02x%02x%02x%02x%02x%02x",
	         (unsigned long long)end->torn_at.segment, (unsigned long long)end->torn_at.offset,
	         end->torn_sha256[0], end->torn_sha256[1], end->torn_sha256[2], end->torn_sha256[3],
	         end->torn_sha256[4], end->torn_sha256[5], end->torn_sha256[6], end->torn_sha256[7]);
	snprintf(temp, sizeof temp, "%s", name);
	if (!(tail = aligned_alloc(STORE_BLOCK_BYTES, (len + STORE_BLOCK_BYTES - 1) & ~(size_t)(STORE_BLOCK_BYTES - 1))))
		return err_set(e, ERR_NOMEM, "log: no memory for a torn tail of %zu bytes", len);
	if ((n = s->ops->open(s, path, STORE_WRITE, &file)) < 0) {
		rc = store_err(e, "open", path, n);
	} else if ((n = s->ops->read(s, file, tail, len, end->torn_at.offset)) < 0) {
		rc = store_err(e, "read", path, n);
	}
	int copy = -1;
	if (rc == ERR_OK && (n = s->ops->open(s, temp, STORE_LAZY, &copy)) < 0)
		rc = store_err(e, "make", temp, n);
	if (rc == ERR_OK && ((n = s->ops->write(s, copy, tail, len, 0)) < 0 || (n = s->ops->sync(s, copy)) < 0 ||
	                     (n = s->ops->sync_dir(s, "quarantine")) < 0))
		rc = store_err(e, "write", temp, n);
	memset(tail, 0, len);
	if (rc == ERR_OK && ((n = s->ops->write(s, file, tail, len, end->torn_at.offset)) < 0 ||
	                     (n = s->ops->sync(s, file)) < 0))
		rc = store_err(e, "clear the torn tail of", path, n);
	if (file >= 0)
		s->ops->close(s, file);
	if (copy >= 0)
		s->ops->close(s, copy);
	free(tail);
	return rc;
}

static int record_add(struct writer *w, const Fumehood__Record *r, struct err *e)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	uint64_t index;
	int rc = pb_pack(&r->base, &bytes, &len, e);
	if (rc == ERR_OK)
		rc = writer_add(w, bytes, len, &index, e);
	free(bytes);
	return rc;
}

/* The record of a torn tail, the first entry of the recovered log. */
static int torn_record(struct writer *w, const struct scan_end *end, char *name, struct err *e)
{
	Fumehood__Record r;
	uint8_t digest[HASH_BYTES];
	char text[240], code[] = "torn-tail";
	memcpy(digest, end->torn_sha256, sizeof digest);
	snprintf(text, sizeof text, "%llu bytes of a write that no caller was answered for were put aside as %s",
	         (unsigned long long)end->torn_bytes, name);
	fumehood__record__init(&r);
	r.kind = FUMEHOOD__RECORD_KIND__TORN_TAIL;
	r.code = code;
	r.text = text;
	r.file_sha256 = (ProtobufCBinaryData){ sizeof digest, digest };
	int rc = record_add(w, &r, e);
	return rc == ERR_OK ? writer_commit(w, e) : rc;
}

/* Takes over what the scan found. */
static int position_set(struct writer *w, const struct scan_end *end, struct err *e)
{
	struct store *s = w->conf.log;
	char path[SEGMENT_PATH_MAX_BYTES];
	int n;
	w->has_segment = end->has_segment;
	w->number = end->next.segment;
	w->offset = end->next.offset;
	w->bytes = end->segment_bytes;
	w->size = end->front.size;
	memcpy(w->tag, end->tag, SEGMENT_TAG_BYTES);
	if (end->note_len > sizeof w->note)
		return err_set(e, ERR_INTERNAL, "log: checkpoint of %zu bytes", end->note_len);
	memcpy(w->note, end->note, end->note_len);
	w->note_len = end->note_len;
	prepare_init(&w->next, s, w->has_segment ? w->number + 1 : 0, w->conf.segment_bytes);
	if (!w->has_segment)
		return prepare_finish(&w->next, e);
	segment_path(w->number, path);
	return (n = s->ops->open(s, path, STORE_WRITE, &w->file)) < 0 ? store_err(e, "open", path, n) : ERR_OK;
}

static int conf_check(const struct writer_conf *c, struct err *e)
{
	if (c->segment_bytes < SEGMENT_MIN_BYTES || c->segment_bytes > SEGMENT_MAX_BYTES ||
	    c->segment_bytes % SEGMENT_BLOCK_BYTES)
		return err_set(e, ERR_CONFIG, "log: segments of %llu bytes: want a multiple of %d from %llu to %llu",
		               (unsigned long long)c->segment_bytes, SEGMENT_BLOCK_BYTES,
		               (unsigned long long)SEGMENT_MIN_BYTES, (unsigned long long)SEGMENT_MAX_BYTES);
	return ERR_OK;
}

static int parts_make(struct writer *w, uint64_t published, struct err *e)
{
	struct entry_stamp stamp;
	struct tree_front none = { .size = 0 };
	uint64_t batch = w->conf.segment_bytes / 4;
	batch -= batch % SEGMENT_BLOCK_BYTES;
	batch = batch < BATCH_MAX_BYTES ? batch : BATCH_MAX_BYTES;
	w->conf.stamp(w->conf.stamp_arg, &stamp);
	w->out = segment_out_new((size_t)batch);
	w->span = tree_span_new(&none);
	w->entry = calloc(SEGMENT_BATCH_ENTRIES_MAX, sizeof *w->entry);
	w->publish = publish_new(w->conf.log, published, stamp.wall_ns);
	if (!w->out || !w->span || !w->entry || !w->publish)
		return err_set(e, ERR_NOMEM, "log: no memory to open it");
	return ERR_OK;
}

/* Reads the log and makes w ready to write behind it. */
static int recover(struct writer *w, struct writer_opened *info, struct err *e)
{
	struct opening o = { .w = w, .known = { { .what = "the log's state" }, { .what = PUBLISH_CHECKPOINT } } };
	struct scan_end *end = NULL;
	char aside[80] = "", vkey[NOTE_VKEY_MAX_BYTES];
	int rc;

	note_vkey_format(&w->conf.key->key, vkey);
	hash_sha256(vkey, strlen(vkey), w->key_digest);
	if ((rc = conf_check(&w->conf, e)) != ERR_OK || (rc = vkey_check(&w->conf, e)) != ERR_OK ||
	    (rc = state_open(w->conf.state, &w->conf.key->key, &w->state, e)) != ERR_OK ||
	    (rc = published_read(w, &o.known[1], e)) != ERR_OK ||
	    (rc = parts_make(w, o.known[1].has ? o.known[1].c.size : 0, e)) != ERR_OK)
		return rc;
	o.known[0].has = w->state.has;
	o.known[0].c = w->state.known;
	if (!(end = malloc(sizeof *end)))
		return err_set(e, ERR_NOMEM, "log: no memory to read it");
	struct scan_conf sc = { w->conf.log, &w->conf.key->key, open_entry, NULL, &o };
	if ((rc = known_check(&o, e)) != ERR_OK || (rc = log_scan(&sc, end, NULL, e)) != ERR_OK ||
	    (rc = lost_check(&o, e)) != ERR_OK)
		goto out;
	if (end->torn && (rc = torn_put_aside(w, end, aside, e)) != ERR_OK)
		goto out;
	if ((rc = position_set(w, end, e)) != ERR_OK)
		goto out;
	tree_span_restart(w->span, &end->front);
	w->is_settled = true;
	if (end->torn && ((rc = torn_record(w, end, aside, e)) != ERR_OK || (rc = writer_settle(w, e)) != ERR_OK))
		goto out;
	info->size = w->size;
	info->torn_tail = end->torn;
out:
	free(end);
	return rc;
}

int writer_open(const struct writer_conf *c, struct writer **out, struct writer_opened *info, struct err *e)
{
	struct writer *w = calloc(1, sizeof *w);
	if (!w)
		return err_set(e, ERR_NOMEM, "log: no memory to open it");
	w->conf = *c;
	w->file = w->state.file = w->next.file = -1;
	w->next.store = c->log;
	int rc = recover(w, info, e);
	if (rc == ERR_OK)
		*out = w;
	else
		writer_close(w);
	return rc;
}

void writer_close(struct writer *w)
{
	if (!w)
		return;
	if (w->file >= 0)
		w->conf.log->ops->close(w->conf.log, w->file);
	prepare_clear(&w->next);
	state_close(&w->state);
	publish_free(w->publish);
	segment_out_free(w->out);
	tree_span_free(w->span);
	free(w->entry);
	free(w);
}

/* --- adding ------------------------------------------------------------------------------------ */

static int fail(struct writer *w, int rc)
{
	w->failed = true;
	return rc;
}

static int usable(const struct writer *w, struct err *e)
{
	return w->failed ? err_set(e, ERR_LOG, "log: it has failed: nothing more is written") : ERR_OK;
}

bool writer_fits(const struct writer *w, size_t record_len)
{
	return !w->is_open || segment_out_fits(w->out, ENTRY_FRONT_MAX_BYTES + record_len);
}

static void batch_begin(struct writer *w)
{
	struct tree_front now = *tree_span_front(w->span);
	tree_span_restart(w->span, &now);
	segment_out_begin(w->out, w->size, w->tag);
	w->is_open = true;
}

int writer_add(struct writer *w, const uint8_t *record, size_t len, uint64_t *index, struct err *e)
{
	uint8_t entry[ENTRY_MAX_BYTES];
	struct entry_stamp stamp;
	int rc = usable(w, e);
	if (rc == ERR_OK && len > LIMIT_RECORD_BYTES)
		rc = err_set(e, ERR_LIMIT, "record of %zu bytes, at most %d", len, LIMIT_RECORD_BYTES);
	if (rc == ERR_OK && !w->is_settled)
		rc = writer_settle(w, e);
	if (rc != ERR_OK)
		return rc;
	if (!w->is_open)
		batch_begin(w);
	if (!segment_out_fits(w->out, ENTRY_FRONT_MAX_BYTES + len))
		return err_set(e, ERR_LIMIT, "log: the batch is full: commit it first");
	uint32_t i = segment_out_count(w->out);
	w->conf.stamp(w->conf.stamp_arg, &stamp);
	*index = w->size + i;
	size_t entry_len = entry_put(*index, &stamp, record, len, entry);
	struct place *p = &w->entry[i];
	tree_leaf(entry, entry_len, p->leaf);
	if ((rc = tree_span_add(w->span, p->leaf, e)) != ERR_OK)
		return fail(w, rc);
	p->bytes = segment_out_add(w->out, entry, entry_len);
	p->len = entry_len;
	return ERR_OK;
}

/* --- committing -------------------------------------------------------------------------------- */

static int checkpoint_make(struct writer *w, struct err *e)
{
	struct checkpoint c = { .size = tree_span_front(w->span)->size };
	tree_front_root(tree_span_front(w->span), c.root);
	return checkpoint_sign(w->conf.key, &c, w->note, &w->note_len, e);
}

/* Writes the closed batch behind the last one, in one write. */
static int batch_write(struct writer *w, struct err *e)
{
	uint8_t tag[SEGMENT_TAG_BYTES];
	size_t len;
	const uint8_t *p = segment_out_batch(w->out, &len, tag);
	struct store *s = w->conf.log;
	int n = s->ops->write(s, w->file, p, len, w->offset);
	if (n < 0)
		return store_err(e, "commit to", "the active segment", n);
	w->offset += len;
	w->last_bytes = len;
	memcpy(w->tag, tag, sizeof tag);
	return ERR_OK;
}

/* The same into the prepared segment, together with its first block. */
static int batch_write_first(struct writer *w, const struct segment_head *h, int file, struct err *e)
{
	uint8_t tag[SEGMENT_TAG_BYTES];
	struct store *s = w->conf.log;
	size_t len, all;
	(void)segment_out_batch(w->out, &len, tag);
	const uint8_t *p = segment_out_with_head(w->out, h, &all);
	int n = s->ops->write(s, file, p, all, 0);
	if (n < 0) {
		s->ops->close(s, file);
		return store_err(e, "commit to", "a new segment", n);
	}
	if (w->file >= 0)
		s->ops->close(s, w->file);
	w->file = file;
	w->has_segment = true;
	w->number = h->number;
	w->bytes = h->bytes;
	w->offset = all;
	w->last_bytes = len;
	memcpy(w->tag, tag, sizeof tag);
	return ERR_OK;
}

static int commit_here(struct writer *w, struct err *e)
{
	segment_out_close(w->out, w->note, w->note_len);
	return batch_write(w, e);
}

static int commit_next(struct writer *w, struct err *e)
{
	struct segment_head h = { .number = w->next.number, .first_index = w->size };
	uint8_t tag[SEGMENT_TAG_BYTES];
	memcpy(h.prev, w->tag, SEGMENT_TAG_BYTES);
	memcpy(h.key_digest, w->key_digest, HASH_BYTES);
	int file = prepare_take(&w->next, &h.bytes);
	segment_head_tag(&h, tag);
	segment_out_continue(w->out, tag);
	segment_out_close(w->out, w->note, w->note_len);
	return batch_write_first(w, &h, file, e);
}

static bool has_room(const struct writer *w, uint64_t reserve)
{
	uint64_t need = segment_out_bytes(w->out);
	return w->has_segment && ck_range(w->offset, need + reserve, w->bytes);
}

/* The disk is full: drops the batch, whose callers get no answer, and says so in a last record, for which
 * each segment keeps a reserve. */
static void last_record(struct writer *w, const char *why)
{
	Fumehood__Record r;
	char text[ERR_TEXT_MAX_BYTES + 64], code[] = "log";
	struct tree_front at_start;
	struct err e;
	if (!w->has_segment)
		return;
	if (w->is_open) { /* back to the tree as it was before this batch */
		at_start = *tree_span_start(w->span);
		tree_span_restart(w->span, &at_start);
		w->is_open = false;
	}
	snprintf(text, sizeof text, "the log ends here, unfinished calls were not answered: %.300s", why);
	fumehood__record__init(&r);
	r.kind = FUMEHOOD__RECORD_KIND__SHUTDOWN;
	r.code = code;
	r.text = text;
	if (record_add(w, &r, &e) == ERR_OK && has_room(w, 0) && checkpoint_make(w, &e) == ERR_OK &&
	    commit_here(w, &e) == ERR_OK) {
		w->size = tree_span_front(w->span)->size;
		w->is_open = false;
		if (state_put(&w->state, w->note, w->note_len, &e) != ERR_OK || state_sync(&w->state, &e) != ERR_OK)
			return; /* the log ends either way, and the entry is durable */
	}
}

int writer_commit(struct writer *w, struct err *e)
{
	int rc = usable(w, e);
	if (rc != ERR_OK)
		return rc;
	if (!w->is_open || segment_out_count(w->out) == 0)
		return ERR_OK;
	bool here = has_room(w, SEGMENT_RESERVE_BYTES);
	if (!here && (rc = prepare_finish(&w->next, e)) != ERR_OK) {
		if (rc == ERR_LOG)
			last_record(w, e->text);
		return fail(w, rc);
	}
	if ((rc = checkpoint_make(w, e)) != ERR_OK || (rc = here ? commit_here(w, e) : commit_next(w, e)) != ERR_OK)
		return fail(w, rc);
	w->size = tree_span_front(w->span)->size;
	w->is_open = false;
	w->is_settled = false;
	return ERR_OK;
}

/* --- the last commit ----------------------------------------------------------------------------- */

uint64_t writer_size(const struct writer *w)
{
	return w->size;
}

const char *writer_checkpoint(const struct writer *w, size_t *len)
{
	*len = w->note_len;
	return w->note;
}

int writer_proof(const struct writer *w, uint64_t index, struct tree_proof *out, struct err *e)
{
	return tree_inclusion(w->span, index, w->size, out, e);
}

const uint8_t *writer_entry(const struct writer *w, uint64_t index, size_t *len)
{
	uint64_t first = tree_span_start(w->span)->size;
	if (w->is_open || index < first || index >= w->size)
		return NULL;
	*len = w->entry[index - first].len;
	return w->entry[index - first].bytes;
}

/* --- afterwards ---------------------------------------------------------------------------------- */

/* A full disk met while publishing or preparing ends the log as one met in a commit does. */
static int ended(struct writer *w, int rc, const struct err *e)
{
	if (rc == ERR_LOG && !w->failed)
		last_record(w, e->text);
	return fail(w, rc);
}

static int commit_note(struct writer *w, struct err *e)
{
	uint64_t first = tree_span_start(w->span)->size;
	int rc = ERR_OK;
	if (w->is_settled)
		return ERR_OK;
	for (uint64_t i = 0; i < w->size - first && rc == ERR_OK; i++)
		rc = publish_add(w->publish, w->entry[i].leaf, w->entry[i].bytes, w->entry[i].len, e);
	if (rc == ERR_OK)
		rc = state_put(&w->state, w->note, w->note_len, e);
	w->is_settled = true;
	return rc;
}

static bool should_prepare(const struct writer *w)
{
	return !w->next.ready && w->has_segment && w->offset > w->bytes / 2;
}

int writer_settle(struct writer *w, struct err *e)
{
	int rc = usable(w, e);
	if (rc == ERR_OK)
		rc = commit_note(w, e);
	if (rc == ERR_OK && publish_pending(w->publish) >= PUBLISH_MAX_ENTRIES)
		rc = publish_all(w->publish, w->note, w->note_len, e);
	else if (rc == ERR_OK && publish_queued_bytes(w->publish) >= PUBLISH_MAX_BYTES)
		rc = publish_full(w->publish, e);
	/* Half of the segment is left: four bytes of the next one for each byte of this one are in time. */
	if (rc == ERR_OK && should_prepare(w) && (w->prepare_due += w->last_bytes * 4) >= PREPARE_SLICE_BYTES) {
		w->prepare_due = 0;
		rc = prepare_step(&w->next, PREPARE_SLICE_BYTES, e);
	}
	return rc == ERR_OK ? rc : ended(w, rc, e);
}

bool writer_has_work(const struct writer *w)
{
	return !w->failed && (!w->is_settled || publish_pending(w->publish) || should_prepare(w));
}

int writer_idle(struct writer *w, bool *more, struct err *e)
{
	int rc = usable(w, e);
	if (rc == ERR_OK)
		rc = commit_note(w, e);
	if (rc == ERR_OK && publish_pending(w->publish)) {
		rc = publish_all(w->publish, w->note, w->note_len, e);
		if (rc == ERR_OK)
			rc = state_sync(&w->state, e);
	} else if (rc == ERR_OK && should_prepare(w)) {
		rc = prepare_step(&w->next, PREPARE_SLICE_BYTES, e);
	}
	*more = rc == ERR_OK && writer_has_work(w);
	return rc == ERR_OK ? rc : ended(w, rc, e);
}

int writer_seal(struct writer *w, struct err *e)
{
	int rc = usable(w, e);
	if (rc == ERR_OK && w->is_open)
		rc = writer_commit(w, e);
	if (rc == ERR_OK)
		rc = commit_note(w, e);
	if (rc == ERR_OK)
		rc = publish_all(w->publish, w->note, w->note_len, e);
	if (rc == ERR_OK)
		rc = state_sync(&w->state, e);
	return rc == ERR_OK ? rc : ended(w, rc, e);
}
