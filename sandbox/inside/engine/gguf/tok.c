/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to tokens and back: see tok.h. First the tokens that are found as they stand (user-defined ones always,
 * control tokens on request), the longest first wherever they are; what lies between goes to the kind's own
 * file.
 *
 * Side: inside. Trusts: the tables. Owns: nothing.
 */
#include "sandbox/inside/engine/gguf/tok_in.h"
#include "sandbox/inside/engine/gguf/utf8.h"

#include <string.h>

#define FUEL_PER_BYTE 1024
#define FUEL_LEAST MIB(4)

int tok_no_room(struct tok_run *r)
{
	return err_set(r->e, ERR_LIMIT, "the text needs more than the %zu bytes of scratch", r->a->cap_bytes);
}

int tok_exhausted(struct tok_run *r)
{
	return err_set(r->e, ERR_LIMIT, "this vocabulary makes the text too expensive: more than %d bytes looked at per byte",
	               FUEL_PER_BYTE);
}

bool tok_burn(struct tok_run *r, uint64_t n)
{
	r->fuel = r->fuel > n ? r->fuel - n : 0;
	return r->fuel > 0;
}

int tok_emit(struct tok_run *r, uint32_t id)
{
	if (r->n == r->cap)
		return err_set(r->e, ERR_INTERNAL, "more tokens than the text can have");
	r->ids[r->n++] = id;
	return ERR_OK;
}

/* --- tokens found as they stand -------------------------------------------------------------------------- */

/* A place where one may begin. len is the longest that still fits there. */
struct place { uint32_t pos, id, len; };

/* The longest searched token at pos, at most max bytes. */
static void look(const struct tokenizer *t, const uint8_t *text, size_t max, bool parse, struct place *p)
{
	const uint8_t *s = text + p->pos;
	const uint64_t *lengths = t->lengths[s[0]];
	uint64_t h = STRMAP_START;
	size_t n = t->longest[s[0]] < max ? t->longest[s[0]] : max;
	p->len = 0;
	for (size_t i = 0; i < n; i++) {
		h = strmap_step(h, s[i]);
		if (!(lengths[i / 64] >> i % 64 & 1))
			continue;
		uint32_t id = strmap_find_hashed(&t->map, (struct gguf_str){ s, i + 1 }, h);
		uint8_t type = id == STRMAP_NONE ? TT_NONE : t->toks[id].type;
		if (type == TT_USER || (parse && (type == TT_CONTROL || type == TT_UNKNOWN))) {
			p->id = id;
			p->len = (uint32_t)i + 1;
		}
	}
}

static bool is_blank(uint8_t b) { return b == ' ' || (b >= '\t' && b <= '\r'); }

/* The token at a place takes its bytes, and the blanks behind it that it swallows. */
static void take(const struct tokenizer *t, const uint8_t *text, size_t n_text, const struct place *p, uint8_t *used)
{
	memset(used + p->pos, 1, p->len);
	for (size_t i = p->pos + p->len; t->toks[p->id].rstrip && i < n_text && !used[i] && is_blank(text[i]); i++)
		used[i] = 1;
}

/* Settles which tokens are taken: longer ones first, then those further left. used: a byte per byte of text. */
static void settle(const struct tokenizer *t, const uint8_t *text, size_t n_text, bool parse, struct place *places,
                   size_t n, uint8_t *used, bool *taken)
{
	size_t count[LIMIT_GGUF_SPECIAL_BYTES + 1] = { 0 };
	for (size_t i = 0; i < n; i++)
		count[places[i].len]++;
	for (size_t len = LIMIT_GGUF_SPECIAL_BYTES; len; len--)
		for (size_t i = 0; count[len] && i < n; i++) {
			struct place *p = &places[i];
			if (p->len != len || taken[i])
				continue;
			const uint8_t *hit = memchr(used + p->pos, 1, len);
			if (hit) {
				/* Something longer has it: what fits before that comes up again below. */
				look(t, text, (size_t)(hit - used) - p->pos, parse, p);
				count[p->len]++;
				continue;
			}
			take(t, text, n_text, p, used);
			taken[i] = true;
		}
}

