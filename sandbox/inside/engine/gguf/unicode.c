/* SPDX-License-Identifier: Apache-2.0
 *
 * Lookups in the Unicode tables: see unicode.h.
 * Side: inside. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/inside/engine/gguf/unicode.h"

#include <stddef.h>

#include "sandbox/inside/engine/gguf/unicode_tables.h"

#define ROWS(t) (sizeof(t) / sizeof((t)[0]))

enum uclass unicode_class(uint32_t c)
{
	size_t lo = 0, hi = ROWS(class_rows);
	while (hi - lo > 1) { /* row lo begins at or before c, row hi behind it */
		size_t mid = lo + (hi - lo) / 2;
		if (class_rows[mid] >> 3 <= c)
			lo = mid;
		else
			hi = mid;
	}
	return (enum uclass)(class_rows[lo] & 7);
}

uint32_t unicode_lower(uint32_t c)
{
	size_t lo = 0, hi = ROWS(lower_rows);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (lower_rows[mid].last < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == ROWS(lower_rows) || c < lower_rows[lo].first || (c - lower_rows[lo].first) % lower_rows[lo].step)
		return c;
	return (uint32_t)((int32_t)c + lower_rows[lo].add);
}

uint32_t unicode_nfd_first(uint32_t c)
{
	size_t lo = 0, hi = ROWS(nfd_from);
	if (c >= 0xac00 && c < 0xac00 + 11172)
		return 0x1100 + (c - 0xac00) / 588;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (nfd_from[mid] < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < ROWS(nfd_from) && nfd_from[lo] == c ? nfd_first[lo] : c;
}
