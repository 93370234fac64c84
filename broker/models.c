/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: see models.h.
 *
 * Side: broker. Trusts: nothing in files. Owns: the store, the sealed copies.
 */
#include "broker/models.h"
#include "broker/copy.h"
#include "proto/limits.h"
#include "sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TURN_BYTES MIB(4)          /* of copying between two looks at other peers: some milliseconds */
#define MEMORY_RESERVE_BYTES MIB(64)
#define STORE_NOTE "model.note"

struct models {
	struct loop *loop;
	int proc_fd, files_fd, notes_fd, tmp_fd;
	const struct trust *trust;
	struct trust_state *state;
	struct model *first;
	uint64_t n_tmp;                /* names of temporary files */
	struct models_job *jobs;
};

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

static struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof *m);
	if (m) {
		m->refs = 1;
		m->fd = -1;
	}
	return m;
}

/* The file of a note that a worker gets: the only one, or the only one with a model format's suffix. */
static int main_file(const struct model_note *n, size_t *out, struct err *e)
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

static int model_from_note(struct model_note *note, struct model **out, struct err *e)
{
	size_t main;
	int rc = main_file(note, &main, e);
	if (rc != ERR_OK)
		return rc;
	struct model *m = model_new();
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

static int dir_open(int at, const char *name, int *fd, struct err *e)
{
	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return err_set(e, ERR_IO, "making the folder %s: %s", name, strerror(errno));
	*fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd >= 0 ? ERR_OK : err_set(e, ERR_IO, "opening the folder %s: %s", name, strerror(errno));
}

/* Newest version of a name first, names in the order of the alphabet. */
static void list_insert(struct models *ms, struct model *m)
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
static void list_remove(struct models *ms, const uint8_t digest[HASH_BYTES])
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
	int rc = ERR_OK, fd = openat(dir, STORE_NOTE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	*text = NULL;
	if (fd < 0 || fstat(fd, &st) < 0)
		rc = err_set(e, ERR_IO, "%s: %s", STORE_NOTE, strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > LIMIT_NOTE_BYTES)
		rc = err_set(e, ERR_LIMIT, "%s: no regular file of at most %" PRIu64 " bytes", STORE_NOTE, LIMIT_NOTE_BYTES);
	else if (!(*text = malloc((size_t)st.st_size)))
		rc = err_set(e, ERR_NOMEM, "no memory for a note");
	for (*len = 0; rc == ERR_OK && *len < (size_t)st.st_size;) {
		ssize_t n = read(fd, *text + *len, (size_t)st.st_size - *len);
		if (n <= 0)
			rc = err_set(e, ERR_IO, "%s: %s", STORE_NOTE, n < 0 ? strerror(errno) : "cut");
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
		list_insert(ms, m);
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
	int rc = dir_open(state_fd, "store", &store, e);
	if (rc == ERR_OK)
		rc = dir_open(store, "files", &ms->files_fd, e);
	if (rc == ERR_OK)
		rc = dir_open(store, "models", &ms->notes_fd, e);
	if (rc == ERR_OK)
		rc = dir_open(store, "tmp", &ms->tmp_fd, e);
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

/* --- work in pieces ---------------------------------------------------------------------------------- */

struct job_file {
	int from, to;
	char tmp[24];                    /* name in store/tmp, "" for none */
	uint8_t sha256[HASH_BYTES];
};

struct job_kind {
	/* Opens what file i needs: from, to, the largest size. */
	int (*file_begin)(struct models_job *j, struct job_file *f, uint64_t *max_bytes, struct err *e);
	/* The file is copied and its digest known. */
	int (*file_end)(struct models_job *j, struct job_file *f, struct err *e);
	/* All files are. Leaves the result in j->model. */
	int (*end)(struct models_job *j, struct err *e);
};

struct models_job {
	struct models *ms;
	const struct job_kind *kind;
	struct loop_task task;
	struct copy copy;
	bool is_copying;
	struct job_file files[LIMIT_MODEL_FILES];
	size_t n_files, i;
	size_t main;                     /* the file that a worker gets */
	struct model *model;
	models_done done;
	void *arg;
	struct models_job *prev, *next;
};

static void file_close(struct models_job *j, struct job_file *f)
{
	if (f->from >= 0)
		close(f->from);
	if (f->to >= 0)
		close(f->to);
	if (*f->tmp)
		unlinkat(j->ms->tmp_fd, f->tmp, 0);
	f->from = f->to = -1;
	*f->tmp = 0;
}

static void job_free(struct models_job *j)
{
	loop_never(j->ms->loop, &j->task);
	copy_clear(&j->copy);
	for (size_t i = 0; i < j->n_files; i++)
		file_close(j, &j->files[i]);
	model_unref(j->model);
	*(j->prev ? &j->prev->next : &j->ms->jobs) = j->next;
	if (j->next)
		j->next->prev = j->prev;
	free(j);
}

void models_job_cancel(struct models_job *j)
{
	if (j)
		job_free(j);
}

static void job_end(struct models_job *j, int rc, const struct err *e)
{
	models_done done = j->done;
	void *arg = j->arg;
	struct model *m = rc == ERR_OK ? model_ref(j->model) : NULL;
	job_free(j);
	done(arg, rc, e, m);
}

/* One piece of one file. 1: all is done. */
static int job_step(struct models_job *j, struct err *e)
{
	struct job_file *f = &j->files[j->i];
	uint64_t max_bytes;
	if (!j->is_copying) {
		int rc = j->kind->file_begin(j, f, &max_bytes, e);
		if (rc == ERR_OK)
			rc = copy_begin(&j->copy, f->from, f->to, max_bytes, e);
		j->is_copying = rc == ERR_OK;
		return rc;
	}
	int rc = copy_step(&j->copy, TURN_BYTES, f->sha256, e);
	if (rc != 1)
		return rc;
	rc = j->kind->file_end(j, f, e);
	copy_clear(&j->copy);
	j->is_copying = false;
	if (rc != ERR_OK || ++j->i < j->n_files)
		return rc;
	rc = j->kind->end(j, e);
	return rc == ERR_OK ? 1 : rc;
}

static void job_turn(void *arg)
{
	struct models_job *j = arg;
	struct err e = { 0 };
	int rc = job_step(j, &e);
	if (rc == 0)
		loop_later(j->ms->loop, &j->task);
	else
		job_end(j, rc > 0 ? ERR_OK : rc, &e);
}

static struct models_job *job_new(struct models *ms, const struct job_kind *kind, models_done done, void *arg)
{
	struct models_job *j = calloc(1, sizeof *j);
	if (!j)
		return NULL;
	*j = (struct models_job){ .ms = ms, .kind = kind, .task = { .fn = job_turn, .arg = j }, .done = done,
	                          .arg = arg, .next = ms->jobs };
	for (size_t i = 0; i < LIMIT_MODEL_FILES; i++)
		j->files[i].from = j->files[i].to = -1;
	if (ms->jobs)
		ms->jobs->prev = j;
	ms->jobs = j;
	return j;
}

/* --- a sealed copy in memory ------------------------------------------------------------------------- */

/* MemAvailable of the kernel: a copy that does not fit would be ended by the kernel, and us with it. */
uint64_t models_memory_available(int proc_fd)
{
	char buf[1024], *at;
	unsigned long long kib = 0;
	int fd = openat(proc_fd, "meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, sizeof buf - 1) : -1;
	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = 0;
	at = strstr(buf, "MemAvailable:");
	if (!at || sscanf(at + 13, "%llu", &kib) != 1)
		return UINT64_MAX; /* no /proc/meminfo: the copy itself will say ENOMEM */
	return (uint64_t)kib << 10;
}

static int memory_begin(struct models_job *j, struct job_file *f, uint64_t *max_bytes, struct err *e)
{
	struct stat st;
	uint64_t have = models_memory_available(j->ms->proc_fd);
	*max_bytes = LIMIT_MODEL_BYTES;
	if (fstat(f->from, &st) == 0 && st.st_size > 0 && have != UINT64_MAX &&
	    (uint64_t)st.st_size > (have > MEMORY_RESERVE_BYTES ? have - MEMORY_RESERVE_BYTES : 0))
		return err_set(e, ERR_LIMIT, "the model of %" PRIu64 " bytes does not fit into memory: %" PRIu64
		               " bytes are available", (uint64_t)st.st_size, have);
	return memfd_model_new(&f->to, e);
}

/* --- open: a client's own file ------------------------------------------------------------------------ */

static int open_end(struct models_job *j, struct err *e)
{
	struct job_file *f = &j->files[0];
	struct model *m = j->model;
	struct hash_file one = { "model", 5, { 0 } };
	memcpy(one.sha256, f->sha256, HASH_BYTES);
	int rc = hash_oms_root(&one, 1, m->digest, e); /* of one file: its name does not matter */
	if (rc == ERR_OK)
		rc = memfd_seal(f->to, e);
	if (rc != ERR_OK)
		return rc;
	memcpy(m->file_sha256, f->sha256, HASH_BYTES);
	m->bytes = m->total_bytes = j->copy.bytes;
	m->fd = f->to;
	f->to = -1;
	return ERR_OK;
}

static int nothing(struct models_job *j, struct job_file *f, struct err *e)
{
	(void)j, (void)f, (void)e;
	return ERR_OK;
}

static const struct job_kind kind_open = { memory_begin, nothing, open_end };

int models_open(struct models *ms, int fd, const char *file_name, models_done done, void *arg,
                struct models_job **out, struct err *e)
{
	struct models_job *j = job_new(ms, &kind_open, done, arg);
	if (!j || !(j->model = model_new())) {
		close(fd);
		models_job_cancel(j);
		return err_set(e, ERR_NOMEM, "no memory to open a model");
	}
	j->model->is_unsigned = j->model->has_one_file = true;
	err_escape(j->model->label, sizeof j->model->label, file_name, strlen(file_name));
	j->files[0].from = fd;
	j->n_files = 1;
	loop_later(ms->loop, &j->task);
	*out = j;
	return ERR_OK;
}

/* --- files that a note speaks of ------------------------------------------------------------------------ */

static int not_signed(const struct models_job *j, uint64_t bytes, const char *hex, struct err *e)
{
	const struct model_note *n = j->model->note;
	const struct model_file *want = &n->files[j->i];
	char want_hex[HASH_HEX_BYTES + 1], path[160];
	hash_hex(want->sha256, want_hex);
	return err_set(e, ERR_DIGEST, "%s: file %s is not what was signed: %" PRIu64 " bytes%s%s, the note says %" PRIu64
	               " bytes sha256:%s", j->model->label, err_escape(path, sizeof path, want->path, strlen(want->path)),
	               bytes, hex ? " sha256:" : "", hex ? hex : "", want->bytes, want_hex);
}

/* A file of another size need not be read. */
static int size_compare(const struct models_job *j, int fd, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size != j->model->note->files[j->i].bytes)
		return not_signed(j, (uint64_t)st.st_size, NULL, e);
	return ERR_OK;
}

static int file_compare(const struct models_job *j, const struct job_file *f, struct err *e)
{
	const struct model_file *want = &j->model->note->files[j->i];
	char hex[HASH_HEX_BYTES + 1];
	if (j->copy.bytes == want->bytes && !memcmp(f->sha256, want->sha256, HASH_BYTES))
		return ERR_OK;
	hash_hex(f->sha256, hex);
	return not_signed(j, j->copy.bytes, hex, e);
}

/* --- fetch: from the store into memory ---------------------------------------------------------------- */

static int fetch_begin(struct models_job *j, struct job_file *f, uint64_t *max_bytes, struct err *e)
{
	char hex[HASH_HEX_BYTES + 1];
	const struct model_file *want = &j->model->note->files[j->i];
	hash_hex(want->sha256, hex);
	f->from = openat(j->ms->files_fd, hex, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (f->from < 0)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "store/files/%s of %s: %s: admit the model "
		               "again", hex, j->model->label, strerror(errno));
	int rc = size_compare(j, f->from, e);
	if (rc == ERR_OK && j->i == j->main)
		rc = memory_begin(j, f, max_bytes, e);
	else
		*max_bytes = LIMIT_MODEL_BYTES;
	return rc;
}

static int fetch_file_end(struct models_job *j, struct job_file *f, struct err *e)
{
	return file_compare(j, f, e);
}

/* The root follows from digests that were compared one by one; it was recomputed when the note was read. */
static int fetch_end(struct models_job *j, struct err *e)
{
	struct job_file *f = &j->files[j->main];
	int rc = memfd_seal(f->to, e);
	if (rc != ERR_OK)
		return rc;
	if (j->model->fd < 0) {
		j->model->fd = f->to;
		f->to = -1;
	}
	return ERR_OK;
}

static const struct job_kind kind_fetch = { fetch_begin, fetch_file_end, fetch_end };

int models_fetch(struct models *ms, struct model *m, models_done done, void *arg, struct models_job **out,
                 struct err *e)
{
	struct models_job *j = job_new(ms, &kind_fetch, done, arg);
	if (!j)
		return err_set(e, ERR_NOMEM, "no memory to load a model");
	j->model = model_ref(m);
	j->n_files = m->note->n_files;
	int rc = main_file(m->note, &j->main, e);
	if (rc != ERR_OK) {
		job_free(j);
		return rc;
	}
	loop_later(ms->loop, &j->task);
	*out = j;
	return ERR_OK;
}

/* --- admit: into the store --------------------------------------------------------------------------- */

static int tmp_new(struct models *ms, char name[24], int *fd, struct err *e)
{
	snprintf(name, 24, "%" PRIu64, ms->n_tmp++);
	*fd = openat(ms->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*fd >= 0)
		return ERR_OK;
	*name = 0;
	return err_set(e, ERR_IO, "store/tmp: %s", strerror(errno));
}

static int admit_begin(struct models_job *j, struct job_file *f, uint64_t *max_bytes, struct err *e)
{
	*max_bytes = LIMIT_MODEL_BYTES;
	int rc = size_compare(j, f->from, e);
	return rc == ERR_OK ? tmp_new(j->ms, f->tmp, &f->to, e) : rc;
}

/* Makes a temporary file visible under its name in dir, durably. */
static int publish(struct models *ms, struct job_file *f, int dir, const char *name, struct err *e)
{
	/* Not glibc's renameat2: without flags that calls renameat, which the wall does not allow. */
	if (fsync(f->to) < 0 || syscall(SYS_renameat2, ms->tmp_fd, f->tmp, dir, name, 0) < 0)
		return err_set(e, ERR_IO, "store: %s: %s", name, strerror(errno));
	*f->tmp = 0;
	return fsync(dir) < 0 ? err_set(e, ERR_IO, "store: %s", strerror(errno)) : ERR_OK;
}

static int admit_file_end(struct models_job *j, struct job_file *f, struct err *e)
{
	char hex[HASH_HEX_BYTES + 1];
	int rc = file_compare(j, f, e);
	if (rc != ERR_OK)
		return rc;
	hash_hex(f->sha256, hex);
	rc = publish(j->ms, f, j->ms->files_fd, hex, e);
	file_close(j, f);
	return rc;
}

static int bytes_write(int fd, const char *p, size_t n, struct err *e)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k <= 0)
			return err_set(e, ERR_IO, "store: writing a note: %s", strerror(k < 0 ? errno : ENOSPC));
		p += k;
		n -= (size_t)k;
	}
	return ERR_OK;
}

