/* SPDX-License-Identifier: Apache-2.0
 *
 * One attempt of one system call, by the attack program in a worker's place: started by the shipped jailer,
 * under the shipped filters, proved locked as a worker is. Anybody can try what the suite does not.
 *
 *   jail_try [options] NR [A0 .. A5]      NR: number or name; a name of tests/jail/attack.c ("write-text")
 *   jail_try [options] --batch            one attempt per line of standard input
 *
 *   A    a C integer, negative allowed; @TEXT: a pointer to that string; &N: a pointer to N zero bytes
 *
 *   --abi x32|i386         by a foreign table
 *   --tier strict          (default) the locked worker
 *          startup         the same program before it is locked: under the start filter
 *          kill            locked, with violation=kill
 *          container       where namespaces are refused, as in a container (tests/jail/env.h)
 *   --without LAYER        repeatable; a name of sandbox/wall/layers.h, or "seccomp" (all filters), "landlock",
 *                          "namespaces". Only the test jailer leaves layers out, and it starts no worker.
 *   --exec                 start by exec and not from a template
 *
 * Prints one line: {"nr", "name", "abi", "tier", "end", "ret", "errno", "signal", "layers"}. end: "reported" (the
 * kernel told the broker), "killed" (signal says by what), "returned" (ret and errno as libc has them),
 * "exited", "blocked" (after 1 s). ret and errno are null unless it returned.
 *
 * Exit: 0 an answer was obtained, 2 usage, 3 no jail could be built.
 *
 * Side: tests. Trusts: its command line. Owns: the workers it starts.
 */
#include "tests/jail/env.h"
#include "tests/jail/harness.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMES_MAX 512
#define CLONED (LAYER_BIT(USER_NS) | LAYER_BIT(PID_NS) | LAYER_BIT(IPC_NS) | LAYER_BIT(UTS_NS) | \
                LAYER_BIT(CGROUP_NS) | LAYER_BIT(TIME_NS))
#define NAMESPACES (CLONED | LAYER_BIT(NET_NS) | LAYER_BIT(MNT_NS) | LAYER_BIT(EMPTY_ROOT) |     \
                    LAYER_BIT(UID_MAP) | LAYER_BIT(MAX_USER_NS))
#define IN_START (LAYER_BIT(DUMPABLE) | LAYER_BIT(MSEAL) | LAYER_BIT(SECCOMP))

enum tier { TIER_STRICT, TIER_STARTUP, TIER_KILL, TIER_CONTAINER, TIER__MAX };
static const char *const tier_names[TIER__MAX] = { "strict", "startup", "kill", "container" };

struct try {
	struct harness h;
	enum tier tier;
	enum attempt_abi abi;
	uint64_t without;
	bool batch, by_exec;
	char jailer[256], program[256], skip[20], abi_cap[4];
};

static int usage(void)
{
	fprintf(stderr, "usage: jail_try [--tier strict|startup|kill|container] [--abi x32|i386] [--without LAYER] "
	        "[--exec] NR [A0 .. A5] | --batch\n");
	return 2;
}

/* --- names and numbers ------------------------------------------------------------------------------------------- */

static uint32_t arch_of(enum attempt_abi abi)
{
	return abi == ABI_I386 ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64;
}

static int number_of(enum attempt_abi abi, const char *name)
{
	for (int nr = 0; nr < NAMES_MAX; nr++)
		if (!strcmp(call_name(arch_of(abi), nr), name))
			return nr;
	return -1;
}

