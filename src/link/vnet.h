/* SPDX-License-Identifier: MIT */
/*
 * struct virtio_net_hdr (virtio 1.2 section 5.1.6) of frames, as tap devices and virtqueues have it in front of them: what is left to
 * the other side, checksum and segmentation. In the machine's byte order.
 */
#pragma once

#include <linux/virtio_net.h>

#include "link/link.h"

#define VNET_LEN sizeof(struct virtio_net_hdr) /* without the field for merged buffers */

/* For a frame that is sent. */
struct virtio_net_hdr vnet_of(const struct txhdr *h);

/* What the header of a frame that was received says about its segments. False: nothing that we asked for. */
bool vnet_read(const struct virtio_net_hdr *h, struct frame *f);
