/* SPDX-License-Identifier: MIT */
#include "fwd/nat.h"

#include <errno.h>
#include <netinet/in.h>

#define PORT_DNS 53
#define PORT_DNS_TLS 853 /* RFC 7858; over QUIC, RFC 9250 */

static bool nat_match(const struct addr *entry, const struct addr *a)
{
	return addr_is_set(entry) && addr_eq(entry, a);
}

static const struct nat_family *nat_family(const struct nat *n, const struct addr *a)
{
	return addr_is4(a) ? &n->v4 : &n->v6;
}

static bool nat_is_dns(const struct nat_family *f, uint8_t proto, const struct ep *dst)
{
	if (proto != IPPROTO_UDP && proto != IPPROTO_TCP)
		return false;
	if (dst->port != PORT_DNS && dst->port != PORT_DNS_TLS)
		return false;
	return nat_match(&f->dns_forward, &dst->addr);
}

/* The address alone, where it is one that stands for something else on the host. Unset: it is not reachable. */
static struct addr nat_addr_to_host(const struct nat *n, const struct nat_family *f, const struct addr *a)
{
	if (nat_match(&f->map_loopback, a))
		return addr_is4(a) ? addr_loopback4 : addr_loopback6;
	if (nat_match(&f->map_guest, a))
		return f->host;
	if (addr_is_any(a) || addr_is_loopback(a))
		return addr_any6;
	/* Our link-local address is made up, unless it is that of the gateway: then the gateway itself is meant. */
	if (nat_match(&n->our_ll6, a) && !nat_match(&f->our, a))
		return addr_any6;
	return *a;
}

int nat_to_host(const struct nat *n, uint8_t proto, const struct ep *dst, struct ep *ret_dst)
{
	const struct nat_family *f = nat_family(n, &dst->addr);
	struct ep to = *dst;

	/* The port of the resolver may be a mapped address too: the resolver is the more specific entry, if there is one. */
	if (nat_is_dns(f, proto, dst) && addr_is_set(&f->dns_host))
		to.addr = f->dns_host;
	else if (nat_is_dns(f, proto, dst) && !nat_match(&f->map_loopback, &dst->addr) && !nat_match(&f->map_guest, &dst->addr))
		return -EHOSTUNREACH;
	else
		to.addr = nat_addr_to_host(n, f, &dst->addr);

	if (!addr_is_set(&to.addr))
		return -EHOSTUNREACH;
	*ret_dst = to;
	return 0;
}

bool nat_is_ours(const struct nat *n, const struct addr *a)
{
	const struct nat_family *f = nat_family(n, a);

	if (nat_match(&f->guest, a))
		return false;
	return nat_match(&f->our, a) || nat_match(&f->map_loopback, a) || nat_match(&f->map_guest, a) ||
	       nat_match(&f->dns_forward, a) || nat_match(&n->our_ll6, a);
}

static bool nat_fits(const struct nat_family *f, const struct addr *a, const struct addr *guest)
{
	return addr_is_set(a) && !addr_eq(a, guest) && !addr_eq(a, &f->guest);
}

int nat_to_guest(const struct nat *n, const struct addr *guest, const struct ep *peer, struct ep *ret_peer)
{
	const struct nat_family *f = nat_family(n, &peer->addr);
	const struct addr *wish = &peer->addr, *our = &f->our, *last = &n->our_ll6;
	const struct addr *found = NULL;

	if (addr_is4(guest) != addr_is4(&peer->addr))
		return -EADDRNOTAVAIL;
	if (addr_is_any(&peer->addr) || addr_is_multicast(&peer->addr) || addr_is_broadcast(&peer->addr))
		return -EADDRNOTAVAIL;

	if (addr_is_loopback(&peer->addr))
		wish = &f->map_loopback;
	else if (nat_match(&f->host, &peer->addr) && addr_is_set(&f->map_guest))
		wish = &f->map_guest;

	/* A link-local guest address talks to a link-local one of ours where it can (RFC 6724 5, rule 2). */
	if (!addr_is4(guest) && addr_is_linklocal(guest)) {
		our = &n->our_ll6;
		last = &f->our;
	}

	if (nat_fits(f, wish, guest))
		found = wish;
	else if (nat_fits(f, our, guest))
		found = our;
	else if (!addr_is4(guest) && nat_fits(f, last, guest))
		found = last;
	if (!found)
		return -EADDRNOTAVAIL;

	*ret_peer = (struct ep){ .addr = *found, .port = peer->port };
	return 0;
}