/* "open @/etc/passwd" -> "2 @/etc/passwd", with the table and the tier; other words are the attack's names. */
static void spell(const struct try *t, const char *line, char *out, size_t cap)
{
	char word[64];
	size_t n = strcspn(line, " \t"), lead = strncmp(line, "thread ", 7) ? 0 : 7;
	const char *rest = line + lead;
	n = strcspn(rest, " \t");
	snprintf(word, sizeof word, "%.*s", (int)n, rest);
	int nr = number_of(t->abi, word);
	if (nr >= 0)
		snprintf(word, sizeof word, "%d", nr);
	bool is_call = strchr("0123456789-", *word) && *word;
	const char *abi = !is_call || strchr(word, '/') ? "" : t->abi == ABI_X32 ? "/x32" : t->abi == ABI_I386 ? "/i386" : "";
	snprintf(out, cap, "%s%.*s%s%s%s", is_call && t->tier == TIER_STARTUP ? "early " : "", (int)lead, line, word, abi,
	         rest + n);
}

/* --- one ------------------------------------------------------------------------------------------------------------ */

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

static void print_layers(uint64_t layers)
{
	bool any = false;
	for (unsigned i = 0; i < LAYER__MAX; i++)
		if (layers >> i & 1) {
			printf("%s\"%s\"", any ? ", " : "", layer_rows[i].name);
			any = true;
		}
}

static void print_one(const struct try *t, const char *blob, const struct outcome *r)
{
	static const char *const abis[] = { "x86-64", "x32", "i386" };
	struct attempt a;
	memcpy(&a, blob, sizeof a);
	bool is_name = a.kind == ATTEMPT_NAMED && strcmp(blob + sizeof a, "thread");
	bool failed = r->ret < 0 && r->ret > -4096;
	printf("{\"nr\": %" PRId64 ", \"name\": \"%s\", \"abi\": \"%s\", \"tier\": \"%s\", \"end\": \"%s\", ",
	       is_name ? -1 : a.nr, is_name ? blob + sizeof a : call_name(arch_of(a.abi), (int)a.nr),
	       abis[a.abi < 3 ? a.abi : 0], tier_names[t->tier], end_of(r));
	if (r->returned)
		printf("\"ret\": %" PRId64 ", \"errno\": %" PRId64 ", ", failed ? -1 : r->ret, failed ? -r->ret : 0);
	else
		printf("\"ret\": null, \"errno\": null, ");
	printf("\"signal\": %d, \"layers\": [", r->end.by_signal ? r->end.code : 0);
	print_layers(r->layers);
	printf("]}\n");
	fflush(stdout);
}

static int one(struct try *t, const char *line)
{
	char blob[ATTEMPT_BLOB_BYTES], text[512];
	struct err e = { 0 };
	struct worker w = { .pidfd = -1, .channel = -1, .listener_fd = -1 };
	struct outcome r = { 0 };
	spell(t, line, text, sizeof text);
	if (!attempt_parse(text, blob))
		return usage();
	t->h.o.threads = strncmp(text, "thread ", 7) ? 1 : 2; /* some calls refuse whoever has two */
	int rc = harness_start(&t->h, blob, &w, &r, &e);
	if (rc == ERR_OK)
		rc = harness_follow(&t->h, &w, false, &r, &e);
	if (rc != ERR_OK) {
		fprintf(stderr, "jail_try: %s\n", e.text);
		return 3;
	}
	print_one(t, blob, &r);
	return 0;
}

/* --- command line ------------------------------------------------------------------------------------------------------ */

static bool take_without(struct try *t, const char *name)
{
	static const struct { const char *name; uint64_t layers; } groups[] = {
		{ "seccomp", LAYER_BIT(SECCOMP) | LAYER_BIT(SECCOMP_START) }, { "landlock", LANDLOCK_LAYERS },
		{ "namespaces", NAMESPACES },
	};
	uint64_t layers = layer_from_name(name);
	for (unsigned i = 0; i < sizeof groups / sizeof groups[0]; i++)
		if (!strcmp(name, groups[i].name))
			layers = groups[i].layers;
	t->without |= layers;
	return layers != 0;
}

static bool take(struct try *t, const char *a, const char *v)
{
	if (!strcmp(a, "--without"))
		return take_without(t, v);
	if (!strcmp(a, "--abi")) {
		t->abi = !strcmp(v, "x32") ? ABI_X32 : ABI_I386;
		return !strcmp(v, "x32") || !strcmp(v, "i386");
	}
	for (unsigned i = 0; !strcmp(a, "--tier") && i < TIER__MAX; i++)
		if (!strcmp(v, tier_names[i])) {
			t->tier = (enum tier)i;
			return true;
		}
	return false;
}

