/* SPDX-License-Identifier: Apache-2.0
 *
 * The target that must be caught: a planted overread behind a magic word. If a run of this one ends
 * clean, the alarm of all the others is broken.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 5 || memcmp(data, "FMUH", 4) != 0)
		return 0;
	uint8_t *copy = malloc(4);
	if (!copy)
		return 0;
	memcpy(copy, data, 4);
	volatile uint8_t out = copy[4 + (data[4] & 1)];
	(void)out;
	free(copy);
	return 0;
}
