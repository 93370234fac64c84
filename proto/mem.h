/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic and loads for numbers that somebody hostile chose. The only place where a size, count
 * or offset from outside is added, multiplied, aligned or narrowed.
 *
 * Side: both. Trusts: nothing. Owns: nothing. Header only, so that the jailer and worker share it.
 */
#ifndef FUMEHOOD_PROTO_MEM_H
#define FUMEHOOD_PROTO_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A u64 that remembers overflow: once bad it stays bad through every operation. */
struct ck {
	uint64_t v;
	bool bad;
};

static inline struct ck ck_u64(uint64_t v) { return (struct ck){ v, false }; }
static inline struct ck ck_i64(int64_t v) { return (struct ck){ (uint64_t)v, v < 0 }; }

static inline struct ck ck_add(struct ck a, struct ck b)
{
	struct ck r = { 0, a.bad || b.bad };
	r.bad = __builtin_add_overflow(a.v, b.v, &r.v) || r.bad;
	return r;
}
static inline struct ck ck_sub(struct ck a, struct ck b)
{
	struct ck r = { a.v - b.v, a.bad || b.bad || b.v > a.v };
	return r;
}
static inline struct ck ck_mul(struct ck a, struct ck b)
{
	struct ck r = { 0, a.bad || b.bad };
	r.bad = __builtin_mul_overflow(a.v, b.v, &r.v) || r.bad;
	return r;
}
/* Rounds up to align, a power of two. */
static inline struct ck ck_align(struct ck a, uint64_t align)
{
	struct ck r = ck_add(a, ck_u64(align - 1));
	r.v &= ~(align - 1);
	return r;
}
/* Stores the value if it is good and at most max; says whether it did. */
static inline bool ck_get(struct ck a, uint64_t max, uint64_t *out)
{
	if (a.bad || a.v > max)
		return false;
	*out = a.v;
	return true;
}
static inline bool ck_get_size(struct ck a, uint64_t max, size_t *out)
{
	if (a.bad || a.v > max || a.v > SIZE_MAX)
		return false;
	*out = (size_t)a.v;
	return true;
}
/* True when [off, off+len) lies inside [0, total). */
static inline bool ck_range(uint64_t off, uint64_t len, uint64_t total)
{
	return len <= total && off <= total - len;
}

static inline uint16_t le16_get(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t le32_get(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t le64_get(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline void le16_put(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void le32_put(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void le64_put(void *p, uint64_t v) { memcpy(p, &v, 8); }
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian hosts only");

/* Compares in a time that depends on len alone. */
static inline bool mem_equal_const(const void *a, const void *b, size_t len)
{
	const unsigned char *x = a, *y = b;
	unsigned char d = 0;
	for (size_t i = 0; i < len; i++)
		d |= (unsigned char)(x[i] ^ y[i]);
	return d == 0;
}

#endif