/* Landlock's parts come with its versions: without one, without those that came later. */
static int landlock_cap(uint64_t without)
{
	for (int abi = 2; abi <= 6; abi++)
		if (layers_of_landlock(abi) & without)
			return abi - 1;
	return 99;
}

static void argument(struct harness_options *o, const char *text)
{
	o->jailer_args[o->n_jailer_args++] = strdup(text);
}

/* A layer that is left out needs the test jailer; one of the worker's own start, the open attack program. */
static void choose_programs(struct try *t)
{
	struct harness_options *o = &t->h.o;
	char dir[200], number[24];
	uint64_t skip = t->without;
	o->optional = wall_layers_shipped_optional() | (t->tier == TIER_CONTAINER ? NAMESPACES : 0);
	o->use_template = !t->without && !t->by_exec;
	o->violation_kill = t->tier == TIER_KILL;
	if (!t->without)
		return;
	ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
	dir[n > 0 ? n : 0] = 0;
	*strrchr(dir, '/') = 0;
	snprintf(t->jailer, sizeof t->jailer, "%s/fumehood-jailer-test", dir);
	o->jailer = t->jailer;
	if (skip & IN_START) {
		snprintf(t->program, sizeof t->program, "%s/fumehood-attack-open", dir);
		o->program = t->program;
	}
	if (skip & LAYER_BIT(USER_NS))
		skip |= NAMESPACES;
	if ((skip & LANDLOCK_LAYERS) && (skip & LANDLOCK_LAYERS) != LANDLOCK_LAYERS) {
		snprintf(number, sizeof number, "%d", landlock_cap(skip));
		argument(o, "--landlock");
		argument(o, number);
	}
	snprintf(number, sizeof number, "%" PRIx64, skip);
	argument(o, "--skip");
	argument(o, number);
	o->optional |= skip & wall_layers_may_be_optional();
	o->unproved = true;
	o->keep_limits = !(skip & LAYER_BIT(LIMITS_CLOSED));
	o->violation_kill |= (skip & LAYER_BIT(SECCOMP)) != 0; /* no filter, no listener */
}

static int run(struct try *t, char **words, int n_words)
{
	static char line[512];
	struct err e = { 0 };
	size_t at = 0;
	int rc = 0;
	if (t->tier == TIER_CONTAINER && env_enter("docker") < 0) {
		fprintf(stderr, "jail_try: a container's limits cannot be imitated here: %s\n", strerror(errno));
		return 3;
	}
	if (harness_open(&t->h, &e) != ERR_OK) {
		fprintf(stderr, "jail_try: %s\n", e.text);
		return 3;
	}
	for (int i = 0; i < n_words; i++)
		at += (size_t)snprintf(line + at, at < sizeof line ? sizeof line - at : 0, "%s%s", i ? " " : "", words[i]);
	if (!t->batch)
		rc = at < sizeof line ? one(t, line) : usage();
	while (t->batch && fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		int r = *line && *line != '#' ? one(t, line) : 0;
		rc = rc ? rc : r;
	}
	harness_close(&t->h);
	return rc;
}

int main(int argc, char **argv)
{
	static struct try t;
	static char paths[2][256];
	int i = 1;
	harness_defaults(&t.h.o, paths);
	for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--batch")) {
			t.batch = true;
		} else if (!strcmp(argv[i], "--exec")) {
			t.by_exec = true;
		} else {
			if (i + 1 >= argc || !take(&t, argv[i], argv[i + 1]))
				return usage();
			i++;
		}
	}
	if (t.batch != (i == argc) || argc - i > 8)
		return usage();
	signal(SIGPIPE, SIG_IGN);
	choose_programs(&t);
	return run(&t, argv + i, argc - i);
}
