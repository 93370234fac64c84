/* SPDX-License-Identifier: Apache-2.0
 *
 * The offline check of a whole log. Everything is made again from the entries in the segments, and all
 * that is stored beside them is compared with that: signed checkpoints, tiles, bundles. No tile is ever
 * believed: a checker that authenticates entries by stored tiles can be shown a forged pair of entry and
 * tile (CVE-2026-56865).
 *
 * Side: cli. Trusts: the key it is given. Owns: nothing.
 */
#include "audit/log.h"

#include "audit/publish.h"
#include "audit/state.h"
#include "audit/tile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ULL(x) ((unsigned long long)(x))

struct verify {
	struct audit_log *l;
	const struct audit_verify *want;
	struct audit_verdict *out;
	struct fault *f;
	struct tree_front front;
	struct tile_edge edge;
	struct checkpoint published;
	struct scan_end *end;
};

/* --- published files ------------------------------------------------------------------------------- */

/* The first entry that differing bytes at offset concern. */
static uint64_t tile_first(unsigned level, uint64_t index, size_t offset)
{
	return (index * TILE_WIDTH + offset / HASH_BYTES) << (8 * level);
}

static uint64_t bundle_first(uint64_t index, const uint8_t *bytes, size_t offset)
{
	uint64_t entry = index * TILE_WIDTH;
	for (size_t at = 0; at + 2 <= offset; entry++) {
		at += 2 + ((size_t)bytes[at] << 8 | bytes[at + 1]);
		if (at > offset)
			break;
	}
	return entry;
}

/* Holds a published file against the bytes that follow from the entries. */
static int file_compare(struct verify *v, unsigned level, uint64_t index, unsigned width, const uint8_t *bytes,
                        size_t len, struct err *e)
{
	char tile[TILE_PATH_MAX_BYTES], path[TILE_PATH_MAX_BYTES + 8];
	uint8_t *have = NULL;
	size_t have_len = 0, same = 0;
	enum fault_kind kind = level == TILE_ENTRIES ? FAULT_BUNDLE : FAULT_TILE;
	uint64_t first = level == TILE_ENTRIES ? index * TILE_WIDTH : tile_first(level, index, 0);
	tile_path(level, index, width, tile);
	snprintf(path, sizeof path, PUBLISH_DIR "/%s", tile);
	int rc = store_load(v->l->store, path, len + 1, &have, &have_len, e);
	v->out->n_files++;
	if (rc == ERR_NOT_FOUND)
		return fault_set(v->f, e, kind, first, path, "it is missing, the checkpoint covers it");
	if (rc == ERR_LIMIT || (rc == ERR_OK && have_len != len)) {
		free(have);
		return fault_set(v->f, e, kind, first, path, "its size is not %zu bytes", len);
	}
	if (rc != ERR_OK)
		return rc;
	while (same < len && have[same] == bytes[same])
		same++;
	free(have);
	if (same == len)
		return ERR_OK;
	first = level == TILE_ENTRIES ? bundle_first(index, bytes, same) : tile_first(level, index, same);
	return fault_set(v->f, e, kind, first, path, "byte %zu differs from what the entries give", same);
}

/* Bytes of the first `width` hashes or entries. */
static size_t prefix_bytes(unsigned level, unsigned width, const uint8_t *bytes, size_t len)
{
	size_t at = 0;
	if (level != TILE_ENTRIES)
		return (size_t)width * HASH_BYTES;
	for (unsigned i = 0; i < width && at + 2 <= len; i++)
		at += 2 + ((size_t)bytes[at] << 8 | bytes[at + 1]);
	return at;
}

/* Every partial file of a tile that was ever published holds its first hashes or entries. */
static int partials_compare(struct verify *v, unsigned level, uint64_t index, unsigned n, const uint8_t *bytes,
                            size_t len, struct err *e)
{
	char path[TILE_PATH_MAX_BYTES + 8] = PUBLISH_DIR "/";
	uint64_t width;
	int rc = ERR_OK;
	tile_path(level, index, 1, path + strlen(path));
	*strrchr(path, '/') = 0;
	int fd = openat(v->l->dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return ERR_OK; /* none, or retired when the tile was full */
	}
	for (struct dirent *x; rc == ERR_OK && (x = readdir(d));) {
		if (!note_decimal(x->d_name, strlen(x->d_name), &width))
			continue; /* "." and what a crash left half written under another name */
		char file[sizeof path + 24];
		snprintf(file, sizeof file, "%s/%" PRIu64, path, width);
		if (width == 0 || width > n || width >= TILE_WIDTH)
			rc = fault_set(v->f, e, level == TILE_ENTRIES ? FAULT_BUNDLE : FAULT_TILE, v->edge.size, file,
			               "the log has no entries for it");
		else
			rc = file_compare(v, level, index, (unsigned)width, bytes,
			                  prefix_bytes(level, (unsigned)width, bytes, len), e);
	}
	closedir(d);
	return rc;
}

