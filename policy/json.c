/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON to values. Cedar's forms: true, integer, "string", [set], {record},
 * {"__entity": {type, id}}, {"__extn": {fn, arg}} or {"__extn": {fn, args: [..]}}.
 *
 * jansson refuses a NUL in a key, Cedar allows one. Before the text goes to jansson, each \u0000 is
 * replaced by a noncharacter (U+FDD0 to U+FDEF) that occurs nowhere in the text, and back in what
 * comes out: a change of one escape into another, not a second reader.
 *
 * Side: broker, cli. Trusts: jansson. Owns: the document while it is read.
 */
#include "policy/json.h"

#include "policy/ext.h"
#include "policy/schema.h"
#include "policy/world.h"
#include "proto/limits.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- documents ------------------------------------------------------------------------------------- */

static bool is_nul_escape(const char *s, size_t left)
{
	return left >= 6 && memcmp(s, "\\u0000", 6) == 0;
}

/* Is U+FDD0 + k nowhere in the text, neither as bytes nor as the digits of an escape? */
static bool char_is_free(const char *text, size_t len, unsigned k)
{
	static const char hex[] = "0123456789abcdef";
	const char raw[3] = {(char)0xef, (char)0xb7, (char)(0x90 + k)};
	const char digits[4] = {'f', 'd', k < 16 ? 'd' : 'e', hex[k & 15]};
	for (size_t i = 0; i + 3 <= len; i++) {
		if (memcmp(text + i, raw, 3) == 0)
			return false;
		if (i + 4 <= len && strncasecmp(text + i, digits, 4) == 0)
			return false;
	}
	return true;
}

/* A copy of the text with every \u0000 replaced; *d learns by what. NULL: no memory, or no free
 * character. */
static char *replace_nul(const char *text, size_t len, struct json_doc *d)
{
	unsigned k = 0;
	while (k < 32 && !char_is_free(text, len, k))
		k++;
	char *copy = k < 32 ? malloc(len + 1) : NULL;
	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	for (size_t i = 0; i < len; i++) {
		if (copy[i] != '\\')
			continue;
		if (is_nul_escape(copy + i, len - i)) {
			copy[i + 2] = 'f';
			copy[i + 3] = 'd';
			copy[i + 4] = k < 16 ? 'd' : 'e';
			copy[i + 5] = "0123456789abcdef"[k & 15];
		}
		i++; /* an escaped backslash begins no escape */
	}
	d->has_nul = true;
	memcpy(d->nul, (const unsigned char[3]){0xef, 0xb7, (unsigned char)(0x90 + k)}, 3);
	return copy;
}

static bool has_nul_escape(const char *text, size_t len)
{
	for (size_t i = 0; i + 6 <= len; i++)
		if (is_nul_escape(text + i, len - i))
			return true;
	return false;
}

int json_read(const char *name, const char *text, size_t len, struct json_doc *out, struct err *e)
{
	json_error_t je;
	char *copy = NULL, why[200];
	*out = (struct json_doc){.name = name};
	if (len > LIMIT_JSON_BYTES)
		return err_set(e, ERR_LIMIT, "%s: has %zu bytes, at most %llu are read", name, len,
					   (unsigned long long)LIMIT_JSON_BYTES);
	if (has_nul_escape(text, len)) {
		copy = replace_nul(text, len, out);
		if (!copy)
			return err_set(e, ERR_CONFIG, "%s: cannot hold its NUL characters; remove the \\u0000", name);
	}
	out->root =
		json_loadb(copy ? copy : text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &je);
	free(copy);
	if (out->root)
		return ERR_OK;
	err_escape(why, sizeof why, je.text, strlen(je.text));
	return err_set(e, ERR_CONFIG, "%s: line %d, column %d: expected JSON, found: %s", name, je.line,
				   je.column, why);
}

void json_free(struct json_doc *d)
{
	json_decref(d->root);
	d->root = NULL;
}

