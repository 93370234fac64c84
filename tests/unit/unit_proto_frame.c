/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames over a socket pair: whole, in drips, with descriptors, cut, too long, too many.
 */
#include "proto/frame_io.h"
#include "proto/fumehood.pb-c.h"
#include "proto/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void pair(int s[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
}

static void rx_new(struct frame_rx *rx) { frame_rx_init(rx, ROLE_CLIENT, ROLE_BROKER, LIMIT_FRAME_BODY_BYTES); }

static void test_roundtrip_with_tail(void **state)
{
	(void)state;
	int s[2];
	pair(s);
	Fumehood__Infer m;
	fumehood__infer__init(&m);
	m.threads = 3;
	uint8_t *front, tail[100];
	size_t front_len;
	memset(tail, 0xab, sizeof tail);
	assert_int_equal(frame_front_pack(MSG_INFER, &m, sizeof tail, &front, &front_len, NULL), ERR_OK);
	struct iovec parts[] = { { front, front_len }, { tail, sizeof tail } };
	assert_int_equal(frame_send(s[0], MSG_INFER, 9, parts, 2, NULL, 0, 1000, NULL), ERR_OK);
	struct frame_rx rx;
	struct frame f;
	struct frame_body b;
	rx_new(&rx);
	assert_int_equal(frame_recv(&rx, s[1], 1000, &f, NULL), ERR_OK);
	assert_int_equal(f.header.request_id, 9);
	assert_int_equal(frame_body_split(f.header.kind, f.body, f.header.length, &b, NULL), ERR_OK);
	assert_int_equal(b.tail_len, sizeof tail);
	assert_memory_equal(b.tail, tail, sizeof tail);
	frame_clear(&f);
	free(front);
	close(s[0]);
	close(s[1]);
}

/* One byte at a time: the same frame, and the reader says "not yet" in between. */
static void test_drip(void **state)
{
	(void)state;
	int s[2];
	uint8_t wire[40] = { 0 };
	pair(s);
	frame_header_put(wire, &(struct frame_header){ MSG_HELLO, 8, 1 });
	struct frame_rx rx;
	struct frame f;
	rx_new(&rx);
	for (size_t i = 0; i < sizeof wire; i++) {
		assert_int_equal(frame_rx_read(&rx, s[1], &f, NULL), 0);
		assert_int_equal(write(s[0], wire + i, 1), 1);
		assert_true(i == 0 || frame_rx_is_partial(&rx));
	}
	assert_int_equal(frame_rx_read(&rx, s[1], &f, NULL), 1);
	assert_false(frame_rx_is_partial(&rx));
	frame_clear(&f);
	close(s[0]);
	close(s[1]);
}

/* Every prefix of a frame, then the end: a clean end only at length 0. */
static void test_cut_everywhere(void **state)
{
	(void)state;
	uint8_t wire[40] = { 0 };
	frame_header_put(wire, &(struct frame_header){ MSG_HELLO, 8, 1 });
	for (size_t n = 0; n < sizeof wire; n++) {
		int s[2];
		struct frame_rx rx;
		struct frame f;
		struct err e;
		pair(s);
		rx_new(&rx);
		assert_int_equal(write(s[0], wire, n), (ssize_t)n);
		close(s[0]);
		assert_int_equal(frame_recv(&rx, s[1], 1000, &f, &e), n == 0 ? ERR_IO : ERR_PROTOCOL);
		frame_rx_clear(&rx);
		close(s[1]);
	}
}

