/* SPDX-License-Identifier: Apache-2.0
 * Signed notes: the published vectors, and an attempt at each refusal. */
#include "proto/b64.h"
#include "proto/note.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define DASH "\xe2\x80\x94 "

static const char foo_vkey[] = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
static const char foo_note[] = "This is an example message.\n\n" DASH "example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1"
                               "YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
static const char log_vkey[] = "log.example/fumehood+4b41e278+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
static const char witness_vkey[] = "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X";
static const char checkpoint[] =
	"log.example/fumehood\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n"
	DASH "log.example/fumehood S0HieP8zzhadwWb1Gsm/uiymBTwjT4GdSD7PtqrlPUTL2du04ZLdZ+b4GvGl7sCyspAy7EEcrlwRv/sa4VR7"
	"yjLsigA=\n"
	DASH "witness.example/w1 IDJKvgAAAABrA4IAkpD0g2kdFCIeiL3n3T8YDJmDTieIgKRDNjaASbL2Iq0bBKrWdVltn6vJ3rkduQLsPMWlU"
	"8LWm2w3qxeoeYhIAQ==\n";

static struct note_key key(const char *vkey)
{
	struct note_key k;
	struct err e;
	if (note_vkey_parse(vkey, strlen(vkey), &k, &e) != ERR_OK)
		fail_msg("%s", e.text);
	return k;
}

static struct note_signer signer(const char *name, uint8_t first)
{
	uint8_t seed[NOTE_SEED_BYTES];
	struct note_signer s;
	struct err e;
	for (size_t i = 0; i < sizeof seed; i++)
		seed[i] = (uint8_t)(first + i);
	assert_int_equal(note_signer_init(name, strlen(name), seed, &s, &e), ERR_OK);
	return s;
}

/* Parses and verifies; returns the code. */
static int check(const char *text, size_t len, const struct note_key *keys, size_t n, uint64_t *good)
{
	struct note note;
	struct err e;
	int rc = note_parse(text, len, &note, &e);
	return rc != ERR_OK ? rc : note_verify(&note, keys, n, good, &e);
}

static void test_vectors(void **state)
{
	(void)state;
	uint64_t good = 0;
	struct note_key k = key(foo_vkey);
	struct note n;
	struct err e;
	assert_string_equal(k.name, "example.com/foo");
	assert_int_equal(note_parse(foo_note, strlen(foo_note), &n, &e), ERR_OK);
	assert_int_equal(n.text_len, 28);
	assert_int_equal(check(foo_note, strlen(foo_note), &k, 1, &good), ERR_OK);
	assert_int_equal(good, 1);

	struct note_key two[] = { key(witness_vkey), key(log_vkey) };
	assert_int_equal(check(checkpoint, strlen(checkpoint), two, 2, &good), ERR_OK);
	assert_int_equal(good, 3);
	assert_int_equal(note_parse(checkpoint, strlen(checkpoint), &n, &e), ERR_OK);
	assert_int_equal(note_cosignature_time(&n, &two[0]), 1795392000);
	assert_int_equal(note_cosignature_time(&n, &two[1]), 0);
}

