/* SPDX-License-Identifier: Apache-2.0
 *
 * A schema as declared: entity types, common types, actions; names resolved.
 * Side: broker, cli. Trusts: nothing. Owns: nothing (the world's arena owns).
 */
#ifndef FUMEHOOD_POLICY_SCHEMA_H
#define FUMEHOOD_POLICY_SCHEMA_H

#include "policy/parse.h"
#include "policy/world.h"

enum type_kind {
	TYPE_NAME, /* not resolved yet: path, in a namespace */
	TYPE_LONG,
	TYPE_STRING,
	TYPE_BOOL,
	TYPE_EXTENSION, /* path: ipaddr, decimal, datetime, duration */
	TYPE_ENTITY,    /* path: its full name */
	TYPE_COMMON,    /* common */
	TYPE_SET,       /* elem */
	TYPE_RECORD,    /* attr */
};

struct schema_type {
	enum type_kind kind;
	uint32_t at; /* byte offset in the text */
	uint32_t n_attr;
	struct str path;
	const struct schema_common *common;
	struct schema_type *elem;
	struct schema_attr *attr;
};

struct schema_attr {
	struct str name;
	bool optional;
	struct schema_type type;
};

/* A name that is written in a namespace and means something declared elsewhere. */
struct schema_ref {
	struct str path;
	uint32_t at;
};
struct schema_refs {
	struct schema_ref *v;
	uint32_t n;
};

struct schema_entity {
	struct str ns, base, full;
	uint32_t at;
	struct schema_refs parents; /* resolved: full names of the types it may be in */
	bool is_enum;
	struct str *ids; /* of an enum */
	uint32_t n_ids;
	struct schema_type shape; /* a record */
	bool has_tags;
	struct schema_type tags;
};

struct schema_common {
	struct str ns, base, full;
	uint32_t at;
	struct schema_type type;
	uint32_t n_waiting; /* resolution: common types that it needs and that may still be part of a cycle */
};

struct schema_action_ref {
	struct str type; /* empty: an action of the own namespace, else of the empty one */
	struct str id;
	uint32_t at;
	struct schema_action *to;
};

struct schema_action {
	struct str ns;
	const struct uid *uid;
	uint32_t at;
	struct schema_action_ref *parents;
	uint32_t n_parents;
	bool applies;
	struct schema_refs principals, resources;
	struct schema_type context; /* a record, or a common type for one */
	uint32_t mark;
};

struct schema {
	const struct source *source;
	struct schema_entity *entity;
	struct schema_common *common;
	struct schema_action *action;
	struct str *ns;
	uint32_t n_entity, n_common, n_action, n_ns;
	/* Sorted by name, for searches. */
	struct schema_entity **entities;
	struct schema_common **commons;
	struct schema_action **actions;
};

/* Fills *out with what the text declares, names not resolved. */
MUST_CHECK int schema_parse(struct parser *p, struct schema *out);
/* Resolves all names and checks the declarations against one another. */
MUST_CHECK int schema_resolve(struct parser *p, struct schema *s);

/* What is declared under a full name (a str with its hash) or uid, or NULL. */
struct schema_entity *schema_find_entity(const struct schema *s, const struct str *full);
struct schema_action *schema_find_action(const struct schema *s, const struct uid *u);

/* After the ancestors are known: actions given as entities must be the schema's. */
MUST_CHECK int schema_check_actions(struct policy_world *w, struct err *e);

#endif
