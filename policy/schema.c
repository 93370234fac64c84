/* SPDX-License-Identifier: Apache-2.0
 *
 * A schema's meaning: names are looked up, declarations checked against one another, actions become
 * entities of the world.
 *
 * Names. A path with :: is absolute. Else: as common type, then entity type, in the own namespace;
 * then the same in the empty one; then the built-in types. __cedar::X is always the built-in. A
 * definition in a namespace must not have the name of one in the empty namespace.
 *
 * Side: broker, cli. Trusts: nothing. Owns: nothing.
 */
#include "policy/schema.h"

#include <stdlib.h>
#include <string.h>

struct resolving {
	struct parser *p;
	struct schema *s;
	struct schema_type **todo; /* types still to look at */
	uint32_t n_todo, cap_todo;
};

static int fail(const struct resolving *g, uint32_t at, const char *what, const struct str *name)
{
	char text[120];
	err_escape(text, sizeof text, name->p, name->len);
	return lex_fail(&g->p->lex, at, g->p->e, "%s `%s`", what, text);
}

/* --- sorted lists and searches ------------------------------------------------------------------------- */

static int entity_cmp(const void *x, const void *y)
{
	struct schema_entity *const *a = x, *const *b = y;
	return str_cmp(&(*a)->full, &(*b)->full);
}

static int common_cmp(const void *x, const void *y)
{
	struct schema_common *const *a = x, *const *b = y;
	return str_cmp(&(*a)->full, &(*b)->full);
}

static int action_cmp(const void *x, const void *y)
{
	struct schema_action *const *a = x, *const *b = y;
	return uid_cmp((*a)->uid, (*b)->uid);
}

struct schema_entity *schema_find_entity(const struct schema *s, const struct str *full)
{
	struct schema_entity key = {.full = *full}, *k = &key;
	struct schema_entity **f =
		s->n_entity ? bsearch(&k, s->entities, s->n_entity, sizeof k, entity_cmp) : NULL;
	return f ? *f : NULL;
}

static struct schema_common *find_common(const struct schema *s, const struct str *full)
{
	struct schema_common key = {.full = *full}, *k = &key;
	struct schema_common **f =
		s->n_common ? bsearch(&k, s->commons, s->n_common, sizeof k, common_cmp) : NULL;
	return f ? *f : NULL;
}

struct schema_action *schema_find_action(const struct schema *s, const struct uid *u)
{
	struct schema_action key = {.uid = u}, *k = &key;
	struct schema_action **f =
		s->n_action ? bsearch(&k, s->actions, s->n_action, sizeof k, action_cmp) : NULL;
	return f ? *f : NULL;
}

/* Pointers to the n elements at v, in order of their names; neighbours that are equal are twice. */
static int sort_list(const struct resolving *g, void *v, uint32_t n, size_t size,
					 int (*cmp)(const void *, const void *), void ***out, uint32_t *twice)
{
	void **list = arena_alloc(g->p->arena, n, sizeof *list);
	if (!list)
		return parse_no_memory(g->p);
	for (uint32_t i = 0; i < n; i++)
		list[i] = (char *)v + i * size;
	if (n)
		qsort(list, n, sizeof *list, cmp);
	*out = list;
	*twice = 0;
	for (uint32_t i = 1; i < n && !*twice; i++)
		if (cmp(&list[i - 1], &list[i]) == 0)
			*twice = i;
	return ERR_OK;
}

static int sort_all(const struct resolving *g)
{
	struct schema *s = g->s;
	void **v;
	uint32_t twice;
	int rc = sort_list(g, s->entity, s->n_entity, sizeof *s->entity, entity_cmp, &v, &twice);
	if (rc)
		return rc;
	s->entities = (struct schema_entity **)v;
	if (twice)
		return fail(g, s->entities[twice]->at,
					"the entity type is declared twice:", &s->entities[twice]->full);
	if ((rc = sort_list(g, s->common, s->n_common, sizeof *s->common, common_cmp, &v, &twice)))
		return rc;
	s->commons = (struct schema_common **)v;
	if (twice)
		return fail(g, s->commons[twice]->at, "the type is declared twice:", &s->commons[twice]->full);
	if ((rc = sort_list(g, s->action, s->n_action, sizeof *s->action, action_cmp, &v, &twice)))
		return rc;
	s->actions = (struct schema_action **)v;
	if (twice)
		return fail(g, s->actions[twice]->at, "the action is declared twice:", &s->actions[twice]->uid->id);
	return ERR_OK;
}

