/* SPDX-License-Identifier: Apache-2.0
 *
 * Notes on disk: see notes.h.
 * Side: cli. Trusts: nothing in a note. Owns: nothing.
 */
#include "broker/ctl/notes.h"

#include <stdlib.h>
#include <string.h>

int keys_load(const struct ctl *c, const char *option, struct note_signer *out, size_t *n, struct err *e)
{
	const char *path;
	int rc = ERR_OK;
	*n = 0;
	for (size_t at = 0; rc == ERR_OK && (path = ctl_next(c, option, &at));) {
		if (*n == LIMIT_NOTE_SIGNATURES)
			rc = err_set(e, ERR_USAGE, "--%s: at most %d keys", option, LIMIT_NOTE_SIGNATURES);
		else if ((rc = key_load(path, &out[*n], e)) == ERR_OK)
			++*n;
	}
	if (rc == ERR_OK && *n == 0)
		rc = err_set(e, ERR_USAGE, "--%s FILE is missing: a secret key of `fumehood keygen`", option);
	if (rc != ERR_OK)
		keys_clear(out, *n);
	return rc;
}

void keys_clear(struct note_signer *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		note_signer_clear(&keys[i]);
}

int note_write(const char *path, const char *text, size_t len, const struct note_signer *keys, size_t n,
               struct err *e)
{
	size_t cap = len + 1 + n * NOTE_LINE_MAX_BYTES, out_len = 0;
	char *out = malloc(cap);
	if (!out)
		return err_set(e, ERR_NOMEM, "no memory for a note");
	int rc = note_sign(text, len, keys, n, out, cap, &out_len, e);
	if (rc == ERR_OK)
		rc = trust_file_write(path, out, out_len, 0644, e);
	free(out);
	return rc;
}

/* Only our own kinds of notes: a signature over anything else could be used elsewhere. */
static int kind_check(const char *path, const struct note *n, struct err *e)
{
	static const char *const heads[] = { "fumehood-model/v1\n", "fumehood-trust/v1\n", "fumehood-freshness/v1\n" };
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
		if (n->text_len > strlen(heads[i]) && memcmp(n->text, heads[i], strlen(heads[i])) == 0)
			return ERR_OK;
	return err_set(e, ERR_INPUT, "%s: no note of fumehood", ctl_str(path));
}

static int signed_already(const struct note *n, const struct note_signer *k, struct err *e)
{
	for (size_t i = 0; i < n->n_lines; i++)
		if (n->lines[i].name_len == strlen(k->key.name) &&
		    memcmp(n->lines[i].name, k->key.name, n->lines[i].name_len) == 0 &&
		    memcmp(n->lines[i].id, k->key.id, NOTE_ID_BYTES) == 0)
			return err_set(e, ERR_USAGE, "\"%s\" has signed this note already", ctl_str(k->key.name));
	return ERR_OK;
}

int note_cosign_file(const char *path, const struct note_signer *keys, size_t n, size_t *n_all, struct err *e)
{
	char *old = NULL, *new = NULL;
	size_t len = 0, new_len = 0, cap;
	struct note note;
	int rc = trust_file_read(path, LIMIT_NOTE_BYTES, &old, &len, e);
	if (rc == ERR_OK && (rc = note_parse(old, len, &note, e)) != ERR_OK)
		err_prefix(e, "%s", ctl_str(path));
	if (rc != ERR_OK || (rc = kind_check(path, &note, e)) != ERR_OK)
		goto out;
	for (size_t i = 0; rc == ERR_OK && i < n; i++)
		rc = signed_already(&note, &keys[i], e);
	if (rc == ERR_OK && note.n_lines + n > LIMIT_NOTE_SIGNATURES)
		rc = err_set(e, ERR_LIMIT, "%s: more than %d signatures", ctl_str(path), LIMIT_NOTE_SIGNATURES);
	cap = len + note.text_len + 1 + n * NOTE_LINE_MAX_BYTES;
	if (rc == ERR_OK && !(new = malloc(cap)))
		rc = err_set(e, ERR_NOMEM, "no memory for a note");
	/* The new lines are made as a note of their own, behind the old bytes, and its text is cut out. */
	if (rc == ERR_OK && (rc = note_sign(note.text, note.text_len, keys, n, new + len, cap - len, &new_len, e)) == ERR_OK) {
		size_t front = note.text_len + 1;
		memcpy(new, old, len);
		memmove(new + len, new + len + front, new_len - front);
		rc = trust_file_write(path, new, len + new_len - front, 0644, e);
		*n_all = note.n_lines + n;
	}
out:
	free(old);
	free(new);
	return rc;
}

