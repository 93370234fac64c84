/* SPDX-License-Identifier: Apache-2.0
 *
 * A schema's text (human form) to declarations. Grammar:
 *
 *   Schema    ::= { Annots 'namespace' Path '{' {Decl} '}' | Decl }
 *   Decl      ::= Annots (Entity | Action | Common)
 *   Entity    ::= 'entity' IDENT {',' IDENT} ['in' Types] [['='] Record] ['tags' Type] ';'
 *               | 'entity' IDENT {',' IDENT} 'enum' '[' STR {',' STR} ']' ';'
 *   Action    ::= 'action' Name {',' Name} ['in' (Ref | '[' Ref {',' Ref} ']')] [AppliesTo] ['attributes' '{'
 * '}'] ';' AppliesTo ::= 'appliesTo' '{' Item {',' Item} [','] '}' Item      ::= ('principal'|'resource') ':'
 * Types | 'context' ':' (Path|Record)      each once, any order Common    ::= 'type' IDENT '=' Type ';' Type
 * ::= Path | 'Set' '<' Type '>' | Record Record    ::= '{' [Annots Name ['?'] ':' Type {',' ..} [',']] '}'
 *   Types     ::= Path | '[' [Path {',' Path}] ']'
 *   Ref       ::= Path '::' STR | Name           Name ::= IDENT | STR
 *   Annots    ::= {'@' any identifier ['(' STR ')']}
 *
 * Types nest, so they are read with an explicit stack. An attribute that is declared twice in one
 * record takes its last type, as in the official build.
 *
 * Side: broker, cli. Trusts: nothing. Owns: its scratch.
 */
#include "policy/schema.h"

#include <stdlib.h>
#include <string.h>

/* A list that grows by malloc while it is read, and is then kept in the arena. */
struct list {
	void *v;
	uint32_t n, cap;
	size_t size;
};

static void *list_add(struct parser *p, struct list *l)
{
	if (parser_grow(p, &l->v, l->n, &l->cap, l->size))
		return NULL;
	return memset((char *)l->v + (size_t)l->n++ * l->size, 0, l->size);
}

static int list_keep(struct parser *p, const struct list *l, uint32_t from, void **out)
{
	size_t n = l->n - from;
	*out = arena_alloc(p->arena, n, l->size);
	if (!*out)
		return parse_no_memory(p);
	if (n)
		memcpy(*out, (char *)l->v + (size_t)from * l->size, n * l->size);
	return ERR_OK;
}

struct reading {
	struct parser *p;
	struct schema *s;
	struct str ns;
	struct list entities, commons, actions, spaces;
	struct list refs, names, action_refs, attrs, nests; /* scratch of one declaration */
};

/* --- names -------------------------------------------------------------------------------------------- */

static int read_text(struct parser *p, struct str *out)
{
	const struct token t = p->lex.tok;
	int rc = parse_intern(p, p->lex.text + t.at, t.len, out);
	lex_next(&p->lex);
	return rc;
}

/* Any identifier that is no reserved word; __cedar only where it may stand. */
static int read_ident(struct parser *p, bool cedar, struct str *out)
{
	const struct token *t = &p->lex.tok;
	if (t->kind != TOK_IDENT || !(t->word == WORD_NONE || (cedar && t->word == WORD_CEDAR)))
		return lex_expected(&p->lex, "an identifier that is no reserved word", p->e);
	return read_text(p, out);
}

static int read_name(struct parser *p, struct str *out)
{
	return p->lex.tok.kind == TOK_STRING ? parse_string(p, out) : read_ident(p, true, out);
}

static int join(struct parser *p, const struct str *a, const struct str *b, struct str *out)
{
	size_t len = (a->len ? (size_t)a->len + 2 : 0) + b->len;
	char *s = arena_alloc(p->arena, len + 1, 1);
	if (!s)
		return parse_no_memory(p);
	if (a->len) {
		memcpy(s, a->p, a->len);
		memcpy(s + a->len, "::", 2);
	}
	memcpy(s + len - b->len, b->p, b->len);
	s[len] = 0;
	*out = str_make(p->key, s, len);
	return ERR_OK;
}

