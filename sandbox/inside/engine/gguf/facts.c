/* SPDX-License-Identifier: Apache-2.0
 *
 * What an inspection reports of a GGUF file (reference hostile-models.md, section 8). Text from the file is
 * escaped, cut, and marked as the file's claim.
 *
 * Side: inside. Trusts: nothing in a text. Owns: nothing (facts lie in the model's arena).
 */
#include "sandbox/inside/engine/gguf/gguf.h"
#include "sandbox/inside/engine/gguf/sha256.h"
#include "sandbox/inside/engine/gguf/utf8.h"

#include "proto/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define META_MAX 1024                 /* pairs that are passed on, and their bytes: a description has 1 MiB */
#define META_BYTES KIB(448)
#define META_VALUE_BYTES KIB(256)     /* of one value; a longer template is cut */
#define LONG_TEXT_BYTES 4096

static void fact_put(struct gguf_model *m, const char *group, const char *code, int severity, uint64_t offset,
                     const char *fmt, va_list ap)
{
	if (m->n_facts == GGUF_FACTS_MAX) {
		m->n_facts_lost++;
		return;
	}
	struct engine_fact *f = &m->facts[m->n_facts++];
	*f = (struct engine_fact){ .group = group, .code = code, .severity = severity, .offset = offset };
	vsnprintf(f->text, sizeof f->text, fmt, ap);
}

void gguf_fact(struct gguf_model *m, const char *group, const char *code, int severity, uint64_t offset,
               const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fact_put(m, group, code, severity, offset, fmt, ap);
	va_end(ap);
}

void gguf_unsupported(struct gguf_model *m, int code, const char *fact, uint64_t offset, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fact_put(m, "asks", fact, 2, offset, fmt, ap);
	va_end(ap);
	if (m->verdict.code)
		return;
	m->verdict.code = code;
	va_start(ap, fmt);
	vsnprintf(m->verdict.text, sizeof m->verdict.text, fmt, ap);
	va_end(ap);
}

/* --- what it is -------------------------------------------------------------------------------------- */

static const struct { const char *key, *code, *says; } claims[] = {
	{ "general.name", "name", "claims to be" },
	{ "general.author", "author", "claims to be made by" },
	{ "general.organization", "organization", "claims to come from" },
	{ "general.license", "license", "claims the licence" },
	{ "general.base_model.0.name", "base-model", "claims to be made from" },
	{ "general.finetune", "finetune", "claims to be tuned as" },
	{ "general.source.url", "source", "claims to come from" },
};

static void report_claims(struct gguf_model *m)
{
	for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
		const struct gguf_pair *p = gguf_find(m, claims[i].key);
		if (p && p->type == GV_STRING)
			gguf_fact(m, "what", claims[i].code, 0, p->off, "%s \"%s\"", claims[i].says, gguf_show(gguf_text(p)).s);
	}
	gguf_fact(m, "what", "architecture", 0, 0, "\"%s\"", gguf_show(m->arch_name).s);
}

/* Bytes per type, and the one word: the type that holds most numbers. */
static void report_types(struct gguf_model *m)
{
	uint64_t count[GT__MAX] = { 0 }, elems[GT__MAX] = { 0 }, bytes[GT__MAX] = { 0 }, all = 0;
	int most = 0;
	for (uint64_t i = 0; i < m->n_tensors; i++) {
		const struct gguf_tensor *t = &m->tensors[i];
		count[t->type]++;
		elems[t->type] += t->n_elems; /* sums of a file that has its data fit; of one without they may wrap */
		bytes[t->type] += t->n_bytes;
		all += t->n_elems;
		if (elems[t->type] > elems[most])
			most = (int)t->type;
	}
	if (m->no_data || !m->n_tensors)
		return;
	gguf_fact(m, "what", "parameters", 0, 0, "%llu numbers in %llu tensors", (unsigned long long)all,
	          (unsigned long long)m->n_tensors);
	gguf_fact(m, "what", "quantization", 0, 0, "%s", gguf_type((uint64_t)most)->name);
	for (int t = 0; t < GT__MAX; t++)
		if (count[t])
			gguf_fact(m, "what", "type", 0, 0, "%s: %llu tensors, %llu numbers, %llu bytes", gguf_type((uint64_t)t)->name,
			          (unsigned long long)count[t], (unsigned long long)elems[t], (unsigned long long)bytes[t]);
}

