/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensor records: a record becomes, once, a checked descriptor (reference hostile-models.md, rule 3): rank,
 * extents, type, elements and bytes representable, block divides the row, offset aligned, range inside the
 * file and shared with nobody.
 *
 * Side: inside. Trusts: nothing. Owns: nothing (tables lie in the model's arena). Byte table: read.c.
 */
#include "sandbox/inside/engine/gguf/gguf.h"

#include "proto/mem.h"

#define RECORD_TAIL_BYTES 12 /* type and offset */

static int cut_off(const struct gguf_tensor *t, struct err *e)
{
	return err_set(e, ERR_MODEL, "the tensor record at byte %llu is cut off", (unsigned long long)t->off);
}

static int read_name(struct gguf_model *m, uint64_t *pos, struct gguf_tensor *t, struct err *e)
{
	uint64_t left = m->n_bytes - *pos, len;
	if (left < 8)
		return cut_off(t, e);
	len = le64_get(m->file + *pos);
	if (len == 0 || len > LIMIT_GGUF_TENSOR_NAME_BYTES)
		return err_set(e, ERR_MODEL, "the tensor name at byte %llu has %llu bytes: 1 to %d are allowed",
		               (unsigned long long)*pos, (unsigned long long)len, LIMIT_GGUF_TENSOR_NAME_BYTES);
	if (len > left - 8)
		return cut_off(t, e);
	t->name = (struct gguf_str){ m->file + *pos + 8, (size_t)len };
	*pos += 8 + len;
	return ERR_OK;
}

static int read_extents(struct gguf_model *m, uint64_t *pos, struct gguf_tensor *t, struct err *e)
{
	if (m->n_bytes - *pos < 4)
		return cut_off(t, e);
	t->rank = le32_get(m->file + *pos);
	*pos += 4;
	if (t->rank < 1 || t->rank > GGUF_RANK)
		return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %llu has rank %u: 1 to %d are allowed",
		               gguf_show(t->name).s, (unsigned long long)t->off, t->rank, GGUF_RANK);
	if (m->n_bytes - *pos < 8 * (uint64_t)t->rank + RECORD_TAIL_BYTES)
		return cut_off(t, e);
	for (uint32_t i = 0; i < GGUF_RANK; i++) {
		t->ne[i] = 1;
		if (i >= t->rank)
			continue;
		t->ne[i] = le64_get(m->file + *pos);
		*pos += 8;
		if (t->ne[i] < 1 || t->ne[i] > LIMIT_EXTENT)
			return err_set(e, ERR_MODEL, "extent %u of tensor \"%s\" at byte %llu is %llu: 1 to 2^40 are allowed", i,
			               gguf_show(t->name).s, (unsigned long long)t->off, (unsigned long long)t->ne[i]);
	}
	return ERR_OK;
}

/* Type and extents to sizes. */
static int check_size(const struct gguf_model *m, struct gguf_tensor *t, struct err *e)
{
	const struct gguf_type_row *row = gguf_type(t->type);
	struct ck elems = ck_u64(1);
	if (!row->name)
		return err_set(e, ERR_UNSUPPORTED, "tensor \"%s\" at byte %llu has type number %u, which is not known",
		               gguf_show(t->name).s, (unsigned long long)t->off, t->type);
	if (!row->block_elems)
		return err_set(e, ERR_UNSUPPORTED, "tensor \"%s\" has type %s, which was taken out of the format",
		               gguf_show(t->name).s, row->name);
	for (uint32_t i = 0; i < GGUF_RANK; i++)
		elems = ck_mul(elems, ck_u64(t->ne[i]));
	if (!ck_get(elems, INT64_MAX, &t->n_elems))
		return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %llu has more than 2^63 elements", gguf_show(t->name).s,
		               (unsigned long long)t->off);
	if (t->ne[0] % row->block_elems)
		return err_set(e, ERR_MODEL, "tensor \"%s\" has rows of %llu elements, blocks of %s have %u",
		               gguf_show(t->name).s, (unsigned long long)t->ne[0], row->name, row->block_elems);
	if (!ck_get(ck_mul(ck_u64(t->n_elems / row->block_elems), ck_u64(row->block_bytes)), INT64_MAX, &t->n_bytes))
		return err_set(e, ERR_MODEL, "tensor \"%s\" at byte %llu has more than 2^63 bytes", gguf_show(t->name).s,
		               (unsigned long long)t->off);
	/* Nothing of a file's size may be claimed that the file cannot hold: said before offsets are. */
	if (!m->no_data && t->n_bytes > m->n_bytes)
		return err_set(e, ERR_MODEL, "tensor \"%s\" claims %llu bytes, the file has %llu", gguf_show(t->name).s,
		               (unsigned long long)t->n_bytes, (unsigned long long)m->n_bytes);
	return ERR_OK;
}

