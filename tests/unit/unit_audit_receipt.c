/* SPDX-License-Identifier: Apache-2.0
 * Receipts and checkpoints: the complete published vector, made and checked, and an attempt at each refusal. */
#include "audit/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define DASH "\xe2\x80\x94 "
#define CHECKPOINT                                                                                           \
	"log.example/fumehood\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n" DASH                     \
	"log.example/fumehood S0HieP8zzhadwWb1Gsm/uiymBTwjT4GdSD7PtqrlPUTL2du04ZLdZ+b4GvGl7sCyspAy7EEcrlwRv/" \
	"sa4VR7yjLsigA=\n"
#define WITNESS                                                                                              \
	DASH "witness.example/w1 IDJKvgAAAABrA4IAkpD0g2kdFCIeiL3n3T8YDJmDTieIgKRDNjaASbL2Iq0bBKrWdVltn6vJ3rk" \
	"duQLsPMWlU8LWm2w3qxeoeYhIAQ==\n"
#define HASHES                                                                                               \
	"ApjRIpBtz8EIkstTpzmS/FufST6kybrbJ7eRtBJ6f+c=\n+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU=\n"        \
	"a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ=\n"

static const char log_vkey[] = "log.example/fumehood+4b41e278+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
static const uint8_t entry3[] = { 0x20, 0x21 };

static struct note_key log_key(void)
{
	struct note_key k;
	struct err e;
	assert_int_equal(note_vkey_parse(log_vkey, strlen(log_vkey), &k, &e), ERR_OK);
	return k;
}

static int verify(const char *text, struct receipt *r, struct err *e)
{
	struct note_key k = log_key();
	return receipt_verify(entry3, sizeof entry3, text, strlen(text), &k, r, e);
}

static void test_vector(void **state)
{
	(void)state;
	struct receipt r;
	struct err e;
	assert_int_equal(verify("c2sp.org/tlog-proof@v1\nindex 3\n" HASHES "\n" CHECKPOINT WITNESS, &r, &e), ERR_OK);
	assert_int_equal(r.index, 3);
	assert_int_equal(r.checkpoint.size, 8);
	assert_int_equal(verify("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 3\n" HASHES "\n" CHECKPOINT, &r, &e), ERR_OK);
}

/* Our own log of those eight entries says the same bytes. */
static void test_we_make_the_vector(void **state)
{
	(void)state;
	static const struct {
		const char *p;
		size_t n;
	} entries[] = { { "", 0 }, { "\x00", 1 }, { "\x10", 1 }, { "\x20\x21", 2 }, { "\x30\x31", 2 },
		        { "\x40\x41\x42\x43", 4 }, { "\x50\x51\x52\x53\x54\x55\x56\x57", 8 },
		        { "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16 } };
	struct tree_front none = { .size = 0 };
	struct tree_span *s = tree_span_new(&none);
	struct note_signer key;
	struct tree_proof p;
	struct checkpoint c = { .size = 8 };
	struct err e;
	uint8_t leaf[HASH_BYTES], seed[NOTE_SEED_BYTES];
	char note[CHECKPOINT_MAX_BYTES], *text = NULL, b64[64];
	size_t note_len, len;
	for (size_t i = 0; i < sizeof seed; i++)
		seed[i] = (uint8_t)i;
	assert_int_equal(note_signer_init("log.example/fumehood", 20, seed, &key, &e), ERR_OK);
	for (size_t i = 0; i < 8; i++) {
		tree_leaf(entries[i].p, entries[i].n, leaf);
		assert_int_equal(tree_span_add(s, leaf, &e), ERR_OK);
	}
	tree_front_root(tree_span_front(s), c.root);
	assert_int_equal(checkpoint_sign(&key, &c, note, &note_len, &e), ERR_OK);
	assert_int_equal(note_len, strlen(CHECKPOINT));
	assert_memory_equal(note, CHECKPOINT, note_len);
	assert_int_equal(tree_inclusion(s, 3, 8, &p, &e), ERR_OK);
	assert_int_equal(receipt_format(3, &p, note, note_len, &text, &len, &e), ERR_OK);
	assert_string_equal(text, "c2sp.org/tlog-proof@v1\nindex 3\n" HASHES "\n" CHECKPOINT);
	assert_int_equal(len, strlen(text));
	free(text);
	static const char *const want[] = { "ApjRIpBtz8EIkstTpzmS/FufST6kybrbJ7eRtBJ6f+c=",
		"B1Bqhf2d0vEg62lPhgEeW7RmLlxBWmKRcDPUqWJEh+c=", "+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU=",
		"a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ=" };
	assert_int_equal(tree_consistency(s, 3, 8, &p, &e), ERR_OK);
	assert_int_equal(p.n, 4);
	for (unsigned i = 0; i < 4; i++) {
		sodium_bin2base64(b64, sizeof b64, p.hash[i], HASH_BYTES, sodium_base64_VARIANT_ORIGINAL);
		assert_string_equal(b64, want[i]);
	}
	tree_span_free(s);
}

static void test_every_byte(void **state)
{
	(void)state;
	static const char good[] = "c2sp.org/tlog-proof@v1\nindex 3\n" HASHES "\n" CHECKPOINT;
	char bad[sizeof good];
	struct receipt r;
	struct err e;
	for (size_t i = 0; i < sizeof good - 1; i++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, good, sizeof good);
			bad[i] = (char)(bad[i] ^ 1 << bit);
			struct note_key k = log_key();
			if (receipt_verify(entry3, sizeof entry3, bad, sizeof good - 1, &k, &r, &e) == ERR_OK)
				fail_msg("bit %d of byte %zu of the receipt does not matter", bit, i);
		}
		memcpy(bad, good, i);
		struct note_key k = log_key();
		assert_int_not_equal(receipt_verify(entry3, sizeof entry3, bad, i, &k, &r, &e), ERR_OK);
	}
}

