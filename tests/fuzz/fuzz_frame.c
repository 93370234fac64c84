/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: frame_header_get, frame_body_split, frame_inner_split. Whatever is accepted must lie
 * inside the input.
 */
#include "proto/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_header h;
	struct frame_body b;
	if (size < FRAME_HEADER_BYTES)
		return 0;
	for (int from = 0; from < ROLE__MAX; from++)
		for (int to = 0; to < ROLE__MAX; to++)
			if (frame_header_get(data, (enum role)from, (enum role)to, &h, NULL) == ERR_OK) {
				const uint8_t *body = data + FRAME_HEADER_BYTES;
				size_t n = size - FRAME_HEADER_BYTES;
				if (frame_body_split(h.kind, body, n, &b, NULL) == ERR_OK &&
				    (b.head_len > n || b.tail_len > n || (b.tail && b.tail + b.tail_len != body + n)))
					abort();
			}
	if (frame_inner_split(data, size, &b, NULL) == ERR_OK && b.head + b.head_len > data + size)
		abort();
	return 0;
}
