/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots and turns: see pool.h. A worker's own life is in pool_worker.c.
 *
 * Side: broker. Trusts: nothing that a worker says. Owns: the queues.
 */
#include "broker/pool_in.h"
#include "proto/limits.h"
#include "proto/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define END_WAIT_MS 2000

static void slot_pump(struct slot *s);

/* --- how an end reads --------------------------------------------------------------------------------- */

enum end_with { END_WITH_NOTHING, END_WITH_CODE, END_WITH_DETAIL };

static const struct {
	enum end_with with;
	const char *text;
} end_rows[VERDICT__MAX] = {
	[VERDICT_CLEAN] = { END_WITH_NOTHING, "the worker ended" },
	[VERDICT_REFUSED] = { END_WITH_DETAIL, "the worker tried a system call outside its four" },
	[VERDICT_CRASH] = { END_WITH_CODE, "the worker crashed" },
	[VERDICT_MEMORY] = { END_WITH_NOTHING,
	                     "the worker was killed by the kernel for memory, or by somebody else on this machine" },
	[VERDICT_DEADLINE] = { END_WITH_DETAIL, "the broker ended the worker" },
	[VERDICT_PROTOCOL] = { END_WITH_DETAIL, "the broker ended the worker" },
	[VERDICT_UNLOCKED] = { END_WITH_DETAIL, "the broker ended the worker" },
};

void pool_end_text(char *out, size_t cap, enum verdict v, const struct worker_end *end, const char *detail)
{
	char shown[DETAIL_BYTES];
	if (end_rows[v].with == END_WITH_CODE)
		snprintf(out, cap, "%s: %s %d", end_rows[v].text, end->by_signal ? "signal" : "exit code", end->code);
	else if (v == VERDICT_REFUSED && !*detail) /* a foreign table, or violation=kill: no report */
		snprintf(out, cap, "%s; the kernel killed it (SIGSYS)", end_rows[v].text);
	else if (end_rows[v].with == END_WITH_DETAIL)
		snprintf(out, cap, "%s: %s", end_rows[v].text, err_escape(shown, sizeof shown, detail, strlen(detail)));
	else
		snprintf(out, cap, "%s", end_rows[v].text);
}

/* --- turns ----------------------------------------------------------------------------------------------- */

static void turn_unlink(struct turn *t)
{
	struct slot *s = t->slot;
	*(t->prev ? &t->prev->next : &s->first) = t->next;
	*(t->next ? &t->next->prev : &s->last) = t->prev;
	t->prev = t->next = NULL;
	s->n_waiting--;
}

/* Takes the turn away from its slot; frees what it has not given to a worker. */
static void turn_leave(struct turn *t)
{
	struct slot *s = t->slot;
	loop_timer_stop(s->p->c.loop, &t->timer);
	if (!t->is_running)
		turn_unlink(t);
	else if (s->w && s->w->turn == t)
		s->w->turn = NULL;
	t->slot = NULL;
	t->is_running = false;
	free(t->body);
	t->body = NULL;
	s->idle_since_ms = loop_now_ms(s->p->c.loop);
	slot_unref(s);
}

static void turn_fail(struct turn *t, struct turn_failure *f)
{
	turn_leave(t);
	t->failed(t->arg, f);
}

static void turn_fail_plain(struct turn *t, int code, const char *text)
{
	struct turn_failure f = { .code = code, .text = text };
	turn_fail(t, &f);
}

void turn_withdraw(struct turn *t)
{
	if (t->slot)
		turn_leave(t);
}

/* How long a turn may wait: for a load, and for as long as a call may take. */
static uint64_t wait_limit_ms(const struct slot *s, const struct turn *t)
{
	return t->deadline_ms ? t->deadline_ms : s->call_ms + s->p->c.load_ms;
}

/* The caller's own deadline. A worker that others share goes on: a caller may not end it by asking for
 * little time; the slot's own limit does. */
static void on_deadline(void *arg)
{
	struct turn *t = arg;
	struct slot *s = t->slot;
	char text[160];
	bool is_alone = !s->is_shared || t->isolation == ISOLATION_CALL;
	if (t->is_running && s->w && is_alone) {
		pool_worker_kill(s->w, KILLED_DEADLINE, "the call took too long");
		return;
	}
	snprintf(text, sizeof text, "no answer within %" PRIu64 " ms (%s)", wait_limit_ms(s, t),
	         t->is_running ? "the call was running" : "the call was waiting for the worker");
	turn_fail_plain(t, ERR_DEADLINE, text);
}

