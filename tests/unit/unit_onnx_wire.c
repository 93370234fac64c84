/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: wire_next, wire_varint (onnx/wire.c), half_to_float, half_from_float (onnx/half.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "sandbox/inside/engine/onnx/half.h"
#include "sandbox/inside/engine/onnx/wire.h"

static int next(const char *bytes, size_t n, struct wire_field *f, struct err *e)
{
	struct wire w = { (const uint8_t *)bytes, 0, n };
	return wire_next(&w, f, e);
}

static void test_fields(void **state)
{
	static const char bytes[] = "\x08\x96\x01\x12\x03" "abc\x19\1\2\3\4\5\6\7\x08\x25\1\0\0\0";
	struct wire w = { (const uint8_t *)bytes, 0, sizeof bytes - 1 };
	struct wire_field f;
	struct err e;
	(void)state;
	assert_int_equal(wire_next(&w, &f, &e), 1);
	assert_true(f.num == 1 && f.type == WIRE_VARINT && f.value == 150);
	assert_int_equal(wire_next(&w, &f, &e), 1);
	assert_true(f.num == 2 && f.type == WIRE_BYTES && f.len == 3 && f.data == 5);
	assert_int_equal(wire_next(&w, &f, &e), 1);
	assert_true(f.num == 3 && f.value == 0x0807060504030201u);
	assert_int_equal(wire_next(&w, &f, &e), 1);
	assert_true(f.num == 4 && f.value == 1);
	assert_int_equal(wire_next(&w, &f, &e), 0);
}

static void test_refused(void **state)
{
	static const struct { const char *bytes; size_t n; } bad[] = {
		{ "\x08", 1 }, { "\x08\x80", 2 }, { "\x00\x00", 2 }, { "\x0b", 1 }, { "\x0c", 1 }, { "\x0e\0", 2 }, { "\x0f\0", 2 },
		{ "\x12\x05" "abc", 5 }, { "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 }, { "\x19" "1234567", 8 },
		{ "\x25" "123", 4 }, { "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12 },
		{ "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11 }, { "\xff\xff\xff\xff\x7f\0", 6 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct wire_field f;
		struct err e = { 0, "" };
		assert_int_equal(next(bad[i].bytes, bad[i].n, &f, &e), ERR_MODEL);
		assert_non_null(strstr(e.text, "byte"));
	}
}

static void test_largest(void **state)
{
	struct wire_field f;
	(void)state;
	assert_int_equal(next("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, &f, NULL), 1);
	assert_true(f.value == UINT64_MAX);
	assert_int_equal(next("\xf8\xff\xff\xff\x0f\0", 6, &f, NULL), 1);
	assert_true(f.num == 0x1fffffff);
}

/* Every half goes to float and back; floats between two halves go to the nearer, ties to even. */
static void test_half(void **state)
{
	(void)state;
	for (uint32_t h = 0; h < 65536; h++) {
		float x = half_to_float((uint16_t)h);
		if (x != x) {
			assert_true((half_from_float(x) & 0x7c00) == 0x7c00 && (half_from_float(x) & 0x3ff));
			continue;
		}
		assert_int_equal(half_from_float(x), h);
		float up = half_to_float((uint16_t)(h + 1)), mid = x + (up - x) / 2;
		if ((h & 0x7fff) < 0x7bff) {
			assert_int_equal(half_from_float(mid), h & 1 ? h + 1 : h);
			assert_int_equal(half_from_float(nextafterf(mid, up)), h + 1);
			assert_int_equal(half_from_float(nextafterf(mid, x)), h);
		}
	}
	assert_int_equal(half_from_float(65520.0f), 0x7c00);
	assert_int_equal(half_from_float(65519.0f), 0x7bff);
	assert_int_equal(half_from_float(1e-30f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_half),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