static int on_full(void *arg, unsigned level, uint64_t index, const uint8_t *bytes, size_t len, struct err *e)
{
	struct verify *v = arg;
	if (v->out->has_published && index < tile_full_count(level, v->published.size)) {
		int rc = file_compare(v, level, index, TILE_WIDTH, bytes, len, e);
		if (rc != ERR_OK)
			return rc;
	}
	return partials_compare(v, level, index, TILE_WIDTH, bytes, len, e);
}

/* At the end of the log: what may be there of tiles that still grow. */
static int on_edge(void *arg, unsigned level, uint64_t index, const uint8_t *bytes, size_t len, struct err *e)
{
	struct verify *v = arg;
	return partials_compare(v, level, index, tile_partial_width(level, v->edge.size), bytes, len, e);
}

static int on_partial(void *arg, unsigned level, uint64_t index, const uint8_t *bytes, size_t len, struct err *e)
{
	struct verify *v = arg;
	return file_compare(v, level, index, tile_partial_width(level, v->published.size), bytes, len, e);
}

static int published_load(struct verify *v, struct err *e)
{
	uint8_t *note = NULL;
	size_t len = 0;
	struct err why;
	int rc = store_load(v->l->store, PUBLISH_CHECKPOINT, CHECKPOINT_READ_MAX_BYTES, &note, &len, e);
	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	if (rc == ERR_LIMIT || (rc == ERR_OK && checkpoint_read((char *)note, len, &v->l->key, &v->published,
	                                                        &why) != ERR_OK))
		rc = fault_set(v->f, e, FAULT_CHECKPOINT, 0, PUBLISH_CHECKPOINT, "%s",
		               rc == ERR_LIMIT ? "it is too large" : why.text);
	free(note);
	v->out->has_published = rc == ERR_OK;
	v->out->published = rc == ERR_OK ? v->published.size : 0;
	return rc;
}

/* --- what is known from elsewhere --------------------------------------------------------------------- */

/* At each size: is there a checkpoint of that size, and has it this root? */
static int known_check(struct verify *v, struct err *e)
{
	uint8_t root[HASH_BYTES];
	bool have = false;
	for (unsigned i = 0; i <= v->want->n_known; i++) {
		bool is_published = i == v->want->n_known;
		const struct checkpoint *c = is_published ? &v->published : &v->want->known[i];
		if (c->size != v->front.size || (is_published && !v->out->has_published))
			continue;
		if (!have)
			tree_front_root(&v->front, root);
		have = true;
		if (memcmp(root, c->root, HASH_BYTES) != 0)
			return fault_set(v->f, e, is_published ? FAULT_CHECKPOINT : FAULT_FORK, c->size ? c->size - 1 : 0,
			                 is_published ? PUBLISH_CHECKPOINT : "segments",
			                 "the root of the first %llu entries is not the one of %s", ULL(c->size),
			                 is_published ? "the published checkpoint" : "a checkpoint that is known");
		if (is_published) {
			int rc = tile_edge_partials(&v->edge, on_partial, v, e);
			if (rc != ERR_OK)
				return rc;
		}
	}
	return ERR_OK;
}

/* Entries are missing at the end: cut off, or damaged so that they look like a write that was torn. */
static int short_fault(struct verify *v, uint64_t want, const char *file, const char *who, struct err *e)
{
	const struct scan_end *end = v->end;
	char path[SEGMENT_PATH_MAX_BYTES];
	if (!end->torn)
		return fault_set(v->f, e, FAULT_SHORT, end->front.size, file, "the log has %llu entries, %s knows %llu",
		                 ULL(end->front.size), who, ULL(want));
	segment_path(end->torn_at.segment, path);
	return fault_set(v->f, e, FAULT_FRAME, end->front.size + end->torn_whole, path,
	                 "damaged from byte %llu on: the log has %llu good entries, %s knows %llu",
	                 ULL(end->torn_at.offset), ULL(end->front.size), who, ULL(want));
}

static int sizes_check(struct verify *v, struct err *e)
{
	uint64_t size = v->end->front.size;
	for (unsigned i = 0; i < v->want->n_known; i++)
		if (v->want->known[i].size > size)
			return short_fault(v, v->want->known[i].size, "segments", "a checkpoint", e);
	if (v->want->min_size > size)
		return short_fault(v, v->want->min_size, "segments", "the caller", e);
	if (v->out->has_published && v->published.size > size)
		return short_fault(v, v->published.size, PUBLISH_CHECKPOINT, "the published checkpoint", e);
	return ERR_OK;
}

/* --- the walk ------------------------------------------------------------------------------------------ */

