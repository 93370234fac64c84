/* SPDX-License-Identifier: Apache-2.0
 *
 * What parse.c (policies, scopes) and expr.c (expressions) share.
 * Side: broker, cli. Trusts: nothing. Owns: the parser's state.
 */
#ifndef FUMEHOOD_POLICY_PARSE_H
#define FUMEHOOD_POLICY_PARSE_H

#include "policy/code.h"
#include "policy/lex.h"

struct frame;

struct parser {
	struct lex lex;
	struct arena *arena;
	struct intern *names;
	const struct hash_key *key; /* that of names */
	struct err *e;
	struct arena scratch; /* empty between two calls of the functions here */
	/* Growing scratch, freed at the end: the code of one policy, open brackets, record keys. */
	struct op *ops;
	struct frame *frames;
	struct str *keys;
	uint32_t n_ops, cap_ops, n_frames, cap_frames, n_keys, cap_keys;
	uint32_t depth, max_depth; /* of the value stack, as the code will use it */
	uint32_t n_nodes;
	uint32_t n_brackets; /* frames that nest */
};

/* Makes room for one more element of size bytes in *array. */
MUST_CHECK int parser_grow(struct parser *p, void **array, uint32_t n, uint32_t *cap, size_t size);

/* An expression up to the `}` that ends its clause, which stays the current token. */
MUST_CHECK int parse_expr(struct parser *p);

/* IDENT {:: IDENT}: a type name in canonical form. *entity_at: with `::` and a string after it the
 * path ends there and *is_entity is set; the string is then the current token. */
MUST_CHECK int parse_path(struct parser *p, struct str *out, bool *is_entity);
/* An identifier that is no reserved word, as text in the arena with its hash. */
MUST_CHECK int parse_ident(struct parser *p, struct str *out);
MUST_CHECK int parse_string(struct parser *p, struct str *out);
MUST_CHECK int parse_uid(struct parser *p, const struct str *type, const struct uid **out);
MUST_CHECK int parse_type_ref(struct parser *p, const struct str *name, struct type_ref **out);
/* The text in its one copy. */
MUST_CHECK int parse_intern(struct parser *p, const char *text, size_t len, struct str *out);
int parse_no_memory(struct parser *p);

#endif
