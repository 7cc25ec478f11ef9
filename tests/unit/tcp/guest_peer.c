/* SPDX-License-Identifier: MIT */
#include "guest_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RTO_INIT (1 * NSEC_PER_SEC)
#define RTO_MIN (200 * NSEC_PER_MSEC)
#define TLP_MIN (2 * NSEC_PER_MSEC) /* two ticks of a kernel with HZ=1000 */
#define RTO_MAX (60 * NSEC_PER_SEC)

void peer_init(struct guest_peer *p, const struct peer_conf *c)
{
	memset(p, 0, sizeof(*p));
	p->c = *c;
	p->c.mss = c->mss ? c->mss : 1460;
	p->c.rcvbuf = c->rcvbuf ? c->rcvbuf : 262144;
	p->c.ack_every = c->ack_every ? c->ack_every : 2;
	p->una = p->nxt = p->max = c->iss;
	p->cwnd = UINT32_MAX;
	p->rto_ns = RTO_INIT;
	p->fin_at = UINT64_MAX;
	p->state = PEER_LISTEN;
}

/* --- sending --- */

static uint32_t peer_rcv_nxt(const struct guest_peer *p)
{
	return p->irs + 1 + (uint32_t)p->got + p->fin_in;
}

/* Moves the right edge, if by enough (RFC 9293 3.8.6.2.2), and gives the field for the header. */
static uint16_t peer_window(struct guest_peer *p, bool syn)
{
	uint64_t held = p->got - p->read;
	uint32_t room = p->c.rcvbuf > held ? (uint32_t)(p->c.rcvbuf - held) : 0, nxt = peer_rcv_nxt(p);
	uint8_t scale = syn || p->c.no_wscale ? 0 : p->c.wscale;
	uint32_t edge = p->edge, field;

	if (syn || nxt + room - edge >= MIN(p->c.rcvbuf / 2, (uint32_t)p->c.mss))
		edge = seq_gt(nxt + room, edge) || syn ? nxt + room : edge;
	field = seq_gt(edge, nxt) ? MIN((edge - nxt) >> scale, 65535u) : 0;
	if (syn || seq_gt(nxt + (field << scale), p->edge))
		p->edge = nxt + (field << scale);
	return (uint16_t)field;
}

/* The ranges that we have, the one that grew last first. */
static void peer_put_sack(const struct guest_peer *p, struct tcp_hdr *h)
{
	unsigned below = UINT32_MAX;

	if (p->twice.from != p->twice.to)
		h->sack[h->n_sack++] = (struct tcp_sack){ p->twice.from, p->twice.to };
	for (unsigned best; h->n_sack < TCP_SACK_MAX - p->ts; h->n_sack++, below = p->range[best].grown) {
		best = PEER_RANGES;
		for (unsigned i = 0; i < p->ranges; i++) {
			if (p->range[i].grown < below && (best == PEER_RANGES || p->range[i].grown > p->range[best].grown))
				best = i;
		}
		if (best == PEER_RANGES)
			break;
		h->sack[h->n_sack].from = p->irs + 1 + (uint32_t)p->range[best].from;
		h->sack[h->n_sack].to = p->irs + 1 + (uint32_t)p->range[best].to;
	}
}

static uint32_t peer_clock(const struct guest_peer *p)
{
	return (uint32_t)(fake_os.now_ns / NSEC_PER_MSEC) + p->c.iss;
}

static void peer_emit(struct guest_peer *p, uint8_t flags, uint32_t seq, const void *data, size_t len)
{
	struct gseg s = { .h = { .flags = flags, .seq = seq }, .data = data, .len = len };

	if (p->c.silent)
		return;
	if (flags & TCP_SYN) {
		s.h.mss = p->c.mss;
		s.h.has_wscale = !p->c.no_wscale && (p->state != PEER_SYN_RCVD || p->scale != UINT8_MAX);
		s.h.wscale = p->c.wscale;
		s.h.sack_ok = flags & TCP_ACK ? p->sack : p->c.sack;
	} else if (p->sack && !len) {
		peer_put_sack(p, &s.h);
		p->twice.to = p->twice.from;
	}
	if (p->ts || (p->c.ts && flags == TCP_SYN)) {
		s.h.has_ts = true;
		s.h.ts_val = peer_clock(p);
		s.h.ts_ecr = flags & TCP_ACK ? p->ts_recent : 0;
	}
	if (flags & TCP_ACK) {
		s.h.ack = p->last_ack = peer_rcv_nxt(p);
		p->dack_at = 0;
		p->unacked = 0;
	}
	s.h.window = peer_window(p, flags & TCP_SYN);
	if (p->c.tso && len > p->mss)
		s.gso_size = p->mss;
	p->segs_out++;
	p->out(p->ctx, &s);
}

