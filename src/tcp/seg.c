/* SPDX-License-Identifier: MIT */
/* Segments to the guest. */
#include <string.h>

#include "base/csum.h"
#include "base/log.h"
#include "tcp/conn.h"
#include "wire/eth.h"
#include "wire/ip.h"

#define SEG_HDR_MAX (ETH_HLEN + IP6_HLEN + TCP_HLEN_MAX)
#define TCP_CSUM_OFFSET 16
#define SEG_SUPER_MAX 65535u
#define SYN_WINDOW 512 /* without use, as a SYN acknowledges nothing; but some remember the largest window that they were offered */

/* Everything in front of the payload, and the sum of the payload. */
struct seg {
	struct ip_tx ip;
	struct tcp_hdr tcp;
	const struct iovec *iov;
	unsigned n;
	size_t len;
	unsigned queue; /* of the link */
};

static struct seg seg_init(const struct tcp_conn *k, uint8_t flags, uint32_t seq)
{
	const struct flow_key *key = &k->f.key;

	return (struct seg){
		.ip = { .src = key->remote, .dst = key->guest, .proto = PROTO_TCP, .ttl = IP_TTL_DEFAULT, .tos = k->tos },
		.tcp = { .sport = key->rport,
			 .dport = key->gport,
			 .seq = seq,
			 .flags = flags,
			 .has_ts = k->ts.on,
			 .ts_val = k->ts.on ? tcp_ts_now(&k->ts, k->t->d.loop->now_ns) : 0,
			 .ts_ecr = flags & TCP_ACK ? k->ts.recent : 0 },
		.queue = k->f.queue,
	};
}

