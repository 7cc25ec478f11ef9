/* SPDX-License-Identifier: MIT */
#include "tcp/snd.h"

#define DUPACKS 3 /* RFC 5681 3.2 */
#define SLACK_SEGS 8 /* first guess of how far something may come late, */
#define SLACK_MAX (1u << 20) /* and the last one */

void tcp_snd_init(struct tcp_snd *s, uint32_t iss, uint16_t mss)
{
	*s = (struct tcp_snd){
		.iss = iss,
		.una = iss,
		.nxt = iss,
		.max = iss,
		.recover = iss,
		.cwnd = UINT32_MAX,
		.rto_us = TCP_RTO_INIT_US,
		.mss = mss,
	};
}

/* RFC 6298 section 2. */
void tcp_snd_rtt(struct tcp_snd *s, uint64_t rtt_ns)
{
	uint32_t r = (uint32_t)MIN(rtt_ns / NSEC_PER_USEC, (uint64_t)TCP_RTO_MAX_US);
	uint32_t delta;

	if (!s->srtt_us) {
		s->srtt_us = MAX(r, 1u);
		s->rttvar_us = r / 2;
	} else {
		delta = s->srtt_us > r ? s->srtt_us - r : r - s->srtt_us;
		s->rttvar_us = s->rttvar_us - s->rttvar_us / 4 + delta / 4;
		s->srtt_us = MAX(s->srtt_us - s->srtt_us / 8 + r / 8, 1u);
	}
	s->rto_us = CLAMP(s->srtt_us + 4 * s->rttvar_us, TCP_RTO_MIN_US, TCP_RTO_MAX_US);
}

/* One that was timed by ourselves; timestamps are too coarse to tell the least one. */
static void snd_rtt_exact(struct tcp_snd *s, uint64_t rtt_ns)
{
	uint32_t us = (uint32_t)MIN(rtt_ns / NSEC_PER_USEC, (uint64_t)TCP_RTO_MAX_US);

	s->least_us = s->least_us ? MIN(s->least_us, us) : us;
	tcp_snd_rtt(s, rtt_ns);
}

static uint32_t snd_rto_us(const struct tcp_snd *s, uint8_t backoff)
{
	uint64_t us = (uint64_t)s->rto_us << MIN(backoff, (uint8_t)16);

	return (uint32_t)MIN(us, (uint64_t)TCP_RTO_MAX_US);
}

bool tcp_snd_forgive(struct tcp_snd *s)
{
	if (s->board) {
		if (s->board->credit == UINT32_MAX)
			return false;
		board_forgive(s->board, s->mss);
		return true;
	}
	if (!s->repair || s->cwnd == UINT32_MAX)
		return false;
	s->repair = false;
	s->cwnd = UINT32_MAX;
	s->nxt = s->max;
	return true;
}

void tcp_snd_stay(struct tcp_snd *s, uint8_t backoff)
{
	s->rto_us = snd_rto_us(s, backoff);
}

/*
 * RFC 9293 3.10.7.4: a window counts only if the segment is not older than the one that gave the present window. One that acknowledges
 * something new is newer, though its sequence number may be that of a retransmission; and as the window counts from una, it would reach
 * further than the guest ever said if una moved on without it.
 */
static void snd_window(struct tcp_snd *s, const struct tcp_hdr *h)
{
	bool newer = seq_gt(h->ack, s->una);

	if (!newer && (seq_lt(h->seq, s->wl1) || (h->seq == s->wl1 && seq_lt(h->ack, s->wl2))))
		return;
	s->wnd = MIN((uint32_t)h->window << (h->flags & TCP_SYN ? 0 : s->wscale), TCP_SND_WND_MAX);
	s->wl1 = h->seq;
	s->wl2 = h->ack;
}

