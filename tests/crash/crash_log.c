/* SPDX-License-Identifier: Apache-2.0
 *
 * Power failures: the log's writer on a disk that loses, reorders and tears what was not synced. Each seed is a life
 * of a few starts; the power goes at a random operation of each, recovery included. After every failure
 * - no entry that was acknowledged is lost or changed, and what came of an unanswered batch is all or nothing;
 * - the offline check of what is on the disk says good (a torn tail is no fault): no false alarm;
 * - the log opens again and goes on.
 *
 * usage: crash_log [--long] [--seeds N] [--from SEED]
 */
#include "tests/unit/audit_kit.h"

#include "tests/crash/liar.h"

#include <setjmp.h>

#define SEGMENT KIB(256)
#define STARTS 4
#define ENTRIES_MAX 20000

struct life {
	struct power power;
	struct liar *disk, *state_disk;
	struct kit kit; /* key, clock, a folder to dump to */
	uint64_t n_acked;
	uint64_t n_known;                   /* entries whose leaf is known: acknowledged or found after a failure */
	uint8_t (*leaf)[HASH_BYTES];
	uint64_t serial;                    /* of records, so that no two are alike */
	unsigned failures, torn, refused;
};

static uint64_t seed_now;

#define CHECK(cond, ...)                                                                                       \
	do {                                                                                                   \
		if (!(cond)) {                                                                                 \
			fprintf(stderr, "crash_log: seed %llu: %s: ", (unsigned long long)seed_now, #cond);    \
			fprintf(stderr, __VA_ARGS__);                                                          \
			fputc('\n', stderr);                                                                   \
			exit(1);                                                                               \
		}                                                                                              \
	} while (0)

static int open_log(struct life *l, struct writer **w, struct writer_opened *info, struct err *e)
{
	struct writer_conf c = { liar_store(l->disk), liar_store(l->state_disk), &l->kit.key, SEGMENT, kit_stamp, &l->kit };
	int rc = writer_prepare_folder(&c, e);
	return rc == ERR_OK ? writer_open(&c, w, info, e) : rc;
}

/* Adds a batch of random size and commits it; acknowledges it when that succeeds. */
static int batch(struct life *l, struct writer *w, struct err *e)
{
	uint64_t n = 1 + power_random(&l->power, power_random(&l->power, 4) ? 4 : 60), index = 0, first = writer_size(w);
	size_t entry_len;
	int rc = ERR_OK;
	for (uint64_t i = 0; i < n && rc == ERR_OK; i++) {
		size_t len;
		uint8_t *r = kit_record(l->serial++, (size_t)power_random(&l->power, i % 9 == 0 ? 6000 : 300), &len);
		if (!writer_fits(w, len)) {
			free(r);
			break;
		}
		rc = writer_add(w, r, len, &index, e);
		free(r);
	}
	if (rc == ERR_OK)
		rc = writer_commit(w, e);
	if (rc != ERR_OK)
		return rc;
	CHECK(writer_size(w) == index + 1, "size after a commit");
	for (uint64_t i = first; i < writer_size(w) && i < ENTRIES_MAX; i++) {
		const uint8_t *entry = writer_entry(w, i, &entry_len);
		tree_leaf(entry, entry_len, l->leaf[i]);
	}
	l->n_acked = l->n_known = writer_size(w);
	return ERR_OK;
}

/* One start: opens, appends until the power goes or enough was done. */
static void start(struct life *l, bool is_last)
{
	struct writer *w = NULL;
	struct writer_opened info = { .size = 0 };
	struct err e = { 0 };
	l->power.operations = 0;
	l->power.is_off = false;
	l->power.commits = 0;
	bool in_commit = power_random(&l->power, 2);
	l->power.goes_at = is_last || in_commit ? 0 : 1 + power_random(&l->power, power_random(&l->power, 3) ? 400 : 60);
	l->power.goes_at_commit = is_last || !in_commit ? 0 : 1 + power_random(&l->power, 60);
	int rc = open_log(l, &w, &info, &e);
	if (rc == ERR_OK && info.torn_tail)
		l->torn++;
	if (rc == ERR_OK)
		CHECK(info.size == l->n_known + info.torn_tail, "%llu entries are left of %llu", (unsigned long long)info.size,
		      (unsigned long long)l->n_known);
	if (rc == ERR_OK && info.torn_tail) /* the record of it: its leaf is learned when it is read */
		memset(l->leaf[l->n_known], 0, HASH_BYTES);
	for (unsigned i = 0; rc == ERR_OK && i < 120; i++) {
		bool more;
		rc = batch(l, w, &e);
		if (rc == ERR_OK)
			rc = writer_settle(w, &e);
		if (rc == ERR_OK && power_random(&l->power, 6) == 0)
			rc = writer_idle(w, &more, &e);
		if (is_last && i > 10)
			break;
	}
	if (rc == ERR_OK && (is_last || power_random(&l->power, 2)))
		rc = writer_seal(w, &e);
	CHECK(rc == ERR_OK || l->power.is_off, "with the power on: %s", e.text);
	l->failures += rc != ERR_OK;
	writer_close(w);
}

static int compare_entry(void *arg, uint64_t index, const Fumehood__Entry *x, struct err *e)
{
	struct life *l = arg;
	(void)e;
	uint8_t *b = malloc(fumehood__entry__get_packed_size(x) + 1), leaf[HASH_BYTES];
	size_t len = fumehood__entry__pack(x, b);
	tree_leaf(b, len, leaf);
	free(b);
	CHECK(index < ENTRIES_MAX, "too many entries");
	static const uint8_t unknown[HASH_BYTES];
	if (index < l->n_known && memcmp(l->leaf[index], unknown, HASH_BYTES) != 0)
		CHECK(memcmp(leaf, l->leaf[index], HASH_BYTES) == 0, "entry %llu is another than the acknowledged one",
		      (unsigned long long)index);
	memcpy(l->leaf[index], leaf, HASH_BYTES);
	return ERR_OK;
}

/* The disk as the failure left it, by the offline check. */
static void judge(struct life *l, bool sealed)
{
	struct audit_log *log = NULL;
	struct audit_verify want = { .min_size = l->n_acked };
	struct audit_verdict v;
	struct err e = { 0 };
	uint64_t size = 0;
	kit_shell("rm -rf '%s' '%s' && mkdir '%s' '%s'", l->kit.log, l->kit.state, l->kit.log, l->kit.state);
	liar_dump(l->disk, l->kit.log);
	liar_dump(l->state_disk, l->kit.state);
	int rc = audit_log_open(l->kit.log, &l->kit.key.key, &log, &e);
	if (rc == ERR_OK && access(l->kit.log, F_OK) == 0) {
		char vkey[120];
		snprintf(vkey, sizeof vkey, "%s/log.vkey", l->kit.log);
		if (access(vkey, F_OK) != 0) { /* the power went before there was a log */
			CHECK(l->n_acked == 0, "log.vkey was lost");
			audit_log_close(log);
			return;
		}
	}
	CHECK(rc == ERR_OK, "%s", e.text);
	rc = audit_verify_add_state(log, l->kit.state, &want, &e);
	CHECK(rc == ERR_OK, "%s", e.text);
	rc = audit_log_verify(log, &want, &v, &e);
	CHECK(rc == ERR_OK, "%s", e.text);
	CHECK(v.ok, "false alarm: %s at %llu, %s: %s", fault_name(v.fault.kind), (unsigned long long)v.fault.index,
	      v.fault.file, v.fault.text);
	rc = audit_log_each(log, 0, compare_entry, l, &size, &e);
	CHECK(rc == ERR_OK, "%s", e.text);
	CHECK(size == v.size && size >= l->n_acked, "%llu of %llu entries", (unsigned long long)size,
	      (unsigned long long)l->n_acked);
	CHECK(!sealed || (v.published == size && v.torn_bytes == 0), "a sealed log lags");
	l->n_known = size;
	audit_log_close(log);
}

static void life(struct life *l, uint64_t seed)
{
	seed_now = seed;
	l->power = (struct power){ .random = seed };
	l->disk = liar_new(&l->power);
	l->state_disk = liar_new(&l->power);
	l->n_acked = l->n_known = 0;
	for (int i = 0; i < STARTS; i++) {
		bool is_last = i == STARTS - 1;
		start(l, is_last);
		l->power.is_off = false;
		l->power.goes_at = l->power.goes_at_commit = 0;
		if (is_last) {
			judge(l, true);
		} else {
			liar_restart(l->disk);
			liar_restart(l->state_disk);
			judge(l, false);
		}
	}
	liar_free(l->disk);
	liar_free(l->state_disk);
}

int main(int argc, char **argv)
{
	static struct life l;
	uint64_t seeds = 50, from = 1;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--long") == 0)
			seeds = 10000;
		else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			seeds = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
			from = strtoull(argv[++i], NULL, 10);
		else
			return fprintf(stderr, "usage: crash_log [--long] [--seeds N] [--from SEED]\n"), 2;
	}
	if (sodium_init() < 0 || !(l.leaf = malloc(ENTRIES_MAX * sizeof *l.leaf)))
		return 1;
	kit_new_fast(&l.kit);
	for (uint64_t s = from; s < from + seeds; s++)
		life(&l, s);
	kit_shell("rm -rf '%s'", l.kit.base);
	free(l.leaf);
	printf("crash_log: %llu seeds, %u power failures, %u torn tails put aside, 0 acknowledged entries lost, "
	       "0 false alarms\n", (unsigned long long)seeds, l.failures, l.torn);
	return l.failures == 0;
}
