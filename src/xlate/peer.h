/* SPDX-License-Identifier: MIT */
/* A datagram socket and the peer that the guest writes to with it. */
#pragma once

#include "fwd/out.h"
#include "wire/pkt.h"
#include "xlate/ipopts.h"

/*
 * Datagrams that fit every path are never cut, so only longer ones have the socket follow the guest's wish: those that it sent with DF, and
 * in IPv6 all but fragments, are refused if they do not fit the path (EMSGSIZE), and the guest is told its MTU; others are cut.
 */
#define PEER_ANY_PATH 512 /* IP packets of 552 bytes are what Linux takes any path for, RFC 8200 has 1280 */

enum peer_cuts {
	PEER_CUTS_UNSET, /* as the host has it for all sockets */
	PEER_CUTS_NONE,
	PEER_CUTS_ALL,
};

struct peer_sock {
	int fd;
	struct ep to; /* in the host's view */
	bool connected;
	bool stale; /* a new socket may do better: peer_failed() */
	struct ipopts ip;
	uint8_t cuts; /* who may cut datagrams: enum peer_cuts */
};

/*
 * Connects the socket, which is new, unless the peer is a multicast or broadcast address: those have answers from many, so they are no
 * peer to connect to. It can be written to, at least, and peer_want_hops(). -errno.
 */
MUST_USE int peer_connect(struct peer_sock *s, const struct outbound *o);

/*
 * Whoever finds the socket's port can send to it, and for as long as he likes. So the guest alone keeps such a flow open (RFC 4787 REQ-6: the
 * direction that counts is out).
 */
static inline bool peer_is_anyone(const struct peer_sock *s)
{
	return s->fd >= 0 && !s->connected;
}

/*
 * Sending failed with err (positive), and no error of an earlier datagram was pending. A socket that is connected has chosen its source
 * address for good; when the host loses that, or somebody cuts the connection (sock_diag(7)), it is stale.
 */
void peer_failed(struct peer_sock *s, int err);

static inline bool peer_cuts_same(const struct peer_sock *s, const struct pkt *p)
{
	return p->l4_len <= PEER_ANY_PATH || s->cuts == (p->may_frag ? PEER_CUTS_ALL : PEER_CUTS_NONE);
}

/* Hop limit and type of service of p, and whether it may be cut, are as the socket has them already. */
static inline bool peer_opts_same(const struct peer_sock *s, const struct pkt *p)
{
	return ipopts_same(&s->ip, p->ttl, p->tos) && peer_cuts_same(s, p);
}

/* They will be. What can't be set is logged, and not tried again. */
void peer_opts_set(struct peer_sock *s, const struct pkt *p);

/* From now on the socket tells hop limit and type of service of what arrives (os/hops.h), as far as it can. */
void peer_want_hops(struct peer_sock *s);

/* The MTU of the path to the peer, as the host knows it; 0: it does not. */
uint32_t peer_path_mtu(const struct peer_sock *s);
