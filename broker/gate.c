/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate's check: see gate.h. The tables stand in gate_client.c and gate_worker.c.
 *
 * Side: broker. Trusts: nothing that arrives. Owns: nothing.
 */
#include "broker/gate.h"

int gate_find(const struct gate_row *rows, size_t n_rows, enum role from, unsigned state, uint16_t kind,
              const struct gate_row **out, struct err *e)
{
	for (size_t i = 0; i < n_rows; i++) {
		if (rows[i].kind != kind)
			continue;
		if (!(rows[i].states & GATE_IN(state)))
			return err_set(e, ERR_PROTOCOL, "the %s sent %s out of turn", role_name(from), msg_name(kind));
		*out = &rows[i];
		return ERR_OK;
	}
	return err_set(e, ERR_PROTOCOL, "the %s sent %s (0x%04x), which nobody here handles", role_name(from),
	               msg_name(kind), kind);
}

int gate_pass(const struct gate_row *rows, size_t n_rows, enum role from, unsigned state, void *peer,
              struct frame *f, struct err *e)
{
	const struct gate_row *row;
	int rc = gate_find(rows, n_rows, from, state, f->header.kind, &row, e);
	return rc != ERR_OK ? rc : row->fn(peer, f, e);
}
