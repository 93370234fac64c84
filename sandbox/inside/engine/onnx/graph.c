/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads GraphProto, NodeProto and AttributeProto into tables. Graphs inside attributes go into a queue:
 * nothing here recurses, and depth is a number with a limit.
 *
 * Side: inside. Trusts: nothing. Owns: nothing.
 *
 *   GraphProto      1 node  2 name  5 initializer  10 doc_string  11 input  12 output  13 value_info
 *                   14 quantization_annotation  15 sparse_initializer  16 metadata_props
 *   NodeProto       1 input  2 output  3 name  4 op_type  5 attribute  6 doc_string  7 domain
 *                   8 overload  9 metadata_props
 *   AttributeProto  1 name  2 f  3 i  4 s  5 t  6 g  7 floats  8 ints  9 strings  10 tensors
 *                   11 graphs  13 doc_string  14 tp  15 type_protos  20 type  21 ref_attr_name
 *                   22 sparse_tensor  23 sparse_tensors
 *
 * Each message is walked twice: once to count (so that every table is allocated at its size), once to
 * fill.
 */
#include "sandbox/inside/engine/onnx/wire.h"
#include "sandbox/inside/engine/onnx/model.h"

#include "proto/mem.h"

/* --- attributes ----------------------------------------------------------------------------------- */

struct attr_reading {
	struct onnx_attr *a;
	uint64_t type;
	uint32_t have;             /* bit per content field, 2 to 23 */
	size_t t_off, t_end, g_off, g_end;
	size_t n_floats, n_ints, n_strings;
	bool has_type;
};

static int on_attr_name(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return onnx_name(m, &((struct attr_reading *)ctx)->a->name, f, e);
}
static int on_attr_type(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct attr_reading *r = ctx;
	(void)m, (void)e;
	r->has_type = true;
	r->type = f->value;
	return ERR_OK;
}
static int on_attr_content(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct attr_reading *r = ctx;
	uint32_t bits = (uint32_t)f->value;
	(void)e;
	r->have |= 1u << f->num;
	if (f->num == 2)
		memcpy(&r->a->f, &bits, 4);
	else if (f->num == 3)
		r->a->i = (int64_t)f->value;
	else if (f->num == 4)
		r->a->s = (struct onnx_str){ m->file + f->data, f->len };
	else if (f->num == 5)
		r->t_off = f->data, r->t_end = f->data + f->len;
	else if (f->num == 6)
		r->g_off = f->data, r->g_end = f->data + f->len;
	return ERR_OK;
}
static int on_attr_floats(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct attr_reading *r = ctx;
	(void)m;
	r->have |= 1u << 7;
	if (f->type == WIRE_BYTES && f->len % 4)
		return err_set(e, ERR_MODEL, "packed floats at byte %zu end inside an element", f->off);
	r->n_floats += f->type == WIRE_BYTES ? f->len / 4 : 1;
	return ERR_OK;
}
static int on_attr_ints(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct attr_reading *r = ctx;
	struct wire w = { m->file, f->data, f->data + f->len };
	uint64_t v;
	int rc;
	r->have |= 1u << 8;
	if (f->type == WIRE_VARINT) {
		r->n_ints++;
		return ERR_OK;
	}
	for (; w.pos < w.end; r->n_ints++)
		if ((rc = wire_varint(&w, &v, e)))
			return rc;
	return ERR_OK;
}
static int on_attr_strings(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct attr_reading *r = ctx;
	(void)m, (void)f, (void)e;
	r->have |= 1u << 9;
	r->n_strings++;
	return ERR_OK;
}
/* Sparse tensors, lists of tensors or graphs, types and references: no operator here takes them. */
static int on_attr_refused(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	const char *what = f->num == 22 || f->num == 23 ? "a sparse tensor"
	                 : f->num == 21 ? "a reference to a function's attribute" : "a list of tensors, graphs or types";
	(void)m;
	return err_set(e, ERR_UNSUPPORTED, "attribute \"%s\" at byte %zu holds %s, which is refused",
	               onnx_show(((struct attr_reading *)ctx)->a->name).s, f->off, what);
}

