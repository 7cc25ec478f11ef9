/* SPDX-License-Identifier: MIT */
/*
 * The interface in the namespace as it shall be, and the setting of it by rtnetlink(7).
 *
 * The structure is plain memory without pointers, and any bytes make valid members: it goes to the agent as it is. Truth values are 0 or
 * something else.
 */
#pragma once

#include "base/addr.h"

#define NSCONF_NAME_MAX 16
#define NSCONF_ADDRS 64
#define NSCONF_ROUTES 512
#define NSCONF_HOPS 1024 /* of all routes together */
#define NSCONF_ROUTE_HOPS 64 /* of one route */
#define NSCONF_METRICS 16 /* RTAX_*, by number; the next one is a name */
#define NSCONF_WARNINGS 64

struct nsconf_addr {
	struct addr addr; /* all-zero entries are skipped */
	uint8_t plen;
	uint8_t scope; /* RT_SCOPE_* */
	uint8_t deprecated; /* not to be preferred as a source */
	uint8_t no_prefix_route; /* the route to its prefix is among the routes */
};

struct nsconf_hop {
	struct addr gw; /* all-zero: none. May be of the other family (RFC 5549) */
	uint16_t weight; /* 1..256, in a multipath route */
	uint8_t onlink; /* there is no route to gw, it is there all the same */
};

struct nsconf_route {
	struct addr dst; /* of the route's family, default as well */
	struct addr prefsrc; /* all-zero: none. Left out if it is not among the addresses */
	struct addr src; /* of the route's family: for packets from there only, */
	uint8_t src_plen; /* unless this is 0 */
	uint32_t metric;
	uint16_t hop, n_hops; /* where in nsconf.hop; no hop for the types that lead nowhere */
	uint8_t plen;
	uint8_t type; /* RTN_UNICAST, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW */
	uint8_t scope; /* RT_SCOPE_* */
	uint8_t protocol; /* RTPROT_* */
	uint8_t tos;
	uint8_t pref; /* of IPv6 (RFC 4191), as the kernel writes it */
	uint32_t metrics[NSCONF_METRICS]; /* 0: not set */
};

struct nsconf {
	char name[NSCONF_NAME_MAX]; /* of an interface that exists */
	char rename[NSCONF_NAME_MAX]; /* its name to be; empty: as it is */
	uint8_t has_mac;
	uint8_t mac[MAC_LEN];
	uint32_t mtu; /* 0: as it is */
	uint32_t txqlen; /* 0: as it is */
	uint8_t only_lo; /* no interface is to be set up but the loopback one */
	uint8_t link_only; /* the interface is left down, without addresses and routes: somebody else sets those */
	struct nsconf_addr addr[NSCONF_ADDRS];
	unsigned n_addrs;
	struct nsconf_route route[NSCONF_ROUTES];
	unsigned n_routes;
	struct nsconf_hop hop[NSCONF_HOPS];
	unsigned n_hops;
};

enum nsconf_what {
	NSCONF_LO,
	NSCONF_LINK,
	NSCONF_NAME,
	NSCONF_MAC,
	NSCONF_MTU,
	NSCONF_TXQLEN,
	NSCONF_IP6,
	NSCONF_ADDR,
	NSCONF_ROUTE
};

struct nsconf_warning {
	int32_t err; /* -errno */
	uint16_t what; /* enum nsconf_what */
	uint16_t index; /* of the address or route */
};

/* What came of it. */
struct nsconf_result {
	int32_t err; /* 0, or -errno: there is no usable interface */
	uint32_t what; /* enum nsconf_what, where err stands for something */
	uint32_t n_warnings; /* those that found no room included */
	uint32_t ifindex;
	struct nsconf_warning warning[NSCONF_WARNINGS];
};

/*
 * Sets up loopback and the interface, in the network namespace of the caller. Addresses are usable at once, without duplicate address
 * detection (RFC 4862 5.4); router advertisements are not listened to. The order of the routes does not matter. What can't be set is a
 * warning in the result; nothing is logged. Returns the result's err.
 */
int nsconf_apply(const struct nsconf *c, struct nsconf_result *ret_result);

/* Logs what a result says about a configuration: warnings, and an error if there is one. Any result is fine. */
void nsconf_log(const struct nsconf *c, const struct nsconf_result *r);

/* Adds a route and its hops. -ENOSPC if there is no room; a default route, which nothing works without, takes that of the last other one. */
MUST_USE int nsconf_route_add(struct nsconf *c, const struct nsconf_route *r, const struct nsconf_hop *hops, unsigned n);

/* "default via 192.0.2.1, 2 hops" and the like, for messages; returns buf. */
#define NSCONF_ROUTE_STRLEN 160
const char *nsconf_route_fmt(const struct nsconf *c, const struct nsconf_route *r, char buf[NSCONF_ROUTE_STRLEN]);

/* False if a count, an index or a family in it is out of range: for a structure that came from elsewhere. */
bool nsconf_valid(const struct nsconf *c);
