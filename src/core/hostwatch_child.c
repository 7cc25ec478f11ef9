/* SPDX-License-Identifier: MIT */
#include "core/hostwatch_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/discover.h"
#include "core/hostwatch_calls.h"
#include "os/box.h"
#include "os/clock.h"
#include "os/daemon.h"
#include "os/fdpass.h"
#include "os/settle.h"
#include "os/sysfilter.h"

/* What changes together comes one by one: a look when nothing has come for a while, */
#define QUIET_MS 300
/* but not later than this after the first of it. */
#define LATEST_MS 3000

#define DIR_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE)
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

enum { IN_SOCK, IN_NETLINK, IN_FILES, INPUTS };

struct child {
	const struct hostwatch_conf *c;
	int fd[INPUTS];
	int watch; /* of the file itself, wherever it is; -1: none */
	char real[PATH_MAX]; /* where resolv.conf is behind its links; empty: nowhere */
	bool due; /* something has happened, */
	int64_t since_ms; /* the first of it at this time */
	struct follow last; /* what the engine knows */
	struct hostwatch_msg msg;
};

/* --- files --- */

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The folder of a path with a slash. */
static void dir_of(const char *path, char ret_dir[PATH_MAX])
{
	size_t len = (size_t)(base_of(path) - path);

	memcpy(ret_dir, path, len);
	ret_dir[MAX(len, (size_t)2) - 1] = '\0';
	if (len <= 1)
		memcpy(ret_dir, "/", 2);
}

static void real_find(struct child *w)
{
	if (!realpath(DISCOVER_RESOLV, w->real))
		w->real[0] = '\0';
}

/*
 * The folders of the link and of the file, for a file that takes the place of another; and the file, which may be mounted there. Where
 * one can't be watched, the others tell what they can. Once more changes nothing for those that are the same.
 */
static void watches_arm(struct child *w)
{
	char dir[PATH_MAX];
	int wd;

	dir_of(DISCOVER_RESOLV, dir);
	(void)inotify_add_watch(w->fd[IN_FILES], dir, DIR_EVENTS);
	real_find(w);
	if (w->real[0]) {
		dir_of(w->real, dir);
		(void)inotify_add_watch(w->fd[IN_FILES], dir, DIR_EVENTS);
	}
	wd = inotify_add_watch(w->fd[IN_FILES], DISCOVER_RESOLV, FILE_EVENTS);
	if (w->watch >= 0 && w->watch != wd)
		(void)inotify_rm_watch(w->fd[IN_FILES], w->watch);
	w->watch = wd;
}

/* A name in one of the folders; those without a name are of the file itself, or tell that some are lost. */
static bool is_ours(const struct child *w, const struct inotify_event *e)
{
	return !e->len || !strcmp(e->name, base_of(DISCOVER_RESOLV)) || (w->real[0] && !strcmp(e->name, base_of(w->real)));
}

static bool files_drain(struct child *w)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool changed = false;
	ssize_t n;

	while ((n = read(w->fd[IN_FILES], buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(buf + at);

			changed |= is_ours(w, e);
			at += (ssize_t)sizeof(*e) + e->len;
		}
	}
	return changed;
}

/* --- what has changed --- */

/* -EAGAIN: the engine is busy. */
static int msg_send(struct child *w, uint32_t type)
{
	int err;

	w->msg.type = type;
	err = fdpass_send(w->fd[IN_SOCK], &w->msg, hostwatch_msg_size(type), NULL, 0, MSG_DONTWAIT);
	if (err && err != -EAGAIN)
		_exit(EXIT_SUCCESS);
	return err;
}

static void look(struct child *w)
{
	struct follow *f = &w->msg.follow;

	watches_arm(w);
	memset(&w->msg, 0, sizeof(w->msg));
	if (conf_again(w->c->source, w->c->conf, f))
		follow_keep_dns(&w->last, f);
	w->due = memcmp(f, &w->last, sizeof(*f)) && msg_send(w, HOSTWATCH_NEWS);
	w->since_ms = clock_ms();
	if (!w->due)
		w->last = *f;
	settle_memory();
}

