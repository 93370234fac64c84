/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's door: finds the format by content and hands on. One row per format.
 *
 * Side: inside. Trusts: nothing in the bytes. Owns: nothing.
 */
#include "sandbox/inside/engine/engine.h"

#include "proto/mem.h"
#include "sandbox/inside/engine/gguf/gguf.h"
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/engine/onnx/blas_step.h"
#include "sandbox/inside/engine/onnx/session.h"

struct engine_model {
	struct onnx_model *onnx;
	struct gguf_model *gguf;    /* exactly one of the two */
	struct engine_needs needs;  /* of one thread; threads add their scratch */
};

struct engine_session {
	struct session *onnx;
};

/* Formats that are told apart here to be refused with their name: none of them is ever read. */
static const struct { const char *magic; size_t len; const char *name; } foreign[] = {
	{ "PK\3\4", 4, "a ZIP archive (PyTorch and Keras keep pickles in them): archives are never unpacked" },
	{ "\x80\2", 2, "a pickle, which is code" }, { "\x80\3", 2, "a pickle, which is code" },
	{ "\x80\4", 2, "a pickle, which is code" }, { "\x80\5", 2, "a pickle, which is code" },
	{ "\x89HDF", 4, "HDF5" }, { "\x7f" "ELF", 4, "an ELF program" }, { "#!", 2, "a script" },
};

static int refuse_format(const uint8_t *bytes, size_t n, struct err *e)
{
	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
		if (n >= foreign[i].len && !memcmp(bytes, foreign[i].magic, foreign[i].len))
			return err_set(e, ERR_UNSUPPORTED, "this file is %s; ONNX and GGUF are what is read here", foreign[i].name);
	return err_set(e, ERR_MODEL, "this file of %zu bytes is no ONNX or GGUF model", n);
}

/* A plan for the declared shapes, for its sizes and for what it finds: a model whose shapes are all in
 * the file and which cannot be planned cannot run. */
static int check_plan(struct engine_model *m, struct err *e)
{
	struct err plan = { 0, "" };
	int rc = onnx_dry_plan(m->onnx, 1, &m->needs, &plan);
	if (rc == ERR_MODEL || rc == ERR_UNSUPPORTED || (rc && !m->onnx->dynamic && !m->onnx->keyed)) {
		if (e)
			*e = plan;
		return rc;
	}
	return ERR_OK;
}

#define INFLATES 16 /* weights this many times the file are worth a word */

static void report_needs(struct engine_model *m)
{
	const struct engine_needs *n = &m->needs;
	onnx_fact(m->onnx, "asks", "memory", 0, 0, "about %llu bytes of weights", (unsigned long long)n->weights_bytes);
	if (n->plan_min_bytes)
		onnx_fact(m->onnx, "asks", "plan", 0, 0, "%llu bytes of plan and activations%s",
		          (unsigned long long)n->plan_min_bytes, m->onnx->dynamic ? " for small inputs" : "");
	if (n->macs)
		onnx_fact(m->onnx, "asks", "work", 0, 0, "%llu multiplications a call%s", (unsigned long long)n->macs,
		          m->onnx->dynamic ? " for small inputs" : "");
	if (n->weights_bytes / INFLATES > m->onnx->n_bytes)
		onnx_fact(m->onnx, "odd", "constants-inflate", 1, 0, "%zu bytes of file become %llu bytes of weights",
		          m->onnx->n_bytes, (unsigned long long)n->weights_bytes);
}

int engine_model_inspect(struct arena *a, const uint8_t *bytes, size_t n, struct engine_model **out,
                         struct err *verdict, struct err *e)
{
	struct engine_model *m;
	int rc;
	*verdict = (struct err){ 0, "" };
	if (!gguf_probe(bytes, n) && !onnx_probe(bytes, n))
		return refuse_format(bytes, n, e);
	m = arena_zalloc(a, sizeof *m);
	if (!m)
		return err_set(e, ERR_LIMIT, "the arena of %zu bytes has no room for a model", a->cap_bytes);
	if (gguf_probe(bytes, n)) {
		if ((rc = gguf_load(a, bytes, n, &m->gguf, e)))
			return rc;
		*verdict = m->gguf->verdict;
		m->needs.graph_bytes = a->used_bytes;
		*out = m;
		return ERR_OK;
	}
	if ((rc = onnx_load(a, bytes, n, &m->onnx, e)))
		return rc;
	*verdict = m->onnx->verdict;
	if (!verdict->code && check_plan(m, verdict))
		onnx_fact(m->onnx, "odd", "refused", 2, 0, "%.180s", verdict->text);
	if (!verdict->code)
		report_needs(m);
	*out = m;
	return ERR_OK;
}

