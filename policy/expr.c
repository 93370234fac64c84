/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions: text to code, with an explicit stack in place of recursion. Grammar:
 *
 *   Expr     ::= 'if' Expr 'then' Expr 'else' Expr | Or
 *   Or       ::= And {'||' And}           And ::= Relation {'&&' Relation}
 *   Relation ::= Add [('<'|'<='|'>='|'>'|'!='|'=='|'in') Add]         no chaining
 *              | Add 'has' (IDENT {'.' IDENT} | STR) | Add 'like' STR | Add 'is' Path ['in' Add]
 *   Add      ::= Mult {('+'|'-') Mult}    Mult ::= Unary {'*' Unary}
 *   Unary    ::= up to 4 '!' Member | up to 4 '-' Member
 *   Member   ::= Primary {'.' IDENT ['(' Args ')'] | '[' STR ']'}
 *   Primary  ::= BOOL | INT | STR | VAR | Path '::' STR | FUNCTION '(' Args ')' | '(' Expr ')'
 *              | '[' [Expr {',' Expr} [',']] ']' | '{' [Pair {',' Pair} [',']] '}'
 *
 * The parser is always in one of two states: an operand is wanted, or one is complete and an
 * operator or a closing word must follow. Operators wait on the stack until one that binds weaker
 * arrives, then their code is emitted behind that of their operands.
 *
 * Side: broker, cli. Trusts: nothing. Owns: nothing (the parser owns the stack).
 */
#include "policy/ext.h"
#include "policy/parse.h"

#include "proto/limits.h"

#include <string.h>

enum frame_kind {
	F_CLAUSE, /* the whole expression */
	F_PAREN,
	F_SET,
	F_RECORD,
	F_CALL,   /* function or method arguments */
	F_IF,     /* op: 0 in the condition, 1 after then, 2 after else */
	F_UNARY,  /* op, n times */
	F_BINARY, /* op, level; OP__MAX: a relation without a right operand that is complete */
};

enum level { LEVEL_NONE, LEVEL_OR, LEVEL_AND, LEVEL_RELATION, LEVEL_ADD, LEVEL_MULT };

struct frame {
	uint8_t kind;
	uint8_t op;
	uint8_t level;
	bool may_close; /* right after the opening bracket or a comma */
	uint32_t at;
	uint32_t n;            /* elements, arguments or signs so far */
	uint32_t code;         /* F_SET, F_RECORD, F_CALL: its OP_BEGIN; F_IF, F_BINARY: the jump to patch */
	uint32_t key_base;     /* F_RECORD: first of its keys */
	int fn;                /* F_CALL: extension function, or -1 - row of a built-in method */
	struct type_ref *type; /* of OP_IS_IN: gets the jump */
};

static const struct {
	uint8_t pops, pushes;
} effects[] = {
#define OP_EFFECT(sym, pops, pushes) {pops, pushes},
	OP_TABLE(OP_EFFECT)
#undef OP_EFFECT
};

/* --- emission ------------------------------------------------------------------------------------ */

/* Appends an operation that pops `extra` values more than its row says. */
static int emit(struct parser *p, struct op o, uint32_t extra)
{
	int rc = parser_grow(p, (void **)&p->ops, p->n_ops, &p->cap_ops, sizeof o);
	if (rc)
		return rc;
	if (++p->n_nodes > LIMIT_POLICY_NODES)
		return lex_fail(&p->lex, o.at, p->e, "the policy has more than %d parts; split it",
						LIMIT_POLICY_NODES);
	p->ops[p->n_ops++] = o;
	p->depth = p->depth - effects[o.code].pops - extra + effects[o.code].pushes;
	if (p->depth > p->max_depth)
		p->max_depth = p->depth;
	return ERR_OK;
}

static int emit_simple(struct parser *p, enum op_code code, uint32_t at)
{
	return emit(p, (struct op){.code = (uint8_t)code, .at = at}, 0);
}

