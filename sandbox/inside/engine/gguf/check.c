/* SPDX-License-Identifier: Apache-2.0
 *
 * Metadata against itself, the vocabulary and the shapes: each number is plausible alone, so each is
 * compared with the others, once, here (reference hostile-models.md, rule 5). Code behind it divides by
 * and indexes with these numbers.
 *
 * Side: inside. Trusts: pairs and tensors as read.c and tensors.c left them. Owns: the tables of the
 * architectures. A new architecture: a row in archs, rows in numbers and tensor_rules.
 */
#include "sandbox/inside/engine/gguf/gguf.h"
#include "sandbox/inside/engine/gguf/tok.h"

#include "proto/mem.h"

#include <math.h>
#include <stdio.h>

enum { LLAMA = 1 << ARCH_LLAMA, GEMMA3 = 1 << ARCH_GEMMA3, BERT = 1 << ARCH_BERT, ALL = LLAMA | GEMMA3 | BERT };

static const struct { const char *name; int arch; } archs[] = {
	{ "llama", ARCH_LLAMA }, { "gemma3", ARCH_GEMMA3 }, { "bert", ARCH_BERT },
};

/* --- numbers ----------------------------------------------------------------------------------------- */

#define AT(field) offsetof(struct gguf_shape, field)

/* key behind the architecture's name, place, limit, architectures that need it */
static const struct { const char *key; size_t at; uint64_t max; int needed; } numbers[] = {
	{ "block_count", AT(n_layers), LIMIT_GGUF_LAYERS, ALL },
	{ "embedding_length", AT(width), LIMIT_GGUF_WIDTH, ALL },
	{ "feed_forward_length", AT(n_ff), LIMIT_GGUF_WIDTH, ALL },
	{ "context_length", AT(n_ctx), INT32_MAX, ALL },
	{ "attention.head_count", AT(n_heads), LIMIT_GGUF_HEADS, ALL },
	{ "attention.head_count_kv", AT(n_kv), LIMIT_GGUF_HEADS, 0 },
	{ "attention.key_length", AT(key_len), LIMIT_GGUF_WIDTH, 0 },
	{ "attention.value_length", AT(value_len), LIMIT_GGUF_WIDTH, 0 },
	{ "attention.sliding_window", AT(window), INT32_MAX, GEMMA3 },
	{ "rope.dimension_count", AT(rope_dims), LIMIT_GGUF_WIDTH, 0 },
	{ "vocab_size", AT(n_vocab), LIMIT_GGUF_TOKENS, 0 },
};

static const struct { const char *key; size_t at; int needed; } reals[] = {
	{ "attention.layer_norm_rms_epsilon", AT(eps), LLAMA | GEMMA3 },
	{ "attention.layer_norm_epsilon", AT(eps), BERT },
	{ "rope.freq_base", AT(rope_base), 0 },
};

static int missing(const char *key, struct err *e)
{
	return err_set(e, ERR_MODEL, "the key \"%s\" is missing, which this architecture needs", key);
}

static int read_numbers(struct gguf_model *m, struct err *e)
{
	struct gguf_shape *s = &m->shape;
	char key[96];
	bool found;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		uint64_t v = 0;
		snprintf(key, sizeof key, "%.*s.%s", (int)m->arch_name.len, m->arch_name.p, numbers[i].key);
		int rc = gguf_get_uint(m, key, numbers[i].max, &found, &v, e);
		if (rc)
			return rc;
		if (!found && numbers[i].needed & 1 << s->arch)
			return missing(key, e);
		if (found && v == 0)
			return err_set(e, ERR_MODEL, "\"%s\" is 0", key);
		memcpy((uint8_t *)s + numbers[i].at, &v, sizeof v);
	}
	for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
		float v;
		snprintf(key, sizeof key, "%.*s.%s", (int)m->arch_name.len, m->arch_name.p, reals[i].key);
		int rc = gguf_get_f32(m, key, &found, &v, e);
		if (rc)
			return rc;
		if (!found && reals[i].needed & 1 << s->arch)
			return missing(key, e);
		if (found && !(v > 0 && v < 1e30f))
			return err_set(e, ERR_MODEL, "\"%s\" is %g, no positive number", key, (double)v);
		if (found)
			memcpy((uint8_t *)s + reals[i].at, &v, sizeof v);
	}
	return ERR_OK;
}

