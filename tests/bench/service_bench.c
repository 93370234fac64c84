/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole service from a client's seat: one connection, one unsigned model, calls through broker, log
 * and jail. The time of a call is from the request's first byte sent to the answer's last byte read.
 *
 * usage: service_bench SOCKET MODEL REQUEST THREADS
 *
 * Side: tests only. Trusts: its own files. Owns: one connection.
 */
#include "tests/bench/bench_side.h"
#include "proto/frame_io.h"
#include "proto/fumehood.pb-c.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 120000

struct service_side {
	int sock;
	struct frame_rx rx;
	uint64_t next_id;
	uint8_t *front;      /* prefix, head, padding of the INFER body: the same for every call */
	size_t front_len;
	struct frame answer; /* of the last call */
};

static void must(int rc, const struct err *e, const char *what)
{
	if (rc < 0)
		side_die("%s: %s: %s", what, err_name(rc), e->text);
}

/* Waits for the answer to the last request; ends with its text when it is a refusal. */
static void answer_wait(struct service_side *x, uint16_t want, struct frame *f)
{
	struct frame_body b;
	struct err e;
	void *m;
	must(frame_recv(&x->rx, x->sock, WAIT_MS, f, &e), &e, "answer");
	if (f->header.kind == want)
		return;
	must(frame_body_split(f->header.kind, f->body, f->header.length, &b, &e), &e, "answer");
	if (f->header.kind != MSG_ERROR)
		side_die("an answer of kind %#x", f->header.kind);
	must(pb_unpack(&fumehood__error__descriptor, b.head, b.head_len, NULL, &m, &e), &e, "error");
	side_die("%s: %s", ((Fumehood__Error *)m)->code, ((Fumehood__Error *)m)->text);
}

static void request_send(struct service_side *x, uint16_t kind, const void *message, const int *fd)
{
	uint8_t *front;
	size_t len;
	struct err e;
	must(frame_front_pack(kind, message, 0, &front, &len, &e), &e, "pack");
	must(frame_send(x->sock, kind, ++x->next_id, &(struct iovec){ front, len }, 1, fd, fd != NULL, WAIT_MS, &e), &e, "send");
	free(front);
}

static void say_hello(struct service_side *x)
{
	Fumehood__Hello m;
	struct frame f;
	fumehood__hello__init(&m);
	m.client = (char *)(uintptr_t)"service_bench";
	request_send(x, MSG_HELLO, &m, NULL);
	answer_wait(x, MSG_WELCOME, &f);
	frame_clear(&f);
}

static uint64_t model_open(struct service_side *x, const char *path, uint32_t threads)
{
	Fumehood__ModelOpen m;
	struct frame_body b;
	struct frame f;
	struct err e;
	void *opened;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		side_die("%s: %s", path, strerror(errno));
	fumehood__model_open__init(&m);
	m.file_name = (char *)(uintptr_t)"bench.onnx";
	m.threads = threads;
	request_send(x, MSG_MODEL_OPEN, &m, &fd);
	close(fd);
	answer_wait(x, MSG_MODEL_OPENED, &f);
	must(frame_body_split(MSG_MODEL_OPENED, f.body, f.header.length, &b, &e), &e, "opened");
	must(pb_unpack(&fumehood__model_opened__descriptor, b.head, b.head_len, NULL, &opened, &e), &e, "opened");
	uint64_t handle = ((Fumehood__ModelOpened *)opened)->handle;
	protobuf_c_message_free_unpacked(opened, NULL);
	frame_clear(&f);
	return handle;
}

static void request_build(struct service_side *x, struct side_request *r, uint64_t handle)
{
	static Fumehood__Tensor rows[SIDE_TENSORS];
	Fumehood__Tensor *list[SIDE_TENSORS];
	Fumehood__Infer m;
	struct err e;
	fumehood__infer__init(&m);
	m.target_case = FUMEHOOD__INFER__TARGET_HANDLE;
	m.handle = handle;
	m.n_inputs = r->n_in;
	m.inputs = list;
	for (size_t i = 0; i < r->n_in; i++) {
		fumehood__tensor__init(&rows[i]);
		rows[i].name = (ProtobufCBinaryData){ strlen(r->in[i].name), (uint8_t *)r->in[i].name };
		rows[i].type = (Fumehood__DataType)r->in[i].dtype;
		rows[i].n_dims = (size_t)r->in[i].rank;
		rows[i].dims = r->in[i].dims;
		rows[i].offset = (uint64_t)(r->in[i].data - r->tail);
		rows[i].size = r->in[i].bytes;
		list[i] = &rows[i];
	}
	must(frame_front_pack(MSG_INFER, &m, r->tail_bytes, &x->front, &x->front_len, &e), &e, "pack");
}

static void service_call(struct side *s)
{
	struct service_side *x = s->arg;
	struct iovec parts[2] = { { x->front, x->front_len }, { s->request.tail, s->request.tail_bytes } };
	struct err e;
	frame_clear(&x->answer);
	must(frame_send(x->sock, MSG_INFER, ++x->next_id, parts, 2, NULL, 0, WAIT_MS, &e), &e, "send");
	answer_wait(x, MSG_ANSWER, &x->answer);
}

static void service_outputs(struct side *s)
{
	struct service_side *x = s->arg;
	struct frame_body outer, inner;
	struct err e;
	void *m;
	must(frame_body_split(MSG_ANSWER, x->answer.body, x->answer.header.length, &outer, &e), &e, "answer");
	must(frame_inner_split(outer.tail, outer.tail_len, &inner, &e), &e, "outputs");
	must(pb_unpack(&fumehood__outputs__descriptor, inner.head, inner.head_len, NULL, &m, &e), &e, "outputs");
	const Fumehood__Outputs *o = m;
	s->n_out = o->n_outputs;
	if (s->n_out > SIDE_TENSORS)
		side_die("%zu outputs", s->n_out);
	for (size_t i = 0; i < o->n_outputs; i++) {
		const Fumehood__Tensor *t = o->outputs[i];
		if (t->offset > inner.tail_len || t->size > inner.tail_len - t->offset)
			side_die("an output outside its answer");
		snprintf(s->out[i].name, sizeof s->out[i].name, "%.*s", (int)t->name.len, (const char *)t->name.data);
		s->out[i].data = (uint8_t *)(uintptr_t)inner.tail + t->offset;
		s->out[i].bytes = t->size;
	}
	protobuf_c_message_free_unpacked(m, NULL);
}

static void service_info(struct side *s)
{
	(void)s;
	puts("service");
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || strlen(path) >= sizeof a.sun_path)
		side_die("%s is no path for a socket", path);
	memcpy(a.sun_path, path, strlen(path));
	if (connect(s, (struct sockaddr *)&a, sizeof a) != 0)
		side_die("%s: %s", path, strerror(errno));
	return s;
}

int main(int argc, char **argv)
{
	static struct side s;
	static struct service_side x;
	if (argc != 5)
		side_die("usage: service_bench SOCKET MODEL REQUEST THREADS");
	side_request_read(&s.request, argv[3]);
	x.sock = connect_to(argv[1]);
	frame_rx_init(&x.rx, ROLE_BROKER, ROLE_CLIENT, LIMIT_FRAME_BODY_BYTES);
	say_hello(&x);
	request_build(&x, &s.request, model_open(&x, argv[2], (uint32_t)strtoul(argv[4], NULL, 10)));
	s.call = service_call;
	s.read_outputs = service_outputs;
	s.info = service_info;
	s.arg = &x;
	side_serve(&s);
	frame_clear(&x.answer);
	free(x.front);
	close(x.sock);
	return 0;
}
