/* SPDX-License-Identifier: MIT */
/*
 * The annex: a network namespace next to the one that we serve, with nobody in it but an agent, where sockets stand in for the peers of the
 * namespace's TCP connections. ARCHITECTURE.md has the picture.
 *
 * A pair of interfaces joins the two. What comes out of the namespace goes to a tap device and so to us, but for segments of connections,
 * which are for sockets of the annex, whatever their destination (netns/annex_filter.h). Other packets are looked up so as well if they have
 * ANNEX_MARK. What we write to the tap goes to the namespace.
 */
#pragma once

#include "base/addr.h"
#include "os/tun.h"

#define ANNEX_NAME_MAX 16
#define ANNEX_RAW 2 /* IPv4, IPv6 */
#define ANNEX_MARK 1u

/* Plain memory: it goes to the agent as it is. */
struct annex_conf {
	char name[ANNEX_NAME_MAX]; /* the interface in the namespace */
	uint8_t mac[MAC_LEN]; /* its own */
	uint8_t our_mac[MAC_LEN]; /* of everybody else, as the namespace knows them */
	uint32_t mtu; /* its own; frames may be longer, as they may with a tap device */
	uint32_t queue; /* frames that can wait for us; 0: as many as the kernel likes */
	uint32_t v6; /* 0: IPv4 only */
};

enum annex_step {
	ANNEX_PAIR, /* the two interfaces */
	ANNEX_TAP,
	ANNEX_UP,
	ANNEX_DIVERT, /* what leads frames to and fro */
	ANNEX_ROUTES,
	ANNEX_SYSCTLS,
	ANNEX_SOCKETS,
	ANNEX_STEPS
};

/* What came of it. */
struct annex_result {
	int32_t err; /* 0, or -errno: */
	uint32_t step; /* enum annex_step, of this */
	uint32_t vnet_hdr_len, offloads; /* struct tun */
};

/* Descriptors that it is used by. */
struct annex_fds {
	int tap; /* struct tun */
	int raw[ANNEX_RAW]; /* sockets for whole packets, which have ANNEX_MARK; -1: none */
};

/*
 * Makes of the caller's network namespace, which is a new one, the annex of the one that net_fd stands for. Where a step fails, nothing is
 * left of it in either. Returns the result's err; nothing is logged but what tun_open() logs.
 */
int annex_make(const struct annex_conf *c, int net_fd, struct annex_result *ret_result, struct annex_fds *ret_fds);

/* The interface in the namespace has another MAC or MTU now. -errno. In the annex, as the next one. */
MUST_USE int annex_follow(const struct annex_conf *c);

/* Removes the interface, at once; the namespace of the caller would take it with it, but in its own time. */
MUST_USE int annex_leave(void);

/*
 * A socket of the annex may have any address as its own, several of them the same one, and those that listen on all addresses get
 * connections to whatever address (IP_TRANSPARENT, ip(7)). Takes CAP_NET_RAW or CAP_NET_ADMIN.
 */
MUST_USE int annex_socket(int fd, int family);

/* What a step does, and what it takes: for messages. Any number is fine. */
const char *annex_step_name(uint32_t step);
const char *annex_step_needs(uint32_t step);
