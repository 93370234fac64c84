/* SPDX-License-Identifier: Apache-2.0
 * .npy files: headers that numpy does not write are refused, and numpy itself is the judge of what this
 * program reads and writes (the last test; skipped loudly where /usr/bin/python3 has no numpy). */
#include "broker/ctl/npy.h"
#include "proto/fumehood.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct err E;

/* A file of version 1 with this header text (padded as numpy does) and n bytes of data. */
static size_t file_make(uint8_t *out, const char *header, size_t n_data)
{
	size_t n = strlen(header), total = (10 + n + 1 + 63) / 64 * 64;
	memcpy(out, "\x93NUMPY\x01", 8);
	out[8] = (uint8_t)((total - 10) & 0xff);
	out[9] = (uint8_t)((total - 10) >> 8);
	memcpy(out + 10, header, n);
	memset(out + 10 + n, ' ', total - 11 - n);
	out[total - 1] = '\n';
	memset(out + total, 0, n_data);
	return total + n_data;
}

static int code(const char *header, size_t n_data, struct npy *n)
{
	uint8_t f[4096];
	struct npy none;
	size_t len = file_make(f, header, n_data);
	return npy_parse(f, len, len, n ? n : &none, &E);
}

static void test_good(void **state)
{
	(void)state;
	struct npy n;
	assert_int_equal(code("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24, &n), ERR_OK);
	assert_int_equal(n.type, FUMEHOOD__DATA_TYPE__FLOAT32);
	assert_int_equal(n.rank, 2);
	assert_true(n.dims[0] == 2 && n.dims[1] == 3 && n.n_items == 6 && n.data_bytes == 24 && !n.fortran);
	assert_int_equal(code("{'descr': '<i8', 'fortran_order': False, 'shape': (), }", 8, &n), ERR_OK);
	assert_int_equal(n.rank, 0);
	assert_int_equal(code("{'descr': '|b1', 'fortran_order': True, 'shape': (5,), }", 5, &n), ERR_OK);
	assert_true(n.fortran);
	assert_int_equal(code("{'descr': '<f2', 'fortran_order': False, 'shape': (0, 3), }", 0, &n), ERR_OK);
}

/* Valid literals that other writers make. */
static void test_other_writers(void **state)
{
	(void)state;
	static const char *const good[] = {
		"{'fortran_order': False, 'shape': (2, 1), 'descr': '<f4'}",
		"{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 1), }",
		"{ 'descr' : '<f4' , 'fortran_order' : True , 'shape' : ( 2 , 1 , ) }",
		"{'descr':'<f4','fortran_order':False,'shape':(2,1)}",
	};
	struct npy n;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		if (code(good[i], 8, &n) != ERR_OK || n.rank != 2 || n.dims[0] != 2 || n.dims[1] != 1)
			fail_msg("%s: %s", good[i], E.text);
}

static void test_refused_headers(void **state)
{
	(void)state;
	static const struct {
		const char *header;
		size_t n_data;
		int code;
	} rows[] = {
		{ "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8, ERR_UNSUPPORTED },
		{ "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 16, ERR_UNSUPPORTED },
		{ "{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }", 16, ERR_UNSUPPORTED },
		{ "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", 8, ERR_UNSUPPORTED },
		{ "{'descr': '|V2', 'fortran_order': False, 'shape': (1,), }", 2, ERR_UNSUPPORTED },
		{ "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,), }", 8, ERR_UNSUPPORTED },
		{ "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, ERR_UNSUPPORTED },
		{ "{'descr': '', 'fortran_order': False, 'shape': (1,), }", 4, ERR_UNSUPPORTED },
		{ "{'descr': '=f4', 'fortran_order': False, 'shape': (1,), }", 4, ERR_UNSUPPORTED },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 7, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 9, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (02,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1 + 1,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': [2], }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }", 4, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1, }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } #", 8, ERR_INPUT },
		{ "__import__('os').abort()", 8, ERR_INPUT },
		{ "", 0, ERR_INPUT },
		{ "{}", 4, ERR_INPUT },
		{ "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'shape': (2,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2,),, }", 8, ERR_INPUT },
		{ "{'descr': '<f4' 'fortran_order': False, 'shape': (2,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2 1,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2,,), }", 8, ERR_INPUT },
		{ "{'de\\x73cr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4\", 'fortran_order': False, 'shape': (2,), }", 8, ERR_UNSUPPORTED },
		{ "{'descr': '<f4', 'fortran_order': Falsehood, 'shape': (2,), }", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), ", 8, ERR_INPUT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }", 4, ERR_LIMIT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 0, ERR_LIMIT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807), }", 0, ERR_LIMIT },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,), }", 0, ERR_INPUT },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (code(rows[i].header, rows[i].n_data, NULL) != rows[i].code)
			fail_msg("%s: %s", rows[i].header, E.text);
}

static void test_refused_fronts(void **state)
{
	(void)state;
	static const char good[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
	uint8_t f[4096], g[4096];
	struct npy n;
	size_t len = file_make(f, good, 8);
	for (size_t cut = 0; cut < len; cut++)
		if (npy_parse(f, cut, cut, &n, &E) == ERR_OK)
			fail_msg("cut at %zu", cut);
	static const struct {
		size_t at;
		uint8_t value;
		int code;
	} rows[] = { { 0, 0, ERR_INPUT },       { 6, 3, ERR_UNSUPPORTED }, { 6, 0, ERR_UNSUPPORTED }, { 7, 1, ERR_UNSUPPORTED },
		         { 9, 0xff, ERR_LIMIT },    { 9, 8, ERR_INPUT },       { 8, 0, ERR_INPUT },       { 127, ' ', ERR_INPUT },
		         { 126, '\n', ERR_INPUT }, { 126, 0, ERR_INPUT } };
	assert_int_equal(len, 136);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		memcpy(g, f, len);
		g[rows[i].at] = rows[i].value;
		if (npy_parse(g, len, len, &n, &E) != rows[i].code)
			fail_msg("row %zu: %s", i, E.text);
	}
}

static void test_fortran(void **state)
{
	(void)state;
	/* items named by their place: value = 100 a + 10 b + c */
	struct npy n = { .item_bytes = 2, .rank = 3, .dims = { 2, 3, 4 }, .n_items = 24, .data_bytes = 48, .fortran = true };
	uint16_t src[24], dst[24];
	for (unsigned c = 0; c < 4; c++)
		for (unsigned b = 0; b < 3; b++)
			for (unsigned a = 0; a < 2; a++)
				src[a + 2 * b + 6 * c] = (uint16_t)(100 * a + 10 * b + c);
	npy_to_rows(&n, (const uint8_t *)src, (uint8_t *)dst);
	for (unsigned i = 0; i < 24; i++)
		assert_int_equal(dst[i], 100 * (i / 12) + 10 * (i / 4 % 3) + i % 4);
}

/* --- numpy ------------------------------------------------------------------------------------------- */

static int python(const char *script, const char *folder)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl("/usr/bin/python3", "python3", "-c", script, folder, (char *)NULL);
		_exit(127);
	}
	int status = -1;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define DTYPES "['f2','f4','f8','i1','i2','i4','i8','u1','u2','u4','u8','b1']"
static const char write_script[] =
	"import sys\n"
	"try: import numpy as np\n"
	"except ImportError: sys.exit(3)\n"
	"r = np.random.default_rng(7)\n"
	"from numpy.lib import format\n"
	"for i, t in enumerate(" DTYPES "):\n"
	"  for k, shape in enumerate([(), (3,), (2, 3), (4, 1, 5), (2, 3, 4, 5), (0, 2)]):\n"
	"    a = (r.random(shape) * 90).astype(t)\n"
	"    if k % 2: a = np.asfortranarray(a)\n"
	"    with open(f'{sys.argv[1]}/{i * 6 + k}.npy', 'wb') as f:\n"
	"      format.write_array(f, a, version=(1, 0) if i % 2 else (2, 0))\n";
static const char judge_script[] =
	"import sys, numpy as np\n"
	"for n in range(72):\n"
	"  a = np.load(f'{sys.argv[1]}/{n}.npy'); b = np.load(f'{sys.argv[1]}/{n}.out.npy')\n"
	"  assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes(), n\n"
	"  assert b.flags.c_contiguous, n\n";

/* Reads folder/n.npy and writes what was read to folder/n.out.npy. */
static void copy_one(const char *folder, int n)
{
	char path[300];
	static uint8_t in[65536], rows[65536], head[256];
	int64_t dims[LIMIT_RANK];
	struct npy npy;
	snprintf(path, sizeof path, "%s/%d.npy", folder, n);
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	size_t len = fread(in, 1, sizeof in, f);
	fclose(f);
	if (npy_parse(in, len, len, &npy, &E) != ERR_OK)
		fail_msg("%d: %s", n, E.text);
	if (npy.fortran)
		npy_to_rows(&npy, in + npy.data_at, rows);
	else
		memcpy(rows, in + npy.data_at, npy.data_bytes);
	for (unsigned i = 0; i < npy.rank; i++)
		dims[i] = (int64_t)npy.dims[i];
	size_t h = npy_header_put(head, sizeof head, npy.type, dims, npy.rank);
	assert_true(h > 0);
	snprintf(path, sizeof path, "%s/%d.out.npy", folder, n);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(head, 1, h, f) + fwrite(rows, 1, npy.data_bytes, f), h + npy.data_bytes);
	fclose(f);
}

static void test_numpy_judges(void **state)
{
	(void)state;
	char folder[] = "/tmp/fumehood-npy-XXXXXX", path[300];
	assert_non_null(mkdtemp(folder));
	int rc = python(write_script, folder);
	if (rc == 3 || rc == 127) {
		printf("SKIP unit_ctl_npy: /usr/bin/python3 has no numpy, which judges what is read and written\n");
		rmdir(folder);
		return;
	}
	assert_int_equal(rc, 0);
	for (int n = 0; n < 72; n++)
		copy_one(folder, n);
	rc = python(judge_script, folder);
	for (int n = 0; n < 72; n++) {
		snprintf(path, sizeof path, "%s/%d.npy", folder, n);
		unlink(path);
		snprintf(path, sizeof path, "%s/%d.out.npy", folder, n);
		unlink(path);
	}
	rmdir(folder);
	assert_int_equal(rc, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),           cmocka_unit_test(test_other_writers),
		cmocka_unit_test(test_refused_headers), cmocka_unit_test(test_refused_fronts),
		cmocka_unit_test(test_fortran),        cmocka_unit_test(test_numpy_judges),
	};
	return cmocka_run_group_tests_name("ctl_npy", tests, NULL, NULL);
}
