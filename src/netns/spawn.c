/* SPDX-License-Identifier: MIT */
#include "netns/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "netns/spawn_child.h"
#include "os/fdpass.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

#define STATUS_MAX 4096 /* of /proc/PID/status; the masks of signals come early */
#define STATUS_SIGNALED 128 /* exit status, plus the signal */

/* --- the process --- */

/* As fork(2), in new namespaces. The old call knows no descriptors before Linux 5.2, and leaves *pid_fd alone then. */
static pid_t clone_old(unsigned long flags, int *pid_fd)
{
	unsigned long all = flags | CLONE_PIDFD | SIGCHLD;

#if defined(__s390__) || defined(__CRIS__)
	return (pid_t)syscall(SYS_clone, 0UL, all, pid_fd, 0UL, 0UL);
#else
	return (pid_t)syscall(SYS_clone, all, 0UL, pid_fd, 0UL, 0UL);
#endif
}

static pid_t clone_new(unsigned long flags, int *pid_fd)
{
#ifdef SYS_clone3
	struct clone_args a = { .flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)pid_fd, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));

	/* Filters that can't look into the structure refuse it with the first of these. */
	if (pid >= 0 || (errno != ENOSYS && errno != EPERM))
		return pid;
#endif
	return clone_old(flags, pid_fd);
}

static int child_start(const struct spawn_child *c, struct spawn *s)
{
	unsigned long flags = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWUTS;
	int err;

	if (!c->conf->netns_only)
		flags |= CLONE_NEWUSER;
	fflush(NULL);
	s->pid = clone_new(flags, &s->pid_fd);
	if (!s->pid)
		spawn_child_run(c);
	if (s->pid > 0)
		return 0;
	err = -errno;
	log_err("Couldn't create %s namespace: %s", c->conf->netns_only ? "network" : "user", strerror(-err));
	return err;
}

