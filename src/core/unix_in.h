/* SPDX-License-Identifier: MIT */
/*
 * Connections to UNIX sockets of the host, for a guest that is reached by frames alone. The translator works with TCP sockets; so such a
 * connection is spliced with one of TCP, over the host's loopback to a listener of our own. To the guest it is one from loopback.
 */
#pragma once

#include "fwd/listen.h"
#include "os/loop.h"
#include "tcp/splice.h"
#include "tcp/tcp.h"

#define UNIX_IN_MAX 1024u /* connections, of three descriptors each, */
#define UNIX_IN_PIPES 128u /* and of two, for the busiest of them */

struct unix_in;

struct unix_in_conf {
	struct loop *loop;
	struct listeners *ls; /* all of the host */
	struct tcp *tcp;
	bool v4; /* the loopback address that the guest is shown as its peer is that of IPv4; else of IPv6 */
	uint32_t max, pipes;
	bool soon; /* there are such sockets already: opens all that takes the right to bind a port, which may go */
};

/* Watches the listeners, for the translator as well. -errno. */
MUST_USE int unix_in_new(const struct unix_in_conf *c, struct unix_in **ret_u);

/* NULL is fine. Before the listeners are closed. */
void unix_in_free(struct unix_in *u);

/* Event owner for the TCP listeners. */
unsigned unix_in_owner(const struct unix_in *u);
