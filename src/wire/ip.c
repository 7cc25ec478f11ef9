/* SPDX-License-Identifier: MIT */
#include "wire/ip.h"

#include "base/csum.h"
#include "wire/be.h"

#define IP4_DF 0x4000
#define IP_LEN_MAX 65535

static void ip4_put(struct wr *w, const struct ip_tx *ip, size_t l4_len)
{
	uint8_t *h;

	if (l4_len > IP_LEN_MAX - IP4_HLEN) {
		wr_fail(w);
		return;
	}
	h = wr_put(w, IP4_HLEN);
	if (!h)
		return;
	h[0] = 0x45;
	h[1] = ip->tos;
	be16_set(&h[2], (uint16_t)(IP4_HLEN + l4_len));
	be16_set(&h[4], ip->id);
	be16_set(&h[6], ip->may_frag ? 0 : IP4_DF);
	h[8] = ip->ttl;
	h[9] = ip->proto;
	be16_set(&h[10], 0);
	memcpy(&h[12], &ip->src.b[12], 4);
	memcpy(&h[16], &ip->dst.b[12], 4);
	be16_set(&h[10], csum_fold(csum_add(h, IP4_HLEN, 0)));
}

static void ip6_put(struct wr *w, const struct ip_tx *ip, size_t l4_len)
{
	uint8_t *h;

	if (l4_len > IP_LEN_MAX) {
		wr_fail(w);
		return;
	}
	h = wr_put(w, IP6_HLEN);
	if (!h)
		return;
	be32_set(h, UINT32_C(6) << 28 | (uint32_t)ip->tos << 20 | (ip->flow_label & 0xfffff));
	be16_set(&h[4], (uint16_t)l4_len);
	h[6] = ip->proto;
	h[7] = ip->ttl;
	memcpy(&h[8], ip->src.b, 16);
	memcpy(&h[24], ip->dst.b, 16);
}

void ip_put(struct wr *w, const struct ip_tx *ip, size_t l4_len)
{
	bool v4 = addr_is4(&ip->src);

	if (unlikely(v4 != addr_is4(&ip->dst)))
		wr_fail(w);
	else if (v4)
		ip4_put(w, ip, l4_len);
	else
		ip6_put(w, ip, l4_len);
}
