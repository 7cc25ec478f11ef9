/* SPDX-License-Identifier: MIT */
#include "xlate/peer.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/log.h"
#include "os/hops.h"
#include "os/sock.h"

int peer_connect(struct peer_sock *s, const struct outbound *o)
{
	int rc;

	s->connected = false;
	ipopts_init(&s->ip, o, &s->to.addr);
	peer_want_hops(s);
	if (addr_is_multicast(&s->to.addr))
		return 0;
	if (addr_is_broadcast(&s->to.addr))
		return sock_set_int(s->fd, SOL_SOCKET, SO_BROADCAST, 1);
	rc = sock_connect(s->fd, addr_family(&s->to.addr), &s->to, o->scope6);
	if (rc == -EACCES) /* the broadcast address of a network of the host */
		return sock_set_int(s->fd, SOL_SOCKET, SO_BROADCAST, 1);
	s->connected = !rc;
	return rc;
}

void peer_failed(struct peer_sock *s, int err)
{
	static const int errs[] = { ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EINVAL, ENODEV, EDESTADDRREQ, ENOTCONN };

	for (size_t i = 0; s->connected && i < ARRAY_SIZE(errs); i++)
		s->stale = s->stale || err == errs[i];
}

/* In IPv6 nobody but the sender cuts, so that it is enough to let the kernel do so. */
static int cuts_set(struct peer_sock *s, bool v4, bool may_frag)
{
	int val = v4 ? (may_frag ? IP_PMTUDISC_DONT : IP_PMTUDISC_DO) : (may_frag ? IPV6_PMTUDISC_WANT : IPV6_PMTUDISC_DO);

	s->cuts = may_frag ? PEER_CUTS_ALL : PEER_CUTS_NONE;
	return sock_set_int(s->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, val);
}

void peer_opts_set(struct peer_sock *s, const struct pkt *p)
{
	int rc = ipopts_set(&s->ip, s->fd, p->ttl, p->tos);

	if (!peer_cuts_same(s, p) && cuts_set(s, s->ip.v4, p->may_frag))
		rc = -EINVAL;
	if (rc)
		log_limited(LOG_LVL_WARN, "Hop limit, type of service or fragmentation of a datagram socket not set");
}

void peer_want_hops(struct peer_sock *s)
{
	s->ip.tells_ttl = true;
	if (hops_want(s->fd, !s->ip.v4))
		log_limited(LOG_LVL_DEBUG, "Hop limit or type of service is not told by a datagram socket");
}

uint32_t peer_path_mtu(const struct peer_sock *s)
{
	bool v4 = addr_is4(&s->to.addr);
	int mtu = 0, rc = sock_get_int(s->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu);

	return rc || mtu < 0 ? 0 : (uint32_t)mtu;
}
