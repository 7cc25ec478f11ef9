/* SPDX-License-Identifier: MIT */
/*
 * Hop limit and type of service of what arrived, as control messages (IP_RECVTTL and IP_RECVTOS in ip(7), IPV6_RECVHOPLIMIT and
 * IPV6_RECVTCLASS in ipv6(7)); also of ICMP errors in the error queue.
 */
#pragma once

#include <sys/socket.h>

#include "base/defs.h"

#define HOPS_CTL 64 /* room for both, aligned like struct cmsghdr */

struct hops {
	uint8_t ttl, tos;
};

static inline bool hops_eq(const struct hops *a, const struct hops *b)
{
	return a->ttl == b->ttl && a->tos == b->tos;
}

/* Asks for the hop limit, on a socket that is AF_INET6 or not. -errno. */
MUST_USE int hops_want_ttl(int fd, bool v6);

/* The same for the type of service. */
MUST_USE int hops_want_tos(int fd, bool v6);

/* Both. */
MUST_USE int hops_want(int fd, bool v6);

/* Overwrites what the message tells. */
void hops_get(const struct msghdr *h, struct hops *hops);

/*
 * Type of service of the handshake that a TCP connection was accepted with (IP_PKTOPTIONS and IPV6_2292PKTOPTIONS, which tell of streams what
 * control messages tell of datagrams). v4: of the peer, whatever the socket is. 0 where the kernel does not tell.
 */
uint8_t hops_tos_accepted(int fd, bool v4);
