/* SPDX-License-Identifier: Apache-2.0
 *
 * RFC 6962 trees: see tree.h.
 * Side: auditor, broker, cli. Trusts: nothing. Owns: spans.
 */
#include "audit/tree.h"

#include "proto/mem.h"

#include <stdlib.h>
#include <string.h>

void tree_leaf(const void *entry, size_t len, uint8_t out[HASH_BYTES])
{
	static const uint8_t prefix = 0;
	hash_sha256_two(&prefix, 1, entry, len, out);
}

void tree_node(const uint8_t left[HASH_BYTES], const uint8_t right[HASH_BYTES], uint8_t out[HASH_BYTES])
{
	uint8_t both[1 + 2 * HASH_BYTES] = { 1 };
	memcpy(both + 1, left, HASH_BYTES);
	memcpy(both + 1 + HASH_BYTES, right, HASH_BYTES);
	hash_sha256(both, sizeof both, out);
}

/* --- the right edge ------------------------------------------------------------------------- */

void tree_front_add(struct tree_front *f, const uint8_t leaf[HASH_BYTES])
{
	uint8_t h[HASH_BYTES];
	unsigned k = 0;
	memcpy(h, leaf, HASH_BYTES);
	for (uint64_t s = f->size; s & 1; s >>= 1, k++)
		tree_node(f->node[k], h, h);
	memcpy(f->node[k], h, HASH_BYTES);
	f->size++;
}

void tree_front_root(const struct tree_front *f, uint8_t out[HASH_BYTES])
{
	bool have = false;
	hash_sha256(NULL, 0, out);
	for (unsigned k = 0; k < TREE_LEVELS; k++) {
		if (!(f->size >> k & 1))
			continue;
		if (have)
			tree_node(f->node[k], out, out);
		else
			memcpy(out, f->node[k], HASH_BYTES);
		have = true;
	}
}

/* --- spans ------------------------------------------------------------------------------------ */

struct level {
	uint8_t (*hash)[HASH_BYTES]; /* nodes first, first + 1, ... */
	size_t n, cap;
};

struct tree_span {
	struct tree_front start, now;
	struct level level[TREE_LEVELS];
};

static uint64_t level_first(const struct tree_span *s, unsigned k)
{
	return s->start.size >> k;
}

struct tree_span *tree_span_new(const struct tree_front *start)
{
	struct tree_span *s = calloc(1, sizeof *s);
	if (s)
		tree_span_restart(s, start);
	return s;
}

void tree_span_free(struct tree_span *s)
{
	for (unsigned k = 0; s && k < TREE_LEVELS; k++)
		free(s->level[k].hash);
	free(s);
}

void tree_span_restart(struct tree_span *s, const struct tree_front *start)
{
	s->start = s->now = *start;
	for (unsigned k = 0; k < TREE_LEVELS; k++)
		s->level[k].n = 0;
}

const struct tree_front *tree_span_front(const struct tree_span *s)
{
	return &s->now;
}

const struct tree_front *tree_span_start(const struct tree_span *s)
{
	return &s->start;
}

const uint8_t *tree_span_get(const struct tree_span *s, unsigned level, uint64_t index)
{
	uint64_t first = level_first(s, level);
	if (index >= first && index - first < s->level[level].n)
		return s->level[level].hash[index - first];
	/* The one node left of the span that its proofs need: the front's, which bit `level` of the
	 * start size says is there. */
	if ((s->start.size >> level & 1) && index + 1 == first)
		return s->start.node[level];
	return NULL;
}

static bool level_room(struct level *l)
{
	if (l->n < l->cap)
		return true;
	size_t cap = 0;
	if (!ck_get_size(ck_add(ck_mul(ck_u64(l->cap), ck_u64(2)), ck_u64(16)), SIZE_MAX / HASH_BYTES, &cap))
		return false;
	void *p = realloc(l->hash, cap * HASH_BYTES);
	if (!p)
		return false;
	l->hash = p;
	l->cap = cap;
	return true;
}

