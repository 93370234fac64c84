/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's conversation: see serve.h.
 * Side: inside. Trusts: nothing. Owns: how the arena is cut.
 *
 * The arena, once the plan is there:
 *   [0, engine)            graph, packed weights, plan, activations: the engine's
 *   [engine, + request)    the body of one CALL, then what unpacking it needs, then the answer's head
 */
#include "sandbox/inside/serve.h"
#include "sandbox/inside/sys.h"
#include "sandbox/inside/engine/engine.h"
#include "sandbox/inside/engine/kernels/pool.h"
#include "proto/fixed.h"
#include "proto/frame.h"
#include "proto/fumehood.pb-c.h"
#include "proto/mem.h"
#include "proto/pb.h"

#include <string.h>

#define CHANNEL_FD 3
#define SMALL_ANSWER_BYTES KIB(64) /* answers up to this go out in one write */
#define META_VALUE_MAX_BYTES KIB(512)

struct worker {
	const struct serve *s;
	struct arena engine_mem;
	struct engine_model *model;
	struct engine_session *session;
	uint8_t *request;       /* the request region */
	size_t request_bytes;
	size_t request_peak;    /* of it, written since the last scrub */
	uint64_t macs, calls;
};

/* --- channel -------------------------------------------------------------------------------------- */

/* Reads a frame header. Returns 1, 0 at the clean end of the channel, or a negative serve_exit. */
static int header_read(struct frame_header *h, struct err *e)
{
	uint8_t raw[FRAME_HEADER_BYTES];
	long got = sys_read_exact(CHANNEL_FD, raw, sizeof raw);
	if (got == 0)
		return 0;
	if (got != (long)sizeof raw)
		return -SERVE_CHANNEL;
	return frame_header_get(raw, ROLE_BROKER, ROLE_WORKER, h, e) == ERR_OK ? 1 : -SERVE_PROTOCOL;
}

/* Reads the body of a FIXED message of this kind that must come now. */
static int fixed_read(uint16_t kind, void *out)
{
	struct frame_header h;
	struct err e;
	int rc = header_read(&h, &e);
	if (rc <= 0)
		return rc;
	if (h.kind != kind)
		return -SERVE_PROTOCOL;
	return sys_read_exact(CHANNEL_FD, out, FIXED_BYTES) == FIXED_BYTES ? 1 : -SERVE_CHANNEL;
}

static int bytes_write(const void *p, size_t n)
{
	return sys_write_exact(CHANNEL_FD, p, n) == (long)n ? SERVE_OK : SERVE_CHANNEL;
}

static int fixed_write(uint16_t kind, const void *body)
{
	uint8_t out[FRAME_HEADER_BYTES + FIXED_BYTES];
	frame_header_put(out, &(struct frame_header){ kind, FIXED_BYTES, 0 });
	memcpy(out + FRAME_HEADER_BYTES, body, FIXED_BYTES);
	return bytes_write(out, sizeof out);
}

/* Packs header, fixed struct, prefix, head and padding into dst; 0 when it does not fit. */
static size_t front_put(uint8_t *dst, size_t cap, uint16_t kind, uint64_t request_id,
                        const struct result_fixed *fixed, const ProtobufCMessage *head, size_t tail_len)
{
	size_t head_len = protobuf_c_message_get_packed_size(head);
	size_t front = frame_front_bytes(head_len, tail_len);
	size_t total = FRAME_HEADER_BYTES + FIXED_BYTES + front;
	if (head_len > LIMIT_MODEL_INFO_BYTES || total > cap)
		return 0;
	memset(dst, 0, total);
	frame_header_put(dst, &(struct frame_header){ kind, FIXED_BYTES + front + tail_len, request_id });
	memcpy(dst + FRAME_HEADER_BYTES, fixed, FIXED_BYTES);
	frame_prefix_put(dst + FRAME_HEADER_BYTES + FIXED_BYTES, head_len);
	protobuf_c_message_pack(head, dst + FRAME_HEADER_BYTES + FIXED_BYTES + FRAME_PREFIX_BYTES);
	return total;
}

/* Everything below end in the request region has been written. */
static void written(struct worker *w, const uint8_t *end)
{
	size_t n = (size_t)(end - w->request);
	if (n > w->request_peak)
		w->request_peak = n;
}

