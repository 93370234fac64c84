/* SPDX-License-Identifier: Apache-2.0
 * Functions under test: npy_parse, npy_to_rows, npy_header_put (broker/ctl/npy.c).
 * Oracle: what parses is exactly as long as it says; its shape, written again, parses to the same; a
 * header in numpy's own layout is the only one that is taken (written and read header are equal but for
 * padding and order). */
#include "broker/ctl/npy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct npy n, again;
	int64_t dims[LIMIT_RANK];
	uint8_t head[NPY_HEADER_MAX_BYTES];
	struct err e;
	if (npy_parse(data, len, len, &n, &e) != ERR_OK) {
		/* a front that is fine but for the amount of data must not be taken for a longer file either */
		if (npy_parse(data, len, UINT64_MAX, &n, &e) == ERR_OK)
			abort();
		return 0;
	}
	if (n.data_at + n.data_bytes != len || n.n_items * n.item_bytes != n.data_bytes || n.rank > LIMIT_RANK)
		abort();
	for (unsigned i = 0; i < n.rank; i++)
		dims[i] = (int64_t)n.dims[i];
	size_t wrote = npy_header_put(head, sizeof head, n.type, dims, n.rank);
	if (wrote == 0 || wrote % 64 || npy_parse(head, wrote, wrote + n.data_bytes, &again, &e) != ERR_OK ||
	    again.type != n.type || again.rank != n.rank || memcmp(again.dims, n.dims, n.rank * sizeof n.dims[0]) != 0)
		abort();
	uint8_t *rows = malloc(n.data_bytes ? n.data_bytes : 1);
	if (rows && n.fortran)
		npy_to_rows(&n, data + n.data_at, rows);
	free(rows);
	return 0;
}
