/* SPDX-License-Identifier: MIT */
/* The packed ring: virtio 1.2 section 2.8. */
#include <endian.h>
#include <errno.h>

#include "link/vhost/vq_ops.h"

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)
#define WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR) /* of a position, as the guest and the front-end write it */

static uint16_t load16(const __le16 *p, int order)
{
	return le16toh(__atomic_load_n(p, order));
}

static void store16(__le16 *p, uint32_t v, int order)
{
	__atomic_store_n(p, htole16((uint16_t)v), order);
}

/* --- positions --- */

static uint32_t pos_add(const struct vq *q, uint32_t pos, uint32_t n)
{
	return (pos + n) % (2u * q->conf.size);
}

/* Descriptors from one position on to the other. */
static uint32_t pos_from(const struct vq *q, uint32_t from, uint32_t to)
{
	return pos_add(q, to, 2u * q->conf.size - from);
}

static bool pos_wrap(const struct vq *q, uint32_t pos)
{
	return pos < q->conf.size;
}

static uint32_t pos_encode(const struct vq *q, uint32_t pos)
{
	return pos_wrap(q, pos) ? pos | WRAP : pos - q->conf.size;
}

/* What names no descriptor is a position all the same. */
static uint32_t pos_decode(const struct vq *q, uint32_t code)
{
	return pos_add(q, code & (WRAP - 1), code & WRAP ? 0 : q->conf.size);
}

static struct vring_packed_desc *desc_at(const struct vq *q, uint32_t pos)
{
	return &q->p.desc[pos_wrap(q, pos) ? pos : pos - q->conf.size];
}

/* --- start and stop --- */

static int packed_find(struct vq *q)
{
	const struct vq_conf *c = &q->conf;
	const unsigned event_len = sizeof(struct vring_packed_desc_event);
	uint64_t desc_len = (uint64_t)c->size * sizeof(struct vring_packed_desc);
	int err = 0;
	struct vring_packed_desc *desc = vq_find(q, c->desc, desc_len, VRING_DESC_ALIGN_SIZE, &err);
	const struct vring_packed_desc_event *driver = vq_find(q, c->avail, event_len, event_len, &err);
	struct vring_packed_desc_event *device = vq_find(q, c->used, event_len, event_len, &err);

	if (err)
		return err;
	q->p.desc = desc;
	q->p.driver = driver;
	q->p.device = device;
	return 0;
}

static int packed_start(struct vq *q)
{
	uint32_t base = q->conf.base, code = base >> 16 ? base >> 16 : base;
	uint32_t pos = pos_decode(q, code);

	if ((base & (WRAP - 1)) >= q->conf.size || (code & (WRAP - 1)) >= q->conf.size)
		return -EINVAL;
	/*
	 * The same in another lap, if there was one: of that tells the first descriptor. So it works also with who has but one position,
	 * and starts with 0.
	 */
	if (!base && !(load16(&q->p.desc[0].flags, __ATOMIC_RELAXED) & F_USED))
		pos = 0;
	/* What somebody else took and did not give back is available still. */
	q->p.next = q->p.done = q->p.shown = pos;
	return 0;
}

static uint32_t packed_base(const struct vq *q)
{
	uint32_t code = pos_encode(q, q->p.done);

	return code | code << 16;
}

static struct iovec packed_used_area(const struct vq *q)
{
	return (struct iovec){ .iov_base = q->p.desc, .iov_len = q->conf.size * sizeof(*q->p.desc) };
}

/* --- available chains --- */

/* Section 2.8.1: available in this lap, and not used yet. */
static bool is_available(const struct vq *q, uint32_t pos)
{
	/* What the guest wrote before the flags has to be seen after them. */
	uint16_t flags = load16(&desc_at(q, pos)->flags, __ATOMIC_ACQUIRE);
	bool wrap = pos_wrap(q, pos);

	return !(flags & F_AVAIL) != wrap && !(flags & F_USED) == wrap;
}

/* All in front of a descriptor that is available are available, too. */
static void most_update(struct vq *q)
{
	while (q->most < q->conf.size && is_available(q, pos_add(q, q->p.next, q->most)))
		q->most++;
}

static int packed_look(struct vq *q)
{
	if (q->p.again)
		return 1;
	if (q->p.taken == VQ_TAKEN || !is_available(q, q->p.next))
		return 0;
	/* Only those queues are waited for that lead to the guest; once is enough for all that is taken in one go. */
	if (q->conf.write && !q->p.taken)
		most_update(q);
	return 1;
}

/*
 * Puts the descriptors of n chains to where they were. What was given back and not shown looks like used ones, and would be taken for
 * such as soon as the first of them is.
 */
