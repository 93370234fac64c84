/* SPDX-License-Identifier: Apache-2.0
 *
 * .npy files: see npy.h for the format.
 * Side: cli. Trusts: nothing in a file. Owns: nothing.
 */
#include "broker/ctl/npy.h"

#include "broker/ctl/ctl.h"
#include "proto/fumehood.pb-c.h"
#include "proto/mem.h"
#include "proto/note.h"

#include <inttypes.h>
#include <string.h>

static const uint8_t magic[6] = { 0x93, 'N', 'U', 'M', 'P', 'Y' };
#define ALIGN 64

static const struct {
	int type;
	size_t bytes;
	const char *descr, *name;
} types[] = {
	{ FUMEHOOD__DATA_TYPE__FLOAT32, 4, "<f4", "float32" },   { FUMEHOOD__DATA_TYPE__FLOAT64, 8, "<f8", "float64" },
	{ FUMEHOOD__DATA_TYPE__FLOAT16, 2, "<f2", "float16" },   { FUMEHOOD__DATA_TYPE__INT8, 1, "|i1", "int8" },
	{ FUMEHOOD__DATA_TYPE__INT16, 2, "<i2", "int16" },       { FUMEHOOD__DATA_TYPE__INT32, 4, "<i4", "int32" },
	{ FUMEHOOD__DATA_TYPE__INT64, 8, "<i8", "int64" },       { FUMEHOOD__DATA_TYPE__UINT8, 1, "|u1", "uint8" },
	{ FUMEHOOD__DATA_TYPE__UINT16, 2, "<u2", "uint16" },     { FUMEHOOD__DATA_TYPE__UINT32, 4, "<u4", "uint32" },
	{ FUMEHOOD__DATA_TYPE__UINT64, 8, "<u8", "uint64" },     { FUMEHOOD__DATA_TYPE__BOOL, 1, "|b1", "bool" },
	{ FUMEHOOD__DATA_TYPE__BFLOAT16, 2, "|V2", "bfloat16" }, { FUMEHOOD__DATA_TYPE__STRING, 0, "", "string" },
};
#define N_TYPES (sizeof types / sizeof types[0])

const char *dtype_name(int type)
{
	for (size_t i = 0; i < N_TYPES; i++)
		if (types[i].type == type)
			return types[i].name;
	return "unknown type";
}

size_t dtype_bytes(int type)
{
	for (size_t i = 0; i < N_TYPES; i++)
		if (types[i].type == type)
			return types[i].bytes;
	return 0;
}

/* --- the header's tokens --------------------------------------------------------------------------- */

struct cursor {
	const char *p, *end;
};

/* Takes this text, after spaces, when it stands here. */
static bool take(struct cursor *c, const char *text)
{
	size_t n = strlen(text);
	const char *p = c->p;
	while (p < c->end && *p == ' ')
		p++;
	if ((size_t)(c->end - p) < n || memcmp(p, text, n) != 0)
		return false;
	c->p = p + n;
	return true;
}

static int here(const struct cursor *c, const char *want, struct err *e)
{
	size_t n = (size_t)(c->end - c->p);
	return err_set(e, ERR_INPUT, "header: want %s at \"%s\"", want, ctl_text(c->p, n < 24 ? n : 24));
}

/* A string without escapes, in either kind of quotes. */
static bool string_take(struct cursor *c, const char **text, size_t *len)
{
	char quote = take(c, "'") ? '\'' : take(c, "\"") ? '"' : 0;
	const char *end = quote ? memchr(c->p, quote, (size_t)(c->end - c->p)) : NULL;
	if (!end || memchr(c->p, '\\', (size_t)(end - c->p)))
		return false;
	*text = c->p;
	*len = (size_t)(end - c->p);
	c->p = end + 1;
	return true;
}

/* Why a type that numpy can write is not taken. */
static int descr_refuse(const char *d, size_t n, struct err *e)
{
	const char *shown = ctl_text(d, n < 24 ? n : 24);
	char kind = n > 1 ? d[1] : 0;
	if (n > 0 && d[0] == '>')
		return err_set(e, ERR_UNSUPPORTED, "type '%s' is big-endian: save it with .astype('<...')", shown);
	if (kind == 'O')
		return err_set(e, ERR_UNSUPPORTED, "type '%s' holds Python objects (pickle), which are never loaded", shown);
	if (kind == 'S' || kind == 'U')
		return err_set(e, ERR_UNSUPPORTED, "type '%s' holds texts: models here take numbers", shown);
	return err_set(e, ERR_UNSUPPORTED, "type '%s' is not one that models take (float16/32/64, int8 to int64, uint8 to "
	               "uint64, bool)", shown);
}

