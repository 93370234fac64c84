/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolution, pooling and LRN in channel blocks: plain C against a double precision definition on
 * NCHW, each level against plain C bit for bit, with one and two threads, lanes beyond C poisoned.
 */
#include "tests/unit/unit_kernels.h"

static int64_t blocked(int64_t n, int64_t c, int64_t hw) { return n * ((c + 15) / 16 * 16) * hw; }

/* NCHW to blocks, image by image; the lanes beyond c get NaN: nothing may read them. */
static float *to_blocks_poisoned(const float *x, int64_t n, int64_t c, int64_t hw)
{
	size_t image = (size_t)blocked(1, c, hw);
	float *b = floats_new((size_t)n * image);
	for (int64_t i = 0; i < n; i++) {
		kernels_get(LEVEL_C)->to_blocks(b + (size_t)i * image, x + i * c * hw, c, hw);
		for (size_t e = 0; e < image; e++)
			if ((int64_t)(e / 16 / (size_t)hw * 16 + e % 16) >= c)
				b[(size_t)i * image + e] = NAN;
	}
	return b;
}

/* One output of the definition: sum and the sum of absolute products. */
static double conv_double(const struct conv *c, const float *x, const float *w, int64_t n, int64_t o,
						  int64_t oh, int64_t ow, double *scale)
{
	int64_t gi = c->c_in / c->groups, go = c->c_out / c->groups, g = o / go;
	double sum = c->bias ? (double)c->bias[o] : 0;
	*scale = fabs(sum) + 1;
	for (int64_t i = 0; i < gi; i++)
		for (int64_t h = 0; h < c->kh; h++)
			for (int64_t v = 0; v < c->kw; v++) {
				int64_t ih, iw, at;
				if (c->transposed) {
					ih = oh + c->pad_top - h * c->dil_h;
					iw = ow + c->pad_left - v * c->dil_w;
					if (ih % c->stride_h || iw % c->stride_w)
						continue;
					ih /= c->stride_h;
					iw /= c->stride_w;
					at = ((g * gi + i) * go + o % go) * c->kh * c->kw + h * c->kw + v;
				} else {
					ih = oh * c->stride_h + h * c->dil_h - c->pad_top;
					iw = ow * c->stride_w + v * c->dil_w - c->pad_left;
					at = ((o * gi + i) * c->kh + h) * c->kw + v;
				}
				if (ih < 0 || iw < 0 || ih >= c->h_in || iw >= c->w_in)
					continue;
				int64_t ch = g * gi + i, s = c->x_shuffle ? c->x_shuffle : 1;
				ch = ch % s * (c->c_in / s) + ch / s;
				double p = (double)w[at] * (double)x[((n * c->c_in + ch) * c->h_in + ih) * c->w_in + iw];
				sum += p;
				*scale += fabs(p);
			}
	return sum;
}

static int64_t out_size(const struct conv *c, int64_t in, int64_t k, int64_t stride, int64_t dil, int64_t pad)
{
	if (c->transposed)
		return (in - 1) * stride + (k - 1) * dil + 1 - 2 * pad + rng_int(0, stride - 1);
	return (in + 2 * pad - (k - 1) * dil - 1) / stride + 1;
}

static void conv_levels(struct conv *c, const float *nchw, const float *blocks, const float *want,
						size_t size)
{
	size_t per_thread;
	for EACH_LEVEL (l) {
		for (int form = 0; form < 4; form++) {
			c->x_nchw = form >= 2;
			if (c->x_nchw && !conv_can_nchw(c))
				continue;
			c->x = c->x_nchw ? nchw : blocks;
			per_thread = conv_scratch_bytes(c);
			assert_int_equal(per_thread % 64, 0);
			float *scratch = floats_new(2 * per_thread / 4), *y = floats_new(size);
			c->y = y;
			kernels_get((enum level)l)->conv_f32(form % 2 ? pool_two() : NULL, c, scratch, per_thread);
			same_bits(level_name((enum level)l), y, want, size);
			guard_check(y, size);
			guard_check(scratch, 2 * per_thread / 4);
			free(y);
			free(scratch);
		}
	}
}

