/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads the front of a GGUF file: header and pairs; tensors.c reads the records behind them.
 *
 * Side: inside. Trusts: nothing. Owns: nothing (tables lie in the model's arena).
 *
 *   header    "GGUF", u32 version (2 or 3), u64 tensors, u64 pairs
 *   pair      string key, u32 value type, value
 *   string    u64 length, bytes (no end mark)
 *   array     u32 element type (no array), u64 elements, elements
 *   bool      one byte, 0 or 1
 *   record    string name, u32 rank, u64 extents[rank], u32 type, u64 offset from the data's start
 *   data      begins at the next multiple of general.alignment (u32, 32 when not given)
 *
 * Everything is little-endian and packed. Version 1 had 32-bit lengths and is not read.
 */
#include "sandbox/inside/engine/gguf/gguf.h"

#include "proto/mem.h"


#define HEADER_BYTES 24
#define PAIR_MIN_BYTES 14    /* a key of one byte, a type, a value of one byte */

static const uint8_t scalar_bytes[GV__MAX] = {
	[GV_U8] = 1, [GV_I8] = 1, [GV_U16] = 2, [GV_I16] = 2, [GV_U32] = 4, [GV_I32] = 4, [GV_F32] = 4,
	[GV_BOOL] = 1, [GV_U64] = 8, [GV_I64] = 8, [GV_F64] = 8,
};

struct gguf_text gguf_show(struct gguf_str s)
{
	struct gguf_text t;
	err_escape(t.s, sizeof t.s, s.p, s.len);
	return t;
}

bool gguf_str_is(struct gguf_str s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.p, text, s.len);
}

int gguf_no_room(struct gguf_model *m, const char *what, struct err *e)
{
	return err_set(e, ERR_LIMIT, "the arena of %zu bytes has no room for %s (%zu are in use)", m->arena->cap_bytes,
	               what, m->arena->used_bytes);
}

bool gguf_probe(const uint8_t *file, size_t n)
{
	return n >= 4 && (!memcmp(file, "GGUF", 4) || !memcmp(file, "FUGG", 4));
}

/* --- values ---------------------------------------------------------------------------------------- */

/* The string at pos: its text, and pos behind it. what: for the message. */
static int read_string(struct gguf_model *m, uint64_t *pos, uint64_t max, const char *what, struct gguf_str *out,
                       struct err *e)
{
	uint64_t left = m->n_bytes - *pos, len;
	if (left < 8)
		return err_set(e, ERR_MODEL, "%s at byte %llu is cut off", what, (unsigned long long)*pos);
	len = le64_get(m->file + *pos);
	if (len > left - 8)
		return err_set(e, ERR_MODEL, "%s at byte %llu claims %llu bytes, %llu are left", what,
		               (unsigned long long)*pos, (unsigned long long)len, (unsigned long long)(left - 8));
	if (len > max)
		return err_set(e, ERR_LIMIT, "%s at byte %llu has %llu bytes, above the limit of %llu", what,
		               (unsigned long long)*pos, (unsigned long long)len, (unsigned long long)max);
	*out = (struct gguf_str){ m->file + *pos + 8, (size_t)len };
	*pos += 8 + len;
	return ERR_OK;
}

static int check_bools(struct gguf_model *m, uint64_t pos, uint64_t n, struct err *e)
{
	for (uint64_t i = 0; i < n; i++)
		if (m->file[pos + i] > 1)
			return err_set(e, ERR_MODEL, "the bool at byte %llu is %u", (unsigned long long)(pos + i),
			               m->file[pos + i]);
	return ERR_OK;
}

/* n values of one type at *pos, which moves behind them. */
static int read_values(struct gguf_model *m, uint64_t *pos, int type, uint64_t n, struct err *e)
{
	uint64_t bytes, start = *pos;
	struct gguf_str s;
	int rc = ERR_OK;
	if (type == GV_STRING) {
		for (uint64_t i = 0; !rc && i < n; i++)
			rc = read_string(m, pos, LIMIT_GGUF_STRING_BYTES, "a string", &s, e);
		return rc;
	}
	if (!ck_get(ck_mul(ck_u64(n), ck_u64(scalar_bytes[type])), m->n_bytes - start, &bytes))
		return err_set(e, ERR_MODEL, "%llu values of type %s at byte %llu: %llu bytes are left",
		               (unsigned long long)n, gguf_value_name(type), (unsigned long long)start,
		               (unsigned long long)(m->n_bytes - start));
	*pos += bytes;
	return type == GV_BOOL ? check_bools(m, start, n, e) : ERR_OK;
}

