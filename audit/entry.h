/* SPDX-License-Identifier: Apache-2.0
 *
 * One log entry: the bytes that are hashed into a leaf. A protobuf message Entry whose first four
 * fields the auditor writes; the broker's Record follows as field 5, byte for byte as it came.
 *
 * Side: auditor, cli. Trusts: nothing. Owns: the encoding (canonical: zero fields are left out).
 */
#ifndef FUMEHOOD_AUDIT_ENTRY_H
#define FUMEHOOD_AUDIT_ENTRY_H

#include "proto/err.h"
#include "proto/limits.h"

#include <stddef.h>
#include <stdint.h>

#define ENTRY_BOOT_ID_BYTES 16
/* Three numbers of at most 11 bytes with tag, the boot id, tag and length of the record. */
#define ENTRY_FRONT_MAX_BYTES (3 * 11 + 2 + ENTRY_BOOT_ID_BYTES + 6)
#define ENTRY_MAX_BYTES (ENTRY_FRONT_MAX_BYTES + LIMIT_RECORD_BYTES)

struct entry_stamp {
	uint64_t wall_ns; /* CLOCK_REALTIME: evidence only, order is by index */
	uint64_t boot_ns; /* CLOCK_BOOTTIME */
	uint8_t boot_id[ENTRY_BOOT_ID_BYTES];
};

/* Writes the entry to out (ENTRY_MAX_BYTES are enough) and returns its length. record_len is at most
 * LIMIT_RECORD_BYTES. */
size_t entry_put(uint64_t index, const struct entry_stamp *stamp, const uint8_t *record, size_t record_len,
                 uint8_t *out);

/* Checks that bytes are a well-formed Entry with this index, within proto/pb.h's limits.
 * Errors: ERR_LOG. */
MUST_CHECK int entry_check(const uint8_t *bytes, size_t len, uint64_t index, struct err *e);

#endif
