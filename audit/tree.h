/* SPDX-License-Identifier: Apache-2.0
 *
 * The Merkle tree of RFC 6962 (section 2.1) with SHA-256: roots, inclusion and consistency proofs,
 * made and checked. Pure: no I/O.
 *
 * Leaf H(00 || entry), node H(01 || left || right), empty tree H(nothing). A node (level, index) is
 * the root of the complete subtree over entries [index << level, (index + 1) << level).
 *
 * Side: auditor, broker, cli. Trusts: nothing. Owns: the arithmetic.
 */
#ifndef FUMEHOOD_AUDIT_TREE_H
#define FUMEHOOD_AUDIT_TREE_H

#include "proto/err.h"
#include "proto/hash.h"

#include <stdbool.h>
#include <stdint.h>

#define TREE_LEVELS 64
#define TREE_PROOF_MAX 65 /* a consistency proof of two 64-bit sizes */

void tree_leaf(const void *entry, size_t len, uint8_t out[HASH_BYTES]);
void tree_node(const uint8_t left[HASH_BYTES], const uint8_t right[HASH_BYTES], uint8_t out[HASH_BYTES]);

/* The right edge of a tree: node[k] counts when bit k of size is set. All that is needed to add
 * leaves and to know the root. Zeros are the empty tree. */
struct tree_front {
	uint64_t size;
	uint8_t node[TREE_LEVELS][HASH_BYTES];
};

void tree_front_add(struct tree_front *f, const uint8_t leaf[HASH_BYTES]);
void tree_front_root(const struct tree_front *f, uint8_t out[HASH_BYTES]);

/* Nodes of a tree from some size on, growing: enough for proofs of every entry added since. Started
 * from the empty tree it is the whole tree (64 bytes per entry). */
struct tree_span;

/* A span that starts at the front (copied); NULL when memory is out. */
struct tree_span *tree_span_new(const struct tree_front *start);
void tree_span_free(struct tree_span *s);
/* Forgets all nodes and starts again at this front; keeps its memory. */
void tree_span_restart(struct tree_span *s, const struct tree_front *start);
/* Errors: ERR_NOMEM (the span is as before). */
MUST_CHECK int tree_span_add(struct tree_span *s, const uint8_t leaf[HASH_BYTES], struct err *e);
const struct tree_front *tree_span_front(const struct tree_span *s); /* with all that was added */
const struct tree_front *tree_span_start(const struct tree_span *s); /* where it was started */
/* A complete node; NULL when the span does not hold it. */
const uint8_t *tree_span_get(const struct tree_span *s, unsigned level, uint64_t index);

struct tree_proof {
	unsigned n;
	uint8_t hash[TREE_PROOF_MAX][HASH_BYTES];
};

/* Makes the proof that entry index is in the tree of size entries.
 * Errors: ERR_INPUT (index >= size, or the span does not reach). */
MUST_CHECK int tree_inclusion(const struct tree_span *s, uint64_t index, uint64_t size,
                              struct tree_proof *out, struct err *e);
/* Makes the proof that the tree of old_size is a prefix of the tree of size.
 * Errors: ERR_INPUT (old_size > size, or the span does not reach). */
MUST_CHECK int tree_consistency(const struct tree_span *s, uint64_t old_size, uint64_t size,
                                struct tree_proof *out, struct err *e);
/* The root of the first size entries. Errors: ERR_INPUT (the span does not reach). */
MUST_CHECK int tree_root_at(const struct tree_span *s, uint64_t size, uint8_t out[HASH_BYTES], struct err *e);

/* Checks a proof (RFC 9162, sections 2.1.3.2 and 2.1.4.2). Errors: ERR_LOG. */
MUST_CHECK int tree_inclusion_check(uint64_t index, uint64_t size, const struct tree_proof *p,
                                    const uint8_t leaf[HASH_BYTES], const uint8_t root[HASH_BYTES],
                                    struct err *e);
MUST_CHECK int tree_consistency_check(uint64_t old_size, uint64_t size, const struct tree_proof *p,
                                      const uint8_t old_root[HASH_BYTES], const uint8_t root[HASH_BYTES],
                                      struct err *e);

#endif
