/* SPDX-License-Identifier: MIT */
/* A frame of the guest: the walk to the transport header, and the readers of what lies there. */
#include <stdlib.h>

#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/pkt.h"
#include "wire/tcp.h"
#include "wire/udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void read_l4(const struct pkt *p)
{
	struct rd r = pkt_l4(p);
	struct icmp_echo echo;
	struct udp_hdr udp;
	struct tcp_hdr tcp;

	require(rd_ok(&r) && rd_left(&r) <= p->l4_len);
	if (p->proto == PROTO_TCP && !tcp_hdr_read(&r, &tcp)) {
		require(tcp.sport == p->sport && tcp.dport == p->dport && tcp.wscale <= 14);
		require(tcp.hlen >= TCP_HLEN && tcp.hlen <= TCP_HLEN_MAX && tcp.hlen <= p->l4_len);
	}
	if (p->proto == PROTO_UDP && !udp_hdr_read(&r, &udp))
		require(udp.sport == p->sport && udp.dport == p->dport && udp.len >= UDP_HLEN);
	if (p->proto == PROTO_ICMP || p->proto == PROTO_ICMP6)
		require(!icmp_echo_read(&r, &echo));
}

static int parse(struct pkt *p, const uint8_t *data, size_t head, size_t len)
{
	p->head_len = (uint16_t)MIN(head, sizeof(p->head));
	memcpy(p->head, data, p->head_len);
	return pkt_parse(p, len);
}

static bool same(const struct pkt *a, const struct pkt *b)
{
	return a->family == b->family && a->proto == b->proto && a->ttl == b->ttl && a->tos == b->tos &&
	       addr_eq(&a->src, &b->src) && addr_eq(&a->dst, &b->dst) && a->l3 == b->l3 && a->l4 == b->l4 &&
	       a->l4_len == b->l4_len && a->frag == b->frag && a->frag_more == b->frag_more && a->frag_id == b->frag_id &&
	       a->frag_off == b->frag_off && a->l4_nexthdr == b->l4_nexthdr && a->sport == b->sport && a->dport == b->dport;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct pkt p = { 0 }, shorter;

	memset(&shorter, 0xff, sizeof(shorter));
	if (parse(&p, data, len, len)) {
		require(parse(&shorter, data, len / 2, len));
		return 0;
	}
	require(len >= ETH_HLEN);
	if (p.family) {
		require(p.l3 == ETH_HLEN && p.l4 >= p.l3 + IP4_HLEN && (size_t)p.l4 + p.l4_len <= len);
		require(addr_is4(&p.src) || p.family == 6);
		if (!p.frag)
			read_l4(&p);
	}
	/* with less of it at hand there may be nothing to say, but nothing else */
	if (!parse(&shorter, data, len / 2, len))
		require(same(&p, &shorter));
	return 0;
}
