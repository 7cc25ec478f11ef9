/* SPDX-License-Identifier: MIT */
#include "netns/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"

#define LINKS_MAX 16 /* symbolic links one after the other */
#define WATCH_FD_PATH 32
#define NAME_EVENTS (IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define DIR_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

/*
 * A path with the links in it followed as far as they are names: its directory, and the last component. The directory by descriptor, as
 * its path may be one of another mount namespace (/proc/PID/root).
 */
struct place {
	int dir_fd;
	char base[WATCH_BASE_MAX];
	bool is_proc;
};

/* --- where the namespace is --- */

static bool is_proc(int dir_fd)
{
	struct statfs fs;

	return !fstatfs(dir_fd, &fs) && fs.f_type == PROC_SUPER_MAGIC;
}

/* path is relative to *dir_fd, which goes to what it is in. */
static int path_split(int *dir_fd, const char *path, struct place *p)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	char head[PATH_MAX];
	int len, fd;

	if (strlen(base) >= sizeof(p->base))
		return -ENAMETOOLONG;
	if (!*base)
		return -EINVAL;
	len = snprintf(head, sizeof(head), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	if (len < 0 || (size_t)len >= sizeof(head))
		return -ENAMETOOLONG;
	fd = openat(*dir_fd, head, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (*dir_fd >= 0)
		close(*dir_fd);
	*dir_fd = fd;
	memcpy(p->base, base, strlen(base) + 1);
	p->is_proc = is_proc(fd);
	return 0;
}

/* What /proc has behind its links are names only where the file was opened by one. */
static bool is_followed(const struct place *p, const char *target)
{
	return !p->is_proc || *target == '/';
}

/* The descriptor in *ret_p is the caller's. */
static int place_find(const char *path, struct place *ret_p)
{
	char now[PATH_MAX];
	struct place p;
	int dir_fd = AT_FDCWD, err;

	if (strlen(path) >= sizeof(now))
		return -ENAMETOOLONG;
	memcpy(now, path, strlen(path) + 1);
	for (int i = 0; i < LINKS_MAX; i++) {
		ssize_t n;

		err = path_split(&dir_fd, now, &p);
		if (err)
			goto fail;
		n = readlinkat(dir_fd, p.base, now, sizeof(now) - 1);
		now[MAX(n, (ssize_t)0)] = '\0';
		if (n <= 0 || !is_followed(&p, now)) {
			p.dir_fd = dir_fd;
			*ret_p = p;
			return 0;
		}
	}
	err = -ELOOP;
fail:
	if (dir_fd >= 0)
		close(dir_fd);
	return err;
}

/* "/proc/self/fd/3": the path that leads to what a descriptor stands for. */
static const char *fd_path(int fd, char buf[WATCH_FD_PATH])
{
	snprintf(buf, WATCH_FD_PATH, "/proc/self/fd/%i", fd);
	return buf;
}

/* The process that a place in /proc belongs to; 0: none, or it can't be told whose numbers these are. */
static pid_t place_pid(const struct place *p)
{
	static const char proc[] = "/proc/";
	char buf[WATCH_FD_PATH], dir[PATH_MAX] = "", self[32] = "", own[32];
	const char *s = dir + sizeof(proc) - 1;
	uint64_t pid;
	bool same;
	int fd;

	if (!p->is_proc || readlink(fd_path(p->dir_fd, buf), dir, sizeof(dir) - 1) < 0 || strncmp(dir, proc, sizeof(proc) - 1))
		return 0;
	/* It may be that of another mount namespace, */
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	same = ns_same(fd, p->dir_fd);
	close(fd);
	/* or our /proc may be that of another PID namespace. */
	snprintf(own, sizeof(own), "%i", (int)getpid());
	if (!same || readlink("/proc/self", self, sizeof(self) - 1) < 0 || strcmp(self, own))
		return 0;
	return num_take(&s, 1, INT_MAX, &pid) || (*s && *s != '/') ? 0 : (pid_t)pid;
}

/*
 * Only if it is there at all: what is mounted on it is out of sight once we have another root, and following it takes permissions that
 * will be gone.
 */
static bool is_there(const struct watch *w)
{
	struct stat st;

	return !fstatat(w->dir_fd, w->base, &st, AT_SYMLINK_NOFOLLOW) || (errno != ENOENT && errno != ESRCH && errno != ENOTDIR);
}

/* --- ways to watch; each sets kind and fd --- */

static int watch_process(struct watch *w, pid_t pid)
{
	int err = ns_pidfd(pid, &w->fd);

	if (!err)
		w->kind = WATCH_PROCESS;
	return err;
}

static int watch_name(struct watch *w)
{
	char buf[WATCH_FD_PATH];
	int err;

	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0)
		return -errno;
	if (inotify_add_watch(w->fd, fd_path(w->dir_fd, buf), NAME_EVENTS | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR) < 0) {
		err = -errno;
		close(w->fd);
		w->fd = -1;
		return err;
	}
	w->kind = WATCH_NAME;
	return 0;
}

