/* SPDX-License-Identifier: MIT */
/*
 * Becoming a daemon in a way that managers can rely on: the parent returns success only when the daemon is ready, messages of the
 * start-up still reach stderr, and afterwards nobody holds a copy of the descriptors that the manager gave us.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"
#include "os/leftover.h"

struct daemon {
	pid_t pid; /* by which others know us */
	int ready_fd; /* to the waiting parent; -1 in the foreground */
	int null_fd; /* /dev/null, opened while there is one; -1 in the foreground */
	int pid_fd; /* -1: none */
	struct leftover pid_new; /* the pid file, if it did not exist before */
};

/*
 * Opens /dev/null at those of the descriptors 0 to 2 that are closed, and ignores SIGPIPE: that nobody reads our messages any more must
 * not end us. First of all, before anything else is opened or printed.
 */
void daemon_stdio_open(void);

/*
 * Closes all descriptors from first, which is 3 or more, on but *fd (-1: none), which moves there if it is one of 0 to 2; close-on-exec is
 * set on it. For descriptors that whoever started us left open by mistake. Where *fd is also one of 0 to 2, /dev/null takes its
 * place there.
 */
MUST_USE int daemon_fds_close(int *fd, unsigned first);

/* No pid file, foreground. */
void daemon_init(struct daemon *d);

/*
 * Goes on in a child. The parent does not return: it ends with 0 when the child calls daemon_ready(), or with the child's status
 * if that ends before (1 if by a signal).
 */
MUST_USE int daemon_fork(struct daemon *d);

/*
 * After daemon_fork(), and once our children are to be born in a new PID namespace: goes on in the first of them, which is process 1 there. The
 * one that called is left as a waiting parent that has nothing open but that, and ends as the other one does. Its children are adopted by
 * whoever adopts orphans. -errno: nothing has changed.
 */
MUST_USE int daemon_reborn(struct daemon *d);

/* Opens the pid file, in place if there is one, whose content stays until daemon_pid_write(). */
MUST_USE int daemon_pid_open(struct daemon *d, const char *path);

/* Writes the pid file, if one was opened. When everything is ready, before daemon_ready(). */
MUST_USE int daemon_pid_write(struct daemon *d);

/* After a start that failed: removes the pid file, if daemon_pid_open() created it. */
void daemon_pid_unlink(struct daemon *d);

/* The start is over. For a daemon, leaves the session, puts /dev/null on 0 to 2 and lets the parent go. Opens nothing. */
MUST_USE int daemon_ready(struct daemon *d);
