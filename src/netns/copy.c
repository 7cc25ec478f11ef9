/* SPDX-License-Identifier: MIT */
#include "netns/copy.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"

#define DUMP_TRIES 5

static struct nscopy_family *family_of(struct nscopy *k, bool v6)
{
	return v6 ? &k->v6 : &k->v4;
}

/* --- addresses --- */

static bool addr_wanted(const struct nl_addr *a)
{
	if (addr_is_any(&a->addr) || addr_is_loopback(&a->addr) || addr_is_multicast(&a->addr) || a->flags & IFA_F_DADFAILED)
		return false;
	/* The interface in the namespace has its own. */
	return addr_is4(&a->addr) || !addr_is_linklocal(&a->addr);
}

static bool addr_known(const struct nsconf *c, const struct addr *a)
{
	for (unsigned i = 0; i < c->n_addrs; i++) {
		if (addr_eq(&c->addr[i].addr, a))
			return true;
	}
	return false;
}

static void addr_add(struct nscopy *k, const struct nsconf_addr *a)
{
	char buf[ADDR_STRLEN];

	if (addr_known(k->conf, &a->addr))
		return;
	if (k->conf->n_addrs < NSCONF_ADDRS) {
		k->conf->addr[k->conf->n_addrs++] = *a;
		return;
	}
	k->lost++;
	log_warn("Address %s/%u is not copied: there are too many", addr_fmt(&a->addr, buf), a->plen);
}

static void copy_addr(struct nscopy *k, const struct nl_addr *a)
{
	struct nscopy_family *f = family_of(k, !addr_is4(&a->addr));
	struct nsconf_addr to = {
		.addr = a->addr,
		.plen = a->plen,
		.scope = a->scope,
		.deprecated = a->flags & IFA_F_DEPRECATED,
		.no_prefix_route = f->routes,
	};

	if (!f->ifindex || !f->addrs || !addr_wanted(a))
		return;
	if (a->ifindex == f->ifindex)
		addr_add(k, &to);
	else if (k->n_elsewhere < NSCOPY_OTHERS)
		k->elsewhere[k->n_elsewhere++] = to;
}

/* --- hops of a route --- */

struct hops {
	struct nl_hop hop[NL_HOPS];
	unsigned n;
	bool encap, blackhole, lost;
};

static const struct nl_nexthop *nexthop_find(const struct nscopy *k, uint32_t id)
{
	for (unsigned i = 0; i < k->n_nexthops; i++) {
		if (k->nexthop[i].id == id)
			return &k->nexthop[i];
	}
	return NULL;
}

static void nexthop_add(struct hops *h, const struct nl_nexthop *n, uint16_t weight)
{
	h->encap |= n->encap;
	h->blackhole |= n->blackhole;
	if (n->blackhole || h->n == NL_HOPS)
		return;
	h->hop[h->n] = n->hop;
	h->hop[h->n++].weight = weight;
}

/* From the nexthop objects, where the route only names those. A group has no groups inside. */
static struct hops hops_of(const struct nscopy *k, const struct nl_route *r)
{
	const struct nl_nexthop *n, *member;
	struct hops h;

	h.n = r->n_hops;
	h.encap = r->encap;
	h.lost = r->hops_lost;
	h.blackhole = false;
	memcpy(h.hop, r->hop, r->n_hops * sizeof(h.hop[0]));
	n = !r->n_hops && r->nh_id ? nexthop_find(k, r->nh_id) : NULL;
	if (!n) {
		h.lost |= !r->n_hops && r->nh_id && k->nexthops_lost;
		return h;
	}
	h.lost = n->hops_lost;
	if (!n->n_group)
		nexthop_add(&h, n, 1);
	for (unsigned i = 0; i < n->n_group; i++) {
		member = nexthop_find(k, n->group[i]);
		if (member)
			nexthop_add(&h, member, n->weight[i]);
		h.lost |= !member && k->nexthops_lost;
	}
	return h;
}

