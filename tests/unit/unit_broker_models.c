/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: what is copied is what is hashed; admission and loading refuse whatever is not what was signed.
 * Real notes, a real store in a temporary folder.
 */
#include "broker/copy.h"
#include "broker/models.h"
#include "proto/limits.h"
#include "proto/mem.h"
#include "sandbox/wall/kernel_abi.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <sodium.h>

#define NOW 1800000000u

struct house {
	char folder[64];
	int state_fd, proc_fd;
	struct loop *loop;
	struct note_signer root, alice, mallory;
	struct trust *trust;
	struct trust_state *ts;
	struct models *models;
	int rc;                 /* of the last job */
	struct err e;
	struct model *got;
	struct loop_timer stop;
};

static void on_done(void *arg, int rc, const struct err *e, struct model *m)
{
	struct house *h = arg;
	h->rc = rc;
	h->e = *e;
	h->got = m;
	loop_stop(h->loop);
}

static void on_stop(void *arg) { loop_stop(((struct house *)arg)->loop); }

static void signer(const char *name, uint8_t first, struct note_signer *out)
{
	uint8_t seed[NOTE_SEED_BYTES] = { first };
	assert_int_equal(note_signer_init(name, strlen(name), seed, out, NULL), ERR_OK);
}

/* Signs text; malloc'ed. */
static char *signed_by(const char *text, const struct note_signer *s, size_t *len)
{
	size_t cap = strlen(text) + 1 + NOTE_LINE_MAX_BYTES;
	char *out = malloc(cap);
	struct err e;
	if (note_sign(text, strlen(text), s, 1, out, cap, len, &e) != ERR_OK)
		fail_msg("%s", e.text);
	return out;
}

static void trust_make(struct house *h)
{
	char text[2000], root[NOTE_VKEY_MAX_BYTES], alice[NOTE_VKEY_MAX_BYTES];
	size_t len;
	struct err e;
	note_vkey_format(&h->root.key, root);
	note_vkey_format(&h->alice.key, alice);
	snprintf(text, sizeof text, "fumehood-trust/v1\nversion 1\nissued %u\nexpires %u\nroot-threshold 1\nroot %s\n"
	         "signer alice %s\nrole acme/* threshold 1 of alice\n", NOW - 1000, NOW + 1000000, root, alice);
	char *note = signed_by(text, &h->root, &len);
	if (trust_load(note, len, NULL, 0, NOW, &h->trust, &e) != ERR_OK)
		fail_msg("%s", e.text);
	free(note);
}

static void models_open_store(struct house *h)
{
	unsigned bad = 99;
	struct err e = { 0 };
	if (models_new(h->loop, h->state_fd, h->proc_fd, h->trust, h->ts, &h->models, &bad, &e) != ERR_OK)
		fail_msg("%s", e.text);
	assert_int_equal(bad, 0);
}

