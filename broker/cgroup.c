/* SPDX-License-Identifier: Apache-2.0
 *
 * See cgroup.h. Side: broker. Trusts: the kernel's files. Owns: the groups.
 */
#include "broker/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARES_OF_ONE 1024         /* v1: what the kernel gives a group, and a process beside groups */
#define WEIGHT_OF_ONE 100          /* v2 */
#define TREES 2

enum tree_kind { TREE_CPU_V1, TREE_MEMORY_V1, TREE_V2 };

/* One hierarchy that is used: its folder .../fumehood/<pid> and what is open of each group. */
struct tree {
	enum tree_kind kind;
	bool has_cpu, has_memory;
	int base_fd, dir_fd;           /* .../fumehood, and <pid> in it */
	int procs[CGROUP_SLOTS], events[CGROUP_SLOTS];
};

struct cgroups {
	struct tree trees[TREES];
	unsigned n_trees;
	char name[16];                 /* the pid */
	bool is_taken[CGROUP_SLOTS];
	uint64_t kills[CGROUP_SLOTS];  /* the counter when it was taken */
};

/* --- small files -------------------------------------------------------------------------------------- */

static bool file_write(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int err = errno;
	if (fd >= 0)
		close(fd);
	errno = err;
	return ok;
}

static bool number_write(int dir, const char *name, uint64_t n)
{
	char text[24];
	snprintf(text, sizeof text, "%" PRIu64, n);
	return file_write(dir, name, text);
}

static bool text_read(int fd, char *out, size_t cap)
{
	ssize_t n = pread(fd, out, cap - 1, 0);
	out[n > 0 ? n : 0] = 0;
	return n >= 0;
}

/* The number behind a word at the start of a line; 0 when it is not there. */
static uint64_t counter(int fd, const char *word)
{
	char text[1024];
	unsigned long long n = 0;
	if (fd < 0 || !text_read(fd, text, sizeof text))
		return 0;
	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (!strncmp(line, word, strlen(word)) && sscanf(line + strlen(word), " %llu", &n) == 1)
			break;
	return n;
}

/* --- where groups are --------------------------------------------------------------------------------- */

/* The path of this process's group in the hierarchy with this controller ("": v2). */
static bool own_path(const char *controller, char out[PATH_MAX])
{
	char line[PATH_MAX + 256];
	bool found = false;
	FILE *f = fopen("/proc/self/cgroup", "re");
	while (f && !found && fgets(line, sizeof line, f)) {
		char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
		if (!path)
			continue;
		*list++ = *path++ = 0;
		path[strcspn(path, "\n")] = 0;
		size_t n = strlen(controller);
		const char *at = n ? strstr(list, controller) : list;
		found = at && (n ? (at == list || at[-1] == ',') && (at[n] == ',' || at[n] == 0) : !*list);
		if (found)
			snprintf(out, PATH_MAX, "%s", path);
	}
	if (f)
		fclose(f);
	return found;
}

