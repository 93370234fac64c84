/* SPDX-License-Identifier: Apache-2.0
 *
 * What the broker sees of the sandbox: start the jailer, have workers made, prove from outside that one
 * is locked, end it, say how it ended. Nothing that a worker says counts as proof.
 *
 * Side: broker. Trusts: the kernel (/proc, wait status), the jailer's answers. Owns: the link to the
 * jailer, and each worker's pidfd and channel until worker_close.
 *
 * Order of use:
 *   jailer_start     from the main thread, before anything else: a worker dies with the thread that
 *                    started its jailer, and a jailer made later would inherit what the broker holds
 *   jailer_template  once the worker's program is sealed: makes every start three times as fast
 *   worker_start     = jailer_spawn, worker_locked, worker_verify, worker_limits_close
 *   ... frames on worker.channel; worker.listener_fd readable: violation_read, worker_kill ...
 *   worker_kill or closing the channel, then worker_reap, verdict_of, worker_close
 */
#ifndef FUMEHOOD_SANDBOX_H
#define FUMEHOOD_SANDBOX_H

#include "proto/err.h"
#include "proto/fixed.h"
#include "sandbox/outside/jail_steps.h"
#include "sandbox/wall/layers.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The name of a step in an error ("landlock"); "?" for an unknown number. */
const char *jail_step_name(uint32_t step);

/* Writes the names of a mask's layers, comma separated, "none" for 0. Returns out. */
char *layers_text(uint64_t layers, char *out, size_t cap);

/* --- sealed memory files ------------------------------------------------------------------------------ */

/* An empty memfd for a model: cannot be executed where the kernel knows how (6.3). To be filled by
 * write or pwrite, then sealed. Errors: ERR_NOMEM. */
MUST_CHECK int memfd_model_new(int *fd, struct err *e);
/* Seals it for good against writing, growing and shrinking. No writable mapping may exist. */
MUST_CHECK int memfd_seal(int fd, struct err *e);
/* A sealed, executable copy of a program file (readable descriptor, read from its start). */
MUST_CHECK int memfd_program(int file_fd, int *fd, uint64_t *bytes, struct err *e);

/* --- the jailer ----------------------------------------------------------------------------------------- */

struct jail;

struct jail_conf {
	int program_fd;      /* readable descriptor of fumehood-jailer, found by the caller; not taken */
	bool rootless;       /* true: as the user that calls. false: called by root; becomes uid and gid */
	uint32_t uid, gid;   /* the broker's own later ids: the two must be the same, or the broker could
	                      * neither limit nor kill a worker */
	char *const *extra_args; /* tests only: put before UID and GID; NULL */
};

/* Starts the jailer and waits for its word. Errors: ERR_WALL (with the step that failed), ERR_IO. */
MUST_CHECK int jailer_start(const struct jail_conf *conf, struct jail **out, struct err *e);
/* Ends it (no worker ends by that) and frees the link. NULL is fine. */
void jailer_stop(struct jail *j);
/* For the loop: readable or hung up while no spawn is under way means that the jailer has ended. */
int jailer_fd(const struct jail *j);
pid_t jailer_pid(const struct jail *j);
/* Layers that stand in the jailer already. */
uint64_t jailer_layers(const struct jail *j);
bool jailer_is_rootless(const struct jail *j);

/* Starts the sealed program once, without a model, under the jailer: workers of this program are then forked
 * from it and not started anew (sandbox/outside/template.h). A template before it ends. When the template ends
 * early, workers are started by exec, in the same jail. Errors: ERR_WALL. */
MUST_CHECK int jailer_template(struct jail *j, int program_fd, struct err *e);

/* --- workers ---------------------------------------------------------------------------------------------- */

struct worker_order {
	int model_fd;               /* sealed (memfd_seal); not taken */
	uint64_t model_bytes;
	int program_fd;             /* sealed (memfd_program); not taken */
	uint64_t arena_bytes;       /* a multiple of 4096, at least LIMIT_ARENA_MIN_BYTES */
	unsigned n_threads;         /* 1..LIMIT_THREADS */
	unsigned cpu_seconds;       /* last resort; 0 = none */
	uint64_t optional_layers;   /* within wall_layers_may_be_optional() */
	bool violation_kill;        /* a refused call kills at once, without a report: where another supervisor
	                             * holds a listener already */
};

/* How the worker's descriptors were seen to be {3}; FDS_UNSEEN only without a user namespace. */
enum fds_seen { FDS_UNSEEN, FDS_LISTED, FDS_PROBED };
const char *fds_seen_name(enum fds_seen by);

struct worker {
	pid_t pid;                  /* a child of this process; 0 = none */
	int pidfd, channel;         /* -1 = none. channel: SOCK_STREAM, blocking, close-on-exec */
	uint32_t uid, gid;          /* outside */
	unsigned n_threads;
	uint64_t layers;            /* that stand */
	uint64_t missing;           /* LAYERS_ALL & ~layers: the label of every record */
	struct locked_fixed locked; /* its claim: level, core */
	bool fds_listed;            /* the same as fds_seen == FDS_LISTED */
	enum fds_seen fds_seen;
	int listener_fd;            /* readable: violation_read; -1 with violation_kill */
	bool violation_kill;
	struct listener_fixed place;/* its claim: where its program lies */
};

/* All of the steps below. On an error no worker is left and *w is empty. Blocks for about a
 * millisecond, at most LIMIT_SPAWN_MS for each half. proc_fd: /proc, opened by the caller.
 * Errors: ERR_WALL (a layer could not be set: the step and errno), ERR_PROTOCOL, ERR_DEADLINE, ERR_WORKER. */
MUST_CHECK int worker_start(struct jail *j, int proc_fd, const struct worker_order *o, struct worker *w,
                            struct err *e);

