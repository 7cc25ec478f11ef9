/* SPDX-License-Identifier: MIT */
/*
 * The guest's SYN, kept while we don't know whether there is somebody to answer it, and said again to a kernel that answers in the place
 * of the remote. What the two kernels agree on (RFC 9293 3.7.1, RFC 7323, RFC 2018, RFC 3168) is between them. Pure.
 */
#pragma once

#include "flow/flow.h"
#include "wire/ip.h"
#include "wire/pkt.h"
#include "wire/tcp.h"

#define TCP_SYN_MAX (IP6_HLEN + TCP_HLEN_MAX) /* bytes of the packet */

struct tcp_syn {
	uint32_t seq;
	uint32_t ts_val;
	uint16_t window;
	uint16_t mss; /* 0: none */
	uint8_t wscale;
	bool has_wscale : 1;
	bool sack_ok : 1;
	bool has_ts : 1;
	bool ecn : 1; /* ECE and CWR: asks for explicit congestion notification */
};

/* Why the segments of a connection go on coming to us when it is there, and can't be left to somebody else (netns/annex_filter.h). */
enum tcp_stay {
	TCP_STAYS_NOT,
	TCP_STAYS_LINK_LOCAL, /* an IPv6 address that is one of an interface */
	TCP_STAYS_HEADERS, /* IPv6 extension headers: a filter that looks at fixed places doesn't take it for TCP */
	TCP_STAYS_MAPPED, /* IPv4-mapped IPv6 addresses are never on a wire (RFC 4038 4.2), and would be taken for the real ones */
	TCP_STAYS_KINDS
};

/* Of the connection that this packet begins. */
enum tcp_stay tcp_syn_stays(const struct pkt *p);

/* The same, as far as the addresses tell. */
enum tcp_stay tcp_syn_stays_between(const struct addr *guest, const struct addr *remote);

struct tcp_syn tcp_syn_of(const struct tcp_hdr *h);

/*
 * The SYN as a whole IP packet from key's guest to key's remote, checksums included. Options that we don't know and data that came with it
 * are left out, as of a peer that does not take them. Returns its length.
 */
size_t tcp_syn_put(const struct tcp_syn *s, const struct flow_key *key, uint8_t ret_packet[TCP_SYN_MAX]);