/* --- memory for protobuf-c ---------------------------------------------------------------------- */

static void *pb_alloc(void *arg, size_t n) { return arena_alloc(arg, n ? n : 1); }
static void pb_free(void *arg, void *p) { (void)arg, (void)p; }

static ProtobufCBinaryData bytes_of(const char *p, size_t n)
{
	/* protobuf-c packs through a pointer that it does not write to, but does not say so. */
	return (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)p };
}

static char *text_of(const char *s) { return (char *)(uintptr_t)(s ? s : ""); }

/* --- the description of a model ------------------------------------------------------------------- */

static Fumehood__Port *port_new(struct arena *a, const struct engine_port *p)
{
	Fumehood__Port *o = arena_alloc(a, sizeof *o);
	size_t rank = p->rank > 0 ? (size_t)p->rank : 0;
	ProtobufCBinaryData *names = arena_array(a, rank + 1, sizeof *names);
	int64_t *dims = arena_array(a, rank + 1, sizeof *dims);
	if (!o || !names || !dims)
		return NULL;
	fumehood__port__init(o);
	o->name = bytes_of(p->name, p->name_len);
	o->type = (Fumehood__DataType)p->dtype;
	o->any_rank = p->rank < 0;
	o->optional = p->optional;
	o->n_dims = o->n_dim_names = rank;
	o->dims = dims;
	o->dim_names = names;
	for (size_t i = 0; i < rank; i++) {
		dims[i] = p->dims[i] < 0 ? -1 : p->dims[i];
		names[i] = bytes_of(p->dim_name[i], p->dim_name[i] ? p->dim_name_len[i] : 0);
	}
	return o;
}

static Fumehood__Port **ports_new(struct arena *a, const struct engine_port *ports, size_t n)
{
	Fumehood__Port **list = arena_array(a, n + 1, sizeof *list);
	for (size_t i = 0; list && i < n; i++)
		if (!(list[i] = port_new(a, &ports[i])))
			return NULL;
	return list;
}

static Fumehood__Fact **facts_new(struct arena *a, const struct engine_fact *facts, size_t n)
{
	Fumehood__Fact **list = arena_array(a, n + 1, sizeof *list);
	Fumehood__Fact *rows = arena_array(a, n + 1, sizeof *rows);
	if (!list || !rows)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		fumehood__fact__init(&rows[i]);
		rows[i].group = text_of(facts[i].group);
		rows[i].code = text_of(facts[i].code);
		rows[i].severity = (uint32_t)facts[i].severity;
		rows[i].offset = facts[i].offset;
		rows[i].text = text_of(facts[i].text);
		list[i] = &rows[i];
	}
	return list;
}

static Fumehood__Meta **metadata_new(struct arena *a, const struct engine_model *m, size_t *n_out)
{
	size_t n = engine_model_metadata_count(m);
	Fumehood__Meta **list = arena_array(a, n + 1, sizeof *list);
	Fumehood__Meta *rows = arena_array(a, n + 1, sizeof *rows);
	if (!list || !rows)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		struct engine_meta md;
		engine_model_metadata(m, i, &md);
		fumehood__meta__init(&rows[i]);
		rows[i].key = bytes_of(md.key, md.key_len);
		rows[i].value = bytes_of(md.value, md.value_len < META_VALUE_MAX_BYTES ? md.value_len : META_VALUE_MAX_BYTES);
		list[i] = &rows[i];
	}
	*n_out = n;
	return list;
}

/* Fills info from the model; false when the arena is full. */
static bool info_fill(struct arena *a, const struct worker *w, Fumehood__ModelInfo *info)
{
	const struct engine_port *ports;
	const struct engine_fact *facts;
	fumehood__model_info__init(info);
	info->format = text_of(engine_model_format(w->model));
	info->n_inputs = engine_model_inputs(w->model, &ports);
	info->inputs = ports_new(a, ports, info->n_inputs);
	info->n_outputs = engine_model_outputs(w->model, &ports);
	info->outputs = ports_new(a, ports, info->n_outputs);
	info->n_facts = engine_model_facts(w->model, &facts);
	info->facts = facts_new(a, facts, info->n_facts);
	info->metadata = metadata_new(a, w->model, &info->n_metadata);
	if (w->session) {
		info->level = text_of(engine_session_level(w->session));
		info->blas_core = text_of(engine_session_blas_core(w->session));
	}
	return info->inputs && info->outputs && info->facts && info->metadata;
}

