/* SPDX-License-Identifier: Apache-2.0
 *
 * The monotonic state: the only file of broker/trust that touches files. Format and rules: trust.h.
 *
 * Power loss between any two lines leaves either the old state or the new one: every file is written
 * beside its place, synced, renamed, and the folder synced. N.note is written before the state that needs
 * it. The broker also writes the trust version into the audit log, where a state file that was put back
 * shows.
 *
 * Side: broker, cli. Trusts: the folder's owner for availability, not for order. Owns: STATE/trust.
 */
#include "broker/trust/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WHAT "trust state"
#define HEADER "fumehood-trust-state/v1"

struct seen {
	char name[TRUST_MODEL_NAME_MAX_BYTES + 1];
	uint64_t version;
	uint8_t root[HASH_BYTES];
	uint8_t keys[LIMIT_NOTE_SIGNATURES][HASH_BYTES];
	size_t n_keys;
};

struct trust_state {
	char dir[PATH_MAX];
	uint64_t version; /* 0: no trust yet */
	uint8_t text_sha256[HASH_BYTES];
	struct seen *seen;
	size_t n_seen, cap_seen;
};

/* --- files --------------------------------------------------------------------------------------- */

int trust_file_read(const char *path, size_t max, char **out, size_t *len, struct err *e)
{
	char shown[200];
	err_escape(shown, sizeof shown, path, strlen(path));
	/* O_NONBLOCK: a FIFO in the file's place must not hang us; it is refused below. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", shown, strerror(errno));
	struct stat st;
	char *buf = NULL;
	size_t got = 0, cap = 0;
	int rc = ERR_OK;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		rc = err_set(e, ERR_IO, "%s: not a regular file", shown);
	else if (st.st_size < 0 || (uint64_t)st.st_size > max)
		rc = err_set(e, ERR_LIMIT, "%s: %lld bytes is above the limit of %zu", shown, (long long)st.st_size, max);
	else if (!(buf = malloc((cap = (size_t)st.st_size + 1))))
		rc = err_set(e, ERR_NOMEM, "%s: no memory", shown);
	while (rc == ERR_OK && got < cap) {
		ssize_t n = read(fd, buf + got, cap - got);
		if (n < 0 && errno != EINTR)
			rc = err_set(e, ERR_IO, "%s: %s", shown, strerror(errno));
		if (n == 0)
			break;
		got += n > 0 ? (size_t)n : 0;
	}
	if (rc == ERR_OK && got == cap)
		rc = err_set(e, ERR_IO, "%s: it grew while it was read", shown);
	close(fd);
	if (rc != ERR_OK) {
		free(buf);
		return rc;
	}
	buf[got] = 0;
	*out = buf;
	*len = got;
	return ERR_OK;
}

static int dir_sync(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	if (n >= sizeof dir)
		return -1;
	memcpy(dir, path, n);
	dir[n] = 0;
	int fd = open(!slash ? "." : n ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int all_write(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno != EINTR)
			return -1;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Calls that the broker's wall allows: openat, write, fsync, renameat2 (glibc's function of this name calls
 * renameat when there are no flags), unlinkat, getrandom. */
int trust_file_write(const char *path, const void *bytes, size_t len, unsigned mode, struct err *e)
{
	char tmp[PATH_MAX], shown[200];
	err_escape(shown, sizeof shown, path, strlen(path));
	if ((size_t)snprintf(tmp, sizeof tmp, "%s.%08x.tmp", path, randombytes_random()) >= sizeof tmp)
		return err_set(e, ERR_IO, "%s: path is too long", shown);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
	if (fd < 0)
		return err_set(e, ERR_IO, "%s: %s", shown, strerror(errno));
	int bad = all_write(fd, bytes, len) != 0 || fsync(fd) != 0;
	int saved = errno;
	if (close(fd) != 0 && !bad)
		bad = 1, saved = errno;
	if (!bad && syscall(SYS_renameat2, AT_FDCWD, tmp, AT_FDCWD, path, 0) != 0)
		bad = 1, saved = errno;
	if (bad) {
		unlinkat(AT_FDCWD, tmp, 0);
		return err_set(e, ERR_IO, "%s: %s", shown, strerror(saved));
	}
	if (dir_sync(path) != 0)
		return err_set(e, ERR_IO, "%s: cannot sync its folder: %s", shown, strerror(errno));
	return ERR_OK;
}

static int path_make(const struct trust_state *s, const char *name, char out[PATH_MAX], struct err *e)
{
	if ((size_t)snprintf(out, PATH_MAX, "%s/%s", s->dir, name) >= PATH_MAX)
		return err_set(e, ERR_IO, WHAT ": path is too long");
	return ERR_OK;
}

/* --- the state file ---------------------------------------------------------------------------------- */

static struct seen *seen_find(const struct trust_state *s, const char *name)
{
	for (size_t i = 0; i < s->n_seen; i++)
		if (strcmp(s->seen[i].name, name) == 0)
			return &s->seen[i];
	return NULL;
}

static struct seen *seen_add(struct trust_state *s)
{
	if (s->n_seen == s->cap_seen) {
		size_t cap = s->cap_seen ? s->cap_seen * 2 : 16;
		struct seen *p = realloc(s->seen, cap * sizeof *p);
		if (!p)
			return NULL;
		s->seen = p;
		s->cap_seen = cap;
	}
	memset(&s->seen[s->n_seen], 0, sizeof s->seen[0]);
	return &s->seen[s->n_seen++];
}

static int on_trust(void *into, struct field rest, struct err *e)
{
	struct trust_state *s = into;
	struct field number, digest;
	if (!field_next(&rest, &number) || !field_u64(number, &s->version) || s->version == 0 ||
	    !field_last(&rest, &digest) || !field_sha256(digest, s->text_sha256))
		return err_set(e, ERR_SIGNATURE, "want: N sha256:HEX");
	return ERR_OK;
}

static bool keys_read(struct field list, struct seen *m)
{
	for (bool more = true; more; m->n_keys++) {
		const char *comma = memchr(list.p, ',', list.len);
		struct field one = { list.p, comma ? (size_t)(comma - list.p) : list.len };
		if (m->n_keys == LIMIT_NOTE_SIGNATURES || !field_hex(one, m->keys[m->n_keys]))
			return false;
		more = comma != NULL;
		if (more)
			list = (struct field){ comma + 1, list.len - one.len - 1 };
	}
	return true;
}

static int on_model(void *into, struct field rest, struct err *e)
{
	struct trust_state *s = into;
	struct field name, number, root, by, keys;
	char shown[TRUST_MODEL_NAME_MAX_BYTES + 1];
	if (!field_next(&rest, &name) || !model_name_is_ok(name.p, name.len) ||
	    !field_copy(name, shown, sizeof shown) || seen_find(s, shown))
		return err_set(e, ERR_SIGNATURE, "no name, or one that stands twice");
	struct seen *m = seen_add(s);
	if (!m)
		return err_set(e, ERR_NOMEM, "no memory");
	memcpy(m->name, shown, sizeof m->name);
	if (!field_next(&rest, &number) || !field_u64(number, &m->version) || !field_next(&rest, &root) ||
	    !field_sha256(root, m->root) || !field_next(&rest, &by) || !field_is(by, "by") ||
	    !field_last(&rest, &keys) || !keys_read(keys, m))
		return err_set(e, ERR_SIGNATURE, "want: NAME N sha256:ROOT by HEX,HEX");
	return ERR_OK;
}

static const struct line_rule state_rules[] = {
	{ "trust", 0, 1, on_trust },
	{ "model", 0, LIMIT_TRUST_MODELS, on_model },
};

int trust_state_load(const char *dir, struct trust_state **out, struct err *e)
{
	struct trust_state *s = calloc(1, sizeof *s);
	char path[PATH_MAX], *text = NULL;
	size_t len = 0;
	int rc;
	if (!s)
		return err_set(e, ERR_NOMEM, WHAT ": no memory");
	if ((size_t)snprintf(s->dir, sizeof s->dir, "%s", dir) >= sizeof s->dir) {
		rc = err_set(e, ERR_IO, WHAT ": path is too long");
		goto out;
	}
	if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
		rc = err_set(e, ERR_IO, WHAT ": cannot make its folder: %s", strerror(errno));
		goto out;
	}
	if ((rc = path_make(s, "state", path, e)) != ERR_OK)
		goto out;
	rc = trust_file_read(path, LIMIT_TRUST_STATE_BYTES, &text, &len, e);
	if (rc == ERR_NOT_FOUND)
		rc = ERR_OK;
	else if (rc == ERR_OK)
		rc = lines_read(WHAT, HEADER, text, len, state_rules, sizeof state_rules / sizeof state_rules[0], s, e);
	if (rc == ERR_OK) {
		*out = s;
		s = NULL;
	}
out:
	free(text);
	trust_state_free(s);
	return rc;
}