/* Runs one shape everywhere. Measured against double: below 3e-7 of the sum of absolute products. */
static void conv_check(struct conv c)
{
	c.h_out = out_size(&c, c.h_in, c.kh, c.stride_h, c.dil_h, c.pad_top);
	c.w_out = out_size(&c, c.w_in, c.kw, c.stride_w, c.dil_w, c.pad_left);
	if (c.h_out < 1 || c.w_out < 1)
		return;
	int64_t hw = c.h_out * c.w_out, gi = c.c_in / c.groups;
	size_t size = (size_t)blocked(c.n, c.c_out, hw), weights = (size_t)(c.c_out * gi * c.kh * c.kw);
	float *x = floats_random((size_t)(c.n * c.c_in * c.h_in * c.w_in)), *w = floats_random(weights);
	float *xb = to_blocks_poisoned(x, c.n, c.c_in, c.h_in * c.w_in);
	float *bias = floats_random((size_t)c.c_out), *res = floats_random(size), *want = floats_new(size);
	float *packed = floats_new(conv_pack_bytes(&c) / 4);
	float *plain = floats_new((size_t)(c.n * c.c_out * hw));
	conv_pack(packed, w, &c);
	guard_check(packed, conv_pack_bytes(&c) / 4);
	c.packed_w = packed;
	c.bias = rng_int(0, 3) ? bias : NULL;
	c.residual = rng_int(0, 2) ? NULL : res;
	c.x = xb;
	c.y = want;
	float *scratch = floats_new(conv_scratch_bytes(&c) / 4);
	kernels_get(LEVEL_C)->conv_f32(NULL, &c, scratch, conv_scratch_bytes(&c));
	guard_check(want, size);
	size_t image = (size_t)blocked(1, c.c_out, hw);
	for (int64_t n = 0; n < c.n; n++)
		kernels_get(LEVEL_C)->from_blocks(plain + n * c.c_out * hw, want + (size_t)n * image, c.c_out, hw);
	for (size_t e = 0; e < size; e++)
		if ((int64_t)(e % image / 16 / (size_t)hw * 16 + e % 16) >= c.c_out)
			assert_true(want[e] == 0);
	for (int round = 0; round < 40; round++) {
		int64_t n = rng_int(0, c.n - 1), o = rng_int(0, c.c_out - 1), i = rng_int(0, hw - 1);
		double scale, sum = conv_double(&c, x, w, n, o, i / c.w_out, i % c.w_out, &scale);
		if (c.residual)
			sum += (double)res[(size_t)n * image + (size_t)((o / 16 * hw + i) * 16 + o % 16)];
		if (c.act.kind == ACT_RELU)
			sum = fmax(sum, 0);
		if (c.act.kind == ACT_HARDSWISH)
			sum *= fmin(1, fmax(0, sum / 6 + 0.5));
		if (c.act.post)
			sum = sum * 1.5 - 0.25;
		near("conv", plain[(n * c.c_out + o) * hw + i], sum, scale * (1 + fabs(sum)), 1e-6);
	}
	conv_levels(&c, x, xb, want, size);
	float *all[] = { x, w, xb, bias, res, want, packed, plain, scratch };
	for (int i = 0; i < 9; i++)
		free(all[i]);
}

static struct conv conv_random(void)
{
	struct conv c = {.n = rng_int(1, 3),
					 .c_in = rng_int(1, 70),
					 .h_in = rng_int(1, 14),
					 .w_in = rng_int(1, 14),
					 .c_out = rng_int(1, 70),
					 .kh = rng_int(1, 4),
					 .kw = rng_int(1, 4),
					 .stride_h = rng_int(1, 3),
					 .stride_w = rng_int(1, 3),
					 .dil_h = rng_int(1, 2),
					 .dil_w = rng_int(1, 2),
					 .groups = 1};
	c.pad_top = rng_int(0, 2);
	c.pad_left = rng_int(0, 2);
	static const enum act kinds[] = { ACT_NONE, ACT_RELU, ACT_HARDSWISH };
	c.act = (struct activation){ .kind = kinds[rng_next() % 3], .alpha = 1.0f / 6, .beta = 0.5f,
		                         .post = rng_int(0, 2) == 0, .post_mul = 1.5f, .post_add = -0.25f };
	return c;
}

