/* SPDX-License-Identifier: Apache-2.0
 *
 * The fixed structs: bodies of messages that are read by something that has no allocator (jailer,
 * worker before its plan) or that must not parse (the broker reading a worker's counters).
 * All little-endian, 64 bytes, no padding; unused bytes are zero and are checked to be.
 *
 * Side: both. Trusts: nothing. Owns: these layouts.
 */
#ifndef FUMEHOOD_PROTO_FIXED_H
#define FUMEHOOD_PROTO_FIXED_H

#include <stdint.h>

/* SPAWN (broker -> jailer), with three descriptors: channel, model, program. */
struct spawn_fixed {
	uint64_t arena_bytes;      /* what the worker will reserve; RLIMIT_AS follows from it */
	uint64_t model_bytes;      /* size of the sealed model */
	uint64_t optional_layers;  /* layers of the wall that may be missing (sandbox/wall/layers.h) */
	uint32_t n_threads;
	uint32_t worker_slot;      /* chooses the uid in root mode: UID_WORKER_FIRST + slot */
	uint32_t cpu_seconds;      /* RLIMIT_CPU, the last resort; 0 = none */
	uint32_t flags;            /* SPAWN_VIOLATION_KILL */
	uint64_t program_bytes;
	uint64_t reserved[2];
};
#define SPAWN_VIOLATION_KILL 1u /* a refused call kills without a report: where a listener cannot be had */

/* SPAWNED (jailer -> broker), with a pidfd when pid > 0. Answers SPAWN and TEMPLATE; request id 0: the
 * jailer's own start, once or (step ONCE_MAP, error 0) twice: the first asks to be mapped. */
struct spawned_fixed {
	int32_t pid;               /* in the broker's pid namespace; 0 = failed */
	int32_t error;             /* errno of the step that failed */
	uint32_t step;             /* enum jail_step (sandbox/sandbox.h) */
	uint32_t reserved0;
	uint64_t layers;           /* layers that stand so far */
	uint32_t uid;              /* the worker's uid outside */
	uint32_t reserved1;
	uint64_t reserved[4];
};

/* MAPPED (broker -> jailer): the ids of the jailer's own user namespace are written, or why not. */
struct mapped_fixed {
	int32_t error;
	uint32_t reserved0;
	uint64_t reserved[7];
};

/* PROBE and TEMPLATE (broker -> jailer), with one descriptor: a worker's pidfd, or a sealed program. */
struct one_fd_fixed {
	uint64_t reserved[8];
};

/* PROBED (jailer -> broker): which of the numbers 0 to 63 are open in that process. */
struct probed_fixed {
	uint64_t open;
	int32_t error;             /* errno when the kernel does not let the jailer look */
	uint32_t reserved0;
	uint64_t reserved[6];
};

/* LISTENER (worker -> broker), with the listener of its filter: comes once, before LOCKED. */
struct listener_fixed {
	uint64_t program_base;     /* where its program lies, for offsets in reports; a claim */
	uint64_t program_bytes;
	uint64_t reserved[6];
};

/* LOCKED (worker -> broker): a claim; the broker checks for itself. */
struct locked_fixed {
	uint64_t layers;           /* layers the worker itself has set */
	uint64_t arena_bytes;
	uint32_t n_threads;
	uint32_t level;            /* enum level (kernels.h) */
	char level_name[16];
	char blas_core[16];
	uint32_t step;             /* enum jail_step: the step that failed, 0 = locked */
	int32_t error;             /* its errno; the worker ends then */
};

/* LOAD (broker -> worker): from here on the worker looks at the model. */
struct load_fixed {
	uint64_t limit_bytes;      /* of the arena: what a plan may use in all */
	int32_t level;             /* -1 = the best one; tests force another */
	uint32_t purpose;          /* 0 run, 1 inspect only */
	uint64_t reserved[6];
};

/* NEEDS (worker -> broker): a claim, in bytes by region (engine.h, struct engine_needs). */
struct needs_fixed {
	uint64_t graph_bytes;
	uint64_t weights_bytes;
	uint64_t plan_min_bytes;
	uint64_t scratch_bytes;
	uint64_t io_min_bytes;     /* smallest room for a request and its answer */
	uint64_t macs;
	uint64_t reserved[2];
};

/* SCRUB (broker -> worker): the next call is somebody else's. No answer. */
struct scrub_fixed {
	uint64_t reserved[8];
};

/* Of the request region: what a worker keeps for itself (unpacking, the answer's head, the model's
 * description). A CALL's body is at most request_bytes - PLAN_REQUEST_OVERHEAD_BYTES. */
#define PLAN_REQUEST_OVERHEAD_BYTES (2ull << 20)
#define PLAN_REQUEST_MIN_BYTES (4ull << 20) /* a worker asks for no less (NEEDS.io_min_bytes) */

/* PLAN (broker -> worker): the regions, granted once. */
struct plan_fixed {
	uint64_t engine_bytes;     /* graph, weights, plan, scratch */
	uint64_t request_bytes;    /* room for one request body */
	uint64_t reserved[6];
};

/* The start of READY and RESULT: the only part of a worker's reply that the broker reads. */
struct result_fixed {
	int32_t status;            /* 0 or a negative enum err_code */
	uint32_t n_outputs;
	uint64_t output_bytes;     /* bytes of the tail behind the head */
	uint64_t arena_peak_bytes;
	uint64_t macs;
	uint64_t plans;            /* how often this worker has planned */
	uint64_t calls;            /* how many calls it has answered, this one included */
	uint64_t reserved[2];
};

#define FIXED_BYTES 64
_Static_assert(sizeof(struct spawn_fixed) == FIXED_BYTES, "spawn_fixed");
_Static_assert(sizeof(struct spawned_fixed) == FIXED_BYTES, "spawned_fixed");
_Static_assert(sizeof(struct mapped_fixed) == FIXED_BYTES, "mapped_fixed");
_Static_assert(sizeof(struct one_fd_fixed) == FIXED_BYTES, "one_fd_fixed");
_Static_assert(sizeof(struct probed_fixed) == FIXED_BYTES, "probed_fixed");
_Static_assert(sizeof(struct listener_fixed) == FIXED_BYTES, "listener_fixed");
_Static_assert(sizeof(struct locked_fixed) == FIXED_BYTES, "locked_fixed");
_Static_assert(sizeof(struct load_fixed) == FIXED_BYTES, "load_fixed");
_Static_assert(sizeof(struct needs_fixed) == FIXED_BYTES, "needs_fixed");
_Static_assert(sizeof(struct plan_fixed) == FIXED_BYTES, "plan_fixed");
_Static_assert(sizeof(struct scrub_fixed) == FIXED_BYTES, "scrub_fixed");
_Static_assert(sizeof(struct result_fixed) == FIXED_BYTES, "result_fixed");

#endif
