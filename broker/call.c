/* SPDX-License-Identifier: Apache-2.0
 *
 * One request's work: performs the effects of request.h. The order of effects is the order of their
 * bits; each is one function of the table below.
 *
 * Side: broker. Trusts: nothing of the client's. Owns: the request's memory.
 */
#include "broker/call.h"
#include "proto/limits.h"
#include "proto/pb.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What fits a message beside its head. */
#define ANSWER_MAX_BYTES (LIMIT_FRAME_BODY_BYTES - 2 * LIMIT_HEAD_BYTES)

static void on_stored(void *arg, const struct audit_stored *s);

/* --- life ------------------------------------------------------------------------------------------ */

static void link_to(struct call *k, struct call **list)
{
	k->prev = NULL;
	k->next = *list;
	if (k->next)
		k->next->prev = k;
	*list = k;
}

static void unlink_from(struct call *k)
{
	struct call **list = k->c ? &k->c->calls : &k->b->orphans;
	*(k->prev ? &k->prev->next : list) = k->next;
	if (k->next)
		k->next->prev = k->prev;
}

struct call *call_new(struct client *c, const struct call_kind *kind, const char *action, uint64_t id)
{
	struct call *k = calloc(1, sizeof *k);
	if (!k) {
		client_drop(c);
		return NULL;
	}
	k->b = c->b;
	k->c = c;
	k->kind = kind;
	k->action = action;
	k->id = id;
	k->who = c->who;
	k->arrived_us = loop_clock_us();
	k->wait = (struct log_wait){ .fn = on_stored, .arg = k };
	link_to(k, &c->calls);
	c->n_calls++;
	return k;
}

void call_free(struct call *k)
{
	struct client *c = k->c;
	unlink_from(k);
	if (c)
		c->n_calls--;
	log_forget(k->b->log, &k->wait);
	call_withdraw(k);
	if (k->is_counted)
		rate_end(facts_rate(k->b->facts), k->who.uid);
	for (unsigned i = 0; i < k->n_fds; i++)
		if (k->fds[i] >= 0)
			close(k->fds[i]);
	slot_unref(k->slot);
	model_unref(k->model);
	free(k->turn.body);
	free(k->body);
	free(k);
	if (c)
		client_go_on(c);
}

void call_withdraw(struct call *k)
{
	models_job_cancel(k->job);
	k->job = NULL;
	turn_withdraw(&k->turn);
}

/* --- records ------------------------------------------------------------------------------------------- */

void call_record(const struct call *k, Fumehood__RecordKind kind, struct record_room *x)
{
	record_begin(x, kind, k->b, k->has_about ? &k->about : NULL);
	record_caller(x, &k->who);
	record_model(x, k->model);
	if (k->is_decided)
		record_decision(x, &k->decision);
	x->r.request_id = k->id;
	x->r.action = pb_text(k->action);
	x->r.client_seq = k->client_seq;
	x->r.intent_index = k->intent_place;
	if (!k->model && *k->file_name)
		x->r.model = pb_text(k->file_name);
	if (k->kind->has_intent && k->slot)
		x->r.isolation = pb_text(isolation_name(k->isolation));
	if (k->has_salt) {
		x->r.input_digest = pb_bytes(k->input_digest, HASH_BYTES);
		x->r.input_bytes = k->input_bytes;
	}
	if (k->has_output) {
		x->r.output_digest = pb_bytes(k->output_digest, HASH_BYTES);
		x->r.output_bytes = k->output_bytes;
	}
	if (k->started_us)
		x->r.queue_us = k->started_us - k->arrived_us;
	if (k->started_us && k->done_us)
		x->r.worker_us = k->done_us - k->started_us;
}

/* --- effects ---------------------------------------------------------------------------------------------- */

static void do_intent(struct call *k)
{
	struct record_room x;
	uint64_t index;
	if (!k->kind->has_intent)
		return;
	call_record(k, FUMEHOOD__RECORD_KIND__INTENT, &x);
	x.r.threads = k->slot ? slot_threads(k->slot) : k->threads;
	log_append(k->b->log, &x.r, NULL, &index);
	k->intent_place = index + 1;
}

static void do_begin(struct call *k)
{
	struct err e;
	if (k->kind->begin(k, &e) != ERR_OK)
		call_failed(k, &e);
}

static void do_withdraw(struct call *k)
{
	if (k->kind->withdraw)
		k->kind->withdraw(k);
	call_withdraw(k);
}

static void do_abandon(struct call *k) { call_withdraw(k); }

static void do_record_answer(struct call *k)
{
	struct record_room x;
	call_record(k, FUMEHOOD__RECORD_KIND__COMPLETED, &x);
	k->kind->record(k, &x);
	log_append(k->b->log, &x.r, &k->wait, NULL);
}

