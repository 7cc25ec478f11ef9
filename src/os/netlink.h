/* SPDX-License-Identifier: MIT */
/*
 * Interfaces, addresses, routes and nexthops of the kernel (rtnetlink(7)), one entry at a time.
 *
 * nl_parse() is pure and takes anything: what it doesn't know or what is malformed is left out. nl_dump() asks the kernel.
 */
#pragma once

#include "base/addr.h"

#define NL_NAME_MAX 16
#define NL_HOPS 64 /* of a multipath route or a nexthop group; more are left out */
#define NL_METRICS 16 /* the next one is a name */

enum nl_kind {
	NL_LINK,
	NL_ADDR,
	NL_ROUTE,
	NL_NEXTHOP,
	NL_LINK_GONE, /* as NL_LINK; of a watch only */
};

struct nl_link {
	unsigned index;
	char name[NL_NAME_MAX];
	unsigned flags; /* IFF_* */
	uint32_t mtu;
	bool has_mac; /* an Ethernet-like address of six bytes, not all zero */
	uint8_t mac[MAC_LEN];
};

struct nl_addr {
	unsigned ifindex;
	struct addr addr; /* the host's own, on point-to-point links as well */
	uint8_t plen;
	uint8_t scope; /* RT_SCOPE_* */
	uint32_t flags; /* IFA_F_* */
};

struct nl_hop {
	unsigned oif; /* 0: none */
	struct addr gw; /* all-zero: none */
	unsigned flags; /* RTNH_F_* */
	uint16_t weight; /* 1..256 */
	struct addr via; /* a router of the other family (RFC 5549); all-zero: none */
};

struct nl_route {
	struct addr dst; /* all-zero or 0.0.0.0 with plen 0: default */
	bool v6;
	uint8_t plen;
	uint8_t type; /* RTN_* */
	uint8_t protocol; /* RTPROT_* */
	unsigned flags; /* RTM_F_* and RTNH_F_* */
	uint32_t table, metric;
	uint32_t nh_id; /* nexthop object, 0: none */
	struct addr prefsrc; /* all-zero: none */
	struct addr src; /* of IPv6: for packets from there only, */
	uint8_t src_plen; /* unless this is 0 */
	unsigned n_hops;
	bool hops_lost; /* there were more */
	uint8_t scope; /* RT_SCOPE_* */
	uint8_t tos;
	uint8_t pref; /* RFC 4191, as the kernel writes it */
	bool encap; /* through a tunnel that the route itself describes (RTA_ENCAP) */
	bool more; /* it has a congestion control algorithm (RTAX_CC_ALGO) or a realm (RTA_FLOW) */
	uint32_t metrics[NL_METRICS]; /* RTAX_*, by number; 0: not set */
	struct nl_hop
		hop[NL_HOPS]; /* one, for an ordinary route; of no meaning from n_hops on, as there may be millions of routes */
};

struct nl_nexthop {
	uint32_t id;
	struct nl_hop hop; /* unless it is a group */
	bool blackhole;
	bool encap;
	bool hops_lost; /* the group has more */
	unsigned n_group;
	uint32_t group[NL_HOPS]; /* identifiers of nexthops; of no meaning from n_group on, likewise */
	uint16_t weight[NL_HOPS]; /* of each, 1..256 */
};

struct nl_entry {
	enum nl_kind kind;
	union {
		struct nl_link link;
		struct nl_addr addr;
		struct nl_route route;
		struct nl_nexthop nexthop;
	};
};

typedef void nl_entry_fn(void *ctx, const struct nl_entry *e);

/*
 * Calls fn for every entry in the len bytes of one datagram at buf (aligned to 4 bytes). seq: messages with another sequence number are
 * skipped; 0: none is. Adds to *intr: true if the kernel marks the dump as inconsistent (NLM_F_DUMP_INTR). Returns 0 if more
 * datagrams are to follow, 1 after the end of the dump, the negative errno that the kernel reports, or -EBADMSG if the framing of
 * messages is broken.
 */
MUST_USE int nl_parse(const void *buf, size_t len, uint32_t seq, bool *intr, nl_entry_fn *fn, void *ctx);

/*
 * All entries of a kind, of a family (AF_INET, AF_INET6, AF_UNSPEC). -EINTR: changes went on meanwhile, so fn has seen an inconsistent
 * list and the caller may start again from scratch; other -errno as for socket(7) and rtnetlink.
 */
MUST_USE int nl_dump(enum nl_kind kind, int family, nl_entry_fn *fn, void *ctx);

/*
 * A non-blocking descriptor that is readable when addresses or routes may have changed; reading takes all that is there, and is true if
 * there was something.
 */
MUST_USE int nl_watch_open(int *ret_fd);
bool nl_watch_read(int fd);

/* --- interfaces, as they change --- */

/* A socket that tells of the interfaces of the caller's network namespace, non-blocking. -errno. */
MUST_USE int nl_links_open(int *ret_fd);

/* Asks by it for one interface: of this index, or if that is 0, of this name. The answer comes like news do. */
MUST_USE int nl_links_ask(int fd, unsigned index, const char *name);

/* Calls fn for each piece of news that is there. -ENODEV: one that was asked for doesn't exist; -ENOBUFS: some were lost; other -errno. */
MUST_USE int nl_links_read(int fd, nl_entry_fn *fn, void *ctx);