/* Fails all that wait, but not what is added meanwhile. */
static void fail_waiting(struct slot *s, const struct turn_failure *why)
{
	unsigned n = s->n_waiting;
	slot_ref(s);
	while (n-- && s->first) {
		struct turn_failure f = *why;
		turn_fail(s->first, &f);
	}
	slot_unref(s);
}

static void fail_waiting_plain(struct slot *s, int code, const char *text)
{
	struct turn_failure f = { .code = code, .text = text };
	fail_waiting(s, &f);
}

static const char *principal_of(const struct turn *t) { return t->principal ? t->principal : ""; }

/* How many of a principal's turns wait, and the last of them (NULL: none). */
static unsigned waiting_of(const struct slot *s, const char *principal, struct turn **last)
{
	unsigned n = 0;
	*last = NULL;
	for (struct turn *t = s->first; t; t = t->next)
		if (!strcmp(principal_of(t), principal)) {
			*last = t;
			n++;
		}
	return n;
}

static void refuse_as_busy(struct turn *t, unsigned n_waiting, const char *why)
{
	char text[200];
	snprintf(text, sizeof text, "%u calls wait for this model already (queue_per_model)%s: try again later", n_waiting, why);
	struct turn_failure f = { .code = ERR_BUSY, .text = text };
	if (t->slot) {
		turn_fail(t, &f);
		return;
	}
	free(t->body);
	t->body = NULL;
	t->failed(t->arg, &f);
}

/* Room in a full queue for one who has less waiting than somebody else: that one's last turn goes. */
static bool make_turn_room(struct slot *s, const struct turn *for_turn)
{
	struct turn *last, *worst = NULL;
	unsigned mine = waiting_of(s, principal_of(for_turn), &last), most = mine + 1;
	for (struct turn *t = s->first; t; t = t->next) {
		unsigned n = waiting_of(s, principal_of(t), &last);
		if (n > most && last->kind == TURN_CALL) {
			most = n;
			worst = last;
		}
	}
	if (!worst)
		return false;
	refuse_as_busy(worst, s->n_waiting, ", and yours gave way to somebody who has fewer");
	return true;
}

/* A principal's turns come one round apart, those of one round in the order in which they came. */
static void turn_queue(struct slot *s, struct turn *t)
{
	struct turn *mine, *before = s->last;
	waiting_of(s, principal_of(t), &mine);
	t->round = mine && mine->round >= s->round ? mine->round + 1 : s->round + (s->w && s->w->turn &&
	           !strcmp(principal_of(s->w->turn), principal_of(t)) ? 1 : 0);
	while (before && before->round > t->round)
		before = before->prev;
	t->prev = before;
	t->next = before ? before->next : s->first;
	*(t->prev ? &t->prev->next : &s->first) = t;
	*(t->next ? &t->next->prev : &s->last) = t;
	s->n_waiting++;
}

void slot_submit(struct slot *s, struct turn *t)
{
	t->slot = NULL;
	if (s->n_waiting >= s->p->c.queue_max && !make_turn_room(s, t)) {
		refuse_as_busy(t, s->n_waiting, "");
		return;
	}
	t->slot = slot_ref(s);
	t->is_running = false;
	turn_queue(s, t);
	t->timer = (struct loop_timer){ .fn = on_deadline, .arg = t };
	loop_timer_set(s->p->c.loop, &t->timer, (int64_t)wait_limit_ms(s, t));
	slot_pump(s);
}

/* --- serving ---------------------------------------------------------------------------------------------- */

static bool body_fits(const struct slot *s, struct turn *t)
{
	char text[200];
	uint64_t room = s->w->request_bytes - PLAN_REQUEST_OVERHEAD_BYTES;
	if (t->body_len <= room)
		return true;
	snprintf(text, sizeof text, "a request of %zu bytes does not fit this worker's room of %" PRIu64
	         " bytes: give it more memory (memory_bytes, --memory)", t->body_len, room);
	turn_fail_plain(t, ERR_LIMIT, text);
	return false;
}

