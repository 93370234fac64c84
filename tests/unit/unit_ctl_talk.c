/* SPDX-License-Identifier: Apache-2.0
 * A broker that lies, in a child process on a real socket: what the command refuses to believe. The log
 * behind the honest receipts is real (tree, checkpoint, key); each lie changes one thing. */
#include "broker/ctl/talk_in.h"

#include "audit/audit.h"
#include "proto/pb.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

/* options.c wants a table of commands. */
const struct ctl_command *const ctl_commands[] = { NULL };
const size_t ctl_n_commands = 0;

enum lie {
	HONEST,
	NO_RECEIPT,
	OTHER_KEY,        /* signed by a log that is not the one of WELCOME */
	OTHER_MODEL,
	OTHER_QUESTION,   /* somebody else's receipt */
	OTHER_ANSWER,
	INTENT_ONLY,      /* the record of the intent, not of the answer */
	NO_SALT,
	OTHER_INDEX,
	ENTRY_CHANGED,
	ROOT_CHANGED,
	OTHER_REQUEST_ID,
	OTHER_MESSAGE,
	GARBAGE_HEAD,
	HALF_A_FRAME,
	NO_VKEY,
	REFUSES,          /* an honest ERROR, with terminal tricks in its text */
	REFUSES_FORGED,   /* an ERROR whose receipt is not of the log */
	LIES__MAX
};

static struct note_signer log_key, thief;
static const uint8_t model_digest[HASH_BYTES] = { 7 };
static char dir[] = "/tmp/fumehood-talk-XXXXXX", path[100];
static struct err E;

/* In the child: a step of the honest part failed. */
#define must(ok)                                                \
	do {                                                        \
		if (!(ok)) {                                            \
			fprintf(stderr, "broker, line %d\n", __LINE__);     \
			_exit(3);                                           \
		}                                                       \
	} while (0)

/* --- the broker ---------------------------------------------------------------------------------------- */

/* The entry as third of three in a log, with its receipt. */
static char *receipt_make(enum lie lie, uint8_t *entry, size_t entry_len, uint64_t index)
{
	struct tree_front front = { .size = 0 };
	struct tree_span *span = tree_span_new(&front);
	struct tree_proof proof;
	struct checkpoint c = { .size = 3 };
	struct err e;
	uint8_t leaf[HASH_BYTES];
	char note[CHECKPOINT_MAX_BYTES], *text = NULL;
	size_t len = 0;
	must(span != NULL);
	for (int i = 0; i < 3; i++) {
		tree_leaf(i == 2 ? (const void *)entry : "x", i == 2 ? entry_len : 1, leaf);
		must(tree_span_add(span, leaf, &e) == ERR_OK);
	}
	must(tree_inclusion(span, 2, 3, &proof, &e) == ERR_OK && tree_root_at(span, 3, c.root, &e) == ERR_OK);
	c.root[0] ^= lie == ROOT_CHANGED;
	must(checkpoint_sign(lie == OTHER_KEY || lie == REFUSES_FORGED ? &thief : &log_key, &c, note, &len, &e) == ERR_OK);
	must(receipt_format(index, &proof, note, len, &text, &len, &e) == ERR_OK);
	tree_span_free(span);
	return text;
}

static void receipt_fill(Fumehood__Receipt *r, enum lie lie, const struct frame *ask, const uint8_t *body, size_t len)
{
	static uint8_t salt[HASH_SALT_BYTES] = { 5 }, in[HASH_BYTES], out[HASH_BYTES], model[HASH_BYTES];
	Fumehood__Record rec;
	Fumehood__Entry entry;
	struct err e;
	uint8_t *packed = NULL;
	size_t packed_len = 0;
	fumehood__record__init(&rec);
	fumehood__entry__init(&entry);
	fumehood__receipt__init(r);
	memcpy(model, model_digest, sizeof model);
	hash_salted(salt, ask->body, (size_t)ask->header.length, in);
	hash_salted(salt, body, len, out);
	in[3] ^= lie == OTHER_QUESTION;
	out[3] ^= lie == OTHER_ANSWER;
	model[3] ^= lie == OTHER_MODEL;
	rec.kind = lie == INTENT_ONLY ? FUMEHOOD__RECORD_KIND__INTENT : FUMEHOOD__RECORD_KIND__COMPLETED;
	rec.input_digest = (ProtobufCBinaryData){ HASH_BYTES, in };
	rec.output_digest = (ProtobufCBinaryData){ HASH_BYTES, out };
	rec.model_digest = (ProtobufCBinaryData){ HASH_BYTES, model };
	entry.index = lie == OTHER_INDEX ? 1 : 2;
	entry.record = &rec;
	must(pb_pack(&entry.base, &packed, &packed_len, &e) == ERR_OK);
	r->index = entry.index;
	r->tlog_proof = receipt_make(lie, packed, packed_len, 2);
	packed[packed_len - 1] ^= lie == ENTRY_CHANGED;
	r->entry = (ProtobufCBinaryData){ packed_len, packed };
	if (lie != NO_SALT)
		r->salt = (ProtobufCBinaryData){ HASH_SALT_BYTES, salt };
}

