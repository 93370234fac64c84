/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood-auditor: appends records to the log and proves it. It holds the log and its key; nothing
 * comes back from it but "stored at N" and a receipt.
 *
 *   1 options   2 descriptors   3 priority   4 key, locked in memory   5 the folder's lock
 *   6 the wall  7 recover the log   8 LOG_OPEN   9 append until SEAL or the end of the channel
 *
 * Group commit: all APPEND frames that are there become one batch, one durable write, then one answer
 * each. While a batch is written the next ones gather. When the log cannot be written LOG_FAILED is sent
 * and the process ends: no record of the batch is answered.
 *
 * Answers are written before more is read: whoever sends many APPENDs must read answers meanwhile.
 *
 * Side: auditor. Trusts: the broker to send records; nothing that it reads from the disk. Owns: the log's
 * folder, its key.
 */
#include "audit/audit.h"
#include "audit/writer.h"
#include "proto/fumehood.pb-c.h"
#include "proto/mem.h"
#include "proto/pb.h"
#include "sandbox/wall/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define IDLE_MS 200          /* quiet time before tiles are published */
#define RECEIVE_MAX_BYTES (LIMIT_RECORD_BYTES + 1024)

struct options {
	uint64_t segment_bytes, optional_layers, uid, gid;
};

struct pending {
	uint64_t request_id, index;
	bool want_proof;
};

/* Answers of one commit, sent in one piece. */
struct answers {
	uint8_t *buf;
	size_t len, cap;
};

struct auditor {
	struct options opt;
	struct note_signer key;
	struct entry_stamp stamp; /* boot_id is set once */
	struct store *log, *state;
	struct writer *writer;
	struct frame_rx rx;
	struct pending pending[SEGMENT_BATCH_ENTRIES_MAX];
	size_t n_pending;
	struct answers answers;
	bool is_sealed;
};

/* --- answers ------------------------------------------------------------------------------------- */

static int answers_room(struct answers *a, size_t n, struct err *e)
{
	if (n <= a->cap - a->len)
		return ERR_OK;
	size_t cap = (a->len + n) * 2;
	uint8_t *p = realloc(a->buf, cap);
	if (!p)
		return err_set(e, ERR_NOMEM, "auditor: no memory for answers");
	a->buf = p;
	a->cap = cap;
	return ERR_OK;
}

/* Adds a frame: packed head, zeros up to the tail, tail. */
static int answers_put(struct answers *a, uint16_t kind, uint64_t request_id, const ProtobufCMessage *m,
                       const uint8_t *tail, size_t tail_len, struct err *e)
{
	size_t head = protobuf_c_message_get_packed_size(m), front = frame_front_bytes(head, tail_len);
	const struct frame_header h = { kind, front + tail_len, request_id };
	int rc = answers_room(a, FRAME_HEADER_BYTES + front + tail_len, e);
	if (rc != ERR_OK)
		return rc;
	uint8_t *p = a->buf + a->len;
	frame_header_put(p, &h);
	p += FRAME_HEADER_BYTES;
	frame_prefix_put(p, head);
	protobuf_c_message_pack(m, p + FRAME_PREFIX_BYTES);
	memset(p + FRAME_PREFIX_BYTES + head, 0, front - FRAME_PREFIX_BYTES - head);
	if (tail_len)
		memcpy(p + front, tail, tail_len);
	a->len += FRAME_HEADER_BYTES + front + tail_len;
	return ERR_OK;
}

static int answers_send(struct answers *a, struct err *e)
{
	for (size_t at = 0; at < a->len;) {
		struct iovec iov = { a->buf + at, a->len - at };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n = sendmsg(AUDIT_FD_CHANNEL, &m, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			struct pollfd p = { AUDIT_FD_CHANNEL, POLLOUT, 0 };
			(void)poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return err_set(e, ERR_IO, "auditor: the broker is gone: %s", strerror(errno));
		}
		at += n > 0 ? (size_t)n : 0;
	}
	a->len = 0;
	return ERR_OK;
}

static int stored_put(struct auditor *a, const struct pending *p, struct err *e)
{
	Fumehood__Stored m;
	ProtobufCBinaryData hashes[TREE_PROOF_MAX];
	struct tree_proof proof = { .n = 0 };
	char checkpoint[CHECKPOINT_MAX_BYTES + 1];
	const uint8_t *entry = NULL;
	size_t entry_len = 0, len;
	int rc = ERR_OK;

	fumehood__stored__init(&m);
	m.index = p->index;
	m.size = writer_size(a->writer);
	if (p->want_proof) {
		const char *note = writer_checkpoint(a->writer, &len);
		memcpy(checkpoint, note, len);
		checkpoint[len] = 0;
		m.checkpoint = checkpoint;
		entry = writer_entry(a->writer, p->index, &entry_len);
		if (entry)
			rc = writer_proof(a->writer, p->index, &proof, e);
		for (unsigned i = 0; i < proof.n; i++)
			hashes[i] = (ProtobufCBinaryData){ HASH_BYTES, proof.hash[i] };
		m.proof = hashes;
		m.n_proof = proof.n;
	}
	return rc == ERR_OK ? answers_put(&a->answers, MSG_STORED, p->request_id, &m.base, entry, entry_len, e) : rc;
}