void trust_state_free(struct trust_state *s)
{
	if (s)
		free(s->seen);
	free(s);
}

static void seen_print(FILE *f, const struct seen *m)
{
	char hex[HASH_HEX_BYTES + 1];
	hash_hex(m->root, hex);
	fprintf(f, "model %s %" PRIu64 " sha256:%s by ", m->name, m->version, hex);
	for (size_t k = 0; k < m->n_keys; k++) {
		hash_hex(m->keys[k], hex);
		fprintf(f, "%s%s", k ? "," : "", hex);
	}
	fprintf(f, "\n");
}

static int state_write(const struct trust_state *s, struct err *e)
{
	char path[PATH_MAX], *text = NULL, hex[HASH_HEX_BYTES + 1];
	size_t len = 0;
	int rc = path_make(s, "state", path, e);
	if (rc != ERR_OK)
		return rc;
	FILE *f = open_memstream(&text, &len);
	if (!f)
		return err_set(e, ERR_NOMEM, WHAT ": no memory");
	fprintf(f, HEADER "\n");
	hash_hex(s->text_sha256, hex);
	if (s->version)
		fprintf(f, "trust %" PRIu64 " sha256:%s\n", s->version, hex);
	for (size_t i = 0; i < s->n_seen; i++)
		seen_print(f, &s->seen[i]);
	bool bad = ferror(f);
	if (fclose(f) != 0 || bad)
		rc = err_set(e, ERR_NOMEM, WHAT ": no memory");
	else
		rc = trust_file_write(path, text, len, 0600, e);
	free(text);
	return rc;
}

