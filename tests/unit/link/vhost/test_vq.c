/* SPDX-License-Identifier: MIT */
/* A virtqueue of either format between the device's half and a driver that keeps to the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/iov.h"
#include "driver.h"
#include "link/vhost/vq.h"

#define ROOM 64u

struct world {
	struct vmem m;
	struct drv d;
	struct vq q;
	struct iovec iov[ROOM];
	struct vq_chain c;
	uint32_t seed;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_int_equal(vmem_init(&w->m), 0);
	drv_mem_init(&w->d, &w->m);
	w->d.packed = *state;
	w->seed = 1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	drv_mem_fini(&w->d);
	vmem_fini(&w->m);
	free(w);
	return 0;
}

static uint32_t rnd(struct world *w, uint32_t below)
{
	w->seed = w->seed * 1664525u + 1013904223u;
	return (w->seed >> 8) % below;
}

static struct vq_conf conf_of(struct world *w, bool write)
{
	return (struct vq_conf){
		.desc = w->d.desc - DRV_GUEST + DRV_USER,
		.avail = w->d.avail - DRV_GUEST + DRV_USER,
		.used = w->d.used - DRV_GUEST + DRV_USER,
		.size = w->d.size,
		.base = drv_base(&w->d, w->d.added),
		.write = write,
		.packed = w->d.packed,
		.event_idx = w->d.event_idx,
		.indirect = true,
	};
}

static void start(struct world *w, uint16_t size, uint64_t base, bool event_idx, bool write)
{
	struct vq_conf c;

	drv_ring_init(&w->d, size, base, event_idx);
	c = conf_of(w, write);
	assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
}

static int pop(struct world *w)
{
	return vq_pop(&w->q, w->iov, ROOM, &w->c);
}

/* Fills a piece with bytes that depend on its address. */
static void fill(struct world *w, const struct drv_piece *p)
{
	for (uint32_t i = 0; i < p->len; i++)
		*drv_at(&w->d, p->addr + i, 1) = (uint8_t)((p->addr + i) * 2654435761u >> 24);
}

/* The chain that was popped is made of these pieces. */
static void assert_chain(struct world *w, uint16_t head, const struct drv_piece *p, unsigned n)
{
	size_t len = 0;

	assert_int_equal(w->c.head, head);
	for (unsigned i = 0; i < n; i++) {
		for (uint32_t b = 0; b < p[i].len; b++) {
			uint8_t got;

			assert_int_equal(iov_copy_out(w->iov, w->c.n, len + b, &got, 1), 1);
			assert_int_equal(got, *drv_at(&w->d, p[i].addr + b, 1));
		}
		len += p[i].len;
	}
	assert_int_equal(w->c.len, len);
	assert_int_equal(iov_len(w->iov, w->c.n), len);
}

static void assert_used(struct world *w, uint32_t id, uint32_t len)
{
	struct drv_used u = drv_reap(&w->d);

	assert_int_equal(u.id, id);
	assert_int_equal(u.len, len);
}

static void test_empty_ring(void **state)
{
	struct world *w = *state;

	start(w, 8, 0, false, false);
	assert_true(vq_running(&w->q));
	assert_int_equal(pop(w), 0);
	assert_false(vq_publish(&w->q));
	assert_int_equal(vq_stop(&w->q), drv_base(&w->d, 0));
	assert_false(vq_running(&w->q));
}

static void test_start_checks_its_ring(void **state)
{
	struct world *w = *state;
	struct vq_conf good, c;

	drv_ring_init(&w->d, 8, 0, false);
	good = conf_of(w, false);
	assert_int_equal(vq_start(&w->q, &w->m, &good), 0);
	for (unsigned size = 0; size < 70; size++) {
		bool power = size == 1 || size == 2 || size == 4 || size == 8 || size == 16 || size == 32 || size == 64;

		c = good;
		c.size = (uint16_t)size;
		assert_int_equal(vq_start(&w->q, &w->m, &c), power ? 0 : -EINVAL);
	}
	c = good;
	c.size = 32769;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EINVAL);
	c = good;
	c.desc += 8;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EINVAL);
	c = good;
	c.avail += 1;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EINVAL);
	c = good;
	c.used += 2;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EINVAL);

	/* To the last byte, events included; no further, and over no seam. */
	c = good;
	c.desc = DRV_USER + DRV_MEM - 8 * 16;
	assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
	c.desc += 16;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EFAULT);
	c = good;
	c.avail = DRV_USER + DRV_MEM - 22;
	assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
	c.avail += 2;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EFAULT);
	c = good;
	c.used = DRV_USER + DRV_MEM - 72;
	assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
	c.used += 4;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EFAULT);
	c = good;
	c.desc = DRV_USER + DRV_MEM / 2 - 16;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EFAULT);
	c = good;
	c.avail = UINT64_MAX - 1;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EFAULT);
}

