/* SPDX-License-Identifier: Apache-2.0
 * trust.note, model.note and freshness.note: an attempt at each refusal, named for the attack. Attacks on
 * the files of the state are in unit_trust_state. */
#include "tests/unit/trust_kit.h"

#include "broker/trust/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sodium.h>

static struct note_signer root_a, root_b, root_c, alice, bob, carol, fresh, mallory;
static struct text T, M;
static struct err E;

static int keys_make(void **state)
{
	(void)state;
	root_a = key_make("root-a", 1);
	root_b = key_make("root-b", 2);
	root_c = key_make("root-c", 3);
	alice = key_make("alice", 11);
	bob = key_make("bob", 12);
	carol = key_make("carol", 13);
	fresh = key_make("fresh", 21);
	mallory = key_make("mallory", 66);
	return sodium_init() < 0;
}

/* The trust.note that attacks start from: two of three roots, three signers, two roles. */
static void trust_text_make(void)
{
	T.len = 0;
	add(&T, "fumehood-trust/v1\nversion 7\nissued %" PRIu64 "\nexpires %" PRIu64 "\nroot-threshold 2\n", NOW - DAY,
	    NOW + DAY);
	add(&T, "root %s\nroot %s\nroot %s\n", vkey(&root_a), vkey(&root_b), vkey(&root_c));
	add(&T, "role acme/* threshold 2 of alice,bob,carol\nrole lab/* threshold 1 of carol\n");
	add(&T, "signer alice %s\nsigner bob %s\nsigner carol %s\n", vkey(&alice), vkey(&bob), vkey(&carol));
}

static void trust_sign(void)
{
	struct note_signer two[] = { root_a, root_b };
	sign(&T, two, 2);
}

static int trust_code(uint64_t now)
{
	struct trust *t = NULL;
	int rc = trust_load(T.s, T.len, NULL, 0, now, &t, &E);
	trust_free(t);
	return rc;
}

/* The code of a trust.note with these lines added. */
static int with_line(const char *fmt, ...)
{
	va_list ap;
	trust_text_make();
	va_start(ap, fmt);
	T.len += (size_t)vsnprintf(T.s + T.len, sizeof T.s - T.len, fmt, ap);
	va_end(ap);
	trust_sign();
	return trust_code(NOW);
}

/* The code of a trust.note with one piece of text swapped. */
static int with_swap(const char *from, const char *to)
{
	trust_text_make();
	swap(&T, from, to);
	trust_sign();
	return trust_code(NOW);
}

static struct trust *trust_good(void)
{
	struct trust *t = NULL;
	if (trust_load(T.s, T.len, NULL, 0, NOW, &t, &E) != ERR_OK)
		fail_msg("%s", E.text);
	return t;
}

static struct trust *trust_plain(void)
{
	trust_text_make();
	trust_sign();
	return trust_good();
}

static int model_parse_code(void)
{
	struct model_note *m = NULL;
	int rc = model_note_parse(M.s, M.len, &m, &E);
	model_note_free(m);
	return rc;
}

/* The code of the signed note in M under t. */
static int model_code(const struct trust *t, uint64_t now, struct model_vouch *v)
{
	struct model_note *m = NULL;
	struct model_vouch none;
	int rc = model_note_parse(M.s, M.len, &m, &E);
	if (rc == ERR_OK)
		rc = model_note_verify(m, t, now, v ? v : &none, &E);
	model_note_free(m);
	return rc;
}

static void model_make(const char *name, const struct note_signer *signers, size_t n)
{
	model_text(&M, name, 12, 1);
	sign(&M, signers, n);
}

static int model_with_line(const char *fmt, ...)
{
	va_list ap;
	model_text(&M, "acme/net", 12, 1);
	va_start(ap, fmt);
	M.len += (size_t)vsnprintf(M.s + M.len, sizeof M.s - M.len, fmt, ap);
	va_end(ap);
	sign(&M, &alice, 1);
	return model_parse_code();
}

static int model_with_swap(const char *from, const char *to)
{
	model_text(&M, "acme/net", 12, 1);
	swap(&M, from, to);
	sign(&M, &alice, 1);
	return model_parse_code();
}

/* --- what must work ------------------------------------------------------------------------------- */

