/* SPDX-License-Identifier: MIT */
#include "link/vhost/vq.h"

#include <errno.h>

#include "link/vhost/vq_ops.h"

#define DESC_LEN 16u

void *vq_find(const struct vq *q, uint64_t user, uint64_t len, unsigned align, int *ret_err)
{
	void *p = vmem_user(q->mem, user, len);

	if (p && !((uintptr_t)p & (align - 1)))
		return p;
	*ret_err = p ? -EINVAL : -EFAULT;
	return NULL;
}

uint32_t vq_table_entries(const struct vq *q, uint32_t len)
{
	uint32_t entries = len / DESC_LEN;

	return q->conf.indirect && len % DESC_LEN == 0 && entries <= VQ_SIZE_MAX ? entries : 0;
}

int vq_table_read(const struct vq *q, uint64_t table, uint32_t i, void *ret_d)
{
	uint64_t off = (uint64_t)i * DESC_LEN;

	return table > UINT64_MAX - off || vmem_read(q->mem, table + off, ret_d, DESC_LEN) ? -EBADMSG : 0;
}

int vq_start(struct vq *q, const struct vmem *mem, const struct vq_conf *c)
{
	const struct vq_ops *ops = c->packed ? &vq_packed_ops : &vq_split_ops;
	int err;

	if (!c->size || c->size > VQ_SIZE_MAX)
		return -EINVAL;
	*q = (struct vq){ .mem = mem, .conf = *c };
	err = ops->find(q);
	if (!err)
		err = ops->start(q);
	if (err)
		return err;
	q->ops = ops;
	if (c->notes)
		ops->note(q);
	vq_want_kick(q, VQ_ANY);
	return 0;
}

int vq_remap(struct vq *q)
{
	if (!q->ops || !q->ops->find(q))
		return 0;
	vq_stop(q);
	return -EFAULT;
}

uint32_t vq_stop(struct vq *q)
{
	if (q->ops)
		q->conf.base = q->ops->base(q);
	q->ops = NULL;
	return q->conf.base;
}

uint32_t vq_end(struct vq *q)
{
	struct inflight_split *notes = q->conf.notes;

	if (q->ops && notes)
		__atomic_store_n(&notes->version, 0, __ATOMIC_RELEASE);
	return vq_stop(q);
}

struct iovec vq_used_area(const struct vq *q)
{
	return q->ops ? q->ops->used_area(q) : (struct iovec){ .iov_len = 0 };
}

static int broken(struct vq *q)
{
	q->broken = true;
	return -EBADMSG;
}

/* 1 if there is a chain to be taken. */
static int look(struct vq *q)
{
	int got;

	if (!q->ops)
		return 0;
	if (q->broken)
		return -EBADMSG;
	got = q->ops->look(q);
	return got < 0 ? broken(q) : got;
}

static int piece_iov(void *ctx, const struct vmem *m, uint64_t guest, uint32_t len)
{
	return vmem_iov(m, guest, len, ctx);
}

int vq_pop(struct vq *q, struct iovec *iov, unsigned room, struct vq_chain *ret_chain)
{
	struct vmem_iovs v = { .iov = iov, .room = room };
	struct vq_chain c = { .len = 0 };
	struct vq_item item = { 0 };
	int err = look(q);

	if (err <= 0)
		return err;
	err = q->ops->walk(q, piece_iov, &v, &item);
	if (err == -ENOBUFS && !q->conf.write)
		return err;
	if (err && err != -ENOBUFS)
		return broken(q);
	c.head = item.head;
	c.n = v.n;
	for (unsigned i = 0; i < v.n; i++)
		c.len += iov[i].iov_len;
	q->ops->take(q, &item);
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
	struct vq_item item = { 0 };
	int err = look(q);

	if (err <= 0)
		return err;
	if (q->ops->walk(q, piece_copy, &c, &item))
		return broken(q);
	q->ops->take(q, &item);
	*ret_chain = (struct vq_chain){ .head = item.head, .len = c.len };
	return 1;
}

void vq_unpop(struct vq *q, unsigned n)
{
	if (q->ops)
		q->ops->untake(q, n);
}

void vq_push(struct vq *q, uint16_t head, uint32_t len)
{
	if (q->ops)
		q->ops->push(q, head, len);
}

bool vq_publish(struct vq *q)
{
	return q->ops && q->ops->publish(q);
}

bool vq_want_kick(struct vq *q, enum vq_kick when)
{
	return q->ops && !q->broken && q->ops->want_kick(q, when);
}

bool vq_want_less(struct vq *q)
{
	/* A guest that did nothing at all was only slow. */
	if (!vq_want_kick(q, VQ_ANY))
		return false;
	q->most /= 2;
	return true;
}