/* Chains of one to eight pieces, direct and indirect, of which some lie over the seam of the regions. */
static void test_chains_arrive_whole(void **state)
{
	struct world *w = *state;

	start(w, 16, 0, false, false);
	for (unsigned round = 0; round < 500; round++) {
		unsigned n = 1 + rnd(w, 8);
		struct drv_piece p[8];
		uint16_t head;

		for (unsigned i = 0; i < n; i++) {
			p[i] = (struct drv_piece){ .addr = DRV_HALF - 400 + rnd(w, 500), .len = rnd(w, 200) };
			fill(w, &p[i]);
		}
		head = round & 1 ? drv_add(&w->d, p, n, 0) : drv_add_indirect(&w->d, DRV_ROOM + rnd(w, 999), p, n, 0);
		assert_int_equal(pop(w), 1);
		assert_chain(w, head, p, n);
		assert_int_equal(pop(w), 0);
		vq_push(&w->q, w->c.head, 0);
		assert_int_equal(drv_used_total(&w->d), round);
		assert_true(vq_publish(&w->q));
		assert_int_equal(drv_used_total(&w->d), round + 1);
		assert_used(w, head, 0);
	}
}

static void test_indirect_behind_direct_ones(void **state)
{
	struct world *w = *state;
	struct drv_piece p[3] = { { DRV_ROOM, 10 }, { DRV_ROOM + 100, 20 }, { DRV_ROOM + 200, 30 } };
	struct drv_piece table = { DRV_HALF - 8, 32 }; /* the first entry lies over the seam */

	start(w, 8, 0, false, false);
	for (unsigned i = 0; i < 3; i++)
		fill(w, &p[i]);
	drv_desc(&w->d, w->d.desc, 5, &p[0], DRV_NEXT, 2);
	/* The flag for writing says nothing about a table. */
	drv_desc(&w->d, w->d.desc, 2, &table, DRV_INDIRECT | DRV_WRITE, 0);
	drv_desc(&w->d, DRV_ROOM + 1000, 0, &p[1], DRV_NEXT, 1);
	memcpy(drv_at(&w->d, DRV_HALF - 8, 8), drv_at(&w->d, DRV_ROOM + 1000, 16), 8);
	memcpy(drv_at(&w->d, DRV_HALF, 8), drv_at(&w->d, DRV_ROOM + 1008, 8), 8);
	drv_desc(&w->d, DRV_HALF + 8, 0, &p[2], 0, 0);
	drv_avail(&w->d, 5);
	assert_int_equal(pop(w), 1);
	assert_chain(w, 5, p, 3);
}

