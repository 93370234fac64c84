/* SPDX-License-Identifier: Apache-2.0
 *
 * MODEL_OPEN and INSPECT -> MODEL_OPENED: a worker holds a model (a client's own file, or an admitted one
 * to be described), and its description goes to the client unread.
 *
 * Side: broker. Trusts: nothing of the client's; the file's name is for the record only. Owns: nothing
 * beyond the call.
 */
#include "broker/call.h"
#include "proto/limits.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* --- kind ------------------------------------------------------------------------------------------ */

static void submit_load(struct call *k)
{
	k->turn.kind = TURN_LOAD;
	k->turn.arg = k;
	k->turn.started = call_turn_started;
	k->turn.done = call_turn_done;
	k->turn.failed = call_turn_failed;
	slot_submit(k->slot, &k->turn);
}

static int make_slot(struct call *k, struct err *e)
{
	return pool_slot_own(k->b->pool, k->model, k->threads, k->memory_bytes, k->inspect_only, &k->slot, e);
}

static void on_copied(void *arg, int rc, const struct err *why, struct model *m)
{
	struct call *k = arg;
	struct err e = *why;
	k->job = NULL;
	k->model = m;
	if (rc == ERR_OK)
		rc = make_slot(k, &e);
	if (rc == ERR_OK)
		submit_load(k);
	else
		call_failed(k, &e);
}

static int open_begin(struct call *k, struct err *e)
{
	int fd = k->fds[0];
	k->n_fds = 0;
	return models_open(k->b->models, fd, k->file_name, on_copied, k, &k->job, e);
}

static int inspect_begin(struct call *k, struct err *e)
{
	int rc = make_slot(k, e);
	if (rc == ERR_OK)
		submit_load(k);
	return rc;
}

static void open_record(struct call *k, struct record_room *x)
{
	(void)k;
	x->r.kind = FUMEHOOD__RECORD_KIND__LOADED;
}

/* Gives the model a handle when it is to be used; its slot is then the connection's. */
static int take_handle(struct call *k, uint64_t *id, struct err *e)
{
	*id = 0;
	if (k->inspect_only)
		return ERR_OK;
	int rc = client_handle_new(k->c, k->slot, id, e);
	if (rc == ERR_OK)
		k->slot = NULL;
	return rc;
}

static void open_answer(struct call *k, Fumehood__Receipt *r)
{
	Fumehood__ModelOpened m;
	struct walls_room walls;
	char *signers[LIMIT_NOTE_SIGNATURES];
	struct err e;
	fumehood__model_opened__init(&m);
	if (take_handle(k, &m.handle, &e) != ERR_OK) {
		client_drop(k->c); /* room was there when it asked: it asked for many at once */
		return;
	}
	walls_fill(&walls, &k->about);
	m.model_digest = pb_bytes(k->model->digest, HASH_BYTES);
	if (k->model->has_one_file)
		m.file_sha256 = pb_bytes(k->model->file_sha256, HASH_BYTES);
	m.file_bytes = k->model->total_bytes;
	if (k->model->note) {
		m.name = k->model->note->name;
		m.version = k->model->note->version;
	}
	m.unsigned_model = k->model->is_unsigned;
	for (size_t i = 0; i < k->model->vouch.n_signers; i++)
		signers[i] = k->model->vouch.signers[i];
	m.signers = signers;
	m.n_signers = k->model->vouch.n_signers;
	m.walls = &walls.w;
	m.receipt = r;
	m.load_us = k->done_us - k->arrived_us;
	uint8_t *body = k->body;
	k->body = NULL;
	client_send(k->c, MSG_MODEL_OPENED, k->id, &m.base, body, k->body_off, k->body_len);
}

static const struct call_kind kind_open = { false, open_begin, NULL, open_record, open_answer };
static const struct call_kind kind_inspect = { false, inspect_begin, NULL, open_record, open_answer };

/* --- requests -------------------------------------------------------------------------------------------- */

static int admit_open(struct call *k, struct err *e)
{
	const struct facts_ask ask = { 0 };
	if (k->threads > LIMIT_THREADS)
		return err_set(e, ERR_LIMIT, "%u threads, at most %d", k->threads, LIMIT_THREADS);
	if (k->memory_bytes > k->b->conf.memory_bytes)
		return err_set(e, ERR_LIMIT, "%" PRIu64 " bytes of memory, at most %" PRIu64 " (memory_bytes)",
		               k->memory_bytes, k->b->conf.memory_bytes);
	if (!k->inspect_only && !client_has_room_for_handle(k->c))
		return err_set(e, ERR_LIMIT, "this connection has %d models open, which is the limit: use another one",
		               LIMIT_HANDLES_PER_CLIENT);
	return call_decide(k, &ask, e);
}

int on_model_open(void *peer, struct frame *f, struct err *e)
{
	struct frame_body parts;
	void *head;
	struct err why;
	int rc = call_unpack(f, &fumehood__model_open__descriptor, &head, &parts, e);
	if (rc != ERR_OK)
		return rc;
	Fumehood__ModelOpen *m = head;
	bool inspect = m->purpose == FUMEHOOD__MODEL_OPEN__PURPOSE__INSPECT;
	struct call *k = call_new(peer, &kind_open, inspect ? "inspect" : "run", f->header.request_id);
	if (k) {
		k->fds[0] = f->fds[0];
		k->n_fds = 1;
		f->fds[0] = -1;
		k->inspect_only = inspect;
		k->threads = m->threads;
		k->memory_bytes = m->memory_bytes;
		err_escape(k->file_name, sizeof k->file_name, m->file_name, strlen(m->file_name));
		rc = admit_open(k, &why);
		call_begin(k, rc, &why);
	}
	protobuf_c_message_free_unpacked(&m->base, NULL);
	return ERR_OK;
}

static int admit_inspect(struct call *k, const char *ref, struct err *e)
{
	const struct facts_ask ask = { 0 };
	int rc = models_find(k->b->models, ref, &k->model, e);
	if (rc == ERR_OK)
		rc = models_check(k->b->models, k->model, (uint64_t)time(NULL), e);
	return rc == ERR_OK ? call_decide(k, &ask, e) : rc;
}

int on_inspect(void *peer, struct frame *f, struct err *e)
{
	struct frame_body parts;
	void *head;
	struct err why;
	int rc = call_unpack(f, &fumehood__inspect__descriptor, &head, &parts, e);
	if (rc != ERR_OK)
		return rc;
	Fumehood__Inspect *m = head;
	struct call *k = call_new(peer, &kind_inspect, "inspect", f->header.request_id);
	if (k) {
		k->inspect_only = true;
		rc = admit_inspect(k, m->model, &why);
		call_begin(k, rc, &why);
	}
	protobuf_c_message_free_unpacked(&m->base, NULL);
	return ERR_OK;
}
