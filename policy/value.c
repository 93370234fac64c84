/* SPDX-License-Identifier: Apache-2.0
 *
 * Values: hashing, order, sets and records. No recursion: nested values are compared with an
 * explicit stack, whose size is the depth that set_make and rec_make admit.
 *
 * Side: broker, cli. Trusts: nothing. Owns: nothing.
 */
#include "policy/value.h"

#include "proto/limits.h"
#include "proto/mem.h"

#include <string.h>

/* --- SipHash (Aumasson and Bernstein, 2012): keyed, so that nobody can choose collisions -------- */

static inline uint64_t rotl(uint64_t x, int b)
{
	return x << b | x >> (64 - b);
}

static inline __attribute__((always_inline)) void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static inline __attribute__((always_inline)) void sip_word(uint64_t v[4], uint64_t m, int c)
{
	v[3] ^= m;
	for (int i = 0; i < c; i++)
		sip_round(v);
	v[0] ^= m;
}

/* Inlined so that the number of rounds is a constant where it matters. */
static inline __attribute__((always_inline)) uint64_t siphash(const struct hash_key *k, const void *p,
															  size_t len, int c, int d)
{
	uint64_t v[4] = {k->k0 ^ 0x736f6d6570736575u, k->k1 ^ 0x646f72616e646f6du, k->k0 ^ 0x6c7967656e657261u,
					 k->k1 ^ 0x7465646279746573u};
	const unsigned char *s = p;
	uint64_t last = (uint64_t)len << 56;
	size_t n = len;
	for (; n >= 8; n -= 8, s += 8)
		sip_word(v, le64_get(s), c);
	if (n && len >= 8) /* the last n bytes, read with those before them */
		last |= le64_get(s + n - 8) >> (64 - 8 * n);
	else
		for (size_t i = 0; i < n; i++)
			last |= (uint64_t)s[i] << (8 * i);
	sip_word(v, last, c);
	v[2] ^= 0xff;
	for (int i = 0; i < d; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_bytes_rounds(const struct hash_key *k, const void *p, size_t len, int c, int d)
{
	return siphash(k, p, len, c, d);
}

uint64_t hash_bytes(const struct hash_key *k, const void *p, size_t len)
{
	return siphash(k, p, len, 1, 3);
}

/* --- names and uids ---------------------------------------------------------------------------- */

struct str str_make(const struct hash_key *k, const char *p, size_t len)
{
	return (struct str){p, (uint32_t)len, (uint32_t)hash_bytes(k, p, len)};
}

int bytes_cmp(const char *a, size_t a_len, const char *b, size_t b_len)
{
	if (a_len != b_len)
		return a_len < b_len ? -1 : 1;
	return a_len ? memcmp(a, b, a_len) : 0;
}

bool str_is(const struct str *a, const char *text)
{
	return bytes_cmp(a->p, a->len, text, strlen(text)) == 0;
}

bool type_is_action(const struct str *type)
{
	static const char tail[] = "::Action";
	size_t n = sizeof tail - 1;
	return str_is(type, "Action") || (type->len > n && memcmp(type->p + type->len - n, tail, n) == 0);
}

void uid_fill(const struct hash_key *k, struct uid *out, const char *type, size_t type_len, const char *id,
			  size_t id_len)
{
	uint64_t t = hash_bytes(k, type, type_len), i = hash_bytes(k, id, id_len);
	uint64_t h = t * 0x9e3779b97f4a7c15u + rotl(i, 29);
	out->type = (struct str){type, (uint32_t)type_len, (uint32_t)t};
	out->id = (struct str){id, (uint32_t)id_len, (uint32_t)i};
	out->type_hash = t;
	out->hash = (h ^ h >> 32) * 0xd6e8feb86659fd93u ^ t;
}

const struct uid *uid_copy(struct arena *a, const struct uid *u)
{
	struct uid *kept = arena_alloc(a, 1, sizeof *kept);
	char *type = arena_copy(a, u->type.p, u->type.len), *id = arena_copy(a, u->id.p, u->id.len);
	if (!kept || !type || !id)
		return NULL;
	*kept = *u;
	kept->type.p = type;
	kept->id.p = id;
	return kept;
}

int uid_cmp(const struct uid *a, const struct uid *b)
{
	if (a == b)
		return 0;
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	int c = bytes_cmp(a->id.p, a->id.len, b->id.p, b->id.len);
	return c ? c : bytes_cmp(a->type.p, a->type.len, b->type.p, b->type.len);
}

/* --- order ------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {
	[VAL_BOOL] = "bool",         [VAL_LONG] = "long",       [VAL_STRING] = "string",
	[VAL_ENTITY] = "entity",     [VAL_SET] = "set",         [VAL_RECORD] = "record",
	[VAL_IP] = "ipaddr",         [VAL_DECIMAL] = "decimal", [VAL_DATETIME] = "datetime",
	[VAL_DURATION] = "duration",
};
_Static_assert(sizeof kind_names / sizeof kind_names[0] == VAL__MAX, "a name per kind");

const char *val_kind_name(uint32_t kind)
{
	return kind < VAL__MAX ? kind_names[kind] : "?";
}

static int ip_cmp(const struct ip *a, const struct ip *b)
{
	if (a->bits != b->bits)
		return a->bits < b->bits ? -1 : 1;
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	return memcmp(a->addr, b->addr, a->bits / 8);
}

/* Compares all but the contents of sets and records; of those only the number of elements. */
static int shallow_cmp(const struct val *a, const struct val *b, struct fuel *f)
{
	fuel_take(f, 1);
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	switch ((enum val_kind)a->kind) {
	case VAL_STRING:
		fuel_take(f, a->len >> 6);
		return bytes_cmp(a->s, a->len, b->s, b->len);
	case VAL_ENTITY:
		return uid_cmp(a->uid, b->uid);
	case VAL_SET:
		return (a->set->n > b->set->n) - (a->set->n < b->set->n);
	case VAL_RECORD:
		return (a->rec->n > b->rec->n) - (a->rec->n < b->rec->n);
	case VAL_IP:
		return ip_cmp(a->ip, b->ip);
	case VAL_BOOL:
	case VAL_LONG:
	case VAL_DECIMAL:
	case VAL_DATETIME:
	case VAL_DURATION:
	case VAL__MAX:
		break;
	}
	return (a->i > b->i) - (a->i < b->i);
}

/* One pair of containers that is being compared, and the next element of both. */
struct pair {
	const struct val *a, *b;
	uint32_t next;
};

static bool is_container(const struct val *v)
{
	return (v->kind == VAL_SET && v->set->n) || (v->kind == VAL_RECORD && v->rec->n);
}

/* The next elements of a pair into *a and *b; false when there are none. Names decide at once. */
static bool pair_next(struct pair *p, const struct val **a, const struct val **b, int *c)
{
	uint32_t i = p->next++;
	*c = 0;
	if (p->a->kind == VAL_SET) {
		if (i >= p->a->set->n)
			return false;
		*a = &p->a->set->v[i];
		*b = &p->b->set->v[i];
		return true;
	}
	if (i >= p->a->rec->n)
		return false;
	*c = str_cmp(&p->a->rec->f[i].name, &p->b->rec->f[i].name);
	*a = &p->a->rec->f[i].v;
	*b = &p->b->rec->f[i].v;
	return true;
}

static int deep_cmp(const struct val *a, const struct val *b, struct fuel *f)
{
	struct pair stack[LIMIT_VALUE_DEPTH];
	size_t n = 1;
	int c;
	stack[0] = (struct pair){a, b, 0};
	while (n) {
		if (!f->left)
			return -1;
		if (!pair_next(&stack[n - 1], &a, &b, &c)) {
			n--;
			continue;
		}
		if (!c)
			c = shallow_cmp(a, b, f);
		if (c)
			return c;
		/* The same object on both sides needs no walk; depth was bounded when it was made. */
		if (is_container(a) && a->set != b->set && n < LIMIT_VALUE_DEPTH)
			stack[n++] = (struct pair){a, b, 0};
	}
	return 0;
}

int val_cmp(const struct val *a, const struct val *b, struct fuel *f)
{
	int c = shallow_cmp(a, b, f);
	if (c || !is_container(a) || a->set == b->set)
		return c;
	return deep_cmp(a, b, f);
}

/* --- sets and records --------------------------------------------------------------------------- */

static const char *const made_texts[] = {
	[VAL_MADE] = "",
	[VAL_NO_MEMORY] = "the memory for values is used up",
	[VAL_TOO_DEEP] = "values are nested too deep",
	[VAL_NO_FUEL] = "too much work for one decision",
	[VAL_TWICE] = "the same attribute twice in a record",
};

const char *val_made_text(enum val_made m)
{
	return made_texts[m];
}

static uint32_t val_depth(const struct val *v)
{
	return v->kind == VAL_SET ? v->set->depth : v->kind == VAL_RECORD ? v->rec->depth : 0;
}

/* Heap sort: no recursion, no memory, n log n whatever the input. */
static void set_sift(struct val *v, size_t root, size_t n, struct fuel *f)
{
	for (size_t child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && val_cmp(&v[child], &v[child + 1], f) < 0)
			child++;
		if (val_cmp(&v[root], &v[child], f) >= 0)
			return;
		struct val t = v[root];
		v[root] = v[child];
		v[child] = t;
	}
}

static void set_sort(struct val *v, size_t n, struct fuel *f)
{
	size_t i = 1;
	while (i < n && val_cmp(&v[i - 1], &v[i], f) < 0)
		i++;
	if (i >= n)
		return;
	for (i = n / 2; i-- > 0 && f->left;)
		set_sift(v, i, n, f);
	for (i = n - 1; i > 0 && f->left; i--) {
		struct val t = v[0];
		v[0] = v[i];
		v[i] = t;
		set_sift(v, 0, i, f);
	}
}

enum val_made set_make(struct arena *a, struct val *v, size_t n, struct fuel *f, struct val *out)
{
	size_t kept = 0, bytes;
	uint32_t depth = 0;
	set_sort(v, n, f);
	for (size_t i = 0; i < n; i++) {
		if (kept && val_cmp(&v[kept - 1], &v[i], f) == 0)
			continue;
		v[kept++] = v[i];
		if (val_depth(&v[i]) > depth)
			depth = val_depth(&v[i]);
	}
	if (!f->left)
		return VAL_NO_FUEL;
	if (depth + 1 > LIMIT_VALUE_DEPTH)
		return VAL_TOO_DEEP;
	if (!ck_get_size(ck_add(ck_mul(ck_u64(kept), ck_u64(sizeof *v)), ck_u64(sizeof(struct set))), SIZE_MAX,
					 &bytes))
		return VAL_NO_MEMORY;
	struct set *s = arena_alloc(a, 1, bytes);
	if (!s)
		return VAL_NO_MEMORY;
	s->n = (uint32_t)kept;
	s->depth = depth + 1;
	if (kept)
		memcpy(s->v, v, kept * sizeof *v);
	*out = (struct val){.kind = VAL_SET, .set = s};
	return VAL_MADE;
}

static void field_sift(struct field *v, size_t root, size_t n)
{
	for (size_t child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && str_cmp(&v[child].name, &v[child + 1].name) < 0)
			child++;
		if (str_cmp(&v[root].name, &v[child].name) >= 0)
			return;
		struct field t = v[root];
		v[root] = v[child];
		v[child] = t;
	}
}