/* Values that follow from others, and what must hold between them. */
static int relate_numbers(struct gguf_model *m, struct err *e)
{
	struct gguf_shape *s = &m->shape;
	if (!s->n_kv)
		s->n_kv = s->n_heads;
	if (s->n_heads % s->n_kv)
		return err_set(e, ERR_MODEL, "%llu heads cannot share %llu key and value heads", (unsigned long long)s->n_heads,
		               (unsigned long long)s->n_kv);
	if (!s->key_len && s->width % s->n_heads)
		return err_set(e, ERR_MODEL, "a width of %llu does not divide into %llu heads", (unsigned long long)s->width,
		               (unsigned long long)s->n_heads);
	s->key_len = s->key_len ? s->key_len : s->width / s->n_heads;
	s->value_len = s->value_len ? s->value_len : s->key_len;
	s->rope_dims = s->rope_dims ? s->rope_dims : s->key_len;
	if (s->rope_dims > s->key_len || (s->arch != ARCH_BERT && s->rope_dims % 2))
		return err_set(e, ERR_MODEL, "%llu rotated dimensions in a head of %llu", (unsigned long long)s->rope_dims,
		               (unsigned long long)s->key_len);
	if (s->n_heads * s->key_len > LIMIT_GGUF_WIDTH || s->n_heads * s->value_len > LIMIT_GGUF_WIDTH)
		return err_set(e, ERR_LIMIT, "%llu heads of %llu are above the limit of width %u", (unsigned long long)s->n_heads,
		               (unsigned long long)s->key_len, LIMIT_GGUF_WIDTH);
	return ERR_OK;
}

/* --- tensors ------------------------------------------------------------------------------------------ */

/* Extents in terms of the shape. */
enum { D_NONE, D_WIDTH, D_VOCAB, D_FF, D_Q, D_K, D_V, D_O, D_KEY, D_CTX, D_TYPES, D_ROPE };

static uint64_t extent(const struct gguf_shape *s, int d)
{
	const uint64_t of[] = {
		[D_NONE] = 1, [D_WIDTH] = s->width, [D_VOCAB] = s->n_vocab, [D_FF] = s->n_ff,
		[D_Q] = s->n_heads * s->key_len, [D_K] = s->n_kv * s->key_len, [D_V] = s->n_kv * s->value_len,
		[D_O] = s->n_heads * s->value_len, [D_KEY] = s->key_len, [D_CTX] = s->n_ctx, [D_TYPES] = 2,
		[D_ROPE] = s->rope_dims / 2,
	};
	return of[d];
}

/* name (behind "blk.N." when layered), extents, architectures that know it, that need it, plain f32 */
static const struct tensor_rule {
	const char *name;
	bool layered;
	uint8_t d0, d1;
	uint8_t known, needed;
	bool f32;
} tensor_rules[] = {
	{ "token_embd.weight", false, D_WIDTH, D_VOCAB, ALL, ALL, false },
	{ "token_types.weight", false, D_WIDTH, D_TYPES, BERT, 0, false },
	{ "position_embd.weight", false, D_WIDTH, D_CTX, BERT, BERT, false },
	{ "token_embd_norm.weight", false, D_WIDTH, D_NONE, BERT, BERT, true },
	{ "token_embd_norm.bias", false, D_WIDTH, D_NONE, BERT, BERT, true },
	{ "output_norm.weight", false, D_WIDTH, D_NONE, LLAMA | GEMMA3, LLAMA | GEMMA3, true },
	{ "output.weight", false, D_WIDTH, D_VOCAB, LLAMA | GEMMA3, 0, false },
	{ "rope_freqs.weight", false, D_ROPE, D_NONE, LLAMA, 0, true },
	{ "attn_norm.weight", true, D_WIDTH, D_NONE, LLAMA | GEMMA3, LLAMA | GEMMA3, true },
	{ "attn_q.weight", true, D_WIDTH, D_Q, ALL, ALL, false },
	{ "attn_q.bias", true, D_Q, D_NONE, LLAMA | BERT, BERT, true },
	{ "attn_k.weight", true, D_WIDTH, D_K, ALL, ALL, false },
	{ "attn_k.bias", true, D_K, D_NONE, LLAMA | BERT, BERT, true },
	{ "attn_v.weight", true, D_WIDTH, D_V, ALL, ALL, false },
	{ "attn_v.bias", true, D_V, D_NONE, LLAMA | BERT, BERT, true },
	{ "attn_output.weight", true, D_O, D_WIDTH, ALL, ALL, false },
	{ "attn_output.bias", true, D_WIDTH, D_NONE, LLAMA | BERT, BERT, true },
	{ "attn_output_norm.weight", true, D_WIDTH, D_NONE, BERT, BERT, true },
	{ "attn_output_norm.bias", true, D_WIDTH, D_NONE, BERT, BERT, true },
	{ "attn_q_norm.weight", true, D_KEY, D_NONE, GEMMA3, GEMMA3, true },
	{ "attn_k_norm.weight", true, D_KEY, D_NONE, GEMMA3, GEMMA3, true },
	{ "post_attention_norm.weight", true, D_WIDTH, D_NONE, GEMMA3, GEMMA3, true },
	{ "ffn_norm.weight", true, D_WIDTH, D_NONE, LLAMA | GEMMA3, LLAMA | GEMMA3, true },
	{ "ffn_gate.weight", true, D_WIDTH, D_FF, LLAMA | GEMMA3, LLAMA | GEMMA3, false },
	{ "ffn_up.weight", true, D_WIDTH, D_FF, ALL, ALL, false },
	{ "ffn_up.bias", true, D_FF, D_NONE, LLAMA | BERT, BERT, true },
	{ "ffn_down.weight", true, D_FF, D_WIDTH, ALL, ALL, false },
	{ "ffn_down.bias", true, D_WIDTH, D_NONE, LLAMA | BERT, BERT, true },
	{ "post_ffw_norm.weight", true, D_WIDTH, D_NONE, GEMMA3, GEMMA3, true },
	{ "layer_output_norm.weight", true, D_WIDTH, D_NONE, BERT, BERT, true },
	{ "layer_output_norm.bias", true, D_WIDTH, D_NONE, BERT, BERT, true },
};

