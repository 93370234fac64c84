/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections: what is refused, and that it costs the connection and nothing else. The client is the other
 * end of a socket pair, the auditor one that says "stored" to everything.
 */
#include "unit_broker_env.h"

#include "broker/call.h"
#include "broker/client.h"
#include "proto/limits.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct house {
	struct broker b;
	int auditor;
	struct frame_rx auditor_rx;
	struct loop_watch auditor_watch;
	struct loop_timer stop;
	unsigned n_records;
	Fumehood__RecordKind kinds[64];
	char codes[64][32];
};

static struct house H;

/* --- an auditor without a disk ---------------------------------------------------------------------- */

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

static void record_keep(const struct frame *f)
{
	struct frame_body b;
	void *m, *r;
	struct err e;
	assert_int_equal(frame_body_split(MSG_APPEND, f->body, f->header.length, &b, &e), ERR_OK);
	assert_int_equal(pb_unpack(&fumehood__append__descriptor, b.head, b.head_len, NULL, &m, &e), ERR_OK);
	Fumehood__Append *a = m;
	assert_int_equal(pb_unpack(&fumehood__record__descriptor, a->record.data, a->record.len, NULL, &r, &e), ERR_OK);
	H.kinds[H.n_records] = ((Fumehood__Record *)r)->kind;
	snprintf(H.codes[H.n_records], sizeof H.codes[0], "%s", ((Fumehood__Record *)r)->code);
	protobuf_c_message_free_unpacked(m, NULL);
	protobuf_c_message_free_unpacked(r, NULL);
}

static void on_auditor(void *arg, uint32_t events)
{
	struct frame f;
	struct err e;
	(void)arg, (void)events;
	while (frame_rx_read(&H.auditor_rx, H.auditor, &f, &e) == 1) {
		Fumehood__Stored m;
		char note[] = "checkpoint";
		record_keep(&f);
		fumehood__stored__init(&m);
		m.index = H.n_records++;
		m.size = H.n_records;
		m.checkpoint = note;
		send_pb(H.auditor, MSG_STORED, f.header.request_id, &m.base, "entry", 5);
		frame_clear(&f);
	}
}

/* --- the house ------------------------------------------------------------------------------------------ */

static void on_stop(void *arg)
{
	(void)arg;
	loop_stop(H.b.loop);
}

static void turn(int ms)
{
	struct err e;
	loop_timer_set(H.b.loop, &H.stop, ms);
	assert_int_equal(loop_run(H.b.loop, &e), ERR_OK);
	loop_timer_stop(H.b.loop, &H.stop);
}

static void on_log_failed(void *arg, const struct err *e)
{
	(void)arg;
	fail_msg("%s", e->text);
}

static void log_start(void)
{
	int pair[2];
	Fumehood__LogOpen m;
	char vkey[NOTE_VKEY_MAX_BYTES], origin[] = "example.org/log";
	uint8_t seed[NOTE_SEED_BYTES] = { 1 };
	struct note_signer s;
	struct err e;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	H.auditor = pair[1];
	frame_rx_init(&H.auditor_rx, ROLE_BROKER, ROLE_AUDITOR, LIMIT_FRAME_BODY_BYTES);
	assert_int_equal(note_signer_init(origin, strlen(origin), seed, &s, NULL), ERR_OK);
	note_vkey_format(&s.key, vkey);
	fumehood__log_open__init(&m);
	m.origin = origin;
	m.vkey = vkey;
	send_pb(H.auditor, MSG_LOG_OPEN, 0, &m.base, NULL, 0);
	const struct log_conf c = { H.b.loop, pair[0], NULL, on_log_failed };
	assert_int_equal(log_open(&c, 1000, &H.b.log, &e), ERR_OK);
	H.auditor_watch = (struct loop_watch){ .fd = H.auditor, .fn = on_auditor };
	assert_int_equal(loop_watch(H.b.loop, &H.auditor_watch, EPOLLIN, &e), ERR_OK);
}

static int setup(void **state)
{
	struct err e;
	(void)state;
	memset(&H, 0, sizeof H);
	env_failure.code = ERR_OK;
	H.stop = (struct loop_timer){ .fn = on_stop };
	assert_int_equal(loop_new(&H.b.loop, &e), ERR_OK);
	assert_int_equal(conf_init(&H.b.conf, &e), ERR_OK);
	H.b.conf.request_max_bytes = MIB(8);
	H.b.conf.clients_max = 3;
	H.b.bodies_max_bytes = MIB(6);
	assert_int_equal(facts_new(&H.b.conf, true, getuid(), &H.b.facts, &e), ERR_OK);
	const struct pool_conf pc = { .loop = H.b.loop, .memory_bytes = MIB(64), .threads = 1 };
	assert_int_equal(pool_new(&pc, &H.b.pool, &e), ERR_OK);
	log_start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while (H.b.clients)
		client_drop(H.b.clients);
	turn(5);
	loop_unwatch(H.b.loop, &H.auditor_watch);
	log_close(H.b.log);
	frame_rx_clear(&H.auditor_rx);
	close(H.auditor);
	pool_free(H.b.pool);
	facts_free(H.b.facts);
	conf_clear(&H.b.conf);
	loop_free(H.b.loop);
	assert_int_equal(env_failure.code, ERR_OK);
	return 0;
}

