/* SPDX-License-Identifier: Apache-2.0
 * The log's writer on a real folder: commits, reopening, receipts, rollback, torn tails, full and failing disks. */
#include "audit_kit.h"

#include "audit/segment.h"

#include <errno.h>

#define SMALL KIB(256)

static void test_append_and_prove(void **state)
{
	(void)state;
	struct kit k;
	struct tree_proof p;
	struct receipt r;
	struct err e;
	char *text;
	size_t len, entry_len, note_len;
	kit_new(&k);
	kit_open(&k, SMALL, NULL);
	uint64_t n = 0;
	for (unsigned batch = 1; batch < 40; batch++) {
		uint64_t first = n;
		for (unsigned i = 0; i < batch; i++)
			assert_int_equal(kit_add(&k, n, 30), n), n++;
		ASSERT_OK(writer_commit(k.w, &e), e);
		assert_int_equal(writer_size(k.w), n);
		for (uint64_t i = first; i < n; i++) {
			const uint8_t *entry = writer_entry(k.w, i, &entry_len);
			const char *note = writer_checkpoint(k.w, &note_len);
			ASSERT_OK(writer_proof(k.w, i, &p, &e), e);
			ASSERT_OK(receipt_format(i, &p, note, note_len, &text, &len, &e), e);
			ASSERT_OK(receipt_verify(entry, entry_len, text, len, &k.key.key, &r, &e), e);
			assert_int_equal(r.index, i);
			free(text);
		}
		assert_null(writer_entry(k.w, n, &entry_len));
		if (first)
			assert_null(writer_entry(k.w, first - 1, &entry_len));
		ASSERT_OK(writer_settle(k.w, &e), e);
	}
	kit_seal(&k);
	struct audit_verdict v;
	kit_verify(k.log, &k.key.key, NULL, &v);
	assert_true(v.ok);
	assert_int_equal(v.size, n);
	assert_int_equal(v.published, n);
	assert_int_equal(v.torn_bytes, 0);
	kit_free(&k);
}

/* Closed at any point, with and without a seal, the log goes on where it was. */
static void test_reopen(void **state)
{
	(void)state;
	struct kit k;
	struct writer_opened info;
	struct audit_verdict v;
	kit_new(&k);
	uint64_t n = 0;
	for (unsigned round = 0; round < 30; round++) {
		kit_open(&k, SMALL, &info);
		assert_int_equal(info.size, n);
		assert_false(info.torn_tail);
		for (unsigned i = 0; i < 1 + round * 7 % 50; i++) {
			kit_add(&k, n++, 400);
			if (i % 3 == 0)
				kit_commit(&k);
		}
		kit_commit(&k);
		if (round % 2)
			kit_seal(&k);
		kit_close(&k);
		kit_verify(k.log, NULL, NULL, &v);
		if (!v.ok)
			fail_msg("round %u: %s", round, v.fault.text);
		assert_int_equal(v.size, n);
	}
	assert_true(v.n_segments > 3);
	kit_free(&k);
}

/* Batches that are as large as they may be, in segments that they do not divide. */
static void test_large_batches(void **state)
{
	(void)state;
	struct kit k;
	struct audit_verdict v;
	struct err e;
	uint64_t index;
	static uint8_t big[LIMIT_RECORD_BYTES + 1];
	kit_new(&k);
	kit_open(&k, SMALL, NULL);
	for (unsigned i = 0; i < 100; i++)
		kit_add(&k, i, i % 7 == 0 ? 30000 : 100);
	assert_int_equal(writer_add(k.w, big, sizeof big, &index, &e), ERR_LIMIT);
	kit_commit(&k);
	kit_seal(&k);
	kit_verify(k.log, NULL, NULL, &v);
	assert_true(v.ok);
	assert_int_equal(v.size, 100);
	/* Without a commit in between a batch ends somewhere, and says so. */
	uint8_t *r;
	size_t len;
	int rc = ERR_OK, n = 0;
	r = kit_record(1, 30000, &len);
	while (rc == ERR_OK && n < 100) {
		assert_int_equal(writer_fits(k.w, len), true);
		rc = writer_add(k.w, r, len, &index, &e);
		n++;
		if (!writer_fits(k.w, len))
			break;
	}
	assert_int_equal(writer_add(k.w, r, len, &index, &e), ERR_LIMIT);
	free(r);
	kit_free(&k);
}

