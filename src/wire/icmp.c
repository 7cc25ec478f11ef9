/* SPDX-License-Identifier: MIT */
#include "wire/icmp.h"

#include <errno.h>

#include "base/csum.h"
#include "wire/be.h"
#include "wire/ip.h"

#define ERR4_LEN_MAX 576
#define ERR6_LEN_MAX 1280
#define TOS_INTERNETWORK_CONTROL 0xc0 /* RFC 1812 4.3.2.5 */

int icmp_echo_read(struct rd *r, struct icmp_echo *ret_echo)
{
	const uint8_t *h = rd_bytes(r, ICMP_HLEN);

	if (!h)
		return -EBADMSG;
	*ret_echo = (struct icmp_echo){ .type = h[0], .code = h[1], .id = be16_get(&h[4]), .seq = be16_get(&h[6]) };
	return 0;
}

static void quote4_read(struct rd *r, struct icmp_too_big *b)
{
	uint8_t first = rd_u8(r);
	size_t hlen = (size_t)(first & 0xf) * 4;
	const uint8_t *h = rd_bytes(r, IP4_HLEN - 1);

	if (!h || first >> 4 != 4 || hlen < IP4_HLEN) {
		r->bad = true;
		return;
	}
	b->proto = h[8];
	b->src = addr_from4(&h[11]);
	b->dst = addr_from4(&h[15]);
	rd_skip(r, hlen - IP4_HLEN);
}

static void quote6_read(struct rd *r, struct icmp_too_big *b)
{
	const uint8_t *h = rd_bytes(r, IP6_HLEN);

	if (!h || h[0] >> 4 != 6) {
		r->bad = true;
		return;
	}
	b->proto = h[6];
	b->src = addr_from6(&h[8]);
	b->dst = addr_from6(&h[24]);
}

int icmp_too_big_read(struct rd *r, bool v4, struct icmp_too_big *ret_big)
{
	uint8_t type = rd_u8(r), code = rd_u8(r);
	struct icmp_too_big b = { 0 };

	if (v4 ? type != ICMP4_UNREACH || code != ICMP4_CODE_FRAG : type != ICMP6_TOO_BIG)
		return -EBADMSG;
	rd_skip(r, v4 ? 4 : 2);
	b.mtu = v4 ? rd_be16(r) : rd_be32(r);
	if (v4)
		quote4_read(r, &b);
	else
		quote6_read(r, &b);
	b.sport = rd_be16(r);
	b.dport = rd_be16(r);
	b.seq = rd_be32(r);
	if (!rd_ok(r))
		return -EBADMSG;
	*ret_big = b;
	return 0;
}

/* In IPv4 the pointer is one byte in front of three unused ones, and an MTU is 16 bits behind two of them (RFC 792, RFC 1191). */
static uint32_t err_word(const struct icmp_err *e, bool v4)
{
	if (!v4)
		return e->info;
	if (e->type == ICMP4_PARAM)
		return e->info << 24;
	return MIN(e->info, UINT32_C(0xffff));
}

void icmp_err_put(struct wr *w, const struct icmp_err *e, const void *quote, size_t quote_len)
{
	bool v4 = addr_is4(&e->to);
	size_t room = (v4 ? ERR4_LEN_MAX - IP4_HLEN : ERR6_LEN_MAX - IP6_HLEN) - ICMP_HLEN;
	size_t len = ICMP_HLEN + MIN(quote_len, room);
	struct ip_tx ip = {
		.src = e->from,
		.dst = e->to,
		.proto = v4 ? PROTO_ICMP : PROTO_ICMP6,
		.ttl = e->ttl ? e->ttl : IP_TTL_DEFAULT,
		.tos = v4 ? TOS_INTERNETWORK_CONTROL : 0,
	};
	uint8_t *h;

	ip_put(w, &ip, len);
	h = wr_put(w, len);
	if (!h)
		return;
	h[0] = e->type;
	h[1] = e->code;
	be16_set(&h[2], 0);
	be32_set(&h[4], err_word(e, v4));
	if (len > ICMP_HLEN)
		memcpy(&h[ICMP_HLEN], quote, len - ICMP_HLEN);
	be16_set(&h[2], csum_fold(csum_add(h, len, v4 ? 0 : csum_pseudo(&e->from, &e->to, PROTO_ICMP6, len))));
}

struct err_map {
	int err;
	uint8_t type4, code4, type6, code6;
};

/*
 * The kernel tells fewer things apart in IPv6: what has no type there becomes the nearest one. "Protocol unreachable" of IPv6 is a
 * parameter problem with an unrecognized next header (RFC 4443 3.4).
 */
static const struct err_map err_maps[] = {
	{ EHOSTUNREACH, ICMP4_UNREACH, ICMP4_CODE_HOST, ICMP6_UNREACH, ICMP6_CODE_ADDR },
	{ ENETUNREACH, ICMP4_UNREACH, ICMP4_CODE_NET, ICMP6_UNREACH, ICMP6_CODE_NOROUTE },
	{ ECONNREFUSED, ICMP4_UNREACH, ICMP4_CODE_PORT, ICMP6_UNREACH, ICMP6_CODE_PORT },
	{ EACCES, ICMP4_UNREACH, ICMP4_CODE_ADMIN, ICMP6_UNREACH, ICMP6_CODE_ADMIN },
	{ EPERM, ICMP4_UNREACH, ICMP4_CODE_ADMIN, ICMP6_UNREACH, ICMP6_CODE_ADMIN },
	{ EHOSTDOWN, ICMP4_UNREACH, ICMP4_CODE_HOST_UNKNOWN, ICMP6_UNREACH, ICMP6_CODE_ADDR },
	{ ENONET, ICMP4_UNREACH, ICMP4_CODE_ISOLATED, ICMP6_UNREACH, ICMP6_CODE_ADDR },
	{ EOPNOTSUPP, ICMP4_UNREACH, ICMP4_CODE_SOURCE_ROUTE, ICMP6_UNREACH, ICMP6_CODE_ADDR },
	{ ENOPROTOOPT, ICMP4_UNREACH, ICMP4_CODE_PROTO, ICMP6_PARAM, ICMP6_CODE_NEXTHDR },
	{ EPROTO, ICMP4_PARAM, 0, ICMP6_PARAM, ICMP6_CODE_NEXTHDR },
	/* The address or interface that all is to leave by is gone. */
	{ EADDRNOTAVAIL, ICMP4_UNREACH, ICMP4_CODE_NET, ICMP6_UNREACH, ICMP6_CODE_NOROUTE },
	{ ENODEV, ICMP4_UNREACH, ICMP4_CODE_NET, ICMP6_UNREACH, ICMP6_CODE_NOROUTE },
};

bool icmp_from_errno(bool v4, int err, uint8_t *ret_type, uint8_t *ret_code)
{
	for (size_t i = 0; i < ARRAY_SIZE(err_maps); i++) {
		const struct err_map *m = &err_maps[i];

		if (m->err != err)
			continue;
		*ret_type = v4 ? m->type4 : m->type6;
		*ret_code = v4 ? m->code4 : m->code6;
		return true;
	}
	return false;
}
