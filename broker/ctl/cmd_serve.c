/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood serve: becomes fumehood-broker, in the foreground. Without --config it hands over the built-in
 * defaults for this user as a configuration, in a memory file.
 * Side: cli. Trusts: the program in its own folder. Owns: nothing after exec.
 */
#include "broker/ctl/ctl.h"

#include "broker/conf.h"
#include "broker/helper.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct ctl_opt opts[] = {
	{ "config", 'c', "FILE", CTL_FILE, false, "the configuration (default: built in; see fumehood config print)" },
	{ "ready-fd", 0, "N", CTL_WORD, false, "write a byte to this descriptor when it listens" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

/* Puts an option's value in the place of a configuration's text. */
static int replace(char **to, const char *by, struct err *e)
{
	char *copy = by ? strdup(by) : NULL;
	if (!by)
		return ERR_OK;
	free(*to);
	*to = copy ? copy : strdup("");
	return copy ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for the configuration");
}

static int defaults_print(const struct ctl *c, char **text, struct err *e)
{
	struct conf conf;
	int rc = conf_init(&conf, e);
	if (rc != ERR_OK)
		return rc;
	if ((rc = replace(&conf.state_dir, c->state_dir, e)) == ERR_OK && (rc = replace(&conf.socket, c->socket, e)) == ERR_OK &&
	    (rc = conf_paths(&conf, e)) == ERR_OK)
		rc = conf_print(&conf, text, e);
	conf_clear(&conf);
	return rc;
}

/* path names the configuration for the broker. */
static int config_path(const struct ctl *c, char path[PATH_MAX], struct err *e)
{
	const char *file = ctl_get(c, "config");
	char *text = NULL;
	if (file && (c->state_dir || c->socket))
		return err_set(e, ERR_USAGE, "with --config, state_dir and socket stand in the file");
	if (file)
		return snprintf(path, PATH_MAX, "%s", file) < PATH_MAX ? ERR_OK : err_set(e, ERR_LIMIT, "--config is too long");
	int rc = defaults_print(c, &text, e), fd = rc == ERR_OK ? memfd_create("fumehood-config", 0) : -1;
	if (rc == ERR_OK && (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)))
		rc = err_set(e, ERR_IO, "memfd: %s", strerror(errno));
	snprintf(path, PATH_MAX, "/proc/self/fd/%d", fd);
	free(text);
	return rc;
}

static int serve_run(struct ctl *c, struct err *e)
{
	char path[PATH_MAX], program[HELPER_PATH_MAX_BYTES], ready_text[24];
	char name[] = "fumehood-broker", config[] = "--config", ready[] = "--ready-fd";
	uint64_t ready_fd;
	int fd = -1, rc;
	if ((rc = ctl_number(c, "ready-fd", 0, INT_MAX, 0, &ready_fd, e)) != ERR_OK ||
	    (rc = helper_open(name, &fd, program, e)) != ERR_OK || (rc = config_path(c, path, e)) != ERR_OK)
		return rc;
	close(fd);
	snprintf(ready_text, sizeof ready_text, "%d", (int)ready_fd);
	char *argv[] = { name, config, path, ctl_has(c, "ready-fd") ? ready : NULL, ready_text, NULL };
	execv(program, argv);
	return err_set(e, ERR_IO, "%s: %s", ctl_str(program), strerror(errno));
}

const struct ctl_command cmd_serve = {
	.name = "serve",
	.args = "[--config FILE]",
	.help = "run the broker as a service, in the foreground",
	.opts = opts,
	.run = serve_run,
};
