/* SPDX-License-Identifier: Apache-2.0
 *
 * One conversation with a broker: see talk.h.
 * Side: cli. Trusts: the kernel for who owns the socket; no text in an answer. Owns: the connection.
 */
#include "broker/ctl/talk_in.h"

#include "broker/conf.h"
#include "broker/ctl/files.h"
#include "broker/place.h"
#include "proto/pb.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HELLO_MS 10000
#define RACE_MS 20000 /* how long lost races are tried again */
#define TICK_MS 200

/* --- answers ---------------------------------------------------------------------------------- */

/* The wanted answer of each request; the head's type by message. */
static const ProtobufCMessageDescriptor *head_type(uint16_t kind)
{
	static const struct {
		uint16_t kind;
		const ProtobufCMessageDescriptor *type;
	} rows[] = {
		{ MSG_WELCOME, &fumehood__welcome__descriptor },   { MSG_MODEL_OPENED, &fumehood__model_opened__descriptor },
		{ MSG_ANSWER, &fumehood__answer__descriptor },     { MSG_ADMITTED, &fumehood__admitted__descriptor },
		{ MSG_MODELS, &fumehood__models__descriptor },     { MSG_STATUS_REPLY, &fumehood__status_reply__descriptor },
		{ MSG_ERROR, &fumehood__error__descriptor },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].kind == kind)
			return rows[i].type;
	return NULL;
}

void talk_answer_clear(struct talk_answer *a)
{
	if (a->head)
		protobuf_c_message_free_unpacked(a->head, NULL);
	if (a->error)
		fumehood__error__free_unpacked(a->error, NULL);
	if (a->info)
		fumehood__model_info__free_unpacked(a->info, NULL);
	frame_clear(&a->frame);
	*a = (struct talk_answer){ .head = NULL };
}

/* The worker's inner body in a tail: hostile, checked before it is unpacked. */
static int inner_unpack(const struct frame_body *b, const ProtobufCMessageDescriptor *type, void **out, struct err *e)
{
	struct frame_body inner;
	int rc = frame_inner_split(b->tail, b->tail_len, &inner, e);
	return rc == ERR_OK ? pb_unpack(type, inner.head, inner.head_len, NULL, out, e) : rc;
}

/* Appends the worker's own words to the broker's error. Words that do not unpack are left out: the
 * broker's code stands either way. */
static void words_append(struct talk_answer *a, struct err *e)
{
	Fumehood__Outputs *o = NULL;
	void *m = NULL;
	const char *words = NULL;
	if (a->error->words == FUMEHOOD__ERROR__WORDS__OUTPUTS &&
	    inner_unpack(&a->body, &fumehood__outputs__descriptor, &m, NULL) == ERR_OK) {
		o = m;
		words = o->error;
	} else if (a->error->words == FUMEHOOD__ERROR__WORDS__MODEL_INFO &&
	           inner_unpack(&a->body, &fumehood__model_info__descriptor, &m, NULL) == ERR_OK) {
		a->info = m;
		for (size_t i = 0; i < a->info->n_facts && !words; i++)
			words = a->info->facts[i]->severity == 2 ? a->info->facts[i]->text : NULL;
	}
	size_t len = strlen(e->text);
	if (words && words[0])
		snprintf(e->text + len, sizeof e->text - len, ": %s", ctl_line(words));
	if (o)
		fumehood__outputs__free_unpacked(o, NULL);
}

static json_t *strings_json(char *const *texts, size_t n)
{
	json_t *a = json_array();
	for (size_t i = 0; a && i < n; i++)
		json_array_append_new(a, ctl_json_text(texts[i], strlen(texts[i])));
	return a;
}

json_t *walls_json(const Fumehood__Walls *w)
{
	if (!w)
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "tier", ctl_json_text(w->tier, strlen(w->tier)), "standing",
	                 strings_json(w->standing, w->n_standing), "missing", strings_json(w->missing, w->n_missing));
}

static json_t *base64_json(ProtobufCBinaryData d)
{
	size_t cap = sodium_base64_encoded_len(d.len, sodium_base64_VARIANT_ORIGINAL);
	char *b = malloc(cap);
	json_t *v = b ? json_string(sodium_bin2base64(b, cap, d.data, d.len, sodium_base64_VARIANT_ORIGINAL)) : NULL;
	free(b);
	return v;
}

