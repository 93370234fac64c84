/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood serve: becomes fumehood-broker, in the foreground. Without a configuration file it hands over the
 * built-in defaults for this user, in a memory file.
 * Side: cli. Trusts: the program in its own folder. Owns: nothing after exec.
 */
#include "broker/ctl/settings.h"

#include "broker/helper.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct ctl_opt opts[] = {
	{ "config", 'c', "FILE", CTL_FILE, false, "the configuration (fumehood config print shows the default)" },
	{ "ready-fd", 0, "N", CTL_WORD, false, "write a byte to this descriptor when it listens" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

/* path names the configuration for the broker: a file, or what the defaults print to, in a memory file. */
static int config_path(const struct ctl *c, char path[PATH_MAX], struct err *e)
{
	struct conf conf;
	char *text = NULL;
	int fd = -1, rc = settings_load(c, &conf, path, e);
	if (rc != ERR_OK || path[0]) {
		if (rc == ERR_OK)
			conf_clear(&conf);
		return rc;
	}
	rc = conf_print(&conf, &text, e);
	conf_clear(&conf);
	if (rc == ERR_OK && ((fd = memfd_create("fumehood-config", 0)) < 0 ||
	                     write(fd, text, strlen(text)) != (ssize_t)strlen(text)))
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
