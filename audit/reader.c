/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a log: entries in order, one entry with its receipt. See audit.h.
 * Side: cli. Trusts: nothing that it reads. Owns: what audit_log_open made.
 */
#include "audit/log.h"

#include "proto/fumehood.pb-c.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRIES 6
#define TRY_PAUSE_NS 20000000

/* log.vkey: one line. */
static int vkey_load(struct audit_log *l, struct err *e)
{
	uint8_t *text = NULL;
	size_t len = 0;
	int rc = store_load(l->store, LOG_VKEY, 4096, &text, &len, e);
	if (rc == ERR_OK && (len == 0 || text[len - 1] != '\n'))
		rc = err_set(e, ERR_CONFIG, LOG_VKEY " is not one line");
	if (rc == ERR_OK)
		rc = note_vkey_parse((char *)text, len - 1, &l->vkey, e);
	l->has_vkey = rc == ERR_OK;
	free(text);
	return rc;
}

int audit_log_open(const char *path, const struct note_key *key, struct audit_log **out, struct err *e)
{
	char shown[256];
	struct audit_log *l = calloc(1, sizeof *l);
	if (!l)
		return err_set(e, ERR_NOMEM, "log: no memory to open it");
	err_escape(shown, sizeof shown, path, strlen(path));
	l->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = ERR_OK, why = errno;
	if (l->dirfd < 0) {
		rc = err_set(e, why == ENOENT ? ERR_NOT_FOUND : ERR_IO, "log \"%s\": %s", shown, strerror(why));
	} else if (!(l->store = store_posix_new(l->dirfd))) {
		close(l->dirfd);
		rc = err_set(e, ERR_NOMEM, "log: no memory to open it");
	}
	if (rc == ERR_OK) {
		rc = vkey_load(l, e);
		if (key && (rc == ERR_CONFIG || rc == ERR_NOT_FOUND))
			rc = ERR_OK; /* the check will say so */
		else if (rc == ERR_NOT_FOUND)
			rc = err_set(e, rc, "\"%s\" is no log: it has no " LOG_VKEY, shown);
		else if (rc == ERR_CONFIG)
			rc = err_set(e, ERR_LOG, "log \"%s\": " LOG_VKEY " is damaged: name the log's key", shown);
	}
	if (rc != ERR_OK) {
		audit_log_close(l);
		return rc;
	}
	l->is_given = key != NULL;
	l->key = key ? *key : l->vkey;
	*out = l;
	return ERR_OK;
}

void audit_log_close(struct audit_log *l)
{
	if (l)
		store_posix_free(l->store);
	free(l);
}

const struct note_key *audit_log_key(const struct audit_log *l)
{
	return &l->key;
}

/* Newest time of the last two segments: the last one may be a prepared one. */
bool audit_log_has_changed(struct audit_log *l)
{
	char path[SEGMENT_PATH_MAX_BYTES];
	struct stat st;
	uint64_t newest = 0, number = l->last_segment;
	for (;; number++) {
		segment_path(number, path);
		if (fstatat(l->dirfd, path, &st, 0) < 0)
			break;
		uint64_t t = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
		newest = t > newest ? t : newest;
	}
	l->last_segment = number > 2 ? number - 2 : 0;
	bool changed = newest != l->last_written_ns;
	l->last_written_ns = newest;
	return changed;
}

int log_try(log_try_fn *try, void *arg, struct fault *f, struct err *e)
{
	struct fault last = { .kind = FAULT_NONE };
	for (int i = 0;; i++) {
		int rc = try(arg, f, e);
		if (rc != ERR_LOG || f->kind == FAULT_NONE || i == TRIES)
			return rc;
		if (last.kind == f->kind && last.index == f->index && strcmp(last.file, f->file) == 0)
			return rc;
		last = *f;
		if (i > 0)
			(void)nanosleep(&(struct timespec){ .tv_nsec = TRY_PAUSE_NS }, NULL);
	}
}

/* --- each entry ---------------------------------------------------------------------------------- */