/* s is interned, as all that the parser reads. */
static int emit_str(struct parser *p, enum op_code code, uint32_t at, const struct str *s)
{
	return emit(p, (struct op){.code = (uint8_t)code, .at = at, .str = intern_find_str(p->names, s)}, 0);
}

/* The jump at index from now leads to the operation that comes next. */
static void patch(struct parser *p, uint32_t from)
{
	p->ops[from].n = p->n_ops - from;
}

/* --- the stack ----------------------------------------------------------------------------------- */

static struct frame *top(struct parser *p)
{
	return &p->frames[p->n_frames - 1];
}

static bool nests(enum frame_kind k)
{
	return k != F_BINARY && k != F_UNARY;
}

static int push(struct parser *p, struct frame f)
{
	int rc = parser_grow(p, (void **)&p->frames, p->n_frames, &p->cap_frames, sizeof f);
	if (rc)
		return rc;
	p->n_brackets += nests(f.kind);
	if (p->n_brackets > LIMIT_POLICY_DEPTH)
		return lex_fail(&p->lex, f.at, p->e, "too deep: more than %d brackets and ifs inside one another",
						LIMIT_POLICY_DEPTH);
	p->frames[p->n_frames++] = f;
	return ERR_OK;
}

static struct frame pop(struct parser *p)
{
	struct frame f = *top(p);
	p->n_frames--;
	p->n_brackets -= nests(f.kind);
	return f;
}

/* Emits the waiting operators that bind at least as strongly as level. */
static int reduce(struct parser *p, enum level level)
{
	while (top(p)->kind == F_BINARY && top(p)->level >= level) {
		struct frame f = pop(p);
		if (f.op == OP__MAX)
			continue;
		int rc = emit_simple(p, f.op, f.at);
		if (rc)
			return rc;
		if (f.op == OP_AND || f.op == OP_OR)
			patch(p, f.code);
		if (f.op == OP_IS_IN)
			f.type->skip = p->n_ops - f.code;
	}
	return ERR_OK;
}

/* --- constants ----------------------------------------------------------------------------------- */

/* The value of one constant operation at *i, which moves past it. */
static bool const_at(const struct parser *p, uint32_t *i, struct val *v)
{
	const struct op *o = &p->ops[*i];
	switch (o->code) {
	case OP_BOOL:
		*v = val_bool(o->i != 0);
		break;
	case OP_LONG:
		*v = val_long(o->i);
		break;
	case OP_STRING:
		*v = val_string(o->str->p, o->str->len);
		break;
	case OP_ENTITY:
		*v = val_uid(o->uid);
		break;
	case OP_CONST:
		*v = o->constant->v;
		*i += o->constant->skip;
		return true;
	default:
		return false;
	}
	++*i;
	return true;
}

/* Makes the value of the set, record or constructor whose code ends here; false when a part is not
 * constant, or when making it fails: then the evaluator meets that failure, and only if it gets
 * there, as the language says. */
static bool const_make(struct parser *p, const struct frame *f, const struct op *last, struct val *out)
{
	struct fuel fuel = {LIMIT_EVAL_FUEL};
	char msg[8];
	uint32_t i = f->code + 1, n = 0;
	struct val *vals = arena_alloc(&p->scratch, f->n, sizeof *vals);
	struct field *fields = arena_alloc(&p->scratch, last->code == OP_RECORD ? f->n : 0, sizeof *fields);
	if (!fields || !vals)
		return false;
	for (; n < f->n; n++)
		if (!const_at(p, &i, &vals[n]))
			return false;
	if (i != p->n_ops - 1) /* a part was more than one constant, such as an `if` */
		return false;
	if (last->code == OP_SET)
		return set_make(p->arena, vals, n, &fuel, out) == VAL_MADE;
	if (last->code == OP_RECORD) {
		for (uint32_t k = 0; k < n; k++)
			fields[k] = (struct field){last->keys->name[k], vals[k]};
		return rec_make(p->arena, fields, n, out) == VAL_MADE;
	}
	struct ext_call c = {.arena = p->arena, .args = vals, .n_args = n, .msg = msg, .msg_cap = sizeof msg};
	bool made = ext_run(last->a, &c);
	*out = c.out;
	return made;
}

