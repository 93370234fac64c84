/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens a GGUF file for a test program: mapped, read, its tables in a mapping of their own.
 */
#ifndef FUMEHOOD_TESTS_GGUF_OPEN_H
#define FUMEHOOD_TESTS_GGUF_OPEN_H

#include "sandbox/inside/engine/gguf/gguf.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_ARENA ((size_t)1 << 30)

static inline struct gguf_model *open_model(const char *path)
{
	static struct arena a;
	struct stat st;
	struct err e;
	struct gguf_model *m = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		return perror(path), NULL;
	void *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	void *mem = mmap(NULL, OPEN_ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	close(fd);
	if (file == MAP_FAILED || mem == MAP_FAILED)
		return perror("mmap"), NULL;
	arena_init(&a, mem, OPEN_ARENA);
	if (gguf_load(&a, file, (size_t)st.st_size, &m, &e)) {
		fprintf(stderr, "%s: %s\n", err_name(e.code), e.text);
		return NULL;
	}
	return m;
}

#endif
