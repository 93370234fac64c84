/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's half of the log: keys, starting the auditor, what is sent to it and what it answers.
 * Side: broker, cli. Trusts: nothing that it reads. Owns: nothing.
 */
#include "audit/audit.h"

#include "proto/fumehood.pb-c.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- keys --------------------------------------------------------------------------------------- */

static int bytes_write(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno != EINTR)
			return -1;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return fsync(fd);
}

int audit_key_create(int dirfd, const char *name, const char *origin, char vkey_out[NOTE_VKEY_MAX_BYTES],
                     struct err *e)
{
	uint8_t seed[NOTE_SEED_BYTES], random[8];
	char made[64], hex[2 * sizeof random + 1], line[NOTE_SKEY_MAX_BYTES + 1], shown[80];
	struct note_signer s;
	randombytes_buf(seed, sizeof seed);
	if (!origin) {
		randombytes_buf(random, sizeof random);
		sodium_bin2hex(hex, sizeof hex, random, sizeof random);
		snprintf(made, sizeof made, "fumehood.invalid/log/%s", hex);
		origin = made;
	}
	int rc = note_signer_init(origin, strlen(origin), seed, &s, e), fd = -1;
	sodium_memzero(seed, sizeof seed);
	if (rc != ERR_OK)
		return rc;
	note_skey_format(&s, line);
	strncat(line, "\n", sizeof line - strlen(line) - 1);
	err_escape(shown, sizeof shown, name, strlen(name));
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		rc = err_set(e, errno == EEXIST ? ERR_BUSY : ERR_IO, "log key \"%s\": %s", shown, strerror(errno));
	else if (bytes_write(fd, line, strlen(line)) < 0 || fsync(dirfd) < 0)
		rc = err_set(e, ERR_IO, "log key \"%s\": cannot write: %s", shown, strerror(errno));
	if (fd >= 0)
		close(fd);
	if (rc == ERR_OK && vkey_out)
		note_vkey_format(&s.key, vkey_out);
	sodium_memzero(line, sizeof line);
	note_signer_clear(&s);
	return rc;
}

int audit_key_read(int fd, struct note_signer *out, struct err *e)
{
	char text[AUDIT_KEY_MAX_BYTES];
	size_t len = 0;
	ssize_t n;
	while (len < sizeof text && (n = pread(fd, text + len, sizeof text - len, (off_t)len)) != 0) {
		if (n < 0 && errno != EINTR)
			return err_set(e, ERR_IO, "log key: cannot read: %s", strerror(errno));
		len += n > 0 ? (size_t)n : 0;
	}
	const char *lf = memchr(text, '\n', len);
	int rc = !lf || lf != text + len - 1 ? err_set(e, ERR_CONFIG, "log key: want a file of one line")
	                                     : note_skey_parse(text, len - 1, out, e);
	sodium_memzero(text, sizeof text);
	if (rc == ERR_OK && out->key.type != NOTE_ED25519) {
		note_signer_clear(out);
		rc = err_set(e, ERR_CONFIG, "log key: a cosigner's key cannot sign a log");
	}
	return rc;
}

/* --- starting ----------------------------------------------------------------------------------- */

/* In the child: descriptors to their places, everything else closed. */
static void child_exec(const struct audit_spawn *c, int channel)
{
	int from[] = { channel, c->log_dirfd, c->state_dirfd, c->key_fd };
	char segment[32], layers[32], uid[16], gid[16];
	const size_t n = sizeof from / sizeof from[0];
	for (size_t i = 0; i < n; i++) /* out of the way first: places may overlap */
		if ((from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 64)) < 0)
			_exit(126);
	for (size_t i = 0; i < n; i++)
		if (dup2(from[i], AUDIT_FD_CHANNEL + (int)i) < 0)
			_exit(126);
	int null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, 0) < 0 || close_range(AUDIT_FD__MAX, ~0u, 0) < 0)
		_exit(126);
	snprintf(segment, sizeof segment, "%llu",
	         (unsigned long long)(c->segment_bytes ? c->segment_bytes : LIMIT_SEGMENT_DEFAULT_BYTES));
	snprintf(layers, sizeof layers, "%llu", (unsigned long long)c->optional_layers);
	snprintf(uid, sizeof uid, "%u", c->uid);
	snprintf(gid, sizeof gid, "%u", c->gid);
	char name[] = "fumehood-auditor", s[] = "--segment-bytes", l[] = "--optional-layers", u[] = "--uid",
	     g[] = "--gid";
	char *argv[] = { name, s, segment, l, layers, u, uid, g, gid, NULL }, *envp[] = { NULL };
	execve(c->program, argv, envp);
	_exit(127);
}

