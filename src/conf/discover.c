/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>

#include "base/log.h"
#include "base/num.h"
#include "conf/discover.h"

#define DUMP_TRIES 5
#define SYSCTL_MAX 64
#define EPH_RANGE "/proc/sys/net/ipv4/ip_local_port_range"
#define TTL "/proc/sys/net/ipv4/ip_default_ttl"
#define HOP_LIMIT "/proc/sys/net/ipv6/conf/%s/hop_limit"
#define UDP_TIMEOUT "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"
#define EPH_FIRST 32768
#define EPH_LAST 60999

struct pick_link {
	unsigned ifindex;
	struct nl_link link;
};

static void pick_link(void *ctx, const struct nl_entry *e)
{
	struct pick_link *p = ctx;

	if (e->kind == NL_LINK && e->link.index == p->ifindex)
		p->link = e->link;
}

/*
 * A whole dump into the size bytes at ctx. When the kernel says that it changed meanwhile, ctx is set back and the dump starts again, a
 * few times; then what there is has to do.
 */
static int gather(enum nl_kind kind, int family, nl_entry_fn *fn, void *ctx, size_t size)
{
	union {
		struct nexthops nexthops;
		struct pick pick;
		struct pick_addr addr;
		struct pick_static statics;
		struct pick_link link;
	} start;
	int r = -EINTR;

	memcpy(&start, ctx, size);
	for (int i = 0; i < DUMP_TRIES && r == -EINTR; i++) {
		memcpy(ctx, &start, size);
		r = nl_dump(kind, family, fn, ctx);
	}
	return r == -EINTR ? 0 : r;
}

static void gather_or_warn(enum nl_kind kind, int family, nl_entry_fn *fn, void *ctx, size_t size)
{
	static const char *const what[] = { "interfaces", "addresses", "routes", "nexthops" };
	int r = gather(kind, family, fn, ctx, size);

	if (r)
		log_warn("Can't get %s %s of the host: %s", family == AF_INET ? "IPv4" : "IPv6", what[kind], strerror(-r));
}

/* The rest, once the interface is known. */
static void family_fill(int family, const struct pick *p, struct host_family *f)
{
	struct pick_addr a = { .ifindex = p->ifindex, .prefsrc = p->prefsrc };
	struct pick_link l = { .ifindex = p->ifindex };
	struct pick_static s = { .ifindex = p->ifindex, .nexthops = p->nexthops };

	gather_or_warn(NL_LINK, AF_UNSPEC, pick_link, &l, sizeof(l));
	gather_or_warn(NL_ADDR, family, pick_addr, &a, sizeof(a));

	f->ifindex = p->ifindex;
	memcpy(f->ifname, l.link.name, sizeof(f->ifname));
	f->mtu = l.link.mtu;
	f->has_mac = l.link.has_mac;
	memcpy(f->mac, l.link.mac, MAC_LEN);
	f->gw = p->gw;
	f->addr = a.addr;
	f->plen = a.plen;
	/* An IPv4 route may lead through an IPv6 router (RFC 5549), which is no gateway that DHCP could tell. */
	if (addr_is_set(&f->gw) && addr_is4(&f->gw) != (family == AF_INET))
		f->gw = addr_any6;
	if (family != AF_INET)
		return;
	s.addr = a.addr;
	s.plen = a.plen;
	gather_or_warn(NL_ROUTE, family, pick_static, &s, sizeof(s));
	memcpy(f->route, s.route, sizeof(f->route));
	f->n_routes = s.n;
}

static void discover_family(int family, const char *ifname, const struct nexthops *nh, struct host_family *f)
{
	struct pick p = { .nexthops = nh };

	if (ifname[0]) {
		p.only_if = if_nametoindex(ifname);
		if (!p.only_if)
			return;
	}
	gather_or_warn(NL_ROUTE, family, pick_route, &p, sizeof(p));
	if (p.ifindex) {
		family_fill(family, &p, f);
		return;
	}
	if (!p.only_if)
		return;
	/* An interface that was asked for needs an address at least. */
	p.ifindex = p.only_if;
	family_fill(family, &p, f);
	if (!addr_is_set(&f->addr))
		*f = (struct host_family){ 0 };
}

/* The line of a sysctl; empty if there is none. */
static void sysctl_line(const char *path, char ret_line[SYSCTL_MAX])
{
	FILE *f = fopen(path, "re");

	if (!f || !fgets(ret_line, SYSCTL_MAX, f))
		ret_line[0] = '\0';
	if (f)
		fclose(f);
}

/* A sysctl that is a number from 1 to max; else 0. */
static uint32_t sysctl_num(const char *path, uint32_t max)
{
	char line[SYSCTL_MAX];
	const char *s = line;
	uint64_t n;

	sysctl_line(path, line);
	return num_take(&s, 1, max, &n) ? 0 : (uint32_t)n;
}

static void discover_hops(const struct discover_opts *o, struct host *h)
{
	char path[sizeof(HOP_LIMIT) + NL_NAME_MAX];

	h->ttl4 = (uint8_t)sysctl_num(TTL, UINT8_MAX);
	snprintf(path, sizeof(path), HOP_LIMIT, o->out6[0] ? o->out6 : h->v6.ifname);
	h->ttl6 = (uint8_t)sysctl_num(path, UINT8_MAX);
}

static void discover_ports(struct host *h)
{
	uint64_t first, last;
	char line[SYSCTL_MAX];
	const char *s = line;

	h->eph_first = EPH_FIRST;
	h->eph_last = EPH_LAST;
	sysctl_line(EPH_RANGE, line);
	if (num_take(&s, 1, UINT16_MAX, &first))
		return;
	s += strspn(s, " \t");
	if (num_take(&s, first, UINT16_MAX, &last))
		return;
	h->eph_first = (uint16_t)first;
	h->eph_last = (uint16_t)last;
}

static int discover_network(const struct discover_opts *o, struct host *h)
{
	struct nexthops nh = { 0 };
	int r;

	/* Kernels before 5.3 have no such objects, and nothing that refers to one. */
	r = gather(NL_NEXTHOP, AF_UNSPEC, pick_nexthop, &nh, sizeof(nh));
	if (r)
		log_debug("No nexthop objects: %s", strerror(-r));
	discover_family(AF_INET, o->if4, &nh, &h->v4);
	discover_family(AF_INET6, o->if6, &nh, &h->v6);
	h->out6 = o->out6[0] ? if_nametoindex(o->out6) : 0;

	r = resolv_read(DISCOVER_RESOLV, &h->resolv);
	if (r && r != -ENOENT)
		log_warn("Can't read %s: %s", DISCOVER_RESOLV, strerror(-r));
	return r;
}

int discover_again(const struct discover_opts *o, struct host *ret_host)
{
	memset(ret_host, 0, sizeof(*ret_host));
	return discover_network(o, ret_host);
}

void discover(const struct discover_opts *o, struct host *ret_host)
{
	memset(ret_host, 0, sizeof(*ret_host));
	discover_ports(ret_host);
	ret_host->udp_timeout_s = sysctl_num(UDP_TIMEOUT, INT32_MAX);
	ret_host->udp_timeout_stream_s = sysctl_num(UDP_TIMEOUT "_stream", INT32_MAX);
	if (!o->ports_only)
		(void)!discover_network(o, ret_host);
	discover_hops(o, ret_host);
}