/* --- a client ----------------------------------------------------------------------------------------------- */

static int connect_one(void)
{
	int pair[2];
	struct err e;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(client_new(&H.b, pair[0], &e), ERR_OK);
	return pair[1];
}

static void say_hello(int fd)
{
	Fumehood__Hello m;
	char name[] = "a \"test\"\n";
	fumehood__hello__init(&m);
	m.client = name;
	send_pb(fd, MSG_HELLO, 1, &m.base, NULL, 0);
}

/* The next frame's kind, 0 when there is none, -1 at the end. For ERROR its code is kept. */
static char got_code[32], got_text[ERR_TEXT_MAX_BYTES];

static int hear(int fd)
{
	struct frame_rx rx;
	struct frame f;
	struct err e;
	struct frame_body b;
	void *m;
	frame_rx_init(&rx, ROLE_BROKER, ROLE_CLIENT, LIMIT_FRAME_BODY_BYTES);
	int rc = frame_rx_read(&rx, fd, &f, &e);
	frame_rx_clear(&rx);
	if (rc <= 0)
		return rc < 0 ? -1 : 0;
	int kind = f.header.kind;
	if (kind == MSG_ERROR) {
		assert_int_equal(frame_body_split(MSG_ERROR, f.body, f.header.length, &b, &e), ERR_OK);
		assert_int_equal(pb_unpack(&fumehood__error__descriptor, b.head, b.head_len, NULL, &m, &e), ERR_OK);
		snprintf(got_code, sizeof got_code, "%s", ((Fumehood__Error *)m)->code);
		snprintf(got_text, sizeof got_text, "%s", ((Fumehood__Error *)m)->text);
		protobuf_c_message_free_unpacked(m, NULL);
	}
	frame_clear(&f);
	return kind;
}

static int open_one(void)
{
	int fd = connect_one();
	say_hello(fd);
	turn(5);
	assert_int_equal(hear(fd), MSG_WELCOME);
	return fd;
}

static void test_hello(void **state)
{
	(void)state;
	int fd = open_one();
	assert_int_equal(H.b.clients->who.uid, getuid());
	assert_int_equal(H.b.clients->who.pid, getpid());
	assert_string_equal(H.b.clients->who.client, "a \\x22test\\x22\\x0a");
	close(fd);
	turn(5);
	assert_null(H.b.clients);
	assert_int_equal(H.n_records, 0); /* to leave is no offence */
}

/* Each of these ends its connection with a word and a record; the other connection does not notice. */
static void expect_end(int fd, int other, const char *code, const char *says)
{
	turn(20);
	assert_int_equal(hear(fd), MSG_ERROR);
	assert_string_equal(got_code, code);
	if (!strstr(got_text, says))
		fail_msg("\"%s\" does not say \"%s\"", got_text, says);
	assert_int_equal(hear(fd), -1);
	assert_int_equal(H.n_records, 1);
	assert_int_equal(H.kinds[0], FUMEHOOD__RECORD_KIND__PEER_ENDED);
	assert_string_equal(H.codes[0], code);
	close(fd);
	Fumehood__Status m;
	fumehood__status__init(&m);
	send_pb(other, MSG_STATUS, 9, &m.base, NULL, 0);
	turn(5);
	assert_int_equal(hear(other), MSG_STATUS_REPLY);
	close(other);
}

static void header_send(int fd, uint16_t kind, uint64_t length)
{
	uint8_t raw[FRAME_HEADER_BYTES];
	frame_header_put(raw, &(struct frame_header){ kind, length, 5 });
	assert_int_equal(write(fd, raw, sizeof raw), (ssize_t)sizeof raw);
}

static void test_before_hello(void **state)
{
	(void)state;
	int other = open_one(), fd = connect_one();
	Fumehood__Status m;
	fumehood__status__init(&m);
	send_pb(fd, MSG_STATUS, 1, &m.base, NULL, 0);
	expect_end(fd, other, "protocol", "STATUS out of turn");
}

static void test_hello_twice(void **state)
{
	(void)state;
	int other = open_one(), fd = open_one();
	say_hello(fd);
	expect_end(fd, other, "protocol", "HELLO out of turn");
}

