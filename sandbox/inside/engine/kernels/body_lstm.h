/* SPDX-License-Identifier: Apache-2.0
 *
 * One LSTM step: 16 hidden units at a time with their four gates in registers, so that gates never go
 * to memory. Packed by lstm_pack as [hidden block][k][gate][16] (k: inputs, then hidden), one stream.
 *
 * Side: inside. Trusts: its arguments. Owns: nothing. Included once per level, after body_tile.h.
 */

struct lstm_job {
	const struct lstm *l;
	int64_t blocks, parts;
};

static INLINE const float *lstm_steps(v16 acc[4], const float *a, const float *w, int64_t n)
{
	for (int64_t k = 0; k < n; k++, w += 64) {
		v16 v = v_set1(a[k]);
		UNROLL
		for (int g = 0; g < 4; g++)
			acc[g] = v_acc(v, v_load(w + g * 16), acc[g]);
	}
	return w;
}

static void lstm_block(const struct lstm *l, int64_t blocks, int64_t n, int64_t b)
{
	int64_t stride = (l->input + l->hidden) * 64;
	const float *bias = l->packed + blocks * stride + b * 64;
	int lanes = (int)min_i(16, l->hidden - b * 16);
	v16 acc[4];
	UNROLL
	for (int g = 0; g < 4; g++)
		acc[g] = v_load(bias + g * 16);
	const float *w = lstm_steps(acc, l->x + n * l->ldx, l->packed + b * stride, l->input);
	lstm_steps(acc, l->h + n * l->hidden, w, l->hidden);
	int64_t at = n * l->hidden + b * 16;
	/* i o f c */
	v16 in = v_mul(m_sigmoid(acc[0]), m_tanh(acc[3]));
	v16 c = v_fma(m_sigmoid(acc[2]), v_load_part(l->c + at, 0, lanes), in);
	v16 h = v_mul(m_sigmoid(acc[1]), m_tanh(c));
	v_store_part(l->c_out + at, v_one_nan(c), 0, lanes);
	v_store_part(l->h_out + at, v_one_nan(h), 0, lanes);
}

static void lstm_task(void *arg, uint32_t task, unsigned thread)
{
	(void)thread;
	const struct lstm_job *j = arg;
	const struct lstm *l = j->l;
	int64_t end = even_cut(j->blocks, j->parts, task + 1);
	for (int64_t b = even_cut(j->blocks, j->parts, task); b < end; b++)
		for (int64_t n = 0; n < l->batch; n++)
			lstm_block(l, j->blocks, n, b);
}

static void k_lstm_step(struct pool *p, const struct lstm *l)
{
	struct lstm_job j = { l, div_up(l->hidden, 16), 0 };
	double flop = 8.0 * (double)l->batch * (double)l->hidden * (double)(l->input + l->hidden);
	j.parts = min_i(j.blocks, tasks_wanted(flop));
	pool_run(p, lstm_task, &j, (uint32_t)j.parts);
}