static int setup(void **state)
{
	struct house *h = calloc(1, sizeof *h);
	char dir[100];
	struct err e;
	if (sodium_init() < 0)
		return -1;
	snprintf(h->folder, sizeof h->folder, "/tmp/unit_broker_models.XXXXXX");
	assert_non_null(mkdtemp(h->folder));
	h->state_fd = open(h->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	h->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	h->stop = (struct loop_timer){ .fn = on_stop, .arg = h };
	assert_int_equal(loop_new(&h->loop, &e), ERR_OK);
	signer("example.org/root", 1, &h->root);
	signer("example.org/alice", 2, &h->alice);
	signer("example.org/mallory", 3, &h->mallory);
	trust_make(h);
	snprintf(dir, sizeof dir, "%s/trust", h->folder);
	assert_int_equal(trust_state_load(dir, &h->ts, &e), ERR_OK);
	models_open_store(h);
	*state = h;
	return 0;
}

static void tree_remove(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	for (struct dirent *it; d && (it = readdir(d));)
		if (strcmp(it->d_name, ".") && strcmp(it->d_name, "..") && unlinkat(fd, it->d_name, 0) < 0)
			tree_remove(fd, it->d_name);
	if (d)
		closedir(d);
	unlinkat(at, name, AT_REMOVEDIR);
}

static int teardown(void **state)
{
	struct house *h = *state;
	models_free(h->models);
	trust_free(h->trust);
	trust_state_free(h->ts);
	loop_free(h->loop);
	tree_remove(AT_FDCWD, h->folder);
	close(h->state_fd);
	close(h->proc_fd);
	free(h);
	return 0;
}

static void run(struct house *h)
{
	struct err e;
	loop_timer_set(h->loop, &h->stop, 10000);
	assert_int_equal(loop_run(h->loop, &e), ERR_OK);
	loop_timer_stop(h->loop, &h->stop);
}

/* An open file with these bytes, already unlinked. */
static int file_of(const void *bytes, size_t n)
{
	char path[] = "/tmp/unit_broker_models_file.XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
	return fd;
}

static uint8_t *noise(size_t n, uint32_t seed)
{
	uint8_t *p = malloc(n);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = (uint8_t)(seed >> 24);
	}
	return p;
}

/* --- copies ---------------------------------------------------------------------------------------- */

static void expect_open(struct house *h, int fd, int code, const char *says)
{
	struct models_job *job;
	struct err e;
	h->rc = 1;
	assert_int_equal(models_open(h->models, fd, "evil\n\x1b[2J.onnx", on_done, h, &job, &e), ERR_OK);
	run(h);
	assert_int_equal(h->rc, code);
	if (code != ERR_OK && !strstr(h->e.text, says))
		fail_msg("\"%s\" does not say \"%s\"", h->e.text, says);
	assert_int_equal(code == ERR_OK, h->got != NULL);
}

static void test_open_hashes_what_it_seals(void **state)
{
	struct house *h = *state;
	size_t n = (5u << 20) + 4711; /* more than one turn, no whole number of pieces */
	uint8_t *bytes = noise(n, 7), want[HASH_BYTES], root[HASH_BYTES];
	expect_open(h, file_of(bytes, n), ERR_OK, "");
	struct model *m = h->got;
	hash_sha256(bytes, n, want);
	assert_memory_equal(m->file_sha256, want, HASH_BYTES);
	hash_sha256(want, HASH_BYTES, root);
	assert_memory_equal(m->digest, root, HASH_BYTES); /* OMS root of a single file */
	assert_int_equal(m->bytes, n);
	assert_true(m->is_unsigned && m->has_one_file);
	assert_string_equal(m->label, "evil\\x0a\\x1b[2J.onnx");
	uint8_t *map = mmap(NULL, n, PROT_READ, MAP_SHARED, m->fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_memory_equal(map, bytes, n);
	munmap(map, n);
	int seals = fcntl(m->fd, KABI_F_GET_SEALS);
	assert_int_equal(seals & KABI_SEALS_DATA, KABI_SEALS_DATA);
	assert_int_equal(pwrite(m->fd, "x", 1, 0), -1);
	model_unref(m);
	free(bytes);
}

static void test_open_refuses_what_is_no_file(void **state)
{
	struct house *h = *state;
	int pair[2];
	char path[100];
	assert_int_equal(pipe(pair), 0);
	expect_open(h, pair[0], ERR_MODEL, "regular file");
	close(pair[1]);
	expect_open(h, open("/tmp", O_RDONLY), ERR_MODEL, "regular file");
	expect_open(h, open("/dev/zero", O_RDONLY), ERR_MODEL, "regular file");
	expect_open(h, open("/proc/self/exe", O_PATH), ERR_MODEL, "not open for reading");
	expect_open(h, file_of("", 0), ERR_MODEL, "empty");
	snprintf(path, sizeof path, "%s/wo", h->folder);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "x", 1), 1);
	expect_open(h, fd, ERR_MODEL, "not open for reading");
	unlink(path);
}