/* --- names -------------------------------------------------------------------------------------- */

static bool is_absolute(const struct str *path)
{
	return memchr(path->p, ':', path->len) != NULL;
}

/* ns::path, or the path alone when ns is empty. */
static int full_name(const struct resolving *g, const struct str *ns, const struct str *path, struct str *out)
{
	size_t len = (ns->len ? (size_t)ns->len + 2 : 0) + path->len;
	char *s = arena_alloc(g->p->arena, len + 1, 1);
	if (!s)
		return parse_no_memory(g->p);
	memcpy(s, ns->p, ns->len);
	if (ns->len)
		memcpy(s + ns->len, "::", 2);
	memcpy(s + len - path->len, path->p, path->len);
	s[len] = 0;
	*out = str_make(g->p->key, s, len);
	return ERR_OK;
}

static const struct {
	const char *name;
	enum type_kind kind;
} builtins[] = {
	{"Long", TYPE_LONG},          {"String", TYPE_STRING},     {"Bool", TYPE_BOOL},
	{"ipaddr", TYPE_EXTENSION},   {"decimal", TYPE_EXTENSION}, {"datetime", TYPE_EXTENSION},
	{"duration", TYPE_EXTENSION},
};

static bool as_builtin(struct schema_type *t, const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof builtins / sizeof builtins[0]; i++)
		if (strlen(builtins[i].name) == len && memcmp(builtins[i].name, name, len) == 0) {
			t->kind = builtins[i].kind;
			return true;
		}
	return false;
}

/* Entity types named Action exist where a namespace declares actions. */
static bool is_action_type(const struct schema *s, const struct str *full)
{
	for (uint32_t i = 0; i < s->n_action; i++)
		if (str_cmp(&s->action[i].uid->type, full) == 0)
			return true;
	return false;
}

static bool as_declared(const struct schema *s, struct schema_type *t, const struct str *full)
{
	const struct schema_common *c = find_common(s, full);
	if (c) {
		t->kind = TYPE_COMMON;
		t->common = c;
	} else if (schema_find_entity(s, full) || (type_is_action(full) && is_action_type(s, full))) {
		t->kind = TYPE_ENTITY;
		t->path = *full;
	} else {
		return false;
	}
	return true;
}

static int resolve_name(const struct resolving *g, struct schema_type *t, const struct str *ns)
{
	static const char cedar[] = "__cedar::";
	size_t n = sizeof cedar - 1;
	struct str full;
	int rc;
	if (t->path.len > n && memcmp(t->path.p, cedar, n) == 0)
		return as_builtin(t, t->path.p + n, t->path.len - n)
				   ? ERR_OK
				   : fail(g, t->at, "expected a built-in type, found", &t->path);
	if (!is_absolute(&t->path) && ns->len) {
		if ((rc = full_name(g, ns, &t->path, &full)))
			return rc;
		if (as_declared(g->s, t, &full))
			return ERR_OK;
	}
	if (as_declared(g->s, t, &t->path) || as_builtin(t, t->path.p, t->path.len))
		return ERR_OK;
	return fail(g, t->at, "expected a type that is declared, found", &t->path);
}

static int todo_add(struct resolving *g, struct schema_type *t)
{
	int rc = parser_grow(g->p, (void **)&g->todo, g->n_todo, &g->cap_todo, sizeof t);
	if (!rc)
		g->todo[g->n_todo++] = t;
	return rc;
}