/* Gives the idle worker its next call. LOAD turns were answered when it became ready. */
static void serve_next(struct slot *s)
{
	while (s->first && s->w && s->w->state == WORKER_IDLE) {
		struct turn *t = s->first;
		if (t->kind == TURN_LOAD) {
			turn_fail_plain(t, ERR_INTERNAL, "a model was loaded twice for one slot");
			continue;
		}
		if (t->isolation == ISOLATION_CALL && s->w->has_served) {
			pool_worker_end(s->w); /* the next one is for this call */
			return;
		}
		if (!body_fits(s, t))
			continue;
		turn_unlink(t);
		t->is_running = true;
		s->round = t->round;
		if (!t->deadline_ms) /* from here on the slot's own limit holds */
			loop_timer_stop(s->p->c.loop, &t->timer);
		pool_worker_call(s->w, t);
		t->started(t->arg);
	}
}

/* Ends the worker that has been idle for longest, to make room: its slot gets another one when it is asked again. */
static bool make_room(struct pool *p)
{
	struct slot *oldest = NULL;
	for (struct slot *s = p->slots; s; s = s->next)
		if (s->w && s->w->state == WORKER_IDLE && !s->first &&
		    (!oldest || s->idle_since_ms <= oldest->idle_since_ms)) /* the list begins with the newest */
			oldest = s;
	if (oldest)
		pool_worker_end(oldest->w);
	return oldest != NULL;
}

static int check_model(struct slot *s, struct err *e)
{
	return s->model->is_unsigned ? ERR_OK : models_check(s->p->c.models, s->model, (uint64_t)time(NULL), e);
}

static void on_fetched(void *arg, int rc, const struct err *e, struct model *m)
{
	struct slot *s = arg;
	s->fetch = NULL;
	model_unref(m);
	slot_ref(s);
	if (rc != ERR_OK)
		fail_waiting_plain(s, rc, e->text);
	slot_pump(s);
	slot_unref(s);
}

/* --- models whose workers keep dying --------------------------------------------------------------------- */

uint64_t pool_quarantined_ms(const struct pool *p, const struct model *m)
{
	return (uint64_t)quarantine_left_ms(&p->quarantine, m->digest, loop_now_ms(p->c.loop));
}

void pool_note_death(struct pool_worker *w, enum verdict v)
{
	static const bool counts[VERDICT__MAX] = {
		[VERDICT_REFUSED] = true, [VERDICT_CRASH] = true, [VERDICT_PROTOCOL] = true,
	};
	struct pool *p = w->p;
	bool is_own = counts[v] || (v == VERDICT_MEMORY && w->notes.oom_counted); /* else somebody killed it */
	int64_t ms = is_own ? quarantine_death(&p->quarantine, w->model->digest, loop_now_ms(p->c.loop)) : 0;
	if (ms)
		p->c.quarantined(p->c.arg, w->model, (uint64_t)ms);
}

static int check_quarantine(const struct slot *s, struct err *e)
{
	uint64_t left = pool_quarantined_ms(s->p, s->model);
	if (!left)
		return ERR_OK;
	return err_set(e, ERR_QUARANTINED, "%.200s: %u of its workers died within %" PRIu64 " s, so it is quarantined for another "
	               "%" PRIu64 ".%" PRIu64 " s", s->model->label, s->p->c.quarantine_crashes,
	               (s->p->c.quarantine_window_ms + 999) / 1000, left / 1000, left % 1000 / 100);
}

static void on_retry(void *arg) { slot_pump(arg); }

/* Begins what is missing for a worker: the model in memory, then the process. */
static int begin_worker(struct slot *s, struct err *e)
{
	int rc = check_model(s, e);
	if (rc == ERR_OK)
		rc = check_quarantine(s, e);
	if (rc != ERR_OK)
		return rc;
	int64_t pause = quarantine_pause_ms(&s->p->quarantine, s->model->digest, loop_now_ms(s->p->c.loop));
	if (pause) {
		s->retry = (struct loop_timer){ .fn = on_retry, .arg = s };
		loop_timer_set(s->p->c.loop, &s->retry, pause);
		return ERR_OK;
	}
	if (s->model->fd < 0)
		return models_fetch(s->p->c.models, s->model, on_fetched, s, &s->fetch, e);
	if (s->p->n_workers >= LIMIT_WORKERS && !make_room(s->p))
		return err_set(e, ERR_BUSY, "%u workers are busy, which is the limit: try again later", s->p->n_workers);
	rc = pool_worker_new(s, e);
	if (rc == ERR_OK && s->is_shared)
		slot_ref(s); /* the worker's own: a shared slot lives as long as its worker */
	return rc;
}

