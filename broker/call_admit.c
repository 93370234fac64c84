/* SPDX-License-Identifier: Apache-2.0
 *
 * ADMIT -> ADMITTED: a signed model comes into the store. The note is checked against trust before
 * policy is asked, and policy is asked before a byte of the files is read.
 *
 * Side: broker. Trusts: nothing of the client's; the trust rules. Owns: nothing beyond the call.
 */
#include "broker/call.h"

#include <time.h>

static void on_admitted(void *arg, int rc, const struct err *e, struct model *m)
{
	struct call *k = arg;
	k->job = NULL;
	model_unref(m); /* k->model is the same */
	if (rc == ERR_OK)
		call_succeeded(k);
	else
		call_failed(k, e);
}

static int admit_begin(struct call *k, struct err *e)
{
	unsigned n = k->n_fds;
	k->n_fds = 0;
	return models_admit(k->b->models, k->model, k->fds, n, on_admitted, k, &k->job, e);
}

static void admit_record(struct call *k, struct record_room *x)
{
	x->r.kind = FUMEHOOD__RECORD_KIND__ADMITTED_MODEL;
	x->r.trust_version = trust_version(k->b->trust);
}

static void admit_answer(struct call *k, Fumehood__Receipt *r)
{
	Fumehood__Admitted m;
	char *signers[LIMIT_NOTE_SIGNATURES];
	fumehood__admitted__init(&m);
	m.name = k->model->note->name;
	m.version = k->model->note->version;
	m.model_digest = pb_bytes(k->model->digest, HASH_BYTES);
	for (size_t i = 0; i < k->model->vouch.n_signers; i++)
		signers[i] = k->model->vouch.signers[i];
	m.signers = signers;
	m.n_signers = k->model->vouch.n_signers;
	m.receipt = r;
	client_send(k->c, MSG_ADMITTED, k->id, &m.base, NULL, 0, 0);
}

static const struct call_kind kind_admit = { false, admit_begin, NULL, admit_record, admit_answer };

static int admit_model(struct call *k, const struct frame_body *parts, uint32_t n_files, struct err *e)
{
	const struct facts_ask ask = { 0 };
	if (n_files != k->n_fds)
		return err_set(e, ERR_INPUT, "%u files were announced, %u came", n_files, k->n_fds);
	int rc = models_candidate(k->b->models, (const char *)parts->tail, parts->tail_len, k->n_fds,
	                          (uint64_t)time(NULL), &k->model, e);
	return rc == ERR_OK ? call_decide(k, &ask, e) : rc;
}

int on_admit(void *peer, struct frame *f, struct err *e)
{
	struct frame_body parts;
	void *head;
	struct err why;
	int rc = call_unpack(f, &fumehood__admit__descriptor, &head, &parts, e);
	if (rc != ERR_OK)
		return rc;
	Fumehood__Admit *m = head;
	struct call *k = call_new(peer, &kind_admit, "admit", f->header.request_id);
	if (k) {
		for (unsigned i = 0; i < f->n_fds; i++) {
			k->fds[k->n_fds++] = f->fds[i];
			f->fds[i] = -1;
		}
		rc = admit_model(k, &parts, m->n_files, &why);
		call_begin(k, rc, &why);
	}
	protobuf_c_message_free_unpacked(&m->base, NULL);
	return ERR_OK;
}