/* Resolves every name in a type. */
static int resolve_type(struct resolving *g, struct schema_type *t, const struct str *ns)
{
	int rc = todo_add(g, t);
	while (!rc && g->n_todo) {
		t = g->todo[--g->n_todo];
		if (t->kind == TYPE_NAME)
			rc = resolve_name(g, t, ns);
		else if (t->kind == TYPE_SET)
			rc = todo_add(g, t->elem);
		for (uint32_t i = 0; !rc && t->kind == TYPE_RECORD && i < t->n_attr; i++)
			rc = todo_add(g, &t->attr[i].type);
	}
	return rc;
}

/* Entity types only: no common type may stand for one here, and no Action. */
static int resolve_refs(const struct resolving *g, struct schema_refs *refs, const struct str *ns)
{
	for (uint32_t i = 0; i < refs->n; i++) {
		struct schema_ref *r = &refs->v[i];
		struct str full = r->path;
		int rc = is_absolute(&r->path) ? ERR_OK : full_name(g, ns, &r->path, &full);
		if (rc)
			return rc;
		if (!schema_find_entity(g->s, &full))
			full = r->path;
		if (!schema_find_entity(g->s, &full))
			return fail(g, r->at, "expected an entity type that is declared, found", &r->path);
		r->path = full;
	}
	return ERR_OK;
}

static int find_parent(const struct resolving *g, const struct str *ns, struct schema_action_ref *r)
{
	const struct str action = str_make(g->p->key, "Action", 6);
	bool is_short = !r->type.len || str_cmp(&r->type, &action) == 0;
	struct str type = r->type;
	struct uid u;
	int rc = is_short ? full_name(g, ns, &action, &type) : ERR_OK;
	if (rc)
		return rc;
	uid_fill(g->p->key, &u, type.p, type.len, r->id.p, r->id.len);
	r->to = schema_find_action(g->s, &u);
	if (!r->to && is_short) { /* then in the empty namespace */
		uid_fill(g->p->key, &u, action.p, action.len, r->id.p, r->id.len);
		r->to = schema_find_action(g->s, &u);
	}
	return r->to ? ERR_OK : fail(g, r->at, "expected an action that is declared, found", &r->id);
}

/* --- checks ------------------------------------------------------------------------------------- */

static int check_names(const struct resolving *g)
{
	static const char *const reserved[] = {"Bool", "Boolean", "Entity", "Extension",
										   "Long", "Record",  "Set",    "String"};
	struct schema *s = g->s;
	for (uint32_t i = 0; i < s->n_common; i++)
		for (size_t k = 0; k < sizeof reserved / sizeof reserved[0]; k++)
			if (str_is(&s->common[i].base, reserved[k]))
				return fail(g, s->common[i].at, "expected a type name that is not built in, found",
							&s->common[i].base);
	for (uint32_t i = 0; i < s->n_entity; i++)
		if (str_is(&s->entity[i].base, "Action"))
			return fail(g, s->entity[i].at, "expected another name for an entity type, found",
						&s->entity[i].base);
	return ERR_OK;
}

/* A name of a namespace that the empty one has too would change the meaning of the shorter one. */
static int check_shadows(const struct resolving *g)
{
	static const char what[] = "the name is declared outside of the namespace too:";
	struct schema *s = g->s;
	for (uint32_t i = 0; i < s->n_entity; i++)
		if (s->entity[i].ns.len &&
			(schema_find_entity(s, &s->entity[i].base) || find_common(s, &s->entity[i].base)))
			return fail(g, s->entity[i].at, what, &s->entity[i].base);
	for (uint32_t i = 0; i < s->n_common; i++)
		if (s->common[i].ns.len &&
			(schema_find_entity(s, &s->common[i].base) || find_common(s, &s->common[i].base)))
			return fail(g, s->common[i].at, what, &s->common[i].base);
	for (uint32_t i = 0; i < s->n_action; i++) {
		struct uid u;
		uid_fill(g->p->key, &u, "Action", 6, s->action[i].uid->id.p, s->action[i].uid->id.len);
		if (s->action[i].ns.len && schema_find_action(s, &u))
			return fail(g, s->action[i].at, what, &s->action[i].uid->id);
	}
	return ERR_OK;
}

