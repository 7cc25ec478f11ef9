/* SPDX-License-Identifier: MIT */
/*
 * Timestamps of a connection (RFC 7323 sections 3 to 5): round trips that can be told apart even where something was sent twice, and
 * protection against sequence numbers that wrapped around (PAWS). Numbers in, decisions out.
 *
 * Our clock counts milliseconds from a place of its own for each connection, so that it tells nothing of others, nor of the host.
 */
#pragma once

#include "base/defs.h"
#include "wire/tcp.h"

#define TCP_TS_LEN 12u /* of the option in every segment, with its padding */
#define TCP_TS_OLD_S (24u * 86400) /* a timestamp that old may have wrapped around (RFC 7323 5.5) */

struct tcp_ts {
	uint32_t offset; /* of our clock */
	uint32_t recent; /* TS.Recent: what we echo */
	uint32_t recent_s; /* when it came, seconds */
	uint32_t timeout; /* our clock when the retransmission timer fired last */
	uint32_t first; /* and the first time since something was acknowledged */
	bool on; /* both sides do it */
};

void tcp_ts_init(struct tcp_ts *t, uint32_t offset, uint64_t now_ns);

/* The guest's SYN or SYN-ACK. offered: we do it, or would. */
void tcp_ts_syn(struct tcp_ts *t, const struct tcp_hdr *h, bool offered, uint64_t now_ns);

uint32_t tcp_ts_now(const struct tcp_ts *t, uint64_t now_ns);

enum tcp_ts_verdict {
	TCP_TS_TAKE,
	TCP_TS_OLD, /* answer with an acknowledgement and drop (RFC 7323 5.3, R1), as a SYN without a timestamp */
	TCP_TS_NONE, /* the timestamp is missing: drop (RFC 7323 3.2) */
};

/* What to do with a segment of an open connection. */
enum tcp_ts_verdict tcp_ts_check(const struct tcp_ts *t, const struct tcp_hdr *h, uint64_t now_ns);

/* Whether what we acknowledged last ends in the segment [seq, end), or right before it: its timestamp is the one to echo (RFC 7323 4.3). */
static inline bool tcp_ts_covers(uint32_t acked, uint32_t seq, uint32_t end)
{
	return seq == acked || (seq_lt(seq, acked) && seq_gt(end, acked));
}

/* A segment that covers it was taken, or the guest's SYN once more. */
void tcp_ts_note(struct tcp_ts *t, const struct tcp_hdr *h, uint64_t now_ns);

/* The retransmission timer fired. first: for the first time since something was acknowledged. */
void tcp_ts_timeout(struct tcp_ts *t, uint64_t now_ns, bool first);

/*
 * The first acknowledgement of something new behind a time-out: true if it answers what was sent before (Eifel detection, RFC 3522). So
 * that had arrived, and the time-out was none: late, or lost, were acknowledgements alone.
 */
bool tcp_ts_spurious(const struct tcp_ts *t, const struct tcp_hdr *h);

enum tcp_ts_echo {
	TCP_TS_RTT, /* it tells a round trip */
	/*
	 * It tells of what was sent before the last time-out. Either the path takes that long, or an earlier acknowledgement of it was lost,
	 * and this one answers what was sent again: to take it for a round trip would make each time-out lengthen the next one.
	 */
	TCP_TS_RTT_BEFORE,
	TCP_TS_RTT_NONE,
};

/* What an acknowledgement of something new tells of the round trip, nanoseconds. */
enum tcp_ts_echo tcp_ts_rtt(const struct tcp_ts *t, const struct tcp_hdr *h, uint64_t now_ns, uint64_t *ret_ns);
