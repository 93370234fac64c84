/* SPDX-License-Identifier: Apache-2.0
 *
 * See isolation.h. Side: broker. Trusts: nothing. Owns: the names.
 */
#include "broker/isolation.h"

#include <string.h>

static const char *const names[ISOLATION__MAX] = {
	[ISOLATION_SHARED] = "shared", [ISOLATION_TENANT] = "tenant", [ISOLATION_CALL] = "call",
};

const char *isolation_name(enum isolation i) { return names[i]; }

enum isolation isolation_from_name(const char *name)
{
	for (int i = 0; name && i < ISOLATION__MAX; i++)
		if (!strcmp(names[i], name))
			return (enum isolation)i;
	return ISOLATION__MAX;
}