static void do_record_error(struct call *k)
{
	struct record_room x;
	char detail[160];
	k->b->n_refusals++;
	call_record(k, FUMEHOOD__RECORD_KIND__REFUSED, &x);
	x.r.code = pb_text(err_name(k->error.code));
	x.r.text = k->error.text;
	snprintf(detail, sizeof detail, "%.159s", k->error.text);
	if (k->has_end)
		record_end(&x, k->verdict, &k->end, detail);
	log_append(k->b->log, &x.r, &k->wait, NULL);
}

static void do_mute(struct call *k) { (void)k; /* call_orphan has done it */ }

static void do_send_answer(struct call *k)
{
	Fumehood__Receipt r;
	struct err e;
	char *text = NULL;
	if (!k->c)
		return;
	if (receipt_fill(&r, k->stored, k->has_salt ? k->salt : NULL, &text, &e) == ERR_OK)
		k->kind->answer(k, &r);
	else
		client_drop(k->c);
	free(text);
}

/* What a failed load or call left: the worker's own words go along. */
static void error_words(struct call *k, Fumehood__Error *m)
{
	if (k->body_len > LIMIT_MODEL_INFO_BYTES) {
		free(k->body);
		k->body = NULL;
	}
	if (k->body)
		m->words = k->has_output ? FUMEHOOD__ERROR__WORDS__OUTPUTS : FUMEHOOD__ERROR__WORDS__MODEL_INFO;
}

void call_send_error(struct call *k, const struct err *why, Fumehood__Receipt *r)
{
	Fumehood__Error m;
	Fumehood__WorkerEnd end;
	struct walls_room walls;
	char *policies[FACTS_NAMES_MAX];
	fumehood__error__init(&m);
	m.code = pb_text(err_name(why->code));
	m.text = pb_text(why->text);
	m.receipt = r;
	for (unsigned i = 0; i < k->decision.n_policies; i++)
		policies[i] = k->decision.policies[i];
	m.policies = policies;
	m.n_policies = k->is_decided && !k->decision.allow ? k->decision.n_policies : 0;
	walls_fill(&walls, k->has_about ? &k->about : &k->b->wall);
	m.walls = &walls.w;
	if (k->has_end) {
		worker_end_fill(&end, k->verdict, &k->end, why->text);
		m.worker_end = &end;
	}
	error_words(k, &m);
	uint8_t *body = k->body;
	k->body = NULL;
	client_send(k->c, MSG_ERROR, k->id, &m.base, body, k->body_off, k->body_len);
}

static void do_send_error(struct call *k)
{
	Fumehood__Receipt r;
	struct err e;
	char *text = NULL;
	if (!k->c)
		return;
	if (receipt_fill(&r, k->stored, k->has_salt ? k->salt : NULL, &text, &e) == ERR_OK)
		call_send_error(k, &k->error, &r);
	else
		client_drop(k->c);
	free(text);
}

static void do_send_log_error(struct call *k)
{
	free(k->body);
	k->body = NULL;
	k->has_end = false;
	if (k->c)
		call_send_error(k, &k->error, NULL);
}

static void do_bug(struct call *k)
{
	struct err e;
	(void)err_set(&e, ERR_INTERNAL, "a request in the state %s met an event that cannot happen there",
	              request_state_name(k->state));
	broker_fail(k->b, &e);
}

static const struct {
	unsigned effect;
	void (*fn)(struct call *k);
} effects[] = {
	{ REQUEST_DO_INTENT, do_intent },
	{ REQUEST_DO_BEGIN, do_begin },
	{ REQUEST_DO_WITHDRAW, do_withdraw },
	{ REQUEST_DO_ABANDON, do_abandon },
	{ REQUEST_DO_RECORD_ANSWER, do_record_answer },
	{ REQUEST_DO_RECORD_ERROR, do_record_error },
	{ REQUEST_DO_MUTE, do_mute },
	{ REQUEST_DO_SEND_ANSWER, do_send_answer },
	{ REQUEST_DO_SEND_ERROR, do_send_error },
	{ REQUEST_DO_SEND_LOG_ERROR, do_send_log_error },
	{ REQUEST_DO_BUG, do_bug },
	{ REQUEST_DO_FREE, call_free },
};

/* BEGIN may raise the next event from inside; it is the last effect of its set, so nothing follows on a
 * state that has moved on. */
static void step(struct call *k, enum request_event event)
{
	unsigned todo = request_step(&k->state, event);
	for (size_t i = 0; i < sizeof effects / sizeof effects[0]; i++)
		if (todo & effects[i].effect)
			effects[i].fn(k);
}

/* --- events ------------------------------------------------------------------------------------------------ */

void call_begin(struct call *k, int rc, const struct err *e)
{
	if (rc != ERR_OK)
		k->error = *e;
	step(k, rc == ERR_OK ? REQUEST_ALLOWED : REQUEST_REFUSED);
}

void call_succeeded(struct call *k) { step(k, REQUEST_SUCCEEDED); }

