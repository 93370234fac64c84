/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood admit: brings a signed model into the broker's store. The note goes as text, the files as
 * descriptors; the broker hashes while it copies.
 * Side: cli. Trusts: nothing. Owns: the descriptors.
 */
#include "broker/ctl/notes.h"
#include "broker/ctl/talk.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static int admitted_print(const struct ctl *c, const struct talk_answer *a, struct err *e)
{
	const Fumehood__Admitted *m = (const Fumehood__Admitted *)(const void *)a->head;
	struct model_vouch v = { .n_signers = 0 };
	for (size_t i = 0; i < m->n_signers && i < LIMIT_NOTE_SIGNATURES; i++, v.n_signers++)
		snprintf(v.signers[i], sizeof v.signers[i], "%s", m->signers[i]);
	if (c->json)
		return ctl_json_print(json_pack("{s:o, s:I, s:o, s:o, s:o}", "name", ctl_json_text(m->name, strlen(m->name)),
		                                "version", (json_int_t)m->version, "model_digest",
		                                ctl_json_hex(m->model_digest.data, m->model_digest.len), "signers",
		                                signers_json(&v), "receipt", receipt_json(m->receipt)), e);
	printf("admitted  %s version %" PRIu64 ", signed by %s\n", ctl_str(m->name), m->version, signers_text(&v));
	ctl_say(c, "logged    entry %" PRIu64 ", receipt checked", a->receipt_index);
	return ERR_OK;
}

static int files_open(const struct ctl *c, const struct model_note *m, int *fds, unsigned *n, struct err *e)
{
	char path[PATH_MAX];
	uint64_t bytes;
	int rc = ERR_OK;
	for (*n = 0; rc == ERR_OK && *n < m->n_files; *n += rc == ERR_OK) {
		rc = model_file_open(c, m, *n, &fds[*n], &bytes, path, e);
		if (rc == ERR_OK && bytes != m->files[*n].bytes) {
			close(fds[*n]);
			rc = err_set(e, ERR_DIGEST, "%s: %" PRIu64 " bytes, the note says %" PRIu64, ctl_str(path), bytes,
			             m->files[*n].bytes);
		}
	}
	return rc;
}

static int admit_run(struct ctl *c, struct err *e)
{
	struct model_note *m = NULL;
	struct talk *t = NULL;
	struct talk_answer a = { .head = NULL };
	Fumehood__Admit head;
	int fds[LIMIT_MODEL_FILES];
	unsigned n = 0;
	int rc = model_note_read(c->pos[0], &m, e);
	if (rc == ERR_OK && (rc = files_open(c, m, fds, &n, e)) == ERR_OK && (rc = talk_open(c, TALK_PRIVATE, &t, e)) == ERR_OK) {
		fumehood__admit__init(&head);
		head.n_files = n;
		const struct iovec tail = { m->text, m->text_len };
		const struct talk_ask ask = { .kind = MSG_ADMIT, .want = MSG_ADMITTED, .head = &head.base, .tail = &tail,
			                          .n_tail = 1, .fds = fds, .n_fds = n, .waiting = "copying into the store" };
		rc = talk_request(t, c, &ask, &a, e);
	}
	if (rc == ERR_OK)
		rc = admitted_print(c, &a, e);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	talk_answer_clear(&a);
	talk_close(t);
	model_note_free(m);
	return rc;
}

const struct ctl_command cmd_admit = {
	.name = "admit",
	.args = "MODEL.note [FILE...]",
	.help = "bring a signed model into the store",
	.min_args = 1,
	.max_args = -1,
	.kind = CTL_FILE,
	.run = admit_run,
};
