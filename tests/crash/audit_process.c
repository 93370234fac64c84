/* SPDX-License-Identifier: Apache-2.0
 *
 * The auditor's process as its broker sees it: breaches of the protocol, a second one on the same folder, a broker
 * that dies, signals, a file system that is full. usage: audit_process AUDITOR
 */
#include "tests/unit/audit_kit.h"

#include "tests/judges/audit_client.h"

#include <sys/mount.h>
#include <sys/resource.h>

static const char *program;
static char base[64];

static int setup(void **state)
{
	(void)state;
	snprintf(base, sizeof base, "/tmp/fh-audit-XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	(void)umount(base); /* of a test that failed */
	kit_shell("rm -rf '%s'", base);
	return 0;
}

static void start(struct ac *a)
{
	struct err e = { 0 };
	ASSERT_OK(ac_start(a, program, base, KIB(256), &e), e);
}

/* Waits for an answer of this kind. */
static void expect(struct ac *a, uint16_t kind, struct frame *f)
{
	struct err e = { 0 };
	int rc = 0;
	for (int i = 0; rc == 0 && i < 100; i++)
		rc = ac_turn(a, 200, f, &e);
	if (rc <= 0)
		fail_msg("no answer: %s", e.text);
	if (f->header.kind != kind) {
		if (f->header.kind == MSG_LOG_FAILED)
			audit_failed_read(f, &e);
		fail_msg("%s came: %s", msg_name(f->header.kind), e.text);
	}
}

static void stored(struct ac *a, uint64_t index)
{
	struct audit_stored s;
	struct frame f;
	struct err e = { 0 };
	expect(a, MSG_STORED, &f);
	ASSERT_OK(audit_stored_read(&f, &s, &e), e);
	assert_int_equal(s.index, index);
	audit_stored_clear(&s);
	frame_clear(&f);
}

/* LOG_FAILED with this word, then the end with this status. */
static void failed(struct ac *a, const char *word, int want_status)
{
	struct frame f;
	struct err e = { 0 };
	int status;
	expect(a, MSG_LOG_FAILED, &f);
	assert_int_equal(audit_failed_read(&f, &e), ERR_LOG);
	if (!strstr(e.text, word))
		fail_msg("\"%s\" lacks \"%s\"", e.text, word);
	frame_clear(&f);
	assert_int_equal(waitpid(a->pid, &status, 0), a->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), want_status);
	ac_clear(a);
}

static void good(uint64_t size, uint64_t published)
{
	struct audit_verdict v;
	char log[80];
	snprintf(log, sizeof log, "%s/log", base);
	kit_verify(log, NULL, NULL, &v);
	if (!v.ok)
		fail_msg("%s: %s", v.fault.file, v.fault.text);
	assert_int_equal(v.size, size);
	assert_int_equal(v.published, published);
}

static void test_seal(void **state)
{
	(void)state;
	struct ac a;
	struct err e;
	start(&a);
	assert_int_equal(ac_seal(&a, &e), 0); /* nothing in it */
	ac_clear(&a);
	good(0, 0);
	start(&a);
	for (unsigned i = 0; i < 300; i++)
		ac_append(&a, i + 1, 100, i % 2);
	for (unsigned i = 0; i < 300; i++)
		stored(&a, i);
	assert_int_equal(ac_seal(&a, &e), 0);
	ac_clear(&a);
	good(300, 300);
}

/* The broker dies: whole frames that it sent are kept, a half one is not. */
static void test_broker_dies(void **state)
{
	(void)state;
	struct ac a;
	struct frame f;
	struct err e;
	int status;
	start(&a);
	for (unsigned i = 0; i < 20; i++)
		ac_append(&a, i + 1, 100, false);
	(void)ac_turn(&a, 0, &f, &e);
	shutdown(a.fd, SHUT_WR);
	waitpid(a.pid, &status, 0);
	assert_int_equal(status, 0);
	ac_clear(&a);
	good(20, 20);
	start(&a);
	ac_append(&a, 1, 100, false);
	ac_append(&a, 2, 100, false);
	a.len -= 30;
	stored(&a, 20);
	shutdown(a.fd, SHUT_WR);
	failed(&a, "middle of a frame", 5);
}

