/* SPDX-License-Identifier: MIT */
#include "tcp/rcv.h"

void tcp_rcv_init(struct tcp_rcv *r, uint32_t irs, uint16_t mss)
{
	*r = (struct tcp_rcv){
		.irs = irs,
		.nxt = irs + 1,
		.edge = irs + 1,
		.adv_ack = irs + 1,
		.adv_edge = irs + 1,
		.mss = mss,
	};
}

enum tcp_rcv_verdict tcp_rcv_check(const struct tcp_rcv *r, uint32_t seq, uint32_t len, bool fin, struct tcp_rcv_cut *ret_cut)
{
	struct tcp_rcv_cut c = { .len = len, .fin = fin };
	uint32_t end = seq + len, limit = tcp_rcv_limit(r);

	if (seq_gt(seq, limit))
		return TCP_RCV_BEYOND;
	if (seq_gt(seq, r->nxt))
		return TCP_RCV_AHEAD;
	if (seq_lt(end + fin, r->nxt) || (end + fin == r->nxt && (len || fin)))
		return TCP_RCV_OLD;
	c.skip = MIN(r->nxt - seq, len);
	c.len = len - c.skip;
	if (seq_gt(end, limit)) {
		c.len -= end - limit;
		c.fin = false;
		if (!c.len)
			return TCP_RCV_BEYOND;
	}
	*ret_cut = c;
	return TCP_RCV_TAKE;
}

bool tcp_rcv_in_window(const struct tcp_rcv *r, uint32_t seq)
{
	return seq_ge(seq, r->adv_ack) && (seq_lt(seq, tcp_rcv_limit(r)) || seq == r->nxt);
}

/* A sender sends no less at once, unless that is all it has: half of the largest window that it was offered, or a segment. */
static uint32_t rcv_least(const struct tcp_rcv *r)
{
	return MIN((uint32_t)r->mss, r->told / 2);
}

bool tcp_rcv_open(struct tcp_rcv *r, uint32_t accepted, uint32_t sndbuf, uint32_t queued)
{
	uint32_t room = sndbuf > queued ? sndbuf - queued : 0, sure = tcp_rcv_sure(sndbuf), low, edge;

	if (room < queued / 2) /* sk_stream_is_writeable() of the kernel */
		return false;
	/*
	 * A sixteenth is left for the kernel's own overhead. Below two segments a sender would wait for more (silly window, RFC 9293
	 * 3.8.6.2.1), so that much is offered anyway: what the socket does not take at once waits in the spill buffer.
	 */
	room -= room / 16;
	low = tcp_rcv_low(r);
	/* Or else no window is larger than twice what there is of each, so that each is large enough. */
	if (r->strict) {
		room = sure < low ? MIN(room, 2 * sure) : room;
		low = rcv_least(r);
	}
	edge = accepted + MIN(MAX(room, low), r->wscale ? TCP_WINDOW_MAX : 65535u);
	if (seq_gt(edge, r->edge))
		r->edge = edge;
	return true;
}

bool tcp_rcv_update_due(const struct tcp_rcv *r)
{
	uint32_t had = seq_gt(r->adv_edge, r->nxt) ? r->adv_edge - r->nxt : 0, more = r->edge - r->adv_edge;
	bool waits = r->strict && had < rcv_least(r);

	return seq_gt(r->edge, r->adv_edge) && (more >= 2u * r->mss || more >= had / 2 || waits);
}

uint16_t tcp_rcv_advertise(struct tcp_rcv *r, uint32_t ack, bool syn)
{
	uint32_t wnd = seq_gt(r->edge, ack) ? r->edge - ack : 0;
	uint8_t scale = syn ? 0 : r->wscale;

	/*
	 * Rounded up, the right edge may still seem to move back by less than a unit with a later acknowledgement; what was told before is
	 * accepted all the same (RFC 7323 2.4). Rounding from the edge that was told would let it creep on with each small segment.
	 */
	wnd = MIN((wnd + (1u << scale) - 1) >> scale, 65535u);
	r->adv_ack = ack;
	r->told = MAX(r->told, wnd << scale);
	if (seq_gt(ack + (wnd << scale), r->adv_edge))
		r->adv_edge = ack + (wnd << scale);
	return (uint16_t)wnd;
}
