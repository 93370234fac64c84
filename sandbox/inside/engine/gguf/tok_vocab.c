/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds a tokenizer from a file's lists: see tok.h. What is refused: a text that two tokens have, byte tokens
 * whose text names no byte, merges that name unknown tokens, long texts that would be searched for everywhere.
 *
 * Side: inside. Trusts: the lists' lengths and ids (vocab.c). Owns: the texts by which special tokens are known.
 */
#include "sandbox/inside/engine/gguf/tok_in.h"
#include "sandbox/inside/engine/gguf/utf8.h"

#include "proto/mem.h"

#include <stdio.h>

#define PROBES_MAX 512

/* --- bytes as characters ------------------------------------------------------------------------------- */

/* Printable bytes of Latin-1 stand for themselves, the other 68 for the characters from U+0100 on, in order. */
static bool stands_for_itself(unsigned b) { return (b > 32 && b < 127) || (b > 160 && b != 173); }

uint32_t byte_char(uint8_t b)
{
	uint32_t n = 0x100;
	if (stands_for_itself(b))
		return b;
	for (unsigned i = 0; i < b; i++)
		n += !stands_for_itself(i);
	return n;
}

int char_byte(uint32_t cp)
{
	if (cp < 256)
		return stands_for_itself(cp) ? (int)cp : -1;
	if (cp >= 0x100 + 68)
		return -1;
	for (unsigned b = 0, n = 0x100; b < 256; b++)
		if (!stands_for_itself(b) && n++ == cp)
			return (int)b;
	return -1;
}

static int hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a text like <0x0A> names, or -1. */
static int named_byte(struct gguf_str s)
{
	if (s.len != 6 || memcmp(s.p, "<0x", 3) || s.p[5] != '>' || hex_digit(s.p[3]) < 0 || hex_digit(s.p[4]) < 0)
		return -1;
	return hex_digit(s.p[3]) * 16 + hex_digit(s.p[4]);
}

/* --- tokens -------------------------------------------------------------------------------------------- */

static int read_tokens(struct tokenizer *t, struct arena *a, struct gguf_model *m, struct err *e)
{
	const struct gguf_pair *tokens = gguf_find(m, "tokenizer.ggml.tokens");
	const struct gguf_pair *scores = gguf_find(m, "tokenizer.ggml.scores");
	const struct gguf_pair *types = gguf_find(m, "tokenizer.ggml.token_type");
	const uint8_t *at = tokens->data;
	uint32_t first;
	t->n_toks = (uint32_t)tokens->n;
	t->toks = arena_array(a, t->n_toks, sizeof *t->toks);
	if (!t->toks || !strmap_init(&t->map, a, t->toks, sizeof *t->toks, t->n_toks))
		return gguf_no_room(m, "its vocabulary", e);
	for (uint32_t i = 0; i < t->n_toks; i++) {
		struct tok *k = &t->toks[i];
		*k = (struct tok){ .text = gguf_next_string(&at), .type = TT_NORMAL };
		if (scores)
			memcpy(&k->score, scores->data + 4 * (size_t)i, sizeof k->score);
		if (types)
			k->type = (uint8_t)le32_get(types->data + 4 * (size_t)i);
		t->max_len = k->text.len > t->max_len ? k->text.len : t->max_len;
		int rc = k->text.len ? strmap_add(&t->map, i, &first) : STRMAP_ADDED; /* no text is no name */
		if (rc == STRMAP_TWICE)
			return err_set(e, ERR_MODEL, "tokens %u and %u have the same text \"%s\"", first, i, gguf_show(k->text).s);
		if (rc == STRMAP_CROWDED)
			return err_set(e, ERR_LIMIT, "token texts are chosen to collide, at token %u", i);
	}
	return ERR_OK;
}

static uint32_t find_text(const struct tokenizer *t, const char *text)
{
	return strmap_find(&t->map, (struct gguf_str){ (const uint8_t *)text, strlen(text) });
}