void call_failed(struct call *k, const struct err *e)
{
	if (k->state != REQUEST_STORING_ERROR) /* the first reason counts */
		k->error = *e;
	step(k, REQUEST_FAILED);
}

static void take_about(struct call *k, const struct pool_about *about)
{
	if (!about)
		return;
	k->about = *about;
	k->has_about = true;
}

void call_turn_started(void *arg)
{
	struct call *k = arg;
	k->started_us = k->turn.started_us;
	step(k, REQUEST_STARTED);
}

static void take_body(struct call *k, uint8_t **body, size_t off, size_t len, const uint8_t digest[HASH_BYTES])
{
	k->body = *body;
	*body = NULL;
	k->body_off = off;
	k->body_len = len;
	if (k->body && k->turn.kind == TURN_CALL && k->started_us) {
		k->has_output = true;
		k->output_bytes = len;
		memcpy(k->output_digest, digest, HASH_BYTES);
	}
}

void call_turn_done(void *arg, struct turn_result *r)
{
	struct call *k = arg;
	struct err e;
	k->done_us = k->turn.done_us;
	take_about(k, r->about);
	take_body(k, &r->body, r->inner_off, r->inner_len, r->digest);
	if (k->body_len <= ANSWER_MAX_BYTES) {
		call_succeeded(k);
		return;
	}
	(void)err_set(&e, ERR_LIMIT, "the answer of %zu bytes is above the limit of %" PRIu64 " bytes", k->body_len,
	              ANSWER_MAX_BYTES);
	call_failed(k, &e);
}

void call_turn_failed(void *arg, struct turn_failure *f)
{
	struct call *k = arg;
	struct err e;
	if (k->started_us)
		k->done_us = loop_clock_us();
	take_about(k, f->about);
	take_body(k, &f->body, f->inner_off, f->inner_len, f->digest);
	k->has_end = f->has_end;
	k->verdict = f->verdict;
	k->end = f->end;
	(void)err_set(&e, f->code, "%s", f->text);
	call_failed(k, &e);
}

static void on_stored(void *arg, const struct audit_stored *s)
{
	struct call *k = arg;
	k->stored = s;
	step(k, REQUEST_STORED);
}

void call_orphan(struct call *k)
{
	struct err e;
	unlink_from(k);
	k->c->n_calls--;
	k->c = NULL;
	link_to(k, &k->b->orphans);
	(void)err_set(&e, ERR_IO, "the client left before its answer");
	if (k->state == REQUEST_WAITING || k->state == REQUEST_RUNNING)
		k->error = e;
	step(k, REQUEST_GONE);
}

void call_log_failed(struct broker *b, const struct err *e)
{
	for (struct client *c = b->clients; c; c = c->next)
		while (c->calls) {
			struct call *k = c->calls;
			k->error = *e;
			step(k, REQUEST_LOG_FAILED);
		}
	while (b->orphans)
		step(b->orphans, REQUEST_LOG_FAILED);
}

/* --- for the kinds ------------------------------------------------------------------------------------------ */

static void denial_text(const struct call *k, struct err *e)
{
	char names[200] = "";
	size_t at = 0;
	for (unsigned i = 0; i < k->decision.n_policies && at < sizeof names; i++)
		at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", k->decision.policies[i]);
	if (!k->decision.n_policies && k->decision.n_errors)
		snprintf(names, sizeof names, "an error in %.180s", k->decision.errors[0]);
	if (*names)
		(void)err_set(e, ERR_DENIED, "policy forbids %s on %s to %s: %s", k->action,
		              k->model ? k->model->label : "this server", k->who.principal, names);
	else
		(void)err_set(e, ERR_DENIED, "no policy permits %s on %s to %s", k->action,
		              k->model ? k->model->label : "this server", k->who.principal);
}

int call_decide(struct call *k, const struct facts_ask *more, struct err *e)
{
	struct facts_ask ask = *more;
	ask.uid = k->who.uid;
	ask.action = k->action;
	ask.model = k->model;
	ask.missing_layers = k->b->wall.missing;
	ask.now_unix = (int64_t)time(NULL);
	ask.now_mono_s = loop_now_ms(k->b->loop) / 1000;
	facts_decide(k->b->facts, &ask, &k->decision);
	k->is_decided = true;
	if (!k->decision.allow) {
		denial_text(k, e);
		return ERR_DENIED;
	}
	if (ask.is_use) {
		rate_begin(facts_rate(k->b->facts), ask.uid, ask.now_mono_s);
		k->is_counted = true;
	}
	return ERR_OK;
}

int call_unpack(const struct frame *f, const ProtobufCMessageDescriptor *type, void **out,
                struct frame_body *parts, struct err *e)
{
	int rc = frame_body_split(f->header.kind, f->body, f->header.length, parts, e);
	return rc == ERR_OK ? pb_unpack(type, parts->head, parts->head_len, NULL, out, e) : rc;
}
