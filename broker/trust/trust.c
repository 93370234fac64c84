/* SPDX-License-Identifier: Apache-2.0
 *
 * trust.note: reading it, believing it, and the questions that follow from it. Format and rules: trust.h.
 * The roles of TUF that it plays: root (roots, threshold, rotation), targets delegation (roles),
 * snapshot (one file, so nothing can be mixed), timestamp (freshness.note).
 *
 * Side: broker, cli. Trusts: nothing that it reads; the caller's clock. Owns: struct trust.
 */
#include "broker/trust/rules.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WHAT "trust.note"

static bool id_is_ok(struct field f)
{
	if (f.len == 0 || f.len > TRUST_ID_MAX_BYTES)
		return false;
	for (size_t i = 0; i < f.len; i++)
		if (!((f.p[i] >= 'a' && f.p[i] <= 'z') || (f.p[i] >= 'A' && f.p[i] <= 'Z') ||
		      (f.p[i] >= '0' && f.p[i] <= '9') || f.p[i] == '.' || f.p[i] == '_' || f.p[i] == '-'))
			return false;
	return true;
}

static bool same_key(const struct note_key *a, const struct note_key *b)
{
	return memcmp(a->pk, b->pk, NOTE_KEY_BYTES) == 0;
}

/* --- lines --------------------------------------------------------------------------------------- */

static int number_read(struct field rest, uint64_t min, uint64_t *out, struct err *e)
{
	struct field f;
	if (!field_last(&rest, &f) || !field_u64(f, out) || *out < min)
		return err_set(e, ERR_SIGNATURE, "want one decimal number of at least %" PRIu64, min);
	return ERR_OK;
}

static int on_version(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 1, &((struct trust *)into)->version, e);
}
static int on_issued(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 0, &((struct trust *)into)->issued, e);
}
static int on_expires(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 0, &((struct trust *)into)->expires, e);
}
static int on_root_threshold(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 1, &((struct trust *)into)->root_threshold, e);
}

/* An Ed25519 vkey. A cosigner's key has another meaning and must not sign notes. */
static int vkey_read(struct field f, struct note_key *out, struct err *e)
{
	if (note_vkey_parse(f.p, f.len, out, e) != ERR_OK) {
		if (e)
			e->code = ERR_SIGNATURE;
		return ERR_SIGNATURE;
	}
	if (out->type != NOTE_ED25519)
		return err_set(e, ERR_SIGNATURE, "want an Ed25519 key (type 0x01)");
	return ERR_OK;
}

static int on_root(void *into, struct field rest, struct err *e)
{
	struct trust *t = into;
	struct note_key *k = &t->roots[t->n_roots];
	struct field f;
	if (!field_last(&rest, &f))
		return err_set(e, ERR_SIGNATURE, "want one key");
	int rc = vkey_read(f, k, e);
	for (size_t i = 0; rc == ERR_OK && i < t->n_roots; i++)
		if (same_key(k, &t->roots[i]))
			return err_set(e, ERR_SIGNATURE, "the same key stands twice");
	t->n_roots += rc == ERR_OK;
	return rc;
}

/* Kinds of signers of other tools: named, so that the refusal says what is missing. */
static int foreign_refuse(struct field kind, struct err *e)
{
	static const char *const kinds[] = { "minisign", "signify", "oms-key", "oms-ca", "oms-sigstore" };
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (field_is(kind, kinds[i]))
			return err_set(e, ERR_UNSUPPORTED, "signers of kind %s are not implemented: countersign with a key of "
			               "`fumehood keygen` instead", kinds[i]);
	char shown[64];
	return err_set(e, ERR_UNSUPPORTED, "kind of signer \"%s\" is not known",
	               err_escape(shown, sizeof shown, kind.p, kind.len));
}

