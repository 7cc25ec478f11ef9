/* SPDX-License-Identifier: MIT */
#include "link/vhost/vq.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define DESC_LEN 16u
#define AVAIL_IDX 1u /* in uint16_t */
#define AVAIL_RING 2u

/* What a walk does with a piece of the chain; 0, or what ends the walk. */
typedef int piece_fn(void *ctx, const struct vmem *m, uint64_t guest, uint32_t len);

/* Read once: the compiler may not come back for another look. */
static uint16_t load16(const uint16_t *p, int order)
{
	return le16toh(__atomic_load_n(p, order));
}

static void store16(uint16_t *p, uint16_t v, int order)
{
	__atomic_store_n(p, htole16(v), order);
}

static struct vring_desc desc_load(const struct vring_desc *d)
{
	return (struct vring_desc){
		.addr = le64toh(__atomic_load_n(&d->addr, __ATOMIC_RELAXED)),
		.len = le32toh(__atomic_load_n(&d->len, __ATOMIC_RELAXED)),
		.flags = le16toh(__atomic_load_n(&d->flags, __ATOMIC_RELAXED)),
		.next = le16toh(__atomic_load_n(&d->next, __ATOMIC_RELAXED)),
	};
}

static bool aligned(const void *p, unsigned align)
{
	return !((uintptr_t)p & (align - 1));
}

static int ring_find(struct vq *q)
{
	const struct vq_conf *c = &q->conf;
	/* The events stand behind the rings, whether they are used or not: two bytes each. */
	const void *desc = vmem_user(q->mem, c->desc, (uint64_t)c->size * DESC_LEN);
	const void *avail = vmem_user(q->mem, c->avail, 6 + (uint64_t)c->size * sizeof(uint16_t));
	void *used = vmem_user(q->mem, c->used, 6 + (uint64_t)c->size * sizeof(struct vring_used_elem));

	if (!desc || !avail || !used)
		return -EFAULT;
	if (!aligned(desc, VRING_DESC_ALIGN_SIZE) || !aligned(avail, VRING_AVAIL_ALIGN_SIZE) ||
	    !aligned(used, VRING_USED_ALIGN_SIZE))
		return -EINVAL;
	q->desc = desc;
	q->avail = avail;
	q->used = used;
	q->avail_event = (uint16_t *)(void *)&q->used->ring[c->size];
	return 0;
}

int vq_start(struct vq *q, const struct vmem *mem, const struct vq_conf *c)
{
	struct vq fresh = { .mem = mem, .conf = *c, .next = c->base, .seen = c->base };
	int err;

	if (!c->size || c->size > VQ_SIZE_MAX || c->size & (c->size - 1))
		return -EINVAL;
	err = ring_find(&fresh);
	if (err)
		return err;
	fresh.done = fresh.shown = load16(&fresh.used->idx, __ATOMIC_RELAXED);
	*q = fresh;
	vq_want_kick(q, true);
	return 0;
}

int vq_remap(struct vq *q)
{
	if (q->desc && ring_find(q)) {
		q->desc = NULL;
		return -EFAULT;
	}
	return 0;
}

uint16_t vq_stop(struct vq *q)
{
	q->desc = NULL;
	return q->next;
}

static int broken(struct vq *q)
{
	q->broken = true;
	return -EBADMSG;
}

/* 1 if there is a chain to be taken. */
static int avail_look(struct vq *q)
{
	uint16_t idx;

	if (!q->desc)
		return 0;
	if (q->broken)
		return -EBADMSG;
	if (q->next != q->seen)
		return 1;
	/* What the guest wrote before it moved the index has to be seen after it. */
	idx = load16(&q->avail[AVAIL_IDX], __ATOMIC_ACQUIRE);
	if ((uint16_t)(idx - q->next) > q->conf.size)
		return broken(q);
	q->seen = idx;
	return q->next != q->seen;
}

/* Descriptors of a chain, one after the other: in the ring's table first, then perhaps in an indirect one. */
struct walk {
	uint64_t table; /* the indirect one, in the guest */
	bool indirect;
	uint32_t size; /* entries of the table */
	uint32_t left; /* entries that may still come: a chain has none twice */
	uint32_t at;
};

static int walk_desc(const struct vq *q, struct walk *w, struct vring_desc *ret_d)
{
	if (w->at >= w->size || !w->left)
		return -EBADMSG;
	w->left--;
	if (!w->indirect) {
		*ret_d = desc_load(&q->desc[w->at]);
		return 0;
	}
	if (w->table > UINT64_MAX - w->at * DESC_LEN || vmem_read(q->mem, w->table + w->at * DESC_LEN, ret_d, DESC_LEN))
		return -EBADMSG;
	*ret_d = desc_load(ret_d);
	return 0;
}

