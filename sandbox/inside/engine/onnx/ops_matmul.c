/* SPDX-License-Identifier: Apache-2.0
 *
 * MatMul and Gemm. The run here works for any operands; lower.c packs constant right-hand sides once.
 *
 * Side: inside. Trusts: what infer checked. Owns: their rows of the operator table.
 */
#include "sandbox/inside/engine/onnx/linear.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/onnx/elem.h"
#include "sandbox/inside/engine/onnx/nd.h"

#include <string.h>

static int types(struct plan *p, struct step *s)
{
	for (uint32_t i = 0; i < s->n_in; i++)
		if (s->in[i] && s->in[i]->dtype != DT_F32)
			return plan_fail(p, s, ERR_UNSUPPORTED, "over %s", dtype_name(s->in[i]->dtype));
	return ERR_OK;
}

static int sizes(struct plan *p, struct step *s, const struct gemm_p *g)
{
	struct ck macs = ck_mul(ck_mul(ck_i64(g->batch), ck_i64(g->m)), ck_mul(ck_i64(g->n), ck_i64(g->k)));
	if (!ck_get(macs, (uint64_t)1 << 60, &s->macs))
		return plan_fail(p, s, ERR_LIMIT, "a product of more than 2^60 multiplications");
	if (g->k == 0 || g->n == 0)
		return ERR_OK;
	/* Packed B, and for a transposed A its copy. */
	s->scratch = gemm_pack_bytes(g->k, g->n) + 64;
	s->shared = g->trans_a ? (uint64_t)g->m * (uint64_t)g->k * 4 : 0;
	return ERR_OK;
}

static int matmul_infer(struct plan *p, struct step *s)
{
	const struct tensor *a = s->in[0], *b = s->in[1];
	struct gemm_p *g = s->p = plan_alloc(p, 1, sizeof *g);
	struct tensor ta = *a, tb = *b;
	int64_t d[LIMIT_RANK + 2];
	int rc, rank;
	if (!g)
		return ERR_LIMIT;
	if ((rc = types(p, s)))
		return rc;
	if (a->rank == 0 || b->rank == 0)
		return plan_fail_shape(p, s, "an operand of rank 0");
	g->m = a->rank == 1 ? 1 : a->dims[a->rank - 2];
	g->k = a->dims[a->rank - 1];
	g->n = b->rank == 1 ? 1 : b->dims[b->rank - 1];
	if (g->k != b->dims[b->rank == 1 ? 0 : b->rank - 2])
		return plan_fail_shape(p, s, "%lld columns times %lld rows", (long long)g->k,
		                       (long long)b->dims[b->rank == 1 ? 0 : b->rank - 2]);
	ta.rank = (int8_t)(a->rank > 2 ? a->rank - 2 : 0);
	tb.rank = (int8_t)(b->rank > 2 ? b->rank - 2 : 0);
	if ((rc = elem_broadcast(p, s, &ta, &tb, d, &rank)))
		return rc;
	g->n_batch = rank;
	g->batch = 1;
	for (int i = 0; i < rank; i++)
		g->batch *= g->dims[i] = d[i];
	nd_broadcast(g->a_step, ta.dims, ta.rank, rank);
	nd_broadcast(g->b_step, tb.dims, tb.rank, rank);
	g->flat = tb.rank == 0 || tb.n == (uint64_t)g->k * (uint64_t)g->n;
	if (a->rank > 1)
		d[rank++] = g->m;
	if (b->rank > 1)
		d[rank++] = g->n;
	if ((rc = plan_out(p, s, 0, DT_F32, rank, d)))
		return rc;
	if (g->flat && ta.n == (uint64_t)g->batch * (uint64_t)(g->m * g->k)) {
		g->m *= g->batch;
		g->batch = 1;
		g->n_batch = 0;
	} else {
		g->flat = g->flat && g->batch == 1;
	}
	return sizes(p, s, g);
}

int64_t gemm_batch_off(const struct gemm_p *g, const int64_t *step, int64_t i)
{
	int64_t off = 0;
	for (int k = g->n_batch - 1; k >= 0; k--) {
		off += i % g->dims[k] * step[k];
		i /= g->dims[k];
	}
	return off;
}

struct matmul_job {
	struct run *r;
	const struct gemm_p *g;
	const float *a, *b;
	float *y;
	const float *residual;
};

static struct gemm matmul_one(const struct matmul_job *j, int64_t i)
{
	const struct gemm_p *g = j->g;
	return (struct gemm){ .m = g->m, .n = g->n, .k = g->k,
		              .a = j->a + gemm_batch_off(g, g->a_step, i) * g->m * g->k, .lda = g->k,
		              .packed_b = g->packed, .c = j->y + i * g->m * g->n, .ldc = g->n, .bias = g->bias,
		              .residual = j->residual ? j->residual + i * g->m * g->n : NULL, .act = g->act };
}

static void matmul_task(void *arg, uint32_t task, unsigned thread)
{
	const struct matmul_job *j = arg;
	const struct gemm_p *g = j->g;
	struct gemm_dynamic d = { .g = matmul_one(j, task), .ldb = g->n };
	d.b = j->b + gemm_batch_off(g, g->b_step, task) * g->k * g->n;
	d.scratch = (float *)(void *)(j->r->scratch + thread * j->r->scratch_each);
	j->r->k->gemm_dynamic_f32(NULL, &d);
}

