/* SPDX-License-Identifier: MIT */
/* A socket that others come to: bound to an address and a port, and listening if it is TCP. */
#pragma once

#include "base/addr.h"

#define BOUND_DEV_MAX 16 /* IFNAMSIZ */

/* Also part of a message between processes of this program: nothing in it points anywhere. */
struct bound_spec {
	struct addr addr;
	uint16_t port;
	uint8_t proto; /* IPPROTO_TCP, IPPROTO_UDP */
	uint8_t dual; /* both families on one socket: addr doesn't matter */
	uint8_t freebind; /* the address may be missing yet */
	char dev[BOUND_DEV_MAX]; /* empty: any interface; else a string */
};

/*
 * -errno as of the system calls, -EPROTONOSUPPORT for another protocol. Where the kernel has no IPv6, a dual socket is one of IPv4.
 * *ret_v6: it is of AF_INET6. One of UDP tells what its datagrams were sent to (os/pktinfo.h), where the kernel can.
 */
MUST_USE int bound_open(const struct bound_spec *s, int *ret_fd, bool *ret_v6);

/* Whether two sockets of these would be in each other's place; freebind does not matter. */
bool bound_same(const struct bound_spec *a, const struct bound_spec *b);

/* Whether a socket that is bound so can be in the place of the one that is wanted: also one of both families where one would do. */
bool bound_serves(const struct bound_spec *at, const struct bound_spec *want);

/* A socket that somebody else has bound so: has it tell what bound_open() has its own tell. */
void bound_adopt(int fd, const struct bound_spec *s);
