/* SPDX-License-Identifier: Apache-2.0
 *
 * A receipt, checked: it is in the log that the key signs for, and its entry is about this call. Without
 * the second half a broker could hand out somebody else's receipt.
 * Side: cli. Trusts: the log's key. Owns: nothing.
 */
#include "broker/ctl/talk_in.h"

#include "audit/audit.h"
#include "proto/pb.h"

#include <string.h>

static bool is_digest(ProtobufCBinaryData d, const uint8_t want[HASH_BYTES])
{
	return d.len == HASH_BYTES && memcmp(d.data, want, HASH_BYTES) == 0;
}

/* SHA-256(salt || parts). */
static int salted(const Fumehood__Receipt *r, const struct iovec *parts, unsigned n, uint8_t out[HASH_BYTES],
                  struct err *e)
{
	struct hash *h = hash_new();
	if (!h)
		return err_set(e, ERR_NOMEM, "no memory to check a receipt");
	hash_add(h, r->salt.data, r->salt.len);
	for (unsigned i = 0; i < n; i++)
		hash_add(h, parts[i].iov_base, parts[i].iov_len);
	hash_end(h, out);
	hash_free(h);
	return ERR_OK;
}

static int record_check(const Fumehood__Record *rec, const Fumehood__Receipt *r, const struct receipt_want *want,
                        struct err *e)
{
	uint8_t digest[HASH_BYTES];
	struct iovec out = { .iov_len = want->output_len };
	int rc;
	memcpy(&out.iov_base, &want->output, sizeof out.iov_base); /* iovec has no const */
	if (want->model_digest && !is_digest(rec->model_digest, want->model_digest))
		return err_set(e, ERR_LOG, "the receipt is about another model");
	if ((want->request || want->output) && r->salt.len != HASH_SALT_BYTES)
		return err_set(e, ERR_LOG, "the receipt has no salt, so it cannot be compared with this call");
	if (want->request) {
		if ((rc = salted(r, want->request, want->n_request, digest, e)) != ERR_OK)
			return rc;
		if (!is_digest(rec->input_digest, digest))
			return err_set(e, ERR_LOG, "the receipt is about another question");
	}
	if (want->output) {
		if ((rc = salted(r, &out, 1, digest, e)) != ERR_OK)
			return rc;
		if (!is_digest(rec->output_digest, digest) || rec->kind != FUMEHOOD__RECORD_KIND__COMPLETED)
			return err_set(e, ERR_LOG, "the receipt is about another answer");
	}
	return ERR_OK;
}

int receipt_check(const struct note_key *key, const Fumehood__Receipt *r, const struct receipt_want *want,
                  struct err *e)
{
	Fumehood__Entry *entry = NULL;
	struct receipt place;
	void *m = NULL;
	if (!r || !r->tlog_proof)
		return err_set(e, ERR_LOG, "the %s came without a receipt", want->what);
	int rc = receipt_verify(r->entry.data, r->entry.len, r->tlog_proof, strlen(r->tlog_proof), key, &place, e);
	if (rc == ERR_OK && place.index != r->index)
		rc = err_set(e, ERR_LOG, "the receipt names two places in the log");
	if (rc == ERR_OK)
		rc = pb_unpack(&fumehood__entry__descriptor, r->entry.data, r->entry.len, NULL, &m, e);
	entry = m;
	if (rc == ERR_OK && (!entry->record || entry->index != r->index))
		rc = err_set(e, ERR_LOG, "the receipt's entry holds no record, or another index");
	if (rc == ERR_OK)
		rc = record_check(entry->record, r, want, e);
	if (entry)
		fumehood__entry__free_unpacked(entry, NULL);
	if (rc != ERR_OK && rc != ERR_NOMEM) { /* whatever is wrong with a receipt, it is the log that fails */
		err_prefix(e, "the receipt of this %s does not hold", want->what);
		e->code = rc = ERR_LOG;
	}
	return rc;
}