/* Our own signatures are those of the vector: Ed25519 is deterministic. */
static void test_sign_makes_the_vector(void **state)
{
	(void)state;
	struct note_signer s = signer("log.example/fumehood", 0), w;
	char vkey[NOTE_VKEY_MAX_BYTES], out[1024];
	uint8_t seed[NOTE_SEED_BYTES];
	size_t len = 0, line = 0;
	struct err e;
	note_vkey_format(&s.key, vkey);
	assert_string_equal(vkey, log_vkey);
	for (size_t i = 0; i < sizeof seed; i++)
		seed[i] = (uint8_t)(0x20 + i);
	assert_int_equal(note_cosigner_init("witness.example/w1", 18, seed, &w, &e), ERR_OK);
	note_vkey_format(&w.key, vkey);
	assert_string_equal(vkey, witness_vkey);

	size_t text_len = (size_t)(strstr(checkpoint, "\n\n") - checkpoint) + 1;
	assert_int_equal(note_sign(checkpoint, text_len, &s, 1, out, sizeof out, &len, &e), ERR_OK);
	assert_int_equal(note_cosign(checkpoint, text_len, &w, 1795392000, out + len, sizeof out - len, &line, &e), ERR_OK);
	assert_int_equal(len + line, strlen(checkpoint));
	assert_memory_equal(out, checkpoint, len + line);

	/* The cosigner's key signs no note, the other no cosignature, and time 0 says nothing. */
	assert_int_equal(note_sign(checkpoint, text_len, &w, 1, out, sizeof out, &len, &e), ERR_INPUT);
	assert_int_equal(note_cosign(checkpoint, text_len, &s, 1, out, sizeof out, &line, &e), ERR_INPUT);
	assert_int_equal(note_cosign(checkpoint, text_len, &w, 0, out, sizeof out, &line, &e), ERR_INPUT);
	assert_int_equal(note_cosign(checkpoint, text_len, &w, UINT64_C(1) << 63, out, sizeof out, &line, &e), ERR_INPUT);
	/* Room for one byte less than the note. */
	assert_int_equal(note_sign(checkpoint, text_len, &s, 1, out, len - 1, &len, &e), ERR_LIMIT);
}

static void test_private_key_text(void **state)
{
	(void)state;
	struct note_signer s = signer("k", 7), back;
	char text[NOTE_SKEY_MAX_BYTES];
	struct err e;
	note_skey_format(&s, text);
	assert_int_equal(note_skey_parse(text, strlen(text), &back, &e), ERR_OK);
	assert_memory_equal(&s, &back, sizeof s);
	for (size_t i = 0; i < strlen(text); i++) {
		char bad[NOTE_SKEY_MAX_BYTES];
		memcpy(bad, text, sizeof text);
		bad[i] ^= 1;
		int rc = note_skey_parse(bad, strlen(bad), &back, &e);
		assert_int_equal(rc, ERR_CONFIG);
		assert_null(strstr(e.text, text + strlen(text) - 40)); /* the secret part is not shown */
	}
	note_signer_clear(&s);
	assert_true(sodium_is_zero(s.sk, sizeof s.sk));
}

/* Each byte of the text, the name and the signature matters. */
static void test_every_byte(void **state)
{
	(void)state;
	struct note_key k = key(foo_vkey);
	char bad[sizeof foo_note];
	uint64_t good = 0;
	for (size_t i = 0; i < strlen(foo_note); i++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, foo_note, sizeof foo_note);
			bad[i] = (char)(bad[i] ^ 1 << bit);
			assert_int_not_equal(check(bad, strlen(foo_note), &k, 1, &good), ERR_OK);
		}
	}
	for (size_t len = 0; len < strlen(foo_note); len++)
		assert_int_not_equal(check(foo_note, len, &k, 1, &good), ERR_OK);
}