json_t *receipt_json(const Fumehood__Receipt *r)
{
	if (!r)
		return json_null();
	return json_pack("{s:I, s:b, s:o, s:o, s:o}", "index", (json_int_t)r->index, "verified", 1, "entry_base64",
	                 base64_json(r->entry), "tlog_proof", ctl_json_text(r->tlog_proof, strlen(r->tlog_proof)),
	                 "salt", ctl_json_hex(r->salt.data, r->salt.len < 64 ? r->salt.len : 64));
}

void walls_say(const struct ctl *c, const Fumehood__Walls *w)
{
	char list[400] = "";
	size_t n = 0;
	for (size_t i = 0; w && i < w->n_missing && n < sizeof list; i++)
		n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", ctl_str(w->missing[i]));
	if (n)
		ctl_say(c, "wall     missing on this kernel: %s (named optional; fumehood doctor tells more)", list);
}

static json_t *error_json(const Fumehood__Error *m, bool has_receipt)
{
	json_t *o = json_object();
	if (!o)
		return NULL;
	if (m->n_policies)
		json_object_set_new(o, "policies", strings_json(m->policies, m->n_policies));
	if (m->receipt && has_receipt)
		json_object_set_new(o, "receipt", receipt_json(m->receipt));
	if (m->walls)
		json_object_set_new(o, "walls", walls_json(m->walls));
	if (m->worker_end)
		json_object_set_new(o, "worker_end", json_pack("{s:o, s:i, s:i, s:o}", "class",
		                                               ctl_json_text(m->worker_end->end_class,
		                                                             strlen(m->worker_end->end_class)),
		                                               "signal", (int)m->worker_end->signal, "exit_code",
		                                               (int)m->worker_end->exit_code, "detail",
		                                               ctl_json_text(m->worker_end->detail,
		                                                             strlen(m->worker_end->detail))));
	return o;
}

/* --- asking -------------------------------------------------------------------------------------- */

static int frame_wait(struct talk *t, const struct ctl *c, const char *waiting, struct frame *f, struct err *e)
{
	uint64_t start = clock_ms();
	bool draws = waiting && c && !c->quiet && !c->json && isatty(STDERR_FILENO), drawn = false;
	int rc;
	while ((rc = frame_recv(&t->rx, t->fd, draws ? TICK_MS : -1, f, e)) == ERR_DEADLINE) {
		uint64_t s = (clock_ms() - start) / 1000;
		if (s >= 1)
			fprintf(stderr, "\r%s %llu s", waiting, (unsigned long long)s), drawn = true;
	}
	if (drawn)
		fprintf(stderr, "\r\033[K");
	return rc > 0 ? ERR_OK : rc;
}

/* Splits and unpacks the head of an answer. */
static int answer_read(struct talk_answer *a, uint16_t want, struct err *e)
{
	uint16_t kind = a->frame.header.kind;
	void *m = NULL;
	int rc = frame_body_split(kind, a->frame.body, (size_t)a->frame.header.length, &a->body, e);
	if (rc == ERR_OK && kind != want && kind != MSG_ERROR)
		rc = err_set(e, ERR_PROTOCOL, "the broker answered %s, not %s", msg_name(kind), msg_name(want));
	if (rc == ERR_OK)
		rc = pb_unpack(head_type(kind), a->body.head, a->body.head_len, NULL, &m, e);
	if (rc == ERR_OK && kind == MSG_ERROR)
		a->error = m;
	else if (rc == ERR_OK)
		a->head = m;
	return rc;
}

/* The receipt inside an answer and what it must be about. */
static int answer_receipt(const struct talk *t, const struct talk_ask *ask, const struct iovec *request, unsigned n,
                          struct talk_answer *a, struct err *e)
{
	struct receipt_want want = { .what = "answer" };
	const Fumehood__Receipt *r = NULL;
	if (a->error) {
		if (!(r = a->error->receipt)) /* refused before there was a call */
			return ERR_OK;
		want.what = "refusal";
		if (ask->kind == MSG_INFER && r->salt.len)
			want.request = request, want.n_request = n;
	} else if (ask->want == MSG_ANSWER) {
		const Fumehood__Answer *m = (const Fumehood__Answer *)(const void *)a->head;
		r = m->receipt;
		want.model_digest = m->model_digest.len == HASH_BYTES ? m->model_digest.data : (const uint8_t *)"";
		want.request = request, want.n_request = n;
		want.output = a->body.tail, want.output_len = a->body.tail_len;
		if (m->model_digest.len != HASH_BYTES)
			return err_set(e, ERR_PROTOCOL, "the answer names no model");
	} else if (ask->want == MSG_MODEL_OPENED) {
		const Fumehood__ModelOpened *m = (const Fumehood__ModelOpened *)(const void *)a->head;
		r = m->receipt;
		want.model_digest = m->model_digest.len == HASH_BYTES ? m->model_digest.data : NULL;
	} else if (ask->want == MSG_ADMITTED) {
		const Fumehood__Admitted *m = (const Fumehood__Admitted *)(const void *)a->head;
		r = m->receipt;
		want.model_digest = m->model_digest.len == HASH_BYTES ? m->model_digest.data : NULL;
	} else {
		return ERR_OK;
	}
	int rc = receipt_check(&t->log_key, r, &want, e);
	a->has_receipt = rc == ERR_OK;
	a->receipt_index = a->has_receipt ? r->index : 0;
	return rc;
}

