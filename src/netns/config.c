/* SPDX-License-Identifier: MIT */
#include "netns/config.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns/nlreq.h"
#include "netns/sysctl.h"

#define IF_LOOPBACK 1
#define IP6_CONF "net/ipv6/conf/%s/%s"

struct apply {
	const struct nsconf *c;
	struct nsconf_result *r;
	struct nlreq nl;
	const char *name; /* of the interface as it is now */
	int ifindex;
	int err_addr[NSCONF_ADDRS]; /* 1: not tried yet */
	int err_route[NSCONF_ROUTES];
};

static void warning_add(struct apply *a, enum nsconf_what what, unsigned index, int err)
{
	struct nsconf_result *r = a->r;

	if (r->n_warnings < NSCONF_WARNINGS)
		r->warning[r->n_warnings] = (struct nsconf_warning){ .err = err, .what = (uint16_t)what, .index = (uint16_t)index };
	r->n_warnings++;
}

static void check(struct apply *a, enum nsconf_what what, int err)
{
	if (err)
		warning_add(a, what, 0, err);
}

/* --- the interface --- */

static void loopback_up(struct apply *a)
{
	check(a, NSCONF_LO, nlreq_link_up(&a->nl, IF_LOOPBACK));
}

static int link_find(struct apply *a)
{
	unsigned index = if_nametoindex(a->c->name);

	if (!index)
		return -errno;
	a->ifindex = (int)index;
	a->r->ifindex = index;
	a->name = a->c->name;
	return 0;
}

static void link_set(struct apply *a)
{
	const struct nsconf *c = a->c;
	int err;

	if (c->rename[0] && strcmp(c->rename, c->name)) {
		err = nlreq_link_name(&a->nl, a->ifindex, c->rename);
		check(a, NSCONF_NAME, err);
		if (!err)
			a->name = c->rename;
	}
	if (c->has_mac)
		check(a, NSCONF_MAC, nlreq_link_mac(&a->nl, a->ifindex, c->mac));
	if (c->mtu)
		check(a, NSCONF_MTU, nlreq_link_mtu(&a->nl, a->ifindex, c->mtu));
	if (c->txqlen)
		check(a, NSCONF_TXQLEN, nlreq_link_txqlen(&a->nl, a->ifindex, c->txqlen));
}

static bool has_ip6(const struct nsconf *c)
{
	for (unsigned i = 0; i < c->n_addrs; i++) {
		if (!addr_is4(&c->addr[i].addr))
			return true;
	}
	return false;
}

static int ip6_sysctl(const struct apply *a, const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), IP6_CONF, a->name, name);
	return sysctl_set(path, value);
}

/*
 * What is set explicitly must not change by itself: no address from the MAC, which would take a second until it could be used, and
 * nothing from advertisements. Where /proc/sys can't be written to, there is the mode of addresses at least.
 */
static void ip6_prepare(struct apply *a)
{
	int err = nlreq_link_no_addrgen(&a->nl, a->ifindex);

	(void)ip6_sysctl(a, "accept_ra", "0");
	if (!has_ip6(a->c))
		return;
	check(a, NSCONF_IP6, err);
	/* Inherited from the host, maybe. */
	(void)ip6_sysctl(a, "disable_ipv6", "0");
}

/* --- addresses --- */

static int addr_set(struct apply *a, const struct nsconf_addr *ad)
{
	int err = nlreq_addr(&a->nl, a->ifindex, ad);

	return err == -EEXIST ? 0 : err;
}

static void addrs_set(struct apply *a)
{
	for (unsigned i = 0; i < a->c->n_addrs; i++) {
		if (a->err_addr[i] && !addr_eq(&a->c->addr[i].addr, &addr_any6))
			a->err_addr[i] = addr_set(a, &a->c->addr[i]);
	}
}

/* The address that the kernel would make from the MAC (RFC 4291 2.5.1), but at once. Neighbour discovery wants one. */
static void linklocal_set(struct apply *a)
{
	struct nsconf_addr ll = { .addr = { .b = { 0xfe, 0x80 } }, .plen = 64, .scope = RT_SCOPE_LINK };
	struct ifreq ifr = { 0 };
	const uint8_t *mac = (const uint8_t *)ifr.ifr_hwaddr.sa_data;
	int fd, err;

	for (unsigned i = 0; i < a->c->n_addrs; i++) {
		if (!addr_is4(&a->c->addr[i].addr) && addr_is_linklocal(&a->c->addr[i].addr))
			return;
	}
	memcpy(ifr.ifr_name, a->name, strnlen(a->name, sizeof(ifr.ifr_name) - 1));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	err = fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	memcpy(ll.addr.b + 8, mac, 3);
	ll.addr.b[8] ^= 2;
	ll.addr.b[11] = 0xff;
	ll.addr.b[12] = 0xfe;
	memcpy(ll.addr.b + 13, mac + 3, 3);
	if (!err)
		err = addr_set(a, &ll);
	if (err && has_ip6(a->c))
		warning_add(a, NSCONF_IP6, 0, err);
}

