/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: engine_model_inspect (wire, load, tensor, graph, resolve, needed, facts), engine_session_open
 * and engine_session_run (planning passes and operators) over whatever was accepted. Arenas are small, so
 * that large claims meet their limit. Seeds: build/<variant>/onnx-corpus.
 */
#include "sandbox/inside/engine/engine.h"
#include "sandbox/inside/engine/kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

#define ARENA ((size_t)4 << 20)
#define INPUTS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct engine_model *m, struct engine_session *s, const uint8_t *data, size_t size)
{
	static uint8_t values[1 << 18];
	struct engine_tensor in[INPUTS];
	const struct engine_tensor *out;
	const struct engine_port *p;
	size_t n = engine_model_inputs(m, &p), k = 0, n_out;
	struct err e;
	for (size_t i = 0; i < n; i++) {
		if (p[i].optional)
			continue;
		if (k == INPUTS)
			return;
		struct engine_tensor *t = &in[k++];
		*t = (struct engine_tensor){ .name = p[i].name, .name_len = p[i].name_len, .dtype = p[i].dtype,
			                     .rank = p[i].rank < 0 ? 1 : p[i].rank, .data = values };
		t->bytes = dtype_bytes(t->dtype);
		for (int d = 0; d < t->rank; d++) {
			t->dims[d] = p[i].rank < 0 || p[i].dims[d] < 0 ? 3 : p[i].dims[d];
			if (t->dims[d] > 4096 || (t->bytes *= (size_t)t->dims[d]) > sizeof values)
				return;
		}
	}
	/* The end of the file again as numbers: indices of every size. */
	memset(values, 0, sizeof values);
	for (size_t i = 0; size && i < 4096; i++)
		values[i] = i % 8 < 2 ? data[size - 1 - i % size] : 0;
	for (int round = 0; round < 2; round++)
		if (engine_session_run(s, in, k, &out, &n_out, &e))
			return;
	engine_session_scrub(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *mem;
	struct arena a, b;
	struct engine_model *m;
	struct engine_session *s;
	struct err e, verdict;
	if (!mem) {
		mem = malloc(2 * ARENA);
		fp_env_set();
	}
	arena_init(&a, mem, ARENA);
	arena_init(&b, mem + ARENA, ARENA);
	/* A copy of exactly size bytes: reads behind the file are seen. */
	uint8_t *file = malloc(size ? size : 1);
	memcpy(file, data, size);
	if (!engine_model_inspect(&a, file, size, &m, &verdict, &e) && !verdict.code &&
	    !engine_session_open(&b, m, NULL, LEVEL_C, &s, &e))
		run(m, s, data, size);
	free(file);
	return 0;
}