static void test_good(void **state)
{
	(void)state;
	struct note_signer two[] = { alice, carol };
	struct model_vouch v;
	struct trust *t = trust_plain();
	assert_int_equal(trust_version(t), 7);
	model_make("acme/net", two, 2);
	assert_int_equal(model_code(t, NOW, &v), ERR_OK);
	assert_int_equal(v.n_signers, 2);
	assert_string_equal(v.signers[0], "alice");
	assert_string_equal(v.signers[1], "carol");
	model_make("lab/net", &carol, 1);
	assert_int_equal(model_code(t, NOW, &v), ERR_OK);
	assert_int_equal(v.n_signers, 1);
	trust_free(t);
}

static void test_good_fields(void **state)
{
	(void)state;
	struct model_note *m = NULL;
	assert_int_equal(model_with_line("licence Apache-2.0\nlimit memory 2147483648\nlimit cpu-ms 2000\n"
	                                 "input float32 1,3,224,224\nx-later something\n"), ERR_OK);
	assert_int_equal(model_note_parse(M.s, M.len, &m, &E), ERR_OK);
	assert_string_equal(m->name, "acme/net");
	assert_string_equal(m->licence, "Apache-2.0");
	assert_true(m->limit_memory_bytes == UINT64_C(2147483648) && m->limit_cpu_ms == 2000 && m->version == 12);
	assert_int_equal(m->n_files, 2);
	assert_string_equal(m->files[1].path, "part-01.onnx");
	assert_string_equal(m->inputs[0].dims, "1,3,224,224");
	model_note_free(m);
}

static void test_globs(void **state)
{
	(void)state;
	static const struct {
		const char *glob, *name;
		bool match;
	} rows[] = {
		{ "*", "a/b", true },           { "acme/*", "acme/x/y", true },  { "acme/*", "acme", false },
		{ "acme/*", "xacme/n", false }, { "a*b*c", "a-b-b-c", true },    { "a*b*c", "a-c-b", false },
		{ "net", "net", true },         { "net", "net2", false },        { "*net", "a/net", true },
		{ "**", "x", true },            { "a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (trust_glob_match((struct field){ rows[i].glob, strlen(rows[i].glob) }, rows[i].name,
		                     strlen(rows[i].name)) != rows[i].match)
			fail_msg("%s against %s", rows[i].glob, rows[i].name);
}

/* --- TUF: arbitrary installation, wrong software ---------------------------------------------------- */

static void attack_unsigned_trust(void **state)
{
	(void)state;
	trust_text_make();
	assert_int_equal(trust_code(NOW), ERR_SIGNATURE);
	add(&T, "\n");
	assert_int_equal(trust_code(NOW), ERR_SIGNATURE);
}

static void attack_trust_by_strangers(void **state)
{
	(void)state;
	struct note_signer two[] = { mallory, alice };
	trust_text_make();
	sign(&T, two, 2);
	assert_int_equal(trust_code(NOW), ERR_SIGNATURE);
}

static void attack_arbitrary_installation(void **state)
{
	(void)state;
	struct trust *t = trust_plain();
	model_make("lab/net", &mallory, 1);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	trust_free(t);
}

static void attack_wrong_software_other_glob(void **state)
{
	(void)state;
	struct note_signer two[] = { alice, bob };
	struct trust *t = trust_plain();
	model_make("lab/net", two, 2); /* good signatures of people whose role is acme/ */
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	model_make("other/net", two, 2); /* nobody's name */
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	assert_non_null(strstr(E.text, "no role"));
	trust_free(t);
}

static void attack_renamed_after_signing(void **state)
{
	(void)state;
	struct trust *t = trust_plain();
	model_make("lab/net", &carol, 1);
	swap(&M, "name lab/net", "name lab/nut");
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	trust_free(t);
}

static void attack_signed_log_checkpoint_as_model(void **state)
{
	(void)state;
	M.len = 0;
	add(&M, "log.example/fumehood\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n");
	sign(&M, &carol, 1);
	assert_int_equal(model_parse_code(), ERR_SIGNATURE);
	trust_text_make();
	swap(&T, "fumehood-trust/v1", "fumehood-model/v1");
	trust_sign();
	assert_int_equal(trust_code(NOW), ERR_SIGNATURE);
}

/* --- TUF: compromise of fewer keys than the threshold ------------------------------------------------- */

static void attack_below_threshold(void **state)
{
	(void)state;
	struct trust *t = trust_plain();
	model_make("acme/net", &alice, 1);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	assert_non_null(strstr(E.text, "wants 2"));
	trust_free(t);
	trust_text_make();
	sign(&T, &root_a, 1);
	assert_int_equal(trust_code(NOW), ERR_SIGNATURE);
}