static int fds_open(void)
{
	int n = 0;
	for (int i = 0; i < 1024; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

/* Descriptors: right number arrives; too few, too many or inside a body end the connection and leak
 * nothing. */
static void test_descriptors(void **state)
{
	(void)state;
	uint8_t body[8] = { 0 };
	struct iovec part = { body, 8 };
	const struct { uint16_t kind; unsigned n; int rc; } cases[] = {
		{ MSG_MODEL_OPEN, 1, ERR_OK }, { MSG_MODEL_OPEN, 0, ERR_PROTOCOL },
		{ MSG_MODEL_OPEN, 2, ERR_PROTOCOL }, { MSG_HELLO, 1, ERR_PROTOCOL },
		{ MSG_ADMIT, 64, ERR_OK },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int s[2], fds[64], before = fds_open();
		struct frame_rx rx;
		struct frame f;
		struct err e;
		pair(s);
		rx_new(&rx);
		for (unsigned k = 0; k < 64; k++)
			fds[k] = STDIN_FILENO;
		assert_int_equal(frame_send(s[0], cases[i].kind, 1, &part, 1, fds, cases[i].n, 1000, &e), ERR_OK);
		int rc = frame_recv(&rx, s[1], 1000, &f, &e);
		assert_int_equal(rc, cases[i].rc);
		if (rc == ERR_OK) {
			assert_int_equal(f.n_fds, cases[i].n);
			frame_clear(&f);
		}
		frame_rx_clear(&rx);
		close(s[0]);
		close(s[1]);
		assert_int_equal(fds_open(), before);
	}
}

static void test_descriptor_inside_body(void **state)
{
	(void)state;
	int s[2], before = fds_open();
	uint8_t wire[40] = { 0 };
	struct frame_rx rx;
	struct frame f;
	struct err e;
	pair(s);
	rx_new(&rx);
	frame_header_put(wire, &(struct frame_header){ MSG_HELLO, 8, 1 });
	assert_int_equal(write(s[0], wire, 36), 36);
	union { char buf[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } ctl;
	struct iovec iov = { wire + 36, 4 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl.buf, .msg_controllen = sizeof ctl.buf };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memset(CMSG_DATA(c), 0, sizeof(int));
	assert_int_equal(sendmsg(s[0], &m, 0), 4);
	assert_int_equal(frame_recv(&rx, s[1], 1000, &f, &e), ERR_PROTOCOL);
	frame_rx_clear(&rx);
	close(s[0]);
	close(s[1]);
	assert_int_equal(fds_open(), before);
}

/* An announcement of 1 GiB costs no memory; one of 3 GiB is refused with both numbers. */
static void test_announcements(void **state)
{
	(void)state;
	int s[2];
	uint8_t wire[32];
	struct frame_rx rx;
	struct frame f;
	struct err e;
	pair(s);
	rx_new(&rx);
	frame_header_put(wire, &(struct frame_header){ MSG_INFER, LIMIT_FRAME_BODY_BYTES, 1 });
	assert_int_equal(write(s[0], wire, 32), 32);
	assert_int_equal(frame_rx_read(&rx, s[1], &f, &e), 0);
	assert_true(rx.cap <= 65536);
	frame_rx_clear(&rx);
	rx_new(&rx);
	frame_header_put(wire, &(struct frame_header){ MSG_INFER, (uint64_t)3 << 30, 1 });
	assert_int_equal(write(s[0], wire, 32), 32);
	assert_int_equal(frame_rx_read(&rx, s[1], &f, &e), ERR_LIMIT);
	assert_non_null(strstr(e.text, "3221225472"));
	assert_non_null(strstr(e.text, "1073741824"));
	close(s[0]);
	close(s[1]);
}

static void test_queue(void **state)
{
	(void)state;
	int s[2];
	struct frame_tx tx = { 0 };
	struct frame_rx rx;
	struct frame f;
	struct err e;
	pair(s);
	frame_rx_init(&rx, ROLE_BROKER, ROLE_CLIENT, LIMIT_FRAME_BODY_BYTES);
	const size_t n = 3 << 20;
	for (int i = 0; i < 3; i++) {
		uint8_t front[64] = { 0 }, *tail = malloc(n);
		memset(tail, i, n);
		assert_int_equal(frame_tx_put(&tx, MSG_ANSWER, (uint64_t)i, front, 64, tail, 0, n, NULL, 0, &e), ERR_OK);
	}
	for (int i = 0; i < 3;) {
		assert_true(frame_tx_write(&tx, s[0], &e) >= 0);
		int rc = frame_rx_read(&rx, s[1], &f, &e);
		assert_true(rc >= 0);
		if (rc == 1) {
			assert_int_equal(f.header.request_id, i);
			assert_int_equal(f.header.length, 64 + n);
			assert_int_equal(f.body[64 + n - 1], i);
			frame_clear(&f);
			i++;
		}
	}
	assert_true(frame_tx_is_empty(&tx));
	assert_int_equal(tx.queued_bytes, 0);
	close(s[1]);
	uint8_t *tail = malloc(16);
	assert_int_equal(frame_tx_put(&tx, MSG_ANSWER, 1, NULL, 0, tail, 0, 16, NULL, 0, &e), ERR_OK);
	assert_int_equal(frame_tx_write(&tx, s[0], &e), ERR_IO);
	frame_tx_clear(&tx);
	close(s[0]);
}

static void test_timeout(void **state)
{
	(void)state;
	int s[2];
	struct frame_rx rx;
	struct frame f;
	pair(s);
	rx_new(&rx);
	assert_int_equal(frame_recv(&rx, s[1], 20, &f, NULL), ERR_DEADLINE);
	close(s[0]);
	close(s[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_roundtrip_with_tail), cmocka_unit_test(test_drip),
		cmocka_unit_test(test_cut_everywhere), cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_descriptor_inside_body), cmocka_unit_test(test_announcements),
		cmocka_unit_test(test_queue), cmocka_unit_test(test_timeout),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