static void dense(void **state)
{
	(void)state;
	for (int round = 0; round < 80; round++)
		conv_check(conv_random());
}

static void pointwise_and_long(void **state)
{
	(void)state;
	for (int round = 0; round < 12; round++) {
		struct conv c = conv_random();
		c.kh = c.kw = c.stride_h = c.stride_w = 1;
		c.pad_top = c.pad_left = 0;
		conv_check(c);
	}
	struct conv c = conv_random(); /* k in several passes */
	c.c_in = 520;
	c.c_out = 64;
	c.kh = c.kw = 3;
	c.h_in = c.w_in = 5;
	c.n = 1;
	conv_check(c);
	c.c_out = 67;
	conv_check(c);
}

static void first_layers(void **state)
{
	(void)state;
	for (int round = 0; round < 25; round++) {
		struct conv c = conv_random();
		c.c_in = rng_int(1, 16);
		conv_check(c);
	}
	struct conv stft = conv_random();
	stft.c_in = 1;
	stft.h_in = stft.kh = stft.stride_h = stft.dil_h = stft.dil_w = 1;
	stft.pad_top = stft.pad_left = 0;
	stft.w_in = 640;
	stft.kw = 256;
	stft.stride_w = 128;
	stft.c_out = 258;
	conv_check(stft);
}

static void grouped(void **state)
{
	(void)state;
	for (int round = 0; round < 60; round++) {
		struct conv c = conv_random();
		c.groups = rng_int(2, 5);
		c.c_in = c.groups * rng_int(1, 20);
		c.c_out = c.groups * rng_int(1, 20);
		conv_check(c);
	}
	struct conv c = conv_random();
	c.groups = 2;
	c.c_in = 96;
	c.c_out = 64;
	conv_check(c);
}

/* Pointwise in groups that share channel blocks, from channels as they lie and from shuffled ones. */
static void grouped_pointwise(void **state)
{
	(void)state;
	for (int round = 0; round < 80; round++) {
		struct conv c = conv_random();
		c.kh = c.kw = 1;
		c.groups = rng_int(2, 5);
		c.c_in = c.groups * rng_int(1, 20);
		c.c_out = c.groups * rng_int(15, 70);
		if (round % 2 && conv_can_shuffle(&c))
			c.x_shuffle = c.c_in / c.groups > 1 && round % 4 == 1 ? c.c_in / c.groups : c.groups;
		conv_check(c);
	}
}

static void depthwise(void **state)
{
	(void)state;
	for (int round = 0; round < 80; round++) {
		struct conv c = conv_random();
		c.groups = c.c_in = c.c_out = rng_int(2, 40);
		c.w_in = rng_int(1, 40);
		c.kh = c.kw = rng_int(1, 2) * 2 + 1;
		if (round % 4 == 0)
			c.kw = rng_int(1, 5);
		if (c.pad_left > 0)
			c.pad_top = c.pad_left = c.kh / 2;
		conv_check(c);
	}
}

static void transposed(void **state)
{
	(void)state;
	for (int round = 0; round < 60; round++) {
		struct conv c = conv_random();
		c.transposed = true;
		if (round % 2) {
			c.kh = c.kw = c.stride_h = c.stride_w = 2;
			c.dil_h = c.dil_w = 1;
			c.pad_top = c.pad_left = 0;
		}
		if (round % 5 == 0) {
			c.groups = 3;
			c.c_in = 3 * rng_int(1, 12);
			c.c_out = 3 * rng_int(1, 12);
		}
		conv_check(c);
	}
}

