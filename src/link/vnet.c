/* SPDX-License-Identifier: MIT */
#include "link/vnet.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

bool vnet_read(const struct virtio_net_hdr *h, struct frame *f)
{
	/* That a superframe carries a congestion notice concerns only who cuts it up. */
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		f->gso_type = GSO_TCP4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		f->gso_type = GSO_TCP6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		f->gso_type = GSO_UDP;
		break;
	default:
		return false;
	}
	f->gso_size = h->gso_size;
	return h->gso_size;
}

struct virtio_net_hdr vnet_of(const struct txhdr *h)
{
	static const uint8_t type[] = {
		[GSO_NONE] = VIRTIO_NET_HDR_GSO_NONE,
		[GSO_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
		[GSO_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6,
		[GSO_UDP] = VIRTIO_NET_HDR_GSO_UDP_L4,
	};
	struct virtio_net_hdr v = { .gso_type = type[h->gso_type] };

	if (h->gso_type)
		v.gso_size = h->gso_size;
	if (h->csum_start) {
		v.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		v.csum_start = h->csum_start;
		v.csum_offset = h->csum_offset;
	}
	if (h->gso_type || h->csum_start)
		v.hdr_len = h->len;
	return v;
}