static void chains_restore(struct vq *q, unsigned n)
{
	uint32_t pos = q->p.done;

	for (unsigned i = 0; i < n; i++) {
		uint16_t entry = q->p.entry[i];

		for (unsigned k = 0; k < q->p.descs[i]; k++) {
			struct vring_packed_desc d = inflight_desc(&q->p.notes, &entry), *to = desc_at(q, pos);
			uint32_t flags = d.flags & ~(F_AVAIL | F_USED);

			to->addr = htole64(d.addr);
			to->len = htole32(d.len);
			to->id = htole16(d.id);
			store16(&to->flags, flags | (pos_wrap(q, pos) ? F_AVAIL : F_USED), __ATOMIC_RELEASE);
			pos = pos_add(q, pos, 1);
		}
	}
}

/* Chains that a predecessor had taken are taken again, as they were noted. */
static int notes_resume(struct vq *q)
{
	struct vq_packed *p = &q->p;
	uint16_t old;
	int n, err = inflight_resume(&p->notes, q->conf.notes, q->conf.size, &old);

	if (err)
		return err;
	inflight_settle(&p->notes, !is_available(q, pos_decode(q, old)));
	n = inflight_chains(&p->notes, p->entry, p->descs);
	if (n < 0)
		return n;
	p->next = p->done = p->shown = pos_decode(q, inflight_used(&p->notes));
	p->again = (uint32_t)n;
	for (int i = 0; i < n; i++)
		p->ahead += p->descs[i];
	chains_restore(q, (unsigned)n);
	return 0;
}

static void packed_note(struct vq *q)
{
	if (!q->conf.resume || notes_resume(q))
		inflight_start(&q->p.notes, q->conf.notes, q->conf.size, (uint16_t)pos_encode(q, q->p.done));
}

static struct vring_packed_desc desc_load(const struct vring_packed_desc *d)
{
	return (struct vring_packed_desc){
		.addr = le64toh(__atomic_load_n(&d->addr, __ATOMIC_RELAXED)),
		.len = le32toh(__atomic_load_n(&d->len, __ATOMIC_RELAXED)),
		.id = load16(&d->id, __ATOMIC_RELAXED),
		.flags = load16(&d->flags, __ATOMIC_RELAXED),
	};
}

static int desc_piece(const struct vq *q, const struct vring_packed_desc *d, vq_piece_fn *fn, void *ctx)
{
	if (!(d->flags & VRING_DESC_F_WRITE) == q->conf.write)
		return -EBADMSG;
	return fn(ctx, q->mem, d->addr, d->len);
}

/* All entries of the table that d points to; it is the last one of a chain, and there is none in a table (section 2.8.7). */
static int table_walk(const struct vq *q, const struct vring_packed_desc *d, vq_piece_fn *fn, void *ctx)
{
	uint32_t entries = vq_table_entries(q, d->len);
	int err = entries && !(d->flags & VRING_DESC_F_NEXT) ? 0 : -EBADMSG;

	for (uint32_t i = 0; i < entries && !err; i++) {
		struct vring_packed_desc e;

		err = vq_table_read(q, d->addr, i, &e);
		if (err)
			break;
		e = desc_load(&e);
		err = e.flags & VRING_DESC_F_INDIRECT ? -EBADMSG : desc_piece(q, &e, fn, ctx);
	}
	return err;
}

/* Where the descriptors of the next chain are read from. */
struct source {
	uint32_t pos;
	bool noted; /* it was taken before: only what was noted then is known to be what it was */
	uint16_t entry, left; /* if noted */
};

static struct vring_packed_desc source_next(const struct vq *q, struct source *s)
{
	struct vring_packed_desc d;

	if (!s->noted) {
		d = desc_load(desc_at(q, s->pos));
		s->pos = pos_add(q, s->pos, 1);
		return d;
	}
	d = inflight_desc(&q->p.notes, &s->entry);
	/* It has as many as it had at first, whatever the flags say now. */
	d.flags &= (uint16_t)~VRING_DESC_F_NEXT;
	d.flags |= --s->left ? VRING_DESC_F_NEXT : 0;
	return d;
}

/* To the end of the chain, also when there is no place for its pieces any more. */
static int packed_walk(const struct vq *q, vq_piece_fn *fn, void *ctx, struct vq_item *ret_item)
{
	uint32_t left = q->conf.size - q->p.out, slot = (q->p.taken_at + q->p.taken) % VQ_TAKEN;
	struct source s = { .pos = q->p.next, .noted = q->p.again, .entry = q->p.entry[slot], .left = q->p.descs[slot] };
	struct vring_packed_desc d;
	uint16_t n = 0;
	int full = 0;

	do {
		int err = 0;

		/* Longer than the ring. */
		if (n == left)
			return -EBADMSG;
		d = source_next(q, &s);
		n++;
		if (!full)
			err = d.flags & VRING_DESC_F_INDIRECT ? table_walk(q, &d, fn, ctx) : desc_piece(q, &d, fn, ctx);
		if (err && err != -ENOBUFS)
			return err;
		full |= err;
	} while (d.flags & VRING_DESC_F_NEXT);
	/* The name stands in the last one (section 2.8.6). */
	*ret_item = (struct vq_item){ .head = d.id, .descs = n };
	return full;
}