/* Emits the operation that ends a set, record or constructor and makes it a constant if it is. */
static int emit_end(struct parser *p, const struct frame *f, struct op o)
{
	struct val v;
	int rc = emit(p, o, f->n);
	if (rc)
		return rc;
	struct arena_mark kept = arena_mark(p->arena), scratch = arena_mark(&p->scratch);
	bool made = const_make(p, f, &o, &v);
	arena_rewind(&p->scratch, scratch);
	if (!made) {
		arena_rewind(p->arena, kept);
		return ERR_OK;
	}
	struct constant *c = arena_alloc(p->arena, 1, sizeof *c);
	if (!c)
		return parse_no_memory(p);
	*c = (struct constant){v, p->n_ops - f->code};
	p->ops[f->code].code = OP_CONST;
	p->ops[f->code].constant = c;
	return ERR_OK;
}

/* --- operands ------------------------------------------------------------------------------------ */

static int postfix(struct parser *p, bool *want);

/* The signs in front of an operand apply now that it is complete. */
static int apply_signs(struct parser *p)
{
	int rc = ERR_OK;
	if (top(p)->kind != F_UNARY)
		return rc;
	struct frame f = pop(p);
	while (!rc && f.n--)
		rc = emit_simple(p, f.op, f.at);
	return rc;
}

static int operand_int(struct parser *p, bool minus)
{
	struct lex *l = &p->lex;
	const struct token t = l->tok;
	uint64_t v = 0;
	bool over = false;
	for (uint32_t i = 0; i < t.len; i++)
		over |= __builtin_mul_overflow(v, 10, &v) ||
				__builtin_add_overflow(v, (uint64_t)(l->text[t.at + i] - '0'), &v);
	if (over || v > (uint64_t)INT64_MAX + minus)
		return lex_expected(l, "an integer from -9223372036854775808 to 9223372036854775807", p->e);
	lex_next(l);
	return emit(p, (struct op){.code = OP_LONG, .at = t.at, .i = (int64_t)(minus ? 0 - v : v)}, 0);
}

/* A run of one sign. A minus that stands directly before a plain number belongs to the number. */
static int operand_sign(struct parser *p, bool *want)
{
	struct lex *l = &p->lex;
	const struct token sign = l->tok;
	uint32_t n = 0;
	int rc;
	if (top(p)->kind == F_UNARY)
		return lex_expected(l, "an operand (`!` and `-` do not mix)", p->e);
	for (; l->tok.kind == sign.kind; n++)
		lex_next(l);
	if (n > 4)
		return lex_fail(l, sign.at, p->e, "expected at most four `!` or `-` in a row, found %u", n);
	enum lex_tok after = lex_peek(l).kind;
	bool number =
		sign.kind == TOK_MINUS && l->tok.kind == TOK_INT && after != TOK_DOT && after != TOK_LBRACKET;
	n -= number;
	rc = n ? push(p,
				  (struct frame){
					  .kind = F_UNARY, .op = sign.kind == TOK_NOT ? OP_NOT : OP_NEG, .n = n, .at = sign.at})
		   : ERR_OK;
	if (!number || rc)
		return rc;
	if ((rc = operand_int(p, true)))
		return rc;
	return postfix(p, want);
}

static int open_list(struct parser *p, enum frame_kind kind, int fn, bool begin)
{
	uint32_t at = p->lex.tok.at;
	struct frame f = {.kind = (uint8_t)kind,
					  .may_close = true,
					  .at = at,
					  .code = p->n_ops,
					  .fn = fn,
					  .key_base = p->n_keys};
	lex_next(&p->lex);
	int rc = push(p, f);
	return rc || !begin ? rc : emit_simple(p, OP_BEGIN, at);
}

