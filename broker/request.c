/* SPDX-License-Identifier: Apache-2.0
 *
 * The request's table: see request.h. Each cell is {next state, effects}; a cell that is not written is
 * a bug of the broker.
 *
 * Side: broker. Trusts: nothing. Owns: the table.
 */
#include "broker/request.h"

struct cell {
	uint8_t next; /* enum request_state */
	uint16_t effects;
};

#define GO(state, effects) { REQUEST_##state, (effects) }
#define LOG_ERROR (REQUEST_DO_SEND_LOG_ERROR | REQUEST_DO_FREE)

static const struct cell cells[REQUEST_STATE__MAX][REQUEST_EVENT__MAX] = {
	[REQUEST_NEW] = {
		[REQUEST_ALLOWED] = GO(WAITING, REQUEST_DO_INTENT | REQUEST_DO_BEGIN),
		[REQUEST_REFUSED] = GO(STORING_ERROR, REQUEST_DO_RECORD_ERROR),
		[REQUEST_GONE] = GO(NEW, REQUEST_DO_MUTE),
		[REQUEST_LOG_FAILED] = GO(DONE, LOG_ERROR),
	},
	[REQUEST_WAITING] = {
		[REQUEST_STARTED] = GO(RUNNING, REQUEST_DO_NOTHING),
		[REQUEST_SUCCEEDED] = GO(STORING_ANSWER, REQUEST_DO_RECORD_ANSWER),
		[REQUEST_FAILED] = GO(STORING_ERROR, REQUEST_DO_WITHDRAW | REQUEST_DO_RECORD_ERROR),
		[REQUEST_GONE] = GO(STORING_ERROR, REQUEST_DO_WITHDRAW | REQUEST_DO_RECORD_ERROR | REQUEST_DO_MUTE),
		[REQUEST_LOG_FAILED] = GO(DONE, REQUEST_DO_WITHDRAW | LOG_ERROR),
	},
	[REQUEST_RUNNING] = {
		[REQUEST_SUCCEEDED] = GO(STORING_ANSWER, REQUEST_DO_RECORD_ANSWER),
		[REQUEST_FAILED] = GO(STORING_ERROR, REQUEST_DO_ABANDON | REQUEST_DO_RECORD_ERROR),
		[REQUEST_GONE] = GO(STORING_ERROR, REQUEST_DO_ABANDON | REQUEST_DO_RECORD_ERROR | REQUEST_DO_MUTE),
		[REQUEST_LOG_FAILED] = GO(DONE, REQUEST_DO_ABANDON | LOG_ERROR),
	},
	[REQUEST_STORING_ANSWER] = {
		[REQUEST_STORED] = GO(DONE, REQUEST_DO_SEND_ANSWER | REQUEST_DO_FREE),
		[REQUEST_GONE] = GO(STORING_ANSWER, REQUEST_DO_MUTE),
		[REQUEST_LOG_FAILED] = GO(DONE, LOG_ERROR),
	},
	[REQUEST_STORING_ERROR] = {
		[REQUEST_STORED] = GO(DONE, REQUEST_DO_SEND_ERROR | REQUEST_DO_FREE),
		[REQUEST_GONE] = GO(STORING_ERROR, REQUEST_DO_MUTE),
		[REQUEST_FAILED] = GO(STORING_ERROR, REQUEST_DO_NOTHING), /* its worker ended meanwhile */
		[REQUEST_LOG_FAILED] = GO(DONE, LOG_ERROR),
	},
	[REQUEST_DONE] = {
		[REQUEST_GONE] = GO(DONE, REQUEST_DO_MUTE), /* it left while its answer was being sent */
	},
};

unsigned request_step(enum request_state *state, enum request_event event)
{
	const struct cell *c = &cells[*state][event];
	if (c->effects == 0)
		return REQUEST_DO_BUG;
	*state = (enum request_state)c->next;
	return c->effects;
}

const char *request_state_name(enum request_state s)
{
	static const char *const names[REQUEST_STATE__MAX] = {
		[REQUEST_NEW] = "new", [REQUEST_WAITING] = "waiting", [REQUEST_RUNNING] = "running",
		[REQUEST_STORING_ANSWER] = "storing-answer", [REQUEST_STORING_ERROR] = "storing-error",
		[REQUEST_DONE] = "done",
	};
	return s < REQUEST_STATE__MAX ? names[s] : "?";
}
