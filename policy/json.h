/* SPDX-License-Identifier: Apache-2.0
 *
 * Cedar's JSON forms of values, read with jansson. Includes jansson; used by entities.c and tests.
 * Side: broker, cli. Trusts: nothing. Owns: the document while it is read.
 */
#ifndef FUMEHOOD_POLICY_JSON_H
#define FUMEHOOD_POLICY_JSON_H

#include "policy/intern.h"
#include "policy/policy.h"
#include "policy/value.h"
#include "proto/err.h"

#include <jansson.h>

struct json_doc {
	const char *name;
	json_t *root;
	bool has_nul;
	unsigned char nul[3]; /* the character that stands for U+0000: see json.c */
};

/* Reads one document: duplicates of keys, sizes beyond the limit and text behind it are errors. */
MUST_CHECK int json_read(const char *name, const char *text, size_t len, struct json_doc *out, struct err *e);
void json_free(struct json_doc *d);

/* Bytes that jansson returned, as they were meant, in the arena; NULL when it is full. */
char *json_text(const struct json_doc *d, struct arena *a, const char *s, size_t len, size_t *out_len);

struct json_reader {
	const struct json_doc *doc;
	struct arena *arena;
	struct intern *add;         /* names and uids are added here; NULL: only looked up in */
	const struct intern *names;
	struct fuel *fuel;
	enum policy_mode mode; /* POLICY_STRICT: a malformed escape is an error, not a record */
};

/* What the schema says about a value: with it, an entity may be written {type, id} and an extension
 * value as its text or {fn, arg}. A hint only: a value of another type is read as it stands. */
struct schema_type;
struct json_hint {
	const struct schema_type *type; /* NULL: nothing is known */
	bool values;                    /* of a record: the type is that of each value (tags) */
};

MUST_CHECK int json_value(const struct json_reader *r, json_t *node, struct json_hint hint, struct val *out,
	struct err *e);
/* An object whose own keys are never escapes: attributes, tags, a context. */
MUST_CHECK int json_record(const struct json_reader *r, json_t *node, struct json_hint hint, struct val *out,
	struct err *e);
/* {type, id} or {"__entity": {type, id}}. */
MUST_CHECK int json_uid(const struct json_reader *r, json_t *node, const struct uid **out, struct err *e);

#endif
