/* SPDX-License-Identifier: Apache-2.0
 *
 * NumPy's .npy files, strictly: what numpy.save writes for the types that models take.
 *
 *   offset size  field
 *        0    6  magic    93 'N' 'U' 'M' 'P' 'Y'
 *        6    2  version  1 0 (header length is a u16) or 2 0 (a u32)
 *        8  2|4  length of the header, little-endian
 *        -    -  header   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } spaces LF
 *        -    -  data     exactly the product of shape times the item size
 *
 * The header is a Python literal, read token by token and never evaluated: these three keys, each once, in
 * any order and either kind of quotes, no escapes. Objects, strings, structures, complex and big-endian
 * numbers are refused by name.
 *
 * Side: cli. Trusts: nothing in a file. Owns: the format.
 */
#ifndef FUMEHOOD_CTL_NPY_H
#define FUMEHOOD_CTL_NPY_H

#include "proto/err.h"
#include "proto/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NPY_HEADER_MAX_BYTES 4096 /* numpy writes 128 for any shape that a model has */

struct npy {
	int type; /* Fumehood__DataType */
	size_t item_bytes;
	bool fortran;
	unsigned rank;
	uint64_t dims[LIMIT_RANK];
	uint64_t n_items;
	size_t data_at;      /* offset of the data in the file */
	uint64_t data_bytes; /* n_items * item_bytes */
};

/* Reads the front of a file. have: bytes at p, file_bytes: size of the whole file.
 * Errors: ERR_INPUT (with what was found), ERR_UNSUPPORTED (a type or version), ERR_LIMIT (rank, size). */
MUST_CHECK int npy_parse(const uint8_t *p, size_t have, uint64_t file_bytes, struct npy *out, struct err *e);

/* Copies Fortran-ordered items into row-major order. dst and src have n->data_bytes and do not overlap. */
void npy_to_rows(const struct npy *n, const uint8_t *src, uint8_t *dst);

/* Writes magic, version 1, length and header for this type and shape; the data starts at a multiple of 64.
 * Returns the bytes written; 0 when cap is too small. A type that numpy has not (bfloat16) is written as
 * raw two-byte items ('|V2'). */
size_t npy_header_put(uint8_t *out, size_t cap, int type, const int64_t *dims, size_t rank);

/* Names and sizes of types: "float32"; 0 bytes for one that has no fixed size. */
const char *dtype_name(int type);
size_t dtype_bytes(int type);

#endif
