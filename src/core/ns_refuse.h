/* SPDX-License-Identifier: MIT */
/*
 * Datagrams that a program of the namespace has sent to its loopback address, and that nobody on the host wants: it learns that as from a
 * port that is closed, by an ICMP message that we put on the namespace's loopback interface. That takes a raw socket of the namespace; on
 * the host nobody has one.
 */
#pragma once

#include "netns/agent.h"

struct ns_refuse {
	int fd[2]; /* of IPv4, of IPv6; -1: none */
};

/* At start. Without the sockets, as where IPv6 is off, nothing is refused. */
void ns_refuse_open(struct ns_refuse *r, struct agent *a);
void ns_refuse_close(struct ns_refuse *r);

/* What the peer has sent to that endpoint has found nobody: a "port unreachable" (RFC 1122 4.1.3.3, RFC 4443 3.1). May be lost. */
void ns_refuse_send(const struct ns_refuse *r, const struct ep *peer, const struct ep *to);
