/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's start: see start.h. The list is at the end.
 *
 * Side: broker. Trusts: the command line and the configuration. Owns: nothing beyond struct broker.
 */
#include "broker/start.h"
#include "broker/helper.h"
#include "broker/record.h"
#include "proto/limits.h"
#include "sandbox/wall/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_OPEN_MS 600000       /* recovery reads the whole log */
#define LOG_LOCK_MS 20000        /* an auditor whose broker was killed publishes first */
#define NOFILE_MAX 8192
#define AUDITOR_USER "fumehood-audit"
#define BROKER_USER "fumehood"

/* --- command line ------------------------------------------------------------------------------------- */

static int number(const char *text, uint64_t max, uint64_t *out, struct err *e)
{
	if (note_decimal(text, strlen(text), out) && *out <= max)
		return ERR_OK;
	return err_set(e, ERR_USAGE, "\"%.60s\" must be a number of at most %" PRIu64, text, max);
}

static int option(int c, struct start_options *o, struct err *e)
{
	uint64_t n = 0;
	int rc = ERR_OK;
	if (c == 'c')
		o->config = optarg;
	else if (c == 'd')
		o->state_dir = optarg;
	else if (c == 'u')
		o->user = optarg;
	else if (c == 'p')
		o->is_private = true;
	else if (c == 'r' && (rc = number(optarg, 1u << 20, &n, e)) == ERR_OK)
		o->ready_fd = (int)n;
	else if (c == 't' && (rc = number(optarg, LIMIT_THREADS, &n, e)) == ERR_OK)
		o->threads = (unsigned)n;
	else if (c == 's' && (rc = number(optarg, GIB(1), &n, e)) == ERR_OK)
		o->segment_bytes = n;
	else if (c == '?')
		rc = err_set(e, ERR_USAGE, "fumehood-broker: unknown option, or one without its value");
	return rc;
}

int start_options_read(int argc, char **argv, struct start_options *o, struct err *e)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },     { "state-dir", required_argument, NULL, 'd' },
		{ "user", required_argument, NULL, 'u' },       { "private", no_argument, NULL, 'p' },
		{ "ready-fd", required_argument, NULL, 'r' },   { "threads-default", required_argument, NULL, 't' },
		{ "segment-bytes", required_argument, NULL, 's' }, { NULL, 0, NULL, 0 },
	};
	int c, rc = ERR_OK;
	*o = (struct start_options){ .ready_fd = -1 };
	opterr = 0;
	while (rc == ERR_OK && (c = getopt_long(argc, argv, "", names, NULL)) != -1)
		rc = option(c, o, e);
	if (rc == ERR_OK && optind < argc)
		rc = err_set(e, ERR_USAGE, "fumehood-broker: unexpected \"%.60s\"", argv[optind]);
	if (rc == ERR_OK && o->is_private && (o->config || !o->state_dir || *o->state_dir != '/'))
		rc = err_set(e, ERR_USAGE, "fumehood-broker: --private needs an absolute --state-dir and no --config");
	if (rc == ERR_OK && !o->is_private && !o->config)
		rc = err_set(e, ERR_USAGE, "usage: fumehood-broker --config FILE | --private --state-dir DIR");
	return rc;
}

/* --- who we will be -------------------------------------------------------------------------------------- */

static void ids_of(const char *name, uint32_t fallback, uid_t *uid, gid_t *gid)
{
	const struct passwd *p = getpwnam(name);
	*uid = p && p->pw_uid ? p->pw_uid : fallback;
	*gid = p && p->pw_uid ? p->pw_gid : fallback;
}

static int step_ids(struct broker *b, const struct start_options *o, struct err *e)
{
	struct place_ids *i = &b->ids;
	b->owner_uid = getuid();
	*i = (struct place_ids){ geteuid(), getegid(), geteuid(), getegid() };
	if (geteuid() != 0)
		return ERR_OK;
	if (o->user && !getpwnam(o->user))
		return err_set(e, ERR_CONFIG, "there is no user \"%.60s\": make one, or leave --user out", o->user);
	ids_of(o->user ? o->user : BROKER_USER, UID_BROKER_FALLBACK, &i->uid, &i->gid);
	ids_of(AUDITOR_USER, UID_AUDITOR_FALLBACK, &i->log_uid, &i->log_gid);
	return ERR_OK;
}

/* --- programs --------------------------------------------------------------------------------------------- */

