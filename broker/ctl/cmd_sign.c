/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood sign: writes model.note for files, or adds a signature to a note that somebody else began.
 * Side: cli. Trusts: the signer's eyes. Owns: the note that it writes.
 */
#include "broker/ctl/notes.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPIRES_DEFAULT "1y"

static const struct ctl_opt opts[] = {
	{ "key", 'k', "FILE", CTL_FILE, true, "secret key to sign with (of fumehood keygen); may be repeated" },
	{ "name", 'n', "NAME", CTL_WORD, false, "the model's name, e.g. acme/resnet50" },
	{ "version", 'v', "N", CTL_WORD, false, "the model's version; must go up with each release" },
	{ "expires", 0, "WHEN", CTL_WORD, false, "date or span after which it is not loaded any more (default 1y)" },
	{ "created", 0, "WHEN", CTL_WORD, false, "date to write as creation (default: now)" },
	{ "licence", 0, "TEXT", CTL_WORD, false, "the model's licence" },
	{ "limit-memory", 0, "BYTES", CTL_WORD, false, "memory that a worker of this model may use" },
	{ "limit-cpu-ms", 0, "N", CTL_WORD, false, "processor time that a call may use" },
	{ "output", 'o', "FILE", CTL_FILE, false, "the note (default: model.note beside the first file)" },
	{ "cosign", 0, "NOTE", CTL_FILE, false, "add a signature to this note instead" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

/* What the note will say. */
struct draft {
	const char *name, *licence;
	uint64_t version, created, expires, limit_memory, limit_cpu_ms;
	struct model_file files[LIMIT_MODEL_FILES];
	size_t n_files;
	uint8_t root[HASH_BYTES];
};

/* The path as the note says it: relative to the note's folder when the file is below it, else its name. */
static int path_in_note(const char *file, const char *note_dir, char out[TRUST_PATH_MAX_BYTES + 1], struct err *e)
{
	char *real = realpath(file, NULL), *dir = realpath(note_dir, NULL);
	const char *path = path_base(file);
	size_t n = dir ? strlen(dir) : 0;
	if (real && dir && strncmp(real, dir, n) == 0 && (real[n] == '/' || (n == 1 && dir[0] == '/')))
		path = real + n + (n > 1);
	bool ok = model_path_is_ok(path, strlen(path)) && strlen(path) <= TRUST_PATH_MAX_BYTES;
	if (ok)
		snprintf(out, TRUST_PATH_MAX_BYTES + 1, "%s", path);
	free(real);
	free(dir);
	return ok ? ERR_OK : err_set(e, ERR_INPUT, "%s: this file name cannot stand in a note", ctl_str(file));
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct model_file *)a)->path, ((const struct model_file *)b)->path);
}

static int files_hash(const struct ctl *c, struct draft *d, const char *note_dir, struct err *e)
{
	struct hash_file all[LIMIT_MODEL_FILES];
	if (c->n_pos > LIMIT_MODEL_FILES)
		return err_set(e, ERR_LIMIT, "a model has at most %d files", LIMIT_MODEL_FILES);
	for (int i = 0; i < c->n_pos; i++) {
		struct model_file *f = &d->files[i];
		uint64_t size = 0;
		int fd = -1, rc = file_open(c->pos[i], &fd, &size, e);
		if (rc == ERR_OK)
			rc = file_hash(c, fd, ctl_str(c->pos[i]), size, f->sha256, &f->bytes, e);
		if (fd >= 0)
			close(fd);
		if (rc != ERR_OK || (rc = path_in_note(c->pos[i], note_dir, f->path, e)) != ERR_OK)
			return rc;
	}
	d->n_files = (size_t)c->n_pos;
	qsort(d->files, d->n_files, sizeof d->files[0], by_path);
	for (size_t i = 0; i < d->n_files; i++) {
		all[i] = (struct hash_file){ .path = d->files[i].path, .path_len = strlen(d->files[i].path) };
		memcpy(all[i].sha256, d->files[i].sha256, HASH_BYTES);
	}
	return hash_oms_root(all, d->n_files, d->root, e);
}

static int draft_options(const struct ctl *c, struct draft *d, struct err *e)
{
	uint64_t now = now_unix();
	const char *created = ctl_get(c, "created"), *expires = ctl_get(c, "expires");
	int rc;
	d->name = ctl_get(c, "name");
	d->licence = ctl_get(c, "licence");
	if (!d->name || !ctl_has(c, "version"))
		return err_set(e, ERR_USAGE, "--name NAME and --version N are needed");
	if (!model_name_is_ok(d->name, strlen(d->name)))
		return err_set(e, ERR_USAGE, "--name \"%s\": want letters, digits, . _ - and / between parts that do not "
		               "begin with a dot", ctl_str(d->name));
	d->created = now;
	if ((rc = ctl_number(c, "version", 1, INT64_MAX, 0, &d->version, e)) != ERR_OK ||
	    (rc = ctl_number(c, "limit-memory", 1, INT64_MAX, 0, &d->limit_memory, e)) != ERR_OK ||
	    (rc = ctl_number(c, "limit-cpu-ms", 1, INT64_MAX, 0, &d->limit_cpu_ms, e)) != ERR_OK ||
	    (created && (rc = ctl_when("created", created, now, &d->created, e)) != ERR_OK) ||
	    (rc = ctl_when("expires", expires ? expires : EXPIRES_DEFAULT, now, &d->expires, e)) != ERR_OK)
		return rc;
	if (d->created >= d->expires)
		return err_set(e, ERR_USAGE, "--expires is not after --created");
	return ERR_OK;
}

