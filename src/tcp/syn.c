/* SPDX-License-Identifier: MIT */
#include "tcp/syn.h"

#include "base/csum.h"
#include "wire/be.h"

#define CSUM_AT 16 /* in the TCP header */
#define ECN (TCP_ECE | TCP_CWR)

enum tcp_stay tcp_syn_stays_between(const struct addr *guest, const struct addr *remote)
{
	if (addr_is4(guest))
		return TCP_STAYS_NOT;
	return addr_is_linklocal(guest) || addr_is_linklocal(remote) ? TCP_STAYS_LINK_LOCAL : TCP_STAYS_NOT;
}

enum tcp_stay tcp_syn_stays(const struct pkt *p)
{
	if (p->family == 4)
		return TCP_STAYS_NOT;
	if (p->l4 != p->l3 + IP6_HLEN)
		return TCP_STAYS_HEADERS;
	if (addr_is4(&p->src) || addr_is4(&p->dst))
		return TCP_STAYS_MAPPED;
	return tcp_syn_stays_between(&p->src, &p->dst);
}

struct tcp_syn tcp_syn_of(const struct tcp_hdr *h)
{
	return (struct tcp_syn){
		.seq = h->seq,
		.ts_val = h->ts_val,
		.window = h->window,
		.mss = h->mss,
		.wscale = h->wscale,
		.has_wscale = h->has_wscale,
		.sack_ok = h->sack_ok,
		.has_ts = h->has_ts,
		.ecn = (h->flags & ECN) == ECN,
	};
}

size_t tcp_syn_put(const struct tcp_syn *s, const struct flow_key *key, uint8_t packet[TCP_SYN_MAX])
{
	const struct ip_tx ip = { .src = key->guest, .dst = key->remote, .proto = PROTO_TCP, .ttl = IP_TTL_DEFAULT };
	const struct tcp_hdr h = {
		.sport = key->gport,
		.dport = key->rport,
		.seq = s->seq,
		.flags = (uint8_t)(TCP_SYN | (s->ecn ? ECN : 0)),
		.window = s->window,
		.mss = s->mss,
		.has_wscale = s->has_wscale,
		.wscale = s->wscale,
		.sack_ok = s->sack_ok,
		.has_ts = s->has_ts,
		.ts_val = s->ts_val,
	};
	size_t at = ip_hlen(&key->guest), len = tcp_hdr_len(&h);
	struct wr w = wr_init(packet, TCP_SYN_MAX);

	ip_put(&w, &ip, len);
	tcp_hdr_put(&w, &h);
	be16_set(packet + at + CSUM_AT,
		 csum_fold(csum_add(packet + at, len, csum_pseudo(&key->guest, &key->remote, PROTO_TCP, len))));
	return wr_len(&w);
}
