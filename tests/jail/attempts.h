/* SPDX-License-Identifier: Apache-2.0
 *
 * The blob that the attack program gets in place of a model: one attempt. Made by jail_run.
 * Side: tests. Trusts: nothing. Owns: the format.
 *
 *   offset size
 *        0    8  magic "ATTEMPT1"
 *        8    4  kind (enum attempt_kind)
 *       12    4  abi (enum attempt_abi)
 *       16    8  system call number
 *       24   48  six arguments
 *       72    8  per argument a byte: 0 the number itself, 1 pointer to that many zero bytes,
 *                2 pointer to the text at that offset of the blob
 *       80    -  texts, NUL ended
 */
#ifndef FUMEHOOD_TESTS_ATTEMPTS_H
#define FUMEHOOD_TESTS_ATTEMPTS_H

#include <stdint.h>

enum attempt_kind { ATTEMPT_CALL, ATTEMPT_NAMED };
enum attempt_abi { ABI_NATIVE, ABI_X32, ABI_I386 };
enum attempt_arg { ARG_NUMBER, ARG_ZEROS, ARG_TEXT };

struct attempt {
	char magic[8];
	uint32_t kind, abi;
	int64_t nr;
	int64_t args[6];
	uint8_t arg_kinds[8];
};
_Static_assert(sizeof(struct attempt) == 80, "attempt");

#define ATTEMPT_MAGIC "ATTEMPT1"
#define ATTEMPT_BLOB_BYTES 4096

/* What the attack program answers on the channel if it still lives: one of these, little-endian. */
struct attempt_result {
	char magic[8]; /* "RETURNED" */
	int64_t ret;
};
#define ATTEMPT_RETURNED "RETURNED"

#endif
