/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's conversation after the wall: LOAD -> NEEDS -> PLAN -> READY, then CALL -> RESULT until
 * the channel ends. No allocation but from the arena, no system call but the four.
 *
 * Side: inside. Trusts: nothing; the broker's frames are checked like anybody's. Owns: the arena.
 */
#ifndef FUMEHOOD_INSIDE_SERVE_H
#define FUMEHOOD_INSIDE_SERVE_H

#include <stddef.h>
#include <stdint.h>

struct pool;

struct serve {
	const uint8_t *model;   /* sealed, mapped read-only */
	size_t model_bytes;
	uint8_t *arena;         /* reserved, zero until touched */
	size_t arena_bytes;
	struct pool *pool;
};

/* Serves until the broker closes the channel. Returns the worker's exit code: 0 at a clean end,
 * an enum serve_exit otherwise (each is an event in the broker, never a surprise). */
int serve_run(const struct serve *s);

enum serve_exit {
	SERVE_OK = 0,
	SERVE_CHANNEL = 70,  /* the channel broke in the middle of a frame */
	SERVE_PROTOCOL = 71, /* a frame out of turn or malformed */
	SERVE_PLAN = 72,     /* a plan that does not fit what was reserved */
	SERVE_ROOM = 73      /* an answer does not fit its region */
};

#endif
