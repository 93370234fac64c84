/* SPDX-License-Identifier: Apache-2.0
 *
 * First pass of planning: walks the graph in the order of execution with the call's shapes, gives every
 * value its shape, computes what constants alone decide, and takes the branch of each If. What is left
 * is a flat list of steps.
 *
 * Side: inside. Trusts: resolved graphs. Owns: nothing (the plan's memory).
 */
#include "sandbox/inside/engine/onnx/session.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/poison.h"

#include <stdarg.h>
#include <stdio.h>

#define DRY_FOLD_BYTES 65536

/* --- errors ------------------------------------------------------------------------------------------ */

static void describe(struct err *e, const struct step *s, const char *fmt, va_list ap)
{
	int n = 0;
	if (s && s->node)
		n = snprintf(e->text, sizeof e->text, "%s \"%s\" (byte %zu): ", s->op ? s->op->name : "node",
		             onnx_show(s->node->name).s, s->node->off);
	if (n >= 0 && (size_t)n < sizeof e->text)
		vsnprintf(e->text + n, sizeof e->text - (size_t)n, fmt, ap);
}

int plan_fail(struct plan *p, const struct step *s, int code, const char *fmt, ...)
{
	va_list ap;
	if (p->e) {
		va_start(ap, fmt);
		describe(p->e, s, fmt, ap);
		va_end(ap);
		p->e->code = code;
	}
	return code;
}

int plan_fail_shape(struct plan *p, const struct step *s, const char *fmt, ...)
{
	int code = p->m->dynamic ? ERR_INPUT : ERR_MODEL;
	va_list ap;
	if (p->e) {
		va_start(ap, fmt);
		describe(p->e, s, fmt, ap);
		va_end(ap);
		p->e->code = code;
	}
	return code;
}

int run_fail(struct run *r, const struct step *s, int code, const char *fmt, ...)
{
	va_list ap;
	if (r->e) {
		va_start(ap, fmt);
		describe(r->e, s, fmt, ap);
		va_end(ap);
		r->e->code = code;
	}
	return code;
}

/* --- memory --------------------------------------------------------------------------------------------- */

static void *plan_full(struct plan *p, struct ck want)
{
	size_t room = p->top - p->s->a->used_bytes;
	if (want.bad)
		plan_fail(p, NULL, ERR_LIMIT, "the plan asks for more than 2^64 bytes; the arena has %zu",
		          p->s->a->cap_bytes);
	else
		plan_fail(p, NULL, ERR_LIMIT, "the plan asks for %llu bytes more, %zu of the arena's %zu are left: "
		          "use smaller inputs or a larger arena", (unsigned long long)want.v, room,
		          p->s->a->cap_bytes);
	return NULL;
}

void *plan_alloc(struct plan *p, uint64_t n, uint64_t size)
{
	struct ck exact = ck_mul(ck_u64(n), ck_u64(size)), want = ck_align(ck_add(exact, ck_u64(POISON_GAP)), 64);
	uint64_t bytes;
	if (!ck_get(want, p->top - p->s->a->used_bytes, &bytes))
		return plan_full(p, want);
	p->top -= bytes;
	if (p->top < p->s->lowest_top)
		p->s->lowest_top = p->top;
	void *mem = p->s->a->base + p->top;
	poison(mem, bytes);
	unpoison(mem, exact.v);
	memset(mem, 0, exact.v);
	return mem;
}

void *plan_keep(struct plan *p, uint64_t bytes)
{
	struct ck want = ck_align(ck_add(ck_u64(bytes), ck_u64(POISON_GAP)), 64);
	uint64_t n;
	if (!ck_get(want, p->top - p->s->a->used_bytes, &n))
		return plan_full(p, want);
	return arena_alloc(p->s->a, bytes);
}

size_t plan_mark(struct plan *p) { return p->top; }
void plan_release(struct plan *p, size_t mark)
{
	poison(p->s->a->base + p->top, mark - p->top);
	p->top = mark;
}

/* --- tensors and steps ------------------------------------------------------------------------------------ */

