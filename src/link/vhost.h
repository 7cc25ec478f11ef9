/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user back end: the guest's own memory, and the queues of its network card in it.
 *
 * A hypervisor connects to a UNIX stream socket, and hands over the guest's memory and events by messages (link/vhost/req.h). Sockets are
 * read into the guest's buffers and written from them. What the guest's driver agreed to is what the link offers: superframes in both
 * directions, partial checksums. All pairs of queues are served that the driver uses; frames of one flow go out by the pair by which the
 * flow's frames came last (struct txwant), the first until there were any.
 *
 * One front-end at a time, as with link/stream.h. The guest is up while the first pair of queues runs and is enabled. A queue that can't
 * be right stops the device until the guest resets it; memory that was taken away from under us ends the connection.
 */
#pragma once

#include "link/link.h"
#include "os/loop.h"

struct vhost_conf {
	int listen_fd; /* a listening socket (os/unixpath.h), or -1 */
	int fd; /* a connected socket, or -1; owned by the link from vhost_new() on, as is listen_fd */
	bool one_off; /* the end of a connection is cb.gone(); always so with fd */
	size_t mtu;
	struct link_cb cb;
};

/* -ENOMEM, or an error of sigaction(2). Nothing happens before vhost_start(). The caller ends it with link->ops->free(). */
MUST_USE int vhost_new(struct loop *loop, const struct vhost_conf *c, struct link **ret_link);

/* Waits for front-ends; with fd, one is there already. */
MUST_USE int vhost_start(struct link *l);