/* The key of the next pair, unless the record ends here. */
static int record_key(struct parser *p)
{
	struct lex *l = &p->lex;
	struct str key;
	int rc;
	if (l->tok.kind == TOK_RBRACE)
		return ERR_OK;
	if (l->tok.kind != TOK_STRING && l->tok.kind != TOK_IDENT)
		return lex_expected(l, "an attribute name, a string or `}`", p->e);
	rc = l->tok.kind == TOK_STRING ? parse_string(p, &key) : parse_ident(p, &key);
	if (rc || (rc = lex_take(l, TOK_COLON, p->e)))
		return rc;
	if ((rc = parser_grow(p, (void **)&p->keys, p->n_keys, &p->cap_keys, sizeof key)))
		return rc;
	p->keys[p->n_keys++] = key;
	top(p)->may_close = false;
	return ERR_OK;
}

static int open_function(struct parser *p, const struct str *name, uint32_t at)
{
	int fn = ext_find(name->p, name->len);
	char text[80];
	if (fn < 0 || ext_row(fn)->method) {
		err_escape(text, sizeof text, name->p, name->len);
		return lex_fail(&p->lex, at, p->e,
						"expected one of the functions ip, decimal, datetime, duration, found %s`%s`",
						fn < 0 ? "" : "the method ", text);
	}
	return open_list(p, F_CALL, fn, true);
}

/* A variable, an entity or a function call. */
static int operand_name(struct parser *p, bool *want)
{
	const struct token t = p->lex.tok;
	struct str name;
	bool is_entity;
	int rc = parse_path(p, &name, &is_entity);
	if (rc)
		return rc;
	if (is_entity) {
		const struct uid *u;
		if ((rc = parse_uid(p, &name, &u)) ||
			(rc = emit(p, (struct op){.code = OP_ENTITY, .at = t.at, .uid = u}, 0)))
			return rc;
		return postfix(p, want);
	}
	if (p->lex.tok.kind == TOK_LPAREN)
		return open_function(p, &name, t.at);
	for (uint8_t v = 0; v < VAR__MAX; v++)
		if (str_is(&name, var_names[v])) {
			rc = emit(p, (struct op){.code = OP_VAR, .a = v, .at = t.at}, 0);
			return rc ? rc : postfix(p, want);
		}
	char text[80];
	err_escape(text, sizeof text, name.p, name.len);
	return lex_fail(&p->lex, t.at, p->e,
					"expected principal, action, resource, context, an entity or a function, "
					"found the name `%s`",
					text);
}

static int operand_word(struct parser *p, bool *want)
{
	const struct token t = p->lex.tok;
	int rc;
	if (t.word == WORD_NONE)
		return operand_name(p, want);
	if (t.word == WORD_IF && nests(top(p)->kind)) {
		lex_next(&p->lex);
		top(p)->may_close = false;
		return push(p, (struct frame){.kind = F_IF, .at = t.at});
	}
	if (t.word != WORD_TRUE && t.word != WORD_FALSE)
		return lex_expected(&p->lex, "an operand", p->e);
	lex_next(&p->lex);
	rc = emit(p, (struct op){.code = OP_BOOL, .at = t.at, .i = t.word == WORD_TRUE}, 0);
	return rc ? rc : postfix(p, want);
}

static int operand_string(struct parser *p, bool *want)
{
	struct str s;
	uint32_t at = p->lex.tok.at;
	int rc = parse_string(p, &s);
	if (!rc)
		rc = emit_str(p, OP_STRING, at, &s);
	return rc ? rc : postfix(p, want);
}

static int operand_number(struct parser *p, bool *want)
{
	int rc = operand_int(p, false);
	return rc ? rc : postfix(p, want);
}

static int operand_list(struct parser *p, bool *want)
{
	static const enum frame_kind kinds[TOK__MAX] = {
		[TOK_LPAREN] = F_PAREN,
		[TOK_LBRACKET] = F_SET,
		[TOK_LBRACE] = F_RECORD,
	};
	enum frame_kind kind = kinds[p->lex.tok.kind];
	*want = true;
	return open_list(p, kind, 0, kind != F_PAREN);
}