/* IDENT {:: IDENT}; stops in front of `:: "string"`. */
static int read_path(struct parser *p, struct str *out)
{
	struct str part;
	int rc = read_ident(p, true, out);
	while (!rc && p->lex.tok.kind == TOK_PATH && lex_peek(&p->lex).kind != TOK_STRING) {
		lex_next(&p->lex);
		if ((rc = read_ident(p, false, &part)) == 0)
			rc = join(p, out, &part, out);
	}
	return rc;
}

static int skip_annotations(struct parser *p)
{
	struct str seen[LIMIT_POLICY_ANNOTATIONS], value;
	uint32_t n = 0;
	int rc;
	for (; p->lex.tok.kind == TOK_AT; n++) {
		uint32_t at = p->lex.tok.at;
		lex_next(&p->lex);
		if (n == LIMIT_POLICY_ANNOTATIONS)
			return lex_fail(&p->lex, at, p->e, "expected at most %d annotations, found more",
							LIMIT_POLICY_ANNOTATIONS);
		if (p->lex.tok.kind != TOK_IDENT)
			return lex_expected(&p->lex, "the annotation's name", p->e);
		if ((rc = read_text(p, &seen[n])))
			return rc;
		for (uint32_t i = 0; i < n; i++)
			if (str_cmp(&seen[i], &seen[n]) == 0)
				return lex_fail(&p->lex, at, p->e, "expected another annotation, found the same one twice");
		if (p->lex.tok.kind != TOK_LPAREN)
			continue;
		lex_next(&p->lex);
		if ((rc = parse_string(p, &value)) || (rc = lex_take(&p->lex, TOK_RPAREN, p->e)))
			return rc;
	}
	return ERR_OK;
}

/* --- types --------------------------------------------------------------------------------------------- */

struct nest {
	bool record;
	uint32_t at;
	uint32_t base; /* a record's first attribute in the list */
};

static int open_nest(struct reading *g, bool record)
{
	struct parser *p = g->p;
	if (g->nests.n == LIMIT_POLICY_DEPTH)
		return lex_fail(&p->lex, p->lex.tok.at, p->e, "too deep: more than %d types inside one another",
						LIMIT_POLICY_DEPTH);
	struct nest *n = list_add(p, &g->nests);
	if (!n)
		return parse_no_memory(p);
	*n = (struct nest){record, p->lex.tok.at, g->attrs.n};
	lex_next(&p->lex);
	return record ? ERR_OK : lex_take(&p->lex, TOK_LT, p->e);
}

/* The head of the next attribute, up to its colon. */
static int attr_head(struct reading *g)
{
	struct parser *p = g->p;
	struct schema_attr *a;
	int rc = skip_annotations(p);
	if (rc)
		return rc;
	const struct nest *in = (struct nest *)g->nests.v + g->nests.n - 1;
	if (g->attrs.n - in->base == LIMIT_SCHEMA_ATTRS)
		return lex_fail(&p->lex, p->lex.tok.at, p->e,
						"expected at most %d attributes in a record, found more", LIMIT_SCHEMA_ATTRS);
	if (!(a = list_add(p, &g->attrs)))
		return parse_no_memory(p);
	if ((rc = read_name(p, &a->name)))
		return rc;
	if (p->lex.tok.kind == TOK_QUESTION) {
		a->optional = true;
		lex_next(&p->lex);
	}
	return lex_take(&p->lex, TOK_COLON, p->e);
}

/* The record on top ends: its attributes, of those with the same name the last, become a type. */
static int close_record(struct reading *g, struct schema_type *out)
{
	struct nest *n = (struct nest *)g->nests.v + --g->nests.n;
	struct schema_attr *a = g->attrs.v;
	uint32_t kept = n->base;
	void *v;
	for (uint32_t i = n->base; i < g->attrs.n; i++) {
		uint32_t k = n->base;
		while (k < kept && str_cmp(&a[k].name, &a[i].name) != 0)
			k++;
		a[k] = a[i];
		kept += k == kept;
	}
	g->attrs.n = kept;
	int rc = list_keep(g->p, &g->attrs, n->base, &v);
	*out = (struct schema_type){.kind = TYPE_RECORD, .at = n->at, .attr = v, .n_attr = kept - n->base};
	g->attrs.n = n->base;
	return rc;
}

