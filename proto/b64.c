/* SPDX-License-Identifier: Apache-2.0
 *
 * Strict base64: see b64.h.
 * Side: broker, auditor, cli. Trusts: nothing. Owns: nothing.
 */
#include "proto/b64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void b64_put(const void *bytes, size_t len, char *out)
{
	const uint8_t *p = bytes;
	for (size_t i = 0; i < len; i += 3, out += 4) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < len ? (uint32_t)p[i + 1] << 8 : 0) |
		             (i + 2 < len ? p[i + 2] : 0);
		out[0] = alphabet[v >> 18];
		out[1] = alphabet[v >> 12 & 63];
		out[2] = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
		out[3] = i + 2 < len ? alphabet[v & 63] : '=';
	}
	*out = 0;
}

static int value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool b64_get(const char *text, size_t len, void *out, size_t cap, size_t *out_len)
{
	uint8_t *to = out;
	size_t n = 0, pad = 0;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	uint32_t v = 0;
	if (len % 4 || len / 4 * 3 - pad > cap)
		return false;
	for (size_t i = 0; i < len - pad; i++) {
		int d = value(text[i]);
		if (d < 0)
			return false;
		v = v << 6 | (uint32_t)d;
		if (i % 4) /* 2, 3 and 4 characters complete 1, 2 and 3 bytes */
			to[n++] = (uint8_t)(v >> (6 - 2 * (i % 4)));
	}
	/* The last character's bits that belong to no byte: 4 of them before "==", 2 before "=". */
	if (pad && (v & (pad == 2 ? 15u : 3u)))
		return false;
	*out_len = n;
	return true;
}
