/* SPDX-License-Identifier: Apache-2.0
 *
 * A policy as text: the form that parses back to the same policy. Parentheses stand only where the
 * grammar needs them, so a text never nests deeper than the one it came from.
 *
 * The code is turned into a tree of indexes first, then printed from a stack of things to do; an
 * operator with two operands is a row of a table, the rest are small functions.
 *
 * Side: broker, cli. Trusts: code that the parser made. Owns: its scratch.
 */
#include "policy/code.h"
#include "policy/ext.h"
#include "policy/lex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* Something still to print: a text, a name, or the subtree of an operation, in parentheses when it
 * binds weaker than level. */
struct todo {
	const char *text;
	const struct str *name;
	uint32_t node;
	uint8_t level;
};

struct printer {
	const struct policy *pol;
	char *buf;
	size_t n, cap;
	struct todo *todo;
	size_t n_todo, cap_todo;
	uint32_t *first, *next; /* child and sibling of each operation */
	uint32_t *roots;        /* subtrees that no operation has joined yet */
	bool no_memory;
};

enum level { L_EXPR, L_OR, L_AND, L_RELATION, L_ADD, L_MULT, L_UNARY, L_MEMBER };

/* --- output -------------------------------------------------------------------------------------- */

static void put_bytes(struct printer *p, const char *s, size_t len)
{
	if (p->no_memory)
		return;
	if (len >= p->cap - p->n) {
		size_t cap = p->cap * 2 + len + 256;
		char *q = realloc(p->buf, cap);
		if (!q) {
			p->no_memory = true;
			return;
		}
		p->buf = q;
		p->cap = cap;
	}
	memcpy(p->buf + p->n, s, len);
	p->n += len;
	p->buf[p->n] = 0;
}

static void put(struct printer *p, const char *s)
{
	put_bytes(p, s, strlen(s));
}

static void put_char(struct printer *p, unsigned char c, bool pattern)
{
	static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
	char out[12];
	const char *f = c ? strchr(from, c) : NULL;
	if (f)
		snprintf(out, sizeof out, "\\%c", to[f - from]);
	else if (c < 0x20 || c == 0x7f)
		snprintf(out, sizeof out, "\\u{%x}", c);
	else if (c == '*' && pattern)
		snprintf(out, sizeof out, "\\*");
	else
		snprintf(out, sizeof out, "%c", c);
	put(p, out);
}

static void put_string(struct printer *p, const char *s, size_t len)
{
	put(p, "\"");
	for (size_t i = 0; i < len; i++)
		put_char(p, (unsigned char)s[i], false);
	put(p, "\"");
}

/* Can this name stand without quotes? Asked of the lexer itself. */
static bool is_ident(const struct str *s)
{
	struct lex l;
	struct err e;
	return lex_init(&l, "", s->p, s->len, false, s->len, &e) == ERR_OK && l.tok.kind == TOK_IDENT &&
		   l.tok.word == WORD_NONE && l.tok.at == 0 && l.tok.len == s->len;
}

static void put_name(struct printer *p, const struct str *s)
{
	if (is_ident(s))
		put_bytes(p, s->p, s->len);
	else
		put_string(p, s->p, s->len);
}

static void put_uid(struct printer *p, const struct uid *u)
{
	put_bytes(p, u->type.p, u->type.len);
	put(p, "::");
	put_string(p, u->id.p, u->id.len);
}

/* --- the stack of things to do: pushed in reverse -------------------------------------------------- */

static void push(struct printer *p, struct todo t)
{
	if (p->no_memory)
		return;
	if (p->n_todo == p->cap_todo) {
		size_t cap = p->cap_todo * 2 + 64;
		struct todo *q = realloc(p->todo, cap * sizeof *q);
		if (!q) {
			p->no_memory = true;
			return;
		}
		p->todo = q;
		p->cap_todo = cap;
	}
	p->todo[p->n_todo++] = t;
}

static void push_text(struct printer *p, const char *text)
{
	push(p, (struct todo){.text = text});
}

static void push_node(struct printer *p, uint32_t node, enum level level)
{
	push(p, (struct todo){.node = node, .level = (uint8_t)level});
}

static const struct op *op_at(const struct printer *p, uint32_t i)
{
	return &p->pol->code[i];
}

/* --- forms ------------------------------------------------------------------------------------------ */

