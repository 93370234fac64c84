/* SPDX-License-Identifier: Apache-2.0
 *
 * A cursor over protobuf wire bytes: reads one field at a time in place, keeps nothing, never
 * recurses. Lengths are compared with what is left of the enclosing message.
 *
 * Side: inside. Trusts: nothing. Owns: nothing.
 *
 *   tag     varint: field number << 3 | wire type
 *   type 0  varint, 1 to 10 bytes         type 1  8 bytes, little-endian
 *   type 2  varint length, then bytes     type 5  4 bytes, little-endian
 *   types 3 and 4 (groups), 6, 7: refused
 *
 * Source: protobuf encoding reference; reference hostile-models.md, section 3 (Wire).
 */
#ifndef FUMEHOOD_ONNX_WIRE_H
#define FUMEHOOD_ONNX_WIRE_H

#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* A window into the file; offsets are absolute. */
struct wire {
	const uint8_t *file;
	size_t pos, end;
};

struct wire_field {
	uint32_t num;
	int type;
	size_t off;     /* of the tag */
	uint64_t value; /* of a varint or a fixed number */
	size_t data;    /* offset and length of bytes (type 2) */
	size_t len;
};

/* Reads the next field. 1: f is filled; 0: the message ended; else an error (ERR_MODEL). */
MUST_CHECK int wire_next(struct wire *w, struct wire_field *f, struct err *e);

/* Reads one varint inside packed data. */
MUST_CHECK int wire_varint(struct wire *w, uint64_t *out, struct err *e);

/* The window of a bytes field. */
static inline struct wire wire_sub(const struct wire *w, const struct wire_field *f)
{
	return (struct wire){ w->file, f->data, f->data + f->len };
}

/* Refuses a field whose wire type is not the one its message defines. what: "ModelProto.graph". */
MUST_CHECK int wire_want(const struct wire_field *f, enum wire_type t, const char *what, struct err *e);

#endif