/* Asks the jailer; w gets pid, pidfd, channel and the layers before exec. */
MUST_CHECK int jailer_spawn(struct jail *j, const struct worker_order *o, struct worker *w, struct err *e);
/* Waits for LISTENER (unless violation_kill) and LOCKED and keeps them in w. */
MUST_CHECK int worker_locked(struct worker *w, struct err *e);
/* The proof: for every thread of the process Seccomp 2 with exactly the expected number of filters,
 * NoNewPrivs 1, five empty capability sets, the mapped ids in all four fields; as many threads as were
 * ordered; the descriptor list where it may be read. Then counts the layers against the optional ones.
 * Errors: ERR_WALL. */
MUST_CHECK int worker_verify(struct jail *j, int proc_fd, const struct worker_order *o, struct worker *w,
                             struct err *e);
/* No new process, thread or descriptor from here on. */
MUST_CHECK int worker_limits_close(struct worker *w, struct err *e);

void worker_kill(const struct worker *w); /* SIGKILL through the pidfd */
/* Closes the descriptors; a worker that was not reaped is killed and reaped first. */
void worker_close(struct worker *w);

/* --- workers kept ready ------------------------------------------------------------------------------------- */

/* Locked, proved, and without an order yet: taking one costs no start. For one model each, because a worker maps
 * its model before it is locked; it has not read a byte of it. */
struct spares;
MUST_CHECK int spares_new(unsigned cap, struct spares **out, struct err *e);
/* Starts one more (blocks as worker_start does). Errors: ERR_BUSY when all places are taken; those of worker_start. */
MUST_CHECK int spares_add(struct spares *s, struct jail *j, int proc_fd, const struct worker_order *o, struct err *e);
/* Hands out one that was started with an equal order for the very same model_fd's file and still lives: it is
 * then the caller's, as after worker_start. False: there is none. */
bool spares_take(struct spares *s, const struct worker_order *o, struct worker *w);
void spares_free(struct spares *s); /* ends those that are left; NULL is fine */

/* --- refused calls: the kernel's report ------------------------------------------------------------------------ */

struct violation {
	int nr;                 /* the call's number, of architecture arch */
	const char *name;       /* "openat", "?" for a number that this build does not know */
	uint64_t args[6];       /* never followed: pointers are the attacker's */
	uint32_t arch;          /* AUDIT_ARCH_* */
	uint64_t ip;            /* behind the instruction */
	uint64_t ip_offset;     /* of it in the worker's program; UINT64_MAX when it lies elsewhere */
	uint32_t tid;
};

/* Takes one report from w->listener_fd. Never answers: the call stays refused and its thread stopped until the
 * worker is killed, which is the caller's next step. Returns 1 with *v, 0 when there is none (the thread has
 * been killed meanwhile), ERR_IO when this is no listener or it has ended. Does not block when the descriptor
 * is readable. */
MUST_CHECK int violation_read(const struct worker *w, struct violation *v, struct err *e);
/* "openat(0xffffff9c, 0x7f.., 0x0, ...) = call 257, x86-64, at +0x1a2b, thread 77". Returns out. */
char *violation_text(const struct violation *v, char *out, size_t cap);
/* The name of a call number, "?" when unknown. */
const char *call_name(uint32_t arch, int nr);

/* --- how it ended ------------------------------------------------------------------------------------------ */

/*         symbol         name            error code      meaning */
#define VERDICT_TABLE(X)                                                                            \
	X(VERDICT_CLEAN,     "clean",        ERR_OK)        /* exit 0 after the channel was closed */     \
	X(VERDICT_REFUSED,   "refused-call", ERR_VIOLATION) /* a system call outside the four */          \
	X(VERDICT_CRASH,     "crash",        ERR_WORKER)    /* a signal of its own, or an exit */         \
	X(VERDICT_MEMORY,    "memory",       ERR_MEMORY)    /* the kernel killed it for memory */         \
	X(VERDICT_DEADLINE,  "deadline",     ERR_DEADLINE)  /* killed for time, or its CPU limit */       \
	X(VERDICT_PROTOCOL,  "protocol",     ERR_PROTOCOL)  /* the broker killed it for a bad frame */    \
	X(VERDICT_UNLOCKED,  "unlocked",     ERR_WALL)      /* the broker killed it: the proof failed */

enum verdict {
#define VERDICT(sym, name, code) sym,
	VERDICT_TABLE(VERDICT)
#undef VERDICT
	VERDICT__MAX
};

const char *verdict_name(enum verdict v);
int verdict_err_code(enum verdict v);

/* Why the broker killed it, if it did. */
enum worker_killed { KILLED_NOT, KILLED_CANCEL, KILLED_DEADLINE, KILLED_PROTOCOL, KILLED_UNLOCKED,
                     KILLED_REFUSED /* a refused call was reported */ };

struct worker_notes {
	enum worker_killed killed;
	unsigned cpu_seconds; /* as ordered: a SIGKILL after that much processor time is the kernel's limit */
	bool told_to_end;   /* the broker closed the channel */
	bool oom_counted;   /* its control group's out-of-memory counter moved */
};

struct worker_end {
	bool by_signal;
	int code;           /* the signal, or the exit code */
	uint64_t cpu_ms;    /* processor time it used */
};

/* Waits at most timeout_ms (0: looks only, -1: for ever) for the end of the process. Returns 1 when it
 * has ended and *end says how (it is reaped, w->pid becomes 0), 0 when not yet, a negative error. */
MUST_CHECK int worker_reap(struct worker *w, int timeout_ms, struct worker_end *end, struct err *e);

/* From the kernel's word and the broker's own notes; never from the worker. */
enum verdict verdict_of(const struct worker_end *end, const struct worker_notes *notes);

#endif
