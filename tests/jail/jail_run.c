/* SPDX-License-Identifier: Apache-2.0
 *
 * Plays the broker for one program: starts a jailer, orders workers, proves them locked, lets each make
 * its attempt and says how it ended, one JSON line each.
 *
 *   jail_run [options] [ATTEMPT ...]      without ATTEMPT: one attempt per line of standard input
 *
 *   ATTEMPT   what harness.h says, or "lock" (only lock, then close the channel: a clean end)
 *
 *   --jailer FILE --program FILE          default: fumehood-jailer, fumehood-attack beside this build
 *   --rootless | --uid U --gid G          default: rootless unless root
 *   --threads N --arena BYTES --cpu SECONDS --deadline MS
 *   --optional shipped|all|HEX            layers that may be missing (default: none)
 *   --jailer-arg TEXT                     handed to a test jailer, repeatable
 *   --stay                                prints "up PID" and the jailer's pid, then waits (kill tests)
 *   --walled                              behind the broker's own wall
 *   --writable-model --exec-model         what a jailer must refuse or note
 *   --template                            workers are forked from a template
 *   --violation-kill                      refused calls kill without a report
 *   --spare                               each worker was kept ready before
 *   --drop-listener                       as if the broker were gone when a refused call comes
 *   --list                                prints the steps and layers as JSON, and ends
 *
 * Exit: 0 every attempt has an answer, 2 usage, 3 no jailer.
 *
 * Side: tests. Trusts: its command line. Owns: the workers it starts.
 */
#include "tests/jail/harness.h"
#include "sandbox/wall/wall.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool stays;

static const char *end_word(const struct outcome *r)
{
	if (r->reported)
		return "reported";
	if (r->verdict == VERDICT_REFUSED)
		return "killed";
	if (r->returned)
		return "returned";
	if (r->verdict == VERDICT_DEADLINE)
		return "blocked";
	return r->end.by_signal ? "killed" : "exited";
}

static void print_outcome(const char *attempt, const struct outcome *r)
{
	char a[600], b[600], c[600], v[400] = "", v2[600];
	if (r->reported)
		violation_text(&r->violation, v, sizeof v);
	printf("{\"attempt\": \"%s\", \"end\": \"%s\", \"verdict\": \"%s\", \"signal\": %d, \"exit\": %d, "
	       "\"ret\": %" PRId64 ", \"fds\": \"%s\", \"locked_us\": %" PRId64 ", \"layers\": \"%s\", "
	       "\"missing\": \"%s\", \"report\": \"%s\", \"call\": \"%s\", \"nr\": %d, \"report_us\": %" PRId64 "}\n",
	       json_text(a, sizeof a, attempt), end_word(r), verdict_name(r->verdict),
	       r->end.by_signal ? r->end.code : 0, r->end.by_signal ? 0 : r->end.code, r->ret,
	       fds_seen_name(r->fds_seen), r->locked_us, layers_text(r->layers, b, sizeof b),
	       layers_text(r->missing, c, sizeof c), json_text(v2, sizeof v2, v), r->reported ? r->violation.name : "",
	       r->reported ? r->violation.nr : -1, r->report_us);
	fflush(stdout);
}

static void print_error(const char *attempt, const struct err *e)
{
	char a[600], t[ERR_TEXT_MAX_BYTES * 2];
	printf("{\"attempt\": \"%s\", \"end\": \"refused\", \"error\": \"%s\", \"text\": \"%s\"}\n",
	       json_text(a, sizeof a, attempt), err_name(e->code),
	       json_text(t, sizeof t, e->text));
	fflush(stdout);
}

static void stay(const struct harness *h, const struct worker *w)
{
	printf("up %d %d\n", (int)w->pid, (int)jailer_pid(h->jail));
	fflush(stdout);
	for (;;)
		pause();
}

static void one(struct harness *h, const char *attempt)
{
	char blob[ATTEMPT_BLOB_BYTES];
	struct err e = { 0 };
	struct worker w = { .pidfd = -1, .channel = -1, .listener_fd = -1 };
	struct outcome r = { 0 };
	if (!attempt_parse(attempt, blob)) {
		err_set(&e, ERR_USAGE, "this is no attempt");
		print_error(attempt, &e);
		return;
	}
	int rc = harness_start(h, blob, &w, &r, &e);
	if (rc == ERR_OK && stays)
		stay(h, &w);
	if (rc == ERR_OK)
		rc = harness_follow(h, &w, !strcmp(attempt, "lock"), &r, &e);
	if (rc == ERR_OK)
		print_outcome(attempt, &r);
	else
		print_error(attempt, &e);
}

