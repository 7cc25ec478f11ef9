/* SPDX-License-Identifier: MIT */
/* The listening sockets of the forwarding rules. */
#pragma once

#include "fwd/rule.h"
#include "os/loop.h"

struct listener {
	int fd; /* -1: closed */
	uint16_t rule; /* index into the table */
	uint16_t port; /* the port that it listens on, on the host */
	uint16_t to; /* the port in the guest */
	uint8_t proto;
	uint8_t v6 : 1; /* the socket is AF_INET6 (with FWD_DUAL: both families) */
};

struct listeners {
	struct loop *loop;
	unsigned owner_tcp, owner_udp; /* event owners (os/loop.h); ref.index is the index into l, ref.gen is 0 */
	const struct fwd_table *table;
	struct listener *l;
	uint32_t n;
};

/*
 * Opens a socket for every port of every rule, without events yet. A port that can't be bound is an error line "Listen failed for HOST
 * TCP port ADDR/PORT: reason" by log_err() and the result -errno of the last one, unless the rule is FWD_WEAK: then a warning, and
 * -EADDRINUSE or so with "All listens failed for ..." only if every single one failed. Where the kernel has no IPv6, a dual rule is IPv4.
 */
MUST_USE int listeners_open(struct listeners *ls, const struct fwd_table *t);

/* Adds them to the loop (level-triggered EPOLLIN). The owners must be set. */
MUST_USE int listeners_start(struct listeners *ls, struct loop *loop, unsigned owner_tcp, unsigned owner_udp);
void listeners_close(struct listeners *ls);
