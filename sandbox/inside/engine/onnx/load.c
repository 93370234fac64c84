/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a ModelProto: the outermost message of an ONNX file, walked in place.
 *
 * Side: inside. Trusts: nothing. Owns: the model's tables (in the given arena).
 *
 *   ModelProto           1 ir_version   2 producer_name  3 producer_version  4 domain
 *                        5 model_version  6 doc_string   7 graph   8 opset_import
 *                        14 metadata_props   20 training_info   25 functions
 *   OperatorSetIdProto   1 domain   2 version
 *   StringStringEntry    1 key      2 value
 *
 * Order: model fields, then every graph (a queue, no recursion), then names (resolve.c), then what
 * the planner must know (needed.c), then the report (facts.c).
 */
#include "sandbox/inside/engine/onnx/wire.h"
#include "sandbox/inside/engine/onnx/model.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/onnx/ops.h"

#include <stdio.h>

/* What the model's own fields leave for later. */
struct top {
	size_t graph_off, graph_end;
	bool has_graph, has_ir;
	uint32_t n_domains, n_metadata;
};

int onnx_no_room(struct onnx_model *m, const char *what, struct err *e)
{
	return err_set(e, ERR_LIMIT, "the model's tables do not fit: %s at %zu bytes of %zu; give a larger arena",
	               what, m->arena->used_bytes, m->arena->cap_bytes);
}

bool onnx_str_is(struct onnx_str s, const char *text)
{
	size_t n = strlen(text);
	return s.len == n && (n == 0 || memcmp(s.p, text, n) == 0);
}

struct onnx_text onnx_show(struct onnx_str s)
{
	struct onnx_text t;
	err_escape(t.s, sizeof t.s, s.p, s.len);
	return t;
}

int onnx_name(struct onnx_model *m, struct onnx_str *dst, const struct wire_field *f, struct err *e)
{
	if (f->len > LIMIT_ONNX_NAME_BYTES)
		return err_set(e, ERR_LIMIT, "a name at byte %zu has %zu bytes, at most %d are allowed", f->off,
		               f->len, LIMIT_ONNX_NAME_BYTES);
	*dst = (struct onnx_str){ m->file + f->data, f->len };
	return ERR_OK;
}

static int skip_unknown(struct onnx_model *m, const struct wire_field *f, struct err *e)
{
	if (m->n_unknown == 0)
		onnx_fact(m, "odd", "unknown-field", 1, f->off, "the first unknown protobuf field is number %u",
		          f->num);
	if (++m->n_unknown > LIMIT_PROTOBUF_UNKNOWN)
		return err_set(e, ERR_LIMIT, "more than %d unknown protobuf fields (byte %zu)",
		               LIMIT_PROTOBUF_UNKNOWN, f->off);
	return ERR_OK;
}

static int field_apply(struct onnx_model *m, const struct onnx_rule *r, uint64_t *seen, unsigned bit,
                       const struct wire_field *f, void *ctx, struct err *e)
{
	int rc = 0;
	if (!(r->packed && f->type == WIRE_BYTES))
		rc = wire_want(f, r->type, r->name, e);
	if (rc)
		return rc;
	if (r->once && (*seen & (1ull << bit)))
		return err_set(e, ERR_MODEL, "a second %s at byte %zu", r->name, f->off);
	*seen |= 1ull << bit;
	return r->on ? r->on(m, ctx, f, e) : ERR_OK;
}

int onnx_walk(struct onnx_model *m, size_t off, size_t end, const struct onnx_rule *rules, size_t n,
              void *ctx, struct err *e)
{
	struct wire w = { m->file, off, end };
	struct wire_field f;
	uint64_t seen = 0;
	int rc;
	while ((rc = wire_next(&w, &f, e)) > 0) {
		unsigned i = 0;
		while (i < n && rules[i].num != f.num)
			i++;
		rc = i == n ? skip_unknown(m, &f, e) : field_apply(m, &rules[i], &seen, i, &f, ctx, e);
		if (rc)
			return rc;
	}
	return rc;
}

/* --- ModelProto -------------------------------------------------------------------------------- */

static int on_ir(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)e;
	((struct top *)ctx)->has_ir = true;
	m->ir_version = (int64_t)f->value;
	return ERR_OK;
}
static int on_producer(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)ctx;
	return onnx_name(m, &m->producer, f, e);
}
static int on_producer_version(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)ctx;
	return onnx_name(m, &m->producer_version, f, e);
}
static int on_graph(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct top *t = ctx;
	(void)m, (void)e;
	t->has_graph = true;
	t->graph_off = f->data;
	t->graph_end = f->data + f->len;
	return ERR_OK;
}
static int on_count_domain(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)f, (void)e;
	((struct top *)ctx)->n_domains++;
	return ERR_OK;
}
static int on_count_metadata(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)f, (void)e;
	((struct top *)ctx)->n_metadata++;
	return ERR_OK;
}
static int on_training(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)ctx, (void)e;
	onnx_unsupported(m, ERR_UNSUPPORTED, "training", f->off, "training_info is not run here");
	return ERR_OK;
}

