/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a decision takes with 10, 1,000 and 100,000 policies: n - 4 permits, each for one group
 * and one collection, and 4 forbids for everybody with five conditions that read six attributes,
 * test an address range and a set. The median and the 99th percentile of batches in nanoseconds, the
 * time to build a request's facts, and the time and memory of loading: rows as JSON lines on standard
 * output, kind "policy"; for people on standard error.
 *
 * usage: bench_policy [N]      with N: only decisions, N policies, ten million of them, for a profiler
 * Side: tests. Trusts: nothing. Owns: nothing.
 */
#include "policy/policy.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH  100
#define ROUNDS 2001

/* The process's own time: others on the machine do not count. */
static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int cmp(const void *x, const void *y)
{
	const double *a = x, *b = y;
	return (*a > *b) - (*a < *b);
}

static void must(int rc, const struct err *e)
{
	if (rc == 0)
		return;
	fprintf(stderr, "bench_policy: %s\n", e->text);
	exit(1);
}

static const char forbids[] =
	"forbid(principal, action, resource) when { resource.quarantined };\n"
	"forbid(principal, action, resource) unless { context.client.ip.isInRange(ip(\"10.0.0.0/8\")) };\n"
	"forbid(principal, action, resource) when { context.inputBytes > resource.maxInputBytes || context.n > 4 "
	"};\n"
	"forbid(principal, action, resource) unless { [\"onnx\", \"gguf\"].contains(resource.format) && "
	"principal.clearance >= 1 };\n";

static size_t load_permits(struct policy_world *w, int n)
{
	size_t cap = 900000, len = 0, bytes = 0;
	char *text = malloc(cap + 1000);
	struct err e;
	for (int i = 0; i < n; i++) {
		len +=
			(size_t)snprintf(text + len, 1000,
							 "permit(principal in Gate::Group::\"g%d\", action in [Gate::Action::\"use\"], "
							 "resource in Gate::Collection::\"c%d\") when { principal.mfa };\n",
							 i, i);
		if (len > cap || i == n - 1) {
			must(policy_load_text(w, "bench", text, len, &e), &e);
			bytes += len;
			len = 0;
		}
	}
	free(text);
	return bytes;
}

#define N(f) (sizeof(f) / sizeof((f)[0]))

static void give_facts(struct policy_request *r)
{
	const struct policy_field user[] = {{"mfa", policy_bool(r, true)}, {"clearance", policy_long(r, 2)}};
	const struct policy_field model[] = {
		{"quarantined", policy_bool(r, false)},
		{"maxInputBytes", policy_long(r, 65536)},
		{"format", policy_string(r, "onnx", 4)},
		{"signatures", policy_long(r, 2)},
	};
	const struct policy_field client[] = {{"ip", policy_ip(r, "10.1.2.3", 8)},
										  {"mtls", policy_bool(r, true)}};
	const struct policy_field context[] = {
		{"client", policy_record(r, client, N(client))},
		{"inputBytes", policy_long(r, 100)},
		{"n", policy_long(r, 1)},
	};
	const struct policy_parent group = {"Gate::Group", "g3", 2}, collection = {"Gate::Collection", "c3", 2};
	const struct policy_parent use = {"Gate::Action", "use", 3};
	policy_add_entity(r, "Gate::User", "u", 1, policy_record(r, user, N(user)), NULL, &group, 1);
	policy_add_entity(r, "Gate::Model", "m", 1, policy_record(r, model, N(model)), NULL, &collection, 1);
	policy_add_entity(r, "Gate::Action", "generate", 8, policy_record(r, NULL, 0), NULL, &use, 1);
	policy_set_principal(r, "Gate::User", "u", 1);
	policy_set_action(r, "Gate::Action", "generate", 8);
	policy_set_resource(r, "Gate::Model", "m", 1);
	policy_set_context(r, policy_record(r, context, N(context)));
}

static void decide(struct policy_request *r)
{
	struct policy_result res;
	struct err e;
	must(policy_decide(r, POLICY_STRICT, &res, &e), &e);
	if (!res.allow || res.n_reasons != 1) {
		fprintf(stderr, "bench_policy: wrong decision: %d, %zu reasons, %zu errors: %s\n", res.allow,
				res.n_reasons, res.n_errors, res.n_errors ? res.errors[0].text : "");
		exit(1);
	}
}

static void facts_and_decide(struct policy_request *r)
{
	policy_request_reset(r);
	give_facts(r);
	decide(r);
}

static void measure(struct policy_request *r, void (*what)(struct policy_request *), double *median,
					double *p99)
{
	static double t[ROUNDS];
	for (int i = 0; i < ROUNDS; i++) {
		double start = now_ns();
		for (int k = 0; k < BATCH; k++)
			what(r);
		t[i] = (now_ns() - start) / BATCH;
	}
	qsort(t, ROUNDS, sizeof t[0], cmp);
	*median = t[ROUNDS / 2];
	*p99 = t[ROUNDS * 99 / 100];
}

static struct policy_world *world(int n)
{
	struct policy_world *w;
	struct err e;
	must(policy_world_new(&w, &e), &e);
	load_permits(w, n - 4);
	must(policy_load_text(w, "bench", forbids, strlen(forbids), &e), &e);
	must(policy_world_seal(w, &e), &e);
	return w;
}

static void profile(int n)
{
	struct policy_world *w = world(n);
	struct policy_request *r;
	struct err e;
	must(policy_request_new(w, &r, &e), &e);
	give_facts(r);
	for (int i = 0; i < 10000000; i++)
		decide(r);
	policy_request_free(r);
	policy_world_free(w);
}

static void row(int n)
{
	struct policy_world *w;
	struct policy_request *r;
	struct err e;
	double median, p99, both, both99;
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	double start = now_ns();
	w = world(n);
	double load_ms = (now_ns() - start) / 1e6;
	size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	must(policy_request_new(w, &r, &e), &e);
	give_facts(r);
	measure(r, decide, &median, &p99);
	measure(r, facts_and_decide, &both, &both99);
	printf("{\"kind\": \"policy\", \"bench\": \"decide\", \"name\": \"policies-%d\", \"threads\": 1, "
		   "\"ours_median_ns\": %.1f, "
		   "\"ours_p99_ns\": %.1f, \"facts_median_ns\": %.1f, \"load_ms\": %.3f, \"bytes_per_policy\": %zu}\n",
		   n, median, p99, both - median, load_ms, bytes / (size_t)n);
	fflush(stdout);
	fprintf(stderr, "policies %6d  decide median %5.0f ns  p99 %5.0f ns  facts and decide %5.0f ns  load %7.2f ms  "
		   "%5zu bytes/policy\n",
		   n, median, p99, both, load_ms, bytes / (size_t)n);
	policy_request_free(r);
	policy_world_free(w);
}

int main(int argc, char **argv)
{
	static const int sizes[] = {10, 100, 1000, 10000, 100000};
	if (argc > 1) {
		long n = strtol(argv[1], NULL, 10);
		profile(n < 10 ? 10 : n > 100000 ? 100000 : (int)n);
		return 0;
	}
	for (size_t i = 0; i < N(sizes); i++)
		row(sizes[i]);
	return 0;
}
