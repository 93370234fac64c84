/* SPDX-License-Identifier: Apache-2.0
 *
 * Cedar: policy texts, schema and entities go into a world, which is sealed and then only read;
 * each request carries its facts and is decided against it. Language version 4.5.
 *
 *   world:   policy_world_new, load texts, schema and entities in any order, policy_world_seal
 *   request: policy_request_new once, then per call: policy_request_reset, facts, policy_decide
 *
 * Side: broker, cli. Trusts: nothing that is loaded or given. Owns: worlds and requests.
 * A sealed world may serve many threads, a request one. Nothing here does I/O but the functions
 * whose names end in _file; deciding allocates only in the request's arena, which is bounded.
 */
#ifndef FUMEHOOD_POLICY_POLICY_H
#define FUMEHOOD_POLICY_POLICY_H

#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct policy_world;
struct policy_request;
struct policy_value;

enum policy_mode {
	POLICY_STRICT, /* a forbid that errors denies; files: unknown keys are errors */
	POLICY_CEDAR,  /* as the language says: an erroring policy is skipped, unknown keys too */
};

/* --- the world ----------------------------------------------------------------------------------- */

/* An empty world, which the caller frees. */
MUST_CHECK int policy_world_new(struct policy_world **out, struct err *e);
void policy_world_free(struct policy_world *w); /* NULL is fine */

/* Adds the policies and templates of a text: all of them or, on error, none. Their ids are policy0,
 * policy1, .. in order, counted over all texts of the world. name stands in error messages, which
 * give line, column, what was expected and what was found. Everything is copied. */
MUST_CHECK int policy_load_text(struct policy_world *w, const char *name, const char *text, size_t len,
	struct err *e);

/* Adds the world's schema (human form; one per world). Its action groups feed `action in`. Policies
 * are not checked against it. */
MUST_CHECK int policy_load_schema(struct policy_world *w, const char *name, const char *text, size_t len,
	struct err *e);

/* Adds entities: Cedar's JSON list of {uid, attrs, parents, tags?}, all of them or none. When the
 * schema was loaded before, entities in attributes may be written {type, id} and extension values as
 * their text, where the schema says so. */
MUST_CHECK int policy_load_entities(struct policy_world *w, const char *name, const char *text, size_t len,
	enum policy_mode mode, struct err *e);

/* The same from files; the path is the name in messages. */
MUST_CHECK int policy_load_text_file(struct policy_world *w, const char *path, struct err *e);
MUST_CHECK int policy_load_schema_file(struct policy_world *w, const char *path, struct err *e);
MUST_CHECK int policy_load_entities_file(struct policy_world *w, const char *path, enum policy_mode mode,
	struct err *e);

struct policy_slot {
	const char *name; /* "principal" or "resource" */
	const char *type;
	const char *id;
	size_t id_len;
};

/* Adds the template with its slots filled as a policy of the id new_id, which must be unused. Slots
 * must be exactly those that the template has. */
MUST_CHECK int policy_link(struct policy_world *w, const char *template_id, const char *new_id,
	const struct policy_slot *slots, size_t n_slots, struct err *e);

/* Ends loading: ancestors of entities, actions of the schema, the index. Cycles are errors here. A
 * world must be sealed before requests are made, and cannot be loaded into afterwards; when sealing
 * fails it can only be freed. A reload makes a new world and swaps the pointer when it is sealed. */
MUST_CHECK int policy_world_seal(struct policy_world *w, struct err *e);

/* --- what is in it ---------------------------------------------------------------------------------- */

/* Policies, templates and links, numbered from 0. */
size_t policy_count(const struct policy_world *w);
const char *policy_id(const struct policy_world *w, size_t i);
bool policy_is_forbid(const struct policy_world *w, size_t i);
bool policy_is_template(const struct policy_world *w, size_t i);
/* The value of annotation key (such as "id"), NUL ended; NULL when it is absent or has no value. */
const char *policy_annotation(const struct policy_world *w, size_t i, const char *key);
/* Where in its text the policy begins, a byte offset. */
uint32_t policy_offset(const struct policy_world *w, size_t i);
/* Name of the policy's text, and line and column of a byte offset in it. */
void policy_place(const struct policy_world *w, size_t i, uint32_t offset, const char **name, unsigned *line,
	unsigned *column);
/* The policy as canonical text, malloc'd and NUL ended. */
MUST_CHECK int policy_print(const struct policy_world *w, size_t i, char **out, size_t *len, struct err *e);

bool policy_has_entity(const struct policy_world *w, const char *type, const char *id, size_t id_len);
size_t policy_entity_count(const struct policy_world *w);