static void field_sort(struct field *v, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		field_sift(v, i, n);
	for (size_t i = n; i-- > 1;) {
		struct field t = v[0];
		v[0] = v[i];
		v[i] = t;
		field_sift(v, 0, i);
	}
}

enum val_made rec_make(struct arena *a, struct field *fl, size_t n, struct val *out)
{
	size_t bytes;
	uint32_t depth = 0;
	field_sort(fl, n);
	for (size_t i = 0; i < n; i++) {
		if (i && str_cmp(&fl[i - 1].name, &fl[i].name) == 0)
			return VAL_TWICE;
		if (val_depth(&fl[i].v) > depth)
			depth = val_depth(&fl[i].v);
	}
	if (depth + 1 > LIMIT_VALUE_DEPTH)
		return VAL_TOO_DEEP;
	if (!ck_get_size(ck_add(ck_mul(ck_u64(n), ck_u64(sizeof *fl)), ck_u64(sizeof(struct rec))), SIZE_MAX,
					 &bytes))
		return VAL_NO_MEMORY;
	struct rec *r = arena_alloc(a, 1, bytes);
	if (!r)
		return VAL_NO_MEMORY;
	r->n = (uint32_t)n;
	r->depth = depth + 1;
	if (n)
		memcpy(r->f, fl, n * sizeof *fl);
	*out = (struct val){.kind = VAL_RECORD, .rec = r};
	return VAL_MADE;
}

bool set_has(const struct set *s, const struct val *v, struct fuel *f)
{
	size_t lo = 0, hi = s->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = val_cmp(&s->v[mid], v, f);
		if (c == 0)
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* Half of the rest at a time without a branch that could be guessed wrong. */
const struct val *rec_get(const struct rec *r, const struct str *name)
{
	const struct field *f = r->f;
	uint32_t n = r->n;
	while (n > 1) {
		uint32_t half = n / 2;
		f = f[half].name.hash <= name->hash ? f + half : f;
		n -= half;
	}
	/* f is the last field of a hash that is not above the name's; fields of the same hash end there. */
	for (; r->n && f >= r->f && f->name.hash == name->hash; f--)
		if (str_cmp(&f->name, name) == 0)
			return &f->v;
	return NULL;
}