/* What the guest has changed since the walk is found out when somebody goes on with it. */
static uint16_t chain_note(struct vq *q, uint16_t descs)
{
	uint16_t entry = inflight_begin(&q->p.notes);

	for (uint16_t i = 0; i < descs; i++) {
		struct vring_packed_desc d = desc_load(desc_at(q, pos_add(q, q->p.next, i)));

		inflight_add(&q->p.notes, entry, &d);
	}
	inflight_end(&q->p.notes, entry);
	return entry;
}

static void packed_take(struct vq *q, const struct vq_item *item)
{
	struct vq_packed *p = &q->p;
	uint32_t slot = (p->taken_at + p->taken++) % VQ_TAKEN;

	if (p->again)
		p->again--;
	else if (p->notes.at)
		p->entry[slot] = chain_note(q, item->descs);
	p->descs[slot] = item->descs;
	p->next = pos_add(q, p->next, item->descs);
	p->out += item->descs;
	p->ahead -= MIN(p->ahead, (uint32_t)item->descs);
}

static void packed_untake(struct vq *q, unsigned n)
{
	struct vq_packed *p = &q->p;

	for (; n && p->taken; n--) {
		uint32_t descs = p->descs[(p->taken_at + --p->taken) % VQ_TAKEN];

		p->next = pos_add(q, p->next, 2u * q->conf.size - descs);
		p->out -= descs;
		p->ahead += descs;
		p->again += p->notes.at ? 1 : 0;
	}
}

/* --- used chains --- */

static void packed_push(struct vq *q, uint16_t head, uint32_t len)
{
	struct vq_packed *p = &q->p;
	struct vring_packed_desc *d = desc_at(q, p->done);
	uint32_t flags = pos_wrap(q, p->done) ? F_AVAIL | F_USED : 0;
	uint32_t descs;

	if (!p->taken)
		return;
	if (q->conf.write && len)
		flags |= VRING_DESC_F_WRITE;
	__atomic_store_n(&d->id, htole16(head), __ATOMIC_RELAXED);
	__atomic_store_n(&d->len, htole32(len), __ATOMIC_RELAXED);
	/* The guest looks at the first one, and at what is behind it only when that is used. */
	if (p->done == p->shown)
		p->first_flags = (uint16_t)flags;
	else
		store16(&d->flags, flags, __ATOMIC_RELAXED);
	if (p->notes.at)
		inflight_give_back(&p->notes, p->entry[p->taken_at]);
	descs = p->descs[p->taken_at % VQ_TAKEN];
	p->taken_at = (p->taken_at + 1) % VQ_TAKEN;
	p->taken--;
	p->out -= descs;
	p->done = pos_add(q, p->done, descs);
}

/* Section 2.8.10: whether what became used up to now includes what the guest waits for. */
static bool call_wanted(const struct vq *q, bool known, uint32_t old)
{
	uint16_t how = load16(&q->p.driver->flags, __ATOMIC_RELAXED);
	uint32_t event;

	if (!q->conf.event_idx || how != VRING_PACKED_EVENT_FLAG_DESC)
		return how != VRING_PACKED_EVENT_FLAG_DISABLE;
	/* Where the guest's last call was before the queue was started is not known: one too many is harmless. */
	if (!known)
		return true;
	event = pos_decode(q, load16(&q->p.driver->off_wrap, __ATOMIC_RELAXED));
	return pos_from(q, event, q->p.shown) - 1 < pos_from(q, old, q->p.shown);
}

static bool packed_publish(struct vq *q)
{
	struct vq_packed *p = &q->p;
	uint32_t old = p->call_at;
	bool known = q->call_known;

	if (p->done == p->shown)
		return false;
	if (p->notes.at)
		inflight_show(&p->notes, (uint16_t)pos_encode(q, p->done));
	/* All the others before this; this before we look whether the guest wants a call, as it does it the other way round. */
	store16(&desc_at(q, p->shown)->flags, p->first_flags, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (p->notes.at)
		inflight_shown(&p->notes);
	p->shown = p->call_at = p->done;
	q->call_known = true;
	return call_wanted(q, known, old);
}

static bool packed_want_kick(struct vq *q, enum vq_kick when)
{
	struct vring_packed_desc_event *e = q->p.device;
	uint32_t last = pos_add(q, q->p.next, vq_kick_after(q, when, q->p.ahead) - 1);

	if (when == VQ_QUIET) {
		store16(&e->flags, VRING_PACKED_EVENT_FLAG_DISABLE, __ATOMIC_RELAXED);
		return false;
	}
	store16(&e->off_wrap, pos_encode(q, last), __ATOMIC_RELAXED);
	store16(&e->flags, q->conf.event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return is_available(q, last);
}

const struct vq_ops vq_packed_ops = {
	.find = packed_find,
	.start = packed_start,
	.note = packed_note,
	.base = packed_base,
	.used_area = packed_used_area,
	.look = packed_look,
	.walk = packed_walk,
	.take = packed_take,
	.untake = packed_untake,
	.push = packed_push,
	.publish = packed_publish,
	.want_kick = packed_want_kick,
};
