/* SPDX-License-Identifier: Apache-2.0
 *
 * Entities: the table, the JSON list of them, and their ancestors.
 *
 *   file   [ {"uid": U, "attrs": {..}, "parents": [U..], "tags": {..}?}, .. ]      U: see json.c
 *
 * Parents need not exist; ancestors are the transitive closure over what is given; a cycle is an
 * error. The same entity twice is an error in strict mode; as Cedar it is fine when identical.
 *
 * Side: broker, cli. Trusts: nothing. Owns: the table of a world.
 */
#include "policy/json.h"
#include "policy/schema.h"
#include "policy/world.h"

#include "proto/limits.h"

#include <stdlib.h>
#include <string.h>

/* --- the table --------------------------------------------------------------------------------------- */

static struct entity **slot_of(const struct entity_table *t, const struct uid *u)
{
	uint32_t mask = t->size - 1, i = (uint32_t)u->hash & mask;
	while (t->slot[i] && !uid_equal(t->slot[i]->uid, u))
		i = (i + 1) & mask;
	return &t->slot[i];
}

const struct entity *entity_find(const struct entity_table *t, const struct uid *u)
{
	const struct entity *en = t->size ? *slot_of(t, u) : NULL;
	return en && !en->ghost ? en : NULL;
}

bool entity_is_parent(const struct entity_table *t, const struct uid *u)
{
	const struct entity *en = t->size ? *slot_of(t, u) : NULL;
	return en && en->is_parent;
}

static bool table_grow(struct entity_table *t)
{
	struct entity_table bigger = {NULL, t->n, t->size ? t->size * 2 : 64};
	bigger.slot = calloc(bigger.size, sizeof(struct entity *));
	if (!bigger.slot)
		return false;
	for (uint32_t i = 0; i < t->size; i++)
		if (t->slot[i])
			*slot_of(&bigger, t->slot[i]->uid) = t->slot[i];
	free(t->slot);
	*t = bigger;
	return true;
}

struct entity *entity_add(struct policy_world *w, const struct entity *en)
{
	struct entity_table *t = &w->entities;
	if (t->n * 2 >= t->size && !table_grow(t))
		return NULL;
	struct entity *kept = arena_alloc(&w->arena, 1, sizeof *kept);
	if (!kept)
		return NULL;
	*kept = *en;
	*slot_of(t, en->uid) = kept;
	t->n++;
	return kept;
}

/* Takes back everything that a failed load added: the entities at and behind position n. */
static void table_restore(struct policy_world *w, struct entity_table *old)
{
	free(w->entities.slot);
	w->entities = *old;
	*old = (struct entity_table){0};
}

static bool table_copy(const struct entity_table *t, struct entity_table *out)
{
	*out = (struct entity_table){NULL, t->n, t->size};
	if (!t->size)
		return true;
	out->slot = malloc(t->size * sizeof(struct entity *));
	if (out->slot)
		memcpy(out->slot, t->slot, t->size * sizeof(struct entity *));
	return out->slot != NULL;
}

/* --- names ------------------------------------------------------------------------------------------- */

/* One identifier at s[*at]; its end in *at. */
static bool skip_ident(const char *s, size_t len, size_t *at)
{
	size_t from = *at;
	while (*at < len && lex_ident_char((unsigned char)s[*at], *at > from))
		++*at;
	return *at > from && lex_word_of(s + from, *at - from) == WORD_NONE;
}

bool entity_type_ok(const char *s, size_t len)
{
	for (size_t at = 0;; at += 2) {
		if (!skip_ident(s, len, &at))
			return false;
		if (at == len)
			return true;
		if (len - at < 2 || s[at] != ':' || s[at + 1] != ':')
			return false;
	}
}

/* --- the JSON list -------------------------------------------------------------------------------------- */

struct loading {
	struct policy_world *w;
	struct json_reader r;
	struct err *e;
};

static int fail(const struct loading *g, const char *what)
{
	return err_set(g->e, ERR_CONFIG, "%s: %s", g->r.doc->name, what);
}

static int no_memory(const struct loading *g)
{
	return err_set(g->e, ERR_NOMEM, "%s: the entities need more memory than is allowed", g->r.doc->name);
}

