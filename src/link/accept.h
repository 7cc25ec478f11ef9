/* SPDX-License-Identifier: MIT */
/*
 * The listening socket of a link whose guest connects: one connection at a time; a further one is accepted and closed at once.
 * When a connection can't be accepted, for lack of descriptors, say, it is tried again a little later.
 */
#pragma once

#include "os/loop.h"

struct acceptor {
	struct loop *loop;
	struct ref ref; /* of the events */
	int fd; /* owned; -1: there is no listening socket */
	struct timer retry;
};

void acceptor_init(struct acceptor *a, struct loop *loop, int fd);
void acceptor_fini(struct acceptor *a);

/* Events with ref from now on, for acceptor_take(). */
void acceptor_start(struct acceptor *a, struct ref ref);

/* The next connection; not if busy: it is closed then. -EBUSY; -EAGAIN: there is none now. */
MUST_USE int acceptor_take(struct acceptor *a, bool busy, int *ret_fd);

/* True if the other end has closed its connection, though not everything that it sent may have been read. */
bool peer_hung_up(int fd);