static void peer_ack(struct guest_peer *p)
{
	peer_emit(p, TCP_ACK, p->nxt, NULL, 0);
}

/* One segment of the stream from sequence number seq on, with len bytes. */
static void peer_segment(struct guest_peer *p, uint32_t seq, uint32_t len, bool fin)
{
	uint64_t off = seq - p->c.iss - 1;
	uint8_t *buf = malloc(len + 1u), flags = TCP_ACK;

	assert_non_null(buf);
	pattern_fill(DIR_UP, off, buf, len);
	if (fin)
		flags |= TCP_FIN;
	if (len && off + len == p->c.total)
		flags |= TCP_PSH;
	if (seq_lt(seq, p->max))
		p->rexmits++;
	peer_emit(p, flags, seq, buf, len);
	free(buf);
}

/* Next segment from seq on; false if none may be sent. limit: bytes of window behind seq. */
static bool peer_cut(const struct guest_peer *p, uint32_t seq, uint32_t limit, uint32_t *ret_len, bool *ret_fin)
{
	uint64_t off = seq - p->c.iss - 1, left = off > p->c.total ? 0 : p->c.total - off;
	uint32_t most = p->c.tso ? p->c.tso : p->mss, fits = MIN(most, limit), len = (uint32_t)MIN(left, (uint64_t)fits);

	if (off > p->c.total)
		return false; /* behind the FIN */
	*ret_len = len;
	*ret_fin = p->c.close && len == left && limit > len;
	if (!len && !*ret_fin)
		return false;
	return len >= p->mss || len == left || len >= p->max_wnd / 2;
}

static bool peer_waits(const struct guest_peer *p)
{
	uint64_t off = p->nxt - p->c.iss - 1;

	return p->state == PEER_OPEN && (off < p->c.total || (p->c.close && off == p->c.total));
}

/* With each transmission and each acknowledgement of something new. */
static void peer_tlp(struct guest_peer *p, uint64_t now)
{
	p->tlp_at = p->nxt != p->una && p->srtt_ns && !p->repair ? now + 2 * p->srtt_ns + TLP_MIN : 0;
}

static void peer_timers(struct guest_peer *p, uint64_t now, bool restart)
{
	unsigned shift = MIN(p->backoff, 16u);
	uint64_t rto = MIN(p->rto_ns << shift, RTO_MAX);

	if (p->nxt != p->una) {
		p->probe_at = 0;
		if (restart || !p->rto_at)
			p->rto_at = now + rto;
		return;
	}
	p->rto_at = 0;
	if (!peer_waits(p))
		p->probe_at = 0;
	else if (!p->probe_at)
		p->probe_at = now + rto;
}

/* How far it is from seq to the next range that the other side has; 0: it is in one, which ends at *ret_end. */
static uint32_t peer_hole(const struct guest_peer *p, uint32_t seq, uint32_t *ret_end)
{
	for (unsigned i = 0; i < p->n_sacked; i++) {
		if (seq_le(p->sacked[i].to, seq))
			continue;
		*ret_end = p->sacked[i].to;
		return seq_lt(seq, p->sacked[i].from) ? p->sacked[i].from - seq : 0;
	}
	return UINT32_MAX;
}

void peer_push(struct guest_peer *p, uint64_t now)
{
	uint32_t old = p->edge, len, hole, end, before = p->nxt;
	bool fin;

	if (p->state == PEER_OPEN) {
		p->read = p->c.read_max ? MIN(p->got, p->c.read_max) : p->got;
		for (;;) {
			uint32_t inflight = p->nxt - p->una, limit = MIN(p->wnd, p->cwnd);

			hole = peer_hole(p, p->nxt, &end);
			if (!hole) {
				p->nxt = end;
				continue;
			}
			if (limit < inflight)
				break;
			if (!peer_cut(p, p->nxt, MIN(limit - inflight, hole), &len, &fin) && (!len || hole > limit - inflight))
				break;
			if (!p->rtt_at && p->nxt == p->max && !p->repair) {
				p->rtt_at = now;
				p->rtt_seq = p->nxt;
			}
			peer_segment(p, p->nxt, len, fin);
			p->nxt += len + fin;
			p->max = seq_gt(p->nxt, p->max) ? p->nxt : p->max;
		}
		(void)peer_window(p, false);
		if (p->edge != old && peer_rcv_nxt(p) == old)
			peer_ack(p); /* it was shut */
	}
	if (p->nxt != before)
		peer_tlp(p, now);
	peer_timers(p, now, false);
}

