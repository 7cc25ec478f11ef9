/* SPDX-License-Identifier: MIT */
/* The choices among the host's routes and addresses; no I/O. */
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include "conf/discover.h"

#define IF_LOOPBACK 1 /* index of lo in every network namespace */

void pick_nexthop(void *ctx, const struct nl_entry *e)
{
	struct nexthops *t = ctx;

	if (e->kind == NL_NEXTHOP && t->n < DISCOVER_NEXTHOPS)
		t->nh[t->n++] = e->nexthop;
}

static const struct nl_nexthop *nexthop_find(const struct nexthops *t, uint32_t id)
{
	for (unsigned i = 0; t && i < t->n; i++) {
		if (t->nh[i].id == id)
			return &t->nh[i];
	}
	return NULL;
}

/* Hops of a route, from the nexthop objects where it only names those. A group has no groups inside. */
static unsigned route_hops(const struct nl_route *r, const struct nexthops *t, struct nl_hop hop[NL_HOPS])
{
	const struct nl_nexthop *nh, *member;
	unsigned n = 0;

	if (r->n_hops || !r->nh_id) {
		memcpy(hop, r->hop, r->n_hops * sizeof(hop[0]));
		return r->n_hops;
	}
	nh = nexthop_find(t, r->nh_id);
	if (!nh)
		return 0;
	if (!nh->n_group)
		hop[n++] = nh->hop;
	for (unsigned i = 0; i < nh->n_group; i++) {
		member = nexthop_find(t, nh->group[i]);
		if (member)
			hop[n++] = member->hop;
	}
	return n;
}

static bool is_down(const struct nl_hop *h)
{
	return h->flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN);
}

/* The first hop that is up, else the first, of those that use the interface (0: any but lo). */
static const struct nl_hop *hop_choose(const struct nl_hop *hop, unsigned n, unsigned only_if)
{
	const struct nl_hop *found = NULL;

	for (unsigned i = 0; i < n; i++) {
		if (!hop[i].oif || hop[i].oif == IF_LOOPBACK || (only_if && hop[i].oif != only_if))
			continue;
		if (!found || (is_down(found) && !is_down(&hop[i])))
			found = &hop[i];
	}
	return found;
}

static bool route_usable(const struct nl_route *r)
{
	if (r->type != RTN_UNICAST || (r->flags & RTM_F_CLONED))
		return false;
	return !r->plen || !(addr_is_linklocal(&r->dst) || addr_is_loopback(&r->dst) || addr_is_multicast(&r->dst));
}

/* A default route, in the main table, that is up, of low metric: in this order. */
static uint64_t route_rank(const struct nl_route *r, const struct nl_hop *h)
{
	return (uint64_t)(r->plen != 0) << 34 | (uint64_t)(r->table != RT_TABLE_MAIN) << 33 | (uint64_t)is_down(h) << 32 |
	       r->metric;
}

void pick_route(void *ctx, const struct nl_entry *e)
{
	struct nl_hop hop[NL_HOPS];
	struct pick *p = ctx;
	const struct nl_hop *h;
	uint64_t rank;

	if (e->kind != NL_ROUTE || !route_usable(&e->route))
		return;
	h = hop_choose(hop, route_hops(&e->route, p->nexthops, hop), p->only_if);
	if (!h)
		return;
	rank = route_rank(&e->route, h);
	if (p->ifindex && rank >= p->rank)
		return;
	p->ifindex = h->oif;
	p->rank = rank;
	p->prefsrc = e->route.prefsrc;
	p->gw = addr_any6;
	if (!e->route.plen && !addr_is_any(&h->gw))
		p->gw = h->gw;
}

/* Flags that make an address a worse choice, the worst first. */
static unsigned addr_rank(const struct nl_addr *a, const struct pick_addr *p)
{
	unsigned rank = 0;

	if (a->flags & (IFA_F_DADFAILED | IFA_F_TENTATIVE))
		rank |= 1 << 6;
	if (a->flags & IFA_F_DEPRECATED)
		rank |= 1 << 5;
	if (!addr_is_set(&p->prefsrc) || !addr_eq(&a->addr, &p->prefsrc))
		rank |= 1 << 4;
	if (a->scope != RT_SCOPE_UNIVERSE || addr_is_linklocal(&a->addr))
		rank |= 1 << 3;
	/* IFA_F_SECONDARY of IPv4 and IFA_F_TEMPORARY of IPv6 are one flag. */
	if (a->flags & IFA_F_TEMPORARY)
		rank |= 1 << 2;
	/* Unique local addresses (RFC 4193) lead nowhere outside. */
	if (!addr_is4(&a->addr) && (a->addr.b[0] & 0xfe) == 0xfc)
		rank |= 1 << 1;
	return rank;
}

void pick_addr(void *ctx, const struct nl_entry *e)
{
	const struct nl_addr *a = &e->addr;
	struct pick_addr *p = ctx;
	unsigned rank;
	bool pref;

	if (e->kind != NL_ADDR || addr_is_loopback(&a->addr) || addr_is_any(&a->addr))
		return;
	/* The preferred source of a route may be an address of another interface, even of lo. */
	pref = addr_is_set(&p->prefsrc) && addr_eq(&a->addr, &p->prefsrc);
	if (a->ifindex != p->ifindex && !pref)
		return;
	if (!addr_is4(&a->addr) && addr_is_linklocal(&a->addr))
		return;
	rank = addr_rank(a, p);
	if (addr_is_set(&p->addr) && rank >= p->rank)
		return;
	p->addr = a->addr;
	p->plen = a->plen;
	p->rank = rank;
}

void pick_static(void *ctx, const struct nl_entry *e)
{
	const struct nl_route *r = &e->route;
	struct pick_static *p = ctx;
	struct nl_hop hop[NL_HOPS];
	const struct nl_hop *h;

	if (e->kind != NL_ROUTE || r->v6 || !r->plen || r->table != RT_TABLE_MAIN || !route_usable(r))
		return;
	h = hop_choose(hop, route_hops(r, p->nexthops, hop), p->ifindex);
	if (!h || (r->plen == p->plen && addr_same_net(&r->dst, &p->addr, p->plen)) || p->n == GUESTCONF_ROUTES)
		return;
	p->route[p->n++] =
		(struct guestconf_route){ .dst = r->dst, .plen = r->plen, .gw = addr_is_any(&h->gw) ? addr_any6 : h->gw };
}
