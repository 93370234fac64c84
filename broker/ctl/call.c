/* SPDX-License-Identifier: Apache-2.0
 *
 * One call: see call.h.
 * Side: cli. Trusts: nothing in an answer. Owns: nothing.
 */
#include "broker/ctl/call.h"

#include "broker/ctl/files.h"
#include "broker/ctl/tensors.h"
#include "broker/trust/trust.h"
#include "proto/hash.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *hex_text(ProtobufCBinaryData d)
{
	char b[129] = "";
	for (size_t i = 0; i < d.len && i < 64; i++)
		snprintf(b + 2 * i, 3, "%02x", d.data[i]);
	return ctl_str(b);
}

static const char *string_or_empty(const char *s) { return s ? s : ""; }

/* --- what is shown of an output --------------------------------------------------------------------- */

/* "[0, 3]" for item i of a shape. */
static const char *place_text(const struct output *o, uint64_t i)
{
	static char out[8][200];
	static unsigned which;
	char *b = out[which++ % 8];
	uint64_t at[LIMIT_RANK] = { 0 };
	size_t n = 1;
	for (size_t d = o->rank; d-- > 0;) {
		at[d] = i % (uint64_t)o->dims[d];
		i /= (uint64_t)o->dims[d];
	}
	b[0] = '[', b[1] = 0;
	for (size_t d = 0; d < o->rank; d++)
		n += (size_t)snprintf(b + n, 200 - n, "%s%" PRIu64, d ? ", " : "", at[d]);
	snprintf(b + n, 200 - n, "]");
	return b;
}