struct tensor *plan_tensor(struct plan *p)
{
	struct tensor *t = plan_alloc(p, 1, sizeof *t);
	if (t)
		t->value = ONNX_NONE;
	return t;
}

int plan_shape(struct plan *p, const struct step *s, struct tensor *t, int dtype, int rank,
               const int64_t *dims)
{
	struct ck n = ck_u64(1);
	bool zero = false;
	if (rank < 0 || rank > LIMIT_RANK)
		return plan_fail(p, s, ERR_LIMIT, "a rank of %d; at most %d", rank, LIMIT_RANK);
	for (int i = 0; i < rank; i++) {
		if (dims[i] < 0)
			return plan_fail_shape(p, s, "extent %d would be %lld", i, (long long)dims[i]);
		if ((uint64_t)dims[i] > LIMIT_EXTENT)
			return plan_fail(p, s, ERR_LIMIT, "extent %d would be %lld; at most 2^40", i, (long long)dims[i]);
		zero = zero || dims[i] == 0;
		n = ck_mul(n, ck_i64(dims[i]));
		t->dims[i] = dims[i];
	}
	if (zero)
		n = ck_u64(0);
	t->rank = (int8_t)rank;
	t->dtype = (uint8_t)dtype;
	/* 2^48 bytes: more than any arena, and all later sums of offsets fit a signed number. */
	if (!ck_get(n, (uint64_t)1 << 48, &t->n) ||
	    !ck_get(ck_mul(n, ck_u64(dtype_bytes(dtype))), (uint64_t)1 << 48, &t->bytes))
		return plan_fail(p, s, ERR_LIMIT, "a tensor of more than 2^48 elements or bytes; the arena has %zu bytes",
		                 p->s->a->cap_bytes);
	return ERR_OK;
}

int plan_out(struct plan *p, struct step *s, uint32_t i, int dtype, int rank, const int64_t *dims)
{
	struct tensor *t = step_out(s, i);
	if (!t)
		return ERR_OK;
	t->kind = K_RUN;
	return plan_shape(p, s, t, dtype, rank, dims);
}

struct step *plan_step(struct plan *p, const struct op *op, const struct onnx_node *n, uint32_t n_in,
                       uint32_t n_out)
{
	struct step *s = plan_alloc(p, 1, sizeof *s + ((uint64_t)n_in + n_out) * sizeof(struct tensor *));
	if (!s)
		return NULL;
	s->op = op;
	s->node = n;
	s->run = op ? op->run : NULL;
	s->n_in = n_in;
	s->n_out = n_out;
	s->in = (struct tensor **)(s + 1);
	s->out = s->in + n_in;
	return s;
}

/* --- constants -------------------------------------------------------------------------------------------- */

/* A payload in the file that is aligned already is used where it lies. */
static void *payload_in_place(const struct onnx_model *m, const struct onnx_tensor *t)
{
	const uint8_t *at = m->file + t->raw_off;
	if (t->field != 9 || (uintptr_t)at % dtype_bytes(t->dtype))
		return NULL;
	return (void *)(uintptr_t)at; /* constants are never written */
}

static void *payload_read(struct plan *p, struct tensor *t)
{
	struct session *s = p->s;
	void **slot = t->value != ONNX_NONE && s->payload ? &s->payload[t->value] : NULL;
	void *mem;
	if (slot && *slot)
		return t->data = *slot;
	if (t->n == 0 || (mem = payload_in_place(p->m, t->init)) == NULL) {
		mem = p->dry ? plan_alloc(p, 1, t->bytes + 1) : plan_keep(p, t->bytes + 1);
		if (!mem)
			return NULL;
		onnx_tensor_read(p->m, t->init, mem);
	}
	if (slot)
		*slot = mem;
	return t->data = mem;
}

static void splat_expand(void *dst, const void *one, uint64_t n, size_t size)
{
	for (uint64_t i = 0; i < n; i++)
		memcpy((uint8_t *)dst + i * size, one, size);
}

void *plan_data(struct plan *p, struct tensor *t)
{
	void *mem;
	if (!t->data && t->init)
		return payload_read(p, t);
	if (!t->splat)
		return t->data;
	mem = plan_alloc(p, t->n ? t->n : 1, dtype_bytes(t->dtype));
	if (!mem)
		return NULL;
	splat_expand(mem, t->data, t->n, dtype_bytes(t->dtype));
	t->splat = false;
	return t->data = mem;
}

