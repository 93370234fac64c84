/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool of threads that lives behind the wall: started before it, it only ever spins and uses
 * futex WAIT (untimed, private) and WAKE, by inline system calls. No libc after pool_start.
 *
 * Side: inside. Trusts: its caller. Owns: the threads.
 */
#ifndef FUMEHOOD_POOL_H
#define FUMEHOOD_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool;

/* Measures how long a pause is, once; pool_start does it when nobody has. Not for two threads at once. */
void pool_measure(void);

/* Bytes that pool_start needs for n_threads (the caller's own thread is thread 0 and counts). */
size_t pool_bytes(unsigned n_threads);

/* Starts n_threads - 1 threads on memory at mem (64-aligned; stacks from stacks, stack_bytes each)
 * and returns when each has counted itself ready from its own loop: only then may a filter be set
 * for all threads. Returns 0 or -errno. With n_threads 1 no thread is started. Sets the floating-point
 * mode (kernels.h, fp_env_set) of its threads and of the caller. Measures how long a pause is: idle
 * threads spin for about 40 us, then sleep in the kernel. */
int pool_start(struct pool **out, void *mem, unsigned n_threads, void *stacks, size_t stack_bytes);

unsigned pool_threads(const struct pool *p); /* 1 for NULL */

/* Calls fn(arg, task, thread) for task 0..n_tasks-1, tasks handed out in order to whichever thread
 * is free, and returns when all are done. thread < pool_threads(p). Which thread runs a task never
 * decides a result. Not reentrant. A pool of NULL, one thread or one task: on the calling thread. */
void pool_run(struct pool *p, void (*fn)(void *arg, uint32_t task, unsigned thread), void *arg,
              uint32_t n_tasks);

/* Ends the threads (tests and benchmarks only: a locked thread cannot end alone). */
void pool_stop(struct pool *p);

#endif
