/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the configuration comes from: see settings.h.
 * Side: cli. Trusts: nothing in the file. Owns: nothing.
 */
#include "broker/ctl/settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "fumehood/fumehood.json"

/* The default file of this user; "" when there is none. */
static void default_file(char out[PATH_MAX])
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n = PATH_MAX;
	if (geteuid() == 0)
		n = snprintf(out, PATH_MAX, "/etc/" NAME);
	else if (config && config[0] == '/')
		n = snprintf(out, PATH_MAX, "%s/" NAME, config);
	else if (home && home[0] == '/')
		n = snprintf(out, PATH_MAX, "%s/.config/" NAME, home);
	if (n >= PATH_MAX || access(out, F_OK) != 0)
		out[0] = 0;
}

static int replace(char **to, const char *by, struct err *e)
{
	char *copy = by ? strdup(by) : NULL;
	if (by && !copy)
		return err_set(e, ERR_NOMEM, "no memory for the configuration");
	if (by) {
		free(*to);
		*to = copy;
	}
	return ERR_OK;
}

static int fill(const struct ctl *c, struct conf *conf, const char *file, struct err *e)
{
	int rc = file[0] ? conf_load(conf, file, e) : replace(&conf->state_dir, c->state_dir, e);
	if (rc == ERR_OK && !file[0])
		rc = replace(&conf->socket, c->socket, e);
	return rc == ERR_OK ? conf_paths(conf, e) : rc;
}

int settings_load(const struct ctl *c, struct conf *conf, char file[PATH_MAX], struct err *e)
{
	const char *given = ctl_get(c, "config");
	bool placed = c->state_dir || c->socket;
	file[0] = 0;
	if (given && placed)
		return err_set(e, ERR_USAGE, "with --config, state_dir and socket stand in the file");
	if (given && snprintf(file, PATH_MAX, "%s", given) >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "--config: longer than %d bytes", PATH_MAX);
	if (!given && !placed)
		default_file(file);
	int rc = conf_init(conf, e);
	if (rc == ERR_OK && (rc = fill(c, conf, file, e)) != ERR_OK)
		conf_clear(conf);
	return rc;
}
