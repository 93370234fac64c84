/* SPDX-License-Identifier: Apache-2.0
 *
 * One worker's life, from spawn to reaping, as the broker sees it. The conversation's order is the gate
 * table below; everything else ends the worker.
 *
 * Side: broker. Trusts: the kernel; nothing that a worker says. Owns: the worker.
 */
#include "broker/pool_in.h"
#include "proto/limits.h"
#include "proto/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_BYTES MIB(4)        /* of one answer between two looks at other peers */
#define TURN_FRAMES 16
#define END_MS 2000              /* from a closed channel to the end of the process */
#define ARENA_ALIGN 4096
#define CPU_SECONDS_MAX (1u << 20)

/* --- ending ------------------------------------------------------------------------------------------ */

static void channel_close(struct pool_worker *w)
{
	loop_unwatch(w->p->c.loop, &w->channel);
	if (w->proc.channel >= 0)
		close(w->proc.channel);
	w->proc.channel = -1;
}

void pool_worker_kill(struct pool_worker *w, enum worker_killed why, const char *detail)
{
	if (w->notes.killed == KILLED_NOT) {
		w->notes.killed = why;
		snprintf(w->detail, sizeof w->detail, "%.*s", DETAIL_BYTES - 1, detail);
	}
	w->state = WORKER_ENDING;
	loop_timer_stop(w->p->c.loop, &w->timer);
	loop_unwatch(w->p->c.loop, &w->channel);
	worker_kill(&w->proc);
}

/* The kernel reports a refused call: the worker ends, the report is the reason that record and caller get. */
static void on_report(void *arg, uint32_t events)
{
	struct pool_worker *w = arg;
	struct violation v;
	char text[DETAIL_BYTES];
	(void)events;
	int rc = violation_read(&w->proc, &v, NULL);
	if (rc == 1)
		pool_worker_kill(w, KILLED_REFUSED, violation_text(&v, text, sizeof text));
	if (rc != 0) /* one is enough, or there will be no more */
		loop_unwatch(w->p->c.loop, &w->report);
}

void pool_worker_end(struct pool_worker *w)
{
	if (w->state == WORKER_ENDING)
		return;
	bool has_work = w->state == WORKER_BUSY || w->state == WORKER_LOADING || w->state == WORKER_PLANNED;
	w->state = WORKER_ENDING;
	w->notes.told_to_end = true;
	channel_close(w);
	if (has_work) /* it would only notice after its work */
		pool_worker_kill(w, KILLED_CANCEL, "nobody waits for it any more");
	else
		loop_timer_set(w->p->c.loop, &w->timer, END_MS);
}

static void worker_unlink(struct pool_worker *w)
{
	*(w->prev ? &w->prev->next : &w->p->workers) = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->p->n_workers--;
}

static void worker_free(struct pool_worker *w)
{
	struct loop *l = w->p->c.loop;
	loop_timer_stop(l, &w->timer);
	loop_unwatch(l, &w->channel);
	loop_unwatch(l, &w->exit);
	loop_unwatch(l, &w->report);
	worker_close(&w->proc);
	(void)cgroups_leave(w->p->c.cgroups, w->group);
	frame_rx_clear(&w->rx);
	frame_tx_clear(&w->tx);
	hash_free(w->hash);
	model_unref(w->model);
	free(w);
}

void pool_worker_drop(struct pool_worker *w)
{
	worker_unlink(w);
	worker_free(w);
}

static void gone(struct pool_worker *w, const struct worker_end *end)
{
	w->notes.oom_counted = cgroups_leave(w->p->c.cgroups, w->group);
	w->group = -1;
	enum verdict v = verdict_of(end, &w->notes);
	if (v == VERDICT_CRASH && !end->by_signal && w->rx.is_cut)
		v = VERDICT_PROTOCOL; /* it left of its own will, in the middle of a frame */
	if (v == VERDICT_REFUSED && w->notes.killed != KILLED_REFUSED)
		w->detail[0] = 0; /* the kernel ended it without a report: what was noted of its channel tells nothing */
	struct pool_end told = { w->model, &w->about, v, *end, w->detail };
	worker_unlink(w);
	if (w->slot)
		w->slot->w = NULL;
	w->p->c.ended(w->p->c.arg, &told);
	pool_note_death(w, v);
	pool_on_gone(w, v, end);
	worker_free(w);
}