static int descr_read(struct cursor *c, struct npy *out, struct err *e)
{
	const char *d;
	size_t n;
	if (take(c, "["))
		return err_set(e, ERR_UNSUPPORTED, "a structured type is not one that models take");
	if (!string_take(c, &d, &n))
		return here(c, "a type like '<f4'", e);
	for (size_t i = 0; i < N_TYPES; i++) {
		if (types[i].descr[0] == 0 || strlen(types[i].descr) != n || memcmp(types[i].descr, d, n) != 0 ||
		    types[i].type == FUMEHOOD__DATA_TYPE__BFLOAT16)
			continue;
		out->type = types[i].type;
		out->item_bytes = types[i].bytes;
		return ERR_OK;
	}
	return descr_refuse(d, n, e);
}

static int order_read(struct cursor *c, struct npy *out, struct err *e)
{
	out->fortran = take(c, "True");
	return out->fortran || take(c, "False") ? ERR_OK : here(c, "True or False", e);
}

static int dim_read(struct cursor *c, struct npy *out, struct err *e)
{
	size_t n = 0;
	(void)take(c, "");
	while (c->p + n < c->end && c->p[n] >= '0' && c->p[n] <= '9')
		n++;
	if (out->rank == LIMIT_RANK)
		return err_set(e, ERR_LIMIT, "more than %d dimensions", LIMIT_RANK);
	if (!note_decimal(c->p, n, &out->dims[out->rank]))
		return here(c, "a dimension", e);
	if (out->dims[out->rank] > LIMIT_EXTENT)
		return err_set(e, ERR_LIMIT, "a dimension above %" PRIu64, (uint64_t)LIMIT_EXTENT);
	c->p += n;
	out->rank++;
	return ERR_OK;
}