int64_t const_int(const struct tensor *t, uint64_t i)
{
	return t->dtype == DT_I64 ? ((const int64_t *)t->data)[i] : ((const int32_t *)t->data)[i];
}

int plan_ints(struct plan *p, const struct step *s, uint32_t i, int64_t *out, size_t max, size_t *n)
{
	struct tensor *t = step_in(s, i);
	if (!t || t->kind != K_CONST)
		return plan_fail(p, s, ERR_UNSUPPORTED, "input %u decides a shape and is only known while running", i);
	if (t->dtype != DT_I64 && t->dtype != DT_I32)
		return plan_fail(p, s, ERR_MODEL, "input %u is %s, not an integer", i, dtype_name(t->dtype));
	if (t->rank > 1 || t->n > max)
		return plan_fail(p, s, ERR_MODEL, "input %u has rank %d and %llu numbers; at most rank 1 and %zu", i,
		                 t->rank, (unsigned long long)t->n, max);
	if (!plan_data(p, t))
		return p->e ? p->e->code : ERR_LIMIT;
	for (uint64_t k = 0; k < t->n; k++)
		out[k] = const_int(t, k);
	*n = (size_t)t->n;
	return ERR_OK;
}

bool const_scalar(struct plan *p, struct tensor *t, float *out)
{
	if (!t || t->kind != K_CONST || t->dtype != DT_F32 || t->n != 1 || !plan_data(p, t))
		return false;
	*out = *(const float *)t->data;
	return true;
}

bool axis_fix(int64_t *axis, int64_t rank)
{
	if (*axis < -rank || *axis >= rank)
		return false;
	*axis += *axis < 0 ? rank : 0;
	return true;
}

int plan_axes(struct plan *p, const struct step *s, uint32_t i, int64_t rank, uint32_t none, uint32_t *mask)
{
	const struct onnx_attr *a = op_attr(s->node, "axes");
	int64_t list[LIMIT_RANK];
	size_t n = 0;
	int rc;
	if (a && a->n > LIMIT_RANK)
		return plan_fail(p, s, ERR_MODEL, "%zu axes", a->n);
	if (a) {
		memcpy(list, a->ints, a->n * sizeof *list);
		n = a->n;
	} else if (step_in(s, i) && (rc = plan_ints(p, s, i, list, LIMIT_RANK, &n))) {
		return rc;
	}
	*mask = 0;
	for (size_t k = 0; k < n; k++) {
		if (!axis_fix(&list[k], rank))
			return plan_fail_shape(p, s, "axis %lld is outside a rank of %lld", (long long)list[k],
			                       (long long)rank);
		if (*mask & (1u << list[k]))
			return plan_fail(p, s, ERR_MODEL, "axis %lld comes twice", (long long)list[k]);
		*mask |= 1u << list[k];
	}
	if (n == 0)
		*mask = none;
	return ERR_OK;
}

/* --- folding -------------------------------------------------------------------------------------------- */

/* Runs a step whose inputs are all known; its outputs become constants. */
int plan_fold(struct plan *p, struct step *s)
{
	struct run r = { .k = p->s->k, .n_threads = 1, .e = p->e, .plan = p };
	bool from_file = true;
	int rc;
	for (uint32_t i = 0; i < s->n_in; i++)
		if (s->in[i]) {
			if (!plan_data(p, s->in[i]))
				return ERR_LIMIT;
			from_file = from_file && s->in[i]->from_file;
		}
	for (uint32_t i = 0; i < s->n_out; i++) {
		struct tensor *t = s->out[i];
		if (!t)
			continue;
		p->work += t->n + 16;
		if (p->work > LIMIT_ONNX_FOLD_ELEMENTS)
			return plan_fail(p, s, ERR_LIMIT, "more than 2^32 elements computed while planning");
		t->data = plan_alloc(p, 1, t->bytes + 1);
		if (!t->data)
			return ERR_LIMIT;
		t->kind = K_CONST;
		t->from_file = from_file;
	}
	r.scratch = plan_alloc(p, 1, s->scratch + 1);
	r.shared = plan_alloc(p, 1, s->shared + 1);
	r.scratch_each = s->scratch;
	if (!r.scratch || !r.shared)
		return ERR_LIMIT;
	if ((rc = s->run(&r, s)))
		return rc;
	return ERR_OK;
}

