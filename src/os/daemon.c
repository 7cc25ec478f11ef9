/* SPDX-License-Identifier: MIT */
#include "os/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int daemon_fds_close(int *fd)
{
	int keep, err;

	if (*fd < 0) {
		close_run(FIRST_FREE, ~0u);
		return 0;
	}
	keep = *fd;
	if (keep < FIRST_FREE)
		keep = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE);
	if (keep < 0 || fcntl(keep, F_SETFD, FD_CLOEXEC))
		return -errno;
	err = stdio_part(keep);
	if (err)
		return err;
	close_run(FIRST_FREE, (unsigned)keep - 1);
	close_run((unsigned)keep + 1, ~0u);
	*fd = keep;
	return 0;
}

void daemon_init(struct daemon *d)
{
	*d = (struct daemon){ .ready_fd = -1, .null_fd = -1, .pid_fd = -1, .pid_new = leftover_none() };
}

/* In the parent. _exit(), as what stdio holds is the child's to write. */
static void parent_wait(pid_t child, int fd)
{
	int status = 0;
	ssize_t n;
	char byte;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(EXIT_SUCCESS);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
	}
	_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int daemon_fork(struct daemon *d)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), p[2];
	pid_t pid;

	if (null < 0)
		return -errno;
	if (pipe2(p, O_CLOEXEC)) {
		int err = -errno;

		close(null);
		return err;
	}
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(null);
		close(p[0]);
		close(p[1]);
		return err;
	}
	if (pid) {
		close(p[1]);
		parent_wait(pid, p[0]);
	}
	close(p[0]);
	d->null_fd = null;
	d->ready_fd = p[1];
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
	len = snprintf(buf, sizeof(buf), "%i\n", (int)getpid());
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