static int note_store(struct models *ms, const struct model_note *n, struct err *e)
{
	char hex[HASH_HEX_BYTES + 1];
	struct job_file f = { .from = -1, .to = -1 };
	int dir = -1;
	hash_hex(n->root, hex);
	int rc = dir_open(ms->notes_fd, hex, &dir, e);
	if (rc == ERR_OK && fsync(ms->notes_fd) < 0)
		rc = err_set(e, ERR_IO, "store/models: %s", strerror(errno));
	if (rc == ERR_OK)
		rc = tmp_new(ms, f.tmp, &f.to, e);
	if (rc == ERR_OK)
		rc = bytes_write(f.to, n->text, n->text_len, e);
	if (rc == ERR_OK)
		rc = publish(ms, &f, dir, STORE_NOTE, e);
	if (*f.tmp)
		unlinkat(ms->tmp_fd, f.tmp, 0);
	if (f.to >= 0)
		close(f.to);
	if (dir >= 0)
		close(dir);
	return rc;
}

/* Monotonic state first, the note last: what is visible is complete and remembered. */
static int admit_end(struct models_job *j, struct err *e)
{
	struct models *ms = j->ms;
	struct model *m = j->model;
	int rc = trust_state_commit_model(ms->state, m->note, &m->vouch, e);
	if (rc == ERR_OK)
		rc = note_store(ms, m->note, e);
	if (rc != ERR_OK)
		return rc;
	list_remove(ms, m->digest);
	list_insert(ms, model_ref(m));
	return ERR_OK;
}

static const struct job_kind kind_admit = { admit_begin, admit_file_end, admit_end };

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

int models_admit(struct models *ms, struct model *m, const int *fds, unsigned n_fds, models_done done, void *arg,
                 struct models_job **out, struct err *e)
{
	struct models_job *j = job_new(ms, &kind_admit, done, arg);
	if (!j) {
		for (unsigned i = 0; i < n_fds; i++)
			close(fds[i]);
		return err_set(e, ERR_NOMEM, "no memory to admit a model");
	}
	j->model = model_ref(m);
	j->n_files = n_fds;
	for (unsigned i = 0; i < n_fds; i++)
		j->files[i].from = fds[i];
	loop_later(ms->loop, &j->task);
	*out = j;
	return ERR_OK;
}