static const struct {
	enum lex_tok tok;
	int (*parse)(struct parser *p, bool *want);
} operands[] = {
	{TOK_IDENT, operand_word},  {TOK_STRING, operand_string}, {TOK_INT, operand_number},
	{TOK_LPAREN, operand_list}, {TOK_LBRACKET, operand_list}, {TOK_LBRACE, operand_list},
	{TOK_NOT, operand_sign},    {TOK_MINUS, operand_sign},
};

static int close_list(struct parser *p, bool *want);

static int operand(struct parser *p, bool *want)
{
	struct frame *f = top(p);
	enum lex_tok k = p->lex.tok.kind;
	int rc;
	if (f->may_close && ((f->kind == F_SET && k == TOK_RBRACKET) ||
						 (f->kind == F_RECORD && k == TOK_RBRACE) || (f->kind == F_CALL && k == TOK_RPAREN)))
		return close_list(p, want);
	if (f->kind == F_RECORD && f->may_close && (rc = record_key(p)))
		return rc;
	for (size_t i = 0; i < sizeof operands / sizeof operands[0]; i++)
		if (operands[i].tok == p->lex.tok.kind)
			return operands[i].parse(p, want);
	return lex_expected(&p->lex, "an operand", p->e);
}

/* --- methods and attributes ---------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint8_t op, n_args;
} builtins[] = {
	{"contains", OP_CONTAINS, 1}, {"containsAll", OP_CONTAINS_ALL, 1}, {"containsAny", OP_CONTAINS_ANY, 1},
	{"isEmpty", OP_IS_EMPTY, 0},  {"hasTag", OP_HAS_TAG, 1},           {"getTag", OP_GET_TAG, 1},
};
#define N_BUILTINS ((int)(sizeof builtins / sizeof builtins[0]))

static int open_method(struct parser *p, const struct str *name, uint32_t at)
{
	char text[80];
	for (int i = 0; i < N_BUILTINS; i++)
		if (str_is(name, builtins[i].name))
			return open_list(p, F_CALL, -1 - i, false);
	int fn = ext_find(name->p, name->len);
	if (fn >= 0 && ext_row(fn)->method)
		return open_list(p, F_CALL, fn, false);
	err_escape(text, sizeof text, name->p, name->len);
	return lex_fail(&p->lex, at, p->e, "expected the name of a method, found %s`%s`",
					fn < 0 ? "" : "the function ", text);
}

/* .name, .name(..) and ["name"] behind a complete operand, then its signs. */
static int postfix(struct parser *p, bool *want)
{
	struct lex *l = &p->lex;
	struct str name;
	int rc;
	*want = true;
	while (l->tok.kind == TOK_DOT || l->tok.kind == TOK_LBRACKET) {
		bool dot = l->tok.kind == TOK_DOT;
		lex_next(l);
		uint32_t at = l->tok.at;
		if ((rc = dot ? parse_ident(p, &name) : parse_string(p, &name)))
			return rc;
		if (!dot && (rc = lex_take(l, TOK_RBRACKET, p->e)))
			return rc;
		if (dot && l->tok.kind == TOK_LPAREN)
			return open_method(p, &name, at);
		if ((rc = emit_str(p, OP_GET, at, &name)))
			return rc;
	}
	*want = false;
	return apply_signs(p);
}