/* --- loading ---------------------------------------------------------------------------------------- */

/* A load that failed: READY with the code, and one fact that says why. */
static int refusal_write(struct worker *w, int code, const char *text)
{
	uint8_t out[KIB(2)];
	struct result_fixed fixed = { .status = code };
	Fumehood__Fact fact, *list[1] = { &fact };
	Fumehood__ModelInfo info;
	(void)w;
	fumehood__fact__init(&fact);
	fumehood__model_info__init(&info);
	fact.group = text_of("odd");
	fact.code = text_of(err_name(code));
	fact.severity = 2;
	fact.text = text_of(text);
	info.n_facts = 1;
	info.facts = list;
	size_t n = front_put(out, sizeof out, MSG_READY, 0, &fixed, &info.base, 0);
	return n ? bytes_write(out, n) : SERVE_ROOM;
}

static int ready_write(struct worker *w)
{
	struct arena a;
	Fumehood__ModelInfo info;
	Fumehood__Needs needs;
	struct engine_needs en;
	struct err e;
	arena_init(&a, w->request, w->request_bytes);
	if (!info_fill(&a, w, &info))
		return refusal_write(w, ERR_LIMIT, "the description of the model does not fit its region");
	fumehood__needs__init(&needs);
	if (engine_model_needs(w->model, pool_threads(w->s->pool), &en, &e) == ERR_OK) {
		needs.graph_bytes = en.graph_bytes;
		needs.weights_bytes = en.weights_bytes;
		needs.plan_min_bytes = en.plan_min_bytes;
		needs.scratch_bytes = en.scratch_bytes;
		needs.macs = w->macs = en.macs;
		info.needs = &needs;
	}
	struct result_fixed fixed = { .arena_peak_bytes = w->engine_mem.peak_bytes, .macs = w->macs };
	uint8_t *out = a.base + a.used_bytes;
	size_t n = front_put(out, a.cap_bytes - a.used_bytes, MSG_READY, 0, &fixed, &info.base, 0);
	if (n == 0)
		return refusal_write(w, ERR_LIMIT, "the description of the model is above the limit of 1 MiB");
	return bytes_write(out, n);
}

static int needs_exchange(struct worker *w, struct plan_fixed *plan, struct err *e, int *code)
{
	struct engine_needs en;
	*code = engine_model_needs(w->model, pool_threads(w->s->pool), &en, e);
	if (*code != ERR_OK)
		return 1;
	struct needs_fixed nf = {
		.graph_bytes = en.graph_bytes,
		.weights_bytes = en.weights_bytes,
		.plan_min_bytes = en.plan_min_bytes,
		.scratch_bytes = en.scratch_bytes,
		.io_min_bytes = PLAN_REQUEST_MIN_BYTES,
		.macs = en.macs,
	};
	int rc = fixed_write(MSG_NEEDS, &nf);
	return rc != SERVE_OK ? -rc : fixed_read(MSG_PLAN, plan);
}

/* The plan must cover what is in use and stay inside what was reserved. */
static bool plan_apply(struct worker *w, const struct plan_fixed *plan)
{
	uint64_t total;
	if (!ck_get(ck_add(ck_align(ck_u64(plan->engine_bytes), 64), ck_u64(plan->request_bytes)),
	            w->s->arena_bytes, &total) ||
	    plan->engine_bytes < w->engine_mem.used_bytes || plan->request_bytes < PLAN_REQUEST_MIN_BYTES)
		return false;
	size_t engine = (size_t)((plan->engine_bytes + 63) & ~(uint64_t)63);
	w->engine_mem.cap_bytes = (size_t)plan->engine_bytes;
	w->request = w->s->arena + engine;
	w->request_bytes = (size_t)plan->request_bytes;
	return true;
}

