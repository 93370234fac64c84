/* SPDX-License-Identifier: Apache-2.0
 *
 * ATTEMPT -> ERROR: the attack program in a worker's place tries one thing. It is jailed, proved and
 * ended exactly as a worker is; it never gets a model. The answer is the error of how it ended, and the
 * record is that of a worker's end.
 *
 * Side: broker. Trusts: the kernel's word on the end. Owns: the process while it runs.
 */
#include "broker/call.h"
#include "proto/limits.h"
#include "sandbox/outside/attempt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ATTEMPT_MS 2000          /* for those that never end */
#define ATTEMPT_ARENA_BYTES LIMIT_ARENA_MIN_BYTES

struct attempt_run {
	struct call *k;
	struct worker w;
	struct worker_notes notes;
	struct worker_end end;
	struct loop_watch channel, exit, report;
	char refused[280]; /* the kernel's report */
	struct loop_timer timer;
	size_t heard;
	char said[sizeof(struct attempt_result)];
};

static void run_free(struct attempt_run *a)
{
	struct loop *l = a->k->b->loop;
	loop_unwatch(l, &a->channel);
	loop_unwatch(l, &a->exit);
	loop_unwatch(l, &a->report);
	loop_timer_stop(l, &a->timer);
	worker_close(&a->w);
	a->k->attempt = NULL;
	free(a);
}

static void attempt_kill(struct attempt_run *a, enum worker_killed why)
{
	if (a->notes.killed == KILLED_NOT)
		a->notes.killed = why;
	worker_kill(&a->w);
}

static void on_timer(void *arg) { attempt_kill(arg, KILLED_DEADLINE); }

static void on_report(void *arg, uint32_t events)
{
	struct attempt_run *a = arg;
	struct violation v;
	(void)events;
	int rc = violation_read(&a->w, &v, NULL);
	if (rc == 1) {
		violation_text(&v, a->refused, sizeof a->refused);
		attempt_kill(a, KILLED_REFUSED);
	}
	if (rc != 0)
		loop_unwatch(a->k->b->loop, &a->report);
}

/* What it says is kept as far as an answer goes; more is a flood. */
static void on_channel(void *arg, uint32_t events)
{
	struct attempt_run *a = arg;
	char junk[4096];
	struct iovec iov = { junk, sizeof junk };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(a->w.channel, &m, MSG_DONTWAIT); /* no room for descriptors: the kernel drops them */
	(void)events;
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			loop_unwatch(a->k->b->loop, &a->channel);
		return;
	}
	size_t room = sizeof a->said - (a->heard < sizeof a->said ? a->heard : sizeof a->said);
	memcpy(a->said + sizeof a->said - room, junk, (size_t)n < room ? (size_t)n : room);
	a->heard += (size_t)n;
	if (a->heard > sizeof a->said)
		attempt_kill(a, KILLED_PROTOCOL);
}

/* The call returned instead of ending it: the kernel's word is shown. */
static bool has_returned(const struct attempt_run *a, int64_t *ret)
{
	struct attempt_result r;
	memcpy(&r, a->said, sizeof r);
	*ret = r.ret;
	return a->heard == sizeof r && !memcmp(r.magic, ATTEMPT_RETURNED, sizeof r.magic);
}

static const char *why_killed(const struct attempt_run *a)
{
	if (a->k->verdict == VERDICT_REFUSED)
		return a->refused;
	return a->notes.killed == KILLED_DEADLINE ? "it did not come to an end" : "it wrote more than an answer";
}

static void ended(struct attempt_run *a)
{
	struct call *k = a->k;
	char text[ERR_TEXT_MAX_BYTES];
	int64_t ret;
	k->has_end = true;
	k->verdict = verdict_of(&a->end, &a->notes);
	k->end = a->end;
	int code = verdict_err_code(k->verdict);
	pool_end_text(text, sizeof text, k->verdict, &a->end, why_killed(a));
	if (has_returned(a, &ret))
		snprintf(text, sizeof text, "the attempt was NOT stopped by ending it: the call returned %" PRId64, ret);
	(void)err_set(&k->error, code == ERR_OK ? ERR_WORKER : code, "attempt %.64s: %.300s", k->file_name, text);
	run_free(a);
	call_succeeded(k);
}

static void on_exit_event(void *arg, uint32_t events)
{
	struct attempt_run *a = arg;
	struct err e;
	on_channel(a, events);
	int rc = worker_reap(&a->w, 0, &a->end, &e);
	if (rc == 0)
		return;
	if (rc > 0) {
		ended(a);
		return;
	}
	struct call *k = a->k;
	run_free(a);
	call_failed(k, &e);
}

/* --- kind ------------------------------------------------------------------------------------------ */

