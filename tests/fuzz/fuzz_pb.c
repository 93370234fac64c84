/* SPDX-License-Identifier: Apache-2.0
 *
 * Under test: pb_check and pb_unpack for every message that crosses a boundary. What pb_check
 * accepts protobuf-c must unpack, within bounded memory.
 */
#include "proto/fumehood.pb-c.h"
#include "proto/pb.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&fumehood__infer__descriptor, &fumehood__model_info__descriptor, &fumehood__outputs__descriptor,
		&fumehood__record__descriptor, &fumehood__entry__descriptor, &fumehood__append__descriptor,
		&fumehood__stored__descriptor, &fumehood__models__descriptor, &fumehood__answer__descriptor,
	};
	if (size < 1)
		return 0;
	const ProtobufCMessageDescriptor *t = types[data[0] % (sizeof types / sizeof types[0])];
	void *out;
	struct err e;
	if (pb_check(t, data + 1, size - 1, &e) != ERR_OK)
		return 0;
	if (pb_unpack(t, data + 1, size - 1, NULL, &out, &e) != ERR_OK)
		abort();
	protobuf_c_message_free_unpacked(out, NULL);
	return 0;
}