static void bytes_refused(const void *p, size_t n, const char *word, int status)
{
	struct ac a;
	start(&a);
	uint64_t size = a.opened.size;
	ac_append(&a, 1, 100, true);
	stored(&a, size);
	ac_bytes(&a, p, n);
	failed(&a, word, status);
}

static void test_breaches(void **state)
{
	(void)state;
	uint8_t frame[FRAME_HEADER_BYTES + 64] = { 0 };
	static const uint8_t bad_record[] = { 4, 0, 0, 0, 0, 0, 0, 0, 0x0a, 2, 0xff, 0xff }; /* Append{record: no message} */
	static const uint8_t bad_append[] = { 2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	struct frame_header h = { MSG_APPEND, sizeof bad_record, 7 };
	bytes_refused("GET / HTTP/1.1\r\nHost: somebody.example\r\n\r\n", 42, "frame", 5);
	frame_header_put(frame, &h);
	memcpy(frame + FRAME_HEADER_BYTES, bad_record, sizeof bad_record);
	bytes_refused(frame, FRAME_HEADER_BYTES + sizeof bad_record, "protobuf", 5);
	h.length = sizeof bad_append;
	frame_header_put(frame, &h);
	memcpy(frame + FRAME_HEADER_BYTES, bad_append, sizeof bad_append);
	bytes_refused(frame, FRAME_HEADER_BYTES + sizeof bad_append, "protobuf", 5);
	h.length = LIMIT_RECORD_BYTES + 4096; /* too large: only announced */
	frame_header_put(frame, &h);
	bytes_refused(frame, FRAME_HEADER_BYTES, "limit", 3);
	h = (struct frame_header){ MSG_STORED, 8, 7 }; /* the auditor's own kind */
	frame_header_put(frame, &h);
	bytes_refused(frame, FRAME_HEADER_BYTES + 8, "STORED", 5);
	good(5, 0);
}

/* The largest record there may be, and one more byte. */
static void test_record_sizes(void **state)
{
	(void)state;
	struct ac a;
	struct err e;
	uint8_t *body = NULL, *record = calloc(1, LIMIT_RECORD_BYTES + 1);
	size_t len;
	start(&a);
	/* Field 16 (text): tag of two bytes, length of three. The message around the record takes six more. */
	size_t n = LIMIT_RECORD_BYTES - 6, text = n - 5;
	record[0] = 0x82;
	record[1] = 1;
	record[2] = (uint8_t)(text | 0x80);
	record[3] = (uint8_t)(text >> 7 | 0x80);
	record[4] = (uint8_t)(text >> 14);
	memset(record + 5, 'x', text);
	ASSERT_OK(audit_append_pack(record, n, true, &body, &len, &e), e);
	ac_frame(&a, MSG_APPEND, 1, body, len);
	free(body);
	stored(&a, 0);
	assert_int_equal(audit_append_pack(record, n + 1, true, &body, &len, &e), ERR_LIMIT);
	assert_int_equal(audit_append_pack(record, LIMIT_RECORD_BYTES + 1, true, &body, &len, &e), ERR_LIMIT);
	free(record);
	assert_int_equal(ac_seal(&a, &e), 0);
	ac_clear(&a);
	good(1, 1);
}

static void test_second_auditor(void **state)
{
	(void)state;
	struct ac a, b;
	struct err e = { 0 };
	start(&a);
	assert_int_equal(ac_start(&b, program, base, KIB(256), &e), ERR_LOG);
	assert_non_null(strstr(e.text, "another auditor"));
	waitpid(b.pid, NULL, 0);
	ac_clear(&b);
	ac_append(&a, 1, 10, true);
	stored(&a, 0);
	assert_int_equal(ac_seal(&a, &e), 0);
	ac_clear(&a);
}

/* A key on the terminal ends the service, not the log before the service has said so. */
static void test_signals(void **state)
{
	(void)state;
	struct ac a;
	struct err e;
	start(&a);
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		kill(a.pid, signals[i]);
		ac_append(&a, 1, 10, true);
		stored(&a, i);
	}
	assert_int_equal(ac_seal(&a, &e), 0);
	ac_clear(&a);
	good(4, 4);
}

