/* SPDX-License-Identifier: Apache-2.0
 *
 * Values: hashing against a published vector, the order that makes equality, sets and records, and
 * the texts of the four extension types with what they refuse.
 *
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "tests/unit/unit_policy_kit.h"

#include "policy/ext.h"
#include "proto/limits.h"

#define N(f) (sizeof(f) / sizeof((f)[0]))

static const struct hash_key key = {1, 2};
static struct arena arena;
static struct fuel fuel;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, MIB(16));
	fuel.left = LIMIT_EVAL_FUEL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

/* The test vector of the SipHash paper, appendix A: SipHash-2-4, key 00..0f, message 00..0e. */
static void hash_has_the_published_value(void **state)
{
	unsigned char m[15];
	const struct hash_key k = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
	(void)state;
	for (unsigned i = 0; i < sizeof m; i++)
		m[i] = (unsigned char)i;
	assert_true(hash_bytes_rounds(&k, m, sizeof m, 2, 4) == 0xa129ca6149be45e5u);
	assert_true(hash_bytes_rounds(&k, m, 0, 2, 4) == 0x726fdb47dd0e0e31u);
	assert_true(hash_bytes(&k, m, 7) != hash_bytes(&k, m, 8));
	assert_true(hash_bytes(&k, m, 15) != hash_bytes(&key, m, 15));
}

static struct val set_of(const int64_t *v, size_t n)
{
	struct val vals[16], out;
	for (size_t i = 0; i < n; i++)
		vals[i] = val_long(v[i]);
	assert_int_equal(set_make(&arena, vals, n, &fuel, &out), VAL_MADE);
	return out;
}

static void sets_forget_order_and_repeats(void **state)
{
	const int64_t a[] = {5, 1, 5, -3, 1}, b[] = {-3, 1, 5}, c[] = {-3, 1, 6};
	(void)state;
	struct val x = set_of(a, N(a)), y = set_of(b, N(b)), z = set_of(c, N(c)), v = val_long(1),
			   w = val_long(2);
	assert_int_equal(x.set->n, 3);
	assert_int_equal(val_cmp(&x, &y, &fuel), 0);
	assert_int_not_equal(val_cmp(&x, &z, &fuel), 0);
	assert_true(set_has(x.set, &v, &fuel));
	assert_false(set_has(x.set, &w, &fuel));
}

static void kinds_never_equal(void **state)
{
	(void)state;
	const struct val one = val_long(1), yes = val_bool(true), text = val_string("1", 1);
	const struct val dec = {.kind = VAL_DECIMAL, .i = 1}, span = {.kind = VAL_DURATION, .i = 1};
	const struct val *all[] = {&one, &yes, &text, &dec, &span};
	for (size_t i = 0; i < N(all); i++)
		for (size_t k = 0; k < N(all); k++)
			assert_int_equal(val_cmp(all[i], all[k], &fuel) == 0, i == k);
}

static void records_by_name(void **state)
{
	struct field f[] = {{str_make(&key, "b", 1), val_long(1)}, {str_make(&key, "a", 1), val_long(2)}};
	struct field g[] = {{str_make(&key, "a", 1), val_long(2)}, {str_make(&key, "b", 1), val_long(1)}};
	struct field twice[] = {{str_make(&key, "a", 1), val_long(2)}, {str_make(&key, "a", 1), val_long(2)}};
	struct val x, y;
	(void)state;
	assert_int_equal(rec_make(&arena, f, 2, &x), VAL_MADE);
	assert_int_equal(rec_make(&arena, g, 2, &y), VAL_MADE);
	assert_int_equal(val_cmp(&x, &y, &fuel), 0);
	const struct str a = str_make(&key, "a", 1), no = str_make(&key, "c", 1);
	assert_int_equal(rec_get(x.rec, &a)->i, 2);
	assert_null(rec_get(x.rec, &no));
	assert_int_equal(rec_make(&arena, twice, 2, &x), VAL_TWICE);
	assert_int_equal(rec_make(&arena, NULL, 0, &x), VAL_MADE);
	assert_null(rec_get(x.rec, &a));
}

