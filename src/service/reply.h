/* SPDX-License-Identifier: MIT */
/* What the services share: a request as they see it, and the way from a message to a frame. Only for files of this folder. */
#pragma once

#include "service/service.h"
#include "wire/ip.h"

/* A request: p as parsed, and a reader over what the service looks at (the ARP packet, or from the transport header on). */
struct service_req {
	const struct guestconf *c;
	const struct pkt *p;
	struct rd msg;
};

enum service_verdict arp_from_guest(const struct service_req *q, struct wr *reply);
enum service_verdict ndp_from_guest(const struct service_req *q, struct wr *reply);
enum service_verdict dhcp_from_guest(const struct service_req *q, struct wr *reply);
enum service_verdict dhcp6_from_guest(const struct service_req *q, struct wr *reply);

/* As service_ask(), for a target of the family. */
void arp_ask(const struct guestconf *c, const struct addr *target, struct wr *frame);
void ndp_ask(const struct guestconf *c, const struct addr *target, struct wr *frame);

struct reply_to {
	const uint8_t *our_mac, *mac; /* source and destination */
	struct ip_tx ip;
	size_t csum_at; /* offset of the checksum in the message */
};

/*
 * Writes a frame around a message that starts with its transport header (UDP or ICMPv6), with the checksum filled in, and pads it.
 * A bad message makes the frame bad.
 */
void reply_put(struct wr *frame, const struct reply_to *to, struct wr *msg);

/* Reads a UDP header, of whose datagram ret_body becomes the payload. -EBADMSG if it is cut. */
MUST_USE int reply_udp_body(struct rd msg, struct rd *ret_body);

/* A header with room for the length, which reply_udp_end() fills in when the payload stands behind it. */
void reply_udp_begin(struct wr *msg, uint16_t sport, uint16_t dport);
void reply_udp_end(struct wr *msg);

/* Pads a frame to the shortest one that Ethernet has. */
void reply_pad(struct wr *frame);
