/* SPDX-License-Identifier: MIT */
/* Frames from the guest, out of the buffers of its transmit queues: part of the vhost-user back end. */
#pragma once

#include "link/link.h"
#include "link/vhost/dev.h"

#define VRX_IOV 1024u
#define VRX_COPY (65536u + 64)

struct vrx {
	struct vdev *d;
	unsigned vnet; /* bytes of the header in front of each frame */
	unsigned bad; /* chains of those taken last that hold no frame that a guest may send */

	struct frame frame[LINK_BATCH];
	struct iovec iov[VRX_IOV]; /* of the frames, their headers included */
	struct iovec body[VRX_IOV];
	uint16_t head[LINK_BATCH];
	unsigned heads;
	uint8_t *copy; /* for one frame in more pieces than can be passed on */
};

MUST_USE int vrx_init(struct vrx *r, struct vdev *d);
void vrx_fini(struct vrx *r);

/*
 * Takes up to LINK_BATCH chains of ring i; *ret_frames are in frame, to be given back by vrx_return() before anything else is done.
 * Number of chains, which is more where some were of no use; -EBADMSG: the ring is broken.
 */
MUST_USE int vrx_take(struct vrx *r, unsigned i, unsigned *ret_frames);

/* The chains go back to the guest. */
void vrx_return(struct vrx *r, unsigned i);
