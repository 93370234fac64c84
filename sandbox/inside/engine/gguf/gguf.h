/* SPDX-License-Identifier: Apache-2.0
 *
 * A GGUF file as tables: pairs, tensors, the architecture's numbers, facts. Every count, offset, length,
 * type and alignment was checked once, when it was read; values and weights stay in the file.
 *
 * Side: inside. Trusts: nothing in the file. Owns: the tables, which lie in the model's arena and are
 * read-only once the model is open.
 *
 * Sources: the GGUF description of the ggml project (versions 2 and 3); reference hostile-models.md,
 * sections 2, 6, 7.
 */
#ifndef FUMEHOOD_GGUF_H
#define FUMEHOOD_GGUF_H

#include "sandbox/inside/engine/engine.h"

#define GGUF_RANK 4
#define GGUF_FACTS_MAX 512   /* facts kept; further ones are counted */
#define GGUF_TEXT_BYTES 120

/* Bytes in the file; not NUL ended. */
struct gguf_str {
	const uint8_t *p;
	size_t len;
};

/* --- types of tensors ---------------------------------------------------------------------------- */

/* Numbers of the format. Rows that no reader here knows have no name in this list. */
enum gguf_type {
	GT_F32 = 0, GT_F16 = 1, GT_Q4_0 = 2, GT_Q4_1 = 3, GT_Q5_0 = 6, GT_Q5_1 = 7, GT_Q8_0 = 8,
	GT_Q2_K = 10, GT_Q3_K = 11, GT_Q4_K = 12, GT_Q5_K = 13, GT_Q6_K = 14,
	GT_IQ4_NL = 20, GT_IQ4_XS = 23, GT_BF16 = 30, GT_MXFP4 = 39,
	GT__MAX = 64
};

struct gguf_type_row {
	const char *name;          /* NULL: this number is in no version of the format */
	uint32_t block_elems;      /* 0: taken out of the format again */
	uint32_t block_bytes;
	bool runs;                 /* false: well formed, and not computed with here */
};

/* The row of a type number; a row without a name for unknown ones. */
const struct gguf_type_row *gguf_type(uint64_t number);

/* --- pairs --------------------------------------------------------------------------------------- */

enum gguf_value {
	GV_U8, GV_I8, GV_U16, GV_I16, GV_U32, GV_I32, GV_F32, GV_BOOL, GV_STRING, GV_ARRAY, GV_U64, GV_I64,
	GV_F64, GV__MAX
};
const char *gguf_value_name(int v);

struct gguf_pair {
	struct gguf_str key;       /* first: tables of names look here */
	uint64_t off;              /* of the pair */
	int type;                  /* enum gguf_value */
	int elem;                  /* of an array; else type */
	uint64_t n;                /* elements of an array; else 1 */
	const uint8_t *data;       /* the value, the first element, or a string's length field */
	uint64_t bytes;            /* from data on */
};

struct gguf_tensor {
	struct gguf_str name;      /* first */
	uint64_t off;              /* of the record */
	uint32_t type, rank;
	uint64_t ne[GGUF_RANK];    /* 1 behind the rank */
	uint64_t n_elems, n_bytes;
	uint64_t data_off;         /* in the file */
	const uint8_t *data;       /* NULL in a file that ends before its data */
	bool known;                /* the architecture knows it */
};

/* --- tables of names ------------------------------------------------------------------------------ */

/* Finds rows whose first member is a gguf_str. Open addressing; a crowded table is refused, so that
 * chosen names cannot make it slow. */
struct strmap {
	uint64_t *slots;           /* hash << 32 | row + 1 */
	uint32_t mask;
	const uint8_t *rows;
	size_t stride;
};
enum { STRMAP_ADDED, STRMAP_TWICE, STRMAP_CROWDED };
#define STRMAP_NONE UINT32_MAX

bool strmap_init(struct strmap *m, struct arena *a, const void *rows, size_t stride, size_t n_max);
/* Adds row i. STRMAP_TWICE: *first is the row that has this name already. */
int strmap_add(struct strmap *m, uint32_t i, uint32_t *first);
uint32_t strmap_find(const struct strmap *m, struct gguf_str name);
/* A hash that grows byte by byte, for readers that look for the longest name: start, step.., find. */
#define STRMAP_START 0xcbf29ce484222325u
static inline uint64_t strmap_step(uint64_t h, uint8_t b) { return (h ^ b) * 0x100000001b3u; }
uint32_t strmap_find_hashed(const struct strmap *m, struct gguf_str name, uint64_t h);

