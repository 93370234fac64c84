/* SPDX-License-Identifier: Apache-2.0
 *
 * The proof from outside that a worker is locked, before it gets to see a model: what the kernel says
 * in /proc about every one of its threads.
 *
 * Side: broker. Trusts: the kernel's /proc. Owns: nothing.
 */
#include "proto/limits.h"
#include "sandbox/outside/proof.h"
#include "sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_MAX_BYTES 4096

/* The value of "Key:\t" at the start of a line; NULL when the key is missing. */
static const char *value_of(const char *text, const char *key)
{
	size_t n = strlen(key);
	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, key, n) && p[n] == ':' && p[n + 1] == '\t')
			return p + n + 2;
		if (!*p)
			break;
	}
	return NULL;
}

static int field_is(const char *text, const char *key, const char *want, struct err *e)
{
	const char *v = value_of(text, key);
	size_t n = v ? strcspn(v, "\n") : 0;
	char got[96];
	if (!v)
		return err_set(e, ERR_WALL, "proof: /proc does not say %s of the worker", key);
	if (n == strlen(want) && !memcmp(v, want, n))
		return ERR_OK;
	return err_set(e, ERR_WALL, "proof: the worker's %s is '%s', must be '%s'", key,
	               err_escape(got, sizeof got, v, n), want);
}

int proof_status(const char *text, const struct proof_expect *x, struct err *e)
{
	char ids[2][64], numbers[2][16];
	static const char none[] = "0000000000000000";
	snprintf(ids[0], sizeof ids[0], "%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32, x->uid, x->uid, x->uid,
	         x->uid);
	snprintf(ids[1], sizeof ids[1], "%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32, x->gid, x->gid, x->gid,
	         x->gid);
	snprintf(numbers[0], sizeof numbers[0], "%u", x->n_filters);
	snprintf(numbers[1], sizeof numbers[1], "%u", x->n_threads);
	const struct { const char *key, *want; } fields[] = {
		{ "Seccomp", "2" }, { "Seccomp_filters", numbers[0] }, { "NoNewPrivs", "1" },
		{ "Threads", numbers[1] }, { "Uid", ids[0] }, { "Gid", ids[1] }, { "CapInh", none },
		{ "CapPrm", none }, { "CapEff", none }, { "CapBnd", none }, { "CapAmb", none },
		{ "TracerPid", "0" },
	};
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (x->may_keep_bounding && !strcmp(fields[i].key, "CapBnd"))
			continue;
		int rc = field_is(text, fields[i].key, fields[i].want, e);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

/* Reads a whole small file of /proc. Returns its length, -errno. */
static ssize_t slurp(int dir_fd, const char *path, char *buf, size_t cap)
{
	size_t n = 0;
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (ssize_t got = 1; got > 0 && n + 1 < cap; n += got > 0 ? (size_t)got : 0)
		got = read(fd, buf + n, cap - 1 - n);
	close(fd);
	buf[n] = 0;
	return (ssize_t)n;
}

int proof_own_filters(unsigned *n, struct err *e)
{
	char text[STATUS_MAX_BYTES];
	ssize_t len = slurp(AT_FDCWD, "/proc/self/status", text, sizeof text);
	const char *v = len > 0 ? value_of(text, "Seccomp_filters") : NULL;
	if (!v)
		return err_set(e, ERR_WALL, "/proc/self/status cannot be read or does not count filters: mount /proc "
		               "(Linux 5.10 or later)");
	*n = (unsigned)strtoul(v, NULL, 10);
	return ERR_OK;
}

/* Calls fn for each numeric name of a directory. Returns how many there were, -errno. */
static int each_number(int proc_fd, const char *path, int (*fn)(void *arg, const char *name), void *arg)
{
	int n = 0, fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	for (struct dirent *de; (de = readdir(d));) {
		if (de->d_name[0] == '.')
			continue;
		n++;
		if (fn(arg, de->d_name)) {
			n = -ECANCELED;
			break;
		}
	}
	closedir(d);
	return n;
}

struct threads_check {
	int proc_fd;
	pid_t pid;
	const struct proof_expect *x;
	struct err *e;
	int rc;
};

static int check_thread(void *arg, const char *tid)
{
	struct threads_check *c = arg;
	char path[64], text[STATUS_MAX_BYTES];
	snprintf(path, sizeof path, "%d/task/%.16s/status", (int)c->pid, tid);
	ssize_t n = slurp(c->proc_fd, path, text, sizeof text);
	c->rc = n > 0 ? proof_status(text, c->x, c->e)
	              : err_set(c->e, ERR_WALL, "proof: /proc/%s cannot be read: %s", path,
	                        n < 0 ? strerror((int)-n) : "empty");
	return c->rc != ERR_OK;
}

static int check_fd(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "3") != 0;
}