static bool foldable(const struct plan *p, const struct step *s)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < s->n_in; i++)
		if (s->in[i] && s->in[i]->kind != K_CONST)
			return false;
	for (uint32_t i = 0; i < s->n_out; i++)
		bytes += s->out[i] ? s->out[i]->bytes : 0;
	return !p->dry || bytes <= DRY_FOLD_BYTES;
}

/* --- nodes ------------------------------------------------------------------------------------------------ */

static int values_known(struct plan *p, const struct step *s)
{
	for (uint32_t i = 0; i < s->n_in && i < 32; i++)
		if (s->in[i] && (s->op->value_in & VALUE(i)) && s->in[i]->kind != K_CONST)
			return plan_fail(p, s, ERR_UNSUPPORTED,
			                 "input %u decides a shape and is only known while running", i);
	return ERR_OK;
}

/* A view of a constant is a constant; of a running value, a step without work. */
static void view_finish(struct step *s)
{
	struct tensor *in = s->in[0], *out = s->out[0];
	out->kind = in->kind;
	out->data = in->data;
	out->init = in->init;
	out->splat = in->splat;
	out->from_file = in->from_file;
	if (in->init && in->value != ONNX_NONE)
		out->value = in->value; /* one payload for both */
}

static int node_infer(struct plan *p, const struct onnx_node *n)
{
	struct step *s = plan_step(p, n->op, n, n->n_in, n->n_out);
	bool known = true;
	int rc;
	if (!s)
		return ERR_LIMIT;
	for (uint32_t i = 0; i < n->n_in; i++)
		s->in[i] = n->in[i] == ONNX_NONE ? NULL : p->of_value[n->in[i]];
	for (uint32_t i = 0; i < n->n_out; i++) {
		if (n->out[i] == ONNX_NONE)
			continue;
		if (!(s->out[i] = plan_tensor(p)))
			return ERR_LIMIT;
		s->out[i]->value = n->out[i];
		p->of_value[n->out[i]] = s->out[i];
	}
	if ((rc = values_known(p, s)) || (rc = n->op->infer(p, s)))
		return rc;
	if (n->op->flags & OP_VIEW && s->out[0])
		view_finish(s);
	else if (s->run && foldable(p, s))
		return plan_fold(p, s);
	for (uint32_t i = 0; i < s->n_out; i++) {
		known = known && (!s->out[i] || s->out[i]->kind == K_CONST);
		if (s->out[i])
			s->out[i]->def = s;
	}
	if (!known)
		p->steps[p->n_steps++] = s;
	return ERR_OK;
}

/* The branch an If takes in this call. */
static int branch_of(struct plan *p, const struct onnx_node *n, struct onnx_graph **out)
{
	struct step fake = { .op = n->op, .node = n };
	struct tensor *c = p->of_value[n->in[0]];
	if (c->kind != K_CONST)
		return plan_fail(p, &fake, ERR_UNSUPPORTED, "the branch depends on computed data, not on shapes or "
		                 "small integer inputs: not implemented");
	if (c->dtype != DT_BOOL || c->n != 1)
		return plan_fail(p, &fake, ERR_MODEL, "the condition is no single bool");
	if (!plan_data(p, c))
		return ERR_LIMIT;
	*out = op_attr(n, *(const uint8_t *)c->data ? "then_branch" : "else_branch")->graph;
	return ERR_OK;
}

struct frame {
	struct onnx_graph *g;
	uint32_t node;
	const struct onnx_node *owner; /* the If whose outputs this branch gives */
};

