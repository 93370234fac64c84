/* SPDX-License-Identifier: Apache-2.0
 *
 * The public corpus of Cedar decisions (one policy per test) and the hand-written tests, from the
 * shared folder: decision, determining policies and erroring policies of every request must agree,
 * in the language's own mode; what strict mode allows, the language must allow; every schema must
 * load, and decisions must be the same with it.
 *
 * Side: tests. Trusts: the corpus. Owns: the folder build/VARIANT/cedar-data.
 */
#include "tests/unit/unit_policy_kit.h"

#include "policy/json.h"
#include "policy/schema.h"
#include "policy/world.h"

#include <dirent.h>
#include <libgen.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char data[PATH_MAX]; /* where the archives are unpacked */

static void run(const char *const argv[])
{
	pid_t pid = fork();
	int status = 1;
	assert_true(pid >= 0);
	if (pid == 0) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Unpacks both archives once per build folder; false when they are not there. */
static bool unpack(void)
{
	char self[PATH_MAX], dev[PATH_MAX], hand[PATH_MAX], done[PATH_MAX + 8];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	assert_true(n > 0);
	self[n] = 0;
	snprintf(data, sizeof data, "%.*s/cedar-data", PATH_MAX - 16, dirname(dirname(self)));
	snprintf(done, sizeof done, "%s/.done", data);
	if (!kit_shared("cedar/corpus-dev.tar.gz", dev) || !kit_shared("cedar/handwritten.tar.gz", hand))
		return false;
	if (access(done, F_OK) == 0)
		return true;
	run((const char *const[]){"mkdir", "-p", data, NULL});
	run((const char *const[]){"tar", "-C", data, "-xzf", dev, NULL});
	run((const char *const[]){"tar", "-C", data, "-xzf", hand, NULL});
	run((const char *const[]){"touch", done, NULL});
	return true;
}

struct totals {
	unsigned tests, requests, allow, deny, with_errors, wrong, strict_denies;
};

static char *read_at(json_t *test, const char *key, size_t *len)
{
	char path[PATH_MAX + 300];
	snprintf(path, sizeof path, "%s/%s", data, json_string_value(json_object_get(test, key)));
	char *text = kit_read(path, len);
	assert_non_null(text);
	return text;
}

static struct policy_world *load_world(json_t *test, bool schema)
{
	static const char *const keys[] = {"policies", "schema", "entities"};
	struct policy_world *w;
	struct err e = {0};
	int rc = policy_world_new(&w, &e);
	for (int i = 0; !rc && i < 3; i++) {
		size_t len = 0;
		if (i == 1 && !schema)
			continue;
		char *text = read_at(test, keys[i], &len);
		if (i == 0)
			rc = policy_load_text(w, "policies", text, len, &e);
		else if (i == 2)
			rc = policy_load_entities(w, "entities", text, len, POLICY_CEDAR, &e);
		else
			rc = policy_load_schema(w, "schema", text, len, &e);
		free(text);
	}
	if (!rc)
		rc = policy_world_seal(w, &e);
	if (rc) {
		print_error("%s: %s\n", json_string_value(json_object_get(test, "policies")), e.text);
		policy_world_free(w);
		return NULL;
	}
	return w;
}

static bool set_is(json_t *want, const struct policy_world *w, const uint32_t *got, size_t n)
{
	if (json_array_size(want) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool found = false;
		for (size_t k = 0; k < n; k++)
			found = found || strcmp(json_string_value(json_array_get(want, k)), policy_id(w, got[i])) == 0;
		if (!found)
			return false;
	}
	return true;
}

static void set_uid(const struct json_doc *doc, struct policy_request *r, json_t *uid,
					void (*set)(struct policy_request *, const char *, const char *, size_t))
{
	json_t *id = json_object_get(uid, "id");
	size_t len;
	char *text = json_text(doc, &r->arena, json_string_value(id), json_string_length(id), &len);
	assert_non_null(text);
	set(r, json_string_value(json_object_get(uid, "type")), text, len);
}

static bool request_agrees(const struct json_doc *doc, struct policy_request *r, json_t *q, struct totals *t)
{
	struct policy_result strict, plain;
	struct err e;
	struct val context;
	const struct schema *schema = r->w->schema;
	uint32_t failed[64];
	policy_request_reset(r);
	set_uid(doc, r, json_object_get(q, "principal"), policy_set_principal);
	set_uid(doc, r, json_object_get(q, "action"), policy_set_action);
	set_uid(doc, r, json_object_get(q, "resource"), policy_set_resource);
	/* The context is part of a larger document, so it is converted from its node. */
	const struct json_reader reader = {doc, &r->arena, NULL, &r->w->names, &r->fuel, POLICY_CEDAR};
	const struct schema_action *a = schema ? schema_find_action(schema, r->uid[1]) : NULL;
	const struct json_hint hint = {a && a->applies ? &a->context : NULL, false};
	if (json_record(&reader, json_object_get(q, "context"), hint, &context, &e))
		return false;
	r->context = context;
	if (policy_decide(r, POLICY_STRICT, &strict, &e))
		return false;
	bool strict_allow = strict.allow, by_error = strict.deny_by_error;
	if (policy_decide(r, POLICY_CEDAR, &plain, &e))
		return false;
	for (size_t i = 0; i < plain.n_errors && i < 64; i++)
		failed[i] = plain.errors[i].policy;
	bool want = strcmp(json_string_value(json_object_get(q, "decision")), "allow") == 0;
	t->requests++;
	t->allow += plain.allow;
	t->deny += !plain.allow;
	t->with_errors += plain.n_errors > 0;
	t->strict_denies += plain.allow && !strict_allow;
	if (strict_allow && !plain.allow)
		return false;
	if (plain.allow && !strict_allow && !by_error)
		return false;
	return plain.allow == want &&
		   set_is(json_object_get(q, "reason"), r->w, plain.reasons, plain.n_reasons) &&
		   set_is(json_object_get(q, "errors"), r->w, failed, plain.n_errors);
}

static void one_test(const char *path, bool schema, struct totals *t)
{
	struct json_doc doc;
	struct policy_request *r = NULL;
	struct err e;
	size_t len = 0, i;
	json_t *q;
	char *text = kit_read(path, &len);
	assert_non_null(text);
	assert_int_equal(json_read(path, text, len, &doc, &e), 0);
	struct policy_world *w = load_world(doc.root, schema);
	t->tests++;
	if (!w || policy_request_new(w, &r, &e))
		t->wrong++;
	json_array_foreach(json_object_get(doc.root, "requests"), i, q)
	{
		if (!r || request_agrees(&doc, r, q, t))
			continue;
		if (t->wrong++ < 10)
			print_error("%s: request %zu disagrees\n", path, i);
	}
	policy_request_free(r);
	policy_world_free(w);
	json_free(&doc);
	free(text);
}

static void run_folder(const char *name, bool schema, struct totals *t)
{
	char dir[PATH_MAX + 64], path[PATH_MAX + 400];
	struct dirent *d;
	snprintf(dir, sizeof dir, "%s/%s", data, name);
	DIR *f = opendir(dir);
	assert_non_null(f);
	while ((d = readdir(f))) {
		size_t n = strlen(d->d_name);
		if (n < 6 || strcmp(d->d_name + n - 5, ".json") != 0 || strstr(d->d_name, ".entities.json"))
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, d->d_name);
		one_test(path, schema, t);
	}
	closedir(f);
}