static const struct onnx_rule attr_rules[] = {
	{ 1, WIRE_BYTES, true, false, "AttributeProto.name", on_attr_name },
	{ 2, WIRE_FIXED32, true, false, "AttributeProto.f", on_attr_content },
	{ 3, WIRE_VARINT, true, false, "AttributeProto.i", on_attr_content },
	{ 4, WIRE_BYTES, true, false, "AttributeProto.s", on_attr_content },
	{ 5, WIRE_BYTES, true, false, "AttributeProto.t", on_attr_content },
	{ 6, WIRE_BYTES, true, false, "AttributeProto.g", on_attr_content },
	{ 7, WIRE_FIXED32, false, true, "AttributeProto.floats", on_attr_floats },
	{ 8, WIRE_VARINT, false, true, "AttributeProto.ints", on_attr_ints },
	{ 9, WIRE_BYTES, false, false, "AttributeProto.strings", on_attr_strings },
	{ 10, WIRE_BYTES, false, false, "AttributeProto.tensors", on_attr_refused },
	{ 11, WIRE_BYTES, false, false, "AttributeProto.graphs", on_attr_refused },
	{ 13, WIRE_BYTES, true, false, "AttributeProto.doc_string", NULL },
	{ 14, WIRE_BYTES, true, false, "AttributeProto.tp", on_attr_refused },
	{ 15, WIRE_BYTES, false, false, "AttributeProto.type_protos", on_attr_refused },
	{ 20, WIRE_VARINT, true, false, "AttributeProto.type", on_attr_type },
	{ 21, WIRE_BYTES, true, false, "AttributeProto.ref_attr_name", on_attr_refused },
	{ 22, WIRE_BYTES, true, false, "AttributeProto.sparse_tensor", on_attr_refused },
	{ 23, WIRE_BYTES, false, false, "AttributeProto.sparse_tensors", on_attr_refused },
};

/* The field that carries each attribute type. */
static const uint8_t attr_field[] = { [AT_FLOAT] = 2, [AT_INT] = 3,  [AT_STRING] = 4, [AT_TENSOR] = 5,
	                              [AT_GRAPH] = 6, [AT_FLOATS] = 7, [AT_INTS] = 8, [AT_STRINGS] = 9 };

/* Type and content must agree; without a type (files before IR 2) the one content decides. An empty
 * list or a zero number may have no content at all. */
static int attr_type(struct attr_reading *r, struct err *e)
{
	struct onnx_attr *a = r->a;
	if (!r->has_type)
		for (uint64_t t = AT_FLOAT; t <= AT_STRINGS; t++)
			if (r->have == 1u << attr_field[t])
				r->type = t;
	if (r->type < AT_FLOAT || r->type > AT_STRINGS)
		return err_set(e, ERR_UNSUPPORTED, "attribute \"%s\" at byte %zu has the type %llu",
		               onnx_show(a->name).s, a->off, (unsigned long long)r->type);
	a->type = (int)r->type;
	if (r->have & ~(1u << attr_field[a->type]))
		return err_set(e, ERR_MODEL, "attribute \"%s\" at byte %zu: its type (%d) and its content disagree",
		               onnx_show(a->name).s, a->off, a->type);
	if ((a->type == AT_TENSOR || a->type == AT_GRAPH) && !r->have)
		return err_set(e, ERR_MODEL, "attribute \"%s\" at byte %zu is empty", onnx_show(a->name).s, a->off);
	return ERR_OK;
}

/* Fills the lists; their wire was checked while counting. */
static int attr_lists(struct onnx_model *m, struct onnx_attr *a, size_t off, size_t end, struct err *e)
{
	struct wire w = { m->file, off, end };
	struct wire_field f;
	size_t k = 0;
	int rc;
	while ((rc = wire_next(&w, &f, e)) > 0) {
		struct wire in = { m->file, f.data, f.data + f.len };
		if (a->type == AT_STRINGS && f.num == 9)
			a->strings[k++] = (struct onnx_str){ m->file + f.data, f.len };
		if (a->type == AT_FLOATS && f.num == 7 && f.type == WIRE_BYTES && f.len) {
			memcpy(a->floats + k, m->file + f.data, f.len);
			k += f.len / 4;
		} else if (a->type == AT_FLOATS && f.num == 7 && f.type == WIRE_FIXED32) {
			uint32_t bits = (uint32_t)f.value;
			memcpy(a->floats + k++, &bits, 4);
		} else if (a->type == AT_INTS && f.num == 8 && f.type == WIRE_VARINT) {
			a->ints[k++] = (int64_t)f.value;
		} else if (a->type == AT_INTS && f.num == 8) {
			for (uint64_t v; in.pos < in.end; a->ints[k++] = (int64_t)v)
				if ((rc = wire_varint(&in, &v, e)))
					return rc;
		}
	}
	return rc;
}

