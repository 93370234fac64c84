/* SPDX-License-Identifier: Apache-2.0
 * Functions under test: lines_read and its rules for trust.note and freshness.note (broker/trust/trust.c),
 * lines_read for the trust state through trust_parse's grammar.
 *
 * Signatures would hide the parser, so the input is the text and the harness signs it with the root key
 * that a seed text names. Oracle: what loads has thresholds that its distinct keys can reach, and does not
 * load one second after it expires; without the signature nothing loads. */
#include "broker/trust/rules.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct note_signer root;

static void root_make(void)
{
	static const uint8_t seed[NOTE_SEED_BYTES] = { 1 };
	struct err e;
	if (sodium_init() < 0 || note_signer_init("root", 4, seed, &root, &e) != ERR_OK)
		abort();
}

/* The input with each "@" replaced by the root's vkey, so that mutation finds signed notes. */
static size_t expand(const uint8_t *data, size_t len, char *out, size_t cap)
{
	char vkey[NOTE_VKEY_MAX_BYTES];
	size_t o = 0, n;
	note_vkey_format(&root.key, vkey);
	n = strlen(vkey);
	for (size_t i = 0; i < len && o + n < cap; i++) {
		if (data[i] == '@') {
			memcpy(out + o, vkey, n);
			o += n;
		} else {
			out[o++] = (char)data[i];
		}
	}
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static char text[LIMIT_TRUST_BYTES * 2], note[LIMIT_TRUST_BYTES * 2 + 4096];
	struct trust *t = NULL, *u = NULL;
	size_t text_len, note_len = 0;
	struct err e;
	if (!root.key.name[0])
		root_make();
	text_len = expand(data, len, text, sizeof text);
	if (trust_parse(text, text_len, 1000, &t, &e) == ERR_OK)
		abort(); /* unsigned, or signed by nobody */
	if (note_sign(text, text_len, &root, 1, note, sizeof note, &note_len, &e) != ERR_OK)
		return 0;
	if (trust_load(note, note_len, note, note_len, 1000, &t, &e) != ERR_OK)
		return 0;
	if (t->version == 0 || t->root_threshold == 0 || t->root_threshold > t->n_roots || t->issued > 1000 ||
	    t->expires <= 1000)
		abort();
	for (size_t i = 0; i < t->n_roles; i++)
		if (t->roles[i].threshold == 0 ||
		    note_count_distinct(t->signer_keys, t->n_signers, t->roles[i].members) < t->roles[i].threshold)
			abort();
	if (trust_load(note, note_len, NULL, 0, t->expires, &u, &e) == ERR_OK)
		abort();
	trust_free(t);
	return 0;
}
