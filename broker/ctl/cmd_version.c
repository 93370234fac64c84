/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood version. Side: cli. Trusts: nothing. Owns: nothing.
 */
#include "broker/ctl/ctl.h"

static int version_run(struct ctl *c, struct err *e)
{
	if (c->json)
		return ctl_json_print(json_pack("{s:s}", "version", FUMEHOOD_VERSION), e);
	printf("fumehood %s\n", FUMEHOOD_VERSION);
	return ERR_OK;
}

const struct ctl_command cmd_version = {
	.name = "version",
	.args = "",
	.help = "print the version",
	.run = version_run,
};
