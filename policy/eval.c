/* SPDX-License-Identifier: Apache-2.0
 *
 * The evaluator: runs a policy's code on a stack of values. Total: no loops in the language, fuel for
 * the work, an arena with a limit for the values, no I/O, no clock, no recursion.
 *
 * Side: broker, cli. Trusts: code that the parser made (stack depth, jumps). Owns: nothing.
 */
#include "policy/ext.h"
#include "policy/lex.h"
#include "policy/world.h"

#include <stdio.h>
#include <string.h>

struct machine {
	struct policy_request *r;
	const struct op *pc; /* the next operation */
	struct val *sp;      /* the next free place of the stack */
	struct fault *fault;
};

/* --- errors ---------------------------------------------------------------------------------------- */

static bool fail(struct machine *m, const struct op *o, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static bool fail(struct machine *m, const struct op *o, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(m->fault->text, sizeof m->fault->text, fmt, ap);
	va_end(ap);
	m->fault->at = o->at;
	return false;
}

static bool fail_type(struct machine *m, const struct op *o, const char *expected, const struct val *got)
{
	return fail(m, o, "type error: expected %s, got %s", expected, val_kind_name(got->kind));
}

/* Without memory or fuel no other policy can be trusted either: the whole decision fails. */
static bool fail_made(struct machine *m, const struct op *o, enum val_made why)
{
	if (why == VAL_NO_MEMORY || why == VAL_NO_FUEL)
		m->r->fuel.left = 0;
	return fail(m, o, "%s", val_made_text(why));
}

static bool fail_entity(struct machine *m, const struct op *o, const struct uid *u, const char *what,
						const char *name, size_t len)
{
	char type[64], id[64], text[48] = "";
	err_escape(type, sizeof type, u->type.p, u->type.len);
	err_escape(id, sizeof id, u->id.p, u->id.len);
	err_escape(text, sizeof text, name, len);
	return fail(m, o, "entity %s::\"%s\" %s%s%s%s", type, id, what, len ? " `" : "", text, len ? "`" : "");
}

static bool fail_attr(struct machine *m, const struct op *o, const struct val *v)
{
	char text[80];
	if (v->kind == VAL_ENTITY)
		return fail_entity(m, o, v->uid, "has no attribute", o->str->p, o->str->len);
	err_escape(text, sizeof text, o->str->p, o->str->len);
	return fail(m, o, "the record has no attribute `%s`", text);
}

static bool want(struct machine *m, const struct op *o, const struct val *v, enum val_kind kind)
{
	return v->kind == kind ? true : fail_type(m, o, val_kind_name(kind), v);
}

/* Replaces the n topmost values by a Bool. */
static bool give_bool(struct machine *m, int n, bool b)
{
	m->sp -= n - 1;
	m->sp[-1] = val_bool(b);
	return true;
}

/* --- atoms ------------------------------------------------------------------------------------------ */

static bool do_bool(struct machine *m, const struct op *o)
{
	*m->sp++ = val_bool(o->i);
	return true;
}

static bool do_long(struct machine *m, const struct op *o)
{
	*m->sp++ = val_long(o->i);
	return true;
}

static bool do_string(struct machine *m, const struct op *o)
{
	*m->sp++ = val_string(o->str->p, o->str->len);
	return true;
}

static bool do_entity(struct machine *m, const struct op *o)
{
	*m->sp++ = val_uid(o->uid);
	return true;
}

static bool do_var(struct machine *m, const struct op *o)
{
	*m->sp++ = o->a == VAR_CONTEXT ? m->r->context : val_uid(m->r->uid[o->a]);
	return true;
}

static bool do_begin(struct machine *m, const struct op *o)
{
	(void)m;
	(void)o;
	return true;
}

static bool do_const(struct machine *m, const struct op *o)
{
	*m->sp++ = o->constant->v;
	m->pc = o + o->constant->skip;
	return true;
}

/* --- sets, records, calls ----------------------------------------------------------------------------- */

static bool do_set(struct machine *m, const struct op *o)
{
	struct val out;
	m->sp -= o->n;
	enum val_made why = set_make(&m->r->arena, m->sp, o->n, &m->r->fuel, &out);
	if (why)
		return fail_made(m, o, why);
	*m->sp++ = out;
	return true;
}

static bool do_record(struct machine *m, const struct op *o)
{
	const struct keys *k = o->keys;
	struct val out;
	m->sp -= k->n;
	fuel_take(&m->r->fuel, k->n);
	struct field *f = arena_alloc(&m->r->arena, k->n, sizeof *f);
	if (!f)
		return fail_made(m, o, VAL_NO_MEMORY);
	for (uint32_t i = 0; i < k->n; i++)
		f[i] = (struct field){k->name[i], m->sp[i]};
	enum val_made why = rec_make(&m->r->arena, f, k->n, &out);
	if (why)
		return fail_made(m, o, why);
	*m->sp++ = out;
	return true;
}

static bool do_call(struct machine *m, const struct op *o)
{
	m->sp -= o->b;
	struct ext_call c = {.arena = &m->r->arena,
						 .args = m->sp,
						 .n_args = o->b,
						 .msg = m->fault->text,
						 .msg_cap = sizeof m->fault->text};
	m->fault->at = o->at;
	if (!ext_run(o->a, &c))
		return c.no_memory ? fail_made(m, o, VAL_NO_MEMORY) : false;
	*m->sp++ = c.out;
	return true;
}

/* --- logic -------------------------------------------------------------------------------------------- */

static bool do_not(struct machine *m, const struct op *o)
{
	return want(m, o, &m->sp[-1], VAL_BOOL) && give_bool(m, 1, !m->sp[-1].i);
}

/* The left side decides when it equals `decides`: jump, leaving it; else it goes and the right side
 * takes its place. */
static bool left_side(struct machine *m, const struct op *o, bool decides)
{
	if (!want(m, o, &m->sp[-1], VAL_BOOL))
		return false;
	if (m->sp[-1].i == decides)
		m->pc = o + o->n;
	else
		m->sp--;
	return true;
}

static bool do_and_left(struct machine *m, const struct op *o)
{
	return left_side(m, o, false);
}

static bool do_or_left(struct machine *m, const struct op *o)
{
	return left_side(m, o, true);
}

static bool do_and(struct machine *m, const struct op *o)
{
	return want(m, o, &m->sp[-1], VAL_BOOL);
}

static bool do_or(struct machine *m, const struct op *o)
{
	return want(m, o, &m->sp[-1], VAL_BOOL);
}

static bool do_if(struct machine *m, const struct op *o)
{
	if (!want(m, o, &m->sp[-1], VAL_BOOL))
		return false;
	if (!(--m->sp)->i)
		m->pc = o + o->n;
	return true;
}

static bool do_then(struct machine *m, const struct op *o)
{
	m->pc = o + o->n;
	return true;
}

static bool do_else(struct machine *m, const struct op *o)
{
	return do_begin(m, o);
}

/* --- comparison, arithmetic --------------------------------------------------------------------------- */

static bool do_eq(struct machine *m, const struct op *o)
{
	(void)o;
	return give_bool(m, 2, val_cmp(&m->sp[-2], &m->sp[-1], &m->r->fuel) == 0);
}

static bool do_ne(struct machine *m, const struct op *o)
{
	(void)o;
	return give_bool(m, 2, val_cmp(&m->sp[-2], &m->sp[-1], &m->r->fuel) != 0);
}

static bool ordered(struct machine *m, const struct op *o)
{
	const struct val *a = &m->sp[-2], *b = &m->sp[-1];
	if (a->kind != VAL_LONG && a->kind != VAL_DATETIME && a->kind != VAL_DURATION)
		return fail_type(m, o, "long, datetime or duration", a);
	return want(m, o, b, a->kind);
}

static bool do_lt(struct machine *m, const struct op *o)
{
	return ordered(m, o) && give_bool(m, 2, m->sp[-2].i < m->sp[-1].i);
}

static bool do_le(struct machine *m, const struct op *o)
{
	return ordered(m, o) && give_bool(m, 2, m->sp[-2].i <= m->sp[-1].i);
}

static bool do_gt(struct machine *m, const struct op *o)
{
	return ordered(m, o) && give_bool(m, 2, m->sp[-2].i > m->sp[-1].i);
}

static bool do_ge(struct machine *m, const struct op *o)
{
	return ordered(m, o) && give_bool(m, 2, m->sp[-2].i >= m->sp[-1].i);
}

static bool two_longs(struct machine *m, const struct op *o)
{
	return want(m, o, &m->sp[-2], VAL_LONG) && want(m, o, &m->sp[-1], VAL_LONG);
}

static bool give_long(struct machine *m, const struct op *o, bool over, const int64_t *v)
{
	if (over)
		return fail(m, o, "integer overflow");
	m->sp--;
	m->sp[-1] = val_long(*v);
	return true;
}

static bool do_add(struct machine *m, const struct op *o)
{
	int64_t v = 0;
	return two_longs(m, o) && give_long(m, o, __builtin_add_overflow(m->sp[-2].i, m->sp[-1].i, &v), &v);
}

static bool do_sub(struct machine *m, const struct op *o)
{
	int64_t v = 0;
	return two_longs(m, o) && give_long(m, o, __builtin_sub_overflow(m->sp[-2].i, m->sp[-1].i, &v), &v);
}

static bool do_mul(struct machine *m, const struct op *o)
{
	int64_t v = 0;
	return two_longs(m, o) && give_long(m, o, __builtin_mul_overflow(m->sp[-2].i, m->sp[-1].i, &v), &v);
}

static bool do_neg(struct machine *m, const struct op *o)
{
	int64_t v;
	if (!want(m, o, &m->sp[-1], VAL_LONG))
		return false;
	if (__builtin_sub_overflow(INT64_C(0), m->sp[-1].i, &v))
		return fail(m, o, "integer overflow");
	m->sp[-1] = val_long(v);
	return true;
}

/* --- entities ------------------------------------------------------------------------------------------- */

const struct entity *request_entity(const struct policy_request *r, const struct uid *u)
{
	for (uint32_t i = 0; i < r->n_overlay; i++)
		if (uid_equal(r->overlay[i].uid, u))
			return &r->overlay[i];
	return entity_find(&r->w->entities, u);
}

/* The same with the request's own variables, whose entities policy_decide has looked up. */
static const struct entity *known_entity(const struct policy_request *r, const struct uid *u)
{
	for (int v = VAR_PRINCIPAL; v <= VAR_RESOURCE; v++)
		if (r->uid[v] == u)
			return r->entity[v];
	return request_entity(r, u);
}

/* Is a at or below b? en: a's entity, found once for many b. */
static bool at_or_below(const struct uid *a, const struct entity *en, const struct uid *b)
{
	return uid_equal(a, b) || (en && entity_is_below(en, b));
}

static bool in_set(struct machine *m, const struct op *o, const struct val *a, const struct set *s, bool *in)
{
	const struct entity *en = known_entity(m->r, a->uid);
	*in = false;
	fuel_take(&m->r->fuel, s->n);
	for (uint32_t i = 0; i < s->n; i++)
		if (!want(m, o, &s->v[i], VAL_ENTITY))
			return false;
	for (uint32_t i = 0; i < s->n && !*in; i++)
		*in = at_or_below(a->uid, en, s->v[i].uid);
	return true;
}

static bool do_in(struct machine *m, const struct op *o)
{
	const struct val *a = &m->sp[-2], *b = &m->sp[-1];
	bool in;
	if (!want(m, o, a, VAL_ENTITY))
		return false;
	if (b->kind == VAL_ENTITY)
		return give_bool(m, 2, at_or_below(a->uid, known_entity(m->r, a->uid), b->uid));
	if (b->kind != VAL_SET)
		return fail_type(m, o, "set or entity", b);
	return in_set(m, o, a, b->set, &in) && give_bool(m, 2, in);
}

static bool do_is_in(struct machine *m, const struct op *o)
{
	return do_in(m, o);
}

static bool is_type(const struct uid *u, const struct type_ref *t)
{
	return u->type_hash == t->hash && str_cmp(&u->type, &t->name) == 0;
}

static bool do_is(struct machine *m, const struct op *o)
{
	return want(m, o, &m->sp[-1], VAL_ENTITY) && give_bool(m, 1, is_type(m->sp[-1].uid, o->type));
}

static bool do_is_left(struct machine *m, const struct op *o)
{
	if (!want(m, o, &m->sp[-1], VAL_ENTITY))
		return false;
	if (is_type(m->sp[-1].uid, o->type))
		return true;
	m->pc = o + o->type->skip;
	return give_bool(m, 1, false);
}

/* The record behind a value: its own or its entity's attributes. NULL: an entity without data. */
static bool attributes(struct machine *m, const struct op *o, const struct val *v, const struct rec **out)
{
	if (v->kind == VAL_RECORD) {
		*out = v->rec;
		return true;
	}
	if (v->kind != VAL_ENTITY)
		return fail_type(m, o, "record or entity", v);
	const struct entity *en = known_entity(m->r, v->uid);
	*out = en ? en->attrs : NULL;
	return true;
}

static bool do_get(struct machine *m, const struct op *o)
{
	struct val *v = &m->sp[-1];
	const struct rec *rec = NULL;
	if (!attributes(m, o, v, &rec))
		return false;
	if (!rec)
		return fail_entity(m, o, v->uid, "does not exist", "", 0);
	const struct val *found = rec_get(rec, o->str);
	if (!found)
		return fail_attr(m, o, v);
	*v = *found;
	return true;
}

static bool do_has(struct machine *m, const struct op *o)
{
	const struct val *v = &m->sp[-1];
	for (uint32_t i = 0; i < o->keys->n; i++) {
		const struct rec *rec = NULL;
		if (!attributes(m, o, v, &rec))
			return false;
		v = rec ? rec_get(rec, &o->keys->name[i]) : NULL;
		if (!v)
			return give_bool(m, 1, false);
	}
	return give_bool(m, 1, true);
}

/* The tag named by the string on top of the entity under it; *out NULL when there is none. */
static bool find_tag(struct machine *m, const struct op *o, const struct entity **en, const struct val **out)
{
	const struct val *v = &m->sp[-2], *key = &m->sp[-1];
	if (!want(m, o, v, VAL_ENTITY) || !want(m, o, key, VAL_STRING))
		return false;
	fuel_take(&m->r->fuel, key->len >> 6);
	struct str name = str_make(&m->r->w->names.key, key->s, key->len);
	*en = known_entity(m->r, v->uid);
	*out = *en ? rec_get((*en)->tags, &name) : NULL;
	return true;
}

static bool do_has_tag(struct machine *m, const struct op *o)
{
	const struct entity *en;
	const struct val *tag;
	return find_tag(m, o, &en, &tag) && give_bool(m, 2, tag != NULL);
}

static bool do_get_tag(struct machine *m, const struct op *o)
{
	const struct entity *en;
	const struct val *tag;
	if (!find_tag(m, o, &en, &tag))
		return false;
	if (!en)
		return fail_entity(m, o, m->sp[-2].uid, "does not exist", "", 0);
	if (!tag)
		return fail_entity(m, o, m->sp[-2].uid, "has no tag", m->sp[-1].s, m->sp[-1].len);
	m->sp--;
	m->sp[-1] = *tag;
	return true;
}

/* --- strings and sets --------------------------------------------------------------------------- */

/* Two pointers and the place to go back to: the last wildcard and what it has swallowed so far. */
static bool matches(const char *s, size_t n, const struct pattern *p, struct fuel *f)
{
	size_t i = 0, k = 0, back_i = 0, back_k = SIZE_MAX;
	while (i < n && f->left) {
		fuel_take(f, 1);
		if (k < p->n && p->p[k] == LEX_WILDCARD) {
			back_k = k++;
			back_i = i;
		} else if (k < p->n && p->p[k] == (unsigned char)s[i]) {
			i++;
			k++;
		} else if (back_k != SIZE_MAX) {
			k = back_k + 1;
			i = ++back_i;
		} else {
			return false;
		}
	}
	while (k < p->n && p->p[k] == LEX_WILDCARD)
		k++;
	return k == p->n;
}

static bool do_like(struct machine *m, const struct op *o)
{
	const struct val *v = &m->sp[-1];
	return want(m, o, v, VAL_STRING) && give_bool(m, 1, matches(v->s, v->len, o->pattern, &m->r->fuel));
}

static bool do_contains(struct machine *m, const struct op *o)
{
	return want(m, o, &m->sp[-2], VAL_SET) &&
		   give_bool(m, 2, set_has(m->sp[-2].set, &m->sp[-1], &m->r->fuel));
}

static bool two_sets(struct machine *m, const struct op *o)
{
	return want(m, o, &m->sp[-2], VAL_SET) && want(m, o, &m->sp[-1], VAL_SET);
}

/* The index of the first element of b that is in a (or is not); b's size when there is none. */
static uint32_t first_in(struct machine *m, bool is_in)
{
	const struct set *a = m->sp[-2].set, *b = m->sp[-1].set;
	uint32_t i = 0;
	while (i < b->n && m->r->fuel.left && set_has(a, &b->v[i], &m->r->fuel) != is_in)
		i++;
	return i;
}

static bool do_contains_all(struct machine *m, const struct op *o)
{
	return two_sets(m, o) && give_bool(m, 2, first_in(m, false) == m->sp[-1].set->n);
}

static bool do_contains_any(struct machine *m, const struct op *o)
{
	return two_sets(m, o) && give_bool(m, 2, first_in(m, true) < m->sp[-1].set->n);
}

static bool do_is_empty(struct machine *m, const struct op *o)
{
	return want(m, o, &m->sp[-1], VAL_SET) && give_bool(m, 1, m->sp[-1].set->n == 0);
}

/* --- the loop ----------------------------------------------------------------------------------- */

static bool (*const handlers[OP__MAX])(struct machine *m, const struct op *o) = {
	[OP_BOOL] = do_bool,
	[OP_LONG] = do_long,
	[OP_STRING] = do_string,
	[OP_ENTITY] = do_entity,
	[OP_VAR] = do_var,
	[OP_BEGIN] = do_begin,
	[OP_CONST] = do_const,
	[OP_SET] = do_set,
	[OP_RECORD] = do_record,
	[OP_CALL] = do_call,
	[OP_NOT] = do_not,
	[OP_NEG] = do_neg,
	[OP_EQ] = do_eq,
	[OP_NE] = do_ne,
	[OP_LT] = do_lt,
	[OP_LE] = do_le,
	[OP_GT] = do_gt,
	[OP_GE] = do_ge,
	[OP_IN] = do_in,
	[OP_ADD] = do_add,
	[OP_SUB] = do_sub,
	[OP_MUL] = do_mul,
	[OP_AND_LEFT] = do_and_left,
	[OP_AND] = do_and,
	[OP_OR_LEFT] = do_or_left,
	[OP_OR] = do_or,
	[OP_IF] = do_if,
	[OP_THEN] = do_then,
	[OP_ELSE] = do_else,
	[OP_GET] = do_get,
	[OP_HAS] = do_has,
	[OP_LIKE] = do_like,
	[OP_IS] = do_is,
	[OP_IS_LEFT] = do_is_left,
	[OP_IS_IN] = do_is_in,
	[OP_CONTAINS] = do_contains,
	[OP_CONTAINS_ALL] = do_contains_all,
	[OP_CONTAINS_ANY] = do_contains_any,
	[OP_IS_EMPTY] = do_is_empty,
	[OP_HAS_TAG] = do_has_tag,
	[OP_GET_TAG] = do_get_tag,
};

/* Runs the code from first to before end. True: its value is at the bottom of the stack. */
static bool run(struct machine *m, const struct op *first, const struct op *end)
{
	m->pc = first;
	m->sp = m->r->stack;
	while (m->pc < end) {
		const struct op *o = m->pc++;
		fuel_take(&m->r->fuel, 1);
		if (!handlers[o->code](m, o))
			return false;
		if (!m->r->fuel.left)
			return fail_made(m, o, VAL_NO_FUEL);
	}
	return true;
}

enum truth eval_policy(struct policy_request *r, const struct policy *p, struct fault *f)
{
	struct machine m = {.r = r, .fault = f};
	for (uint32_t i = 0; i < p->n_clauses; i++) {
		const struct clause *c = &p->clauses[i];
		const struct op *first = p->code + c->first, last = {.at = c->at};
		if (!run(&m, first, first + c->n) || !want(&m, &last, &r->stack[0], VAL_BOOL))
			return TRUTH_ERROR;
		if ((r->stack[0].i != 0) == c->unless)
			return TRUTH_NO;
	}
	return TRUTH_YES;
}
