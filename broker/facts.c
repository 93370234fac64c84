/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts for policy: see facts.h.
 * Side: broker. Trusts: the operator's files. Owns: the world, one request that is used again and again.
 */
#include "broker/facts.h"
#include "policy/policy.h"
#include "proto/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define USER "Gate::User"
#define MODEL "Gate::Model"
#define SERVER "Gate::Server"
#define LICENSE "Gate::License"
#define ACTION "Gate::Action"
#define SERVICE "Gate::Service"
#define SERVER_ID "fumehood"

struct facts {
	struct policy_world *world;
	struct policy_request *request;
	struct rate rate;
	enum isolation isolation;          /* of permits that do not say */
	char digest[HASH_HEX_BYTES + 1];
};

/* --- loading --------------------------------------------------------------------------------------- */

static int load_policy(struct facts *f, const char *name, const char *text, size_t len, struct err *e)
{
	uint8_t raw[HASH_BYTES];
	hash_sha256(text, len, raw);
	hash_hex(raw, f->digest);
	return policy_load_text(f->world, name, text, len, e);
}

static int load_owner_only(struct facts *f, uint32_t uid, struct err *e)
{
	char text[160];
	int n = snprintf(text, sizeof text, "@id(\"private-owner\")\npermit (principal == " USER "::\"%" PRIu32
	                 "\", action, resource);\n", uid);
	return load_policy(f, "built-in policy", text, (size_t)n, e);
}