/* Calls visit for every common type that t names. */
static int each_use(struct resolving *g, struct schema_type *t,
					void (*visit)(struct schema_common *c, void *to), void *to)
{
	int rc = todo_add(g, t);
	while (!rc && g->n_todo) {
		t = g->todo[--g->n_todo];
		if (t->kind == TYPE_COMMON)
			visit(find_common(g->s, &t->common->full), to);
		else if (t->kind == TYPE_SET)
			rc = todo_add(g, t->elem);
		for (uint32_t i = 0; !rc && t->kind == TYPE_RECORD && i < t->n_attr; i++)
			rc = todo_add(g, &t->attr[i].type);
	}
	return rc;
}

struct ready {
	struct schema_common **v;
	uint32_t n;
};

static void count_user(struct schema_common *c, void *to)
{
	(void)to;
	c->n_waiting++;
}

static void drop_user(struct schema_common *c, void *to)
{
	struct ready *r = to;
	if (--c->n_waiting == 0)
		r->v[r->n++] = c;
}

/* Types that nobody uses go first, then what only they used, and so on; what is left is a cycle. */
static int check_common_cycles(struct resolving *g)
{
	struct schema *s = g->s;
	struct ready r = {malloc((s->n_common + 1) * sizeof(struct schema_common *)), 0};
	int rc = r.v ? ERR_OK : parse_no_memory(g->p);
	for (uint32_t i = 0; !rc && i < s->n_common; i++)
		rc = each_use(g, &s->common[i].type, count_user, NULL);
	for (uint32_t i = 0; !rc && i < s->n_common; i++)
		if (!s->common[i].n_waiting)
			r.v[r.n++] = &s->common[i];
	for (uint32_t i = 0; !rc && i < r.n; i++)
		rc = each_use(g, &r.v[i]->type, drop_user, &r);
	for (uint32_t i = 0; !rc && i < s->n_common; i++)
		if (s->common[i].n_waiting)
			rc = fail(g, s->common[i].at, "a cycle of types leads to or through", &s->common[i].full);
	free(r.v);
	return rc;
}

/* The same for actions and their groups. */
static int check_action_cycles(const struct resolving *g)
{
	struct schema *s = g->s;
	struct schema_action **ready = malloc((s->n_action + 1) * sizeof *ready);
	uint32_t n = 0;
	int rc = ready ? ERR_OK : parse_no_memory(g->p);
	for (uint32_t i = 0; !rc && i < s->n_action; i++)
		for (uint32_t k = 0; k < s->action[i].n_parents; k++)
			s->action[i].parents[k].to->mark++;
	for (uint32_t i = 0; !rc && i < s->n_action; i++)
		if (!s->action[i].mark)
			ready[n++] = &s->action[i];
	for (uint32_t i = 0; !rc && i < n; i++)
		for (uint32_t k = 0; k < ready[i]->n_parents; k++)
			if (--ready[i]->parents[k].to->mark == 0)
				ready[n++] = ready[i]->parents[k].to;
	for (uint32_t i = 0; !rc && i < s->n_action; i++)
		if (s->action[i].mark)
			rc = fail(g, s->action[i].at, "a cycle of actions leads to or through", &s->action[i].uid->id);
	free(ready);
	return rc;
}

/* Cycles are excluded by now, so the chain of common types ends. */
static bool is_record(const struct schema_type *t)
{
	while (t->kind == TYPE_COMMON)
		t = &t->common->type;
	return t->kind == TYPE_RECORD;
}

