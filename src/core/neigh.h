/* SPDX-License-Identifier: MIT */
/*
 * Whether the guest is still there under the MAC that we know. When frames went to it and nothing came from it for a second, everybody on
 * the link is asked who has its addresses, as any router does (RFC 826, RFC 4861 7.3): the answer is learned from like all that it sends.
 * A guest that has answered so is not asked again for a while, however one-sided the traffic is.
 */
#pragma once

#include "base/timer.h"
#include "link/link.h"

#define NEIGH_WAIT_NS NSEC_PER_SEC
#define NEIGH_TRUST_NS (30 * NSEC_PER_SEC) /* REACHABLE_TIME of RFC 4861 section 10 */

struct neigh {
	struct timer timer;
	const struct link *link;
	uint64_t tx, rx; /* frames: sent when last looked, received when the wait began */
	uint64_t asked_ns, asked_rx; /* the last question, and the frames received then; asked_ns 0: none */
};

/* fired is called as the timer's; it calls neigh_due(). */
void neigh_init(struct neigh *n, const struct link *l, timer_fn *fired);

/* At the end of each turn of the loop. */
void neigh_turn(struct neigh *n, struct timers *w, uint64_t now_ns);

/* The time is over. True: ask, then call neigh_asked(). */
bool neigh_due(const struct neigh *n);
void neigh_asked(struct neigh *n, uint64_t now_ns);
