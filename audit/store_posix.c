/* SPDX-License-Identifier: Apache-2.0
 *
 * The store on a real file system: see store.h.
 *
 * Commits go through O_DIRECT|O_DSYNC where the file system has it (with both processors busy a
 * commit through the page cache waits for the scheduler four times as long), else through O_DSYNC.
 *
 * Side: auditor, cli. Trusts: the kernel. Owns: the folder's descriptor.
 */
#include "audit/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct posix {
	struct store base;
	int dirfd;
};

static int dirfd_of(const struct store *s)
{
	struct posix p;
	memcpy(&p, s, sizeof p);
	return p.dirfd;
}

static int result(int rc)
{
	return rc < 0 ? -errno : 0;
}

static int posix_open(struct store *s, const char *path, enum store_mode mode, int *file)
{
	static const int flags[] = {
		[STORE_READ] = O_RDONLY,
		[STORE_WRITE] = O_RDWR | O_DSYNC | O_DIRECT,
		[STORE_CREATE] = O_RDWR | O_DSYNC | O_DIRECT | O_CREAT | O_EXCL,
		[STORE_TEMP] = O_WRONLY | O_CREAT,
		[STORE_LAZY] = O_RDWR | O_CREAT,
	};
	int f = flags[mode] | O_CLOEXEC | O_NOFOLLOW, fd = openat(dirfd_of(s), path, f, 0640);
	if (fd < 0 && errno == EINVAL && (f & O_DIRECT)) {
		/* This file system has no direct writes. With O_EXCL a file may have been made already. */
		f &= ~O_DIRECT;
		fd = openat(dirfd_of(s), path, f, 0640);
		if (fd < 0 && errno == EEXIST)
			fd = openat(dirfd_of(s), path, f & ~(O_CREAT | O_EXCL), 0640);
	}
	if (fd < 0)
		return -errno;
	*file = fd;
	return 0;
}

static int posix_close(struct store *s, int file)
{
	(void)s;
	return result(close(file));
}

static int posix_size(struct store *s, int file, uint64_t *bytes)
{
	struct stat st;
	(void)s;
	if (fstat(file, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*bytes = (uint64_t)st.st_size;
	return 0;
}

static int posix_read(struct store *s, int file, void *buf, size_t len, uint64_t offset)
{
	(void)s;
	for (size_t got = 0; got < len;) {
		ssize_t n = pread(file, (char *)buf + got, len - got, (off_t)(offset + got));
		if (n == 0)
			return -ENODATA;
		if (n < 0 && errno != EINTR)
			return -errno;
		got += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int posix_write(struct store *s, int file, const void *buf, size_t len, uint64_t offset)
{
	(void)s;
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(file, (const char *)buf + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int posix_allocate(struct store *s, int file, uint64_t bytes)
{
	(void)s;
	int rc = fallocate(file, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) < 0 ? -errno : 0;
	return rc == -EOPNOTSUPP || rc == -ENOSYS ? 0 : rc; /* only a hint there: writing will tell */
}

static int posix_flush_start(struct store *s, int file)
{
	(void)s;
	int rc = result(sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE));
	return rc == -ESPIPE || rc == -EINVAL || rc == -ENOSYS ? 0 : rc;
}

static int posix_sync(struct store *s, int file)
{
	(void)s;
	return result(fdatasync(file));
}

static int posix_sync_dir(struct store *s, const char *path)
{
	int fd = openat(dirfd_of(s), *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	if (fd < 0)
		return -errno;
	rc = result(fsync(fd));
	close(fd);
	return rc;
}

static int posix_make_dir(struct store *s, const char *path)
{
	int rc = result(mkdirat(dirfd_of(s), path, 0750));
	return rc == -EEXIST ? 0 : rc;
}

static int posix_rename(struct store *s, const char *from, const char *to)
{
	/* Not through libc, which asks the kernel for renameat when there are no flags: one call in the wall. */
	return result((int)syscall(SYS_renameat2, dirfd_of(s), from, dirfd_of(s), to, 0));
}

static int posix_make_link(struct store *s, const char *target, const char *path)
{
	int rc = result(symlinkat(target, dirfd_of(s), path));
	return rc == -EEXIST ? 0 : rc;
}

static const struct store_ops posix_ops = {
	posix_open,       posix_close, posix_size,     posix_read,     posix_write,  posix_allocate,
	posix_flush_start, posix_sync, posix_sync_dir, posix_make_dir, posix_rename,
	posix_make_link,
};

struct store *store_posix_new(int dirfd)
{
	struct posix *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->base.ops = &posix_ops;
	p->dirfd = dirfd;
	return &p->base;
}

void store_posix_free(struct store *s)
{
	if (s) {
		close(dirfd_of(s));
		free(s); /* the base is the first member */
	}
}

int store_err(struct err *e, const char *what, const char *path, int neg_errno)
{
	int full = neg_errno == -ENOSPC || neg_errno == -EDQUOT || neg_errno == -EFBIG;
	return err_set(e, full ? ERR_LOG : ERR_IO, "log: cannot %s %s: %s%s", what, *path ? path : "its folder",
	               strerror(-neg_errno), full ? ": make room on this file system" : "");
}

int store_load(struct store *s, const char *path, uint64_t max, uint8_t **out, size_t *len, struct err *e)
{
	uint8_t *p = NULL;
	uint64_t size = 0;
	int file = -1, rc = ERR_OK, n = s->ops->open(s, path, STORE_READ, &file);
	if (n == -ENOENT)
		return err_set(e, ERR_NOT_FOUND, "log: there is no %s", path);
	if (n < 0)
		return store_err(e, "open", path, n);
	if ((n = s->ops->size(s, file, &size)) < 0) {
		rc = store_err(e, "read", path, n);
	} else if (size > max) {
		rc = err_set(e, ERR_LIMIT, "log: %s has %llu bytes, at most %llu are read", path,
		             (unsigned long long)size, (unsigned long long)max);
	} else if (!(p = malloc((size_t)size + 1))) {
		rc = err_set(e, ERR_NOMEM, "log: no memory for %s (%llu bytes)", path, (unsigned long long)size);
	} else if ((n = s->ops->read(s, file, p, (size_t)size, 0)) < 0) {
		rc = store_err(e, "read", path, n);
	}
	s->ops->close(s, file);
	if (rc != ERR_OK) {
		free(p);
		return rc;
	}
	p[size] = 0;
	*out = p;
	*len = (size_t)size;
	return ERR_OK;
}