/* Names whose hashes collide in the half that is kept must still be told apart. */
static void names_with_equal_hash(void **state)
{
	struct field f[3];
	struct val x;
	(void)state;
	f[0] = (struct field){{"aa", 2, 7}, val_long(1)};
	f[1] = (struct field){{"bb", 2, 7}, val_long(2)};
	f[2] = (struct field){{"c", 1, 7}, val_long(3)};
	assert_int_equal(rec_make(&arena, f, 3, &x), VAL_MADE);
	const struct str bb = {"bb", 2, 7}, c = {"c", 1, 7}, dd = {"dd", 2, 7};
	assert_int_equal(rec_get(x.rec, &bb)->i, 2);
	assert_int_equal(rec_get(x.rec, &c)->i, 3);
	assert_null(rec_get(x.rec, &dd));
}

/* Sets inside sets, as deep as is allowed and one deeper. */
static void depth_is_bounded(void **state)
{
	struct val a = val_long(1), b = val_long(1), c = val_long(2);
	(void)state;
	for (int i = 0; i < LIMIT_VALUE_DEPTH; i++) {
		assert_int_equal(set_make(&arena, &a, 1, &fuel, &a), VAL_MADE);
		assert_int_equal(set_make(&arena, &b, 1, &fuel, &b), VAL_MADE);
		assert_int_equal(set_make(&arena, &c, 1, &fuel, &c), VAL_MADE);
	}
	assert_int_equal(val_cmp(&a, &b, &fuel), 0);
	assert_int_not_equal(val_cmp(&a, &c, &fuel), 0);
	assert_int_equal(set_make(&arena, &a, 1, &fuel, &a), VAL_TOO_DEEP);
}

static void work_is_bounded(void **state)
{
	struct val v[1000], out;
	struct fuel little = {500};
	struct arena small;
	(void)state;
	for (int i = 0; i < 1000; i++)
		v[i] = val_long(1000 - i);
	assert_int_equal(set_make(&arena, v, 1000, &little, &out), VAL_NO_FUEL);
	arena_init(&small, 1000);
	assert_int_equal(set_make(&small, v, 1000, &fuel, &out), VAL_NO_MEMORY);
	arena_free(&small);
}

/* --- texts of extension values ------------------------------------------------------------------------ */

static void ip_texts(void **state)
{
	static const char *const good[] = {
		"0.0.0.0",
		"255.255.255.255/32",
		"10.0.0.0/8",
		"1.2.3.4/0",
		"::",
		"::1",
		"1::",
		"1:2:3:4:5:6:7:8",
		"1:2:3:4:5:6:7::",
		"::2:3:4:5:6:7:8",
		"1::8/128",
		"ABCD:ef01::/64",
		"0:0:0:0:0:0:0:0/0",
		"1:2:3::6:7:8",
	};
	static const char *const bad[] = {
		"",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"256.1.1.1",
		"1.2.3.04",
		"1.2.3.4/",
		"1.2.3.4/33",
		"1.2.3.4/032",
		"1.2.3.4/+8",
		"1.2.3.4 ",
		" 1.2.3.4",
		"1..2.3",
		"1.2.3.a",
		":",
		":::",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"1::2::3",
		"1:2:3:4:5:6:7:8::",
		"12345::",
		"g::",
		"::/129",
		"::/0128",
		"::1.2.3.4",
		"::1%lo",
		"1:",
		":1",
		"1:2:3:4:5:6:7:8:",
		"::/",
		"/8",
		"1.2.3.4/8/8",
	};
	struct ip ip;
	(void)state;
	for (size_t i = 0; i < N(good); i++)
		if (!ip_parse(good[i], strlen(good[i]), &ip))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < N(bad); i++)
		if (ip_parse(bad[i], strlen(bad[i]), &ip))
			fail_msg("accepted: %s", bad[i]);
	assert_true(ip_parse("1::8", 4, &ip));
	assert_int_equal(ip.addr[1], 1);
	assert_int_equal(ip.addr[15], 8);
	assert_int_equal(ip.prefix, 128);
}

struct number {
	const char *text;
	int64_t want;
};

static void check_numbers(const struct number *good, size_t n_good, const char *const *bad, size_t n_bad,
						  bool (*parse)(const char *, size_t, int64_t *, const char **))
{
	int64_t v;
	const char *why;
	for (size_t i = 0; i < n_good; i++)
		if (!parse(good[i].text, strlen(good[i].text), &v, &why) || v != good[i].want)
			fail_msg("%s: got %lld, %s", good[i].text, (long long)v, why);
	for (size_t i = 0; i < n_bad; i++)
		if (parse(bad[i], strlen(bad[i]), &v, &why))
			fail_msg("accepted: %s", bad[i]);
}