void pool_worker_wait(struct pool_worker *w)
{
	struct worker_end end;
	struct err e;
	pool_worker_end(w);
	if (worker_reap(&w->proc, END_MS, &end, &e) != 1) {
		pool_worker_kill(w, KILLED_CANCEL, "it did not end by itself");
		if (worker_reap(&w->proc, END_MS, &end, &e) != 1)
			end = (struct worker_end){ .by_signal = true, .code = SIGKILL };
	}
	gone(w, &end);
}

static void on_timer(void *arg)
{
	struct pool_worker *w = arg;
	static const char *const late[WORKER_STATE__MAX] = {
		[WORKER_STARTING] = "not locked in time",
		[WORKER_LOADING] = "loading the model took too long",
		[WORKER_PLANNED] = "loading the model took too long",
		[WORKER_IDLE] = "",
		[WORKER_BUSY] = "the call took too long",
		[WORKER_ENDING] = "it did not end by itself",
	};
	enum worker_killed why = w->state != WORKER_ENDING ? KILLED_DEADLINE : w->rx.is_cut ? KILLED_PROTOCOL : KILLED_CANCEL;
	pool_worker_kill(w, why, late[w->state]);
}

/* --- what it says -------------------------------------------------------------------------------------- */

static int send_fixed(struct pool_worker *w, uint16_t kind, const void *body, struct err *e);
static int flush(struct pool_worker *w, struct err *e);

/* The refusal of a model that needs more than it may have: not a fault of the worker. */
static int needs_refused(struct pool_worker *w, uint64_t needs, bool is_sum)
{
	char text[200];
	if (is_sum)
		snprintf(text, sizeof text, "the model needs %" PRIu64 " bytes of memory, the limit is %" PRIu64
		         " bytes (memory_bytes, --memory)", needs, w->order.arena_bytes);
	else
		snprintf(text, sizeof text, "the model's needs are beyond any number, the limit is %" PRIu64 " bytes",
		         w->order.arena_bytes);
	w->state = WORKER_IDLE; /* it waits for a plan that will not come */
	pool_on_load_failed(w, ERR_LIMIT, text, NULL, 0);
	return ERR_OK;
}

/* Splits the arena: what the model claims, then a quarter of the rest for requests (never more than the
 * largest request), and all that is left for plans of other shapes. */
static int on_needs(void *peer, struct frame *f, struct err *e)
{
	struct pool_worker *w = peer;
	struct needs_fixed n;
	uint64_t sum, arena = w->order.arena_bytes, rest, most;
	memcpy(&n, f->body, sizeof n);
	struct ck all = ck_add(ck_add(ck_u64(n.graph_bytes), ck_u64(n.weights_bytes)),
	                       ck_add(ck_u64(n.plan_min_bytes), ck_u64(n.scratch_bytes)));
	all = ck_add(all, ck_add(ck_u64(n.io_min_bytes), ck_u64(ARENA_ALIGN)));
	if (n.reserved[0] || n.reserved[1] || n.io_min_bytes < PLAN_REQUEST_MIN_BYTES)
		return err_set(e, ERR_PROTOCOL, "NEEDS has reserved bits or asks for no room for requests");
	if (!ck_get(all, arena, &sum))
		return needs_refused(w, all.v, !all.bad);
	rest = arena - sum;
	most = w->p->c.request_max_bytes + PLAN_REQUEST_OVERHEAD_BYTES;
	struct plan_fixed plan = { .request_bytes = n.io_min_bytes + rest / 4 };
	if (plan.request_bytes > most && most > n.io_min_bytes)
		plan.request_bytes = most;
	plan.request_bytes &= ~(uint64_t)(ARENA_ALIGN - 1);
	plan.engine_bytes = (arena - plan.request_bytes) & ~(uint64_t)(ARENA_ALIGN - 1);
	w->request_bytes = plan.request_bytes;
	w->state = WORKER_PLANNED;
	return send_fixed(w, MSG_PLAN, &plan, e);
}

/* The codes with which a worker may refuse: what it can know. */
static bool status_is_ok(int32_t status)
{
	static const int codes[] = { ERR_OK, ERR_INPUT, ERR_MODEL, ERR_UNSUPPORTED, ERR_LIMIT, ERR_NOMEM, ERR_INTERNAL };
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (status == codes[i])
			return true;
	return false;
}

