/* SPDX-License-Identifier: Apache-2.0
 * The monotonic state: rollback, mixed chains and fast-forward, attempted on real files. */
#include "tests/unit/trust_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

static struct note_signer root_a, root_b, alice, bob;
static struct text T, M;
static struct err E;
static char home[200], dir[256], trust_path[256];

static int setup(void **state)
{
	(void)state;
	root_a = key_make("root-a", 1);
	root_b = key_make("root-b", 2);
	alice = key_make("alice", 11);
	bob = key_make("bob", 12);
	return sodium_init() < 0;
}

/* A fresh folder for each test. */
static int home_make(void **state)
{
	(void)state;
	snprintf(home, sizeof home, "/tmp/fumehood-trust-XXXXXX");
	if (!mkdtemp(home))
		return 1;
	snprintf(dir, sizeof dir, "%s/trust", home);
	snprintf(trust_path, sizeof trust_path, "%s/trust.note", home);
	return 0;
}

static int home_remove(void **state)
{
	(void)state;
	static const char *const names[] = { "trust/state", "trust/7.note", "trust/8.note", "trust/9.note", "trust/10.note",
		                                 "trust.note", "trust", "" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char p[300];
		snprintf(p, sizeof p, "%s/%s", home, names[i]);
		if (remove(p) != 0 && access(p, F_OK) == 0)
			return 1;
	}
	return 0;
}

/* Writes trust.note of this version; extra lines; signed by root. */
static void trust_put(const char *path, uint64_t version, const char *extra, const struct note_signer *root,
                      const struct note_signer *by, size_t n_by)
{
	T.len = 0;
	add(&T, "fumehood-trust/v1\nversion %" PRIu64 "\nissued %" PRIu64 "\nexpires %" PRIu64 "\nroot-threshold 1\n",
	    version, NOW - DAY, NOW + DAY);
	add(&T, "root %s\nsigner alice %s\nsigner bob %s\n%s", vkey(root), vkey(&alice), vkey(&bob), extra);
	sign(&T, by, n_by);
	if (trust_file_write(path, T.s, T.len, 0600, &E) != ERR_OK)
		fail_msg("%s", E.text);
}

#define ROLE "role * threshold 1 of alice,bob\n"

static void trust_put_plain(uint64_t version)
{
	trust_put(trust_path, version, ROLE, &root_a, &root_a, 1);
}

/* What a broker does at start; the opened pair stays for model checks when out is given. */
static int start(struct trust **out, struct trust_state **s_out)
{
	struct trust_state *s = NULL;
	struct trust *t = NULL;
	int rc = trust_state_load(dir, &s, &E);
	if (rc == ERR_OK)
		rc = trust_open(trust_path, s, NOW, &t, &E);
	if (out && rc == ERR_OK) {
		*out = t;
		*s_out = s;
		return rc;
	}
	trust_free(t);
	trust_state_free(s);
	return rc;
}

/* Admits version of a model, by a signer, through a restart. */
static int admit(uint64_t version, unsigned files, const struct note_signer *by)
{
	struct trust *t = NULL;
	struct trust_state *s = NULL;
	struct model_note *m = NULL;
	struct model_vouch v;
	int rc = start(&t, &s);
	if (rc != ERR_OK)
		fail_msg("%s", E.text);
	model_text(&M, "acme/net", version, files);
	sign(&M, by, 1);
	if ((rc = model_note_parse(M.s, M.len, &m, &E)) == ERR_OK &&
	    (rc = model_note_verify(m, t, NOW, &v, &E)) == ERR_OK &&
	    (rc = trust_state_check_model(s, t, m, NOW, &E)) == ERR_OK)
		rc = trust_state_commit_model(s, m, &v, &E);
	model_note_free(m);
	trust_free(t);
	trust_state_free(s);
	return rc;
}

