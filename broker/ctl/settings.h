/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration that serve uses and config prints.
 * Side: cli. Trusts: nothing in the file. Owns: nothing.
 */
#ifndef FUMEHOOD_CTL_SETTINGS_H
#define FUMEHOOD_CTL_SETTINGS_H

#include "broker/conf.h"
#include "broker/ctl/ctl.h"

#include <limits.h>

/* Reads --config; else, unless --state-dir or --socket is given, the default file when there is one
 * (/etc/fumehood/fumehood.json for root, $XDG_CONFIG_HOME/fumehood/fumehood.json or
 * ~/.config/fumehood/fumehood.json for others); else the built-in defaults with --state-dir and --socket in
 * their places. file is the path that was read, "" for none. conf_clear when done.
 * Errors: ERR_USAGE, ERR_CONFIG, ERR_NOT_FOUND, ERR_IO. */
MUST_CHECK int settings_load(const struct ctl *c, struct conf *conf, char file[PATH_MAX], struct err *e);

#endif
