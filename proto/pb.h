/* SPDX-License-Identifier: Apache-2.0
 *
 * protobuf-c, made safe to use on hostile bytes: libprotobuf-c bounds neither nesting nor memory,
 * so an iterative pass over the wire runs before any unpack.
 *
 * Side: both (the worker unpacks calls). Trusts: generated descriptors. Owns: nothing.
 */
#ifndef FUMEHOOD_PROTO_PB_H
#define FUMEHOOD_PROTO_PB_H

#include "proto/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

/* Walks the bytes of a message of this type without recursion or allocation and checks: tags and
 * varints well formed, wire types as declared, every length inside its parent, nesting at most
 * LIMIT_WIRE_DEPTH, at most LIMIT_WIRE_FIELDS fields and elements in all (packed ones count), at most
 * LIMIT_WIRE_UNKNOWN unknown fields, no groups, strings valid UTF-8 without NUL.
 * Errors: ERR_PROTOCOL with the byte offset. */
MUST_CHECK int pb_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
                        struct err *e);

/* pb_check, then unpack. alloc NULL: malloc. *out is freed with protobuf_c_message_free_unpacked and
 * the same allocator. Errors: ERR_PROTOCOL, ERR_NOMEM. */
MUST_CHECK int pb_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
                         ProtobufCAllocator *alloc, void **out, struct err *e);

/* Packs a message into malloc'ed memory. Errors: ERR_NOMEM. */
MUST_CHECK int pb_pack(const ProtobufCMessage *m, uint8_t **out, size_t *len, struct err *e);

#endif
