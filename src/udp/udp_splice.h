/* SPDX-License-Identifier: MIT */
/*
 * UDP between two namespaces without a guest's frame in between: datagrams that come to a bound socket in one go out, unchanged, through
 * sockets in the other, one for each peer and connected to the destination; replies take the way back, from the very address that
 * the peer had written to.
 *
 * What a socket has no room for is lost, and so are errors, but for one: whoever sends the datagrams is told if nobody wants them, where
 * that is possible.
 */
#pragma once

#include <sys/uio.h>

#include "base/addr.h"
#include "base/hash.h"
#include "flow/flow.h"
#include "os/loop.h"
#include "udp/udp_times.h"

#define UDP_SPLICE_FEED 64
#define UDP_SPLICE_PORTS 65536 /* bound sockets, at most */

struct udp_splice_conf {
	struct loop *loop;
	uint32_t max; /* peers at once; the one that is idle for longest makes room */
	const struct hash_key *key;
	struct udp_times times;

	/*
	 * A new UDP socket of this family (AF_INET, AF_INET6; non-blocking) in the namespace to that the bound socket's datagrams go, which
	 * is told by user. -EAGAIN: there is one later, as udp_splice_retry() will tell, and the peer's datagrams wait for that as far as there
	 * is room. Other -errno: the datagram is lost, and the peer's next one asks again.
	 */
	int (*sock)(void *ctx, void *user, int family, int *ret_fd);

	/* What a peer has sent to that endpoint, to the bound socket told by user, came to a port that is closed. May be NULL. */
	void (*refused)(void *ctx, void *user, const struct ep *peer, const struct ep *to);
	void *ctx;
};

/* A bound socket that tells what its datagrams were sent to. It stays the caller's, but must not be closed before udp_splice_remove(). */
struct udp_splice_port {
	int fd;
	bool v6; /* AF_INET6, perhaps for both families */
	uint16_t to; /* port of the destination */
	/* Its address as it is when a peer comes, for either family; any: datagrams of this family are dropped. */
	const struct addr *to4, *to6;
	bool same_lo; /* what was sent to a loopback address goes to this very one, of many in IPv4, instead of to4 or to6 */
	void *user; /* for the sock function */
};

/* Where a datagram came from, and what it was sent to: any address, if that is not known. */
struct udp_splice_path {
	struct ep peer;
	struct addr local;
	unsigned scope; /* interface of link-local addresses */
};

struct udp_splice_stats {
	uint64_t out, back; /* datagrams moved, from peers and to them */
	uint64_t lost; /* not moved */
	uint64_t held; /* had to wait for a socket */
	uint32_t now; /* peers */
};

/* A peer, for those who look on. */
struct udp_splice_show {
	bool answered;
	uint64_t born_ns;
	struct flow_count out, back; /* from the peer, and to it */
	int bound_fd, fd; /* of the port, and of the peer; -1: it waits for one */
	struct udp_splice_path path;
	void *user; /* of the port */
};

struct udp_splice;

/* NULL: no memory. */
struct udp_splice *udp_splice_new(const struct udp_splice_conf *c);
void udp_splice_free(struct udp_splice *u);

/* -ENOSPC: too many. */
MUST_USE int udp_splice_add(struct udp_splice *u, const struct udp_splice_port *p, uint16_t *ret_id);

/* Peers of the socket are forgotten, their sockets closed. */
void udp_splice_remove(struct udp_splice *u, uint16_t id);

/*
 * The socket is readable, and all that comes there is ours. -ENOBUFS, -ENOMEM: the system has no memory for it now; the caller sees to it that
 * there is another try, but not at once.
 */
MUST_USE int udp_splice_read(struct udp_splice *u, uint16_t id);

/* Datagrams that somebody else has read from the socket: n payloads, at most UDP_SPLICE_FEED. */
void udp_splice_feed(struct udp_splice *u, uint16_t id, const struct udp_splice_path *path, const struct iovec *payload,
		     unsigned n);

/* There may be sockets now. failed: AF_INET or AF_INET6 if there is none of that family, and who waits for one waits in vain; else 0. */
void udp_splice_retry(struct udp_splice *u, int failed);

/* How many peers there may be; and the first one in slot *slot or behind it, before slot end. False: there is none. */
uint32_t udp_splice_max(const struct udp_splice *u);
bool udp_splice_next(const struct udp_splice *u, uint32_t *slot, uint32_t end, struct udp_splice_show *ret_show);

const struct udp_splice_stats *udp_splice_stats(const struct udp_splice *u);
