/* SPDX-License-Identifier: Apache-2.0
 *
 * Resolves names into value numbers, once, in the order of execution: a name is visible after its
 * definition, in its graph and in the graphs inside it. That order also proves that the graph has no
 * cycle and uses nothing before it exists.
 *
 * Side: inside. Trusts: nothing. Owns: nothing (tables in the model's arena).
 *
 *   ValueInfoProto   1 name  2 type  3 doc_string  4 metadata_props
 *   TypeProto        1 tensor_type  6 denotation; all others (sequence, map, sparse, optional): refused
 *   TypeProto.Tensor 1 elem_type  2 shape
 *   TensorShapeProto 1 dim (1 dim_value  2 dim_param  3 denotation)
 *
 * The hash of the names is keyed with the process's own random bytes and its probes are counted, so a
 * file cannot make the table slow.
 */
#include "sandbox/inside/engine/onnx/wire.h"
#include "sandbox/inside/engine/onnx/model.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/onnx/ops.h"

#include <sys/auxv.h>

/* --- the table of names ------------------------------------------------------------------------------ */

struct names {
	struct onnx_model *m;
	uint64_t key[2];
	uint32_t *slot; /* value number + 1 */
	size_t mask;
	uint64_t probes, probes_max;
};

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIP_ROUND(a, b, c, d)                                                                       \
	do {                                                                                        \
		a += b, c += d, b = ROTL(b, 13), d = ROTL(d, 16), b ^= a, d ^= c, a = ROTL(a, 32);  \
		c += b, a += d, b = ROTL(b, 17), d = ROTL(d, 21), b ^= c, d ^= a, c = ROTL(c, 32);  \
	} while (0)

/* SipHash-1-3 of a name, started with the number of its graph. */
static uint64_t name_hash(const struct names *t, uint32_t graph, struct onnx_str s)
{
	uint64_t a = t->key[0] ^ 0x736f6d6570736575u, b = t->key[1] ^ 0x646f72616e646f6du;
	uint64_t c = t->key[0] ^ 0x6c7967656e657261u, d = t->key[1] ^ 0x7465646279746573u, w;
	size_t i = 0;
	w = ((uint64_t)graph << 32) | (uint32_t)s.len;
	for (;;) {
		d ^= w;
		SIP_ROUND(a, b, c, d);
		a ^= w;
		if (i >= s.len)
			break;
		w = 0;
		memcpy(&w, s.p + i, s.len - i < 8 ? s.len - i : 8);
		i += 8;
	}
	c ^= 0xff;
	for (int k = 0; k < 3; k++)
		SIP_ROUND(a, b, c, d);
	return a ^ b ^ c ^ d;
}

static int names_init(struct names *t, struct onnx_model *m, struct err *e)
{
	uint64_t n = 16;
	const void *random = (const void *)getauxval(AT_RANDOM); /* 16 bytes the kernel made at exec */
	while (n < 2 * m->n_values)
		n *= 2;
	*t = (struct names){ .m = m, .mask = n - 1, .probes_max = 64 * (m->n_values + m->n_refs) * 17 + 4096 };
	if (random)
		memcpy(t->key, random, sizeof t->key);
	t->slot = arena_array(m->arena, n, sizeof *t->slot);
	if (!t->slot)
		return onnx_no_room(m, "the table of names", e);
	memset(t->slot, 0, n * sizeof *t->slot);
	return ERR_OK;
}

/* The slot of a name in one graph: taken by it, or the free one where it would go. */
static uint32_t *names_slot(struct names *t, const struct onnx_graph *g, struct onnx_str s)
{
	size_t i = name_hash(t, g->id, s) & t->mask;
	for (;; i = (i + 1) & t->mask) {
		t->probes++;
		if (!t->slot[i])
			return &t->slot[i];
		const struct onnx_value *v = &t->m->values[t->slot[i] - 1];
		if (v->graph == g && v->name.len == s.len && !memcmp(v->name.p, s.p, s.len))
			return &t->slot[i];
	}
}