void peer_connect(struct guest_peer *p, uint64_t now)
{
	p->state = PEER_SYN_SENT;
	p->ts_first = peer_clock(p);
	peer_emit(p, TCP_SYN, p->c.iss, NULL, 0);
	p->nxt = p->max = p->c.iss + 1;
	p->rtt_at = now;
	p->rtt_seq = p->c.iss;
	peer_timers(p, now, true);
}

/* --- timers --- */

uint64_t peer_next(const struct guest_peer *p)
{
	uint64_t t = UINT64_MAX;

	if (p->rto_at)
		t = MIN(t, p->rto_at);
	if (p->tlp_at)
		t = MIN(t, p->tlp_at);
	if (p->probe_at)
		t = MIN(t, p->probe_at);
	if (p->dack_at)
		t = MIN(t, p->dack_at);
	return t;
}

static void peer_on_rto(struct guest_peer *p, uint64_t now)
{
	p->rto_at = 0;
	p->backoff++;
	p->rtt_at = 0;
	p->dupacks = 0;
	if (p->state == PEER_SYN_SENT || p->state == PEER_SYN_RCVD) {
		peer_emit(p, p->state == PEER_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK, p->c.iss, NULL, 0);
		peer_timers(p, now, true);
		return;
	}
	p->repair = true;
	p->recover = p->max;
	p->cwnd = p->mss;
	p->nxt = p->una;
	p->rtos++;
	p->resent = p->max;
	if (p->backoff > 1)
		p->n_sacked = 0; /* or we wait for ever for what was dropped after it was SACKed */
	peer_push(p, now);
}

/* The override timeout of a silly window, or a probe of a shut one. */
static void peer_on_probe(struct guest_peer *p, uint64_t now)
{
	uint64_t off = p->nxt - p->c.iss - 1;
	uint32_t fits = MIN(p->wnd, (uint32_t)p->mss), len = (uint32_t)MIN((uint64_t)fits, p->c.total - off);

	p->probe_at = 0;
	p->probes++;
	p->backoff++;
	if (len) {
		peer_segment(p, p->nxt, len, false);
		p->nxt += len;
		p->max = seq_gt(p->nxt, p->max) ? p->nxt : p->max;
	} else {
		peer_emit(p, TCP_ACK, p->una - 1, NULL, 0);
	}
	peer_timers(p, now, true);
}

void peer_tick(struct guest_peer *p, uint64_t now)
{
	if (p->dack_at && p->dack_at <= now)
		peer_ack(p);
	if (p->tlp_at && p->tlp_at <= now) {
		p->tlp_at = 0;
		p->tlps++;
	}
	if (p->rto_at && p->rto_at <= now)
		peer_on_rto(p, now);
	if (p->probe_at && p->probe_at <= now)
		peer_on_probe(p, now);
}

/* --- receiving --- */

static void peer_rtt(struct guest_peer *p, uint64_t r)
{
	uint64_t d = p->srtt_ns > r ? p->srtt_ns - r : r - p->srtt_ns;

	if (!p->srtt_ns) {
		p->srtt_ns = MAX(r, (uint64_t)1);
		p->var_ns = r / 2;
	} else {
		p->var_ns = p->var_ns - p->var_ns / 4 + d / 4;
		p->srtt_ns = MAX(p->srtt_ns - p->srtt_ns / 8 + r / 8, (uint64_t)1);
	}
	p->rto_ns = p->srtt_ns + MAX(4 * p->var_ns, (uint64_t)RTO_MIN); /* as Linux */
}

/* The first of what is lost and was not sent again. */
static void peer_resend(struct guest_peer *p)
{
	uint32_t len = 0, seq = p->una, hole, end;
	bool fin = false;

	if (p->una == p->max)
		return;
	if (p->n_sacked && seq_gt(p->resent, seq))
		seq = p->resent;
	while (!(hole = peer_hole(p, seq, &end)))
		seq = end;
	if (hole == UINT32_MAX && seq != p->una)
		return; /* nothing came from behind it */
	(void)peer_cut(p, seq, MIN(hole, p->max - seq), &len, &fin); /* nothing that is new */
	peer_segment(p, seq, len, fin);
	p->resent = seq + len + fin;
}

