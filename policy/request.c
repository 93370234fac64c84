/* SPDX-License-Identifier: Apache-2.0
 *
 * A request: facts that the caller gives, and the decision. The first fault while facts are given is
 * kept, and the decision then fails: a caller cannot forget a check and be allowed.
 *
 * Side: broker, cli. Trusts: nothing that is given. Owns: the request.
 */
#include "policy/ext.h"
#include "policy/json.h"
#include "policy/schema.h"
#include "policy/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int policy_request_new(const struct policy_world *w, struct policy_request **out, struct err *e)
{
	*out = NULL;
	if (w->state != WORLD_SEALED)
		return err_set(e, ERR_INTERNAL, "the world must be sealed before requests are made");
	struct policy_request *r = calloc(1, sizeof *r);
	struct val *stack = malloc(((size_t)w->max_stack + 1) * sizeof *stack);
	if (!r || !stack) {
		free(r);
		free(stack);
		return err_set(e, ERR_NOMEM, "no memory for a policy request");
	}
	r->w = w;
	r->stack = stack;
	arena_init(&r->arena, LIMIT_REQUEST_BYTES);
	policy_request_reset(r);
	*out = r;
	return ERR_OK;
}

void policy_request_reset(struct policy_request *r)
{
	arena_rewind(&r->arena, (struct arena_mark){0});
	r->fault.code = ERR_OK;
	r->fuel.left = LIMIT_EVAL_FUEL;
	r->n_overlay = 0;
	for (int v = VAR_PRINCIPAL; v <= VAR_RESOURCE; v++) {
		r->uid[v] = NULL;
		r->entity[v] = NULL;
	}
	r->context = (struct val){.kind = VAL__MAX};
}

void policy_request_free(struct policy_request *r)
{
	if (!r)
		return;
	arena_free(&r->arena);
	free(r->verdicts.list[0]);
	free(r->verdicts.list[1]);
	free(r->verdicts.failed);
	free(r->verdicts.errors);
	free(r->stack);
	free(r);
}

/* --- facts ------------------------------------------------------------------------------------------ */

/* Remembers the first fault; NULL for the caller to return. */
static const struct policy_value *fault(struct policy_request *r, int code, const char *what)
{
	if (!r->fault.code)
		err_set(&r->fault, code, "facts of a request: %s", what);
	return NULL;
}

static const struct policy_value *no_memory(struct policy_request *r)
{
	return fault(r, ERR_LIMIT, "they need more memory than is allowed");
}

static const struct policy_value *keep(struct policy_request *r, struct val v)
{
	struct policy_value *p = arena_alloc(&r->arena, 1, sizeof *p);
	if (!p)
		return no_memory(r);
	p->v = v;
	return p;
}

const struct policy_value *policy_bool(struct policy_request *r, bool b)
{
	return keep(r, val_bool(b));
}

const struct policy_value *policy_long(struct policy_request *r, int64_t i)
{
	return keep(r, val_long(i));
}

const struct policy_value *policy_string(struct policy_request *r, const char *s, size_t len)
{
	const char *copy = len <= UINT32_MAX ? arena_copy(&r->arena, s, len) : NULL;
	return copy ? keep(r, val_string(copy, (uint32_t)len)) : no_memory(r);
}

static const struct uid *uid_of(struct policy_request *r, const char *type, const char *id, size_t id_len)
{
	const struct uid *u = NULL;
	struct uid given;
	if (!type || !entity_type_ok(type, strlen(type))) {
		fault(r, ERR_INPUT, "expected an entity type such as Ns::Type, found another name");
		return NULL;
	}
	uid_fill(&r->w->names.key, &given, type, strlen(type), id, id_len);
	u = intern_find_uid(&r->w->names, &given);
	if (!u && !(u = uid_copy(&r->arena, &given)))
		no_memory(r);
	return u;
}

const struct policy_value *policy_entity(struct policy_request *r, const char *type, const char *id,
										 size_t id_len)
{
	const struct uid *u = uid_of(r, type, id, id_len);
	return u ? keep(r, val_uid(u)) : NULL;
}

static const struct policy_value *keep_made(struct policy_request *r, enum val_made m, struct val v)
{
	return m ? fault(r, m == VAL_TWICE ? ERR_INPUT : ERR_LIMIT, val_made_text(m)) : keep(r, v);
}

const struct policy_value *policy_set(struct policy_request *r, const struct policy_value *const *v, size_t n)
{
	struct val out, *vals = arena_alloc(&r->arena, n, sizeof *vals);
	if (!vals)
		return no_memory(r);
	for (size_t i = 0; i < n; i++) {
		if (!v[i])
			return fault(r, ERR_INTERNAL, "an element of a set is missing");
		vals[i] = v[i]->v;
	}
	enum val_made m = set_make(&r->arena, vals, n, &r->fuel, &out);
	return keep_made(r, m, out);
}

