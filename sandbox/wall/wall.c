/* SPDX-License-Identifier: Apache-2.0
 *
 * The ordered list of layers of broker and auditor, one line each. The filter is last: it takes away
 * the calls that the others need.
 *
 * Side: broker, auditor. Trusts: its caller. Owns: nothing.
 */
#include "sandbox/wall/wall.h"
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include "filters.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define DIRS_MAX 16

static const uint64_t rights[WALL_RIGHT__MAX] = {
	[WALL_READ] = KABI_LL_READ_FILE | KABI_LL_READ_DIR,
	[WALL_APPEND] = KABI_LL_READ_FILE | KABI_LL_READ_DIR | KABI_LL_WRITE_FILE | KABI_LL_MAKE_REG,
	[WALL_REPLACE] = KABI_LL_READ_FILE | KABI_LL_READ_DIR | KABI_LL_WRITE_FILE | KABI_LL_MAKE_REG |
	                 KABI_LL_MAKE_DIR | KABI_LL_REMOVE_FILE | KABI_LL_TRUNCATE,
	[WALL_STORE] = KABI_LL_READ_FILE | KABI_LL_READ_DIR | KABI_LL_WRITE_FILE | KABI_LL_MAKE_REG |
	               KABI_LL_MAKE_DIR | KABI_LL_REMOVE_FILE | KABI_LL_REMOVE_DIR | KABI_LL_TRUNCATE |
	               KABI_LL_REFER | KABI_LL_MAKE_SOCK,
};

struct wall_of {
	const char *who;
	uint64_t scope;
	const struct sock_filter *filter;
	size_t n_insns;
};

/* The broker keeps signals: it must be able to end workers, which are outside its Landlock domain. */
static const struct wall_of of_broker = { "broker", KABI_LL_SCOPE_ABSTRACT, filter_broker,
                                          FILTER_BROKER_INSNS };
static const struct wall_of of_auditor = { "auditor", KABI_LL_SCOPE_ABSTRACT | KABI_LL_SCOPE_SIGNAL,
                                           filter_auditor, FILTER_AUDITOR_INSNS };

/* Keeps the layer when rc is 0; a failure is an error unless every bit of it is optional. */
static int stands(const struct wall_of *w, const struct wall_conf *c, uint64_t layer, int rc,
                  uint64_t *have, struct err *e)
{
	unsigned i = (unsigned)__builtin_ctzll(layer);
	if (rc == 0) {
		*have |= layer;
		return ERR_OK;
	}
	if (!(layer & ~c->optional_layers))
		return ERR_OK;
	return err_set(e, ERR_WALL, "the %s's wall: layer %s failed: %s (Linux %u.%u has it)", w->who,
	               layer_rows[i].name, strerror(-rc), layer_rows[i].kernel_major, layer_rows[i].kernel_minor);
}

static int limits(const struct wall_conf *c)
{
	int rc = step_rlimits_common();
	if (rc == 0)
		rc = step_rlimit_at_most(RLIMIT_MEMLOCK, c->memlock_bytes);
	if (rc == 0)
		rc = step_rlimit_of(0, RLIMIT_NPROC, 0);
	return rc == 0 && c->nofile ? step_rlimit_at_most(RLIMIT_NOFILE, c->nofile) : rc;
}

static int landlock(const struct wall_of *w, const struct wall_conf *c, uint64_t *have, struct err *e)
{
	struct landlock_dir dirs[DIRS_MAX];
	int abi = landlock_abi();
	if (c->n_dirs > DIRS_MAX)
		return err_set(e, ERR_INTERNAL, "the %s's wall: more than %d directories", w->who, DIRS_MAX);
	for (size_t i = 0; i < c->n_dirs; i++)
		dirs[i] = (struct landlock_dir){ c->dirs[i].fd, rights[c->dirs[i].right] };
	int rc = step_landlock(abi, w->scope, dirs, c->n_dirs);
	uint64_t all = layers_of_landlock(99), got = rc == 0 ? layers_of_landlock(abi) : 0;
	*have |= got;
	uint64_t missing = all & ~got & ~c->optional_layers;
	return missing ? stands(w, c, missing, rc ? rc : -EOPNOTSUPP, have, e) : ERR_OK;
}

static int enter(const struct wall_of *w, const struct wall_conf *c, uint64_t *have, struct err *e)
{
	*have = 0;
	int rc = stands(w, c, LAYER_BIT(CAPABILITIES), step_caps_set(0), have, e);
	if (rc == ERR_OK)
		rc = stands(w, c, LAYER_BIT(NO_NEW_PRIVS), step_no_new_privs(), have, e);
	if (rc == ERR_OK)
		rc = stands(w, c, LAYER_BIT(RLIMITS), limits(c), have, e);
	if (rc == ERR_OK)
		rc = stands(w, c, LAYER_BIT(MDWE), step_mdwe(), have, e);
	if (rc == ERR_OK)
		rc = stands(w, c, LAYER_BIT(DUMPABLE), step_dumpable(0), have, e);
	if (rc == ERR_OK)
		rc = landlock(w, c, have, e);
	if (rc == ERR_OK)
		rc = stands(w, c, LAYER_BIT(SECCOMP),
		            step_seccomp(w->filter, w->n_insns, KABI_SECCOMP_FILTER_FLAG_TSYNC), have, e);
	return rc;
}

int wall_enter_broker(const struct wall_conf *c, uint64_t *layers, struct err *e)
{
	return enter(&of_broker, c, layers, e);
}

int wall_enter_auditor(const struct wall_conf *c, uint64_t *layers, struct err *e)
{
	return enter(&of_auditor, c, layers, e);
}

int wall_become(uint32_t uid, uint32_t gid, struct err *e)
{
	int rc = step_caps_bounding_drop(0);
	if (rc == 0 && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
		rc = -errno;
	if (rc == 0)
		rc = step_caps_set(0);
	if (rc < 0)
		return err_set(e, ERR_WALL, "becoming user %u: %s", uid, strerror(-rc));
	return ERR_OK;
}

const struct wall_list *wall_lists(unsigned *n)
{
	static const struct wall_list lists[] = {
		{ "worker strict", FILTER_WORKER_STRICT_CALLS, FILTER_WORKER_STRICT_INSNS },
		{ "worker startup", FILTER_WORKER_STARTUP_CALLS, FILTER_WORKER_STARTUP_INSNS },
		{ "jailer", FILTER_JAILER_CALLS, FILTER_JAILER_INSNS },
		{ "broker", FILTER_BROKER_CALLS, FILTER_BROKER_INSNS },
		{ "auditor", FILTER_AUDITOR_CALLS, FILTER_AUDITOR_INSNS },
	};
	*n = sizeof lists / sizeof lists[0];
	return lists;
}
