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
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "netns/refusal.h"
#include "netns/spawn_child.h"
#include "os/fdpass.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

#define STATUS_MAX 16384 /* of /proc/PID/status, where the masks of signals come behind all groups of the user */
#define SURE_TRIES 50 /* looks at what the command does about a signal */
#define SURE_PAUSE_MS 2
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
	unsigned long flags = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
	int err;

	if (!c->conf->netns_only)
		flags |= CLONE_NEWUSER;
	if (!c->conf->no_pidns)
		flags |= CLONE_NEWPID;
	fflush(NULL);
	s->pid = clone_new(flags, &s->pid_fd);
	if (!s->pid)
		spawn_child_run(c);
	if (s->pid > 0)
		return 0;
	err = -errno;
	log_err("Couldn't create %s namespace: %s", c->conf->netns_only ? "network" : "user", strerror(-err));
	if (c->conf->netns_only)
		refusal_log_net(err);
	else
		refusal_log_user(err);
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
static void maps_try(const struct spawn_conf *c, const struct spawn *s)
{
	pid_t pid = ns_proc_pid(s->pid_fd, s->pid);

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
		if (r->step > SPAWN_GID_MAP)
			return r->err;
		log_err("Couldn't configure user mappings");
		refusal_log_map(r->err);
		return r->err;
	}
	for (unsigned i = 0; i < SPAWN_EXTRAS; i++) {
		if (r->extra[i])
			log_warn("Couldn't %s in the namespace of the command: %s", extra[i], strerror(-r->extra[i]));
	}
	return 0;
}

static int report_recv(const struct spawn_conf *c, struct spawn *s, struct ns *ns)
{
	unsigned n = 0, want = c->netns_only ? SPAWN_FD_USER : SPAWN_FDS;
	struct spawn_report r;
	int fds[FDPASS_MAX];
	ssize_t len = fdpass_recv(s->go_fd, &r, sizeof(r), 0, fds, &n);
	int err = len == sizeof(r) ? report_log(&r) : -ECHILD;

	if (len != sizeof(r))
		log_err("The process for the command ended early");
	if (!err && n != want) {
		err = -EMFILE;
		log_err("Couldn't take the namespaces of the command: %s", strerror(-err));
	}
	if (err) {
		fdpass_close(fds, n);
		return err;
	}
	ns->net_fd = fds[SPAWN_FD_NET];
	s->status_fd = fds[SPAWN_FD_STATUS];
	ns->user_fd = want > SPAWN_FD_USER ? fds[SPAWN_FD_USER] : -1;
	return 0;
}

/* --- starting --- */

static int child_setup(const struct spawn_conf *c, struct spawn *s, struct ns *ns)
{
	static const char setup = SPAWN_MSG_SETUP;
	int err;

	maps_try(c, s);
	err = fdpass_send(s->go_fd, &setup, 1, NULL, 0, 0);
	if (err)
		log_err("The process for the command ended early");
	else
		err = report_recv(c, s, ns);
	if (err)
		return err;
	if (s->pid_fd < 0)
		(void)!ns_pidfd(s->pid, &s->pid_fd);
	return 0;
}

int spawn_start(const struct spawn_conf *c, struct spawn *ret_s, struct ns *ret_ns)
{
	struct spawn s = { .pid_fd = -1, .go_fd = -1, .status_fd = -1, .no_pidns = c->no_pidns };
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

static bool is_stop(int sig)
{
	return sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/*
 * Whoever continues us continues the command: the shell that has us as its job, for one. If there can't be anybody (an orphaned process
 * group), the kernel doesn't stop us. The next signal that comes in the very moment when we are continued stops us alone.
 */
static int stop_together(const struct spawn *s, int sig)
{
	int err = signal_send(s, SIGSTOP);
	sigset_t one, before;

	if (err)
		return err;
	sigemptyset(&one);
	sigaddset(&one, sig);
	(void)raise(sig);
	(void)sigprocmask(SIG_UNBLOCK, &one, &before);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return signal_send(s, SIGCONT);
}

/* What the command does about a signal. */
enum handling { BY_DEFAULT, HANDLED, IGNORED, UNSURE };

struct look {
	enum handling handling;
	bool sleeps;
	uint64_t switches; /* how often it has gone to sleep */
};

/* The number behind a name in /proc/PID/status (proc(5)); all bits set if it isn't there. */
static uint64_t status_find(const char *status, const char *name, int base)
{
	const char *at = strstr(status, name);

	return at ? strtoull(at + strlen(name), NULL, base) : UINT64_MAX;
}

/*
 * A blocked signal is one that the command reads from signalfd(2) or waits for in another thread. One that doesn't sleep may be in the
 * middle of fork(2), where the library blocks all of them for a moment.
 */
static struct look look_once(const struct spawn *s, int sig)
{
	const uint64_t bit = UINT64_C(1) << (sig - 1);
	char status[STATUS_MAX + 1] = "";
	ssize_t len = s->status_fd >= 0 ? pread(s->status_fd, status, STATUS_MAX, 0) : -1;
	struct look l = { .handling = BY_DEFAULT };

	status[MAX(len, (ssize_t)0)] = '\0';
	l.sleeps = strstr(status, "\nState:\tS");
	l.switches = status_find(status, "\nvoluntary_ctxt_switches:", 10);
	if (status_find(status, "\nSigCgt:", 16) & bit)
		l.handling = HANDLED;
	else if (status_find(status, "\nSigIgn:", 16) & bit)
		l.handling = IGNORED;
	else if (status_find(status, "\nSigBlk:", 16) & bit)
		l.handling = l.sleeps ? HANDLED : UNSURE;
	return l;
}

static struct look look(const struct spawn *s, int sig)
{
	const struct timespec pause = { .tv_nsec = SURE_PAUSE_MS * NSEC_PER_MSEC };
	struct look l = look_once(s, sig);

	for (int i = 0; l.handling == UNSURE && i < SURE_TRIES; i++) {
		(void)nanosleep(&pause, NULL);
		l = look_once(s, sig);
	}
	return l;
}

/* What the masks don't show is a signal that is waited for by sigwait(3): it wakes the command up, where others are dropped. */
static bool is_taken(const struct spawn *s, int sig, const struct look *before)
{
	struct look now;

	if (!before->sleeps || signal_send(s, sig))
		return false;
	now = look_once(s, sig);
	return !now.sleeps || now.switches != before->switches;
}

static int effect_give(struct spawn *s, int sig)
{
	if (is_stop(sig))
		return stop_together(s, sig);
	s->ended_by = sig;
	return signal_send(s, SIGKILL);
}

/* To the first process of a PID namespace. */
static int signal_first(struct spawn *s, int sig, bool from_tty)
{
	struct look l = look(s, sig);

	if (l.handling == BY_DEFAULT)
		return is_taken(s, sig, &l) ? 0 : effect_give(s, sig);
	return l.handling == IGNORED || from_tty ? 0 : signal_send(s, sig);
}

/* Where the kernel gives signals their effect. */
static int signal_plain(const struct spawn *s, int sig, bool from_tty)
{
	if (is_stop(sig) && look(s, sig).handling == BY_DEFAULT)
		return stop_together(s, sig);
	return from_tty ? 0 : signal_send(s, sig);
}

void spawn_signal(struct spawn *s, int sig, bool from_tty)
{
	int err = s->no_pidns ? signal_plain(s, sig, from_tty) : signal_first(s, sig, from_tty);

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