static int graph_consts(struct plan *p, const struct onnx_graph *g)
{
	for (uint32_t i = g->first_value; i < g->first_value + g->n_first; i++) {
		const struct onnx_value *v = &p->m->values[i];
		struct tensor *t;
		int rc;
		if (!v->init || p->of_value[i])
			continue;
		if (!(t = plan_tensor(p)))
			return ERR_LIMIT;
		p->of_value[i] = t;
		t->kind = K_CONST;
		t->init = v->init;
		t->value = i;
		t->from_file = true;
		if ((rc = plan_shape(p, NULL, t, v->init->dtype, v->init->rank, v->init->dims)))
			return rc;
	}
	return ERR_OK;
}

static int walk(struct plan *p)
{
	struct frame stack[LIMIT_ONNX_IF_DEPTH + 2] = { { .g = p->m->main } };
	int depth = 0, rc;
	if ((rc = graph_consts(p, p->m->main)))
		return rc;
	while (depth >= 0) {
		struct frame *f = &stack[depth];
		if (f->node == f->g->n_nodes) {
			for (uint32_t i = 0; f->owner && i < f->owner->n_out; i++)
				if (f->owner->out[i] != ONNX_NONE)
					p->of_value[f->owner->out[i]] = p->of_value[f->g->outputs[i]];
			depth--;
			continue;
		}
		const struct onnx_node *n = &f->g->nodes[f->node++];
		struct onnx_graph *g = NULL;
		if (!(n->op->flags & OP_IF)) {
			if ((rc = node_infer(p, n)))
				return rc;
			continue;
		}
		if ((rc = branch_of(p, n, &g)) || (rc = graph_consts(p, g)))
			return rc;
		stack[++depth] = (struct frame){ .g = g, .owner = n };
	}
	return ERR_OK;
}

/* --- inputs and outputs --------------------------------------------------------------------------------- */

static int input_tensor(struct plan *p, uint32_t i, const struct engine_tensor *given)
{
	uint32_t id = p->m->main->inputs[i];
	struct tensor *t;
	int rc;
	if (!given)
		return ERR_OK; /* its initializer is the value */
	if (!(t = plan_tensor(p)))
		return ERR_LIMIT;
	p->of_value[id] = t;
	p->inputs[i] = t;
	t->value = id;
	t->is_input = true;
	t->kind = K_RUN;
	if ((rc = plan_shape(p, NULL, t, given->dtype, given->rank, given->dims)))
		return rc;
	if (!p->m->values[id].planned)
		return ERR_OK;
	p->is_keyed = true;
	t->kind = K_CONST;
	t->value = ONNX_NONE;
	t->data = plan_alloc(p, 1, t->bytes + 1);
	if (!t->data)
		return ERR_LIMIT;
	if (given->data)
		memcpy(t->data, given->data, t->bytes);
	return ERR_OK;
}

static int output_tensors(struct plan *p)
{
	for (uint32_t i = 0; i < p->m->n_outputs; i++) {
		struct tensor *t = p->of_value[p->m->main->outputs[i]];
		const struct engine_port *port = &p->m->outputs[i];
		if (t->dtype != port->dtype)
			return plan_fail(p, NULL, ERR_MODEL, "output \"%s\" is declared as %s and comes as %s",
			                 onnx_show((struct onnx_str){ (const uint8_t *)port->name, port->name_len }).s,
			                 dtype_name(port->dtype), dtype_name(t->dtype));
		t->is_output = true;
		p->outputs[i] = t;
	}
	return ERR_OK;
}

int plan_infer(struct plan *p, const struct engine_tensor *const *inputs)
{
	const struct onnx_model *m = p->m;
	int rc;
	p->of_value = plan_alloc(p, m->n_values, sizeof(struct tensor *));
	p->steps = plan_alloc(p, m->n_nodes, sizeof(struct step *));
	p->inputs = plan_alloc(p, m->n_inputs, sizeof(struct tensor *));
	p->outputs = plan_alloc(p, m->n_outputs, sizeof(struct tensor *));
	if (!p->of_value || !p->steps || !p->inputs || !p->outputs)
		return ERR_LIMIT;
	for (uint32_t i = 0; i < m->n_inputs; i++)
		if ((rc = input_tensor(p, i, inputs[i])))
			return rc;
	if ((rc = walk(p)))
		return rc;
	return output_tensors(p);
}