static int resolve_all(struct resolving *g)
{
	struct schema *s = g->s;
	int rc = ERR_OK;
	for (uint32_t i = 0; !rc && i < s->n_common; i++)
		rc = resolve_type(g, &s->common[i].type, &s->common[i].ns);
	for (uint32_t i = 0; !rc && i < s->n_entity; i++) {
		struct schema_entity *en = &s->entity[i];
		if ((rc = resolve_refs(g, &en->parents, &en->ns)) == 0)
			rc = resolve_type(g, &en->shape, &en->ns);
		if (!rc && en->has_tags)
			rc = resolve_type(g, &en->tags, &en->ns);
	}
	for (uint32_t i = 0; !rc && i < s->n_action; i++) {
		struct schema_action *a = &s->action[i];
		if ((rc = resolve_refs(g, &a->principals, &a->ns)) == 0 &&
			(rc = resolve_refs(g, &a->resources, &a->ns)) == 0)
			rc = resolve_type(g, &a->context, &a->ns);
		for (uint32_t k = 0; !rc && k < a->n_parents; k++)
			rc = find_parent(g, &a->ns, &a->parents[k]);
	}
	return rc;
}

int schema_resolve(struct parser *p, struct schema *s)
{
	struct resolving g = {.p = p, .s = s};
	int rc;
	if ((rc = sort_all(&g)) == 0 && (rc = check_names(&g)) == 0 && (rc = check_shadows(&g)) == 0 &&
		(rc = resolve_all(&g)) == 0 && (rc = check_common_cycles(&g)) == 0)
		rc = check_action_cycles(&g);
	for (uint32_t i = 0; !rc && i < s->n_action; i++)
		if (!is_record(&s->action[i].context))
			rc = fail(&g, s->action[i].at, "expected a record as the context of the action",
					  &s->action[i].uid->id);
	free(g.todo);
	return rc;
}

/* --- in the world ------------------------------------------------------------------------------- */

int policy_load_schema(struct policy_world *w, const char *name, const char *text, size_t len, struct err *e)
{
	struct arena_mark m = arena_mark(&w->arena);
	const struct intern_mark names = intern_mark(&w->names);
	if (w->state != WORLD_OPEN || w->schema)
		return err_set(e, ERR_INTERNAL, "%s: %s", name,
					   w->state != WORLD_OPEN ? "the world is sealed; load the schema before"
											  : "the world has a schema already");
	if (len > LIMIT_SCHEMA_BYTES)
		return err_set(e, ERR_LIMIT, "%s: has %zu bytes, at most %llu are read", name, len,
					   (unsigned long long)LIMIT_SCHEMA_BYTES);
	struct parser p = {.arena = &w->arena, .names = &w->names, .key = &w->names.key, .e = e};
	struct schema *s = arena_alloc(&w->arena, 1, sizeof *s);
	arena_init(&p.scratch, LIMIT_WORLD_BYTES);
	int rc = s ? lex_init(&p.lex, name, text, len, false, LIMIT_SCHEMA_BYTES, e)
			   : err_set(e, ERR_NOMEM, "%s: no memory", name);
	if (!rc) {
		*s = (struct schema){0};
		rc = schema_parse(&p, s);
	}
	if (!rc)
		rc = schema_resolve(&p, s);
	arena_free(&p.scratch);
	if (rc) {
		intern_rewind(&w->names, names);
		arena_rewind(&w->arena, m);
	} else {
		w->schema = s;
	}
	return rc;
}

static int add_action(struct policy_world *w, const struct schema_action *a, struct err *e)
{
	struct entity en = {.uid = a->uid, .n_parents = a->n_parents};
	struct val none;
	en.parents = arena_alloc(&w->arena, a->n_parents, sizeof(struct uid *));
	if (!en.parents || rec_make(&w->arena, NULL, 0, &none))
		return err_set(e, ERR_NOMEM, "schema: no memory for its actions");
	en.attrs = en.tags = none.rec;
	for (uint32_t i = 0; i < a->n_parents; i++)
		en.parents[i] = a->parents[i].to->uid;
	return entity_add(w, &en) ? ERR_OK : err_set(e, ERR_NOMEM, "schema: no memory for its actions");
}

