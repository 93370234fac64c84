/* SPDX-License-Identifier: Apache-2.0
 *
 * WordPiece: a text is cut at white space, punctuation and ideographs, accents and capitals go, and each word
 * is covered from the left by the longest tokens; a word that cannot be covered is one unknown token. Word
 * starts are written U+2581 in these files.
 *
 * Side: inside. Trusts: the token table. Owns: nothing.
 */
#include "sandbox/inside/engine/gguf/tok_in.h"
#include "sandbox/inside/engine/gguf/utf8.h"

#define START_BYTES 3 /* of U+2581 */

static bool is_ideograph(uint32_t c)
{
	static const uint32_t ranges[][2] = {
		{ 0x4e00, 0x9fff }, { 0x3400, 0x4dbf }, { 0x20000, 0x2a6df }, { 0x2a700, 0x2b73f }, { 0x2b740, 0x2b81f },
		{ 0x2b920, 0x2ceaf }, /* from 0x2b820 in the standard; every tokenizer of this kind has this number */
		{ 0xf900, 0xfaff }, { 0x2f800, 0x2fa1f },
	};
	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return false;
}

/* The longest token at p: its length, 0 when there is none. */
static size_t longest(struct tok_run *r, const uint8_t *p, size_t n, uint32_t *id)
{
	uint64_t h = STRMAP_START;
	size_t best = 0;
	n = n < r->t->max_len ? n : r->t->max_len;
	for (size_t i = 0; i < n && tok_burn(r, 1); i++) {
		h = strmap_step(h, p[i]);
		uint32_t k = strmap_find_hashed(&r->t->map, (struct gguf_str){ p, i + 1 }, h);
		if (k != STRMAP_NONE) {
			*id = k;
			best = i + 1;
		}
	}
	return best;
}

/* word: U+2581 and n - 3 bytes behind it. */
static int word_encode(struct tok_run *r, const uint8_t *word, size_t n)
{
	size_t mark = r->n;
	uint32_t id = TOK_NONE;
	int rc = ERR_OK;
	if (n <= START_BYTES)
		return ERR_OK;
	for (size_t i = 0, len; !rc && i < n; i += len) {
		len = longest(r, word + i, n - i, &id);
		if (!r->fuel)
			return tok_exhausted(r);
		if (!len) {
			r->n = mark;
			return r->t->unk == TOK_NONE ? ERR_OK : tok_emit(r, r->t->unk);
		}
		rc = tok_emit(r, id);
	}
	return rc;
}

int wpm_encode(struct tok_run *r, const uint8_t *text, size_t n)
{
	struct chars c;
	uint8_t *word = arena_array(r->a, n + 2, 4);
	size_t len = START_BYTES;
	int rc = ERR_OK;
	if (!word || !chars_read(r->a, text, n, &c))
		return tok_no_room(r);
	utf8_put(word, 0x2581);
	for (size_t i = 0; !rc && i < c.n; i++) {
		uint32_t cp = r->t->strip ? unicode_nfd_first(c.cp[i]) : c.cp[i];
		enum uclass k = unicode_class(cp);
		if (k == UC_SPACE) {
			rc = word_encode(r, word, len);
			len = START_BYTES;
			continue;
		}
		if (cp == 0 || cp == 0xfffd || k == UC_CONTROL || (r->t->strip && k == UC_MARK))
			continue;
		bool alone = k == UC_PUNCT || (cp < 0x7f && k == UC_SYMBOL) || is_ideograph(cp);
		if (alone) {
			rc = word_encode(r, word, len);
			len = START_BYTES;
		}
		len += utf8_put(word + len, r->t->lower ? unicode_lower(cp) : cp);
		if (alone && !rc) {
			rc = word_encode(r, word, len);
			len = START_BYTES;
		}
	}
	return rc ? rc : word_encode(r, word, len);
}