static void test_bad_configuration(void **state)
{
	(void)state;
	struct kit k;
	struct writer_opened info;
	struct err e;
	static const uint64_t sizes[] = { 0, 4096, SMALL - 4096, SMALL + 1, GIB(2) };
	kit_new(&k);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		assert_int_equal(kit_try_open(&k, sizes[i], &info, &e), ERR_CONFIG);
		kit_close(&k);
	}
	kit_free(&k);
}

/* --- refusals at the start ------------------------------------------------------------------------------ */

static void filled(struct kit *k, uint64_t n)
{
	kit_new(k);
	kit_open(k, SMALL, NULL);
	kit_fill(k, n, 10, 200);
	kit_seal(k);
	kit_close(k);
}

static void expect_refused(struct kit *k, int code, const char *word)
{
	struct writer_opened info;
	struct err e = { 0 };
	int rc = kit_try_open(k, SMALL, &info, &e);
	if (rc != code || !strstr(e.text, word))
		fail_msg("got %d \"%s\", wanted %d with \"%s\"", rc, e.text, code, word);
	kit_close(k);
}

static void test_rollback_is_refused(void **state)
{
	(void)state;
	struct kit k;
	filled(&k, 50);
	kit_shell("cp -a '%s' '%s.old'", k.log, k.log);
	kit_open(&k, SMALL, NULL);
	kit_fill(&k, 20, 5, 100);
	kit_seal(&k);
	kit_close(&k);
	kit_shell("rm -rf '%s' && mv '%s.old' '%s'", k.log, k.log, k.log);
	expect_refused(&k, ERR_LOG, "rolled back");
	/* Wiping it is the same. */
	kit_shell("rm -rf '%s'/*", k.log);
	expect_refused(&k, ERR_LOG, "rolled back");
	kit_free(&k);
}

static void test_another_history_is_refused(void **state)
{
	(void)state;
	struct kit k, other;
	filled(&k, 50);
	kit_new(&other);
	kit_open(&other, SMALL, NULL);
	kit_fill(&other, 80, 7, 90); /* the same key, longer, other entries */
	kit_seal(&other);
	kit_close(&other);
	kit_shell("rm -rf '%s' && cp -a '%s' '%s'", k.log, other.log, k.log);
	expect_refused(&k, ERR_LOG, "replaced");
	kit_free(&other);
	kit_free(&k);
}

static void test_other_keys_are_refused(void **state)
{
	(void)state;
	struct kit k;
	filled(&k, 5);
	struct note_signer good = k.key;
	kit_key(&k.key, "log.example/test", 99);
	expect_refused(&k, ERR_LOG, "another key");
	kit_shell("rm '%s/log.vkey'", k.log);
	expect_refused(&k, ERR_LOG, "missing beside segments");
	k.key = good;
	expect_refused(&k, ERR_LOG, "missing beside segments");
	/* A state of another log. */
	kit_shell("rm -rf '%s'/*", k.log);
	kit_key(&k.key, "log.example/test", 99);
	expect_refused(&k, ERR_LOG, "another key");
	kit_free(&k);
}

static void patch(const char *dir, const char *file, long offset, int flip)
{
	char path[200];
	snprintf(path, sizeof path, "%s/%s", dir, file);
	FILE *f = fopen(path, "r+b");
	assert_non_null(f);
	fseek(f, offset, SEEK_SET);
	int c = fgetc(f);
	fseek(f, offset, SEEK_SET);
	fputc(c ^ flip, f);
	fclose(f);
}

