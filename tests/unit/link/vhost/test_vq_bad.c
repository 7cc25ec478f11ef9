/* SPDX-License-Identifier: MIT */
/* A split virtqueue in the hands of a driver that breaks the rules: an error at once, and nothing outside of the guest's memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "link/vhost/vq.h"

#define ROOM 64u
#define SIZE 8u
#define BEYOND (DRV_GUEST + DRV_MEM)

struct world {
	struct vmem m;
	struct drv d;
	struct vq_conf conf;
	struct vq q;
	struct iovec iov[ROOM];
	struct vq_chain c;
	uint32_t seed;
};

static const struct drv_piece fine = { DRV_ROOM, 100 };

/* Good for reading, and then for writing; without indirect tables. */
static void start(struct world *w)
{
	drv_ring_init(&w->d, SIZE, 0, false);
	assert_int_equal(vq_start(&w->q, &w->m, &w->conf), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_int_equal(vmem_init(&w->m), 0);
	drv_mem_init(&w->d, &w->m);
	drv_ring_init(&w->d, SIZE, 0, false);
	w->conf = (struct vq_conf){
		.desc = w->d.desc - DRV_GUEST + DRV_USER,
		.avail = w->d.avail - DRV_GUEST + DRV_USER,
		.used = w->d.used - DRV_GUEST + DRV_USER,
		.size = SIZE,
		.indirect = true,
	};
	w->seed = 1;
	start(w);
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

static int pop(struct world *w)
{
	return vq_pop(&w->q, w->iov, ROOM, &w->c);
}

/* The chain at descriptor 0 is none, whichever way it is taken; the queue stays broken until it is started again. */
static void assert_broken(struct world *w)
{
	uint8_t buf[256];

	drv_avail(&w->d, 0);
	assert_int_equal(pop(w), -EBADMSG);
	assert_int_equal(pop(w), -EBADMSG);
	drv_desc(&w->d, w->d.desc, 0, &fine, w->conf.write ? DRV_WRITE : 0, 0);
	assert_int_equal(pop(w), -EBADMSG);
	assert_int_equal(vq_pop_copy(&w->q, buf, sizeof(buf), &w->c), -EBADMSG);
	assert_int_equal(vq_start(&w->q, &w->m, &w->conf), 0);
	assert_int_equal(pop(w), 1);
	start(w);
}

static void test_heads_and_links_outside_the_table(void **state)
{
	struct world *w = *state;
	static const uint16_t bad[] = { SIZE, SIZE + 1, 0x7fff, 0x8000, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		drv_avail(&w->d, bad[i]);
		assert_int_equal(pop(w), -EBADMSG);
		start(w);
		drv_desc(&w->d, w->d.desc, 0, &fine, DRV_NEXT, bad[i]);
		assert_broken(w);
	}
}

static void test_position_jumps(void **state)
{
	struct world *w = *state;

	for (unsigned jump = 0; jump <= 0xffff; jump++) {
		drv_put16(&w->d, w->d.avail + 2, (uint16_t)jump);
		assert_int_equal(pop(w), jump > SIZE ? -EBADMSG : jump ? 1 : 0);
		start(w);
	}
}

static void test_loops(void **state)
{
	struct world *w = *state;
	struct drv_piece table = { DRV_ROOM + 5000, 48 };

	drv_desc(&w->d, w->d.desc, 0, &fine, DRV_NEXT, 0);
	assert_broken(w);
	for (uint16_t i = 0; i < SIZE; i++)
		drv_desc(&w->d, w->d.desc, i, &fine, DRV_NEXT, (uint16_t)((i + 3) % SIZE));
	assert_broken(w);
	/* Without a single byte as well. */
	drv_desc(&w->d, w->d.desc, 0, &(struct drv_piece){ DRV_ROOM, 0 }, DRV_NEXT, 0);
	assert_broken(w);
	for (uint16_t i = 0; i < 3; i++)
		drv_desc(&w->d, table.addr, i, &fine, DRV_NEXT, (uint16_t)((i + 1) % 3));
	drv_desc(&w->d, w->d.desc, 0, &table, DRV_INDIRECT, 0);
	assert_broken(w);
}

static void test_wrong_direction(void **state)
{
	struct world *w = *state;

	for (unsigned write = 0; write < 2; write++) {
		w->conf.write = write;
		start(w);
		drv_desc(&w->d, w->d.desc, 0, &fine, write ? 0 : DRV_WRITE, 0);
		assert_broken(w);
		drv_desc(&w->d, w->d.desc, 0, &fine, DRV_NEXT | (write ? DRV_WRITE : 0), 1);
		drv_desc(&w->d, w->d.desc, 1, &fine, write ? 0 : DRV_WRITE, 0);
		assert_broken(w);
	}
}

static void test_pieces_outside_the_memory(void **state)
{
	struct world *w = *state;
	static const struct drv_piece bad[] = {
		{ 0, 1 },
		{ DRV_GUEST - 1, 1 },
		{ DRV_GUEST - 1, 2 },
		{ BEYOND, 1 },
		{ BEYOND - 1, 2 },
		{ BEYOND - 1, UINT32_MAX },
		{ DRV_GUEST, UINT32_MAX },
		{ UINT64_MAX, 1 },
		{ UINT64_MAX, UINT32_MAX },
		{ UINT64_MAX - 5, 6 },
		{ DRV_USER, 1 },
	};

	for (unsigned write = 0; write < 2; write++) {
		w->conf.write = write;
		start(w);
		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
			drv_desc(&w->d, w->d.desc, 0, &bad[i], write ? DRV_WRITE : 0, 0);
			assert_broken(w);
		}
	}
	/* To the last byte is fine, and so is nothing at all, wherever it is. */
	w->conf.write = false;
	start(w);
	drv_add(&w->d, &(struct drv_piece){ DRV_GUEST, DRV_MEM }, 1, 0);
	assert_int_equal(pop(w), 1);
	assert_int_equal(w->c.len, DRV_MEM);
	drv_add(&w->d, &(struct drv_piece){ UINT64_MAX, 0 }, 1, 0);
	assert_int_equal(pop(w), 1);
	assert_int_equal(w->c.len, 0);
	assert_int_equal(w->c.n, 0);
}

static void test_indirect_tables(void **state)
{
	struct world *w = *state;
	static const struct drv_piece bad[] = {
		{ DRV_ROOM + 5000, 0 },
		{ DRV_ROOM + 5000, 1 },
		{ DRV_ROOM + 5000, 15 },
		{ DRV_ROOM + 5000, 17 },
		{ DRV_ROOM + 5000, 16 * 32769 },
		{ DRV_ROOM + 5000, UINT32_MAX - 15 },
		{ BEYOND, 16 },
		{ BEYOND - 8, 16 },
		{ UINT64_MAX - 3, 16 },
		{ 0, 16 },
	};

	drv_desc(&w->d, DRV_ROOM + 5000, 0, &fine, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		drv_desc(&w->d, w->d.desc, 0, &bad[i], DRV_INDIRECT, 0);
		assert_broken(w);
	}
	/* It has to be the last one of its chain. */
	drv_desc(&w->d, w->d.desc, 0, &(struct drv_piece){ DRV_ROOM + 5000, 16 }, DRV_INDIRECT | DRV_NEXT, 1);
	drv_desc(&w->d, w->d.desc, 1, &fine, 0, 0);
	assert_broken(w);
	/* No table in a table. */
	drv_desc(&w->d, DRV_ROOM + 6000, 0, &(struct drv_piece){ DRV_ROOM + 5000, 16 }, DRV_INDIRECT, 0);
	drv_desc(&w->d, w->d.desc, 0, &(struct drv_piece){ DRV_ROOM + 6000, 16 }, DRV_INDIRECT, 0);
	assert_broken(w);
	/* Links stay in it. */
	drv_desc(&w->d, DRV_ROOM + 5000, 0, &fine, DRV_NEXT, 1);
	drv_desc(&w->d, w->d.desc, 0, &(struct drv_piece){ DRV_ROOM + 5000, 16 }, DRV_INDIRECT, 0);
	assert_broken(w);
	/* The wrap-around of the address space is not used as one. */
	drv_desc(&w->d, DRV_ROOM + 5000, 0, &fine, 0, 0);
	drv_desc(&w->d, w->d.desc, 0, &(struct drv_piece){ UINT64_MAX - 15, 32 }, DRV_INDIRECT, 0);
	assert_broken(w);
	/* Nobody asked for one. */
	drv_desc(&w->d, w->d.desc, 0, &(struct drv_piece){ DRV_ROOM + 5000, 16 }, DRV_INDIRECT, 0);
	drv_avail(&w->d, 0);
	w->conf.indirect = false;
	assert_int_equal(vq_start(&w->q, &w->m, &w->conf), 0);
	assert_int_equal(pop(w), -EBADMSG);
	w->conf.indirect = true;
	assert_int_equal(vq_start(&w->q, &w->m, &w->conf), 0);
	assert_int_equal(pop(w), 1);
}

static uint32_t rnd(struct world *w)
{
	w->seed = w->seed * 1664525u + 1013904223u;
	return w->seed >> 8;
}

static bool in_memory(const struct world *w, const struct iovec *v)
{
	uint64_t first = 0, last = 0;

	if (vmem_guest(&w->m, v->iov_base, &first) || vmem_guest(&w->m, (uint8_t *)v->iov_base + v->iov_len - 1, &last))
		return false;
	return v->iov_len <= DRV_MEM;
}

/* A million descriptors of no sense: whatever is taken lies in the guest's memory. */
static void test_random_descriptors(void **state)
{
	struct world *w = *state;
	unsigned taken = 0, refused = 0;

	for (unsigned round = 0; round < 1000000 / (SIZE + 10); round++) {
		int got;

		w->conf.write = round & 1;
		w->conf.event_idx = round & 2;
		w->conf.base = (uint16_t)rnd(w);
		assert_int_equal(vq_start(&w->q, &w->m, &w->conf), 0);
		for (unsigned i = 0; i < SIZE; i++) {
			drv_desc_any(&w->d, w->d.desc, i, &w->seed);
			drv_put16(&w->d, w->d.avail + 4 + 2 * i, (uint16_t)(rnd(w) % (SIZE + 1)));
		}
		for (unsigned i = 0; i < 10; i++)
			drv_desc_any(&w->d, DRV_ROOM, i, &w->seed);
		drv_put16(&w->d, w->d.avail + 2, (uint16_t)(w->conf.base + rnd(w) % (SIZE + 2)));
		while ((got = pop(w)) == 1) {
			for (unsigned i = 0; i < w->c.n; i++)
				assert_true(in_memory(w, &w->iov[i]));
			vq_push(&w->q, w->c.head, rnd(w));
			taken++;
		}
		refused += got < 0;
		(void)!vq_publish(&w->q);
	}
	assert_in_range(taken, 1000, UINT32_MAX);
	assert_in_range(refused, 10000, UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_heads_and_links_outside_the_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_position_jumps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_direction, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pieces_outside_the_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_indirect_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random_descriptors, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
