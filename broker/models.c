/* SPDX-License-Identifier: Apache-2.0
 *
 * The store and the list of admitted models: see models.h. Copying is in models_job.c.
 *
 * Side: broker. Trusts: nothing in files. Owns: the store.
 */
#include "broker/models_in.h"
#include "proto/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- one model ------------------------------------------------------------------------------------- */

struct model *model_ref(struct model *m)
{
	m->refs++;
	return m;
}

void model_unref(struct model *m)
{
	if (!m || --m->refs)
		return;
	if (m->fd >= 0)
		close(m->fd);
	model_note_free(m->note);
	free(m);
}

struct model *model_alloc(void)
{
	struct model *m = calloc(1, sizeof *m);
	if (m) {
		m->refs = 1;
		m->fd = -1;
	}
	return m;
}

/* The file of a note that a worker gets: the only one, or the only one with a model format's suffix. */
int model_main_file(const struct model_note *n, size_t *out, struct err *e)
{
	static const char *const suffixes[] = { ".onnx", ".gguf" };
	size_t found = 0, at = 0;
	for (size_t i = 0; i < n->n_files; i++) {
		size_t len = strlen(n->files[i].path);
		for (size_t k = 0; k < sizeof suffixes / sizeof suffixes[0]; k++)
			if (len > 5 && !strcmp(n->files[i].path + len - 5, suffixes[k])) {
				found++;
				at = i;
			}
	}
	*out = n->n_files == 1 ? 0 : at;
	if (n->n_files == 1 || found == 1)
		return ERR_OK;
	return err_set(e, ERR_UNSUPPORTED, "%s@%" PRIu64 " has %zu files, %zu of them named .onnx or .gguf: one is "
	               "needed", n->name, n->version, n->n_files, found);
}

int model_from_note(struct model_note *note, struct model **out, struct err *e)
{
	size_t main;
	int rc = model_main_file(note, &main, e);
	if (rc != ERR_OK)
		return rc;
	struct model *m = model_alloc();
	if (!m)
		return err_set(e, ERR_NOMEM, "no memory for a model");
	m->note = note;
	m->has_one_file = note->n_files == 1;
	m->bytes = note->files[main].bytes;
	memcpy(m->digest, note->root, HASH_BYTES);
	memcpy(m->file_sha256, note->files[main].sha256, HASH_BYTES);
	for (size_t i = 0; i < note->n_files; i++)
		m->total_bytes += note->files[i].bytes;
	snprintf(m->label, sizeof m->label, "%s@%" PRIu64, note->name, note->version);
	*out = m;
	return ERR_OK;
}

/* --- the store ------------------------------------------------------------------------------------- */

int models_dir_open(int at, const char *name, int *fd, struct err *e)
{
	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return err_set(e, ERR_IO, "making the folder %s: %s", name, strerror(errno));
	*fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd >= 0 ? ERR_OK : err_set(e, ERR_IO, "opening the folder %s: %s", name, strerror(errno));
}

/* Newest version of a name first, names in the order of the alphabet. */
void models_list_insert(struct models *ms, struct model *m)
{
	struct model **p = &ms->first;
	while (*p) {
		int c = strcmp((*p)->note->name, m->note->name);
		if (c > 0 || (c == 0 && (*p)->note->version <= m->note->version))
			break;
		p = &(*p)->next;
	}
	m->next = *p;
	*p = m;
}

/* Takes a model with this digest out of the list, if there is one. */
void models_list_remove(struct models *ms, const uint8_t digest[HASH_BYTES])
{
	for (struct model **p = &ms->first; *p; p = &(*p)->next) {
		struct model *m = *p;
		if (memcmp(m->digest, digest, HASH_BYTES))
			continue;
		*p = m->next;
		model_unref(m);
		return;
	}
}

