/* SPDX-License-Identifier: Apache-2.0
 *
 * The protobuf cursor: see wire.h for the byte table.
 * Side: inside. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/inside/engine/onnx/wire.h"

#include "proto/mem.h"

int wire_varint(struct wire *w, uint64_t *out, struct err *e)
{
	uint64_t v = 0;
	size_t start = w->pos;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		if (w->pos >= w->end)
			return err_set(e, ERR_MODEL, "a number at byte %zu is cut off", start);
		uint8_t b = w->file[w->pos++];
		if (shift == 63 && b > 1)
			return err_set(e, ERR_MODEL, "a number at byte %zu is longer than 64 bits", start);
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*out = v;
			return ERR_OK;
		}
	}
	return err_set(e, ERR_MODEL, "a number at byte %zu is longer than 10 bytes", start);
}

static int wire_fixed(struct wire *w, struct wire_field *f, size_t n, struct err *e)
{
	if (w->end - w->pos < n)
		return err_set(e, ERR_MODEL, "field %u at byte %zu is cut off", f->num, f->off);
	f->value = n == 8 ? le64_get(w->file + w->pos) : le32_get(w->file + w->pos);
	w->pos += n;
	return 1;
}

static int wire_bytes(struct wire *w, struct wire_field *f, struct err *e)
{
	uint64_t len;
	int rc = wire_varint(w, &len, e);
	if (rc)
		return rc;
	if (len > w->end - w->pos)
		return err_set(e, ERR_MODEL, "field %u at byte %zu claims %llu bytes, %zu are left", f->num,
		               f->off, (unsigned long long)len, w->end - w->pos);
	f->data = w->pos;
	f->len = (size_t)len;
	w->pos += (size_t)len;
	return 1;
}

int wire_next(struct wire *w, struct wire_field *f, struct err *e)
{
	uint64_t tag;
	int rc;
	if (w->pos == w->end)
		return 0;
	*f = (struct wire_field){ .off = w->pos };
	if ((rc = wire_varint(w, &tag, e)))
		return rc;
	if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return err_set(e, ERR_MODEL, "field number %llu at byte %zu does not exist",
		               (unsigned long long)(tag >> 3), f->off);
	f->num = (uint32_t)(tag >> 3);
	f->type = (int)(tag & 7);
	if (f->type == WIRE_VARINT)
		return (rc = wire_varint(w, &f->value, e)) ? rc : 1;
	if (f->type == WIRE_FIXED64)
		return wire_fixed(w, f, 8, e);
	if (f->type == WIRE_FIXED32)
		return wire_fixed(w, f, 4, e);
	if (f->type == WIRE_BYTES)
		return wire_bytes(w, f, e);
	return err_set(e, ERR_MODEL, "field %u at byte %zu has wire type %d, which is not used", f->num,
	               f->off, f->type);
}

int wire_want(const struct wire_field *f, enum wire_type t, const char *what, struct err *e)
{
	if (f->type == (int)t)
		return ERR_OK;
	return err_set(e, ERR_MODEL, "%s at byte %zu has wire type %d instead of %d", what, f->off, f->type,
	               (int)t);
}