/* --- one batch ----------------------------------------------------------------------------------- */

/* Makes durable what was received, answers it (nobody is there when the channel is closed), and does what can
 * wait. */
static int commit(struct auditor *a, bool closed, struct err *e)
{
	int rc = writer_commit(a->writer, e);
	for (size_t i = 0; i < a->n_pending && rc == ERR_OK && !closed; i++)
		rc = stored_put(a, &a->pending[i], e);
	a->n_pending = 0;
	if (rc == ERR_OK)
		rc = answers_send(&a->answers, e);
	return rc == ERR_OK ? writer_settle(a->writer, e) : rc;
}

static int on_append(struct auditor *a, const struct frame *f, const struct frame_body *b, struct err *e)
{
	void *p = NULL;
	int rc = pb_unpack(&fumehood__append__descriptor, b->head, b->head_len, NULL, &p, e);
	if (rc != ERR_OK)
		return rc;
	Fumehood__Append *m = p;
	/* Not read, but whoever reads the log later must be able to. */
	rc = pb_check(&fumehood__record__descriptor, m->record.data, m->record.len, e);
	if (rc == ERR_OK && (a->n_pending == SEGMENT_BATCH_ENTRIES_MAX || !writer_fits(a->writer, m->record.len)))
		rc = commit(a, false, e);
	if (rc == ERR_OK) {
		struct pending *q = &a->pending[a->n_pending];
		rc = writer_add(a->writer, m->record.data, m->record.len, &q->index, e);
		q->request_id = f->header.request_id;
		q->want_proof = m->want_proof;
		a->n_pending += rc == ERR_OK;
	}
	fumehood__append__free_unpacked(m, NULL);
	return rc;
}

static int on_seal(struct auditor *a, const struct frame *f, const struct frame_body *b, struct err *e)
{
	int rc = pb_check(&fumehood__seal__descriptor, b->head, b->head_len, e);
	if (rc == ERR_OK)
		rc = commit(a, false, e);
	if (rc == ERR_OK)
		rc = writer_seal(a->writer, e);
	if (rc != ERR_OK)
		return rc;
	a->is_sealed = true;
	uint64_t size = writer_size(a->writer);
	struct pending p = { f->header.request_id, size ? size - 1 : 0, true };
	rc = stored_put(a, &p, e);
	return rc == ERR_OK ? answers_send(&a->answers, e) : rc;
}

static const struct {
	uint16_t kind;
	int (*handler)(struct auditor *, const struct frame *, const struct frame_body *, struct err *);
} gate[] = {
	{ MSG_APPEND, on_append },
	{ MSG_SEAL, on_seal },
};

static int on_frame(struct auditor *a, const struct frame *f, struct err *e)
{
	struct frame_body b;
	int rc = frame_body_split(f->header.kind, f->body, (size_t)f->header.length, &b, e);
	if (rc != ERR_OK)
		return rc;
	for (size_t i = 0; i < sizeof gate / sizeof gate[0]; i++)
		if (gate[i].kind == f->header.kind)
			return gate[i].handler(a, f, &b, e);
	return err_set(e, ERR_PROTOCOL, "auditor: no handler for %s", msg_name(f->header.kind));
}

