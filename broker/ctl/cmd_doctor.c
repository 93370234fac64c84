/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood doctor: can models run safely on this machine? Every layer of the wall is tried for real in a
 * child, a worker is started and proved, programs and keys are looked at; each check says passed or failed, why,
 * and what to do. --self-test puts the attack program in the worker's place, once per attempt of the suite, without
 * a broker. --attempt NAME asks the broker to do that once, and the log keeps it.
 *
 * Exit status: 0 all well, 1 something failed, 2 the checks could not be run; of an attempt that was stopped 5, as
 * of any worker that was ended.
 *
 * Side: cli. Trusts: the kernel's answers. Owns: the list of checks.
 */
#include "broker/ctl/checks.h"
#include "broker/ctl/self_test.h"
#include "broker/ctl/talk.h"

#include "broker/ctl/notes.h"
#include "broker/helper.h"
#include "sandbox/outside/attempt.h"
#include "sandbox/wall/wall.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static const struct ctl_opt opts[] = {
	{ "self-test", 0, NULL, CTL_NONE, false, "run the whole attack suite on this machine and print its table" },
	{ "attempt", 0, "NAME", CTL_WORD, false, "let the attack program try one thing in a worker's place" },
	{ "attempts", 0, NULL, CTL_NONE, false, "list what it can try" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

struct report {
	struct findings all;
	const char *tier;
	struct self_test *worker, *attacks; /* NULL: not run */
};

/* --- the wall --------------------------------------------------------------------------------------- */

/* What stops a kernel that could from giving user namespaces, and with them most other layers. */
static const char *userns_fix(void)
{
	if (sysctl_get("/proc/sys/user/max_user_namespaces") == 0)
		return "set the sysctl user.max_user_namespaces above 0";
	if (sysctl_get("/proc/sys/kernel/unprivileged_userns_clone") == 0)
		return "set the sysctl kernel.unprivileged_userns_clone to 1";
	if (sysctl_get("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1)
		return "give fumehood-jailer an AppArmor profile with userns, or set kernel.apparmor_restrict_unprivileged_userns "
		       "to 0";
	return "inside a container, allow user namespaces (unshare), or run fumehood on the host";
}

static void layer_check(struct findings *all, int layer, uint64_t have, unsigned major, unsigned minor)
{
	const struct layer_row *r = &layer_rows[layer];
	uint64_t bit = UINT64_C(1) << layer;
	bool too_old = major < r->kernel_major || (major == r->kernel_major && minor < r->kernel_minor);
	bool is_optional = wall_layers_shipped_optional() & bit;
	char fix[160];
	if (have & bit) {
		find(all, r->name, true, "", "stops %s", r->what);
		return;
	}
	snprintf(fix, sizeof fix, "%s", !too_old && !(have & LAYER_BIT(USER_NS)) ? userns_fix() : "");
	if (too_old || !fix[0])
		snprintf(fix, sizeof fix, "it came with Linux %u.%u: use a kernel that has it%s", r->kernel_major,
		         r->kernel_minor, r->may == LAYER_MAY_NEVER ? "" : ", or name it in optional_layers");
	find(all, r->name, is_optional, fix, "missing, so nothing here stops %s%s", r->what,
	     is_optional ? "; the shipped configuration allows that, and every record says so" : "");
}

static const char *tier_of(uint64_t have)
{
	uint64_t missing = LAYERS_ALL & ~have;
	if (missing & ~wall_layers_shipped_optional())
		return "refused";
	return missing ? "strict, degraded" : "strict";
}

static int wall_check(struct report *r, struct err *e)
{
	struct utsname u;
	uint64_t have = 0;
	unsigned major = 0, minor = 0;
	int rc = wall_probe(&have, e);
	if (rc != ERR_OK)
		return rc;
	if (uname(&u) == 0)
		(void)sscanf(u.release, "%u.%u", &major, &minor);
	for (int i = 0; i < LAYER__MAX; i++)
		layer_check(&r->all, i, have, major, minor);
	r->tier = tier_of(have);
	return ERR_OK;
}

/* The shipped worker behind the whole wall, proved as the broker proves it. */
static int worker_check(struct report *r, const struct self_how *how, struct err *e)
{
	int rc = self_test_worker(how, &r->worker, e);
	if (rc != ERR_OK)
		return rc;
	const struct self_test *t = r->worker;
	if (t->error.code != ERR_OK)
		find(&r->all, "worker", false, "the checks of the layers above say what is missing", "no worker can be started: %.200s",
		     t->error.text);
	else
		find(&r->all, "worker", true, "", "started, locked and proved in %.1f ms; its descriptors were %s",
		     (double)t->locked_us / 1000, t->fds_seen);
	if (t->error.code == ERR_WALL)
		r->tier = "refused";
	return ERR_OK;
}

static int attacks_check(struct report *r, const struct self_how *how, struct err *e)
{
	int rc = self_test_attacks(how, &r->attacks, e);
	if (rc != ERR_OK)
		return rc;
	const struct self_test *t = r->attacks;
	if (t->error.code != ERR_OK)
		find(&r->all, "attacks", false, "fumehood-attack belongs beside the other programs; the checks above say the rest",
		     "%u attempts were made, then: %.200s", t->n, t->error.text);
	else
		find(&r->all, "attacks", t->n_refused == t->n, "run no models here, and report the attempts that were not refused",
		     "%u of %u attempts refused, %u of %u dangerous ones", t->n_refused, t->n, t->n_dangerous_refused, t->n_dangerous);
	return ERR_OK;
}

/* --- programs ------------------------------------------------------------------------------------------ */

static void program_check(struct findings *all, const char *name)
{
	char path[HELPER_PATH_MAX_BYTES];
	struct stat st;
	struct err e;
	int fd = -1;
	if (helper_open(name, &fd, path, &e) != ERR_OK) {
		find(all, name, false, "install all of fumehood's programs in one folder", "%.200s", e.text);
		return;
	}
	bool foreign = fstat(fd, &st) != 0 || (st.st_mode & 022) != 0 || (st.st_uid != 0 && st.st_uid != geteuid());
	close(fd);
	if (foreign)
		find(all, name, false, "chmod go-w it, and let root or you own it",
		     "%.180s can be changed by others", ctl_str(path));
	else
		find(all, name, true, "", "%.200s", ctl_str(path));
}

static void programs_check(struct findings *all)
{
	static const char *const names[] = { "fumehood-broker", "fumehood-jailer", "fumehood-auditor", "fumehood-worker",
	                                     "fumehood-attack" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		program_check(all, names[i]);
}

/* --- state ------------------------------------------------------------------------------------------------ */

/* A path that only its owner may read. */
static void private_check(struct findings *all, const char *name, const char *path, mode_t forbidden, const char *fix)
{
	struct stat st;
	if (stat(path, &st) != 0) {
		find(all, name, errno == ENOENT, errno == ENOENT ? "" : "look at the folders above it", "%.120s: %s", ctl_str(path),
		     errno == ENOENT ? "not there yet; made on first use" : strerror(errno));
		return;
	}
	if ((st.st_mode & forbidden) != 0)
		find(all, name, false, fix, "%.120s has mode %03o: others can get at it", ctl_str(path),
		     (unsigned)(st.st_mode & 0777));
	else
		find(all, name, true, "", "%.120s, mode %03o", ctl_str(path), (unsigned)(st.st_mode & 0777));
}

static void trust_check(const struct ctl *c, struct findings *all)
{
	struct trust *t = NULL;
	struct err e;
	char path[PATH_MAX];
	uint64_t now = now_unix();
	int rc = trust_read(c, now, &t, path, &e);
	if (rc == ERR_NOT_FOUND)
		find(all, "trust_note", true, "fumehood trust init, then fumehood trust install",
		     "none: signed models cannot be admitted");
	else if (rc != ERR_OK)
		find(all, "trust_note", false, "fumehood trust show tells more", "%.200s", e.text);
	else if (trust_expires(t) - now < 14 * 86400)
		find(all, "trust_note", true, "let the root keys sign the next version",
		     "version %" PRIu64 " expires %s", trust_version(t), ctl_time(trust_expires(t)));
	else
		find(all, "trust_note", true, "", "version %" PRIu64 ", expires %s", trust_version(t),
		     ctl_time(trust_expires(t)));
	trust_free(t);
}

static int state_check(const struct ctl *c, struct findings *all, struct err *e)
{
	char path[PATH_MAX];
	int rc = ctl_state_dir(c, path, sizeof path, e);
	if (rc != ERR_OK)
		return rc;
	private_check(all, "state_directory", path, 022, "chmod go-w it");
	if ((rc = ctl_state_path(c, "log.key", path, sizeof path, e)) != ERR_OK)
		return rc;
	private_check(all, "log_key", path, 077, "chmod 600 it; who has read it can sign another log in its name");
	trust_check(c, all);
	return ERR_OK;
}

/* --- showing ------------------------------------------------------------------------------------------------ */

static json_t *layers_json(uint64_t layers)
{
	json_t *a = json_array();
	for (unsigned i = 0; a && i < LAYER__MAX; i++)
		if (layers >> i & 1)
			json_array_append_new(a, json_string(layer_rows[i].name));
	return a;
}

static json_t *attempts_json(const struct self_test *t)
{
	json_t *a = json_array();
	for (unsigned i = 0; a && t && i < t->n; i++)
		json_array_append_new(a, json_pack("{s:s, s:s, s:b, s:o}", "id", t->rows[i].id, "end", t->rows[i].end,
		                                   "dangerous", t->rows[i].dangerous, "layers", layers_json(t->rows[i].layers)));
	return a;
}

static int report_json(const struct report *r, struct err *e)
{
	unsigned failed = findings_failed(&r->all);
	json_t *a = json_array();
	for (size_t i = 0; a && i < r->all.n; i++)
		json_array_append_new(a, json_pack("{s:s, s:s, s:s, s:s}", "id", r->all.f[i].id, "status",
		                                   r->all.f[i].passed ? "passed" : "failed", "why", r->all.f[i].why, "fix",
		                                   r->all.f[i].fix));
	return ctl_json_print(json_pack("{s:s, s:o, s:o, s:i, s:i}", "tier", r->tier, "checks", a, "attempts",
	                                attempts_json(r->attacks), "passed", (int)(r->all.n - failed), "failed", (int)failed),
	                      e);
}

static int attempts_table(const struct self_test *t, struct err *e)
{
	static const char *const heads[] = { "ATTEMPT", "DANGEROUS", "END", "" };
	struct ctl_table *table = ctl_table_new(4, heads);
	for (unsigned i = 0; i < t->n; i++)
		ctl_table_row(table, (const char *[]){ t->rows[i].id, t->rows[i].dangerous ? "yes" : "", t->rows[i].end,
		                                       t->rows[i].is_refused ? "" : "NOT REFUSED" });
	return ctl_table_print(table, stdout, e);
}

static int report_print(const struct report *r, struct err *e)
{
	static const char *const heads[] = { "CHECK", "", "WHY" };
	unsigned failed = findings_failed(&r->all);
	struct ctl_table *t = ctl_table_new(3, heads);
	for (size_t i = 0; i < r->all.n; i++) {
		const struct finding *f = &r->all.f[i];
		ctl_table_row(t, (const char *[]){ f->id, f->passed ? "passed" : "FAILED", f->why });
		if (f->fix[0] && !f->passed)
			ctl_table_row(t, (const char *[]){ "", "", f->fix });
	}
	int rc = r->attacks ? attempts_table(r->attacks, e) : ERR_OK;
	if (rc == ERR_OK)
		rc = ctl_table_print(t, stdout, e);
	if (rc == ERR_OK)
		printf("tier %s; %zu passed, %u failed\n", r->tier, r->all.n - failed, failed);
	return rc;
}

static int checks_run(struct ctl *c, struct err *e)
{
	struct self_how how = { .optional_layers = wall_layers_shipped_optional(), .is_under_filter = is_under_filter() };
	struct report *r = calloc(1, sizeof *r);
	c->error_status = 2; /* the checks themselves could not be run */
	if (!r)
		return err_set(e, ERR_NOMEM, "no memory for checks");
	int rc = sodium_init() < 0 ? err_set(e, ERR_INTERNAL, "libsodium does not start") : wall_check(r, e);
	if (rc == ERR_OK) {
		how.violation_kill = machine_check(&r->all);
		programs_check(&r->all);
		rc = state_check(c, &r->all, e);
	}
	if (rc == ERR_OK)
		rc = worker_check(r, &how, e);
	if (rc == ERR_OK && ctl_has(c, "self-test"))
		rc = attacks_check(r, &how, e);
	if (rc == ERR_OK)
		rc = c->json ? report_json(r, e) : report_print(r, e);
	if (rc == ERR_OK)
		rc = findings_failed(&r->all) ? 1 : 0;
	self_test_free(r->worker);
	self_test_free(r->attacks);
	free(r);
	return rc;
}

/* --- attempts --------------------------------------------------------------------------------------------------- */

static int attempts_print(const struct ctl *c, struct err *e)
{
	static const char *const heads[] = { "NAME", "WHAT IT TRIES" };
	unsigned n = 0;
	const struct attempt_known *k = attempt_list(&n);
	json_t *a = json_array();
	struct ctl_table *t = c->json ? NULL : ctl_table_new(2, heads);
	for (unsigned i = 0; i < n; i++) {
		if (t)
			ctl_table_row(t, (const char *[]){ k[i].name, k[i].text });
		else
			json_array_append_new(a, json_pack("{s:s, s:s}", "name", k[i].name, "text", k[i].text));
	}
	if (c->json)
		return ctl_json_print(json_pack("{s:o}", "attempts", a), e);
	json_decref(a);
	return ctl_table_print(t, stdout, e);
}

/* ATTEMPT is always answered by an error: how the process ended. A death is what we want to see. */
static int attempt_show(struct ctl *c, const struct talk_answer *a, int code, struct err *e)
{
	const Fumehood__WorkerEnd *end = a->error ? a->error->worker_end : NULL;
	if (!end || strcmp(end->end_class, "clean") == 0)
		return code; /* it lived, or never ran: an error */
	if (c->json) {
		json_t *o = json_pack("{s:s, s:b, s:s, s:s}", "attempt", ctl_get(c, "attempt"), "stopped", 1, "code",
		                      err_name(code), "text", e->text);
		if (o && c->error_extra)
			json_object_update_missing(o, c->error_extra);
		int rc = ctl_json_print(o, e);
		return rc == ERR_OK ? err_exit_code(code) : rc;
	}
	printf("stopped   %s\n", e->text);
	printf("verdict   %s\n", ctl_str(end->end_class));
	if (a->has_receipt)
		printf("logged    entry %" PRIu64 ", receipt checked\n", a->receipt_index);
	fflush(stdout);
	walls_say(c, a->error->walls);
	return err_exit_code(code);
}

static int attempt_run(struct ctl *c, struct err *e)
{
	struct talk *t = NULL;
	struct talk_answer a = { .head = NULL };
	Fumehood__Attempt m;
	const char *name = ctl_get(c, "attempt");
	fumehood__attempt__init(&m);
	memcpy(&m.name, &name, sizeof m.name); /* packing does not write, its structs lack const */
	const struct talk_ask ask = { .kind = MSG_ATTEMPT, .want = MSG_ERROR, .head = &m.base, .waiting = "trying" };
	int rc = talk_open(c, TALK_PRIVATE, &t, e);
	if (rc == ERR_OK) {
		rc = talk_request(t, c, &ask, &a, e);
		rc = attempt_show(c, &a, rc, e);
	}
	talk_answer_clear(&a);
	talk_close(t);
	return rc;
}

static int doctor_run(struct ctl *c, struct err *e)
{
	if (ctl_has(c, "attempts"))
		return attempts_print(c, e);
	return ctl_has(c, "attempt") ? attempt_run(c, e) : checks_run(c, e);
}

const struct ctl_command cmd_doctor = {
	.name = "doctor",
	.args = "[--self-test | --attempt NAME | --attempts]",
	.help = "check this machine: wall, programs, keys",
	.opts = opts,
	.run = doctor_run,
};
