/* SPDX-License-Identifier: MIT */
/*
 * What we take from the guest: sequence space and the window that we offer (RFC 9293 3.4, 3.8.6). Numbers in, decisions out.
 *
 * The window is what the host's socket can take now, so nothing that was invited has to be dropped. Its right edge never moves back.
 * It is moved on only while the kernel calls the socket writable; when it isn't, the caller keeps EPOLLOUT armed, and that event
 * moves it again: so a window too small to send into always has an event that will reopen it.
 */
#pragma once

#include "base/defs.h"
#include "wire/tcp.h"

#define TCP_WSCALE 8 /* that we offer: windows up to 16 MiB in steps of 256 bytes */
#define TCP_WINDOW_MAX (4u << 20) /* largest window that we offer */
#define TCP_WINDOW_LOW (128u << 10) /* most that is offered beyond what the socket has room for */

struct tcp_rcv {
	uint32_t irs; /* initial sequence number of the guest */
	uint32_t nxt; /* next expected: all before it was taken over by us */
	uint32_t edge; /* right edge of the window, as the socket's room gave it */
	uint32_t adv_ack; /* acknowledgement number that the guest has been told last */
	uint32_t adv_edge; /* furthest right edge that the guest has been told: edge, rounded up to the window scale */
	uint8_t wscale; /* of the windows that we send: TCP_WSCALE, or 0 if the guest doesn't scale */
	uint16_t mss; /* largest payload of a segment that the guest sends, as we told it */
	bool strict; /* nothing is offered that the socket does not take at once */
	uint32_t told; /* largest window that was offered */
};

void tcp_rcv_init(struct tcp_rcv *r, uint32_t irs, uint16_t mss);

/* Nothing from here on is accepted. */
static inline uint32_t tcp_rcv_limit(const struct tcp_rcv *r)
{
	return seq_gt(r->adv_edge, r->edge) ? r->adv_edge : r->edge;
}

enum tcp_rcv_verdict {
	TCP_RCV_TAKE, /* [skip, skip + len) of the payload is next in order, perhaps nothing */
	TCP_RCV_OLD, /* all of it was there before: acknowledge again */
	TCP_RCV_AHEAD, /* a hole before it: acknowledge again, at once (RFC 5681 4.2) */
	TCP_RCV_BEYOND, /* outside the window, such as a window probe: acknowledge again */
};

struct tcp_rcv_cut {
	uint32_t skip;
	uint32_t len;
	bool fin; /* a FIN behind these bytes is next in order as well */
};

/* What of a segment with len bytes of payload at seq is next in order and inside the window. */
enum tcp_rcv_verdict tcp_rcv_check(const struct tcp_rcv *r, uint32_t seq, uint32_t len, bool fin, struct tcp_rcv_cut *ret_cut);

/* Whether seq is in the receive window, for the tests of RFC 5961 (a window of 0 counts as 1). */
bool tcp_rcv_in_window(const struct tcp_rcv *r, uint32_t seq);

/* Bytes that a send buffer of that size takes at least while the kernel calls it writable. */
static inline uint32_t tcp_rcv_sure(uint32_t sndbuf)
{
	return sndbuf / 16 * 5;
}

/* What is offered at least, where it may be more than the socket takes at once: below that a sender would wait for more. */
static inline uint32_t tcp_rcv_low(const struct tcp_rcv *r)
{
	return MIN(2u * r->mss, TCP_WINDOW_LOW);
}

/*
 * Moves the edge on for a socket with a send buffer of sndbuf bytes of which queued are in use, when everything before accepted has
 * been handed to it. False if the kernel would not call it writable: then EPOLLOUT has to be armed.
 */
MUST_USE bool tcp_rcv_open(struct tcp_rcv *r, uint32_t accepted, uint32_t sndbuf, uint32_t queued);

/*
 * Whether the guest is worth being told of the present window by an ACK of its own (RFC 9293 3.8.6.2.2), or may wait for it, as the rest of
 * the last one is too small for it to send into.
 */
bool tcp_rcv_update_due(const struct tcp_rcv *r);

/* Window field of a segment that acknowledges ack, rounded up. syn: in a SYN or SYN-ACK, never scaled. Records what was told. */
uint16_t tcp_rcv_advertise(struct tcp_rcv *r, uint32_t ack, bool syn);
