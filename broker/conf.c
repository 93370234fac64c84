/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: see conf.h. jansson reads JSON; this file knows the keys.
 *
 * Side: broker (before its wall), cli. Trusts: nothing in the file. Owns: the table below.
 * Adding a key: a field in struct conf, a row here; `fumehood config print` and the manual page's list
 * (a lint compares it) follow.
 */
#include "broker/conf.h"
#include "broker/quarantine.h"
#include "proto/limits.h"
#include "sandbox/wall/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX_BYTES 4096
#define LAYER_NAMES_MAX 64

#define AT(field) offsetof(struct conf, field)
#define PATH(f, help) { #f, CONF_PATH, "", 0, 0, 0, help, AT(f) }
#define NUMBER(f, unit, min, max, def, help) { #f, CONF_NUMBER, unit, min, max, def, help, AT(f) }

static const struct conf_row rows[] = {
	PATH(state_dir, "Folder of store, trust and log; one broker at a time holds it."),
	PATH(socket, "Unix socket that clients connect to."),
	{ "user", CONF_NAME, "", 0, 0, 0,
	  "User that a broker started as root becomes; empty: fumehood, or a fixed unused uid.", AT(user) },
	PATH(policy, "Cedar policies; empty: everything is denied in a service."),
	PATH(schema, "Cedar schema of the policies; may be empty."),
	PATH(entities, "Cedar entities as JSON: groups, static attributes of users and models; may be empty."),
	PATH(trust, "trust.note to start with: who may sign which model; empty: STATE/trust/trust.note."),
	{ "optional_layers", CONF_LAYERS, "", 0, 0, 0,
	  "Layers of the wall that may be missing on this kernel; every record then names them.",
	  AT(optional_layers) },
	NUMBER(threads, "", 0, LIMIT_THREADS, 0, "Threads of a worker; 0: as many as processors."),
	NUMBER(memory_bytes, "bytes", LIMIT_ARENA_MIN_BYTES, GIB(1024), LIMIT_ARENA_DEFAULT_BYTES,
	       "Largest memory of a worker beside the model's pages."),
	NUMBER(call_ms, "ms", 1, 86400000, LIMIT_CALL_MS, "Deadline of a call; the worker is ended then."),
	NUMBER(load_ms, "ms", 1, 86400000, LIMIT_LOAD_MS, "Deadline of loading a model."),
	NUMBER(request_max_bytes, "bytes", 4096, LIMIT_FRAME_BODY_BYTES, LIMIT_FRAME_BODY_BYTES,
	       "Largest body of one message from a client."),
	NUMBER(segment_bytes, "bytes", MIB(1), GIB(1), LIMIT_SEGMENT_DEFAULT_BYTES,
	       "Size of one segment of the log."),
	NUMBER(queue_per_model, "", 1, 65536, LIMIT_QUEUE_PER_MODEL,
	       "Calls that may wait for one worker; more are refused as busy."),
	NUMBER(clients_max, "", 1, 4096, LIMIT_CLIENTS, "Connections at the same time."),
	NUMBER(quarantine_crashes, "", 0, QUARANTINE_DEATHS, 5,
	       "Deaths of a model's workers within quarantine_window_ms after which it is not started for a while; 0: never."),
	NUMBER(quarantine_window_ms, "ms", 1, 86400000, 60000, "See quarantine_crashes."),
	NUMBER(quarantine_ms, "ms", 1, 86400000, 10000,
	       "How long a model is quarantined for the first time; twice as long each time that follows, up to an hour."),
	{ "cgroups", CONF_CHOICE, "auto|off", 0, 1, CGROUPS_AUTO,
	  "Control groups of a service's workers (shares of the processors, memory), where they can be made.", AT(cgroups) },
	{ "violation", CONF_CHOICE, "report|kill", 0, 1, VIOLATION_REPORT,
	  "A worker's refused call is reported with its arguments, then it is killed; kill: at once, without a report, where "
	  "another supervisor listens already.", AT(violation) },
	{ "isolation", CONF_CHOICE, ISOLATION_WORDS, 0, ISOLATION__MAX - 1, ISOLATION_SHARED,
	  "Who shares a worker, for calls that policy permits without saying: all callers of a model, one principal, or nobody.",
	  AT(isolation) },
};
#define N_ROWS (sizeof rows / sizeof rows[0])

const struct conf_row *conf_rows(unsigned *n)
{
	*n = N_ROWS;
	return rows;
}

static char **text_at(const struct conf *c, const struct conf_row *r)
{
	return (char **)((uintptr_t)c + r->offset);
}

static uint64_t *number_at(const struct conf *c, const struct conf_row *r)
{
	return (uint64_t *)((uintptr_t)c + r->offset);
}

static bool is_text(const struct conf_row *r) { return r->type == CONF_PATH || r->type == CONF_NAME; }

static int text_set(char **at, const char *value, struct err *e)
{
	char *copy = strdup(value);
	if (!copy)
		return err_set(e, ERR_NOMEM, "no memory for the configuration");
	free(*at);
	*at = copy;
	return ERR_OK;
}