static void report_shape(struct gguf_model *m)
{
	const struct gguf_shape *s = &m->shape;
	if (!s->n_layers)
		return;
	gguf_fact(m, "what", "shape", 0, 0, "%llu layers, %llu wide, %llu heads (%llu for keys and values) of %llu, "
	          "feed-forward %llu%s", (unsigned long long)s->n_layers, (unsigned long long)s->width,
	          (unsigned long long)s->n_heads, (unsigned long long)s->n_kv, (unsigned long long)s->key_len,
	          (unsigned long long)s->n_ff, s->tied ? ", output tied to the embedding" : "");
	gguf_fact(m, "asks", "context", 0, 0, "trained on %llu tokens of context", (unsigned long long)s->n_ctx);
	if (s->arch != ARCH_BERT)
		gguf_fact(m, "asks", "kv-cache", 0, 0, "%llu bytes per 1000 tokens in F16",
		          (unsigned long long)(2000 * s->n_layers * s->n_kv * (s->key_len + s->value_len)));
}

/* --- the vocabulary ----------------------------------------------------------------------------------- */

static struct gguf_str token_text(const struct gguf_model *m, uint64_t id)
{
	const struct gguf_pair *p = gguf_find(m, "tokenizer.ggml.tokens");
	const uint8_t *at = p->data;
	struct gguf_str s = { at, 0 };
	for (uint64_t i = 0; i <= id && i < p->n; i++)
		s = gguf_next_string(&at);
	return s;
}

static void report_vocab(struct gguf_model *m)
{
	const struct gguf_pair *model = gguf_find(m, "tokenizer.ggml.model"), *pre = gguf_find(m, "tokenizer.ggml.pre");
	struct gguf_str none = { (const uint8_t *)"", 0 };
	uint64_t id;
	if (!m->n_tokens)
		return;
	gguf_fact(m, "asks", "tokenizer", 0, 0, "\"%s\", pre-tokenizer \"%s\", %llu tokens",
	          gguf_show(model && model->type == GV_STRING ? gguf_text(model) : none).s,
	          gguf_show(pre && pre->type == GV_STRING ? gguf_text(pre) : none).s, (unsigned long long)m->n_tokens);
	for (uint64_t i = 0; i < m->n_pairs; i++) {
		const struct gguf_pair *p = &m->pairs[i];
		if (p->key.len > 24 && !memcmp(p->key.p, "tokenizer.ggml.", 15) &&
		    !memcmp(p->key.p + p->key.len - 9, "_token_id", 9) && gguf_uint(p, &id) && id < m->n_tokens)
			gguf_fact(m, "asks", "special-token", 0, p->off, "%.20s = %llu \"%s\"",
			          gguf_show((struct gguf_str){ p->key.p + 15, p->key.len - 24 }).s, (unsigned long long)id,
			          gguf_show(token_text(m, id)).s);
	}
}

/* --- what it carries ---------------------------------------------------------------------------------- */