static void test_malformed(void **state)
{
	(void)state;
	static const struct {
		const char *what, *note;
	} rows[] = {
		{ "empty", "" },
		{ "no signatures", "text\n\n" },
		{ "no empty line", "text\n" DASH "a AAAAAAA=\n" },
		{ "line without LF", "text\n\n" DASH "a AAAAAAA=" },
		{ "CR", "te\rxt\n\n" DASH "a AAAAAAA=\n" },
		{ "tab", "te\txt\n\n" DASH "a AAAAAAA=\n" },
		{ "escape", "te\x1bxt\n\n" DASH "a AAAAAAA=\n" },
		{ "invalid UTF-8", "te\xfft\n\n" DASH "a AAAAAAA=\n" },
		{ "overlong UTF-8", "te\xc0\xaft\n\n" DASH "a AAAAAAA=\n" },
		{ "surrogate", "te\xed\xa0\x80t\n\n" DASH "a AAAAAAA=\n" },
		{ "above U+10FFFF", "te\xf4\x90\x80\x80t\n\n" DASH "a AAAAAAA=\n" },
		{ "cut UTF-8 at the end of the text", "te\xe2\x80\n\n" DASH "a AAAAAAA=\n" },
		{ "hyphen for the dash", "text\n\n- a AAAAAAA=\n" },
		{ "no name", "text\n\n" DASH " AAAAAAA=\n" },
		{ "plus in name", "text\n\n" DASH "a+b AAAAAAA=\n" },
		{ "U+00A0 in name", "text\n\n" DASH "a\xc2\xa0" "b AAAAAAA=\n" },
		{ "U+3000 in name", "text\n\n" DASH "a\xe3\x80\x80" "b AAAAAAA=\n" },
		{ "two spaces", "text\n\n" DASH "a  AAAAAAA=\n" },
		{ "space at the end", "text\n\n" DASH "a AAAAAAA= \n" },
		{ "no base64", "text\n\n" DASH "a\n" },
		{ "empty base64", "text\n\n" DASH "a \n" },
		{ "key id alone", "text\n\n" DASH "a AAAAAA==\n" },
		{ "no padding", "text\n\n" DASH "a AAAAAAA\n" },
		{ "spare bits", "text\n\n" DASH "a AAAAAAB=\n" },
		{ "a letter outside ASCII in the base64", "text\n\n" DASH "a AAAAA\xc2\xb2" "A\n" },
		{ "url-safe alphabet", "text\n\n" DASH "a AAAA-_A=\n" },
		{ "text among the signatures", "text\n\n" DASH "a AAAAAAA=\nmore\n" },
	};
	struct note n;
	struct err e;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (note_parse(rows[i].note, strlen(rows[i].note), &n, &e) != ERR_SIGNATURE)
			fail_msg("accepted: %s", rows[i].what);
	assert_int_equal(note_parse("a\0b\n\n" DASH "a AAAAAAA=\n", 20, &n, &e), ERR_SIGNATURE);
	assert_int_equal(note_parse("text\n\n" DASH "a AAAAAAA=\n", 21, &n, &e), ERR_OK);
}

static void test_split_at_the_last_empty_line(void **state)
{
	(void)state;
	struct note_signer s = signer("a", 1);
	static const char text[] = "one\n\n" DASH "a AAAAAAA=\n\ntwo\n\n";
	char out[512];
	size_t len = 0;
	uint64_t good = 0;
	struct note n;
	struct err e;
	assert_int_equal(note_sign(text, strlen(text), &s, 1, out, sizeof out, &len, &e), ERR_OK);
	assert_int_equal(note_parse(out, len, &n, &e), ERR_OK);
	assert_int_equal(n.text_len, strlen(text));
	assert_int_equal(n.n_lines, 1);
	assert_int_equal(note_verify(&n, &s.key, 1, &good, &e), ERR_OK);
}

static void test_known_and_unknown_keys(void **state)
{
	(void)state;
	struct note_signer s[3] = { signer("a", 1), signer("b", 2), signer("a", 3) };
	struct note_key a = s[0].key, b = s[1].key, other_a = s[2].key;
	char out[1024], bad[1024];
	size_t len = 0;
	uint64_t good = 0;
	struct err e;
	assert_int_equal(note_sign("t\n", 2, s, 3, out, sizeof out, &len, &e), ERR_OK);
	/* Unknown keys are ignored, one with the name of a known key too. */
	assert_int_equal(check(out, len, &a, 1, &good), ERR_OK);
	assert_int_equal(check(out, len, &b, 1, &good), ERR_OK);
	struct note_key all[] = { a, b, other_a };
	assert_int_equal(check(out, len, all, 3, &good), ERR_OK);
	assert_int_equal(good, 7);
	struct note_signer stranger = signer("c", 9);
	assert_int_equal(check(out, len, &stranger.key, 1, &good), ERR_SIGNATURE);
	assert_int_equal(check(out, len, NULL, 0, &good), ERR_SIGNATURE);
	/* A known key with a broken signature rejects the note, although another is good. */
	memcpy(bad, out, len);
	char *line_b = strstr(bad, DASH "b ");
	line_b[20] = line_b[20] == 'A' ? 'B' : 'A';
	assert_int_equal(check(bad, len, &a, 1, &good), ERR_OK);
	struct note_key ab[] = { a, b };
	assert_int_equal(check(bad, len, ab, 2, &good), ERR_SIGNATURE);
	/* The same line twice is one signature; a good and a broken line of one key are none. */
	struct note_signer same[] = { s[0], s[0] };
	assert_int_equal(note_sign("t\n", 2, same, 2, out, sizeof out, &len, &e), ERR_OK);
	assert_int_equal(check(out, len, &a, 1, &good), ERR_OK);
	out[len - 10] = out[len - 10] == 'A' ? 'B' : 'A';
	assert_int_equal(check(out, len, &a, 1, &good), ERR_SIGNATURE);
}

