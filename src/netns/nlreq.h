/* SPDX-License-Identifier: MIT */
/* Requests of rtnetlink(7) that change something, one at a time, each answered before the call returns. -errno of the kernel. */
#pragma once

#include "netns/config.h"

struct mnl_socket;

struct nlreq {
	struct mnl_socket *nl;
	uint32_t seq;
};

MUST_USE int nlreq_open(struct nlreq *q);
void nlreq_close(struct nlreq *q);

MUST_USE int nlreq_link_up(struct nlreq *q, int ifindex);
MUST_USE int nlreq_link_name(struct nlreq *q, int ifindex, const char *name);
MUST_USE int nlreq_link_mac(struct nlreq *q, int ifindex, const uint8_t mac[MAC_LEN]);
MUST_USE int nlreq_link_mtu(struct nlreq *q, int ifindex, uint32_t mtu);
MUST_USE int nlreq_link_txqlen(struct nlreq *q, int ifindex, uint32_t frames);

/* The kernel makes no IPv6 address by itself (IN6_ADDR_GEN_MODE_NONE). */
MUST_USE int nlreq_link_no_addrgen(struct nlreq *q, int ifindex);

/* One end of a pair of interfaces. */
struct nlreq_ether {
	const char *name;
	int index; /* 0: any */
	uint8_t mac[MAC_LEN];
	uint32_t mtu;
};

/* Makes a pair (veth(4)), there in the network namespace of that descriptor. -EEXIST: one of the names is taken. */
MUST_USE int nlreq_veth(struct nlreq *q, const struct nlreq_ether *here, const struct nlreq_ether *there, int netns_fd);

/* Removes an interface; of a pair, both. */
MUST_USE int nlreq_link_del(struct nlreq *q, int ifindex);

/* Adds an address, without duplicate address detection. -EEXIST. */
MUST_USE int nlreq_addr(struct nlreq *q, int ifindex, const struct nsconf_addr *a);

struct nlreq_route {
	struct nsconf_route route;
	const struct nsconf_hop *hop; /* route.n_hops, NSCONF_ROUTE_HOPS at most */
	int ifindex;
	bool onlink; /* all gateways are reachable, whatever routes there are */
	uint8_t table; /* 0: the main one */
	bool replace; /* the one to there, if there is one */
};

/* Adds a route. -EEXIST. */
MUST_USE int nlreq_route(struct nlreq *q, const struct nlreq_route *r);

/* A neighbour that nobody has to ask for (NUD_PERMANENT); replaces what there is. */
MUST_USE int nlreq_neigh(struct nlreq *q, int ifindex, const struct addr *a, const uint8_t mac[MAC_LEN]);

/* A policy rule: what matches all that is set is looked up in table. */
struct nlreq_rule {
	int family;
	uint32_t pref;
	const char *iif; /* NULL: any */
	uint8_t proto; /* 0: any */
	uint32_t mark; /* 0: any */
	uint8_t table;
};

/* -EEXIST. */
MUST_USE int nlreq_rule(struct nlreq *q, const struct nlreq_rule *r);