/* The list of descriptors, where this process may read it; else the jailer is asked to look at each number,
 * which it does while the threads are looked at here. */
static int fds_begin(struct jail *j, int proc_fd, struct worker *w, int *n, struct err *e)
{
	char path[32];
	snprintf(path, sizeof path, "%d/fd", (int)w->pid);
	*n = each_number(proc_fd, path, check_fd, NULL);
	w->fds_seen = *n == -EACCES || *n == -EPERM ? FDS_PROBED : FDS_LISTED;
	return w->fds_seen == FDS_PROBED ? jailer_probe_ask(j, w->pidfd, e) : ERR_OK;
}

/* Exactly the channel. In a container without namespaces neither way may be allowed: then the proof rests on
 * close_range and on the program's digest, and the record says so. */
static int fds_end(struct jail *j, struct worker *w, int n, struct err *e)
{
	uint64_t open_fds;
	int rc = ERR_OK;
	if (w->fds_seen == FDS_PROBED) {
		rc = jailer_probe_hear(j, &open_fds, e);
		n = rc == ERR_OK && open_fds == 1ULL << 3 ? 1 : 0;
	}
	if (rc == ERR_WALL && !(w->layers & LAYER_BIT(USER_NS))) {
		w->fds_seen = FDS_UNSEEN;
		return ERR_OK;
	}
	if (rc == ERR_OK && n != 1)
		rc = err_set(e, ERR_WALL, "proof: the worker holds other descriptors than its channel");
	w->fds_listed = w->fds_seen == FDS_LISTED;
	return rc;
}

const char *fds_seen_name(enum fds_seen by)
{
	static const char *const names[] = { "unseen", "listed", "probed" };
	return (unsigned)by < sizeof names / sizeof names[0] ? names[by] : "?";
}

static int check_layers(const struct worker_order *o, struct worker *w, struct err *e)
{
	const uint64_t own = LAYER_BIT(DUMPABLE) | LAYER_BIT(MSEAL) | LAYER_BIT(SECCOMP);
	char names[256];
	w->layers |= w->locked.layers & own;
	w->missing = LAYERS_ALL & ~w->layers & ~LAYER_BIT(LIMITS_CLOSED);
	uint64_t required = w->missing & ~o->optional_layers;
	if (required)
		return err_set(e, ERR_WALL, "the wall lacks %s: fumehood doctor says why",
		               layers_text(required, names, sizeof names));
	return ERR_OK;
}

static int check_threads(struct jail *j, int proc_fd, const struct worker_order *o, struct worker *w, struct err *e)
{
	const struct proof_expect x = {
		w->uid, w->gid,
		jailer_base_filters(j) + (o->violation_kill ? PROOF_WORKER_FILTERS_KILL : PROOF_WORKER_FILTERS),
		o->n_threads, !(w->layers & LAYER_BIT(USER_NS)),
	};
	struct threads_check c = { proc_fd, w->pid, &x, e, ERR_OK };
	char path[32];
	snprintf(path, sizeof path, "%d/task", (int)w->pid);
	int n = each_number(proc_fd, path, check_thread, &c);
	if (c.rc != ERR_OK)
		return c.rc;
	if (n != (int)o->n_threads)
		return err_set(e, ERR_WALL, "proof: the worker has %d threads, %u were ordered", n, o->n_threads);
	return ERR_OK;
}

int worker_verify(struct jail *j, int proc_fd, const struct worker_order *o, struct worker *w, struct err *e)
{
	struct err later;
	int n, rc = fds_begin(j, proc_fd, w, &n, e);
	if (rc != ERR_OK)
		return rc;
	rc = check_threads(j, proc_fd, o, w, e);
	int fds = fds_end(j, w, n, rc == ERR_OK ? e : &later);
	if (rc == ERR_OK)
		rc = fds;
	return rc == ERR_OK ? check_layers(o, w, e) : rc;
}