int matmul_run(struct run *r, const struct step *s)
{
	const struct gemm_p *g = s->p;
	const struct tensor *y = s->out[0];
	struct matmul_job j = { r, g, s->in[0]->data, s->in[1] ? s->in[1]->data : NULL, y->data, NULL };
	if (y->n == 0)
		return ERR_OK;
	if (g->k == 0) {
		memset(y->data, 0, y->bytes);
		return ERR_OK;
	}
	if (g->has_residual)
		j.residual = s->in[s->n_in - 1]->data;
	if (g->packed) {
		for (int64_t i = 0; i < g->batch; i++) {
			struct gemm one = matmul_one(&j, i);
			r->k->gemm_f32(r->pool, &one);
		}
		return ERR_OK;
	}
	if (g->batch > 1) {
		run_tasks(r, matmul_task, &j, (uint32_t)g->batch);
		return ERR_OK;
	}
	struct gemm_dynamic d = { .g = matmul_one(&j, 0), .b = j.b, .ldb = g->n,
		                  .scratch = (float *)(void *)r->scratch };
	r->k->gemm_dynamic_f32(r->pool, &d);
	return ERR_OK;
}

/* --- Gemm ------------------------------------------------------------------------------------------------ */

static int gemm_infer(struct plan *p, struct step *s)
{
	const struct tensor *a = s->in[0], *b = s->in[1], *c = step_in(s, 2);
	struct gemm_p *g = s->p = plan_alloc(p, 1, sizeof *g);
	int64_t d[2], dc[LIMIT_RANK];
	struct tensor out = { .rank = 2 };
	int rc, rank;
	if (!g)
		return ERR_LIMIT;
	if ((rc = types(p, s)))
		return rc;
	if (a->rank != 2 || b->rank != 2)
		return plan_fail_shape(p, s, "operands of rank %d and %d", a->rank, b->rank);
	g->is_gemm = g->flat = true;
	g->batch = 1;
	g->trans_a = op_attr_int(s->node, "transA", 0) != 0;
	g->trans_b = op_attr_int(s->node, "transB", 0) != 0;
	g->alpha = op_attr_float(s->node, "alpha", 1);
	g->beta = op_attr_float(s->node, "beta", 1);
	g->m = a->dims[g->trans_a];
	g->k = a->dims[!g->trans_a];
	g->n = b->dims[!g->trans_b];
	if (g->k != b->dims[g->trans_b])
		return plan_fail_shape(p, s, "%lld columns times %lld rows", (long long)g->k,
		                       (long long)b->dims[g->trans_b]);
	out.dims[0] = d[0] = g->m;
	out.dims[1] = d[1] = g->n;
	if (c && ((rc = elem_broadcast(p, s, &out, c, dc, &rank)) || rank != 2 || dc[0] != d[0] || dc[1] != d[1]))
		return rc ? rc : plan_fail_shape(p, s, "C does not broadcast to the product");
	if ((rc = plan_out(p, s, 0, DT_F32, 2, d)))
		return rc;
	return sizes(p, s, g);
}

struct add_row {
	const float *c;
	int64_t rows, cols;
	float beta;
};

/* y = alpha y + beta C, in that order, with C broadcast. */
static void gemm_finish(const struct gemm_p *g, const struct tensor *c, float *y)
{
	int64_t sc[2] = { 0 };
	if (c)
		nd_broadcast(sc, c->dims, c->rank, 2);
	for (int64_t i = 0; i < g->m; i++)
		for (int64_t k = 0; k < g->n; k++) {
			float v = y[i * g->n + k] * g->alpha;
			y[i * g->n + k] = c ? v + g->beta * ((const float *)c->data)[i * sc[0] + k * sc[1]] : v;
		}
}

int gemm_run(struct run *r, const struct step *s)
{
	const struct gemm_p *g = s->p;
	const struct tensor *y = s->out[0];
	const float *a = s->in[0]->data;
	if (y->n == 0)
		return ERR_OK;
	if (g->k == 0)
		memset(y->data, 0, y->bytes);
	if (g->trans_a && g->k) {
		r->k->transpose_f32((float *)(void *)r->shared, g->k, a, g->m, g->k, g->m);
		a = (const float *)(const void *)r->shared;
	}
	struct gemm_dynamic d = { .g = { .m = g->m, .n = g->n, .k = g->k, .a = a, .lda = g->k, .c = y->data,
		                         .ldc = g->n, .packed_b = g->packed, .bias = g->bias, .act = g->act },
		                  .trans_b = g->trans_b, .ldb = g->trans_b ? g->k : g->n };
	if (g->packed) {
		if (g->has_residual)
			d.g.residual = s->in[s->n_in - 1]->data;
		r->k->gemm_f32(r->pool, &d.g);
		return ERR_OK;
	}
	d.b = s->in[1]->data;
	d.scratch = (float *)(void *)r->scratch;
	if (g->k)
		r->k->gemm_dynamic_f32(r->pool, &d);
	if (g->alpha != 1 || step_in(s, 2))
		gemm_finish(g, step_in(s, 2), y->data);
	return ERR_OK;
}

static const struct op_attr a_gemm[] = { { "alpha", AT_FLOAT }, { "beta", AT_FLOAT }, { "transA", AT_INT },
	                                 { "transB", AT_INT }, { NULL, 0 } };

static const struct op rows[] = {
	{ "MatMul", 1, 25, 2, 2, 1, 1, 0, NULL, matmul_infer, matmul_run, 0, T_FLOAT, T_FLOAT },
	{ "Gemm", 7, 10, 3, 3, 1, 1, 0, a_gemm, gemm_infer, gemm_run, 0, T_FLOAT, T_FLOAT },
	{ "Gemm", 11, 25, 2, 3, 1, 1, 0, a_gemm, gemm_infer, gemm_run, 0, T_FLOAT, T_FLOAT },
};
const struct op_family ops_matmul = { rows, sizeof rows / sizeof rows[0] };
