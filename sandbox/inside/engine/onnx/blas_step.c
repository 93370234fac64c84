/* SPDX-License-Identifier: Apache-2.0
 *
 * Products that OpenBLAS does at least as fast as our own kernels, by its compiled-in table (kernels/blas.h):
 * in column slices that follow from the shape alone, one slot of memory per thread, then bias, residual and
 * activation. M, N and K are those of one request. A program that does not link OpenBLAS never comes here.
 *
 * Side: inside. Trusts: the plan. Owns: nothing.
 */
#include "sandbox/inside/engine/kernels/blas.h"

#include "sandbox/inside/engine/onnx/blas_step.h"
#include "sandbox/inside/engine/onnx/fuse.h"

#include <strings.h>

/* Weak: the tests of the reader and the planner need no OpenBLAS. */
extern __typeof__(blas_wanted) blas_wanted __attribute__((weak));
extern __typeof__(blas_need_bytes) blas_need_bytes __attribute__((weak));
extern __typeof__(blas_sgemm) blas_sgemm __attribute__((weak));
extern __typeof__(blas_slot_bytes) blas_slot_bytes __attribute__((weak));
extern __typeof__(blas_core) blas_core __attribute__((weak));
extern __typeof__(blas_core_wanted) blas_core_wanted __attribute__((weak));

#define SLICE 512        /* columns: the least width of the table's classes */
#define SLOT_ALIGN 4096

/* A level that was forced on a better processor finds the better one's core: then it is not used. */
static bool core_fits(enum level l)
{
	return blas_core && blas_core_wanted && blas_slot_bytes && blas_slot_bytes(l) &&
	       !strcasecmp(blas_core(), blas_core_wanted(l));
}

const char *blas_step_core(enum level l)
{
	return core_fits(l) ? blas_core() : "none";
}

/* The last slice takes what is left: SLICE to 2 SLICE - 1 columns. */
static int64_t slices_of(int64_t n) { return n / SLICE > 0 ? n / SLICE : 1; }

bool blas_step_wants(const struct plan *p, const struct step *s)
{
	const struct gemm_p *g = s->p;
	int64_t last;
	if (!core_fits(p->s->k->level) || !blas_wanted || !blas_need_bytes || !blas_sgemm)
		return false;
	if (g->batch != 1 || g->scale || g->trans_a || (g->is_gemm && g->alpha != 1) || s->in[1]->splat ||
	    !blas_wanted(p->s->k->level, g->m, g->n, g->k))
		return false;
	last = g->n - (slices_of(g->n) - 1) * SLICE;
	return blas_wanted(p->s->k->level, g->m, last, g->k);
}

struct blas_job {
	const struct run *r;
	const struct gemm_p *g;
	struct blas_product product;
	const float *residual;
};

/* What the kernels' epilogue does, over columns n0 to n0 + n. */
static void finish(const struct blas_job *j, int64_t n0, int64_t n)
{
	const struct gemm_p *g = j->g;
	const struct kernels *k = j->r->k;
	for (int64_t i = 0; i < g->m; i++) {
		float *y = j->product.c + i * g->n + n0;
		if (g->bias)
			k->binary_f32(BIN_ADD, y, y, g->bias + n0, (size_t)n);
		if (j->residual)
			k->binary_f32(BIN_ADD, y, y, j->residual + i * g->n + n0, (size_t)n);
		if (g->act.kind != ACT_NONE || g->act.post)
			k->activate_f32(g->act, y, y, (size_t)n);
	}
}

static void slice_task(void *arg, uint32_t task, unsigned thread)
{
	const struct blas_job *j = arg;
	const struct gemm_p *g = j->g;
	struct blas_product q = j->product;
	int64_t n0 = task * (int64_t)SLICE, n = task + 1 == (uint32_t)slices_of(g->n) ? g->n - n0 : SLICE;
	uint8_t *slot = j->r->scratch + thread * j->r->scratch_each;
	slot += (SLOT_ALIGN - (uintptr_t)slot % SLOT_ALIGN) % SLOT_ALIGN;
	q.n = n;
	q.b += g->trans_b ? n0 * q.ldb : n0;
	q.c += n0;
	blas_sgemm(slot, blas_need_bytes(g->m, n), &q);
	finish(j, n0, n);
}

static int blas_run(struct run *r, const struct step *s)
{
	const struct gemm_p *g = s->p;
	struct blas_job j = { .r = r, .g = g,
		              .product = { .m = g->m, .n = g->n, .k = g->k, .a = s->in[0]->data, .lda = g->k,
		                           .b = s->in[1]->data, .ldb = g->trans_b ? g->k : g->n,
		                           .trans_b = g->trans_b, .c = s->out[0]->data, .ldc = g->n },
		              .residual = g->has_residual ? s->in[s->n_in - 1]->data : NULL };
	run_tasks(r, slice_task, &j, (uint32_t)slices_of(g->n));
	return ERR_OK;
}

int blas_step_make(struct plan *p, struct step *s, const struct tensor *c)
{
	struct gemm_p *g = s->p;
	int64_t last = g->n - (slices_of(g->n) - 1) * SLICE;
	float *bias = plan_alloc(p, (uint64_t)g->n, 4);
	if (!bias)
		return ERR_LIMIT;
	for (int64_t n = 0; n < g->n; n++)
		bias[n] = (c ? ((const float *)c->data)[c->n == 1 ? 0 : n] * g->beta : 0) + (g->shift ? g->shift[n] : 0);
	g->bias = c || g->shift ? bias : NULL;
	s->run = blas_run;
	s->scratch = blas_need_bytes(g->m, last > SLICE ? last : SLICE) + SLOT_ALIGN;
	s->shared = 0;
	return ERR_OK;
}
