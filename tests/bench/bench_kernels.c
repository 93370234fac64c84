/* SPDX-License-Identifier: Apache-2.0
 *
 * Speed of the kernels at the shapes of the bench's models, in per cent of the FMA peak measured in
 * the same run, ours beside OpenBLAS where both can compute the product.
 *
 *   bench_kernels [LEVEL [FILTER]]      LEVEL: C, AVX2, AVX512, AMX (default: the best)
 *
 * A time is the best of many short samples: other programs share the machine. Ratios within one run
 * are the result; numbers of two runs compare poorly.
 *
 * Side: test. Trusts: nothing. Owns: its memory until exit.
 */
#include "sandbox/inside/engine/kernels/blas.h"
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/kernels/pool.h"

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES 12
#define SAMPLE_S 0.004

static const struct kernels *k;
static struct pool *pool2;
static double peak_gflops;
static const char *filter = "";
static void *slot;
static size_t slot_bytes;
static bool use_blas;

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static float *floats(size_t n)
{
	float *p = aligned_alloc(64, (n * 4 + 127) & ~(size_t)63);
	if (!p)
		exit(1);
	for (size_t i = 0; i < n; i++)
		p[i] = (float)((i * 2654435761u >> 8) & 0xffff) / 65536.0f - 0.5f;
	return p;
}

/* Best seconds of one call. */
static double best(void (*fn)(void *), void *arg)
{
	double lowest = 1e9;
	fn(arg);
	for (int s = 0; s < SAMPLES; s++) {
		int n = 0;
		double a = now_s(), t;
		do {
			fn(arg);
			n++;
			t = now_s() - a;
		} while (t < SAMPLE_S);
		lowest = t / n < lowest ? t / n : lowest;
	}
	return lowest;
}

/* --- the peak: FMA chains in registers ------------------------------------------------------------- */

__attribute__((target("avx512f"))) static void peak_512(void *arg)
{
	__m512 b = _mm512_set1_ps(0.999f);
	for (int r = 0; r < 20000; r++)
		__asm__ volatile(
			"vfmadd231ps %0, %0, %%zmm16\n vfmadd231ps %0, %0, %%zmm17\n vfmadd231ps %0, %0, %%zmm18\n"
			"vfmadd231ps %0, %0, %%zmm19\n vfmadd231ps %0, %0, %%zmm20\n vfmadd231ps %0, %0, %%zmm21\n"
			"vfmadd231ps %0, %0, %%zmm22\n vfmadd231ps %0, %0, %%zmm23\n vfmadd231ps %0, %0, %%zmm24\n"
			"vfmadd231ps %0, %0, %%zmm25\n vfmadd231ps %0, %0, %%zmm26\n vfmadd231ps %0, %0, %%zmm27\n"
			: : "v"(b) : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
			"xmm25", "xmm26", "xmm27");
	(void)arg;
}

