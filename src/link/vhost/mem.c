/* SPDX-License-Identifier: MIT */
#include "link/vhost/mem.h"

#include <errno.h>
#include <string.h>

/* The region whose mapping holds addr; NULL. */
static struct vmem_slot *slot_at(const struct vmem *m, const void *addr)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct vmem_slot *s = &m->slot[m->order[i]];

		if (filemap_holds(&s->file, addr))
			return (struct vmem_slot *)s;
	}
	return NULL;
}

static bool mem_holds(void *ctx, void *addr)
{
	return slot_at(ctx, addr);
}

static bool mem_fix(void *ctx, void *addr)
{
	struct vmem *m = ctx;
	const struct vmem_slot *s = slot_at(m, addr);

	if (!s || !filemap_replace(&s->file))
		return false;
	m->torn = true;
	return true;
}

int vmem_init(struct vmem *m)
{
	*m = (struct vmem){ .guard = { .holds = mem_holds, .fix = mem_fix, .ctx = m } };
	return busguard_add(&m->guard);
}

void vmem_fini(struct vmem *m)
{
	vmem_clear(m);
	busguard_del(&m->guard);
}

/* Position in the order of the first region that ends behind guest. */
static unsigned order_find(const struct vmem *m, uint64_t guest)
{
	unsigned lo = 0, hi = m->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct vmem_region *r = &m->slot[m->order[mid]].r;

		if (guest - r->guest < r->size || guest < r->guest)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static bool ranges_meet(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

static int region_check(const struct vmem *m, const struct vmem_region *r)
{
	uint64_t most = UINT64_MAX - r->size;

	if (r->guest > most || r->user > most)
		return -EINVAL;
	for (unsigned i = 0; i < m->n; i++) {
		const struct vmem_region *other = &m->slot[m->order[i]].r;

		if (ranges_meet(r->guest, r->size, other->guest, other->size))
			return -EEXIST;
	}
	return m->n < VMEM_REGIONS ? 0 : -ENOSPC;
}

static unsigned slot_free(const struct vmem *m)
{
	unsigned i = 0;

	while (m->slot[i].file.at)
		i++;
	return i;
}

/* The region with these two addresses and this size, and its place in the order; NULL. */
static struct vmem_slot *slot_of(struct vmem *m, const struct vmem_region *r, unsigned *ret_at)
{
	unsigned at = order_find(m, r->guest);
	struct vmem_slot *s = at < m->n ? &m->slot[m->order[at]] : NULL;

	if (!s || s->r.guest != r->guest || s->r.user != r->user || s->r.size != r->size)
		return NULL;
	*ret_at = at;
	return s;
}

int vmem_add(struct vmem *m, const struct vmem_region *r, int fd)
{
	unsigned at, slot;
	struct vmem_slot *same = slot_of(m, r, &at);
	int err;

	if (same && same->r.offset == r->offset && same->added < UINT32_MAX) {
		same->added++;
		return 0;
	}
	err = region_check(m, r);
	if (err)
		return err;
	slot = slot_free(m);
	err = filemap_open(fd, r->size, r->offset, &m->slot[slot].file);
	if (err)
		return err;
	m->slot[slot].r = *r;
	m->slot[slot].added = 1;
	at = order_find(m, r->guest);
	memmove(&m->order[at + 1], &m->order[at], (m->n - at) * sizeof(m->order[0]));
	m->order[at] = (uint16_t)slot;
	m->n++;
	return 0;
}

static void order_del(struct vmem *m, unsigned at)
{
	filemap_close(&m->slot[m->order[at]].file);
	m->n--;
	memmove(&m->order[at], &m->order[at + 1], (m->n - at) * sizeof(m->order[0]));
}

int vmem_del(struct vmem *m, const struct vmem_region *r)
{
	unsigned at;
	struct vmem_slot *s = slot_of(m, r, &at);

	if (!s)
		return -ENOENT;
	if (!--s->added)
		order_del(m, at);
	return 0;
}

void vmem_clear(struct vmem *m)
{
	while (m->n)
		order_del(m, m->n - 1);
	m->torn = false;
}

static int iovs_add(struct vmem_iovs *v, uint8_t *p, size_t len)
{
	struct iovec *last = v->n ? &v->iov[v->n - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == p) {
		last->iov_len += len;
		return 0;
	}
	if (v->n == v->room)
		return -ENOBUFS;
	v->iov[v->n++] = (struct iovec){ .iov_base = p, .iov_len = len };
	return 0;
}

/* The first bytes of a range, as many as lie in the region at this position of the order; NULL if it does not begin there. */
static uint8_t *range_part(const struct vmem *m, unsigned at, uint64_t guest, uint64_t len, uint64_t *ret_part)
{
	const struct vmem_slot *s = at < m->n ? &m->slot[m->order[at]] : NULL;

	if (!s || guest < s->r.guest || guest - s->r.guest >= s->r.size)
		return NULL;
	*ret_part = MIN(len, s->r.size - (guest - s->r.guest));
	return s->file.at + (guest - s->r.guest);
}

int vmem_iov(const struct vmem *m, uint64_t guest, uint64_t len, struct vmem_iovs *v)
{
	for (unsigned at = order_find(m, guest); len; at++) {
		uint64_t part = 0;
		uint8_t *p = range_part(m, at, guest, len, &part);
		int err = p ? iovs_add(v, p, (size_t)part) : -EFAULT;

		if (err)
			return err;
		guest += part;
		len -= part;
	}
	return 0;
}

int vmem_read(const struct vmem *m, uint64_t guest, void *dst, size_t len)
{
	size_t done = 0;

	for (unsigned at = order_find(m, guest); done < len; at++) {
		uint64_t part = 0;
		uint8_t *p = range_part(m, at, guest + done, len - done, &part);

		if (!p)
			return -EFAULT;
		memcpy((uint8_t *)dst + done, p, (size_t)part);
		done += (size_t)part;
	}
	/* The compiler may not go back to the guest's memory for what it has in the copy. */
	__asm__ volatile("" ::: "memory");
	return 0;
}

void *vmem_user(const struct vmem *m, uint64_t user, uint64_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct vmem_slot *s = &m->slot[m->order[i]];
		uint64_t off = user - s->r.user;

		if (user >= s->r.user && off < s->r.size && len <= s->r.size - off)
			return s->file.at + off;
	}
	return NULL;
}

int vmem_guest(const struct vmem *m, const void *host, uint64_t *ret_guest)
{
	const struct vmem_slot *s = slot_at(m, host);
	uint64_t off;

	if (!s || (uintptr_t)host < (uintptr_t)s->file.at)
		return -EFAULT;
	off = (uintptr_t)host - (uintptr_t)s->file.at;
	if (off >= s->r.size)
		return -EFAULT;
	*ret_guest = s->r.guest + off;
	return 0;
}