/* x as a run of blocks of a wider tensor, y as a place in a Concat's result. */
static void images_apart(void **state)
{
	(void)state;
	struct conv c = {.n = 3,
					 .c_in = 20,
					 .h_in = 6,
					 .w_in = 7,
					 .c_out = 24,
					 .h_out = 6,
					 .w_out = 7,
					 .kh = 3,
					 .kw = 3,
					 .stride_h = 1,
					 .stride_w = 1,
					 .dil_h = 1,
					 .dil_w = 1,
					 .pad_top = 1,
					 .pad_left = 1,
					 .groups = 1};
	int64_t hw = 42, xi = 5 * 16 * hw, yi = 6 * 16 * hw;
	float *w = floats_random(24 * 20 * 9), *packed = floats_new(conv_pack_bytes(&c) / 4);
	conv_pack(packed, w, &c);
	float *x = floats_random((size_t)(3 * xi)), *y = floats_new((size_t)(3 * yi)),
		  *one = floats_new((size_t)(32 * hw));
	float *scratch = floats_new(conv_scratch_bytes(&c) / 4);
	c.packed_w = packed;
	for EACH_LEVEL (l) {
		c.n = 3;
		c.x = x + 16 * hw;
		c.y = y + 2 * 16 * hw;
		c.x_image = xi;
		c.y_image = yi;
		kernels_get((enum level)l)->conv_f32(NULL, &c, scratch, conv_scratch_bytes(&c));
		for (int64_t n = 0; n < 3; n++) {
			c.n = 1;
			c.x = x + 16 * hw + n * xi;
			c.y = one;
			c.x_image = c.y_image = 0;
			kernels_get((enum level)l)->conv_f32(NULL, &c, scratch, conv_scratch_bytes(&c));
			same_bits("image", y + n * yi + 2 * 16 * hw, one, (size_t)(32 * hw));
		}
		guard_check(y + 2 * yi + 4 * 16 * hw, 0);
	}
	float *all[] = { w, packed, x, y, one, scratch };
	for (int i = 0; i < 6; i++)
		free(all[i]);
}

/* A last upsampling straight into NCHW has the bits of the blocked form. */
static void scattered(void **state)
{
	(void)state;
	for (int round = 0; round < 30; round++) {
		struct conv c = conv_random();
		c.transposed = true;
		c.kh = c.stride_h = rng_int(1, 3);
		c.kw = c.stride_w = rng_int(1, 3);
		c.dil_h = c.dil_w = 1;
		c.pad_top = c.pad_left = 0;
		c.c_out = rng_int(1, 16 / (c.kh * c.kw));
		c.h_out = c.h_in * c.kh;
		c.w_out = c.w_in * c.kw;
		c.act.kind = round % 2 ? ACT_SIGMOID : c.act.kind;
		assert_true(conv_can_y_nchw(&c));
		int64_t hw = c.h_out * c.w_out, image = blocked(1, c.c_out, hw);
		size_t plain = (size_t)(c.n * c.c_out * hw);
		float *w = floats_random((size_t)(c.c_in * c.c_out * c.kh * c.kw)),
			  *bias = floats_random((size_t)c.c_out);
		float *x = floats_random((size_t)(c.n * c.c_in * c.h_in * c.w_in));
		float *xb = to_blocks_poisoned(x, c.n, c.c_in, c.h_in * c.w_in),
			  *y = floats_new((size_t)(c.n * image));
		float *want = floats_new(plain), *got = floats_new(plain),
			  *scratch = floats_new(conv_scratch_bytes(&c) / 4);
		float *p1 = floats_new(conv_pack_bytes(&c) / 4);
		conv_pack(p1, w, &c);
		c.x = xb;
		c.bias = round % 3 ? bias : NULL;
		c.packed_w = p1;
		c.y = y;
		kernels_get(LEVEL_C)->conv_f32(NULL, &c, scratch, conv_scratch_bytes(&c));
		for (int64_t n = 0; n < c.n; n++)
			kernels_get(LEVEL_C)->from_blocks(want + n * c.c_out * hw, y + n * image, c.c_out, hw);
		c.y_nchw = true;
		float *p2 = floats_new(conv_pack_bytes(&c) / 4);
		conv_pack(p2, w, &c);
		guard_check(p2, conv_pack_bytes(&c) / 4);
		c.packed_w = p2;
		c.y = got;
		for EACH_LEVEL (l) {
			kernels_get((enum level)l)->conv_f32(pool_two(), &c, scratch, conv_scratch_bytes(&c));
			same_bits("y_nchw", got, want, plain);
			guard_check(got, plain);
		}
		float *all[] = { w, bias, x, xb, y, want, got, scratch, p1, p2 };
		for (int i = 0; i < 10; i++)
			free(all[i]);
	}
}