/* Opens this process's group: mount point and path. -1 with errno. */
static int own_group(const char *controller)
{
	char path[PATH_MAX], full[2 * PATH_MAX] = "";
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent m;
	char room[2 * PATH_MAX];
	bool is_v2 = !*controller;
	if (f && own_path(controller, path))
		while (!*full && getmntent_r(f, &m, room, sizeof room))
			if (!strcmp(m.mnt_type, is_v2 ? "cgroup2" : "cgroup") && (is_v2 || hasmntopt(&m, controller)))
				snprintf(full, sizeof full, "%s%s", m.mnt_dir, path);
	if (f)
		endmntent(f);
	errno = ENOENT;
	return *full ? open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

/* --- making them -------------------------------------------------------------------------------------------- */

static int folder(int at, const char *name, const struct cgroups_conf *c)
{
	if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
		return -1;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && geteuid() == 0 && fchown(fd, c->uid, c->gid) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void remove_slots(int dir)
{
	char name[8];
	for (int i = 0; i < CGROUP_SLOTS; i++) {
		snprintf(name, sizeof name, "%d", i);
		unlinkat(dir, name, AT_REMOVEDIR);
	}
}

/* Groups of brokers that have gone without removing them. */
static void remove_stale(int base)
{
	int copy = dup(base);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	for (struct dirent *it; d && (it = readdir(d));) {
		char *end;
		long pid = strtol(it->d_name, &end, 10);
		if (pid <= 0 || *end || pid > INT_MAX || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
			continue;
		int dir = openat(base, it->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (dir < 0)
			continue;
		remove_slots(dir);
		close(dir);
		unlinkat(base, it->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
	else if (copy >= 0)
		close(copy);
}

/* v2: its groups get the controllers. Where processes are beside groups, they move away first. */
static bool hand_down(struct tree *t, int own, const struct cgroups_conf *c)
{
	char list[512], want[32];
	int fd = openat(own, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && text_read(fd, list, sizeof list);
	if (fd >= 0)
		close(fd);
	t->has_cpu = ok && (strstr(list, "cpu ") || strstr(list, "cpu\n"));
	t->has_memory = ok && strstr(list, "memory");
	snprintf(want, sizeof want, "%s%s", t->has_cpu ? "+cpu " : "", t->has_memory ? "+memory" : "");
	errno = EOPNOTSUPP;
	if (!*want)
		return false;
	if (!file_write(own, "cgroup.subtree_control", want)) {
		int leaf = errno == EBUSY ? folder(own, "fumehood-broker", c) : -1;
		ok = leaf >= 0 && number_write(leaf, "cgroup.procs", (uint64_t)c->jailer) && file_write(leaf, "cgroup.procs", "0");
		if (leaf >= 0)
			close(leaf);
		if (!ok || !file_write(own, "cgroup.subtree_control", want))
			return false;
	}
	t->base_fd = folder(own, "fumehood", c);
	return t->base_fd >= 0 && file_write(t->base_fd, "cgroup.subtree_control", want);
}

static bool slot_make(struct tree *t, unsigned i, const struct cgroups_conf *c)
{
	char name[8];
	snprintf(name, sizeof name, "%u", i);
	int dir = folder(t->dir_fd, name, c);
	if (dir < 0)
		return false;
	bool ok = true, is_v2 = t->kind == TREE_V2;
	if (t->has_cpu)
		ok = number_write(dir, is_v2 ? "cpu.weight" : "cpu.shares", is_v2 ? WEIGHT_OF_ONE : SHARES_OF_ONE);
	if (t->has_memory && i + 1 < CGROUP_SLOTS) /* the last one is for many */
		ok = number_write(dir, is_v2 ? "memory.max" : "memory.limit_in_bytes", c->memory_bytes) && ok;
	t->procs[i] = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (t->has_memory)
		t->events[i] = openat(dir, is_v2 ? "memory.events" : "memory.oom_control", O_RDONLY | O_CLOEXEC);
	close(dir);
	return ok && t->procs[i] >= 0 && (!t->has_memory || t->events[i] >= 0);
}

static void tree_close(struct tree *t, const char *name)
{
	for (int i = 0; i < CGROUP_SLOTS; i++) {
		if (t->procs[i] >= 0)
			close(t->procs[i]);
		if (t->events[i] >= 0)
			close(t->events[i]);
	}
	if (t->dir_fd >= 0) {
		remove_slots(t->dir_fd);
		close(t->dir_fd);
		unlinkat(t->base_fd, name, AT_REMOVEDIR);
	}
	if (t->base_fd >= 0)
		close(t->base_fd);
}

/* All of one hierarchy, or nothing of it. */
static bool tree_make(struct cgroups *g, enum tree_kind kind, const struct cgroups_conf *c)
{
	static const char *const controllers[] = { [TREE_CPU_V1] = "cpu", [TREE_MEMORY_V1] = "memory", [TREE_V2] = "" };
	struct tree *t = &g->trees[g->n_trees];
	*t = (struct tree){ .kind = kind, .has_cpu = kind == TREE_CPU_V1, .has_memory = kind == TREE_MEMORY_V1,
	                    .base_fd = -1, .dir_fd = -1 };
	memset(t->procs, 0xff, sizeof t->procs);
	memset(t->events, 0xff, sizeof t->events);
	int own = own_group(controllers[kind]);
	bool ok = own >= 0;
	if (ok && kind == TREE_V2)
		ok = hand_down(t, own, c);
	else if (ok)
		ok = (t->base_fd = folder(own, "fumehood", c)) >= 0;
	if (ok)
		remove_stale(t->base_fd);
	ok = ok && (t->dir_fd = folder(t->base_fd, g->name, c)) >= 0;
	if (ok && kind == TREE_V2)
		ok = file_write(t->dir_fd, "cgroup.subtree_control", t->has_cpu && t->has_memory ? "+cpu +memory"
		                                                     : t->has_cpu ? "+cpu" : "+memory");
	if (ok && kind == TREE_CPU_V1) /* all workers together weigh as much as one process per processor */
		ok = number_write(t->dir_fd, "cpu.shares", SHARES_OF_ONE * (uint64_t)c->n_processors);
	for (unsigned i = 0; i < CGROUP_SLOTS && ok; i++)
		ok = slot_make(t, i, c);
	int err = errno;
	if (own >= 0)
		close(own);
	if (!ok)
		tree_close(t, g->name);
	g->n_trees += ok;
	errno = err;
	return ok;
}

int cgroups_new(const struct cgroups_conf *c, struct cgroups **out, char text[CGROUP_TEXT_BYTES], struct err *e)
{
	struct cgroups *g = calloc(1, sizeof *g);
	if (!g)
		return err_set(e, ERR_NOMEM, "no memory for control groups");
	snprintf(g->name, sizeof g->name, "%d", (int)getpid());
	*out = g;
	if (tree_make(g, TREE_V2, c)) {
		const struct tree *t = &g->trees[0];
		snprintf(text, CGROUP_TEXT_BYTES, "%s%s%s (v2)", t->has_cpu ? "cpu" : "", t->has_cpu && t->has_memory ? ", " : "",
		         t->has_memory ? "memory" : "");
		return ERR_OK;
	}
	bool has_cpu = tree_make(g, TREE_CPU_V1, c);
	int err = errno;
	bool has_memory = tree_make(g, TREE_MEMORY_V1, c);
	if (has_cpu || has_memory)
		snprintf(text, CGROUP_TEXT_BYTES, "%s%s%s (v1)", has_cpu ? "cpu" : "", has_cpu && has_memory ? ", " : "",
		         has_memory ? "memory" : "");
	else
		snprintf(text, CGROUP_TEXT_BYTES, "none: no group can be made here (%s)", strerror(err));
	return ERR_OK;
}

void cgroups_free(struct cgroups *g)
{
	for (unsigned i = 0; g && i < g->n_trees; i++)
		tree_close(&g->trees[i], g->name);
	free(g);
}

unsigned cgroups_dirs(const struct cgroups *g, int fds[2])
{
	for (unsigned i = 0; i < g->n_trees; i++)
		fds[i] = g->trees[i].base_fd;
	return g->n_trees;
}

/* --- workers ------------------------------------------------------------------------------------------------ */

static uint64_t kills_of(const struct cgroups *g, int at)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < g->n_trees; i++)
		n += counter(g->trees[i].events[at], "oom_kill");
	return n;
}

int cgroups_enter(struct cgroups *g, pid_t pid)
{
	char text[24];
	int at = 0;
	if (!g || !g->n_trees)
		return -1;
	while (at < CGROUP_SLOTS - 1 && g->is_taken[at])
		at++;
	g->is_taken[at] = true;
	g->kills[at] = kills_of(g, at);
	int n = snprintf(text, sizeof text, "%d", (int)pid);
	for (unsigned i = 0; i < g->n_trees; i++)
		if (write(g->trees[i].procs[at], text, (size_t)n) != n)
			continue; /* it has ended already, or the group is gone: it runs without */
	return at;
}

bool cgroups_leave(struct cgroups *g, int at)
{
	if (!g || at < 0)
		return false;
	g->is_taken[at] = false;
	return kills_of(g, at) > g->kills[at];
}