static void say(int fd, uint16_t kind, uint64_t id, const ProtobufCMessage *m, uint8_t *tail, size_t tail_len)
{
	uint8_t *front = NULL;
	size_t len = 0;
	struct err e;
	must(frame_front_pack(kind, m, tail_len, &front, &len, &e) == ERR_OK);
	const struct iovec parts[] = { { front, len }, { tail, tail_len } };
	must(frame_send(fd, kind, id, parts, tail_len ? 2 : 1, NULL, 0, 1000, &e) == ERR_OK);
	free(front);
}

static void say_welcome(int fd, enum lie lie, uint64_t id)
{
	Fumehood__Welcome w;
	char vkey[NOTE_VKEY_MAX_BYTES] = "", version[] = "test";
	fumehood__welcome__init(&w);
	note_vkey_format(&log_key.key, vkey);
	if (lie == NO_VKEY)
		vkey[0] = 0;
	w.version = version;
	w.log_vkey = vkey;
	say(fd, MSG_WELCOME, id, &w.base, NULL, 0);
}

static void say_error(int fd, enum lie lie, const struct frame *ask)
{
	Fumehood__Error m;
	Fumehood__Receipt r;
	char code[] = "denied", text[] = "no \"such\" thing\x1b[2J\nfumehood: all is well";
	fumehood__error__init(&m);
	receipt_fill(&r, lie, ask, NULL, 0);
	m.code = code;
	m.text = text;
	m.receipt = &r;
	say(fd, MSG_ERROR, ask->header.request_id, &m.base, NULL, 0);
}

static void say_answer(int fd, enum lie lie, const struct frame *ask)
{
	Fumehood__Answer a;
	Fumehood__Receipt r;
	uint8_t body[64] = { 0 }, model[HASH_BYTES];
	fumehood__answer__init(&a);
	memcpy(model, model_digest, sizeof model);
	receipt_fill(&r, lie, ask, body, sizeof body);
	a.model_digest = (ProtobufCBinaryData){ HASH_BYTES, model };
	a.receipt = lie == NO_RECEIPT ? NULL : &r;
	say(fd, lie == OTHER_MESSAGE ? MSG_MODEL_OPENED : MSG_ANSWER, ask->header.request_id + (lie == OTHER_REQUEST_ID),
	    &a.base, body, sizeof body);
}

static void say_raw(int fd, enum lie lie, const struct frame *ask)
{
	uint8_t raw[FRAME_HEADER_BYTES + 64] = { 0 };
	const struct frame_header h = { MSG_ANSWER, 64, ask->header.request_id };
	frame_header_put(raw, &h);
	frame_prefix_put(raw + FRAME_HEADER_BYTES, 56);
	memset(raw + FRAME_HEADER_BYTES + 8, 0xff, 56);
	size_t len = lie == HALF_A_FRAME ? 40 : sizeof raw;
	must(write(fd, raw, len) == (ssize_t)len);
}

static void serve(int listener, enum lie lie)
{
	struct frame_rx rx;
	struct frame f;
	struct err e;
	int fd = accept(listener, NULL, NULL);
	must(fd >= 0);
	frame_rx_init(&rx, ROLE_CLIENT, ROLE_BROKER, LIMIT_FRAME_BODY_BYTES);
	while (frame_recv(&rx, fd, 5000, &f, &e) >= 0) {
		if (f.header.kind == MSG_HELLO)
			say_welcome(fd, lie, f.header.request_id);
		else if (lie == REFUSES || lie == REFUSES_FORGED)
			say_error(fd, lie, &f);
		else if (lie == GARBAGE_HEAD || lie == HALF_A_FRAME)
			say_raw(fd, lie, &f);
		else
			say_answer(fd, lie, &f);
		frame_clear(&f);
		if (lie == HALF_A_FRAME && f.header.kind == MSG_INFER)
			break;
	}
	close(fd);
}

