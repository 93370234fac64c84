/* SPDX-License-Identifier: Apache-2.0
 *
 * The world: policies with their ids, links of templates, sealing, and what can be asked of it.
 * Every load is all or nothing: on error the arena, the list of policies and the ids are put back.
 *
 * Side: broker, cli. Trusts: nothing that is loaded. Owns: the world.
 */
#include "policy/world.h"

#include "policy/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int policy_world_new(struct policy_world **out, struct err *e)
{
	struct policy_world *w = calloc(1, sizeof *w);
	*out = NULL;
	if (!w)
		return err_set(e, ERR_NOMEM, "policies: no memory");
	arena_init(&w->arena, LIMIT_WORLD_BYTES);
	/* The key only has to be unknown to whoever chooses names; 16 bytes come in one piece. */
	if (getrandom(&w->names.key, sizeof w->names.key, 0) != (ssize_t)sizeof w->names.key) {
		free(w);
		return err_set(e, ERR_IO, "policies: the kernel gave no random bytes");
	}
	*out = w;
	return ERR_OK;
}

void policy_world_free(struct policy_world *w)
{
	if (!w)
		return;
	index_free(w->index);
	intern_free(&w->names);
	free(w->entities.slot);
	free(w->id_slot);
	free(w->pol);
	arena_free(&w->arena);
	free(w);
}

/* --- ids ------------------------------------------------------------------------------------------- */

static uint32_t *id_slot(const struct policy_world *w, const char *id)
{
	uint32_t mask = w->id_size - 1, i = (uint32_t)hash_bytes(&w->names.key, id, strlen(id)) & mask;
	while (w->id_slot[i] && strcmp(w->pol[w->id_slot[i] - 1].id, id) != 0)
		i = (i + 1) & mask;
	return &w->id_slot[i];
}

/* A table for size slots with the ids of all policies. */
static bool ids_build(struct policy_world *w, uint32_t size)
{
	uint32_t *slots = calloc(size, sizeof *slots);
	if (!slots)
		return false;
	free(w->id_slot);
	w->id_slot = slots;
	w->id_size = size;
	for (uint32_t i = 0; i < w->n_pol; i++)
		*id_slot(w, w->pol[i].id) = i + 1;
	return true;
}

static const struct policy *find(const struct policy_world *w, const char *id)
{
	uint32_t i = w->id_size ? *id_slot(w, id) : 0;
	return i ? &w->pol[i - 1] : NULL;
}

static int no_memory(struct err *e)
{
	return err_set(e, ERR_NOMEM, "policies: need more memory than is allowed");
}

/* Appends a policy under its id, which must be new. */
static int append(struct policy_world *w, const struct policy *p, struct err *e)
{
	if (w->n_pol >= LIMIT_POLICIES)
		return err_set(e, ERR_LIMIT, "policies: more than %u", LIMIT_POLICIES);
	if (w->n_pol == w->cap_pol) {
		uint32_t cap = w->cap_pol ? w->cap_pol * 2 : 16;
		struct policy *pol = realloc(w->pol, cap * sizeof *pol);
		if (!pol)
			return no_memory(e);
		w->pol = pol;
		w->cap_pol = cap;
	}
	if (w->n_pol * 2 >= w->id_size && !ids_build(w, w->id_size ? w->id_size * 2 : 64))
		return no_memory(e);
	uint32_t *slot = id_slot(w, p->id);
	if (*slot) {
		char text[80];
		err_escape(text, sizeof text, p->id, strlen(p->id));
		return err_set(e, ERR_CONFIG, "policies: the id `%s` is used already; choose another", text);
	}
	w->pol[w->n_pol++] = *p;
	*slot = w->n_pol;
	if (p->max_stack > w->max_stack)
		w->max_stack = p->max_stack;
	return ERR_OK;
}

/* --- policy texts ------------------------------------------------------------------------------------ */

static int put(void *to, struct policy *p, struct err *e)
{
	struct policy_world *w = to;
	char id[32];
	int n = snprintf(id, sizeof id, "policy%u", w->n_pol);
	p->id = arena_copy(&w->arena, id, (size_t)n);
	return p->id ? append(w, p, e) : no_memory(e);
}

static struct source *keep_source(struct policy_world *w, const char *name, const char *text, size_t len)
{
	struct source *s = arena_alloc(&w->arena, 1, sizeof *s);
	char *n = arena_copy(&w->arena, name, strlen(name)), *t = arena_copy(&w->arena, text, len);
	if (!s || !n || !t)
		return NULL;
	*s = (struct source){n, t, len};
	return s;
}

int policy_load_text(struct policy_world *w, const char *name, const char *text, size_t len, struct err *e)
{
	struct arena_mark m = arena_mark(&w->arena);
	uint32_t n = w->n_pol, max_stack = w->max_stack;
	const struct intern_mark names = intern_mark(&w->names);
	if (w->state != WORLD_OPEN)
		return err_set(e, ERR_INTERNAL, "%s: the world is sealed; load policies before", name);
	if (len > LIMIT_POLICY_TEXT_BYTES)
		return err_set(e, ERR_LIMIT, "%s: has %zu bytes, at most %llu are read; split it", name, len,
					   (unsigned long long)LIMIT_POLICY_TEXT_BYTES);
	struct source *s = keep_source(w, name, text, len);
	int rc = s ? parse_policies(&w->arena, &w->names, s, w, put, e) : no_memory(e);
	if (!rc)
		return ERR_OK;
	w->n_pol = n;
	w->max_stack = max_stack;
	/* The table cannot be left with ids of policies that are gone; it only shrinks, so it fits. */
	if (w->id_size) {
		memset(w->id_slot, 0, w->id_size * sizeof *w->id_slot);
		for (uint32_t i = 0; i < w->n_pol; i++)
			*id_slot(w, w->pol[i].id) = i + 1;
	}
	intern_rewind(&w->names, names);
	arena_rewind(&w->arena, m);
	return rc;
}

