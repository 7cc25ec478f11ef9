/* SPDX-License-Identifier: MIT */
#include "wire/udp.h"

#include <errno.h>

#include "wire/be.h"

int udp_hdr_read(struct rd *r, struct udp_hdr *ret_hdr)
{
	const uint8_t *h = rd_bytes(r, UDP_HLEN);
	uint16_t len;

	if (!h)
		return -EBADMSG;
	len = be16_get(&h[4]);
	if (len < UDP_HLEN)
		return -EBADMSG;
	*ret_hdr = (struct udp_hdr){ .sport = be16_get(&h[0]), .dport = be16_get(&h[2]), .len = len };
	return 0;
}

void udp_hdr_put(struct wr *w, uint16_t sport, uint16_t dport, size_t payload_len, uint16_t csum)
{
	uint8_t *h;

	if (payload_len > UINT16_MAX - UDP_HLEN) {
		wr_fail(w);
		return;
	}
	h = wr_put(w, UDP_HLEN);
	if (!h)
		return;
	be16_set(&h[0], sport);
	be16_set(&h[2], dport);
	be16_set(&h[4], (uint16_t)(UDP_HLEN + payload_len));
	be16_set(&h[6], csum ? csum : 0xffff);
}
