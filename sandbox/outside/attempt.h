/* SPDX-License-Identifier: Apache-2.0
 *
 * What the attack program (fumehood-attack) is told to try when it stands in the worker's place: its
 * "model" is one attempt. It locks itself as a worker does, says LOCKED, waits for one byte
 * (ATTEMPT_GO) on the channel, makes the attempt (ATTEMPT_EARLY: made before the lock), and if it still
 * lives writes struct attempt_result and ends with exit code 0.
 *
 *   offset size
 *        0    8  magic "ATTEMPT1"
 *        8    4  kind (enum attempt_kind)
 *       12    4  abi (enum attempt_abi)
 *       16    8  system call number
 *       24   48  six arguments
 *       72    8  per argument a byte (enum attempt_arg)
 *       80    -  texts, NUL ended; of ATTEMPT_NAMED the name comes first
 *
 * Side: broker (demo, doctor), tests. Trusts: nothing. Owns: the format, the short list of attempts.
 */
#ifndef FUMEHOOD_SANDBOX_ATTEMPT_H
#define FUMEHOOD_SANDBOX_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

enum attempt_kind { ATTEMPT_CALL, ATTEMPT_NAMED, ATTEMPT_EARLY /* a call, before the lock */ };
enum attempt_abi { ABI_NATIVE, ABI_X32, ABI_I386 };
enum attempt_arg {
	ARG_NUMBER, /* the number itself */
	ARG_ZEROS,  /* a pointer to that many zero bytes */
	ARG_TEXT    /* a pointer to the text at that offset of the blob */
};

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
#define ATTEMPT_GO "g"

struct attempt_result {
	char magic[8]; /* ATTEMPT_RETURNED */
	int64_t ret;
};
#define ATTEMPT_RETURNED "RETURNED"

/* The attempts that demo and doctor know by name. */
struct attempt_known {
	const char *name; /* "open" */
	const char *text; /* "open the file /etc/passwd" */
};
const struct attempt_known *attempt_list(unsigned *n);

/* Fills the blob (the bytes of the memfd that takes the model's place). False: no such name. */
bool attempt_blob(const char *name, uint8_t blob[ATTEMPT_BLOB_BYTES]);

#endif