char *json_text(const struct json_doc *d, struct arena *a, const char *s, size_t len, size_t *out_len)
{
	char *p = arena_copy(a, s, len);
	size_t n = 0;
	if (!p || !d->has_nul) {
		*out_len = len;
		return p;
	}
	for (size_t i = 0; i < len; n++) {
		bool nul = len - i >= 3 && memcmp(s + i, d->nul, 3) == 0;
		p[n] = nul ? 0 : s[i];
		i += nul ? 3 : 1;
	}
	p[n] = 0;
	*out_len = n;
	return p;
}

/* --- values ------------------------------------------------------------------------------------------ */

/* A container that is being read: its elements so far stand on the stack from base. */
struct level {
	json_t *node;
	enum { IN_SET, IN_RECORD, IN_CALL } kind;
	size_t next; /* element of a set or of arguments */
	void *iter;  /* of a record */
	size_t base;
	int fn;
	bool single; /* of a call: node is the only argument, not a list of them */
	struct json_hint hint;
	struct str name; /* of a record: the key of the part that is being read */
};

struct reading {
	const struct json_reader *r;
	struct err *e;
	struct level level[LIMIT_JSON_DEPTH];
	size_t n_level;
	struct field *stack; /* finished values, records' with their names */
	size_t n, cap;
};

static int bad(const struct reading *g, const char *what)
{
	return err_set(g->e, ERR_CONFIG, "%s: %s", g->r->doc->name, what);
}

static int no_memory(const struct json_reader *r, struct err *e)
{
	return err_set(e, ERR_NOMEM, "%s: needs more memory than is allowed", r->doc->name);
}

static int push_value(struct reading *g, struct val v)
{
	if (g->n == g->cap) {
		size_t cap = g->cap * 2 + 64;
		struct field *p = realloc(g->stack, cap * sizeof *p);
		if (!p)
			return no_memory(g->r, g->e);
		g->stack = p;
		g->cap = cap;
	}
	g->stack[g->n++] = (struct field){.v = v};
	return ERR_OK;
}

static int push_level(struct reading *g, struct level l)
{
	if (g->n_level == LIMIT_JSON_DEPTH)
		return err_set(g->e, ERR_LIMIT, "%s: nested deeper than %d", g->r->doc->name, LIMIT_JSON_DEPTH);
	l.base = g->n;
	g->level[g->n_level++] = l;
	return ERR_OK;
}

static bool is_entity_escape(json_t *inner)
{
	return json_is_string(json_object_get(inner, "type")) && json_is_string(json_object_get(inner, "id"));
}

/* The one copy of a uid whose bytes were put into the arena behind the mark; when it is known they
 * are given back. Text in the arena while it is interned costs a copy, and only when files load. */
static const struct uid *reader_uid(const struct json_reader *r, struct arena_mark m, const char *type,
									size_t type_len, const char *id, size_t id_len)
{
	struct uid u, *kept;
	uid_fill(&r->names->key, &u, type, type_len, id, id_len);
	const struct uid *old = intern_find_uid(r->names, &u);
	if (old)
		arena_rewind(r->arena, m);
	if (old || r->add)
		return old ? old : intern_uid(r->add, r->arena, type, type_len, id, id_len);
	kept = arena_alloc(r->arena, 1, sizeof *kept);
	if (kept)
		*kept = u;
	return kept;
}

static bool reader_name(const struct json_reader *r, struct arena_mark m, const char *s, size_t len,
						struct str *out)
{
	struct str name = str_make(&r->names->key, s, len);
	const struct str *old = intern_find_str(r->names, &name);
	if (old)
		arena_rewind(r->arena, m);
	else if (r->add)
		old = intern_str(r->add, r->arena, s, len);
	*out = old ? *old : name;
	return old || !r->add;
}

