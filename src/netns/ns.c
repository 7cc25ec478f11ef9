/* SPDX-License-Identifier: MIT */
#include "netns/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"

#define FD_FIRST 3

void ns_init(struct ns *ns)
{
	*ns = (struct ns){ .net_fd = -1, .user_fd = -1, .pid_fd = -1 };
}

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void ns_close(struct ns *ns)
{
	fd_close(&ns->net_fd);
	fd_close(&ns->user_fd);
	fd_close(&ns->pid_fd);
}

int ns_pidfd(pid_t pid, int *ret_fd)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

pid_t ns_proc_pid(int pid_fd, pid_t pid)
{
	static const char key[] = "\nPid:\t";
	char path[64], text[512];
	uint64_t found = 0;
	const char *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%i", pid_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return pid;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[MAX(n, (ssize_t)0)] = '\0';
	at = strstr(text, key);
	if (!at)
		return pid;
	at += sizeof(key) - 1;
	return num_take(&at, 1, INT_MAX, &found) ? pid : (pid_t)found;
}

bool ns_same(int fd1, int fd2)
{
	struct stat a, b;

	return !fstat(fd1, &a) && !fstat(fd2, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Takes the descriptor out of the way of standard input and output, which belong to somebody else even when they are closed. */
static int fd_raise(int fd)
{
	int high;

	if (fd < 0 || fd >= FD_FIRST)
		return fd < 0 ? -errno : fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, FD_FIRST);
	if (high < 0)
		high = -errno;
	close(fd);
	return high;
}

/* -EINVAL for a file that isn't a namespace, or one of another type: a name whose mount is gone is an ordinary file. */
static int type_check(int fd, int type)
{
	int found = ioctl(fd, NS_GET_NSTYPE);
	struct statfs fs;

	if (found >= 0)
		return found == type ? 0 : -EINVAL;
	/* Linux before 4.11 doesn't tell the type. */
	return !fstatfs(fd, &fs) && fs.f_type == NSFS_MAGIC ? 0 : -EINVAL;
}

static int file_open(const char *path, int type, int *ret_fd)
{
	const char *what = type == CLONE_NEWUSER ? "user" : "network";
	/* It may be any file: neither wait for a writer of a pipe, nor get a terminal. */
	int fd = fd_raise(open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));

	if (fd < 0) {
		log_err("Couldn't open %s namespace %s: %s", what, path, strerror(-fd));
		return fd;
	}
	if (type_check(fd, type)) {
		log_err("%s is not a %s namespace", path, what);
		close(fd);
		return -EINVAL;
	}
	*ret_fd = fd;
	return 0;
}

/* path: that of our own in /proc. */
static bool is_own(const char *path, int fd)
{
	int own = open(path, O_RDONLY | O_CLOEXEC);
	bool same;

	if (own < 0)
		return false;
	same = ns_same(own, fd);
	close(own);
	return same;
}

/*
 * The user namespace that the network namespace belongs to is where we have to be somebody. As a rule it is that of the process as well,
 * but not where a process left it later.
 */
static int user_of_pid(struct ns *ns)
{
	char path[64];
	int fd = fd_raise(ioctl(ns->net_fd, NS_GET_USERNS));

	if (fd >= 0) {
		ns->user_fd = fd;
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/%i/ns/user", (int)ns->pid);
	return file_open(path, CLONE_NEWUSER, &ns->user_fd);
}

static int user_open(const struct ns_spec *s, struct ns *ns)
{
	int err = 0;

	if (s->netns_only)
		return 0;
	if (s->userns)
		err = file_open(s->userns, CLONE_NEWUSER, &ns->user_fd);
	else if (ns->pid)
		err = user_of_pid(ns);
	/* Joining one's own is an error for the kernel. */
	if (!err && ns->user_fd >= 0 && is_own("/proc/self/ns/user", ns->user_fd))
		fd_close(&ns->user_fd);
	return err;
}

static bool has_ended(int pid_fd)
{
	struct pollfd p = { .fd = pid_fd, .events = POLLIN };

	return pid_fd >= 0 && poll(&p, 1, 0) > 0;
}

static int net_open(const struct ns_spec *s, struct ns *ns)
{
	size_t cap = sizeof(ns->path);
	int len, err;

	if (s->pid) {
		snprintf(ns->name, sizeof(ns->name), "of PID %i", (int)s->pid);
		err = ns_pidfd(s->pid, &ns->pid_fd);
		if (err && err != -ENOSYS && err != -EPERM) {
			log_err("No process with PID %i: %s", (int)s->pid, strerror(-err));
			return err;
		}
		ns->pid = ns_proc_pid(ns->pid_fd, s->pid);
		len = snprintf(ns->path, cap, "/proc/%i/ns/net", (int)ns->pid);
	} else {
		snprintf(ns->name, sizeof(ns->name), "%s", s->netns);
		len = snprintf(ns->path, cap, "%s%s", strchr(s->netns, '/') ? "" : NS_RUN_DIR "/", s->netns);
	}
	if (len < 0 || (size_t)len >= cap) {
		log_err("Path of the network namespace is too long");
		return -ENAMETOOLONG;
	}
	err = file_open(ns->path, CLONE_NEWNET, &ns->net_fd);
	/* Its traffic would come back to it, and what is set up would spoil the host's network. */
	if (!err && is_own("/proc/self/ns/net", ns->net_fd)) {
		log_err("Network namespace %s is the one that we are in ourselves", ns->name);
		return -EINVAL;
	}
	return err;
}

int ns_open(const struct ns_spec *s, struct ns *ret_ns)
{
	struct ns ns;
	int err;

	if (!s->pid == !s->netns || (s->netns && !*s->netns)) {
		log_err("Either a PID or a network namespace has to be given");
		return -EINVAL;
	}
	if (s->netns_only && s->userns) {
		log_err("Both a user namespace and none are asked for");
		return -EINVAL;
	}
	ns_init(&ns);
	err = net_open(s, &ns);
	if (!err)
		err = user_open(s, &ns);
	/* The number may have gone to another process before all was opened, but not if ours is still there. */
	if (!err && has_ended(ns.pid_fd)) {
		log_err("Process %i has ended", (int)s->pid);
		err = -ESRCH;
	}
	if (err) {
		ns_close(&ns);
		return err;
	}
	*ret_ns = ns;
	return 0;
}

/* Whoever may not join a network namespace may all the same be the owner of the user namespace that it belongs to. */
static const char *join_hint(const struct ns *ns)
{
	int fd = ns->user_fd < 0 ? fd_raise(ioctl(ns->net_fd, NS_GET_USERNS)) : -1;
	bool other = fd >= 0 && !is_own("/proc/self/ns/user", fd);

	fd_close(&fd);
	return other ? " (joining the user namespace that it belongs to may give the right: --userns)"
		     : " (this takes privileges in the user namespace that it belongs to)";
}

int ns_enter(const struct ns *ns)
{
	if (ns->user_fd >= 0 && setns(ns->user_fd, CLONE_NEWUSER)) {
		int err = -errno;

		log_err("Couldn't join user namespace: %s%s", strerror(-err),
			err == -EPERM ? " (only its owner may, or who has privileges in the one around)" : "");
		return err;
	}
	if (setns(ns->net_fd, CLONE_NEWNET)) {
		int err = -errno;

		log_err("Couldn't join network namespace %s: %s%s", ns->name, strerror(-err), err == -EPERM ? join_hint(ns) : "");
		return err;
	}
	return 0;
}