/* Where the used part of a segment ends. */
static long used(const char *path)
{
	long at = 0, end = 0;
	int c;
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	for (; (c = fgetc(f)) != EOF; at++)
		if (c)
			end = at + 1;
	fclose(f);
	return (end + 4095) / 4096 * 4096;
}

static void test_damage_is_refused(void **state)
{
	(void)state;
	struct kit k;
	filled(&k, 50);
	patch(k.log, "segments/000000000000", 4096 + 300, 1);
	expect_refused(&k, ERR_LOG, "damaged");
	patch(k.log, "segments/000000000000", 4096 + 300, 1);
	patch(k.log, "segments/000000000000", 30, 1); /* the first block */
	expect_refused(&k, ERR_LOG, "damaged");
	patch(k.log, "segments/000000000000", 30, 1);
	patch(k.log, "checkpoint", 25, 1);
	expect_refused(&k, ERR_LOG, "tlog/checkpoint");
	patch(k.log, "checkpoint", 25, 1);
	/* The last batch looks like a torn tail; the published checkpoint and the state know that it was whole. */
	char path[200];
	snprintf(path, sizeof path, "%s/segments/000000000000", k.log);
	patch(k.log, "segments/000000000000", used(path) - 4096 + 100, 1);
	expect_refused(&k, ERR_LOG, "damaged at its end");
	kit_shell("rm -r '%s'/tlog/*", k.log);
	expect_refused(&k, ERR_LOG, "the log's state knows 50");
	patch(k.log, "segments/000000000000", used(path) - 4096 + 100, 1);
	kit_open(&k, SMALL, NULL);
	kit_free(&k);
}

static void test_damaged_state_is_refused(void **state)
{
	(void)state;
	struct kit k;
	filled(&k, 5);
	patch(k.state, "log.state", 30, 1);
	patch(k.state, "log.state", 4096 + 30, 1);
	expect_refused(&k, ERR_LOG, "log.state is damaged");
	kit_free(&k);
}

/* --- torn tails -------------------------------------------------------------------------------------------- */

static void test_torn_tail(void **state)
{
	(void)state;
	struct kit k;
	struct writer_opened info;
	struct audit_verdict v;
	char path[200];
	filled(&k, 30);
	snprintf(path, sizeof path, "%s/segments/000000000000", k.log);
	long end = used(path);
	/* Half a batch, as a power failure leaves it: copied from an earlier batch, its second half lost. */
	kit_shell("dd if='%s' of='%s' bs=1 skip=4096 seek=%ld count=1500 conv=notrunc status=none", path, path, end);
	kit_verify(k.log, NULL, NULL, &v);
	assert_true(v.ok);
	assert_int_equal(v.torn_bytes, 4096);
	kit_open(&k, SMALL, &info);
	assert_true(info.torn_tail);
	assert_int_equal(info.size, 31);
	kit_fill(&k, 5, 2, 50);
	kit_seal(&k);
	kit_close(&k);
	kit_verify(k.log, NULL, NULL, &v);
	assert_true(v.ok);
	assert_int_equal(v.size, 36);
	assert_int_equal(v.torn_bytes, 0);
	kit_shell("test $(ls '%s/quarantine' | wc -l) = 1 && test $(stat -c %%s '%s'/quarantine/*) = 4096", k.log, k.log);
	kit_free(&k);
}

static bool segment_is_used(const struct kit *k, const char *name)
{
	char path[200];
	snprintf(path, sizeof path, "%s/segments/%s", k->log, name);
	FILE *f = fopen(path, "rb");
	int c = f ? fgetc(f) : 0;
	if (f)
		fclose(f);
	return c > 0;
}

/* The first write of a segment is its first block and a batch; the power went when only the batch had arrived. The
 * batch is whole and signed, but nobody was answered: torn, not damaged. */
