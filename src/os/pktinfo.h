/* SPDX-License-Identifier: MIT */
/* The local address of a datagram, as control message (IP_PKTINFO in ip(7), IPV6_PKTINFO in RFC 3542 section 6). */
#pragma once

#include <sys/socket.h>

#include "base/addr.h"

#define PKTINFO_CTL 64 /* room for one, aligned like struct cmsghdr */

/* Asks for it, on a socket that is AF_INET6 or not. -errno. */
MUST_USE int pktinfo_enable(int fd, bool v6);

/* What the message was sent to, if that can be a source; else false. *ret_scope is the interface, for IPv6 only. */
bool pktinfo_get(const struct msghdr *h, struct addr *ret_local, unsigned *ret_scope);

/*
 * Names the source of a message that is to be sent on an AF_INET6 socket (v6; local may be IPv4 then as well) or an AF_INET one; buf of
 * PKTINFO_CTL bytes becomes its control message.
 */
void pktinfo_put(struct msghdr *h, void *buf, bool v6, const struct addr *local, unsigned scope);
