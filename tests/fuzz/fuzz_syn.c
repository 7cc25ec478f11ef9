/* SPDX-License-Identifier: MIT */
/* A frame of the guest with a SYN: what is said again of it says the same, and is a packet without fault. */
#include <stdlib.h>
#include <string.h>

#include "base/csum.h"
#include "tcp/syn.h"

#define ETH_LEN 14

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static int parse(struct pkt *p, const uint8_t *data, size_t len, struct tcp_hdr *h)
{
	struct rd r;

	p->head_len = (uint16_t)MIN(len, sizeof(p->head));
	memcpy(p->head, data, p->head_len);
	if (pkt_parse(p, len) || !p->family || p->frag || p->proto != PROTO_TCP)
		return -1;
	r = pkt_l4(p);
	return tcp_hdr_read(&r, h);
}

static bool same(const struct tcp_syn *a, const struct tcp_syn *b)
{
	return a->seq == b->seq && a->ts_val == b->ts_val && a->window == b->window && a->mss == b->mss && a->wscale == b->wscale &&
	       a->has_wscale == b->has_wscale && a->sack_ok == b->sack_ok && a->has_ts == b->has_ts && a->ecn == b->ecn;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t frame[ETH_LEN + TCP_SYN_MAX] = { 0 }, *packet = frame + ETH_LEN;
	struct pkt p = { 0 }, again = { 0 };
	struct tcp_syn s, t;
	struct flow_key key;
	struct tcp_hdr h;
	size_t n;

	if (parse(&p, data, len, &h) || tcp_syn_stays(&p))
		return 0;
	key = flow_key_init(PROTO_TCP, &p.src, p.sport, &p.dst, p.dport);
	s = tcp_syn_of(&h);
	n = tcp_syn_put(&s, &key, packet);
	require(n >= ip_hlen(&p.src) + TCP_HLEN && n <= TCP_SYN_MAX);
	frame[12] = p.family == 4 ? 0x08 : 0x86;
	frame[13] = p.family == 4 ? 0x00 : 0xdd;
	require(!parse(&again, frame, ETH_LEN + n, &h));
	require(again.family == p.family && again.sport == p.sport && again.dport == p.dport);
	require(addr_eq(&again.src, &p.src) && addr_eq(&again.dst, &p.dst));
	require((h.flags & ~(TCP_ECE | TCP_CWR)) == TCP_SYN && !h.n_sack && h.hlen == again.l4_len);
	require(!csum_fold(
		csum_add(packet + again.l4 - ETH_LEN, again.l4_len, csum_pseudo(&p.src, &p.dst, PROTO_TCP, again.l4_len))));
	t = tcp_syn_of(&h);
	require(same(&s, &t));
	return 0;
}
