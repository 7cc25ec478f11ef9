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

/* --- a packed ring --- */

/* The wrap counter of the lap that a descriptor belongs to. */
static bool lap_wrap(const struct drv *d, uint64_t at)
{
	return at / d->size % 2 == 0;
}

static uint16_t lap_code(const struct drv *d, uint64_t at)
{
	return (uint16_t)(at % d->size | (lap_wrap(d, at) ? 0x8000u : 0));
}

/* All descriptors were used: those in front of base in its lap, the others in the one before. */
static void packed_init(struct drv *d, uint64_t base)
{
	for (unsigned i = 0; i < d->size; i++) {
		bool wrap = lap_wrap(d, base) == (i < base % d->size);

		drv_put16(d, d->desc + 16u * i + 14, wrap ? DRV_AVAIL | DRV_USED : 0);
	}
	d->desc_at = d->desc_kicked = d->desc_reaped = (unsigned)base;
	/* As for split rings: each used chain is of interest. */
	drv_put16(d, d->avail, lap_code(d, base));
	drv_put16(d, d->avail + 2, d->event_idx ? 2 : 0);
}

static uint16_t packed_add(struct drv *d, const struct drv_piece *p, unsigned n, unsigned flags)
{
	uint16_t name = (uint16_t)(d->added % d->size);
	unsigned first = d->desc_at;

	assert_in_range(d->size, 1, DRV_NAMES);
	for (unsigned i = n; i--;) {
		unsigned at = first + i, lap = lap_wrap(d, at) ? DRV_AVAIL : DRV_USED;

		/* The first one's flags come last. */
		drv_desc(d, d->desc, at % d->size, &p[i], flags | (i + 1 < n ? DRV_NEXT : 0) | lap, name);
	}
	d->descs[name] = (uint16_t)n;
	d->desc_at += n;
	d->added++;
	return name;
}

/* The event of the device: true if one of the descriptors from the last question on is what it waits for. */
static bool packed_kick(struct drv *d)
{
	uint16_t how = drv_get16(d, d->used + 2), event = drv_get16(d, d->used);
	unsigned from = d->desc_kicked;

	d->desc_kicked = d->desc_at;
	assert_in_range(how, 0, d->event_idx ? 2 : 1);
	for (; how == 2 && from < d->desc_at; from++) {
		if (lap_code(d, from) == event)
			return true;
	}
	return how == 0;
}

/* The used chain at this descriptor, if it is one. */
static bool packed_used(struct drv *d, unsigned at, struct drv_used *ret_used)
{
	uint64_t desc = d->desc + 16u * (at % d->size);
	uint16_t flags = drv_get16(d, desc + 14);

	if (at == d->desc_at || !(flags & DRV_AVAIL) == lap_wrap(d, at) || !(flags & DRV_USED) == lap_wrap(d, at))
		return false;
	*ret_used = (struct drv_used){ .id = drv_get16(d, desc + 12), .len = get32(d, desc + 8) };
	/* Its length counts if something was written. */
	if (!(flags & DRV_WRITE))
		assert_int_equal(ret_used->len, 0);
	assert_in_range(ret_used->id, 0, d->size - 1u);
	return true;
}

static uint64_t packed_used_total(struct drv *d)
{
	uint64_t total = d->reaped;
	struct drv_used u;

	for (unsigned at = d->desc_reaped; packed_used(d, at, &u); at += d->descs[u.id])
		total++;
	return total;
}

/* --- both --- */

uint32_t drv_base(const struct drv *d, uint64_t chains)
{
	return d->packed ? lap_code(d, chains) * 0x10001u : (uint32_t)(chains % 65536);
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
	if (d->packed) {
		packed_init(d, base);
		return;
	}
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
	drv_put16(d, at + (d->packed ? 12 : 14), next);
	drv_put16(d, at + (d->packed ? 14 : 12), (uint16_t)flags);
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
	/* In a packed ring some are available in one lap, and some in the other. */
	if (d->packed)
		flags |= rnd(seed) % 4 ? (rnd(seed) % 2 ? DRV_AVAIL : DRV_USED) : rnd(seed) % 2 * (DRV_AVAIL | DRV_USED);
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

	if (d->packed)
		return packed_add(d, p, n, flags);
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
		unsigned more = i + 1 < n && !d->packed ? DRV_NEXT : 0;

		drv_desc(d, table, i, &p[i], flags | more, (uint16_t)(i + 1));
	}
	return drv_add(d, &whole, 1, DRV_INDIRECT);
}

bool drv_kick(struct drv *d)
{
	uint64_t from = d->kicked;

	d->kicked = d->added;
	if (d->packed)
		return packed_kick(d);
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

	if (d->packed)
		return packed_used_total(d);
	while (total % 65536 != drv_get16(d, d->used + 2))
		total++;
	return total;
}

struct drv_used drv_reap(struct drv *d)
{
	uint64_t at = d->used + 4 + 8 * (d->reaped % d->size);

	assert_true(drv_used_total(d) > d->reaped);
	d->reaped++;
	if (d->packed) {
		struct drv_used u = { 0 };

		assert_true(packed_used(d, d->desc_reaped, &u));
		d->desc_reaped += d->descs[u.id];
		return u;
	}
	return (struct drv_used){ .id = get32(d, at), .len = get32(d, at + 4) };
}

void drv_want_call(struct drv *d, bool want, uint64_t after)
{
	if (d->packed) {
		drv_put16(d, d->avail, lap_code(d, after));
		drv_put16(d, d->avail + 2, d->event_idx ? 2 : want ? 0 : 1);
		return;
	}
	drv_put16(d, d->avail, want ? 0 : 1);
	drv_put16(d, d->avail + 4 + 2u * d->size, (uint16_t)(after % 65536));
}