/* The fixed part of READY and RESULT, and that the rest is framed as it says. */
static int fixed_read(const struct frame *f, struct result_fixed *r, struct err *e)
{
	struct frame_body b;
	int rc = frame_body_split(f->header.kind, f->body, f->header.length, &b, e);
	if (rc != ERR_OK)
		return rc;
	memcpy(r, b.fixed, sizeof *r);
	if (r->reserved[0] || r->reserved[1] || !status_is_ok(r->status))
		return err_set(e, ERR_PROTOCOL, "%s has reserved bits or the unknown status %d", msg_name(f->header.kind),
		               r->status);
	if (r->output_bytes != b.tail_len)
		return err_set(e, ERR_PROTOCOL, "%s says %" PRIu64 " output bytes and brings %zu", msg_name(f->header.kind),
		               r->output_bytes, b.tail_len);
	return ERR_OK;
}

static uint8_t *body_take(struct frame *f)
{
	uint8_t *body = f->body;
	f->body = NULL;
	return body;
}

static int on_ready(void *peer, struct frame *f, struct err *e)
{
	struct pool_worker *w = peer;
	struct result_fixed r;
	int rc = fixed_read(f, &r, e);
	if (rc != ERR_OK)
		return rc;
	if (r.status == ERR_OK && w->state != WORKER_PLANNED)
		return err_set(e, ERR_PROTOCOL, "READY came before a plan");
	if (f->header.length - FIXED_BYTES > LIMIT_MODEL_INFO_BYTES)
		return err_set(e, ERR_PROTOCOL, "the model's description is above %" PRIu64 " bytes", LIMIT_MODEL_INFO_BYTES);
	loop_timer_stop(w->p->c.loop, &w->timer);
	if (r.status != ERR_OK) {
		w->state = WORKER_IDLE;
		pool_on_load_failed(w, r.status, "the worker refused the model", body_take(f), f->header.length);
		return ERR_OK;
	}
	w->state = WORKER_IDLE;
	w->was_ready = true;
	pool_on_ready(w, body_take(f), f->header.length);
	return ERR_OK;
}

static int on_result(void *peer, struct frame *f, struct err *e)
{
	struct pool_worker *w = peer;
	struct result_fixed r;
	if (f->header.request_id != w->call_id)
		return err_set(e, ERR_PROTOCOL, "RESULT for call %" PRIu64 ", which is not the running one", f->header.request_id);
	int rc = fixed_read(f, &r, e);
	if (rc != ERR_OK)
		return rc;
	loop_timer_stop(w->p->c.loop, &w->timer);
	w->state = WORKER_IDLE;
	w->about.calls++;
	pool_on_result(w, r.status, body_take(f), f->header.length);
	return ERR_OK;
}

/* LOCKED is read by the sandbox's own code, before this table is in force. */
const struct gate_row gate_worker[] = {
	{ MSG_NEEDS, GATE_IN(WORKER_LOADING), on_needs },
	{ MSG_READY, GATE_IN(WORKER_LOADING) | GATE_IN(WORKER_PLANNED), on_ready },
	{ MSG_RESULT, GATE_IN(WORKER_BUSY), on_result },
};
const size_t gate_worker_rows = sizeof gate_worker / sizeof gate_worker[0];

/* --- frames --------------------------------------------------------------------------------------------- */

static void protocol_error(struct pool_worker *w, const struct err *e)
{
	pool_worker_kill(w, KILLED_PROTOCOL, e->text);
}

static int flush(struct pool_worker *w, struct err *e)
{
	int rc = frame_tx_write(&w->tx, w->proc.channel, e);
	if (rc < 0)
		return rc;
	return loop_watch(w->p->c.loop, &w->channel, rc ? EPOLLIN : EPOLLIN | EPOLLOUT, e);
}

static int send_fixed(struct pool_worker *w, uint16_t kind, const void *body, struct err *e)
{
	int rc = frame_tx_put(&w->tx, kind, 0, body, FIXED_BYTES, NULL, 0, 0, NULL, 0, e);
	return rc == ERR_OK ? flush(w, e) : rc;
}

/* A channel that broke while the process is ending: its end tells more than the channel does. */
static void channel_lost(struct pool_worker *w)
{
	channel_close(w);
	snprintf(w->detail, sizeof w->detail, "it closed its channel%s", w->rx.is_cut ? " in the middle of a frame" : "");
	w->state = WORKER_ENDING;
	loop_timer_set(w->p->c.loop, &w->timer, END_MS);
}

