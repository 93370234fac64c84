/* SPDX-License-Identifier: Apache-2.0
 *
 * The vocabulary's lists against each other: tokens, scores, types, merges, special ids.
 *
 * Side: inside. Trusts: pairs as read.c left them. Owns: the names of special tokens.
 */
#include "sandbox/inside/engine/gguf/gguf.h"

#include "proto/mem.h"

#include <math.h>

static int check_tokens(struct gguf_model *m, const struct gguf_pair *p, struct err *e)
{
	const uint8_t *at = p->data;
	uint64_t odd = 0, first = 0;
	if (p->n > LIMIT_GGUF_TOKENS)
		return err_set(e, ERR_LIMIT, "a vocabulary of %llu tokens is above the limit of %u", (unsigned long long)p->n,
		               LIMIT_GGUF_TOKENS);
	for (uint64_t i = 0; i < p->n; i++) {
		struct gguf_str s = gguf_next_string(&at);
		if (s.len > LIMIT_GGUF_TOKEN_BYTES)
			return err_set(e, ERR_LIMIT, "token %llu at byte %llu has %zu bytes, above the limit of %u",
			               (unsigned long long)i, (unsigned long long)(s.p - m->file), s.len, LIMIT_GGUF_TOKEN_BYTES);
		if (gguf_text_is_odd(s) && odd++ == 0)
			first = (uint64_t)(s.p - m->file);
	}
	if (odd)
		gguf_fact(m, "odd", "token-text", 1, first, "%llu tokens hold control or direction characters or no UTF-8",
		          (unsigned long long)odd);
	m->n_tokens = p->n;
	return ERR_OK;
}

static int check_length(const struct gguf_model *m, const struct gguf_pair *p, struct err *e)
{
	if (p->n == m->n_tokens)
		return ERR_OK;
	return err_set(e, ERR_MODEL, "\"%s\" at byte %llu has %llu elements for %llu tokens", gguf_show(p->key).s,
	               (unsigned long long)p->off, (unsigned long long)p->n, (unsigned long long)m->n_tokens);
}

static int check_scores(const struct gguf_model *m, const struct gguf_pair *p, struct err *e)
{
	for (uint64_t i = 0; i < p->n; i++) {
		float v;
		memcpy(&v, p->data + 4 * i, sizeof v);
		if (isnan(v))
			return err_set(e, ERR_MODEL, "the score of token %llu is no number", (unsigned long long)i);
	}
	return check_length(m, p, e);
}

static int check_token_types(const struct gguf_model *m, const struct gguf_pair *p, struct err *e)
{
	for (uint64_t i = 0; i < p->n; i++)
		if (le32_get(p->data + 4 * i) > 6)
			return err_set(e, ERR_MODEL, "token %llu has type %d, 0 to 6 exist", (unsigned long long)i,
			               (int32_t)le32_get(p->data + 4 * i));
	return check_length(m, p, e);
}

/* Every key that names one token; a later reader looks them up by these names. */
static const char *const special_keys[] = {
	"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
	"tokenizer.ggml.eom_token_id", "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.padding_token_id",
	"tokenizer.ggml.seperator_token_id", "tokenizer.ggml.cls_token_id", "tokenizer.ggml.mask_token_id",
	"tokenizer.ggml.prefix_token_id", "tokenizer.ggml.suffix_token_id", "tokenizer.ggml.middle_token_id",
	"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.fim_mid_token_id",
	"tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id",
};

static int check_specials(struct gguf_model *m, struct err *e)
{
	for (size_t i = 0; i < sizeof special_keys / sizeof special_keys[0]; i++) {
		uint64_t id = 0;
		bool found;
		int rc = gguf_get_uint(m, special_keys[i], UINT64_MAX, &found, &id, e);
		if (rc)
			return rc;
		if (found && id >= m->n_tokens)
			return err_set(e, ERR_MODEL, "\"%s\" is %llu, there are %llu tokens", special_keys[i],
			               (unsigned long long)id, (unsigned long long)m->n_tokens);
	}
	return ERR_OK;
}

int gguf_check_vocab(struct gguf_model *m, struct err *e)
{
	const struct gguf_pair *tokens, *scores, *types, *merges;
	int rc;
	if ((rc = gguf_get_array(m, "tokenizer.ggml.tokens", GV_STRING, &tokens, e)) ||
	    (rc = gguf_get_array(m, "tokenizer.ggml.scores", GV_F32, &scores, e)) ||
	    (rc = gguf_get_array(m, "tokenizer.ggml.token_type", GV_I32, &types, e)) ||
	    (rc = gguf_get_array(m, "tokenizer.ggml.merges", GV_STRING, &merges, e)))
		return rc;
	if (tokens && (rc = check_tokens(m, tokens, e)))
		return rc;
	if (scores && (rc = check_scores(m, scores, e)))
		return rc;
	if (types && (rc = check_token_types(m, types, e)))
		return rc;
	if (merges && merges->n > LIMIT_GGUF_TOKENS)
		return err_set(e, ERR_LIMIT, "%llu merges are above the limit of %u", (unsigned long long)merges->n,
		               LIMIT_GGUF_TOKENS);
	return check_specials(m, e);
}
