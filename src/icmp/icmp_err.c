/* SPDX-License-Identifier: MIT */
#include "icmp/icmp_err.h"

#include <errno.h>
#include <linux/errqueue.h>

#include "base/csum.h"
#include "wire/icmp.h"
#include "wire/ip.h"

#define QUOTE_MAX 1280 /* more than any ICMP error carries */
#define ERR_FRAME_MAX (ETH_HLEN + IP6_HLEN + ICMP_HLEN + QUOTE_MAX)
#define DRAIN_MAX 64

static void err_send(struct icmp *m, const struct icmp_err *e, const void *quote, size_t len)
{
	uint8_t frame[ERR_FRAME_MAX];
	struct wr w = wr_init(frame, sizeof(frame));

	eth_put(&w, m->d.guest->mac, m->d.guest->our_mac, addr_is4(&e->to) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	icmp_err_put(&w, e, quote, len);
	/* Without room the error is lost, as errors may be. */
	if (wr_ok(&w) && link_send(m->d.link, frame, wr_len(&w)))
		return;
}

/* We as a router: what cannot be sent at all is refused by the first hop. */
static struct addr err_router(const struct icmp *m, const struct addr *dst)
{
	bool v4 = addr_is4(dst);
	const struct addr *our = v4 ? &m->d.nat->v4.our : &m->d.nat->v6.our;

	if (!addr_is_any(our))
		return *our;
	if (!v4 && !addr_is_any(&m->d.nat->our_ll6))
		return m->d.nat->our_ll6;
	return *dst;
}

/* Quotes the request itself, as far as its head goes. */
static void err_send_pkt(struct icmp *m, const struct pkt *p, const struct icmp_err *e)
{
	struct rd r = rd_init(p->head, p->head_len);
	const uint8_t *quote;
	size_t len;

	/* RFC 1122 3.2.2, RFC 4443 2.4 (e): never about a multicast or broadcast. */
	if (addr_is_multicast(&p->dst) || addr_is_broadcast(&p->dst))
		return;
	rd_skip(&r, p->l3);
	len = MIN(rd_left(&r), (size_t)(p->l4 - p->l3) + p->l4_len);
	quote = rd_bytes(&r, len);
	if (quote)
		err_send(m, e, quote, len);
}

bool icmp_err_refuse(struct icmp *m, const struct pkt *p, int err)
{
	struct icmp_err e = { .from = err_router(m, &p->dst), .to = p->src };

	if (!icmp_from_errno(addr_is4(&p->dst), err, &e.type, &e.code))
		return false;
	err_send_pkt(m, p, &e);
	return true;
}

void icmp_err_too_big(struct icmp *m, const struct pkt *p, uint32_t mtu)
{
	bool v4 = addr_is4(&p->dst);
	struct icmp_err e = {
		.from = err_router(m, &p->dst),
		.to = p->src,
		.type = v4 ? ICMP4_UNREACH : ICMP6_TOO_BIG,
		.code = v4 ? ICMP4_CODE_FRAG : 0,
		.info = mtu,
	};

	err_send_pkt(m, p, &e);
}

/*
 * The request that an entry is about, as the guest sent it. The kernel keeps the quoted echo message with its header, but with the
 * identifier of the socket: the guest's goes back in, and the checksum follows (RFC 1624 3, equation 3). Where nothing was kept, the
 * header of the last request is the best guess.
 */
static size_t quote_put(const struct icmp_flow *f, const void *msg, size_t len, uint8_t quote[QUOTE_MAX])
{
	const struct flow_key *k = &f->flow.key;
	struct ip_tx ip = { .src = k->guest, .dst = k->remote, .proto = k->proto, .ttl = 1, .tos = f->tos };
	struct wr w = wr_init(quote, QUOTE_MAX);
	struct rd r = rd_init(msg, len);
	uint8_t type = rd_u8(&r), code = rd_u8(&r);
	uint32_t csum = rd_be16(&r), id = rd_be16(&r), seq = rd_be16(&r);

	if (!rd_ok(&r)) {
		type = addr_is4(&k->guest) ? ICMP4_ECHO : ICMP6_ECHO;
		code = 0;
		csum = 0;
		id = k->gport;
		seq = f->seq;
		r = rd_init(NULL, 0);
	}
	ip_put(&w, &ip, ICMP_HLEN + rd_left(&r));
	wr_u8(&w, type);
	wr_u8(&w, code);
	wr_be16(&w, csum_fold((~csum & 0xffff) + (~id & 0xffff) + k->gport));
	wr_be16(&w, k->gport);
	wr_be16(&w, (uint16_t)seq);
	len = MIN(rd_left(&r), wr_left(&w));
	wr_bytes(&w, rd_bytes(&r, len), len);
	return wr_len(&w);
}

/* Who reports it, in the guest's view. */
static struct addr err_from(const struct icmp *m, const struct icmp_flow *f, const struct sock_err *e)
{
	const struct flow_key *k = &f->flow.key;
	struct ep from = { .addr = e->from }, seen;

	if (!e->has_from || addr_is4(&e->from) != addr_is4(&k->remote) || addr_eq(&e->from, &f->to.addr))
		return k->remote;
	return nat_to_guest(m->d.nat, &k->guest, &from, &seen) ? k->remote : seen.addr;
}

static void err_forward(struct icmp *m, const struct icmp_flow *f, const struct sock_err *e, const void *msg)
{
	bool v4 = addr_is4(&f->flow.key.remote);
	uint8_t quote[QUOTE_MAX];
	struct icmp_err out = {
		.from = err_from(m, f, e),
		.to = f->flow.key.guest,
		.type = e->type,
		.code = e->code,
		.info = e->info,
	};
	size_t len;

	if (v4 && e->type != ICMP4_UNREACH && e->type != ICMP4_TIME_EXCEEDED && e->type != ICMP4_PARAM)
		return;
	if (!v4 && (e->type < ICMP6_UNREACH || e->type > ICMP6_PARAM))
		return;
	/* The second word means something in these only. */
	if (v4 ? e->type != ICMP4_PARAM && !(e->type == ICMP4_UNREACH && e->code == ICMP4_CODE_FRAG)
	       : e->type != ICMP6_TOO_BIG && e->type != ICMP6_PARAM)
		out.info = 0;
	len = quote_put(f, msg, e->len, quote);
	err_send(m, &out, quote, len);
}

unsigned icmp_err_drain(struct icmp *m, struct icmp_flow *f)
{
	uint8_t msg[QUOTE_MAX - IP6_HLEN];
	uint8_t want = addr_is4(&f->to.addr) ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
	unsigned n = 0;
	int rc = 0;

	for (unsigned i = 0; i < DRAIN_MAX && !rc; i++) {
		struct sock_err e;

		rc = sock_errqueue(f->fd, msg, sizeof(msg), &e);
		/* What the host itself found out comes back from send() as well. */
		if (rc || e.origin != want)
			continue;
		n++;
		err_forward(m, f, &e, msg);
	}
	if (rc)
		sock_error(f->fd);
	return n;
}
