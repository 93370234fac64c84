/* SPDX-License-Identifier: Apache-2.0
 *
 * Cedar's values: ten kinds, immutable, in an arena. Names and uids carry a keyed hash, sets and
 * records are sorted, so that equality is a walk and membership a search.
 *
 * Side: broker, cli. Trusts: nothing. Owns: nothing (the arena owns).
 */
#ifndef FUMEHOOD_POLICY_VALUE_H
#define FUMEHOOD_POLICY_VALUE_H

#include "policy/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct hash_key {
	uint64_t k0, k1;
};

/* SipHash with c and d rounds (the reference for vectors is c=2, d=4; tables use 1 and 3). */
uint64_t hash_bytes_rounds(const struct hash_key *k, const void *p, size_t len, int c, int d);
uint64_t hash_bytes(const struct hash_key *k, const void *p, size_t len);

/* Text with its length and the low half of its hash; not NUL ended by contract. */
struct str {
	const char *p;
	uint32_t len;
	uint32_t hash;
};

struct uid {
	struct str type, id;
	uint64_t hash;      /* of type and id */
	uint64_t type_hash; /* of the type alone */
};

enum val_kind {
	VAL_BOOL,
	VAL_LONG,
	VAL_STRING,
	VAL_ENTITY,
	VAL_SET,
	VAL_RECORD,
	VAL_IP,
	VAL_DECIMAL,  /* i: the number times 10^4 */
	VAL_DATETIME, /* i: milliseconds since 1970, UTC */
	VAL_DURATION, /* i: milliseconds */
	VAL__MAX
};

struct ip {
	uint8_t addr[16];
	uint8_t bits; /* 32 or 128; an IPv4 address uses the first four bytes */
	uint8_t prefix;
};

struct val {
	uint32_t kind;
	uint32_t len; /* of a string */
	union {
		int64_t i;
		const char *s;
		const struct uid *uid;
		const struct set *set;
		const struct rec *rec;
		const struct ip *ip;
	};
};

/* Elements ascend in val_cmp's order and are distinct. depth: 1 + that of the deepest element. */
struct set {
	uint32_t n, depth;
	struct val v[];
};

struct field {
	struct str name;
	struct val v;
};

/* Fields ascend in str_cmp's order, names are distinct. */
struct rec {
	uint32_t n, depth;
	struct field f[];
};

struct policy_value {
	struct val v;
};

/* Work left: every comparison and every step of an evaluation takes from it. At 0, results of
 * comparisons are meaningless and the caller must give up. */
struct fuel {
	uint64_t left;
};
static inline void fuel_take(struct fuel *f, uint64_t n)
{
	f->left = f->left > n ? f->left - n : 0;
}

static inline struct val val_bool(bool b) { return (struct val){ .kind = VAL_BOOL, .i = b }; }
static inline struct val val_long(int64_t i) { return (struct val){ .kind = VAL_LONG, .i = i }; }
static inline struct val val_uid(const struct uid *u) { return (struct val){ .kind = VAL_ENTITY, .uid = u }; }
static inline struct val val_string(const char *s, uint32_t len)
{
	return (struct val){ .kind = VAL_STRING, .len = len, .s = s };
}

/* The kind's name in messages: "long", "ipaddr", ... */
const char *val_kind_name(uint32_t kind);

/* A str over bytes that outlive it, with its hash. */
struct str str_make(const struct hash_key *k, const char *p, size_t len);
/* Total order of bytes: length, then contents. */
int bytes_cmp(const char *a, size_t a_len, const char *b, size_t b_len);
/* Total order: hash, then bytes. */
static inline int str_cmp(const struct str *a, const struct str *b)
{
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return a->p == b->p && a->len == b->len ? 0 : bytes_cmp(a->p, a->len, b->p, b->len);
}
bool str_is(const struct str *a, const char *text);
/* Is this type name Action or Ns::Action? */
bool type_is_action(const struct str *type);

/* A uid over bytes that outlive it, into *out. */
void uid_fill(const struct hash_key *k, struct uid *out, const char *type, size_t type_len, const char *id,
	size_t id_len);
/* The same uid with its bytes copied into the arena; NULL when that is full. */
const struct uid *uid_copy(struct arena *a, const struct uid *u);
int uid_cmp(const struct uid *a, const struct uid *b);
static inline bool uid_equal(const struct uid *a, const struct uid *b)
{
	return a == b || (a->hash == b->hash && uid_cmp(a, b) == 0);
}

/* Total order over all values; 0 exactly when Cedar's == holds. */
int val_cmp(const struct val *a, const struct val *b, struct fuel *f);

enum val_made {
	VAL_MADE = 0,
	VAL_NO_MEMORY,
	VAL_TOO_DEEP,
	VAL_NO_FUEL,
	VAL_TWICE, /* a record with the same name twice */
};
const char *val_made_text(enum val_made m);

/* A set of the n values at v, which it sorts in place; duplicates fall away. */
enum val_made set_make(struct arena *a, struct val *v, size_t n, struct fuel *f, struct val *out);
/* A record of the n fields at fl, which it sorts in place. */
enum val_made rec_make(struct arena *a, struct field *fl, size_t n, struct val *out);

bool set_has(const struct set *s, const struct val *v, struct fuel *f);
const struct val *rec_get(const struct rec *r, const struct str *name);

#endif