static void test_one_key_counts_once(void **state)
{
	(void)state;
	struct note_signer s[] = { signer("a", 1), signer("b", 1), signer("c", 2) };
	struct note_key keys[] = { s[0].key, s[1].key, s[2].key };
	assert_int_equal(note_count_distinct(keys, 3, 7), 2);
	assert_int_equal(note_count_distinct(keys, 3, 3), 1);
	assert_int_equal(note_count_distinct(keys, 3, 2), 1);
	assert_int_equal(note_count_distinct(keys, 3, 0), 0);
}

/* Two known keys that cannot be told apart by name and id: their lines say nothing. */
static void test_ambiguous_keys(void **state)
{
	(void)state;
	struct note_signer s = signer("a", 1);
	struct note_key keys[] = { s.key, s.key };
	char out[256];
	size_t len = 0;
	uint64_t good = 0;
	struct err e;
	assert_int_equal(note_sign("t\n", 2, &s, 1, out, sizeof out, &len, &e), ERR_OK);
	assert_int_equal(check(out, len, keys, 2, &good), ERR_OK);
	keys[1].pk[0] ^= 1;
	assert_int_equal(check(out, len, keys, 2, &good), ERR_SIGNATURE);
}

static void test_sixteen_signatures(void **state)
{
	(void)state;
	struct note_signer s[17];
	char out[4096];
	size_t len = 0;
	uint64_t good = 0;
	struct err e;
	for (size_t i = 0; i < 17; i++) {
		char name[3] = { 'k', (char)('a' + i), 0 };
		s[i] = signer(name, (uint8_t)i);
	}
	assert_int_equal(note_sign("t\n", 2, s, 16, out, sizeof out, &len, &e), ERR_OK);
	assert_int_equal(check(out, len, &s[15].key, 1, &good), ERR_OK);
	assert_int_equal(note_sign("t\n", 2, s, 17, out, sizeof out, &len, &e), ERR_LIMIT);
	static const char more[] = DASH "kq AAAAAAA=\n";
	memcpy(out + len, more, strlen(more));
	assert_int_equal(check(out, len + strlen(more), &s[15].key, 1, &good), ERR_LIMIT);
}

static void test_bad_vkeys(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"",
		"+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo",
		"example.com/foo+530d903a",
		"example.com/foo+530d903+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
		"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
		"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv",
		"example.com/foo+530d903a+BekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"PRIVATE+KEY+example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
	};
	struct note_key k;
	struct err e;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (note_vkey_parse(rows[i], strlen(rows[i]), &k, &e) != ERR_CONFIG)
			fail_msg("accepted: %s", rows[i]);
}

/* A public key of small order would make one signature good for every text. */
static void test_small_order_key(void **state)
{
	(void)state;
	struct note_signer s = signer("a", 1);
	struct note n;
	uint64_t good = 0;
	struct err e;
	char out[256], b64[128];
	uint8_t blob[68] = { 0 };
	struct note_key k = s.key;
	memset(k.pk, 0, sizeof k.pk);
	k.pk[0] = 1; /* the neutral element: S = 0, R = 1 "signs" everything without the check */
	memcpy(blob, k.id, 4);
	blob[4] = 1;
	sodium_bin2base64(b64, sizeof b64, blob, sizeof blob, sodium_base64_VARIANT_ORIGINAL);
	int len = snprintf(out, sizeof out, "t\n\n" DASH "a %s\n", b64);
	assert_int_equal(note_parse(out, (size_t)len, &n, &e), ERR_OK);
	assert_int_equal(note_verify(&n, &k, 1, &good, &e), ERR_SIGNATURE);
}

