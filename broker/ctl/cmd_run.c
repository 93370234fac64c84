/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood run: a model file from anywhere, once, without service and configuration.
 * Side: cli. Trusts: nothing in the file: it is opened here, and looked at behind the wall only.
 * Owns: the connection.
 */
#include "broker/ctl/call.h"

#include "broker/ctl/files.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const struct ctl_opt opts[] = {
	CALL_OPTS,
	{ "memory", 'm', "BYTES", CTL_WORD, false, "memory limit of the worker (K, M, G may follow)" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

/* Sends the descriptor and says what came of it. */
static int model_open(struct ctl *c, struct talk *t, int fd, uint32_t threads, uint64_t memory,
                      struct talk_answer *a, struct err *e)
{
	Fumehood__ModelOpen m;
	char name[256];
	fumehood__model_open__init(&m);
	/* A file's name need not be UTF-8, a protobuf string must be. */
	err_escape(name, sizeof name, path_base(c->pos[0]), strlen(path_base(c->pos[0])));
	m.purpose = FUMEHOOD__MODEL_OPEN__PURPOSE__RUN;
	m.file_name = name;
	m.threads = threads;
	m.memory_bytes = memory;
	const struct talk_ask ask = { .kind = MSG_MODEL_OPEN, .want = MSG_MODEL_OPENED, .head = &m.base, .fds = &fd,
		                          .n_fds = 1, .waiting = "loading" };
	return talk_request(t, c, &ask, a, e);
}

static void opened_say(const struct ctl *c, const Fumehood__ModelOpened *m)
{
	if (m->unsigned_model)
		ctl_say(c, "unsigned nobody vouches for %s; it runs in the strictest tier, for you only", ctl_str(c->pos[0]));
	ctl_say(c, "model    sha256:%s (file sha256 %s, %s)", hex_text(m->model_digest), hex_text(m->file_sha256),
	        ctl_bytes(m->file_bytes));
}

static int run_opened(struct ctl *c, struct talk *t, struct call *k, const struct talk_answer *a, struct err *e)
{
	const Fumehood__ModelOpened *m = (const Fumehood__ModelOpened *)(const void *)a->head;
	const struct call_target target = { .handle = m->handle, .opened = m };
	opened_say(c, m);
	if (ctl_has(c, "input"))
		return call_make(c, t, k, &target, e);
	int rc = model_usage_print(c, a, "run", c->pos[0], e);
	if (rc == ERR_OK)
		walls_say(c, m->walls);
	return rc;
}

static int run_run(struct ctl *c, struct err *e)
{
	struct talk *t = NULL;
	struct call *k = NULL;
	struct talk_answer a = { .head = NULL };
	uint64_t memory;
	int fd = -1, rc = ctl_number(c, "memory", LIMIT_ARENA_MIN_BYTES, INT64_MAX, 0, &memory, e);
	if (rc == ERR_OK && (rc = file_open(c->pos[0], &fd, NULL, e)) == ERR_OK && (rc = call_prepare(c, &k, e)) == ERR_OK &&
	    (rc = talk_open(c, TALK_PRIVATE, &t, e)) == ERR_OK)
		rc = model_open(c, t, fd, call_threads(k), memory, &a, e);
	if (fd >= 0)
		close(fd);
	if (rc == ERR_OK)
		rc = run_opened(c, t, k, &a, e);
	talk_answer_clear(&a);
	talk_close(t);
	call_free(k);
	return rc;
}

const struct ctl_command cmd_run = {
	.name = "run",
	.args = "MODEL [--input NAME=FILE.npy]... [--output-dir DIR]",
	.help = "run a model file behind the wall, unsigned files included",
	.min_args = 1,
	.max_args = 1,
	.kind = CTL_FILE,
	.opts = opts,
	.run = run_run,
};