/* Takes all frames that are there. *closed: the broker ended, between two frames. */
static int drain(struct auditor *a, bool *closed, struct err *e)
{
	struct frame f;
	int rc;
	while (!a->is_sealed && (rc = frame_rx_read(&a->rx, AUDIT_FD_CHANNEL, &f, e)) != 0) {
		*closed = rc == ERR_IO && !frame_rx_is_partial(&a->rx);
		if (rc < 0)
			return *closed ? ERR_OK : rc;
		rc = on_frame(a, &f, e);
		frame_clear(&f);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

static int serve(struct auditor *a, struct err *e)
{
	int rc = ERR_OK, timeout_ms = IDLE_MS;
	bool more, closed = false;
	while (rc == ERR_OK && !a->is_sealed) {
		struct pollfd p = { AUDIT_FD_CHANNEL, POLLIN, 0 };
		int n = poll(&p, 1, writer_has_work(a->writer) ? timeout_ms : -1);
		if (n == 0) {
			rc = writer_idle(a->writer, &more, e);
			timeout_ms = more ? 0 : IDLE_MS;
			continue;
		}
		timeout_ms = IDLE_MS;
		rc = drain(a, &closed, e);
		if (rc == ERR_OK && a->n_pending)
			rc = commit(a, closed, e);
		if (rc == ERR_OK && closed) /* without SEAL: the broker died. What it sent is kept. */
			return writer_seal(a->writer, e);
	}
	return rc;
}

/* --- start --------------------------------------------------------------------------------------- */

static void stamp(void *arg, struct entry_stamp *out)
{
	const struct entry_stamp *id = arg;
	struct timespec wall, boot;
	*out = *id;
	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	out->wall_ns = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec;
	out->boot_ns = (uint64_t)boot.tv_sec * 1000000000u + (uint64_t)boot.tv_nsec;
}

/* /proc/sys/kernel/random/boot_id as 16 bytes; zeros where there is none. */
static void boot_id_read(uint8_t out[ENTRY_BOOT_ID_BYTES])
{
	char text[64] = "";
	size_t len = 0;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0 || sodium_hex2bin(out, ENTRY_BOOT_ID_BYTES, text, (size_t)n, "-\n", &len, NULL) != 0 ||
	    len != ENTRY_BOOT_ID_BYTES)
		memset(out, 0, ENTRY_BOOT_ID_BYTES);
}

/* The commit must win against processors that compute: a commit behind two busy ones takes 4 ms
 * instead of 0.2. Not allowed is not an error. */
static void priority_raise(void)
{
	struct sched_param p = { .sched_priority = 10 };
	if (sched_setscheduler(0, SCHED_FIFO, &p) < 0)
		(void)setpriority(PRIO_PROCESS, 0, -15);
}

static int options_read(int argc, char **argv, struct options *o, struct err *e)
{
	static const struct option names[] = {
		{ "segment-bytes", required_argument, NULL, 's' }, { "optional-layers", required_argument, NULL, 'l' },
		{ "uid", required_argument, NULL, 'u' },           { "gid", required_argument, NULL, 'g' },
		{ NULL, 0, NULL, 0 },
	};
	int c;
	*o = (struct options){ .segment_bytes = LIMIT_SEGMENT_DEFAULT_BYTES };
	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		uint64_t *to = c == 's' ? &o->segment_bytes : c == 'l' ? &o->optional_layers : c == 'u' ? &o->uid
		             : c == 'g' ? &o->gid : NULL;
		if (!to || !note_decimal(optarg, strlen(optarg), to) || ((c == 'u' || c == 'g') && *to > UINT32_MAX - 1))
			return err_set(e, ERR_USAGE, "fumehood-auditor is started by the broker, not by hand");
	}
	return ERR_OK;
}

/* The four descriptors are there and no other. */
static int descriptors_check(struct err *e)
{
	struct stat st;
	static const struct {
		int fd;
		mode_t type;
	} want[] = { { AUDIT_FD_CHANNEL, S_IFSOCK }, { AUDIT_FD_LOG, S_IFDIR }, { AUDIT_FD_STATE, S_IFDIR },
		     { AUDIT_FD_KEY, S_IFREG } };
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
		if (fstat(want[i].fd, &st) < 0 || (st.st_mode & S_IFMT) != want[i].type)
			return err_set(e, ERR_USAGE, "fumehood-auditor is started by the broker, not by hand");
	if (close_range(AUDIT_FD__MAX, ~0u, 0) < 0)
		return err_set(e, ERR_WALL, "auditor: close_range: %s", strerror(errno));
	return ERR_OK;
}

static int key_take(struct auditor *a, struct err *e)
{
	(void)mlock(&a->key, sizeof a->key); /* small; where the limit is 0 it may be swapped */
	int rc = audit_key_read(AUDIT_FD_KEY, &a->key, e);
	close(AUDIT_FD_KEY);
	return rc;
}

