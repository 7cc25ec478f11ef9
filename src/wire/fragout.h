/* SPDX-License-Identifier: MIT */
/*
 * Fragmentation of a datagram that is too long for the link (RFC 791 3.2, RFC 8200 4.5): the headers and the cuts, no bytes of the
 * datagram itself. What is cut is everything behind the IP header, transport header included.
 */
#pragma once

#include "wire/ip.h"

#define FRAGOUT_HLEN_MAX (IP6_HLEN + IP6_FRAG_HLEN)

struct fragout {
	struct ip_tx ip;
	uint32_t id; /* of all fragments; IPv4 takes the lower 16 bits */
	size_t len; /* bytes to cut */
	size_t piece; /* bytes of each fragment but the last, a multiple of eight */
	size_t off; /* where the next fragment begins */
};

/*
 * Cuts len bytes of L4 into packets of at most mtu bytes. ip->id and ip->may_frag are ignored. The id must differ from those of all
 * datagrams between the same addresses (IPv4: and of the protocol) that may still be under way.
 * -EMSGSIZE if len does not fit an IP datagram at all, or mtu takes no eight bytes of it.
 */
MUST_USE int fragout_init(struct fragout *f, const struct ip_tx *ip, uint32_t id, size_t len, size_t mtu);

/*
 * Writes IP and fragment header of the next fragment and says which part of the datagram follows: *ret_len bytes from *ret_off.
 * False, with nothing written, when there is no next.
 */
bool fragout_next(struct fragout *f, struct wr *w, size_t *ret_off, size_t *ret_len);

/* How many fragments len bytes become towards an address of the family of a; 1 if they fit in one packet without fragmentation. */
size_t fragout_count(const struct addr *a, size_t len, size_t mtu);
