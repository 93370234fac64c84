/* SPDX-License-Identifier: Apache-2.0
 *
 * Which values must be known before a call can be planned: the conditions of If and the operands that
 * decide shapes, and everything they are computed from. An input of the model among them makes the
 * plan depend on that input's value (Silero's sr): it is then a constant of the plan, and another value
 * plans anew.
 *
 * Side: inside. Trusts: resolved graphs. Owns: nothing.
 */
#include "sandbox/inside/engine/onnx/model.h"
#include "sandbox/inside/engine/onnx/ops.h"

static bool mark(struct onnx_model *m, uint32_t id)
{
	if (id == ONNX_NONE || m->values[id].planned)
		return false;
	m->values[id].planned = true;
	return true;
}

static bool mark_if(struct onnx_model *m, const struct onnx_node *n)
{
	bool changed = mark(m, n->in[0]);
	for (uint32_t a = 0; a < n->n_attrs; a++)
		for (uint32_t i = 0; n->attrs[a].type == AT_GRAPH && i < n->n_out; i++)
			if (n->out[i] != ONNX_NONE && m->values[n->out[i]].planned)
				changed |= mark(m, n->attrs[a].graph->outputs[i]);
	return changed;
}

/* One node, seen from its outputs back to its inputs. */
static bool mark_node(struct onnx_model *m, const struct onnx_node *n)
{
	bool changed = false, wanted = false;
	if (!n->op)
		return false;
	if (n->op->flags & OP_IF)
		return mark_if(m, n);
	for (uint32_t i = 0; i < n->n_out; i++)
		wanted |= n->out[i] != ONNX_NONE && m->values[n->out[i]].planned;
	for (uint32_t i = 0; i < n->n_in; i++)
		if ((wanted && !(n->op->flags & OP_SHAPE_ONLY)) || (i < 32 && (n->op->value_in & VALUE(i))))
			changed |= mark(m, n->in[i]);
	return changed;
}

/* Backwards over all graphs until nothing changes: each round settles one more level of If. */
void onnx_mark_planned(struct onnx_model *m)
{
	bool changed = true;
	for (int round = 0; changed && round < 2 * LIMIT_ONNX_IF_DEPTH + 2; round++) {
		changed = false;
		for (struct onnx_graph *g = m->main; g; g = g->next)
			for (uint32_t i = g->n_nodes; i-- > 0;)
				changed |= mark_node(m, &g->nodes[i]);
	}
	for (uint32_t i = 0; i < m->n_inputs; i++)
		m->keyed |= m->values[m->main->inputs[i]].planned && !m->inputs[i].optional;
}