static const struct {
	const char *text;
	uint8_t level, left, right;
} infix[OP__MAX] = {
	[OP_OR] = {" || ", L_OR, L_OR, L_AND},        [OP_AND] = {" && ", L_AND, L_AND, L_RELATION},
	[OP_EQ] = {" == ", L_RELATION, L_ADD, L_ADD}, [OP_NE] = {" != ", L_RELATION, L_ADD, L_ADD},
	[OP_LT] = {" < ", L_RELATION, L_ADD, L_ADD},  [OP_LE] = {" <= ", L_RELATION, L_ADD, L_ADD},
	[OP_GT] = {" > ", L_RELATION, L_ADD, L_ADD},  [OP_GE] = {" >= ", L_RELATION, L_ADD, L_ADD},
	[OP_IN] = {" in ", L_RELATION, L_ADD, L_ADD}, [OP_ADD] = {" + ", L_ADD, L_ADD, L_MULT},
	[OP_SUB] = {" - ", L_ADD, L_ADD, L_MULT},     [OP_MUL] = {" * ", L_MULT, L_MULT, L_UNARY},
};

static const char *const methods[OP__MAX] = {
	[OP_CONTAINS] = ".contains(", [OP_CONTAINS_ALL] = ".containsAll(", [OP_CONTAINS_ANY] = ".containsAny(",
	[OP_IS_EMPTY] = ".isEmpty(",  [OP_HAS_TAG] = ".hasTag(",           [OP_GET_TAG] = ".getTag(",
};

static enum level level_of(const struct op *o)
{
	if (infix[o->code].text)
		return infix[o->code].level;
	switch (o->code) {
	case OP_ELSE:
		return L_EXPR;
	case OP_HAS:
	case OP_LIKE:
	case OP_IS:
	case OP_IS_IN:
		return L_RELATION;
	case OP_NOT:
	case OP_NEG:
		return L_UNARY;
	case OP_LONG:
		return o->i < 0 ? L_UNARY : L_MEMBER;
	default:
		return L_MEMBER;
	}
}

static void print_atom(struct printer *p, const struct op *o)
{
	char num[24];
	snprintf(num, sizeof num, "%lld", (long long)o->i);
	if (o->code == OP_BOOL)
		put(p, o->i ? "true" : "false");
	else if (o->code == OP_LONG)
		put(p, num);
	else if (o->code == OP_STRING)
		put_string(p, o->str->p, o->str->len);
	else if (o->code == OP_ENTITY)
		put_uid(p, o->uid);
	else
		put(p, var_names[o->a]);
}

/* A run of the same sign, at most four with a negative number's own. */
static void print_signs(struct printer *p, uint32_t node)
{
	const uint8_t code = op_at(p, node)->code;
	uint32_t n = 1, child = p->first[node];
	put(p, code == OP_NOT ? "!" : "-");
	for (; n < 4 && op_at(p, child)->code == code; n++, child = p->first[child])
		put(p, code == OP_NOT ? "!" : "-");
	const struct op *o = op_at(p, child);
	bool number = code == OP_NEG && o->code == OP_LONG;
	if (number && (o->i >= 0 || n == 4)) {
		push_text(p, ")");
		push_node(p, child, L_EXPR);
		push_text(p, "(");
	} else {
		push_node(p, child, number ? L_UNARY : L_MEMBER);
	}
}

/* first, first's siblings, close: with `name: ` in front of each when there are keys. */
static void push_list(struct printer *p, uint32_t first, const struct keys *keys, const char *close)
{
	size_t base, n = 0, i = 0;
	push_text(p, close);
	base = p->n_todo;
	for (uint32_t c = first; c != NONE; c = p->next[c], n++)
		for (int k = 0; k < 4; k++)
			push_text(p, "");
	if (p->no_memory)
		return;
	for (uint32_t c = first; c != NONE; c = p->next[c], i++) {
		struct todo *t = &p->todo[base + 4 * (n - 1 - i)];
		t[0] = (struct todo){.node = c};
		t[1].text = keys ? ": " : "";
		if (keys)
			t[2] = (struct todo){.name = &keys->name[i]};
		t[3].text = i ? ", " : "";
	}
}

static void print_call(struct printer *p, uint32_t node)
{
	const struct ext_fn *f = ext_row(op_at(p, node)->a);
	uint32_t args = p->first[node];
	if (!f->method) {
		put(p, f->name);
		put(p, "(");
		push_list(p, args, NULL, ")");
		return;
	}
	push_list(p, p->next[args], NULL, ")");
	push_text(p, "(");
	push_text(p, f->name);
	push_text(p, ".");
	push_node(p, args, L_MEMBER);
}

static void print_if(struct printer *p, uint32_t node)
{
	uint32_t c = p->first[node], t = p->next[c];
	put(p, "if ");
	push_node(p, p->next[t], L_EXPR);
	push_text(p, " else ");
	push_node(p, t, L_EXPR);
	push_text(p, " then ");
	push_node(p, c, L_EXPR);
}

