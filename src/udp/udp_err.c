/* SPDX-License-Identifier: MIT */
#include "udp/udp_err.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>

#include "base/csum.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/udp.h"

#define QUOTE_MAX 1280 /* more than any ICMP error carries */
#define ERR_FRAME_MAX (ETH_HLEN + IP6_HLEN + ICMP_HLEN + QUOTE_MAX)

static void err_send(struct udp *u, const struct icmp_err *e, const void *quote, size_t len)
{
	uint8_t frame[ERR_FRAME_MAX];
	struct wr w = wr_init(frame, sizeof(frame));

	eth_put(&w, u->d.guest->mac, u->d.guest->our_mac, addr_is4(&e->to) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	icmp_err_put(&w, e, quote, len);
	/* Without room the error is lost, as errors may be. */
	if (wr_ok(&w) && link_send(u->d.link, frame, wr_len(&w)))
		return;
}

/* We as a router: what cannot be sent at all is refused by the first hop. */
static struct addr err_router(const struct udp *u, const struct addr *dst)
{
	bool v4 = addr_is4(dst);
	const struct addr *our = v4 ? &u->d.nat->v4.our : &u->d.nat->v6.our;

	if (!addr_is_any(our))
		return *our;
	if (!v4 && !addr_is_any(&u->d.nat->our_ll6))
		return u->d.nat->our_ll6;
	return *dst;
}

/* Quotes the datagram itself, as far as its head goes. */
static void err_send_pkt(struct udp *u, const struct pkt *p, const struct icmp_err *e)
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
		err_send(u, e, quote, len);
}

bool udp_err_refuse(struct udp *u, const struct pkt *p, int err)
{
	struct icmp_err e = { .to = p->src };

	if (!icmp_from_errno(addr_is4(&p->dst), err, &e.type, &e.code))
		return false;
	e.from = err == ECONNREFUSED ? p->dst : err_router(u, &p->dst);
	err_send_pkt(u, p, &e);
	return true;
}

void udp_err_too_big(struct udp *u, const struct pkt *p, uint32_t mtu)
{
	bool v4 = addr_is4(&p->dst);
	struct icmp_err e = {
		.from = err_router(u, &p->dst),
		.to = p->src,
		.type = v4 ? ICMP4_UNREACH : ICMP6_TOO_BIG,
		.code = v4 ? ICMP4_CODE_FRAG : 0,
		.info = mtu,
	};

	err_send_pkt(u, p, &e);
}

/*
 * The datagram that an entry is about, as the guest sent it: the kernel keeps what the ICMP message quoted of the payload. If that is
 * all of it, even the checksum is the same, by which some traceroutes know their probes.
 */
static size_t quote_put(const struct udp_flow *f, const void *payload, size_t len, uint8_t quote[QUOTE_MAX])
{
	const struct flow_key *k = &f->flow.key;
	struct ip_tx ip = { .src = k->guest, .dst = k->remote, .proto = PROTO_UDP, .ttl = 1, .tos = f->tos };
	struct wr w = wr_init(quote, QUOTE_MAX);
	uint64_t sum = csum_pseudo(&k->guest, &k->remote, PROTO_UDP, UDP_HLEN + len);

	sum += (uint64_t)k->gport + k->rport + UDP_HLEN + len;
	ip_put(&w, &ip, UDP_HLEN + len);
	udp_hdr_put(&w, k->gport, k->rport, len, csum_fold(csum_add(payload, len, sum)));
	wr_bytes(&w, payload, MIN(len, wr_left(&w)));
	return wr_len(&w);
}

/* Who reports it, in the guest's view. */
static struct addr err_from(const struct udp *u, const struct udp_flow *f, const struct sock_err *e)
{
	const struct flow_key *k = &f->flow.key;
	struct ep from = { .addr = e->from };
	struct ep seen;

	if (!e->has_from || addr_is4(&e->from) != addr_is4(&k->remote) || addr_eq(&e->from, &f->to.addr))
		return k->remote;
	return nat_to_guest(u->d.nat, &k->guest, &from, &seen) ? k->remote : seen.addr;
}

static void err_forward(struct udp *u, const struct udp_flow *f, const struct sock_err *e, const void *payload)
{
	bool v4 = addr_is4(&f->flow.key.remote);
	uint8_t quote[QUOTE_MAX];
	struct icmp_err out = {
		.from = err_from(u, f, e),
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
	len = quote_put(f, payload, e->len, quote);
	err_send(u, &out, quote, len);
}

unsigned udp_err_drain(struct udp *u, struct udp_flow *f)
{
	uint8_t payload[QUOTE_MAX - IP6_HLEN - UDP_HLEN];
	uint8_t want = addr_is4(&f->to.addr) ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
	unsigned n = 0;
	int rc = 0;

	for (unsigned i = 0; i < LINK_BATCH && !rc; i++) {
		struct sock_err e;

		rc = sock_errqueue(f->fd, payload, sizeof(payload), &e);
		/* What the host itself found out comes back from send() as well. */
		if (rc || e.origin != want)
			continue;
		n++;
		err_forward(u, f, &e, payload);
	}
	if (rc)
		sock_error(f->fd);
	return n;
}
