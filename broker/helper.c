/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs that belong together: see helper.h.
 * Side: broker, cli. Trusts: who installed the programs. Owns: nothing.
 */
#include "broker/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int own_folder(char out[HELPER_PATH_MAX_BYTES], struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", out, HELPER_PATH_MAX_BYTES);
	char *slash;
	if (n <= 0 || n == HELPER_PATH_MAX_BYTES)
		return err_set(e, ERR_IO, "/proc/self/exe: %s", n < 0 ? strerror(errno) : "too long");
	out[n] = 0;
	slash = strrchr(out, '/');
	if (!slash)
		return err_set(e, ERR_IO, "/proc/self/exe does not point to a path: mount /proc");
	*slash = 0;
	return ERR_OK;
}

static int open_in(const char *folder, const char *name, int *fd, char *path)
{
	int n = snprintf(path, HELPER_PATH_MAX_BYTES, "%s/%s", folder, name);
	if (n < 0 || n >= HELPER_PATH_MAX_BYTES) {
		errno = ENAMETOOLONG;
		return -1;
	}
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return *fd;
}

int helper_open(const char *name, int *fd, char path[HELPER_PATH_MAX_BYTES], struct err *e)
{
	char folder[HELPER_PATH_MAX_BYTES], own[HELPER_PATH_MAX_BYTES], *at = path ? path : own;
	int rc = own_folder(folder, e);
	if (rc != ERR_OK)
		return rc;
	if (open_in(folder, name, fd, at) >= 0 || (errno == ENOENT && open_in(FUMEHOOD_LIBEXEC, name, fd, at) >= 0))
		return ERR_OK;
	return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s: neither in %.150s nor in %s: install the "
	               "programs of one release together", name, strerror(errno), folder, FUMEHOOD_LIBEXEC);
}