static void slot_pump(struct slot *s)
{
	struct err e;
	slot_ref(s);
	if (s->w)
		serve_next(s);
	else if (s->first && !s->fetch && !s->retry.is_on && begin_worker(s, &e) != ERR_OK)
		fail_waiting_plain(s, e.code, e.text);
	slot_unref(s);
}

/* --- told by a worker --------------------------------------------------------------------------------------- */

/* Answers the LOAD turns at the head of the queue; the first gets the worker's description. */
static void answer_loads(struct slot *s, uint8_t **body, size_t len, bool *told)
{
	while (s->first && s->first->kind == TURN_LOAD) {
		struct turn *t = s->first;
		struct turn_result r = { .body = *body, .inner_off = FIXED_BYTES, .inner_len = len - FIXED_BYTES,
		                         .about = &s->w->about };
		if (!*body) {
			turn_fail_plain(t, ERR_INTERNAL, "a model was loaded twice for one slot");
			continue;
		}
		t->done_us = loop_clock_us();
		turn_leave(t);
		*told = true;
		t->done(t->arg, &r);
		*body = r.body;
	}
}

void pool_on_ready(struct pool_worker *w, uint8_t *body, size_t len)
{
	struct slot *s = w->slot;
	bool told = false;
	if (!s) {
		free(body);
		return;
	}
	slot_ref(s);
	answer_loads(s, &body, len, &told);
	free(body);
	if (!told) /* whoever opened the model writes the record of it; here nobody did */
		s->p->c.loaded(s->p->c.arg, s, &w->about);
	if (s->inspect_only)
		pool_worker_end(w);
	else
		serve_next(s);
	slot_unref(s);
}

void pool_on_load_failed(struct pool_worker *w, int code, const char *text, uint8_t *body, size_t len)
{
	struct slot *s = w->slot;
	struct turn_failure f = { .code = code, .text = text, .about = &w->about };
	pool_worker_end(w);
	if (s) {
		slot_ref(s);
		unsigned n = s->n_waiting;
		while (n-- && s->first) { /* the first one gets the words */
			f.body = body;
			f.inner_off = body ? FIXED_BYTES : 0;
			f.inner_len = body ? len - FIXED_BYTES : 0;
			turn_fail(s->first, &f);
			body = f.body;
		}
		slot_unref(s);
	}
	free(body);
}

void pool_on_result(struct pool_worker *w, int status, uint8_t *body, size_t len)
{
	struct turn *t = w->turn;
	struct slot *s = w->slot;
	struct turn_result r = { .body = body, .inner_off = FIXED_BYTES, .inner_len = len - FIXED_BYTES,
	                         .about = &w->about };
	struct turn_failure f = { .code = status, .text = "the worker refused the call", .body = body,
	                          .inner_off = r.inner_off, .inner_len = r.inner_len, .about = &w->about };
	if (!t || !s) { /* nobody waits any more */
		free(body);
		if (s)
			serve_next(s);
		return;
	}
	bool is_last = t->isolation == ISOLATION_CALL; /* nobody else gets this worker */
	slot_ref(s);
	hash_end(w->hash, r.digest);
	memcpy(f.digest, r.digest, sizeof f.digest);
	t->done_us = loop_clock_us();
	turn_leave(t);
	if (status == ERR_OK)
		t->done(t->arg, &r);
	else
		t->failed(t->arg, &f);
	free(status == ERR_OK ? r.body : f.body);
	if (is_last && w == s->w)
		pool_worker_end(w);
	serve_next(s);
	slot_unref(s);
}

/* The worker of the next call, loaded before that comes. Not at any price: when it cannot be had now, the
 * next call asks again. */
