/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: proof_status (sandbox/outside/verify.c), the reader of /proc status texts. Whatever the
 * text, it must end, stay inside it, and accept only a text that holds every expected line.
 *
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/outside/proof.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const needed[] = {
	"Seccomp:\t2", "Seccomp_filters:\t3", "NoNewPrivs:\t1", "Threads:\t2", "Uid:\t7\t7\t7\t7",
	"Gid:\t8\t8\t8\t8", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
	"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "TracerPid:\t0",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct proof_expect x = { 7, 8, 3, 2 };
	char *text = malloc(size + 1); /* exactly as long as it is: a read behind the end is seen */
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	if (proof_status(text, &x, NULL) == ERR_OK)
		for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
			if (!strstr(text, needed[i]))
				abort();
	free(text);
	return 0;
}
