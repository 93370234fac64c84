/* SPDX-License-Identifier: Apache-2.0
 *
 * The line grammar that trust.note, model.note, freshness.note and the state file share (trust.h).
 * Side: broker, cli. Trusts: nothing. Owns: nothing: fields point into the text.
 */
#ifndef FUMEHOOD_BROKER_TRUST_LINES_H
#define FUMEHOOD_BROKER_TRUST_LINES_H

#include "proto/err.h"
#include "proto/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct field {
	const char *p; /* NULL: there is nothing, not even a space */
	size_t len;
};

/* One kind of line. read gets what follows the word and its space. */
struct line_rule {
	const char *word;
	unsigned min, max; /* how often it may stand there */
	int (*read)(void *into, struct field rest, struct err *e);
};
#define LINES_RULES_MAX 16

/* Reads a text of lines, each ended by LF, whose first one is header. what names the text in errors,
 * which carry the line's number. Errors: ERR_SIGNATURE and what the rules return. */
MUST_CHECK int lines_read(const char *what, const char *header, const char *text, size_t len,
                          const struct line_rule *rules, size_t n_rules, void *into, struct err *e);

/* Cuts the next field (up to a space) off rest; false when there is none or it is empty. */
bool field_next(struct field *rest, struct field *out);
/* The next field is the last one. */
bool field_last(struct field *rest, struct field *out);
bool field_is(struct field f, const char *text);
/* Copies into a buffer with a NUL; false when it does not fit. */
bool field_copy(struct field f, char *out, size_t cap);
/* A decimal number, digits only, without leading zero. */
bool field_u64(struct field f, uint64_t *out);
/* "sha256:" and 64 hex digits; or only the digits. */
bool field_sha256(struct field f, uint8_t out[HASH_BYTES]);
bool field_hex(struct field f, uint8_t out[HASH_BYTES]);

#endif
