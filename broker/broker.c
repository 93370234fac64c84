/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood-broker: the trusted process. It decides each call, hands it to a jailed worker, and lets the
 * answer leave only after the auditor has made its record durable.
 *
 *   1 options   2 start (start.c: jailer first, wall last)   3 the BOOT record, durable   4 serve
 *   5 drain   6 the SHUTDOWN record, the log sealed   7 exit
 *
 * One thread, one loop. Exit codes are those of proto/err.h; 0 after a clean end.
 *
 * Side: broker. Trusts: its start. Owns: everything, until the end of main.
 */
#include "broker/broker.h"
#include "broker/call.h"
#include "broker/client.h"
#include "broker/start.h"
#include "proto/limits.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALONE_MS 1000            /* a private broker without a client */
#define FIRST_CLIENT_MS 5000     /* before its first one */
#define DRAIN_MS 5000            /* for calls in flight at a wished end */
#define DRAIN_LOOK_MS 20
#define SEAL_MS 60000
#define ACCEPT_PAUSE_MS 100      /* when there is no descriptor left */
#define ACCEPT_BATCH 32

void broker_say(const char *fmt, ...)
{
	char line[ERR_TEXT_MAX_BYTES + 64] = "fumehood-broker: ";
	size_t at = strlen(line);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line + at, sizeof line - at - 1, fmt, ap);
	va_end(ap);
	at += n < 0 ? 0 : (size_t)n < sizeof line - at - 1 ? (size_t)n : sizeof line - at - 2;
	line[at++] = '\n';
	if (write(STDERR_FILENO, line, at) < 0)
		return; /* nobody listens */
}

/* --- ending ------------------------------------------------------------------------------------------ */

static bool has_calls(const struct broker *b)
{
	for (const struct client *c = b->clients; c; c = c->next)
		if (c->calls || !frame_tx_is_empty(&c->tx))
			return true;
	return b->orphans != NULL;
}

static void on_drain(void *arg)
{
	struct broker *b = arg;
	if (!has_calls(b) || loop_now_ms(b->loop) >= b->drain_until_ms)
		loop_stop(b->loop);
	else
		loop_timer_set(b->loop, &b->drain, DRAIN_LOOK_MS);
}

/* No new client, no new request; what runs may end. */
static void drain(struct broker *b, int64_t ms)
{
	if (b->is_draining)
		return;
	b->is_draining = true;
	loop_unwatch(b->loop, &b->listener);
	loop_timer_stop(b->loop, &b->alone);
	b->drain_until_ms = loop_now_ms(b->loop) + ms;
	for (struct client *c = b->clients, *next; c; c = next) {
		next = c->next;
		client_go_on(c);
	}
	on_drain(b);
}

/* A reason of our own to end: without a log nothing is answered, so every request gets its error. */
void broker_fail(struct broker *b, const struct err *e)
{
	if (b->fatal.code != ERR_OK)
		return;
	b->fatal = *e;
	broker_say("%s: %s", err_name(e->code), e->text);
	if (e->code == ERR_LOG)
		call_log_failed(b, e);
	drain(b, e->code == ERR_LOG ? DRAIN_LOOK_MS * 10 : DRAIN_MS);
}

static void on_signal(void *arg, uint32_t events)
{
	struct broker *b = arg;
	struct signalfd_siginfo si;
	(void)events;
	if (read(b->signals.fd, &si, sizeof si) == (ssize_t)sizeof si)
		drain(b, DRAIN_MS);
}

static void on_jailer(void *arg, uint32_t events)
{
	struct broker *b = arg;
	struct err e;
	(void)events;
	loop_unwatch(b->loop, &b->jailer);
	(void)err_set(&e, ERR_WALL, "the jailer has ended, so no worker can be started: start the service again");
	broker_fail(b, &e);
}

static void on_alone(void *arg) { drain(arg, 0); }

void broker_client_gone(struct broker *b)
{
	if (b->is_private && !b->clients && !b->is_draining)
		loop_timer_set(b->loop, &b->alone, ALONE_MS);
}

/* --- clients ------------------------------------------------------------------------------------------- */

static void on_pause_over(void *arg)
{
	struct broker *b = arg;
	struct err e;
	if (!b->is_draining && loop_watch(b->loop, &b->listener, EPOLLIN, &e) != ERR_OK)
		broker_fail(b, &e);
}

static void accept_failed(struct broker *b)
{
	if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
		return; /* it left before it was let in */
	loop_unwatch(b->loop, &b->listener);
	loop_timer_set(b->loop, &b->pause, ACCEPT_PAUSE_MS);
}

