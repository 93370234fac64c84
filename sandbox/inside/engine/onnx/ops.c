/* SPDX-License-Identifier: Apache-2.0
 *
 * The families' tables joined, and the checks of a node that need nothing but its row.
 *
 * Side: inside. Trusts: nothing in a node. Owns: the list of families.
 */
#include "sandbox/inside/engine/onnx/ops.h"

#include "proto/mem.h"

static const struct op_family *const families[] = {
	&ops_shape, &ops_move, &ops_unary, &ops_binary, &ops_reduce, &ops_matmul,
	&ops_conv,  &ops_pool, &ops_norm,  &ops_rnn,    &ops_resize, &ops_quant,
};
#define N_FAMILIES (sizeof families / sizeof families[0])

size_t op_table_rows(void)
{
	size_t n = 0;
	for (size_t i = 0; i < N_FAMILIES; i++)
		n += families[i]->n;
	return n;
}

const struct op *op_row(size_t i)
{
	for (size_t k = 0; k < N_FAMILIES; i -= families[k++]->n)
		if (i < families[k]->n)
			return &families[k]->ops[i];
	return NULL;
}

size_t op_index(const struct op *o)
{
	size_t base = 0;
	for (size_t k = 0; k < N_FAMILIES; base += families[k++]->n)
		if (o >= families[k]->ops && o < families[k]->ops + families[k]->n)
			return base + (size_t)(o - families[k]->ops);
	return 0;
}

const struct op *op_find(struct onnx_str name, int64_t opset, bool *known)
{
	*known = false;
	for (size_t k = 0; k < N_FAMILIES && name.len; k++)
		for (size_t i = 0; i < families[k]->n; i++) {
			const struct op *o = &families[k]->ops[i];
			if (o->name[0] != (char)name.p[0] || !onnx_str_is(name, o->name))
				continue;
			*known = true;
			if (opset >= o->since && opset <= o->until)
				return o;
		}
	return NULL;
}

/* --- attributes ------------------------------------------------------------------------------------ */

const struct onnx_attr *op_attr(const struct onnx_node *n, const char *name)
{
	for (uint32_t i = 0; n && i < n->n_attrs; i++)
		if (onnx_str_is(n->attrs[i].name, name))
			return &n->attrs[i];
	return NULL;
}

int64_t op_attr_int(const struct onnx_node *n, const char *name, int64_t dflt)
{
	const struct onnx_attr *a = op_attr(n, name);
	return a ? a->i : dflt;
}

float op_attr_float(const struct onnx_node *n, const char *name, float dflt)
{
	const struct onnx_attr *a = op_attr(n, name);
	return a ? a->f : dflt;
}

bool op_attr_str(const struct onnx_node *n, const char *name, const char *is, bool dflt)
{
	const struct onnx_attr *a = op_attr(n, name);
	return a ? onnx_str_is(a->s, is) : dflt;
}

/* --- the check ---------------------------------------------------------------------------------------- */

static struct onnx_domain *domain_of(struct onnx_model *m, struct onnx_str name)
{
	bool standard = name.len == 0 || onnx_str_is(name, "ai.onnx");
	for (uint32_t i = 0; i < m->n_domains; i++) {
		struct onnx_domain *d = &m->domains[i];
		bool d_standard = d->name.len == 0 || onnx_str_is(d->name, "ai.onnx");
		if (standard ? d_standard : d->name.len == name.len && !memcmp(d->name.p, name.p, name.len))
			return d;
	}
	return NULL;
}

static int check_count(const struct onnx_node *n, const char *what, uint32_t have, int min, int max,
                       struct err *e)
{
	if ((int64_t)have >= min && (max < 0 || (int64_t)have <= max))
		return ERR_OK;
	return err_set(e, ERR_MODEL, "%s \"%s\" at byte %zu has %u %s; %d to %d are possible",
	               onnx_show(n->op_type).s, onnx_show(n->name).s, n->off, have, what, min, max);
}

