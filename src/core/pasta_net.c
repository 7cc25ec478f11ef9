/* SPDX-License-Identifier: MIT */
#include "core/pasta_net.h"

#include <linux/rtnetlink.h>
#include <string.h>

#include "base/log.h"
#include "netns/copy.h"

#define SLAAC_PLEN 64
#define HOST_PLEN4 32

/* The kernel has no IPv6 on an interface with a smaller MTU. */
static bool has_v6(const struct conf *c)
{
	return c->v6 && c->mtu >= CONF_MTU_MIN6;
}

static bool has_addr(const struct nsconf *n, const struct addr *a)
{
	for (unsigned i = 0; i < n->n_addrs; i++) {
		if (addr_eq(&n->addr[i].addr, a))
			return true;
	}
	return false;
}

static void addr_add(struct nsconf *n, const struct addr *a, uint8_t plen)
{
	if (!addr_is_set(a) || has_addr(n, a))
		return;
	if (n->n_addrs == NSCONF_ADDRS)
		n->n_addrs--; /* ours is the one that must be there */
	n->addr[n->n_addrs++] = (struct nsconf_addr){ .addr = *a, .plen = plen, .scope = RT_SCOPE_UNIVERSE };
}

static void route_add(struct nsconf *n, const struct addr *dst, uint8_t plen, const struct addr *gw)
{
	struct nsconf_route r = { .dst = *dst, .plen = plen, .type = RTN_UNICAST, .protocol = RTPROT_BOOT };
	struct nsconf_hop hop = { .weight = 1 };

	if (addr_is_set(gw) && !addr_is_any(gw))
		hop.gw = *gw;
	r.scope = addr_is_set(&hop.gw) || !addr_is4(dst) ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	if (nsconf_route_add(n, &r, &hop, 1))
		log_warn("Too many routes for the namespace");
}

/* The default route, and what leads to its gateway, where the host's own routes are not copied. */
static void routes_own(const struct conf *c, struct nsconf *n)
{
	const struct guestconf *g = &c->guest;
	struct addr any4 = addr_any4, any6 = addr_any6;

	if (c->v4 && !c->ns.copy_routes4 && addr_is_set(&g->gw4)) {
		/* A gateway outside of the namespace's network. */
		if (!addr_same_net(&g->gw4, &g->addr4, g->plen4))
			route_add(n, &g->gw4, HOST_PLEN4, &any4);
		route_add(n, &any4, 0, &g->gw4);
	}
	if (has_v6(c) && !c->ns.copy_routes6)
		route_add(n, &any6, 0, addr_is_set(&g->gw6) ? &g->gw6 : &g->our_ll6);
}

void pasta_net(const struct conf *c, const char *ifname, struct nsconf *ret_net)
{
	struct nsconf *n = ret_net;
	struct nscopy k = {
		.v4 = { .ifindex = c->v4 ? c->template4_ifindex : 0, .addrs = c->ns.copy_addrs4, .routes = c->ns.copy_routes4 },
		.v6 = { .ifindex = has_v6(c) ? c->template6_ifindex : 0, .addrs = c->ns.copy_addrs6, .routes = c->ns.copy_routes6 },
		.conf = n,
	};

	memset(n, 0, sizeof(*n));
	n->only_lo = c->ns.splice_only;
	n->link_only = !c->ns.config_net;
	n->mtu = c->mtu;
	memcpy(n->name, ifname, MIN(strlen(ifname), sizeof(n->name) - 1));
	n->has_mac = !mac_is_zero(c->guest_mac);
	memcpy(n->mac, c->guest_mac, MAC_LEN);
	if (n->only_lo || n->link_only)
		return;
	nscopy_host(&k);
	if (c->v4)
		addr_add(n, &c->guest.addr4, c->guest.plen4);
	if (has_v6(c))
		addr_add(n, &c->guest.addr6, SLAAC_PLEN);
	routes_own(c, n);
}
