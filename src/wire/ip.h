/* SPDX-License-Identifier: MIT */
/* IPv4 (RFC 791) and IPv6 (RFC 8200) headers that we write. Reading is the business of wire/pkt.h. */
#pragma once

#include "base/addr.h"
#include "base/wr.h"

#define IP4_HLEN 20
#define IP6_HLEN 40
#define IP6_FRAG_HLEN 8

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58

#define IP_TTL_DEFAULT 64

struct ip_tx {
	struct addr src, dst; /* of one family, which decides the header */
	uint8_t proto;
	uint8_t ttl;
	uint8_t tos; /* type of service, traffic class */
	uint16_t id; /* IPv4 identification; 0 is fine with DF */
	uint32_t flow_label; /* IPv6, 20 bits */
	bool may_frag; /* IPv4: leave DF clear */
};

/* Header length for the family of a. */
static inline size_t ip_hlen(const struct addr *a)
{
	return addr_is4(a) ? IP4_HLEN : IP6_HLEN;
}

/* 20 or 40 bytes for a packet that carries l4_len bytes; the IPv4 header checksum is filled in. */
void ip_put(struct wr *w, const struct ip_tx *ip, size_t l4_len);
