/* SPDX-License-Identifier: Apache-2.0
 *
 * What the measured sides have in common: a request read from a file, and a conversation of lines on
 * standard input and output, so that one script can let them take turns.
 *
 *   request file   text lines, then raw tensors, each on a multiple of 64 from the file's start:
 *                    tensor NAME DTYPE RANK DIM.. OFFSET BYTES
 *                    carry OUTPUT INPUT           (copied between two calls: state of a model)
 *                    end
 *   commands       info        one line about this side
 *                  run N       N calls; answers their times in ns, in one line
 *                  out FILE    one call with the request as it was; writes the outputs' bytes; "ok"
 *                  peak        GFLOP/s of one FMA loop on all threads (engine side only)
 *
 * Side: tests only. Trusts: its own files. Owns: nothing.
 */
#ifndef FUMEHOOD_TESTS_BENCH_SIDE_H
#define FUMEHOOD_TESTS_BENCH_SIDE_H

#include "proto/limits.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SIDE_TENSORS 16

struct side_tensor {
	char name[256];
	int dtype, rank;
	int64_t dims[LIMIT_RANK];
	uint8_t *data;
	size_t bytes;
};

struct side_carry {
	char from[256], to[256];
};

struct side_request {
	struct side_tensor in[SIDE_TENSORS];
	size_t n_in;
	struct side_carry carry[4];
	size_t n_carry;
	uint8_t *tail;      /* all tensors, as a frame's tail lays them out */
	size_t tail_bytes;
	uint8_t *original;  /* a copy of the tail as it was read */
};

/* One side: call computes once and leaves its outputs in out[0..n_out). */
struct side {
	struct side_request request;
	struct side_tensor out[SIDE_TENSORS];
	size_t n_out;
	void (*call)(struct side *s);    /* timed */
	void (*read_outputs)(struct side *s); /* not timed; fills out */
	void (*info)(struct side *s);
	double (*peak_gflops)(struct side *s); /* may be NULL */
	void *arg;
};

/* Reads the file; ends the process with a line when it is not what it should be. */
void side_request_read(struct side_request *r, const char *path);
/* Serves commands until standard input ends. */
void side_serve(struct side *s);
void side_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