/* Writes the frame's header; returns its length. With partial, the checksum is left to the link. */
static size_t seg_put(const struct tcp *t, const struct seg *s, bool partial, uint8_t *buf, size_t cap)
{
	struct wr w = wr_init(buf, cap);
	size_t l4_len = tcp_hdr_len(&s->tcp) + s->len, l4;
	uint64_t sum = csum_pseudo(&s->ip.src, &s->ip.dst, PROTO_TCP, l4_len);

	eth_put(&w, t->d.guest->mac, t->d.guest->our_mac, addr_is4(&s->ip.dst) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	ip_put(&w, &s->ip, l4_len);
	l4 = wr_len(&w);
	tcp_hdr_put(&w, &s->tcp);
	if (partial) {
		wr_patch_be16(&w, l4 + TCP_CSUM_OFFSET, (uint16_t)~csum_fold(sum));
		return wr_len(&w);
	}
	sum = csum_add(buf + l4, wr_len(&w) - l4, sum);
	sum = csum_add_iov(s->iov, s->n, 0, s->len, sum);
	wr_patch_be16(&w, l4 + TCP_CSUM_OFFSET, csum_fold(sum));
	return wr_len(&w);
}

static bool seg_send(struct tcp *t, const struct seg *s)
{
	uint8_t buf[SEG_HDR_MAX];

	return !link_send(t->d.link, s->queue, buf, seg_put(t, s, false, buf, sizeof(buf)));
}

/*
 * An acknowledgement stands in the segment: nothing is due any more. Unless the guest may have the segment already: then it looks at
 * nothing in it (RFC 9293 3.10.7.4, first). Or there is more to tell than a segment with data has room for.
 */
static void seg_acked(struct tcp_conn *k, uint32_t seq, bool data)
{
	if (seq == k->snd.max && !(data && k->ooo && k->sack))
		conn_ack_done(k);
}

static void seg_set_ack(struct tcp_conn *k, struct tcp_hdr *h)
{
	h->ack = conn_ack_seq(k);
	h->window = tcp_rcv_advertise(&k->rcv, h->ack, h->flags & TCP_SYN);
}

/* RFC 2018 section 4, RFC 2883 section 4. */
static void seg_set_sack(struct tcp_conn *k, struct tcp_hdr *h)
{
	if (k->twice.from != k->twice.to && seq_le(k->twice.to, h->ack))
		h->sack[h->n_sack++] = k->twice;
	k->twice = (struct tcp_sack){ 0 };
	h->n_sack = (uint8_t)(h->n_sack + ooo_blocks(k->ooo, h->sack + h->n_sack, TCP_SACK_MAX - k->ts.on - h->n_sack));
}

bool seg_send_ctl(struct tcp_conn *k, uint8_t flags, uint32_t seq)
{
	struct seg s = seg_init(k, flags, seq);

	if (flags & TCP_SYN) {
		s.tcp.mss = conn_mss_local(k->t, addr_is4(&k->f.key.guest));
		s.tcp.has_wscale = !(flags & TCP_ACK) || k->rcv.wscale;
		s.tcp.wscale = TCP_WSCALE;
		s.tcp.sack_ok = !(flags & TCP_ACK) || k->sack;
	}
	if (flags == TCP_SYN && k->t->d.link->lossy) {
		s.tcp.has_ts = true;
		s.tcp.ts_val = tcp_ts_now(&k->ts, k->t->d.loop->now_ns);
	}
	if (flags & TCP_ACK)
		seg_set_ack(k, &s.tcp);
	else if (flags & TCP_SYN)
		s.tcp.window = SYN_WINDOW;
	if (flags == TCP_ACK && k->sack)
		seg_set_sack(k, &s.tcp);
	if (!seg_send(k->t, &s))
		return false;
	if (flags & TCP_ACK)
		seg_acked(k, seq, false);
	return true;
}

bool seg_send_ack(struct tcp_conn *k)
{
	/* Not nxt, which a time-out may have taken back behind what the guest expects. */
	return seg_send_ctl(k, TCP_ACK, k->snd.max);
}

bool seg_send_probe(struct tcp_conn *k)
{
	struct seg s = seg_init(k, TCP_ACK, k->snd.una - 1);
	struct tcp_rcv rcv = k->rcv;

	s.tcp.ack = rcv.adv_ack;
	s.tcp.window = tcp_rcv_advertise(&rcv, rcv.adv_ack, false);
	return seg_send(k->t, &s);
}

size_t seg_hdr_len(const struct tcp_conn *k)
{
	return ETH_HLEN + ip_hlen(&k->f.key.guest) + TCP_HLEN + (k->ts.on ? TCP_TS_LEN : 0);
}

size_t seg_data_max(const struct tcp_conn *k)
{
	const struct link *l = k->t->d.link;
	uint32_t need = addr_is4(&k->f.key.guest) ? LINK_OFF_TSO4 : LINK_OFF_TSO6;
	size_t room = MIN(l->max_body, (size_t)SEG_SUPER_MAX) - (seg_hdr_len(k) - ETH_HLEN);

	if (!(l->offloads & need) || room < k->snd.mss)
		return k->snd.mss;
	return room - room % k->snd.mss;
}

void seg_commit_data(struct tcp_conn *k, const struct txframe *f, uint32_t seq, size_t len, uint8_t flags)
{
	struct link *l = k->t->d.link;
	struct seg s = seg_init(k, flags, seq);
	bool partial = l->offloads & LINK_OFF_CSUM, v4 = addr_is4(&s.ip.dst);
	uint8_t buf[SEG_HDR_MAX];
	struct txhdr h = { .bytes = buf };

	s.iov = f->body;
	s.n = f->n;
	s.len = len;
	seg_set_ack(k, &s.tcp);
	h.len = (uint16_t)seg_put(k->t, &s, partial, buf, sizeof(buf));
	if (partial) {
		h.csum_start = (uint16_t)(h.len - tcp_hdr_len(&s.tcp));
		h.csum_offset = TCP_CSUM_OFFSET;
	}
	if (len > k->snd.mss) {
		h.gso_type = v4 ? GSO_TCP4 : GSO_TCP6;
		h.gso_size = k->snd.mss;
	}
	link_commit(l, f, &h, len);
	seg_acked(k, seq, true);
}

void seg_reply_rst(struct tcp *t, const struct pkt *p, const struct tcp_hdr *h, uint32_t payload)
{
	struct seg s = {
		.ip = { .src = p->dst, .dst = p->src, .proto = PROTO_TCP, .ttl = IP_TTL_DEFAULT },
		.tcp = { .sport = h->dport, .dport = h->sport, .flags = TCP_RST },
		.queue = t->d.link->rx_queue,
	};

	/* RFC 9293 3.10.7.1 */
	if (h->flags & TCP_RST)
		return;
	if (h->flags & TCP_ACK) {
		s.tcp.seq = h->ack;
	} else {
		s.tcp.flags |= TCP_ACK;
		s.tcp.ack = h->seq + payload + !!(h->flags & TCP_SYN) + !!(h->flags & TCP_FIN);
	}
	(void)seg_send(t, &s);
}

size_t seg_quote(const struct tcp_conn *k, uint8_t quote[HOSTERR_QUOTE_MAX])
{
	const struct flow_key *key = &k->f.key;
	struct ip_tx ip = { .src = key->guest, .dst = key->remote, .proto = PROTO_TCP, .ttl = 1, .tos = k->ip.tos };
	struct tcp_hdr th = { .sport = key->gport, .dport = key->rport, .seq = k->rcv.irs, .flags = TCP_SYN };
	struct wr w = wr_init(quote, HOSTERR_QUOTE_MAX);

	ip_put(&w, &ip, tcp_hdr_len(&th));
	tcp_hdr_put(&w, &th);
	return wr_len(&w);
}

void seg_unreach(struct tcp_conn *k, int err)
{
	uint8_t quote[HOSTERR_QUOTE_MAX];
	struct hosterr_quote q = {
		.src = &k->f.key.guest, .dst = &k->f.key.remote, .bytes = quote, .len = seg_quote(k, quote), .queue = k->f.queue
	};

	if (!hosterr_report(&k->t->hosterr, &q, err))
		log_limited(LOG_LVL_DEBUG, "TCP flow %u: %s is nothing to tell the guest", k->f.index, strerror(err));
}

void seg_reply_unreach(struct tcp *t, const struct pkt *p, int err)
{
	if (!hosterr_refuse(&t->hosterr, p, err))
		log_limited(LOG_LVL_DEBUG, "TCP: %s is nothing to tell the guest", strerror(err));
}
