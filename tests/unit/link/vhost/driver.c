/* SPDX-License-Identifier: MIT */
#include "driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HALF (DRV_MEM / 2)

void drv_mem_init(struct drv *d, struct vmem *m)
{
	struct vmem_region low = { .guest = DRV_GUEST, .size = HALF, .user = DRV_USER, .offset = HALF };
	struct vmem_region high = { .guest = DRV_HALF, .size = HALF, .user = DRV_USER + HALF, .offset = 0 };

	*d = (struct drv){ .fd = memfd_create("guest", MFD_CLOEXEC) };
	assert_int_equal(ftruncate(d->fd, DRV_MEM), 0);
	d->file = mmap(NULL, DRV_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
	assert_ptr_not_equal(d->file, MAP_FAILED);
	assert_int_equal(vmem_add(m, &low, d->fd), 0);
	assert_int_equal(vmem_add(m, &high, d->fd), 0);
}

void drv_mem_fini(struct drv *d)
{
	munmap(d->file, DRV_MEM);
	close(d->fd);
}

uint8_t *drv_at(struct drv *d, uint64_t guest, size_t len)
{
	assert_in_range(guest, DRV_GUEST, DRV_GUEST + DRV_MEM - len);
	if (guest >= DRV_HALF)
		return d->file + (guest - DRV_HALF);
	assert_true(guest + len <= DRV_HALF);
	return d->file + HALF + (guest - DRV_GUEST);
}

void drv_put16(struct drv *d, uint64_t guest, uint16_t v)
{
	v = htole16(v);
	memcpy(drv_at(d, guest, 2), &v, 2);
}

uint16_t drv_get16(struct drv *d, uint64_t guest)
{
	uint16_t v;

	memcpy(&v, drv_at(d, guest, 2), 2);
	return le16toh(v);
}

static void put32(struct drv *d, uint64_t guest, uint32_t v)
{
	v = htole32(v);
	memcpy(drv_at(d, guest, 4), &v, 4);
}

static uint32_t get32(struct drv *d, uint64_t guest)
{
	uint32_t v;

	memcpy(&v, drv_at(d, guest, 4), 4);
	return le32toh(v);
}

void drv_ring_init(struct drv *d, uint16_t size, uint64_t base, bool event_idx)
{
	uint64_t end;

	d->size = size;
	d->event_idx = event_idx;
	d->desc_at = 0;
	d->desc = DRV_GUEST + (d->ring_at ? d->ring_at : 0x1000);
	d->avail = d->desc + 16u * size;
	d->used = (d->avail + 6 + 2u * size + 3) / 4 * 4;
	end = d->used + 6 + 8u * size;
	assert_true(end <= DRV_ROOM);
	memset(drv_at(d, d->desc, end - d->desc), 0, end - d->desc);
	d->added = d->kicked = d->reaped = base;
	drv_put16(d, d->avail + 2, (uint16_t)base);
	drv_put16(d, d->used + 2, (uint16_t)base);
	/* Until somebody says otherwise, each used chain is of interest. */
	drv_put16(d, d->avail + 4 + 2u * size, (uint16_t)base);
}

void drv_desc(struct drv *d, uint64_t table, unsigned i, const struct drv_piece *p, unsigned flags, uint16_t next)
{
	uint64_t at = table + 16u * i;

	put32(d, at, (uint32_t)p->addr);
	put32(d, at + 4, (uint32_t)(p->addr >> 32));
	put32(d, at + 8, p->len);
	drv_put16(d, at + 12, (uint16_t)flags);
	drv_put16(d, at + 14, next);
}

static uint32_t rnd(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

void drv_desc_any(struct drv *d, uint64_t table, unsigned i, uint32_t *seed)
{
	struct drv_piece p = { .addr = DRV_GUEST + rnd(seed) % (DRV_MEM + 100), .len = rnd(seed) % 5000 };
	unsigned flags;

	switch (rnd(seed) % 8) {
	case 0:
		p.addr = (uint64_t)rnd(seed) << 40 | rnd(seed);
		break;
	case 1:
		p.len = rnd(seed) << 8 | 0xff;
		break;
	case 2:
	case 3:
		p = (struct drv_piece){ .addr = DRV_ROOM + 16 * (rnd(seed) % 4), .len = 16 * (rnd(seed) % 10) };
		break;
	}
	flags = rnd(seed) % 8 & (rnd(seed) % 2 ? 5 : 7);
	drv_desc(d, table, i, &p, flags, (uint16_t)(rnd(seed) % (d->size + 1u)));
}

void drv_avail(struct drv *d, uint16_t head)
{
	drv_put16(d, d->avail + 4 + 2 * (d->added % d->size), head);
	d->added++;
	__sync_synchronize();
	drv_put16(d, d->avail + 2, (uint16_t)(d->added % 65536));
}

uint16_t drv_add(struct drv *d, const struct drv_piece *p, unsigned n, unsigned flags)
{
	uint16_t head = (uint16_t)(d->desc_at % d->size);

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = (uint16_t)(d->desc_at++ % d->size);
		unsigned more = i + 1 < n ? DRV_NEXT : 0;

		drv_desc(d, d->desc, at, &p[i], flags | more, (uint16_t)(more ? d->desc_at % d->size : 0xdead));
	}
	drv_avail(d, head);
	return head;
}

uint16_t drv_add_indirect(struct drv *d, uint64_t table, const struct drv_piece *p, unsigned n, unsigned flags)
{
	struct drv_piece whole = { .addr = table, .len = 16 * n };

	for (unsigned i = 0; i < n; i++) {
		unsigned more = i + 1 < n ? DRV_NEXT : 0;

		drv_desc(d, table, i, &p[i], flags | more, (uint16_t)(i + 1));
	}
	return drv_add(d, &whole, 1, DRV_INDIRECT);
}

bool drv_kick(struct drv *d)
{
	uint64_t from = d->kicked;

	d->kicked = d->added;
	if (!d->event_idx)
		return !(drv_get16(d, d->used) & 1);
	/* Section 2.7.10: when the entry with that number has been written. */
	for (uint64_t i = from; i < d->added; i++) {
		if (i % 65536 == drv_get16(d, d->used + 4 + 8u * d->size))
			return true;
	}
	return false;
}

uint64_t drv_used_total(struct drv *d)
{
	uint64_t total = d->reaped;

	while (total % 65536 != drv_get16(d, d->used + 2))
		total++;
	return total;
}

struct drv_used drv_reap(struct drv *d)
{
	uint64_t at = d->used + 4 + 8 * (d->reaped % d->size);

	assert_true(drv_used_total(d) > d->reaped);
	d->reaped++;
	return (struct drv_used){ .id = get32(d, at), .len = get32(d, at + 4) };
}

void drv_want_call(struct drv *d, bool want, uint64_t after)
{
	drv_put16(d, d->avail, want ? 0 : 1);
	drv_put16(d, d->avail + 4 + 2u * d->size, (uint16_t)(after % 65536));
}