static int on_entry(void *arg, uint64_t index, const uint8_t *bytes, size_t len, const uint8_t leaf[HASH_BYTES],
                    struct err *e)
{
	struct verify *v = arg;
	(void)index;
	tree_front_add(&v->front, leaf);
	int rc = tile_edge_add(&v->edge, leaf, bytes, len, on_full, v, e);
	return rc == ERR_OK ? known_check(v, e) : rc;
}

static int key_check(struct verify *v, struct err *e)
{
	const struct audit_log *l = v->l;
	if (!l->has_vkey)
		return fault_set(v->f, e, FAULT_KEY, 0, LOG_VKEY, "it is missing or malformed");
	if (l->is_given && memcmp(&l->vkey, &l->key, sizeof l->key) != 0)
		return fault_set(v->f, e, FAULT_KEY, 0, LOG_VKEY, "it is another key than the one asked for");
	return ERR_OK;
}

/* Is this the name of one of the first n segments? */
static bool is_segment_name(const char *name, uint64_t n)
{
	char path[SEGMENT_PATH_MAX_BYTES];
	uint64_t number = 0;
	if (strlen(name) != 12 || strspn(name, "0123456789") != 12)
		return false;
	for (const char *p = name; *p; p++)
		number = number * 10 + (uint64_t)(*p - '0');
	segment_path(number, path);
	return number < n;
}

/* Nothing but the segments that were read. */
static int extras_check(struct verify *v, struct err *e)
{
	char file[80], shown[48];
	int fd = openat(v->l->dirfd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = ERR_OK;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return fault_set(v->f, e, FAULT_FILE, 0, "segments", "cannot be listed: %s", strerror(errno));
	}
	for (struct dirent *x; rc == ERR_OK && (x = readdir(d));) {
		if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0 ||
		    is_segment_name(x->d_name, v->end->n_files + 1)) /* one may have been made since */
			continue;
		snprintf(file, sizeof file, "segments/%s",
		         err_escape(shown, sizeof shown, x->d_name, strlen(x->d_name)));
		rc = fault_set(v->f, e, FAULT_FILE, v->end->front.size, file, "it does not belong there");
	}
	closedir(d);
	return rc;
}

static int verify_try(void *arg, struct fault *f, struct err *e)
{
	struct verify *v = arg;
	struct scan_conf c = { v->l->store, &v->l->key, on_entry, NULL, v };
	int rc;
	v->f = f;
	memset(f, 0, sizeof *f);
	memset(v->out, 0, sizeof *v->out);
	memset(&v->front, 0, sizeof v->front);
	memset(&v->published, 0, sizeof v->published);
	memset(v->end, 0, sizeof *v->end);
	tile_edge_clear(&v->edge);
	if ((rc = key_check(v, e)) == ERR_OK && (rc = published_load(v, e)) == ERR_OK &&
	    (rc = known_check(v, e)) == ERR_OK && (rc = log_scan(&c, v->end, f, e)) == ERR_OK &&
	    (rc = sizes_check(v, e)) == ERR_OK && (rc = tile_edge_partials(&v->edge, on_edge, v, e)) == ERR_OK)
		rc = extras_check(v, e);
	return rc;
}

int audit_log_verify(struct audit_log *l, const struct audit_verify *want, struct audit_verdict *out,
                     struct err *e)
{
	struct verify v = { .l = l, .want = want, .out = out, .end = calloc(1, sizeof *v.end) };
	struct fault f;
	if (!v.end)
		return err_set(e, ERR_NOMEM, "log: no memory to check it");
	int rc = log_try(verify_try, &v, &f, e);
	out->size = v.end->front.size;
	tree_front_root(&v.end->front, out->root);
	out->torn_bytes = v.end->torn ? v.end->torn_bytes : 0;
	out->n_segments = v.end->n_files;
	out->ok = rc == ERR_OK;
	if (rc == ERR_LOG && f.kind != FAULT_NONE) {
		out->fault = f;
		rc = ERR_OK;
	}
	tile_edge_clear(&v.edge);
	free(v.end);
	return rc;
}

int audit_verify_add_state(const struct audit_log *l, const char *state_dir, struct audit_verify *want,
                           struct err *e)
{
	char shown[256];
	struct state s;
	int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "log state \"%s\": %s",
		               err_escape(shown, sizeof shown, state_dir, strlen(state_dir)), strerror(errno));
	struct store *store = store_posix_new(fd);
	if (!store) {
		close(fd);
		return err_set(e, ERR_NOMEM, "log state: no memory");
	}
	int rc = state_read(store, &l->key, &s, e);
	store_posix_free(store);
	if (rc == ERR_OK && s.has && want->n_known < AUDIT_KNOWN_MAX)
		want->known[want->n_known++] = s.known;
	return rc;
}
