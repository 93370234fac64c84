/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log, as others use it: the broker starts the auditor and speaks with it; the command reads
 * and checks logs; anybody checks a receipt. How the log lies on disk: docs/log.md.
 *
 * Side: broker, cli. Trusts: nothing that it reads. Owns: what its functions hand out, as each says.
 * The process has called sodium_init.
 */
#ifndef FUMEHOOD_AUDIT_AUDIT_H
#define FUMEHOOD_AUDIT_AUDIT_H

#include "audit/scan.h"
#include "audit/tree.h"
#include "proto/frame_io.h"
#include "proto/note.h"

#include <sys/types.h>

/* --- keys --------------------------------------------------------------------------------------- */

/* A log's key file: one line, a note's private key (PRIVATE+KEY+origin+id+base64); mode 0600. The key's
 * name is the log's origin. */
#define AUDIT_KEY_MAX_BYTES 1024

/* Makes a key from the system's randomness in a new file (O_EXCL, 0600, synced with its folder). origin
 * NULL: fumehood.invalid/log/ and 16 random hex digits. vkey_out (may be NULL) gets the public key.
 * Errors: ERR_BUSY (the file is there), ERR_CONFIG (origin), ERR_IO. */
MUST_CHECK int audit_key_create(int dirfd, const char *name, const char *origin,
                                char vkey_out[NOTE_VKEY_MAX_BYTES], struct err *e);
/* Reads a key file from its start. note_signer_clear when done. Errors: ERR_CONFIG, ERR_IO. */
MUST_CHECK int audit_key_read(int fd, struct note_signer *out, struct err *e);

/* --- the auditor's process (broker) --------------------------------------------------------------- */

/* Descriptors that the auditor is started with. 0 is /dev/null or closed, 1 and 2 are for its one line when
 * it ends. */
enum audit_fd {
	AUDIT_FD_CHANNEL = 3, /* SOCK_STREAM socket to the broker */
	AUDIT_FD_LOG = 4,     /* the log's folder */
	AUDIT_FD_STATE = 5,   /* a folder outside it: log.state */
	AUDIT_FD_KEY = 6,     /* the key file, readable */
	AUDIT_FD__MAX
};

struct audit_spawn {
	const char *program;     /* path of fumehood-auditor */
	int log_dirfd, state_dirfd, key_fd; /* stay the caller's */
	uint64_t segment_bytes;  /* 0: the default */
	uint64_t optional_layers;/* of the wall (sandbox/wall/layers.h) */
	uint32_t uid, gid;       /* to become, when this process is root; 0: stay */
};
/* Starts the auditor (fork and exec; call it while the process has one thread). *channel is this side's
 * end, close-on-exec. The auditor's first frame is LOG_OPEN or LOG_FAILED. Errors: ERR_IO. */
MUST_CHECK int audit_start(const struct audit_spawn *c, int *channel, pid_t *pid, struct err *e);

/* The body of APPEND for a packed Record: malloc'ed, to be sent as it is (no tail). With want_proof the
 * answer brings the receipt. Errors: ERR_LIMIT (above LIMIT_RECORD_BYTES), ERR_NOMEM. */
MUST_CHECK int audit_append_pack(const uint8_t *record, size_t len, bool want_proof, uint8_t **body,
                                 size_t *body_len, struct err *e);

/* What STORED says: the record is durable and signed for. */
struct audit_stored {
	uint64_t index;
	uint64_t size;
	struct tree_proof proof;   /* want_proof only, else n = 0 */
	char *checkpoint;          /* the signed note; empty without want_proof */
	size_t checkpoint_len;
	const uint8_t *entry;      /* the entry's bytes, inside the frame's body; NULL without want_proof */
	size_t entry_len;
};
/* Reads a STORED frame. The checkpoint is malloc'ed: audit_stored_clear. Errors: ERR_PROTOCOL, ERR_NOMEM. */
MUST_CHECK int audit_stored_read(const struct frame *f, struct audit_stored *out, struct err *e);
void audit_stored_clear(struct audit_stored *s);

