/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: gguf_load (header, pairs, records, ranges, metadata against shapes, vocabulary, facts), and the
 * tokenizer that came of it on a piece of the file. The arena
 * is small, so that large claims meet their limit. The mutator knows the format: it finds the fields of the file
 * at hand (counts, lengths, types, extents, offsets) and sets them to boundaries, to each other, or copies one
 * pair or record over another; otherwise bytes change as they always do. Seeds: build/<variant>/gguf-corpus.
 */
#include "sandbox/inside/engine/gguf/tok.h"

#include "proto/mem.h"

#include <stdlib.h>
#include <string.h>

#define ARENA ((size_t)8 << 20)
#define FIELDS 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

struct field { size_t at; unsigned width; };

static size_t fields(const uint8_t *d, size_t n, struct field *f)
{
	static const unsigned width[13] = { 1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8 };
	size_t k = 0, at = 24;
	if (n < 24)
		return 0;
	f[k++] = (struct field){ 4, 4 };
	f[k++] = (struct field){ 8, 8 };
	f[k++] = (struct field){ 16, 8 };
	for (uint64_t i = 0; i < le64_get(d + 16) && i < 128 && k + 8 < FIELDS && n - at >= 8; i++) {
		uint64_t len = le64_get(d + at);
		f[k++] = (struct field){ at, 8 };
		if (len > n - at - 8 || n - at - 8 - len < 16)
			return k;
		at += 8 + (size_t)len;
		uint32_t type = le32_get(d + at);
		f[k++] = (struct field){ at, 4 };
		at += 4;
		if (type == 9) {
			f[k++] = (struct field){ at, 4 };
			f[k++] = (struct field){ at + 4, 8 };
			return k; /* what lies behind an array is found by plain mutation */
		}
		if (type > 12)
			return k;
		f[k++] = (struct field){ at, width[type] };
		len = type == 8 ? le64_get(d + at) : 0;
		at += width[type];
		if (len > n - at)
			return k;
		at += (size_t)len;
	}
	for (uint64_t i = 0; i < le64_get(d + 8) && i < 64 && k + 10 < FIELDS && n - at >= 8; i++) {
		uint64_t len = le64_get(d + at);
		f[k++] = (struct field){ at, 8 };
		if (len > n - at - 8 || n - at - 8 - len < 64)
			return k;
		at += 8 + (size_t)len;
		uint32_t rank = le32_get(d + at) & 7;
		f[k++] = (struct field){ at, 4 };
		at += 4;
		for (uint32_t r = 0; r < rank && n - at >= 24; r++, at += 8)
			f[k++] = (struct field){ at, 8 };
		if (n - at < 12)
			return k;
		f[k++] = (struct field){ at, 4 };
		f[k++] = (struct field){ at + 4, 8 };
		at += 12;
	}
	return k;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const uint64_t edge[] = { 0, 1, 2, 3, 4, 5, 32, 64, 255, 256, 0x7fff, 0xffff, 0x7fffffff, 0x80000000,
		                         0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX };
	struct field f[FIELDS];
	size_t n = fields(data, size, f);
	if (n == 0 || seed % 4 == 0)
		return LLVMFuzzerMutate(data, size, max);
	struct field to = f[seed / 4 % n], from = f[seed / 2048 % n];
	uint64_t v = edge[seed / 64 % (sizeof edge / sizeof edge[0])], left = size - to.at - to.width;
	if (seed % 4 == 2)
		v = left + seed / 128 % 3 - 1;
	if (to.at + to.width > size || from.at + from.width > size)
		return LLVMFuzzerMutate(data, size, max);
	if (seed % 4 == 3)
		memmove(data + to.at, data + from.at, to.width < from.width ? to.width : from.width);
	else
		memcpy(data + to.at, &v, to.width);
	return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *mem;
	struct arena a;
	struct gguf_model *m;
	struct err e;
	if (!mem)
		mem = malloc(2 * ARENA);
	arena_init(&a, mem, ARENA);
	uint8_t *file = malloc(size ? size : 1);
	memcpy(file, data, size);
	if (gguf_load(&a, file, size, &m, &e) == ERR_OK) {
		for (uint64_t i = 0; i < m->n_tensors; i++)
			if (m->tensors[i].data && (m->tensors[i].data < file || m->tensors[i].n_bytes > size ||
			                           m->tensors[i].data + m->tensors[i].n_bytes > file + size))
				abort();
		const uint32_t *ids;
		size_t k, n = size < 600 ? size : 600;
		arena_init(&a, mem + ARENA, ARENA);
		if (m->tokenizer && !tokenizer_encode(m->tokenizer, &a, file + size - n, n, TOK_ADD | TOK_PARSE, &ids, &k, &e))
			for (size_t i = 0; i < k; i++)
				if (ids[i] >= tokenizer_size(m->tokenizer))
					abort();
	}
	free(file);
	return 0;
}
