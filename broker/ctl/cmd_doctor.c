/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood doctor: can models run safely on this machine? Every layer of the wall is tried for real in a
 * child, programs and keys are looked at; each check says passed, optional or failed, why, and what to do.
 * --attempt NAME asks the broker to put the attack program in a worker's place and shows how it died.
 *
 * Exit status: 0 nothing failed, 6 a layer of the wall is missing, 1 another check failed; of an attempt
 * that was stopped 5, as of any worker that was ended.
 *
 * Side: cli. Trusts: the kernel's answers. Owns: the list of checks.
 */
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
	{ "attempt", 0, "NAME", CTL_WORD, false, "let the attack program try one thing in a worker's place" },
	{ "attempts", 0, NULL, CTL_NONE, false, "list what it can try" },
	{ NULL, 0, NULL, CTL_NONE, false, NULL },
};

enum verdict { PASSED, OPTIONAL, FAILED };
static const char *const verdicts[] = { "passed", "optional", "FAILED" };

struct finding {
	char group[12], name[48], why[240], fix[240];
	enum verdict verdict;
};

#define FINDINGS_MAX (LAYER__MAX + 32)

struct findings {
	struct finding f[FINDINGS_MAX];
	size_t n;
};

static void find(struct findings *all, const char *group, const char *name, enum verdict v, const char *fix,
                 const char *fmt, ...) __attribute__((format(printf, 6, 7)));
static void find(struct findings *all, const char *group, const char *name, enum verdict v, const char *fix,
                 const char *fmt, ...)
{
	struct finding *f = &all->f[all->n];
	va_list ap;
	if (all->n == FINDINGS_MAX)
		return;
	all->n++;
	va_start(ap, fmt);
	vsnprintf(f->why, sizeof f->why, fmt, ap);
	va_end(ap);
	snprintf(f->group, sizeof f->group, "%s", group);
	snprintf(f->name, sizeof f->name, "%s", name);
	snprintf(f->fix, sizeof f->fix, "%s", v == PASSED ? "" : fix);
	f->verdict = v;
}

/* --- the wall --------------------------------------------------------------------------------------- */

/* A number in a file of /proc/sys; -1 when there is none. */
static long sysctl_get(const char *path)
{
	long v = -1;
	FILE *f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%ld", &v) != 1)
			v = -1;
		fclose(f);
	}
	return v;
}

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
	char fix[160];
	if (have & bit) {
		find(all, "wall", r->name, PASSED, "", "stops %s", r->what);
		return;
	}
	snprintf(fix, sizeof fix, "%s", !too_old && !(have & LAYER_BIT(USER_NS)) ? userns_fix() : "");
	if (too_old || !fix[0])
		snprintf(fix, sizeof fix, "it came with Linux %u.%u: use a kernel that has it%s", r->kernel_major,
		         r->kernel_minor, r->may == LAYER_MAY_NEVER ? "" : ", or name it in optional_layers");
	find(all, "wall", r->name, wall_layers_shipped_optional() & bit ? OPTIONAL : FAILED, fix,
	     "missing, so nothing here stops %s%s", r->what,
	     wall_layers_shipped_optional() & bit ? " (the shipped configuration allows that)" : "");
}

static int wall_check(struct findings *all, struct err *e)
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
		layer_check(all, i, have, major, minor);
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
		find(all, "programs", name, FAILED, "install all of fumehood's programs in one folder", "%.200s", e.text);
		return;
	}
	bool foreign = fstat(fd, &st) != 0 || (st.st_mode & 022) != 0 || (st.st_uid != 0 && st.st_uid != geteuid());
	close(fd);
	if (foreign)
		find(all, "programs", name, FAILED, "chmod go-w it, and let root or you own it",
		     "%.180s can be changed by others", ctl_str(path));
	else
		find(all, "programs", name, PASSED, "", "%.200s", ctl_str(path));
}