struct each {
	struct audit_log *l;
	uint64_t next, size;
	audit_entry_fn *fn;
	void *arg;
};

static int each_entry(void *arg, uint64_t index, const uint8_t *bytes, size_t len,
                      const uint8_t leaf[HASH_BYTES], struct err *e)
{
	struct each *x = arg;
	void *p = NULL;
	(void)leaf;
	x->size = index + 1;
	if (index < x->next)
		return ERR_OK;
	int rc = pb_unpack(&fumehood__entry__descriptor, bytes, len, NULL, &p, e);
	if (rc != ERR_OK)
		return rc;
	x->next = index + 1;
	rc = x->fn(x->arg, index, p, e);
	fumehood__entry__free_unpacked(p, NULL);
	return rc;
}

static int each_try(void *arg, struct fault *f, struct err *e)
{
	struct each *x = arg;
	struct scan_end *end = malloc(sizeof *end);
	struct scan_conf c = { x->l->store, &x->l->key, each_entry, NULL, x };
	x->size = 0;
	int rc = end ? log_scan(&c, end, f, e) : err_set(e, ERR_NOMEM, "log: no memory to read it");
	free(end);
	return rc;
}

int audit_log_each(struct audit_log *l, uint64_t first, audit_entry_fn *fn, void *arg, uint64_t *size,
                   struct err *e)
{
	struct each x = { l, first, 0, fn, arg };
	struct fault f;
	int rc = log_try(each_try, &x, &f, e);
	if (rc == ERR_OK)
		*size = x.size;
	return rc;
}

/* --- one entry with its receipt ---------------------------------------------------------------------- */

struct show {
	struct audit_log *l;
	uint64_t index;
	struct tree_span *span;
	struct audit_shown out;
	struct scan_end *end;
};

static int show_entry(void *arg, uint64_t index, const uint8_t *bytes, size_t len,
                      const uint8_t leaf[HASH_BYTES], struct err *e)
{
	struct show *s = arg;
	if (index == s->index) {
		if (!(s->out.entry = malloc(len + 1)))
			return err_set(e, ERR_NOMEM, "log: no memory for an entry");
		memcpy(s->out.entry, bytes, len);
		s->out.entry_len = len;
	}
	return tree_span_add(s->span, leaf, e);
}

static int show_try(void *arg, struct fault *f, struct err *e)
{
	struct show *s = arg;
	struct tree_front none = { .size = 0 };
	struct scan_conf c = { s->l->store, &s->l->key, show_entry, NULL, s };
	audit_shown_clear(&s->out);
	tree_span_restart(s->span, &none);
	return log_scan(&c, s->end, f, e);
}

int audit_log_show(struct audit_log *l, uint64_t index, struct audit_shown *out, struct err *e)
{
	struct tree_front none = { .size = 0 };
	struct show s = { .l = l, .index = index, .span = tree_span_new(&none), .end = malloc(sizeof *s.end) };
	struct tree_proof proof;
	struct fault f;
	int rc = s.span && s.end ? log_try(show_try, &s, &f, e) : err_set(e, ERR_NOMEM, "log: no memory to read it");
	if (rc == ERR_OK && !s.out.entry)
		rc = err_set(e, ERR_NOT_FOUND, "no entry %llu: the log has %llu", (unsigned long long)index,
		             (unsigned long long)s.end->front.size);
	if (rc == ERR_OK)
		rc = tree_inclusion(s.span, index, s.end->front.size, &proof, e);
	if (rc == ERR_OK)
		rc = receipt_format(index, &proof, s.end->note, s.end->note_len, &s.out.receipt, &s.out.receipt_len, e);
	if (rc == ERR_OK)
		*out = s.out;
	else
		audit_shown_clear(&s.out);
	tree_span_free(s.span);
	free(s.end);
	return rc;
}

void audit_shown_clear(struct audit_shown *s)
{
	free(s->entry);
	free(s->receipt);
	memset(s, 0, sizeof *s);
}
