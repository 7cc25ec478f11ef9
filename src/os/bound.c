/* SPDX-License-Identifier: MIT */
#include "os/bound.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "os/hops.h"
#include "os/pktinfo.h"
#include "os/sock.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

static int freebind(int fd, int family)
{
	if (family == AF_INET)
		return sock_set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
	return sock_set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
}

/* Before the first datagram comes, so that all of a peer are alike. */
static void tell_destination(int fd, int family, uint16_t port)
{
	int err = pktinfo_enable(fd, family == AF_INET6);

	if (err)
		log_limited(LOG_LVL_WARN, "UDP port %u: replies may leave from another address: %s", port, strerror(-err));
}

/* Both are passed on. What comes over IPv4 to a socket for both is told as of that. */
static void tell_hops(int fd, int family, bool dual)
{
	int err = hops_want(fd, family == AF_INET6);

	if (!err && family == AF_INET6 && dual)
		err = hops_want(fd, false);
	if (err)
		log_limited(LOG_LVL_DEBUG, "UDP: hop limit or type of service is not told: %s", strerror(-err));
}

static int setup(int fd, int family, const struct bound_spec *s)
{
	struct ep ep = { .addr = s->addr, .port = s->port };
	unsigned scope = 0;
	int err = s->freebind ? freebind(fd, family) : 0;

	if (s->dual)
		ep.addr = family == AF_INET ? addr_any4 : addr_any6;
	if (!err && s->dual && family == AF_INET6)
		err = sock_set_dual(fd);
	/* Connections that linger in TIME_WAIT must not keep us from starting again. For UDP it would let others share the port. */
	if (!err && s->proto == IPPROTO_TCP)
		err = sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!err && s->dev[0]) {
		err = sock_bind_dev(fd, s->dev);
		scope = sock_ifindex(fd, s->dev);
	}
	if (s->proto == IPPROTO_UDP) {
		tell_destination(fd, family, s->port);
		tell_hops(fd, family, s->dual);
	}
	if (!err)
		err = sock_bind(fd, family, &ep, scope);
	if (!err && s->proto == IPPROTO_TCP)
		err = sock_listen(fd, SOMAXCONN);
	return err;
}

int bound_open(const struct bound_spec *s, int *ret_fd, bool *ret_v6)
{
	int family = s->dual ? AF_INET6 : addr_family(&s->addr);
	int type = s->proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
	int fd, err;

	if (s->proto != IPPROTO_TCP && s->proto != IPPROTO_UDP)
		return -EPROTONOSUPPORT;
	err = sock_open(family, type, s->proto, &fd);
	if (err == -EAFNOSUPPORT && s->dual) {
		family = AF_INET;
		err = sock_open(family, type, s->proto, &fd);
	}
	if (err)
		return err;
	err = setup(fd, family, s);
	if (err) {
		sock_close(fd);
		return err;
	}
	*ret_fd = fd;
	*ret_v6 = family == AF_INET6;
	return 0;
}

bool bound_same(const struct bound_spec *a, const struct bound_spec *b)
{
	return a->proto == b->proto && a->port == b->port && !a->dual == !b->dual && (a->dual || addr_eq(&a->addr, &b->addr)) &&
	       !strncmp(a->dev, b->dev, sizeof(a->dev));
}

bool bound_serves(const struct bound_spec *at, const struct bound_spec *want)
{
	struct bound_spec w = *want;

	w.dual |= at->dual && addr_is_any(&w.addr);
	return bound_same(at, &w);
}

void bound_adopt(int fd, const struct bound_spec *s)
{
	int family = !s->dual && addr_is4(&s->addr) ? AF_INET : AF_INET6;

	if (s->proto != IPPROTO_UDP)
		return;
	tell_destination(fd, family, s->port);
	tell_hops(fd, family, s->dual);
}
