/* SPDX-License-Identifier: MIT */
/* What the guest is told about its network: filled in at the start, followed by what changes on the host (conf/follow.h), read by the services. */
#pragma once

#include "base/addr.h"

#define GUESTCONF_DNS 8
#define GUESTCONF_SEARCH 8
#define GUESTCONF_ROUTES 16
#define GUESTCONF_NAME_MAX 256

struct guestconf_route {
	struct addr dst;
	uint8_t plen;
	struct addr gw; /* 0.0.0.0: on link */
};

struct guestconf {
	uint8_t our_mac[MAC_LEN];
	bool mac_given; /* by an option: it may be the guest's own, too */
	uint16_t mtu; /* 0: not advertised */
	bool v4, v6; /* families */
	bool dhcp, dhcp6, ndp, ra; /* services */
	bool dns, search_on; /* --no-dhcp-dns, --no-dhcp-search: also for RA and DHCPv6 */

	struct addr addr4; /* the guest's; all-zero if there is none */
	uint8_t plen4;
	struct addr gw4; /* all-zero if there is none */
	struct addr our4; /* server identifier and source of DHCP replies: gw4, or another address of ours */
	struct addr dns4[GUESTCONF_DNS];
	unsigned n_dns4;
	struct guestconf_route route4[GUESTCONF_ROUTES]; /* beyond the default route, for option 121 */
	unsigned n_route4;

	struct addr addr6; /* the guest's, given by DHCPv6; its /64 is the SLAAC prefix; all-zero if there is none */
	struct addr our_ll6; /* our link-local address: the router */
	struct addr gw6; /* further address that we answer neighbour solicitations for; all-zero if none */
	struct addr dns6[GUESTCONF_DNS];
	unsigned n_dns6;

	char search[GUESTCONF_SEARCH][GUESTCONF_NAME_MAX]; /* domain names as text */
	unsigned n_search;
	char hostname[GUESTCONF_NAME_MAX]; /* option 12; empty: not sent */
	char fqdn[GUESTCONF_NAME_MAX]; /* options 81 and 39; empty: not sent */
};
