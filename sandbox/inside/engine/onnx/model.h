/* SPDX-License-Identifier: Apache-2.0
 *
 * An ONNX model as tables: graphs, nodes, attributes, tensors and values. Names are resolved once
 * into value numbers; numbers from the file were checked when they were read; payloads stay in the
 * file and are referred to by offset.
 *
 * Side: inside. Trusts: nothing in the file. Owns: the tables, which lie in the model's arena and are
 * read-only once the model is open.
 */
#ifndef FUMEHOOD_ONNX_MODEL_H
#define FUMEHOOD_ONNX_MODEL_H

#include "sandbox/inside/engine/engine.h"

#include <stdbool.h>

#define ONNX_NONE UINT32_MAX
#define ONNX_OPSET_MIN 7   /* below it Add and its kin broadcast by attributes */
#define ONNX_OPSET_MAX 25
#define ONNX_IR_MAX 14
#define ONNX_FACTS_MAX 512 /* facts kept; further ones are counted */

struct op;
struct wire_field;

/* Bytes in the file; not NUL ended. */
struct onnx_str {
	const uint8_t *p;
	size_t len;
};

/* A checked TensorProto: the payload is exactly what type and extents ask for. */
struct onnx_tensor {
	struct onnx_str name;
	size_t off, end;          /* of its message */
	int dtype;
	int rank;
	int64_t dims[LIMIT_RANK];
	uint64_t n_elems, n_bytes;
	uint32_t field;           /* TensorProto field of the payload: 9 raw, 4, 5, 7, 10, 11; 0: empty */
	size_t raw_off;           /* of raw bytes */
};

/* AttributeProto.AttributeType. */
enum { AT_NONE, AT_FLOAT, AT_INT, AT_STRING, AT_TENSOR, AT_GRAPH, AT_FLOATS, AT_INTS, AT_STRINGS };

struct onnx_attr {
	struct onnx_str name;
	size_t off;
	int type;
	int64_t i;
	float f;
	struct onnx_str s;
	size_t n;                 /* elements of a list */
	int64_t *ints;
	float *floats;
	struct onnx_str *strings;
	struct onnx_tensor *tensor;
	struct onnx_graph *graph;
};

struct onnx_node {
	const struct op *op;      /* NULL: we do not have it */
	size_t off, end;
	struct onnx_str name, op_type, domain;
	struct onnx_graph *graph;
	uint32_t n_in, n_out, n_attrs;
	uint32_t *in, *out;       /* value numbers, ONNX_NONE when left out */
	struct onnx_attr *attrs;
};

enum { V_INPUT, V_INIT, V_NODE };

struct onnx_value {
	struct onnx_str name;
	size_t off;
	struct onnx_graph *graph;
	struct onnx_node *node;    /* producer of a V_NODE */
	struct onnx_tensor *init;  /* of a V_INIT, or the default of a V_INPUT */
	uint8_t kind;
	bool planned;              /* its value decides shapes or branches: needed when planning */
	uint32_t n_uses;
};

struct onnx_graph {
	struct onnx_graph *next;   /* in the order in which they were found */
	struct onnx_graph *parent; /* whose node holds this graph; NULL for the main graph */
	uint32_t id, depth;
	size_t off, end;
	struct onnx_str name;
	uint32_t n_nodes, n_inits, n_inputs, n_outputs;
	uint32_t first_value, n_first; /* values of its inputs and initializers */
	struct onnx_node *nodes;
	struct onnx_tensor *inits;
	uint32_t *inputs, *outputs; /* value numbers */
};

struct onnx_domain {
	struct onnx_str name;
	int64_t version;
	bool used;
};

struct onnx_pair {
	struct onnx_str key, value;
};

struct onnx_model {
	struct arena *arena;
	const uint8_t *file;
	size_t n_bytes;
	int64_t ir_version, opset; /* of the standard domain */
	struct onnx_str producer, producer_version;
	struct onnx_domain *domains;
	struct onnx_pair *metadata;
	uint32_t n_domains, n_metadata;
	struct onnx_graph *main, *last;
	uint32_t n_graphs, max_depth;
	uint64_t n_nodes, n_inits, n_values, n_refs;
	struct onnx_value *values;
	struct engine_port *inputs, *outputs; /* ports of the main graph */
	uint32_t n_inputs, n_outputs;
	uint32_t n_unknown;        /* protobuf fields skipped */
	bool dynamic;              /* some input extent is not in the file */
	bool keyed;                /* some input's value decides shapes or branches */
	struct engine_fact *facts;
	size_t n_facts, n_facts_lost;
	uint32_t *op_count;        /* nodes per row of the operator table */
	struct err verdict;        /* code 0, or why the model cannot run here */
};

/* Reads, checks and resolves. What is well formed but not implemented lands in m->verdict, so that an
 * inspection can go on and list all of it; what is malformed is returned. */
MUST_CHECK int onnx_load(struct arena *a, const uint8_t *file, size_t n, struct onnx_model **out,
                         struct err *e);

/* True when the bytes look like an ONNX file (a ModelProto: first fields are known ones). */
bool onnx_probe(const uint8_t *file, size_t n);

/* Copies a tensor's payload, little-endian elements, to dst (n_bytes, aligned). */
void onnx_tensor_read(const struct onnx_model *m, const struct onnx_tensor *t, void *dst);

bool onnx_str_is(struct onnx_str s, const char *text);

/* Adds a fact; text is a format over escaped parts. */
void onnx_fact(struct onnx_model *m, const char *group, const char *code, int severity, uint64_t offset,
               const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Keeps the first reason why a well-formed model cannot run, and a fact of severity 2. */
void onnx_unsupported(struct onnx_model *m, int code, const char *fact, uint64_t offset,
                      const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#define ONNX_TEXT_BYTES 120
struct onnx_text { char s[ONNX_TEXT_BYTES]; };
/* A name, escaped and cut for a message. */
struct onnx_text onnx_show(struct onnx_str s);

/* --- between the loader's files ---------------------------------------------------------------- */

int onnx_read_graphs(struct onnx_model *m, size_t off, size_t end, struct err *e);
int onnx_read_tensor(struct onnx_model *m, size_t off, size_t end, struct onnx_tensor *t,
                     struct err *e);
int onnx_resolve(struct onnx_model *m, struct err *e);
int onnx_read_port(struct onnx_model *m, size_t off, size_t end, bool is_main_input,
                   struct engine_port *p, struct err *e);
void onnx_mark_planned(struct onnx_model *m);
void onnx_report(struct onnx_model *m);

/* One field a message knows. type: wire type; on may be NULL (skipped on purpose). */
struct onnx_rule {
	uint32_t num;
	uint8_t type;
	bool once;     /* a second one is an error */
	bool packed;   /* a number that may also come as packed bytes */
	const char *name;
	int (*on)(struct onnx_model *m, void *ctx, const struct wire_field *f, struct err *e);
};
int onnx_walk(struct onnx_model *m, size_t off, size_t end, const struct onnx_rule *rules, size_t n,
              void *ctx, struct err *e);
#define ONNX_WALK(m, off, end, rules, ctx, e) \
	onnx_walk(m, off, end, rules, sizeof(rules) / sizeof((rules)[0]), ctx, e)

/* Reads a name field: bounded by LIMIT_ONNX_NAME_BYTES. */
int onnx_name(struct onnx_model *m, struct onnx_str *dst, const struct wire_field *f, struct err *e);

int onnx_no_room(struct onnx_model *m, const char *what, struct err *e);

#endif
