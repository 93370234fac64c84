/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8, one character at a time, as Unicode 15 section 3.9 defines well-formed sequences.
 * Side: inside. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_GGUF_UTF8_H
#define FUMEHOOD_GGUF_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The character at p (n bytes are left, n > 0): its length 1 to 4 and *cp; 0 when the bytes there are no
 * well-formed sequence (overlong, surrogate, above U+10FFFF, cut off). */
static inline size_t utf8_next(const uint8_t *p, size_t n, uint32_t *cp)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
	uint32_t c;
	if (len <= 1 || len > n) {
		*cp = p[0];
		return len == 1;
	}
	c = p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	*cp = c;
	return c >= least[len] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? len : 0;
}

/* Writes cp (at most U+10FFFF) to out (4 bytes); returns its length. */
static inline size_t utf8_put(uint8_t *out, uint32_t cp)
{
	if (cp < 0x80) {
		out[0] = (uint8_t)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (uint8_t)(0xc0 | cp >> 6);
		out[1] = (uint8_t)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (uint8_t)(0xe0 | cp >> 12);
		out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | cp >> 18);
	out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (cp & 0x3f));
	return 4;
}

#endif