static int read_record(struct gguf_model *m, uint64_t *pos, struct gguf_tensor *t, struct err *e)
{
	int rc;
	*t = (struct gguf_tensor){ .off = *pos };
	if ((rc = read_name(m, pos, t, e)) || (rc = read_extents(m, pos, t, e)))
		return rc;
	t->type = le32_get(m->file + *pos);
	t->data_off = le64_get(m->file + *pos + 4); /* from the data's start, until it is known */
	*pos += RECORD_TAIL_BYTES;
	return ERR_OK;
}

/* --- where data lies --------------------------------------------------------------------------------- */

static int place(struct gguf_model *m, struct gguf_tensor *t, struct err *e)
{
	uint64_t rel = t->data_off;
	struct ck end = ck_add(ck_add(ck_u64(m->data_off), ck_u64(rel)), ck_u64(t->n_bytes));
	if (rel % m->alignment)
		return err_set(e, ERR_MODEL, "tensor \"%s\" has offset %llu, no multiple of the alignment %llu",
		               gguf_show(t->name).s, (unsigned long long)rel, (unsigned long long)m->alignment);
	if (end.bad || end.v > (uint64_t)INT64_MAX || (!m->no_data && end.v > m->n_bytes))
		return err_set(e, ERR_MODEL, "tensor \"%s\" has %llu bytes at offset %llu of the data, which ends at %llu",
		               gguf_show(t->name).s, (unsigned long long)t->n_bytes, (unsigned long long)rel,
		               (unsigned long long)(m->n_bytes > m->data_off ? m->n_bytes - m->data_off : 0));
	t->data_off = m->data_off + rel;
	t->data = m->no_data ? NULL : m->file + t->data_off;
	return ERR_OK;
}

/* Numbers of tensors by offset: merged in pieces of doubling length, between two lists. */
static uint32_t *sort_by_offset(const struct gguf_model *m)
{
	size_t n = (size_t)m->n_tensors;
	uint32_t *from = arena_array(m->arena, n, sizeof *from), *to = arena_array(m->arena, n, sizeof *to);
	if (!from || !to)
		return NULL;
	for (uint32_t i = 0; i < n; i++)
		from[i] = i;
	for (size_t len = 1; len < n; len *= 2) {
		for (size_t lo = 0; lo < n; lo += 2 * len) {
			size_t mid = lo + len < n ? lo + len : n, hi = mid + len < n ? mid + len : n, i = lo, j = mid;
			for (size_t k = lo; k < hi; k++) {
				bool left = j == hi || (i < mid && m->tensors[from[i]].data_off <= m->tensors[from[j]].data_off);
				to[k] = left ? from[i++] : from[j++];
			}
		}
		uint32_t *swap = from;
		from = to;
		to = swap;
	}
	return from;
}

static const struct { const char *magic; size_t len; const char *name; } behind[] = {
	{ "PK\3\4", 4, "a ZIP archive" }, { "\x7f" "ELF", 4, "an ELF program" }, { "GGUF", 4, "another GGUF file" },
	{ "\x80\2", 2, "a pickle" }, { "\x80\3", 2, "a pickle" }, { "\x80\4", 2, "a pickle" }, { "\x80\5", 2, "a pickle" },
	{ "#!", 2, "a script" }, { "\x1f\x8b", 2, "a gzip file" }, { "MZ", 2, "a Windows program" }, { "%PDF", 4, "a PDF" },
};

