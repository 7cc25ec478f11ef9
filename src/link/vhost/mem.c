/* SPDX-License-Identifier: MIT */
#include "link/vhost/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The region whose mapping holds addr; NULL. */
static struct vmem_slot *slot_at(const struct vmem *m, const void *addr)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct vmem_slot *s = &m->slot[m->order[i]];

		if ((uintptr_t)addr - (uintptr_t)s->map < s->map_len)
			return (struct vmem_slot *)s;
	}
	return NULL;
}

/* All of the region: pages of a huge page can't be replaced one by one. */
static bool mem_fix(void *ctx, void *addr)
{
	struct vmem *m = ctx;
	const struct vmem_slot *s = slot_at(m, addr);

	if (!s || mmap(s->map, s->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		       0) == MAP_FAILED)
		return false;
	m->torn = true;
	return true;
}

int vmem_init(struct vmem *m)
{
	*m = (struct vmem){ .guard = { .fix = mem_fix, .ctx = m } };
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

	if (!r->size || r->guest > most || r->user > most || r->offset > INT64_MAX || r->size > (uint64_t)INT64_MAX - r->offset)
		return -EINVAL;
	for (unsigned i = 0; i < m->n; i++) {
		const struct vmem_region *other = &m->slot[m->order[i]].r;

		if (ranges_meet(r->guest, r->size, other->guest, other->size))
			return -EEXIST;
	}
	return m->n < VMEM_REGIONS ? 0 : -ENOSPC;
}

static int region_map(const struct vmem_region *r, int fd, struct vmem_slot *ret_slot)
{
	struct stat st;
	uint64_t page, skip;
	void *p;

	if (fstat(fd, &st))
		return -errno;
	/* A device has no size that could be compared. */
	if (S_ISREG(st.st_mode) && (st.st_size < 0 || r->offset + r->size > (uint64_t)st.st_size))
		return -EFBIG;
	/* Of huge pages only whole ones can be mapped; the file system tells their size here. */
	page = (uint64_t)MAX(st.st_blksize, 4096);
	if (page & (page - 1))
		page = 4096;
	skip = r->offset & (page - 1);
	if (r->size > SIZE_MAX - 2 * page)
		return -EINVAL;
	ret_slot->map_len = (size_t)((skip + r->size + page - 1) & ~(page - 1));
	p = mmap(NULL, ret_slot->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)(r->offset - skip));
	if (p == MAP_FAILED)
		return -errno;
	ret_slot->r = *r;
	ret_slot->map = p;
	ret_slot->host = (uint8_t *)p + skip;
	return 0;
}

static unsigned slot_free(const struct vmem *m)
{
	unsigned i = 0;

	while (m->slot[i].host)
		i++;
	return i;
}

int vmem_add(struct vmem *m, const struct vmem_region *r, int fd)
{
	int err = region_check(m, r);
	unsigned at, slot;

	if (err)
		return err;
	slot = slot_free(m);
	err = region_map(r, fd, &m->slot[slot]);
	if (err)
		return err;
	at = order_find(m, r->guest);
	memmove(&m->order[at + 1], &m->order[at], (m->n - at) * sizeof(m->order[0]));
	m->order[at] = (uint16_t)slot;
	m->n++;
	return 0;
}

static void order_del(struct vmem *m, unsigned at)
{
	struct vmem_slot *s = &m->slot[m->order[at]];

	munmap(s->map, s->map_len);
	*s = (struct vmem_slot){ .host = NULL };
	m->n--;
	memmove(&m->order[at], &m->order[at + 1], (m->n - at) * sizeof(m->order[0]));
}

int vmem_del(struct vmem *m, const struct vmem_region *r)
{
	unsigned at = order_find(m, r->guest);
	const struct vmem_region *found = at < m->n ? &m->slot[m->order[at]].r : NULL;

	if (!found || found->guest != r->guest || found->user != r->user || found->size != r->size)
		return -ENOENT;
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
	return s->host + (guest - s->r.guest);
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
			return s->host + off;
	}
	return NULL;
}

int vmem_guest(const struct vmem *m, const void *host, uint64_t *ret_guest)
{
	const struct vmem_slot *s = slot_at(m, host);
	uint64_t off;

	if (!s || (uintptr_t)host < (uintptr_t)s->host)
		return -EFAULT;
	off = (uintptr_t)host - (uintptr_t)s->host;
	if (off >= s->r.size)
		return -EFAULT;
	*ret_guest = s->r.guest + off;
	return 0;
}