/* LOAD to READY. Returns 1 when calls may follow, else an exit code (0 included), negated. */
static int load_serve(struct worker *w)
{
	struct load_fixed load;
	struct plan_fixed plan;
	struct err e = { 0 };
	int code, rc = fixed_read(MSG_LOAD, &load);
	if (rc <= 0)
		return rc;
	/* From this line on the model's bytes are looked at: the wall stands. */
	size_t cap = w->s->arena_bytes;
	if (load.limit_bytes < cap)
		cap = (size_t)load.limit_bytes;
	arena_init(&w->engine_mem, w->s->arena, cap);
	/* An inspection describes what cannot run, too: everything that is missing, not the first of it. */
	struct err verdict;
	code = load.purpose == 0
	           ? engine_model_open(&w->engine_mem, w->s->model, w->s->model_bytes, &w->model, &e)
	           : engine_model_inspect(&w->engine_mem, w->s->model, w->s->model_bytes, &w->model, &verdict, &e);
	if (code == ERR_OK) {
		rc = needs_exchange(w, &plan, &e, &code);
		if (rc <= 0)
			return rc;
	}
	if (code == ERR_OK && !plan_apply(w, &plan))
		return -SERVE_PLAN;
	if (code == ERR_OK && load.purpose == 0)
		code = engine_session_open(&w->engine_mem, w->model, w->s->pool, load.level, &w->session, &e);
	rc = code == ERR_OK ? ready_write(w) : refusal_write(w, code, e.text);
	if (rc != SERVE_OK)
		return -rc;
	return 1;
}

/* --- calls ------------------------------------------------------------------------------------------ */

/* One tensor of a request, checked against its own claim and the tail. */
static int tensor_check(const Fumehood__Tensor *t, const struct frame_body *b, struct engine_tensor *out,
                        struct err *e)
{
	char name[64];
	size_t elem = dtype_bytes((int)t->type);
	err_escape(name, sizeof name, t->name.data, t->name.len);
	if (elem == 0 || (int)t->type == DT_STRING)
		return err_set(e, ERR_INPUT, "input \"%s\": type %d is not a tensor type", name, (int)t->type);
	if (t->n_dims > LIMIT_RANK)
		return err_set(e, ERR_INPUT, "input \"%s\": rank %zu is above the limit of %d", name, t->n_dims, LIMIT_RANK);
	struct ck bytes = ck_u64(elem);
	for (size_t i = 0; i < t->n_dims; i++) {
		bytes = ck_mul(bytes, ck_i64(t->dims[i]));
		out->dims[i] = t->dims[i];
	}
	uint64_t want;
	if (!ck_get(bytes, LIMIT_FRAME_BODY_BYTES, &want) || want != t->size)
		return err_set(e, ERR_INPUT, "input \"%s\": its shape does not give the %llu bytes it says", name,
		               (unsigned long long)t->size);
	if (t->offset % FRAME_TAIL_ALIGN != 0 || !ck_range(t->offset, t->size, b->tail_len))
		return err_set(e, ERR_INPUT, "input \"%s\": its bytes do not lie in the request", name);
	out->name = (const char *)t->name.data;
	out->name_len = t->name.len;
	out->dtype = (int)t->type;
	out->rank = (int)t->n_dims;
	out->data = (void *)(uintptr_t)(b->tail + t->offset);
	out->bytes = (size_t)t->size;
	return ERR_OK;
}

static int inputs_read(struct arena *a, const struct frame_body *b, struct engine_tensor **out, size_t *n,
                       struct err *e)
{
	ProtobufCAllocator alloc = { pb_alloc, pb_free, a };
	void *msg;
	int rc = pb_unpack(&fumehood__infer__descriptor, b->head, b->head_len, &alloc, &msg, e);
	if (rc != ERR_OK)
		return rc;
	const Fumehood__Infer *m = msg;
	if (m->n_inputs > LIMIT_TENSORS)
		return err_set(e, ERR_INPUT, "%zu inputs, at most %d are allowed", m->n_inputs, LIMIT_TENSORS);
	struct engine_tensor *list = arena_array(a, m->n_inputs + 1, sizeof *list);
	if (!list)
		return err_set(e, ERR_LIMIT, "the request does not fit its region of the arena");
	for (size_t i = 0; i < m->n_inputs && rc == ERR_OK; i++)
		rc = tensor_check(m->inputs[i], b, &list[i], e);
	*out = list;
	*n = m->n_inputs;
	return rc;
}

