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
	uint8_t paused : 1; /* its events are off for a moment: listener_pause() */
};

struct listeners {
	struct loop *loop;
	unsigned owner_tcp, owner_udp; /* event owners (os/loop.h); ref.index is the index into l, ref.gen is 0 */
	const struct fwd_table *table;
	struct listener *l;
	uint32_t n;
	struct timer retry; /* armed while some are paused */
};

/* No listeners yet; t must outlive *ls. */
void listeners_init(struct listeners *ls, const struct fwd_table *t);

/* Sockets of all rules of a table together. */
#define LISTENERS_MAX (5 * 65536)

/*
 * Opens a socket for every port of every rule, without events yet; FWD_SCAN rules get closed listeners for listener_open(). A port that
 * can't be bound is the line "Listen failed for HOST TCP port ADDR/PORT: reason". It is an error, one for each rule, and the result is
 * -errno of the last; for a FWD_WEAK rule it is a warning, in which neighbouring ports with the same reason share one line, unless all
 * ports of its specifier failed: then "All listens failed for ..." and -errno. Where the kernel has no IPv6, a dual rule is IPv4.
 * Where descriptors are short, FWD_WEAK specifiers get equal shares, with a warning.
 * -E2BIG for more than LISTENERS_MAX sockets. On failure nothing is left open. t must outlive *ls.
 */
MUST_USE int listeners_open(struct listeners *ls, const struct fwd_table *t);

/* Adds them to the loop (level-triggered EPOLLIN). The owners must be set. */
MUST_USE int listeners_start(struct listeners *ls, struct loop *loop, unsigned owner_tcp, unsigned owner_udp);
void listeners_close(struct listeners *ls);

/*
 * One port of one rule, opened later ("auto") and added to the loop if listeners_start() was called; 0 if it is open already. Nothing
 * is logged. -EINVAL if the rule does not have the port.
 */
MUST_USE int listener_open(struct listeners *ls, unsigned rule, uint16_t port);
void listener_close(struct listeners *ls, unsigned rule, uint16_t port);

/*
 * No event of this listener for a second: what came can't be taken now, for want of descriptors or memory, and to be told of it again
 * and again would not help. It waits in the kernel's queue.
 */
void listener_pause(struct listeners *ls, uint32_t index);