int audit_start(const struct audit_spawn *c, int *channel, pid_t *pid, struct err *e)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, ERR_IO, "auditor: socketpair: %s", strerror(errno));
	*pid = fork();
	if (*pid == 0)
		child_exec(c, pair[1]);
	close(pair[1]);
	if (*pid < 0) {
		close(pair[0]);
		return err_set(e, ERR_IO, "auditor: fork: %s", strerror(errno));
	}
	*channel = pair[0];
	return ERR_OK;
}

/* --- messages ------------------------------------------------------------------------------------ */

int audit_append_pack(const uint8_t *record, size_t len, bool want_proof, uint8_t **body, size_t *body_len,
                      struct err *e)
{
	Fumehood__Append m;
	uint8_t *copy;
	if (len > LIMIT_RECORD_BYTES)
		return err_set(e, ERR_LIMIT, "record of %zu bytes, at most %d are logged", len, LIMIT_RECORD_BYTES);
	if (!(copy = malloc(len + 1)))
		return err_set(e, ERR_NOMEM, "record of %zu bytes: no memory", len);
	memcpy(copy, record, len);
	fumehood__append__init(&m);
	m.record = (ProtobufCBinaryData){ len, copy };
	m.want_proof = want_proof;
	int rc = frame_front_pack(MSG_APPEND, &m, 0, body, body_len, e);
	free(copy);
	return rc;
}

/* Unpacks the head of a frame of this kind. */
static int head_unpack(const struct frame *f, uint16_t kind, const ProtobufCMessageDescriptor *type, void **out,
                       struct frame_body *body, struct err *e)
{
	if (f->header.kind != kind)
		return err_set(e, ERR_PROTOCOL, "auditor: %s came, %s was expected", msg_name(f->header.kind), msg_name(kind));
	int rc = frame_body_split(kind, f->body, (size_t)f->header.length, body, e);
	return rc == ERR_OK ? pb_unpack(type, body->head, body->head_len, NULL, out, e) : rc;
}

static int proof_take(const Fumehood__Stored *m, struct tree_proof *p, struct err *e)
{
	if (m->n_proof > TREE_PROOF_MAX)
		return err_set(e, ERR_PROTOCOL, "auditor: a proof of %zu hashes", m->n_proof);
	for (size_t i = 0; i < m->n_proof; i++) {
		if (m->proof[i].len != HASH_BYTES)
			return err_set(e, ERR_PROTOCOL, "auditor: a proof hash of %zu bytes", m->proof[i].len);
		memcpy(p->hash[i], m->proof[i].data, HASH_BYTES);
	}
	p->n = (unsigned)m->n_proof;
	return ERR_OK;
}

int audit_stored_read(const struct frame *f, struct audit_stored *out, struct err *e)
{
	Fumehood__Stored *m = NULL;
	struct frame_body body;
	void *p = NULL;
	int rc = head_unpack(f, MSG_STORED, &fumehood__stored__descriptor, &p, &body, e);
	if (rc != ERR_OK)
		return rc;
	m = p;
	memset(out, 0, sizeof *out);
	out->index = m->index;
	out->size = m->size;
	rc = proof_take(m, &out->proof, e);
	if (rc == ERR_OK && !(out->checkpoint = strdup(m->checkpoint)))
		rc = err_set(e, ERR_NOMEM, "auditor: no memory for a checkpoint");
	if (rc == ERR_OK) {
		out->checkpoint_len = strlen(out->checkpoint);
		out->entry = body.tail_len ? body.tail : NULL;
		out->entry_len = body.tail_len;
	}
	fumehood__stored__free_unpacked(m, NULL);
	return rc;
}

void audit_stored_clear(struct audit_stored *s)
{
	free(s->checkpoint);
	memset(s, 0, sizeof *s);
}

int audit_failed_read(const struct frame *f, struct err *e)
{
	struct frame_body body;
	char shown[ERR_TEXT_MAX_BYTES];
	void *p = NULL;
	int rc = head_unpack(f, MSG_LOG_FAILED, &fumehood__log_failed__descriptor, &p, &body, e);
	if (rc != ERR_OK)
		return rc;
	Fumehood__LogFailed *m = p;
	err_set(e, ERR_LOG, "%s", err_escape(shown, sizeof shown, m->text, strlen(m->text)));
	fumehood__log_failed__free_unpacked(m, NULL);
	return ERR_LOG;
}

int audit_opened_read(const struct frame *f, struct audit_opened *out, struct err *e)
{
	struct frame_body body;
	void *p = NULL;
	if (f->header.kind == MSG_LOG_FAILED)
		return audit_failed_read(f, e);
	int rc = head_unpack(f, MSG_LOG_OPEN, &fumehood__log_open__descriptor, &p, &body, e);
	if (rc != ERR_OK)
		return rc;
	Fumehood__LogOpen *m = p;
	rc = note_vkey_parse(m->vkey, strlen(m->vkey), &out->key, e);
	out->size = m->size;
	out->torn_tail = m->torn_tail;
	fumehood__log_open__free_unpacked(m, NULL);
	return rc;
}
