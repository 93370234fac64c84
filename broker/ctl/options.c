/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of subcommands, parsed by getopt_long from the tables of ctl.h.
 * Side: cli. Trusts: nothing in a value. Owns: struct ctl's lists.
 */
#include "broker/ctl/ctl.h"

#include "broker/conf.h"
#include "proto/mem.h"
#include "proto/note.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPTS_MAX 48

const struct ctl_opt ctl_common_opts[] = {
	{ "json", 0, NULL, CTL_NONE, false, "print JSON" },
	{ "quiet", 'q', NULL, CTL_NONE, false, "no remarks on standard error, errors only" },
	{ "socket", 0, "PATH", CTL_FILE, false, "the broker's socket" },
	{ "state-dir", 0, "DIR", CTL_DIR, false, "where a private broker keeps its log, store and keys" },
	{ "help", 'h', NULL, CTL_NONE, false, "print usage" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

const struct ctl_command *ctl_find(const char *name)
{
	for (size_t i = 0; i < ctl_n_commands; i++)
		if (strcmp(ctl_commands[i]->name, name) == 0)
			return ctl_commands[i];
	return NULL;
}

/* --- parsing ------------------------------------------------------------------------------------- */

struct parser {
	struct option longs[OPTS_MAX + 1];
	const struct ctl_opt *opts[OPTS_MAX];
	char shorts[OPTS_MAX * 2 + 3];
	int n;
};

static void parser_add(struct parser *p, const struct ctl_opt *o)
{
	for (; o && o->name && p->n < OPTS_MAX; o++) {
		p->longs[p->n] = (struct option){ o->name, o->arg ? required_argument : no_argument, NULL, 1000 + p->n };
		p->opts[p->n++] = o;
		if (o->letter) {
			size_t len = strlen(p->shorts);
			p->shorts[len] = o->letter;
			p->shorts[len + 1] = o->arg ? ':' : 0;
		}
	}
}

static const struct ctl_opt *parser_find(const struct parser *p, int got)
{
	if (got >= 1000)
		return p->opts[got - 1000];
	for (int i = 0; i < p->n; i++)
		if (p->opts[i]->letter == got)
			return p->opts[i];
	return NULL;
}

static int given_add(struct ctl *c, const struct ctl_opt *o, const char *value, struct err *e)
{
	for (size_t i = 0; i < c->n_given; i++)
		if (c->given[i].opt == o && !o->repeat)
			return err_set(e, ERR_USAGE, "--%s stands twice", o->name);
	struct ctl_given *p = realloc(c->given, (c->n_given + 1) * sizeof *p);
	if (!p)
		return err_set(e, ERR_NOMEM, "no memory for options");
	c->given = p;
	c->given[c->n_given++] = (struct ctl_given){ o, value };
	return ERR_OK;
}

static int refused(const struct ctl *c, int got, char **argv, struct err *e)
{
	const char *word = optind > 0 && argv[optind - 1] ? argv[optind - 1] : "";
	const char *what = got == ':' ? "needs a value" : "is not an option of this command, or takes no value";
	return err_set(e, ERR_USAGE, "%s: \"%s\" %s (fumehood %s --help)", c->command->name, ctl_str(word), what,
	               c->command->name);
}

static int positional_check(const struct ctl *c, struct err *e)
{
	const struct ctl_command *cmd = c->command;
	if (ctl_has(c, "help"))
		return ERR_OK;
	if (c->n_pos < cmd->min_args)
		return err_set(e, ERR_USAGE, "%s: something is missing: fumehood %s %s", cmd->name, cmd->name, cmd->args);
	if (cmd->max_args >= 0 && c->n_pos > cmd->max_args)
		return err_set(e, ERR_USAGE, "%s: \"%s\" is one argument too many: fumehood %s %s", cmd->name,
		               ctl_str(c->pos[cmd->max_args]), cmd->name, cmd->args);
	return ERR_OK;
}

int ctl_parse(struct ctl *c, int argc, char **argv, struct err *e)
{
	struct parser p = { .n = 0 };
	int got, rc = ERR_OK;
	p.shorts[0] = ':'; /* a missing value is told apart */
	parser_add(&p, c->command->opts);
	parser_add(&p, ctl_common_opts);
	opterr = 0;
	optind = 0; /* GNU: start afresh, so that tests can parse several times */
	while (rc == ERR_OK && (got = getopt_long(argc, argv, p.shorts, p.longs, NULL)) != -1) {
		const struct ctl_opt *o = got == ':' || got == '?' ? NULL : parser_find(&p, got);
		/* --json counts for the error text of a bad option behind it, too. */
		rc = o ? given_add(c, o, o->arg ? optarg : NULL, e) : refused(c, got, argv, e);
		c->json = c->json || (o && strcmp(o->name, "json") == 0);
	}
	c->pos = argv + optind;
	c->n_pos = argc - optind;
	c->quiet = ctl_has(c, "quiet");
	c->socket = ctl_get(c, "socket");
	c->state_dir = ctl_get(c, "state-dir");
	return rc == ERR_OK ? positional_check(c, e) : rc;
}

void ctl_clear(struct ctl *c)
{
	free(c->given);
	json_decref(c->error_extra);
	*c = (struct ctl){ .command = c->command };
}

const char *ctl_next(const struct ctl *c, const char *name, size_t *at)
{
	while (*at < c->n_given) {
		const struct ctl_given *g = &c->given[(*at)++];
		if (strcmp(g->opt->name, name) == 0)
			return g->value ? g->value : "";
	}
	return NULL;
}

const char *ctl_get(const struct ctl *c, const char *name)
{
	const char *last = NULL, *v;
	for (size_t at = 0; (v = ctl_next(c, name, &at));)
		last = v;
	return last;
}

bool ctl_has(const struct ctl *c, const char *name) { return ctl_get(c, name) != NULL; }

/* --- values ------------------------------------------------------------------------------------------ */

/* Decimal digits and one suffix letter of `units`, which multiplies by factors[i]. */
static bool scaled(const char *text, const char *units, const uint64_t *factors, uint64_t *out)
{
	size_t n = strspn(text, "0123456789");
	uint64_t v = 0, by = 1;
	const char *unit = text[n] ? strchr(units, text[n]) : NULL;
	if (!note_decimal(text, n, &v) || (text[n] && (!unit || text[n + 1])))
		return false;
	if (unit)
		by = factors[unit - units];
	return ck_get(ck_mul(ck_u64(v), ck_u64(by)), UINT64_MAX, out);
}

int ctl_number(const struct ctl *c, const char *name, uint64_t min, uint64_t max, uint64_t dflt, uint64_t *out,
               struct err *e)
{
	static const uint64_t factors[] = { KIB(1), MIB(1), GIB(1), GIB(1) << 10 };
	const char *text = ctl_get(c, name);
	*out = dflt;
	if (!text)
		return ERR_OK;
	if (!scaled(text, "KMGT", factors, out) || *out < min || *out > max)
		return err_set(e, ERR_USAGE, "--%s \"%s\": want a number from %llu to %llu (K, M, G, T may follow)", name,
		               ctl_str(text), (unsigned long long)min, (unsigned long long)max);
	return ERR_OK;
}

static bool date_read(const char *text, uint64_t *out)
{
	static const char *const forms[] = { "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ" };
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		struct tm tm = { .tm_mday = 1 }, back;
		const char *end = strptime(text, forms[i], &tm);
		int day = tm.tm_mday;
		time_t t = end && !*end ? timegm(&tm) : -1;
		/* timegm takes 31 February for 3 March: the day must come back as it was. */
		if (t >= 0 && gmtime_r(&t, &back) && back.tm_mday == day) {
			*out = (uint64_t)t;
			return true;
		}
	}
	return false;
}

int ctl_when(const char *name, const char *text, uint64_t now, uint64_t *out, struct err *e)
{
	static const uint64_t spans[] = { 1, 60, 3600, 86400, 7 * 86400, 365 * 86400 };
	uint64_t span = 0;
	if (text[0] == '@' && note_decimal(text + 1, strlen(text + 1), out))
		return ERR_OK;
	if (date_read(text, out))
		return ERR_OK;
	size_t len = strlen(text);
	if (len > 1 && strchr("smhdwy", text[len - 1]) && scaled(text, "smhdwy", spans, &span) &&
	    ck_get(ck_add(ck_u64(now), ck_u64(span)), INT64_MAX, out))
		return ERR_OK;
	return err_set(e, ERR_USAGE, "--%s \"%s\": want a date (2027-01-31), @UNIX or a span (90d, 1y)", name,
	               ctl_str(text));
}

/* --- places -------------------------------------------------------------------------------------------- */

int ctl_state_dir(const struct ctl *c, char *out, size_t cap, struct err *e)
{
	char *dflt = NULL;
	int rc = c->state_dir ? ERR_OK : conf_default_state_dir(&dflt, e);
	if (rc == ERR_OK && (size_t)snprintf(out, cap, "%s", c->state_dir ? c->state_dir : dflt) >= cap)
		rc = err_set(e, ERR_LIMIT, "the state directory's path is longer than %zu bytes", cap - 1);
	free(dflt);
	return rc;
}

int ctl_state_path(const struct ctl *c, const char *name, char *out, size_t cap, struct err *e)
{
	int rc = ctl_state_dir(c, out, cap, e);
	size_t len = rc == ERR_OK ? strlen(out) : 0;
	if (rc == ERR_OK && (size_t)snprintf(out + len, cap - len, "/%s", name) >= cap - len)
		rc = err_set(e, ERR_LIMIT, "the state directory's path is longer than %zu bytes", cap - 1);
	return rc;
}

/* --- usage ----------------------------------------------------------------------------------------------- */

static void opts_print(FILE *to, const struct ctl_opt *o)
{
	for (; o && o->name; o++) {
		char left[64];
		snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->letter ? "-" : "", o->letter ? o->letter : ' ',
		         o->letter ? ", " : "   ", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		fprintf(to, "  %-30s %s\n", left, o->help);
	}
}

void ctl_usage(FILE *to, const struct ctl_command *one)
{
	if (one) {
		fprintf(to, "usage: fumehood %s %s\n%s\n\n", one->name, one->args, one->help);
		opts_print(to, one->opts);
		opts_print(to, ctl_common_opts);
		return;
	}
	fprintf(to, "usage: fumehood COMMAND [OPTION]...\nrun downloaded models behind glass\n\n");
	for (size_t i = 0; i < ctl_n_commands; i++)
		fprintf(to, "  %-10s %s\n", ctl_commands[i]->name, ctl_commands[i]->help);
	fprintf(to, "\nfumehood COMMAND --help shows a command's options; man fumehood tells all.\n");
}
