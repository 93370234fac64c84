/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood audit: what the log says, and whether to believe it.
 *
 *   audit list     one line per record
 *   audit show N   one record whole, with its receipt (a C2SP tlog-proof)
 *   audit verify   checks everything again from the entries; exit status 0 good, 7 bad
 *   audit tail     the last records, then new ones as they come
 *
 * It reads the log's folder; no broker is asked. Text in records came from outside: it is escaped.
 *
 * Side: cli. Trusts: nothing in the log; the key that --vkey names. Owns: the looks.
 */
#include "audit/audit.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/files.h"
#include "proto/b64.h"
#include "proto/fumehood.pb-c.h"
#include "proto/pb.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TAIL_ROWS 10
#define TAIL_PAUSE_NS 200000000

static const struct ctl_opt opts[] = {
	{ "dir", 'd', "DIR", CTL_DIR, false, "the log's folder (default: STATE/log)" },
	{ "vkey", 0, "KEY", CTL_FILE, false, "the log's public key, from elsewhere (a vkey or a file)" },
	{ "kind", 0, "KIND", CTL_WORD, true, "list, tail: only records of this kind (intent, completed, refused, ..)" },
	{ "model", 0, "GLOB", CTL_WORD, true, "list, tail: only records about models like this (NAME@VERSION or sha256:HEX)" },
	{ "code", 0, "CODE", CTL_WORD, true, "list, tail: only records with this code (denied, refused-call, ..)" },
	{ "last", 'n', "N", CTL_WORD, false, "list, tail: only the last N records (tail: 10)" },
	{ "once", 0, NULL, CTL_NONE, false, "tail: do not wait for new records" },
	{ "receipt", 0, "FILE", CTL_FILE, false, "show: write the receipt to a file, its entry to FILE.entry" },
	{ "min-size", 0, "N", CTL_WORD, false, "verify: the log must have at least N entries" },
	{ "checkpoint", 0, "FILE", CTL_FILE, true, "verify: a checkpoint or receipt that the log must agree with" },
	{ "log-state", 0, "DIR", CTL_DIR, false, "verify: where the auditor keeps its memory (default: STATE/log-state)" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

/* --- words ---------------------------------------------------------------------------------------- */

static const char *const kinds[] = {
	[FUMEHOOD__RECORD_KIND__RECORD_NONE] = "none",         [FUMEHOOD__RECORD_KIND__BOOT] = "boot",
	[FUMEHOOD__RECORD_KIND__SHUTDOWN] = "shutdown",        [FUMEHOOD__RECORD_KIND__LOADED] = "loaded",
	[FUMEHOOD__RECORD_KIND__INTENT] = "intent",            [FUMEHOOD__RECORD_KIND__COMPLETED] = "completed",
	[FUMEHOOD__RECORD_KIND__REFUSED] = "refused",          [FUMEHOOD__RECORD_KIND__ADMITTED_MODEL] = "admitted",
	[FUMEHOOD__RECORD_KIND__WORKER_ENDED] = "worker-ended", [FUMEHOOD__RECORD_KIND__PEER_ENDED] = "peer-ended",
	[FUMEHOOD__RECORD_KIND__MODEL_QUARANTINED] = "quarantined",
	[FUMEHOOD__RECORD_KIND__TORN_TAIL] = "torn-tail",
};

static const char *kind_name(unsigned k)
{
	return k < sizeof kinds / sizeof kinds[0] && kinds[k] ? kinds[k] : "unknown";
}

/* "2026-11-25T10:00:00.123Z" */
static const char *time_text(uint64_t wall_ns, char out[40])
{
	time_t t = (time_t)(wall_ns / 1000000000u);
	struct tm tm;
	char day[32];
	if (!gmtime_r(&t, &tm) || !strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(day, sizeof day, "@%" PRIu64, (uint64_t)t);
	snprintf(out, 40, "%.24s.%03uZ", day, (unsigned)(wall_ns / 1000000u % 1000u));
	return out;
}

/* --- one record as JSON ------------------------------------------------------------------------------- */

static void put(json_t *o, const char *key, json_t *v)
{
	if (!v || json_object_set_new(o, key, v) != 0)
		json_object_set_new(o, "incomplete", json_true()); /* no memory: said, not hidden */
}

static void put_text(json_t *o, const char *key, const char *text)
{
	if (text && *text)
		put(o, key, ctl_json_text(text, strlen(text)));
}

static void put_hex(json_t *o, const char *key, ProtobufCBinaryData b)
{
	if (b.len == 0)
		return;
	put(o, key, b.len <= 64 ? ctl_json_hex(b.data, b.len) : ctl_json_text(b.data, b.len));
}

static void put_number(json_t *o, const char *key, uint64_t v)
{
	if (v)
		put(o, key, v <= INT64_MAX ? json_integer((json_int_t)v) : json_sprintf("%" PRIu64, v));
}

static void put_list(json_t *o, const char *key, char *const *items, size_t n)
{
	json_t *a = n ? json_array() : NULL;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, ctl_json_text(items[i], strlen(items[i])));
	if (n)
		put(o, key, a);
}

static json_t *caller_json(const Fumehood__Caller *c)
{
	json_t *o = json_object();
	put_text(o, "principal", c->principal);
	put(o, "uid", json_integer(c->uid));
	put(o, "gid", json_integer(c->gid));
	put_number(o, "pid", c->pid);
	put_text(o, "client", c->client);
	return o;
}

static json_t *decision_json(const Fumehood__Decision *d)
{
	json_t *o = json_object();
	put(o, "allow", json_boolean(d->allow));
	put_list(o, "policies", d->policies, d->n_policies);
	put_list(o, "errors", d->errors, d->n_errors);
	return o;
}

static json_t *worker_end_json(const Fumehood__WorkerEnd *w)
{
	json_t *o = json_object();
	put_text(o, "class", w->end_class);
	put_number(o, "signal", w->signal);
	put_number(o, "exit_code", w->exit_code);
	put_text(o, "detail", w->detail);
	return o;
}

static void record_put(json_t *o, const Fumehood__Record *r)
{
	put(o, "kind", json_string(kind_name(r->kind)));
	put_number(o, "request_id", r->request_id);
	if (r->caller)
		put(o, "caller", caller_json(r->caller));
	put_text(o, "action", r->action);
	put_text(o, "model", r->model);
	if (r->unsigned_model)
		put(o, "unsigned", json_true());
	put_hex(o, "model_digest", r->model_digest);
	put_hex(o, "file_sha256", r->file_sha256);
	put_list(o, "signers", r->signers, r->n_signers);
	if (r->decision)
		put(o, "decision", decision_json(r->decision));
	put_text(o, "code", r->code);
	put_text(o, "text", r->text);
	if (r->worker_end)
		put(o, "worker_end", worker_end_json(r->worker_end));
	put_hex(o, "input_digest", r->input_digest);
	put_number(o, "input_bytes", r->input_bytes);
	put_hex(o, "output_digest", r->output_digest);
	put_number(o, "output_bytes", r->output_bytes);
	if (r->intent_index)
		put(o, "intent", json_integer((json_int_t)(r->intent_index - 1)));
	put_number(o, "walls", r->walls);
	put_list(o, "walls_missing", r->walls_missing, r->n_walls_missing);
	put_text(o, "level", r->level);
	put_text(o, "blas_core", r->blas_core);
	put_number(o, "threads", r->threads);
	put_text(o, "version", r->version);
	put_number(o, "queue_us", r->queue_us);
	put_number(o, "worker_us", r->worker_us);
	put_number(o, "client_seq", r->client_seq);
	put_number(o, "previous_size", r->previous_size);
	put_text(o, "policy_digest", r->policy_digest);
	put_text(o, "worker_digest", r->worker_digest);
	put_number(o, "trust_version", r->trust_version);
	put_text(o, "isolation", r->isolation);
}

static json_t *entry_json(uint64_t index, const Fumehood__Entry *e)
{
	char when[40];
	json_t *o = json_object();
	put(o, "index", json_integer((json_int_t)index));
	put(o, "time", json_string(time_text(e->wall_ns, when)));
	put_number(o, "wall_ns", e->wall_ns);
	put_number(o, "boot_ns", e->boot_ns);
	put_hex(o, "boot_id", e->boot_id);
	if (e->record)
		record_put(o, e->record);
	return o;
}

/* --- filters --------------------------------------------------------------------------------------------- */

/* One of the values of a repeated option fits, or the option was not given. */
static bool any_fits(const struct ctl *c, const char *name, bool (*fits)(const char *value, const Fumehood__Record *),
                     const Fumehood__Record *r)
{
	const char *v;
	bool given = false;
	for (size_t at = 0; (v = ctl_next(c, name, &at)); given = true)
		if (fits(v, r))
			return true;
	return !given;
}

static bool fits_kind(const char *v, const Fumehood__Record *r)
{
	return strcasecmp(v, kind_name(r->kind)) == 0;
}

static bool fits_code(const char *v, const Fumehood__Record *r)
{
	return strcmp(v, r->code) == 0;
}

static bool fits_model(const char *v, const Fumehood__Record *r)
{
	char hex[2 * HASH_BYTES + 1] = "";
	if (r->model_digest.len == HASH_BYTES)
		hash_hex(r->model_digest.data, hex);
	bool is_digest = strncmp(v, "sha256:", 7) == 0;
	return is_digest ? *hex && fnmatch(v + 7, hex, 0) == 0 : fnmatch(v, r->model, 0) == 0;
}

static int kinds_check(const struct ctl *c, struct err *e)
{
	const char *v;
	for (size_t at = 0; (v = ctl_next(c, "kind", &at));) {
		size_t i = 0, n = sizeof kinds / sizeof kinds[0];
		while (i < n && strcasecmp(v, kinds[i]) != 0)
			i++;
		if (i == n)
			return err_set(e, ERR_USAGE, "audit: there is no kind \"%s\": boot, shutdown, loaded, intent, completed, "
			               "refused, admitted, worker-ended, peer-ended, torn-tail, quarantined", ctl_str(v));
	}
	return ERR_OK;
}

/* --- rows -------------------------------------------------------------------------------------------------- */

#define COLS 8
static const char *const headers[COLS] = { ">INDEX", "TIME", "KIND", "WHO", "ACTION", "MODEL", "DECISION", "CODE" };

static const char *model_text(const Fumehood__Record *r, char *out, size_t cap)
{
	char hex[2 * HASH_BYTES + 1] = "";
	if (r->model_digest.len == HASH_BYTES)
		hash_hex(r->model_digest.data, hex);
	if (r->model && *r->model)
		snprintf(out, cap, "%.60s%s", ctl_str(r->model), r->unsigned_model ? " (unsigned)" : "");
	else
		snprintf(out, cap, "%.16s", hex);
	return out;
}

/* The cells of one record; they live in bufs. */
static void row_make(uint64_t index, const Fumehood__Entry *x, const char *cells[COLS], char bufs[COLS][128])
{
	const Fumehood__Record *r = x->record;
	char when[40];
	snprintf(bufs[0], sizeof bufs[0], "%" PRIu64, index);
	snprintf(bufs[1], sizeof bufs[1], "%.23s", time_text(x->wall_ns, when));
	for (int i = 2; i < COLS; i++)
		bufs[i][0] = 0;
	if (r) {
		snprintf(bufs[2], sizeof bufs[2], "%s", kind_name(r->kind));
		if (r->caller)
			snprintf(bufs[3], sizeof bufs[3], "%.100s", ctl_line(r->caller->principal));
		snprintf(bufs[4], sizeof bufs[4], "%.100s", ctl_str(r->action));
		model_text(r, bufs[5], sizeof bufs[5]);
		if (r->decision)
			snprintf(bufs[6], sizeof bufs[6], "%s%s%.90s", r->decision->allow ? "allow" : "deny",
			         r->decision->n_policies ? " " : "",
			         r->decision->n_policies ? ctl_str(r->decision->policies[0]) : "");
		snprintf(bufs[7], sizeof bufs[7], "%.100s", ctl_str(r->code));
	}
	for (int i = 0; i < COLS; i++)
		cells[i] = bufs[i];
}

struct rows {
	const struct ctl *c;
	struct ctl_table *table;
	bool table_lines; /* tail: fixed columns, a line at once */
	uint64_t n;
};

static void line_print(const char *const cells[COLS])
{
	static const int widths[COLS] = { 7, 23, 12, 22, 8, 28, 14, 0 };
	for (int i = 0; i < COLS; i++)
		printf("%*s%s", i == 0 ? widths[i] : -widths[i], cells[i] + (cells[i][0] == '>'), i + 1 < COLS ? "  " : "\n");
}

static int row_print(struct rows *w, uint64_t index, const Fumehood__Entry *x, struct err *e)
{
	const char *cells[COLS];
	char bufs[COLS][128];
	if (!w->c->json) {
		row_make(index, x, cells, bufs);
		if (w->table_lines)
			line_print(cells);
		else
			ctl_table_row(w->table, cells);
		return ERR_OK;
	}
	json_t *o = entry_json(index, x);
	if (!w->table_lines)
		fputs(w->n ? ",\n" : "\n", stdout);
	int bad = !o || json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) != 0;
	json_decref(o);
	if (w->table_lines)
		putchar('\n');
	return bad ? err_set(e, ERR_IO, "standard output cannot be written") : ERR_OK;
}

/* Counts what fits, or prints it from the skip-th on: two walks over the log instead of memory for it. */
struct walk {
	struct rows rows;
	bool count_only;
	uint64_t n_fit, skip;
};

static int walk_entry(void *arg, uint64_t index, const Fumehood__Entry *x, struct err *e)
{
	struct walk *w = arg;
	static Fumehood__Record none;
	const Fumehood__Record *r = x->record;
	if (!r) {
		fumehood__record__init(&none);
		r = &none;
	}
	if (!any_fits(w->rows.c, "kind", fits_kind, r) || !any_fits(w->rows.c, "model", fits_model, r) ||
	    !any_fits(w->rows.c, "code", fits_code, r))
		return ERR_OK;
	if (w->n_fit++ < w->skip || w->count_only)
		return ERR_OK;
	int rc = row_print(&w->rows, index, x, e);
	w->rows.n++;
	return rc;
}

/* --- opening -------------------------------------------------------------------------------------------------- */

static int log_open_for(const struct ctl *c, struct audit_log **out, struct err *e)
{
	char path[PATH_MAX];
	struct note_key key;
	const char *dir = ctl_get(c, "dir"), *vkey = ctl_get(c, "vkey");
	int rc = ERR_OK;
	if (!dir && (rc = ctl_state_path(c, "log", path, sizeof path, e)) != ERR_OK)
		return rc;
	if (vkey && (rc = key_public(vkey, &key, e)) != ERR_OK)
		return rc;
	return audit_log_open(dir ? dir : path, vkey ? &key : NULL, out, e);
}

/* --- list and tail ------------------------------------------------------------------------------------------- */

/* How many of the fitting records stand before the last n. */
static int skip_count(struct walk *w, struct audit_log *l, uint64_t last, struct err *e)
{
	uint64_t size;
	w->count_only = true;
	int rc = audit_log_each(l, 0, walk_entry, w, &size, e);
	w->skip = w->n_fit > last ? w->n_fit - last : 0;
	w->n_fit = 0;
	w->count_only = false;
	return rc;
}

static int list_run(struct ctl *c, struct audit_log *l, struct err *e)
{
	struct walk w = { .rows = { .c = c } };
	uint64_t last, size = 0;
	int rc = ctl_number(c, "last", 1, INT64_MAX, 0, &last, e);
	if (rc == ERR_OK && last)
		rc = skip_count(&w, l, last, e);
	if (rc != ERR_OK)
		return rc;
	if (c->json)
		putchar('[');
	else if (!(w.rows.table = ctl_table_new(COLS, headers)))
		return err_set(e, ERR_NOMEM, "no memory for a table");
	rc = audit_log_each(l, 0, walk_entry, &w, &size, e);
	struct err quiet;
	if (c->json)
		puts(w.rows.n ? "\n]" : "]");
	else if (rc == ERR_OK)
		rc = ctl_table_print(w.rows.table, stdout, e);
	else if (ctl_table_print(w.rows.table, stdout, &quiet) != ERR_OK) /* what was good stands before the error */
		return rc;
	return rc;
}

static int tail_run(struct ctl *c, struct audit_log *l, struct err *e)
{
	struct walk w = { .rows = { .c = c, .table_lines = true } };
	uint64_t last, next = 0;
	int rc = ctl_number(c, "last", 0, INT64_MAX, TAIL_ROWS, &last, e);
	(void)audit_log_has_changed(l);
	if (rc == ERR_OK)
		rc = skip_count(&w, l, last, e);
	if (rc == ERR_OK && !c->json)
		line_print(headers);
	while (rc == ERR_OK) {
		uint64_t size = next;
		rc = audit_log_each(l, next, walk_entry, &w, &size, e);
		next = size;
		if (fflush(stdout) != 0 && rc == ERR_OK)
			return err_set(e, ERR_IO, "standard output cannot be written");
		if (ctl_has(c, "once"))
			return rc;
		while (rc == ERR_OK && !audit_log_has_changed(l))
			(void)nanosleep(&(struct timespec){ .tv_nsec = TAIL_PAUSE_NS }, NULL);
	}
	return rc;
}

/* --- show ------------------------------------------------------------------------------------------------------ */

static int file_write(const char *path, const void *bytes, size_t len, struct err *e)
{
	FILE *f = fopen(path, "we");
	if (!f)
		return err_set(e, ERR_IO, "\"%s\": %s", ctl_str(path), strerror(errno));
	bool bad = fwrite(bytes, 1, len, f) != len;
	bad = fclose(f) != 0 || bad;
	return bad ? err_set(e, ERR_IO, "\"%s\": cannot be written", ctl_str(path)) : ERR_OK;
}

static int receipt_write(const struct ctl *c, const char *path, const struct audit_shown *s, struct err *e)
{
	char entry[PATH_MAX];
	if (snprintf(entry, sizeof entry, "%s.entry", path) >= (int)sizeof entry)
		return err_set(e, ERR_LIMIT, "the path of the receipt is too long");
	int rc = file_write(path, s->receipt, s->receipt_len, e);
	if (rc == ERR_OK)
		rc = file_write(entry, s->entry, s->entry_len, e);
	if (rc == ERR_OK)
		ctl_say(c, "receipt: %s, its entry: %s", ctl_str(path), ctl_str(entry));
	return rc;
}

/* The record's members, one a line: name and value. */
static void members_print(const char *prefix, json_t *o)
{
	const char *key;
	json_t *v;
	json_object_foreach(o, key, v) {
		char name[64];
		snprintf(name, sizeof name, "%s%s", prefix, key);
		char *text = json_is_object(v) ? NULL : json_dumps(v, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
		if (json_is_object(v)) {
			strncat(name, ".", sizeof name - strlen(name) - 1);
			members_print(name, v);
		} else if (json_is_string(v) && text) {
			printf("%-20s %.*s\n", name, (int)strlen(text) - 2, text + 1);
		} else {
			printf("%-20s %s\n", name, text ? text : "?");
		}
		free(text);
	}
}

static int show_print(const struct ctl *c, uint64_t index, const struct audit_shown *s, struct err *e)
{
	void *p = NULL;
	int rc = pb_unpack(&fumehood__entry__descriptor, s->entry, s->entry_len, NULL, &p, e);
	if (rc != ERR_OK)
		return rc;
	json_t *o = entry_json(index, p);
	fumehood__entry__free_unpacked(p, NULL);
	if (!c->json) {
		members_print("", o);
		json_decref(o);
		printf("\n%s", s->receipt);
		return ERR_OK;
	}
	char *b64 = malloc(B64_LEN(s->entry_len) + 1);
	if (b64)
		b64_put(s->entry, s->entry_len, b64);
	put(o, "entry_base64", b64 ? json_string(b64) : NULL);
	put(o, "receipt", ctl_json_text(s->receipt, s->receipt_len));
	free(b64);
	return ctl_json_print(o, e);
}

static int show_run(struct ctl *c, struct audit_log *l, struct err *e)
{
	struct audit_shown s = { .entry = NULL };
	const char *to = ctl_get(c, "receipt");
	uint64_t index;
	if (c->n_pos != 2 || !note_decimal(c->pos[1], strlen(c->pos[1]), &index))
		return err_set(e, ERR_USAGE, "audit show: want one number: fumehood audit show INDEX");
	int rc = audit_log_show(l, index, &s, e);
	if (rc == ERR_OK)
		rc = show_print(c, index, &s, e);
	if (rc == ERR_OK && to)
		rc = receipt_write(c, to, &s, e);
	audit_shown_clear(&s);
	return rc;
}

/* --- verify ------------------------------------------------------------------------------------------------------ */

/* A checkpoint, or a receipt that has one behind its first empty line. */
static int known_add(const struct audit_log *l, const char *path, struct audit_verify *want, struct err *e)
{
	char text[CHECKPOINT_READ_MAX_BYTES + 1];
	FILE *f = fopen(path, "re");
	if (!f)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "\"%s\": %s", ctl_str(path), strerror(errno));
	size_t len = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[len] = 0;
	const char *note = text;
	if (strncmp(text, "c2sp.org/tlog-proof@v1\n", 23) == 0) {
		note = strstr(text, "\n\n");
		note = note ? note + 2 : text;
	}
	if (want->n_known == AUDIT_KNOWN_MAX)
		return err_set(e, ERR_USAGE, "audit verify: at most %d checkpoints", AUDIT_KNOWN_MAX);
	int rc = checkpoint_read(note, len - (size_t)(note - text), audit_log_key(l), &want->known[want->n_known], e);
	if (rc != ERR_OK)
		return err_prefix(e, "\"%s\"", ctl_str(path));
	want->n_known++;
	return ERR_OK;
}

/* The auditor's own memory: named, or beside the default log when it is readable. */
static int state_add(const struct ctl *c, const struct audit_log *l, struct audit_verify *want, struct err *e)
{
	char path[PATH_MAX];
	const char *given = ctl_get(c, "log-state");
	int rc = ERR_OK;
	if (!given && ctl_has(c, "dir"))
		return ERR_OK;
	if (!given)
		rc = ctl_state_path(c, "log-state", path, sizeof path, e);
	if (rc == ERR_OK)
		rc = audit_verify_add_state(l, given ? given : path, want, e);
	return !given && (rc == ERR_NOT_FOUND || rc == ERR_IO) ? ERR_OK : rc;
}

static int verdict_json(const struct audit_verdict *v, double seconds, struct err *e)
{
	char hex[HASH_HEX_BYTES + 1];
	hash_hex(v->root, hex);
	json_t *o = json_pack("{s:b, s:I, s:s, s:I, s:I, s:I, s:I, s:f}", "ok", v->ok, "size", (json_int_t)v->size, "root",
	                      hex, "published", (json_int_t)v->published, "segments", (json_int_t)v->n_segments, "files",
	                      (json_int_t)v->n_files, "torn_bytes", (json_int_t)v->torn_bytes, "seconds", seconds);
	if (o && !v->ok)
		put(o, "fault", json_pack("{s:s, s:I, s:s, s:o}", "kind", fault_name(v->fault.kind), "index",
		                          (json_int_t)v->fault.index, "file", v->fault.file, "text",
		                          ctl_json_text(v->fault.text, strlen(v->fault.text))));
	return ctl_json_print(o, e);
}

static void verdict_print(const struct audit_log *l, const struct audit_verdict *v, double seconds)
{
	char root[B64_LEN(HASH_BYTES) + 1], vkey[NOTE_VKEY_MAX_BYTES];
	b64_put(v->root, HASH_BYTES, root);
	note_vkey_format(audit_log_key(l), vkey);
	printf("verdict    %s\n", v->ok ? "good" : "BAD");
	if (!v->ok)
		printf("fault      %s at entry %" PRIu64 ", %s: %s\n", fault_name(v->fault.kind), v->fault.index,
		       v->fault.file, v->fault.text);
	printf("%s %" PRIu64 "\n", v->ok ? "entries   " : "good until", v->ok ? v->size : v->fault.index);
	if (v->ok)
		printf("root       %s\n", root);
	printf("key        %s\n", vkey);
	if (v->ok)
		printf("checked    %" PRIu64 " segments, %" PRIu64 " published files (%" PRIu64 " entries), %.3f s\n",
		       v->n_segments, v->n_files, v->published, seconds);
	if (v->ok && v->torn_bytes)
		printf("remark     %" PRIu64 " bytes of an unfinished write stand at the end: nobody was answered for "
		       "them; the next start puts them aside\n", v->torn_bytes);
}

static int verify_run(struct ctl *c, struct audit_log *l, struct err *e)
{
	struct audit_verify want = { .min_size = 0 };
	struct audit_verdict *v = calloc(1, sizeof *v);
	struct timespec from, to;
	const char *path;
	int rc = v ? ctl_number(c, "min-size", 0, INT64_MAX, 0, &want.min_size, e)
	           : err_set(e, ERR_NOMEM, "no memory for a verdict");
	for (size_t at = 0; rc == ERR_OK && (path = ctl_next(c, "checkpoint", &at));)
		rc = known_add(l, path, &want, e);
	if (rc == ERR_OK)
		rc = state_add(c, l, &want, e);
	clock_gettime(CLOCK_MONOTONIC, &from);
	if (rc == ERR_OK)
		rc = audit_log_verify(l, &want, v, e);
	clock_gettime(CLOCK_MONOTONIC, &to);
	double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	if (rc == ERR_OK && c->json)
		rc = v->ok ? verdict_json(v, seconds, e) : ERR_OK;
	else if (rc == ERR_OK)
		verdict_print(l, v, seconds);
	if (rc == ERR_OK && !v->ok) {
		err_set(e, ERR_LOG, "%s at entry %" PRIu64 ", %s: %s", fault_name(v->fault.kind), v->fault.index, v->fault.file,
		        v->fault.text);
		rc = ERR_LOG;
		/* With --json the main function prints the error; the verdict joins it. */
		if (c->json && !c->error_extra)
			c->error_extra = json_pack("{s:{s:b, s:I, s:s, s:s}}", "verdict", "ok", 0, "index",
			                           (json_int_t)v->fault.index, "kind", fault_name(v->fault.kind), "file",
			                           v->fault.file);
	}
	free(v);
	return rc;
}

/* --- the subcommand ------------------------------------------------------------------------------------------------ */

static int run(struct ctl *c, struct err *e)
{
	static const struct {
		const char *verb;
		int max_pos;
		int (*run)(struct ctl *, struct audit_log *, struct err *);
	} verbs[] = { { "list", 1, list_run }, { "show", 2, show_run }, { "verify", 1, verify_run },
		      { "tail", 1, tail_run } };
	struct audit_log *l = NULL;
	size_t i = 0;
	while (i < sizeof verbs / sizeof verbs[0] && strcmp(c->pos[0], verbs[i].verb) != 0)
		i++;
	if (i == sizeof verbs / sizeof verbs[0])
		return err_set(e, ERR_USAGE, "audit: \"%s\" is none of list, show, verify, tail", ctl_str(c->pos[0]));
	if (c->n_pos > verbs[i].max_pos)
		return err_set(e, ERR_USAGE, "audit %s: \"%s\" is one argument too many", verbs[i].verb,
		               ctl_str(c->pos[verbs[i].max_pos]));
	int rc = kinds_check(c, e);
	if (rc == ERR_OK && sodium_init() < 0)
		rc = err_set(e, ERR_INTERNAL, "libsodium does not start");
	if (rc == ERR_OK)
		rc = log_open_for(c, &l, e);
	if (rc == ERR_OK)
		rc = verbs[i].run(c, l, e);
	audit_log_close(l);
	return rc;
}

const struct ctl_command cmd_audit = {
	.name = "audit",
	.args = "list|show INDEX|verify|tail",
	.help = "read the log and check it",
	.min_args = 1,
	.max_args = 2,
	.kind = CTL_WORD,
	.verbs = "list show verify tail",
	.opts = opts,
	.run = run,
};