static int wait_ms(const struct child *w)
{
	int64_t left = w->since_ms + LATEST_MS - clock_ms();

	return !w->due ? -1 : (int)MAX(MIN(left, (int64_t)QUIET_MS), (int64_t)0);
}

__attribute__((noreturn)) static void watch(struct child *w)
{
	for (;;) {
		struct pollfd p[INPUTS];
		bool changed;
		int n;

		for (unsigned i = 0; i < INPUTS; i++)
			p[i] = (struct pollfd){ .fd = w->fd[i], .events = POLLIN };
		n = poll(p, INPUTS, wait_ms(w));
		if (n < 0 && errno != EINTR)
			_exit(EXIT_FAILURE);
		if (n < 0)
			continue;
		/* Nobody asks us anything: it is the end. */
		if (p[IN_SOCK].revents)
			_exit(EXIT_SUCCESS);
		/* What it is that changed is asked for then; so it does no harm that what is too much gets lost. */
		changed = nl_watch_read(w->fd[IN_NETLINK]);
		changed |= files_drain(w);
		if (changed && !w->due) {
			w->due = true;
			w->since_ms = clock_ms();
		}
		if (w->due && (!changed || clock_ms() - w->since_ms >= LATEST_MS))
			look(w);
	}
}

/* --- start --- */

static void log_take(void *ctx, enum log_level level, const char *line)
{
	struct child *w = ctx;

	if (level != LOG_LVL_ERR)
		return;
	memset(&w->msg, 0, sizeof(w->msg));
	snprintf(w->msg.text, sizeof(w->msg.text), "%.*s", HOSTWATCH_TEXT_MAX - 1, line);
	(void)!msg_send(w, HOSTWATCH_END);
}

/* The folders that may be read from now on: where resolv.conf is, or where the link to it may be replaced by it. */
static unsigned dirs_open(const struct child *w, int ret_fd[2])
{
	char dir[PATH_MAX];
	unsigned n = 0;

	dir_of(DISCOVER_RESOLV, dir);
	ret_fd[n] = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	n += ret_fd[n] >= 0;
	if (!w->real[0])
		return n;
	dir_of(w->real, dir);
	ret_fd[n] = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return n + (ret_fd[n] >= 0);
}

/* Where one of these is refused the engine, which wants the same for itself, says so. */
static void confine(const struct child *w)
{
	static const struct syscall_table *const calls[] = { &hostwatch_calls };
	int dir[2], lost;
	unsigned n = dirs_open(w, dir);

	(void)!box_memory();
	(void)!box_landlock(BOX_SIGNALS | BOX_TCP_PORTS | BOX_TCP_CONNECT, dir, n, &lost);
	fdpass_close(dir, n);
	(void)!sysfilter_load(calls, 1);
}

static int open_all(struct child *w)
{
	int err = helper_stand_alone();

	if (!err)
		err = chdir("/") ? -errno : daemon_fds_close(&w->fd[IN_SOCK], STDERR_FILENO + 1);
	if (err)
		return err;
	/* There is a limit to these; without, the file is looked at when the network has changed. */
	w->fd[IN_FILES] = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return nl_watch_open(&w->fd[IN_NETLINK]);
}

static int begin(struct child *w, pid_t parent)
{
	int err = open_all(w);

	if (!err)
		err = helper_bounds_drop();
	if (!err)
		err = helper_seal(&w->c->seal, parent, NULL, 0);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL))
		err = -errno;
	if (err)
		return err;
	watches_arm(w);
	confine(w);
	return 0;
}

void hostwatch_child_run(const void *ctx, int sock, pid_t parent)
{
	const struct hostwatch_conf *c = ctx;
	struct child *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		_exit(EXIT_FAILURE);
	w->c = c;
	w->fd[IN_SOCK] = sock;
	w->watch = -1;
	follow_get(&c->conf->guest, &c->conf->nat, &w->last);
	log_set_sink(log_take, w);
	err = begin(w, parent);
	if (err) {
		log_err("the host agent can't start: %s", strerror(-err));
		_exit(EXIT_FAILURE);
	}
	/* Something may have changed since the configuration was made. */
	w->due = true;
	w->since_ms = clock_ms();
	settle_memory();
	watch(w);
}