static void keep_ready(struct slot *s)
{
	struct err e;
	if (!s->w && !s->fetch && !s->retry.is_on && !s->p->is_ending && s->is_shared && s->p->n_workers < LIMIT_WORKERS &&
	    begin_worker(s, &e) != ERR_OK)
		return;
}

/* The running turn gets the end as its answer. Those that wait get a new worker, unless this one never
 * held the model: then the next would end the same way. */
void pool_on_gone(struct pool_worker *w, enum verdict v, const struct worker_end *end)
{
	struct slot *s = w->slot;
	char text[ERR_TEXT_MAX_BYTES];
	if (!s)
		return;
	pool_end_text(text, sizeof text, v, end, w->detail);
	struct turn_failure why = { .code = v == VERDICT_CLEAN ? ERR_WORKER : verdict_err_code(v), .text = text,
	                            .has_end = true, .verdict = v, .end = *end, .about = &w->about };
	struct turn *t = w->turn;
	w->turn = NULL;
	slot_ref(s);
	if (t) {
		struct turn_failure f = why;
		turn_fail(t, &f);
	}
	if (!w->was_ready && !w->notes.told_to_end)
		fail_waiting(s, &why);
	slot_pump(s);
	if (s->isolation == ISOLATION_CALL && w->has_served && v == VERDICT_CLEAN)
		keep_ready(s);
	bool was_kept = s->is_shared;
	slot_unref(s);
	if (was_kept)
		slot_unref(s); /* the worker's own reference: see begin_worker */
}

/* --- slots -------------------------------------------------------------------------------------------------- */

struct slot *slot_ref(struct slot *s)
{
	s->refs++;
	return s;
}

/* A sealed copy of an admitted model stays in memory only while a slot has use for it. */
static void release_copy(struct pool *p, struct model *m)
{
	for (struct slot *s = p->slots; s; s = s->next)
		if (s->model == m)
			return;
	if (!m->is_unsigned && m->fd >= 0) {
		close(m->fd);
		m->fd = -1;
	}
}

void slot_unref(struct slot *s)
{
	if (!s || --s->refs)
		return;
	struct pool *p = s->p;
	models_job_cancel(s->fetch);
	loop_timer_stop(p->c.loop, &s->retry);
	if (s->w) {
		struct pool_worker *w = s->w;
		s->w = NULL;
		w->slot = NULL;
		pool_worker_end(w);
	}
	*(s->prev ? &s->prev->next : &p->slots) = s->next;
	if (s->next)
		s->next->prev = s->prev;
	release_copy(p, s->model);
	model_unref(s->model);
	free(s);
}

static int slot_new(struct pool *p, struct model *m, unsigned threads, uint64_t memory_bytes, struct slot **out,
                    struct err *e)
{
	struct slot *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ERR_NOMEM, "no memory for a worker's slot");
	*s = (struct slot){ .p = p, .refs = 1, .model = model_ref(m), .threads = threads ? threads : p->c.threads,
	                    .call_ms = p->c.call_ms, .isolation = ISOLATION_TENANT, .next = p->slots };
	s->memory_bytes = memory_bytes && memory_bytes < p->c.memory_bytes ? memory_bytes : p->c.memory_bytes;
	s->memory_bytes = (s->memory_bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	if (s->memory_bytes < LIMIT_ARENA_MIN_BYTES)
		s->memory_bytes = LIMIT_ARENA_MIN_BYTES;
	if (s->next)
		s->next->prev = s;
	p->slots = s;
	*out = s;
	return ERR_OK;
}

int pool_slot_shared(struct pool *p, struct model *m, const struct slot_key *key, struct slot **out, struct err *e)
{
	unsigned n = key->threads ? key->threads : p->c.threads;
	char principal[POOL_PRINCIPAL_BYTES] = "";
	if (key->isolation == ISOLATION_TENANT && key->principal)
		snprintf(principal, sizeof principal, "%s", key->principal);
	for (struct slot *s = p->slots; s; s = s->next)
		if (s->is_shared && s->model == m && s->threads == n && s->isolation == key->isolation &&
		    !strcmp(s->principal, principal)) {
			*out = slot_ref(s);
			return ERR_OK;
		}
	int rc = slot_new(p, m, n, m->note->limit_memory_bytes, out, e);
	if (rc != ERR_OK)
		return rc;
	(*out)->is_shared = true;
	(*out)->isolation = key->isolation;
	memcpy((*out)->principal, principal, sizeof principal);
	if (m->note->limit_cpu_ms && m->note->limit_cpu_ms < (*out)->call_ms)
		(*out)->call_ms = m->note->limit_cpu_ms;
	return ERR_OK;
}

