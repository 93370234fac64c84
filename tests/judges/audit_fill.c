/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a log with the real auditor, for a judge that is not ours to look at.
 *
 * usage: audit_fill AUDITOR BASE SIZE
 *
 * Appends until the log has SIZE entries, 256 under way at a time, seals it, and leaves some receipts as
 * BASE/receipt.N and BASE/receipt.N.entry. Prints the log's key. Run again with a larger SIZE it goes on.
 */
#include "tests/judges/audit_client.h"

#define UNDER_WAY 256

static void save(const char *base, uint64_t index, const char *end, const void *p, size_t n)
{
	char path[300];
	snprintf(path, sizeof path, "%s/receipt.%llu%s", base, (unsigned long long)index, end);
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
		abort();
}

static int receipt_keep(const char *base, const struct frame *f, const struct note_key *key, struct err *e)
{
	struct audit_stored s;
	struct receipt r;
	char *text = NULL;
	size_t len = 0;
	int rc = audit_stored_read(f, &s, e);
	if (rc != ERR_OK)
		return rc;
	if (s.entry)
		rc = receipt_format(s.index, &s.proof, s.checkpoint, s.checkpoint_len, &text, &len, e);
	if (rc == ERR_OK && text)
		rc = receipt_verify(s.entry, s.entry_len, text, len, key, &r, e);
	if (rc == ERR_OK && text) {
		save(base, s.index, "", text, len);
		save(base, s.index, ".entry", s.entry, s.entry_len);
	}
	free(text);
	audit_stored_clear(&s);
	return rc;
}

int main(int argc, char **argv)
{
	struct ac a;
	struct err e = { 0 };
	struct frame f;
	char vkey[NOTE_VKEY_MAX_BYTES];
	int rc = ERR_OK;
	if (argc != 4 || sodium_init() < 0)
		return fprintf(stderr, "usage: audit_fill AUDITOR BASE SIZE\n"), 2;
	uint64_t size = strtoull(argv[3], NULL, 10), sent, answered;
	if (ac_start(&a, argv[1], argv[2], MIB(1), &e) != ERR_OK)
		return fprintf(stderr, "audit_fill: %s\n", e.text), 1;
	for (sent = answered = a.opened.size; answered < size && rc >= 0;) {
		for (; sent < size && sent - answered < UNDER_WAY; sent++)
			ac_append(&a, sent + 1, 60 + sent % 500, sent < 3 || sent % 997 == 0 || sent + 1 == size);
		while ((rc = ac_turn(&a, 0, &f, &e)) == 0)
			if ((rc = ac_turn(&a, 10000, &f, &e)) != 0)
				break;
		if (rc < 0)
			break;
		answered++;
		rc = f.header.kind == MSG_STORED ? receipt_keep(argv[2], &f, &a.opened.key, &e) : audit_failed_read(&f, &e);
		frame_clear(&f);
	}
	if (rc < 0)
		return fprintf(stderr, "audit_fill: %s\n", e.text), 1;
	int status = ac_seal(&a, &e);
	note_vkey_format(&a.opened.key, vkey);
	printf("%s\n", vkey);
	ac_clear(&a);
	return status;
}