/* Something new was acknowledged. */
static void snd_progress(struct tcp_snd *s, uint32_t ack, uint64_t now_ns, struct tcp_snd_ack *r)
{
	r->acked = ack - s->una;
	r->twice = s->repair || s->board;
	r->backoff = s->backoff;
	s->una = ack;
	if (seq_lt(s->nxt, ack))
		s->nxt = ack; /* a timeout made us go back, but the guest had it */
	s->backoff = 0;
	s->dupacks = 0;
	if (s->rtt_at && seq_gt(ack, s->rtt_seq)) {
		snd_rtt_exact(s, now_ns - s->rtt_at);
		s->rtt_at = 0;
	}
	if (!s->repair)
		return;
	if (seq_ge(ack, s->recover)) {
		s->repair = false;
		s->cwnd = UINT32_MAX;
		return;
	}
	if (s->cwnd < UINT32_MAX / 2)
		s->cwnd += MIN(r->acked, s->cwnd); /* doubles with each round trip */
	if (s->nxt != s->una)
		r->retransmit = true; /* the next hole (RFC 6582 3.2: partial acknowledgement) */
}

static void snd_duplicate(struct tcp_snd *s, struct tcp_snd_ack *r)
{
	if (s->dupacks < UINT8_MAX)
		s->dupacks++;
	if (s->dupacks != DUPACKS || s->repair)
		return;
	s->repair = true;
	s->recover = s->max;
	s->rtt_at = 0; /* Karn: no sample from what was sent twice */
	r->retransmit = true;
}

bool tcp_snd_sacked(const struct tcp_snd *s, const struct tcp_hdr *h)
{
	bool r = false;

	for (unsigned i = 0; i < h->n_sack; i++) {
		const struct tcp_sack *b = &h->sack[i];

		/* What lies before the acknowledgement tells of a duplicate (RFC 2883). */
		r = r || (seq_gt(b->from, h->ack) && seq_lt(b->from, b->to) && seq_le(b->to, s->max));
	}
	return r;
}

void tcp_snd_set_board(struct tcp_snd *s, struct board *b)
{
	board_init(b, s->una, s->slack);
	s->board = b;
	s->repair = false;
	s->cwnd = UINT32_MAX;
	s->rtt_at = 0;
}

bool tcp_snd_hole(const struct tcp_snd *s, uint32_t *ret_seq, uint32_t *ret_len)
{
	uint32_t seq, len, ahead;

	if (!s->board || !board_next(s->board, s->max, &seq, &len))
		return false;
	ahead = seq - s->una;
	len = MIN(len, s->wnd > ahead ? s->wnd - ahead : 0);
	len = MIN(len, s->board->credit);
	if (!len)
		return false;
	*ret_seq = seq;
	*ret_len = len;
	return true;
}

static void snd_spend(struct board *b, uint32_t len)
{
	if (b->credit != UINT32_MAX)
		b->credit -= MIN(len, b->credit);
}

/* Because of what arrived, not of a time-out, this is sent again. */
static void snd_again(struct tcp_snd *s, uint32_t from, uint32_t to)
{
	if (s->again_from == s->again_to || seq_lt(s->again_to, s->una)) {
		s->again_from = from;
		s->again_to = to;
	}
	if (seq_lt(from, s->again_from))
		s->again_from = from;
	if (seq_gt(to, s->again_to))
		s->again_to = to;
}

void tcp_snd_on_resent(struct tcp_snd *s, uint32_t seq, uint32_t len, uint64_t now_ns)
{
	if (s->board->credit == UINT32_MAX)
		snd_again(s, seq, seq + len);
	s->board->now_us = (uint32_t)(now_ns / NSEC_PER_USEC);
	board_sent(s->board, seq, len, s->max);
	snd_spend(s->board, len);
}

/*
 * The guest tells that something came twice (RFC 2883): it was not lost but late, as the path changes the order of what it carries. The
 * next time more patience is due (RFC 8985 6.2). Not after a time-out, which has other causes.
 */
static void snd_on_twice(struct tcp_snd *s, const struct tcp_hdr *h)
{
	const struct tcp_sack *b = &h->sack[0];
	bool inside = h->n_sack > 1 && seq_ge(b->from, h->sack[1].from) && seq_le(b->to, h->sack[1].to);

	if (!h->n_sack || !(seq_le(b->to, h->ack) || inside) || seq_lt(b->from, s->again_from) || seq_gt(b->to, s->again_to))
		return;
	s->slack = MIN(MAX(2 * s->slack, SLACK_SEGS * (uint32_t)s->mss), SLACK_MAX);
	if (s->board)
		s->board->slack = s->slack;
}