static int end_call(struct parser *p, const struct frame *f)
{
	if (f->fn >= 0) {
		bool method = ext_row(f->fn)->method;
		uint32_t n = f->n + method;
		struct op o = {.code = OP_CALL, .a = (uint8_t)f->fn, .at = f->at};
		if (n > UINT16_MAX)
			return lex_fail(&p->lex, f->at, p->e, "too many arguments");
		o.b = (uint16_t)n;
		return method ? emit(p, o, n) : emit_end(p, f, o);
	}
	int i = -1 - f->fn;
	if (f->n != builtins[i].n_args)
		return lex_fail(&p->lex, f->at, p->e, "expected %u argument%s of `%s`, found %u", builtins[i].n_args,
						builtins[i].n_args == 1 ? "" : "s", builtins[i].name, f->n);
	return emit_simple(p, builtins[i].op, f->at);
}

static int end_record(struct parser *p, const struct frame *f)
{
	struct keys *k = arena_alloc(p->arena, 1, sizeof *k + f->n * sizeof k->name[0]);
	struct arena_mark scratch = arena_mark(&p->scratch);
	struct field *sorted = arena_alloc(&p->scratch, f->n, sizeof *sorted);
	struct val v;
	if (!k || !sorted)
		return parse_no_memory(p);
	k->n = f->n;
	if (f->n)
		memcpy(k->name, p->keys + f->key_base, f->n * sizeof k->name[0]);
	p->n_keys = f->key_base;
	for (uint32_t i = 0; i < f->n; i++)
		sorted[i] = (struct field){k->name[i], val_bool(false)};
	enum val_made m = rec_make(&p->scratch, sorted, f->n, &v);
	arena_rewind(&p->scratch, scratch);
	if (m == VAL_TWICE)
		return lex_fail(&p->lex, f->at, p->e,
						"expected distinct attribute names, found one twice in this record");
	if (m)
		return parse_no_memory(p);
	return emit_end(p, f, (struct op){.code = OP_RECORD, .at = f->at, .keys = k});
}

/* The closing bracket of the list on top of the stack is the current token. */
static int close_list(struct parser *p, bool *want)
{
	struct frame f = pop(p);
	int rc = ERR_OK;
	lex_next(&p->lex);
	if (f.kind == F_SET)
		rc = emit_end(p, &f, (struct op){.code = OP_SET, .at = f.at, .n = f.n});
	else if (f.kind == F_RECORD)
		rc = end_record(p, &f);
	else if (f.kind == F_CALL)
		rc = end_call(p, &f);
	return rc ? rc : postfix(p, want);
}

/* --- operators ----------------------------------------------------------------------------------- */

static const struct binary {
	enum lex_tok tok;
	enum lex_word word;
	uint8_t op, level;
} binaries[] = {
	{TOK_OR, WORD_NONE, OP_OR, LEVEL_OR},
	{TOK_AND, WORD_NONE, OP_AND, LEVEL_AND},
	{TOK_EQ, WORD_NONE, OP_EQ, LEVEL_RELATION},
	{TOK_NE, WORD_NONE, OP_NE, LEVEL_RELATION},
	{TOK_LT, WORD_NONE, OP_LT, LEVEL_RELATION},
	{TOK_LE, WORD_NONE, OP_LE, LEVEL_RELATION},
	{TOK_GT, WORD_NONE, OP_GT, LEVEL_RELATION},
	{TOK_GE, WORD_NONE, OP_GE, LEVEL_RELATION},
	{TOK_IDENT, WORD_IN, OP_IN, LEVEL_RELATION},
	{TOK_IDENT, WORD_HAS, OP_HAS, LEVEL_RELATION},
	{TOK_IDENT, WORD_LIKE, OP_LIKE, LEVEL_RELATION},
	{TOK_IDENT, WORD_IS, OP_IS, LEVEL_RELATION},
	{TOK_PLUS, WORD_NONE, OP_ADD, LEVEL_ADD},
	{TOK_MINUS, WORD_NONE, OP_SUB, LEVEL_ADD},
	{TOK_STAR, WORD_NONE, OP_MUL, LEVEL_MULT},
};

static const struct binary *binary_of(const struct token *t)
{
	for (size_t i = 0; i < sizeof binaries / sizeof binaries[0]; i++)
		if (binaries[i].tok == t->kind && binaries[i].word == t->word)
			return &binaries[i];
	return NULL;
}

