/* SPDX-License-Identifier: Apache-2.0
 *
 * What the attack program says to the broker when it stands in the worker's place under the worker's name: lies of
 * the protocol, each by name ("peer-turn"). Side: inside, as the attacker. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_TESTS_PEER_H
#define FUMEHOOD_TESTS_PEER_H

#include <stdbool.h>

/* Plays the peer of that name until the end; false when there is none. The first byte of LOAD was read already. */
bool peer_play(const char *name);

#endif