static int plain(struct tok_run *r, const uint8_t *text, size_t n, bool *after_special)
{
	size_t mark = r->a->used_bytes;
	int rc;
	if (!n)
		return ERR_OK;
	if (r->t->kind == KIND_SPM)
		rc = spm_encode(r, text, n, r->t->add_prefix && *after_special);
	else
		rc = r->t->kind == KIND_BPE ? bpe_encode(r, text, n) : wpm_encode(r, text, n);
	r->a->used_bytes = mark;
	*after_special = false;
	return rc;
}

static size_t find_places(const struct tokenizer *t, const uint8_t *text, size_t n, bool parse, struct place *places)
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		struct place p = { .pos = (uint32_t)i };
		if (!t->longest[text[i]])
			continue;
		look(t, text, n - i, parse, &p);
		if (p.len && places)
			places[k] = p;
		k += p.len > 0;
	}
	return k;
}

/* Text from *at to the next token; blanks that a token swallowed are used. */
static int between(struct tok_run *r, const uint8_t *text, const uint8_t *used, size_t *at, size_t end, bool *after_special)
{
	while (used && *at < end && used[*at])
		++*at;
	return plain(r, text + *at, end - *at, after_special);
}

static int body(struct tok_run *r, const uint8_t *text, size_t n, bool parse)
{
	const struct tokenizer *t = r->t;
	size_t n_places = find_places(t, text, n, parse, NULL), at = 0;
	struct place *places = arena_array(r->a, n_places, sizeof *places);
	bool *taken = arena_zalloc(r->a, n_places), after_special = true;
	uint8_t *used = arena_zalloc(r->a, n_places ? n : 0);
	int rc = ERR_OK;
	if (!places || !taken || !used)
		return tok_no_room(r);
	find_places(t, text, n, parse, places);
	settle(t, text, n, parse, places, n_places, used, taken);
	for (size_t i = 0; !rc && i < n_places; i++) {
		if (!taken[i])
			continue;
		if ((rc = between(r, text, used, &at, places[i].pos, &after_special)) || (rc = tok_emit(r, places[i].id)))
			return rc;
		at = places[i].pos + places[i].len;
		after_special = true;
	}
	return rc ? rc : between(r, text, n_places ? used : NULL, &at, n, &after_special);
}

int tokenizer_encode(const struct tokenizer *t, struct arena *scratch, const uint8_t *text, size_t n, unsigned flags,
                     const uint32_t **ids, size_t *n_ids, struct err *e)
{
	struct tok_run r = { .t = t, .a = scratch, .fuel = FUEL_LEAST + FUEL_PER_BYTE * (uint64_t)n, .e = e };
	int rc = ERR_OK;
	if (n > LIMIT_GGUF_TEXT_BYTES)
		return err_set(e, ERR_LIMIT, "a text of %zu bytes is above the limit of %llu", n,
		               (unsigned long long)LIMIT_GGUF_TEXT_BYTES);
	r.cap = 6 * n + 16; /* a blank can become three bytes, and each piece can get one in front */
	r.ids = arena_array(scratch, r.cap, sizeof *r.ids);
	if (!r.ids)
		return tok_no_room(&r);
	if ((flags & TOK_ADD) && t->add_bos && t->bos != TOK_NONE)
		rc = tok_emit(&r, t->bos);
	if (!rc)
		rc = body(&r, text, n, flags & TOK_PARSE);
	if (!rc && (flags & TOK_ADD) && t->kind == KIND_WPM && t->sep != TOK_NONE)
		rc = tok_emit(&r, t->sep);
	if (!rc && (flags & TOK_ADD) && t->add_eos && t->kind != KIND_WPM && t->eos != TOK_NONE)
		rc = tok_emit(&r, t->eos);
	*ids = r.ids;
	*n_ids = r.n;
	return rc;
}

