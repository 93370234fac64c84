/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of layers as data. Side: both. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/wall/layers.h"

#include <string.h>

const struct layer_row layer_rows[LAYER__MAX] = {
#define LAYER(sym, name, major, minor, may, what) { name, major, minor, LAYER_MAY_##may, what },
	LAYER_TABLE(LAYER)
#undef LAYER
};

uint64_t layer_from_name(const char *name)
{
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (!strcmp(layer_rows[i].name, name))
			return 1ULL << i;
	return 0;
}

static uint64_t at_least(unsigned may)
{
	uint64_t m = 0;
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (layer_rows[i].may >= may)
			m |= 1ULL << i;
	return m;
}

uint64_t wall_layers_may_be_optional(void)
{
	return at_least(LAYER_MAY_NAMED);
}

uint64_t wall_layers_shipped_optional(void)
{
	return at_least(LAYER_MAY_SHIPPED);
}

uint64_t layers_of_landlock(int abi)
{
	static const struct { int abi; uint64_t bit; } rows[] = {
		{ 2, LAYER_BIT(LANDLOCK_FS) },
		{ 3, LAYER_BIT(LANDLOCK_TRUNCATE) },
		{ 4, LAYER_BIT(LANDLOCK_NET) },
		{ 5, LAYER_BIT(LANDLOCK_IOCTL) },
		{ 6, LAYER_BIT(LANDLOCK_SCOPE) },
	};
	uint64_t m = 0;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (abi >= rows[i].abi)
			m |= rows[i].bit;
	return m;
}
