/* SPDX-License-Identifier: MIT */
#include "xlate/ipopts.h"

#include <netinet/in.h>

#include "os/hops.h"
#include "os/sock.h"
#include "wire/ip.h"

void ipopts_init(struct ipopts *o, const struct outbound *out, const struct addr *to)
{
	*o = (struct ipopts){ .v4 = addr_is4(to), .group = addr_is_multicast(to) };
	o->ttl = o->v4 ? out->ttl4 : out->ttl6;
	if (o->group)
		o->ttl = 1; /* what ip(7) and ipv6(7) say of multicast */
}

static int ttl_set(const struct ipopts *o, int fd, uint8_t ttl)
{
	if (o->v4)
		return sock_set_int(fd, IPPROTO_IP, o->group ? IP_MULTICAST_TTL : IP_TTL, ttl);
	return sock_set_int(fd, IPPROTO_IPV6, o->group ? IPV6_MULTICAST_HOPS : IPV6_UNICAST_HOPS, ttl);
}

int ipopts_set(struct ipopts *o, int fd, uint8_t ttl, uint8_t tos)
{
	int rc = 0, err;

	if (o->ttl != ttl) {
		rc = ttl_set(o, fd, ttl);
		if (ttl < IP_TTL_DEFAULT && !o->tells_ttl)
			o->tells_ttl = !hops_want_ttl(fd, !o->v4);
	}
	if (o->tos != tos) {
		err = o->v4 ? sock_set_int(fd, IPPROTO_IP, IP_TOS, tos) : sock_set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
		rc = rc ? rc : err;
	}
	o->ttl = ttl;
	o->tos = tos;
	return rc;
}
