/* SPDX-License-Identifier: Apache-2.0
 *
 * main() of fumehood, the command: finds the subcommand, parses its options, runs it, prints its error.
 * Side: cli. Trusts: its command line. Owns: the table of subcommands, exit codes.
 */
#include "broker/ctl/ctl.h"

#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct ctl_command *const ctl_commands[] = {
#define ROW(name) &cmd_##name,
	CTL_COMMANDS(ROW)
#undef ROW
};
const size_t ctl_n_commands = sizeof ctl_commands / sizeof ctl_commands[0];

static const char *const kind_words[] = { "none", "file", "dir", "word", "model" };

/* What completion needs, one line each: "command NAME" or "option --NAME KIND", "verb W", "args KIND". */
static void words_print_opts(const struct ctl_opt *o)
{
	for (; o && o->name; o++)
		printf("option --%s %s\n", o->name, kind_words[o->arg ? o->kind : CTL_NONE]);
}

static int words_print(const char *command)
{
	const struct ctl_command *c = command ? ctl_find(command) : NULL;
	if (command && !c)
		return 2;
	for (size_t i = 0; !c && i < ctl_n_commands; i++)
		printf("command %s\n", ctl_commands[i]->name);
	if (c) {
		words_print_opts(c->opts);
		words_print_opts(ctl_common_opts);
		for (const char *v = c->verbs; v && *v; v += strcspn(v, " "), v += strspn(v, " "))
			printf("verb %.*s\n", (int)strcspn(v, " "), v);
		printf("args %s\n", kind_words[c->kind]);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}

/* The place of the subcommand: the first word that is neither a common option nor its value; argc when
 * there is none. */
static int command_at(int argc, char **argv)
{
	int i = 1;
	while (i < argc && argv[i][0] == '-' && argv[i][1]) {
		bool takes = false;
		for (const struct ctl_opt *o = ctl_common_opts; o->name; o++)
			takes = takes || (o->arg && strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, o->name) == 0);
		i += takes ? 2 : 1;
	}
	return i < argc ? i : argc;
}

/* Options before the subcommand go behind its name, so that one parser sees them all. */
static void words_rotate(char **argv, int at)
{
	char *name = argv[at];
	memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv);
	argv[1] = name;
}

static void error_print(const struct ctl *c, const struct err *e)
{
	fflush(stdout);
	fprintf(stderr, "fumehood: %s: %s\n", err_name(e->code), e->text);
	if (!c->json)
		return;
	json_t *o = json_pack("{s:s, s:s}", "code", err_name(e->code), "text", e->text);
	if (o && c->error_extra)
		json_object_update_missing(o, c->error_extra);
	struct err ignored;
	if (ctl_json_print(json_pack("{s:o}", "error", o), &ignored) != ERR_OK)
		fprintf(stderr, "fumehood: %s: %s\n", err_name(ignored.code), ignored.text);
}

static int command_run(struct ctl *c, int argc, char **argv)
{
	struct err e = { .code = ERR_OK };
	int rc = ctl_parse(c, argc, argv, &e);
	if (rc == ERR_OK && ctl_has(c, "help")) {
		ctl_usage(stdout, c->command);
		return 0;
	}
	if (rc == ERR_OK)
		rc = c->command->run(c, &e);
	if (rc >= 0 && fflush(stdout) != 0)
		rc = err_set(&e, ERR_IO, "standard output cannot be written");
	if (rc >= 0)
		return rc;
	error_print(c, &e);
	return c->error_status ? c->error_status : err_exit_code(rc);
}

int main(int argc, char **argv)
{
	struct ctl c = { .command = NULL };
	/* A broker that goes away is an error value, not a death; a closed pipe on output as well. */
	signal(SIGPIPE, SIG_IGN);
	setlocale(LC_CTYPE, "C");
	if (argc > 1 && strcmp(argv[1], "--completion-words") == 0)
		return words_print(argc > 2 ? argv[2] : NULL);
	int at = command_at(argc, argv);
	for (int i = 1; i < at; i++) {
		if (strcmp(argv[i], "--version") == 0)
			return c.command = &cmd_version, command_run(&c, 1, argv);
		if (at == argc && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0))
			return ctl_usage(stdout, NULL), 0;
	}
	if (at < argc && strcmp(argv[at], "help") == 0) {
		ctl_usage(stdout, at + 1 < argc ? ctl_find(argv[at + 1]) : NULL);
		return 0;
	}
	c.command = at < argc ? ctl_find(argv[at]) : NULL;
	if (!c.command) {
		if (at < argc)
			fprintf(stderr, "fumehood: usage: \"%s\" is no command\n", ctl_str(argv[at]));
		ctl_usage(stderr, NULL);
		return 2;
	}
	words_rotate(argv, at);
	int status = command_run(&c, argc - 1, argv + 1);
	ctl_clear(&c);
	return status;
}
