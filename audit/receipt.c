/* SPDX-License-Identifier: Apache-2.0
 *
 * Receipts: C2SP tlog-proof, the proof for one entry that is checked offline.
 *
 *   c2sp.org/tlog-proof@v1 LF
 *   [extra <base64> LF]          not authenticated; ignored here
 *   index <decimal> LF
 *   <base64 hash> LF             zero or more: the leaf's sibling first, up to the root's child
 *   LF
 *   <signed checkpoint>
 *
 * Side: broker, cli. Trusts: nothing but the key it is given. Owns: nothing.
 */
#include "audit/audit.h"

#include "proto/b64.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_B64_BYTES B64_LEN(HASH_BYTES)
static const char header[] = "c2sp.org/tlog-proof@v1\n";

int receipt_format(uint64_t index, const struct tree_proof *proof, const char *checkpoint, size_t checkpoint_len,
                   char **out, size_t *len, struct err *e)
{
	size_t cap = sizeof header + 32 + (size_t)proof->n * (HASH_B64_BYTES + 1) + checkpoint_len + 2;
	char *p = malloc(cap);
	if (!p)
		return err_set(e, ERR_NOMEM, "receipt: no memory");
	size_t at = (size_t)snprintf(p, cap, "%sindex %llu\n", header, (unsigned long long)index);
	for (unsigned i = 0; i < proof->n; i++) {
		b64_put(proof->hash[i], HASH_BYTES, p + at);
		at += HASH_B64_BYTES;
		p[at++] = '\n';
	}
	p[at++] = '\n';
	memcpy(p + at, checkpoint, checkpoint_len);
	at += checkpoint_len;
	p[at] = 0;
	*out = p;
	*len = at;
	return ERR_OK;
}

struct lines {
	const char *p, *end;
};

static bool line_next(struct lines *l, const char **line, size_t *len)
{
	const char *lf = l->p < l->end ? memchr(l->p, '\n', (size_t)(l->end - l->p)) : NULL;
	if (!lf)
		return false;
	*line = l->p;
	*len = (size_t)(lf - l->p);
	l->p = lf + 1;
	return true;
}

static bool has_prefix(const char *line, size_t len, const char *prefix)
{
	return len >= strlen(prefix) && memcmp(line, prefix, strlen(prefix)) == 0;
}

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_LOG, "receipt: %s", what);
}

/* Reads everything before the checkpoint. */
static int front_parse(struct lines *l, uint64_t *index, struct tree_proof *proof, struct err *e)
{
	const char *line;
	size_t len, n;
	if (!line_next(l, &line, &len) || len != strlen(header) - 1 || memcmp(line, header, len) != 0)
		return malformed(e, "it does not begin with c2sp.org/tlog-proof@v1");
	if (!line_next(l, &line, &len))
		return malformed(e, "it has no index");
	if (has_prefix(line, len, "extra ") && !line_next(l, &line, &len))
		return malformed(e, "it has no index");
	if (!has_prefix(line, len, "index ") || !note_decimal(line + 6, len - 6, index))
		return malformed(e, "its index is not a number");
	for (proof->n = 0; line_next(l, &line, &len); proof->n++) {
		if (len == 0)
			return ERR_OK;
		if (proof->n == TREE_PROOF_MAX || !b64_get(line, len, proof->hash[proof->n], HASH_BYTES, &n) ||
		    n != HASH_BYTES)
			return malformed(e, "a proof line is not a hash");
	}
	return malformed(e, "it has no checkpoint");
}

int receipt_verify(const uint8_t *entry, size_t entry_len, const char *text, size_t len,
                   const struct note_key *key, struct receipt *out, struct err *e)
{
	struct lines l = { text, text + len };
	struct tree_proof proof;
	struct receipt r = { .index = 0 };
	uint8_t leaf[HASH_BYTES];
	int rc = front_parse(&l, &r.index, &proof, e);
	if (rc == ERR_OK)
		rc = checkpoint_read(l.p, (size_t)(l.end - l.p), key, &r.checkpoint, e);
	if (rc != ERR_OK)
		return rc;
	tree_leaf(entry, entry_len, leaf);
	rc = tree_inclusion_check(r.index, r.checkpoint.size, &proof, leaf, r.checkpoint.root, e);
	if (rc == ERR_OK)
		*out = r;
	else
		err_prefix(e, "receipt of entry %llu", (unsigned long long)r.index);
	return rc;
}