static int watch_timer(struct watch *w)
{
	const struct timespec period = { .tv_nsec = WATCH_PERIOD_MS * 1000000L };
	const struct itimerspec every = { .it_value = period, .it_interval = period };

	w->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (w->fd >= 0 && !timerfd_settime(w->fd, 0, &every, NULL)) {
		w->kind = WATCH_TIMER;
		return 0;
	}
	return -errno;
}

static int watch_place(struct watch *w, const struct place *p)
{
	pid_t pid = place_pid(p);
	int err = -ENOSYS;

	w->dir_fd = p->dir_fd;
	/* Our own descriptor, which has no name: as long as we are there, so is the namespace. */
	if (pid == getpid()) {
		log_debug("Network namespace %s has no name: its end can't be noticed", w->name);
		return 0;
	}
	memcpy(w->base, p->base, sizeof(w->base));
	if (pid)
		err = watch_process(w, pid);
	else if (!p->is_proc)
		err = watch_name(w);
	if (err)
		err = watch_timer(w);
	/* Somebody who has got into the process could go on from there. */
	if (w->kind == WATCH_PROCESS) {
		close(w->dir_fd);
		w->dir_fd = -1;
	}
	return err;
}

static int watch_start(struct watch *w, const struct ns *ns)
{
	struct place p;
	int err, fd;

	if (ns->pid_fd >= 0) {
		w->fd = fcntl(ns->pid_fd, F_DUPFD_CLOEXEC, 3);
		w->kind = WATCH_PROCESS;
		return w->fd < 0 ? -errno : 0;
	}
	err = place_find(ns->path, &p);
	if (!err)
		err = watch_place(w, &p);
	if (err || w->kind == WATCH_NONE)
		return err;
	/* What went between its opening and now leaves no event. */
	fd = open(ns->path, O_RDONLY | O_CLOEXEC);
	err = fd >= 0 && ns_same(fd, ns->net_fd) ? 0 : -ENOENT;
	if (fd >= 0)
		close(fd);
	return err;
}

int watch_open(const struct ns *ns, struct watch *ret_w)
{
	struct watch w = { .fd = -1, .dir_fd = -1, .name = ns->name };
	int err = watch_start(&w, ns);

	if (err) {
		log_err("Couldn't watch network namespace %s: %s", ns->name, strerror(-err));
		watch_close(&w);
		return err;
	}
	*ret_w = w;
	return 0;
}

void watch_close(struct watch *w)
{
	if (w->fd >= 0)
		close(w->fd);
	if (w->dir_fd >= 0)
		close(w->dir_fd);
	*w = (struct watch){ .fd = -1, .dir_fd = -1 };
}

/* --- events --- */

static bool event_ends(const struct watch *w, const struct inotify_event *e)
{
	if (e->mask & DIR_EVENTS)
		return true;
	if (e->mask & IN_Q_OVERFLOW)
		return !is_there(w);
	return e->mask & NAME_EVENTS && e->len && !strcmp(e->name, w->base);
}

static bool name_read(const struct watch *w)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool gone = false;
	ssize_t n;

	while ((n = read(w->fd, buf, sizeof(buf))) > 0) {
		for (size_t at = 0; at < (size_t)n;) {
			const struct inotify_event *e = (const void *)(buf + at);

			gone |= event_ends(w, e);
			at += sizeof(*e) + e->len;
		}
	}
	return gone;
}

static bool timer_read(const struct watch *w)
{
	uint64_t count;

	return read(w->fd, &count, sizeof(count)) == sizeof(count) && !is_there(w);
}

bool watch_read(struct watch *w)
{
	bool gone = false;

	switch (w->kind) {
	case WATCH_PROCESS:
		gone = true; /* the only event that there is */
		break;
	case WATCH_NAME:
		gone = name_read(w);
		break;
	case WATCH_TIMER:
		gone = timer_read(w);
		break;
	case WATCH_NONE:
		break;
	}
	if (gone)
		log_info("Namespace %s is gone, exiting", w->name);
	return gone;
}