static void programs_check(struct findings *all)
{
	static const char *const names[] = { "fumehood-broker", "fumehood-jailer", "fumehood-auditor", "fumehood-worker" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		program_check(all, names[i]);
}

/* --- state ------------------------------------------------------------------------------------------------ */

/* A path that only its owner may read. */
static void private_check(struct findings *all, const char *name, const char *path, mode_t forbidden, const char *fix)
{
	struct stat st;
	if (stat(path, &st) != 0) {
		enum verdict v = errno == ENOENT ? PASSED : FAILED;
		find(all, "state", name, v, "look at the folders above it", "%.120s: %s", ctl_str(path),
		     errno == ENOENT ? "not there yet; made on first use" : strerror(errno));
		return;
	}
	if ((st.st_mode & forbidden) != 0)
		find(all, "state", name, FAILED, fix, "%.120s has mode %03o: others can get at it", ctl_str(path),
		     (unsigned)(st.st_mode & 0777));
	else
		find(all, "state", name, PASSED, "", "%.120s, mode %03o", ctl_str(path), (unsigned)(st.st_mode & 0777));
}

static void trust_check(const struct ctl *c, struct findings *all)
{
	struct trust *t = NULL;
	struct err e;
	char path[PATH_MAX];
	uint64_t now = now_unix();
	int rc = trust_read(c, now, &t, path, &e);
	if (rc == ERR_NOT_FOUND)
		find(all, "state", "trust.note", OPTIONAL, "fumehood trust init, then fumehood trust install",
		     "none: signed models cannot be admitted");
	else if (rc != ERR_OK)
		find(all, "state", "trust.note", FAILED, "fumehood trust show tells more", "%.200s", e.text);
	else if (trust_expires(t) - now < 14 * 86400)
		find(all, "state", "trust.note", OPTIONAL, "let the root keys sign the next version",
		     "version %" PRIu64 " expires %s", trust_version(t), ctl_time(trust_expires(t)));
	else
		find(all, "state", "trust.note", PASSED, "", "version %" PRIu64 ", expires %s", trust_version(t),
		     ctl_time(trust_expires(t)));
	trust_free(t);
}

static int state_check(const struct ctl *c, struct findings *all, struct err *e)
{
	char path[PATH_MAX];
	int rc = ctl_state_dir(c, path, sizeof path, e);
	if (rc != ERR_OK)
		return rc;
	private_check(all, "state directory", path, 022, "chmod go-w it");
	if ((rc = ctl_state_path(c, "log.key", path, sizeof path, e)) != ERR_OK)
		return rc;
	private_check(all, "log.key", path, 077, "chmod 600 it; who has read it can sign another log in its name");
	trust_check(c, all);
	return ERR_OK;
}

/* --- showing ------------------------------------------------------------------------------------------------ */

static int findings_status(const struct findings *all)
{
	int status = 0;
	for (size_t i = 0; i < all->n; i++)
		if (all->f[i].verdict == FAILED)
			status = strcmp(all->f[i].group, "wall") == 0 || status == 6 ? 6 : 1;
	return status;
}

static int findings_json(const struct findings *all, struct err *e)
{
	json_t *a = json_array();
	for (size_t i = 0; a && i < all->n; i++)
		json_array_append_new(a, json_pack("{s:s, s:s, s:s, s:s, s:s}", "group", all->f[i].group, "check",
		                                   all->f[i].name, "verdict",
		                                   all->f[i].verdict == FAILED ? "failed" : verdicts[all->f[i].verdict], "why",
		                                   all->f[i].why, "fix", all->f[i].fix));
	return ctl_json_print(json_pack("{s:b, s:o}", "ok", findings_status(all) == 0, "checks", a), e);
}

static int findings_print(const struct findings *all, struct err *e)
{
	static const char *const heads[] = { "CHECK", "", "WHY" };
	unsigned count[3] = { 0, 0, 0 };
	struct ctl_table *t = ctl_table_new(3, heads);
	for (size_t i = 0; i < all->n; i++) {
		ctl_table_row(t, (const char *[]){ all->f[i].name, verdicts[all->f[i].verdict], all->f[i].why });
		if (all->f[i].fix[0])
			ctl_table_row(t, (const char *[]){ "", "", all->f[i].fix });
		count[all->f[i].verdict]++;
	}
	int rc = ctl_table_print(t, stdout, e);
	if (rc == ERR_OK)
		printf("%u passed, %u optional, %u failed\n", count[PASSED], count[OPTIONAL], count[FAILED]);
	return rc;
}

static int checks_run(struct ctl *c, struct err *e)
{
	struct findings *all = calloc(1, sizeof *all);
	if (!all)
		return err_set(e, ERR_NOMEM, "no memory for checks");
	int rc = sodium_init() < 0 ? err_set(e, ERR_INTERNAL, "libsodium does not start") : wall_check(all, e);
	if (rc == ERR_OK) {
		programs_check(all);
		rc = state_check(c, all, e);
	}
	if (rc == ERR_OK)
		rc = c->json ? findings_json(all, e) : findings_print(all, e);
	if (rc == ERR_OK)
		rc = findings_status(all);
	free(all);
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
	.args = "[--attempt NAME | --attempts]",
	.help = "check this machine: wall, programs, keys",
	.opts = opts,
	.run = doctor_run,
};