static int folder_lock(struct err *e)
{
	if (flock(AUDIT_FD_LOG, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	return errno == EWOULDBLOCK ? err_set(e, ERR_BUSY, "log: another auditor writes this folder: end it first")
	                            : err_set(e, ERR_IO, "log: flock: %s", strerror(errno));
}

static int wall_raise(const struct auditor *a, struct err *e)
{
	static const struct {
		const char *path;
		enum wall_right right;
	} rows[] = {
		{ ".", WALL_READ },             /* log.vkey is written once; see below */
		{ "segments", WALL_APPEND },    /* never removed, renamed over, cut */
		{ "quarantine", WALL_APPEND },
		{ "tlog", WALL_STORE },         /* derived: made anew, partial tiles go away */
	};
	struct wall_dir dirs[sizeof rows / sizeof rows[0] + 1];
	size_t n = 0;
	int rc = ERR_OK;
	uint64_t layers = 0;
	for (; n < sizeof rows / sizeof rows[0] && rc == ERR_OK; n++) {
		dirs[n].right = rows[n].right;
		dirs[n].fd = openat(AUDIT_FD_LOG, rows[n].path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dirs[n].fd < 0)
			rc = err_set(e, ERR_IO, "log: cannot open %s: %s", rows[n].path, strerror(errno));
	}
	dirs[n] = (struct wall_dir){ AUDIT_FD_STATE, WALL_APPEND };
	struct wall_conf c = { .dirs = dirs, .n_dirs = n + 1, .optional_layers = a->opt.optional_layers,
		               .nofile = 128, .memlock_bytes = KIB(64) };
	if (rc == ERR_OK)
		rc = wall_enter_auditor(&c, &layers, e);
	for (size_t i = 0; i < n; i++)
		if (dirs[i].fd >= 0)
			close(dirs[i].fd);
	return rc;
}

static int open_answer(struct auditor *a, const struct writer_opened *info, struct err *e)
{
	Fumehood__LogOpen m;
	char vkey[NOTE_VKEY_MAX_BYTES], checkpoint[CHECKPOINT_MAX_BYTES + 1];
	size_t len;
	const char *note = writer_checkpoint(a->writer, &len);
	memcpy(checkpoint, note, len);
	checkpoint[len] = 0;
	note_vkey_format(&a->key.key, vkey);
	fumehood__log_open__init(&m);
	m.origin = a->key.key.name;
	m.vkey = vkey;
	m.size = info->size;
	m.checkpoint = checkpoint;
	m.torn_tail = info->torn_tail;
	int rc = answers_put(&a->answers, MSG_LOG_OPEN, 0, &m.base, NULL, 0, e);
	return rc == ERR_OK ? answers_send(&a->answers, e) : rc;
}

static int run(struct auditor *a, struct err *e)
{
	struct writer_opened info;
	struct writer_conf c = { NULL, NULL, &a->key, a->opt.segment_bytes, stamp, &a->stamp };
	int rc;
	/* A key that ends a service from the terminal reaches the whole group. This process ends when its channel
	 * does, after the broker has said its last word. */
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	boot_id_read(a->stamp.boot_id);
	priority_raise();
	if (!(a->log = store_posix_new(AUDIT_FD_LOG)) || !(a->state = store_posix_new(AUDIT_FD_STATE)))
		return err_set(e, ERR_NOMEM, "auditor: no memory");
	c.log = a->log;
	c.state = a->state;
	if ((rc = folder_lock(e)) != ERR_OK ||
	    (a->opt.uid && (rc = wall_become((uint32_t)a->opt.uid, (uint32_t)a->opt.gid, e)) != ERR_OK) ||
	    (rc = key_take(a, e)) != ERR_OK || (rc = writer_prepare_folder(&c, e)) != ERR_OK ||
	    (rc = wall_raise(a, e)) != ERR_OK || (rc = writer_open(&c, &a->writer, &info, e)) != ERR_OK)
		return rc;
	frame_rx_init(&a->rx, ROLE_BROKER, ROLE_AUDITOR, RECEIVE_MAX_BYTES);
	rc = open_answer(a, &info, e);
	return rc == ERR_OK ? serve(a, e) : rc;
}

/* Says why, to the broker and to the terminal. The broker may be gone: that changes nothing. */
static void say_failed(struct auditor *a, const struct err *e)
{
	Fumehood__LogFailed m;
	char text[ERR_TEXT_MAX_BYTES];
	struct err ignored;
	memcpy(text, e->text, sizeof text);
	fumehood__log_failed__init(&m);
	m.text = text;
	a->answers.len = 0;
	if (answers_put(&a->answers, MSG_LOG_FAILED, 0, &m.base, NULL, 0, &ignored) != ERR_OK ||
	    answers_send(&a->answers, &ignored) != ERR_OK)
		fprintf(stderr, "fumehood-auditor: %s\n", ignored.text);
	fprintf(stderr, "fumehood-auditor: %s\n", e->text);
}

int main(int argc, char **argv)
{
	static struct auditor a;
	struct err e = { 0 };
	int rc = options_read(argc, argv, &a.opt, &e);
	if (rc == ERR_OK)
		rc = descriptors_check(&e);
	if (rc == ERR_OK && sodium_init() < 0)
		rc = err_set(&e, ERR_INTERNAL, "auditor: libsodium does not start");
	if (rc == ERR_USAGE) {
		fprintf(stderr, "fumehood-auditor: %s\n", e.text);
		return err_exit_code(rc);
	}
	if (rc == ERR_OK)
		rc = run(&a, &e);
	if (rc != ERR_OK)
		say_failed(&a, &e);
	writer_close(a.writer);
	note_signer_clear(&a.key);
	return err_exit_code(rc);
}
