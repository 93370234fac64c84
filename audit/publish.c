/* SPDX-License-Identifier: Apache-2.0
 *
 * The publisher: see publish.h.
 * Side: auditor. Trusts: its caller's entries. Owns: the files under tlog/.
 */
#include "audit/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 128
#define OPEN_MAX_FILES 32  /* written together, so that their syncs share the disk's work */
#define DIRS_MAX 64

struct file {
	struct file *next;
	char path[PATH_BYTES];
	size_t len;
	uint8_t bytes[];
};

/* Widths of the partial files of one growing tile that may be on disk. */
struct partials {
	uint64_t index;
	bool width[TILE_WIDTH];
};

struct publish {
	struct store *store;
	struct tile_edge edge;
	uint64_t published;
	uint64_t temp_number;
	struct file *first, **last;     /* to be written */
	uint64_t queued_bytes;
	struct file *lazy, **last_lazy; /* written, to be synced: names only */
	struct partials partials[TILE_LEVELS + 1], old[TILE_LEVELS + 1];
	char dir[DIRS_MAX][PATH_BYTES]; /* to be synced in this pass */
	unsigned n_dirs;
	char made[PATH_BYTES];          /* the folder that was made last */
};

struct publish *publish_new(struct store *s, uint64_t published, uint64_t seed)
{
	struct publish *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->store = s;
	p->published = published;
	p->temp_number = seed;
	p->last = &p->first;
	p->last_lazy = &p->lazy;
	tile_edge_init(&p->edge);
	/* Which partial files an earlier run left behind is not known: any. */
	for (unsigned l = 0; l <= TILE_LEVELS; l++) {
		p->partials[l].index = tile_full_count(l, published);
		memset(p->partials[l].width, published > 0, sizeof p->partials[l].width);
	}
	return p;
}

static void files_free(struct file *f)
{
	for (struct file *next; f; f = next) {
		next = f->next;
		free(f);
	}
}

static void queue_clear(struct publish *p)
{
	files_free(p->first);
	p->first = NULL;
	p->last = &p->first;
	p->queued_bytes = 0;
}

void publish_free(struct publish *p)
{
	if (p) {
		queue_clear(p);
		files_free(p->lazy);
		tile_edge_clear(&p->edge);
	}
	free(p);
}

uint64_t publish_pending(const struct publish *p)
{
	return p->edge.size > p->published ? p->edge.size - p->published : 0;
}

uint64_t publish_queued_bytes(const struct publish *p)
{
	return p->queued_bytes;
}

/* --- the queue of files ------------------------------------------------------------------------ */

static int queue_put(struct publish *p, const char *path, const uint8_t *bytes, size_t len, struct err *e)
{
	struct file *f = malloc(sizeof *f + len);
	if (!f)
		return err_set(e, ERR_NOMEM, "log: no memory to publish %s", path);
	f->next = NULL;
	snprintf(f->path, sizeof f->path, PUBLISH_DIR "/%s", path);
	f->len = len;
	memcpy(f->bytes, bytes, len);
	*p->last = f;
	p->last = &f->next;
	p->queued_bytes += len;
	return ERR_OK;
}

/* Entries that a full tile covers, from the first one on: 256^(level + 1) * (index + 1). */
static bool is_published(const struct publish *p, unsigned level, uint64_t index)
{
	return index < tile_full_count(level, p->published);
}

static int full_put(void *arg, unsigned level, uint64_t index, const uint8_t *bytes, size_t len, struct err *e)
{
	struct publish *p = arg;
	char path[TILE_PATH_MAX_BYTES];
	if (is_published(p, level, index))
		return ERR_OK;
	tile_path(level, index, TILE_WIDTH, path);
	return queue_put(p, path, bytes, len, e);
}

static int partial_put(void *arg, unsigned level, uint64_t index, const uint8_t *bytes, size_t len, struct err *e)
{
	struct publish *p = arg;
	unsigned width = tile_partial_width(level, p->edge.size);
	char path[TILE_PATH_MAX_BYTES];
	/* A level whose width is what the last checkpoint had is there already. */
	if (p->published && tile_full_count(level, p->published) == index &&
	    tile_partial_width(level, p->published) == width)
		return ERR_OK;
	p->partials[level].width[width] = true;
	tile_path(level, index, width, path);
	return queue_put(p, path, bytes, len, e);
}