static int close_set(struct reading *g, struct schema_type *t)
{
	struct nest *n = (struct nest *)g->nests.v + --g->nests.n;
	struct schema_type *elem = arena_alloc(g->p->arena, 1, sizeof *elem);
	if (!elem)
		return parse_no_memory(g->p);
	*elem = *t;
	*t = (struct schema_type){.kind = TYPE_SET, .at = n->at, .elem = elem};
	return lex_take(&g->p->lex, TOK_GT, g->p->e);
}

/* A complete type inside a record: store it; go on after a comma, or close. *more: a type follows. */
static int after_attr(struct reading *g, struct schema_type *t, bool *more)
{
	struct lex *l = &g->p->lex;
	int rc;
	((struct schema_attr *)g->attrs.v)[g->attrs.n - 1].type = *t;
	if (l->tok.kind == TOK_COMMA) {
		lex_next(l);
		if (l->tok.kind != TOK_RBRACE) {
			*more = true;
			return attr_head(g);
		}
	}
	if (l->tok.kind != TOK_RBRACE)
		return lex_expected(l, "`,` or `}`", g->p->e);
	if ((rc = close_record(g, t)))
		return rc;
	lex_next(l);
	return ERR_OK;
}

/* Closes what the complete type t completes. *more: another type must follow. */
static int after_type(struct reading *g, struct schema_type *t, uint32_t outer, bool *more)
{
	int rc = ERR_OK;
	*more = false;
	while (!rc && !*more && g->nests.n > outer) {
		struct nest *n = (struct nest *)g->nests.v + g->nests.n - 1;
		rc = n->record ? after_attr(g, t, more) : close_set(g, t);
	}
	return rc;
}

static int read_type(struct reading *g, struct schema_type *out)
{
	struct lex *l = &g->p->lex;
	uint32_t outer = g->nests.n;
	bool more = true;
	int rc = ERR_OK;
	while (!rc && more) {
		*out = (struct schema_type){.kind = TYPE_NAME, .at = l->tok.at};
		if (l->tok.kind == TOK_LBRACE) {
			rc = open_nest(g, true);
			if (!rc && l->tok.kind != TOK_RBRACE) {
				rc = attr_head(g);
				continue;
			}
			if (!rc && (rc = close_record(g, out)) == 0)
				lex_next(l);
		} else if (lex_is(l, "Set") && lex_peek(l).kind == TOK_LT) {
			rc = open_nest(g, false);
			continue;
		} else {
			rc = read_path(g->p, &out->path);
		}
		if (!rc)
			rc = after_type(g, out, outer, &more);
	}
	return rc;
}

/* --- lists --------------------------------------------------------------------------------------------- */

static int read_type_ref(struct reading *g)
{
	struct schema_ref *r = list_add(g->p, &g->refs);
	if (!r)
		return parse_no_memory(g->p);
	r->at = g->p->lex.tok.at;
	return read_path(g->p, &r->path);
}

static int read_types(struct reading *g, struct schema_refs *out)
{
	struct lex *l = &g->p->lex;
	void *v;
	int rc = ERR_OK;
	g->refs.n = 0;
	if (l->tok.kind != TOK_LBRACKET) {
		rc = read_type_ref(g);
	} else {
		lex_next(l);
		for (bool more = l->tok.kind != TOK_RBRACKET; !rc && more;) {
			rc = read_type_ref(g);
			more = !rc && l->tok.kind == TOK_COMMA;
			if (more)
				lex_next(l);
		}
		if (!rc)
			rc = lex_take(l, TOK_RBRACKET, g->p->e);
	}
	if (!rc)
		rc = list_keep(g->p, &g->refs, 0, &v);
	if (!rc)
		*out = (struct schema_refs){v, g->refs.n};
	return rc;
}

/* IDENT {, IDENT} or, for actions, names. */
static int read_names(struct reading *g, bool strings)
{
	struct lex *l = &g->p->lex;
	int rc = ERR_OK;
	g->names.n = 0;
	for (bool more = true; !rc && more;) {
		struct schema_ref *r = list_add(g->p, &g->names);
		if (!r)
			return parse_no_memory(g->p);
		r->at = l->tok.at;
		rc = strings ? read_name(g->p, &r->path) : read_ident(g->p, false, &r->path);
		more = !rc && l->tok.kind == TOK_COMMA;
		if (more)
			lex_next(l);
	}
	return rc;
}