static void test_torn_first_block(void **state)
{
	(void)state;
	struct kit k;
	struct writer_opened info;
	struct audit_verdict v;
	uint64_t n = 0;
	kit_new_fast(&k);
	kit_open(&k, SMALL, NULL);
	while (!segment_is_used(&k, "000000000001")) {
		kit_shell("rm -rf '%s/before' && cp -a '%s' '%s/before'", k.base, k.state, k.base);
		kit_add(&k, n++, 20000);
		kit_commit(&k);
	}
	kit_close(&k);
	kit_shell("rm -rf '%s' && mv '%s/before' '%s'", k.state, k.base, k.state);
	kit_shell("dd if=/dev/zero of='%s/segments/000000000001' bs=4096 count=1 conv=notrunc status=none", k.log);
	kit_verify(k.log, NULL, NULL, &v);
	if (!v.ok)
		fail_msg("%s: %s", v.fault.file, v.fault.text);
	assert_int_equal(v.size, n - 1);
	assert_true(v.torn_bytes > 20000);
	kit_open(&k, SMALL, &info);
	assert_true(info.torn_tail);
	assert_int_equal(info.size, n);
	kit_fill(&k, 30, 3, 9000);
	kit_seal(&k);
	kit_close(&k);
	kit_verify(k.log, NULL, NULL, &v);
	assert_true(v.ok);
	/* With one more batch behind, the same loss is damage. */
	kit_shell("dd if=/dev/zero of='%s/segments/000000000001' bs=4096 count=1 conv=notrunc status=none", k.log);
	kit_verify(k.log, NULL, NULL, &v);
	assert_false(v.ok);
	assert_int_equal(v.fault.kind, FAULT_FRAME);
	kit_free(&k);
}

/* --- disks that fail ------------------------------------------------------------------------------------------ */

/* A store in front of the real one: from its n-th call on, a kind of call fails. */
enum { SICK_WRITE, SICK_SYNC, SICK_ALLOCATE, SICK_OPEN, SICK_RENAME, SICK__MAX };
static int countdown[SICK__MAX]; /* calls left until it fails; negative: never */
static struct store *sick_real;
static int sick_error;

static int sick_call(int kind)
{
	if (countdown[kind] < 0)
		return 0;
	return countdown[kind]-- == 0 ? (countdown[kind] = 0, -sick_error) : 0;
}

static int sick_open(struct store *s, const char *path, enum store_mode mode, int *file)
{
	(void)s;
	int n = mode == STORE_CREATE || mode == STORE_TEMP ? sick_call(SICK_OPEN) : 0;
	return n < 0 ? n : sick_real->ops->open(sick_real, path, mode, file);
}
static int sick_close(struct store *s, int file) { (void)s; return sick_real->ops->close(sick_real, file); }
static int sick_size(struct store *s, int file, uint64_t *n) { (void)s; return sick_real->ops->size(sick_real, file, n); }
static int sick_read(struct store *s, int file, void *b, size_t n, uint64_t at)
{
	(void)s;
	return sick_real->ops->read(sick_real, file, b, n, at);
}
static int sick_write(struct store *s, int file, const void *b, size_t n, uint64_t at)
{
	(void)s;
	int rc = sick_call(SICK_WRITE);
	if (rc < 0 && n >= 8192) /* a short write: half arrived */
		(void)sick_real->ops->write(sick_real, file, b, 4096, at);
	return rc < 0 ? rc : sick_real->ops->write(sick_real, file, b, n, at);
}
static int sick_allocate(struct store *s, int file, uint64_t n)
{
	(void)s;
	int rc = sick_call(SICK_ALLOCATE);
	return rc < 0 ? rc : sick_real->ops->allocate(sick_real, file, n);
}
static int sick_flush(struct store *s, int file) { (void)s; return sick_real->ops->flush_start(sick_real, file); }
static int sick_sync(struct store *s, int file)
{
	(void)s;
	int rc = sick_call(SICK_SYNC);
	return rc < 0 ? rc : sick_real->ops->sync(sick_real, file);
}
static int sick_sync_dir(struct store *s, const char *path) { (void)s; return sick_real->ops->sync_dir(sick_real, path); }
static int sick_make_dir(struct store *s, const char *path) { (void)s; return sick_real->ops->make_dir(sick_real, path); }
static int sick_rename(struct store *s, const char *a, const char *b)
{
	(void)s;
	int rc = sick_call(SICK_RENAME);
	return rc < 0 ? rc : sick_real->ops->rename(sick_real, a, b);
}
static int sick_link(struct store *s, const char *a, const char *b)
{
	(void)s;
	return sick_real->ops->make_link(sick_real, a, b);
}

