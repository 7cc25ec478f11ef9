/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the echo translator share. Private to this folder.
 *
 * A flow is a ping socket: the kernel puts the socket's identifier and a checksum into what we send, and gives us the replies to that
 * identifier whoever they come from. It is bound to the guest's identifier where that is free; if not, the kernel chooses another, and
 * replies and errors are given the guest's again.
 *
 * Interest mask: EPOLLIN, but for a moment where the system has no memory. Replies that find no room on the link are lost, so there is
 * nothing else to wait for.
 */
#pragma once

#include "base/list.h"
#include "icmp/icmp.h"
#include "os/sock.h"
#include "os/sockwatch.h"
#include "wire/eth.h"
#include "xlate/hosterr.h"
#include "xlate/peer.h"

#define ICMP_LEN_MAX 65535
#define ICMP_BATCH 8

struct icmp_flow {
	struct flow flow; /* key: the guest's view; gport is the identifier */
	struct list idle; /* in icmp.idle, ordered by last_ns */
	uint64_t last_ns;
	struct peer_sock sock; /* no port */
	struct sockwatch watch; /* of that */
	uint16_t seq; /* of the last request */
};

struct icmp {
	struct icmp_deps d;
	struct hosterr hosterr;
	unsigned owner;
	struct list idle;
	struct timer sweep;
	uint32_t n, max; /* flows */
	uint32_t frag_id;
	bool warned; /* that ping sockets are not allowed */

	/* Scratch */
	uint8_t msg[ICMP_BATCH][ICMP_LEN_MAX];
	uint8_t frame[ETH_HLEN + ICMP_LEN_MAX + 64];
};

/* The flow of the echo request p, new if need be. NULL: dropped; the guest has been told if it ought to be. */
struct icmp_flow *icmp_flow_from_guest(struct icmp *m, const struct pkt *p, uint16_t id);
void icmp_flow_close(struct icmp *m, struct icmp_flow *f);

/* A request has passed, or a reply of the one it was for (peer_is_anyone()): the flow lives on. */
void icmp_flow_touch(struct icmp *m, struct icmp_flow *f);
void icmp_flow_sweep(struct timer *t, uint64_t now_ns);

/* Is this an address that we answer for, because nothing on the host does? */
bool icmp_is_ours(const struct icmp *m, const struct addr *a);