/* Many small pieces: what is to be written is cut, what is to be read is copied. */
static void test_more_pieces_than_room(void **state)
{
	struct world *w = *state;
	struct drv_piece p[300];
	uint8_t buf[700], want[700];
	size_t len = 0;

	for (unsigned i = 0; i < 300; i++) {
		p[i] = (struct drv_piece){ .addr = DRV_ROOM + 10u * (299 - i), .len = 1 + i % 3 };
		fill(w, &p[i]);
		memcpy(want + len, drv_at(&w->d, p[i].addr, p[i].len), p[i].len);
		len += p[i].len;
	}
	start(w, 8, 0, false, false);
	drv_add_indirect(&w->d, DRV_ROOM + 8000, p, 300, 0);
	assert_int_equal(pop(w), -ENOBUFS);
	assert_int_equal(vq_pop(&w->q, w->iov, 0, &w->c), -ENOBUFS);
	assert_int_equal(vq_pop_copy(&w->q, buf, sizeof(buf), &w->c), 1);
	assert_int_equal(w->c.len, len);
	assert_memory_equal(buf, want, len);
	assert_int_equal(vq_pop_copy(&w->q, buf, sizeof(buf), &w->c), 0);

	/* Longer than the copy may be: its length tells. */
	drv_add_indirect(&w->d, DRV_ROOM + 8000, p, 300, 0);
	memset(buf, 0xee, sizeof(buf));
	assert_int_equal(vq_pop_copy(&w->q, buf, 100, &w->c), 1);
	assert_int_equal(w->c.len, len);
	assert_memory_equal(buf, want, 100);
	assert_int_equal(buf[100], 0xee);

	start(w, 8, 0, false, true);
	drv_add_indirect(&w->d, DRV_ROOM + 8000, p, 300, DRV_WRITE);
	assert_int_equal(pop(w), 1);
	assert_int_equal(w->c.n, ROOM);
	assert_chain(w, 0, p, ROOM);
}

