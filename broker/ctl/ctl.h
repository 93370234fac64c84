/* SPDX-License-Identifier: Apache-2.0
 *
 * The fumehood command: one file per subcommand, one table of them.
 *
 * A subcommand is a `const struct ctl_command` in its own file cmd_NAME.c. Its rows of options are the
 * whole truth: parsing, usage, the manual's lint and shell completion read them. To add one: write
 * cmd_NAME.c, append it to CTL_COMMANDS below and to the Makefile's CTL_OBJS, describe it in
 * docs/fumehood.1.
 *
 * Side: cli. Trusts: the user; neither files, nor the broker's answers about hostile models, are text
 * that may reach a terminal unescaped. Owns: exit codes and the looks of output.
 */
#ifndef FUMEHOOD_CTL_H
#define FUMEHOOD_CTL_H

#include "proto/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What a value or a positional argument is, for completion and usage. */
enum ctl_kind { CTL_NONE, CTL_FILE, CTL_DIR, CTL_WORD, CTL_MODEL };

/* One option of a subcommand. The last row has name NULL. */
struct ctl_opt {
	const char *name; /* long name without dashes */
	char letter;      /* 0 when there is no short form */
	const char *arg;  /* placeholder of its value; NULL for a switch */
	enum ctl_kind kind;
	bool repeat; /* may stand several times */
	const char *help;
};

struct ctl;

struct ctl_command {
	const char *name;
	const char *args; /* positional arguments as usage shows them */
	const char *help; /* one line */
	int min_args, max_args; /* positional; max -1 = any number */
	enum ctl_kind kind;     /* of positional arguments */
	const char *verbs;      /* words that may stand as first argument, separated by spaces; or NULL */
	const struct ctl_opt *opts; /* NULL: only the common ones */
	/* Does the work. Returns 0, a positive exit status, or a negative code of proto/err.h with e filled. */
	int (*run)(struct ctl *c, struct err *e);
};

struct ctl_given {
	const struct ctl_opt *opt;
	const char *value; /* NULL for a switch */
};

/* One invocation. Filled by main before run is called. */
struct ctl {
	const struct ctl_command *command;
	bool json, quiet;
	const char *socket;    /* --socket, or NULL */
	const char *state_dir; /* --state-dir, or NULL */
	char **pos;            /* positional arguments */
	int n_pos;
	struct ctl_given *given;
	size_t n_given;
	int error_status;      /* exit status of an error; 0: that of its code */
	json_t *error_extra; /* an object whose members join {"error": ..}: receipt, walls, policies; or NULL */
};

#define CTL_COMMANDS(X) \
	X(run) X(inspect) X(keygen) X(sign) X(trust) X(verify) X(admit) X(list) X(infer) \
	X(serve) X(status) X(audit) X(doctor) X(config) X(version)

#define CTL_EXTERN(name) extern const struct ctl_command cmd_##name;
CTL_COMMANDS(CTL_EXTERN)
#undef CTL_EXTERN

/* --- options ------------------------------------------------------------------------------------ */

/* The value of an option, NULL when it was not given (switches: use ctl_has). The last one wins. */
const char *ctl_get(const struct ctl *c, const char *name);
bool ctl_has(const struct ctl *c, const char *name);
/* Walks the values of a repeated option: *at starts at 0. NULL at the end. */
const char *ctl_next(const struct ctl *c, const char *name, size_t *at);
/* A number (decimal, or with K, M, G, T for powers of 1024) within [min, max]; dflt when not given.
 * Errors: ERR_USAGE. */
MUST_CHECK int ctl_number(const struct ctl *c, const char *name, uint64_t min, uint64_t max, uint64_t dflt,
                          uint64_t *out, struct err *e);

/* A point in time: @UNIX, YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ, or a span from now: 90d, 12h, 2w, 1y, 30m, 10s.
 * Errors: ERR_USAGE. */
MUST_CHECK int ctl_when(const char *name, const char *text, uint64_t now, uint64_t *out, struct err *e);

/* --- output --------------------------------------------------------------------------------------- */

/* A line on standard error, for people; nothing with -q. Outside text must be escaped. */
void ctl_say(const struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints and frees a JSON value (indented, sorted as built, ASCII only).
 * Errors: ERR_IO (standard output), ERR_NOMEM (v NULL). */
MUST_CHECK int ctl_json_print(json_t *v, struct err *e);
/* A JSON string of outside bytes: as they are when valid UTF-8, else escaped as err_escape does. */
json_t *ctl_json_text(const void *bytes, size_t len);
json_t *ctl_json_hex(const void *bytes, size_t len);

/* A table for people: columns as wide as their widest cell. Cells are copied. Column headers that
 * begin with '>' are right-aligned. */
struct ctl_table;
struct ctl_table *ctl_table_new(size_t n_cols, const char *const *headers);
/* Takes one text per column; NULL is an empty cell. Out of memory ends in ctl_table_print. */
void ctl_table_row(struct ctl_table *t, const char *const *cells);
/* Prints and frees. Errors: ERR_IO, ERR_NOMEM. */
MUST_CHECK int ctl_table_print(struct ctl_table *t, FILE *to, struct err *e);

/* Escapes for printing on a terminal: keeps valid printable UTF-8 text out, ASCII only. Returns one of
 * eight rotating buffers of 512 bytes, so that several can stand in one printf. */
const char *ctl_text(const void *bytes, size_t len);
const char *ctl_str(const char *text); /* of a NUL-ended text; NULL is "" */
/* The same for a line that our own programs made around escaped names (errors, facts, principals): quotes
 * and backslashes stay, what is not printable ASCII is escaped. */
const char *ctl_line(const char *text);
/* "1.4 MiB", "640 B"; "2026-11-25 10:00 UTC". The same rotating buffers. */
const char *ctl_bytes(uint64_t n);
const char *ctl_time(uint64_t unix_s);

/* --- places ----------------------------------------------------------------------------------------- */

/* The state directory: --state-dir, else /var/lib/fumehood for root, else $XDG_STATE_HOME/fumehood or
 * ~/.local/state/fumehood. Errors: ERR_USAGE (no home), ERR_LIMIT. */
MUST_CHECK int ctl_state_dir(const struct ctl *c, char *out, size_t cap, struct err *e);
/* STATE/name. Errors as above. No folder is made. */
MUST_CHECK int ctl_state_path(const struct ctl *c, const char *name, char *out, size_t cap, struct err *e);

/* --- main ------------------------------------------------------------------------------------------- */

/* The table, for completion and tests. */
extern const struct ctl_command *const ctl_commands[];
extern const size_t ctl_n_commands;
extern const struct ctl_opt ctl_common_opts[];
const struct ctl_command *ctl_find(const char *name);
/* Parses the words behind the subcommand's name. Errors: ERR_USAGE. Frees with ctl_clear. */
MUST_CHECK int ctl_parse(struct ctl *c, int argc, char **argv, struct err *e);
void ctl_clear(struct ctl *c);
void ctl_usage(FILE *to, const struct ctl_command *one); /* NULL: all of them */

#endif