/* Reads what is there. */
static void channel_read(struct pool_worker *w)
{
	for (int i = 0; i < TURN_FRAMES && w->state != WORKER_ENDING; i++) {
		struct frame f;
		struct err e;
		int rc = frame_rx_read(&w->rx, w->proc.channel, &f, &e);
		if (rc == 0)
			return;
		if (rc > 0) {
			rc = gate_pass(gate_worker, gate_worker_rows, ROLE_WORKER, w->state, w, &f, &e);
			frame_clear(&f);
		} else if (rc == ERR_IO || w->rx.is_cut) { /* whether it broke the protocol or was killed, its end tells */
			channel_lost(w);
			return;
		}
		if (rc < 0)
			protocol_error(w, &e);
	}
}

static int begin_load(struct pool_worker *w, struct err *e)
{
	struct load_fixed load = { .limit_bytes = w->order.arena_bytes, .level = -1,
	                           .purpose = w->slot && w->slot->inspect_only ? 1 : 0 };
	w->about.layers = w->proc.layers;
	w->about.missing = w->proc.missing;
	w->about.fds_seen = fds_seen_name(w->proc.fds_seen);
	memcpy(w->about.level, w->proc.locked.level_name, sizeof w->about.level);
	memcpy(w->about.blas_core, w->proc.locked.blas_core, sizeof w->about.blas_core);
	w->state = WORKER_LOADING;
	loop_timer_set(w->p->c.loop, &w->timer, (int64_t)w->p->c.load_ms);
	return send_fixed(w, MSG_LOAD, &load, e);
}

/* It says that it is locked. That is only the moment to look: the proof comes from the kernel. */
static void on_first_word(struct pool_worker *w)
{
	struct err e;
	int rc = worker_locked(&w->proc, &e);
	if (rc == ERR_WORKER) { /* it ended instead */
		channel_lost(w);
		return;
	}
	if (rc == ERR_OK)
		rc = worker_verify(w->p->c.jail, w->p->c.proc_fd, &w->order, &w->proc, &e);
	if (rc == ERR_OK)
		rc = worker_limits_close(&w->proc, &e);
	if (rc == ERR_OK) /* before it looks at the model */
		w->group = cgroups_enter(w->p->c.cgroups, w->proc.pid);
	if (rc != ERR_OK) {
		pool_worker_kill(w, rc == ERR_PROTOCOL ? KILLED_PROTOCOL : KILLED_UNLOCKED, e.text);
		return;
	}
	w->report = (struct loop_watch){ .fd = w->proc.listener_fd, .fn = on_report, .arg = w };
	rc = w->proc.listener_fd >= 0 ? loop_watch(w->p->c.loop, &w->report, EPOLLIN, &e) : ERR_OK;
	if (rc != ERR_OK || begin_load(w, &e) != ERR_OK)
		protocol_error(w, &e);
}

