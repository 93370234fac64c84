/* SPDX-License-Identifier: Apache-2.0
 * Functions under test: note_parse, note_verify, note_vkey_parse, note_skey_parse (proto/note.c).
 * Oracle: what parses splits the input exactly, and no mutated note of the known key verifies unless
 * it holds that key's own signed text. */
#include "proto/note.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct note_key key;
	static const char vkey[] = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
	static const char signed_text[] = "This is an example message.\n";
	const char *text = (const char *)data;
	struct note n;
	struct note_key k;
	struct note_signer s;
	uint64_t good = 0;
	struct err e;

	if (!key.name[0] && (sodium_init() < 0 || note_vkey_parse(vkey, strlen(vkey), &key, &e) != ERR_OK))
		abort();
	if (note_vkey_parse(text, len, &k, &e) == ERR_OK) {
		char back[NOTE_VKEY_MAX_BYTES];
		note_vkey_format(&k, back);
		if (strlen(back) != len || memcmp(back, data, len) != 0)
			abort();
	}
	if (note_skey_parse(text, len, &s, &e) == ERR_OK)
		note_signer_clear(&s);
	if (note_parse(text, len, &n, &e) != ERR_OK)
		return 0;
	if (n.n_lines == 0 || n.text_len == 0 || n.text[n.text_len - 1] != '\n' || n.text[n.text_len] != '\n')
		abort();
	if (note_verify(&n, &key, 1, &good, &e) == ERR_OK &&
	    (n.text_len != strlen(signed_text) || memcmp(n.text, signed_text, n.text_len) != 0))
		abort();
	return 0;
}
