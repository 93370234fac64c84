/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte-level BPE: words of the pre-tokenizer, a symbol per byte, pairs merged by rank, the leftmost first
 * among equals. A heap of (rank, place) with entries that are looked at again when they come up: n log n.
 *
 * Side: inside. Trusts: the merge table. Owns: nothing.
 */
#include "sandbox/inside/engine/gguf/tok_in.h"
#include "sandbox/inside/engine/gguf/utf8.h"

#include <string.h>

#define NONE UINT32_MAX

struct symbol { uint32_t id, prev, next; };

struct work {
	struct symbol *sym;
	uint64_t *heap;       /* rank << 32 | left symbol */
	size_t n_heap;
	uint8_t *word;        /* a word as its characters */
};

static void heap_put(struct work *w, uint64_t v)
{
	size_t i = w->n_heap++;
	for (; i && w->heap[(i - 1) / 2] > v; i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = v;
}

static uint64_t heap_take(struct work *w)
{
	uint64_t top = w->heap[0], v = w->heap[--w->n_heap];
	size_t i = 0;
	for (size_t k; (k = 2 * i + 1) < w->n_heap; i = k) {
		if (k + 1 < w->n_heap && w->heap[k + 1] < w->heap[k])
			k++;
		if (w->heap[k] >= v)
			break;
		w->heap[i] = w->heap[k];
	}
	w->heap[i] = v;
	return top;
}

static void consider(const struct tokenizer *t, struct work *w, uint32_t left)
{
	if (left == NONE || w->sym[left].next == NONE)
		return;
	const struct merge *m = merge_find(t, w->sym[left].id, w->sym[w->sym[left].next].id);
	if (m)
		heap_put(w, (uint64_t)m->rank << 32 | left);
}

static void merge_all(const struct tokenizer *t, struct work *w)
{
	while (w->n_heap) {
		uint64_t top = heap_take(w);
		uint32_t left = (uint32_t)top, right = w->sym[left].next;
		if (w->sym[left].id == NONE || right == NONE)
			continue;
		const struct merge *m = merge_find(t, w->sym[left].id, w->sym[right].id);
		if (!m || m->rank != top >> 32)
			continue; /* one of the two was merged since */
		w->sym[left].id = m->id;
		w->sym[left].next = w->sym[right].next;
		w->sym[right].id = NONE;
		w->sym[right].next = NONE;
		if (w->sym[left].next != NONE)
			w->sym[w->sym[left].next].prev = left;
		consider(t, w, w->sym[left].prev);
		consider(t, w, left);
	}
}

/* The token that a whole word is, or NONE. */
static uint32_t whole_word(const struct tokenizer *t, struct work *w, const uint8_t *p, size_t n)
{
	size_t len = 0;
	if (n > t->max_len)
		return NONE;
	for (size_t i = 0; i < n; i++)
		len += utf8_put(w->word + len, byte_char(p[i]));
	return strmap_find(&t->map, (struct gguf_str){ w->word, len });
}

static int word_encode(struct tok_run *r, struct work *w, const uint8_t *p, size_t n)
{
	const struct tokenizer *t = r->t;
	uint32_t whole = t->pre->whole ? whole_word(t, w, p, n) : NONE;
	int rc = ERR_OK;
	if (whole != NONE)
		return tok_emit(r, whole);
	for (uint32_t i = 0; i < n; i++)
		w->sym[i] = (struct symbol){ t->byte_id[p[i]], i ? i - 1 : NONE, i + 1 < n ? i + 1 : NONE };
	w->n_heap = 0;
	for (uint32_t i = 0; i + 1 < n; i++)
		consider(t, w, i);
	merge_all(t, w);
	/* The first symbol is never merged away. A byte without a token leaves nothing. */
	for (uint32_t i = 0; !rc && i != NONE; i = w->sym[i].next)
		if (w->sym[i].id != NONE)
			rc = tok_emit(r, w->sym[i].id);
	return rc;
}

static size_t longest_word(const struct chars *c, const uint32_t *ends, size_t n)
{
	size_t longest = 0, start = 0;
	for (size_t i = 0; i < n; start = ends[i++])
		longest = c->off[ends[i]] - c->off[start] > longest ? c->off[ends[i]] - c->off[start] : longest;
	return longest;
}

/* True for a byte that is no UTF-8 and has no token either. */
static bool is_lost(const struct tok_run *r, const struct chars *c, const uint8_t *text, size_t i)
{
	return c->cp[i] == 0xfffd && c->off[i + 1] - c->off[i] == 1 && r->t->byte_id[text[c->off[i]]] == NONE;
}

/* Bytes that are no UTF-8 are kept; where the vocabulary has no token for one, it becomes U+FFFD. */
static bool replace_lost(struct tok_run *r, struct chars *c, const uint8_t **text)
{
	size_t lost = 0, k = 0;
	for (size_t i = 0; i < c->n; i++)
		lost += is_lost(r, c, *text, i);
	if (!lost)
		return true;
	uint8_t *copy = arena_alloc(r->a, c->off[c->n] + 2 * lost);
	if (!copy)
		return false;
	for (size_t i = 0; i < c->n; i++) {
		size_t len = c->off[i + 1] - c->off[i];
		if (is_lost(r, c, *text, i)) {
			k += utf8_put(copy + k, 0xfffd);
			continue;
		}
		memcpy(copy + k, *text + c->off[i], len);
		k += len;
	}
	*text = copy;
	return chars_read(r->a, copy, k, c);
}

int bpe_encode(struct tok_run *r, const uint8_t *text, size_t n)
{
	struct chars c;
	struct work w = { 0 };
	int rc = ERR_OK;
	if (!chars_read(r->a, text, n, &c) || !replace_lost(r, &c, &text))
		return tok_no_room(r);
	uint32_t *ends = arena_array(r->a, c.n + 1, sizeof *ends), *other = arena_array(r->a, c.n + 1, sizeof *other);
	if (!ends || !other)
		return tok_no_room(r);
	size_t k = pre_split(r->t->pre, &c, ends, other), longest = longest_word(&c, ends, k);
	w.sym = arena_array(r->a, longest + 1, sizeof *w.sym);
	w.heap = arena_array(r->a, 3 * longest + 3, sizeof *w.heap); /* a pair each, two more per merge */
	w.word = arena_array(r->a, longest + 1, 2);
	if (!w.sym || !w.heap || !w.word)
		return tok_no_room(r);
	for (size_t i = 0, start = 0; !rc && i < k; start = ends[i++])
		rc = word_encode(r, &w, text + c.off[start], c.off[ends[i]] - c.off[start]);
	return rc;
}
