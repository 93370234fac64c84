/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood config print: the configuration that a broker would use, as JSON that it loads again.
 * Side: cli. Trusts: nothing in the file. Owns: nothing.
 */
#include "broker/ctl/settings.h"

#include <stdlib.h>
#include <string.h>

static const struct ctl_opt opts[] = {
	{ "config", 'c', "FILE", CTL_FILE, false, "read this file over the defaults (default: the file that serve would read)" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

static int config_run(struct ctl *c, struct err *e)
{
	struct conf conf;
	char *text = NULL, file[PATH_MAX];
	if (strcmp(c->pos[0], "print") != 0)
		return err_set(e, ERR_USAGE, "config: \"%s\" is not print", ctl_str(c->pos[0]));
	int rc = settings_load(c, &conf, file, e);
	if (rc != ERR_OK)
		return rc;
	if ((rc = conf_print(&conf, &text, e)) == ERR_OK && printf("%s\n", text) < 0)
		rc = err_set(e, ERR_IO, "standard output cannot be written");
	ctl_say(c, "%s", file[0] ? ctl_str(file) : "no file: these are the built-in defaults");
	free(text);
	conf_clear(&conf);
	return rc;
}

const struct ctl_command cmd_config = {
	.name = "config",
	.args = "print [--config FILE]",
	.help = "print the configuration with all defaults",
	.min_args = 1,
	.max_args = 1,
	.kind = CTL_WORD,
	.verbs = "print",
	.opts = opts,
	.run = config_run,
};