static struct gguf_tensor *tensor_named(const struct gguf_model *m, const char *name)
{
	uint32_t i = strmap_find(&m->names, (struct gguf_str){ (const uint8_t *)name, strlen(name) });
	return i == STRMAP_NONE ? NULL : &m->tensors[i];
}

static int check_tensor(struct gguf_model *m, const struct tensor_rule *r, const char *name, struct err *e)
{
	struct gguf_tensor *t = tensor_named(m, name);
	uint64_t d0 = extent(&m->shape, r->d0), d1 = extent(&m->shape, r->d1);
	if (!t && r->needed & 1 << m->shape.arch)
		return err_set(e, ERR_MODEL, "the tensor \"%s\" is missing, which this architecture needs", name);
	if (!t)
		return ERR_OK;
	t->known = true;
	if (t->ne[0] != d0 || t->ne[1] != d1 || t->ne[2] != 1 || t->ne[3] != 1)
		return err_set(e, ERR_MODEL, "tensor \"%s\" is [%llu,%llu,%llu,%llu], the metadata ask for [%llu,%llu]", name,
		               (unsigned long long)t->ne[0], (unsigned long long)t->ne[1], (unsigned long long)t->ne[2],
		               (unsigned long long)t->ne[3], (unsigned long long)d0, (unsigned long long)d1);
	if (r->f32 && t->type != GT_F32)
		return err_set(e, ERR_MODEL, "tensor \"%s\" is of type %s, norms and biases must be F32", name,
		               gguf_type(t->type)->name);
	return ERR_OK;
}

static int check_tensors(struct gguf_model *m, struct err *e)
{
	char name[96];
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < sizeof tensor_rules / sizeof tensor_rules[0]; i++) {
		const struct tensor_rule *r = &tensor_rules[i];
		if (!(r->known & 1 << m->shape.arch))
			continue;
		if (!r->layered)
			rc = check_tensor(m, r, r->name, e);
		for (uint64_t l = 0; !rc && r->layered && l < m->shape.n_layers; l++) {
			snprintf(name, sizeof name, "blk.%llu.%s", (unsigned long long)l, r->name);
			rc = check_tensor(m, r, name, e);
		}
	}
	m->shape.tied = !tensor_named(m, "output.weight");
	return rc;
}

/* The rows of the embedding are the vocabulary; what else names its size must agree. */
static int check_vocab_size(struct gguf_model *m, struct err *e)
{
	const struct gguf_tensor *t = tensor_named(m, "token_embd.weight");
	uint64_t said = m->shape.n_vocab;
	if (!t)
		return missing("token_embd.weight", e);
	m->shape.n_vocab = t->ne[1];
	if (t->ne[1] > LIMIT_GGUF_TOKENS)
		return err_set(e, ERR_LIMIT, "an embedding of %llu rows is above the limit of %u", (unsigned long long)t->ne[1],
		               LIMIT_GGUF_TOKENS);
	if (m->n_tokens && m->n_tokens != t->ne[1])
		return err_set(e, ERR_MODEL, "%llu tokens and an embedding of %llu rows", (unsigned long long)m->n_tokens,
		               (unsigned long long)t->ne[1]);
	if (said && said != t->ne[1])
		gguf_fact(m, "odd", "vocab-size", 1, 0, "the metadata speak of %llu tokens, the embedding has %llu",
		          (unsigned long long)said, (unsigned long long)t->ne[1]);
	if (!m->n_tokens)
		gguf_unsupported(m, ERR_MODEL, "no-vocabulary", 0, "there are no tokens: tokenizer.ggml.tokens is missing");
	return ERR_OK;
}