static int read_action_ref(struct reading *g)
{
	struct parser *p = g->p;
	struct schema_action_ref *r = list_add(p, &g->action_refs);
	int rc;
	if (!r)
		return parse_no_memory(p);
	r->at = p->lex.tok.at;
	r->type = str_make(p->key, "", 0);
	if (p->lex.tok.kind == TOK_STRING || lex_peek(&p->lex).kind != TOK_PATH)
		return read_name(p, &r->id);
	if ((rc = read_path(p, &r->type)) || (rc = lex_take(&p->lex, TOK_PATH, p->e)))
		return rc;
	return parse_string(p, &r->id);
}

static int read_action_refs(struct reading *g)
{
	struct lex *l = &g->p->lex;
	int rc = ERR_OK;
	if (l->tok.kind != TOK_LBRACKET)
		return read_action_ref(g);
	lex_next(l);
	for (bool more = true; !rc && more;) {
		rc = read_action_ref(g);
		more = !rc && l->tok.kind == TOK_COMMA;
		if (more)
			lex_next(l);
	}
	return rc ? rc : lex_take(l, TOK_RBRACKET, g->p->e);
}

/* --- declarations ------------------------------------------------------------------------------- */

static int read_enum(struct reading *g, struct schema_entity *en)
{
	struct lex *l = &g->p->lex;
	void *v;
	uint32_t from = g->names.n;
	int rc;
	en->is_enum = true;
	lex_next(l);
	rc = lex_take(l, TOK_LBRACKET, g->p->e);
	for (bool more = true; !rc && more;) {
		struct schema_ref *r = list_add(g->p, &g->names);
		if (!r)
			return parse_no_memory(g->p);
		rc = parse_string(g->p, &r->path);
		more = !rc && l->tok.kind == TOK_COMMA;
		if (more)
			lex_next(l);
	}
	if (rc || (rc = lex_take(l, TOK_RBRACKET, g->p->e)))
		return rc;
	en->n_ids = g->names.n - from;
	en->ids = arena_alloc(g->p->arena, en->n_ids, sizeof *en->ids);
	if (!en->ids)
		return parse_no_memory(g->p);
	v = g->names.v;
	for (uint32_t i = 0; i < en->n_ids; i++)
		en->ids[i] = ((struct schema_ref *)v)[from + i].path;
	g->names.n = from;
	return ERR_OK;
}

static int read_entity_body(struct reading *g, struct schema_entity *en)
{
	struct lex *l = &g->p->lex;
	int rc = ERR_OK;
	en->shape.kind = TYPE_RECORD;
	if (lex_is(l, "enum"))
		return read_enum(g, en);
	if (l->tok.word == WORD_IN) {
		lex_next(l);
		rc = read_types(g, &en->parents);
	}
	bool assign = !rc && l->tok.kind == TOK_ASSIGN;
	if (assign)
		lex_next(l);
	if (!rc && assign && l->tok.kind != TOK_LBRACE)
		return lex_expected(l, "`{`", g->p->e);
	if (!rc && l->tok.kind == TOK_LBRACE)
		rc = read_type(g, &en->shape);
	if (rc || !lex_is(l, "tags"))
		return rc;
	lex_next(l);
	en->has_tags = true;
	return read_type(g, &en->tags);
}

static int read_entity(struct reading *g)
{
	struct parser *p = g->p;
	struct schema_entity body = {.ns = g->ns};
	int rc = read_names(g, false);
	if (rc || (rc = read_entity_body(g, &body)))
		return rc;
	const struct schema_ref *name = g->names.v;
	for (uint32_t i = 0; !rc && i < g->names.n; i++) {
		struct schema_entity *en = list_add(p, &g->entities);
		if (!en)
			return parse_no_memory(p);
		*en = body;
		en->base = name[i].path;
		en->at = name[i].at;
		rc = join(p, &g->ns, &en->base, &en->full);
	}
	return rc ? rc : lex_take(&p->lex, TOK_SEMI, p->e);
}

