/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's one loop: descriptors, timers, and work put off to the end of a turn. Single-threaded;
 * nothing here allocates after loop_new.
 *
 * Side: broker. Trusts: its callers. Owns: the epoll descriptor; watches, timers and tasks are embedded
 * in their owners' structs and belong to them.
 */
#ifndef FUMEHOOD_BROKER_LOOP_H
#define FUMEHOOD_BROKER_LOOP_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

/* A watched descriptor. Set fd, fn and arg; the rest is the loop's. Level-triggered. */
struct loop_watch {
	int fd;
	void (*fn)(void *arg, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
	void *arg;
	uint32_t events;                        /* what is asked for now; the loop's */
	bool is_on;
};

/* A deadline. Set fn and arg; zero the rest. */
struct loop_timer {
	void (*fn)(void *arg);
	void *arg;
	int64_t at_us;
	struct loop_timer *prev, *next;
	bool is_on;
};

/* Work for the end of this turn (or the next one, when put off from there). Set fn and arg. */
struct loop_task {
	void (*fn)(void *arg);
	void *arg;
	struct loop_task *next;
	bool is_on;
};

MUST_CHECK int loop_new(struct loop **out, struct err *e);
void loop_free(struct loop *l);

/* Begins watching, or changes what is watched for (EPOLLIN, EPOLLOUT, both, or 0: only its end).
 * Errors: ERR_IO. */
MUST_CHECK int loop_watch(struct loop *l, struct loop_watch *w, uint32_t events, struct err *e);
/* Stops watching, also for events that this turn has already collected. Before the descriptor closes. */
void loop_unwatch(struct loop *l, struct loop_watch *w);

/* (Re)arms a timer: fn runs once, at least delay_ms from now. */
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t delay_ms);
void loop_timer_stop(struct loop *l, struct loop_timer *t);

/* Runs the task at the end of the turn; a task that is waiting already stays once. A task that puts
 * itself off again runs once a turn, and the loop does not sleep meanwhile. */
void loop_later(struct loop *l, struct loop_task *t);
void loop_never(struct loop *l, struct loop_task *t);

/* CLOCK_MONOTONIC in milliseconds, as of the start of this turn; and in microseconds, exact. */
int64_t loop_now_ms(const struct loop *l);
uint64_t loop_clock_us(void);

/* Turns until loop_stop. Errors: ERR_IO. */
MUST_CHECK int loop_run(struct loop *l, struct err *e);
void loop_stop(struct loop *l);

#endif
