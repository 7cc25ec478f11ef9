/* SPDX-License-Identifier: MIT */
#include "fwd/guest.h"

bool guest_may_have(const struct guest *g, const uint8_t mac[MAC_LEN])
{
	return !(mac[0] & 1) && (g->mac_given || memcmp(mac, g->our_mac, MAC_LEN));
}

/* 0.0.0.0/8 is "this network" and 240.0.0.0/4 reserved (RFC 1122 3.2.1.3): no host can have such an address. */
static bool addr_is_host4(const struct addr *a)
{
	return a->b[12] && a->b[12] < 240 && !addr_is_loopback(a) && !addr_is_multicast(a);
}

static bool addr_is_host6(const struct addr *a)
{
	return !addr_is_any(a) && !addr_is_loopback(a) && !addr_is_multicast(a);
}

static void addr_learn(struct addr *addr, const struct addr *assigned, bool *settled, const struct addr *src)
{
	if (*settled)
		return;
	*addr = *src;
	*settled = addr_eq(src, assigned);
}

static bool addr_is_ours(const struct guest *g, const struct addr *a)
{
	return g->nat && nat_is_ours(g->nat, a);
}

bool guest_may_send(const struct guest *g, const struct addr *src, const struct addr *dst)
{
	return addr_is_unicast(src) && !addr_eq(src, dst) && !addr_is_ours(g, src);
}

void guest_learn(struct guest *g, const uint8_t mac[MAC_LEN], const struct addr *src)
{
	if (!guest_may_have(g, mac) || mac_is_zero(mac))
		return;
	memcpy(g->mac, mac, MAC_LEN);
	if (addr_is_ours(g, src))
		return;

	if (addr_is4(src)) {
		if (!g->fixed4 && addr_is_host4(src))
			addr_learn(&g->addr4, &g->assigned4, &g->settled4, src);
	} else if (addr_is_host6(src)) {
		if (addr_is_linklocal(src))
			g->ll6 = *src;
		else if (!g->fixed6)
			addr_learn(&g->addr6, &g->assigned6, &g->settled6, src);
	}
}

void guest_forget(struct guest *g)
{
	g->settled4 = g->settled6 = false;
}

const struct addr *guest_addr_for(const struct guest *g, const struct addr *peer)
{
	const struct addr *want = &g->addr6, *other = &g->ll6;

	if (addr_is4(peer))
		return &g->addr4;
	if (addr_is_linklocal(peer)) {
		want = &g->ll6;
		other = &g->addr6;
	}
	return addr_is_any(want) ? other : want;
}
