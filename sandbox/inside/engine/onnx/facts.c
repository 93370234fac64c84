/* SPDX-License-Identifier: Apache-2.0
 *
 * What an inspection reports (reference hostile-models.md, section 8): facts found while the file was
 * read, and those that follow from the finished tables. Text from the file is escaped and cut.
 *
 * Side: inside. Trusts: nothing in a name. Owns: nothing (facts lie in the model's arena).
 */
#include "sandbox/inside/engine/onnx/model.h"
#include "sandbox/inside/engine/onnx/ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fact_put(struct onnx_model *m, const char *group, const char *code, int severity, uint64_t offset,
                     const char *fmt, va_list ap)
{
	if (m->n_facts == ONNX_FACTS_MAX) {
		m->n_facts_lost++;
		return;
	}
	struct engine_fact *f = &m->facts[m->n_facts++];
	*f = (struct engine_fact){ .group = group, .code = code, .severity = severity, .offset = offset };
	vsnprintf(f->text, sizeof f->text, fmt, ap);
}

void onnx_fact(struct onnx_model *m, const char *group, const char *code, int severity, uint64_t offset,
               const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fact_put(m, group, code, severity, offset, fmt, ap);
	va_end(ap);
}

void onnx_unsupported(struct onnx_model *m, int code, const char *fact, uint64_t offset, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fact_put(m, "asks", fact, 2, offset, fmt, ap);
	va_end(ap);
	if (m->verdict.code)
		return;
	m->verdict.code = code;
	va_start(ap, fmt);
	vsnprintf(m->verdict.text, sizeof m->verdict.text, fmt, ap);
	va_end(ap);
}

/* --- the report ------------------------------------------------------------------------------------- */

static void report_ports(struct onnx_model *m)
{
	for (uint32_t k = 0; k < m->n_inputs + m->n_outputs; k++) {
		bool in = k < m->n_inputs;
		const struct engine_port *p = in ? &m->inputs[k] : &m->outputs[k - m->n_inputs];
		struct onnx_str name = { (const uint8_t *)p->name, p->name_len };
		char shape[96] = "?";
		int n = 0;
		if (in && p->optional)
			continue;
		for (int i = 0; i < p->rank && n < 80; i++) {
			struct onnx_str d = { (const uint8_t *)p->dim_name[i], p->dim_name_len[i] };
			char sym[20];
			err_escape(sym, sizeof sym, d.p, d.len);
			if (p->dims[i] >= 0)
				n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%lld", i ? "," : "",
				              (long long)p->dims[i]);
			else
				n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%s", i ? "," : "",
				              d.len ? sym : "?");
		}
		if (p->rank == 0)
			shape[0] = 0;
		onnx_fact(m, "asks", in ? "input" : "output", 0, 0, "%s: %s[%s]", onnx_show(name).s,
		          dtype_name(p->dtype), shape);
	}
}

static void report_what(struct onnx_model *m)
{
	uint64_t bytes = 0, elems = 0, n = m->n_inits;
	for (const struct onnx_graph *g = m->main; g; g = g->next) {
		for (uint32_t i = 0; i < g->n_inits; i++) {
			bytes += g->inits[i].n_bytes;
			elems += g->inits[i].n_elems;
		}
		for (uint32_t i = 0; i < g->n_nodes; i++)
			for (uint32_t k = 0; k < g->nodes[i].n_attrs; k++) {
				const struct onnx_tensor *t = g->nodes[i].attrs[k].tensor;
				bytes += t ? t->n_bytes : 0;
				elems += t ? t->n_elems : 0;
				n += t != NULL;
			}
	}
	onnx_fact(m, "what", "format", 0, 0, "ONNX, IR version %lld, %zu bytes", (long long)m->ir_version,
	          m->n_bytes);
	for (uint32_t i = 0; i < m->n_domains && i < 32; i++)
		onnx_fact(m, m->domains[i].used ? "what" : "odd", m->domains[i].used ? "opset" : "unused-domain",
		          !m->domains[i].used, 0, "\"%s\" version %lld%s", onnx_show(m->domains[i].name).s,
		          (long long)m->domains[i].version, m->domains[i].used ? "" : " is imported and never used");
	if (m->producer.len)
		onnx_fact(m, "what", "producer", 0, 0, "claims to be made by %s %s", onnx_show(m->producer).s,
		          onnx_show(m->producer_version).s);
	onnx_fact(m, "what", "parameters", 0, 0, "%llu numbers in %llu constants, %llu bytes",
	          (unsigned long long)elems, (unsigned long long)n, (unsigned long long)bytes);
	onnx_fact(m, "what", "graphs", 0, 0, "%llu nodes in %u graphs, nested %u deep",
	          (unsigned long long)m->n_nodes, m->n_graphs, m->max_depth);
}