static int read_u32(struct gguf_model *m, uint64_t *pos, const char *what, uint32_t *out, struct err *e)
{
	if (m->n_bytes - *pos < 4)
		return err_set(e, ERR_MODEL, "%s at byte %llu is cut off", what, (unsigned long long)*pos);
	*out = le32_get(m->file + *pos);
	*pos += 4;
	return ERR_OK;
}

static int read_array(struct gguf_model *m, uint64_t *pos, struct gguf_pair *p, struct err *e)
{
	uint32_t elem = 0;
	uint64_t off = *pos;
	int rc = read_u32(m, pos, "an array's type", &elem, e);
	if (rc)
		return rc;
	if (elem == GV_ARRAY)
		return err_set(e, ERR_UNSUPPORTED, "\"%s\" at byte %llu is an array of arrays", gguf_show(p->key).s,
		               (unsigned long long)off);
	if (elem >= GV__MAX)
		return err_set(e, ERR_MODEL, "the array at byte %llu has element type %u, which does not exist",
		               (unsigned long long)off, elem);
	if (m->n_bytes - *pos < 8)
		return err_set(e, ERR_MODEL, "the array at byte %llu is cut off", (unsigned long long)off);
	uint64_t n = le64_get(m->file + *pos), least = elem == GV_STRING ? 8 : scalar_bytes[elem];
	*pos += 8;
	if (n > (m->n_bytes - *pos) / least)
		return err_set(e, ERR_MODEL, "\"%s\" at byte %llu claims %llu elements, at most %llu fit", gguf_show(p->key).s,
		               (unsigned long long)off, (unsigned long long)n,
		               (unsigned long long)((m->n_bytes - *pos) / least));
	if (n > LIMIT_GGUF_ARRAY)
		return err_set(e, ERR_LIMIT, "\"%s\" has %llu elements, above the limit of %u", gguf_show(p->key).s,
		               (unsigned long long)n, LIMIT_GGUF_ARRAY);
	p->elem = (int)elem;
	p->n = n;
	return ERR_OK;
}

static int read_pair(struct gguf_model *m, uint64_t *pos, struct gguf_pair *p, struct err *e)
{
	uint32_t type = 0;
	int rc;
	*p = (struct gguf_pair){ .off = *pos, .n = 1 };
	if ((rc = read_string(m, pos, LIMIT_GGUF_KEY_BYTES, "a key", &p->key, e)))
		return rc;
	if (p->key.len == 0)
		return err_set(e, ERR_MODEL, "the key at byte %llu is empty", (unsigned long long)p->off);
	if ((rc = read_u32(m, pos, "a value's type", &type, e)))
		return rc;
	if (type >= GV__MAX)
		return err_set(e, ERR_MODEL, "\"%s\" at byte %llu has value type %u, which does not exist",
		               gguf_show(p->key).s, (unsigned long long)p->off, type);
	p->type = p->elem = (int)type;
	if (type == GV_ARRAY && (rc = read_array(m, pos, p, e)))
		return rc;
	p->data = m->file + *pos;
	p->bytes = *pos;
	if ((rc = read_values(m, pos, p->elem, p->n, e)))
		return rc;
	p->bytes = *pos - p->bytes;
	return ERR_OK;
}

/* --- the front ------------------------------------------------------------------------------------- */

static int read_pairs(struct gguf_model *m, uint64_t *pos, struct err *e)
{
	uint32_t first;
	int rc;
	m->pairs = arena_array(m->arena, m->n_pairs, sizeof *m->pairs);
	if (!m->pairs || !strmap_init(&m->keys, m->arena, m->pairs, sizeof *m->pairs, m->n_pairs))
		return gguf_no_room(m, "its pairs", e);
	for (uint32_t i = 0; i < m->n_pairs; i++) {
		if ((rc = read_pair(m, pos, &m->pairs[i], e)))
			return rc;
		rc = strmap_add(&m->keys, i, &first);
		if (rc == STRMAP_TWICE)
			return err_set(e, ERR_MODEL, "the key \"%s\" at byte %llu is there already at byte %llu",
			               gguf_show(m->pairs[i].key).s, (unsigned long long)m->pairs[i].off,
			               (unsigned long long)m->pairs[first].off);
		if (rc == STRMAP_CROWDED)
			return err_set(e, ERR_LIMIT, "keys are chosen to collide, at byte %llu",
			               (unsigned long long)m->pairs[i].off);
	}
	return ERR_OK;
}

