/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks every (message, sender, receiver) cell of the message table and the edges of every length.
 */
#include "proto/frame.h"
#include "proto/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void header_make(uint8_t h[32], uint16_t kind, uint64_t length)
{
	frame_header_put(h, &(struct frame_header){ kind, length, 7 });
}

/* Only the cell of the table is accepted; each other sender or receiver is refused. */
static void test_every_cell(void **state)
{
	(void)state;
	unsigned n, cells = 0;
	const struct msg_row *rows = msg_rows(&n);
	for (unsigned i = 0; i < n; i++)
		for (int from = 0; from < ROLE__MAX; from++)
			for (int to = 0; to < ROLE__MAX; to++, cells++) {
				uint8_t h[32];
				struct frame_header out;
				struct err e;
				header_make(h, rows[i].kind, rows[i].body_min);
				int rc = frame_header_get(h, (enum role)from, (enum role)to, &out, &e);
				int want = from == rows[i].from && to == rows[i].to ? ERR_OK : ERR_PROTOCOL;
				assert_int_equal(rc, want);
			}
	assert_true(cells >= 25 * n);
}

static void test_lengths(void **state)
{
	(void)state;
	unsigned n;
	const struct msg_row *rows = msg_rows(&n);
	for (unsigned i = 0; i < n; i++) {
		const struct msg_row *r = &rows[i];
		const struct { uint64_t len; int rc; } cases[] = {
			{ r->body_min, ERR_OK }, { r->body_max, ERR_OK }, { r->body_max + 1, ERR_LIMIT },
			{ UINT64_MAX, ERR_LIMIT }, { (uint64_t)3 << 30, ERR_LIMIT }, { r->body_min - 1, ERR_PROTOCOL },
		};
		for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
			uint8_t h[32];
			struct frame_header out;
			struct err e;
			header_make(h, r->kind, cases[k].len);
			assert_int_equal(frame_header_get(h, r->from, r->to, &out, &e), cases[k].rc);
		}
	}
}

/* Every kind number that is not in the table is refused, whoever sends it. */
static void test_unknown_kinds(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 65536; kind++) {
		if (msg_find((uint16_t)kind))
			continue;
		uint8_t h[32];
		struct frame_header out;
		header_make(h, (uint16_t)kind, 64);
		assert_int_equal(frame_header_get(h, ROLE_CLIENT, ROLE_BROKER, &out, NULL), ERR_PROTOCOL);
	}
}

/* Magic, version, flags, reserved: each bit of the first 16 bytes matters. */
static void test_header_bits(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 16 * 8; bit++) {
		uint8_t h[32];
		struct frame_header out;
		header_make(h, MSG_HELLO, 8);
		h[bit / 8] = (uint8_t)(h[bit / 8] ^ (1u << (bit % 8)));
		int rc = frame_header_get(h, ROLE_CLIENT, ROLE_BROKER, &out, NULL);
		if (bit / 8 == 6 && rc == ERR_OK) /* another kind of the same direction */
			assert_int_not_equal(out.kind, MSG_HELLO);
		else
			assert_int_not_equal(rc, ERR_OK);
	}
}

static void test_numbers_and_names_unique(void **state)
{
	(void)state;
	unsigned n;
	const struct msg_row *rows = msg_rows(&n);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = i + 1; k < n; k++) {
			assert_int_not_equal(rows[i].kind, rows[k].kind);
			assert_string_not_equal(rows[i].name, rows[k].name);
		}
}

