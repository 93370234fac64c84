/* SPDX-License-Identifier: Apache-2.0
 *
 * Records: see record.h.
 * Side: broker. Trusts: nothing. Owns: nothing.
 */
#include "broker/record.h"

#include <string.h>

static size_t layer_names(uint64_t mask, char **out)
{
	size_t n = 0;
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (mask >> i & 1)
			out[n++] = pb_text(layer_rows[i].name);
	return n;
}

void record_begin(struct record_room *x, Fumehood__RecordKind kind, const struct broker *b,
                  const struct pool_about *about)
{
	const struct pool_about *a = about ? about : &b->wall;
	fumehood__record__init(&x->r);
	x->r.kind = kind;
	x->r.version = pb_text(FUMEHOOD_VERSION);
	x->r.walls = a->layers;
	x->r.walls_missing = x->missing;
	x->r.n_walls_missing = layer_names(a->missing, x->missing);
	if (about) {
		x->r.level = pb_text(about->level);
		x->r.blas_core = pb_text(about->blas_core);
		x->r.threads = about->threads;
	}
}

void record_caller(struct record_room *x, const struct caller *c)
{
	fumehood__caller__init(&x->caller);
	x->caller.principal = pb_text(c->principal);
	x->caller.uid = c->uid;
	x->caller.gid = c->gid;
	x->caller.pid = c->pid;
	x->caller.client = pb_text(c->client);
	x->r.caller = &x->caller;
}

void record_model(struct record_room *x, const struct model *m)
{
	static const uint8_t none[HASH_BYTES];
	if (!m)
		return;
	x->r.model = pb_text(m->label);
	x->r.unsigned_model = m->is_unsigned;
	if (memcmp(m->digest, none, HASH_BYTES)) /* zeros: the copy was not complete */
		x->r.model_digest = pb_bytes(m->digest, HASH_BYTES);
	if (m->has_one_file && memcmp(m->file_sha256, none, HASH_BYTES))
		x->r.file_sha256 = pb_bytes(m->file_sha256, HASH_BYTES);
	for (size_t i = 0; i < m->vouch.n_signers; i++)
		x->signers[i] = pb_text(m->vouch.signers[i]);
	x->r.signers = x->signers;
	x->r.n_signers = m->vouch.n_signers;
}

void record_decision(struct record_room *x, const struct facts_answer *a)
{
	fumehood__decision__init(&x->decision);
	for (unsigned i = 0; i < a->n_policies; i++)
		x->policies[i] = pb_text(a->policies[i]);
	for (unsigned i = 0; i < a->n_errors; i++)
		x->errors[i] = pb_text(a->errors[i]);
	x->decision.allow = a->allow;
	x->decision.policies = x->policies;
	x->decision.n_policies = a->n_policies;
	x->decision.errors = x->errors;
	x->decision.n_errors = a->n_errors;
	x->r.decision = &x->decision;
}

void worker_end_fill(Fumehood__WorkerEnd *out, enum verdict v, const struct worker_end *end, const char *detail)
{
	fumehood__worker_end__init(out);
	out->end_class = pb_text(verdict_name(v));
	out->signal = end->by_signal ? (uint32_t)end->code : 0;
	out->exit_code = end->by_signal ? 0 : (uint32_t)end->code;
	out->detail = pb_text(detail);
}

void record_end(struct record_room *x, enum verdict v, const struct worker_end *end, const char *detail)
{
	worker_end_fill(&x->end, v, end, detail);
	x->r.worker_end = &x->end;
}

void walls_fill(struct walls_room *x, const struct pool_about *about)
{
	fumehood__walls__init(&x->w);
	x->w.tier = pb_text(about->missing ? "strict, degraded" : "strict");
	x->w.standing = x->standing;
	x->w.n_standing = layer_names(about->layers, x->standing);
	x->w.missing = x->missing;
	x->w.n_missing = layer_names(about->missing, x->missing);
}

int receipt_fill(Fumehood__Receipt *out, const struct audit_stored *s, const uint8_t *salt, char **text,
                 struct err *e)
{
	size_t len;
	fumehood__receipt__init(out);
	*text = NULL;
	int rc = receipt_format(s->index, &s->proof, s->checkpoint, s->checkpoint_len, text, &len, e);
	if (rc != ERR_OK)
		return rc;
	out->index = s->index;
	out->entry = pb_bytes(s->entry, s->entry_len);
	out->tlog_proof = *text;
	if (salt)
		out->salt = pb_bytes(salt, HASH_SALT_BYTES);
	return ERR_OK;
}