static void attack_same_signature_twice(void **state)
{
	(void)state;
	struct note_signer two[] = { alice, alice };
	struct trust *t = trust_plain();
	model_make("acme/net", two, 2);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	trust_free(t);
}

/* One key as two signers: under the same name, and under another name (so with another key id). */
static void attack_one_key_two_ids(void **state)
{
	(void)state;
	struct note_signer again = key_make("alice-at-home", 11), two[] = { alice, again };
	struct trust *t = NULL;
	trust_text_make();
	add(&T, "signer alice2 %s\nsigner alice3 %s\nrole two/* threshold 2 of alice,alice2,alice3,bob\n", vkey(&alice),
	    vkey(&again));
	trust_sign();
	t = trust_good();
	model_make("two/net", two, 2);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	two[1] = bob;
	model_make("two/net", two, 2);
	assert_int_equal(model_code(t, NOW, NULL), ERR_OK);
	trust_free(t);
	/* and a threshold that only repeated keys could reach */
	assert_int_equal(with_line("signer alice2 %s\nrole two/* threshold 2 of alice,alice2\n", vkey(&alice)),
	                 ERR_SIGNATURE);
	assert_int_equal(with_line("root %s\n", vkey(&root_a)), ERR_SIGNATURE);
	again = key_make("root-a-too", 1);
	assert_int_equal(with_line("root %s\n", vkey(&again)), ERR_SIGNATURE);
}

static void attack_broken_signature_beside_good_ones(void **state)
{
	(void)state;
	struct note_signer three[] = { alice, bob, carol };
	struct trust *t = trust_plain();
	model_make("acme/net", three, 3);
	assert_int_equal(model_code(t, NOW, NULL), ERR_OK);
	char *last = strrchr(M.s, '=');
	last -= 20;
	*last = *last == 'A' ? 'B' : 'A';
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	trust_free(t);
}

static void attack_denied_key(void **state)
{
	(void)state;
	struct note_signer two[] = { alice, bob }, three[] = { alice, bob, carol };
	struct trust *t = NULL;
	assert_int_equal(with_line("deny-key %s since %" PRIu64 " lost on a train\n", hex(alice.key.pk, 32), NOW - 5),
	                 ERR_OK);
	t = trust_good();
	model_make("acme/net", two, 2);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	assert_non_null(strstr(E.text, "lost on a train"));
	model_make("acme/net", three, 3); /* two others are still enough */
	assert_int_equal(model_code(t, NOW, NULL), ERR_OK);
	model_make("lab/net", &alice, 1);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	trust_free(t);
}

static void attack_denied_root_signs(void **state)
{
	(void)state;
	struct note_signer three[] = { root_a, root_b, root_c };
	assert_int_equal(with_line("deny-key %s since 1 stolen\n", hex(root_a.key.pk, 32)), ERR_SIGNATURE);
	trust_text_make();
	add(&T, "deny-key %s since 1 stolen\n", hex(root_a.key.pk, 32));
	sign(&T, three, 3);
	assert_int_equal(trust_code(NOW), ERR_OK);
}

static void attack_denied_model(void **state)
{
	(void)state;
	struct trust *t = NULL;
	char line[200], *root;
	model_make("lab/net", &carol, 1);
	root = strstr(M.s, "root ") + 5;
	snprintf(line, sizeof line, "deny-model %.71s leaks its training data\n", root);
	assert_int_equal(with_line("%s", line), ERR_OK);
	t = trust_good();
	assert_int_equal(model_code(t, NOW, NULL), ERR_DENIED);
	assert_non_null(strstr(E.text, "leaks"));
	trust_free(t);
}

static void attack_role_overlap(void **state)
{
	(void)state;
	/* A wide role must not open what a narrow one guards, in either order. */
	struct note_signer both[] = { alice, bob };
	struct trust *t = NULL;
	assert_int_equal(with_line("role * threshold 1 of bob\n"), ERR_OK);
	t = trust_good();
	model_make("acme/net", &bob, 1);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	model_make("acme/net", both, 2);
	assert_int_equal(model_code(t, NOW, NULL), ERR_OK);
	model_make("free/net", &bob, 1);
	assert_int_equal(model_code(t, NOW, NULL), ERR_OK);
	trust_free(t);
}