/* Bytes that no tensor owns and that are no filling: what they look like. */
static void report_hole(struct gguf_model *m, const char *code, uint64_t from, uint64_t to)
{
	const char *looks = "data";
	uint64_t zeros = 0;
	for (uint64_t i = from; i < to; i++)
		zeros += m->file[i] == 0;
	if (zeros == to - from)
		looks = "zeros";
	for (size_t k = 0; k < sizeof behind / sizeof behind[0]; k++)
		if (to - from >= behind[k].len && !memcmp(m->file + from, behind[k].magic, behind[k].len))
			looks = behind[k].name;
	gguf_fact(m, "odd", code, 1, from, "%llu bytes that no tensor owns (they look like %s)",
	          (unsigned long long)(to - from), looks);
}

static int check_ranges(struct gguf_model *m, struct err *e)
{
	uint64_t end = m->data_off, holes = 0;
	uint32_t *order = sort_by_offset(m);
	bool in_order = true;
	if (!order)
		return gguf_no_room(m, "the order of its tensors", e);
	for (uint64_t k = 0; k < m->n_tensors; k++) {
		const struct gguf_tensor *t = &m->tensors[order[k]];
		if (t->data_off < end && k)
			return err_set(e, ERR_MODEL, "tensors \"%s\" and \"%s\" share bytes at %llu",
			               gguf_show(m->tensors[order[k - 1]].name).s, gguf_show(t->name).s,
			               (unsigned long long)t->data_off);
		in_order = in_order && order[k] == k;
		if (!m->no_data && t->data_off - end >= m->alignment && holes++ < 8)
			report_hole(m, "gap", end, t->data_off);
		end = t->data_off + t->n_bytes;
	}
	if (!in_order)
		gguf_fact(m, "odd", "tensor-order", 1, 0, "tensors do not lie in the order of their records");
	if (holes > 8)
		gguf_fact(m, "odd", "gaps", 1, 0, "%llu gaps between tensors", (unsigned long long)holes);
	if (m->n_bytes > end && m->n_bytes - end >= m->alignment)
		report_hole(m, "trailing-bytes", end, m->n_bytes);
	return ERR_OK;
}

int gguf_read_tensors(struct gguf_model *m, uint64_t pos, struct err *e)
{
	uint32_t first;
	int rc;
	m->tensors = arena_array(m->arena, m->n_tensors, sizeof *m->tensors);
	if (!m->tensors || !strmap_init(&m->names, m->arena, m->tensors, sizeof *m->tensors, m->n_tensors))
		return gguf_no_room(m, "its tensors", e);
	for (uint32_t i = 0; i < m->n_tensors; i++) {
		if ((rc = read_record(m, &pos, &m->tensors[i], e)))
			return rc;
		rc = strmap_add(&m->names, i, &first);
		if (rc == STRMAP_TWICE)
			return err_set(e, ERR_MODEL, "the tensor name \"%s\" at byte %llu is there already at byte %llu",
			               gguf_show(m->tensors[i].name).s, (unsigned long long)m->tensors[i].off,
			               (unsigned long long)m->tensors[first].off);
		if (rc == STRMAP_CROWDED)
			return err_set(e, ERR_LIMIT, "tensor names are chosen to collide, at byte %llu",
			               (unsigned long long)m->tensors[i].off);
	}
	if (!ck_get(ck_align(ck_u64(pos), m->alignment), INT64_MAX, &m->data_off))
		return err_set(e, ERR_MODEL, "the data begins behind 2^63");
	/* The records without data: described, and not run. */
	m->no_data = m->n_tensors && m->n_bytes <= m->data_off;
	for (uint64_t i = 0; i < m->n_tensors; i++)
		if ((rc = check_size(m, &m->tensors[i], e)) || (rc = place(m, &m->tensors[i], e)))
			return rc;
	if (m->data_off > m->n_bytes)
		m->data_off = m->n_bytes;
	return check_ranges(m, e);
}