/* A name as the policies have it, else a copy. */
static bool name_of(struct policy_request *r, const char *text, struct str *out)
{
	struct str s = str_make(&r->w->names.key, text, strlen(text));
	const struct str *known = intern_find_str(&r->w->names, &s);
	*out = known ? *known : s;
	if (!known)
		out->p = arena_copy(&r->arena, text, s.len);
	return out->p != NULL;
}

const struct policy_value *policy_record(struct policy_request *r, const struct policy_field *f, size_t n)
{
	struct val out;
	struct field *fields = arena_alloc(&r->arena, n, sizeof *fields);
	if (!fields)
		return no_memory(r);
	for (size_t i = 0; i < n; i++) {
		if (!f[i].value)
			return fault(r, ERR_INTERNAL, "an attribute of a record has no value");
		fields[i].v = f[i].value->v;
		if (!name_of(r, f[i].name, &fields[i].name))
			return no_memory(r);
	}
	enum val_made m = rec_make(&r->arena, fields, n, &out);
	return keep_made(r, m, out);
}

static const struct policy_value *construct(struct policy_request *r, const char *fn, const char *text,
											size_t len)
{
	char msg[200];
	const struct val arg = val_string(text, (uint32_t)(len < UINT32_MAX ? len : UINT32_MAX));
	struct ext_call c = {.arena = &r->arena, .args = &arg, .n_args = 1, .msg = msg, .msg_cap = sizeof msg};
	return ext_run(ext_find(fn, strlen(fn)), &c) ? keep(r, c.out) : fault(r, ERR_INPUT, msg);
}

const struct policy_value *policy_ip(struct policy_request *r, const char *text, size_t len)
{
	return construct(r, "ip", text, len);
}

const struct policy_value *policy_decimal(struct policy_request *r, const char *text, size_t len)
{
	return construct(r, "decimal", text, len);
}

const struct policy_value *policy_datetime_ms(struct policy_request *r, int64_t ms_since_1970)
{
	return keep(r, (struct val){.kind = VAL_DATETIME, .i = ms_since_1970});
}

const struct policy_value *policy_duration_ms(struct policy_request *r, int64_t ms)
{
	return keep(r, (struct val){.kind = VAL_DURATION, .i = ms});
}

/* Attributes of loaded entities have their type from the schema; a context has its action's. */
static struct json_hint context_hint(const struct policy_request *r)
{
	const struct schema *s = r->w->schema;
	const struct schema_action *a =
		s && r->uid[VAR_ACTION] ? schema_find_action(s, r->uid[VAR_ACTION]) : NULL;
	return (struct json_hint){a && a->applies ? &a->context : NULL, false};
}

const struct policy_value *policy_json(struct policy_request *r, const char *text, size_t len,
									   enum policy_mode mode)
{
	struct json_doc doc;
	struct err e;
	struct val v;
	int rc = json_read("record", text, len, &doc, &e);
	const struct json_reader reader = {&doc, &r->arena, NULL, &r->w->names, &r->fuel, mode};
	if (!rc)
		rc = json_value(&reader, doc.root, context_hint(r), &v, &e);
	json_free(&doc);
	if (!rc && v.kind != VAL_RECORD)
		rc = err_set(&e, ERR_INPUT, "expected a record, found another value");
	return rc ? fault(r, rc, e.text) : keep(r, v);
}

static void set_var(struct policy_request *r, enum var v, const char *type, const char *id, size_t id_len)
{
	r->uid[v] = uid_of(r, type, id, id_len);
}

void policy_set_principal(struct policy_request *r, const char *type, const char *id, size_t id_len)
{
	set_var(r, VAR_PRINCIPAL, type, id, id_len);
}

void policy_set_action(struct policy_request *r, const char *type, const char *id, size_t id_len)
{
	set_var(r, VAR_ACTION, type, id, id_len);
}

void policy_set_resource(struct policy_request *r, const char *type, const char *id, size_t id_len)
{
	set_var(r, VAR_RESOURCE, type, id, id_len);
}

void policy_set_context(struct policy_request *r, const struct policy_value *record)
{
	if (!record || record->v.kind != VAL_RECORD)
		fault(r, ERR_INPUT, "expected a record as context, found another value");
	else
		r->context = record->v;
}

/* --- entities of a request ------------------------------------------------------------------------------ */

