/* SPDX-License-Identifier: Apache-2.0
 *
 * The state file: see state.h.
 * Side: auditor, cli. Trusts: the key. Owns: the open file.
 */
#include "audit/state.h"

#include "proto/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = { 'F', 'H', 'S', 'T', 'A', 'T', 'E', '1' };
#define FRONT_BYTES 24
#define NOTE_MAX (STATE_SLOT_BYTES - FRONT_BYTES - HASH_BYTES)

/* Reads one slot; false when it is not whole. */
static bool slot_get(const uint8_t *p, uint64_t *counter, const char **note, size_t *len)
{
	uint8_t digest[HASH_BYTES];
	*len = le32_get(p + 16);
	if (memcmp(p, magic, sizeof magic) != 0 || *len > NOTE_MAX)
		return false;
	hash_sha256(p, FRONT_BYTES + *len, digest);
	*counter = le64_get(p + 8);
	*note = (const char *)p + FRONT_BYTES;
	return memcmp(digest, p + FRONT_BYTES + *len, HASH_BYTES) == 0;
}

/* Takes the newer valid slot of the file's bytes. */
static int slots_read(const uint8_t *p, size_t len, const struct note_key *key, struct state *out, struct err *e)
{
	bool any = false;
	for (size_t i = 0; i < len && !any; i++)
		any = p[i] != 0;
	for (size_t at = 0; at + STATE_SLOT_BYTES <= len; at += STATE_SLOT_BYTES) {
		const char *note;
		size_t note_len;
		uint64_t counter;
		struct checkpoint c;
		if (!slot_get(p + at, &counter, &note, &note_len) || (out->has && counter <= out->counter))
			continue;
		if (checkpoint_read(note, note_len, key, &c, e) != ERR_OK)
			return err_set(e, ERR_LOG, "log state: it belongs to a log with another key: give each log a state "
			               "folder of its own");
		*out = (struct state){ out->store, out->file, counter, true, c };
	}
	if (any && !out->has)
		return err_set(e, ERR_LOG, "log state: " STATE_PATH " is damaged: check the log (fumehood audit verify), then "
		               "move that file away");
	return ERR_OK;
}

int state_read(struct store *store, const struct note_key *key, struct state *out, struct err *e)
{
	uint8_t *p = NULL;
	size_t len = 0;
	*out = (struct state){ .file = -1 };
	int rc = store_load(store, STATE_PATH, 2 * STATE_SLOT_BYTES, &p, &len, e);
	if (rc != ERR_OK)
		return rc == ERR_NOT_FOUND ? ERR_OK : rc;
	rc = slots_read(p, len, key, out, e);
	free(p);
	return rc;
}

int state_open(struct store *store, const struct note_key *key, struct state *out, struct err *e)
{
	*out = (struct state){ .file = -1 };
	if (!store)
		return ERR_OK;
	int rc = state_read(store, key, out, e), n;
	if (rc != ERR_OK)
		return rc;
	if ((n = store->ops->open(store, STATE_PATH, STORE_LAZY, &out->file)) < 0)
		return store_err(e, "open", STATE_PATH, n);
	out->store = store;
	if (!out->has) { /* room for both slots, while it is easy to say no */
		static const uint8_t zeros[2 * STATE_SLOT_BYTES];
		if ((n = store->ops->write(store, out->file, zeros, sizeof zeros, 0)) < 0 ||
		    (n = store->ops->sync(store, out->file)) < 0 || (n = store->ops->sync_dir(store, "")) < 0) {
			state_close(out);
			return store_err(e, "write", STATE_PATH, n);
		}
	}
	return ERR_OK;
}

int state_put(struct state *s, const char *note, size_t len, struct err *e)
{
	uint8_t slot[STATE_SLOT_BYTES] = { 0 };
	if (!s->store)
		return ERR_OK;
	if (len > NOTE_MAX)
		return err_set(e, ERR_INTERNAL, "log state: checkpoint of %zu bytes", len);
	memcpy(slot, magic, sizeof magic);
	le64_put(slot + 8, ++s->counter);
	le32_put(slot + 16, (uint32_t)len);
	memcpy(slot + FRONT_BYTES, note, len);
	hash_sha256(slot, FRONT_BYTES + len, slot + FRONT_BYTES + len);
	int n = s->store->ops->write(s->store, s->file, slot, sizeof slot, (s->counter & 1) * STATE_SLOT_BYTES);
	return n < 0 ? store_err(e, "write", STATE_PATH, n) : ERR_OK;
}

int state_sync(struct state *s, struct err *e)
{
	int n = s->store ? s->store->ops->sync(s->store, s->file) : 0;
	return n < 0 ? store_err(e, "sync", STATE_PATH, n) : ERR_OK;
}

void state_close(struct state *s)
{
	if (s->store)
		s->store->ops->close(s->store, s->file);
	*s = (struct state){ .file = -1 };
}