static void test_above_the_limit(void **state)
{
	(void)state;
	int other = open_one(), fd = open_one();
	header_send(fd, MSG_INFER, MIB(8) + 1);
	expect_end(fd, other, "limit", "8388609 bytes is above the limit of 8388608 bytes");
}

/* Memory of all clients together: the one that goes too far is told, before its frame is complete. */
static void test_too_much_for_all(void **state)
{
	(void)state;
	int other = open_one(), fd = open_one();
	size_t n = MIB(7), at = 0;
	uint8_t *noise = calloc(1, n);
	header_send(fd, MSG_INFER, MIB(8));
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (at < n) {
		ssize_t k = send(fd, noise + at, n - at, MSG_NOSIGNAL);
		if (k < 0 && errno != EAGAIN)
			break; /* it has stopped listening */
		at += k > 0 ? (size_t)k : 0;
		turn(1);
	}
	assert_true(at < n);
	free(noise);
	expect_end(fd, other, "busy", "at most 6291456 may be");
}

static void test_one_client_too_many(void **state)
{
	(void)state;
	int fds[3] = { open_one(), open_one(), open_one() }, fd = connect_one();
	turn(5);
	assert_int_equal(hear(fd), MSG_ERROR);
	assert_string_equal(got_code, "busy");
	assert_non_null(strstr(got_text, "clients_max"));
	assert_int_equal(hear(fd), -1);
	assert_int_equal(H.n_records, 0);
	close(fd);
	close(fds[0]);
	turn(5);
	fds[0] = open_one(); /* there is room again */
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

/* A large frame does not keep the loop from others: it takes several turns, and is then whole. */
static void test_large_frame_in_turns(void **state)
{
	(void)state;
	struct frame_rx rx;
	struct frame f;
	struct err e;
	int pair[2], rc, rounds = 0;
	uint8_t part[65536] = { 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	frame_rx_init(&rx, ROLE_CLIENT, ROLE_BROKER, MIB(1));
	rx.turn_bytes = 10000;
	header_send(pair[1], MSG_INFER, sizeof part);
	assert_int_equal(write(pair[1], part, sizeof part), (ssize_t)sizeof part);
	while ((rc = frame_rx_read(&rx, pair[0], &f, &e)) == 0)
		rounds++;
	assert_int_equal(rc, 1);
	assert_int_equal(f.header.length, sizeof part);
	assert_in_range(rounds, 0, 6);
	frame_clear(&f);
	close(pair[0]);
	close(pair[1]);
}

/* A refusal of a well-formed request is an answer with a record; the connection stays. */
static void test_refusal_is_recorded_first(void **state)
{
	(void)state;
	int fd = open_one();
	Fumehood__Infer m;
	fumehood__infer__init(&m);
	m.target_case = FUMEHOOD__INFER__TARGET_HANDLE;
	m.handle = 77;
	send_pb(fd, MSG_INFER, 3, &m.base, NULL, 0);
	loop_unwatch(H.b.loop, &H.auditor_watch); /* the auditor sleeps ... */
	turn(20);
	assert_int_equal(hear(fd), 0);            /* ... and nothing is said */
	struct err e;
	assert_int_equal(loop_watch(H.b.loop, &H.auditor_watch, EPOLLIN, &e), ERR_OK);
	turn(20);
	assert_int_equal(hear(fd), MSG_ERROR);
	assert_string_equal(got_code, "not-found");
	assert_int_equal(H.n_records, 1);
	assert_int_equal(H.kinds[0], FUMEHOOD__RECORD_KIND__REFUSED);
	assert_int_equal(H.b.n_refusals, 1);
	close(fd);
}

/* Gone before its refusal is stored: nothing is left behind. */
static void test_gone_before_its_answer(void **state)
{
	(void)state;
	int fd = open_one();
	Fumehood__Infer m;
	fumehood__infer__init(&m);
	m.target_case = FUMEHOOD__INFER__TARGET_HANDLE;
	m.handle = 77;
	loop_unwatch(H.b.loop, &H.auditor_watch);
	send_pb(fd, MSG_INFER, 3, &m.base, NULL, 0);
	turn(20);
	close(fd);
	turn(20);
	assert_null(H.b.clients);
	assert_non_null(H.b.orphans);
	struct err e;
	assert_int_equal(loop_watch(H.b.loop, &H.auditor_watch, EPOLLIN, &e), ERR_OK);
	turn(20);
	assert_null(H.b.orphans);
	assert_int_equal(H.n_records, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hello),
		TEST(test_before_hello),
		TEST(test_hello_twice),
		TEST(test_above_the_limit),
		TEST(test_too_much_for_all),
		TEST(test_one_client_too_many),
		TEST(test_large_frame_in_turns),
		TEST(test_refusal_is_recorded_first),
		TEST(test_gone_before_its_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