static void test_unsignable_text(void **state)
{
	(void)state;
	struct note_signer s = signer("a", 1), bad;
	uint8_t seed[NOTE_SEED_BYTES] = { 0 };
	char out[512], name[NOTE_NAME_MAX_BYTES + 2];
	size_t len = 0;
	struct err e;
	assert_int_equal(note_sign("", 0, &s, 1, out, sizeof out, &len, &e), ERR_INPUT);
	assert_int_equal(note_sign("t", 1, &s, 1, out, sizeof out, &len, &e), ERR_INPUT);
	assert_int_equal(note_sign("\x01\n", 2, &s, 1, out, sizeof out, &len, &e), ERR_INPUT);
	assert_int_equal(note_sign("\xff\n", 2, &s, 1, out, sizeof out, &len, &e), ERR_INPUT);
	assert_int_equal(note_sign("t\n", 2, &s, 0, out, sizeof out, &len, &e), ERR_LIMIT);
	assert_int_equal(note_signer_init("a b", 3, seed, &bad, &e), ERR_CONFIG);
	assert_int_equal(note_signer_init("", 0, seed, &bad, &e), ERR_CONFIG);
	memset(name, 'n', sizeof name);
	assert_int_equal(note_signer_init(name, NOTE_NAME_MAX_BYTES + 1, seed, &bad, &e), ERR_CONFIG);
	assert_int_equal(note_signer_init(name, NOTE_NAME_MAX_BYTES, seed, &bad, &e), ERR_OK);
	char vkey[NOTE_VKEY_MAX_BYTES];
	note_vkey_format(&bad.key, vkey);
	struct note_key back;
	assert_int_equal(note_vkey_parse(vkey, strlen(vkey), &back, &e), ERR_OK);
	assert_memory_equal(&back, &bad.key, sizeof back);
}

/* Strictly one text per value, whatever bytes come: compared with encoding again. */
static void test_base64(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *text;
	} rows[] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
		     { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } }; /* RFC 4648, section 10 */
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "====", "=", "A===", "Zg==Zg==",
		                           "Zm 9v", "Zm9v\n", "Zm-v" };
	char text[16];
	uint8_t out[8];
	size_t n;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		b64_put(rows[i].bytes, strlen(rows[i].bytes), text);
		assert_string_equal(text, rows[i].text);
		assert_true(b64_get(text, strlen(text), out, strlen(rows[i].bytes), &n));
		assert_int_equal(n, strlen(rows[i].bytes));
		assert_memory_equal(out, rows[i].bytes, n);
		if (n)
			assert_false(b64_get(text, strlen(text), out, n - 1, &n));
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(b64_get(bad[i], strlen(bad[i]), out, sizeof out, &n));
	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < 4; at++) {
			char in[5] = "QUJD", back[8];
			in[at] = (char)c;
			if (!b64_get(in, 4, out, sizeof out, &n))
				continue;
			b64_put(out, n, back);
			assert_memory_equal(in, back, 4);
		}
	}
}

static void test_decimal(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "00", "01", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616",
		                           "99999999999999999999", "1a" };
	uint64_t v = 1;
	assert_true(note_decimal("0", 1, &v) && v == 0);
	assert_true(note_decimal("18446744073709551615", 20, &v) && v == UINT64_MAX);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(note_decimal(bad[i], strlen(bad[i]), &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_sign_makes_the_vector),
		cmocka_unit_test(test_private_key_text),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_split_at_the_last_empty_line),
		cmocka_unit_test(test_known_and_unknown_keys),
		cmocka_unit_test(test_one_key_counts_once),
		cmocka_unit_test(test_ambiguous_keys),
		cmocka_unit_test(test_sixteen_signatures),
		cmocka_unit_test(test_bad_vkeys),
		cmocka_unit_test(test_small_order_key),
		cmocka_unit_test(test_unsignable_text),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_decimal),
	};
	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