static void on_channel(void *arg, uint32_t events)
{
	struct pool_worker *w = arg;
	struct err e;
	if (w->state == WORKER_STARTING) {
		on_first_word(w);
		return;
	}
	if (events & EPOLLOUT && flush(w, &e) < 0) {
		channel_lost(w);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		channel_read(w);
}

static void on_exit_event(void *arg, uint32_t events)
{
	struct pool_worker *w = arg;
	struct worker_end end;
	struct err e;
	(void)events;
	w->rx.turn_bytes = 0;
	if (w->state != WORKER_STARTING) /* an answer that it completed before it ended counts */
		channel_read(w);
	int rc = worker_reap(&w->proc, 0, &end, &e);
	if (rc == 0)
		return;
	if (rc < 0) { /* cannot be: it is our child and it has ended */
		end = (struct worker_end){ .by_signal = true, .code = SIGKILL };
		snprintf(w->detail, sizeof w->detail, "%.*s", DETAIL_BYTES - 1, e.text);
	}
	gone(w, &end);
}

/* --- making one -------------------------------------------------------------------------------------------- */

static void on_bytes(void *arg, const struct frame_header *h, const uint8_t *p, size_t n, uint64_t offset)
{
	struct pool_worker *w = arg;
	uint64_t skip = offset < FIXED_BYTES ? FIXED_BYTES - offset : 0;
	if (h->kind == MSG_RESULT && w->turn && skip < n)
		hash_add(w->hash, p + skip, n - skip);
}

static int watch_both(struct pool_worker *w, struct err *e)
{
	struct loop *l = w->p->c.loop;
	w->channel = (struct loop_watch){ .fd = w->proc.channel, .fn = on_channel, .arg = w };
	w->exit = (struct loop_watch){ .fd = w->proc.pidfd, .fn = on_exit_event, .arg = w };
	int rc = loop_watch(l, &w->channel, EPOLLIN, e);
	if (rc == ERR_OK)
		rc = loop_watch(l, &w->exit, EPOLLIN, e);
	loop_timer_set(l, &w->timer, LIMIT_SPAWN_MS);
	return rc;
}

/* The kernel's own limit of processor time, should the broker not be there to keep deadlines: only where a worker's
 * work has an end. 0: none. */
static unsigned cpu_seconds(const struct slot *s)
{
	uint64_t ms = (s->p->c.load_ms + s->call_ms) * s->threads;
	bool ends = s->inspect_only || s->isolation == ISOLATION_CALL;
	return ends && ms / 1000 < CPU_SECONDS_MAX ? (unsigned)(ms / 1000) + 2 : 0;
}

int pool_worker_new(struct slot *s, struct err *e)
{
	struct pool *p = s->p;
	struct pool_worker *w = calloc(1, sizeof *w);
	if (!w || !(w->hash = hash_new())) {
		free(w);
		return err_set(e, ERR_NOMEM, "no memory for a worker");
	}
	w->p = p;
	w->group = -1;
	w->slot = s;
	w->model = model_ref(s->model);
	w->timer = (struct loop_timer){ .fn = on_timer, .arg = w };
	w->order = (struct worker_order){ .model_fd = s->model->fd, .model_bytes = s->model->bytes,
	                                  .program_fd = p->c.program_fd, .arena_bytes = s->memory_bytes,
	                                  .n_threads = s->threads, .optional_layers = p->c.optional_layers,
	                                  .cpu_seconds = cpu_seconds(s), .violation_kill = p->c.violation_kill };
	w->notes.cpu_seconds = w->order.cpu_seconds;
	w->next = p->workers;
	if (w->next)
		w->next->prev = w;
	p->workers = w;
	p->n_workers++;
	w->proc = (struct worker){ .pidfd = -1, .channel = -1, .listener_fd = -1 };
	frame_rx_init(&w->rx, ROLE_WORKER, ROLE_BROKER, LIMIT_FRAME_BODY_BYTES);
	w->rx.on_bytes = on_bytes;
	w->rx.on_bytes_arg = w;
	w->rx.turn_bytes = TURN_BYTES;
	int rc = jailer_spawn(p->c.jail, &w->order, &w->proc, e);
	if (rc == ERR_OK)
		rc = watch_both(w, e);
	if (rc != ERR_OK) {
		pool_worker_drop(w);
		return rc;
	}
	w->about.pid = (uint32_t)w->proc.pid;
	w->about.threads = s->threads;
	w->about.isolation = s->isolation;
	memcpy(w->about.principal, s->principal, sizeof w->about.principal);
	s->w = w;
	return ERR_OK;
}

/* Whatever the last principal's calls left in its memory goes before the next one's call comes. */
static int forget(struct pool_worker *w, const char *principal, struct err *e)
{
	const struct scrub_fixed scrub = { { 0 } };
	bool is_new = w->has_served && strncmp(w->last, principal, sizeof w->last - 1);
	w->has_served = true;
	snprintf(w->last, sizeof w->last, "%s", principal);
	return is_new ? frame_tx_put(&w->tx, MSG_SCRUB, 0, (const uint8_t *)&scrub, FIXED_BYTES, NULL, 0, 0, NULL, 0, e)
	              : ERR_OK;
}

void pool_worker_call(struct pool_worker *w, struct turn *t)
{
	struct err e;
	uint8_t *body = t->body;
	w->call_id = ++w->p->next_call_id;
	w->turn = t;
	w->state = WORKER_BUSY;
	uint8_t drop[HASH_BYTES];
	hash_end(w->hash, drop); /* whatever an answer without a taker left behind */
	hash_add(w->hash, t->salt, HASH_SALT_BYTES);
	t->body = NULL;
	t->started_us = loop_clock_us();
	loop_timer_set(w->p->c.loop, &w->timer, (int64_t)w->slot->call_ms);
	int rc = forget(w, t->principal ? t->principal : "", &e);
	if (rc == ERR_OK)
		rc = frame_tx_put(&w->tx, MSG_CALL, w->call_id, NULL, 0, body, 0, t->body_len, NULL, 0, &e);
	else
		free(body);
	if (rc == ERR_OK && flush(w, &e) < 0)
		channel_lost(w);
	else if (rc != ERR_OK)
		pool_worker_kill(w, KILLED_CANCEL, e.text);
}
