/* SPDX-License-Identifier: Apache-2.0
 *
 * INFER -> ANSWER: one call of a model. The body that came is the body that the worker gets; of it the
 * broker reads the head (who is asked, how large) and has hashed every byte on arrival.
 *
 * Side: broker. Trusts: nothing of the client's. Owns: nothing beyond the call.
 */
#include "broker/call.h"
#include "proto/limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- kind ------------------------------------------------------------------------------------------ */

static int infer_begin(struct call *k, struct err *e)
{
	(void)e;
	k->turn.kind = TURN_CALL;
	k->turn.salt = k->salt;
	k->turn.isolation = k->isolation;
	k->turn.principal = k->who.principal;
	k->turn.deadline_ms = k->deadline_ms;
	k->turn.arg = k;
	k->turn.started = call_turn_started;
	k->turn.done = call_turn_done;
	k->turn.failed = call_turn_failed;
	slot_submit(k->slot, &k->turn);
	return ERR_OK;
}

static void infer_record(struct call *k, struct record_room *x)
{
	x->r.kind = FUMEHOOD__RECORD_KIND__COMPLETED;
	x->r.level = pb_text(k->about.level);
	x->r.threads = k->about.threads;
}

static void infer_answer(struct call *k, Fumehood__Receipt *r)
{
	Fumehood__Answer m;
	Fumehood__Timing t;
	struct walls_room walls;
	fumehood__answer__init(&m);
	fumehood__timing__init(&t);
	walls_fill(&walls, &k->about);
	t.queue_us = k->started_us - k->arrived_us;
	t.worker_us = k->done_us - k->started_us;
	t.log_us = loop_clock_us() - k->done_us;
	m.model_digest = pb_bytes(k->model->digest, HASH_BYTES);
	m.model = pb_text(k->model->is_unsigned ? "" : k->model->label);
	m.unsigned_model = k->model->is_unsigned;
	m.walls = &walls.w;
	m.timing = &t;
	m.receipt = r;
	m.level = pb_text(k->about.level);
	m.threads = k->about.threads;
	m.isolation = pb_text(isolation_name(k->isolation));
	uint8_t *body = k->body;
	k->body = NULL;
	client_send(k->c, MSG_ANSWER, k->id, &m.base, body, k->body_off, k->body_len);
}

static const struct call_kind kind_infer = { true, infer_begin, NULL, infer_record, infer_answer };

/* --- request -------------------------------------------------------------------------------------------- */

/* A model that this connection has open, or an admitted one. Sets the model and the action. */
static int find_target(struct call *k, const Fumehood__Infer *m, struct err *e)
{
	if (m->target_case == FUMEHOOD__INFER__TARGET_HANDLE) {
		k->action = "run";
		struct slot *s = client_handle_slot(k->c, m->handle);
		if (!s)
			return err_set(e, ERR_NOT_FOUND, "this connection has no model open under the handle %" PRIu64, m->handle);
		k->slot = slot_ref(s);
		k->model = model_ref((struct model *)(uintptr_t)slot_model(s));
		return ERR_OK;
	}
	if (m->target_case != FUMEHOOD__INFER__TARGET_MODEL)
		return err_set(e, ERR_INPUT, "the call names no model and no handle");
	return models_find(k->b->models, m->model, &k->model, e);
}

/* Signers as policy sees them. A model that is not loaded is checked in full when its worker starts. */
static int check_vouched(struct call *k, struct err *e)
{
	if (k->model->is_unsigned || k->model->vouch.n_signers)
		return ERR_OK;
	return models_check(k->b->models, k->model, (uint64_t)time(NULL), e);
}

/* Loading on first use is an act of its own: the caller may be permitted to load, or the broker itself
 * (Gate::Service::"fumehood") may. What forbids the caller to load forbids this. */
