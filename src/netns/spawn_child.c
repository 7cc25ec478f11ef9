/* SPDX-License-Identifier: MIT */
#include "netns/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "os/daemon.h"
#include "os/fdpass.h"

#define SHELL_DEFAULT "/bin/sh"
#define HOSTNAME_PREFIX "pasta-"
#define PING_RANGE "/proc/sys/net/ipv4/ping_group_range"

static const char *const map_file[] = {
	[SPAWN_UID_MAP] = "/proc/self/uid_map",
	[SPAWN_SETGROUPS] = "/proc/self/setgroups",
	[SPAWN_GID_MAP] = "/proc/self/gid_map",
};

static int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	err = n < 0 ? -errno : 0;
	close(fd);
	return err;
}

static bool file_is_empty(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte;
	bool empty;

	if (fd < 0)
		return true;
	empty = read(fd, &byte, 1) <= 0;
	close(fd);
	return empty;
}

static int map_write(struct spawn_report *r, enum spawn_step step, const char *text)
{
	int err = file_write(map_file[step], text);

	if (err)
		r->step = step;
	return err;
}

/* user_namespaces(7): whoever has no privileges may map himself, and his group only once setgroups(2) is off. */
static int maps_write(const struct spawn_conf *c, struct spawn_report *r)
{
	char text[32];
	int err = 0;

	if (file_is_empty(map_file[SPAWN_UID_MAP])) {
		snprintf(text, sizeof(text), "0 %u 1", c->uid);
		err = map_write(r, SPAWN_UID_MAP, text);
	}
	if (err || !file_is_empty(map_file[SPAWN_GID_MAP]))
		return err;
	err = map_write(r, SPAWN_SETGROUPS, "deny");
	if (err && err != -ENOENT)
		return err;
	snprintf(text, sizeof(text), "0 %u 1", c->gid);
	return map_write(r, SPAWN_GID_MAP, text);
}

/* Groups beside the own one would go on giving access to files. */
static int ids_set(uid_t uid, gid_t gid)
{
	if (geteuid() == uid && getegid() == gid && getuid() == uid && getgid() == gid)
		return 0;
	return setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid) ? -errno : 0;
}

/* Before /proc is another one. */
static int files_open(const struct spawn_conf *c, int ret_fd[SPAWN_FDS], unsigned *ret_n)
{
	static const char *const path[SPAWN_FDS] = {
		[SPAWN_FD_NET] = "/proc/self/ns/net",
		[SPAWN_FD_STATUS] = "/proc/self/status",
		[SPAWN_FD_USER] = "/proc/self/ns/user",
	};
	unsigned n = c->netns_only ? SPAWN_FD_USER : SPAWN_FDS;

	for (unsigned i = 0; i < n; i++) {
		ret_fd[i] = open(path[i], O_RDONLY | O_CLOEXEC);
		if (ret_fd[i] < 0)
			return -errno;
	}
	*ret_n = n;
	return 0;
}

/* Mounts of the host still show up here, but none of ours there. /proc has the numbers of the PID namespace. */
static int mounts_set(const struct spawn_conf *c)
{
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
		return -errno;
	if (c->no_pidns)
		return 0;
	return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) ? -errno : 0;
}

static int hostname_set(const char *name)
{
	char buf[sizeof(HOSTNAME_PREFIX) + HOST_NAME_MAX] = HOSTNAME_PREFIX;
	const size_t at = sizeof(HOSTNAME_PREFIX) - 1;

	if (!name) {
		if (gethostname(buf + at, sizeof(buf) - at))
			return -errno;
		buf[sizeof(buf) - 1] = '\0';
		name = buf;
	}
	return sethostname(name, strnlen(name, HOST_NAME_MAX)) ? -errno : 0;
}

