/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments made in advance: see prepare.h.
 * Side: auditor. Trusts: the store. Owns: the file until it is taken.
 */
#include "audit/prepare.h"

#include <errno.h>

#define SLICE_BYTES MIB(1)

void prepare_init(struct prepare *p, struct store *s, uint64_t number, uint64_t bytes)
{
	*p = (struct prepare){ .store = s, .number = number, .want_bytes = bytes, .file = -1 };
}

void prepare_clear(struct prepare *p)
{
	if (p->file >= 0)
		p->store->ops->close(p->store, p->file);
	p->file = -1;
	p->ready = false;
}

static int begin(struct prepare *p, const char *path, struct err *e)
{
	struct store *s = p->store;
	int n = s->ops->open(s, path, STORE_CREATE, &p->file);
	if (n == -EEXIST) /* an earlier run began it: whatever it holds was never acknowledged, and is zero */
		n = s->ops->open(s, path, STORE_WRITE, &p->file);
	if (n < 0)
		return store_err(e, "make", path, n);
	if ((n = s->ops->size(s, p->file, &p->bytes)) < 0)
		return store_err(e, "read", path, n);
	/* No file is ever cut: an old one that is larger keeps its size, in whole blocks. */
	p->bytes += SEGMENT_BLOCK_BYTES - 1;
	p->bytes -= p->bytes % SEGMENT_BLOCK_BYTES;
	p->bytes = p->bytes > p->want_bytes ? p->bytes : p->want_bytes;
	p->done = 0;
	return (n = s->ops->allocate(s, p->file, p->bytes)) < 0 ? store_err(e, "make room for", path, n) : ERR_OK;
}

int prepare_step(struct prepare *p, uint64_t max, struct err *e)
{
	static uint8_t zeros[SLICE_BYTES] __attribute__((aligned(STORE_BLOCK_BYTES)));
	char path[SEGMENT_PATH_MAX_BYTES];
	struct store *s = p->store;
	int n, rc = ERR_OK;
	if (p->ready)
		return ERR_OK;
	segment_path(p->number, path);
	if (p->file < 0)
		rc = begin(p, path, e);
	while (rc == ERR_OK && max > 0 && p->done < p->bytes) {
		uint64_t len = p->bytes - p->done;
		len = len < SLICE_BYTES ? len : SLICE_BYTES;
		len = len < max ? len : max;
		if ((n = s->ops->write(s, p->file, zeros, (size_t)len, p->done)) < 0)
			rc = store_err(e, "write", path, n);
		p->done += len;
		max -= len;
	}
	if (rc == ERR_OK && p->done == p->bytes) {
		if ((n = s->ops->sync(s, p->file)) < 0 || (n = s->ops->sync_dir(s, "segments")) < 0)
			rc = store_err(e, "sync", path, n);
		p->ready = rc == ERR_OK;
	}
	if (rc != ERR_OK)
		prepare_clear(p); /* the next try begins anew */
	return rc;
}

int prepare_finish(struct prepare *p, struct err *e)
{
	return prepare_step(p, UINT64_MAX, e);
}

int prepare_take(struct prepare *p, uint64_t *bytes)
{
	int file = p->file;
	*bytes = p->bytes;
	prepare_init(p, p->store, p->number + 1, p->want_bytes);
	return file;
}
