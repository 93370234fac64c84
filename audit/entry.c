/* SPDX-License-Identifier: Apache-2.0
 *
 * Log entries: see entry.h.
 * Side: auditor, cli. Trusts: nothing. Owns: nothing.
 */
#include "audit/entry.h"

#include "proto/fumehood.pb-c.h"
#include "proto/mem.h"
#include "proto/pb.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

static size_t varint_put(uint64_t v, uint8_t *out)
{
	size_t n = 0;
	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

static size_t number_put(unsigned field, uint64_t v, uint8_t *out)
{
	if (v == 0)
		return 0;
	out[0] = (uint8_t)(field << 3 | WIRE_VARINT);
	return 1 + varint_put(v, out + 1);
}

static size_t bytes_put(unsigned field, const uint8_t *p, size_t len, uint8_t *out)
{
	out[0] = (uint8_t)(field << 3 | WIRE_BYTES);
	size_t n = 1 + varint_put(len, out + 1);
	if (len)
		memcpy(out + n, p, len);
	return n + len;
}

size_t entry_put(uint64_t index, const struct entry_stamp *stamp, const uint8_t *record, size_t record_len,
                 uint8_t *out)
{
	size_t n = number_put(1, index, out);
	n += number_put(2, stamp->wall_ns, out + n);
	n += number_put(3, stamp->boot_ns, out + n);
	n += bytes_put(4, stamp->boot_id, ENTRY_BOOT_ID_BYTES, out + n);
	return n + bytes_put(5, record, record_len, out + n);
}

/* Reads the index without unpacking: field 1 comes first or is absent (zero). The wire is checked. */
static uint64_t index_get(const uint8_t *bytes, size_t len)
{
	uint64_t v = 0;
	if (len == 0 || bytes[0] != (1u << 3 | WIRE_VARINT))
		return 0;
	for (size_t i = 1; i < len && i <= 10; i++) {
		v |= (uint64_t)(bytes[i] & 0x7f) << (7 * (i - 1));
		if (!(bytes[i] & 0x80))
			break;
	}
	return v;
}

int entry_check(const uint8_t *bytes, size_t len, uint64_t index, struct err *e)
{
	if (pb_check(&fumehood__entry__descriptor, bytes, len, e) != ERR_OK)
		return err_set(e, ERR_LOG, "entry %llu is not a well-formed Entry", (unsigned long long)index);
	uint64_t says = index_get(bytes, len);
	if (says != index)
		return err_set(e, ERR_LOG, "entry %llu says that it is entry %llu", (unsigned long long)index,
		               (unsigned long long)says);
	return ERR_OK;
}
