/* SPDX-License-Identifier: MIT */
/*
 * IP addresses of both families in one type, and endpoints.
 *
 * An IPv4 address is held IPv4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so one comparison and one hash serve both families.
 * All-zero is "::", the unspecified address of IPv6; addr_any4 is that of IPv4. Ports are in host order.
 */
#pragma once

#include <string.h>

#include "base/defs.h"

struct addr {
	union {
		uint8_t b[16];
		uint32_t w[4];
		uint64_t q[2];
	};
};

struct ep {
	struct addr addr;
	uint16_t port;
};

#define ADDR_STRLEN 46 /* longest text of addr_fmt(), with its NUL */
#define EP_STRLEN 56 /* longest text of ep_fmt(): "[addr]:port" */
#define MAC_LEN 6
#define MAC_STRLEN 18

#define ADDR4_INIT(a, b_, c, d) ((struct addr){ .b = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, (a), (b_), (c), (d) } })

#define addr_any6 ((struct addr){ .q = { 0, 0 } })
#define addr_any4 ADDR4_INIT(0, 0, 0, 0)
#define addr_loopback4 ADDR4_INIT(127, 0, 0, 1)
#define addr_loopback6 ((struct addr){ .b = { [15] = 1 } })

/* From four or sixteen bytes in network order. */
static inline struct addr addr_from4(const void *be)
{
	struct addr a = addr_any4;

	memcpy(a.b + 12, be, 4);
	return a;
}

static inline struct addr addr_from6(const void *be)
{
	struct addr a;

	memcpy(a.b, be, 16);
	return a;
}

static inline bool addr_eq(const struct addr *a, const struct addr *b)
{
	return a->q[0] == b->q[0] && a->q[1] == b->q[1];
}

/* Where an address may be left out, all-zero is unset. 0.0.0.0 is not. */
static inline bool addr_is_set(const struct addr *a)
{
	return a->q[0] || a->q[1];
}

static inline bool addr_is4(const struct addr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(a->b, mapped, sizeof(mapped));
}

/* The four or sixteen bytes of the address on the wire, and how many they are. */
static inline const uint8_t *addr_bytes(const struct addr *a)
{
	return addr_is4(a) ? a->b + 12 : a->b;
}

static inline size_t addr_len(const struct addr *a)
{
	return addr_is4(a) ? 4 : 16;
}

/* AF_INET or AF_INET6. */
int addr_family(const struct addr *a);

bool addr_is_any(const struct addr *a); /* 0.0.0.0 or :: */
bool addr_is_loopback(const struct addr *a); /* 127.0.0.0/8 or ::1 */
bool addr_is_multicast(const struct addr *a); /* 224.0.0.0/4 or ff00::/8 */
bool addr_is_linklocal(const struct addr *a); /* 169.254.0.0/16 or fe80::/10 */
bool addr_is_broadcast(const struct addr *a); /* 255.255.255.255 */
bool addr_is_unicast(const struct addr *a); /* of a host on a network: none of the above but link-local */

/* True if a and b share their first plen bits (0..32 for IPv4, 0..128 for IPv6) and family. */
bool addr_same_net(const struct addr *a, const struct addr *b, unsigned plen);

/* Text form without brackets: dotted quad or RFC 5952. -EINVAL for anything else, trailing text included. */
MUST_USE int addr_parse(const char *s, struct addr *ret_addr);

/* As addr_parse(), from the first len bytes of s, and with optional [brackets]. */
MUST_USE int addr_parse_n(const char *s, size_t len, struct addr *ret_addr);

/* Writes the text form to buf of at least ADDR_STRLEN bytes; returns buf. */
const char *addr_fmt(const struct addr *a, char *buf);

/* "a.b.c.d:port" or "[v6]:port" to buf of at least EP_STRLEN bytes; returns buf. */
const char *ep_fmt(const struct ep *e, char *buf);

static inline bool ep_eq(const struct ep *a, const struct ep *b)
{
	return a->port == b->port && addr_eq(&a->addr, &b->addr);
}

static inline bool mac_is_zero(const uint8_t mac[MAC_LEN])
{
	static const uint8_t zero[MAC_LEN];

	return !memcmp(mac, zero, MAC_LEN);
}

/* Six hexadecimal pairs with colons. -EINVAL for anything else, and for a multicast or all-zero address. */
MUST_USE int mac_parse(const char *s, uint8_t ret_mac[MAC_LEN]);
const char *mac_fmt(const uint8_t mac[MAC_LEN], char *buf);

/* Prefix length (0..32) of an IPv4 network mask in dotted form; -EINVAL if it has holes. */
MUST_USE int mask_to_plen(const struct addr *mask, unsigned *ret_plen);
