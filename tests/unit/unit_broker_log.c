/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's end of the log against an auditor that this test plays: who is told when, and that nothing
 * an auditor says wrongly is taken for durable.
 */
#include "broker/log.h"
#include "proto/limits.h"
#include "proto/pb.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct house {
	struct loop *loop;
	struct log *log;
	int auditor;              /* our end */
	struct frame_rx rx;
	struct log_wait waits[4];
	unsigned n_told;
	uint64_t told[8];
	struct err failed;
	unsigned n_failed;
	struct loop_timer stop;
};

static void send_pb(int fd, uint16_t kind, uint64_t id, const ProtobufCMessage *m, const void *tail, size_t tail_len)
{
	uint8_t *front;
	size_t len;
	struct err e;
	assert_int_equal(frame_front_pack(kind, m, tail_len, &front, &len, &e), ERR_OK);
	const struct iovec v[] = { { front, len }, { (void *)(uintptr_t)tail, tail_len } };
	assert_int_equal(frame_send(fd, kind, id, v, 2, NULL, 0, 1000, &e), ERR_OK);
	free(front);
}

static void say_open(int fd, uint64_t size)
{
	Fumehood__LogOpen m;
	char vkey[NOTE_VKEY_MAX_BYTES], origin[] = "example.org/log";
	uint8_t seed[NOTE_SEED_BYTES] = { 1 };
	struct note_signer s;
	assert_int_equal(note_signer_init(origin, strlen(origin), seed, &s, NULL), ERR_OK);
	note_vkey_format(&s.key, vkey);
	fumehood__log_open__init(&m);
	m.origin = origin;
	m.vkey = vkey;
	m.size = size;
	send_pb(fd, MSG_LOG_OPEN, 0, &m.base, NULL, 0);
}

static void say_stored(int fd, uint64_t id, uint64_t index)
{
	Fumehood__Stored m;
	char note[] = "a checkpoint";
	fumehood__stored__init(&m);
	m.index = index;
	m.size = index + 1;
	m.checkpoint = note;
	send_pb(fd, MSG_STORED, id, &m.base, "entry", 5);
}

static void on_failed(void *arg, const struct err *e)
{
	struct house *h = arg;
	h->failed = *e;
	h->n_failed++;
	loop_stop(h->loop);
}

static void on_stored(void *arg, const struct audit_stored *s)
{
	struct house *h = arg;
	h->told[h->n_told++] = s->index;
}

static void on_stop(void *arg) { loop_stop(((struct house *)arg)->loop); }

static void turn(struct house *h, int ms)
{
	struct err e;
	loop_timer_set(h->loop, &h->stop, ms);
	assert_int_equal(loop_run(h->loop, &e), ERR_OK);
	loop_timer_stop(h->loop, &h->stop);
}

