/* SPDX-License-Identifier: Apache-2.0
 *
 * The walls of the trusted processes (broker, auditor), and what this kernel can do at all.
 * main files of other rooms include this header; it brings nothing else of the sandbox.
 *
 * Side: broker, auditor. Trusts: its caller. Owns: nothing. Once entered, a wall cannot be left.
 */
#ifndef FUMEHOOD_WALL_H
#define FUMEHOOD_WALL_H

#include "proto/err.h"
#include "sandbox/wall/layers.h"

#include <stddef.h>
#include <stdint.h>

/* What may be done below a directory, by path. Descriptors that are open already are not affected. */
enum wall_right {
	WALL_READ,    /* open files for reading, list */
	WALL_APPEND,  /* + open for writing, make files; nothing can be removed, renamed over or truncated */
	WALL_REPLACE, /* + rename and remove files, truncate: derived files that are made anew */
	WALL_STORE,   /* + make, remove and link between directories; sockets */
	WALL_RIGHT__MAX
};

struct wall_dir {
	int fd; /* O_PATH or readable */
	enum wall_right right;
};

struct wall_conf {
	const struct wall_dir *dirs;
	size_t n_dirs;
	uint64_t optional_layers; /* may be missing; the rest may not */
	uint64_t nofile;          /* RLIMIT_NOFILE, or the hard limit where that is lower; 0 = leave it */
	uint64_t memlock_bytes;   /* for keys; as above */
};

/* From root to a service user, for good: empty bounding set, no groups, ids, no capability.
 * Errors: ERR_WALL. */
MUST_CHECK int wall_become(uint32_t uid, uint32_t gid, struct err *e);

/* No capabilities, no_new_privs, rlimits, MDWE, DUMPABLE 0, Landlock with the directories, the filter of
 * broker.rules or auditor.rules on all threads. *layers: which of these stand (layers that only a worker
 * has are not counted as missing). Call after everything is open and every thread runs... but Landlock
 * and capabilities belong to the calling thread: threads are best started after this, or not at all.
 * Errors: ERR_WALL, naming the layer; the process is then half walled and must end. */
MUST_CHECK int wall_enter_broker(const struct wall_conf *c, uint64_t *layers, struct err *e);
MUST_CHECK int wall_enter_auditor(const struct wall_conf *c, uint64_t *layers, struct err *e);

/* Which layers this kernel can give this process, tried in a child that ends. For doctor; takes a few
 * milliseconds; to be called before a wall. Errors: ERR_IO. */
MUST_CHECK int wall_probe(uint64_t *have, struct err *e);

/* Counts of the call lists, for documents and tests: name, calls, instructions. */
struct wall_list {
	const char *name;
	unsigned calls, insns;
};
const struct wall_list *wall_lists(unsigned *n);

#endif
