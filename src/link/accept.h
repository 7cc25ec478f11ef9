/* SPDX-License-Identifier: MIT */
/* The socket of a link whose guest connects: one connection at a time; a further one is accepted and closed at once. */
#pragma once

#include <errno.h>
#include <sys/types.h>

#include "os/acceptor.h"

void guest_listen_init(struct acceptor *a, struct loop *loop, int fd);

/* The next connection; not if busy: it is closed then. -EBUSY; -EAGAIN: there is none now. */
MUST_USE int guest_listen_take(struct acceptor *a, bool busy, int *ret_fd);

/* The system has no memory for what was asked of a guest's socket. That passes, but events would tell all the time to ask again. */
static inline bool guest_sock_short(ssize_t err)
{
	return err == -ENOBUFS || err == -ENOMEM;
}

#define GUEST_REST_NS (2 * NSEC_PER_MSEC) /* so long without events then */

/* Socket of a guest, with buffers as large as it gets. */
void guest_sock_prepare(int fd);

/* True if the other end has closed its connection, though not everything that it sent may have been read. */
bool peer_hung_up(int fd);
