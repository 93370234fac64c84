/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions under test: conf_parse, conf_print. Whatever is accepted round-trips to the same text.
 */
#include "broker/conf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *printed(const char *text, size_t len, struct err *e)
{
	struct conf c;
	char *out = NULL;
	if (conf_init(&c, e) == ERR_OK && conf_parse(&c, text, len, "fuzz", e) == ERR_OK && conf_print(&c, &out, e) != ERR_OK)
		abort();
	conf_clear(&c);
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	if (size > CONF_FILE_MAX_BYTES)
		return 0;
	char *first = printed((const char *)data, size, &e);
	if (first) {
		char *second = printed(first, strlen(first), &e);
		if (!second || strcmp(first, second))
			abort();
		free(second);
	} else if (!e.code || !*e.text || strchr(e.text, '\n')) {
		abort(); /* a refusal is one line with a code */
	}
	free(first);
	return 0;
}