/* A sparse file of more than the memory there is, and one above the limit. */
static void test_open_refuses_what_does_not_fit(void **state)
{
	struct house *h = *state;
	int fd = file_of("x", 1);
	assert_int_equal(ftruncate(fd, (off_t)GIB(60)), 0);
	expect_open(h, fd, ERR_LIMIT, "does not fit into memory");
	struct copy c;
	struct err e;
	fd = file_of("xyz", 3);
	assert_int_equal(copy_begin(&c, fd, -1, 2, &e), ERR_LIMIT);
	assert_non_null(strstr(e.text, "3 bytes"));
	assert_non_null(strstr(e.text, "2 bytes"));
	close(fd);
}

static void test_changing_files(void **state)
{
	struct copy c;
	struct err e;
	uint8_t digest[HASH_BYTES], *bytes = noise(1u << 20, 1);
	int fd = file_of(bytes, 1u << 20);
	(void)state;
	assert_int_equal(copy_begin(&c, fd, -1, GIB(1), &e), ERR_OK);
	assert_int_equal(copy_step(&c, 1, digest, &e), 0);
	assert_int_equal(ftruncate(fd, 300000), 0);
	int rc;
	while ((rc = copy_step(&c, 1, digest, &e)) == 0)
		;
	assert_int_equal(rc, ERR_MODEL);
	assert_non_null(strstr(e.text, "shrank"));
	copy_clear(&c);
	assert_int_equal(copy_begin(&c, fd, -1, GIB(1), &e), ERR_OK);
	assert_int_equal(copy_step(&c, 1, digest, &e), 0);
	assert_int_equal(pwrite(fd, "more", 4, 300000), 4);
	while ((rc = copy_step(&c, 1, digest, &e)) == 0)
		;
	assert_int_equal(rc, ERR_MODEL);
	assert_non_null(strstr(e.text, "grew"));
	copy_clear(&c);
	close(fd);
	free(bytes);
}

static void test_cancel(void **state)
{
	struct house *h = *state;
	struct models_job *job;
	struct err e;
	uint8_t *bytes = noise(1u << 20, 1);
	h->rc = 1;
	assert_int_equal(models_open(h->models, file_of(bytes, 1u << 20), "m", on_done, h, &job, &e), ERR_OK);
	models_job_cancel(job);
	loop_timer_set(h->loop, &h->stop, 10);
	assert_int_equal(loop_run(h->loop, &e), ERR_OK);
	assert_int_equal(h->rc, 1);
	free(bytes);
}

/* --- the store --------------------------------------------------------------------------------------- */

struct order {
	const char *name;
	unsigned version, expires;
	const void *bytes;
	size_t n;
	const struct note_signer *by;
};

static char *note_of(const struct order *o, size_t *len)
{
	char text[2000], hex[HASH_HEX_BYTES + 1], root[HASH_HEX_BYTES + 1];
	uint8_t file[HASH_BYTES], all[HASH_BYTES];
	hash_sha256(o->bytes, o->n, file);
	hash_sha256(file, HASH_BYTES, all);
	hash_hex(file, hex);
	hash_hex(all, root);
	snprintf(text, sizeof text, "fumehood-model/v1\nname %s\nversion %u\ncreated %u\nexpires %u\nroot sha256:%s\n"
	         "file %zu sha256:%s m.onnx\n", o->name, o->version, NOW - 10, o->expires, root, o->n, hex);
	return signed_by(text, o->by, len);
}

/* Admits what `order` says, with these bytes as the file. */
static int admit(struct house *h, const struct order *o, const void *bytes, size_t n)
{
	size_t len;
	struct model *m;
	struct models_job *job;
	char *note = note_of(o, &len);
	int rc = models_candidate(h->models, note, len, 1, NOW, &m, &h->e);
	free(note);
	if (rc != ERR_OK)
		return rc;
	int fd = file_of(bytes, n);
	h->rc = 1;
	assert_int_equal(models_admit(h->models, m, &fd, 1, on_done, h, &job, &h->e), ERR_OK);
	run(h);
	model_unref(m);
	model_unref(h->got);
	h->got = NULL;
	return h->rc;
}