int json_uid(const struct json_reader *r, json_t *node, const struct uid **out, struct err *e)
{
	json_t *inner = json_object_get(node, "__entity");
	if (r->mode == POLICY_CEDAR && !is_entity_escape(inner))
		inner = NULL; /* as the official build: then its neighbours type and id count */
	json_t *from = inner ? inner : node;
	if (json_is_string(json_object_get(node, "__expr")))
		return err_set(e, ERR_CONFIG, "%s: the `__expr` escape is not supported; write type and id",
					   r->doc->name);
	json_t *type = json_object_get(from, "type"), *id = json_object_get(from, "id");
	if (!json_is_string(type) || !json_is_string(id))
		return err_set(e, ERR_CONFIG, "%s: expected an entity as {\"type\": \"T\", \"id\": \"I\"}",
					   r->doc->name);
	if (r->mode == POLICY_STRICT && (json_object_size(from) != 2 || (inner && json_object_size(node) != 1)))
		return err_set(e, ERR_CONFIG, "%s: expected only type and id in an entity, found more", r->doc->name);
	if (!entity_type_ok(json_string_value(type), json_string_length(type))) {
		char text[80];
		err_escape(text, sizeof text, json_string_value(type), json_string_length(type));
		return err_set(e, ERR_CONFIG, "%s: expected an entity type such as Ns::Type, found `%s`",
					   r->doc->name, text);
	}
	struct arena_mark m = arena_mark(r->arena);
	size_t type_len, id_len;
	char *t = json_text(r->doc, r->arena, json_string_value(type), json_string_length(type), &type_len);
	char *i = json_text(r->doc, r->arena, json_string_value(id), json_string_length(id), &id_len);
	if (!t || !i)
		return no_memory(r, e);
	*out = reader_uid(r, m, t, type_len, i, id_len);
	return *out ? ERR_OK : no_memory(r, e);
}

static bool is_call_escape(json_t *inner)
{
	return json_is_string(json_object_get(inner, "fn")) &&
		   (json_object_get(inner, "arg") || json_is_array(json_object_get(inner, "args")));
}

static int begin_call(struct reading *g, json_t *inner)
{
	json_t *fn = json_object_get(inner, "fn"), *arg = json_object_get(inner, "arg");
	json_t *args = json_object_get(inner, "args");
	int row = ext_find(json_string_value(fn), json_string_length(fn));
	if (row < 0)
		return bad(g, "expected ip, decimal, datetime, duration or one of their methods in `fn`");
	if (g->r->mode == POLICY_STRICT && json_object_size(inner) != 2)
		return bad(g, "expected only fn and arg, or fn and args, in `__extn`");
	if (args && !arg)
		return push_level(g, (struct level){.node = args, .kind = IN_CALL, .fn = row});
	return push_level(g, (struct level){.node = arg, .kind = IN_CALL, .fn = row, .single = true});
}

/* The schema's type behind names for it, NULL when there is none. */
static const struct schema_type *real_type(struct json_hint h)
{
	const struct schema_type *t = h.values ? NULL : h.type;
	while (t && t->kind == TYPE_COMMON)
		t = &t->common->type;
	return t;
}

/* What is known about the parts of a level; key is the name of a record's part. */
static struct json_hint part_hint(const struct level *l, const struct str *key)
{
	const struct schema_type *t = real_type(l->hint);
	if (l->hint.values)
		return (struct json_hint){l->hint.type, false};
	if (t && t->kind == TYPE_SET && l->kind == IN_SET)
		return (struct json_hint){t->elem, false};
	for (uint32_t i = 0; t && t->kind == TYPE_RECORD && l->kind == IN_RECORD && i < t->n_attr; i++)
		if (str_cmp(&t->attr[i].name, key) == 0)
			return (struct json_hint){&t->attr[i].type, false};
	return (struct json_hint){NULL, false};
}