int tree_span_add(struct tree_span *s, const uint8_t leaf[HASH_BYTES], struct err *e)
{
	uint8_t h[HASH_BYTES];
	/* Room on every level that this leaf completes, before anything changes. */
	for (unsigned k = 0; k < TREE_LEVELS; k++) {
		if (!level_room(&s->level[k]))
			return err_set(e, ERR_NOMEM, "tree of %llu entries: no memory", (unsigned long long)s->now.size);
		if (!(s->now.size >> k & 1))
			break;
	}
	memcpy(h, leaf, HASH_BYTES);
	for (unsigned k = 0;; k++) {
		memcpy(s->level[k].hash[s->level[k].n++], h, HASH_BYTES);
		if (!(s->now.size >> k & 1)) {
			memcpy(s->now.node[k], h, HASH_BYTES);
			break;
		}
		tree_node(s->now.node[k], h, h);
	}
	s->now.size++;
	return ERR_OK;
}

/* --- making proofs ---------------------------------------------------------------------------- */

/* The root over [lo, hi), a range that occurs in the tree's recursion: lo is a multiple of the
 * largest power of two in it. Joins complete nodes from the right, smallest first. */
static int range_root(const struct tree_span *s, uint64_t lo, uint64_t hi, uint8_t out[HASH_BYTES],
                      struct err *e)
{
	uint64_t at = hi;
	bool have = false;
	for (unsigned k = 0; k < TREE_LEVELS && at > lo; k++) {
		if (!((hi - lo) >> k & 1))
			continue;
		at -= UINT64_C(1) << k;
		const uint8_t *node = tree_span_get(s, k, at >> k);
		if (!node)
			return err_set(e, ERR_INPUT, "proof needs entries from %llu on, the tree in memory lacks them",
			               (unsigned long long)lo);
		if (have)
			tree_node(node, out, out);
		else
			memcpy(out, node, HASH_BYTES);
		have = true;
	}
	if (!have)
		hash_sha256(NULL, 0, out);
	return ERR_OK;
}

/* The largest power of two below n (n >= 2). */
static uint64_t split(uint64_t n)
{
	return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

static void reverse(struct tree_proof *p)
{
	for (unsigned i = 0, j = p->n; i + 1 < j; i++) {
		uint8_t t[HASH_BYTES];
		j--;
		memcpy(t, p->hash[i], HASH_BYTES);
		memcpy(p->hash[i], p->hash[j], HASH_BYTES);
		memcpy(p->hash[j], t, HASH_BYTES);
	}
}

/* Walks from the root down towards the range that ends at `at` (or, for inclusion, holds it), keeping
 * the root of the half that is not taken. */
static int descend(const struct tree_span *s, bool inclusion, uint64_t at, uint64_t size, uint64_t *lo_out,
                   struct tree_proof *p, struct err *e)
{
	uint64_t lo = 0, hi = size;
	int rc = ERR_OK;
	while (rc == ERR_OK && (inclusion ? hi - lo > 1 : hi != at)) {
		uint64_t mid = lo + split(hi - lo);
		bool left = inclusion ? at < mid : at <= mid;
		rc = left ? range_root(s, mid, hi, p->hash[p->n], e) : range_root(s, lo, mid, p->hash[p->n], e);
		p->n++;
		if (left)
			hi = mid;
		else
			lo = mid;
	}
	*lo_out = lo;
	return rc;
}

int tree_inclusion(const struct tree_span *s, uint64_t index, uint64_t size, struct tree_proof *out,
                   struct err *e)
{
	uint64_t lo;
	out->n = 0;
	if (index >= size || size > s->now.size)
		return err_set(e, ERR_INPUT, "no entry %llu in a tree of %llu", (unsigned long long)index,
		               (unsigned long long)size);
	int rc = descend(s, true, index, size, &lo, out, e);
	reverse(out);
	return rc;
}

int tree_consistency(const struct tree_span *s, uint64_t old_size, uint64_t size, struct tree_proof *out,
                     struct err *e)
{
	uint64_t lo;
	out->n = 0;
	if (old_size > size || size > s->now.size)
		return err_set(e, ERR_INPUT, "no tree of %llu inside one of %llu", (unsigned long long)old_size,
		               (unsigned long long)size);
	if (old_size == 0 || old_size == size)
		return ERR_OK;
	int rc = descend(s, false, old_size, size, &lo, out, e);
	if (rc == ERR_OK && lo > 0) /* the old tree's last piece is not the old tree itself */
		rc = range_root(s, lo, old_size, out->hash[out->n++], e);
	reverse(out);
	return rc;
}

int tree_root_at(const struct tree_span *s, uint64_t size, uint8_t out[HASH_BYTES], struct err *e)
{
	return range_root(s, 0, size, out, e);
}

/* --- checking proofs -------------------------------------------------------------------------- */

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_LOG, "%s proof does not verify", what);
}