static int blob_new(const char *name, int *fd, struct err *e)
{
	uint8_t blob[ATTEMPT_BLOB_BYTES];
	if (!attempt_blob(name, blob))
		return err_set(e, ERR_NOT_FOUND, "no attempt \"%s\": fumehood doctor lists them", name);
	int rc = memfd_model_new(fd, e);
	if (rc == ERR_OK && pwrite(*fd, blob, sizeof blob, 0) != (ssize_t)sizeof blob)
		rc = err_set(e, ERR_IO, "writing a memory file: %s", strerror(errno));
	return rc == ERR_OK ? memfd_seal(*fd, e) : rc;
}

static int let_go(struct attempt_run *a, struct err *e)
{
	struct loop *l = a->k->b->loop;
	a->channel = (struct loop_watch){ .fd = a->w.channel, .fn = on_channel, .arg = a };
	a->exit = (struct loop_watch){ .fd = a->w.pidfd, .fn = on_exit_event, .arg = a };
	a->report = (struct loop_watch){ .fd = a->w.listener_fd, .fn = on_report, .arg = a };
	a->timer = (struct loop_timer){ .fn = on_timer, .arg = a };
	int rc = loop_watch(l, &a->channel, EPOLLIN, e);
	if (rc == ERR_OK)
		rc = loop_watch(l, &a->exit, EPOLLIN, e);
	if (rc == ERR_OK && a->w.listener_fd >= 0)
		rc = loop_watch(l, &a->report, EPOLLIN, e);
	loop_timer_set(l, &a->timer, ATTEMPT_MS);
	if (rc == ERR_OK && write(a->w.channel, ATTEMPT_GO, 1) != 1)
		rc = err_set(e, ERR_WORKER, "the attack program does not listen");
	return rc;
}

static int attempt_begin(struct call *k, struct err *e)
{
	int fd = -1;
	struct attempt_run *a = calloc(1, sizeof *a);
	if (!a)
		return err_set(e, ERR_NOMEM, "no memory for an attempt");
	a->k = k;
	a->w = (struct worker){ .pidfd = -1, .channel = -1, .listener_fd = -1 };
	k->attempt = a;
	int rc = blob_new(k->file_name, &fd, e);
	const struct worker_order order = { .model_fd = fd, .model_bytes = ATTEMPT_BLOB_BYTES,
	                                    .program_fd = k->b->attack.fd, .arena_bytes = ATTEMPT_ARENA_BYTES,
	                                    .n_threads = 2, .optional_layers = k->b->conf.optional_layers,
	                                    .violation_kill = k->b->conf.violation == VIOLATION_KILL };
	if (rc == ERR_OK)
		rc = worker_start(k->b->jail, k->b->proc_fd, &order, &a->w, e);
	if (fd >= 0)
		close(fd);
	if (rc == ERR_OK) {
		k->about = (struct pool_about){ .pid = (uint32_t)a->w.pid, .layers = a->w.layers, .missing = a->w.missing,
		                                .threads = order.n_threads };
		k->has_about = true;
		rc = let_go(a, e);
	}
	if (rc != ERR_OK)
		run_free(a);
	return rc;
}

static void attempt_withdraw(struct call *k)
{
	if (k->attempt)
		run_free(k->attempt);
}

static void attempt_record(struct call *k, struct record_room *x)
{
	x->r.kind = FUMEHOOD__RECORD_KIND__WORKER_ENDED;
	x->r.code = pb_text(err_name(k->error.code));
	x->r.text = k->error.text;
	record_end(x, k->verdict, &k->end, k->error.text);
}

static void attempt_answer(struct call *k, Fumehood__Receipt *r)
{
	call_send_error(k, &k->error, r);
}

static const struct call_kind kind_attempt = { false, attempt_begin, attempt_withdraw, attempt_record, attempt_answer };

int on_attempt(void *peer, struct frame *f, struct err *e)
{
	struct client *c = peer;
	struct frame_body parts;
	void *head;
	struct err why;
	const struct facts_ask ask = { 0 };
	int rc = call_unpack(f, &fumehood__attempt__descriptor, &head, &parts, e);
	if (rc != ERR_OK)
		return rc;
	Fumehood__Attempt *m = head;
	struct call *k = call_new(c, &kind_attempt, "attempt", f->header.request_id);
	if (k) {
		err_escape(k->file_name, sizeof k->file_name, m->name, strlen(m->name));
		rc = call_decide(k, &ask, &why);
		if (rc == ERR_OK && c->b->attack.fd < 0)
			rc = err_set(&why, ERR_NOT_FOUND, "fumehood-attack is not installed beside the other programs");
		call_begin(k, rc, &why);
	}
	protobuf_c_message_free_unpacked(&m->base, NULL);
	return ERR_OK;
}