/* The constructor of an extension type: its own name, but ip for ipaddr. */
static int constructor(const struct schema_type *t)
{
	static const char ipaddr[] = "ipaddr";
	const char *s = t->path.p;
	size_t n = t->path.len;
	for (size_t i = n; i-- > 0;)
		if (s[i] == ':') {
			s += i + 1;
			n -= i + 1;
			break;
		}
	return n == sizeof ipaddr - 1 && memcmp(s, ipaddr, n) == 0 ? ext_find("ip", 2) : ext_find(s, n);
}

/* The short forms that a type allows. *done: the node was one of them. */
static int begin_hinted(struct reading *g, json_t *node, const struct schema_type *t, bool *done)
{
	*done = true;
	if (t->kind == TYPE_ENTITY && is_entity_escape(node)) {
		const struct uid *u;
		int rc = json_uid(g->r, node, &u, g->e);
		return rc ? rc : push_value(g, val_uid(u));
	}
	if (t->kind == TYPE_EXTENSION && json_is_string(node))
		return push_level(
			g, (struct level){.node = node, .kind = IN_CALL, .fn = constructor(t), .single = true});
	if (t->kind == TYPE_EXTENSION && is_call_escape(node))
		return begin_call(g, node);
	*done = false;
	return ERR_OK;
}

static int begin_object(struct reading *g, json_t *node, struct json_hint hint)
{
	json_t *entity = json_object_get(node, "__entity"), *call = json_object_get(node, "__extn");
	bool alone = json_object_size(node) == 1;
	if (alone && entity && is_entity_escape(entity)) {
		const struct uid *u;
		int rc = json_uid(g->r, node, &u, g->e);
		return rc ? rc : push_value(g, val_uid(u));
	}
	if (alone && call && is_call_escape(call))
		return begin_call(g, call);
	if (alone && json_is_string(json_object_get(node, "__expr")))
		return bad(g, "the `__expr` escape is not supported; write __entity or __extn");
	if (g->r->mode == POLICY_STRICT && (entity || call || json_object_get(node, "__expr")))
		return bad(g, "expected a whole escape: {\"__entity\": {type, id}} or {\"__extn\": {fn, arg}} alone");
	return push_level(
		g, (struct level){.node = node, .kind = IN_RECORD, .iter = json_object_iter(node), .hint = hint});
}

static int begin_string(struct reading *g, json_t *node)
{
	size_t len;
	char *s = json_text(g->r->doc, g->r->arena, json_string_value(node), json_string_length(node), &len);
	return s ? push_value(g, val_string(s, (uint32_t)len)) : no_memory(g->r, g->e);
}

/* Pushes a finished value, or a level for one that has parts. */
static int begin(struct reading *g, json_t *node, struct json_hint hint)
{
	const struct schema_type *t = real_type(hint);
	bool done = false;
	int rc = t ? begin_hinted(g, node, t, &done) : ERR_OK;
	if (rc || done)
		return rc;
	switch (json_typeof(node)) {
	case JSON_OBJECT:
		return begin_object(g, node, hint);
	case JSON_ARRAY:
		return push_level(g, (struct level){.node = node, .kind = IN_SET, .hint = hint});
	case JSON_STRING:
		return begin_string(g, node);
	case JSON_INTEGER:
		return push_value(g, val_long(json_integer_value(node)));
	case JSON_TRUE:
	case JSON_FALSE:
		return push_value(g, val_bool(json_is_true(node)));
	case JSON_REAL:
		return bad(g, "expected an integer of 64 bits, found another number; write a decimal as __extn");
	case JSON_NULL:
		break;
	}
	return bad(g, "expected a value, found null, which Cedar does not have");
}

static int end_call(struct reading *g, const struct level *l, struct val *vals, size_t n, struct val *out)
{
	char msg[200];
	struct ext_call c = {
		.arena = g->r->arena, .args = vals, .n_args = (uint32_t)n, .msg = msg, .msg_cap = sizeof msg};
	if (!ext_run(l->fn, &c))
		return bad(g, msg);
	*out = c.out;
	return ERR_OK;
}