static int failure_write(struct worker *w, struct arena *a, uint64_t request_id, int code, const char *text)
{
	Fumehood__Outputs o;
	struct result_fixed fixed = { .status = code, .arena_peak_bytes = w->engine_mem.peak_bytes, .calls = w->calls };
	fumehood__outputs__init(&o);
	o.error = text_of(text);
	uint8_t *out = a->base + a->used_bytes;
	size_t n = front_put(out, a->cap_bytes - a->used_bytes, MSG_RESULT, request_id, &fixed, &o.base, 0);
	written(w, out + n);
	return n ? bytes_write(out, n) : SERVE_ROOM;
}

/* Describes the outputs; returns the bytes of the tail they will fill. */
static bool outputs_fill(struct arena *a, const struct engine_tensor *list, size_t n, Fumehood__Outputs *o,
                         size_t *tail_len)
{
	Fumehood__Tensor *rows = arena_array(a, n + 1, sizeof *rows);
	struct ck end = ck_u64(0);
	uint64_t last = 0;
	fumehood__outputs__init(o);
	o->outputs = arena_array(a, n + 1, sizeof *o->outputs);
	if (!rows || !o->outputs)
		return false;
	for (size_t i = 0; i < n; i++) {
		fumehood__tensor__init(&rows[i]);
		rows[i].name = bytes_of(list[i].name, list[i].name_len);
		rows[i].type = (Fumehood__DataType)list[i].dtype;
		rows[i].n_dims = (size_t)list[i].rank;
		rows[i].dims = (int64_t *)(uintptr_t)list[i].dims;
		rows[i].offset = end.v;
		rows[i].size = list[i].bytes;
		last = end.v + list[i].bytes;
		end = ck_align(ck_add(end, ck_u64(list[i].bytes)), FRAME_TAIL_ALIGN);
		if (end.bad || last > LIMIT_FRAME_BODY_BYTES)
			return false;
		o->outputs[i] = &rows[i];
	}
	o->n_outputs = n;
	*tail_len = (size_t)last;
	return true;
}

/* Sends front and tensors; small answers as one write, large ones straight from where they lie. */
static int answer_write(struct arena *a, uint8_t *front, size_t front_len, const struct engine_tensor *list,
                        size_t n, size_t tail_len)
{
	static const uint8_t zeros[FRAME_TAIL_ALIGN];
	bool small = tail_len <= SMALL_ANSWER_BYTES && a->cap_bytes - a->used_bytes - front_len >= tail_len;
	size_t at = 0;
	int rc = small ? SERVE_OK : bytes_write(front, front_len);
	for (size_t i = 0; i < n && rc == SERVE_OK; i++) {
		size_t pad = (FRAME_TAIL_ALIGN - list[i].bytes % FRAME_TAIL_ALIGN) % FRAME_TAIL_ALIGN;
		if (at + list[i].bytes + pad > tail_len) /* nothing follows: the tail ends with the bytes */
			pad = tail_len - at - list[i].bytes;
		if (small) {
			memcpy(front + front_len + at, list[i].data, list[i].bytes);
			memset(front + front_len + at + list[i].bytes, 0, pad);
		} else if (list[i].bytes) {
			rc = bytes_write(list[i].data, list[i].bytes);
			if (rc == SERVE_OK && pad)
				rc = bytes_write(zeros, pad);
		}
		at += list[i].bytes + pad;
	}
	return small ? bytes_write(front, front_len + tail_len) : rc;
}

