/* SPDX-License-Identifier: Apache-2.0
 *
 * model.note: reading it and deciding whether it may be used. Format and rules: trust.h.
 * Side: broker, cli. Trusts: a struct trust that was loaded; nothing in the note. Owns: struct model_note.
 */
#include "broker/trust/rules.h"

#include "proto/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WHAT "model.note"

/* --- names and paths ------------------------------------------------------------------------------ */

static bool name_byte_is_ok(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
	       c == '-' || c == '/';
}

/* Parts between '/' that are not empty and, when dots is false, do not begin with a dot. */
static bool parts_are_ok(const char *p, size_t len, bool dots)
{
	for (size_t i = 0, start = 0; i <= len; i++) {
		if (i < len && p[i] != '/')
			continue;
		size_t n = i - start;
		bool up = (n == 1 && p[start] == '.') || (n == 2 && p[start] == '.' && p[start + 1] == '.');
		if (n == 0 || up || (!dots && p[start] == '.'))
			return false;
		start = i + 1;
	}
	return true;
}

bool model_name_is_ok(const char *name, size_t len)
{
	if (len == 0 || len > TRUST_MODEL_NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!name_byte_is_ok(name[i]))
			return false;
	return parts_are_ok(name, len, false);
}

bool model_path_is_ok(const char *path, size_t len)
{
	if (len == 0 || len > TRUST_PATH_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
			return false;
	return parts_are_ok(path, len, true);
}

/* --- lines ---------------------------------------------------------------------------------------- */

static int number_read(struct field rest, uint64_t min, uint64_t *out, struct err *e)
{
	struct field f;
	if (!field_last(&rest, &f) || !field_u64(f, out) || *out < min)
		return err_set(e, ERR_SIGNATURE, "want one decimal number of at least %" PRIu64, min);
	return ERR_OK;
}

static int on_name(void *into, struct field rest, struct err *e)
{
	struct model_note *m = into;
	if (!model_name_is_ok(rest.p ? rest.p : "", rest.len) || !field_copy(rest, m->name, sizeof m->name))
		return err_set(e, ERR_SIGNATURE, "want letters, digits, . _ - and / between parts that do not begin with "
		               "a dot");
	return ERR_OK;
}
static int on_version(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 1, &((struct model_note *)into)->version, e);
}
static int on_created(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 0, &((struct model_note *)into)->created, e);
}
static int on_expires(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 0, &((struct model_note *)into)->expires, e);
}

static int on_root(void *into, struct field rest, struct err *e)
{
	struct field f;
	if (!field_last(&rest, &f) || !field_sha256(f, ((struct model_note *)into)->root))
		return err_set(e, ERR_SIGNATURE, "want sha256:HEX");
	return ERR_OK;
}

/* The path is all that follows: it may hold spaces. */
static int on_file(void *into, struct field rest, struct err *e)
{
	struct model_note *m = into;
	struct model_file *f = &m->files[m->n_files];
	struct field number, digest;
	if (!field_next(&rest, &number) || !field_u64(number, &f->bytes) || !field_next(&rest, &digest) ||
	    !field_sha256(digest, f->sha256))
		return err_set(e, ERR_SIGNATURE, "want: BYTES sha256:HEX PATH");
	if (!model_path_is_ok(rest.p ? rest.p : "", rest.len) || !field_copy(rest, f->path, sizeof f->path))
		return err_set(e, ERR_SIGNATURE, "its path is not relative and plain (no empty part, no . or ..)");
	if (f->bytes > LIMIT_MODEL_BYTES)
		return err_set(e, ERR_LIMIT, "a file of %" PRIu64 " bytes is above the limit of %" PRIu64, f->bytes,
		               (uint64_t)LIMIT_MODEL_BYTES);
	for (size_t i = 0; i < m->n_files; i++)
		if (strcmp(m->files[i].path, f->path) == 0)
			return err_set(e, ERR_SIGNATURE, "the same path stands twice");
	m->n_files++;
	return ERR_OK;
}

static int on_licence(void *into, struct field rest, struct err *e)
{
	struct model_note *m = into;
	if (!rest.p || rest.len == 0)
		return err_set(e, ERR_SIGNATURE, "want a text");
	err_escape(m->licence, sizeof m->licence, rest.p, rest.len);
	return ERR_OK;
}