/* --- TUF: freeze ------------------------------------------------------------------------------------- */

static void attack_freeze_expired_trust(void **state)
{
	(void)state;
	trust_text_make();
	trust_sign();
	assert_int_equal(trust_code(NOW + DAY - 1), ERR_OK);
	assert_int_equal(trust_code(NOW + DAY), ERR_EXPIRED);
}

static void attack_clock_before_issue(void **state)
{
	(void)state;
	struct trust *t = trust_plain();
	assert_int_equal(trust_code(NOW - DAY - 1), ERR_EXPIRED);
	model_make("lab/net", &carol, 1);
	assert_int_equal(model_code(t, NOW - DAY - 1, NULL), ERR_EXPIRED);
	trust_free(t);
}

static void attack_expired_model(void **state)
{
	(void)state;
	struct trust *t = trust_plain();
	model_make("lab/net", &carol, 1);
	assert_int_equal(model_code(t, NOW + DAY - 1, NULL), ERR_OK);
	assert_int_equal(model_code(t, NOW + DAY, NULL), ERR_EXPIRED);
	trust_free(t);
}

static void attack_expiry_before_issue(void **state)
{
	(void)state;
	char a[40], b[40];
	snprintf(a, sizeof a, "expires %" PRIu64, NOW + DAY);
	snprintf(b, sizeof b, "expires %" PRIu64, NOW - DAY);
	assert_int_equal(with_swap(a, b), ERR_SIGNATURE);
	assert_int_equal(model_with_swap(a, b), ERR_SIGNATURE);
}

/* Builds freshness.note for the signed trust.note in T; returns trust_load's code with it. */
static int fresh_code(uint64_t version, bool right_digest, uint64_t time, const struct note_signer *by)
{
	static struct text f;
	struct trust *t = NULL;
	f.len = 0;
	add(&f, "fumehood-freshness/v1\ntrust-version %" PRIu64 "\ntrust sha256:%s\ntime %" PRIu64 "\n", version,
	    hex(T.s, T.len - !right_digest), time);
	sign(&f, by, 1);
	int rc = trust_load(T.s, T.len, f.s, f.len, NOW, &t, &E);
	trust_free(t);
	return rc;
}

static void attack_freeze_freshness(void **state)
{
	(void)state;
	/* withheld: a trust.note that wants freshness must not load without it */
	assert_int_equal(with_line("freshness %s max-age 3600\n", vkey(&fresh)), ERR_EXPIRED);
	assert_int_equal(fresh_code(7, true, NOW - 3600, &fresh), ERR_OK);
	assert_int_equal(fresh_code(7, true, NOW - 3601, &fresh), ERR_EXPIRED);
	assert_int_equal(fresh_code(7, true, NOW + 1, &fresh), ERR_EXPIRED);
	assert_int_equal(fresh_code(7, true, NOW, &mallory), ERR_SIGNATURE);
	assert_int_equal(fresh_code(7, true, NOW, &root_a), ERR_SIGNATURE);
}

static void attack_mix_freshness_of_another_step(void **state)
{
	(void)state;
	assert_int_equal(with_line("freshness %s max-age 3600\n", vkey(&fresh)), ERR_EXPIRED);
	assert_int_equal(fresh_code(8, true, NOW, &fresh), ERR_SIGNATURE);
	assert_int_equal(fresh_code(7, false, NOW, &fresh), ERR_SIGNATURE);
}

/* --- TUF: mix and match, extraneous files, endless data ----------------------------------------------- */

static void attack_mix_files_of_another_version(void **state)
{
	(void)state;
	static struct text other;
	model_text(&other, "acme/net", 13, 2);
	model_text(&M, "acme/net", 12, 1);
	char *from = strstr(M.s, "file 101"), *to = strstr(other.s, "file 101");
	memcpy(from, to, strlen("file 101 sha256:") + HASH_HEX_BYTES); /* one file of version 13 */
	sign(&M, &alice, 1);
	assert_int_equal(model_parse_code(), ERR_DIGEST);
}

static void attack_root_does_not_follow(void **state)
{
	(void)state;
	model_text(&M, "acme/net", 12, 1);
	char *root = strstr(M.s, "root sha256:") + 12;
	*root = *root == '0' ? '1' : '0';
	sign(&M, &alice, 1);
	assert_int_equal(model_parse_code(), ERR_DIGEST);
}