struct fn_name { struct onnx_str name; };
static int on_fn_name(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return onnx_name(m, &((struct fn_name *)ctx)->name, f, e);
}
static int on_function(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	/* Only the name is read, for the message: a FunctionProto's body is never looked at. */
	struct wire w = { m->file, f->data, f->data + f->len };
	struct wire_field g;
	struct fn_name fn = { { NULL, 0 } };
	int rc;
	(void)ctx;
	while ((rc = wire_next(&w, &g, e)) > 0)
		if (g.num == 1 && g.type == WIRE_BYTES && (rc = on_fn_name(m, &fn, &g, e)))
			return rc;
	if (rc)
		return rc;
	onnx_unsupported(m, ERR_UNSUPPORTED, "function", f->off,
	                 "the model defines its own function \"%s\": model-local functions are refused",
	                 onnx_show(fn.name).s);
	return ERR_OK;
}

static const struct onnx_rule model_rules[] = {
	{ 1, WIRE_VARINT, true, false, "ModelProto.ir_version", on_ir },
	{ 2, WIRE_BYTES, true, false, "ModelProto.producer_name", on_producer },
	{ 3, WIRE_BYTES, true, false, "ModelProto.producer_version", on_producer_version },
	{ 4, WIRE_BYTES, true, false, "ModelProto.domain", NULL },
	{ 5, WIRE_VARINT, true, false, "ModelProto.model_version", NULL },
	{ 6, WIRE_BYTES, true, false, "ModelProto.doc_string", NULL },
	{ 7, WIRE_BYTES, true, false, "ModelProto.graph", on_graph },
	{ 8, WIRE_BYTES, false, false, "ModelProto.opset_import", on_count_domain },
	{ 14, WIRE_BYTES, false, false, "ModelProto.metadata_props", on_count_metadata },
	{ 20, WIRE_BYTES, false, false, "ModelProto.training_info", on_training },
	{ 25, WIRE_BYTES, false, false, "ModelProto.functions", on_function },
};

/* --- opsets and metadata ---------------------------------------------------------------------- */

static int on_domain_name(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return onnx_name(m, &((struct onnx_domain *)ctx)->name, f, e);
}
static int on_domain_version(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)e;
	((struct onnx_domain *)ctx)->version = (int64_t)f->value;
	return ERR_OK;
}
static const struct onnx_rule domain_rules[] = {
	{ 1, WIRE_BYTES, true, false, "OperatorSetIdProto.domain", on_domain_name },
	{ 2, WIRE_VARINT, true, false, "OperatorSetIdProto.version", on_domain_version },
};

static bool domain_is_standard(struct onnx_str s)
{
	return s.len == 0 || onnx_str_is(s, "ai.onnx");
}

static int domain_check(struct onnx_model *m, const struct onnx_domain *d, size_t off, struct err *e)
{
	for (const struct onnx_domain *o = m->domains; o < d; o++)
		if ((o->name.len == d->name.len && !memcmp(o->name.p, d->name.p, d->name.len)) ||
		    (domain_is_standard(o->name) && domain_is_standard(d->name)))
			return err_set(e, ERR_MODEL, "opset_import at byte %zu names the domain \"%s\" twice", off,
			               onnx_show(d->name).s);
	if (d->version <= 0)
		return err_set(e, ERR_MODEL, "opset_import at byte %zu: version %lld of \"%s\" does not exist",
		               off, (long long)d->version, onnx_show(d->name).s);
	if (domain_is_standard(d->name))
		m->opset = d->version;
	return ERR_OK;
}

static int on_domain(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct onnx_domain *d = &m->domains[m->n_domains];
	int rc;
	(void)ctx;
	*d = (struct onnx_domain){ .name = { m->file, 0 } };
	if ((rc = ONNX_WALK(m, f->data, f->data + f->len, domain_rules, d, e)) ||
	    (rc = domain_check(m, d, f->off, e)))
		return rc;
	m->n_domains++;
	return ERR_OK;
}

static int on_key(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return onnx_name(m, &((struct onnx_pair *)ctx)->key, f, e);
}
static int on_value(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)e;
	((struct onnx_pair *)ctx)->value = (struct onnx_str){ m->file + f->data, f->len };
	return ERR_OK;
}
static const struct onnx_rule pair_rules[] = {
	{ 1, WIRE_BYTES, true, false, "StringStringEntryProto.key", on_key },
	{ 2, WIRE_BYTES, true, false, "StringStringEntryProto.value", on_value },
};

static int on_metadata(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct onnx_pair *p = &m->metadata[m->n_metadata];
	int rc;
	(void)ctx;
	*p = (struct onnx_pair){ { m->file, 0 }, { m->file, 0 } };
	if ((rc = ONNX_WALK(m, f->data, f->data + f->len, pair_rules, p, e)))
		return rc;
	for (const struct onnx_pair *o = m->metadata; o < p; o++)
		if (o->key.len == p->key.len && !memcmp(o->key.p, p->key.p, p->key.len))
			return err_set(e, ERR_MODEL, "metadata key \"%s\" at byte %zu comes twice",
			               onnx_show(p->key).s, f->off);
	m->n_metadata++;
	return ERR_OK;
}