int publish_add(struct publish *p, const uint8_t leaf[HASH_BYTES], const uint8_t *entry, size_t len,
                struct err *e)
{
	return tile_edge_add(&p->edge, leaf, entry, len, full_put, p, e);
}

/* --- writing ------------------------------------------------------------------------------------- */

static int dirs_sync(struct publish *p, struct err *e)
{
	for (; p->n_dirs; p->n_dirs--) {
		int n = p->store->ops->sync_dir(p->store, p->dir[p->n_dirs - 1]);
		if (n < 0)
			return store_err(e, "sync", p->dir[p->n_dirs - 1], n);
	}
	return ERR_OK;
}

static int dir_note(struct publish *p, const char *dir, struct err *e)
{
	for (unsigned i = 0; i < p->n_dirs; i++)
		if (strcmp(p->dir[i], dir) == 0)
			return ERR_OK;
	if (p->n_dirs == DIRS_MAX) {
		int rc = dirs_sync(p, e);
		if (rc != ERR_OK)
			return rc;
	}
	snprintf(p->dir[p->n_dirs++], PATH_BYTES, "%s", dir);
	return ERR_OK;
}

/* Makes the folders above path and notes each as one to be synced. */
static int parents_make(struct publish *p, const char *path, struct err *e)
{
	char dir[PATH_BYTES];
	const char *end = strrchr(path, '/');
	size_t len = (size_t)(end - path);
	memcpy(dir, path, len);
	dir[len] = 0;
	bool is_made = strcmp(dir, p->made) == 0;
	for (size_t i = 0; i <= len; i++) {
		if (i < len && path[i] != '/')
			continue;
		dir[i] = 0;
		int n = is_made ? 0 : p->store->ops->make_dir(p->store, dir);
		if (n < 0)
			return store_err(e, "make", dir, n);
		if (!is_made || i == len) {
			int rc = dir_note(p, dir, e);
			if (rc != ERR_OK)
				return rc;
		}
		dir[i] = i < len ? '/' : 0;
	}
	memcpy(p->made, dir, len + 1);
	return ERR_OK;
}

struct opened {
	const struct file *f;
	char temp[PATH_BYTES + 24];
	int file;
};

/* Writes a file under another name and leaves it open; what must be durable is synced later, many at once. */
static int temp_write(struct publish *p, const struct file *f, struct opened *o, struct err *e)
{
	struct store *s = p->store;
	int n, rc = parents_make(p, f->path, e);
	if (rc != ERR_OK)
		return rc;
	o->f = f;
	snprintf(o->temp, sizeof o->temp, "%s.%llx.new", f->path, (unsigned long long)p->temp_number++);
	if ((n = s->ops->open(s, o->temp, STORE_TEMP, &o->file)) < 0)
		return store_err(e, "make", o->temp, n);
	if ((n = s->ops->write(s, o->file, f->bytes, f->len, 0)) < 0 || (n = s->ops->flush_start(s, o->file)) < 0)
		return store_err(e, "write", o->temp, n);
	return ERR_OK;
}

/* Gives it its name, after a sync when the name must not be seen before the bytes are safe. */
static int temp_finish(struct publish *p, struct opened *o, bool sync, struct err *e)
{
	struct store *s = p->store;
	int n = sync ? s->ops->sync(s, o->file) : 0;
	s->ops->close(s, o->file);
	o->file = -1;
	if (n < 0)
		return store_err(e, "sync", o->temp, n);
	if ((n = s->ops->rename(s, o->temp, o->f->path)) < 0)
		return store_err(e, "rename to", o->f->path, n);
	return ERR_OK;
}

/* Writes up to OPEN_MAX_FILES files of the queue and gives them their names; *at moves on. */
static int files_write(struct publish *p, struct file **at, bool sync, struct err *e)
{
	struct opened o[OPEN_MAX_FILES];
	unsigned n = 0;
	int rc = ERR_OK;
	for (; *at && n < OPEN_MAX_FILES && rc == ERR_OK; *at = (*at)->next, n++) {
		o[n].file = -1;
		rc = temp_write(p, *at, &o[n], e);
	}
	for (unsigned i = 0; i < n; i++) {
		if (rc == ERR_OK)
			rc = temp_finish(p, &o[i], sync, e);
		else if (o[i].file >= 0)
			p->store->ops->close(p->store, o[i].file);
	}
	return rc;
}

