/* SPDX-License-Identifier: MIT */
#include "xlate/peer.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/log.h"
#include "os/hops.h"
#include "os/sock.h"
#include "wire/ip.h"

int peer_connect(struct peer_sock *s, const struct outbound *o)
{
	int rc;

	s->connected = false;
	s->ttl = IP_TTL_DEFAULT;
	if (addr_is_multicast(&s->to.addr)) {
		s->ttl = 1; /* what ip(7) and ipv6(7) say of multicast */
		return 0;
	}
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
	bool v4 = addr_is4(&s->to.addr), multicast = addr_is_multicast(&s->to.addr);
	int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	int ttl = v4 ? (multicast ? IP_MULTICAST_TTL : IP_TTL) : (multicast ? IPV6_MULTICAST_HOPS : IPV6_UNICAST_HOPS);
	int rc = 0;

	if (s->ttl != p->ttl)
		rc = sock_set_int(s->fd, level, ttl, p->ttl);
	if (p->ttl < IP_TTL_DEFAULT && s->ttl != p->ttl && !s->hops)
		s->hops = !hops_want_ttl(s->fd, !v4);
	if (s->tos != p->tos && sock_set_int(s->fd, level, v4 ? IP_TOS : IPV6_TCLASS, p->tos))
		rc = -EINVAL;
	if (!peer_cuts_same(s, p) && cuts_set(s, v4, p->may_frag))
		rc = -EINVAL;
	if (rc)
		log_limited(LOG_LVL_WARN, "Hop limit, type of service or fragmentation of a datagram socket not set");
	/* Even then: once is enough. */
	s->ttl = p->ttl;
	s->tos = p->tos;
}

uint32_t peer_path_mtu(const struct peer_sock *s)
{
	bool v4 = addr_is4(&s->to.addr);
	int mtu = 0, rc = sock_get_int(s->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu);

	return rc || mtu < 0 ? 0 : (uint32_t)mtu;
}
