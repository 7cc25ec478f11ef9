/* SPDX-License-Identifier: MIT */
#include "wire/fragout.h"

#include <errno.h>

#include "base/csum.h"

#define IP4_MF 0x2000
#define IP6_MF 0x0001
#define PROTO_FRAGMENT 44 /* RFC 8200 4.5 */
#define IP_LEN_MAX 65535

/* Bytes of data that a fragment has room for, in units of eight: offsets count those. */
static size_t piece_for(const struct addr *a, size_t mtu)
{
	size_t hlen = addr_is4(a) ? IP4_HLEN : IP6_HLEN + IP6_FRAG_HLEN;

	return mtu < hlen ? 0 : (MIN(mtu, (size_t)IP_LEN_MAX) - hlen) & ~(size_t)7;
}

size_t fragout_count(const struct addr *a, size_t len, size_t mtu)
{
	size_t piece = piece_for(a, mtu);

	if (ip_hlen(a) + len <= mtu || !piece)
		return 1;
	return (len + piece - 1) / piece;
}

int fragout_init(struct fragout *f, const struct ip_tx *ip, uint32_t id, size_t len, size_t mtu)
{
	size_t max = addr_is4(&ip->dst) ? IP_LEN_MAX - IP4_HLEN : IP_LEN_MAX;
	size_t piece = piece_for(&ip->dst, mtu);

	if (len > max || !piece || addr_is4(&ip->dst) != addr_is4(&ip->src))
		return -EMSGSIZE;
	*f = (struct fragout){ .ip = *ip, .id = id, .len = len, .piece = piece };
	return 0;
}

static void put4(const struct fragout *f, struct wr *w, size_t len, bool more)
{
	uint8_t buf[IP4_HLEN];
	struct wr h = wr_init(buf, sizeof(buf));
	size_t at;

	wr_u8(&h, 0x45);
	wr_u8(&h, f->ip.tos);
	wr_be16(&h, (uint16_t)(IP4_HLEN + len));
	wr_be16(&h, (uint16_t)f->id);
	wr_be16(&h, (uint16_t)(f->off / 8 | (more ? IP4_MF : 0)));
	wr_u8(&h, f->ip.ttl);
	wr_u8(&h, f->ip.proto);
	at = wr_reserve(&h, 2);
	wr_bytes(&h, addr_bytes(&f->ip.src), 4);
	wr_bytes(&h, addr_bytes(&f->ip.dst), 4);
	wr_patch_be16(&h, at, csum_fold(csum_add(buf, sizeof(buf), 0)));
	wr_bytes(w, buf, wr_len(&h));
}

static void put6(const struct fragout *f, struct wr *w, size_t len, bool more)
{
	struct ip_tx ip = f->ip;

	ip.proto = PROTO_FRAGMENT;
	ip_put(w, &ip, IP6_FRAG_HLEN + len);
	wr_u8(w, f->ip.proto);
	wr_u8(w, 0);
	wr_be16(w, (uint16_t)(f->off | (more ? IP6_MF : 0)));
	wr_be32(w, f->id);
}

bool fragout_next(struct fragout *f, struct wr *w, size_t *ret_off, size_t *ret_len)
{
	size_t len = MIN(f->piece, f->len - f->off);
	bool more = f->off + len < f->len;

	if (f->off >= f->len)
		return false;
	if (addr_is4(&f->ip.dst))
		put4(f, w, len, more);
	else
		put6(f, w, len, more);
	*ret_off = f->off;
	*ret_len = len;
	f->off += len;
	return true;
}