/* Writes the whole queue, synced, folders too. */
static int queue_write(struct publish *p, struct err *e)
{
	struct file *at = p->first;
	int rc = ERR_OK;
	while (at && rc == ERR_OK)
		rc = files_write(p, &at, true, e);
	queue_clear(p);
	return rc == ERR_OK ? dirs_sync(p, e) : rc;
}

/* Writes the queue without waiting for the disk: no checkpoint covers these files yet, and a start makes again
 * what none covers. Their names are kept, to be synced before one does. */
static int queue_write_lazily(struct publish *p, struct err *e)
{
	struct file *at = p->first;
	int rc = ERR_OK;
	while (at && rc == ERR_OK)
		rc = files_write(p, &at, false, e);
	if (rc == ERR_OK && p->first) {
		for (struct file *f = p->first; f; f = f->next)
			f->len = 0;
		*p->last_lazy = p->first;
		p->last_lazy = p->last;
		p->first = NULL;
	}
	queue_clear(p);
	return rc;
}

/* Syncs what was written lazily. Most of it is on the disk by now. */
static int lazy_sync(struct publish *p, struct err *e)
{
	struct store *s = p->store;
	struct file *at = p->lazy;
	int files[OPEN_MAX_FILES], rc = ERR_OK;
	while (at && rc == ERR_OK) {
		unsigned n = 0;
		for (; at && n < OPEN_MAX_FILES && rc == ERR_OK; at = at->next) {
			int k = s->ops->open(s, at->path, STORE_READ, &files[n]);
			if (k < 0)
				rc = store_err(e, "open", at->path, k);
			else if ((k = s->ops->flush_start(s, files[n++])) < 0)
				rc = store_err(e, "write", at->path, k);
		}
		for (unsigned i = 0; i < n; i++) {
			int k = rc == ERR_OK ? s->ops->sync(s, files[i]) : 0;
			s->ops->close(s, files[i]);
			if (k < 0)
				rc = store_err(e, "sync", PUBLISH_DIR "/tile", k);
		}
	}
	files_free(p->lazy);
	p->lazy = NULL;
	p->last_lazy = &p->lazy;
	return rc;
}

/* Sets the partial files of tiles that are full now aside: they go when the full ones are there. */
static void partials_turn(struct publish *p)
{
	for (unsigned l = 0; l <= TILE_LEVELS; l++) {
		uint64_t growing = tile_full_count(l, p->edge.size);
		memset(&p->old[l], 0, sizeof p->old[l]);
		if (p->partials[l].index == growing)
			continue;
		p->old[l] = p->partials[l];
		memset(&p->partials[l], 0, sizeof p->partials[l]);
		p->partials[l].index = growing;
	}
}

/* Takes them away. There is no unlink in this process: a rename over one scratch file does it. Failing is
 * harmless: the file stays. */
static void partials_retire(struct publish *p)
{
	char path[TILE_PATH_MAX_BYTES], from[PATH_BYTES];
	for (unsigned l = 0; l <= TILE_LEVELS; l++) {
		for (unsigned w = 1; w < TILE_WIDTH; w++) {
			if (!p->old[l].width[w])
				continue;
			tile_path(l, p->old[l].index, w, path);
			snprintf(from, sizeof from, PUBLISH_DIR "/%s", path);
			(void)p->store->ops->rename(p->store, from, PUBLISH_DIR "/.retired");
		}
	}
}

int publish_full(struct publish *p, struct err *e)
{
	return queue_write_lazily(p, e);
}

int publish_all(struct publish *p, const char *checkpoint, size_t len, struct err *e)
{
	if (p->edge.size == p->published)
		return ERR_OK;
	partials_turn(p);
	int rc = queue_write_lazily(p, e);
	if (rc == ERR_OK)
		rc = lazy_sync(p, e);
	if (rc == ERR_OK)
		rc = tile_edge_partials(&p->edge, partial_put, p, e);
	if (rc == ERR_OK)
		rc = queue_write(p, e);
	if (rc == ERR_OK)
		rc = queue_put(p, "checkpoint", (const uint8_t *)checkpoint, len, e);
	if (rc == ERR_OK)
		rc = queue_write(p, e);
	if (rc != ERR_OK)
		return rc;
	p->published = p->edge.size;
	partials_retire(p);
	return ERR_OK;
}