static int result_write(struct worker *w, struct arena *a, uint64_t request_id,
                        const struct engine_tensor *list, size_t n)
{
	Fumehood__Outputs o;
	size_t tail_len;
	if (!outputs_fill(a, list, n, &o, &tail_len))
		return failure_write(w, a, request_id, ERR_LIMIT, "the answer is above the limit of a message");
	struct result_fixed fixed = {
		.n_outputs = (uint32_t)n,
		.output_bytes = tail_len,
		.arena_peak_bytes = w->engine_mem.peak_bytes,
		.macs = w->macs,
		.calls = w->calls,
	};
	uint8_t *front = a->base + a->used_bytes;
	size_t front_len = front_put(front, a->cap_bytes - a->used_bytes, MSG_RESULT, request_id, &fixed,
	                             &o.base, tail_len);
	written(w, front + front_len + (tail_len <= SMALL_ANSWER_BYTES ? tail_len : 0));
	if (front_len == 0)
		return failure_write(w, a, request_id, ERR_LIMIT, "the answer's head does not fit its region");
	return answer_write(a, front, front_len, list, n, tail_len);
}

/* One CALL whose header was read. The body goes to the start of the request region: its tail is then
 * aligned as the sender laid it out. */
static int call_serve(struct worker *w, const struct frame_header *h)
{
	struct frame_body b;
	struct arena a;
	struct engine_tensor *inputs = NULL;
	const struct engine_tensor *outputs;
	size_t n_in = 0, n_out;
	struct err e = { 0 };
	if (h->length > w->request_bytes - PLAN_REQUEST_OVERHEAD_BYTES)
		return SERVE_ROOM; /* the broker knows the region: this is its fault */
	if (sys_read_exact(CHANNEL_FD, w->request, (size_t)h->length) != (long)h->length)
		return SERVE_CHANNEL;
	arena_init(&a, w->request, w->request_bytes);
	if (!arena_alloc(&a, (size_t)h->length))
		return SERVE_ROOM;
	written(w, w->request + h->length);
	w->calls++;
	int rc = frame_body_split(MSG_CALL, w->request, (size_t)h->length, &b, &e);
	if (rc == ERR_OK)
		rc = inputs_read(&a, &b, &inputs, &n_in, &e);
	written(w, w->request + a.peak_bytes);
	if (rc == ERR_OK)
		rc = engine_session_run(w->session, inputs, n_in, &outputs, &n_out, &e);
	if (rc != ERR_OK)
		return failure_write(w, &a, h->request_id, rc, e.text);
	return result_write(w, &a, h->request_id, outputs, n_out);
}

/* --- between principals ------------------------------------------------------------------------------- */

#define STACK_SCRUB_BYTES KIB(256) /* far below what any call uses of a stack of 1 MiB */

/* On every thread: each waits here for all the others, so that none does the work of two. */
struct stack_scrub {
	uint32_t arrived, n;
};

static __attribute__((noinline)) void stack_scrub(void *arg, uint32_t task, unsigned thread)
{
	uint8_t room[STACK_SCRUB_BYTES];
	struct stack_scrub *x = arg;
	(void)task, (void)thread;
	memset(room, 0, sizeof room);
	__asm__ volatile("" : : "r"(room) : "memory"); /* it is written for its own sake */
	__atomic_add_fetch(&x->arrived, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&x->arrived, __ATOMIC_ACQUIRE) < x->n && x->n > 1)
		__builtin_ia32_pause();
}

/* The next call is another principal's: nothing of the calls before may be found in this process. */
static int scrub_serve(struct worker *w)
{
	struct scrub_fixed body;
	if (sys_read_exact(CHANNEL_FD, &body, sizeof body) != (long)sizeof body)
		return SERVE_CHANNEL;
	struct stack_scrub x = { .n = w->s->pool ? pool_threads(w->s->pool) : 1 };
	engine_session_scrub(w->session);
	memset(w->request, 0, w->request_peak < w->request_bytes ? w->request_peak : w->request_bytes);
	w->request_peak = 0;
	pool_run(w->s->pool, stack_scrub, &x, x.n);
	return SERVE_OK;
}

int serve_run(const struct serve *s)
{
	struct worker w = { .s = s };
	struct frame_header h;
	struct err e;
	int rc = load_serve(&w);
	if (rc <= 0)
		return -rc;
	while ((rc = header_read(&h, &e)) > 0) {
		if ((h.kind != MSG_CALL && h.kind != MSG_SCRUB) || !w.session)
			return SERVE_PROTOCOL;
		int out = h.kind == MSG_CALL ? call_serve(&w, &h) : scrub_serve(&w);
		if (out != SERVE_OK)
			return out;
	}
	return -rc;
}
