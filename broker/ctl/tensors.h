/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors between files and messages, for run and infer.
 * Side: cli. Trusts: nothing in a file, nothing in an answer. Owns: the inputs' bytes.
 */
#ifndef FUMEHOOD_CTL_TENSORS_H
#define FUMEHOOD_CTL_TENSORS_H

#include "broker/ctl/npy.h"
#include "broker/ctl/talk.h"

#include <limits.h>

/* What --input options name, ready to send. Zero-initialise; tensors_clear. */
struct tensors {
	Fumehood__Tensor t[LIMIT_TENSORS];
	Fumehood__Tensor *list[LIMIT_TENSORS];
	int64_t dims[LIMIT_TENSORS][LIMIT_RANK];
	uint8_t *bytes[LIMIT_TENSORS];
	char *names[LIMIT_TENSORS];
	struct iovec tail[2 * LIMIT_TENSORS]; /* bytes and padding in turn */
	unsigned n, n_tail;
	uint64_t tail_bytes;
};

/* Reads every --input NAME=FILE.npy (split at the last '='). Errors: ERR_USAGE, ERR_INPUT, ERR_LIMIT (more
 * than a request may hold, said before anything is read), ERR_NOT_FOUND, ERR_IO. */
MUST_CHECK int tensors_read(const struct ctl *c, struct tensors *out, struct err *e);
void tensors_clear(struct tensors *t);

/* One output of an answer, checked. */
struct output {
	const char *name;
	size_t name_len;
	int type;
	const int64_t *dims;
	size_t rank;
	const uint8_t *data;
	uint64_t bytes, n_items;
};
/* Reads an answer's tail. *m owns what out points to (with the frame): fumehood__outputs__free_unpacked.
 * Errors: ERR_PROTOCOL. */
MUST_CHECK int outputs_read(const struct frame_body *answer, Fumehood__Outputs **m, struct output *out, size_t *n,
                            struct err *e);

/* The file name of an output: bytes outside [A-Za-z0-9._-] as %XX, ".npy" behind. A name too long for a file
 * is cut and ends in ~ and 16 hex digits of its SHA-256. */
void output_file_name(const char *name, size_t len, char out[256]);
/* Writes DIR/NAME.npy (replaced when there). path is what was written. Errors: ERR_IO. */
MUST_CHECK int output_write(const char *dir, const struct output *o, char path[PATH_MAX], struct err *e);

/* min, max, mean and the largest values with their places. */
#define SUMMARY_TOP 5
struct summary {
	double min, max, mean;
	uint64_t n_nan, n_inf;
	size_t n_top;
	uint64_t at[SUMMARY_TOP];
	double value[SUMMARY_TOP];
};
void output_summary(const struct output *o, struct summary *s);

/* "float32 [1, 3]" in a rotating buffer; -1 as "?" or the dimension's name. */
const char *shape_text(int type, const int64_t *dims, size_t rank, const ProtobufCBinaryData *names, size_t n_names);
json_t *dims_json(const int64_t *dims, size_t rank);

#endif