static void signals_reset(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, now;
	sigset_t none;

	/* Handlers are ours. What is ignored was so before us (nohup(1)), but for these two. */
	for (int sig = 1; sig < NSIG; sig++) {
		if (!sigaction(sig, NULL, &now) && (now.sa_flags & SA_SIGINFO || now.sa_handler != SIG_IGN))
			(void)sigaction(sig, &dfl, NULL);
	}
	(void)sigaction(SIGPIPE, &dfl, NULL);
	(void)sigaction(SIGCHLD, &dfl, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int setup(const struct spawn_conf *c, struct spawn_report *r, int ret_fd[SPAWN_FDS], unsigned *ret_n)
{
	int err = c->netns_only ? 0 : maps_write(c, r);

	if (err)
		return err;
	r->step = SPAWN_NS_OPEN;
	err = files_open(c, ret_fd, ret_n);
	if (err)
		return err;
	r->extra[SPAWN_PROC] = mounts_set(c);
	r->extra[SPAWN_HOSTNAME] = hostname_set(c->hostname);
	r->step = SPAWN_IDS;
	err = c->netns_only ? ids_set(c->uid, c->gid) : ids_set(0, 0);
	if (err)
		return err;
	/* The range is given in groups of the namespace, and 0 is the only one. */
	if (!c->netns_only)
		r->extra[SPAWN_PING] = file_write(PING_RANGE, "0 0");
	/* After the change of user, which would undo it. */
	r->step = SPAWN_PDEATHSIG;
	return prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL) ? -errno : 0;
}

static bool msg_wait(int sock, char want)
{
	int fds[FDPASS_MAX];
	unsigned n = 0;
	char byte = 0;

	return fdpass_recv(sock, &byte, 1, 0, fds, &n) == 1 && byte == want;
}

/* execvp(3) takes a directory that it may not look into for a command that it may not run. */
static bool is_in_path(const char *name)
{
	const char *dir = getenv("PATH");
	char path[PATH_MAX];

	while (dir && *dir) {
		int len = (int)strcspn(dir, ":");

		if (snprintf(path, sizeof(path), "%.*s/%s", len, dir, name) < (int)sizeof(path) && !access(path, F_OK))
			return true;
		dir += len;
		dir += *dir == ':';
	}
	return false;
}

static int status_of(const char *name, int err)
{
	if (err == EACCES && !strchr(name, '/') && !is_in_path(name))
		return SPAWN_NOT_FOUND;
	return err == ENOENT || err == ENOTDIR ? SPAWN_NOT_FOUND : SPAWN_NOT_EXECUTABLE;
}

/*
 * An interactive shell wants a process group that it can name, to give the terminal back to at its end; ours has no number in its PID
 * namespace. Other commands stay in our group, where the signals of the terminal reach us as well (spawn_signal()).
 */
static void tty_take(void)
{
	sigset_t ttou, before;

	if (tcgetpgrp(STDIN_FILENO) < 0 || tcgetpgrp(STDIN_FILENO) != getpgrp() || setpgid(0, 0))
		return;
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	(void)sigprocmask(SIG_BLOCK, &ttou, &before);
	(void)tcsetpgrp(STDIN_FILENO, getpgrp());
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
}

__attribute__((noreturn)) static void command_exec(char *const *argv)
{
	char name[NAME_MAX + 2] = "-";
	const char *shell, *base;
	int err;

	/* Only what the command inherits by right: 0 to 2. */
	int none = -1;
	(void)!daemon_fds_close(&none, STDERR_FILENO + 1);

	if (argv) {
		execvp(argv[0], argv);
		err = errno;
		shell = argv[0];
	} else {
		tty_take();
		shell = getenv("SHELL");
		if (!shell || !*shell)
			shell = SHELL_DEFAULT;
		base = strrchr(shell, '/');
		snprintf(name + 1, sizeof(name) - 1, "%s", base ? base + 1 : shell);
		execvp(shell, (char *const[]){ name, NULL });
		err = errno;
	}
	if (status_of(shell, err) == SPAWN_NOT_FOUND)
		err = ENOENT;
	dprintf(STDERR_FILENO, "%s: %s\n", shell, strerror(err));
	_exit(status_of(shell, err));
}

void spawn_child_run(const struct spawn_child *c)
{
	struct spawn_report r = { 0 };
	int fd[SPAWN_FDS];
	unsigned n = 0;

	close(c->parent_sock);
	signals_reset();
	/* A program with file capabilities may not write to its own files in /proc otherwise. */
	(void)prctl(PR_SET_DUMPABLE, 1UL);
	if (!msg_wait(c->sock, SPAWN_MSG_SETUP))
		_exit(EXIT_FAILURE);
	r.err = setup(c->conf, &r, fd, &n);
	if (r.err)
		n = 0;
	if (fdpass_send(c->sock, &r, sizeof(r), fd, n, 0) || r.err)
		_exit(EXIT_FAILURE);
	/* The end of the socket instead: our parent ended, maybe before the kernel knew that we want to hear of it. */
	if (!msg_wait(c->sock, SPAWN_MSG_GO))
		_exit(EXIT_FAILURE);
	command_exec(c->conf->argv);
}