/* --- links --------------------------------------------------------------------------------------------- */

static int link_fail(struct err *e, const char *template_id, const char *what, const char *name)
{
	char t[80], s[80];
	err_escape(t, sizeof t, template_id, strlen(template_id));
	err_escape(s, sizeof s, name, strlen(name));
	return err_set(e, ERR_CONFIG, "link of template `%s`: %s `%s`", t, what, s);
}

static int fill_slot(struct policy_world *w, struct policy *p, const char *template_id,
					 const struct policy_slot *s, struct err *e)
{
	for (enum var v = VAR_PRINCIPAL; v <= VAR_RESOURCE; v++) {
		struct scope *sc = &p->scope[v];
		if (!sc->slot || strcmp(s->name, var_names[v]) != 0)
			continue;
		if (!entity_type_ok(s->type, strlen(s->type)))
			return link_fail(e, template_id, "expected an entity type such as Ns::Type, found", s->type);
		sc->uid = intern_uid(&w->names, &w->arena, s->type, strlen(s->type), s->id, s->id_len);
		sc->slot = false;
		return sc->uid ? ERR_OK : no_memory(e);
	}
	return link_fail(e, template_id, "has no slot, or had it filled before:", s->name);
}

static int link_fill(struct policy_world *w, struct policy *p, const char *template_id, const char *new_id,
					 const struct policy_slot *slots, size_t n, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < n; i++)
		rc = fill_slot(w, p, template_id, &slots[i], e);
	for (enum var v = VAR_PRINCIPAL; !rc && v <= VAR_RESOURCE; v++)
		if (p->scope[v].slot)
			rc = link_fail(e, template_id, "no value for the slot", var_names[v]);
	if (rc)
		return rc;
	p->id = arena_copy(&w->arena, new_id, strlen(new_id));
	p->template = false;
	return p->id ? append(w, p, e) : no_memory(e);
}

int policy_link(struct policy_world *w, const char *template_id, const char *new_id,
				const struct policy_slot *slots, size_t n_slots, struct err *e)
{
	struct arena_mark m = arena_mark(&w->arena);
	const struct intern_mark names = intern_mark(&w->names);
	const struct policy *t = find(w, template_id);
	if (w->state != WORLD_OPEN)
		return err_set(e, ERR_INTERNAL, "the world is sealed; link templates before");
	if (!t || !t->template)
		return link_fail(e, template_id, "there is no such template; wanted for", new_id);
	struct policy p = *t;
	int rc = link_fill(w, &p, template_id, new_id, slots, n_slots, e);
	if (rc) {
		intern_rewind(&w->names, names);
		arena_rewind(&w->arena, m);
	}
	return rc;
}

/* --- sealing, questions ------------------------------------------------------------------------- */

int policy_world_seal(struct policy_world *w, struct err *e)
{
	if (w->state != WORLD_OPEN)
		return err_set(e, ERR_INTERNAL, "the world is sealed already");
	int rc = schema_entities(w, e);
	if (!rc)
		rc = entities_close(w, e);
	if (!rc)
		rc = schema_check_actions(w, e);
	if (!rc)
		rc = index_build(w, e);
	w->state = rc ? WORLD_BROKEN : WORLD_SEALED;
	return rc;
}

size_t policy_count(const struct policy_world *w)
{
	return w->n_pol;
}

const char *policy_id(const struct policy_world *w, size_t i)
{
	return w->pol[i].id;
}

bool policy_is_forbid(const struct policy_world *w, size_t i)
{
	return w->pol[i].forbid;
}

bool policy_is_template(const struct policy_world *w, size_t i)
{
	return w->pol[i].template;
}

const char *policy_annotation(const struct policy_world *w, size_t i, const char *key)
{
	const struct policy *p = &w->pol[i];
	for (uint32_t k = 0; k < p->n_annotations; k++)
		if (str_is(&p->annotations[k].key, key))
			return p->annotations[k].value;
	return NULL;
}

uint32_t policy_offset(const struct policy_world *w, size_t i)
{
	return w->pol[i].at;
}

void policy_place(const struct policy_world *w, size_t i, uint32_t offset, const char **name, unsigned *line,
				  unsigned *column)
{
	const struct source *s = w->pol[i].source;
	*name = s->name;
	lex_place(s->text, s->len, offset, line, column);
}

int policy_print(const struct policy_world *w, size_t i, char **out, size_t *len, struct err *e)
{
	return print_policy(&w->pol[i], out, len, e);
}

bool policy_has_entity(const struct policy_world *w, const char *type, const char *id, size_t id_len)
{
	struct uid u;
	uid_fill(&w->names.key, &u, type, strlen(type), id, id_len);
	return entity_find(&w->entities, &u) != NULL;
}

size_t policy_entity_count(const struct policy_world *w)
{
	return w->entities.n - w->n_ghosts;
}