static int read_common(struct reading *g)
{
	struct parser *p = g->p;
	struct schema_common c = {.ns = g->ns, .at = p->lex.tok.at};
	int rc;
	if ((rc = read_ident(p, false, &c.base)) || (rc = lex_take(&p->lex, TOK_ASSIGN, p->e)) ||
		(rc = read_type(g, &c.type)) || (rc = join(p, &g->ns, &c.base, &c.full)))
		return rc;
	struct schema_common *kept = list_add(p, &g->commons);
	if (!kept)
		return parse_no_memory(p);
	*kept = c;
	return lex_take(&p->lex, TOK_SEMI, p->e);
}

/* One of principal, resource, context; seen: which of them stood before. */
static int read_applies_item(struct reading *g, struct schema_action *a, unsigned *seen)
{
	static const char *const names[] = {"principal", "resource", "context"};
	struct lex *l = &g->p->lex;
	unsigned i = 0;
	int rc;
	while (i < 3 && !lex_is(l, names[i]))
		i++;
	if (i == 3)
		return lex_expected(l, "`principal`, `resource` or `context`", g->p->e);
	if (*seen & 1u << i)
		return lex_fail(l, l->tok.at, g->p->e, "expected `%s` once, found it twice", names[i]);
	*seen |= 1u << i;
	lex_next(l);
	if ((rc = lex_take(l, TOK_COLON, g->p->e)))
		return rc;
	if (i < 2) {
		uint32_t at = l->tok.at;
		struct schema_refs *refs = i ? &a->resources : &a->principals;
		if ((rc = read_types(g, refs)))
			return rc;
		return refs->n ? ERR_OK : lex_fail(l, at, g->p->e, "expected at least one type, found none");
	}
	if (l->tok.kind != TOK_LBRACE && lex_peek(l).kind == TOK_LT)
		return lex_expected(l, "a record or the name of one", g->p->e);
	return read_type(g, &a->context);
}

static int read_applies(struct reading *g, struct schema_action *a)
{
	struct lex *l = &g->p->lex;
	uint32_t at = l->tok.at;
	unsigned seen = 0;
	int rc;
	a->applies = true;
	lex_next(l);
	rc = lex_take(l, TOK_LBRACE, g->p->e);
	for (bool more = true; !rc && more;) {
		rc = read_applies_item(g, a, &seen);
		more = !rc && l->tok.kind == TOK_COMMA;
		if (more)
			lex_next(l);
		more = more && l->tok.kind != TOK_RBRACE;
	}
	if (rc || (rc = lex_take(l, TOK_RBRACE, g->p->e)))
		return rc;
	return (seen & 3) == 3 ? ERR_OK
						   : lex_fail(l, at, g->p->e, "expected principal and resource in appliesTo");
}

static int read_action_body(struct reading *g, struct schema_action *a)
{
	struct lex *l = &g->p->lex;
	void *v;
	int rc = ERR_OK;
	g->action_refs.n = 0;
	a->context.kind = TYPE_RECORD;
	if (l->tok.word == WORD_IN) {
		lex_next(l);
		rc = read_action_refs(g);
	}
	if (!rc && lex_is(l, "appliesTo"))
		rc = read_applies(g, a);
	if (!rc && lex_is(l, "attributes")) { /* actions have none: only the empty record is allowed */
		lex_next(l);
		if ((rc = lex_take(l, TOK_LBRACE, g->p->e)) == 0)
			rc = lex_take(l, TOK_RBRACE, g->p->e);
	}
	if (rc || (rc = list_keep(g->p, &g->action_refs, 0, &v)))
		return rc;
	a->parents = v;
	a->n_parents = g->action_refs.n;
	return ERR_OK;
}

static int read_action(struct reading *g)
{
	struct parser *p = g->p;
	struct schema_action body = {.ns = g->ns};
	const struct str action = str_make(p->key, "Action", 6);
	struct str type;
	int rc = read_names(g, true);
	if (rc || (rc = read_action_body(g, &body)) || (rc = join(p, &g->ns, &action, &type)))
		return rc;
	const struct schema_ref *name = g->names.v;
	for (uint32_t i = 0; i < g->names.n; i++) {
		struct schema_action *a = list_add(p, &g->actions);
		const struct uid *u =
			intern_uid(p->names, p->arena, type.p, type.len, name[i].path.p, name[i].path.len);
		void *parents = arena_alloc(p->arena, body.n_parents, sizeof *body.parents);
		if (!a || !u || !parents)
			return parse_no_memory(p);
		*a = body;
		a->uid = u;
		a->at = name[i].at;
		if (body.n_parents)
			memcpy(parents, body.parents, body.n_parents * sizeof *body.parents);
		a->parents = parents;
	}
	return lex_take(&p->lex, TOK_SEMI, p->e);
}

