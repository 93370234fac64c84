/* SPDX-License-Identifier: Apache-2.0
 * SHA-256, salted digests, hex and the OMS root digest. */
#include "proto/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void expect_hex(const uint8_t d[HASH_BYTES], const char *want)
{
	char hex[HASH_HEX_BYTES + 1];
	hash_hex(d, hex);
	assert_string_equal(hex, want);
}

/* FIPS 180-2, appendix B. */
static void test_known_answers(void **state)
{
	(void)state;
	uint8_t d[HASH_BYTES];
	hash_sha256("", 0, d);
	expect_hex(d, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	hash_sha256("abc", 3, d);
	expect_hex(d, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	hash_sha256_two("ab", 2, "c", 1, d);
	expect_hex(d, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* A context serves again after hash_end, and pieces do not matter. */
static void test_context_again(void **state)
{
	(void)state;
	uint8_t d[HASH_BYTES];
	struct hash *h = hash_new();
	assert_non_null(h);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 1000000; i += 1000) {
			char a[1000];
			memset(a, 'a', sizeof a);
			hash_add(h, a, (size_t)(i % 7));
			hash_add(h, a, sizeof a - (size_t)(i % 7));
		}
		hash_end(h, d);
		expect_hex(d, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	}
	hash_end(h, d);
	expect_hex(d, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	hash_free(h);
	hash_free(NULL);
}

static void test_salted(void **state)
{
	(void)state;
	uint8_t salt[HASH_SALT_BYTES] = { 1 }, all[HASH_SALT_BYTES + 3] = { 1 }, a[HASH_BYTES], b[HASH_BYTES];
	memcpy(all + HASH_SALT_BYTES, "abc", 3);
	hash_salted(salt, "abc", 3, a);
	hash_sha256(all, sizeof all, b);
	assert_memory_equal(a, b, HASH_BYTES);
}

static void test_hex(void **state)
{
	(void)state;
	struct err e;
	uint8_t d[HASH_BYTES], back[HASH_BYTES];
	char hex[HASH_HEX_BYTES + 1];
	hash_sha256("x", 1, d);
	hash_hex(d, hex);
	assert_int_equal(hash_from_hex(hex, HASH_HEX_BYTES, back, &e), ERR_OK);
	assert_memory_equal(d, back, HASH_BYTES);
	assert_int_equal(hash_from_hex(hex, HASH_HEX_BYTES - 1, back, &e), ERR_INPUT);
	hex[5] = 'F';
	assert_int_equal(hash_from_hex(hex, HASH_HEX_BYTES, back, &e), ERR_INPUT);
	hex[5] = 'g';
	assert_int_equal(hash_from_hex(hex, HASH_HEX_BYTES, back, &e), ERR_INPUT);
	hex[5] = 0;
	assert_int_equal(hash_from_hex(hex, HASH_HEX_BYTES, back, &e), ERR_INPUT);
}

static struct hash_file file(const char *path, const char *content)
{
	struct hash_file f = { .path = path, .path_len = strlen(path) };
	hash_sha256(content, strlen(content), f.sha256);
	return f;
}

static void test_oms_root(void **state)
{
	(void)state;
	struct err e;
	uint8_t d[HASH_BYTES], want[HASH_BYTES], cat[3 * HASH_BYTES];
	/* Byte order, not the alphabet's: upper case first; a prefix before what it begins; '-' < '/' < 'z'. */
	struct hash_file f[] = { file("a/b", "3"), file("a-b", "2"), file("Z", "1") };
	memcpy(cat, f[2].sha256, HASH_BYTES);
	memcpy(cat + HASH_BYTES, f[1].sha256, HASH_BYTES);
	memcpy(cat + 2 * HASH_BYTES, f[0].sha256, HASH_BYTES);
	hash_sha256(cat, sizeof cat, want);
	assert_int_equal(hash_oms_root(f, 3, d, &e), ERR_OK);
	assert_memory_equal(d, want, HASH_BYTES);
	assert_string_equal(f[0].path, "a/b");

	/* One file: the digest of its digest. */
	struct hash_file one = file("m.onnx", "");
	assert_int_equal(hash_oms_root(&one, 1, d, &e), ERR_OK);
	expect_hex(d, "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456");

	struct hash_file twice[] = { file("a", "1"), file("b", "2"), file("a", "3") };
	assert_int_equal(hash_oms_root(twice, 3, d, &e), ERR_MODEL);
	assert_int_equal(hash_oms_root(twice, 0, d, &e), ERR_MODEL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_answers), cmocka_unit_test(test_context_again),
		cmocka_unit_test(test_salted),        cmocka_unit_test(test_hex),
		cmocka_unit_test(test_oms_root),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