/* All parts of the topmost level are on the stack: makes one value of them. */
static int end_level(struct reading *g)
{
	const struct level l = g->level[--g->n_level];
	size_t n = g->n - l.base;
	struct val v, *vals = NULL;
	enum val_made m = VAL_MADE;
	int rc = ERR_OK;
	if (l.kind != IN_RECORD) {
		vals = malloc((n + 1) * sizeof *vals);
		if (!vals)
			return no_memory(g->r, g->e);
		for (size_t i = 0; i < n; i++)
			vals[i] = g->stack[l.base + i].v;
	}
	if (l.kind == IN_CALL)
		rc = end_call(g, &l, vals, n, &v);
	else if (l.kind == IN_SET)
		m = set_make(g->r->arena, vals, n, g->r->fuel, &v);
	else
		m = rec_make(g->r->arena, n ? g->stack + l.base : NULL, n, &v);
	free(vals);
	if (m)
		return bad(g, val_made_text(m));
	if (rc)
		return rc;
	g->n = l.base;
	return push_value(g, v);
}

/* The next part of the topmost level, NULL when there is none. */
static json_t *next_part(struct level *l)
{
	json_t *part = NULL;
	if (l->kind == IN_RECORD) {
		part = l->iter ? json_object_iter_value(l->iter) : NULL;
	} else if (l->single) {
		part = l->next == 0 ? l->node : NULL;
	} else {
		part = json_array_get(l->node, l->next);
	}
	l->next++;
	return part;
}

/* The key of the part that comes next. */
static int take_key(struct reading *g, struct level *l)
{
	struct arena_mark m = arena_mark(g->r->arena);
	size_t len;
	const char *key = json_object_iter_key(l->iter);
	char *s = json_text(g->r->doc, g->r->arena, key, strlen(key), &len);
	return s && reader_name(g->r, m, s, len, &l->name) ? ERR_OK : no_memory(g->r, g->e);
}

/* A record's value is complete and on top of the stack: give it its name, go to the next pair. */
static void name_part(struct reading *g, struct level *l)
{
	g->stack[g->n - 1].name = l->name;
	l->iter = json_object_iter_next(l->node, l->iter);
}

static int read_levels(struct reading *g)
{
	int rc = ERR_OK;
	while (!rc && g->n_level) {
		struct level *l = &g->level[g->n_level - 1];
		size_t depth = g->n_level;
		json_t *part = next_part(l);
		if (part) {
			rc = l->kind == IN_RECORD ? take_key(g, l) : ERR_OK;
			if (!rc)
				rc = begin(g, part, part_hint(l, &l->name));
			if (rc || g->n_level != depth)
				continue; /* its parts come first; it is named when it ends */
		} else {
			rc = end_level(g);
			l = g->n_level ? &g->level[g->n_level - 1] : NULL;
		}
		if (!rc && l && l->kind == IN_RECORD)
			name_part(g, l);
	}
	return rc;
}

static int read_from(const struct json_reader *r, json_t *node, bool record, struct json_hint hint,
					 struct val *out, struct err *e)
{
	struct reading *g = calloc(1, sizeof *g);
	if (!g)
		return no_memory(r, e);
	g->r = r;
	g->e = e;
	int rc = record ? push_level(g, (struct level){.node = node,
												   .kind = IN_RECORD,
												   .iter = json_object_iter(node),
												   .hint = hint})
					: begin(g, node, hint);
	if (!rc)
		rc = read_levels(g);
	if (!rc)
		*out = g->stack[0].v;
	free(g->stack);
	free(g);
	return rc;
}

int json_value(const struct json_reader *r, json_t *node, struct json_hint hint, struct val *out,
			   struct err *e)
{
	return read_from(r, node, false, hint, out, e);
}

int json_record(const struct json_reader *r, json_t *node, struct json_hint hint, struct val *out,
				struct err *e)
{
	if (!json_is_object(node))
		return err_set(e, ERR_CONFIG, "%s: expected an object, found something else", r->doc->name);
	return read_from(r, node, true, hint, out, e);
}
