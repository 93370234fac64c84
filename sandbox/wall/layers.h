/* SPDX-License-Identifier: Apache-2.0
 *
 * The layers of the wall, one row each. A layer is a bit in every mask of this project (spawn
 * requests, records, doctor), so rows are appended, never moved.
 *
 * Side: both. Trusts: nothing. Owns: the list of layers and what may be missing.
 *
 * LAYER(SYMBOL, "stable name", kernel major, minor, may, "what it stops")
 * may: NEVER      no configuration can name it optional
 *      NAMED      a configuration may name it optional; every record then says so
 *      SHIPPED    the shipped configuration names it, because Debian 12's stock 6.1 cannot have it
 *
 * Adding a row: append; set the bit where the layer is entered (jailer step table, start.c or wall.c);
 * add an attempt to tests/jail that only this layer stops, and the row to docs/threat-model.md.
 */
#ifndef FUMEHOOD_WALL_LAYERS_H
#define FUMEHOOD_WALL_LAYERS_H

#include <stdint.h>

#define LAYER_TABLE(LAYER)                                                                                  \
	LAYER(USER_NS, "user_ns", 3, 8, NAMED, "capabilities outside")                                      \
	LAYER(PID_NS, "pid_ns", 2, 6, NAMED, "naming any other process")                                    \
	LAYER(NET_NS, "net_ns", 2, 6, NAMED, "routes, TCP, UDP, abstract socket names")                     \
	LAYER(IPC_NS, "ipc_ns", 2, 6, NAMED, "shared SysV IPC and message queues")                          \
	LAYER(UTS_NS, "uts_ns", 2, 6, NAMED, "the host's name")                                             \
	LAYER(CGROUP_NS, "cgroup_ns", 4, 6, NAMED, "the view of the control groups")                        \
	LAYER(TIME_NS, "time_ns", 5, 6, NAMED, "the host's boot clock as an identity")                      \
	LAYER(MNT_NS, "mnt_ns", 2, 6, NAMED, "the host's mounts")                                           \
	LAYER(EMPTY_ROOT, "empty_root", 2, 6, NAMED, "every path")                                          \
	LAYER(UID_MAP, "uid_map", 3, 8, NAMED, "the broker's uid")                                          \
	LAYER(MAX_USER_NS, "max_user_namespaces", 4, 9, NAMED, "nested user namespaces")                    \
	LAYER(RLIMITS, "rlimits", 2, 6, NEVER, "files, core dumps, locked memory, queues, more memory")     \
	LAYER(CAPABILITIES, "capabilities", 2, 6, NEVER, "everything that needs a capability")              \
	LAYER(NO_NEW_PRIVS, "no_new_privs", 3, 5, NEVER, "set-id programs")                                 \
	LAYER(PDEATHSIG, "pdeathsig", 2, 6, NEVER, "outliving the broker")                                  \
	LAYER(CLOSED_FDS, "closed_fds", 5, 9, NEVER, "descriptors other than the channel")                  \
	LAYER(LANDLOCK_FS, "landlock_fs", 5, 19, NAMED, "opening, creating, renaming, executing files")     \
	LAYER(LANDLOCK_TRUNCATE, "landlock_truncate", 6, 2, SHIPPED, "truncating files")                    \
	LAYER(LANDLOCK_NET, "landlock_net", 6, 7, SHIPPED, "TCP bind and connect")                          \
	LAYER(LANDLOCK_IOCTL, "landlock_ioctl", 6, 10, SHIPPED, "ioctl on devices")                         \
	LAYER(LANDLOCK_SCOPE, "landlock_scope", 6, 12, SHIPPED, "abstract sockets and signals outside")     \
	LAYER(MDWE, "mdwe", 6, 3, SHIPPED, "making writable memory executable")                             \
	LAYER(SEALED_MODEL, "sealed_model", 3, 17, NEVER, "a model changing under the worker")              \
	LAYER(MEMFD_NOEXEC, "memfd_noexec", 6, 3, SHIPPED, "executing the model file")                      \
	LAYER(SECCOMP_START, "seccomp_start", 3, 17, NEVER, "calls that no start needs")                    \
	LAYER(DUMPABLE, "dumpable", 2, 6, NEVER, "being traced or read by a process of its uid")            \
	LAYER(MSEAL, "mseal", 6, 10, SHIPPED, "unmapping or remapping text and model")                      \
	LAYER(SECCOMP, "seccomp", 3, 17, NEVER, "every system call but four")                               \
	LAYER(LIMITS_CLOSED, "limits_closed", 2, 6, NEVER, "new descriptors, processes and threads")

enum layer {
#define LAYER(sym, name, major, minor, may, what) LAYER_##sym,
	LAYER_TABLE(LAYER)
#undef LAYER
	LAYER__MAX
};
_Static_assert(LAYER__MAX <= 63, "a layer is a bit of a u64");

#define LAYER_BIT(sym) (1ULL << LAYER_##sym)
#define LAYERS_ALL ((1ULL << LAYER__MAX) - 1)

enum layer_may { LAYER_MAY_NEVER, LAYER_MAY_NAMED, LAYER_MAY_SHIPPED };

struct layer_row {
	const char *name;
	uint8_t kernel_major, kernel_minor;
	uint8_t may; /* enum layer_may */
	const char *what;
};
extern const struct layer_row layer_rows[LAYER__MAX];

/* The bit of a name, 0 when there is none. */
uint64_t layer_from_name(const char *name);
/* Layers that some configuration may name optional, and those that the shipped one names. */
uint64_t wall_layers_may_be_optional(void);
uint64_t wall_layers_shipped_optional(void);

/* Layers that a Landlock ABI provides for a process that is denied everything. */
uint64_t layers_of_landlock(int abi);

#endif