__attribute__((target("avx2,fma"))) static void peak_256(void *arg)
{
	__m256 b = _mm256_set1_ps(0.999f);
	for (int r = 0; r < 20000; r++)
		__asm__ volatile(
			"vfmadd231ps %0, %0, %%ymm4\n vfmadd231ps %0, %0, %%ymm5\n vfmadd231ps %0, %0, %%ymm6\n"
			"vfmadd231ps %0, %0, %%ymm7\n vfmadd231ps %0, %0, %%ymm8\n vfmadd231ps %0, %0, %%ymm9\n"
			"vfmadd231ps %0, %0, %%ymm10\n vfmadd231ps %0, %0, %%ymm11\n vfmadd231ps %0, %0, %%ymm12\n"
			"vfmadd231ps %0, %0, %%ymm13\n vfmadd231ps %0, %0, %%ymm14\n vfmadd231ps %0, %0, %%ymm15\n"
			: : "x"(b) : "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			"xmm14", "xmm15");
	(void)arg;
}

static double peak_measure(void)
{
	float out[16];
	if (k->level >= LEVEL_AVX512)
		return 20000.0 * 12 * 32 / best(peak_512, out) * 1e-9;
	if (k->level == LEVEL_AVX2)
		return 20000.0 * 12 * 16 / best(peak_256, out) * 1e-9;
	return 1;
}

static void row(const char *kind, const char *name, double gflop, double t1, double t2, double blas)
{
	printf("%-6s %-34s %9.1f us %7.1f GF/s %5.1f%% | 2T %9.1f us %7.1f %5.1f%%", kind, name, t1 * 1e6,
		   gflop / t1, 100 * gflop / t1 / peak_gflops, t2 * 1e6, gflop / t2, 50 * gflop / t2 / peak_gflops);
	if (blas > 0)
		printf(" | blas %7.1f GF/s, ours/blas %.2f", gflop / blas, blas / t1);
	printf("\n");
}

/* --- products ---------------------------------------------------------------------------------------- */

struct product {
	struct gemm g;
	struct pool *pool;
	float *b;
};

static void product_run(void *arg)
{
	struct product *p = arg;
	k->gemm_f32(p->pool, &p->g);
}

static void product_blas(void *arg)
{
	struct product *p = arg;
	struct blas_product q = {p->g.m, p->g.n, p->g.k, p->g.a,   p->g.lda, p->b,
							 p->g.n, false,  p->g.c, p->g.ldc, false};
	blas_sgemm(slot, slot_bytes, &q);
}

static void product(const char *name, int64_t m, int64_t n, int64_t kk)
{
	char text[64];
	snprintf(text, sizeof text, "%s %ldx%ldx%ld", name, (long)m, (long)n, (long)kk);
	if (!strstr(text, filter))
		return;
	struct product p = { .b = floats((size_t)(kk * n)) };
	float *packed = floats(gemm_pack_bytes(kk, n) / 4), *a = floats((size_t)(m * kk)),
		  *c = floats((size_t)(m * n));
	gemm_pack(packed, p.b, n, false, kk, n);
	p.g = (struct gemm){ m, n, kk, a, kk, packed, c, n, NULL, NULL, { .kind = ACT_NONE } };
	double t1 = best(product_run, &p), blas = 0;
	if (use_blas)
		blas = best(product_blas, &p);
	p.pool = pool2;
	double t2 = best(product_run, &p);
	row("gemm", text, 2e-9 * (double)(m * n * kk), t1, t2, blas);
	free(p.b);
	free(packed);
	free(a);
	free(c);
}

/* --- convolutions -------------------------------------------------------------------------------------- */

struct layer {
	struct conv c;
	struct pool *pool;
	void *scratch;
	size_t per_thread;
};

static void layer_run(void *arg)
{
	struct layer *l = arg;
	k->conv_f32(l->pool, &l->c, l->scratch, l->per_thread);
}

struct layer_row {
	const char *name;
	int c_in, h, w, c_out, kh, kw, stride, pad, groups;
	bool nchw, transposed;
	enum act act;
};

static void layer(const struct layer_row *r)
{
	char text[80];
	snprintf(text, sizeof text, "%s %dx%dx%d>%d k%dx%d s%d g%d", r->name, r->c_in, r->h, r->w, r->c_out,
			 r->kh, r->kw, r->stride, r->groups);
	if (!strstr(text, filter))
		return;
	int ph = r->kh > 1 ? r->pad : 0;
	struct layer l = {.c = {.n = 1,
							.c_in = r->c_in,
							.h_in = r->h,
							.w_in = r->w,
							.c_out = r->c_out,
							.kh = r->kh,
							.kw = r->kw,
							.stride_h = r->h > 1 ? r->stride : 1,
							.stride_w = r->stride,
							.dil_h = 1,
							.dil_w = 1,
							.pad_top = ph,
							.pad_left = r->pad,
							.groups = r->groups,
							.act = {.kind = r->act, .alpha = 1.0f / 6, .beta = 0.5f},
							.x_nchw = r->nchw,
							.transposed = r->transposed}};
	struct conv *c = &l.c;
	c->h_out = r->transposed ? r->h * r->stride : (r->h + 2 * ph - r->kh) / c->stride_h + 1;
	c->w_out = r->transposed ? r->w * r->stride : (r->w + 2 * r->pad - r->kw) / r->stride + 1;
	c->y_nchw = conv_can_y_nchw(c);
	float *w = floats((size_t)r->c_out * (size_t)(r->c_in / r->groups * r->kh * r->kw));
	float *x = floats((size_t)(r->c_in + 15) / 16 * 16 * (size_t)(r->h * r->w));
	float *y = floats((size_t)(r->c_out + 15) / 16 * 16 * (size_t)(c->h_out * c->w_out)),
		  *b = floats((size_t)r->c_out);
	float *packed = floats(conv_pack_bytes(c) / 4);
	conv_pack(packed, w, c);
	c->packed_w = packed;
	c->x = x;
	c->y = y;
	c->bias = b;
	l.per_thread = conv_scratch_bytes(c);
	l.scratch = floats(2 * l.per_thread / 4);
	double t1 = best(layer_run, &l);
	l.pool = pool2;
	double t2 = best(layer_run, &l);
	double cells = r->transposed ? (double)(r->h * r->w) : (double)(c->h_out * c->w_out);
	row("conv", text, 2e-9 * cells * r->c_out * (r->c_in / r->groups) * r->kh * r->kw, t1, t2, 0);
	free(w);
	free(x);
	free(y);
	free(b);
	free(packed);
	free(l.scratch);
}

static const struct layer_row layers[] = {
	{ "resnet first", 3, 224, 224, 64, 7, 7, 2, 3, 1, true, false, ACT_RELU },
	{ "resnet", 64, 56, 56, 64, 1, 1, 1, 0, 1, false, false, ACT_RELU },
	{ "resnet", 64, 56, 56, 64, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "resnet", 64, 56, 56, 256, 1, 1, 1, 0, 1, false, false, ACT_RELU },
	{ "resnet", 256, 56, 56, 128, 1, 1, 2, 0, 1, false, false, ACT_RELU },
	{ "resnet", 128, 28, 28, 128, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "resnet", 256, 14, 14, 256, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "resnet", 1024, 14, 14, 256, 1, 1, 1, 0, 1, false, false, ACT_RELU },
	{ "resnet", 512, 7, 7, 512, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "resnet", 512, 7, 7, 2048, 1, 1, 1, 0, 1, false, false, ACT_RELU },
	{ "vgg first", 3, 224, 224, 64, 3, 3, 1, 1, 1, true, false, ACT_RELU },
	{ "vgg", 64, 224, 224, 64, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "vgg", 256, 56, 56, 256, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "vgg", 512, 28, 28, 512, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "vgg", 512, 14, 14, 512, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "alexnet first", 3, 224, 224, 96, 11, 11, 4, 0, 1, true, false, ACT_RELU },
	{ "alexnet", 96, 26, 26, 256, 5, 5, 1, 2, 2, false, false, ACT_RELU },
	{ "densenet", 256, 28, 28, 128, 1, 1, 1, 0, 1, false, false, ACT_RELU },
	{ "densenet", 128, 28, 28, 32, 3, 3, 1, 1, 1, false, false, ACT_NONE },
	{ "densenet", 128, 7, 7, 32, 3, 3, 1, 1, 1, false, false, ACT_NONE },
	{ "squeezenet", 96, 54, 54, 16, 1, 1, 1, 0, 1, false, false, ACT_RELU },
	{ "squeezenet", 48, 27, 27, 192, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "shufflenet", 136, 28, 28, 136, 1, 1, 1, 0, 4, false, false, ACT_RELU },
	{ "shufflenet", 272, 14, 14, 272, 1, 1, 1, 0, 4, false, false, ACT_RELU },
	{ "shufflenet", 544, 7, 7, 544, 1, 1, 1, 0, 4, false, false, ACT_NONE },
	{ "shufflenet", 272, 14, 14, 272, 3, 3, 1, 1, 272, false, false, ACT_NONE },
	{ "shufflenet", 136, 28, 28, 136, 3, 3, 1, 1, 136, false, false, ACT_NONE },
	{ "inception", 192, 28, 28, 96, 1, 1, 1, 0, 1, false, false, ACT_RELU },
	{ "inception", 160, 14, 14, 320, 3, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "det first", 3, 640, 640, 16, 3, 3, 2, 1, 1, true, false, ACT_NONE },
	{ "det dw", 16, 320, 320, 16, 3, 3, 1, 1, 16, false, false, ACT_HARDSWISH },
	{ "det dw", 32, 320, 320, 32, 3, 3, 2, 1, 32, false, false, ACT_HARDSWISH },
	{ "det dw", 192, 40, 40, 192, 5, 5, 1, 2, 192, false, false, ACT_HARDSWISH },
	{ "det pw", 16, 320, 320, 32, 1, 1, 1, 0, 1, false, false, ACT_HARDSWISH },
	{ "det pw", 48, 160, 160, 96, 1, 1, 1, 0, 1, false, false, ACT_HARDSWISH },
	{ "det pw", 192, 40, 40, 384, 1, 1, 1, 0, 1, false, false, ACT_HARDSWISH },
	{ "det neck", 96, 160, 160, 24, 3, 3, 1, 1, 1, false, false, ACT_NONE },
	{ "det neck", 96, 160, 160, 24, 9, 9, 1, 4, 1, false, false, ACT_NONE },
	{ "det up", 24, 160, 160, 24, 2, 2, 2, 0, 1, false, true, ACT_RELU },
	{ "det up", 24, 320, 320, 1, 2, 2, 2, 0, 1, false, true, ACT_SIGMOID },
	{ "rec pw", 240, 3, 160, 480, 1, 1, 1, 0, 1, false, false, ACT_HARDSWISH },
	{ "rec dw", 240, 6, 160, 240, 5, 5, 1, 2, 240, false, false, ACT_HARDSWISH },
	{ "cls pw", 16, 12, 96, 64, 1, 1, 1, 0, 1, false, false, ACT_HARDSWISH },
	{ "silero stft", 1, 1, 640, 258, 1, 256, 128, 0, 1, true, false, ACT_NONE },
	{ "silero", 129, 1, 4, 128, 1, 3, 1, 1, 1, false, false, ACT_RELU },
	{ "silero", 128, 1, 4, 64, 1, 3, 2, 1, 1, false, false, ACT_RELU },
	{ "magika conv1d", 256, 1, 512, 256, 1, 5, 1, 2, 1, false, false, ACT_GELU_TANH },
};

/* --- LSTM and flat kernels ------------------------------------------------------------------------------ */

struct step {
	struct lstm l;
	struct pool *pool;
};

static void step_run(void *arg)
{
	struct step *s = arg;
	k->lstm_step_f32(s->pool, &s->l);
}

static void lstm(int64_t in, int64_t hid)
{
	char text[64];
	snprintf(text, sizeof text, "lstm %ld+%ld", (long)in, (long)hid);
	if (!strstr(text, filter))
		return;
	size_t n = (size_t)hid;
	float *w = floats(4 * n * (size_t)in), *r = floats(4 * n * n), *b = floats(8 * n),
		  *x = floats((size_t)in);
	float *packed = floats(lstm_pack_bytes(in, hid) / 4), *h = floats(n), *c = floats(n), *ho = floats(n),
		  *co = floats(n);
	lstm_pack(packed, w, r, b, in, hid);
	struct step s = { { 1, in, hid, x, in, h, c, packed, ho, co }, NULL };
	double t1 = best(step_run, &s);
	s.pool = pool2;
	double t2 = best(step_run, &s);
	row("lstm", text, 8e-9 * (double)(hid * (in + hid)), t1, t2, 0);
}

static float *flat_x, *flat_y;
#define FLAT_N 32768

static void flat_hardswish(void *arg)
{
	(void)arg;
	k->activate_f32((struct activation){.kind = ACT_HARDSWISH, .alpha = 0.2f, .beta = 0.5f}, flat_y, flat_x,
					FLAT_N);
}
static void flat_exp(void *arg) { (void)arg; k->unary_f32(UN_EXP, flat_y, flat_x, FLAT_N); }
static void flat_erf(void *arg) { (void)arg; k->unary_f32(UN_ERF, flat_y, flat_x, FLAT_N); }
static void flat_tanh(void *arg) { (void)arg; k->unary_f32(UN_TANH, flat_y, flat_x, FLAT_N); }
static void flat_sigmoid(void *arg) { (void)arg; k->unary_f32(UN_SIGMOID, flat_y, flat_x, FLAT_N); }
static void flat_add(void *arg) { (void)arg; k->binary_f32(BIN_ADD, flat_y, flat_x, flat_y, FLAT_N); }
static void flat_softmax(void *arg) { (void)arg; k->softmax_f32(flat_y, flat_x, 6625); }
static void flat_to_blocks(void *arg) { (void)arg; k->to_blocks(flat_y, flat_x, 32, FLAT_N / 32); }
static void flat_from_blocks(void *arg) { (void)arg; k->from_blocks(flat_y, flat_x, 32, FLAT_N / 32); }
static void nothing(void *arg, uint32_t task, unsigned thread) { (void)arg; (void)task; (void)thread; }
static void flat_pool(void *arg) { (void)arg; pool_run(pool2, nothing, NULL, 2); }

static void flats(void)
{
	static const struct {
		const char *name;
		void (*fn)(void *);
		int n;
	} rows[] = {{"hardswish", flat_hardswish, FLAT_N},
				{"exp", flat_exp, FLAT_N},
				{"erf", flat_erf, FLAT_N},
				{"tanh", flat_tanh, FLAT_N},
				{"sigmoid", flat_sigmoid, FLAT_N},
				{"add", flat_add, FLAT_N},
				{"softmax 6625", flat_softmax, 6625},
				{"to_blocks", flat_to_blocks, FLAT_N},
				{"from_blocks", flat_from_blocks, FLAT_N},
				{"pool_run 2 empty tasks", flat_pool, 1}};
	flat_x = floats(FLAT_N);
	flat_y = floats(FLAT_N);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (!strstr(rows[i].name, filter))
			continue;
		double t = best(rows[i].fn, NULL);
		printf("flat   %-34s %9.2f us  %6.3f ns/element\n", rows[i].name, t * 1e6, t * 1e9 / rows[i].n);
	}
}

