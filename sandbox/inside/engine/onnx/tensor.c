/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a TensorProto into a checked descriptor, and its payload when it is wanted.
 *
 * Side: inside. Trusts: nothing. Owns: nothing.
 *
 *   TensorProto   1 dims (i64)   2 data_type   3 segment   4 float_data   5 int32_data
 *                 6 string_data  7 int64_data  8 name      9 raw_data     10 double_data
 *                 11 uint64_data 12 doc_string 13 external_data  14 data_location
 *
 * One claim (reference hostile-models.md, rule 3): rank, extents, type and payload are compared here,
 * once; nothing later sees the raw fields. External data, segments and strings are refused by name.
 */
#include "sandbox/inside/engine/onnx/wire.h"
#include "sandbox/inside/engine/onnx/model.h"

#include "proto/mem.h"

enum { F_FLOAT = 4, F_INT32 = 5, F_INT64 = 7, F_RAW = 9, F_DOUBLE = 10, F_UINT64 = 11 };

/* Which typed field carries a type, and the range of its numbers there. */
static const struct carrier {
	int dtype;
	uint32_t field;
	int64_t min, max;
} carriers[] = {
	{ DT_F32, F_FLOAT, 0, 0 },
	{ DT_F64, F_DOUBLE, 0, 0 },
	{ DT_I64, F_INT64, INT64_MIN, INT64_MAX },
	{ DT_U64, F_UINT64, INT64_MIN, INT64_MAX },
	{ DT_U32, F_UINT64, 0, UINT32_MAX },
	{ DT_I32, F_INT32, INT32_MIN, INT32_MAX },
	{ DT_I16, F_INT32, INT16_MIN, INT16_MAX },
	{ DT_I8, F_INT32, INT8_MIN, INT8_MAX },
	{ DT_U16, F_INT32, 0, UINT16_MAX },
	{ DT_U8, F_INT32, 0, UINT8_MAX },
	{ DT_BOOL, F_INT32, 0, 1 },
	{ DT_F16, F_INT32, 0, UINT16_MAX },
	{ DT_BF16, F_INT32, 0, UINT16_MAX },
};

static const struct carrier *carrier_of(int dtype)
{
	for (size_t i = 0; i < sizeof carriers / sizeof carriers[0]; i++)
		if (carriers[i].dtype == dtype)
			return &carriers[i];
	return NULL;
}

struct reading {
	struct onnx_tensor *t;
	uint64_t n_dims, count[12]; /* elements per payload field */
	uint64_t dtype;
	bool has_dtype, external, segment, strings;
};

/* Calls on for one number, or for each number of packed bytes. */
static int each_varint(struct onnx_model *m, const struct wire_field *f, struct reading *r,
                       int (*on)(struct onnx_model *, struct reading *, uint64_t, size_t, struct err *),
                       struct err *e)
{
	struct wire w = { m->file, f->data, f->data + f->len };
	uint64_t v;
	int rc;
	if (f->type == WIRE_VARINT)
		return on(m, r, f->value, f->off, e);
	while (w.pos < w.end)
		if ((rc = wire_varint(&w, &v, e)) || (rc = on(m, r, v, w.pos, e)))
			return rc;
	return ERR_OK;
}

static int add_dim(struct onnx_model *m, struct reading *r, uint64_t v, size_t off, struct err *e)
{
	struct onnx_tensor *t = r->t;
	(void)m;
	if (r->n_dims >= LIMIT_RANK)
		return err_set(e, ERR_LIMIT, "a tensor at byte %zu has more than %d extents", t->off, LIMIT_RANK);
	if ((int64_t)v < 0)
		return err_set(e, ERR_MODEL, "a tensor at byte %zu has the extent %lld", off, (long long)v);
	if (v > LIMIT_EXTENT)
		return err_set(e, ERR_LIMIT, "a tensor at byte %zu has the extent %llu, at most 2^40", off,
		               (unsigned long long)v);
	t->dims[r->n_dims++] = (int64_t)v;
	return ERR_OK;
}
static int on_dims(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return each_varint(m, f, ctx, add_dim, e);
}
static int on_dtype(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct reading *r = ctx;
	(void)m, (void)e;
	r->has_dtype = true;
	r->dtype = f->value;
	return ERR_OK;
}
static int on_segment(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)f, (void)e;
	((struct reading *)ctx)->segment = true;
	return ERR_OK;
}
static int on_external(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)f, (void)e;
	((struct reading *)ctx)->external = true;
	return ERR_OK;
}
static int on_location(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)e;
	if (f->value != 0) /* DEFAULT */
		((struct reading *)ctx)->external = true;
	return ERR_OK;
}
static int on_string(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)f, (void)e;
	((struct reading *)ctx)->strings = true;
	return ERR_OK;
}
static int on_tensor_name(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return onnx_name(m, &((struct reading *)ctx)->t->name, f, e);
}
static int on_raw(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct reading *r = ctx;
	(void)m, (void)e;
	r->t->raw_off = f->data;
	r->count[F_RAW] = f->len;
	r->t->field = F_RAW;
	return ERR_OK;
}
/* float_data and double_data: fixed-size numbers, alone or packed. */
static int on_fixed(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct reading *r = ctx;
	size_t size = f->num == F_FLOAT ? 4 : 8;
	(void)m;
	if (f->type == WIRE_BYTES && f->len % size)
		return err_set(e, ERR_MODEL, "packed numbers at byte %zu end inside an element", f->off);
	r->count[f->num] += f->type == WIRE_BYTES ? f->len / size : 1;
	return ERR_OK;
}
static int count_varint(struct onnx_model *m, struct reading *r, uint64_t v, size_t off, struct err *e)
{
	(void)m, (void)v, (void)off, (void)e;
	r->count[0]++;
	return ERR_OK;
}
static int on_varints(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct reading *r = ctx;
	int rc;
	r->count[0] = 0;
	if ((rc = each_varint(m, f, r, count_varint, e)))
		return rc;
	r->count[f->num] += r->count[0];
	return ERR_OK;
}

