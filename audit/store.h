/* SPDX-License-Identifier: Apache-2.0
 *
 * The files below one folder, as function pointers: everything that the log does to a disk. The real
 * one is store_posix.c; crash tests put a disk in its place that loses, reorders and tears what was
 * not synced (tests/crash/).
 *
 * Each function returns 0 or a negative errno, and nothing is retried: a failed sync means that the
 * data may be gone although the next sync succeeds.
 *
 * Side: auditor, cli. Trusts: nothing. Owns: the interface.
 */
#ifndef FUMEHOOD_AUDIT_STORE_H
#define FUMEHOOD_AUDIT_STORE_H

#include "proto/err.h"

#include <stddef.h>
#include <stdint.h>

#define STORE_BLOCK_BYTES 4096 /* what is written is a multiple of this, in memory aligned to it */

enum store_mode {
	STORE_READ,   /* an existing file */
	STORE_WRITE,  /* an existing file, every write durable when it returns */
	STORE_CREATE, /* a new file; -EEXIST when there is one; every write durable when it returns */
	STORE_TEMP,   /* new or old, to be written whole, synced and renamed */
	STORE_LAZY,   /* new or old, writes are durable after sync only */
};

struct store;
struct store_ops {
	/* Opens path (relative, no ".."). *file is a number >= 0, to be closed. */
	int (*open)(struct store *s, const char *path, enum store_mode mode, int *file);
	int (*close)(struct store *s, int file);
	int (*size)(struct store *s, int file, uint64_t *bytes);
	/* Reads len bytes at offset; a short file is -ENODATA. */
	int (*read)(struct store *s, int file, void *buf, size_t len, uint64_t offset);
	/* Writes all of len bytes at offset. */
	int (*write)(struct store *s, int file, const void *buf, size_t len, uint64_t offset);
	/* Asks the disk for room, [0, bytes), without changing the size; -ENOSPC when it has none. */
	int (*allocate)(struct store *s, int file, uint64_t bytes);
	/* Starts writing back what a later sync will wait for. */
	int (*flush_start)(struct store *s, int file);
	int (*sync)(struct store *s, int file);
	/* Makes names in the folder durable; "" is the store's own folder. */
	int (*sync_dir)(struct store *s, const char *path);
	int (*make_dir)(struct store *s, const char *path); /* 0 also when it is there */
	int (*rename)(struct store *s, const char *from, const char *to); /* replaces to */
	int (*make_link)(struct store *s, const char *target, const char *path); /* symbolic; 0 also when path is there */
};

struct store {
	const struct store_ops *ops;
};

/* The real one below an open folder, which it takes over. NULL when memory is out. */
struct store *store_posix_new(int dirfd);
void store_posix_free(struct store *s);

/* Reads a whole file into malloc'ed memory (a NUL behind it), at most max bytes.
 * Errors: ERR_NOT_FOUND, ERR_LIMIT, ERR_IO, ERR_NOMEM. */
MUST_CHECK int store_load(struct store *s, const char *path, uint64_t max, uint8_t **out, size_t *len,
                          struct err *e);

/* Says that an operation on path failed, in one line. Returns ERR_IO, or ERR_LOG when full (no space,
 * quota or size limit). */
int store_err(struct err *e, const char *what, const char *path, int neg_errno);

#endif