int main(int argc, char **argv)
{
	enum level l = level_detect();
	for (int i = 0; argc > 1 && i < LEVEL__MAX; i++)
		if (strcmp(argv[1], level_name((enum level)i)) == 0)
			l = (enum level)i;
	filter = argc > 2 ? argv[2] : "";
	k = kernels_get(l);
	if (!k) {
		fprintf(stderr, "level %s does not run here\n", level_name(l));
		return 2;
	}
	if (pool_start(&pool2, aligned_alloc(64, 4096), 2, aligned_alloc(4096, 1 << 20), 1 << 20))
		return 1;
	/* The core is that of the processor's best level: other levels have no OpenBLAS row here. */
	use_blas = strcmp(blas_core(), blas_core_wanted(l)) == 0;
	slot_bytes = blas_need_bytes(1024, 6700);
	slot = aligned_alloc(4096, slot_bytes);
	peak_gflops = peak_measure();
	printf("level %s, FMA peak of one thread %.1f GFLOP/s, OpenBLAS core %s\n", level_name(l), peak_gflops,
		   blas_core());
	product("square", 64, 64, 64);
	product("square", 128, 128, 128);
	product("square", 256, 256, 256);
	product("square", 512, 512, 512);
	product("square", 1024, 1024, 1024);
	product("rec head", 40, 6625, 120);
	product("rec qkv", 40, 360, 120);
	product("rec mlp", 40, 120, 240);
	product("attention", 40, 40, 15);
	product("bert", 128, 768, 768);
	product("bert", 128, 3072, 768);
	product("minilm", 16, 384, 1536);
	product("magika", 512, 256, 1280);
	product("magika out", 1, 214, 512);
	product("gemv", 1, 512, 512);
	product("gemv", 1, 4096, 4096);
	product("vgg fc", 1, 4096, 25088);
	product("small m", 4, 1024, 1024);
	product("wake", 1, 128, 1536);
	for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
		layer(&layers[i]);
	lstm(128, 128);
	lstm(64, 64);
	flats();
	pool_stop(pool2);
	return 0;
}