static int on_signer(void *into, struct field rest, struct err *e)
{
	struct trust *t = into;
	struct trust_signer *s = &t->signers[t->n_signers];
	struct note_key *k = &t->signer_keys[t->n_signers];
	struct field id, f;
	if (!field_next(&rest, &id) || !id_is_ok(id) || !field_next(&rest, &f))
		return err_set(e, ERR_SIGNATURE, "want an id (letters, digits, . _ -) and a key");
	if (rest.p)
		return foreign_refuse(f, e);
	int rc = vkey_read(f, k, e);
	if (rc != ERR_OK)
		return rc;
	field_copy(id, s->id, sizeof s->id);
	for (size_t i = 0; i < t->n_signers; i++)
		if (strcmp(s->id, t->signers[i].id) == 0)
			return err_set(e, ERR_SIGNATURE, "id \"%s\" stands twice", s->id);
	hash_sha256(k->pk, NOTE_KEY_BYTES, s->pk_sha256);
	t->n_signers++;
	return ERR_OK;
}

static bool glob_is_ok(struct field f)
{
	char plain[TRUST_MODEL_NAME_MAX_BYTES + 1];
	if (f.len == 0 || f.len >= sizeof plain)
		return false;
	for (size_t i = 0; i < f.len; i++)
		plain[i] = f.p[i] == '*' ? 'x' : f.p[i];
	return model_name_is_ok(plain, f.len);
}

/* Signers may stand behind the roles that name them: ids are resolved when all lines are read. The list
 * of ids waits in members_text. */
struct role_wait {
	struct field ids;
};

struct reading {
	struct trust t; /* first: rules get a pointer to it */
	struct role_wait waits[LIMIT_TRUST_ROLES];
};

static int on_role(void *into, struct field rest, struct err *e)
{
	struct reading *r = into;
	struct trust_role *role = &r->t.roles[r->t.n_roles];
	struct field glob, word, number, of, ids;
	if (!field_next(&rest, &glob) || !glob_is_ok(glob) || !field_next(&rest, &word) ||
	    !field_is(word, "threshold") || !field_next(&rest, &number) || !field_u64(number, &role->threshold) ||
	    !field_next(&rest, &of) || !field_is(of, "of") || !field_last(&rest, &ids))
		return err_set(e, ERR_SIGNATURE, "want: GLOB threshold N of ID,ID");
	if (role->threshold == 0)
		return err_set(e, ERR_SIGNATURE, "a threshold of 0 would let anybody sign");
	for (size_t i = 0; i < r->t.n_roles; i++)
		if (r->t.roles[i].glob.len == glob.len && memcmp(r->t.roles[i].glob.p, glob.p, glob.len) == 0)
			return err_set(e, ERR_SIGNATURE, "the same pattern stands twice");
	role->glob = glob;
	r->waits[r->t.n_roles].ids = ids;
	r->t.n_roles++;
	return ERR_OK;
}

static int on_min_version(void *into, struct field rest, struct err *e)
{
	struct trust *t = into;
	struct trust_min *m = &t->mins[t->n_mins];
	struct field number;
	if (!field_next(&rest, &m->model) || !model_name_is_ok(m->model.p, m->model.len) ||
	    !field_last(&rest, &number) || !field_u64(number, &m->version))
		return err_set(e, ERR_SIGNATURE, "want: NAME N");
	for (size_t i = 0; i < t->n_mins; i++)
		if (t->mins[i].model.len == m->model.len && memcmp(t->mins[i].model.p, m->model.p, m->model.len) == 0)
			return err_set(e, ERR_SIGNATURE, "the same model stands twice");
	t->n_mins++;
	return ERR_OK;
}

static int on_deny_key(void *into, struct field rest, struct err *e)
{
	struct trust *t = into;
	struct trust_denial *d = &t->deny_keys[t->n_deny_keys];
	struct field key, since, number;
	if (!field_next(&rest, &key) || !field_hex(key, d->digest) || !field_next(&rest, &since) ||
	    !field_is(since, "since") || !field_next(&rest, &number) || !field_u64(number, &d->since))
		return err_set(e, ERR_SIGNATURE, "want: HEX since UNIX REASON, HEX being SHA-256 of the key");
	err_escape(d->reason, sizeof d->reason, rest.p ? rest.p : "", rest.len);
	t->n_deny_keys++;
	return ERR_OK;
}

