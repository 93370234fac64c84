/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers kept ready: see sandbox.h. A worker maps its model before it is locked, so a spare belongs to one
 * model (the very memory file), one size of arena, one number of threads.
 *
 * Side: broker. Trusts: the kernel's word on whether a spare still lives. Owns: the spares.
 */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct spare {
	struct worker w; /* pid 0: the place is free */
	dev_t model_dev;
	ino_t model_ino;
	struct worker_order order;
};

struct spares {
	unsigned cap;
	struct spare at[];
};

int spares_new(unsigned cap, struct spares **out, struct err *e)
{
	struct spares *s = calloc(1, sizeof *s + cap * sizeof s->at[0]);
	if (!s)
		return err_set(e, ERR_NOMEM, "no memory for spare workers");
	s->cap = cap;
	for (unsigned i = 0; i < cap; i++)
		s->at[i].w = (struct worker){ .pidfd = -1, .channel = -1, .listener_fd = -1 };
	*out = s;
	return ERR_OK;
}

/* Nothing that it says is due before it got an order: whatever is readable is an end or a breach. */
static bool is_fit(const struct worker *w)
{
	struct pollfd p[] = { { w->pidfd, POLLIN, 0 }, { w->channel, POLLIN, 0 }, { w->listener_fd, POLLIN, 0 } };
	return poll(p, sizeof p / sizeof p[0], 0) == 0;
}

static bool is_for(const struct spare *s, const struct stat *model, const struct worker_order *o)
{
	const struct worker_order *h = &s->order;
	return s->w.pid > 0 && s->model_dev == model->st_dev && s->model_ino == model->st_ino &&
	       h->model_bytes == o->model_bytes && h->arena_bytes == o->arena_bytes && h->program_fd == o->program_fd &&
	       h->n_threads == o->n_threads && h->cpu_seconds == o->cpu_seconds &&
	       h->optional_layers == o->optional_layers && h->violation_kill == o->violation_kill;
}

int spares_add(struct spares *s, struct jail *j, int proc_fd, const struct worker_order *o, struct err *e)
{
	struct stat model;
	unsigned i = 0;
	while (i < s->cap && s->at[i].w.pid > 0 && is_fit(&s->at[i].w))
		i++;
	if (i == s->cap)
		return err_set(e, ERR_BUSY, "all %u places of spare workers are taken", s->cap);
	worker_close(&s->at[i].w); /* one that has ended meanwhile */
	if (fstat(o->model_fd, &model) < 0)
		return err_set(e, ERR_IO, "fstat: %s", strerror(errno));
	int rc = worker_start(j, proc_fd, o, &s->at[i].w, e);
	if (rc != ERR_OK)
		return rc;
	s->at[i].model_dev = model.st_dev;
	s->at[i].model_ino = model.st_ino;
	s->at[i].order = *o;
	return ERR_OK;
}

bool spares_take(struct spares *s, const struct worker_order *o, struct worker *w)
{
	struct stat model;
	if (fstat(o->model_fd, &model) < 0)
		return false;
	for (unsigned i = 0; i < s->cap; i++) {
		if (!is_for(&s->at[i], &model, o))
			continue;
		if (!is_fit(&s->at[i].w)) {
			worker_close(&s->at[i].w);
			continue;
		}
		*w = s->at[i].w;
		s->at[i].w = (struct worker){ .pidfd = -1, .channel = -1, .listener_fd = -1 };
		return true;
	}
	return false;
}

void spares_free(struct spares *s)
{
	for (unsigned i = 0; s && i < s->cap; i++)
		worker_close(&s->at[i].w);
	free(s);
}