struct audit_opened {
	struct note_key key;
	uint64_t size;
	bool torn_tail;
};
/* Reads the auditor's first frame: LOG_OPEN, or LOG_FAILED, whose text becomes e (ERR_LOG). */
MUST_CHECK int audit_opened_read(const struct frame *f, struct audit_opened *out, struct err *e);
/* The text of a LOG_FAILED frame as an error (returns ERR_LOG; ERR_PROTOCOL for another frame). */
int audit_failed_read(const struct frame *f, struct err *e);

/* --- receipts (C2SP tlog-proof) ---------------------------------------------------------------------- */

/* Makes the receipt's text: malloc'ed, NUL ended. Errors: ERR_NOMEM. */
MUST_CHECK int receipt_format(uint64_t index, const struct tree_proof *proof, const char *checkpoint,
                              size_t checkpoint_len, char **out, size_t *len, struct err *e);

struct receipt {
	uint64_t index;
	struct checkpoint checkpoint; /* what the log had signed when it gave the receipt */
};
/* Checks offline that entry (bytes as the receipt's owner got them) is at its place in the log with this
 * key. Errors: ERR_SIGNATURE (not signed by key), ERR_LOG (proof or form). */
MUST_CHECK int receipt_verify(const uint8_t *entry, size_t entry_len, const char *text, size_t len,
                              const struct note_key *key, struct receipt *out, struct err *e);

/* --- reading a log (command) ------------------------------------------------------------------------- */

struct audit_log; /* a log's folder, read-only */

/* Opens the folder; the key is log.vkey's unless key is given. Errors: ERR_NOT_FOUND, ERR_LOG, ERR_IO. */
MUST_CHECK int audit_log_open(const char *path, const struct note_key *key, struct audit_log **out,
                              struct err *e);
void audit_log_close(struct audit_log *l);
const struct note_key *audit_log_key(const struct audit_log *l);

/* Has a segment been written since the last time this was asked (or the log opened)? */
bool audit_log_has_changed(struct audit_log *l);

struct Fumehood__Entry;
/* Calls fn for each entry from index first on (unpacked; valid during the call); a negative return ends it.
 * Checks everything on the way, as log_scan does. *size: entries in all. Errors: ERR_LOG, or fn's. */
typedef int audit_entry_fn(void *arg, uint64_t index, const struct Fumehood__Entry *entry, struct err *e);
MUST_CHECK int audit_log_each(struct audit_log *l, uint64_t first, audit_entry_fn *fn, void *arg,
                              uint64_t *size, struct err *e);

/* One entry with its receipt in the tree of all entries. All malloc'ed, freed by audit_shown_clear.
 * Errors: ERR_NOT_FOUND, ERR_LOG. */
struct audit_shown {
	uint8_t *entry;
	size_t entry_len;
	char *receipt;
	size_t receipt_len;
};
MUST_CHECK int audit_log_show(struct audit_log *l, uint64_t index, struct audit_shown *out, struct err *e);
void audit_shown_clear(struct audit_shown *s);

/* --- the offline check ------------------------------------------------------------------------------- */

#define AUDIT_KNOWN_MAX 16

struct audit_verify {
	uint64_t min_size;                           /* the log must have at least so many entries */
	struct checkpoint known[AUDIT_KNOWN_MAX];    /* must be prefixes of the log (receipts, old checkpoints) */
	unsigned n_known;
};

struct audit_verdict {
	bool ok;
	uint64_t size;
	uint8_t root[HASH_BYTES];
	uint64_t published;      /* size of the published checkpoint; smaller than size: tiles lag behind */
	bool has_published;
	uint64_t torn_bytes;     /* of an unfinished write behind the last entry: no fault */
	uint64_t n_segments;
	uint64_t n_files;        /* published files compared */
	struct fault fault;      /* the first one, when not ok */
};

/* Rebuilds everything from the entries and compares all there is with it: segments, checkpoints, tiles,
 * bundles, log.vkey, what is known from elsewhere. Trusts no tile and no stored hash.
 * ERR_OK when the check could be made: out->ok is the verdict. Errors: ERR_IO, ERR_NOMEM. */
MUST_CHECK int audit_log_verify(struct audit_log *l, const struct audit_verify *want, struct audit_verdict *out,
                                struct err *e);
/* Adds the checkpoint that a state folder remembers to want. Errors: ERR_LOG (another key, damaged). */
MUST_CHECK int audit_verify_add_state(const struct audit_log *l, const char *state_dir, struct audit_verify *want,
                                      struct err *e);

#endif