/* "()", "(3,)" or "(2, 3)"; "(3)" is no tuple. */
static int shape_read(struct cursor *c, struct npy *out, struct err *e)
{
	if (!take(c, "("))
		return here(c, "a tuple", e);
	for (bool comma = true; !take(c, ")") || (out->rank == 1 && !comma); comma = take(c, ",")) {
		int rc = comma ? dim_read(c, out, e) : here(c, "\",\" or the tuple's end", e);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

/* The three keys, each once, in any order, as other writers than numpy have them. */
static int header_read(struct cursor *c, struct npy *out, struct err *e)
{
	static const struct {
		const char *key;
		int (*read)(struct cursor *c, struct npy *out, struct err *e);
	} keys[] = { { "descr", descr_read }, { "fortran_order", order_read }, { "shape", shape_read } };
	unsigned seen = 0;
	bool comma = true;
	if (!take(c, "{"))
		return here(c, "{", e);
	for (; !take(c, "}"); comma = take(c, ",")) {
		const char *k = "";
		size_t n = 0, i = 0;
		if (!comma || !string_take(c, &k, &n))
			return here(c, comma ? "a key" : "\",\" or }", e);
		while (i < 3 && (strlen(keys[i].key) != n || memcmp(keys[i].key, k, n) != 0))
			i++;
		if (i == 3 || seen >> i & 1 || !take(c, ":"))
			return here(c, "descr, fortran_order and shape, each once", e);
		seen |= 1u << i;
		int rc = keys[i].read(c, out, e);
		if (rc != ERR_OK)
			return rc;
	}
	if (seen != 7)
		return here(c, "descr, fortran_order and shape", e);
	return take(c, "\n") && c->p == c->end ? ERR_OK : here(c, "spaces and one line feed", e);
}

/* Finds the header's text. */
static int front_read(const uint8_t *p, size_t have, struct cursor *c, struct npy *out, struct err *e)
{
	if (have < 10 || memcmp(p, magic, sizeof magic) != 0)
		return err_set(e, ERR_INPUT, "not a .npy file (numpy.save writes them)");
	if ((p[6] != 1 && p[6] != 2) || p[7] != 0)
		return err_set(e, ERR_UNSUPPORTED, ".npy version %u.%u: versions 1.0 and 2.0 are read", p[6], p[7]);
	size_t front = p[6] == 1 ? 10 : 12;
	if (have < front)
		return err_set(e, ERR_INPUT, "ends in its header");
	uint64_t len = p[6] == 1 ? le16_get(p + 8) : le32_get(p + 8);
	if (len > NPY_HEADER_MAX_BYTES)
		return err_set(e, ERR_LIMIT, "a header of %" PRIu64 " bytes is above the limit of %d", len, NPY_HEADER_MAX_BYTES);
	if (len > have - front)
		return err_set(e, ERR_INPUT, "ends in its header");
	*c = (struct cursor){ (const char *)p + front, (const char *)p + front + len };
	out->data_at = front + (size_t)len;
	return ERR_OK;
}

int npy_parse(const uint8_t *p, size_t have, uint64_t file_bytes, struct npy *out, struct err *e)
{
	struct cursor c = { NULL, NULL };
	struct ck items = ck_u64(1);
	*out = (struct npy){ .type = 0 };
	int rc = front_read(p, have, &c, out, e);
	if (rc != ERR_OK || (rc = header_read(&c, out, e)) != ERR_OK)
		return rc;
	for (unsigned i = 0; i < out->rank; i++)
		items = ck_mul(items, ck_u64(out->dims[i]));
	if (!ck_get(items, LIMIT_EXTENT, &out->n_items) ||
	    !ck_get(ck_mul(items, ck_u64(out->item_bytes)), INT64_MAX, &out->data_bytes))
		return err_set(e, ERR_LIMIT, "its shape has more than %" PRIu64 " items", (uint64_t)LIMIT_EXTENT);
	if (file_bytes < out->data_at || file_bytes - out->data_at != out->data_bytes)
		return err_set(e, ERR_INPUT, "%" PRIu64 " bytes of data, its shape and type want %" PRIu64,
		               file_bytes < out->data_at ? 0 : file_bytes - out->data_at, out->data_bytes);
	return ERR_OK;
}

/* --- order ------------------------------------------------------------------------------------------ */

void npy_to_rows(const struct npy *n, const uint8_t *src, uint8_t *dst)
{
	uint64_t at[LIMIT_RANK] = { 0 }, step[LIMIT_RANK], from = 0;
	uint64_t s = 1;
	for (unsigned i = 0; i < n->rank; i++) { /* in items: the first dimension is the fastest in src */
		step[i] = s;
		s *= n->dims[i];
	}
	for (uint64_t i = 0; i < n->n_items; i++) {
		memcpy(dst + i * n->item_bytes, src + from * n->item_bytes, n->item_bytes);
		for (unsigned d = n->rank; d-- > 0;) {
			from += step[d];
			if (++at[d] < n->dims[d])
				break;
			from -= step[d] * n->dims[d];
			at[d] = 0;
		}
	}
}

/* --- writing ------------------------------------------------------------------------------------------- */

size_t npy_header_put(uint8_t *out, size_t cap, int type, const int64_t *dims, size_t rank)
{
	char text[NPY_HEADER_MAX_BYTES];
	const char *descr = "|V1";
	int n;
	for (size_t i = 0; i < N_TYPES; i++)
		if (types[i].type == type && types[i].bytes)
			descr = types[i].descr;
	n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
	for (size_t i = 0; i < rank && rank <= LIMIT_RANK; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "%s%" PRId64 "%s", i ? ", " : "", dims[i], rank == 1 ? "," : "");
	n += snprintf(text + n, sizeof text - (size_t)n, "), }");
	size_t total = (10 + (size_t)n + 1 + ALIGN - 1) / ALIGN * ALIGN;
	if (rank > LIMIT_RANK || total > cap)
		return 0;
	memcpy(out, magic, sizeof magic);
	out[6] = 1;
	out[7] = 0;
	le16_put(out + 8, (uint16_t)(total - 10));
	memcpy(out + 10, text, (size_t)n);
	memset(out + 10 + n, ' ', total - 10 - (size_t)n);
	out[total - 1] = '\n';
	return total;
}