static int decide_load(struct call *k, struct err *e)
{
	const struct facts_answer use = k->decision;
	const char *action = k->action;
	struct facts_ask ask = { 0 };
	if (k->model->is_unsigned || slot_has_worker(k->slot))
		return ERR_OK;
	k->action = "load";
	int rc = call_decide(k, &ask, e);
	if (rc == ERR_DENIED && !k->decision.is_explicit) {
		ask.as_service = true;
		rc = call_decide(k, &ask, e);
	}
	k->action = action;
	if (rc == ERR_OK)
		k->decision = use;
	return rc;
}

static int find_slot(struct call *k, const Fumehood__Infer *m, struct err *e)
{
	if (m->threads > LIMIT_THREADS)
		return err_set(e, ERR_LIMIT, "%u threads, at most %d", m->threads, LIMIT_THREADS);
	k->isolation = k->decision.isolation;
	const struct slot_key key = { .threads = m->threads, .isolation = k->isolation, .principal = k->who.principal };
	if (!k->slot)
		return pool_slot_shared(k->b->pool, k->model, &key, &k->slot, e);
	if (k->isolation < slot_isolation(k->slot)) /* nobody but this connection has it */
		k->isolation = slot_isolation(k->slot);
	if (m->threads && m->threads != slot_threads(k->slot))
		return err_set(e, ERR_INPUT, "the model was opened with %u threads: open it again for %u",
		               slot_threads(k->slot), m->threads);
	return ERR_OK;
}

/* The largest first extent: what most models call the batch. */
static int64_t batch_of(const Fumehood__Infer *m)
{
	int64_t most = 1;
	for (size_t i = 0; i < m->n_inputs; i++)
		if (m->inputs[i]->n_dims && m->inputs[i]->dims[0] > most)
			most = m->inputs[i]->dims[0];
	return most;
}

static int admit_call(struct call *k, const Fumehood__Infer *m, size_t tail_len, struct err *e)
{
	struct facts_ask ask = { .purpose = m->purpose, .is_use = true, .input_bytes = tail_len,
	                         .n_tensors = m->n_inputs, .batch = batch_of(m) };
	if (!k->has_salt)
		return err_set(e, ERR_INTERNAL, "no randomness for the digest's salt");
	int rc = find_target(k, m, e);
	if (rc == ERR_OK)
		rc = check_vouched(k, e);
	if (rc == ERR_OK)
		rc = call_decide(k, &ask, e);
	if (rc == ERR_OK)
		rc = find_slot(k, m, e);
	if (rc == ERR_OK)
		rc = decide_load(k, e);
	if (rc == ERR_OK && m->n_inputs > LIMIT_TENSORS)
		rc = err_set(e, ERR_LIMIT, "%zu inputs, at most %d", m->n_inputs, LIMIT_TENSORS);
	return rc;
}

int on_infer(void *peer, struct frame *f, struct err *e)
{
	struct client *c = peer;
	struct frame_body parts;
	void *head;
	struct err why;
	int rc = call_unpack(f, &fumehood__infer__descriptor, &head, &parts, e);
	uint8_t digest[HASH_BYTES];
	hash_end(c->hash, digest);
	if (rc != ERR_OK)
		return rc;
	Fumehood__Infer *m = head;
	struct call *k = call_new(c, &kind_infer, "infer", f->header.request_id);
	if (k) {
		c->b->n_calls++;
		memcpy(k->salt, c->salt, sizeof k->salt);
		memcpy(k->input_digest, digest, sizeof k->input_digest);
		k->has_salt = c->has_salt;
		k->input_bytes = f->header.length;
		k->client_seq = m->client_seq;
		k->threads = m->threads;
		k->deadline_ms = m->deadline_ms && m->deadline_ms < c->b->conf.call_ms ? m->deadline_ms : 0;
		k->turn.body = f->body;
		k->turn.body_len = f->header.length;
		f->body = NULL;
		rc = admit_call(k, m, parts.tail_len, &why);
		call_begin(k, rc, &why);
	}
	protobuf_c_message_free_unpacked(&m->base, NULL);
	return ERR_OK;
}
