/* SPDX-License-Identifier: MIT */
#include "link/vhost/rx.h"

#include <endian.h>
#include <errno.h>
#include <sys/mman.h>

#include "base/iov.h"
#include "link/vnet.h"

#define FRAME_MIN 14u
#define FRAME_MAX 65550u /* 65535 bytes of IP, and Ethernet with a tag */
#define PIECES LINK_IOV_MAX /* of a chain */

int vrx_init(struct vrx *r, struct vdev *d)
{
	r->copy = mmap(NULL, VRX_COPY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->copy == MAP_FAILED)
		return -ENOMEM;
	r->d = d;
	r->vnet = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	r->bad = 0;
	r->heads = 0;
	return 0;
}

void vrx_fini(struct vrx *r)
{
	munmap(r->copy, VRX_COPY);
}

/* The frame in a chain, with its body's pieces at body. False: it is none that a guest should send. */
static bool frame_read(struct vrx *r, const struct vq_chain *c, const struct iovec *iov, struct iovec *body, struct frame *ret_f)
{
	struct virtio_net_hdr h = { 0 };
	struct frame f = { .iov = body };
	size_t got = 0;

	if (c->len < r->vnet + FRAME_MIN || c->len > r->vnet + FRAME_MAX)
		return false;
	/* Read once: the guest can still change it. */
	iov_copy_out(iov, c->n, 0, &h, sizeof(h));
	__asm__ volatile("" ::: "memory");
	h.gso_size = le16toh(h.gso_size);
	if (!vnet_read(&h, &f))
		return false;
	f.len = c->len - r->vnet;
	f.n = iov_slice(iov, c->n, r->vnet, f.len, body, LINK_IOV_MAX, &got);
	*ret_f = f;
	return got == f.len;
}

/* The next chain, with its pieces at iov: 1, 0, -errno as vq_pop(). *ret_copied: it was copied, for which there is but one place. */
static int chain_take(struct vrx *r, struct vq *q, struct iovec *iov, struct vq_chain *ret_c, bool *ret_copied)
{
	int got = vq_pop(q, iov, PIECES, ret_c);

	*ret_copied = got == -ENOBUFS;
	if (got != -ENOBUFS)
		return got;
	got = vq_pop_copy(q, r->copy, VRX_COPY, ret_c);
	iov[0] = (struct iovec){ .iov_base = r->copy, .iov_len = ret_c->len };
	ret_c->n = 1;
	return got;
}

int vrx_take(struct vrx *r, unsigned i, unsigned *ret_frames)
{
	struct vdev_ring *ring = &r->d->ring[i];
	unsigned n = 0, at = 0;
	bool copied = false;
	int got = 0;

	r->heads = r->bad = 0;
	while (r->heads < LINK_BATCH && at + PIECES <= VRX_IOV && !copied) {
		struct vq_chain c = { .len = 0 };

		got = chain_take(r, &ring->q, r->iov + at, &c, &copied);
		if (got != 1)
			break;
		r->head[r->heads++] = c.head;
		/* A ring that is not enabled is emptied all the same. */
		if (!ring->enabled)
			continue;
		if (!frame_read(r, &c, r->iov + at, r->body + at, &r->frame[n])) {
			r->bad++;
			continue;
		}
		at += c.n;
		n++;
	}
	*ret_frames = n;
	/* What was taken before is worked on first. */
	return r->heads ? (int)r->heads : got;
}

void vrx_return(struct vrx *r, unsigned i)
{
	for (unsigned k = 0; k < r->heads; k++)
		vq_push(&r->d->ring[i].q, r->head[k], 0);
	r->heads = 0;
	vdev_ring_publish(r->d, i);
}
