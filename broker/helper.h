/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds the programs that belong together: in the folder of the running program first, then in the
 * compiled-in libexec. Never by PATH or environment.
 *
 * Side: broker, cli. Trusts: who installed the programs. Owns: nothing.
 */
#ifndef FUMEHOOD_BROKER_HELPER_H
#define FUMEHOOD_BROKER_HELPER_H

#include "proto/err.h"

#define HELPER_PATH_MAX_BYTES 4096

/* Opens the program `name` (a plain file name) for reading, close-on-exec, and writes its path.
 * path may be NULL. Errors: ERR_NOT_FOUND (both places named), ERR_IO. */
MUST_CHECK int helper_open(const char *name, int *fd, char path[HELPER_PATH_MAX_BYTES], struct err *e);

#endif