/* --- routes --- */

static bool has_addr(const struct nsconf *c, const struct addr *a)
{
	for (unsigned i = 0; i < c->n_addrs; i++) {
		if (addr_eq(&c->addr[i].addr, a))
			return true;
	}
	return false;
}

/* The kernel has made this one together with an address. */
static bool is_prefix_of_addr(const struct nsconf *c, const struct nsconf_route *r)
{
	if (r->n_hops != 1 || addr_is_set(&c->hop[r->hop].gw) || r->type != RTN_UNICAST || r->src_plen)
		return false;
	for (unsigned i = 0; i < c->n_addrs; i++) {
		const struct nsconf_addr *ad = &c->addr[i];

		if (addr_is_set(&ad->addr) && !ad->no_prefix_route && ad->plen == r->plen &&
		    addr_same_net(&ad->addr, &r->dst, r->plen))
			return true;
	}
	return false;
}

static int route_set(struct apply *a, const struct nsconf_route *r, bool onlink)
{
	struct nlreq_route q = { .route = *r, .hop = a->c->hop + r->hop, .ifindex = a->ifindex, .onlink = onlink };
	int err;

	if (is_prefix_of_addr(a->c, r))
		return 0;
	if (!has_addr(a->c, &r->prefsrc))
		q.route.prefsrc = addr_any6;
	err = nlreq_route(&a->nl, &q);
	return err == -EEXIST ? 0 : err;
}

/* True if at least one route that could not be set before could be set now. */
static bool routes_pass(struct apply *a, bool onlink)
{
	bool progress = false;

	for (unsigned i = 0; i < a->c->n_routes; i++) {
		int err = a->err_route[i];

		if (!err || (onlink && err != -ENETUNREACH && err != -EHOSTUNREACH))
			continue;
		a->err_route[i] = route_set(a, &a->c->route[i], onlink);
		progress |= !a->err_route[i];
	}
	return progress;
}

/*
 * A gateway has to be reachable by a route that is there already, and the order is anybody's. What is left then has a gateway that
 * no route leads to: on this link, every address has somebody who answers.
 */
static void routes_set(struct apply *a)
{
	while (routes_pass(a, false)) {
	}
	while (routes_pass(a, true)) {
	}
	for (unsigned i = 0; i < a->c->n_routes; i++) {
		if (a->err_route[i])
			warning_add(a, NSCONF_ROUTE, i, a->err_route[i]);
	}
}

/* --- all of it --- */

static int interface_set(struct apply *a)
{
	int err = link_find(a);

	if (err)
		return err;
	link_set(a);
	if (a->c->link_only)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(a->err_addr); i++)
		a->err_addr[i] = 1;
	for (unsigned i = 0; i < ARRAY_SIZE(a->err_route); i++)
		a->err_route[i] = 1;

	/* Who waits for the interface to be up shall find the addresses. */
	ip6_prepare(a);
	linklocal_set(a);
	addrs_set(a);
	err = nlreq_link_up(&a->nl, a->ifindex);
	if (err)
		return err;
	addrs_set(a);
	for (unsigned i = 0; i < a->c->n_addrs; i++) {
		if (a->err_addr[i] < 0)
			warning_add(a, NSCONF_ADDR, i, a->err_addr[i]);
	}
	routes_set(a);
	return 0;
}

int nsconf_apply(const struct nsconf *c, struct nsconf_result *ret_result)
{
	struct apply a = { .c = c, .r = ret_result };
	int err;

	*ret_result = (struct nsconf_result){ .what = NSCONF_LINK };
	err = nsconf_valid(c) ? nlreq_open(&a.nl) : -EINVAL;
	if (!err) {
		loopback_up(&a);
		err = c->only_lo ? 0 : interface_set(&a);
		nlreq_close(&a.nl);
	}
	ret_result->err = err;
	return err;
}
