/* SPDX-License-Identifier: Apache-2.0
 *
 * HELLO -> WELCOME, LIST -> MODELS, STATUS -> STATUS_REPLY: requests that only read. They are answered at
 * once and leave no record; a refused one does.
 *
 * STATUS tells everybody that the service lives and how its wall stands; workers, models and counts only
 * those whom policy permits the action "stats".
 *
 * Side: broker. Trusts: nothing of the client's. Owns: nothing.
 */
#include "broker/call.h"
#include "proto/limits.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct call_kind kind_read = { false, NULL, NULL, NULL, NULL };

/* --- HELLO ------------------------------------------------------------------------------------------- */

int on_hello(void *peer, struct frame *f, struct err *e)
{
	struct client *c = peer;
	struct frame_body parts;
	void *head;
	struct walls_room walls;
	Fumehood__Welcome m;
	int rc = call_unpack(f, &fumehood__hello__descriptor, &head, &parts, e);
	if (rc != ERR_OK)
		return rc;
	Fumehood__Hello *hello = head;
	err_escape(c->who.client, sizeof c->who.client, hello->client, strlen(hello->client));
	protobuf_c_message_free_unpacked(&hello->base, NULL);
	c->state = CLIENT_OPEN;
	fumehood__welcome__init(&m);
	walls_fill(&walls, &c->b->wall);
	m.version = pb_text(FUMEHOOD_VERSION);
	m.instance = pb_text(c->b->is_private ? "private" : "service");
	m.uid = c->who.uid;
	m.principal = c->who.principal;
	m.walls = &walls.w;
	m.log_vkey = c->b->log_vkey;
	client_send(c, MSG_WELCOME, f->header.request_id, &m.base, NULL, 0, 0);
	return ERR_OK;
}

/* --- LIST ---------------------------------------------------------------------------------------------- */

/* One model's row with what it points to. */
struct row_room {
	Fumehood__ModelRow row;
	Fumehood__ModelFile files[LIMIT_MODEL_FILES], *file_list[LIMIT_MODEL_FILES];
	char *signers[LIMIT_NOTE_SIGNATURES];
	bool is_loaded;
	const struct model *model;
};

static void row_fill(struct row_room *x, const struct model *m)
{
	const struct model_note *n = m->note;
	x->model = m;
	fumehood__model_row__init(&x->row);
	x->row.name = pb_text(n->name);
	x->row.version = n->version;
	x->row.model_digest = pb_bytes(m->digest, HASH_BYTES);
	x->row.bytes_total = m->total_bytes;
	x->row.expires_unix = (int64_t)n->expires;
	for (size_t i = 0; i < m->vouch.n_signers; i++)
		x->signers[i] = pb_text(m->vouch.signers[i]);
	x->row.signers = x->signers;
	x->row.n_signers = m->vouch.n_signers;
	for (size_t i = 0; i < n->n_files; i++) {
		fumehood__model_file__init(&x->files[i]);
		x->files[i].path = n->files[i].path;
		x->files[i].size = n->files[i].bytes;
		x->files[i].sha256 = pb_bytes(n->files[i].sha256, HASH_BYTES);
		x->file_list[i] = &x->files[i];
	}
	x->row.files = x->file_list;
	x->row.n_files = n->n_files;
}

struct loaded_look {
	const struct model *model;
	bool is_loaded;
};

static void look_loaded(void *arg, const struct model *m, const char *state, const struct pool_about *about)
{
	struct loaded_look *l = arg;
	(void)about;
	if (m == l->model && (!strcmp(state, "idle") || !strcmp(state, "busy")))
		l->is_loaded = true;
}

/* "refused": trust does not let it be loaded now (deny list, roles, a newer version was used). */
static const char *row_state(struct broker *b, struct model *m)
{
	struct loaded_look look = { m, false };
	struct err e;
	int rc = models_check(b->models, m, (uint64_t)time(NULL), &e);
	pool_each(b->pool, &look, look_loaded);
	if (rc != ERR_OK)
		return rc == ERR_EXPIRED ? "expired" : "refused";
	if (pool_quarantined_ms(b->pool, m))
		return "quarantined";
	return look.is_loaded ? "loaded" : "ready";
}

