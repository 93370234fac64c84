/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood status: what the running broker does. It starts none.
 * Side: cli. Trusts: nothing in an answer. Owns: the connection.
 */
#include "broker/ctl/talk.h"

#include <inttypes.h>
#include <string.h>

static json_t *workers_json(const Fumehood__StatusReply *m)
{
	json_t *a = json_array();
	for (size_t i = 0; a && i < m->n_workers; i++) {
		const Fumehood__WorkerRow *w = m->workers[i];
		json_array_append_new(a, json_pack("{s:i, s:o, s:o, s:i, s:I, s:o, s:o}", "pid", (int)w->pid, "model",
		                                   ctl_json_text(w->model, strlen(w->model)), "state",
		                                   ctl_json_text(w->state, strlen(w->state)), "threads", (int)w->threads,
		                                   "calls", (json_int_t)w->calls, "isolation",
		                                   ctl_json_text(w->isolation, strlen(w->isolation)), "principal",
		                                   ctl_json_text(w->principal, strlen(w->principal))));
	}
	return a;
}

static int json_show(const Fumehood__StatusReply *m, struct err *e)
{
	return ctl_json_print(json_pack("{s:o, s:o, s:I, s:i, s:I, s:I, s:I, s:o, s:o, s:o, s:i, s:o, s:o, s:o}", "version",
	                                ctl_json_text(m->version, strlen(m->version)), "instance",
	                                ctl_json_text(m->instance, strlen(m->instance)), "uptime_ms",
	                                (json_int_t)m->uptime_ms, "clients", (int)m->clients, "calls",
	                                (json_int_t)m->calls, "refusals", (json_int_t)m->refusals, "log_size",
	                                (json_int_t)m->log_size, "log_vkey",
	                                ctl_json_text(m->log_vkey, strlen(m->log_vkey)), "checkpoint",
	                                ctl_json_text(m->checkpoint, strlen(m->checkpoint)), "policy_digest",
	                                ctl_json_text(m->policy_digest, strlen(m->policy_digest)), "policies",
	                                (int)m->policies, "cgroups", ctl_json_text(m->cgroups, strlen(m->cgroups)),
	                                "walls", walls_json(m->walls), "workers", workers_json(m)), e);
}

static int text_show(const struct ctl *c, const Fumehood__StatusReply *m, struct err *e)
{
	static const char *const heads[] = { ">PID", "MODEL", "STATE", ">THREADS", ">CALLS", "ISOLATION", "FOR" };
	printf("broker    %s, version %s, up %.1f s\n", ctl_str(m->instance), ctl_str(m->version),
	       (double)m->uptime_ms / 1000);
	printf("calls     %" PRIu64 " answered, %" PRIu64 " refused, %u clients now\n", m->calls, m->refusals, m->clients);
	printf("log       %" PRIu64 " entries, key %s\n", m->log_size, ctl_str(m->log_vkey));
	printf("policy    %u policies, sha256 %s\n", m->policies, ctl_str(m->policy_digest));
	printf("wall      %s, %zu layers\n", m->walls ? ctl_str(m->walls->tier) : "?",
	       m->walls ? m->walls->n_standing : (size_t)0);
	if (*m->cgroups)
		printf("groups    %s\n", ctl_str(m->cgroups));
	fflush(stdout);
	walls_say(c, m->walls);
	if (m->n_workers == 0)
		return ERR_OK;
	struct ctl_table *t = ctl_table_new(sizeof heads / sizeof heads[0], heads);
	for (size_t i = 0; i < m->n_workers; i++) {
		const Fumehood__WorkerRow *w = m->workers[i];
		char pid[16], threads[16], calls[32];
		snprintf(pid, sizeof pid, "%u", w->pid);
		snprintf(threads, sizeof threads, "%u", w->threads);
		snprintf(calls, sizeof calls, "%" PRIu64, w->calls);
		ctl_table_row(t, (const char *[]){ pid, ctl_str(w->model), ctl_str(w->state), threads, calls,
		                                   ctl_str(w->isolation), ctl_str(w->principal) });
	}
	return ctl_table_print(t, stdout, e);
}

static int status_run(struct ctl *c, struct err *e)
{
	struct talk *t = NULL;
	struct talk_answer a = { .head = NULL };
	Fumehood__Status m;
	fumehood__status__init(&m);
	const struct talk_ask ask = { .kind = MSG_STATUS, .want = MSG_STATUS_REPLY, .head = &m.base };
	int rc = talk_open(c, TALK_RUNNING, &t, e);
	if (rc == ERR_OK && (rc = talk_request(t, c, &ask, &a, e)) == ERR_OK) {
		const Fumehood__StatusReply *r = (const Fumehood__StatusReply *)(const void *)a.head;
		rc = c->json ? json_show(r, e) : text_show(c, r, e);
	}
	talk_answer_clear(&a);
	talk_close(t);
	return rc;
}

const struct ctl_command cmd_status = {
	.name = "status",
	.args = "",
	.help = "say what the running broker does",
	.run = status_run,
};