/* The value a name means inside graph g: the innermost graph first. ONNX_NONE when there is none. */
static uint32_t names_find(struct names *t, const struct onnx_graph *g, struct onnx_str s)
{
	for (; g; g = g->parent) {
		uint32_t *slot = names_slot(t, g, s);
		if (*slot)
			return *slot - 1;
	}
	return ONNX_NONE;
}

/* --- defining ---------------------------------------------------------------------------------------- */

struct resolver {
	struct onnx_model *m;
	struct names t;
	uint32_t n_values;
};

static const char *const kind_names[] = { "an input", "an initializer", "a node's output" };

static int define(struct resolver *r, struct onnx_graph *g, struct onnx_str name, size_t off, uint8_t kind,
                  uint32_t *id, struct err *e)
{
	struct onnx_model *m = r->m;
	uint32_t old = names_find(&r->t, g, name);
	if (r->t.probes > r->t.probes_max)
		return err_set(e, ERR_LIMIT, "the names of this model take too long to look up");
	if (old != ONNX_NONE)
		return err_set(e, ERR_MODEL, "the name \"%s\" at byte %zu is already %s (byte %zu)",
		               onnx_show(name).s, off, kind_names[m->values[old].kind], m->values[old].off);
	*id = r->n_values++;
	m->values[*id] = (struct onnx_value){ .name = name, .off = off, .graph = g, .kind = kind };
	*names_slot(&r->t, g, name) = *id + 1;
	return ERR_OK;
}

/* --- ports ---------------------------------------------------------------------------------------------- */

struct port_reading {
	struct engine_port *p;
	bool typed, shaped, dims_seen;
	uint64_t dtype;
	bool other;
};

static int on_port_name(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct engine_port *p = ((struct port_reading *)ctx)->p;
	struct onnx_str s;
	int rc = onnx_name(m, &s, f, e);
	if (rc)
		return rc;
	p->name = (const char *)s.p;
	p->name_len = s.len;
	return ERR_OK;
}

struct dim_reading {
	struct engine_port *p;
	bool has_value;
	int64_t value;
	struct onnx_str param;
};
static int on_dim_value(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct dim_reading *d = ctx;
	(void)m, (void)e;
	d->has_value = true;
	d->value = (int64_t)f->value;
	return ERR_OK;
}
static int on_dim_param(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return onnx_name(m, &((struct dim_reading *)ctx)->param, f, e);
}
static const struct onnx_rule dim_rules[] = {
	{ 1, WIRE_VARINT, true, false, "Dimension.dim_value", on_dim_value },
	{ 2, WIRE_BYTES, true, false, "Dimension.dim_param", on_dim_param },
	{ 3, WIRE_BYTES, true, false, "Dimension.denotation", NULL },
};