/* --- what is well formed and does not run ----------------------------------------------------------- */

static void check_types(struct gguf_model *m)
{
	uint64_t count[GT__MAX] = { 0 };
	for (uint64_t i = 0; i < m->n_tensors; i++)
		count[m->tensors[i].type]++;
	for (int t = 0; t < GT__MAX; t++)
		if (count[t] && !gguf_type((uint64_t)t)->runs)
			gguf_unsupported(m, ERR_UNSUPPORTED, "tensor-type", 0, "%llu tensors are of type %s, which is not computed "
			                 "with here", (unsigned long long)count[t], gguf_type((uint64_t)t)->name);
}

static int check_split(struct gguf_model *m, struct err *e)
{
	uint64_t count = 0, no = 0;
	bool found, has_no;
	int rc = gguf_get_uint(m, "split.count", UINT16_MAX, &found, &count, e);
	if (!rc)
		rc = gguf_get_uint(m, "split.no", UINT16_MAX, &has_no, &no, e);
	if (rc || !found || count <= 1)
		return rc;
	if (no >= count)
		return err_set(e, ERR_MODEL, "split.no is %llu of %llu parts", (unsigned long long)no,
		               (unsigned long long)count);
	gguf_unsupported(m, ERR_UNSUPPORTED, "split", 0, "this is part %llu of a model in %llu files, which are not "
	                 "joined yet", (unsigned long long)no + 1, (unsigned long long)count);
	return ERR_OK;
}

static int find_arch(struct gguf_model *m, struct err *e)
{
	bool found;
	int rc = gguf_get_str(m, "general.architecture", &found, &m->arch_name, e);
	if (rc)
		return rc;
	for (size_t i = 0; found && i < sizeof archs / sizeof archs[0]; i++)
		if (gguf_str_is(m->arch_name, archs[i].name))
			m->shape.arch = archs[i].arch;
	if (!found)
		gguf_unsupported(m, ERR_MODEL, "no-architecture", 0, "the key \"general.architecture\" is missing");
	else if (!m->shape.arch)
		gguf_unsupported(m, ERR_UNSUPPORTED, "architecture", 0, "the architecture \"%s\" is not known: llama, gemma3 "
		                 "and bert are", gguf_show(m->arch_name).s);
	return ERR_OK;
}

/* A vocabulary that is not read here is described all the same. */
static int build_tokenizer(struct gguf_model *m, struct err *e)
{
	struct err why = { 0, "" };
	int rc = m->n_tokens ? tokenizer_open(m->arena, m, &m->tokenizer, &why) : ERR_OK;
	if (rc == ERR_UNSUPPORTED)
		gguf_unsupported(m, rc, "tokenizer", 0, "%.180s", why.text);
	else if (rc && e)
		*e = why;
	return rc == ERR_UNSUPPORTED ? ERR_OK : rc;
}

static int check_file(struct gguf_model *m, struct err *e)
{
	int rc = find_arch(m, e);
	if (rc || (rc = check_split(m, e)) || (rc = gguf_check_vocab(m, e)) || (rc = build_tokenizer(m, e)))
		return rc;
	check_types(m);
	if (!m->n_tensors) {
		gguf_unsupported(m, ERR_UNSUPPORTED, "no-tensors", 0, "the file holds no tensors: nothing to compute with");
		return ERR_OK;
	}
	if (m->no_data)
		gguf_unsupported(m, ERR_MODEL, "no-data", m->n_bytes, "the file ends before the data of its %llu tensors",
		                 (unsigned long long)m->n_tensors);
	if (!m->shape.arch)
		return ERR_OK;
	if ((rc = read_numbers(m, e)) || (rc = relate_numbers(m, e)) || (rc = check_vocab_size(m, e)) ||
	    (rc = check_tensors(m, e)))
		return rc;
	return ERR_OK;
}

int gguf_check(struct gguf_model *m, struct err *e)
{
	int rc = check_file(m, e);
	if (!rc)
		gguf_unsupported(m, ERR_UNSUPPORTED, "not-yet", 0, "language models are read and described, and not run yet by "
		                 "this version");
	return rc;
}
