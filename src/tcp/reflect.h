/* SPDX-License-Identifier: MIT */
/*
 * What we tell the guest of its data: on a short path what the host's kernel took, on a path with delay what the remote acknowledged, so
 * that the guest's round-trip time, congestion control and buffers are those of the path. Numbers in, decisions out.
 *
 * Hardly later than a peer on that path would be, and not than the guest is used to: without news for that long, what the kernel took
 * before is acknowledged. So the guest is not made to repeat what was lost behind us, which the host's kernel sees to, nor kept waiting by
 * a remote that delays its acknowledgements, or by an event that got lost. A guest that has seen shorter round trips learns the true one
 * step by step.
 *
 * Not for connections that came from the host. In their handshake the guest has measured a round trip to us, which is none; congestion
 * control that goes by the least one (BBR) would hold back what the path needs. So they are offered no more than the socket takes at once;
 * with a small send buffer on a long path that is less than what a program on the host gets into it.
 */
#pragma once

#include "base/defs.h"
#include "wire/tcp.h"

#define TCP_REFLECT_RTT_US 2000u /* least round trip of a path with delay */
#define TCP_REFLECT_HOLD_MIN_US 1000u
#define TCP_REFLECT_HOLD_MAX_US 1000000u

enum tcp_reflect_mode {
	TCP_REFLECT_OFF, /* short path, or no events here */
	TCP_REFLECT_ON,
};

struct tcp_reflect {
	uint8_t mode; /* enum tcp_reflect_mode */
	uint32_t acked; /* ON: all before it may be acknowledged */
	uint32_t path_us; /* round trip behind us */
	uint32_t seen_us; /* round trip that the guest has come to expect */
	uint32_t timed_seq; /* end of the data that is being timed */
	uint64_t timed_at; /* when the guest sent it, nanoseconds; 0: none is timed */
};

/* What to acknowledge, when everything before accepted is in the host's kernel, and the guest has been told so of what is before told. */
static inline uint32_t tcp_reflect_ack(const struct tcp_reflect *r, uint32_t accepted, uint32_t told)
{
	uint32_t ack = r->mode == TCP_REFLECT_ON && seq_lt(r->acked, accepted) ? r->acked : accepted;

	return seq_lt(ack, told) ? told : ack;
}

/*
 * The path was measured: least and smoothed round trip. seen_us: the one that the guest saw in the handshake, 0 if it was with us alone.
 * told: what it was told so far. True: it is a path with delay.
 */
bool tcp_reflect_start(struct tcp_reflect *r, uint32_t min_us, uint32_t path_us, uint32_t seen_us, uint32_t told);

/* Data of the guest up to end was taken over. */
void tcp_reflect_on_data(struct tcp_reflect *r, uint32_t end, uint64_t now_ns);

/* The kernel's queue holds outq bytes of what it took. True: there is news for the guest. */
bool tcp_reflect_on_report(struct tcp_reflect *r, uint32_t accepted, uint32_t outq, uint64_t now_ns);

/* No news for too long, or a reason not to wait for it. */
void tcp_reflect_release(struct tcp_reflect *r, uint32_t accepted, uint64_t now_ns);

/* How long to wait for news, nanoseconds. */
uint64_t tcp_reflect_hold_ns(const struct tcp_reflect *r);
