/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood infer: one call to an admitted model.
 * Side: cli. Trusts: nothing in an answer. Owns: the connection.
 */
#include "broker/ctl/call.h"

static const struct ctl_opt opts[] = {
	CALL_OPTS,
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

static int describe(struct ctl *c, struct talk *t, struct err *e)
{
	Fumehood__Inspect m;
	struct talk_answer a;
	fumehood__inspect__init(&m);
	m.model = c->pos[0];
	const struct talk_ask ask = { .kind = MSG_INSPECT, .want = MSG_MODEL_OPENED, .head = &m.base, .waiting = "loading" };
	int rc = talk_request(t, c, &ask, &a, e);
	if (rc == ERR_OK)
		rc = model_usage_print(c, &a, "infer", c->pos[0], e);
	talk_answer_clear(&a);
	return rc;
}

static int infer_run(struct ctl *c, struct err *e)
{
	struct talk *t = NULL;
	struct call *k = NULL;
	const struct call_target target = { .model = c->pos[0] };
	int rc = call_prepare(c, &k, e);
	if (rc == ERR_OK && (rc = talk_open(c, TALK_PRIVATE, &t, e)) == ERR_OK)
		rc = ctl_has(c, "input") ? call_make(c, t, k, &target, e) : describe(c, t, e);
	talk_close(t);
	call_free(k);
	return rc;
}

const struct ctl_command cmd_infer = {
	.name = "infer",
	.args = "NAME[@VERSION] [--input NAME=FILE.npy]... [--output-dir DIR]",
	.help = "ask an admitted model",
	.min_args = 1,
	.max_args = 1,
	.kind = CTL_MODEL,
	.opts = opts,
	.run = infer_run,
};
