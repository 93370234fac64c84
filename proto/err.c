/* SPDX-License-Identifier: Apache-2.0
 *
 * Error values: see err.h. No allocation; used on every side of the wall, so only formatting.
 * Side: both. Trusts: format strings of our own code. Owns: nothing.
 */
#include "proto/err.h"

#include <stdio.h>
#include <string.h>

static const struct {
	int code;
	const char *name;
	int exit;
} rows[] = {
#define ERR_ROW(sym, text, exit) { sym, text, exit },
	ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

_Static_assert(sizeof rows / sizeof rows[0] <= 25, "at most 25 codes: merge before adding");

int err_set(struct err *e, int code, const char *fmt, ...)
{
	if (e) {
		va_list ap;
		va_start(ap, fmt);
		e->code = code;
		vsnprintf(e->text, sizeof e->text, fmt, ap);
		va_end(ap);
	}
	return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char old[ERR_TEXT_MAX_BYTES];
	va_list ap;
	if (!e)
		return ERR_INTERNAL;
	memcpy(old, e->text, sizeof old);
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n + 3 < sizeof e->text) {
		size_t room = sizeof e->text - (size_t)n - 3, len = strlen(old);
		memcpy(e->text + n, ": ", 2);
		memcpy(e->text + n + 2, old, len < room ? len : room);
		e->text[(size_t)n + 2 + (len < room ? len : room)] = 0;
	}
	return e->code;
}

const char *err_name(int code)
{
	if (code == ERR_OK)
		return "ok";
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].code == code)
			return rows[i].name;
	return "internal";
}

int err_exit_code(int code)
{
	if (code == ERR_OK)
		return 0;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].code == code)
			return rows[i].exit;
	return 1;
}

int err_from_name(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0)
			return rows[i].code;
	return ERR_INTERNAL;
}

char *err_escape(char *dst, size_t cap, const void *src, size_t len)
{
	const unsigned char *s = src;
	size_t o = 0;
	static const char hex[] = "0123456789abcdef";
	if (cap == 0)
		return dst;
	for (size_t i = 0; i < len; i++) {
		int plain = s[i] >= 0x20 && s[i] < 0x7f && s[i] != '\\' && s[i] != '"';
		size_t need = plain ? 1 : 4;
		if (o + need + 4 > cap) { /* keep room for the mark and the NUL */
			for (int k = 0; k < 3 && o + 1 < cap; k++)
				dst[o++] = '.';
			break;
		}
		if (plain) {
			dst[o++] = (char)s[i];
		} else {
			dst[o++] = '\\';
			dst[o++] = 'x';
			dst[o++] = hex[s[i] >> 4];
			dst[o++] = hex[s[i] & 15];
		}
	}
	dst[o] = 0;
	return dst;
}