/* [from, to) is there, says the other side. */
static void peer_sacked_add(struct guest_peer *p, uint32_t from, uint32_t to)
{
	unsigned i = 0, j;

	while (i < p->n_sacked && seq_lt(p->sacked[i].to, from))
		i++;
	for (j = i; j < p->n_sacked && seq_le(p->sacked[j].from, to); j++) {
		from = seq_lt(p->sacked[j].from, from) ? p->sacked[j].from : from;
		to = seq_gt(p->sacked[j].to, to) ? p->sacked[j].to : to;
	}
	if (i == j && p->n_sacked == PEER_RANGES)
		return;
	memmove(&p->sacked[i + 1], &p->sacked[j], (p->n_sacked - j) * sizeof(p->sacked[0]));
	p->n_sacked = p->n_sacked + 1 + i - j;
	p->sacked[i] = (struct peer_sacked){ from, to };
}

static void peer_take_sack(struct guest_peer *p, const struct tcp_hdr *h)
{
	unsigned gone = 0;

	assert_true(p->sack || !h->n_sack);
	for (unsigned i = 0; i < h->n_sack; i++) {
		const struct tcp_sack *b = &h->sack[i];

		assert_true(seq_lt(b->from, b->to) && seq_le(b->to, p->max));
		if (i == 0 && seq_le(b->to, h->ack))
			continue; /* a duplicate came (RFC 2883) */
		assert_true(seq_gt(b->from, h->ack));
		peer_sacked_add(p, b->from, b->to);
	}
	while (gone < p->n_sacked && seq_le(p->sacked[gone].to, h->ack))
		gone++;
	p->n_sacked -= gone;
	memmove(&p->sacked[0], &p->sacked[gone], p->n_sacked * sizeof(p->sacked[0]));
	p->reneged += p->n_sacked && seq_le(p->sacked[0].from, h->ack);
}

static void peer_progress(struct guest_peer *p, uint32_t ack, uint64_t now)
{
	uint32_t acked = ack - p->una;

	p->una = ack;
	if (seq_lt(p->nxt, ack))
		p->nxt = ack;
	p->dupacks = 0;
	p->backoff = 0;
	if (p->rtt_at && seq_gt(ack, p->rtt_seq)) {
		peer_rtt(p, now - p->rtt_at);
		p->rtt_at = 0;
	}
	if (p->c.close && ack - p->c.iss - 1 == (uint32_t)p->c.total + 1)
		p->fin_acked = true;
	if (p->repair && seq_ge(ack, p->recover)) {
		p->repair = false;
		p->cwnd = UINT32_MAX;
	} else if (p->repair) {
		if (p->cwnd != UINT32_MAX)
			p->cwnd += acked;
		if (p->nxt != p->una)
			peer_resend(p);
	}
	peer_tlp(p, now);
	peer_timers(p, now, true);
}

static void peer_on_ack(struct guest_peer *p, const struct seen *s, uint64_t now)
{
	const struct tcp_hdr *h = &s->h;
	uint32_t wnd = p->wnd;

	assert_true(seq_le(h->ack, p->max)); /* or it acknowledges what was never sent */
	if (seq_lt(h->ack, p->una))
		return;
	if (seq_gt(h->seq, p->wl1) || (h->seq == p->wl1 && seq_ge(h->ack, p->wl2))) {
		p->wnd = (uint32_t)h->window << (h->flags & TCP_SYN ? 0 : p->scale);
		p->max_wnd = MAX(p->max_wnd, p->wnd);
		p->wl1 = h->seq;
		p->wl2 = h->ack;
	}
	if (p->wnd != wnd && p->probe_at) {
		p->probe_at = 0;
		p->backoff = 0;
	}
	peer_take_sack(p, h);
	if (p->repair && h->ack == p->una && h->n_sack) {
		peer_resend(p);
	} else if (h->ack != p->una) {
		peer_progress(p, h->ack, now);
	} else if (!s->len && !(h->flags & TCP_FIN) && p->nxt != p->una && p->wnd == wnd && ++p->dupacks == 3 && !p->repair) {
		p->resent = p->una;
		p->repair = true;
		p->recover = p->max;
		p->rtt_at = 0;
		peer_resend(p);
	}
}

