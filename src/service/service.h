/* SPDX-License-Identifier: MIT */
/*
 * Services: what we answer ourselves. (configuration, request, now) -> reply frame; no I/O.
 * ARP (RFC 826), neighbour discovery and router advertisements (RFC 4861, 4862, 8106), DHCP (RFC 2131, 2132), DHCPv6 (RFC 8415).
 */
#pragma once

#include "base/wr.h"
#include "service/guestconf.h"
#include "wire/pkt.h"

#define SERVICE_FRAME_MAX 1518 /* longest request looked at, and room that a reply needs */

enum service_verdict {
	SERVICE_NOT_MINE, /* not for a service: translate it */
	SERVICE_DROP, /* was for a service and gets no answer */
	SERVICE_REPLY, /* the writer holds a whole Ethernet frame */
};

/* Looks at one frame of the guest: p as parsed, frame_len bytes at frame (a private copy, at most SERVICE_FRAME_MAX are read). */
enum service_verdict service_input(const struct guestconf *c, const struct pkt *p, const uint8_t *frame, size_t frame_len,
				   struct wr *reply);

/*
 * A question to the guest that has this address, whatever its MAC: a broadcast ARP request, or a neighbour solicitation (RFC 4861 7.2.2).
 * Writes nothing (wr_len() 0) where the family, or what it takes to ask, is off.
 */
void service_ask(const struct guestconf *c, const struct addr *target, struct wr *frame);

/* An unsolicited router advertisement to all nodes (RFC 4861 6.2.4). Writes nothing (wr_len() 0) if RA or IPv6 is off. */
void service_ra(const struct guestconf *c, struct wr *frame);

/* Seconds until the next unsolicited one: short for the first three, then a random time within bounds; rnd is a fresh random number. */
unsigned service_ra_interval(unsigned sent_so_far, uint32_t rnd);
