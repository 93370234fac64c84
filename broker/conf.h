/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: one table of keys that loads, prints, checks and documents it. The file is JSON;
 * unknown keys, a key twice, a wrong type or a number out of its range are errors. What is printed can
 * be loaded again and gives the same configuration.
 *
 * Side: broker, cli. Trusts: the operator's intent, not the operator's typing. Owns: the keys.
 */
#ifndef FUMEHOOD_BROKER_CONF_H
#define FUMEHOOD_BROKER_CONF_H

#include "broker/isolation.h"
#include "proto/err.h"

#include <stdint.h>

#define CONF_FILE_MAX_BYTES (64u << 10)

/* Strings are malloc'ed and never NULL: an unset one is "". */
struct conf {
	char *state_dir;
	char *socket;
	char *user;
	char *policy, *schema, *entities, *trust;
	uint64_t optional_layers;   /* bits of sandbox/wall/layers.h */
	uint64_t threads;           /* 0: as many as there are processors */
	uint64_t memory_bytes;
	uint64_t call_ms, load_ms;
	uint64_t request_max_bytes;
	uint64_t segment_bytes;
	uint64_t queue_per_model;
	uint64_t clients_max;
	uint64_t violation;         /* enum conf_violation */
	uint64_t cgroups;           /* enum conf_cgroups */
	uint64_t quarantine_crashes, quarantine_window_ms, quarantine_ms;
	uint64_t isolation;         /* enum isolation: of permits that do not say */
};

enum conf_violation { VIOLATION_REPORT, VIOLATION_KILL };
enum conf_cgroups { CGROUPS_AUTO, CGROUPS_OFF };

enum conf_type { CONF_PATH, CONF_NAME, CONF_LAYERS, CONF_NUMBER, CONF_CHOICE };

/* One key, for documents and for doctor. */
struct conf_row {
	const char *key;
	enum conf_type type;
	const char *unit;           /* "bytes", "ms", ""; CONF_CHOICE: its words, "first|second" */
	uint64_t min, max, def;     /* CONF_NUMBER */
	const char *help;           /* one sentence */
	size_t offset;              /* in struct conf */
};
const struct conf_row *conf_rows(unsigned *n);

/* Defaults. c is uninitialised memory before. Paths that depend on the caller stay "". */
MUST_CHECK int conf_init(struct conf *c, struct err *e);
void conf_clear(struct conf *c);

/* Reads text (a whole JSON object) over what c holds; name is for messages. Errors: ERR_CONFIG, ERR_NOMEM. */
MUST_CHECK int conf_parse(struct conf *c, const char *text, size_t len, const char *name, struct err *e);
/* The same from a file of at most CONF_FILE_MAX_BYTES. Errors also: ERR_NOT_FOUND, ERR_IO. */
MUST_CHECK int conf_load(struct conf *c, const char *path, struct err *e);

/* Sets state_dir and socket where they are "" to what the running user has: as root
 * /var/lib/fumehood and /run/fumehood/broker.sock; as a user $XDG_STATE_HOME/fumehood or
 * ~/.local/state/fumehood, and broker.sock in it. A configured state_dir without a socket has its
 * socket inside. Errors: ERR_CONFIG (no home), ERR_NOMEM. */
MUST_CHECK int conf_paths(struct conf *c, struct err *e);

/* The whole configuration as JSON text, malloc'ed, with all keys in the table's order. */
MUST_CHECK int conf_print(const struct conf *c, char **out, struct err *e);

/* The default state directory and socket of the running user, for the command. malloc'ed. */
MUST_CHECK int conf_default_state_dir(char **out, struct err *e);
MUST_CHECK int conf_default_socket(char **out, struct err *e);

#endif
