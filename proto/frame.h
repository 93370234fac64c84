/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames: what travels between all processes, over SOCK_STREAM.
 *
 *   offset size  field
 *        0    4  magic       0x48554d46, the bytes "FMUH"
 *        4    2  version     1
 *        6    2  kind        proto/msg.def
 *        8    4  flags       0: none is defined
 *       12    4  reserved    0
 *       16    8  length      bytes of the body that follows; within the kind's limits
 *       24    8  request id  chosen by who asks, repeated by who answers; 0 when nobody asked
 *       32    -  body
 *
 * All little-endian. A frame whose header breaks a rule ends the connection: there is no way to find
 * the next one. This file is pure (no I/O, no allocation): the worker and the jailer use it too.
 *
 * Side: both. Trusts: nothing. Owns: the format.
 */
#ifndef FUMEHOOD_PROTO_FRAME_H
#define FUMEHOOD_PROTO_FRAME_H

#include "proto/err.h"
#include "proto/msg.h"

#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC 0x48554d46u
#define FRAME_VERSION 1
#define FRAME_HEADER_BYTES 32
#define FRAME_TAIL_ALIGN 64
#define FRAME_PREFIX_BYTES 8

struct frame_header {
	uint16_t kind;
	uint64_t length;
	uint64_t request_id;
};

void frame_header_put(uint8_t out[FRAME_HEADER_BYTES], const struct frame_header *h);

/* Reads and checks a header that `from` sent to `to`: magic, version, flags, reserved, a known kind
 * that this sender may send to this receiver, a length within the kind's limits.
 * Errors: ERR_PROTOCOL (ERR_LIMIT when only the length is too large, with both numbers). */
MUST_CHECK int frame_header_get(const uint8_t in[FRAME_HEADER_BYTES], enum role from, enum role to,
                                struct frame_header *out, struct err *e);

/* The parts of a body, as pointers into it. fixed is NULL unless the form has a fixed struct. */
struct frame_body {
	const uint8_t *fixed;
	size_t fixed_len;
	const uint8_t *head;
	size_t head_len;
	const uint8_t *tail;
	size_t tail_len;
};

/* Splits a body of this kind (form FIXED, PB or RES) and checks prefix, padding and limits.
 * Errors: ERR_PROTOCOL. */
MUST_CHECK int frame_body_split(uint16_t kind, const uint8_t *body, size_t len,
                                struct frame_body *out, struct err *e);

/* Splits a PB body that stands inside another message's tail (a worker's answer in ANSWER). */
MUST_CHECK int frame_inner_split(const uint8_t *body, size_t len, struct frame_body *out, struct err *e);

/* Bytes before the tail of a PB body (prefix, head, padding); without tail: prefix + head. */
size_t frame_front_bytes(size_t head_len, size_t tail_len);
/* Writes the 8-byte prefix at out. The caller writes the head behind it and zeros up to
 * frame_front_bytes. */
void frame_prefix_put(uint8_t out[FRAME_PREFIX_BYTES], size_t head_len);

#endif
