/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies: annotations, effect, the three scopes, the clauses. Grammar (reference: Cedar language
 * 4.5):
 *
 *   Policy    ::= {Annotation} ('permit'|'forbid') '(' Principal ',' Action ',' Resource [','] ')' {Cond} ';'
 *   Annotation::= '@' any identifier ['(' STRING ')']
 *   Principal ::= 'principal' [ 'is' Path ['in' Ref] | 'in' Ref | '==' Ref ]      Ref ::= Entity | ?principal
 *   Action    ::= 'action' [ '==' Entity | 'in' ( Entity | '[' [Entity {',' Entity}] [','] ']' ) ]
 *   Resource  ::= as Principal, with 'resource' and ?resource
 *   Cond      ::= ('when'|'unless') '{' Expr '}'
 *   Entity    ::= Path '::' STRING | '(' Entity ')'
 *
 * Side: broker, cli. Trusts: nothing. Owns: nothing but its scratch.
 */
#include "policy/parse.h"

#include "proto/limits.h"

#include <stdlib.h>
#include <string.h>

const char *const var_names[VAR__MAX] = {"principal", "action", "resource", "context"};

int parse_no_memory(struct parser *p)
{
	return err_set(p->e, ERR_NOMEM, "%s: the policies need more memory than is allowed", p->lex.name);
}

int parser_grow(struct parser *p, void **array, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap)
		return ERR_OK;
	uint32_t want = *cap ? *cap * 2 : 64;
	void *q = want > *cap ? realloc(*array, (size_t)want * size) : NULL;
	if (!q)
		return parse_no_memory(p);
	*array = q;
	*cap = want;
	return ERR_OK;
}

/* --- names --------------------------------------------------------------------------------------- */

static int check_word(struct parser *p)
{
	const struct token *t = &p->lex.tok;
	if (t->kind != TOK_IDENT)
		return lex_expected(&p->lex, "an identifier", p->e);
	if (t->word != WORD_NONE)
		return lex_fail(&p->lex, t->at, p->e, "expected an identifier, found the reserved word `%.*s`",
						(int)t->len, p->lex.text + t->at);
	return ERR_OK;
}

int parse_intern(struct parser *p, const char *text, size_t len, struct str *out)
{
	const struct str *s = intern_str(p->names, p->arena, text, len);
	if (!s)
		return parse_no_memory(p);
	*out = *s;
	return ERR_OK;
}

int parse_ident(struct parser *p, struct str *out)
{
	const struct token t = p->lex.tok;
	int rc = check_word(p);
	if (rc)
		return rc;
	if ((rc = parse_intern(p, p->lex.text + t.at, t.len, out)))
		return rc;
	lex_next(&p->lex);
	return ERR_OK;
}

int parse_string(struct parser *p, struct str *out)
{
	const char *s;
	uint32_t len;
	if (p->lex.tok.kind != TOK_STRING)
		return lex_expected(&p->lex, "a string", p->e);
	struct arena_mark m = arena_mark(&p->scratch);
	int rc = lex_string(&p->lex, &p->lex.tok, &p->scratch, &s, &len, p->e);
	if (!rc)
		rc = parse_intern(p, s, len, out);
	arena_rewind(&p->scratch, m);
	if (rc)
		return rc;
	lex_next(&p->lex);
	return ERR_OK;
}

/* Appends one token's text; the path's text without white space is never longer than the source. */
static void path_add(char *buf, size_t *n, const char *s, size_t len)
{
	memcpy(buf + *n, s, len);
	*n += len;
}

int parse_path(struct parser *p, struct str *out, bool *is_entity)
{
	struct lex *l = &p->lex;
	struct lex ahead = *l;
	size_t room = 0, n = 0;
	for (enum lex_tok want = TOK_IDENT; ahead.tok.kind == want; lex_next(&ahead)) {
		room += ahead.tok.len;
		want = want == TOK_IDENT ? TOK_PATH : TOK_IDENT;
	}
	struct arena_mark m = arena_mark(&p->scratch);
	char *buf = arena_alloc(&p->scratch, room + 1, 1);
	int rc = buf ? ERR_OK : parse_no_memory(p);
	*is_entity = false;
	while (!rc) {
		if ((rc = check_word(p)))
			break;
		path_add(buf, &n, l->text + l->tok.at, l->tok.len);
		lex_next(l);
		if (l->tok.kind != TOK_PATH)
			break;
		lex_next(l);
		if (l->tok.kind == TOK_STRING) {
			*is_entity = true;
			break;
		}
		path_add(buf, &n, "::", 2);
	}
	if (!rc)
		rc = parse_intern(p, buf, n, out);
	arena_rewind(&p->scratch, m);
	return rc;
}

