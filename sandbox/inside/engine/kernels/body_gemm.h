/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products. A task is a run of rows times a run of column groups (up to TILE_NB panels each);
 * inside, K is blocked so that a group's panel stays in cache while the rows pass by.
 *
 * Side: inside. Trusts: its arguments. Owns: nothing. Included once per level, after body_tile.h.
 */

#define GEMM_KC 384          /* steps of k per pass: 4 panels of 384 steps are 96 KiB */
#define GEMM_ROWS 96         /* rows of a task: A's block of 96 x 384 floats is 144 KiB */
#define STREAM_BYTES (1 << 20) /* weights above this are used from memory, not from L2 */

struct gemm_job {
	const struct gemm *g;
	int64_t groups, row_parts, group_parts;
};

static void gemm_rows(const struct gemm *g, struct tile *t, int nb, int64_t col, int64_t r0, int64_t r1)
{
	int64_t parts = div_up(r1 - r0, tile_p[nb - 1]);
	int64_t k0 = t->c0;
	for (int64_t i = 0; i < parts; i++) {
		int64_t a = r0 + even_cut(r1 - r0, parts, i), b = r0 + even_cut(r1 - r0, parts, i + 1);
		for (int64_t r = a; r < b; r++) {
			t->xp[r - a] = g->a + r * g->lda + k0;
			t->yp[r - a] = g->c + r * g->ldc + col;
			if (g->residual)
				t->rp[r - a] = g->residual + r * g->ldc + col;
		}
		tile_fns[nb - 1][b - a - 1](t);
	}
}

/* Column group q (panels p0..p1-1), rows r0..r1-1, all of K. */
static void gemm_group(const struct gemm *g, int64_t groups, int64_t q, int64_t r0, int64_t r1)
{
	int64_t panels = div_up(g->n, 16);
	int64_t p0 = even_cut(panels, groups, q), p1 = even_cut(panels, groups, q + 1);
	int nb = (int)(p1 - p0);
	struct tile t = { .w_block = g->k * 16, .y_block = 16, .has_residual = g->residual != NULL };
	tile_act_set(&t, &g->act);
	t.bias = g->bias ? g->bias + p0 * 16 : NULL;
	t.lanes = t.store_lanes = (int)min_i(16, g->n - (p1 - 1) * 16);
	bool stream = r1 - r0 <= 2 && g->k * g->n * 4 > STREAM_BYTES;
	t.mode = stream ? TILE_STREAM : TILE_ROWS;
	int64_t kc = r1 - r0 <= tile_p[nb - 1] ? g->k : GEMM_KC;
	for (int64_t k = 0; k < g->k; k += kc) {
		t.depth = min_i(kc, g->k - k);
		t.first = k == 0;
		t.last = k + t.depth == g->k;
		t.w = g->packed_b + p0 * t.w_block + k * 16;
		t.c0 = k;
		gemm_rows(g, &t, nb, p0 * 16, r0, r1);
	}
}

static void gemm_task(void *arg, uint32_t task, unsigned thread)
{
	(void)thread;
	const struct gemm_job *j = arg;
	const struct gemm *g = j->g;
	int64_t rp = task % j->row_parts, gp = task / j->row_parts;
	int64_t r0 = even_cut(g->m, j->row_parts, rp), r1 = even_cut(g->m, j->row_parts, rp + 1);
	int64_t q0 = even_cut(j->groups, j->group_parts, gp), q1 = even_cut(j->groups, j->group_parts, gp + 1);
	for (int64_t q = q0; q < q1; q++)
		gemm_group(g, j->groups, q, r0, r1);
}

static void k_gemm(struct pool *p, const struct gemm *g)
{
	if (g->m == 0 || g->n == 0)
		return;
	struct gemm_job j = { .g = g, .groups = div_up(div_up(g->n, 16), tile_width(g->m)) };
	double flop = 2.0 * (double)g->m * (double)g->n * (double)g->k;
	int64_t wish = tasks_wanted(flop);
	j.row_parts = min_i(wish, div_up(g->m, GEMM_ROWS));
	if (j.row_parts * j.groups < 8)
		j.row_parts = min_i(wish, div_up(g->m, 12));
	j.group_parts = min_i(j.groups, div_up(wish, j.row_parts));
	pool_run(p, gemm_task, &j, (uint32_t)(j.row_parts * j.group_parts));
}

/* --- b that is an activation: packed first, panels in parallel ---------------------------------------- */

struct pack_job {
	const struct gemm_dynamic *d;
};

static void pack_task(void *arg, uint32_t task, unsigned thread)
{
	(void)thread;
	const struct gemm_dynamic *d = ((struct pack_job *)arg)->d;
	int64_t n0 = (int64_t)task * 64, n1 = min_i(d->g.n, n0 + 64);
	for (int64_t n = n0; n < n1; n += 16) {
		int64_t lanes = min_i(16, n1 - n);
		float *dst = d->scratch + n * d->g.k;
		if (!d->trans_b) {
			k_rows_to_blocks(dst, d->b + n, d->ldb, lanes, d->g.k);
			continue;
		}
		if (lanes < 16)
			memset(dst, 0, (size_t)d->g.k * 64);
		k_transpose(dst, 16, d->b + n * d->ldb, d->ldb, lanes, d->g.k);
	}
}

static void k_gemm_dynamic(struct pool *p, const struct gemm_dynamic *d)
{
	struct pack_job j = { d };
	uint32_t tasks = (uint32_t)div_up(d->g.n, 64);
	pool_run(d->g.n * d->g.k < 65536 ? NULL : p, pack_task, &j, tasks);
	struct gemm g = d->g;
	g.packed_b = d->scratch;
	k_gemm(p, &g);
}