/* A graph found in an attribute: put into the queue. */
static struct onnx_graph *graph_new(struct onnx_model *m, struct onnx_graph *parent, size_t off, size_t end)
{
	struct onnx_graph *g = arena_zalloc(m->arena, sizeof *g);
	if (!g)
		return NULL;
	g->parent = parent;
	g->depth = parent ? parent->depth + 1 : 0;
	g->off = off;
	g->end = end;
	g->id = m->n_graphs++;
	g->name.p = m->file;
	if (g->depth > m->max_depth)
		m->max_depth = g->depth;
	if (m->last)
		m->last->next = g;
	else
		m->main = g;
	m->last = g;
	return g;
}

static int attr_finish(struct onnx_model *m, struct onnx_node *n, struct attr_reading *r, size_t end,
                       struct err *e)
{
	struct onnx_attr *a = r->a;
	a->n = a->type == AT_INTS ? r->n_ints : a->type == AT_FLOATS ? r->n_floats : r->n_strings;
	if (a->type == AT_INTS)
		a->ints = arena_array(m->arena, a->n, sizeof *a->ints);
	if (a->type == AT_FLOATS)
		a->floats = arena_array(m->arena, a->n, sizeof *a->floats);
	if (a->type == AT_STRINGS)
		a->strings = arena_array(m->arena, a->n, sizeof *a->strings);
	if (a->type >= AT_FLOATS)
		return a->ints || a->floats || a->strings ? attr_lists(m, a, a->off, end, e)
		                                          : onnx_no_room(m, "an attribute's list", e);
	if (a->type == AT_TENSOR) {
		a->tensor = arena_alloc(m->arena, sizeof *a->tensor);
		return a->tensor ? onnx_read_tensor(m, r->t_off, r->t_end, a->tensor, e)
		                 : onnx_no_room(m, "a tensor", e);
	}
	if (a->type != AT_GRAPH)
		return ERR_OK;
	if (n->graph->depth + 1 > LIMIT_ONNX_IF_DEPTH)
		return err_set(e, ERR_LIMIT, "graphs are nested more than %d deep (byte %zu)", LIMIT_ONNX_IF_DEPTH,
		               r->g_off);
	a->graph = graph_new(m, n->graph, r->g_off, r->g_end);
	return a->graph ? ERR_OK : onnx_no_room(m, "a graph", e);
}

static int on_attr(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct onnx_node *n = ctx;
	struct onnx_attr *a = &n->attrs[n->n_attrs];
	struct attr_reading r = { .a = a };
	int rc;
	*a = (struct onnx_attr){ .off = f->data, .name = { m->file, 0 }, .s = { m->file, 0 } };
	if ((rc = ONNX_WALK(m, f->data, f->data + f->len, attr_rules, &r, e)) || (rc = attr_type(&r, e)))
		return rc;
	for (const struct onnx_attr *o = n->attrs; o < a; o++)
		if (o->name.len == a->name.len && !memcmp(o->name.p, a->name.p, a->name.len))
			return err_set(e, ERR_MODEL, "attribute \"%s\" at byte %zu comes twice", onnx_show(a->name).s,
			               a->off);
	n->n_attrs++;
	return attr_finish(m, n, &r, f->data + f->len, e);
}

/* --- nodes -------------------------------------------------------------------------------------------- */