static int load_files(struct facts *f, const struct conf *c, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = ERR_OK;
	if (*c->policy)
		rc = trust_file_read(c->policy, LIMIT_POLICY_TEXT_BYTES, &text, &len, e);
	if (rc == ERR_OK)
		rc = load_policy(f, *c->policy ? c->policy : "no policy", text ? text : "", len, e);
	if (rc == ERR_OK && *c->schema)
		rc = policy_load_schema_file(f->world, c->schema, e);
	if (rc == ERR_OK && *c->entities)
		rc = policy_load_entities_file(f->world, c->entities, POLICY_STRICT, e);
	free(text);
	return rc;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Records and errors name policies by their annotation: a name must say which one it was. */
static int check_names(const struct facts *f, struct err *e)
{
	size_t n = policy_count(f->world), n_names = 0;
	char shown[120];
	int rc = ERR_OK;
	const char **names = calloc(n + 1, sizeof *names);
	if (!names)
		return err_set(e, ERR_NOMEM, "no memory for policy");
	for (size_t i = 0; i < n; i++)
		if ((names[n_names] = policy_annotation(f->world, i, "id")))
			n_names++;
	qsort(names, n_names, sizeof *names, by_text);
	for (size_t i = 1; i < n_names && rc == ERR_OK; i++)
		if (!strcmp(names[i - 1], names[i]))
			rc = err_set(e, ERR_CONFIG, "two policies have the @id \"%s\": give each its own",
			             err_escape(shown, sizeof shown, names[i], strlen(names[i])));
	free(names);
	return rc;
}

static int check_isolation(const struct facts *f, struct err *e)
{
	char shown[80];
	for (size_t i = 0; i < policy_count(f->world); i++) {
		const char *word = policy_annotation(f->world, i, "isolation");
		if (word && isolation_from_name(word) == ISOLATION__MAX)
			return err_set(e, ERR_CONFIG, "policy %.60s: @isolation(\"%s\") must be one of the words " ISOLATION_WORDS,
			               policy_id(f->world, i), err_escape(shown, sizeof shown, word, strlen(word)));
	}
	return ERR_OK;
}

int facts_new(const struct conf *c, bool owner_only, uint32_t owner_uid, struct facts **out, struct err *e)
{
	struct facts *f = calloc(1, sizeof *f);
	if (!f)
		return err_set(e, ERR_NOMEM, "no memory for policy");
	f->isolation = (enum isolation)c->isolation;
	int rc = policy_world_new(&f->world, e);
	if (rc == ERR_OK)
		rc = owner_only ? load_owner_only(f, owner_uid, e) : load_files(f, c, e);
	if (rc == ERR_OK)
		rc = check_names(f, e);
	if (rc == ERR_OK)
		rc = check_isolation(f, e);
	if (rc == ERR_OK)
		rc = policy_world_seal(f->world, e);
	if (rc == ERR_OK)
		rc = policy_request_new(f->world, &f->request, e);
	if (rc != ERR_OK) {
		facts_free(f);
		return rc;
	}
	*out = f;
	return ERR_OK;
}

void facts_free(struct facts *f)
{
	if (!f)
		return;
	policy_request_free(f->request);
	policy_world_free(f->world);
	free(f);
}

const char *facts_policy_digest(const struct facts *f) { return f->digest; }
unsigned facts_n_policies(const struct facts *f) { return (unsigned)policy_count(f->world); }
struct rate *facts_rate(struct facts *f) { return &f->rate; }

/* --- entities --------------------------------------------------------------------------------------- */

static const struct policy_value *text_value(struct policy_request *r, const char *s)
{
	return policy_string(r, s, strlen(s));
}

static const struct policy_value *count_value(struct policy_request *r, uint64_t n)
{
	return policy_long(r, n > INT64_MAX ? INT64_MAX : (int64_t)n);
}

static void add_user(struct policy_request *r, const char *id, uint32_t uid)
{
	const struct policy_field attrs[] = { { "uid", policy_long(r, uid) } };
	policy_add_entity(r, USER, id, strlen(id), policy_record(r, attrs, 1), NULL, NULL, 0);
	policy_set_principal(r, USER, id, strlen(id));
}

static const char *format_of(const struct model_note *n)
{
	size_t len = strlen(n->files[0].path);
	return len > 5 && !strcmp(n->files[0].path + len - 5, ".onnx") ? "onnx" : "unknown";
}

#define MODEL_FIELDS 8

static void add_model(struct policy_request *r, const struct model *m)
{
	const struct model_note *n = m->note;
	char version[24], digest[7 + HASH_HEX_BYTES + 1] = "sha256:";
	size_t n_fields = MODEL_FIELDS - 1;
	snprintf(version, sizeof version, "%" PRIu64, n->version);
	hash_hex(m->digest, digest + 7);
	struct policy_field fields[MODEL_FIELDS] = {
		{ "name", text_value(r, n->name) },
		{ "version", text_value(r, version) },
		{ "digest", text_value(r, digest) },
		{ "format", text_value(r, format_of(n)) },
		{ "bytes", count_value(r, m->total_bytes) },
		{ "signatures", count_value(r, m->vouch.n_signers) },
		{ "logged", policy_bool(r, true) }, /* admission is a record */
	};
	if (*n->licence)
		fields[n_fields++] = (struct policy_field){ "license", policy_entity(r, LICENSE, n->licence,
		                                                                      strlen(n->licence)) };
	policy_add_entity(r, MODEL, n->name, strlen(n->name), policy_record(r, fields, n_fields), NULL, NULL, 0);
	policy_set_resource(r, MODEL, n->name, strlen(n->name));
}

/* --- context ------------------------------------------------------------------------------------------ */

static const struct policy_value *client_record(struct policy_request *r)
{
	const struct policy_field f[] = {
		{ "ip", policy_ip(r, "127.0.0.1", 9) },
		{ "tls", policy_bool(r, false) },
		{ "mtls", policy_bool(r, false) },
		{ "listener", text_value(r, "unix") },
	};
	return policy_record(r, f, sizeof f / sizeof f[0]);
}

static const struct policy_value *time_record(struct policy_request *r, int64_t now_unix)
{
	struct tm tm;
	time_t t = (time_t)now_unix;
	gmtime_r(&t, &tm);
	const struct policy_field f[] = {
		{ "now", policy_datetime_ms(r, now_unix * 1000) },
		{ "hour", policy_long(r, tm.tm_hour) },
		{ "weekday", policy_long(r, tm.tm_wday ? tm.tm_wday : 7) },
	};
	return policy_record(r, f, sizeof f / sizeof f[0]);
}

static const struct policy_value *rate_record(struct facts *f, const struct facts_ask *ask)
{
	struct policy_request *r = f->request;
	const struct policy_field v[] = {
		{ "requestsMinute", policy_long(r, rate_minute(&f->rate, ask->uid, ask->now_mono_s)) },
		{ "tokensMinute", policy_long(r, 0) },
		{ "tokensDay", policy_long(r, 0) },
		{ "concurrent", policy_long(r, (int64_t)rate_in_flight(&f->rate, ask->uid) + (ask->is_use ? 1 : 0)) },
	};
	return policy_record(r, v, sizeof v / sizeof v[0]);
}

#define CONTEXT_FIELDS 20

static const struct policy_value *context_record(struct facts *f, const struct facts_ask *ask)
{
	struct policy_request *r = f->request;
	size_t n = 0;
	struct policy_field v[CONTEXT_FIELDS];
	const struct policy_value *no = policy_bool(r, false), *zero = policy_long(r, 0);
#define FIELD(name, value) v[n++] = (struct policy_field){ name, value }
	FIELD("client", client_record(r));
	FIELD("time", time_record(r, ask->now_unix));
	FIELD("rate", rate_record(f, ask));
	FIELD("accepted", policy_set(r, NULL, 0));
	if (ask->purpose && *ask->purpose)
		FIELD("purpose", text_value(r, ask->purpose));
	if (ask->is_use) {
		FIELD("inputBytes", count_value(r, ask->input_bytes));
		FIELD("tensors", count_value(r, ask->n_tensors));
		FIELD("batch", policy_long(r, ask->batch));
		FIELD("promptTokens", zero);
		FIELD("maxTokens", zero);
		FIELD("n", policy_long(r, 1));
		FIELD("stream", no);
		FIELD("tools", no);
		FIELD("grammar", no);
		FIELD("dataClass", zero);
		FIELD("sandboxTier", policy_long(r, ask->missing_layers ? 1 : 2));
	}
#undef FIELD
	return policy_record(r, v, n);
}

/* --- the question --------------------------------------------------------------------------------------- */

static void name_put(const struct facts *f, uint32_t policy, char out[FACTS_TEXT_BYTES])
{
	const char *id = policy_annotation(f->world, policy, "id");
	if (!id || !*id)
		id = policy_id(f->world, policy);
	err_escape(out, FACTS_TEXT_BYTES, id, strlen(id));
}

/* The strictest word of the permits that let it pass. */
static enum isolation isolation_of(const struct facts *f, const struct policy_result *res)
{
	enum isolation most = ISOLATION_SHARED;
	for (size_t i = 0; res->allow && i < res->n_reasons; i++) {
		enum isolation one = isolation_from_name(policy_annotation(f->world, res->reasons[i], "isolation"));
		one = one == ISOLATION__MAX ? f->isolation : one;
		most = one > most ? one : most;
	}
	return most;
}

static void answer_fill(const struct facts *f, const struct policy_result *res, struct facts_answer *out)
{
	out->allow = res->allow;
	out->isolation = isolation_of(f, res);
	out->is_explicit = res->n_reasons > 0 || res->deny_by_error;
	for (size_t i = 0; i < res->n_reasons && i < FACTS_NAMES_MAX; i++)
		name_put(f, res->reasons[i], out->policies[out->n_policies++]);
	for (size_t i = 0; i < res->n_errors && i < FACTS_NAMES_MAX; i++) {
		char name[FACTS_TEXT_BYTES], text[FACTS_TEXT_BYTES];
		name_put(f, res->errors[i].policy, name);
		err_escape(text, sizeof text, res->errors[i].text, strlen(res->errors[i].text));
		snprintf(out->errors[out->n_errors++], FACTS_TEXT_BYTES, "%.50s: %.70s", name, text);
	}
}

void facts_decide(struct facts *f, const struct facts_ask *ask, struct facts_answer *out)
{
	struct policy_request *r = f->request;
	struct policy_result res;
	struct err e = { 0 };
	char id[12];
	out->allow = out->is_explicit = false;
	out->isolation = ISOLATION_CALL;
	out->n_policies = out->n_errors = 0;
	if (ask->is_use)
		rate_count(&f->rate, ask->uid, ask->now_mono_s);
	policy_request_reset(r);
	snprintf(id, sizeof id, "%" PRIu32, ask->uid);
	if (ask->as_service)
		policy_set_principal(r, SERVICE, SERVER_ID, strlen(SERVER_ID));
	else
		add_user(r, id, ask->uid);
	if (ask->model && ask->model->note)
		add_model(r, ask->model);
	else
		policy_set_resource(r, SERVER, SERVER_ID, strlen(SERVER_ID));
	policy_set_action(r, ACTION, ask->action, strlen(ask->action));
	policy_set_context(r, context_record(f, ask));
	if (policy_decide(r, POLICY_STRICT, &res, &e) == ERR_OK) {
		answer_fill(f, &res, out);
		return;
	}
	snprintf(out->errors[out->n_errors++], FACTS_TEXT_BYTES, "%.*s", FACTS_TEXT_BYTES - 1, e.text);
	out->is_explicit = true;
}
