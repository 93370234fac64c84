/* SPDX-License-Identifier: Apache-2.0
 *
 * Strided walks: see nd.h.
 * Side: inside. Trusts: extents and strides (checked when planning). Owns: nothing.
 */
#include "sandbox/inside/engine/onnx/nd.h"

#include "sandbox/inside/engine/onnx/plan.h"

#include <string.h>

#define TASK_ELEMS 16384 /* below this a task costs more than it brings */

void nd_strides(int64_t *st, const int64_t *dims, int rank)
{
	int64_t s = 1;
	for (int i = rank - 1; i >= 0; i--) {
		st[i] = s;
		s *= dims[i];
	}
}

void nd_broadcast(int64_t *st, const int64_t *dims, int rank, int out_rank)
{
	int64_t s = 1;
	for (int i = out_rank - 1; i >= 0; i--) {
		int k = i - (out_rank - rank);
		st[i] = k < 0 || dims[k] == 1 ? 0 : s;
		s *= k < 0 ? 1 : dims[k];
	}
}

/* Can axis i be merged into axis i + 1 for every operand? */
static bool mergeable(const struct nd *n, int i)
{
	for (int k = 0; k < n->n_ops; k++)
		if (n->st[k][i] != n->st[k][i + 1] * n->dims[i + 1])
			return false;
	return true;
}

static void drop_axis(struct nd *n, int i)
{
	for (int j = i; j + 1 < n->rank; j++) {
		n->dims[j] = n->dims[j + 1];
		for (int k = 0; k < n->n_ops; k++)
			n->st[k][j] = n->st[k][j + 1];
	}
	n->rank--;
}

void nd_merge(struct nd *n)
{
	for (int i = n->rank - 1; i >= 0; i--)
		if (n->dims[i] == 1)
			drop_axis(n, i);
	for (int i = n->rank - 2; i >= 0; i--)
		if (mergeable(n, i)) {
			n->dims[i + 1] *= n->dims[i];
			drop_axis(n, i);
		}
	if (n->rank == 0) {
		n->rank = 1;
		n->dims[0] = 1;
		for (int k = 0; k < n->n_ops; k++)
			n->st[k][0] = 1;
	}
}

struct nd_job {
	const struct nd *n;
	nd_row row;
	void *arg;
	int64_t rows, rows_each; /* rows of a task */
	int64_t cuts, cut;       /* or: pieces of one row, and their length */
};

static void nd_rows(const struct nd_job *j, int64_t r0, int64_t r1)
{
	const struct nd *n = j->n;
	int64_t at[LIMIT_RANK] = { 0 }, off[ND_OPERANDS], left = r0;
	for (int i = n->rank - 2; i >= 0; i--) {
		at[i] = left % n->dims[i];
		left /= n->dims[i];
	}
	for (int64_t r = r0; r < r1; r++) {
		for (int k = 0; k < n->n_ops; k++) {
			off[k] = n->start[k];
			for (int i = 0; i < n->rank - 1; i++)
				off[k] += at[i] * n->st[k][i];
		}
		j->row(j->arg, n, off, n->dims[n->rank - 1]);
		for (int i = n->rank - 2; i >= 0 && ++at[i] == n->dims[i]; i--)
			at[i] = 0;
	}
}

static void nd_task(void *arg, uint32_t task, unsigned thread)
{
	const struct nd_job *j = arg;
	const struct nd *n = j->n;
	(void)thread;
	if (j->cuts > 1) {
		int64_t off[ND_OPERANDS], from = task * j->cut, len = n->dims[0] - from;
		for (int k = 0; k < n->n_ops; k++)
			off[k] = n->start[k] + from * n->st[k][0];
		j->row(j->arg, n, off, len < j->cut ? len : j->cut);
		return;
	}
	int64_t r0 = task * j->rows_each, r1 = r0 + j->rows_each;
	nd_rows(j, r0, r1 < j->rows ? r1 : j->rows);
}

void nd_run(struct run *r, const struct nd *n, nd_row row, void *arg)
{
	struct nd_job j = { n, row, arg, 1, 1, 1, 0 };
	int64_t inner = n->dims[n->rank - 1], tasks;
	for (int i = 0; i < n->rank - 1; i++)
		j.rows *= n->dims[i];
	if (inner == 0 || j.rows == 0)
		return;
	if (n->rank == 1 && inner > TASK_ELEMS) {
		j.cut = TASK_ELEMS;
		j.cuts = (inner + j.cut - 1) / j.cut;
		if (j.cuts > 1024) {
			j.cut = (inner / 1024 + 64) & ~(int64_t)63;
			j.cuts = (inner + j.cut - 1) / j.cut;
		}
		run_tasks(r, nd_task, &j, (uint32_t)j.cuts);
		return;
	}
	j.rows_each = TASK_ELEMS / inner + 1;
	if (j.rows / j.rows_each > 4096)
		j.rows_each = j.rows / 4096 + 1;
	tasks = (j.rows + j.rows_each - 1) / j.rows_each;
	run_tasks(r, nd_task, &j, (uint32_t)tasks);
}

struct copy {
	uint8_t *dst;
	const uint8_t *src;
	unsigned size;
};

#define COPY_ROWS(T)                                                                                \
	do {                                                                                        \
		T *d = (T *)(void *)c->dst + off[0];                                                \
		const T *s = (const T *)(const void *)c->src + off[1];                              \
		for (int64_t i = 0; i < count; i++)                                                 \
			d[i * sd] = s[i * ss];                                                      \
	} while (0)

static void copy_row(void *arg, const struct nd *n, const int64_t *off, int64_t count)
{
	const struct copy *c = arg;
	int64_t sd = n->st[0][n->rank - 1], ss = n->st[1][n->rank - 1];
	if (sd == 1 && ss == 1)
		memcpy(c->dst + off[0] * c->size, c->src + off[1] * c->size, (size_t)count * c->size);
	else if (c->size == 1)
		COPY_ROWS(uint8_t);
	else if (c->size == 2)
		COPY_ROWS(uint16_t);
	else if (c->size == 4)
		COPY_ROWS(uint32_t);
	else
		COPY_ROWS(uint64_t);
}

void nd_copy(struct run *r, struct nd *n, void *dst, const void *src, unsigned size)
{
	struct copy c = { dst, src, size };
	n->n_ops = 2;
	nd_merge(n);
	nd_run(r, n, copy_row, &c);
}
