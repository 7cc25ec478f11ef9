/* SPDX-License-Identifier: MIT */
/*
 * Errors of the host as the ICMP messages that the guest would have got. What finds no room on the link is lost, as such messages may be.
 *
 * Who reports: "port unreachable" comes from the destination itself. All else that the host finds out on its own comes from us as the
 * first router: by the address that the guest knows us by, or, if there is none of the family, from the destination. What the network
 * reported comes from whoever did, in the guest's view.
 */
#pragma once

#include "flow/flow.h"
#include "fwd/guest.h"
#include "fwd/nat.h"
#include "link/link.h"
#include "wire/icmp.h"
#include "wire/pkt.h"

#define HOSTERR_QUOTE_MAX 1280 /* more than any ICMP error carries */

/* What the messages are made with; owned by the caller. */
struct hosterr {
	struct link *link;
	const struct guest *guest;
	const struct nat *nat;
};

/* A packet of the guest, for a message to quote: the IP packet, or as much of it as there is. */
struct hosterr_quote {
	const struct addr *src, *dst;
	const void *bytes;
	size_t len;
	unsigned queue; /* of the link, that the message takes (struct txwant) */
};

/*
 * The packet could not be sent because of err, a positive errno. False if that is not an error that a network reports, and nothing was
 * sent. Multicast and broadcast are never reported (RFC 1122 3.2.2, RFC 4443 2.4 (e)).
 */
bool hosterr_report(const struct hosterr *h, const struct hosterr_quote *q, int err);

/* As hosterr_report(), of a packet as it came. */
bool hosterr_refuse(const struct hosterr *h, const struct pkt *p, int err);

/* The same for EMSGSIZE: "fragmentation needed" or "packet too big". */
void hosterr_too_big(const struct hosterr *h, const struct pkt *p, uint32_t mtu);

/* The packet is a fragment of a datagram of which the rest never came. */
void hosterr_late(const struct hosterr *h, const struct hosterr_quote *q);

/* A socket with an error queue (IP_RECVERR, IPV6_RECVERR). */
struct hosterr_sock {
	int fd;
	const struct flow *flow; /* its key is the guest's view */
	const struct addr *to; /* the peer in the host's view */

	/* Writes the packet of the guest that an entry is about, of which the kernel kept len bytes of payload. Returns its length. */
	size_t (*quote)(const void *ctx, const void *payload, size_t len, uint8_t ret_quote[HOSTERR_QUOTE_MAX]);
	const void *ctx;
};

/*
 * Takes what is in the error queue, at most LINK_BATCH entries, and passes on what came from the network; clears the pending error when
 * nothing is left. Returns how many entries came from the network.
 */
unsigned hosterr_drain(const struct hosterr *h, const struct hosterr_sock *s);