/* Actions that were not given as entities become entities, so that `action in` knows their groups. */
int schema_entities(struct policy_world *w, struct err *e)
{
	int rc = ERR_OK;
	for (uint32_t i = 0; !rc && w->schema && i < w->schema->n_action; i++)
		if (!entity_find(&w->entities, w->schema->action[i].uid))
			rc = add_action(w, &w->schema->action[i], e);
	return rc;
}

/* Marks everything above a with mark; the marked actions are counted. list has room for all. */
static uint32_t mark_above(const struct schema_action *a, uint32_t mark, struct schema_action **list)
{
	uint32_t n = 0;
	const struct schema_action *from = a;
	for (uint32_t done = 0;; from = list[done++]) {
		for (uint32_t i = 0; i < from->n_parents; i++)
			if (from->parents[i].to->mark != mark) {
				from->parents[i].to->mark = mark;
				list[n++] = from->parents[i].to;
			}
		if (done == n)
			return n;
	}
}

static bool same_above(const struct policy_world *w, const struct entity *en, uint32_t mark, uint32_t n)
{
	bool same = en->n_above == n && !en->attrs->n && !en->tags->n;
	for (uint32_t i = 0; same && i < en->n_above; i++) {
		const struct schema_action *a = schema_find_action(w->schema, en->above[i]);
		same = a && a->mark == mark;
	}
	return same;
}

static int differs(const struct uid *u, const char *what, struct err *e)
{
	char text[120];
	err_escape(text, sizeof text, u->id.p, u->id.len);
	return err_set(e, ERR_CONFIG, "entities: the action '%s' %s; leave it out, the schema has it", text,
				   what);
}

int schema_check_actions(struct policy_world *w, struct err *e)
{
	const struct schema *s = w->schema;
	struct schema_action **list = s ? malloc((s->n_action + 1) * sizeof *list) : NULL;
	int rc = s && !list ? err_set(e, ERR_NOMEM, "schema: no memory for its actions") : ERR_OK;
	for (uint32_t i = 0; !rc && s && i < s->n_action; i++) {
		const struct entity *en = entity_find(&w->entities, s->action[i].uid);
		uint32_t n = mark_above(&s->action[i], i + 1, list);
		if (!en || !same_above(w, en, i + 1, n))
			rc = differs(s->action[i].uid, "differs from the schema's", e);
	}
	for (uint32_t i = 0; !rc && s && i < w->entities.size; i++) {
		const struct entity *en = w->entities.slot[i];
		if (en && !en->ghost && type_is_action(&en->uid->type) && !schema_find_action(s, en->uid))
			rc = differs(en->uid, "is not declared in the schema", e);
	}
	free(list);
	return rc;
}

/* --- questions ---------------------------------------------------------------------------------- */

size_t policy_schema_entity_count(const struct policy_world *w)
{
	return w->schema ? w->schema->n_entity : 0;
}

const char *policy_schema_entity(const struct policy_world *w, size_t i)
{
	return w->schema->entity[i].full.p;
}

size_t policy_schema_action_count(const struct policy_world *w)
{
	return w->schema ? w->schema->n_action : 0;
}

void policy_schema_action(const struct policy_world *w, size_t i, const char **type, const char **id,
						  size_t *id_len)
{
	*type = w->schema->action[i].uid->type.p;
	*id = w->schema->action[i].uid->id.p;
	*id_len = w->schema->action[i].uid->id.len;
}

static bool refs_have(const struct schema_refs *r, const char *type)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (str_is(&r->v[i].path, type))
			return true;
	return false;
}

bool policy_schema_applies(const struct policy_world *w, const char *action_type, const char *action_id,
						   size_t action_id_len, const char *principal_type, const char *resource_type)
{
	struct uid u;
	uid_fill(&w->names.key, &u, action_type, strlen(action_type), action_id, action_id_len);
	const struct schema_action *a = w->schema ? schema_find_action(w->schema, &u) : NULL;
	return a && a->applies && refs_have(&a->principals, principal_type) &&
		   refs_have(&a->resources, resource_type);
}
