/* SPDX-License-Identifier: Apache-2.0
 *
 * See self_test.h. Side: cli. Trusts: the kernel. Owns: the children.
 */
#include "broker/ctl/self_test.h"

#include "broker/helper.h"
#include "proto/limits.h"
#include "sandbox/outside/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ERRNO_MAX 4096

enum ends { ENDS_REP, ENDS_SYS, ENDS_SEGV };

static const struct {
	const char *id;
	enum ends ends;
	bool dangerous;
	const char *attempt;
} list[] = {
#define SELF_ATTEMPT(id, ends, dangerous, attempt) { id, ends, dangerous, attempt },
#include "attempts.h"
#undef SELF_ATTEMPT
};
#define N_LIST (sizeof list / sizeof list[0])
_Static_assert(N_LIST <= SELF_ROWS_MAX, "a row for each");

struct paths {
	char jailer[HELPER_PATH_MAX_BYTES], program[HELPER_PATH_MAX_BYTES];
};

/* --- in the child ------------------------------------------------------------------------------------- */

static int open_harness(struct harness *h, const struct self_how *how, const struct paths *p, struct err *e)
{
	static char self[2][256];
	harness_defaults(&h->o, self);
	h->o.jailer = p->jailer;
	h->o.program = p->program;
	h->o.optional = how->optional_layers;
	h->o.violation_kill = how->violation_kill;
	h->o.use_template = true;
	return harness_open(h, e);
}

static void stands(struct self_test *t, const struct outcome *r)
{
	t->layers = r->layers;
	t->missing = r->missing;
}

static int one(struct harness *h, const char *attempt, bool end, struct outcome *r, struct err *e)
{
	char text[512], blob[ATTEMPT_BLOB_BYTES];
	struct worker w = { .pidfd = -1, .channel = -1, .listener_fd = -1 };
	if (!attempt_spell(attempt, text, sizeof text) || !attempt_parse(text, blob))
		return err_set(e, ERR_INTERNAL, "the attempt \"%.200s\" cannot be read", attempt);
	h->o.threads = end || !strncmp(text, "thread ", 7) ? 2 : 1; /* some calls refuse whoever has two */
	int rc = harness_start(h, blob, &w, r, e);
	return rc == ERR_OK ? harness_follow(h, &w, end, r, e) : rc;
}

static int run_worker(struct harness *h, const struct self_how *how, struct self_test *t, struct err *e)
{
	(void)how;
	struct outcome r = { 0 };
	int rc = one(h, "0", true, &r, e);
	if (rc != ERR_OK)
		return rc;
	stands(t, &r);
	t->locked_us = r.locked_us;
	snprintf(t->fds_seen, sizeof t->fds_seen, "%s", fds_seen_name(r.fds_seen));
	return r.verdict == VERDICT_CLEAN ? ERR_OK
	                                  : err_set(e, ERR_WORKER, "the worker's end was not clean but %s", verdict_name(r.verdict));
}

static const char *end_of(const struct outcome *r)
{
	if (r->reported)
		return "reported";
	if (r->returned)
		return "returned";
	if (r->verdict == VERDICT_DEADLINE)
		return "blocked";
	return r->end.by_signal ? "killed" : "exited";
}

/* As the list says. Without reports every refused call ends by SIGSYS; under a container's own filter a call that
 * got an error was not executed either. */
static bool ended_as(enum ends want, const struct self_how *how, const struct outcome *r)
{
	if (how->is_under_filter && r->returned && r->ret < 0 && r->ret > -ERRNO_MAX)
		return true;
	if (want == ENDS_REP && !how->violation_kill)
		return r->reported;
	return !r->reported && !r->returned && r->end.by_signal && r->end.code == (want == ENDS_SEGV ? SIGSEGV : SIGSYS);
}

static int run_attacks(struct harness *h, const struct self_how *how, struct self_test *t, struct err *e)
{
	for (size_t i = 0; i < N_LIST; i++) {
		struct self_row *row = &t->rows[i];
		struct outcome r = { 0 };
		int rc = one(h, list[i].attempt, false, &r, e);
		if (rc != ERR_OK)
			return err_prefix(e, "%s", list[i].id);
		*row = (struct self_row){ .dangerous = list[i].dangerous, .layers = r.layers,
		                          .is_refused = ended_as(list[i].ends, how, &r),
		                          .signal = r.end.by_signal ? r.end.code : 0 };
		snprintf(row->end, sizeof row->end, "%s", end_of(&r));
		stands(t, &r);
		t->n++;
		t->n_refused += row->is_refused;
		t->n_dangerous += row->dangerous;
		t->n_dangerous_refused += row->dangerous && row->is_refused;
	}
	return ERR_OK;
}

/* --- the child itself ---------------------------------------------------------------------------------- */

typedef int (*run_fn)(struct harness *h, const struct self_how *how, struct self_test *t, struct err *e);

static void child(const struct self_how *how, const struct paths *p, run_fn run, struct self_test *t, pid_t parent)
{
	static struct harness h;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	int rc = open_harness(&h, how, p, &t->error);
	if (rc == ERR_OK)
		rc = run(&h, how, t, &t->error);
	t->error.code = rc;
	harness_close(&h);
	_exit(0);
}

static int find(const char *name, char path[HELPER_PATH_MAX_BYTES], struct err *e)
{
	int fd, rc = helper_open(name, &fd, path, e);
	if (rc == ERR_OK)
		close(fd);
	return rc;
}

static int run_in_child(const struct self_how *how, const char *program, run_fn run, struct self_test **out, struct err *e)
{
	static struct paths p;
	int status = 0;
	struct self_test *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		return err_set(e, ERR_NOMEM, "no memory for the attempts");
	*out = t;
	if (find("fumehood-jailer", p.jailer, &t->error) != ERR_OK || find(program, p.program, &t->error) != ERR_OK)
		return ERR_OK;
	(void)err_set(&t->error, ERR_INTERNAL, "the test ended before its end");
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		child(how, &p, run, t, parent);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status))
		return ERR_OK;
	self_test_free(t);
	*out = NULL;
	return pid < 0 ? err_set(e, ERR_IO, "fork: %s", strerror(errno))
	               : err_set(e, ERR_INTERNAL, "the test of the jail died by signal %d", WTERMSIG(status));
}

int self_test_worker(const struct self_how *how, struct self_test **out, struct err *e)
{
	return run_in_child(how, "fumehood-worker", run_worker, out, e);
}

int self_test_attacks(const struct self_how *how, struct self_test **out, struct err *e)
{
	int rc = run_in_child(how, "fumehood-attack", run_attacks, out, e);
	for (unsigned i = 0; rc == ERR_OK && i < (*out)->n; i++)
		(*out)->rows[i].id = list[i].id;
	return rc;
}

void self_test_free(struct self_test *t)
{
	if (t)
		munmap(t, sizeof *t);
}