/* Required operands must be there; optional ones may be left out by an empty name. */
static int check_operands(const struct onnx_node *n, struct err *e)
{
	const struct op *o = n->op;
	int rc = check_count(n, "inputs", n->n_in, o->min_in, o->max_in, e);
	if (rc || (rc = check_count(n, "outputs", n->n_out, o->min_out, o->max_out, e)))
		return rc;
	for (uint32_t i = 0; i < n->n_in && (i < (uint32_t)o->min_in || o->max_in < 0); i++)
		if (n->in[i] == ONNX_NONE)
			return err_set(e, ERR_MODEL, "%s \"%s\" at byte %zu leaves out input %u, which it needs",
			               o->name, onnx_show(n->name).s, n->off, i);
	return ERR_OK;
}

static int check_attrs(struct onnx_model *m, const struct onnx_node *n, struct err *e)
{
	const struct op *o = n->op;
	for (uint32_t i = 0; i < n->n_attrs; i++) {
		const struct onnx_attr *a = &n->attrs[i];
		const struct op_attr *k = o->attrs;
		while (k && k->name && !onnx_str_is(a->name, k->name))
			k++;
		if (!k || !k->name)
			onnx_unsupported(m, ERR_UNSUPPORTED, "attribute", a->off,
			                 "%s at byte %zu has the attribute \"%s\", which is not implemented in operator "
			                 "set %lld", o->name, n->off, onnx_show(a->name).s, (long long)m->opset);
		else if (k->type != a->type)
			return err_set(e, ERR_MODEL, "%s at byte %zu: attribute \"%s\" has type %d instead of %d",
			               o->name, n->off, k->name, a->type, k->type);
	}
	return ERR_OK;
}

static int check_if(const struct onnx_model *m, const struct onnx_node *n, struct err *e)
{
	static const char *const names[] = { "then_branch", "else_branch" };
	for (uint32_t i = 0; i < m->n_inputs; i++)
		if (n->graph == m->main && m->main->inputs[i] == n->in[0] && m->inputs[i].dtype != DT_BOOL)
			return err_set(e, ERR_MODEL, "If \"%s\" at byte %zu: its condition is %s, not bool", onnx_show(n->name).s,
			               n->off, dtype_name(m->inputs[i].dtype));
	for (int i = 0; i < 2; i++) {
		const struct onnx_attr *a = op_attr(n, names[i]);
		if (!a)
			return err_set(e, ERR_MODEL, "If \"%s\" at byte %zu has no %s", onnx_show(n->name).s, n->off,
			               names[i]);
		if (a->graph->n_outputs != n->n_out)
			return err_set(e, ERR_MODEL, "If \"%s\" at byte %zu: %s has %u outputs, the node has %u",
			               onnx_show(n->name).s, n->off, names[i], a->graph->n_outputs, n->n_out);
	}
	return ERR_OK;
}

static void missing_op(struct onnx_model *m, const struct onnx_node *n, bool known)
{
	if (known)
		onnx_unsupported(m, ERR_UNSUPPORTED, "missing-operator", n->off,
		                 "operator %s of operator set %lld is not implemented (other sets are)",
		                 onnx_show(n->op_type).s, (long long)m->opset);
	else
		onnx_unsupported(m, ERR_UNSUPPORTED, "missing-operator", n->off,
		                 "operator %s%s%s at byte %zu is not implemented", onnx_show(n->domain).s,
		                 n->domain.len ? "." : "", onnx_show(n->op_type).s, n->off);
}

int op_check_node(struct onnx_model *m, struct onnx_node *n, struct err *e)
{
	struct onnx_domain *d = domain_of(m, n->domain);
	bool known = false;
	int rc;
	if (!d)
		return err_set(e, ERR_MODEL, "%s at byte %zu belongs to the domain \"%s\", which the model does not "
		               "import", onnx_show(n->op_type).s, n->off, onnx_show(n->domain).s);
	d->used = true;
	if (n->domain.len == 0 || onnx_str_is(n->domain, "ai.onnx"))
		n->op = op_find(n->op_type, m->opset, &known);
	if (!n->op) {
		missing_op(m, n, known);
		return ERR_OK;
	}
	m->op_count[op_index(n->op)]++;
	if ((rc = check_operands(n, e)) || (rc = check_attrs(m, n, e)))
		return rc;
	return n->op->flags & OP_IF ? check_if(m, n, e) : ERR_OK;
}