static int check_count(struct gguf_model *m, const char *what, uint64_t n, uint64_t least, uint64_t max, struct err *e)
{
	uint64_t left = m->n_bytes - HEADER_BYTES;
	if (n > left / least)
		return err_set(e, ERR_MODEL, "the header claims %llu %s, at most %llu fit into %llu bytes",
		               (unsigned long long)n, what, (unsigned long long)(left / least), (unsigned long long)left);
	if (n > max)
		return err_set(e, ERR_LIMIT, "%llu %s, above the limit of %llu", (unsigned long long)n, what,
		               (unsigned long long)max);
	return ERR_OK;
}

static int read_header(struct gguf_model *m, struct err *e)
{
	if (!memcmp(m->file, "FUGG", 4))
		return err_set(e, ERR_UNSUPPORTED, "the magic is reversed: a file in the other byte order");
	if (m->n_bytes < HEADER_BYTES)
		return err_set(e, ERR_MODEL, "%llu bytes are no GGUF file: the header alone has %d",
		               (unsigned long long)m->n_bytes, HEADER_BYTES);
	uint32_t version = le32_get(m->file + 4);
	if (version == 1)
		return err_set(e, ERR_UNSUPPORTED, "GGUF version 1 is not read: versions 2 and 3 are");
	if (version == __builtin_bswap32(2) || version == __builtin_bswap32(3))
		return err_set(e, ERR_UNSUPPORTED, "a GGUF file in big-endian byte order is not read");
	if (version != 2 && version != 3)
		return err_set(e, ERR_UNSUPPORTED, "GGUF version %u is not known: versions 2 and 3 are read", version);
	m->version = version;
	m->n_tensors = le64_get(m->file + 8);
	m->n_pairs = le64_get(m->file + 16);
	int rc = check_count(m, "pairs", m->n_pairs, PAIR_MIN_BYTES, LIMIT_GGUF_PAIRS, e);
	return rc ? rc : check_count(m, "tensors", m->n_tensors, 33, LIMIT_GGUF_TENSORS, e);
}

static int read_alignment(struct gguf_model *m, struct err *e)
{
	const struct gguf_pair *p = gguf_find(m, "general.alignment");
	m->alignment = 32;
	if (!p)
		return ERR_OK;
	if (p->type != GV_U32)
		return err_set(e, ERR_MODEL, "general.alignment is of type %s, it must be u32", gguf_value_name(p->type));
	m->alignment = le32_get(p->data);
	if (m->alignment == 0 || (m->alignment & (m->alignment - 1)))
		return err_set(e, ERR_MODEL, "general.alignment is %llu, no power of two", (unsigned long long)m->alignment);
	if (m->alignment > LIMIT_GGUF_ALIGNMENT)
		return err_set(e, ERR_LIMIT, "general.alignment is %llu, above the limit of %u",
		               (unsigned long long)m->alignment, LIMIT_GGUF_ALIGNMENT);
	return ERR_OK;
}

int gguf_load(struct arena *a, const uint8_t *file, size_t n, struct gguf_model **out, struct err *e)
{
	struct gguf_model *m = arena_zalloc(a, sizeof *m);
	uint64_t pos = HEADER_BYTES;
	int rc;
	if (!m)
		return err_set(e, ERR_LIMIT, "the arena of %zu bytes has no room for a model", a->cap_bytes);
	*m = (struct gguf_model){ .arena = a, .file = file, .n_bytes = n };
	m->facts = arena_array(a, GGUF_FACTS_MAX, sizeof *m->facts);
	if (!m->facts)
		return gguf_no_room(m, "its facts", e);
	if (!gguf_probe(file, n))
		return err_set(e, ERR_MODEL, "the magic is not that of a GGUF file");
	if ((rc = read_header(m, e)) || (rc = read_pairs(m, &pos, e)) || (rc = read_alignment(m, e)) ||
	    (rc = gguf_read_tensors(m, pos, e)) || (rc = gguf_check(m, e)))
		return rc;
	gguf_report(m);
	*out = m;
	return ERR_OK;
}

