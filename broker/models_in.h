/* SPDX-License-Identifier: Apache-2.0
 *
 * What models.c (the store and its list) and models_job.c (copying in pieces) share.
 *
 * Side: broker. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_BROKER_MODELS_IN_H
#define FUMEHOOD_BROKER_MODELS_IN_H

#include "broker/models.h"

#define MODELS_STORE_NOTE "model.note"

struct models {
	struct loop *loop;
	int proc_fd, files_fd, notes_fd, tmp_fd;
	const struct trust *trust;
	struct trust_state *state;
	struct model *first;
	uint64_t n_tmp;                /* names of temporary files */
	struct models_job *jobs;
};

struct model *model_alloc(void);
/* The file of a note that a worker gets. Errors: ERR_UNSUPPORTED. */
MUST_CHECK int model_main_file(const struct model_note *n, size_t *out, struct err *e);
/* A model that owns the note (taken only on success). */
MUST_CHECK int model_from_note(struct model_note *note, struct model **out, struct err *e);
/* Opens a folder, made if absent. */
MUST_CHECK int models_dir_open(int at, const char *name, int *fd, struct err *e);
/* The list takes over a reference; the model with a digest leaves it. */
void models_list_insert(struct models *ms, struct model *m);
void models_list_remove(struct models *ms, const uint8_t digest[HASH_BYTES]);

#endif
