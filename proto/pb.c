/* SPDX-License-Identifier: Apache-2.0
 *
 * The pass over the wire that runs before protobuf-c sees a byte. Wire format: protobuf encoding,
 * tag = field << 3 | type; types 0 varint, 1 eight bytes, 2 length, 5 four bytes; 3 and 4 (groups)
 * are refused.
 *
 * Side: both. Trusts: the descriptors. Owns: nothing; the stack of levels is a fixed array.
 */
#include "proto/pb.h"
#include "proto/limits.h"
#include "proto/mem.h"

#include <inttypes.h>
#include <stdlib.h>

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LEN = 2, WIRE_32 = 5 };

struct level {
	const ProtobufCMessageDescriptor *type;
	size_t end;
};

struct walk {
	const uint8_t *p;
	size_t pos;
	struct level stack[LIMIT_WIRE_DEPTH];
	unsigned depth;
	unsigned n_fields, n_unknown;
	struct err *e;
};

static int bad(struct walk *w, const char *what)
{
	return err_set(w->e, ERR_PROTOCOL, "protobuf: %s at byte %zu", what, w->pos);
}

static int varint_get(struct walk *w, size_t end, uint64_t *out)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		if (w->pos >= end)
			return bad(w, "a varint runs past its message");
		uint8_t b = w->p[w->pos++];
		if (shift == 63 && b > 1)
			return bad(w, "a varint above 64 bits");
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*out = v;
			return ERR_OK;
		}
	}
	return bad(w, "a varint of more than 10 bytes");
}

/* A tag or a length: protobuf-c reads at most 5 bytes of one, so a longer form is no number to it. */
static int short_varint_get(struct walk *w, size_t end, uint64_t *out)
{
	size_t at = w->pos;
	int rc = varint_get(w, end, out);
	if (rc == ERR_OK && (w->pos - at > 5 || *out > UINT32_MAX))
		return bad(w, "a tag or a length of more than 32 bits");
	return rc;
}

static unsigned wire_of(ProtobufCType t)
{
	static const uint8_t wires[] = {
		[PROTOBUF_C_TYPE_INT32] = WIRE_VARINT,  [PROTOBUF_C_TYPE_SINT32] = WIRE_VARINT,
		[PROTOBUF_C_TYPE_SFIXED32] = WIRE_32,   [PROTOBUF_C_TYPE_INT64] = WIRE_VARINT,
		[PROTOBUF_C_TYPE_SINT64] = WIRE_VARINT, [PROTOBUF_C_TYPE_SFIXED64] = WIRE_64,
		[PROTOBUF_C_TYPE_UINT32] = WIRE_VARINT, [PROTOBUF_C_TYPE_FIXED32] = WIRE_32,
		[PROTOBUF_C_TYPE_UINT64] = WIRE_VARINT, [PROTOBUF_C_TYPE_FIXED64] = WIRE_64,
		[PROTOBUF_C_TYPE_FLOAT] = WIRE_32,      [PROTOBUF_C_TYPE_DOUBLE] = WIRE_64,
		[PROTOBUF_C_TYPE_BOOL] = WIRE_VARINT,   [PROTOBUF_C_TYPE_ENUM] = WIRE_VARINT,
		[PROTOBUF_C_TYPE_STRING] = WIRE_LEN,    [PROTOBUF_C_TYPE_BYTES] = WIRE_LEN,
		[PROTOBUF_C_TYPE_MESSAGE] = WIRE_LEN,
	};
	return wires[t];
}

static int fields_count(struct walk *w, uint64_t n)
{
	if (n > LIMIT_WIRE_FIELDS || w->n_fields + n > LIMIT_WIRE_FIELDS)
		return bad(w, "more fields than the limit of 65536");
	w->n_fields += (unsigned)n;
	return ERR_OK;
}

/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, at most U+10FFFF; and no NUL,
 * because protobuf-c hands strings on as C strings. */
static int utf8_check(struct walk *w, size_t end)
{
	while (w->pos < end) {
		uint8_t b = w->p[w->pos];
		unsigned n = b < 0x80 ? 0 : b >= 0xc2 && b < 0xe0 ? 1 : b >= 0xe0 && b < 0xf0 ? 2 :
		             b >= 0xf0 && b < 0xf5 ? 3 : 9;
		if (b == 0 || n == 9 || n > end - w->pos - 1)
			return bad(w, "a string is not UTF-8 without NUL");
		for (unsigned i = 1; i <= n; i++)
			if ((w->p[w->pos + i] & 0xc0) != 0x80)
				return bad(w, "a string is not UTF-8");
		uint8_t c = n ? w->p[w->pos + 1] : 0;
		if ((b == 0xe0 && c < 0xa0) || (b == 0xed && c > 0x9f) || (b == 0xf0 && c < 0x90) ||
		    (b == 0xf4 && c > 0x8f))
			return bad(w, "a string is not UTF-8");
		w->pos += n + 1;
	}
	return ERR_OK;
}