/* Texts that are control tokens whatever the file's types say: model makers forget. end: they end an answer. */
static const struct { const char *text; bool end; } control_texts[] = {
	{ "<|eot_id|>", true }, { "<|im_end|>", true }, { "<|end|>", true }, { "<|return|>", true }, { "<|call|>", true },
	{ "<end_of_turn>", true }, { "<|endoftext|>", true }, { "<|eom_id|>", true }, { "<EOT>", true }, { "_<EOT>", true },
	{ "[EOT]", true }, { "[EOS]", true }, { "<|end_of_text|>", true }, { "<end_of_utterance>", true }, { "<eos>", true },
	{ "<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>", true }, { "</s>", false },
	{ "<|fim_prefix|>", false }, { "<fim-prefix>", false }, { "<fim_prefix>", false }, { "<PRE>", false },
	{ "<|fim_suffix|>", false }, { "<fim-suffix>", false }, { "<fim_suffix>", false }, { "<SUF>", false },
	{ "<|fim_middle|>", false }, { "<fim-middle>", false }, { "<fim_middle>", false }, { "<MID>", false },
	{ "<|fim_pad|>", false }, { "<fim-pad>", false }, { "<fim_pad>", false }, { "<PAD>", false }, { "[PAD]", false },
	{ "<|fim_repo|>", false }, { "<|repo_name|>", false }, { "<fim-repo>", false }, { "<REPO>", false },
	{ "<reponame>", false }, { "<|file_sep|>", false },
};

static void mark_controls(struct tokenizer *t)
{
	for (size_t i = 0; i < sizeof control_texts / sizeof control_texts[0]; i++) {
		uint32_t id = find_text(t, control_texts[i].text);
		if (id == STRMAP_NONE)
			continue;
		t->toks[id].type = TT_CONTROL;
		t->toks[id].end = control_texts[i].end;
	}
}

/* Phi-3 swallows white space behind its special tokens, and no key says so. */
static void mark_rstrip(struct tokenizer *t, const struct gguf_model *m)
{
	static const char *const not[] = { "<unk>", "<s>", "<|endoftext|>" };
	const struct gguf_pair *p = gguf_find(m, "general.name");
	char name[64];
	if (!p || p->type != GV_STRING)
		return;
	snprintf(name, sizeof name, "%.*s", (int)(gguf_text(p).len < 63 ? gguf_text(p).len : 63), gguf_text(p).p);
	if (!strcasestr(name, "phi-3") && !strcasestr(name, "phi3"))
		return;
	for (uint32_t i = 0; i < t->n_toks; i++)
		t->toks[i].rstrip = t->toks[i].type == TT_CONTROL || t->toks[i].type == TT_USER || t->toks[i].type == TT_UNKNOWN;
	for (size_t i = 0; i < sizeof not / sizeof not[0]; i++)
		if (find_text(t, not[i]) != STRMAP_NONE)
			t->toks[find_text(t, not[i])].rstrip = false;
}

static int read_bytes(struct tokenizer *t, struct err *e)
{
	for (int b = 0; b < 256; b++)
		t->byte_id[b] = TOK_NONE;
	for (uint32_t i = 0; i < t->n_toks; i++) {
		int b = t->toks[i].type == TT_BYTE ? named_byte(t->toks[i].text) : -1;
		if (t->toks[i].type == TT_BYTE && b < 0)
			return err_set(e, ERR_MODEL, "byte token %u has the text \"%s\", which names no byte", i,
			               gguf_show(t->toks[i].text).s);
		if (b >= 0)
			t->byte_id[b] = i;
	}
	for (unsigned b = 0; b < 256; b++) {
		char text[8];
		uint8_t one[4];
		struct gguf_str s = { one, 1 };
		one[0] = (uint8_t)b;
		if (t->kind == KIND_BPE) {
			s.len = utf8_put(one, byte_char((uint8_t)b));
			t->byte_id[b] = strmap_find(&t->map, s);
		} else if (t->kind == KIND_SPM && t->byte_id[b] == TOK_NONE) {
			snprintf(text, sizeof text, "<0x%02X>", b);
			t->byte_id[b] = find_text(t, text);
			if (t->byte_id[b] == STRMAP_NONE)
				t->byte_id[b] = strmap_find(&t->map, s);
		}
	}
	return ERR_OK;
}

/* Which lengths the tokens have that are searched for in every text. */
static int read_searched(struct tokenizer *t, struct err *e)
{
	for (uint32_t i = 0; i < t->n_toks; i++) {
		const struct tok *k = &t->toks[i];
		size_t len = k->text.len;
		if (len == 0 || (k->type != TT_CONTROL && k->type != TT_USER && k->type != TT_UNKNOWN))
			continue;
		if (len > LIMIT_GGUF_SPECIAL_BYTES)
			return err_set(e, ERR_LIMIT, "special token %u has %zu bytes, above the limit of %d", i, len,
			               LIMIT_GGUF_SPECIAL_BYTES);
		uint8_t b = k->text.p[0];
		t->lengths[b][(len - 1) / 64] |= (uint64_t)1 << (len - 1) % 64;
		t->longest[b] = len > t->longest[b] ? (uint16_t)len : t->longest[b];
	}
	return ERR_OK;
}

