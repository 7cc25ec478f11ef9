/* SPDX-License-Identifier: MIT */
/* What tests of the links have in common: a real loop, a link in it, and what it calls. */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "link/link.h"
#include "os/loop.h"

struct link_world {
	struct loop loop;
	struct timer nowait;
	struct link *link; /* NULL: none yet */
	int peer; /* the other end; -1: none */
	unsigned rx_calls, up, down, gone, ready; /* calls */
	unsigned rx_max; /* most frames of one call */
	void (*on_frame)(struct link_world *w, const struct frame *f); /* of the test, for each frame that the guest sends */
};

int link_world_init(struct link_world *w, void (*on_frame)(struct link_world *w, const struct frame *f));

/* Makes and starts a vhost-user link that listens somewhere; returns the length of that address. */
socklen_t link_world_vhost(struct link_world *w, bool one_off, struct sockaddr_un *ret_sa);

/* Also frees the link, and closes the peer. */
void link_world_fini(struct link_world *w);

/* For the back end to be made. */
struct link_cb link_world_cb(struct link_world *w);

/* One turn of the loop that does not wait, and its flush. */
void link_world_turn(struct link_world *w);