int engine_model_open(struct arena *a, const uint8_t *bytes, size_t n, struct engine_model **out, struct err *e)
{
	struct err verdict;
	struct engine_model *m;
	int rc = engine_model_inspect(a, bytes, n, &m, &verdict, e);
	if (rc)
		return rc;
	if (verdict.code) {
		if (e)
			*e = verdict;
		return verdict.code;
	}
	*out = m;
	return ERR_OK;
}

int engine_model_needs(const struct engine_model *m, unsigned n_threads, struct engine_needs *out, struct err *e)
{
	struct ck c = ck_mul(ck_u64(m->needs.scratch_bytes), ck_u64(n_threads));
	*out = m->needs;
	if (!ck_get(c, UINT64_MAX, &out->scratch_bytes))
		return err_set(e, ERR_LIMIT, "scratch of more than 2^64 bytes");
	return ERR_OK;
}

const char *engine_model_format(const struct engine_model *m)
{
	return m->gguf ? "gguf" : "onnx";
}

size_t engine_model_inputs(const struct engine_model *m, const struct engine_port **out)
{
	*out = m->gguf ? NULL : m->onnx->inputs;
	return m->gguf ? 0 : m->onnx->n_inputs;
}

size_t engine_model_outputs(const struct engine_model *m, const struct engine_port **out)
{
	*out = m->gguf ? NULL : m->onnx->outputs;
	return m->gguf ? 0 : m->onnx->n_outputs;
}

size_t engine_model_facts(const struct engine_model *m, const struct engine_fact **out)
{
	*out = m->gguf ? m->gguf->facts : m->onnx->facts;
	return m->gguf ? m->gguf->n_facts : m->onnx->n_facts;
}

size_t engine_model_metadata_count(const struct engine_model *m)
{
	return m->gguf ? m->gguf->n_metadata : m->onnx->n_metadata;
}

void engine_model_metadata(const struct engine_model *m, size_t i, struct engine_meta *out)
{
	if (m->gguf) {
		*out = m->gguf->metadata[i];
		return;
	}
	const struct onnx_pair *p = &m->onnx->metadata[i];
	*out = (struct engine_meta){ .key = (const char *)p->key.p, .key_len = p->key.len,
		                     .value = (const char *)p->value.p, .value_len = p->value.len };
}

int engine_session_open(struct arena *a, const struct engine_model *m, struct pool *pool, int level,
                        struct engine_session **out, struct err *e)
{
	struct engine_session *s = arena_zalloc(a, sizeof *s);
	int rc;
	if (!s)
		return err_set(e, ERR_LIMIT, "the arena of %zu bytes has no room for a session", a->cap_bytes);
	const struct err *verdict = m->gguf ? &m->gguf->verdict : &m->onnx->verdict;
	if (verdict->code)
		return err_set(e, verdict->code, "%s", verdict->text);
	if ((rc = onnx_session_open(a, m->onnx, pool, level, &s->onnx, e)))
		return rc;
	*out = s;
	return ERR_OK;
}

int engine_session_run(struct engine_session *s, const struct engine_tensor *inputs, size_t n_in,
                       const struct engine_tensor **outputs, size_t *n_out, struct err *e)
{
	return onnx_session_run(s->onnx, inputs, n_in, outputs, n_out, e);
}

void engine_session_scrub(struct engine_session *s) { onnx_session_scrub(s->onnx); }

const char *engine_session_level(const struct engine_session *s) { return level_name(s->onnx->k->level); }

const char *engine_session_blas_core(const struct engine_session *s)
{
	return blas_step_core(s->onnx->k->level);
}
