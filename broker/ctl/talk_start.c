/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting a private broker.
 *
 * It outlives this command by a second, so it gets nothing of ours: a session of its own (a ^C here is not
 * for it), no terminal, no pipe that somebody waits on, an empty environment.
 *
 * Side: cli. Trusts: the program in its own folder. Owns: the ready pipe.
 */
#include "broker/ctl/talk_in.h"

#include "broker/ctl/files.h"
#include "broker/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 15000

/* In the child: never returns. */
static void broker_exec(const char *program, const char *state_dir, int ready_fd)
{
	char fd_text[16], log[PATH_MAX];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), err = -1;
	snprintf(fd_text, sizeof fd_text, "%d", ready_fd);
	if (snprintf(log, sizeof log, "%s/broker.log", state_dir) < PATH_MAX)
		err = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (null < 0 || setsid() < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(err >= 0 ? err : null, 2) < 0 ||
	    fcntl(ready_fd, F_SETFD, 0) != 0)
		_exit(1);
	char name[] = "fumehood-broker", private[] = "--private", dir[] = "--state-dir", ready[] = "--ready-fd";
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s", state_dir);
	char *argv[] = { name, private, dir, path, ready, fd_text, NULL }, *envp[] = { NULL };
	execve(program, argv, envp);
	_exit(127);
}

/* Reads until the pipe ends or one byte came and no more follows at once: ready. Else "code: text". */
static int ready_read(int fd, struct err *e)
{
	char text[ERR_TEXT_MAX_BYTES + 64];
	size_t n = 0;
	uint64_t until = clock_ms() + READY_MS;
	while (n + 1 < sizeof text && !memchr(text, '\n', n)) {
		uint64_t now = clock_ms();
		struct pollfd p = { fd, POLLIN, 0 };
		int got = now < until ? poll(&p, 1, n == 1 ? 20 : (int)(until - now)) : 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		ssize_t r = read(fd, text + n, sizeof text - 1 - n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	text[n] = 0;
	if (n == 1)
		return ERR_OK;
	if (n == 0)
		return err_set(e, ERR_IO, "the private broker did not become ready within %d s: see broker.log in the state "
		               "directory", READY_MS / 1000);
	size_t code_len = strcspn(text, ":"), end = strcspn(text, "\n");
	text[end] = 0;
	const char *rest = text + code_len + (text[code_len] == ':');
	return err_set(e, err_from_name(text, code_len), "%s", ctl_line(rest + strspn(rest, " ")));
}

static int absolute(const char *path, char out[PATH_MAX], struct err *e)
{
	char cwd[PATH_MAX] = "";
	if (path[0] != '/' && !getcwd(cwd, sizeof cwd))
		return err_set(e, ERR_IO, "the current folder has no path: %s", strerror(errno));
	if (snprintf(out, PATH_MAX, "%s%s%s", cwd, cwd[0] ? "/" : "", path) >= PATH_MAX)
		return err_set(e, ERR_LIMIT, "a path is longer than %d bytes", PATH_MAX);
	return ERR_OK;
}

int broker_start(const char *state_dir, struct err *e)
{
	char program[HELPER_PATH_MAX_BYTES], dir[PATH_MAX];
	int program_fd = -1, ready[2];
	int rc = absolute(state_dir, dir, e);
	if (rc == ERR_OK)
		rc = helper_open("fumehood-broker", &program_fd, program, e);
	if (rc != ERR_OK)
		return rc;
	close(program_fd);
	if (pipe2(ready, O_CLOEXEC) != 0)
		return err_set(e, ERR_IO, "pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0)
		broker_exec(program, dir, ready[1]);
	close(ready[1]);
	if (pid < 0)
		rc = err_set(e, ERR_IO, "fork: %s", strerror(errno));
	else
		rc = ready_read(ready[0], e);
	close(ready[0]);
	if (pid > 0 && rc != ERR_OK)
		waitpid(pid, NULL, WNOHANG); /* one that is alive and silent is init's when we end */
	return rc;
}
