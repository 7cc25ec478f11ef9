/* SPDX-License-Identifier: MIT */
/*
 * What we know of the guest's interface: configured at start, learned from what the guest sends as its own.
 * An address that was given on the command line is never overridden by a learned one, nor is the assigned one as soon as the guest was
 * seen to use it: a guest has several (SLAAC beside DHCPv6, temporary ones), and the one that it uses just now says little.
 */
#pragma once

#include "fwd/nat.h"

struct guest {
	const struct nat *nat; /* addresses of ours, which the guest can not have; NULL: there are none */
	uint8_t our_mac[MAC_LEN]; /* of the peer that the guest sees */
	bool mac_given; /* our_mac was chosen by who started us, and may be the guest's, too */
	uint8_t mac[MAC_LEN]; /* of the guest: broadcast until learned */
	struct addr addr4, addr6; /* where forwarded connections go: assigned, until another is learned */
	struct addr assigned4, assigned6; /* that our services give it; all-zero: none */
	bool settled4, settled6; /* it has taken the assigned one */
	struct addr ll6; /* link-local, fe80::/10; unspecified until learned */
	bool fixed4, fixed6; /* address was configured explicitly: not learned */
};

/* May a frame of the guest come from this MAC? Not from a group, and from ours only if that may be the guest's: else it was reflected. */
bool guest_may_have(const struct guest *g, const uint8_t mac[MAC_LEN]);

/*
 * May a packet of the guest come from this address, to that one? It has whatever addresses it likes, and those of networks behind it; but
 * none of ours, and none that no host has, nor does it talk to itself through us.
 */
bool guest_may_send(const struct guest *g, const struct addr *src, const struct addr *dst);

/* Learns from an IP packet or ARP message that the guest sent with this source: its MAC and, if the address can be its own (not
 * unspecified, loopback, multicast, broadcast or ours), its address. */
void guest_learn(struct guest *g, const uint8_t mac[MAC_LEN], const struct addr *src);

/* Another guest may have come: what the one before had settled for says nothing any more. */
void guest_forget(struct guest *g);

/* Where a forwarded connection whose peer is seen as peer goes: a link-local peer gets the link-local address. */
const struct addr *guest_addr_for(const struct guest *g, const struct addr *peer);