static int read_decl(struct reading *g)
{
	static const struct {
		const char *word;
		int (*read)(struct reading *g);
	} decls[] = {{"entity", read_entity}, {"action", read_action}, {"type", read_common}};
	struct lex *l = &g->p->lex;
	int rc = skip_annotations(g->p);
	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof decls / sizeof decls[0]; i++)
		if (lex_is(l, decls[i].word)) {
			lex_next(l);
			return decls[i].read(g);
		}
	return lex_expected(l, "`entity`, `action` or `type`", g->p->e);
}

static int read_namespace(struct reading *g)
{
	struct parser *p = g->p;
	const struct str none = g->ns;
	uint32_t at;
	int rc;
	lex_next(&p->lex);
	at = p->lex.tok.at;
	if (p->lex.tok.word == WORD_CEDAR)
		return lex_expected(&p->lex, "a namespace that is not reserved", p->e);
	if ((rc = read_path(p, &g->ns)))
		return rc;
	if (g->spaces.n == LIMIT_SCHEMA_NAMESPACES)
		return lex_fail(&p->lex, at, p->e, "expected at most %d namespaces, found more",
						LIMIT_SCHEMA_NAMESPACES);
	const struct str *old = g->spaces.v;
	for (uint32_t i = 0; i < g->spaces.n; i++)
		if (str_cmp(&old[i], &g->ns) == 0)
			return lex_fail(&p->lex, at, p->e, "expected every namespace once, found this one twice");
	struct str *kept = list_add(p, &g->spaces);
	if (!kept)
		return parse_no_memory(p);
	*kept = g->ns;
	rc = lex_take(&p->lex, TOK_LBRACE, p->e);
	while (!rc && p->lex.tok.kind != TOK_RBRACE)
		rc = read_decl(g);
	g->ns = none;
	return rc ? rc : lex_take(&p->lex, TOK_RBRACE, p->e);
}

/* A namespace or a declaration; annotations stand in front of either. */
static int read_top(struct reading *g)
{
	const struct lex start = g->p->lex;
	int rc = skip_annotations(g->p);
	if (rc)
		return rc;
	if (lex_is(&g->p->lex, "namespace"))
		return read_namespace(g);
	g->p->lex = start;
	return read_decl(g);
}

int schema_parse(struct parser *p, struct schema *out)
{
	struct reading g = {.p = p, .s = out, .ns = str_make(p->key, "", 0)};
	void *en = NULL, *co = NULL, *ac = NULL, *ns = NULL;
	int rc = ERR_OK;
	g.entities.size = sizeof(struct schema_entity);
	g.commons.size = sizeof(struct schema_common);
	g.actions.size = sizeof(struct schema_action);
	g.spaces.size = sizeof(struct str);
	g.refs.size = g.names.size = sizeof(struct schema_ref);
	g.action_refs.size = sizeof(struct schema_action_ref);
	g.attrs.size = sizeof(struct schema_attr);
	g.nests.size = sizeof(struct nest);
	while (!rc && p->lex.tok.kind != TOK_END)
		rc = read_top(&g);
	if (!rc && !(rc = list_keep(p, &g.entities, 0, &en)) && !(rc = list_keep(p, &g.commons, 0, &co)) &&
		!(rc = list_keep(p, &g.actions, 0, &ac)))
		rc = list_keep(p, &g.spaces, 0, &ns);
	*out = (struct schema){.source = out->source,
						   .entity = en,
						   .common = co,
						   .action = ac,
						   .ns = ns,
						   .n_entity = g.entities.n,
						   .n_common = g.commons.n,
						   .n_action = g.actions.n,
						   .n_ns = g.spaces.n};
	void *const lists[] = {g.entities.v, g.commons.v,     g.actions.v, g.spaces.v, g.refs.v,
						   g.names.v,    g.action_refs.v, g.attrs.v,   g.nests.v};
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		free(lists[i]);
	return rc;
}