static int fetch(struct house *h, const char *ref)
{
	struct model *m;
	struct models_job *job;
	int rc = models_find(h->models, ref, &m, &h->e);
	if (rc != ERR_OK)
		return rc;
	h->rc = 1;
	rc = models_fetch(h->models, m, on_done, h, &job, &h->e);
	if (rc == ERR_OK) {
		run(h);
		rc = h->rc;
	}
	if (rc == ERR_OK) {
		assert_ptr_equal(h->got, m);
		assert_true(m->fd >= 0);
		close(m->fd); /* as the pool does when nobody needs it */
		m->fd = -1;
	}
	model_unref(h->got);
	h->got = NULL;
	model_unref(m);
	return rc;
}

static void test_admit_and_fetch(void **state)
{
	struct house *h = *state;
	size_t n = (4u << 20) + 99;
	uint8_t *bytes = noise(n, 9);
	struct order o = { "acme/net", 3, NOW + 1000, bytes, n, &h->alice };
	struct model *m;
	assert_int_equal(admit(h, &o, bytes, n), ERR_OK);
	assert_int_equal(fetch(h, "acme/net"), ERR_OK);
	assert_int_equal(fetch(h, "acme/net@3"), ERR_OK);
	assert_int_equal(fetch(h, "acme/net@2"), ERR_NOT_FOUND);
	assert_int_equal(fetch(h, "../../etc/passwd"), ERR_NOT_FOUND);
	/* A new broker finds it again. */
	models_free(h->models);
	models_open_store(h);
	assert_int_equal(fetch(h, "acme/net"), ERR_OK);
	assert_int_equal(models_find(h->models, "acme/net", &m, &h->e), ERR_OK);
	assert_int_equal(models_check(h->models, m, NOW, &h->e), ERR_OK);
	assert_int_equal(m->vouch.n_signers, 1);
	assert_string_equal(m->vouch.signers[0], "alice");
	assert_int_equal(models_check(h->models, m, NOW + 1001, &h->e), ERR_EXPIRED);
	assert_int_equal(admit(h, &o, bytes, n), ERR_OK); /* once more changes nothing */
	model_unref(m);
	free(bytes);
}