static int read_parents(const struct loading *g, json_t *list, struct entity *en)
{
	size_t n = json_array_size(list);
	bool action = type_is_action(&en->uid->type);
	if (n > LIMIT_ANCESTORS)
		return err_set(g->e, ERR_LIMIT, "%s: %zu parents, at most %d are allowed", g->r.doc->name, n,
					   LIMIT_ANCESTORS);
	en->parents = arena_alloc(&g->w->arena, n, sizeof(struct uid *));
	if (!en->parents)
		return no_memory(g);
	for (size_t i = 0; i < n; i++) {
		int rc = json_uid(&g->r, json_array_get(list, i), &en->parents[i], g->e);
		if (rc)
			return rc;
		if (action && !type_is_action(&en->parents[i]->type))
			return fail(g, "expected an action as the parent of an action, found another entity");
	}
	en->n_parents = (uint32_t)n;
	return ERR_OK;
}

static bool same_parents(const struct entity *a, const struct entity *b)
{
	for (uint32_t i = 0; i < a->n_parents; i++) {
		uint32_t k = 0;
		while (k < b->n_parents && !uid_equal(a->parents[i], b->parents[k]))
			k++;
		if (k == b->n_parents)
			return false;
	}
	return true;
}

static bool same_record(const struct rec *a, const struct rec *b)
{
	struct fuel f = {LIMIT_EVAL_FUEL};
	const struct val x = {.kind = VAL_RECORD, .rec = a}, y = {.kind = VAL_RECORD, .rec = b};
	return val_cmp(&x, &y, &f) == 0;
}

static int add(const struct loading *g, const struct entity *en)
{
	const struct entity *old = entity_find(&g->w->entities, en->uid);
	if (!old) {
		if (g->w->entities.n >= LIMIT_ENTITIES)
			return err_set(g->e, ERR_LIMIT, "%s: more than %u entities", g->r.doc->name, LIMIT_ENTITIES);
		return entity_add(g->w, en) ? ERR_OK : no_memory(g);
	}
	if (g->r.mode == POLICY_CEDAR && same_record(old->attrs, en->attrs) && same_record(old->tags, en->tags) &&
		same_parents(old, en) && same_parents(en, old))
		return ERR_OK;
	return fail(g, "expected every entity once, found it again");
}

static int check_keys(const struct loading *g, json_t *node)
{
	static const char *const known[] = {"uid", "attrs", "parents", "tags"};
	const char *key;
	json_t *value;
	char text[80];
	json_object_foreach(node, key, value)
	{
		size_t i = 0;
		while (i < 4 && strcmp(known[i], key) != 0)
			i++;
		if (i < 4)
			continue;
		err_escape(text, sizeof text, key, strlen(key));
		return err_set(g->e, ERR_CONFIG, "%s: expected uid, attrs, parents or tags, found `%s`",
					   g->r.doc->name, text);
	}
	return ERR_OK;
}

static int read_entity(const struct loading *g, json_t *node)
{
	struct entity en = {0};
	struct val attrs, tags;
	struct json_hint of_attrs = {0}, of_tags = {.values = true};
	json_t *t = json_object_get(node, "tags");
	int rc;
	if (!json_is_object(node) || !json_object_get(node, "uid") ||
		!json_is_object(json_object_get(node, "attrs")) || !json_is_array(json_object_get(node, "parents")) ||
		(t && !json_is_object(t)))
		return fail(
			g,
			"expected an object with uid, attrs (an object), parents (a list) and perhaps tags (an object)");
	if (g->r.mode == POLICY_STRICT && (rc = check_keys(g, node)))
		return rc;
	if ((rc = json_uid(&g->r, json_object_get(node, "uid"), &en.uid, g->e)))
		return rc;
	const struct schema_entity *declared =
		g->w->schema ? schema_find_entity(g->w->schema, &en.uid->type) : NULL;
	if (declared) {
		of_attrs.type = &declared->shape;
		of_tags.type = declared->has_tags ? &declared->tags : NULL;
	}
	if ((rc = json_record(&g->r, json_object_get(node, "attrs"), of_attrs, &attrs, g->e)))
		return rc;
	if (t)
		rc = json_record(&g->r, t, of_tags, &tags, g->e);
	else if (rec_make(&g->w->arena, NULL, 0, &tags))
		rc = no_memory(g);
	if (rc || (rc = read_parents(g, json_object_get(node, "parents"), &en)))
		return rc;
	en.attrs = attrs.rec;
	en.tags = tags.rec;
	return add(g, &en);
}

