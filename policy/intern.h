/* SPDX-License-Identifier: Apache-2.0
 *
 * One copy of every name and every uid of a world. Equal names then mostly are the same bytes, which
 * is what a comparison asks first, and a hundred thousand policies that speak of the same types and
 * attributes share them.
 *
 * Side: broker, cli. Trusts: nothing. Owns: the tables; what they point to is in the world's arena.
 */
#ifndef FUMEHOOD_POLICY_INTERN_H
#define FUMEHOOD_POLICY_INTERN_H

#include "policy/value.h"

/* Things of one kind in the order in which they were added. A slot holds 32 bits of the hash above the
 * number + 1, so that searching and growing touch the things themselves only where they match. */
struct intern_list {
	const void **v;
	uint64_t *slot; /* open addressing, 2 * cap of them */
	uint32_t n, cap;
};

struct intern {
	struct hash_key key;
	struct intern_list str, uid;
};
struct intern_mark {
	uint32_t n_str, n_uid;
};

void intern_free(struct intern *t);

/* The name of these bytes, added with a copy in the arena when it is new; NULL: no memory. */
const struct str *intern_str(struct intern *t, struct arena *a, const char *p, size_t len);
/* The same for an entity. */
const struct uid *intern_uid(struct intern *t, struct arena *a, const char *type, size_t type_len,
	const char *id, size_t id_len);

/* What is there already, NULL when nothing is. name and u need not outlive the call. */
const struct str *intern_find_str(const struct intern *t, const struct str *name);
const struct uid *intern_find_uid(const struct intern *t, const struct uid *u);

/* Everything added after the mark is taken back by intern_rewind. */
struct intern_mark intern_mark(const struct intern *t);
void intern_rewind(struct intern *t, struct intern_mark m);

#endif