/* Goes on in the table that d points to: only as the last one of a chain, and only one table deep (section 2.7.5.3). */
static int walk_enter(const struct vq *q, struct walk *w, const struct vring_desc *d)
{
	uint32_t entries = d->len / DESC_LEN;

	if (!q->conf.indirect || w->indirect || d->flags & VRING_DESC_F_NEXT || d->len % DESC_LEN || !entries ||
	    entries > VQ_SIZE_MAX)
		return -EBADMSG;
	*w = (struct walk){ .table = d->addr, .indirect = true, .size = entries, .left = entries };
	return 0;
}

/* All pieces of the chain at head. -EBADMSG if it is no valid one; or what fn says. */
static int chain_walk(const struct vq *q, uint16_t head, piece_fn *fn, void *ctx)
{
	struct walk w = { .size = q->conf.size, .left = q->conf.size, .at = head };

	for (;;) {
		struct vring_desc d;
		int err = walk_desc(q, &w, &d);

		if (!err && d.flags & VRING_DESC_F_INDIRECT) {
			err = walk_enter(q, &w, &d);
			if (!err)
				continue;
		}
		if (err || !(d.flags & VRING_DESC_F_WRITE) == q->conf.write)
			return -EBADMSG;
		err = fn(ctx, q->mem, d.addr, d.len);
		if (err || !(d.flags & VRING_DESC_F_NEXT))
			return err;
		w.at = d.next;
	}
}

static int piece_iov(void *ctx, const struct vmem *m, uint64_t guest, uint32_t len)
{
	return vmem_iov(m, guest, len, ctx);
}

static uint16_t avail_head(const struct vq *q)
{
	return load16(&q->avail[AVAIL_RING + (q->next & (q->conf.size - 1u))], __ATOMIC_RELAXED);
}

int vq_pop(struct vq *q, struct iovec *iov, unsigned room, struct vq_chain *ret_chain)
{
	struct vmem_iovs v = { .iov = iov, .room = room };
	struct vq_chain c = { .len = 0 };
	int err = avail_look(q);

	if (err <= 0)
		return err;
	c.head = avail_head(q);
	err = chain_walk(q, c.head, piece_iov, &v);
	if (err == -ENOBUFS && !q->conf.write)
		return err;
	if (err && err != -ENOBUFS)
		return broken(q);
	c.n = v.n;
	for (unsigned i = 0; i < v.n; i++)
		c.len += iov[i].iov_len;
	q->next++;
	*ret_chain = c;
	return 1;
}

struct copy {
	uint8_t *buf;
	size_t cap;
	size_t len; /* of the chain */
};

static int piece_copy(void *ctx, const struct vmem *m, uint64_t guest, uint32_t len)
{
	struct copy *c = ctx;
	size_t room = c->len < c->cap ? c->cap - c->len : 0;
	size_t part = MIN((size_t)len, room);
	int err = part ? vmem_read(m, guest, c->buf + c->len, part) : 0;

	c->len += len;
	return err;
}

int vq_pop_copy(struct vq *q, void *buf, size_t cap, struct vq_chain *ret_chain)
{
	struct copy c = { .buf = buf, .cap = cap };
	uint16_t head;
	int err = avail_look(q);

	if (err <= 0)
		return err;
	head = avail_head(q);
	if (chain_walk(q, head, piece_copy, &c))
		return broken(q);
	q->next++;
	*ret_chain = (struct vq_chain){ .head = head, .len = c.len };
	return 1;
}

void vq_unpop(struct vq *q, unsigned n)
{
	q->next = (uint16_t)(q->next - n);
}

void vq_push(struct vq *q, uint16_t head, uint32_t len)
{
	struct vring_used_elem *e;

	if (!q->desc)
		return;
	e = &q->used->ring[q->done++ & (q->conf.size - 1u)];
	e->id = htole32(head);
	e->len = htole32(len);
}

bool vq_publish(struct vq *q)
{
	uint16_t old = q->call_at;
	bool known = q->call_known;

	if (!q->desc || q->done == q->shown)
		return false;
	q->shown = q->done;
	/* The entries before the index; the index before we look whether the guest wants a call, as it does it the other way round. */
	store16(&q->used->idx, q->shown, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->conf.event_idx)
		return !(load16(&q->avail[0], __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
	q->call_at = q->shown;
	q->call_known = true;
	/* Where the guest's last call was before the queue was started is not known: one too many is harmless. */
	return !known || vring_need_event(load16(&q->avail[AVAIL_RING + q->conf.size], __ATOMIC_RELAXED), q->shown, old);
}

bool vq_want_kick(struct vq *q, bool want)
{
	if (!q->desc || q->broken)
		return false;
	if (!q->conf.event_idx)
		store16(&q->used->flags, want ? 0 : VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	else if (want)
		store16(q->avail_event, q->seen, __ATOMIC_RELAXED);
	/* With events, the one that lies behind stays behind for another 65535 chains: that is silence. */
	if (!want)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(&q->avail[AVAIL_IDX], __ATOMIC_RELAXED) != q->seen;
}