static void print_get(struct printer *p, uint32_t node)
{
	const struct str *s = op_at(p, node)->str;
	bool ident = is_ident(s);
	push_text(p, ident ? "" : "]");
	push(p, (struct todo){.name = s});
	push_text(p, ident ? "." : "[");
	push_node(p, p->first[node], L_MEMBER);
}

static void print_has(struct printer *p, uint32_t node)
{
	const struct keys *k = op_at(p, node)->keys;
	for (uint32_t i = k->n; i-- > 0;) {
		push(p, (struct todo){.name = &k->name[i]});
		push_text(p, i ? "." : " has ");
	}
	push_node(p, p->first[node], L_ADD);
}

static void print_pattern(struct printer *p, const struct pattern *pat)
{
	put(p, " like \"");
	for (uint32_t i = 0; i < pat->n; i++) {
		if (pat->p[i] == LEX_WILDCARD)
			put(p, "*");
		else
			put_char(p, (unsigned char)pat->p[i], true);
	}
	put(p, "\"");
}

/* `like` has no operand behind it, so its left side is followed by a todo for the operation itself. */
static void print_like(struct printer *p, uint32_t node)
{
	push(p, (struct todo){.node = node, .level = UINT8_MAX});
	push_node(p, p->first[node], L_ADD);
}

static void print_is(struct printer *p, uint32_t node)
{
	uint32_t left = p->first[node], in = p->next[left];
	/* The operation behind the left operand carries the type: OP_IS itself, or OP_IS_LEFT. */
	const struct type_ref *t = op_at(p, left + 1)->type;
	if (in != NONE) {
		push_node(p, in, L_ADD);
		push_text(p, " in ");
	}
	push_text(p, t->name.p);
	push_text(p, " is ");
	push_node(p, left, L_ADD);
}

static void print_method(struct printer *p, uint32_t node)
{
	uint32_t receiver = p->first[node];
	push_list(p, p->next[receiver], NULL, ")");
	push_text(p, methods[op_at(p, node)->code]);
	push_node(p, receiver, L_MEMBER);
}

static void print_infix(struct printer *p, uint32_t node)
{
	uint8_t code = op_at(p, node)->code;
	push_node(p, p->next[p->first[node]], infix[code].right);
	push_text(p, infix[code].text);
	push_node(p, p->first[node], infix[code].left);
}

static void print_set(struct printer *p, uint32_t node)
{
	put(p, "[");
	push_list(p, p->first[node], NULL, "]");
}

static void print_record(struct printer *p, uint32_t node)
{
	put(p, "{");
	push_list(p, p->first[node], op_at(p, node)->keys, "}");
}

static void (*const forms[OP__MAX])(struct printer *p, uint32_t node) = {
	[OP_SET] = print_set,   [OP_RECORD] = print_record, [OP_CALL] = print_call, [OP_NOT] = print_signs,
	[OP_NEG] = print_signs, [OP_ELSE] = print_if,       [OP_GET] = print_get,   [OP_HAS] = print_has,
	[OP_LIKE] = print_like, [OP_IS] = print_is,         [OP_IS_IN] = print_is,
};

static void print_node(struct printer *p, uint32_t node, uint8_t level)
{
	const struct op *o = op_at(p, node);
	if (level == UINT8_MAX) {
		print_pattern(p, o->pattern);
	} else if (level_of(o) < level) {
		put(p, "(");
		push_text(p, ")");
		push_node(p, node, L_EXPR);
	} else if (infix[o->code].text) {
		print_infix(p, node);
	} else if (methods[o->code]) {
		print_method(p, node);
	} else if (forms[o->code]) {
		forms[o->code](p, node);
	} else {
		print_atom(p, o);
	}
}

/* --- the tree --------------------------------------------------------------------------------------- */

