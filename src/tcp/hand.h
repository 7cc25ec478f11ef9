/* SPDX-License-Identifier: MIT */
/*
 * Connections that are handed over: once the handshake with the remote is done, a socket that stands in for the remote takes the guest's
 * side, and whoever joins the two takes both sockets. ARCHITECTURE.md has the picture, netns/annex.h the place where those sockets live.
 *
 * What the translator does here: it keeps the guest's SYN until the host has connected, says it again where a listening socket for all
 * addresses hears it, and accepts.
 */
#pragma once

#include "base/list.h"
#include "base/timer.h"
#include "os/loop.h"
#include "tcp/syn.h"

#define HAND_PORTS 128 /* listening sockets, at most */
#define HAND_BACKLOG 4096
#define HAND_WAIT_NS \
	(10 * NSEC_PER_SEC) /* for the guest, which is a function call away: the SYN-ACK is sent three times meanwhile */

/* One that came from the host, as the guest is to see it. */
struct hand_in {
	struct ep as, to; /* in whose name, and the guest's own endpoint */
	uint8_t tos; /* DSCP of what it gets */
};

/* All are called from within the loop. Descriptors are owned by the caller and outlive the translator. */
struct tcp_hand_conf {
	int raw[2]; /* sockets for whole packets of IPv4, IPv6 that are to be heard */

	/* A socket of that family that can stand in for others. -EAGAIN: not now, tcp_hand_ready() tells when. */
	int (*take)(void *ctx, int family, int *ret_fd);
	/* Two that are connected, towards the guest and the host; takes both. The host's is in the loop, by a reference of ours. */
	void (*join)(void *ctx, int guest_fd, int host_fd);
	/* A connection that came from the host. Takes fd in any case. -errno. */
	int (*inwards)(void *ctx, int fd, const struct hand_in *in);
	void *ctx;
};

struct hand_port {
	int fd;
	uint16_t port;
	bool v6;
	uint64_t used_ns;
};

struct tcp;
struct tcp_conn;

/* What has become of connections. */
enum hand_end {
	HAND_OUT, /* handed over, of the guest */
	HAND_IN, /* the same, to it */
	HAND_NO_SOCKET, /* could not be, for want of something: reset */
	HAND_GUEST_GONE, /* the guest had given up, or did not answer */
	HAND_REMOTE_GONE, /* the remote had reset it */
	HAND_ENDS
};

struct hand_stats {
	uint64_t end[HAND_ENDS];
	uint64_t stays[TCP_STAYS_KINDS]; /* not of the kind: by the reason, but for the first */
};

/* As the names of counters have it. */
const char *hand_end_name(enum hand_end e);
const char *hand_stay_name(enum tcp_stay s);

struct tcp_hand {
	struct tcp *t;
	struct tcp_hand_conf c;
	unsigned owner; /* of the listening sockets, by their place in port */
	struct hand_port port[HAND_PORTS];
	unsigned n;
	struct timer idle; /* while there is one: closes those that were not used for HAND_WAIT_NS */
	struct list wait; /* connections, by wait_node, that wait for a socket to listen by */
	struct hand_stats stats;
};

/* Counts it, if there is h. */
static inline bool hand_takes(struct tcp_hand *h, enum tcp_stay s)
{
	if (h)
		h->stats.stays[s]++;
	return h && s == TCP_STAYS_NOT;
}

void hand_begin(struct tcp_conn *k); /* connect() succeeded. k may be gone afterwards, as behind the next ones */
void hand_again(struct tcp_conn *k); /* the guest has sent its SYN once more */
void hand_late(struct tcp_conn *k); /* nobody came */
void hand_given_up(struct tcp_conn *k); /* the guest says so */
void tcp_on_hand(void *ctx, struct ref ref, uint32_t events);
void hand_free(struct tcp *t);

/* Before the first connection. -ENOMEM. */
MUST_USE int tcp_set_hand(struct tcp *t, const struct tcp_hand_conf *c);

/* Sockets are to be had again: tcp_hand_conf.take(). */
void tcp_hand_ready(struct tcp *t);

/* NULL: none is handed over. */
const struct hand_stats *tcp_hand_stats(const struct tcp *t);

/* Sockets that listen now. */
unsigned tcp_hand_listeners(const struct tcp *t);
