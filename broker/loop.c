/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop: see loop.h. A turn is: wait, timers that are due, events, tasks.
 *
 * Timers stand in a list sorted by deadline. Nearly all have the same few durations, so a new one
 * belongs at or near the end and is sought from there.
 *
 * Side: broker. Trusts: its callers. Owns: the epoll descriptor.
 */
#include "broker/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64

struct loop {
	int epoll_fd;
	int64_t now_us;
	struct loop_timer *first, *last;
	struct loop_task *tasks, **tasks_end;
	struct epoll_event batch[BATCH];
	int n_batch;
	bool is_stopped;
};

uint64_t loop_clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

int64_t loop_now_ms(const struct loop *l) { return l->now_us / 1000; }

int loop_new(struct loop **out, struct err *e)
{
	struct loop *l = calloc(1, sizeof *l);
	if (!l)
		return err_set(e, ERR_NOMEM, "no memory for the loop");
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		free(l);
		return err_set(e, ERR_IO, "epoll_create1: %s", strerror(errno));
	}
	l->tasks_end = &l->tasks;
	l->now_us = (int64_t)loop_clock_us();
	*out = l;
	return ERR_OK;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	close(l->epoll_fd);
	free(l);
}

/* --- descriptors ------------------------------------------------------------------------------ */

int loop_watch(struct loop *l, struct loop_watch *w, uint32_t events, struct err *e)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	if (w->is_on && w->events == events)
		return ERR_OK;
	if (epoll_ctl(l->epoll_fd, w->is_on ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return err_set(e, ERR_IO, "epoll_ctl: %s", strerror(errno));
	w->is_on = true;
	w->events = events;
	return ERR_OK;
}

void loop_unwatch(struct loop *l, struct loop_watch *w)
{
	if (!w->is_on)
		return;
	w->is_on = false;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = 0; i < l->n_batch; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
}

/* --- timers ----------------------------------------------------------------------------------- */

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
	if (!t->is_on)
		return;
	t->is_on = false;
	*(t->prev ? &t->prev->next : &l->first) = t->next;
	*(t->next ? &t->next->prev : &l->last) = t->prev;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t delay_ms)
{
	loop_timer_stop(l, t);
	t->at_us = (int64_t)loop_clock_us() + (delay_ms > 0 ? delay_ms * 1000 : 0);
	struct loop_timer *before = l->last;
	while (before && before->at_us > t->at_us)
		before = before->prev;
	t->prev = before;
	t->next = before ? before->next : l->first;
	*(t->prev ? &t->prev->next : &l->first) = t;
	*(t->next ? &t->next->prev : &l->last) = t;
	t->is_on = true;
}

static void timers_run(struct loop *l)
{
	while (l->first && l->first->at_us <= l->now_us && !l->is_stopped) {
		struct loop_timer *t = l->first;
		loop_timer_stop(l, t);
		t->fn(t->arg);
	}
}

/* --- tasks ------------------------------------------------------------------------------------ */

void loop_later(struct loop *l, struct loop_task *t)
{
	if (t->is_on)
		return;
	t->is_on = true;
	t->next = NULL;
	*l->tasks_end = t;
	l->tasks_end = &t->next;
}

void loop_never(struct loop *l, struct loop_task *t)
{
	if (!t->is_on)
		return;
	struct loop_task **p = &l->tasks;
	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	if (l->tasks_end == &t->next)
		l->tasks_end = p;
	t->is_on = false;
}

/* Runs what waits now; what is put off meanwhile waits for the next turn. */
static void tasks_run(struct loop *l)
{
	struct loop_task mark = { 0 };
	loop_later(l, &mark);
	while (l->tasks != &mark) {
		struct loop_task *t = l->tasks;
		loop_never(l, t);
		t->fn(t->arg);
	}
	loop_never(l, &mark);
}

/* --- turns ------------------------------------------------------------------------------------ */

/* Until the first deadline, to the microsecond: a worker is to be gone within a millisecond of it. NULL: for ever. */
static const struct timespec *wait_time(const struct loop *l, struct timespec *t)
{
	if (!l->tasks && !l->first)
		return NULL;
	int64_t left_us = l->tasks ? 0 : l->first->at_us - (int64_t)loop_clock_us();
	if (left_us < 0)
		left_us = 0;
	*t = (struct timespec){ .tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000 };
	return t;
}

int loop_run(struct loop *l, struct err *e)
{
	l->is_stopped = false;
	while (!l->is_stopped) {
		struct timespec t;
		int n = epoll_pwait2(l->epoll_fd, l->batch, BATCH, wait_time(l, &t), NULL);
		if (n < 0 && errno != EINTR)
			return err_set(e, ERR_IO, "epoll_pwait2: %s", strerror(errno));
		l->n_batch = n < 0 ? 0 : n;
		l->now_us = (int64_t)loop_clock_us();
		timers_run(l);
		for (int i = 0; i < l->n_batch; i++) {
			struct loop_watch *w = l->batch[i].data.ptr;
			if (w)
				w->fn(w->arg, l->batch[i].events);
		}
		l->n_batch = 0;
		tasks_run(l);
	}
	return ERR_OK;
}

void loop_stop(struct loop *l) { l->is_stopped = true; }