static void report(const char *what, const struct totals *t)
{
	printf("%s: %u tests, %u requests (%u allow, %u deny, %u with errors, %u denied by strict mode alone), "
		   "%u wrong\n",
		   what, t->tests, t->requests, t->allow, t->deny, t->with_errors, t->strict_denies, t->wrong);
}

static void corpus_agrees(void **state)
{
	struct totals t = {0};
	(void)state;
	if (!unpack())
		skip();
	run_folder("corpus-tests", true, &t);
	report("corpus, with schemas", &t);
	assert_int_equal(t.wrong, 0);
	assert_int_equal(t.tests, 3961);
	assert_int_equal(t.requests, 31688);
	assert_int_equal(t.allow, 18734);
	assert_int_equal(t.with_errors, 1862);
}

static void corpus_agrees_without_schema(void **state)
{
	struct totals t = {0};
	(void)state;
	if (!unpack())
		skip();
	run_folder("corpus-tests", false, &t);
	report("corpus, without schemas", &t);
	assert_int_equal(t.wrong, 0);
	assert_int_equal(t.requests, 31688);
}

static void handwritten_agrees(void **state)
{
	static const char *const folders[] = {"tests/decimal", "tests/example_use_cases", "tests/ip",
										  "tests/multi"};
	struct totals t = {0};
	(void)state;
	if (!unpack())
		skip();
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		run_folder(folders[i], true, &t); /* their data use short forms, which need the schema */
	}
	report("hand-written", &t);
	assert_int_equal(t.wrong, 0);
	assert_int_equal(t.requests, 74);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(corpus_agrees),
		cmocka_unit_test(corpus_agrees_without_schema),
		cmocka_unit_test(handwritten_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