static void test_admit_refuses(void **state)
{
	struct house *h = *state;
	uint8_t *bytes = noise(10000, 5), *other = noise(10000, 6);
	struct order o = { "acme/net", 1, NOW + 1000, bytes, 10000, &h->alice };
	assert_int_equal(admit(h, &o, other, 10000), ERR_DIGEST);
	assert_non_null(strstr(h->e.text, "not what was signed"));
	assert_int_equal(admit(h, &o, bytes, 9999), ERR_DIGEST);
	bytes[5000] ^= 1;
	assert_int_equal(admit(h, &o, other, 10000), ERR_DIGEST);
	o.by = &h->mallory;
	assert_int_equal(admit(h, &o, bytes, 10000), ERR_SIGNATURE);
	o.by = &h->alice;
	o.expires = NOW;
	assert_int_equal(admit(h, &o, bytes, 10000), ERR_EXPIRED);
	o.expires = NOW + 1000;
	o.name = "other/net"; /* no role covers it */
	assert_int_equal(admit(h, &o, bytes, 10000), ERR_SIGNATURE);
	assert_null(models_first(h->models));
	size_t len;
	struct model *m;
	o.name = "acme/net";
	char *note = note_of(&o, &len);
	assert_int_equal(models_candidate(h->models, note, len, 2, NOW, &m, &h->e), ERR_INPUT);
	assert_int_equal(models_candidate(h->models, note, len - 5, 1, NOW, &m, &h->e), ERR_SIGNATURE);
	free(note);
	/* nothing of all that is left in the store */
	int tmp = openat(h->state_fd, "store/tmp", O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(tmp);
	for (struct dirent *it; (it = readdir(d));)
		assert_int_equal(it->d_name[0], '.');
	closedir(d);
	free(bytes);
	free(other);
}

static void test_rollback(void **state)
{
	struct house *h = *state;
	struct order two = { "acme/net", 2, NOW + 1000, "two", 3, &h->alice }, one = two, forged = two;
	struct model *m;
	one.version = 1;
	one.bytes = "one";
	forged.bytes = "2wo";
	assert_int_equal(admit(h, &one, "one", 3), ERR_OK);
	assert_int_equal(admit(h, &two, "two", 3), ERR_OK);
	assert_int_equal(models_find(h->models, "acme/net", &m, &h->e), ERR_OK);
	assert_int_equal(m->note->version, 2); /* a bare name is the newest */
	model_unref(m);
	assert_int_equal(models_find(h->models, "acme/net@1", &m, &h->e), ERR_OK);
	assert_int_equal(models_check(h->models, m, NOW, &h->e), ERR_SIGNATURE); /* it was superseded */
	model_unref(m);
	assert_int_equal(admit(h, &one, "one", 3), ERR_SIGNATURE);
	assert_int_equal(admit(h, &forged, "2wo", 3), ERR_SIGNATURE); /* the same version, other bytes */
}

/* Somebody writes into the store: what is loaded is compared with what was signed, every time. */
static void test_store_is_not_believed(void **state)
{
	struct house *h = *state;
	struct order o = { "acme/net", 1, NOW + 1000, "the model", 9, &h->alice };
	uint8_t raw[HASH_BYTES];
	char hex[HASH_HEX_BYTES + 1], path[200];
	assert_int_equal(admit(h, &o, "the model", 9), ERR_OK);
	hash_sha256("the model", 9, raw);
	hash_hex(raw, hex);
	snprintf(path, sizeof path, "%s/store/files/%s", h->folder, hex);
	int fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "T", 1, 0), 1);
	assert_int_equal(fetch(h, "acme/net"), ERR_DIGEST);
	assert_int_equal(pwrite(fd, "t", 1, 0), 1);
	assert_int_equal(fetch(h, "acme/net"), ERR_OK);
	assert_int_equal(pwrite(fd, "x", 1, 9), 1);
	assert_int_equal(fetch(h, "acme/net"), ERR_DIGEST);
	close(fd);
	unlink(path);
	assert_int_equal(fetch(h, "acme/net"), ERR_NOT_FOUND);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(fetch(h, "acme/net"), ERR_IO); /* links are not followed */
}

static void test_without_trust(void **state)
{
	struct house *h = *state;
	struct order o = { "acme/net", 1, NOW + 1000, "the model", 9, &h->alice };
	assert_int_equal(admit(h, &o, "the model", 9), ERR_OK);
	models_free(h->models);
	trust_free(h->trust);
	h->trust = NULL;
	models_open_store(h);
	struct model *m;
	assert_int_equal(models_find(h->models, "acme/net", &m, &h->e), ERR_OK);
	assert_int_equal(models_check(h->models, m, NOW, &h->e), ERR_SIGNATURE);
	assert_int_equal(admit(h, &o, "the model", 9), ERR_SIGNATURE);
	assert_non_null(strstr(h->e.text, "trust.note"));
	model_unref(m);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open_hashes_what_it_seals),
		TEST(test_open_refuses_what_is_no_file),
		TEST(test_open_refuses_what_does_not_fit),
		TEST(test_changing_files),
		TEST(test_cancel),
		TEST(test_admit_and_fetch),
		TEST(test_admit_refuses),
		TEST(test_rollback),
		TEST(test_store_is_not_believed),
		TEST(test_without_trust),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