static void test_used_lengths_and_batches(void **state)
{
	struct world *w = *state;
	struct drv_piece p = { DRV_ROOM, 100 };

	start(w, 4, 0, false, true);
	for (unsigned i = 0; i < 4; i++)
		drv_add(&w->d, &p, 1, DRV_WRITE);
	for (uint16_t i = 0; i < 4; i++) {
		assert_int_equal(pop(w), 1);
		assert_int_equal(w->c.head, i);
		vq_push(&w->q, i, 50u + i);
	}
	assert_int_equal(drv_used_total(&w->d), 0);
	assert_true(vq_publish(&w->q));
	assert_int_equal(drv_used_total(&w->d), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_used(w, i, 50 + i);
	assert_false(vq_publish(&w->q));
}

static void test_unpop(void **state)
{
	struct world *w = *state;
	struct drv_piece p[2] = { { DRV_ROOM, 100 }, { DRV_ROOM + 500, 100 } };
	uint16_t name[6];

	start(w, 8, 65534, false, true);
	for (unsigned i = 0; i < 6; i++)
		name[i] = drv_add(&w->d, p, 1 + (i & 1 && i < 4), DRV_WRITE);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(pop(w), 1);
	vq_unpop(&w->q, 4);
	/* Nothing has come beyond what was seen; that is where the next kick is wanted. */
	assert_false(vq_want_kick(&w->q, VQ_ANY));
	for (unsigned i = 2; i < 6; i++) {
		assert_int_equal(pop(w), 1);
		assert_int_equal(w->c.head, name[i]);
		assert_int_equal(w->c.len, i == 3 ? 200 : 100);
	}
	assert_int_equal(pop(w), 0);
	vq_unpop(&w->q, 6);
	assert_int_equal(vq_stop(&w->q), drv_base(&w->d, 65534));
}

/* The 16-bit positions go round several times, with every batch there is. */
static void test_positions_wrap_around(void **state)
{
	static const uint16_t sizes[] = { 1, 2, 8, 256, 3, 7, 100 };
	struct world *w = *state;
	static uint16_t name[256];
	struct drv_piece p = { DRV_ROOM, 4 };

	/* A split ring has a power of two. */
	for (unsigned s = 0; s < (w->d.packed ? ARRAY_SIZE(sizes) : 4); s++) {
		uint64_t base = 65536 - 3, taken = base;

		start(w, sizes[s], base, s & 1, false);
		while (w->d.added < base + 150000) {
			unsigned n = 1 + rnd(w, sizes[s]), keep = rnd(w, 2);

			for (unsigned i = 0; i < n && w->d.added - w->d.reaped < sizes[s]; i++) {
				uint16_t *at = &name[w->d.added % 256];

				*at = drv_add(&w->d, &p, 1, 0);
			}
			while (w->d.added - taken > keep) {
				assert_int_equal(pop(w), 1);
				vq_push(&w->q, w->c.head, 0);
				taken++;
			}
			(void)!vq_publish(&w->q);
			assert_int_equal(drv_used_total(&w->d), taken);
			while (w->d.reaped < taken)
				assert_used(w, name[w->d.reaped % 256], 0);
		}
		assert_int_equal(vq_stop(&w->q), drv_base(&w->d, taken));
	}
}

/* A queue that is started again goes on where it was. */
static void test_stop_and_start_again(void **state)
{
	struct world *w = *state;
	struct drv_piece p = { DRV_ROOM, 4 };
	struct vq_conf c;
	uint32_t base;

	start(w, 4, 0, true, false);
	for (unsigned i = 0; i < 3; i++)
		drv_add(&w->d, &p, 1, 0);
	assert_int_equal(pop(w), 1);
	vq_push(&w->q, w->c.head, 0);
	(void)!vq_publish(&w->q);
	base = vq_stop(&w->q);
	assert_int_equal(base, drv_base(&w->d, 1));
	assert_int_equal(pop(w), 0);
	assert_false(vq_want_kick(&w->q, VQ_ANY));
	vq_push(&w->q, 0, 0);
	assert_false(vq_publish(&w->q));

	c = conf_of(w, false);
	c.base = base;
	assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(pop(w), 1);
		assert_int_equal(w->c.head, i);
		vq_push(&w->q, w->c.head, 0);
	}
	(void)!vq_publish(&w->q);
	assert_int_equal(drv_used_total(&w->d), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_used(w, i, 0);
}

static void test_memory_moves(void **state)
{
	struct world *w = *state;
	struct drv_piece p = { DRV_ROOM, 4 };
	struct vmem_region r = { .guest = DRV_GUEST, .size = DRV_MEM / 2, .user = DRV_USER, .offset = DRV_MEM / 2 };

	start(w, 4, 0, false, false);
	vmem_clear(&w->m);
	assert_int_equal(vmem_add(&w->m, &r, w->d.fd), 0);
	assert_int_equal(vq_remap(&w->q), 0);
	drv_add(&w->d, &p, 1, 0);
	assert_int_equal(pop(w), 1);
	vmem_clear(&w->m);
	assert_int_equal(vq_remap(&w->q), -EFAULT);
	assert_false(vq_running(&w->q));
	assert_int_equal(pop(w), 0);
	assert_int_equal(vq_remap(&w->q), 0);
}

static void test_calls_by_flag(void **state)
{
	struct world *w = *state;
	struct drv_piece p = { DRV_ROOM, 4 };

	start(w, 4, 0, false, false);
	for (unsigned i = 0; i < 8; i++) {
		drv_add(&w->d, &p, 1, 0);
		assert_int_equal(pop(w), 1);
		drv_want_call(&w->d, i & 1, 0);
		vq_push(&w->q, w->c.head, 0);
		assert_int_equal(vq_publish(&w->q), i & 1);
	}
}

/*
 * A call is due when the chain that the driver named is among those just used; the flag means nothing. In a packed ring, names are good for
 * two laps only.
 */
static void test_calls_by_event(void **state)
{
	struct world *w = *state;
	int low = w->d.packed ? -7 : -10, high = w->d.packed ? 17 : 20;
	struct drv_piece p = { DRV_ROOM, 4 };

	for (uint64_t base = 65536 - 20; base <= 65536; base += 20) {
		for (unsigned batch = 1; batch <= 8; batch++) {
			for (int event = low; event < high; event++) {
				bool due = event >= 1 && event < 1 + (int)batch;

				start(w, 8, base, true, false);
				drv_add(&w->d, &p, 1, 0);
				assert_int_equal(pop(w), 1);
				vq_push(&w->q, w->c.head, 0);
				drv_want_call(&w->d, false, base + 65530);
				/* What the driver waits for at the start is not known. */
				assert_true(vq_publish(&w->q));

				for (unsigned i = 0; i < batch; i++) {
					drv_add(&w->d, &p, 1, 0);
					assert_int_equal(pop(w), 1);
					vq_push(&w->q, w->c.head, 0);
				}
				drv_want_call(&w->d, false, base + (uint64_t)(int64_t)event);
				assert_int_equal(vq_publish(&w->q), due);
			}
		}
	}
}

static void test_kicks(void **state)
{
	struct world *w = *state;
	struct drv_piece p = { DRV_ROOM, 4 };

	for (unsigned event = 0; event < 2; event++) {
		start(w, 8, 65533, event, false);
		/* At the start they are wanted. */
		drv_add(&w->d, &p, 1, 0);
		assert_true(drv_kick(&w->d));
		vq_want_kick(&w->q, VQ_QUIET);
		for (unsigned i = 0; i < 5; i++) {
			drv_add(&w->d, &p, 1, 0);
			assert_false(drv_kick(&w->d));
		}
		/* There is work that nobody will tell of. */
		assert_true(vq_want_kick(&w->q, VQ_ANY));
		while (pop(w) == 1)
			vq_push(&w->q, w->c.head, 0);
		(void)!vq_publish(&w->q);
		assert_false(vq_want_kick(&w->q, VQ_ANY));
		drv_add(&w->d, &p, 1, 0);
		assert_true(drv_kick(&w->d));
	}
}

/* Adds n chains; how many of them the driver would have kicked for. */
static unsigned offer(struct world *w, unsigned n)
{
	struct drv_piece p = { DRV_ROOM, 4 };
	unsigned kicks = 0;

	for (; n; n--) {
		drv_add(&w->d, &p, 1, DRV_WRITE);
		kicks += drv_kick(&w->d);
	}
	return kicks;
}

/* The device uses all that it finds: how many. */
static unsigned use(struct world *w)
{
	unsigned n = 0;

	for (; pop(w) == 1; n++)
		vq_push(&w->q, w->c.head, 1);
	(void)!vq_publish(&w->q);
	while (w->d.reaped < drv_used_total(&w->d))
		drv_reap(&w->d);
	return n;
}

/* Half of the most that the driver has ever offered, be the ring as large as it may. */
static void test_kick_at_half(void **state)
{
	static const unsigned most[] = { 1, 2, 3, 8, 64, 63 };
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(most); i++) {
		unsigned half = MAX(most[i] / 2, 1u);

		start(w, 64, 65500, true, true);
		offer(w, most[i]);
		assert_int_equal(use(w), most[i]);
		for (unsigned round = 0; round < 300; round++) {
			assert_false(vq_want_kick(&w->q, VQ_HALF));
			assert_int_equal(offer(w, half - 1), 0);
			assert_int_equal(offer(w, 1), 1);
			/* Then it is silent. */
			assert_int_equal(offer(w, most[i] - half), 0);
			/* It has more than half now: that can't be waited for. */
			assert_true(vq_want_kick(&w->q, VQ_HALF));
			assert_int_equal(use(w), most[i]);
		}
		assert_int_equal(w->q.most, most[i]);
	}
}

