/* SPDX-License-Identifier: MIT */
/*
 * What the host has, as a template for the guest: for each family the interface of its default route, with the address, gateway and
 * routes there. Nothing is required of the host: what is missing stays zero.
 */
#pragma once

#include "conf/resolv.h"
#include "os/netlink.h"
#include "service/guestconf.h"

#define DISCOVER_NEXTHOPS 64

/* ifindex 0: the family has no usable interface, nothing else is set. */
struct host_family {
	unsigned ifindex;
	char ifname[NL_NAME_MAX];
	struct addr addr; /* global; all-zero: none */
	uint8_t plen;
	struct addr gw; /* all-zero: none */
	struct guestconf_route route[GUESTCONF_ROUTES]; /* IPv4: static routes beyond the default; gw all-zero: on link */
	unsigned n_routes;
	uint32_t mtu; /* of the interface, for information */
	bool has_mac;
	uint8_t mac[MAC_LEN];
};

struct host {
	struct host_family v4, v6;
	struct resolv resolv;
	unsigned out6; /* index of the interface that outbound IPv6 is bound to; 0: not bound */
	uint16_t eph_first, eph_last; /* ephemeral ports */
	uint8_t ttl4, ttl6; /* hop limit of a packet that nobody chose one for, on v6's interface; 0: not known */
	uint32_t udp_timeout_s, udp_timeout_stream_s; /* of connection tracking (nf_conntrack-sysctl.rst); 0: there is none */
};

struct nexthops {
	struct nl_nexthop nh[DISCOVER_NEXTHOPS];
	unsigned n;
};

/* Choice of an interface among the routes of a family: feed every entry to pick_route(), then look at ifindex. */
struct pick {
	const struct nexthops *nexthops;
	unsigned only_if; /* nothing but routes of this interface; 0: any */
	unsigned ifindex; /* 0: no candidate yet */
	struct addr gw; /* all-zero: none */
	struct addr prefsrc;
	uint64_t rank; /* lower is better; of no meaning without a candidate */
};

/* Choice of an address of an interface: feed every entry to pick_addr(). */
struct pick_addr {
	unsigned ifindex;
	struct addr prefsrc; /* of the route, preferred if it is among the addresses */
	struct addr addr; /* all-zero: no candidate yet */
	uint8_t plen;
	unsigned rank; /* lower is better; of no meaning without a candidate */
};

/* The static routes of an interface beyond the default one: feed every entry to pick_static(). */
struct pick_static {
	unsigned ifindex;
	struct addr addr; /* the address on it, whose own network is left out */
	uint8_t plen;
	const struct nexthops *nexthops;
	struct guestconf_route route[GUESTCONF_ROUTES];
	unsigned n;
};

/* Collects nexthop objects; ctx is a struct nexthops. */
void pick_nexthop(void *ctx, const struct nl_entry *e);
/* ctx is a struct pick. */
void pick_route(void *ctx, const struct nl_entry *e);
/* ctx is a struct pick_addr. */
void pick_addr(void *ctx, const struct nl_entry *e);
/* ctx is a struct pick_static. IPv4 only. */
void pick_static(void *ctx, const struct nl_entry *e);

/* Interfaces that were asked for by name; empty: none. */
struct discover_opts {
	const char *if4, *if6; /* templates */
	const char *out6; /* --outbound-if6 */
	bool ports_only; /* nothing but the range of ephemeral ports, time-outs and hop limits is needed */
};

/* Netlink, resolv.conf, the range of ephemeral ports, time-outs, hop limits. What can't be found is a warning and stays zero. */
void discover(const struct discover_opts *o, struct host *ret_host);

#define DISCOVER_RESOLV "/etc/resolv.conf"

/* Of these netlink and resolv.conf alone, which may have changed. -errno if the file can't be read. */
MUST_USE int discover_again(const struct discover_opts *o, struct host *ret_host);
