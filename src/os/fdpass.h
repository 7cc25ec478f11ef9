/* SPDX-License-Identifier: MIT */
/*
 * Messages with descriptors over a UNIX socket (SCM_RIGHTS, unix(7)), one that keeps message boundaries; on a stream, what is called a
 * message here is a piece of it.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

#define FDPASS_MAX 64 /* descriptors of one message */

/* A connected pair, SOCK_SEQPACKET and close-on-exec. */
MUST_USE int fdpass_pair(int ret_fd[2]);

/*
 * Sends one message of len bytes with n descriptors, which stay the caller's. flags as for sendmsg(2); MSG_NOSIGNAL is added.
 * -EAGAIN with MSG_DONTWAIT if there is no room, -EPIPE if nobody is there.
 */
MUST_USE int fdpass_send(int sock, const void *buf, size_t len, const int *fds, unsigned n, int flags);

/*
 * Receives one message of at most cap bytes and its descriptors (FDPASS_MAX places), which are the caller's then, close-on-exec.
 * Returns its length, 0 at the end. -EAGAIN also for want of memory, a millisecond later: it can be received some other time. -EMSGSIZE if
 * it was longer: it is gone, and they are closed. A message with more descriptors than there are places for, or than the process may still
 * have (RLIMIT_NOFILE), comes with none, and they are closed.
 */
MUST_USE ssize_t fdpass_recv(int sock, void *buf, size_t cap, int flags, int ret_fds[FDPASS_MAX], unsigned *ret_n);

/* Descriptors that nobody wants. */
void fdpass_close(const int *fds, unsigned n);

/* Waits for up to timeout_ms (-1: for ever) until there is something to receive, the end included; -ETIMEDOUT. */
MUST_USE int fdpass_wait(int sock, int timeout_ms);