int parse_uid(struct parser *p, const struct str *type, const struct uid **out)
{
	struct str id;
	int rc = parse_string(p, &id);
	if (rc)
		return rc;
	*out = intern_uid(p->names, p->arena, type->p, type->len, id.p, id.len);
	return *out ? ERR_OK : parse_no_memory(p);
}

int parse_type_ref(struct parser *p, const struct str *name, struct type_ref **out)
{
	struct type_ref *t = arena_alloc(p->arena, 1, sizeof *t);
	if (!t)
		return parse_no_memory(p);
	*t = (struct type_ref){.name = *name, .hash = hash_bytes(p->key, name->p, name->len)};
	*out = t;
	return ERR_OK;
}

/* --- scopes -------------------------------------------------------------------------------------- */

/* An entity in a scope; parentheses around it mean nothing. */
static int scope_entity(struct parser *p, enum var v, const struct uid **out)
{
	struct str type;
	bool is_entity;
	unsigned parens = 0;
	int rc;
	while (p->lex.tok.kind == TOK_LPAREN && parens < LIMIT_POLICY_DEPTH) {
		parens++;
		lex_next(&p->lex);
	}
	uint32_t at = p->lex.tok.at;
	if (p->lex.tok.kind != TOK_IDENT)
		return lex_expected(&p->lex,
							v == VAR_ACTION
								? "an action such as Action::\"name\""
								: "an entity such as Type::\"id\", or the template slot of this variable",
							p->e);
	if ((rc = parse_path(p, &type, &is_entity)))
		return rc;
	if (!is_entity)
		return lex_expected(&p->lex, "`::` and a string, to name an entity", p->e);
	if ((rc = parse_uid(p, &type, out)))
		return rc;
	if (v == VAR_ACTION && !type_is_action(&type))
		return lex_fail(&p->lex, at, p->e, "expected an entity of type Action, found type `%.*s`",
						(int)(type.len < 100 ? type.len : 100), type.p);
	while (parens--)
		if ((rc = lex_take(&p->lex, TOK_RPAREN, p->e)))
			return rc;
	return ERR_OK;
}

/* An entity, or the variable's own slot. */
static int scope_ref(struct parser *p, enum var v, struct scope *s)
{
	const struct token *t = &p->lex.tok;
	if (t->kind != TOK_SLOT)
		return scope_entity(p, v, &s->uid);
	if (v == VAR_ACTION || t->len != strlen(var_names[v]) + 1 ||
		memcmp(p->lex.text + t->at + 1, var_names[v], t->len - 1) != 0)
		return lex_expected(&p->lex,
							v == VAR_ACTION ? "an action (actions have no template slot)"
											: "the template slot of this variable, or an entity",
							p->e);
	s->slot = true;
	lex_next(&p->lex);
	return ERR_OK;
}

static int scope_action_set(struct parser *p, struct scope *s)
{
	const struct uid **list = NULL;
	uint32_t cap = 0;
	int rc = ERR_OK;
	lex_next(&p->lex);
	while (!rc && p->lex.tok.kind != TOK_RBRACKET) {
		if ((rc = parser_grow(p, (void **)&list, s->n_set, &cap, sizeof(struct uid *))))
			break;
		if ((rc = scope_entity(p, VAR_ACTION, &list[s->n_set++])))
			break;
		if (p->lex.tok.kind != TOK_COMMA)
			break;
		lex_next(&p->lex);
	}
	if (!rc)
		rc = lex_take(&p->lex, TOK_RBRACKET, p->e);
	if (!rc) {
		const struct uid **kept = arena_alloc(p->arena, s->n_set, sizeof *kept);
		if (!kept)
			rc = parse_no_memory(p);
		else if (s->n_set)
			memcpy(kept, list, s->n_set * sizeof *kept);
		s->set = kept;
	}
	free(list);
	return rc;
}