static int error_take(struct ctl *c, struct talk_answer *a, struct err *e)
{
	int code = err_from_name(a->error->code, strlen(a->error->code));
	err_set(e, code, "%s", ctl_line(a->error->text));
	words_append(a, e);
	if (c) {
		json_decref(c->error_extra);
		c->error_extra = error_json(a->error, a->has_receipt);
	}
	return code;
}

static int answer_take(struct talk *t, struct ctl *c, const struct talk_ask *ask, const struct iovec *request,
                       unsigned n, struct talk_answer *a, struct err *e)
{
	void *m = NULL;
	int rc = answer_read(a, ask->want, e);
	if (rc == ERR_OK && t->welcome)
		rc = answer_receipt(t, ask, request, n, a, e);
	if (rc == ERR_OK && a->error)
		return error_take(c, a, e);
	if (rc == ERR_OK && ask->want == MSG_MODEL_OPENED) {
		rc = inner_unpack(&a->body, &fumehood__model_info__descriptor, &m, e);
		a->info = m;
	}
	return rc;
}

int talk_request(struct talk *t, struct ctl *c, const struct talk_ask *ask, struct talk_answer *out, struct err *e)
{
	uint8_t *front = NULL;
	size_t front_len = 0, tail_len = 0;
	uint64_t id = t->next_id++;
	*out = (struct talk_answer){ .head = NULL };
	for (unsigned i = 0; i < ask->n_tail; i++)
		tail_len += ask->tail[i].iov_len;
	struct iovec *parts = calloc(ask->n_tail + 1, sizeof *parts);
	int rc = parts ? frame_front_pack(ask->kind, ask->head, tail_len, &front, &front_len, e)
	               : err_set(e, ERR_NOMEM, "no memory for a request");
	if (rc != ERR_OK)
		goto out;
	parts[0] = (struct iovec){ front, front_len };
	if (ask->n_tail)
		memcpy(parts + 1, ask->tail, ask->n_tail * sizeof *parts);
	rc = frame_send(t->fd, ask->kind, id, parts, ask->n_tail + 1, ask->fds, ask->n_fds, -1, e);
	/* A broker that refuses a request early has already said why. */
	struct err lost = { .code = ERR_OK };
	if (frame_wait(t, c, ask->waiting, &out->frame, rc == ERR_OK ? e : &lost) != ERR_OK)
		rc = rc == ERR_OK ? e->code : rc;
	else if (out->frame.header.request_id != id && out->frame.header.kind != MSG_ERROR)
		rc = err_set(e, ERR_PROTOCOL, "the broker answered another request");
	else
		rc = answer_take(t, c, ask, parts, ask->n_tail + 1, out, e);
out:
	free(parts);
	free(front);
	return rc;
}

/* --- connecting ------------------------------------------------------------------------------------ */

static int hello(struct talk *t, struct ctl *c, struct err *e)
{
	Fumehood__Hello m;
	struct talk_answer a;
	char name[] = "fumehood " FUMEHOOD_VERSION;
	fumehood__hello__init(&m);
	m.client = name;
	const struct talk_ask ask = { .kind = MSG_HELLO, .want = MSG_WELCOME, .head = &m.base };
	int rc = talk_request(t, c, &ask, &a, e);
	if (rc == ERR_OK) {
		t->welcome = (Fumehood__Welcome *)(void *)a.head;
		a.head = NULL;
		rc = note_vkey_parse(t->welcome->log_vkey, strlen(t->welcome->log_vkey), &t->log_key, e);
		if (rc != ERR_OK)
			rc = err_set(e, ERR_LOG, "the broker names no key of its log");
	}
	talk_answer_clear(&a);
	return rc;
}