static void report_operators(struct onnx_model *m)
{
	for (size_t i = 0; i < op_table_rows(); i++)
		if (m->op_count[i])
			onnx_fact(m, "asks", "operator", 0, 0, "%s x %u", op_row(i)->name, m->op_count[i]);
}

static void report_carries(struct onnx_model *m)
{
	for (uint32_t i = 0; i < m->n_metadata && i < 64; i++)
		onnx_fact(m, "carries", "metadata", 0, (uint64_t)(m->metadata[i].key.p - m->file), "%s = %s",
		          onnx_show(m->metadata[i].key).s, onnx_show(m->metadata[i].value).s);
}

static bool name_is_odd(struct onnx_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < 0x20 || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\')
			return true;
	return s.len > 256 || memmem(s.p, s.len, "../", 3) != NULL;
}

static void report_odd(struct onnx_model *m)
{
	uint64_t unused = 0, odd_names = 0, first = 0, first_odd = 0;
	for (uint64_t i = 0; i < m->n_values; i++) {
		const struct onnx_value *v = &m->values[i];
		if (v->init && v->kind == V_INIT && v->n_uses == 0 && unused++ == 0)
			first = i;
		if (name_is_odd(v->name) && odd_names++ == 0)
			first_odd = i;
	}
	if (unused)
		onnx_fact(m, "odd", "unused-initializer", 1, m->values[first].off,
		          "%llu initializers are used by nothing, the first is \"%s\"", (unsigned long long)unused,
		          onnx_show(m->values[first].name).s);
	if (odd_names)
		onnx_fact(m, "odd", "odd-name", 1, m->values[first_odd].off,
		          "%llu names are long or hold odd bytes, the first is \"%s\"",
		          (unsigned long long)odd_names, onnx_show(m->values[first_odd].name).s);
	if (m->n_unknown > 1)
		onnx_fact(m, "odd", "unknown-fields", 1, 0, "%u unknown protobuf fields were skipped", m->n_unknown);
	if (m->n_nodes == 0)
		onnx_fact(m, "odd", "no-nodes", 1, 0, "the graph computes nothing");
	for (uint32_t i = 0; i < m->n_inputs; i++)
		if (!m->inputs[i].optional && m->values[m->main->inputs[i]].planned)
			onnx_fact(m, "odd", "deciding-input", 0, m->values[m->main->inputs[i]].off,
			          "the value of \"%s\" decides shapes or branches: another value plans anew",
			          onnx_show(m->values[m->main->inputs[i]].name).s);
	for (uint32_t i = 0; i < m->n_inputs; i++)
		if (!m->inputs[i].optional && m->values[m->main->inputs[i]].n_uses == 0)
			onnx_fact(m, "odd", "unused-input", 1, m->values[m->main->inputs[i]].off, "input \"%s\" is used by "
			          "nothing", onnx_show(m->values[m->main->inputs[i]].name).s);
}

void onnx_report(struct onnx_model *m)
{
	report_what(m);
	report_ports(m);
	report_operators(m);
	report_carries(m);
	report_odd(m);
	if (m->n_facts_lost && m->n_facts)
		snprintf(m->facts[m->n_facts - 1].text, sizeof m->facts[0].text, "%zu further facts are not kept",
		         m->n_facts_lost);
}
