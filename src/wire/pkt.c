/* SPDX-License-Identifier: MIT */
#include "wire/pkt.h"

#include <errno.h>

#include "wire/be.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

#define IP4_DF 0x4000
#define IP4_MF 0x2000
#define IP4_OFF 0x1fff
#define IP4_OPT_END 0
#define IP4_OPT_NOP 1
#define IP4_OPT_LSRR 131
#define IP4_OPT_SSRR 137

#define EXT_HOPOPTS 0
#define EXT_ROUTING 43
#define EXT_FRAGMENT 44
#define EXT_DSTOPTS 60

#define IP6_OPT_PAD1 0
#define IP6_OPT_ACTION 0xc0 /* what to do with the packet if the option is not known; 0: go on (RFC 8200 4.2) */

/* Forgets what an earlier frame left in the same struct. */
static void pkt_clear(struct pkt *p)
{
	p->family = p->proto = p->ttl = p->tos = 0;
	p->src = p->dst = addr_any6;
	p->l3 = p->l4 = p->l4_nexthdr = 0;
	p->l4_len = p->frag_id = 0;
	p->frag = p->frag_more = p->may_frag = false;
	p->frag_off = 0;
	p->sport = p->dport = 0;
}

/* We end the IP layer here, so options are of no use to anyone behind us; but what asks for a route of its own is not taken. */
static int ip4_opts_check(struct rd r)
{
	while (rd_left(&r)) {
		uint8_t type = rd_u8(&r);
		uint8_t len;

		if (type == IP4_OPT_END)
			break;
		if (type == IP4_OPT_NOP)
			continue;
		len = rd_u8(&r);
		if (type == IP4_OPT_LSRR || type == IP4_OPT_SSRR || len < 2)
			return -EBADMSG;
		rd_skip(&r, len - 2u);
	}
	return rd_ok(&r) ? 0 : -EBADMSG;
}

static int ip4_parse(struct pkt *p, struct rd *r, size_t l3_len)
{
	const uint8_t *h = rd_bytes(r, IP4_HLEN);
	struct rd opts;
	size_t hlen, total;
	uint16_t frag;

	if (!h || h[0] >> 4 != 4)
		return -EBADMSG;
	hlen = (h[0] & 0xfu) * 4;
	total = be16_get(&h[2]);
	if (hlen < IP4_HLEN || total < hlen || total > l3_len)
		return -EBADMSG;
	opts = rd_sub(r, hlen - IP4_HLEN);
	if (!rd_ok(r) || ip4_opts_check(opts))
		return -EBADMSG;

	p->tos = h[1];
	frag = be16_get(&h[6]);
	p->may_frag = !(frag & IP4_DF);
	if (frag & (IP4_MF | IP4_OFF)) {
		p->frag = p->may_frag = true;
		p->frag_more = frag & IP4_MF;
		p->frag_off = (uint16_t)((frag & IP4_OFF) * 8);
		p->frag_id = be16_get(&h[4]);
	}
	p->ttl = h[8];
	p->proto = h[9];
	p->src = addr_from4(&h[12]);
	p->dst = addr_from4(&h[16]);
	p->l4 = (uint16_t)(p->l3 + hlen);
	p->l4_len = (uint32_t)(total - hlen);
	p->family = 4;
	return 0;
}

/* Options of hop-by-hop and destination headers. A jumbo payload (RFC 2675) is among those that must drop the packet. */
static int ip6_opts_check(struct rd r)
{
	while (rd_left(&r)) {
		uint8_t type = rd_u8(&r);

		if (type == IP6_OPT_PAD1)
			continue;
		if (type & IP6_OPT_ACTION)
			return -EBADMSG;
		rd_skip(&r, rd_u8(&r));
	}
	return rd_ok(&r) ? 0 : -EBADMSG;
}

/* Header of options or routing, up to its end; *nexthdr becomes the offset in head of what it names as next. */
static int ip6_ext_skip(const struct pkt *p, struct rd *r, uint16_t *nexthdr)
{
	uint8_t type = p->head[*nexthdr];
	uint16_t at = (uint16_t)r->pos;
	struct rd body;

	rd_skip(r, 1);
	body = rd_sub(r, rd_u8(r) * 8u + 6);
	if (!rd_ok(r))
		return -EBADMSG;
	*nexthdr = at;
	if (type != EXT_ROUTING)
		return ip6_opts_check(body);

	/* With segments left we would have to forward it, whatever its type (RFC 5095, RFC 8200 4.4). */
	rd_skip(&body, 1);
	return rd_u8(&body) ? -EBADMSG : 0;
}