static int on_dim(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct engine_port *p = ((struct port_reading *)ctx)->p;
	struct dim_reading d = { .p = p };
	int rc = ONNX_WALK(m, f->data, f->data + f->len, dim_rules, &d, e);
	if (rc)
		return rc;
	if (p->rank >= LIMIT_RANK)
		return err_set(e, ERR_LIMIT, "a shape at byte %zu has more than %d extents", f->off, LIMIT_RANK);
	if (d.has_value && (d.value < -1 || d.value > (int64_t)LIMIT_EXTENT))
		return err_set(e, ERR_MODEL, "a shape at byte %zu has the extent %lld", f->off, (long long)d.value);
	/* -1 stands in some files where no value belongs: dynamic. */
	p->dims[p->rank] = d.has_value && d.value >= 0 ? d.value : -1;
	p->dim_name[p->rank] = d.param.len ? (const char *)d.param.p : NULL;
	p->dim_name_len[p->rank] = d.param.len;
	p->rank++;
	return ERR_OK;
}
static const struct onnx_rule shape_rules[] = {
	{ 1, WIRE_BYTES, false, false, "TensorShapeProto.dim", on_dim },
};
static int on_elem_type(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)e;
	((struct port_reading *)ctx)->dtype = f->value;
	return ERR_OK;
}
static int on_shape(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	struct port_reading *r = ctx;
	r->shaped = true;
	r->p->rank = 0;
	return ONNX_WALK(m, f->data, f->data + f->len, shape_rules, r, e);
}
static const struct onnx_rule tensor_type_rules[] = {
	{ 1, WIRE_VARINT, true, false, "TypeProto.Tensor.elem_type", on_elem_type },
	{ 2, WIRE_BYTES, true, false, "TypeProto.Tensor.shape", on_shape },
};
static int on_tensor_type(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	((struct port_reading *)ctx)->typed = true;
	return ONNX_WALK(m, f->data, f->data + f->len, tensor_type_rules, ctx, e);
}
static int on_other_type(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	(void)m, (void)f, (void)e;
	((struct port_reading *)ctx)->other = true;
	return ERR_OK;
}
static const struct onnx_rule type_rules[] = {
	{ 1, WIRE_BYTES, true, false, "TypeProto.tensor_type", on_tensor_type },
	{ 4, WIRE_BYTES, true, false, "TypeProto.sequence_type", on_other_type },
	{ 5, WIRE_BYTES, true, false, "TypeProto.map_type", on_other_type },
	{ 6, WIRE_BYTES, true, false, "TypeProto.denotation", NULL },
	{ 7, WIRE_BYTES, true, false, "TypeProto.opaque_type", on_other_type },
	{ 8, WIRE_BYTES, true, false, "TypeProto.sparse_tensor_type", on_other_type },
	{ 9, WIRE_BYTES, true, false, "TypeProto.optional_type", on_other_type },
};
static int on_type(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e)
{
	return ONNX_WALK(m, f->data, f->data + f->len, type_rules, ctx, e);
}
static const struct onnx_rule value_info_rules[] = {
	{ 1, WIRE_BYTES, true, false, "ValueInfoProto.name", on_port_name },
	{ 2, WIRE_BYTES, true, false, "ValueInfoProto.type", on_type },
	{ 3, WIRE_BYTES, true, false, "ValueInfoProto.doc_string", NULL },
	{ 4, WIRE_BYTES, false, false, "ValueInfoProto.metadata_props", NULL },
};

int onnx_read_port(struct onnx_model *m, size_t off, size_t end, bool typed, struct engine_port *p,
                   struct err *e)
{
	struct port_reading r = { .p = p };
	struct onnx_str name;
	int rc;
	*p = (struct engine_port){ .rank = -1, .name = (const char *)m->file };
	if ((rc = ONNX_WALK(m, off, end, value_info_rules, &r, e)))
		return rc;
	name = (struct onnx_str){ (const uint8_t *)p->name, p->name_len };
	if (p->name_len == 0)
		return err_set(e, ERR_MODEL, "an input or output at byte %zu has no name", off);
	p->dtype = (int)(r.dtype < DT__MAX ? r.dtype : 0);
	if (!typed)
		return ERR_OK;
	if (r.other) {
		onnx_unsupported(m, ERR_UNSUPPORTED, "port-type", off, "\"%s\" is no tensor (a sequence, map, "
		                 "optional or sparse tensor): not implemented", onnx_show(name).s);
		return ERR_OK;
	}
	if (!r.typed || r.dtype == 0)
		return err_set(e, ERR_MODEL, "\"%s\" at byte %zu has no type", onnx_show(name).s, off);
	if (dtype_bytes(p->dtype) == 0)
		onnx_unsupported(m, ERR_UNSUPPORTED, "port-type", off, "\"%s\" has the element type %llu (%s): not "
		                 "implemented", onnx_show(name).s, (unsigned long long)r.dtype, dtype_name(p->dtype));
	return ERR_OK;
}

/* --- one graph ------------------------------------------------------------------------------------------ */