/* As many rows as a message holds: the head's limit leaves room for thousands. */
static void send_models(struct call *k)
{
	Fumehood__Models m;
	size_t n = 0, at = 0;
	struct broker *b = k->b;
	for (const struct model *it = models_first(b->models); it; it = it->next)
		n++;
	struct row_room *rooms = calloc(n + 1, sizeof *rooms);
	Fumehood__ModelRow **list = calloc(n + 1, sizeof *list);
	fumehood__models__init(&m);
	if (!rooms || !list) {
		client_drop(k->c);
		goto out;
	}
	for (const struct model *it = models_first(b->models); it; it = it->next) {
		const char *state = row_state(b, (struct model *)(uintptr_t)it); /* refreshes its signers */
		row_fill(&rooms[at], it);
		rooms[at].row.state = pb_text(state);
		list[at] = &rooms[at].row;
		at++;
	}
	m.models = list;
	for (m.n_models = n; fumehood__models__get_packed_size(&m) > LIMIT_MODEL_INFO_BYTES; m.n_models /= 2)
		;
	client_send(k->c, MSG_MODELS, k->id, &m.base, NULL, 0, 0);
out:
	free(list);
	free(rooms);
}

int on_list(void *peer, struct frame *f, struct err *e)
{
	struct frame_body parts;
	void *head;
	struct err why;
	const struct facts_ask ask = { 0 };
	int rc = call_unpack(f, &fumehood__list__descriptor, &head, &parts, e);
	if (rc != ERR_OK)
		return rc;
	protobuf_c_message_free_unpacked(head, NULL);
	struct call *k = call_new(peer, &kind_read, "list", f->header.request_id);
	if (!k)
		return ERR_OK;
	rc = call_decide(k, &ask, &why);
	if (rc != ERR_OK) {
		call_begin(k, rc, &why);
		return ERR_OK;
	}
	send_models(k);
	call_free(k);
	return ERR_OK;
}

/* --- STATUS ----------------------------------------------------------------------------------------------- */

#define STATUS_WORKERS_MAX (2 * LIMIT_WORKERS)

struct status_room {
	Fumehood__StatusReply m;
	struct walls_room walls;
	Fumehood__WorkerRow rows[STATUS_WORKERS_MAX], *list[STATUS_WORKERS_MAX];
	char digests[STATUS_WORKERS_MAX][7 + HASH_HEX_BYTES + 1];
};

static void add_worker(void *arg, const struct model *m, const char *state, const struct pool_about *about)
{
	struct status_room *x = arg;
	size_t i = x->m.n_workers;
	if (i == STATUS_WORKERS_MAX)
		return;
	memcpy(x->digests[i], "sha256:", 7);
	hash_hex(m->digest, x->digests[i] + 7);
	fumehood__worker_row__init(&x->rows[i]);
	x->rows[i].pid = about->pid;
	x->rows[i].model = m->is_unsigned ? x->digests[i] : pb_text(m->label);
	x->rows[i].state = pb_text(state);
	x->rows[i].threads = about->threads;
	x->rows[i].calls = about->calls;
	x->rows[i].isolation = pb_text(isolation_name(about->isolation));
	x->rows[i].principal = pb_text(about->principal);
	x->list[i] = &x->rows[i];
	x->m.n_workers++;
}

static void status_fill(struct status_room *x, const struct broker *b, bool all)
{
	fumehood__status_reply__init(&x->m);
	walls_fill(&x->walls, &b->wall);
	x->m.version = pb_text(FUMEHOOD_VERSION);
	x->m.instance = pb_text(b->is_private ? "private" : "service");
	x->m.uptime_ms = (loop_clock_us() - b->started_us) / 1000;
	x->m.walls = &x->walls.w;
	x->m.log_vkey = pb_text(b->log_vkey);
	x->m.log_size = log_size(b->log);
	x->m.checkpoint = pb_text(log_checkpoint(b->log));
	if (!all)
		return;
	x->m.clients = b->n_clients;
	x->m.calls = b->n_calls;
	x->m.refusals = b->n_refusals;
	x->m.policy_digest = pb_text(facts_policy_digest(b->facts));
	x->m.policies = facts_n_policies(b->facts);
	x->m.cgroups = pb_text(b->cgroups_text);
	x->m.workers = x->list;
	pool_each(b->pool, x, add_worker);
}

int on_status(void *peer, struct frame *f, struct err *e)
{
	struct frame_body parts;
	void *head;
	struct err why;
	struct status_room x;
	const struct facts_ask ask = { 0 };
	int rc = call_unpack(f, &fumehood__status__descriptor, &head, &parts, e);
	if (rc != ERR_OK)
		return rc;
	protobuf_c_message_free_unpacked(head, NULL);
	struct call *k = call_new(peer, &kind_read, "stats", f->header.request_id);
	if (!k)
		return ERR_OK;
	status_fill(&x, k->b, call_decide(k, &ask, &why) == ERR_OK);
	client_send(k->c, MSG_STATUS_REPLY, k->id, &x.m.base, NULL, 0, 0);
	call_free(k);
	return ERR_OK;
}
