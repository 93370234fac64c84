/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's places on disk: the state directory with its lock, its folders and the socket.
 *
 *   STATE/            0700, the broker's user
 *     lock            flock, holds the pid of the broker that has it
 *     broker.sock     (or wherever the configuration says)
 *     store/ trust/
 *     log/ log-state/ 0700, the auditor's user
 *     log.key         0600, the auditor's seed
 *
 * Side: broker, before its wall. Trusts: the paths of the configuration. Owns: the lock, the listener.
 */
#ifndef FUMEHOOD_BROKER_PLACE_H
#define FUMEHOOD_BROKER_PLACE_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Who owns what. The same ids twice, and those of the caller, when the broker is not root. */
struct place_ids {
	uid_t uid;
	gid_t gid;
	uid_t log_uid;
	gid_t log_gid;
};

struct place {
	int state_fd;      /* STATE */
	int lock_fd;
	int log_fd, log_state_fd, key_fd;
	int listen_fd;
	int socket_dir_fd; /* to take the socket's name away at the end */
	char socket_name[108];
};

/* Makes STATE and what is missing in it, takes the lock. Errors: ERR_BUSY (another broker has it: its
 * pid), ERR_IO. On an error nothing is held. */
MUST_CHECK int place_open(const char *state_dir, const struct place_ids *ids, struct place *p, struct err *e);

/* Listens at path (any length), replacing a socket that is left over; everybody may connect when `open`,
 * only the owner otherwise. Call it while the lock is held. Errors: ERR_IO. */
MUST_CHECK int place_listen(struct place *p, const char *path, bool open, const struct place_ids *ids,
                            struct err *e);

/* Opens STATE/log.key, made with this function when it is missing. Errors: ERR_IO, and make's. */
MUST_CHECK int place_key(struct place *p, int (*make)(int dirfd, const char *name, struct err *e), struct err *e);

/* Waits until no auditor of an earlier broker holds the log any more (it may still be closing it), at most
 * timeout_ms, and holds it for ours, which inherits the lock with the descriptor. Errors: ERR_BUSY, ERR_IO. */
MUST_CHECK int place_log_lock(struct place *p, int timeout_ms, struct err *e);

/* Closes what only the auditor may hold: the log's folders and its key. */
void place_forget_log(struct place *p);

/* Takes the socket's name away and closes everything. */
void place_close(struct place *p);

/* Connects to a broker's socket, whatever the length of its path. *fd is blocking, close-on-exec.
 * Errors: ERR_NOT_FOUND (nobody listens there), ERR_IO. */
MUST_CHECK int place_connect(const char *path, int *fd, struct err *e);

#endif