static void test_refusals(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"",
		"c2sp.org/tlog-proof@v2\nindex 3\n" HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 03\n" HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex +3\n" HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 18446744073709551616\n" HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 4\n" HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 8\n" HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nextra AAAA\nextra AAAA\nindex 3\n" HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 3\n" HASHES CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 3\n" HASHES HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 3\nAAAA\n" HASHES "\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 3\n\n" CHECKPOINT,
		"c2sp.org/tlog-proof@v1\nindex 3\n" HASHES "\n" WITNESS,
		"c2sp.org/tlog-proof@v1\r\nindex 3\n" HASHES "\n" CHECKPOINT,
	};
	struct receipt r;
	struct err e;
	struct note_key k = log_key();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (verify(rows[i], &r, &e) == ERR_OK)
			fail_msg("accepted: row %zu", i);
	static const char good[] = "c2sp.org/tlog-proof@v1\nindex 3\n" HASHES "\n" CHECKPOINT;
	assert_int_equal(receipt_verify((const uint8_t *)"x", 1, good, strlen(good), &k, &r, &e), ERR_LOG);
	k.pk[3] ^= 1;
	assert_int_equal(receipt_verify(entry3, 2, good, strlen(good), &k, &r, &e), ERR_SIGNATURE);
}

/* Signed texts that are no checkpoint of this log. */
static void test_checkpoint_bodies(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int want;
	} rows[] = {
		{ "o/log\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n", ERR_OK },
		{ "o/log\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\nextension\n", ERR_OK },
		{ "o/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", ERR_OK },
		{ "o/log\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\nx\n", ERR_LOG },
		{ "o/other\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n", ERR_LOG },
		{ "o/log \n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n", ERR_LOG },
		{ "o/log\n08\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n", ERR_LOG },
		{ "o/log\n+8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n", ERR_LOG },
		{ "o/log\n-1\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n", ERR_LOG },
		{ "o/log\n18446744073709551616\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n", ERR_LOG },
		{ "o/log\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg\n", ERR_LOG },
		{ "o/log\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyh=\n", ERR_LOG },
		{ "o/log\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQw==\n", ERR_LOG },
		{ "o/log\n8\n", ERR_LOG },
		{ "o/log\n", ERR_LOG },
	};
	struct note_signer key;
	struct checkpoint c;
	struct err e;
	uint8_t seed[NOTE_SEED_BYTES] = { 1 };
	char note[1024];
	size_t len;
	assert_int_equal(note_signer_init("o/log", 5, seed, &key, &e), ERR_OK);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(note_sign(rows[i].text, strlen(rows[i].text), &key, 1, note, sizeof note, &len, &e), ERR_OK);
		if (checkpoint_read(note, len, &key.key, &c, &e) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),   cmocka_unit_test(test_we_make_the_vector),
		cmocka_unit_test(test_every_byte), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_checkpoint_bodies),
	};
	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
