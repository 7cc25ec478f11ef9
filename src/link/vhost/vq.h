/* SPDX-License-Identifier: MIT */
/*
 * One virtqueue, seen by the device: a split ring (virtio 1.2 section 2.7) or a packed one (section 2.8) in the guest's memory. Which of
 * the two it is does not matter to anybody but who sets it up.
 *
 * The guest may change anything at any time: each index, address and length is read once, into private memory, and checked. A ring that
 * can't be right is -EBADMSG, once and for all until the queue is started again. Chains are given back in the order in which they were
 * taken, so that the position in a split ring alone says what is under way, to whoever goes on with it; of a packed one the notes do.
 *
 * Taking chains: vq_pop() until it gives none, then vq_want_kick(). Giving them back: vq_push() each, then vq_publish() once.
 */
#pragma once

#include "link/vhost/inflight.h"
#include "link/vhost/mem.h"

#define VQ_SIZE_MAX 32768u
#define VQ_TAKEN INFLIGHT_CHAINS /* chains of a packed ring that may be under way at once */

struct vq_conf {
	uint64_t desc, avail,
		used; /* user addresses (vmem_user()); of a packed ring, of the ring and of the driver's and our events */
	uint16_t size; /* entries; in a split ring a power of two */
	/*
	 * Position of the next available chain. In a packed ring bit 15 is its wrap counter, and the upper half the same for the next used
	 * one, or 0, if both are one; all 0, for who knows nothing of these, is the start of a fresh ring as well.
	 */
	uint32_t base;
	bool write; /* chains are for us to write to; else, to read from */
	bool packed, event_idx, indirect; /* VIRTIO_F_RING_PACKED, VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC */
	void *notes; /* the ring's part of the in-flight buffer (link/vhost/inflight.h), of inflight_len(); or NULL */
	bool resume; /* if there is something in it, that says where to begin, and not base */
};

struct vq_chain {
	uint16_t head; /* its name to the guest */
	unsigned n; /* pieces in iov */
	size_t len; /* bytes in them */
};

/* When the guest is to kick. Chains that vq_pop() has seen, whether they were taken or not, are not waited for. */
enum vq_kick {
	VQ_QUIET, /* no kick: somebody looks */
	VQ_ANY, /* at the next chain */
	VQ_HALF, /* when half as many are available as the guest has ever had at once, and one more than were seen */
};

/* State of a split ring. */
struct vq_split {
	const struct vring_desc *desc;
	const uint16_t *avail; /* flags, idx, ring[size], used_event */
	struct vring_used *used;
	uint16_t *avail_event;
	uint16_t next; /* position of the next available chain */
	uint16_t seen; /* the guest's position, as last read */
	uint16_t done; /* of the next used chain */
	uint16_t shown; /* used chains that the guest can see */
	uint16_t call_at; /* value of shown when it was last decided whether to call */
	struct inflight_split *notes; /* or NULL */
};

/* State of a packed ring. A position is a number below twice the size: in the lower half the wrap counter is 1. */
struct vq_packed {
	struct vring_packed_desc *desc;
	const struct vring_packed_desc_event *driver;
	struct vring_packed_desc_event *device;
	uint32_t next; /* position of the next available chain */
	uint32_t ahead; /* descriptors behind it that were taken before, and then not */
	uint32_t done, shown, call_at; /* as in the other */
	uint16_t first_flags; /* of the used chain at shown, written last */
	uint32_t out; /* descriptors that are under way */
	uint32_t taken_at, taken; /* chains that are under way */
	uint16_t descs[VQ_TAKEN]; /* in each of them, in a circle from taken_at on */
	struct inflight notes;
	uint16_t entry[VQ_TAKEN]; /* in the notes, of the same chains */
	uint32_t again; /* of those that were noted, the ones behind the taken: not yet, or not any more */
};

struct vq {
	const struct vmem *mem;
	struct vq_conf conf;
	const struct vq_ops *ops; /* NULL: stopped */
	bool broken;
	bool call_known; /* call_at is valid */
	uint32_t most; /* chains, in a packed ring descriptors, that the guest has had available at once */
	union {
		struct vq_split s;
		struct vq_packed p;
	};
};

/*
 * -EINVAL: no valid size, position, or alignment; -EFAULT: not the guest's memory. Kicks are wanted after it. mem has to outlive the
 * queue.
 */
MUST_USE int vq_start(struct vq *q, const struct vmem *mem, const struct vq_conf *c);

/* The memory has changed: finds the ring again. -EFAULT: it is gone, and the queue is stopped. */
MUST_USE int vq_remap(struct vq *q);

/* Returns the position of the first chain that was not given back, as in struct vq_conf. */
uint32_t vq_stop(struct vq *q);

/* The same, and the front-end will know it: there is nothing to go on with in the notes. */
uint32_t vq_end(struct vq *q);

static inline bool vq_running(const struct vq *q)
{
	return q->ops;
}

/* The memory that used chains are written to. */
struct iovec vq_used_area(const struct vq *q);

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
 * Tells the guest when to kick. True if what is waited for has come meanwhile, and no kick will tell of it; never with VQ_QUIET.
 * Without VIRTIO_RING_F_EVENT_IDX, VQ_HALF is VQ_ANY. With it, a guest that has become content with fewer chains than it had before may
 * never get there: who waits has to call vq_want_less() after a while.
 */
bool vq_want_kick(struct vq *q, enum vq_kick when);

/* VQ_HALF was not reached: the same with VQ_ANY. If it is true, the next VQ_HALF waits for fewer. */
bool vq_want_less(struct vq *q);