/* First of all: the jailer must not inherit what comes later, and must run as the user we become. */
static int step_jailer(struct broker *b, const struct start_options *o, struct err *e)
{
	int fd = -1, rc = helper_open("fumehood-jailer", &fd, NULL, e);
	const struct jail_conf c = { .program_fd = fd, .rootless = geteuid() != 0, .uid = b->ids.uid, .gid = b->ids.gid };
	(void)o;
	if (rc == ERR_OK)
		rc = jailer_start(&c, &b->jail, e);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int program_digest(struct program *p, struct err *e)
{
	uint8_t buf[65536], raw[HASH_BYTES];
	struct hash *h = hash_new();
	if (!h)
		return err_set(e, ERR_NOMEM, "no memory for a digest");
	for (uint64_t at = 0; at < p->bytes;) {
		ssize_t n = pread(p->fd, buf, sizeof buf, (off_t)at);
		if (n <= 0) {
			hash_free(h);
			return err_set(e, ERR_IO, "reading a program: %s", n < 0 ? strerror(errno) : "cut");
		}
		hash_add(h, buf, (size_t)n);
		at += (uint64_t)n;
	}
	hash_end(h, raw);
	hash_hex(raw, p->sha256);
	hash_free(h);
	return ERR_OK;
}

static int program_load(const char *name, struct program *p, struct err *e)
{
	int fd = -1, rc = helper_open(name, &fd, NULL, e);
	p->fd = -1;
	if (rc == ERR_OK)
		rc = memfd_program(fd, &p->fd, &p->bytes, e);
	if (fd >= 0)
		close(fd);
	return rc == ERR_OK ? program_digest(p, e) : rc;
}

static int step_programs(struct broker *b, const struct start_options *o, struct err *e)
{
	struct err absent;
	(void)o;
	if (program_load("fumehood-attack", &b->attack, &absent) != ERR_OK)
		b->attack.fd = -1; /* an installation may leave it out; ATTEMPT then says so */
	int rc = program_load("fumehood-worker", &b->worker, e);
	return rc == ERR_OK ? jailer_template(b->jail, b->worker.fd, e) : rc;
}

/* --- configuration ------------------------------------------------------------------------------------------ */

static int conf_private(struct conf *c, const struct start_options *o, struct err *e)
{
	c->segment_bytes = LIMIT_SEGMENT_SMALL_BYTES;
	free(c->state_dir);
	c->state_dir = strdup(o->state_dir);
	return c->state_dir ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for a path");
}

static uint64_t processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
	return n < 1 ? 1 : n > LIMIT_THREADS ? LIMIT_THREADS : (uint64_t)n;
}

static int check_user(const struct broker *b, struct err *e)
{
	const struct passwd *p = *b->conf.user ? getpwnam(b->conf.user) : NULL;
	if (!*b->conf.user || geteuid() != 0)
		return ERR_OK;
	if (p && p->pw_uid == b->ids.uid)
		return ERR_OK;
	return err_set(e, ERR_CONFIG, "the configuration's \"user\" is %.60s: start the broker with --user %.60s (the "
	               "jailer starts before the configuration is read)", b->conf.user, b->conf.user);
}

static int step_conf(struct broker *b, const struct start_options *o, struct err *e)
{
	struct conf *c = &b->conf;
	int rc = conf_init(c, e);
	b->is_private = o->is_private;
	if (rc == ERR_OK)
		rc = o->is_private ? conf_private(c, o, e) : conf_load(c, o->config, e);
	if (rc == ERR_OK)
		rc = conf_paths(c, e);
	if (rc == ERR_OK)
		rc = check_user(b, e);
	if (o->threads)
		c->threads = o->threads;
	if (o->segment_bytes)
		c->segment_bytes = o->segment_bytes;
	if (rc == ERR_OK && !c->threads)
		c->threads = processors();
	return rc == ERR_NOT_FOUND ? err_set(e, ERR_CONFIG, "%.300s: there is no such configuration", o->config) : rc;
}

/* --- places, log ---------------------------------------------------------------------------------------------- */

/* Root takes on the service user for a while: whoever may limit a worker is decided by the user. */
static int as_user(uid_t uid, gid_t gid, struct err *e)
{
	if (getuid() != 0)
		return ERR_OK;
	bool back = uid == 0;
	if ((back && seteuid(uid) < 0) || setegid(gid) < 0 || (!back && seteuid(uid) < 0))
		return err_set(e, ERR_IO, "becoming user %u for a while: %s", (unsigned)uid, strerror(errno));
	return ERR_OK;
}

