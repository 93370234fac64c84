/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading from files: the only file of this folder that opens any.
 * Side: broker (before its wall), cli. Trusts: the path, not the contents. Owns: the bytes while
 * they are read.
 */
#include "policy/policy.h"

#include "proto/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, const char *path, char *buf, size_t cap, size_t *len, struct err *e)
{
	*len = 0;
	while (*len < cap) {
		ssize_t n = read(fd, buf + *len, cap - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_CONFIG, "%s: cannot be read: %s", path, strerror(errno));
		if (n == 0)
			break;
		*len += (size_t)n;
	}
	return ERR_OK;
}

/* The whole of a regular file of at most max bytes, malloc'd. */
static int read_file(const char *path, size_t max, char **out, size_t *len, struct err *e)
{
	struct stat st;
	int rc = ERR_OK, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	*out = NULL;
	if (fd < 0)
		return err_set(e, ERR_CONFIG, "%s: cannot be opened: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		rc = err_set(e, ERR_CONFIG, "%s: expected a regular file", path);
	else if (st.st_size < 0 || (uint64_t)st.st_size > max)
		rc = err_set(e, ERR_LIMIT, "%s: has %lld bytes, at most %zu are read", path, (long long)st.st_size,
					 max);
	else if (!(*out = malloc(max + 1)))
		rc = err_set(e, ERR_NOMEM, "%s: no memory to read it", path);
	if (!rc)
		rc = read_all(fd, path, *out, max + 1, len, e);
	if (!rc && *len > max)
		rc = err_set(e, ERR_LIMIT, "%s: grew beyond %zu bytes while it was read", path, max);
	close(fd);
	if (rc) {
		free(*out);
		*out = NULL;
	}
	return rc;
}

int policy_load_text_file(struct policy_world *w, const char *path, struct err *e)
{
	char *text;
	size_t len;
	int rc = read_file(path, LIMIT_POLICY_TEXT_BYTES, &text, &len, e);
	if (!rc)
		rc = policy_load_text(w, path, text, len, e);
	free(text);
	return rc;
}

int policy_load_schema_file(struct policy_world *w, const char *path, struct err *e)
{
	char *text;
	size_t len;
	int rc = read_file(path, LIMIT_SCHEMA_BYTES, &text, &len, e);
	if (!rc)
		rc = policy_load_schema(w, path, text, len, e);
	free(text);
	return rc;
}

int policy_load_entities_file(struct policy_world *w, const char *path, enum policy_mode mode, struct err *e)
{
	char *text;
	size_t len;
	int rc = read_file(path, LIMIT_JSON_BYTES, &text, &len, e);
	if (!rc)
		rc = policy_load_entities(w, path, text, len, mode, e);
	free(text);
	return rc;
}