/* A packed array of fixed or varint elements: each element counts as a field. */
static int packed_check(struct walk *w, unsigned wire, size_t end)
{
	if (wire == WIRE_32 || wire == WIRE_64) {
		size_t size = wire == WIRE_32 ? 4 : 8, len = end - w->pos;
		if (len % size != 0)
			return bad(w, "a packed array is cut");
		w->pos = end;
		return fields_count(w, len / size);
	}
	while (w->pos < end) {
		uint64_t v;
		if (varint_get(w, end, &v) != ERR_OK || fields_count(w, 1) != ERR_OK)
			return ERR_PROTOCOL;
	}
	return ERR_OK;
}

static int push(struct walk *w, const ProtobufCMessageDescriptor *type, size_t end)
{
	if (w->depth == LIMIT_WIRE_DEPTH)
		return bad(w, "nesting deeper than the limit of 16");
	w->stack[w->depth++] = (struct level){ type, end };
	return ERR_OK;
}

/* A field of wire type LEN: its payload is [pos, end). */
static int length_field(struct walk *w, const ProtobufCFieldDescriptor *f, size_t end)
{
	if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
		return push(w, f->descriptor, end);
	if (f && f->type == PROTOBUF_C_TYPE_STRING)
		return utf8_check(w, end);
	if (f && f->type != PROTOBUF_C_TYPE_BYTES)
		return packed_check(w, wire_of(f->type), end);
	w->pos = end;
	return ERR_OK;
}

static int scalar_skip(struct walk *w, unsigned wire, size_t end)
{
	uint64_t v;
	size_t n = wire == WIRE_64 ? 8 : 4;
	if (wire == WIRE_VARINT)
		return varint_get(w, end, &v);
	if (n > end - w->pos)
		return bad(w, "a field runs past its message");
	w->pos += n;
	return ERR_OK;
}

static int field_step(struct walk *w)
{
	const struct level *l = &w->stack[w->depth - 1];
	size_t end = l->end;
	uint64_t tag, len;
	if (short_varint_get(w, end, &tag) != ERR_OK || fields_count(w, 1) != ERR_OK)
		return ERR_PROTOCOL;
	unsigned wire = (unsigned)(tag & 7);
	if (tag >> 3 == 0 || tag >> 3 > 536870911)
		return bad(w, "a field number out of range");
	if (wire != WIRE_VARINT && wire != WIRE_64 && wire != WIRE_LEN && wire != WIRE_32)
		return bad(w, "a group or an unknown wire type");
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(l->type, (unsigned)(tag >> 3));
	if (!f && ++w->n_unknown > LIMIT_WIRE_UNKNOWN)
		return bad(w, "more unknown fields than the limit of 64");
	if (f && wire != wire_of(f->type) &&
	    !(wire == WIRE_LEN && f->label == PROTOBUF_C_LABEL_REPEATED && wire_of(f->type) != WIRE_LEN))
		return bad(w, "a field with another wire type than declared");
	if (wire != WIRE_LEN)
		return scalar_skip(w, wire, end);
	if (short_varint_get(w, end, &len) != ERR_OK)
		return ERR_PROTOCOL;
	if (len > end - w->pos)
		return bad(w, "a length runs past its message");
	return length_field(w, f, w->pos + (size_t)len);
}

int pb_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len, struct err *e)
{
	struct walk w = { .p = bytes, .e = e };
	if (push(&w, type, len) != ERR_OK)
		return ERR_PROTOCOL;
	while (w.depth > 0) {
		if (w.pos == w.stack[w.depth - 1].end)
			w.depth--;
		else if (field_step(&w) != ERR_OK)
			return ERR_PROTOCOL;
	}
	return ERR_OK;
}

int pb_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
              ProtobufCAllocator *alloc, void **out, struct err *e)
{
	int rc = pb_check(type, bytes, len, e);
	if (rc != ERR_OK)
		return rc;
	*out = protobuf_c_message_unpack(type, alloc, len, bytes);
	if (!*out)
		return err_set(e, ERR_NOMEM, "protobuf: no memory to unpack %s", type->name);
	return ERR_OK;
}

int pb_pack(const ProtobufCMessage *m, uint8_t **out, size_t *len, struct err *e)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = malloc(n ? n : 1);
	if (!p)
		return err_set(e, ERR_NOMEM, "protobuf: no memory for %zu bytes", n);
	*len = protobuf_c_message_pack(m, p);
	*out = p;
	return ERR_OK;
}