static void test_first_use_and_again(void **state)
{
	(void)state;
	struct stat st;
	char p[300];
	assert_int_equal(start(NULL, NULL), ERR_OK); /* no trust.note: nothing to trust yet */
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	snprintf(p, sizeof p, "%s/state", dir);
	assert_int_equal(stat(p, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void attack_trust_rollback(void **state)
{
	(void)state;
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	trust_put_plain(8);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_SIGNATURE);
	assert_non_null(strstr(E.text, "rollback"));
}

static void attack_trust_removed(void **state)
{
	(void)state;
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	unlink(trust_path);
	assert_int_equal(start(NULL, NULL), ERR_NOT_FOUND);
}

static void attack_same_version_other_text(void **state)
{
	(void)state;
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	trust_put(trust_path, 7, ROLE "x-note changed\n", &root_a, &root_a, 1);
	assert_int_equal(start(NULL, NULL), ERR_SIGNATURE);
	/* a further signature over the same text is no change */
	struct note_signer two[] = { root_a, root_b };
	trust_put(trust_path, 7, ROLE, &root_a, two, 2);
	assert_int_equal(start(NULL, NULL), ERR_OK);
}

static void attack_own_root_of_a_thief(void **state)
{
	(void)state;
	struct note_signer two[] = { root_a, root_b };
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	trust_put(trust_path, 8, ROLE, &root_b, &root_b, 1); /* signed by its own new root only */
	assert_int_equal(start(NULL, NULL), ERR_SIGNATURE);
	trust_put(trust_path, 8, ROLE, &root_b, two, 2);
	assert_int_equal(start(NULL, NULL), ERR_OK);
}

static void attack_skipped_version(void **state)
{
	(void)state;
	char p[300];
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	trust_put_plain(9);
	assert_int_equal(start(NULL, NULL), ERR_SIGNATURE);
	assert_non_null(strstr(E.text, "8.note"));
	snprintf(p, sizeof p, "%s/8.note", dir);
	trust_put(p, 9, ROLE, &root_a, &root_a, 1); /* a file that lies about its number */
	assert_int_equal(start(NULL, NULL), ERR_SIGNATURE);
	trust_put(p, 8, ROLE, &root_b, &root_b, 1); /* a step that the old roots did not sign */
	assert_int_equal(start(NULL, NULL), ERR_SIGNATURE);
	trust_put(p, 8, ROLE, &root_a, &root_a, 1);
	assert_int_equal(start(NULL, NULL), ERR_OK);
}

static void attack_kept_step_changed(void **state)
{
	(void)state;
	char p[300];
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	snprintf(p, sizeof p, "%s/7.note", dir);
	trust_put(p, 7, ROLE, &root_b, &root_b, 1); /* the thief's roots as if they had been ours */
	trust_put(trust_path, 8, ROLE, &root_b, &root_b, 1);
	assert_int_equal(start(NULL, NULL), ERR_SIGNATURE);
	unlink(p);
	assert_int_equal(start(NULL, NULL), ERR_SIGNATURE);
}

static void attack_trust_fast_forward(void **state)
{
	(void)state;
	trust_put_plain(7);
	assert_int_equal(start(NULL, NULL), ERR_OK);
	trust_put_plain(UINT64_MAX);
	assert_int_equal(start(NULL, NULL), ERR_LIMIT);
	trust_put_plain(8); /* and the owner can go on */
	assert_int_equal(start(NULL, NULL), ERR_OK);
}

static void attack_model_rollback(void **state)
{
	(void)state;
	trust_put_plain(7);
	assert_int_equal(admit(12, 1, &alice), ERR_OK);
	assert_int_equal(admit(11, 2, &alice), ERR_SIGNATURE);
	assert_non_null(strstr(E.text, "rollback"));
	assert_int_equal(admit(12, 1, &bob), ERR_OK); /* the same files again */
	assert_int_equal(admit(13, 3, &bob), ERR_OK);
	assert_int_equal(admit(12, 1, &alice), ERR_SIGNATURE);
}

static void attack_same_model_version_other_files(void **state)
{
	(void)state;
	trust_put_plain(7);
	assert_int_equal(admit(12, 1, &alice), ERR_OK);
	assert_int_equal(admit(12, 2, &alice), ERR_SIGNATURE);
	assert_non_null(strstr(E.text, "other files"));
}

static void attack_model_fast_forward(void **state)
{
	(void)state;
	char extra[300];
	trust_put_plain(7);
	assert_int_equal(admit(12, 1, &alice), ERR_OK);
	assert_int_equal(admit(UINT64_MAX, 9, &bob), ERR_OK); /* bob's key was stolen */
	assert_int_equal(admit(13, 3, &alice), ERR_SIGNATURE);
	snprintf(extra, sizeof extra, ROLE "deny-key %s since 1 stolen\nmin-version acme/net 12\n", hex(bob.key.pk, 32));
	trust_put(trust_path, 8, extra, &root_a, &root_a, 1);
	assert_int_equal(admit(UINT64_MAX, 9, &bob), ERR_SIGNATURE);
	assert_int_equal(admit(11, 2, &alice), ERR_SIGNATURE); /* the floor that the roots set */
	assert_int_equal(admit(13, 3, &alice), ERR_OK);
	assert_int_equal(admit(12, 1, &alice), ERR_SIGNATURE);
}

static void attack_damaged_state(void **state)
{
	(void)state;
	char p[300], *text = NULL;
	size_t len = 0;
	static const char *const bad[] = { "", "fumehood-trust-state/v2\n", "fumehood-trust-state/v1\ntrust 0 sha256:00\n",
		                               "fumehood-trust-state/v1\nmodel a 1 sha256:00 by 00\n", "fumehood-trust-state/v1" };
	trust_put_plain(7);
	assert_int_equal(admit(12, 1, &alice), ERR_OK);
	snprintf(p, sizeof p, "%s/state", dir);
	assert_int_equal(trust_file_read(p, 100000, &text, &len, &E), ERR_OK);
	assert_non_null(strstr(text, "model acme/net 12 sha256:"));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(trust_file_write(p, bad[i], strlen(bad[i]), 0600, &E), ERR_OK);
		if (start(NULL, NULL) == ERR_OK)
			fail_msg("state \"%s\" was taken", bad[i]);
	}
	for (size_t cut = 1; cut < len; cut += 7) {
		if (text[cut - 1] == '\n') /* a cut between lines is an older state, which only the log can show */
			continue;
		assert_int_equal(trust_file_write(p, text, cut, 0600, &E), ERR_OK);
		if (start(NULL, NULL) == ERR_OK)
			fail_msg("state cut at %zu was taken", cut);
	}
	free(text);
}

static void attack_fifo_in_the_place_of_trust(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(trust_path, 0600), 0);
	assert_int_equal(start(NULL, NULL), ERR_IO); /* and it must not hang */
}

