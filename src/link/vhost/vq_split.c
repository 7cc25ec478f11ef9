/* SPDX-License-Identifier: MIT */
/* The split ring: virtio 1.2 section 2.7. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "link/vhost/vq_ops.h"

#define AVAIL_IDX 1u /* in uint16_t */
#define AVAIL_RING 2u

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

/* The events stand behind the rings, whether they are used or not: two bytes each. */
static uint64_t used_len(const struct vq *q)
{
	return 6 + (uint64_t)q->conf.size * sizeof(struct vring_used_elem);
}

static int split_find(struct vq *q)
{
	const struct vq_conf *c = &q->conf;
	uint64_t desc_len = (uint64_t)c->size * sizeof(struct vring_desc), avail_len = 6 + (uint64_t)c->size * sizeof(uint16_t);
	int err = 0;
	const struct vring_desc *desc = vq_find(q, c->desc, desc_len, VRING_DESC_ALIGN_SIZE, &err);
	const uint16_t *avail = vq_find(q, c->avail, avail_len, VRING_AVAIL_ALIGN_SIZE, &err);
	struct vring_used *used = vq_find(q, c->used, used_len(q), VRING_USED_ALIGN_SIZE, &err);

	if (err)
		return err;
	q->s.desc = desc;
	q->s.avail = avail;
	q->s.used = used;
	q->s.avail_event = (uint16_t *)(void *)&used->ring[c->size];
	return 0;
}

static int split_start(struct vq *q)
{
	if (q->conf.size & (q->conf.size - 1) || q->conf.base > UINT16_MAX)
		return -EINVAL;
	q->s.next = q->s.seen = (uint16_t)q->conf.base;
	q->s.done = q->s.shown = load16(&q->s.used->idx, __ATOMIC_RELAXED);
	return 0;
}

static void split_note(struct vq *q)
{
	struct vq_split *s = &q->s;
	struct inflight_split *n = q->conf.notes;
	bool was = __atomic_load_n(&n->version, __ATOMIC_ACQUIRE) == INFLIGHT_VERSION && n->desc_num == q->conf.size;

	/* What a predecessor had taken is all that follows what it gave back, in the same order. */
	if (q->conf.resume && was)
		s->next = s->seen = s->done;
	__atomic_store_n(&n->version, 0, __ATOMIC_RELEASE);
	memset(n->desc, 0, q->conf.size * sizeof(n->desc[0]));
	n->features = 0;
	n->desc_num = q->conf.size;
	n->last_batch_head = 0;
	n->used_idx = s->shown;
	__atomic_store_n(&n->version, INFLIGHT_VERSION, __ATOMIC_RELEASE);
	s->notes = n;
}

static uint32_t split_base(const struct vq *q)
{
	return q->s.next;
}

static struct iovec split_used_area(const struct vq *q)
{
	return (struct iovec){ .iov_base = q->s.used, .iov_len = (size_t)used_len(q) };
}

static int split_look(struct vq *q)
{
	struct vq_split *s = &q->s;
	uint16_t idx;

	if (s->next != s->seen)
		return 1;
	/* What the guest wrote before it moved the index has to be seen after it. */
	idx = load16(&s->avail[AVAIL_IDX], __ATOMIC_ACQUIRE);
	if ((uint16_t)(idx - s->next) > q->conf.size)
		return -EBADMSG;
	s->seen = idx;
	q->most = MAX(q->most, (uint32_t)(uint16_t)(idx - s->next));
	return s->next != s->seen;
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
		*ret_d = desc_load(&q->s.desc[w->at]);
		return 0;
	}
	if (vq_table_read(q, w->table, w->at, ret_d))
		return -EBADMSG;
	*ret_d = desc_load(ret_d);
	return 0;
}

/* Goes on in the table that d points to: only as the last one of a chain, and only one table deep (section 2.7.5.3). */
static int walk_enter(const struct vq *q, struct walk *w, const struct vring_desc *d)
{
	uint32_t entries = vq_table_entries(q, d->len);

	if (w->indirect || d->flags & VRING_DESC_F_NEXT || !entries)
		return -EBADMSG;
	*w = (struct walk){ .table = d->addr, .indirect = true, .size = entries, .left = entries };
	return 0;
}

static int split_walk(const struct vq *q, vq_piece_fn *fn, void *ctx, struct vq_item *ret_item)
{
	const uint16_t *entry = &q->s.avail[AVAIL_RING + (q->s.next & (q->conf.size - 1u))];
	struct walk w = { .size = q->conf.size, .left = q->conf.size, .at = load16(entry, __ATOMIC_RELAXED) };

	ret_item->head = (uint16_t)w.at;
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

static void split_take(struct vq *q, const struct vq_item *item)
{
	q->s.next++;
}

static void split_untake(struct vq *q, unsigned n)
{
	q->s.next = (uint16_t)(q->s.next - n);
}

static void split_push(struct vq *q, uint16_t head, uint32_t len)
{
	struct vring_used_elem *e = &q->s.used->ring[q->s.done++ & (q->conf.size - 1u)];

	e->id = htole32(head);
	e->len = htole32(len);
}

static bool split_publish(struct vq *q)
{
	struct vq_split *s = &q->s;
	uint16_t old = s->call_at;
	bool known = q->call_known;

	if (s->done == s->shown)
		return false;
	s->shown = s->done;
	/* The entries before the index; the index before we look whether the guest wants a call, as it does it the other way round. */
	store16(&s->used->idx, s->shown, __ATOMIC_RELEASE);
	if (s->notes)
		__atomic_store_n(&s->notes->used_idx, s->shown, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->conf.event_idx)
		return !(load16(&s->avail[0], __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
	s->call_at = s->shown;
	q->call_known = true;
	/* Where the guest's last call was before the queue was started is not known: one too many is harmless. */
	return !known || vring_need_event(load16(&s->avail[AVAIL_RING + q->conf.size], __ATOMIC_RELAXED), s->shown, old);
}

static bool split_want_kick(struct vq *q, enum vq_kick when)
{
	struct vq_split *s = &q->s;
	uint32_t after = vq_kick_after(q, when, (uint16_t)(s->seen - s->next));

	if (!q->conf.event_idx)
		store16(&s->used->flags, when != VQ_QUIET ? 0 : VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	else if (when != VQ_QUIET)
		store16(s->avail_event, (uint16_t)(s->next + after - 1), __ATOMIC_RELAXED);
	/* With events, the one that lies behind stays behind for another 65535 chains: that is silence. */
	if (when == VQ_QUIET)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (uint16_t)(load16(&s->avail[AVAIL_IDX], __ATOMIC_RELAXED) - s->next) >= after;
}

const struct vq_ops vq_split_ops = {
	.find = split_find,
	.start = split_start,
	.note = split_note,
	.base = split_base,
	.used_area = split_used_area,
	.look = split_look,
	.walk = split_walk,
	.take = split_take,
	.untake = split_untake,
	.push = split_push,
	.publish = split_publish,
	.want_kick = split_want_kick,
};
