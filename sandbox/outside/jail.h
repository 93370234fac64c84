/* SPDX-License-Identifier: Apache-2.0
 *
 * The jailer's own header: its state, its step tables, its fixed descriptor numbers.
 *
 * Side: outside. Trusts: the broker's frames (checked), nothing else. Owns: the jailer's state.
 */
#ifndef FUMEHOOD_JAIL_H
#define FUMEHOOD_JAIL_H

#include "proto/fixed.h"
#include "sandbox/outside/jail_steps.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Descriptors of the jailer. 0..2 are copies of FD_PROC, and so is FD_TEMPLATE while there is no template:
 * so received ones begin at 6, ascending. */
enum { FD_CONTROL = 3, FD_PROC = 4, FD_TEMPLATE = 5, FD_FIRST_FREE = 6 };
/* Descriptors of the child at exec: the worker keeps the first two, exec closes the others. */
enum { FD_CHANNEL = 3, FD_MODEL = 4, FD_PROGRAM = 5, FD_REPORT = 6, FD_CHILD_END = 7 };

/* What the child tells the jailer before exec, and once more when exec fails. */
struct jail_report {
	uint32_t step;
	int32_t error;
	uint64_t layers;
};

struct jailer {
	bool rootless;
	uint32_t uid, gid;           /* service user, or the own one */
	int landlock_abi;
	bool is_container;           /* user namespaces are refused here: workers stay in what is around us */
	bool has_template;
	uint64_t template_dev, template_ino; /* of the program that it was started from */
	uint64_t layers;             /* layers that stand since the start */
	int32_t once_error[LAYER__MAX]; /* why one does not */
	uint32_t once_step[LAYER__MAX];
	uint32_t fatal_step;         /* the start stopped here; every request is answered with it */
	int32_t fatal_error;
};

/* Numbers of the jailer's own namespace. Its own id is not 0: mapping that on to a child would need one more
 * capability. */
#define JAILER_INNER_ID 1
#define JAILER_INNER_FIRST 2 /* root mode: UID_WORKER_FIRST */

/* One spawn, in the jailer and (copied by clone3) in the child. */
struct spawn {
	struct jailer *j;
	const struct spawn_fixed *ask;
	int channel, model, program; /* as received */
	int report_up, report_down;  /* jailer's and child's end of one socket pair */
	uint64_t model_bytes, program_bytes, as_bytes;
	uint64_t program_dev, program_ino;
	uint64_t layers;
	pid_t pid;
	int pidfd;
};

struct once_step {
	uint32_t id;
	uint64_t needs; /* layers that must stand before this may be tried */
	int (*fn)(struct jailer *j);
};
struct child_step {
	uint32_t id;
	int (*fn)(struct spawn *s);
};

/* jail_once.c: runs every step of the start; failures are left in j. */
void jail_once(struct jailer *j);
/* jailer.c: has the broker write the maps of this process's own user namespace. */
int jail_ask_for_map(const struct jailer *j);
/* jail_child.c: the child of clone3: becomes the program. */
_Noreturn void jail_child(struct spawn *s);
/* Its parts, for a template. All steps up to exec; ends the process when one fails. */
void jail_child_wall(struct spawn *s);
/* What the program must know (template.h). */
void jail_child_words(const struct spawn *s, char words[][17]);
/* Tells the jailer that there is nothing more to come, and closes that channel. */
void jail_child_done(struct spawn *s);

/* jail_clone.c. Makes the child: returns 0 in the parent with s->pid and s->pidfd, and in the child with
 * pid 0; -errno. */
int jail_clone(struct spawn *s);

/* jail_template.c: starts the template of this sealed program (received descriptor); *pid and *pidfd. */
int jail_template_start(struct jailer *j, int program, int *pid, int *pidfd);
/* Has it make the child. -ENOENT: there is none for this program. */
int jail_template_spawn(struct spawn *s);
/* The layers of a step. */
uint64_t jail_step_layers(uint32_t step);

/* A refusal wished by a test; 0 in the shipped jailer, whose build has no such thing. */
#ifdef FUMEHOOD_JAILER_TEST
int jail_test_fault(uint32_t step);
int jail_test_landlock(int abi);
bool jail_test_program(int fd, uint64_t bytes);
bool jail_test_skips(uint32_t step);
uint64_t jail_test_flags(void);
uint64_t jail_test_clone(uint64_t flags);
size_t jail_test_start(const struct sock_filter **f);
int jail_test_refusal(void);
void jail_test_args(int *argc, char ***argv);
#else
static inline int jail_test_fault(uint32_t step) { (void)step; return 0; }
static inline int jail_test_landlock(int abi) { return abi; }
static inline int jail_test_refusal(void) { return 0; }
static inline size_t jail_test_start(const struct sock_filter **f) { (void)f; return 0; }
static inline bool jail_test_skips(uint32_t step) { (void)step; return false; }
static inline uint64_t jail_test_flags(void) { return 0; }
static inline uint64_t jail_test_clone(uint64_t flags) { return flags; }
static inline bool jail_test_program(int fd, uint64_t bytes) { (void)fd; (void)bytes; return true; }
#endif

#endif
