/* SPDX-License-Identifier: Apache-2.0
 *
 * The policy engine behind JSON lines, for judges and for hands: one case per line in, one answer
 * per line out.
 *
 *   in   {"policies": TEXT, "schema"?: TEXT, "entities"?: TEXT, "plain_files"?: bool, "print"?: bool,
 *         "links"?: [{"template": ID, "id": ID, "slots": {"principal"?: UID, "resource"?: UID}}],
 *         "requests"?: [{"principal": UID, "action": UID, "resource": UID, "context"?: TEXT}]}
 *   out  {"error": LINE} or {"ids": [..], "templates": [..], "text"?: [..], "results": [R..]}
 *        R = {"error": LINE} or {"decision": "allow"|"deny", "strict": the same, "reasons": [id..],
 *             "errors": [[id, text]..]}
 *
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "policy/policy.h"
#include "proto/limits.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(json_t *o, const char *key, size_t *len)
{
	json_t *s = json_object_get(o, key);
	*len = json_string_length(s);
	return json_string_value(s);
}

static int load(struct policy_world *w, json_t *in, struct err *e)
{
	enum policy_mode mode = json_is_true(json_object_get(in, "plain_files")) ? POLICY_CEDAR : POLICY_STRICT;
	size_t len;
	const char *text = text_of(in, "schema", &len);
	int rc = text ? policy_load_schema(w, "schema", text, len, e) : ERR_OK;
	text = text_of(in, "policies", &len);
	if (!rc && text)
		rc = policy_load_text(w, "policies", text, len, e);
	text = text_of(in, "entities", &len);
	if (!rc && text)
		rc = policy_load_entities(w, "entities", text, len, mode, e);
	return rc;
}

static int link_all(struct policy_world *w, json_t *in, struct err *e)
{
	json_t *link, *uid;
	const char *name;
	size_t i, len;
	int rc = ERR_OK;
	json_array_foreach(json_object_get(in, "links"), i, link)
	{
		struct policy_slot slots[8];
		size_t n = 0;
		json_object_foreach(json_object_get(link, "slots"), name, uid)
		{
			if (n == 8)
				break;
			slots[n] = (struct policy_slot){.name = name, .type = text_of(uid, "type", &len)};
			slots[n].id = text_of(uid, "id", &slots[n].id_len);
			n++;
		}
		if (!rc)
			rc = policy_link(w, text_of(link, "template", &len), text_of(link, "id", &len), slots, n, e);
	}
	return rc;
}

static void set_uid(struct policy_request *r, json_t *uid,
					void (*set)(struct policy_request *, const char *, const char *, size_t))
{
	size_t len, id_len;
	const char *type = text_of(uid, "type", &len), *id = text_of(uid, "id", &id_len);
	set(r, type, id ? id : "", id_len);
}

static json_t *decide(const struct policy_world *w, struct policy_request *r, json_t *q)
{
	struct policy_result res;
	struct err e;
	size_t len;
	const char *context = text_of(q, "context", &len);
	json_t *reasons = json_array(), *errors = json_array();
	policy_request_reset(r);
	set_uid(r, json_object_get(q, "principal"), policy_set_principal);
	set_uid(r, json_object_get(q, "action"), policy_set_action);
	set_uid(r, json_object_get(q, "resource"), policy_set_resource);
	policy_set_context(r, context ? policy_json(r, context, len, POLICY_CEDAR) : policy_record(r, NULL, 0));
	bool strict = policy_decide(r, POLICY_STRICT, &res, &e) == ERR_OK && res.allow;
	if (policy_decide(r, POLICY_CEDAR, &res, &e)) {
		json_decref(reasons);
		json_decref(errors);
		return json_pack("{s:s}", "error", e.text);
	}
	for (size_t i = 0; i < res.n_reasons; i++)
		json_array_append_new(reasons, json_string(policy_id(w, res.reasons[i])));
	for (size_t i = 0; i < res.n_errors; i++)
		json_array_append_new(errors,
							  json_pack("[s,s]", policy_id(w, res.errors[i].policy), res.errors[i].text));
	return json_pack("{s:s,s:s,s:o,s:o}", "decision", res.allow ? "allow" : "deny", "strict",
					 strict ? "allow" : "deny", "reasons", reasons, "errors", errors);
}

static void tell_policies(const struct policy_world *w, bool print, json_t *out)
{
	json_t *ids = json_array(), *templates = json_array(), *texts = json_array();
	for (size_t i = 0; i < policy_count(w); i++) {
		char *text;
		size_t len;
		struct err e;
		json_array_append_new(policy_is_template(w, i) ? templates : ids, json_string(policy_id(w, i)));
		if (!print || policy_print(w, i, &text, &len, &e))
			continue;
		json_array_append_new(texts, json_stringn(text, len));
		free(text);
	}
	json_object_set_new(out, "ids", ids);
	json_object_set_new(out, "templates", templates);
	json_object_set_new(out, "text", texts);
}

static json_t *answer(json_t *in)
{
	struct policy_world *w = NULL;
	struct policy_request *r = NULL;
	struct err e;
	json_t *out, *results = json_array(), *q;
	size_t i;
	int rc = policy_world_new(&w, &e);
	if (!rc && (rc = load(w, in, &e)) == 0 && (rc = link_all(w, in, &e)) == 0 &&
		(rc = policy_world_seal(w, &e)) == 0)
		rc = policy_request_new(w, &r, &e);
	out = rc ? json_pack("{s:s}", "error", e.text) : json_object();
	if (!rc)
		tell_policies(w, json_is_true(json_object_get(in, "print")), out);
	json_array_foreach(json_object_get(in, "requests"), i, q) if (r)
		json_array_append_new(results, decide(w, r, q));
	json_object_set_new(out, "results", results);
	policy_request_free(r);
	policy_world_free(w);
	return out;
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	while ((n = getline(&line, &cap, stdin)) > 0) {
		json_error_t je;
		json_t *in = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &je);
		json_t *out = in ? answer(in) : json_pack("{s:s}", "error", je.text);
		json_dumpf(out, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(out);
		json_decref(in);
	}
	free(line);
	return 0;
}
