/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a log from its first entry to its last and checks everything that its segments say: the one
 * reader under recovery (audit/writer.c), the offline check (audit/verify.c) and the lists.
 *
 * Side: auditor, cli. Trusts: the key it is given. Owns: one segment's bytes at a time.
 */
#ifndef FUMEHOOD_AUDIT_SCAN_H
#define FUMEHOOD_AUDIT_SCAN_H

#include "audit/checkpoint.h"
#include "audit/segment.h"
#include "audit/store.h"
#include "audit/tree.h"

/*        symbol            text          what was found */
#define FAULT_TABLE(X)                                                                                 \
	X(FAULT_SEGMENT,    "segment")    /* a segment is missing, cut, foreign or out of order */     \
	X(FAULT_FRAME,      "frame")      /* bytes before the last valid checkpoint are damaged */     \
	X(FAULT_ENTRY,      "entry")      /* an entry is malformed or out of order */                  \
	X(FAULT_SIGNATURE,  "signature")  /* a checkpoint is not signed by the log's key */            \
	X(FAULT_ROOT,       "root")       /* entries and signed root differ: something was changed */  \
	X(FAULT_SHORT,      "short")      /* fewer entries than are known to have been there */        \
	X(FAULT_FORK,       "fork")       /* another history than a checkpoint that is known */        \
	X(FAULT_TILE,       "tile")       /* a published tile differs from the entries */              \
	X(FAULT_BUNDLE,     "bundle")     /* a published entry bundle differs from the entries */      \
	X(FAULT_CHECKPOINT, "checkpoint") /* the published checkpoint is not one of this log */        \
	X(FAULT_KEY,        "key")        /* log.vkey is not the key that was asked for */             \
	X(FAULT_FILE,       "file")       /* a file that does not belong there, or cannot be read */

enum fault_kind {
	FAULT_NONE,
#define FAULT_ENUM(sym, text) sym,
	FAULT_TABLE(FAULT_ENUM)
#undef FAULT_ENUM
	FAULT__MAX
};
const char *fault_name(enum fault_kind k);

/* The first thing that is wrong. */
struct fault {
	enum fault_kind kind;
	uint64_t index;   /* entries before this one are good */
	char file[80];    /* below the log's folder */
	char text[ERR_TEXT_MAX_BYTES];
};
/* Fills f (which may be NULL) and e; returns ERR_LOG. */
int fault_set(struct fault *f, struct err *e, enum fault_kind kind, uint64_t index, const char *file,
              const char *fmt, ...) __attribute__((format(printf, 6, 7)));

struct scan_conf {
	struct store *log;
	const struct note_key *key;
	/* Each entry in order, once the checkpoint of its batch was found good, then that checkpoint. Either may
	 * be NULL; a negative return ends the scan with that code. */
	int (*on_entry)(void *arg, uint64_t index, const uint8_t *bytes, size_t len,
	                const uint8_t leaf[HASH_BYTES], struct err *e);
	int (*on_commit)(void *arg, const struct checkpoint *c, const char *note, size_t note_len, struct err *e);
	void *arg;
};

/* A place in the row of segments. */
struct scan_place {
	uint64_t segment, offset;
};

struct scan_end {
	struct tree_front front;           /* the tree of all entries */
	bool has_segment;                  /* false: nothing was ever written */
	struct scan_place next;            /* where the next batch goes */
	uint64_t segment_bytes;            /* size of that segment */
	uint8_t tag[SEGMENT_TAG_BYTES];    /* of the last frame */
	uint64_t n_files;                  /* segments that exist, a prepared one included */
	char note[SEGMENT_NOTE_MAX_BYTES]; /* the last checkpoint; note_len 0: none yet */
	size_t note_len;
	bool torn;                         /* bytes of an unfinished write stand behind the last batch */
	struct scan_place torn_at;
	uint64_t torn_bytes;               /* whole blocks */
	uint8_t torn_sha256[HASH_BYTES];   /* of those bytes */
	uint32_t torn_whole;               /* entries in it whose frames are whole */
};

/* Reads all segments. Errors: ERR_LOG (f says what and where), ERR_IO, ERR_NOMEM, or a callback's. */
MUST_CHECK int log_scan(const struct scan_conf *c, struct scan_end *end, struct fault *f, struct err *e);

#endif
