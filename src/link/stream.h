/* SPDX-License-Identifier: MIT */
/*
 * The stream back end: Ethernet frames over a connected AF_UNIX stream socket, as QEMU's "-netdev stream" speaks it.
 *
 * Each frame has its length in front, 32 bits in network order; 14 to 65535 bytes from the guest, anything else resets the connection.
 * One guest at a time; a further connection is accepted and closed at once. After a disconnect what was queued for the guest is
 * thrown away, and the next guest is waited for.
 */
#pragma once

#include "link/link.h"
#include "os/loop.h"

struct stream_conf {
	int listen_fd; /* a listening socket (os/unixpath.h), or -1 */
	int fd; /* a connected socket, or -1; owned by the link from stream_new() on, as is listen_fd */
	bool one_off; /* the end of a connection is cb.gone(); always so with fd */
	size_t mtu;
	struct link_cb cb;
};

/* -ENOMEM. Nothing happens before stream_start(). The caller ends it with link->ops->free(). */
MUST_USE int stream_new(struct loop *loop, const struct stream_conf *c, struct link **ret_link);

/* Waits for guests; with fd, the guest is there at once: cb.up() is called from inside. */
MUST_USE int stream_start(struct link *l);