/* Names the entity that an error is about: by its place, and by its uid when that is readable. */
static int name_entity(const struct loading *g, size_t i, json_t *node)
{
	json_t *uid = json_object_get(node, "uid"), *inner = json_object_get(uid, "__entity");
	json_t *type = json_object_get(inner ? inner : uid, "type"),
		   *id = json_object_get(inner ? inner : uid, "id");
	char t[80], s[80];
	if (!json_is_string(type) || !json_is_string(id))
		return err_prefix(g->e, "entity %zu of the list", i + 1);
	err_escape(t, sizeof t, json_string_value(type), json_string_length(type));
	err_escape(s, sizeof s, json_string_value(id), json_string_length(id));
	return err_prefix(g->e, "entity %zu of the list, %s::'%s'", i + 1, t, s);
}

static int read_list(const struct loading *g, json_t *root)
{
	json_t *node;
	size_t i;
	if (!json_is_array(root))
		return fail(g, "expected a list of entities");
	json_array_foreach(root, i, node) if (read_entity(g, node)) return name_entity(g, i, node);
	return ERR_OK;
}

int policy_load_entities(struct policy_world *w, const char *name, const char *text, size_t len,
						 enum policy_mode mode, struct err *e)
{
	struct fuel fuel = {UINT64_MAX}; /* files are read once, before requests */
	struct arena_mark m = arena_mark(&w->arena);
	const struct intern_mark names = intern_mark(&w->names);
	struct entity_table old;
	struct json_doc doc;
	if (w->state != WORLD_OPEN)
		return err_set(e, ERR_INTERNAL, "%s: the world is sealed; load entities before", name);
	if (!table_copy(&w->entities, &old))
		return err_set(e, ERR_NOMEM, "%s: no memory for entities", name);
	int rc = json_read(name, text, len, &doc, e);
	struct loading g = {w, {&doc, &w->arena, &w->names, &w->names, &fuel, mode}, e};
	if (!rc)
		rc = read_list(&g, doc.root);
	if (rc) {
		table_restore(w, &old);
		intern_rewind(&w->names, names);
		arena_rewind(&w->arena, m);
	}
	free(old.slot);
	json_free(&doc);
	return rc;
}

/* --- ancestors ------------------------------------------------------------------------------------------ */

static void sift(const struct uid **v, size_t root, size_t n)
{
	for (size_t child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && uid_cmp(v[child], v[child + 1]) < 0)
			child++;
		if (uid_cmp(v[root], v[child]) >= 0)
			return;
		const struct uid *t = v[root];
		v[root] = v[child];
		v[child] = t;
	}
}

void uid_sort(const struct uid **v, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift(v, i, n);
	for (size_t i = n; i-- > 1;) {
		const struct uid *t = v[0];
		v[0] = v[i];
		v[i] = t;
		sift(v, 0, i);
	}
}