/* The second walk over the same fields: everything was checked by the first one. */
static const struct onnx_rule model_rules_2[] = {
	{ 1, WIRE_VARINT, true, false, "", NULL },  { 2, WIRE_BYTES, true, false, "", NULL },
	{ 3, WIRE_BYTES, true, false, "", NULL },   { 4, WIRE_BYTES, true, false, "", NULL },
	{ 5, WIRE_VARINT, true, false, "", NULL },  { 6, WIRE_BYTES, true, false, "", NULL },
	{ 7, WIRE_BYTES, true, false, "", NULL },   { 8, WIRE_BYTES, false, false, "", on_domain },
	{ 14, WIRE_BYTES, false, false, "", on_metadata },
	{ 20, WIRE_BYTES, false, false, "", NULL }, { 25, WIRE_BYTES, false, false, "", NULL },
};

static int top_check(struct onnx_model *m, const struct top *t, struct err *e)
{
	if (!t->has_graph)
		return err_set(e, ERR_MODEL, "this is not an ONNX model: no graph in %zu bytes", m->n_bytes);
	if (!t->has_ir || m->ir_version <= 0)
		return err_set(e, ERR_MODEL, "ModelProto.ir_version is %lld: there is no such version",
		               (long long)m->ir_version);
	if (t->n_domains == 0)
		return err_set(e, ERR_MODEL, "the model imports no operator set");
	if (t->n_domains > LIMIT_ONNX_DOMAINS || t->n_metadata > LIMIT_ONNX_METADATA)
		return err_set(e, ERR_LIMIT, "%u opset imports and %u metadata entries; at most %d and %d", t->n_domains,
		               t->n_metadata, LIMIT_ONNX_DOMAINS, LIMIT_ONNX_METADATA);
	return ERR_OK;
}

static void versions_check(struct onnx_model *m)
{
	if (m->ir_version > ONNX_IR_MAX)
		onnx_unsupported(m, ERR_UNSUPPORTED, "ir-version", 0, "IR version %lld; known up to %d",
		                 (long long)m->ir_version, ONNX_IR_MAX);
	if (m->opset && (m->opset < ONNX_OPSET_MIN || m->opset > ONNX_OPSET_MAX))
		onnx_unsupported(m, ERR_UNSUPPORTED, "opset", 0, "operator set %lld; %d to %d are implemented",
		                 (long long)m->opset, ONNX_OPSET_MIN, ONNX_OPSET_MAX);
}

static int model_read(struct onnx_model *m, struct err *e)
{
	struct top t = { 0, 0, false, false, 0, 0 };
	int rc;
	uint32_t unknown;
	if ((rc = ONNX_WALK(m, 0, m->n_bytes, model_rules, &t, e)) || (rc = top_check(m, &t, e)))
		return rc;
	m->domains = arena_array(m->arena, t.n_domains, sizeof *m->domains);
	m->metadata = arena_array(m->arena, t.n_metadata, sizeof *m->metadata);
	if (!m->domains || !m->metadata)
		return onnx_no_room(m, "opsets and metadata", e);
	unknown = m->n_unknown;
	m->n_unknown = 0; /* the top level's unknown fields are met a second time: count them once */
	if ((rc = ONNX_WALK(m, 0, m->n_bytes, model_rules_2, &t, e)))
		return rc;
	if (m->n_unknown < unknown)
		m->n_unknown = unknown;
	versions_check(m);
	return onnx_read_graphs(m, t.graph_off, t.graph_end, e);
}

int onnx_load(struct arena *a, const uint8_t *file, size_t n, struct onnx_model **out, struct err *e)
{
	int rc;
	struct onnx_model *m = arena_zalloc(a, sizeof *m);
	if (!m)
		return err_set(e, ERR_LIMIT, "the arena of %zu bytes has no room for a model", a->cap_bytes);
	m->arena = a;
	m->file = file;
	m->n_bytes = n;
	m->facts = arena_array(a, ONNX_FACTS_MAX, sizeof *m->facts);
	m->op_count = arena_zalloc(a, op_table_rows() * sizeof *m->op_count);
	if (!m->facts || !m->op_count)
		return onnx_no_room(m, "facts", e);
	if ((rc = model_read(m, e)) || (rc = onnx_resolve(m, e)))
		return rc;
	onnx_mark_planned(m);
	onnx_report(m);
	*out = m;
	return ERR_OK;
}

/* The first fields of every ModelProto seen: ir_version as a small number, or another field of its
 * table. Stops after a few; the loader decides the rest. */
bool onnx_probe(const uint8_t *file, size_t n)
{
	struct wire w = { file, 0, n };
	struct wire_field f;
	for (int k = 0; k < 4; k++) {
		int rc = wire_next(&w, &f, NULL);
		if (rc <= 0)
			return k > 0 && rc == 0;
		size_t i = 0;
		while (i < sizeof model_rules / sizeof model_rules[0] && model_rules[i].num != f.num)
			i++;
		if (i == sizeof model_rules / sizeof model_rules[0] || model_rules[i].type != f.type)
			return false;
		if (f.num == 1 && f.value > 255)
			return false;
	}
	return true;
}