/* A relation without a second operand is complete; it stays on the stack so that none follows it. */
static int push_done(struct parser *p, uint32_t at)
{
	return push(p, (struct frame){.kind = F_BINARY, .op = OP__MAX, .level = LEVEL_RELATION, .at = at});
}

static int op_has(struct parser *p, uint32_t at)
{
	struct lex *l = &p->lex;
	struct str key;
	uint32_t base = p->n_keys;
	bool string = l->tok.kind == TOK_STRING;
	int rc = string ? parse_string(p, &key) : parse_ident(p, &key);
	for (;;) {
		if (rc || (rc = parser_grow(p, (void **)&p->keys, p->n_keys, &p->cap_keys, sizeof key)))
			return rc;
		p->keys[p->n_keys++] = key;
		if (string || l->tok.kind != TOK_DOT)
			break;
		lex_next(l);
		rc = parse_ident(p, &key);
	}
	uint32_t n = p->n_keys - base;
	struct keys *k = arena_alloc(p->arena, 1, sizeof *k + n * sizeof k->name[0]);
	if (!k)
		return parse_no_memory(p);
	k->n = n;
	memcpy(k->name, p->keys + base, n * sizeof k->name[0]);
	p->n_keys = base;
	rc = emit(p, (struct op){.code = OP_HAS, .at = at, .keys = k}, 0);
	return rc ? rc : push_done(p, at);
}

static int op_like(struct parser *p, uint32_t at)
{
	struct pattern *pat = arena_alloc(p->arena, 1, sizeof *pat);
	uint16_t *elements;
	int rc;
	if (!pat)
		return parse_no_memory(p);
	if (p->lex.tok.kind != TOK_STRING)
		return lex_expected(&p->lex, "a pattern in quotes", p->e);
	if ((rc = lex_pattern(&p->lex, &p->lex.tok, p->arena, &elements, &pat->n, p->e)))
		return rc;
	pat->p = elements;
	lex_next(&p->lex);
	rc = emit(p, (struct op){.code = OP_LIKE, .at = at, .pattern = pat}, 0);
	return rc ? rc : push_done(p, at);
}

static int op_is(struct parser *p, bool *want, uint32_t at)
{
	struct str name;
	struct type_ref *t;
	bool is_entity;
	int rc = parse_path(p, &name, &is_entity);
	if (rc || (rc = parse_type_ref(p, &name, &t)))
		return rc;
	if (is_entity)
		return lex_expected(&p->lex, "an entity type, not an entity", p->e);
	if (p->lex.tok.word != WORD_IN) {
		rc = emit(p, (struct op){.code = OP_IS, .at = at, .type = t}, 0);
		return rc ? rc : push_done(p, at);
	}
	lex_next(&p->lex);
	*want = true;
	uint32_t jump = p->n_ops;
	if ((rc = emit(p, (struct op){.code = OP_IS_LEFT, .at = at, .type = t}, 0)))
		return rc;
	return push(
		p, (struct frame){
			   .kind = F_BINARY, .op = OP_IS_IN, .level = LEVEL_RELATION, .at = at, .code = jump, .type = t});
}

static int push_binary(struct parser *p, const struct binary *b, uint32_t at)
{
	struct frame f = {.kind = F_BINARY, .op = b->op, .level = b->level, .at = at, .code = p->n_ops};
	int rc = ERR_OK;
	if (b->op == OP_AND || b->op == OP_OR)
		rc = emit_simple(p, b->op == OP_AND ? OP_AND_LEFT : OP_OR_LEFT, at);
	return rc ? rc : push(p, f);
}

