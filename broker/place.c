/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's places on disk: see place.h.
 * Side: broker, before its wall; place_connect: cli. Trusts: the configuration. Owns: the lock.
 */
#include "broker/place.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_MAX_BYTES 4096
#define BACKLOG 512

static int failed(struct err *e, const char *what, const char *path)
{
	return err_set(e, ERR_IO, "%s %.300s: %s", what, path, strerror(errno));
}

/* --- folders ---------------------------------------------------------------------------------------- */

/* Makes the folder and what is missing above it (mode 0755 above). */
static int dirs_make(const char *path, mode_t mode, struct err *e)
{
	char buf[PATH_MAX_BYTES];
	size_t len = strlen(path);
	if (len >= sizeof buf)
		return err_set(e, ERR_CONFIG, "a path of %zu bytes is too long", len);
	memcpy(buf, path, len + 1);
	for (char *p = buf + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(buf, 0755) < 0 && errno != EEXIST)
			return failed(e, "making the folder", buf);
		*p = '/';
	}
	if (mkdir(buf, mode) < 0 && errno != EEXIST)
		return failed(e, "making the folder", buf);
	return ERR_OK;
}

/* Gives a file to its owner when we are root; checks nothing else. */
static int give(int fd, uid_t uid, gid_t gid, const char *name, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return failed(e, "looking at", name);
	if (geteuid() == 0 && (st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
		return failed(e, "changing the owner of", name);
	return ERR_OK;
}

static int sub_open(int at, const char *name, mode_t mode, uid_t uid, gid_t gid, int *fd, struct err *e)
{
	if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
		return failed(e, "making the folder", name);
	*fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? failed(e, "opening the folder", name) : give(*fd, uid, gid, name, e);
}

/* A folder whose contents the broker makes itself: it must only exist and be its user's. */
static int sub_make(int at, const char *name, const struct place_ids *ids, struct err *e)
{
	int fd = -1, rc = sub_open(at, name, 0700, ids->uid, ids->gid, &fd, e);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* --- lock --------------------------------------------------------------------------------------------- */

static int lock_held(int fd, const char *state_dir, struct err *e)
{
	char pid[24] = { 0 };
	ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
	for (ssize_t i = 0; i < n; i++)
		if (pid[i] < '0' || pid[i] > '9')
			pid[i] = 0;
	return err_set(e, ERR_BUSY, "%.300s is held by another broker (pid %s): end it first, or use another state "
	               "directory", state_dir, n > 0 ? pid : "unknown");
}

static int lock_take(struct place *p, const char *state_dir, const struct place_ids *ids, struct err *e)
{
	char pid[24];
	p->lock_fd = openat(p->state_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (p->lock_fd < 0)
		return failed(e, "opening the lock of", state_dir);
	if (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? lock_held(p->lock_fd, state_dir, e) : failed(e, "locking", state_dir);
	int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
	if (ftruncate(p->lock_fd, 0) < 0 || pwrite(p->lock_fd, pid, (size_t)n, 0) != n)
		return failed(e, "writing the lock of", state_dir);
	return give(p->lock_fd, ids->uid, ids->gid, "lock", e);
}

int place_open(const char *state_dir, const struct place_ids *ids, struct place *p, struct err *e)
{
	*p = (struct place){ -1, -1, -1, -1, -1, -1, -1, "" };
	int rc = dirs_make(state_dir, 0700, e);
	if (rc == ERR_OK) {
		p->state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = p->state_fd < 0 ? failed(e, "opening", state_dir)
		                     : give(p->state_fd, ids->uid, ids->gid, state_dir, e);
	}
	if (rc == ERR_OK)
		rc = lock_take(p, state_dir, ids, e);
	if (rc == ERR_OK)
		rc = sub_make(p->state_fd, "store", ids, e);
	if (rc == ERR_OK)
		rc = sub_make(p->state_fd, "trust", ids, e);
	if (rc == ERR_OK)
		rc = sub_open(p->state_fd, "log", 0700, ids->log_uid, ids->log_gid, &p->log_fd, e);
	if (rc == ERR_OK)
		rc = sub_open(p->state_fd, "log-state", 0700, ids->log_uid, ids->log_gid, &p->log_state_fd, e);
	if (rc != ERR_OK)
		place_close(p);
	return rc;
}

#define LOCK_LOOK_MS 5

int place_log_lock(struct place *p, int timeout_ms, struct err *e)
{
	for (int waited = 0;; waited += LOCK_LOOK_MS) {
		if (flock(p->log_fd, LOCK_EX | LOCK_NB) == 0)
			return ERR_OK;
		if (errno != EWOULDBLOCK)
			return failed(e, "locking", "log");
		if (waited >= timeout_ms)
			return err_set(e, ERR_BUSY, "the auditor of an earlier broker still holds the log: wait for it or end it");
		poll(NULL, 0, LOCK_LOOK_MS);
	}
}

int place_key(struct place *p, int (*make)(int dirfd, const char *name, struct err *e), struct err *e)
{
	static const char name[] = "log.key";
	p->key_fd = openat(p->state_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (p->key_fd < 0 && errno == ENOENT) {
		int rc = make(p->state_fd, name, e);
		if (rc != ERR_OK)
			return rc;
		p->key_fd = openat(p->state_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	}
	return p->key_fd < 0 ? failed(e, "opening", name) : ERR_OK;
}

void place_forget_log(struct place *p)
{
	int *const fds[] = { &p->key_fd, &p->log_state_fd, &p->log_fd };
	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

/* --- socket ------------------------------------------------------------------------------------------- */

/* Paths of sockets are short by nature; through the folder's descriptor any length works. */
static int address(int dir_fd, const char *name, struct sockaddr_un *a, socklen_t *len, struct err *e)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/%s", dir_fd, name);
	if (n < 0 || (size_t)n >= sizeof a->sun_path)
		return err_set(e, ERR_CONFIG, "the socket's name %.60s is too long", name);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
	return ERR_OK;
}

/* The folder of a path, opened, and the name in it. */
static int parent_open(const char *path, int flags, int *dir_fd, const char **name, struct err *e)
{
	char buf[PATH_MAX_BYTES];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	if (!slash || !slash[1] || len >= sizeof buf)
		return err_set(e, ERR_CONFIG, "%.300s is no absolute path of a socket", path);
	memcpy(buf, path, len);
	memcpy(buf + len, len ? "" : "/", len ? 1 : 2);
	*name = slash + 1;
	*dir_fd = open(buf, flags | O_DIRECTORY | O_CLOEXEC);
	return *dir_fd < 0 ? failed(e, "opening the folder", buf) : ERR_OK;
}

static int listen_at(struct place *p, const char *name, bool open, const struct place_ids *ids, struct err *e)
{
	struct sockaddr_un a;
	socklen_t len = 0;
	char fresh[108];
	snprintf(fresh, sizeof fresh, ".%.90s.new", name);
	int rc = address(p->socket_dir_fd, fresh, &a, &len, e);
	if (rc != ERR_OK)
		return rc;
	p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listen_fd < 0)
		return failed(e, "making", "a socket");
	if (unlinkat(p->socket_dir_fd, fresh, 0) < 0 && errno != ENOENT)
		return failed(e, "removing", fresh);
	mode_t old = umask(0177);
	int bad = bind(p->listen_fd, (struct sockaddr *)&a, len);
	umask(old);
	if (bad < 0)
		return failed(e, "binding", fresh);
	if (geteuid() == 0 && fchownat(p->socket_dir_fd, fresh, ids->uid, ids->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(e, "changing the owner of", fresh);
	if (fchmodat(p->socket_dir_fd, fresh, open ? 0666 : 0600, 0) < 0 || listen(p->listen_fd, BACKLOG) < 0 ||
	    renameat(p->socket_dir_fd, fresh, p->socket_dir_fd, name) < 0)
		return failed(e, "listening at", name);
	snprintf(p->socket_name, sizeof p->socket_name, "%s", name);
	return ERR_OK;
}

int place_listen(struct place *p, const char *path, bool open, const struct place_ids *ids, struct err *e)
{
	char folder[PATH_MAX_BYTES];
	const char *name, *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	bool is_new = false;
	int rc = ERR_OK;
	if (len > 0 && len < sizeof folder) {
		memcpy(folder, path, len);
		folder[len] = 0;
		is_new = access(folder, F_OK) < 0;
		mode_t old = umask(022); /* clients of other users pass through here */
		rc = dirs_make(folder, 0755, e);
		umask(old);
	}
	if (rc == ERR_OK)
		rc = parent_open(path, O_RDONLY, &p->socket_dir_fd, &name, e);
	if (rc == ERR_OK && is_new) /* ours alone: then the name can be taken away at the end */
		rc = give(p->socket_dir_fd, ids->uid, ids->gid, folder, e);
	return rc == ERR_OK ? listen_at(p, name, open, ids, e) : rc;
}

void place_close(struct place *p)
{
	if (*p->socket_name && p->socket_dir_fd >= 0)
		unlinkat(p->socket_dir_fd, p->socket_name, 0);
	int fds[] = { p->listen_fd, p->socket_dir_fd, p->key_fd, p->log_state_fd, p->log_fd, p->lock_fd, p->state_fd };
	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*p = (struct place){ -1, -1, -1, -1, -1, -1, -1, "" };
}

int place_connect(const char *path, int *fd, struct err *e)
{
	struct sockaddr_un a;
	socklen_t len = 0;
	const char *name;
	int dir = -1, s = -1, rc = parent_open(path, O_PATH, &dir, &name, e);
	if (rc != ERR_OK)
		return err_set(e, ERR_NOT_FOUND, "no broker at %.300s: start one with fumehood serve", path);
	rc = address(dir, name, &a, &len, e);
	if (rc == ERR_OK && (s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		rc = failed(e, "making", "a socket");
	if (rc == ERR_OK && connect(s, (struct sockaddr *)&a, len) < 0)
		rc = errno == ENOENT || errno == ECONNREFUSED
		     ? err_set(e, ERR_NOT_FOUND, "no broker at %.300s: start one with fumehood serve", path)
		     : failed(e, "connecting to", path);
	close(dir);
	if (rc != ERR_OK && s >= 0)
		close(s);
	else
		*fd = s;
	return rc;
}