/* A limit that this version does not know cannot be kept: refused, not passed over. */
static int on_limit(void *into, struct field rest, struct err *e)
{
	struct model_note *m = into;
	struct field word;
	char shown[64];
	if (!field_next(&rest, &word))
		return err_set(e, ERR_SIGNATURE, "want: memory BYTES or cpu-ms N");
	uint64_t *to = field_is(word, "memory")   ? &m->limit_memory_bytes
	               : field_is(word, "cpu-ms") ? &m->limit_cpu_ms
	                                          : NULL;
	if (!to)
		return err_set(e, ERR_UNSUPPORTED, "\"%s\" is not implemented, so it cannot be kept",
		               err_escape(shown, sizeof shown, word.p, word.len));
	if (*to)
		return err_set(e, ERR_SIGNATURE, "the same limit stands twice");
	return number_read(rest, 1, to, e);
}

static int on_input(void *into, struct field rest, struct err *e)
{
	struct model_note *m = into;
	struct model_input *in = &m->inputs[m->n_inputs];
	struct field type, dims;
	if (!field_next(&rest, &type) || !field_last(&rest, &dims) || !field_copy(type, in->type, sizeof in->type) ||
	    !field_copy(dims, in->dims, sizeof in->dims))
		return err_set(e, ERR_SIGNATURE, "want: TYPE DIM,DIM,..");
	m->n_inputs++;
	return ERR_OK;
}

static const struct line_rule rules[] = {
	{ "name", 1, 1, on_name },
	{ "version", 1, 1, on_version },
	{ "created", 1, 1, on_created },
	{ "expires", 1, 1, on_expires },
	{ "root", 1, 1, on_root },
	{ "file", 1, LIMIT_MODEL_FILES, on_file },
	{ "licence", 0, 1, on_licence },
	{ "limit", 0, 2, on_limit },
	{ "input", 0, 16, on_input },
};

/* --- reading --------------------------------------------------------------------------------------- */

/* The root must follow from the files, or the name of the model and its bytes could be parted. */
static int root_check(const struct model_note *m, struct err *e)
{
	struct hash_file files[LIMIT_MODEL_FILES];
	uint8_t root[HASH_BYTES];
	struct ck total = ck_u64(0);
	uint64_t sum;
	for (size_t i = 0; i < m->n_files; i++) {
		files[i] = (struct hash_file){ .path = m->files[i].path, .path_len = strlen(m->files[i].path) };
		memcpy(files[i].sha256, m->files[i].sha256, HASH_BYTES);
		total = ck_add(total, ck_u64(m->files[i].bytes));
	}
	if (!ck_get(total, LIMIT_MODEL_BYTES, &sum))
		return err_set(e, ERR_LIMIT, WHAT ": its files are above %" PRIu64 " bytes in all",
		               (uint64_t)LIMIT_MODEL_BYTES);
	int rc = hash_oms_root(files, m->n_files, root, e);
	if (rc != ERR_OK)
		return err_prefix(e, WHAT);
	if (memcmp(root, m->root, HASH_BYTES) != 0)
		return err_set(e, ERR_DIGEST, WHAT ": its root digest does not follow from its file lines");
	if (m->created >= m->expires)
		return err_set(e, ERR_SIGNATURE, WHAT ": expires before it was created");
	return ERR_OK;
}

int model_note_parse(const char *text, size_t len, struct model_note **out, struct err *e)
{
	struct model_note *m = NULL;
	int rc = ERR_NOMEM;
	if (len > LIMIT_NOTE_BYTES)
		return err_set(e, ERR_LIMIT, WHAT ": %zu bytes is above the limit of %" PRIu64, len,
		               (uint64_t)LIMIT_NOTE_BYTES);
	if (!(m = calloc(1, sizeof *m)) || !(m->files = calloc(LIMIT_MODEL_FILES, sizeof *m->files)) ||
	    !(m->text = malloc(len + 1))) {
		err_set(e, ERR_NOMEM, WHAT ": no memory");
		goto out;
	}
	memcpy(m->text, text, len);
	m->text[len] = 0;
	m->text_len = len;
	if ((rc = note_parse(m->text, len, &m->note, e)) != ERR_OK) {
		err_prefix(e, WHAT);
		goto out;
	}
	if ((rc = lines_read(WHAT, "fumehood-model/v1", m->note.text, m->note.text_len, rules,
	                     sizeof rules / sizeof rules[0], m, e)) != ERR_OK ||
	    (rc = root_check(m, e)) != ERR_OK)
		goto out;
	*out = m;
	m = NULL;
out:
	model_note_free(m);
	return rc;
}