static int note_read(int dir, char **text, size_t *len, struct err *e)
{
	struct stat st;
	int rc = ERR_OK, fd = openat(dir, MODELS_STORE_NOTE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	*text = NULL;
	if (fd < 0 || fstat(fd, &st) < 0)
		rc = err_set(e, ERR_IO, "%s: %s", MODELS_STORE_NOTE, strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > LIMIT_NOTE_BYTES)
		rc = err_set(e, ERR_LIMIT, "%s: no regular file of at most %" PRIu64 " bytes", MODELS_STORE_NOTE, LIMIT_NOTE_BYTES);
	else if (!(*text = malloc((size_t)st.st_size)))
		rc = err_set(e, ERR_NOMEM, "no memory for a note");
	for (*len = 0; rc == ERR_OK && *len < (size_t)st.st_size;) {
		ssize_t n = read(fd, *text + *len, (size_t)st.st_size - *len);
		if (n <= 0)
			rc = err_set(e, ERR_IO, "%s: %s", MODELS_STORE_NOTE, n < 0 ? strerror(errno) : "cut");
		else
			*len += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int stored_read(struct models *ms, const char *hex, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	struct model_note *note = NULL;
	struct model *m = NULL;
	char want[HASH_HEX_BYTES + 1];
	int dir = openat(ms->notes_fd, hex, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int rc = dir < 0 ? err_set(e, ERR_IO, "%s", strerror(errno)) : note_read(dir, &text, &len, e);
	if (rc == ERR_OK)
		rc = model_note_parse(text, len, &note, e);
	if (rc == ERR_OK) {
		hash_hex(note->root, want);
		if (strcmp(want, hex))
			rc = err_set(e, ERR_DIGEST, "the note is for sha256:%s", want);
	}
	if (rc == ERR_OK)
		rc = model_from_note(note, &m, e);
	if (rc == ERR_OK)
		models_list_insert(ms, m);
	else
		model_note_free(note);
	if (dir >= 0)
		close(dir);
	free(text);
	return rc == ERR_OK ? rc : err_prefix(e, "store/models/%s", hex);
}

static bool is_digest(const char *name)
{
	uint8_t raw[HASH_BYTES];
	return hash_from_hex(name, strlen(name), raw, NULL) == ERR_OK;
}

/* Calls fn for each name in a folder. */
static int dir_each(int fd, void (*fn)(void *arg, const char *name), void *arg, struct err *e)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	if (!d) {
		if (copy >= 0)
			close(copy);
		return err_set(e, ERR_IO, "reading the store: %s", strerror(errno));
	}
	for (struct dirent *it; (it = readdir(d));)
		if (strcmp(it->d_name, ".") && strcmp(it->d_name, ".."))
			fn(arg, it->d_name);
	closedir(d);
	return ERR_OK;
}

struct scan {
	struct models *ms;
	unsigned n_bad;
	struct err *e;
};

static void scan_one(void *arg, const char *name)
{
	struct scan *s = arg;
	struct err later;
	if (!is_digest(name))
		return;
	if (stored_read(s->ms, name, s->n_bad ? &later : s->e) != ERR_OK)
		s->n_bad++;
}

static void tmp_remove(void *arg, const char *name)
{
	unlinkat(((struct models *)arg)->tmp_fd, name, 0);
}

int models_new(struct loop *loop, int state_fd, int proc_fd, const struct trust *trust, struct trust_state *ts,
               struct models **out, unsigned *n_skipped, struct err *e)
{
	int store = -1;
	struct models *ms = calloc(1, sizeof *ms);
	if (!ms)
		return err_set(e, ERR_NOMEM, "no memory for the store");
	*ms = (struct models){ .loop = loop, .proc_fd = proc_fd, .files_fd = -1, .notes_fd = -1, .tmp_fd = -1,
	                       .trust = trust, .state = ts };
	struct scan scan = { ms, 0, e };
	int rc = models_dir_open(state_fd, "store", &store, e);
	if (rc == ERR_OK)
		rc = models_dir_open(store, "files", &ms->files_fd, e);
	if (rc == ERR_OK)
		rc = models_dir_open(store, "models", &ms->notes_fd, e);
	if (rc == ERR_OK)
		rc = models_dir_open(store, "tmp", &ms->tmp_fd, e);
	if (rc == ERR_OK)
		rc = dir_each(ms->tmp_fd, tmp_remove, ms, e);
	if (rc == ERR_OK)
		rc = dir_each(ms->notes_fd, scan_one, &scan, e);
	if (store >= 0)
		close(store);
	if (rc != ERR_OK) {
		models_free(ms);
		return rc;
	}
	*n_skipped = scan.n_bad;
	*out = ms;
	return ERR_OK;
}

void models_free(struct models *ms)
{
	if (!ms)
		return;
	while (ms->jobs)
		models_job_cancel(ms->jobs);
	while (ms->first) {
		struct model *m = ms->first;
		ms->first = m->next;
		model_unref(m);
	}
	int fds[] = { ms->files_fd, ms->notes_fd, ms->tmp_fd };
	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(ms);
}

const struct model *models_first(const struct models *ms) { return ms->first; }

/* --- finding, checking ------------------------------------------------------------------------------- */

static bool ref_is(const struct model *m, const char *ref)
{
	char hex[7 + HASH_HEX_BYTES + 1] = "sha256:";
	hash_hex(m->digest, hex + 7);
	return !strcmp(m->note->name, ref) || !strcmp(m->label, ref) || !strcmp(hex, ref);
}

int models_find(struct models *ms, const char *ref, struct model **out, struct err *e)
{
	char shown[160];
	for (struct model *m = ms->first; m; m = m->next)
		if (ref_is(m, ref)) { /* the list is sorted: a bare name finds its newest version */
			*out = model_ref(m);
			return ERR_OK;
		}
	return err_set(e, ERR_NOT_FOUND, "no admitted model \"%s\": fumehood list shows them, fumehood admit "
	               "brings one in", err_escape(shown, sizeof shown, ref, strlen(ref)));
}

static int no_trust(struct err *e)
{
	return err_set(e, ERR_SIGNATURE, "there is no trust.note, so no signer is known here: fumehood trust makes "
	               "one, the configuration's \"trust\" names it");
}

int models_check(struct models *ms, struct model *m, uint64_t now_unix, struct err *e)
{
	if (!ms->trust)
		return no_trust(e);
	int rc = model_note_verify(m->note, ms->trust, now_unix, &m->vouch, e);
	if (rc == ERR_OK)
		rc = trust_state_check_model(ms->state, ms->trust, m->note, now_unix, e);
	return rc;
}

int models_candidate(struct models *ms, const char *text, size_t len, unsigned n_files, uint64_t now_unix,
                     struct model **out, struct err *e)
{
	struct model_note *note;
	struct model *m = NULL;
	int rc = model_note_parse(text, len, &note, e);
	if (rc != ERR_OK)
		return rc;
	if (n_files != note->n_files)
		rc = err_set(e, ERR_INPUT, "%s@%" PRIu64 ": %u files came, the note lists %zu", note->name, note->version,
		             n_files, note->n_files);
	if (rc == ERR_OK)
		rc = model_from_note(note, &m, e);
	if (rc != ERR_OK) {
		model_note_free(note);
		return rc;
	}
	rc = models_check(ms, m, now_unix, e);
	if (rc == ERR_OK)
		*out = m;
	else
		model_unref(m);
	return rc;
}