static int scope_is(struct parser *p, enum var v, struct scope *s)
{
	struct str name;
	struct type_ref *t;
	bool is_entity;
	int rc;
	if (v == VAR_ACTION)
		return lex_expected(&p->lex, "`==`, `in` or `,` (an action has no `is`)", p->e);
	lex_next(&p->lex);
	if ((rc = parse_path(p, &name, &is_entity)) || (rc = parse_type_ref(p, &name, &t)))
		return rc;
	if (is_entity)
		return lex_expected(&p->lex, "an entity type, not an entity", p->e);
	s->type = t;
	s->kind = SCOPE_IS;
	if (p->lex.tok.word != WORD_IN)
		return ERR_OK;
	s->kind = SCOPE_IS_IN;
	lex_next(&p->lex);
	return scope_ref(p, v, s);
}

static int parse_scope(struct parser *p, enum var v, struct scope *s)
{
	struct lex *l = &p->lex;
	*s = (struct scope){.kind = SCOPE_ANY};
	if (!lex_is(l, var_names[v])) {
		char want[32] = "`";
		strncat(strncat(want, var_names[v], 16), "`", 2);
		return lex_expected(l, want, p->e);
	}
	lex_next(l);
	if (l->tok.word == WORD_IS)
		return scope_is(p, v, s);
	if (l->tok.kind == TOK_EQ) {
		s->kind = SCOPE_EQ;
		lex_next(l);
		return scope_ref(p, v, s);
	}
	if (l->tok.word != WORD_IN)
		return ERR_OK; /* the caller expects `,` or `)` */
	lex_next(l);
	s->kind = v == VAR_ACTION && l->tok.kind == TOK_LBRACKET ? SCOPE_IN_SET : SCOPE_IN;
	return s->kind == SCOPE_IN_SET ? scope_action_set(p, s) : scope_ref(p, v, s);
}

static int parse_scopes(struct parser *p, struct policy *pol)
{
	int rc = lex_take(&p->lex, TOK_LPAREN, p->e);
	for (enum var v = VAR_PRINCIPAL; !rc && v <= VAR_RESOURCE; v++) {
		rc = parse_scope(p, v, &pol->scope[v]);
		pol->template = pol->template || pol->scope[v].slot;
		if (!rc && v < VAR_RESOURCE)
			rc = lex_take(&p->lex, TOK_COMMA, p->e);
	}
	if (!rc && p->lex.tok.kind == TOK_COMMA)
		lex_next(&p->lex);
	return rc ? rc : lex_take(&p->lex, TOK_RPAREN, p->e);
}

/* --- annotations, clauses ------------------------------------------------------------------------ */

static int parse_annotation(struct parser *p, struct annotation *an)
{
	struct lex *l = &p->lex;
	struct str value;
	int rc;
	lex_next(l);
	if (l->tok.kind != TOK_IDENT)
		return lex_expected(l, "the annotation's name", p->e);
	*an = (struct annotation){.key = str_make(p->key, l->text + l->tok.at, l->tok.len)};
	lex_next(l);
	if (l->tok.kind != TOK_LPAREN)
		return ERR_OK;
	lex_next(l);
	if ((rc = parse_string(p, &value)))
		return rc;
	an->value = value.p;
	an->value_len = value.len;
	return lex_take(l, TOK_RPAREN, p->e);
}