/* --- the command ------------------------------------------------------------------------------------------ */

/* Asks one question of a broker that tells this lie. */
static int ask_code(enum lie lie, struct talk_answer *a)
{
	struct ctl c = { .socket = path };
	struct talk *t = NULL;
	Fumehood__Infer m;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status;
	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	unlink(path);
	assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(listener, 1), 0);
	pid_t pid = fork();
	if (pid == 0) {
		serve(listener, lie);
		_exit(0);
	}
	close(listener);
	uint8_t bytes[64] = { 1, 2, 3 };
	const struct iovec tail = { bytes, sizeof bytes };
	fumehood__infer__init(&m);
	const struct talk_ask ask = { .kind = MSG_INFER, .want = MSG_ANSWER, .head = &m.base, .tail = &tail, .n_tail = 1 };
	int rc = talk_open(&c, TALK_RUNNING, &t, &E);
	if (rc == ERR_OK)
		rc = talk_request(t, &c, &ask, a, &E);
	talk_close(t);
	ctl_clear(&c);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return rc;
}

static void test_lies(void **state)
{
	(void)state;
	static const int codes[LIES__MAX] = {
		[HONEST] = ERR_OK,            [NO_RECEIPT] = ERR_LOG,         [OTHER_KEY] = ERR_LOG,
		[OTHER_MODEL] = ERR_LOG,      [OTHER_QUESTION] = ERR_LOG,     [OTHER_ANSWER] = ERR_LOG,
		[INTENT_ONLY] = ERR_LOG,      [NO_SALT] = ERR_LOG,            [OTHER_INDEX] = ERR_LOG,
		[ENTRY_CHANGED] = ERR_LOG,    [ROOT_CHANGED] = ERR_LOG,       [OTHER_REQUEST_ID] = ERR_PROTOCOL,
		[OTHER_MESSAGE] = ERR_PROTOCOL, [GARBAGE_HEAD] = ERR_PROTOCOL, [HALF_A_FRAME] = ERR_PROTOCOL,
		[NO_VKEY] = ERR_LOG,          [REFUSES] = ERR_DENIED,         [REFUSES_FORGED] = ERR_LOG,
	};
	for (int lie = 0; lie < LIES__MAX; lie++) {
		struct talk_answer a = { .head = NULL };
		int rc = ask_code((enum lie)lie, &a);
		if (rc != codes[lie])
			fail_msg("lie %d: %s, not %s: %s", lie, err_name(rc), err_name(codes[lie]), E.text);
		if (lie == HONEST)
			assert_true(a.has_receipt && a.receipt_index == 2);
		if (lie == REFUSES)
			assert_string_equal(E.text, "no \"such\" thing\\x1b[2J\\x0afumehood: all is well");
		if (lie == NO_SALT)
			assert_non_null(strstr(E.text, "no salt"));
		if (codes[lie] == ERR_LOG)
			assert_int_equal(err_exit_code(rc), 7);
		talk_answer_clear(&a);
	}
}

static void test_nobody(void **state)
{
	(void)state;
	struct ctl c = { .socket = path };
	struct talk *t = NULL;
	unlink(path);
	assert_int_equal(talk_open(&c, TALK_RUNNING, &t, &E), ERR_NOT_FOUND);
	assert_int_equal(talk_open(&c, TALK_PRIVATE, &t, &E), ERR_NOT_FOUND); /* --socket is never replaced */
	assert_null(t);
}

static int setup(void **state)
{
	(void)state;
	static const uint8_t one[32] = { 1 }, two[32] = { 2 };
	signal(SIGPIPE, SIG_IGN);
	if (sodium_init() < 0 || !mkdtemp(dir) || note_signer_init("log.test", 8, one, &log_key, &E) != ERR_OK ||
	    note_signer_init("log.test", 8, two, &thief, &E) != ERR_OK)
		return 1;
	snprintf(path, sizeof path, "%s/sock", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lies), cmocka_unit_test(test_nobody) };
	return cmocka_run_group_tests_name("ctl_talk", tests, setup, teardown);
}
