/* SPDX-License-Identifier: Apache-2.0
 *
 * Copy while hashing: see copy.h.
 * Side: broker. Trusts: nothing about the source. Owns: the piece in flight.
 */
#include "broker/copy.h"
#include "proto/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)256 << 10) /* stays in the processor's second cache between its three uses */

static int source_check(int fd, uint64_t max_bytes, uint64_t *bytes, struct err *e)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_IO, "the model's descriptor: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_MODEL, "the model must be a regular file: copy it to one first");
	if ((flags & O_ACCMODE) == O_WRONLY || flags & O_PATH)
		return err_set(e, ERR_MODEL, "the model's descriptor is not open for reading");
	if (st.st_size <= 0)
		return err_set(e, ERR_MODEL, "the model file is empty");
	if ((uint64_t)st.st_size > max_bytes)
		return err_set(e, ERR_LIMIT, "the model file of %" PRIu64 " bytes is above the limit of %" PRIu64
		               " bytes", (uint64_t)st.st_size, max_bytes);
	*bytes = (uint64_t)st.st_size;
	return ERR_OK;
}

int copy_begin(struct copy *c, int from, int to, uint64_t max_bytes, struct err *e)
{
	*c = (struct copy){ .from = from, .to = to };
	int rc = source_check(from, max_bytes, &c->bytes, e);
	if (rc != ERR_OK)
		return rc;
	c->hash = hash_new();
	c->buf = malloc(PIECE_BYTES);
	if (!c->hash || !c->buf) {
		copy_clear(c);
		return err_set(e, ERR_NOMEM, "no memory to copy a model");
	}
	return ERR_OK;
}

static int piece_write(struct copy *c, size_t n, struct err *e)
{
	for (size_t done = 0; c->to >= 0 && done < n;) {
		ssize_t k = pwrite(c->to, c->buf + done, n - done, (off_t)(c->at + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return err_set(e, errno == ENOMEM ? ERR_NOMEM : ERR_IO, "writing the model's copy at byte %"
			               PRIu64 ": %s", c->at + done, strerror(k < 0 ? errno : ENOSPC));
		done += (size_t)k;
	}
	return ERR_OK;
}

/* One piece. One byte more than the known size is asked for: a file that grew is noticed. */
static int piece_copy(struct copy *c, size_t *n, struct err *e)
{
	ssize_t k;
	do
		k = pread(c->from, c->buf, PIECE_BYTES, (off_t)c->at);
	while (k < 0 && errno == EINTR);
	if (k < 0)
		return err_set(e, ERR_IO, "reading the model at byte %" PRIu64 ": %s", c->at, strerror(errno));
	*n = (size_t)k;
	if ((uint64_t)k > c->bytes - c->at)
		return err_set(e, ERR_MODEL, "the model file grew while it was read: wait until it is complete");
	if (k == 0 && c->at < c->bytes)
		return err_set(e, ERR_MODEL, "the model file shrank while it was read (%" PRIu64 " of %" PRIu64
		               " bytes are left): wait until it is complete", c->at, c->bytes);
	int rc = piece_write(c, *n, e);
	if (rc == ERR_OK)
		hash_add(c->hash, c->buf, *n);
	c->at += *n;
	return rc;
}

int copy_step(struct copy *c, uint64_t step_bytes, uint8_t sha256[HASH_BYTES], struct err *e)
{
	for (uint64_t done = 0; done < step_bytes;) {
		size_t n = 0;
		int rc = piece_copy(c, &n, e);
		if (rc != ERR_OK)
			return rc;
		if (n == 0) {
			hash_end(c->hash, sha256);
			return 1;
		}
		done += n;
	}
	return 0;
}

void copy_clear(struct copy *c)
{
	hash_free(c->hash);
	free(c->buf);
	c->hash = NULL;
	c->buf = NULL;
}