static int parse_annotations(struct parser *p, struct policy *pol)
{
	struct annotation *list = NULL;
	uint32_t n = 0, cap = 0;
	int rc = ERR_OK;
	while (!rc && p->lex.tok.kind == TOK_AT) {
		uint32_t at = p->lex.tok.at;
		if (n >= LIMIT_POLICY_ANNOTATIONS)
			rc = lex_fail(&p->lex, at, p->e, "expected at most %d annotations, found more",
						  LIMIT_POLICY_ANNOTATIONS);
		if (rc || (rc = parser_grow(p, (void **)&list, n, &cap, sizeof *list)) ||
			(rc = parse_annotation(p, &list[n])))
			break;
		for (uint32_t i = 0; !rc && i < n; i++)
			if (str_cmp(&list[i].key, &list[n].key) == 0)
				rc = lex_fail(&p->lex, at, p->e, "expected another annotation, found the same one twice");
		n++;
	}
	struct annotation *kept = rc ? NULL : arena_alloc(p->arena, n, sizeof *kept);
	if (!rc && !kept)
		rc = parse_no_memory(p);
	if (!rc && n)
		memcpy(kept, list, n * sizeof *kept);
	pol->annotations = kept;
	pol->n_annotations = n;
	free(list);
	return rc;
}

static int parse_clause(struct parser *p, struct clause *c)
{
	int rc;
	c->at = p->lex.tok.at;
	c->unless = lex_is(&p->lex, "unless");
	c->first = p->n_ops;
	lex_next(&p->lex);
	if ((rc = lex_take(&p->lex, TOK_LBRACE, p->e)) || (rc = parse_expr(p)))
		return rc;
	c->n = p->n_ops - c->first;
	return lex_take(&p->lex, TOK_RBRACE, p->e);
}

static int keep_code(struct parser *p, struct policy *pol, const struct clause *list)
{
	struct op *ops = arena_alloc(p->arena, p->n_ops, sizeof *ops);
	struct clause *cl = arena_alloc(p->arena, pol->n_clauses, sizeof *cl);
	if (!ops || !cl)
		return parse_no_memory(p);
	if (p->n_ops)
		memcpy(ops, p->ops, p->n_ops * sizeof *ops);
	if (pol->n_clauses)
		memcpy(cl, list, pol->n_clauses * sizeof *cl);
	pol->code = ops;
	pol->n_ops = p->n_ops;
	pol->clauses = cl;
	pol->max_stack = p->max_depth;
	return ERR_OK;
}

static int parse_clauses(struct parser *p, struct policy *pol)
{
	struct clause *list = NULL;
	uint32_t cap = 0;
	int rc = ERR_OK;
	p->n_ops = p->depth = p->max_depth = p->n_nodes = 0;
	while (!rc && (lex_is(&p->lex, "when") || lex_is(&p->lex, "unless"))) {
		if ((rc = parser_grow(p, (void **)&list, pol->n_clauses, &cap, sizeof *list)) == 0)
			rc = parse_clause(p, &list[pol->n_clauses++]);
		p->depth = 0; /* each clause leaves one value, which is looked at and dropped */
	}
	if (!rc && p->lex.tok.kind != TOK_SEMI)
		rc = lex_expected(&p->lex, "`when`, `unless` or `;`", p->e);
	if (!rc)
		rc = keep_code(p, pol, list);
	free(list);
	return rc;
}

static int parse_policy(struct parser *p, struct policy *pol)
{
	int rc;
	if ((rc = parse_annotations(p, pol)))
		return rc;
	pol->at = p->lex.tok.at;
	pol->forbid = lex_is(&p->lex, "forbid");
	if (!pol->forbid && !lex_is(&p->lex, "permit"))
		return lex_expected(&p->lex, "`permit` or `forbid`", p->e);
	lex_next(&p->lex);
	if ((rc = parse_scopes(p, pol)) || (rc = parse_clauses(p, pol)))
		return rc;
	return lex_take(&p->lex, TOK_SEMI, p->e);
}

int parse_policies(struct arena *a, struct intern *names, const struct source *src, void *to,
				   int (*put)(void *to, struct policy *p, struct err *e), struct err *e)
{
	struct parser p = {.arena = a, .names = names, .key = &names->key, .e = e};
	int rc = lex_init(&p.lex, src->name, src->text, src->len, true, LIMIT_POLICY_TEXT_BYTES, e);
	arena_init(&p.scratch, LIMIT_WORLD_BYTES);
	while (!rc && p.lex.tok.kind != TOK_END) {
		struct policy pol = {.source = src};
		rc = parse_policy(&p, &pol);
		if (!rc)
			rc = put(to, &pol, e);
	}
	arena_free(&p.scratch);
	free(p.ops);
	free(p.frames);
	free(p.keys);
	return rc;
}