int tree_inclusion_check(uint64_t index, uint64_t size, const struct tree_proof *p,
                         const uint8_t leaf[HASH_BYTES], const uint8_t root[HASH_BYTES], struct err *e)
{
	uint8_t h[HASH_BYTES];
	if (index >= size || p->n > TREE_PROOF_MAX)
		return bad(e, "inclusion");
	uint64_t fn = index, sn = size - 1;
	memcpy(h, leaf, HASH_BYTES);
	for (unsigned i = 0; i < p->n; i++, fn >>= 1, sn >>= 1) {
		if (sn == 0)
			return bad(e, "inclusion");
		if (!(fn & 1) && fn != sn) {
			tree_node(h, p->hash[i], h);
			continue;
		}
		tree_node(p->hash[i], h, h);
		while (fn != 0 && !(fn & 1)) {
			fn >>= 1;
			sn >>= 1;
		}
	}
	return sn == 0 && memcmp(h, root, HASH_BYTES) == 0 ? ERR_OK : bad(e, "inclusion");
}

int tree_consistency_check(uint64_t old_size, uint64_t size, const struct tree_proof *p,
                           const uint8_t old_root[HASH_BYTES], const uint8_t root[HASH_BYTES], struct err *e)
{
	static const char what[] = "consistency";
	uint8_t fr[HASH_BYTES], sr[HASH_BYTES], empty[HASH_BYTES];
	if (old_size > size || p->n > TREE_PROOF_MAX)
		return bad(e, what);
	hash_sha256(NULL, 0, empty);
	if (old_size == 0)
		return p->n == 0 && memcmp(old_root, empty, HASH_BYTES) == 0 ? ERR_OK : bad(e, what);
	if (old_size == size)
		return p->n == 0 && memcmp(old_root, root, HASH_BYTES) == 0 ? ERR_OK : bad(e, what);
	uint64_t fn = old_size - 1, sn = size - 1;
	for (; fn & 1; fn >>= 1)
		sn >>= 1;
	unsigned i = 0;
	/* A power of two is a complete subtree: its root begins the path and is not sent. */
	bool whole = (old_size & (old_size - 1)) == 0;
	if (!whole && p->n == 0)
		return bad(e, what);
	memcpy(fr, whole ? old_root : p->hash[i++], HASH_BYTES);
	memcpy(sr, fr, HASH_BYTES);
	for (; i < p->n; i++, fn >>= 1, sn >>= 1) {
		const uint8_t *c = p->hash[i];
		if (sn == 0)
			return bad(e, what);
		if (!(fn & 1) && fn != sn) {
			tree_node(sr, c, sr);
			continue;
		}
		tree_node(c, fr, fr);
		tree_node(c, sr, sr);
		while (fn != 0 && !(fn & 1)) {
			fn >>= 1;
			sn >>= 1;
		}
	}
	return sn == 0 && memcmp(fr, old_root, HASH_BYTES) == 0 && memcmp(sr, root, HASH_BYTES) == 0
	               ? ERR_OK : bad(e, what);
}
