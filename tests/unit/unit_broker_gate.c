/* SPDX-License-Identifier: Apache-2.0
 *
 * The gates: every cell of (message, state) for clients and workers, against a list of what is meant.
 */
#include "unit_broker_env.h"

#include "broker/gate.h"

#include <string.h>

struct cell {
	uint16_t kind;
	unsigned state;
};

static const struct cell client_may[] = {
	{ MSG_HELLO, CLIENT_NEW },
	{ MSG_MODEL_OPEN, CLIENT_OPEN },
	{ MSG_INFER, CLIENT_OPEN },
	{ MSG_INSPECT, CLIENT_OPEN },
	{ MSG_ADMIT, CLIENT_OPEN },
	{ MSG_LIST, CLIENT_OPEN },
	{ MSG_STATUS, CLIENT_OPEN },
	{ MSG_ATTEMPT, CLIENT_OPEN },
};

static const struct cell worker_may[] = {
	{ MSG_NEEDS, WORKER_LOADING },
	{ MSG_READY, WORKER_LOADING }, /* a refusal needs no plan */
	{ MSG_READY, WORKER_PLANNED },
	{ MSG_RESULT, WORKER_BUSY },
};

static bool is_in(const struct cell *list, size_t n, uint16_t kind, unsigned state)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].kind == kind && list[i].state == state)
			return true;
	return false;
}

static void walk(const struct gate_row *rows, size_t n_rows, enum role from, unsigned n_states,
                 const struct cell *may, size_t n_may)
{
	unsigned n_msgs, passed = 0;
	const struct msg_row *msgs = msg_rows(&n_msgs);
	for (unsigned m = 0; m < n_msgs; m++)
		for (unsigned s = 0; s < n_states; s++) {
			const struct gate_row *row = NULL;
			struct err e = { 0 };
			int rc = gate_find(rows, n_rows, from, s, msgs[m].kind, &row, &e);
			bool want = is_in(may, n_may, msgs[m].kind, s);
			assert_int_equal(rc, want ? ERR_OK : ERR_PROTOCOL);
			if (want) {
				assert_non_null(row->fn);
				assert_int_equal(msgs[m].from, from);
				passed++;
			} else {
				assert_non_null(strstr(e.text, msgs[m].name)); /* says what it was */
			}
		}
	assert_int_equal(passed, n_may);
}

static void test_client_cells(void **state)
{
	(void)state;
	walk(gate_client, gate_client_rows, ROLE_CLIENT, CLIENT_STATE__MAX, client_may,
	     sizeof client_may / sizeof client_may[0]);
}

static void test_worker_cells(void **state)
{
	(void)state;
	walk(gate_worker, gate_worker_rows, ROLE_WORKER, WORKER_STATE__MAX, worker_may,
	     sizeof worker_may / sizeof worker_may[0]);
}

/* Every message that the table of messages lets a client send has a handler here. */
static void test_no_message_is_forgotten(void **state)
{
	unsigned n;
	const struct msg_row *rows = msg_rows(&n), *row;
	(void)state;
	for (unsigned i = 0; i < n; i++) {
		const struct gate_row *found;
		bool handled = gate_find(gate_client, gate_client_rows, ROLE_CLIENT, CLIENT_OPEN, rows[i].kind, &found, NULL) == ERR_OK ||
		               gate_find(gate_client, gate_client_rows, ROLE_CLIENT, CLIENT_NEW, rows[i].kind, &found, NULL) == ERR_OK;
		assert_int_equal(handled, rows[i].from == ROLE_CLIENT && rows[i].to == ROLE_BROKER);
	}
	for (size_t i = 0; i < gate_worker_rows; i++) {
		row = msg_find(gate_worker[i].kind);
		assert_true(row->from == ROLE_WORKER && row->to == ROLE_BROKER);
	}
}

static void test_unknown_kind(void **state)
{
	const struct gate_row *row;
	(void)state;
	assert_int_equal(gate_find(gate_client, gate_client_rows, ROLE_CLIENT, CLIENT_OPEN, 0x7777, &row, NULL), ERR_PROTOCOL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_cells),
		cmocka_unit_test(test_worker_cells),
		cmocka_unit_test(test_no_message_is_forgotten),
		cmocka_unit_test(test_unknown_kind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
