/* SPDX-License-Identifier: Apache-2.0
 * The lying disk: see liar.h.
 * Side: tests. Trusts: the seed. Owns: the disk. */
#include "tests/crash/liar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512
#define PATH_BYTES 160
#define OPEN_MAX_FILES 96

struct image {
	uint8_t *p;
	size_t len;
};

struct write {
	struct write *next;
	uint64_t offset;
	size_t len;
	uint8_t bytes[];
};

struct inode {
	struct image now, disk;
	struct write *first, **last; /* waiting for sync */
	unsigned links;              /* names and open files */
};

struct name {
	struct name *next;
	char path[PATH_BYTES];
	struct inode *inode; /* NULL: a folder */
};

/* A change of names that waits for its folder. */
struct change {
	struct change *next;
	char dir[PATH_BYTES], from[PATH_BYTES], to[PATH_BYTES]; /* from empty: a new name */
	struct inode *inode;
};

struct open_file {
	struct inode *inode;
	bool durable; /* every write is */
};

struct liar {
	struct store base;
	struct power *power;
	struct name *now, *disk;
	struct change *changes, **last_change;
	struct open_file open[OPEN_MAX_FILES];
};

static struct liar *of(struct store *s)
{
	return (struct liar *)(void *)s;
}

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

uint64_t power_random(struct power *p, uint64_t below)
{
	uint64_t z = p->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

/* Counts an operation; true when the power is off or goes right now. */
static bool off(struct liar *l)
{
	struct power *p = l->power;
	if (!p->is_off && p->goes_at && ++p->operations >= p->goes_at)
		p->is_off = true;
	return p->is_off;
}

/* --- contents ---------------------------------------------------------------------------------------- */

static void image_put(struct image *i, const uint8_t *p, size_t len, uint64_t offset)
{
	if (offset + len > i->len) {
		i->p = need(realloc(i->p, offset + len));
		memset(i->p + i->len, 0, offset + len - i->len);
		i->len = offset + len;
	}
	memcpy(i->p + offset, p, len);
}

/* Any choice of a write's sectors reaches the disk. */
static void sectors_some(struct power *p, struct image *disk, const struct write *w)
{
	for (size_t at = 0; at < w->len;) {
		size_t n = SECTOR - (w->offset + at) % SECTOR;
		n = n < w->len - at ? n : w->len - at;
		if (power_random(p, 2))
			image_put(disk, w->bytes + at, n, w->offset + at);
		at += n;
	}
}

static struct write *write_new(const void *p, size_t len, uint64_t offset)
{
	struct write *w = need(malloc(sizeof *w + len));
	w->next = NULL;
	w->offset = offset;
	w->len = len;
	memcpy(w->bytes, p, len);
	return w;
}

static void writes_clear(struct inode *i)
{
	for (struct write *w = i->first, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	i->first = NULL;
	i->last = &i->first;
}

static struct inode *inode_new(void)
{
	struct inode *i = need(calloc(1, sizeof *i));
	i->last = &i->first;
	return i;
}

static void inode_put(struct inode *i)
{
	if (!i || --i->links > 0)
		return;
	writes_clear(i);
	free(i->now.p);
	free(i->disk.p);
	free(i);
}

/* --- names ------------------------------------------------------------------------------------------- */

static struct name *name_find(struct name *list, const char *path)
{
	for (; list; list = list->next)
		if (strcmp(list->path, path) == 0)
			return list;
	return NULL;
}

static void name_set(struct name **list, const char *path, struct inode *inode)
{
	struct name *n = name_find(*list, path);
	if (!n) {
		n = need(calloc(1, sizeof *n));
		snprintf(n->path, sizeof n->path, "%s", path);
		n->next = *list;
		*list = n;
	}
	if (inode)
		inode->links++;
	inode_put(n->inode);
	n->inode = inode;
}

static void name_remove(struct name **list, const char *path)
{
	for (struct name **p = list; *p; p = &(*p)->next) {
		if (strcmp((*p)->path, path) != 0)
			continue;
		struct name *gone = *p;
		*p = gone->next;
		inode_put(gone->inode);
		free(gone);
		return;
	}
}

static void names_clear(struct name **list)
{
	while (*list)
		name_remove(list, (*list)->path);
}

static void dir_of(const char *path, char out[PATH_BYTES])
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	memcpy(out, path, len);
	out[len] = 0;
}

static void change_add(struct liar *l, const char *from, const char *to, struct inode *inode)
{
	struct change *c = need(calloc(1, sizeof *c));
	dir_of(to, c->dir);
	snprintf(c->from, sizeof c->from, "%s", from);
	snprintf(c->to, sizeof c->to, "%s", to);
	c->inode = inode;
	if (inode)
		inode->links++;
	*l->last_change = c;
	l->last_change = &c->next;
}

static void change_apply(struct liar *l, const struct change *c)
{
	if (*c->from)
		name_remove(&l->disk, c->from);
	name_set(&l->disk, c->to, c->inode);
}

/* Applies the waiting changes of a folder (NULL: of all), each while keep says so, and forgets them. */
static void changes_settle(struct liar *l, const char *dir, bool power_off)
{
	bool stop = false;
	for (struct change **p = &l->changes; *p;) {
		struct change *c = *p;
		if (dir && strcmp(c->dir, dir) != 0) {
			p = &c->next;
			continue;
		}
		/* A journal keeps the order: from the first one that is lost on, all are. */
		stop = stop || (power_off && power_random(l->power, 3) == 0);
		if (!stop)
			change_apply(l, c);
		*p = c->next;
		inode_put(c->inode);
		free(c);
	}
	l->last_change = &l->changes;
	while (*l->last_change)
		l->last_change = &(*l->last_change)->next;
}

/* --- operations ---------------------------------------------------------------------------------------- */

static int liar_open(struct store *s, const char *path, enum store_mode mode, int *file)
{
	struct liar *l = of(s);
	struct name *n = name_find(l->now, path);
	int slot = 0;
	if (off(l))
		return -EIO;
	if (n && !n->inode)
		return -EISDIR;
	if (!n && (mode == STORE_READ || mode == STORE_WRITE))
		return -ENOENT;
	if (n && mode == STORE_CREATE)
		return -EEXIST;
	while (slot < OPEN_MAX_FILES && l->open[slot].inode)
		slot++;
	if (slot == OPEN_MAX_FILES)
		return -EMFILE;
	struct inode *i = n ? n->inode : inode_new();
	if (!n) {
		char dir[PATH_BYTES];
		dir_of(path, dir);
		if (*dir && !name_find(l->now, dir))
			return free(i), -ENOENT;
		name_set(&l->now, path, i);
		change_add(l, "", path, i);
	}
	i->links++;
	l->open[slot] = (struct open_file){ i, mode == STORE_WRITE || mode == STORE_CREATE };
	*file = slot;
	return 0;
}

static int liar_close(struct store *s, int file)
{
	struct liar *l = of(s);
	inode_put(l->open[file].inode);
	l->open[file].inode = NULL;
	return 0;
}

static int liar_size(struct store *s, int file, uint64_t *bytes)
{
	struct liar *l = of(s);
	if (off(l))
		return -EIO;
	*bytes = l->open[file].inode->now.len;
	return 0;
}

static int liar_read(struct store *s, int file, void *buf, size_t len, uint64_t offset)
{
	struct liar *l = of(s);
	const struct image *i = &l->open[file].inode->now;
	if (off(l))
		return -EIO;
	if (offset > i->len || len > i->len - offset)
		return -ENODATA;
	if (len)
		memcpy(buf, i->p + offset, len);
	return 0;
}

static int liar_write(struct store *s, int file, const void *buf, size_t len, uint64_t offset)
{
	struct liar *l = of(s);
	struct open_file *o = &l->open[file];
	bool was_off = l->power->is_off;
	if (was_off)
		return -EIO;
	bool lost = off(l);
	if (o->durable && !lost && l->power->goes_at_commit && ++l->power->commits >= l->power->goes_at_commit)
		lost = l->power->is_off = true;
	if (o->durable && !lost) {
		image_put(&o->inode->now, buf, len, offset);
		image_put(&o->inode->disk, buf, len, offset);
		return 0;
	}
	struct write *w = write_new(buf, len, offset);
	if (lost) {
		/* Under way when the power went: any of its sectors, at once. */
		sectors_some(l->power, &o->inode->disk, w);
		free(w);
		return -EIO;
	}
	image_put(&o->inode->now, buf, len, offset);
	*o->inode->last = w;
	o->inode->last = &w->next;
	return 0;
}

static int liar_allocate(struct store *s, int file, uint64_t bytes)
{
	(void)file;
	(void)bytes;
	return off(of(s)) ? -EIO : 0;
}

static int liar_flush_start(struct store *s, int file)
{
	(void)file;
	return off(of(s)) ? -EIO : 0;
}

static int liar_sync(struct store *s, int file)
{
	struct liar *l = of(s);
	struct inode *i = l->open[file].inode;
	if (off(l))
		return -EIO;
	for (struct write *w = i->first; w; w = w->next)
		image_put(&i->disk, w->bytes, w->len, w->offset);
	writes_clear(i);
	return 0;
}

static int liar_sync_dir(struct store *s, const char *path)
{
	struct liar *l = of(s);
	if (off(l))
		return -EIO;
	changes_settle(l, path, false);
	return 0;
}

static int liar_make_dir(struct store *s, const char *path)
{
	struct liar *l = of(s);
	if (off(l))
		return -EIO;
	if (name_find(l->now, path))
		return 0;
	name_set(&l->now, path, NULL);
	change_add(l, "", path, NULL);
	return 0;
}

static int liar_rename(struct store *s, const char *from, const char *to)
{
	struct liar *l = of(s);
	struct name *n = name_find(l->now, from);
	if (off(l))
		return -EIO;
	if (!n)
		return -ENOENT;
	struct inode *i = n->inode;
	change_add(l, from, to, i);
	i->links++;
	name_remove(&l->now, from);
	name_set(&l->now, to, i);
	inode_put(i);
	return 0;
}

static int liar_make_link(struct store *s, const char *target, const char *path)
{
	(void)target;
	(void)path;
	return off(of(s)) ? -EIO : 0;
}

static const struct store_ops ops = { liar_open,  liar_close,    liar_size,     liar_read,   liar_write,    liar_allocate,
	                              liar_flush_start, liar_sync, liar_sync_dir, liar_make_dir, liar_rename, liar_make_link };

/* --- the disk -------------------------------------------------------------------------------------------- */

struct liar *liar_new(struct power *p)
{
	struct liar *l = need(calloc(1, sizeof *l));
	l->base.ops = &ops;
	l->power = p;
	l->last_change = &l->changes;
	return l;
}

struct store *liar_store(struct liar *l)
{
	return &l->base;
}

static void files_close(struct liar *l)
{
	for (int i = 0; i < OPEN_MAX_FILES; i++) {
		inode_put(l->open[i].inode);
		l->open[i].inode = NULL;
	}
}

void liar_free(struct liar *l)
{
	files_close(l);
	names_clear(&l->now);
	names_clear(&l->disk);
	changes_settle(l, NULL, false);
	names_clear(&l->disk);
	free(l);
}

void liar_restart(struct liar *l)
{
	files_close(l);
	changes_settle(l, NULL, true);
	names_clear(&l->now);
	/* A folder whose name was lost takes what is in it along. */
	for (bool again = true; again;) {
		again = false;
		for (struct name *n = l->disk; n && !again; n = n->next) {
			char dir[PATH_BYTES];
			dir_of(n->path, dir);
			if (*dir && !name_find(l->disk, dir)) {
				name_remove(&l->disk, n->path);
				again = true;
			}
		}
	}
	for (struct name *n = l->disk; n; n = n->next) {
		struct inode *i = n->inode;
		for (struct write *w = i ? i->first : NULL; w; w = w->next)
			sectors_some(l->power, &i->disk, w);
		if (i) {
			writes_clear(i);
			free(i->now.p);
			i->now = (struct image){ NULL, 0 };
			image_put(&i->now, i->disk.p ? i->disk.p : (const uint8_t *)"", i->disk.len, 0);
		}
		name_set(&l->now, n->path, i);
	}
}

static void dump_one(const struct name *n, const char *base)
{
	char path[400];
	snprintf(path, sizeof path, "%s/%s", base, n->path);
	if (!n->inode) {
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			abort();
		return;
	}
	FILE *f = need(fopen(path, "wb"));
	if (n->inode->now.len && fwrite(n->inode->now.p, 1, n->inode->now.len, f) != n->inode->now.len)
		abort();
	fclose(f);
}

void liar_dump(struct liar *l, const char *path)
{
	/* Folders first, short names before long ones. */
	for (size_t len = 1; len < PATH_BYTES; len++)
		for (struct name *n = l->now; n; n = n->next)
			if (!n->inode && strlen(n->path) == len)
				dump_one(n, path);
	for (struct name *n = l->now; n; n = n->next)
		if (n->inode)
			dump_one(n, path);
}
