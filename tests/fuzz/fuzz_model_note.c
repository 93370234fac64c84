/* SPDX-License-Identifier: Apache-2.0
 * Functions under test: model_note_parse (broker/trust/model.c), lines_read (broker/trust/lines.c),
 * trust_glob_match.
 *
 * The harness appends a well-formed signature line, which the parser does not verify, and, when the text
 * ends in "root", the root digest that follows from its file lines cannot be known: so the input may carry
 * "@" for it and the harness computes it for one file. Oracle: what parses has plain paths, each once, a
 * root that follows, a name that is a name. */
#include "broker/trust/rules.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";

/* '@' stands for the root of one file whose digest is all zero, '#' for that digest. */
static size_t expand(const uint8_t *data, size_t len, char *out, size_t cap)
{
	uint8_t none[HASH_BYTES] = { 0 }, root[HASH_BYTES];
	char hex[HASH_HEX_BYTES + 1];
	size_t o = 0;
	hash_sha256(none, sizeof none, root);
	hash_hex(root, hex);
	for (size_t i = 0; i < len && o + HASH_HEX_BYTES < cap; i++) {
		const char *by = data[i] == '@' ? hex : data[i] == '#' ? zeros : NULL;
		if (by) {
			memcpy(out + o, by, HASH_HEX_BYTES);
			o += HASH_HEX_BYTES;
		} else {
			out[o++] = (char)data[i];
		}
	}
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static char text[1 << 17];
	static const char sig[] = "\n\xe2\x80\x94 x AAAAAAAAAAAAAAAAAAAAAAAA\n";
	struct model_note *m = NULL;
	struct err e;
	size_t n = expand(data, len, text, sizeof text - sizeof sig);
	memcpy(text + n, sig, sizeof sig - 1);
	if (len > 4)
		(void)trust_glob_match((struct field){ (const char *)data, 4 }, (const char *)data + 4, len - 4);
	if (model_note_parse(text, n + sizeof sig - 1, &m, &e) != ERR_OK)
		return 0;
	if (m->n_files == 0 || m->n_files > LIMIT_MODEL_FILES || m->version == 0 || m->created >= m->expires ||
	    !model_name_is_ok(m->name, strlen(m->name)))
		abort();
	for (size_t i = 0; i < m->n_files; i++)
		if (!model_path_is_ok(m->files[i].path, strlen(m->files[i].path)) || strstr(m->files[i].path, "/../") ||
		    strncmp(m->files[i].path, "../", 3) == 0 || m->files[i].path[0] == '/' || m->files[i].bytes > LIMIT_MODEL_BYTES)
			abort();
	model_note_free(m);
	return 0;
}