/* The fields of base that over lacks, and all of over. */
static bool join_records(struct policy_request *r, const struct rec *base, const struct rec *over,
						 const struct rec **out)
{
	struct val v;
	size_t n = over->n;
	struct field *f = arena_alloc(&r->arena, (size_t)base->n + over->n, sizeof *f);
	if (!f)
		return false;
	memcpy(f, over->f, n * sizeof *f);
	for (uint32_t i = 0; i < base->n; i++)
		if (!rec_get(over, &base->f[i].name))
			f[n++] = base->f[i];
	if (rec_make(&r->arena, f, n, &v))
		return false;
	*out = v.rec;
	return true;
}

static const struct rec *record_of(struct policy_request *r, const struct policy_value *given,
								   const char *what)
{
	struct val v;
	if (!given && !rec_make(&r->arena, NULL, 0, &v))
		return v.rec;
	if (!given)
		no_memory(r);
	else if (given->v.kind != VAL_RECORD)
		fault(r, ERR_INPUT, what);
	else
		return given->v.rec;
	return NULL;
}

/* Parents and their ancestors, with those of the loaded entity, in order and without repeats. */
static bool overlay_above(struct policy_request *r, struct entity *en, const struct entity *base)
{
	size_t n = base ? base->n_above : 0, kept = 0;
	for (uint32_t i = 0; i < en->n_parents; i++) {
		const struct entity *p = request_entity(r, en->parents[i]);
		n += 1 + (size_t)(p ? p->n_above : 0);
	}
	const struct uid **v = arena_alloc(&r->arena, n, sizeof *v);
	if (!v || n > 4 * LIMIT_ANCESTORS)
		return false;
	n = 0;
	for (uint32_t i = 0; base && i < base->n_above; i++)
		v[n++] = base->above[i];
	for (uint32_t i = 0; i < en->n_parents; i++) {
		const struct entity *p = request_entity(r, en->parents[i]);
		v[n++] = en->parents[i];
		for (uint32_t k = 0; p && k < p->n_above; k++)
			v[n++] = p->above[k];
	}
	uid_sort(v, n);
	for (size_t i = 0; i < n; i++)
		if (!kept || uid_cmp(v[kept - 1], v[i]) != 0)
			v[kept++] = v[i];
	en->above = v;
	en->n_above = (uint32_t)kept;
	return true;
}

/* Would new parents of u have to be ancestors of something that is closed already? */
static bool has_children(const struct policy_request *r, const struct uid *u)
{
	for (uint32_t i = 0; i < r->n_overlay; i++)
		if (uid_equal(r->overlay[i].uid, u) || entity_is_below(&r->overlay[i], u))
			return true;
	return entity_is_parent(&r->w->entities, u);
}

static bool overlay_fill(struct policy_request *r, struct entity *en, const struct policy_parent *parents,
						 size_t n)
{
	const struct entity *base = entity_find(&r->w->entities, en->uid);
	en->parents = arena_alloc(&r->arena, n, sizeof(struct uid *));
	if (n > LIMIT_ANCESTORS || !en->parents)
		return no_memory(r);
	for (size_t i = 0; i < n; i++) {
		if (!(en->parents[i] = uid_of(r, parents[i].type, parents[i].id, parents[i].id_len)))
			return false;
		if (uid_equal(en->parents[i], en->uid))
			return fault(r, ERR_INPUT, "an entity is its own parent");
	}
	en->n_parents = (uint32_t)n;
	if (base && !(join_records(r, base->attrs, en->attrs, &en->attrs) &&
				  join_records(r, base->tags, en->tags, &en->tags)))
		return no_memory(r);
	if (!overlay_above(r, en, base))
		return no_memory(r);
	return entity_is_below(en, en->uid) ? fault(r, ERR_INPUT, "an entity is its own ancestor") != NULL : true;
}

void policy_add_entity(struct policy_request *r, const char *type, const char *id, size_t id_len,
					   const struct policy_value *attrs, const struct policy_value *tags,
					   const struct policy_parent *parents, size_t n_parents)
{
	struct entity en = {.uid = uid_of(r, type, id, id_len)};
	en.attrs = record_of(r, attrs, "expected a record as attributes of an entity, found another value");
	en.tags = record_of(r, tags, "expected a record as tags of an entity, found another value");
	if (!en.uid || !en.attrs || !en.tags)
		return;
	if (r->n_overlay == LIMIT_REQUEST_ENTITIES) {
		fault(r, ERR_LIMIT, "more entities than are allowed with one request");
		return;
	}
	for (uint32_t i = 0; i < r->n_overlay; i++)
		if (uid_equal(r->overlay[i].uid, en.uid)) {
			fault(r, ERR_INPUT, "the same entity is given twice");
			return;
		}
	if (n_parents && has_children(r, en.uid)) {
		fault(r, ERR_INPUT, "an entity that is a parent gets parents, which its children would lack");
		return;
	}
	if (overlay_fill(r, &en, parents, n_parents))
		r->overlay[r->n_overlay++] = en;
}