static const struct store_ops sick_ops = { sick_open, sick_close, sick_size, sick_read, sick_write, sick_allocate,
	                                   sick_flush, sick_sync, sick_sync_dir, sick_make_dir, sick_rename, sick_link };
static struct store sick_store = { &sick_ops };

static int sick_try_open(struct kit *k, struct err *e)
{
	struct writer_opened info;
	k->store = kit_store(k->log);
	k->state_store = kit_store(k->state);
	sick_real = k->store;
	struct writer_conf c = { &sick_store, k->state_store, &k->key, SMALL, kit_stamp, k };
	int rc = writer_prepare_folder(&c, e);
	return rc == ERR_OK ? writer_open(&c, &k->w, &info, e) : rc;
}

/* Appends until something fails; *acked counts the durable ones. */
static int append_until_failure(struct kit *k, unsigned max, uint64_t *acked, struct err *e)
{
	for (unsigned i = 0; i < max; i++) {
		size_t len;
		uint64_t index;
		uint8_t *r = kit_record(i, 900, &len);
		int rc = writer_add(k->w, r, len, &index, e);
		free(r);
		if (rc == ERR_OK)
			rc = writer_commit(k->w, e);
		if (rc == ERR_OK)
			*acked = writer_size(k->w);
		if (rc == ERR_OK)
			rc = writer_settle(k->w, e);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

static Fumehood__Entry *last_entry;
static int keep_last(void *arg, uint64_t index, const Fumehood__Entry *x, struct err *e)
{
	(void)arg; (void)index; (void)e;
	uint8_t *b = malloc(fumehood__entry__get_packed_size(x));
	size_t n = fumehood__entry__pack(x, b);
	if (last_entry)
		fumehood__entry__free_unpacked(last_entry, NULL);
	last_entry = fumehood__entry__unpack(NULL, n, b);
	free(b);
	return ERR_OK;
}

/* The log verifies, holds at least what was acknowledged, and nothing more is written after the failure. */
static void after_failure(struct kit *k, uint64_t acked, bool last_record)
{
	struct audit_verdict v;
	struct audit_log *l = NULL;
	struct err e;
	uint64_t index, size;
	size_t len;
	uint8_t *r = kit_record(1, 10, &len);
	assert_int_not_equal(writer_add(k->w, r, len, &index, &e), ERR_OK);
	assert_int_not_equal(writer_commit(k->w, &e), ERR_OK);
	assert_int_not_equal(writer_seal(k->w, &e), ERR_OK);
	free(r);
	kit_close(k);
	kit_verify(k->log, &k->key.key, NULL, &v);
	if (!v.ok)
		fail_msg("%s: %s", v.fault.file, v.fault.text);
	assert_in_range(v.size, acked, acked + 1);
	ASSERT_OK(audit_log_open(k->log, NULL, &l, &e), e);
	ASSERT_OK(audit_log_each(l, 0, keep_last, NULL, &size, &e), e);
	audit_log_close(l);
	if (last_record) {
		assert_int_equal(size, acked + 1);
		assert_int_equal(last_entry->record->kind, FUMEHOOD__RECORD_KIND__SHUTDOWN);
		assert_string_equal(last_entry->record->code, "log");
		assert_non_null(strstr(last_entry->record->text, "make room"));
	}
	if (last_entry)
		fumehood__entry__free_unpacked(last_entry, NULL);
	last_entry = NULL;
	/* With a healthy disk it goes on. */
	struct writer_opened info;
	ASSERT_OK(kit_try_open(k, SMALL, &info, &e), e);
	kit_fill(k, 3, 1, 20);
	kit_seal(k);
	kit_close(k);
	kit_verify(k->log, NULL, NULL, &v);
	assert_true(v.ok);
}

static void well(void)
{
	for (size_t i = 0; i < sizeof countdown / sizeof countdown[0]; i++)
		countdown[i] = -1;
}

/* No room for the next segment: the callers of that batch get nothing, the last record says why. */
static void test_disk_full(void **state)
{
	(void)state;
	static const int kinds[] = { SICK_ALLOCATE, SICK_OPEN };
	static const int errors[] = { ENOSPC, EDQUOT, EFBIG };
	for (size_t i = 0; i < 2; i++) {
		for (size_t j = 0; j < 3; j++) {
			struct kit k;
			struct err e;
			uint64_t acked = 0;
			kit_new_fast(&k);
			well();
			ASSERT_OK(sick_try_open(&k, &e), e);
			countdown[kinds[i]] = 0;
			sick_error = errors[j];
			assert_int_equal(append_until_failure(&k, 1000, &acked, &e), ERR_LOG);
			assert_true(acked > 10);
			well();
			after_failure(&k, acked, true);
			kit_free(&k);
		}
	}
}

/* Any write or sync that fails, at any point: ends at once, nothing that was acknowledged is lost. */
static void test_io_errors(void **state)
{
	(void)state;
	static const int kinds[] = { SICK_WRITE, SICK_SYNC, SICK_RENAME };
	for (size_t i = 0; i < 3; i++) {
		for (int n = 0; n < 40; n += 3) {
			struct kit k;
			struct err e;
			uint64_t acked = 0;
			kit_new_fast(&k);
			well();
			ASSERT_OK(sick_try_open(&k, &e), e);
			countdown[kinds[i]] = n;
			sick_error = EIO;
			int rc = append_until_failure(&k, 200, &acked, &e);
			if (rc == ERR_OK) { /* renames and syncs happen at the end only */
				rc = writer_seal(k.w, &e);
				if (rc == ERR_OK) {
					kit_free(&k);
					continue;
				}
			}
			assert_int_equal(rc, ERR_IO);
			well();
			after_failure(&k, acked, false);
			kit_free(&k);
		}
	}
}

/* A folder that cannot take the first segment is no log. */
static void test_full_from_the_start(void **state)
{
	(void)state;
	struct kit k;
	struct err e;
	kit_new(&k);
	well();
	countdown[SICK_ALLOCATE] = 0;
	sick_error = ENOSPC;
	assert_int_equal(sick_try_open(&k, &e), ERR_LOG);
	assert_non_null(strstr(e.text, "make room"));
	well();
	kit_free(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_and_prove),
		cmocka_unit_test(test_reopen),
		cmocka_unit_test(test_large_batches),
		cmocka_unit_test(test_bad_configuration),
		cmocka_unit_test(test_rollback_is_refused),
		cmocka_unit_test(test_another_history_is_refused),
		cmocka_unit_test(test_other_keys_are_refused),
		cmocka_unit_test(test_damage_is_refused),
		cmocka_unit_test(test_damaged_state_is_refused),
		cmocka_unit_test(test_torn_tail),
		cmocka_unit_test(test_torn_first_block),
		cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_io_errors),
		cmocka_unit_test(test_full_from_the_start),
	};
	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
