/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and uids in one copy: see intern.h.
 * Side: broker, cli. Trusts: nothing. Owns: the tables.
 */
#include "policy/intern.h"

#include <stdlib.h>
#include <string.h>

void intern_free(struct intern *t)
{
	free(t->str.v);
	free(t->str.slot);
	free(t->uid.v);
	free(t->uid.slot);
}

/* --- lists ------------------------------------------------------------------------------------------ */

static bool same_str(const void *a, const void *b)
{
	return str_cmp(a, b) == 0;
}

static bool same_uid(const void *a, const void *b)
{
	return uid_equal(a, b);
}

/* The slot of x, or the free one where it belongs. same NULL: x is known to be absent. */
static uint64_t *slot_of(const struct intern_list *l, uint32_t tag, bool (*same)(const void *, const void *),
						 const void *x)
{
	uint32_t mask = 2 * l->cap - 1, i = tag & mask;
	for (; l->slot[i]; i = (i + 1) & mask)
		if (same && l->slot[i] >> 32 == tag && same(l->v[(uint32_t)l->slot[i] - 1], x))
			break;
	return &l->slot[i];
}

static const void *find(const struct intern_list *l, uint32_t tag, bool (*same)(const void *, const void *),
						const void *x)
{
	uint64_t s = l->cap ? *slot_of(l, tag, same, x) : 0;
	return s ? l->v[(uint32_t)s - 1] : NULL;
}

/* New slots for cap things, with those of the old slots that are still among the first n. */
static bool rebuild(struct intern_list *l, uint32_t cap)
{
	uint64_t *old = l->slot;
	uint32_t old_size = 2 * l->cap;
	l->slot = calloc(2 * (size_t)cap, sizeof *l->slot);
	if (!l->slot) {
		l->slot = old;
		return false;
	}
	l->cap = cap;
	for (uint32_t i = 0; i < old_size; i++)
		if (old[i] && (uint32_t)old[i] <= l->n)
			*slot_of(l, (uint32_t)(old[i] >> 32), NULL, NULL) = old[i];
	free(old);
	return true;
}

static bool add(struct intern_list *l, uint32_t tag, const void *x)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 64;
		const void **v = cap > l->cap ? realloc(l->v, cap * sizeof *v) : NULL;
		if (!v)
			return false;
		l->v = v;
		if (!rebuild(l, cap))
			return false;
	}
	l->v[l->n++] = x;
	*slot_of(l, tag, NULL, NULL) = (uint64_t)tag << 32 | l->n;
	return true;
}

struct intern_mark intern_mark(const struct intern *t)
{
	return (struct intern_mark){t->str.n, t->uid.n};
}

/* Without memory for new slots the old ones are emptied of what is gone: the things that stay are
 * then found no more and added again, which costs memory and nothing else. */
static void rewind_list(struct intern_list *l, uint32_t n)
{
	bool shorter = n < l->n;
	l->n = n;
	if (shorter && !rebuild(l, l->cap)) {
		memset(l->slot, 0, 2 * (size_t)l->cap * sizeof *l->slot);
		l->n = 0;
	}
}

void intern_rewind(struct intern *t, struct intern_mark m)
{
	rewind_list(&t->str, m.n_str);
	rewind_list(&t->uid, m.n_uid);
}

/* --- names and uids ------------------------------------------------------------------------------------ */

static uint32_t uid_tag(const struct uid *u)
{
	return (uint32_t)(u->hash >> 32);
}

const struct str *intern_find_str(const struct intern *t, const struct str *name)
{
	return find(&t->str, name->hash, same_str, name);
}

const struct uid *intern_find_uid(const struct intern *t, const struct uid *u)
{
	return find(&t->uid, uid_tag(u), same_uid, u);
}

const struct str *intern_str(struct intern *t, struct arena *a, const char *p, size_t len)
{
	const struct str s = str_make(&t->key, p, len);
	const struct str *old = intern_find_str(t, &s);
	if (old)
		return old;
	struct str *kept = arena_alloc(a, 1, sizeof *kept);
	char *copy = arena_copy(a, p, len);
	if (!kept || !copy)
		return NULL;
	*kept = s;
	kept->p = copy;
	return add(&t->str, s.hash, kept) ? kept : NULL;
}

const struct uid *intern_uid(struct intern *t, struct arena *a, const char *type, size_t type_len,
							 const char *id, size_t id_len)
{
	struct uid u;
	uid_fill(&t->key, &u, type, type_len, id, id_len);
	const struct uid *old = intern_find_uid(t, &u);
	if (old)
		return old;
	const struct str *type_name = intern_str(t, a, type, type_len), *id_name = intern_str(t, a, id, id_len);
	struct uid *kept = arena_alloc(a, 1, sizeof *kept);
	if (!type_name || !id_name || !kept)
		return NULL;
	*kept = u;
	kept->type.p = type_name->p;
	kept->id.p = id_name->p;
	return add(&t->uid, uid_tag(&u), kept) ? kept : NULL;
}