/* What was seen and not taken is not enough for who waits: one more at least. */
static void test_kick_at_half_of_what_was_seen(void **state)
{
	struct world *w = *state;

	start(w, 64, 0, true, true);
	for (unsigned seen = 1; seen < 64; seen++) {
		offer(w, 64);
		assert_int_equal(use(w), 64);
		offer(w, seen);
		for (unsigned i = 0; i < seen; i++)
			assert_int_equal(pop(w), 1);
		vq_unpop(&w->q, seen);
		assert_false(vq_want_kick(&w->q, VQ_HALF));
		assert_int_equal(offer(w, seen < 32 ? 31 - seen : 0), 0);
		assert_int_equal(offer(w, 1), 1);
		assert_int_equal(use(w), MAX(seen + 1, 32u));
	}
	/* Those that come before the question count: they are enough, or they are not. */
	offer(w, 31);
	assert_false(vq_want_kick(&w->q, VQ_HALF));
	offer(w, 1);
	assert_true(vq_want_kick(&w->q, VQ_HALF));
}

/* Without events there is no way to say it. */
static void test_kick_at_half_without_events(void **state)
{
	struct world *w = *state;

	start(w, 64, 0, false, true);
	offer(w, 64);
	assert_int_equal(use(w), 64);
	assert_false(vq_want_kick(&w->q, VQ_HALF));
	assert_int_equal(offer(w, 3), 3);
	assert_true(vq_want_kick(&w->q, VQ_HALF));
	assert_int_equal(use(w), 3);
	vq_want_kick(&w->q, VQ_QUIET);
	assert_int_equal(offer(w, 3), 0);
}