static void map_try(pid_t pid, const char *file, unsigned id)
{
	char path[64], text[32];
	int len = snprintf(text, sizeof(text), "0 %u 1", id);
	int fd;

	snprintf(path, sizeof(path), "/proc/%i/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, text, (size_t)len) != len)
		log_debug("Couldn't write to %s: %s", path, strerror(errno));
	close(fd);
}

/* Whoever has the privileges may map others, and leaves setgroups(2) to the command. Otherwise the child does what it can by itself. */
static void maps_try(const struct spawn_conf *c, pid_t pid)
{
	if (c->netns_only || geteuid())
		return;
	map_try(pid, "uid_map", c->uid);
	map_try(pid, "gid_map", c->gid);
}

/* --- what it says --- */

static int report_log(const struct spawn_report *r)
{
	static const char *const step[] = {
		[SPAWN_UID_MAP] = "write to /proc/self/uid_map", [SPAWN_SETGROUPS] = "write to /proc/self/setgroups",
		[SPAWN_GID_MAP] = "write to /proc/self/gid_map", [SPAWN_IDS] = "change to the user of the command",
		[SPAWN_NS_OPEN] = "open the new namespaces",     [SPAWN_PDEATHSIG] = "tie the command to us",
	};
	static const char *const extra[] = {
		[SPAWN_PROC] = "mount /proc",
		[SPAWN_PING] = "allow ping sockets",
		[SPAWN_HOSTNAME] = "set the host name",
	};

	if (r->err) {
		log_err("Couldn't %s: %s", r->step < ARRAY_SIZE(step) ? step[r->step] : "start the command", strerror(-r->err));
		if (r->step <= SPAWN_GID_MAP)
			log_err("Couldn't configure user mappings");
		return r->err;
	}
	for (unsigned i = 0; i < SPAWN_EXTRAS; i++) {
		if (r->extra[i])
			log_warn("Couldn't %s in the namespace of the command: %s", extra[i], strerror(-r->extra[i]));
	}
	return 0;
}

static int report_recv(const struct spawn_conf *c, int sock, struct ns *ns)
{
	unsigned n = 0, want = c->netns_only ? 1 : 2;
	struct spawn_report r;
	int fds[FDPASS_MAX];
	ssize_t len = fdpass_recv(sock, &r, sizeof(r), 0, fds, &n);
	int err = len == sizeof(r) ? report_log(&r) : -ECHILD;

	if (len != sizeof(r))
		log_err("The process for the command ended early");
	if (!err && n != want)
		err = -EPROTO;
	if (err) {
		while (n)
			close(fds[--n]);
		return err;
	}
	ns->net_fd = fds[0];
	ns->user_fd = want > 1 ? fds[1] : -1;
	return 0;
}

/* --- starting --- */

static int child_setup(const struct spawn_conf *c, struct spawn *s, struct ns *ns)
{
	static const char setup = SPAWN_MSG_SETUP;
	char path[64];
	int err;

	maps_try(c, s->pid);
	err = fdpass_send(s->go_fd, &setup, 1, NULL, 0, 0);
	if (err)
		log_err("The process for the command ended early");
	else
		err = report_recv(c, s->go_fd, ns);
	if (err)
		return err;
	if (s->pid_fd < 0)
		(void)!ns_pidfd(s->pid, &s->pid_fd);
	snprintf(path, sizeof(path), "/proc/%i/status", (int)s->pid);
	s->status_fd = open(path, O_RDONLY | O_CLOEXEC);
	return 0;
}

int spawn_start(const struct spawn_conf *c, struct spawn *ret_s, struct ns *ret_ns)
{
	struct spawn s = { .pid_fd = -1, .go_fd = -1, .status_fd = -1 };
	struct sigaction chld;
	struct ns ns;
	int sock[2];
	int err;

	/* Whoever ignores this signal gets no exit status. */
	if (!sigaction(SIGCHLD, NULL, &chld) && chld.sa_handler == SIG_IGN)
		(void)signal(SIGCHLD, SIG_DFL);
	ns_init(&ns);
	err = fdpass_pair(sock);
	if (err) {
		log_err("Couldn't create a socket pair: %s", strerror(-err));
		return err;
	}
	s.has_tty = tcgetpgrp(STDIN_FILENO) == getpgrp();
	s.go_fd = sock[0];
	err = child_start(&(struct spawn_child){ .conf = c, .sock = sock[1], .parent_sock = sock[0] }, &s);
	close(sock[1]);
	if (!err)
		err = child_setup(c, &s, &ns);
	if (err) {
		spawn_close(&s);
		return err;
	}
	snprintf(ns.name, sizeof(ns.name), "of the command");
	*ret_s = s;
	*ret_ns = ns;
	return 0;
}

int spawn_go(struct spawn *s)
{
	static const char go = SPAWN_MSG_GO;
	int err = fdpass_send(s->go_fd, &go, 1, NULL, 0, 0);

	close(s->go_fd);
	s->go_fd = -1;
	return err;
}

/* --- signals --- */

static int signal_send(const struct spawn *s, int sig)
{
	if (s->pid_fd >= 0)
		return syscall(SYS_pidfd_send_signal, s->pid_fd, sig, NULL, 0) ? -errno : 0;
	return kill(s->pid, sig) ? -errno : 0;
}

/* The mask behind a name in /proc/PID/status (proc(5)); all signals if it isn't there. */
static uint64_t mask_find(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? strtoull(at + strlen(name), NULL, 16) : UINT64_MAX;
}

void spawn_signal(struct spawn *s, int sig, bool from_tty)
{
	const uint64_t bit = UINT64_C(1) << (sig - 1);
	char status[STATUS_MAX + 1] = "";
	ssize_t len = s->status_fd >= 0 ? pread(s->status_fd, status, STATUS_MAX, 0) : -1;
	int err;

	status[MAX(len, (ssize_t)0)] = '\0';
	if (mask_find(status, "\nSigCgt:") & bit) {
		err = from_tty ? 0 : signal_send(s, sig);
	} else if (mask_find(status, "\nSigIgn:") & bit) {
		err = 0;
	} else {
		err = signal_send(s, SIGKILL);
		s->ended_by = sig;
	}
	if (err && err != -ESRCH)
		log_warn("Couldn't pass signal %i on: %s", sig, strerror(-err));
}

/* --- the end --- */

/* A shell that did job control has taken the terminal, and can't give it back to a group outside its PID namespace. */
static void tty_take_back(const struct spawn *s)
{
	sigset_t ttou, before;

	if (!s->has_tty || tcgetpgrp(STDIN_FILENO) == getpgrp())
		return;
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	(void)sigprocmask(SIG_BLOCK, &ttou, &before);
	(void)tcsetpgrp(STDIN_FILENO, getpgrp());
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
}

static int status_of(const struct spawn *s, int wstatus)
{
	if (WIFEXITED(wstatus))
		return WEXITSTATUS(wstatus);
	if (s->ended_by && WTERMSIG(wstatus) == SIGKILL)
		return STATUS_SIGNALED + s->ended_by;
	return STATUS_SIGNALED + WTERMSIG(wstatus);
}

int spawn_status(struct spawn *s, int *ret_status)
{
	int wstatus = 0;
	pid_t pid = s->pid > 0 ? waitpid(s->pid, &wstatus, WNOHANG) : -1;

	if (!pid)
		return -EAGAIN;
	if (pid < 0)
		return s->pid > 0 ? -errno : -ECHILD;
	s->pid = 0;
	tty_take_back(s);
	*ret_status = status_of(s, wstatus);
	return 0;
}

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void spawn_close(struct spawn *s)
{
	fd_close(&s->go_fd);
	if (s->pid > 0) {
		/* The kernel ends all of a PID namespace before its first process can be waited for. */
		if (!signal_send(s, SIGKILL)) {
			while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {
			}
		}
		tty_take_back(s);
		s->pid = 0;
	}
	fd_close(&s->pid_fd);
	fd_close(&s->status_fd);
}
