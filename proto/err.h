/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors are values. Every function that can fail returns an int: 0 (ERR_OK) or a negative code of
 * the table below, and fills a struct err with one line: what, where, what to do.
 *
 * Side: both. Trusts: nothing. Owns: the list of error codes, the only one in the project.
 *
 * A row is: symbol, stable text that clients see in JSON and records, exit code of the command.
 * Adding a row: append it here, describe it in docs/protocol.md (a lint compares the two).
 */
#ifndef FUMEHOOD_PROTO_ERR_H
#define FUMEHOOD_PROTO_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))

/*        symbol           text             exit  meaning */
#define ERR_TABLE(X)                                                                            \
	X(ERR_USAGE,       "usage",          2) /* the command line is wrong */                     \
	X(ERR_CONFIG,      "config",         2) /* configuration, policy or entities do not load */ \
	X(ERR_INPUT,       "input",          3) /* tensors: name, shape, type, bytes */             \
	X(ERR_MODEL,       "model",          3) /* the model file is malformed or lies */           \
	X(ERR_UNSUPPORTED, "unsupported",    3) /* well formed, but not implemented: named */       \
	X(ERR_SIGNATURE,   "signature",      3) /* wrong signature, unknown signer, no note */      \
	X(ERR_EXPIRED,     "expired",        3) /* a note is past its expiry */                     \
	X(ERR_DIGEST,      "digest",         3) /* bytes are not those that were signed */          \
	X(ERR_NOT_FOUND,   "not-found",      3) /* no such model, file, record */                   \
	X(ERR_LIMIT,       "limit",          3) /* larger than a named limit; both numbers shown */ \
	X(ERR_DENIED,      "denied",         4) /* policy says no */                                \
	X(ERR_WORKER,      "worker-crash",   5) /* the worker died by a signal or exit code */      \
	X(ERR_VIOLATION,   "refused-call",   5) /* the worker tried a call outside its four */      \
	X(ERR_DEADLINE,    "deadline",       5) /* the broker ended the worker for time */          \
	X(ERR_MEMORY,      "memory",         5) /* the kernel ended the worker for memory */        \
	X(ERR_PROTOCOL,    "protocol",       5) /* a peer broke the protocol */                     \
	X(ERR_WALL,        "wall",           6) /* a layer of the wall is missing */                \
	X(ERR_LOG,         "log",            7) /* the audit log cannot be written or is bad */     \
	X(ERR_BUSY,        "busy",           1) /* queue full, or another holds the state */        \
	X(ERR_IO,          "io",             1) /* a system call failed on our own files */         \
	X(ERR_NOMEM,       "no-memory",      1) /* this process has no memory left */               \
	X(ERR_INTERNAL,    "internal",       1) /* a bug: please report */                          \
	X(ERR_QUARANTINED, "quarantined",    5) /* the model's workers died too often: not for now */

enum err_code {
	ERR_OK = 0,
	ERR__FIRST = -100, /* codes are negative and stable: new rows are appended */
#define ERR_ENUM(sym, text, exit) sym,
	ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
	ERR__MAX
};

#define ERR_TEXT_MAX_BYTES 480

/* One error: the code and one line of text (no newline, printable ASCII or escaped, NUL ended). */
struct err {
	int code;
	char text[ERR_TEXT_MAX_BYTES];
};

/* Fills e (which may be NULL) with code and a formatted line; text from outside must have gone
 * through err_escape. Returns code, so that callers write: return err_set(e, ERR_MODEL, ...). */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of e's text; keeps and returns e's code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The stable text of a code ("ok", "model", ...; "internal" for an unknown number). */
const char *err_name(int code);

/* The exit status of the command for a code (0 for ERR_OK). */
int err_exit_code(int code);

/* The code of a stable text, ERR_INTERNAL when there is none. */
int err_from_name(const char *name, size_t len);

/* Copies at most cap-1 bytes of outside text into dst, every byte outside printable ASCII, and the
 * backslash and double quote, written as \xHH; cut with "..." . Returns dst. */
char *err_escape(char *dst, size_t cap, const void *src, size_t len);

#endif