static int on_deny_model(void *into, struct field rest, struct err *e)
{
	struct trust *t = into;
	struct trust_denial *d = &t->deny_models[t->n_deny_models];
	struct field root;
	if (!field_next(&rest, &root) || !field_sha256(root, d->digest))
		return err_set(e, ERR_SIGNATURE, "want: sha256:HEX REASON");
	err_escape(d->reason, sizeof d->reason, rest.p ? rest.p : "", rest.len);
	t->n_deny_models++;
	return ERR_OK;
}

static int on_freshness(void *into, struct field rest, struct err *e)
{
	struct trust *t = into;
	struct field key, word, number;
	if (!field_next(&rest, &key) || !field_next(&rest, &word) || !field_is(word, "max-age") ||
	    !field_last(&rest, &number) || !field_u64(number, &t->fresh_max_age_s) || t->fresh_max_age_s == 0)
		return err_set(e, ERR_SIGNATURE, "want: VKEY max-age SECONDS");
	return vkey_read(key, &t->fresh_key, e);
}

static int on_audit_log(void *into, struct field rest, struct err *e)
{
	struct trust *t = into;
	struct field f;
	if (!field_last(&rest, &f))
		return err_set(e, ERR_SIGNATURE, "want one key");
	int rc = vkey_read(f, &t->logs[t->n_logs], e);
	t->n_logs += rc == ERR_OK;
	return rc;
}

/* Lines of a C2SP tlog-policy, for verifiers of the log: kept in the text, judged where they are used. */
static int on_audit_policy(void *into, struct field rest, struct err *e)
{
	(void)into;
	return rest.len ? ERR_OK : err_set(e, ERR_SIGNATURE, "want a line of a tlog-policy");
}

static const struct line_rule rules[] = {
	{ "version", 1, 1, on_version },
	{ "issued", 1, 1, on_issued },
	{ "expires", 1, 1, on_expires },
	{ "root-threshold", 1, 1, on_root_threshold },
	{ "root", 1, LIMIT_TRUST_ROOTS, on_root },
	{ "signer", 0, LIMIT_TRUST_SIGNERS, on_signer },
	{ "role", 0, LIMIT_TRUST_ROLES, on_role },
	{ "min-version", 0, LIMIT_TRUST_MIN_VERSIONS, on_min_version },
	{ "deny-key", 0, LIMIT_TRUST_DENIALS, on_deny_key },
	{ "deny-model", 0, LIMIT_TRUST_DENIALS, on_deny_model },
	{ "freshness", 0, 1, on_freshness },
	{ "audit-log", 0, LIMIT_TRUST_LOGS, on_audit_log },
	{ "audit-policy", 0, LIMIT_TRUST_LOGS * 4, on_audit_policy },
};

/* --- what the lines say together ------------------------------------------------------------------- */

/* Adds the signer of one id to the role. */
static int member_add(struct trust *t, struct trust_role *role, struct field id, struct err *e)
{
	char shown[80];
	for (size_t i = 0; i < t->n_signers; i++) {
		if (!field_is(id, t->signers[i].id))
			continue;
		if (role->members >> i & 1)
			return err_set(e, ERR_SIGNATURE, WHAT ": a role names \"%s\" twice", t->signers[i].id);
		role->members |= UINT64_C(1) << i;
		return ERR_OK;
	}
	return err_set(e, ERR_SIGNATURE, WHAT ": a role names \"%s\", who is no signer",
	               err_escape(shown, sizeof shown, id.p, id.len));
}

static int role_resolve(struct trust *t, struct trust_role *role, struct field ids, struct err *e)
{
	for (bool more = true; more;) {
		const char *comma = memchr(ids.p, ',', ids.len);
		struct field id = { ids.p, comma ? (size_t)(comma - ids.p) : ids.len };
		int rc = member_add(t, role, id, e);
		if (rc != ERR_OK)
			return rc;
		more = comma != NULL;
		if (more)
			ids = (struct field){ comma + 1, ids.len - id.len - 1 };
	}
	unsigned n = note_count_distinct(t->signer_keys, t->n_signers, role->members);
	if (role->threshold > n)
		return err_set(e, ERR_SIGNATURE, WHAT ": a role wants %" PRIu64 " signers and has %u different keys",
		               role->threshold, n);
	return ERR_OK;
}

