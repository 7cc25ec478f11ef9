/* SPDX-License-Identifier: MIT */
#include "udp/udp_err.h"

#include "base/csum.h"
#include "wire/ip.h"
#include "wire/udp.h"

/*
 * The datagram that an entry is about, as the guest sent it: the kernel keeps what the ICMP message quoted of the payload. If that is
 * all of it, even the checksum is the same, by which some traceroutes know their probes.
 */
static size_t quote_put(const void *ctx, const void *payload, size_t len, uint8_t quote[HOSTERR_QUOTE_MAX])
{
	const struct udp_flow *f = ctx;
	const struct flow_key *k = &f->flow.key;
	struct ip_tx ip = { .src = k->guest, .dst = k->remote, .proto = PROTO_UDP, .ttl = 1, .tos = f->sock.ip.tos };
	struct wr w = wr_init(quote, HOSTERR_QUOTE_MAX);
	uint64_t sum = csum_pseudo(&k->guest, &k->remote, PROTO_UDP, UDP_HLEN + len);

	sum += (uint64_t)k->gport + k->rport + UDP_HLEN + len;
	ip_put(&w, &ip, UDP_HLEN + len);
	udp_hdr_put(&w, k->gport, k->rport, len, csum_fold(csum_add(payload, len, sum)));
	wr_bytes(&w, payload, MIN(len, wr_left(&w)));
	return wr_len(&w);
}

unsigned udp_err_drain(struct udp *u, struct udp_flow *f)
{
	struct hosterr_sock s = { .fd = f->sock.fd, .flow = &f->flow, .to = &f->sock.to.addr, .quote = quote_put, .ctx = f };

	return hosterr_drain(&u->hosterr, &s);
}
