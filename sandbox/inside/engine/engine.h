/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine as the worker sees it: a model (read-only, from hostile bytes) and a session (one
 * timeline of state and one plan of memory). Two formats stand behind it (onnx/, gguf/); the caller
 * never sees which.
 *
 * Side: inside. Trusts: nothing in the model's bytes, nothing in tensors. Owns: only memory that it
 * is given. After model_open starts, no function here makes a system call or allocates: memory comes
 * from an arena, threads from a pool that was started before the wall.
 *
 * Errors: negative codes of proto/err.h with one line of text; texts from the file are escaped.
 */
#ifndef FUMEHOOD_ENGINE_H
#define FUMEHOOD_ENGINE_H

#include "proto/err.h"
#include "proto/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;  /* sandbox/inside/engine/kernels/pool.h */

/* A bump allocator over given memory. Never frees; a mark can be kept and gone back to. */
struct arena {
	uint8_t *base;
	size_t cap_bytes;
	size_t used_bytes;
	size_t peak_bytes;
};

void arena_init(struct arena *a, void *base, size_t cap_bytes);
/* n bytes aligned to 64, not zeroed (zeroed: arena_zalloc); NULL when they do not fit. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* As arena_alloc for n elements of size bytes; NULL also when the product overflows. */
void *arena_array(struct arena *a, size_t n, size_t size);

/* Element types, numbered as ONNX TensorProto.DataType numbers them: that numbering is also the
 * one of the wire (proto/fumehood.proto, enum DataType). */
enum dtype {
	DT_NONE = 0, DT_F32 = 1, DT_U8 = 2, DT_I8 = 3, DT_U16 = 4, DT_I16 = 5, DT_I32 = 6, DT_I64 = 7,
	DT_STRING = 8, DT_BOOL = 9, DT_F16 = 10, DT_F64 = 11, DT_U32 = 12, DT_U64 = 13, DT_BF16 = 16,
	DT__MAX = 17
};

/* Bytes of one element; 0 for types without a fixed size or unknown numbers. */
size_t dtype_bytes(int dt);
const char *dtype_name(int dt); /* "float32", "int64", ...; "unknown" */

/* One tensor of a request or answer. Names are bytes, not identifiers. */
struct engine_tensor {
	const char *name;
	size_t name_len;
	int dtype;
	int rank;
	int64_t dims[LIMIT_RANK];
	void *data; /* row-major; read in place during the call when aligned to its element */
	size_t bytes;
};

/* One declared input or output. dims[i] < 0: dynamic, its symbol in dim_name[i] (may be NULL).
 * rank < 0: the file does not say. */
struct engine_port {
	const char *name;
	size_t name_len;
	int dtype;
	int rank;
	int64_t dims[LIMIT_RANK];
	const char *dim_name[LIMIT_RANK];
	size_t dim_name_len[LIMIT_RANK];
	bool optional; /* an input with an initialiser: may be missing */
};

/* Bytes the engine asks for, by region; what the worker sends as NEEDS. A region may be asked for
 * with a least and a wished size: models with dynamic axes cannot know the latter. */
struct engine_needs {
	uint64_t graph_bytes;       /* tables built from the file */
	uint64_t weights_bytes;     /* packed weights */
	uint64_t plan_min_bytes;    /* activations and compiled plan for the declared (or default) shapes */
	uint64_t scratch_bytes;     /* per-thread scratch, BLAS slots */
	uint64_t macs;              /* multiply-adds of a call at those shapes; 0 if unknown */
};

struct engine_model;
struct engine_session;

/* Parses and checks a whole model file (format found by content). Everything it builds lies in
 * `a`. bytes: the sealed file, mapped read-only, valid as long as the model.
 * Errors: ERR_MODEL, ERR_UNSUPPORTED, ERR_LIMIT (arena too small: both numbers). */
MUST_CHECK int engine_model_open(struct arena *a, const uint8_t *bytes, size_t n_bytes,
                                 struct engine_model **out, struct err *e);

/* What a session of this model will need with this many threads. */
MUST_CHECK int engine_model_needs(const struct engine_model *m, unsigned n_threads,
                                  struct engine_needs *out, struct err *e);

const char *engine_model_format(const struct engine_model *m); /* "onnx", "gguf" */
size_t engine_model_inputs(const struct engine_model *m, const struct engine_port **out);
size_t engine_model_outputs(const struct engine_model *m, const struct engine_port **out);

/* One fact of an inspection report (reference hostile-models.md, section 8). */
struct engine_fact {
	const char *group;   /* "what", "asks", "carries", "odd" */
	const char *code;    /* stable, e.g. "unused-domain" */
	int severity;        /* 0 fine, 1 odd, 2 refused */
	uint64_t offset;     /* in the file; 0 when it has none */
	char text[200];      /* escaped */
};
/* Facts found while opening; valid as long as the model. */
size_t engine_model_facts(const struct engine_model *m, const struct engine_fact **out);

/* One pair of the file's own metadata: raw bytes, unescaped (PP-OCR keeps its character list there). */
struct engine_meta {
	const char *key;
	size_t key_len;
	const char *value;
	size_t value_len;
};
size_t engine_model_metadata_count(const struct engine_model *m);
/* i < count. */
void engine_model_metadata(const struct engine_model *m, size_t i, struct engine_meta *out);

/* As engine_model_open for an inspection: a model that is well formed but cannot run here is opened too
 * (its facts list everything that is missing) and *verdict says why; verdict->code is 0 when it runs. */
MUST_CHECK int engine_model_inspect(struct arena *a, const uint8_t *bytes, size_t n_bytes,
                                    struct engine_model **out, struct err *verdict, struct err *e);

/* Lays a session out in `a` (what is left of it is the plan's region), packs weights, decides
 * everything that the file alone decides. level: one of kernels.h, or -1 for the best one. */
MUST_CHECK int engine_session_open(struct arena *a, const struct engine_model *m, struct pool *pool,
                                   int level, struct engine_session **out, struct err *e);

/* Runs one call. inputs: n_in tensors, in any order, matched by name. On success *outputs points at
 * one tensor per declared output, in declared order, whose data lies in the session's arena and is
 * valid until the next call. A call with other shapes than the last one plans anew, within the
 * session's arena. Same inputs, same bits.
 * Errors: ERR_INPUT (names, shapes, types; nothing was computed), ERR_LIMIT (the plan does not fit:
 * both numbers), ERR_MODEL (an index operand out of range while running). */
MUST_CHECK int engine_session_run(struct engine_session *s, const struct engine_tensor *inputs,
                                  size_t n_in, const struct engine_tensor **outputs, size_t *n_out,
                                  struct err *e);

/* Zeroes every byte of the session's arena that a call may have written (not weights). */
void engine_session_scrub(struct engine_session *s);

/* "AVX512", "AVX2", ... and the OpenBLAS core ("none" when none is used). */
const char *engine_session_level(const struct engine_session *s);
const char *engine_session_blas_core(const struct engine_session *s);

#endif