static int sums_check(struct reading *r, struct err *e)
{
	struct trust *t = &r->t;
	int rc = ERR_OK;
	if (t->root_threshold > t->n_roots)
		return err_set(e, ERR_SIGNATURE, WHAT ": root-threshold %" PRIu64 " is above its %zu roots",
		               t->root_threshold, t->n_roots);
	if (t->issued >= t->expires)
		return err_set(e, ERR_SIGNATURE, WHAT ": expires before it is issued");
	for (size_t i = 0; rc == ERR_OK && i < t->n_roles; i++)
		rc = role_resolve(t, &t->roles[i], r->waits[i].ids, e);
	return rc;
}

/* The different roots of `by` among these, denied ones left out. */
static unsigned roots_count(const struct trust *by, uint64_t good, uint64_t now)
{
	for (size_t i = 0; i < by->n_roots; i++) {
		uint8_t h[HASH_BYTES];
		hash_sha256(by->roots[i].pk, NOTE_KEY_BYTES, h);
		if (trust_key_denial(by, h, now))
			good &= ~(UINT64_C(1) << i);
	}
	return note_count_distinct(by->roots, by->n_roots, good);
}

/* Counts the roots of `by` that signed the note against by's threshold. */
static int roots_check(const struct trust *by, const struct note *n, uint64_t now, const char *whose,
                       struct err *e)
{
	uint64_t good = 0;
	int rc = note_verify(n, by->roots, by->n_roots, &good, e);
	if (rc != ERR_OK)
		return err_prefix(e, WHAT ", %s roots", whose);
	unsigned count = roots_count(by, good, now);
	if (count < by->root_threshold)
		return err_set(e, ERR_SIGNATURE, WHAT " version %" PRIu64 ": %u of the %s roots signed it, %" PRIu64
		               " must", by->version, count, whose, by->root_threshold);
	return ERR_OK;
}

static int note_copy(struct trust *t, const char *text, size_t len, struct err *e)
{
	if (len > LIMIT_TRUST_BYTES)
		return err_set(e, ERR_LIMIT, WHAT ": %zu bytes is above the limit of %" PRIu64, len,
		               (uint64_t)LIMIT_TRUST_BYTES);
	t->text = malloc(len + 1);
	if (!t->text)
		return err_set(e, ERR_NOMEM, WHAT ": no memory");
	memcpy(t->text, text, len);
	t->text[len] = 0;
	t->text_len = len;
	int rc = note_parse(t->text, len, &t->note, e);
	if (rc != ERR_OK)
		return err_prefix(e, WHAT);
	hash_sha256(t->text, len, t->note_sha256);
	hash_sha256(t->note.text, t->note.text_len, t->text_sha256);
	return ERR_OK;
}

int trust_form(const char *text, size_t len, struct trust **out, struct err *e)
{
	struct reading *r = calloc(1, sizeof *r);
	int rc;
	if (!r)
		return err_set(e, ERR_NOMEM, WHAT ": no memory");
	if ((rc = note_copy(&r->t, text, len, e)) != ERR_OK ||
	    (rc = lines_read(WHAT, "fumehood-trust/v1", r->t.note.text, r->t.note.text_len, rules,
	                     sizeof rules / sizeof rules[0], r, e)) != ERR_OK ||
	    (rc = sums_check(r, e)) != ERR_OK)
		goto out;
	*out = &r->t; /* the first member: trust_free frees the whole */
	r = NULL;
out:
	if (r)
		trust_free(&r->t);
	return rc;
}

unsigned trust_roots_missing(const struct trust *t, uint64_t now)
{
	uint64_t good = 0;
	if (note_verify(&t->note, t->roots, t->n_roots, &good, NULL) != ERR_OK)
		good = 0;
	unsigned count = roots_count(t, good, now);
	return count < t->root_threshold ? (unsigned)t->root_threshold - count : 0;
}

