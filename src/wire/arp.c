/* SPDX-License-Identifier: MIT */
#include "wire/arp.h"

#include <errno.h>

#include "wire/eth.h"

#define ARP_HTYPE_ETHER 1
#define ARP_PLEN_IP4 4

static struct addr ip4_read(struct rd *r)
{
	uint8_t b[4];

	rd_copy(r, b, sizeof(b));
	return addr_from4(b);
}

int arp_read(struct rd *r, struct arp *ret_arp)
{
	uint16_t htype = rd_be16(r), ptype = rd_be16(r);
	uint8_t hlen = rd_u8(r), plen = rd_u8(r);
	struct arp a = { .op = rd_be16(r) };

	rd_copy(r, a.sha, MAC_LEN);
	a.spa = ip4_read(r);
	rd_copy(r, a.tha, MAC_LEN);
	a.tpa = ip4_read(r);
	if (!rd_ok(r) || htype != ARP_HTYPE_ETHER || ptype != ETHERTYPE_IP4 || hlen != MAC_LEN || plen != ARP_PLEN_IP4)
		return -EBADMSG;
	*ret_arp = a;
	return 0;
}

void arp_put(struct wr *w, const struct arp *a)
{
	wr_be16(w, ARP_HTYPE_ETHER);
	wr_be16(w, ETHERTYPE_IP4);
	wr_u8(w, MAC_LEN);
	wr_u8(w, ARP_PLEN_IP4);
	wr_be16(w, a->op);
	wr_bytes(w, a->sha, MAC_LEN);
	wr_bytes(w, addr_bytes(&a->spa), ARP_PLEN_IP4);
	wr_bytes(w, a->tha, MAC_LEN);
	wr_bytes(w, addr_bytes(&a->tpa), ARP_PLEN_IP4);
}
