/* SPDX-License-Identifier: Apache-2.0
 *
 * A parsed policy: its scopes as data, its conditions as code for a small stack machine. The code
 * is the tree in post order plus jumps where evaluation stops early, so one array serves the
 * evaluator (a loop), the printer and a later type checker; none of them recurses.
 *
 * Side: broker, cli. Trusts: nothing. Owns: the list of operations.
 *
 * To add an operation: a row here, its emission in expr.c, its handler in eval.c (the table there
 * is made from these rows, so a missing handler does not link) and its form in print.c.
 */
#ifndef FUMEHOOD_POLICY_CODE_H
#define FUMEHOOD_POLICY_CODE_H

#include "policy/intern.h"
#include "policy/value.h"

/*        symbol            pops  pushes   a / u: meaning */
#define OP_TABLE(X)                                                                          \
	X(OP_BOOL,          0, 1) /* i */                                                        \
	X(OP_LONG,          0, 1) /* i */                                                        \
	X(OP_STRING,        0, 1) /* str */                                                      \
	X(OP_ENTITY,        0, 1) /* uid */                                                      \
	X(OP_VAR,           0, 1) /* a: enum var */                                              \
	X(OP_BEGIN,         0, 0) /* a set, record or constructor starts that is not constant */ \
	X(OP_CONST,         0, 0) /* constant: the same, ready made; skips the code for it */    \
	X(OP_SET,           0, 1) /* n elements (popped) */                                      \
	X(OP_RECORD,        0, 1) /* keys, as many values (popped) */                            \
	X(OP_CALL,          0, 1) /* a: function, b: arguments (popped) */                       \
	X(OP_NOT,           1, 1)                                                                \
	X(OP_NEG,           1, 1)                                                                \
	X(OP_EQ,            2, 1)                                                                \
	X(OP_NE,            2, 1)                                                                \
	X(OP_LT,            2, 1)                                                                \
	X(OP_LE,            2, 1)                                                                \
	X(OP_GT,            2, 1)                                                                \
	X(OP_GE,            2, 1)                                                                \
	X(OP_IN,            2, 1)                                                                \
	X(OP_ADD,           2, 1)                                                                \
	X(OP_SUB,           2, 1)                                                                \
	X(OP_MUL,           2, 1)                                                                \
	X(OP_AND_LEFT,      1, 0) /* n: jump when the left side is false */                      \
	X(OP_AND,           1, 1)                                                                \
	X(OP_OR_LEFT,       1, 0) /* n: jump when it is true */                                  \
	X(OP_OR,            1, 1)                                                                \
	X(OP_IF,            1, 0) /* n: jump to the else branch */                               \
	X(OP_THEN,          1, 0) /* n: jump over the else branch */                             \
	X(OP_ELSE,          1, 1) /* end of the else branch */                                   \
	X(OP_GET,           1, 1) /* str */                                                      \
	X(OP_HAS,           1, 1) /* path */                                                     \
	X(OP_LIKE,          1, 1) /* pattern */                                                  \
	X(OP_IS,            1, 1) /* type */                                                     \
	X(OP_IS_LEFT,       1, 1) /* type; pushes false and jumps over `in` when it is another */ \
	X(OP_IS_IN,         2, 1) /* the type stands in its OP_IS_LEFT, behind the left operand */ \
	X(OP_CONTAINS,      2, 1)                                                                \
	X(OP_CONTAINS_ALL,  2, 1)                                                                \
	X(OP_CONTAINS_ANY,  2, 1)                                                                \
	X(OP_IS_EMPTY,      1, 1)                                                                \
	X(OP_HAS_TAG,       2, 1)                                                                \
	X(OP_GET_TAG,       2, 1)

enum op_code {
#define OP_ENUM(sym, pops, pushes) sym,
	OP_TABLE(OP_ENUM)
#undef OP_ENUM
	OP__MAX
};

enum var { VAR_PRINCIPAL, VAR_ACTION, VAR_RESOURCE, VAR_CONTEXT, VAR__MAX };
extern const char *const var_names[VAR__MAX];

struct keys {
	uint32_t n;
	struct str name[]; /* in source order */
};
struct pattern {
	uint32_t n;
	const uint16_t *p; /* bytes and LEX_WILDCARD */
};
struct type_ref {
	struct str name;
	uint64_t hash;  /* equals uid.type_hash of its entities */
	uint32_t skip;  /* OP_IS_LEFT: operations to jump over */
};
struct constant {
	struct val v;
	uint32_t skip; /* operations from here to the one after the value's code */
};

struct op {
	uint8_t code;
	uint8_t a;
	uint16_t b;
	uint32_t at; /* byte offset in the policy text */
	union {
		int64_t i;
		uint64_t n;
		const struct str *str;
		const struct uid *uid;
		const struct keys *keys; /* OP_RECORD; OP_HAS: the path */
		const struct pattern *pattern;
		const struct type_ref *type;
		const struct constant *constant;
	};
};
_Static_assert(sizeof(struct op) == 16, "four operations per cache line");

enum scope_kind {
	SCOPE_ANY,
	SCOPE_EQ,
	SCOPE_IN,
	SCOPE_IS,
	SCOPE_IS_IN,
	SCOPE_IN_SET, /* actions only */
};

struct scope {
	uint8_t kind;
	bool slot; /* the entity is ?principal or ?resource: a template */
	uint32_t n_set;
	const struct type_ref *type;
	const struct uid *uid;
	const struct uid *const *set;
};

struct annotation {
	struct str key;
	const char *value; /* NULL: written without one */
	uint32_t value_len;
};

struct clause {
	uint32_t first, n; /* operations */
	uint32_t at;
	bool unless;
};

/* A text that was loaded: kept, because errors at run time name lines. */
struct source {
	const char *name;
	const char *text;
	size_t len;
};

struct policy {
	const char *id;
	struct scope scope[3]; /* principal, action, resource */
	const struct op *code;
	const struct clause *clauses;
	const struct annotation *annotations;
	const struct source *source;
	uint32_t n_ops, n_clauses, n_annotations;
	uint32_t at;        /* byte offset of `permit` or `forbid` in the source */
	uint32_t max_stack; /* values that its code holds at once */
	bool forbid;
	bool template;
};

/* Parses one text; hands each policy to put (the struct is copied, its parts are in the arena). */
struct err;
int parse_policies(struct arena *a, struct intern *names, const struct source *src, void *to,
	int (*put)(void *to, struct policy *p, struct err *e), struct err *e);

/* The policy as canonical text: malloc'd, NUL ended, for the caller to free. */
int print_policy(const struct policy *p, char **out, size_t *len, struct err *e);

#endif