/* A driver that offers fewer than before. */
static void test_half_that_does_not_come(void **state)
{
	struct world *w = *state;

	start(w, 64, 65500, true, true);
	offer(w, 64);
	assert_int_equal(use(w), 64);
	/* It did nothing: its first chain is worth a kick, and nothing else changes. */
	assert_false(vq_want_kick(&w->q, VQ_HALF));
	assert_false(vq_want_less(&w->q));
	assert_int_equal(offer(w, 1), 1);
	assert_int_equal(use(w), 1);
	assert_false(vq_want_kick(&w->q, VQ_HALF));
	assert_int_equal(offer(w, 31), 0);
	assert_int_equal(offer(w, 1), 1);
	assert_int_equal(use(w), 32);
	/* It never has more than five: that is found out in a few rounds. */
	for (unsigned half = 32; half > 2; half /= 2) {
		assert_false(vq_want_kick(&w->q, VQ_HALF));
		if (half <= 5)
			break;
		assert_int_equal(offer(w, 5), 0);
		assert_true(vq_want_less(&w->q));
		assert_int_equal(use(w), 5);
	}
	assert_int_equal(offer(w, 5), 1);
	assert_int_equal(use(w), 5);
	/* And then it has more again. */
	offer(w, 50);
	assert_int_equal(use(w), 50);
	assert_false(vq_want_kick(&w->q, VQ_HALF));
	assert_int_equal(offer(w, 24), 0);
	assert_int_equal(offer(w, 1), 1);
	/* Another start knows nothing of it. */
	start(w, 64, 0, true, true);
	assert_false(vq_want_kick(&w->q, VQ_HALF));
	assert_int_equal(offer(w, 1), 1);
	vq_stop(&w->q);
	assert_false(vq_want_less(&w->q));
}

static void test_start_checks_its_packed_ring(void **state)
{
	static const uint32_t good_bases[] = { 0, 0x80008000, 0x00030003, 0x80078007, 0x8000, 0x00050002 };
	static const uint32_t bad_bases[] = { 8, 0x8008, 0x80088008, 0x80088000, 0x80008008, 0x7fff0000, 0xffffffff };
	struct world *w = *state;
	struct vq_conf good, c;

	drv_ring_init(&w->d, 8, 0, false);
	good = conf_of(w, false);
	assert_int_equal(vq_start(&w->q, &w->m, &good), 0);
	for (unsigned size = 0; size < 70; size++) {
		c = good;
		c.size = (uint16_t)size;
		assert_int_equal(vq_start(&w->q, &w->m, &c), size ? 0 : -EINVAL);
	}
	c.size = 32769;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EINVAL);
	c = good;
	c.desc += 8;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EINVAL);
	c = good;
	c.avail += 2;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EINVAL);
	c = good;
	c.used += 2;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EINVAL);
	c = good;
	c.desc = DRV_USER + DRV_MEM - 8 * 16;
	assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
	c.desc += 16;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EFAULT);
	c = good;
	c.avail = c.used = DRV_USER + DRV_MEM - 4;
	assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
	c.used += 4;
	assert_int_equal(vq_start(&w->q, &w->m, &c), -EFAULT);
	for (unsigned i = 0; i < ARRAY_SIZE(good_bases) + ARRAY_SIZE(bad_bases); i++) {
		bool fine = i < ARRAY_SIZE(good_bases);

		c = good;
		c.base = fine ? good_bases[i] : bad_bases[i - ARRAY_SIZE(good_bases)];
		assert_int_equal(vq_start(&w->q, &w->m, &c), fine ? 0 : -EINVAL);
	}
}