/* --- merges --------------------------------------------------------------------------------------------- */

static uint32_t pair_hash(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	return (uint32_t)(x ^ x >> 32);
}

static struct merge *merge_slot(const struct tokenizer *t, uint64_t pair)
{
	for (uint32_t k = 0, h = pair_hash(pair); k < PROBES_MAX; k++) {
		struct merge *s = &t->merges[(h + k) & t->merge_mask];
		if (s->id == TOK_NONE || s->pair == pair)
			return s;
	}
	return NULL;
}

const struct merge *merge_find(const struct tokenizer *t, uint32_t left, uint32_t right)
{
	if (left == TOK_NONE || right == TOK_NONE)
		return NULL;
	struct merge *s = merge_slot(t, (uint64_t)left << 32 | right);
	return s && s->id != TOK_NONE ? s : NULL;
}

/* "left right" */
static int read_merge(struct tokenizer *t, struct gguf_str s, uint32_t rank, uint8_t *room, struct err *e)
{
	const uint8_t *blank = s.len > 1 ? memchr(s.p + 1, ' ', s.len - 1) : NULL;
	uint32_t left, right, id;
	if (!blank || s.len > 2 * (size_t)LIMIT_GGUF_TOKEN_BYTES)
		return err_set(e, ERR_MODEL, "merge %u \"%s\" is no pair of tokens", rank, gguf_show(s).s);
	size_t n = (size_t)(blank - s.p);
	memcpy(room, s.p, n);
	memcpy(room + n, blank + 1, s.len - n - 1);
	left = strmap_find(&t->map, (struct gguf_str){ s.p, n });
	right = strmap_find(&t->map, (struct gguf_str){ blank + 1, s.len - n - 1 });
	id = strmap_find(&t->map, (struct gguf_str){ room, s.len - 1 });
	if (left == STRMAP_NONE || right == STRMAP_NONE || id == STRMAP_NONE)
		return err_set(e, ERR_MODEL, "merge %u \"%s\" names or makes a token that is not in the vocabulary", rank,
		               gguf_show(s).s);
	struct merge *slot = merge_slot(t, (uint64_t)left << 32 | right);
	if (!slot)
		return err_set(e, ERR_LIMIT, "merges are chosen to collide, at merge %u", rank);
	if (slot->id == TOK_NONE) /* of two equal merges the first counts */
		*slot = (struct merge){ (uint64_t)left << 32 | right, rank, id };
	return ERR_OK;
}

static int read_merges(struct tokenizer *t, struct arena *a, struct gguf_model *m, struct err *e)
{
	const struct gguf_pair *p = gguf_find(m, "tokenizer.ggml.merges");
	size_t n = 16;
	int rc = ERR_OK;
	if (!p)
		return err_set(e, ERR_MODEL, "the key \"tokenizer.ggml.merges\" is missing, which this tokenizer needs");
	while (n < 2 * (size_t)p->n)
		n *= 2;
	uint8_t *room = arena_alloc(a, 2 * (size_t)LIMIT_GGUF_TOKEN_BYTES);
	t->merges = arena_array(a, n, sizeof *t->merges);
	if (!t->merges || !room)
		return gguf_no_room(m, "its merges", e);
	t->merge_mask = (uint32_t)(n - 1);
	for (size_t i = 0; i < n; i++)
		t->merges[i] = (struct merge){ 0, 0, TOK_NONE };
	const uint8_t *at = p->data;
	for (uint32_t i = 0; !rc && i < p->n; i++)
		rc = read_merge(t, gguf_next_string(&at), i, room, e);
	return rc;
}

/* --- the whole ------------------------------------------------------------------------------------------- */

/* name of the kind, special ids when no key says otherwise (none: TOK_NONE), what is added */
static const struct {
	const char *model;
	enum tok_kind kind;
	uint32_t bos, eos, unk, sep;
	bool add_bos, add_eos, add_prefix;
} kinds[] = {
	{ "llama", KIND_SPM, 1, 2, 0, TOK_NONE, true, false, true },
	{ "gpt2", KIND_BPE, TOK_NONE, TOK_NONE, TOK_NONE, TOK_NONE, false, false, false },
	{ "bert", KIND_WPM, 101, TOK_NONE, 100, 102, true, false, false },
};