/* True if it is a real fragment; an atomic one is a packet like any other (RFC 6946), *nexthdr then names what follows. */
static bool ip6_frag_take(struct pkt *p, struct rd *r, uint16_t *nexthdr)
{
	uint16_t at = (uint16_t)r->pos, off;
	uint32_t id;

	rd_skip(r, 2);
	off = rd_be16(r);
	id = rd_be32(r);
	if (rd_ok(r) && off & 0xfff9) {
		p->frag = p->may_frag = true;
		p->frag_more = off & 1;
		p->frag_off = off & 0xfff8;
		p->frag_id = id;
		p->l4_nexthdr = *nexthdr;
	}
	*nexthdr = at;
	return p->frag;
}

/*
 * From behind the fixed header to the transport header (or "no next header"), over a reader of all of head up to the end of the packet.
 * Returns the offset in head of the byte that names the transport, or -EBADMSG.
 */
static int ip6_ext_walk(struct pkt *p, struct rd *r)
{
	uint16_t nexthdr = (uint16_t)(p->l3 + 6);
	bool first = true;

	for (;; first = false) {
		uint8_t type = p->head[nexthdr];

		switch (type) {
		case EXT_HOPOPTS:
		case EXT_DSTOPTS:
		case EXT_ROUTING:
			if ((type == EXT_HOPOPTS && !first) || ip6_ext_skip(p, r, &nexthdr))
				return -EBADMSG;
			break;
		case EXT_FRAGMENT:
			if (ip6_frag_take(p, r, &nexthdr))
				return nexthdr;
			if (!rd_ok(r))
				return -EBADMSG;
			break;
		default:
			return nexthdr;
		}
	}
}

static int ip6_parse(struct pkt *p, struct rd *r, size_t l3_len)
{
	const uint8_t *h = rd_bytes(r, IP6_HLEN);
	struct rd in_packet;
	size_t payload;
	int nexthdr;

	if (!h || h[0] >> 4 != 6)
		return -EBADMSG;
	payload = be16_get(&h[4]);
	if (payload > l3_len - IP6_HLEN)
		return -EBADMSG;
	in_packet = rd_init(p->head, r->pos + MIN(payload, rd_left(r)));
	rd_skip(&in_packet, r->pos);
	nexthdr = ip6_ext_walk(p, &in_packet);
	if (nexthdr < 0)
		return nexthdr;

	p->tos = (uint8_t)(be16_get(h) >> 4);
	p->ttl = h[7];
	p->src = addr_from6(&h[8]);
	p->dst = addr_from6(&h[24]);
	/* On the wire these are nobody's (RFC 4942 2.2); taken in, they would be those of the other family. */
	if (addr_is4(&p->src) || addr_is4(&p->dst))
		return -EBADMSG;
	p->proto = p->head[nexthdr];
	p->l4 = (uint16_t)in_packet.pos;
	p->l4_len = (uint32_t)(p->l3 + IP6_HLEN + payload - p->l4);
	p->family = 6;
	return 0;
}

/* The shortest header that the protocols we know can have. */
static size_t l4_hlen_min(uint8_t proto)
{
	switch (proto) {
	case PROTO_TCP:
		return TCP_HLEN;
	case PROTO_UDP:
		return UDP_HLEN;
	case PROTO_ICMP:
	case PROTO_ICMP6:
		return ICMP_HLEN;
	default:
		return 0;
	}
}

static int l4_check(struct pkt *p)
{
	struct rd r = pkt_l4(p);

	if (!rd_ok(&r) || rd_left(&r) < l4_hlen_min(p->proto))
		return -EBADMSG;
	if (p->proto == PROTO_TCP || p->proto == PROTO_UDP) {
		p->sport = rd_be16(&r);
		p->dport = rd_be16(&r);
	}
	return 0;
}

int pkt_parse(struct pkt *p, size_t frame_len)
{
	struct rd r = rd_init(p->head, p->head_len);
	int err;

	if (p->head_len > sizeof(p->head) || p->head_len > frame_len)
		return -EBADMSG;
	pkt_clear(p);
	rd_copy(&r, p->dst_mac, MAC_LEN);
	rd_copy(&r, p->src_mac, MAC_LEN);
	p->ethertype = rd_be16(&r);
	if (!rd_ok(&r))
		return -EBADMSG;
	p->l3 = (uint16_t)r.pos;
	if (p->ethertype == ETHERTYPE_IP4)
		err = ip4_parse(p, &r, frame_len - ETH_HLEN);
	else if (p->ethertype == ETHERTYPE_IP6)
		err = ip6_parse(p, &r, frame_len - ETH_HLEN);
	else
		return 0;
	if (err)
		return err;
	return p->frag ? 0 : l4_check(p);
}

struct rd pkt_l4(const struct pkt *p)
{
	struct rd r = rd_init(p->head, p->head_len);

	rd_skip(&r, p->l4);
	return rd_sub(&r, MIN(rd_left(&r), (size_t)p->l4_len));
}
