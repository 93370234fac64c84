/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls: checks the inputs against the model, plans when the shapes are new, runs the steps.
 *
 * Side: inside. Trusts: the loader's tables; nothing in a call's tensors. Owns: the session's arena.
 */
#include "sandbox/inside/engine/onnx/session.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/onnx/linear.h"
#include "sandbox/inside/engine/poison.h"

static struct onnx_str port_name(const struct engine_port *p)
{
	return (struct onnx_str){ (const uint8_t *)p->name, p->name_len };
}

/* --- opening -------------------------------------------------------------------------------------------- */

static bool takes_any_call(const struct onnx_model *m)
{
	return m->dynamic || m->keyed;
}

static int session_tables(struct session *s, struct err *e)
{
	const struct onnx_model *m = s->m;
	s->payload = arena_zalloc(s->a, m->n_values * sizeof(void *));
	s->dims = arena_array(s->a, m->n_inputs, sizeof *s->dims);
	s->ranks = arena_zalloc(s->a, m->n_inputs);
	s->answers = arena_zalloc(s->a, m->n_outputs * sizeof *s->answers);
	s->given = arena_zalloc(s->a, m->n_inputs * sizeof *s->given);
	if (!s->payload || !s->dims || !s->ranks || !s->answers || !s->given)
		return err_set(e, ERR_LIMIT, "the arena of %zu bytes has no room for a session", s->a->cap_bytes);
	return ERR_OK;
}

static void plan_reset(struct session *s, struct err *e)
{
	s->plan = (struct plan){ .s = s, .m = s->m, .e = e, .top = s->a->cap_bytes & ~(size_t)63 };
	s->plan.top_start = s->plan.top;
	poison(s->a->base + s->a->used_bytes, s->a->cap_bytes - s->a->used_bytes);
	s->is_planned = false;
}

static int make_plan(struct session *s, struct err *e)
{
	struct plan *p = &s->plan;
	int rc;
	plan_reset(s, e);
	s->n_plans++;
	if (e)
		*e = (struct err){ 0, "" };
	if ((rc = plan_infer(p, s->given)) || (rc = plan_rewrite(p)) || (rc = plan_lower(p)) ||
	    (rc = plan_memory(p))) {
		if (e && !e->code)
			err_set(e, rc, "the plan does not fit into %zu bytes", s->a->cap_bytes);
		return rc;
	}
	/* What the arena held at its fullest: the kept part and the plan. */
	size_t used = s->a->used_bytes + (p->top_start - p->top);
	if (used > s->a->peak_bytes)
		s->a->peak_bytes = used;
	s->is_planned = true;
	return ERR_OK;
}

/* A model whose shapes are all in the file is planned when it is opened. */
static int plan_static(struct session *s, struct err *e)
{
	struct engine_tensor *t;
	int rc;
	t = arena_zalloc(s->a, s->m->n_inputs * sizeof *t);
	if (!t)
		return err_set(e, ERR_LIMIT, "the arena of %zu bytes has no room for a session", s->a->cap_bytes);
	for (uint32_t i = 0; i < s->m->n_inputs; i++) {
		const struct engine_port *p = &s->m->inputs[i];
		s->given[i] = NULL;
		if (p->optional)
			continue;
		t[i] = (struct engine_tensor){ .dtype = p->dtype, .rank = p->rank };
		memcpy(t[i].dims, p->dims, sizeof t[i].dims);
		s->given[i] = &t[i];
	}
	if ((rc = make_plan(s, e)))
		return rc;
	for (uint32_t i = 0; i < s->m->n_inputs; i++) {
		s->ranks[i] = s->given[i] ? (int8_t)s->given[i]->rank : -1;
		if (s->given[i])
			memcpy(s->dims[i], s->given[i]->dims, sizeof s->dims[i]);
	}
	return ERR_OK;
}

int onnx_session_open(struct arena *a, const struct onnx_model *m, struct pool *pool, int level,
                      struct session **out, struct err *e)
{
	struct session *s = arena_zalloc(a, sizeof *s);
	int rc;
	if (!s)
		return err_set(e, ERR_LIMIT, "the arena of %zu bytes has no room for a session", a->cap_bytes);
	s->a = a;
	s->m = m;
	s->n_threads = pool ? pool_threads(pool) : 1;
	s->pool = s->n_threads > 1 ? pool : NULL;
	s->k = kernels_get(level < 0 ? level_detect() : (enum level)level);
	if (!s->k)
		return err_set(e, ERR_UNSUPPORTED, "this processor has no level %d of instructions", level);
	if ((rc = session_tables(s, e)))
		return rc;
	s->base_bytes = a->used_bytes;
	plan_reset(s, e);
	s->lowest_top = s->plan.top;
	if (!takes_any_call(m) && (rc = plan_static(s, e)))
		return rc;
	*out = s;
	return ERR_OK;
}

