/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's start as a list of steps, in an order that is forced: the jailer before any configuration
 * is read, whatever needs root before the service user, everything that opens before the wall.
 *
 * Side: broker. Trusts: the command line and the configuration. Owns: nothing beyond struct broker.
 */
#ifndef FUMEHOOD_BROKER_START_H
#define FUMEHOOD_BROKER_START_H

#include "broker/broker.h"

struct start_options {
	const char *config;      /* --config, or NULL */
	const char *state_dir;   /* --state-dir, or NULL */
	const char *user;        /* --user, or NULL */
	bool is_private;
	int ready_fd;            /* -1: nobody waits */
	unsigned threads;        /* --threads-default; 0: not given */
	uint64_t segment_bytes;  /* --segment-bytes; 0: not given */
};

/* Reads the command line. Errors: ERR_USAGE. */
MUST_CHECK int start_options_read(int argc, char **argv, struct start_options *o, struct err *e);

/* Takes all steps; b is zeroed before. On an error b holds what had been made: start_clear. */
MUST_CHECK int start_all(struct broker *b, const struct start_options *o, struct err *e);

/* Releases everything, in the order that ends workers before their jailer. */
void start_clear(struct broker *b);

#endif