void talk_close(struct talk *t)
{
	if (!t)
		return;
	if (t->welcome)
		fumehood__welcome__free_unpacked(t->welcome, NULL);
	frame_rx_clear(&t->rx);
	if (t->fd >= 0)
		close(t->fd);
	free(t);
}

const Fumehood__Welcome *talk_welcome(const struct talk *t) { return t->welcome; }

/* One try at one socket. *gone: somebody was there and went away before WELCOME. */
static int try_one(struct ctl *c, const char *path, struct talk **out, bool *gone, struct err *e)
{
	struct talk *t = calloc(1, sizeof *t);
	if (!t)
		return err_set(e, ERR_NOMEM, "no memory for a connection");
	t->fd = -1;
	t->next_id = 1;
	frame_rx_init(&t->rx, ROLE_BROKER, ROLE_CLIENT, LIMIT_FRAME_BODY_BYTES);
	int rc = place_connect(path, &t->fd, e);
	if (rc == ERR_OK && (rc = hello(t, c, e)) != ERR_OK)
		*gone = rc == ERR_IO || rc == ERR_PROTOCOL;
	if (rc == ERR_OK)
		*out = t;
	else
		talk_close(t);
	return rc;
}

struct places {
	char path[2][PATH_MAX];
	unsigned n;
	char state_dir[PATH_MAX];
};

static int places_find(const struct ctl *c, struct places *p, struct err *e)
{
	char *dflt = NULL;
	int rc = ctl_state_dir(c, p->state_dir, sizeof p->state_dir, e);
	p->n = 0;
	if (rc == ERR_OK && c->socket) {
		if (snprintf(p->path[p->n++], PATH_MAX, "%s", c->socket) >= PATH_MAX)
			rc = err_set(e, ERR_LIMIT, "--socket: longer than %d bytes", PATH_MAX);
		return rc;
	}
	if (rc == ERR_OK && !c->state_dir && (rc = conf_default_socket(&dflt, e)) == ERR_OK &&
	    snprintf(p->path[p->n++], PATH_MAX, "%s", dflt) >= PATH_MAX)
		rc = err_set(e, ERR_LIMIT, "the default socket's path is too long");
	if (rc == ERR_OK)
		rc = ctl_state_path(c, "broker.sock", p->path[p->n++], PATH_MAX, e);
	free(dflt);
	return rc;
}

/* Tries every place once. ERR_NOT_FOUND: nobody anywhere. */
static int try_all(struct ctl *c, const struct places *p, struct talk **out, bool *gone, struct err *e)
{
	int rc = ERR_NOT_FOUND;
	for (unsigned i = 0; i < p->n; i++)
		if ((rc = try_one(c, p->path[i], out, gone, e)) != ERR_NOT_FOUND)
			return rc;
	return err_set(e, ERR_NOT_FOUND, "no broker listens at %s: start one with `fumehood serve`",
	               ctl_str(p->path[p->n - 1]));
}

static void pause_ms(long ms)
{
	struct timespec t = { 0, ms * 1000000 };
	nanosleep(&t, NULL);
}

int talk_open(const struct ctl *c_in, enum talk_start start, struct talk **out, struct err *e)
{
	struct ctl c = *c_in; /* errors of HELLO bring no details */
	struct places *p = calloc(1, sizeof *p);
	uint64_t until = clock_ms() + RACE_MS;
	c.error_extra = NULL;
	if (sodium_init() < 0)
		return free(p), err_set(e, ERR_INTERNAL, "libsodium does not start");
	int rc = p ? places_find(&c, p, e) : err_set(e, ERR_NOMEM, "no memory for a connection");
	for (long wait = 2; rc == ERR_OK && !*out; wait = wait < 64 ? wait * 2 : wait) {
		bool gone = false, again;
		rc = try_all(&c, p, out, &gone, e);
		/* A broker that is just ending loses its socket, then its lock: the start below waits for that. */
		if (rc == ERR_NOT_FOUND && start == TALK_PRIVATE && !c.socket) {
			rc = broker_start(p->state_dir, e);
			again = rc == ERR_OK || rc == ERR_BUSY;
			gone = rc == ERR_BUSY;
		} else {
			again = gone && start == TALK_PRIVATE;
		}
		if (again && clock_ms() < until) {
			rc = ERR_OK;
			if (gone)
				pause_ms(wait);
		}
	}
	json_decref(c.error_extra);
	free(p);
	return rc;
}
