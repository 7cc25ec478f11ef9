/* SPDX-License-Identifier: MIT */
/* ICMP (RFC 792, RFC 1191) and ICMPv6 (RFC 4443): echo, and the errors that we write. */
#pragma once

#include "base/addr.h"
#include "base/rd.h"
#include "base/wr.h"

#define ICMP_HLEN 8

#define ICMP4_ECHO_REPLY 0
#define ICMP4_UNREACH 3
#define ICMP4_ECHO 8
#define ICMP4_TIME_EXCEEDED 11
#define ICMP4_PARAM 12
#define ICMP_CODE_REASSEMBLY 1 /* of "time exceeded", in both families */
#define ICMP4_CODE_NET 0
#define ICMP4_CODE_HOST 1
#define ICMP4_CODE_PROTO 2
#define ICMP4_CODE_PORT 3
#define ICMP4_CODE_FRAG 4
#define ICMP4_CODE_SOURCE_ROUTE 5
#define ICMP4_CODE_HOST_UNKNOWN 7
#define ICMP4_CODE_ISOLATED 8
#define ICMP4_CODE_ADMIN 13

#define ICMP6_UNREACH 1
#define ICMP6_TOO_BIG 2
#define ICMP6_TIME_EXCEEDED 3
#define ICMP6_PARAM 4
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_CODE_NOROUTE 0
#define ICMP6_CODE_ADMIN 1
#define ICMP6_CODE_ADDR 3
#define ICMP6_CODE_PORT 4
#define ICMP6_CODE_NEXTHDR 1 /* of ICMP6_PARAM: unrecognized next header */

struct icmp_echo {
	uint8_t type, code;
	uint16_t id, seq;
};

/* The eight bytes of an echo message; any type and code are read, the caller looks at them. -EBADMSG if cut. */
MUST_USE int icmp_echo_read(struct rd *r, struct icmp_echo *ret_echo);

/* An ICMP error as the guest will see it. */
struct icmp_err {
	struct addr from; /* who reports it: a router, or the destination */
	struct addr to; /* the guest; the family of both decides the protocol */
	uint8_t type, code; /* of that family */
	uint8_t ttl; /* 0: as new */
	uint32_t info; /* MTU of "fragmentation needed" and "packet too big", pointer of a parameter problem, or 0 */
};

/*
 * Writes IP header, ICMP header and the quotation: the IP packet of quote_len bytes at quote, cut so that the error fits 576 bytes
 * (RFC 1812 4.3.2.3) or 1280 (RFC 4443 2.4). Checksums are complete. No Ethernet header.
 */
void icmp_err_put(struct wr *w, const struct icmp_err *e, const void *quote, size_t quote_len);

/* What a router tells of a packet that did not fit: "fragmentation needed" (RFC 1191 section 4) or "packet too big" (RFC 4443 3.2). */
struct icmp_too_big {
	uint32_t mtu; /* where it did not fit; 0 of IPv4 routers that do not tell */
	uint8_t proto; /* of the packet; the rest is that of TCP, of others perhaps without sense */
	struct addr src, dst;
	uint16_t sport, dport;
	uint32_t seq;
};

/* r: at the ICMP header. -EBADMSG if it is another message, or is cut, or quotes a packet of the other family. */
MUST_USE int icmp_too_big_read(struct rd *r, bool v4, struct icmp_too_big *ret_big);

/*
 * What a socket error means to the sender of a packet (the inverse of the kernel's icmp_err_convert[] and icmpv6_err_convert()): type and
 * code of an unreachable message for EHOSTUNREACH, ENETUNREACH, EACCES, EPERM, ENOPROTOOPT, EHOSTDOWN, ENONET, EOPNOTSUPP (source route),
 * ECONNREFUSED (port), of a parameter problem for EPROTO (and for ENOPROTOOPT in IPv6). False for errors that are no such message.
 */
bool icmp_from_errno(bool v4, int err, uint8_t *ret_type, uint8_t *ret_code);