/* --- command line --------------------------------------------------------------------------------------------------- */

static int usage(void)
{
	fprintf(stderr, "usage: jail_run [options] [ATTEMPT ...]; see tests/jail/jail_run.c\n");
	return 2;
}

static uint64_t optional_of(const char *s)
{
	if (!strcmp(s, "shipped"))
		return wall_layers_shipped_optional();
	if (!strcmp(s, "all"))
		return wall_layers_may_be_optional();
	return strtoull(s, NULL, 16);
}

static bool take_switch(struct harness_options *o, const char *a)
{
	bool *const rows[] = { &o->rootless, &stays, &o->walled, &o->writable_model, &o->exec_model,
		                 &o->use_template, &o->violation_kill, &o->drop_listener, &o->use_spare };
	static const char *const names[] = { "--rootless", "--stay", "--walled", "--writable-model",
	                                     "--exec-model", "--template", "--violation-kill", "--drop-listener",
	                                     "--spare" };
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
		if (!strcmp(a, names[i]))
			return *rows[i] = true;
	return false;
}

static bool take_value(struct harness_options *o, const char *a, char *v)
{
	if (!strcmp(a, "--jailer"))
		o->jailer = v;
	else if (!strcmp(a, "--program"))
		o->program = v;
	else if (!strcmp(a, "--uid"))
		o->uid = (uint32_t)strtoul(v, NULL, 10);
	else if (!strcmp(a, "--gid"))
		o->gid = (uint32_t)strtoul(v, NULL, 10);
	else if (!strcmp(a, "--threads"))
		o->threads = (unsigned)strtoul(v, NULL, 10);
	else if (!strcmp(a, "--cpu"))
		o->cpu = (unsigned)strtoul(v, NULL, 10);
	else if (!strcmp(a, "--arena"))
		o->arena = strtoull(v, NULL, 0);
	else if (!strcmp(a, "--deadline"))
		o->deadline_ms = (int)strtol(v, NULL, 10);
	else if (!strcmp(a, "--optional"))
		o->optional = optional_of(v);
	else if (!strcmp(a, "--jailer-arg") && o->n_jailer_args < 11)
		o->jailer_args[o->n_jailer_args++] = v;
	else
		return false;
	return true;
}

/* What the tests drive: [[number, name, layers], ...] of steps and [[bit, name, may], ...] of layers. */
static int list(void)
{
	static const struct { const char *name; uint64_t layers; } steps[] = {
#define STEP(sym, name, layers) { #sym, layers },
		JAIL_STEPS(STEP)
#undef STEP
	};
	printf("{\"steps\": [");
	for (unsigned i = 0; i < STEP__MAX; i++)
		printf("%s[%u, \"%s\", \"%s\", %" PRIu64 "]", i ? ", " : "", i, steps[i].name, jail_step_name(i),
		       steps[i].layers);
	printf("], \"attempts\": [");
	unsigned n;
	const struct attempt_known *k = attempt_list(&n);
	for (unsigned i = 0; i < n; i++)
		printf("%s\"%s\"", i ? ", " : "", k[i].name);
	printf("], \"layers\": [");
	for (unsigned i = 0; i < LAYER__MAX; i++)
		printf("%s[%u, \"%s\", %u]", i ? ", " : "", i, layer_rows[i].name, layer_rows[i].may);
	printf("]}\n");
	return 0;
}

int main(int argc, char **argv)
{
	static struct harness h;
	static char line[512], paths[2][256];
	struct err e = { 0 };
	int i = 1;
	harness_defaults(&h.o, paths);
	for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--list"))
			return list();
		if (take_switch(&h.o, argv[i]))
			continue;
		if (i + 1 >= argc || !take_value(&h.o, argv[i], argv[i + 1]))
			return usage();
		i++;
	}
	signal(SIGPIPE, SIG_IGN);
	if (harness_open(&h, &e) != ERR_OK) {
		print_error("jailer", &e);
		return 3;
	}
	bool from_stdin = i == argc;
	for (; i < argc; i++)
		one(&h, argv[i]);
	while (from_stdin && fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (*line && *line != '#')
			one(&h, line);
	}
	harness_close(&h);
	return 0;
}