int trust_parse(const char *text, size_t len, uint64_t now, struct trust **out, struct err *e)
{
	struct trust *t = NULL;
	int rc = trust_form(text, len, &t, e);
	if (rc == ERR_OK)
		rc = roots_check(t, &t->note, now, "own", e);
	if (rc == ERR_OK)
		*out = t;
	else
		trust_free(t);
	return rc;
}

void trust_free(struct trust *t)
{
	if (t)
		free(t->text);
	free(t);
}

/* --- freshness ----------------------------------------------------------------------------------- */

struct freshness {
	uint64_t version, time;
	uint8_t digest[HASH_BYTES];
};

static int on_fresh_version(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 1, &((struct freshness *)into)->version, e);
}
static int on_fresh_time(void *into, struct field rest, struct err *e)
{
	return number_read(rest, 0, &((struct freshness *)into)->time, e);
}
static int on_fresh_trust(void *into, struct field rest, struct err *e)
{
	struct field f;
	if (!field_last(&rest, &f) || !field_sha256(f, ((struct freshness *)into)->digest))
		return err_set(e, ERR_SIGNATURE, "want sha256:HEX of trust.note");
	return ERR_OK;
}

static const struct line_rule fresh_rules[] = {
	{ "trust-version", 1, 1, on_fresh_version },
	{ "trust", 1, 1, on_fresh_trust },
	{ "time", 1, 1, on_fresh_time },
};

/* The timestamp role: a short-lived statement that this trust.note is still the newest one. */
static int freshness_check(const struct trust *t, const char *text, size_t len, uint64_t now, struct err *e)
{
	struct freshness f = { 0 };
	struct note n;
	uint64_t good = 0;
	int rc;
	if (!text)
		return err_set(e, ERR_EXPIRED, WHAT " wants a freshness.note beside it, and there is none");
	if (len > LIMIT_TRUST_BYTES)
		return err_set(e, ERR_LIMIT, "freshness.note: %zu bytes is above the limit of %" PRIu64, len,
		               (uint64_t)LIMIT_TRUST_BYTES);
	if ((rc = note_parse(text, len, &n, e)) != ERR_OK ||
	    (rc = note_verify(&n, &t->fresh_key, 1, &good, e)) != ERR_OK)
		return err_prefix(e, "freshness.note");
	if ((rc = lines_read("freshness.note", "fumehood-freshness/v1", n.text, n.text_len, fresh_rules,
	                     sizeof fresh_rules / sizeof fresh_rules[0], &f, e)) != ERR_OK)
		return rc;
	if (f.version != t->version || memcmp(f.digest, t->note_sha256, HASH_BYTES) != 0)
		return err_set(e, ERR_SIGNATURE, "freshness.note speaks of another trust.note (version %" PRIu64
		               ", here %" PRIu64 "): fetch both", f.version, t->version);
	if (f.time > now)
		return err_set(e, ERR_EXPIRED, "freshness.note is from the future: check this machine's clock");
	if (now - f.time > t->fresh_max_age_s)
		return err_set(e, ERR_EXPIRED, "freshness.note is %" PRIu64 " s old, at most %" PRIu64 " s are trusted: "
		               "fetch a new one", now - f.time, t->fresh_max_age_s);
	return ERR_OK;
}

int trust_load(const char *text, size_t len, const char *fresh, size_t fresh_len, uint64_t now,
               struct trust **out, struct err *e)
{
	struct trust *t = NULL;
	int rc = trust_parse(text, len, now, &t, e);
	if (rc != ERR_OK)
		return rc;
	if (now < t->issued)
		rc = err_set(e, ERR_EXPIRED, WHAT " is issued in the future (%" PRIu64 ", now %" PRIu64 "): check this "
		             "machine's clock", t->issued, now);
	else if (now >= t->expires)
		rc = err_set(e, ERR_EXPIRED, WHAT " version %" PRIu64 " expired at %" PRIu64 ", now %" PRIu64
		             ": its root keys must sign a newer one", t->version, t->expires, now);
	else if (t->fresh_max_age_s)
		rc = freshness_check(t, fresh, fresh_len, now, e);
	if (rc == ERR_OK)
		*out = t;
	else
		trust_free(t);
	return rc;
}

