/* SPDX-License-Identifier: MIT */
/*
 * Connections that go to and fro: a short segment of the guest, data of the host, the next short segment. There the acknowledgement of
 * the request can wait for the response that is about to carry it, as a delayed acknowledgement does (RFC 9293 3.8.6.3, RFC 5681 4.2).
 * Numbers in, decisions out.
 *
 * It waits only where that was so for a few turns, as a guest that sends a second segment first may be one that holds that back until the
 * first is acknowledged (Nagle's algorithm); and never for as long as makes a guest send again. A wait that was in vain is not repeated
 * before as many turns have shown that it would have been worth it.
 */
#pragma once

#include "base/defs.h"

#define TCP_TALK_TURNS 4u
#define TCP_TALK_WAIT_NS (5 * NSEC_PER_MSEC)

/* All zero at the beginning. */
struct tcp_talk {
	uint8_t turns; /* in a row, up to TCP_TALK_TURNS */
	bool asked; /* the guest has sent something since the host last did */
};

/* Data of the guest came. one: that is a single segment. True: its acknowledgement may wait. */
static inline bool tcp_talk_heard(struct tcp_talk *t, bool one)
{
	if (t->asked || !one)
		t->turns = 0;
	t->asked = true;
	return t->turns == TCP_TALK_TURNS;
}

/* Data of the host goes to the guest. */
static inline void tcp_talk_said(struct tcp_talk *t)
{
	if (t->asked && t->turns < TCP_TALK_TURNS)
		t->turns++;
	t->asked = false;
}

/* The wait was in vain. */
static inline void tcp_talk_silence(struct tcp_talk *t)
{
	t->turns = 0;
}