bool entity_is_below(const struct entity *en, const struct uid *u)
{
	size_t lo = 0, hi = en->n_above;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = uid_cmp(en->above[mid], u);
		if (c == 0)
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

struct step {
	struct entity *en;
	uint32_t next; /* parent to visit */
};

struct closing {
	struct policy_world *w;
	struct err *e;
	struct step *path;
	const struct uid **found; /* ancestors of one entity, with repeats */
	size_t n_path, cap_path, n_found, cap_found;
	uint64_t total;
};

static int grow(struct closing *c, void **array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return ERR_OK;
	size_t want = *cap * 2 + 256;
	void *p = realloc(*array, want * size);
	if (!p)
		return err_set(c->e, ERR_NOMEM, "entities: no memory for their ancestors");
	*array = p;
	*cap = want;
	return ERR_OK;
}

static int found_add(struct closing *c, const struct uid *u)
{
	int rc = grow(c, (void **)&c->found, c->n_found, &c->cap_found, sizeof(struct uid *));
	if (!rc)
		c->found[c->n_found++] = u;
	return rc;
}

static int about(struct closing *c, int code, const struct uid *u, const char *what)
{
	char t[80], s[80];
	err_escape(t, sizeof t, u->type.p, u->type.len);
	err_escape(s, sizeof s, u->id.p, u->id.len);
	return err_set(c->e, code, "entities: %s::'%s' %s", t, s, what);
}

/* All parents of en are done: joins them and their ancestors. Repeats are dropped whenever the list
 * is twice as long as allowed, so that memory stays bounded. */
static size_t unique(const struct uid **v, size_t n)
{
	size_t kept = 0;
	uid_sort(v, n);
	for (size_t i = 0; i < n; i++)
		if (!kept || uid_cmp(v[kept - 1], v[i]) != 0)
			v[kept++] = v[i];
	return kept;
}

static int found_join(struct closing *c, const struct entity *parent)
{
	int rc = ERR_OK;
	for (uint32_t k = 0; !rc && parent && k < parent->n_above; k++) {
		if (c->n_found > 4 * LIMIT_ANCESTORS)
			c->n_found = unique(c->found, c->n_found);
		if (c->n_found > 4 * LIMIT_ANCESTORS)
			break;
		rc = found_add(c, parent->above[k]);
	}
	return rc;
}

static int finish(struct closing *c, struct entity *en)
{
	int rc = ERR_OK;
	c->n_found = 0;
	for (uint32_t i = 0; !rc && i < en->n_parents; i++) {
		rc = found_add(c, en->parents[i]);
		if (!rc)
			rc = found_join(c, entity_find(&c->w->entities, en->parents[i]));
	}
	if (rc)
		return rc;
	c->n_found = unique(c->found, c->n_found);
	c->total += c->n_found;
	if (c->n_found > LIMIT_ANCESTORS || c->total > LIMIT_ANCESTORS_TOTAL)
		return about(c, ERR_LIMIT, en->uid, "has more ancestors than are allowed");
	en->above = arena_alloc(&c->w->arena, c->n_found, sizeof(struct uid *));
	if (!en->above)
		return err_set(c->e, ERR_NOMEM, "entities: no memory for their ancestors");
	if (c->n_found)
		memcpy(en->above, c->found, c->n_found * sizeof(struct uid *));
	en->n_above = (uint32_t)c->n_found;
	en->mark = 2;
	return ERR_OK;
}

static int enter(struct closing *c, struct entity *en)
{
	int rc = grow(c, (void **)&c->path, c->n_path, &c->cap_path, sizeof(struct step));
	if (rc)
		return rc;
	en->mark = 1;
	c->path[c->n_path++] = (struct step){en, 0};
	return ERR_OK;
}

/* Depth first from one entity, with the path as an explicit stack. */
static int close_from(struct closing *c, struct entity *start)
{
	int rc = start->mark ? ERR_OK : enter(c, start);
	while (!rc && c->n_path) {
		struct step *s = &c->path[c->n_path - 1];
		if (s->next == s->en->n_parents) {
			rc = finish(c, s->en);
			c->n_path--;
			continue;
		}
		const struct uid *u = s->en->parents[s->next++];
		struct entity *parent = c->w->entities.size ? *slot_of(&c->w->entities, u) : NULL;
		if (parent && parent->mark == 1)
			return about(c, ERR_CONFIG, u, "is its own ancestor: a cycle of parents");
		if (parent && !parent->mark)
			rc = enter(c, parent);
	}
	return rc;
}

/* Marks what has children; a parent that is no entity gets a ghost to carry the mark. */
static bool mark_parents(struct policy_world *w, const struct entity *en)
{
	for (uint32_t i = 0; i < en->n_parents; i++) {
		struct entity *parent = *slot_of(&w->entities, en->parents[i]);
		const struct entity ghost = {.uid = en->parents[i], .ghost = true, .mark = 2};
		if (!parent)
			parent = entity_add(w, &ghost);
		if (!parent)
			return false;
		w->n_ghosts += parent->ghost && !parent->is_parent;
		parent->is_parent = true;
	}
	return true;
}

int entities_close(struct policy_world *w, struct err *e)
{
	struct closing c = {.w = w, .e = e};
	struct entity_table all = {0};
	int rc = ERR_OK;
	for (uint32_t i = 0; !rc && i < w->entities.size; i++)
		if (w->entities.slot[i])
			rc = close_from(&c, w->entities.slot[i]);
	free(c.path);
	free(c.found);
	if (rc)
		return rc;
	bool ok = table_copy(&w->entities, &all); /* ghosts may move the table */
	for (uint32_t i = 0; ok && i < all.size; i++)
		ok = !all.slot[i] || mark_parents(w, all.slot[i]);
	free(all.slot);
	return ok ? ERR_OK : err_set(e, ERR_NOMEM, "entities: no memory for their ancestors");
}
