/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood inspect: what a model is, what it asks for, what is odd. A worker behind the wall reads the
 * file; here its report is printed, every text of it escaped.
 *
 * Exit status: 0 fine, 1 odd, 3 refused.
 *
 * Side: cli. Trusts: nothing in the report. Owns: the connection.
 */
#include "broker/ctl/call.h"

#include "broker/ctl/files.h"
#include "broker/ctl/tensors.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const struct ctl_opt opts[] = {
	{ "admitted", 'a', NULL, CTL_NONE, false, "MODEL is an admitted model's name, even if a file has it, too" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

static const char *const severities[] = { "fine", "odd", "refused" };

static unsigned worst(const Fumehood__ModelInfo *m)
{
	unsigned s = 0;
	for (size_t i = 0; i < m->n_facts; i++)
		s = m->facts[i]->severity > s ? m->facts[i]->severity : s;
	return s > 2 ? 2 : s;
}

/* --- for people ------------------------------------------------------------------------------------- */

static const struct {
	const char *group, *title;
} groups[] = {
	{ "what", "what it is" },
	{ "asks", "what it asks for" },
	{ "carries", "what it carries besides numbers" },
	{ "odd", "what is odd" },
};
#define N_GROUPS (sizeof groups / sizeof groups[0])

static size_t group_of(const Fumehood__Fact *f)
{
	for (size_t g = 0; g < N_GROUPS; g++)
		if (strcmp(groups[g].group, f->group) == 0)
			return g;
	return N_GROUPS - 1; /* an unknown group is odd in itself */
}

static void facts_print(const Fumehood__ModelInfo *m, size_t group)
{
	bool any = false;
	for (size_t i = 0; i < m->n_facts; i++) {
		const Fumehood__Fact *f = m->facts[i];
		if (group_of(f) != group)
			continue;
		if (!any)
			printf("%s\n", groups[group].title);
		any = true;
		printf("  %-24s ", ctl_str(f->code));
		if (f->severity)
			printf("[%s] ", severities[f->severity > 2 ? 2 : f->severity]);
		printf("%s", ctl_line(f->text));
		if (f->offset)
			printf(" (at byte %" PRIu64 ")", f->offset);
		printf("\n");
	}
}

static void ports_print(const char *title, Fumehood__Port *const *p, size_t n)
{
	printf("%s\n", title);
	for (size_t i = 0; i < n; i++)
		printf("  %-24s %s%s\n", ctl_text(p[i]->name.data, p[i]->name.len),
		       p[i]->any_rank ? "any shape"
		                      : shape_text((int)p[i]->type, p[i]->dims, p[i]->n_dims, p[i]->dim_names, p[i]->n_dim_names),
		       p[i]->optional ? "  (may be missing)" : "");
}

#define META_SHOWN_BYTES 200

static void metadata_print(const Fumehood__ModelInfo *m)
{
	if (m->n_metadata)
		printf("what it says about itself (claims of the file)\n");
	for (size_t i = 0; i < m->n_metadata; i++) {
		const Fumehood__Meta *x = m->metadata[i];
		size_t n = x->value.len < META_SHOWN_BYTES ? x->value.len : META_SHOWN_BYTES;
		printf("  %-24s %s%s\n", ctl_text(x->key.data, x->key.len), ctl_text(x->value.data, n),
		       n < x->value.len ? "..." : "");
	}
}

static void needs_print(const Fumehood__Needs *n)
{
	if (!n)
		return;
	printf("what it needs\n  %-24s %s for the graph, %s for weights, %s for a plan\n  %-24s %" PRIu64
	       " multiply-adds per call\n", "memory", ctl_bytes(n->graph_bytes), ctl_bytes(n->weights_bytes),
	       ctl_bytes(n->plan_min_bytes), "work", n->macs);
}

static void report_print(const struct ctl *c, const Fumehood__ModelOpened *o, const Fumehood__ModelInfo *m)
{
	printf("%s\n", ctl_str(c->pos[0]));
	if (o) {
		printf("  %-24s sha256:%s\n", "model digest", hex_text(o->model_digest));
		if (o->file_sha256.len)
			printf("  %-24s %s, %s\n", "file sha256", hex_text(o->file_sha256), ctl_bytes(o->file_bytes));
		printf("  %-24s %s\n", "signature", o->unsigned_model ? "unsigned" : "signed");
		for (size_t i = 0; i < o->n_signers; i++)
			printf("  %-24s %s\n", "signer", ctl_str(o->signers[i]));
	}
	if (m->format[0])
		printf("  %-24s %s\n", "format", ctl_str(m->format));
	facts_print(m, 0);
	if (m->n_inputs + m->n_outputs) {
		ports_print("what it takes", m->inputs, m->n_inputs);
		ports_print("what it gives", m->outputs, m->n_outputs);
	}
	needs_print(m->needs);
	for (size_t g = 1; g < N_GROUPS; g++)
		facts_print(m, g);
	metadata_print(m);
	unsigned s = worst(m);
	printf("what will happen\n  %s\n", s == 0 ? "it runs" : s == 1 ? "it runs; read what is odd" : "it is refused");
}

static int report(struct ctl *c, const Fumehood__ModelOpened *o, const Fumehood__ModelInfo *m, struct err *e)
{
	if (!c->json) {
		report_print(c, o, m);
		return ERR_OK;
	}
	json_t *j = model_info_json(m);
	if (j) {
		if (o)
			model_opened_json(j, o);
		json_object_set_new(j, "verdict", json_string(severities[worst(m)]));
	}
	return ctl_json_print(j, e);
}

/* --- asking --------------------------------------------------------------------------------------------- */

static int file_ask(struct ctl *c, struct talk **t, struct talk_answer *a, struct err *e)
{
	Fumehood__ModelOpen m;
	char name[256];
	int fd = -1, rc = file_open(c->pos[0], &fd, NULL, e);
	if (rc == ERR_OK)
		rc = talk_open(c, TALK_PRIVATE, t, e);
	fumehood__model_open__init(&m);
	err_escape(name, sizeof name, path_base(c->pos[0]), strlen(path_base(c->pos[0])));
	m.purpose = FUMEHOOD__MODEL_OPEN__PURPOSE__INSPECT;
	m.file_name = name;
	const struct talk_ask ask = { .kind = MSG_MODEL_OPEN, .want = MSG_MODEL_OPENED, .head = &m.base, .fds = &fd,
		                          .n_fds = 1, .waiting = "reading" };
	if (rc == ERR_OK)
		rc = talk_request(*t, c, &ask, a, e);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int name_ask(struct ctl *c, struct talk **t, struct talk_answer *a, struct err *e)
{
	Fumehood__Inspect m;
	int rc = talk_open(c, TALK_PRIVATE, t, e);
	fumehood__inspect__init(&m);
	m.model = c->pos[0];
	const struct talk_ask ask = { .kind = MSG_INSPECT, .want = MSG_MODEL_OPENED, .head = &m.base, .waiting = "reading" };
	return rc == ERR_OK ? talk_request(*t, c, &ask, a, e) : rc;
}

static int inspect_run(struct ctl *c, struct err *e)
{
	static const int status[] = { 0, 1, 3 };
	struct talk *t = NULL;
	struct talk_answer a = { .head = NULL };
	bool by_name = ctl_has(c, "admitted") || access(c->pos[0], F_OK) != 0;
	int rc = by_name ? name_ask(c, &t, &a, e) : file_ask(c, &t, &a, e);
	const Fumehood__ModelOpened *o = rc == ERR_OK ? (const Fumehood__ModelOpened *)(const void *)a.head : NULL;
	if (by_name && rc == ERR_NOT_FOUND && !ctl_has(c, "admitted"))
		err_prefix(e, "no file %s, and no admitted model of this name", ctl_str(c->pos[0]));
	/* A refused model has a report, too: the reason. With --json the error object says it all. */
	if (rc == ERR_OK || (a.info && !c->json)) {
		struct err ignored;
		int shown = report(c, o, a.info, rc == ERR_OK ? e : &ignored);
		if (rc == ERR_OK)
			rc = shown == ERR_OK ? status[worst(a.info)] : shown;
	}
	talk_answer_clear(&a);
	talk_close(t);
	return rc;
}

const struct ctl_command cmd_inspect = {
	.name = "inspect",
	.args = "MODEL",
	.help = "say what a model file is, what it asks for and what is odd about it",
	.min_args = 1,
	.max_args = 1,
	.kind = CTL_FILE,
	.opts = opts,
	.run = inspect_run,
};