/* Notes [from, to) as received, with what was there before. */
static void peer_note(struct guest_peer *p, uint64_t from, uint64_t to)
{
	unsigned i = 0, j;

	if (from <= p->got) {
		p->got = MAX(p->got, to);
	} else {
		while (i < p->ranges && p->range[i].to < from)
			i++;
		for (j = i; j < p->ranges && p->range[j].from <= to; j++) {
			from = MIN(from, p->range[j].from);
			to = MAX(to, p->range[j].to);
		}
		if (j == i)
			assert_true(p->ranges < PEER_RANGES);
		memmove(&p->range[i + 1], &p->range[j], (p->ranges - j) * sizeof(p->range[0]));
		p->ranges = p->ranges + 1 + i - j;
		p->range[i].from = from;
		p->range[i].to = to;
		p->range[i].grown = ++p->grown;
	}
	while (p->ranges && p->range[0].from <= p->got) {
		p->got = MAX(p->got, p->range[0].to);
		p->ranges--;
		memmove(&p->range[0], &p->range[1], p->ranges * sizeof(p->range[0]));
	}
}

/* Whether to acknowledge at once. */
static bool peer_data(struct guest_peer *p, const struct seen *s)
{
	uint32_t nxt = peer_rcv_nxt(p), end = s->h.seq + (uint32_t)s->len;
	bool fin = s->h.flags & TCP_FIN, had_fin = p->fin_in;
	int64_t off = (int64_t)p->got + (int32_t)(s->h.seq - (p->irs + 1 + (uint32_t)p->got)), skip = off < 0 ? -off : 0;
	uint64_t got = p->got;

	assert_true(seq_le(end + fin, p->edge)); /* limits are kept exactly */
	assert_true((s->gso_size ? s->gso_size : s->len) + p->ts * TCP_TS_LEN <= p->c.mss);
	p->data_in += s->len > 0;
	p->psh_in += !!(s->h.flags & TCP_PSH);
	if (seq_le(end + fin, nxt)) {
		p->dup_in++;
		return true;
	}
	if ((int64_t)s->len > skip) {
		pattern_check(DIR_DOWN, (uint64_t)(off + skip), s->data + skip, s->len - (size_t)skip);
		peer_note(p, (uint64_t)(off + skip), (uint64_t)off + s->len);
	}
	if (fin) {
		assert_true(p->fin_at == UINT64_MAX || p->fin_at == (uint64_t)off + s->len);
		p->fin_at = (uint64_t)off + s->len;
	}
	assert_true(p->got <= p->fin_at);
	p->fin_in = p->got == p->fin_at;
	p->unacked += (p->got - got >= p->mss);
	return (p->fin_in && !had_fin) || p->got == got || p->ranges || s->len > p->c.mss;
}

/* Whether it is a timestamp of ours. */
static bool peer_sent_ts(const struct guest_peer *p, uint32_t ts)
{
	return seq_ge(ts, p->ts_first) && seq_le(ts, peer_clock(p));
}

static void peer_open(struct guest_peer *p, const struct seen *s, uint64_t now)
{
	p->irs = s->h.seq;
	p->edge += p->irs; /* what stood in our SYN, if it was sent */
	p->mss = s->h.mss ? s->h.mss : 536;
	if (p->mss > p->c.mss)
		p->mss = p->c.mss;
	p->scale = s->h.has_wscale && !p->c.no_wscale ? s->h.wscale : 0;
	if (!s->h.has_wscale)
		p->c.no_wscale = true;
	assert_true(p->c.sack || s->h.flags == TCP_SYN || !s->h.sack_ok);
	p->sack = p->c.sack && s->h.sack_ok;
	assert_true(p->c.ts || s->h.flags == TCP_SYN || !s->h.has_ts);
	p->ts = p->c.ts && s->h.has_ts;
	p->mss = (uint16_t)(p->mss - p->ts * TCP_TS_LEN);
	p->ts_recent = s->h.ts_val;
	if (!(s->h.flags & TCP_ACK))
		p->ts_first = peer_clock(p);
	assert_true(!p->ts || !(s->h.flags & TCP_ACK) || peer_sent_ts(p, s->h.ts_ecr));
	p->wnd = p->max_wnd = s->h.window;
	p->wl1 = s->h.seq;
	p->wl2 = s->h.ack;
	if (s->h.flags & TCP_ACK) {
		peer_progress(p, s->h.ack, now);
		p->state = PEER_OPEN;
		peer_ack(p);
		return;
	}
	p->state = PEER_SYN_RCVD;
	peer_emit(p, TCP_SYN | TCP_ACK, p->c.iss, NULL, 0);
	p->nxt = p->max = p->c.iss + 1;
	peer_timers(p, now, true);
}

