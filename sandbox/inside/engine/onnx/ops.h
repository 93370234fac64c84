/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of operators: one row per operator and range of operator sets. A row says what a node may
 * look like (checked when the model is loaded), how shapes follow (infer, when planning) and how it
 * computes (run). Rows live beside their functions, in ops_*.c, one file per family; ops.c joins them.
 *
 * Adding an operator: its row in a family's table, a good and a bad model in tests/models/make_onnx.py.
 *
 * Side: inside. Trusts: what the loader checked. Owns: the table (constant).
 */
#ifndef FUMEHOOD_ONNX_OPS_H
#define FUMEHOOD_ONNX_OPS_H

#include "sandbox/inside/engine/onnx/model.h"

struct plan;
struct step;
struct run;

/* An attribute a row knows, with its type; unknown ones are refused by name. */
struct op_attr {
	const char *name;
	int type;
};

/* Values of a node's inputs that decide shapes: bit i of value_in. */
#define VALUE(i) (1u << (i))

enum op_flags {
	OP_VIEW = 1,       /* output 0 is input 0 under another shape: no copy */
	OP_SHAPE_ONLY = 2, /* the output follows from shapes alone (Shape, Size) */
	OP_IF = 4,         /* picked by the planner, never run */
};

struct op {
	const char *name;
	uint8_t since, until;                   /* operator sets this row implements */
	int8_t min_in, max_in, min_out, max_out; /* -1: any number */
	uint32_t value_in;
	const struct op_attr *attrs;            /* ends with a NULL name; NULL: none */
	int (*infer)(struct plan *p, struct step *s);
	int (*run)(struct run *r, const struct step *s);
	uint32_t flags;
	uint32_t in_types, out_types;           /* bit per DT_*: of input 0 (for messages of support) */
};

/* A family's table. */
struct op_family {
	const struct op *ops;
	size_t n;
};

extern const struct op_family ops_shape, ops_move, ops_unary, ops_binary, ops_reduce, ops_matmul, ops_conv,
	ops_pool, ops_norm, ops_rnn, ops_resize, ops_quant;

size_t op_table_rows(void);
const struct op *op_row(size_t i);
size_t op_index(const struct op *o);

/* The row of a name in an operator set; NULL when there is none. *known: the name exists in some set. */
const struct op *op_find(struct onnx_str name, int64_t opset, bool *known);

/* Checks a node against its row: number of inputs and outputs, attributes and their types. What is not
 * implemented goes to m->verdict. */
MUST_CHECK int op_check_node(struct onnx_model *m, struct onnx_node *n, struct err *e);

/* Attributes of a node, by name. */
const struct onnx_attr *op_attr(const struct onnx_node *n, const char *name);
int64_t op_attr_int(const struct onnx_node *n, const char *name, int64_t dflt);
float op_attr_float(const struct onnx_node *n, const char *name, float dflt);
bool op_attr_str(const struct onnx_node *n, const char *name, const char *is, bool dflt);

#define T1(a) (1u << (a))
#define T_FLOAT T1(DT_F32)
#define T_INTS (T1(DT_I64) | T1(DT_I32))
#define T_NUM (T_FLOAT | T_INTS)
#define T_ANY 0xffffffffu

#endif