static void decimal_texts(void **state)
{
	static const struct number good[] = {
		{"0.0", 0},
		{"1.5", 15000},
		{"-1.5", -15000},
		{"-0.0001", -1},
		{"007.25", 72500},
		{"1.1234", 11234},
		{"922337203685477.5807", INT64_MAX},
		{"-922337203685477.5808", INT64_MIN},
	};
	static const char *const bad[] = {"",
									  "1",
									  "1.",
									  ".1",
									  "-",
									  "-.1",
									  "+1.0",
									  "1.0 ",
									  " 1.0",
									  "1.00000",
									  "1,0",
									  "1.0.0",
									  "1e3",
									  "--1.0",
									  "922337203685477.5808",
									  "-922337203685477.5809",
									  "99999999999999999999.0"};
	(void)state;
	check_numbers(good, N(good), bad, N(bad), decimal_parse);
}

static void datetime_texts(void **state)
{
	static const struct number good[] = {
		{"1970-01-01", 0},
		{"1970-01-01T00:00:00Z", 0},
		{"1970-01-01T00:00:00.001Z", 1},
		{"1969-12-31T23:59:59.999Z", -1},
		{"2000-02-29", INT64_C(951782400000)},
		{"2026-11-25T10:20:30.456+0130", INT64_C(1795596630456)},
		{"0000-01-01", INT64_C(-62167219200000)},
		{"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
		{"1970-01-01T00:00:00-0000", 0},
		{"1970-01-01T00:00:00-2359", INT64_C(86340000)},
	};
	static const char *const bad[] = {"",
									  "1970",
									  "1970-1-1",
									  "1970-13-01",
									  "1970-00-01",
									  "1970-01-00",
									  "1970-01-32",
									  "1970-02-29",
									  "1900-02-29",
									  "1970-01-01T",
									  "1970-01-01T00:00:00",
									  "1970-01-01T00:00Z",
									  "1970-01-01T24:00:00Z",
									  "1970-01-01T00:60:00Z",
									  "1970-01-01T00:00:60Z",
									  "1970-01-01T00:00:00.1Z",
									  "1970-01-01T00:00:00.1234Z",
									  "1970-01-01t00:00:00Z",
									  "1970-01-01T00:00:00z",
									  "1970-01-01T00:00:00+01:00",
									  "1970-01-01T00:00:00+2400",
									  "1970-01-01T00:00:00+0060",
									  "1970-01-01T00:00:00+01",
									  "1970-01-01T00:00:00Z ",
									  " 1970-01-01",
									  "1970-01-01Z",
									  "+1970-01-01",
									  "19700-01-01",
									  "1970/01/01"};
	(void)state;
	check_numbers(good, N(good), bad, N(bad), datetime_parse);
}

static void duration_texts(void **state)
{
	static const struct number good[] = {
		{"0ms", 0},
		{"1d", 86400000},
		{"1d2h3m4s5ms", 93784005},
		{"-1h", -3600000},
		{"5m", 300000},
		{"5ms", 5},
		{"1m1ms", 60001},
		{"000000000000000000000000000001s", 1000},
		{"9223372036854775807ms", INT64_MAX},
		{"-9223372036854775808ms", INT64_MIN},
		{"106751991167d7h12m55s807ms", INT64_MAX},
	};
	static const char *const bad[] = {"",
									  "-",
									  "1",
									  "d",
									  "1x",
									  "1s1m",
									  "1s1s",
									  "1h ",
									  " 1h",
									  "+1h",
									  "1.5h",
									  "1H",
									  "1h-1m",
									  "--1h",
									  "1 h",
									  "9223372036854775808ms",
									  "106751991168d",
									  "99999999999999999999d",
									  "1ms1s",
									  "1mss"};
	(void)state;
	check_numbers(good, N(good), bad, N(bad), duration_parse);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hash_has_the_published_value, setup, teardown),
		cmocka_unit_test_setup_teardown(sets_forget_order_and_repeats, setup, teardown),
		cmocka_unit_test_setup_teardown(kinds_never_equal, setup, teardown),
		cmocka_unit_test_setup_teardown(records_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(names_with_equal_hash, setup, teardown),
		cmocka_unit_test_setup_teardown(depth_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(work_is_bounded, setup, teardown),
		cmocka_unit_test(ip_texts),
		cmocka_unit_test(decimal_texts),
		cmocka_unit_test(datetime_texts),
		cmocka_unit_test(duration_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