static int graph_ports(struct resolver *r, struct onnx_graph *g, struct err *e)
{
	struct onnx_model *m = r->m;
	struct wire w = { m->file, g->off, g->end };
	struct wire_field f;
	struct engine_port port, *p;
	uint32_t n = 0;
	int rc;
	if (g->parent && g->n_inputs)
		return err_set(e, ERR_UNSUPPORTED, "a graph inside a node takes inputs (byte %zu): only the "
		               "branches of If are implemented", g->off);
	while ((rc = wire_next(&w, &f, e)) > 0) {
		if (f.num != 11)
			continue;
		p = g->parent ? &port : &m->inputs[n];
		if ((rc = onnx_read_port(m, f.data, f.data + f.len, true, p, e)) ||
		    (rc = define(r, g, (struct onnx_str){ (const uint8_t *)p->name, p->name_len }, f.off, V_INPUT,
		                 &g->inputs[n], e)))
			return rc;
		n++;
	}
	return rc;
}

static int graph_inits(struct resolver *r, struct onnx_graph *g, struct err *e)
{
	struct onnx_model *m = r->m;
	uint32_t id;
	int rc;
	for (uint32_t i = 0; i < g->n_inits; i++) {
		struct onnx_tensor *t = &g->inits[i];
		if (t->name.len == 0)
			return err_set(e, ERR_MODEL, "an initializer at byte %zu has no name", t->off);
		uint32_t old = *names_slot(&r->t, g, t->name);
		struct onnx_value *v = old ? &m->values[old - 1] : NULL;
		if (v && v->kind == V_INPUT && !v->init) {
			v->init = t; /* an input that may be left out */
			continue;
		}
		if ((rc = define(r, g, t->name, t->off, V_INIT, &id, e)))
			return rc;
		m->values[id].init = t;
	}
	return ERR_OK;
}

/* The inputs of one node. */
static int node_inputs(struct resolver *r, struct onnx_node *n, struct err *e)
{
	struct wire w = { r->m->file, n->off, n->end };
	struct wire_field f;
	uint32_t k = 0;
	int rc;
	while ((rc = wire_next(&w, &f, e)) > 0) {
		struct onnx_str s = { r->m->file + f.data, f.len };
		if (f.num != 1)
			continue;
		uint32_t id = s.len ? names_find(&r->t, n->graph, s) : ONNX_NONE;
		if (s.len && id == ONNX_NONE)
			return err_set(e, ERR_MODEL, "%s at byte %zu takes \"%s\", which nothing before it makes",
			               onnx_show(n->op_type).s, n->off, onnx_show(s).s);
		if (r->t.probes > r->t.probes_max)
			return err_set(e, ERR_LIMIT, "the names of this model take too long to look up");
		if (id != ONNX_NONE)
			r->m->values[id].n_uses++;
		n->in[k++] = id;
	}
	return rc;
}

static int node_outputs(struct resolver *r, struct onnx_node *n, struct err *e)
{
	struct wire w = { r->m->file, n->off, n->end };
	struct wire_field f;
	uint32_t k = 0;
	int rc;
	while ((rc = wire_next(&w, &f, e)) > 0) {
		struct onnx_str s = { r->m->file + f.data, f.len };
		if (f.num != 2)
			continue;
		n->out[k] = ONNX_NONE;
		if (s.len) {
			if ((rc = define(r, n->graph, s, f.off, V_NODE, &n->out[k], e)))
				return rc;
			r->m->values[n->out[k]].node = n;
		}
		k++;
	}
	return rc;
}

static int graph_outputs(struct resolver *r, struct onnx_graph *g, struct err *e)
{
	struct onnx_model *m = r->m;
	struct wire w = { m->file, g->off, g->end };
	struct wire_field f;
	struct engine_port port, *p;
	uint32_t n = 0;
	int rc;
	while ((rc = wire_next(&w, &f, e)) > 0) {
		if (f.num != 12)
			continue;
		p = g->parent ? &port : &m->outputs[n];
		if ((rc = onnx_read_port(m, f.data, f.data + f.len, !g->parent, p, e)))
			return rc;
		struct onnx_str s = { (const uint8_t *)p->name, p->name_len };
		uint32_t id = names_find(&r->t, g, s);
		if (id == ONNX_NONE)
			return err_set(e, ERR_MODEL, "the output \"%s\" at byte %zu is made by nothing",
			               onnx_show(s).s, f.off);
		for (uint32_t i = 0; i < n; i++)
			if (!g->parent && g->outputs[i] == id)
				return err_set(e, ERR_MODEL, "the output \"%s\" at byte %zu comes twice", onnx_show(s).s,
				               f.off);
		m->values[id].n_uses++;
		g->outputs[n++] = id;
	}
	return rc;
}

