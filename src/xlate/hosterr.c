/* SPDX-License-Identifier: MIT */
#include "xlate/hosterr.h"

#include <errno.h>
#include <linux/errqueue.h>

#include "os/sock.h"
#include "wire/eth.h"
#include "wire/ip.h"

#define FRAME_MAX (ETH_HLEN + IP6_HLEN + ICMP_HLEN + HOSTERR_QUOTE_MAX)

static void err_send(const struct hosterr *h, const struct icmp_err *e, const struct hosterr_quote *q)
{
	uint8_t frame[FRAME_MAX];
	struct wr w = wr_init(frame, sizeof(frame));

	eth_put(&w, h->guest->mac, h->guest->our_mac, addr_is4(&e->to) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	icmp_err_put(&w, e, q->bytes, q->len);
	/* Without room the error is lost, as errors may be. */
	if (wr_ok(&w) && link_send(h->link, q->queue, frame, wr_len(&w)))
		return;
}

/* We as a router: what cannot be sent at all is refused by the first hop. */
static struct addr router(const struct hosterr *h, const struct addr *dst)
{
	bool v4 = addr_is4(dst);
	const struct addr *our = v4 ? &h->nat->v4.our : &h->nat->v6.our;

	if (!addr_is_any(our))
		return *our;
	if (!v4 && !addr_is_any(&h->nat->our_ll6))
		return h->nat->our_ll6;
	return *dst;
}

static bool is_group(const struct addr *a)
{
	return addr_is_multicast(a) || addr_is_broadcast(a);
}

bool hosterr_report(const struct hosterr *h, const struct hosterr_quote *q, int err)
{
	struct icmp_err e = { .to = *q->src };

	if (!icmp_from_errno(addr_is4(q->dst), err, &e.type, &e.code))
		return false;
	e.from = err == ECONNREFUSED ? *q->dst : router(h, q->dst);
	if (!is_group(q->dst))
		err_send(h, &e, q);
	return true;
}

/* The IP packet p, as far as its head goes. It came just now. */
static struct hosterr_quote quote_of(const struct hosterr *h, const struct pkt *p)
{
	struct rd r = rd_init(p->head, p->head_len);
	size_t len;

	rd_skip(&r, p->l3);
	len = MIN(rd_left(&r), (size_t)(p->l4 - p->l3) + p->l4_len);
	return (struct hosterr_quote){
		.src = &p->src, .dst = &p->dst, .bytes = rd_bytes(&r, len), .len = len, .queue = h->link->rx_queue
	};
}

bool hosterr_refuse(const struct hosterr *h, const struct pkt *p, int err)
{
	struct hosterr_quote q = quote_of(h, p);

	return hosterr_report(h, &q, err);
}

void hosterr_too_big(const struct hosterr *h, const struct pkt *p, uint32_t mtu)
{
	bool v4 = addr_is4(&p->dst);
	struct hosterr_quote q = quote_of(h, p);
	struct icmp_err e = {
		.from = router(h, &p->dst),
		.to = p->src,
		.type = v4 ? ICMP4_UNREACH : ICMP6_TOO_BIG,
		.code = v4 ? ICMP4_CODE_FRAG : 0,
		.info = mtu,
	};

	if (!is_group(&p->dst))
		err_send(h, &e, &q);
}

void hosterr_late(const struct hosterr *h, const struct hosterr_quote *q)
{
	struct icmp_err e = {
		.from = router(h, q->dst),
		.to = *q->src,
		.type = addr_is4(q->dst) ? ICMP4_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED,
		.code = ICMP_CODE_REASSEMBLY,
	};

	if (!is_group(q->dst) && addr_is_unicast(q->src))
		err_send(h, &e, q);
}

/* Who reports it, in the guest's view. */
static struct addr reporter(const struct hosterr *h, const struct hosterr_sock *s, const struct sock_err *e)
{
	const struct flow_key *k = &s->flow->key;
	struct ep from = { .addr = e->from }, seen;

	if (!e->has_from || addr_is4(&e->from) != addr_is4(&k->remote) || addr_eq(&e->from, s->to))
		return k->remote;
	return nat_to_guest(h->nat, &k->guest, &from, &seen) ? k->remote : seen.addr;
}

static bool is_error(bool v4, uint8_t type)
{
	if (v4)
		return type == ICMP4_UNREACH || type == ICMP4_TIME_EXCEEDED || type == ICMP4_PARAM;
	return type >= ICMP6_UNREACH && type <= ICMP6_PARAM;
}

/* The second word means something in these only. */
static bool has_info(bool v4, uint8_t type, uint8_t code)
{
	if (v4)
		return type == ICMP4_PARAM || (type == ICMP4_UNREACH && code == ICMP4_CODE_FRAG);
	return type == ICMP6_TOO_BIG || type == ICMP6_PARAM;
}

static void forward(const struct hosterr *h, const struct hosterr_sock *s, const struct sock_err *e, const void *payload)
{
	bool v4 = addr_is4(&s->flow->key.remote);
	uint8_t quote[HOSTERR_QUOTE_MAX];
	struct hosterr_quote q = { .bytes = quote, .queue = s->flow->queue };
	struct icmp_err out = {
		.from = reporter(h, s, e),
		.to = s->flow->key.guest,
		.type = e->type,
		.code = e->code,
		.ttl = e->ttl,
		.info = has_info(v4, e->type, e->code) ? e->info : 0,
	};

	if (!is_error(v4, e->type))
		return;
	q.len = s->quote(s->ctx, payload, e->len, quote);
	err_send(h, &out, &q);
}

unsigned hosterr_drain(const struct hosterr *h, const struct hosterr_sock *s)
{
	uint8_t payload[HOSTERR_QUOTE_MAX - IP6_HLEN];
	uint8_t want = addr_is4(s->to) ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
	unsigned n = 0;
	int rc = 0;

	for (unsigned i = 0; i < LINK_BATCH && !rc; i++) {
		struct sock_err e;

		rc = sock_errqueue(s->fd, payload, sizeof(payload), &e);
		/* What the host itself found out comes back from send() as well. */
		if (rc || e.origin != want)
			continue;
		n++;
		forward(h, s, &e, payload);
	}
	if (rc)
		sock_error(s->fd);
	return n;
}
