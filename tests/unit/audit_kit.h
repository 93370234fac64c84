/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the log share: a folder for a while, a key, a writer, records, copies. */
#ifndef FUMEHOOD_TESTS_AUDIT_KIT_H
#define FUMEHOOD_TESTS_AUDIT_KIT_H

#include "audit/audit.h"
#include "audit/writer.h"
#include "proto/fumehood.pb-c.h"
#include "proto/pb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASSERT_OK(call, e)                                                                                \
	do {                                                                                              \
		if ((call) != ERR_OK)                                                                     \
			fail_msg("%s: %s", #call, (e).text);                                              \
	} while (0)

/* A folder BASE/log and BASE/state in a new temporary folder. */
struct kit {
	char base[64], log[80], state[80];
	struct note_signer key;
	struct store *store, *state_store;
	struct writer *w;
	uint64_t clock_ns;
};

static inline void kit_stamp(void *arg, struct entry_stamp *out)
{
	struct kit *k = arg;
	memset(out, 0, sizeof *out);
	out->wall_ns = 1000000000000000000u + (k->clock_ns += 1000);
	out->boot_ns = k->clock_ns;
	out->boot_id[0] = 7;
}

static inline void kit_key(struct note_signer *key, const char *name, uint8_t first)
{
	uint8_t seed[NOTE_SEED_BYTES];
	struct err e;
	for (size_t i = 0; i < sizeof seed; i++)
		seed[i] = (uint8_t)(first + i);
	ASSERT_OK(note_signer_init(name, strlen(name), seed, key, &e), e);
}

static inline void kit_new_in(struct kit *k, const char *dir)
{
	memset(k, 0, sizeof *k);
	snprintf(k->base, sizeof k->base, "%.40s/fh-log-XXXXXX", dir);
	assert_non_null(mkdtemp(k->base));
	snprintf(k->log, sizeof k->log, "%s/log", k->base);
	snprintf(k->state, sizeof k->state, "%s/state", k->base);
	assert_int_equal(mkdir(k->log, 0700), 0);
	assert_int_equal(mkdir(k->state, 0700), 0);
	kit_key(&k->key, "log.example/test", 0);
}

/* On a real disk. */
static inline void kit_new(struct kit *k)
{
	const char *tmp = getenv("TMPDIR");
	kit_new_in(k, tmp ? tmp : "/tmp");
}

/* In memory, for tests of many folders: syncs cost nothing there, and direct writes do not exist. */
static inline void kit_new_fast(struct kit *k)
{
	if (access("/dev/shm", W_OK) == 0)
		kit_new_in(k, "/dev/shm");
	else
		kit_new(k);
}

static inline struct store *kit_store(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	struct store *s = store_posix_new(fd);
	assert_non_null(s);
	return s;
}

static inline int kit_try_open(struct kit *k, uint64_t segment_bytes, struct writer_opened *info, struct err *e)
{
	k->store = kit_store(k->log);
	k->state_store = kit_store(k->state);
	struct writer_conf c = { k->store, k->state_store, &k->key, segment_bytes, kit_stamp, k };
	int rc = writer_prepare_folder(&c, e);
	return rc == ERR_OK ? writer_open(&c, &k->w, info, e) : rc;
}

static inline void kit_close(struct kit *k)
{
	writer_close(k->w);
	store_posix_free(k->store);
	store_posix_free(k->state_store);
	k->w = NULL;
	k->store = k->state_store = NULL;
}

static inline void kit_open(struct kit *k, uint64_t segment_bytes, struct writer_opened *info)
{
	struct writer_opened ignored;
	struct err e;
	ASSERT_OK(kit_try_open(k, segment_bytes, info ? info : &ignored, &e), e);
}

/* Packs a record about call number n; text of len bytes. Free it. */
static inline uint8_t *kit_record(uint64_t n, size_t text_len, size_t *len)
{
	Fumehood__Record r;
	struct err e;
	uint8_t *bytes = NULL;
	char action[] = "infer", *text = calloc(1, text_len + 1);
	assert_non_null(text);
	for (size_t i = 0; i < text_len; i++)
		text[i] = (char)('a' + (n + i) % 26);
	fumehood__record__init(&r);
	r.kind = FUMEHOOD__RECORD_KIND__COMPLETED;
	r.request_id = n;
	r.action = action;
	r.text = text;
	ASSERT_OK(pb_pack(&r.base, &bytes, len, &e), e);
	free(text);
	return bytes;
}

/* Adds one record without committing; returns its index. */
static inline uint64_t kit_add(struct kit *k, uint64_t n, size_t text_len)
{
	size_t len;
	uint64_t index = 0;
	struct err e;
	uint8_t *bytes = kit_record(n, text_len, &len);
	if (!writer_fits(k->w, len)) {
		ASSERT_OK(writer_commit(k->w, &e), e);
		ASSERT_OK(writer_settle(k->w, &e), e);
	}
	ASSERT_OK(writer_add(k->w, bytes, len, &index, &e), e);
	free(bytes);
	return index;
}

static inline void kit_commit(struct kit *k)
{
	struct err e;
	ASSERT_OK(writer_commit(k->w, &e), e);
	ASSERT_OK(writer_settle(k->w, &e), e);
}

/* n records, committed in batches of at most `batch`. */
static inline void kit_fill(struct kit *k, uint64_t n, uint64_t batch, size_t text_len)
{
	for (uint64_t i = 0; i < n; i++) {
		kit_add(k, i, text_len + i % 17);
		if (i % batch == batch - 1)
			kit_commit(k);
	}
	kit_commit(k);
}

static inline void kit_seal(struct kit *k)
{
	struct err e;
	ASSERT_OK(writer_seal(k->w, &e), e);
}

static inline void kit_shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline void kit_shell(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(cmd, sizeof cmd, fmt, ap);
	va_end(ap);
	if (system(cmd) != 0)
		fail_msg("%s", cmd);
}

static inline void kit_free(struct kit *k)
{
	kit_close(k);
	kit_shell("rm -rf '%s'", k->base);
}

/* The offline check of a folder. */
static inline void kit_verify(const char *path, const struct note_key *key, const struct audit_verify *want,
                              struct audit_verdict *out)
{
	static const struct audit_verify nothing;
	struct audit_log *l = NULL;
	struct err e;
	ASSERT_OK(audit_log_open(path, key, &l, &e), e);
	ASSERT_OK(audit_log_verify(l, want ? want : &nothing, out, &e), e);
	audit_log_close(l);
}

#endif