static void attack_extra_file_line(void **state)
{
	(void)state;
	assert_int_equal(model_with_line("file 5 sha256:%s extra.bin\n", hex("x", 1)), ERR_DIGEST);
}

static void attack_endless_data(void **state)
{
	(void)state;
	model_text(&M, "acme/net", 12, 1);
	for (int i = 0; i < 100; i++)
		add(&M, "file 5 sha256:%s more/%d\n", hex(&i, sizeof i), i);
	sign(&M, &alice, 1);
	assert_int_equal(model_parse_code(), ERR_LIMIT);
	trust_text_make();
	while (T.len <= LIMIT_TRUST_BYTES)
		add(&T, "x-padding and more padding\n");
	trust_sign();
	assert_int_equal(trust_code(NOW), ERR_LIMIT);
	char *big = malloc(LIMIT_NOTE_BYTES + 1);
	struct model_note *m = NULL;
	memset(big, 'x', LIMIT_NOTE_BYTES + 1);
	assert_int_equal(model_note_parse(big, LIMIT_NOTE_BYTES + 1, &m, &E), ERR_LIMIT);
	free(big);
}

static void attack_sizes_that_overflow(void **state)
{
	(void)state;
	assert_int_equal(model_with_swap("file 100 ", "file 18446744073709551615 "), ERR_LIMIT);
	assert_int_equal(model_with_swap("file 100 ", "file 68719476737 "), ERR_LIMIT);
	assert_int_equal(model_with_swap("file 100 ", "file 68719476736 "), ERR_LIMIT); /* with the other one */
}

static void attack_rollback_below_min_version(void **state)
{
	(void)state;
	struct trust *t = NULL;
	assert_int_equal(with_line("min-version lab/net 13\nmin-version lab/ok 12\n"), ERR_OK);
	t = trust_good();
	model_make("lab/net", &carol, 1);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	assert_non_null(strstr(E.text, "below the 13"));
	model_make("lab/ok", &carol, 1);
	assert_int_equal(model_code(t, NOW, NULL), ERR_OK);
	trust_free(t);
}

/* --- rotation ------------------------------------------------------------------------------------------ */

static struct trust *step_make(uint64_t version, const struct note_signer *roots, size_t n_roots, unsigned threshold,
                               const struct note_signer *by, size_t n_by)
{
	struct trust *t = NULL;
	T.len = 0;
	add(&T, "fumehood-trust/v1\nversion %" PRIu64 "\nissued %" PRIu64 "\nexpires %" PRIu64 "\nroot-threshold %u\n",
	    version, NOW - DAY, NOW + DAY, threshold);
	for (size_t i = 0; i < n_roots; i++)
		add(&T, "root %s\n", vkey(&roots[i]));
	sign(&T, by, n_by);
	if (trust_parse(T.s, T.len, NOW, &t, &E) != ERR_OK)
		fail_msg("%s", E.text);
	return t;
}

static void attack_rotation(void **state)
{
	(void)state;
	struct note_signer old[] = { root_a, root_b, root_c }, new[] = { root_c, mallory, alice };
	struct note_signer new_only[] = { mallory, alice }, both[] = { root_a, root_c, mallory }, one_old[] = { root_c, mallory };
	struct trust *seven = step_make(7, old, 3, 2, old, 3);
	struct trust *good = step_make(8, new, 3, 2, both, 3), *stolen = step_make(8, new, 3, 2, new_only, 2);
	struct trust *half = step_make(8, new, 3, 2, one_old, 2), *skip = step_make(9, new, 3, 2, both, 3);
	struct trust *same = step_make(7, new, 3, 2, both, 3);
	assert_int_equal(trust_step(seven, good, NOW, &E), ERR_OK);
	assert_int_equal(trust_step(seven, stolen, NOW, &E), ERR_SIGNATURE); /* by the new roots alone */
	assert_int_equal(trust_step(seven, half, NOW, &E), ERR_SIGNATURE);   /* one old root, two wanted */
	assert_int_equal(trust_step(seven, skip, NOW, &E), ERR_SIGNATURE);   /* version 9 after 7 */
	assert_int_equal(trust_step(seven, same, NOW, &E), ERR_SIGNATURE);
	assert_int_equal(trust_step(good, seven, NOW, &E), ERR_SIGNATURE);   /* back */
	trust_free(seven);
	trust_free(good);
	trust_free(stolen);
	trust_free(half);
	trust_free(skip);
	trust_free(same);
}

