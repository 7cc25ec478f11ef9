/* SPDX-License-Identifier: MIT */
/*
 * Address mapping between what the guest sees and what the host has: pure functions over a table that start-up fills.
 * CLIENTS.md 3.3 in short: the gateway address is the host's loopback; map_guest is the host's own address; dns_forward:53 and :853 is
 * the host's resolver; everything else is the same on both sides.
 */
#pragma once

#include "base/addr.h"

/* An entry that is the unspecified IPv6 address (all zero) is unset. */
struct nat_family {
	struct addr our; /* the address that we answer as: gateway, for peers that the guest must not see as loopback */
	struct addr map_loopback; /* guest -> this is host -> loopback */
	struct addr map_guest; /* guest -> this is host -> its own global address */
	struct addr host; /* the host's own global address */
	struct addr guest; /* that the guest was given: it may have it beside the one that it uses, so it is nobody else's */
	struct addr dns_forward; /* guest -> this, port 53 or 853, is the resolver */
	struct addr dns_host; /* the resolver */
};

struct nat {
	struct nat_family v4, v6;
	struct addr our_ll6; /* our link-local address */
};

/*
 * Guest to host: where a packet that the guest sent to dst has to go. -EHOSTUNREACH if nothing on the host answers to it (loopback
 * and unspecified destinations, our own link-local address, a DNS address without a resolver). The gateway's address is a true
 * one of the host's network: where it is not mapped, the gateway itself is meant.
 */
MUST_USE int nat_to_host(const struct nat *n, uint8_t proto, const struct ep *dst, struct ep *ret_dst);

/* Is it an address by which the guest finds us, or what we stand for, and that is not its own? Nobody else on its network has it. */
bool nat_is_ours(const struct nat *n, const struct addr *a);

/*
 * Host to guest: the source that the guest sees for a connection or datagram that peer (an address of the host's view) sends to it.
 * Loopback becomes the mapped address, or our address where there is no mapping; the host's own address becomes map_guest, if that is
 * set. guest is the address of the guest that receives it: a source equal to that, or to the one that it was given, is replaced by our
 * address. Everything else is the true peer. -EADDRNOTAVAIL if nothing fits: another family than the guest's, a peer that is no host.
 */
MUST_USE int nat_to_guest(const struct nat *n, const struct addr *guest, const struct ep *peer, struct ep *ret_peer);
