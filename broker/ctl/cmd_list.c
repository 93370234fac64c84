/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood list: the admitted models.
 * Side: cli. Trusts: nothing in an answer. Owns: the connection.
 */
#include "broker/ctl/call.h"

#include <inttypes.h>
#include <string.h>

static json_t *row_json(const Fumehood__ModelRow *r)
{
	json_t *signers = json_array(), *files = json_array();
	for (size_t i = 0; signers && i < r->n_signers; i++)
		json_array_append_new(signers, ctl_json_text(r->signers[i], strlen(r->signers[i])));
	for (size_t i = 0; files && i < r->n_files; i++)
		json_array_append_new(files, json_pack("{s:o, s:I, s:o}", "path",
		                                       ctl_json_text(r->files[i]->path, strlen(r->files[i]->path)), "bytes",
		                                       (json_int_t)r->files[i]->size, "sha256",
		                                       ctl_json_hex(r->files[i]->sha256.data, r->files[i]->sha256.len)));
	return json_pack("{s:o, s:I, s:o, s:I, s:o, s:I, s:o, s:o}", "name", ctl_json_text(r->name, strlen(r->name)),
	                 "version", (json_int_t)r->version, "model_digest",
	                 ctl_json_hex(r->model_digest.data, r->model_digest.len), "bytes", (json_int_t)r->bytes_total,
	                 "signers", signers, "expires_unix", (json_int_t)r->expires_unix, "state",
	                 ctl_json_text(r->state, strlen(r->state)), "files", files);
}

static void row_add(struct ctl_table *t, const Fumehood__ModelRow *r)
{
	char version[32], signers[200] = "", digest[24];
	size_t n = 0;
	for (size_t i = 0; i < r->n_signers && n < sizeof signers; i++)
		n += (size_t)snprintf(signers + n, sizeof signers - n, "%s%s", i ? "," : "", ctl_str(r->signers[i]));
	snprintf(version, sizeof version, "%" PRIu64, r->version);
	snprintf(digest, sizeof digest, "%.12s..", hex_text(r->model_digest));
	ctl_table_row(t, (const char *[]){ ctl_str(r->name), version, ctl_str(r->state), ctl_bytes(r->bytes_total),
	                                   ctl_time((uint64_t)r->expires_unix), signers, digest });
}

static int rows_print(const struct ctl *c, const Fumehood__Models *m, struct err *e)
{
	static const char *const heads[] = { "NAME", ">VERSION", "STATE", ">SIZE", "EXPIRES", "SIGNED BY", "DIGEST" };
	if (c->json) {
		json_t *a = json_array();
		for (size_t i = 0; a && i < m->n_models; i++)
			json_array_append_new(a, row_json(m->models[i]));
		return ctl_json_print(json_pack("{s:o}", "models", a), e);
	}
	if (m->n_models == 0)
		ctl_say(c, "no model was admitted (fumehood admit MODEL.note)");
	struct ctl_table *t = ctl_table_new(sizeof heads / sizeof heads[0], heads);
	for (size_t i = 0; i < m->n_models; i++)
		row_add(t, m->models[i]);
	return ctl_table_print(t, stdout, e);
}

static int list_run(struct ctl *c, struct err *e)
{
	struct talk *t = NULL;
	struct talk_answer a = { .head = NULL };
	Fumehood__List m;
	fumehood__list__init(&m);
	const struct talk_ask ask = { .kind = MSG_LIST, .want = MSG_MODELS, .head = &m.base };
	int rc = talk_open(c, TALK_PRIVATE, &t, e);
	if (rc == ERR_OK && (rc = talk_request(t, c, &ask, &a, e)) == ERR_OK)
		rc = rows_print(c, (const Fumehood__Models *)(const void *)a.head, e);
	talk_answer_clear(&a);
	talk_close(t);
	return rc;
}

const struct ctl_command cmd_list = {
	.name = "list",
	.args = "",
	.help = "list the admitted models",
	.run = list_run,
};