/* A scalar as text. */
static int value_print(char *out, size_t cap, const struct gguf_pair *p)
{
	uint64_t u;
	float f;
	double d;
	if (p->type == GV_ARRAY)
		return snprintf(out, cap, "array of %llu %s", (unsigned long long)p->n, gguf_value_name(p->elem));
	if (p->type == GV_STRING)
		return snprintf(out, cap, "%s", gguf_show(gguf_text(p)).s);
	if (p->type == GV_BOOL)
		return snprintf(out, cap, "%s", p->data[0] ? "true" : "false");
	if (p->type == GV_F32) {
		memcpy(&f, p->data, sizeof f);
		return snprintf(out, cap, "%.9g", (double)f);
	}
	if (p->type == GV_F64) {
		memcpy(&d, p->data, sizeof d);
		return snprintf(out, cap, "%.17g", d);
	}
	if (gguf_uint(p, &u))
		return snprintf(out, cap, "%llu", (unsigned long long)u);
	return snprintf(out, cap, "%lld", (long long)u); /* a negative one: gguf_uint left its bits there */
}

static bool key_begins(const struct gguf_pair *p, const char *with)
{
	return p->key.len >= strlen(with) && !memcmp(p->key.p, with, strlen(with));
}

static const char *const looks_like[][2] = {
	{ "://", "a URL" }, { "../", "a path" }, { "/etc/", "a path" }, { "/bin/", "a command" }, { "curl ", "a command" },
	{ "wget ", "a command" }, { "powershell", "a command" }, { "<script", "a script" }, { "eval(", "code" },
	{ "import os", "code" }, { "__import__", "code" }, { "subprocess", "code" }, { "__class__", "code" },
	{ "__globals__", "code" }, { "__mro__", "code" },
};

static void report_text(struct gguf_model *m, const struct gguf_pair *p)
{
	struct gguf_str s = gguf_text(p);
	bool claim = key_begins(p, "general.") &&
	             (memmem(p->key.p, p->key.len, "url", 3) || memmem(p->key.p, p->key.len, "link", 4));
	if (gguf_text_is_odd(s))
		gguf_fact(m, "odd", "odd-text", 1, p->off, "\"%s\" holds control or direction characters or no UTF-8",
		          gguf_show(p->key).s);
	for (size_t i = 0; i < sizeof looks_like / sizeof looks_like[0] && !claim; i++)
		if (memmem(s.p, s.len, looks_like[i][0], strlen(looks_like[i][0]))) {
			bool code = looks_like[i][1][0] == 'c' && key_begins(p, "tokenizer.chat_template");
			gguf_fact(m, code ? "odd" : "carries", "text-like", code, p->off, "\"%s\" holds \"%s\", which looks like %s",
			          gguf_show(p->key).s, looks_like[i][0], looks_like[i][1]);
			break;
		}
	if (s.len > LONG_TEXT_BYTES && !key_begins(p, "tokenizer.chat_template"))
		gguf_fact(m, "carries", "long-text", 0, p->off, "\"%s\" has %zu bytes", gguf_show(p->key).s, s.len);
}

static void report_carries(struct gguf_model *m)
{
	for (uint64_t i = 0; i < m->n_pairs; i++) {
		const struct gguf_pair *p = &m->pairs[i];
		if (gguf_text_is_odd(p->key))
			gguf_fact(m, "odd", "odd-key", 1, p->off, "the key \"%s\" holds odd characters", gguf_show(p->key).s);
		if (key_begins(p, "tokenizer.chat_template") && p->type == GV_STRING) {
			char hex[65];
			sha256_hex(gguf_text(p).p, gguf_text(p).len, hex);
			gguf_fact(m, "carries", "chat-template", 0, p->off, "\"%s\": %zu bytes, SHA-256 %s", gguf_show(p->key).s,
			          gguf_text(p).len, hex);
		}
		if (key_begins(p, "general.sampling.")) {
			char v[80];
			value_print(v, sizeof v, p);
			gguf_fact(m, "asks", "sampling", 0, p->off, "%s = %s", gguf_show(p->key).s, v);
		}
		if (p->type == GV_STRING)
			report_text(m, p);
	}
}

