/* SPDX-License-Identifier: Apache-2.0
 *
 * SentencePiece BPE with scores: blanks become U+2581, a symbol per character, neighbours are joined when
 * their text is a token, the best score first, the leftmost among equals. What stays without a token is
 * written byte by byte.
 *
 * Side: inside. Trusts: the token table. Owns: nothing.
 */
#include "sandbox/inside/engine/gguf/tok_in.h"

#include <string.h>

#define NONE UINT32_MAX

struct symbol { uint32_t start, len, prev, next; };
struct bigram { float score; uint32_t left, len; };

struct work {
	const uint8_t *text;
	struct symbol *sym;
	struct bigram *heap;
	size_t n_heap;
};

static bool before(struct bigram a, struct bigram b) { return a.score > b.score || (a.score == b.score && a.left < b.left); }

static void heap_put(struct work *w, struct bigram v)
{
	size_t i = w->n_heap++;
	for (; i && before(v, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = v;
}

static struct bigram heap_take(struct work *w)
{
	struct bigram top = w->heap[0], v = w->heap[--w->n_heap];
	size_t i = 0;
	for (size_t k; (k = 2 * i + 1) < w->n_heap; i = k) {
		if (k + 1 < w->n_heap && before(w->heap[k + 1], w->heap[k]))
			k++;
		if (!before(w->heap[k], v))
			break;
		w->heap[i] = w->heap[k];
	}
	w->heap[i] = v;
	return top;
}

static uint32_t find(struct tok_run *r, const struct work *w, uint32_t start, uint32_t len)
{
	return strmap_find(&r->t->map, (struct gguf_str){ w->text + start, len });
}

/* False when the budget is used up. */
static bool consider(struct tok_run *r, struct work *w, uint32_t left)
{
	uint32_t len, id;
	if (left == NONE || w->sym[left].next == NONE)
		return true;
	len = w->sym[left].len + w->sym[w->sym[left].next].len;
	if (len > r->t->max_len)
		return true;
	if (!tok_burn(r, len))
		return false;
	id = find(r, w, w->sym[left].start, len);
	if (id != STRMAP_NONE)
		heap_put(w, (struct bigram){ r->t->toks[id].score, left, len });
	return true;
}

static int join_all(struct tok_run *r, struct work *w)
{
	while (w->n_heap) {
		struct bigram b = heap_take(w);
		struct symbol *left = &w->sym[b.left];
		if (left->len == 0 || left->next == NONE || left->len + w->sym[left->next].len != b.len)
			continue; /* one of the two was joined since */
		struct symbol *right = &w->sym[left->next];
		left->len += right->len;
		left->next = right->next;
		right->len = 0;
		if (left->next != NONE)
			w->sym[left->next].prev = b.left;
		if (!consider(r, w, left->prev) || !consider(r, w, b.left))
			return tok_exhausted(r);
	}
	return ERR_OK;
}

static int emit_symbol(struct tok_run *r, const struct work *w, const struct symbol *s)
{
	uint32_t id = s->len <= r->t->max_len ? find(r, w, s->start, s->len) : STRMAP_NONE;
	int rc = ERR_OK;
	if (id != STRMAP_NONE)
		return tok_emit(r, id);
	for (uint32_t i = 0; !rc && i < s->len; i++) {
		id = r->t->byte_id[w->text[s->start + i]];
		if (id == TOK_NONE)
			id = r->t->unk;
		if (id != TOK_NONE)
			rc = tok_emit(r, id);
	}
	return rc;
}

/* By the leading byte alone, as readers of this kind do: a sequence that is cut off takes what follows. But no
 * blank: its bytes would come back as U+2581. */
static size_t char_len(const uint8_t *p, size_t left)
{
	size_t len = p[0] < 0xc0 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	len = len < left ? len : left;
	for (size_t i = 1; i < len; i++)
		if (left - i >= 3 && !memcmp(p + i, "\xe2\x96\x81", 3))
			return i;
	return len;
}

static size_t escape_blanks(uint8_t *to, const uint8_t *text, size_t n, bool prefix)
{
	size_t k = 0;
	for (size_t i = 0; i < n + prefix; i++) {
		uint8_t b = prefix && i == 0 ? ' ' : text[i - prefix];
		if (b != ' ') {
			to[k++] = b;
			continue;
		}
		memcpy(to + k, "\xe2\x96\x81", 3);
		k += 3;
	}
	return k;
}

int spm_encode(struct tok_run *r, const uint8_t *text, size_t n, bool prefix)
{
	uint8_t *copy = arena_array(r->a, n + 1, 3);
	struct work w = { .text = copy };
	uint32_t k = 0;
	int rc;
	if (!copy)
		return tok_no_room(r);
	n = escape_blanks(copy, text, n, prefix);
	w.sym = arena_array(r->a, n + 1, sizeof *w.sym);
	w.heap = arena_array(r->a, 3 * n + 3, sizeof *w.heap); /* a pair each, two more per joint */
	if (!w.sym || !w.heap)
		return tok_no_room(r);
	for (size_t i = 0, len; i < n; i += len, k++) {
		len = char_len(copy + i, n - i);
		w.sym[k] = (struct symbol){ (uint32_t)i, (uint32_t)len, k ? k - 1 : NONE, i + len < n ? k + 1 : NONE };
	}
	for (uint32_t i = 0; i < k; i++)
		if (!consider(r, &w, i))
			return tok_exhausted(r);
	if ((rc = join_all(r, &w)))
		return rc;
	for (uint32_t i = k ? 0 : NONE; !rc && i != NONE; i = w.sym[i].next)
		rc = emit_symbol(r, &w, &w.sym[i]);
	return rc;
}