static int on_node_ref(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct onnx_node *n = ctx;
	(void)m;
	if (f->len > LIMIT_ONNX_NAME_BYTES)
		return err_set(e, ERR_LIMIT, "a name at byte %zu has %zu bytes, at most %d are allowed", f->off,
		               f->len, LIMIT_ONNX_NAME_BYTES);
	*(f->num == 1 ? &n->n_in : &n->n_out) += 1;
	return ERR_OK;
}
static int on_node_text(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct onnx_node *n = ctx;
	struct onnx_str *dst = f->num == 3 ? &n->name : f->num == 4 ? &n->op_type : &n->domain;
	return onnx_name(m, dst, f, e);
}
static int on_count_attr(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m;
	if (++((struct onnx_node *)ctx)->n_attrs > LIMIT_ONNX_ATTRIBUTES)
		return err_set(e, ERR_LIMIT, "a node has more than %d attributes (byte %zu)", LIMIT_ONNX_ATTRIBUTES, f->off);
	return ERR_OK;
}
static int on_overload(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)ctx;
	return f->len == 0 ? ERR_OK : err_set(e, ERR_UNSUPPORTED, "a node at byte %zu names an overload of a "
	                                      "function: functions are refused", f->off);
}

static const struct onnx_rule node_rules[] = {
	{ 1, WIRE_BYTES, false, false, "NodeProto.input", on_node_ref },
	{ 2, WIRE_BYTES, false, false, "NodeProto.output", on_node_ref },
	{ 3, WIRE_BYTES, true, false, "NodeProto.name", on_node_text },
	{ 4, WIRE_BYTES, true, false, "NodeProto.op_type", on_node_text },
	{ 5, WIRE_BYTES, false, false, "NodeProto.attribute", on_count_attr },
	{ 6, WIRE_BYTES, true, false, "NodeProto.doc_string", NULL },
	{ 7, WIRE_BYTES, true, false, "NodeProto.domain", on_node_text },
	{ 8, WIRE_BYTES, true, false, "NodeProto.overload", on_overload },
	{ 9, WIRE_BYTES, false, false, "NodeProto.metadata_props", NULL },
};

/* Second walk over a node: only its attributes (field 5). */
static int node_attrs(struct onnx_model *m, struct onnx_node *n, struct err *e)
{
	struct wire w = { m->file, n->off, n->end };
	struct wire_field f;
	uint32_t count = n->n_attrs;
	int rc;
	n->n_attrs = 0;
	n->attrs = arena_array(m->arena, count, sizeof *n->attrs);
	n->in = arena_array(m->arena, n->n_in, sizeof *n->in);
	n->out = arena_array(m->arena, n->n_out, sizeof *n->out);
	if (!n->attrs || !n->in || !n->out)
		return onnx_no_room(m, "nodes", e);
	while ((rc = wire_next(&w, &f, e)) > 0)
		if (f.num == 5 && (rc = on_attr(m, n, &f, e)))
			return rc;
	return rc;
}

static int on_node(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct onnx_graph *g = ctx;
	struct onnx_node *n = &g->nodes[g->n_nodes++];
	int rc;
	*n = (struct onnx_node){ .off = f->data, .end = f->data + f->len, .graph = g,
		                 .name = { m->file, 0 }, .op_type = { m->file, 0 }, .domain = { m->file, 0 } };
	if ((rc = ONNX_WALK(m, n->off, n->end, node_rules, n, e)))
		return rc;
	if (n->op_type.len == 0)
		return err_set(e, ERR_MODEL, "a node at byte %zu names no operator", n->off);
	m->n_values += n->n_out;
	m->n_refs += n->n_in;
	return node_attrs(m, n, e);
}

/* --- graphs -------------------------------------------------------------------------------------------- */

struct graph_reading {
	struct onnx_graph *g;
	uint32_t n_nodes, n_inits, n_inputs, n_outputs;
};

static int on_count_node(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	((struct graph_reading *)ctx)->n_nodes++;
	if (++m->n_nodes > LIMIT_ONNX_NODES)
		return err_set(e, ERR_LIMIT, "more than %u nodes (byte %zu)", LIMIT_ONNX_NODES, f->off);
	return ERR_OK;
}
static int on_count_init(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	((struct graph_reading *)ctx)->n_inits++;
	if (++m->n_inits > LIMIT_ONNX_INITIALIZERS)
		return err_set(e, ERR_LIMIT, "more than %u initializers (byte %zu)", LIMIT_ONNX_INITIALIZERS, f->off);
	return ERR_OK;
}
static int on_count_port(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct graph_reading *r = ctx;
	uint32_t n = ++*(f->num == 11 ? &r->n_inputs : &r->n_outputs);
	(void)m;
	if (n > LIMIT_ONNX_INITIALIZERS)
		return err_set(e, ERR_LIMIT, "more than %u inputs or outputs (byte %zu)", LIMIT_ONNX_INITIALIZERS,
		               f->off);
	return ERR_OK;
}
static int on_graph_name(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return onnx_name(m, &((struct graph_reading *)ctx)->g->name, f, e);
}
static int on_sparse(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)ctx;
	return err_set(e, ERR_UNSUPPORTED, "a sparse initializer at byte %zu: sparse tensors are refused", f->off);
}

