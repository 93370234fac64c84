/* SPDX-License-Identifier: Apache-2.0
 * Outputs of a worker that lies, their file names, and what is said of their values. */
#include "broker/ctl/tensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* options.c wants a table of commands. */
const struct ctl_command *const ctl_commands[] = { NULL };
const size_t ctl_n_commands = 0;

static struct err E;
static char name_y[] = "y";

/* --- answers ---------------------------------------------------------------------------------------- */

/* A worker's body: one tensor, 128 bytes of tail. */
static int answer_code(const Fumehood__Tensor *t, unsigned copies)
{
	Fumehood__Outputs m, *got = NULL;
	Fumehood__Tensor *list[LIMIT_TENSORS + 1];
	static struct output out[LIMIT_TENSORS];
	uint8_t body[65536] = { 0 };
	size_t n = 0;
	fumehood__outputs__init(&m);
	for (unsigned i = 0; i < copies; i++)
		memcpy(&list[i], &t, sizeof t);
	m.outputs = list;
	m.n_outputs = copies;
	size_t head = fumehood__outputs__get_packed_size(&m), front = frame_front_bytes(head, 128);
	assert_true(front + 128 <= sizeof body);
	frame_prefix_put(body, head);
	fumehood__outputs__pack(&m, body + FRAME_PREFIX_BYTES);
	const struct frame_body answer = { .tail = body, .tail_len = front + 128 };
	int rc = outputs_read(&answer, &got, out, &n, &E);
	if (rc == ERR_OK && copies) {
		assert_int_equal(n, copies);
		assert_ptr_equal(out[0].data, body + front + t->offset);
	}
	if (got)
		fumehood__outputs__free_unpacked(got, NULL);
	return rc;
}

static Fumehood__Tensor tensor(int64_t *dims, size_t rank, uint64_t offset, uint64_t size)
{
	Fumehood__Tensor t;
	fumehood__tensor__init(&t);
	t.name = (ProtobufCBinaryData){ 1, (uint8_t *)name_y };
	t.type = FUMEHOOD__DATA_TYPE__FLOAT32;
	t.dims = dims;
	t.n_dims = rank;
	t.offset = offset;
	t.size = size;
	return t;
}