int model_note_read(const char *path, struct model_note **out, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = trust_file_read(path, LIMIT_NOTE_BYTES, &text, &len, e);
	if (rc == ERR_OK && (rc = model_note_parse(text, len, out, e)) != ERR_OK)
		err_prefix(e, "%s", ctl_str(path));
	free(text);
	return rc;
}

int model_file_open(const struct ctl *c, const struct model_note *m, size_t i, int *fd, uint64_t *bytes,
                    char path[PATH_MAX], struct err *e)
{
	char dir[PATH_MAX];
	const char *given = NULL;
	size_t n_given = (size_t)c->n_pos - 1;
	for (size_t k = 0; k < n_given && !given; k++)
		if (strcmp(path_base(c->pos[1 + k]), path_base(m->files[i].path)) == 0)
			given = c->pos[1 + k];
	if (!given && n_given == m->n_files)
		given = c->pos[1 + i];
	if (given && snprintf(path, PATH_MAX, "%s", given) >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "a path is longer than %d bytes", PATH_MAX);
	int rc = given ? ERR_OK : path_dir(c->pos[0], dir, e);
	if (rc == ERR_OK && !given)
		rc = path_join(dir, m->files[i].path, path, e);
	return rc == ERR_OK ? file_open(path, fd, bytes, e) : rc;
}

int trust_read(const struct ctl *c, uint64_t now, struct trust **out, char path[PATH_MAX], struct err *e)
{
	const char *given = ctl_get(c, "trust");
	char *text = NULL, *fresh = NULL, dir[PATH_MAX], fresh_path[PATH_MAX];
	size_t len = 0, fresh_len = 0;
	int rc = given ? ERR_OK : ctl_state_path(c, "trust/trust.note", path, PATH_MAX, e);
	if (given && snprintf(path, PATH_MAX, "%s", given) >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "--trust: longer than %d bytes", PATH_MAX);
	if (rc == ERR_OK)
		rc = trust_file_read(path, LIMIT_TRUST_BYTES, &text, &len, e);
	if (rc == ERR_NOT_FOUND)
		return err_prefix(e, "no trust.note: make one with `fumehood trust init`, or name it with --trust"), rc;
	if (rc == ERR_OK && (rc = path_dir(path, dir, e)) == ERR_OK &&
	    (rc = path_join(dir, "freshness.note", fresh_path, e)) == ERR_OK) {
		rc = trust_file_read(fresh_path, LIMIT_TRUST_BYTES, &fresh, &fresh_len, e);
		rc = rc == ERR_NOT_FOUND ? ERR_OK : rc;
	}
	if (rc == ERR_OK && (rc = trust_load(text, len, fresh, fresh_len, now, out, e)) != ERR_OK)
		err_prefix(e, "%s", ctl_str(path));
	free(text);
	free(fresh);
	return rc;
}

json_t *model_note_json(const struct model_note *m)
{
	json_t *files = json_array();
	for (size_t i = 0; files && i < m->n_files; i++)
		json_array_append_new(files, json_pack("{s:o, s:I, s:o}", "path",
		                                       ctl_json_text(m->files[i].path, strlen(m->files[i].path)), "bytes",
		                                       (json_int_t)m->files[i].bytes, "sha256",
		                                       ctl_json_hex(m->files[i].sha256, HASH_BYTES)));
	return json_pack("{s:s, s:I, s:o, s:I, s:I, s:s, s:o}", "name", m->name, "version", (json_int_t)m->version,
	                 "model_digest", ctl_json_hex(m->root, HASH_BYTES), "created_unix", (json_int_t)m->created,
	                 "expires_unix", (json_int_t)m->expires, "licence", m->licence, "files", files);
}

json_t *signers_json(const struct model_vouch *v)
{
	json_t *a = json_array();
	for (size_t i = 0; a && i < v->n_signers; i++)
		json_array_append_new(a, json_string(v->signers[i]));
	return a;
}

const char *signers_text(const struct model_vouch *v)
{
	char all[512];
	size_t n = 0;
	all[0] = 0;
	for (size_t i = 0; i < v->n_signers && n < sizeof all; i++)
		n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", v->signers[i]);
	return ctl_str(all);
}
