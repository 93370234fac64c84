/* SPDX-License-Identifier: Apache-2.0
 *
 * Models on their way: a client's file into memory, a stored model into memory, a signed one into the
 * store. Each is a job of three functions (begin a file, end a file, end); the copying between them is
 * done in pieces, one a turn of the loop.
 *
 * Side: broker. Trusts: nothing in files. Owns: what is on its way.
 */
#include "broker/models_in.h"
#include "broker/copy.h"
#include "proto/limits.h"
#include "sandbox/sandbox.h"

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
	if (!j || !(j->model = model_alloc())) {
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
	int rc = model_main_file(m->note, &j->main, e);
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
	int rc = models_dir_open(ms->notes_fd, hex, &dir, e);
	if (rc == ERR_OK && fsync(ms->notes_fd) < 0)
		rc = err_set(e, ERR_IO, "store/models: %s", strerror(errno));
	if (rc == ERR_OK)
		rc = tmp_new(ms, f.tmp, &f.to, e);
	if (rc == ERR_OK)
		rc = bytes_write(f.to, n->text, n->text_len, e);
	if (rc == ERR_OK)
		rc = publish(ms, &f, dir, MODELS_STORE_NOTE, e);
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
	models_list_remove(ms, m->digest);
	models_list_insert(ms, model_ref(m));
	return ERR_OK;
}

static const struct job_kind kind_admit = { admit_begin, admit_file_end, admit_end };

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
