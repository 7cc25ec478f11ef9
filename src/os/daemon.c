/* SPDX-License-Identifier: MIT */
#include "os/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

#define FIRST_FREE 3
#define PID_LEN 16 /* room for a number and a newline */
#define CLOSE_FALLBACK_MAX 4096 /* for kernels before 5.9, which have no close_range(2) */

void daemon_stdio_open(void)
{
	for (int fd = 0; fd < FIRST_FREE; fd++) {
		/* The lowest free number is the one that was found closed. */
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
			return;
	}
	(void)signal(SIGPIPE, SIG_IGN);
}

static void close_run(unsigned first, unsigned last)
{
	if (first > last || !syscall(SYS_close_range, first, last, 0))
		return;
	for (unsigned fd = first; fd <= MIN(last, (unsigned)CLOSE_FALLBACK_MAX); fd++)
		close((int)fd);
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* Puts /dev/null on those of the standard streams that are fd under another number: what is printed must not go there. */
static int stdio_part(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), err = 0;

	if (null < 0)
		return -errno;
	for (int i = 0; i < FIRST_FREE; i++) {
		if (same_file(i, fd) && dup2(null, i) < 0)
			err = -errno;
	}
	close(null);
	return err;
}

int daemon_fds_close(int *fd, unsigned first)
{
	int keep, err;

	if (*fd < 0) {
		close_run(first, ~0u);
		return 0;
	}
	keep = *fd;
	if (keep < FIRST_FREE)
		keep = fcntl(*fd, F_DUPFD_CLOEXEC, first);
	if (keep < 0 || fcntl(keep, F_SETFD, FD_CLOEXEC))
		return -errno;
	err = stdio_part(keep);
	if (err)
		return err;
	close_run(first, (unsigned)keep - 1);
	close_run(MAX((unsigned)keep + 1, first), ~0u);
	*fd = keep;
	return 0;
}

void daemon_init(struct daemon *d)
{
	*d = (struct daemon){ .pid = getpid(), .ready_fd = -1, .null_fd = -1, .pid_fd = -1, .pid_new = leftover_none() };
}

/* In the parent, which tells its own, if it has one at fd up. _exit(), as what stdio holds is the child's to write. */
__attribute__((noreturn)) static void parent_wait(pid_t child, int fd, int up)
{
	int status = 0;
	ssize_t n;
	char byte;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(up < 0 || write(up, "", 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
	}
	_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

/* As fork(2); each side gets its end of a connection to the other. */
static pid_t fork_linked(int *ret_fd)
{
	int s[2], err;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s))
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		err = -errno;
		close(s[0]);
		close(s[1]);
		return err;
	}
	close(s[!!pid]);
	*ret_fd = s[!pid];
	return pid;
}

int daemon_fork(struct daemon *d)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;
	pid_t pid;

	if (null < 0)
		return -errno;
	pid = fork_linked(&fd);
	if (pid < 0) {
		close(null);
		return (int)pid;
	}
	if (pid)
		parent_wait(pid, fd, -1);
	d->null_fd = null;
	d->ready_fd = fd;
	d->pid = getpid();
	return 0;
}

/*
 * Whoever gives a port or a file back may have it at once, and a signal that comes now is not ours to take. The child can't see the number
 * that it has here.
 */
__attribute__((noreturn)) static void parent_stay(pid_t child, int fd, int up)
{
	sigset_t none;

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	close_run(0, (unsigned)MIN(fd, up) - 1);
	close_run((unsigned)MIN(fd, up) + 1, (unsigned)MAX(fd, up) - 1);
	close_run((unsigned)MAX(fd, up) + 1, ~0u);
	if (write(fd, &child, sizeof(child)) != sizeof(child))
		_exit(EXIT_FAILURE);
	parent_wait(child, fd, up);
}

int daemon_reborn(struct daemon *d)
{
	int fd;
	pid_t pid = fork_linked(&fd);

	if (pid < 0)
		return (int)pid;
	if (pid)
		parent_stay(pid, fd, d->ready_fd);
	close(d->ready_fd);
	d->ready_fd = fd;
	/* Where this fails nobody waits for us any more, which daemon_ready() will say. */
	if (read(fd, &d->pid, sizeof(d->pid)) != sizeof(d->pid))
		d->pid = getpid();
	return 0;
}

/* Room for the number, as long as we can still say that there is none; not all file systems know how. */
static int pid_reserve(int fd)
{
	if (!fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PID_LEN))
		return 0;
	return errno == ENOSPC || errno == EDQUOT ? -errno : 0;
}

int daemon_pid_open(struct daemon *d, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR), err;

	if (fd < 0 && errno == EEXIST) {
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
		if (fd < 0)
			return -errno;
		d->pid_fd = fd;
		return 0;
	}
	if (fd < 0)
		return -errno;
	err = leftover_note(path, &d->pid_new);
	if (!err)
		err = pid_reserve(fd);
	if (err) {
		close(fd);
		(void)!leftover_remove(&d->pid_new);
		return err;
	}
	d->pid_fd = fd;
	return 0;
}

static int fd_write(int fd, const char *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, buf + at, len - at);

		if (n <= 0)
			return n ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

int daemon_pid_write(struct daemon *d)
{
	char buf[PID_LEN];
	struct stat st;
	int len, err;

	if (d->pid_fd < 0)
		return 0;
	/* What was reserved would go with the truncation. */
	if (fstat(d->pid_fd, &st) || (S_ISREG(st.st_mode) && st.st_size && ftruncate(d->pid_fd, 0)))
		return -errno;
	len = snprintf(buf, sizeof(buf), "%i\n", (int)d->pid);
	err = fd_write(d->pid_fd, buf, (size_t)len);
	close(d->pid_fd);
	d->pid_fd = -1;
	return err;
}

void daemon_pid_unlink(struct daemon *d)
{
	int err = leftover_remove(&d->pid_new);

	if (err)
		log_debug("The PID file stays: %s", strerror(-err));
}

static int stdio_leave(struct daemon *d)
{
	for (int i = 0; i < FIRST_FREE; i++) {
		if (dup2(d->null_fd, i) < 0)
			return -errno;
	}
	close(d->null_fd);
	d->null_fd = -1;
	return 0;
}

int daemon_ready(struct daemon *d)
{
	int err;

	leftover_forget(&d->pid_new);
	if (d->ready_fd < 0)
		return 0;
	setsid();
	err = stdio_leave(d);
	if (err)
		return err;
	/* Last: whoever waits may look at everything now. */
	err = write(d->ready_fd, "", 1) == 1 ? 0 : -EPIPE;
	close(d->ready_fd);
	d->ready_fd = -1;
	return err;
}
