/* SPDX-License-Identifier: MIT */
#include "icmp/icmp_err.h"

#include "base/csum.h"
#include "wire/icmp.h"
#include "wire/ip.h"

/*
 * The request that an entry is about, as the guest sent it. The kernel keeps the quoted echo message with its header, but with the
 * identifier of the socket: the guest's goes back in, and the checksum follows (RFC 1624 3, equation 3). Where nothing was kept, the
 * header of the last request is the best guess.
 */
static size_t quote_put(const void *ctx, const void *msg, size_t len, uint8_t quote[HOSTERR_QUOTE_MAX])
{
	const struct icmp_flow *f = ctx;
	const struct flow_key *k = &f->flow.key;
	struct ip_tx ip = { .src = k->guest, .dst = k->remote, .proto = k->proto, .ttl = 1, .tos = f->sock.ip.tos };
	struct wr w = wr_init(quote, HOSTERR_QUOTE_MAX);
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

unsigned icmp_err_drain(struct icmp *m, struct icmp_flow *f)
{
	struct hosterr_sock s = { .fd = f->sock.fd, .flow = &f->flow, .to = &f->sock.to.addr, .quote = quote_put, .ctx = f };

	return hosterr_drain(&m->hosterr, &s);
}