/* JSON has no NaN and no infinity. */
static json_t *real_json(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *summary_json(const struct output *o)
{
	struct summary s;
	json_t *top = json_array();
	output_summary(o, &s);
	for (size_t i = 0; top && i < s.n_top; i++)
		json_array_append_new(top, json_pack("{s:I, s:o}", "at", (json_int_t)s.at[i], "value", real_json(s.value[i])));
	return json_pack("{s:o, s:o, s:o, s:I, s:I, s:o}", "min", real_json(s.min), "max", real_json(s.max), "mean",
	                 real_json(s.mean), "nan", (json_int_t)s.n_nan, "infinite", (json_int_t)s.n_inf, "top", top);
}

static void summary_print(const struct output *o)
{
	struct summary s;
	output_summary(o, &s);
	printf("%s  %s\n", ctl_text(o->name, o->name_len), shape_text(o->type, o->dims, o->rank, NULL, 0));
	if (o->n_items == 0) {
		printf("    empty\n");
		return;
	}
	printf("    min %.6g  max %.6g  mean %.6g", s.min, s.max, s.mean);
	if (s.n_nan || s.n_inf)
		printf("  NaN %" PRIu64 "  infinite %" PRIu64, s.n_nan, s.n_inf);
	printf("\n    top");
	for (size_t i = 0; i < s.n_top; i++)
		printf("%s %s %.6g", i ? "," : "", place_text(o, s.at[i]), s.value[i]);
	printf("\n");
}

static int output_show(const struct ctl *c, const struct output *o, json_t *list, struct err *e)
{
	const char *dir = ctl_get(c, "output-dir");
	char path[PATH_MAX] = "";
	int rc = dir ? output_write(dir, o, path, e) : ERR_OK;
	if (rc != ERR_OK)
		return rc;
	if (c->json) {
		json_t *j = json_pack("{s:o, s:s, s:o, s:I}", "name", ctl_json_text(o->name, o->name_len), "type",
		                      dtype_name(o->type), "shape", dims_json(o->dims, o->rank), "bytes", (json_int_t)o->bytes);
		if (j)
			json_object_set_new(j, dir ? "file" : "summary", dir ? ctl_json_text(path, strlen(path)) : summary_json(o));
		json_array_append_new(list, j);
	} else if (dir) {
		printf("%s  %s\n", ctl_str(path), shape_text(o->type, o->dims, o->rank, NULL, 0));
	} else {
		summary_print(o);
	}
	return ERR_OK;
}

/* --- the answer --------------------------------------------------------------------------------------- */

static int receipt_keep(const char *file, const Fumehood__Receipt *r, struct err *e)
{
	char path[PATH_MAX];
	const struct {
		const char *end;
		const void *bytes;
		size_t len;
	} parts[] = { { "", r->tlog_proof, strlen(r->tlog_proof) },
		          { ".entry", r->entry.data, r->entry.len },
		          { ".salt", r->salt.data, r->salt.len } };
	int rc = ERR_OK;
	for (size_t i = 0; rc == ERR_OK && i < sizeof parts / sizeof parts[0]; i++) {
		if (snprintf(path, sizeof path, "%s%s", file, parts[i].end) >= PATH_MAX)
			return err_set(e, ERR_LIMIT, "--receipt: longer than %d bytes", PATH_MAX);
		rc = trust_file_write(path, parts[i].bytes, parts[i].len, 0600, e);
	}
	return rc;
}

static int outputs_show(struct ctl *c, const struct talk_answer *a, json_t *list, struct err *e)
{
	struct output *o = calloc(LIMIT_TENSORS, sizeof *o);
	Fumehood__Outputs *m = NULL;
	size_t n = 0;
	int rc = o ? outputs_read(&a->body, &m, o, &n, e) : err_set(e, ERR_NOMEM, "no memory for outputs");
	for (size_t i = 0; rc == ERR_OK && i < n; i++)
		rc = output_show(c, &o[i], list, e);
	if (m)
		fumehood__outputs__free_unpacked(m, NULL);
	free(o);
	return rc;
}

static json_t *answer_json(const Fumehood__Answer *m, const struct call_target *target, json_t *outputs)
{
	json_t *o = json_object();
	if (!o)
		return json_decref(outputs), NULL;
	if (target->opened)
		model_opened_json(o, target->opened);
	json_object_set_new(o, "model_digest", ctl_json_hex(m->model_digest.data, m->model_digest.len));
	json_object_set_new(o, "model", ctl_json_text(m->model, strlen(m->model)));
	json_object_set_new(o, "unsigned", json_boolean(m->unsigned_model));
	json_object_set_new(o, "outputs", outputs);
	if (m->timing)
		json_object_set_new(o, "timing", json_pack("{s:I, s:I, s:I}", "queue_us", (json_int_t)m->timing->queue_us,
		                                           "worker_us", (json_int_t)m->timing->worker_us, "log_us",
		                                           (json_int_t)m->timing->log_us));
	json_object_set_new(o, "level", ctl_json_text(m->level, strlen(m->level)));
	json_object_set_new(o, "threads", json_integer(m->threads));
	json_object_set_new(o, "isolation", ctl_json_text(m->isolation, strlen(m->isolation)));
	json_object_set_new(o, "walls", walls_json(m->walls));
	json_object_set_new(o, "receipt", receipt_json(m->receipt));
	return o;
}

static int answer_show(struct ctl *c, const struct talk_answer *a, const struct call_target *target, struct err *e)
{
	const Fumehood__Answer *m = (const Fumehood__Answer *)(const void *)a->head;
	const char *keep = ctl_get(c, "receipt");
	json_t *list = json_array();
	int rc = list ? outputs_show(c, a, list, e) : err_set(e, ERR_NOMEM, "no memory for outputs");
	if (rc == ERR_OK && keep)
		rc = receipt_keep(keep, m->receipt, e);
	if (rc != ERR_OK || !c->json)
		json_decref(list);
	if (rc != ERR_OK)
		return rc;
	if (c->json)
		return ctl_json_print(answer_json(m, target, list), e);
	fflush(stdout);
	ctl_say(c, "logged   entry %" PRIu64 ", receipt checked; %.3f ms in the worker, %.3f ms for the log",
	        a->receipt_index, m->timing ? (double)m->timing->worker_us / 1000 : 0,
	        m->timing ? (double)m->timing->log_us / 1000 : 0);
	walls_say(c, m->walls);
	return ERR_OK;
}

/* --- the question --------------------------------------------------------------------------------------- */

struct call {
	struct tensors in;
	uint64_t threads, deadline_ms;
	const char *purpose;
};

int call_prepare(const struct ctl *c, struct call **out, struct err *e)
{
	const char *dir = ctl_get(c, "output-dir");
	struct call *k = calloc(1, sizeof *k);
	if (!k)
		return err_set(e, ERR_NOMEM, "no memory for tensors");
	k->purpose = ctl_get(c, "purpose");
	int rc = ctl_number(c, "threads", 1, LIMIT_THREADS, 0, &k->threads, e);
	if (rc == ERR_OK && (rc = ctl_number(c, "deadline-ms", 1, UINT32_MAX, 0, &k->deadline_ms, e)) == ERR_OK &&
	    (rc = tensors_read(c, &k->in, e)) == ERR_OK && dir)
		rc = dir_make(dir, e); /* now, so that no answer is lost to a typing mistake */
	if (rc == ERR_OK)
		*out = k;
	else
		call_free(k);
	return rc;
}

void call_free(struct call *k)
{
	if (k)
		tensors_clear(&k->in);
	free(k);
}

uint32_t call_threads(const struct call *k) { return (uint32_t)k->threads; }

static void infer_fill(Fumehood__Infer *m, const struct call *k, const struct call_target *target)
{
	fumehood__infer__init(m);
	m->threads = (uint32_t)k->threads;
	m->deadline_ms = (uint32_t)k->deadline_ms;
	m->client_seq = 1; /* one call per connection of this command */
	/* Packing does not write, its structs lack const. */
	m->target_case = target->model ? FUMEHOOD__INFER__TARGET_MODEL : FUMEHOOD__INFER__TARGET_HANDLE;
	if (target->model)
		memcpy(&m->model, &target->model, sizeof m->model);
	else
		m->handle = target->handle;
	if (k->purpose)
		memcpy(&m->purpose, &k->purpose, sizeof m->purpose);
	memcpy(&m->inputs, &(Fumehood__Tensor *const *){ k->in.list }, sizeof m->inputs);
	m->n_inputs = k->in.n;
}

int call_make(struct ctl *c, struct talk *t, struct call *k, const struct call_target *target, struct err *e)
{
	struct talk_answer a;
	Fumehood__Infer m;
	infer_fill(&m, k, target);
	const struct talk_ask ask = { .kind = MSG_INFER, .want = MSG_ANSWER, .head = &m.base, .tail = k->in.tail,
		                          .n_tail = k->in.n_tail, .waiting = "computing" };
	int rc = talk_request(t, c, &ask, &a, e);
	if (rc == ERR_OK)
		rc = answer_show(c, &a, target, e);
	talk_answer_clear(&a);
	return rc;
}

/* --- descriptions -------------------------------------------------------------------------------------- */

static json_t *ports_json(Fumehood__Port *const *p, size_t n)
{
	json_t *a = json_array();
	for (size_t i = 0; a && i < n; i++) {
		json_t *names = json_array();
		for (size_t d = 0; names && d < p[i]->n_dim_names; d++)
			json_array_append_new(names, ctl_json_text(p[i]->dim_names[d].data, p[i]->dim_names[d].len));
		json_array_append_new(a, json_pack("{s:o, s:s, s:o, s:o, s:b, s:b}", "name",
		                                   ctl_json_text(p[i]->name.data, p[i]->name.len), "type",
		                                   dtype_name((int)p[i]->type), "shape", dims_json(p[i]->dims, p[i]->n_dims),
		                                   "dim_names", names, "optional", (int)p[i]->optional, "any_rank",
		                                   (int)p[i]->any_rank));
	}
	return a;
}

static json_t *facts_json(const Fumehood__ModelInfo *m)
{
	json_t *a = json_array();
	for (size_t i = 0; a && i < m->n_facts; i++) {
		const Fumehood__Fact *f = m->facts[i];
		json_array_append_new(a, json_pack("{s:o, s:o, s:i, s:I, s:o}", "group",
		                                   ctl_json_text(f->group, strlen(f->group)), "code",
		                                   ctl_json_text(f->code, strlen(f->code)), "severity", (int)f->severity,
		                                   "offset", (json_int_t)f->offset, "text",
		                                   ctl_json_text(f->text, strlen(f->text))));
	}
	return a;
}

/* Whole: programs need it (PP-OCR keeps its characters there), and the worker has cut it already. */
static json_t *metadata_json(const Fumehood__ModelInfo *m)
{
	json_t *a = json_array();
	for (size_t i = 0; a && i < m->n_metadata; i++) {
		const Fumehood__Meta *x = m->metadata[i];
		json_array_append_new(a, json_pack("{s:o, s:o, s:I}", "key", ctl_json_text(x->key.data, x->key.len), "value",
		                                   ctl_json_text(x->value.data, x->value.len), "bytes",
		                                   (json_int_t)x->value.len));
	}
	return a;
}

json_t *model_info_json(const Fumehood__ModelInfo *m)
{
	json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "format", ctl_json_text(m->format, strlen(m->format)),
	                      "inputs", ports_json(m->inputs, m->n_inputs), "outputs",
	                      ports_json(m->outputs, m->n_outputs), "facts", facts_json(m), "metadata", metadata_json(m),
	                      "level", ctl_json_text(m->level, strlen(m->level)), "blas_core",
	                      ctl_json_text(m->blas_core, strlen(m->blas_core)));
	if (o && m->needs)
		json_object_set_new(o, "needs", json_pack("{s:I, s:I, s:I, s:I, s:I}", "graph_bytes",
		                                          (json_int_t)m->needs->graph_bytes, "weights_bytes",
		                                          (json_int_t)m->needs->weights_bytes, "plan_min_bytes",
		                                          (json_int_t)m->needs->plan_min_bytes, "scratch_bytes",
		                                          (json_int_t)m->needs->scratch_bytes, "macs",
		                                          (json_int_t)m->needs->macs));
	return o;
}

