/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood keygen: an Ed25519 key for signing models or trust. Formats: files.c.
 * Side: cli. Trusts: nothing. Owns: the two files that it makes; it never replaces one.
 */
#include "broker/ctl/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ctl_opt opts[] = {
	{ "output", 'o', "FILE", CTL_FILE, false, "the secret file (default NAME.key); the public one beside it is .pub" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

/* Writes a file that must not be there yet. */
static int file_make(const char *path, const char *text, mode_t mode, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, ERR_USAGE, "%s is there already: keys are never replaced, choose another --output",
		               ctl_str(path));
	if (fd < 0)
		return err_set(e, ERR_IO, "%s: %s", ctl_str(path), strerror(errno));
	size_t len = strlen(text);
	int bad = write(fd, text, len) != (ssize_t)len || fsync(fd) != 0;
	int saved = errno;
	if (close(fd) != 0 || bad) {
		unlink(path);
		return err_set(e, ERR_IO, "%s: %s", ctl_str(path), strerror(saved));
	}
	return ERR_OK;
}

/* FILE.key -> FILE.pub, else FILE.pub behind the whole name. */
static int public_path(const char *secret, char out[PATH_MAX], struct err *e)
{
	size_t n = strlen(secret);
	if (n > 4 && strcmp(secret + n - 4, ".key") == 0)
		n -= 4;
	if (snprintf(out, PATH_MAX, "%.*s.pub", (int)n, secret) >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "--output: longer than %d bytes", PATH_MAX);
	return ERR_OK;
}

static int files_make(const char *secret, const char *public, const struct note_signer *s, struct err *e)
{
	char skey[NOTE_SKEY_MAX_BYTES], vkey[NOTE_VKEY_MAX_BYTES];
	char text[NOTE_SKEY_MAX_BYTES + 200];
	note_skey_format(s, skey);
	note_vkey_format(&s->key, vkey);
	snprintf(text, sizeof text, "# fumehood signing key. Keep it secret: who has this file signs in this name.\n%s\n",
	         skey);
	int rc = file_make(secret, text, 0600, e);
	if (rc == ERR_OK) {
		snprintf(text, sizeof text, "%s\n", vkey);
		rc = file_make(public, text, 0644, e);
		if (rc != ERR_OK)
			unlink(secret);
	}
	sodium_memzero(skey, sizeof skey);
	sodium_memzero(text, sizeof text);
	return rc;
}

static int keygen_run(struct ctl *c, struct err *e)
{
	const char *name = c->pos[0], *given = ctl_get(c, "output");
	char secret[PATH_MAX], public[PATH_MAX], vkey[NOTE_VKEY_MAX_BYTES];
	uint8_t seed[NOTE_SEED_BYTES];
	struct note_signer s;
	int rc;
	if (sodium_init() < 0)
		return err_set(e, ERR_INTERNAL, "libsodium does not start");
	if (given ? snprintf(secret, sizeof secret, "%s", given) >= PATH_MAX
	          : snprintf(secret, sizeof secret, "%s.key", path_base(name)) >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "--output: longer than %d bytes", PATH_MAX);
	if ((rc = public_path(secret, public, e)) != ERR_OK)
		return rc;
	randombytes_buf(seed, sizeof seed);
	rc = note_signer_init(name, strlen(name), seed, &s, e);
	sodium_memzero(seed, sizeof seed);
	if (rc != ERR_OK)
		return err_set(e, ERR_USAGE, "a key's name has no spaces and no '+', and at most %d bytes", NOTE_NAME_MAX_BYTES);
	rc = files_make(secret, public, &s, e);
	note_vkey_format(&s.key, vkey);
	note_signer_clear(&s);
	if (rc != ERR_OK)
		return rc;
	if (c->json)
		return ctl_json_print(json_pack("{s:o, s:o, s:o, s:s}", "name", ctl_json_text(name, strlen(name)), "secret",
		                                ctl_json_text(secret, strlen(secret)), "public",
		                                ctl_json_text(public, strlen(public)), "vkey", vkey), e);
	printf("%s\n", vkey);
	ctl_say(c, "secret key in %s (mode 600, no password: keep it offline), public key in %s", ctl_str(secret),
	        ctl_str(public));
	return ERR_OK;
}

const struct ctl_command cmd_keygen = {
	.name = "keygen",
	.args = "NAME [-o FILE]",
	.help = "make an Ed25519 key for signing models or trust",
	.min_args = 1,
	.max_args = 1,
	.kind = CTL_WORD,
	.opts = opts,
	.run = keygen_run,
};
