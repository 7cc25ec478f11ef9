/* SPDX-License-Identifier: MIT */
/*
 * One virtqueue, seen by the device: a split ring (virtio 1.2 section 2.7) in the guest's memory.
 *
 * The guest may change anything at any time: each index, address and length is read once, into private memory, and checked. A ring that
 * can't be right is -EBADMSG, once and for all until the queue is started again. Chains are given back in the order in which they were
 * taken, so that the position in the ring of available chains alone says what is under way, to whoever goes on with the ring.
 *
 * Taking chains: vq_pop() until it gives none, then vq_want_kick(). Giving them back: vq_push() each, then vq_publish() once.
 */
#pragma once

#include "link/vhost/mem.h"

#define VQ_SIZE_MAX 32768u

struct vq_conf {
	uint64_t desc, avail, used; /* user addresses (vmem_user()) */
	uint16_t size; /* entries; a power of two */
	uint16_t base; /* position of the next available chain */
	bool write; /* chains are for us to write to; else, to read from */
	bool event_idx, indirect; /* VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC */
};

struct vq_chain {
	uint16_t head;
	unsigned n; /* pieces in iov */
	size_t len; /* bytes in them */
};

struct vq {
	const struct vmem *mem;
	struct vq_conf conf;
	const struct vring_desc *desc; /* NULL: stopped */
	const uint16_t *avail; /* flags, idx, ring[size], used_event */
	struct vring_used *used;
	uint16_t *avail_event;
	bool broken;
	bool call_known; /* call_at is valid */
	uint16_t next; /* position of the next available chain */
	uint16_t seen; /* the guest's position, as last read */
	uint16_t done; /* of the next used chain */
	uint16_t shown; /* used chains that the guest can see */
	uint16_t call_at; /* value of shown when it was last decided whether to call */
};

/* -EINVAL: no valid size, or alignment; -EFAULT: not the guest's memory. Kicks are wanted after it. mem has to outlive the queue. */
MUST_USE int vq_start(struct vq *q, const struct vmem *mem, const struct vq_conf *c);

/* The memory has changed: finds the ring again. -EFAULT: it is gone, and the queue is stopped. */
MUST_USE int vq_remap(struct vq *q);

/* Returns the position of the first chain that was not given back. */
uint16_t vq_stop(struct vq *q);

static inline bool vq_running(const struct vq *q)
{
	return q->desc;
}

/*
 * Takes the next chain: its pieces in iov, which has room for that many. 1; 0: there is none now; -EBADMSG: the ring is broken.
 * What does not fit into iov is left out of a chain to be written; one to be read is not taken then: -ENOBUFS, see vq_pop_copy().
 */
MUST_USE int vq_pop(struct vq *q, struct iovec *iov, unsigned room, struct vq_chain *ret_chain);

/* The same for a chain in any number of pieces, to be read: up to cap bytes of it in buf; ret_chain->len is how many it has. */
MUST_USE int vq_pop_copy(struct vq *q, void *buf, size_t cap, struct vq_chain *ret_chain);

/* Takes back the last n pops that were not pushed; they will be popped again. */
void vq_unpop(struct vq *q, unsigned n);

/* Gives back the chain at head, the oldest that was taken, with len bytes written; the guest sees it after vq_publish(). */
void vq_push(struct vq *q, uint16_t head, uint32_t len);

/* Shows the guest what was pushed. True if it wants to be called. */
MUST_USE bool vq_publish(struct vq *q);

/*
 * Tells the guest whether to kick when it makes further chains available, beyond those that vq_pop() has seen, whether they were taken or
 * not. True if it has done so meanwhile, and no kick will tell of it (only with want).
 */
bool vq_want_kick(struct vq *q, bool want);