/* Does the wall stand on this machine? Before anything is made on disk. */
static int step_trial(struct broker *b, const struct start_options *o, struct err *e)
{
	struct err later;
	(void)o;
	b->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->proc_fd < 0)
		return err_set(e, ERR_IO, "/proc: %s", strerror(errno));
	const struct pool_conf c = { .jail = b->jail, .proc_fd = b->proc_fd, .program_fd = b->worker.fd,
	                             .optional_layers = b->conf.optional_layers,
	                             .violation_kill = b->conf.violation == VIOLATION_KILL,
	                             .threads = (unsigned)b->conf.threads };
	int rc = as_user(b->ids.uid, b->ids.gid, e);
	if (rc != ERR_OK)
		return rc;
	rc = pool_trial(&c, &b->wall, e);
	if (as_user(0, 0, &later) != ERR_OK && rc == ERR_OK) {
		*e = later;
		rc = later.code;
	}
	return rc;
}

static int step_place(struct broker *b, const struct start_options *o, struct err *e)
{
	(void)o;
	return place_open(b->conf.state_dir, &b->ids, &b->place, e);
}

static int key_make(int dirfd, const char *name, struct err *e)
{
	char vkey[NOTE_VKEY_MAX_BYTES];
	return audit_key_create(dirfd, name, NULL, vkey, e);
}

static void on_log_failed(void *arg, const struct err *e)
{
	broker_fail(arg, e);
}

static int step_log(struct broker *b, const struct start_options *o, struct err *e)
{
	char path[HELPER_PATH_MAX_BYTES];
	int fd = -1, channel = -1;
	pid_t pid;
	(void)o;
	int rc = place_log_lock(&b->place, LOG_LOCK_MS, e);
	if (rc == ERR_OK)
		rc = place_key(&b->place, key_make, e);
	if (rc == ERR_OK)
		rc = helper_open("fumehood-auditor", &fd, path, e);
	bool is_root = geteuid() == 0;
	const struct audit_spawn spawn = {
		.program = path, .log_dirfd = b->place.log_fd, .state_dirfd = b->place.log_state_fd,
		.key_fd = b->place.key_fd, .segment_bytes = b->conf.segment_bytes,
		.optional_layers = b->conf.optional_layers,
		.uid = is_root ? b->ids.log_uid : 0, .gid = is_root ? b->ids.log_gid : 0,
	};
	if (rc == ERR_OK)
		rc = audit_start(&spawn, &channel, &pid, e);
	if (fd >= 0)
		close(fd);
	place_forget_log(&b->place);
	if (rc != ERR_OK)
		return rc;
	const struct log_conf c = { b->loop, channel, b, on_log_failed };
	rc = log_open(&c, LOG_OPEN_MS, &b->log, e);
	if (rc == ERR_OK)
		note_vkey_format(&log_opened(b->log)->key, b->log_vkey);
	return rc;
}

/* What all clients' requests and answers together may take: half of the memory that is there now, but two
 * of the largest requests in any case. */
static uint64_t bodies_budget(const struct broker *b)
{
	uint64_t half = models_memory_available(b->proc_fd) / 2, least = 2 * b->conf.request_max_bytes;
	return half > least ? half : least;
}

static int step_loop(struct broker *b, const struct start_options *o, struct err *e)
{
	(void)o;
	b->started_us = loop_clock_us();
	b->bodies_max_bytes = bodies_budget(b);
	return loop_new(&b->loop, e);
}

/* --- policy, socket, user, trust, models ------------------------------------------------------------------------ */

static int step_policy(struct broker *b, const struct start_options *o, struct err *e)
{
	(void)o;
	int rc = facts_new(&b->conf, b->is_private, b->owner_uid, &b->facts, e);
	if (rc == ERR_OK || rc == ERR_NOMEM)
		return rc;
	e->code = ERR_CONFIG; /* whatever is wrong with these files: the configuration named them */
	return ERR_CONFIG;
}

/* A private broker lives for one command: its worker is not worth a group. */
static int step_groups(struct broker *b, const struct start_options *o, struct err *e)
{
	const struct cgroups_conf c = { .memory_bytes = b->conf.memory_bytes + LIMIT_WORKER_SLACK_BYTES,
	                                .n_processors = (unsigned)processors(), .uid = b->ids.uid, .gid = b->ids.gid,
	                                .jailer = jailer_pid(b->jail) };
	(void)o;
	snprintf(b->cgroups_text, sizeof b->cgroups_text, "none: %s", b->is_private ? "a private broker" : "switched off");
	if (b->is_private || b->conf.cgroups == CGROUPS_OFF)
		return ERR_OK;
	return cgroups_new(&c, &b->cgroups, b->cgroups_text, e);
}

/* Everybody may connect to a service's socket: policy decides by the peer's uid. A private broker's, and a
 * user's own, is for that user. */
