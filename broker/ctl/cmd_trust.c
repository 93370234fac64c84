/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood trust: makes, signs, shows and installs trust.note.
 *
 *   trust init     writes version 1 from --root, --signer and --role
 *   trust sign     signs a text that was edited by hand (the next version)
 *   trust show     prints what a trust.note says and checks it
 *   trust install  puts it into the state directory, where the broker looks at its start
 *
 * Side: cli. Trusts: the holders of root keys. Owns: the files that it writes.
 */
#include "broker/ctl/notes.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct ctl_opt opts[] = {
	{ "root", 0, "KEY", CTL_FILE, true, "init: a root key; a secret file also signs, a public one or vkey does not" },
	{ "threshold", 0, "N", CTL_WORD, false, "init: root keys that must sign (default 1)" },
	{ "signer", 0, "ID=KEY", CTL_WORD, true, "init: who may sign models: an id and a public key (file or vkey)" },
	{ "role", 0, "GLOB=N:ID,..", CTL_WORD, true, "init: names and how many of whom (default: *=1: all signers)" },
	{ "expires", 0, "WHEN", CTL_WORD, false, "init: date or span (default 1y)" },
	{ "key", 'k', "FILE", CTL_FILE, true, "sign: a root's secret key" },
	{ "output", 'o', "FILE", CTL_FILE, false, "init, sign: the note (default trust.note)" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

/* --- init ----------------------------------------------------------------------------------------- */

/* The root lines; secret ones are loaded into keys, to sign with. */
static int roots_print(const struct ctl *c, FILE *f, struct note_signer *keys, size_t *n, struct err *e)
{
	char vkey[NOTE_VKEY_MAX_BYTES];
	struct note_key k;
	const char *given;
	int rc = ERR_OK;
	*n = 0;
	for (size_t at = 0; rc == ERR_OK && (given = ctl_next(c, "root", &at));) {
		struct err quiet;
		if ((rc = key_public(given, &k, e)) != ERR_OK)
			break;
		note_vkey_format(&k, vkey);
		fprintf(f, "root %s\n", vkey);
		if (*n < LIMIT_NOTE_SIGNATURES && access(given, R_OK) == 0 && key_load(given, &keys[*n], &quiet) == ERR_OK)
			++*n;
	}
	if (rc == ERR_OK && *n == 0)
		rc = err_set(e, ERR_USAGE, "trust init needs at least one --root with its secret file (mode 600), to sign");
	return rc;
}

/* "ID=KEY": the id ends at the first '='. Adds the id to all, which holds "a,b,c". */
static int signers_print(const struct ctl *c, FILE *f, char *all, size_t cap, struct err *e)
{
	char vkey[NOTE_VKEY_MAX_BYTES];
	struct note_key k;
	const char *given;
	size_t len = 0;
	for (size_t at = 0; (given = ctl_next(c, "signer", &at));) {
		const char *eq = strchr(given, '=');
		if (!eq || eq == given)
			return err_set(e, ERR_USAGE, "--signer \"%s\": want ID=KEY", ctl_str(given));
		int n = (int)(eq - given), rc = key_public(eq + 1, &k, e);
		if (rc != ERR_OK)
			return rc;
		note_vkey_format(&k, vkey);
		fprintf(f, "signer %.*s %s\n", n, given, vkey);
		len += (size_t)snprintf(all + len, cap - len, "%s%.*s", len ? "," : "", n, given);
		if (len >= cap)
			return err_set(e, ERR_LIMIT, "--signer: too many");
	}
	return len ? ERR_OK : err_set(e, ERR_USAGE, "trust init needs at least one --signer ID=KEY");
}

/* "GLOB=N:ID,ID" with the last '='. */
static int roles_print(const struct ctl *c, FILE *f, const char *all, struct err *e)
{
	const char *given;
	size_t at = 0, n = 0;
	for (; (given = ctl_next(c, "role", &at)); n++) {
		const char *eq = strrchr(given, '='), *colon = eq ? strchr(eq, ':') : NULL;
		if (!colon)
			return err_set(e, ERR_USAGE, "--role \"%s\": want GLOB=N:ID,ID", ctl_str(given));
		fprintf(f, "role %.*s threshold %.*s of %s\n", (int)(eq - given), given, (int)(colon - eq - 1), eq + 1,
		        colon + 1);
	}
	if (n == 0)
		fprintf(f, "role * threshold 1 of %s\n", all);
	return ERR_OK;
}

static int init_print(const struct ctl *c, FILE *f, struct note_signer *keys, size_t *n, struct err *e)
{
	uint64_t threshold, now = now_unix(), expires;
	const char *when = ctl_get(c, "expires");
	char all[LIMIT_TRUST_SIGNERS * (TRUST_ID_MAX_BYTES + 1)] = "";
	int rc;
	if ((rc = ctl_number(c, "threshold", 1, LIMIT_TRUST_ROOTS, 1, &threshold, e)) != ERR_OK ||
	    (rc = ctl_when("expires", when ? when : "1y", now, &expires, e)) != ERR_OK)
		return rc;
	fprintf(f, "fumehood-trust/v1\nversion 1\nissued %" PRIu64 "\nexpires %" PRIu64 "\nroot-threshold %" PRIu64 "\n",
	        now, expires, threshold);
	if ((rc = roots_print(c, f, keys, n, e)) == ERR_OK && (rc = signers_print(c, f, all, sizeof all, e)) == ERR_OK)
		rc = roles_print(c, f, all, e);
	return rc;
}

/* Signs, checks and only then writes. A note below its threshold waits for `sign --cosign`. */
static int trust_write(const struct ctl *c, const char *text, size_t len, const struct note_signer *keys, size_t n,
                       struct err *e)
{
	const char *path = ctl_get(c, "output") ? ctl_get(c, "output") : "trust.note";
	static char note[LIMIT_TRUST_BYTES + LIMIT_NOTE_SIGNATURES * NOTE_LINE_MAX_BYTES];
	size_t note_len = 0;
	struct trust *t = NULL;
	if (access(path, F_OK) == 0 && !ctl_has(c, "output"))
		return err_set(e, ERR_USAGE, "%s is there already: name it with --output to replace it", path);
	int rc = note_sign(text, len, keys, n, note, sizeof note, &note_len, e);
	if (rc == ERR_OK)
		rc = trust_form(note, note_len, &t, e);
	if (rc == ERR_OK)
		rc = trust_file_write(path, note, note_len, 0644, e);
	unsigned missing = t ? trust_roots_missing(t, now_unix()) : 0;
	trust_free(t);
	if (rc != ERR_OK)
		return rc;
	if (c->json)
		return ctl_json_print(json_pack("{s:o, s:i}", "note", ctl_json_text(path, strlen(path)), "missing_signatures",
		                                (int)missing), e);
	printf("signed   %s\n", ctl_str(path));
	if (missing)
		ctl_say(c, "%u more of its roots must sign it: fumehood sign --cosign %s --key ROOT", missing, ctl_str(path));
	return ERR_OK;
}

static int init_run(const struct ctl *c, struct err *e)
{
	struct note_signer keys[LIMIT_NOTE_SIGNATURES];
	char *text = NULL;
	size_t len = 0, n = 0;
	FILE *f = open_memstream(&text, &len);
	if (!f)
		return err_set(e, ERR_NOMEM, "no memory for a note");
	int rc = init_print(c, f, keys, &n, e);
	if (fclose(f) != 0 && rc == ERR_OK)
		rc = err_set(e, ERR_NOMEM, "no memory for a note");
	if (rc == ERR_OK)
		rc = trust_write(c, text, len, keys, n, e);
	keys_clear(keys, n);
	free(text);
	return rc;
}

/* --- sign ------------------------------------------------------------------------------------------- */

static int sign_run(const struct ctl *c, struct err *e)
{
	struct note_signer keys[LIMIT_NOTE_SIGNATURES];
	struct note note;
	char *text = NULL;
	size_t len = 0, n = 0;
	if (c->n_pos != 2)
		return err_set(e, ERR_USAGE, "trust sign TEXT --key ROOT [-o trust.note]");
	int rc = keys_load(c, "key", keys, &n, e);
	if (rc == ERR_OK)
		rc = trust_file_read(c->pos[1], LIMIT_TRUST_BYTES, &text, &len, e);
	/* A note that was edited: its old signatures are left out. */
	if (rc == ERR_OK) {
		bool is_note = note_parse(text, len, &note, NULL) == ERR_OK;
		rc = trust_write(c, text, is_note ? note.text_len : len, keys, n, e);
	}
	keys_clear(keys, n);
	free(text);
	return rc;
}

/* --- show, install ------------------------------------------------------------------------------------ */

static int load_given(const struct ctl *c, struct trust **t, char path[PATH_MAX], char **text, size_t *len,
                      struct err *e)
{
	int rc = c->n_pos > 1 ? ERR_OK : ctl_state_path(c, "trust/trust.note", path, PATH_MAX, e);
	if (c->n_pos > 1 && snprintf(path, PATH_MAX, "%s", c->pos[1]) >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "a path is longer than %d bytes", PATH_MAX);
	if (rc == ERR_OK)
		rc = trust_file_read(path, LIMIT_TRUST_BYTES, text, len, e);
	if (rc == ERR_OK)
		rc = trust_parse(*text, *len, now_unix(), t, e);
	return rc;
}

static int show_run(const struct ctl *c, struct err *e)
{
	struct trust *t = NULL;
	char path[PATH_MAX], *text = NULL;
	size_t len = 0, lines_len = 0;
	int rc = load_given(c, &t, path, &text, &len, e);
	const char *lines = rc == ERR_OK ? trust_text(t, &lines_len) : NULL;
	if (rc == ERR_OK && c->json) {
		rc = ctl_json_print(json_pack("{s:o, s:I, s:I, s:I, s:b, s:o, s:o}", "note", ctl_json_text(path, strlen(path)),
		                              "version", (json_int_t)trust_version(t), "issued_unix",
		                              (json_int_t)trust_issued(t), "expires_unix", (json_int_t)trust_expires(t),
		                              "expired", now_unix() >= trust_expires(t), "sha256",
		                              ctl_json_hex(trust_digest(t), HASH_BYTES), "text",
		                              ctl_json_text(lines, lines_len)), e);
	} else if (rc == ERR_OK) {
		printf("%s: version %" PRIu64 ", signed by enough of its roots, %s %s\n", ctl_str(path), trust_version(t),
		       now_unix() >= trust_expires(t) ? "EXPIRED" : "expires", ctl_time(trust_expires(t)));
		for (const char *p = lines; p < lines + lines_len;) {
			size_t n = (size_t)((const char *)memchr(p, '\n', (size_t)(lines + lines_len - p)) - p);
			printf("  %s\n", ctl_text(p, n));
			p += n + 1;
		}
	}
	trust_free(t);
	free(text);
	return rc;
}

static int folders_make(const char *dir, struct err *e)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s", dir);
	for (char *p = path + 1;; p++) {
		if (*p != '/' && *p != 0)
			continue;
		char was = *p;
		*p = 0;
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			return err_set(e, ERR_IO, "%s: %s", ctl_str(path), strerror(errno));
		*p = was;
		if (!was)
			return ERR_OK;
	}
}

