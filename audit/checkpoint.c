/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: see checkpoint.h.
 * Side: auditor, broker, cli. Trusts: nothing that it reads. Owns: nothing.
 */
#include "audit/checkpoint.h"

#include "proto/b64.h"

#include <stdio.h>
#include <string.h>

int checkpoint_sign(const struct note_signer *key, const struct checkpoint *c, char out[CHECKPOINT_MAX_BYTES],
                    size_t *len, struct err *e)
{
	char text[NOTE_NAME_MAX_BYTES + 80], root[B64_LEN(HASH_BYTES) + 1];
	b64_put(c->root, HASH_BYTES, root);
	int n = snprintf(text, sizeof text, "%s\n%llu\n%s\n", key->key.name, (unsigned long long)c->size, root);
	return note_sign(text, (size_t)n, key, 1, out, CHECKPOINT_MAX_BYTES, len, e);
}

/* Takes the next line (without its LF) of the text. */
static bool line_next(const char **p, const char *end, const char **line, size_t *len)
{
	const char *lf = *p < end ? memchr(*p, '\n', (size_t)(end - *p)) : NULL;
	if (!lf)
		return false;
	*line = *p;
	*len = (size_t)(lf - *p);
	*p = lf + 1;
	return true;
}

int checkpoint_parse(const struct note *n, const char *origin, struct checkpoint *out, struct err *e)
{
	const char *p = n->text, *end = n->text + n->text_len, *line;
	char shown[80];
	size_t len, root_len = 0;
	if (!line_next(&p, end, &line, &len) || len != strlen(origin) || memcmp(line, origin, len) != 0)
		return err_set(e, ERR_LOG, "checkpoint is of another log than \"%s\"",
		               err_escape(shown, sizeof shown, origin, strlen(origin)));
	if (!line_next(&p, end, &line, &len) || !note_decimal(line, len, &out->size))
		return err_set(e, ERR_LOG, "checkpoint: its second line is not a tree size");
	if (!line_next(&p, end, &line, &len) || !b64_get(line, len, out->root, HASH_BYTES, &root_len) ||
	    root_len != HASH_BYTES)
		return err_set(e, ERR_LOG, "checkpoint: its third line is not a root hash");
	while (line_next(&p, end, &line, &len))
		if (len == 0)
			return err_set(e, ERR_LOG, "checkpoint: an extension line is empty");
	return ERR_OK;
}

int checkpoint_read(const char *note, size_t len, const struct note_key *key, struct checkpoint *out,
                    struct err *e)
{
	struct note n;
	uint64_t good = 0;
	int rc = note_parse(note, len, &n, e);
	if (rc == ERR_OK)
		rc = note_verify(&n, key, 1, &good, e);
	return rc == ERR_OK ? checkpoint_parse(&n, key->name, out, e) : rc;
}