static int step_listen(struct broker *b, const struct start_options *o, struct err *e)
{
	(void)o;
	return place_listen(&b->place, b->conf.socket, geteuid() == 0 && !b->is_private, &b->ids, e);
}

static int step_become(struct broker *b, const struct start_options *o, struct err *e)
{
	(void)o;
	return geteuid() == 0 ? wall_become(b->ids.uid, b->ids.gid, e) : ERR_OK;
}

/* Files below STATE are reached through its descriptor: the folders above may be closed to the service
 * user. */
static int step_trust(struct broker *b, const struct start_options *o, struct err *e)
{
	char dir[64], file[96];
	(void)o;
	b->trust_fd = openat(b->place.state_fd, "trust", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->trust_fd < 0)
		return err_set(e, ERR_IO, "%.300s/trust: %s", b->conf.state_dir, strerror(errno));
	snprintf(dir, sizeof dir, "/proc/self/fd/%d", b->trust_fd);
	snprintf(file, sizeof file, "%s/trust.note", dir);
	int rc = trust_state_load(dir, &b->trust_state, e);
	if (rc == ERR_OK)
		rc = trust_open(*b->conf.trust ? b->conf.trust : file, b->trust_state, (uint64_t)time(NULL), &b->trust, e);
	return rc;
}

static int step_models(struct broker *b, const struct start_options *o, struct err *e)
{
	unsigned n_bad = 0;
	(void)o;
	int rc = models_new(b->loop, b->place.state_fd, b->proc_fd, b->trust, b->trust_state, &b->models, &n_bad, e);
	if (rc == ERR_OK && n_bad)
		broker_say("%u models in the store cannot be used; the first: %s", n_bad, e->text);
	return rc;
}

/* --- workers, wall ------------------------------------------------------------------------------------------------- */

static void on_loaded(void *arg, const struct slot *s, const struct pool_about *about)
{
	struct broker *b = arg;
	struct record_room x;
	b->wall = *about;
	record_begin(&x, FUMEHOOD__RECORD_KIND__LOADED, b, about);
	record_model(&x, slot_model(s));
	char text[64];
	snprintf(text, sizeof text, "the worker's descriptors were %s", about->fds_seen ? about->fds_seen : "unseen");
	x.r.action = pb_text("load");
	x.r.text = text;
	log_append(b->log, &x.r, NULL, NULL);
}

static void on_ended(void *arg, const struct pool_end *end)
{
	struct broker *b = arg;
	struct record_room x;
	char text[ERR_TEXT_MAX_BYTES];
	int code = verdict_err_code(end->verdict);
	pool_end_text(text, sizeof text, end->verdict, &end->end, end->detail);
	record_begin(&x, FUMEHOOD__RECORD_KIND__WORKER_ENDED, b, end->about->layers ? end->about : NULL);
	record_model(&x, end->model);
	record_end(&x, end->verdict, &end->end, text);
	x.r.code = pb_text(err_name(code));
	x.r.text = text;
	log_append(b->log, &x.r, NULL, NULL);
}

static void on_quarantined(void *arg, const struct model *m, uint64_t for_ms)
{
	struct broker *b = arg;
	struct record_room x;
	char text[160];
	snprintf(text, sizeof text, "%" PRIu64 " workers died within %" PRIu64 " ms: no other is started for %" PRIu64 " ms",
	         b->conf.quarantine_crashes, b->conf.quarantine_window_ms, for_ms);
	record_begin(&x, FUMEHOOD__RECORD_KIND__MODEL_QUARANTINED, b, NULL);
	record_model(&x, m);
	x.r.code = pb_text(err_name(ERR_QUARANTINED));
	x.r.text = text;
	log_append(b->log, &x.r, NULL, NULL);
	broker_say("%.200s is quarantined: %s", m->label, text);
}

static int step_pool(struct broker *b, const struct start_options *o, struct err *e)
{
	const struct pool_conf c = {
		.loop = b->loop, .jail = b->jail, .models = b->models, .proc_fd = b->proc_fd, .program_fd = b->worker.fd,
		.optional_layers = b->conf.optional_layers, .violation_kill = b->conf.violation == VIOLATION_KILL,
		.memory_bytes = b->conf.memory_bytes,
		.call_ms = b->conf.call_ms, .load_ms = b->conf.load_ms, .queue_max = b->conf.queue_per_model,
		.request_max_bytes = b->conf.request_max_bytes, .threads = (unsigned)b->conf.threads,
		.cgroups = b->cgroups,
		.quarantine_crashes = (unsigned)b->conf.quarantine_crashes,
		.quarantine_window_ms = b->conf.quarantine_window_ms, .quarantine_ms = b->conf.quarantine_ms,
		.arg = b, .loaded = on_loaded, .ended = on_ended, .quarantined = on_quarantined,
	};
	(void)o;
	return pool_new(&c, &b->pool, e);
}

