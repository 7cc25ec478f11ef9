/* SPDX-License-Identifier: MIT */
/*
 * A model of the guest's TCP: a correct sender and receiver (RFC 9293, RFC 5681, RFC 6298, RFC 6582, RFC 2018, RFC 7323) with knobs, small rather than fast.
 * Both streams are the pattern of world.h. It checks what it gets, and counts what should not be needed.
 *
 * The sender avoids silly windows as RFC 9293 3.8.6.2.1 says: a segment goes out if it is full, if it is all that there is, or if it is
 * half of the largest window that was ever offered. If nothing is in flight and nothing may go out, only the probe timer is left: a
 * translator that opens its windows with events never lets it fire.
 */
#pragma once

#include "world.h"

struct peer_conf {
	uint16_t mss; /* our option, and the largest segment that is taken; 0: 1460 */
	uint32_t tso; /* payload of a superframe; 0: none */
	bool no_wscale;
	uint8_t wscale; /* 0 is scaling by one */
	uint32_t rcvbuf; /* 0: 256 KiB */
	uint32_t iss;
	uint64_t ack_delay_ns; /* of data in order; 0: none */
	unsigned ack_every; /* full segments after which there is no delay */
	uint64_t total; /* bytes to send */
	bool close; /* FIN behind them */
	uint64_t read_max; /* the application reads no more than that until told; 0: all */
	bool sack; /* permits it, and does it */
	bool ts; /* the same of timestamps (RFC 7323) */
	bool silent; /* answers nothing: the guest has vanished */
};

#define PEER_RANGES 256

struct peer_sacked {
	uint32_t from, to;
};

struct guest_peer {
	struct peer_conf c;
	enum { PEER_CLOSED, PEER_LISTEN, PEER_SYN_SENT, PEER_SYN_RCVD, PEER_OPEN } state;
	void (*out)(void *ctx, const struct gseg *s);
	void *ctx;

	/* Sender. */
	uint32_t una, nxt, max, wnd, max_wnd, wl1, wl2, recover, cwnd;
	uint16_t mss;
	uint8_t scale;
	unsigned dupacks, backoff;
	bool repair;
	uint64_t rto_ns, srtt_ns, var_ns, rtt_at;
	uint32_t rtt_seq;
	uint64_t rto_at, probe_at, dack_at; /* 0: not armed */
	uint64_t tlp_at; /* when Linux would send a tail loss probe (RFC 8985 7.2); we only count that */
	bool fin_acked;
	bool sack, ts; /* both sides do it */
	struct peer_sacked sacked[PEER_RANGES]; /* by sequence number */
	unsigned n_sacked;
	uint32_t resent; /* in this repair, all up to here was sent again */

	/* Receiver. */
	uint32_t irs;
	uint64_t got; /* bytes in order */
	uint64_t read; /* bytes that the application took */
	struct {
		uint64_t from, to;
		unsigned grown; /* order in which they grew */
	} range[PEER_RANGES]; /* beyond that, sorted */
	unsigned ranges, grown;
	struct peer_sacked twice; /* came though it was there; empty: nothing */
	uint64_t fin_at; /* UINT64_MAX: no FIN was seen */
	bool fin_in;
	uint32_t edge; /* right edge that was told */
	unsigned unacked;
	bool rst_in;
	uint32_t ts_recent, ts_first, last_ack;

	/* Counters. */
	unsigned rexmits; /* segments that we sent again */
	unsigned probes; /* the probe timer fired */
	unsigned tlps; /* tail loss probes that would have been sent */
	unsigned segs_in, segs_out, data_in, dup_in; /* dup_in: nothing new in it */
	unsigned twice_in; /* of these segments, those with data */
	unsigned psh_in, probes_in, rtos;
	unsigned paws; /* segments that were older than what had come */
	unsigned reneged; /* an acknowledgement said that something is gone that was SACKed */
};

void peer_init(struct guest_peer *p, const struct peer_conf *c);
void peer_connect(struct guest_peer *p, uint64_t now_ns);

/* A segment arrives. */
void peer_in(struct guest_peer *p, const struct seen *s, uint64_t now_ns);

/* Sends what may be sent; after changes of c.total, c.close, c.read_max. */
void peer_push(struct guest_peer *p, uint64_t now_ns);

/* When its next timer is due; UINT64_MAX: never. */
uint64_t peer_next(const struct guest_peer *p);
void peer_tick(struct guest_peer *p, uint64_t now_ns);

/* All was sent and acknowledged, all was received, with both FIN. */
bool peer_done(const struct guest_peer *p);