int conf_init(struct conf *c, struct err *e)
{
	*c = (struct conf){ 0 };
	for (size_t i = 0; i < N_ROWS; i++) {
		if (rows[i].type == CONF_NUMBER || rows[i].type == CONF_CHOICE)
			*number_at(c, &rows[i]) = rows[i].def;
		else if (is_text(&rows[i]) && text_set(text_at(c, &rows[i]), "", e) != ERR_OK)
			return ERR_NOMEM;
	}
	c->optional_layers = wall_layers_shipped_optional();
	return ERR_OK;
}

void conf_clear(struct conf *c)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (is_text(&rows[i]))
			free(*text_at(c, &rows[i]));
	*c = (struct conf){ 0 };
}

/* --- reading ---------------------------------------------------------------------------------- */

static int text_read(const struct conf_row *r, const json_t *v, char **at, const char *name, struct err *e)
{
	const char *s = json_string_value(v);
	if (!s || json_string_length(v) > TEXT_MAX_BYTES || strlen(s) != json_string_length(v))
		return err_set(e, ERR_CONFIG, "%s: \"%s\" must be a string of at most %d bytes", name, r->key,
		               TEXT_MAX_BYTES);
	if (r->type == CONF_PATH && *s && *s != '/')
		return err_set(e, ERR_CONFIG, "%s: \"%s\" must be an absolute path (it begins with /)", name, r->key);
	return text_set(at, s, e);
}

static int number_read(const struct conf_row *r, const json_t *v, uint64_t *at, const char *name, struct err *e)
{
	json_int_t n = json_integer_value(v);
	if (!json_is_integer(v) || n < 0 || (uint64_t)n < r->min || (uint64_t)n > r->max)
		return err_set(e, ERR_CONFIG, "%s: \"%s\" must be a whole number from %" PRIu64 " to %" PRIu64 "%s%s",
		               name, r->key, r->min, r->max, *r->unit ? " " : "", r->unit);
	*at = (uint64_t)n;
	return ERR_OK;
}

/* The words of a choice, "report|kill": the value is the word's place. */
static int choice_read(const struct conf_row *r, const json_t *v, uint64_t *at, const char *name, struct err *e)
{
	const char *s = json_string_value(v), *word = r->unit;
	for (uint64_t i = 0; s && *word; i++) {
		size_t n = strcspn(word, "|");
		if (strlen(s) == n && !memcmp(s, word, n)) {
			*at = i;
			return ERR_OK;
		}
		word += n + (word[n] == '|');
	}
	return err_set(e, ERR_CONFIG, "%s: \"%s\" must be one of the words %s", name, r->key, r->unit);
}

static json_t *choice_json(const struct conf_row *r, uint64_t value)
{
	const char *word = r->unit;
	while (value--)
		word += strcspn(word, "|") + 1;
	return json_stringn(word, strcspn(word, "|"));
}

static int layer_read(const json_t *v, uint64_t *mask, const char *name, struct err *e)
{
	char shown[80];
	const char *s = json_string_value(v);
	uint64_t bit = s ? layer_from_name(s) : 0;
	err_escape(shown, sizeof shown, s ? s : "", s ? strlen(s) : 0);
	if (!bit)
		return err_set(e, ERR_CONFIG, "%s: \"optional_layers\" names \"%s\", which is no layer of the wall: "
		               "fumehood doctor lists them", name, shown);
	if (!(bit & wall_layers_may_be_optional()))
		return err_set(e, ERR_CONFIG, "%s: the layer \"%s\" can never be optional: take it out of "
		               "\"optional_layers\"", name, shown);
	if (*mask & bit)
		return err_set(e, ERR_CONFIG, "%s: \"optional_layers\" names \"%s\" twice", name, shown);
	*mask |= bit;
	return ERR_OK;
}

static int layers_read(const struct conf_row *r, const json_t *v, uint64_t *at, const char *name, struct err *e)
{
	uint64_t mask = 0;
	if (!json_is_array(v) || json_array_size(v) > LAYER_NAMES_MAX)
		return err_set(e, ERR_CONFIG, "%s: \"%s\" must be a list of layer names", name, r->key);
	for (size_t i = 0; i < json_array_size(v); i++) {
		int rc = layer_read(json_array_get(v, i), &mask, name, e);
		if (rc != ERR_OK)
			return rc;
	}
	*at = mask;
	return ERR_OK;
}

static const struct conf_row *row_find(const char *key)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (!strcmp(rows[i].key, key))
			return &rows[i];
	return NULL;
}

static int key_read(struct conf *c, const char *key, const json_t *v, const char *name, struct err *e)
{
	const struct conf_row *r = row_find(key);
	char shown[80];
	if (!r)
		return err_set(e, ERR_CONFIG, "%s: unknown key \"%s\": fumehood config print shows all keys", name,
		               err_escape(shown, sizeof shown, key, strlen(key)));
	if (r->type == CONF_NUMBER)
		return number_read(r, v, number_at(c, r), name, e);
	if (r->type == CONF_CHOICE)
		return choice_read(r, v, number_at(c, r), name, e);
	if (r->type == CONF_LAYERS)
		return layers_read(r, v, number_at(c, r), name, e);
	return text_read(r, v, text_at(c, r), name, e);
}

