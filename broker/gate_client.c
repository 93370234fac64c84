/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client may say, when, and who handles it: the whole truth of the native API's order.
 *
 * Side: broker. Trusts: nothing that arrives. Owns: the table.
 * Adding a row: the message in proto/msg.def, a handler in a call_*.c, docs/protocol.md.
 */
#include "broker/call.h"

const struct gate_row gate_client[] = {
	{ MSG_HELLO, GATE_IN(CLIENT_NEW), on_hello },
	{ MSG_MODEL_OPEN, GATE_IN(CLIENT_OPEN), on_model_open },
	{ MSG_INFER, GATE_IN(CLIENT_OPEN), on_infer },
	{ MSG_INSPECT, GATE_IN(CLIENT_OPEN), on_inspect },
	{ MSG_ADMIT, GATE_IN(CLIENT_OPEN), on_admit },
	{ MSG_LIST, GATE_IN(CLIENT_OPEN), on_list },
	{ MSG_STATUS, GATE_IN(CLIENT_OPEN), on_status },
	{ MSG_ATTEMPT, GATE_IN(CLIENT_OPEN), on_attempt },
};
const size_t gate_client_rows = sizeof gate_client / sizeof gate_client[0];
