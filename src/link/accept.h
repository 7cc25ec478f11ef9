/* SPDX-License-Identifier: MIT */
/* The socket of a link whose guest connects: one connection at a time; a further one is accepted and closed at once. */
#pragma once

#include "os/acceptor.h"

void guest_listen_init(struct acceptor *a, struct loop *loop, int fd);

/* The next connection; not if busy: it is closed then. -EBUSY; -EAGAIN: there is none now. */
MUST_USE int guest_listen_take(struct acceptor *a, bool busy, int *ret_fd);

/* Socket of a guest, with buffers as large as it gets. */
void guest_sock_prepare(int fd);

/* True if the other end has closed its connection, though not everything that it sent may have been read. */
bool peer_hung_up(int fd);