/* --- trust versions ------------------------------------------------------------------------------------ */

/* Reads DIR/N.note. */
static int step_read(const struct trust_state *s, uint64_t n, uint64_t now, struct trust **out, struct err *e)
{
	char path[PATH_MAX], name[32], *text = NULL;
	size_t len = 0;
	snprintf(name, sizeof name, "%" PRIu64 ".note", n);
	int rc = path_make(s, name, path, e);
	if (rc == ERR_OK)
		rc = trust_file_read(path, LIMIT_TRUST_BYTES, &text, &len, e);
	if (rc == ERR_NOT_FOUND)
		rc = err_set(e, ERR_SIGNATURE, "trust.note: the chain needs %s in the trust folder: put it there", name);
	if (rc == ERR_OK && (rc = trust_parse(text, len, now, out, e)) != ERR_OK)
		err_prefix(e, "%s", name);
	if (rc == ERR_OK && (*out)->version != n) {
		trust_free(*out);
		*out = NULL;
		rc = err_set(e, ERR_SIGNATURE, "%s: holds another version", name);
	}
	free(text);
	return rc;
}

/* Walks from the trust in force to t, one version at a time. */
static int chain_walk(const struct trust_state *s, const struct trust *t, uint64_t now, struct err *e)
{
	struct trust *from = NULL, *next = NULL;
	int rc = step_read(s, s->version, now, &from, e);
	if (rc == ERR_OK && memcmp(from->text_sha256, s->text_sha256, HASH_BYTES) != 0)
		rc = err_set(e, ERR_SIGNATURE, "trust.note: the kept version %" PRIu64 " was changed", s->version);
	while (rc == ERR_OK && from->version + 1 < t->version) {
		rc = step_read(s, from->version + 1, now, &next, e);
		if (rc == ERR_OK)
			rc = trust_step(from, next, now, e);
		if (rc != ERR_OK)
			break;
		trust_free(from);
		from = next;
		next = NULL;
	}
	if (rc == ERR_OK)
		rc = trust_step(from, t, now, e);
	trust_free(from);
	trust_free(next);
	return rc;
}

int trust_state_check(const struct trust_state *s, const struct trust *t, uint64_t now, struct err *e)
{
	if (s->version == 0)
		return ERR_OK;
	if (t->version < s->version)
		return err_set(e, ERR_SIGNATURE, "trust.note version %" PRIu64 " is older than %" PRIu64 ", which was in "
		               "force here: a rollback is refused", t->version, s->version);
	if (t->version == s->version) {
		if (memcmp(t->text_sha256, s->text_sha256, HASH_BYTES) != 0)
			return err_set(e, ERR_SIGNATURE, "trust.note version %" PRIu64 " differs from the one of this version "
			               "that was in force here", t->version);
		return ERR_OK;
	}
	if (t->version - s->version > LIMIT_TRUST_STEPS)
		return err_set(e, ERR_LIMIT, "trust.note version %" PRIu64 " is more than %d steps after %" PRIu64,
		               t->version, LIMIT_TRUST_STEPS, s->version);
	return chain_walk(s, t, now, e);
}

int trust_state_commit(struct trust_state *s, const struct trust *t, struct err *e)
{
	char path[PATH_MAX], name[32];
	if (s->version == t->version)
		return ERR_OK;
	snprintf(name, sizeof name, "%" PRIu64 ".note", t->version);
	int rc = path_make(s, name, path, e);
	if (rc == ERR_OK)
		rc = trust_file_write(path, t->text, t->text_len, 0600, e);
	if (rc != ERR_OK)
		return rc;
	struct trust_state was = *s;
	s->version = t->version;
	memcpy(s->text_sha256, t->text_sha256, HASH_BYTES);
	if ((rc = state_write(s, e)) != ERR_OK)
		*s = was;
	return rc;
}