static int operator_binary(struct parser *p, const struct binary *b, bool *want)
{
	struct lex *l = &p->lex;
	uint32_t at = l->tok.at;
	int rc;
	/* Relations do not chain; behind `has`, `like` and `is` not even + may follow. */
	if (b->level > LEVEL_AND && top(p)->kind == F_BINARY && top(p)->op == OP__MAX)
		return lex_expected(l, "`&&`, `||` or the end of the expression", p->e);
	if ((rc = reduce(p, b->level == LEVEL_RELATION ? LEVEL_ADD : b->level)))
		return rc;
	if (b->level == LEVEL_RELATION && top(p)->kind == F_BINARY && top(p)->level == LEVEL_RELATION)
		return lex_expected(l, "`&&`, `||` or parentheses (comparisons do not chain)", p->e);
	lex_next(l);
	if (b->op == OP_HAS)
		return op_has(p, at);
	if (b->op == OP_LIKE)
		return op_like(p, at);
	if (b->op == OP_IS)
		return op_is(p, want, at);
	*want = true;
	return push_binary(p, b, at);
}

/* Is the current token the one that the frame waits for? Else: what it waits for. */
static const struct {
	enum lex_tok close;
	enum lex_word word;
	bool comma;
	const char *expected;
} closers[] = {
	[F_CLAUSE] = {TOK_RBRACE, WORD_NONE, false, "an operator or `}`"},
	[F_PAREN] = {TOK_RPAREN, WORD_NONE, false, "an operator or `)`"},
	[F_SET] = {TOK_RBRACKET, WORD_NONE, true, "an operator, `,` or `]`"},
	[F_RECORD] = {TOK_RBRACE, WORD_NONE, true, "an operator, `,` or `}`"},
	[F_CALL] = {TOK_RPAREN, WORD_NONE, true, "an operator, `,` or `)`"},
};

static int close_if(struct parser *p, bool *want)
{
	static const enum lex_word words[] = {WORD_THEN, WORD_ELSE};
	static const enum op_code jumps[] = {OP_IF, OP_THEN};
	struct frame *f = top(p);
	if (p->lex.tok.word != words[f->op])
		return lex_expected(&p->lex, f->op ? "an operator or `else`" : "an operator or `then`", p->e);
	uint32_t jump = p->n_ops;
	int rc = emit_simple(p, jumps[f->op], p->lex.tok.at);
	if (rc)
		return rc;
	if (f->op)
		patch(p, f->code); /* a false condition leads behind the OP_THEN */
	f->code = jump;
	f->op++;
	*want = true;
	lex_next(&p->lex);
	return ERR_OK;
}

/* The expression inside the topmost bracket is complete: close it, or go on after a comma. */
static int operator_close(struct parser *p, bool *want, bool *done)
{
	int rc;
	for (;;) {
		if ((rc = reduce(p, LEVEL_NONE)))
			return rc;
		if (top(p)->kind != F_IF)
			break;
		if (top(p)->op < 2)
			return close_if(p, want);
		struct frame f = pop(p);
		if ((rc = emit_simple(p, OP_ELSE, f.at)))
			return rc;
		patch(p, f.code);
	}
	struct frame *f = top(p);
	enum lex_tok k = p->lex.tok.kind;
	if (f->kind == F_CLAUSE && k == TOK_RBRACE) {
		*done = true;
		return ERR_OK;
	}
	if (k != closers[f->kind].close && !(k == TOK_COMMA && closers[f->kind].comma))
		return lex_expected(&p->lex, closers[f->kind].expected, p->e);
	f->n++;
	if (k != TOK_COMMA)
		return close_list(p, want);
	f->may_close = true;
	*want = true;
	lex_next(&p->lex);
	return ERR_OK;
}

int parse_expr(struct parser *p)
{
	bool want = true, done = false;
	p->n_frames = p->n_brackets = p->n_keys = 0;
	int rc = push(p, (struct frame){.kind = F_CLAUSE, .at = p->lex.tok.at});
	while (!rc && !done) {
		const struct binary *b = want ? NULL : binary_of(&p->lex.tok);
		if (want)
			rc = operand(p, &want);
		else if (b)
			rc = operator_binary(p, b, &want);
		else
			rc = operator_close(p, &want, &done);
	}
	return rc;
}
