/* SPDX-License-Identifier: MIT */
/*
 * Frames towards the guest, into the buffers of its receive queues (virtio 1.2 section 5.1.6): part of the vhost-user back end.
 *
 * A reservation takes as many buffers as its frames may need; a frame lies in one, or, where the guest merges them, in several. Buffers
 * go back in the order in which they came. So a frame behind one that came out short is moved forward, to where that one ended.
 */
#pragma once

#include "link/link.h"
#include "link/vhost/dev.h"

#define VTX_CHAINS 1024u
#define VTX_IOV 4096u
#define VTX_BOUNCE 65536u

struct vtx {
	struct vdev *d;
	unsigned ring; /* of the last reservation */
	uint32_t filled; /* bits of rings with frames that the guest was not shown */
	unsigned vnet; /* bytes of the header in front of each frame */
	bool merge;

	struct {
		uint16_t head;
		unsigned iov; /* its first piece */
		size_t len;
	} chain[VTX_CHAINS]; /* taken */
	unsigned n, next; /* chains; the first that holds no frame yet */
	struct iovec iov[VTX_IOV];
	unsigned n_iov;
	unsigned first[LINK_BATCH]; /* chain of each frame that was reserved */

	uint8_t *bounce; /* for a frame that its buffers can't hold in so many pieces, or not all of it */
	uint8_t *copy; /* for a frame on its way forward */
};

MUST_USE int vtx_init(struct vtx *t, struct vdev *d);
void vtx_fini(struct vtx *t);

/* As in struct link_ops, on that ring; no frame at all if the guest is out of buffers. */
size_t vtx_reserve(struct vtx *t, unsigned ring, struct txframe *f, const struct txwant *w);

/* False if the frame was dropped: the guest's buffers can't hold it. */
bool vtx_commit(struct vtx *t, const struct txframe *f, const struct txhdr *h, size_t len);

/* Gives back what was reserved and not committed; shows the guest what was. */
void vtx_flush(struct vtx *t);