/* Those that use the interface; dead ones only where there are no others. */
static unsigned hops_take(const struct hops *h, unsigned ifindex, struct nsconf_hop ret_hop[NL_HOPS])
{
	unsigned n = 0;

	for (unsigned dead = 0; !n && dead < 2; dead++) {
		for (unsigned i = 0; i < h->n; i++) {
			const struct nl_hop *from = &h->hop[i];

			if (from->oif != ifindex || !(from->flags & RTNH_F_DEAD) != !dead)
				continue;
			ret_hop[n++] = (struct nsconf_hop){ .gw = addr_is_set(&from->via) ? from->via : from->gw,
							    .weight = from->weight ? from->weight : 1,
							    .onlink = !!(from->flags & RTNH_F_ONLINK) };
		}
	}
	/* 0.0.0.0 is what some write for no gateway. */
	for (unsigned i = 0; i < n; i++) {
		if (addr_is_any(&ret_hop[i].gw))
			ret_hop[i].gw = addr_any6;
	}
	return n;
}

/* --- routes --- */

static bool leads_nowhere(uint8_t type)
{
	return type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT || type == RTN_THROW;
}

static bool route_wanted(const struct nl_route *r)
{
	if (r->flags & RTM_F_CLONED)
		return false;
	if (r->type != RTN_UNICAST && !leads_nowhere(r->type))
		return false;
	/* The kernel has a last one that refuses everything, in every namespace. */
	if (leads_nowhere(r->type) && r->protocol == RTPROT_KERNEL)
		return false;
	if (!r->plen)
		return true;
	if (r->v6 && addr_is_linklocal(&r->dst))
		return false;
	return !addr_is_loopback(&r->dst);
}

static void route_lost(struct nscopy *k, const struct nl_route *r, const char *why)
{
	char buf[ADDR_STRLEN];

	k->lost++;
	log_warn("Route to %s/%u is not copied: %s", addr_fmt(&r->dst, buf), r->plen, why);
}

static void route_add(struct nscopy *k, const struct nl_route *r)
{
	struct nscopy_family *f = family_of(k, r->v6);
	struct nsconf_hop hop[NL_HOPS];
	struct nsconf_route to = {
		.dst = r->dst,
		.prefsrc = r->prefsrc,
		.src = r->src,
		.src_plen = r->src_plen,
		.metric = r->metric,
		.plen = r->plen,
		.type = r->type,
		.scope = r->scope,
		.protocol = r->protocol,
		.tos = r->tos,
		.pref = r->pref,
	};
	struct hops h = hops_of(k, r);
	unsigned before = k->conf->n_routes, lost;
	unsigned n = leads_nowhere(r->type) ? 0 : hops_take(&h, f->ifindex, hop);

	_Static_assert(NSCONF_METRICS == NL_METRICS, "metrics of routes");
	memcpy(to.metrics, r->metrics, sizeof(to.metrics));
	if (!leads_nowhere(r->type) && h.blackhole && !h.n)
		to.type = RTN_BLACKHOLE;
	if (!n && !leads_nowhere(to.type)) {
		if (!h.n && h.lost && k->nexthops_lost)
			route_lost(k, r, "there are too many nexthop objects");
		return;
	}
	if (h.encap) {
		route_lost(k, r, "it leads through a tunnel");
		return;
	}
	if (h.lost)
		log_warn("Not all hops of a route are copied: there are too many");
	/* This one, or another one that it took the place of. */
	lost = nsconf_route_add(k->conf, &to, hop, n) || k->conf->n_routes == before;
	k->too_many += lost;
	k->lost += lost;
	k->without += r->more && !lost;
}