static const struct onnx_rule tensor_rules[] = {
	{ 1, WIRE_VARINT, false, true, "TensorProto.dims", on_dims },
	{ 2, WIRE_VARINT, true, false, "TensorProto.data_type", on_dtype },
	{ 3, WIRE_BYTES, true, false, "TensorProto.segment", on_segment },
	{ F_FLOAT, WIRE_FIXED32, false, true, "TensorProto.float_data", on_fixed },
	{ F_INT32, WIRE_VARINT, false, true, "TensorProto.int32_data", on_varints },
	{ 6, WIRE_BYTES, false, false, "TensorProto.string_data", on_string },
	{ F_INT64, WIRE_VARINT, false, true, "TensorProto.int64_data", on_varints },
	{ 8, WIRE_BYTES, true, false, "TensorProto.name", on_tensor_name },
	{ F_RAW, WIRE_BYTES, true, false, "TensorProto.raw_data", on_raw },
	{ F_DOUBLE, WIRE_FIXED64, false, true, "TensorProto.double_data", on_fixed },
	{ F_UINT64, WIRE_VARINT, false, true, "TensorProto.uint64_data", on_varints },
	{ 12, WIRE_BYTES, true, false, "TensorProto.doc_string", NULL },
	{ 13, WIRE_BYTES, false, false, "TensorProto.external_data", on_external },
	{ 14, WIRE_VARINT, true, false, "TensorProto.data_location", on_location },
	{ 16, WIRE_BYTES, false, false, "TensorProto.metadata_props", NULL },
};

/* Types by name that exist in ONNX but have no kernel here: the answer names them. */
static const char *const foreign_types[] = {
	[8] = "string", [14] = "complex64", [15] = "complex128", [17] = "float8e4m3fn",
	[18] = "float8e4m3fnuz", [19] = "float8e5m2", [20] = "float8e5m2fnuz", [21] = "uint4", [22] = "int4",
	[23] = "float4e2m1", [24] = "float8e8m0", [25] = "uint2", [26] = "int2",
};

static int type_check(const struct reading *r, struct err *e)
{
	const struct onnx_tensor *t = r->t;
	uint64_t n = sizeof foreign_types / sizeof foreign_types[0];
	if (!r->has_dtype || r->dtype == 0)
		return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %zu has no data type", onnx_show(t->name).s,
		               t->off);
	if (r->dtype < DT__MAX && carrier_of((int)r->dtype))
		return ERR_OK;
	if (r->dtype < n && foreign_types[r->dtype])
		return err_set(e, ERR_UNSUPPORTED, "tensor \"%s\" at byte %zu holds %s, which is not implemented",
		               onnx_show(t->name).s, t->off, foreign_types[r->dtype]);
	return err_set(e, ERR_UNSUPPORTED, "tensor \"%s\" at byte %zu has the unknown data type %llu",
	               onnx_show(t->name).s, t->off, (unsigned long long)r->dtype);
}

static int refused_kinds(const struct reading *r, struct err *e)
{
	const char *why = r->external ? "asks for external data, which is never read: put the weights into the file"
	                : r->segment ? "is a segment of a larger one: segments are refused"
	                : r->strings ? "holds strings where numbers are needed" : NULL;
	if (!why)
		return ERR_OK;
	return err_set(e, ERR_UNSUPPORTED, "tensor \"%s\" at byte %zu %s", onnx_show(r->t->name).s, r->t->off,
	               why);
}