/* RFC 7323 5.3. False: it is older than what came before. */
static bool peer_take_ts(struct guest_peer *p, const struct seen *s)
{
	uint32_t end = s->h.seq + (uint32_t)s->len + !!(s->h.flags & TCP_FIN);

	if (!(s->h.flags & TCP_SYN))
		assert_int_equal(s->h.has_ts, p->ts);
	if (!p->ts)
		return true;
	if (s->h.flags & TCP_ACK)
		assert_true(peer_sent_ts(p, s->h.ts_ecr));
	if (seq_lt(s->h.ts_val, p->ts_recent)) {
		p->paws++;
		return false;
	}
	if (seq_le(s->h.seq, p->last_ack) && seq_ge(end, p->last_ack))
		p->ts_recent = s->h.ts_val;
	return true;
}

/* All of it was there before: to be told (RFC 2883). */
static void peer_see_twice(struct guest_peer *p, const struct seen *s)
{
	uint32_t base = p->irs + 1, from = s->h.seq, to = from + (uint32_t)s->len;
	bool twice = seq_le(to, peer_rcv_nxt(p));

	for (unsigned i = 0; i < p->ranges; i++)
		twice |= seq_ge(from, base + (uint32_t)p->range[i].from) && seq_le(to, base + (uint32_t)p->range[i].to);
	if (!s->len || !twice)
		return;
	p->twice_in += 1 + (unsigned)(s->len - 1) / p->mss;
	p->twice = (struct peer_sacked){ from, to };
}

static void peer_established(struct guest_peer *p, const struct seen *s, uint64_t now)
{
	bool now_ack = false;

	if (!peer_take_ts(p, s)) {
		peer_ack(p);
		return;
	}

	if (s->h.flags & TCP_SYN) {
		peer_ack(p);
		return;
	}
	if (!(s->h.flags & TCP_ACK))
		return;
	peer_see_twice(p, s);
	/* Wholly before what is expected: answered, and nothing in it counts (RFC 9293 3.10.7.4, first). */
	if (seq_lt(s->h.seq + (uint32_t)s->len + !!(s->h.flags & TCP_FIN), peer_rcv_nxt(p) + !!s->len)) {
		p->probes_in += !s->len;
		p->dup_in += s->len > 0;
		peer_ack(p);
		return;
	}
	peer_on_ack(p, s, now);
	if (s->len || s->h.flags & TCP_FIN)
		now_ack = peer_data(p, s);
	p->read = p->c.read_max ? MIN(p->got, p->c.read_max) : p->got;
	if (now_ack || p->unacked >= p->c.ack_every || (s->len && !p->c.ack_delay_ns))
		peer_ack(p);
	else if (s->len && !p->dack_at)
		p->dack_at = now + p->c.ack_delay_ns;
	peer_push(p, now);
}

void peer_in(struct guest_peer *p, const struct seen *s, uint64_t now)
{
	p->segs_in++;
	if (p->c.silent || p->state == PEER_CLOSED)
		return;
	if (s->h.flags & TCP_RST) {
		if (p->state <= PEER_SYN_SENT || s->h.seq == peer_rcv_nxt(p)) {
			p->rst_in = true;
			p->state = PEER_CLOSED;
			p->rto_at = p->probe_at = p->dack_at = 0;
		}
		return;
	}
	switch (p->state) {
	case PEER_LISTEN:
		assert_int_equal(s->h.flags, TCP_SYN);
		peer_open(p, s, now);
		break;
	case PEER_SYN_SENT:
		if ((s->h.flags & TCP_SYN) && (s->h.flags & TCP_ACK))
			peer_open(p, s, now);
		break;
	case PEER_SYN_RCVD:
		if (!(s->h.flags & TCP_ACK) || s->h.ack != p->c.iss + 1)
			break;
		peer_progress(p, s->h.ack, now);
		p->state = PEER_OPEN;
		peer_established(p, s, now);
		break;
	default:
		peer_established(p, s, now);
	}
	peer_push(p, now);
}

bool peer_done(const struct guest_peer *p)
{
	return p->fin_in && p->fin_acked;
}
