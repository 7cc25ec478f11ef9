/* SPDX-License-Identifier: MIT */
#include "link/vhost/tx.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/iov.h"
#include "link/vnet.h"

#define FRAME_PAD 60u /* shortest Ethernet frame, without its checksum */

int vtx_init(struct vtx *t, struct vdev *d)
{
	uint8_t *p = mmap(NULL, 2 * VTX_BOUNCE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	t->d = d;
	t->ring = t->filled = 0;
	t->vnet = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	t->merge = false;
	t->n = t->next = t->n_iov = 0;
	t->bounce = p;
	t->copy = p + VTX_BOUNCE;
	return 0;
}

void vtx_fini(struct vtx *t)
{
	munmap(t->bounce, 2 * VTX_BOUNCE);
}

static struct vdev_ring *ring_of(struct vtx *t)
{
	return &t->d->ring[t->ring];
}

static void unused_return(struct vtx *t)
{
	vq_unpop(&ring_of(t)->q, t->n - t->next);
	t->n = t->next = t->n_iov = 0;
}

/* One more buffer. False: there is none, or no place to note it. */
static bool chain_take(struct vtx *t)
{
	struct vq_chain c;

	if (t->n == VTX_CHAINS || t->n_iov == VTX_IOV || vq_pop(&ring_of(t)->q, t->iov + t->n_iov, VTX_IOV - t->n_iov, &c) != 1)
		return false;
	t->chain[t->n].head = c.head;
	t->chain[t->n].iov = t->n_iov;
	t->chain[t->n].len = c.len;
	t->n++;
	t->n_iov += c.n;
	return true;
}

/* Chains from first on that hold need bytes, of those that were taken; 0: they don't. */
static unsigned chains_for(const struct vtx *t, unsigned first, size_t need)
{
	unsigned most = t->merge ? t->n : MIN(first + 1, t->n);
	size_t len = 0;

	for (unsigned i = first; i < most; i++) {
		len += t->chain[i].len;
		if (len >= need)
			return i + 1 - first;
	}
	return 0;
}

/* The pieces of the chains from first on, all to the last that was taken. */
static unsigned pieces(const struct vtx *t, unsigned first, const struct iovec **ret_iov)
{
	*ret_iov = t->iov + t->chain[first].iov;
	return t->n_iov - t->chain[first].iov;
}

/* Buffers for a frame of need bytes. True also if all that the guest has are too small for it: it may come out shorter. */
static bool chains_reserve(struct vtx *t, unsigned first, size_t need)
{
	unsigned iov = t->n_iov;
	size_t len = 0;

	while (len < need && chain_take(t)) {
		len += t->chain[t->n - 1].len;
		if (!t->merge)
			return true;
	}
	if (len >= need || (!first && (t->n == MIN(ring_of(t)->q.conf.size, VTX_CHAINS) || t->n_iov == VTX_IOV)))
		return true;
	/* Only a part of it. */
	vq_unpop(&ring_of(t)->q, t->n - first);
	t->n = first;
	t->n_iov = iov;
	return false;
}

/* False: it has to be the last one, as its body is the one place that there is for such. */
static bool body_set(struct vtx *t, struct txframe *f, unsigned first, size_t front, size_t len)
{
	const struct iovec *iov;
	unsigned n = pieces(t, first, &iov);
	size_t got;

	f->n = iov_slice(iov, n, front, len, f->body, LINK_IOV_MAX, &got);
	f->cap = len;
	if (got == len)
		return true;
	f->body[0] = (struct iovec){ .iov_base = t->bounce, .iov_len = len };
	f->n = 1;
	return false;
}

size_t vtx_reserve(struct vtx *t, unsigned ring, struct txframe *f, const struct txwant *w)
{
	size_t need = t->vnet + MAX(w->hdr + w->len, (size_t)FRAME_PAD);
	size_t n = MIN(w->n, (size_t)LINK_BATCH), got;
	bool more = w->len <= VTX_BOUNCE;

	unused_return(t);
	t->ring = ring;
	if (!vdev_ring_live(ring_of(t)))
		return 0;
	for (got = 0; more && got < n; got++) {
		t->first[got] = t->n;
		if (!chains_reserve(t, t->n, need))
			break;
		f[got].cookie = (uint32_t)got;
		more = body_set(t, &f[got], t->first[got], t->vnet + w->hdr, w->len);
	}
	return got;
}

/* Header and padding of a frame of len bytes, whose body is in place, in the chains from first on. */
static void front_write(struct vtx *t, unsigned first, unsigned chains, const struct txhdr *h, size_t len)
{
	static const uint8_t zero[FRAME_PAD];
	struct virtio_net_hdr v = vnet_of(h);
	struct virtio_net_hdr_mrg_rxbuf w = {
		.hdr = {
			.flags = v.flags,
			.gso_type = v.gso_type,
			.hdr_len = htole16(v.hdr_len),
			.gso_size = htole16(v.gso_size),
			.csum_start = htole16(v.csum_start),
			.csum_offset = htole16(v.csum_offset),
		},
		.num_buffers = htole16((uint16_t)chains),
	};
	const struct iovec *iov;
	unsigned n = pieces(t, first, &iov);

	iov_copy_in(iov, n, 0, &w, t->vnet);
	if (h->len)
		iov_copy_in(iov, n, t->vnet, h->bytes, h->len);
	if (len < FRAME_PAD)
		iov_copy_in(iov, n, t->vnet + len, zero, FRAME_PAD - len);
}

/* The body to where the frame begins now. By way of a copy: the guest may have given us the same memory twice. */
static void body_move(struct vtx *t, const struct txframe *f, unsigned first, size_t front, size_t len)
{
	const struct iovec *iov;
	unsigned n = pieces(t, first, &iov);
	const uint8_t *src = f->body[0].iov_base;

	if (src != t->bounce) {
		iov_copy_out(f->body, f->n, 0, t->copy, len);
		src = t->copy;
	}
	iov_copy_in(iov, n, front, src, len);
}

bool vtx_commit(struct vtx *t, const struct txframe *f, const struct txhdr *h, size_t len)
{
	size_t frame = h->len + len;
	size_t left = t->vnet + MAX(frame, (size_t)FRAME_PAD);
	unsigned first = t->next, chains;

	if (f->cookie >= LINK_BATCH || len > f->cap || first >= t->n || !vdev_ring_live(ring_of(t)))
		return false;
	chains = chains_for(t, first, left);
	if (!chains)
		return false;
	if (t->first[f->cookie] != first || f->body[0].iov_base == t->bounce)
		body_move(t, f, first, t->vnet + h->len, len);
	front_write(t, first, chains, h, frame);
	for (unsigned i = first; i < first + chains; i++) {
		size_t part = MIN(left, t->chain[i].len);

		vq_push(&ring_of(t)->q, t->chain[i].head, (uint32_t)part);
		left -= part;
	}
	t->next = first + chains;
	t->filled |= 1u << t->ring;
	if (dirty_wanted(&t->d->dirty)) {
		unsigned end = t->next < t->n ? t->chain[t->next].iov : t->n_iov;

		vdev_wrote(t->d, t->iov + t->chain[first].iov, end - t->chain[first].iov);
	}
	return true;
}

void vtx_flush(struct vtx *t)
{
	uint32_t filled = t->filled;

	unused_return(t);
	t->filled = 0;
	for (; filled; filled &= filled - 1)
		vdev_ring_publish(t->d, (unsigned)__builtin_ctz(filled));
}
