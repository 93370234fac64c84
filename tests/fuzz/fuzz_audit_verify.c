/* SPDX-License-Identifier: Apache-2.0
 * Functions under test: log_scan, audit_log_verify, audit_log_each, state_read, receipt_verify, checkpoint_read
 * (audit/scan.c, verify.c, reader.c, state.c, receipt.c, checkpoint.c).
 * A small good log is changed as the input says: file, offset, new bytes, three bytes of plan each. Oracle: whatever
 * the check calls good has the good log's root at its size, or is the good log. Receipts and checkpoints of the raw
 * input are never accepted. */
#include "audit/audit.h"
#include "audit/writer.h"
#include "proto/fumehood.pb-c.h"
#include "proto/mem.h"
#include "proto/pb.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define N_ENTRIES 300
static const char *const files[] = { "segments/000000000000", "log.vkey", "tlog/checkpoint", "tlog/tile/0/000",
	                             "tlog/tile/0/001.p/44", "tlog/tile/1/000.p/1", "tlog/tile/entries/000",
	                             "tlog/tile/entries/001.p/44", "../state/log.state" };
#define N_FILES (sizeof files / sizeof files[0])

static char base[] = "/dev/shm/fh-fuzz-XXXXXX", log_dir[64], state_dir[64];
static struct note_signer key;
static uint8_t *kept[N_FILES];
static size_t kept_len[N_FILES];
static uint8_t roots[N_ENTRIES + 1][HASH_BYTES];

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void stamp(void *arg, struct entry_stamp *out)
{
	(void)arg;
	memset(out, 0, sizeof *out);
	out->wall_ns = 1;
}

static struct store *store_at(const char *path)
{
	struct store *s = store_posix_new(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	must(s != NULL);
	return s;
}

static void path_of(size_t i, char out[128])
{
	snprintf(out, 128, "%s/%s", log_dir, files[i]);
}

static void file_put(size_t i, const uint8_t *p, size_t n)
{
	char path[128];
	path_of(i, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, p, n) == (ssize_t)n && close(fd) == 0);
}

static void keep(size_t i)
{
	char path[128];
	struct stat st;
	path_of(i, path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0 && fstat(fd, &st) == 0);
	kept_len[i] = (size_t)st.st_size;
	kept[i] = malloc(kept_len[i] + 1);
	must(kept[i] && read(fd, kept[i], kept_len[i]) == (ssize_t)kept_len[i] && close(fd) == 0);
}

static void gone(void)
{
	char cmd[64];
	snprintf(cmd, sizeof cmd, "rm -rf %s", base);
	must(system(cmd) == 0);
}

static void log_make(void)
{
	static const uint8_t seed[NOTE_SEED_BYTES] = { 5 };
	struct writer_opened info;
	struct writer *w = NULL;
	struct err e;
	must(sodium_init() >= 0 && mkdtemp(base));
	atexit(gone);
	snprintf(log_dir, sizeof log_dir, "%s/log", base);
	snprintf(state_dir, sizeof state_dir, "%s/state", base);
	must(mkdir(log_dir, 0700) == 0 && mkdir(state_dir, 0700) == 0);
	must(note_signer_init("fuzz", 4, seed, &key, &e) == ERR_OK);
	struct store *log = store_at(log_dir), *state = store_at(state_dir);
	struct writer_conf c = { log, state, &key, KIB(256), stamp, NULL };
	must(writer_prepare_folder(&c, &e) == ERR_OK && writer_open(&c, &w, &info, &e) == ERR_OK);
	struct tree_front f = { .size = 0 };
	tree_front_root(&f, roots[0]);
	for (unsigned i = 0; i < N_ENTRIES; i++) {
		static const uint8_t record[] = { 0x22, 5, 'i', 'n', 'f', 'e', 'r' };
		uint64_t index;
		size_t n;
		uint8_t leaf[HASH_BYTES];
		must(writer_add(w, record, sizeof record, &index, &e) == ERR_OK);
		if (i % 30 != 29)
			continue;
		must(writer_commit(w, &e) == ERR_OK);
		for (uint64_t k = f.size; k < writer_size(w);) {
			const uint8_t *entry = writer_entry(w, k, &n);
			tree_leaf(entry, n, leaf);
			tree_front_add(&f, leaf);
			tree_front_root(&f, roots[++k]);
		}
		must(writer_settle(w, &e) == ERR_OK);
	}
	must(writer_seal(w, &e) == ERR_OK);
	writer_close(w);
	store_posix_free(log);
	store_posix_free(state);
	for (size_t i = 0; i < N_FILES; i++)
		keep(i);
}

static int see(void *arg, uint64_t index, const Fumehood__Entry *x, struct err *e)
{
	(void)arg;
	(void)e;
	must(x->index == index);
	return ERR_OK;
}

static void check(void)
{
	struct audit_log *l = NULL;
	struct audit_verify want = { .min_size = 0 };
	struct audit_verdict v;
	struct err e;
	uint64_t size = 0;
	if (audit_log_open(log_dir, &key.key, &l, &e) != ERR_OK)
		return;
	(void)(audit_verify_add_state(l, state_dir, &want, &e) == ERR_OK);
	if (audit_log_verify(l, &want, &v, &e) == ERR_OK && v.ok)
		must(v.size <= N_ENTRIES && memcmp(v.root, roots[v.size], HASH_BYTES) == 0);
	(void)(audit_log_each(l, 0, see, NULL, &size, &e) == ERR_OK);
	audit_log_close(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	bool changed[N_FILES] = { false };
	struct receipt r;
	struct checkpoint c;
	struct err e;
	if (!kept[0])
		log_make();
	/* No input is signed. */
	must(receipt_verify((const uint8_t *)"x", 1, (const char *)data, len, &key.key, &r, &e) != ERR_OK);
	must(checkpoint_read((const char *)data, len, &key.key, &c, &e) != ERR_OK);
	for (size_t at = 0; at + 5 <= len; at += 5) {
		size_t i = data[at] % N_FILES, where = (le32_get(data + at + 1) & 0xffffff) % (kept_len[i] + 1);
		uint8_t *p = malloc(kept_len[i] + 1);
		must(p != NULL);
		memcpy(p, kept[i], kept_len[i]);
		size_t n = data[at] & 0x80 ? where : kept_len[i]; /* cut, or a byte changed */
		if (where < n)
			p[where] ^= data[at + 4];
		file_put(i, p, n);
		changed[i] = true;
		free(p);
	}
	check();
	for (size_t i = 0; i < N_FILES; i++)
		if (changed[i])
			file_put(i, kept[i], kept_len[i]);
	return 0;
}