/* Where to begin, for front-ends that know nothing of wrap counters, or of a used position; chains that were lost come again. */
static void test_positions_of_a_packed_ring(void **state)
{
	struct world *w = *state;
	struct drv_piece p = { DRV_ROOM, 4 };
	struct vq_conf c;

	for (unsigned added = 0; added < 2; added++) {
		drv_ring_init(&w->d, 4, 0, false);
		c = conf_of(w, false);
		c.base = 0;
		for (unsigned i = 0; i < added; i++)
			drv_add(&w->d, &p, 1, 0);
		assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
		drv_add(&w->d, &p, 1, 0);
		assert_int_equal(pop(w), 1);
		assert_int_equal(vq_stop(&w->q), 0x80008000);
	}
	/* Really at 0, after a lap. */
	start(w, 4, 4, false, false);
	assert_int_equal(w->q.conf.base, 0);
	drv_add(&w->d, &p, 1, 0);
	assert_int_equal(pop(w), 1);
	assert_int_equal(pop(w), 0);
	vq_push(&w->q, w->c.head, 0);
	(void)!vq_publish(&w->q);
	assert_int_equal(vq_stop(&w->q), 0x00010001);
	/* Three were taken by somebody else, of which the first came back. */
	start(w, 8, 10, false, false);
	for (unsigned i = 0; i < 3; i++)
		drv_add(&w->d, &p, 1, 0);
	assert_int_equal(pop(w), 1);
	vq_push(&w->q, w->c.head, 0);
	(void)!vq_publish(&w->q);
	assert_int_equal(pop(w), 1);
	assert_int_equal(pop(w), 1);
	c = conf_of(w, false);
	c.base = drv_base(&w->d, 13) % 65536 | drv_base(&w->d, 11) / 65536 << 16;
	assert_int_equal(vq_start(&w->q, &w->m, &c), 0);
	assert_int_equal(pop(w), 1);
	assert_int_equal(w->c.head, 11 % 8);
	assert_int_equal(vq_stop(&w->q), drv_base(&w->d, 11));
}

/* No more than can be remembered are taken at once, and none is lost by that. */
static void test_many_chains_at_once(void **state)
{
	struct world *w = *state;
	struct drv_piece p = { DRV_ROOM, 4 };
	unsigned n = 0, got = 1;

	start(w, DRV_NAMES, 0, true, false);
	w->d.size = DRV_NAMES;
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < DRV_NAMES; i++)
			drv_add(&w->d, &p, 1, 0);
		for (n = 0; pop(w) == 1; n++)
			assert_int_equal(w->c.head, n);
		assert_int_equal(n, MIN(DRV_NAMES, VQ_TAKEN));
		for (unsigned i = 0; i < n; i++)
			vq_push(&w->q, (uint16_t)i, 0);
		(void)!vq_publish(&w->q);
		for (got = 0; w->d.reaped < w->d.added; got++)
			assert_used(w, got, 0);
		assert_int_equal(got, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(test_empty_ring),
		SPLIT(test_start_checks_its_ring),
		SPLIT(test_chains_arrive_whole),
		SPLIT(test_indirect_behind_direct_ones),
		SPLIT(test_more_pieces_than_room),
		SPLIT(test_used_lengths_and_batches),
		SPLIT(test_unpop),
		SPLIT(test_positions_wrap_around),
		SPLIT(test_stop_and_start_again),
		SPLIT(test_memory_moves),
		SPLIT(test_calls_by_flag),
		SPLIT(test_calls_by_event),
		SPLIT(test_kicks),
		SPLIT(test_kick_at_half),
		SPLIT(test_kick_at_half_of_what_was_seen),
		SPLIT(test_kick_at_half_without_events),
		SPLIT(test_half_that_does_not_come),
		PACKED(test_empty_ring),
		PACKED(test_start_checks_its_packed_ring),
		PACKED(test_positions_of_a_packed_ring),
		PACKED(test_chains_arrive_whole),
		PACKED(test_more_pieces_than_room),
		PACKED(test_used_lengths_and_batches),
		PACKED(test_unpop),
		PACKED(test_positions_wrap_around),
		PACKED(test_stop_and_start_again),
		PACKED(test_memory_moves),
		PACKED(test_calls_by_flag),
		PACKED(test_calls_by_event),
		PACKED(test_kicks),
		PACKED(test_kick_at_half),
		PACKED(test_kick_at_half_of_what_was_seen),
		PACKED(test_kick_at_half_without_events),
		PACKED(test_half_that_does_not_come),
		PACKED(test_many_chains_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