static void on_listener(void *arg, uint32_t events)
{
	struct broker *b = arg;
	struct err e;
	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(b->place.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) {
			accept_failed(b);
			return;
		}
		loop_timer_stop(b->loop, &b->alone);
		if (client_new(b, fd, &e) != ERR_OK)
			broker_say("a client could not be let in: %s", e.text);
	}
}

/* --- serving ---------------------------------------------------------------------------------------------- */

/* Says how the start went: one byte, or one line "code: text". */
static void say_ready(int ready_fd, const struct err *e)
{
	char line[ERR_TEXT_MAX_BYTES + 64] = "\n";
	int n = 1;
	if (ready_fd < 0)
		return;
	if (e)
		n = snprintf(line, sizeof line, "%s: %s\n", err_name(e->code), e->text);
	if (write(ready_fd, line, (size_t)n) < 0)
		broker_say("nobody waits on --ready-fd");
	close(ready_fd);
}

/* The start is in the log: now clients are let in. */
static void on_booted(void *arg, const struct audit_stored *s)
{
	struct broker *b = arg;
	struct err e;
	(void)s;
	b->is_booted = true;
	if (!b->is_draining && loop_watch(b->loop, &b->listener, EPOLLIN, &e) != ERR_OK) {
		broker_fail(b, &e);
		return;
	}
	say_ready(b->ready_fd, NULL);
	b->ready_fd = -1;
	if (b->is_private)
		loop_timer_set(b->loop, &b->alone, FIRST_CLIENT_MS);
}

static void record_boot(struct broker *b)
{
	struct record_room x;
	char text[64];
	record_begin(&x, FUMEHOOD__RECORD_KIND__BOOT, b, &b->wall);
	snprintf(text, sizeof text, "%s of user %u", b->is_private ? "private broker" : "service", b->owner_uid);
	x.r.text = text;
	x.r.previous_size = log_opened(b->log)->size;
	x.r.policy_digest = pb_text(facts_policy_digest(b->facts));
	x.r.worker_digest = b->worker.sha256;
	x.r.trust_version = b->trust ? trust_version(b->trust) : 0;
	b->booted = (struct log_wait){ .fn = on_booted, .arg = b };
	log_append(b->log, &x.r, &b->booted, NULL);
}

static int watch_all(struct broker *b, struct err *e)
{
	b->listener = (struct loop_watch){ .fd = b->place.listen_fd, .fn = on_listener, .arg = b };
	b->jailer = (struct loop_watch){ .fd = jailer_fd(b->jail), .fn = on_jailer, .arg = b };
	b->signals.fn = on_signal;
	b->signals.arg = b;
	b->alone = (struct loop_timer){ .fn = on_alone, .arg = b };
	b->drain = (struct loop_timer){ .fn = on_drain, .arg = b };
	b->pause = (struct loop_timer){ .fn = on_pause_over, .arg = b };
	int rc = loop_watch(b->loop, &b->jailer, 0, e);
	return rc == ERR_OK ? loop_watch(b->loop, &b->signals, EPOLLIN, e) : rc;
}

/* The last record, and all of the log published. */
static int finish(struct broker *b, struct err *e)
{
	struct record_room x;
	while (b->clients)
		client_drop(b->clients);
	pool_end_all(b->pool);
	if (b->fatal.code == ERR_LOG) {
		*e = b->fatal;
		return e->code;
	}
	record_begin(&x, FUMEHOOD__RECORD_KIND__SHUTDOWN, b, NULL);
	if (b->fatal.code != ERR_OK) {
		x.r.code = pb_text(err_name(b->fatal.code));
		x.r.text = b->fatal.text;
	}
	log_append(b->log, &x.r, NULL, NULL);
	int rc = log_seal(b->log, SEAL_MS, e);
	if (rc == ERR_OK && b->fatal.code != ERR_OK) {
		*e = b->fatal;
		rc = e->code;
	}
	return rc;
}

int main(int argc, char **argv)
{
	static struct broker b;
	struct start_options o;
	struct err e = { 0 };
	int rc = start_options_read(argc, argv, &o, &e);
	b.ready_fd = o.ready_fd;
	if (rc == ERR_OK)
		rc = start_all(&b, &o, &e);
	if (rc == ERR_OK)
		rc = watch_all(&b, &e);
	if (rc == ERR_OK) {
		record_boot(&b);
		rc = loop_run(b.loop, &e);
	}
	if (rc == ERR_OK)
		rc = finish(&b, &e);
	if (rc != ERR_OK) {
		if (b.fatal.code == ERR_OK)
			broker_say("%s: %s", err_name(rc), e.text);
		say_ready(b.ready_fd, &e);
	}
	start_clear(&b);
	return err_exit_code(rc);
}
