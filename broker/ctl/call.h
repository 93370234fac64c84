/* SPDX-License-Identifier: Apache-2.0
 *
 * What run and infer share: one call with tensors from files, and its answer shown or written.
 * Side: cli. Trusts: nothing in an answer. Owns: nothing.
 */
#ifndef FUMEHOOD_CTL_CALL_H
#define FUMEHOOD_CTL_CALL_H

#include "broker/ctl/talk.h"

#define CALL_OPTS \
	{ "input", 'i', "NAME=FILE", CTL_FILE, true, "an input tensor from a .npy file (split at the last '=')" }, \
	{ "output-dir", 'o', "DIR", CTL_DIR, false, "write each output to DIR/NAME.npy instead of a summary" }, \
	{ "threads", 't', "N", CTL_WORD, false, "threads of the worker" }, \
	{ "deadline-ms", 0, "N", CTL_WORD, false, "end the call after this time" }, \
	{ "purpose", 0, "TEXT", CTL_WORD, false, "given to policy as context.purpose" }, \
	{ "receipt", 0, "FILE", CTL_FILE, false, "keep the receipt: FILE (tlog-proof), FILE.entry, FILE.salt" }

/* Who is asked: a handle of MODEL_OPENED or an admitted model's name. */
struct call_target {
	uint64_t handle;
	const char *model; /* NULL: the handle */
	const Fumehood__ModelOpened *opened; /* NULL: unknown */
};

/* A call, ready to be made: everything that can be wrong on this side is found before a broker is asked or
 * started. Reads --input and the numbers, makes --output-dir. Freed with call_free.
 * Errors: of tensors_read, ERR_USAGE. */
struct call;
MUST_CHECK int call_prepare(const struct ctl *c, struct call **out, struct err *e);
void call_free(struct call *k);
uint32_t call_threads(const struct call *k); /* 0: the broker's default */

/* Asks, prints or writes. Errors: of talk_request and of the files written. */
MUST_CHECK int call_make(struct ctl *c, struct talk *t, struct call *k, const struct call_target *target,
                         struct err *e);

/* Prints what a model takes and gives, and what to type. command: "run FILE" as the user typed it. */
MUST_CHECK int model_usage_print(struct ctl *c, const struct talk_answer *a, const char *command, const char *model,
                                 struct err *e);

/* JSON of a description (inputs, outputs, facts, needs). */
json_t *model_info_json(const Fumehood__ModelInfo *m);
/* Adds digest, size, signers, walls, receipt of MODEL_OPENED to o. */
void model_opened_json(json_t *o, const Fumehood__ModelOpened *m);
const char *hex_text(ProtobufCBinaryData d); /* rotating buffers of ctl_text */

#endif