/* With a board, after the acknowledgement itself was looked at. */
static void snd_board(struct tcp_snd *s, const struct tcp_hdr *h, uint64_t now_ns, struct tcp_snd_ack *r)
{
	struct board *b = s->board;
	uint32_t news = 0, seq, len;

	b->now_us = (uint32_t)(now_ns / NSEC_PER_USEC);
	b->rtt_us = s->least_us;
	if (r->acked)
		news = board_arrived(b, s->una - r->acked, s->una);
	for (unsigned i = 0; i < h->n_sack; i++) {
		const struct tcp_sack *k = &h->sack[i];

		if (seq_gt(k->from, s->una) && seq_le(k->to, s->max))
			news += board_arrived(b, k->from, k->to);
	}
	if (news && !r->acked && s->dupacks < UINT8_MAX)
		s->dupacks++;
	if (s->dupacks >= DUPACKS && !b->slack)
		board_lose_first(b, s->mss);
	board_judge(b, s->mss);
	if (b->credit != UINT32_MAX)
		b->credit =
			seq_ge(s->una, s->recover) ? UINT32_MAX : b->credit + MIN(2 * news, TCP_SND_WND_MAX); /* as slow start */
	r->quiet = board_quiet(b);
	r->opened = r->opened || tcp_snd_hole(s, &seq, &len);
}

struct tcp_snd_ack tcp_snd_on_ack(struct tcp_snd *s, const struct tcp_hdr *h, uint32_t len, uint64_t now_ns)
{
	struct tcp_snd_ack r = { 0 };
	uint32_t room = tcp_snd_room(s), wnd = s->wnd;

	if (seq_gt(h->ack, s->max)) {
		r.bad = true;
		return r;
	}
	if (seq_lt(h->ack, s->una))
		return r; /* old: nothing in it counts */
	snd_window(s, h);
	snd_on_twice(s, h);
	if (h->ack != s->una)
		snd_progress(s, h->ack, now_ns, &r);
	else if (!len && s->nxt != s->una && s->wnd == wnd && !s->board && !h->n_sack)
		snd_duplicate(s, &r);
	r.opened = tcp_snd_room(s) > room;
	if (s->board)
		snd_board(s, h, now_ns, &r);
	return r;
}

uint32_t tcp_snd_room(const struct tcp_snd *s)
{
	uint32_t limit = MIN(s->wnd, s->cwnd), inflight = tcp_snd_inflight(s), room = limit > inflight ? limit - inflight : 0;

	return s->board ? MIN(room, s->board->credit) : room;
}

void tcp_snd_on_sent(struct tcp_snd *s, uint32_t len, uint64_t now_ns)
{
	if (!s->rtt_at && !s->repair && !s->board && s->nxt == s->max) {
		s->rtt_seq = s->nxt;
		s->rtt_at = now_ns;
	}
	s->nxt += len;
	if (seq_gt(s->nxt, s->max))
		s->max = s->nxt;
	if (s->board)
		snd_spend(s->board, len);
}

/*
 * RFC 2018 section 8 wants all to be forgotten that the guest told, as it may have dropped it again. The usual cause of a timeout is the
 * loss of a repair, though; so that is done only if the guest acknowledges no more than up to what it should have, or does not answer the
 * first one.
 */
static void snd_board_rto(struct tcp_snd *s)
{
	if (s->board->hole[0].from != s->una || s->backoff > 1)
		board_init(s->board, s->una, s->slack);
	board_timeout(s->board, s->max, s->mss);
}

bool tcp_snd_on_rto(struct tcp_snd *s)
{
	if (s->backoff >= TCP_SND_RETRIES)
		return false;
	s->backoff++;
	tcp_snd_again(s);
	return true;
}

void tcp_snd_again(struct tcp_snd *s)
{
	s->dupacks = 0;
	s->rtt_at = 0;
	s->recover = s->max;
	s->again_from = s->again_to = s->max;
	if (s->board) {
		snd_board_rto(s);
		return;
	}
	s->repair = true;
	s->cwnd = s->mss;
	s->nxt = s->una;
}

uint64_t tcp_snd_rto_ns(const struct tcp_snd *s)
{
	return snd_rto_us(s, s->backoff) * NSEC_PER_USEC;
}