/* --- looking up ------------------------------------------------------------------------------------ */

const struct gguf_pair *gguf_find(const struct gguf_model *m, const char *key)
{
	uint32_t i = strmap_find(&m->keys, (struct gguf_str){ (const uint8_t *)key, strlen(key) });
	return i == STRMAP_NONE ? NULL : &m->pairs[i];
}

struct gguf_str gguf_next_string(const uint8_t **at)
{
	struct gguf_str s = { *at + 8, (size_t)le64_get(*at) };
	*at = s.p + s.len;
	return s;
}

struct gguf_str gguf_text(const struct gguf_pair *p)
{
	const uint8_t *at = p->data;
	return gguf_next_string(&at);
}

bool gguf_uint(const struct gguf_pair *p, uint64_t *out)
{
	int64_t v = -1;
	switch ((enum gguf_value)p->type) {
	case GV_U8: v = p->data[0]; break;
	case GV_I8: v = (int8_t)p->data[0]; break;
	case GV_U16: v = le16_get(p->data); break;
	case GV_I16: v = (int16_t)le16_get(p->data); break;
	case GV_U32: v = le32_get(p->data); break;
	case GV_I32: v = (int32_t)le32_get(p->data); break;
	case GV_I64: v = (int64_t)le64_get(p->data); break;
	case GV_U64: *out = le64_get(p->data); return true;
	case GV_F32: case GV_BOOL: case GV_STRING: case GV_ARRAY: case GV_F64: case GV__MAX: return false;
	}
	*out = (uint64_t)v;
	return v >= 0;
}

static int wrong_type(const struct gguf_pair *p, const char *want, struct err *e)
{
	return err_set(e, ERR_MODEL, "\"%s\" at byte %llu is of type %s, it must be %s", gguf_show(p->key).s,
	               (unsigned long long)p->off, gguf_value_name(p->type), want);
}

int gguf_get_uint(const struct gguf_model *m, const char *key, uint64_t max, bool *found, uint64_t *out, struct err *e)
{
	const struct gguf_pair *p = gguf_find(m, key);
	uint64_t v = 0;
	*found = p != NULL;
	if (!p)
		return ERR_OK;
	if (p->type == GV_F32 || p->type == GV_BOOL || p->type == GV_STRING || p->type == GV_ARRAY || p->type == GV_F64)
		return wrong_type(p, "an integer", e);
	if (!gguf_uint(p, &v))
		return err_set(e, ERR_MODEL, "\"%s\" at byte %llu is negative", key, (unsigned long long)p->off);
	if (v > max)
		return err_set(e, ERR_LIMIT, "\"%s\" at byte %llu is %llu, above the limit of %llu", key,
		               (unsigned long long)p->off, (unsigned long long)v, (unsigned long long)max);
	*out = v;
	return ERR_OK;
}

int gguf_get_bool(const struct gguf_model *m, const char *key, bool *found, bool *out, struct err *e)
{
	const struct gguf_pair *p = gguf_find(m, key);
	*found = p != NULL;
	if (p && p->type != GV_BOOL)
		return wrong_type(p, "bool", e);
	if (p)
		*out = p->data[0] != 0;
	return ERR_OK;
}

int gguf_get_f32(const struct gguf_model *m, const char *key, bool *found, float *out, struct err *e)
{
	const struct gguf_pair *p = gguf_find(m, key);
	*found = p != NULL;
	if (p && p->type != GV_F32)
		return wrong_type(p, "f32", e);
	if (p)
		memcpy(out, p->data, sizeof *out);
	return ERR_OK;
}

int gguf_get_str(const struct gguf_model *m, const char *key, bool *found, struct gguf_str *out, struct err *e)
{
	const struct gguf_pair *p = gguf_find(m, key);
	*found = p != NULL;
	if (p && p->type != GV_STRING)
		return wrong_type(p, "string", e);
	if (p)
		*out = gguf_text(p);
	return ERR_OK;
}

int gguf_get_array(const struct gguf_model *m, const char *key, int elem, const struct gguf_pair **out, struct err *e)
{
	const struct gguf_pair *p = gguf_find(m, key);
	*out = p;
	if (p && (p->type != GV_ARRAY || p->elem != elem))
		return err_set(e, ERR_MODEL, "\"%s\" at byte %llu is no array of %s", key, (unsigned long long)p->off,
		               gguf_value_name(elem));
	return ERR_OK;
}
