/* SPDX-License-Identifier: MIT */
#include "core/neigh.h"

void neigh_init(struct neigh *n, const struct link *l, timer_fn *fired)
{
	*n = (struct neigh){ .link = l };
	timer_init(&n->timer, fired);
}

void neigh_turn(struct neigh *n, struct timers *w, uint64_t now_ns)
{
	const struct link_stats *s = &n->link->stats;
	bool sent = s->tx_frames != n->tx, answered = n->asked_ns && s->rx_frames != n->asked_rx;
	uint64_t due = now_ns + NEIGH_WAIT_NS;

	n->tx = s->tx_frames;
	if (!sent || timer_armed(&n->timer))
		return;
	n->rx = s->rx_frames;
	if (answered)
		due = MAX(due, n->asked_ns + NEIGH_TRUST_NS);
	timer_set(w, &n->timer, due);
}

bool neigh_due(const struct neigh *n)
{
	return n->link->up && n->link->stats.rx_frames == n->rx;
}

void neigh_asked(struct neigh *n, uint64_t now_ns)
{
	n->asked_ns = now_ns;
	n->asked_rx = n->rx;
	n->tx = n->link->stats.tx_frames; /* the question itself is no reason for another */
}
