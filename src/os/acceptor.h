/* SPDX-License-Identifier: MIT */
/*
 * A listening socket in the loop. When a connection can't be accepted, for lack of descriptors, say, it stays in the kernel's queue and is
 * tried again a little later: asking again at once would spin.
 */
#pragma once

#include "base/addr.h"
#include "os/loop.h"

struct acceptor {
	struct loop *loop;
	struct ref ref; /* of the events */
	const char *who; /* connects there, as told in a warning: "a guest" */
	int fd; /* owned; -1: there is no listening socket */
	struct timer retry;
};

void acceptor_init(struct acceptor *a, struct loop *loop, int fd, const char *who);
void acceptor_fini(struct acceptor *a);

/* Events with ref from now on, for acceptor_take(). */
void acceptor_start(struct acceptor *a, struct ref ref);

/* The next connection, non-blocking, and who it is from, as of sock_accept(). -EAGAIN: there is none now. */
MUST_USE int acceptor_take(struct acceptor *a, struct ep *ret_peer, int *ret_fd);