void model_opened_json(json_t *o, const Fumehood__ModelOpened *m)
{
	json_t *signers = json_array();
	for (size_t i = 0; signers && i < m->n_signers; i++)
		json_array_append_new(signers, ctl_json_text(m->signers[i], strlen(m->signers[i])));
	json_object_set_new(o, "model_digest", ctl_json_hex(m->model_digest.data, m->model_digest.len));
	json_object_set_new(o, "file_sha256", m->file_sha256.len ? ctl_json_hex(m->file_sha256.data, m->file_sha256.len)
	                                                         : json_null());
	json_object_set_new(o, "file_bytes", json_integer((json_int_t)m->file_bytes));
	json_object_set_new(o, "name", ctl_json_text(m->name, strlen(string_or_empty(m->name))));
	json_object_set_new(o, "version", json_integer((json_int_t)m->version));
	json_object_set_new(o, "unsigned", json_boolean(m->unsigned_model));
	json_object_set_new(o, "signers", signers);
	json_object_set_new(o, "walls", walls_json(m->walls));
	json_object_set_new(o, "load_us", json_integer((json_int_t)m->load_us));
	json_object_set_new(o, "load_receipt", receipt_json(m->receipt));
}

static void ports_print(const char *title, Fumehood__Port *const *p, size_t n)
{
	printf("%s\n", title);
	for (size_t i = 0; i < n; i++)
		printf("  %-28s %s%s\n", ctl_text(p[i]->name.data, p[i]->name.len),
		       p[i]->any_rank ? "any shape"
		                      : shape_text((int)p[i]->type, p[i]->dims, p[i]->n_dims, p[i]->dim_names, p[i]->n_dim_names),
		       p[i]->optional ? "  (may be missing)" : "");
}

int model_usage_print(struct ctl *c, const struct talk_answer *a, const char *command, const char *model,
                      struct err *e)
{
	const Fumehood__ModelInfo *m = a->info;
	if (c->json) {
		json_t *o = model_info_json(m);
		if (o)
			model_opened_json(o, (const Fumehood__ModelOpened *)(const void *)a->head);
		return ctl_json_print(o, e);
	}
	ports_print("takes", m->inputs, m->n_inputs);
	ports_print("gives", m->outputs, m->n_outputs);
	printf("to ask it, type\n  fumehood %s %s", command, ctl_str(model));
	for (size_t i = 0; i < m->n_inputs; i++)
		if (!m->inputs[i]->optional)
			printf(" --input '%s=FILE.npy'", ctl_text(m->inputs[i]->name.data, m->inputs[i]->name.len));
	printf(" --output-dir DIR\n");
	return ERR_OK;
}