void model_note_free(struct model_note *m)
{
	if (!m)
		return;
	free(m->files);
	free(m->text);
	free(m);
}

/* --- deciding ---------------------------------------------------------------------------------------- */

/* Takes denied signers out of the set. The last one's reason goes to *why. */
static uint64_t denied_remove(const struct trust *t, uint64_t set, uint64_t now, const char **id,
                              const struct trust_denial **why)
{
	for (size_t i = 0; i < t->n_signers; i++) {
		const struct trust_denial *d = trust_key_denial(t, t->signers[i].pk_sha256, now);
		if (!(set >> i & 1) || !d)
			continue;
		set &= ~(UINT64_C(1) << i);
		*id = t->signers[i].id;
		*why = d;
	}
	return set;
}

static void vouch_fill(const struct trust *t, uint64_t set, struct model_vouch *out)
{
	memset(out, 0, sizeof *out);
	for (size_t i = 0; i < t->n_signers && out->n_signers < LIMIT_NOTE_SIGNATURES; i++) {
		bool known = false;
		for (size_t j = 0; j < out->n_signers; j++)
			known = known || memcmp(out->keys[j], t->signers[i].pk_sha256, HASH_BYTES) == 0;
		if (!(set >> i & 1) || known)
			continue;
		memcpy(out->signers[out->n_signers], t->signers[i].id, sizeof out->signers[0]);
		memcpy(out->keys[out->n_signers], t->signers[i].pk_sha256, HASH_BYTES);
		out->n_signers++;
	}
}

static int signers_check(const struct model_note *m, const struct trust *t, uint64_t now,
                         struct model_vouch *out, struct err *e)
{
	const struct trust_denial *why = NULL;
	const char *id = NULL;
	uint64_t good = 0;
	int rc = note_verify(&m->note, t->signer_keys, t->n_signers, &good, e);
	if (rc != ERR_OK)
		return err_prefix(e, WHAT " of %s", m->name);
	good = denied_remove(t, good, now, &id, &why);
	if (!trust_roles_met(t, m->name, good, e)) {
		if (why)
			err_prefix(e, "the key of \"%s\" is denied (%s), its signature does not count", id, why->reason);
		return err_prefix(e, WHAT " of %s", m->name);
	}
	vouch_fill(t, good & trust_role_members(t, m->name), out);
	return ERR_OK;
}

int model_note_verify(const struct model_note *m, const struct trust *t, uint64_t now,
                      struct model_vouch *out, struct err *e)
{
	const struct trust_denial *d = trust_model_denial(t, m->root);
	if (d)
		return err_set(e, ERR_DENIED, "model %s is on the deny list of trust.note: %s", m->name, d->reason);
	int rc = signers_check(m, t, now, out, e);
	if (rc != ERR_OK)
		return rc;
	if (m->version < trust_min_version(t, m->name))
		return err_set(e, ERR_SIGNATURE, WHAT " of %s: version %" PRIu64 " is below the %" PRIu64
		               " that trust.note demands", m->name, m->version, trust_min_version(t, m->name));
	if (now < m->created)
		return err_set(e, ERR_EXPIRED, WHAT " of %s was created in the future (%" PRIu64 ", now %" PRIu64
		               "): check this machine's clock", m->name, m->created, now);
	if (now >= m->expires)
		return err_set(e, ERR_EXPIRED, WHAT " of %s version %" PRIu64 " expired at %" PRIu64 ", now %" PRIu64
		               ": sign it again", m->name, m->version, m->expires, now);
	return ERR_OK;
}