static int draft_print(const struct draft *d, char **out, size_t *len, struct err *e)
{
	char hex[HASH_HEX_BYTES + 1];
	FILE *f = open_memstream(out, len);
	if (!f)
		return err_set(e, ERR_NOMEM, "no memory for a note");
	hash_hex(d->root, hex);
	fprintf(f, "fumehood-model/v1\nname %s\nversion %" PRIu64 "\ncreated %" PRIu64 "\nexpires %" PRIu64
	        "\nroot sha256:%s\n", d->name, d->version, d->created, d->expires, hex);
	for (size_t i = 0; i < d->n_files; i++) {
		hash_hex(d->files[i].sha256, hex);
		fprintf(f, "file %" PRIu64 " sha256:%s %s\n", d->files[i].bytes, hex, d->files[i].path);
	}
	if (d->licence)
		fprintf(f, "licence %s\n", d->licence);
	if (d->limit_memory)
		fprintf(f, "limit memory %" PRIu64 "\n", d->limit_memory);
	if (d->limit_cpu_ms)
		fprintf(f, "limit cpu-ms %" PRIu64 "\n", d->limit_cpu_ms);
	bool bad = ferror(f);
	return fclose(f) != 0 || bad ? err_set(e, ERR_NOMEM, "no memory for a note") : ERR_OK;
}

static int note_path(const struct ctl *c, char out[PATH_MAX], char dir[PATH_MAX], struct err *e)
{
	const char *given = ctl_get(c, "output");
	int rc = path_dir(given ? given : c->pos[0], dir, e);
	if (rc == ERR_OK && given)
		rc = snprintf(out, PATH_MAX, "%s", given) < PATH_MAX ? ERR_OK : err_set(e, ERR_LIMIT, "--output is too long");
	else if (rc == ERR_OK)
		rc = path_join(dir, "model.note", out, e);
	if (rc == ERR_OK && !given && access(out, F_OK) == 0)
		rc = err_set(e, ERR_USAGE, "%s is there already: name it with --output to replace it", ctl_str(out));
	return rc;
}

/* The note is read back before it is written: what this command makes, it takes. */
static int draft_sign(const struct draft *d, const char *path, const struct note_signer *keys, size_t n_keys,
                      struct model_note **out, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = draft_print(d, &text, &len, e);
	if (rc == ERR_OK)
		rc = note_write(path, text, len, keys, n_keys, e);
	free(text);
	if (rc == ERR_OK && (rc = model_note_read(path, out, e)) != ERR_OK) {
		unlink(path);
		err_prefix(e, "the note would not be valid");
	}
	return rc;
}

static int signed_print(const struct ctl *c, const struct model_note *m, const char *path,
                        const struct note_signer *keys, size_t n, struct err *e)
{
	char hex[HASH_HEX_BYTES + 1];
	json_t *j = c->json ? model_note_json(m) : NULL, *names = json_array();
	for (size_t i = 0; names && i < n; i++)
		json_array_append_new(names, json_string(keys[i].key.name));
	if (c->json) {
		if (j)
			json_object_set_new(j, "keys", names), json_object_set_new(j, "note", ctl_json_text(path, strlen(path)));
		return ctl_json_print(j, e);
	}
	json_decref(names);
	hash_hex(m->root, hex);
	printf("signed   %s version %" PRIu64 ", expires %s\ndigest   sha256:%s\nnote     %s\n", m->name, m->version,
	       ctl_time(m->expires), hex, ctl_str(path));
	return ERR_OK;
}

static int cosign_run(const struct ctl *c, const struct note_signer *keys, size_t n, struct err *e)
{
	const char *path = ctl_get(c, "cosign");
	size_t all = 0;
	int rc = c->n_pos ? err_set(e, ERR_USAGE, "--cosign signs the note only: give no files")
	                  : note_cosign_file(path, keys, n, &all, e);
	if (rc != ERR_OK)
		return rc;
	if (c->json)
		return ctl_json_print(json_pack("{s:o, s:I}", "note", ctl_json_text(path, strlen(path)), "signatures",
		                                (json_int_t)all), e);
	printf("signed   %s, %zu signatures now\n", ctl_str(path), all);
	return ERR_OK;
}

static int sign_run(struct ctl *c, struct err *e)
{
	struct note_signer keys[LIMIT_NOTE_SIGNATURES];
	struct draft *d = NULL;
	struct model_note *m = NULL;
	char path[PATH_MAX], dir[PATH_MAX];
	size_t n = 0;
	int rc = sodium_init() < 0 ? err_set(e, ERR_INTERNAL, "libsodium does not start") : keys_load(c, "key", keys, &n, e);
	if (rc != ERR_OK)
		return rc;
	if (ctl_has(c, "cosign"))
		rc = cosign_run(c, keys, n, e);
	else if (c->n_pos == 0)
		rc = err_set(e, ERR_USAGE, "which files? fumehood sign FILE... --key K --name N --version V");
	else if (!(d = calloc(1, sizeof *d)))
		rc = err_set(e, ERR_NOMEM, "no memory for a note");
	else if ((rc = draft_options(c, d, e)) == ERR_OK && (rc = note_path(c, path, dir, e)) == ERR_OK &&
	         (rc = files_hash(c, d, dir, e)) == ERR_OK && (rc = draft_sign(d, path, keys, n, &m, e)) == ERR_OK)
		rc = signed_print(c, m, path, keys, n, e);
	model_note_free(m);
	free(d);
	keys_clear(keys, n);
	return rc;
}

const struct ctl_command cmd_sign = {
	.name = "sign",
	.args = "FILE... --key KEY --name NAME --version N [-o NOTE] | --cosign NOTE --key KEY",
	.help = "write a signed model.note for a model's files",
	.max_args = -1,
	.kind = CTL_FILE,
	.opts = opts,
	.run = sign_run,
};
