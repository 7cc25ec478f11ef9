/* SPDX-License-Identifier: MIT */
/* The structures of config.h in themselves: built, checked, and told about. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "netns/config.h"

int nsconf_route_add(struct nsconf *c, const struct nsconf_route *r, const struct nsconf_hop *hops, unsigned n)
{
	unsigned at = c->n_routes, hop = c->n_hops;
	struct nsconf_route *to;

	if (!r->plen && (at == NSCONF_ROUTES || n > NSCONF_HOPS - hop) && at && c->route[at - 1].plen)
		hop = c->route[--at].hop;
	if (at == NSCONF_ROUTES || n > NSCONF_ROUTE_HOPS || n > NSCONF_HOPS - hop)
		return -ENOSPC;
	to = &c->route[at];
	*to = *r;
	to->hop = (uint16_t)hop;
	to->n_hops = (uint16_t)n;
	if (n)
		memcpy(c->hop + hop, hops, n * sizeof(*hops));
	c->n_hops = hop + n;
	c->n_routes = at + 1;
	return 0;
}

static bool name_valid(const char name[NSCONF_NAME_MAX])
{
	return strnlen(name, NSCONF_NAME_MAX) < NSCONF_NAME_MAX;
}

static bool plen_valid(const struct addr *a, unsigned plen)
{
	return plen <= 8 * addr_len(a);
}

bool nsconf_valid(const struct nsconf *c)
{
	if (!name_valid(c->name) || !name_valid(c->rename) || c->n_addrs > NSCONF_ADDRS || c->n_routes > NSCONF_ROUTES ||
	    c->n_hops > NSCONF_HOPS)
		return false;
	for (unsigned i = 0; i < c->n_addrs; i++) {
		if (!plen_valid(&c->addr[i].addr, c->addr[i].plen))
			return false;
	}
	for (unsigned i = 0; i < c->n_routes; i++) {
		const struct nsconf_route *r = &c->route[i];

		if (!plen_valid(&r->dst, r->plen) || r->n_hops > NSCONF_ROUTE_HOPS || r->hop > c->n_hops ||
		    r->n_hops > c->n_hops - r->hop)
			return false;
		if (addr_is_set(&r->prefsrc) && addr_is4(&r->prefsrc) != addr_is4(&r->dst))
			return false;
		if (r->src_plen && (!plen_valid(&r->src, r->src_plen) || addr_is4(&r->src) != addr_is4(&r->dst)))
			return false;
	}
	return true;
}

const char *nsconf_route_fmt(const struct nsconf *c, const struct nsconf_route *r, char buf[NSCONF_ROUTE_STRLEN])
{
	static const char *const type[] = {
		[RTN_BLACKHOLE] = "blackhole ",
		[RTN_UNREACHABLE] = "unreachable ",
		[RTN_PROHIBIT] = "prohibit ",
		[RTN_THROW] = "throw ",
	};
	char dst[ADDR_STRLEN], gw[ADDR_STRLEN];
	const char *kind = r->type < ARRAY_SIZE(type) && type[r->type] ? type[r->type] : "";
	int at;

	if (r->plen)
		at = snprintf(buf, NSCONF_ROUTE_STRLEN, "%s%s/%u", kind, addr_fmt(&r->dst, dst), r->plen);
	else
		at = snprintf(buf, NSCONF_ROUTE_STRLEN, "%s%s default", kind, addr_is4(&r->dst) ? "IPv4" : "IPv6");
	if (r->n_hops && addr_is_set(&c->hop[r->hop].gw))
		at += snprintf(buf + at, (size_t)(NSCONF_ROUTE_STRLEN - at), " via %s", addr_fmt(&c->hop[r->hop].gw, gw));
	if (r->n_hops > 1)
		snprintf(buf + at, (size_t)(NSCONF_ROUTE_STRLEN - at), " and %u more", r->n_hops - 1u);
	return buf;
}

static void warning_log(const struct nsconf *c, const struct nsconf_warning *w)
{
	static const char *const what[] = {
		[NSCONF_LO] = "bring up the loopback interface",
		[NSCONF_LINK] = "set up the interface",
		[NSCONF_NAME] = "rename the interface",
		[NSCONF_MAC] = "set the MAC address",
		[NSCONF_MTU] = "set the MTU",
		[NSCONF_TXQLEN] = "set the length of the queue",
		[NSCONF_IP6] = "prepare IPv6",
	};
	char buf[NSCONF_ROUTE_STRLEN];
	const char *why = strerror(-w->err);

	if (w->what == NSCONF_ADDR && w->index < c->n_addrs) {
		log_warn("Couldn't set address %s/%u in the namespace: %s", addr_fmt(&c->addr[w->index].addr, buf),
			 c->addr[w->index].plen, why);
	} else if (w->what == NSCONF_ROUTE && w->index < c->n_routes) {
		log_warn("Couldn't set route %s in the namespace: %s", nsconf_route_fmt(c, &c->route[w->index], buf), why);
	} else if (w->what < ARRAY_SIZE(what) && what[w->what]) {
		log_warn("Couldn't %s in the namespace: %s", what[w->what], why);
	}
}

void nsconf_log(const struct nsconf *c, const struct nsconf_result *r)
{
	unsigned shown = MIN(r->n_warnings, (uint32_t)NSCONF_WARNINGS);

	for (unsigned i = 0; i < shown; i++)
		warning_log(c, &r->warning[i]);
	if (r->n_warnings > shown)
		log_warn("%u more addresses or routes couldn't be set in the namespace", r->n_warnings - shown);
	if (r->err)
		log_err("Couldn't set up interface %.*s in the namespace: %s", NSCONF_NAME_MAX, c->name, strerror(-r->err));
}