/* How many subtrees an operation joins; 0 and no subtree for those that only steer. */
static uint32_t arity(const struct op *o, bool *steers)
{
	static const uint8_t children[OP__MAX] = {
		[OP_NOT] = 1,      [OP_NEG] = 1,          [OP_EQ] = 2,           [OP_NE] = 2,       [OP_LT] = 2,
		[OP_LE] = 2,       [OP_GT] = 2,           [OP_GE] = 2,           [OP_IN] = 2,       [OP_ADD] = 2,
		[OP_SUB] = 2,      [OP_MUL] = 2,          [OP_AND] = 2,          [OP_OR] = 2,       [OP_ELSE] = 3,
		[OP_GET] = 1,      [OP_HAS] = 1,          [OP_LIKE] = 1,         [OP_IS] = 1,       [OP_IS_IN] = 2,
		[OP_CONTAINS] = 2, [OP_CONTAINS_ALL] = 2, [OP_CONTAINS_ANY] = 2, [OP_IS_EMPTY] = 1, [OP_HAS_TAG] = 2,
		[OP_GET_TAG] = 2,
	};
	*steers = o->code == OP_BEGIN || o->code == OP_CONST || o->code == OP_AND_LEFT || o->code == OP_OR_LEFT ||
			  o->code == OP_IF || o->code == OP_THEN || o->code == OP_IS_LEFT;
	if (o->code == OP_SET)
		return (uint32_t)o->n;
	if (o->code == OP_RECORD)
		return o->keys->n;
	return o->code == OP_CALL ? o->b : children[o->code];
}

static void build_tree(struct printer *p)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < p->pol->n_ops; i++) {
		bool steers;
		uint32_t k = arity(op_at(p, i), &steers);
		p->first[i] = p->next[i] = NONE;
		if (steers)
			continue;
		n -= k;
		for (uint32_t c = k; c-- > 0;) {
			p->next[p->roots[n + c]] = c + 1 < k ? p->roots[n + c + 1] : NONE;
			p->first[i] = p->roots[n + c];
		}
		p->roots[n++] = i;
	}
}

/* The last operation of a clause is its root. */
static void print_clause(struct printer *p, const struct clause *c)
{
	put(p, c->unless ? "\nunless { " : "\nwhen { ");
	push_node(p, c->first + c->n - 1, L_EXPR);
	while (p->n_todo && !p->no_memory) {
		struct todo t = p->todo[--p->n_todo];
		if (t.name)
			put_name(p, t.name);
		else if (t.text)
			put(p, t.text);
		else
			print_node(p, t.node, t.level);
	}
	put(p, " }");
}

/* --- the rest of a policy ------------------------------------------------------------------------------ */

static void print_ref(struct printer *p, enum var v, const struct scope *s)
{
	if (s->slot) {
		put(p, "?");
		put(p, var_names[v]);
	} else {
		put_uid(p, s->uid);
	}
}

static void print_scope(struct printer *p, enum var v, const struct scope *s)
{
	put(p, var_names[v]);
	if (s->kind == SCOPE_IS || s->kind == SCOPE_IS_IN) {
		put(p, " is ");
		put_bytes(p, s->type->name.p, s->type->name.len);
	}
	if (s->kind == SCOPE_EQ || s->kind == SCOPE_IN || s->kind == SCOPE_IS_IN) {
		put(p, s->kind == SCOPE_EQ ? " == " : " in ");
		print_ref(p, v, s);
	}
	if (s->kind == SCOPE_IN_SET) {
		put(p, " in [");
		for (uint32_t i = 0; i < s->n_set; i++) {
			put(p, i ? ", " : "");
			put_uid(p, s->set[i]);
		}
		put(p, "]");
	}
}

static void print_all(struct printer *p)
{
	const struct policy *pol = p->pol;
	for (uint32_t i = 0; i < pol->n_annotations; i++) {
		const struct annotation *an = &pol->annotations[i];
		put(p, "@");
		put_bytes(p, an->key.p, an->key.len);
		if (an->value) {
			put(p, "(");
			put_string(p, an->value, an->value_len);
			put(p, ")");
		}
		put(p, "\n");
	}
	put(p, pol->forbid ? "forbid (" : "permit (");
	for (enum var v = VAR_PRINCIPAL; v <= VAR_RESOURCE; v++) {
		put(p, v ? ", " : "");
		print_scope(p, v, &pol->scope[v]);
	}
	put(p, ")");
	for (uint32_t i = 0; i < pol->n_clauses; i++)
		print_clause(p, &pol->clauses[i]);
	put(p, ";\n");
}

int print_policy(const struct policy *pol, char **out, size_t *len, struct err *e)
{
	struct printer p = {.pol = pol};
	size_t n = (size_t)pol->n_ops + 1;
	uint32_t *tree = calloc(n * 3, sizeof *tree);
	if (tree) {
		p.first = tree;
		p.next = tree + n;
		p.roots = tree + 2 * n;
		build_tree(&p);
		print_all(&p);
	}
	free(tree);
	free(p.todo);
	if (!tree || p.no_memory) {
		free(p.buf);
		return err_set(e, ERR_NOMEM, "policy %s: no memory to print it", pol->id ? pol->id : "?");
	}
	*out = p.buf;
	*len = p.n;
	return ERR_OK;
}