int conf_parse(struct conf *c, const char *text, size_t len, const char *name, struct err *e)
{
	json_error_t je;
	char why[120];
	const char *key;
	json_t *v, *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	int rc = ERR_OK;
	if (!root)
		return err_set(e, ERR_CONFIG, "%s:%d:%d: %s", name, je.line, je.column,
		               err_escape(why, sizeof why, je.text, strlen(je.text)));
	if (!json_is_object(root))
		rc = err_set(e, ERR_CONFIG, "%s: a configuration is one JSON object", name);
	else
		json_object_foreach(root, key, v)
			if ((rc = key_read(c, key, v, name, e)) != ERR_OK)
				break;
	json_decref(root);
	return rc;
}

static int whole_read(int fd, char *buf, size_t cap, size_t *len, const char *path, struct err *e)
{
	for (*len = 0; *len < cap;) {
		ssize_t n = read(fd, buf + *len, cap - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
		if (n == 0)
			return ERR_OK;
		*len += (size_t)n;
	}
	return err_set(e, ERR_CONFIG, "%s: larger than the limit of %u bytes", path, CONF_FILE_MAX_BYTES);
}

int conf_load(struct conf *c, const char *path, struct err *e)
{
	char shown[200];
	size_t len;
	int rc = ERR_OK, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *buf = malloc(CONF_FILE_MAX_BYTES + 1);
	err_escape(shown, sizeof shown, path, strlen(path));
	if (fd < 0)
		rc = err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", shown, strerror(errno));
	else if (!buf)
		rc = err_set(e, ERR_NOMEM, "no memory for the configuration");
	if (rc == ERR_OK)
		rc = whole_read(fd, buf, CONF_FILE_MAX_BYTES + 1, &len, shown, e);
	if (rc == ERR_OK)
		rc = conf_parse(c, buf, len, shown, e);
	free(buf);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* --- paths ------------------------------------------------------------------------------------ */

static int joined(char **out, const char *a, const char *b, struct err *e)
{
	size_t n = strlen(a) + strlen(b) + 1;
	*out = malloc(n);
	if (!*out)
		return err_set(e, ERR_NOMEM, "no memory for a path");
	snprintf(*out, n, "%s%s", a, b);
	return ERR_OK;
}

int conf_default_state_dir(char **out, struct err *e)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (geteuid() == 0)
		return joined(out, "/var/lib/fumehood", "", e);
	if (state && *state == '/')
		return joined(out, state, "/fumehood", e);
	if (home && *home == '/')
		return joined(out, home, "/.local/state/fumehood", e);
	return err_set(e, ERR_CONFIG, "neither XDG_STATE_HOME nor HOME is an absolute path: set HOME, or name "
	               "state_dir in the configuration");
}

int conf_default_socket(char **out, struct err *e)
{
	char *dir;
	if (geteuid() == 0)
		return joined(out, "/run/fumehood/broker.sock", "", e);
	int rc = conf_default_state_dir(&dir, e);
	if (rc != ERR_OK)
		return rc;
	rc = joined(out, dir, "/broker.sock", e);
	free(dir);
	return rc;
}

int conf_paths(struct conf *c, struct err *e)
{
	char *made;
	int rc = ERR_OK;
	if (!*c->socket) {
		rc = *c->state_dir ? joined(&made, c->state_dir, "/broker.sock", e) : conf_default_socket(&made, e);
		if (rc != ERR_OK)
			return rc;
		free(c->socket);
		c->socket = made;
	}
	if (!*c->state_dir) {
		rc = conf_default_state_dir(&made, e);
		if (rc != ERR_OK)
			return rc;
		free(c->state_dir);
		c->state_dir = made;
	}
	return rc;
}

/* --- printing --------------------------------------------------------------------------------- */

static json_t *layers_json(uint64_t mask)
{
	json_t *list = json_array();
	for (unsigned i = 0; list && i < LAYER__MAX; i++)
		if (mask >> i & 1)
			json_array_append_new(list, json_string(layer_rows[i].name));
	return list;
}

static json_t *value_json(const struct conf *c, const struct conf_row *r)
{
	if (r->type == CONF_LAYERS)
		return layers_json(*number_at(c, r));
	if (r->type == CONF_CHOICE)
		return choice_json(r, *number_at(c, r));
	if (r->type == CONF_NUMBER)
		return json_integer((json_int_t)*number_at(c, r));
	return json_string(*text_at(c, r));
}

int conf_print(const struct conf *c, char **out, struct err *e)
{
	json_t *root = json_object();
	int bad = !root;
	for (size_t i = 0; i < N_ROWS && !bad; i++)
		bad = json_object_set_new(root, rows[i].key, value_json(c, &rows[i])) != 0;
	*out = bad ? NULL : json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	return *out ? ERR_OK : err_set(e, ERR_NOMEM, "no memory to print the configuration");
}