/* --- and back -------------------------------------------------------------------------------------------- */

/* Writes a normal token's text: U+2581 is a blank; byte-level characters are bytes. */
static size_t piece_put(const struct tokenizer *t, struct gguf_str s, uint8_t *out)
{
	size_t k = 0;
	for (size_t i = 0, len; i < s.len; i += len) {
		uint32_t c;
		int b;
		len = utf8_next(s.p + i, s.len - i, &c);
		if (len && t->kind != KIND_BPE && c == 0x2581) {
			out[k++] = ' ';
		} else if (len && t->kind == KIND_BPE && (b = char_byte(c)) >= 0) {
			out[k++] = (uint8_t)b;
		} else {
			len = len ? len : 1;
			memcpy(out + k, s.p + i, len);
			k += len;
		}
	}
	return k;
}

static int byte_of(const struct tokenizer *t, uint32_t id)
{
	for (int b = 0; b < 256; b++)
		if (t->byte_id[b] == id)
			return b;
	return -1;
}

static size_t token_put(const struct tokenizer *t, uint32_t id, unsigned flags, uint8_t *out)
{
	const struct tok *k = &t->toks[id];
	int b;
	if ((k->type == TT_CONTROL || k->type == TT_UNKNOWN) && !(flags & TOK_SHOW))
		return 0;
	if (k->type == TT_CONTROL || k->type == TT_UNKNOWN || k->type == TT_USER) {
		memcpy(out, k->text.p, k->text.len);
		return k->text.len;
	}
	if (k->type == TT_BYTE && (b = byte_of(t, id)) >= 0) {
		*out = (uint8_t)b;
		return 1;
	}
	return k->type == TT_NORMAL ? piece_put(t, k->text, out) : 0;
}

int tokenizer_decode(const struct tokenizer *t, struct arena *scratch, const uint32_t *ids, size_t n, unsigned flags,
                     const uint8_t **text, size_t *n_text, struct err *e)
{
	size_t cap = 0, k = 0;
	/* A blank was put in front of every text that followed nothing or a special token. */
	bool strip = t->kind == KIND_SPM && t->add_prefix;
	for (size_t i = 0; i < n; i++) {
		if (ids[i] >= t->n_toks)
			return err_set(e, ERR_INPUT, "token %u is not in the vocabulary of %u", ids[i], t->n_toks);
		cap += t->toks[ids[i]].text.len + 1;
	}
	uint8_t *out = arena_alloc(scratch, cap + 1);
	if (!out)
		return err_set(e, ERR_LIMIT, "the text needs more than the %zu bytes of scratch", scratch->cap_bytes);
	for (size_t i = 0; i < n; i++) {
		uint8_t type = t->toks[ids[i]].type;
		bool special = type == TT_CONTROL || type == TT_USER || type == TT_UNKNOWN;
		size_t len = token_put(t, ids[i], flags, out + k);
		if (strip && !special && len && out[k] == ' ')
			memmove(out + k, out + k + 1, --len);
		if (t->kind == KIND_SPM && t->add_prefix)
			strip = special;
		k += len;
	}
	*text = out;
	*n_text = k;
	return ERR_OK;
}

uint32_t tokenizer_size(const struct tokenizer *t) { return t->n_toks; }
struct gguf_str tokenizer_text(const struct tokenizer *t, uint32_t id) { return t->toks[id].text; }
uint32_t tokenizer_bos(const struct tokenizer *t) { return t->bos; }
uint32_t tokenizer_eos(const struct tokenizer *t) { return t->eos; }
bool tokenizer_adds_bos(const struct tokenizer *t) { return t->add_bos && t->bos != TOK_NONE; }
bool tokenizer_is_end(const struct tokenizer *t, uint32_t id) { return id < t->n_toks && t->toks[id].end; }
bool tokenizer_is_control(const struct tokenizer *t, uint32_t id)
{
	return id < t->n_toks && t->toks[id].type == TT_CONTROL;
}