static int install_run(const struct ctl *c, struct err *e)
{
	struct trust *t = NULL;
	struct trust_state *s = NULL;
	char from[PATH_MAX], dir[PATH_MAX], to[PATH_MAX], *text = NULL;
	size_t len = 0;
	if (c->n_pos != 2)
		return err_set(e, ERR_USAGE, "trust install FILE");
	int rc = load_given(c, &t, from, &text, &len, e);
	if (rc == ERR_OK && (rc = ctl_state_path(c, "trust", dir, sizeof dir, e)) == ERR_OK &&
	    (rc = folders_make(dir, e)) == ERR_OK && (rc = trust_state_load(dir, &s, e)) == ERR_OK &&
	    (rc = trust_state_check(s, t, now_unix(), e)) == ERR_OK && (rc = path_join(dir, "trust.note", to, e)) == ERR_OK)
		rc = trust_file_write(to, text, len, 0644, e);
	if (rc == ERR_OK && c->json)
		rc = ctl_json_print(json_pack("{s:o, s:I}", "note", ctl_json_text(to, strlen(to)), "version",
		                              (json_int_t)trust_version(t)), e);
	else if (rc == ERR_OK)
		printf("installed %s, version %" PRIu64 "; a broker takes it at its next start\n", ctl_str(to),
		       trust_version(t));
	trust_state_free(s);
	trust_free(t);
	free(text);
	return rc;
}

static int trust_run(struct ctl *c, struct err *e)
{
	static const struct {
		const char *verb;
		int (*run)(const struct ctl *c, struct err *e);
	} verbs[] = { { "init", init_run }, { "sign", sign_run }, { "show", show_run }, { "install", install_run } };
	if (sodium_init() < 0)
		return err_set(e, ERR_INTERNAL, "libsodium does not start");
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (strcmp(c->pos[0], verbs[i].verb) == 0)
			return verbs[i].run(c, e);
	return err_set(e, ERR_USAGE, "trust: \"%s\" is not init, sign, show or install", ctl_str(c->pos[0]));
}

const struct ctl_command cmd_trust = {
	.name = "trust",
	.args = "init --root KEY --signer ID=KEY [--role GLOB=N:ID,..] [-o FILE] | sign TEXT --key KEY | show [FILE] | "
	        "install FILE",
	.help = "make, sign, show and install trust.note: who may sign which model",
	.min_args = 1,
	.max_args = 2,
	.kind = CTL_FILE,
	.verbs = "init sign show install",
	.opts = opts,
	.run = trust_run,
};