/* --- model versions ------------------------------------------------------------------------------------ */

/* Says whether the keys that made this line would still be enough. */
static bool seen_counts(const struct seen *m, const struct trust *t, uint64_t now)
{
	uint64_t set = 0;
	for (size_t i = 0; i < t->n_signers; i++)
		for (size_t k = 0; k < m->n_keys; k++)
			if (memcmp(t->signers[i].pk_sha256, m->keys[k], HASH_BYTES) == 0 &&
			    !trust_key_denial(t, m->keys[k], now))
				set |= UINT64_C(1) << i;
	return trust_roles_met(t, m->name, set, NULL);
}

int trust_state_check_model(const struct trust_state *s, const struct trust *t, const struct model_note *m,
                            uint64_t now, struct err *e)
{
	const struct seen *seen = seen_find(s, m->name);
	if (!seen || !seen_counts(seen, t, now))
		return ERR_OK;
	if (m->version < seen->version)
		return err_set(e, ERR_SIGNATURE, "model %s version %" PRIu64 " is older than %" PRIu64 ", which was used "
		               "here: a rollback is refused", m->name, m->version, seen->version);
	if (m->version == seen->version && memcmp(m->root, seen->root, HASH_BYTES) != 0)
		return err_set(e, ERR_SIGNATURE, "model %s version %" PRIu64 " has other files than the one of this "
		               "version that was used here", m->name, m->version);
	return ERR_OK;
}

int trust_state_commit_model(struct trust_state *s, const struct model_note *m, const struct model_vouch *v,
                             struct err *e)
{
	struct seen *seen = seen_find(s, m->name), was = { .version = 0 };
	bool is_new = !seen;
	if (seen && seen->version == m->version && memcmp(seen->root, m->root, HASH_BYTES) == 0 &&
	    seen->n_keys == v->n_signers && memcmp(seen->keys, v->keys, v->n_signers * HASH_BYTES) == 0)
		return ERR_OK;
	if (is_new && s->n_seen == LIMIT_TRUST_MODELS)
		return err_set(e, ERR_LIMIT, WHAT ": more than %d models", LIMIT_TRUST_MODELS);
	if (is_new && !(seen = seen_add(s)))
		return err_set(e, ERR_NOMEM, WHAT ": no memory");
	was = *seen;
	memcpy(seen->name, m->name, sizeof seen->name);
	seen->version = m->version;
	memcpy(seen->root, m->root, HASH_BYTES);
	memcpy(seen->keys, v->keys, sizeof seen->keys);
	seen->n_keys = v->n_signers;
	int rc = state_write(s, e);
	if (rc != ERR_OK) { /* what is not on disk is not known */
		*seen = was;
		s->n_seen -= is_new;
	}
	return rc;
}

/* --- start ----------------------------------------------------------------------------------------------- */

/* freshness.note in the folder of trust.note. */
static int fresh_read(const char *trust_path, char **out, size_t *len, struct err *e)
{
	char path[PATH_MAX];
	const char *slash = strrchr(trust_path, '/');
	int n = slash ? (int)(slash - trust_path) + 1 : 0;
	if ((size_t)snprintf(path, sizeof path, "%.*sfreshness.note", n, trust_path) >= sizeof path)
		return err_set(e, ERR_IO, "freshness.note: path is too long");
	int rc = trust_file_read(path, LIMIT_TRUST_BYTES, out, len, e);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

int trust_open(const char *trust_path, struct trust_state *s, uint64_t now, struct trust **out, struct err *e)
{
	char *text = NULL, *fresh = NULL;
	size_t len = 0, fresh_len = 0;
	struct trust *t = NULL;
	int rc = trust_file_read(trust_path, LIMIT_TRUST_BYTES, &text, &len, e);
	*out = NULL;
	if (rc == ERR_NOT_FOUND)
		return s->version == 0 ? ERR_OK
		                       : err_set(e, ERR_NOT_FOUND, "trust.note version %" PRIu64 " was in force and is gone: "
		                                 "put it back", s->version);
	if (rc == ERR_OK)
		rc = fresh_read(trust_path, &fresh, &fresh_len, e);
	if (rc == ERR_OK && (rc = trust_load(text, len, fresh, fresh_len, now, &t, e)) == ERR_OK &&
	    (rc = trust_state_check(s, t, now, e)) == ERR_OK && (rc = trust_state_commit(s, t, e)) == ERR_OK) {
		*out = t;
		t = NULL;
	}
	trust_free(t);
	free(text);
	free(fresh);
	return rc;
}