/* --- pooling ------------------------------------------------------------------------------------------- */

static double pooling_double(const struct pooling *q, const float *x, int64_t n, int64_t ch, int64_t oh,
							 int64_t ow)
{
	double acc = q->kind == POOL_MAX ? -INFINITY : 0;
	int count = 0, padded = 0;
	for (int64_t h = 0; h < q->kh; h++)
		for (int64_t w = 0; w < q->kw; w++) {
			int64_t ih = oh * q->stride_h - q->pad_top + h * q->dil_h,
					iw = ow * q->stride_w - q->pad_left + w * q->dil_w;
			padded += ih < q->h_in + q->pad_bottom && iw < q->w_in + q->pad_right;
			if (ih < 0 || iw < 0 || ih >= q->h_in || iw >= q->w_in)
				continue;
			double v = (double)x[((n * q->c + ch) * q->h_in + ih) * q->w_in + iw];
			acc = q->kind == POOL_MAX ? fmax(acc, v) : acc + v;
			count++;
		}
	return q->kind == POOL_MAX ? acc : acc / (q->kind == POOL_AVG ? count : padded);
}

static void pooling(void **state)
{
	(void)state;
	for (int round = 0; round < 120; round++) {
		struct pooling q = {.kind = (enum pool_kind)(round % 3),
							.n = rng_int(1, 2),
							.c = rng_int(1, 40),
							.h_in = rng_int(1, 12),
							.w_in = rng_int(1, 12),
							.kh = rng_int(1, 4),
							.kw = rng_int(1, 4),
							.stride_h = rng_int(1, 3),
							.stride_w = rng_int(1, 3),
							.dil_h = rng_int(1, 2),
							.dil_w = rng_int(1, 2)};
		/* A pad below the kernel: every window has a cell of the image, as ONNX asks. */
		q.pad_top = rng_int(0, q.kh - 1) / q.dil_h;
		q.pad_left = rng_int(0, q.kw - 1) / q.dil_w;
		q.pad_bottom = rng_int(0, q.kh - 1) / q.dil_h;
		q.pad_right = rng_int(0, q.kw - 1) / q.dil_w;
		int64_t rh = q.h_in + q.pad_top + q.pad_bottom - (q.kh - 1) * q.dil_h - 1;
		int64_t rw = q.w_in + q.pad_left + q.pad_right - (q.kw - 1) * q.dil_w - 1;
		if (rh < 0 || rw < 0)
			continue;
		int ceil_mode = round % 2;
		q.h_out = (rh + (ceil_mode ? q.stride_h - 1 : 0)) / q.stride_h + 1;
		q.w_out = (rw + (ceil_mode ? q.stride_w - 1 : 0)) / q.stride_w + 1;
		if ((q.h_out - 1) * q.stride_h >= q.h_in + q.pad_top)
			q.h_out--; /* ONNX: a window that begins in the end padding is dropped */
		if ((q.w_out - 1) * q.stride_w >= q.w_in + q.pad_left)
			q.w_out--;
		int64_t hw = q.h_out * q.w_out;
		size_t image = (size_t)blocked(1, q.c, hw), size = (size_t)q.n * image;
		float *x = floats_random((size_t)(q.n * q.c * q.h_in * q.w_in));
		float *xb = to_blocks_poisoned(x, q.n, q.c, q.h_in * q.w_in);
		float *want = floats_new(size), *y = floats_new(size), *plain = floats_new((size_t)(q.c * hw));
		q.x = xb;
		q.y = want;
		kernels_get(LEVEL_C)->pooling_f32(NULL, &q);
		for (int64_t n = 0; n < q.n; n++) {
			kernels_get(LEVEL_C)->from_blocks(plain, want + (size_t)n * image, q.c, hw);
			for (int64_t ch = 0; ch < q.c; ch++)
				for (int64_t i = 0; i < hw; i++) {
					double d = pooling_double(&q, x, n, ch, i / q.w_out, i % q.w_out);
					if (isfinite(d)) /* a dilated window may miss the image altogether */
						near("pooling", plain[ch * hw + i], d, 1, 1e-6);
				}
		}
		q.y = y;
		for EACH_LEVEL (l) {
			kernels_get((enum level)l)->pooling_f32(pool_two(), &q);
			same_bits("pooling", y, want, size);
			guard_check(y, size);
		}
		float *all[] = { x, xb, want, y, plain };
		for (int i = 0; i < 5; i++)
			free(all[i]);
	}
}