static int step_signals(struct broker *b, const struct start_options *o, struct err *e)
{
	sigset_t set;
	(void)o;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_set(e, ERR_IO, "sigprocmask: %s", strerror(errno));
	b->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return b->signals.fd >= 0 ? ERR_OK : err_set(e, ERR_IO, "signalfd: %s", strerror(errno));
}

/* Where the broker may still name files. The socket's name stays behind at the end when it lies beside the
 * log: no right there reaches that far. The next broker replaces it. */
static size_t wall_dirs(const struct broker *b, int store_fd, struct wall_dir out[6])
{
	struct stat a, s;
	size_t n = 0;
	out[n++] = (struct wall_dir){ store_fd, WALL_STORE };
	out[n++] = (struct wall_dir){ b->trust_fd, WALL_STORE };
	out[n++] = (struct wall_dir){ b->proc_fd, WALL_READ };
	int groups[2];
	for (unsigned i = b->cgroups ? cgroups_dirs(b->cgroups, groups) : 0; i; i--) /* to be removed at the end */
		out[n++] = (struct wall_dir){ groups[i - 1], WALL_STORE };
	if (fstat(b->place.socket_dir_fd, &a) == 0 && fstat(b->place.state_fd, &s) == 0 &&
	    (a.st_ino != s.st_ino || a.st_dev != s.st_dev) && a.st_uid == geteuid())
		out[n++] = (struct wall_dir){ b->place.socket_dir_fd, WALL_REPLACE };
	return n;
}

static int step_wall(struct broker *b, const struct start_options *o, struct err *e)
{
	struct wall_dir dirs[6];
	struct rlimit r;
	uint64_t layers;
	(void)o;
	int store = openat(b->place.state_fd, "store", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (store < 0 || getrlimit(RLIMIT_NOFILE, &r) < 0)
		return err_set(e, ERR_IO, "the broker's wall: %s", strerror(errno));
	tzset(); /* libc would look for its file behind the wall */
	const struct wall_conf c = { .dirs = dirs, .n_dirs = wall_dirs(b, store, dirs),
	                             .optional_layers = b->conf.optional_layers,
	                             .nofile = r.rlim_max > NOFILE_MAX ? NOFILE_MAX : r.rlim_max };
	int rc = wall_enter_broker(&c, &layers, e);
	close(store);
	return rc;
}

/* --- the list ------------------------------------------------------------------------------------------------------- */

static int step_libraries(struct broker *b, const struct start_options *o, struct err *e)
{
	int fd;
	(void)b, (void)o;
	umask(077);
	do /* nothing of ours may get the number of a standard stream */
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	return sodium_init() < 0 ? err_set(e, ERR_INTERNAL, "libsodium does not start") : ERR_OK;
}

static int (*const steps[])(struct broker *b, const struct start_options *o, struct err *e) = {
	step_libraries,
	step_ids,
	step_jailer,   /* before anything of ours is read */
	step_programs, /* worker and attack program, into sealed memory */
	step_conf,
	step_trial,    /* a worker on nothing: does the wall stand on this machine? */
	step_place,    /* state directory, lock */
	step_loop,
	step_log,      /* the auditor opens and recovers the log */
	step_policy,
	step_groups,   /* of workers, while root can make them */
	step_listen,   /* bound, not yet heard */
	step_signals,
	step_become,   /* root ends here */
	step_trust,
	step_models,
	step_pool,
	step_wall,
};

int start_all(struct broker *b, const struct start_options *o, struct err *e)
{
	int rc = ERR_OK;
	b->proc_fd = b->trust_fd = b->worker.fd = b->attack.fd = b->signals.fd = -1;
	b->place = (struct place){ -1, -1, -1, -1, -1, -1, -1, "" };
	for (size_t i = 0; i < sizeof steps / sizeof steps[0] && rc == ERR_OK; i++)
		rc = steps[i](b, o, e);
	return rc;
}

void start_clear(struct broker *b)
{
	pool_free(b->pool);
	models_free(b->models);
	facts_free(b->facts);
	trust_free(b->trust);
	trust_state_free(b->trust_state);
	log_close(b->log);
	cgroups_free(b->cgroups);
	jailer_stop(b->jail);
	place_close(&b->place);
	int fds[] = { b->proc_fd, b->trust_fd, b->worker.fd, b->attack.fd, b->signals.fd };
	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	loop_free(b->loop);
	conf_clear(&b->conf);
}