/* --- the text -------------------------------------------------------------------------------------------- */

static void attack_thresholds(void **state)
{
	(void)state;
	assert_int_equal(with_swap("root-threshold 2", "root-threshold 0"), ERR_SIGNATURE);
	assert_int_equal(with_swap("root-threshold 2", "root-threshold 4"), ERR_SIGNATURE);
	assert_int_equal(with_swap("root-threshold 2", "root-threshold 3"), ERR_SIGNATURE); /* two signed */
	assert_int_equal(with_line("role x threshold 0 of alice\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("role x threshold 2 of alice\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("role x threshold 2 of alice,alice\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("role x threshold 18446744073709551616 of alice\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("role x threshold 1 of dave\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("role x threshold 1 of alice,\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("role x threshold 1 of \n"), ERR_SIGNATURE);
}

static void attack_duplicate_lines(void **state)
{
	(void)state;
	assert_int_equal(with_line("version 8\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("expires 18446744073709551615\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("root-threshold 1\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("signer alice %s\n", vkey(&mallory)), ERR_SIGNATURE);
	assert_int_equal(with_line("role acme/* threshold 1 of bob\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("min-version a 1\nmin-version a 2\n"), ERR_SIGNATURE);
	assert_int_equal(model_with_line("version 13\n"), ERR_SIGNATURE);
	assert_int_equal(model_with_line("name acme/other\n"), ERR_SIGNATURE);
	assert_int_equal(model_with_line("root sha256:%s\n", hex("", 0)), ERR_SIGNATURE);
	assert_int_equal(model_with_line("limit memory 5\nlimit memory 6\n"), ERR_SIGNATURE);
}

static void attack_missing_lines(void **state)
{
	(void)state;
	assert_int_equal(with_swap("version 7", "xersion 7"), ERR_SIGNATURE);
	assert_int_equal(with_swap("expires", "xxpires"), ERR_SIGNATURE);
	assert_int_equal(with_swap("issued", "xssued"), ERR_SIGNATURE);
	assert_int_equal(with_swap("root-threshold", "xoot-threshold"), ERR_SIGNATURE);
	assert_int_equal(model_with_swap("expires", "xxpires"), ERR_SIGNATURE);
	assert_int_equal(model_with_swap("root ", "xoot "), ERR_SIGNATURE);
	assert_int_equal(model_with_swap("name ", "xame "), ERR_SIGNATURE);
}

static void attack_numbers(void **state)
{
	(void)state;
	static const char *const bad[] = { "07", "+7", "-7", " 7", "7 ", "0x7", "18446744073709551616", "7.0", "", "0",
		                               "99999999999999999999999999", "\xd9\xa7" /* ARABIC-INDIC SEVEN */ };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char line[64];
		snprintf(line, sizeof line, "version %s", bad[i]);
		if (with_swap("version 7", line) != ERR_SIGNATURE || model_with_swap("version 12", line) != ERR_SIGNATURE)
			fail_msg("version \"%s\" was taken", bad[i]);
	}
}

static void attack_unknown_lines(void **state)
{
	(void)state;
	assert_int_equal(with_line("Require-hardware-token yes\n"), ERR_SIGNATURE);
	assert_int_equal(model_with_line("Only-on-tuesdays yes\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("later-idea yes\n# a remark\n"), ERR_OK);
	/* lines that only look like a denial must not be passed over */
	assert_int_equal(with_line("deny-model\xc2\xa0sha256:%s x\n", hex("", 0)), ERR_SIGNATURE);
	assert_int_equal(with_line(" deny-model sha256:%s x\n", hex("", 0)), ERR_SIGNATURE);
	assert_int_equal(with_line("d\xd0\xb5ny-model sha256:%s x\n", hex("", 0)), ERR_SIGNATURE);
	assert_int_equal(with_line("Deny-model sha256:%s x\n", hex("", 0)), ERR_SIGNATURE);
	assert_int_equal(with_line("deny-model  sha256:%s x\n", hex("", 0)), ERR_SIGNATURE);
	assert_int_equal(with_line("deny-model sha256:AB x\n"), ERR_SIGNATURE);
	assert_int_equal(with_line("deny-model\n"), ERR_SIGNATURE);
}

static void attack_signer_kinds(void **state)
{
	(void)state;
	static const char *const kinds[] = { "minisign RWTG894OPfmWpGZCTpQfTEFQmO11Oc7ULJa0FLuI6ZbDDcVUO0hsjsqa",
		                                 "oms-key e8450dec", "oms-ca 00 san=x", "oms-sigstore san=a issuer=b", "pgp 0" };
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		assert_int_equal(with_line("signer dave %s\n", kinds[i]), ERR_UNSUPPORTED);
	assert_non_null(strstr(E.text, "pgp"));
	/* a cosigner's key (type 0x04) signs something else */
	struct note_signer w;
	uint8_t seed[32] = { 9 };
	assert_int_equal(note_cosigner_init("w", 1, seed, &w, &E), ERR_OK);
	assert_int_equal(with_line("signer w %s\n", vkey(&w)), ERR_SIGNATURE);
	assert_int_equal(with_line("root %s\n", vkey(&w)), ERR_SIGNATURE);
	assert_int_equal(with_line("signer a/b %s\n", vkey(&mallory)), ERR_SIGNATURE);
	assert_int_equal(with_line("signer a,b %s\n", vkey(&mallory)), ERR_SIGNATURE);
}

static void attack_seventeen_signatures(void **state)
{
	(void)state;
	struct note_signer s[16];
	for (int i = 0; i < 16; i++) {
		char name[16];
		snprintf(name, sizeof name, "s%d", i);
		s[i] = i == 0 ? carol : key_make(name, (uint8_t)(100 + i));
	}
	struct trust *t = trust_plain();
	model_make("lab/net", s, 16);
	assert_int_equal(model_code(t, NOW, NULL), ERR_OK);
	char *line = strstr(M.s, "\xe2\x80\x94 s1 ");
	size_t n = (size_t)(strchr(line, '\n') - line) + 1;
	memmove(M.s + M.len, line, n);
	M.len += n;
	assert_int_equal(model_code(t, NOW, NULL), ERR_LIMIT);
	trust_free(t);
}

static void attack_signature_above_last_empty_line(void **state)
{
	(void)state;
	struct trust *t = trust_plain();
	model_make("lab/net", &carol, 1); /* a whole signed note as text of another */
	sign(&M, &mallory, 1);
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	model_make("lab/net", &mallory, 1);
	sign(&M, &carol, 1); /* even carol must not sign an empty line into the text */
	assert_int_equal(model_code(t, NOW, NULL), ERR_SIGNATURE);
	trust_free(t);
}

static void attack_characters(void **state)
{
	(void)state;
	static const char *const bad[] = { "\r", "\t", "\x01", "\x1b[2J", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf5" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(model_with_line("licence HERE\n"), ERR_OK);
		swap(&M, "HERE", bad[i]);
		assert_int_equal(model_parse_code(), ERR_SIGNATURE);
		assert_non_null(strstr(E.text, "control character"));
		assert_int_equal(with_line("x-remark HERE\n"), ERR_OK);
		swap(&T, "HERE", bad[i]);
		assert_int_equal(trust_code(NOW), ERR_SIGNATURE);
		assert_non_null(strstr(E.text, "control character"));
	}
	trust_text_make();
	trust_sign();
	T.s[20] = 0; /* NUL in the middle */
	assert_int_equal(trust_code(NOW), ERR_SIGNATURE);
	/* what is valid in a text and dangerous on a terminal is escaped on the way in */
	assert_int_equal(model_with_line("licence a\xe2\x80\xae\x7f\n"), ERR_OK);
	struct model_note *m = NULL;
	assert_int_equal(model_note_parse(M.s, M.len, &m, &E), ERR_OK);
	assert_string_equal(m->licence, "a\\xe2\\x80\\xae\\x7f");
	model_note_free(m);
}

static void attack_paths(void **state)
{
	(void)state;
	static const char *const bad[] = { "../part-00.onnx", "/etc/passwd", "a//b", "a/./b", "a/../b", "..", ".", "a/", "",
		                               "part-01.onnx" /* a duplicate */ };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (model_with_swap("part-00.onnx", bad[i]) != ERR_SIGNATURE)
			fail_msg("path \"%s\" was taken", bad[i]);
	}
	assert_true(model_path_is_ok(".hidden/a b..c", 14));
	assert_false(model_path_is_ok("a\nb", 3));
	assert_false(model_path_is_ok("a\x7f", 2));
}

static void attack_names(void **state)
{
	(void)state;
	static const char *const bad[] = { "../x", "a/../b", ".git", "a b", "a@3", "sha256:00", "a//b", "/a", "a/", "",
		                               "caf\xc3\xa9", "a*", "a\"b" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char line[64];
		snprintf(line, sizeof line, "name %s\n", bad[i]);
		if (model_with_swap("name acme/net\n", line) != ERR_SIGNATURE)
			fail_msg("name \"%s\" was taken", bad[i]);
	}
}

static void attack_limits_that_nobody_keeps(void **state)
{
	(void)state;
	assert_int_equal(model_with_line("limit gpu-ms 5\n"), ERR_UNSUPPORTED);
	assert_int_equal(model_with_line("limit memory 0\n"), ERR_SIGNATURE);
	assert_int_equal(model_with_line("limit memory -1\n"), ERR_SIGNATURE);
}

/* Every single-byte change and every truncation of a good pair is refused. */
static void attack_every_byte(void **state)
{
	(void)state;
	static struct text keep;
	struct trust *t = trust_plain();
	unsigned changed = 0;
	model_make("lab/net", &carol, 1);
	keep = M;
	for (size_t i = 0; i < keep.len; i++) {
		M = keep;
		M.s[i] ^= 1;
		if (model_code(t, NOW, NULL) == ERR_OK)
			fail_msg("byte %zu", i);
		changed++;
	}
	for (size_t i = 0; i < keep.len; i++) {
		M = keep;
		M.len = i;
		if (model_code(t, NOW, NULL) == ERR_OK)
			fail_msg("cut at %zu", i);
	}
	assert_true(changed > 400);
	trust_free(t);
	trust_text_make();
	trust_sign();
	keep = T;
	for (size_t i = 0; i < keep.len; i++) {
		T = keep;
		T.s[i] ^= 1;
		if (trust_code(NOW) == ERR_OK)
			fail_msg("trust byte %zu", i);
		T = keep;
		T.len = i;
		if (trust_code(NOW) == ERR_OK)
			fail_msg("trust cut at %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_good_fields),
		cmocka_unit_test(test_globs),
		cmocka_unit_test(attack_unsigned_trust),
		cmocka_unit_test(attack_trust_by_strangers),
		cmocka_unit_test(attack_arbitrary_installation),
		cmocka_unit_test(attack_wrong_software_other_glob),
		cmocka_unit_test(attack_renamed_after_signing),
		cmocka_unit_test(attack_signed_log_checkpoint_as_model),
		cmocka_unit_test(attack_below_threshold),
		cmocka_unit_test(attack_same_signature_twice),
		cmocka_unit_test(attack_one_key_two_ids),
		cmocka_unit_test(attack_broken_signature_beside_good_ones),
		cmocka_unit_test(attack_denied_key),
		cmocka_unit_test(attack_denied_root_signs),
		cmocka_unit_test(attack_denied_model),
		cmocka_unit_test(attack_role_overlap),
		cmocka_unit_test(attack_freeze_expired_trust),
		cmocka_unit_test(attack_clock_before_issue),
		cmocka_unit_test(attack_expired_model),
		cmocka_unit_test(attack_expiry_before_issue),
		cmocka_unit_test(attack_freeze_freshness),
		cmocka_unit_test(attack_mix_freshness_of_another_step),
		cmocka_unit_test(attack_mix_files_of_another_version),
		cmocka_unit_test(attack_root_does_not_follow),
		cmocka_unit_test(attack_extra_file_line),
		cmocka_unit_test(attack_endless_data),
		cmocka_unit_test(attack_sizes_that_overflow),
		cmocka_unit_test(attack_rollback_below_min_version),
		cmocka_unit_test(attack_rotation),
		cmocka_unit_test(attack_thresholds),
		cmocka_unit_test(attack_duplicate_lines),
		cmocka_unit_test(attack_missing_lines),
		cmocka_unit_test(attack_numbers),
		cmocka_unit_test(attack_unknown_lines),
		cmocka_unit_test(attack_signer_kinds),
		cmocka_unit_test(attack_seventeen_signatures),
		cmocka_unit_test(attack_signature_above_last_empty_line),
		cmocka_unit_test(attack_characters),
		cmocka_unit_test(attack_paths),
		cmocka_unit_test(attack_names),
		cmocka_unit_test(attack_limits_that_nobody_keeps),
		cmocka_unit_test(attack_every_byte),
	};
	return cmocka_run_group_tests_name("trust_note", tests, keys_make, NULL);
}
