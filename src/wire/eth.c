/* SPDX-License-Identifier: MIT */
#include "wire/eth.h"

#include "wire/be.h"

void eth_put(struct wr *w, const uint8_t dst[MAC_LEN], const uint8_t src[MAC_LEN], uint16_t ethertype)
{
	uint8_t *h = wr_put(w, ETH_HLEN);

	if (!h)
		return;
	memcpy(h, dst, MAC_LEN);
	memcpy(&h[6], src, MAC_LEN);
	be16_set(&h[12], ethertype);
}
