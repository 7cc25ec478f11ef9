/* SPDX-License-Identifier: MIT */
/*
 * The one walk from an Ethernet frame of the guest to its transport header.
 *
 * The caller copies the first bytes of the frame into pkt.head before parsing, so that shared memory is read only once; all else is
 * derived from that copy. Lengths are trimmed to the IP length (Ethernet padding is not payload). L4 checksums are not verified:
 * guests with offloads hand us partial ones. The IPv4 header checksum is not verified either, for the same reason.
 */
#pragma once

#include "base/addr.h"
#include "base/rd.h"

#define PKT_HEAD_MAX 256

struct pkt {
	uint8_t head[PKT_HEAD_MAX]; /* in: the first head_len bytes of the frame */
	uint16_t head_len; /* in: min(frame length, PKT_HEAD_MAX) */

	uint8_t dst_mac[MAC_LEN], src_mac[MAC_LEN];
	uint16_t ethertype;

	/* The rest only for IP: family is 4 or 6, otherwise 0. */
	uint8_t family;
	uint8_t proto; /* of the transport header, behind all IPv6 extension headers */
	uint8_t ttl, tos;
	bool may_frag; /* the sender lets it be cut: IPv4 without DF, or fragments. What was put together of such has to be told so */
	struct addr src, dst;
	uint16_t l3; /* offset of the IP header in the frame */
	uint16_t l4; /* offset of the transport header (of the fragment's data for a fragment) */
	uint32_t l4_len; /* bytes from there to the end of the IP packet */

	/* Fragments (IPv4 with MF or an offset, IPv6 with a non-atomic fragment header): ports are not set. */
	bool frag;
	bool frag_more;
	uint32_t frag_id;
	uint16_t frag_off; /* bytes */
	uint16_t l4_nexthdr; /* IPv6: offset in head of the byte that names the fragment header as next; 0 for IPv4 */

	/* TCP and UDP */
	uint16_t sport, dport;
};

/*
 * Parses p->head; frame_len is the length of the whole frame (p->head_len of it is in head).
 * 0 with p filled in; ethertypes other than IP leave family 0. -EBADMSG if lengths or versions contradict each other, if the
 * transport header does not lie inside head, or on a source routing header (RFC 5095): drop the frame.
 */
MUST_USE int pkt_parse(struct pkt *p, size_t frame_len);

/* Reader over the transport header, as far as it is in head. Not for fragments. */
struct rd pkt_l4(const struct pkt *p);