/* --- a call's inputs ------------------------------------------------------------------------------------ */

static int check_input(const struct engine_port *p, const struct engine_tensor *t, struct err *e)
{
	uint64_t n;
	struct ck want = ck_u64(dtype_bytes(t->dtype));
	struct onnx_text name = onnx_show(port_name(p));
	if (t->dtype != p->dtype)
		return err_set(e, ERR_INPUT, "input \"%s\" is %s, the model takes %s", name.s,
		               dtype_name(t->dtype), dtype_name(p->dtype));
	if (t->rank < 0 || t->rank > LIMIT_RANK || (p->rank >= 0 && t->rank != p->rank))
		return err_set(e, ERR_INPUT, "input \"%s\" has rank %d, the model takes %d", name.s, t->rank,
		               p->rank);
	for (int i = 0; i < t->rank; i++) {
		if (t->dims[i] < 0 || (uint64_t)t->dims[i] > LIMIT_EXTENT)
			return err_set(e, ERR_INPUT, "input \"%s\": extent %d is %lld", name.s, i, (long long)t->dims[i]);
		if (p->rank >= 0 && p->dims[i] >= 0 && t->dims[i] != p->dims[i])
			return err_set(e, ERR_INPUT, "input \"%s\": extent %d is %lld, the model takes %lld", name.s, i,
			               (long long)t->dims[i], (long long)p->dims[i]);
		want = ck_mul(want, ck_i64(t->dims[i]));
	}
	if (!ck_get(want, SIZE_MAX, &n) || n != t->bytes)
		return err_set(e, ERR_INPUT, "input \"%s\" has %zu bytes, its shape asks for another number", name.s,
		               t->bytes);
	for (size_t i = 0; p->dtype == DT_BOOL && i < t->bytes; i++)
		if (((const uint8_t *)t->data)[i] > 1)
			return err_set(e, ERR_INPUT, "input \"%s\" holds a bool that is neither 0 nor 1", name.s);
	return ERR_OK;
}

static int match_inputs(struct session *s, const struct engine_tensor *in, size_t n_in, struct err *e)
{
	const struct onnx_model *m = s->m;
	int rc;
	if (n_in > LIMIT_TENSORS)
		return err_set(e, ERR_INPUT, "%zu inputs; at most %d", n_in, LIMIT_TENSORS);
	memset(s->given, 0, m->n_inputs * sizeof *s->given);
	for (size_t k = 0; k < n_in; k++) {
		struct onnx_str name = { (const uint8_t *)in[k].name, in[k].name_len };
		uint32_t i = 0;
		while (i < m->n_inputs && !(m->inputs[i].name_len == name.len &&
		                            !memcmp(m->inputs[i].name, name.p, name.len)))
			i++;
		if (i == m->n_inputs)
			return err_set(e, ERR_INPUT, "the model has no input \"%s\"", onnx_show(name).s);
		if (s->given[i])
			return err_set(e, ERR_INPUT, "input \"%s\" is given twice", onnx_show(name).s);
		if ((rc = check_input(&m->inputs[i], &in[k], e)))
			return rc;
		s->given[i] = &in[k];
	}
	for (uint32_t i = 0; i < m->n_inputs; i++)
		if (!s->given[i] && !m->inputs[i].optional)
			return err_set(e, ERR_INPUT, "input \"%s\" is missing", onnx_show(port_name(&m->inputs[i])).s);
	return ERR_OK;
}

/* Does the plan at hand answer this call: same inputs given, same shapes, same values where a value
 * decided something? */
static bool plan_fits(const struct session *s)
{
	if (!s->is_planned)
		return false;
	for (uint32_t i = 0; i < s->m->n_inputs; i++) {
		const struct engine_tensor *t = s->given[i];
		if (!t || s->ranks[i] < 0) {
			if (t || s->ranks[i] >= 0)
				return false;
			continue;
		}
		if (t->rank != s->ranks[i] ||
		    (t->rank && memcmp(t->dims, s->dims[i], (size_t)t->rank * sizeof t->dims[0])))
			return false;
		if (s->plan.inputs[i]->kind == K_CONST && t->bytes &&
		    memcmp(t->data, s->plan.inputs[i]->data, t->bytes))
			return false;
	}
	return true;
}