static void house_open(struct house *h, uint64_t size)
{
	int pair[2];
	struct err e;
	*h = (struct house){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	h->auditor = pair[1];
	frame_rx_init(&h->rx, ROLE_BROKER, ROLE_AUDITOR, LIMIT_FRAME_BODY_BYTES);
	h->stop = (struct loop_timer){ .fn = on_stop, .arg = h };
	for (size_t i = 0; i < 4; i++)
		h->waits[i] = (struct log_wait){ .fn = on_stored, .arg = h };
	assert_int_equal(loop_new(&h->loop, &e), ERR_OK);
	say_open(h->auditor, size);
	const struct log_conf c = { h->loop, pair[0], h, on_failed };
	assert_int_equal(log_open(&c, 1000, &h->log, &e), ERR_OK);
	assert_int_equal(log_size(h->log), size);
}

static void house_close(struct house *h)
{
	log_close(h->log);
	loop_free(h->loop);
	frame_rx_clear(&h->rx);
	if (h->auditor >= 0)
		close(h->auditor);
}

static uint64_t append(struct house *h, struct log_wait *w)
{
	Fumehood__Record r;
	uint64_t index = 0;
	fumehood__record__init(&r);
	r.kind = w ? FUMEHOOD__RECORD_KIND__COMPLETED : FUMEHOOD__RECORD_KIND__INTENT;
	log_append(h->log, &r, w, &index);
	return index;
}

/* Reads one APPEND; 0 when there is none. Says whether a proof is wanted. */
static bool got_append(struct house *h, uint64_t *id, bool *want_proof)
{
	struct frame f;
	struct frame_body b;
	struct err e;
	void *m;
	if (frame_rx_read(&h->rx, h->auditor, &f, &e) != 1)
		return false;
	assert_int_equal(f.header.kind, MSG_APPEND);
	assert_int_equal(frame_body_split(MSG_APPEND, f.body, f.header.length, &b, &e), ERR_OK);
	assert_int_equal(pb_unpack(&fumehood__append__descriptor, b.head, b.head_len, NULL, &m, &e), ERR_OK);
	*id = f.header.request_id;
	*want_proof = ((Fumehood__Append *)m)->want_proof;
	protobuf_c_message_free_unpacked(m, NULL);
	frame_clear(&f);
	return true;
}

static void test_told_after_stored_only(void **state)
{
	struct house h;
	uint64_t id;
	bool proof;
	(void)state;
	house_open(&h, 100);
	assert_int_equal(append(&h, NULL), 100);
	assert_int_equal(append(&h, &h.waits[0]), 101);
	turn(&h, 1);
	assert_true(got_append(&h, &id, &proof));
	assert_false(proof);
	uint64_t first = id;
	assert_true(got_append(&h, &id, &proof)); /* both came at once */
	assert_true(proof);
	turn(&h, 10);
	assert_int_equal(h.n_told, 0);
	say_stored(h.auditor, first, 100);
	turn(&h, 5);
	assert_int_equal(h.n_told, 0); /* that was the other one */
	say_stored(h.auditor, id, 101);
	turn(&h, 5);
	assert_int_equal(h.n_told, 1);
	assert_int_equal(h.told[0], 101);
	assert_string_equal(log_checkpoint(h.log), "a checkpoint");
	house_close(&h);
}

/* A record that nobody waits for goes out by itself, a little later. */
static void test_held_back_not_kept(void **state)
{
	struct house h;
	uint64_t id;
	bool proof;
	(void)state;
	house_open(&h, 0);
	append(&h, NULL);
	turn(&h, 1);
	assert_false(got_append(&h, &id, &proof));
	turn(&h, 20);
	assert_true(got_append(&h, &id, &proof));
	house_close(&h);
}

static void test_forgotten_is_not_told(void **state)
{
	struct house h;
	uint64_t id[3];
	bool proof;
	(void)state;
	house_open(&h, 0);
	for (int i = 0; i < 3; i++)
		append(&h, &h.waits[i]);
	turn(&h, 1);
	for (int i = 0; i < 3; i++)
		assert_true(got_append(&h, &id[i], &proof));
	log_forget(h.log, &h.waits[2]);
	log_forget(h.log, &h.waits[1]);
	assert_int_equal(append(&h, &h.waits[3]), 3);
	turn(&h, 1);
	for (uint64_t i = 0; i < 3; i++)
		say_stored(h.auditor, id[i], i);
	turn(&h, 5);
	assert_int_equal(h.n_told, 1);
	assert_int_equal(h.told[0], 0);
	assert_true(got_append(&h, &id[0], &proof));
	say_stored(h.auditor, id[0], 3);
	turn(&h, 5);
	assert_int_equal(h.n_told, 2);
	house_close(&h);
}

/* Each of these ends the log: the waiter hears nothing, the owner is told once. */
static void expect_failure(struct house *h, const char *says)
{
	turn(h, 200);
	assert_int_equal(h->n_failed, 1);
	assert_int_equal(h->failed.code, ERR_LOG);
	assert_non_null(strstr(h->failed.text, says));
	assert_int_equal(h->n_told, 0);
	append(h, &h->waits[1]); /* nothing more is taken */
	turn(h, 20);
	assert_int_equal(h->n_failed, 1);
	assert_int_equal(h->n_told, 0);
	house_close(h);
}

static void test_wrong_index(void **state)
{
	struct house h;
	(void)state;
	house_open(&h, 7);
	append(&h, &h.waits[0]);
	say_stored(h.auditor, 8, 8); /* the record belongs at 7 */
	expect_failure(&h, "belongs at");
}

static void test_never_appended(void **state)
{
	struct house h;
	(void)state;
	house_open(&h, 7);
	append(&h, &h.waits[0]);
	say_stored(h.auditor, 10, 9);
	expect_failure(&h, "stored a record at 9");
}

static void test_log_failed(void **state)
{
	struct house h;
	Fumehood__LogFailed m;
	char text[] = "the disk is full";
	(void)state;
	house_open(&h, 0);
	append(&h, &h.waits[0]);
	fumehood__log_failed__init(&m);
	m.text = text;
	send_pb(h.auditor, MSG_LOG_FAILED, 0, &m.base, NULL, 0);
	expect_failure(&h, "the disk is full");
}

static void test_auditor_gone(void **state)
{
	struct house h;
	(void)state;
	house_open(&h, 0);
	append(&h, &h.waits[0]);
	close(h.auditor);
	h.auditor = -1;
	expect_failure(&h, "auditor");
}

static void test_noise(void **state)
{
	struct house h;
	(void)state;
	house_open(&h, 0);
	append(&h, &h.waits[0]);
	assert_int_equal(write(h.auditor, "this is not a frame of any kind at all", 38), 38);
	expect_failure(&h, "magic");
}

/* A second LOG_OPEN is out of turn. */
static void test_out_of_turn(void **state)
{
	struct house h;
	(void)state;
	house_open(&h, 0);
	append(&h, &h.waits[0]);
	say_open(h.auditor, 5);
	expect_failure(&h, "LOG_OPEN");
}

static void test_no_first_word(void **state)
{
	int pair[2];
	struct err e = { 0 };
	struct loop *loop;
	struct log *log;
	(void)state;
	assert_int_equal(loop_new(&loop, &e), ERR_OK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	const struct log_conf c = { loop, pair[0], NULL, on_failed };
	assert_int_equal(log_open(&c, 1000, &log, &e), ERR_LOG);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told_after_stored_only),
		cmocka_unit_test(test_held_back_not_kept),
		cmocka_unit_test(test_forgotten_is_not_told),
		cmocka_unit_test(test_wrong_index),
		cmocka_unit_test(test_never_appended),
		cmocka_unit_test(test_log_failed),
		cmocka_unit_test(test_auditor_gone),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_out_of_turn),
		cmocka_unit_test(test_no_first_word),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
