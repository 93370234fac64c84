/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a program in an imitated environment: env_run NAME[,NAME] PROGRAM ARG...; names: env.h.
 * Side: tests. Trusts: its command line. Owns: nothing.
 */
#include "tests/jail/env.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *save = NULL;
	if (argc < 3) {
		fprintf(stderr, "usage: env_run NAME[,NAME] PROGRAM ARG...\n");
		return 2;
	}
	for (char *n = strtok_r(argv[1], ",", &save); n; n = strtok_r(NULL, ",", &save))
		if (env_enter(n) < 0) {
			fprintf(stderr, "env_run: %s: %s\n", n, strerror(errno));
			return 2;
		}
	execvp(argv[2], argv + 2);
	fprintf(stderr, "env_run: %s: %s\n", argv[2], strerror(errno));
	return 127;
}
