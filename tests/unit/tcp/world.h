/* SPDX-License-Identifier: MIT */
/*
 * The surroundings of the TCP translator under test: loop, link and sockets are fakes, the rest is real. The test is the guest, one
 * segment at a time, and the host at the other end of the socket.
 *
 * Every segment towards the guest is taken apart and checked by slow code of its own: lengths, checksums, addresses, and that it
 * acknowledges nothing that the fake kernel has not accepted, unless the guest sent it twice.
 */
#pragma once

#include "fake_link.h"
#include "fake_stream.h"
#include "tcp/conn.h"

struct world_conf {
	bool v6;
	size_t mtu; /* 0: 1500 */
	uint32_t offloads;
	uint32_t flows; /* 0: 64 */
	int peek_off_err; /* of SO_PEEK_OFF; 0: the kernel has it */
	bool lossy; /* the link */
	bool no_listener;
	uint32_t stock; /* sockets made before they are needed */
	uint32_t rtt_us; /* of the path to the remote, which connect() takes as well; 0: short */
};

struct world {
	struct world_conf conf;
	struct fake_link fl;
	struct loop loop;
	struct flow_table *flows;
	struct guest guest;
	struct nat nat;
	struct outbound out;
	struct fwd_table fwd;
	struct listener listener;
	struct listeners ls;
	struct tcp *t;
	struct ep g, r; /* guest and remote of the connection that the calls below are about */
	size_t seen; /* frames of the link that were taken */

	/* One connection, for tests that send segment by segment: both numbers are the guest's. */
	struct fake_stream *s;
	uint32_t seq; /* next of the guest */
	uint32_t ack; /* next that the guest expects */
	uint32_t iss, irs; /* initial numbers: of the guest, of the other side */
	uint16_t window; /* as it stands in the guest's segments */
	uint8_t scale; /* of the windows that the guest is told */
	bool checked; /* iss and s are set: acknowledgements are checked */
};

/* A segment of the guest. Zero ports mean those of the world. */
struct gseg {
	struct tcp_hdr h;
	const void *data;
	size_t len;
	uint16_t gso_size;
	uint8_t ttl, tos; /* ttl 0: 64 */
	unsigned pieces; /* of the frame; 0: 4. Up to 6 */
};

/* A packet towards the guest. data points into the link's memory until world_clear(). */
struct seen {
	struct addr src, dst;
	uint8_t proto, tos;
	struct tcp_hdr h;
	const uint8_t *data;
	size_t len;
	uint16_t gso_size;
	uint8_t icmp_type, icmp_code;
	struct tcp_hdr quoted; /* by an ICMP error */
	struct addr quoted_src, quoted_dst;
};

void world_init(struct world *w, const struct world_conf *c);

/* Fails the test if a flow, a descriptor, a timer, a list entry or a chunk of the pool is left. */
void world_fini(struct world *w);

/* Packet bytes of a frame, and what both ends agree on. */
size_t world_overhead(const struct world *w); /* IP and TCP headers */
struct tcp_conn *world_conn(struct world *w); /* of g and r; NULL if there is none */

/* Time and events. */
void world_turn(struct world *w); /* one turn of the loop at the present time */
unsigned world_settle(struct world *w); /* turns until nothing happens; returns the number of events. The test fails if it spins */
void world_wait(struct world *w, uint64_t ns); /* time passes, with timers and events */
void world_link_ready(struct world *w, size_t room); /* the link has room again */

/* n segments of the guest in one call, and the end of the turn. */
void world_put(struct world *w, const struct gseg *s, unsigned n);

/* The next packet towards the guest, oldest first; false if there is none. */
bool world_take(struct world *w, struct seen *ret_s);
void world_clear(struct world *w);

/* --- one connection, segment by segment --- */

/* The guest's SYN; options as given. */
void conn_syn(struct world *w, const struct tcp_hdr *opts);

/* Handshake from the guest, from the host, to ESTABLISHED, with usual options. */
void conn_open_out(struct world *w);
void conn_open_in(struct world *w);
void conn_open(struct world *w, bool in);

/* A segment at seq with the present acknowledgement; seq moves on. */
void conn_send(struct world *w, uint8_t flags, const void *data, size_t len);

/* An acknowledgement of everything up to ack, which becomes the present one. */
void conn_ack(struct world *w, uint32_t ack);

/* The next packet is a segment with exactly these flags (PSH is not looked at, unless asked for), seq and ack. */
struct seen conn_expect(struct world *w, uint8_t flags, uint32_t seq, uint32_t ack);
void conn_expect_none(struct world *w);

/* Data of the host up to the end of what was sent: checks contents against the pattern; returns bytes. The guest's ack moves on. */
size_t conn_take_data(struct world *w, size_t from);

/* Bytes in the host's receive queue that the guest has not acknowledged. What it has may stay there for a while. */
size_t conn_unacked(struct world *w);

/* Ends the connection with a reset of the guest. */
void conn_kill(struct world *w);

/* --- contents --- */

/* Byte number off of the stream of one direction. */
static inline uint8_t pattern(unsigned dir, uint64_t off)
{
	return (uint8_t)(off * 31 + (off >> 8) * 7 + (off >> 16) * 13 + dir * 101);
}

#define DIR_UP 0 /* from the guest */
#define DIR_DOWN 1

void pattern_fill(unsigned dir, uint64_t off, void *buf, size_t len);
void pattern_check(unsigned dir, uint64_t off, const void *buf, size_t len);

/* Whoever is at the other end of s sends len bytes more of its stream; the remote does. */
void pattern_push(struct fake_stream *s, unsigned dir, size_t len);
void host_push(struct fake_stream *s, size_t len);

/* All that the remote got is the beginning of the guest's stream; returns how much. */
size_t host_check(const struct fake_stream *s);
