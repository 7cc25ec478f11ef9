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

/* Adds an address, without duplicate address detection. -EEXIST. */
MUST_USE int nlreq_addr(struct nlreq *q, int ifindex, const struct nsconf_addr *a);

struct nlreq_route {
	struct nsconf_route route;
	const struct nsconf_hop *hop; /* route.n_hops, NSCONF_ROUTE_HOPS at most */
	int ifindex;
	bool onlink; /* all gateways are reachable, whatever routes there are */
};

/* Adds a route of the main table. -EEXIST. */
MUST_USE int nlreq_route(struct nlreq *q, const struct nlreq_route *r);