/* --- the architecture ------------------------------------------------------------------------------- */

enum gguf_arch { ARCH_NONE, ARCH_LLAMA, ARCH_GEMMA3, ARCH_BERT };

/* Numbers of the architecture, compared with each other and with the shapes. Zero where it has none. */
struct gguf_shape {
	int arch;
	uint64_t n_layers, width, n_ff, n_ctx, n_heads, n_kv, key_len, value_len, rope_dims, window, n_vocab;
	float eps, rope_base;
	bool tied;                 /* no tensor of its own for the output */
};

struct tokenizer;

/* --- the model -------------------------------------------------------------------------------------- */

struct gguf_model {
	struct arena *arena;
	const uint8_t *file;
	uint64_t n_bytes, version, alignment, data_off;
	struct gguf_pair *pairs;
	uint64_t n_pairs;
	struct strmap keys;
	struct gguf_tensor *tensors;
	uint64_t n_tensors;
	struct strmap names;
	bool no_data;              /* the file ends before its tensors' data */
	struct gguf_str arch_name;
	struct gguf_shape shape;
	uint64_t n_tokens;
	struct tokenizer *tokenizer; /* NULL when there is no vocabulary, or one that is not read here */
	struct engine_fact *facts;
	size_t n_facts, n_facts_lost;
	struct engine_meta *metadata;
	size_t n_metadata;
	struct err verdict;        /* code 0, or why the model cannot run here */
};

/* True when the bytes begin as a GGUF file does, in either byte order. */
bool gguf_probe(const uint8_t *file, size_t n);

/* Reads and checks. What is well formed but not implemented lands in m->verdict; what is malformed is
 * returned (ERR_MODEL; ERR_LIMIT; ERR_UNSUPPORTED for versions and the other byte order). */
MUST_CHECK int gguf_load(struct arena *a, const uint8_t *file, size_t n, struct gguf_model **out, struct err *e);

/* The pair of this key, or NULL. */
const struct gguf_pair *gguf_find(const struct gguf_model *m, const char *key);
/* A string value's text. */
struct gguf_str gguf_text(const struct gguf_pair *p);
/* An integer value of any integer type; false when it is no integer or negative. */
bool gguf_uint(const struct gguf_pair *p, uint64_t *out);
/* Optional scalars: ERR_OK and *found as it is; ERR_MODEL when the pair has another type. */
MUST_CHECK int gguf_get_uint(const struct gguf_model *m, const char *key, uint64_t max, bool *found, uint64_t *out,
                             struct err *e);
MUST_CHECK int gguf_get_bool(const struct gguf_model *m, const char *key, bool *found, bool *out, struct err *e);
MUST_CHECK int gguf_get_f32(const struct gguf_model *m, const char *key, bool *found, float *out, struct err *e);
MUST_CHECK int gguf_get_str(const struct gguf_model *m, const char *key, bool *found, struct gguf_str *out,
                            struct err *e);
/* An array of this element type; p is NULL when the key is missing. */
MUST_CHECK int gguf_get_array(const struct gguf_model *m, const char *key, int elem, const struct gguf_pair **p,
                              struct err *e);
/* Walks an array of strings: *at starts as p->data; returns the next string. */
struct gguf_str gguf_next_string(const uint8_t **at);

bool gguf_str_is(struct gguf_str s, const char *text);
struct gguf_text { char s[GGUF_TEXT_BYTES]; };
/* A text of the file, escaped and cut for a message. */
struct gguf_text gguf_show(struct gguf_str s);

/* --- between the loader's files ------------------------------------------------------------------ */

int gguf_read_tensors(struct gguf_model *m, uint64_t pos, struct err *e);
/* Compares metadata, vocabulary and shapes with each other. */
int gguf_check(struct gguf_model *m, struct err *e);
int gguf_check_vocab(struct gguf_model *m, struct err *e);
void gguf_report(struct gguf_model *m);
void gguf_fact(struct gguf_model *m, const char *group, const char *code, int severity, uint64_t offset,
               const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Keeps the first reason why a well-formed model cannot run, and a fact of severity 2. */
void gguf_unsupported(struct gguf_model *m, int code, const char *fact, uint64_t offset, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
int gguf_no_room(struct gguf_model *m, const char *what, struct err *e);
/* Text whose bytes a person should know of: control, direction marks, no UTF-8. */
bool gguf_text_is_odd(struct gguf_str s);

#endif
