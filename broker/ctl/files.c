/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of the command: see files.h.
 *
 * A secret key file is text, mode 0600:
 *   # any number of lines that begin with '#'
 *   PRIVATE+KEY+<name>+<hash>+<base64>       Go's x/mod sumdb/note form of an Ed25519 signing key
 * A public key file is the same with a verifier key (vkey) in the place of the secret one.
 *
 * Side: cli. Trusts: nothing in a file. Owns: nothing.
 */
#include "broker/ctl/files.h"

#include "broker/trust/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEY_FILE_MAX_BYTES 4096
#define HASH_PIECE_BYTES ((size_t)1 << 20)

uint64_t now_unix(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec;
}

uint64_t clock_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- progress ------------------------------------------------------------------------------------ */

#define BAR_CELLS 30

void progress_begin(struct progress *p, const struct ctl *c, const char *what, uint64_t total)
{
	*p = (struct progress){ .what = what, .total = total, .start_ms = clock_ms() };
	p->on = !c->quiet && !c->json && total > 0 && isatty(STDERR_FILENO);
}

void progress_step(struct progress *p, uint64_t done)
{
	uint64_t now = p->on ? clock_ms() : 0;
	if (!p->on || now - p->start_ms < 1000 || now - p->drawn_ms < 100)
		return;
	unsigned full = (unsigned)((double)done / (double)p->total * BAR_CELLS);
	full = full > BAR_CELLS ? BAR_CELLS : full;
	fprintf(stderr, "\r%s [%.*s%.*s] %s of %s", p->what, (int)full, "##############################",
	        (int)(BAR_CELLS - full), "..............................", ctl_bytes(done), ctl_bytes(p->total));
	p->drawn_ms = now;
	p->drawn = true;
}

void progress_end(struct progress *p)
{
	if (p->drawn)
		fprintf(stderr, "\r\033[K");
	p->on = false;
}

/* --- files ------------------------------------------------------------------------------------------ */

int file_open(const char *path, int *fd, uint64_t *bytes, struct err *e)
{
	struct stat st;
	/* O_NONBLOCK: opening a FIFO must not wait for its writer; it is refused below. */
	int f = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f < 0)
		return err_set(e, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO, "%s: %s", ctl_str(path),
		               strerror(errno));
	if (fstat(f, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(f);
		return err_set(e, ERR_INPUT, "%s: not a regular file", ctl_str(path));
	}
	*fd = f;
	if (bytes)
		*bytes = (uint64_t)st.st_size;
	return ERR_OK;
}

int file_hash(const struct ctl *c, int fd, const char *shown, uint64_t total, uint8_t sha256[HASH_BYTES],
              uint64_t *bytes, struct err *e)
{
	struct hash *h = hash_new();
	uint8_t *buf = malloc(HASH_PIECE_BYTES);
	struct progress bar;
	uint64_t done = 0;
	ssize_t n = 0;
	if (!h || !buf) {
		hash_free(h);
		free(buf);
		return err_set(e, ERR_NOMEM, "no memory to hash");
	}
	progress_begin(&bar, c, "hashing", total);
	while ((n = pread(fd, buf, HASH_PIECE_BYTES, (off_t)done)) > 0 || (n < 0 && errno == EINTR)) {
		hash_add(h, buf, n > 0 ? (size_t)n : 0);
		done += n > 0 ? (uint64_t)n : 0;
		progress_step(&bar, done);
	}
	int saved = errno;
	progress_end(&bar);
	hash_end(h, sha256);
	hash_free(h);
	free(buf);
	*bytes = done;
	return n < 0 ? err_set(e, ERR_IO, "%s: %s", shown, strerror(saved)) : ERR_OK;
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

int path_dir(const char *path, char out[PATH_MAX], struct err *e)
{
	const char *slash = strrchr(path, '/');
	int n = !slash ? 1 : slash == path ? 1 : (int)(slash - path);
	if (snprintf(out, PATH_MAX, "%.*s", n, slash ? path : ".") >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "a path is longer than %d bytes", PATH_MAX);
	return ERR_OK;
}

int path_join(const char *dir, const char *name, char out[PATH_MAX], struct err *e)
{
	if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "a path is longer than %d bytes", PATH_MAX);
	return ERR_OK;
}

int dir_make(const char *path, struct err *e)
{
	struct stat st;
	if (mkdir(path, 0777) == 0 || errno == EEXIST) {
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			return ERR_OK;
		return err_set(e, ERR_INPUT, "%s: is not a folder", ctl_str(path));
	}
	return err_set(e, ERR_IO, "%s: %s", ctl_str(path), strerror(errno));
}

/* --- keys -------------------------------------------------------------------------------------------- */

/* The one line that is neither empty nor a remark; NULL when there are none or several. */
static char *key_line(char *text)
{
	char *found = NULL, *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '#' || line[0] == 0)
			continue;
		if (found)
			return NULL;
		found = line;
	}
	return found;
}

static int key_mode_check(const char *path, struct err *e)
{
	struct stat st;
	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
		return err_set(e, ERR_CONFIG, "%s: others can read this secret key: chmod 600 it, and consider it known",
		               ctl_str(path));
	return ERR_OK;
}

int key_load(const char *path, struct note_signer *out, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = key_mode_check(path, e);
	if (rc == ERR_OK)
		rc = trust_file_read(path, KEY_FILE_MAX_BYTES, &text, &len, e);
	if (rc != ERR_OK)
		return rc;
	char *line = strlen(text) == len ? key_line(text) : NULL;
	rc = line ? note_skey_parse(line, strlen(line), out, e)
	          : err_set(e, ERR_CONFIG, "not a key file of `fumehood keygen`");
	if (rc != ERR_OK)
		err_prefix(e, "%s", ctl_str(path));
	sodium_memzero(text, len);
	free(text);
	return rc;
}

int key_public(const char *given, struct note_key *out, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	struct err plain;
	struct note_signer s;
	if (note_vkey_parse(given, strlen(given), out, &plain) == ERR_OK)
		return ERR_OK;
	int rc = trust_file_read(given, KEY_FILE_MAX_BYTES, &text, &len, e);
	if (rc != ERR_OK)
		return strchr(given, '+') ? (*e = plain, plain.code) : rc;
	char *line = strlen(text) == len ? key_line(text) : NULL;
	if (line && strncmp(line, "PRIVATE+KEY+", 12) == 0) {
		rc = note_skey_parse(line, strlen(line), &s, e);
		if (rc == ERR_OK)
			*out = s.key;
		note_signer_clear(&s);
	} else {
		rc = line ? note_vkey_parse(line, strlen(line), out, e) : err_set(e, ERR_CONFIG, "holds no key");
	}
	if (rc != ERR_OK)
		err_prefix(e, "%s", ctl_str(given));
	sodium_memzero(text, len);
	free(text);
	return rc;
}
