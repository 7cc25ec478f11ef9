/* SPDX-License-Identifier: MIT */
#include "wire/nd.h"

#include <errno.h>

#define ND_UNIT 8 /* options are measured in these */

int nd_opt_next(struct rd *r, struct nd_opt *ret_opt)
{
	struct nd_opt o = { .type = rd_u8(r) };
	uint8_t units = rd_u8(r);

	o.body = rd_sub(r, units ? units * ND_UNIT - 2u : 0);
	if (!units || !rd_ok(r))
		return -EBADMSG;
	*ret_opt = o;
	return 0;
}

int nd_sol_read(struct rd *r, struct nd_sol *ret_sol)
{
	struct nd_sol s = { .type = rd_u8(r) };
	uint8_t code = rd_u8(r);

	rd_skip(r, 2 + 4); /* checksum, reserved */
	if (s.type == ND_NS) {
		uint8_t target[16];

		rd_copy(r, target, sizeof(target));
		s.target = addr_from6(target);
	}
	if (!rd_ok(r) || code || addr_is_multicast(&s.target))
		return -EBADMSG;
	while (rd_left(r)) {
		struct nd_opt o;

		if (nd_opt_next(r, &o))
			return -EBADMSG;
		if (o.type == ND_OPT_SRC_LLADDR)
			s.has_lladdr = true;
	}
	*ret_sol = s;
	return 0;
}

void nd_ns_put(struct wr *w, const struct addr *target)
{
	wr_u8(w, ND_NS);
	wr_u8(w, 0);
	wr_be16(w, 0);
	wr_be32(w, 0);
	wr_bytes(w, target->b, sizeof(target->b));
}

void nd_na_put(struct wr *w, uint8_t flags, const struct addr *target)
{
	wr_u8(w, ND_NA);
	wr_u8(w, 0);
	wr_be16(w, 0);
	wr_u8(w, flags);
	wr_zero(w, 3);
	wr_bytes(w, target->b, sizeof(target->b));
}

void nd_ra_put(struct wr *w, const struct nd_ra *ra)
{
	wr_u8(w, ND_RA);
	wr_u8(w, 0);
	wr_be16(w, 0);
	wr_u8(w, ra->hop_limit);
	wr_u8(w, ra->flags);
	wr_be16(w, ra->lifetime);
	wr_be32(w, 0); /* reachable time and retransmission timer: no opinion */
	wr_be32(w, 0);
}

void nd_opt_lladdr_put(struct wr *w, uint8_t type, const uint8_t mac[MAC_LEN])
{
	wr_u8(w, type);
	wr_u8(w, 1);
	wr_bytes(w, mac, MAC_LEN);
}

void nd_opt_mtu_put(struct wr *w, uint32_t mtu)
{
	wr_u8(w, ND_OPT_MTU);
	wr_u8(w, 1);
	wr_be16(w, 0);
	wr_be32(w, mtu);
}

void nd_opt_prefix64_put(struct wr *w, uint8_t flags, const struct addr *prefix)
{
	wr_u8(w, ND_OPT_PREFIX);
	wr_u8(w, 4);
	wr_u8(w, 64);
	wr_u8(w, flags);
	wr_be32(w, ND_LIFETIME_INFINITE); /* valid */
	wr_be32(w, ND_LIFETIME_INFINITE); /* preferred */
	wr_be32(w, 0);
	wr_bytes(w, prefix->b, 8);
	wr_zero(w, 8);
}

void nd_opt_rdnss_put(struct wr *w, const struct addr *dns, unsigned n)
{
	wr_u8(w, ND_OPT_RDNSS);
	wr_u8(w, (uint8_t)(1 + 2 * n));
	wr_be16(w, 0);
	wr_be32(w, ND_LIFETIME_INFINITE);
	for (unsigned i = 0; i < n; i++)
		wr_bytes(w, dns[i].b, sizeof(dns[i].b));
}

void nd_opt_dnssl_put(struct wr *w, const char (*names)[DNSNAME_TEXT_MAX], unsigned n, size_t room)
{
	uint8_t buf[(UINT8_MAX - 1) * ND_UNIT];
	struct wr list = wr_init(buf, sizeof(buf));
	size_t len;

	room -= room % ND_UNIT; /* what is left over could not hold the padding */
	if (room <= ND_UNIT)
		return;
	dnsname_list_put(&list, names, n, MIN(room - ND_UNIT, sizeof(buf)));
	len = wr_len(&list);
	if (!len)
		return;
	/* Whole units only: one more of zeroes would read as an option of length zero, which discards the whole message. */
	wr_zero(&list, (ND_UNIT - len % ND_UNIT) % ND_UNIT);
	wr_u8(w, ND_OPT_DNSSL);
	wr_u8(w, (uint8_t)(1 + wr_len(&list) / ND_UNIT));
	wr_be16(w, 0);
	wr_be32(w, ND_LIFETIME_INFINITE);
	wr_bytes(w, buf, wr_len(&list));
}
