/* SPDX-License-Identifier: Apache-2.0
 *
 * The pass before protobuf-c: what it accepts is what protobuf-c unpacks; depth, memory and every
 * malformed tag are refused.
 */
#include "proto/fumehood.pb-c.h"
#include "proto/limits.h"
#include "proto/pb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const ProtobufCMessageDescriptor *const infer = &fumehood__infer__descriptor;

static int check(const void *p, size_t n) { return pb_check(infer, p, n, NULL); }

static void test_roundtrip(void **state)
{
	(void)state;
	Fumehood__Tensor t, *list[1] = { &t };
	fumehood__tensor__init(&t);
	int64_t dims[] = { 1, -5, INT64_MAX };
	t.name.data = (uint8_t *)(uintptr_t)"x";
	t.name.len = 1;
	t.n_dims = 3;
	t.dims = dims;
	Fumehood__Infer m;
	fumehood__infer__init(&m);
	m.n_inputs = 1;
	m.inputs = list;
	m.target_case = FUMEHOOD__INFER__TARGET_MODEL;
	m.model = (char *)(uintptr_t)"acme/net\xc3\xa9";
	uint8_t *p;
	size_t n;
	void *out;
	assert_int_equal(pb_pack(&m.base, &p, &n, NULL), ERR_OK);
	assert_int_equal(pb_unpack(infer, p, n, NULL, &out, NULL), ERR_OK);
	Fumehood__Infer *r = out;
	assert_int_equal(r->inputs[0]->dims[1], -5);
	fumehood__infer__free_unpacked(r, NULL);
	for (size_t cut = 0; cut < n; cut++) /* protobuf-c never accepts what we refuse, nor the reverse */
		if (check(p, cut) == ERR_OK) {
			Fumehood__Infer *c = fumehood__infer__unpack(NULL, cut, p);
			assert_non_null(c);
			fumehood__infer__free_unpacked(c, NULL);
		}
	free(p);
}

static void test_malformed(void **state)
{
	(void)state;
	static const struct { const char *bytes; size_t n; } bad[] = {
		{ "\x00\x00", 2 },                                       /* field number 0 */
		{ "\x0b", 1 }, { "\x0c", 1 }, { "\x0e", 1 }, { "\x0f", 1 }, /* wire types 3, 4, 6, 7 */
		{ "\x08", 1 },                                           /* varint missing */
		{ "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11 },  /* above 64 bits */
		{ "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12 },
		{ "\x12\x05" "abc", 5 },                                 /* length past the end */
		{ "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 },
		{ "\x12\x80\x80\x80\x80\x80\x00", 7 },                /* length in 6 bytes: protobuf-c reads 5 */
		{ "\x92\x80\x80\x80\x80\x00\x00", 7 },                /* tag likewise */
		{ "\x0a\x00", 2 },                                       /* handle as bytes */
		{ "\x10\x00", 2 },                                       /* string as varint */
		{ "\x12\x01\xff", 3 }, { "\x12\x01\x00", 3 },            /* not UTF-8; NUL */
		{ "\x12\x03\xed\xa0\x80", 5 }, { "\x12\x02\xc0\x80", 4 }, /* surrogate; overlong */
		{ "\x1a\x03\x1a\x05\x01", 5 },                           /* inner length past its parent */
		{ "\x1a\x02\x1a\x01", 4 },
		{ "\x1a\x03\x1a\x01\x80", 5 },                           /* packed varint cut */
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (check(bad[i].bytes, bad[i].n) != ERR_PROTOCOL)
			fail_msg("case %zu was accepted", i);
}

/* Field and unknown limits: 16 MB of empty messages would cost 29 to 41 times their size. */
static void test_limits(void **state)
{
	(void)state;
	size_t n = 2 * (LIMIT_WIRE_FIELDS + 1);
	uint8_t *p = malloc(n + 16);
	for (size_t i = 0; i < n; i += 2) {
		p[i] = 0x1a; /* inputs: empty Tensor */
		p[i + 1] = 0;
	}
	assert_int_equal(check(p, n), ERR_PROTOCOL);
	assert_int_equal(check(p, n - 2), ERR_OK);
	for (size_t i = 0; i < n; i += 2) {
		p[i] = 0x78; /* field 15, varint: unknown */
		p[i + 1] = 1;
	}
	assert_int_equal(check(p, 2 * (size_t)LIMIT_WIRE_UNKNOWN), ERR_OK);
	assert_int_equal(check(p, 2 * (size_t)LIMIT_WIRE_UNKNOWN + 2), ERR_PROTOCOL);
	/* a packed array counts its elements */
	size_t m = LIMIT_WIRE_FIELDS;
	uint8_t *q = malloc(m + 32), *w = q;
	*w++ = 0x1a;
	for (uint64_t v = m + 4; ; v >>= 7) { *w++ = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0)); if (v <= 0x7f) break; }
	*w++ = 0x1a;
	for (uint64_t v = m; ; v >>= 7) { *w++ = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0)); if (v <= 0x7f) break; }
	memset(w, 1, m);
	assert_int_equal(check(q, (size_t)(w - q) + m), ERR_PROTOCOL);
	free(p);
	free(q);
}

/* Nesting: Record > Entry cannot recurse in our messages, so depth is shown on a descriptor of the
 * test that contains itself. */
static void test_depth(void **state)
{
	(void)state;
	static ProtobufCMessageDescriptor self;
	static ProtobufCFieldDescriptor field = { .name = "self", .id = 1, .label = PROTOBUF_C_LABEL_NONE,
		.type = PROTOBUF_C_TYPE_MESSAGE, .descriptor = &self };
	static const ProtobufCIntRange ranges[] = { { 1, 0 }, { 0, 1 } };
	self = (ProtobufCMessageDescriptor){ .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC, .name = "Self",
		.n_fields = 1, .fields = &field, .n_field_ranges = 1, .field_ranges = ranges };
	for (unsigned depth = 0; depth < 60; depth++) {
		uint8_t b[128];
		for (unsigned i = 0; i < depth; i++) {
			b[2 * i] = 0x0a;
			b[2 * i + 1] = (uint8_t)(2 * (depth - i - 1));
		}
		int want = depth < LIMIT_WIRE_DEPTH ? ERR_OK : ERR_PROTOCOL;
		assert_int_equal(pb_check(&self, b, 2 * (size_t)depth, NULL), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_limits), cmocka_unit_test(test_depth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