static void test_body_split(void **state)
{
	(void)state;
	uint8_t b[256] = { 0 };
	struct frame_body out;
	frame_prefix_put(b, 5);
	assert_int_equal(frame_body_split(MSG_INFER, b, 13, &out, NULL), ERR_OK);
	assert_int_equal(out.head_len, 5);
	assert_int_equal(out.tail_len, 0);
	assert_int_equal(frame_body_split(MSG_INFER, b, 65, &out, NULL), ERR_OK);
	assert_int_equal(out.tail_len, 1);
	assert_ptr_equal(out.tail, b + 64);
	for (size_t len = 14; len <= 64; len++) /* left-over bytes that are no tail */
		assert_int_equal(frame_body_split(MSG_INFER, b, len, &out, NULL), ERR_PROTOCOL);
	b[20] = 1; /* padding must be zero */
	assert_int_equal(frame_body_split(MSG_INFER, b, 65, &out, NULL), ERR_PROTOCOL);
	b[20] = 0;
	b[4] = 1; /* reserved */
	assert_int_equal(frame_body_split(MSG_INFER, b, 13, &out, NULL), ERR_PROTOCOL);
	b[4] = 0;
	frame_prefix_put(b, 6); /* head longer than the body */
	assert_int_equal(frame_body_split(MSG_INFER, b, 13, &out, NULL), ERR_PROTOCOL);
	frame_prefix_put(b, UINT32_MAX);
	assert_int_equal(frame_body_split(MSG_INFER, b, 200, &out, NULL), ERR_PROTOCOL);
	/* no tail where the table allows none */
	frame_prefix_put(b, 5);
	assert_int_equal(frame_body_split(MSG_HELLO, b, 65, &out, NULL), ERR_PROTOCOL);
	/* RES: 64 fixed bytes first */
	memset(b, 0, sizeof b);
	frame_prefix_put(b + 64, 3);
	assert_int_equal(frame_body_split(MSG_RESULT, b, 64 + 11, &out, NULL), ERR_OK);
	assert_int_equal(out.fixed_len, 64);
	assert_int_equal(out.head_len, 3);
	assert_int_equal(frame_body_split(MSG_RESULT, b, 71, &out, NULL), ERR_PROTOCOL);
	assert_int_equal(frame_body_split(MSG_LOCKED, b, 64, &out, NULL), ERR_OK);
	assert_int_equal(frame_body_split(MSG_LOCKED, b, 65, &out, NULL), ERR_PROTOCOL);
}

static void test_errors_table(void **state)
{
	(void)state;
	char buf[16];
	assert_string_equal(err_name(ERR_VIOLATION), "refused-call");
	assert_int_equal(err_exit_code(ERR_DENIED), 4);
	assert_int_equal(err_exit_code(-12345), 1);
	assert_int_equal(err_from_name("log", 3), ERR_LOG);
	assert_int_equal(err_from_name("lo", 2), ERR_INTERNAL);
	assert_string_equal(err_escape(buf, sizeof buf, "a\n\"b", 4), "a\\x0a\\x22b");
	assert_string_equal(err_escape(buf, sizeof buf, "0123456789abcdefgh", 18), "0123456789ab...");
	assert_string_equal(err_escape(buf, 1, "x", 1), "");
	struct err e;
	assert_int_equal(err_set(&e, ERR_MODEL, "x %d", 1), ERR_MODEL);
	err_prefix(&e, "node %s", "n");
	assert_string_equal(e.text, "node n: x 1");
	char longtext[600];
	memset(longtext, 'y', sizeof longtext - 1);
	longtext[sizeof longtext - 1] = 0;
	(void)err_set(&e, ERR_MODEL, "%s", longtext);
	err_prefix(&e, "p");
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX_BYTES - 1);
}

static void test_checked_arithmetic(void **state)
{
	(void)state;
	uint64_t v;
	assert_false(ck_get(ck_mul(ck_u64(UINT64_MAX), ck_u64(2)), UINT64_MAX, &v));
	assert_false(ck_get(ck_add(ck_mul(ck_u64(UINT64_MAX), ck_u64(2)), ck_u64(1)), UINT64_MAX, &v));
	assert_false(ck_get(ck_align(ck_u64(UINT64_MAX - 2), 64), UINT64_MAX, &v));
	assert_false(ck_get(ck_sub(ck_u64(1), ck_u64(2)), UINT64_MAX, &v));
	assert_false(ck_get(ck_i64(-1), UINT64_MAX, &v));
	assert_true(ck_get(ck_align(ck_u64(65), 64), 128, &v));
	assert_int_equal(v, 128);
	assert_false(ck_range(5, UINT64_MAX, 10));
	assert_true(ck_range(5, 5, 10));
	assert_false(ck_range(6, 5, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cell), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_unknown_kinds), cmocka_unit_test(test_header_bits),
		cmocka_unit_test(test_numbers_and_names_unique), cmocka_unit_test(test_body_split),
		cmocka_unit_test(test_errors_table), cmocka_unit_test(test_checked_arithmetic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