static void attack_state_that_cannot_be_written(void **state)
{
	(void)state;
	char p[300];
	struct trust_state *s = NULL;
	struct trust *t = NULL;
	struct model_note *m = NULL;
	struct model_vouch v = { 0 };
	trust_put_plain(7);
	assert_int_equal(start(&t, &s), ERR_OK);
	/* a folder that is not there any more: nothing may be used that is not on disk */
	snprintf(p, sizeof p, "%s/gone", home);
	assert_int_equal(rename(dir, p), 0);
	model_text(&M, "acme/net", 12, 1);
	sign(&M, &alice, 1);
	assert_int_equal(model_note_parse(M.s, M.len, &m, &E), ERR_OK);
	assert_int_equal(model_note_verify(m, t, NOW, &v, &E), ERR_OK);
	assert_int_equal(trust_state_commit_model(s, m, &v, &E), ERR_IO);
	m->version = 5; /* what failed is not remembered */
	assert_int_equal(trust_state_check_model(s, t, m, NOW, &E), ERR_OK);
	assert_int_equal(rename(p, dir), 0);
	model_note_free(m);
	trust_free(t);
	trust_state_free(s);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, home_make, home_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_first_use_and_again),
		CASE(attack_trust_rollback),
		CASE(attack_trust_removed),
		CASE(attack_same_version_other_text),
		CASE(attack_own_root_of_a_thief),
		CASE(attack_skipped_version),
		CASE(attack_kept_step_changed),
		CASE(attack_trust_fast_forward),
		CASE(attack_model_rollback),
		CASE(attack_same_model_version_other_files),
		CASE(attack_model_fast_forward),
		CASE(attack_damaged_state),
		CASE(attack_fifo_in_the_place_of_trust),
		CASE(attack_state_that_cannot_be_written),
	};
	return cmocka_run_group_tests_name("trust_state", tests, setup, NULL);
}