/* The declarations of the schema; counts are 0 without one. Names are full (Gate::User), actions are
 * {type, id} such as {"Gate::Action", "use"}; an id may hold any character. */
size_t policy_schema_entity_count(const struct policy_world *w);
const char *policy_schema_entity(const struct policy_world *w, size_t i);
size_t policy_schema_action_count(const struct policy_world *w);
void policy_schema_action(const struct policy_world *w, size_t i, const char **type, const char **id,
	size_t *id_len);
/* Does the schema say that the action applies to these types? */
bool policy_schema_applies(const struct policy_world *w, const char *action_type, const char *action_id,
	size_t action_id_len, const char *principal_type, const char *resource_type);

/* --- a request ---------------------------------------------------------------------------------------- */

/* A request against a sealed world, which must outlive it. Reset forgets the facts, keeps memory. */
MUST_CHECK int policy_request_new(const struct policy_world *w, struct policy_request **out, struct err *e);
void policy_request_reset(struct policy_request *r);
void policy_request_free(struct policy_request *r); /* NULL is fine */

/* Values live as long as the request's facts. Bytes are copied, names too. The functions return NULL
 * when they fail and take NULL for a value that failed; the first failure is remembered and makes
 * policy_decide fail, so that only its result needs a check. */
const struct policy_value *policy_bool(struct policy_request *r, bool b);
const struct policy_value *policy_long(struct policy_request *r, int64_t i);
const struct policy_value *policy_string(struct policy_request *r, const char *s, size_t len);
const struct policy_value *policy_entity(struct policy_request *r, const char *type, const char *id,
	size_t id_len);
const struct policy_value *policy_set(struct policy_request *r, const struct policy_value *const *v,
	size_t n);
struct policy_field {
	const char *name;
	const struct policy_value *value;
};
const struct policy_value *policy_record(struct policy_request *r, const struct policy_field *f, size_t n);
/* The extension types: text as in a policy, or ready numbers. */
const struct policy_value *policy_ip(struct policy_request *r, const char *text, size_t len);
const struct policy_value *policy_decimal(struct policy_request *r, const char *text, size_t len);
const struct policy_value *policy_datetime_ms(struct policy_request *r, int64_t ms_since_1970);
const struct policy_value *policy_duration_ms(struct policy_request *r, int64_t ms);
/* A context as Cedar's JSON. When the world has a schema and the action is set, entities may be
 * written {type, id} and extension values as their text, where the context's type says so. */
const struct policy_value *policy_json(struct policy_request *r, const char *text, size_t len,
	enum policy_mode mode);

/* Who, what, on which. All four must be set; a context that is not a record is an error. */
void policy_set_principal(struct policy_request *r, const char *type, const char *id, size_t id_len);
void policy_set_action(struct policy_request *r, const char *type, const char *id, size_t id_len);
void policy_set_resource(struct policy_request *r, const char *type, const char *id, size_t id_len);
void policy_set_context(struct policy_request *r, const struct policy_value *record);

struct policy_parent {
	const char *type;
	const char *id;
	size_t id_len;
};
/* An entity that is known at run time: its attributes and tags (records; tags may be NULL) and its
 * parents. When the world has the same entity, both are joined: what is given here wins attribute by
 * attribute and tag by tag, parents of both count. Parents may be given only to an entity that is
 * not itself a parent, in the world or of one given before: ancestors would be incomplete. At most
 * LIMIT_REQUEST_ENTITIES. */
void policy_add_entity(struct policy_request *r, const char *type, const char *id, size_t id_len,
	const struct policy_value *attrs, const struct policy_value *tags, const struct policy_parent *parents,
	size_t n_parents);

/* --- the decision --------------------------------------------------------------------------------------- */

struct policy_error {
	uint32_t policy;
	bool forbid;
	uint32_t offset; /* byte in the policy's text of the operation that failed: see policy_place */
	const char *text;
};

struct policy_result {
	bool allow;
	bool deny_by_error;      /* strict: an erroring forbid is what denies, or one of what denies */
	const uint32_t *reasons; /* satisfied permits on allow, satisfied forbids on deny, ascending */
	size_t n_reasons;
	const struct policy_error *errors; /* policies whose evaluation failed, ascending */
	size_t n_errors;
};

/* Decides. On any error out->allow is false and nothing else is told; the arrays live until the
 * request is reset or decided again. A template is never evaluated. */
MUST_CHECK int policy_decide(struct policy_request *r, enum policy_mode mode, struct policy_result *out,
	struct err *e);

#endif