static void global_pooling(void **state)
{
	(void)state;
	for (int round = 0; round < 30; round++) {
		int64_t c = rng_int(1, 50), hw = rng_int(1, 70), blocks = (c + 15) / 16;
		float *x = floats_random((size_t)(c * hw)), *xb = to_blocks_poisoned(x, 1, c, hw);
		float *want = floats_new((size_t)blocks * 16), *y = floats_new((size_t)blocks * 16);
		for (int max = 0; max < 2; max++) {
			kernels_get(LEVEL_C)->global_pool_f32(NULL, max, want, xb, blocks, hw);
			for (int64_t ch = 0; ch < c; ch++) {
				double acc = max ? -INFINITY : 0;
				for (int64_t i = 0; i < hw; i++)
					acc = max ? fmax(acc, (double)x[ch * hw + i]) : acc + (double)x[ch * hw + i];
				near("global", want[ch], max ? acc : acc / (double)hw, 1, 1e-6);
			}
			for EACH_LEVEL (l) {
				kernels_get((enum level)l)->global_pool_f32(pool_two(), max, y, xb, blocks, hw);
				same_bits("global", y, want, (size_t)blocks * 16);
			}
		}
		float *all[] = { x, xb, want, y };
		for (int i = 0; i < 4; i++)
			free(all[i]);
	}
}

static void local_response(void **state)
{
	(void)state;
	for (int round = 0; round < 30; round++) {
		int64_t n = rng_int(1, 2), c = rng_int(1, 60), hw = rng_int(1, 9);
		struct lrn l = { .n = n, .c = c, .hw = hw, .size = rng_int(0, 20) * 2 + 1, .alpha = 0.5f,
			             .beta = round % 2 ? 0.75f : 0.6f, .k = 1.5f };
		size_t image = (size_t)blocked(1, c, hw), size = (size_t)n * image;
		float *x = floats_random((size_t)(n * c * hw)), *xb = to_blocks_poisoned(x, n, c, hw);
		float *want = floats_new(size), *y = floats_new(size), *plain = floats_new((size_t)(c * hw));
		l.x = xb;
		l.y = want;
		kernels_get(LEVEL_C)->lrn_f32(NULL, &l);
		for (int64_t i = 0; i < n; i++) {
			kernels_get(LEVEL_C)->from_blocks(plain, want + (size_t)i * image, c, hw);
			for (int64_t e = 0; e < c * hw; e++) {
				double sum = 0;
				for (int64_t d = -(l.size - 1) / 2; d <= l.size / 2; d++)
					if (e / hw + d >= 0 && e / hw + d < c)
						sum += pow((double)x[i * c * hw + e + d * hw], 2);
				double want_e =
					(double)x[i * c * hw + e] / pow(1.5 + 0.5 / (double)l.size * sum, (double)l.beta);
				near("lrn", plain[e], want_e, 1, 1e-6);
			}
		}
		l.y = y;
		for EACH_LEVEL (lv) {
			kernels_get((enum level)lv)->lrn_f32(pool_two(), &l);
			same_bits("lrn", y, want, size);
			guard_check(y, size);
		}
		float *all[] = { x, xb, want, y, plain };
		for (int j = 0; j < 5; j++)
			free(all[j]);
	}
}

int main(void)
{
	fp_env_set();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dense),          cmocka_unit_test(pointwise_and_long),
		cmocka_unit_test(first_layers),   cmocka_unit_test(grouped),
		cmocka_unit_test(grouped_pointwise),
		cmocka_unit_test(depthwise),      cmocka_unit_test(transposed),
		cmocka_unit_test(images_apart),   cmocka_unit_test(pooling),
		cmocka_unit_test(global_pooling), cmocka_unit_test(local_response),
		cmocka_unit_test(scattered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