static int replan(struct session *s, struct err *e)
{
	int rc = make_plan(s, e);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < s->m->n_inputs; i++) {
		s->ranks[i] = s->given[i] ? (int8_t)s->given[i]->rank : -1;
		if (s->given[i])
			memcpy(s->dims[i], s->given[i]->dims, sizeof s->dims[i]);
	}
	return ERR_OK;
}

/* --- running -------------------------------------------------------------------------------------------- */

void run_tasks(const struct run *r, void (*fn)(void *arg, uint32_t task, unsigned thread), void *arg,
               uint32_t n)
{
	if (r->pool && n > 1) {
		pool_run(r->pool, fn, arg, n);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		fn(arg, i, 0);
}

static int run_steps(struct session *s, struct err *e)
{
	const struct plan *p = &s->plan;
	struct run r = { .k = s->k, .pool = s->pool, .n_threads = s->n_threads, .scratch_each = p->scratch,
		         .e = e, .plan = p };
	int rc;
	r.scratch = p->scratch_at;
	r.shared = p->shared_at;
	for (uint32_t i = 0; i < p->n_steps; i++) {
		const struct step *st = p->steps[i];
		if (st->run && (rc = st->run(&r, st)))
			return rc;
	}
	return ERR_OK;
}

/* Inputs are read where they lie, unless somebody writes over them or they lie askew. */
static void take_inputs(struct session *s)
{
	for (uint32_t i = 0; i < s->m->n_inputs; i++) {
		struct tensor *t = s->plan.inputs[i];
		if (!t || t->kind != K_RUN || t->bytes == 0)
			continue;
		t->data = t->own;
		if (t->is_given && (uintptr_t)s->given[i]->data % dtype_bytes(t->dtype) == 0)
			t->data = s->given[i]->data;
		else
			memcpy(t->data, s->given[i]->data, t->bytes);
	}
}

static void give_answers(struct session *s)
{
	for (uint32_t i = 0; i < s->m->n_outputs; i++) {
		const struct engine_port *port = &s->m->outputs[i];
		const struct tensor *t = s->plan.outputs[i];
		struct engine_tensor *o = &s->answers[i];
		*o = (struct engine_tensor){ .name = port->name, .name_len = port->name_len, .dtype = t->dtype,
			                     .rank = t->rank, .data = t->data, .bytes = t->bytes };
		memcpy(o->dims, t->dims, sizeof o->dims);
	}
}

int onnx_session_run(struct session *s, const struct engine_tensor *in, size_t n_in,
                     const struct engine_tensor **out, size_t *n_out, struct err *e)
{
	int rc = match_inputs(s, in, n_in, e);
	if (rc)
		return rc;
	if (!plan_fits(s) && (rc = replan(s, e)))
		return rc;
	s->plan.e = NULL;
	take_inputs(s);
	if ((rc = run_steps(s, e)))
		return rc;
	give_answers(s);
	*out = s->answers;
	*n_out = s->m->n_outputs;
	return ERR_OK;
}

/* One plan that no value of a call went into may stay: what calls wrote lies in three blocks of it. Else all
 * of it goes, and what earlier plans of other shapes have left below it. */
void onnx_session_scrub(struct session *s)
{
	if (s->is_planned && s->n_plans <= 1 && !s->plan.is_keyed) {
		memset(s->plan.act, 0, s->plan.act_bytes);
		memset(s->plan.scratch_at, 0, s->plan.scratch * s->n_threads);
		memset(s->plan.shared_at, 0, s->plan.shared);
		return;
	}
	unpoison(s->a->base + s->lowest_top, s->plan.top_start - s->lowest_top);
	memset(s->a->base + s->lowest_top, 0, s->plan.top_start - s->lowest_top);
	plan_reset(s, NULL);
	s->lowest_top = s->plan.top;
	s->n_plans = 0;
}

/* --- sizes without doing -------------------------------------------------------------------------------- */

#define DRY_EXTENT 64 /* stands for a dynamic extent; the first one is a batch of 1 */

static void dry_inputs(const struct onnx_model *m, struct engine_tensor *t, const struct engine_tensor **given)
{
	for (uint32_t i = 0; i < m->n_inputs; i++) {
		const struct engine_port *p = &m->inputs[i];
		given[i] = p->optional ? NULL : &t[i];
		t[i] = (struct engine_tensor){ .dtype = p->dtype, .rank = p->rank < 0 ? 1 : p->rank };
		for (int k = 0; k < t[i].rank; k++)
			t[i].dims[k] = p->rank < 0 || p->dims[k] < 0 ? (k ? DRY_EXTENT : 1) : p->dims[k];
	}
}

/* Bytes of a step's weights once they are packed. */
static uint64_t packed_bytes(const struct step *s)
{
	const struct conv_p *c = s->p;
	const struct gemm_p *g = s->p;
	const struct lstm_p *l = s->p;
	if (!s->out[0] || s->out[0]->n == 0)
		return 0;
	if (s->run == conv_run)
		return conv_pack_bytes(&c->c) + blocks_of(c->c.c_out) * CBLOCK * 4;
	if ((s->run == matmul_run || s->run == gemm_run) && s->in[1]->kind == K_CONST && g->flat && g->k && g->n)
		return gemm_pack_bytes(g->k, g->n) + (uint64_t)g->n * 4;
	if (s->run == lstm_run)
		return lstm_pack_bytes(l->input, l->hidden) * (uint64_t)l->dirs;
	return 0;
}

static int dry_run(struct session *s, const struct onnx_model *m, struct engine_needs *needs, struct err *e)
{
	struct engine_tensor *t;
	struct ck packed = ck_u64(0);
	int rc;
	if ((rc = session_tables(s, e)))
		return rc;
	plan_reset(s, e);
	s->plan.dry = true;
	t = plan_alloc(&s->plan, m->n_inputs, sizeof *t);
	if (!t)
		return ERR_LIMIT;
	dry_inputs(m, t, s->given);
	if ((rc = plan_infer(&s->plan, s->given)) || (rc = plan_memory(&s->plan)))
		return rc;
	needs->plan_min_bytes = s->plan.act_bytes + (s->plan.top_start - s->plan.top);
	needs->scratch_bytes = s->plan.scratch * s->n_threads + s->plan.shared;
	needs->macs = s->plan.macs;
	for (uint32_t i = 0; i < s->plan.n_steps; i++)
		packed = ck_add(packed, ck_u64(packed_bytes(s->plan.steps[i]) + 64));
	if (!ck_get(packed, UINT64_MAX, &packed.v))
		return err_set(e, ERR_LIMIT, "the packed weights would take more than 2^64 bytes");
	if (packed.v > needs->weights_bytes)
		needs->weights_bytes = packed.v;
	return ERR_OK;
}

int onnx_dry_plan(const struct onnx_model *m, unsigned n_threads, struct engine_needs *needs, struct err *e)
{
	struct arena a = { .base = m->arena->base + m->arena->used_bytes,
		           .cap_bytes = m->arena->cap_bytes - m->arena->used_bytes };
	struct session s = { .a = &a, .m = m, .n_threads = n_threads, .k = kernels_get(LEVEL_C) };
	struct ck weights = ck_u64(0);
	for (const struct onnx_graph *g = m->main; g; g = g->next) {
		for (uint32_t i = 0; i < g->n_inits; i++)
			weights = ck_add(weights, ck_u64(g->inits[i].n_bytes));
		for (uint32_t i = 0; i < g->n_nodes; i++)
			for (uint32_t k = 0; k < g->nodes[i].n_attrs; k++)
				if (g->nodes[i].attrs[k].tensor)
					weights = ck_add(weights, ck_u64(g->nodes[i].attrs[k].tensor->n_bytes));
	}
	*needs = (struct engine_needs){ .graph_bytes = m->arena->used_bytes };
	/* Packing pads channels to whole blocks: a quarter covers what real nets need. */
	if (!ck_get(ck_add(weights, ck_u64(weights.v / 4)), UINT64_MAX, &needs->weights_bytes))
		return err_set(e, ERR_LIMIT, "the weights' sizes add up to more than 2^64 bytes");
	int rc = dry_run(&s, m, needs, e);
	/* Shapes or values that only a call brings: what does not fit the made-up ones says nothing. */
	return rc && (m->keyed || (m->dynamic && rc == ERR_INPUT)) ? ERR_OK : rc;
}
