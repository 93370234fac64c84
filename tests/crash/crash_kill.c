/* SPDX-License-Identifier: Apache-2.0
 *
 * kill -9 against the real auditor, again and again on the same log, with records under way: whatever was answered
 * is there afterwards, with the same bytes; the offline check stays good; the next start goes on.
 *
 * usage: crash_kill [--long] [--rounds N] AUDITOR
 */
#include "tests/unit/audit_kit.h"

#include "tests/judges/audit_client.h"

#include <time.h>

#define UNDER_WAY 48
#define ENTRIES_MAX 2000000

static uint8_t (*leaf)[HASH_BYTES];
static uint64_t n_answered; /* all entries below are answered or older than this process */

#define CHECK(cond, ...)                                                                    \
	do {                                                                                \
		if (!(cond)) {                                                              \
			fprintf(stderr, "crash_kill: round %u: ", round_now);               \
			fprintf(stderr, __VA_ARGS__);                                       \
			fputc('\n', stderr);                                                \
			exit(1);                                                            \
		}                                                                           \
	} while (0)
static unsigned round_now;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void on_stored(const struct frame *f, const struct note_key *key)
{
	struct audit_stored s;
	struct receipt r;
	struct err e = { 0 };
	char *text = NULL;
	size_t len;
	CHECK(f->header.kind == MSG_STORED, "%s: %s", msg_name(f->header.kind), (audit_failed_read(f, &e), e.text));
	CHECK(audit_stored_read(f, &s, &e) == ERR_OK, "%s", e.text);
	CHECK(s.index < ENTRIES_MAX, "too many");
	CHECK(receipt_format(s.index, &s.proof, s.checkpoint, s.checkpoint_len, &text, &len, &e) == ERR_OK &&
	      receipt_verify(s.entry, s.entry_len, text, len, key, &r, &e) == ERR_OK, "receipt: %s", e.text);
	tree_leaf(s.entry, s.entry_len, leaf[s.index]);
	n_answered = s.index + 1;
	free(text);
	audit_stored_clear(&s);
}

static int compare(void *arg, uint64_t index, const Fumehood__Entry *x, struct err *e)
{
	static const uint8_t unknown[HASH_BYTES];
	uint8_t *b = malloc(fumehood__entry__get_packed_size(x) + 1), h[HASH_BYTES];
	size_t len = fumehood__entry__pack(x, b);
	(void)arg;
	(void)e;
	tree_leaf(b, len, h);
	free(b);
	CHECK(memcmp(leaf[index], unknown, HASH_BYTES) == 0 || memcmp(leaf[index], h, HASH_BYTES) == 0,
	      "entry %llu is another one", (unsigned long long)index);
	memcpy(leaf[index], h, HASH_BYTES);
	return ERR_OK;
}

static void judge(const char *base)
{
	char path[200], state[200];
	struct audit_log *l = NULL;
	struct audit_verify want = { .min_size = n_answered };
	struct audit_verdict v;
	struct err e = { 0 };
	uint64_t size = 0;
	snprintf(path, sizeof path, "%s/log", base);
	snprintf(state, sizeof state, "%s/state", base);
	CHECK(audit_log_open(path, NULL, &l, &e) == ERR_OK, "%s", e.text);
	CHECK(audit_verify_add_state(l, state, &want, &e) == ERR_OK, "%s", e.text);
	CHECK(audit_log_verify(l, &want, &v, &e) == ERR_OK, "%s", e.text);
	CHECK(v.ok, "%s: %s", v.fault.file, v.fault.text);
	CHECK(audit_log_each(l, 0, compare, NULL, &size, &e) == ERR_OK, "%s", e.text);
	n_answered = size;
	audit_log_close(l);
}

/* One start: records for a while, then the axe. */
static void round_run(const char *program, const char *base, uint64_t ns)
{
	struct ac a;
	struct err e = { 0 };
	struct frame f;
	int rc = 0, status;
	CHECK(ac_start(&a, program, base, MIB(1), &e) == ERR_OK, "%s", e.text);
	CHECK(a.opened.size >= n_answered, "%llu entries are left of %llu", (unsigned long long)a.opened.size,
	      (unsigned long long)n_answered);
	uint64_t end = now_ns() + ns, sent = 0, got = 0;
	while (now_ns() < end && rc >= 0) {
		for (; sent - got < UNDER_WAY; sent++)
			ac_append(&a, sent + 1, 50 + sent % 700, true);
		if ((rc = ac_turn(&a, 1, &f, &e)) > 0) {
			on_stored(&f, &a.opened.key);
			frame_clear(&f);
			got++;
		}
	}
	kill(a.pid, SIGKILL);
	waitpid(a.pid, &status, 0);
	while ((rc = ac_turn(&a, 0, &f, &e)) > 0) { /* answers that were sent before it died count */
		on_stored(&f, &a.opened.key);
		frame_clear(&f);
	}
	ac_clear(&a);
}

int main(int argc, char **argv)
{
	unsigned rounds = 12;
	const char *program = NULL;
	struct kit k;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--long") == 0)
			rounds = 1000;
		else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
			rounds = (unsigned)atol(argv[++i]);
		else
			program = argv[i];
	}
	if (!program || sodium_init() < 0 || !(leaf = calloc(ENTRIES_MAX, sizeof *leaf)))
		return fprintf(stderr, "usage: crash_kill [--long] [--rounds N] AUDITOR\n"), 2;
	kit_new(&k);
	for (round_now = 0; round_now < rounds; round_now++) {
		/* Long enough for publishing and new segments at times, often as short as the start itself. */
		uint64_t ms = randombytes_uniform(4) ? randombytes_uniform(40) : 250 + randombytes_uniform(100);
		round_run(program, k.base, ms * 1000000);
		judge(k.base);
		if (n_answered > 60000) { /* a fresh log keeps the rounds short */
			kit_shell("rm -rf '%s'/*", k.base);
			memset(leaf, 0, n_answered * sizeof *leaf);
			n_answered = 0;
		}
	}
	kit_shell("rm -rf '%s'", k.base);
	printf("crash_kill: %u kills, 0 answered entries lost, 0 false alarms\n", rounds);
	free(leaf);
	return 0;
}