/* --- the walk in the order of execution ----------------------------------------------------------------- */

/* Where the walk stands in one graph. attr: which graph attribute of the node comes next. */
struct frame {
	struct onnx_graph *g;
	uint32_t node, attr;
	bool begun;
};

static int frame_begin(struct resolver *r, struct frame *f, struct err *e)
{
	int rc;
	f->begun = true;
	f->g->first_value = r->n_values;
	if ((rc = graph_ports(r, f->g, e)) || (rc = graph_inits(r, f->g, e)))
		return rc;
	f->g->n_first = r->n_values - f->g->first_value;
	return ERR_OK;
}

/* One step: begins or ends a node, or hands out the next graph inside it (*inner). */
static int frame_step(struct resolver *r, struct frame *f, struct onnx_graph **inner, struct err *e)
{
	struct onnx_node *n = &f->g->nodes[f->node];
	int rc;
	if (f->attr == 0 && ((rc = node_inputs(r, n, e)) || (rc = op_check_node(r->m, n, e))))
		return rc;
	for (; f->attr < n->n_attrs; f->attr++)
		if (n->attrs[f->attr].type == AT_GRAPH) {
			*inner = n->attrs[f->attr++].graph;
			return ERR_OK;
		}
	if ((rc = node_outputs(r, n, e)))
		return rc;
	f->node++;
	f->attr = 0;
	return ERR_OK;
}

static int walk_graphs(struct resolver *r, struct err *e)
{
	struct frame stack[LIMIT_ONNX_IF_DEPTH + 2] = { { .g = r->m->main } };
	int depth = 0, rc;
	while (depth >= 0) {
		struct frame *f = &stack[depth];
		struct onnx_graph *inner = NULL;
		if (!f->begun && (rc = frame_begin(r, f, e)))
			return rc;
		if (f->node == f->g->n_nodes) {
			if ((rc = graph_outputs(r, f->g, e)))
				return rc;
			depth--;
			continue;
		}
		if ((rc = frame_step(r, f, &inner, e)))
			return rc;
		if (inner) /* depth was limited when the graph was found */
			stack[++depth] = (struct frame){ .g = inner };
	}
	return ERR_OK;
}

static int ports_finish(struct onnx_model *m, struct err *e)
{
	uint32_t required = 0;
	for (uint32_t i = 0; i < m->n_inputs; i++) {
		struct engine_port *p = &m->inputs[i];
		p->optional = m->values[m->main->inputs[i]].init != NULL;
		for (int k = 0; k < p->rank; k++)
			if (p->dims[k] < 0 && !p->optional)
				m->dynamic = true;
		if (p->rank < 0 && !p->optional)
			m->dynamic = true;
		required += !p->optional;
	}
	if (required > LIMIT_TENSORS)
		return err_set(e, ERR_LIMIT, "the graph asks for %u inputs, at most %d are allowed", required,
		               LIMIT_TENSORS);
	return ERR_OK;
}

int onnx_resolve(struct onnx_model *m, struct err *e)
{
	struct resolver r = { .m = m };
	int rc;
	m->n_inputs = m->main->n_inputs;
	m->n_outputs = m->main->n_outputs;
	m->values = m->n_values < UINT32_MAX / 2 ? arena_array(m->arena, m->n_values, sizeof *m->values) : NULL;
	m->inputs = arena_array(m->arena, m->n_inputs, sizeof *m->inputs);
	m->outputs = arena_array(m->arena, m->n_outputs, sizeof *m->outputs);
	if (!m->values || !m->inputs || !m->outputs)
		return onnx_no_room(m, "values", e);
	if ((rc = names_init(&r.t, m, e)) || (rc = walk_graphs(&r, e)))
		return rc;
	m->n_values = r.n_values;
	return ports_finish(m, e);
}
