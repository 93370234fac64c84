/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood verify: a model.note and its files against a trust.note, offline. It reads no state, so it
 * cannot see a rollback; the broker does on admission.
 * Side: cli. Trusts: the trust.note that the user names. Owns: nothing.
 */
#include "broker/ctl/notes.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

static const struct ctl_opt opts[] = {
	{ "trust", 0, "FILE", CTL_FILE, false, "the trust.note (default: the state directory's)" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

static int file_check(const struct ctl *c, const struct model_note *m, size_t i, struct err *e)
{
	const struct model_file *f = &m->files[i];
	char path[PATH_MAX], want[HASH_HEX_BYTES + 1], got[HASH_HEX_BYTES + 1];
	uint8_t digest[HASH_BYTES];
	uint64_t size = 0, bytes = 0;
	int fd = -1, rc = model_file_open(c, m, i, &fd, &size, path, e);
	if (rc == ERR_OK && size != f->bytes)
		rc = err_set(e, ERR_DIGEST, "%s: %" PRIu64 " bytes, the note says %" PRIu64, ctl_str(path), size, f->bytes);
	if (rc == ERR_OK)
		rc = file_hash(c, fd, ctl_str(path), size, digest, &bytes, e);
	if (fd >= 0)
		close(fd);
	if (rc != ERR_OK)
		return rc;
	hash_hex(digest, got);
	hash_hex(f->sha256, want);
	if (bytes != f->bytes || memcmp(digest, f->sha256, HASH_BYTES) != 0)
		return err_set(e, ERR_DIGEST, "%s: its bytes are not those that were signed (sha256 %s, the note says %s)",
		               ctl_str(path), got, want);
	return ERR_OK;
}

static int verdict_print(const struct ctl *c, const struct model_note *m, const struct trust *t,
                         const struct model_vouch *v, const char *trust_path, struct err *e)
{
	static const char *const heads[] = { "FILE", ">BYTES", "SHA-256" };
	char hex[HASH_HEX_BYTES + 1], number[32];
	if (c->json) {
		json_t *j = model_note_json(m);
		if (j)
			json_object_set_new(j, "verified", json_true()), json_object_set_new(j, "signers", signers_json(v)),
				json_object_set_new(j, "trust_version", json_integer((json_int_t)trust_version(t)));
		return ctl_json_print(j, e);
	}
	hash_hex(m->root, hex);
	printf("verified  %s version %" PRIu64 ", signed by %s, expires %s\n", m->name, m->version, signers_text(v),
	       ctl_time(m->expires));
	printf("digest    sha256:%s\ntrust     %s, version %" PRIu64 "\n", hex, ctl_str(trust_path), trust_version(t));
	struct ctl_table *table = ctl_table_new(3, heads);
	for (size_t i = 0; i < m->n_files; i++) {
		hash_hex(m->files[i].sha256, hex);
		snprintf(number, sizeof number, "%" PRIu64, m->files[i].bytes);
		ctl_table_row(table, (const char *[]){ ctl_str(m->files[i].path), number, hex });
	}
	return ctl_table_print(table, stdout, e);
}

static int verify_run(struct ctl *c, struct err *e)
{
	struct model_note *m = NULL;
	struct trust *t = NULL;
	struct model_vouch v;
	char path[PATH_MAX];
	uint64_t now = now_unix();
	int rc = sodium_init() < 0 ? err_set(e, ERR_INTERNAL, "libsodium does not start") : ERR_OK;
	if (rc == ERR_OK && (rc = model_note_read(c->pos[0], &m, e)) == ERR_OK &&
	    (rc = trust_read(c, now, &t, path, e)) == ERR_OK)
		rc = model_note_verify(m, t, now, &v, e);
	for (size_t i = 0; rc == ERR_OK && i < m->n_files; i++)
		rc = file_check(c, m, i, e);
	if (rc == ERR_OK)
		rc = verdict_print(c, m, t, &v, path, e);
	model_note_free(m);
	trust_free(t);
	return rc;
}

const struct ctl_command cmd_verify = {
	.name = "verify",
	.args = "MODEL.note [FILE...] [--trust FILE]",
	.help = "check a signed model's note and files, offline",
	.min_args = 1,
	.max_args = -1,
	.kind = CTL_FILE,
	.opts = opts,
	.run = verify_run,
};