/* Rules that choose between tables are not copied, so of the others only what nothing works without is of use. */
static void copy_route(struct nscopy *k, const struct nl_route *r)
{
	struct nscopy_family *f = family_of(k, r->v6);
	struct hops h;
	struct nsconf_hop hop[NL_HOPS];

	if (!f->ifindex || !f->routes || !route_wanted(r))
		return;
	h = hops_of(k, r);
	if (r->table == RT_TABLE_MAIN) {
		f->has_default |= !r->plen && r->type == RTN_UNICAST && hops_take(&h, f->ifindex, hop);
		route_add(k, r);
		return;
	}
	if (r->plen || r->type != RTN_UNICAST || !hops_take(&h, f->ifindex, hop))
		return;
	if (f->has_other && f->other.metric <= r->metric)
		return;
	f->has_other = true;
	f->other = *r;
}

/* Those by other interfaces lead nowhere for us. */
static void nexthop_keep(struct nscopy *k, const struct nl_nexthop *n)
{
	if (n->hop.oif && n->hop.oif != k->v4.ifindex && n->hop.oif != k->v6.ifindex)
		return;
	if (k->n_nexthops < NSCOPY_NEXTHOPS)
		k->nexthop[k->n_nexthops++] = *n;
	else
		k->nexthops_lost = true;
}

void nscopy_entry(void *ctx, const struct nl_entry *e)
{
	struct nscopy *k = ctx;

	if (e->kind == NL_NEXTHOP)
		nexthop_keep(k, &e->nexthop);
	else if (e->kind == NL_ADDR)
		copy_addr(k, &e->addr);
	else if (e->kind == NL_ROUTE)
		copy_route(k, &e->route);
}

/* An address of another interface, as hosts have on lo, that is the source towards everywhere. */
static void prefsrc_add(struct nscopy *k, const struct addr *src)
{
	if (!addr_is_set(src) || addr_known(k->conf, src))
		return;
	for (unsigned i = 0; i < k->n_elsewhere; i++) {
		if (addr_eq(&k->elsewhere[i].addr, src))
			addr_add(k, &k->elsewhere[i]);
	}
}

void nscopy_finish(struct nscopy *k)
{
	struct nscopy_family *const family[] = { &k->v4, &k->v6 };

	for (size_t i = 0; i < ARRAY_SIZE(family); i++) {
		if (family[i]->has_other && !family[i]->has_default)
			route_add(k, &family[i]->other);
	}
	if (k->too_many)
		log_warn("There are too many routes: %u of them are not copied", k->too_many);
	if (k->without)
		log_warn("Congestion control algorithms and realms of routes are not copied (of %u)", k->without);
	for (unsigned i = 0; i < k->conf->n_routes; i++)
		prefsrc_add(k, &k->conf->route[i].prefsrc);
}

/* --- from the kernel --- */

static int dump_all(struct nscopy *k)
{
	static const struct {
		enum nl_kind kind;
		int family;
		const char *what;
	} dump[] = {
		{ NL_NEXTHOP, AF_UNSPEC, NULL }, /* not known before Linux 5.3 */
		{ NL_ADDR, AF_INET, "IPv4 addresses" }, { NL_ADDR, AF_INET6, "IPv6 addresses" },
		{ NL_ROUTE, AF_INET, "IPv4 routes" },   { NL_ROUTE, AF_INET6, "IPv6 routes" },
	};
	bool intr = false;

	for (size_t i = 0; i < ARRAY_SIZE(dump); i++) {
		int err = nl_dump(dump[i].kind, dump[i].family, nscopy_entry, k);

		if (err == -EINTR)
			intr = true;
		else if (err && dump[i].what)
			log_warn("Can't get %s of the host: %s", dump[i].what, strerror(-err));
	}
	return intr ? -EINTR : 0;
}

void nscopy_host(struct nscopy *k)
{
	const unsigned n_addrs = k->conf->n_addrs, n_routes = k->conf->n_routes, n_hops = k->conf->n_hops;
	const struct nscopy start = *k;

	/* After a change in the middle, from the beginning; a few times, then what there is has to do. */
	for (int i = 0; i < DUMP_TRIES; i++) {
		*k = start;
		k->conf->n_addrs = n_addrs;
		k->conf->n_routes = n_routes;
		k->conf->n_hops = n_hops;
		if (dump_all(k) != -EINTR)
			break;
	}
	nscopy_finish(k);
}