static const struct onnx_rule graph_rules[] = {
	{ 1, WIRE_BYTES, false, false, "GraphProto.node", on_count_node },
	{ 2, WIRE_BYTES, true, false, "GraphProto.name", on_graph_name },
	{ 5, WIRE_BYTES, false, false, "GraphProto.initializer", on_count_init },
	{ 10, WIRE_BYTES, true, false, "GraphProto.doc_string", NULL },
	{ 11, WIRE_BYTES, false, false, "GraphProto.input", on_count_port },
	{ 12, WIRE_BYTES, false, false, "GraphProto.output", on_count_port },
	{ 13, WIRE_BYTES, false, false, "GraphProto.value_info", NULL },
	{ 14, WIRE_BYTES, false, false, "GraphProto.quantization_annotation", NULL },
	{ 15, WIRE_BYTES, false, false, "GraphProto.sparse_initializer", on_sparse },
	{ 16, WIRE_BYTES, false, false, "GraphProto.metadata_props", NULL },
};

/* Second walk: initializers and nodes. Inputs and outputs are read with the names (resolve.c). */
static int graph_fill(struct onnx_model *m, struct onnx_graph *g, struct err *e)
{
	struct wire w = { m->file, g->off, g->end };
	struct wire_field f;
	int rc;
	while ((rc = wire_next(&w, &f, e)) > 0) {
		if (f.num == 5)
			rc = onnx_read_tensor(m, f.data, f.data + f.len, &g->inits[g->n_inits++], e);
		else
			rc = f.num == 1 ? on_node(m, g, &f, e) : ERR_OK;
		if (rc)
			return rc;
	}
	return rc;
}

static int graph_read(struct onnx_model *m, struct onnx_graph *g, struct err *e)
{
	struct graph_reading r = { .g = g };
	int rc = ONNX_WALK(m, g->off, g->end, graph_rules, &r, e);
	if (rc)
		return rc;
	g->nodes = arena_array(m->arena, r.n_nodes, sizeof *g->nodes);
	g->inits = arena_array(m->arena, r.n_inits, sizeof *g->inits);
	g->inputs = arena_array(m->arena, r.n_inputs, sizeof *g->inputs);
	g->outputs = arena_array(m->arena, r.n_outputs, sizeof *g->outputs);
	if (!g->nodes || !g->inits || !g->inputs || !g->outputs)
		return onnx_no_room(m, "a graph's nodes and initializers", e);
	m->n_values += (uint64_t)r.n_inits + r.n_inputs;
	g->n_inputs = r.n_inputs;
	g->n_outputs = r.n_outputs;
	return graph_fill(m, g, e);
}

int onnx_read_graphs(struct onnx_model *m, size_t off, size_t end, struct err *e)
{
	int rc;
	if (!graph_new(m, NULL, off, end))
		return onnx_no_room(m, "a graph", e);
	for (struct onnx_graph *g = m->main; g; g = g->next)
		if ((rc = graph_read(m, g, e)))
			return rc;
	if (m->main->n_outputs == 0)
		return err_set(e, ERR_MODEL, "the graph has no output");
	if (m->main->n_inputs > (uint64_t)m->main->n_inits + LIMIT_TENSORS)
		return err_set(e, ERR_LIMIT, "the graph asks for %u inputs, at most %d are allowed",
		               m->main->n_inputs - m->main->n_inits, LIMIT_TENSORS);
	if (m->main->n_outputs > LIMIT_TENSORS)
		return err_set(e, ERR_LIMIT, "the graph has %u outputs, at most %d are allowed", m->main->n_outputs,
		               LIMIT_TENSORS);
	return ERR_OK;
}