static void report_odd(struct gguf_model *m)
{
	uint64_t unknown = 0, odd = 0, first = 0, first_odd = 0;
	for (uint64_t i = 0; i < m->n_tensors; i++) {
		if (m->shape.arch && !m->tensors[i].known && unknown++ == 0)
			first = i;
		if (gguf_text_is_odd(m->tensors[i].name) && odd++ == 0)
			first_odd = i;
	}
	if (unknown)
		gguf_fact(m, "odd", "unknown-tensor", 1, m->tensors[first].off, "%llu tensors that this architecture does not "
		          "know, the first is \"%s\"", (unsigned long long)unknown, gguf_show(m->tensors[first].name).s);
	if (odd)
		gguf_fact(m, "odd", "odd-name", 1, m->tensors[first_odd].off, "%llu tensor names hold odd characters, the first "
		          "is \"%s\"", (unsigned long long)odd, gguf_show(m->tensors[first_odd].name).s);
	if (m->alignment < 8 || m->alignment > 4096)
		gguf_fact(m, "odd", "alignment", 1, 0, "an alignment of %llu is unusual", (unsigned long long)m->alignment);
	if (m->n_pairs == 0 && m->n_tensors == 0)
		gguf_fact(m, "odd", "empty", 1, 0, "the file holds nothing");
}

bool gguf_text_is_odd(struct gguf_str s)
{
	for (size_t i = 0, n; i < s.len; i += n) {
		uint32_t c;
		n = utf8_next(s.p + i, s.len - i, &c);
		if (n == 0)
			return true;
		if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
		    (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff)
			return true;
	}
	return false;
}

/* --- the pairs themselves ------------------------------------------------------------------------------ */

static bool meta_put(struct gguf_model *m, const struct gguf_pair *p, size_t *left)
{
	struct engine_meta *row = &m->metadata[m->n_metadata];
	char text[GGUF_TEXT_BYTES];
	struct gguf_str v = { NULL, 0 };
	if (p->type == GV_STRING) {
		v = gguf_text(p);
		v.len = v.len < META_VALUE_BYTES ? v.len : META_VALUE_BYTES;
	} else {
		int n = value_print(text, sizeof text, p);
		char *copy = arena_alloc(m->arena, (size_t)n + 1);
		if (!copy)
			return false;
		memcpy(copy, text, (size_t)n + 1);
		v = (struct gguf_str){ (const uint8_t *)copy, (size_t)n };
	}
	if (p->key.len + v.len + 16 > *left)
		return false;
	*left -= p->key.len + v.len + 16;
	*row = (struct engine_meta){ (const char *)p->key.p, p->key.len, (const char *)v.p, v.len };
	m->n_metadata++;
	return true;
}

static void pass_metadata(struct gguf_model *m)
{
	size_t left = META_BYTES, n = m->n_pairs < META_MAX ? (size_t)m->n_pairs : META_MAX;
	uint64_t lost = m->n_pairs - n;
	m->metadata = arena_array(m->arena, n, sizeof *m->metadata);
	if (!m->metadata)
		return;
	for (size_t i = 0; i < n; i++)
		lost += !meta_put(m, &m->pairs[i], &left);
	if (lost)
		gguf_fact(m, "odd", "metadata-cut", 1, 0, "%llu pairs are too many or too long to be shown",
		          (unsigned long long)lost);
}

void gguf_report(struct gguf_model *m)
{
	gguf_fact(m, "what", "format", 0, 0, "GGUF version %llu, little-endian, %llu bytes, %llu pairs, alignment %llu",
	          (unsigned long long)m->version, (unsigned long long)m->n_bytes, (unsigned long long)m->n_pairs,
	          (unsigned long long)m->alignment);
	report_claims(m);
	report_types(m);
	report_shape(m);
	report_vocab(m);
	report_carries(m);
	report_odd(m);
	pass_metadata(m);
	if (m->n_facts_lost && m->n_facts)
		snprintf(m->facts[m->n_facts - 1].text, sizeof m->facts[0].text, "%zu further facts are not kept",
		         m->n_facts_lost);
}
