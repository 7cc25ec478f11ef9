/* SPDX-License-Identifier: MIT */
/*
 * The surroundings of a translator under test: loop, link and sockets are fakes, flow table, address mapping and guest are real.
 * Frames of the guest are made here, and frames towards it taken apart and checked by slow code that shares nothing with the tree's.
 *
 *   guest 192.0.2.10, 2001:db8::10 -- our 192.0.2.1, 2001:db8::1, fe80::1 = loopback of the host -- host (the guest's addresses)
 */
#pragma once

#include "fake_link.h"
#include "fake_sock.h"
#include "flow/flow.h"
#include "fwd/guest.h"
#include "fwd/nat.h"
#include "fwd/out.h"
#include "wire/pkt.h"

struct net {
	struct fake_link fl;
	struct loop loop;
	struct flow_table *flows;
	struct guest guest;
	struct nat nat;
	struct outbound out;
};

/* Addresses of one family, for tests that run for both. */
struct net_family {
	bool v4;
	const char *name;
	struct addr guest, our, loopback, peer, peer2, router, group;
};

extern const struct net_family net_families[2];

void net_init(struct net *n, uint32_t flows, size_t slot_size);
void net_fini(struct net *n);

/* A frame of the guest. Its bytes are cut into pieces of odd sizes, so that no code can take the first for the whole. */
struct gframe {
	struct frame f;
	struct pkt p;
	struct iovec iov[8];
	uint8_t bytes[65536 + 64];
};

struct gopt {
	uint8_t ttl; /* 0: 64 */
	uint8_t tos;
	int udp_len; /* other than the true one; 0: true */
	size_t pad; /* bytes behind the IP packet */
	uint16_t gso; /* the payload is a superframe with segments of this size */
};

void net_udp(struct gframe *g, const struct ep *src, const struct ep *dst, const void *payload, size_t len, const struct gopt *o);

/* An echo request; type and code are right for the family. */
struct gecho {
	const struct addr *src, *dst;
	uint16_t id, seq;
};

void net_echo(struct gframe *g, const struct gecho *e, const void *payload, size_t len, const struct gopt *o);

/* A packet towards the guest, taken apart. The test fails if a length or checksum is wrong, or the Ethernet header. */
struct seen {
	bool v4;
	struct addr src, dst;
	uint8_t proto, ttl, tos;
	bool frag, more, df;
	size_t off; /* of a fragment */
	uint32_t id;
	const uint8_t *l4;
	size_t l4_len;

	/* UDP, ICMP */
	uint16_t sport, dport;
	uint8_t type, code;
	uint16_t echo_id, seq;
	uint32_t info;
	const uint8_t *body;
	size_t len;
	uint8_t whole[65536 + 64]; /* of fragments that were put together */
};

void net_seen(const struct net *n, size_t i, struct seen *ret_s);

/* Frames from i on are fragments of one datagram: puts them together. Returns how many they were. */
size_t net_seen_frags(const struct net *n, size_t i, struct seen *ret_s);

/* The packet that an ICMP error quotes; its L4 checksum is not looked at, and it may be cut. */
void net_seen_quote(const struct seen *err, struct seen *ret_s);

/* The Internet checksum one byte after the other (RFC 1071), over a pseudo-header too if proto is not 0. 0 if the data has a good one. */
uint16_t net_csum(const struct addr *src, const struct addr *dst, uint8_t proto, const uint8_t *p, size_t len);

struct ep net_ep(const struct addr *a, uint16_t port);