/* Elements and bytes of the extents; which field carries them; exactly that many. */
static int payload_check(struct reading *r, struct err *e)
{
	struct onnx_tensor *t = r->t;
	const struct carrier *c = carrier_of(t->dtype);
	struct ck n = ck_u64(1);
	bool zero = false;
	uint64_t have = r->count[F_RAW], want;
	for (int i = 0; i < t->rank; i++) {
		zero = zero || t->dims[i] == 0;
		n = ck_mul(n, ck_i64(t->dims[i]));
	}
	if (zero)
		n = ck_u64(0);
	if (!ck_get(n, UINT64_MAX, &t->n_elems) ||
	    !ck_get(ck_mul(n, ck_u64(dtype_bytes(t->dtype))), UINT64_MAX, &t->n_bytes))
		return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %zu: the product of its extents passes 2^64",
		               onnx_show(t->name).s, t->off);
	want = t->field == F_RAW ? t->n_bytes : t->n_elems;
	for (uint32_t f = 4; f < 12; f++) {
		if (f == F_RAW || r->count[f] == 0)
			continue;
		if (t->field)
			return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %zu has data in two fields (%u and %u)",
			               onnx_show(t->name).s, t->off, t->field, f);
		if (f != c->field)
			return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %zu: %s does not live in field %u",
			               onnx_show(t->name).s, t->off, dtype_name(t->dtype), f);
		t->field = f;
		have = r->count[f];
		want = t->n_elems;
	}
	if (have != want)
		return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %zu carries %llu %s, its extents ask for %llu",
		               onnx_show(t->name).s, t->off, (unsigned long long)have,
		               t->field == F_RAW ? "bytes" : "elements", (unsigned long long)want);
	return ERR_OK;
}

/* --- the payload --------------------------------------------------------------------------------- */

static void store_int(const struct onnx_tensor *t, void *dst, uint64_t i, uint64_t v)
{
	size_t size = dtype_bytes(t->dtype);
	memcpy((uint8_t *)dst + i * size, &v, size); /* little-endian: the low bytes come first */
}

static bool in_range(const struct carrier *c, uint64_t v)
{
	return (int64_t)v >= c->min && (int64_t)v <= c->max;
}

/* Walks the typed numbers: stores them when dst is given, else only checks their ranges. Lengths and
 * wire types were checked by the rules, so errors cannot happen while storing. */
static int typed_walk(const struct onnx_model *m, const struct onnx_tensor *t, void *dst, struct err *e)
{
	const struct carrier *c = carrier_of(t->dtype);
	struct wire w = { m->file, t->off, t->end };
	struct wire_field f;
	uint64_t i = 0, v;
	int rc;
	while ((rc = wire_next(&w, &f, e)) > 0) {
		if (f.num != t->field)
			continue;
		struct wire in = { m->file, f.data, f.data + f.len };
		bool fixed = t->field == F_FLOAT || t->field == F_DOUBLE;
		if (fixed && f.type == WIRE_BYTES) {
			if (dst && f.len)
				memcpy((uint8_t *)dst + i * dtype_bytes(t->dtype), m->file + f.data, f.len);
			i += f.len / dtype_bytes(t->dtype);
			continue;
		}
		if (f.type != WIRE_BYTES) {
			if (!fixed && !in_range(c, f.value))
				goto range;
			if (dst)
				store_int(t, dst, i, f.value);
			i++;
			continue;
		}
		while (in.pos < in.end) {
			if ((rc = wire_varint(&in, &v, e)))
				return rc;
			if (!in_range(c, v))
				goto range;
			if (dst)
				store_int(t, dst, i, v);
			i++;
		}
	}
	return rc;
range:
	return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %zu: element %llu is out of range for %s",
	               onnx_show(t->name).s, t->off, (unsigned long long)i, dtype_name(t->dtype));
}

static int bools_check(const struct onnx_model *m, const struct onnx_tensor *t, struct err *e)
{
	for (uint64_t i = 0; i < t->n_bytes; i++)
		if (m->file[t->raw_off + i] > 1)
			return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %zu: a bool of %u", onnx_show(t->name).s,
			               t->off, m->file[t->raw_off + i]);
	return ERR_OK;
}

void onnx_tensor_read(const struct onnx_model *m, const struct onnx_tensor *t, void *dst)
{
	if (t->n_bytes == 0)
		return;
	if (t->field == F_RAW)
		memcpy(dst, m->file + t->raw_off, t->n_bytes);
	else
		(void)!typed_walk(m, t, dst, NULL);
}

int onnx_read_tensor(struct onnx_model *m, size_t off, size_t end, struct onnx_tensor *t, struct err *e)
{
	struct reading r = { .t = t };
	int rc;
	*t = (struct onnx_tensor){ .name = { m->file, 0 }, .off = off, .end = end };
	if ((rc = ONNX_WALK(m, off, end, tensor_rules, &r, e)) || (rc = refused_kinds(&r, e)) ||
	    (rc = type_check(&r, e)))
		return rc;
	t->dtype = (int)r.dtype;
	t->rank = (int)r.n_dims;
	if ((rc = payload_check(&r, e)))
		return rc;
	if (t->field == F_RAW)
		return t->dtype == DT_BOOL ? bools_check(m, t, e) : ERR_OK;
	return t->field == 0 || t->field == F_FLOAT || t->field == F_DOUBLE ? ERR_OK
	                                                                    : typed_walk(m, t, NULL, e);
}