int trust_step(const struct trust *from, const struct trust *to, uint64_t now, struct err *e)
{
	if (from->version == UINT64_MAX || to->version != from->version + 1)
		return err_set(e, ERR_SIGNATURE, WHAT ": version %" PRIu64 " cannot follow %" PRIu64 ": versions go up "
		               "one by one", to->version, from->version);
	int rc = roots_check(from, &to->note, now, "previous", e);
	return rc == ERR_OK ? roots_check(to, &to->note, now, "own", e) : rc;
}

/* --- questions ------------------------------------------------------------------------------------- */

uint64_t trust_version(const struct trust *t) { return t->version; }
uint64_t trust_expires(const struct trust *t) { return t->expires; }
uint64_t trust_issued(const struct trust *t) { return t->issued; }
const uint8_t *trust_digest(const struct trust *t) { return t->note_sha256; }
bool trust_wants_freshness(const struct trust *t) { return t->fresh_max_age_s != 0; }
size_t trust_n_logs(const struct trust *t) { return t->n_logs; }
const struct note_key *trust_log(const struct trust *t, size_t i) { return &t->logs[i]; }

const char *trust_text(const struct trust *t, size_t *len)
{
	*len = t->note.text_len;
	return t->note.text;
}

const struct trust_denial *trust_key_denial(const struct trust *t, const uint8_t pk_sha256[HASH_BYTES],
                                            uint64_t now)
{
	for (size_t i = 0; i < t->n_deny_keys; i++)
		if (now >= t->deny_keys[i].since && memcmp(t->deny_keys[i].digest, pk_sha256, HASH_BYTES) == 0)
			return &t->deny_keys[i];
	return NULL;
}

const struct trust_denial *trust_model_denial(const struct trust *t, const uint8_t root[HASH_BYTES])
{
	for (size_t i = 0; i < t->n_deny_models; i++)
		if (memcmp(t->deny_models[i].digest, root, HASH_BYTES) == 0)
			return &t->deny_models[i];
	return NULL;
}

bool trust_glob_match(struct field glob, const char *name, size_t len)
{
	size_t g = 0, n = 0, star = SIZE_MAX, resume = 0;
	while (n < len) {
		if (g < glob.len && glob.p[g] == '*') {
			star = g++;
			resume = n;
		} else if (g < glob.len && glob.p[g] == name[n]) {
			g++, n++;
		} else if (star != SIZE_MAX) { /* let the last star take one more character */
			g = star + 1;
			n = ++resume;
		} else {
			return false;
		}
	}
	while (g < glob.len && glob.p[g] == '*')
		g++;
	return g == glob.len;
}

uint64_t trust_role_members(const struct trust *t, const char *name)
{
	uint64_t all = 0;
	for (size_t i = 0; i < t->n_roles; i++)
		if (trust_glob_match(t->roles[i].glob, name, strlen(name)))
			all |= t->roles[i].members;
	return all;
}

bool trust_roles_met(const struct trust *t, const char *name, uint64_t set, struct err *e)
{
	char shown[TRUST_MODEL_NAME_MAX_BYTES + 1];
	unsigned matching = 0;
	for (size_t i = 0; i < t->n_roles; i++) {
		const struct trust_role *r = &t->roles[i];
		if (!trust_glob_match(r->glob, name, strlen(name)))
			continue;
		matching++;
		unsigned n = note_count_distinct(t->signer_keys, t->n_signers, set & r->members);
		if (n < r->threshold) {
			err_set(e, ERR_SIGNATURE, "role \"%s\" wants %" PRIu64 " of its signers, %u signed",
			        err_escape(shown, sizeof shown, r->glob.p, r->glob.len), r->threshold, n);
			return false;
		}
	}
	if (matching == 0)
		err_set(e, ERR_SIGNATURE, "no role of trust.note lets anybody sign a model of this name");
	return matching > 0;
}

uint64_t trust_min_version(const struct trust *t, const char *name)
{
	for (size_t i = 0; i < t->n_mins; i++)
		if (field_is(t->mins[i].model, name))
			return t->mins[i].version;
	return 0;
}
