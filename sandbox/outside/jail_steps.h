/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of the jailer and of a worker before exec, in their order: ids for answers and errors,
 * with the layers that each one stands for. A step that fails stops the spawn, unless every layer of
 * it is optional for that spawn.
 *
 * Side: outside, broker. Trusts: nothing. Owns: the list of steps.
 *
 * STEP(SYMBOL, "name", layers)   appended, never moved: the numbers are in records
 */
#ifndef FUMEHOOD_JAIL_STEPS_H
#define FUMEHOOD_JAIL_STEPS_H

#include "sandbox/wall/layers.h"

#define LANDLOCK_LAYERS                                                                             \
	(LAYER_BIT(LANDLOCK_FS) | LAYER_BIT(LANDLOCK_TRUNCATE) | LAYER_BIT(LANDLOCK_NET) |              \
	 LAYER_BIT(LANDLOCK_IOCTL) | LAYER_BIT(LANDLOCK_SCOPE))
#define CLONE_LAYERS                                                                                \
	(LAYER_BIT(USER_NS) | LAYER_BIT(PID_NS) | LAYER_BIT(CGROUP_NS) | LAYER_BIT(TIME_NS) |           \
	 LAYER_BIT(IPC_NS) | LAYER_BIT(UTS_NS))

/* What nobody can have who may not make a user namespace. */
#define USER_NS_LAYERS (CLONE_LAYERS | LAYER_BIT(UID_MAP) | LAYER_BIT(MAX_USER_NS))

#define JAIL_STEPS(STEP)                                                                            \
	STEP(NONE, "none", 0)                                                                           \
	/* once, when the jailer starts */                                                              \
	STEP(ONCE_PDEATHSIG, "jailer: parent death signal", 0)                                          \
	STEP(ONCE_FDS, "jailer: keep /proc, close the rest", 0)                                         \
	STEP(ONCE_IDS, "jailer: become the service user", 0)                                            \
	STEP(ONCE_USER_NS, "jailer: own user namespace", USER_NS_LAYERS)                                \
	STEP(ONCE_PDEATHSIG_AGAIN, "jailer: parent death signal after the ids", 0)                      \
	STEP(ONCE_NET_NS, "jailer: empty network namespace", LAYER_BIT(NET_NS))                         \
	STEP(ONCE_MNT_NS, "jailer: mount namespace", LAYER_BIT(MNT_NS))                                 \
	STEP(ONCE_IPC_NS, "jailer: ipc namespace", 0)                                                   \
	STEP(ONCE_UTS_NS, "jailer: uts namespace", 0)                                                   \
	STEP(ONCE_EMPTY_ROOT, "jailer: empty root", LAYER_BIT(EMPTY_ROOT))                              \
	STEP(ONCE_CAPS, "jailer: capabilities", 0)                                                      \
	STEP(ONCE_NO_NEW_PRIVS, "jailer: no_new_privs", 0)                                              \
	STEP(ONCE_MDWE, "jailer: mdwe", LAYER_BIT(MDWE))                                                \
	STEP(ONCE_RLIMITS, "jailer: rlimits", 0)                                                        \
	STEP(ONCE_DUMPABLE, "jailer: dumpable", 0)                                                      \
	STEP(ONCE_SECCOMP, "jailer: filter", 0)                                                         \
	/* the jailer, for each worker */                                                               \
	STEP(REQUEST, "request", 0)                                                                     \
	STEP(SEALS, "sealed model and program", LAYER_BIT(SEALED_MODEL))                                \
	STEP(NOEXEC, "model cannot be executed", LAYER_BIT(MEMFD_NOEXEC))                               \
	STEP(CLONE, "clone3 with namespaces", CLONE_LAYERS)                                             \
	STEP(UID_MAP, "uid_map", LAYER_BIT(UID_MAP))                                                    \
	STEP(GID_MAP, "gid_map", LAYER_BIT(UID_MAP))                                                    \
	STEP(GO, "go", 0)                                                                               \
	/* the child, before exec */                                                                    \
	STEP(PDEATHSIG, "parent death signal", LAYER_BIT(PDEATHSIG))                                    \
	STEP(CHANNELS, "close the jailer's channels", 0)                                                \
	STEP(WAIT_GO, "wait for go", 0)                                                                 \
	STEP(IDS, "ids of the own namespace", LAYER_BIT(UID_MAP))                                       \
	STEP(MAX_USER_NS, "no nested user namespaces", LAYER_BIT(MAX_USER_NS))                          \
	STEP(RLIMITS, "rlimits", LAYER_BIT(RLIMITS))                                                    \
	STEP(CAP_BOUNDING, "capability bounding set", 0)                                                \
	STEP(SECUREBITS, "securebits", 0)                                                               \
	STEP(CAPS, "capabilities", LAYER_BIT(CAPABILITIES))                                             \
	STEP(NO_NEW_PRIVS, "no_new_privs", LAYER_BIT(NO_NEW_PRIVS))                                     \
	STEP(PDEATHSIG_AGAIN, "parent death signal after the ids", LAYER_BIT(PDEATHSIG))                \
	STEP(FDS, "descriptors", LAYER_BIT(CLOSED_FDS))                                                 \
	STEP(PEER, "broker still there", 0)                                                             \
	STEP(LANDLOCK, "landlock", LANDLOCK_LAYERS)                                                     \
	STEP(MDWE, "mdwe", LAYER_BIT(MDWE))                                                             \
	STEP(START_FILTER, "start filter", LAYER_BIT(SECCOMP_START))                                    \
	STEP(EXEC, "exec", 0)                                                                           \
	/* the worker, after exec (sandbox/inside/start.c) */                                           \
	STEP(START_ARGS, "worker: arguments", 0)                                                        \
	STEP(START_FDS, "worker: descriptors", 0)                                                       \
	STEP(START_MODEL, "worker: map the model", 0)                                                   \
	STEP(START_ARENA, "worker: reserve the arena", 0)                                               \
	STEP(START_PREPARE, "worker: prepare the engine", 0)                                            \
	STEP(START_THREADS, "worker: threads", 0)                                                       \
	STEP(START_DUMPABLE, "worker: not dumpable", LAYER_BIT(DUMPABLE))                               \
	STEP(START_CLOSE, "worker: close all but the channel", LAYER_BIT(CLOSED_FDS))                   \
	STEP(START_MSEAL, "worker: mseal", LAYER_BIT(MSEAL))                                            \
	STEP(START_SECCOMP, "worker: strict filter", LAYER_BIT(SECCOMP))                                \
	STEP(START_LISTENER, "worker: hand over the listener", 0)                                       \
	STEP(START_DOOR, "worker: door filter", 0)                                                      \
	/* later additions, where they belong above */                                                  \
	STEP(ONCE_MAP, "jailer: ids of its own user namespace", 0)                                      \
	STEP(TEMPLATE, "template", 0)

enum jail_step {
#define STEP(sym, name, layers) STEP_##sym,
	JAIL_STEPS(STEP)
#undef STEP
	STEP__MAX
};

#endif