static void test_outputs(void **state)
{
	(void)state;
	int64_t dims[12] = { 2, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, huge[2] = { INT64_MAX, INT64_MAX }, minus[2] = { -2, -8 };
	int64_t big[2] = { INT64_C(1) << 32, INT64_C(1) << 32 }, none[2] = { 0, INT64_MAX };
	Fumehood__Tensor t = tensor(dims, 2, 0, 64);
	assert_int_equal(answer_code(&t, 1), ERR_OK);
	assert_int_equal(answer_code(&t, 2), ERR_OK);
	assert_int_equal(answer_code(&t, 0), ERR_OK);
	t = tensor(dims, 8, 64, 64);
	assert_int_equal(answer_code(&t, 1), ERR_OK);
	const Fumehood__Tensor bad[] = {
		tensor(dims, 9, 0, 64),          tensor(dims, 2, 0, 60),           tensor(dims, 2, 0, 68),
		tensor(dims, 2, 128, 64),        tensor(dims, 2, 4, 64),           tensor(dims, 2, UINT64_MAX - 63, 64),
		tensor(huge, 2, 0, 4),           tensor(minus, 2, 0, 64),          tensor(big, 2, 0, 0),
		tensor(dims, 2, 0, UINT64_MAX),  tensor(dims, 2, UINT64_MAX, 64),
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (answer_code(&bad[i], 1) != ERR_PROTOCOL)
			fail_msg("tensor %zu was taken", i);
	t = tensor(none, 2, 0, 0);
	assert_int_equal(answer_code(&t, 1), ERR_OK); /* no items, no bytes */
	t = tensor(dims, 2, 0, 64);
	t.type = FUMEHOOD__DATA_TYPE__STRING;
	assert_int_equal(answer_code(&t, 1), ERR_PROTOCOL);
	t.type = (Fumehood__DataType)77;
	assert_int_equal(answer_code(&t, 1), ERR_PROTOCOL);
	t.type = FUMEHOOD__DATA_TYPE__FLOAT32;
	assert_int_equal(answer_code(&t, LIMIT_TENSORS + 1), ERR_PROTOCOL);
}

static void test_bodies(void **state)
{
	(void)state;
	uint8_t body[128] = { 0 };
	struct output out[LIMIT_TENSORS];
	Fumehood__Outputs *m = NULL;
	size_t n = 0;
	for (size_t len = 0; len < 8; len++) {
		const struct frame_body a = { .tail = body, .tail_len = len };
		assert_int_not_equal(outputs_read(&a, &m, out, &n, &E), ERR_OK);
		assert_null(m);
	}
	frame_prefix_put(body, 1u << 20);
	const struct frame_body lies = { .tail = body, .tail_len = sizeof body };
	assert_int_not_equal(outputs_read(&lies, &m, out, &n, &E), ERR_OK);
	frame_prefix_put(body, 20);
	memset(body + 8, 0x0b, 20); /* a group, nested for ever */
	assert_int_not_equal(outputs_read(&lies, &m, out, &n, &E), ERR_OK);
	assert_null(m);
}

/* --- names -------------------------------------------------------------------------------------------- */

static void test_file_names(void **state)
{
	(void)state;
	static const struct {
		const char *name, *file;
	} rows[] = {
		{ "y", "y.npy" }, { "A-Z_0.9", "A-Z_0.9.npy" }, { "a/b", "a%2Fb.npy" }, { "..", "...npy" }, { "%2F", "%252F.npy" },
		{ "\xc3\xa9", "%C3%A9.npy" }, { "a b=\n", "a%20b%3D%0A.npy" }, { "~", "%7E.npy" },
	};
	char file[256], other[256], big[3000];
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		output_file_name(rows[i].name, strlen(rows[i].name), file);
		assert_string_equal(file, rows[i].file);
	}
	output_file_name("a\0b", 3, file);
	assert_string_equal(file, "a%00b.npy");
	output_file_name("", 0, file);
	assert_string_equal(file, "~e3b0c44298fc1c14.npy");
	for (size_t len = 200; len < 300; len++) { /* around the limit, no two names meet */
		memset(big, 'x', len + 1);
		output_file_name(big, len, file);
		output_file_name(big, len + 1, other);
		assert_true(strlen(file) <= 255 && strcmp(file, other) != 0);
		memset(big, '/', len + 1);
		output_file_name(big, len, file);
		output_file_name(big, len + 1, other);
		assert_true(strlen(file) <= 255 && !strchr(file, '/') && strcmp(file, other) != 0);
	}
}

static void test_write(void **state)
{
	(void)state;
	char dir[] = "/tmp/fumehood-out-XXXXXX", path[PATH_MAX];
	int64_t dims[2] = { 1, 2 };
	float v[2] = { 1, 2 };
	struct npy n;
	struct stat st;
	uint8_t back[256];
	struct output o = { .name = "a/b", .name_len = 3, .type = FUMEHOOD__DATA_TYPE__FLOAT32, .dims = dims, .rank = 2,
		                .data = (const uint8_t *)v, .bytes = 8, .n_items = 2 };
	assert_non_null(mkdtemp(dir));
	assert_int_equal(output_write(dir, &o, path, &E), ERR_OK);
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	size_t len = fread(back, 1, sizeof back, f);
	fclose(f);
	assert_int_equal(npy_parse(back, len, len, &n, &E), ERR_OK);
	assert_memory_equal(back + n.data_at, v, 8);
	unlink(path);
	/* a disk that is full must not look like an answer */
	assert_int_equal(symlink("/dev/full", path), 0);
	if (stat("/dev/full", &st) == 0)
		assert_int_equal(output_write(dir, &o, path, &E), ERR_IO);
	unlink(path);
	rmdir(dir);
	assert_int_equal(output_write(dir, &o, path, &E), ERR_IO);
}

/* --- summaries ------------------------------------------------------------------------------------------- */

static void test_summary(void **state)
{
	(void)state;
	float v[8] = { 3, NAN, -1, 7, 7, INFINITY, 2, 5 };
	struct output o = { .type = FUMEHOOD__DATA_TYPE__FLOAT32, .data = (const uint8_t *)v, .n_items = 8 };
	struct summary s;
	output_summary(&o, &s);
	assert_true(s.min == -1 && isinf(s.max) && s.n_nan == 1 && s.n_inf == 1 && s.n_top == 5);
	static const uint64_t at[5] = { 5, 3, 4, 7, 0 }; /* equal values keep their order */
	for (int i = 0; i < 5; i++)
		assert_int_equal(s.at[i], at[i]);
	static const uint16_t half[4] = { 0x3c00, 0xc000, 0x0001, 0x7bff }; /* 1, -2, 2^-24, 65504 */
	o = (struct output){ .type = FUMEHOOD__DATA_TYPE__FLOAT16, .data = (const uint8_t *)half, .n_items = 4 };
	output_summary(&o, &s);
	assert_true(s.max == 65504 && s.min == -2 && s.value[2] == ldexp(1, -24));
	static const uint16_t brain[2] = { 0x3fc0, 0xbf80 }; /* 1.5, -1 */
	o = (struct output){ .type = FUMEHOOD__DATA_TYPE__BFLOAT16, .data = (const uint8_t *)brain, .n_items = 2 };
	output_summary(&o, &s);
	assert_true(s.max == 1.5 && s.min == -1 && s.mean == 0.25);
	static const int8_t small[3] = { -128, 127, 0 };
	o = (struct output){ .type = FUMEHOOD__DATA_TYPE__INT8, .data = (const uint8_t *)small, .n_items = 3 };
	output_summary(&o, &s);
	assert_true(s.min == -128 && s.max == 127);
	o.n_items = 0;
	output_summary(&o, &s);
	assert_true(isnan(s.mean) && s.n_top == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outputs), cmocka_unit_test(test_bodies),  cmocka_unit_test(test_file_names),
		cmocka_unit_test(test_write),   cmocka_unit_test(test_summary),
	};
	return cmocka_run_group_tests_name("ctl_tensors", tests, NULL, NULL);
}