static int read_kind(struct tokenizer *t, struct gguf_model *m, struct err *e)
{
	struct gguf_str name = { (const uint8_t *)"", 0 };
	bool found;
	int rc = gguf_get_str(m, "tokenizer.ggml.model", &found, &name, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (gguf_str_is(name, kinds[i].model)) {
			*t = (struct tokenizer){ .kind = kinds[i].kind, .bos = kinds[i].bos, .eos = kinds[i].eos, .unk = kinds[i].unk,
				                 .sep = kinds[i].sep, .add_bos = kinds[i].add_bos, .add_eos = kinds[i].add_eos,
				                 .add_prefix = kinds[i].add_prefix };
			return ERR_OK;
		}
	return err_set(e, ERR_UNSUPPORTED, "the tokenizer \"%s\" is not known: llama, gpt2 and bert are", gguf_show(name).s);
}

static int read_pre(struct tokenizer *t, struct gguf_model *m, struct err *e)
{
	struct gguf_str name = { (const uint8_t *)"default", 7 };
	bool found;
	int rc = gguf_get_str(m, "tokenizer.ggml.pre", &found, &name, e);
	if (rc || t->kind != KIND_BPE)
		return rc;
	t->pre = pre_find(name);
	if (!t->pre)
		return err_set(e, ERR_UNSUPPORTED, "the pre-tokenizer \"%s\" is not known", gguf_show(name).s);
	t->add_bos = t->pre->bos;
	return ERR_OK;
}

static int read_options(struct tokenizer *t, struct gguf_model *m, struct err *e)
{
	const struct { const char *key; bool *to; } options[] = {
		{ "tokenizer.ggml.add_bos_token", &t->add_bos }, { "tokenizer.ggml.add_eos_token", &t->add_eos },
		{ "tokenizer.ggml.add_space_prefix", &t->add_prefix }, { "tokenizer.ggml.normalizer.lowercase", &t->lower },
		{ "tokenizer.ggml.normalizer.strip_accents", &t->strip },
	};
	const struct { const char *key; uint32_t *to; } ids[] = {
		{ "tokenizer.ggml.cls_token_id", t->kind == KIND_WPM ? &t->bos : NULL },
		{ "tokenizer.ggml.bos_token_id", &t->bos }, { "tokenizer.ggml.eos_token_id", &t->eos },
		{ "tokenizer.ggml.unknown_token_id", &t->unk }, { "tokenizer.ggml.seperator_token_id", &t->sep },
	};
	bool found, prefix = t->add_prefix;
	t->lower = t->strip = true;
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		int rc = gguf_get_bool(m, options[i].key, &found, options[i].to, e);
		if (rc)
			return rc;
		if (options[i].to == &t->lower)
			t->strip = t->lower;
	}
	if (t->kind != KIND_SPM)
		t->add_prefix = prefix;
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		uint64_t id;
		int rc = gguf_get_uint(m, ids[i].key, UINT64_MAX, &found, &id, e);
		if (rc)
			return rc;
		if (found && ids[i].to)
			*ids[i].to = (uint32_t)id; /* below n_toks: vocab.c */
		else if (ids[i].to && *ids[i].to >= t->n_toks)
			*ids[i].to = TOK_NONE;
	}
	return ERR_OK;
}

/* Tokens that end an answer, by key; those by text are marked already. */
static int mark_ends(struct tokenizer *t, struct gguf_model *m, struct err *e)
{
	static const char *const keys[] = { "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
		                            "tokenizer.ggml.eom_token_id" };
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		uint64_t id;
		bool found;
		int rc = gguf_get_uint(m, keys[i], UINT64_MAX, &found, &id, e);
		if (rc)
			return rc;
		if (found)
			t->toks[id].end = true;
	}
	if (t->eos != TOK_NONE)
		t->toks[t->eos].end = true;
	return ERR_OK;
}

int tokenizer_open(struct arena *a, struct gguf_model *m, struct tokenizer **out, struct err *e)
{
	struct tokenizer *t = arena_alloc(a, sizeof *t);
	int rc;
	if (!t)
		return gguf_no_room(m, "its tokenizer", e);
	if (!m->n_tokens)
		return err_set(e, ERR_MODEL, "there are no tokens");
	if ((rc = read_kind(t, m, e)) || (rc = read_pre(t, m, e)) || (rc = read_tokens(t, a, m, e)) ||
	    (rc = read_options(t, m, e)))
		return rc;
	mark_controls(t);
	mark_rstrip(t, m);
	if ((rc = read_bytes(t, e)) || (rc = mark_ends(t, m, e)) || (rc = read_searched(t, e)))
		return rc;
	if (t->kind == KIND_BPE && (rc = read_merges(t, a, m, e)))
		return rc;
	*out = t;
	return ERR_OK;
}
