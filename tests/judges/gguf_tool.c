/* SPDX-License-Identifier: Apache-2.0
 *
 * What the GGUF judges ask of the engine, without a worker; never installed.
 *
 *   gguf_tool blocks TYPE < BLOCKS > F32      raw blocks of a type number to f32, little-endian
 *   gguf_tool tensor FILE NAME > F32          one tensor of a file
 *   gguf_tool facts FILE                      what an inspection says, a fact per line
 *
 * --fault as first argument makes one scale wrong: the judges must notice.
 */
#include "tests/judges/gguf_open.h"

#include "sandbox/inside/engine/gguf/dequant.h"
#include "sandbox/inside/engine/kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool fault;

static int dequant_out(uint32_t type, const uint8_t *src, size_t n_bytes)
{
	const struct gguf_type_row *row = gguf_type(type);
	float y[4096];
	size_t piece = 4096 / (row->block_elems ? row->block_elems : 1) * row->block_bytes;
	if (!row->name || !row->runs || n_bytes % row->block_bytes)
		return 2;
	for (size_t at = 0; at < n_bytes; at += piece) {
		size_t take = n_bytes - at < piece ? n_bytes - at : piece, n = take / row->block_bytes * row->block_elems;
		if (!gguf_dequant(type, src + at, n, y))
			return 2;
		if (fault && at == 0)
			y[n / 2] *= 1.0000001f;
		fwrite(y, sizeof y[0], n, stdout);
	}
	return 0;
}

static uint8_t *all_of(int fd, size_t *n)
{
	size_t cap = 1 << 20, k = 0;
	uint8_t *p = malloc(cap);
	for (ssize_t got; p && (got = read(fd, p + k, cap - k)) > 0;) {
		k += (size_t)got;
		if (k == cap)
			p = realloc(p, cap *= 2);
	}
	*n = k;
	return p;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--fault")) {
		fault = true;
		argc--, argv++;
	}
	fp_env_set(); /* as in a worker: subnormals must survive all the same */
	if (argc == 3 && !strcmp(argv[1], "blocks")) {
		size_t n;
		uint8_t *p = all_of(0, &n);
		int rc = p ? dequant_out((uint32_t)strtoul(argv[2], NULL, 10), p, n) : 1;
		free(p);
		return rc;
	}
	struct gguf_model *m = argc >= 3 ? open_model(argv[2]) : NULL;
	if (!m)
		return 3;
	if (argc == 4 && !strcmp(argv[1], "tensor")) {
		uint32_t i = strmap_find(&m->names, (struct gguf_str){ (const uint8_t *)argv[3], strlen(argv[3]) });
		return i == STRMAP_NONE ? 4 : dequant_out(m->tensors[i].type, m->tensors[i].data, (size_t)m->tensors[i].n_bytes);
	}
	for (size_t i = 0; i < m->n_facts; i++)
		printf("%s %s %d %llu %s\n", m->facts[i].group, m->facts[i].code, m->facts[i].severity,
		       (unsigned long long)m->facts[i].offset, m->facts[i].text);
	return 0;
}