/* The wall stands before the first byte of the log is read. */
static void test_walled(void **state)
{
	(void)state;
	struct ac a;
	struct err e;
	char path[64], line[256];
	int seccomp = -1, nnp = -1;
	start(&a);
	snprintf(path, sizeof path, "/proc/%d/status", (int)a.pid);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		(void)sscanf(line, "Seccomp: %d", &seccomp);
		(void)sscanf(line, "NoNewPrivs: %d", &nnp);
	}
	fclose(f);
	assert_int_equal(seccomp, 2);
	assert_int_equal(nnp, 1);
	assert_int_equal(ac_seal(&a, &e), 0);
	ac_clear(&a);
}

/* Appends until it ends; how many were answered. */
static uint64_t append_until_failed(struct ac *a, char text[ERR_TEXT_MAX_BYTES])
{
	struct frame f;
	struct err e = { 0 };
	uint64_t sent = 0, answered = 0;
	for (;;) {
		for (; sent - answered < 16; sent++)
			ac_append(a, sent + 1, 900, false);
		int rc = ac_turn(a, 5000, &f, &e);
		if (rc == 0)
			continue;
		if (rc < 0)
			fail_msg("it ended without a word: %s", e.text);
		bool last = f.header.kind == MSG_LOG_FAILED;
		if (last)
			audit_failed_read(&f, &e);
		frame_clear(&f);
		if (last) {
			snprintf(text, ERR_TEXT_MAX_BYTES, "%s", e.text);
			waitpid(a->pid, NULL, 0);
			return answered;
		}
		assert_true(++answered < 20000);
	}
}

static uint64_t last_size;
static bool last_is_end;
static int see_last(void *arg, uint64_t index, const Fumehood__Entry *x, struct err *e)
{
	(void)arg;
	(void)e;
	last_size = index + 1;
	last_is_end = x->record->kind == FUMEHOOD__RECORD_KIND__SHUTDOWN && strcmp(x->record->code, "log") == 0;
	return ERR_OK;
}

static void full_check(uint64_t answered, const char *text)
{
	struct audit_log *l = NULL;
	struct err e = { 0 };
	uint64_t size;
	char log[80];
	assert_true(answered > 50);
	assert_non_null(strstr(text, "make room"));
	snprintf(log, sizeof log, "%s/log", base);
	ASSERT_OK(audit_log_open(log, NULL, &l, &e), e);
	ASSERT_OK(audit_log_each(l, 0, see_last, NULL, &size, &e), e);
	audit_log_close(l);
	assert_int_equal(size, answered + 1);
	assert_true(last_is_end);
}

/* A real file system of 2 MiB. */
static void test_full_file_system(void **state)
{
	(void)state;
	struct ac a;
	char text[ERR_TEXT_MAX_BYTES];
	if (mount("tmpfs", base, "tmpfs", 0, "size=2m") < 0) {
		print_message("SKIP full file system: tmpfs cannot be mounted here (%s)\n", strerror(errno));
		return;
	}
	start(&a);
	uint64_t answered = append_until_failed(&a, text);
	ac_clear(&a);
	full_check(answered, text);
	assert_int_equal(umount(base), 0);
}

/* A limit on the size of files, which an ordinary user can meet. */
static void test_file_size_limit(void **state)
{
	(void)state;
	struct ac a;
	struct err e = { 0 };
	struct rlimit was, small;
	start(&a); /* makes the first segment */
	assert_int_equal(ac_seal(&a, &e), 0);
	ac_clear(&a);
	signal(SIGXFSZ, SIG_IGN); /* kept across exec; the auditor sees EFBIG */
	getrlimit(RLIMIT_FSIZE, &was);
	small = was;
	small.rlim_cur = KIB(128);
	setrlimit(RLIMIT_FSIZE, &small);
	int rc = ac_start(&a, program, base, KIB(256), &e);
	setrlimit(RLIMIT_FSIZE, &was);
	if (rc != ERR_OK) { /* the prepared segment was begun anew: it says so before it opens */
		assert_int_equal(rc, ERR_LOG);
		assert_non_null(strstr(e.text, "make room"));
		waitpid(a.pid, NULL, 0);
		ac_clear(&a);
		return;
	}
	kill(a.pid, SIGKILL);
	waitpid(a.pid, NULL, 0);
	ac_clear(&a);
	fail_msg("a segment larger than the limit was accepted");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_seal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broker_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_breaches, setup, teardown),
		cmocka_unit_test_setup_teardown(test_record_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_auditor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_walled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_file_system, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_size_limit, setup, teardown),
	};
	program = argc > 1 ? argv[1] : NULL;
	return !program || sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