int pool_slot_own(struct pool *p, struct model *m, unsigned threads, uint64_t memory_bytes, bool inspect_only,
                  struct slot **out, struct err *e)
{
	int rc = slot_new(p, m, threads, memory_bytes, out, e);
	if (rc == ERR_OK)
		(*out)->inspect_only = inspect_only;
	return rc;
}

const struct model *slot_model(const struct slot *s) { return s->model; }
unsigned slot_threads(const struct slot *s) { return s->threads; }
bool slot_is_shared(const struct slot *s) { return s->is_shared; }
enum isolation slot_isolation(const struct slot *s) { return s->isolation; }
bool slot_has_worker(const struct slot *s) { return s->w != NULL; }
const struct pool_about *slot_about(const struct slot *s) { return s->w ? &s->w->about : NULL; }

/* --- the pool ------------------------------------------------------------------------------------------------ */

int pool_new(const struct pool_conf *conf, struct pool **out, struct err *e)
{
	struct pool *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, ERR_NOMEM, "no memory for the workers' pool");
	p->c = *conf;
	p->quarantine = (struct quarantine){ .deaths = conf->quarantine_crashes,
	                                     .window_ms = (int64_t)conf->quarantine_window_ms,
	                                     .first_ms = (int64_t)conf->quarantine_ms };
	*out = p;
	return ERR_OK;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	while (p->workers) {
		if (p->workers->slot)
			p->workers->slot->w = NULL;
		pool_worker_drop(p->workers);
	}
	while (p->slots) {
		p->slots->refs = 1;
		slot_unref(p->slots);
	}
	free(p);
}

void pool_end_all(struct pool *p)
{
	p->is_ending = true;
	while (p->workers)
		pool_worker_wait(p->workers);
}

int pool_trial(const struct pool_conf *c, struct pool_about *about, struct err *e)
{
	struct worker w;
	struct worker_end end;
	int fd = -1;
	int rc = memfd_model_new(&fd, e);
	if (rc == ERR_OK && pwrite(fd, "", 1, 0) != 1)
		rc = err_set(e, ERR_IO, "writing a memory file: %s", strerror(errno));
	if (rc == ERR_OK)
		rc = memfd_seal(fd, e);
	const struct worker_order order = { .model_fd = fd, .model_bytes = 1, .program_fd = c->program_fd,
	                                    .arena_bytes = LIMIT_ARENA_MIN_BYTES, .n_threads = 1,
	                                    .optional_layers = c->optional_layers,
	                                    .violation_kill = c->violation_kill };
	if (rc == ERR_OK)
		rc = worker_start(c->jail, c->proc_fd, &order, &w, e);
	if (rc == ERR_OK) {
		*about = (struct pool_about){ .layers = w.layers, .missing = w.missing, .threads = c->threads };
		memcpy(about->level, w.locked.level_name, sizeof about->level);
		memcpy(about->blas_core, w.locked.blas_core, sizeof about->blas_core);
		close(w.channel);
		w.channel = -1;
		if (worker_reap(&w, END_WAIT_MS, &end, e) < 0)
			rc = e->code;
		worker_close(&w);
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

unsigned pool_n_workers(const struct pool *p) { return p->n_workers; }

void pool_each(const struct pool *p, void *arg,
               void (*fn)(void *arg, const struct model *m, const char *state, const struct pool_about *about))
{
	static const char *const names[WORKER_STATE__MAX] = {
		[WORKER_STARTING] = "starting", [WORKER_LOADING] = "loading", [WORKER_PLANNED] = "loading",
		[WORKER_IDLE] = "idle", [WORKER_BUSY] = "busy", [WORKER_ENDING] = "ending",
	};
	for (const struct pool_worker *w = p->workers; w; w = w->next)
		fn(arg, w->model, names[w->state], &w->about);
}
